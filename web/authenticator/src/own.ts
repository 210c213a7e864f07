// What is the person's own: projects, devices, grants, public keys, messages, and this device itself.
import * as wasm from "authenticator";
import {
  base64, call, forgetEverything, identity, keep, kept, keptUnder, listed, lock, now, pairedWith, unlocked, utf8,
  type Grant, type Json, type Signed,
} from "./core.ts";
import { button, check, facts, field, form, h, mark, moment, refusal, show } from "./draw.ts";
import { locked, rememberedLog } from "./requests.ts";

type Project = { id: string; custodian: string; label: string; card_number: number };
type Key = { id: string; name: string; public_key: string; kind: string; revoked: string | null };
type Card = { number: number; test: boolean; devices: { key: string; since: string }[]; phrase: string; certified: boolean };

const hex = (base: string) => [...atob(base)].map((letter) => letter.charCodeAt(0).toString(16).padStart(2, "0")).join("");

async function cardOf(project: string): Promise<{ signed: Signed; card: Card }> {
  const [person, hub] = [unlocked(), pairedWith()];
  if (person === null || hub === null) throw new Error("this device is locked");
  const signed = await call<Signed>("GET", `/projects/${project}/card`);
  const seen = (await kept<Signed>(`card:${project}`)) ?? null;
  const card = JSON.parse(person.card(hub.id, project, JSON.stringify(signed), JSON.stringify(seen))) as Card;
  await keep(`card:${project}`, signed);
  return { signed, card };
}

async function own(project: string, signed: Signed, purpose: string): Promise<string> {
  const hub = pairedWith();
  return JSON.stringify({
    hub: hub?.id, now: now(), project, card: signed, seen: (await kept<Signed>(`card:${project}`)) ?? null, requester: hub?.account.id,
    checkpoint: (await rememberedLog())?.checkpoint ?? null, purpose,
  });
}

const asked = (name: string) => field(name, { type: "password", autocomplete: "current-password" });

export async function projects(): Promise<void> {
  const person = unlocked();
  if (person === null) return locked("Unlock to see your projects", projects);
  const owned = (await listed<Project>("/projects")).filter((one) => one.custodian === "owner");
  const items: HTMLElement[] = [];
  for (const one of owned) {
    try {
      const { card } = await cardOf(one.id);
      const key = await call<Json>("GET", `/projects/${one.id}/key`);
      const name = person.open_name(JSON.stringify(key), JSON.stringify(one.label), "project");
      items.push(h("li", {}, h("div", {}, h("p", {}, h("a", { href: `#/project/${one.id}` }, name)), h("p", { class: "small" }, `six words of its card: ${card.phrase}`)),
        h("span", { class: "marks" }, mark("Key held by: Owner", "ok"), card.test && mark("NOT CONFIDENTIAL", "danger"), card.certified ? mark("this device approves", "ok") : mark("this device is not certified", "wait"))));
    } catch (error) {
      items.push(h("li", {}, h("div", {}, h("p", {}, `Project ${one.id}`), refusal(error))));
    }
  }
  show("Your projects",
    items.length === 0 ? h("p", { class: "lead" }, "No project of yours yet. What is sealed to a project of yours, nobody but you can open.") : h("ul", { class: "rows card" }, ...items),
    h("div", { class: "buttons" }, h("a", { class: "button", href: "#/projects/new" }, "Make a project")));
}

export async function newProject(): Promise<void> {
  const [person, hub] = [unlocked(), pairedWith()];
  if (person === null) return locked("Unlock to make a project", newProject);
  if (hub === null) return;
  if ((await kept<boolean>("backed up")) !== true) {
    show("Write your words down first", h("p", { class: "lead" }, "What is sealed to this project would be gone with this device."),
      h("div", { class: "buttons" }, h("a", { class: "button", href: "#/backup" }, "Check my paper")));
    return;
  }
  const keys = (await listed<Key>("/keys")).filter((one) => one.revoked === null);
  const name = field("Name", { autocomplete: "off" }, "Sealed: the hub never reads it.");
  const test = check("For trying things out: vaults that prove nothing may open it. NOT CONFIDENTIAL, and never changed later.");
  const writers = keys.map((key) => ({ key, ...check(`${key.name} may add data (key ${key.id})`) }));
  show("Make a project", form([name.row, test.row, h("h2", {}, "Who may add data"), h("p", { class: "hint" }, "Keys of your account, as the hub names them. Compare the key's id with the one that machine shows (chorion whoami)."), ...writers.map((one) => one.row)],
    "Make it", async () => {
      if (name.input.value.trim() === "") throw new Error("a project has a name");
      const chosen = writers.filter((one) => one.input.checked).map((one) => hex(one.key.public_key));
      const create = JSON.parse(person.create_project(hub.id, name.input.value.trim(), test.input.checked, chosen, now())) as { id: string; card: Signed };
      // Gone by from here on, whatever the hub answers.
      await keep(`card:${create.id}`, create.card);
      await call("POST", "/projects", create);
      location.hash = `/project/${create.id}`;
    }));
}

