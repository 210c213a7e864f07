// What waits, one request, and what was answered: the requests of others, judged on this device.
import * as wasm from "authenticator";
import {
  bytesOf, base64, call, identity, keep, kept, keptUnder, listed, now, pairedWith, unlock, unlocked,
  type Given, type Grant, type Json, type Signed, type Waiting,
} from "./core.ts";
import { button, check, facts, field, form, h, mark, moment, refusal, show } from "./draw.ts";
import { offerRows } from "./handing.ts";
import { holdings } from "./holdings.ts";
import { confirmed, hasPasskey, unlockQuickly } from "./passkey.ts";

const WHAT: Record<string, string> = {
  app: "An app wants to read your data", query: "A question about your data", demultiplex: "A run wants to be demultiplexed",
  reseal: "Your data is to be written anew",
};
const wordOf = (state: string) => ({ pending: "waits", approved: "approved", used: "approved and used", refused: "refused", expired: "expired" })[state] ?? state;
const kindOf = (state: string) => (state === "pending" ? "wait" : state === "approved" || state === "used" ? "ok" : "");

// 1. Home: the list of what waits. What was answered here waits no more, even before the hub is asked again.

const answered = new Set<string>();
export const isWaiting = (one: Waiting) => one.state === "pending" && !answered.has(one.id);

export async function home(list: Waiting[]): Promise<void> {
  const waiting = list.filter(isWaiting).reverse();
  const offers = offerRows();
  if (waiting.length === 0) {
    show(offers === null ? "Nothing waits for you" : "A project is offered to you", offers, h("p", { class: "lead" }, "When somebody works with a project of yours, what they ask appears here by itself."),
      h("div", { class: "buttons" }, h("a", { class: "button quiet", href: "#/projects" }, "Your projects"), h("a", { class: "button quiet", href: "#/history" }, "What was answered")));
    return;
  }
  show(waiting.length === 1 ? "One request waits for you" : `${waiting.length} requests wait for you`, offers,
    h("ul", { class: "rows card" }, ...waiting.map((one) => h("li", {},
      h("div", {}, h("p", {}, WHAT[one.kind] ?? `A task of kind ${one.kind}`), h("p", { class: "small" }, `asked ${moment(one.created)}, counts until ${moment(one.expires)}`)),
      h("a", { class: "button", href: `#/request/${one.id}` }, "Look at it")))));
}

// 2. A request: fetched, judged here, shown from what would be signed.

type Shown = {
  request: Waiting; request_phrase: string; confidential: boolean; sentences: string[]; weakenings: string[]; approval: string; approval_digest: string;
  approval_phrase: string;
};
type Judged = { verdict: wasm.Verdict; shown: Shown };

type Log = { key: string; checkpoint: string };
export const rememberedLog = () => kept<Log>("log");

// Judges until nothing is lacking. What is seen for the first time is remembered only when all of it holds.
export async function judge(id: string, grant: string | null = null): Promise<Judged> {
  const person = unlocked();
  const hub = pairedWith();
  if (person === null || hub === null) throw new Error("this device is locked");
  const detail = await call<{ [key: string]: Json } & { request: Waiting; card: Signed; inputs: { dataset: string }[] }>("GET", `/approvals/${encodeURIComponent(id)}`);
  const contents: Record<string, Json> = {};
  for (const { dataset } of detail.inputs) {
    const seen = await kept<Json>(`content:${dataset}`);
    if (seen !== undefined) contents[dataset] = seen;
  }
  const cards: Record<string, Signed> = {};
  const opened: Json[] = [];
  const project = detail.request.project;
  for (;;) {
    const verdict = person.judge(JSON.stringify({
      id, hub: hub.id, now: now(), grant, checkpoint: (await rememberedLog())?.checkpoint ?? null, policy: (await kept<string>("policy")) ?? null, detail,
      card: (await kept<Signed>(`card:${project}`)) ?? null, contents, cards, opened,
    }));
    const shown = JSON.parse(verdict.shown) as Shown & { needs?: { card?: string; key?: string } };
    if (shown.needs === undefined) {
      await keep(`card:${project}`, detail.card);
      for (const [dataset, seen] of JSON.parse(verdict.contents) as [string, Json][]) await keep(`content:${dataset}`, seen);
      return { verdict, shown };
    }
    verdict.free();
    if (shown.needs.card !== undefined) cards[shown.needs.card] = await comparedCard(shown.needs.card);
    if (shown.needs.key !== undefined) {
      opened.push(await call<Json>("POST", `/datasets/${shown.needs.key}/release`, { recipient: person.recipient(), purpose: "approve" }));
    }
  }
}

