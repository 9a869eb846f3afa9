// The keyboard: `/` looks for jobs, `?` shows the keys, `g` and a letter goes to a view, `j` and `k` walk a list.

import { signal } from "@preact/signals";
import { go, hrefOf, type View, where } from "./router";
import { keysOn } from "./theme";

export const GOES: readonly [string, View, string][] = [
  ["o", "overview", "Overview"],
  ["n", "nodes", "Nodes"],
  ["j", "jobs", "Jobs"],
  ["q", "queues", "Queues"],
  ["s", "schedules", "Schedules"],
  ["f", "failovers", "Failovers"],
  ["c", "submit", "Submit (create a job)"],
];

export const helpShown = signal(false);

const CHORD_MS = 1_500;
/** How long a view is waited for. */
const FRAMES_MAX = 120;
let goneAt = -Infinity;

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.matches("input, textarea, select") || target.isContentEditable);
}

/** Puts the cursor where jobs are looked for. */
function search(): void {
  if (where.peek().view !== "jobs") go(hrefOf("jobs"));
  focusSoon(FRAMES_MAX);
}

/** The view may not be drawn yet. */
function focusSoon(frames: number): void {
  const field = document.querySelector<HTMLInputElement>("#filter-name");
  field?.focus();
  if (field === null && frames > 0) requestAnimationFrame(() => focusSoon(frames - 1));
}

function walk(step: number): void {
  const rows = [...document.querySelectorAll<HTMLAnchorElement>("[data-row] a[data-main]")];
  const at = rows.findIndex((row) => row === document.activeElement);
  const next = rows[at < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, at + step))];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
}

function pressed(event: KeyboardEvent): void {
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || !keysOn.peek()) return;
  if (document.querySelector("dialog[open]") !== null) return;
  const chord = event.timeStamp - goneAt < CHORD_MS;
  goneAt = -Infinity;
  const goal = chord ? GOES.find(([key]) => key === event.key) : undefined;
  if (goal !== undefined) go(hrefOf(goal[1]));
  else if (event.key === "g") goneAt = event.timeStamp;
  else if (event.key === "/") search();
  else if (event.key === "?") helpShown.value = true;
  else if (event.key === "j") walk(1);
  else if (event.key === "k") walk(-1);
  else return;
  event.preventDefault();
}

export function startKeys(): void {
  document.addEventListener("keydown", pressed);
}
