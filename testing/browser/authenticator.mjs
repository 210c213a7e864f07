// An owner's whole story, in real Chromium: the authenticator on a phone and on a second device, the hub's website beside them, and the
// command line of whoever adds data and launches apps. Every page seen is given to axe-core and to the camera; a policy violation, an
// error of a script or a request that leaves loopback is a failure.
//
//   node authenticator.mjs JSON      (what journeys/authenticator.rs says; packages from target/browser)
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { choose, DESKTOP, go, PASSPHRASE, PHONE, press, shownWords, signIn, stage, titled, typeWords, unlock } from "./owner.mjs";

const story = JSON.parse(process.argv[2]);
const { browser, open, look, violations, listened, looked, chorionAt } = await stage(story);
const chorion = (...words) => chorionAt(story.home, ...words);
const figures = {};

// The one who is signed in on the website says that it is them.
async function answer(page, code) {
  await page.goto(`${story.hub}/device`);
  await page.fill("#code", code);
  await page.getByRole("button", { name: "Show what asks" }).click();
  await page.getByRole("button", { name: "Approve" }).click();
  await page.locator("h1").waitFor();
}

// 1. The website, where Ada is signed in.
const website = await open("website", DESKTOP);
await signIn(website.page, story, "ada");

// 2. The phone: words are drawn, written down, typed back; a wrong one leads back to them.
const phone = await open("phone", PHONE);
const { page } = phone;
await page.goto(story.authenticator);
await titled(page, "Your keys, on this device");
figures.firstPaintMs = Math.round(await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? 0));
await look(phone, "01-welcome");
await press(page, "Make new words");
const words = await shownWords(page);
assert.equal(words.length, 12);
await look(phone, "02-words");
await press(page, "I have written them down");
await look(phone, "03-words-again");
await typeWords(page, [words[1], words[0], ...words.slice(2)]);
await press(page, "These are my words");
await page.locator("[role=alert]", { hasText: "Words 1, 2 are not what was shown" }).waitFor();
await look(phone, "04-words-exchanged");
await press(page, "Show the words again");
assert.deepEqual(await shownWords(page), words);
await press(page, "I have written them down");
await typeWords(page, words);
await press(page, "These are my words");
await titled(page, "A passphrase for this device");
await look(phone, "05-passphrase");
await page.getByLabel("Passphrase", { exact: true }).fill("short");
await press(page, "Keep my keys here");
await page.locator("[role=alert]", { hasText: "fewer than eight" }).waitFor();
await choose(page);

// 3. Pairing: the phone shows a code, and Ada types it where she is signed in.
await titled(page, "Pair with a hub");
await look(phone, "06-pair");
await page.getByLabel("Address of the hub").fill(story.hub);
await press(page, "Ask the hub");
await page.locator(".device-code").waitFor();
await page.getByRole("img", { name: /page for this code/ }).waitFor();
await look(phone, "07-code");
await answer(website.page, await page.locator(".device-code").innerText());
await titled(page, "Nothing waits for you");
await look(phone, "08-nothing-waits");

// 4. A project of her own; the laptop may add data.
await go(page, "/projects");
await titled(page, "Your projects");
await look(phone, "09-no-projects");
await page.getByRole("link", { name: "Make a project" }).click();
await titled(page, "Make a project");
await page.getByLabel("Name").fill("my genome");
await page.getByLabel(/For trying things out/).check();
for (const box of await page.getByLabel(/may add data/).all()) await box.check();
await look(phone, "10-new-project");
await press(page, "Make it");
await titled(page, "my genome");
await look(phone, "11-project");
const project = new URL(page.url()).hash.split("/").at(-1);
const cardPhrase = await page.locator(".phrase").innerText();
await website.page.goto(`${story.hub}/projects/${project}`);
await website.page.locator("dl").first().waitFor();
assert.ok(await website.page.getByText(cardPhrase).count() > 0, "the website shows the same six words");
await look(website, "project");

