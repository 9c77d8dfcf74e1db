/** The controller of the Code view: runs the program in the runtime and collects its output. */
import type { Runtime } from "../runtime/client";
import type { CodeRun, OutputChunk } from "./state/code";
import { appendOutput, emptyRun, endRun, MAIN_FILE, startRun } from "./state/code";
import { loadItem, saveItem } from "./state/persistence";
import firstProgram from "./first_program.py?raw";

/** Maximum number of output chunks that wait for the next frame. */
const MAX_PENDING_CHUNKS = 1000;

export class CodeRunner {
  state: CodeRun = $state.raw(emptyRun);
  text = $state.raw(loadItem("code") ?? firstProgram);
  private pendingOutput: Omit<OutputChunk, "id">[] = [];
  private frame = 0;
  private stopped = false;

  constructor(private readonly runtime: Runtime) {}

  readonly edit = (text: string): void => {
    this.text = text;
    saveItem("code", text);
  };

  readonly run = async (): Promise<void> => {
    if (this.state.outcome === "running") return;
    this.state = startRun();
    this.stopped = false;
    const start = { ms: performance.now() };
    const error = await this.runToEnd(start);
    this.flush();
    this.state = endRun(this.state, error, this.stopped, (performance.now() - start.ms) / 1000);
  };

  readonly stop = (): void => {
    this.stopped = true;
    this.runtime.stop();
  };

  /** Run the text and return the error, or null; `start` is set when Python is ready. */
  private async runToEnd(start: { ms: number }): Promise<string | null> {
    const onReady = (): void => void (start.ms = performance.now());
    this.runtime.boot().then(onReady, () => undefined); // the run reports why a boot failed
    try {
      const { error, exit_code } = await this.runtime.run(this.text, {
        filename: MAIN_FILE,
        onStdout: (text) => this.bufferOutput("out", text),
        onStderr: (text) => this.bufferOutput("err", text),
      });
      return error ?? (exit_code === 0 ? null : `Exit code ${exit_code}`);
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  /** Buffer output and show it once per frame: a loop may print thousands of lines. */
  private bufferOutput(stream: OutputChunk["stream"], text: string): void {
    this.pendingOutput.push({ stream, text });
    // A hidden page draws no frames.
    if (this.pendingOutput.length >= MAX_PENDING_CHUNKS) this.flush();
    else if (this.frame === 0) this.frame = requestAnimationFrame(() => this.flush());
  }

  private flush(): void {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    const output = this.pendingOutput.splice(0);
    this.state = output.reduce(
      (run, { stream, text }) => appendOutput(run, stream, text), this.state);
  }
}
