#!/usr/bin/env python3
"""Good callers beside hostile ones, and what a signed call and a permission check cost. Prints figures and goals.

Good callers make small signed calls as fast as they are answered, alone and beside hostile ones of nine kinds (bad signatures, replays,
slow headers and bodies, oversized calls, path tricks, decompression bombs, HTTP/2 resets, handshakes), in turns, each kind from
addresses of its own. Hostile callers run at the lowest priority: in the world their machines are not the hub's. The hub's memory is
read from /proc while it runs.

    benches/hostile.py [--seconds 10] [--rounds 5] [--load target/release/examples/load]
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
KEPT, MOST_MEMORY_MIB = 0.8, 512
SIGNED_US, CALLS, CHECK_US = 250, 2000, 20


def memory(process):
    """Peak memory of a running process in MiB."""
    for line in pathlib.Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    sys.exit("error: /proc does not say how much memory the hub uses")


def call(load, *arguments):
    done = subprocess.run([load, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"error: load {' '.join(map(str, arguments))} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def begin_hub(load, desk, how="serve"):
    desk.mkdir()
    hub = subprocess.Popen([load, how, desk], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (desk / "hub.json").exists():
        if hub.poll() is not None or time.monotonic() > deadline:
            sys.exit("error: the hub did not start")
        time.sleep(0.05)
    return hub


def end_hub(hub):
    hub.stdin.close()
    hub.wait(60)


def attacked(load, desk, seconds):
    """Calls a second that good callers get through beside hostile ones, and what became of those."""
    hostile = subprocess.Popen(
        ["nice", "-n", "19", load, "hostile", desk / "hub.json", str(seconds + 3)], stdout=subprocess.PIPE, text=True
    )
    time.sleep(2)
    kept = call(load, "good", desk / "hub.json", seconds)
    said, _ = hostile.communicate(timeout=120)
    return kept, json.loads(said)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--load", type=pathlib.Path, default=ROOT / "target/release/examples/load")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    load = arguments.load.resolve()
    if not load.exists():
        # The bench profile's build of one example more: everything it stands on is built already.
        build = ["cargo", "build", "--quiet", "--locked", "--release", "--package", "hub", "--example", "load"]
        subprocess.run(build, cwd=ROOT, check=True)
    with tempfile.TemporaryDirectory(prefix="bench-hostile-", dir=ROOT / "target") as name:
        desk = pathlib.Path(name) / "cost"
        hub = begin_hub(load, desk, "serve-unmetered")
        cost = call(load, "cost", desk / "hub.json")
        end_hub(hub)
        check = call(load, "permission")
        rounds = []
        for number in range(arguments.rounds):
            # A hub for each round: who is blocked in one would be no attacker in the next.
            desk = pathlib.Path(name) / str(number)
            hub = begin_hub(load, desk)
            alone = call(load, "good", desk / "hub.json", arguments.seconds)
            before = memory(hub.pid)
            beside, hostile = attacked(load, desk, arguments.seconds)
            peak = memory(hub.pid)
            end_hub(hub)
            rate = [each["answered"] / each["seconds"] for each in (alone, beside)]
            rounds.append({"alone": rate[0], "beside": rate[1], "kept": rate[1] / rate[0], "refused": beside["refused"],
                           "hostile_refused": hostile["refused"], "before_mib": before, "peak_mib": peak})  # fmt: skip
            print(f"round {number + 1}: {rate[0]:.0f} calls/s alone, {rate[1]:.0f} beside hostile ones, {beside['refused']} refused; "
                  f"hub {before:.0f} MiB, then {peak:.0f} MiB", file=sys.stderr)  # fmt: skip
    if arguments.json:
        print(json.dumps({"cost": cost, "permission_check": check, "hostile": rounds}))
    median = statistics.median
    over = [each["over_us"] for each in cost]
    calls = [each["signed_calls_per_second"] for each in cost]
    kept = [each["kept"] for each in rounds]
    peak = max(each["peak_mib"] for each in rounds)

    def spread(values):
        return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"

    goals = [
        ("share of their rate that good callers keep", spread(kept), median(kept) >= KEPT, f"at least {KEPT}"),
        ("good calls refused", str(sum(each["refused"] for each in rounds)), not any(each["refused"] for each in rounds), "0"),
        ("peak memory of the hub, MiB", f"{peak:.0f}", peak <= MOST_MEMORY_MIB, f"at most {MOST_MEMORY_MIB}"),
        ("CPU of a signed call over an unsigned one, us", spread(over), median(over) <= SIGNED_US, f"at most {SIGNED_US}"),
        ("signed calls a second beside the client", spread(calls), median(calls) >= CALLS, f"at least {CALLS}"),
        ("permission check, us; in brackets as after a transaction, from the database",
         f"{check['remembered_us']:.2f} ({check['from_database_us']:.0f})", check["remembered_us"] <= CHECK_US, f"at most {CHECK_US}"),
    ]
    if not arguments.json:
        print(f"{arguments.rounds} rounds of {arguments.seconds} s on {os.cpu_count()} cores; median (least to most)")
        for what, value, reached, goal in goals:
            print(f"  {what}: {value}; goal {goal} {'reached' if reached else 'MISSED'}")
    sys.exit(0 if all(reached for _, _, reached, _ in goals) else 1)


if __name__ == "__main__":
    main()
