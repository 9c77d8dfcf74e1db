/** The device in Python's own worker; Python waits for promises where it can switch stacks. */

import type { Counts } from "./gpu_device";
import { Device } from "./gpu_device";
import type { GpuFacts } from "./gpu_info";
import { MOST_UNDERWAY, type Answer, type GpuHost } from "./gpu_host";
import type { BufferCopy, Piece } from "./gpu_ranges";

export class LocalGpu implements GpuHost {
  readonly way = "local";
  calls = 0;
  private numbers = 0;
  private underway = 0;
  private left = Promise.withResolvers<null>();

  private constructor(private readonly gpu: GPU | undefined, private device: Device) {}

  static async open(gpu: GPU | undefined): Promise<LocalGpu> {
    return new LocalGpu(gpu, await Device.open(gpu));
  }

  get facts(): GpuFacts {
    return this.device.facts;
  }

  lost(): string | null {
    return this.device.lost;
  }

  counts(): Answer<Counts> {
    return { ready: () => true, take: () => this.device.counts };
  }

  create(size: number): number {
    this.device.create(++this.numbers, size);
    return this.numbers;
  }

  free(buffer: number): void {
    this.device.free(buffer);
  }

  write(buffer: number, bytes: Uint8Array): void {
    this.begin();
    this.device.write(buffer, bytes);
  }

  async read(pieces: readonly Piece[]): Promise<Uint8Array> {
    this.begin();
    const bytes = await this.device.read(pieces);
    this.device.check();
    return bytes;
  }

  async load(commands: Uint8Array<ArrayBuffer>): Promise<number> {
    this.begin();
    const number = ++this.numbers;
    await this.device.load(number, commands);
    return number;
  }

  unload(program: number): void {
    this.device.unload(program);
  }

  full(): boolean {
    return this.underway >= MOST_UNDERWAY;
  }

  /** Resolves when a run is done; several may wait for it. */
  room(): Promise<null> {
    return this.left.promise;
  }

  run(program: number, places: readonly number[], copies: readonly BufferCopy[]): void {
    this.begin();
    const done = this.device.run(program, places, copies);
    this.underway += 1;
    const ended = (): void => this.ended();
    done.then(ended, ended);
  }

  async settled(): Promise<null> {
    await this.device.settled();
    this.device.check();
    return null;
  }

  async renew(): Promise<null> {
    this.device.destroy();
    this.device = await Device.open(this.gpu);
    return null;
  }

  destroy(): void {
    this.device.destroy();
  }

  private ended(): void {
    this.underway -= 1;
    this.left.resolve(null);
    this.left = Promise.withResolvers<null>();
  }

  private begin(): void {
    this.calls += 1;
    this.device.check();
  }
}
