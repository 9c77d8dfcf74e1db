/** A module's exports, checked once, so that a wrong build fails by name and not by `undefined`. */

export type Callable = (...args: number[]) => number;

const isCallable = (value: unknown): value is Callable => typeof value === "function";

export function callable(instance: WebAssembly.Instance, name: string): Callable {
  const value = instance.exports[name];
  if (isCallable(value)) return value;
  throw new Error(`the module has no function ${name}`);
}

export function global(instance: WebAssembly.Instance, name: string): WebAssembly.Global {
  const value = instance.exports[name];
  if (value instanceof WebAssembly.Global) return value;
  throw new Error(`the module has no global ${name}`);
}

export function table(instance: WebAssembly.Instance, name: string): WebAssembly.Table {
  const value = instance.exports[name];
  if (value instanceof WebAssembly.Table) return value;
  throw new Error(`the module has no table ${name}`);
}
