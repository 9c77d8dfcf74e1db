/** The JSPI transport: the device is in Python's worker, which awaits it by switching stacks. */

import { Device, type DeviceCounters } from "./gpu_device";
import { MAX_IN_FLIGHT, type GpuHost, type PollableResult } from "./gpu_host";
import type { GpuInfo } from "./gpu_info";
import type { BufferCopy, BufferRange } from "./gpu_ranges";

export class JspiGpu implements GpuHost {
  readonly transport = "jspi";
  calls = 0;
  private lastHandle = 0;
  private inFlight = 0;
  private slotFreed = Promise.withResolvers<null>();

  private constructor(private readonly gpu: GPU | undefined, private device: Device) {}

  static async open(gpu: GPU | undefined): Promise<JspiGpu> {
    return new JspiGpu(gpu, await Device.open(gpu));
  }

  get info(): GpuInfo {
    return this.device.info;
  }

  lost(): string | null {
    return this.device.lost;
  }

  counters(): PollableResult<DeviceCounters> {
    return { ready: () => true, take: () => this.device.counters };
  }

  createBuffer(size: number): number {
    this.device.createBuffer(++this.lastHandle, size);
    return this.lastHandle;
  }

  freeBuffer(buffer: number): void {
    this.device.freeBuffer(buffer);
  }

  write(buffer: number, bytes: Uint8Array): void {
    this.beginCall();
    this.device.write(buffer, bytes);
  }

  async read(ranges: readonly BufferRange[]): Promise<Uint8Array> {
    this.beginCall();
    const bytes = await this.device.read(ranges);
    this.device.throwPendingError();
    return bytes;
  }

  async load(commands: Uint8Array<ArrayBuffer>): Promise<number> {
    this.beginCall();
    const handle = ++this.lastHandle;
    await this.device.load(handle, commands);
    return handle;
  }

  unload(program: number): void {
    this.device.unload(program);
  }

  isQueueFull(): boolean {
    return this.inFlight >= MAX_IN_FLIGHT;
  }

  /** Resolves when a run is done; several callers may await it. */
  waitForSlot(): Promise<null> {
    return this.slotFreed.promise;
  }

  run(program: number, buffers: readonly number[], copies: readonly BufferCopy[]): void {
    this.beginCall();
    const done = this.device.run(program, buffers, copies);
    this.inFlight += 1;
    const onDone = (): void => this.onRunDone();
    done.then(onDone, onDone);
  }

  async flushErrors(): Promise<null> {
    await this.device.flushErrors();
    this.device.throwPendingError();
    return null;
  }

  async reopen(): Promise<null> {
    this.device.destroy();
    this.device = await Device.open(this.gpu);
    return null;
  }

  destroy(): void {
    this.device.destroy();
  }

  private onRunDone(): void {
    this.inFlight -= 1;
    this.slotFreed.resolve(null);
    this.slotFreed = Promise.withResolvers<null>();
  }

  private beginCall(): void {
    this.calls += 1;
    this.device.throwPendingError();
  }
}
