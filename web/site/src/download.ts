// The page of one file: when its worker is there, the download is a plain link, and what the worker says of it is shown.
import { joined } from "./joined.ts";

type Told = { path: string; bytes?: number; done?: string; failed?: string };

const section = document.querySelector<HTMLElement>("[data-open]");
const state = document.getElementById("open-state");
const bar = document.getElementById("open-progress") as HTMLProgressElement | null;
const link = document.getElementById("open-link") as HTMLAnchorElement | null;

const MIB = 1024 * 1024;
let begun = 0;

function say(text: string, refused = false): void {
  if (state === null) return;
  state.replaceChildren(...text.split("\n").map((line) => {
    const paragraph = document.createElement("p");
    paragraph.textContent = line.charAt(0).toUpperCase() + line.slice(1) + (/[.?!]$/.test(line) ? "" : ".");
    return paragraph;
  }));
  state.className = refused ? "refusal" : "";
}

function told({ path, bytes, done, failed }: Told): void {
  if (section === null || bar === null || path !== section.dataset.open) return;
  if (bytes === 0) begun = performance.now();
  bar.hidden = bytes === undefined;
  if (bytes !== undefined) {
    bar.value = bytes;
    const rate = bytes / MIB / Math.max(0.001, (performance.now() - begun) / 1000);
    say(bytes === 0 ? "It is on its way" : `${Math.floor((bytes / bar.max) * 100)} % opened, ${Math.round(rate)} MiB/s. Leave this page open until it is whole`);
  }
  if (done !== undefined) say("It is whole: its SHA-256 is the one that its writer signed");
  if (failed !== undefined) say(failed, true);
  section.dataset.state = failed !== undefined ? "failed" : done !== undefined ? "done" : "going";
}

async function begin(): Promise<void> {
  if (section === null || link === null) return;
  navigator.serviceWorker?.addEventListener("message", (event) => told(event.data as Told));
  navigator.serviceWorker?.startMessages();
  await joined();
  link.hidden = false;
  section.dataset.state = "ready";
}

begin().catch((error: unknown) => say(`${error instanceof Error ? error.message : String(error)}\nthe command line does it`, true));
