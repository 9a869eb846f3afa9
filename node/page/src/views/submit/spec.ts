// What the form says as a job spec, and what is wrong with it. Pure. The API checks all of it again; this is so that
// one sees it while typing.

import { isDuration } from "../../format";

export interface Form {
  kind: string;
  otherKind: string;
  shell: boolean;
  command: string;
  env: string;
  cwd: string;
  stdin: string;
  method: string;
  url: string;
  headers: string;
  body: string;
  sleep: string;
  failTimes: string;
  payload: string;
  name: string;
  queue: string;
  priority: string;
  start: "now" | "delay" | "at";
  delay: string;
  at: string;
  timeout: string;
  attempts: string;
  labels: string;
  slots: string;
  cpu: string;
  memory: string;
  key: string;
}

export const BLANK: Form = {
  kind: "exec", otherKind: "", shell: true, command: "", env: "", cwd: "", stdin: "",
  method: "GET", url: "", headers: "", body: "", sleep: "", failTimes: "", payload: "{}",
  name: "", queue: "", priority: "", start: "now", delay: "", at: "", timeout: "", attempts: "", labels: "",
  slots: "", cpu: "", memory: "", key: "",
};

export type Errors = Partial<Record<keyof Form, string>>;

export interface Built {
  spec: Record<string, unknown>;
  errors: Errors;
}

/** Where in the form a JSON pointer of the API's answer is. */
const PLACES: readonly [RegExp, keyof Form][] = [
  [/^\/payload\/command/, "command"], [/^\/payload\/env/, "env"], [/^\/payload\/cwd/, "cwd"], [/^\/payload\/stdin/, "stdin"],
  [/^\/payload\/method/, "method"], [/^\/payload\/url/, "url"], [/^\/payload\/headers/, "headers"], [/^\/payload\/body/, "body"],
  [/^\/payload\/sleep/, "sleep"], [/^\/payload\/fail_times/, "failTimes"], [/^\/payload/, "payload"], [/^\/kind/, "otherKind"],
  [/^\/name/, "name"], [/^\/queue/, "queue"], [/^\/priority/, "priority"], [/^\/delay/, "delay"], [/^\/run_at/, "at"],
  [/^\/timeout/, "timeout"], [/^\/retry/, "attempts"], [/^\/labels/, "labels"], [/^\/requires\/cpu/, "cpu"],
  [/^\/requires\/memory/, "memory"], [/^\/requires/, "slots"], [/^\/idempotency_key/, "key"],
];

export function placeOf(pointer: string, form: Form): keyof Form | null {
  const found = PLACES.find(([pattern]) => pattern.test(pointer))?.[1] ?? null;
  return found === "otherKind" && form.kind !== "other" ? null : found;
}

/** Words as a shell would part them: quotes hold together, a backslash takes the next as it is. */
export function parted(text: string): string[] | null {
  const words: string[] = [];
  let word: string | null = null;
  let quote = "";
  for (let place = 0; place < text.length; place += 1) {
    const char = text.charAt(place);
    if (char === "\\" && quote !== "'") {
      place += 1;
      if (place >= text.length) return null;
      word = (word ?? "") + text.charAt(place);
    } else if (quote !== "") {
      if (char === quote) quote = "";
      else word = (word ?? "") + char;
    } else if (char === "'" || char === '"') {
      quote = char;
      word ??= "";
    } else if (/\s/.test(char)) {
      if (word !== null) words.push(word);
      word = null;
    } else word = (word ?? "") + char;
  }
  if (quote !== "") return null;
  if (word !== null) words.push(word);
  return words;
}

/** Lines of `KEY=VALUE`, or with another mark between; the first line that is none of these, if there is any. */
function pairs(text: string, mark: string): { made: Record<string, string>; wrong: string | null } {
  const made: Record<string, string> = {};
  for (const line of text.split("\n").map((one) => one.trim()).filter((one) => one !== "")) {
    const at = line.indexOf(mark);
    if (at < 1) return { made, wrong: line };
    made[line.slice(0, at).trim()] = line.slice(at + 1).trim();
  }
  return { made, wrong: null };
}