// 5. The laptop compares the six words, seals a sample to her, and launches an app.
chorion("project", "card", project, "--confirm", cardPhrase);
const sample = chorion("sample", "import", ...story.reads, "--project", project, "--name", "NA12878");
const launch = (purpose) => chorion("app", "launch", "read-quality", "--input", `reads=${sample.id}`, "--project", project, "--yes", "--purpose", purpose);
await go(page, "/");
await titled(page, "Nothing waits for you");
const first = launch("are my reads any good");
const launched = performance.now();
// 6. It appears by itself, and is shown from what would be signed.
await titled(page, "One request waits for you");
figures.liveMs = Math.round(performance.now() - launched);
assert.ok(listened.has("phone"), "the phone was told, and had not to ask");
await look(phone, "12-waits");
await page.getByRole("link", { name: "Look at it" }).click();
await titled(page, "Let a program read your data");
assert.equal(await page.locator(".phrase").innerText(), first.request_phrase);
const text = await page.locator("main").innerText();
for (const said of ["read-quality 1.0.0", "are my reads any good", "NOT CONFIDENTIAL", "NA12878"]) assert.ok(text.includes(said), `${said}: ${text}`);
await look(phone, "13-request");
await page.locator("summary").click();
await look(phone, "14-request-details");
const sizes = await page.getByRole("button", { name: /^(Approve|Refuse)$/ }).evaluateAll((all) => all.map((one) => `${one.offsetWidth}x${one.offsetHeight} ${getComputedStyle(one).backgroundColor}`));
assert.equal(sizes.length, 2);
assert.equal(sizes[0], sizes[1], "both answers weigh the same");
await page.getByLabel(/Your passphrase, once more/).fill(PASSPHRASE);
await press(page, "Approve");
await page.locator("[role=alert]", { hasText: "Compare the six words first" }).waitFor();
await page.getByLabel(/six words are the same/).check();
await page.getByLabel(/Your passphrase, once more/).fill("another passphrase");
await press(page, "Approve");
await page.locator("[role=alert]", { hasText: "does not open it" }).waitFor();
await look(phone, "15-wrong-passphrase");
await page.getByLabel(/Your passphrase, once more/).fill(PASSPHRASE);
await press(page, "Approve");
await titled(page, "Approved");
await look(phone, "16-approved");
const measured = await page.evaluate(() => Object.fromEntries(performance.getEntriesByType("measure").map((one) => [one.name, one.duration])));
figures.judgedMs = Math.round(measured["chorion: judged"]);
figures.approvedMs = Math.round(measured["chorion: approved"]);
const ended = chorion("session", "show", first.id, "--wait");
assert.equal(ended.session.state, "complete");
await website.page.goto(`${story.hub}/sessions/${first.id}`);
await look(website, "session");

// 7. The receipt is the vault's that was approved, and the log continues.
await go(page, "/history");
await page.locator("text=receipt holds").waitFor();
await page.locator("text=log holds").waitFor();
await look(phone, "17-history");
await go(page, "/");
await titled(page, "Nothing waits for you");
await go(page, "/history");
await page.locator("text=it continues the").waitFor();
await page.locator("text=nothing is missing").waitFor();

// A hub that leaves a dataset out of its lists: the device saw it, and the log tells of it.
{
  const route = /\/api\/v1\/datasets\?project=/;
  let dropped = "";
  await page.route(route, async (one) => {
    const answer = await one.fetch();
    const list = await answer.json();
    const samples = list.items.filter((item) => item.kind === "sample");
    dropped ||= samples[0]?.id ?? "";
    await one.fulfill({ response: answer, json: { ...list, items: list.items.filter((item) => item.id !== dropped) } });
  });
  await go(page, "/");
  await go(page, "/history");
  await page.locator(".refusal", { hasText: "is missing" }).waitFor();
  assert.ok((await page.locator(".refusal").first().innerText()).includes(dropped));
  await page.unroute(route);
  await go(page, "/");
  await go(page, "/history");
  await page.locator("text=nothing is missing").waitFor();
}

// 8. Refused: whoever asked learns that, and no more.
const second = launch("sell it");
await go(page, "/");
await page.getByRole("link", { name: "Look at it" }).click();
await titled(page, "Let a program read your data");
await press(page, "Refuse");
await titled(page, "Refused");
await look(phone, "18-refused");
assert.throws(() => chorion("session", "show", second.id, "--wait"));

// 9. A hub that lies: a field that nobody knows, a request under another id, another vault's evidence.
const third = launch("tell me more");
await go(page, "/");
await page.getByRole("link", { name: "Look at it" }).waitFor();
const [waiting] = chorion("approve", "list").filter((one) => one.state === "pending");
const lies = [
  ["unknown field", (detail) => ({ ...detail, advice: "just approve" }), "unknown field"],
  ["another task", (detail) => ({ ...detail, request: { ...detail.request, task: detail.request.id } }), "evidence is for another task"],
  ["changed settings", (detail) => ({ ...detail, settings: detail.inputs[0].label }), "does not hold"],
  ["another card", (detail) => ({ ...detail, card: { ...detail.card, statement: detail.card.statement.replace('"test":true', '"test":false') } }), "does not hold"],
];
for (const [title, lie, said] of lies) {
  const route = `**/api/v1/approvals/${waiting.id}`;
  await page.route(route, async (one) => {
    const answer = await one.fetch();
    await one.fulfill({ response: answer, json: lie(await answer.json()) });
  });
  await go(page, `/request/${waiting.id}`);
  await titled(page, "This request does not hold");
  await page.locator(".refusal", { hasText: said }).waitFor();
  if (title === "unknown field") await look(phone, "19-does-not-hold");
  await page.unroute(route);
  await go(page, "/");
  await titled(page, "One request waits");
}

