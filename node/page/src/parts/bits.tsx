// Small things that every view is made of.

import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { useSignal } from "@preact/signals";
import { now } from "../api/client";
import type { JobState, NodeStatus } from "../api/types";
import { moment, relative, span } from "../format";

export type Tone = "ok" | "warn" | "bad" | "busy" | "calm";

const TONES: Record<string, Tone> = {
  succeeded: "ok", online: "ok", running: "busy", dispatched: "busy", queued: "calm", scheduled: "calm", blocked: "calm",
  retrying: "warn", failed: "bad", expired: "bad", cancelled: "calm", lost: "bad", timed_out: "bad",
  joining: "busy", suspect: "warn", limited: "warn", draining: "warn", offline: "bad", left: "calm",
};

export function toneOf(word: string): Tone {
  return TONES[word] ?? "calm";
}

/** A word with a dot before it: the word says it all, the colour helps. */
export function Badge({ word, tone }: { word: string; tone?: Tone }) {
  return <span class={`badge ${tone ?? toneOf(word)}`}>{word.replace("_", " ")}</span>;
}

export function StateBadge({ state }: { state: JobState | NodeStatus }) {
  return <Badge word={state} />;
}

/** The time, told anew every second. */
export function useNow(every = 1_000): number {
  const at = useSignal(now());
  useEffect(() => {
    const timer = setInterval(() => (at.value = now()), every);
    return () => clearInterval(timer);
  }, [every]);
  return at.value;
}

/** How long ago, or in how long; the whole time on hover. */
export function Ago({ at, tick = 1_000 }: { at: string | null | undefined; tick?: number }) {
  const time = useNow(tick);
  if (!at) return <span class="muted">–</span>;
  return <time dateTime={at} title={moment(at)}>{relative(at, time)}</time>;
}

/** How long something takes that may still go on. */
export function Took({ from, to }: { from: string | null; to: string | null }) {
  const time = useNow();
  if (from === null) return <span class="muted">–</span>;
  return <span>{span((to === null ? time : Date.parse(to)) - Date.parse(from))}</span>;
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <p class="empty-title">{title}</p>
      {children}
    </div>
  );
}

export function Loading({ what }: { what: string }) {
  return <p class="loading" role="status"><span class="spin" aria-hidden="true" />Loading {what} …</p>;
}

export function Trouble({ what, onAgain }: { what: string; onAgain?: () => void }) {
  return (
    <div class="trouble" role="alert">
      <p>{what}</p>
      {onAgain && <button type="button" onClick={onAgain}>Try again</button>}
    </div>
  );
}

export function Panel({ title, side, children, id }: { title: string; side?: ComponentChildren; children: ComponentChildren; id: string }) {
  return (
    <section class="panel" aria-labelledby={id}>
      <header><h2 id={id}>{title}</h2>{side}</header>
      {children}
    </section>
  );
}

/** A table that may be wider than the screen: then it is scrolled, with the keyboard, too. */
export function Wide({ label, children }: { label: string; children: ComponentChildren }) {
  return <div class="wide" role="region" aria-label={label} tabIndex={0}>{children}</div>;
}

/** A bar with its share in words. */
export function Meter({ part, whole, label }: { part: number; whole: number; label: string }) {
  const share = whole === 0 ? 0 : Math.min(1, part / whole);
  return (
    <svg class="meter" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label={label}>
      <rect class="meter-all" width="100" height="8" rx="4" />
      <rect class="meter-part" width={share * 100} height="8" rx="4" />
    </svg>
  );
}

/** A line without axes; what is not known is left out of it. */
export function Sparkline({ samples, most, label }: { samples: (number | null)[]; most: number; label: string }) {
  const width = 120;
  const height = 28;
  const step = width / 59;
  const from = 60 - samples.length;
  let path = "";
  let pen = false;
  samples.forEach((value, place) => {
    if (value === null) {
      pen = false;
      return;
    }
    const x = ((from + place) * step).toFixed(1);
    const y = (height - 2 - (Math.min(value, most) / most) * (height - 4)).toFixed(1);
    path += `${pen ? "L" : "M"}${x} ${y}`;
    pen = true;
  });
  return (
    <svg class="spark" viewBox={`0 0 ${width} ${height}`} role="img" aria-label={label}>
      <path class="spark-floor" d={`M0 ${height - 1}H${width}`} />
      {path !== "" && <path class="spark-line" d={path} />}
    </svg>
  );
}
