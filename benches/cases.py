#!/usr/bin/env python3
"""Cases sealed with three indexes of keyed hashes, against the same rows in the clear, on the embedded database.

Both sides write the same events and leaves of the audit log in the same batches of 1000, in turn; the plain side keeps the document as JSON
and the searched values as indexed columns. Then cases are found by record number and read, on either side in turn, with nothing written. At
last a new organization data key wraps the key of every case anew.

    benches/cases.py [--load target/release/examples/load] [--rows 100000] [--finds 2000] [--rounds 3] [--figures-only]

With `--figures-only` no goal is asked for: `--load target/debug/examples/load --rows 2000 --finds 50 --rounds 1 --figures-only` shows that
it runs. How often a key service is asked is counted in journeys/own_cloud.rs, not here.

One case among 1,000,000 is found with `--rows 1000000 --rounds 1`, which takes about 15 minutes. PostgreSQL is not offered by this version.
"""

import argparse
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
# What has to be reached: sealed rows to plain ones, the median of a search over hashes to that of a plain one, and case keys a second.
BULK, FIND, REWRAP = 0.5, 1.25, 20_000


def main():
    options = argparse.ArgumentParser(description="sealed cases against the same rows in the clear")
    options.add_argument("--load", type=pathlib.Path, default=ROOT / "target/release/examples/load")
    options.add_argument("--rows", type=int, default=100_000)
    options.add_argument("--finds", type=int, default=2_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--figures-only", action="store_true")
    options = options.parse_args()
    rounds = []
    for _ in range(options.rounds):
        desk = pathlib.Path(tempfile.mkdtemp(prefix="bench-cases-", dir=ROOT / "target"))
        try:
            said = subprocess.run(
                [options.load, "cases", desk, str(options.rows), str(options.finds)], check=True, capture_output=True, text=True
            )
        finally:
            shutil.rmtree(desk)
        rounds.append(json.loads(said.stdout))
    bulk = [round["sealed_rows_per_second"] / round["plain_rows_per_second"] for round in rounds]
    rewrap = [round["rewrapped_keys_per_second"] for round in rounds]
    find = [round["sealed_find_us"]["median"] / round["plain_find_us"]["median"] for round in rounds]
    figures = {
        "rows": options.rows,
        "bulk_ratio": {"median": statistics.median(bulk), "all": bulk, "goal": BULK},
        "find_ratio": {"median": statistics.median(find), "all": find, "goal": FIND},
        "rewrapped_keys_per_second": {"median": statistics.median(rewrap), "all": rewrap, "goal": REWRAP},
        "bytes_ratio": statistics.median(round["sealed_bytes"] / round["plain_bytes"] for round in rounds),
        "rounds": rounds,
    }
    json.dump(figures, sys.stdout, indent=1)
    print()
    reached = statistics.median(bulk) >= BULK and statistics.median(find) <= FIND and statistics.median(rewrap) >= REWRAP
    sys.exit(0 if reached or options.figures_only else 1)


if __name__ == "__main__":
    main()
