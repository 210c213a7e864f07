// Elements from text: nothing here, or anywhere else, turns a text into markup.

type Child = Node | string | null | undefined | false;
type Attributes = Record<string, string | boolean | ((event: Event) => void)>;

export function h(tag: string, attributes: Attributes = {}, ...children: Child[]): HTMLElement {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child): child is Node | string => child !== null && child !== undefined && child !== false));
  return element;
}

export const button = (text: string, then: (event: Event) => void, kind = "") =>
  h("button", { type: "button", class: `button ${kind}`, click: then }, text);

let fields = 0;

// A labelled field; `hint` stands between both.
export function field(label: string, attributes: Attributes, hint = "", tag = "input"): { row: HTMLElement; input: HTMLInputElement } {
  const id = `field-${++fields}`;
  const about: Attributes = hint === "" ? {} : { "aria-describedby": `${id}-hint` };
  const kind: Attributes = tag === "input" ? { type: "text" } : {};
  const input = h(tag, { ...kind, id, autocomplete: "off", spellcheck: "false", ...about, ...attributes }) as HTMLInputElement;
  const row = h("div", { class: "field" }, h("label", { for: id }, label),
    hint === "" ? null : h("p", { class: "hint", id: `${id}-hint` }, hint), input);
  return { row, input };
}

export function check(text: string): { row: HTMLElement; input: HTMLInputElement } {
  const input = h("input", { type: "checkbox" }) as HTMLInputElement;
  return { row: h("label", { class: "check" }, input, h("span", {}, text)), input };
}

export const facts = (rows: [string, Child][]) =>
  h("dl", { class: "facts" }, ...rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));

export const mark = (text: string, kind = "") => h("span", { class: `mark ${kind}` }, text);

// A form whose errors are said where a reader of the screen hears them; while it works it takes no second answer.
export function form(children: Child[], submit: string, then: () => Promise<void> | void, more: Child[] = [], kind = ""): HTMLElement {
  const said = h("div", { role: "alert" });
  const send = h("button", { type: "submit", class: `button ${kind}` }, submit) as HTMLButtonElement;
  const element = h("form", {
    novalidate: true,
    submit: (event) => {
      event.preventDefault();
      if (send.disabled) return;
      send.disabled = true;
      said.replaceChildren();
      // One frame first, so that the page shows that it works before the module is busy with a passphrase.
      requestAnimationFrame(() => setTimeout(async () => {
        try {
          await then();
        } catch (error) {
          said.replaceChildren(refusal(error));
        } finally {
          send.disabled = false;
        }
      }));
    },
  }, said, ...children, h("div", { class: "buttons" }, send, ...more));
  return element;
}

export function refusal(error: unknown): HTMLElement {
  const text = error instanceof Error ? error.message : String(error);
  return h("div", { class: "refusal" }, ...text.split("\n").map((line) => h("p", {}, line.charAt(0).toUpperCase() + line.slice(1))));
}

export function size(bytes: number): string {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  const power = bytes < 1024 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), units.length - 1);
  return `${power === 0 ? bytes : (bytes / 2 ** (10 * power)).toFixed(1)} ${units[power]}`;
}

// A bar for long work, which says in words what it shows; `waits` is for what holds it up.
export function progress(label: string, all: number, words = (done: number, of: number) => `${size(done)} of ${size(of)}`): { element: HTMLElement; more: (by: number) => void; waits: (why: string) => void } {
  const bar = h("progress", { max: `${Math.max(all, 1)}`, value: "0", "aria-label": label }) as HTMLProgressElement;
  const said = h("p", { class: "small", role: "status" }, words(0, all));
  let done = 0;
  return {
    element: h("div", { class: "progress" }, bar, said),
    more: (by) => { done += by; bar.value = done; said.textContent = words(done, all); },
    waits: (why) => { said.textContent = `${words(done, all)}; ${why}: it is tried again`; },
  };
}

export function moment(time: string): string {
  return `${time.slice(0, 10)} ${time.slice(11, 19)} UTC`;
}

export function show(title: string, ...children: Child[]): void {
  const main = document.getElementById("main");
  if (main === null) return;
  document.title = `${title} – Chorion authenticator`;
  main.className = "narrow";
  main.replaceChildren(h("h1", {}, title), ...children.filter((child): child is Node | string => Boolean(child)));
}
