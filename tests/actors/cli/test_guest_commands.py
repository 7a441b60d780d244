"""`enfilade guest`: every form of a guest's description, and one clear line for each mistake."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import trustme

from enfilade.actors.cli.guest import GuestOptions, run_guests
from enfilade.actors.cli.refusal import Refusal
from enfilade.hostcalls.abi import (
    AbiSignature,
    ChannelBackpressure,
    ChannelCreate,
    EntrypointInvocation,
    IoWrite,
    ProcessStart,
)
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.codec.rkyv import U32
from enfilade.hostcalls.resources.logs import LogRecord
from enfilade.hostcalls.sdk.wat import Assembler
from tests.actors.cli.command import enfilade
from tests.hostcalls.net.web_guests import CONNECTOR, listener
from tests.hostcalls.test_logs import encode
from tests.ports import free_port

MODULE = """
(module (memory (export "memory") 17)
  (func (export "start"))
  (func (export "boom") unreachable)
  (func (export "spin") (loop $again (br $again)))
  (func (export "answer") (result i32) (i32.const 42))
  (global (export "number") i32 (i32.const 1))
  (func (export "four") (param $at i32) (param $length i32)
    (if (i32.ne (local.get $length) (i32.const 4)) (then unreachable)))
  (func (export "every") (param i32 i32 i32 i32 f32 f64 i32 i32)
    (if (i32.ne (local.get 0) (i32.const -1)) (then unreachable))
    (if (i32.ne (local.get 1) (i32.const 255)) (then unreachable))
    (if (i32.ne (local.get 2) (i32.const 1)) (then unreachable))
    (if (i32.ne (local.get 3) (i32.const 2)) (then unreachable))
    (if (f32.ne (local.get 4) (f32.const 0.5)) (then unreachable))
    (if (f64.ne (local.get 5) (f64.const -2000)) (then unreachable))
    (if (i32.ne (i32.load (local.get 6)) (i32.const 0x2c6261)) (then unreachable)))
  (func (export "specified") (param $log i32) (param $size i32) (param i32)
    (if (i32.ne (local.get $size) (i32.const 10)) (then unreachable))
    (if (i32.ne (local.get 2) (i32.const 7000)) (then unreachable))))
