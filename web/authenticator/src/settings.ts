// This device: its hub, its version, how it is unlocked, and how it forgets.
import * as wasm from "authenticator";
import { forgetEverything, hex, keep, kept, lock, pairedWith, sha256, unlocked, utf8 } from "./core.ts";
import { button, facts, field, form, h, mark, show } from "./draw.ts";
import { asked } from "./cards.ts";
import { addPasskey, canPasskey, dropPasskey, hasPasskey } from "./passkey.ts";
import { qrCode } from "./qr.ts";

export async function settings(): Promise<void> {
  const hub = pairedWith();
  const backedUp = (await kept<boolean>("backed up")) === true;
  const files = await fetch("/hashes.txt").then((answer) => (answer.ok ? answer.text() : "")).catch(() => "");
  const sum = files === "" ? "" : hex(await sha256(utf8(files)));
  const policy = field("Policy for vaults", { rows: "6" }, "What a vault's report must show before a key goes to it (spec/evidence.md, section 5). The same text as on your other devices; empty: no vault that shows a report gets a key.", "textarea");
  policy.input.value = (await kept<string>("policy")) ?? "";
  const really = field("Type: forget", {});
  show("This device",
    h("div", { class: "card" }, facts([
      ["Hub", hub === null ? h("a", { href: "#/pair" }, "not paired yet") : `${hub.url} (${hub.id})`], ["Account", hub?.account.name ?? "–"],
      ["Words on paper", backedUp ? mark("checked", "ok") : mark("not backed up", "danger")],
    ])),
    h("div", { class: "buttons" }, h("a", { class: "button quiet", href: "#/backup" }, "Check my paper"), unlocked() !== null && button("Lock now", () => { lock(); }, "quiet")),
    h("h2", {}, "This version"), h("p", {}, "The hash over all files of this version, to compare with the one that was published, and with what chorion authenticator serve says:"),
    h("p", { class: "phrase mono" }, sum === "" ? "not to be had while this device is offline" : (sum.match(/.{4}/g) ?? []).join(" ")),
    h("details", {}, h("summary", {}, "Each file"), h("pre", { tabindex: "0", "aria-label": "Hashes of the files" }, files)),
    h("h2", {}, "Vaults that show a report"), form([policy.row], "Keep this policy", async () => {
      const text = policy.input.value;
      if (text.trim() !== "") wasm.check_policy(text);
      await keep("policy", text.trim() === "" ? undefined : text);
      await settings();
    }, [], "quiet"),
    h("h2", {}, "Passkey"), await passkey(),
    hub !== null && h("h2", {}, "Another device"), hub !== null && h("p", {}, "Its camera opens the authenticator with this hub filled in; there your words are restored."),
    hub !== null && qrCode(`${location.origin}/#pair=${hub.url}`, "Address of this authenticator and its hub as a QR code"),
    h("h2", {}, "Forget everything"), h("p", {}, "Identity, device key, cards and history are taken from this browser. Without your words on paper, what was sealed to you is gone."),
    form([really.row], "Forget everything", async () => {
      if (really.input.value.trim() !== "forget") throw new Error("type the word, if you mean it");
      await forgetEverything();
      location.hash = "/";
      location.reload();
    }, [], "danger"));
}

// A passkey unlocks beside the passphrase, never instead of it.
async function passkey(): Promise<HTMLElement> {
  if (await hasPasskey()) {
    return form([h("p", {}, mark("set up", "ok"), " It unlocks this device and confirms what you approve. Your passphrase does so too, always.")], "Take it away", async () => {
      await dropPasskey();
      await settings();
    }, [], "quiet");
  }
  if (!canPasskey()) return h("p", {}, "This browser has none. Your passphrase unlocks.");
  if (unlocked() === null) return h("p", {}, "Unlock first, to set one up.");
  const pass = asked("Your passphrase, to set up a passkey");
  return form([h("p", {}, "Fingerprint, face or a security key instead of typing, where it keeps a secret for this page (WebAuthn PRF). Your passphrase stays, and does everything that it does."), pass.row], "Set up a passkey", async () => {
    await addPasskey(pass.input.value);
    await settings();
  }, [], "quiet");
}
