"""Try the combinations whose ids have all the given parts: `python -m tests.isolation far unprintable`.

With `debug` among the parts the nodes check that processes share nothing.
"""

import sys
import time

import attrs

from tests.isolation.places import combinations
from tests.isolation.stage import problems


def main(parts: list[str]) -> int:
    """Print what fails. Returns: the exit status."""
    tried = failed = 0
    started = time.process_time()
    debug = "debug" in parts
    parts = [part for part in parts if part != "debug"]
    for combination in combinations():
        combination = attrs.evolve(combination, debug=debug)
        if all(part in str(combination) for part in parts):
            tried += 1
            found = problems(combination)
            if found:
                failed += 1
                print(f"{combination}: {'; '.join(found):.600}", flush=True)
    print(f"{failed} of {tried} combinations fail; {time.process_time() - started:.1f} s", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
