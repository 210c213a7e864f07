#!/usr/bin/env python3
"""Cases sealed with three indexes of keyed hashes against the same rows in the clear, on the embedded database; and what an organization's
keys cost at their key service.

Rows: both sides write the same events and leaves of the audit log in the same batches of 1000, in turn; the plain side keeps the document as
JSON and the searched values as indexed columns. Beside the sealed side's database stands what a lost one is made anew from, as in the
hub; the plain side has nothing like it. Then cases are found by record number and opened, on either side in turn, among those rows and,
with `--find-rows`, among a million that nothing is logged of. A new organization data key wraps the key of every case anew, and the
keys of as many runs, samples and results.

Keys: a hub and the stand-in of AWS KMS (testing/kms/aws.py) are started, cases and samples brought in and read by many callers, and the stand-in's
log is counted: unwrappings of each wrapped key in a lease, probes apart; calls and seconds of a new customer's key, of a new data key,
and of leaving.

    benches/cases.py [--load target/release/examples/load] [--chorion target/release/chorion] [--rows 100000] [--finds 2000] [--rounds 3]
                     [--find-rows 1000000] [--dataset-keys 100000] [--quick]

`--quick` shows in under a minute that all of it runs, with few rows, and asks for no goal: give it the programs of the dev profile
(`--load target/debug/examples/load --chorion target/debug/chorion`). PostgreSQL is not offered by this version.
"""

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
# What has to be reached: sealed rows to plain ones, the median of a search over hashes to that of a plain one, dataset keys a second.
BULK, FIND, REWRAP = 0.5, 1.25, 20_000
# Of a key service: unwrappings of each key in a lease, calls and seconds of a new customer's key, calls of a new data key.
UNWRAPS, CALLS, SECONDS, DATA_KEY_CALLS = 1, 10, 10, 1
STAND_IN = ROOT / "testing/kms/aws.py"


@contextlib.contextmanager
def desk():
    (ROOT / "target").mkdir(exist_ok=True)
    path = pathlib.Path(tempfile.mkdtemp(prefix="bench-cases-", dir=ROOT / "target"))
    try:
        yield path
    finally:
        shutil.rmtree(path)


def load(program, *words):
    with desk() as path:
        kind, *rest = map(str, words)
        said = subprocess.run([program, kind, path, *rest], check=True, capture_output=True, text=True)
    return json.loads(said.stdout)


class Clinic:
    """A hub, a clinic with its key in the stand-in, and its administrator."""

    def __init__(self, program, path):
        self.program, self.path, self.running = program, path, []
        self.cloud = self.start([sys.executable, STAND_IN])
        port = self.cloud.stdout.readline().strip()
        self.port = port
        words = ["serve", "--json", "--listen", "127.0.0.1:0", "--vaults", "0", "--data", path / "hub", "--aws-endpoint", f"http://127.0.0.1:{port}"]
        hub = self.start([program, *words])
        text = ""
        while True:
            text += hub.stdout.readline()
            with contextlib.suppress(json.JSONDecodeError):
                told = json.loads(text)
                break
        login = ["login", "--hub", told["url"], "--ca", told["ca_file"], "--code"]
        self.call("operator", *login, told["one_time_code"])
        self.id = self.call("operator", "org", "create", "Clinic", "--plan", "enterprise")["id"]
        invited = self.call("operator", "org", "members", "invite", self.id, "boss", "--role", "administrator")
        self.call("boss", *login, invited["code"])
        self.set("first")
        project = self.call("boss", "project", "create", "panel", "--custodian", "organization", "--organization", self.id)
        self.project = project["id"]

    def start(self, words):
        env = os.environ | {"CHORION_HOME": str(self.path / "nobody")}
        process = subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.running.append(process)
        return process

    def end(self):
        for process in self.running:
            process.kill()
            process.wait()

    def call(self, home, *words):
        env = os.environ | {"CHORION_HOME": str(self.path / home)}
        done = subprocess.run([self.program, *words, "--json"], env=env, check=False, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"chorion {words} failed: {done.stderr}")
        return json.loads(done.stdout) if done.stdout.strip() else None

    def set(self, key):
        """Makes a key in the stand-in and takes it in use."""
        subprocess.run([sys.executable, STAND_IN, self.port, json.dumps({"make": key})], check=True, capture_output=True)
        secret = self.path / "secret"
        secret.write_text("a secret\n")
        words = ["--aws-key", f"alias/{key}", "--aws-region", "eu-central-1", "--aws-access-key", "AKIAIOSFODNN7EXAMPLE"]
        self.call("boss", "org", "kms", "set", self.id, *words, "--secret-file", str(secret), "--confirm", self.id)

    def records(self):
        told = subprocess.run([sys.executable, STAND_IN, self.port], check=True, capture_output=True, text=True)
        return json.loads(told.stdout)["Records"]

    def costs(self, act):
        """Calls of the key service, but for probes in between, and seconds of an act."""
        before, began = len(self.records()), time.monotonic()
        act()
        took = time.monotonic() - began
        asked = self.records()[before:]
        probes = [record for record in asked if purpose(record) == "canary"]
        return {"calls": len(asked), "of_those_about_a_canary": len(probes), "seconds": took}


