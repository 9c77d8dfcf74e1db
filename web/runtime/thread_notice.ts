/** The sentence that a page shows when it runs on one thread, or null when it need not. */

import type { Capabilities } from "../protocol";

type Threading = Pick<Capabilities, "isolated" | "engine">;

export function threadNotice({ isolated, engine }: Threading): string | null {
  if (!isolated) {
    return "This page runs on one thread: its server does not send the headers that make a page " +
      "cross-origin isolated. Stop starts the runtime anew.";
  }
  if (engine !== "threads") {
    return "This page runs on one thread: the browser lacks WebAssembly threads or relaxed SIMD.";
  }
  return null;
}
