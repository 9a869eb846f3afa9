// One job: what it is, why it is where it is, its attempts across the nodes, its output as it comes, and the commands
// that do the same as this page.

import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { ask, Failed, token, url, words } from "../api/client";
import { type Attempt, ENDED, type Explanation, type Job as JobRow, RETRIABLE, type Story } from "../api/types";
import { curl, relais } from "../commands";
import { count, instant, moment, span } from "../format";
import { listen } from "../live/link";
import { described } from "../live/rows";
import { Ago, Badge, Empty, Loading, Panel, StateBadge, Took, Trouble, Wide } from "../parts/bits";
import { Command } from "../parts/copy";
import { confirmed } from "../parts/dialogs";
import { LogView } from "../parts/logview";
import { Timeline, where } from "../parts/timeline";
import { hrefOf, hrefOfJob } from "../router";

const CALM_MS = 120;
/** How often a running job's progress is asked for: no event tells it. */
const POLL_MS = 2_000;

function pathOf(id: string, rest = ""): string {
  return `v1/jobs/${encodeURIComponent(id)}${rest}`;
}

function waits(job: JobRow | null): boolean {
  return job !== null && !ENDED.has(job.state) && job.state !== "running";
}

/** A job and what is told of it, anew with each event of it. */
function useJob(id: string) {
  const job = useSignal<JobRow | null>(null);
  const why = useSignal<Explanation | null>(null);
  const story = useSignal<Story | null>(null);
  const error = useSignal<Failed | Error | null>(null);
  const again = useSignal(0);
  useEffect(() => {
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let due = Infinity;
    const read = async () => {
      try {
        const all = await Promise.all([
          ask<JobRow>(pathOf(id), { signal: stop.signal }),
          ask<Explanation>(pathOf(id, "/explain"), { signal: stop.signal }),
          ask<Story>(pathOf(id, "/events"), { signal: stop.signal }),
        ]);
        [job.value, why.value, story.value] = all;
        error.value = null;
      } catch (thrown) {
        if (!stop.signal.aborted) error.value = thrown instanceof Error ? thrown : new Error(words(thrown));
      }
    };
    const soon = (after: number) => {
      if (performance.now() + after >= due) return;
      clearTimeout(timer);
      due = performance.now() + after;
      timer = setTimeout(() => {
        due = Infinity;
        void read();
      }, after);
    };
    void read();
    const deaf = listen(({ name, data }) => {
      const known = job.peek()?.id ?? id;
      if (name === "reset" || data.job === known) soon(CALM_MS);
      // What it waits for may have changed with any other job or node.
      else if (waits(job.peek())) soon(POLL_MS);
    });
    const poll = setInterval(() => {
      if (!document.hidden && (job.peek()?.state === "running" || error.peek() !== null)) soon(0);
    }, POLL_MS);
    return () => {
      stop.abort();
      clearTimeout(timer);
      clearInterval(poll);
      deaf();
    };
  }, [id, again.value]);
  return { job, why, story, error, retry: () => (again.value += 1) };
}

export function JobView({ id }: { id: string }) {
  const { job, why, story, error, retry } = useJob(id);
  const failed = error.value;
  if (job.value === null) {
    if (failed === null) return <Loading what="the job" />;
    if (failed instanceof Failed && failed.status === 404) return <Empty title="There is no such job"><p>{failed.message}</p><p><a href={hrefOf("jobs")}>All jobs</a></p></Empty>;
    return <Trouble what={failed.message} onAgain={retry} />;
  }
  const one = job.value;
  return (
    <>
      {failed && <Trouble what={failed.message} onAgain={retry} />}
      <Head job={one} />
      <section class="panel why" aria-label="Why it is where it is"><p><b>Why: </b>{why.value?.why ?? "…"}</p>{one.progress && <p><b>Progress: </b>{one.progress}</p>}</section>
      <Panel title="Attempts" id="attempts"><Attempts job={one} forgotten={story.value?.forgotten_attempts ?? 0} /></Panel>
      <Panel title="Output" id="output">
        {one.worker !== null ? <Empty title="It runs outside of the nodes"><p>The external worker {one.worker} has its output.</p></Empty> : <LogView key={one.id} job={one.id} attempts={one.attempts.map((each) => each.number)} />}
      </Panel>
      <div class="columns">
        <Panel title="Events" id="events"><Events story={story.value} /></Panel>
        <Panel title="What it was asked to do" id="facts"><Facts job={one} /></Panel>
      </div>
      <div class="columns">
        <Panel title="Payload" id="payload"><Json value={one.payload} label="Payload" /></Panel>
        <Panel title="Result" id="result">{one.result === null ? <Empty title="No result"><p>A job writes it to the file that RELAIS_RESULT_FILE names.</p></Empty> : <Json value={one.result} label="Result" />}</Panel>
      </div>
      <Panel title="The same as a command" id="same"><Commands job={one} /></Panel>
    </>
  );
}

