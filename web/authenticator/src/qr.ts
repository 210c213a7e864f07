// QR codes: drawn from the modules that the WASM module computes, and read by the camera where the browser can.
import * as wasm from "authenticator";
import { button, h } from "./draw.ts";

const SVG = "http://www.w3.org/2000/svg";
const QUIET = 4;

export function qrCode(text: string, label: string): HTMLElement {
  const [side = 0, ...modules] = wasm.qr_code(text);
  const wide = side + 2 * QUIET;
  const element = (name: string, attributes: Record<string, string>) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const svg = element("svg", { viewBox: `0 0 ${wide} ${wide}`, role: "img", "aria-label": label, "shape-rendering": "crispEdges" });
  const path = modules.map((dark, at) => (dark === 1 ? `M${QUIET + (at % side)} ${QUIET + Math.floor(at / side)}h1v1h-1z` : "")).join("");
  svg.append(element("rect", { width: `${wide}`, height: `${wide}`, fill: "#fff" }), element("path", { d: path, fill: "#000" }));
  return h("p", { class: "qr" }, svg);
}

type Detector = { detect(from: HTMLVideoElement): Promise<{ rawValue: string }[]> };
const detector = () => (window as unknown as { BarcodeDetector?: new (formats: { formats: string[] }) => Detector }).BarcodeDetector;

// Looks through the camera until a code says what `takes` takes; nothing where this browser reads no codes: then it is typed.
export function scanner(name: string, takes: (text: string) => boolean): HTMLElement | null {
  const Reads = detector();
  if (Reads === undefined || navigator.mediaDevices?.getUserMedia === undefined) return null;
  const place = h("div", {});
  const said = h("p", { role: "status", class: "hint" });
  const look = async (): Promise<void> => {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    const video = h("video", { class: "camera", autoplay: true, muted: true, playsinline: true, "aria-label": "What the camera sees" }) as HTMLVideoElement;
    video.srcObject = stream;
    place.replaceChildren(video);
    said.textContent = "Hold the code before the camera.";
    try {
      await video.play();
      const reads = new Reads({ formats: ["qr_code"] });
      while (video.isConnected) {
        const found = await reads.detect(video);
        if (found.some(({ rawValue }) => takes(rawValue))) { said.textContent = "Read."; return; }
        await new Promise((then) => setTimeout(then, 150));
      }
    } finally {
      stream.getTracks().forEach((track) => track.stop());
      place.replaceChildren();
    }
  };
  return h("div", { class: "field" }, place, said,
    button(name, () => { look().catch(() => { said.textContent = "The camera cannot be used: type it instead."; }); }, "quiet small"));
}
