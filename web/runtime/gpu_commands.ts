/** What a host carries out of a program: the Commands of backends/webgpu/image.py, as JSON. */

/** Bytes of a buffer: 0 is the arena, 1 + n is slot n. */
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
  /** What each shader is for. */
  readonly names: readonly string[];
  readonly steps: readonly Step[];
  /** Bytes of the last slot, for the time before and after each dispatch; 0 asks for no times. */
  readonly stamps: number;
}

export const isDispatch = (step: Step): step is Dispatch => "shader" in step;

export const readCommands = (bytes: Uint8Array): Commands =>
  JSON.parse(new TextDecoder().decode(bytes));

/** How the bindings of a dispatch are used, a letter each; with the code it makes a pipeline. */
export const usesOf = ({ bindings }: Dispatch): string =>
  bindings.map(({ writes }) => (writes ? "w" : "r")).join("");
