/**
 * The words that page and worker share on an isolated page. The page writes a signal number into
 * the first byte to interrupt Python, and counts in the second word the output messages it has
 * taken in, so that a script which prints without end waits for the page instead of flooding it.
 */

const SIGNAL = 0;
const TAKEN = 1;
const SIGINT = 2;

/** Output messages under way at most: a few milliseconds of the page's time. */
const MOST_UNDERWAY = 256;

export const newControl = (): SharedArrayBuffer => new SharedArrayBuffer(8);

/** The page's side. */
export class ControlPanel {
  private readonly words: Int32Array;
  constructor(control: SharedArrayBuffer) {
    this.words = new Int32Array(control);
  }
  interrupt(): void {
    Atomics.store(this.words, SIGNAL, SIGINT);
    Atomics.notify(this.words, TAKEN);
  }
  took(): void {
    Atomics.add(this.words, TAKEN, 1);
    Atomics.notify(this.words, TAKEN);
  }
}

/** The worker's side. */
export class ControlledWorker {
  readonly signals: Uint8Array;
  private readonly words: Int32Array;
  private sent = 0;
  constructor(control: SharedArrayBuffer) {
    this.words = new Int32Array(control);
    this.signals = new Uint8Array(control, 0, 1);
  }
  /** Interrupt the script once it goes on. */
  interrupt(): void {
    Atomics.store(this.words, SIGNAL, SIGINT);
  }
  /** Forget an interrupt that came after the script had ended. */
  clear(): void {
    Atomics.store(this.words, SIGNAL, 0);
  }
  /** Count one output message; wait while the page is too far behind, unless it says stop. */
  sending(): void {
    this.sent += 1;
    for (;;) {
      const taken = Atomics.load(this.words, TAKEN);
      if (this.sent - taken <= MOST_UNDERWAY || Atomics.load(this.words, SIGNAL) !== 0) return;
      Atomics.wait(this.words, TAKEN, taken, 100);
    }
  }
}
