/** Adapter detection and the choice of a transport; other GPU code loads only if there is a GPU. */

import type { GpuReport, GpuTransport } from "../protocol";
import type { GpuHost } from "./gpu_host";

/** The adapter that programs run on, or why there is none. */
export async function requestAdapter(gpu: GPU | undefined): Promise<GPUAdapter | string> {
  if (gpu === undefined) return "this browser has no WebGPU";
  try {
    const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
    return adapter ?? "the browser found no usable GPU";
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return `the browser failed to provide a GPU: ${message}`;
  }
}

/** How Python can wait: for promises by switching stacks, or on shared memory. */
export interface WaitSupport {
  readonly canSwitchStacks: boolean;
  readonly canShareMemory: boolean;
}

/**
 * The transport to the device, or why there is none. Shared memory is preferred: no other Python
 * task runs during a wait, an interrupt is handled between two polls, and a small program took
 * 0.35 ms instead of 1.7 ms (Chromium 156, SwiftShader, 2026-11), as Pyodide makes a task of each
 * promise that it awaits.
 */
export function chooseTransport(
  requested: GpuTransport | null, { canSwitchStacks, canShareMemory }: WaitSupport,
): { readonly transport: GpuTransport } | { readonly reason: string } {
  const transport = requested ?? (canShareMemory || !canSwitchStacks ? "worker" : "jspi");
  if (transport === "jspi" && !canSwitchStacks) {
    return { reason: "gpu=jspi requires JSPI (stack switching), which this browser lacks" };
  }
  if (transport === "worker" && !canShareMemory) {
    return { reason: "Python cannot wait for the GPU: the browser lacks JSPI (stack switching), " +
      "and the page has no shared memory, which requires cross-origin isolation" };
  }
  return { transport };
}

export type OpenedGpu = GpuHost | { readonly reason: string };

/** Open the GPU, if there is one and Python can wait for it. */
export async function openGpu(
  requested: GpuTransport | null, support: WaitSupport,
): Promise<OpenedGpu> {
  const chosen = chooseTransport(requested, support);
  if ("reason" in chosen) return chosen;
  const adapter = await requestAdapter(navigator.gpu);
  if (typeof adapter === "string") return { reason: adapter };
  switch (chosen.transport) {
    case "jspi": return (await import("./gpu_jspi")).JspiGpu.open(navigator.gpu);
    case "worker": return (await import("./gpu_worker_client")).GpuWorkerClient.open();
    default: return chosen.transport satisfies never;
  }
}

export function gpuReport(gpu: OpenedGpu): GpuReport {
  if ("reason" in gpu) return { present: false, reason: gpu.reason };
  const { transport, info: { name, is_software: software } } = gpu;
  return { present: true, name, software, transport };
}
