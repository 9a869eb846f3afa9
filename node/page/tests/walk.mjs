// Every view, in every guise: it opens by its own address, says what it should, has no violation that axe finds, asks
// nothing of another origin, and breaks nothing of its policy. It leaves pictures of all of them, to be looked at.
import assert from "node:assert/strict";
import { createServer, request as ask1 } from "node:http";
import { ask, axe, harmless, isLive, quiet, until } from "./common.mjs";

const GUISES = [
  ["light", { colorScheme: "light" }],
  ["dark", { colorScheme: "dark" }],
  ["narrow", { colorScheme: "light", viewport: { width: 360, height: 780 } }],
  ["narrow-dark", { colorScheme: "dark", viewport: { width: 360, height: 780 } }],
];

async function furnish(node) {
  await ask(node, "/v1/queues/reports", { method: "PUT", body: { concurrency: 2, rate: { count: 100, per: "1s" } } });
  await ask(node, "/v1/schedules/nightly-report", { method: "PUT", body: { cron: "0 30 2 * * *", time_zone: "Europe/Paris", job: { kind: "exec", payload: { command: ["true"] } } } });
  const jobs = [];
  for (let number = 1; number <= 24; number += 1) {
    jobs.push({ kind: "exec", name: `report-${number}`, queue: number % 3 === 0 ? "reports" : "default", labels: { team: "data" }, payload: { command: ["sh", "-c", `echo report ${number}; exit $((${number} % 8 == 0))`] } });
  }
  await ask(node, "/v1/jobs:batch", { method: "POST", body: jobs });
  const tried = { kind: "exec", name: "render-film", retry: { max_attempts: 3, initial_interval: "100ms" }, payload: { command: ["sh", "-c", "echo frame $RELAIS_ATTEMPT; echo slow >&2; [ $RELAIS_ATTEMPT = 3 ] || exit 3; echo '{\"frames\": 60}' > $RELAIS_RESULT_FILE"] } };
  const job = await ask(node, "/v1/jobs?wait=60s", { method: "POST", body: tried });
  assert.equal(job.state, "succeeded", JSON.stringify(job));
  return job.id;
}

/** Each address, and a text that is there once it is all there. */
function views(job) {
  return [
    ["overview", "/", "3 of 3"],
    ["nodes", "/nodes", "dispatcher+worker"],
    ["jobs", "/jobs", "render-film"],
    ["jobs-filtered", "/jobs?state=failed&queue=default", "report-8"],
    ["job", `/jobs/${job}`, "frame 3"],
    ["queues", "/queues", "2 at once"],
    ["schedules", "/schedules", "At 02:30, Europe/Paris"],
    ["failovers", "/failovers", "without a dispatcher"],
    ["submit", "/submit", "The same as a command"],
    ["no-job", "/jobs/01a00000-0000-7000-8000-000000000000", "There is no such job"],
    ["no-such-group", "/jobs?name=no-job-has-this-name", "No job passes this filter"],
  ];
}

export async function walk(given) {
  const node = given.nodes[0];
  const job = await furnish(node);
  for (const [guise, options] of GUISES) {
    const { context, seen } = await given.watched(options);
    const page = await context.newPage();
    for (const [name, path, said] of views(job)) {
      const answer = await page.goto(new URL(path, node.url).href);
      policy(answer);
      await until(`${said} on ${name}`, async () => (await page.innerText("#main")).includes(said));
      await until(`${name} to be live`, () => isLive(page));
      await axe(page, `${name}, ${guise}`);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert.ok(wide <= 0, `${name}, ${guise}: wider than the screen by ${wide}`);
      await page.screenshot({ path: `${given.out}/${name}-${guise}.png`, fullPage: guise === "narrow" && name !== "jobs" });
    }
    quiet(seen);
    await context.close();
  }
  await dialogs(given, node, job);
  harmless();
  given.say(`${views(job).length} addresses in ${GUISES.length} guises: axe found nothing, no request left the origin`);
  await keyboard(given, node);
  await prefixed(given, node, job);
}

function policy(answer) {
  const headers = answer.headers();
  const csp = headers["content-security-policy"] ?? "";
  for (const part of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'self'"]) {
    assert.ok(csp.split("; ").includes(part), `${part} in ${csp}`);
  }
  assert.ok(!csp.includes("unsafe"), csp);
  assert.equal(headers["x-content-type-options"], "nosniff");
}

