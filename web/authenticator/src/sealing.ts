// Objects, sealed and opened whole by the browser's own cipher. The module makes and opens the keys.
import type * as wasm from "authenticator";
import { cipherOf, each, openObject, PREFIX, SEGMENT, SLOT, sealSegment, TAG, type Bytes } from "../../opening/segments.ts";

// What an object holds at most, so that it stays within 8 MiB sealed.
export const PACK_BYTES = 8 * 1024 * 1024 - PREFIX - 128 * TAG;

// An object of these bytes, whole.
export async function seal(head: wasm.Head, plaintext: Bytes): Promise<Bytes> {
  const prefix = head.prefix;
  const cipher = await cipherOf(head.segments(), "encrypt");
  // The last segment is always shorter than the others, and may be empty: so a length has one reading.
  const segments = Math.floor(plaintext.length / SEGMENT) + 1;
  const sealed = new Uint8Array(PREFIX + plaintext.length + segments * TAG);
  sealed.set(prefix);
  await each(segments, async (index) => {
    sealed.set(await sealSegment(cipher, index, plaintext.subarray(index * SEGMENT, (index + 1) * SEGMENT)), PREFIX + index * SLOT);
  });
  return sealed;
}

export const prefixOf = (sealed: Bytes): Bytes => sealed.subarray(0, PREFIX);

// The plaintext of an object, if every segment of it is the one of its place; in `room`, where it is large enough.
export const open = async (secret: Uint8Array, sealed: Bytes, room?: Bytes): Promise<Bytes> => openObject(await cipherOf(secret, "decrypt"), sealed, room);
