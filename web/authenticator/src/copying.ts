// A copy of a dataset in a project whose key others hold: opened here, an object after the other, and sealed anew to whoever holds that key. It leaves
// the owner's custody, and the pages say so before anything is signed.
import type * as wasm from "authenticator";
import { forget, sent, type Begun, type Source } from "./adding.ts";
import { call, keep, keptUnder, listed, pairedWith, Refused, unlocked, type Bytes, type Json, type Signed } from "./core.ts";
import { cardOf, own, signing } from "./cards.ts";
import { filesOf, nameOf, opened, partsOf, type Dataset } from "./data.ts";
import { button, facts, field, form, h, mark, progress, refusal, show, size } from "./draw.ts";
import { locked } from "./requests.ts";
import { PACK_BYTES } from "./sealing.ts";

type Project = { id: string; name: string | null; custodian: string; right: string };
// `create` is what the hub gets; `own` is the same with the key wrapped to one's own words, to go on with.
type Copied = { create: Begun["create"]; own: Json; of: string; name: string; into: string; approval: Json; taken: boolean };

const MAY_MAKE = ["create", "write", "admin", "owner"];
const called = (project: Project) => `${project.name ?? project.id} (key held by the ${project.custodian})`;

export async function copying(id: string): Promise<void> {
  if (unlocked() === null) return locked("Unlock to copy it", () => copying(id));
  const found = await call<Dataset>("GET", `/datasets/${id}`);
  const name = await nameOf(found);
  const back = h("a", { class: "button quiet", href: `#/dataset/${id}` }, "Back");
  const begun = (await keptUnder<Copied>("copy:")).filter(([, one]) => one.of === id);
  const into = (await listed<Project>("/projects")).filter((one) => one.custodian !== "owner" && MAY_MAKE.includes(one.right));
  if (into.length === 0) {
    show(`Copy ${name}`, ...begun.map(([, one]) => goingOn(one)), h("p", { class: "lead" }, "There is no project that others hold the key of, and that you may add data to."),
      h("p", {}, "Whoever owns one makes you a member with the right `create`; or make one: chorion project create NAME."), h("div", { class: "buttons" }, back));
    return;
  }
  const where = field("Into which project", {}, "", "select");
  where.input.append(...into.map((one) => h("option", { value: one.id }, called(one))));
  const named = field("Its name there", { value: name }, "Whoever holds that project's key reads it.");
  show(`Copy ${name}`, ...begun.map(([, one]) => goingOn(one)),
    h("p", { class: "lead" }, "The copy leaves your custody: whoever holds the key of that project can read it from then on, without asking you."),
    h("ul", {}, h("li", {}, "On the platform's key that is whoever operates this hub; on an organization's key it is the organization, and the hub while that key lets it."),
      h("li", {}, "So can everybody whom that project gives the right to read."), h("li", {}, "Yours stays as it is. Destroying it later takes back no copy.")),
    form([where.row, named.row], "Show what I would sign", async () => {
      const project = into.find((one) => one.id === where.input.value);
      if (named.input.value.trim() === "") throw new Error("the copy has a name");
      if (project !== undefined) await draw(found, project, named.input.value.trim());
    }, [back], "danger"));
}

async function draw(found: Dataset, into: Project, name: string): Promise<void> {
  const [person, hub] = [unlocked(), pairedWith()];
  if (person === null || hub === null) throw new Error("this device locked itself: begin again");
  const { signed } = await cardOf(found.project);
  const content = await opened(found.id);
  const card = await call<Signed>("GET", `/projects/${into.id}/card`);
  const making = person.make_copy(hub.id, hub.cardKey, JSON.stringify(found), into.id, JSON.stringify(card), name);
  const draft = person.draw_export(await own(found.project, signed, "let others hold the key of a dataset"), content, making);
  signing("Let others read a copy?", draft, "Sign it", `#/dataset/${found.id}`, async (approval) => {
    const create = JSON.parse(making.create) as Begun["create"];
    const copied: Copied = { create, own: JSON.parse(person.keep_copy(making)) as Json, of: found.id, name, into: called(into), approval, taken: false };
    await keep(`copy:${create.id}`, copied);
    await run(copied, making, content);
  }, [h("p", {}, `Into ${called(into)}, as “${name}”.`)], "danger");
}

