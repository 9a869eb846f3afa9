// Light or dark: as the system says, unless chosen here. And whether single keys do anything, which can be switched
// off for those who speak to their machine.

import { effect, signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";
const THEMES: readonly Theme[] = ["system", "light", "dark"];

function kept(name: string): string | null {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

function keep(name: string, value: string): void {
  try {
    localStorage.setItem(name, value);
  } catch {
    // Without storage the choice holds for this page alone.
  }
}

export const theme = signal<Theme>(THEMES.find((one) => one === kept("relais.theme")) ?? "system");
export const keysOn = signal(kept("relais.keys") !== "off");

export function nextTheme(): void {
  theme.value = THEMES[(THEMES.indexOf(theme.value) + 1) % THEMES.length] ?? "system";
  keep("relais.theme", theme.value);
}

export function switchKeys(on: boolean): void {
  keysOn.value = on;
  keep("relais.keys", on ? "on" : "off");
}

const system = matchMedia("(prefers-color-scheme: dark)");
/** Counts up whenever colours change, for what is not drawn by style sheets. */
export const colours = signal(0);
system.addEventListener("change", () => (colours.value += 1));

export function startTheme(): void {
  effect(() => {
    if (theme.value === "system") delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = theme.value;
    colours.value = colours.peek() + 1;
  });
}

/** A colour of the style sheet, as a canvas takes it. */
export function colour(name: string): string {
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}
