// How the cluster stands, in the words of the API, and what needs somebody's attention.

import { cluster, counts, dataError, nodes, queues, refresh } from "../live/data";
import { pastTurn, series } from "../live/past";
import { brief, count, many, span } from "../format";
import { hrefOf } from "../router";
import { Badge, Empty, Loading, Panel, type Tone, Trouble } from "../parts/bits";
import { Chart } from "../parts/chart";
import { attention } from "./attention";

const STATUS_TONE: Record<string, Tone> = { running: "ok", "running (limited)": "warn", "no dispatcher": "bad", offline: "bad" };

export function statusTone(status: string): Tone {
  return STATUS_TONE[status] ?? "warn";
}

export function Overview() {
  if (cluster.value === null) {
    return dataError.value === null ? <Loading what="the cluster" /> : <Trouble what={dataError.value} onAgain={refresh} />;
  }
  return (
    <>
      <Standing />
      <Attention />
      <div class="columns">
        <Throughput />
        <Waits />
      </div>
      <div class="columns">
        <Depths />
        <Succession />
      </div>
    </>
  );
}

function Standing() {
  const now = cluster.value;
  if (now === null) return null;
  const running = counts.value?.groups["running"];
  const slots = nodes.value?.filter((row) => row.status === "online").reduce((sum, row) => sum + row.slots, 0);
  return (
    <section class="standing" aria-label="How the cluster stands">
      <dl>
        <div class="stat wide-stat">
          <dt>Status</dt>
          <dd><Badge word={now.status} tone={statusTone(now.status)} />{now.reason && <small>{now.reason}</small>}</dd>
        </div>
        <div class="stat"><dt>Dispatcher</dt><dd id="dispatcher">{now.dispatcher ?? "none"}<small>epoch {now.epoch}{now.generation > 0 ? `, generation ${now.generation}` : ""}</small></dd></div>
        <div class="stat"><dt>Nodes online</dt><dd>{now.nodes.online} of {now.nodes.registered}<small>mode {now.mode}</small></dd></div>
        <div class="stat"><dt>High availability</dt><dd>{now.high_availability ? "yes" : "no"}</dd></div>
        <div class="stat"><dt>Running jobs</dt><dd>{count(running)}<small>{slots === undefined ? "" : `of ${many(slots, "slot")}`}</small></dd></div>
        <div class="stat full"><dt>It would survive</dt><dd class="prose">{now.survives}</dd></div>
      </dl>
    </section>
  );
}

function Attention() {
  const all = attention(cluster.value, nodes.value ?? [], queues.value ?? [], counts.value);
  return (
    <Panel title="What needs attention" id="attention">
      {all.length === 0 ? <p class="fine">Nothing. All nodes are online, nothing is held up.</p> : (
        <ul class="attention">
          {all.map((one) => (
            <li key={one.text}><Badge word={one.word} tone={one.tone} /><span>{one.text}</span>{one.href && <a href={one.href}>{one.link}</a>}</li>
          ))}
        </ul>
      )}
    </Panel>
  );
}

function perSecond(value: number): string {
  return value >= 100 ? count(Math.round(value)) : value.toFixed(value >= 10 ? 0 : 1);
}

function Throughput() {
  void pastTurn.value;
  const all = series();
  const latest = all.succeeded.slice(-5).filter((value) => value !== null);
  const now = latest.reduce((sum, value) => sum + value, 0) / Math.max(1, latest.length);
  const most = Math.max(0, ...all.succeeded.filter((value) => value !== null));
  const words = `${perSecond(now)} jobs a second now, ${perSecond(most)} at most of late`;
  return (
    <Panel title="Throughput" id="throughput" side={<p class="figure">{words}</p>}>
      <Chart
        label={`Jobs that ended, of late: ${words}`}
        at={all.at}
        lines={[
          { label: "succeeded/s", colour: "--chart-ok", values: all.succeeded },
          { label: "failed/s", colour: "--chart-bad", values: all.failed },
        ]}
        text={perSecond}
      />
      <p class="note">From events; what was before this page was opened is read off the newest 500 jobs.</p>
    </Panel>
  );
}

function Waits() {
  void pastTurn.value;
  const all = series();
  const last = all.p95.findLast((value) => value !== null);
  const half = all.p50.findLast((value) => value !== null);
  const known = last !== undefined && last !== null && half !== undefined && half !== null;
  const words = known ? `half within ${span(half)}, 95 % within ${span(last)}` : "no job has started of late";
  return (
    <Panel title="Wait before the start" id="waits" side={<p class="figure">{words}</p>}>
      <Chart
        label={`Time in line before the start, of late: ${words}`}
        at={all.at}
        lines={[
          { label: "50 %", colour: "--chart-calm", values: all.p50 },
          { label: "95 %", colour: "--chart-warn", values: all.p95 },
        ]}
        text={span}
        tick={brief}
      />
      <p class="note">From the time a job was put in line to the start of its attempt.</p>
    </Panel>
  );
}

function Depths() {
  const rows = queues.value;
  const deepest = Math.max(1, ...(rows ?? []).map((row) => row.queued + row.running));
  const shown = [...(rows ?? [])].sort((a, b) => b.queued + b.running - a.queued - a.running).slice(0, 8);
  return (
    <Panel title="Queues" id="depths" side={<a href={hrefOf("queues")}>All queues</a>}>
      {rows === null ? <Loading what="queues" /> : rows.length === 0 ? (
        <Empty title="No queue yet"><p>A queue is there as soon as a job names it.</p></Empty>
      ) : (
        <table class="plain">
          <thead><tr><th scope="col">Queue</th><th scope="col" class="num">In line</th><th scope="col" class="num">Running</th><th scope="col">Depth</th><th scope="col" class="num">Oldest</th></tr></thead>
          <tbody>
            {shown.map((row) => (
              <tr key={row.name}>
                <th scope="row"><a href={hrefOf("jobs", { queue: row.name })}>{row.name}</a>{row.paused && <Badge word="paused" tone="warn" />}</th>
                <td class="num">{count(row.queued)}</td>
                <td class="num">{count(row.running)}</td>
                <td><svg class="depth" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true"><rect class="meter-part" width={(row.running / deepest) * 100} height="8" /><rect class="meter-wait" x={(row.running / deepest) * 100} width={(row.queued / deepest) * 100} height="8" /></svg></td>
                <td class="num">{span(row.oldest_age_ms)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </Panel>
  );
}

function Succession() {
  const order = cluster.value?.succession ?? [];
  return (
    <Panel title="Who would follow" id="succession" side={<a href={hrefOf("failovers")}>Failovers</a>}>
      {order.length === 0 ? <Empty title="Not known here" /> : (
        <ol class="succession">
          {order.map((one) => <li key={one.name}><b>{one.name}</b> <span>{one.why}</span></li>)}
        </ol>
      )}
    </Panel>
  );
}
