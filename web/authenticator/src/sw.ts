// The shell, offline: the files of one version, kept under the name of that version, each compared with its hash before it is kept.
//
// It answers for its own files alone and never for the hub. A version that is here stays until a person takes the next one: the
// files of another version have other names, and this one asks the network for nothing that it has.
declare const FILES: Record<string, string>;
declare const VERSION: string;

type Extendable = Event & { waitUntil(work: Promise<unknown>): void };
type Fetching = Event & { request: Request; respondWith(answer: Promise<Response>): void };
const cacheName = `chorion ${VERSION}`;

const hex = (bytes: ArrayBuffer) => [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");

async function install(): Promise<void> {
  const cache = await caches.open(cacheName);
  await Promise.all(Object.entries(FILES).map(async ([path, hash]) => {
    const answer = await fetch(path, { cache: "no-store" });
    const bytes = await answer.clone().arrayBuffer();
    if (!answer.ok || hex(await crypto.subtle.digest("SHA-256", bytes)) !== hash) throw new Error(`${path} is not the file of this version`);
    await cache.put(path, answer);
  }));
}

self.addEventListener("install", (event) => (event as Extendable).waitUntil(install()));
self.addEventListener("activate", (event) => (event as Extendable).waitUntil((async () => {
  for (const name of await caches.keys()) if (name !== cacheName) await caches.delete(name);
})()));
self.addEventListener("fetch", (event) => {
  const { request } = event as Fetching;
  const url = new URL(request.url);
  if (url.origin !== self.location.origin || request.method !== "GET") return;
  const path = url.pathname === "/" ? "/index.html" : url.pathname;
  if (!(path in FILES)) return;
  (event as Fetching).respondWith((async () => (await (await caches.open(cacheName)).match(path)) ?? fetch(request))());
});
