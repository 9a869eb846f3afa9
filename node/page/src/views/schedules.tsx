// The schedules: when, in plain words, the next five times, what became of the last, and running one now.

import { useSignal } from "@preact/signals";
import { ask, token, url } from "../api/client";
import type { Firing, Job, Schedule } from "../api/types";
import { curl } from "../commands";
import { cronWords } from "../cron";
import { count, moment } from "../format";
import { useResource } from "../live/resource";
import { described } from "../live/rows";
import { Ago, Badge, Empty, Loading, type Tone, Trouble } from "../parts/bits";
import { Command } from "../parts/copy";
import { confirmed, done, say } from "../parts/dialogs";
import { hrefOfJob } from "../router";

const OUTCOME_TONE: Record<string, Tone> = { fired: "ok", skipped: "warn", missed: "warn", refused: "bad" };
const EXAMPLE = { cron: "0 30 2 * * *", time_zone: "Europe/Paris", job: { kind: "exec", payload: { command: ["python3", "report.py"] } } };

function pathOf(name: string, rest = ""): string {
  return `v1/schedules/${encodeURIComponent(name)}${rest}`;
}

export function Schedules() {
  const { value, error, again } = useResource<{ schedules: Schedule[] }>("v1/schedules?consistency=local", ["schedule.", "reset"], 10_000);
  if (value.value === null) return error.value === null ? <Loading what="schedules" /> : <Trouble what={error.value} onAgain={again} />;
  const rows = value.value.schedules;
  return (
    <>
      {error.value && <Trouble what={error.value} onAgain={again} />}
      {rows.length === 0 && <Empty title="No schedule yet"><p>A schedule submits a job at the times of a cron text. One is set like this:</p></Empty>}
      {rows.map((row) => <One key={row.name} row={row} onChange={again} />)}
      {rows.length === 0 && <Command label="curl" text={curl({ method: "PUT", url: url(pathOf("nightly-report")), body: EXAMPLE, hasToken: token.value !== null })} />}
    </>
  );
}

function One({ row, onChange }: { row: Schedule; onChange: () => void }) {
  const words = cronWords(row.cron);
  const act = (verb: string, said: string) => done(async () => {
    await ask(pathOf(row.name, `:${verb}`), { method: "POST" });
    onChange();
    return said;
  });
  return (
    <section class="panel" aria-labelledby={`schedule-${row.name}`}>
      <header>
        <h2 id={`schedule-${row.name}`}>{row.name} {row.paused && <Badge word="paused" tone="warn" />}</h2>
        <div class="buttons">
          <button type="button" class="primary" aria-label={`Run now: ${row.name}`} onClick={() => runNow(row, onChange)}>Run now</button>
          <button type="button" aria-label={`${row.paused ? "Resume" : "Pause"} ${row.name}`} onClick={() => void (row.paused ? act("resume", `${row.name} goes on.`) : act("pause", `${row.name} is paused.`))}>{row.paused ? "Resume" : "Pause"}</button>
          <button type="button" aria-label={`Remove ${row.name}`} onClick={() => remove(row, onChange)}>Remove …</button>
        </div>
      </header>
      <p class="cron-words">{words === null ? "As its cron text says" : words[0]?.toUpperCase() + words.slice(1)}, {row.time_zone} <code>{row.cron}</code></p>
      <p class="muted">Submits <b>{row.job.name ?? described({ kind: row.job.kind, payload: row.job.payload })}</b> to queue {row.job.queue}; missed times: {row.missed}; overlap: {row.overlap}.</p>
      <div class="schedule-parts">
        <div>
          <h3>Next five, in this browser's time zone</h3>
          {row.next.length === 0 ? <p class="muted">{row.paused ? "None while it is paused." : "None."}</p> : (
            <ol>{row.next.map((at) => <li key={at}><time dateTime={at}>{moment(at)}</time> <span class="muted"><Ago at={at} /></span></li>)}</ol>
          )}
        </div>
        <div>
          <h3>Last</h3>
          {row.last === null ? <p class="muted">Not fired yet.</p> : <Fired one={row.last} />}
          <p class="muted">{count(row.counts.fired)} fired, {count(row.counts.triggered)} by hand, {count(row.counts.skipped)} skipped, {count(row.counts.missed)} missed, {count(row.counts.refused)} refused</p>
        </div>
        <History name={row.name} />
      </div>
    </section>
  );
}

function Fired({ one }: { one: Firing }) {
  return (
    <p>
      <Badge word={one.outcome} tone={OUTCOME_TONE[one.outcome] ?? "calm"} /> <Ago at={one.at} />{" "}
      {one.job && <a href={hrefOfJob(one.job)}>its job</a>}
      {one.running && <a href={hrefOfJob(one.running)}>the job that still ran</a>}
      {one.missed !== null && <span>{count(one.missed)} times</span>}
      {one.triggered && <span class="muted"> by hand{one.triggered_by ? `, ${one.triggered_by}` : ""}</span>}
    </p>
  );
}

function History({ name }: { name: string }) {
  const shown = useSignal<Firing[] | null>(null);
  const open = (event: Event) => {
    if ((event.currentTarget as HTMLDetailsElement).open) {
      void done(async () => {
        shown.value = (await ask<{ firings: Firing[] }>(pathOf(name, "/firings"))).firings;
        return null;
      });
    }
  };
  return (
    <details onToggle={open}>
      <summary>History</summary>
      {shown.value?.length === 0 && <p class="muted">Nothing yet.</p>}
      {shown.value?.slice(0, 50).map((one) => <Fired key={one.slot + one.at} one={one} />)}
    </details>
  );
}

function runNow(row: Schedule, onChange: () => void): void {
  confirmed({
    title: `Run ${row.name} now?`,
    body: <p>Its job is submitted once, beside its times.</p>,
    verb: "Run now",
    act: async () => {
      const job = await ask<Job>(pathOf(row.name, ":trigger"), { method: "POST" });
      onChange();
      setTimeout(() => say(`${row.name} was fired.`, false, hrefOfJob(job.id)), 0);
      return `${row.name} was fired.`;
    },
  });
}

function remove(row: Schedule, onChange: () => void): void {
  confirmed({
    title: `Remove ${row.name}?`,
    body: <p>It fires no more. The jobs that it made stay.</p>,
    verb: "Remove it",
    danger: true,
    act: async () => {
      await ask(pathOf(row.name), { method: "DELETE" });
      onChange();
      return `${row.name} is removed.`;
    },
  });
}
