// What an owner holds goes into other hands, in real Chromium: Ada's phone is paired by the code that the website draws, read by a camera; she gives a
// project to Bob, who takes it on a device of his; he copies a sample into a project of the platform's, and lets the platform hold the key of the rest.
// Each is stopped once, and goes on. Pages are looked at on a phone and on a desktop.
//
//   node handed_over.mjs JSON      (what journeys/authenticator.rs says; packages from target/browser)
import assert from "node:assert/strict";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { choose, DESKTOP, PASSPHRASE, PHONE, press, signIn, stage, titled, typeWords, unlock } from "./owner.mjs";

const story = JSON.parse(process.argv[2]);
const made = mkdtempSync(join(tmpdir(), "handed-over-"));
const video = join(made, "camera.y4m");

// 1. The website draws what a device is paired by. A camera is held before it: a little askew, and not all of the picture.
const first = await stage(story);
{
  const website = await first.open("website", DESKTOP);
  await signIn(website.page, story, "ada");
  await website.page.goto(`${story.hub}/vaults`);
  await website.page.getByText(`${story.authenticator}/#pair=${story.hub}`).waitFor();
  await first.lookAtBoth(website, "50-pair-a-device");
  const code = (await website.page.locator(".qr svg").screenshot()).toString("base64");
  const blank = await website.context.newPage();
  const luma = await blank.evaluate(async (code) => {
    const picture = new Image();
    picture.src = `data:image/png;base64,${code}`;
    await picture.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [640, 480];
    const drawing = canvas.getContext("2d");
    drawing.fillStyle = "#8d8a80";
    drawing.fillRect(0, 0, 640, 480);
    drawing.translate(330, 235);
    drawing.rotate(0.12);
    drawing.drawImage(picture, -170, -170, 340, 340);
    const pixels = drawing.getImageData(0, 0, 640, 480).data;
    return Array.from({ length: 640 * 480 }, (_, at) => Math.round(0.299 * pixels[4 * at] + 0.587 * pixels[4 * at + 1] + 0.114 * pixels[4 * at + 2]));
  }, code);
  // YUV4MPEG2: the picture in grey, again and again.
  const file = openSync(video, "w");
  writeSync(file, "YUV4MPEG2 W640 H480 F10:1 Ip A1:1 C420jpeg\n");
  for (let frame = 0; frame < 20; frame += 1) {
    writeSync(file, "FRAME\n");
    writeSync(file, Buffer.from(luma));
    writeSync(file, Buffer.alloc(2 * 320 * 240, 128));
  }
  closeSync(file);
  await first.browser.close();
}

const { browser, open, look, lookAtBoth, violations, looked, chorionAt } = await stage(story, ["--use-fake-device-for-media-stream", `--use-file-for-fake-video-capture=${video}`]);
const ada = (...words) => chorionAt(story.home, ...words);
const bob = (...words) => chorionAt(story.bob.home, ...words);
const alerted = (page, text) => page.locator("[role=alert]", { hasText: text }).waitFor();
// A device locks itself when nobody touches it for a while; whoever comes back unlocks it.
async function visit({ page }, where, title) {
  await page.evaluate((where) => {
    if (location.hash === `#${where}`) dispatchEvent(new HashChangeEvent("hashchange"));
    else location.hash = where;
  }, where);
  const locked = page.locator("h1", { hasText: /^Unlock|locked itself/ });
  await page.locator("h1", { hasText: title }).or(locked).first().waitFor();
  if (await locked.count() > 0) await unlock(page);
  await titled(page, title);
}
async function restored(name, options, words) {
  const seat = await open(name, options);
  await seat.page.goto(story.authenticator);
  await press(seat.page, "I have words");
  await titled(seat.page, "Type your words");
  await typeWords(seat.page, words.trim().split(" "));
  await press(seat.page, "Continue");
  await choose(seat.page);
  await titled(seat.page, "Pair with a hub");
  return seat;
}
// A call of the page that fails once, as the hub would say it.
async function cutOnce(page, pattern, method) {
  let cut = false;
  await page.route(pattern, (route) => {
    if (cut || route.request().method() !== method) return route.continue();
    cut = true;
    return route.fulfill({ status: 409, contentType: "application/problem+json", headers: { "access-control-allow-origin": story.authenticator }, body: JSON.stringify({ code: "conflict", title: "the line was cut" }) });
  });
}

