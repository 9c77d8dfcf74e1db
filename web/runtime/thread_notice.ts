/** The notice that a page shows if it runs on one thread although several are possible, or null. */

import type { Capabilities } from "../protocol";

type ThreadSupport = Pick<Capabilities, "isolated" | "engine">;

export function threadNotice({ isolated, engine }: ThreadSupport): string | null {
  if (!isolated) {
    return "This page runs on one thread: its server does not send the headers for cross-origin " +
      "isolation. Stop restarts the runtime.";
  }
  if (engine !== "threads") {
    return "This page runs on one thread: the browser lacks WebAssembly threads or relaxed SIMD.";
  }
  return null;
}