function Head({ job }: { job: JobRow }) {
  return (
    <div class="job-head">
      <div>
        <p class="job-title">{job.name ?? described(job)}</p>
        <p class="mono muted">{job.id}</p>
      </div>
      <p class="job-state" id="job-state" data-state={job.state}>
        <StateBadge state={job.state} />
        {job.cancel_requested && !ENDED.has(job.state) && <Badge word="cancel requested" tone="warn" />}
        {job.error && <span class="job-error">{job.error.message}</span>}
      </p>
      <div class="buttons">
        {RETRIABLE.has(job.state) && <button type="button" class="primary" onClick={() => retryJob(job)}>Retry</button>}
        {!ENDED.has(job.state) && <button type="button" onClick={() => cancelJob(job)}>Cancel …</button>}
        <a class="button" href={hrefOf("submit", { like: job.id })}>Submit one like it</a>
      </div>
    </div>
  );
}

function retryJob(job: JobRow): void {
  confirmed({
    title: "Run this job again?",
    body: <p>It is {job.state} after {count(job.attempt)} attempts, and is put in line again with its retries anew.</p>,
    verb: "Retry it",
    act: async () => {
      await ask(pathOf(job.id, ":retry"), { method: "POST" });
      return "It is in line again.";
    },
  });
}

function cancelJob(job: JobRow): void {
  let reason = "";
  confirmed({
    title: "Cancel this job?",
    body: (
      <>
        <p>{job.state === "running" ? `It runs on ${job.node ?? job.worker}, and is told to stop.` : "It will not be started any more."}</p>
        <label>Reason (optional)<input maxLength={500} onInput={(event) => (reason = event.currentTarget.value)} /></label>
      </>
    ),
    verb: "Cancel it",
    danger: true,
    act: async () => {
      const now = await ask<JobRow>(pathOf(job.id, ":cancel"), { method: "POST", body: { reason } });
      return now.state === "cancelled" ? "It is cancelled." : "It was told to stop.";
    },
  });
}

function Attempts({ job, forgotten }: { job: JobRow; forgotten: number }) {
  if (job.attempts.length === 0) return <Empty title="Not started yet" />;
  return (
    <>
      <Timeline job={job} />
      <Wide label="Table of attempts">
        <table>
          <thead><tr><th scope="col">Attempt</th><th scope="col">Where</th><th scope="col">Outcome</th><th scope="col">Exit</th><th scope="col">Started</th><th scope="col" class="num">Took</th><th scope="col" class="num">Epoch</th><th scope="col" class="num">Fence</th></tr></thead>
          <tbody>{job.attempts.map((one) => <AttemptRow key={one.number} one={one} />)}</tbody>
        </table>
      </Wide>
      {forgotten > 0 && <p class="note">{count(forgotten)} earlier attempts are no longer in the record.</p>}
    </>
  );
}

function AttemptRow({ one }: { one: Attempt }) {
  return (
    <tr>
      <th scope="row">{one.number}</th>
      <td>{where(one)}</td>
      <td><Badge word={one.outcome ?? "running"} />{one.error && <small>{one.error.message}</small>}</td>
      <td>{one.signal !== null ? `signal ${one.signal}` : (one.exit_code ?? "–")}</td>
      <td><time dateTime={one.started_at} title={moment(one.started_at)}>{instant(one.started_at)}</time></td>
      <td class="num"><Took from={one.started_at} to={one.finished_at} /></td>
      <td class="num">{one.epoch}</td>
      <td class="num">{one.fence}</td>
    </tr>
  );
}

