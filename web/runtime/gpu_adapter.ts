/** Whether there is a GPU, and the way to it; the rest loads only where there is one. */

import type { GpuReport, Way } from "../protocol";
import type { GpuHost } from "./gpu_host";

/** The adapter to compute on, or why there is none. */
export async function findAdapter(gpu: GPU | undefined): Promise<GPUAdapter | string> {
  if (gpu === undefined) return "this browser has no WebGPU";
  try {
    const found = await gpu.requestAdapter({ powerPreference: "high-performance" });
    return found ?? "the browser finds no GPU that it can use";
  } catch (error) {
    return `the browser gives no GPU: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** Python can wait for promises (`stacks`), or for shared memory, which needs isolation. */
export interface Waiting {
  readonly stacks: boolean;
  readonly isolated: boolean;
}

/**
 * The way to the device, or why there is none. Shared memory comes first: nothing else runs in
 * Python while it waits, an interrupt finds it between two looks, and a small program took 0.35 ms
 * instead of 1.7 ms (Chromium 156, SwiftShader, 2026-11: Pyodide waits for a promise as a task).
 */
export function chooseWay(
  asked: Way | null, { stacks, isolated }: Waiting,
): { readonly way: Way } | { readonly reason: string } {
  const way = asked ?? (isolated || !stacks ? "worker" : "local");
  if (way === "local" && !stacks) {
    return { reason: "this browser cannot switch stacks (JSPI), as gpu=local asks for" };
  }
  if (way === "worker" && !isolated) {
    return { reason: "Python could not wait for the GPU: the browser cannot switch stacks (JSPI), " +
      "and the page is not cross-origin isolated, which shared memory needs" };
  }
  return { way };
}

export type OpenedGpu = GpuHost | { readonly reason: string };

/** The GPU, if there is one that Python can wait for. */
export async function openGpu(asked: Way | null, waiting: Waiting): Promise<OpenedGpu> {
  const chosen = chooseWay(asked, waiting);
  if ("reason" in chosen) return chosen;
  const adapter = await findAdapter(navigator.gpu);
  if (typeof adapter === "string") return { reason: adapter };
  switch (chosen.way) {
    case "local": return (await import("./gpu_jspi")).LocalGpu.open(navigator.gpu);
    case "worker": return (await import("./gpu_worker_client")).RemoteGpu.open();
    default: return chosen.way satisfies never;
  }
}

export function reportOf(gpu: OpenedGpu): GpuReport {
  if ("reason" in gpu) return { present: false, reason: gpu.reason };
  const { way, facts: { name, software } } = gpu;
  return { present: true, name, software, way };
}
