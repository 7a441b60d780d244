"""Bounds of the connections of peers."""

from __future__ import annotations

from enfilade.hostcalls.net.gate import Gate


def test_connections_are_bounded_in_all_and_from_one_address() -> None:
    gate = Gate(connections=3, from_address=2)
    assert [gate.enter("192.0.2.1") for _ in range(3)] == [True, True, False]
    assert [gate.enter("192.0.2.2") for _ in range(2)] == [True, False]
    gate.leave("192.0.2.1")
    assert [gate.enter("192.0.2.2") for _ in range(2)] == [True, False]
    assert len(gate) == 3
    for host in ("192.0.2.1", "192.0.2.2", "192.0.2.2"):
        gate.leave(host)
    assert len(gate) == 0
    assert not gate._inside


def test_an_ipv6_network_of_64_bits_counts_as_one_address() -> None:
    gate = Gate(connections=9, from_address=1)
    assert gate.enter("2001:db8::1")
    assert not gate.enter("2001:db8::ffff:2")
    assert gate.enter("2001:db8:0:1::1")