export async function project(id: string): Promise<void> {
  const person = unlocked();
  if (person === null) return locked("Unlock to see the project", () => project(id));
  const { signed, card } = await cardOf(id);
  const key = await call<Json>("GET", `/projects/${id}/key`);
  const found = await call<Project>("GET", `/projects/${id}`);
  const name = person.open_name(JSON.stringify(key), JSON.stringify(found.label), "project");
  const here = person.approval_key();
  const pass = asked("Your passphrase, to change devices");
  const add = field("Key of another device", {}, "64 digits: its authenticator shows them under Keys, the command line by `chorion device show`.");
  const change = async (key: string, adds: boolean) => {
    const next = person.change_device(await own(id, signed, ""), key, adds, await identity(), pass.input.value);
    if (next === "") throw new Error(adds ? "that device is certified already" : "that device is not certified");
    await call("PUT", `/projects/${id}/card`, JSON.parse(next));
    await keep(`card:${id}`, (JSON.parse(next) as { card: Signed }).card);
    await project(id);
  };
  const grants = (await keptUnder<Grant>("grant:")).filter(([, grant]) => grant.project === id);
  show(name,
    h("p", { class: "marks" }, mark("Key held by: Owner", "ok"), card.test && mark("NOT CONFIDENTIAL", "danger")),
    h("p", {}, "Six words of its card, for whoever seals for it:"), h("p", { class: "phrase" }, card.phrase),
    h("h2", {}, "Devices that approve"),
    h("ul", { class: "rows card" }, ...card.devices.map((device) => h("li", {},
      h("div", {}, h("p", {}, device.key === here ? "This device" : "Another device"), h("p", { class: "small mono" }, device.key), h("p", { class: "small" }, `since ${moment(device.since)}`)),
      form([], "Revoke", () => change(device.key, false), [], "danger quiet small")))),
    pass.row,
    h("details", {}, h("summary", {}, "Certify another device"), form([add.row], "Certify it", () => change(add.input.value.trim().toLowerCase(), true))),
    h("h2", {}, "Standing grants"),
    grants.length === 0 ? h("p", {}, "None: every request waits for you.") : h("ul", { class: "rows card" }, ...grants.map(([digest, grant]) => h("li", {},
      h("div", {}, ...grant.sentences.slice(3, 6).map((line) => h("p", { class: "small" }, line)), h("p", { class: "small" }, `used ${grant.used} times`)),
      form([], "End it", async () => { await keep(`grant:${digest}`, { ...grant, used: 4294967295 }); await project(id); }, [], "danger quiet small")))),
    h("p", {}, h("a", { href: `#/grant/${id}` }, "Let this device approve one app by itself")));
}

export async function newGrant(id: string): Promise<void> {
  const person = unlocked();
  if (person === null) return locked("Unlock to grant something", () => newGrant(id));
  const { signed } = await cardOf(id);
  const app = field("Digest of the app", {}, "64 digits: the app's page and `chorion app list` show it.");
  const uses = field("How often at most", { type: "number", min: "1", max: "10000", value: "1" });
  const days = field("For how many days", { type: "number", min: "1", max: "30", value: "1" });
  const purpose = field("What for", {});
  show("Approve one app by itself", h("p", {}, "This device then answers for you, while it is unlocked: that app alone, results into this project alone."),
    form([app.row, uses.row, days.row, purpose.row], "Show what I would sign", async () => {
      const draft = person.draw_grant(await own(id, signed, purpose.input.value), app.input.value.trim(), Number(uses.input.value), Number(days.input.value));
      const drawn = JSON.parse(draft.shown) as { sentences: string[]; digest: string };
      const pass = asked("Your passphrase, once more");
      show("Sign this grant?", h("div", { class: "card" }, ...drawn.sentences.map((line) => h("p", {}, line.charAt(0).toUpperCase() + line.slice(1)))),
        form([pass.row], "Sign it", async () => {
          const approval = JSON.parse(person.sign_draft(draft, await identity(), pass.input.value)) as { approval: Signed };
          await keep(`grant:${drawn.digest}`, { approval: approval.approval, project: id, sentences: drawn.sentences, used: 0 } satisfies Grant);
          draft.free();
          location.hash = `/project/${id}`;
        }, [h("a", { class: "button quiet", href: `#/project/${id}` }, "Do not")]));
    }));
}

