/** Light or dark: as the system has it, until the person chooses. */
import { read, write } from "./state/persistence";

export class Theme {
  private readonly system = matchMedia("(prefers-color-scheme: dark)");
  private chosen = $state<string | null>(read("theme"));
  private systemDark = $state(this.system.matches);
  readonly dark = $derived(this.chosen === null ? this.systemDark : this.chosen === "dark");

  constructor() {
    this.system.addEventListener("change", () => (this.systemDark = this.system.matches));
  }

  toggle(): void {
    this.chosen = this.dark ? "light" : "dark";
    document.documentElement.dataset.theme = this.chosen;
    write("theme", this.chosen);
  }
}
