// The page in a real browser, on a real cluster. It is started by tests/tests/page.rs, which holds the processes: what
// this wants done to them it says on a line (`kill n2`, `start n2`), and waits for `done` on its input.
//
//   node browser.mjs '{"nodes": [{"name", "url"}], "out": "target/page", "chromium": "…", "part": "walk|live|list|hostile"}'
import assert from "node:assert/strict";
import { createInterface } from "node:readline";
import { mkdirSync } from "node:fs";
import { chromium } from "playwright-core";
import { walk } from "./walk.mjs";
import { hostile } from "./hostile.mjs";
import { list } from "./list.mjs";
import { live } from "./live.mjs";

const given = JSON.parse(process.argv[2] ?? "{}");
mkdirSync(given.out, { recursive: true });
const input = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Has the holder of the cluster do something to a node. */
async function act(verb, name) {
  console.log(`${verb} ${name}`);
  const { value } = await input.next();
  assert.equal(value, "done", `${verb} ${name}: ${value}`);
}

const sandbox = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
const browser = await chromium.launch({ executablePath: given.chromium, args: [...sandbox, "--disable-dev-shm-usage"] });

/** A context whose requests, errors and refusals are watched. */
async function watched(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1360, height: 860 }, acceptDownloads: true, ...options });
  // While one works on the page: the files of built/, and not those that the program was made with.
  if (process.env.RELAIS_PAGE_BUILT) {
    await context.route(/\/assets\/page-[0-9a-f]+\.(js|css)$/, (route) => {
      const ending = route.request().url().split(".").at(-1);
      return route.fulfill({ path: `built/assets/page.${ending}`, contentType: ending === "js" ? "text/javascript" : "text/css" });
    });
  }
  const origins = new Set(given.nodes.map((node) => new URL(node.url).origin));
  const seen = { foreign: [], complaints: [] };
  context.on("request", (request) => {
    const url = new URL(request.url());
    const own = request.frame().url() === "about:blank" ? url.origin : new URL(request.frame().url()).origin;
    const isNavigation = request.isNavigationRequest() && (origins.has(url.origin) || options.origins?.includes(url.origin));
    if (url.protocol !== "blob:" && url.origin !== own && !isNavigation) seen.foreign.push(request.url());
  });
  context.on("console", (message) => {
    const text = message.text();
    // That a request failed, as is meant to happen here, the browser says by itself.
    if (message.type() === "error" && !text.startsWith("Failed to load resource")) seen.complaints.push(text);
  });
  context.on("weberror", (error) => seen.complaints.push(error.error().stack ?? error.error().message));
  return { context, seen };
}

const parts = { walk, live, list, hostile };
// `RELAIS_PAGE_PART` is for whoever works on one part.
const wanted = [process.env.RELAIS_PAGE_PART ?? given.part];
let failed = false;
for (const name of wanted) {
  const began = Date.now();
  try {
    await parts[name]({ ...given, browser, watched, act, say: (text) => console.log(`# ${text}`) });
    console.log(`# ${name}: passed in ${Date.now() - began} ms`);
  } catch (error) {
    failed = true;
    console.log(`# ${name}: FAILED: ${error.stack ?? error}`);
    break;
  }
}
await browser.close();
process.exit(failed ? 1 : 0);
