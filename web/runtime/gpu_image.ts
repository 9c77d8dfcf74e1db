/** A program's image, as backends/webgpu/image.py writes it: a line of JSON, then its constants. */

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

/** What a host needs of an image; Python keeps the rest to itself. */
export interface GpuImage {
  readonly shaders: readonly string[];
  /** What each shader is for. */
  readonly names: readonly string[];
  readonly steps: readonly Step[];
  /** Bytes of the last slot, for the time before and after each dispatch; 0 asks for no times. */
  readonly stamps: number;
}

const LINE_END = 10;

export const isDispatch = (step: Step): step is Dispatch => "shader" in step;

export function readImage(bytes: Uint8Array): GpuImage {
  const end = bytes.indexOf(LINE_END);
  if (end < 0) throw new Error("an image of a program begins with a line of JSON");
  return JSON.parse(new TextDecoder().decode(bytes.subarray(0, end)));
}

/** How the bindings of a dispatch are used, a letter each; with the code it makes a pipeline. */
export const usesOf = ({ bindings }: Dispatch): string =>
  bindings.map(({ writes }) => (writes ? "w" : "r")).join("");
