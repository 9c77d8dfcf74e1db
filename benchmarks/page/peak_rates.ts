/** Peak rates of this page, measured with the loops that benchmarks/peak_rates.py assembles. */

import PeakWorker from "./peak_rates_worker?worker";
import type { Loop, Span } from "./peak_rates_worker";

/** One thread: a worker that runs the loops over a separate memory. */
class Thread {
  private readonly worker = new PeakWorker();

  private request(message: object): Promise<Span> {
    return new Promise((resolve, reject) => {
      this.worker.onmessage = ({ data }: MessageEvent<Span>) => resolve(data);
      this.worker.onerror = ({ message: reason }) => reject(new Error(reason));
      this.worker.postMessage(message);
    });
  }

  load(module: Uint8Array): Promise<Span> {
    return this.request({ module });
  }

  run(loop: Loop, count: number, size: number): Promise<Span> {
    return this.request({ loop, count, size });
  }
}

export class PeakLoops {
  constructor(private readonly threads: readonly Thread[]) {}

  /** Milliseconds from the first thread's start to the last thread's end. */
  async run(loop: Loop, count: number, size: number): Promise<number> {
    const spans = await Promise.all(this.threads.map((thread) => thread.run(loop, count, size)));
    const [begins, ends] = [spans.map(({ begin }) => begin), spans.map(({ end }) => end)];
    return Math.max(...ends) - Math.min(...begins);
  }
}

export async function startPeakLoops(threads: number, module: Uint8Array): Promise<PeakLoops> {
  const started = Array.from({ length: threads }, () => new Thread());
  await Promise.all(started.map((thread) => thread.load(module)));
  return new PeakLoops(started);
}
