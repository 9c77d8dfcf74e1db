/** The bare page: boots the runtime, shows how it came up and what scripts print. */

import { Runtime, type RuntimeEvent, type RuntimeOptions } from "./client";
import type { EngineBuild, GpuReport, Way } from "../protocol";
import { runJob, type Job, type JobResult } from "./cli_job";
import { threadNotice } from "./thread_notice";
import { exposeScripting } from "./automation_api";

function element(testid: string): HTMLElement {
  const found = document.querySelector<HTMLElement>(`[data-testid="${testid}"]`);
  if (found === null) throw new Error(`the page has no ${testid}`);
  return found;
}

const isBuild = (name: string | null): name is EngineBuild =>
  name === "threads" || name === "relaxed" || name === "simd";

const isWay = (name: string | null): name is Way => name === "local" || name === "worker";

/** `run.html?threads=2&backend=wasm&engine=simd&gpu=worker`; what is left out the runtime chooses. */
function optionsOf(query: URLSearchParams): RuntimeOptions {
  const [threads, engine] = [query.get("threads"), query.get("engine")];
  const gpu = query.get("gpu");
  return {
    threads: Math.trunc(Number(threads)) || null,
    backend: query.get("backend"),
    engine: isBuild(engine) ? engine : null,
    gpu: isWay(gpu) ? gpu : null,
  };
}

const wordsOf = (gpu: GpuReport): string =>
  gpu.present ? `GPU: ${gpu.name}${gpu.software ? " (software)" : ""}` : "no GPU";

function show(event: RuntimeEvent): void {
  const status = element("status");
  switch (event.kind) {
    case "booting": status.textContent = `Starting ${event.stage} …`; break;
    case "restarting": status.textContent = `Starting anew: ${event.reason}`; break;
    case "boot-failed": status.textContent = `Could not start: ${event.message}`; break;
    case "ready": {
      const { backend, threads, engine, gpu, version } = event.capabilities;
      const notice = threadNotice(event.capabilities);
      status.textContent = `Tensorbrook ${version} · ${backend} · ${engine} · ` +
        `threads: ${threads} · ${wordsOf(gpu)}`;
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
