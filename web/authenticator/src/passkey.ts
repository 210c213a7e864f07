// A passkey as a quick unlock: its secret (the PRF extension of WebAuthn) locks the words a second time. The passphrase stays, and does
// everything that the passkey does.
import * as wasm from "authenticator";
import { base64, become, drop, identity, keep, kept, unlocked, type Bytes } from "./core.ts";

type Quick = { id: Bytes; salt: Bytes; file: string };
type Prf = { prf?: { enabled?: boolean; results?: { first?: BufferSource } } };

export const canPasskey = () => typeof PublicKeyCredential === "function" && navigator.credentials !== undefined;
export const hasPasskey = async () => (await kept<Quick>("quick")) !== undefined;
export const dropPasskey = () => drop("quick");

const random = (bytes: number): Bytes => crypto.getRandomValues(new Uint8Array(bytes));

function secretOf(found: Credential | null): string | null {
  const results = ((found as PublicKeyCredential | null)?.getClientExtensionResults() as Prf | undefined)?.prf?.results?.first;
  if (results === undefined) return null;
  const bytes = ArrayBuffer.isView(results) ? new Uint8Array(results.buffer, results.byteOffset, results.byteLength) : new Uint8Array(results);
  return bytes.length === 32 ? base64(bytes) : null;
}

async function ask({ id, salt }: { id: Bytes; salt: Bytes }): Promise<string | null> {
  const extensions = { prf: { eval: { first: salt } } } as AuthenticationExtensionsClientInputs;
  return secretOf(await navigator.credentials.get({
    publicKey: { challenge: random(32), allowCredentials: [{ type: "public-key", id }], userVerification: "required", extensions },
  }));
}

export async function addPasskey(passphrase: string): Promise<void> {
  const person = unlocked();
  if (person === null) throw new Error("this device locked itself: unlock it first");
  person.confirm(await identity(), passphrase);
  const salt = random(32);
  const extensions = { prf: { eval: { first: salt } } } as AuthenticationExtensionsClientInputs;
  const made = (await navigator.credentials.create({
    publicKey: {
      challenge: random(32), rp: { name: "Chorion authenticator" }, user: { id: random(16), name: "this device", displayName: "Chorion authenticator" },
      pubKeyCredParams: [{ type: "public-key", alg: -8 }, { type: "public-key", alg: -7 }, { type: "public-key", alg: -257 }],
      authenticatorSelection: { userVerification: "required", residentKey: "discouraged" }, attestation: "none", extensions,
    },
  })) as PublicKeyCredential | null;
  if (made === null) throw new Error("no passkey was made");
  const id = new Uint8Array(made.rawId);
  // Some give the secret at once, others when they are asked for the first time.
  const secret = secretOf(made) ?? (await ask({ id, salt }));
  if (secret === null) throw new Error("this passkey keeps no secret (WebAuthn PRF)\nyour passphrase unlocks as before; another browser, phone or security key may have one that does");
  await keep("quick", { id, salt, file: person.lock_quickly(secret) } satisfies Quick);
}

async function byPasskey(): Promise<{ file: string; secret: string }> {
  const quick = await kept<Quick>("quick");
  if (quick === undefined) throw new Error("there is no passkey on this device: type the passphrase");
  let secret: string | null;
  try {
    secret = await ask(quick);
  } catch {
    throw new Error("the passkey was not used\nyour passphrase does the same");
  }
  if (secret === null) throw new Error("the passkey gave no secret\nyour passphrase does the same");
  return { file: quick.file, secret };
}

export async function unlockQuickly(): Promise<void> {
  const device = await kept<string>("device");
  if ((await kept<boolean>("words have a passphrase")) === true) throw new Error("your words have a passphrase of their own: type both");
  const { file, secret } = await byPasskey();
  become(wasm.Person.unlock(file, device ?? "", secret, ""));
}

// What says that the person is still there: the passphrase; or, where none was typed, the passkey.
export async function confirmed(passphrase: string, file: string): Promise<{ file: string; secret: string }> {
  if (passphrase === "" && (await hasPasskey())) return byPasskey();
  return { file, secret: passphrase };
}
