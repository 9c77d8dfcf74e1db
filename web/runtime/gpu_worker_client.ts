/** The device in a worker of its own: commands go there as messages, answers by shared memory. */

import type { Counts } from "./gpu_device";
import type { GpuFacts } from "./gpu_info";
import { MOST_UNDERWAY, type Answer, type GpuHost } from "./gpu_host";
import type { FromGpu, ToGpu } from "./gpu_messages";
import { newAnswer, newStatus, SharedAnswer, Status } from "./shared_reply";
import { sizeOf, type BufferCopy, type Piece } from "./gpu_ranges";
import { GpuTrouble } from "./gpu_errors";
import GpuWorker from "./gpu_worker?worker";

const nothing = (): null => null;

const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes.slice());

export class RemoteGpu implements GpuHost {
  readonly way = "worker";
  calls = 0;
  private numbers = 0;
  private submitted = 0;

  private constructor(
    private readonly worker: Worker, private readonly status: Status, public facts: GpuFacts,
  ) {}

  static open(): Promise<RemoteGpu | { readonly reason: string }> {
    const worker = new GpuWorker({ name: "tensorbrook GPU" });
    const memory = newStatus();
    return new Promise((resolve) => {
      worker.onmessage = ({ data }: MessageEvent<FromGpu>) => {
        switch (data.kind) {
          case "ready": return resolve(new RemoteGpu(worker, new Status(memory), data.facts));
          case "failed": return resolve({ reason: data.reason });
          default: return data satisfies never;
        }
      };
      worker.onerror = ({ message }) => resolve({ reason: `its worker failed: ${message}` });
      const open: ToGpu = { kind: "open", status: memory };
      worker.postMessage(open);
    });
  }

  lost(): string | null {
    const { trouble } = this.status;
    return trouble?.kind === "lost" ? trouble.message : null;
  }

  counts(): Answer<Counts> {
    return this.ask(0, (answer) => ({ kind: "counts", answer }), (bytes): Counts =>
      JSON.parse(textOf(bytes)));
  }

  create(size: number): number {
    this.post({ kind: "create", buffer: ++this.numbers, size });
    return this.numbers;
  }

  free(buffer: number): void {
    this.post({ kind: "free", buffer });
  }

  write(buffer: number, bytes: Uint8Array): void {
    this.begin();
    const copy = bytes.slice(); // Python's memory cannot be given away
    this.post({ kind: "write", buffer, bytes: copy }, copy.buffer);
  }

  read(pieces: readonly Piece[]): Answer<Uint8Array> {
    this.begin();
    const read = this.ask(sizeOf(pieces), (answer) => ({ kind: "read", pieces, answer }), (b) => b);
    return { ready: () => read.ready(), take: () => this.checked(read.take()) };
  }

  load(commands: Uint8Array<ArrayBuffer>): Answer<number> {
    this.begin();
    const program = ++this.numbers;
    return this.ask(0, (answer) => ({ kind: "load", program, commands, answer }), () => program);
  }

  unload(program: number): void {
    this.post({ kind: "unload", program });
  }

  full(): boolean {
    return this.submitted - this.status.runs >= MOST_UNDERWAY && this.lost() === null;
  }

  room(): Answer<null> {
    return {
      ready: () => {
        if (this.full()) this.status.waitBeyond(this.status.runs);
        return !this.full();
      },
      take: nothing,
    };
  }

  run(program: number, places: readonly number[], copies: readonly BufferCopy[]): void {
    this.begin();
    this.submitted += 1;
    this.post({ kind: "run", program, places, copies });
  }

  settled(): Answer<null> {
    const all = this.ask(0, (answer) => ({ kind: "settled", answer }), nothing);
    return { ready: () => all.ready(), take: () => this.checked(all.take()) };
  }

  renew(): Answer<null> {
    return this.ask(0, (answer) => ({ kind: "renew", answer }), (bytes) => {
      const facts: GpuFacts = JSON.parse(textOf(bytes));
      this.facts = facts;
      this.submitted = this.status.runs; // what the old device has not done, it never will
      return null;
    });
  }

  destroy(): void {
    this.post({ kind: "destroy" });
  }

  private begin(): void {
    this.calls += 1;
    this.check();
  }

  private checked<T>(value: T): T {
    this.check();
    return value;
  }

  private check(): void {
    const { trouble } = this.status;
    if (trouble === null) return;
    if (trouble.kind !== "lost") this.status.clear(); // lost it stays, until a new one is there
    throw new GpuTrouble(trouble.kind, trouble.message);
  }

  private ask<T>(
    size: number, message: (answer: SharedArrayBuffer) => ToGpu, read: (bytes: Uint8Array) => T,
  ): SharedAnswer<T> {
    const memory = newAnswer(size);
    this.post(message(memory));
    return new SharedAnswer(memory, read);
  }

  private post(message: ToGpu, ...given: Transferable[]): void {
    this.worker.postMessage(message, given);
  }
}
