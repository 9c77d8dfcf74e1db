import "./locale";
import { mount } from "svelte";
import { Runtime } from "../runtime/client";
import { exposeAutomationApi } from "../runtime/automation_api";
import App from "./App.svelte";
import "./app.css";

const target = document.getElementById("app");
if (target === null) throw new Error("the page has no element #app");
const runtime = new Runtime();
exposeAutomationApi(runtime);
mount(App, { target, props: { runtime } });
runtime.boot().catch(() => undefined); // the event boot-failed shows the error
