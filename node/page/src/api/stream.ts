// Server-sent events over `fetch`, and not by `EventSource`: that one can't send a token, and can't be paused.

import { type Asked, send } from "./client";

export interface Frame {
  id: string | null;
  event: string;
  data: string;
}

/** Cuts text into frames; text comes in pieces of any length. */
export class Frames {
  private rest = "";

  *push(text: string): Generator<Frame> {
    this.rest += text;
    let from = 0;
    for (let end = this.rest.indexOf("\n\n", from); end >= 0; end = this.rest.indexOf("\n\n", from)) {
      const frame = read(this.rest.slice(from, end));
      from = end + 2;
      if (frame !== null) yield frame;
    }
    if (from > 0) this.rest = this.rest.slice(from);
  }
}

function read(text: string): Frame | null {
  const frame: Frame = { id: null, event: "message", data: "" };
  let said = false;
  for (const line of text.split("\n")) {
    const colon = line.indexOf(":");
    if (colon <= 0) continue;
    const name = line.slice(0, colon);
    const value = line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (name === "id") frame.id = value;
    else if (name === "event") frame.event = value;
    else if (name === "data") {
      frame.data = said ? `${frame.data}\n${value}` : value;
      said = true;
    }
  }
  return said ? frame : null;
}

export interface Follow {
  /** The last id that was seen. */
  last?: string | null;
  /** Nothing for so long, not even a sign of life, and the stream is taken for broken, in ms. */
  silence: number;
  signal: AbortSignal;
  onOpen?: () => void;
  onBytes?: () => void;
  onFrame: (frame: Frame) => void;
}

/** Follows a stream to its end. Throws when it can't be had or breaks. */
export async function follow(path: string, how: Follow): Promise<void> {
  const stop = new AbortController();
  const onAbort = () => stop.abort();
  how.signal.addEventListener("abort", onAbort);
  let timer = setTimeout(() => stop.abort(), how.silence);
  try {
    const asked: Asked = { signal: stop.signal, headers: { Accept: "text/event-stream" } };
    if (how.last) asked.headers = { ...asked.headers, "Last-Event-ID": how.last };
    const response = await send(path, asked);
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    if (reader === undefined) return;
    how.onOpen?.();
    const frames = new Frames();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(() => stop.abort(), how.silence);
      how.onBytes?.();
      for (const frame of frames.push(value)) {
        if (how.signal.aborted) return;
        how.onFrame(frame);
      }
    }
  } finally {
    clearTimeout(timer);
    stop.abort();
    how.signal.removeEventListener("abort", onAbort);
  }
}
