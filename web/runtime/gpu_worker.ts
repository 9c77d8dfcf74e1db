/** The GPU worker: owns the device and serves the commands of Python's worker. */

import { Device } from "./gpu_device";
import { toErrorReport } from "./gpu_errors";
import type { FromGpuWorker, ToGpuWorker } from "./gpu_messages";
import type { BufferCopy } from "./gpu_ranges";
import { ReplyWriter, SharedStatus } from "./shared_reply";

type DeviceCommand = Exclude<ToGpuWorker, { readonly kind: "open" }>;

const post = (message: FromGpuWorker): void => postMessage(message);

/** Reply with the outcome of a promise. */
function replyWith(reply: SharedArrayBuffer, outcome: Promise<Uint8Array | void>): void {
  const writer = new ReplyWriter(reply);
  outcome.then(
    (bytes) => writer.resolve(bytes ?? undefined), (error) => writer.reject(toErrorReport(error)));
}

const encodeJson = (value: object): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

class DeviceServer {
  constructor(private device: Device, private readonly status: SharedStatus) {
    this.forwardErrors();
  }

  /** Execute a command. If it throws, Python receives the error at its next call. */
  handle(command: DeviceCommand): void {
    try {
      this.execute(command);
    } catch (error) {
      this.status.reportError(toErrorReport(error));
    }
  }

  private execute(command: DeviceCommand): void {
    const { device } = this;
    switch (command.kind) {
      case "create": return device.createBuffer(command.buffer, command.size);
      case "free": return device.freeBuffer(command.buffer);
      case "write": return device.write(command.buffer, command.bytes);
      case "read": return replyWith(command.reply, device.read(command.ranges));
      case "load": return replyWith(command.reply, device.load(command.program, command.commands));
      case "unload": return device.unload(command.program);
      case "run": return this.run(command.program, command.buffers, command.copies);
      case "counters": return new ReplyWriter(command.reply).resolve(encodeJson(device.counters));
      case "flush-errors": return replyWith(command.reply, device.flushErrors());
      case "reopen": return replyWith(command.reply, this.reopen());
      case "destroy": return device.destroy();
      default: return command satisfies never;
    }
  }

  private run(
    program: number, buffers: readonly number[], copies: readonly BufferCopy[],
  ): void {
    const { device } = this;
    const countRun = (): void => {
      if (this.device === device) this.status.countRun();
    };
    try {
      device.run(program, buffers, copies).then(countRun, countRun);
    } catch (error) {
      countRun(); // otherwise Python would wait for it forever
      throw error;
    }
  }

  private async reopen(): Promise<Uint8Array> {
    this.device.destroy();
    const device = await Device.open(navigator.gpu);
    this.device = device;
    this.status.clearError();
    this.forwardErrors();
    return encodeJson(device.info);
  }

  private forwardErrors(): void {
    const { device } = this;
    device.onError = () => {
      const error = device.takeError();
      if (this.device === device && error !== null) this.status.reportError(error);
    };
  }
}

/** Open the device. Python's worker sends commands only after the message "ready". */
async function open(status: SharedArrayBuffer): Promise<DeviceServer | null> {
  try {
    const device = await Device.open(navigator.gpu);
    const server = new DeviceServer(device, new SharedStatus(status));
    post({ kind: "ready", info: device.info });
    return server;
  } catch (error) {
    post({ kind: "failed", reason: toErrorReport(error).message });
    return null;
  }
}

function serve(): void {
  let server: DeviceServer | null = null;
  addEventListener("message", async ({ data }: MessageEvent<ToGpuWorker>) => {
    if (data.kind === "open") server = await open(data.status);
    else server?.handle(data);
  });
}

serve();
