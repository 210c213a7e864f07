// The first steps: words, a passphrase, a hub.
import * as wasm from "authenticator";
import { become, callAt, callKey, base64, keep, kept, pair, pairedWith, Refused, type Hub } from "./core.ts";
import { button, field, form, h, moment, refusal, show } from "./draw.ts";
import { qrCode, scanner } from "./qr.ts";

const go = (where: string) => { location.hash = where; };
export const askedFor = { hub: "" };

export function welcome(): void {
  show("Your keys, on this device",
    h("p", { class: "lead" }, "Twelve words are the key to your genome. They are made here, stay here, and nobody else can open what is sealed to them."),
    h("div", { class: "note" },
      h("p", {}, "If whoever hosts these files is taken over, the next version could take your words. Host the authenticator apart from the hub, compare the published hash, or use the command line, which does not update itself.")),
    h("div", { class: "buttons" }, button("Make new words", () => go("/words")), button("I have words", () => go("/restore"), "quiet")));
}

// Twelve fields, in which words are typed and never chosen.
export function typedWords(legend: string): { row: HTMLElement; text: () => string } {
  const fields = Array.from({ length: 12 }, (_, at) => field(`Word ${at + 1}`, { autocapitalize: "none", autocorrect: "off" }));
  const row = h("fieldset", { class: "typed" }, h("legend", {}, legend), ...fields.map((one) => one.row));
  // Pasting all of them into one field is how a password manager gives them.
  row.addEventListener("paste", (event) => {
    const words = (event as ClipboardEvent).clipboardData?.getData("text").trim().split(/\s+/) ?? [];
    if (words.length !== 12) return;
    event.preventDefault();
    fields.forEach((one, at) => { one.input.value = words[at] ?? ""; });
  });
  return { row, text: () => fields.map((one) => one.input.value.trim().toLowerCase()).join(" ") };
}

function near(typed: string): string | null {
  const wrong = JSON.parse(wasm.check_words(typed)) as { place: number; near: string[] }[];
  if (wrong.length === 0) return null;
  return wrong.map(({ place, near }) => `word ${place} is not in the list${near.length > 0 ? `: perhaps ${near.join(", ")}` : ""}`).join("\n");
}

let drawn: wasm.Person | null = null;

export function newWords(): void {
  drawn ??= wasm.Person.draw();
  const words = drawn.words().split(" ");
  show("Write these words on paper",
    h("p", {}, "In this order. Whoever has them has every key that comes of them. If you lose them and this device, what was sealed to you is gone: nobody can help."),
    h("ol", { class: "words" }, ...words.map((word) => h("li", {}, word))),
    h("div", { class: "buttons" }, button("I have written them down", () => go("/words/again")),
      button("Not now", () => { void afterWords(drawn, false); }, "quiet")),
    h("p", { class: "hint" }, "Not now: you can look around, but no project can be made before the words are on paper."));
}

export function wordsAgain(): void {
  if (drawn === null) return go("/words");
  const typed = typedWords("Type all twelve from your paper");
  show("Type the words back", form([typed.row], "These are my words", () => {
    const wrong = drawn?.wrong(typed.text()) ?? [];
    if (wrong.length > 0) {
      const places = [...wrong].join(", ");
      throw new Error(`${wrong.length === 1 ? `word ${places} is` : `words ${places} are`} not what was shown\nlook at the words again: nothing was kept`);
    }
    void afterWords(drawn, true);
  }, [button("Show the words again", () => go("/words"), "quiet")]));
}

export function restore(): void {
  const typed = typedWords("Your twelve words");
  const own = field("Passphrase of the words", { type: "password" }, "Most words have none. Another passphrase gives other keys.");
  show("Type your words", form([typed.row, h("details", {}, h("summary", {}, "My words have a passphrase of their own"), own.row)], "Continue", () => {
    const wrong = near(typed.text());
    if (wrong !== null) throw new Error(wrong);
    wordsPassphrase = own.input.value;
    void afterWords(wasm.Person.restore(typed.text(), own.input.value), true);
  }));
}

let wordsPassphrase = "";
let chosen: { person: wasm.Person; backedUp: boolean } | null = null;

async function afterWords(person: wasm.Person | null, backedUp: boolean): Promise<void> {
  if (person === null) return;
  chosen = { person, backedUp };
  go("/passphrase");
}

// Half a second for a try of the passphrase: the standard's cost, or on a slow device as much as that allows.
const SLOW_MS = 500;
const STANDARD_KIB = 64 * 1024;
const LEAST_KIB = 19 * 1024;

export function lockedUnder(person: wasm.Person, text: string): string {
  const begun = performance.now();
  const file = person.lock(text, STANDARD_KIB, 3);
  const took = performance.now() - begun;
  if (took <= SLOW_MS) return file;
  const kib = Math.round(((STANDARD_KIB * 3) / 2) * (SLOW_MS / took));
  return person.lock(text, Math.min(STANDARD_KIB, Math.max(LEAST_KIB, kib)), 2);
}

