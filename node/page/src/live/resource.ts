// Something of the API that one view shows: asked for when the view opens, and again when an event says so.

import { type Signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { ask, words } from "../api/client";
import { listen } from "./link";

export interface Resource<T> {
  value: Signal<T | null>;
  error: Signal<string | null>;
  again: () => void;
}

const CALM_MS = 300;

export function useResource<T>(path: string, events: string[], everyMs: number): Resource<T> {
  const value = useSignal<T | null>(null);
  const error = useSignal<string | null>(null);
  const turn = useSignal(0);
  useEffect(() => {
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const read = async () => {
      timer = undefined;
      try {
        value.value = await ask<T>(path, { signal: stop.signal });
        error.value = null;
      } catch (thrown) {
        if (!stop.signal.aborted) error.value = words(thrown);
      }
    };
    const deaf = listen(({ name }) => {
      if (events.some((start) => name.startsWith(start))) timer ??= setTimeout(read, CALM_MS);
    });
    const poll = setInterval(() => {
      if (!document.hidden) void read();
    }, everyMs);
    void read();
    return () => {
      stop.abort();
      clearTimeout(timer);
      clearInterval(poll);
      deaf();
    };
  }, [path, turn.value]);
  return { value, error, again: () => (turn.value += 1) };
}
