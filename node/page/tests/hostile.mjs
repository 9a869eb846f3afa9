// Markup wherever a job, a node or an address can hold text: it is shown to the letter, nothing of it runs or loads,
// and the browser has nothing to complain of, which it would have if the policy alone had held it back.
import assert from "node:assert/strict";
import { ask, isLive, quiet, until } from "./common.mjs";

const RUN = "window.taken=(window.taken??0)+1";
const SCRIPT = `<script>${RUN}</script>`;
const IMAGE = `"'><img src=x onerror="${RUN}"><svg onload="${RUN}">`;
const LINK = `javascript:${RUN}`;

async function furnish(node) {
  const command = `printf '%s\\n' "$1" "$2" "$3"; printf '%s\\n' "$1" >&2; printf '%s' "$1" > "$RELAIS_PROGRESS_FILE"; printf '{"said": "%s"}' '<b>bold</b>' > "$RELAIS_RESULT_FILE"; exit "$4"`;
  const job = (name, code) => ({
    kind: "exec",
    name,
    labels: { mark: SCRIPT, link: LINK },
    metadata: { [SCRIPT]: IMAGE },
    payload: { command: ["sh", "-c", command, "sh", SCRIPT, IMAGE, LINK, String(code)], cwd: "/tmp" },
  });
  const done = await ask(node, "/v1/jobs?wait=60s", { method: "POST", body: job(SCRIPT, 0) });
  const failed = await ask(node, "/v1/jobs?wait=60s", { method: "POST", body: job(IMAGE, 3) });
  assert.deepEqual([done.state, failed.state], ["succeeded", "failed"]);
  const call = { kind: "http", name: LINK, payload: { method: "GET", url: `http://127.0.0.1:9/${encodeURIComponent(SCRIPT)}` } };
  const called = await ask(node, "/v1/jobs?wait=60s", { method: "POST", body: call });
  const later = await ask(node, "/v1/jobs", { method: "POST", body: { ...job(`later ${SCRIPT}`, 0), delay: "24h" } });
  await ask(node, `/v1/jobs/${later.id}:cancel`, { method: "POST", body: { reason: IMAGE } });
  await ask(node, "/v1/schedules/marked", { method: "PUT", body: { cron: "0 30 2 * * *", job: job(SCRIPT, 0) } });
  await ask(node, "/v1/queues/marked", { method: "PUT", body: { concurrency: 1 } });
  await ask(node, `/v1/nodes/${node.name}`, { method: "PATCH", body: { labels: { mark: SCRIPT } } });
  return { done: done.id, failed: failed.id, called: called.id, later: later.id };
}

export async function hostile(given) {
  const node = given.nodes[0];
  const jobs = await furnish(node);
  const coded = encodeURIComponent(SCRIPT);
  const views = [
    ["/", "3 of 3"],
    ["/nodes", node.name],
    ["/jobs", SCRIPT],
    ["/jobs", IMAGE],
    [`/jobs?name=${coded}`, SCRIPT],
    [`/jobs?state=${coded}`, ""],
    [`/jobs?queue=${coded}&label=${coded}&node=${coded}`, ""],
    [`/jobs/${jobs.done}`, SCRIPT],
    [`/jobs/${jobs.failed}`, IMAGE],
    [`/jobs/${jobs.called}`, LINK],
    [`/jobs/${jobs.later}`, IMAGE],
    [`/jobs/${coded}`, ""],
    ["/queues", "marked"],
    ["/schedules", SCRIPT],
    ["/failovers", ""],
    [`/submit?like=${jobs.done}`, ""],
    [`/submit?like=${coded}`, ""],
    [`/nodes?${coded}=${coded}#${coded}`, node.name],
  ];
  const { context, seen } = await given.watched();
  const page = await context.newPage();
  const asked = [];
  page.on("dialog", (dialog) => asked.push(dialog.message()) && dialog.dismiss());
  const policy = await context.newCDPSession(page);
  await policy.send("Log.enable");
  const refused = [];
  policy.on("Log.entryAdded", ({ entry }) => entry.source === "security" && refused.push(entry.text));
  for (const [path, said] of views) {
    await page.goto(new URL(path, node.url).href);
    await until(`${said} on ${path}`, async () => (await page.innerText("#main")).includes(said));
    await until(`${path} to be live`, () => isLive(page));
    await untouched(page, path);
  }
  // The output, the dialogs of the verbs, and what the form shows of it.
  await page.goto(new URL(`/jobs/${jobs.failed}`, node.url).href);
  await until("the output", async () => (await page.innerText("#main")).includes(LINK));
  await untouched(page, "the output");
  await page.goto(new URL(`/submit?like=${jobs.done}`, node.url).href);
  await until("the form", async () => (await page.inputValue("#field-name")) === SCRIPT);
  assert.ok((await page.innerText(".command pre")).includes("<script>"), "the curl shows it to the letter");
  await untouched(page, "the form");
  assert.deepEqual(asked, [], "a dialog came up");
  assert.deepEqual(refused, [], "the policy had to hold something back");
  quiet(seen);
  await context.close();
  given.say(`${views.length} addresses with markup in them: none of it ran`);
}

async function untouched(page, where) {
  const found = await page.evaluate(() => ({
    taken: window.taken,
    scripts: [...document.scripts].filter((script) => script.textContent !== "").length,
    images: document.querySelectorAll("img, iframe, object, embed").length,
    bold: document.querySelectorAll("#main b:not([class])").length === 0 ? 0 : [...document.querySelectorAll("#main b")].filter((one) => one.textContent === "bold").length,
    links: [...document.querySelectorAll("a, form, area")].filter((link) => /^\s*javascript:/i.test(link.href ?? link.action ?? "")).length,
    handlers: [...document.querySelectorAll("*")].filter((one) => one.getAttributeNames().some((name) => name.startsWith("on"))).length,
  }));
  assert.deepEqual(found, { taken: undefined, scripts: 0, images: 0, bold: 0, links: 0, handlers: 0 }, where);
}
