"""The names of aioquic that no release has promised: all of them are there, and mean what they meant."""

from __future__ import annotations

import ast
import inspect
import tomllib
from collections.abc import Iterator
from pathlib import Path

import aioquic.tls
import pytest
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection, QuicNetworkPath
from aioquic.quic.stream import QuicStream, QuicStreamReceiver

from enfilade.hostcalls.net import quic_private
from enfilade.hostcalls.net.quic_private import Core, Visit
from enfilade.hostcalls.net.verifier import SERVER, Verifier

FOLDER = Path(inspect.getfile(quic_private)).parent
TREE = ast.parse(Path(inspect.getfile(quic_private)).read_text())
OURS = {"_reads", "_window", "_read", "_usage", "_make_room", "_has_enough_before"}
"""Names with an underscore that quic_private.py adds."""

BASES = {
    Core: QuicConnection,
    quic_private._ServerTls: aioquic.tls.Context,
    quic_private._ClientTls: aioquic.tls.Context,
    quic_private._Forgetful: QuicStreamReceiver,
}


def library_names() -> set[str]:
    """The names of everything that the hooks touch, of classes and of instances."""
    connection = QuicConnection(configuration=QuicConfiguration())
    stream = QuicStream(stream_id=0)
    objects = (connection, connection._host_cids[0], aioquic.tls.Context(is_client=True), stream)
    parts = (stream.receiver, stream.sender, connection._local_max_data, QuicNetworkPath(("::1", 1)))
    return {name for each in (*objects, *parts) for name in dir(each)}


def used_names() -> set[str]:
    """The names with an underscore that quic_private.py reads, writes or overrides."""
    found = {node.attr for node in ast.walk(TREE) if isinstance(node, ast.Attribute)}
    for node in ast.walk(TREE):
        if isinstance(node, ast.ClassDef):
            found |= {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
    return {name for name in found if name.startswith("_") and not name.startswith("__")}


def test_every_private_name_is_there() -> None:
    used = used_names() - OURS
    assert len(used) > 25
    assert not used - library_names()


def test_no_name_of_ours_is_one_of_the_library() -> None:
    assert not OURS & library_names()


def overrides() -> Iterator[tuple[type, str]]:
    for ours, base in BASES.items():
        for name, member in vars(ours).items():
            if inspect.isfunction(member) and not name.startswith("__") and hasattr(base, name):
                yield ours, name


@pytest.mark.parametrize(("ours", "name"), list(overrides()))
def test_overrides_take_what_they_took(ours: type, name: str) -> None:
    theirs = inspect.signature(getattr(BASES[ours], name)).parameters
    assert list(inspect.signature(getattr(ours, name)).parameters) == list(theirs)


def test_all_that_must_be_overridden_is() -> None:
    assert {name for _, name in overrides()} == {
        "_client_handle_certificate_verify",
        "_client_handle_encrypted_extensions",
        "_find_preferred_address",
        "_get_or_create_stream",
        "_handle_crypto_frame",
        "_handle_reset_stream_frame",
        "_handle_stream_frame",
        "_initialize",
        "_push_crypto_data",
        "_server_handle_certificate",
        "_server_handle_certificate_verify",
        "_server_handle_hello",
        "_write_connection_limits",
        "_write_stream_limits",
        "close",
        "datagrams_to_send",
        "handle_frame",
    }


def test_only_one_file_reaches_into_the_library() -> None:
    users = {
        path.name
        for path in FOLDER.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("aioquic")
    }
    assert users == {"quic_private.py", "quic_packets.py"}
    packets = ast.parse((FOLDER / "quic_packets.py").read_text())
    names = {node.attr for node in ast.walk(packets) if isinstance(node, ast.Attribute)}
    assert {name for name in names if name.startswith("_") and not name.startswith("__")} == {"_tokens"}


def test_the_release_is_pinned() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    wanted = [each for each in project["optional-dependencies"]["net"] if each.startswith("aioquic")]
    assert wanted == ["aioquic>=1.7.2,<1.8"]


def test_windows_open_by_halves_as_things_are_read() -> None:
    core = Core(Visit("x.test", Verifier((), SERVER)), window=4096, idle_timeout=30)
    core.connect(("127.0.0.1", 1), 0.0)
    core.open()
    assert core.stream is not None
    assert core._local_max_data.value == core.stream.max_stream_data_local == 4096
    assert not core.consumed(2047)
    assert core._local_max_data.value == core.stream.max_stream_data_local == 4096
    assert core.consumed(1)
    assert core._local_max_data.value == core.stream.max_stream_data_local == 6144