function goingOn(copied: Copied): HTMLElement {
  return h("section", { class: "card" }, h("h2", {}, `The copy “${copied.name}” was begun`), h("p", {}, `Into ${copied.into}. It goes on where it was.`),
    form([], "Go on", async () => {
      const person = unlocked();
      if (person === null) throw new Error("this device locked itself: begin again");
      await run(copied, person.go_on(JSON.stringify(copied.own)), await opened(copied.of));
    }, [button("Give it up", () => void forget(copied.create.id).then(() => copying(copied.of)), "quiet")], "quiet"));
}

async function run(copied: Copied, making: wasm.Making, content: wasm.Opened): Promise<void> {
  const { create, of, name } = copied;
  show(`Copying ${name}`, h("p", { role: "status" }, "Its list of files is opened."));
  try {
    if (!copied.taken) await ask(copied);
    const { files, objects } = await filesOf(of, content);
    const total = files.reduce((sum, file) => sum + file.bytes, 0);
    const bar = progress(`Sealing and sending ${name}`, total);
    const sources = files.map((file): Source => ({ path: file.path, size: file.bytes, packs: () => packed(partsOf(of, content, file, objects, bar.waits)) }));
    show(`Copying ${name}`, bar.element, h("p", { class: "hint" }, "Leave this page open. Stopped half-way, the dataset's page goes on with it."));
    const here = document.getElementById("main")?.firstChild;
    if (!(await sent(making, create, sources, bar, () => document.getElementById("main")?.firstChild === here))) return;
    await forget(create.id);
    show(`${name} was copied`, h("p", { class: "lead" }, mark("copied", "ok"), ` Whoever holds that project's key can read it from here on, and taking it back takes back no copy.`),
      h("div", { class: "card" }, facts([["Into", copied.into], ["Dataset", h("span", { class: "mono" }, create.id)], ["Size", size(total)]])),
      h("div", { class: "buttons" }, h("a", { class: "button", href: `#/dataset/${of}` }, "Back to yours")));
  } catch (error) {
    show(`${name} is not copied yet`, refusal(error), h("p", {}, "What arrived is kept."), h("div", { class: "buttons" }, h("a", { class: "button", href: `#/copy/${of}` }, "Go on")));
  } finally {
    making.free();
  }
}

// The hub uses the approval up, and writes it into the log, before anything of the copy leaves this device.
async function ask(copied: Copied): Promise<void> {
  try {
    await call("POST", `/datasets/${copied.of}/export`, { approval: copied.approval });
  } catch (error) {
    // Nothing of it is at the hub yet, so nothing is lost.
    if (error instanceof Refused && ["key_refused", "conflict"].includes(error.code)) await forget(copied.create.id);
    throw error;
  }
  copied.taken = true;
  await keep(`copy:${copied.create.id}`, copied);
}

// The same bytes in packs of one length, so that a pack that arrived is known again after a stop.
async function* packed(parts: AsyncGenerator<Bytes>): AsyncGenerator<Bytes> {
  let [pack, filled]: [Bytes, number] = [new Uint8Array(PACK_BYTES), 0];
  for await (const part of parts) {
    for (let from = 0; from < part.length; ) {
      const taken = part.subarray(from, from + PACK_BYTES - filled);
      pack.set(taken, filled);
      [from, filled] = [from + taken.length, filled + taken.length];
      if (filled < PACK_BYTES) continue;
      yield pack;
      [pack, filled] = [new Uint8Array(PACK_BYTES), 0];
    }
  }
  if (filled > 0) yield pack.subarray(0, filled);
}
