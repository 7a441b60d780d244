"""Run kernels once each, many in one process: `python -m tests.benchmarks.rehearsal CELLS`.

`CELLS` is JSON: a list of [module, kernel, variant, parameters]. For each a line with its cost, or why it
cannot run here, is printed, marked as the worker's answers are. It shows that the kernels work, in a fraction
of the time that a process for each would take.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys

from tests.benchmarks.kernel import CannotRun, find
from tests.benchmarks.worker import MARK


def main() -> None:
    """Run the cells that the command line names; standard output is kept for the costs alone."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    logging.disable(logging.CRITICAL)
    for module, name, variant, parameters in json.loads(sys.argv[1]):
        importlib.import_module(module)
        try:
            outcome: dict[str, object] = {"value": find(module, name, variant)(**parameters)}
        except CannotRun as reason:
            outcome = {"absent": str(reason)}
        print(MARK + json.dumps({"kernel": name, **outcome}), file=answers, flush=True)


if __name__ == "__main__":
    main()
