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

/**
 * What Python looks at for a signal. It reads the element and then writes 0 into it, so that an
 * interrupt between the two would be lost: here that 0 takes away only what had been read.
 */
export class Signals {
  private read = 0;
  constructor(private readonly words: Int32Array) {}
  get 0(): number {
    return this.read = Atomics.load(this.words, SIGNAL);
  }
  set 0(value: number) {
    if (this.read !== value) Atomics.compareExchange(this.words, SIGNAL, this.read, value);
  }
}

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
  /** Forget an interrupt that came after the script had ended. */
  clear(): void {
    Atomics.store(this.words, SIGNAL, 0);
  }
  took(): void {
    Atomics.add(this.words, TAKEN, 1);
    Atomics.notify(this.words, TAKEN);
  }
}

/** The worker's side. */
export class ControlledWorker {
  readonly signals: Signals;
  private readonly words: Int32Array;
  private sent = 0;
  constructor(control: SharedArrayBuffer) {
    this.words = new Int32Array(control);
    this.signals = new Signals(this.words);
  }
  /** Interrupt the script once it goes on. */
  interrupt(): void {
    Atomics.store(this.words, SIGNAL, SIGINT);
  }
  /** Forget an interrupt that has been heeded in another way. */
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
