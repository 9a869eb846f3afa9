// The one stream of events that the page listens to, and how it stands. It resumes after the last event it saw, at
// whichever node serves the page. It refuses to pretend: when nothing is heard, the state says since when.

import { signal } from "@preact/signals";
import { Failed, servedBy } from "../api/client";
import { follow } from "../api/stream";
import type { EventData } from "../api/types";

export type LinkState = "connecting" | "live" | "polling" | "lost" | "denied";

export interface Happened {
  name: string;
  data: EventData;
}

/** A sign of life comes every 15 s at the latest. */
const SILENCE_MS = 20_000;
const AGAIN_MS = [200, 500, 1_000, 2_000];
/** A node that keeps no journal sees no events; it is asked again after so long. */
const NO_EVENTS_MS = 10_000;

export const link = signal<LinkState>("connecting");
/** When the node last said anything, by this machine's clock. */
export const heardAt = signal(Date.now());
/** Since when nobody answers at all; `null` while somebody does. */
export const silentSince = signal<number | null>(null);

type Listener = (happened: Happened) => void;
const listeners = new Set<Listener>();
let last: string | null = null;
let running: AbortController | null = null;

/** Calls `listener` for each event until the result is called. An event `reset` says that some were missed. */
export function listen(listener: Listener): () => void {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

/** Any answer of the node shows that it lives. */
export function heard(): void {
  heardAt.value = Date.now();
  silentSince.value = null;
}

/** A request got no answer. */
export function unheard(): void {
  if (silentSince.peek() === null) silentSince.value = Date.now();
  if (link.peek() === "live" || link.peek() === "polling") link.value = "lost";
}

/** Starts, or starts anew: after a token was given. */
export function connect(): void {
  running?.abort();
  running = new AbortController();
  void keep(running.signal);
}

async function keep(stop: AbortSignal): Promise<void> {
  let failures = 0;
  while (!stop.aborted) {
    let wait = AGAIN_MS[Math.min(failures, AGAIN_MS.length - 1)] ?? 1_000;
    failures += 1;
    try {
      await follow("v1/events", {
        last,
        silence: SILENCE_MS,
        signal: stop,
        onOpen: () => {
          failures = 0;
          link.value = "live";
          heard();
          // What happened before the first event was asked for is not told.
          if (last === null) tell({ name: "reset", data: {} });
        },
        onBytes: heard,
        onFrame: (frame) => {
          if (frame.id !== null) last = frame.id;
          tell({ name: frame.event, data: JSON.parse(frame.data) as EventData });
        },
      });
      link.value = "lost";
    } catch (error) {
      if (stop.aborted) return;
      wait = missed(error, wait);
    }
    await new Promise((done) => setTimeout(done, wait));
  }
}

/** Says what it means that the stream could not be had; how long to wait before it is tried again. */
function missed(error: unknown, wait: number): number {
  if (!(error instanceof Failed)) {
    link.value = "lost";
    return wait;
  }
  if (error.silent) {
    link.value = "lost";
    unheard();
    return wait;
  }
  heard();
  if (error.status === 401 || error.status === 403) {
    link.value = "denied";
    return 5_000;
  }
  if (error.status === 400) last = null;
  const keepsNone = error.problem?.type === "urn:relais:problem:not-ready";
  link.value = keepsNone ? "polling" : "lost";
  return keepsNone ? NO_EVENTS_MS : wait;
}

function tell(happened: Happened): void {
  for (const listener of listeners) listener(happened);
}

/** In words, for people; `now` by this machine's clock. */
export function linkWords(state: LinkState, heard: number, now: number): string {
  const old = `${Math.max(0, Math.round((now - heard) / 1_000))} s old`;
  switch (state) {
    case "connecting":
      return "connecting";
    case "live":
      return now - heard > SILENCE_MS ? `no word for ${Math.round((now - heard) / 1_000)} s` : "live";
    case "polling":
      return "live, every 2 s";
    case "lost":
      return `reconnecting, ${old}`;
    case "denied":
      return "a token is needed";
  }
}

/** The name of the node that serves the page, as far as is known. */
export function here(): string {
  return servedBy.value ?? "this node";
}
