// The output of a job, as it comes. A pause is real: the stream is left, nothing is sent any more, and going on takes
// it up where it was left. Of very long output the newest lines are kept; all of it is to be downloaded.

import { signal } from "@preact/signals";
import { Failed, words } from "../api/client";
import { follow } from "../api/stream";
import type { OutputEvent } from "../api/types";

export type LogStream = "merged" | "stdout" | "stderr";
export type LogState = "following" | "paused" | "ended" | "broken";

export interface LogLine {
  stream: "stdout" | "stderr" | "note";
  text: string;
}

const LINES_MAX = 20_000;
/** Bytes of each stream's end that a log begins with. */
const TAIL = 512 << 10;
const LINE_CHARS_MAX = 4_000;
const AGAIN_MS = 1_000;
const SILENCE_MS = 40_000;

// Colours and movements of terminals; what they enclose is kept.
const ESCAPES = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-Z\\-_])/g;

/** A line as a terminal would end up showing it. */
export function shown(text: string): string {
  const plain = text.replace(ESCAPES, "").replace(/\r$/, "");
  const last = plain.slice(plain.lastIndexOf("\r") + 1);
  return last.length > LINE_CHARS_MAX ? `${last.slice(0, LINE_CHARS_MAX)} …` : last;
}

export function textOf(event: OutputEvent): string {
  if (event.text !== undefined) return event.text;
  const bytes = Uint8Array.from(atob(event.base64 ?? ""), (char) => char.charCodeAt(0));
  return new TextDecoder().decode(bytes);
}

export class JobLog {
  readonly lines: LogLine[] = [];
  readonly state = signal<LogState>("following");
  readonly error = signal("");
  /** Counts up with each change. */
  readonly turn = signal(0);
  /** Lines that are no longer kept. */
  dropped = 0;
  longest = 0;
  private open: Record<"stdout" | "stderr", LogLine | null> = { stdout: null, stderr: null };
  private attemptShown = 0;
  private last: string | null = null;
  private stop: AbortController | null = null;
  private drawing = false;

  constructor(
    readonly job: string,
    readonly attempt: number | null,
    readonly stream: LogStream,
  ) {}

  path(followed: boolean): string {
    const query = new URLSearchParams({ stream: this.stream });
    if (this.attempt !== null) query.set("attempt", String(this.attempt));
    if (followed) {
      query.set("follow", "true");
      query.set("tail", String(TAIL));
    }
    return `v1/jobs/${encodeURIComponent(this.job)}/logs?${query}`;
  }

  start(): void {
    this.stop?.abort();
    this.stop = new AbortController();
    this.state.value = "following";
    void this.keep(this.stop.signal);
  }

  pause(): void {
    this.stop?.abort();
    this.state.value = "paused";
  }

  end(): void {
    this.stop?.abort();
  }

  private async keep(stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      let over = false;
      try {
        await follow(this.path(true), {
          last: this.last,
          silence: SILENCE_MS,
          signal: stop,
          onOpen: () => (this.error.value = ""),
          onFrame: (frame) => {
            if (frame.id !== null) this.last = frame.id;
            if (frame.event === "output") this.take(JSON.parse(frame.data) as OutputEvent);
            else if (frame.event === "missing") this.note((JSON.parse(frame.data) as { reason: string }).reason);
            else if (frame.event === "end") over = true;
          },
        });
      } catch (error) {
        if (stop.aborted) return;
        this.error.value = words(error);
        // What was refused will be refused again.
        if (error instanceof Failed && error.status >= 400 && error.status < 500) {
          this.state.value = "broken";
          return;
        }
      }
      if (stop.aborted) return;
      if (over) {
        this.state.value = "ended";
        this.drawn();
        return;
      }
      await new Promise((done) => setTimeout(done, AGAIN_MS));
    }
  }

  private take(event: OutputEvent): void {
    if (event.attempt !== this.attemptShown) {
      if (this.attemptShown > 0) this.note(`attempt ${event.attempt}`);
      this.attemptShown = event.attempt;
      this.open = { stdout: null, stderr: null };
    }
    const pieces = textOf(event).split("\n");
    pieces.forEach((piece, place) => {
      const ends = place < pieces.length - 1;
      const line = this.open[event.stream];
      if (line !== null) {
        if (line.text.length < LINE_CHARS_MAX * 4) line.text += piece;
        this.measured(line);
      } else if (ends || piece !== "") {
        this.open[event.stream] = this.push({ stream: event.stream, text: piece });
      }
      if (ends) this.open[event.stream] = null;
    });
    this.drawn();
  }

  private note(text: string): void {
    this.push({ stream: "note", text });
    this.drawn();
  }

  private push(line: LogLine): LogLine {
    this.lines.push(line);
    this.measured(line);
    if (this.lines.length > LINES_MAX + 1_000) {
      this.lines.splice(0, 1_000);
      this.dropped += 1_000;
    }
    return line;
  }

  private measured(line: LogLine): void {
    this.longest = Math.min(LINE_CHARS_MAX, Math.max(this.longest, line.text.length));
  }

  private drawn(): void {
    if (this.drawing) return;
    this.drawing = true;
    requestAnimationFrame(() => {
      this.drawing = false;
      this.turn.value += 1;
    });
  }
}
