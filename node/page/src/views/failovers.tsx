// The failovers that the journal tells of: phase by phase, in milliseconds, and the jobs that each touched.

import type { Failover } from "../api/types";
import { count, many, moment, shortId } from "../format";
import { useResource } from "../live/resource";
import { Ago, Badge, Empty, Loading, type Tone, Trouble } from "../parts/bits";
import { hrefOfJob } from "../router";

const FATE_TONE: Record<string, Tone> = { open: "calm", kept: "ok", adopted: "ok", retried: "warn", duplicate: "bad" };
const PHASES = [
  ["suspected", "suspected"],
  ["confirmed", "confirmed by a majority"],
  ["elected", "elected"],
  ["reconciled", "running jobs sorted out"],
  ["first_dispatch", "first job dispatched"],
] as const;

export function Failovers() {
  const { value, error, again } = useResource<{ failovers: Failover[] }>("v1/cluster/failovers?consistency=local", ["cluster.", "reset"], 10_000);
  if (value.value === null) return error.value === null ? <Loading what="failovers" /> : <Trouble what={error.value} onAgain={again} />;
  const all = value.value.failovers;
  return (
    <>
      {error.value && <Trouble what={error.value} onAgain={again} />}
      {all.length === 0 && <Empty title="No failover is on record" />}
      {all.map((one) => <One key={`${one.generation}.${one.epoch}`} one={one} />)}
    </>
  );
}

function One({ one }: { one: Failover }) {
  const id = `failover-${one.generation}-${one.epoch}`;
  const lost = one.jobs.lost_attempts > 0 || one.jobs.duplicate > 0;
  return (
    <section class="panel" aria-labelledby={id}>
      <header>
        <h2 id={id}>Epoch {one.epoch}: {one.from === null ? one.to : `${one.from} → ${one.to}`}</h2>
        <p class="figure"><Badge word={one.cause} tone={one.cause === "start" || one.cause.includes("hand") ? "calm" : "warn"} /> {moment(one.suspected_at)}, <Ago at={one.suspected_at} /></p>
      </header>
      <p class="unavailable"><b>{count(one.unavailable_ms)} ms</b> without a dispatcher</p>
      <Phases one={one} />
      <p class={lost ? "" : "muted"}>
        {one.jobs.running === null ? "" : `${many(one.jobs.running, "job")} ran: `}
        {count(one.jobs.kept)} never stopped, {count(one.jobs.adopted)} adopted, {count(one.jobs.retried)} retried, {many(one.jobs.lost_attempts, "attempt")} lost, {count(one.jobs.duplicate)} ran twice
      </p>
      {one.fates.length > 0 && (
        <details>
          <summary>{many(one.fates.length, "job")} that it touched</summary>
          <ul class="fates">
            {one.fates.map((fate) => (
              <li key={fate.job + fate.fate}><a class="mono" href={hrefOfJob(fate.job)} title={fate.job}>{shortId(fate.job)}</a> <span>on {fate.node}</span> <Badge word={fate.fate} tone={FATE_TONE[fate.fate] ?? "calm"} /></li>
            ))}
          </ul>
          {one.fates_left_out > 0 && <p class="note">{many(one.fates_left_out, "more job")} that the record does not name.</p>}
        </details>
      )}
    </section>
  );
}

/** Each phase begins where the one before ended. */
function Phases({ one }: { one: Failover }) {
  const known = PHASES.flatMap(([key, label]) => {
    const at = one.phases_ms[key];
    return at === null ? [] : [{ key, label, at }];
  });
  // The first job may come long after; that says nothing about the failover.
  const end = Math.max(1, one.unavailable_ms, ...known.filter((phase) => phase.key !== "first_dispatch" || phase.at <= one.unavailable_ms * 4).map((phase) => phase.at));
  return (
    <div class="phases">
      <svg viewBox="0 0 1000 16" preserveAspectRatio="none" aria-hidden="true">
        <rect class="meter-all" width="1000" height="16" />
        {known.slice(1).map((phase, place) => {
          const from = (known[place]?.at ?? 0) / end;
          return <rect key={phase.key} class={`phase-${phase.key}`} x={from * 1000} width={Math.max(2, (Math.min(phase.at, end) / end - from) * 1000)} height="16" />;
        })}
      </svg>
      <ol>{known.map((phase) => <li key={phase.key}><i class={`swatch phase-${phase.key}`} aria-hidden="true" />{phase.label} <b>{phase.key === "suspected" ? "0" : `+${count(phase.at)}`} ms</b></li>)}</ol>
    </div>
  );
}
