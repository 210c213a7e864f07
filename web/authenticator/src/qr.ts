// QR codes: drawn from the modules that the WASM module computes, and read in what the camera sees.
import * as wasm from "authenticator";
import { decodeQR } from "qr";
import { pause } from "./core.ts";
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

// How often what the camera sees is looked at, and how wide it is then: a code before a camera fills a good part of it.
const EVERY_MS = 150;
const MOST_WIDE = 800;

// What the code says in what a video shows now; nothing where there is none. It is a text that nobody vouches for.
function codeIn(video: HTMLVideoElement, canvas: HTMLCanvasElement): string | null {
  const scale = Math.min(1, MOST_WIDE / Math.max(video.videoWidth, video.videoHeight, 1));
  const [width, height] = [Math.round(video.videoWidth * scale), Math.round(video.videoHeight * scale)];
  const drawing = canvas.getContext("2d", { willReadFrequently: true });
  if (drawing === null || width === 0 || height === 0) return null;
  [canvas.width, canvas.height] = [width, height];
  drawing.drawImage(video, 0, 0, width, height);
  try {
    return decodeQR({ width, height, data: drawing.getImageData(0, 0, width, height).data });
  } catch {
    // No code, or one that is not whole: the next picture may have it.
    return null;
  }
}

// Looks through the camera until a code says what `takes` takes; nothing where there is no camera to ask for: then it is typed.
export function scanner(name: string, takes: (text: string) => boolean): HTMLElement | null {
  if (navigator.mediaDevices?.getUserMedia === undefined) return null;
  const place = h("div", {});
  const said = h("p", { role: "status", class: "hint" });
  const look = async (): Promise<void> => {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    const video = h("video", { class: "camera", autoplay: true, muted: true, playsinline: true, "aria-label": "What the camera sees" }) as HTMLVideoElement;
    const canvas = h("canvas") as HTMLCanvasElement;
    video.srcObject = stream;
    place.replaceChildren(video, h("div", { class: "buttons" }, button("Stop the camera", () => place.replaceChildren(), "quiet small")));
    said.textContent = "Hold the code before the camera.";
    try {
      await video.play();
      while (video.isConnected) {
        const text = codeIn(video, canvas);
        if (text !== null && takes(text)) { said.textContent = "Read."; return; }
        await pause(EVERY_MS);
      }
      said.textContent = "";
    } finally {
      stream.getTracks().forEach((track) => track.stop());
      place.replaceChildren();
    }
  };
  return h("div", { class: "field" }, place, said,
    button(name, () => { look().catch(() => { said.textContent = "The camera cannot be used: type it instead."; }); }, "quiet small"));
}
