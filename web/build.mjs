// Makes what browsers run: `node web/build.mjs` after the modules were compiled (see the Makefile's `authenticator`).
//
//   in    target/wasm32-unknown-unknown/wasm/{authenticator,opener}.wasm, web/{authenticator,site,opening}, packages under target/web
//   out   target/web/authenticator, the authenticator's files, and target/web/site, those of the website's pages that open files: named by
//         their hash, each also compressed, and hashes.txt with the SHA-256 of all
import { createHash } from "node:crypto";
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const target = process.env.CARGO_TARGET_DIR ?? join(root, "target");
// Packages and the tool that makes a module's script are the same whatever is built with them.
const tools = process.env.CHORION_WEB_TOOLS ?? join(root, "target");
const wasm = join(root, "target/web/wasm");
const { buildSync } = createRequire(join(tools, "web/package.json"))("esbuild");
const hash = (bytes) => createHash("sha256").update(bytes).digest("hex");

// One folder of files: what is put into it, and how much that is.
class Pages {
  constructor(name) {
    this.name = name;
    this.source = join(root, "web", name);
    this.out = join(target, "web", name);
    this.hashes = {};
    this.compressed = {};
    if (process.env.CHORION_WEB_TYPES !== "no") {
      execFileSync(join(tools, "web/node_modules/.bin/tsc"), ["--project", this.source], { stdio: "inherit" });
    }
    rmSync(this.out, { recursive: true, force: true });
    mkdirSync(this.out, { recursive: true });
  }

  put(name, bytes) {
    bytes = Buffer.from(bytes);
    this.hashes[`/${name}`] = hash(bytes);
    writeFileSync(join(this.out, name), bytes);
    const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length };
    const small = brotliCompressSync(bytes, { params });
    writeFileSync(join(this.out, `${name}.br`), small);
    writeFileSync(join(this.out, `${name}.gz`), gzipSync(bytes, { level: 9 }));
    this.compressed[name] = small.length;
    return name;
  }

  named(stem, end, bytes) {
    return this.put(`${stem}-${hash(bytes).slice(0, 16)}.${end}`, bytes);
  }

  bundle(entry, { define = {}, format = "esm" } = {}) {
    const { outputFiles } = buildSync({
      entryPoints: [join(this.source, entry)], bundle: true, minify: true, write: false, format, target: "es2022", charset: "utf8",
      legalComments: "none", define, tsconfig: join(this.source, "tsconfig.json"),
      alias: { authenticator: join(wasm, "authenticator.js"), opener: join(wasm, "opener.js"), igv: join(tools, "web/node_modules/igv/dist/igv.esm.min.js"), qr: join(tools, "web/node_modules/qr/decode.js") },
    });
    return outputFiles[0].contents;
  }

  // The list of hashes; fails where a limit in bytes, by the beginning of a name or "" for all, is passed.
  end(most) {
    const list = Object.entries(this.hashes).map(([path, sum]) => `${sum}  ${path.slice(1)}\n`).sort().join("");
    writeFileSync(join(this.out, "hashes.txt"), list);
    const sizes = Object.entries(this.compressed);
    const under = (stem) => sizes.filter(([name]) => name.startsWith(stem)).reduce((sum, [, bytes]) => sum + bytes, 0);
    console.log(`${this.name}: ${sizes.length} files, ${Math.ceil(under("") / 1024)} KiB compressed, in ${this.out}`);
    for (const [stem, bytes] of Object.entries(most)) {
      if (under(stem) > bytes) {
        console.error(`error: ${stem === "" ? "all files" : stem} of ${this.name}: ${under(stem)} bytes compressed, and ${bytes} is the most`);
        process.exit(1);
      }
    }
  }
}

for (const name of ["authenticator", "opener"]) {
  const module = join(target, `wasm32-unknown-unknown/wasm/${name}.wasm`);
  execFileSync(join(tools, "bindgen/debug/bindgen"), [module, wasm], { stdio: "inherit" });
}

{
  const pages = new Pages("authenticator");
  const module = pages.named("authenticator", "wasm", readFileSync(join(wasm, "authenticator_bg.wasm")));
  const script = pages.named("app", "js", pages.bundle("src/main.ts", { define: { WASM: JSON.stringify(`/${module}`) } }));
  const style = pages.named("style", "css", pages.bundle("style.css"));
  pages.put("icon.svg", readFileSync(join(root, "crates/hub/assets/icon.svg")));
  pages.put("manifest.webmanifest", readFileSync(join(pages.source, "manifest.webmanifest")));
  pages.put("qr-licence.txt", readFileSync(join(tools, "web/node_modules/qr/LICENSE-MIT")));
  const page = readFileSync(join(pages.source, "index.html"), "utf8").replaceAll("{{STYLE}}", style).replaceAll("{{SCRIPT}}", script);
  pages.put("index.html", page);
  const version = hash(JSON.stringify(pages.hashes)).slice(0, 16);
  pages.put("sw.js", pages.bundle("src/sw.ts", { define: { FILES: JSON.stringify(pages.hashes), VERSION: JSON.stringify(version) } }));
  console.log(`authenticator: version ${version}`);
  pages.end({ "": 700 * 1024 });
}

{
  const pages = new Pages("site");
  const module = pages.named("opener", "wasm", readFileSync(join(wasm, "opener_bg.wasm")));
  pages.put("worker.js", pages.bundle("src/worker.ts", { define: { WASM: JSON.stringify(`/assets/${module}`) }, format: "iife" }));
  pages.named("download", "js", pages.bundle("src/download.ts", { format: "iife" }));
  pages.named("view", "js", pages.bundle("src/view.ts", { format: "iife" }));
  pages.put("igv-licence.txt", readFileSync(join(tools, "web/node_modules/igv/LICENSE")));
  // What a download loads beside its page; the viewer is a program of somebody else's, and weighs what it weighs.
  pages.end({ opener: 192 * 1024, worker: 8 * 1024, download: 4 * 1024 });
}
