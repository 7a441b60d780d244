"""Module specifications: one guest and its arguments in a line of text.

    path=echo.wasm; capabilities=ChannelLifecycle,ChannelWriter; params=utf8,u16; args=localhost,7000

A specification is a list of `key=value`, separated by semicolons or newlines; lines that begin with `#` are
comments.

* `path`: the module, relative to the module directory;
* `capabilities`: a comma list of names, in any case;
* `entrypoint`: the export to call, `start` if it is not given;
* `log_uri`: a text that the guest is given, as its first parameter, for its logging; empty if it is not
  given;
* `params`: a comma list of kinds: `i8` ... `u64`, `f32`, `f64`, `buffer`, `utf8`, `resource`;
* `args`: a comma list of values, each optionally typed as in `u16:7000`. A `buffer` is its text, or bytes
  as `hex:00ff`; a `resource` is a shared handle;
* `net_bind`, `net_connect`: comma lists of network rules (`enfilade.hostcalls.net.rules`), or `none`; the
  default is this machine alone.

The grammar is that of the guest ABI's runtime, so that its specifications work here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import attrs

from enfilade.hostcalls.abi import (
    AbiParam,
    AbiSignature,
    BufferArg,
    BufferParam,
    EntrypointArg,
    EntrypointInvocation,
    ResourceArg,
    ScalarArg,
    ScalarParam,
    ScalarType,
    ScalarValue,
)
from enfilade.hostcalls.abi.callplan import F32_OVERFLOW, check_scalar
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.abi.errors import InvalidArgument
from enfilade.hostcalls.abi.nearest import hint
from enfilade.hostcalls.net.policy import Network
from enfilade.hostcalls.net.rules import network_of


class ModuleSpecError(ValueError):
    """A module specification is wrong; the message says where and how to write it."""


@attrs.frozen
class ModuleSpec:
    """A guest to be started.

    Attributes:
        path: the module, relative to the module directory.
        capabilities: its capabilities.
        entrypoint: the export to call.
        log_uri: the text that becomes its first argument.
        invocation: signature and arguments, the log URI included.
        network: where it may use the network.
    """

    path: str
    capabilities: frozenset[Capability]
    entrypoint: str
    log_uri: str
    invocation: EntrypointInvocation
    network: Network = attrs.field(factory=Network.loopback)

    @property
    def arguments(self) -> tuple[bytes | ScalarValue, ...]:
        """The arguments alone: bytes and numbers; a shared handle is a number here."""
        return tuple(
            argument.data
            if isinstance(argument, BufferArg)
            else argument.value
            if isinstance(argument, ScalarArg)
            else ScalarValue(ScalarType.U64, argument.handle)
            for argument in self.invocation.args
        )


_SCALARS = {kind.name.lower(): kind for kind in ScalarType}
_KINDS = {
    **{name: name for name in _SCALARS},
    **dict.fromkeys(("buffer", "bytes", "byte", "data"), "buffer"),
    **dict.fromkeys(("utf8", "utf-8", "string", "str", "text"), "utf8"),
    **dict.fromkeys(("resource", "handle"), "resource"),
}
_KEYS = {
    "path": "path",
    "capabilities": "capabilities",
    "entrypoint": "entrypoint",
    "log_uri": "log_uri",
    "log-uri": "log_uri",
    "params": "params",
    "param": "params",
    "args": "args",
    "net_bind": "net_bind",
    "net-bind": "net_bind",
    "net_connect": "net_connect",
    "net-connect": "net_connect",
}
_SIGNED = re.compile(r"[+-]?[0-9]+")
_UNSIGNED = re.compile(r"[+]?[0-9]+")
_FLOAT = re.compile(r"[+-]?(inf|infinity|nan|([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?)", re.IGNORECASE)


def parse(text: str) -> ModuleSpec:
    """The specification that `text` writes. Raises `ModuleSpecError`."""
    found: dict[str, str] = {}
    for line in text.replace(";", "\n").split("\n"):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = (part.strip() for part in line.partition("="))
        key = _KEYS.get(name)
        if not equals or key is None:
            known = ", ".join(_KEYS)
            raise ModuleSpecError(
                f"{line!r} is not key=value with one of the keys {known}{hint(name, _KEYS)}"
            )
        if key in found:
            raise ModuleSpecError(f"{key} is given twice")
        found[key] = value
    for key in ("path", "capabilities"):
        if not found.get(key):
            raise ModuleSpecError(f"{key} is missing")
    for key in ("entrypoint", "log_uri"):
        if found.get(key) == "":
            raise ModuleSpecError(f"{key} is empty; leave it out")
    log_uri = found.get("log_uri", "")
    return ModuleSpec(
        found["path"],
        parse_capabilities(found["capabilities"]),
        found.get("entrypoint", "start"),
        log_uri,
        parse_invocation(found.get("params"), found.get("args", ""), log_uri=log_uri),
        _network(found.get("net_bind"), found.get("net_connect")),
    )


def _network(bind: str | None, connect: str | None) -> Network:
    try:
        return network_of(
            None if bind is None else _items("net_bind", bind),
            None if connect is None else _items("net_connect", connect),
        )
    except ModuleSpecError:
        raise
    except ValueError as error:
        raise ModuleSpecError(str(error)) from None


def parse_capabilities(text: str) -> frozenset[Capability]:
    """A comma list of capabilities. Raises `ModuleSpecError`."""
    try:
        return frozenset(Capability.parse(item) for item in _items("capabilities", text))
    except ValueError as error:
        raise ModuleSpecError(str(error)) from None


def parse_invocation(params: str | None, args: str, *, log_uri: str | None = None) -> EntrypointInvocation:
    """Comma lists of kinds and values as an invocation; `log_uri` comes before them, if it is given.

    Without `params` every value must be typed. Raises `ModuleSpecError`.
    """
    kinds = None if params is None else [_kind(item) for item in _items("params", params)]
    return make_invocation(kinds, _items("args", args), log_uri=log_uri)


def make_invocation(
    kinds: Sequence[str] | None, values: Sequence[str], *, log_uri: str | None = None
) -> EntrypointInvocation:
    """As `parse_invocation`, with the values apart, so that they may contain commas."""
    if kinds is not None and len(kinds) != len(values):
        raise ModuleSpecError(
            f"expected one `args` value for each of `params`, got {len(kinds)} params and {len(values)} args"
        )
    signature: list[AbiParam] = []
    arguments: list[EntrypointArg] = []
    if log_uri is not None:
        signature.append(BufferParam())
        arguments.append(BufferArg(log_uri.encode()))
    for position, item in enumerate(values):
        label, colon, rest = item.partition(":")
        typed = _KINDS.get(label.strip().lower()) if colon else None
        declared = None if kinds is None else kinds[position]
        if typed is None and declared is None:
            raise ModuleSpecError(f"the kind of {item!r} is unknown: write it as KIND:VALUE, or give params")
        if typed is not None and declared not in (None, typed):
            raise ModuleSpecError(f"{item!r} is typed {typed} where params say {declared}")
        parameter, argument = _value(declared or typed or "", rest.strip() if typed is not None else item)
        signature.append(parameter)
        arguments.append(argument)
    return EntrypointInvocation(AbiSignature(tuple(signature)), tuple(arguments))


def _items(key: str, text: str) -> list[str]:
    if not text.strip():
        return []
    items = [item.strip() for item in text.split(",")]
    if not all(items):
        raise ModuleSpecError(f"{key} has an empty item in {text!r}")
    return items


def _kind(text: str) -> str:
    kind = _KINDS.get(text.lower())
    if kind is None:
        known = ", ".join(_KINDS)
        raise ModuleSpecError(f"expected a kind of parameter ({known}), got {text!r}{hint(text, _KINDS)}")
    return kind


def _value(kind: str, text: str) -> tuple[AbiParam, EntrypointArg]:
    if kind == "buffer":
        return BufferParam(), BufferArg(_bytes(text))
    if kind == "utf8":
        return BufferParam(), BufferArg(text.encode())
    if kind == "resource":
        handle = _number(ScalarType.U64, text)
        return ScalarParam(ScalarType.U64), ResourceArg(int(handle.value))
    return ScalarParam(_SCALARS[kind]), ScalarArg(_number(_SCALARS[kind], text))


def _number(kind: ScalarType, text: str) -> ScalarValue:
    real = kind in (ScalarType.F32, ScalarType.F64)
    form = _FLOAT if real else _UNSIGNED if kind.name.startswith("U") else _SIGNED
    if not form.fullmatch(text):
        raise ModuleSpecError(f"expected a number of kind {kind.name.lower()}, got {text!r}")
    value = float(text) if real else int(text)
    if kind is ScalarType.F32 and abs(value) >= F32_OVERFLOW:
        value = math.copysign(math.inf, value)  # as rounding has it
    scalar = ScalarValue(kind, value)
    try:
        check_scalar(scalar)
    except InvalidArgument:
        raise ModuleSpecError(f"{text} is out of range for {kind.name.lower()}") from None
    return scalar


def _bytes(text: str) -> bytes:
    if not text.startswith("hex:"):
        return text.encode()
    digits = re.sub(r"[\s_]", "", text.removeprefix("hex:")).removeprefix("0x")
    try:
        return bytes.fromhex(digits)
    except ValueError:
        raise ModuleSpecError(f"expected an even number of hexadecimal digits, got {text!r}") from None
