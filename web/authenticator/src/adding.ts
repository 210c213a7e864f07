// Files become a sample of one's own: looked at, sealed on this device, sent; a manifest signed by this browser's key closes it.
//
// One pack lies in memory while the one before is under way. What a pack became is written down before it is sent: after a stop the same
// files are chosen again, read from their beginning, and what the hub holds already is not sent.
import * as wasm from "authenticator";
import { call, callKey, drop, hex, identity, keep, keptUnder, listed, now, pairedWith, patiently, sha256, signStatement, unlocked, type Bytes, type Json, type Signed } from "./core.ts";
import { asked, cardOf, own } from "./cards.ts";
import { button, field, form, h, mark, progress, refusal, show, size } from "./draw.ts";
import { inside, isCrypt4gh, look } from "./formats.ts";
import { confirmed } from "./passkey.ts";
import { locked } from "./requests.ts";
import { PACK_BYTES, seal } from "./sealing.ts";

type Pack = { plain: string; object: string; hash: string; bytes: number; commitment: string };
// What is sealed and sent: a file's plaintext, a pack after the other, the same each time it is asked for.
export type Source = { path: string; size: number; packs: () => AsyncGenerator<Bytes> };
export type Begun = { create: { id: string; project: string; label: string }; name: string; files: { name: string; size: number; sealed: boolean }[] };
type Chosen = { file: File; key: wasm.Crypt4ghKey | null };
type Extent = { object: string; commitment: string; offset: number; bytes: number };

export async function adding(project: string): Promise<void> {
  const person = unlocked();
  if (person === null) return locked("Unlock to add files", () => adding(project));
  const { signed } = await cardOf(project);
  const { raw } = await callKey();
  const mayWrite = person.may_write(await own(project, signed, ""), raw);
  const begun = (await keptUnder<Begun>("import:")).filter(([, one]) => one.create.project === project);
  const name = field("Name of the sample", {}, "Sealed: the hub never reads it.");
  const files = field("Files", { type: "file", multiple: true }, "One person's: VCF, BCF, BAM, CRAM, FASTQ, a 23andMe text, and indexes beside them.");
  const key = keyFields();
  const pass = mayWrite ? null : asked("Your passphrase, once more", "This browser adds data here for the first time: your card has to say that it may.");
  show("Add files",
    ...begun.map(([id, one]) => goingOn(id, one)),
    h("p", {}, "They are sealed on this device before they leave it. First bytes and last are looked at here; the command line (chorion sample import) also checks every record."),
    form([name.row, files.row, key.row, pass?.row], "Seal and send", async () => {
      if (name.input.value.trim() === "") throw new Error("a sample has a name");
      const chosen = await withKeys([...(files.input.files ?? [])], key);
      await looked(chosen);
      if (pass !== null) await letWrite(project, signed, raw, pass.input.value);
      const current = (await cardOf(project)).signed;
      const making = (unlocked() ?? person).make_dataset(await own(project, current, ""), name.input.value.trim());
      const create = JSON.parse(making.create) as Begun["create"];
      const made: Begun = { create, name: name.input.value.trim(), files: chosen.map(({ file, key: sealed }) => ({ name: file.name, size: file.size, sealed: sealed !== null })) };
      await keep(`import:${create.id}`, made);
      await run(making, made, chosen);
    }, [h("a", { class: "button quiet", href: `#/project/${project}` }, "Back")]));
}

// What opens files that came as Crypt4GH.
function keyFields(): { row: HTMLElement; read: () => Promise<wasm.Crypt4ghKey> } {
  const file = field("Your Crypt4GH secret key", { type: "file" }, "The file that crypt4gh-keygen made. It stays on this device, and nothing of it is kept.");
  const pass = field("Its passphrase", { type: "password" });
  const read = async () => {
    const chosen = file.input.files?.[0];
    if (chosen === undefined) throw new Error("some of the files are sealed with Crypt4GH\nchoose the secret key that opens them");
    return wasm.Crypt4ghKey.read(await chosen.text(), pass.input.value);
  };
  return { row: h("details", {}, h("summary", {}, "They are sealed with Crypt4GH"), file.row, pass.row), read };
}

async function withKeys(files: File[], key: { read: () => Promise<wasm.Crypt4ghKey> }): Promise<Chosen[]> {
  const chosen: Chosen[] = [];
  let read: wasm.Crypt4ghKey | null = null;
  for (const file of files) chosen.push({ file, key: (await isCrypt4gh(file)) ? (read ??= await key.read()) : null });
  return chosen;
}

