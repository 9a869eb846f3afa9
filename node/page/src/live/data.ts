// What several views show: the cluster, its nodes, its queues and the counts of jobs. Asked for again when an event
// says that it changed, and every 2 s for what no event tells (load, memory, ages). Nothing is asked for while the
// page is hidden.

import { signal } from "@preact/signals";
import { ask, Failed, words } from "../api/client";
import type { Cluster, Counts, NodeRow, Queue } from "../api/types";
import { heard, link, listen, unheard } from "./link";

const POLL_MS = 2_000;
/** A node that is stopped, and not gone, answers nothing. */
const LIMIT_MS = 4_000;
/** Events come in swarms; what they change is asked for once each so long. */
const CALM_MS = 250;

export const cluster = signal<Cluster | null>(null);
export const nodes = signal<NodeRow[] | null>(null);
/** When each node was last heard of, by the clock of whoever tells; survives its death. */
export const lastFigures = signal<ReadonlyMap<string, { row: NodeRow; at: number }>>(new Map());
export const queues = signal<Queue[] | null>(null);
export const counts = signal<Counts | null>(null);
/** Why the last request failed; `null` when it did not. */
export const dataError = signal<string | null>(null);
/** How old at most what is shown is, if it was read without the dispatcher. */
export const staleMs = signal<number | null>(null);
/** Counts up with each round, for what is drawn over time. */
export const round = signal(0);

interface Part {
  path: string;
  take: (value: never) => void;
  /** Beginnings of the names of events that change it. */
  events: string[];
  timer: ReturnType<typeof setTimeout> | null;
  busy: boolean;
  again: boolean;
}

function part<T>(path: string, take: (value: T) => void, events: string[]): Part {
  return { path, take, events, timer: null, busy: false, again: false };
}

const parts: Part[] = [
  part<Cluster>("v1/cluster", (value) => (cluster.value = value), ["cluster.", "node.", "reset"]),
  part<{ nodes: NodeRow[] }>("v1/nodes?consistency=local", (value) => takeNodes(value.nodes), ["cluster.", "node.", "reset"]),
  part<{ queues: Queue[] }>("v1/queues?consistency=local", (value) => (queues.value = value.queues), ["job.", "reset"]),
  part<Counts>("v1/jobs:count?group_by=state&consistency=local", (value) => (counts.value = value), ["job.", "reset"]),
];

/** Whether figures of a node in this status are of now. */
export function isHeard(row: NodeRow): boolean {
  return row.status !== "offline" && row.status !== "left";
}

function takeNodes(rows: NodeRow[]): void {
  const figures = new Map(lastFigures.peek());
  for (const row of rows) {
    if (!isHeard(row) || row.cpu_percent === null) continue;
    figures.set(row.name, { row, at: Date.now() - (row.last_heard_ms ?? 0) });
  }
  lastFigures.value = figures;
  nodes.value = rows;
}

async function fetchPart(one: Part): Promise<void> {
  if (one.busy) {
    one.again = true;
    return;
  }
  one.busy = true;
  try {
    one.take(await ask<never>(one.path, { limit: LIMIT_MS }));
    heard();
    dataError.value = null;
  } catch (error) {
    if (error instanceof Failed && error.silent) unheard();
    else heard();
    dataError.value = words(error);
  }
  one.busy = false;
  if (one.again) {
    one.again = false;
    soon(one);
  }
}

function soon(one: Part): void {
  one.timer ??= setTimeout(() => {
    one.timer = null;
    void fetchPart(one);
  }, CALM_MS);
}

/** Asks for all of it now. */
export async function refresh(): Promise<void> {
  await Promise.all(parts.map(fetchPart));
  round.value += 1;
}

export function startData(): void {
  listen(({ name }) => {
    if (document.hidden) return;
    for (const one of parts) {
      if (!one.events.some((start) => name.startsWith(start))) continue;
      // A change of role is shown at once.
      if (name.startsWith("cluster.")) void fetchPart(one);
      else soon(one);
    }
  });
  const turn = async () => {
    // Without a token all would be refused.
    if (!document.hidden && link.peek() !== "denied") await refresh();
    setTimeout(turn, POLL_MS);
  };
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) void refresh();
  });
  void turn();
}
