/**
 * The GPU device: buffers and programs by handle. The caller chooses the handles and never reuses
 * one. The device is in Python's worker or in a separate one; operations that wait return promises.
 */

import { requestAdapter } from "./gpu_adapter";
import { parseCommands } from "./gpu_commands";
import { DeviceError, errorKind, type ErrorReport } from "./gpu_errors";
import { COPY_DST, COPY_SRC, MAP_MODE_READ, MAP_READ, STORAGE } from "./gpu_flags";
import { gpuInfo, maxDeviceDescriptor, type GpuInfo } from "./gpu_info";
import { GpuProgram } from "./gpu_program";
import { totalSize, type BufferCopy, type BufferRange } from "./gpu_ranges";
import { ShaderCache } from "./gpu_shaders";

export interface DeviceCounters {
  readonly submits: number;
  readonly dispatches: number;
  readonly pipelines: number;
}

/** How long after a failed call the event of a lost device may arrive. */
const LOSS_EVENT_TIMEOUT_MS = 200;

export class Device {
  /** Why the device was lost, or null. */
  lost: string | null = null;
  /** Called when an error occurs that no pending call reports. */
  onError: () => void = () => undefined;
  private readonly buffers = new Map<number, GPUBuffer>();
  private readonly programs = new Map<number, GpuProgram>();
  private readonly stagingBuffers = new Map<number, GPUBuffer>();
  private readonly shaders: ShaderCache;
  private readonly whenLost: Promise<void>;
  private pendingError: ErrorReport | null = null;
  private submits = 0;
  private dispatches = 0;
  private readonly lookup = (handle: number): GPUBuffer => {
    const buffer = this.buffers.get(handle);
    if (buffer === undefined) throw new RangeError(`there is no buffer ${handle}`);
    return buffer;
  };

  private constructor(private readonly device: GPUDevice, readonly info: GpuInfo) {
    this.shaders = new ShaderCache(device);
    device.addEventListener("uncapturederror", ({ error }) =>
      this.recordError({ kind: errorKind(error), message: error.message }));
    this.whenLost = device.lost.then(({ message, reason }) => {
      this.lost = message || reason;
      this.recordError({ kind: "lost", message: this.lost });
    });
  }

  /** Open a device with all limits and features of its adapter. */
  static async open(gpu: GPU | undefined): Promise<Device> {
    const adapter = await requestAdapter(gpu);
    if (typeof adapter === "string") throw new DeviceError("lost", adapter);
    return new Device(await adapter.requestDevice(maxDeviceDescriptor(adapter)), gpuInfo(adapter));
  }

  /** Return and clear the first unreported error; later ones are usually its consequences. */
  takeError(): ErrorReport | null {
    const error = this.pendingError;
    if (this.lost === null) this.pendingError = null; // a lost device stays lost
    return error;
  }

  /** Throw the first unreported error, if there is one. */
  throwPendingError(): void {
    const error = this.takeError();
    if (error !== null) throw new DeviceError(error.kind, error.message);
  }

  get counters(): DeviceCounters {
    const { submits, dispatches, shaders } = this;
    return { submits, dispatches, pipelines: shaders.compiledCount };
  }

  /** Create a zero-filled buffer. */
  createBuffer(handle: number, size: number): void {
    const usage = STORAGE | COPY_SRC | COPY_DST;
    this.withErrorScope("out-of-memory", () => {
      this.buffers.set(handle, this.device.createBuffer({ size, usage }));
    });
  }

  freeBuffer(handle: number): void {
    this.buffers.get(handle)?.destroy();
    this.buffers.delete(handle);
  }

  write(handle: number, bytes: Uint8Array): void {
    this.device.queue.writeBuffer(this.lookup(handle), 0, bytes);
  }

  /** Compile a program's pipelines; resolves when it can run. */
  async load(handle: number, bytes: Uint8Array): Promise<void> {
    const commands = parseCommands(bytes);
    const shaders = await this.rejectWhenLost(this.shaders.compileAll(commands));
    this.programs.set(handle, new GpuProgram(this.device, commands, shaders));
  }

  unload(handle: number): void {
    this.programs.delete(handle);
  }