/** Dialogs are looked at by axe, too, and Escape leaves them. */
async function dialogs(given, node, job) {
  const { context, seen } = await given.watched({ colorScheme: "dark" });
  const page = await context.newPage();
  const open = [
    ["/nodes", "Drain n", "Drain n"],
    ["/jobs", "Cancel all …", "Cancel "],
    ["/queues", "Set limits of reports", "Queue reports"],
    ["/schedules", "Run now: nightly-report", "Run nightly-report now?"],
    ["/", "Token", "API token"],
    ["/", "Keys", "Keys"],
  ];
  // A job that waits, for the cancel to have something to count.
  await ask(node, "/v1/jobs", { method: "POST", body: { kind: "noop", payload: {}, delay: "24h", name: "much later" } });
  for (const [path, button, title] of open) {
    await page.goto(new URL(path, node.url).href);
    await page.getByRole("button", { name: button }).first().click();
    await until(`the dialog ${title}`, async () => (await page.innerText("dialog h2")).startsWith(title));
    await axe(page, `the dialog ${title}`);
    await page.screenshot({ path: `${given.out}/dialog-${path.slice(1) || button.toLowerCase()}.png` });
    await page.keyboard.press("Escape");
    await until(`the dialog ${title} to close`, async () => (await page.locator("dialog").count()) === 0);
  }
  // The form says what is wrong while one types, and shows the same as a curl.
  await page.goto(new URL("/submit", node.url).href);
  await page.getByLabel("Priority").fill("101");
  await page.getByRole("button", { name: "Submit the job" }).click();
  await until("what is wrong", async () => (await page.innerText("#main")).includes("a whole number from 0 to 100"));
  assert.equal(await page.evaluate(() => document.activeElement?.id), "field-command", "the first wrong field has the cursor");
  await axe(page, "the form with errors");
  await page.getByLabel("Shell line").fill("echo it's");
  assert.match(await page.innerText(".command pre"), /--json '\{"kind":"exec","payload":\{"command":\["sh","-c","echo it'\\''s"\]\}/);
  await page.goto(new URL(`/submit?like=${job}`, node.url).href);
  await until("the form that is like the job", async () => (await page.inputValue("#field-name")) === "render-film");
  quiet(seen);
  await context.close();
}

async function keyboard(given, node) {
  const { context, seen } = await given.watched();
  const page = await context.newPage();
  await page.goto(node.url);
  await until("the overview", () => isLive(page));
  await page.keyboard.type("gn");
  await page.waitForURL("**/nodes");
  await page.keyboard.type("?");
  await until("the help", async () => (await page.innerText("dialog h2")) === "Keys");
  await page.getByLabel("Single keys do this").uncheck();
  await page.keyboard.press("Escape");
  await page.keyboard.type("gj");
  assert.equal(new URL(page.url()).pathname, "/nodes", "keys that are off do nothing");
  await page.getByRole("button", { name: "Keys" }).click();
  await page.getByLabel("Single keys do this").check();
  await page.keyboard.press("Escape");
  await page.keyboard.type("/");
  await page.waitForURL("**/jobs");
  await until("the cursor in the filter", () => page.evaluate(() => document.activeElement?.id === "filter-name"));
  await page.keyboard.type("film");
  await page.keyboard.press("Enter");
  await page.waitForURL("**/jobs?name=film");
  await until("the one job", async () => (await page.locator("[data-row]").count()) === 1);
  await page.keyboard.press("Tab");
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press("j");
  await page.keyboard.press("Enter");
  await until("the job", async () => (await page.innerText("h1")) === "Job");
  await page.goBack();
  await until("the filter that the address holds", async () => (await page.inputValue("#filter-name")) === "film");
  quiet(seen);
  await context.close();
}

/** Behind a proxy that takes a prefix away. */
async function prefixed(given, node, job) {
  const target = new URL(node.url);
  const proxy = createServer((incoming, outgoing) => {
    if (!incoming.url.startsWith("/ops/relais/")) return void outgoing.writeHead(404).end();
    const passed = ask1({ host: target.hostname, port: target.port, path: incoming.url.slice("/ops/relais".length), method: incoming.method, headers: incoming.headers }, (answer) => {
      outgoing.writeHead(answer.statusCode, answer.headers);
      answer.pipe(outgoing);
    });
    passed.on("error", () => outgoing.destroy());
    outgoing.on("close", () => passed.destroy());
    incoming.pipe(passed);
  });
  await new Promise((done) => proxy.listen(0, "127.0.0.1", done));
  const origin = `http://127.0.0.1:${proxy.address().port}`;
  const { context, seen } = await given.watched({ origins: [origin] });
  const page = await context.newPage();
  const asked = [];
  page.on("request", (request) => asked.push(new URL(request.url()).pathname));
  await page.goto(`${origin}/ops/relais/jobs/${job}`);
  await until("the job behind the proxy", async () => (await page.innerText("#main")).includes("frame 3"));
  await page.getByRole("link", { name: "Nodes" }).click();
  await page.waitForURL(`${origin}/ops/relais/nodes`);
  await until("the nodes behind the proxy", async () => (await page.innerText("#main")).includes("dispatcher+worker"));
  const outside = asked.filter((path) => !path.startsWith("/ops/relais/"));
  assert.deepEqual(outside, [], "all is below the prefix");
  quiet(seen);
  await context.close();
  proxy.close();
  proxy.closeAllConnections();
}