function Events({ story }: { story: Story | null }) {
  if (story === null) return <Loading what="events" />;
  const rest = (one: Story["events"][number]) =>
    [one.attempt && `attempt ${one.attempt}`, (one.node ?? one.worker) && `on ${one.node ?? one.worker}`, one.epoch && `epoch ${one.epoch}`, one.outcome, one.state, one.reason, one.error?.message]
      .filter(Boolean)
      .join(", ");
  return (
    <ol class="events">
      {story.events.map((one, place) => (
        <li key={place}>
          <time dateTime={one.at} title={moment(one.at)}>{instant(one.at)}</time>
          <span><b>{one.event.replaceAll("_", " ")}</b> {rest(one)}{one.due_at && <>, due <Ago at={one.due_at} /></>}</span>
        </li>
      ))}
    </ol>
  );
}

function Facts({ job }: { job: JobRow }) {
  const fact = (name: string, value: ComponentChildren) => value !== null && value !== undefined && value !== "" && <div key={name}><dt>{name}</dt><dd>{value}</dd></div>;
  const needs = [`${job.requires.slots} slot${job.requires.slots === 1 ? "" : "s"}`, job.requires.cpu !== null && `${job.requires.cpu} cores`, job.requires.memory, ...Object.entries(job.requires.labels).map(([key, value]) => `${key}=${value}`)];
  return (
    <dl class="facts">
      {fact("Kind", job.kind)}
      {fact("Queue", <a href={hrefOf("jobs", { queue: job.queue })}>{job.queue}</a>)}
      {fact("Priority", String(job.priority))}
      {fact("Created", <>{moment(job.created_at)} (<Ago at={job.created_at} />)</>)}
      {fact("Due", job.due_at && <Ago at={job.due_at} />)}
      {fact("Started", job.started_at && moment(job.started_at))}
      {fact("Ended", job.finished_at && moment(job.finished_at))}
      {fact("Waited", job.queued_at && job.attempts.length === 1 && job.attempts[0] && span(Date.parse(job.attempts[0].started_at) - Date.parse(job.queued_at)))}
      {fact("Exit code", job.exit_code === null ? null : String(job.exit_code))}
      {fact("Time limit", job.timeout)}
      {fact("Attempts", `at most ${count(job.retry.max_attempts)} that fail, ${count(job.retry.max_lost)} lost`)}
      {fact("Requires", needs.filter(Boolean).join(", "))}
      {fact("Placement", job.placement)}
      {fact("Depends on", job.depends_on.length === 0 ? null : job.depends_on.map((one) => <span key={one.id} class="block"><a href={hrefOfJob(one.id)}>{one.id}</a> {one.on}</span>))}
      {fact("Group", job.group && <a href={hrefOf("jobs", { group: job.group })}>{job.group}</a>)}
      {fact("Place in the array", job.array && String(job.array.index))}
      {fact("Labels", Object.entries(job.labels).map(([key, value]) => `${key}=${value}`).join(", "))}
      {fact("Submitted by", job.submitted_by)}
      {fact("Kept on", job.durability)}
      {fact("Ran twice", job.duplicate_executions > 0 ? `${count(job.duplicate_executions)} executions more than one` : null)}
    </dl>
  );
}

function Json({ value, label }: { value: unknown; label: string }) {
  return <pre tabIndex={0} aria-label={label}><code>{JSON.stringify(value, null, 2)}</code></pre>;
}

function Commands({ job }: { job: JobRow }) {
  const hasToken = token.value !== null;
  const spec = { kind: job.kind, ...(job.name === null ? {} : { name: job.name }), ...(job.queue === "default" ? {} : { queue: job.queue }), payload: job.payload };
  return (
    <>
      <Command label="curl, to see it" text={curl({ method: "GET", url: url(pathOf(job.id)), hasToken })} />
      <Command label="relais, to see it" text={relais("job", job.id)} />
      <Command label="relais, to follow its output" text={relais("logs", "-f", job.id)} />
      {RETRIABLE.has(job.state) && <Command label="curl, to run it again" text={curl({ method: "POST", url: url(pathOf(job.id, ":retry")), hasToken, body: {} })} />}
      {RETRIABLE.has(job.state) && <Command label="relais, to run it again" text={relais("retry", job.id)} />}
      {!ENDED.has(job.state) && <Command label="curl, to cancel it" text={curl({ method: "POST", url: url(pathOf(job.id, ":cancel")), hasToken, body: { reason: "" } })} />}
      {!ENDED.has(job.state) && <Command label="relais, to cancel it" text={relais("cancel", job.id)} />}
      <Command label="curl, to submit one like it" text={curl({ method: "POST", url: url("v1/jobs"), hasToken, body: spec })} />
    </>
  );
}