  /**
   * Submit copies and then a program; resolves when the GPU has finished. `buffers` are the handles
   * of the arena and the slots.
   */
  run(
    handle: number, buffers: readonly number[], copies: readonly BufferCopy[],
  ): Promise<void> {
    const program = this.programs.get(handle);
    if (program === undefined) throw new RangeError(`there is no program ${handle}`);
    this.submit((encoder) => {
      for (const [source, target, size] of copies) {
        encoder.copyBufferToBuffer(this.lookup(source), 0, this.lookup(target), 0, size);
      }
      program.encode(encoder, buffers, this.lookup);
    });
    this.dispatches += program.dispatches;
    return Promise.race([this.device.queue.onSubmittedWorkDone(), this.whenLost]);
  }

  /** Read ranges of buffers back, concatenated, after all commands that were submitted before. */
  async read(ranges: readonly BufferRange[]): Promise<Uint8Array<ArrayBuffer>> {
    const size = totalSize(ranges);
    const staging = this.acquireStaging(size);
    this.submit((encoder) => {
      let offset = 0;
      for (const [buffer, begin, length] of ranges) {
        encoder.copyBufferToBuffer(this.lookup(buffer), begin, staging, offset, length);
        offset += length;
      }
    });
    await this.rejectWhenLost(staging.mapAsync(MAP_MODE_READ, 0, size));
    const bytes = new Uint8Array(staging.getMappedRange(0, size).slice(0));
    staging.unmap();
    this.releaseStaging(staging);
    return bytes;
  }

  /** Resolves when the errors of all earlier calls have been reported. */
  async flushErrors(): Promise<void> {
    this.device.pushErrorScope("internal");
    await this.rejectWhenLost(this.device.popErrorScope());
  }

  destroy(): void {
    this.device.destroy();
  }

  private submit(encode: (encoder: GPUCommandEncoder) => void): void {
    this.withErrorScope("validation", () => {
      const encoder = this.device.createCommandEncoder();
      encode(encoder);
      this.device.queue.submit([encoder.finish()]);
      this.submits += 1;
    });
  }

  /**
   * Run a function in an error scope, which reports the first error only. Scopes report in order,
   * so the scope that `flushErrors` awaits reports after this one; an `uncapturederror` event may
   * arrive later.
   */
  private withErrorScope(filter: GPUErrorFilter, act: () => void): void {
    this.device.pushErrorScope(filter);
    try {
      act();
    } finally {
      this.device.popErrorScope().then((error) => {
        if (error !== null) this.recordError({ kind: errorKind(error), message: error.message });
      }, () => undefined); // a rejection means a lost device, which `device.lost` reports
    }
  }

  /** A mappable buffer, its size rounded up to a power of two, from an earlier read or new. */
  private acquireStaging(size: number): GPUBuffer {
    const rounded = 2 ** Math.ceil(Math.log2(Math.max(size, 256)));
    const pooled = this.stagingBuffers.get(rounded);
    this.stagingBuffers.delete(rounded);
    if (pooled !== undefined) return pooled;
    return this.device.createBuffer({ size: rounded, usage: MAP_READ | COPY_DST });
  }

  private releaseStaging(buffer: GPUBuffer): void {
    this.stagingBuffers.get(buffer.size)?.destroy();
    this.stagingBuffers.set(buffer.size, buffer);
  }

  private recordError(error: ErrorReport): void {
    if (this.pendingError !== null && error.kind !== "lost") return;
    this.pendingError = error;
    this.onError();
  }

  /** The result of a promise, or a "lost" error if the device is lost before it settles. */
  private async rejectWhenLost<T>(promise: Promise<T>): Promise<T> {
    const lost = this.whenLost.then((): never => {
      throw new DeviceError("lost", this.lost ?? "");
    });
    try {
      return await Promise.race([promise, lost]);
    } catch (error) {
      if (!(error instanceof DeviceError)) await this.waitForLossEvent();
      if (this.lost !== null) throw new DeviceError("lost", this.lost);
      throw error;
    }
  }

  /** Wait briefly for `device.lost`: a call on a lost device may fail before it resolves. */
  private waitForLossEvent(): Promise<void> {
    const timeout = new Promise<void>((resolve) => setTimeout(resolve, LOSS_EVENT_TIMEOUT_MS));
    return Promise.race([this.whenLost, timeout]);
  }
}
