// The device: what it keeps (IndexedDB), who is unlocked, and signed calls to the hub.
//
// Words and keys are in the WASM module, and in there alone: what is kept of them is an identity file under a passphrase. Calls are
// signed by a key of the browser's own that cannot be exported, so that what waits can be listed while everything else is locked.
import * as wasm from "authenticator";
import type { Bytes } from "../../opening/segments.ts";

export type { Bytes };
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type Signed = { statement: string; signature: string; signer: string };
export type Hub = { url: string; id: string; account: { id: string; name: string }; cardKey: string };
export type Waiting = {
  id: string; project: string; task: string; kind: string; requester: string; state: string; reason: string | null;
  created: string; expires: string;
};
export type Given = { approval: Signed; sentences: string[]; at: string };
export type Grant = { approval: Signed; project: string; sentences: string[]; used: number };

// 1. What is kept.

let database: IDBDatabase;

const asked = <T>(request: IDBRequest<T>): Promise<T> =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error("the browser's store does not answer"));
  });

export async function openStore(): Promise<void> {
  const opening = indexedDB.open("chorion authenticator", 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore("kept");
  database = await asked(opening);
}

export const kept = <T>(key: string): Promise<T | undefined> =>
  asked(database.transaction("kept").objectStore("kept").get(key) as IDBRequest<T | undefined>);

export async function keep(key: string, value: unknown): Promise<void> {
  const change = database.transaction("kept", "readwrite", { durability: "strict" });
  const done = new Promise<void>((resolve, reject) => {
    change.oncomplete = () => resolve();
    change.onerror = change.onabort = () => reject(change.error ?? new Error("the browser keeps nothing more"));
  });
  change.objectStore("kept").put(value, key);
  await done;
}

export async function drop(...keys: string[]): Promise<void> {
  const change = database.transaction("kept", "readwrite", { durability: "strict" });
  await Promise.all(keys.map((key) => asked(change.objectStore("kept").delete(key))));
}

export async function keptUnder<T>(prefix: string): Promise<[string, T][]> {
  const store = database.transaction("kept").objectStore("kept");
  const range = IDBKeyRange.bound(prefix, `${prefix}\uffff`);
  const [keys, values] = await Promise.all([asked(store.getAllKeys(range)), asked(store.getAll(range))]);
  return keys.map((key, at) => [String(key).slice(prefix.length), values[at] as T]);
}

export async function forgetEverything(): Promise<void> {
  lock();
  const change = database.transaction("kept", "readwrite");
  await asked(change.objectStore("kept").clear());
}

// 2. Who is unlocked.

const IDLE_MS = 120_000;
let person: wasm.Person | null = null;
let timer = 0;
const listeners = new Set<() => void>();

export const onLock = (then: () => void) => listeners.add(then);
export const unlocked = (): wasm.Person | null => person;

export function lock(): void {
  clearTimeout(timer);
  if (person === null) return;
  // What the module held of the words is wiped when it is freed.
  person.free();
  person = null;
  listeners.forEach((then) => then());
}

export function stirred(): void {
  if (person === null) return;
  clearTimeout(timer);
  timer = window.setTimeout(lock, IDLE_MS);
}

export function become(one: wasm.Person): void {
  if (person !== one) person?.free();
  person = one;
  stirred();
  listeners.forEach((then) => then());
}

export async function unlock(passphrase: string, wordsPassphrase = ""): Promise<wasm.Person> {
  const [identity, device] = await Promise.all([kept<string>("identity"), kept<string>("device")]);
  if (identity === undefined || device === undefined) throw new Error("there is nobody on this device yet");
  become(wasm.Person.unlock(identity, device, passphrase, wordsPassphrase));
  return person as unknown as wasm.Person;
}

export async function identity(): Promise<string> {
  const text = await kept<string>("identity");
  if (text === undefined) throw new Error("there is nobody on this device yet");
  return text;
}

// 3. Signed calls.

let hub: Hub | null = null;
let skewMs = 0;

export const pairedWith = (): Hub | null => hub;
export const now = (): string => new Date(Date.now() + skewMs).toISOString();
export async function loadHub(): Promise<void> { hub = (await kept<Hub>("hub")) ?? null; }
export async function pair(found: Hub): Promise<void> { await keep("hub", found); hub = found; }

type CallKey = { privateKey: CryptoKey; raw: Uint8Array };
let key: CallKey | null = null;

export async function callKey(): Promise<CallKey> {
  key ??= (await kept<CallKey>("call key")) ?? null;
  if (key === null) {
    const made = (await crypto.subtle.generateKey({ name: "Ed25519" }, false, ["sign", "verify"])) as CryptoKeyPair;
    const raw = new Uint8Array(await crypto.subtle.exportKey("raw", made.publicKey));
    key = { privateKey: made.privateKey, raw };
    await keep("call key", key);
  }
  return key;
}

export const base64 = (bytes: Uint8Array): string => {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
};
export const utf8 = (text: string) => new TextEncoder().encode(text);
export const hex = (bytes: Uint8Array): string => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
export const sha256 = async (bytes: Bytes): Promise<Bytes> => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
export const pause = (ms: number) => new Promise<void>((then) => setTimeout(then, ms));

// What the hub said when it did not do what it was asked.
export class Refused extends Error {
  constructor(readonly code: string, sentence: string, readonly time: string | undefined) { super(sentence); }
}

// The hub did not answer at all: it may do so later.
export class Away extends Error {}

type More = {
  // Headers of ours, in the order of their names: the signature covers them.
  headers?: [string, string][];
  signal?: AbortSignal;
};

export async function callAt(origin: string, method: string, path: string, body?: unknown, { headers: covered = [], signal }: More = {}): Promise<Response> {
  const url = `${origin}/api/v1${path}`;
  const octets = body instanceof Uint8Array;
  const bytes: Bytes = octets ? (body as Bytes) : body === undefined ? new Uint8Array() : utf8(JSON.stringify(body));
  const [{ privateKey, raw }, digest] = await Promise.all([callKey(), sha256(bytes)]);
  for (let again = false; ; again = true) {
    const nonce = hex(crypto.getRandomValues(new Uint8Array(16)));
    const signing = new wasm.Signing(method, url, digest, raw, Math.floor((Date.now() + skewMs) / 1000), nonce, covered.flat());
    const signature = await crypto.subtle.sign("Ed25519", privateKey, utf8(signing.base));
    const [input, value] = signing.headers(new Uint8Array(signature));
    const headers: Record<string, string> = {
      "content-digest": signing.content_digest, "signature-input": input ?? "", signature: value ?? "", ...Object.fromEntries(covered),
    };
    signing.free();
    if (bytes.length > 0) headers["content-type"] = octets ? "application/octet-stream" : "application/json";
    let answer: Response;
    try {
      answer = await fetch(url, {
        method, headers, body: bytes.length > 0 ? bytes : null, cache: "no-store", credentials: "omit", redirect: "error", ...(signal === undefined ? {} : { signal }),
      });
    } catch (error) {
      if (signal?.aborted === true) throw error;
      throw new Away(`${origin} does not answer this page: it is away, or its operator did not name this authenticator (--authenticator-origin ${location.origin})`);
    }
    if (answer.ok) return answer;
    const problem = (await answer.json().catch(() => ({}))) as { code?: string; title?: string; hint?: string; time?: string };
    if (problem.code === "clock_skew" && problem.time !== undefined && !again) {
      skewMs = Date.parse(problem.time) - Date.now();
      continue;
    }
    const sentence = problem.title ?? `the hub answered ${answer.status}`;
    throw new Refused(problem.code ?? "", problem.hint ? `${sentence}\n${problem.hint}` : sentence, problem.time);
  }
}

export async function call<T>(method: string, path: string, body?: unknown, more: More = {}): Promise<T> {
  if (hub === null) throw new Error("this device is not paired with a hub yet");
  const answer = await callAt(hub.url, method, path, body, more);
  return (answer.status === 204 ? null : await answer.json()) as T;
}

export async function listed<T>(path: string): Promise<T[]> {
  const all: T[] = [];
  for (let from: string | null = path; from !== null; ) {
    const page: { items: T[]; next: string | null } = await call("GET", from);
    all.push(...page.items);
    from = page.next?.replace(/^\/api\/v1/, "") ?? null;
  }
  return all;
}

export async function bytesOf(path: string): Promise<Bytes> {
  if (hub === null) throw new Error("this device is not paired with a hub yet");
  return new Uint8Array(await (await callAt(hub.url, "GET", path)).arrayBuffer());
}

// Does it until it is done: a hub that is away, or too busy, is asked again for some minutes.
export async function patiently<T>(what: () => Promise<T>, waits: (why: string) => void): Promise<T> {
  for (let tries = 0; ; tries += 1) {
    try {
      return await what();
    } catch (error) {
      const passes = error instanceof Away || (error instanceof Refused && ["too_many_requests", "storage_unavailable", "unavailable", "internal"].includes(error.code));
      if (!passes || tries >= 12) throw error;
      waits((error as Error).message.split("\n")[0] ?? "");
      await pause(Math.min(1000 * 2 ** tries, 30_000));
    }
  }
}

// Signs a statement's text with the key of this browser, which cannot be exported.
export async function signStatement(statement: string): Promise<Signed> {
  const { privateKey, raw } = await callKey();
  const signature = new Uint8Array(await crypto.subtle.sign("Ed25519", privateKey, utf8(statement)));
  return { statement, signature: base64(signature), signer: base64(raw) };
}

// Hears from the hub that something changed, and never what; returns when the line ends.
export async function listen(changed: () => void, signal: AbortSignal): Promise<void> {
  if (hub === null) return;
  const answer = await callAt(hub.url, "GET", "/approvals/changes", undefined, { signal });
  const reader = answer.body?.getReader();
  if (reader === undefined) return;
  const decoder = new TextDecoder();
  for (let rest = ""; ; ) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
    rest = (lines.pop() ?? "").slice(0, 1024);
    if (lines.some((line) => line.startsWith("data:"))) changed();
  }
}