// 10. A second device, by keyboard alone: the same words, paired by a link, certified on the first.
const desktop = await open("desktop", { ...DESKTOP, colorScheme: "dark" });
{
  const { page: other } = desktop;
  await other.goto(`${story.authenticator}/#pair=${story.hub}`);
  await titled(other, "Your keys, on this device");
  await look(desktop, "01-welcome");
  const reached = async (what) => {
    for (let presses = 0; presses < 60; presses += 1) {
      await other.keyboard.press("Tab");
      const here = await other.evaluate(() => {
        const { id, innerText, tagName } = document.activeElement;
        const label = id === "" ? "" : document.querySelector(`label[for="${id}"]`)?.innerText ?? "";
        const wrap = document.activeElement.closest("label")?.innerText ?? "";
        return { name: label || wrap || innerText || tagName, seen: getComputedStyle(document.activeElement).outlineStyle !== "none" };
      });
      if (here.name.startsWith(what)) return assert.ok(here.seen, `the focus on ${what} is seen`);
    }
    throw new Error(`Tab does not reach ${what}`);
  };
  await reached("I have words");
  await other.keyboard.press("Enter");
  await titled(other, "Type your words");
  for (const [at, word] of words.entries()) {
    await reached(`Word ${at + 1}`);
    await other.keyboard.type(at === 3 ? `${word}x` : word);
  }
  await other.keyboard.press("Enter");
  await other.locator("[role=alert]", { hasText: "Word 4 is not in the list" }).waitFor();
  await look(desktop, "02-mistyped");
  await other.getByLabel("Word 4", { exact: true }).fill(words[3]);
  await other.getByLabel("Word 4", { exact: true }).press("Enter");
  await titled(other, "A passphrase for this device");
  await reached("Passphrase");
  await other.keyboard.type(PASSPHRASE);
  await reached("The same again");
  await other.keyboard.type(PASSPHRASE);
  await other.keyboard.press("Enter");
  await titled(other, "Pair with a hub");
  assert.equal(await other.getByLabel("Address of the hub").inputValue(), story.hub);
  await reached("Ask the hub");
  await other.keyboard.press("Enter");
  await other.locator(".device-code").waitFor();
  await look(desktop, "03-code");
  await answer(website.page, await other.locator(".device-code").innerText());
  await titled(other, "One request waits");
  await look(desktop, "04-waits");
  await reached("Look at it");
  await other.keyboard.press("Enter");
  await titled(other, "This request does not hold");
  await other.locator("text=This device is not certified").waitFor();
  await look(desktop, "05-not-certified");
  await go(other, "/keys");
  await titled(other, "Your public keys");
  await look(desktop, "06-keys");
  const facts = await other.locator("dl.facts").innerText();
  const key = facts.match(/This device\s+([0-9a-f]{64})/)[1];

  chorion("session", "cancel", third.id);
  await go(page, `/project/${project}`);
  await titled(page, "my genome");
  await page.locator("summary", { hasText: "Certify another device" }).click();
  await page.getByLabel("Key of another device").fill(key);
  await page.getByLabel("Your passphrase, to change devices").fill(PASSPHRASE);
  await press(page, "Certify it");
  await page.getByText(key).waitFor();
  await look(phone, "20-two-devices");

  // A new card ends what waited under the old one.
  await go(other, "/");
  await titled(other, "Nothing waits for you");
  const fourth = launch("once more");
  await other.getByRole("link", { name: "Look at it" }).waitFor();
  await reached("Look at it");
  await other.keyboard.press("Enter");
  await titled(other, "Let a program read your data");
  assert.equal(await other.locator(".phrase").innerText(), fourth.request_phrase);
  await look(desktop, "07-request");
  await reached("The six words are the same");
  await other.keyboard.press("Space");
  await reached("Your passphrase, once more");
  await other.keyboard.type(PASSPHRASE);
  await other.keyboard.press("Enter");
  await titled(other, "Approved");
  assert.equal(chorion("session", "show", fourth.id, "--wait").session.state, "complete");
  await go(other, "/history");
  await other.locator("text=receipt holds").waitFor();
  await look(desktop, "08-history");
  await go(other, "/projects");
  await titled(other, "Your projects");
  await other.getByRole("link", { name: "my genome" }).waitFor();
  await look(desktop, "09-projects");
}

