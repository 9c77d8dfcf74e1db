/** Python's stdout and stderr as messages, sent as Python flushes them: line by line. */

import type { FromWorker } from "../protocol";
import type { ControlledWorker } from "./control";

type Stream = "stdout" | "stderr";

export interface Writer {
  readonly isatty: boolean;
  write(buffer: Uint8Array): number;
}

export class Console {
  /** The run that output belongs to; 0 between runs. */
  id = 0;
  constructor(
    private readonly post: (message: FromWorker) => void,
    private readonly control: ControlledWorker | null,
  ) {}

  writer(kind: Stream): Writer {
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
    this.control?.sending();
    this.post({ kind, id: this.id, text });
  }
}
