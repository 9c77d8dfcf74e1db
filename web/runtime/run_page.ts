/** The page run.html: boots the runtime, shows its status and the output of scripts. */

import type { EngineBuild, GpuReport, GpuTransport } from "../protocol";
import { exposeAutomationApi } from "./automation_api";
import { runJob, type Job, type JobResult } from "./cli_job";
import { Runtime, type RuntimeEvent, type RuntimeOptions } from "./client";
import { threadNotice } from "./thread_notice";

function element(testid: string): HTMLElement {
  const found = document.querySelector<HTMLElement>(`[data-testid="${testid}"]`);
  if (found === null) throw new Error(`the page has no ${testid}`);
  return found;
}

const isEngineBuild = (name: string | null): name is EngineBuild =>
  name === "threads" || name === "relaxed" || name === "threads-simd" || name === "simd";

const isGpuTransport = (name: string | null): name is GpuTransport =>
  name === "jspi" || name === "worker";

/** Parse `run.html?threads=2&backend=wasm&engine=simd&gpu=worker`; every option may be missing. */
function parseOptions(query: URLSearchParams): RuntimeOptions {
  const [threads, engine] = [query.get("threads"), query.get("engine")];
  const gpu = query.get("gpu");
  return {
    threads: Math.trunc(Number(threads)) || null,
    backend: query.get("backend"),
    engine: isEngineBuild(engine) ? engine : null,
    gpu: isGpuTransport(gpu) ? gpu : null,
  };
}

const gpuText = (gpu: GpuReport): string =>
  gpu.present ? `GPU: ${gpu.name}${gpu.software ? " (software)" : ""}` : "no GPU";

function show(event: RuntimeEvent): void {
  const status = element("status");
  switch (event.kind) {
    case "booting": status.textContent = `Starting ${event.stage} …`; break;
    case "stalled": status.textContent = event.message; break;
    case "restarting": status.textContent = `Restarting: ${event.reason}`; break;
    case "boot-failed": status.textContent = `Could not start: ${event.message}`; break;
    case "ready": {
      const { backend, threads, engine, gpu, version } = event.capabilities;
      const notice = threadNotice(event.capabilities);
      status.textContent = `Tensorbrook ${version} · ${backend} · ${engine} · ` +
        `threads: ${threads} · ${gpuText(gpu)}`;
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
  /** Run a script with its files for the program that drives the page; see tensorbrookWrite. */
  var tensorbrookRun: ((job: Job) => Promise<JobResult>) | undefined;
}

const runtime = new Runtime(parseOptions(new URLSearchParams(location.search)));
runtime.onEvent(show);
exposeAutomationApi(runtime);
globalThis.tensorbrookRun = (job) =>
  runJob(runtime, job, globalThis.tensorbrookWrite ?? (() => Promise.resolve()));
runtime.boot().catch(() => undefined); // the event boot-failed shows the error
