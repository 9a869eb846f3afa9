// Figures and times as people read them. Pure.

const DASH = "–";

/** 1234567 as 1,234,567. */
export function count(value: number | null | undefined): string {
  return value === null || value === undefined ? DASH : value.toLocaleString("en-US");
}

export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined) return DASH;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let rest = value;
  let unit = 0;
  while (rest >= 1024 && unit < units.length - 1) {
    rest /= 1024;
    unit += 1;
  }
  return `${unit === 0 || rest >= 100 ? Math.round(rest) : rest.toFixed(1)} ${units[unit]}`;
}

export function rate(value: number | null | undefined): string {
  return value === null || value === undefined ? DASH : `${bytes(value)}/s`;
}

/** A length of time, in its two largest units. */
export function span(ms: number | null | undefined): string {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return DASH;
  const whole = Math.max(0, ms);
  if (whole < 1_000) return `${Math.round(whole)} ms`;
  if (whole < 10_000) return `${(whole / 1_000).toFixed(1)} s`;
  const s = Math.round(whole / 1_000);
  if (s < 60) return `${s} s`;
  if (s < 3_600) return joined(Math.floor(s / 60), "min", s % 60, "s");
  if (s < 86_400) return joined(Math.floor(s / 3_600), "h", Math.floor((s % 3_600) / 60), "min");
  return joined(Math.floor(s / 86_400), "d", Math.floor((s % 86_400) / 3_600), "h");
}

function joined(large: number, a: string, small: number, b: string): string {
  return small === 0 ? `${large} ${a}` : `${large} ${a} ${small} ${b}`;
}

/** A length of time in one unit, for an axis. */
export function brief(ms: number): string {
  const plain = (value: number) => String(Number(value.toPrecision(3)));
  if (ms < 1_000) return `${plain(ms)} ms`;
  if (ms < 60_000) return `${plain(ms / 1_000)} s`;
  return ms < 3_600_000 ? `${plain(ms / 60_000)} min` : `${plain(ms / 3_600_000)} h`;
}

/** How long ago or in how long, seen from `now`. */
export function relative(at: string | null | undefined, now: number): string {
  if (!at) return DASH;
  const away = Date.parse(at) - now;
  if (Math.abs(away) < 1_000) return "now";
  const text = span(Math.floor(Math.abs(away) / 1_000) * 1_000);
  return away < 0 ? `${text} ago` : `in ${text}`;
}

/** Date and time of this machine's zone, to the second. */
export function moment(at: string | null | undefined): string {
  if (!at) return DASH;
  const date = new Date(at);
  const two = (value: number) => String(value).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** The same with milliseconds and without the day. */
export function instant(at: string | null | undefined): string {
  if (!at) return DASH;
  return `${moment(at).slice(11)}.${String(new Date(at).getMilliseconds()).padStart(3, "0")}`;
}

/** The beginning of an id that is told from its neighbours: the time is in front, chance behind. */
export function shortId(id: string): string {
  return `${id.slice(0, 8)}…${id.slice(-4)}`;
}

/** `1 job`, `2 jobs`. */
export function many(value: number, one: string, more = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : more}`;
}

/** The value below which `share` of all lie. */
export function quantile(sorted: number[], share: number): number | null {
  if (sorted.length === 0) return null;
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? null;
}

const DURATION = /^(?:\d+(?:ms|d|h|m|s))+$/;

/** Whether the API takes it as a duration. */
export function isDuration(text: string): boolean {
  return DURATION.test(text);
}

/** `1h30m` in ms; `null` if it is none. */
export function durationMs(text: string): number | null {
  if (!isDuration(text)) return null;
  const units: Record<string, number> = { ms: 1, s: 1e3, m: 6e4, h: 36e5, d: 864e5 };
  let sum = 0;
  for (const [, value, unit] of text.matchAll(/(\d+)(ms|d|h|m|s)/g)) sum += Number(value) * (units[unit ?? ""] ?? 0);
  return sum;
}
