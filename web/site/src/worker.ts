// The worker of /open/: a page below it asks for /open/DATASET/files/PATH, and gets the file, opened in here.
//
// What a page asks for by range, the viewer's reads and indexes, is fetched and opened in those ranges alone. What a person follows as a
// link is a download: it streams to the disk, and its last bytes are held back until the SHA-256 of the whole is the one that was signed,
// so that a file that looks whole is whole. Keys are in this worker's memory, and are gone when the browser ends it.
import { Dataset, hasher, Refused, type FileEntry, type Purpose } from "./dataset.ts";
import type { Bytes } from "../../opening/segments.ts";

type Extendable = Event & { waitUntil(work: Promise<unknown>): void };
type Fetching = Extendable & { request: Request; respondWith(answer: Promise<Response>): void };
type Messaging = Extendable & { data: unknown };
type Client = { url: string; postMessage(message: unknown): void };
type Scope = {
  skipWaiting(): Promise<void>;
  clients: { claim(): Promise<void>; matchAll(options: { type: "window" }): Promise<Client[]> };
};
const scope = self as unknown as Scope;

const ADDRESS = /^\/open\/([0-9a-f-]{36})\/files\/(.+)$/;
// How often a page hears how far its download is.
const TOLD_EVERY_MS = 250;

// So long a released key is used; then it is asked for once more, and whoever holds it may have changed their mind.
const KEY_MS = 10 * 60 * 1000;

// One for each dataset and purpose, as the audit log has them.
const open = new Map<string, { since: number; dataset: Promise<Dataset> }>();

function dataset(id: string, purpose: Purpose): Promise<Dataset> {
  const key = `${purpose} ${id}`;
  const known = open.get(key);
  if (known !== undefined && Date.now() - known.since < KEY_MS) return known.dataset;
  const opening = Dataset.open(id, purpose);
  open.set(key, { since: Date.now(), dataset: opening });
  opening.catch(() => open.delete(key));
  return opening;
}

// What failed is not gone on with: the next who asks has it opened anew.
function failed(id: string, path: string, error: unknown): Promise<number> {
  for (const key of open.keys()) if (key.endsWith(` ${id}`)) open.delete(key);
  return tell(id, { path, failed: sentence(error) });
}

// To the pages of this dataset.
async function tell(id: string, message: Record<string, unknown>): Promise<number> {
  const pages = (await scope.clients.matchAll({ type: "window" })).filter((page) => new URL(page.url).pathname.startsWith(`/open/${id}`));
  for (const page of pages) page.postMessage(message);
  return pages.length;
}

const sentence = (error: unknown) => (error instanceof Error ? error.message : String(error));

// One range of RFC 9110 section 14.1.2 within a file.
function wanted(header: string | null, bytes: number): [number, number] | null {
  const found = /^bytes=(\d*)-(\d*)$/.exec(header ?? "");
  if (found === null) return null;
  const [first, last] = [found[1] ?? "", found[2] ?? ""];
  if (first === "") return [Math.max(0, bytes - Number(last)), bytes];
  return [Number(first), last === "" ? bytes : Math.min(bytes, Number(last) + 1)];
}

// Bytes as they are asked for; when nobody wants more, nothing more is fetched.
function streamed(bytes: AsyncGenerator<Bytes>, ended: (error?: unknown) => void): ReadableStream<Bytes> {
  return new ReadableStream({
    async pull(controller) {
      try {
        const { done, value } = await bytes.next();
        if (done !== true) return controller.enqueue(value);
        controller.close();
        ended();
      } catch (error) {
        controller.error(error);
        ended(error);
      }
    },
    cancel() {
      void bytes.return(undefined).catch(() => undefined);
      ended(new Error("it was stopped"));
    },
  }, { highWaterMark: 16 });
}