const FORMS: [string, string][] = [["openpgp", "OpenPGP, beside the text"], ["openpgp-inline", "OpenPGP, around the text"], ["ethereum", "Ethereum (EIP-191)"], ["typed-data", "Ethereum typed data (EIP-712)"], ["ssh", "SSH"]];
const seconds = () => Math.floor(Date.parse(now()) / 1000);

export async function keys(): Promise<void> {
  const person = unlocked();
  if (person === null) return locked("Unlock to see your keys", keys);
  const halves = JSON.parse(person.public_halves()) as Record<string, string>;
  const download = (name: string, text: string) => {
    const link = h("a", { href: `data:text/plain;base64,${base64(utf8(text))}`, download: name, class: "button quiet small" }, name);
    return link;
  };
  show("Your public keys",
    h("p", {}, "Each is a key of its own: showing one tells nothing of the others."),
    h("div", { class: "card" }, facts([
      ["Sealing, in six words", halves.sealing_phrase ?? ""], ["Card key", h("span", { class: "mono" }, halves.card ?? "")], ["Ethereum", h("span", { class: "mono" }, halves.ethereum ?? "")],
      ["OpenPGP", h("span", { class: "mono" }, halves.openpgp ?? "")], ["SSH", h("span", { class: "mono" }, halves.ssh ?? "")],
      ["This device", h("span", { class: "mono" }, person.approval_key())],
    ])),
    h("div", { class: "buttons" }, download("sealing-key.txt", halves.sealing ?? ""), download("openpgp.asc", halves.openpgp_certificate ?? ""), download("client.pem", halves.x509_certificate ?? ""), download("ssh.pub", halves.ssh ?? "")),
    h("h2", {}, "Messages"), h("p", {}, h("a", { href: "#/sign" }, "Sign a message"), " or ", h("a", { href: "#/open" }, "open one that was sent to you")));
}

export async function signMessage(): Promise<void> {
  const person = unlocked();
  if (person === null) return locked("Unlock to sign", signMessage);
  const text = field("Message", { rows: "6" }, "", "textarea");
  const kind = field("As", {}, "", "select");
  kind.input.append(...FORMS.map(([value, name]) => h("option", { value }, name)));
  const pass = asked("Your passphrase, once more");
  const out = h("div", { "aria-live": "polite" });
  show("Sign a message", form([text.row, kind.row, pass.row], "Sign", async () => {
    person.confirm(await identity(), pass.input.value);
    out.replaceChildren(h("h2", {}, "Signature"), h("pre", { tabindex: "0" }, person.sign_message(kind.input.value, utf8(text.input.value), seconds())));
  }), out);
}

export async function openMessage(): Promise<void> {
  const person = unlocked();
  if (person === null) return locked("Unlock to open a message", openMessage);
  const text = field("OpenPGP message", { rows: "8" }, "", "textarea");
  const from = field("Certificate of the sender", { rows: "4" }, "Only a signature by this one counts; without it nothing says who wrote.", "textarea");
  const out = h("div", { "aria-live": "polite" });
  show("Open a message", form([text.row, from.row], "Open", () => {
    const opened = JSON.parse(person.open_message(utf8(text.input.value), utf8(from.input.value), seconds())) as { text: string; encrypted: boolean; signatures: { good: boolean; fingerprint?: string; key_id?: string }[] };
    const signed = opened.signatures.map((one) => (one.good ? `signed by ${one.fingerprint}` : `signed by an unknown key, ${one.key_id}`));
    out.replaceChildren(h("h2", {}, "Message"), h("pre", { tabindex: "0" }, opened.text), h("p", {}, `${opened.encrypted ? "It was encrypted to you" : "It was not encrypted"}; ${signed.join(", ") || "not signed: nothing says who wrote it"}.`));
  }), out);
}

export async function settings(): Promise<void> {
  const hub = pairedWith();
  const backedUp = (await kept<boolean>("backed up")) === true;
  const files = await fetch("/hashes.txt").then((answer) => (answer.ok ? answer.text() : "")).catch(() => "");
  const sum = files === "" ? "" : [...new Uint8Array(await crypto.subtle.digest("SHA-256", utf8(files)))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
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
    h("h2", {}, "Forget everything"), h("p", {}, "Identity, device key, cards and history are taken from this browser. Without your words on paper, what was sealed to you is gone."),
    form([really.row], "Forget everything", async () => {
      if (really.input.value.trim() !== "forget") throw new Error("type the word, if you mean it");
      await forgetEverything();
      location.hash = "/";
      location.reload();
    }, [], "danger"));
}
