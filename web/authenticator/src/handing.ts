// A project goes into other hands: given to another person, whose device takes it, or to a custodian who can read everything from then on.
//
// What is signed is written down before the hub hears of it, so a stop anywhere goes on with the same approval. Nothing counts before the last
// key is there.
import * as wasm from "authenticator";
import { call, drop, keep, kept, listed, pairedWith, patiently, Refused, unlocked, identity, type Json, type Signed } from "./core.ts";
import { asked, cardOf, own, signing } from "./cards.ts";
import { button, check, facts, field, form, h, mark, moment, refusal, show } from "./draw.ts";
import { confirmed } from "./passkey.ts";
import { locked } from "./requests.ts";

export type Handover = { project: string; total: number; missing: string[] };
type Way = "words" | "person" | "custodian";
// `to` is whom it goes to, in words; nothing where the words alone change.
export type Begun = { approval: { approval: Signed }; card: Signed; key: string; to: string };
export type Says = { says: (text: string) => void; waits: (why: string) => void };
type Transfer = { id: string; project: string; from: string; to: string; state: string; reseal: boolean; created: string };

// How many keys go to the hub in one call.
const AT_ONCE = 50;
const recordOf = (way: Way, project: string) => `begun:${way}:${project}`;

// 1. What all three ways share.

// Has the hub begin with what was signed before a stop, or with what `sign` signs now.
export async function begin(way: Way, project: string, sign: () => Promise<Begun> | Begun): Promise<{ begun: Begun; handover: Handover }> {
  const send = ({ approval, card }: Begun) => call<Handover>("POST", `/projects/${project}/handover`, { approval, card });
  const before = await kept<Begun>(recordOf(way, project));
  if (before !== undefined) {
    try {
      return { begun: before, handover: await send(before) };
    } catch (error) {
      // An approval that the hub never took may be over by now, and one for a card of before counts no more; then another is signed.
      if (!(error instanceof Refused) || !["key_refused", "bad_request"].includes(error.code)) throw error;
      await drop(recordOf(way, project));
    }
  }
  const begun = await sign();
  await keep(recordOf(way, project), begun);
  return { begun, handover: await send(begun) };
}

export const ended = (way: Way, project: string) => drop(recordOf(way, project));

// Wraps every key that is missing to whoever holds the project next.
export async function wrapAll(old: wasm.Person, begun: Handover, to: string, { says, waits }: Says): Promise<void> {
  const hub = pairedWith();
  const { project, total } = begun;
  let [handover, done] = [begun, 0];
  while (handover.missing.length > 0) {
    const keys: Json[] = [];
    for (const dataset of handover.missing.slice(0, AT_ONCE)) {
      const from = dataset === project ? `/projects/${project}/key` : `/datasets/${dataset}/key`;
      const key = await patiently(() => call<Json>("GET", from), waits);
      keys.push(JSON.parse(old.rewrap(hub?.id ?? "", project, dataset, JSON.stringify(key), to)) as Json);
    }
    done += keys.length;
    if (done > 2 * total + AT_ONCE) throw new Error(`the hub keeps asking for the same keys of project ${project}`);
    handover = await patiently(() => call<Handover>("PUT", `/projects/${project}/handover`, { keys }), waits);
    says(`${total - handover.missing.length} of ${total} keys of this project are wrapped anew`);
  }
}

const begunOf = (draft: wasm.Draft, approval: Begun["approval"], to: string): Begun => ({ approval, card: JSON.parse(draft.next_card) as Signed, key: draft.next_key, to });

// Wraps and, where this device ends it, finishes; on a page that says how far it is, and how to go on when it was stopped.
async function carryOut(way: "person" | "custodian", project: string, name: string, sign: () => Begun): Promise<void> {
  const person = unlocked();
  if (person === null) return locked("Unlock to go on", () => carryOut(way, project, name, sign));
  const said = h("p", { role: "status" }, "");
  const tells: Says = { says: (text) => { said.textContent = text; }, waits: (why) => { said.textContent = `${why}: it is tried again`; } };
  show("Wrapping its keys", said, h("p", { class: "hint" }, "Stopped half-way, the project's page goes on with it. Nothing has changed until the last key is there."));
  try {
    const { begun, handover } = await begin(way, project, sign);
    await wrapAll(person, handover, begun.key, tells);
    if (way === "person") await offeredNow(project, name, begun);
    else await releasedNow(project, name, begun);
  } catch (error) {
    show(way === "person" ? `${name} is not offered yet` : `The key of ${name} did not change hands yet`, refusal(error), h("p", {}, way === "person" ? "It is yours until they take it. What is done stays done: the project's page goes on with it." : "Nothing changes before the last key is there. What is done stays done: the project's page goes on with it."),
      h("div", { class: "buttons" }, h("a", { class: "button", href: `#/project/${project}` }, "To the project")));
  }
}

