#!/usr/bin/env python3
"""`chorion run send` beside `restic backup` to a REST server over TLS: paired, in turns, medians with spread.

A run folder of 5,000 files of 50 KiB goes over TLS on loopback, sealed by either program before it leaves: ours to a hub with one
facility, which acknowledges after it has synced, restic's to `rclone serve restic`, which does not sync. Every round sends
the same bytes once with each, in a new order, to a new run and a new repository; ratios are taken within a round. CPU seconds are
those of client and server together.

    cargo build --release -p chorion; testing/setup.sh bench
    benches/send.py [--chorion target/release/chorion] [--files 5000] [--kib 50] [--rounds 5]
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
# What has to be reached: median of files per second, ours to restic's; and the most of its CPU seconds.
GOAL_SPEED, GOAL_CPU = 2.0, 0.6
MOST_MEMORY_MIB = 64
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_of(process):
    """CPU seconds that a running process has used so far."""
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def run(command, environment=None):
    """Wall and CPU seconds, peak memory in MiB read from /proc while it runs, and what it printed."""
    peak = 0
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        child = subprocess.Popen([str(part) for part in command], stdout=out, stderr=err, env={**os.environ, **(environment or {})})
        while True:
            pid, status, usage = os.wait4(child.pid, os.WNOHANG)
            if pid:
                break
            lines = pathlib.Path(f"/proc/{child.pid}/status").read_text().splitlines()
            peak = max([peak] + [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")])
            time.sleep(0.01)
        wall = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        said, complaint = out.read().decode(), err.read().decode(errors="replace")
    if child.returncode:
        sys.exit(f"error: {' '.join(map(str, command))} failed:\n{complaint[-2000:]}")
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "peak": peak / 1024, "said": said}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def make_folder(desk, files, kib):
    folder = desk / "run"
    for number in range(files):
        cycle = folder / "Data/Intensities/BaseCalls/L001" / f"C{number // 50 + 1}.1"
        cycle.mkdir(parents=True, exist_ok=True)
        (cycle / f"s_1_{1101 + number % 50}.bcl").write_bytes(random.randbytes(kib * 1024))
    (folder / "RunInfo.xml").write_text("<RunInfo/>\n")
    (folder / "CopyComplete.txt").write_text("")
    return folder


class Chorion:
    """A hub with one facility and a person who sends to it."""

    def __init__(self, program, desk, facilities=1, line=None):
        self.program, self.home = program, {"CHORION_HOME": str(desk / "home")}
        places = [word for number in range(facilities) for word in ("--facility", desk / f"facility-{number}")]
        # Names of this machine at any port: a bench may put a line of its own between.
        port = free_port()
        if line:
            self.line = line(port)
            places += ["--name", f"localhost:{self.line.port}"]
        said = open(desk / "hub.json", "w+")
        self.hub = subprocess.Popen(
            [program, "serve", "--json", "--data", desk / "hub", *places, "--key-file", desk / "keys/platform.key",
             "--listen", f"127.0.0.1:{port}", "--vaults", "0"],
            stdout=said, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        start = None
        while start is None:
            if self.hub.poll() is not None or time.monotonic() > deadline:
                sys.exit("error: the hub did not start")
            time.sleep(0.05)
            try:
                start = json.loads((desk / "hub.json").read_text())
            except json.JSONDecodeError:
                pass
        url = f"https://localhost:{self.line.port}" if line else start["url"]
        self.call("login", "--hub", url, "--code", start["one_time_code"], "--ca", start["ca_file"], "--name", "bench")
        self.project = json.loads(self.call("project", "create", "bench", "--json")["said"])["id"]
        self.phrase = json.loads(self.call("project", "card", self.project, "--json")["said"])["phrase"]

    def call(self, *arguments):
        return run([self.program, *arguments], self.home)

    def send(self, folder):
        before = cpu_of(self.hub)
        sent = self.call("run", "send", folder, "--project", self.project, "--card-phrase", self.phrase, "--no-demultiplex",
"--again", "--json")  # fmt: skip
        sent["cpu"] += cpu_of(self.hub) - before
        report = json.loads(sent["said"])
        shown = json.loads(self.call("run", "status", report["id"], "--json")["said"])[0]
        if shown["hub"]["execution"] not in ("complete", "processing"):
            sys.exit(f"error: the hub says that the run is {shown['hub']['execution']}")
        return sent, report

    def end(self):
        self.hub.send_signal(signal.SIGTERM)
        self.hub.wait(30)


class Restic:
    """`rclone serve restic` over TLS and a repository for each round."""

    def __init__(self, desk):
        self.desk, self.port, self.round = desk, free_port(), 0
        self.environment = {"RESTIC_PASSWORD": "bench", "RESTIC_CACHE_DIR": str(desk / "cache"), "RESTIC_PROGRESS_FPS": "0.1"}
        made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=bench",
                "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", desk / "key.pem", "-out", desk / "cert.pem"]  # fmt: skip
        run(made)
        (desk / "repositories").mkdir()
        self.server = subprocess.Popen(
            ["rclone", "serve", "restic", "--addr", f"127.0.0.1:{self.port}", "--cert", desk / "cert.pem", "--key", desk / "key.pem",
             desk / "repositories"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "RCLONE_CONFIG": "/dev/null"},
        )  # fmt: skip
        deadline = time.monotonic() + 30
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if time.monotonic() > deadline:
                sys.exit("error: rclone serve restic did not start")
            time.sleep(0.05)

    def call(self, *arguments):
        repository = f"rest:https://127.0.0.1:{self.port}/{self.round}/"
        return run(["restic", "-q", "--cacert", self.desk / "cert.pem", "-r", repository, *arguments], self.environment)

    def send(self, folder):
        self.round += 1
        self.call("init")
        before = cpu_of(self.server)
        sent = self.call("backup", folder)
        sent["cpu"] += cpu_of(self.server) - before
        return sent

    def end(self):
        self.server.terminate()
        self.server.wait(30)


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chorion", type=pathlib.Path, default=ROOT / "target/release/chorion")
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--kib", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if not arguments.chorion.exists():
        sys.exit(f"error: {arguments.chorion} is not built\n\nhint: cargo build --release -p chorion")
    missing = [tool for tool in ("restic", "rclone", "openssl") if not shutil.which(tool)]
    if missing:
        sys.exit(f"error: not here: {', '.join(missing)}\n\nhint: testing/setup.sh bench")
    (ROOT / "target").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-send-", dir=ROOT / "target") as name:
        desk = pathlib.Path(name)
        folder = make_folder(desk, arguments.files, arguments.kib)
        chorion, restic = Chorion(arguments.chorion.resolve(), desk), Restic(desk)
        rounds = []
        try:
            for number in range(arguments.rounds):
                ours = theirs = None
                for tool in random.sample(["ours", "theirs"], 2):
                    os.sync()
                    if tool == "ours":
                        ours, report = chorion.send(folder)
                    else:
                        theirs = restic.send(folder)
                rounds.append((ours, theirs))
                print(f"round {number + 1}: chorion {ours['wall']:.2f} s, CPU {ours['cpu']:.2f} s, {ours['peak']:.0f} MiB; "
                      f"restic {theirs['wall']:.2f} s, CPU {theirs['cpu']:.2f} s, {theirs['peak']:.0f} MiB", file=sys.stderr)  # fmt: skip
                if report["files"] != arguments.files + 2:
                    sys.exit(f"error: {report['files']} files arrived, not {arguments.files + 2}")
        finally:
            chorion.end()
            restic.end()
    speed = [theirs["wall"] / ours["wall"] for ours, theirs in rounds]
    cpu = [ours["cpu"] / theirs["cpu"] for ours, theirs in rounds]
    rate = {side: [arguments.files / each[at]["wall"] for each in rounds] for at, side in enumerate(["chorion", "restic"])}
    peak = max(ours["peak"] for ours, _ in rounds)
    median = statistics.median
    if arguments.json:
        print(json.dumps({"files_per_second": rate, "speed": speed, "cpu": cpu, "chorion_peak_mib": peak}))
    else:
        print(f"{arguments.files} files of {arguments.kib} KiB, {len(rounds)} rounds; median (least to most)")
        for side, values in rate.items():
            print(f"  {side:8} {spread(values)} files/s, CPU {spread([each[0 if side == 'chorion' else 1]['cpu'] for each in rounds])} s")
        verdict = "reached" if median(speed) >= GOAL_SPEED else "MISSED"
        print(f"  files per second, chorion to restic: {spread(speed)}; goal {GOAL_SPEED} {verdict}")
        verdict = "reached" if median(cpu) <= GOAL_CPU else "MISSED"
        print(f"  CPU seconds, chorion to restic: {spread(cpu)}; goal at most {GOAL_CPU} {verdict}")
        verdict = "reached" if peak <= MOST_MEMORY_MIB else "MISSED"
        print(f"  peak memory of the sender: {peak:.0f} MiB; goal at most {MOST_MEMORY_MIB} {verdict}")
    reached = median(speed) >= GOAL_SPEED and median(cpu) <= GOAL_CPU and peak <= MOST_MEMORY_MIB
    sys.exit(0 if reached else 1)


if __name__ == "__main__":
    main()