"""


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: modules of every kind, good and bad."""
    (tmp_path / "modules").mkdir()
    for place in ("small.wat", "modules/small.wat", "odd=name.wat"):
        (tmp_path / place).write_text(MODULE)
    (tmp_path / "bad.wasm").write_bytes(b"\0asm\1\0\0\0junk")
    (tmp_path / "bad.wat").write_text("(module (func")
    (tmp_path / "elf.wasm").write_bytes(b"\x7fELF" + bytes(100))
    (tmp_path / "empty.wasm").touch()
    (tmp_path / "alien.wat").write_text(
        '(module (import "wasi" "exit" (func)) (memory (export "memory") 1) (func (export "start")))'
    )
    (tmp_path / "blind.wat").write_text('(module (func (export "start")))')
    (tmp_path / "early.wat").write_text(
        '(module (memory (export "memory") 1) (func $f unreachable) (start $f) (func (export "start")))'
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(module: str, *parameters: str, **options: Any) -> int:
    return run_guests([module], GuestOptions(parameters=parameters, **options))


DROP = ChannelBackpressure.DROP
EVERY = ("i8:-1", "u8:255", "i64:8589934593", "f32:.5", "f64:-2e3", "utf8:ab,")


@pytest.mark.parametrize(
    ("module", "parameters", "options"),
    [
        ("small.wat", (), {}),
        ("odd=name.wat", (), {}),
        ("small.wat", (), {"entrypoint": "start", "capabilities": "TimeRead,channel-writer,CHANNEL_READER"}),
        ("small.wat", ("text:abcd",), {"entrypoint": "four"}),
        ("small.wat", ("buffer:hex:00 01_02ff",), {"entrypoint": "four"}),
        ("small.wat", EVERY, {"entrypoint": "every"}),
        (
            "path=small.wat; capabilities=TimeRead; entrypoint=specified; log_uri=sel://logs;params=u16;args=7000",
            (),
            {},
        ),
        (
            "# a comment\npath = small.wat\ncapabilities = time_read\n"  # noqa: ISC004
            "entrypoint = specified\nlog-uri = sel://logs\nargs = u16:7000",
            (),
            {},
        ),
    ],
)
def test_guests_that_return(
    directory: Path, module: str, parameters: tuple[str, ...], options: dict[str, str]
) -> None:
    """Every form of description; the i64 is two words, the low one first."""
    assert run(module, *parameters, **options) == 0


@pytest.mark.parametrize(
    ("module", "parameters", "options", "why"),
    [
        ("none.wasm", (), {}, "there is no module none.wasm"),
        ("modules", (), {}, "there is no module modules"),
        ("elf.wasm", (), {}, "'elf.wasm' is not a WebAssembly module"),
        ("empty.wasm", (), {}, "'empty.wasm' is not a WebAssembly module"),
        ("bad.wasm", (), {}, "failed to parse WebAssembly module"),
        ("bad.wat", (), {}, "not valid in the text format: expected `)` in line 1, column 14"),
        ("alien.wat", (), {}, "unknown import: `wasi::exit`"),
        ("blind.wat", (), {}, "exports no memory"),
        ("early.wat", (), {}, "unreachable instruction"),
        ("small.wat", (), {"entrypoint": "missing"}, "exports no function named 'missing'"),
        ("small.wat", (), {"entrypoint": "number"}, "exports no function named 'number'"),
        ("small.wat", (), {"entrypoint": "answer"}, "'answer' returns (i32); its signature says ()"),
        ("small.wat", (), {"entrypoint": "four"}, "'four' takes (i32, i32); the arguments are ()"),
        ("small.wat", ("u8:1", "u8:2", "u8:3"), {"entrypoint": "four"}, "arguments are (i32, i32, i32)"),
        ("small.wat", ("f32:1", "f64:2"), {"entrypoint": "four"}, "the arguments are (f32, f64)"),
        ("small.wat", ("u8:256",), {}, "256 is out of range for u8"),
        ("small.wat", ("u8:-1",), {}, "expected a number of kind u8, got '-1'"),
        ("small.wat", ("i32:seven",), {}, "expected a number of kind i32, got 'seven'"),
        ("small.wat", ("7",), {}, "write it as KIND:VALUE"),
        ("small.wat", ("",), {}, "write it as KIND:VALUE"),
        ("small.wat", ("word:7",), {}, "write it as KIND:VALUE"),
        ("small.wat", ("buffer:hex:abc",), {}, "expected an even number of hexadecimal digits"),
        ("small.wat", (), {"capabilities": "Flying"}, "expected a capability (ActorLink"),
        ("small.wat", (), {"capabilities": "TimeRead,,"}, "empty item"),
        ("small.wat", (), {"capabilities": "200"}, "got '200'"),
        ("small.wat", (), {"capabilities": "Application200"}, "(Application200) is not part of this kernel"),
        ("path=small.wat", (), {}, "capabilities is missing"),
        ("capabilities=TimeRead", (), {}, "path is missing"),
        ("path=none.wat; capabilities=TimeRead", (), {}, "cannot read module 'none.wat'"),
        ("path=smal.wat; capabilities=TimeRead", (), {}, "did you mean 'small.wat'?"),
        ("smal.wat", (), {}, "there is no module smal.wat; did you mean 'small.wat'?"),
        ("path=../small.wat; capabilities=TimeRead", (), {}, "must be relative and free of '..'"),
        ("path=/small.wat; capabilities=TimeRead", (), {}, "must be relative and free of '..'"),
        ("path=small.wat; capabilities=TimeRead", (), {}, "'start' takes (); the arguments are (i32, i32)"),
        ("path=small.wat; capabilities=TimeRead; colour=red", (), {}, "not key=value with one of the keys"),
        ("path=small.wat; capabilities=TimeRead", ("u8:1",), {}, "sets entrypoint, capabilities"),
        ("path=small.wat; capabilities=TimeRead", (), {"entrypoint": "start"}, "sets entrypoint"),
        ("path=small.wat; capabilities=TimeRead", (), {"capabilities": ""}, "sets entrypoint"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    directory: Path, module: str, parameters: tuple[str, ...], options: dict[str, str], why: str
) -> None:
    """One line that says what is wrong."""
    with pytest.raises(Refusal) as caught:
        run(module, *parameters, **options)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_trap_is_told_with_its_place(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A guest that traps ends with status 3, and where it did is said."""
    assert run("small.wat", entrypoint="boom") == 3
    said = capsys.readouterr().err
    assert said.startswith("enfilade: the guest ended: trapped: unreachable instruction, in <module>!")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"limits": ["memory"]}, "expected NAME=VALUE, got 'memory'"),
        ({"limits": ["memroy=1MiB"]}, "got 'memroy'; did you mean 'memory'?"),
        ({"limits": ["memory=lots"]}, "memory"),
        ({"limits": ["children=0.5"]}, "children"),
        ({"entrypoint": "strat"}, "named 'strat'; did you mean 'start'?"),
        ({"capabilities": "TimeReed"}, "did you mean 'TimeRead'?"),
        ({"net_bind": ["localhost"]}, "'localhost' is not a network rule: expected an IPv4 or IPv6 address"),
        ({"net_connect": ["a:0"]}, "expected ports from 1 to 65535"),
    ],
)
def test_misspelt_options(directory: Path, options: dict[str, Any], why: str) -> None:
    """The message has the text that is wrong and, where there is one, the nearest name."""
    with pytest.raises(Refusal) as caught:
        run("small.wat", **options)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_limits_hold(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A limit is each guest's, and its name is in the reason of the end."""
    assert run("small.wat", entrypoint="spin", limits=["cpu_time=0.05", "memory=17MiB"]) == 3
    said = capsys.readouterr().err
    assert "cpu time exhausted: more than 0.050 seconds of cpu time, with 0.5 more each second" in said


def test_a_refusal_is_in_the_reason(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the guest was refused stands where the bare trap stood, with what to grant."""
    guest = Assembler("time::now")
    guest.function("start", f"(call $ok (call $time.now {guest.nothing}))")
    (directory / "clock.wasm").write_bytes(guest.binary())
    assert run("clock.wasm") == 3
    said = capsys.readouterr().err
    assert "trapped: unreachable instruction: selium::time::now was refused: the capability TimeRead" in said
    assert "--capabilities TimeRead" in said
    assert run("clock.wasm", capabilities="TimeRead") == 0


def parent_and_child(directory: Path) -> None:
    """A parent that starts a child with a capability that it does not have itself."""
    child = Assembler("time::now")
    child.function("start", f"(call $ok (call $time.now {child.nothing}))")
    (directory / "modules" / "child.wasm").write_bytes(child.binary())
    parent = Assembler("process::start")
    none = EntrypointInvocation(AbiSignature(()), ())
    wanted = ProcessStart("child.wasm", "start", (Capability.TIME_READ,), none)
    parent.function(
        "start", f"(drop (call $ok64 (call $process.start {parent.message(ProcessStart, wanted)})))"
    )
    (directory / "parent.wasm").write_bytes(parent.binary())


def test_grants_as_upstream_has_them(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By default a guest grants what it has; by upstream's rules, anything."""
    parent_and_child(directory)
    assert run("parent.wasm", capabilities="ProcessLifecycle") == 3
    said = capsys.readouterr().err
    assert "selium::process::start was refused: " in said
    assert "TimeRead" in said
    assert run("parent.wasm", capabilities="ProcessLifecycle", upstream_grants=True) == 0


def test_several_guests(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They run side by side; each end that is not normal is told, and makes the status 3."""
    bomb = "path=small.wat; capabilities=TimeRead; entrypoint=specified; args=u16:1"
    good = "path=small.wat; capabilities=TimeRead; entrypoint=specified; log_uri=sel://logs; args=u16:7000"
    assert run_guests(["small.wat", "small.wat", good], GuestOptions()) == 0
    assert capsys.readouterr().err == ""
    assert run_guests([bomb, good, bomb], GuestOptions()) == 3
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert all(line.startswith(f"enfilade: {bomb} ended: trapped: unreachable") for line in said)


def test_a_guest_that_cannot_start_ends_those_before_it(directory: Path) -> None:
    """As upstream's command does: all or nothing."""
    good = "path=small.wat; capabilities=TimeRead; entrypoint=specified; log_uri=sel://logs; args=u16:7000"
    missing = "path=small.wat; capabilities=TimeRead; entrypoint=missing"
    with pytest.raises(Refusal, match="exports no function named 'missing'"):
        run_guests([good, missing], GuestOptions())


def test_the_command_itself(directory: Path) -> None:
    """The options are those that the help names; wrong usage ends with status 2, a mistake with 1."""
    options = ("--entrypoint", "four", "--capabilities", "TimeRead", "--param", "utf8:a,bc")
    assert enfilade("guest", "run", "small.wat", *options).returncode == 0
    result = enfilade("guest", "run", "path=small.wat;capabilities=TimeRead;entrypoint=boom", cwd=directory)
    assert result.returncode == 1
    assert result.stderr.startswith("enfilade: path=small.wat")
    assert result.stderr.count("\n") == 1
    bounded = ("--limit", "memory=17MiB", "--limit", "resources=5", "--upstream-grants", "--finds", "a.*")
    assert (
        enfilade("guest", "run", *bounded, "--module", "small.wat", "--module", "small.wat").returncode == 0
    )
    assert enfilade("guest", "run").returncode == 2
    assert enfilade("guest", "run", "small.wat", "--colour", "red").returncode == 2


def test_the_log_is_on_the_terminal(directory: Path) -> None:
    """What a guest logs is a line each on standard error, of the level and the target that it gave; nothing
    is lost when it ends at once.
    """
    guest = Assembler(
        "channel::create", "channel::share", "process::register_log_channel", "channel::weak_writer_create",
        "channel::weak_write",
    )  # fmt: skip
    zero = guest.message(U32, 0)
    records = [
        guest.message(IoWrite, IoWrite(1, encode(LogRecord(level, "probe::net", f"line {number}"))))
        for number, level in enumerate([2, 4, 1] + [3] * 100)
    ]
    guest.function(
        "start",
        f"""
        (call $ok (call $channel.create {guest.message(ChannelCreate, ChannelCreate(1 << 19, DROP))}))
        (call $ok (call $channel.weak_writer_create {zero}))
        {"".join(f"(call $ok (call $channel.weak_write {record}))" for record in records)}
        (call $ok (call $channel.share {zero}))
        (call $ok (call $process.register_log_channel (global.get $result) (i32.const 8)))
        """,
    )
    (directory / "probe.wasm").write_bytes(guest.binary())
    capabilities = "ChannelLifecycle,ChannelWriter"
    result = enfilade("guest", "run", "probe.wasm", "--capabilities", capabilities, cwd=directory)
    assert result.returncode == 0, result.stderr
    lines = [line.split(maxsplit=2)[2] for line in result.stderr.splitlines()]
    assert lines == [
        "INFO enfilade.guest.probe.net line 0",
        "ERROR enfilade.guest.probe.net line 1",
        *(f"WARNING enfilade.guest.probe.net line {number}" for number in range(3, 103)),
    ]


def test_an_interrupted_guest_is_stopped(directory: Path) -> None:
    """SIGINT ends a guest that computes, and the command as shells expect it."""
    command = [sys.executable, "-m", "enfilade", "guest", "run", "small.wat", "--entrypoint", "spin"]
    with subprocess.Popen(command, cwd=directory, stderr=subprocess.PIPE, text=True) as process:
        try:
            until_it_computes(process.pid)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=240) == 130
            assert process.stderr is not None
            assert "Traceback" not in process.stderr.read()
        finally:
            process.kill()


def until_it_computes(pid: int) -> None:
    """Wait until the process has used two seconds of processor, more than it needs to start."""
    while True:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        if int(fields[11]) + int(fields[12]) > 400:
            return
        time.sleep(0.1)


def test_the_kits_are_where_the_command_says(directory: Path) -> None:
    """`enfilade guest sdk` prints a directory with the header for C and the library for Zig."""
    kits = Path(enfilade("guest", "sdk").stdout.strip())
    assert (kits / "c" / "enfilade.h").is_file()
    assert (kits / "zig" / "enfilade.zig").is_file()


CONNECTS = "path=connector.wasm; capabilities=NetHttpConnect; entrypoint=specified"


@pytest.mark.parametrize(
    ("module", "options", "status"),
    [
        ("connector.wasm", {"capabilities": "NetHttpConnect"}, 0),
        ("connector.wasm", {"capabilities": "NetHttpConnect", "net_connect": ["none"]}, 3),
        (CONNECTS, {}, 0),
        (f"{CONNECTS}; net_connect=none", {}, 3),
        (f"{CONNECTS}; net_connect=none", {"net_connect": ["127.0.0.0/8"]}, 0),
        (f"{CONNECTS}; net_bind=none", {"net_bind": ["127.0.0.1"]}, 0),
    ],
)
def test_rules_of_the_network(directory: Path, module: str, options: dict[str, Any], status: int) -> None:
    """The options' rules come before those of a specification, and those before the default."""
    for place in ("connector.wasm", "modules/connector.wasm"):
        (directory / place).write_bytes(CONNECTOR)
    assert run(module, **options) == status


def test_the_certificate_of_the_work_directory(directory: Path) -> None:
    """Listeners without settings of their own have it; without one they are refused."""
    (directory / "listener.wasm").write_bytes(listener(free_port()))
    options = {"capabilities": "NetHttpBind"}
    assert run("listener.wasm", **options) == 3
    certificate = trustme.CA().issue_cert("localhost")
    (directory / "certs").mkdir()
    certificate.cert_chain_pems[0].write_to_path(str(directory / "certs" / "server.crt"))
    key = directory / "certs" / "server.key"
    certificate.private_key_pem.write_to_path(str(key))
    key.chmod(0o600)
    assert run("listener.wasm", **options) == 0
    key.chmod(0o644)
    with pytest.raises(Refusal, match=r"the private key .* must be accessible to its owner alone"):
        run("listener.wasm", **options)
