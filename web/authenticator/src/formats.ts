// What a file is, from its first bytes and its last: one that was cut off, or is called something else, is best found before it is sealed.
// Records inside are looked at by the command line alone (`chorion sample import`), and the page says so.
import type { Bytes } from "./core.ts";

const HEAD_BYTES = 64 * 1024;
const BGZF_END = "1f8b08040000000000ff0600424302001b0003000000000000000000";
const CRAM_END = "0f000000ffffffff0fe0454f46000000000100" + "05bdd94f0001000606010001000100ee63014b";
const INDEXES = [".bai", ".csi", ".tbi", ".crai", ".gzi"];
const ENDINGS: Record<string, string[]> = {
  BAM: [".bam"], CRAM: [".cram"], VCF: [".vcf"], "VCF in gzip": [".vcf.gz"], BCF: [".bcf"], FASTQ: [".fastq", ".fq"], "FASTQ in gzip": [".fastq.gz", ".fq.gz"],
  "a text of genotypes": [".txt", ".23andme"], "a text of genotypes in gzip": [".txt.gz", ".23andme.gz"],
};

const hex = (bytes: Bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const latin = (bytes: Bytes) => new TextDecoder("latin1").decode(bytes);
const part = async (file: Blob, from: number, to: number): Promise<Bytes> => new Uint8Array(await file.slice(from, to).arrayBuffer());

// The beginning of what lies in gzip; nothing if it is damaged.
async function inflated(head: Bytes): Promise<Bytes> {
  const reader = new Blob([head]).stream().pipeThrough(new DecompressionStream("gzip")).getReader();
  try {
    const { value } = await reader.read();
    return value === undefined ? new Uint8Array() : new Uint8Array(value);
  } catch {
    return new Uint8Array();
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

function text(begin: string): string | null {
  if (begin.startsWith("##fileformat=VCF")) return "VCF";
  if (begin.startsWith("#") && /^#\s*rsid\tchromosome\tposition\tgenotype/m.test(begin)) return "a text of genotypes";
  const [name = "", bases = "", plus = "", scores = ""] = begin.split("\n", 4);
  const shown = begin.split("\n").length > 4 ? scores.length === bases.length : scores.length <= bases.length;
  if (name.startsWith("@") && /^[A-Za-z.*-]*$/.test(bases) && plus.startsWith("+") && shown) return "FASTQ";
  return null;
}

async function recognised(head: Bytes): Promise<{ format: string | null; bgzf: boolean }> {
  if (head[0] !== 0x1f || head[1] !== 0x8b) return { format: latin(head.subarray(0, 4)) === "CRAM" ? "CRAM" : text(latin(head)), bgzf: false };
  const bgzf = ((head[3] ?? 0) & 4) !== 0 && latin(head.subarray(12, 14)) === "BC";
  // Of BGZF the first block alone: what follows is a stream of its own.
  const begin = await inflated(bgzf ? head.subarray(0, ((head[16] ?? 0) | ((head[17] ?? 0) << 8)) + 1) : head);
  const mark = latin(begin.subarray(0, 4));
  if (mark === "BAM\u0001") return { format: "BAM", bgzf };
  if (mark.startsWith("BCF\u0002")) return { format: "BCF", bgzf };
  const found = text(latin(begin));
  return { format: found === null ? null : `${found} in gzip`, bgzf };
}

export const isCrypt4gh = async (file: Blob) => latin(await part(file, 0, 8)) === "crypt4gh";
export const inside = (name: string) => name.replace(/\.c4gh$/, "");

// What a file holds, or the sentence why it is not taken. `opened` is the beginning of what lies in a Crypt4GH file, whose end is not looked at.
export async function look(file: File, opened: Bytes | null): Promise<string> {
  const wrong = (why: string) => new Error(`${file.name}: ${why}`);
  if (file.size === 0) throw wrong("it is empty");
  const name = inside(file.name).toLowerCase();
  const head = opened === null ? await part(file, 0, HEAD_BYTES) : opened.subarray(0, HEAD_BYTES);
  if (INDEXES.some((ending) => name.endsWith(ending))) return "an index";
  const { format, bgzf } = await recognised(head);
  if (format === null) throw wrong("it is none of FASTQ, BAM, CRAM, VCF, BCF and a 23andMe text");
  const endings = ENDINGS[format] ?? [];
  if (!endings.some((ending) => name.endsWith(ending))) throw wrong(`it holds ${format}, and its name does not end in ${endings.join(" or ")}`);
  const cut = wrong("the mark of its end is missing: it was cut off\ncopy the file again from where it came from");
  if (["BAM", "BCF"].includes(format) && !bgzf) throw wrong("its blocks are not those of BGZF: it is damaged");
  if (opened !== null) return format;
  if (bgzf && !format.startsWith("FASTQ") && hex(await part(file, file.size - 28, file.size)) !== BGZF_END) throw cut;
  if (format === "CRAM" && hex(await part(file, file.size - 38, file.size)) !== CRAM_END) throw cut;
  return format;
}