// What was begun here and stopped.
async function goingOn(way: "person" | "custodian", project: string, name: string): Promise<HTMLElement | null> {
  const begun = await kept<Begun>(recordOf(way, project));
  if (begun === undefined) return null;
  const again = () => { throw new Error("what was signed counts no more\nbegin anew on the project's page"); };
  return h("div", { class: "note" }, h("p", {}, way === "person" ? `Giving it to account ${begun.to} was begun, and stopped.` : `Giving its key to the ${begun.to} was begun, and stopped.`),
    h("div", { class: "buttons" }, button("Go on", () => void carryOut(way, project, name, again), "small"), button("Give it up", () => void ended(way, project).then(() => { location.hash = "/projects"; }), "quiet small")));
}

// 2. Giving it to another person: theirs when their device takes it.

async function transfers(): Promise<Transfer[]> {
  const all = await listed<Transfer>("/transfers");
  return all.filter((one) => one.state === "offered");
}

async function offeredNow(project: string, name: string, begun: Begun): Promise<void> {
  await ended("person", project);
  show("It is offered", h("p", { class: "lead" }, `${name} is yours until they take it: on their authenticator, under Projects. What you opened or copied before stays with you.`),
    h("p", {}, "To account ", h("span", { class: "mono" }, begun.to)), h("div", { class: "buttons" }, h("a", { class: "button", href: "#/projects" }, "Your projects")));
}

// What stands on a project's page: an offer that waits, or how to make one.
export async function giving(id: string, name: string): Promise<HTMLElement> {
  const begun = await goingOn("person", id, name);
  if (begun !== null) return begun;
  const me = pairedWith()?.account.id;
  const offer = (await transfers()).find((one) => one.project === id && one.from === me);
  if (offer !== undefined) {
    return h("div", { class: "note" }, h("p", {}, "Offered to account ", h("span", { class: "mono" }, offer.to), ` since ${moment(offer.created)}. It is yours until they take it.`),
      form([], "Take the offer back", async () => {
        await call("POST", `/transfers/${offer.id}/withdraw`);
        location.hash = "/projects";
      }, [], "quiet small"));
  }
  const account = field("Account", {}, "The id of their account: it stands under Keys in their authenticator, and chorion whoami shows it.");
  const file = field("Their public keys, as a file", { type: "file" }, "keys.json: their authenticator gives it under Keys, the command line by chorion identity show --json.");
  const keys = field("Or as text", { rows: "4" }, "", "textarea");
  const reseal = check("Have everything written anew once it is theirs, so that keys you kept open nothing.");
  return h("details", {}, h("summary", {}, "Give it to another person"),
    h("p", {}, "They get the keys of everything in it, and you have no access any more. You cannot take it back once they took it. Shares with others end."),
    form([account.row, file.row, keys.row, reseal.row], "Look at the six words", async () => {
      const text = (await file.input.files?.[0]?.text()) ?? keys.input.value;
      if (account.input.value.trim() === "") throw new Error("it is not said to whose account it goes");
      compareKeys(id, name, { account: account.input.value.trim(), text, reseal: reseal.input.checked });
    }, [], "quiet"));
}

function compareKeys(id: string, name: string, { account, text, reseal }: { account: string; text: string; reseal: boolean }): void {
  const words = wasm.phrase_of_person(text);
  const same = check("They read me these very words.");
  show("Do they read you the same?", h("p", {}, "These words belong to the keys that you were given. Ask them for theirs, on the telephone or face to face: they stand under Keys in their authenticator, and chorion identity show says them."), h("p", { class: "phrase" }, words),
    form([same.row], "Go on", async () => {
      if (!same.input.checked) throw new Error("give it to nobody before the words are the same\nsomebody may have put other keys in their place");
      const person = unlocked();
      if (person === null) throw new Error("this device locked itself: begin again");
      const { signed } = await cardOf(id);
      const draft = person.draw_transfer(await own(id, signed, "give the project to another person"), account, text, reseal);
      signing("Sign this transfer?", draft, "Sign it", `#/project/${id}`, (approval) => carryOut("person", id, name, () => begunOf(draft, approval, account)));
    }, [h("a", { class: "button quiet", href: `#/project/${id}` }, "They differ")]));
}

