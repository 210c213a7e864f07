// Segments of sealed objects by the browser's own AES-256-GCM (spec/sealed-object.md, section 5): what the authenticator's page and the
// website's worker share. A module makes and opens the keys; what it gives out is one object's, and is imported so that it cannot be
// exported again.
//
// The browser ciphers on threads of its own, and each call costs the page some tens of microseconds whatever its length. So many calls
// are under way at once, the next begins when any of them ends, and nothing is copied that need not be.

// Bytes that the browser's own functions take: none that are shared between threads.
export type Bytes = Uint8Array<ArrayBuffer>;
export type Cipher = { key: CryptoKey; base: Bytes };

export const PREFIX = 128;
export const SEGMENT = 65_536;
export const TAG = 16;
export const SLOT = SEGMENT + TAG;
// So many segments are under way at once: 2 MiB.
const AT_ONCE = 32;

// `secret` is a key and a base nonce, 44 bytes, and is wiped.
export async function cipherOf(secret: Uint8Array, use: "encrypt" | "decrypt"): Promise<Cipher> {
  const raw = secret.slice(0, 32);
  const base = secret.slice(32, 44);
  secret.fill(0);
  const key = await crypto.subtle.importKey("raw", raw, "AES-GCM", false, [use]);
  raw.fill(0);
  return { key, base };
}

// Base nonce XOR index. An object of 16 MiB has 256 segments, so the last four bytes are all that changes.
function parameters({ base }: Cipher, index: number): AesGcmParams {
  const iv = base.slice();
  const view = new DataView(iv.buffer);
  view.setUint32(8, (view.getUint32(8) ^ index) >>> 0);
  return { name: "AES-GCM", iv, tagLength: 8 * TAG };
}

export const sealSegment = async (cipher: Cipher, index: number, plaintext: Bytes): Promise<Bytes> =>
  new Uint8Array(await crypto.subtle.encrypt(parameters(cipher, index), cipher.key, plaintext));

export async function openSegment(cipher: Cipher, index: number, sealed: Bytes): Promise<Bytes> {
  try {
    return new Uint8Array(await crypto.subtle.decrypt(parameters(cipher, index), cipher.key, sealed));
  } catch {
    throw new Error(`segment ${index} of a sealed object does not open: it was changed\nnothing of this file counts: ask the operator of the hub to scrub its store`);
  }
}

// Does `work` for 0, 1, 2, … below `count`; as many at once as are worth it, and the next when any of them is done.
export async function each(count: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const lane = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, count) }, lane));
}

// What becomes of each of `these`, in their order, with so many under way ahead of the one that is waited for.
export async function* ahead<T, U>(these: Iterable<T> | AsyncIterable<T>, work: (one: T) => Promise<U>, atOnce = AT_ONCE): AsyncGenerator<U> {
  const underWay: Promise<U>[] = [];
  for await (const one of these) {
    const begun = work(one);
    // It is looked at when its turn comes.
    begun.catch(() => undefined);
    underWay.push(begun);
    if (underWay.length >= atOnce) yield await (underWay.shift() as Promise<U>);
  }
  for (const begun of underWay) yield await begun;
}

// The plaintext of an object, if every segment of it is the one of its place. It lies in `room`, where that is large enough: memory that
// was used before costs the system nothing.
export async function openObject(cipher: Cipher, sealed: Bytes, room?: Bytes): Promise<Bytes> {
  const body = sealed.length - PREFIX;
  const [full, tail] = [Math.floor(body / SLOT), body % SLOT];
  if (body < TAG || tail < TAG) throw new Error("a sealed object was cut short");
  const length = full * SEGMENT + tail - TAG;
  const plaintext = room !== undefined && room.length >= length ? room.subarray(0, length) : new Uint8Array(length);
  await each(full + 1, async (index) => {
    plaintext.set(await openSegment(cipher, index, sealed.subarray(PREFIX + index * SLOT, PREFIX + (index + 1) * SLOT)), index * SEGMENT);
  });
  return plaintext;
}
