/** The code editor: CodeMirror with Python, in the Studio's colors. Loaded on demand. */
import {
  autocompletion, closeBrackets, closeBracketsKeymap, closeCompletion, completionKeymap,
} from "@codemirror/autocomplete";
import {
  defaultKeymap, history, historyKeymap, indentWithTab, isolateHistory,
} from "@codemirror/commands";
import { python } from "@codemirror/lang-python";
import {
  bracketMatching, indentOnInput, indentUnit, syntaxHighlighting,
} from "@codemirror/language";
import type { Extension } from "@codemirror/state";
import { EditorState, Prec } from "@codemirror/state";
import {
  drawSelection, EditorView, highlightActiveLine, highlightActiveLineGutter, keymap, lineNumbers,
} from "@codemirror/view";
import { classHighlighter } from "@lezer/highlight";

export interface EditorEvents {
  readonly onchange: (text: string) => void;
  readonly onrun: () => void;
}

const theme = EditorView.theme({
  "&": { color: "var(--ink)", backgroundColor: "transparent", fontSize: "13px" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.6" },
  ".cm-content": { padding: "12px 0", caretColor: "var(--accent)" },
  ".cm-line": { padding: "0 16px 0 8px" },
  ".cm-gutters": { backgroundColor: "transparent", border: "none", color: "var(--muted)" },
  ".cm-lineNumbers .cm-gutterElement": { minWidth: "40px", padding: "0 8px 0 12px" },
  ".cm-activeLine, .cm-activeLineGutter": {
    backgroundColor: "color-mix(in oklab, var(--sunken) 70%, transparent)",
  },
  ".cm-cursor": { borderLeftColor: "var(--accent)", borderLeftWidth: "2px" },
  // As specific as CodeMirror's own rule, which it overrides.
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground": {
    backgroundColor: "color-mix(in oklab, var(--accent) 24%, transparent)",
  },
  "&.cm-focused .cm-matchingBracket": {
    backgroundColor: "var(--sunken)", outline: "1px solid var(--edge)",
  },
  ".cm-tooltip": {
    backgroundColor: "var(--surface)", border: "1px solid var(--line)", borderRadius: "6px",
  },
  "& .cm-tooltip-autocomplete ul li[aria-selected]": {
    backgroundColor: "var(--accent)", color: "var(--on-accent)",
  },
});

function extensions({ onchange, onrun }: EditorEvents): Extension[] {
  const run = (view: EditorView): boolean => {
    closeCompletion(view); // so that Escape stops the program
    onrun();
    return true;
  };
  return [
    Prec.highest(keymap.of([{ key: "Mod-Enter", run }])),
    lineNumbers(), highlightActiveLine(), highlightActiveLineGutter(), history(), drawSelection(),
    indentOnInput(), indentUnit.of("    "), bracketMatching(), closeBrackets(), autocompletion(),
    python(), syntaxHighlighting(classHighlighter), theme,
    keymap.of([
      ...closeBracketsKeymap, ...completionKeymap, ...defaultKeymap, ...historyKeymap,
      indentWithTab,
    ]),
    EditorView.contentAttributes.of({ "aria-label": "Python program", "data-testid": "code" }),
    EditorView.updateListener.of((update) => {
      if (update.docChanged) onchange(update.state.doc.toString());
    }),
  ];
}

export class CodeEditor {
  private readonly view: EditorView;

  constructor(parent: HTMLElement, doc: string, events: EditorEvents) {
    const state = EditorState.create({ doc, extensions: extensions(events) });
    this.view = new EditorView({ parent, state });
  }

  /** Replace the text as a separate undo step. */
  replace(insert: string): void {
    const changes = { from: 0, to: this.view.state.doc.length, insert };
    this.view.dispatch({
      changes, selection: { anchor: 0 }, annotations: isolateHistory.of("full"),
    });
  }

  /** Move the cursor to a line and scroll it into view. */
  goTo(line: number): void {
    const { doc } = this.view.state;
    const { from } = doc.line(Math.min(Math.max(1, line), doc.lines));
    this.view.dispatch({ selection: { anchor: from }, scrollIntoView: true });
    this.view.focus();
  }

  destroy(): void {
    this.view.destroy();
  }
}
