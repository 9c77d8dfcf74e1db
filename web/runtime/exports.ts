/** Type-checked access to a module's exports: a wrong build fails with the missing name. */

export type WasmFunction = (...args: number[]) => number;

const isFunction = (value: unknown): value is WasmFunction => typeof value === "function";

export function requireFunction(instance: WebAssembly.Instance, name: string): WasmFunction {
  const value = instance.exports[name];
  if (isFunction(value)) return value;
  throw new Error(`the module has no function ${name}`);
}

export function requireGlobal(instance: WebAssembly.Instance, name: string): WebAssembly.Global {
  const value = instance.exports[name];
  if (value instanceof WebAssembly.Global) return value;
  throw new Error(`the module has no global ${name}`);
}

export function requireTable(instance: WebAssembly.Instance, name: string): WebAssembly.Table {
  const value = instance.exports[name];
  if (value instanceof WebAssembly.Table) return value;
  throw new Error(`the module has no table ${name}`);
}
