/** The theme, light or dark: the system's preference until the user chooses. */
import { loadItem, saveItem } from "./state/persistence";

export class Theme {
  private readonly system = matchMedia("(prefers-color-scheme: dark)");
  private choice = $state<string | null>(loadItem("theme"));
  private systemDark = $state(this.system.matches);
  readonly dark = $derived(this.choice === null ? this.systemDark : this.choice === "dark");

  constructor() {
    this.system.addEventListener("change", () => (this.systemDark = this.system.matches));
  }

  toggle(): void {
    this.choice = this.dark ? "light" : "dark";
    document.documentElement.dataset.theme = this.choice;
    saveItem("theme", this.choice);
  }
}
