/** The commands of a program for its host: `Commands` of webgpu/compiled_program.py, as JSON. */

/** A byte range of a buffer: buffer 0 is the arena, buffer 1 + n is slot n. */
export interface Binding {
  readonly buffer: number;
  readonly offset: number;
  readonly size: number;
  readonly writes: boolean;
}

export interface Dispatch {
  readonly shader: number;
  readonly bindings: readonly Binding[];
  readonly groups: readonly [x: number, y: number, z: number];
}

export interface Copy {
  readonly source: Binding;
  readonly target: Binding;
}

export type Step = Dispatch | Copy;

export interface Commands {
  readonly shaders: readonly string[];
  /** A readable name of each shader. */
  readonly names: readonly string[];
  readonly steps: readonly Step[];
  /** Size of the timestamp buffer, which is the last slot, in bytes; 0 without timestamps. */
  readonly timestamp_buffer_bytes: number;
}

export const isDispatch = (step: Step): step is Dispatch => "shader" in step;

export const parseCommands = (bytes: Uint8Array): Commands =>
  JSON.parse(new TextDecoder().decode(bytes));

/** The access mode of each binding, "r" or "w"; code and access modes determine a pipeline. */
export const accessModes = ({ bindings }: Dispatch): string =>
  bindings.map(({ writes }) => (writes ? "w" : "r")).join("");
