// Where to go when the node that serves the page is gone: the same address at another node, by navigating there.
// Whether another node can be reached is not known (this page sends no request to another origin), so it goes by
// itself only where the addresses are evidently direct: the page was loaded from the very address that its node
// tells, and the other one is on loopback just if this one is. Else a click decides.

import { computed, signal } from "@preact/signals";
import { ROOT, servedBy } from "../api/client";
import type { NodeRow } from "../api/types";
import { lastFigures, nodes } from "./data";
import { link, silentSince } from "./link";

/** So long nobody answers before it goes elsewhere. */
export const PATIENCE_MS = 2_500;

const HOPS_KEY = "relais.hops";
/** Going from dead node to dead node ends. */
const HOPS_MAX = 3;
const HOPS_WITHIN_MS = 30_000;

export interface Place {
  name: string;
  href: string;
  /** Whether to go there unasked. */
  direct: boolean;
}

/** Set while the page is leaving. */
export const leavingTo = signal<string | null>(null);

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "[::1]" || host.startsWith("127.");
}

/** The addresses of the other nodes that were last known to serve, the best first. */
export function placesElsewhere(rows: NodeRow[], own: string | null, at: Location | URL, root: URL): Place[] {
  const ownRow = rows.find((row) => row.name === own);
  const isDirect = ownRow !== undefined && origin(ownRow.http) === at.origin && root.pathname === "/";
  const path = at.pathname.slice(root.pathname.length);
  const serving = rows.filter((row) => row.name !== own && row.http !== "" && row.status !== "offline" && row.status !== "left");
  const order = (row: NodeRow) => (row.status === "online" ? 0 : 1) * 2 + (row.voter ? 0 : 1);
  return serving
    .filter((row) => origin(row.http) !== null)
    .sort((a, b) => order(a) - order(b) || (a.last_heard_ms ?? 0) - (b.last_heard_ms ?? 0))
    .map((row) => {
      const there = new URL(path + at.search + at.hash, `${row.http.replace(/\/$/, "")}/`);
      return { name: row.name, href: there.href, direct: isDirect && isLoopback(there.hostname) === isLoopback(at.hostname) };
    });
}

function origin(text: string): string | null {
  try {
    const url = new URL(text);
    return url.protocol === "http:" || url.protocol === "https:" ? url.origin : null;
  } catch {
    return null;
  }
}

export const places = computed<Place[]>(() => placesElsewhere(nodes.value ?? [], servedBy.value, location, ROOT));

/** Whether the page was so moved often lately that it had better stay. */
function tooOften(now: number): boolean {
  const hops = (sessionStorage.getItem(HOPS_KEY) ?? "").split(",").map(Number);
  const late = hops.filter((at) => now - at < HOPS_WITHIN_MS);
  if (late.length >= HOPS_MAX) return true;
  sessionStorage.setItem(HOPS_KEY, [...late, now].join(","));
  return false;
}

/** Looks every moment whether it is time to go. */
export function startAway(): void {
  setInterval(() => {
    const since = silentSince.peek();
    if (since === null || link.peek() !== "lost" || leavingTo.peek() !== null || document.hidden) return;
    if (Date.now() - since < PATIENCE_MS || lastFigures.peek().size === 0) return;
    const place = places.peek().find((one) => one.direct);
    if (place === undefined || tooOften(Date.now())) return;
    leavingTo.value = place.name;
    location.replace(place.href);
  }, 250);
}
