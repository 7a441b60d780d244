"""`enfilade zone ps|tree|call|send|stop`: what they print, whom they reach, and how they say no."""

import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from enfilade.actors import Refused, open_node
from enfilade.transport import Policy
from enfilade.transport.doors import Door, Request
from enfilade.transport.policy import CONTROL, Rights
from tests.actors.cli.command import enfilade, enfilade_here
from tests.actors.cli.conftest import put_packages_on_the_path
from tests.actors.cli.test_commands import refused
from tests.actors.counting_guests import counter

SECONDS = 120

PARTS = """
import trio
from enfilade.actors import Actor, Child, Supervisor

class Ledger(Actor):
    def __init__(self, total: int, *, currency: str = "EUR") -> None:
        self.total = total
        self.currency = currency
        self.notes = []

    def add(self, amount: int, *, twice: bool = False) -> int:
        self.total += amount + twice * amount
        return self.total

    def price(self) -> str:
        return f"{self.total} {self.currency}"

    def on_message(self, message) -> None:
        self.notes.append(message)

    def read(self) -> dict:
        return {"total": self.total, "notes": self.notes, "me": self.process.ref}

    def crash(self) -> None:
        raise RuntimeError("two\\nlines\\x1b[31m")

class Slow(Actor):
    def on_start(self) -> None:
        self.process.trap_exits = True

    async def wait(self) -> None:
        await trio.sleep_forever()

    async def on_stop(self, reason) -> None:
        with open("stopped", "w") as file:
            file.write("in order")

class Branch(Supervisor):
    def __init__(self) -> None:
        super().__init__([Child(Ledger, 0, id="leaf", restart="transient")])
"""

ZONE = """
[node]
name = "bank"
zone = "east"
door = "bank.door"

[supervisor]
intensity = 100

[[child]]
id = "books"
actor = "parts:Ledger"
arguments = [10]
name = "ledger"

[[child]]
id = "slow"
actor = "parts:Slow"
name = "slow"

[[child]]
id = "branch"
actor = "parts:Branch"

[[child]]
id = "vault"
actor = "parts:Ledger"
arguments = [1000]
name = "vault"
"""

OPERATORS = f"""
[[peer]]
nodes = ["operator-*"]
uids = [{os.geteuid()}]
exports = ["ledger", "s*", "brittle"]
control = true
"""

BRITTLE = """
[[child]]
id = "brittle"
actor = "parts:Ledger"
arguments = [0]
name = "brittle"
"""

EXPORTS = """
[[peer]]
exports = ["*"]
"""

Start = Callable[[str], Path]


