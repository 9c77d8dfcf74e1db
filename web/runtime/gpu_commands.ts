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
  /** The steps in order; equal steps are one object. */
  readonly steps: readonly Step[];
  /** Size of the timestamp buffer, which is the last slot, in bytes; 0 without timestamps. */
  readonly timestamp_buffer_bytes: number;
}

/** The JSON: `steps` and `bindings` are tables of distinct entries, `order` the index of each step.
 * A step is [shader, x, y, z, ...bindings] or, for a copy, [-1, source, target]. */
interface Serialized {
  readonly shaders: readonly string[];
  readonly names: readonly string[];
  readonly bindings: readonly (readonly [number, number, number, 0 | 1])[];
  readonly steps: readonly (readonly number[])[];
  readonly order: readonly number[];
  readonly timestamp_buffer_bytes: number;
}

const COPY = -1;

function entryOf<T>(table: readonly T[], index: number | undefined): T {
  const entry = index === undefined ? undefined : table[index];
  if (entry === undefined) throw new RangeError(`the commands of a program have no entry ${index}`);
  return entry;
}

function parseStep(row: readonly number[], bindings: readonly Binding[]): Step {
  const [shader = COPY, x = 0, y = 0, z = 0, ...indices] = row;
  if (shader === COPY) return { source: entryOf(bindings, x), target: entryOf(bindings, y) };
  return { shader, groups: [x, y, z], bindings: indices.map((i) => entryOf(bindings, i)) };
}

export const isDispatch = (step: Step): step is Dispatch => "shader" in step;

export function parseCommands(bytes: Uint8Array): Commands {
  const { shaders, names, bindings: rows, steps, order, timestamp_buffer_bytes }: Serialized =
    JSON.parse(new TextDecoder().decode(bytes));
  const bindings = rows.map(([buffer, offset, size, writes]): Binding =>
    ({ buffer, offset, size, writes: writes === 1 }));
  const distinct = steps.map((row) => parseStep(row, bindings));
  return { shaders, names, steps: order.map((i) => entryOf(distinct, i)), timestamp_buffer_bytes };
}

/** The access mode of each binding, "r" or "w"; code and access modes determine a pipeline. */
export const accessModes = ({ bindings }: Dispatch): string =>
  bindings.map(({ writes }) => (writes ? "w" : "r")).join("");
