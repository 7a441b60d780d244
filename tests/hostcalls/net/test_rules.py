"""Network rules as text."""

from __future__ import annotations

import pytest

from enfilade.hostcalls.kernel.modulespec import ModuleSpecError, parse
from enfilade.hostcalls.net.policy import Bind, Network, Reach
from enfilade.hostcalls.net.rules import bind_rule, connect_rule, network_of


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("127.0.0.1", Bind("127.0.0.1")),
        (" 0.0.0.0:80 ", Bind("0.0.0.0", 80)),
        ("127.0.0.1:8000-8099", Bind("127.0.0.1", range(8000, 8100))),
        ("::1", Bind("::1")),
        ("[::1]:443", Bind("::1", 443)),
        ("[::1]", Bind("::1")),
        ("a.test@127.0.0.1:443", Bind("127.0.0.1", 443, ("a.test",))),
        ("@127.0.0.1", Bind("127.0.0.1", None, ("",))),
    ],
)
def test_rules_for_listeners(text: str, rule: Bind) -> None:
    assert bind_rule(text) == rule


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("api.example.com:443", Reach("api.example.com", 443)),
        ("*.example.com", Reach("*.example.com")),
        ("*:443-444", Reach("*", range(443, 445))),
        ("10.1.0.0/16:80", Reach("10.1.0.0/16", 80)),
        ("fd00::/8", Reach("fd00::/8")),
        ("[fd00::/8]:80", Reach("fd00::/8", 80)),
    ],
)
def test_rules_for_connections(text: str, rule: Reach) -> None:
    assert connect_rule(text) == rule


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a b",
        "127.0.0.1:",
        "127.0.0.1:0",
        "127.0.0.1:70000",
        "127.0.0.1:9-8",
        "127.0.0.1:x",
        "[::1",
        "[::1]x",
    ],
)
def test_what_is_wrong_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        bind_rule(text)
    with pytest.raises(ValueError, match="expected"):
        connect_rule(text)


def test_lists_take_the_place_of_the_default() -> None:
    assert network_of(None, None) == Network.loopback()
    assert network_of(["none"], ["none"]) == Network.none()
    assert network_of([], None) == Network(connect=Network.loopback().connect)
    assert network_of(None, ["a.test"]) == Network(bind=Network.loopback().bind, connect=[Reach("a.test")])


def test_module_specifications_have_rules() -> None:
    spec = parse("path=a.wasm; capabilities=NetHttpBind; net_bind=127.0.0.1:80,[::1]:80; net_connect=none")
    assert spec.network == Network(bind=[Bind("127.0.0.1", 80), Bind("::1", 80)])
    assert parse("path=a.wasm; capabilities=TimeRead").network == Network.loopback()
    for wrong in ("net_bind=x", "net_connect=a b", "net_connect=a,,b"):
        with pytest.raises(ModuleSpecError):
            parse(f"path=a.wasm; capabilities=TimeRead; {wrong}")