@contextmanager
def running(directory: Path, text: str) -> Iterator[Path]:
    (directory / "parts.py").write_text(PARTS)
    (directory / "bank.toml").write_text(text)
    with subprocess.Popen(
        [sys.executable, "-m", "enfilade", "zone", "run", "bank.toml"],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert "runs at" in process.stdout.readline()
            yield directory / "bank.door"
        finally:
            process.kill()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a node from the text of a zone file and gives the path of its door."""
    with ExitStack() as stack:
        yield lambda text: stack.enter_context(running(tmp_path, text))


def shared(text: str) -> Callable[[pytest.TempPathFactory], Iterator[Path]]:
    """The door of one node for all tests of this file that leave it as it is."""

    def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
        with pytest.MonkeyPatch.context() as patch:
            put_packages_on_the_path(patch)
            with running(tmp_path_factory.mktemp("bank"), text) as path:
                yield path

    return door


closed_bank = pytest.fixture(scope="module", name="closed_bank")(shared(ZONE))
open_bank = pytest.fixture(scope="module", name="open_bank")(shared(ZONE + BRITTLE + OPERATORS))
eager_bank = pytest.fixture(scope="module", name="eager_bank")(shared(ZONE + EXPORTS))


def zone(command: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run a command for zones. Those of operators do here what they do in a process of their own, and begin
    at once; `run` is a node, which has its process to itself.
    """
    if command == "run":
        return enfilade("zone", command, *map(str, arguments), seconds=SECONDS)
    return enfilade_here("zone", command, *map(str, arguments))


def answered(result: "subprocess.CompletedProcess[str]") -> str:
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr == ""
    return result.stdout


def test_ps_lists_processes(closed_bank: Path) -> None:
    lines = answered(zone("ps", closed_bank)).splitlines()
    assert lines[0].split() == ["SERIAL", "NAME", "LABEL", "KIND", "ACTOR", "CHILD", "PARENT", "QUEUED"]
    rows = {line.split()[1]: line.split() for line in lines[1:]}
    assert rows["root"][2:] == ["-", "supervisor", "Supervisor", "-", "-", "0"]
    assert rows["ledger"][2:] == ["-", "actor", "Ledger", "books", rows["root"][0], "0"]
    assert rows[CONTROL][2:6] == ["-", "actor", "Control", CONTROL]
    assert [line.split()[2:4] for line in lines if " observation " in line] == [["observation", "supervisor"]]
    serials = [int(line.split()[0]) for line in lines[1:]]
    assert serials == sorted(serials)


def test_tree_shows_supervision(closed_bank: Path) -> None:
    lines = answered(zone("tree", closed_bank)).splitlines()
    assert lines[0].startswith("root: supervisor ")
    shown = [(line.split(":")[0], line.split(": ")[1].split()[0], line.split(", ")[-1]) for line in lines[1:]]
    assert shown == [
        ("  books", "actor", "permanent"),
        ("  slow", "actor", "permanent"),
        ("  branch", "supervisor", "permanent"),
        ("    leaf", "actor", "transient"),
        ("  vault", "actor", "permanent"),
    ]
    assert "named ledger" in lines[1]


def test_tree_is_drawn_on_a_terminal(closed_bank: Path) -> None:
    master, slave = pty.openpty()
    try:
        result = subprocess.run(
            [sys.executable, "-m", "enfilade", "zone", "tree", str(closed_bank)],
            stdout=slave,
            stderr=subprocess.PIPE,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
            timeout=SECONDS,
            check=False,
        )
        os.set_blocking(master, False)
        drawn = os.read(master, 65536).decode()
    finally:
        os.close(slave)
        os.close(master)
    assert result.returncode == 0, result.stderr
    assert "\u251c\u2500\u2500" in drawn
    assert "leaf" in drawn


def test_call_and_send_speak_json(start: Start) -> None:
    door = start(ZONE + OPERATORS)
    assert json.loads(answered(zone("call", door, "ledger", "add", "5"))) == 15
    assert answered(zone("send", door, "ledger", '{"rent": [1, null]}')) == ""
    reply = json.loads(answered(zone("call", door, "ledger", "read")))
    assert reply["total"] == 15
    assert reply["notes"] == [{"rent": [1, None]}]
    assert reply["me"].startswith("<bank@east:")


def test_keyword_arguments(start: Start) -> None:
    zone_file = ZONE.replace("arguments = [10]", 'arguments = [10]\noptions = {currency = "CHF"}', 1)
    door = start(zone_file + OPERATORS)
    assert json.loads(answered(zone("call", door, "ledger", "add", "5", "--keyword", "twice=true"))) == 20
    assert json.loads(answered(zone("call", door, "ledger", "add", "--keyword", "amount=-5"))) == 15
    assert json.loads(answered(zone("call", door, "ledger", "price"))) == "15 CHF"
    for wrong in ("twice", "=true", "not a name=1"):
        assert "expected NAME=JSON, got" in refused(
            zone("call", door, "ledger", "add", "5", "--keyword", wrong)
        )
    assert "expected JSON, got" in refused(zone("call", door, "ledger", "add", "5", "--keyword", "twice=yes"))


PEERS = f"""
[entries]
Ledger = "parts:Ledger"
Slow = "parts:Slow"

[[peer]]
nodes = ["shop@*"]
uids = [{os.geteuid()}]
entries = ["Ledger"]
groups = ["prices"]
"""


async def test_entries_and_groups(start: Start) -> None:
    """What a peer may start, and which groups the two nodes share, is a matter of the zone file as well."""
    with trio.fail_after(SECONDS):
        async with open_node("shop", zone="west", policy=Policy.same_user(groups="*")) as shop:
            peer = await shop.connect(str(start(ZONE + PEERS)))
            ledger: Any = await shop.spawn_on(peer, "Ledger", 7, currency="CHF")

            def price() -> str: ...

            assert await ledger.call(price) == "7 CHF"
            for entry in ("Slow", "parts:Ledger"):
                with pytest.raises(Refused, match="exports no spawn entry"):
                    await shop.spawn_on(peer, entry)


def test_a_node_that_was_killed_is_taken_over(start: Start, tmp_path: Path) -> None:
    """The door of a node that could not tidy up is replaced, and nothing of it is left in the end."""
    (tmp_path / "parts.py").write_text(PARTS)
    (tmp_path / "bank.toml").write_text(ZONE)
    before = sorted(path.name for path in tmp_path.iterdir())
    with subprocess.Popen(
        [sys.executable, "-m", "enfilade", "zone", "run", "bank.toml"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert "runs at" in process.stdout.readline()
        process.kill()
    line = refused(zone("ps", tmp_path / "bank.door"))
    assert "no longer exists" in line
    assert line.count("bank.door") == 1
    door = start(ZONE)
    assert "root" in answered(zone("ps", door))
    assert answered(zone("stop", door)) == ""
    left = sorted(path.name for path in tmp_path.iterdir() if path.name not in ("stopped", "__pycache__"))
    assert left == before


def test_a_door_where_a_node_listens_is_left_to_it(open_bank: Path) -> None:
    line = refused(zone("run", open_bank.with_name("bank.toml")))
    assert "listens at" in line
    assert "stop it, or choose another path" in line
    assert line.count("bank.door") == 1
    assert "root" in answered(zone("tree", open_bank))


def test_what_only_guests_need_is_not_imported() -> None:
    """The operator's commands are quick because they leave the engine of guests alone."""
    imports = "import sys, enfilade.actors.cli.operator, enfilade.actors.cli.zone"
    program = f"{imports}; print('enfilade.hostcalls' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


GUEST = """
[[child]]
id = "counter"
guest = "counter-a.wasm"
name = "counter"
capabilities = ["ActorMessage", "TimeRead"]
"""


def test_upgrade_moves_a_guest(start: Start, tmp_path: Path) -> None:
    """One command moves a guest; one that fails says why, and the guest goes on as it was."""
    for version in "ab":
        (tmp_path / f"counter-{version}.wasm").write_bytes(counter(version))
    (tmp_path / "faulty.wasm").write_bytes(counter("c", start="unreachable"))
    door = start(ZONE + GUEST)
    assert answered(zone("upgrade", door, "counter", tmp_path / "counter-b.wasm")) == ""
    assert "ended before it asked for a message: trapped" in refused(
        zone("upgrade", door, "counter", tmp_path / "faulty.wasm")
    )
    assert "cannot start" in refused(zone("upgrade", door, "counter", tmp_path / "missing.wasm"))
    assert "expected the ref of a guest" in refused(
        zone("upgrade", door, "ledger", tmp_path / "counter-b.wasm")
    )
    assert "no process of this node has the name 'nobody'" in refused(
        zone("upgrade", door, "nobody", tmp_path / "counter-b.wasm")
    )


def test_a_node_is_named_as_observers_name_it(start: Start, tmp_path: Path) -> None:
    """By its zone file or its name, with or without its zone, as by its door; what names none is refused."""
    door = start(ZONE.replace('name = "bank"', 'name = "mint"', 1))
    listed = answered(zone("tree", door))
    for given in (tmp_path / "bank.toml", Path("mint"), Path("mint@east")):
        assert answered(zone("tree", given)) == listed
    assert "shop is not a door, and no node of this user" in refused(zone("tree", Path("shop")))


def test_stop_waits_for_an_orderly_end(start: Start, tmp_path: Path) -> None:
    door = start(ZONE)
    assert answered(zone("stop", door)) == ""
    assert not door.exists()
    assert (tmp_path / "stopped").read_text() == "in order"
    assert "is not a door" in refused(zone("ps", door))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("call", "vault", "add", "1"), "exports nothing under 'vault'"),
        (("send", "vault", "1"), "exports nothing under 'vault'"),
        (("call", "nobody", "add", "1"), "exports nothing under 'nobody'"),
        (("send", "nobody", "1"), "exports nothing under 'nobody'"),
        (("call", "ledger", "subtract", "1"), "no public method 'subtract'"),
        (("call", "ledger", "_add", "1"), "expected a public method"),
        (("call", "ledger", "on_stop"), "expected a public method"),
        (("call", "ledger", "add", "five"), "expected JSON, got"),
        (("send", "ledger", "[" * 20000), "expected JSON, got"),
        (("call", "slow", "wait", "--timeout", "0.2"), "did not reply within 0.2 s"),
        (("call", "brittle", "crash"), "ended before it replied: crashed: RuntimeError"),
        (("call", "ledger", "add"), "missing a required argument: 'amount'"),
    ],
)
def test_a_refusal_is_one_line(open_bank: Path, arguments: tuple[str, ...], says: str) -> None:
    command, *rest = arguments
    line = refused(zone(command, open_bank, *rest))
    assert says in line
    assert line.isprintable()


