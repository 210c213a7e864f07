// Files that open in the browser, in real Chromium: what is downloaded has the SHA-256 of what was sealed; what was changed on its way, or
// is not what its writer signed, never becomes a file; the viewer draws reads and variants, at phone and desktop size. axe-core looks at
// our own parts, a policy violation or a request that leaves loopback is a failure.
//
//   node open.mjs PLAN SCREENSHOTS      (packages from target/browser; see testing/setup.sh browser)
//
// PLAN is JSON: {"port", "sign_in_name", "password", "dataset", "good": [{"path", "bytes", "sha256"}], "bad": [{"dataset", "path", "says"}],
// "genome", "views": [PATH], "web": FOLDER, "source": FOLDER}
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createReadStream, mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [planFile, screenshots] = process.argv.slice(2);
const plan = JSON.parse(readFileSync(planFile, "utf8"));
const require = createRequire(join(process.env.CHORION_BROWSER_PACKAGES, "package.json"));
const { chromium } = require("playwright-core");
const { buildSync } = createRequire(join(plan.web, "package.json"))("esbuild");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
mkdirSync(screenshots, { recursive: true });

const url = "https://localhost:8470";
const browser = await chromium.launch({
  executablePath: process.env.CHORION_CHROMIUM ?? "/usr/bin/chromium",
  // The certificate of a test is nobody's; a worker is taken from such an address only where all certificates are let pass.
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--ignore-certificate-errors",
    "--disable-component-update", "--disable-sync", `--host-resolver-rules=MAP localhost:8470 127.0.0.1:${plan.port}`],
  timeout: 120_000,
});

const violations = [];
const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2, colorScheme: "dark" };
const DESKTOP = { viewport: { width: 1280, height: 900 }, colorScheme: "light" };

async function open(name, options) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, acceptDownloads: true, ...options });
  context.setDefaultTimeout(90_000);
  context.on("request", (request) => {
    if (!request.url().startsWith(`${url}/`) && !/^(blob|data):/.test(request.url())) violations.push(`${name}: a request to ${request.url()}`);
  });
  context.on("console", (message) => {
    if (/Content Security Policy|Trusted/i.test(message.text())) violations.push(`${name}: ${message.text()}`);
    else if (process.env.CHORION_SHOW_CONSOLE) console.error(`${name} ${message.type()}: ${message.text()}`);
  });
  const page = await context.newPage();
  page.on("pageerror", (error) => violations.push(`${name}: ${error}`));
  await page.goto(`${url}/sign-in`);
  await page.fill("#name", plan.sign_in_name);
  await page.fill("#password", plan.password);
  await page.locator('form[action="/sign-in"] button').click();
  await page.waitForURL(`${url}/`);
  return { name, page, context };
}

