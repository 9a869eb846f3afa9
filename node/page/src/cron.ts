// A cron text in plain words. Pure. It says what is written there, and no more: when that is, the API tells.

const MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const NTH = ["first", "second", "third", "fourth", "fifth"];
const ALIASES: Record<string, string> = {
  "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
  "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
};

interface Fields {
  second: string;
  minute: string;
  hour: string;
  day: string;
  month: string;
  weekday: string;
}

function fieldsOf(text: string): Fields | null {
  const plain = ALIASES[text.trim().toLowerCase()] ?? text.trim();
  const parts = plain.toUpperCase().split(/\s+/).map((part) => (part === "?" ? "*" : part));
  if (parts.length === 5) parts.unshift("0");
  if (parts.length !== 6) return null;
  const [second, minute, hour, day, month, weekday] = parts as [string, string, string, string, string, string];
  return { second, minute, hour, day, month, weekday };
}

/** `null` where it can't be said: then the text itself is shown alone. */
export function cronWords(text: string): string | null {
  const fields = fieldsOf(text);
  if (fields === null) return null;
  const when = timeWords(fields);
  const days = dayWords(fields);
  const months = fields.month === "*" ? "" : ` in ${listed(named(fields.month, MONTHS, 1))}`;
  return when === null || days === null ? null : `${when}${days}${months}`;
}

function isNumber(field: string): boolean {
  return /^\d+$/.test(field);
}

function isNumbers(field: string): boolean {
  return /^\d+(,\d+)*$/.test(field);
}

function two(value: string | number): string {
  return String(value).padStart(2, "0");
}

/** A star and /5 as 5; 0 if it is no such pace. */
function pace(field: string): number {
  const found = /^(?:\*|0)\/(\d+)$/.exec(field);
  return found === null ? 0 : Number(found[1]);
}

function every(count: number, unit: string): string {
  return count === 1 ? `every ${unit}` : `every ${count} ${unit}s`;
}

function timeWords({ second, minute, hour }: Fields): string | null {
  if (second !== "0" && !isNumber(second)) {
    const seconds = second === "*" ? "every second" : pace(second) > 0 ? every(pace(second), "second") : `at seconds ${spelled(second)}`;
    return seconds + within(minute, hour);
  }
  const tail = second === "0" ? "" : `:${two(second)}`;
  if (isNumbers(minute) && isNumbers(hour)) {
    const times = hour.split(",").flatMap((h) => minute.split(",").map((m) => `${two(h)}:${two(m)}${tail}`));
    if (times.length <= 6) return `at ${listed(times.sort())}`;
  }
  const atSecond = second === "0" ? "" : ` and ${second} s`;
  if (minute === "*" || pace(minute) > 0) return `${every(pace(minute) || 1, "minute")}${atSecond}${hours(hour)}`;
  if (!isNumbers(minute) && !/^[\d,*/-]+$/.test(minute)) return null;
  const past = `${spelled(minute)} min${atSecond} past`;
  if (hour === "*") return `at ${past} every hour`;
  if (pace(hour) > 0) return isNumber(minute) && minute === "0" ? every(pace(hour), "hour") : `at ${past}, ${every(pace(hour), "hour")}`;
  return `at ${past} the hours ${spelled(hour)}`;
}

/** Minutes and hours, where seconds go on within them. */
function within(minute: string, hour: string): string {
  const minutes = minute === "*" ? "" : pace(minute) > 0 ? ` of ${every(pace(minute), "minute")}` : ` of minute ${spelled(minute)}`;
  return minutes + hours(hour);
}

function hours(hour: string): string {
  if (hour === "*") return "";
  if (pace(hour) > 0) return ` of ${every(pace(hour), "hour")}`;
  const range = /^(\d+)-(\d+)$/.exec(hour);
  if (range !== null) return ` from ${two(range[1] ?? "")}:00 to ${two(range[2] ?? "")}:59`;
  return isNumber(hour) ? ` from ${two(hour)}:00 to ${two(hour)}:59` : ` of the hours ${spelled(hour)}`;
}

function dayWords({ day, weekday }: Fields): string | null {
  const byDay = day === "*" ? null : monthDay(day);
  const byWeek = weekday === "*" ? null : weekDays(weekday);
  if (byDay === "" || byWeek === "") return null;
  if (byDay !== null && byWeek !== null) return ` on ${byDay} or ${byWeek}`;
  if (byDay === null && byWeek === null) return "";
  return ` on ${byDay ?? byWeek}`;
}

function monthDay(day: string): string {
  if (day === "L") return "the last day of the month";
  if (day === "LW") return "the last working day of the month";
  const near = /^(\d+)W$/.exec(day);
  if (near !== null) return `the working day nearest to day ${near[1]}`;
  if (pace(day) > 0) return `${every(pace(day), "day")} of the month`;
  return /^[\d,/*-]+$/.test(day) ? `day ${spelled(day)} of the month` : "";
}

function weekDays(weekday: string): string {
  if (/^(1-5|MON-FRI)$/.test(weekday)) return "weekdays";
  const nth = /^(\w+)#(\d|L)$/.exec(weekday);
  if (nth !== null) return `the ${nth[2] === "L" ? "last" : (NTH[Number(nth[2]) - 1] ?? nth[2])} ${named(nth[1] ?? "", DAYS, 0)[0]} of the month`;
  const last = /^(\w+)L$/.exec(weekday);
  if (last !== null) return `the last ${named(last[1] ?? "", DAYS, 0)[0]} of the month`;
  return listed(named(weekday, DAYS, 0));
}

/** Names of months or days for numbers and three letters; ranges by their ends. */
function named(field: string, names: string[], from: number): string[] {
  const one = (text: string): string => {
    const number = isNumber(text) ? Number(text) - from : names.findIndex((name) => name.slice(0, 3).toUpperCase() === text);
    // The week may end with Sunday as 7.
    return names[names === DAYS ? number % 7 : number] ?? text;
  };
  return field.split(",").map((part) => {
    const [range = "", step] = part.split("/");
    const ends = range.split("-");
    const base = range === "*" ? "" : ends.length === 2 ? `${one(ends[0] ?? "")} to ${one(ends[1] ?? "")}` : one(range);
    if (step === undefined) return base;
    return `every ${step}${ordinal(step)} ${names === DAYS ? "day" : "month"}${base === "" ? "" : ` from ${base}`}`;
  });
}

function ordinal(text: string): string {
  const value = Number(text);
  if (value % 100 >= 11 && value % 100 <= 13) return "th";
  return ["th", "st", "nd", "rd"][value % 10] ?? "th";
}

/** Lists, ranges and paces of numbers. */
function spelled(field: string): string {
  return listed(
    field.split(",").map((part) => {
      const [range = "", step] = part.split("/");
      const base = range === "*" ? "" : range.replace("-", " to ");
      return step === undefined ? base : `every ${step}${ordinal(step)}${base === "" ? "" : ` from ${base}`}`;
    }),
  );
}

function listed(items: string[]): string {
  return items.length < 2 ? (items[0] ?? "") : `${items.slice(0, -1).join(", ")} and ${items.at(-1)}`;
}