def test_a_name_that_is_exported_and_held_by_nobody(open_bank: Path) -> None:
    assert "no process" in refused(zone("call", open_bank, "soon", "add", "1"))


def test_a_door_that_is_not_there(tmp_path: Path) -> None:
    assert "is not a door" in refused(zone("ps", tmp_path / "no.door"))


def test_a_file_that_is_no_door(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    assert "plain" in refused(zone("ps", tmp_path / "plain"))


def test_a_door_that_is_no_nodes(tmp_path: Path) -> None:
    def echo(request: Request) -> bytes:
        return request.data

    with Door(echo) as door:
        door.force_install(str(tmp_path / "echo.door"))
        assert "echo.door" in refused(zone("ps", tmp_path / "echo.door"))


@pytest.mark.parametrize("command", ["ps", "tree", "stop"])
def test_control_is_not_among_what_a_pattern_exports(eager_bank: Path, command: str) -> None:
    assert "does not let us control it" in refused(zone(command, eager_bank))
    assert "exports nothing" in refused(zone("call", eager_bank, CONTROL, "stop"))
    assert json.loads(answered(zone("call", eager_bank, "vault", "add", "0"))) == 1000


def test_the_right_to_observe_is_no_right_to_control(start: Start) -> None:
    """Whoever may observe sees processes and tree, and neither stops the node nor reaches a process."""
    door = start(ZONE + "[[peer]]\nobserve = true\n")
    assert "ledger" in answered(zone("ps", door))
    assert "books" in answered(zone("tree", door))
    assert "does not let us control it" in refused(zone("stop", door))
    assert "exports nothing under 'ledger'" in refused(zone("call", door, "ledger", "balance"))
    assert "ledger" in answered(zone("ps", door))


def test_without_a_peer_table_there_is_control_and_nothing_else(closed_bank: Path) -> None:
    assert "root" in answered(zone("ps", closed_bank))
    assert "exports nothing" in refused(zone("call", closed_bank, "ledger", "read"))


def test_a_caller_that_the_policy_does_not_admit(start: Start) -> None:
    door = start(ZONE + '[[peer]]\nnodes = ["shop@*"]\ncontrol = true\n')
    assert "the policy does not admit node 'operator-" in refused(zone("ps", door))


def test_a_secret(start: Start, tmp_path: Path) -> None:
    secret, other = tmp_path / "secret", tmp_path / "other"
    secret.write_text("open sesame\n")
    other.write_text("open barley\n")
    secret.chmod(0o600)
    other.chmod(0o600)
    door = start(ZONE.replace("[supervisor]", 'secret = "secret"\n[supervisor]', 1))
    assert "root" in answered(zone("ps", door, "--secret", secret))
    assert "has a different secret" in refused(zone("ps", door, "--secret", other))
    assert "secret" in refused(zone("ps", door))
    secret.chmod(0o644)
    assert "must be accessible to its owner alone" in refused(zone("ps", door, "--secret", secret))
    secret.chmod(0o600)
    if os.geteuid() == 0:
        os.chown(secret, 4242, -1)
        assert "belongs to uid 4242" in refused(zone("ps", door, "--secret", secret))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (ZONE.replace('name = "vault"', f'name = "{CONTROL}"'), "is reserved for the node's control process"),
        (ZONE + OPERATORS + "[peer.limits]\npending = 0\n", "pending must be more than 0"),
        (ZONE + OPERATORS + "[peer.limits]\npendign = 5\n", "pendign"),
        (ZONE + OPERATORS + 'control = "yes"\n', "control"),
        (ZONE.replace('name = "bank"', 'name = ""'), "must have characters that can be printed, without '@'"),
        (ZONE.replace('zone = "east"', 'zone = "e@st"'), "got 'e@st'"),
        (ZONE.replace('zone = "east"', 'zone = "east"\nworkers = -1'), "workers must be 0 or more, got -1"),
        (
            ZONE.replace('id = "books"', 'id = "books"\nrestart = "always"'),
            "`$.child[0].restart`; expected one of 'permanent', 'transient', 'temporary'",
        ),
        (
            ZONE.replace('id = "books"', 'id = "books"\nshutdown = "kill"'),
            "`$.child[0].shutdown`; expected one of 'brutal_kill'",
        ),
        (ZONE.replace('"parts:Ledger"', '"broken:Ledger"', 1), "broken.py, line 2"),
        (ZONE + '[entries]\nLedger = "parts:Nothing"\n', "entry 'Ledger'"),
        (ZONE + '[entries]\nLedger = "nowhere:Nothing"\n', "No module named 'nowhere'"),
        (ZONE + '[entries]\nLedger = "parts"\n', "expected module:attribute, got"),
        (ZONE.replace("[supervisor]", 'secret = "nowhere"\n[supervisor]', 1), "nowhere"),
    ],
)
def test_a_wrong_zone_file_says_what_is_wrong(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "parts.py").write_text(PARTS)
    (tmp_path / "broken.py").write_text("import trio\nclass Ledger(:\n")
    (tmp_path / "bank.toml").write_text(text.replace('control = true\ncontrol = "yes"', 'control = "yes"'))
    assert says in refused(enfilade_here("zone", "run", str(tmp_path / "bank.toml")))


