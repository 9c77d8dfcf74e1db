/** Device errors, in the kinds that Python distinguishes (backends/webgpu/device_errors.py). */

export type ErrorKind = "lost" | "memory" | "validation" | "internal";

export interface ErrorReport {
  readonly kind: ErrorKind;
  readonly message: string;
}

/** An error of the GPU. Python reads its kind from `name`. */
export class DeviceError extends Error implements ErrorReport {
  constructor(readonly kind: ErrorKind, message: string) {
    super(message);
    this.name = kind;
  }
}

export const toErrorReport = (error: unknown): ErrorReport =>
  error instanceof DeviceError
    ? { kind: error.kind, message: error.message }
    : { kind: "internal", message: error instanceof Error ? error.message : String(error) };

export function errorKind(error: GPUError): ErrorKind {
  if (error instanceof GPUOutOfMemoryError) return "memory";
  return error instanceof GPUValidationError ? "validation" : "internal";
}
