/** On which device the network is trained: what may be chosen, and what is said of it. */
import type { DeviceChoice, GpuReport } from "../../protocol";
import type { State } from "./studio";

export interface DeviceOption {
  readonly value: DeviceChoice;
  readonly label: string;
  readonly off: boolean;
}

/** What was kept of an earlier choice. */
export function toDevice(text: string | null): DeviceChoice {
  return text === "cpu" || text === "gpu" ? text : "auto";
}

/** What may be chosen; before the page knows of a GPU, none is taken to be there. */
export function options(gpu: GpuReport | null): readonly DeviceOption[] {
  return [
    { value: "auto", label: "Auto", off: false }, { value: "cpu", label: "CPU", off: false },
    { value: "gpu", label: "GPU", off: gpu === null || !gpu.present },
  ];
}

/** A choice from an earlier visit, where there was a GPU, is none where there is not. */
export function possible(device: DeviceChoice, gpu: GpuReport | null): DeviceChoice {
  return device === "gpu" && gpu !== null && !gpu.present ? "auto" : device;
}

/** One line about the GPU: its name, or why there is none. */
export function note(gpu: GpuReport | null): string {
  if (gpu === null) return "";
  if (!gpu.present) return `No GPU: ${gpu.reason}.`;
  return gpu.software ? `${gpu.name}, which the processor plays: slow.` : `${gpu.name}.`;
}

/** The device that trains, or would; before Python is there nobody knows. */
export function deviceText({ capabilities, trainsOn }: State): string | null {
  if (capabilities === null) return null;
  return trainsOn ?? (capabilities.backend === "webgpu" ? "GPU" : "CPU");
}

/** The backend that this device is. */
export function backendText(state: State): string | null {
  const { capabilities, trainsOn } = state;
  if (capabilities === null || trainsOn === null) return capabilities?.backend ?? null;
  if (trainsOn === "GPU") return "webgpu";
  return capabilities.backend === "webgpu" ? "wasm" : capabilities.backend;
}
