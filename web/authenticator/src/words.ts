// Other words for everything, because the old ones may have been seen: project by project, and stopped anywhere it goes on.
//
// The new words lie beside the old ones until every project is theirs. The old device approves, the old words sign the card of the new ones,
// every dataset key is wrapped to them, and when the last is there the card comes into force.
import * as wasm from "authenticator";
import { become, call, drop, identity, keep, kept, keptUnder, listed, pairedWith, unlocked, type Signed } from "./core.ts";
import { asked, own } from "./cards.ts";
import { check, form, h, mark, progress, refusal, show } from "./draw.ts";
import { lockedUnder, typedWords } from "./begin.ts";
import { begin, ended, wrapAll, type Begun, type Says } from "./handing.ts";
import { locked } from "./requests.ts";

type Next = { identity: string; device: string; reseal: boolean };
type Project = { id: string; custodian: string };

let drawn: wasm.Person | null = null;

export async function otherWords(): Promise<void> {
  if (unlocked() === null) return locked("Unlock to change your words", otherWords);
  if ((await kept<Next>("next")) !== undefined) return goingOn();
  const reseal = check("Have everything written anew too: keys of datasets that were copied before then open nothing. Each takes a task that you approve.");
  show("Change your words",
    h("p", { class: "lead" }, "If somebody may have seen your twelve words, take other ones. Every project goes over to them, with its keys."),
    h("ul", {}, h("li", {}, "The old words, their cards and every other device count for nothing afterwards: restore the new words there."),
      h("li", {}, "Your Ethereum account, OpenPGP, X.509 and SSH keys are others then too. Tell whoever uses them."),
      h("li", {}, "Whoever had the old words could open everything until now, and keeps what they copied.")),
    form([reseal.row], "Draw other words", () => { drawn ??= wasm.Person.draw(); shown(reseal.input.checked); }, [h("a", { class: "button quiet", href: "#/keys" }, "Back")]));
}

function shown(reseal: boolean): void {
  if (drawn === null) return;
  const typed = typedWords("Type all twelve from your paper");
  const pass = asked("Your passphrase", "It stays the same: it locks the new words as it locked the old ones.");
  const again = form([typed.row, pass.row], "These are my words", async () => {
    const wrong = [...(drawn?.wrong(typed.text()) ?? [])];
    if (wrong.length > 0) throw new Error(`${wrong.length === 1 ? `word ${wrong[0]} is` : `words ${wrong.join(", ")} are`} not what was shown\nnothing was changed`);
    const person = unlocked();
    if (person === null || drawn === null) throw new Error("this device locked itself: begin again");
    person.confirm(await identity(), pass.input.value);
    const device = drawn.new_device();
    await keep("next", { identity: lockedUnder(drawn, pass.input.value), device, reseal } satisfies Next);
    drawn.free();
    drawn = null;
    await run(pass.input.value);
  });
  show("Write the new words on paper", h("p", {}, "In this order. Nothing has changed yet: the old words count until all projects have gone over."),
    h("ol", { class: "words" }, ...drawn.words().split(" ").map((word) => h("li", {}, word))),
    h("details", {}, h("summary", {}, "I have written them down"), again));
}

async function goingOn(): Promise<void> {
  const pass = asked("Your passphrase");
  show("A change of words was begun", h("p", { class: "lead" }, "It goes on where it was. Until the last project has gone over, both papers are needed."),
    form([pass.row], "Go on", () => run(pass.input.value)));
}

async function run(passphrase: string): Promise<void> {
  const [old, hub, next] = [unlocked(), pairedWith(), await kept<Next>("next")];
  if (old === null || hub === null || next === undefined) throw new Error("this device is locked");
  const file = await identity();
  old.confirm(file, passphrase);
  const person = wasm.Person.unlock(next.identity, next.device, passphrase, "");
  const owned = (await listed<Project>("/projects")).filter((one) => one.custodian === "owner");
  const bar = progress("Projects that have gone over", owned.length, (done, all) => `${done} of ${all} projects`);
  const keys = h("p", { role: "status" }, "");
  show("Changing your words", bar.element, keys, h("p", { class: "hint" }, "Stopped half-way, open this page again and it goes on."));
  try {
    for (const { id } of owned) {
      await one(id, { old, person, file, passphrase, reseal: next.reseal }, { says: (text) => { keys.textContent = text; }, waits: bar.waits });
      bar.more(1);
    }
  } catch (error) {
    person.free();
    return show("The words are not changed yet", refusal(error), h("p", {}, "What went over stays so, and the rest is as before."), h("div", { class: "buttons" }, h("a", { class: "button", href: "#/rotate" }, "Go on"), h("a", { class: "button quiet", href: "#/" }, "Later")));
  }
  // The new words take the place of the old ones. Grants were the old device's, the passkey held the old words.
  await keep("identity", next.identity);
  await keep("device", next.device);
  await keep("backed up", true);
  await keep("words have a passphrase", false);
  await drop("next", "quick", ...(await keptUnder("grant:")).map(([digest]) => `grant:${digest}`));
  become(person);
  show("Your words are changed", h("p", { class: "lead" }, mark("done", "ok"), ` ${owned.length === 1 ? "1 project is" : `${owned.length} projects are`} held by the new words. Destroy the old paper.`),
    next.reseal && h("p", {}, "Everything is being written anew: approve each task as it asks."),
    h("div", { class: "buttons" }, h("a", { class: "button", href: "#/projects" }, "Your projects"), h("a", { class: "button quiet", href: "#/keys" }, "Your new keys")));
}

type Change = { old: wasm.Person; person: wasm.Person; file: string; passphrase: string; reseal: boolean };

async function one(project: string, { old, person, file, passphrase, reseal }: Change, tells: Says): Promise<void> {
  const hub = pairedWith();
  if (hub === null) return;
  const signed = await call<Signed>("GET", `/projects/${project}/card`);
  // It went over before a stop, or is another person's with whom it is shared.
  if (!old.owns(JSON.stringify(signed))) return;
  const { begun, handover } = await begin("words", project, async () => {
    const draft = old.draw_key_change(await own(project, signed, "change my words"), person, reseal);
    const approval = JSON.parse(old.sign_draft(draft, file, passphrase)) as Begun["approval"];
    const made: Begun = { approval, card: JSON.parse(draft.next_card) as Signed, key: draft.next_key, to: "" };
    draft.free();
    return made;
  });
  await wrapAll(old, handover, begun.key, tells);
  const card = JSON.parse(person.take_card(hub.id, project, JSON.stringify(begun.card))) as Signed;
  await call("POST", `/projects/${project}/handover/finish`, { card });
  await keep(`card:${project}`, card);
  await ended("words", project);
}
