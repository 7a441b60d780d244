"""What runs of mypy remember."""

import shutil
from pathlib import Path

LEFT = Path(__file__).resolve().parents[2] / ".mypy_cache"
"""What `make check` has left, if it has run. Its settings are those of the tests."""


def cache_of_mypy(place: Path) -> Path:
    """Make a cache in `place` that begins with what `make check` has left, which another run may write to."""
    cache = place / "cache"
    if LEFT.exists():
        shutil.copytree(LEFT, cache)
    return cache
