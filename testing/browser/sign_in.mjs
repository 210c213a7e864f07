// Signing in, in real Chromium: first password, passkeys of a virtual authenticator, sessions, at desktop and phone size, light
// and dark, with scripts and without, by keyboard alone; then machines that ask for a key are answered. Every page seen is given to axe-core and to the camera; a policy
// violation or a request that leaves loopback is a failure.
//
//   node sign_in.mjs URL CODE LOGIN_CODE APP_CODE SCREENSHOTS      (packages from target/browser; see testing/setup.sh browser)
import assert from "node:assert/strict";
import { readFileSync, mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [url, code, loginCode, appCode, screenshots] = process.argv.slice(2);
const require = createRequire(join(process.env.CHORION_BROWSER_PACKAGES, "package.json"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const PASSWORD = "copper vein harbour seven";
mkdirSync(screenshots, { recursive: true });

const browser = await chromium.launch({
  executablePath: process.env.CHORION_CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
  timeout: 120_000,
});

const violations = [];
let pages = 0;

async function open(name, options) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, ...options });
  context.setDefaultTimeout(60_000);
  context.on("request", (request) => {
    const { hostname, protocol } = new URL(request.url());
    if (protocol !== "data:" && hostname !== "localhost") violations.push(`${name}: a request to ${request.url()}`);
  });
  const page = await context.newPage();
  page.on("console", (message) => {
    if (message.type() === "error" && /Content Security Policy|Trusted/i.test(message.text())) {
      violations.push(`${name}: ${message.text()}`);
    }
  });
  page.on("pageerror", (error) => violations.push(`${name}: ${error}`));
  return { name, context, page, scripts: options.javaScriptEnabled !== false };
}

// What a person sees of this page: kept as a picture, and judged by axe.
async function look(seat, title) {
  const { page, name } = seat;
  await page.screenshot({ path: join(screenshots, `${name}-${title}.png`), fullPage: true });
  pages += 1;
  if (!seat.scripts) return;
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
const byPasskey = (page) => page.getByRole("button", { name: "Sign in with a passkey" }).click();
const greeted = async (page) => assert.equal(await heading(page), "Good day, Ada");

async function withPassword(page) {
  await page.goto(`${url}/sign-in`);
  await page.fill("#name", "ada");
  await page.fill("#password", PASSWORD);
  await page.locator('form[action="/sign-in"] button').click();
  await page.waitForURL(`${url}/`);
}

// 1. Somebody who was invited sets a password.
const desktop = await open("desktop", { viewport: { width: 1280, height: 800 }, colorScheme: "light" });
{
  const { page } = desktop;
  await page.goto(url);
  await look(desktop, "home");
  await page.goto(`${url}/first-password`);
  await look(desktop, "first-password");
  await page.fill("#code", code.toLowerCase());
  await page.fill("#name", "ada");
  await page.fill("#password", PASSWORD);
  await page.fill("#again", PASSWORD);
  await page.locator("main .card button").first().click();
  await page.waitForURL(`${url}/account`);
  assert.equal(await heading(page), "Your account");
  const cookies = await desktop.context.cookies();
  assert.deepEqual(cookies.map(({ name, secure, httpOnly, sameSite, path }) => ({ name, secure, httpOnly, sameSite, path })),
    [{ name: "__Host-chorion", secure: true, httpOnly: true, sameSite: "Lax", path: "/" }]);
  assert.equal(await page.evaluate(() => document.cookie), "");
}

// 2. Adds a passkey, and signs in with it.
const cdp = await desktop.context.newCDPSession(desktop.page);
await cdp.send("WebAuthn.enable");
const { authenticatorId } = await cdp.send("WebAuthn.addVirtualAuthenticator", {
  options: {
    protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true,
    automaticPresenceSimulation: true,
  },
});
{
  const { page } = desktop;
  await page.goto(`${url}/account/passkeys/add`);
  await page.fill("#name", "this test");
  await look(desktop, "add-passkey");
  await page.locator("main .card button").first().click();
  await page.waitForURL(`${url}/account`);
  assert.ok(await page.locator("text=this test").count());
  await look(desktop, "account");
  // Whose account it is hears of it, in case it was somebody else.
  await page.goto(`${url}/notices`);
  await page.locator("text=A passkey was added to your account").waitFor();
  await page.goto(`${url}/account`);
  const { credentials } = await cdp.send("WebAuthn.getCredentials", { authenticatorId });
  assert.equal(credentials.length, 1);
  assert.equal(credentials[0].rpId, "localhost");
  assert.equal(credentials[0].isResidentCredential, true);

  // The same authenticator again: the browser itself says that it has one.
  await page.goto(`${url}/account/passkeys/add`);
  await page.fill("#name", "twice");
  await page.locator("main .card button").first().click();
  await page.locator("text=has a passkey for you already").waitFor();

  await signOut(page);
  await page.goto(`${url}/sign-in?next=/account`);
  await look(desktop, "sign-in");
  await byPasskey(page);
  await page.waitForURL(`${url}/account`);
  await page.locator("text=by passkey").waitFor();
}

// 3. A copy of the key shows itself by its counter.
{
  const { page } = desktop;
  const { credentials: [credential] } = await cdp.send("WebAuthn.getCredentials", { authenticatorId });
  assert.ok(credential.signCount >= 1);
  await signOut(page);
  await cdp.send("WebAuthn.removeCredential", { authenticatorId, credentialId: credential.credentialId });
  await cdp.send("WebAuthn.addCredential", { authenticatorId, credential: { ...credential, signCount: 0 } });
  await page.goto(`${url}/sign-in`);
  await byPasskey(page);
  await page.locator("text=a copy of it was used").waitFor();
  await look(desktop, "sign-in-refused");
  await cdp.send("WebAuthn.removeCredential", { authenticatorId, credentialId: credential.credentialId });
  await cdp.send("WebAuthn.addCredential", { authenticatorId, credential: { ...credential, signCount: 100 } });

  // Somebody whom the authenticator does not recognise does not get past the browser.
  await cdp.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: false });
  await page.goto(`${url}/sign-in`);
  await byPasskey(page);
  await page.locator("text=Nothing was done").waitFor();
  await cdp.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: true });
  await byPasskey(page);
  await page.waitForURL(`${url}/`);
  await greeted(page);
}

