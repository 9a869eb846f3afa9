// Where and when a job was tried: a line for each node, a bar for each attempt. The table beside it says the same.

import type { Attempt, Job } from "../api/types";
import { instant, span } from "../format";
import { toneOf, useNow } from "./bits";

const ROW = 30;
const WIDTH = 1000;

export function where(attempt: Attempt): string {
  return attempt.node ?? attempt.worker ?? "elsewhere";
}

export function Timeline({ job }: { job: Job }) {
  const time = useNow();
  const begin = Date.parse(job.created_at);
  const end = Math.max(begin + 1, job.finished_at === null ? time : Date.parse(job.finished_at));
  const x = (at: number) => ((at - begin) / (end - begin)) * WIDTH;
  const places = [...new Set(job.attempts.map(where))];
  const first = job.attempts[0];
  const waited = first === undefined ? null : Date.parse(first.started_at) - begin;
  return (
    <figure class="timeline">
      <div class="timeline-rows">
        <div class="timeline-names">{places.map((name) => <span key={name}>{name}</span>)}</div>
        <svg viewBox={`0 0 ${WIDTH} ${Math.max(1, places.length) * ROW}`} preserveAspectRatio="none" aria-hidden="true" style={{ height: `${Math.max(1, places.length) * ROW}px` }}>
          {places.map((name, row) => <path key={name} class="timeline-floor" d={`M0 ${row * ROW + ROW / 2}H${WIDTH}`} />)}
          {job.attempts.map((one) => {
            const from = x(Date.parse(one.started_at));
            const to = x(one.finished_at === null ? end : Date.parse(one.finished_at));
            const tone = toneOf(one.outcome ?? "running");
            return (
              <rect key={one.number} class={`timeline-bar ${tone}`} x={from} width={Math.max(3, to - from)} y={places.indexOf(where(one)) * ROW + 6} height={ROW - 12} rx="3">
                <title>{`attempt ${one.number} on ${where(one)}: ${one.outcome ?? "running"}`}</title>
              </rect>
            );
          })}
        </svg>
      </div>
      <figcaption class="muted">
        <span>{instant(job.created_at)}</span>
        <span>{waited !== null && `${span(waited)} until the first start`}</span>
        <span>{job.finished_at === null ? "now" : instant(job.finished_at)}</span>
      </figcaption>
    </figure>
  );
}
