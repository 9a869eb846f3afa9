// What happens while one looks: a job that is submitted by the form ends, a log grows and is paused, jobs are retried
// in bulk, the node that serves the page dies, the dispatcher dies, a token is asked for.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { ask, isLive, isMarked, mark, quiet, text, until } from "./common.mjs";

/** What the issue asks for. */
const ROLE_MS = 3_000;

export async function live(given) {
  const { context, seen } = await given.watched();
  const page = await context.newPage();
  await submitted(given, page);
  await followed(given, page);
  await retried(given, page);
  await drained(given, page);
  quiet(seen);
  await servedDies(given, page);
  await dispatcherDies(given, page);
  await tokened(given, page);
  assert.deepEqual(seen.foreign, [], "requests that left the origin");
  assert.deepEqual(seen.complaints, [], "what the browser complained of");
  await context.close();
}

async function submitted(given, page) {
  await page.goto(new URL("/submit", given.nodes[0].url).href);
  await until("the form to be live", () => isLive(page));
  await mark(page);
  await page.getByLabel("Shell line").fill("while [ ! -e gate ]; do sleep 0.1; [ $((i=i+1)) -gt 20 ] && break; done; echo from the form");
  await page.getByLabel("Name").fill("by-the-form");
  await page.getByRole("button", { name: "Submit the job" }).click();
  await until("the job's own page", async () => (await page.getAttribute("#job-state", "data-state")) !== null);
  const states = new Set();
  await until("the end of the job", async () => {
    const state = await page.getAttribute("#job-state", "data-state");
    states.add(state);
    return state === "succeeded";
  });
  assert.ok(states.has("running") || states.has("queued"), `it was seen before its end: ${[...states]}`);
  await until("its output", async () => (await page.innerText(".log")).includes("from the form"));
  assert.ok(await isMarked(page), "without a reload");
  given.say(`a job of the form was seen as ${[...states].join(", ")}`);
}

/** Numbers that a log shows, from all of its lines. */
async function numbers(page) {
  const words = (await page.innerText(".log-lines")).match(/line \d+/g) ?? [];
  return words.map((word) => Number(word.slice(5)));
}

async function followed(given, page) {
  const command = ["sh", "-c", "i=0; while [ $i -lt 5000 ]; do i=$((i+1)); echo line $i; sleep 0.05; done"];
  const job = await ask(given.nodes[1], "/v1/jobs", { method: "POST", body: { kind: "exec", name: "talks", payload: { command } } });
  await page.goto(new URL(`/jobs/${job.id}`, given.nodes[0].url).href);
  const first = await until("the log", async () => (await numbers(page)).at(-1));
  const more = await until("the log to grow", async () => {
    const last = (await numbers(page)).at(-1);
    return last > first + 5 && last;
  });
  await page.locator(".log-tools").getByRole("button", { name: "Pause" }).click();
  await until("the pause", async () => (await page.getAttribute("#log-state", "data-state")) === "paused");
  const paused = (await numbers(page)).at(-1);
  const total = async () => Number((await fetch(new URL(`/v1/jobs/${job.id}/logs?tail=20`, given.nodes[0].url))).headers.get("relais-output-total"));
  const before = await total();
  await until("the job to write on", async () => (await total()) > before + 300);
  assert.equal((await numbers(page)).at(-1), paused, "nothing moves while it is paused");
  await page.getByRole("button", { name: "Go on" }).click();
  await until("what was written meanwhile", async () => (await numbers(page)).at(-1) > paused + 20);
  await page.fill("#log-search", `line ${paused + 10}`);
  await until("the line that was written in the pause", async () => (await page.locator(".log-line.goal mark").count()) === 1);
  const around = await numbers(page);
  for (let place = 1; place < around.length; place += 1) assert.equal(around[place], around[place - 1] + 1, "no line is left out");
  await page.getByRole("button", { name: "Cancel …" }).click();
  await page.locator("dialog").getByRole("button", { name: "Cancel it", exact: true }).click();
  await until("the cancel", async () => (await page.getAttribute("#job-state", "data-state")) === "cancelled");
  await until("the end of the log", async () => (await page.getAttribute("#log-state", "data-state")) === "ended");
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Download" }).click()]);
  const lines = readFileSync(await download.path(), "utf8").trimEnd().split("\n");
  assert.equal(lines[0], "line 1");
  assert.ok(lines.length > paused + 20, `${lines.length} lines were downloaded`);
  given.say(`a log grew from line ${first} to ${more}, stood still at ${paused}, went on, and was downloaded whole`);
}

async function retried(given, page) {
  const bad = (number) => ({ kind: "exec", name: `bulk-${number}`, payload: { command: ["false"] } });
  await ask(given.nodes[0], "/v1/jobs:batch", { method: "POST", body: [1, 2, 3, 4, 5].map(bad) });
  await page.goto(new URL("/jobs?state=failed&name=bulk-", given.nodes[0].url).href);
  await until("five failed jobs", async () => (await page.locator("[data-row]").count()) === 5);
  await mark(page);
  await page.getByRole("button", { name: "Retry all …" }).click();
  await until("the count", async () => (await page.innerText("dialog h2")) === "Retry 5 jobs?");
  await page.screenshot({ path: `${given.out}/bulk.png` });
  await page.locator("dialog").getByRole("button", { name: "Retry 5 jobs", exact: true }).click();
  await until("what came of it", async () => (await page.innerText(".notices")).includes("5 jobs put in line again"));
  await until("five jobs that failed twice", async () => {
    const { jobs } = await ask(given.nodes[0], "/v1/jobs?state=failed&name=bulk-");
    return jobs.length === 5 && jobs.every((job) => job.attempts.length === 2);
  });
  assert.ok(await isMarked(page), "without a reload");
}