function whole(text: string, least: number, most: number): number | null {
  return /^\d+$/.test(text) && Number(text) >= least && Number(text) <= most ? Number(text) : null;
}

export function build(form: Form): Built {
  const errors: Errors = {};
  const spec: Record<string, unknown> = { kind: form.kind === "other" ? form.otherKind.trim() : form.kind };
  if (form.kind === "other" && form.otherKind.trim() === "") errors.otherKind = "name the kind";
  spec["payload"] = payloadOf(form, errors);
  commonOf(form, spec, errors);
  return { spec, errors };
}

function payloadOf(form: Form, errors: Errors): unknown {
  if (form.kind === "exec") return execOf(form, errors);
  if (form.kind === "http") return httpOf(form, errors);
  if (form.kind === "noop") {
    const payload: Record<string, unknown> = {};
    duration(form, "sleep", (text) => (payload["sleep"] = text), errors);
    number(form, "failTimes", 0, 65_535, (value) => (payload["fail_times"] = value), errors);
    return payload;
  }
  try {
    return JSON.parse(form.payload) as unknown;
  } catch (error) {
    errors.payload = `is no JSON: ${error instanceof Error ? error.message : ""}`;
    return null;
  }
}

function execOf(form: Form, errors: Errors): Record<string, unknown> {
  const payload: Record<string, unknown> = {};
  const words = form.shell ? ["sh", "-c", form.command] : parted(form.command);
  if (form.command.trim() === "") errors.command = "is missing";
  else if (words === null) errors.command = "a quote or a backslash at its end is left open";
  payload["command"] = words ?? [];
  const env = pairs(form.env, "=");
  const own = Object.keys(env.made).find((name) => name.startsWith("RELAIS_"));
  if (env.wrong !== null) errors.env = `“${env.wrong}” is not KEY=VALUE`;
  else if (own !== undefined) errors.env = `${own} is given by Relais itself`;
  else if (form.env.trim() !== "") payload["env"] = env.made;
  if (form.cwd !== "" && !form.cwd.startsWith("/")) errors.cwd = "must be an absolute path, or nothing for a private folder";
  else if (form.cwd !== "") payload["cwd"] = form.cwd;
  if (form.stdin !== "") payload["stdin"] = form.stdin;
  return payload;
}

function httpOf(form: Form, errors: Errors): Record<string, unknown> {
  const payload: Record<string, unknown> = { url: form.url };
  if (!/^https?:\/\/[^/\s]+/.test(form.url)) errors.url = "must be an http or https URL";
  if (form.method !== "GET") payload["method"] = form.method;
  const headers = pairs(form.headers, ":");
  if (headers.wrong !== null) errors.headers = `“${headers.wrong}” is not Name: value`;
  else if (form.headers.trim() !== "") payload["headers"] = headers.made;
  if (form.body !== "") payload["body"] = form.body;
  return payload;
}

function commonOf(form: Form, spec: Record<string, unknown>, errors: Errors): void {
  const name = form.name.trim();
  if ([...name].length > 200) errors.name = "has more than 200 characters";
  else if (name !== "") spec["name"] = name;
  if (form.queue !== "" && !/^[a-z0-9][a-z0-9._-]{0,63}$/.test(form.queue)) errors.queue = "small letters, digits, . _ - and at most 64 of them";
  else if (form.queue !== "") spec["queue"] = form.queue;
  number(form, "priority", 0, 100, (value) => (spec["priority"] = value), errors);
  if (form.start === "delay") {
    if (form.delay === "") errors.delay = "say how long, like 10m";
    duration(form, "delay", (text) => (spec["delay"] = text), errors);
  }
  if (form.start === "at") {
    const at = new Date(form.at);
    if (form.at === "" || Number.isNaN(at.getTime())) errors.at = "say when";
    else spec["run_at"] = at.toISOString();
  }
  duration(form, "timeout", (text) => (spec["timeout"] = text), errors);
  number(form, "attempts", 1, 10_000, (value) => (spec["retry"] = { max_attempts: value }), errors);
  const labels = pairs(form.labels.replaceAll(",", "\n"), "=");
  if (labels.wrong !== null) errors.labels = `“${labels.wrong}” is not key=value`;
  else if (Object.keys(labels.made).length > 16) errors.labels = "more than 16";
  else if (form.labels.trim() !== "") spec["labels"] = labels.made;
  requiresOf(form, spec, errors);
  if (form.key !== "") spec["idempotency_key"] = form.key;
}

