// What the parts of the browser test share.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
export const LIMIT_MS = 60_000;

/** Asks a node, without the browser. */
export async function ask(node, path, { method = "GET", body, token } = {}) {
  const headers = { ...(body === undefined ? {} : { "Content-Type": "application/json" }), ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }) };
  const answer = await fetch(new URL(path, node.url), { method, headers, body: body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body) });
  const text = await answer.text();
  assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
  return text === "" ? null : JSON.parse(text);
}

/** Waits until `look` comes to something, and says what it waited for if it does not. */
export async function until(what, look, limit = LIMIT_MS) {
  const end = Date.now() + limit;
  let last;
  for (;;) {
    try {
      const seen = await look();
      if (seen !== undefined && seen !== null && seen !== false) return seen;
      last = seen;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`waited ${limit} ms in vain for ${what}; last: ${last}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

/** All rules of axe, those of good habit among them. What it finds is gathered, and told by `harmless`. */
const violations = [];

export function harmless() {
  assert.deepEqual(violations, [], "what axe found");
}

export async function axe(page, where) {
  await page.evaluate(AXE);
  const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  violations.push(...found.violations.map((one) => `${where}: ${one.id} (${one.impact}): ${one.nodes.map((node) => `${node.html.slice(0, 160)} ${node.failureSummary ?? ""}`).join(" | ")}`));
}

/** A mark that a reload would wipe off. */
export async function mark(page) {
  await page.evaluate(() => (window.marked = true));
}

export async function isMarked(page) {
  return page.evaluate(() => window.marked === true);
}

export async function text(page, selector) {
  return ((await page.textContent(selector, { timeout: 1_000 })) ?? "").trim();
}

/** Whether the page says that it is live. */
export async function isLive(page) {
  return (await page.getAttribute("#link", "data-state")) === "live";
}

export function quiet(seen) {
  assert.deepEqual(seen.foreign, [], "requests that left the origin");
  assert.deepEqual(seen.complaints, [], "what the browser complained of");
}