async function drained(given, page) {
  await page.goto(new URL("/nodes", given.nodes[0].url).href);
  const name = given.nodes[1].name;
  await page.getByRole("button", { name: `Drain ${name}`, exact: true }).click();
  await page.locator("dialog").getByRole("button", { name: "Drain it", exact: true }).click();
  await until("the node to be shown as draining", async () => (await text(page, `[data-node=${name}]`)).includes("draining"));
  await page.getByRole("button", { name: `Undrain ${name}` }).click();
  await page.locator("dialog").getByRole("button", { name: "Undrain it", exact: true }).click();
  await until("the node to be shown as online", async () => (await text(page, `[data-node=${name}]`)).includes("online"));
}

async function whole(given) {
  await until("a whole cluster", async () => {
    const seen = await Promise.all(given.nodes.map((node) => ask(node, "/v1/cluster")));
    return seen.every((one) => one.status === "running" && one.nodes.online === 3 && one.high_availability && one.dispatcher === seen[0].dispatcher);
  });
}

/** The page goes on at another node, at the same address. */
async function servedDies(given, page) {
  const { dispatcher } = await ask(given.nodes[0], "/v1/cluster");
  const own = given.nodes.find((node) => node.name !== dispatcher);
  await page.goto(new URL("/jobs?state=failed&name=bulk-", own.url).href);
  await until("the page to be live", () => isLive(page));
  await until("the node table", async () => (await page.locator("#filter-name").count()) === 1 && (await page.locator("select option").count()) > 3);
  const said = new Set();
  const began = Date.now();
  await given.act("kill", own.name);
  await until("another node", async () => {
    const url = new URL(page.url());
    const link = await page.textContent("#link", { timeout: 500 }).catch(() => "");
    if (/reconnecting, \d+ s old/.test(link)) said.add("reconnecting");
    return url.origin !== new URL(own.url).origin && given.nodes.some((node) => new URL(node.url).origin === url.origin);
  });
  const took = Date.now() - began;
  assert.ok(said.has("reconnecting"), "it said that it is reconnecting, and how old what it shows is");
  assert.equal(new URL(page.url()).search, "?state=failed&name=bulk-", "at the same address");
  await until("five jobs there", async () => (await page.locator("[data-row]").count()) === 5);
  await until("the page to be live there", () => isLive(page));
  await page.goto(new URL("/nodes", page.url()).href);
  const row = page.locator(`[data-node=${own.name}]`);
  await until("the dead node to be grey", async () => (await row.getAttribute("class")) === "gone");
  await given.act("start", own.name);
  await until("the dead node to be back", async () => (await row.getAttribute("class")) !== "gone");
  await whole(given);
  given.say(`the node that served the page died, and it went on at another one after ${took} ms`);
}

/** The page says who follows, within 3 s, without a reload. */
async function dispatcherDies(given, page) {
  const { dispatcher } = await ask(given.nodes[0], "/v1/cluster");
  const own = given.nodes.find((node) => node.name !== dispatcher);
  await page.goto(new URL("/nodes", own.url).href);
  await until("the page to be live", () => isLive(page));
  await until("the dispatcher", async () => (await text(page, "#top-dispatcher")) === dispatcher);
  // Figures of the node, to be dated later.
  await until("its figures", async () => /\d %/.test(await text(page, `[data-node=${dispatcher}]`)));
  await mark(page);
  const began = Date.now();
  await given.act("kill", dispatcher);
  const heir = await until("another dispatcher", async () => {
    const name = await text(page, "#top-dispatcher");
    return name !== dispatcher && name !== "none" && name;
  });
  const role = page.locator(`[data-node=${heir}]`);
  await until("its role in the table", async () => (await role.innerText()).includes("dispatcher"));
  const took = Date.now() - began;
  assert.ok(took <= ROLE_MS, `the change of role was shown after ${took} ms`);
  const gone = page.locator(`[data-node=${dispatcher}]`);
  await until("the dead node to be grey, with its figures dated", async () => (await gone.getAttribute("class")) === "gone" && /figures .* ago/.test(await gone.innerText()) && /\d %/.test(await gone.innerText()));
  await page.screenshot({ path: `${given.out}/nodes-one-gone.png` });
  assert.ok(await isMarked(page), "without a reload");
  await given.act("start", dispatcher);
  await until("the dead node to be back", async () => (await gone.getAttribute("class")) !== "gone");
  await whole(given);
  given.say(`the dispatcher died, and the page showed the next one after ${took} ms`);
}

/** Once there is a token, the page asks for one. */
async function tokened(given, page) {
  const made = await ask(given.nodes[0], "/v1/tokens", { method: "POST", body: { name: "page", role: "admin" } });
  assert.equal(typeof made.token, "string", JSON.stringify(Object.keys(made)));
  await page.goto(new URL("/jobs", given.nodes[0].url).href);
  await until("the question for a token", async () => (await page.innerText("dialog h2")) === "API token");
  await page.locator("dialog input").fill("wrong");
  await page.locator("dialog").getByRole("button", { name: "Use it", exact: true }).click();
  await until("the refusal", async () => (await page.innerText("dialog")).includes("unknown"));
  await page.locator("dialog input").fill(made.token);
  await page.locator("dialog").getByRole("button", { name: "Use it", exact: true }).click();
  await until("the jobs", async () => (await page.locator("[data-row]").count()) > 5);
  await until("the page to be live", () => isLive(page));
  assert.equal(await page.locator("dialog").count(), 0);
  await page.reload();
  await until("the jobs, in the same tab", async () => (await page.locator("[data-row]").count()) > 5);
}
