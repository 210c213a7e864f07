#!/usr/bin/env python3
"""The stream and the store beside their peers: large files, plain `curl` to nginx, two facilities, cuts, kills, large folders, reading.

Each figure takes turns with its peer within a round; ratios are medians with their spread. curl and nginx neither seal nor sync; restic
seals and does not sync. Where two walls of one program differ by more than 25 %, the CPU seconds are what counts.

    cargo build --release --workspace --bins --examples
    benches/stream.py [small large facilities cut killed folder read] [--rounds 7] [--scale 1.0]

`--scale 0.02` tries everything out in a minute or two, and says nothing about speed.
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
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from send import ROOT, Chorion, Restic, cpu_of, free_port, make_folder, run, spread  # noqa: E402

MIB = 1 << 20
# What is on the way at once: `Resources` of the broker.
PART_MIB, STREAMS = 6, 3
FIGURES = ("small", "large", "facilities", "cut", "killed", "folder", "read")
verdicts = []


def say(what, values, goal, at_least):
    median = statistics.median(values)
    reached = median >= goal if at_least else median <= goal
    verdicts.append(reached)
    print(f"  {what}: {spread(values)}; goal {'at least' if at_least else 'at most'} {goal} {'reached' if reached else 'MISSED'}", flush=True)


class Nginx:
    """nginx with DAV over TLS 1.3, one suite, which syncs nothing."""

    def __init__(self, desk):
        self.desk, self.port, self.round = desk / "nginx", free_port(), 0
        self.desk.mkdir()
        run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=bench",
             "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", self.desk / "key.pem", "-out", self.desk / "cert.pem"])  # fmt: skip
        (self.desk / "files").mkdir()
        os.chmod(self.desk, 0o755)
        (self.desk / "nginx.conf").write_text(f"""
