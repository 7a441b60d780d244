"""Capabilities: numbers and names."""

import pytest

from enfilade.hostcalls.abi.capability import Capability, capabilities


def test_numbers_are_those_of_the_abi() -> None:
    """The numbers are on the wire and never change."""
    assert [Capability(number).title for number in range(20)] == [
        "SessionLifecycle",
        "ChannelLifecycle",
        "ChannelReader",
        "ChannelWriter",
        "ProcessLifecycle",
        "NetQuicBind",
        "NetQuicAccept",
        "NetQuicConnect",
        "NetQuicRead",
        "NetQuicWrite",
        "NetHttpBind",
        "NetHttpAccept",
        "NetHttpConnect",
        "NetHttpRead",
        "NetHttpWrite",
        "NetTlsServerConfig",
        "NetTlsClientConfig",
        "SingletonRegistry",
        "SingletonLookup",
        "TimeRead",
    ]
    assert [Capability(number).title for number in range(64, 69)] == [
        "ActorMessage",
        "ActorSpawn",
        "ActorLink",
        "ActorRegistry",
        "TraceRead",
    ]


@pytest.mark.parametrize("text", ["TimeRead", "time_read", "time-read", " TIMEREAD ", "timeread"])
def test_names_in_every_case(text: str) -> None:
    """CamelCase, snake_case and kebab-case name the same capability."""
    assert Capability.parse(text) is Capability.TIME_READ


def test_application_capabilities() -> None:
    """Numbers from 128 belong to the application and need no declaration."""
    assert Capability(130) is Capability(130)
    assert Capability(130).title == "Application130"
    assert Capability.parse("application_130") == Capability(130)
    for number in (20, 63, 69, 127, 256, -1):
        with pytest.raises(ValueError, match=str(number)):
            Capability(number)


@pytest.mark.parametrize("text", ["", "Time", "application_12", "application_999"])
def test_unknown_names(text: str) -> None:
    """An unknown name is an error that lists the known ones."""
    with pytest.raises(ValueError, match="TimeRead"):
        Capability.parse(text)


def test_members_and_names_make_one_set() -> None:
    """Members and names mix; duplicates collapse."""
    assert capabilities(["time-read", Capability.TIME_READ, "ChannelReader"]) == {
        Capability.TIME_READ,
        Capability.CHANNEL_READER,
    }