def purpose(record):
    return ((record.get("requestParameters") or {}).get("encryptionContext") or {}).get("chorion:purpose")


def key_service(program, cases):
    """What an organization's keys cost at their service, whatever is done."""
    with desk() as path:
        clinic = Clinic(program, path)
        try:
            table = path / "cases.csv"
            rows = "".join(f"{number},Fernweh\n" for number in range(cases))
            table.write_text("record_number,family_name\n" + rows)
            clinic.call("boss", "case", "import", "--project", clinic.project, str(table))
            reads = path / "reads.fastq"
            reads.write_text("@a\nACGT\n+\nIIII\n")
            for name in "abc":
                clinic.call("boss", "sample", "import", str(reads), "--project", clinic.project, "--name", name)
            listed = clinic.call("boss", "case", "list", "--project", clinic.project)
            for case in listed[:10]:
                clinic.call("boss", "case", "show", case["id"])
            unwraps = {}
            for record in clinic.records():
                if record["eventName"] == "Decrypt" and purpose(record) != "canary":
                    context = record["requestParameters"]["encryptionContext"]
                    name = f"{purpose(record)}/{context['chorion:version']}"
                    unwraps[name] = unwraps.get(name, 0) + 1
            rotate = ("boss", "org", "kms", "rotate", clinic.id)
            leave = ("boss", "org", "kms", "leave", clinic.id, "--confirm", clinic.id, "--wait")
            costs = {
                "cases": cases,
                "unwraps_in_a_lease": unwraps,
                "new_customer_key": clinic.costs(lambda: clinic.set("second")),
                "new_version_of_it": clinic.costs(lambda: clinic.call(*rotate, "customer-key")),
                "new_data_key": clinic.costs(lambda: clinic.call(*rotate, "data-key")),
            }
            # A minute later at the earliest: longer than any call may go on with keys of before.
            while any(not rotation.get("ended") for rotation in clinic.call("boss", "org", "kms", "status", clinic.id)["rotations"]):
                time.sleep(5)
            return costs | {"leaving": clinic.costs(lambda: clinic.call(*leave))}
        finally:
            clinic.end()


def main():
    options = argparse.ArgumentParser(description="sealed cases against the same rows in the clear, and calls of a key service")
    options.add_argument("--load", type=pathlib.Path, default=ROOT / "target/release/examples/load")
    options.add_argument("--chorion", type=pathlib.Path, default=ROOT / "target/release/chorion")
    options.add_argument("--rows", type=int, default=100_000)
    options.add_argument("--finds", type=int, default=2_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--find-rows", type=int, default=0)
    options.add_argument("--dataset-keys", type=int, default=100_000)
    options.add_argument("--quick", action="store_true")
    options = options.parse_args()
    if options.quick:
        options.rows, options.finds, options.rounds, options.dataset_keys = 2_000, 50, 1, 2_000
        options.find_rows = options.find_rows and 5_000
    # What takes no time first: a mistake in it costs no hour.
    service = key_service(options.chorion, min(options.rows, 1_000))
    rounds = [load(options.load, "cases", options.rows, options.finds) for _ in range(options.rounds)]
    datasets = [load(options.load, "rewrap", options.dataset_keys) for _ in range(options.rounds)]
    bulk = [round["sealed_rows_per_second"] / round["plain_rows_per_second"] for round in rounds]
    rewrap = [round["rewrapped_keys_per_second"] for round in rounds]
    find = [round["sealed_find_us"]["median"] / round["plain_find_us"]["median"] for round in rounds]
    figures = {
        "rows": options.rows,
        "bulk_ratio": {"median": statistics.median(bulk), "all": bulk, "goal": BULK},
        "find_ratio": {"median": statistics.median(find), "all": find, "goal": FIND},
        "rewrapped_case_keys_per_second": {"median": statistics.median(rewrap), "all": rewrap, "goal": REWRAP},
        "rewrapped_dataset_keys_per_second": [round["dataset_keys_per_second"] for round in datasets],
        "bytes_ratio": statistics.median(round["sealed_bytes"] / round["plain_bytes"] for round in rounds),
        "key_service": service,
        "rounds": rounds,
    }
    reached = {
        "bulk": statistics.median(bulk) >= BULK,
        "find": statistics.median(find) <= FIND,
        "rewrap": statistics.median(rewrap) >= REWRAP,
        "unwraps in a lease": all(count <= UNWRAPS for count in service["unwraps_in_a_lease"].values()),
        "new customer key": service["new_customer_key"]["calls"] <= CALLS and service["new_customer_key"]["seconds"] <= SECONDS,
        "new data key": service["new_data_key"]["calls"] - service["new_data_key"]["of_those_about_a_canary"] <= DATA_KEY_CALLS,
    }
    if options.find_rows:
        found = load(options.load, "find", options.find_rows, options.finds)
        ratio = found["sealed_find_us"]["median"] / found["plain_find_us"]["median"]
        figures["find_among"] = {"rows": options.find_rows, "ratio": ratio, "goal": FIND, **found}
        reached["find among many"] = ratio <= FIND
    figures["reached"] = reached
    json.dump(figures, sys.stdout, indent=1)
    print()
    sys.exit(0 if all(reached.values()) or options.quick else 1)


if __name__ == "__main__":
    main()
