/** Syntax highlighting of Python source, with the editor's parser. */
import { pythonLanguage } from "@codemirror/lang-python";
import { classHighlighter, highlightCode } from "@lezer/highlight";

export interface Token {
  readonly text: string;
  /** The editor's CSS class for the token; empty for plain text. */
  readonly kind: string;
}

export function highlight(source: string): readonly Token[] {
  const tokens: Token[] = [];
  highlightCode(
    source, pythonLanguage.parser.parse(source), classHighlighter,
    (text, kind) => tokens.push({ text, kind }), () => tokens.push({ text: "\n", kind: "" }),
  );
  return tokens;
}