// 3. Taking what somebody offers.

let offers: Transfer[] = [];

// What is offered to this account; asked for with what waits.
export async function lookForOffers(): Promise<void> {
  const me = pairedWith()?.account.id;
  offers = (await transfers()).filter((one) => one.to === me);
}
export const offered = (): string => offers.map((one) => one.id).join();

export function offerRows(): HTMLElement | null {
  if (offers.length === 0) return null;
  return h("ul", { class: "rows card" }, ...offers.map((one) => h("li", {},
    h("div", {}, h("p", {}, "A project is offered to you"), h("p", { class: "small" }, `since ${moment(one.created)}, by account `, h("span", { class: "mono" }, one.from))),
    h("a", { class: "button", href: `#/offer/${one.id}` }, "Look at the offer"))));
}

type Judged = { project: string; test: boolean; writers: number; keys: number; reseal: boolean };

export async function offer(id: string): Promise<void> {
  const [person, hub] = [unlocked(), pairedWith()];
  if (person === null || hub === null) return locked("Unlock to look at the offer", () => offer(id));
  const answer = async () => {
    await call("POST", `/transfers/${id}/refuse`);
    await lookForOffers();
    show("Refused", h("p", {}, "It stays with whoever offered it."), h("div", { class: "buttons" }, h("a", { class: "button", href: "#/projects" }, "Your projects")));
  };
  let handover: Handover & { card: Signed };
  let judged: Judged;
  try {
    handover = await call("GET", `/transfers/${id}/handover`);
    judged = JSON.parse(person.offered(hub.id, JSON.stringify(handover))) as Judged;
  } catch (error) {
    const elsewhere = error instanceof Refused && error.code === "conflict";
    show(elsewhere ? "This offer is not taken here" : "This offer does not hold", refusal(error), !elsewhere && h("p", {}, "Nothing was signed, and nothing left this device."),
      form([], "Refuse it", answer, [h("a", { class: "button quiet", href: "#/projects" }, "Back")], "quiet"));
    return;
  }
  const from = offers.find((one) => one.id === id)?.from;
  const pass = asked("Your passphrase");
  show("Take this project?",
    h("p", { class: "lead" }, "It is yours then, with everything in it: your words alone open it from then on, and whoever gives it has no access any more."),
    h("p", { class: "marks" }, mark("Key held by: Owner", "ok"), judged.test && mark("NOT CONFIDENTIAL", "danger")),
    h("div", { class: "card" }, facts([
      ["Project", h("span", { class: "mono" }, judged.project)], ["Offered by", h("span", { class: "mono" }, from ?? "an account that this device does not know")],
      ["Keys", `${judged.keys}: its own, and one of each dataset`],
      ["Who may add data", judged.writers === 0 ? "nobody, until you say who" : `${judged.writers === 1 ? "1 key" : `${judged.writers} keys`}, as before: change them on the project's page`],
      ["Its data", judged.reseal ? "is written anew under new keys: approve each task as it asks" : "is not written anew: a key that the giver kept still opens it"],
    ])),
    judged.test && h("p", {}, "It was made for trying things out, and stays so: vaults that prove nothing may open it."),
    h("p", { class: "hint" }, "Its name and what it holds are sealed: this device shows them when it is yours."),
    form([pass.row], "Take it", async () => {
      const { file, secret } = await confirmed(pass.input.value, await identity());
      person.confirm(file, secret);
      await take(id, judged.project, handover.card, { file, secret });
    }, [h("a", { class: "button quiet", href: "#/projects" }, "Not now")]),
    form([], "Refuse it", answer, [], "danger quiet"));
}

