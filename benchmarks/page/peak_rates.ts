/** What this machine does at most, in this page: loops that benchmarks/peak_rates.py assembled. */

import CeilingWorker from "./peak_rates_worker?worker";
import type { Answer, Loop } from "./peak_rates_worker";

/** One thread of the ceiling: a worker with the loops in a memory of its own. */
class Thread {
  private readonly worker = new CeilingWorker();

  private ask(message: object): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.worker.onmessage = ({ data }: MessageEvent<Answer>) => resolve(data);
      this.worker.onerror = ({ message: reason }) => reject(new Error(reason));
      this.worker.postMessage(message);
    });
  }

  load(module: Uint8Array): Promise<Answer> {
    return this.ask({ module });
  }

  run(loop: Loop, count: number, size: number): Promise<Answer> {
    return this.ask({ loop, count, size });
  }
}

export class Ceiling {
  constructor(private readonly threads: readonly Thread[]) {}

  /** Milliseconds from the first thread's beginning to the last one's end. */
  async run(loop: Loop, count: number, size: number): Promise<number> {
    const answers = await Promise.all(this.threads.map((thread) => thread.run(loop, count, size)));
    const [begins, ends] = [answers.map(({ begin }) => begin), answers.map(({ end }) => end)];
    return Math.max(...ends) - Math.min(...begins);
  }
}

export async function startCeiling(threads: number, module: Uint8Array): Promise<Ceiling> {
  const started = Array.from({ length: threads }, () => new Thread());
  await Promise.all(started.map((thread) => thread.load(module)));
  return new Ceiling(started);
}