// 2. The camera: refused where it may not be used, and then it reads the code.
const phone = await restored("phone", PHONE, story.words);
{
  const { page, context } = phone;
  const camera = page.getByRole("button", { name: "Read its code with the camera" });
  await context.grantPermissions([], { origin: story.authenticator });
  await camera.click();
  await page.getByText("The camera cannot be used: type it instead.").waitFor();
  await context.grantPermissions(["camera"], { origin: story.authenticator });
  await camera.click();
  await page.getByText("Read.", { exact: true }).waitFor();
  assert.equal(await page.getByLabel("Address of the hub").inputValue(), story.hub, "what the website drew");
  assert.equal(await page.locator("video").count(), 0, "the camera is let go");
  await look(phone, "51-read-by-the-camera");
  await press(page, "Ask the hub");
  ada("key", "approve", await page.locator(".device-code").innerText(), "--yes");
  await titled(page, "Nothing waits for you");
  // The link past the menu leads to the content of this page, and to no other.
  await visit(phone, "/keys", "Your public keys");
  await page.locator("a.skip").focus();
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement?.id), "main");
  await titled(page, "Your public keys");
}
const desktop = await restored("desktop", DESKTOP, story.bob.words);
await desktop.page.getByLabel("Address of the hub").fill(story.hub);
await press(desktop.page, "Ask the hub");
bob("key", "approve", await desktop.page.locator(".device-code").innerText(), "--yes");
await titled(desktop.page, "Nothing waits for you");

// 3. Ada's phone certifies itself, and remembers what she holds.
await visit(phone, "/history", "What was answered");
await phone.page.getByText("nothing is missing").waitFor();
await visit(phone, `/project/${story.project}`, "my genome");
await phone.page.getByText("does not approve for this project yet").waitFor();
await press(phone.page, "Certify this device");
await alerted(phone.page, /passphrase|does not open it/);
await phone.page.getByLabel("Your passphrase, to change devices").fill(PASSPHRASE);
await press(phone.page, "Certify this device");
await phone.page.getByText("This device", { exact: true }).waitFor();

// 4. Bob's keys, as his authenticator gives them; the six words are those that his page shows.
await visit(desktop, "/keys", "Your public keys");
await lookAtBoth(desktop, "52-keys");
const facts = await desktop.page.locator("dl.facts").innerText();
assert.ok(facts.includes(story.bob.account) && facts.includes(story.bob.phrase), facts);
const keys = join(made, "keys.json");
writeFileSync(keys, Buffer.from((await desktop.page.locator("a[download='keys.json']").getAttribute("href")).split(",")[1], "base64"));

// 5. The phone gives the project to Bob: stopped while its keys are wrapped, gone on with, taken back, and offered once more.
async function offers({ page }) {
  await page.locator("summary", { hasText: "Give it to another person" }).click();
  await press(page, "Look at the six words");
  await alerted(page, "not said to whose account");
  await page.getByLabel("Account", { exact: true }).fill(story.bob.account);
  await page.getByLabel("Their public keys, as a file").setInputFiles(keys);
}
{
  const { page } = phone;
  await offers(phone);
  await lookAtBoth(phone, "53-give");
  await press(page, "Look at the six words");
  await titled(page, "Do they read you the same?");
  assert.equal(await page.locator(".phrase").innerText(), story.bob.phrase);
  await press(page, "Go on");
  await alerted(page, "Give it to nobody");
  await page.getByLabel(/They read me these/).check();
  await lookAtBoth(phone, "54-six-words");
  await press(page, "Go on");
  await titled(page, "Sign this transfer?");
  await page.getByText(`goes to account ${story.bob.account}`).waitFor();
  await lookAtBoth(phone, "55-sign-transfer");
  await page.getByLabel("Your passphrase, once more").fill(PASSPHRASE);
  await cutOnce(page, "**/handover", "PUT");
  await press(page, "Sign it");
  await titled(page, "my genome is not offered yet");
  await lookAtBoth(phone, "56-stopped");
  await page.getByRole("link", { name: "To the project" }).click();
  await page.getByText("was begun, and stopped").waitFor();
  await look(phone, "57-begun");
  await press(page, "Go on");
  await titled(page, "It is offered");
  await page.unroute("**/handover");
  await visit(phone, `/project/${story.project}`, "my genome");
  await page.getByText("Offered to account").waitFor();
  await lookAtBoth(phone, "58-offered");
  await press(page, "Take the offer back");
  await titled(page, "Your projects");
  await visit(phone, `/project/${story.project}`, "my genome");
  await offers(phone);
  await page.getByLabel(/Have everything written anew/).check();
  await page.getByLabel(/Have everything written anew/).uncheck();
  await press(page, "Look at the six words");
  await page.getByLabel(/They read me these/).check();
  await press(page, "Go on");
  await page.getByLabel("Your passphrase, once more").fill(PASSPHRASE);
  await press(page, "Sign it");
  await titled(page, "It is offered");
  await lookAtBoth(phone, "59-it-is-offered");
}