// 4. On a phone, in the dark, with the password.
const phone = await open("phone", {
  viewport: { width: 390, height: 844 }, colorScheme: "dark", isMobile: true, hasTouch: true, deviceScaleFactor: 2,
});
{
  const { page } = phone;
  await page.goto(url);
  await look(phone, "home");
  await page.goto(`${url}/first-password`);
  await look(phone, "first-password");
  await page.goto(`${url}/sign-in`);
  await look(phone, "sign-in");
  await withPassword(page);
  await greeted(page);
  for (const [path, title] of [["/account", "account"], ["/account/password", "password"],
    ["/account/passkeys/add", "add-passkey"], ["/nowhere", "nowhere"]]) {
    await page.goto(url + path);
    await look(phone, title);
  }
  await page.goto(`${url}/account`);
  await page.getByRole("link", { name: "Remove the passkey this test" }).click();
  await look(phone, "remove-passkey");

  // The machine that somebody started is shown, and gets its key.
  await page.goto(`${url}/device?code=${loginCode}`);
  assert.equal(await page.inputValue("#code"), loginCode);
  await look(phone, "device");
  await page.getByRole("button", { name: "Show what asks" }).click();
  await page.locator("text=workstation 7").waitFor();
  await look(phone, "device-asks");
  await page.getByRole("button", { name: "Approve" }).click();
  await page.locator("text=goes on by itself").waitFor();
  await look(phone, "device-approved");
}

// Lists, empty as they are at first: each says what to do next.
for (const seat of [phone, desktop]) {
  for (const [path, title] of [
    ["runs", "Runs"], ["samples", "Samples"], ["sessions", "App sessions"], ["results", "Results"],
    ["projects", "Projects"], ["apps", "Apps"], ["notices", "Notices"],
  ]) {
    await seat.page.goto(`${url}/${path}`);
    assert.equal(await heading(seat.page), title);
    assert.equal(await seat.page.locator(".menu.row [aria-current=page]").getAttribute("href"), `/${path}`);
    await look(seat, path);
  }
}

// A code that nobody was given, then an app that nobody wants.
{
  const { page } = desktop;
  await page.goto(`${url}/device`);
  await page.fill("#code", "BBBB-BBBB");
  await page.getByRole("button", { name: "Show what asks" }).click();
  await page.locator("[role=alert]").waitFor();
  await look(desktop, "device-no-such");
  await page.fill("#code", appCode.toLowerCase());
  await page.getByRole("button", { name: "Show what asks" }).click();
  await page.locator("text=Example Ltd").waitFor();
  await look(desktop, "device-asks");
  await page.getByRole("button", { name: "Refuse" }).click();
  await page.locator("text=The machine gets no key").waitFor();
  await look(desktop, "device-refused");
}

// 5. Without scripts: everything but passkeys.
{
  const plain = await open("plain", { viewport: { width: 1280, height: 800 }, javaScriptEnabled: false });
  await withPassword(plain.page);
  await greeted(plain.page);
  await plain.page.goto(`${url}/sign-in`);
  await plain.page.goto(`${url}/account/passkeys/add`);
  assert.ok(await plain.page.locator("text=scripts are off").isVisible());
  await look(plain, "add-passkey");
  await plain.page.goto(`${url}/account`);
  await plain.page.getByRole("button", { name: "Sign out all others" }).click();
  await plain.page.waitForURL(`${url}/account`);
}
await desktop.page.goto(`${url}/account`);
assert.equal(await heading(desktop.page), "Sign in", "the other browsers were signed out");

// 6. By keyboard alone.
{
  const { page } = await open("keyboard", { viewport: { width: 1280, height: 800 } });
  await page.goto(`${url}/sign-in`);
  const reached = async (what) => {
    for (let presses = 0; presses < 30; presses += 1) {
      await page.keyboard.press("Tab");
      const here = await page.evaluate(() => {
        const { id, innerText, tagName } = document.activeElement;
        const style = getComputedStyle(document.activeElement);
        return { name: id || innerText || tagName, seen: style.outlineStyle !== "none" };
      });
      if (here.name.includes(what)) return assert.ok(here.seen, `the focus on ${what} is seen`);
    }
    throw new Error(`Tab does not reach ${what}`);
  };
  await reached("To the content");
  await reached("name");
  await page.keyboard.type("ada");
  await reached("password");
  await page.keyboard.type(PASSWORD);
  await page.keyboard.press("Enter");
  await page.waitForURL(`${url}/`);
  await greeted(page);
  await reached("Ada");
  await page.keyboard.press("Enter");
  await page.waitForURL(`${url}/account`);
  await reached("Change name or password");
  await page.keyboard.press("Enter");
  await page.waitForURL(`${url}/account/password`);
}

await browser.close();
assert.deepEqual(violations, []);
console.log(JSON.stringify({ pages, violations: violations.length }));
