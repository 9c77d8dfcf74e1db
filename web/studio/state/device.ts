/** The device that trains the network: the choices and their descriptions. */
import type { DeviceChoice, GpuReport } from "../../protocol";
import type { State } from "./studio";

export interface DeviceOption {
  readonly value: DeviceChoice;
  readonly label: string;
  readonly disabled: boolean;
}

/** Parse a persisted choice. */
export function parseDevice(text: string | null): DeviceChoice {
  return text === "cpu" || text === "gpu" ? text : "auto";
}

/** The choices. The GPU is disabled until the runtime has reported one. */
export function deviceOptions(gpu: GpuReport | null): readonly DeviceOption[] {
  return [
    { value: "auto", label: "Auto", disabled: false },
    { value: "cpu", label: "CPU", disabled: false },
    { value: "gpu", label: "GPU", disabled: gpu === null || !gpu.present },
  ];
}

/** The choice, or "auto" if it is the GPU of an earlier visit and there is none now. */
export function availableDevice(device: DeviceChoice, gpu: GpuReport | null): DeviceChoice {
  return device === "gpu" && gpu !== null && !gpu.present ? "auto" : device;
}

/** One line about the GPU: its name, or why there is none. */
export function deviceNote(gpu: GpuReport | null): string {
  if (gpu === null) return "";
  if (!gpu.present) return `No GPU: ${gpu.reason}.`;
  return gpu.software ? `${gpu.name}: a software adapter, slow.` : `${gpu.name}.`;
}

/** The device that trains or would train; null before Python is ready. */
export function deviceText({ capabilities, activeDevice }: State): string | null {
  if (capabilities === null) return null;
  return activeDevice ?? (capabilities.backend === "webgpu" ? "GPU" : "CPU");
}

/** The backend of the device that trains or would train. */
export function backendText(state: State): string | null {
  const { capabilities, activeDevice } = state;
  if (capabilities === null || activeDevice === null) return capabilities?.backend ?? null;
  if (activeDevice === "GPU") return "webgpu";
  return capabilities.backend === "webgpu" ? "wasm" : capabilities.backend;
}
