// The queues: how deep, how old, what holds them, and what is set of them.

import { useSignal } from "@preact/signals";
import { ask, words } from "../api/client";
import type { Queue } from "../api/types";
import { count, isDuration, many, span } from "../format";
import { dataError, queues, refresh } from "../live/data";
import { Ago, Badge, Empty, Loading, Trouble, Wide } from "../parts/bits";
import { confirmed, Dialog, done, say } from "../parts/dialogs";
import { hrefOf } from "../router";

function pathOf(queue: Queue, verb = ""): string {
  return `v1/queues/${encodeURIComponent(queue.name)}${verb}`;
}

export function Queues() {
  const edited = useSignal<Queue | null>(null);
  const rows = queues.value;
  if (rows === null) return dataError.value === null ? <Loading what="queues" /> : <Trouble what={dataError.value} onAgain={refresh} />;
  if (rows.length === 0) return <Empty title="No queue yet"><p>A queue is there as soon as a job names it. <a href={hrefOf("submit")}>Submit one</a></p></Empty>;
  return (
    <>
      <Wide label="Queues">
        <table>
          <thead>
            <tr>
              <th scope="col">Queue</th><th scope="col" class="num">In line</th><th scope="col" class="num">Running</th>
              <th scope="col" class="num">Scheduled</th><th scope="col" class="num">Retrying</th><th scope="col" class="num">Oldest</th>
              <th scope="col">Limits</th><th scope="col" class="num">Weight</th><th scope="col">Held by</th><th scope="col"><span class="offscreen">Actions</span></th>
            </tr>
          </thead>
          <tbody>{rows.map((row) => <Row key={row.name} row={row} onEdit={() => (edited.value = row)} />)}</tbody>
        </table>
      </Wide>
      {edited.value && <Edit queue={edited.value} onClose={() => (edited.value = null)} />}
    </>
  );
}

function Row({ row, onEdit }: { row: Queue; onEdit: () => void }) {
  const limits = [
    row.concurrency !== null && `${count(row.concurrency)} at once`,
    row.rate !== null && `${count(row.rate.count)} in ${row.rate.per} (${count(row.rate.started)} now)`,
    row.retention.age !== null && `kept ${row.retention.age}`,
    row.retention.count !== null && `${count(row.retention.count)} kept`,
  ].filter((one) => one !== false);
  const inState = (state: string, number: number) => (number === 0 ? "0" : <a href={hrefOf("jobs", { state, queue: row.name })}>{count(number)}</a>);
  return (
    <tr>
      <th scope="row"><a href={hrefOf("jobs", { queue: row.name })}>{row.name}</a></th>
      <td class="num">{inState("queued", row.queued)}</td>
      <td class="num">{inState("running", row.running)}</td>
      <td class="num">{inState("scheduled", row.scheduled)}</td>
      <td class="num">{inState("retrying", row.retrying)}</td>
      <td class="num">{span(row.oldest_age_ms)}</td>
      <td>{limits.length === 0 ? <span class="muted">none</span> : limits.join(", ")}</td>
      <td class="num">{row.weight}</td>
      <td>{row.held_by === null ? <span class="muted">nothing</span> : <Badge word={row.held_by} tone="warn" />}{row.opens_at && <small>opens <Ago at={row.opens_at} /></small>}</td>
      <td class="acts">
        <button type="button" onClick={() => void pause(row)} aria-label={`${row.paused ? "Resume" : "Pause"} ${row.name}`}>{row.paused ? "Resume" : "Pause"}</button>
        <button type="button" onClick={onEdit} aria-label={`Set limits of ${row.name}`}>Set …</button>
        <button type="button" onClick={() => purge(row)} aria-label={`Purge ${row.name}`}>Purge …</button>
      </td>
    </tr>
  );
}

