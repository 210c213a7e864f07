// What is the person's own: projects, devices, grants, public keys, and messages.
import { base64, call, hex, identity, keep, kept, keptUnder, listed, now, pairedWith, unlocked, utf8, type Grant, type Json, type Signed } from "./core.ts";
import { begunOf } from "./adding.ts";
import { asked, cardOf, own, signing } from "./cards.ts";
import { destroy, kindOf, nameOf, type Dataset } from "./data.ts";
import { check, facts, field, form, h, mark, moment, refusal, show, size } from "./draw.ts";
import { unlisted } from "./holdings.ts";
import { confirmed } from "./passkey.ts";
import { giving, lookForOffers, offerRows, releasing } from "./handing.ts";
import { qrCode, scanner } from "./qr.ts";
import { locked } from "./requests.ts";

type Project = { id: string; custodian: string; label: string; card_number: number };
type Key = { id: string; name: string; public_key: string; kind: string; revoked: string | null };

const hexOf = (base: string) => hex(Uint8Array.from(atob(base), (letter) => letter.charCodeAt(0)));

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
  await lookForOffers();
  show("Your projects", offerRows(),
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
      const chosen = writers.filter((one) => one.input.checked).map((one) => hexOf(one.key.public_key));
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
  const datasets = (await listed<Dataset>(`/datasets?project=${id}`)).reverse();
  const names = await Promise.all(datasets.map(nameOf));
  const begun = await begunOf(id);
  const pass = asked("Your passphrase, to change devices");
  const add = field("Key of another device", {}, "64 digits: its authenticator shows them under Keys, the command line by `chorion device show`.");
  const scan = scanner("Read it with the camera", (text) => {
    if (!/^[0-9a-f]{64}$/i.test(text)) return false;
    add.input.value = text.toLowerCase();
    return true;
  });
  const change = async (key: string, adds: boolean) => {
    const { file, secret } = await confirmed(pass.input.value, await identity());
    const next = person.change_device(await own(id, signed, ""), key, adds, file, secret);
    if (next === "") throw new Error(adds ? "that device is certified already" : "that device is not certified");
    await call("PUT", `/projects/${id}/card`, JSON.parse(next));
    await keep(`card:${id}`, (JSON.parse(next) as { card: Signed }).card);
    await project(id);
  };
  const grants = (await keptUnder<Grant>("grant:")).filter(([, grant]) => grant.project === id);
  show(name,
    h("p", { class: "marks" }, mark("Key held by: Owner", "ok"), card.test && mark("NOT CONFIDENTIAL", "danger")),
    h("p", {}, "Six words of its card, for whoever seals for it:"), h("p", { class: "phrase" }, card.phrase),
    h("h2", {}, "Data"), await unlisted(id, datasets.map((one) => one.id)),
    datasets.length === 0 ? h("p", {}, "Nothing yet. What you add is sealed on this device before it leaves it.") : h("ul", { class: "rows card" }, ...datasets.map((one, at) => h("li", {},
      h("div", {}, h("p", {}, h("a", { href: `#/dataset/${one.id}` }, names[at] ?? "(sealed)")), h("p", { class: "small" }, `${kindOf(one)}, ${size(one.sealed_bytes)} sealed, ${moment(one.created)}`)),
      mark(one.execution, one.execution === "complete" ? "ok" : "wait")))),
    h("div", { class: "buttons" }, h("a", { class: "button quiet", href: `#/add/${id}` }, begun > 0 ? "Go on adding files" : "Add files")),
    h("h2", {}, "Devices that approve"),
    h("ul", { class: "rows card" }, ...card.devices.map((device) => h("li", {},
      h("div", {}, h("p", {}, device.key === here ? "This device" : "Another device"), h("p", { class: "small mono" }, device.key), h("p", { class: "small" }, `since ${moment(device.since)}`)),
      form([], "Revoke", () => change(device.key, false), [], "danger quiet small")))),
    pass.row,
    !card.certified && h("div", { class: "note" }, h("p", {}, "This device does not approve for this project yet."), form([], "Certify this device", () => change(here, true), [], "small")),
    h("details", {}, h("summary", {}, "Certify another device"), form([scan, add.row], "Certify it", () => change(add.input.value.trim().toLowerCase(), true))),
    h("h2", {}, "Standing grants"),
    grants.length === 0 ? h("p", {}, "None: every request waits for you.") : h("ul", { class: "rows card" }, ...grants.map(([digest, grant]) => h("li", {},
      h("div", {}, ...grant.sentences.slice(3, 6).map((line) => h("p", { class: "small" }, line)), h("p", { class: "small" }, `used ${grant.used} times`)),
      form([], "End it", async () => { await keep(`grant:${digest}`, { ...grant, used: 4294967295 }); await project(id); }, [], "danger quiet small")))),
    h("p", {}, h("a", { href: `#/grant/${id}` }, "Let this device approve one app by itself")),
    h("h2", {}, "Give it away, or destroy it"), await giving(id, name), await releasing(id, name), destroying(id, name));
}

function destroying(id: string, name: string): HTMLElement {
  const typed = field("Its name, typed", {}, `To be sure that it is this one: ${name}`);
  return h("details", {}, h("summary", {}, "Destroy it with everything in it"), h("p", {}, "The keys of everything in it are destroyed first, then the bytes, in every facility. There is no way back."),
    form([typed.row], "Show what I would sign", async () => {
      if (typed.input.value.trim() !== name) throw new Error("that is not its name");
      await destroy(id, null, `#/project/${id}`, "#/projects");
    }, [], "danger"));
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
      signing("Sign this grant?", draft, "Sign it", `#/project/${id}`, async ({ approval }, { digest, sentences }) => {
        await keep(`grant:${digest}`, { approval, project: id, sentences, used: 0 } satisfies Grant);
        location.hash = `/project/${id}`;
      });
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
      ["Account", h("span", { class: "mono" }, pairedWith()?.account.id ?? "")], ["Both keys, in six words, for whoever gives you a project", halves.person_phrase ?? ""],
      ["Sealing, in six words", halves.sealing_phrase ?? ""], ["Card key", h("span", { class: "mono" }, halves.card ?? "")], ["Ethereum", h("span", { class: "mono" }, halves.ethereum ?? "")],
      ["OpenPGP", h("span", { class: "mono" }, halves.openpgp ?? "")], ["SSH", h("span", { class: "mono" }, halves.ssh ?? "")],
      ["This device", h("span", { class: "mono" }, person.approval_key())],
    ])),
    h("div", { class: "buttons" }, download("keys.json", JSON.stringify({ card: halves.card, sealing: halves.sealing, person_phrase: halves.person_phrase })), download("sealing-key.txt", halves.sealing ?? ""), download("openpgp.asc", halves.openpgp_certificate ?? ""), download("client.pem", halves.x509_certificate ?? ""), download("ssh.pub", halves.ssh ?? "")),
    h("h2", {}, "This device's key, for one that is certified"), h("p", {}, "Another device of yours reads it under Projects, “Certify another device”; or type the digits above."), qrCode(person.approval_key().toUpperCase(), "This device's key as a QR code"),
    h("h2", {}, "Other words"), h("p", {}, "If somebody may have seen your words: ", h("a", { href: "#/rotate" }, "change them for everything"), "."),
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
    const { file, secret } = await confirmed(pass.input.value, await identity());
    person.confirm(file, secret);
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
