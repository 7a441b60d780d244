"""Wasmtime's C API without anything around it: the floor program that lies beside the engine's shim."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from pathlib import Path

from enfilade.hostcalls.engine.library import library_path
from tests.benchmarks.kernel import kernel
from tests.benchmarks.peers.modules import PARKING, binary

SHIM = Path(__file__).resolve().parents[3] / "hostcalls" / "engine" / "shim"


@functools.cache
def _prepared() -> tuple[str, str]:
    """The program, compiled outside of the source tree, and the module, once a run."""
    build = os.path.join(os.environ["BENCH_SCRATCH"], "shim")
    program, module = f"{build}/raw", f"{build}/parking.wasm"
    command = ["make", "-s", "-C", str(SHIM), f"BUILD={build}", program]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    Path(module).write_bytes(binary(PARKING))
    return program, module


@kernel("guest-spawn")
def spawn(guests: int) -> float:
    program, module = _prepared()
    command = [program, str(library_path()), module, str(guests)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout)["spawn"]) * 1e-9
