/** A loaded program: its steps with their pipelines, and a cache of bind groups. */

import {
  isDispatch, type Binding, type Commands, type Copy, type Dispatch, type Step,
} from "./gpu_commands";
import { TimestampQueries } from "./gpu_timestamps";

/** A pipeline and the layout of its bind groups. */
export interface CompiledShader {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

/** Returns the buffer of a handle. */
export type BufferLookup = (handle: number) => GPUBuffer;

/** Bind groups cached per dispatch: buffers that alternate are reused after one or two steps. */
const MAX_BIND_GROUPS = 4;

interface CachedBindGroup {
  readonly handles: readonly number[];
  readonly group: GPUBindGroup;
}

/** The handle of a binding's buffer. `buffers` are the handles of the arena and the slots. */
function handleOf(buffers: readonly number[], { buffer }: Binding): number {
  const handle = buffers[buffer];
  if (handle === undefined) throw new RangeError("a program was run with too few buffers");
  return handle;
}

class BoundDispatch {
  private readonly bindGroups: CachedBindGroup[] = [];
  private next = 0;
  constructor(readonly dispatch: Dispatch, readonly shader: CompiledShader) {}

  /** The bind group for these buffers, created on the first use of their combination. */
  bindGroup(device: GPUDevice, buffers: readonly number[], lookup: BufferLookup): GPUBindGroup {
    const cached = this.bindGroups.find(({ handles }) => this.matches(handles, buffers));
    if (cached !== undefined) return cached.group;
    const { bindings } = this.dispatch;
    const handles = bindings.map((binding) => handleOf(buffers, binding));
    const entries = bindings.map((binding, i): GPUBindGroupEntry => {
      const { offset, size } = binding;
      return { binding: i, resource: { buffer: lookup(handleOf(buffers, binding)), offset, size } };
    });
    const group = device.createBindGroup({ layout: this.shader.layout, entries });
    this.bindGroups[this.next] = { handles, group };
    this.next = (this.next + 1) % MAX_BIND_GROUPS;
    return group;
  }

  /** Compares handles. Handles are never reused, so groups of freed buffers never match. */
  private matches(handles: readonly number[], buffers: readonly number[]): boolean {
    return this.dispatch.bindings.every(({ buffer }, i) => buffers[buffer] === handles[i]);
  }
}

function prepareStep(step: Step, shaders: readonly CompiledShader[]): BoundDispatch | Copy {
  if (!isDispatch(step)) return step;
  const shader = shaders[step.shader];
  if (shader === undefined) throw new RangeError(`a program has no shader ${step.shader}`);
  return new BoundDispatch(step, shader);
}

export class GpuProgram {
  readonly dispatches: number;
  private readonly steps: readonly (BoundDispatch | Copy)[];
  private readonly timestamps: TimestampQueries | null;

  constructor(
    private readonly device: GPUDevice, commands: Commands, shaders: readonly CompiledShader[],
  ) {
    const distinct = new Map<Step, BoundDispatch | Copy>();
    this.steps = commands.steps.map((step) => {
      const prepared = distinct.get(step) ?? prepareStep(step, shaders);
      distinct.set(step, prepared);
      return prepared;
    });
    this.dispatches = this.steps.filter((step) => step instanceof BoundDispatch).length;
    this.timestamps = commands.timestamp_buffer_bytes > 0
      ? new TimestampQueries(device, commands.timestamp_buffer_bytes) : null;
  }

  /** Encode one run: a single pass split only by copies, or with timestamps a pass per dispatch. */
  encode(encoder: GPUCommandEncoder, buffers: readonly number[], lookup: BufferLookup): void {
    let pass: GPUComputePassEncoder | null = null;
    let dispatches = 0;
    const endPass = (): void => {
      pass?.end();
      pass = null;
    };
    for (const step of this.steps) {
      if (step instanceof BoundDispatch) {
        pass ??= encoder.beginComputePass(this.timestamps?.passDescriptor(dispatches++));
        pass.setPipeline(step.shader.pipeline);
        pass.setBindGroup(0, step.bindGroup(this.device, buffers, lookup));
        pass.dispatchWorkgroups(...step.dispatch.groups);
        if (this.timestamps !== null) endPass();
      } else {
        endPass();
        this.encodeCopy(encoder, step, buffers, lookup);
      }
    }
    endPass();
    this.timestamps?.resolveTo(encoder, lookup(buffers.at(-1) ?? 0));
  }

  private encodeCopy(
      encoder: GPUCommandEncoder, { source, target }: Copy, buffers: readonly number[],
      lookup: BufferLookup,
    ): void {
      const from = lookup(handleOf(buffers, source));
      const to = lookup(handleOf(buffers, target));
      encoder.copyBufferToBuffer(from, source.offset, to, target.offset, source.size);
  }
}
