/**
 * Interrupts and flow control in memory that an isolated page shares with its worker. The page
 * writes a signal number into the first word to interrupt Python, and counts processed output
 * messages in the second word, so that a script that prints in an endless loop waits for the page
 * instead of flooding it.
 */

const SIGNAL_WORD = 0;
const ACKNOWLEDGED_WORD = 1;
const SIGINT = 2;

/** Maximum number of unprocessed output messages: a few milliseconds of the page's time. */
const MAX_IN_FLIGHT = 256;

export const newControlBuffer = (): SharedArrayBuffer => new SharedArrayBuffer(8);

/**
 * The buffer that Pyodide polls for signals. Pyodide reads the element and then writes 0, which
 * would lose an interrupt between the two; here writing 0 clears only the signal that was read.
 */
export class InterruptBuffer {
  private lastRead = 0;
  constructor(private readonly words: Int32Array) {}
  get 0(): number {
    return this.lastRead = Atomics.load(this.words, SIGNAL_WORD);
  }
  set 0(value: number) {
    const { words, lastRead } = this;
    if (lastRead !== value) Atomics.compareExchange(words, SIGNAL_WORD, lastRead, value);
  }
}

/** The page's side of the control buffer. */
export class ControlSender {
  private readonly words: Int32Array;
  constructor(control: SharedArrayBuffer) {
    this.words = new Int32Array(control);
  }
  interrupt(): void {
    Atomics.store(this.words, SIGNAL_WORD, SIGINT);
    Atomics.notify(this.words, ACKNOWLEDGED_WORD);
  }
  /** Discard an interrupt that arrived after the script had ended. */
  clear(): void {
    Atomics.store(this.words, SIGNAL_WORD, 0);
  }
  acknowledgeOutput(): void {
    Atomics.add(this.words, ACKNOWLEDGED_WORD, 1);
    Atomics.notify(this.words, ACKNOWLEDGED_WORD);
  }
}

/** The worker's side of the control buffer. */
export class ControlReceiver {
  readonly interruptBuffer: InterruptBuffer;
  private readonly words: Int32Array;
  private sent = 0;
  constructor(control: SharedArrayBuffer) {
    this.words = new Int32Array(control);
    this.interruptBuffer = new InterruptBuffer(this.words);
  }
  /** Interrupt the script when it resumes. */
  interrupt(): void {
    Atomics.store(this.words, SIGNAL_WORD, SIGINT);
  }
  /** Discard an interrupt that was handled in another way. */
  clear(): void {
    Atomics.store(this.words, SIGNAL_WORD, 0);
  }
  /** Count one output message; block while the page is too far behind, unless it interrupts. */
  throttleOutput(): void {
    this.sent += 1;
    for (;;) {
      const acknowledged = Atomics.load(this.words, ACKNOWLEDGED_WORD);
      const interrupted = Atomics.load(this.words, SIGNAL_WORD) !== 0;
      if (this.sent - acknowledged <= MAX_IN_FLIGHT || interrupted) return;
      Atomics.wait(this.words, ACKNOWLEDGED_WORD, acknowledged, 100);
    }
  }
}
