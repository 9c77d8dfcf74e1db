/** A loaded program: its steps with their pipelines, and bind groups for the buffers it meets. */

import { isDispatch, type Binding, type Copy, type Dispatch, type Commands } from "./gpu_commands";
import { Stamps } from "./gpu_timestamps";

/** A pipeline, and the layout that its bind groups have. */
export interface Shader {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

/** The buffer of that number. */
export type Lookup = (number: number) => GPUBuffer;

/** How many bind groups a dispatch keeps: buffers that take turns come back after a step or two. */
const KEPT = 4;

interface Bound {
  readonly numbers: readonly number[];
  readonly group: GPUBindGroup;
}

/** The number of the buffer that stands behind a binding. `places`: the arena, then the slots. */
function at(places: readonly number[], { buffer }: Binding): number {
  const number = places[buffer];
  if (number === undefined) throw new RangeError("a program was run with too few buffers");
  return number;
}

class BoundDispatch {
  private readonly kept: Bound[] = [];
  private next = 0;
  constructor(readonly step: Dispatch, readonly shader: Shader) {}

  /** The bind group for these buffers, made when they first come together. */
  group(device: GPUDevice, places: readonly number[], lookup: Lookup): GPUBindGroup {
    const found = this.kept.find(({ numbers }) => this.matches(numbers, places));
    if (found !== undefined) return found.group;
    const { bindings } = this.step;
    const numbers = bindings.map((binding) => at(places, binding));
    const entries = bindings.map((binding, i): GPUBindGroupEntry => {
      const { offset, size } = binding;
      return { binding: i, resource: { buffer: lookup(at(places, binding)), offset, size } };
    });
    const group = device.createBindGroup({ layout: this.shader.layout, entries });
    this.kept[this.next] = { numbers, group };
    this.next = (this.next + 1) % KEPT;
    return group;
  }

  /** Compared by number: no number is given twice, so a freed buffer's groups are never found. */
  private matches(numbers: readonly number[], places: readonly number[]): boolean {
    return this.step.bindings.every(({ buffer }, i) => places[buffer] === numbers[i]);
  }
}

export class Program {
  readonly dispatches: number;
  private readonly steps: readonly (BoundDispatch | Copy)[];
  private readonly stamps: Stamps | null;

  constructor(private readonly device: GPUDevice, told: Commands, shaders: readonly Shader[]) {
    this.steps = told.steps.map((step) => {
      if (!isDispatch(step)) return step;
      const shader = shaders[step.shader];
      if (shader === undefined) throw new RangeError(`a program has no shader ${step.shader}`);
      return new BoundDispatch(step, shader);
    });
    this.dispatches = this.steps.filter((step) => step instanceof BoundDispatch).length;
    this.stamps = told.stamps > 0 ? new Stamps(device, told.stamps) : null;
  }

  /** The commands of one run: one pass, which only copies divide, or one for each dispatch. */
  encode(encoder: GPUCommandEncoder, places: readonly number[], lookup: Lookup): void {
    let pass: GPUComputePassEncoder | null = null;
    let dispatches = 0;
    const end = (): void => {
      pass?.end();
      pass = null;
    };
    for (const step of this.steps) {
      if (step instanceof BoundDispatch) {
        pass ??= encoder.beginComputePass(this.stamps?.around(dispatches++));
        pass.setPipeline(step.shader.pipeline);
        pass.setBindGroup(0, step.group(this.device, places, lookup));
        pass.dispatchWorkgroups(...step.step.groups);
        if (this.stamps !== null) end();
      } else {
        end();
        this.copy(encoder, step, places, lookup);
      }
    }
    end();
    this.stamps?.tell(encoder, lookup(places.at(-1) ?? 0));
  }

  private copy(
    encoder: GPUCommandEncoder, { source, target }: Copy, places: readonly number[], lookup: Lookup,
  ): void {
    encoder.copyBufferToBuffer(
      lookup(at(places, source)), source.offset, lookup(at(places, target)), target.offset,
      source.size);
  }
}
