"""All runners that the catalogue may name."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.benchmarks.benchmark import Entry
from tests.benchmarks.c_runner import CRunner
from tests.benchmarks.erlang_runner import ErlangRunner
from tests.benchmarks.python_runner import PythonRunner
from tests.benchmarks.runner import Runner


def _subject(variant: str, *, cpus: int = 1, requires: str = "enfilade.actors") -> PythonRunner:
    return PythonRunner("enfilade", variant, cpus, "tests.benchmarks.subjects.{group}", requires, "enfilade")


def _peer(
    family: str,
    *,
    variant: str = "",
    cpus: int = 1,
    module: str | None = None,
    requires: str | None = None,
    distribution: str | None = None,
    programs: tuple[str, ...] = (),
) -> PythonRunner:
    return PythonRunner(
        family,
        variant,
        cpus,
        module=f"tests.benchmarks.peers.{module or family}",
        requires=requires or family,
        distribution=family if distribution is None else distribution,
        programs=programs,
        interpreter=_interpreter(family),
    )


def _interpreter(family: str) -> str:
    """A peer's own Python, if `make bench` has put one into our virtual environment; else ours."""
    own = Path(sys.prefix, family, "bin", "python")
    return str(own) if own.exists() else sys.executable


def _subjects() -> list[PythonRunner]:
    return [
        _subject("sync"),
        _subject("async"),
        _subject("function"),
        _subject("node", cpus=2),
        _subject("mesh", cpus=2, requires="enfilade.transport.mesh"),
        *(_subject(way, cpus=2, requires="enfilade.transport.mesh") for way in ("keyed", "global", "tls")),
        _subject("door", cpus=2, requires="enfilade.transport.doors"),
        _subject("engine", requires="enfilade.hostcalls.engine"),
        _subject("guest", requires="enfilade.hostcalls.engine"),
        *map(_subject, ("off", "counted", "watched", "traced")),
    ]


def _peers() -> list[PythonRunner]:
    return [
        _peer("trio"),
        _peer("pykka"),
        _peer("xoscar", variant="pool"),
        _peer("xoscar", variant="processes", cpus=2),
        _peer("thespian", variant="simple"),
        _peer("thespian", variant="processes", cpus=2),
        _peer("tractor", cpus=2),
        _peer("stream", variant="pipe", cpus=2, module="streams", requires="socket", distribution=""),
        _peer("stream", variant="socket", cpus=2, module="streams", requires="socket", distribution=""),
        _peer("multiprocessing", cpus=2, distribution=""),
        _peer("zmq", cpus=2, distribution="pyzmq"),
        _peer("nats", cpus=2, requires="enfilade.transport.mesh", distribution=""),
        _peer("grpc", cpus=2, distribution="grpcio"),
        _peer("wasmtime", variant="package", module="wasmtime_package"),
        _peer("wasmtime", variant="C API", module="wasmtime_c", programs=("make", "cc")),
    ]


def all_runners(interpreters: Mapping[str, str]) -> list[Runner]:
    """Every runner that the catalogue may name.

    `interpreters` gives families of Python peers an interpreter of their own, which needs only the peer:
    for one whose requirements do not go together with ours. Raises LookupError when a family is not one of
    a Python peer.
    """
    peers = _peers()
    for family, interpreter in interpreters.items():
        chosen = [runner for runner in peers if runner.family == family]
        if not chosen:
            raise LookupError(f"no Python peer is called {family!r}")
        for runner in chosen:
            runner.interpreter = interpreter
    return [
        *_subjects(),
        CRunner("enfilade", "door in C", "door"),
        *peers,
        *(CRunner("C", mechanism, mechanism) for mechanism in ("seqpacket", "stream", "pipe")),
        ErlangRunner("1 cpu", 1),
        ErlangRunner("2 cpus", 2),
    ]


def runners_for(entry: Entry, runners: Sequence[Runner]) -> list[Runner]:
    """The runners that `entry` means: one variant, or every variant of a family.

    Raises LookupError when it means none.
    """
    chosen = [r for r in runners if r.family == entry.family and entry.variant in ("", r.variant)]
    if not chosen:
        raise LookupError(f"the catalogue names {entry.who!r}, which no runner is")
    return chosen
