/**
 * Every message between the page and the runtime worker. Both sides switch over these unions
 * exhaustively, so a message that one side does not handle is a compile error.
 */

/** One layer of the Studio's model, in Keras's terms: `{type: "Dense", args: {units: 10}}`. */
export interface LayerSpec {
  readonly type: string;
  readonly args: Readonly<Record<string, number | string | boolean>>;
}

/** The settings of training; every field has a visible control or a fixed default. */
export interface TrainSettings {
  readonly optimizer: "adam" | "sgd";
  readonly learning_rate: number;
  readonly batch_size: number;
  readonly seed: number;
}

/** Where the session computes; with "auto" a network that is large enough runs on the GPU. */
export type DeviceChoice = "auto" | "cpu" | "gpu";

/** A command from the Studio to its training session (core/tensorbrook/studio/session.py). */
export type SessionCommand =
  | { readonly name: "model"; readonly revision: number; readonly layers: readonly LayerSpec[];
      readonly settings: TrainSettings }
  | { readonly name: "train" }
  | { readonly name: "pause" }
  | { readonly name: "step" }
  | { readonly name: "reset" }
  | { readonly name: "predict"; readonly pixels: readonly number[] | null }
  | { readonly name: "device"; readonly device: DeviceChoice };

/** The session's report on one layer: its output shape and size, or why it does not fit. */
export interface LayerReport {
  readonly output_shape: readonly number[] | null;
  readonly parameters: number;
  readonly error: string | null;
}

/** Loss and accuracy after `epoch` epochs; the number of epochs may have a fraction. */
export interface Measurement {
  readonly epoch: number;
  readonly loss: number;
  readonly accuracy: number;
}

/**
 * An event from the training session to the Studio. A `model` event carries the revision of its
 * command, so that a reply to an older edit is not shown. `progress` carries the measurements
 * since the previous `progress`; its `epoch` includes the fraction of the current epoch. `refused`
 * is the reply to a command that failed and changed nothing. `stopped` reports that training ended
 * without a command.
 */
export type SessionEvent =
  | { readonly name: "model"; readonly revision: number; readonly layers: readonly LayerReport[];
      readonly parameters: number; readonly trainable: boolean; readonly source: string }
  | { readonly name: "progress"; readonly running: boolean;
      readonly epoch: number; readonly step: number;
      readonly train: readonly Measurement[]; readonly test: readonly Measurement[];
      readonly samples_per_second: number | null; readonly device: "CPU" | "GPU" }
  | { readonly name: "prediction"; readonly probabilities: readonly number[] }
  | { readonly name: "refused"; readonly command: string; readonly message: string }
  | { readonly name: "stopped"; readonly message: string };

/** An input or output file of a script; the path is relative to the script's folder. */
export interface FileEntry {
  readonly path: string;
  readonly bytes: Uint8Array;
}

/**
 * The four builds of the engine: relaxed SIMD and threads, relaxed SIMD alone, plain SIMD and
 * threads, and plain SIMD alone.
 */
export type EngineBuild = "threads" | "relaxed" | "threads-simd" | "simd";

/**
 * How Python reaches the GPU: the device is in Python's worker, which waits for promises by JSPI
 * (stack switching), or in a separate worker, for which Python waits on shared memory
 * (runtime/gpu_host.ts).
 */
export type GpuTransport = "jspi" | "worker";

/** The GPU that programs can use, or why there is none. */
export type GpuReport =
  | { readonly present: true; readonly name: string; readonly transport: GpuTransport;
      /** Whether it is a software adapter (such as SwiftShader): correct, but slow. */
      readonly software: boolean }
  | { readonly present: false; readonly reason: string };

/**
 * Options of the runtime; null leaves the choice to the worker. `base` is the URL of the folder
 * that contains `pyodide/`, `engine/` and `tensorbrook.whl`. `control` is null if the page
 * has no shared memory: see runtime/control.ts.
 */
export interface BootOptions {
  readonly base: string;
  readonly threads: number | null;
  readonly backend: string | null;
  readonly engine: EngineBuild | null;
  readonly gpu: GpuTransport | null;
  readonly control: SharedArrayBuffer | null;
}

/**
 * One script. It runs in a fresh folder that contains `files`. Tracebacks show `filename` as its
 * path, and the other files relative to the folder of `filename`.
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
  /** Cancels a script that awaits a promise; a script that computes is interrupted by `control`. */
  | { readonly kind: "stop"; readonly id: number }
  | { readonly kind: "session"; readonly command: SessionCommand };

/** The properties of a booted runtime, which the notice bar and the status line show. */
export interface Capabilities {
  readonly backend: string;
  readonly threads: number;
  readonly isolated: boolean;
  readonly engine: EngineBuild;
  /** Why the engine runs on one thread although several are possible, or null. */
  readonly threadProblem: string | null;
  readonly gpu: GpuReport;
  readonly version: string;
  /** Whether Python was restored from the snapshot that the build made, or started cold. */
  readonly fromSnapshot: boolean;
  /** Milliseconds from the start of the worker to the end of each boot stage. */
  readonly bootMs: Readonly<Record<BootStage, number>>;
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
