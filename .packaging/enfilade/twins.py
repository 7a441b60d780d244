"""Functions that are written twice: in C for speed, and in Python to say what they do.

The one in Python is the twin of the one in C. It does the work where nothing was compiled, or where the C
does not fit. Both work on the same objects, so choosing is to put the one or the other into its class or
module. The environment variable `ENFILADE_CORE=python` chooses the twins.

The C reads the fields of these objects at the places that `places` finds; `twins.h` beside this says how.

This stands beside the packages: two of them have such functions, and neither imports the other for it.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

import attrs

__all__ = ["Choice", "Function", "Site", "choice_of", "name_in_c", "places"]

SWITCH: Final = "ENFILADE_CORE"
PYTHON: Final = "python"

NOT_COMPILED: Final = "not compiled"
OTHER_VERSION: Final = "built from another version of this code: run make .venv/.installed"

Function: TypeAlias = Callable[..., Any]
Site: TypeAlias = tuple[Any, str]
"""Where a function is: in which class or module, and by which name."""


@attrs.frozen
class Choice:
    """A set of functions that are written twice, and which of the two is in use.

    Attributes:
        what: what the functions in C are called, as the subject of a sentence.
        twins: the functions in Python, by where they are.
        compiled: those in C; none if they are not to be had here.
        obstacle: why they are not; empty if they are.
    """

    what: str
    twins: Mapping[Site, Function]
    compiled: Mapping[Site, Function]
    obstacle: str

    @property
    def is_available(self) -> bool:
        """Whether the functions in C can be used here."""
        return bool(self.compiled)

    def choose(self, *, is_compiled: bool) -> None:
        """Use the functions in C, or their twins, from now on. Not a checkpoint.

        Args:
            is_compiled: those in C.

        Raises:
            LookupError: they are not available here.
        """
        if is_compiled and not self.compiled:
            raise LookupError(f"{self.what} not available here: {self.obstacle}")
        for (owner, name), function in (self.compiled if is_compiled else self.twins).items():
            setattr(owner, name, function)

    def choose_by_environment(self) -> None:
        """Use the functions in C where they are available, unless the environment says otherwise."""
        self.choose(is_compiled=self.is_available and not _is_switched_off())

    def in_use(self) -> str:
        """Return what is in use: "compiled" or "python"."""
        is_compiled = all(getattr(owner, name) is each for (owner, name), each in self.compiled.items())
        return "compiled" if self.compiled and is_compiled else PYTHON

    def why_python(self) -> str:
        """Say why the twins are in use; empty if they are not."""
        if self.in_use() != PYTHON:
            return ""
        if self.obstacle:
            return self.obstacle
        return f"{SWITCH}={PYTHON}" if _is_switched_off() else "the program chose it"


def choice_of(what: str, module: str, twins: Mapping[Site, Function], bind: Callable[[Any], None]) -> Choice:
    """Find the functions in C.

    Args:
        what: what they are called, with a verb: "the compiled core is".
        module: the name of the compiled module.
        twins: the functions in Python, by where they are.
        bind: tells the compiled module what it has to know of this interpreter's objects.
    """
    functions: dict[Site, Function] = {}
    obstacle = ""
    try:
        compiled = importlib.import_module(module)
        bind(compiled)
        functions = {site: _in_c(compiled, site) for site in twins}
    except ModuleNotFoundError as error:
        obstacle = NOT_COMPILED if error.name == module else str(error)
    except (AttributeError, LookupError):  # a field, a function or an object is known on one side alone
        obstacle = OTHER_VERSION
    except (
        ImportError,
        TypeError,
    ) as error:  # this interpreter cannot load it, or keeps fields in another way
        obstacle = str(error)
    return Choice(what, dict(twins), functions, obstacle)


def name_in_c(site: Site) -> str:
    """Return the name of a function in its compiled module, where no two have the same."""
    owner, name = site
    return f"{owner.__name__.lower()}_init" if name == "__init__" else name


def places(
    compiled: Any, fields: Iterable[str], slotted: Mapping[str, Any], structs: Mapping[str, Any]
) -> dict[str, int]:
    """Find the places of fields in their objects; -1 for one that is not found.

    Args:
        compiled: the module whose `place` looks for them.
        fields: each as "class.field".
        slotted: the classes whose fields are slots, by name.
        structs: the classes whose fields are those of a struct, by name.

    Raises:
        AttributeError, LookupError: there is no such field, or no such class.
    """
    of_structs: dict[str, int] = {}
    for kind, struct in structs.items():
        values = [object() for _ in struct.__struct_fields__]
        holder = struct(*values)
        for name, value in zip(struct.__struct_fields__, values, strict=True):
            of_structs[f"{kind}.{name}"] = compiled.place(holder, value)
    found = {}
    for field in fields:
        kind, _, name = field.partition(".")
        if kind in structs:
            found[field] = of_structs[field]
            continue
        holder, value = slotted[kind].__new__(slotted[kind]), object()
        object.__setattr__(holder, name, value)
        found[field] = compiled.place(holder, value)
        object.__delattr__(holder, name)  # which a finalizer would take for its own
    return found


def _in_c(compiled: Any, site: Site) -> Function:
    """Return a function in C as it is put where its twin is: in a class, or in a module."""
    owner, name = site[0], name_in_c(site)
    function: Function = compiled.method(owner, name) if isinstance(owner, type) else getattr(compiled, name)
    return function


def _is_switched_off() -> bool:
    return os.environ.get(SWITCH) == PYTHON
