// The page: starts the module, chooses what is shown by the address after `#`, asks the hub what waits, and locks itself.
import init from "authenticator";
import { askedFor, backupCheck, newWords, pairing, passphrase, restore, welcome, wordsAgain } from "./begin.ts";
import { adding } from "./adding.ts";
import { kept, listen, loadHub, lock, onLock, openStore, pairedWith, pause, stirred, unlocked, type Waiting } from "./core.ts";
import { copying } from "./copying.ts";
import { dataset } from "./data.ts";
import { button, h, refusal, show } from "./draw.ts";
import { lookForOffers, offer, offered } from "./handing.ts";
import { keys, newGrant, newProject, openMessage, project, projects, signMessage } from "./own.ts";
import { carryOut, history, home, isWaiting, locked, request, requests } from "./requests.ts";
import { settings } from "./settings.ts";
import { otherWords } from "./words.ts";

declare const WASM: string;
// How often the hub is asked where it says nothing by itself, and where it does: a word can be lost, and what waits expires.
const POLL_MS = 2_000;
const POLL_ANYWAY_MS = 30_000;
const MENU: [string, string][] = [["/", "Waiting"], ["/history", "Answered"], ["/projects", "Projects"], ["/keys", "Keys"], ["/settings", "Device"]];

let list: Waiting[] = [];
let trouble: unknown = null;
const path = () => decodeURIComponent(location.hash.replace(/^#/, "")) || "/";

async function draw(): Promise<void> {
  const here = path();
  const [, noun = "", id = ""] = here.split("/");
  const paired = pairedWith() !== null;
  const known = (await kept<string>("identity")) !== undefined;
  frame(here, known);
  // A link or a QR code of a hub: its address comes after `pair=`, and is only ever filled into the form.
  if (here.startsWith("/pair=")) {
    askedFor.hub = here.slice("/pair=".length);
    replaceAddress(known ? "/pair" : "/");
    return draw();
  }
  if (here === "/settings") return settings();
  if (!known) {
    const steps: Record<string, () => void> = { "/words": newWords, "/words/again": wordsAgain, "/restore": restore, "/passphrase": passphrase };
    return (steps[here] ?? welcome)();
  }
  if (here === "/backup") return backupCheck();
  if (here === "/pair" || !paired) return pairing();
  const pages: Record<string, () => Promise<void>> = {
    "": () => home(list), history: () => history(list), projects: id === "new" ? newProject : projects, project: () => project(id),
    grant: () => newGrant(id), request: () => request(id), dataset: () => dataset(id), add: () => adding(id), offer: () => offer(id), copy: () => copying(id), rotate: otherWords,
    keys, sign: signMessage, open: openMessage,
  };
  await (pages[noun] ?? (() => home(list)))();
}

const replaceAddress = (where: string) => window.history.replaceState(null, "", `#${where}`);

function frame(here: string, known: boolean): void {
  const menu = document.getElementById("menu");
  const state = document.getElementById("state");
  const banner = document.getElementById("banner");
  if (menu === null || state === null || banner === null) return;
  const waiting = list.filter(isWaiting).length;
  menu.hidden = !known || pairedWith() === null;
  const current = MENU.findLast(([where]) => here === where || (where !== "/" && here.startsWith(where)))?.[0] ?? (here.startsWith("/request") ? "/" : /^\/(project|grant|dataset|add|offer|copy)/.test(here) ? "/projects" : "/keys");
  menu.replaceChildren(h("ul", {}, ...MENU.map(([where, name]) => h("li", {},
    h("a", { href: `#${where}`, ...(where === current ? { "aria-current": "page" } : {}) }, where === "/" && waiting > 0 ? `${name} (${waiting})` : name)))));
  state.replaceChildren(...(known ? [h("span", {}, unlocked() === null ? "Locked" : "Unlocked"),
    ...(unlocked() === null ? [] : [h("button", { type: "button", class: "link", click: () => lock() }, "Lock")])] : []));
  void kept<boolean>("backed up").then((done) => {
    const alarms = [
      known && done !== true ? h("div", { class: "alarm" }, h("p", {}, "Your words are not on paper. If this device is lost, so is everything sealed to you. ", h("a", { href: "#/backup" }, "Check my paper"))) : null,
      trouble === null ? null : h("div", { class: "alarm" }, h("p", {}, trouble instanceof Error ? trouble.message.split("\n")[0] ?? "" : String(trouble))),
    ].filter((one) => one !== null);
    banner.replaceChildren(...alarms);
  });
}

// Asks what waits: when the hub says that something changed, when the page comes to the front, and from time to time while it is looked at.
let asking = false;
let again = false;
let asked = 0;
async function ask(): Promise<void> {
  again = asking;
  if (asking || document.hidden || pairedWith() === null) return;
  asking = true;
  asked = Date.now();
  const seen = () => JSON.stringify([list, offered(), trouble !== null]);
  const before = seen();
  try {
    list = await requests();
    await lookForOffers();
    trouble = null;
    if ((await carryOut(list)) > 0) list = await requests();
  } catch (error) {
    trouble = error;
  } finally {
    asking = false;
  }
  // What changed while the hub was being asked.
  if (again) void ask();
  if (seen() === before) return;
  if (path() === "/" && document.activeElement?.closest("main form") == null) await home(list).catch(failed);
  frame(path(), true);
}

let told = false;
let line = new AbortController();
async function hear(): Promise<void> {
  for (; ; await pause(POLL_MS)) {
    if (document.hidden || pairedWith() === null) continue;
    line = new AbortController();
    try {
      await listen(() => { told = true; void ask(); }, line.signal);
    } catch {
      // The page asks by itself then; that says what is wrong.
    }
    told = false;
  }
}

function failed(error: unknown): void {
  show("That did not work", refusal(error), h("div", { class: "buttons" }, button("Try again", () => void draw().catch(failed))));
}

async function begin(): Promise<void> {
  const trusted = (window as unknown as { trustedTypes?: { createPolicy(name: string, rules: object): { createScriptURL(url: string): string } } }).trustedTypes;
  const worker = trusted?.createPolicy("chorion-worker", { createScriptURL: (url: string) => { if (url === "/sw.js") return url; throw new Error("another script"); } });
  navigator.serviceWorker?.register(worker?.createScriptURL("/sw.js") ?? "/sw.js", { updateViaCache: "all" }).catch(() => undefined);
  await init({ module_or_path: fetch(WASM) });
  await openStore();
  await loadHub();
  if (location.hash.startsWith("#pair=")) replaceAddress(`/${location.hash.slice(1)}`);
  const changed = () => {
    void draw().catch(failed).then(() => { document.getElementById("main")?.focus(); window.scrollTo(0, 0); });
  };
  window.addEventListener("hashchange", changed);
  // A page of several steps stays at one address: a link that leads back to its first step changes none.
  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest("a[href^='#']") : null;
    const where = link?.getAttribute("href");
    if (where === "#main") {
      // The address after `#` says which page is shown.
      event.preventDefault();
      document.getElementById("main")?.focus();
    } else if (where === location.hash) {
      changed();
    }
  });
  onLock(() => {
    frame(path(), true);
    const noun = path().split("/")[1] ?? "";
    if (unlocked() === null && ["projects", "project", "grant", "request", "offer", "keys", "sign", "open", "rotate"].includes(noun)) void locked("This device locked itself", () => draw());
  });
  for (const name of ["pointerdown", "keydown"]) document.addEventListener(name, stirred, { passive: true });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) line.abort();
    void ask();
  });
  window.setInterval(() => { if (!told || Date.now() - asked >= POLL_ANYWAY_MS) void ask(); }, POLL_MS);
  await draw().catch(failed);
  document.getElementById("main")?.setAttribute("data-ready", "");
  void hear();
  await ask();
}

begin().catch(failed);
