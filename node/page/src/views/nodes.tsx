// The node table, live. A node that is gone keeps its row, grey, with the last figures that were seen and their age.

import { ask } from "../api/client";
import type { NodeRow } from "../api/types";
import { bytes, count, rate, span } from "../format";
import { cluster, dataError, isHeard, lastFigures, nodes, refresh } from "../live/data";
import { load } from "../live/past";
import { Ago, Empty, Loading, Meter, Sparkline, StateBadge, Trouble, useNow, Wide } from "../parts/bits";
import { confirmed } from "../parts/dialogs";
import { hrefOf } from "../router";

export function Nodes() {
  const rows = nodes.value;
  if (rows === null) return dataError.value === null ? <Loading what="nodes" /> : <Trouble what={dataError.value} onAgain={refresh} />;
  if (rows.length === 0) return <Empty title="No node has joined yet" />;
  const newest = Math.max(0, ...rows.map((row) => row.journal_index ?? 0));
  return (
    <>
      <div class="bar">
        <p class="figure">{rows.filter((row) => row.status === "online").length} of {rows.length} online; the dispatcher is {cluster.value?.dispatcher ?? "none"}, epoch {cluster.value?.epoch ?? "–"}</p>
        <button type="button" onClick={() => handOver(null)}>Hand the role over …</button>
      </div>
      <Wide label="Nodes">
        <table class="nodes">
          <thead>
            <tr>
              <th scope="col">Name</th><th scope="col">Role</th><th scope="col">Status</th><th scope="col">Slots</th>
              <th scope="col">CPU</th><th scope="col" class="num">Memory free</th><th scope="col" class="num">Network</th>
              <th scope="col" class="num">Journal lag</th><th scope="col" class="num">Last heard</th>
              <th scope="col">Version</th><th scope="col"><span class="offscreen">Actions</span></th>
            </tr>
          </thead>
          <tbody>{rows.map((row) => <Row key={row.id} row={row} newest={newest} />)}</tbody>
        </table>
      </Wide>
      <p class="note">Journal lag counts entries behind the node that has most. CPU over the last two minutes of this page.</p>
    </>
  );
}

function Row({ row, newest }: { row: NodeRow; newest: number }) {
  const time = useNow();
  const heard = isHeard(row);
  const last = lastFigures.value.get(row.name);
  const shown = heard ? row : (last?.row ?? row);
  const dated = !heard && last !== undefined ? new Date(last.at).toISOString() : null;
  const samples = load.get(row.name) ?? [];
  const cpu = shown.cpu_percent === null ? "–" : `${Math.round(shown.cpu_percent)} %`;
  const lag = shown.journal_index === null ? null : newest - shown.journal_index;
  const heardMs = heard ? row.last_heard_ms : last === undefined ? null : time - last.at;
  return (
    <tr class={heard ? "" : "gone"} data-node={row.name}>
      <th scope="row">
        <a href={hrefOf("jobs", { node: row.name })}>{row.name}</a>
        {Object.keys(row.labels).length > 0 && <small>{Object.entries(row.labels).map(([key, value]) => `${key}=${value}`).join(" ")}</small>}
      </th>
      <td>{row.role === "dispatcher+worker" ? <b>dispatcher<wbr />+worker</b> : row.role}{row.voter && row.role !== "witness" && <small>votes</small>}</td>
      <td><StateBadge state={row.status} />{row.reason && <small>{row.reason}</small>}{dated && <small>figures <Ago at={dated} /></small>}</td>
      <td class="slots"><span>{shown.running} of {shown.slots}</span><Meter part={shown.running} whole={shown.slots} label={`${shown.running} of ${shown.slots} slots in use`} /></td>
      <td class="load"><span>{cpu}</span><Sparkline samples={samples} most={100} label={`CPU of ${row.name}, now ${cpu}`} /></td>
      <td class="num">{bytes(shown.memory_available_bytes)}</td>
      <td class="num"><span class="block">in {rate(shown.net_in_bytes_per_second)}</span>out {rate(shown.net_out_bytes_per_second)}</td>
      <td class="num">{lag === null ? "–" : lag <= 0 ? "none" : count(lag)}</td>
      <td class="num">{heardMs === null ? "–" : heardMs < 1 ? "now" : `${span(heardMs)} ago`}</td>
      <td>{row.version}</td>
      <td class="acts"><Acts row={row} /></td>
    </tr>
  );
}

function Acts({ row }: { row: NodeRow }) {
  if (row.status === "left" || row.role === "witness") return null;
  return (
    <>
      {row.draining ? (
        <button type="button" onClick={() => drain(row, false)} aria-label={`Undrain ${row.name}`}>Undrain</button>
      ) : (
        <button type="button" onClick={() => drain(row, true)} aria-label={`Drain ${row.name}`}>Drain</button>
      )}
      {row.status === "online" && row.role === "worker" && row.voter && (
        <button type="button" onClick={() => handOver(row.name)} aria-label={`Hand over to ${row.name}`}>Hand over</button>
      )}
    </>
  );
}

function drain(row: NodeRow, on: boolean): void {
  confirmed({
    title: on ? `Drain ${row.name}?` : `Give ${row.name} jobs again?`,
    body: on ? (
      <p>It takes no new jobs. The {row.running} that run there come to their end. {row.role === "dispatcher+worker" && "It goes on dispatching."}</p>
    ) : <p>It takes new jobs from now on.</p>,
    verb: on ? "Drain it" : "Undrain it",
    act: async () => {
      await ask(`v1/nodes/${encodeURIComponent(row.name)}:${on ? "drain" : "undrain"}`, { method: "POST" });
      await refresh();
      return on ? `${row.name} takes no new jobs.` : `${row.name} takes jobs again.`;
    },
  });
}

function handOver(to: string | null): void {
  const now = cluster.peek();
  const best = now?.succession.find((one) => one.name !== now.dispatcher);
  confirmed({
    title: to === null ? "Hand the role of the dispatcher over?" : `Make ${to} the dispatcher?`,
    body: (
      <p>{now?.dispatcher ?? "The dispatcher"} hands over to {to ?? `the best that is ready${best ? ` (${best.name} as it looks now)` : ""}`}. Running jobs go on; submits wait for some milliseconds.</p>
    ),
    verb: "Hand over",
    act: async () => {
      const said = await ask<{ dispatcher: string; epoch: number }>("v1/cluster:handover", { method: "POST", body: to === null ? {} : { to } });
      await refresh();
      return `${said.dispatcher} is the dispatcher of epoch ${said.epoch}.`;
    },
  });
}

