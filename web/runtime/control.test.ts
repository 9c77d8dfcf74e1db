import { describe, expect, it } from "vitest";
import { ControlReceiver, ControlSender, newControlBuffer } from "./control";

describe("the control words that page and worker share", () => {
  it("carry an interrupt until it is cleared", () => {
    const control = newControlBuffer();
    const [panel, worker] = [new ControlSender(control), new ControlReceiver(control)];
    panel.interrupt();
    expect(worker.interruptBuffer[0]).toBe(2);
    worker.clear();
    expect(worker.interruptBuffer[0]).toBe(0);
  });

  it("keep an interrupt that arrives between Python's read and the 0 it writes next", () => {
    const control = newControlBuffer();
    const [panel, { interruptBuffer }] = [new ControlSender(control), new ControlReceiver(control)];
    expect(interruptBuffer[0]).toBe(0);
    panel.interrupt();
    interruptBuffer[0] = 0;
    expect(interruptBuffer[0]).toBe(2);
    interruptBuffer[0] = 0;
    expect(interruptBuffer[0]).toBe(0);
  });

  it("unblock a worker that is far ahead when the page interrupts it", () => {
    const control = newControlBuffer();
    const [panel, worker] = [new ControlSender(control), new ControlReceiver(control)];
    for (let i = 0; i < 256; i++) worker.throttleOutput();
    panel.acknowledgeOutput();
    worker.throttleOutput();
    panel.interrupt();
    worker.throttleOutput(); // without the interrupt this would block
  });
});