export function passphrase(): void {
  if (chosen === null) return go("/");
  const first = field("Passphrase", { type: "password", autocomplete: "new-password" }, "Eight letters at least; four unrelated words are better. It is asked for whenever you approve something.");
  const again = field("The same again", { type: "password", autocomplete: "new-password" });
  show("A passphrase for this device", form([first.row, again.row], "Keep my keys here", async () => {
    if (first.input.value.length < 8) throw new Error("the passphrase has fewer than eight letters");
    if (first.input.value !== again.input.value) throw new Error("the two passphrases differ");
    if (chosen === null) return;
    const { person, backedUp } = chosen;
    const device = person.new_device();
    await keep("identity", lockedUnder(person, first.input.value));
    await keep("device", device);
    await keep("backed up", backedUp);
    await keep("words have a passphrase", wordsPassphrase !== "");
    await callKey();
    // Asks that the browser clears this last; the answer changes nothing here.
    await navigator.storage?.persist?.();
    chosen = drawn = null;
    wordsPassphrase = "";
    become(person);
    go(pairedWith() === null ? "/pair" : "/");
  }));
}

// Whether the words on paper are those of this device.
export async function backupCheck(): Promise<void> {
  const typed = typedWords("Type all twelve from your paper");
  const pass = field("Your passphrase", { type: "password", autocomplete: "current-password" });
  show("Check your paper", form([typed.row, pass.row], "Compare", async () => {
    const wrong = near(typed.text());
    if (wrong !== null) throw new Error(wrong);
    const [identity, device] = [await kept<string>("identity"), await kept<string>("device")];
    const person = wasm.Person.unlock(identity ?? "", device ?? "", pass.input.value, "");
    const differing = person.wrong(typed.text());
    if (differing.length > 0) {
      person.free();
      throw new Error("these are words of somebody, but not of this device");
    }
    await keep("backed up", true);
    become(person);
    show("Your paper is right", h("p", {}, "The words on it are those of this device."), h("div", { class: "buttons" }, button("To what waits", () => go("/"))));
  }));
}

// Pairing: the hub is named, this browser's key asks, and a person answers where they are signed in.
export function pairing(): void {
  const url = field("Address of the hub", { type: "url", inputmode: "url", placeholder: "https://hub.example:8470", value: askedFor.hub });
  show("Pair with a hub", h("p", {}, "The hub brings requests and carries sealed answers. It never learns a key."),
    form([url.row, scanner("Read its code with the camera", (text) => {
      const hub = /#pair=(https:\/\/[^\s/]+)$/.exec(text)?.[1] ?? (/^https:\/\/[^\s/]+$/.test(text) ? text : null);
      if (hub === null) return false;
      url.input.value = hub;
      return true;
    })], "Ask the hub", async () => {
      const origin = new URL(url.input.value.trim()).origin;
      if (!origin.startsWith("https://")) throw new Error("the address does not begin with https://");
      await ask(origin);
    }));
}

type Code = { code: string; page: string; expires: string; interval_seconds: number };
type Standing = { state: string; who: { account: { id: string; name: string }; hub: { id: string; card_key: string } } | null };

async function ask(origin: string): Promise<void> {
  const { raw } = await callKey();
  const publicKey = base64(raw);
  const machine = `authenticator at ${location.host}`;
  const code = (await (await callAt(origin, "POST", "/device", { public_key: publicKey, machine })).json()) as Code;
  show("Say that it is you",
    h("p", {}, "On a computer where you are signed in, open"), h("p", {}, h("a", { href: code.page, rel: "noreferrer" }, code.page)),
    h("p", {}, "and type"), h("p", { class: "device-code" }, code.code),
    h("p", {}, "or read this with the camera of a device where you are signed in:"), qrCode(`${code.page}?code=${encodeURIComponent(code.code)}`, "The page for this code, as a QR code"),
    h("p", { class: "hint" }, `Or where the command line is logged in: chorion key approve ${code.code}. The code counts until ${moment(code.expires)}.`),
    h("p", { role: "status" }, "Waiting for the answer…"));
  // Asked for as long as this page stands.
  const here = document.getElementById("main")?.firstChild;
  const stands = () => document.getElementById("main")?.firstChild === here;
  const answered = async (): Promise<void> => {
    while (stands()) {
      await new Promise((then) => setTimeout(then, code.interval_seconds * 1000));
      const standing = (await (await callAt(origin, "POST", "/device/poll", { public_key: publicKey })).json()) as Standing;
      if (standing.state === "refused") throw new Refused("", "the request was refused: this device is paired with nobody", undefined);
      if (standing.state !== "approved" || standing.who === null) continue;
      const { account, hub } = standing.who;
      const found: Hub = { url: origin, id: hub.id, account: { id: account.id, name: account.name }, cardKey: hub.card_key };
      await pair(found);
      return go("/");
    }
  };
  void answered().catch((error: unknown) => {
    if (stands()) show("This device is not paired", refusal(error), h("div", { class: "buttons" }, button("Ask again", pairing)));
  });
}
