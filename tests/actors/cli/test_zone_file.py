"""What a zone file becomes, and what is said of one that is wrong."""

import math
import sys
from pathlib import Path

import pytest
import trustme

from enfilade.actors import UNBOUNDED, Backoff, Mailbox, RemoteEntry
from enfilade.actors.cli.refusal import Refusal
from enfilade.actors.cli.zonefile import ZoneFile, read_zone_file
from enfilade.hostcalls import Bind, Network, Reach
from enfilade.hostcalls.contracts.limits import Limits

NODE = '[node]\nname = "bank"\nzone = "east"\n'
CHILD = '[[child]]\nid = "books"\n'
LEDGER = CHILD + 'actor = "books:Ledger"\n'

BOOKS = """
from enfilade.actors import Actor

class Ledger(Actor):
    pass

async def audit(me):
    await me.receive()

def add(a, b):
    return a + b

seven = 7
"""


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "books.py").write_text(BOOKS)
    (tmp_path / "sad.py").write_text('raise RuntimeError("no\\nway")\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "books", raising=False)
    return tmp_path


def read(directory: Path, text: str) -> ZoneFile:
    (directory / "bank.toml").write_text(text)
    return read_zone_file(directory / "bank.toml")


def check(directory: Path, text: str) -> None:
    """All that `enfilade zone run` looks at before it starts anything."""
    zone_file = read(directory, text)
    zone_file.network_settings(directory)
    zone_file.children(directory)
    zone_file.targets(directory)


def test_children_of_each_kind(directory: Path) -> None:
    (directory / "idle.wat").write_text('(module (func (export "start")))')
    text = NODE + LEDGER + 'arguments = [1]\noptions = {currency = "EUR"}\n'
    text += '[[child]]\nid = "filter"\nguest = "idle.wat"\ncapabilities = ["time_read"]\n'
    text += '[[child]]\nid = "far"\nentry = "Ledger"\nnodes = ["north@bank", "south@bank"]\narguments = [5]\n'
    actor, guest, entry = read(directory, text).children(directory)
    assert (actor.target.__name__, actor.args, actor.kwargs) == ("Ledger", (1,), {"currency": "EUR"})
    assert (guest.id, guest.target.label) == ("filter", "filter")
    assert (entry.target, entry.args) == (RemoteEntry("Ledger", "north@bank", "south@bank"), (5,))


def test_the_authority_and_the_limits_of_a_guest(directory: Path) -> None:
    """Names and limits are the guest's; what is not set is its default."""
    (directory / "idle.wat").write_text("(module)")
    text = NODE + CHILD + 'guest = "idle.wat"\nfinds = ["a*"]\nregisters = ["b"]\nends = ["c", "d"]\n'
    text += 'limits = { memory = "20MiB", cpu_time = "none", tree_processes = 3 }\n'
    (child,) = read(directory, text).children(directory)
    guest = child.target
    assert (guest.finds, guest.registers, guest.ends) == (("a*",), ("b",), ("c", "d"))
    assert guest.limits == Limits(memory=20 << 20, cpu_time=math.inf, tree_processes=3)


def test_back_off_mailbox_and_start_limit(directory: Path) -> None:
    """Tables below a child are about that child; numbers that are not set have their defaults."""
    text = NODE + LEDGER + "start_timeout = 10\n"
    text += "[child.backoff]\nfirst = 0.5\nmaximum = 60\n"
    text += '[child.mailbox]\ncapacity = 3\noverflow = "block"\n'
    text += LEDGER.replace("books", "other", 1)
    bounded, plain = read(directory, text).children(directory)
    assert bounded.backoff == Backoff(first=0.5, maximum=60)
    assert bounded.mailbox == Mailbox(capacity=3, overflow="block")
    assert bounded.start_timeout == 10
    assert (plain.backoff, plain.mailbox, plain.start_timeout) == (None, UNBOUNDED, math.inf)


def test_entries_are_imported_by_name(directory: Path) -> None:
    text = NODE + '[entries]\nLedger = "books:Ledger"\naudit = "books:audit"\n'
    assert list(read(directory, text).targets(directory)) == ["Ledger", "audit"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (CHILD, "one of actor, guest, entry, got none"),
        (LEDGER + 'guest = "idle.wat"\n', "got actor and guest"),
        (LEDGER + LEDGER, "two children have the id 'books'"),
        (
            LEDGER + 'capabilities = ["time_read"]\n',
            "'capabilities' belongs to a child with 'guest'",
        ),
        (LEDGER + 'entrypoint = "run"\n', "'entrypoint' belongs to a child with 'guest', not 'actor'"),
        (LEDGER + 'nodes = ["north@bank"]\n', "'nodes' belongs to a child with 'entry', not 'actor'"),
        (LEDGER + 'name = "root"\n', "reserved for the node's root supervisor"),
        (LEDGER + "shutdown = -1\n", "'shutdown' is -1.0"),
        (LEDGER + "start_timeout = -1\n", "'start_timeout' is -1.0"),
        (LEDGER + "backoff = { first = 0 }\n", "back-off field 'first' is 0.0; it must be a finite number"),
        (LEDGER + "mailbox = { capacity = 0 }\n", "got 0"),
        (LEDGER + 'mailbox = { overflow = "drop" }\n', "expected one of 'block', 'drop_newest',"),
        (LEDGER + "mailbox = { capcity = 5 }\n", "did you mean 'capacity'?"),
        (CHILD + 'entry = "E"\nnodes = ["n@b"]\nmailbox = { capacity = 5 }\n', "leave it out"),
        (CHILD + 'entry = "Ledger"\n', "the names of one or more nodes"),
        (
            CHILD + 'entry = "Ledger"\nnodes = ["north"]\n',
            "it must be the name of a node, name@zone",
        ),
        (CHILD + 'entry = ""\nnodes = ["north@bank"]\n', "the name of an entry"),
        (CHILD + 'entry = "Ledger"\nnodes = ["north@bank"]\nname = "far"\n', "leave it out"),
        (CHILD + 'guest = "nowhere.wasm"\n', "there is no module"),
        (CHILD + 'guest = "bank.toml"\nlimits = { memroy = 5 }\n', "got 'memroy'; did you mean 'memory'?"),
        (CHILD + 'guest = "bank.toml"\nlimits = { memory = "lots" }\n', "for the limit memory, got 'lots'"),
        (LEDGER + "limits = { memory = 5 }\n", "'limits' belongs to a child with 'guest', not 'actor'"),
        (LEDGER + 'finds = ["x"]\n', "'finds' belongs to a child with 'guest', not 'actor'"),
        (CHILD + 'actor = "books:add"\n', "async function or a Spawnable, got 'books:add'"),
        (CHILD + 'actor = "books:seven"\n', "or a Spawnable, got 'books:seven'"),
        (CHILD + 'actor = "books:Nobody"\n', "has no attribute 'Nobody'"),
        (CHILD + 'actor = "books:Legder"\n', "has no attribute 'Legder'; did you mean 'Ledger'?"),
        (CHILD + 'actor = "books.Ledger"\n', "got 'books.Ledger'; did you mean 'books:Ledger'?"),
        (CHILD + 'actor = ".books:Ledger"\n', "expected module:attribute, got"),
        (CHILD + 'actor = "sad:Ledger"\n', "the module sad failed: RuntimeError: no way"),
        ('[entries]\nadd = "books:add"\n', "entry 'add': expected an actor class"),
        ("[supervisor]\nintensity = -1\n", "'intensity' is -1; it must be an integer, 0 or more"),
        ("[supervisor]\nperiod = 0\n", "a finite number of seconds above 0"),
        ("longest_pause = 0\n", "longest_pause must be finite and above 0 seconds, got 0.0"),
        ("longest_pause = nan\n", "got nan"),
        ('[network]\ncertificate = "no.crt"\n', "[network]: the certificate "),
        ("[network]\nsettings = { conections = 5 }\n", "got 'conections'; did you mean 'connections'?"),
        ("[network]\nsettings = { connections = 0 }\n", "connections must be more than 0, got 0"),
        (
            "[network]\nsettings = { connections = 1.5 }\n",
            "an integer, also with KiB, MiB or GiB, for the",
        ),
        ('[network]\nsettings = { key = "x" }\n', "[network]: expected a network setting ("),
        ('[network]\nbind = ["127.0.0.1:http"]\n', "the colon, got '127.0.0.1:http'"),
        ('[network]\nconnect = ["a b"]\n', "[network]: 'a b' is not a network rule"),
        ("[network]\nport = 5\n", "unknown field `port`"),
    ],
)
def test_a_mistake_is_named_before_anything_starts(directory: Path, text: str, says: str) -> None:
    with pytest.raises(Refusal) as refusal:
        check(directory, NODE + text)
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.fixture
def certificates(directory: Path) -> Path:
    """Certificates of localhost, their keys, and what is neither."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "roots.pem"))
    for name in ("own", "other"):
        certificate = authority.issue_cert("localhost")
        certificate.cert_chain_pems[0].write_to_path(str(directory / f"{name}.crt"))
        certificate.private_key_pem.write_to_path(str(directory / f"{name}.key"))
        (directory / f"{name}.key").chmod(0o600)
    (directory / "rubbish").write_bytes(b"rubbish")
    (directory / "rubbish").chmod(0o600)
    return directory


def network(**files: str) -> str:
    lines = "".join(f'{key} = "{path}"\n' for key, path in files.items())
    return f"{NODE}[network]\n{lines}"


def test_a_file_without_a_network_has_the_default(directory: Path) -> None:
    assert read(directory, NODE).network_settings(directory) is None


def test_the_network_of_the_guests(certificates: Path) -> None:
    text = network(certificate="own.crt", key="own.key", roots="roots.pem")
    settings = read(
        certificates, text + 'settings = { idle_timeout = 5, head_bytes = "4KiB" }\n'
    ).network_settings(certificates)
    assert settings is not None
    assert (settings.idle_timeout, settings.head_bytes) == (5.0, 4096)
    given = settings.certificate, settings.key, settings.roots
    assert given == tuple((certificates / name).read_bytes() for name in ("own.crt", "own.key", "roots.pem"))


def test_rules_of_the_network_are_those_of_guests_without_rules(directory: Path) -> None:
    (directory / "idle.wat").write_text('(module (func (export "start")))')
    guest = '[[child]]\nid = "{}"\nguest = "idle.wat"\n'
    text = NODE + '[network]\nbind = ["0.0.0.0:8443"]\nconnect = ["none"]\n'
    text += (
        guest.format("plain")
        + guest.format("other")
        + 'net_bind = ["none"]\nnet_connect = ["api.example.com"]\n'
    )
    plain, other = (child.target.network for child in read(directory, text).children(directory))
    assert plain == Network(bind=[Bind("0.0.0.0", 8443)], connect=[])
    assert other == Network(bind=[], connect=[Reach("api.example.com")])


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"certificate": "own.crt"}, "a certificate needs its key"),
        ({"key": "own.key"}, "and a key its certificate"),
        ({"certificate": "own.crt", "key": "other.key"}, "own.crt"),
        ({"certificate": "own.key", "key": "own.key"}, "own.key: expected certificates in PEM"),
        (
            {"certificate": "own.crt", "key": "own.crt"},
            "the private key {}/own.crt must be accessible to its owner",
        ),
        ({"certificate": "own.crt", "key": "rubbish"}, "rubbish: expected a key in PKCS#8, PKCS#1 or SEC1"),
        ({"roots": "rubbish"}, "rubbish: expected certificates in PEM"),
        ({"roots": "nothing"}, "No such file or directory"),
    ],
)
def test_a_certificate_that_does_not_fit(certificates: Path, files: dict[str, str], says: str) -> None:
    with pytest.raises(Refusal) as refusal:
        check(certificates, network(**files))
    assert str(refusal.value).startswith("[network]: ")
    assert says.format(certificates) in str(refusal.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_key_that_others_may_read_is_refused(certificates: Path, mode: int) -> None:
    (certificates / "own.key").chmod(mode)
    with pytest.raises(
        Refusal, match=r"own\.key must be accessible to its owner alone; run `chmod 600` on it"
    ):
        check(certificates, network(certificate="own.crt", key="own.key"))


def test_certificates_without_the_libraries(certificates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "enfilade.hostcalls.net.tls", None)
    with pytest.raises(Refusal, match=r"pip install 'enfilade\[net\]'"):
        check(certificates, network(certificate="own.crt", key="own.key"))


def test_what_is_no_text(directory: Path) -> None:
    (directory / "bank.toml").write_bytes(b"\xff\xfe" + NODE.encode("utf-16-le"))
    with pytest.raises(Refusal, match="expected text in UTF-8"):
        read_zone_file(directory / "bank.toml")


@pytest.mark.parametrize("place", ["0.0.0.0:9464", "192.0.2.1:9464", "[::]:9464", "127.0.0.1", "127.0.0.1:x"])
def test_obs_58_metrics_are_not_served_to_other_machines(directory: Path, place: str) -> None:
    with pytest.raises(Refusal, match=r"telemetry\.listen: expected a loopback .* - at `\$\.telemetry`"):
        read(directory, NODE + f'[telemetry]\nlisten = "{place}"\n')


def test_telemetry(directory: Path) -> None:
    table = read(directory, NODE + '[telemetry]\nlisten = "[::1]:0"\nspans = 0.01\n').telemetry
    assert (table.place(), table.spans, table.metrics) == (("::1", 0), 0.01, False)
    with pytest.raises(Refusal, match="probability between 0 and 1, got 2"):
        read(directory, NODE + "[telemetry]\nspans = 2.0\n")
    with pytest.raises(Refusal, match=r"unknown field `liste`.*listen"):
        read(directory, NODE + '[telemetry]\nliste = "[::1]:0"\n')
