/** The bare page: boots the runtime, shows how it came up and what scripts print. */

import { Runtime, type RuntimeEvent, type RuntimeOptions } from "./client";
import type { EngineBuild } from "../protocol";
import { runJob, type Job, type JobResult } from "./job";
import { threadNotice } from "./notice";
import { exposeScripting } from "./scripting";

function element(testid: string): HTMLElement {
  const found = document.querySelector<HTMLElement>(`[data-testid="${testid}"]`);
  if (found === null) throw new Error(`the page has no ${testid}`);
  return found;
}

const isBuild = (name: string | null): name is EngineBuild =>
  name === "threads" || name === "relaxed" || name === "simd";

/** `run.html?threads=2&backend=wasm&engine=simd`; what is left out the runtime chooses. */
function optionsOf(query: URLSearchParams): RuntimeOptions {
  const [threads, engine] = [query.get("threads"), query.get("engine")];
  return {
    threads: Math.trunc(Number(threads)) || null,
    backend: query.get("backend"),
    engine: isBuild(engine) ? engine : null,
  };
}

function show(event: RuntimeEvent): void {
  const status = element("status");
  switch (event.kind) {
    case "booting": status.textContent = `Starting ${event.stage} …`; break;
    case "restarting": status.textContent = `Starting anew: ${event.reason}`; break;
    case "boot-failed": status.textContent = `Could not start: ${event.message}`; break;
    case "ready": {
      const { backend, threads, engine, version } = event.capabilities;
      const notice = threadNotice(event.capabilities);
      status.textContent = `Tensorbrook ${version} · ${backend} · ${engine} · threads: ${threads}`;
      element("notice").textContent = notice;
      element("notice").hidden = notice === null;
      break;
    }
    case "stdout": case "stderr": element("output").append(event.text); break;
    case "finished": element("output").append(event.error ?? ""); break;
    case "session": break;
    default: event satisfies never;
  }
}

declare global {
  /** For whoever drives the page: run a script with its files; output goes to tensorbrookWrite. */
  var tensorbrookRun: ((job: Job) => Promise<JobResult>) | undefined;
}

const runtime = new Runtime(optionsOf(new URLSearchParams(location.search)));
runtime.onEvent(show);
exposeScripting(runtime);
globalThis.tensorbrookRun = (job) =>
  runJob(runtime, job, globalThis.tensorbrookWrite ?? (() => Promise.resolve()));
runtime.boot().catch(() => undefined); // shown as boot-failed
