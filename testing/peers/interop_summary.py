#!/usr/bin/env python3
"""What Illumina's own library (PyPI `interop`, GPL-3.0: a process of its own, never a part) makes of a run folder, as JSON.

    target/venv/bin/python testing/peers/interop_summary.py RUN_FOLDER
"""

import json
import sys

import interop


def rows(level):
    table = interop.summary(sys.argv[1], level, dtype="f8")
    plain = lambda value: value.decode() if isinstance(value, bytes) else value.item() if hasattr(value, "item") else value
    finite = lambda value: None if isinstance(value, float) and value != value else value
    return [{name: finite(plain(row[name])) for name in table.dtype.names or ()} for row in table]


print(json.dumps({level: rows(level) for level in ("Total", "NonIndex", "Read", "Lane")}))