// 11. A standing grant: signed on the phone, carried out while it is unlocked, once.
await go(page, `/grant/${project}`);
await titled(page, "Approve one app by itself");
await page.getByLabel("Digest of the app").fill(ended.session.app_digest);
await page.getByLabel("What for").fill("every night");
await look(phone, "21-grant");
await press(page, "Show what I would sign");
await titled(page, "Sign this grant?");
await page.getByLabel("Your passphrase, once more").fill(PASSPHRASE);
await look(phone, "22-sign-grant");
await press(page, "Sign it");
await titled(page, "my genome");
const fifth = launch("every night");
assert.equal(chorion("session", "show", fifth.id, "--wait").session.state, "complete");
// A hub that says nothing by itself is asked; what waits is listed while words are locked.
const changes = "**/api/v1/approvals/changes";
await page.route(changes, (route) => route.abort());
await go(page, "/");
await page.reload();
await titled(page, "Nothing waits for you");
const sixth = launch("every night");
await titled(page, "One request waits");
await page.unroute(changes);
chorion("session", "cancel", sixth.id);

// 12. Data: what the laptop sealed is opened on the phone, byte for byte; an object that was changed is not.
await go(page, `/project/${project}`);
await titled(page, "Unlock to see the project");
await unlock(page);
await titled(page, "my genome");
await page.getByRole("link", { name: "NA12878", exact: true }).waitFor();
await look(phone, "30-project-with-data");
await page.getByRole("link", { name: "NA12878", exact: true }).click();
await titled(page, "NA12878");
await page.locator("li.file").first().waitFor();
await look(phone, "31-dataset");
const fileNamed = (name) => page.locator("li.file", { hasText: name });
const save = (name) => fileNamed(name).getByRole("button", { name: "Save" }).click();
const reads = story.reads.map((path) => ({ path, name: path.split("/").at(-1) }));
// A browser without a picker of files gets the file as a download.
await page.evaluate(() => { window.showSaveFilePicker = undefined; });
const [download] = await Promise.all([page.waitForEvent("download"), save(reads[0].name)]);
assert.ok(readFileSync(await download.path()).equals(readFileSync(reads[0].path)), "the file that was sealed");
await fileNamed(reads[0].name).getByText("saved").waitFor();
const objects = "**/api/v1/datasets/*/objects/*";
await page.route(objects, async (route) => {
  const answer = await route.fetch();
  const body = await answer.body();
  body[body.length - 20] ^= 1;
  await route.fulfill({ response: answer, body });
});
await save(reads[1].name);
await fileNamed(reads[1].name).locator(".refusal", { hasText: "does not open" }).waitFor();
await look(phone, "32-changed-object");
await page.unroute(objects);