// The card of a project that is not this person's: gone by only when its six words were compared.
async function comparedCard(project: string): Promise<Signed> {
  const signed = await call<Signed>("GET", `/projects/${project}/card`);
  const seen = await kept<Signed>(`card:${project}`);
  const about = JSON.parse(wasm.compare_card(project, JSON.stringify(signed), JSON.stringify(seen ?? null))) as { phrase: string; custodian: string };
  if (seen === undefined) {
    await new Promise<void>((then) => show("Whose project is it?",
      h("p", {}, `Results of this request go to project ${project}, whose key is held by: ${about.custodian}. Ask its owner for the six words of its card:`),
      h("p", { class: "phrase" }, about.phrase),
      form([], "They are the same", () => then(), [h("a", { class: "button quiet", href: "#/" }, "They differ")])));
  }
  await keep(`card:${project}`, signed);
  return signed;
}

// "name: value" becomes a row; a line without a name stands by itself.
function rows(sentences: string[]): HTMLElement {
  return facts(sentences.map((line): [string, string] => {
    const at = line.indexOf(": ");
    return at > 0 && at < 40 ? [line.slice(0, at), line.slice(at + 2)] : ["", line];
  }));
}

const pick = (sentences: string[], begin: string) => sentences.find((line) => line.startsWith(begin))?.slice(begin.length).trim();

export async function request(id: string): Promise<void> {
  if (unlocked() === null) return locked("This request waits until you are back", () => request(id));
  show("Verifying…", h("p", { role: "status" }, "Card, evidence and manifests are verified on this device."));
  const begun = performance.now();
  let judged: Judged;
  try {
    judged = await judge(id);
  } catch (error) {
    show("This request does not hold", refusal(error), h("p", {}, "Nothing was signed, and nothing left this device."),
      h("div", { class: "buttons" }, button("Refuse it", () => void refuse(id, "does not hold"), "quiet"), h("a", { class: "button quiet", href: "#/" }, "Back")));
    return;
  }
  const { verdict, shown } = judged;
  const quick = await hasPasskey();
  performance.measure("chorion: judged", { start: begun });
  const { sentences } = shown;
  const headline = sentences[0] ?? "";
  const purpose = pick(sentences, "purpose:") ?? "";
  // Ids stand among everything that would be signed; here are the names that this device opened.
  const reads = sentences.filter((line) => line.startsWith("reads ")).map((line) => line.replace(/, manifest [0-9a-f]+$/, "").replace(/^reads .*?: dataset /, "").replace(/ \([0-9a-f-]{36}\)$/, ""));
  const holders = new Set(sentences.filter((line) => line.startsWith("writes ")).map((line) => line.replace(/^.*whose key is held by: /, "")));
  const asks = sentences.find((line) => line.startsWith("it would "));
  const app = pick(sentences, "app:")?.replace(/, digest .*$/, "");
  const program = pick(sentences, "program:");
  const who = app !== undefined ? `The app ${app}` : program !== undefined ? program.replace(/^./, (letter) => letter.toUpperCase()) : "Somebody";
  const plain = `${who} wants to read ${reads.join(", ")}${asks === undefined ? "" : `: ${asks}`}. It is for: ${purpose}.`;
  const pass = field("Your passphrase, once more", { type: "password", autocomplete: "current-password" }, `For each approval, so that it is you and not whoever holds the device.${quick ? " Left empty, your passkey is asked for." : ""}`);
  const same = check("The six words are the same on the screen of whoever asks.");
  const expires = pick(sentences, "counts once,") ?? "";
  show(headline.charAt(0).toUpperCase() + headline.slice(1),
    h("p", { class: "lead" }, plain),
    h("div", { class: "card" }, facts([
      ["For", purpose], ["Asked by", shown.request.requester === pairedWith()?.account.id ? "your own account" : `account ${shown.request.requester}`], ["Reads", reads.join("; ")],
      ["Whoever holds the result", [...holders].join("; ") || "nobody: the answer goes to the asker"], ["Counts once", expires.replaceAll("T", " ").replaceAll("Z", " UTC")],
    ])),
    h("h2", {}, "Six words"), h("p", { class: "phrase" }, shown.request_phrase),
    h("h2", {}, "Verified on this device"),
    h("ul", { class: "rows" },
      result("ok", "holds", "the project's card: your words signed it, and it certifies this device"),
      result("ok", "hold", "what is read: written by keys that the card knows, no older than what was seen"),
      shown.confidential ? result("ok", "holds", "the vault's evidence")
        : result("danger", "NOT CONFIDENTIAL", "the vault proves nothing: whoever runs its machine can read what it reads. The project bears the test mark, so it may."),
      ...shown.weakenings.map((line) => result("wait", "accepted", line))),
    h("details", {}, h("summary", {}, "Everything that would be signed"), rows(sentences), h("h3", {}, "The signed text"), h("pre", {}, shown.approval)),
    form([same.row, pass.row], "Approve", async () => {
      if (!same.input.checked) throw new Error("compare the six words first\nif they differ, this is somebody else's request: refuse it");
      await approve(id, verdict, shown, pass.input.value);
    }, [button("Refuse", () => void refuse(id, "refused by the owner"), "")]));
  document.querySelector("main form .buttons")?.classList.replace("buttons", "answers");
}

