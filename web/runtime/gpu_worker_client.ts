/** The worker transport: commands are posted to the GPU worker, replies arrive in shared memory. */

import type { DeviceCounters } from "./gpu_device";
import { DeviceError } from "./gpu_errors";
import { MAX_IN_FLIGHT, type GpuHost, type PollableResult } from "./gpu_host";
import type { GpuInfo } from "./gpu_info";
import type { FromGpuWorker, ToGpuWorker } from "./gpu_messages";
import { totalSize, type BufferCopy, type BufferRange } from "./gpu_ranges";
import GpuWorker from "./gpu_worker?worker";
import { newReplyBuffer, newStatusBuffer, SharedReply, SharedStatus } from "./shared_reply";
import { takeWorkerError } from "./worker_errors";

const returnNull = (): null => null;

const decodeText = (bytes: Uint8Array): string => new TextDecoder().decode(bytes.slice());

export class GpuWorkerClient implements GpuHost {
  readonly transport = "worker";
  calls = 0;
  private lastHandle = 0;
  private submittedRuns = 0;

  private constructor(
    private readonly worker: Worker, private readonly status: SharedStatus, public info: GpuInfo,
  ) {}

  static open(): Promise<GpuWorkerClient | { readonly reason: string }> {
    const worker = new GpuWorker({ name: "tensorbrook GPU" });
    const status = newStatusBuffer();
    return new Promise((resolve) => {
      worker.onmessage = ({ data }: MessageEvent<FromGpuWorker>) => {
        switch (data.kind) {
          case "ready":
            return resolve(new GpuWorkerClient(worker, new SharedStatus(status), data.info));
          case "failed": return resolve({ reason: data.reason });
          default: return data satisfies never;
        }
      };
      worker.onerror = (event) =>
        resolve({ reason: `its worker failed: ${takeWorkerError(event)}` });
      const open: ToGpuWorker = { kind: "open", status };
      worker.postMessage(open);
    });
  }

  lost(): string | null {
    const { error } = this.status;
    return error?.kind === "lost" ? error.message : null;
  }

  counters(): PollableResult<DeviceCounters> {
    return this.request(0, (reply) => ({ kind: "counters", reply }), (bytes): DeviceCounters =>
      JSON.parse(decodeText(bytes)));
  }

  createBuffer(size: number): number {
    this.post({ kind: "create", buffer: ++this.lastHandle, size });
    return this.lastHandle;
  }

  freeBuffer(buffer: number): void {
    this.post({ kind: "free", buffer });
  }

  write(buffer: number, bytes: Uint8Array): void {
    this.beginCall();
    const copy = bytes.slice(); // Python's memory cannot be transferred
    this.post({ kind: "write", buffer, bytes: copy }, copy.buffer);
  }

  read(ranges: readonly BufferRange[]): PollableResult<Uint8Array> {
    this.beginCall();
    const result = this.request(
      totalSize(ranges), (reply) => ({ kind: "read", ranges, reply }), (bytes) => bytes);
    return { ready: () => result.ready(), take: () => this.throwErrorOr(result.take()) };
  }

  load(commands: Uint8Array<ArrayBuffer>): PollableResult<number> {
    this.beginCall();
    const program = ++this.lastHandle;
    return this.request(0, (reply) => ({ kind: "load", program, commands, reply }), () => program);
  }

  unload(program: number): void {
    this.post({ kind: "unload", program });
  }

  isQueueFull(): boolean {
    return this.submittedRuns - this.status.completedRuns >= MAX_IN_FLIGHT && this.lost() === null;
  }

  waitForSlot(): PollableResult<null> {
    return {
      ready: () => {
        if (this.isQueueFull()) this.status.waitForRunAfter(this.status.completedRuns);
        return !this.isQueueFull();
      },
      take: returnNull,
    };
  }

  run(program: number, buffers: readonly number[], copies: readonly BufferCopy[]): void {
    this.beginCall();
    this.submittedRuns += 1;
    this.post({ kind: "run", program, buffers, copies });
  }

  flushErrors(): PollableResult<null> {
    const result = this.request(0, (reply) => ({ kind: "flush-errors", reply }), returnNull);
    return { ready: () => result.ready(), take: () => this.throwErrorOr(result.take()) };
  }

  reopen(): PollableResult<null> {
    return this.request(0, (reply) => ({ kind: "reopen", reply }), (bytes) => {
      const info: GpuInfo = JSON.parse(decodeText(bytes));
      this.info = info;
      this.submittedRuns = this.status.completedRuns; // runs of the old device never complete
      return null;
    });
  }

  destroy(): void {
    this.post({ kind: "destroy" });
  }

  private beginCall(): void {
    this.calls += 1;
    this.throwPendingError();
  }

  private throwErrorOr<T>(value: T): T {
    this.throwPendingError();
    return value;
  }

  private throwPendingError(): void {
    const { error } = this.status;
    if (error === null) return;
    if (error.kind !== "lost") this.status.clearError(); // a lost device stays lost until reopened
    throw new DeviceError(error.kind, error.message);
  }

  private request<T>(
      size: number, message: (reply: SharedArrayBuffer) => ToGpuWorker,
      decode: (bytes: Uint8Array) => T,
    ): SharedReply<T> {
      const reply = newReplyBuffer(size);
      this.post(message(reply));
      return new SharedReply(reply, decode);
  }

  private post(message: ToGpuWorker, ...transfer: Transferable[]): void {
    this.worker.postMessage(message, transfer);
  }
}
