// What every act of one's own begins with: the project's card, verified, and a draft that is shown before it is signed.
import * as wasm from "authenticator";
import { call, identity, keep, kept, now, pairedWith, unlocked, type Signed } from "./core.ts";
import { confirmed } from "./passkey.ts";
import { field, form, h, show } from "./draw.ts";
import { rememberedLog } from "./requests.ts";

export type Card = { number: number; test: boolean; devices: { key: string; since: string }[]; phrase: string; certified: boolean };

export async function cardOf(project: string): Promise<{ signed: Signed; card: Card }> {
  const [person, hub] = [unlocked(), pairedWith()];
  if (person === null || hub === null) throw new Error("this device is locked");
  const signed = await call<Signed>("GET", `/projects/${project}/card`);
  const seen = (await kept<Signed>(`card:${project}`)) ?? null;
  const card = JSON.parse(person.card(hub.id, project, JSON.stringify(signed), JSON.stringify(seen))) as Card;
  await keep(`card:${project}`, signed);
  return { signed, card };
}

// What the module is told beside an act.
export async function own(project: string, signed: Signed, purpose: string): Promise<string> {
  const hub = pairedWith();
  return JSON.stringify({
    hub: hub?.id, now: now(), project, card: signed, seen: (await kept<Signed>(`card:${project}`)) ?? null, requester: hub?.account.id,
    checkpoint: (await rememberedLog())?.checkpoint ?? null, purpose,
  });
}

export const asked = (name: string, hint = "") => field(name, { type: "password", autocomplete: "current-password" }, hint);

// Shows what would be signed; when the person has said once more that it is them, signs it and goes on.
export function signing(title: string, draft: wasm.Draft, sign: string, back: string, then: (approval: { approval: Signed }, drawn: { sentences: string[]; digest: string }) => Promise<void>, more: HTMLElement[] = [], kind = ""): void {
  const drawn = JSON.parse(draft.shown) as { sentences: string[]; digest: string };
  const pass = asked("Your passphrase, once more");
  show(title, h("div", { class: "card" }, ...drawn.sentences.map((line) => h("p", {}, line.charAt(0).toUpperCase() + line.slice(1)))), ...more,
    form([pass.row], sign, async () => {
      const person = unlocked();
      if (person === null) throw new Error("this device locked itself: begin again");
      const { file, secret } = await confirmed(pass.input.value, await identity());
      const approval = JSON.parse(person.sign_draft(draft, file, secret)) as { approval: Signed };
      await then(approval, drawn);
      draft.free();
    }, [h("a", { class: "button quiet", href: back }, "Do not")], kind));
}
