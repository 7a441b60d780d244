"""The process that runs one cell's kernel: `python -m tests.benchmarks.worker MODULE KERNEL VARIANT
PARAMETERS`.

It speaks lines with the harness. It warms up, says it is ready, then runs the kernel once for every line
`run` on its standard input and answers with the cost, until the input ends. A kernel that cannot run on
this machine makes it answer why, and end. Its own lines start with a mark, so that whatever a peer prints
does no harm. Runs are asked for one by one because the harness takes the cells of a benchmark in turn: a
noisy moment of the machine then falls on all of them.
"""

from __future__ import annotations

import gc
import importlib
import json
import logging
import os
import sys
from typing import TextIO

from tests.benchmarks.kernel import CannotRun, find

MARK = "@bench "
COLD = "BENCH_COLD"


def serve(module: str, name: str, variant: str, parameters: dict[str, int], answers: TextIO) -> None:
    """Warm up, then run the kernel once for every line of standard input."""

    def answer(**fields: object) -> None:
        print(MARK + json.dumps(fields), file=answers, flush=True)

    logging.disable(logging.CRITICAL)
    importlib.import_module(module)
    kernel = find(module, name, variant)
    try:
        if COLD not in os.environ:
            kernel(**parameters)
        answer(ready=True)
        for _line in sys.stdin:
            gc.collect()
            answer(value=kernel(**parameters))
    except CannotRun as reason:
        answer(absent=str(reason))


def main() -> None:
    """Serve the cell that the command line names; standard output is kept for the answers alone."""
    module, name, variant, parameters = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(module, name, variant, json.loads(parameters), answers)


if __name__ == "__main__":
    main()
