import { mount } from "svelte";
import { Runtime } from "../runtime/client";
import { exposeScripting } from "../runtime/automation_api";
import App from "./App.svelte";
import "./app.css";

const target = document.getElementById("app");
if (target === null) throw new Error("the page has no element #app");
const runtime = new Runtime();
exposeScripting(runtime);
mount(App, { target, props: { runtime } });
runtime.boot().catch(() => undefined); // the Studio hears of it as boot-failed
