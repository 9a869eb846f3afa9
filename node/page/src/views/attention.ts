// What somebody should look at, the worst first. Pure: it reads what the API says and adds no judgement of its own but
// the order.

import type { Cluster, Counts, NodeRow, Queue } from "../api/types";
import { count, many, span } from "../format";
import type { Tone } from "../parts/bits";
import { hrefOf } from "../router";

export interface Item {
  word: string;
  tone: Tone;
  text: string;
  href?: string;
  link?: string;
}

/** A job that waits longer than this, though nothing holds its queue, is told of. */
const LONG_WAIT_MS = 5 * 60_000;
/** Memory below which a node is told of. */
const MEMORY_LOW = 256 << 20;

export function attention(cluster: Cluster | null, nodes: NodeRow[], queues: Queue[], counts: Counts | null): Item[] {
  const items: Item[] = [];
  if (cluster !== null && cluster.status !== "running") {
    const tone = cluster.status === "running (limited)" ? "warn" : "bad";
    items.push({ word: cluster.status, tone, text: cluster.reason || "the cluster does not run as it should" });
  } else if (cluster !== null && !cluster.high_availability && cluster.nodes.registered > 1) {
    items.push({ word: "no spare", tone: "warn", text: `${cluster.survives}` });
  }
  for (const row of nodes) if (row.status !== "online" && row.status !== "left") items.push(ofNode(row));
  for (const row of nodes) {
    if (row.status !== "online" || row.memory_available_bytes === null || row.memory_available_bytes > MEMORY_LOW) continue;
    items.push({ word: "low memory", tone: "warn", text: `${row.name} has ${Math.round(row.memory_available_bytes / (1 << 20))} MiB of memory left`, href: hrefOf("nodes"), link: "Nodes" });
  }
  for (const row of queues) {
    const item = ofQueue(row);
    if (item !== null) items.push(item);
  }
  const failed = counts?.groups["failed"] ?? 0;
  if (failed > 0) items.push({ word: "failed", tone: "bad", text: `${many(failed, "job")} failed`, href: hrefOf("jobs", { state: "failed" }), link: "Show them" });
  const rank: Record<Tone, number> = { bad: 0, warn: 1, busy: 2, calm: 3, ok: 4 };
  return items.sort((a, b) => rank[a.tone] - rank[b.tone]);
}

function ofNode(row: NodeRow): Item {
  const tone: Tone = row.status === "offline" ? "bad" : row.status === "joining" ? "busy" : "warn";
  return { word: row.status, tone, text: `${row.name}${row.reason ? `: ${row.reason}` : ""}`, href: hrefOf("nodes"), link: "Nodes" };
}

function ofQueue(row: Queue): Item | null {
  const link = { href: hrefOf("queues"), link: "Queues" };
  if (row.paused && row.queued > 0) {
    return { word: "paused", tone: "warn", text: `queue ${row.name} is paused with ${count(row.queued)} in line`, ...link };
  }
  if (row.queued > 0 && (row.oldest_age_ms ?? 0) > LONG_WAIT_MS) {
    const held = row.held_by === null ? "" : `, held by its ${row.held_by} limit`;
    return { word: "waiting", tone: "warn", text: `the oldest job of queue ${row.name} has waited ${span(row.oldest_age_ms)}${held}`, ...link };
  }
  return null;
}
