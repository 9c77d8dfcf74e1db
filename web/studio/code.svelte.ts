/** The Code view's state, joined to the runtime. */
import type { Runtime } from "../runtime/client";
import type { Code, Piece } from "./state/code";
import { ended, FILE, noCode, printed, started } from "./state/code";
import { read, write } from "./state/persistence";
import first from "./first_program.py?raw";

/** Pieces of output that wait for a frame at most. */
const MOST_HEARD = 1000;

export class CodeRunner {
  code: Code = $state.raw(noCode);
  text = $state.raw(read("code") ?? first);
  private heard: { readonly stream: Piece["stream"]; readonly text: string }[] = [];
  private frame = 0;
  private stopped = false;

  constructor(private readonly runtime: Runtime) {}

  readonly edit = (text: string): void => {
    this.text = text;
    write("code", text);
  };

  readonly run = async (): Promise<void> => {
    if (this.code.outcome === "running") return;
    this.code = started();
    this.stopped = false;
    const start = { ms: performance.now() };
    const error = await this.outcome(start);
    this.flush();
    this.code = ended(this.code, error, this.stopped, (performance.now() - start.ms) / 1000);
  };

  readonly stop = (): void => {
    this.stopped = true;
    this.runtime.stop();
  };

  /** Runs the text; the clock starts when Python is there. */
  private async outcome(start: { ms: number }): Promise<string | null> {
    const ready = (): void => void (start.ms = performance.now());
    this.runtime.boot().then(ready, () => undefined); // why it could not start, the run tells
    try {
      const { error, exit_code } = await this.runtime.run(this.text, {
        filename: FILE,
        onStdout: (text) => this.hear("out", text),
        onStderr: (text) => this.hear("err", text),
      });
      return error ?? (exit_code === 0 ? null : `Exit code ${exit_code}`);
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  /** Gathers what is printed and shows it once a frame: a loop may print thousands of lines. */
  private hear(stream: Piece["stream"], text: string): void {
    this.heard.push({ stream, text });
    // A page out of sight draws no frames.
    if (this.heard.length >= MOST_HEARD) this.flush();
    else if (this.frame === 0) this.frame = requestAnimationFrame(() => this.flush());
  }

  private flush(): void {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    const heard = this.heard.splice(0);
    this.code = heard.reduce((code, { stream, text }) => printed(code, stream, text), this.code);
  }
}