// 6. Bob: his website says where it is taken; his authenticator judges the offer, refuses one that a hub changed, and takes the true one.
const website = await open("website", DESKTOP);
await signIn(website.page, story, "bob");
await website.page.goto(`${story.hub}/projects`);
await website.page.getByText("Its keys come from its owner’s device").waitFor();
await lookAtBoth(website, "60-offer");
{
  const { page } = desktop;
  await visit(desktop, "/projects", "Your projects");
  await page.getByText("A project is offered to you").waitFor();
  await lookAtBoth(desktop, "61-projects-with-offer");
  const lie = "**/api/v1/transfers/*/handover";
  await page.route(lie, async (route) => {
    const answer = await route.fetch();
    const handover = await answer.json();
    await route.fulfill({ response: answer, json: { ...handover, card: { ...handover.card, statement: handover.card.statement.replace('"test":true', '"test":false') } } });
  });
  await page.getByRole("link", { name: "Look at the offer" }).click();
  await titled(page, "This offer does not hold");
  await look(desktop, "62-does-not-hold");
  await page.unroute(lie);
  await page.getByRole("link", { name: "Back" }).click();
  await titled(page, "Your projects");
  await page.getByRole("link", { name: "Look at the offer" }).click();
  await titled(page, "Take this project?");
  await page.getByText("2: its own, and one of each dataset").waitFor();
  await lookAtBoth(desktop, "63-take");
  await page.getByLabel("Your passphrase").fill("another passphrase");
  await press(page, "Take it");
  await alerted(page, "does not open it");
  await page.getByLabel("Your passphrase").fill(PASSPHRASE);
  await press(page, "Take it");
  await titled(page, "my genome is yours");
  await lookAtBoth(desktop, "64-is-yours");
  await page.getByRole("link", { name: "Look at it" }).click();
  await titled(page, "my genome");
  await page.getByText("This device", { exact: true }).waitFor();
  await lookAtBoth(desktop, "65-project-of-bob");
  await page.getByRole("link", { name: "NA12878", exact: true }).click();
  await titled(page, "NA12878");
  await page.locator("li.file").first().waitFor();
  await page.evaluate(() => { window.showSaveFilePicker = undefined; });
  const [reads] = story.reads;
  const [download] = await Promise.all([page.waitForEvent("download"),
    page.locator("li.file", { hasText: reads.split("/").at(-1) }).getByRole("button", { name: "Save" }).click()]);
  assert.ok(readFileSync(await download.path()).equals(readFileSync(reads)), "Bob's words open what Ada sealed");
}
// Ada holds it no more, and her phone knows why.
await visit(phone, "/projects", "Your projects");
await phone.page.getByText("No project of yours yet").waitFor();
await visit(phone, "/history", "What was answered");
await phone.page.getByText("nothing is missing").waitFor();
await lookAtBoth(phone, "66-given-away");