async function range(request: Request, id: string, path: string): Promise<Response> {
  try {
    const opened = await dataset(id, "view");
    const file = opened.file(path);
    const part = wanted(request.headers.get("range"), file.bytes);
    const [from, to] = part ?? [0, file.bytes];
    if (from >= to && file.bytes > 0) {
      return new Response(null, { status: 416, headers: { "content-range": `bytes */${file.bytes}` } });
    }
    const headers = new Headers({ "content-type": "application/octet-stream", "content-length": String(to - from), "accept-ranges": "bytes", "cache-control": "no-store" });
    if (part !== null) headers.set("content-range", `bytes ${from}-${to - 1}/${file.bytes}`);
    const body = streamed(opened.range(file, from, to), (error) => { if (error !== undefined) void failed(id, path, error); });
    return new Response(body, { status: part === null ? 200 : 206, headers });
  } catch (error) {
    void failed(id, path, error);
    return new Response(sentence(error), { status: error instanceof Refused ? error.status : 500, headers: { "content-type": "text/plain; charset=utf-8" } });
  }
}

// The whole file, hashed on its way: what is given out stays one piece behind what was hashed.
async function* checked(opened: Dataset, file: FileEntry, told: (bytes: number) => void): AsyncGenerator<Bytes> {
  const hash = hasher();
  let held: Bytes | null = null;
  let [bytes, last] = [0, 0];
  for await (const part of opened.range(file, 0, file.bytes)) {
    hash.update(part);
    if (held !== null) yield held;
    held = part;
    bytes += part.length;
    if (performance.now() - last > TOLD_EVERY_MS) {
      last = performance.now();
      told(bytes);
    }
  }
  if (hash.finish() !== file.sha256) throw new Error(`the file ${file.path} is not the one that its writer signed\nnothing of it counts: ask the operator of the hub to scrub its store`);
  if (held !== null) yield held;
}

async function download(event: Fetching, id: string, path: string): Promise<Response> {
  try {
    const opened = await dataset(id, "download");
    const file = opened.file(path);
    let over: () => void = () => undefined;
    event.waitUntil(new Promise<void>((resolve) => { over = resolve; }));
    const parts = checked(opened, file, (bytes) => void tell(id, { path, bytes }));
    const body = streamed(parts, (error) => {
      void (error === undefined ? tell(id, { path, done: file.sha256 }) : failed(id, path, error));
      over();
    });
    void tell(id, { path, bytes: 0 });
    const name = encodeURIComponent(path.split("/").at(-1) ?? "file").replace(/['()*]/g, (c) => `%${c.charCodeAt(0).toString(16)}`);
    return new Response(body, { headers: {
      "content-type": "application/octet-stream", "content-length": String(file.bytes), "content-disposition": `attachment; filename*=UTF-8''${name}`,
      "cache-control": "no-store", "x-content-type-options": "nosniff",
    } });
  } catch (error) {
    const pages = await failed(id, path, error);
    // The page that asked stays, and says why; who came without one gets it.
    return pages > 0 ? new Response(null, { status: 204 }) : Response.redirect(`/open/${id}?file=${encodeURIComponent(path)}`);
  }
}

self.addEventListener("install", (event) => (event as Extendable).waitUntil(scope.skipWaiting()));
self.addEventListener("activate", (event) => (event as Extendable).waitUntil(scope.clients.claim()));
self.addEventListener("message", (event) => {
  // Whatever a page says keeps this worker awake; a page that was loaded past it asks to be taken in.
  const said = event as unknown as Messaging;
  if (said.data === "claim") said.waitUntil(scope.clients.claim());
});
self.addEventListener("fetch", (event) => {
  const { request } = event as Fetching;
  const url = new URL(request.url);
  if (url.origin !== self.location.origin || request.method !== "GET") return;
  const found = ADDRESS.exec(url.pathname);
  if (found === null) return;
  const [id, path] = [found[1] ?? "", decodeURIComponent(found[2] ?? "")];
  (event as Fetching).respondWith(request.mode === "navigate" ? download(event as Fetching, id, path) : range(request, id, path));
});
