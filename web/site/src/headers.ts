// Names and lengths of sequences, from the first bytes of a BAM, CRAM or VCF file (SAM v1 sections 1.3 and 4, CRAM 3 sections 6 to 8, VCF 4
// section 1.4.7): what the viewer needs to know before it draws, where there is no reference to ask.
type Bytes = Uint8Array<ArrayBuffer>;
export type Sequence = { name: string; length: number };
// Gives the first so many bytes of the file, or all of it if it is shorter.
export type Head = (bytes: number) => Promise<Bytes>;

const FIRST = 64 * 1024;
const MOST = 16 * 1024 * 1024;
const text = (bytes: Bytes) => new TextDecoder().decode(bytes);

async function inflated(bytes: Bytes, format: "gzip" | "deflate-raw"): Promise<Bytes> {
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream(format))).arrayBuffer());
}

function joined(parts: Bytes[]): Bytes {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

// What the whole blocks of a BGZF file's first bytes hold (SAM v1 section 4.1): each is a gzip member that says its own length.
async function unblocked(bytes: Bytes): Promise<Bytes> {
  const parts: Bytes[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + 18 <= bytes.length; ) {
    if (view.getUint32(at) !== 0x1f8b0804 || view.getUint16(at + 12) !== 0x4243) throw new Error("this file is not blocked gzip (BGZF)");
    const [extra, whole] = [view.getUint16(at + 10, true), view.getUint16(at + 16, true) + 1];
    if (at + whole > bytes.length) break;
    parts.push(await inflated(bytes.subarray(at + 12 + extra, at + whole - 8), "deflate-raw"));
    at += whole;
  }
  return joined(parts);
}

function samHeader(header: string): Sequence[] {
  return header.split("\n").filter((line) => line.startsWith("@SQ\t")).map((line) => {
    const field = (tag: string) => line.split("\t").find((one) => one.startsWith(`${tag}:`))?.slice(3) ?? "";
    return { name: field("SN"), length: Number(field("LN")) };
  });
}

// `null` where more bytes are needed.
function bamSequences(bytes: Bytes): Sequence[] | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 12) return null;
  if (text(bytes.subarray(0, 4)) !== "BAM\u0001") throw new Error("this file is no BAM");
  let at = 8 + view.getInt32(4, true);
  if (at + 4 > bytes.length) return null;
  const count = view.getInt32(at, true);
  at += 4;
  const found: Sequence[] = [];
  for (let number = 0; number < count; number += 1) {
    if (at + 4 > bytes.length) return null;
    const named = view.getInt32(at, true);
    if (at + 8 + named > bytes.length) return null;
    found.push({ name: text(bytes.subarray(at + 4, at + 3 + named)), length: view.getInt32(at + 4 + named, true) });
    at += 8 + named;
  }
  return found;
}

// The integers of CRAM (section 2.3): the first byte's leading ones say how many follow.
function itf8(bytes: Bytes, at: number): [number, number] {
  const first = bytes[at] ?? 0;
  const byte = (n: number) => bytes[at + n] ?? 0;
  if (first < 0x80) return [first, at + 1];
  if (first < 0xc0) return [((first & 0x3f) << 8) | byte(1), at + 2];
  if (first < 0xe0) return [((first & 0x1f) << 16) | (byte(1) << 8) | byte(2), at + 3];
  if (first < 0xf0) return [((first & 0x0f) << 24) | (byte(1) << 16) | (byte(2) << 8) | byte(3), at + 4];
  return [((first & 0x0f) << 28) | (byte(1) << 20) | (byte(2) << 12) | (byte(3) << 4) | (byte(4) & 0x0f), at + 5];
}

function ltf8(bytes: Bytes, at: number): number {
  const first = bytes[at] ?? 0;
  const ones = Math.clz32(~(first << 24));
  return at + 1 + Math.min(ones, 8);
}

