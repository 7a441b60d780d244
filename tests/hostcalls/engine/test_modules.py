"""Compiling, describing, linking and caching modules."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import os
import stat
import threading
from pathlib import Path

import pytest
import wasmtime

from enfilade.hostcalls.engine import (
    Engine,
    EngineConfig,
    EngineUnavailable,
    Extern,
    ExternKind,
    FunctionType,
    Import,
    ImportedExtern,
    InvalidConfig,
    InvalidModule,
    Limits,
    Module,
    Step,
    ValueType,
    library,
)
from enfilade.hostcalls.engine.recent import Recent
from tests.hostcalls.engine.script import ignore, run_to_stop

I32, I64, F32, F64 = ValueType.I32, ValueType.I64, ValueType.F32, ValueType.F64


def wasm(wat: str) -> bytes:
    return bytes(wasmtime.wat2wasm(wat))


SAMPLE = wasm(
    """(module
  (import "test" "create" (func (param i32 i32) (result i32)))
  (import "selium::async" "yield_now" (func))
  (memory (export "memory") 1)
  (table (export "table") 1 funcref)
  (global (export "global") i64 (i64.const 1))
  (func (export "gr\u00fc\u00dfe") (param i32 i64 f32 f64) (result f64 i32) (f64.const 0) (i32.const 7))
  (func (export "seven") (result i32) (i32.const 7)))"""
)


class TestDescription:
    def test_imports_and_exports_are_typed(self, engine: Engine) -> None:
        module = engine.compile(SAMPLE)
        assert module.imports == (
            ImportedExtern("test", "create", ExternKind.FUNCTION, FunctionType((I32, I32), (I32,))),
            ImportedExtern("selium::async", "yield_now", ExternKind.FUNCTION, FunctionType((), ())),
        )
        assert module.exports == {
            "memory": Extern(ExternKind.MEMORY),
            "table": Extern(ExternKind.TABLE),
            "global": Extern(ExternKind.GLOBAL),
            "gr\u00fc\u00dfe": Extern(ExternKind.FUNCTION, FunctionType((I32, I64, F32, F64), (F64, I32))),
            "seven": Extern(ExternKind.FUNCTION, FunctionType((), (I32,))),
        }

    def test_other_types_have_a_name_too(self, engine: Engine) -> None:
        module = engine.compile(wasm('(module (func (export "f") (param v128 externref funcref)))'))
        function = module.exports["f"].function
        assert function is not None
        assert function.parameters == (ValueType.V128, ValueType.EXTERNREF, ValueType.FUNCREF)

    def test_the_digest_is_of_the_source(self, engine: Engine) -> None:
        module = engine.compile(SAMPLE)
        assert len(module.digest) == 64
        assert module.digest[:12] in repr(module)
        assert engine.compile(wasm("(module)")).digest != module.digest


class TestRefusal:
    @pytest.mark.parametrize(
        "source",
        [
            b"",
            b"(module)",
            b"\0asm",
            b"\0asm\x01\0\0\0\xff",
            b"\0asm\x0d\0\x01\0",
            SAMPLE[:-3],
            SAMPLE[:20] + b"\xff" + SAMPLE[21:],
            wasm("(module (func (result i32) i32.const 1))").replace(b"\x41\x01", b"\x42\x01"),
        ],
    )
    def test_bytes_that_are_no_module(self, engine: Engine, source: bytes) -> None:
        with pytest.raises(InvalidModule) as caught:
            engine.compile(source)
        assert str(caught.value)

    @pytest.mark.parametrize(
        "wat",
        [
            '(module (memory (export "memory") i64 1))',
            '(module (memory (export "memory") 1 2 shared))',
            '(module (memory (export "memory") 1) (memory 1))',
            "(module (type (struct (field i32))))",
            "(module (tag (param i32)))",
        ],
    )
    def test_proposals_that_escape_the_limits_are_off(self, engine: Engine, wat: str) -> None:
        with pytest.raises(InvalidModule):
            engine.compile(wasm(wat))

    def test_a_memory_larger_than_any_guest_may_have(self, engine: Engine) -> None:
        with pytest.raises(InvalidModule, match="memory"):
            engine.compile(wasm('(module (memory (export "memory") 2000))'))

    def test_a_source_that_is_too_long(self) -> None:
        with Engine(config=EngineConfig(max_guests=1, max_source=len(SAMPLE))) as engine:
            engine.compile(SAMPLE)
            with pytest.raises(InvalidModule, match="max_source"):
                engine.compile(SAMPLE + b"\0")

    def test_too_many_exports(self, engine: Engine) -> None:
        exports = "".join(f'(export "{n}" (func 0))' for n in range(10_001))
        with pytest.raises(InvalidModule, match="at most 10000 imports and exports, got 10001"):
            engine.compile(wasm(f"(module (func) {exports})"))

    def test_too_many_tables(self, engine: Engine) -> None:
        with pytest.raises(InvalidModule, match="tables"):
            engine.compile(wasm("(module " + "(table 1 funcref)" * 5 + ")"))


class TestSharing:
    def test_the_same_source_is_the_same_module(self, engine: Engine) -> None:
        module = engine.compile(SAMPLE)
        assert engine.compile(bytes(bytearray(SAMPLE))) is module

    def test_the_same_module_and_hostcalls_are_the_same_link(self, engine: Engine) -> None:
        module = engine.compile(SAMPLE)
        linked = engine.link(module, [Import("test", 1), Import("unused", 2)])
        assert engine.link(module, [Import("other", 3), Import("test", 1)]) is linked
        assert engine.link(module, [Import("test", 2)]) is not linked
        assert engine.link(module, [Import("test", 1, denied=True)]) is not linked

    def test_guests_outlive_what_they_were_made_from(self, engine: Engine) -> None:
        instance = engine.instantiate(
            engine.link(engine.compile(SAMPLE), [Import("test", 1)]), Limits(), ignore
        )
        gc.collect()
        instance.start("seven")
        assert run_to_stop(instance) is Step.FINISHED
        assert instance.results == (7,)

    def test_compiling_from_many_threads(self, engine: Engine) -> None:
        sources = [wasm(f'(module (func (export "f") (result i32) (i32.const {n})))') for n in range(8)]
        found: list[tuple[int, object]] = []
        threads = [
            threading.Thread(target=lambda n=n: found.append((n, engine.compile(sources[n]))))
            for n in list(range(8)) * 2
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 16
        assert len({id(module) for _, module in found}) == 8


class TestRecent:
    def test_the_latest_are_kept_and_the_others_while_in_use(self) -> None:
        class Value:
            pass

        made: list[int] = []

        def make(key: int) -> Value:
            made.append(key)
            return Value()

        recent: Recent[int, Value] = Recent(3)
        held = recent.find(0, lambda: make(0))
        for key in [1, 2, 3, 2, 4]:
            recent.find(key, lambda key=key: make(key))  # type: ignore[misc]
        gc.collect()
        assert recent.find(0, lambda: make(0)) is held
        for key in [4, 2, 1, 3]:
            recent.find(key, lambda key=key: make(key))  # type: ignore[misc]
        assert made == [0, 1, 2, 3, 4, 1, 3]

    def test_what_two_want_at_once_is_made_once(self) -> None:
        class Value:
            pass

        recent: Recent[int, Value] = Recent(3)
        begun, go_on = threading.Event(), threading.Event()
        made: list[Value] = []
        found: list[Value] = []

        def make() -> Value:
            begun.set()
            assert go_on.wait(30)
            made.append(Value())
            return made[-1]

        threads = [threading.Thread(target=lambda: found.append(recent.find(1, make))) for _ in range(5)]
        for thread in threads:
            thread.start()
        assert begun.wait(30)
        go_on.set()
        for thread in threads:
            thread.join()
        assert found == made * 5
        assert len(made) == 1

    def test_who_waited_for_one_that_failed_tries_too(self) -> None:
        class Value:
            pass

        recent: Recent[int, Value] = Recent(3)
        attempts: list[int] = []

        def make() -> Value:
            attempts.append(1)
            if len(attempts) == 1:
                raise ValueError
            return Value()

        with pytest.raises(ValueError):  # noqa: PT011 - any will do
            recent.find(1, make)
        value = recent.find(1, make)
        assert recent.clear() == [value]
        assert recent.find(1, make) is not value


def refuse_to_load(compiler: object, artifact: bytes) -> object:
    raise AssertionError("machine code was loaded")


def refuse_to_compile(compiler: object, source: bytes) -> object:
    raise AssertionError("compiled although the cache has it")


class TestCache:
    def config(self, path: Path, **sizes: int) -> EngineConfig:
        return EngineConfig(max_guests=4, cache_directory=path / "deep" / "cache", **sizes)

    def entries(self, path: Path) -> list[Path]:
        return sorted((path / "deep" / "cache").iterdir())

    def seven(self, config: EngineConfig) -> tuple[object, ...]:
        with Engine(config=config) as engine:
            linked = engine.link(engine.compile(SAMPLE), [Import("test", 1)])
            instance = engine.instantiate(linked, Limits(), ignore)
            instance.start("seven")
            run_to_stop(instance)
            return instance.results

    def test_a_compiled_module_is_kept_and_used(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = self.config(tmp_path)
        assert self.seven(config) == (7,)
        (entry,) = self.entries(tmp_path)
        assert stat.S_IMODE(os.stat(entry).st_mode) == 0o600
        assert stat.S_IMODE(os.stat(entry.parent).st_mode) == 0o700
        written = entry.stat().st_mtime_ns

        monkeypatch.setattr("enfilade.hostcalls.engine.engine.compile_module", refuse_to_compile)
        assert self.seven(config) == (7,)
        assert entry.stat().st_mtime_ns == written

    @pytest.mark.parametrize("damage", ["truncated", "empty", "flipped", "foreign", "checksummed nonsense"])
    def test_a_damaged_entry_is_ignored_and_written_anew(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
    ) -> None:
        config = self.config(tmp_path)
        self.seven(config)
        (entry,) = self.entries(tmp_path)
        sound = entry.read_bytes()
        damaged = {
            "truncated": sound[: len(sound) // 2],
            "empty": b"",
            "flipped": sound[:-100] + bytes([sound[-100] ^ 1]) + sound[-99:],
            "foreign": b"\x7fELF" * 1000,
            "checksummed nonsense": hashlib.sha256(b"nonsense").digest() + b"nonsense",
        }[damage]
        entry.write_bytes(damaged)
        assert self.seven(config) == (7,)
        assert self.entries(tmp_path) == [entry]
        assert entry.read_bytes() != damaged
        monkeypatch.setattr("enfilade.hostcalls.engine.engine.compile_module", refuse_to_compile)
        assert self.seven(config) == (7,)

    def test_other_sizes_make_another_entry(self, tmp_path: Path) -> None:
        self.seven(self.config(tmp_path))
        self.seven(self.config(tmp_path, stack=256 * 1024))
        assert len(self.entries(tmp_path)) == 2

    def test_another_version_makes_another_entry(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.seven(self.config(tmp_path))
        monkeypatch.setattr("enfilade.hostcalls.engine.engine.load_library", lambda: "50.99.0")
        self.seven(self.config(tmp_path))
        assert len(self.entries(tmp_path)) == 2

    @pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
    def test_a_directory_that_others_can_write_to_is_not_used(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
    ) -> None:
        config = self.config(tmp_path)
        self.seven(config)
        (entry,) = self.entries(tmp_path)
        entry.parent.chmod(mode)
        monkeypatch.setattr("enfilade.hostcalls.engine.engine.load_module", refuse_to_load)
        assert self.seven(config) == (7,)

    def test_a_directory_of_another_user_is_not_used(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = self.config(tmp_path)
        self.seven(config)
        monkeypatch.setattr("os.geteuid", lambda: 4711)
        monkeypatch.setattr("enfilade.hostcalls.engine.engine.load_module", refuse_to_load)
        assert self.seven(config) == (7,)

    def test_a_directory_that_cannot_be_made_does_no_harm(self, tmp_path: Path) -> None:
        (tmp_path / "deep").write_text("a file where the directory should be")
        assert self.seven(self.config(tmp_path)) == (7,)


class TestEngine:
    def test_a_closed_engine_refuses(self) -> None:
        engine = Engine(config=EngineConfig(max_guests=2))
        module = engine.compile(SAMPLE)
        linked = engine.link(module, [Import("test", 1)])
        engine.close()
        for call in (
            lambda: engine.compile(SAMPLE),
            lambda: engine.link(module, []),
            lambda: engine.instantiate(linked, Limits(), ignore),
            engine.fileno,
            engine.dispatch,
            lambda: engine.guests,
        ):
            with pytest.raises(EngineUnavailable):
                call()

    @pytest.mark.parametrize(
        "sizes",
        [
            {"max_guests": 0},
            {"max_guests": 2_000_000},
            {"max_memory": 100},
            {"max_memory": 65537},
            {"max_memory": 8 << 30},
            {"max_source": 0},
            {"stack": 1000},
            {"tick": 0.0},
            {"tick": 60.0},
            {"workers": -1},
            {"max_guests": 1_000_000, "max_memory": 1 << 32},
        ],
    )
    def test_impossible_sizes_are_refused(self, sizes: dict[str, float]) -> None:
        with pytest.raises(InvalidConfig):
            EngineConfig(**sizes)  # type: ignore[arg-type]

    def test_more_guests_than_the_kernel_grants_mappings_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        granted = tmp_path / "max_map_count"
        granted.write_text("65530\n")
        monkeypatch.setattr("enfilade.hostcalls.engine.config._MAX_MAP_COUNT", granted)
        EngineConfig(max_guests=10_000).check_mappings()
        with pytest.raises(InvalidConfig, match=r"enough for 10239; .* sysctl vm\.max_map_count=604096"):
            EngineConfig(max_guests=100_000).check_mappings()
        monkeypatch.setattr("enfilade.hostcalls.engine.config._MAX_MAP_COUNT", tmp_path / "missing")
        EngineConfig(max_guests=100_000).check_mappings()

    def test_mappings_that_are_in_use_count(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        granted, present = tmp_path / "max_map_count", tmp_path / "maps"
        granted.write_text("65530\n")
        present.write_bytes(b"\n" * 50_000)
        monkeypatch.setattr("enfilade.hostcalls.engine.config._MAX_MAP_COUNT", granted)
        monkeypatch.setattr("enfilade.hostcalls.engine.config._MAPPINGS", present)
        EngineConfig(max_guests=5000).check_mappings()
        with pytest.raises(InvalidConfig, match="50000 are in use"):
            EngineConfig(max_guests=6000).check_mappings()

    def test_address_space_that_is_not_to_be_had_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Wasmtime would end the process."""
        monkeypatch.setattr(EngineConfig, "check_mappings", lambda self: None)

        def open_many() -> None:
            with contextlib.ExitStack() as engines:
                for _ in range(20):
                    engines.enter_context(Engine(config=EngineConfig(max_guests=8000, workers=0)))

        with pytest.raises(InvalidConfig, match="address space"):
            open_many()

    @pytest.mark.parametrize("version", ["49.0.0", "51.2.0"])
    def test_another_major_version_is_refused(self, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
        monkeypatch.setattr("importlib.metadata.version", lambda name: version)
        with pytest.raises(EngineUnavailable, match=f"wasmtime {version} is installed"):
            library.load_library()

    def test_a_missing_library_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("platform.machine", lambda: "pdp11")
        with pytest.raises(EngineUnavailable, match="pdp11"):
            library.load_library()

    def test_compiling_survives_the_engine(self) -> None:
        """A node may close its engine while another thread still compiles for it."""
        functions = "".join(
            f"(func (param i32) (result i32) (i32.add (local.get 0) (i32.const {n})))" for n in range(20_000)
        )
        source = wasm(f"(module {functions})")
        engine = Engine(config=EngineConfig(max_guests=1))
        outcomes: list[object] = []

        def compile_it() -> None:
            try:
                outcomes.append(engine.compile(source))
            except EngineUnavailable as error:
                outcomes.append(error)

        thread = threading.Thread(target=compile_it)
        thread.start()
        engine.close()
        thread.join()
        assert isinstance(outcomes[0], Module | EngineUnavailable)

    def test_two_engines_live_side_by_side(self) -> None:
        with (
            Engine(config=EngineConfig(max_guests=2)) as one,
            Engine(config=EngineConfig(max_guests=2)) as other,
        ):
            assert one.compile(SAMPLE) is not other.compile(SAMPLE)


class TestLimits:
    def test_a_childs_limits_lie_within_its_parents(self) -> None:
        parent = Limits(memory=1 << 20, futures=10, cpu_time=5.0)
        child = Limits(memory=1 << 22, futures=3).within(parent)
        assert child == Limits(memory=1 << 20, futures=3, cpu_time=5.0)

    @pytest.mark.parametrize("name", ["memory", "futures", "cpu_time", "start_time", "queued_bytes"])
    @pytest.mark.parametrize("value", [0, -1, float("nan")])
    def test_a_limit_is_positive(self, name: str, value: float) -> None:
        with pytest.raises(ValueError, match=name):
            Limits(**{name: value})  # type: ignore[arg-type]

    @pytest.mark.parametrize("value", [-0.5, float("inf"), float("nan")])
    def test_a_renewal_may_be_0_and_not_without_end(self, value: float) -> None:
        assert Limits(cpu_renewal=0.0).cpu_renewal == 0
        with pytest.raises(ValueError, match="cpu_renewal must be 0 or more, and finite"):
            Limits(cpu_renewal=value)
