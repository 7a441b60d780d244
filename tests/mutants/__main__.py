"""`python -m tests.mutants [module ...]`: run the mutants of these modules, or of all.

`python -m tests.mutants --by-chance FILE TESTS...` draws mutants of a file, and reports those that none of
the files of tests finds: see `chance.py`. `--seed N` draws others, and `--most N` so many, 20 by default.
"""

import argparse
import sys

from tests.mutants.chance import draw
from tests.mutants.runner import BadMutant, main

parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
parser.add_argument("names", nargs="*", help="tables; with --by-chance files of tests")
parser.add_argument("--by-chance", metavar="FILE", help="draw mutants of this file")
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--most", type=int, default=20)
given = parser.parse_args()
try:
    if given.by_chance is None:
        sys.exit(bool(main(given.names)))
    draw(given.by_chance, given.names, seed=given.seed, most=given.most)
except BadMutant as error:
    sys.exit(f"mutants: {error}")
