"""`python -m tests.mutants [module ...]`: run the mutants of these modules, or of all."""

import sys

from tests.mutants.runner import BadMutant, main

try:
    sys.exit(bool(main(sys.argv[1:])))
except BadMutant as error:
    sys.exit(f"mutants: {error}")
