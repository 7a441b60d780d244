"""The form of domains, and the places that a policy allows."""

from __future__ import annotations

from typing import Any

import pytest

from enfilade.hostcalls.abi.errors import InvalidArgument
from enfilade.hostcalls.net.domain import parse_domain
from enfilade.hostcalls.net.policy import Bind, Network, Reach

DEFAULT = Network.loopback()


@pytest.mark.parametrize(
    "text", ["localhost", "LOCALHOST.", "a_b.c-d.e", "x" * 63, "1.2.3.example", "::1", "[::1]"]
)
def test_domains(text: str) -> None:
    assert parse_domain(text).text == text


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "a b", "a/b", "a:80", "user@a", "a%b", "a\n", "\0", "bücher.example", "a..b", "-a", "a-",
        "x" * 64, "[127.0.0.1]", "[a]", "[::1", "::1%lo", "127.1", "1", "a.0x7f",
        "256.0.0.1", "*.a",
    ],
)  # fmt: skip
def test_other_texts_are_no_domains(text: str) -> None:
    """No space, control character, slash, user, port or foreign letter; nor a number that stands for an
    address.
    """
    with pytest.raises(InvalidArgument):
        parse_domain(text)


def test_a_domain_has_at_most_253_bytes() -> None:
    longest = ".".join(["a" * 49] * 5) + ".abc"
    assert len(longest) == 253
    parse_domain(longest)
    with pytest.raises(InvalidArgument):
        parse_domain("a" + longest)


def test_brackets_are_taken_off() -> None:
    assert parse_domain("[::1]").name == "::1"
    with pytest.raises(InvalidArgument):
        parse_domain("[::1]", brackets=False)


@pytest.mark.parametrize(
    ("port", "addresses"), [(1024, ("127.0.0.1",)), (65535, ("127.0.0.1",)), (1023, ()), (80, ())]
)
def test_default_binds_high_ports_of_loopback(port: int, addresses: tuple[str, ...]) -> None:
    assert DEFAULT.addresses(port, "localhost") == addresses


def literal(policy: Network, text: str, port: int = 443) -> tuple[str, ...] | None:
    return policy.literal(parse_domain(text), port)


def test_default_reaches_loopback_alone() -> None:
    assert literal(DEFAULT, "127.9.9.9") == ("127.9.9.9",)
    assert literal(DEFAULT, "[::1]") == ("::1",)
    assert literal(DEFAULT, "::ffff:127.0.0.1") == ("127.0.0.1",)
    assert literal(DEFAULT, "LOCALHOST.") == ("127.0.0.1", "::1")
    for elsewhere in ("192.0.2.1", "0.0.0.0", "::", "::ffff:10.0.0.1", "169.254.169.254"):
        assert literal(DEFAULT, elsewhere) == ()
    assert literal(DEFAULT, "example.com") is None
    assert not DEFAULT.allows_name(parse_domain("example.com"), 443)


def test_nothing_is_allowed_without_rules() -> None:
    nowhere = Network.none()
    assert nowhere.addresses(8000, "localhost") == ()
    assert literal(nowhere, "localhost") == ()
    assert not nowhere.allows_name(parse_domain("example.com"), 443)


def test_binds_choose_addresses_ports_and_domains() -> None:
    policy = Network(
        bind=[
            Bind("127.0.0.1", range(8000, 8100)),
            Bind("::1", [8000, 8443]),
            Bind("0.0.0.0", 8443, ["a.test", ""]),
        ]
    )
    assert policy.addresses(8000, "x") == ("127.0.0.1", "::1")
    assert policy.addresses(8100, "x") == ()
    assert policy.addresses(8443, "x") == ("::1",)
    assert policy.addresses(8443, "a.test") == ("::1", "0.0.0.0")
    assert policy.addresses(8443, "") == ("::1", "0.0.0.0")


def test_names_are_exact_or_below_a_domain() -> None:
    policy = Network(connect=[Reach("Api.Example.com.", 443), Reach("*.test")])

    def allows(name: str, port: int = 443) -> bool:
        return policy.allows_name(parse_domain(name), port)

    assert allows("API.example.com")
    assert allows("api.example.com.")
    assert not allows("api.example.com", 80)
    assert not allows("x.api.example.com")
    assert allows("a.b.test", 80)
    assert not allows("test")
    assert not allows("atest")
    assert Network(connect=[Reach("*")]).allows_name(parse_domain("anything.example"), 1)


def test_names_lead_to_public_addresses_alone() -> None:
    """Loopback, private networks and metadata services need a rule of their own, whatever is found."""
    policy = Network(connect=[Reach("*")])
    special = (
        "127.0.0.1", "10.0.0.1", "169.254.169.254", "192.168.1.1", "100.64.0.1", "224.0.0.1", "0.0.0.0",
        "::1", "::",
        "fe80::1", "fd00::1", "ff02::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::1", "2001:0:1::1",
    )  # fmt: skip
    public = ("1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101")
    assert policy.filter(special + public, 443) == public
    with_rule = Network(connect=[Reach("*"), Reach("10.0.0.0/8", 443)])
    assert with_rule.filter(special, 443) == ("10.0.0.1", "::ffff:10.0.0.1")
    assert with_rule.filter(special, 80) == ()


def test_localhost_is_a_rule_for_loopback() -> None:
    policy = Network(connect=[Reach("localhost", 80)])
    assert literal(policy, "localhost", 80) == ("127.0.0.1", "::1")
    assert literal(policy, "127.0.0.1", 80) == ("127.0.0.1",)
    assert literal(policy, "localhost", 81) == ()


def test_a_child_has_what_both_allow() -> None:
    parent = Network(
        bind=[Bind("127.0.0.1", range(8000, 8010))], connect=[Reach("*.test", 443), Reach("10.1.0.0/16")]
    )
    child = Network(
        bind=[Bind("127.0.0.1"), Bind("0.0.0.0")],
        connect=[Reach("a.test"), Reach("10.0.0.0/8", 80), Reach("b.example")],
    )
    both = child.within(parent)
    assert both.addresses(8000, "") == ("127.0.0.1",)
    assert both.addresses(8010, "") == ()
    assert both.allows_name(parse_domain("a.test"), 443)
    assert not both.allows_name(parse_domain("a.test"), 80)
    assert not both.allows_name(parse_domain("b.test"), 443)
    assert not both.allows_name(parse_domain("b.example"), 443)
    assert literal(both, "10.1.2.3", 80) == ("10.1.2.3",)
    assert literal(both, "10.2.2.3", 80) == ()
    assert both.within(Network.none()).within(parent).addresses(8000, "") == ()
    assert both.within(parent) is both
    wide = Network(bind=[Bind("0.0.0.0")])
    assert parent.within(wide).addresses(8000, "") == ("127.0.0.1",)


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (Bind, ("localhost",)), (Bind, ("127.0.0.1", 0)), (Bind, ("127.0.0.1", range(1, 70000))),
        (Reach, ("a b",)), (Reach, ("",)), (Reach, ("10.0.0.1/8",)), (Reach, ("**.a",)), (Reach, ("[::1]",)),
        (Reach, ("a", 65536)),
        (Bind, (5,)), (Reach, (5,)),
    ],
)  # fmt: skip
def test_rules_of_no_sense_are_refused(make: Any, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="expected"):
        make(*arguments)


@pytest.mark.parametrize(
    "rules", [{"bind": "127.0.0.1"}, {"bind": [Reach("a")]}, {"connect": ["10.0.0.0/8"]}]
)
def test_rules_are_rules(rules: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"must be (Bind|Reach) rules"):
        Network(**rules)
