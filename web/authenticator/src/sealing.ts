// Bulk bytes, sealed and opened by the browser's own AES-256-GCM, segment by segment (spec/sealed-object.md, section 5). The module makes
// and opens the keys; what it gives out is one object's, and is imported so that it cannot be exported again.
import type * as wasm from "authenticator";
import type { Bytes } from "./core.ts";

const PREFIX = 128;
const SEGMENT = 65_536;
const TAG = 16;
const SLOT = SEGMENT + TAG;
// What an object holds at most, so that it stays within 8 MiB sealed.
export const PACK_BYTES = 8 * 1024 * 1024 - PREFIX - 128 * TAG;
// So many segments are under way at once.
const AT_ONCE = 16;

type Cipher = { key: CryptoKey; base: Bytes };

async function cipher(secret: Uint8Array, use: "encrypt" | "decrypt"): Promise<Cipher> {
  const raw = secret.slice(0, 32);
  const base = secret.slice(32, 44);
  const key = await crypto.subtle.importKey("raw", raw, "AES-GCM", false, [use]);
  raw.fill(0);
  secret.fill(0);
  return { key, base };
}

// Base nonce XOR index. An object of 16 MiB has 256 segments, so the last four bytes are all that changes.
function parameters({ base }: Cipher, index: number): AesGcmParams {
  const iv = base.slice();
  const view = new DataView(iv.buffer);
  view.setUint32(8, (view.getUint32(8) ^ index) >>> 0);
  return { name: "AES-GCM", iv, tagLength: 8 * TAG };
}

async function each(count: number, work: (index: number) => Promise<void>): Promise<void> {
  for (let from = 0; from < count; from += AT_ONCE) {
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, count - from) }, (_, at) => work(from + at)));
  }
}

// An object of these bytes, whole.
export async function seal(head: wasm.Head, plaintext: Bytes): Promise<Bytes> {
  const prefix = head.prefix;
  const with_ = await cipher(head.segments(), "encrypt");
  // The last segment is always shorter than the others, and may be empty: so a length has one reading.
  const segments = Math.floor(plaintext.length / SEGMENT) + 1;
  const sealed = new Uint8Array(PREFIX + plaintext.length + segments * TAG);
  sealed.set(prefix);
  await each(segments, async (index) => {
    const part = plaintext.subarray(index * SEGMENT, (index + 1) * SEGMENT);
    sealed.set(new Uint8Array(await crypto.subtle.encrypt(parameters(with_, index), with_.key, part)), PREFIX + index * SLOT);
  });
  return sealed;
}

export const prefixOf = (sealed: Bytes): Bytes => sealed.subarray(0, PREFIX);

// The plaintext of an object, if every segment of it is the one of its place.
export async function open(secret: Uint8Array, sealed: Bytes): Promise<Bytes> {
  const body = sealed.length - PREFIX;
  const [full, tail] = [Math.floor(body / SLOT), body % SLOT];
  if (body < TAG || tail < TAG) throw new Error("a sealed object was cut short");
  const with_ = await cipher(secret, "decrypt");
  const plaintext = new Uint8Array(full * SEGMENT + tail - TAG);
  await each(full + 1, async (index) => {
    const slot = sealed.subarray(PREFIX + index * SLOT, PREFIX + (index + 1) * SLOT);
    let opened: ArrayBuffer;
    try {
      opened = await crypto.subtle.decrypt(parameters(with_, index), with_.key, slot);
    } catch {
      throw new Error(`segment ${index} of a sealed object does not open: it was changed\nnothing of this file counts: ask the operator of the hub to scrub its store`);
    }
    plaintext.set(new Uint8Array(opened), index * SEGMENT);
  });
  return plaintext;
}
