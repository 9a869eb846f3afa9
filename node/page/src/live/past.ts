// What is drawn over time: how many jobs end, how long they waited, and how busy each node is. Jobs are counted by
// their events; what was before the page was opened is read off the newest jobs, as far back as they reach. The API
// keeps no series of its own.

import { signal } from "@preact/signals";
import { ask, now } from "../api/client";
import type { JobPage, NodeRow } from "../api/types";
import { quantile } from "../format";
import { isHeard, nodes } from "./data";
import { type Happened, listen } from "./link";

/** One bucket of the series. */
export const STEP_MS = 2_000;
export const STEPS = 300;
/** Jobs whose wait is being counted. */
const OPEN_MAX = 50_000;
/** Waits kept of one bucket: enough for its quantiles. */
const WAITS_MAX = 2_000;
const SAMPLES = 60;

interface Bucket {
  succeeded: number;
  failed: number;
  waits: number[];
}

const buckets = new Map<number, Bucket>();
const open = new Map<string, number>();
/** The first step that is known at all. */
let knownFrom = Math.floor(now() / STEP_MS);

/** Counts up when there is something new to draw. */
export const pastTurn = signal(0);

function bucket(at: number): Bucket {
  const step = Math.floor(at / STEP_MS);
  let found = buckets.get(step);
  if (found === undefined) {
    found = { succeeded: 0, failed: 0, waits: [] };
    buckets.set(step, found);
  }
  return found;
}

function waited(at: number, ms: number): void {
  const { waits } = bucket(at);
  if (waits.length < WAITS_MAX) waits.push(Math.max(0, ms));
  else waits[Math.floor(Math.random() * WAITS_MAX)] = Math.max(0, ms);
}

function count({ name, data }: Happened): void {
  if (data.job === undefined || data.at === undefined) return;
  const at = Date.parse(data.at);
  switch (name) {
    case "job.queued":
      open.set(data.job, at);
      if (open.size > OPEN_MAX) open.delete(open.keys().next().value ?? "");
      break;
    case "job.attempt_started": {
      const since = open.get(data.job);
      open.delete(data.job);
      if (since !== undefined) waited(at, at - since);
      break;
    }
    case "job.succeeded":
      bucket(at).succeeded += 1;
      break;
    case "job.failed":
    case "job.expired":
      bucket(at).failed += 1;
      break;
    case "job.cancelled":
      open.delete(data.job);
      break;
  }
}

/** Jobs of before, by the newest of the record; what they do not reach stays unknown. */
async function readBack(): Promise<void> {
  const until = now();
  const page = await ask<JobPage>("v1/jobs?limit=500&consistency=local");
  for (const job of page.jobs) {
    const queued = job.queued_at === null ? NaN : Date.parse(job.queued_at);
    const started = job.attempts[0] === undefined ? NaN : Date.parse(job.attempts[0].started_at);
    const finished = job.finished_at === null ? NaN : Date.parse(job.finished_at);
    if (job.state === "queued" && queued < until) open.set(job.id, queued);
    if (started < until && job.attempts.length === 1) waited(started, started - queued);
    if (!(finished < until)) continue;
    if (job.state === "succeeded") bucket(finished).succeeded += 1;
    if (job.state === "failed" || job.state === "expired") bucket(finished).failed += 1;
  }
  const oldest = page.jobs.at(-1);
  const all = page.next_cursor === null || oldest === undefined;
  const from = all ? 0 : Math.ceil(Date.parse(oldest.created_at) / STEP_MS);
  knownFrom = Math.min(knownFrom, from);
}

export interface Series {
  /** Unix seconds. */
  at: number[];
  succeeded: (number | null)[];
  failed: (number | null)[];
  p50: (number | null)[];
  p95: (number | null)[];
}

/** The last ten minutes, up to the last whole bucket; fewer where less is known, but two at least. */
export function series(): Series {
  const end = Math.floor(now() / STEP_MS);
  const made: Series = { at: [], succeeded: [], failed: [], p50: [], p95: [] };
  const begin = Math.max(end - STEPS, Math.min(knownFrom, end - STEPS / 5));
  for (let step = begin; step < end; step += 1) {
    made.at.push((step * STEP_MS) / 1_000);
    const found = buckets.get(step);
    const known = step >= knownFrom;
    const perSecond = (value: number | undefined) => (known ? ((value ?? 0) * 1_000) / STEP_MS : null);
    made.succeeded.push(perSecond(found?.succeeded));
    made.failed.push(perSecond(found?.failed));
    const waits = found === undefined ? [] : found.waits.toSorted((a, b) => a - b);
    made.p50.push(known ? quantile(waits, 0.5) : null);
    made.p95.push(known ? quantile(waits, 0.95) : null);
  }
  return made;
}

/** Load of each node, one sample a round of the node table. */
export const load = new Map<string, (number | null)[]>();

function sample(rows: NodeRow[]): void {
  for (const row of rows) {
    const samples = load.get(row.name) ?? [];
    samples.push(isHeard(row) ? row.cpu_percent : null);
    if (samples.length > SAMPLES) samples.shift();
    load.set(row.name, samples);
  }
}

export function startPast(): void {
  listen(count);
  let sampledAt = 0;
  nodes.subscribe((rows) => {
    if (rows === null || Date.now() - sampledAt < STEP_MS * 0.8) return;
    sampledAt = Date.now();
    sample(rows);
  });
  setInterval(() => {
    const oldest = Math.floor(now() / STEP_MS) - STEPS - 1;
    for (const step of buckets.keys()) if (step < oldest) buckets.delete(step);
    if (!document.hidden) pastTurn.value += 1;
  }, STEP_MS);
  void readBack().then(
    () => (pastTurn.value += 1),
    // Then the series begin now.
    () => undefined,
  );
}
