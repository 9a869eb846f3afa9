// A list of 100,000 jobs: it is scrolled from top to far down, and by leaps, and no task of the page may take longer
// than 100 ms. The machine may be busy with other things, so the best of some passes counts.
import assert from "node:assert/strict";
import { ask, isLive, quiet, until } from "./common.mjs";

const JOBS = 100_000;
const BATCH = 5_000;
const TASK_MS = 100;
const PASSES = 5;

async function seed(node) {
  const line = (number) => JSON.stringify({ kind: "noop", name: `row-${number}`, payload: {}, delay: "24h" });
  for (let from = 0; from < JOBS; from += BATCH) {
    const body = Array.from({ length: BATCH }, (_, place) => line(from + place)).join("\n");
    // Sent again while there is no dispatcher; under its key none becomes two.
    const headers = { "Content-Type": "application/x-ndjson", Prefer: "return=minimal", "Idempotency-Key": `seed-${from}` };
    await until(`jobs from ${from} on`, async () => {
      const answer = await fetch(new URL("/v1/jobs:batch", node.url), { method: "POST", headers, body });
      const said = await answer.text();
      assert.ok(answer.ok || answer.status === 503, `${answer.status} ${said.slice(0, 500)}`);
      return answer.ok;
    });
  }
}

export async function list(given) {
  const node = given.nodes[0];
  await seed(node);
  assert.equal((await ask(node, "/v1/jobs:count")).groups.scheduled, JOBS);
  const { context, seen } = await given.watched();
  const page = await context.newPage();
  await page.addInitScript(() => {
    window.tasks = [];
    new PerformanceObserver((list) => window.tasks.push(...list.getEntries().map((entry) => Math.round(entry.duration)))).observe({ type: "longtask", buffered: true });
  });
  let best = Infinity;
  let rows = 0;
  for (let pass = 1; pass <= PASSES && best > TASK_MS; pass += 1) {
    await page.goto(new URL("/jobs?state=scheduled", node.url).href);
    await until("the list", async () => (await page.locator("[data-row]").count()) > 10);
    await until("the page to be live", () => isLive(page));
    assert.ok((await page.locator("[data-row]").count()) < 100, "only what is on the screen is in the page");
    await page.evaluate(() => (window.tasks.length = 0));
    rows = await scrolled(page);
    const tasks = await page.evaluate(() => window.tasks);
    best = Math.min(best, Math.max(0, ...tasks));
    given.say(`pass ${pass}: ${rows} rows loaded, ${tasks.length} tasks over 50 ms, the longest ${Math.max(0, ...tasks)} ms`);
  }
  assert.ok(best <= TASK_MS, `a task took ${best} ms in the best pass`);
  assert.ok(rows > 5_000, `${rows} rows were loaded`);
  quiet(seen);
  await context.close();
}

/** Turns the wheel for some seconds, then leaps to the end again and again; how many rows are there then. */
async function scrolled(page) {
  await page.mouse.move(600, 500);
  for (let turn = 0; turn < 150; turn += 1) await page.mouse.wheel(0, 900);
  for (let leap = 0; leap < 25; leap += 1) {
    const before = await page.evaluate(() => document.documentElement.scrollHeight);
    await page.keyboard.press("End");
    await until("more rows", async () => (await page.evaluate(() => document.documentElement.scrollHeight)) > before);
  }
  await page.keyboard.press("Home");
  await until("the first row", async () => (await page.locator('[data-row="0"]').count()) === 1);
  return page.evaluate(() => Math.round(document.querySelector(".virtual").offsetHeight / 44));
}
