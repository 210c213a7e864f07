// How a page below /open/ gets its worker, and keeps it awake.

type Trusted = { createPolicy(name: string, rules: object): { createScriptURL(url: string): string } };

const WORKER = "/open/worker.js";
// Browsers end a worker that nothing was heard of for half a minute.
const STIR_MS = 10_000;

export async function joined(): Promise<void> {
  if (navigator.serviceWorker === undefined) throw new Error("this browser has no service workers here: a private window, or an old browser");
  const trusted = (window as unknown as { trustedTypes?: Trusted }).trustedTypes;
  const policy = trusted?.createPolicy("chorion-worker", { createScriptURL: (url: string) => { if (url === WORKER) return url; throw new Error("another script"); } });
  await navigator.serviceWorker.register(policy?.createScriptURL(WORKER) ?? WORKER, { scope: "/open/" });
  const ready = await navigator.serviceWorker.ready;
  if (navigator.serviceWorker.controller === null) {
    const taken = new Promise((then) => navigator.serviceWorker.addEventListener("controllerchange", then, { once: true }));
    ready.active?.postMessage("claim");
    await taken;
  }
  setInterval(() => navigator.serviceWorker.controller?.postMessage("stir"), STIR_MS);
}
