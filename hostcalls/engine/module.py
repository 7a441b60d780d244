"""Compiled modules and the types of what they import and export."""

from __future__ import annotations

import enum
from typing import Any

import attrs

from enfilade.hostcalls.engine._engine import ffi, lib
from enfilade.hostcalls.engine.errors import InvalidModule
from enfilade.hostcalls.engine.library import take_text
from enfilade.hostcalls.engine.outline import MOST_EXTERNS


class ExternKind(enum.Enum):
    """The kind of an import or an export; the values are those of Wasmtime's C API."""

    FUNCTION = 0
    GLOBAL = 1
    TABLE = 2
    MEMORY = 3
    TAG = 4


class ValueType(enum.Enum):
    """The type of one wasm value; the values are those of Wasmtime's C API."""

    I32 = 0
    I64 = 1
    F32 = 2
    F64 = 3
    V128 = 4
    EXTERNREF = 128
    FUNCREF = 129
    OTHER = 255


@attrs.frozen
class FunctionType:
    """The types of a function's parameters and results."""

    parameters: tuple[ValueType, ...]
    results: tuple[ValueType, ...]


@attrs.frozen
class Extern:
    """One export: its kind and, if it is a function, its type."""

    kind: ExternKind
    function: FunctionType | None = None


@attrs.frozen
class ImportedExtern:
    """One import: where it comes from, its kind and, if it is a function, its type."""

    module_name: str
    name: str
    kind: ExternKind
    function: FunctionType | None = None


class Module:
    """A compiled module. Made by `Engine.compile`; shared by all its instances; immutable.

    Attributes:
        digest: SHA-256 of the source, in hexadecimal.
        imports: what the module imports, in its order.
        exports: what it exports, by name.
    """

    __slots__ = ("__weakref__", "_module", "digest", "exports", "imports")

    def __init__(self, module: Any, digest: str) -> None:
        self._module = module
        self.digest = digest
        self.imports = tuple(
            ImportedExtern(_text(view.module, view.module_size), *_named(view))
            for view in _views(lib.module_import_at, lib.module_import_count(module), module)
        )
        self.exports: dict[str, Extern] = {}
        for view in _views(lib.module_export_at, lib.module_export_count(module), module):
            name, kind, function = _named(view)
            self.exports[name] = Extern(kind, function)

    def __repr__(self) -> str:
        return f"<Module {self.digest[:12]}>"


def compile_module(compiler: Any, source: bytes) -> Any:
    """Return the shim's module for wasm `source`; raise `InvalidModule` with Wasmtime's text."""
    return _owned(lib.module_compile, compiler, source)


def load_module(compiler: Any, artifact: bytes) -> Any:
    """Return the shim's module for what `save_module` gave; raise `InvalidModule` if it does not fit this
    engine.
    """
    return _owned(lib.module_load, compiler, artifact)


def save_module(module: Any) -> bytes:
    """Return the machine code of `module`, which `load_module` takes."""
    size = ffi.new("size_t *")
    data = lib.module_save(module, size)
    if data == ffi.NULL:
        raise MemoryError("no memory to serialise a module")
    try:
        return bytes(ffi.buffer(data, size[0]))
    finally:
        lib.memory_free(data)


def _owned(make: Any, compiler: Any, data: bytes) -> Any:
    error = ffi.new("char **")
    made = make(compiler, data, len(data), error)
    if made == ffi.NULL:
        raise InvalidModule(take_text(error))
    module = ffi.gc(made, lib.module_free)
    externs = lib.module_import_count(module) + lib.module_export_count(module)
    if externs > MOST_EXTERNS:
        raise InvalidModule(f"expected at most {MOST_EXTERNS} imports and exports, got {externs}")
    return module


def _views(read: Any, count: int, module: Any) -> Any:
    return (read(module, index) for index in range(count))


def _named(view: Any) -> tuple[str, ExternKind, FunctionType | None]:
    kind = ExternKind(view.kind)
    function = None
    if kind is ExternKind.FUNCTION:
        types = [_value_type(view.types[index]) for index in range(view.parameters + view.results)]
        function = FunctionType(tuple(types[: view.parameters]), tuple(types[view.parameters :]))
    return _text(view.name, view.name_size), kind, function


def _value_type(number: int) -> ValueType:
    try:
        return ValueType(number)
    except ValueError:
        return ValueType.OTHER


def _text(data: Any, size: int) -> str:
    return bytes(ffi.buffer(data, size)).decode()
