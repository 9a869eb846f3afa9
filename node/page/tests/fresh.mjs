// Builds the page anew, elsewhere, and says which files differ from those in the tree. Packed files are compared by
// what is in them: how well they are packed is a matter of the library.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";

const home = dirname(dirname(fileURLToPath(import.meta.url)));
const out = mkdtempSync(join(tmpdir(), "relais-page-"));

function filesOf(folder) {
  const all = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const named = all.map((entry) => join(entry.parentPath, entry.name));
  return new Map(named.map((file) => [file.slice(folder.length + 1), content(file)]));
}

function content(file) {
  const bytes = readFileSync(file);
  return file.endsWith(".gz") ? gunzipSync(bytes) : bytes;
}

try {
  const env = { ...process.env, RELAIS_PAGE_OUT: out };
  const built = spawnSync("npm", ["run", "--silent", "build"], { cwd: home, env, encoding: "utf8" });
  if (built.status !== 0) throw new Error(`the page can't be built:\n${built.stdout}${built.stderr}`);
  const [fresh, kept] = [filesOf(out), filesOf(join(home, "built"))];
  const differing = [...new Set([...fresh.keys(), ...kept.keys()])].filter((name) => !fresh.get(name)?.equals(kept.get(name) ?? Buffer.alloc(0)));
  if (differing.length > 0) throw new Error(`built/ is not what the source makes: ${differing.join(", ")} differ; run \`npm run build\` in node/page and keep the result`);
  for (const [name, bytes] of kept) {
    const whole = name.endsWith(".gz") ? kept.get(name.slice(0, -3)) : bytes;
    if (!bytes.equals(whole ?? Buffer.alloc(0))) throw new Error(`${name} holds something else than its file; run \`npm run build\``);
  }
  console.log(`built anew: ${fresh.size} files, none differs`);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  rmSync(out, { recursive: true, force: true });
}
