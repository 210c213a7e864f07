#!/usr/bin/env python3
"""`chorion seal` and `open`, file to file, beside age, crypt4gh and cp: paired, in turns, medians with spread.

Every round runs every tool once, in a new order, on one file of random bytes on tmpfs; ratios are taken within a round, so that
a slow minute of the machine slows both sides. A tool that is not here is said to be missing.

    cargo build --release -p chorion
    python3 -m venv target/peers && target/peers/bin/pip install crypt4gh==1.8.6
    benches/seal.py --chorion target/release/chorion --peers target/peers/bin
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
# What has to be reached: median of the ratio (peer's time / ours), as sealing and opening are promised together.
GOALS = {"crypt4gh": 1.7, "age": 1.2, "cp": 0.75}
MOST_EXTRA_KIB = 16 * 1024


def run(command, stdin=None, stdout=None, watch=False):
    """Wall and CPU seconds; with `watch` also the peak of memory in KiB, read from /proc while the program runs.

    What wait4 says of memory will not do: a child begins with the peak of the interpreter that started it.
    """
    peak = 0
    with open(stdin or os.devnull, "rb") as source, open(stdout or os.devnull, "wb") as sink:
        start = time.perf_counter()
        child = subprocess.Popen([str(part) for part in command], stdin=source, stdout=sink, stderr=subprocess.PIPE)
        while watch:
            lines = pathlib.Path(f"/proc/{child.pid}/status").read_text().splitlines()
            high = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
            if not high:
                break
            peak = max(peak, high[0])
        said = child.stderr.read()
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"error: {command[0]} failed: {said.decode(errors='replace')}")
    return wall, usage.ru_utime + usage.ru_stime, peak


def find(name, folder):
    beside = pathlib.Path(folder or "/nowhere") / name
    return str(beside) if beside.exists() else shutil.which(name)


def prepare(desk, arguments):
    """The commands of each tool that is here: (tool, act) → function that runs it once on new output names."""
    chorion = arguments.chorion
    run([chorion, "keygen", "-o", desk / "anna", "--no-passphrase"])
    tools = {
        ("chorion", "seal"): lambda **k: run([chorion, "seal", desk / "plain", "-o", desk / "s.chorion", "--to", desk / "anna.pub"], **k),
        ("chorion", "open"): lambda **k: run([chorion, "open", desk / "s.chorion", "-o", desk / "o.chorion", "--identity", desk / "anna"], **k),
        ("cp", "seal"): lambda: run(["cp", desk / "plain", desk / "s.cp"]),
        ("cp", "open"): lambda: run(["cp", desk / "s.cp", desk / "o.cp"]),
    }
    missing = []
    age, keygen = find("age", arguments.peers), find("age-keygen", arguments.peers)
    if age and keygen:
        run([keygen, "-o", desk / "age.key"])
        public = (desk / "age.key").read_text().split("public key: ")[1].split()[0]
        tools["age", "seal"] = lambda: run([age, "-r", public, "-o", desk / "s.age", desk / "plain"])
        tools["age", "open"] = lambda: run([age, "-d", "-i", desk / "age.key", "-o", desk / "o.age", desk / "s.age"])
    else:
        missing.append("age (Debian: apt install age)")
    c4gh, keygen = find("crypt4gh", arguments.peers), find("crypt4gh-keygen", arguments.peers)
    if c4gh and keygen:
        run([keygen, "--sk", desk / "c.sec", "--pk", desk / "c.pub", "--nocrypt", "-f"])
        seal = [c4gh, "encrypt", "--sk", desk / "c.sec", "--recipient_pk", desk / "c.pub"]
        tools["crypt4gh", "seal"] = lambda: run(seal, desk / "plain", desk / "s.crypt4gh")
        tools["crypt4gh", "open"] = lambda: run([c4gh, "decrypt", "--sk", desk / "c.sec"], desk / "s.crypt4gh", desk / "o.crypt4gh")
    else:
        missing.append("crypt4gh (pip install crypt4gh==1.8.6)")
    return tools, missing


def spread(values):
    return f"{statistics.median(values):6.2f}  ({min(values):.2f} to {max(values):.2f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chorion", default=str(ROOT / "target/release/chorion"))
    parser.add_argument("--peers", default=str(ROOT / "target/peers/bin"), help="folder with crypt4gh and age")
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tmpfs", default="/dev/shm")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory(dir=arguments.tmpfs, prefix="chorion-bench-") as folder:
        desk = pathlib.Path(folder)
        with open(desk / "plain", "wb") as plain:
            for _ in range(arguments.mib):
                plain.write(os.urandom(1 << 20))
        tools, missing = prepare(desk, arguments)
        names = sorted({tool for tool, _ in tools})
        # The program with nothing to do, for what its memory is measured against.
        (desk / "tiny").write_bytes(b"GATTACA")
        chorion = arguments.chorion
        baseline = run([chorion, "seal", desk / "tiny", "-o", desk / "tiny.sealed", "--to", desk / "anna.pub"], watch=True)[2]
        peaks = [tools["chorion", act](watch=True)[2] for act in ("seal", "open")]
        for name in ("s.chorion", "o.chorion"):
            (desk / name).unlink()
        measured = {key: [] for key in tools}
        for number in range(arguments.rounds):
            order = random.Random(number).sample(names, len(names))
            for tool in order:
                for act in ("seal", "open"):
                    measured[tool, act].append(tools[tool, act]())
                same = number or subprocess.run(["cmp", desk / "plain", desk / f"o.{tool}"], check=False).returncode == 0
                if not same:
                    raise SystemExit(f"error: {tool} did not give back what it was given")
                for name in (f"s.{tool}", f"o.{tool}"):
                    (desk / name).unlink()

    rows, kept = [], True
    for act in ("seal", "open"):
        ours = measured["chorion", act]
        for tool in names:
            theirs = measured[tool, act]
            rows.append({
                "act": act, "tool": tool,
                "wall_s": statistics.median(m[0] for m in theirs), "cpu_s": statistics.median(m[1] for m in theirs),
                "wall": [t[0] / o[0] for t, o in zip(theirs, ours)],
                "cpu": [t[1] / o[1] for t, o in zip(theirs, ours)],
            })
    extra = max(peaks) - baseline
    for row in rows:
        goal = GOALS.get(row["tool"])
        row["goal"] = goal
        row["reached"] = goal is None or statistics.median(row["wall"]) >= goal
        kept &= row["reached"]
    kept &= extra <= MOST_EXTRA_KIB

    if arguments.json:
        print(json.dumps({"mib": arguments.mib, "rounds": arguments.rounds, "rows": rows, "missing": missing,
                          "memory_over_baseline_kib": extra, "reached": kept}))
    else:
        print(f"{arguments.mib} MiB of random bytes, tmpfs to tmpfs, {arguments.rounds} rounds in turns; "
              f"ratio = the peer's time / chorion's")
        print(f"{'':16}{'wall s':>8}{'CPU s':>8}   {'wall ratio, median (spread)':32}{'CPU ratio':>10}  goal")
        for row in rows:
            line = f"{row['act'] + ' ' + row['tool']:16}{row['wall_s']:8.2f}{row['cpu_s']:8.2f}   "
            if row["tool"] != "chorion":
                verdict = "reached" if row["reached"] else "MISSED"
                line += f"{spread(row['wall']):32}{statistics.median(row['cpu']):10.2f}  {row['goal']} {verdict}"
            print(line)
        verdict = "reached" if extra <= MOST_EXTRA_KIB else "MISSED"
        print(f"peak memory over the program's baseline of {baseline / 1024:.1f} MiB: {extra / 1024:.1f} MiB  (goal 16: {verdict})")
        for name in missing:
            print(f"missing: {name}")
    raise SystemExit(0 if kept else 1)


if __name__ == "__main__":
    main()
