// Dialogs, and the line that says what came of what was asked for. A dialog is the browser's own: it holds the focus,
// and Escape closes it.

import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { words } from "../api/client";

export function Dialog({ title, onClose, children }: { title: string; onClose: () => void; children: ComponentChildren }) {
  const ref = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const before = document.activeElement;
    const own = ref.current;
    own?.showModal();
    return () => {
      // Unless a key has taken the cursor elsewhere by now.
      const at = document.activeElement;
      const isFree = at === null || at === document.body || own?.contains(at) === true;
      if (isFree && before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  return (
    <dialog ref={ref} aria-labelledby="dialog-title" onCancel={(event) => { event.preventDefault(); onClose(); }}>
      <h2 id="dialog-title">{title}</h2>
      {children}
    </dialog>
  );
}

interface Question {
  title: string;
  body: ComponentChildren;
  verb: string;
  danger: boolean;
  act: () => Promise<string>;
}

const question = signal<Question | null>(null);

export interface Notice {
  text: string;
  bad: boolean;
  href?: string | undefined;
}

export const notice = signal<Notice | null>(null);
let noticeTimer: ReturnType<typeof setTimeout> | undefined;

export function say(text: string, bad = false, href?: string): void {
  notice.value = { text, bad, href };
  clearTimeout(noticeTimer);
  if (!bad) noticeTimer = setTimeout(() => (notice.value = null), 8_000);
}

/** Asks before `act` is done. What it returns is said then. */
export function confirmed(asked: Omit<Question, "danger"> & { danger?: boolean }): void {
  question.value = { danger: false, ...asked };
}

/** Does it at once, and says what came of it, if it has anything to say. */
export async function done(act: () => Promise<string | null>): Promise<void> {
  try {
    const text = await act();
    if (text !== null) say(text);
  } catch (error) {
    say(words(error), true);
  }
}

export function Confirmation() {
  const asked = question.value;
  const [busy, setBusy] = useState(false);
  const [failed, setFailed] = useState<string | null>(null);
  if (asked === null) return null;
  const close = () => {
    question.value = null;
    setFailed(null);
    setBusy(false);
  };
  const act = async () => {
    setBusy(true);
    setFailed(null);
    try {
      const text = await asked.act();
      close();
      say(text);
    } catch (error) {
      setFailed(words(error));
      setBusy(false);
    }
  };
  return (
    <Dialog title={asked.title} onClose={close}>
      <div class="dialog-body">{asked.body}</div>
      {failed && <p class="field-error" role="alert">{failed}</p>}
      <div class="buttons">
        <button type="button" onClick={close} disabled={busy}>Keep as it is</button>
        <button type="button" class={asked.danger ? "danger" : "primary"} onClick={act} disabled={busy}>{asked.verb}</button>
      </div>
    </Dialog>
  );
}

export function NoticeLine() {
  const said = notice.value;
  return (
    <div class="notices" role="status" aria-live="polite">
      {said && (
        <div class={said.bad ? "notice bad" : "notice"}>
          <span>{said.text}</span>
          {said.href && <a href={said.href}>Show it</a>}
          <button type="button" class="quiet" aria-label="Dismiss" onClick={() => (notice.value = null)}>×</button>
        </div>
      )}
    </div>
  );
}
