/** The benchmark page with all implementations; benchmarks/browser.py drives it. */

import { type PeakLoops, startPeakLoops } from "./peak_rates";
import { start as startJax } from "./implementations/jax/index";
import { Ours } from "./implementations/ours";
import { start as startOrt } from "./implementations/ort/index";
import { start as startTfjs } from "./implementations/tfjs/index";
import { makeArrays } from "./data";
import type { Implementation, Prepared, Workload } from "./workload";

type Name = "tensorbrook" | "tensorbrook keras" | "jax-js" | "tfjs" | "ort";

interface Outcome {
  readonly check: readonly number[] | null;
  /** Why the implementation does not support the workload; null where it does. */
  readonly reason: string | null;
}

const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);

class Benchmark {
  private readonly prepared = new Map<Name, Prepared>();
  private constructor(
    private readonly implementations: ReadonlyMap<Name, Implementation>,
    private readonly ours: Ours, readonly peakLoops: PeakLoops,
  ) {}

  static async start(
    threads: number, sources: Readonly<Record<string, string>>, peakModule: readonly number[],
  ): Promise<Benchmark> {
    const ours = await Ours.start(threads, sources);
    const implementations = new Map<Name, Implementation>([
      ["tensorbrook", ours], ["tensorbrook keras", ours.with("keras")],
      ["jax-js", await startJax()],
      ["tfjs", await startTfjs(threads)],
      ["ort", await startOrt(threads)],
    ]);
    const peakLoops = await startPeakLoops(threads, Uint8Array.from(peakModule));
    return new Benchmark(implementations, ours, peakLoops);
  }

  /** Prepare a workload in each implementation; returns its samples, or why it is unsupported. */
  async prepare(workload: Workload, names: readonly Name[]): Promise<Record<string, Outcome>> {
    const arrays = makeArrays(workload);
    const outcomes: Record<string, Outcome> = {};
    for (const name of names) {
      try {
        const prepared = await this.implementation(name).prepare(workload, arrays);
        this.prepared.set(name, prepared);
        outcomes[name] = { check: prepared.check, reason: null };
      } catch (error) {
        outcomes[name] = { check: null, reason: messageOf(error) };
      }
    }
    return outcomes;
  }

  /** Milliseconds of this many steps of one implementation. */
  async runSteps(name: Name, steps: number): Promise<number> {
    const prepared = this.prepared.get(name);
    if (prepared === undefined) throw new Error(`${name} has no prepared workload`);
    return prepared.runSteps(steps);
  }

  async drop(): Promise<void> {
    for (const each of this.prepared.values()) await each.dispose();
    this.prepared.clear();
  }

  /** Run a line of Python in our runtime; returns the JSON that it prints. */
  python(line: string): Promise<unknown> {
    return this.ours.python(line);
  }

  private implementation(name: Name): Implementation {
    const found = this.implementations.get(name);
    if (found === undefined) throw new Error(`there is no implementation ${name}`);
    return found;
  }
}

declare global {
  var startBenchmark: typeof Benchmark.start | undefined;
  var benchmark: Benchmark | undefined;
}

globalThis.startBenchmark = async (...options) => {
  globalThis.benchmark = await Benchmark.start(...options);
  return globalThis.benchmark;
};
