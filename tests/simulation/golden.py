"""Write the digests of the golden runs for this version of trio: `python -m tests.simulation.golden`."""

from __future__ import annotations

import logging

import trio

from tests.simulation.run import line
from tests.simulation.test_determinism import GOLDEN, RUNS, fingerprint

if __name__ == "__main__":
    logging.disable()
    code, *rows = [*(GOLDEN.read_text().splitlines() if GOLDEN.exists() else []), ""]
    kept = [row for row in rows if row and code == fingerprint() and row.split("\t")[2] != trio.__version__]
    now = [line(*run) for run in RUNS]
    GOLDEN.write_text("".join(f"{row}\n" for row in (fingerprint(), *sorted([*kept, *now]))))
