"""The settings of a mesh."""

import math
from typing import Any

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
        ("tls://[fe80::1%eth0]:1", "fe80::1%eth0", 1, False, "[fe80::1%eth0]:1"),
        ("tls://grün_1.example", "grün_1.example", 4222, False, "grün_1.example:4222"),
    ],
)
def test_an_address(text: str, host: str, port: int, is_loopback: bool, shown: str) -> None:
    server = Server.parse(text)
    assert server == Server(host, port)
    assert server.is_loopback == is_loopback
    assert str(server) == shown


@pytest.mark.parametrize(
    "text",
    [
        *("", "nats://", "one.example", "http://one", "nats://a/b", "nats://a?b", "nats://a#b", "nats://a b"),
        *("nats://a:0", "nats://a:99999", "nats://a:b", "nats://a:", "nats://:1", "nats://a:٤٢٢٢"),
        *("nats://fe80::1", "nats://::1:4222", "tls://[::1", "tls://::1]:1", "tls://[::1]a", "tls://[]"),
        *("tls://[one]:1", "tls://[10.0.0.1]:1", "tls://u:p@one", "embedded"),
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected the address of a server"):
        Mesh(servers=["nats://127.0.0.1", text])


def test_servers_are_a_sequence_or_a_text() -> None:
    mesh = Mesh(servers="nats://127.0.0.1:1, nats://127.0.0.1:2")
    assert [server.port for server in mesh.addresses] == [1, 2]
    assert Mesh(servers=["nats://127.0.0.1:1", "nats://127.0.0.1:2"]) == mesh
    assert Mesh(servers="embedded").is_embedded
    assert Mesh(servers="embedded").addresses == ()


def test_an_embedded_mesh_has_its_name_in_its_address() -> None:
    mesh = Mesh(servers="embedded:tests")
    assert (mesh.is_embedded, mesh.name, mesh) == (True, "tests", Mesh(servers="embedded", name="tests"))
    assert Mesh(servers="embedded:tests", name="tests") == mesh


@pytest.mark.parametrize(
    ("nodes", "window"), [(1, 1 << 20), (32, 1 << 20), (64, 1 << 19), (512, 1 << 16), (10_000, 1 << 16)]
)
def test_windows_of_many_nodes_are_small(nodes: int, window: int) -> None:
    """All that may be under way to a node is bounded, as far as 64 KiB a node allow it."""
    assert Mesh(servers="embedded").window_among(nodes) == window
    assert Mesh(servers="embedded", window=1 << 16).window_among(nodes) == 1 << 16


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"servers": ()}, "servers must name a server"),
        ({"servers": "embedded", "name": ""}, "name must have 1 to 32 characters"),
        ({"servers": "embedded", "beat": 1.0}, "a quarter of dead_after at most, got 1.0 and 3.0"),
        ({"servers": "embedded", "beat": 0.0}, "beat must be more than 0"),
        ({"servers": "embedded:a", "name": "b"}, "one name, got 'b' and 'a'"),
        ({"servers": "embedded:"}, "name must have 1 to 32 characters, got ''"),
        ({"servers": f"embedded:{'a' * 33}"}, "name must have 1 to 32 characters"),
        ({"servers": "embedded:a, embedded:b"}, "expected the address of a server"),
        ({"servers": "embedded", "window": 65535}, "window must be 65536 bytes or more, got 65535"),
    ],
    ids=["servers", "name", "long", "zero", "names", "no name", "long name", "meshes", "window"],
)
def test_settings_are_checked(fields: dict[str, object], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        Mesh(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "given"),
    [
        *(("servers", given) for given in (3, [3], b"embedded")),
        *((field, given) for field in ("beat", "dead_after", "lease") for given in ("3", True, None)),
        *((field, given) for field in ("labels", "groups") for given in (3, [1], None)),
        *(("window", given) for given in ("1", 65536.5, True)),
        *(("registry", given) for given in ("no", 0)),
        *((field, 3) for field in ("name", "identity", "server")),
    ],
)
def test_a_setting_of_the_wrong_type_is_named(field: str, given: object) -> None:
    fields: dict[str, Any] = {"servers": "embedded", field: given}
    with pytest.raises(TypeError, match=f"{field} must be .*, got"):
        Mesh(**fields)


@pytest.mark.parametrize("field", ["beat", "dead_after", "lease"])
@pytest.mark.parametrize("given", [math.nan, math.inf, -1.0])
def test_times_are_numbers_that_end(field: str, given: float) -> None:
    fields: dict[str, Any] = {"servers": "embedded", field: given}
    with pytest.raises(ValueError, match=f"{field} must be"):
        Mesh(**fields)
