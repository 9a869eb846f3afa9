// The output of a job: followed, paused, searched, downloaded.

import { useComputed, useSignal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { send } from "../api/client";
import { JobLog, type LogLine, type LogState, type LogStream, shown } from "../live/log";
import { count, many } from "../format";
import { done } from "./dialogs";

const LINE_PX = 20;
const OVERSCAN = 20;
const STATE_WORDS: Record<LogState, string> = {
  following: "following", paused: "paused: nothing is read", ended: "the job has ended, this is all", broken: "can't be read",
};

interface LogOf {
  job: string;
  attempts: number[];
}

export function LogView({ job, attempts }: LogOf) {
  const attempt = useSignal<number | null>(null);
  const stream = useSignal<LogStream>("merged");
  const log = useMemo(() => new JobLog(job, attempt.value, stream.value), [job, attempt.value, stream.value]);
  useEffect(() => {
    log.start();
    return () => log.end();
  }, [log]);
  const search = useSearch(log);
  const state = log.state.value;
  return (
    <>
      <div class="log-tools">
        {state === "following" && <button type="button" onClick={() => log.pause()}>Pause</button>}
        {(state === "paused" || state === "broken") && <button type="button" class="primary" onClick={() => log.start()}>Go on</button>}
        <label class="offscreen" for="log-search">Search the output</label>
        <input id="log-search" type="search" placeholder="Search the output" value={search.text.value} onInput={(event) => search.find(event.currentTarget.value)} onKeyDown={(event) => { if (event.key === "Enter") search.step(event.shiftKey ? -1 : 1); }} />
        <button type="button" onClick={() => search.step(-1)} disabled={search.hits.value.length === 0} aria-label="Match before">↑</button>
        <button type="button" onClick={() => search.step(1)} disabled={search.hits.value.length === 0} aria-label="Next match">↓</button>
        <span class="muted" role="status">{search.text.value !== "" && (search.hits.value.length === 0 ? "no match" : `${search.at.value + 1} of ${count(search.hits.value.length)}`)}</span>
        <span class="grow" />
        <label class="inline">Output
          <select value={stream.value} onChange={(event) => (stream.value = event.currentTarget.value as LogStream)}>
            <option value="merged">both</option><option value="stdout">stdout</option><option value="stderr">stderr</option>
          </select>
        </label>
        {attempts.length > 1 && (
          <label class="inline">Attempt
            <select value={attempt.value ?? ""} onChange={(event) => (attempt.value = event.currentTarget.value === "" ? null : Number(event.currentTarget.value))}>
              <option value="">newest</option>{attempts.map((one) => <option key={one} value={one}>{one}</option>)}
            </select>
          </label>
        )}
        <button type="button" onClick={() => void done(() => download(log))}>Download</button>
      </div>
      <Lines log={log} goal={search.goal.value} needle={search.text.value} />
      <p class="note" id="log-state" data-state={state}>
        <span role="status">{STATE_WORDS[state]}</span>{log.error.value && `; ${log.error.value}`}
        {log.dropped > 0 && `; the first ${many(log.dropped, "line")} are only in the download`}
      </p>
    </>
  );
}

function useSearch(log: JobLog) {
  const text = useSignal("");
  const at = useSignal(0);
  const goal = useSignal<{ line: number; turn: number } | null>(null);
  const hits = useComputed(() => {
    void log.turn.value;
    const needle = text.value.toLowerCase();
    if (needle === "") return [];
    const found: number[] = [];
    log.lines.forEach((line, place) => {
      if (line.text.toLowerCase().includes(needle)) found.push(place);
    });
    return found;
  });
  const show = (place: number) => {
    at.value = place;
    const line = hits.value[place];
    if (line !== undefined) goal.value = { line, turn: performance.now() };
  };
  return {
    text,
    at,
    goal,
    hits,
    find: (needle: string) => {
      text.value = needle;
      show(0);
    },
    step: (by: number) => {
      const all = hits.value.length;
      if (all > 0) show((at.value + by + all) % all);
    },
  };
}

function Lines({ log, goal, needle }: { log: JobLog; goal: { line: number; turn: number } | null; needle: string }) {
  const box = useRef<HTMLDivElement>(null);
  const sticks = useRef(true);
  const first = useSignal(0);
  const turn = log.turn.value;
  const lines = log.lines;
  const look = () => {
    const element = box.current;
    if (element === null) return;
    first.value = Math.max(0, Math.floor(element.scrollTop / LINE_PX) - OVERSCAN);
    sticks.current = element.scrollHeight - element.scrollTop - element.clientHeight < LINE_PX * 1.5;
  };
  useEffect(() => {
    if (sticks.current && box.current !== null) box.current.scrollTop = box.current.scrollHeight;
  }, [turn]);
  useEffect(() => {
    const element = box.current;
    if (goal === null || element === null) return;
    element.scrollTop = Math.max(0, goal.line * LINE_PX - element.clientHeight / 2);
  }, [goal]);
  const end = Math.min(lines.length, first.value + 40 + 2 * OVERSCAN);
  const places: number[] = [];
  for (let place = first.value; place < end; place += 1) places.push(place);
  return (
    <div class="log" role="region" aria-label="Lines of output" tabIndex={0} ref={box} onScroll={look}>
      {lines.length === 0 && <p class="muted">{log.state.value === "ended" ? "It wrote nothing." : "Nothing yet."}</p>}
      <div class="log-lines" style={{ height: `${lines.length * LINE_PX}px`, minWidth: `${log.longest}ch` }}>
        {places.map((place) => <Line key={place + log.dropped} line={lines[place]} place={place} isGoal={goal?.line === place} needle={needle} />)}
      </div>
    </div>
  );
}

function Line({ line, place, isGoal, needle }: { line: LogLine | undefined; place: number; isGoal: boolean; needle: string }) {
  if (line === undefined) return null;
  return (
    <div class={`log-line ${line.stream}${isGoal ? " goal" : ""}`} style={{ transform: `translateY(${place * LINE_PX}px)` }}>
      {line.stream === "stderr" && <span class="offscreen">stderr: </span>}
      {marked(shown(line.text), needle)}
    </div>
  );
}

function marked(text: string, needle: string) {
  const at = needle === "" ? -1 : text.toLowerCase().indexOf(needle.toLowerCase());
  if (at < 0) return text;
  return <>{text.slice(0, at)}<mark>{text.slice(at, at + needle.length)}</mark>{text.slice(at + needle.length)}</>;
}

/** By a request and not by a link, since a link can't send the token. */
async function download(log: JobLog): Promise<null> {
  const response = await send(log.path(false));
  const blob = await response.blob();
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${log.job}${log.attempt === null ? "" : `.${log.attempt}`}${log.stream === "merged" ? "" : `.${log.stream}`}.log`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  return null;
}
