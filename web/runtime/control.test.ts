import { describe, expect, it } from "vitest";
import { ControlledWorker, ControlPanel, newControl } from "./control";

describe("the words that page and worker share", () => {
  it("carry an interrupt until it is cleared", () => {
    const control = newControl();
    const [panel, worker] = [new ControlPanel(control), new ControlledWorker(control)];
    panel.interrupt();
    expect(worker.signals[0]).toBe(2);
    worker.clear();
    expect(worker.signals[0]).toBe(0);
  });

  it("keep an interrupt that comes between Python's look and the 0 it writes then", () => {
    const control = newControl();
    const [panel, { signals }] = [new ControlPanel(control), new ControlledWorker(control)];
    expect(signals[0]).toBe(0);
    panel.interrupt();
    signals[0] = 0;
    expect(signals[0]).toBe(2);
    signals[0] = 0;
    expect(signals[0]).toBe(0);
  });

  it("let a worker that is far ahead go on when the page says stop", () => {
    const control = newControl();
    const [panel, worker] = [new ControlPanel(control), new ControlledWorker(control)];
    for (let i = 0; i < 256; i++) worker.sending();
    panel.took();
    worker.sending();
    panel.interrupt();
    worker.sending(); // without the interrupt this would wait for the page
  });
});
