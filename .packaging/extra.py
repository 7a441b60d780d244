"""Print what an extra of the project requires, one requirement a line: `python extra.py test`.

pip installs an extra together with the project, and so compiles the C parts once more for each. `make`
installs the project once, and then what an extra requires by itself.
"""

import re
import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"


def requirements(extra: str) -> list[str]:
    """The requirements of `extra`, those of the extras that it names included.

    Raises:
        KeyError: the project has no such extra.
    """
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    found = []
    for requirement in project["optional-dependencies"][extra]:
        own = re.fullmatch(rf"{project['name']}\[(.*)\]", requirement)
        if own is None:
            found.append(requirement)
        else:
            found += [inner for name in own[1].split(",") for inner in requirements(name.strip())]
    return found


if __name__ == "__main__":
    print("\n".join(requirements(sys.argv[1])))
