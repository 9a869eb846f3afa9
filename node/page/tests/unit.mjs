// What of the page is pure, without a browser: cron texts in words, the form's spec, the parts of an event stream.
import assert from "node:assert/strict";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { createServer } from "vite";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
// What the modules expect of a browser when they are loaded.
globalThis.document = { baseURI: "http://node/" };
globalThis.sessionStorage = { getItem: () => null };
globalThis.location = new URL("http://node/");
const server = await createServer({ root, configFile: `${root}/vite.config.js`, logLevel: "error", server: { middlewareMode: true, hmr: false, ws: false }, appType: "custom", optimizeDeps: { noDiscovery: true } });

const tests = {
  async cron() {
    const { cronWords } = await server.ssrLoadModule("/src/cron.ts");
    const table = [
      ["0 30 2 * * *", "at 02:30"],
      ["30 2 * * *", "at 02:30"],
      ["0,30 8,17 * * *", "at 08:00, 08:30, 17:00 and 17:30"],
      ["15 30 2 * * *", "at 02:30:15"],
      ["*/20 * * * * *", "every 20 seconds"],
      ["* * * * *", "every minute"],
      ["*/5 * * * *", "every 5 minutes"],
      ["*/5 9-17 * * 1-5", "every 5 minutes from 09:00 to 17:59 on weekdays"],
      ["0 * * * *", "at 0 min past every hour"],
      ["0 */4 * * *", "every 4 hours"],
      ["10 */4 * * *", "at 10 min past, every 4 hours"],
      ["0 9 * * MON,WED", "at 09:00 on Monday and Wednesday"],
      ["0 9 * * 7", "at 09:00 on Sunday"],
      ["0 0 1 1 *", "at 00:00 on day 1 of the month in January"],
      ["0 0 L * *", "at 00:00 on the last day of the month"],
      ["0 0 15W * *", "at 00:00 on the working day nearest to day 15"],
      ["0 8 * * FRI#2", "at 08:00 on the second Friday of the month"],
      ["0 8 * * 5L", "at 08:00 on the last Friday of the month"],
      ["0 8 13 * FRI", "at 08:00 on day 13 of the month or Friday"],
      ["0 6 * 3-5 *", "at 06:00 in March to May"],
      ["@daily", "at 00:00"],
      ["nonsense", null],
    ];
    for (const [text, said] of table) assert.equal(cronWords(text), said, text);
  },

  async spec() {
    const { BLANK, build, like, parted, placeOf } = await server.ssrLoadModule("/src/views/submit/spec.ts");
    assert.deepEqual(parted(`a 'b c' d\\ e "f'g" ''`), ["a", "b c", "d e", "f'g", ""]);
    assert.equal(parted("a 'b"), null);
    const exec = build({ ...BLANK, command: "echo hi", env: "A=1\nB = 2", priority: "70", labels: "team=data, zone=eu", attempts: "3", memory: "512MiB" });
    assert.deepEqual(exec.errors, {});
    assert.deepEqual(exec.spec, {
      kind: "exec", payload: { command: ["sh", "-c", "echo hi"], env: { A: "1", B: "2" } }, priority: 70,
      retry: { max_attempts: 3 }, labels: { team: "data", zone: "eu" }, requires: { memory: "512MiB" },
    });
    const wrong = build({ ...BLANK, command: " ", env: "RELAIS_X=1", cwd: "srv", priority: "101", queue: "Big", timeout: "soon", start: "delay", cpu: "-1", name: "x".repeat(201) });
    assert.deepEqual(Object.keys(wrong.errors).sort(), ["command", "cpu", "cwd", "delay", "env", "name", "priority", "queue", "timeout"]);
    assert.ok(build({ ...BLANK, kind: "http", url: "ftp://x" }).errors.url);
    assert.ok(build({ ...BLANK, kind: "external", payload: "{" }).errors.payload);
    assert.equal(placeOf("/payload/env/A", BLANK), "env");
    assert.equal(placeOf("/unknown", BLANK), null);
    const again = like({ kind: "exec", name: "n", queue: "q", priority: 50, payload: { command: ["ls", "a b"] }, timeout: null, labels: {}, retry: { max_attempts: 1 } });
    assert.deepEqual(build(again).spec, { kind: "exec", payload: { command: ["ls", "a b"] }, name: "n", queue: "q" });
  },

  async frames() {
    const { Frames } = await server.ssrLoadModule("/src/api/stream.ts");
    const text = "retry: 1000\n\nid: 0.1.0\nevent: job.queued\ndata: {\"a\":1}\n\n: alive\n\ndata: x\ndata: y\n\n";
    const whole = [...new Frames().push(text)];
    assert.deepEqual(whole, [{ id: "0.1.0", event: "job.queued", data: '{"a":1}' }, { id: null, event: "message", data: "x\ny" }]);
    const cut = new Frames();
    assert.deepEqual([...text].flatMap((char) => [...cut.push(char)]), whole, "however the stream is cut");
  },

  async places() {
    globalThis.matchMedia = () => ({ addEventListener() {} });
    const { placesElsewhere } = await server.ssrLoadModule("/src/live/away.ts");
    const row = (name, http, status = "online") => ({ name, http, status, voter: true, last_heard_ms: 5 });
    const rows = [row("n1", "http://127.0.0.1:7700"), row("n2", "http://127.0.0.1:7701", "offline"), row("n3", "http://127.0.0.1:7702/"), row("n4", "http://10.0.0.9:7700"), row("n5", "javascript:alert(1)")];
    const at = new URL("http://127.0.0.1:7700/jobs/0196?a=b");
    const found = placesElsewhere(rows, "n1", at, new URL("http://127.0.0.1:7700/"));
    assert.deepEqual(found, [
      { name: "n3", href: "http://127.0.0.1:7702/jobs/0196?a=b", direct: true },
      { name: "n4", href: "http://10.0.0.9:7700/jobs/0196?a=b", direct: false },
    ]);
    const behind = placesElsewhere(rows, "n1", new URL("https://ops.example/relais/nodes"), new URL("https://ops.example/relais/"));
    assert.ok(behind.every((one) => !one.direct), "behind a proxy nobody knows what can be reached");
    assert.equal(behind[0].href, "http://127.0.0.1:7702/nodes");
  },

  async texts() {
    const { bytes, count, durationMs, quantile, relative, span } = await server.ssrLoadModule("/src/format.ts");
    assert.deepEqual([span(5), span(1_500), span(61_000), span(7_260_000), span(null)], ["5 ms", "1.5 s", "1 min 1 s", "2 h 1 min", "–"]);
    assert.deepEqual([bytes(512), bytes(1536), bytes(20 << 20)], ["512 B", "1.5 KiB", "20.0 MiB"]);
    assert.equal(count(1234567), "1,234,567");
    assert.deepEqual([durationMs("1h30m"), durationMs("90"), durationMs("1.5h")], [5_400_000, null, null]);
    assert.equal(relative("2026-01-01T00:00:10Z", Date.parse("2026-01-01T00:00:00Z")), "in 10 s");
    assert.deepEqual([quantile([1, 2, 3, 4], 0.5), quantile([], 0.5)], [3, null]);
    const { curl, quoted } = await server.ssrLoadModule("/src/commands.ts");
    assert.equal(quoted("it's"), `'it'\\''s'`);
    assert.equal(curl({ method: "POST", url: "http://n/v1/jobs", body: { a: 1 }, hasToken: false }), `curl -sS http://n/v1/jobs --json '{"a":1}'`);
    const { shown } = await server.ssrLoadModule("/src/live/log.ts");
    assert.equal(shown("10 %\r20 %\r\u001b[32mdone\u001b[0m\r"), "done");
  },
};

let failed = 0;
for (const [name, test] of Object.entries(tests)) {
  try {
    await test();
    console.log(`ok ${name}`);
  } catch (error) {
    failed += 1;
    console.error(`FAILED ${name}: ${error.message}`);
  }
}
await server.close();
process.exit(failed === 0 ? 0 : 1);