// The plaintext of a file, a pack after the other.
async function* packsOf({ file, key }: Chosen): AsyncGenerator<Bytes> {
  const part = async (from: number): Promise<Bytes> => {
    try {
      return new Uint8Array(await file.slice(from, from + PACK_BYTES).arrayBuffer());
    } catch {
      throw new Error(`${file.name} cannot be read any more: it was changed or taken away\nchoose it again`);
    }
  };
  let opening: wasm.Crypt4ghFile | null = null;
  let rest: Bytes = new Uint8Array();
  for (let from = 0; from < file.size; from += PACK_BYTES) {
    const bytes = await part(from);
    if (key === null) {
      yield bytes;
      continue;
    }
    const last = from + PACK_BYTES >= file.size;
    const more: Uint8Array = opening === null ? (opening = new wasm.Crypt4ghFile(bytes, key)).open(new Uint8Array(), last) : opening.open(bytes, last);
    const joined = new Uint8Array(rest.length + more.length);
    joined.set(rest);
    joined.set(more, rest.length);
    for (rest = joined; rest.length >= PACK_BYTES; rest = rest.slice(PACK_BYTES)) yield rest.slice(0, PACK_BYTES);
  }
  if (rest.length > 0) yield rest;
}

async function looked(files: Chosen[]): Promise<void> {
  if (files.length === 0) throw new Error("no file is chosen");
  if (new Set(files.map(({ file }) => inside(file.name))).size !== files.length) throw new Error("two of the files have one name");
  const formats: string[] = [];
  for (const chosen of files) {
    const begin = chosen.key === null ? null : ((await packsOf(chosen).next()).value ?? new Uint8Array());
    formats.push(await look(chosen.file, begin as Bytes | null));
  }
  if (formats.every((format) => format === "an index")) throw new Error("there is an index, and nothing that it is an index of\nchoose the file beside it too");
}

// The next card: this browser's key may add data.
async function letWrite(project: string, signed: Signed, raw: Uint8Array, passphrase: string): Promise<void> {
  const person = unlocked();
  if (person === null) throw new Error("this device locked itself: begin again");
  const { file, secret } = await confirmed(passphrase, await identity());
  const next = person.let_write(await own(project, signed, ""), hex(raw), file, secret);
  if (next === "") return;
  await call("PUT", `/projects/${project}/card`, JSON.parse(next));
  await keep(`card:${project}`, (JSON.parse(next) as { card: Signed }).card);
}

function goingOn(id: string, begun: Begun): HTMLElement {
  const files = field(`The files of “${begun.name}”, once more`, { type: "file", multiple: true }, begun.files.map((file) => `${file.name}, ${size(file.size)}`).join("; "));
  const key = begun.files.some((file) => file.sealed) ? keyFields() : null;
  return h("section", { class: "card" }, h("h2", {}, `${begun.name} was begun`), h("p", {}, "A page cannot open files by itself: choose the same ones, and it goes on where it was."),
    form([files.row, key?.row], "Go on", async () => {
      const chosen = begun.files.map((file) => [...(files.input.files ?? [])].find((one) => one.name === file.name && one.size === file.size));
      if (chosen.some((file) => file === undefined)) throw new Error("these are not the same files");
      const person = unlocked();
      if (person === null) throw new Error("this device locked itself: begin again");
      await run(person.go_on(JSON.stringify(begun.create)), begun, await withKeys(chosen as File[], key ?? keyFields()));
    }, [button("Give it up", () => void giveUp(id, begun), "quiet")], "quiet"));
}

// Each pack that was sealed is a record of its own: `pack:DATASET:FILE:NUMBER`.
const packKey = (id: string, file: number, number: number) => `pack:${id}:${file}:${number}`;

export async function forget(id: string): Promise<void> {
  const packs = await keptUnder<Pack>(`pack:${id}:`);
  await drop(`import:${id}`, `copy:${id}`, ...packs.map(([rest]) => `pack:${id}:${rest}`));
}

async function giveUp(id: string, begun: Begun): Promise<void> {
  // What arrived of it stands in the project, not whole, and can be destroyed there.
  await forget(id);
  await adding(begun.create.project);
}

async function run(making: wasm.Making, begun: Begun, files: Chosen[]): Promise<void> {
  const id = begun.create.id;
  const total = files.reduce((sum, { file }) => sum + file.size, 0);
  const bar = progress(`Sealing and sending ${begun.name}`, total);
  show(`Adding ${begun.name}`, bar.element, h("p", { class: "hint" }, "Leave this page open. Stopped half-way, choose the same files again and it goes on."));
  const here = document.getElementById("main")?.firstChild;
  try {
    const sources = files.map((chosen): Source => ({ path: inside(chosen.file.name), size: chosen.file.size, packs: () => packsOf(chosen) }));
    const whole = await sent(making, begun.create, sources, bar, () => document.getElementById("main")?.firstChild === here);
    if (!whole) return;
    await forget(id);
    show(`${begun.name} is whole at the hub`, h("p", { class: "lead" }, mark("sealed", "ok"), ` ${files.length === 1 ? "1 file" : `${files.length} files`}, ${size(total)}. The hub compared what it holds with what you signed.`),
      h("div", { class: "buttons" }, h("a", { class: "button", href: `#/dataset/${id}` }, "Look at it"), h("a", { class: "button quiet", href: `#/project/${begun.create.project}` }, "To the project")));
  } catch (error) {
    show(`${begun.name} is not whole yet`, refusal(error), h("p", {}, "What arrived is kept."), h("div", { class: "buttons" }, h("a", { class: "button", href: `#/add/${begun.create.project}` }, "Go on")));
  } finally {
    making.free();
  }
}