async function look({ page, name }, title) {
  await page.screenshot({ path: join(screenshots, `${name}-${title}.png`), fullPage: true });
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (wide > 0) violations.push(`${name} ${title} is ${wide} pixels too wide`);
  await page.evaluate(axe);
  // What is inside the viewer is somebody else's.
  const result = await page.evaluate(() => window.axe.run({ exclude: ["#viewer"] },
    { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
  for (const found of result.violations) violations.push(`${name} ${title}: axe ${found.id}: ${found.nodes.map((node) => node.target).join(", ")}`);
}

const sha256 = async (path) => {
  const hash = createHash("sha256");
  for await (const part of createReadStream(path)) hash.update(part);
  return hash.digest("hex");
};

async function atFile(page, dataset, path) {
  await page.goto(`${url}/open/${dataset}?file=${encodeURIComponent(path)}`);
  await page.locator("[data-open][data-state=ready]").waitFor();
}

const desktop = await open("desktop", DESKTOP);
const phone = await open("phone", PHONE);

// 1. From the dataset's page to a file on the disk.
await desktop.page.goto(`${url}/datasets/${plan.dataset}`);
await look(desktop, "01-dataset");
await phone.page.goto(`${url}/datasets/${plan.dataset}`);
await look(phone, "01-dataset");
let downloaded = 0;
const rates = [];
for (const { path, bytes, sha256: expected } of plan.good) {
  const { page } = desktop;
  if (downloaded === 0) {
    await page.goto(`${url}/datasets/${plan.dataset}`);
    await page.locator(`a[href*="file=${encodeURIComponent(path)}"]`, { hasText: "Download" }).click();
    await page.locator("[data-open][data-state=ready]").waitFor();
    await look(desktop, "02-file");
  } else {
    await atFile(page, plan.dataset, path);
  }
  const begun = Date.now();
  const [download] = await Promise.all([page.waitForEvent("download"), page.locator("#open-link").click()]);
  assert.equal(await download.failure(), null, path);
  const seconds = (Date.now() - begun) / 1000;
  if (bytes > 1 << 20) rates.push(Math.round(bytes / 1048576 / seconds));
  assert.equal(download.suggestedFilename(), path.split("/").at(-1));
  assert.equal(await sha256(await download.path()), expected, path);
  await page.locator("[data-state=done]").waitFor();
  downloaded += 1;
  if (downloaded === 1) await look(desktop, "03-whole");
}

// 2. What was changed, or is not what was signed, never becomes a file, and the page says so.
let broken = 0;
for (const { dataset, path, says } of plan.bad) {
  const { page } = phone;
  await atFile(page, dataset, path);
  const [download] = await Promise.all([page.waitForEvent("download"), page.locator("#open-link").click()]);
  assert.notEqual(await download.failure(), null, `${path} became a file`);
  await page.locator("[data-state=failed] .refusal", { hasText: says }).waitFor();
  await look(phone, `04-broken-${broken}`);
  broken += 1;
}

// 3. The viewer.
let drawn = 0;
for (const path of plan.views) {
  for (const seat of [desktop, phone]) {
    const { page } = seat;
    await page.goto(`${url}/open/${plan.genome}/view?file=${encodeURIComponent(path)}`);
    await page.locator("[data-view][data-state]").waitFor();
    assert.equal(await page.locator("[data-view]").getAttribute("data-state"), "drawn", await page.locator("#view-state").innerText());
    // Something is drawn in a track that is taller than a ruler: pixels that are neither clear nor white.
    const painted = () => page.evaluate(() => {
      const counts = [...document.querySelector("#viewer").shadowRoot.querySelectorAll(".igv-viewport canvas")].map((canvas) => {
        if (canvas.width === 0 || canvas.clientHeight <= 60) return 0;
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        let count = 0;
        for (let at = 0; at < data.length; at += 4) if (data[at + 3] > 0 && data[at] + data[at + 1] + data[at + 2] < 740) count += 1;
        return count;
      });
      return Math.max(0, ...counts);
    });
    // A few variants are a few small boxes; reads are thousands of pixels.
    const least = path.endsWith(".vcf.gz") ? 20 : 500;
    let count = 0;
    for (let tries = 0; tries < 60 && count < least; tries += 1) {
      count = await painted();
      if (count < least) await page.waitForTimeout(500);
    }
    const name = path.split("/").at(-1);
    await look(seat, `05-view-${name}`);
    assert.ok(count >= least, `${seat.name}: nothing is drawn of ${path}: ${count} pixels`);
    drawn += 1;
  }
}

// 4. How fast an object is opened that is in memory, beside bare WebCrypto in the same page: MiB a second, medians.
const { outputFiles } = buildSync({
  entryPoints: [join(plan.source, "opening/segments.ts")], bundle: true, write: false, format: "iife", globalName: "opening", target: "es2022",
});
await desktop.page.goto(`${url}/account`);
await desktop.page.evaluate(outputFiles[0].text.replace("var opening", "globalThis.opening"));
const opening = await desktop.page.evaluate(async () => {
  const { PREFIX, SEGMENT, SLOT, cipherOf, openObject, sealSegment } = globalThis.opening;
  const median = (all) => all.toSorted((a, b) => a - b)[Math.floor(all.length / 2)];
  const rate = (bytes, ms) => bytes / 1048576 / (ms / 1000);
  const secret = crypto.getRandomValues(new Uint8Array(44));
  const sealing = await cipherOf(secret.slice(), "encrypt");
  const bytes = 127 * SEGMENT + 100;
  const sealed = new Uint8Array(PREFIX + 127 * SLOT + 116);
  for (let index = 0; index < 128; index += 1) {
    sealed.set(await sealSegment(sealing, index, new Uint8Array(index < 127 ? SEGMENT : 100)), PREFIX + index * SLOT);
  }
  const key = await crypto.subtle.generateKey({ name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]);
  const segments = await Promise.all(Array.from({ length: 128 }, async () => {
    const iv = crypto.getRandomValues(new Uint8Array(12));
    return { iv, sealed: await crypto.subtle.encrypt({ name: "AES-GCM", iv }, key, new Uint8Array(65_536)) };
  }));
  const bare = async (atOnce) => {
    const begun = performance.now();
    for (let from = 0; from < segments.length; from += atOnce) {
      await Promise.all(segments.slice(from, from + atOnce).map((one) => crypto.subtle.decrypt({ name: "AES-GCM", iv: one.iv }, key, one.sealed)));
    }
    return rate(128 * 65_536, performance.now() - begun);
  };
  let room;
  const ours = async () => {
    const begun = performance.now();
    room = await openObject(await cipherOf(secret.slice(), "decrypt"), sealed, room);
    return rate(bytes, performance.now() - begun);
  };
  const [single, many, own] = [[], [], []];
  for (let round = 0; round < 25; round += 1) {
    single.push(await bare(1));
    many.push(await bare(16));
    own.push(await ours());
  }
  const best = Math.max(median(single), median(many));
  return { openedMiBs: Math.round(median(own)), bareMiBs: Math.round(best), openedOverBare: Number((median(own) / best).toFixed(2)) };
});

await browser.close();
assert.deepEqual(violations, []);
console.log(JSON.stringify({ downloaded, broken, drawn, violations: violations.length, downloadMiBs: rates, ...opening }));
