"""Runners: how a cell of each family is started, and why one cannot be.

An interpreter of its own can be given to a family of Python peers whose requirements do not go together with
ours; it needs only the peer (``--interpreter tractor=/path/to/python``).
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import attrs

from tests.benchmarks.benchmark import Benchmark, Entry

ROOT = Path(__file__).resolve().parents[2]
_ERLANG_SOURCES = Path(__file__).with_name("erlang")


class PreparationFailed(Exception):
    """What a family needs before its first cell could not be made; the text says what failed."""


class Runner(Protocol):
    """One way to run a cell. ``cpus`` is the number of CPUs it may use."""

    family: str
    variant: str
    cpus: int

    def absence(self) -> str | None:
        """Why no cell of this runner can run here, or None."""

    def version(self) -> str:
        """The version of what is measured, for the report."""

    def command(self, benchmark: Benchmark, parameters: Mapping[str, int], scratch: Path) -> list[str]:
        """The command that serves the cell by the worker's protocol.

        Raises PreparationFailed.
        """

    def environment(self) -> dict[str, str]:
        """What the command's environment has besides ours."""


_PROBE = """
import importlib, importlib.metadata, platform, sys
module, distribution = sys.argv[1:]
python = "Python " + platform.python_version()
try:
    importlib.import_module(module)
except Exception as problem:
    print("absent", f"{python}: {problem}".splitlines()[0])
else:
    try:
        print("present", importlib.metadata.version(distribution) if distribution else python)
    except importlib.metadata.PackageNotFoundError:
        print("present", "of this tree")
"""


@attrs.define
class PythonRunner:
    """Kernels written in Python: ours in ``subjects/<group>.py``, a peer's in ``peers/<file>.py``."""

    family: str
    variant: str
    cpus: int
    module: str
    requires: str
    distribution: str
    programs: tuple[str, ...] = ()
    interpreter: str = sys.executable
    _probed: tuple[str, str] | None = attrs.field(default=None, init=False)

    def _probe(self) -> tuple[str, str]:
        if self._probed is None:
            command = [self.interpreter, "-c", _PROBE, self.requires, self.distribution]
            try:
                done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
            except OSError as problem:
                self._probed = ("absent", str(problem))
            else:
                state, _, detail = done.stdout.strip().rpartition("\n")[2].partition(" ")
                self._probed = (
                    state or "absent",
                    detail or f"{self.interpreter} ended with {done.returncode}",
                )
        return self._probed

    def absence(self) -> str | None:
        missing = [program for program in self.programs if shutil.which(program) is None]
        if missing:
            return f"no {' and no '.join(missing)} on the path"
        state, detail = self._probe()
        return detail if state == "absent" else None

    def version(self) -> str:
        return self._probe()[1]

    def command(self, benchmark: Benchmark, parameters: Mapping[str, int], scratch: Path) -> list[str]:
        module = self.module.format(group=benchmark.group)
        arguments = [module, benchmark.kernel, self.variant, json.dumps(dict(parameters))]
        return [self.interpreter, "-m", "tests.benchmarks.worker", *arguments]

    def environment(self) -> dict[str, str]:
        return {"PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT)}


@attrs.define
class ErlangRunner:
    """Kernels written in Erlang, compiled once a run into the scratch directory."""

    variant: str
    cpus: int
    family: str = attrs.field(default="erlang", init=False)

    def absence(self) -> str | None:
        missing = [program for program in ("erl", "erlc") if shutil.which(program) is None]
        return f"no {' and no '.join(missing)} on the path" if missing else None

    def version(self) -> str:
        expression = (
            'io:format("OTP ~s, ~p",[erlang:system_info(otp_release),erlang:system_info(emu_flavor)]),halt().'
        )
        command = ["erl", "-noshell", "-eval", expression]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def command(self, benchmark: Benchmark, parameters: Mapping[str, int], scratch: Path) -> list[str]:
        beams = self._compiled(scratch)
        named = ["-sname", f"bench{_free_port()}"] if benchmark.group == "nodes" else []
        settings = [f"{name}={value}" for name, value in parameters.items()]
        schedulers = ["+S", f"{self.cpus}:{self.cpus}", "+P", "1000000"]
        return [
            *["erl", *schedulers, "-noshell", *named, "-pa", str(beams), "-s", "bench", "main"],
            *["-extra", benchmark.kernel, *settings],
        ]

    def environment(self) -> dict[str, str]:
        return {"ERL_EPMD_PORT": str(_free_port()), "ERL_CRASH_DUMP_SECONDS": "0"}

    def _compiled(self, scratch: Path) -> Path:
        beams = scratch / "erlang"
        if not beams.exists():
            beams.mkdir()
            sources = [str(path) for path in sorted(_ERLANG_SOURCES.glob("*.erl"))]
            done = subprocess.run(
                ["erlc", "-o", str(beams), *sources], capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise PreparationFailed(f"erlc: {done.stdout}{done.stderr}")
        return beams


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _subject(
    variant: str, *, cpus: int = 1, requires: str = "actors", programs: tuple[str, ...] = ()
) -> PythonRunner:
    module = "tests.benchmarks.subjects.{group}"
    return PythonRunner("enfilade", variant, cpus, module, requires, "enfilade", programs)


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
    )


def all_runners(interpreters: Mapping[str, str]) -> list[Runner]:
    """Every runner that the catalogue may name; ``interpreters`` gives some families a Python of their own.

    Raises LookupError when a family of ``interpreters`` is not one of a Python peer.
    """
    python = [
        _subject("sync"),
        _subject("async"),
        _subject("function"),
        _subject("node", cpus=2),
        _subject("door", cpus=2, requires="transport.doors"),
        _subject("door in C", cpus=2, requires="transport.doors", programs=("make", "cc")),
        _subject("engine", requires="hostcalls.engine"),
        _subject("guest", requires="hostcalls.engine"),
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
        _peer("grpc", cpus=2, distribution="grpcio"),
        *(
            _peer("C", variant=mechanism, cpus=2, module="c_streams", requires="os", programs=("make", "cc"))
            for mechanism in ("seqpacket", "stream", "pipe")
        ),
        _peer("wasmtime", variant="package", module="wasmtime_package"),
        _peer("wasmtime", variant="C API", module="wasmtime_c", programs=("make", "cc")),
    ]
    for family, interpreter in interpreters.items():
        chosen = [runner for runner in python if runner.family == family and family != "enfilade"]
        if not chosen:
            raise LookupError(f"no Python peer is called {family!r}")
        for runner in chosen:
            runner.interpreter = interpreter
    return [*python, ErlangRunner("1 cpu", 1), ErlangRunner("2 cpus", 2)]


def runners_for(entry: Entry, runners: list[Runner]) -> list[Runner]:
    """The runners that ``entry`` means: one variant, or every variant of a family.

    Raises LookupError when it means none.
    """
    chosen = [r for r in runners if r.family == entry.family and entry.variant in ("", r.variant)]
    if not chosen:
        raise LookupError(f"the catalogue names {entry.who!r}, which no runner is")
    return chosen
