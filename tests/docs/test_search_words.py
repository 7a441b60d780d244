"""The search of the documentation finds what a newcomer types, also the words of other systems."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
LINES = (
    "asyncio back-pressure broadcast cancel cluster container cron crash database deadlock debug docker",
    "encrypt event GIL heartbeat Kubernetes kill leak linux log macOS memory metrics monitor parallelism",
    "password performance periodic persistence pickle priority pub/sub queue quota rate limit retry",
    "scheduler shutdown SIGTERM snapshot systemd test thread timeout topic upgrade version Windows",
)


@pytest.fixture(scope="module")
def text() -> str:
    """The prose of all pages but those of figures and of tests."""
    pages = [page for page in DOCS.rglob("*.md") if page.stem not in ("benchmarks", "conformance")]
    prose = [re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE) for page in pages]
    return "\n".join(prose).lower()


@pytest.mark.parametrize("word", [word for line in LINES for word in line.split()])
def test_a_newcomers_word_is_found(word: str, text: str) -> None:
    assert re.search(rf"\b{re.escape(word.lower())}", text)