async function take(id: string, project: string, begun: Signed, { file, secret }: { file: string; secret: string }): Promise<void> {
  const [person, hub] = [unlocked(), pairedWith()];
  if (person === null || hub === null) throw new Error("this device locked itself: begin again");
  const card = JSON.parse(person.take_card(hub.id, project, JSON.stringify(begun))) as Signed;
  await call("POST", `/transfers/${id}/take`, { card });
  await keep(`card:${project}`, card);
  await lookForOffers();
  // The key of the project must open, or what was given is not what was said.
  const key = await call<Json>("GET", `/projects/${project}/key`);
  const { label } = await call<{ label: Json }>("GET", `/projects/${project}`);
  const name = person.open_name(JSON.stringify(key), JSON.stringify(label), "project");
  const next = person.change_device(await own(project, card, ""), person.approval_key(), true, file, secret);
  await call("PUT", `/projects/${project}/card`, JSON.parse(next));
  await keep(`card:${project}`, (JSON.parse(next) as { card: Signed }).card);
  show(`${name} is yours`, h("p", { class: "lead" }, mark("done", "ok"), " Your words alone open it, and this device approves for it. Certify your other devices on its page."),
    h("div", { class: "buttons" }, h("a", { class: "button", href: `#/project/${project}` }, "Look at it"), h("a", { class: "button quiet", href: "#/projects" }, "Your projects")));
}

// 4. Letting a custodian of the hub hold its key.

type CustodianKey = { custodian: string; recipient: string | null };
const WHO: Record<string, string> = {
  platform: "whoever operates this hub, with the operator's key: the hub can read everything in it, and shows it on its website to whoever has a right to it",
  organization: "the organization, with its own key: the hub can read everything in it while that key lets it",
};

export async function releasing(id: string, name: string): Promise<HTMLElement> {
  const begun = await goingOn("custodian", id, name);
  if (begun !== null) return begun;
  const open = async () => {
    const { hub } = await call<{ hub: { custodians: CustodianKey[] } }>("GET", "/whoami");
    const offered = hub.custodians.filter((one) => one.custodian !== "owner" && one.recipient !== null);
    if (offered.length === 0) throw new Error("this hub offers no other custody");
    choose(id, name, offered);
  };
  return h("details", {}, h("summary", {}, "Let others hold its key"), h("p", {}, "Whoever holds it can read everything in it from then on, without asking you. For one sample, copy that alone: its page does."),
    form([], "Show who could hold it", open, [], "quiet"));
}

function choose(id: string, name: string, offered: CustodianKey[]): void {
  const who = field("Who shall hold the key", {}, "", "select");
  who.input.append(...offered.map((one) => h("option", { value: one.custodian }, one.custodian)));
  const reseal = check("Have everything written anew under new keys once they hold it.");
  const typed = field("Its name, typed", {}, `To be sure that it is this one: ${name}`);
  show("Who can read it from then on",
    h("ul", {}, ...offered.map((one) => h("li", {}, h("strong", {}, one.custodian), `: ${WHO[one.custodian] ?? "a custodian that this version does not know"}.`)),
      h("li", {}, "Your device is not asked any more: apps, downloads and deletions go by the rights that people have in the project."),
      h("li", {}, "What was read then stays known: taking the key back later takes back no copy."), h("li", {}, "Shares with others end; members and their rights stay.")),
    form([who.row, reseal.row, typed.row], "Show what I would sign", async () => {
      const custodian = offered.find((one) => one.custodian === who.input.value);
      if (typed.input.value.trim() !== name) throw new Error("that is not its name");
      const person = unlocked();
      if (person === null || custodian === undefined) throw new Error("this device locked itself: begin again");
      const { signed } = await cardOf(id);
      const draft = person.draw_custody(await own(id, signed, "let others hold the key"), JSON.stringify(custodian), reseal.input.checked);
      signing("Let others read all of it?", draft, "Sign it", `#/project/${id}`, (approval) => carryOut("custodian", id, name, () => begunOf(draft, approval, custodian.custodian)), [], "danger");
    }, [h("a", { class: "button quiet", href: `#/project/${id}` }, "Keep it")], "danger"));
}

async function releasedNow(project: string, name: string, begun: Begun): Promise<void> {
  const signed = await call<Signed>("POST", `/projects/${project}/handover/finish`, { card: null });
  try {
    wasm.check_card_in_force(project, JSON.stringify(begun.card), JSON.stringify(signed), pairedWith()?.cardKey ?? "");
  } catch (error) {
    return show("This is not what you approved", refusal(error));
  }
  await keep(`card:${project}`, signed);
  await ended("custodian", project);
  show("Others hold its key now", h("p", { class: "lead" }, `${name} is held by the ${begun.to}, as the card says that you approved. It is no longer among the projects of this device: the hub's website shows it.`),
    h("div", { class: "buttons" }, h("a", { class: "button", href: "#/projects" }, "Your projects"), h("a", { class: "button quiet", href: `${pairedWith()?.url ?? ""}/projects/${project}`, rel: "noreferrer" }, "On the website")));
}
