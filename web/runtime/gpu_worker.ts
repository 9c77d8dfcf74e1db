/** The worker in which the device lives where Python cannot wait for promises. */

import { Device } from "./gpu_device";
import type { FromGpu, ToGpu } from "./gpu_messages";
import { Reply, Status } from "./shared_reply";
import type { BufferCopy } from "./gpu_ranges";
import { asTrouble } from "./gpu_errors";

type Command = Exclude<ToGpu, { readonly kind: "open" }>;

const post = (message: FromGpu): void => postMessage(message);

/** Answer with what a piece of work comes to. */
function answer(memory: SharedArrayBuffer, work: Promise<Uint8Array | void>): void {
  const reply = new Reply(memory);
  work.then((bytes) => reply.done(bytes ?? undefined), (error) => reply.fail(asTrouble(error)));
}

const textOf = (value: object): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

class Server {
  constructor(private device: Device, private readonly status: Status) {
    this.listen();
  }

  /** Carry out a command; what it throws, Python hears at its next call. */
  take(command: Command): void {
    try {
      this.carryOut(command);
    } catch (error) {
      this.status.tell(asTrouble(error));
    }
  }

  private carryOut(command: Command): void {
    const { device } = this;
    switch (command.kind) {
      case "create": return device.create(command.buffer, command.size);
      case "free": return device.free(command.buffer);
      case "write": return device.write(command.buffer, command.bytes);
      case "read": return answer(command.answer, device.read(command.pieces));
      case "load": return answer(command.answer, device.load(command.program, command.commands));
      case "unload": return device.unload(command.program);
      case "run": return this.run(command.program, command.places, command.copies);
      case "counts": return new Reply(command.answer).done(textOf(device.counts));
      case "settled": return answer(command.answer, device.settled());
      case "renew": return answer(command.answer, this.renew());
      case "destroy": return device.destroy();
      default: return command satisfies never;
    }
  }

  private run(
    program: number, places: readonly number[], copies: readonly BufferCopy[],
  ): void {
    const { device } = this;
    const ended = (): void => {
      if (this.device === device) this.status.ended();
    };
    try {
      device.run(program, places, copies).then(ended, ended);
    } catch (error) {
      ended(); // or Python would wait for it
      throw error;
    }
  }

  private async renew(): Promise<Uint8Array> {
    this.device.destroy();
    const device = await Device.open(navigator.gpu);
    this.device = device;
    this.status.clear();
    this.listen();
    return textOf(device.facts);
  }

  private listen(): void {
    const { device } = this;
    device.onTrouble = () => {
      const trouble = device.news();
      if (this.device === device && trouble !== null) this.status.tell(trouble);
    };
  }
}

/** Open the device, then serve. Commands come only after the news that it is open. */
async function open(status: SharedArrayBuffer): Promise<Server | null> {
  try {
    const device = await Device.open(navigator.gpu);
    const server = new Server(device, new Status(status));
    post({ kind: "ready", facts: device.facts });
    return server;
  } catch (error) {
    post({ kind: "failed", reason: asTrouble(error).message });
    return null;
  }
}

function serve(): void {
  let server: Server | null = null;
  addEventListener("message", async ({ data }: MessageEvent<ToGpu>) => {
    if (data.kind === "open") server = await open(data.status);
    else server?.take(data);
  });
}

serve();
