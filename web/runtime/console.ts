/** Python's stdout and stderr as messages, posted whenever Python flushes: line by line. */

import type { FromWorker } from "../protocol";
import type { ControlReceiver } from "./control";

type Stream = "stdout" | "stderr";

export interface OutputWriter {
  readonly isatty: boolean;
  write(buffer: Uint8Array): number;
}

export class Console {
  /** The id of the run that the output belongs to; 0 between runs. */
  runId = 0;
  constructor(
    private readonly post: (message: FromWorker) => void,
    private readonly control: ControlReceiver | null,
  ) {}

  writer(kind: Stream): OutputWriter {
    const decoder = new TextDecoder();
    return {
      isatty: false,
      write: (buffer) => {
        const text = decoder.decode(buffer, { stream: true });
        if (text !== "") this.send(kind, text);
        return buffer.length;
      },
    };
  }

  private send(kind: Stream, text: string): void {
    this.control?.throttleOutput();
    this.post({ kind, id: this.runId, text });
  }
}