// 7. Bob copies the sample into a project of the platform's: cut off half-way, it goes on.
const sample = story.sample;
{
  const { page } = desktop;
  await visit(desktop, "/history", "What was answered");
  await page.getByText("nothing is missing").waitFor();
  await visit(desktop, `/dataset/${sample}`, "NA12878");
  await page.getByRole("link", { name: "Copy it into a project" }).click();
  await titled(page, "Copy NA12878");
  await page.getByText("leaves your custody").waitFor();
  await page.getByLabel("Into which project").selectOption(story.clinic);
  await page.getByLabel("Its name there").fill("NA12878 for the clinic");
  await lookAtBoth(desktop, "67-copy");
  await press(page, "Show what I would sign");
  await titled(page, "Let others read a copy?");
  await page.getByText("EXPORT: let others hold the key of a dataset").waitFor();
  await lookAtBoth(desktop, "68-sign-export");
  await cutOnce(page, "**/api/v1/datasets/*/objects/*", "PUT");
  await page.getByLabel("Your passphrase, once more").fill(PASSPHRASE);
  await press(page, "Sign it");
  await titled(page, "NA12878 for the clinic is not copied yet");
  await look(desktop, "69-cut");
  await page.unroute("**/api/v1/datasets/*/objects/*");
  await page.reload();
  await titled(page, "Unlock to copy it");
  await unlock(page);
  await page.getByRole("heading", { name: "The copy “NA12878 for the clinic” was begun" }).waitFor();
  await lookAtBoth(desktop, "70-copy-begun");
  await press(page, "Go on");
  await titled(page, "NA12878 for the clinic was copied");
  await lookAtBoth(desktop, "71-copied");
  const [copy] = bob("sample", "list", "--project", story.clinic);
  assert.deepEqual([copy.name, copy.custodian, copy.execution], ["NA12878 for the clinic", "platform", "complete"], "the hub reads its name now");
  bob("sample", "download", copy.id, "--output", join(made, "clinic"));
  for (const path of story.reads) assert.ok(readFileSync(join(made, "clinic", path.split("/").at(-1))).equals(readFileSync(path)));
}

// 8. And lets the platform hold the key of all of it: said before who can read it, its name typed, stopped once.
{
  const { page } = desktop;
  await visit(desktop, `/project/${story.project}`, "my genome");
  await page.locator("summary", { hasText: "Let others hold its key" }).click();
  await press(page, "Show who could hold it");
  await titled(page, "Who can read it from then on");
  await page.getByText("whoever operates this hub").waitFor();
  await page.getByLabel("Who shall hold the key").selectOption("platform");
  await page.getByLabel("Its name, typed").fill("my genomes");
  await press(page, "Show what I would sign");
  await alerted(page, "not its name");
  await lookAtBoth(desktop, "72-who-can-read");
  await page.getByLabel("Its name, typed").fill("my genome");
  await press(page, "Show what I would sign");
  await titled(page, "Let others read all of it?");
  await lookAtBoth(desktop, "73-sign-custody");
  await page.getByLabel("Your passphrase, once more").fill(PASSPHRASE);
  await cutOnce(page, "**/handover/finish", "POST");
  await press(page, "Sign it");
  await titled(page, "The key of my genome did not change hands yet");
  await lookAtBoth(desktop, "74-not-yet");
  assert.equal(bob("sample", "show", sample).dataset.custodian, "owner", "nothing has changed");
  await page.getByRole("link", { name: "To the project" }).click();
  await page.getByText("Giving its key to the platform was begun, and stopped.").waitFor();
  await look(desktop, "75-custody-begun");
  await press(page, "Go on");
  await titled(page, "Others hold its key now");
  await page.unroute("**/handover/finish");
  await lookAtBoth(desktop, "76-others-hold-it");
  const { dataset } = bob("sample", "show", sample);
  assert.deepEqual([dataset.name, dataset.custodian], ["NA12878", "platform"]);
  await visit(desktop, "/projects", "Your projects");
  await page.getByText("No project of yours yet").waitFor();
  await visit(desktop, "/history", "What was answered");
  await page.getByText("nothing is missing").waitFor();
  await website.page.goto(`${story.hub}/projects/${story.project}`);
  await website.page.getByRole("heading", { name: "my genome" }).waitFor();
  await lookAtBoth(website, "77-the-platforms");
}

rmSync(made, { recursive: true });
await browser.close();
const all = [...first.violations, ...violations];
assert.deepEqual(all, []);
console.log(JSON.stringify({ pages: first.looked() + looked(), violations: all.length }));
