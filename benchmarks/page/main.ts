/** The page in which all contenders stand side by side; benchmarks/browser.py drives it. */

import { type Ceiling, startCeiling } from "./peak_rates";
import { start as startJax } from "./implementations/jax/index";
import { Ours } from "./implementations/ours";
import { start as startOrt } from "./implementations/ort/index";
import { start as startTfjs } from "./implementations/tfjs/index";
import { makeArrays } from "./data";
import type { Contender, Ready, Workload } from "./workload";

type Name = "tensorbrook" | "tensorbrook keras" | "jax-js" | "tfjs" | "ort";

interface Prepared {
  readonly check: readonly number[] | null;
  /** Why this contender cannot do the workload, where it cannot. */
  readonly reason: string | null;
}

const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);

class Benchmark {
  private readonly ready = new Map<Name, Ready>();
  private constructor(
    private readonly contenders: ReadonlyMap<Name, Contender>, private readonly ours: Ours,
    readonly ceiling: Ceiling,
  ) {}

  static async start(
    threads: number, sources: Readonly<Record<string, string>>, ceiling: readonly number[],
  ): Promise<Benchmark> {
    const ours = await Ours.start(threads, sources);
    const contenders = new Map<Name, Contender>([
      ["tensorbrook", ours], ["tensorbrook keras", ours.with("keras")],
      ["jax-js", await startJax()],
      ["tfjs", await startTfjs(threads)],
      ["ort", await startOrt(threads)],
    ]);
    return new Benchmark(contenders, ours, await startCeiling(threads, Uint8Array.from(ceiling)));
  }

  /** Make a workload ready with some contenders; says what each computed, or why it cannot. */
  async prepare(workload: Workload, names: readonly Name[]): Promise<Record<string, Prepared>> {
    const arrays = makeArrays(workload);
    const outcomes: Record<string, Prepared> = {};
    for (const name of names) {
      try {
        const ready = await this.contender(name).prepare(workload, arrays);
        this.ready.set(name, ready);
        outcomes[name] = { check: ready.check, reason: null };
      } catch (error) {
        outcomes[name] = { check: null, reason: messageOf(error) };
      }
    }
    return outcomes;
  }

  /** Milliseconds of this many steps of one contender. */
  async turn(name: Name, steps: number): Promise<number> {
    const ready = this.ready.get(name);
    if (ready === undefined) throw new Error(`${name} is not ready for anything`);
    return ready.turn(steps);
  }

  async drop(): Promise<void> {
    for (const each of this.ready.values()) await each.dispose();
    this.ready.clear();
  }

  /** Run a line of Python in our runtime and return the JSON that it prints. */
  python(line: string): Promise<unknown> {
    return this.ours.python(line);
  }

  private contender(name: Name): Contender {
    const found = this.contenders.get(name);
    if (found === undefined) throw new Error(`there is no contender ${name}`);
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
