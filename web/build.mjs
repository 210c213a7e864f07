// Makes the authenticator's files: `node web/build.mjs` after the module was compiled (see the Makefile's `authenticator`).
//
//   in    target/wasm32-unknown-unknown/wasm/authenticator.wasm, web/authenticator, packages under target/web
//   out   target/web/authenticator: files named by their hash, each also compressed, and hashes.txt with the SHA-256 of all
import { createHash } from "node:crypto";
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const target = process.env.CARGO_TARGET_DIR ?? join(root, "target");
// Packages and the tool that makes the module's script are the same whatever is built with them.
const tools = process.env.CHORION_WEB_TOOLS ?? join(root, "target");
const source = join(root, "web/authenticator");
const out = join(target, "web/authenticator");
const wasm = join(root, "target/web/wasm");
const packages = join(tools, "web/package.json");
const { buildSync } = createRequire(packages)("esbuild");

const module = join(target, "wasm32-unknown-unknown/wasm/authenticator.wasm");
execFileSync(join(tools, "bindgen/debug/bindgen"), [module, wasm], { stdio: "inherit" });
if (process.env.CHORION_WEB_TYPES !== "no") {
  execFileSync(join(tools, "web/node_modules/.bin/tsc"), ["--project", source], { stdio: "inherit" });
}

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const hash = (bytes) => createHash("sha256").update(bytes).digest("hex");
const hashes = {};
let compressed = 0;

function put(name, bytes) {
  bytes = Buffer.from(bytes);
  hashes[`/${name}`] = hash(bytes);
  writeFileSync(join(out, name), bytes);
  const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length };
  const small = brotliCompressSync(bytes, { params });
  writeFileSync(join(out, `${name}.br`), small);
  writeFileSync(join(out, `${name}.gz`), gzipSync(bytes, { level: 9 }));
  compressed += small.length;
  return name;
}
const named = (stem, end, bytes) => put(`${stem}-${hash(bytes).slice(0, 16)}.${end}`, bytes);

function bundle(entry, define) {
  const { outputFiles } = buildSync({
    entryPoints: [join(source, entry)], bundle: true, minify: true, write: false, format: "esm", target: "es2022", charset: "utf8",
    legalComments: "none", define, tsconfig: join(source, "tsconfig.json"), alias: { authenticator: join(wasm, "authenticator.js") },
  });
  return outputFiles[0].contents;
}

const moduleName = named("authenticator", "wasm", readFileSync(join(wasm, "authenticator_bg.wasm")));
const script = named("app", "js", bundle("src/main.ts", { WASM: JSON.stringify(`/${moduleName}`) }));
const style = named("style", "css", bundle("style.css", {}));
put("icon.svg", readFileSync(join(root, "crates/hub/assets/icon.svg")));
put("manifest.webmanifest", readFileSync(join(source, "manifest.webmanifest")));
const page = readFileSync(join(source, "index.html"), "utf8").replaceAll("{{STYLE}}", style).replaceAll("{{SCRIPT}}", script);
put("index.html", page);
const version = hash(JSON.stringify(hashes)).slice(0, 16);
put("sw.js", bundle("src/sw.ts", { FILES: JSON.stringify(hashes), VERSION: JSON.stringify(version) }));
const list = Object.entries(hashes).map(([path, sum]) => `${sum}  ${path.slice(1)}\n`).sort().join("");
writeFileSync(join(out, "hashes.txt"), list);
console.log(`authenticator: version ${version}, ${Object.keys(hashes).length} files, ${Math.ceil(compressed / 1024)} KiB compressed, in ${out}`);
const most = 700 * 1024;
if (compressed > most) {
  console.error(`error: the authenticator has ${compressed} bytes compressed, and ${most} is the most`);
  process.exit(1);
}
