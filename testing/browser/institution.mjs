// Signing in through an institution, in real Chromium, against a real provider that is another site to the browser.
//
//   node institution.mjs URL CODE SCREENSHOTS PROVIDER_PID
import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [url, code, screenshots, provider] = process.argv.slice(2);
const require = createRequire(join(process.env.CHORION_BROWSER_PACKAGES, "package.json"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
mkdirSync(screenshots, { recursive: true });
const browser = await chromium.launch({
  executablePath: process.env.CHORION_CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
  timeout: 120_000,
});
const violations = [];
let pages = 0;

async function seat(name, options) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, ...options });
  context.setDefaultTimeout(60_000);
  const page = await context.newPage();
  const ours = () => page.url().startsWith(url);
  page.on("console", (message) => {
    if (message.type() === "error" && /Content Security Policy|Trusted/i.test(message.text()) && ours()) violations.push(message.text());
  });
  page.on("pageerror", (error) => { if (ours()) violations.push(`${name}: ${error}`); });
  return { name, context, page };
}

// A page of ours: kept as a picture, and judged by axe.
async function look({ page, name }, title) {
  await page.screenshot({ path: join(screenshots, `institution-${name}-${title}.png`), fullPage: true });
  pages += 1;
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(wide <= 0, `${name} ${title} is ${wide} pixels too wide`);
  await page.evaluate(axe);
  const result = await page.evaluate(() =>
    window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
  for (const found of result.violations) {
    violations.push(`${name} ${title}: axe ${found.id}: ${found.nodes.map((node) => node.target).join(", ")}`);
  }
}

const heading = (page) => page.locator("h1").innerText();
const signOut = async (page) => {
  await page.getByRole("button", { name: "Sign out", exact: true }).click();
  await page.waitForURL(`${url}/`);
};
const setOut = async (page) => {
  await page.goto(`${url}/sign-in`);
  await page.getByRole("link", { name: /^Through / }).click();
};

// At the provider: its own login page where it shows one, then its own consent page.
async function atProvider(page, login) {
  for (let step = 0; step < 3 && !page.url().startsWith(url); step += 1) {
    const field = page.locator("input[name=login]");
    if (await field.count()) {
      await field.fill(login);
      await page.locator("input[name=password]").fill("whatever");
    }
    await page.locator("button[type=submit]").click();
    await page.waitForLoadState();
  }
  await page.waitForURL((there) => there.href.startsWith(url));
}

const desktop = await seat("desktop", { viewport: { width: 1280, height: 800 }, colorScheme: "light" });
const { page } = desktop;
const returned = [];
page.on("request", (request) => {
  if (request.url().startsWith(`${url}/sign-in/institution/return`)) returned.push(new URL(request.url()));
});

// 1. Somebody the institution knows and this hub does not: asked for the code of an invitation, and given nothing without.
await page.goto(`${url}/sign-in`);
await look(desktop, "sign-in");
await setOut(page);
const sent = new URL(page.url());
assert.notEqual(sent.origin, url);
await atProvider(page, "ada");
assert.equal(await heading(page), "Your one-time code");
await look(desktop, "code");
assert.ok(returned[0].searchParams.get("state") && returned[0].searchParams.get("code"));
await page.fill("#code", "AAAAA-AAAAA-AAAAA-AAAAA-AAAAA");
await page.locator("main button").click();
await page.locator("text=The one-time code is wrong, used or expired.").waitFor();
await look(desktop, "wrong-code");
await setOut(page);
await atProvider(page, "ada");
assert.equal(await heading(page), "Your one-time code");
await page.fill("#code", code.toLowerCase());
await page.locator("main button").click();
await page.waitForURL(`${url}/account`);
await page.locator("text=by institution").waitFor();
await look(desktop, "account");

// 2. From then on the institution is enough; and its keys may change at any time.
await signOut(page);
process.kill(Number(provider), "SIGUSR2");
await setOut(page);
await atProvider(page, "ada");
await page.waitForURL(`${url}/`);
assert.equal(await heading(page), "Good day, Ada");

// 3. What came back counts once, and not at all in another browser.
const answer = returned.at(-1).href;
await signOut(page);
await page.goto(answer);
await page.locator("text=was not begun in this browser").waitFor();
await look(desktop, "replayed");
const phone = await seat("phone", { viewport: { width: 390, height: 844 }, colorScheme: "dark", hasTouch: true });
await setOut(phone.page);
const cut = new URL(answer);
await phone.page.goto(cut.href);
await phone.page.locator("text=was not begun in this browser").waitFor();

// 4. Somebody changes their mind there, and is told so here in words of ours.
await setOut(phone.page);
await phone.page.locator("text=Cancel").first().click();
await phone.page.waitForURL((there) => there.href.startsWith(url));
await phone.page.locator("text=The institution did not sign you in, or you did not agree.").waitFor();
await look(phone, "cancelled");
await phone.page.goto(`${url}/sign-in/institution/return?error=made_up&error_description=You+have+won`);
await phone.page.locator("text=The institution did not sign you in.").waitFor();
assert.equal(await phone.page.locator("text=won").count(), 0);

// 5. Somebody else of the institution is a stranger, however well it knows them.
await setOut(phone.page);
await atProvider(phone.page, "eve");
assert.equal(await heading(phone.page), "Your one-time code");
await look(phone, "code");

// 6. A browser that was signed in for long shows a fresh proof by the institution, which asks anew.
await setOut(page);
await atProvider(page, "ada");
await page.waitForURL(`${url}/`);
await page.goto(`${url}/confirm/institution?next=/account`);
assert.ok(await page.locator("input[name=login]").count(), "signed in there, and asked all the same");
await atProvider(page, "eve");
await page.locator("text=Somebody else signed in at the institution.").waitFor();
await page.goto(`${url}/confirm/institution?next=/account/password`);
await atProvider(page, "ada");
await page.waitForURL(`${url}/account/password`);

await browser.close();
assert.deepEqual(violations, []);
console.log(JSON.stringify({ pages, violations: violations.length }));
