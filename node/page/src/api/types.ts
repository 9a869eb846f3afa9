// The shapes that the HTTP API sends and takes, by hand after its contract. Times are RFC 3339 texts, durations texts
// like "1h30m", counts of milliseconds end in _ms. Nothing here is made up by the page.

export const STATES = [
  "blocked", "scheduled", "queued", "running", "retrying", "succeeded", "failed", "cancelled", "expired",
] as const;
export type JobState = (typeof STATES)[number];

export const ENDED: ReadonlySet<JobState> = new Set<JobState>(["succeeded", "failed", "cancelled", "expired"]);
export const RETRIABLE: ReadonlySet<JobState> = new Set<JobState>(["failed", "cancelled", "expired"]);

export type NodeStatus = "joining" | "online" | "suspect" | "limited" | "draining" | "offline" | "left";

export interface NodeRow {
  name: string;
  id: number;
  role: "dispatcher+worker" | "worker" | "witness";
  status: NodeStatus;
  reason: string | null;
  version: string;
  machine: string;
  pid: number;
  http: string;
  slots: number;
  running: number;
  cpu_percent: number | null;
  memory_available_bytes: number | null;
  net_in_bytes_per_second: number | null;
  net_out_bytes_per_second: number | null;
  journal_index: number | null;
  last_heard_ms: number | null;
  labels: Record<string, string>;
  cpu: number;
  cpu_used: number;
  memory_bytes: number;
  memory_used_bytes: number;
  voter: boolean;
  draining: boolean;
}

export interface Cluster {
  id: string;
  name: string;
  status: "running" | "running (limited)" | "no dispatcher" | "offline";
  reason: string;
  mode: string;
  epoch: number;
  generation: number;
  dispatcher: string | null;
  nodes: { online: number; registered: number };
  high_availability: boolean;
  survives: string;
  succession: { name: string; why: string }[];
}

export interface JobError {
  type: string;
  message: string;
}

export interface Attempt {
  number: number;
  node: string | null;
  worker: string | null;
  epoch: number;
  fence: number;
  started_at: string;
  finished_at: string | null;
  outcome: "succeeded" | "failed" | "timed_out" | "cancelled" | "lost" | null;
  exit_code: number | null;
  signal: number | null;
  error: JobError | null;
  progress: string | null;
  output_tail: string | null;
}

export interface Job {
  id: string;
  kind: string;
  name: string | null;
  queue: string;
  priority: number;
  payload: unknown;
  run_at: string | null;
  delay: string | null;
  expires_at: string | null;
  timeout: string | null;
  retry: { max_attempts: number; max_lost: number; [more: string]: unknown };
  requires: { slots: number; cpu: number | null; memory: string | null; labels: Record<string, string> };
  placement: string;
  depends_on: { id: string; on: string }[];
  labels: Record<string, string>;
  metadata: unknown;
  group: string | null;
  array: { index: number; input: unknown } | null;
  state: JobState;
  due_at: string | null;
  attempt: number;
  created_at: string;
  queued_at: string | null;
  started_at: string | null;
  finished_at: string | null;
  node: string | null;
  worker: string | null;
  fence: number | null;
  exit_code: number | null;
  progress: string | null;
  result: unknown;
  error: JobError | null;
  cancel_requested: { at: string; reason: string } | null;
  durability: string;
  submitted_by: string | null;
  attempts: Attempt[];
  duplicate_executions: number;
}

export interface JobPage {
  jobs: Job[];
  next_cursor: string | null;
}

export interface Counts {
  total: number;
  groups: Record<string, number>;
}

export interface Tally {
  matched: number;
  changed: number;
  refused: number;
  dry_run: boolean;
}

export interface Explanation {
  state: JobState;
  why: string;
  due_at: string | null;
  attempts: number;
  failures: number;
  losses: number;
}

export interface Told {
  at: string;
  event: string;
  state?: JobState;
  attempt?: number;
  node?: string;
  worker?: string;
  epoch?: number;
  outcome?: string;
  reason?: string;
  error?: JobError;
  due_at?: string;
}

export interface Story {
  events: Told[];
  forgotten_attempts: number;
}

export interface Queue {
  name: string;
  weight: number;
  concurrency: number | null;
  rate: { count: number; per: string; started: number } | null;
  retention: { age: string | null; count: number | null };
  paused: boolean;
  held_by: "paused" | "concurrency" | "rate" | null;
  opens_at: string | null;
  scheduled: number;
  queued: number;
  running: number;
  retrying: number;
  oldest_age_ms: number | null;
}

export interface Firing {
  slot: string;
  at: string;
  outcome: "fired" | "skipped" | "missed" | "refused";
  job: string | null;
  running: string | null;
  missed: number | null;
  triggered: boolean;
  triggered_by: string | null;
}

export interface Schedule {
  name: string;
  cron: string;
  time_zone: string;
  job: { kind: string; name: string | null; queue: string; payload: unknown };
  missed: string;
  overlap: string;
  paused: boolean;
  created_at: string;
  next: string[];
  last: Firing | null;
  counts: { fired: number; triggered: number; skipped: number; missed: number; refused: number };
}

export interface Failover {
  epoch: number;
  generation: number;
  from: string | null;
  to: string;
  cause: string;
  suspected_at: string;
  elected_at: string;
  first_dispatch_at: string | null;
  unavailable_ms: number;
  phases_ms: {
    suspected: number;
    confirmed: number | null;
    elected: number;
    reconciled: number | null;
    first_dispatch: number | null;
  };
  jobs: {
    running: number | null;
    kept: number;
    adopted: number;
    retried: number;
    duplicate: number;
    lost_attempts: number;
  };
  fates: { job: string; node: string; fate: string }[];
  fates_left_out: number;
}

/** RFC 9457, as the API answers anything that went wrong. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  errors?: { pointer: string; detail: string }[];
}

/** What an event of `/v1/events` says; what it does not have is left out. */
export interface EventData {
  at?: string;
  job?: string;
  group?: string;
  state?: string;
  node?: string;
  draining?: boolean;
  dispatcher?: string;
  epoch?: number;
  schedule?: string;
  reason?: string;
}

/** A piece of output, as the log of a job is followed. */
export interface OutputEvent {
  stream: "stdout" | "stderr";
  attempt: number;
  offset: number;
  text?: string;
  base64?: string;
}