def test_rights_to_the_control_process() -> None:
    assert Rights(control=True).sees(CONTROL)
    assert not Rights(exports=("*", CONTROL)).sees(CONTROL)
    assert not Rights(control=True).sees("ledger")
    assert Rights(exports=("led*",)).sees("ledger")


@pytest.mark.parametrize("how", ["stop", "terminate"])
def test_a_node_can_be_stopped_while_its_tree_starts(tmp_path: Path, how: str) -> None:
    """Whoever wants it to stop need not wait for a child that takes its time, or is never ready."""
    hanging = "import trio\nasync def hang(self): await trio.sleep_forever()\n"
    (tmp_path / "parts.py").write_text(f"{hanging}{PARTS}\nclass Never(Actor):\n    on_start = hang\n")
    zone_file = tmp_path / "bank.toml"
    zone_file.write_text(ZONE + '[[child]]\nid = "never"\nactor = "parts:Never"\n')
    command = [sys.executable, "-m", "enfilade", "zone", "run", zone_file]
    with subprocess.Popen(command, cwd=tmp_path) as process:
        try:
            while not (tmp_path / "bank.door").exists() or zone("ps", tmp_path / "bank.door").returncode != 0:
                assert process.poll() is None
                time.sleep(0.01)
            if how == "stop":
                answered(zone("stop", tmp_path / "bank.door"))
            else:
                process.terminate()
            assert process.wait(SECONDS) == 0
        finally:
            process.kill()
    assert not (tmp_path / "bank.door").exists()
