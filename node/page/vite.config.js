// How the page is built: one script and one style sheet with plain names. The node that serves them puts a hash of
// their content into the address; see node/src/http/page.rs.
import { defineConfig } from "vite";
import { gzipSync } from "node:zlib";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

const OUT = process.env.RELAIS_PAGE_OUT ?? "built";

/** Leaves out what only matters across origins, and puts a packed file beside each that is served. */
function packed() {
  return {
    name: "packed",
    transformIndexHtml: { order: "post", handler: (html) => html.replaceAll(" crossorigin", "") },
    writeBundle(_, bundle) {
      for (const file of Object.values(bundle)) {
        if (!/\.(js|css)$/.test(file.fileName)) continue;
        const text = file.type === "chunk" ? file.code : file.source;
        writeFileSync(join(OUT, `${file.fileName}.gz`), gzipSync(text, { level: 9 }));
      }
    },
  };
}

/** While the page is worked on, a running node answers for the API: `RELAIS_API=http://… npm run dev`. */
const api = {
  target: process.env.RELAIS_API ?? "http://127.0.0.1:7700",
  changeOrigin: true,
  // The node refuses what another site's page asks for.
  configure: (proxy) => proxy.on("proxyReq", (request) => request.removeHeader("origin")),
};
const rooted = { name: "rooted", apply: "serve", transformIndexHtml: (html) => html.replace('<base href="./">', '<base href="/">') };

export default defineConfig({
  base: "./",
  plugins: [packed(), rooted],
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  server: { proxy: { "/v1": api, "/metrics": api } },
  build: {
    outDir: OUT,
    emptyOutDir: true,
    target: "es2022",
    modulePreload: false,
    assetsInlineLimit: 0,
    cssCodeSplit: false,
    rollupOptions: {
      output: {
        entryFileNames: "assets/page.js",
        assetFileNames: "assets/page[extname]",
      },
    },
  },
});