async function cramSequences(bytes: Bytes): Promise<Sequence[] | null> {
  if (text(bytes.subarray(0, 4)) !== "CRAM" || bytes[4] !== 3) throw new Error("this file is no CRAM of version 3");
  // File definition, then the header's container: length, reference, start, span, records, counter, bases, blocks, landmarks, CRC.
  let at = 26 + 4;
  for (let field = 0; field < 4; field += 1) [, at] = itf8(bytes, at);
  at = ltf8(bytes, ltf8(bytes, at));
  [, at] = itf8(bytes, at);
  let landmarks: number;
  [landmarks, at] = itf8(bytes, at);
  for (let mark = 0; mark < landmarks; mark += 1) [, at] = itf8(bytes, at);
  at += 4;
  // The block: method, content type, content id, size as it lies, size as it was.
  const method = bytes[at] ?? 255;
  let size: number;
  [, at] = itf8(bytes, at + 2);
  [size, at] = itf8(bytes, at);
  [, at] = itf8(bytes, at);
  if (at + size > bytes.length) return null;
  const block = bytes.subarray(at, at + size);
  if (method > 1) throw new Error("the header of this CRAM is packed in a way that is not read here");
  const content = method === 1 ? await inflated(block, "gzip") : block;
  const length = new DataView(content.buffer, content.byteOffset).getInt32(0, true);
  return samHeader(text(content.subarray(4, 4 + length)));
}

function vcfSequences(header: string): Sequence[] | null {
  const end = header.search(/^#CHROM/m);
  if (end < 0) return null;
  const found: Sequence[] = [];
  for (const [, fields] of header.slice(0, end).matchAll(/^##contig=<(.*)>\s*$/gm)) {
    const field = (name: string) => new RegExp(`(?:^|,)${name}=([^,]*)`).exec(fields ?? "")?.[1] ?? "";
    if (field("ID") !== "" && Number(field("length")) > 0) found.push({ name: field("ID"), length: Number(field("length")) });
  }
  return found;
}

// The sequences that a file's header names.
export async function sequencesOf(format: string, head: Head): Promise<Sequence[]> {
  for (let wanted = FIRST; wanted <= MOST; wanted *= 4) {
    const bytes = await head(wanted);
    let found: Sequence[] | null;
    if (format === "cram") found = await cramSequences(bytes);
    else if (format === "bam") found = bamSequences(await unblocked(bytes));
    else found = vcfSequences(text(await unblocked(bytes)));
    if (found !== null) {
      if (found.length === 0) throw new Error("the header of this file names no sequence with its length\nthe viewer cannot tell where to begin: download the file");
      return found;
    }
    if (bytes.length < wanted) break;
  }
  throw new Error("the header of this file is cut off, or longer than 16 MiB");
}

// Where a file's first records lie: the first window of 16 384 bases that its index has (SAM v1 section 5.2, the tabix and CRAI formats), so that the
// viewer does not open on an empty place. `null` where this index does not say it.
export async function firstPlace(index: Bytes, sequences: Sequence[]): Promise<{ name: string; start: number } | null> {
  if (text(index.subarray(0, 4)) === "BAI\u0001") {
    const found = firstLeaf(index, 8);
    const name = found === null ? undefined : sequences[found.sequence]?.name;
    return name === undefined || found === null ? null : { name, start: found.start };
  }
  if (index[0] !== 0x1f) return null;
  const blocked = index[3] === 4;
  const bytes = blocked ? await unblocked(index) : await inflated(index, "gzip");
  if (text(bytes.subarray(0, 4)) === "TBI\u0001") {
    const named = new DataView(bytes.buffer, bytes.byteOffset).getInt32(32, true);
    const found = firstLeaf(bytes, 36 + named, 4);
    const names = text(bytes.subarray(36, 36 + named)).split("\0");
    const name = found === null ? undefined : names[found.sequence];
    return name === undefined || found === null ? null : { name, start: found.start };
  }
  // CRAI: a line for each slice, with sequence and start.
  const [sequence, start] = (text(bytes).split("\n").find((line) => /^\d+\t\d+\t/.test(line)) ?? "").split("\t");
  const name = sequences[Number(sequence)]?.name;
  return name === undefined || start === undefined ? null : { name, start: Number(start) };
}

// The first sequence with a bin of the smallest size, and that bin's place.
function firstLeaf(bytes: Bytes, from: number, countAt = 4): { sequence: number; start: number } | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const sequences = view.getInt32(countAt, true);
  let at = from;
  for (let sequence = 0; sequence < sequences; sequence += 1) {
    let first = Infinity;
    const bins = view.getInt32(at, true);
    at += 4;
    for (let number = 0; number < bins; number += 1) {
      const bin = view.getUint32(at, true);
      if (bin >= 4681 && bin < 37449) first = Math.min(first, bin - 4681);
      at += 8 + 16 * view.getInt32(at + 4, true);
    }
    at += 4 + 8 * view.getInt32(at, true);
    if (first < Infinity) return { sequence, start: first * 16_384 };
  }
  return null;
}
