"""Runs our Erlang programs, which do what a script says and print what happened."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.ports import free_port

__all__ = ["compiled", "histories", "play", "play_on_two_nodes"]

HERE = Path(__file__).parent


def compiled(module: str, place: Path) -> Path:
    """Compile a program of this folder to `place`; the test is skipped where there is no Erlang."""
    if shutil.which("erl") is None or shutil.which("erlc") is None:
        pytest.skip("Erlang/OTP is not installed: there is no oracle to compare with")
    sources = [str(HERE / f"{name}.erl") for name in (module, "quiet")]
    subprocess.run(["erlc", "-o", str(place), *sources], check=True, timeout=120)
    return place


def play_on_two_nodes(module: str, place: Path, scripts: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Have a compiled program, which starts another node, carry out `scripts`; return as `play` does.

    The two find each other without epmd: both use one port, at two addresses of the loopback. The test is
    skipped where that has but one.
    """
    port = str(free_port())
    try:
        socket.create_server(("127.0.0.2", int(port))).close()
    except OSError:
        pytest.skip("the loopback has no address 127.0.0.2 for the second node")
    node = [
        "-start_epmd",
        "false",
        "-erl_epmd_port",
        port,
        "-setcookie",
        "oracle",
        "-name",
        f"a{port}@127.0.0.1",
    ]
    node += ["-kernel", "inet_dist_use_interface", "{127,0,0,1}"]
    return play(module, place, scripts, port, options=node)


def play(
    module: str,
    place: Path,
    scripts: Mapping[str, list[str]],
    *arguments: str,
    options: Sequence[str] = (),
) -> dict[str, list[str]]:
    """Have a compiled program carry out `scripts`; return what it printed for each, by name.

    Args:
        module: the program.
        place: where it is compiled.
        scripts: their commands, by name.
        arguments: of the program, behind the file of the scripts.
        options: of the virtual machine.
    """
    lines = [line for name, commands in scripts.items() for line in (f"scenario {name}", *commands)]
    (place / "script").write_text("\n".join(lines) + "\n")
    given = ", ".join(f'"{argument}"' for argument in (str(place / "script"), *arguments))
    # One scheduler: with two, of which the machine may run but one, quiet rounds would prove nothing.
    command = ["erl", "+S", "1:1", "-noshell", "-noinput", "-pa", str(place), *options]
    command += ["-eval", f"{module}:main([{given}])"]
    run = subprocess.run(command, cwd=place, check=True, timeout=250, capture_output=True, text=True)
    return histories(run.stdout)


def histories(output: str) -> dict[str, list[str]]:
    """What was printed, by scenario."""
    by_name: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in output.splitlines():
        if line.startswith("scenario "):
            lines = by_name[line.removeprefix("scenario ")] = []
        else:
            lines.append(line)
    return by_name
