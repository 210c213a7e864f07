// What stories about an owner's devices share: the browser with its watch over every request and page, the first steps, and the command line.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.env.CHORION_BROWSER_PACKAGES, "package.json"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
export const PASSPHRASE = "thunder nine velvet moss";
export const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 };
export const DESKTOP = { viewport: { width: 1280, height: 800 } };

export const titled = (page, title) => page.locator("h1", { hasText: title }).waitFor();
export const press = (page, name) => page.getByRole("button", { name, exact: true }).click();
export const go = (page, where) => page.evaluate((where) => { location.hash = where; }, where);
export const shownWords = async (page) => {
  await page.locator("ol.words > li").first().waitFor();
  return page.locator("ol.words > li").allInnerTexts();
};
export const typeWords = async (page, words) => {
  for (const [at, word] of words.entries()) await page.getByLabel(`Word ${at + 1}`, { exact: true }).fill(word);
};
export const choose = async (page) => {
  await titled(page, "A passphrase for this device");
  await page.getByLabel("Passphrase", { exact: true }).fill(PASSPHRASE);
  await page.getByLabel("The same again").fill(PASSPHRASE);
  await press(page, "Keep my keys here");
};
export const unlock = async (page) => {
  await page.getByLabel("Your passphrase", { exact: true }).fill(PASSPHRASE);
  await press(page, "Unlock");
};
export async function signIn(page, { hub, password }, name) {
  await page.goto(`${hub}/sign-in`);
  await page.fill("#name", name);
  await page.fill("#password", password);
  await page.locator('form[action="/sign-in"] button').click();
  await page.waitForURL(`${hub}/`);
}

// A browser for one story. A policy violation, an error of a script, a request that leaves loopback, a page that is too wide, and whatever axe-core
// finds are gathered in `violations`; `more` is what the browser is started with besides.
export async function stage(story, more = []) {
  mkdirSync(story.screenshots, { recursive: true });
  const browser = await chromium.launch({
    executablePath: process.env.CHORION_CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", ...more],
    timeout: 120_000,
  });
  const violations = [];
  // Devices that the hub tells when something changed.
  const listened = new Set();
  let pages = 0;

  async function open(name, options) {
    const context = await browser.newContext({ ignoreHTTPSErrors: true, ...options });
    context.setDefaultTimeout(60_000);
    context.on("request", (request) => {
      const { hostname, protocol } = new URL(request.url());
      if (protocol !== "data:" && hostname !== "localhost") violations.push(`${name}: a request to ${request.url()}`);
    });
    context.on("request", (request) => { if (request.url().endsWith("/api/v1/approvals/changes")) listened.add(name); });
    const page = await context.newPage();
    page.on("console", (message) => {
      if (message.type() === "error" && /Content Security Policy|Trusted/i.test(message.text())) violations.push(`${name}: ${message.text()}`);
    });
    page.on("pageerror", (error) => violations.push(`${name}: ${error}`));
    return { name, context, page };
  }

  // What a person sees of this page: kept as a picture, and judged by axe.
  async function look({ name, page }, title) {
    await page.screenshot({ path: join(story.screenshots, `${name}-${title}.png`), fullPage: true });
    pages += 1;
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    if (wide > 0) violations.push(`${name} ${title} is ${wide} pixels too wide`);
    await page.evaluate(axe);
    const result = await page.evaluate(() =>
      window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
    for (const found of result.violations) {
      violations.push(`${name} ${title}: axe ${found.id}: ${found.nodes.map((node) => node.target).join(", ")}`);
    }
  }

  // The same on a phone and on a desktop, whichever it is.
  async function lookAtBoth({ name, page }, title) {
    const own = page.viewportSize();
    for (const [size, { viewport }] of [["phone", PHONE], ["desktop", DESKTOP]]) {
      await page.setViewportSize(viewport);
      await look({ name, page }, `${title}-${size}`);
    }
    await page.setViewportSize(own);
  }

  const chorionAt = (home, ...words) => {
    const env = { ...process.env, CHORION_HOME: home, CHORION_PASSPHRASE: "a story told on loopback" };
    return JSON.parse(execFileSync(story.chorion, [...words, "--json"], { env, stdio: ["ignore", "pipe", "inherit"] }).toString() || "null");
  };
  return { browser, open, look, lookAtBoth, violations, listened, looked: () => pages, chorionAt };
}
