"""What the kernel does not grant is an error of ours; Wasmtime would end the process.

Each case has a process of its own, since it takes from it what it needs.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from enfilade.hostcalls.engine.config import granted_mappings

pytestmark = pytest.mark.real

MAKE = """
    from enfilade.hostcalls.engine import Engine, EngineConfig, Exhausted, InvalidConfig, Limits
    from tests.hostcalls.engine.script import YIELD, ScriptRunner
    """


WATCHDOG = 60  # seconds; a quiet machine needs two
WORKS = "PARKED"
REFUSED = "the kernel does not grant the address space for 4 guests; lower max_guests, max_memory or stack"


def run(source: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MAKE) + textwrap.dedent(source)],
        capture_output=True,
        text=True,
        timeout=WATCHDOG,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("beyond", "outcomes"),
    [
        (0, {REFUSED}),  # the pool itself, and nothing for anything else
        *((mebibytes, {REFUSED, WORKS}) for mebibytes in (16, 32, 64, 128, 160, 256)),
        (1024, {WORKS}),
    ],
)
def test_little_address_space(beyond: int, outcomes: set[str]) -> None:
    """However little there is beyond what the pool takes, there is an engine that works, or an error."""
    outcome = run(
        f"""
        import resource
        config = EngineConfig(max_guests=4, workers=1)
        present = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        room = present + 4 * sum(config.reservation) + ({beyond} << 20)
        resource.setrlimit(resource.RLIMIT_AS, (room, room))
        try:
            with Engine(config=config) as engine:
                print(ScriptRunner(engine)([YIELD]).run().name)
        except InvalidConfig as error:
            print(error)
        """
    )
    assert outcome in outcomes


@pytest.mark.skipif(
    granted_mappings() > 200_000, reason="to use up all mappings would take long where there are many"
)
def test_no_mappings_left() -> None:
    """A guest for which the process has no mapping left is refused, and those that live are not harmed."""
    outcome = run(
        """
        import ctypes
        libc = ctypes.CDLL(None)
        libc.mmap.restype = ctypes.c_size_t
        libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
        libc.munmap.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
        with Engine(config=EngineConfig(max_guests=20)) as engine:
            script = ScriptRunner(engine)
            lives = script([YIELD])
            lives.run()
            mapped = []
            while (page := libc.mmap(None, 4096, len(mapped) % 2, 0x22, -1, 0)) != 2**64 - 1:
                mapped.append(page)
            refused = ""
            try:
                script([YIELD])
            except Exhausted as error:
                refused = str(error)
            for page in mapped:
                libc.munmap(page, 4096)
            lives.instance.release()
            print(refused, lives.run().name, script([YIELD]).run().name)
        """
    )
    assert "vm.max_map_count" in outcome
    assert outcome.endswith("FINISHED PARKED")
