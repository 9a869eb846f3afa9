// Requests to the API of the node that served this page, and to no other. It knows the token, and turns every answer
// that is not a success into a `Failed` with the words of the API.

import { signal } from "@preact/signals";
import type { Problem } from "./types";

/** Where the page is rooted: everything it asks for is below. Read once, since the address changes later. */
export const ROOT = new URL(document.baseURI);

const TOKEN_KEY = "relais.token";

/** Kept for this tab alone. */
export const token = signal<string | null>(sessionStorage.getItem(TOKEN_KEY));
/** Why a token is asked for; `null` when none is. */
export const tokenAsked = signal<string | null>(null);
/** The node that answered last. */
export const servedBy = signal<string | null>(null);
/** What to add to this machine's clock to have the node's, in ms. */
export const clockOff = signal(0);

/** Whoever closed the question is not asked again by itself. */
let isDismissed = false;

export function dismissToken(): void {
  isDismissed = true;
  tokenAsked.value = null;
}

export function useToken(text: string | null): void {
  isDismissed = false;
  if (text === null) sessionStorage.removeItem(TOKEN_KEY);
  else sessionStorage.setItem(TOKEN_KEY, text);
  token.value = text;
  tokenAsked.value = null;
}

/** The node's time, in ms. */
export function now(): number {
  return Date.now() + clockOff.peek();
}

/** A request that came to nothing. `problem` is missing when no node answered. */
export class Failed extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly problem: Problem | null,
  ) {
    super(message);
  }

  /** Nobody answered: the node is gone, or out of reach. */
  get silent(): boolean {
    return this.status === 0;
  }
}

export interface Asked {
  method?: string;
  body?: unknown;
  signal?: AbortSignal;
  headers?: Record<string, string>;
  /** After which the request is given up, in ms. */
  limit?: number;
}

export function url(path: string): string {
  return new URL(path, ROOT).href;
}

/** Sends a request; the answer is a success, its body not read yet. */
export async function send(path: string, asked: Asked = {}): Promise<Response> {
  const headers: Record<string, string> = { ...asked.headers };
  if (token.peek() !== null) headers["Authorization"] = `Bearer ${token.peek()}`;
  if (asked.body !== undefined) headers["Content-Type"] = "application/json";
  const signals = [asked.signal, asked.limit === undefined ? undefined : AbortSignal.timeout(asked.limit)];
  const all = signals.filter((one) => one !== undefined);
  let response: Response;
  try {
    response = await fetch(url(path), {
      method: asked.method ?? "GET",
      headers,
      body: asked.body === undefined ? undefined : JSON.stringify(asked.body),
      signal: all.length === 0 ? undefined : AbortSignal.any(all),
      cache: "no-store",
    });
  } catch (error) {
    if (asked.signal?.aborted) throw error;
    throw new Failed("the node does not answer", 0, null);
  }
  minded(response);
  if (!response.ok) throw await failed(response);
  return response;
}

export async function ask<T>(path: string, asked: Asked = {}): Promise<T> {
  const response = await send(path, asked);
  if (response.status === 204) return undefined as T;
  return (await response.json()) as T;
}

function minded(response: Response): void {
  const node = response.headers.get("Relais-Node");
  if (node !== null) servedBy.value = node;
  const date = Date.parse(response.headers.get("Date") ?? "");
  // The header has whole seconds: less than that is no difference.
  if (!Number.isNaN(date)) {
    const off = date - Date.now();
    clockOff.value = Math.abs(off) > 2_500 ? off : 0;
  }
}

async function failed(response: Response): Promise<Failed> {
  let problem: Problem | null = null;
  try {
    problem = (await response.json()) as Problem;
  } catch {
    // A proxy between may answer in words of its own.
  }
  const message = problem?.detail ?? `the answer was ${response.status} ${response.statusText}`;
  if (response.status === 401) {
    // A wrong token is not sent again and again: each time would count as a guess.
    const said = token.peek() === null ? (tokenAsked.peek() ?? "This cluster asks for a token.") : message;
    if (token.peek() !== null) useToken(null);
    if (!isDismissed) tokenAsked.value = said;
  }
  return new Failed(message, response.status, problem);
}

/** What to say of anything that was thrown. */
export function words(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