daemon off; pid {self.desk}/pid; error_log {self.desk}/error.log; worker_processes 1; {'user root;' if os.geteuid() == 0 else ''}
events {{ worker_connections 256; }}
http {{
  access_log off; client_max_body_size 0; client_body_temp_path {self.desk}/tmp;
  proxy_temp_path {self.desk}/p; fastcgi_temp_path {self.desk}/f; uwsgi_temp_path {self.desk}/u; scgi_temp_path {self.desk}/s;
  server {{
    listen 127.0.0.1:{self.port} ssl http2; ssl_certificate {self.desk}/cert.pem; ssl_certificate_key {self.desk}/key.pem;
    ssl_protocols TLSv1.3; ssl_conf_command Ciphersuites TLS_AES_256_GCM_SHA384;
    location / {{ root {self.desk}/files; dav_methods PUT; create_full_put_path on; }}
  }}
}}
""")
        self.server = subprocess.Popen(["nginx", "-c", self.desk / "nginx.conf", "-p", self.desk], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while socket.socket().connect_ex(("127.0.0.1", self.port)):
            if time.monotonic() > deadline or self.server.poll() is not None:
                sys.exit(f"error: nginx did not start\n{(self.desk / 'error.log').read_text()[-500:]}")
            time.sleep(0.05)

    def cpu(self):
        """Master and worker."""
        children = pathlib.Path(f"/proc/{self.server.pid}/task/{self.server.pid}/children").read_text().split()
        return sum(cpu_of(type("P", (), {"pid": int(pid)})) for pid in [self.server.pid, *children])

    def send(self, folder):
        self.round += 1
        lines = []
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            url = f"https://127.0.0.1:{self.port}/{self.round}/{path.relative_to(folder)}"
            lines += [f'upload-file = "{path}"', f'url = "{url}"']
        listed = self.desk / "list"
        listed.write_text("\n".join(lines) + "\n")
        before = self.cpu()
        sent = run(["curl", "-sS", "--fail", "--parallel", "--parallel-max", "32", "--cacert", self.desk / "cert.pem", "-K", listed])
        sent["cpu"] += self.cpu() - before
        shutil.rmtree(self.desk / "files" / str(self.round))
        return sent

    def end(self):
        self.server.terminate()
        self.server.wait(20)


def large_folder(desk, bytes_):
    folder = desk / "large"
    folder.mkdir()
    with open(folder / "lane.cbcl", "wb") as file:
        for _ in range(max(1, bytes_ // (8 * MIB))):
            file.write(random.randbytes(8 * MIB))
    (folder / "RunInfo.xml").write_text("<RunInfo/>\n")
    (folder / "CopyComplete.txt").write_text("")
    return folder


def compare(name, folder, desk, options, goals):
    """Our sender beside restic and beside curl to nginx."""
    print(f"{name}: {sum(p.stat().st_size for p in folder.rglob('*') if p.is_file()) / MIB:.0f} MiB, {options.rounds} rounds", flush=True)
    side = desk / name
    side.mkdir()
    tools = {"chorion": Chorion(options.chorion, side), "restic": Restic(side), "nginx": Nginx(side)}
    rounds = []
    try:
        for _ in range(options.rounds):
            one = {}
            for tool in random.sample(list(tools), 3):
                os.sync()
                sent = tools[tool].send(folder)
                one[tool] = sent[0] if tool == "chorion" else sent
            rounds.append(one)
    finally:
        for tool in tools.values():
            tool.end()
        shutil.rmtree(side)
    for tool in tools:
        walls, cpus = [one[tool]["wall"] for one in rounds], [one[tool]["cpu"] for one in rounds]
        print(f"  {tool:8} {spread(walls)} s, CPU {spread(cpus)} s, at most {max(one[tool]['peak'] for one in rounds):.0f} MiB")
    say("speed, chorion to restic", [one["restic"]["wall"] / one["chorion"]["wall"] for one in rounds], goals[0], True)
    say("CPU, chorion to restic", [one["chorion"]["cpu"] / one["restic"]["cpu"] for one in rounds], 0.6, False)
    say("speed, chorion to curl and nginx", [one["nginx"]["wall"] / one["chorion"]["wall"] for one in rounds], goals[1], True)
    say("peak memory of the sender, MiB", [max(one["chorion"]["peak"] for one in rounds)], 64, False)


def facilities(desk, options):
    """Two facilities on one disk, as a part of what appending and syncing twice the bytes allows."""
    side = desk / "two"
    side.mkdir()
    folder = large_folder(side, int(512 * MIB * options.scale))
    bytes_ = (folder / "lane.cbcl").stat().st_size
    hub = Chorion(options.chorion, side, facilities=2)
    parts = []
    try:
        for _ in range(options.rounds):
            os.sync()
            sent, _ = hub.send(folder)
            os.sync()
            block, start = random.randbytes(8 * MIB), time.perf_counter()
            with open(side / "append", "wb") as file:
                for _ in range(2 * bytes_ // len(block)):
                    file.write(block)
                    os.fdatasync(file.fileno())
            parts.append((time.perf_counter() - start) / sent["wall"])
            (side / "append").unlink()
    finally:
        hub.end()
        shutil.rmtree(side)
    print(f"facilities: two on one disk, {bytes_ / MIB:.0f} MiB, {options.rounds} rounds")
    say("of the disk's synced append rate", parts, 0.8, True)


class Line(threading.Thread):
    """Passes bytes on to the hub, counts what goes there, and can cut every connection at once."""

    def __init__(self, to):
        super().__init__(daemon=True)
        self.to, self.sent, self.open, self.lock = to, 0, [], threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.start()

    def run(self):
        while True:
            try:
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                continue
            with self.lock:
                self.open += [near, far]
            threading.Thread(target=self.pump, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self.pump, args=(far, near, False), daemon=True).start()

    def pump(self, source, sink, counts):
        try:
            while data := source.recv(256 * 1024):
                if counts:
                    self.sent += len(data)
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        with self.lock:
            cut, self.open = self.open, []
        for end in cut:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def broken(desk, options, kills):
    """Bytes sent, of a 2 GiB file whose transfer is broken once at half: the line is cut, or the sender is killed and started again."""
    name = "killed" if kills else "cut"
    side = desk / name
    side.mkdir()
    folder = large_folder(side, int(2048 * MIB * options.scale))
    source = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    hub = Chorion(options.chorion, side, line=Line)
    parts = []
    try:
        for _ in range(max(1, options.rounds // 2)):
            before = hub.line.sent
            words = [options.chorion, "run", "send", folder, "--project", hub.project, "--card-phrase", hub.phrase, "--no-demultiplex", "--again"]
            child = subprocess.Popen([str(word) for word in words], env={**os.environ, **hub.home}, stdout=subprocess.DEVNULL)
            while hub.line.sent - before < source // 2 and child.poll() is None:
                time.sleep(0.002)
            if kills:
                child.kill()
                child.wait()
                # Without `--again`: the run that was begun goes on.
                child = subprocess.Popen([str(word) for word in words[:-1]], env={**os.environ, **hub.home}, stdout=subprocess.DEVNULL)
            else:
                hub.line.cut()
            if child.wait() != 0:
                sys.exit(f"error: the sender ended with {child.returncode}")
            parts.append((hub.line.sent - before) / source)
    finally:
        hub.end()
        shutil.rmtree(side)
    print(f"{name}: {source / MIB:.0f} MiB, {len(parts)} rounds; bytes sent, of the source's")
    say("at most streams x part more", parts, 1 + STREAMS * PART_MIB * MIB / source, False)
    if options.scale >= 1:
        say("bytes sent to bytes of the source", parts, 1.05, False)


def folder_of_many(desk, options):
    """A folder of 500,000 files: memory of the sender, and one look at it beside `find`."""
    side = desk / "many"
    side.mkdir()
    folder = side / "run"
    count = int(500_000 * options.scale)
    for number in range(count):
        where = folder / f"{number // 1000:04}"
        if number % 1000 == 0:
            where.mkdir(parents=True)
        (where / f"{number}.filter").write_bytes(number.to_bytes(8, "little"))
    (folder / "RunInfo.xml").write_text("<RunInfo/>\n")
    (folder / "CopyComplete.txt").write_text("")
    scan = ROOT / "target/release/examples/scan"
    ratios = []
    for _ in range(options.rounds):
        walls = {}
        for tool in random.sample(["find", "scan"], 2):
            words = ["find", folder, "-type", "f", "-printf", "%s %T@ %i %P\\n"] if tool == "find" else [scan, folder]
            walls[tool] = run(words)["wall"]
        ratios.append(walls["scan"] / walls["find"])
    print(f"folder: {count} files, {options.rounds} rounds")
    say("one look, to find -printf", ratios, 3, False)
    hub = Chorion(options.chorion, side)
    try:
        sent, _ = hub.send(folder)
        print(f"  sent in {sent['wall']:.0f} s, CPU {sent['cpu']:.0f} s")
        say("peak memory of the sender, MiB", [sent["peak"]], 64, False)
    finally:
        hub.end()
        shutil.rmtree(side)


def reading(desk, options):
    """Verified reads of sealed objects from one facility in the page cache, beside opening in memory; then a whole download."""
    said = run([ROOT / "target/release/examples/verified_read", desk])["said"]
    memory, read, opened = (float(word) for word in said.split())
    print(f"read: MiB for each CPU second: opened in memory {memory:.0f}, read and verified {read:.0f}, read, verified and opened {opened:.0f}")
    say("verified read to opening in memory", [read / memory], 0.7, True)
    print(f"  verified and opened, to opening in memory: {opened / memory:.2f}")
    side = desk / "reading"
    side.mkdir()
    folder = large_folder(side, int(1024 * MIB * options.scale))
    bytes_ = (folder / "lane.cbcl").stat().st_size
    hub = Chorion(options.chorion, side)
    walls, cpus = [], []
    try:
        _, report = hub.send(folder)
        for number in range(options.rounds):
            before, out = cpu_of(hub.hub), side / f"out-{number}"
            got = hub.call("run", "download", report["id"], "--output", out)
            walls.append(bytes_ / MIB / got["wall"])
            cpus.append(bytes_ / MIB / (got["cpu"] + cpu_of(hub.hub) - before))
            shutil.rmtree(out)
    finally:
        hub.end()
        shutil.rmtree(side)
    print(f"  {bytes_ / MIB:.0f} MiB downloaded over TLS and written, {options.rounds} rounds: {spread(walls)} MiB/s; {spread(cpus)} for each CPU second of both")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figures", nargs="*", choices=[*FIGURES, []], default=list(FIGURES))
    parser.add_argument("--chorion", type=pathlib.Path, default=ROOT / "target/release/chorion")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--scale", type=float, default=1.0)
    options = parser.parse_args()
    options.chorion = options.chorion.resolve()
    os.environ["PATH"] += ":/usr/sbin"  # where Debian has nginx
    if not options.chorion.exists():
        sys.exit(f"error: {options.chorion} is not built\n\nhint: cargo build --release -p chorion")
    if missing := [tool for tool in ("restic", "rclone", "openssl", "nginx", "curl") if not shutil.which(tool)]:
        sys.exit(f"error: not here: {', '.join(missing)}\n\nhint: testing/setup.sh bench")
    with tempfile.TemporaryDirectory(prefix="bench-stream-", dir=ROOT / "target") as name:
        desk = pathlib.Path(name)
        os.chmod(desk, 0o755)
        if "small" in options.figures:
            compare("small", make_folder(desk, int(20_000 * options.scale), 50), desk, options, (2.5, 0.8))
        if "large" in options.figures:
            folder = large_folder(desk, int(2048 * MIB * options.scale))
            compare("one-file", folder, desk, options, (3.0, 0.7))
        if "facilities" in options.figures:
            facilities(desk, options)
        if "cut" in options.figures:
            broken(desk, options, kills=False)
        if "killed" in options.figures:
            broken(desk, options, kills=True)
        if "folder" in options.figures:
            folder_of_many(desk, options)
        if "read" in options.figures:
            reading(desk, options)
    sys.exit(0 if all(verdicts) else 1)


if __name__ == "__main__":
    main()
