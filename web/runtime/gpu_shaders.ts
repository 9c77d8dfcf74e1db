/** Shader cache: each distinct shader is compiled to a pipeline once, for all programs. */

import { accessModes, isDispatch, type Commands } from "./gpu_commands";
import { DeviceError } from "./gpu_errors";
import { SHADER_STAGE_COMPUTE } from "./gpu_flags";
import type { CompiledShader } from "./gpu_program";

/** Enough for the shaders of a few dozen models. */
const MAX_CACHED_SHADERS = 4096;

/** The access modes of each shader's bindings. The code declares them, so dispatches agree. */
function shaderAccessModes({ shaders, steps }: Commands): readonly string[] {
  const modes = new Array<string>(shaders.length).fill("");
  for (const step of steps) if (isDispatch(step)) modes[step.shader] = accessModes(step);
  return modes;
}

/** The compiler's first error, with its line of the code, or "". */
async function compilationError(module: GPUShaderModule, code: string): Promise<string> {
  const { messages } = await module.getCompilationInfo();
  const error = messages.find(({ type }) => type === "error");
  if (error === undefined) return "";
  const line = code.split("\n")[error.lineNum - 1] ?? "";
  return `${error.message}, in line ${error.lineNum}: ${line.trim()}`;
}

export class ShaderCache {
  /** Number of pipelines compiled so far. */
  compiledCount = 0;
  private readonly layouts = new Map<string, readonly [GPUBindGroupLayout, GPUPipelineLayout]>();
  private readonly cached = new Map<string, Promise<CompiledShader>>();
  constructor(private readonly device: GPUDevice) {}

  /** Return the shaders of a program; new ones compile concurrently. */
  compileAll(commands: Commands): Promise<readonly CompiledShader[]> {
    const modes = shaderAccessModes(commands);
    return Promise.all(commands.shaders.map((code, i) =>
      this.getOrCompile(code, modes[i] ?? "", commands.names[i] ?? "")));
  }

  private getOrCompile(code: string, modes: string, name: string): Promise<CompiledShader> {
    const key = `${modes} ${code}`;
    const found = this.cached.get(key);
    if (found !== undefined) return found;
    const shader = this.compile(code, modes, name);
    if (this.cached.size >= MAX_CACHED_SHADERS) this.evictOldest();
    this.cached.set(key, shader);
    // A failed compilation may be retried.
    shader.catch(() => this.cached.delete(key));
    return shader;
  }

  private evictOldest(): void {
    for (const key of this.cached.keys()) {
      this.cached.delete(key);
      return;
    }
  }

  private async compile(code: string, modes: string, name: string): Promise<CompiledShader> {
    const [bindGroupLayout, layout] = this.layout(modes);
    this.device.pushErrorScope("validation"); // the pipeline's error is more precise
    const module = this.device.createShaderModule({ code });
    const scope = this.device.popErrorScope();
    try {
      const pipeline = await this.device.createComputePipelineAsync(
        { layout, compute: { module, entryPoint: "main" } });
      this.compiledCount += 1;
      return { pipeline, layout: bindGroupLayout };
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      const reason = (await compilationError(module, code)) || message;
      throw new DeviceError("validation", `the kernel '${name}': ${reason}`);
    } finally {
      await scope;
    }
  }

  private layout(modes: string): readonly [GPUBindGroupLayout, GPUPipelineLayout] {
    let found = this.layouts.get(modes);
    if (found === undefined) {
      const entries = Array.from(modes, (mode, binding): GPUBindGroupLayoutEntry => ({
        binding,
        visibility: SHADER_STAGE_COMPUTE,
        buffer: { type: mode === "w" ? "storage" : "read-only-storage" },
      }));
      const bindGroupLayout = this.device.createBindGroupLayout({ entries });
      const bindGroupLayouts = [bindGroupLayout];
      found = [bindGroupLayout, this.device.createPipelineLayout({ bindGroupLayouts })];
      this.layouts.set(modes, found);
    }
    return found;
  }
}
