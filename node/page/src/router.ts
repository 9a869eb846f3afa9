// Which view the address names. All addresses are below the place where the page is rooted, so that it works under a
// path prefix.

import { computed, signal } from "@preact/signals";
import { ROOT } from "./api/client";

export const VIEWS = ["overview", "nodes", "jobs", "queues", "schedules", "failovers", "submit"] as const;
export type View = (typeof VIEWS)[number];

export interface Where {
  view: View | "job" | "unknown";
  /** The id of the job, where one is shown. */
  id: string;
  query: URLSearchParams;
}

const address = signal(location.href);

function read(href: string): Where {
  const url = new URL(href);
  const path = url.pathname.startsWith(ROOT.pathname) ? url.pathname.slice(ROOT.pathname.length) : url.pathname;
  const [first = "", second = ""] = path.split("/").map(decodeURIComponent);
  const query = url.searchParams;
  if (first === "") return { view: "overview", id: "", query };
  if (first === "jobs" && second !== "") return { view: "job", id: second, query };
  const known = VIEWS.find((view) => view === first && view !== "overview");
  return { view: known ?? "unknown", id: "", query };
}

export const where = computed<Where>(() => read(address.value));

export function hrefOf(view: View, query?: Record<string, string>): string {
  const url = new URL(view === "overview" ? "" : view, ROOT);
  for (const [name, value] of Object.entries(query ?? {})) if (value !== "") url.searchParams.append(name, value);
  return url.pathname + url.search;
}

export function hrefOfJob(id: string): string {
  return new URL(`jobs/${encodeURIComponent(id)}`, ROOT).pathname;
}

export function go(href: string): void {
  history.pushState(null, "", href);
  address.value = location.href;
  scrollTo(0, 0);
}

/** Changes the address of the view that is shown, without a step to go back to. */
export function swap(query: URLSearchParams): void {
  const url = new URL(location.href);
  url.search = query.toString();
  history.replaceState(null, "", url);
  address.value = location.href;
}

/** Follows links within the page without loading it anew. */
export function startRouter(): void {
  addEventListener("popstate", () => (address.value = location.href));
  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    if (link === null || link.target !== "" || link.hasAttribute("download") || link.origin !== location.origin) return;
    const url = new URL(link.href);
    if (url.hash !== "" && url.pathname === location.pathname) return;
    const path = url.pathname.slice(ROOT.pathname.length);
    const isPage = url.pathname.startsWith(ROOT.pathname) && !/^(v1|metrics|livez|readyz|assets)(\/|$)/.test(path);
    if (!isPage) return;
    event.preventDefault();
    go(url.pathname + url.search);
  });
}