const result = (kind: string, word: string, text: string) => h("li", { class: "result" }, mark(word, kind), h("span", {}, text));

async function approve(id: string, verdict: wasm.Verdict, shown: Shown, passphrase: string): Promise<void> {
  const person = unlocked();
  if (person === null) throw new Error("this device locked itself: open the request again");
  const { file, secret } = await confirmed(passphrase, await identity());
  const begun = performance.now();
  const given = JSON.parse(person.give(verdict, file, secret, now())) as { approval: { approval: Signed } };
  await call("POST", `/approvals/${id}/approve`, given);
  answered.add(id);
  performance.measure("chorion: approved", { start: begun });
  await keep(`given:${id}`, { approval: given.approval.approval, sentences: shown.sentences, at: now() } satisfies Given);
  verdict.free();
  show("Approved", h("p", { class: "lead" }, "The keys went to that one vault, sealed, for this one approval."),
    h("p", {}, "Six words of the approval:"), h("p", { class: "phrase" }, shown.approval_phrase),
    h("div", { class: "buttons" }, h("a", { class: "button", href: "#/" }, "To what waits"), h("a", { class: "button quiet", href: "#/history" }, "What was answered")));
}

async function refuse(id: string, reason: string): Promise<void> {
  try {
    await call("POST", `/approvals/${id}/refuse`, { reason });
    answered.add(id);
    show("Refused", h("p", { class: "lead" }, "Whoever asked is told so, and gets nothing."), h("div", { class: "buttons" }, h("a", { class: "button", href: "#/" }, "To what waits")));
  } catch (error) {
    show("The refusal did not arrive", refusal(error), h("div", { class: "buttons" }, h("a", { class: "button quiet", href: "#/" }, "Back")));
  }
}

// 3. A locked page asks for the passphrase, and then shows what was asked for.

export async function locked(title: string, then: () => Promise<void>): Promise<void> {
  const pass = field("Your passphrase", { type: "password", autocomplete: "current-password" });
  const more = (await kept<boolean>("words have a passphrase")) === true;
  const own = field("Passphrase of the words", { type: "password" });
  const quick = !more && (await hasPasskey());
  show(title, form([pass.row, more && own.row], "Unlock", async () => {
    await unlock(pass.input.value, own.input.value);
    await then();
  }), quick && form([], "Unlock with the passkey", async () => {
    await unlockQuickly();
    await then();
  }, [], "quiet"));
  pass.input.focus();
}

// 4. What was answered: receipts, the log that must continue, and whether everything is there that it tells of.

type Task = { id: string; state: string; reason: string | null; receipt: Signed | null };

