// The website with data in it, in real Chromium: every page of a list at phone and desktop size, light and dark, each given to
// axe-core and to the camera; a policy violation or a request that leaves loopback is a failure. Then by keyboard alone, how
// heavy pages are and how soon they are painted, and, where the plan says so, an app launched from its form.
//
//   node website.mjs PLAN SCREENSHOTS      (packages from target/browser; see testing/setup.sh browser)
//
// PLAN is JSON: {"port", "sign_in_name", "password", "pages": [{"path", "title", "says"}], "lists": [PATH],
// "acts": [{"path", "title", "fill": {FIELD: TEXT}, "choose": {FIELD: VALUE}, "file"?: {"field", "into", "text"}, "press", "says"}],
// "live": PATH | null, "launch": {"path", "input", "project", "params", "prints"} | null}
import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [planFile, screenshots] = process.argv.slice(2);
const plan = JSON.parse(readFileSync(planFile, "utf8"));
const require = createRequire(join(process.env.CHORION_BROWSER_PACKAGES, "package.json"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
mkdirSync(screenshots, { recursive: true });

// The hub of a test answers under one name and port; where it listens is another port each time.
const url = "https://localhost:8470";
const browser = await chromium.launch({
  executablePath: process.env.CHORION_CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", `--host-resolver-rules=MAP localhost:8470 127.0.0.1:${plan.port}`],
  timeout: 120_000,
});

const violations = [];
let looked = 0;
const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 };
const DESKTOP = { viewport: { width: 1280, height: 800 } };

async function open(name, options) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, ...options });
  context.setDefaultTimeout(60_000);
  context.on("request", (request) => {
    if (!request.url().startsWith(`${url}/`)) violations.push(`${name}: a request to ${request.url()}`);
  });
  const page = await context.newPage();
  page.on("console", (message) => {
    if (message.type() === "error" && /Content Security Policy|Trusted/i.test(message.text())) {
      violations.push(`${name}: ${message.text()}`);
    }
  });
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
  looked += 1;
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (wide > 0) violations.push(`${name} ${title} is ${wide} pixels too wide`);
  await page.evaluate(axe);
  const result = await page.evaluate(() =>
    window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
  for (const found of result.violations) {
    violations.push(`${name} ${title}: axe ${found.id}: ${found.nodes.map((node) => node.target).join(", ")}`);
  }
}

// Letters in a drawing are as large as a person needs them.
async function lettersOfDrawings({ page, name }, title) {
  const small = await page.evaluate(() => [...document.querySelectorAll(".plot text")]
    .filter((text) => text.getBoundingClientRect().height < 9).map((text) => text.textContent));
  if (small.length > 0) violations.push(`${name} ${title}: letters of a drawing are too small: ${small.slice(0, 3)}`);
}

