// The form: it checks itself while one types, shows the same as a curl, and goes to the job when it is submitted.

import { useComputed, useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { ask, Failed, token, url, words } from "../api/client";
import type { Job } from "../api/types";
import { curl } from "../commands";
import { queues } from "../live/data";
import { Panel } from "../parts/bits";
import { Command } from "../parts/copy";
import { say } from "../parts/dialogs";
import { go, hrefOfJob, where } from "../router";
import { BLANK, build, type Errors, type Form, like, placeOf } from "./submit/spec";

const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

export function Submit() {
  const form = useSignal<Form>(BLANK);
  const touched = useSignal<ReadonlySet<string>>(new Set());
  const refused = useSignal<Errors>({});
  const trouble = useSignal<string[]>([]);
  const busy = useSignal(false);
  const built = useComputed(() => build(form.value));
  const model = where.value.query.get("like");
  useEffect(() => {
    if (model === null) return;
    ask<Job>(`v1/jobs/${encodeURIComponent(model)}`).then(
      (job) => (form.value = like(job)),
      (error: unknown) => (trouble.value = [words(error)]),
    );
  }, [model]);

  const now = form.value;
  const change = (name: keyof Form, value: string | boolean) => {
    form.value = { ...form.peek(), [name]: value };
    const { [name]: _, ...rest } = refused.peek();
    refused.value = rest;
  };
  const leave = (name: string) => (touched.value = new Set([...touched.peek(), name]));
  const errorOf = (name: keyof Form) => refused.value[name] ?? (touched.value.has(name) ? built.value.errors[name] : undefined);
  const parts: Parts = { now, change, leave, errorOf };

  const submit = async (event: Event) => {
    event.preventDefault();
    touched.value = new Set(Object.keys(BLANK));
    const first = Object.keys(built.value.errors)[0];
    if (first !== undefined) {
      document.getElementById(`field-${first}`)?.focus();
      return;
    }
    busy.value = true;
    trouble.value = [];
    try {
      const job = await ask<Job>("v1/jobs", { method: "POST", body: built.value.spec });
      say("The job is submitted.");
      go(hrefOfJob(job.id));
    } catch (error) {
      take(error);
    }
    busy.value = false;
  };

  /** Puts what the API found beside the field that it is about. */
  const take = (error: unknown) => {
    const found = error instanceof Failed ? (error.problem?.errors ?? []) : [];
    const placed: Errors = {};
    const rest: string[] = found.length === 0 ? [words(error)] : [];
    for (const one of found) {
      const place = placeOf(one.pointer, form.peek());
      if (place === null) rest.push(`${one.pointer || "the job"}: ${one.detail}`);
      else placed[place] = one.detail;
    }
    refused.value = placed;
    trouble.value = rest;
  };

  return (
    <form class="submit" onSubmit={submit} noValidate>
      <div>
        <Panel title="What it does" id="what"><What {...parts} /></Panel>
        <Panel title="How it is run" id="how"><How {...parts} /></Panel>
      </div>
      <div class="submit-side">
        <Panel title="The same as a command" id="same">
          <Command label="curl" text={curl({ method: "POST", url: url("v1/jobs"), body: built.value.spec, hasToken: token.value !== null })} />
          {trouble.value.map((one) => <p class="field-error" role="alert" key={one}>{one}</p>)}
          <div class="buttons"><button class="primary" disabled={busy.value}>{busy.value ? "Submitting …" : "Submit the job"}</button></div>
        </Panel>
      </div>
    </form>
  );
}

interface Parts {
  now: Form;
  change: (name: keyof Form, value: string | boolean) => void;
  leave: (name: string) => void;
  errorOf: (name: keyof Form) => string | undefined;
}

interface FieldOf extends Parts {
  name: keyof Form;
  label: string;
  hint?: string;
  lines?: number;
  type?: "text" | "datetime-local";
  list?: string;
}

function Field({ name, label, hint, lines, type, list, now, change, leave, errorOf }: FieldOf) {
  const error = errorOf(name);
  const shared = {
    id: `field-${name}`,
    value: String(now[name]),
    placeholder: hint,
    "aria-invalid": error !== undefined,
    "aria-describedby": error === undefined ? undefined : `error-${name}`,
    onBlur: () => leave(name),
  };
  return (
    <div>
      <label for={`field-${name}`}>{label}</label>
      {lines === undefined ? (
        <input {...shared} type={type ?? "text"} list={list} onInput={(event) => change(name, event.currentTarget.value)} />
      ) : (
        <textarea {...shared} rows={lines} spellcheck={false} onInput={(event) => change(name, event.currentTarget.value)} />
      )}
      {error && <p class="field-error" id={`error-${name}`}>{error}</p>}
    </div>
  );
}

function Choice({ name, label, children, now, change }: Parts & { name: keyof Form; label: string; children: ComponentChildren }) {
  return (
    <div>
      <label for={`field-${name}`}>{label}</label>
      <select id={`field-${name}`} value={String(now[name])} onChange={(event) => change(name, event.currentTarget.value)}>{children}</select>
    </div>
  );
}

function What(parts: Parts) {
  const { now, change } = parts;
  return (
    <div class="stack">
      <Choice {...parts} name="kind" label="Kind">
        <option value="exec">exec: run a command</option><option value="http">http: send a request</option>
        <option value="noop">noop: nothing, for trials</option><option value="external">external: for a worker that asks for it</option>
        <option value="other">a kind of your own</option>
      </Choice>
      {now.kind === "exec" && (
        <>
          <Field {...parts} name="command" label={now.shell ? "Shell line" : "Command and its arguments"} hint={now.shell ? "echo hello | tr a-z A-Z" : "python3 report.py --day 'last monday'"} lines={3} />
          <label class="check"><input type="checkbox" checked={now.shell} onChange={(event) => change("shell", event.currentTarget.checked)} /> Run it by a shell (sh -c)</label>
          <details><summary>Environment, folder, input</summary>
            <div class="stack">
              <Field {...parts} name="env" label="Environment, a KEY=VALUE on each line" lines={3} />
              <Field {...parts} name="cwd" label="Folder" hint="a fresh private one" />
              <Field {...parts} name="stdin" label="Standard input" lines={2} />
            </div>
          </details>
        </>
      )}
      {now.kind === "http" && (
        <>
          <Choice {...parts} name="method" label="Method">{METHODS.map((one) => <option key={one} value={one}>{one}</option>)}</Choice>
          <Field {...parts} name="url" label="URL" hint="https://example.org/hook" />
          <Field {...parts} name="headers" label="Headers, a Name: value on each line" lines={2} />
          <Field {...parts} name="body" label="Body" lines={3} />
        </>
      )}
      {now.kind === "noop" && <div class="fields"><Field {...parts} name="sleep" label="It sleeps" hint="0s" /><Field {...parts} name="failTimes" label="Attempts that fail first" hint="0" /></div>}
      {now.kind === "other" && <Field {...parts} name="otherKind" label="Name of the kind" hint="greet" />}
      {(now.kind === "other" || now.kind === "external") && <Field {...parts} name="payload" label="Payload, as JSON" lines={6} />}
    </div>
  );
}

function How(parts: Parts) {
  const { now } = parts;
  return (
    <div class="stack">
      <div class="fields">
        <Field {...parts} name="name" label="Name" hint="nightly-report" />
        <Field {...parts} name="queue" label="Queue" hint="default" list="known-queues" />
        <Field {...parts} name="priority" label="Priority, 0 to 100" hint="50" />
        <Field {...parts} name="timeout" label="Time limit" hint="none, or like 1h30m" />
        <Field {...parts} name="attempts" label="Attempts at most" hint="1" />
        <Field {...parts} name="labels" label="Labels" hint="team=data, zone=eu" />
      </div>
      <datalist id="known-queues">{queues.value?.map((row) => <option key={row.name} value={row.name} />)}</datalist>
      <div class="fields">
        <Choice {...parts} name="start" label="Start">
          <option value="now">as soon as there is room</option><option value="delay">after a delay</option><option value="at">at a time</option>
        </Choice>
        {now.start === "delay" && <Field {...parts} name="delay" label="Delay" hint="10m" />}
        {now.start === "at" && <Field {...parts} name="at" label="Time, of this machine's zone" type="datetime-local" />}
      </div>
      <details><summary>What it requires, and a key against doubles</summary>
        <div class="fields">
          <Field {...parts} name="slots" label="Slots" hint="1" />
          <Field {...parts} name="cpu" label="Cores" hint="not counted" />
          <Field {...parts} name="memory" label="Memory" hint="not counted, or like 512MiB" />
          <Field {...parts} name="key" label="Idempotency key" hint="none" />
        </div>
      </details>
    </div>
  );
}
