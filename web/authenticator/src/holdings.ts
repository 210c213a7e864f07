// What one's projects hold: as the hub lists it, as the log tells it, and as this device remembers it. A hub that leaves a dataset out, or shows an
// older content of it, breaks no signature: this finds it.
import * as wasm from "authenticator";
import { base64, bytesOf, call, keep, kept, listed, pairedWith, Refused, type Json } from "./core.ts";
import { h, mark, refusal } from "./draw.ts";

type Remembered = { datasets: Record<string, { project: string }> };
type Log = { key: string; checkpoint: string };
type Step = { tiles?: string[]; contents?: string[]; now: Json; alarms: string[]; held: number; unknown: number };

// Everything of one's own that the hub shows: what is listed first, then the events, which tell of all of it.
async function shown() {
  const all = await listed<{ id: string; right: string }>("/projects");
  const projects = all.filter((one) => one.right === "owner").map((one) => one.id);
  const datasets: Json[] = [];
  for (const project of projects) datasets.push(...(await listed<Json>(`/datasets?project=${project}`)));
  return { projects, listed: datasets, events: await listed<Json>("/audit/events?limit=1000") };
}

async function manifestOf(dataset: string): Promise<Json> {
  try {
    return await call<Json>("GET", `/datasets/${dataset}/manifest`);
  } catch (error) {
    if (error instanceof Refused && error.code === "not_found") return null;
    throw error;
  }
}

async function compared(hub: string, log: Log, you: Json, all: Awaited<ReturnType<typeof shown>>): Promise<Step> {
  const before = (await kept<Json>("holdings")) ?? null;
  const tiles: [string, string][] = [];
  const contents: Record<string, Json> = {};
  for (let tries = 0; tries < 4; tries += 1) {
    const step = JSON.parse(wasm.check_holdings(JSON.stringify({ hub, log, you, ...all, tiles, before, contents }))) as Step;
    if (step.tiles === undefined && step.contents === undefined) return step;
    for (const path of step.tiles ?? []) tiles.push([path, base64(await bytesOf(`/audit/log/tile/${path}`))]);
    for (const dataset of step.contents ?? []) contents[dataset] = await manifestOf(dataset);
  }
  throw new Error("the hub does not show what it lists");
}

// Compares it all. `verified` verifies the log up to its newest checkpoint and gives it, or nothing where it does not hold.
export async function holdings(verified: () => Promise<Log | null>): Promise<HTMLElement[]> {
  const hub = pairedWith();
  if (hub === null) return [];
  // Something may be put or destroyed between two answers of the hub: what is missing is missing twice.
  for (let looks = 1; ; looks += 1) {
    try {
      const all = await shown();
      const log = await verified();
      if (log === null) return [];
      const { you } = await call<{ you: Json }>("GET", "/audit/log");
      const { now, alarms, held, unknown } = await compared(hub.id, log, you, all);
      if (alarms.length === 0) {
        await keep("holdings", now);
        const more = unknown === 0 ? "" : `; ${unknown} more were never seen from here, and can have gone with a project that you deleted or gave away`;
        return [h("p", { class: "result" }, mark("nothing is missing", "ok"), h("span", {}, `datasets of your projects that hold what the log says they hold: ${held}${more}`))];
      }
      if (looks === 2) return alarms.map((alarm) => refusal(new Error(`${alarm}\nask the hub's operator; what this device remembers is left as it was`)));
    } catch (error) {
      if (looks === 2) return [refusal(new Error(`what your projects hold could not be compared: ${(error as Error).message}`))];
    }
  }
}

// What this device remembers of a project and a list leaves out.
export async function unlisted(project: string, here: string[]): Promise<HTMLElement | null> {
  const datasets = (await kept<Remembered>("holdings"))?.datasets ?? {};
  const gone = Object.entries(datasets).filter(([id, held]) => held.project === project && !here.includes(id));
  if (gone.length === 0) return null;
  return h("div", { class: "refusal" }, h("p", {}, "Was here, and is not listed:"), ...gone.map(([id]) => h("p", { class: "mono" }, id)),
    h("p", {}, h("a", { href: "#/history" }, "See whether the log knows why")));
}