function requiresOf(form: Form, spec: Record<string, unknown>, errors: Errors): void {
  const requires: Record<string, unknown> = {};
  number(form, "slots", 1, 10_000, (value) => (requires["slots"] = value), errors);
  if (form.cpu !== "" && !(Number(form.cpu) > 0)) errors.cpu = "cores, like 1.5";
  else if (form.cpu !== "") requires["cpu"] = Number(form.cpu);
  if (form.memory !== "" && !/^\d+\s?([KMGT]i?B|B)?$/.test(form.memory)) errors.memory = "a size like 512MiB";
  else if (form.memory !== "") requires["memory"] = form.memory;
  if (Object.keys(requires).length > 0) spec["requires"] = requires;
}

function duration(form: Form, field: "sleep" | "delay" | "timeout", take: (text: string) => void, errors: Errors): void {
  const text = form[field];
  if (text === "") return;
  if (isDuration(text)) take(text);
  else errors[field] = "a duration like 90s or 1h30m";
}

function number(form: Form, field: "failTimes" | "priority" | "attempts" | "slots", least: number, most: number, take: (value: number) => void, errors: Errors): void {
  const text = form[field];
  if (text === "") return;
  const value = whole(text, least, most);
  if (value === null) errors[field] = `a whole number from ${least} to ${most}`;
  else take(value);
}

/** A form that says what a job was asked to do. */
export function like(job: { kind: string; name: string | null; queue: string; priority: number; payload: unknown; timeout: string | null; labels: Record<string, string>; retry: { max_attempts: number } }): Form {
  const form: Form = { ...BLANK };
  const payload = (job.payload ?? {}) as Record<string, unknown>;
  const lines = (of: unknown, mark: string) => Object.entries((of ?? {}) as Record<string, string>).map(([key, value]) => `${key}${mark}${value}`).join("\n");
  const text = (of: unknown) => (of === undefined || of === null ? "" : typeof of === "string" ? of : JSON.stringify(of));
  form.kind = ["exec", "http", "noop", "external"].includes(job.kind) ? job.kind : "other";
  if (form.kind === "other") form.otherKind = job.kind;
  form.payload = JSON.stringify(job.payload ?? {}, null, 2);
  if (form.kind === "exec") {
    const command = (payload["command"] ?? []) as string[];
    form.shell = command.length === 3 && command[0] === "sh" && command[1] === "-c";
    form.command = form.shell ? (command[2] ?? "") : command.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`)).join(" ");
    form.env = lines(payload["env"], "=");
    form.cwd = text(payload["cwd"]);
    form.stdin = text(payload["stdin"]);
  }
  if (form.kind === "http") {
    form.method = text(payload["method"]) || "GET";
    form.url = text(payload["url"]);
    form.headers = lines(payload["headers"], ": ");
    form.body = text(payload["body"]);
  }
  form.sleep = text(payload["sleep"]);
  form.failTimes = text(payload["fail_times"]);
  form.name = job.name ?? "";
  form.queue = job.queue === "default" ? "" : job.queue;
  form.priority = job.priority === 50 ? "" : String(job.priority);
  form.timeout = job.timeout ?? "";
  form.attempts = job.retry.max_attempts === 1 ? "" : String(job.retry.max_attempts);
  form.labels = Object.entries(job.labels).map(([key, value]) => `${key}=${value}`).join(", ");
  return form;
}
