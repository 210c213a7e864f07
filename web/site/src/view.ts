// The viewer of one file: igv.js over the ranges that this page's worker opens. Nothing else is asked for: no list of genomes, no
// reference from elsewhere. Where the dataset has one of its own it is shown; where it has none, reads are shown without it.
import igv from "igv";
import { firstPlace, sequencesOf, type Sequence } from "./headers.ts";
import { joined } from "./joined.ts";

type View = { format: "bam" | "cram" | "vcf"; url: string; index: string; name: string; fasta?: string; fai?: string };

// How many bases are shown at first.
const SHOWN = 16_384;

const main = document.querySelector<HTMLElement>("[data-view]");
const place = document.getElementById("viewer");
const state = document.getElementById("view-state");

function say(lines: string[], refused = false): void {
  if (state === null) return;
  state.replaceChildren(...lines.map((line) => {
    const paragraph = document.createElement("p");
    paragraph.textContent = line;
    return paragraph;
  }));
  state.className = refused ? "refusal" : "";
  state.hidden = lines.length === 0;
}

// The first bytes of a file, or all of it.
async function read(url: string, bytes?: number): Promise<Uint8Array<ArrayBuffer>> {
  const answer = await fetch(url, bytes === undefined ? {} : { headers: { range: `bytes=0-${bytes - 1}` } });
  if (!answer.ok) throw new Error(await answer.text());
  return new Uint8Array(await answer.arrayBuffer());
}

// A table of names and lengths, which stands in for a reference.
const table = (sequences: Sequence[]) => URL.createObjectURL(new Blob([sequences.map(({ name, length }) => `${name}\t${length}\n`).join("")], { type: "text/plain" }));

function trackOf(view: View): Record<string, unknown> {
  const common = { name: view.name, url: view.url, indexURL: view.index, format: view.format, height: 420 };
  if (view.format === "vcf") return { ...common, type: "variant", displayMode: "EXPANDED", height: 160 };
  // A CRAM says how reads differ from a reference; without one, what is equal is not known.
  const bases = view.fasta === undefined && view.format === "cram" ? { seqFetch: async (_: number, start: number, end: number) => "N".repeat(Math.max(0, end - start + 1)), checkSequenceMD5: false } : {};
  return { ...common, ...bases, type: "alignment", showCoverage: true, colorBy: "strand", visibilityWindow: 30_000 };
}

async function begin(): Promise<void> {
  if (main === null || place === null) return;
  const view = JSON.parse(main.dataset.view ?? "{}") as View;
  for (const key of ["url", "index", "fasta", "fai"] as const) if (view[key] !== undefined) view[key] = new URL(view[key], location.href).href;
  navigator.serviceWorker?.addEventListener("message", (event) => {
    const { failed } = event.data as { failed?: string };
    if (failed !== undefined) say(failed.split("\n"), true);
  });
  navigator.serviceWorker?.startMessages();
  await joined();
  const sequences = await sequencesOf(view.format, (bytes) => read(view.url, bytes));
  const sizes = { id: "no reference", name: "no reference", format: "chromsizes", url: table(sequences), wholeGenomeView: false };
  const reference = view.fasta === undefined ? sizes : { id: decodeURIComponent(view.fasta.split("/").at(-1) ?? ""), name: "of this dataset", fastaURL: view.fasta, indexURL: view.fai, wholeGenomeView: false };
  const first = (await firstPlace(await read(view.index), sequences)) ?? { name: sequences[0]?.name ?? "", start: 0 };
  const locus = `${first.name}:${first.start + 1}-${first.start + SHOWN}`;
  await igv.createBrowser(place, {
    reference, locus, tracks: [trackOf(view)], loadDefaultGenomes: false, genomeList: [], queryParametersSupported: false,
    showIdeogram: false, showCenterGuideButton: false, showSVGButton: false, showTrackLabelButton: false, showROITableButton: false, showSampleNameButton: false,
  } as never);
  say([]);
  main.dataset.state = "drawn";
}

begin().catch((error: unknown) => {
  say((error instanceof Error ? error.message : String(error)).split("\n"), true);
  if (main !== null) main.dataset.state = "failed";
});
