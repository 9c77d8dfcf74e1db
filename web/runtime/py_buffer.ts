/** Python buffers: access to bytes that Python passes as arguments. */

import type { PyProxy } from "pyodide/ffi";

export interface PyBuffer extends PyProxy {
  getBuffer(type: "u8"): { readonly data: Uint8Array; release(): void };
}

/** Call a function with a view of the bytes in Python's heap. */
export function withBytes<T>(data: PyBuffer, use: (bytes: Uint8Array) => T): T {
  const buffer = data.getBuffer("u8");
  try {
    return use(buffer.data);
  } finally {
    buffer.release();
  }
}

export const copyBytes = (data: PyBuffer): Uint8Array<ArrayBuffer> =>
  withBytes(data, (bytes) => new Uint8Array(bytes));
