// Datasets of one's own: what they hold, opened here; saved, shared and destroyed.
import * as wasm from "authenticator";
import { bytesOf, call, keep, kept, listed, pairedWith, patiently, unlocked, type Bytes, type Json, type Signed } from "./core.ts";
import { cardOf, own, signing } from "./cards.ts";
import { button, check, facts, field, form, h, mark, moment, progress, refusal, show, size } from "./draw.ts";
import { locked } from "./requests.ts";
import { open, prefixOf } from "./sealing.ts";
import { ahead } from "../../opening/segments.ts";

export type Dataset = { id: string; kind: string; project: string; custodian: string; label: string; execution: string; created: string; sealed_bytes: number; manifest_number: number };
type Extent = { object: string; commitment: string; offset: number; bytes: number };
export type FileEntry = { path: string; bytes: number; sha256: string; extents: Extent[] };
export type SealedObject = { object: string; hash: string; sealed_bytes: number };

const KINDS: Record<string, string> = { sample: "Sample", result: "Result", run: "Run", app: "App" };
export const kindOf = (one: Dataset) => KINDS[one.kind] ?? one.kind;

// The name of a dataset, which the hub never reads.
export async function nameOf(one: Dataset): Promise<string> {
  const person = unlocked();
  if (person === null) return "(sealed)";
  try {
    return person.open_name(JSON.stringify(await call<Json>("GET", `/datasets/${one.id}/key`)), JSON.stringify(one.label), "dataset");
  } catch {
    return "(sealed to somebody else)";
  }
}

// Opened and verified: key, card, writer, and no older than what was seen.
export async function opened(id: string): Promise<wasm.Opened> {
  const [person, hub] = [unlocked(), pairedWith()];
  if (person === null || hub === null) throw new Error("this device is locked");
  const key = await call<{ release: { project: string } }>("GET", `/datasets/${id}/key`);
  const manifest = await call<Json>("GET", `/datasets/${id}/manifest`);
  const card = (await kept<Signed>(`card:${key.release.project}`)) ?? null;
  const before = (await kept<Json>(`content:${id}`)) ?? null;
  const content = person.open_dataset(hub.id, id, JSON.stringify(key), JSON.stringify(manifest), JSON.stringify(card), JSON.stringify(before));
  await keep(`content:${id}`, JSON.parse(content.seen));
  return content;
}

export async function filesOf(id: string, content: wasm.Opened): Promise<{ files: FileEntry[]; objects: Map<string, SealedObject> }> {
  const objects = new Map((await listed<SealedObject>(`/datasets/${id}/objects`)).map((one) => [one.object, one]));
  for (const object of content.index_objects()) content.take_index(JSON.stringify(objects.get(object) ?? null), await bytesOf(`/datasets/${id}/objects/${object}`));
  return { files: JSON.parse(content.files()) as FileEntry[], objects };
}

export async function dataset(id: string): Promise<void> {
  if (unlocked() === null) return locked("Unlock to see what it holds", () => dataset(id));
  show("Opening…", h("p", { role: "status" }, "Its key, its card and whoever wrote it are verified on this device."));
  const found = await call<Dataset>("GET", `/datasets/${id}`);
  const name = await nameOf(found);
  const back = `#/project/${found.project}`;
  const about = [
    h("p", { class: "marks" }, mark("Key held by: Owner", "ok"), mark(found.execution, found.execution === "complete" ? "ok" : "wait")),
    h("div", { class: "card" }, facts([["What", kindOf(found)], ["Since", moment(found.created)], ["Sealed", size(found.sealed_bytes)], ["Dataset", h("span", { class: "mono" }, id)]])),
  ];
  const end = [destroying(found, name), h("p", {}, h("a", { href: back }, "Back to the project"))];
  if (found.manifest_number === 0) return show(name, ...about, h("p", {}, "It is not whole yet: nothing of it can be opened."), ...end);
  let content: wasm.Opened;
  let held: { files: FileEntry[]; objects: Map<string, SealedObject> };
  try {
    content = await opened(id);
    held = await filesOf(id, content);
  } catch (error) {
    return show(name, ...about, refusal(error), ...end);
  }
  const { files, objects } = held;
  show(name, ...about, h("h2", {}, "Files"),
    h("ul", { class: "rows card" }, ...files.map((file) => {
      const place = h("div", {});
      return h("li", { class: "file" }, h("div", {}, h("p", {}, file.path), h("p", { class: "small" }, size(file.bytes)), h("p", { class: "small mono" }, `SHA-256 ${file.sha256}`), place),
        button("Save", () => void save(id, content, file, objects, place), "quiet small"));
    })),
    h("p", { class: "hint" }, "Opened here, segment by segment, under the commitments that its writer signed. What you save lies open on this device."),
    sharing(found, content), ["sample", "result"].includes(found.kind) && h("p", {}, h("a", { href: `#/copy/${id}` }, "Copy it into a project that others hold the key of")), ...end);
}

