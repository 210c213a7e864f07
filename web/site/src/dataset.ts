// A dataset, opened in this worker: its key released to a recipient made here, its objects fetched by range and opened segment by segment.
import init, * as wasm from "opener";
import { ahead, cipherOf, openSegment, PREFIX, SEGMENT, SLOT, type Bytes, type Cipher } from "../../opening/segments.ts";

declare const WASM: string;

export type Purpose = "download" | "view";
type Extent = { object: string; commitment: string; offset: number; bytes: number };
export type FileEntry = { path: string; bytes: number; sha256: string; extents: Extent[] };
type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
// A part of an object's plaintext.
type Slice = Extent;
type Sealed = { object: string; bytes: Bytes };

// Objects in memory at once, the one that is being opened among them: with 8 MiB each, a bound.
const OBJECTS = 3;
// A fetch that fails for a moment's reason is tried so often, and waits longer each time.
const TRIES = 6;

// What the hub said when it did not do what it was asked.
export class Refused extends Error {
  constructor(readonly status: number, sentence: string) { super(sentence); }
}

let loading: Promise<unknown> | null = null;
const loaded = () => (loading ??= init({ module_or_path: fetch(WASM) }).catch((error: unknown) => {
  loading = null;
  throw error;
}));

async function asked(path: string, more: RequestInit = {}): Promise<Response> {
  for (let tries = 1; ; tries += 1) {
    let answer: Response | null = null;
    try {
      const headers = { accept: "application/problem+json", ...(more.headers as Record<string, string> | undefined) };
      answer = await fetch(path, { cache: "no-store", credentials: "same-origin", redirect: "manual", ...more, headers });
    } catch {
      // The hub is away; it may come back.
    }
    if (answer?.ok === true) return answer;
    if (answer?.type === "opaqueredirect") throw new Refused(401, "you are signed out here\nsign in again, in this window or another");
    const passes = answer === null || answer.status === 429 || answer.status === 503;
    if (!passes || tries >= TRIES || more.method === "POST") {
      const told = answer === null ? null : ((await answer.json().catch(() => null)) as { title?: string; hint?: string } | null);
      const sentence = told?.title ?? (answer === null ? "the hub does not answer" : `the hub answered ${answer.status}`);
      throw new Refused(answer?.status ?? 502, told?.hint ? `${sentence}\n${told.hint}` : sentence);
    }
    await new Promise((then) => setTimeout(then, Math.min(500 * 2 ** tries, 15_000)));
  }
}

export class Dataset {
  private readonly ciphers = new Map<string, Promise<Cipher>>();
  private constructor(private readonly id: string, private readonly opened: wasm.Opened, private readonly files: Map<string, FileEntry>) {}

  // Has the key released for `purpose`, which stands in the audit log, and opens the list of files.
  static async open(id: string, purpose: Purpose): Promise<Dataset> {
    await loaded();
    const recipient = new wasm.Recipient();
    const begun = (await (await asked(`/open/${id}/begin`)).json()) as { hub: string; form_token: string; manifest: Json };
    const form = new URLSearchParams({ form_token: begun.form_token, recipient: recipient.public(), purpose });
    const release = await (await asked(`/open/${id}/release`, { method: "POST", body: form })).text();
    const opened = recipient.open(begun.hub, id, release, JSON.stringify(begun.manifest));
    for (const object of opened.index_objects()) {
      const { head, bytes } = await sealed(id, object);
      opened.take_index(head, bytes);
    }
    const files = JSON.parse(opened.files()) as FileEntry[];
    return new Dataset(id, opened, new Map(files.map((file) => [file.path, file])));
  }

  file(path: string): FileEntry {
    const found = this.files.get(path);
    if (found === undefined) throw new Refused(404, `there is no file ${path} in this dataset`);
    return found;
  }

