// The frame around every view: where one can go, how the cluster stands, whether what is seen is live, and the
// dialogs that any view may open.

import { useEffect, useRef } from "preact/hooks";
import { useSignal } from "@preact/signals";
import { dismissToken, token, tokenAsked, useToken } from "./api/client";
import { leavingTo, places } from "./live/away";
import { cluster, refresh } from "./live/data";
import { connect, heardAt, here, link, linkWords, silentSince } from "./live/link";
import { GOES, helpShown } from "./keys";
import { Badge } from "./parts/bits";
import { Confirmation, Dialog, NoticeLine } from "./parts/dialogs";
import { hrefOf, type View, VIEWS, where } from "./router";
import { keysOn, nextTheme, switchKeys, theme } from "./theme";
import { Failovers } from "./views/failovers";
import { JobView } from "./views/job";
import { Jobs } from "./views/jobs";
import { Nodes } from "./views/nodes";
import { Overview, statusTone } from "./views/overview";
import { Queues } from "./views/queues";
import { Schedules } from "./views/schedules";
import { Submit } from "./views/submit";

const TITLES: Record<string, string> = {
  overview: "Overview", nodes: "Nodes", jobs: "Jobs", job: "Job", queues: "Queues", schedules: "Schedules",
  failovers: "Failovers", submit: "Submit a job", unknown: "Not found",
};

export function Shell() {
  const { view, id } = where.value;
  const title = TITLES[view] ?? "";
  const heading = useRef<HTMLHeadingElement>(null);
  const first = useRef(true);
  useEffect(() => {
    document.title = `${title}${id ? ` ${id.slice(0, 8)}` : ""} · ${cluster.value?.name ?? "Relais"}`;
    // Whoever goes to another view by keyboard or ear begins at its top, unless a key took the cursor to a field.
    if (!first.current && !document.activeElement?.matches("input")) heading.current?.focus({ preventScroll: true });
    first.current = false;
  }, [view, id, cluster.value?.name]);
  return (
    <>
      <a class="skip" href="#main">To the content</a>
      <Top />
      <Side />
      <main id="main" tabIndex={-1}>
        <Gone />
        <h1 ref={heading} tabIndex={-1}>{title}</h1>
        <Body view={view} id={id} />
      </main>
      <NoticeLine />
      <Confirmation />
      <TokenDialog />
      <Help />
    </>
  );
}

function Body({ view, id }: { view: string; id: string }) {
  switch (view) {
    case "overview":
      return <Overview />;
    case "nodes":
      return <Nodes />;
    case "jobs":
      return <Jobs />;
    case "job":
      return <JobView key={id} id={id} />;
    case "queues":
      return <Queues />;
    case "schedules":
      return <Schedules />;
    case "failovers":
      return <Failovers />;
    case "submit":
      return <Submit />;
    default:
      return <p>There is no such page. <a href={hrefOf("overview")}>To the overview</a></p>;
  }
}

function Top() {
  const now = cluster.value;
  return (
    <header class="top">
      <a class="brand" href={hrefOf("overview")}><svg viewBox="0 0 32 32" aria-hidden="true"><g fill="none" stroke="currentColor" stroke-width="3" stroke-linecap="round"><path d="M8 23 15.2 9 24 23" /></g><g fill="currentColor"><circle cx="15.2" cy="9" r="4" /><circle cx="8" cy="23" r="4" /><circle cx="24" cy="23" r="4" /></g></svg><span>{now?.name ?? "relais"}</span></a>
      {now && <Badge word={now.status} tone={statusTone(now.status)} />}
      {now && <span class="top-role">dispatcher <b id="top-dispatcher">{now.dispatcher ?? "none"}</b> <span class="muted">epoch {now.epoch}</span></span>}
      <span class="grow" />
      <Connection />
      <button type="button" class="quiet" onClick={nextTheme}>Colours: {theme.value === "system" ? "auto" : theme.value}</button>
      <button type="button" class="quiet" onClick={() => (tokenAsked.value = "The token is kept for this tab alone.")}>Token</button>
      <button type="button" class="quiet" onClick={() => (helpShown.value = true)}>Keys</button>
    </header>
  );
}

