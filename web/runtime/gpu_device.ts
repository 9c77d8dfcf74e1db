/**
 * The GPU itself: buffers and programs by the numbers that the caller gives them, which are never
 * given twice. It lives in Python's worker or in one of its own; what must wait is a promise.
 */

import { findAdapter } from "./gpu_adapter";
import { factsOf, fullDevice, type GpuFacts } from "./gpu_info";
import { COPY_DST, COPY_SRC, MAP_READ, STORAGE, TO_READ } from "./gpu_flags";
import { readCommands } from "./gpu_commands";
import { Program } from "./gpu_program";
import { Shaders } from "./gpu_shaders";
import { sizeOf, type BufferCopy, type Piece } from "./gpu_ranges";
import { GpuTrouble, kindOf, type Trouble } from "./gpu_errors";

export interface Counts {
  readonly submits: number;
  readonly dispatches: number;
  readonly pipelines: number;
}

/** How long after a failure the news may come that the device was lost. */
const NEWS_MS = 200;

export class Device {
  /** Why the device is no more, or null. */
  lost: string | null = null;
  /** Called when there is an error that no call waits for. */
  onTrouble: () => void = () => undefined;
  private readonly buffers = new Map<number, GPUBuffer>();
  private readonly programs = new Map<number, Program>();
  private readonly staging = new Map<number, GPUBuffer>();
  private readonly shaders: Shaders;
  private readonly end: Promise<void>;
  private trouble: Trouble | null = null;
  private submits = 0;
  private dispatches = 0;
  private readonly lookup = (number: number): GPUBuffer => {
    const found = this.buffers.get(number);
    if (found === undefined) throw new RangeError(`there is no buffer ${number}`);
    return found;
  };

  private constructor(private readonly device: GPUDevice, readonly facts: GpuFacts) {
    this.shaders = new Shaders(device);
    device.addEventListener("uncapturederror", ({ error }) =>
      this.note({ kind: kindOf(error), message: error.message }));
    this.end = device.lost.then(({ message, reason }) => {
      this.lost = message || reason;
      this.note({ kind: "lost", message: this.lost });
    });
  }

  /** A device with all that its adapter offers. */
  static async open(gpu: GPU | undefined): Promise<Device> {
    const adapter = await findAdapter(gpu);
    if (typeof adapter === "string") throw new GpuTrouble("lost", adapter);
    return new Device(await adapter.requestDevice(fullDevice(adapter)), factsOf(adapter));
  }

  /** What no call has waited for: the first of it, as what follows from it says less. */
  news(): Trouble | null {
    const { trouble } = this;
    if (this.lost === null) this.trouble = null; // a lost device stays lost
    return trouble;
  }

  /** Throw it. */
  check(): void {
    const trouble = this.news();
    if (trouble !== null) throw new GpuTrouble(trouble.kind, trouble.message);
  }

  get counts(): Counts {
    const { submits, dispatches, shaders } = this;
    return { submits, dispatches, pipelines: shaders.made };
  }

  /** A new buffer of zeros. */
  create(number: number, size: number): void {
    const usage = STORAGE | COPY_SRC | COPY_DST;
    this.heeding("out-of-memory", () => {
      this.buffers.set(number, this.device.createBuffer({ size, usage }));
    });
  }

  free(number: number): void {
    this.buffers.get(number)?.destroy();
    this.buffers.delete(number);
  }

  write(number: number, bytes: Uint8Array): void {
    this.device.queue.writeBuffer(this.lookup(number), 0, bytes);
  }

  /** Make a program's pipelines; resolves when it can run. */
  async load(number: number, bytes: Uint8Array): Promise<void> {
    const commands = readCommands(bytes);
    const shaders = await this.unlessLost(this.shaders.of(commands));
    this.programs.set(number, new Program(this.device, commands, shaders));
  }

  unload(number: number): void {
    this.programs.delete(number);
  }

