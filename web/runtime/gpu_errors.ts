/** What goes wrong on a GPU, in the kinds that Python tells apart (backends/webgpu/trouble.py). */

export type TroubleKind = "lost" | "memory" | "validation" | "internal";

export interface Trouble {
  readonly kind: TroubleKind;
  readonly message: string;
}

/** Python reads the kind from the name. */
export class GpuTrouble extends Error implements Trouble {
  constructor(readonly kind: TroubleKind, message: string) {
    super(message);
    this.name = kind;
  }
}

export const asTrouble = (error: unknown): Trouble =>
  error instanceof GpuTrouble
    ? { kind: error.kind, message: error.message }
    : { kind: "internal", message: error instanceof Error ? error.message : String(error) };

export function kindOf(error: GPUError): TroubleKind {
  if (error instanceof GPUOutOfMemoryError) return "memory";
  return error instanceof GPUValidationError ? "validation" : "internal";
}