function Connection() {
  const time = useSignal(Date.now());
  useEffect(() => {
    const timer = setInterval(() => (time.value = Date.now()), 1_000);
    return () => clearInterval(timer);
  }, []);
  const state = link.value;
  const said = linkWords(state, heardAt.value, Math.max(time.value, heardAt.value));
  // Read aloud when it changes, and not every second.
  return (
    <span class={`link ${state}`} id="link" data-state={state} title={`served by ${here()}`}>
      <span class="dot" aria-hidden="true" />
      <span aria-hidden="true">{said}</span>
      <span class="offscreen" role="status">{state === "lost" ? "reconnecting" : state}</span>
      <span class="muted served"> {here()}</span>
    </span>
  );
}

function Side() {
  const now = where.value.view === "job" ? "jobs" : where.value.view;
  const label = (view: View) => (view === "submit" ? "Submit" : TITLES[view]);
  return (
    <nav class="side" aria-label="Views">
      <ul>{VIEWS.map((view) => <li key={view}><a href={hrefOf(view)} aria-current={now === view ? "page" : undefined}>{label(view)}</a></li>)}</ul>
    </nav>
  );
}

/** Said when the node that serves the page is gone: the other nodes, to go on there. */
function Gone() {
  if (leavingTo.value !== null) return <div class="trouble" role="alert"><p>{here()} is gone. Going on at {leavingTo.value} …</p></div>;
  if (silentSince.value === null || link.value !== "lost" || places.value.length === 0) return null;
  return (
    <div class="trouble" role="alert">
      <p>{here()} does not answer. What is shown is the last that it said. Go on at another node:</p>
      <ul class="places">{places.value.map((one) => <li key={one.name}><a class="button" href={one.href}>{one.name}</a></li>)}</ul>
    </div>
  );
}

function TokenDialog() {
  const asked = tokenAsked.value;
  const text = useSignal("");
  if (asked === null) return null;
  const use = (value: string | null) => {
    useToken(value);
    text.value = "";
    connect();
    void refresh();
  };
  const submit = (event: Event) => {
    event.preventDefault();
    if (text.value.trim() !== "") use(text.value.trim());
  };
  return (
    <Dialog title="API token" onClose={dismissToken}>
      <p>{asked}</p>
      <form onSubmit={submit}>
        <label>Token<input type="password" autoComplete="off" value={text.value} onInput={(event) => (text.value = event.currentTarget.value)} required /></label>
        <p class="note"><code>relais token create --role admin</code> makes one, on a node's own machine; <code>read</code> and <code>submit</code> are lesser roles.</p>
        <div class="buttons">
          {token.value !== null && <button type="button" onClick={() => use(null)}>Forget it</button>}
          <button type="button" onClick={dismissToken}>Close</button>
          <button class="primary">Use it</button>
        </div>
      </form>
    </Dialog>
  );
}

function Help() {
  if (!helpShown.value) return null;
  const close = () => (helpShown.value = false);
  const key = (keys: string[], what: string) => <div key={what}><dt>{keys.map((one) => <kbd key={one}>{one}</kbd>)}</dt><dd>{what}</dd></div>;
  return (
    <Dialog title="Keys" onClose={close}>
      <dl class="keys">
        {key(["/"], "Search jobs")}
        {GOES.map(([letter, , what]) => key(["g", letter], what))}
        {key(["j"], "Next job of the list")}
        {key(["k"], "Job before")}
        {key(["?"], "This help")}
      </dl>
      <label class="check"><input type="checkbox" checked={keysOn.value} onChange={(event) => switchKeys(event.currentTarget.checked)} /> Single keys do this</label>
      <div class="buttons"><button type="button" class="primary" onClick={close}>Close</button></div>
    </Dialog>
  );
}