  /** Submit copies and then a program; resolves when the GPU is done. `places` are arena and slots. */
  run(
    number: number, places: readonly number[], copies: readonly BufferCopy[],
  ): Promise<void> {
    const program = this.programs.get(number);
    if (program === undefined) throw new RangeError(`there is no program ${number}`);
    this.submit((encoder) => {
      for (const [source, target, size] of copies) {
        encoder.copyBufferToBuffer(this.lookup(source), 0, this.lookup(target), 0, size);
      }
      program.encode(encoder, places, this.lookup);
    });
    this.dispatches += program.dispatches;
    return Promise.race([this.device.queue.onSubmittedWorkDone(), this.end]);
  }

  /** What pieces of buffers hold, one after the other, after all that was submitted before. */
  async read(pieces: readonly Piece[]): Promise<Uint8Array<ArrayBuffer>> {
    const size = sizeOf(pieces);
    const staging = this.stagingOf(size);
    this.submit((encoder) => {
      let at = 0;
      for (const [buffer, begin, length] of pieces) {
        encoder.copyBufferToBuffer(this.lookup(buffer), begin, staging, at, length);
        at += length;
      }
    });
    await this.unlessLost(staging.mapAsync(TO_READ, 0, size));
    const bytes = new Uint8Array(staging.getMappedRange(0, size).slice(0));
    staging.unmap();
    this.keepStaging(staging);
    return bytes;
  }

  /** Resolves when the errors of all calls before have been reported. */
  async settled(): Promise<void> {
    this.device.pushErrorScope("internal");
    await this.unlessLost(this.device.popErrorScope());
  }

  destroy(): void {
    this.device.destroy();
  }

  private submit(encode: (encoder: GPUCommandEncoder) => void): void {
    this.heeding("validation", () => {
      const encoder = this.device.createCommandEncoder();
      encode(encoder);
      this.device.queue.submit([encoder.finish()]);
      this.submits += 1;
    });
  }

  /**
   * Within an error scope, of which only the first error is heard: the others follow from it. Scopes
   * tell in order, so what `settled` waits for comes after; an event may come later.
   */
  private heeding(kind: GPUErrorFilter, act: () => void): void {
    this.device.pushErrorScope(kind);
    try {
      act();
    } finally {
      this.device.popErrorScope().then((error) => {
        if (error !== null) this.note({ kind: kindOf(error), message: error.message });
      }, () => undefined); // that the device is lost is told elsewhere
    }
  }

  /** A buffer that can be mapped, of the next power of two, kept from an earlier read or new. */
  private stagingOf(size: number): GPUBuffer {
    const rounded = 2 ** Math.ceil(Math.log2(Math.max(size, 256)));
    const kept = this.staging.get(rounded);
    this.staging.delete(rounded);
    if (kept !== undefined) return kept;
    return this.device.createBuffer({ size: rounded, usage: MAP_READ | COPY_DST });
  }

  private keepStaging(buffer: GPUBuffer): void {
    this.staging.get(buffer.size)?.destroy();
    this.staging.set(buffer.size, buffer);
  }

  private note(trouble: Trouble): void {
    if (this.trouble !== null && trouble.kind !== "lost") return;
    this.trouble = trouble;
    this.onTrouble();
  }

  /** What a promise comes to, unless the device is lost before. */
  private async unlessLost<T>(promise: Promise<T>): Promise<T> {
    const lost = this.end.then((): never => {
      throw new GpuTrouble("lost", this.lost ?? "");
    });
    try {
      return await Promise.race([promise, lost]);
    } catch (error) {
      if (!(error instanceof GpuTrouble)) await this.newsOfLoss();
      if (this.lost !== null) throw new GpuTrouble("lost", this.lost);
      throw error;
    }
  }

  /** A call may fail before the news comes that the device was lost. */
  private newsOfLoss(): Promise<void> {
    return Promise.race([this.end, new Promise<void>((go) => setTimeout(go, NEWS_MS))]);
  }
}
