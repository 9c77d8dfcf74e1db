/**
 * Every message between the page and the runtime worker. Both sides switch over these unions
 * exhaustively, so a message that one side does not know is a compile error.
 */

/** One layer of the Studio's model, as Keras names it: `{type: "Dense", args: {units: 10}}`. */
export interface LayerSpec {
  readonly type: string;
  readonly args: Readonly<Record<string, number | string | boolean>>;
}

/** What training is set to; every field has a visible control or a fixed default. */
export interface TrainSettings {
  readonly optimizer: "adam" | "sgd";
  readonly learning_rate: number;
  readonly batch_size: number;
  readonly seed: number;
}

/** Where the session computes; with "auto" a network that is large enough goes to a GPU by itself. */
export type DeviceChoice = "auto" | "cpu" | "gpu";

/** What the Studio asks of its training session (core/tensorbrook/studio/session.py). */
export type SessionCommand =
  | { readonly name: "model"; readonly revision: number; readonly layers: readonly LayerSpec[];
      readonly settings: TrainSettings }
  | { readonly name: "train" }
  | { readonly name: "pause" }
  | { readonly name: "step" }
  | { readonly name: "reset" }
  | { readonly name: "predict"; readonly pixels: readonly number[] | null }
  | { readonly name: "device"; readonly device: DeviceChoice };

/** One layer as the session sees it: its output shape and size, or why it does not fit. */
export interface LayerReport {
  readonly output_shape: readonly number[] | null;
  readonly parameters: number;
  readonly error: string | null;
}

/** Loss and accuracy as they were after so many epochs. */
export interface Measured {
  readonly epoch: number;
  readonly loss: number;
  readonly accuracy: number;
}

/**
 * What the training session tells the Studio. A `model` event carries the revision of the command it
 * answers, so that an answer to an older edit is not shown. `progress` brings the measurements made
 * since the last one; `epoch` counts the fraction under way. `refused` answers a command that
 * could not be carried out and changes nothing; `stopped` says that training ended by itself.
 */
export type SessionEvent =
  | { readonly name: "model"; readonly revision: number; readonly layers: readonly LayerReport[];
      readonly parameters: number; readonly trainable: boolean; readonly source: string }
  | { readonly name: "progress"; readonly running: boolean; readonly epoch: number; readonly step: number;
      readonly train: readonly Measured[]; readonly test: readonly Measured[];
      readonly samples_per_second: number | null; readonly device: "CPU" | "GPU" }
  | { readonly name: "prediction"; readonly probabilities: readonly number[] }
  | { readonly name: "refused"; readonly command: string; readonly message: string }
  | { readonly name: "stopped"; readonly message: string };

/** A file that a script brings along or leaves behind; the path is relative to its folder. */
export interface FileEntry {
  readonly path: string;
  readonly bytes: Uint8Array;
}

/** The three builds of the engine, the fastest first. */
export type EngineBuild = "threads" | "relaxed" | "simd";

/**
 * How Python waits for the GPU: in its own worker by switching stacks, or for a worker in which the
 * device lives (runtime/gpu_host.ts).
 */
export type Way = "local" | "worker";

/** The GPU that programs can run on, or why there is none. */
export type GpuReport =
  | { readonly present: true; readonly name: string; readonly way: Way;
      /** Whether a processor plays the GPU: right, but slow. */
      readonly software: boolean }
  | { readonly present: false; readonly reason: string };

/**
 * What the page asks of the runtime; null leaves the choice to the worker. `base` is the address of
 * the folder that holds `pyodide/`, `engine/` and `tensorbrook.whl`. `control` is there when the
 * page is cross-origin isolated: see runtime/control.ts.
 */
export interface BootOptions {
  readonly base: string;
  readonly threads: number | null;
  readonly backend: string | null;
  readonly engine: EngineBuild | null;
  readonly gpu: Way | null;
  readonly control: SharedArrayBuffer | null;
}

/**
 * One script. It runs in a folder made anew with `files` in it; tracebacks show its path, and those
 * of the files beside it, as `filename` names them.
 */
export interface Script {
  readonly source: string;
  readonly filename: string;
  readonly argv: readonly string[];
  readonly files: readonly FileEntry[];
}

export type ToWorker =
  | { readonly kind: "boot"; readonly options: BootOptions }
  | { readonly kind: "run"; readonly id: number; readonly script: Script }
  /** Heard only by a script that awaits something; one that computes is interrupted by `control`. */
  | { readonly kind: "stop"; readonly id: number }
  | { readonly kind: "session"; readonly command: SessionCommand };

/** How the runtime came up: what the notice bar and the figures of the Studio show. */
export interface Capabilities {
  readonly backend: string;
  readonly threads: number;
  readonly isolated: boolean;
  readonly engine: EngineBuild;
  readonly gpu: GpuReport;
  readonly version: string;
  /** Whether Python came from the image that the build made, or had to start afresh. */
  readonly restored: boolean;
  /** Milliseconds from the start of the worker to the end of each stage. */
  readonly boot_ms: Readonly<Record<BootStage, number>>;
}

export type BootStage = "python" | "package" | "engine";

export type FromWorker =
  | { readonly kind: "booting"; readonly stage: BootStage }
  | { readonly kind: "ready"; readonly capabilities: Capabilities }
  | { readonly kind: "boot-failed"; readonly message: string }
  | { readonly kind: "stdout"; readonly id: number; readonly text: string }
  | { readonly kind: "stderr"; readonly id: number; readonly text: string }
  | { readonly kind: "finished"; readonly id: number; readonly error: string | null;
      readonly exit_code: number; readonly files: readonly FileEntry[] }
  | { readonly kind: "session"; readonly event: SessionEvent };
