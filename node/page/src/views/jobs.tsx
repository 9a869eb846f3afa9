// All jobs: tabs by state, a filter that stands in the address, a list of any length, and what is done to all that
// pass the filter.

import { computed } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { useSignal } from "@preact/signals";
import { ask, now } from "../api/client";
import { RETRIABLE, STATES, type JobState, type Tally } from "../api/types";
import { count, durationMs, many, shortId, span } from "../format";
import { counts, nodes, queues, refresh } from "../live/data";
import { listen } from "../live/link";
import { AHEAD, JobRows, type Row } from "../live/rows";
import { Ago, Empty, Loading, StateBadge, Took, Trouble } from "../parts/bits";
import { confirmed, done } from "../parts/dialogs";
import { VirtualRows } from "../parts/virtual";
import { hrefOf, hrefOfJob, swap, where } from "../router";

const FIELDS = ["state", "queue", "name", "node", "label", "group", "since", "until"] as const;
type Field = (typeof FIELDS)[number];

const SINCE: readonly [string, string][] = [["", "any time"], ["15m", "15 minutes"], ["1h", "1 hour"], ["24h", "24 hours"], ["7d", "7 days"]];
const NARROW = matchMedia("(max-width: 760px)");
const ROW_PX = 44;
const NARROW_ROW_PX = 76;

const query = computed(() => (where.value.view === "jobs" ? where.value.query : new URLSearchParams()));

/** The filter as the API takes it: a length of time is counted back from now. */
function asked(of: URLSearchParams): URLSearchParams {
  const made = new URLSearchParams();
  for (const field of FIELDS) {
    for (const value of of.getAll(field)) {
      if (value === "") continue;
      const back = field === "since" || field === "until" ? durationMs(value) : null;
      made.append(field, back === null ? value : new Date(now() - back).toISOString());
    }
  }
  return made;
}

function set(field: Field, value: string): void {
  const next = new URLSearchParams(query.peek());
  if (value === "") next.delete(field);
  else next.set(field, value);
  swap(next);
}

function filteredBeyondState(of: URLSearchParams): boolean {
  return FIELDS.some((field) => field !== "state" && (of.get(field) ?? "") !== "");
}

export function Jobs() {
  const text = query.value.toString();
  const list = useMemo(() => new JobRows(asked(query.peek()).toString()), [text]);
  useEffect(() => {
    void list.begin();
    const deaf = listen((happened) => list.happened(happened));
    return () => {
      deaf();
      list.end();
    };
  }, [list]);
  return (
    <>
      <Tabs />
      <Filter />
      <Bulk />
      <List list={list} />
    </>
  );
}

function Tabs() {
  const state = query.value.get("state") ?? "";
  const groups = counts.value?.groups;
  // Counts are of all jobs: with a further filter they would say something else than the list.
  const shown = filteredBeyondState(query.value) ? undefined : groups;
  const tab = (value: string, label: string, number: number | undefined) => {
    const next = new URLSearchParams(query.value);
    if (value === "") next.delete("state");
    else next.set("state", value);
    return (
      <li key={value}>
        <a href={hrefOf("jobs") + (next.size > 0 ? `?${next}` : "")} aria-current={state === value ? "page" : undefined}>
          {label}{number !== undefined && <span class="count">{count(number)}</span>}
        </a>
      </li>
    );
  };
  return (
    <nav class="tabs" aria-label="Jobs by state">
      <ul>
        {tab("", "All", shown === undefined ? undefined : counts.value?.total)}
        {STATES.map((one) => tab(one, one, shown?.[one]))}
      </ul>
    </nav>
  );
}

function Filter() {
  const value = (field: Field) => query.value.get(field) ?? "";
  const typed = (field: Field) => (event: Event) => set(field, (event.currentTarget as HTMLInputElement).value.trim());
  const since = value("since");
  const choices = SINCE.some(([one]) => one === since) ? SINCE : [...SINCE, [since, since] as const];
  const clean = FIELDS.every((field) => field === "state" || value(field) === "");
  return (
    <form class="filter" role="search" aria-label="Filter jobs" onSubmit={(event) => event.preventDefault()}>
      <label>Name holds<input id="filter-name" type="search" value={value("name")} onChange={typed("name")} placeholder="press / to search" /></label>
      <label>Queue
        <select value={value("queue")} onChange={typed("queue")}>
          <option value="">all</option>
          {names(queues.value?.map((row) => row.name), value("queue")).map((one) => <option key={one} value={one}>{one}</option>)}
        </select>
      </label>
      <label>Node
        <select value={value("node")} onChange={typed("node")}>
          <option value="">all</option>
          {names(nodes.value?.map((row) => row.name), value("node")).map((one) => <option key={one} value={one}>{one}</option>)}
        </select>
      </label>
      <label>Label<input value={value("label")} onChange={typed("label")} placeholder="team:data" pattern="[^:]+:.*" title="KEY:VALUE" /></label>
      <label>Created within
        <select value={since} onChange={typed("since")}>{choices.map(([one, said]) => <option key={one} value={one}>{said}</option>)}</select>
      </label>
      {value("group") !== "" && <label>Group<input value={value("group")} onChange={typed("group")} /></label>}
      {!clean && <a class="button" href={hrefOf("jobs", { state: value("state") })}>Clear</a>}
    </form>
  );
}

function names(known: string[] | undefined, chosen: string): string[] {
  const all = [...(known ?? [])];
  if (chosen !== "" && !all.includes(chosen)) all.push(chosen);
  return all.sort();
}

