"""The program of a child process that compiles one module and ends.

It is run by its path, without the rest of Enfilade, so that it starts in little time. Its standard input is
the source, its standard output the machine code, or with the status `REFUSED` the reason. It limits itself
before it reads the source, and the kernel ends it at a limit. A source that takes the compiler over finds
little to use: no descriptor but these, and no file may be written.
"""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import signal
import sys
from typing import Any

REFUSED = 3
"""The compiler refuses the source."""

TOO_LARGE = 4
"""There is too much machine code."""


def main() -> int:
    """Compile what comes in, by the order in `sys.argv[1]`; `hostcalls/kernel/compiler.py` writes it."""
    order = json.loads(sys.argv[1])
    _limit(order["memory"], order["cpu_time"], order["time"])
    sys.path.append(order["packages"])
    engine = _engine(order["extension"])
    error = engine.ffi.new("char **")
    if not engine.lib.library_load(order["library"].encode(), error):
        raise RuntimeError(engine.ffi.string(error[0]).decode())
    source = sys.stdin.buffer.read()
    compiler = engine.lib.compiler_alone(engine.ffi.new("engine_sizes *", order["sizes"]))
    module = engine.lib.module_compile(compiler, source, len(source), error)
    if module == engine.ffi.NULL:
        _write(engine.ffi.string(error[0]))
        return REFUSED
    size = engine.ffi.new("size_t *")
    data = engine.lib.module_save(module, size)
    if data == engine.ffi.NULL or size[0] > order["largest"]:
        return TOO_LARGE
    _write(engine.ffi.buffer(data, size[0]))
    return 0


def _limit(memory: int, cpu_time: int, time: float) -> None:
    """Have the kernel end this process when it uses more; `time` is the clock's on the wall."""
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_time, cpu_time + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, time)
    os.nice(5)  # the program's own threads come first


def _engine(extension: str) -> Any:
    spec = importlib.util.spec_from_file_location("_engine", extension)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _write(data: Any) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    # The compiler's memory is not worth giving back.
    os._exit(main())