  // The bytes from `from` up to, and without, `to`.
  async *range(file: FileEntry, from: number, to: number): AsyncGenerator<Bytes> {
    const slices = slicesOf(file, from, to);
    const fetched = ahead(slices, (slice) => this.fetched(slice), OBJECTS);
    const segments = ahead(cut(fetched), ({ cipher, index, slot }) => openSegment(cipher, index, slot));
    // What a slice has of its first and of its last segment is cut off here.
    for (const slice of slices) {
      let skip = slice.offset % SEGMENT;
      for (let left = slice.bytes; left > 0; ) {
        const { done, value } = await segments.next();
        if (done === true) throw new Error("the list of files asks for bytes past the end of an object");
        const part = value.subarray(skip, skip + left);
        if (part.length === 0) throw new Error("the list of files asks for bytes past the end of an object");
        skip = 0;
        left -= part.length;
        yield part;
      }
    }
  }

  private async fetched(slice: Slice): Promise<{ cipher: Cipher; first: number; body: Bytes }> {
    const first = Math.floor(slice.offset / SEGMENT);
    const last = Math.floor((slice.offset + slice.bytes - 1) / SEGMENT);
    const end = PREFIX + (last + 1) * SLOT;
    const known = this.ciphers.get(slice.object);
    if (first > 0) {
      const [cipher, { bytes }] = await Promise.all([known ?? this.cipher(slice), sealed(this.id, slice.object, PREFIX + first * SLOT, end)]);
      return { cipher, first, body: bytes };
    }
    const { head, bytes } = await sealed(this.id, slice.object, 0, end);
    const cipher = await (known ?? this.keep(slice, head, bytes));
    return { cipher, first, body: bytes.subarray(PREFIX) };
  }

  // From the object's first bytes alone.
  private cipher(slice: Slice): Promise<Cipher> {
    const made = sealed(this.id, slice.object, 0, PREFIX).then(({ head, bytes }) => this.keep(slice, head, bytes));
    return made;
  }

  private keep(slice: Slice, head: string, bytes: Bytes): Promise<Cipher> {
    const made = cipherOf(this.opened.segments(head, bytes.subarray(0, PREFIX), slice.commitment), "decrypt");
    this.ciphers.set(slice.object, made);
    return made;
  }
}

// An object's bytes from `from` up to, and without, `to`, with what the hub keeps beside it.
async function sealed(id: string, object: string, from = 0, to?: number): Promise<Sealed & { head: string }> {
  const answer = await asked(`/open/${id}/objects/${object}`, { headers: { range: `bytes=${from}-${to === undefined ? "" : to - 1}` } });
  const header = (name: string) => answer.headers.get(name) ?? "";
  const head = {
    object, hash: header("etag").replaceAll('"', ""), sealed_bytes: Number(header("content-range").split("/")[1]),
    epoch: Number(header("chorion-epoch")), wrapped_key: header("chorion-wrapped-key"),
  };
  return { object, head: JSON.stringify(head), bytes: new Uint8Array(await answer.arrayBuffer()) };
}

async function* cut(these: AsyncIterable<{ cipher: Cipher; first: number; body: Bytes }>): AsyncGenerator<{ cipher: Cipher; index: number; slot: Bytes }> {
  for await (const { cipher, first, body } of these) {
    for (let at = 0; at * SLOT < body.length; at += 1) yield { cipher, index: first + at, slot: body.subarray(at * SLOT, (at + 1) * SLOT) };
  }
}

// The slices of objects that hold a range of a file, in order.
export function slicesOf(file: FileEntry, from: number, to: number): Slice[] {
  const found: Slice[] = [];
  let start = 0;
  for (const extent of file.extents) {
    const end = start + extent.bytes;
    const [first, last] = [Math.max(from, start), Math.min(to, end)];
    if (first < last) found.push({ ...extent, offset: extent.offset + (first - start), bytes: last - first });
    start = end;
  }
  return found;
}

// A SHA-256 over what comes, hexadecimal at the end.
export const hasher = (): { update(bytes: Bytes): void; finish(): string } => new wasm.Hash();