function Bulk() {
  const state = query.value.get("state") ?? "";
  const mayRetry = state === "" || RETRIABLE.has(state as JobState);
  const mayCancel = state === "" || !(RETRIABLE.has(state as JobState) || state === "succeeded");
  return (
    <div class="bulk">
      <span class="muted">All that pass the filter:</span>
      <button type="button" disabled={!mayRetry} onClick={() => void bulk("retry")}>Retry all …</button>
      <button type="button" disabled={!mayCancel} onClick={() => void bulk("cancel")}>Cancel all …</button>
    </div>
  );
}

/** Counts first, names the count, and does it when that is confirmed. */
async function bulk(verb: "retry" | "cancel"): Promise<void> {
  const filter = asked(query.peek());
  if (filter.size === 0) filter.set("all", "true");
  const path = (dry: boolean) => `v1/jobs:${verb}?${new URLSearchParams([...filter, ["dry_run", String(dry)]])}`;
  await done(async () => {
    const { matched } = await ask<Tally>(path(true), { method: "POST" });
    if (matched === 0) return `No job to ${verb} passes this filter.`;
    const jobs = many(matched, "job");
    const said = [...filter].filter(([name]) => name !== "all").map(([name, value]) => `${name} ${value}`).join(", ") || "no filter: all jobs";
    confirmed({
      title: `${verb === "retry" ? "Retry" : "Cancel"} ${jobs}?`,
      body: <p>{verb === "retry" ? `${jobs} will be put in line again.` : `${jobs} will be cancelled; those that run are told to stop.`} <span class="muted">({said})</span></p>,
      verb: `${verb === "retry" ? "Retry" : "Cancel"} ${jobs}`,
      danger: verb === "cancel",
      act: async () => {
        const tally = await ask<Tally>(path(false), { method: "POST" });
        await refresh();
        const rest = tally.refused > 0 ? ` ${count(tally.refused)} had moved on meanwhile.` : "";
        return `${many(tally.changed, "job")} ${verb === "retry" ? "put in line again" : "cancelled or told to stop"}.${rest}`;
      },
    });
    return null;
  });
}

function List({ list }: { list: JobRows }) {
  const narrow = useSignal(NARROW.matches);
  useEffect(() => {
    const change = () => (narrow.value = NARROW.matches);
    NARROW.addEventListener("change", change);
    return () => NARROW.removeEventListener("change", change);
  }, []);
  void list.turn.value;
  const state = list.state.value;
  if (state === "failed" && list.rows.length === 0) return <Trouble what={list.error.value} onAgain={() => void list.begin()} />;
  if (state === "first") return <Loading what="jobs" />;
  if (list.rows.length === 0) {
    return (
      <Empty title={query.value.size > 0 ? "No job passes this filter" : "No job yet"}>
        <p>{query.value.size > 0 ? <a href={hrefOf("jobs")}>Show all jobs</a> : <a href={hrefOf("submit")}>Submit one</a>}</p>
      </Empty>
    );
  }
  const shown = (first: number, last: number) => {
    list.atTop = first <= 1;
    if (list.atTop && list.news.peek()) void list.begin();
    if (last > list.rows.length - AHEAD) void list.more();
  };
  return (
    <>
      <p class="offscreen" role="status">{list.news.value ? "There are newer jobs." : ""}</p>
      {list.news.value && <button type="button" class="news primary" onClick={() => scrollTo({ top: 0 })}>Newer jobs: to the top</button>}
      <div class="joblist" role="table" aria-label="Jobs, newest first" aria-rowcount={list.complete.value ? list.rows.length + 1 : -1}>
        <div role="rowgroup" class="joblist-head">
          <div role="row" aria-rowindex={1}>
            {["Job", "State", "Queue", "Node", "Created", "Took"].map((name) => <span role="columnheader" key={name}>{name}</span>)}
          </div>
        </div>
        <VirtualRows
          count={list.rows.length}
          height={narrow.value ? NARROW_ROW_PX : ROW_PX}
          onShown={shown}
          row={(place) => <Cells row={list.rows[place]} />}
        />
      </div>
      <Foot list={list} />
    </>
  );
}

function Cells({ row }: { row: Row | undefined }) {
  if (row === undefined) return null;
  return (
    <>
      <span role="cell" class="job-name"><a data-main href={hrefOfJob(row.id)}>{row.name}</a><small title={row.id}>{shortId(row.id)}</small></span>
      <span role="cell"><StateBadge state={row.state} />{row.attempt > 1 && <small>attempt {row.attempt}</small>}</span>
      <span role="cell" class="clip">{row.queue}</span>
      <span role="cell" class="clip">{row.node ?? "–"}</span>
      <span role="cell"><Ago at={row.created} tick={5_000} /></span>
      <span role="cell">{row.finished !== null && row.started !== null ? span(Date.parse(row.finished) - Date.parse(row.started)) : <Took from={row.state === "running" ? row.started : null} to={null} />}</span>
    </>
  );
}

function Foot({ list }: { list: JobRows }) {
  const shown = `${count(list.rows.length)} shown`;
  if (list.state.value === "failed") return <Trouble what={list.error.value} onAgain={() => void list.more()} />;
  return <p class="foot muted" role="status">{list.complete.value ? `${shown}, that is all` : list.state.value === "more" ? `${shown}, loading more …` : `${shown}; scroll for more`}</p>;
}
