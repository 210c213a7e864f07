#!/usr/bin/env python3
"""From an owner's yes to the answer, in a vault that is warm, against the bare tool on the plain file.

The first question starts a vault, which stays for the next ones. What is measured of each of those begins when `approve yes` has been answered by the hub and ends when the
hub has the vault's receipt: the approval is handed over, judged and used up, keys are opened, the file is fetched and read, the answer sealed and sent, the receipt signed. That is more than the first
byte, so it bounds it from above. Beside it the same question to the plain file, process to process; and how long it took from a question's launch until a vault had shown its evidence, cold and warm.

    benches/approved.py [--chorion target/release/chorion] [--rounds 9]
"""

import argparse
import datetime
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
# What has to be reached, in milliseconds over the bare tool.
GOAL = 150
WORDS = "abandon " * 11 + "about\n"
HEADER = (
    "##fileformat=VCFv4.2\n##contig=<ID=1,length=249250621>\n"
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tanna\n"
)


class Stage:
    def __init__(self, chorion, desk):
        self.chorion, self.desk = str(chorion), desk
        self.env = dict(os.environ, CHORION_HOME=str(desk / "ada"), CHORION_PASSPHRASE="a bench on loopback")

    def start(self, *words, **how):
        return subprocess.Popen([self.chorion, *map(str, words), "--json"], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how)

    def call(self, *words, said=None):
        child = self.start(*words, stdin=subprocess.PIPE)
        out, err = child.communicate(said)
        if child.returncode:
            sys.exit(f"error: chorion {' '.join(map(str, words))} failed:\n{err}")
        return json.loads(out) if out.strip() else None


def until(look, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.01)
    sys.exit("error: it did not come")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chorion", type=pathlib.Path, default=ROOT / "target/release/chorion")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    if not arguments.chorion.exists():
        sys.exit(f"error: {arguments.chorion} is not built\n\nhint: cargo build --release -p chorion")
    with tempfile.TemporaryDirectory(prefix="bench-approved-") as name:
        desk = pathlib.Path(name)
        stage = Stage(arguments.chorion.resolve(), desk)
        hub = stage.start("serve", "--vaults", 1, "--listen", "127.0.0.1:0", "--data", desk / "hub")
        try:
            measure(stage, hub, desk, arguments.rounds)
        finally:
            hub.terminate()
            hub.wait()


def seconds(stamp):
    return datetime.datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()


def plain(stage, file):
    """The same question to the plain file, in milliseconds."""
    start = time.perf_counter()
    subprocess.run([stage.chorion, "query", str(file), "--rsid", "rs150"], check=True, capture_output=True)
    return 1e3 * (time.perf_counter() - start)


def measure(stage, hub, desk, rounds):
    text = ""
    while True:
        text += hub.stdout.readline()
        try:
            told = json.loads(text)
            break
        except json.JSONDecodeError:
            pass
    stage.call("login", "--hub", told["url"], "--ca", told["ca_file"], "--code", told["one_time_code"])
    stage.call("words", "restore", said=WORDS)
    project = stage.call("project", "create", "my genome", "--custodian", "owner", "--test")["id"]
    file = desk / "anna.vcf"
    rows = (f"1\t{at}\trs{at}\tA\tG\t.\t.\t.\tGT\t{random.choice(['0/0', '0/1', '1/1'])}\n" for at in range(100, 20_100))
    file.write_text(HEADER + "".join(rows))
    sample = stage.call("sample", "import", file, "--project", project, "--name", "Anna")["id"]
    ours, bare, ready = [], [], []
    # One more: the first one starts the vault.
    for number in range(rounds + 1):
        # In turns, and by chance the one or the other first.
        bare_first = random.random() < 0.5
        if number and bare_first:
            bare.append(plain(stage, file))
        asking = stage.start("vault", "query", sample, "--rsid", "rs150", "--purpose", "a figure")
        request = until(lambda: next((r for r in stage.call("approve", "list") if r["state"] == "pending"), None))
        shown = stage.call("approve", "show", request["id"])
        stage.call("approve", "yes", request["id"], "--phrase", shown["request_phrase"])
        answer, _ = asking.communicate()
        if asking.returncode:
            sys.exit("error: the question was not answered")
        task = next(r for r in stage.call("approve", "list") if r["id"] == request["id"])["task"]
        # By the hub's clock: the events of the launch, the vault's claim, the owner's answer, the receipt.
        events = stage.call("audit", "list")
        at = lambda act, what: seconds(next(e["at"] for e in events if e["act"] == act and what in e["object"]))  # noqa: E731
        ready.append(1e3 * (at("task.claim", task) - at("session.launch", json.loads(answer)["session"])))
        if number == 0:
            continue
        ours.append(1e3 * (at("task.end", task) - at("approval.answer", request["id"])))
        if not bare_first:
            bare.append(plain(stage, file))
    over = [a - b for a, b in zip(ours, bare)]
    print(f"from a question to a vault that has shown its evidence: cold {ready[0]:.0f} ms, warm {statistics.median(ready[1:]):.0f} ms")
    spread = lambda all_: f"{statistics.median(all_):.0f} ms ({min(all_):.0f} to {max(all_):.0f})"  # noqa: E731
    print(f"from the owner's yes to the receipt {spread(ours)}; the bare tool {spread(bare)}")
    reached = "reached" if statistics.median(over) <= GOAL else "MISSED"
    print(f"over the bare tool, whole answer: {spread(over)}; goal {GOAL} ms for the first byte: {reached}")


if __name__ == "__main__":
    main()
