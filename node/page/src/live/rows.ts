// The rows of the list of jobs: pages by cursor, of which little is kept, so that 100,000 of them are no burden. Events
// change rows where they stand. At the top the list is read anew when something happened; further down nothing moves
// under the reader, who is told instead that there is more.

import { signal } from "@preact/signals";
import { ask, words } from "../api/client";
import type { Job, JobPage, JobState } from "../api/types";
import type { Happened } from "./link";

/** What is kept of a job. */
export interface Row {
  id: string;
  name: string;
  kind: string;
  queue: string;
  state: JobState;
  priority: number;
  attempt: number;
  node: string | null;
  created: string;
  started: string | null;
  finished: string | null;
}

const PAGE = 250;
/** Rows left below the screen when the next page is asked for. */
export const AHEAD = 120;
const CALM_MS = 700;
/** Further down than this the reader has left the top. */
const SCROLLED_PX = 300;

export class JobRows {
  readonly rows: Row[] = [];
  private readonly byId = new Map<string, Row>();
  private cursor: string | null = null;
  private loading: AbortController | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private isOver = false;
  /** Counts up with each change of the rows. */
  readonly turn = signal(0);
  readonly state = signal<"first" | "more" | "ready" | "failed">("first");
  readonly complete = signal(false);
  readonly error = signal("");
  /** Whether jobs came that the list does not show. */
  readonly news = signal(false);
  /** Whether the reader is at the top. */
  atTop = true;

  constructor(readonly filter: string) {}

  private path(cursor: string | null): string {
    const query = new URLSearchParams(this.filter);
    query.set("limit", String(PAGE));
    query.set("consistency", "local");
    if (cursor !== null) query.set("cursor", cursor);
    return `v1/jobs?${query}`;
  }

  /** Reads the first page anew. */
  async begin(): Promise<void> {
    this.loading?.abort();
    const own = new AbortController();
    this.loading = own;
    let goesOn = false;
    try {
      const page = await ask<JobPage>(this.path(null), { signal: own.signal, limit: 10_000 });
      // Where the reader is may not have been told yet.
      if (this.rows.length > 0 && (!this.atTop || (globalThis.scrollY ?? 0) > SCROLLED_PX)) {
        // The reader went on meanwhile, and what is read stays where it is.
        this.news.value = true;
        goesOn = true;
        return;
      }
      this.rows.length = 0;
      this.byId.clear();
      this.news.value = false;
      this.take(page);
    } catch (error) {
      this.fail(error, own);
    } finally {
      if (this.loading === own) this.loading = null;
      // The next page may have been on its way when this began.
      if (goesOn) void this.more();
    }
  }

  /** Reads the next page, unless that is being done or there is none. */
  async more(): Promise<void> {
    if (this.loading !== null || this.complete.peek() || this.cursor === null || this.isOver) return;
    const own = new AbortController();
    this.loading = own;
    this.state.value = "more";
    try {
      this.take(await ask<JobPage>(this.path(this.cursor), { signal: own.signal, limit: 20_000 }));
    } catch (error) {
      this.fail(error, own);
    } finally {
      if (this.loading === own) this.loading = null;
    }
  }

  private take(page: JobPage): void {
    for (const job of page.jobs) {
      if (this.byId.has(job.id)) continue;
      const row = slim(job);
      this.byId.set(job.id, row);
      this.rows.push(row);
    }
    this.cursor = page.next_cursor;
    this.complete.value = page.next_cursor === null;
    this.state.value = "ready";
    this.turn.value += 1;
  }

  private fail(error: unknown, own: AbortController): void {
    if (own.signal.aborted) return;
    this.error.value = words(error);
    this.state.value = "failed";
  }

  end(): void {
    this.isOver = true;
    this.loading?.abort();
    clearTimeout(this.timer);
  }

  happened({ name, data }: Happened): void {
    if (name !== "reset" && !name.startsWith("job.")) return;
    const row = data.job === undefined ? undefined : this.byId.get(data.job);
    if (row !== undefined && change(row, name, data.state as JobState | undefined, data.node, data.at)) this.soonDrawn();
    if (row === undefined || name === "job.forgotten" || this.atTop) this.soonRead();
  }

  private drawing = false;

  private soonDrawn(): void {
    if (this.drawing) return;
    this.drawing = true;
    requestAnimationFrame(() => {
      this.drawing = false;
      this.turn.value += 1;
    });
  }

  private soonRead(): void {
    if (!this.atTop) {
      this.news.value = true;
      return;
    }
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      if (this.isOver || document.hidden) return;
      if (this.atTop && this.loading === null) void this.begin();
      else if (!this.atTop) this.news.value = true;
    }, CALM_MS);
  }
}

function slim(job: Job): Row {
  return {
    id: job.id,
    name: job.name ?? described(job),
    kind: job.kind,
    queue: job.queue,
    state: job.state,
    priority: job.priority,
    attempt: job.attempt,
    node: job.node ?? job.worker,
    created: job.created_at,
    started: job.started_at,
    finished: job.finished_at,
  };
}

/** A job without a name is known by what it does. */
export function described(job: Pick<Job, "kind" | "payload">): string {
  const payload = job.payload as { command?: string[]; url?: string; method?: string } | null;
  if (job.kind === "exec" && Array.isArray(payload?.command)) return payload.command.join(" ").slice(0, 120);
  if (job.kind === "http" && payload?.url) return `${payload.method ?? "GET"} ${payload.url}`.slice(0, 120);
  return job.kind;
}

function change(row: Row, name: string, state: JobState | undefined, node: string | undefined, at: string | undefined): boolean {
  if (state !== undefined) {
    row.state = state;
    row.finished = name === "job.queued" || name === "job.running" || at === undefined ? null : at;
    if (state === "queued" || state === "running" || state === "retrying") row.finished = null;
    return true;
  }
  if (name === "job.attempt_started") {
    row.attempt += 1;
    row.started = at ?? row.started;
    row.node = node ?? row.node;
    return true;
  }
  return false;
}
