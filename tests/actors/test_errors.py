"""`raised_by_the_runtime`: whose code was running when an error was raised."""

from collections.abc import Callable

import pytest

from enfilade.actors.messages.errors import NotPublic, UnknownMethod, raised_by_the_runtime

RUNTIME = raised_by_the_runtime.__module__.removesuffix(".messages.errors")


def raised_in(package: str | None) -> Exception:
    """An error whose traceback holds one frame, of code in `package`."""
    with pytest.raises(TypeError) as caught:
        exec("len(1)", {"__package__": package})
    error = caught.value
    assert error.__traceback__ is not None
    return error.with_traceback(error.__traceback__.tb_next)


@pytest.mark.parametrize("folder", ["", ".messages", ".processes", ".peers", ".supervision"])
def test_all_folders_are_the_runtime(folder: str) -> None:
    assert raised_by_the_runtime(raised_in(RUNTIME + folder))


@pytest.mark.parametrize(
    "package",
    [f"{RUNTIME}.cli", f"{RUNTIME}.cli.demo", f"{RUNTIME}.testing", f"{RUNTIME}_of_others", "", None],
)
def test_programs_are_not_the_runtime(package: str | None) -> None:
    """What comes with the runtime, or has a name that begins like its own, is a program like any other."""
    assert not raised_by_the_runtime(raised_in(package))


LONG = "x" * 1_000_000


@pytest.mark.parametrize(
    "make",
    [
        lambda: NotPublic(LONG),
        lambda: NotPublic(LONG, "no method"),
        lambda: UnknownMethod(LONG, LONG, [LONG, LONG]),
    ],
)
def test_the_text_is_short(make: Callable[[], Exception]) -> None:
    """U2: whatever a caller gives as a method."""
    assert len(str(make())) < 10_000