// 1. Saving: an object after the other is fetched, opened and written; one is fetched ahead, and that is all that lies in memory.

const MOST_WITHOUT_PICKER = 512 * 1024 * 1024;
// The module hashes in memory of its own, which stays small.
const HASHED_AT_ONCE = 1024 * 1024;
type Sink = { write(bytes: Bytes): Promise<void>; end(): Promise<void>; drop(): Promise<void> };
type Picker = { showSaveFilePicker?: (options: { suggestedName: string }) => Promise<FileSystemFileHandle> };

async function sinkFor(id: string, file: FileEntry): Promise<Sink> {
  const name = file.path.split("/").at(-1) ?? "file";
  const pick = (window as unknown as Picker).showSaveFilePicker;
  if (pick !== undefined) {
    const to = await (await pick.call(window, { suggestedName: name })).createWritable();
    return { write: (bytes) => to.write(bytes), end: () => to.close(), drop: () => to.abort() };
  }
  if (file.bytes > MOST_WITHOUT_PICKER) throw new Error(`this browser saves no file of ${size(file.bytes)} piece by piece\nthe command line does: chorion sample download ${id}`);
  const parts: Blob[] = [];
  return {
    // A browser may put blobs aside; buffers it would have to hold.
    write: async (bytes) => { parts.push(new Blob([bytes])); },
    end: async () => {
      const address = URL.createObjectURL(new Blob(parts, { type: "application/octet-stream" }));
      h("a", { href: address, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
    },
    drop: async () => { parts.length = 0; },
  };
}

async function save(id: string, content: wasm.Opened, file: FileEntry, objects: Map<string, SealedObject>, place: HTMLElement): Promise<void> {
  const bar = progress(`Saving ${file.path}`, file.bytes);
  let sink: Sink | null = null;
  try {
    sink = await sinkFor(id, file);
    place.replaceChildren(bar.element);
    const begun = performance.now();
    await openTo(id, content, file, objects, sink, bar);
    await sink.end();
    performance.measure("chorion: saved", { start: begun });
    place.replaceChildren(h("p", { role: "status" }, mark("saved", "ok"), " every segment opened, and the SHA-256 is the one that was signed."));
  } catch (error) {
    await sink?.drop().catch(() => undefined);
    if (error instanceof DOMException && error.name === "AbortError") return place.replaceChildren();
    place.replaceChildren(refusal(error));
  }
}

async function openTo(id: string, content: wasm.Opened, file: FileEntry, objects: Map<string, SealedObject>, sink: Sink, bar: ReturnType<typeof progress>): Promise<void> {
  // While one part is written the next one is opened.
  let written: Promise<void> = Promise.resolve();
  for await (const part of partsOf(id, content, file, objects, bar.waits)) {
    await written;
    written = sink.write(part);
    // It is waited for before the next part; until then a failure is nobody's.
    written.catch(() => undefined);
    bar.more(part.length);
  }
  await written;
}

// The plaintext of a file: an object after the other is fetched ahead, opened and hashed. What is hashed is what the writer signed of the file as a
// whole: whoever else has the dataset's key could otherwise put another object under it. So nothing counts before the last part was asked for, and a
// part lies where it is until the one after the next is asked for.
export async function* partsOf(id: string, content: wasm.Opened, file: FileEntry, objects: Map<string, SealedObject>, waits: (why: string) => void): AsyncGenerator<Bytes> {
  const hash = new wasm.Hash();
  const fetched = ahead(file.extents, (extent) => patiently(() => bytesOf(`/datasets/${id}/objects/${extent.object}`), waits), 2);
  const rooms: (Bytes | undefined)[] = [undefined, undefined];
  let at = 0;
  for await (const sealed of fetched) {
    const extent = file.extents[at];
    if (extent === undefined) break;
    const room = rooms[at % 2];
    const begun = performance.now();
    const secret = content.segments(JSON.stringify(objects.get(extent.object) ?? null), prefixOf(sealed), extent.commitment);
    const plaintext = await open(secret, sealed, room);
    performance.measure("chorion: object opened", { start: begun, detail: plaintext.length });
    if (plaintext.length >= (room?.length ?? 0)) rooms[at % 2] = plaintext;
    at += 1;
    const part = plaintext.subarray(extent.offset, extent.offset + extent.bytes);
    if (part.length !== extent.bytes) throw new Error("the list of files asks for bytes past the end of an object");
    for (let from = 0; from < part.length; from += HASHED_AT_ONCE) hash.update(part.subarray(from, from + HASHED_AT_ONCE));
    yield part;
  }
  if (hash.finish() !== file.sha256) throw new Error(`${file.path} is not the file that its writer signed\nnothing of it was kept: ask the operator of the hub to scrub its store`);
}

// 2. Sharing: another person's words open it too. The key is compared by six words before anything is signed.

function sharing(found: Dataset, content: wasm.Opened): HTMLElement {
  const account = field("Account", {}, "The id of their account: chorion whoami shows it.");
  const key = field("Their key", {}, "The string chorion1…: their authenticator gives it under Keys, the command line by chorion identity show.");
  return h("details", {}, h("summary", {}, "Share it with somebody"), form([account.row, key.row], "Look at the six words", async () => {
    const words = wasm.phrase_of_key(key.input.value);
    const same = check("They read me these very words.");
    const member = check("Let them find it: the right `read` in this project.");
    member.input.checked = true;
    show("Do they read you the same?", h("p", {}, "These words belong to the key that you were given. Ask them for theirs: on the telephone, or face to face."), h("p", { class: "phrase" }, words),
      form([same.row, member.row], "Go on", async () => {
        if (!same.input.checked) throw new Error("share with nobody before the words are the same\nsomebody may have put another key in its place");
        const person = unlocked();
        if (person === null) throw new Error("this device locked itself: begin again");
        const { signed } = await cardOf(found.project);
        const draft = person.draw_share(await own(found.project, signed, "share with somebody"), content, account.input.value, key.input.value);
        signing("Sign this share?", draft, "Sign it", `#/dataset/${found.id}`, async (approval) => {
          if (member.input.checked) await call("PUT", `/projects/${found.project}/members/${account.input.value.trim()}`, { right: "read" });
          await call("POST", `/datasets/${found.id}/share`, { approval, key: JSON.parse(content.wrap_to(key.input.value)) as Json });
          show("Shared", h("p", { class: "lead" }, "Their words open it from now on. What they open they can keep: taking it back takes back no copy."), h("div", { class: "buttons" }, h("a", { class: "button", href: `#/project/${found.project}` }, "To the project")));
        });
      }, [h("a", { class: "button quiet", href: `#/dataset/${found.id}` }, "They differ")]));
  }, [], "quiet"));
}

// 3. Destroying: the name is typed, and the approval says which.

function destroying(found: Dataset, name: string): HTMLElement {
  const typed = field("Its name, typed", {}, `To be sure that it is this one: ${name}`);
  return h("details", {}, h("summary", {}, "Destroy it"), h("p", {}, "Its key is destroyed first, then its bytes, in every facility. There is no way back."),
    form([typed.row], "Show what I would sign", async () => {
      if (typed.input.value.trim() !== name) throw new Error("that is not its name");
      await destroy(found.project, found.id, `#/dataset/${found.id}`, `#/project/${found.project}`);
    }, [], "danger"));
}

type Deletion = { datasets: number; objects: number; facilities_pending: string[]; snapshots_until?: string };

// A dataset; or all of a project where there is none.
export async function destroy(project: string, id: string | null, back: string, then: string): Promise<void> {
  const person = unlocked();
  if (person === null) throw new Error("this device locked itself: begin again");
  const { signed } = await cardOf(project);
  const draft = person.draw_delete(await own(project, signed, "delete"), id ?? "");
  signing("Destroy it for ever?", draft, "Destroy it", back, async (approval) => {
    const gone = await call<Deletion>("DELETE", id === null ? `/projects/${project}` : `/datasets/${id}`, { confirm: id ?? project, approval });
    show("Destroyed", h("p", { class: "lead" }, `${gone.objects} sealed objects of ${gone.datasets} datasets, keys first.`),
      ...gone.facilities_pending.map((facility) => h("p", {}, `Facility ${facility} is away, and erases when it comes back.`)),
      gone.snapshots_until !== undefined && h("p", {}, `Gone from service now, from the last snapshot of the keys by ${moment(gone.snapshots_until)}.`),
      h("div", { class: "buttons" }, h("a", { class: "button", href: then }, "Back")));
  }, [], "danger");
}