// Says no if the person went away from the page.
export async function sent(making: wasm.Making, create: Begun["create"], sources: Source[], bar: ReturnType<typeof progress>, stands: () => boolean): Promise<boolean> {
  const { id } = create;
  await patiently(() => call("POST", "/datasets", create), bar.waits);
  const found = await call<{ manifest_number: number }>("GET", `/datasets/${id}`);
  if (found.manifest_number > 0) return true;
  const packs = new Map((await keptUnder<Pack>(`pack:${id}:`)).map(([rest, pack]) => [`pack:${id}:${rest}`, pack]));
  const held = await heldOf(id, [...packs.values()]);
  const entries: { path: string; bytes: number; sha256: string; extents: Extent[] }[] = [];
  let flying: Promise<void> = Promise.resolve();
  for (const [at, { path, packs: packsOf }] of sources.entries()) {
    const hash = new wasm.Hash();
    let [number, length] = [0, 0];
    const extents: Extent[] = [];
    for await (const bytes of packsOf()) {
      if (!stands()) return false;
      hash.update(bytes);
      length += bytes.length;
      const plain = hex(await sha256(bytes));
      let pack = packs.get(packKey(id, at, number));
      if (pack === undefined || pack.plain !== plain || held.get(pack.object) !== pack.hash) {
        const head = making.object();
        const { object, commitment, wrapped_key } = head;
        const sealed = await seal(head, bytes);
        pack = { plain, object, commitment, hash: hex(await sha256(sealed)), bytes: sealed.length };
        await flying;
        await keep(packKey(id, at, number), pack);
        flying = put(id, object, wrapped_key, sealed, bar).then(() => bar.more(bytes.length));
        // It is waited for before the next one leaves; until then a failure is nobody's.
        flying.catch(() => undefined);
      } else {
        bar.more(bytes.length);
      }
      extents.push({ object: pack.object, commitment: pack.commitment, offset: 0, bytes: bytes.length });
      number += 1;
    }
    entries.push({ path, bytes: length, sha256: hash.finish(), extents });
  }
  await flying;
  await close(making, id, entries, bar);
  return true;
}

const put = (id: string, object: string, key: string, sealed: Bytes, bar: ReturnType<typeof progress>) =>
  patiently(async () => { await call("PUT", `/datasets/${id}/objects/${object}`, sealed, { headers: [["chorion-epoch", "0"], ["chorion-wrapped-key", key]] }); }, bar.waits);

// Which of the packs that were written down the hub holds, by the hashes that it acknowledges.
async function heldOf(id: string, packs: Pack[]): Promise<Map<string, string>> {
  const held = new Map<string, string>();
  for (let from = 0; from < packs.length; from += 1000) {
    const ask = packs.slice(from, from + 1000).map((pack) => pack.object);
    const { objects } = await call<{ objects: { object: string; hash: string }[] }>("POST", `/datasets/${id}/objects/have`, { objects: ask });
    for (const one of objects) held.set(one.object, one.hash);
  }
  return held;
}

async function close(making: wasm.Making, id: string, files: Json[], bar: ReturnType<typeof progress>): Promise<void> {
  const hub = pairedWith();
  const objects = (await listed<{ object: string; hash: string; sealed_bytes: number }>(`/datasets/${id}/objects`)).map((one) => [one.object, one.hash, one.sealed_bytes]);
  const { statement, parts } = JSON.parse(making.close(hub?.id ?? "", JSON.stringify(files), JSON.stringify(objects), now())) as { statement: string; parts: { object: string; wrapped_key: string; sealed: string }[] };
  for (const part of parts) await put(id, part.object, part.wrapped_key, Uint8Array.from(atob(part.sealed), (letter) => letter.charCodeAt(0)), bar);
  await call("POST", `/datasets/${id}/manifest`, { manifest: await signStatement(statement), reads: null });
}

export const begunOf = async (project: string): Promise<number> => (await keptUnder<Begun>("import:")).filter(([, one]) => one.create.project === project).length;
