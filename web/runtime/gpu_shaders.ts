/** Pipelines, made once for each different shader, however many programs use it. */

import { COMPUTE } from "./gpu_flags";
import { isDispatch, usesOf, type Commands } from "./gpu_commands";
import type { Shader } from "./gpu_program";
import { GpuTrouble } from "./gpu_errors";

/** Shaders kept for programs to come: those of a few dozen models. */
const MOST = 4096;

/** How each shader of a program is bound; its dispatches agree, as the code declares it. */
function usesOfShaders({ shaders, steps }: Commands): readonly string[] {
  const uses = new Array<string>(shaders.length).fill("");
  for (const step of steps) if (isDispatch(step)) uses[step.shader] = usesOf(step);
  return uses;
}

/** What the compiler says of the code, with the line that it means. */
async function complaint(module: GPUShaderModule, code: string): Promise<string> {
  const { messages } = await module.getCompilationInfo();
  const first = messages.find(({ type }) => type === "error");
  if (first === undefined) return "";
  const line = code.split("\n")[first.lineNum - 1] ?? "";
  return `${first.message}, in line ${first.lineNum}: ${line.trim()}`;
}

export class Shaders {
  /** Pipelines made so far. */
  made = 0;
  private readonly layouts = new Map<string, readonly [GPUBindGroupLayout, GPUPipelineLayout]>();
  private readonly known = new Map<string, Promise<Shader>>();
  constructor(private readonly device: GPUDevice) {}

  /** The shaders of a program; those that are new compile side by side. */
  of(commands: Commands): Promise<readonly Shader[]> {
    const uses = usesOfShaders(commands);
    return Promise.all(commands.shaders.map((code, i) =>
      this.shader(code, uses[i] ?? "", commands.names[i] ?? "")));
  }

  private shader(code: string, uses: string, name: string): Promise<Shader> {
    const key = `${uses} ${code}`;
    const found = this.known.get(key);
    if (found !== undefined) return found;
    const made = this.compile(code, uses, name);
    if (this.known.size >= MOST) this.forgetOldest();
    this.known.set(key, made);
    // What failed may be tried again.
    made.catch(() => this.known.delete(key));
    return made;
  }

  private forgetOldest(): void {
    for (const key of this.known.keys()) {
      this.known.delete(key);
      return;
    }
  }

  private async compile(code: string, uses: string, name: string): Promise<Shader> {
    const [bindGroups, layout] = this.layout(uses);
    this.device.pushErrorScope("validation"); // the pipeline's failure tells it better
    const module = this.device.createShaderModule({ code });
    const scope = this.device.popErrorScope();
    try {
      const pipeline = await this.device.createComputePipelineAsync(
        { layout, compute: { module, entryPoint: "main" } });
      this.made += 1;
      return { pipeline, layout: bindGroups };
    } catch (error) {
      const said = error instanceof Error ? error.message : String(error);
      const why = (await complaint(module, code)) || said;
      throw new GpuTrouble("validation", `the kernel '${name}': ${why}`);
    } finally {
      await scope;
    }
  }

  private layout(uses: string): readonly [GPUBindGroupLayout, GPUPipelineLayout] {
    let found = this.layouts.get(uses);
    if (found === undefined) {
      const entries = Array.from(uses, (use, binding): GPUBindGroupLayoutEntry => ({
        binding,
        visibility: COMPUTE,
        buffer: { type: use === "w" ? "storage" : "read-only-storage" },
      }));
      const bindGroups = this.device.createBindGroupLayout({ entries });
      found = [bindGroups, this.device.createPipelineLayout({ bindGroupLayouts: [bindGroups] })];
      this.layouts.set(uses, found);
    }
    return found;
  }
}