export async function history(list: Waiting[]): Promise<void> {
  const given = new Map(await keptUnder<Given>("given:"));
  const done = list.filter((one) => one.state !== "pending").reverse();
  const checkpoints: string[] = [];
  const items: HTMLElement[] = [];
  for (const one of done) {
    const mine = given.get(one.id);
    const lines: (HTMLElement | null)[] = [];
    if (mine !== undefined) {
      try {
        const task = await call<Task>("GET", `/tasks/${one.task}`);
        if (task.receipt === null) {
          lines.push(h("p", { class: "small" }, `no receipt yet: the task is ${task.state}`));
        } else {
          const receipt = JSON.parse(wasm.check_receipt(JSON.stringify(mine.approval), JSON.stringify(task.receipt))) as { complete: boolean; ended: string; log: { checkpoint: string; leaves: { leaf: number }[] } };
          checkpoints.push(receipt.log.checkpoint);
          lines.push(h("p", { class: "result" }, mark("receipt holds", "ok"), h("span", {}, `${receipt.complete ? "done" : "not done"} ${moment(receipt.ended)}; released in leaf ${receipt.log.leaves.map(({ leaf }) => leaf).join(", ")} of the log`)));
        }
      } catch (error) {
        lines.push(refusal(new Error(`the receipt does not hold: ${(error as Error).message}`)));
      }
    }
    const title = mine?.sentences[0] ?? WHAT[one.kind] ?? one.kind;
    const purpose = mine === undefined ? null : pick(mine.sentences, "purpose:");
    items.push(h("li", {}, h("div", {}, h("p", {}, title.charAt(0).toUpperCase() + title.slice(1)),
      h("p", { class: "small" }, `${purpose ? `for: ${purpose}; ` : ""}asked ${moment(one.created)}${one.reason ? `; ${one.reason}` : ""}`), ...lines), mark(wordOf(one.state), kindOf(one.state))));
  }
  let line: HTMLElement | null = null;
  const missing = await holdings(async () => {
    const { element, log } = await logLine(checkpoints);
    line = element;
    return log;
  });
  line ??= (await logLine(checkpoints)).element;
  show("What was answered", line, ...missing,
    items.length === 0 ? h("p", { class: "lead" }, "Nothing yet. Every request that you approve or refuse stands here, with the vault's receipt.") : h("ul", { class: "rows card" }, ...items));
}

// Verifies the log of the hub up to its newest checkpoint, and remembers it.
async function logLine(receipts: string[]): Promise<{ element: HTMLElement; log: Log | null }> {
  const hub = pairedWith();
  if (hub === null) return { element: h("p", {}, ""), log: null };
  try {
    const state = await call<Json>("GET", "/audit/log");
    const before = (await rememberedLog()) ?? null;
    const tiles: [string, string][] = [];
    for (let tries = 0; tries < 3; tries += 1) {
      const step = JSON.parse(wasm.check_log(JSON.stringify({ hub: hub.id, state, before, receipts, tiles }))) as { needs?: string[]; seen: Log; leaves: number; continues: number | null };
      if (step.needs === undefined) {
        await keep("log", step.seen);
        const text = step.continues === null ? `${step.leaves} leaves, verified for the first time: from now on this device knows if it is changed`
          : `${step.leaves} leaves; it continues the ${step.continues} that were verified before`;
        return { element: h("p", { class: "result" }, mark("log holds", "ok"), h("span", {}, text)), log: step.seen };
      }
      for (const path of step.needs) tiles.push([path, base64(await bytesOf(`/audit/log/tile/${path}`))]);
    }
    throw new Error("tiles of the log are missing");
  } catch (error) {
    return { element: refusal(new Error(`the log of the hub does not hold: ${(error as Error).message}\napprove nothing before you know why`)), log: null };
  }
}

// 5. Standing grants: carried out while the device is unlocked, each request once.

const tried = new Set<string>();

export async function carryOut(list: Waiting[]): Promise<number> {
  const person = unlocked();
  const grants = await keptUnder<Grant>("grant:");
  let carried = 0;
  if (person === null || grants.length === 0) return 0;
  for (const one of list) {
    if (one.state !== "pending" || tried.has(one.id)) continue;
    for (const [digest, grant] of grants) {
      if (grant.project !== one.project) continue;
      tried.add(one.id);
      try {
        const { verdict, shown } = await judge(one.id, digest);
        const given = person.carry_out(verdict, JSON.stringify(grant.approval), grant.used, now());
        // Counted before it is given: a stop in between costs a use and never adds one.
        grant.used += 1;
        await keep(`grant:${digest}`, grant);
        await call("POST", `/approvals/${one.id}/approve`, JSON.parse(given));
        await keep(`given:${one.id}`, { approval: (JSON.parse(given) as { approval: { approval: Signed } }).approval.approval, sentences: shown.sentences, at: now() } satisfies Given);
        carried += 1;
        break;
      } catch {
        // Not covered, or it does not hold: a person looks at it.
      }
    }
  }
  return carried;
}

export const requests = () => listed<Waiting>("/approvals");