async function pause(row: Queue): Promise<void> {
  await done(async () => {
    await ask(pathOf(row, row.paused ? ":resume" : ":pause"), { method: "POST" });
    await refresh();
    return row.paused ? `${row.name} goes on.` : `Nothing of ${row.name} is started until it is resumed.`;
  });
}

function purge(row: Queue): void {
  const waiting = row.queued + row.scheduled + row.retrying;
  confirmed({
    title: `Purge queue ${row.name}?`,
    body: <p>All that waits in it is cancelled: {many(waiting, "job")} as it looks now. What runs goes on.</p>,
    verb: `Cancel ${many(waiting, "waiting job")}`,
    danger: true,
    act: async () => {
      const said = await ask<{ cancelled: number }>(pathOf(row, ":purge"), { method: "POST" });
      await refresh();
      return `${many(said.cancelled, "job")} of ${row.name} cancelled.`;
    },
  });
}

const WHOLE = /^[1-9]\d*$/;

function Edit({ queue, onClose }: { queue: Queue; onClose: () => void }) {
  const form = useSignal({
    concurrency: queue.concurrency?.toString() ?? "",
    rateCount: queue.rate?.count.toString() ?? "",
    ratePer: queue.rate?.per ?? "",
    weight: String(queue.weight),
    age: queue.retention.age ?? "",
    keep: queue.retention.count?.toString() ?? "",
  });
  const error = useSignal<string | null>(null);
  const now = form.value;
  const wrong: Partial<Record<keyof typeof now, string>> = {};
  for (const name of ["concurrency", "rateCount"] as const) if (now[name] !== "" && !WHOLE.test(now[name])) wrong[name] = "a whole number from 1, or nothing";
  if (now.keep !== "" && !/^\d+$/.test(now.keep)) wrong.keep = "a whole number, or nothing";
  if (!WHOLE.test(now.weight)) wrong.weight = "a whole number from 1";
  for (const name of ["ratePer", "age"] as const) if (now[name] !== "" && !isDuration(now[name])) wrong[name] = "a duration like 90s or 1h30m, or nothing";
  if ((now.rateCount === "") !== (now.ratePer === "")) wrong.ratePer ??= "both of the rate, or none";
  const field = (name: keyof typeof now, label: string, hint: string) => (
    <div>
      <label>{label}<input value={now[name]} placeholder={hint} aria-invalid={wrong[name] !== undefined} aria-describedby={`${name}-wrong`} onInput={(event) => (form.value = { ...now, [name]: event.currentTarget.value.trim() })} /></label>
      <p class="field-error" id={`${name}-wrong`}>{wrong[name]}</p>
    </div>
  );
  const number = (text: string) => (text === "" ? null : Number(text));
  const save = async (event: Event) => {
    event.preventDefault();
    if (Object.keys(wrong).length > 0) return;
    const rate = now.rateCount === "" ? null : { count: Number(now.rateCount), per: now.ratePer };
    const retention = { age: now.age || null, count: number(now.keep) };
    const body = { concurrency: number(now.concurrency), rate, weight: Number(now.weight), retention };
    try {
      await ask(pathOf(queue), { method: "PUT", body });
      await refresh();
      onClose();
      say(`${queue.name} is set.`);
    } catch (thrown) {
      error.value = words(thrown);
    }
  };
  return (
    <Dialog title={`Queue ${queue.name}`} onClose={onClose}>
      <form onSubmit={save}>
        <div class="fields">
          {field("concurrency", "Jobs at once", "no limit")}
          {field("weight", "Weight", "1")}
          {field("rateCount", "Starts", "no limit")}
          {field("ratePer", "in any period of", "1s")}
          {field("age", "Ended jobs are kept for", "as the cluster says")}
          {field("keep", "at most so many", "as the cluster says")}
        </div>
        {error.value && <p class="field-error" role="alert">{error.value}</p>}
        <div class="buttons"><button type="button" onClick={onClose}>Keep as it is</button><button class="primary">Set</button></div>
      </form>
    </Dialog>
  );
}