// 13. Files are sealed on the phone: looked at first; stopped half-way, it goes on; what the hub has is what was chosen.
const made = mkdtempSync(join(tmpdir(), "files-"));
const variants = join(made, "made.vcf");
{
  const lines = ["##fileformat=VCFv4.2", "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tADA"];
  for (let at = 1; at <= 900_000; at += 1) lines.push(`chr1\t${at * 37}\t.\tA\tG\t${at % 97}\tPASS\tDP=${at % 61}\tGT\t0/1`);
  writeFileSync(variants, `${lines.join("\n")}\n`);
}
const sum = createHash("sha256").update(readFileSync(variants)).digest("hex");
const cut = join(made, "cut.bam");
writeFileSync(cut, readFileSync(reads[0].path).subarray(0, 4000));
const adds = async (name, files) => {
  await go(page, `/add/${project}`);
  await titled(page, "Add files");
  await page.getByLabel("Name of the sample").fill(name);
  await page.getByLabel("Files", { exact: true }).setInputFiles(files);
};
await adds("of the phone", [cut]);
await press(page, "Seal and send");
await page.locator("[role=alert]", { hasText: /name does not end in|is none of/ }).waitFor();
await look(phone, "33-not-taken");
await adds("of the phone", [variants]);
let puts = 0;
const third_put = new Promise((then) => {
  void page.route(objects, async (route) => {
    if (route.request().method() !== "PUT") return route.continue();
    puts += 1;
    // The third is under way for ever: the page is closed on it.
    if (puts === 3) return then();
    if (puts < 3) await route.continue();
  });
});
await Promise.all([third_put, press(page, "Seal and send")]);
await look(phone, "34-sealing");
await page.unroute(objects);
await page.reload();
await titled(page, "Unlock to add files");
await unlock(page);
await page.getByRole("heading", { name: "of the phone was begun" }).waitFor();
await look(phone, "35-begun");
puts = 0;
const counts = (request) => { if (request.method() === "PUT" && /\/objects\/[^/]+$/.test(request.url())) puts += 1; };
phone.context.on("request", counts);
await page.getByLabel("The files of “of the phone”, once more").setInputFiles(variants);
await page.getByRole("button", { name: "Go on", exact: true }).click();
await titled(page, "of the phone is whole at the hub");
phone.context.off("request", counts);
const packs = Math.ceil(readFileSync(variants).length / 8_386_432);
assert.equal(puts, packs - 2 + 1, `two of ${packs} packs were there already, and the list of files comes last`);
await look(phone, "36-whole");
await page.getByRole("link", { name: "Look at it" }).click();
await titled(page, "of the phone");
await fileNamed("made.vcf").waitFor();
// Where there is a picker, it is written to the place that was picked: here a file of the browser's own.
await page.evaluate(() => { window.showSaveFilePicker = async ({ suggestedName }) => (await navigator.storage.getDirectory()).getFileHandle(suggestedName, { create: true }); });
await save("made.vcf");
await fileNamed("made.vcf").getByText("saved").waitFor();
await look(phone, "37-saved");
const written = (name) => page.evaluate(async (name) => {
  const file = await (await (await navigator.storage.getDirectory()).getFileHandle(name)).getFile();
  return [...new Uint8Array(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}, name);
assert.equal(await written("made.vcf"), sum, "what was chosen comes out again");
Object.assign(figures, await opening(page));
// What a partner sealed with the reference tool of Crypt4GH is opened on its way, with the key that is chosen beside it.
const partners = join(made, "partner.fastq.c4gh");
cpSync(join(story.vectors, "crypt4gh/two-blocks.c4gh"), partners);
await adds("of a partner", [partners]);
await press(page, "Seal and send");
await page.locator("[role=alert]", { hasText: "ome of the files are sealed with Crypt4GH" }).waitFor();
await page.locator("summary", { hasText: "sealed with Crypt4GH" }).click();
await page.getByLabel("Your Crypt4GH secret key").setInputFiles(join(story.vectors, "crypt4gh/scrypt.sec"));
await page.getByLabel("Its passphrase").fill("gattaca");
await press(page, "Seal and send");
await page.locator("[role=alert]", { hasText: "passphrase does not open it" }).waitFor();
await page.getByLabel("Its passphrase").fill("Gattaca");
await press(page, "Seal and send");
await titled(page, "of a partner is whole at the hub");
await page.getByRole("link", { name: "Look at it" }).click();
await titled(page, "of a partner");
await page.evaluate(() => { window.showSaveFilePicker = async ({ suggestedName }) => (await navigator.storage.getDirectory()).getFileHandle(suggestedName, { create: true }); });
await save("partner.fastq");
await fileNamed("partner.fastq").getByText("saved").waitFor();
const theirs = Array.from({ length: 2800 }, (_, at) => `@r${at}\nGATTACA\n+\nFFFFFFF\n`).join("");
assert.equal(await written("partner.fastq"), createHash("sha256").update(theirs).digest("hex"));

// 14. A vault opens what the phone sealed; and the passkey says that it is her.
const cdp = await phone.context.newCDPSession(page);
await cdp.send("WebAuthn.enable");
await cdp.send("WebAuthn.addVirtualAuthenticator", {
  options: { protocol: "ctap2", ctap2Version: "ctap2_1", transport: "internal", hasResidentKey: true, hasUserVerification: true, hasPrf: true, isUserVerified: true, automaticPresenceSimulation: true },
});
await go(page, "/settings");
await titled(page, "This device");
await page.getByLabel("Your passphrase, to set up a passkey").fill("another passphrase");
await press(page, "Set up a passkey");
await page.locator("[role=alert]", { hasText: "does not open it" }).waitFor();
await page.getByLabel("Your passphrase, to set up a passkey").fill(PASSPHRASE);
await press(page, "Set up a passkey");
await page.getByText("It unlocks this device").waitFor();
await look(phone, "38-passkey");
await press(page, "Lock now");
await go(page, "/keys");
await titled(page, "Unlock to see your keys");
await look(phone, "39-unlock-by-passkey");
await press(page, "Unlock with the passkey");
await titled(page, "Your public keys");
await adds("reads of the phone", reads.map(({ path }) => path));
await press(page, "Seal and send");
await titled(page, "reads of the phone is whole at the hub");
await page.getByRole("link", { name: "Look at it" }).click();
await titled(page, "reads of the phone");
const ofPhone = new URL(page.url()).hash.split("/").at(-1);
const launchOn = (dataset, purpose) => chorion("app", "launch", "read-quality", "--input", `reads=${dataset}`, "--project", project, "--yes", "--purpose", purpose);
const seventh = launchOn(ofPhone, "are those of the phone any good");
await go(page, "/");
await page.getByRole("link", { name: "Look at it" }).click();
await titled(page, "Let a program read your data");
await page.getByLabel(/six words are the same/).check();
await press(page, "Approve");
await titled(page, "Approved");
assert.equal(chorion("session", "show", seventh.id, "--wait").session.state, "complete");

// 15. Shared: Bob's own words open it, on his machine. Destroyed: it is gone.
await go(page, `/dataset/${ofPhone}`);
await titled(page, "reads of the phone");
await page.locator("summary", { hasText: "Share it" }).click();
await page.getByLabel("Account").fill(story.bob.account);
await page.getByLabel("Their key").fill(story.bob.sealing);
await look(phone, "40-share");
await press(page, "Look at the six words");
await titled(page, "Do they read you the same?");
assert.equal(await page.locator(".phrase").innerText(), story.bob.phrase);
await press(page, "Go on");
await page.locator("[role=alert]", { hasText: "Share with nobody" }).waitFor();
await page.getByLabel(/They read me these/).check();
await look(phone, "41-six-words");
await press(page, "Go on");
await titled(page, "Sign this share?");
await page.getByLabel("Your passphrase, once more").fill(PASSPHRASE);
await look(phone, "42-sign-share");
await press(page, "Sign it");
await titled(page, "Shared");
const inForce = chorion("project", "card", project).phrase;
chorionAt(story.bob.home, "project", "card", project, "--confirm", inForce);
chorionAt(story.bob.home, "sample", "download", ofPhone, "--output", join(made, "bob"));
assert.ok(readFileSync(join(made, "bob", reads[1].name)).equals(readFileSync(reads[1].path)), "what the phone sealed opens with Bob's words");
await go(page, `/project/${project}`);
await titled(page, "my genome");
await page.getByRole("link", { name: "of the phone", exact: true }).click();
await titled(page, "of the phone");
await page.locator("summary", { hasText: "Destroy it" }).click();
await page.getByLabel("Its name, typed").fill("of the laptop");
await press(page, "Show what I would sign");
await page.locator("[role=alert]", { hasText: "not its name" }).waitFor();
await page.getByLabel("Its name, typed").fill("of the phone");
await press(page, "Show what I would sign");
await titled(page, "Destroy it for ever?");
await page.getByLabel("Your passphrase, once more").fill(PASSPHRASE);
await look(phone, "43-destroy");
await press(page, "Destroy it");
await titled(page, "Destroyed");
await page.getByRole("link", { name: "Back" }).click();
await titled(page, "my genome");
await page.getByRole("link", { name: "reads of the phone" }).waitFor();
assert.equal(await page.getByRole("link", { name: "of the phone", exact: true }).count(), 0);
rmSync(made, { recursive: true });

// 16. Messages.
await go(page, "/sign");
await titled(page, "Sign a message");
await page.getByLabel("Message").fill("it is me");
await page.getByLabel("As", { exact: true }).selectOption("openpgp-inline");
await page.getByLabel("Your passphrase, once more").fill(PASSPHRASE);
await press(page, "Sign");
const signed = await page.locator("pre").innerText();
assert.match(signed, /BEGIN PGP MESSAGE/);
await look(phone, "23-signed");
await go(page, "/open");
await titled(page, "Open a message");
await page.getByLabel("OpenPGP message").fill(signed);
await page.getByRole("button", { name: "Open", exact: true }).click();
await page.locator("pre", { hasText: "it is me" }).waitFor();
await look(phone, "24-opened");

// 17. The same answers as natively, on the published vectors.
figures.vectors = await vectors();

// 18. Other words: a change that is stopped goes on, and the old words count for nothing.
await go(page, "/keys");
await titled(page, "Your public keys");
await page.getByRole("link", { name: "change them for everything" }).click();
await titled(page, "Change your words");
await look(phone, "44-change-words");
await press(page, "Draw other words");
await titled(page, "Write the new words on paper");
const others = await shownWords(page);
assert.notDeepEqual(others, words);
await page.locator("summary", { hasText: "I have written them down" }).click();
await typeWords(page, others);
await page.getByLabel("Your passphrase").fill(PASSPHRASE);
await look(phone, "45-new-words");
const handover = `**/api/v1/projects/${project}/handover`;
await page.route(handover, (route) => (route.request().method() === "PUT"
  ? route.fulfill({ status: 409, contentType: "application/problem+json", headers: { "access-control-allow-origin": story.authenticator }, body: JSON.stringify({ code: "conflict", title: "the line was cut" }) })
  : route.continue()));
await press(page, "These are my words");
await titled(page, "The words are not changed yet");
await look(phone, "46-stopped");
await page.unroute(handover);
await page.reload();
await titled(page, "Unlock to change your words");
await unlock(page);
await titled(page, "A change of words was begun");
await page.getByLabel("Your passphrase").fill(PASSPHRASE);
await press(page, "Go on");
await titled(page, "Your words are changed");
await look(phone, "47-changed");
await go(page, `/project/${project}`);
await titled(page, "my genome");
const newPhrase = await page.locator(".phrase").first().innerText();
assert.notEqual(newPhrase, cardPhrase);
await go(desktop.page, `/project/${project}`);
// It may have locked itself meanwhile.
await desktop.page.locator("h1", { hasText: /Unlock to see|That did not work/ }).waitFor();
if ((await desktop.page.locator("h1").innerText()).startsWith("Unlock")) await unlock(desktop.page);
await desktop.page.locator(".refusal", { hasText: /does not hold|not one that your words signed/ }).waitFor();
await look(desktop, "10-old-words");
chorion("project", "card", project, "--confirm", newPhrase);
const eighth = launch("with the new words");
await go(page, "/");
await page.getByRole("link", { name: "Look at it" }).click();
await titled(page, "Let a program read your data");
await page.getByLabel(/six words are the same/).check();
await page.getByLabel(/Your passphrase, once more/).fill(PASSPHRASE);
await press(page, "Approve");
await titled(page, "Approved");
assert.equal(chorion("session", "show", eighth.id, "--wait").session.state, "complete");

// 19. This device: its hashes, locking, the shell without a network, and forgetting.
await go(page, "/settings");
await titled(page, "This device");
await page.locator("summary", { hasText: "Each file" }).click();
await page.locator("pre", { hasText: ".wasm" }).waitFor();
await look(phone, "25-settings");
await press(page, "Lock now");
await go(page, "/keys");
await titled(page, "Unlock to see your keys");
await look(phone, "26-locked");
await unlock(page);
await titled(page, "Your public keys");
await look(phone, "27-keys");
await page.evaluate(() => navigator.serviceWorker.ready.then(() => undefined));
await phone.context.setOffline(true);
await page.reload();
await titled(page, "Unlock to see your keys");
await page.locator(".alarm", { hasText: "does not answer" }).waitFor();
await look(phone, "28-offline");
await phone.context.setOffline(false);

// 20. Locked by itself after two idle minutes; a request survives that.
const idle = await open("idle", PHONE);
await idle.page.clock.install();
await idle.page.goto(story.authenticator);
await press(idle.page, "Make new words");
await press(idle.page, "Not now");
await idle.page.clock.runFor(1000);
await choose(idle.page);
await idle.page.clock.runFor(5000);
await titled(idle.page, "Pair with a hub");
await idle.page.locator(".alarm", { hasText: "not on paper" }).waitFor();
await idle.page.locator("#state", { hasText: "Unlocked" }).waitFor();
await look(idle, "01-not-backed-up");
await idle.page.clock.runFor(121_000);
await idle.page.locator("#state", { hasText: "Locked" }).waitFor();

// How fast objects were opened, beside bare WebCrypto in the same page, one segment after the other and many at once. MiB a second; the
// medians of what was measured.
async function opening(page) {
  return page.evaluate(async () => {
    const median = (all) => all.toSorted((a, b) => a - b)[Math.floor(all.length / 2)];
    const rate = (bytes, ms) => bytes / 1048576 / (ms / 1000);
    const ours = performance.getEntriesByName("chorion: object opened").filter((one) => one.detail > 8_000_000).map((one) => rate(one.detail, one.duration));
    const key = await crypto.subtle.generateKey({ name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]);
    const segments = await Promise.all(Array.from({ length: 128 }, async () => {
      const iv = crypto.getRandomValues(new Uint8Array(12));
      return { iv, sealed: await crypto.subtle.encrypt({ name: "AES-GCM", iv }, key, new Uint8Array(65_536)) };
    }));
    const bare = async (atOnce) => {
      const begun = performance.now();
      for (let from = 0; from < segments.length; from += atOnce) {
        await Promise.all(segments.slice(from, from + atOnce).map(({ iv, sealed }) => crypto.subtle.decrypt({ name: "AES-GCM", iv }, key, sealed)));
      }
      return rate(128 * 65_536, performance.now() - begun);
    };
    const [single, many] = [[], []];
    for (let round = 0; round < 9; round += 1) {
      single.push(await bare(1));
      many.push(await bare(16));
    }
    const best = Math.max(median(single), median(many));
    return { openedMiBs: Math.round(median(ours)), bareMiBs: Math.round(best), openedOverBare: Number((median(ours) / best).toFixed(2)) };
  });
}

// The module by itself, asked what the native tests are asked: approvals with one fault each, a person's keys, a genuine report.
async function vectors() {
  const folder = join(story.vectors, "approval");
  const approvals = readdirSync(folder).filter((name) => name.endsWith(".json")).map((name) => ({ name, ...JSON.parse(readFileSync(join(folder, name), "utf8")) }));
  const person = JSON.parse(readFileSync(join(story.vectors, "identity/person.json"), "utf8"));
  const real = join(story.vectors, "evidence/real");
  const report = join(real, "genoa-v3-azure-msft/report.bin");
  const certified = mkdtempSync(join(tmpdir(), "certificates-"));
  cpSync(join(real, "genoa-v3-azure-msft/vek.der"), join(certified, "vek.der"));
  cpSync(join(real, "chains/genoa"), certified, { recursive: true });
  const certificates = readdirSync(certified).sort().map((name) => [name, readFileSync(join(certified, name)).toString("base64")]);
  await page.route("**/module.js", (route) => route.fulfill({ contentType: "text/javascript", body: readFileSync(story.module, "utf8") }));
  const [module] = await page.evaluate(() => performance.getEntriesByType("resource").map((one) => one.name).filter((name) => name.endsWith(".wasm")));
  const found = await page.evaluate(async ({ module, approvals, person, report, certificates }) => {
    const wasm = await import("/module.js");
    await wasm.default({ module_or_path: fetch(module) });
    const tried = (ask) => { try { return ask(); } catch (error) { return `error: ${error.message}`; } };
    // The page is told the causes too, after the sentence.
    const fits = (found, phrase, error) => (phrase === null ? found.startsWith(`error: ${error}`) : found === phrase);
    const wrong = approvals.filter(({ approval, card, now, phrase, error }) =>
      !fits(tried(() => wasm.open_approval(JSON.stringify(approval), JSON.stringify(card), now)), phrase, error)).map(({ name }) => name);
    const halves = JSON.parse(wasm.Person.restore(person.words, "").public_halves());
    for (const name of ["card", "ethereum", "ssh"]) if (halves[name] !== person[name]) wrong.push(`person: ${name}`);
    if (halves.openpgp.toLowerCase() !== person.openpgp_fingerprint) wrong.push("person: openpgp");
    const bytes = Uint8Array.from(atob(report), (letter) => letter.charCodeAt(0));
    const at = "2026-01-01T00:00:00Z";
    wasm.appraise(bytes, JSON.stringify(certificates), "", at);
    const begun = performance.now();
    const judged = JSON.parse(wasm.appraise(bytes, JSON.stringify(certificates), "", at));
    const evidenceMs = performance.now() - begun;
    bytes[100] ^= 1;
    const flipped = JSON.parse(wasm.appraise(bytes, JSON.stringify(certificates), "", at));
    return { wrong, evidenceMs, judged, flipped: flipped.accepted };
  }, { module, approvals, person, report: readFileSync(report).toString("base64"), certificates });
  await page.unroute("**/module.js");
  assert.deepEqual(found.wrong, []);
  assert.equal(found.flipped, false);
  const native = spawnSync(story.chorion, ["attest", "verify", "--report", report, "--certs", certified, "--at", "2026-01-01T00:00:00Z", "--json"]);
  rmSync(certified, { recursive: true });
  assert.deepEqual(found.judged, JSON.parse(native.stdout.toString()), "a genuine report is judged the same natively");
  assert.ok(found.judged.checks.length > 10);
  figures.evidenceMs = Math.round(found.evidenceMs);
  return approvals.length;
}

await browser.close();
assert.deepEqual(violations, []);
console.log(JSON.stringify({ pages: looked(), violations: violations.length, ...figures }));