// Everything that acts is reached by Tab alone, and seen to be where one is.
async function byKeyboard(page, title) {
  const wanted = await page.evaluate(() => {
    const all = [...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']")]
      // Of choices that exclude each other Tab reaches the one that is made, and arrow keys the others.
      .filter((it) => it.type !== "radio" || it.checked);
    const seen = all.filter((it) => it.checkVisibility() && !it.disabled);
    seen.forEach((it, at) => { it.dataset.reached = String(at); });
    return seen.length;
  });
  const reached = new Set();
  for (let presses = 0; presses < wanted + 12 && reached.size < wanted; presses += 1) {
    await page.keyboard.press("Tab");
    const here = await page.evaluate(() => {
      const it = document.activeElement;
      const outline = getComputedStyle(it).outlineStyle;
      return { at: it.dataset?.reached, seen: outline !== "none" };
    });
    if (here.at !== undefined) reached.add(here.at);
    if (here.at !== undefined && !here.seen) violations.push(`${title}: where the focus is is not seen`);
  }
  if (reached.size < wanted) violations.push(`${title}: Tab reaches ${reached.size} of ${wanted}`);
}

// Bytes of a page with what it loads, as they are and as they are sent, with nothing kept from before.
async function weight(page, path) {
  const network = await page.context().newCDPSession(page);
  await network.send("Network.enable");
  await network.send("Network.setCacheDisabled", { cacheDisabled: true });
  const loaded = [];
  const take = (response) => loaded.push((async () => {
    await response.finished();
    return { plain: (await response.body()).length, sent: (await response.request().sizes()).responseBodySize };
  })());
  page.on("response", take);
  await page.goto(url + path, { waitUntil: "networkidle" });
  page.off("response", take);
  let [plain, sent] = [0, 0];
  for (const part of await Promise.all(loaded)) {
    plain += part.plain;
    sent += part.sent;
  }
  if (sent > 100 * 1024) violations.push(`${path} is ${sent} bytes heavy`);
  if (sent * 3 > plain * 2) violations.push(`${path} is sent as ${sent} bytes of ${plain}: not compressed`);
  return { path, plain, sent };
}

// On a phone the menu is one row, which opens without a script.
async function menuOfPhone(seat) {
  const { page } = seat;
  await page.goto(`${url}/projects`);
  const [header, row] = await page.evaluate(() =>
    ["header.bar", "details.fold"].map((which) => document.querySelector(which).getBoundingClientRect().height));
  if (row > 60) violations.push(`${seat.name}: the closed menu is ${row} pixels high`);
  if (header > 150) violations.push(`${seat.name}: the head is ${header} pixels high`);
  await page.locator("details.fold > summary").click();
  await page.locator("details.fold").getByRole("link", { name: "Notices" }).waitFor();
  await look(seat, "menu-open");
  await page.locator("details.fold").getByRole("link", { name: "Notices" }).click();
  await page.waitForURL(`${url}/notices`);
}

async function firstPaint(page, path) {
  const times = [];
  for (let time = 0; time < 5; time += 1) {
    await page.goto(url + path);
    times.push(await page.evaluate(() => new Promise((told) => {
      new PerformanceObserver((list) => {
        const entry = list.getEntriesByName("first-contentful-paint")[0];
        if (entry) told(entry.startTime);
      }).observe({ type: "paint", buffered: true });
    })));
  }
  times.sort((a, b) => a - b);
  return { path, median_ms: Math.round(times[2]), least_ms: Math.round(times[0]), most_ms: Math.round(times[4]) };
}

const seats = [];
for (const [name, options] of [
  ["desktop-light", { ...DESKTOP, colorScheme: "light" }], ["phone-dark", { ...PHONE, colorScheme: "dark" }],
  ["desktop-dark", { ...DESKTOP, colorScheme: "dark" }], ["phone-light", { ...PHONE, colorScheme: "light" }],
]) {
  const seat = await open(name, options);
  for (const { path, title, says } of plan.pages) {
    const answer = await seat.page.goto(url + path);
    assert.equal(answer.status(), 200, `${path}: ${await seat.page.locator("main").innerText()}`);
    if (says) await seat.page.locator("main").getByText(says).first().waitFor();
    await look(seat, title);
    await lettersOfDrawings(seat, title);
  }
  seats.push(seat);
}
const [desktop, phone] = seats;
for (const { path, title } of plan.pages) {
  await desktop.page.goto(url + path);
  await byKeyboard(desktop.page, title);
}

await menuOfPhone(phone);

for (const { path, title, fill, choose, file, press, says } of plan.acts) {
  const { page } = phone;
  await page.goto(url + path);
  for (const [field, text] of Object.entries(fill)) await page.fill(`#${field}`, text);
  for (const [field, value] of Object.entries(choose)) await page.selectOption(`#${field}`, value);
  if (file) {
    // The browser reads it into its field, and the form brings the field alone.
    const buffer = Buffer.from(file.text);
    await page.setInputFiles(`#${file.field}`, { name: "document.json", mimeType: "application/json", buffer });
    await page.waitForFunction(([into, text]) => document.getElementById(into).value === text, [file.into, file.text]);
  }
  await page.getByRole("button", { name: press, exact: true }).first().click();
  await page.locator("main").getByText(says).first().waitFor();
  await look(phone, title);
}

if (plan.live) {
  // What arrives is written anew without a new page.
  const { page } = desktop;
  await page.goto(url + plan.live);
  await page.evaluate(() => { window.stays = true; });
  const before = await page.locator("[data-fact=faults]").textContent();
  await page.waitForFunction((was) => document.querySelector("[data-fact=faults]")?.textContent !== was, before);
  assert.equal(await page.evaluate(() => window.stays), true, "the page was not loaded anew");
}

if (plan.launch) {
  const { page } = phone;
  const { path, input, project, params, prints } = plan.launch;
  await page.goto(url + path);
  for (const [field, value] of Object.entries(params)) await page.fill(`#param-${field}`, value.wrong);
  await page.selectOption(`#input-${input.name}`, input.dataset);
  await page.selectOption("#project", project);
  // The browser's own check would not let it go: what the hub says of it is looked at.
  await page.evaluate(() => { document.querySelector("main form").noValidate = true; });
  await page.getByRole("button", { name: "Let it do this, and launch" }).click();
  await page.locator("[role=alert]").waitFor();
  assert.equal(await page.inputValue(`#input-${input.name}`), input.dataset, "what was chosen is still chosen");
  await look(phone, "launch-refused");
  for (const [field, value] of Object.entries(params)) await page.fill(`#param-${field}`, value.right);
  await page.getByRole("button", { name: "Let it do this, and launch" }).click();
  await page.waitForURL(`${url}/sessions/*`);
  await look(phone, "session-waits");
  // A vault takes it up and ends: the page follows by itself.
  await page.getByText(prints).waitFor({ timeout: 120_000 });
  await look(phone, "session-complete");
  await desktop.page.goto(page.url());
  await look(desktop, "session-complete");
}

// Without scripts the pages are all there, and what goes on is loaded anew by itself.
{
  const plain = await open("plain", { ...DESKTOP, javaScriptEnabled: false });
  for (const { path } of plan.pages) {
    const answer = await plain.page.goto(url + path);
    assert.equal(answer.status(), 200);
  }
  if (plan.live) {
    await plain.page.goto(url + plan.live);
    assert.equal(await plain.page.locator('meta[http-equiv="refresh"]').count(), 1);
  }
}

const weights = [];
for (const { path } of plan.pages) {
  const fresh = await desktop.context.newPage();
  weights.push(await weight(fresh, path));
  await fresh.close();
}
const paints = [];
for (const path of plan.lists) paints.push(await firstPaint(desktop.page, path));

await browser.close();
assert.deepEqual(violations, []);
console.log(JSON.stringify({ looked, violations: violations.length, weights, paints }));
