"""The settings of a mesh."""

import pytest

from enfilade.transport.mesh.settings import Mesh, Server


@pytest.mark.parametrize(
    ("text", "host", "port", "is_loopback", "shown"),
    [
        ("nats://127.0.0.1:4333", "127.0.0.1", 4333, True, "127.0.0.1:4333"),
        ("nats://localhost", "localhost", 4222, True, "localhost:4222"),
        ("nats://[::1]:99", "::1", 99, True, "[::1]:99"),
        ("nats://[::1]", "::1", 4222, True, "[::1]:4222"),
        ("tls://one.example:1", "one.example", 1, False, "one.example:1"),
        ("tls://10.0.0.1", "10.0.0.1", 4222, False, "10.0.0.1:4222"),
    ],
)
def test_an_address(text: str, host: str, port: int, is_loopback: bool, shown: str) -> None:
    server = Server.parse(text)
    assert server == Server(host, port)
    assert server.is_loopback == is_loopback
    assert str(server) == shown


@pytest.mark.parametrize(
    "text",
    ["", "nats://", "one.example", "http://one", "nats://a:0", "nats://a:99999", "nats://a:b", "nats://a/b"],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected the address of a server"):
        Mesh(servers=[text])


def test_servers_are_a_sequence_or_a_text() -> None:
    mesh = Mesh(servers="nats://127.0.0.1:1, nats://127.0.0.1:2")
    assert [server.port for server in mesh.addresses] == [1, 2]
    assert Mesh(servers=["nats://127.0.0.1:1", "nats://127.0.0.1:2"]) == mesh
    assert Mesh(servers="embedded").is_embedded
    assert Mesh(servers="embedded").addresses == ()


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"servers": ()}, "servers must name a server"),
        ({"servers": "embedded", "name": ""}, "name must have 1 to 32 characters"),
        ({"servers": "embedded", "beat": 1.0}, "a quarter of dead_after at most, got 1.0 and 3.0"),
        ({"servers": "embedded", "beat": 0.0}, "beat must be more than 0"),
    ],
    ids=["servers", "name", "long", "zero"],
)
def test_settings_are_checked(fields: dict[str, object], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        Mesh(**fields)  # type: ignore[arg-type]
