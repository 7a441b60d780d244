"""The actor runtime: supervised processes that share nothing and talk by messages.

Its names stand in `public.py`, which is loaded when one of them is used first: a command that opens no node
(`enfilade --help`) does not wait for all of the runtime. Meanwhile the garbage collector rests: it would take
an eighth of the time, and all that it looks at stays.
"""

import gc
from importlib import import_module
from typing import TYPE_CHECKING, Any

if __name__ != "enfilade.actors":
    raise ImportError(f"import enfilade.actors (or `from enfilade import ...`), not {__name__}")

if TYPE_CHECKING:
    from enfilade.actors.public import *  # noqa: F403
    from enfilade.actors.public import __all__ as __all__
else:  # a type checker that sees it takes every name for one of ours

    def __getattr__(name: str) -> Any:
        was_collecting = gc.isenabled()
        gc.disable()
        try:
            public = import_module("enfilade.actors.public")
        finally:
            if was_collecting:
                gc.enable()
        value = globals()[name] = getattr(public, name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__getattr__("__all__")})
