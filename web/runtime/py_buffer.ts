/** Bytes that Python hands over. */

import type { PyProxy } from "pyodide/ffi";

export interface PyBuffer extends PyProxy {
  getBuffer(type: "u8"): { readonly data: Uint8Array; release(): void };
}

/** What becomes of the bytes while they lie in Python's heap. */
export function inHeap<T>(data: PyBuffer, use: (bytes: Uint8Array) => T): T {
  const buffer = data.getBuffer("u8");
  try {
    return use(buffer.data);
  } finally {
    buffer.release();
  }
}

export const copyOf = (data: PyBuffer): Uint8Array<ArrayBuffer> =>
  inHeap(data, (bytes) => new Uint8Array(bytes));
