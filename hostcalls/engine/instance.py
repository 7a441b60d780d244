"""One guest: its linear memory, its call, and what it asks of the host.

A guest is resumed by the host and runs until it stops by itself or is stopped; between two resumes it
stands still, and only then may its memory be touched. The life of a guest:

    start -> resume -> PARKED     it waits in `yield_now` until a future that it polled is answered
                    -> PREEMPTED  its time slice is over, or it has asked for much; resume it again
                    -> FINISHED   the entrypoint returned; `results`
                    -> TRAPPED    it was cut short; `trap`

`run` is the host's loop: it resumes the guest and serves what the guest asks for, over and over. A host that
would rather do that itself takes `submissions()` after each stop, and answers each operation once, now or
later, with `complete`, `offer` or `fail`.

A guest that computes is handed to a worker thread with `offload`: it then runs beside the caller until it
parks, ends or has asked for something, and `Engine.dispatch` reports that through `wake`.

Instances are not thread-safe: all methods are called from the thread that runs the engine's loop.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol, TypeAlias

from enfilade.hostcalls.engine._engine import ffi, lib
from enfilade.hostcalls.engine.call import FORMATS, Call, call_of
from enfilade.hostcalls.engine.errors import BadMemoryAccess, GuestBusy, InstanceClosed
from enfilade.hostcalls.engine.module import ValueType
from enfilade.hostcalls.engine.traps import Trap, read_trap

if TYPE_CHECKING:
    from enfilade.hostcalls.engine.linked import Linked

Submission: TypeAlias = tuple[int, int, bytes]
"""An operation that the guest has begun: the future's key, the hostcall's index (`Import.index`), the
arguments. Or, with `DROPPED`, `TAKEN` or `RETURNED` in the index's place, what has become of the future. The
key is unique in the life of the instance; its low 32 bits are the future id that the guest sees."""

DROPPED: Final[int] = lib.RECORD_DROPPED
"""The guest has dropped a future that had no answer, or an offer."""

TAKEN: Final[int] = lib.RECORD_TAKEN
"""The guest has polled a future that had an offer, and has its result."""

RETURNED: Final[int] = lib.RECORD_RETURNED
"""The guest has dropped a future with an answer that returns (`Import.returns`). The hostcall's index, as an
unsigned number of 32 bits, and the answer are in the arguments' place."""

_HEADER = struct.Struct("<QII")

# The word that the shim answers after each run: the step, flags, and above them the size of the
# submissions.
_STEP_MASK = 3
_HAS_SUBMISSIONS = lib.HAS_SUBMISSIONS
_HAS_REFUSALS = lib.HAS_REFUSALS
_RUNNABLE = lib.RUNNABLE
_STAGED = lib.STAGED
_SIZE_SHIFT = lib.SIZE_SHIFT
_NO_KEY = lib.NO_KEY
_BUSY = _STEP_MASK | _RUNNABLE | _HAS_SUBMISSIONS  # unless it is parked, and does nothing before it is woken

# A look-up in `lib` costs as much as a short hostcall.
_guest_start = lib.guest_start
_guest_close = lib.guest_close
_guest_resume = lib.guest_resume
_guest_advance = lib.guest_advance
_guest_submissions = lib.guest_submissions
_guest_complete = lib.guest_complete
_unpack_header = _HEADER.unpack_from

_NONE: Final[tuple[int, ...]] = ()


class Step(enum.IntEnum):
    """Why a guest stands still."""

    PARKED = 0
    PREEMPTED = 1
    FINISHED = 2
    TRAPPED = 3


_STEPS = tuple(Step)


class Pause(enum.Enum):
    """The state in which `Instance.run` left a guest."""

    WAITING = "it cannot go on before `wake`"
    READY = "it could go on, but its time is over"
    COMPUTING = "it was preempted, and has asked for nothing for a whole time slice"
    ENDED = "it has finished, has trapped, or was closed"


class Server(Protocol):
    """The server of a guest that `Instance.run` runs."""

    def serve(self, future: int, index: int, arguments: bytes) -> bytes | None:
        """Begin the operation `future` of the hostcall `index` (`Import.index`).

        Returns its encoded output; or None, when `Instance.complete`, `offer` or `fail` gives the answer. May
        close the instance.

        Or, if `index` is `DROPPED`, `TAKEN` or `RETURNED`, note what has become of the future, and return
        None.
        """
        ...


class Instance:
    """A guest made by `Engine.instantiate`. It must be closed, which is safe at any time.

    Attributes:
        linked: what it was made from.
        wake: called in the loop's thread whenever the guest becomes runnable other than by `start` or
            `resume`: a future it waits for was completed, or its run on a worker has come to a stop. It may
            be called more often than needed, and never after `close`.
        is_alone: while the server of `run` serves an operation, whether the guest has begun no other that
            was not served.
    """

    __slots__ = (
        "_clock",
        "_forget",
        "_guest",
        "_key",
        "_resting",
        "_stage",
        "_started",
        "_unserved",
        "_word",
        "is_alone",
        "linked",
        "wake",
    )

    def __init__(
        self,
        guest: Any,
        key: int,
        linked: Linked,
        wake: Callable[[], None],
        clock: Callable[[], float],
        stage: Any,
        forget: Callable[[int], None],
    ) -> None:
        self._clock = clock
        self.linked = linked
        self.wake = wake
        self._stage = stage
        self._forget = forget
        self._key = key
        self._guest = guest  # None once closed
        self._resting = guest  # the same, but None also while a worker has it
        self._word = int(Step.PARKED)
        self._unserved = b""  # submissions that `run` has taken and had no time for
        self._started = False
        self.is_alone = False

    # --- memory -------------------------------------------------------------------------------------------

    @property
    def memory_size(self) -> int:
        """The bytes of linear memory that the guest has now; at least 16 MiB, unless its limits say less.

        Raises `GuestBusy` while the guest runs on a worker, `InstanceClosed` after `close`.
        """
        return self._memory()[1]

    def read(self, offset: int, size: int) -> bytes:
        """Return a copy of `size` bytes of linear memory at `offset`.

        Raises `BadMemoryAccess` if they are not all inside, `GuestBusy` while the guest runs on a worker,
        `InstanceClosed` after `close`.
        """
        base, limit = self._memory()
        if offset < 0 or size < 0 or offset + size > limit:
            raise BadMemoryAccess(f"reading {size} bytes at {offset} of a memory of {limit} bytes")
        return bytes(ffi.buffer(base + offset, size))

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Copy `data` into linear memory at `offset`. Raises as `read` does."""
        base, limit = self._memory()
        if offset < 0 or offset + len(data) > limit:
            raise BadMemoryAccess(f"writing {len(data)} bytes at {offset} of a memory of {limit} bytes")
        ffi.memmove(base + offset, data, len(data))

    def _memory(self) -> tuple[Any, int]:
        guest = self._rested()
        size = ffi.new("size_t *")
        return lib.guest_memory(guest, size), size[0]

    # --- running ------------------------------------------------------------------------------------------

    def start(self, export: str, values: Sequence[int | float] = ()) -> None:
        """Begin a call of the exported function `export`; nothing runs before `resume`.

        Args:
            export: the function's export name.
            values: one number for each parameter. Integers may be given signed or unsigned.

        Raises:
            BadEntrypoint: there is no such function, or it takes other values.
            GuestBusy: a call was begun before. An instance runs one call in its life.
            InstanceClosed: after `close`.
        """
        self._rested()
        self.begin(call_of(self.linked.module, export, values))

    def begin(self, call: Call) -> None:
        """Begin a call that was made for this instance's module; nothing runs before `resume`.

        Raises `GuestBusy` if a call was begun before, `InstanceClosed` after `close`.
        """
        guest = self._resting
        if guest is None:
            self._refuse()
        if self._started:
            raise GuestBusy("the guest was started before; an instance runs one call in its life")
        name, kinds = call.name, call.kinds
        if not _guest_start(guest, name, len(name), kinds, call.values, len(kinds), call.results):
            raise MemoryError(f"no memory to call the function {name.decode()!r}")
        self._started = True
        self._word |= _RUNNABLE

    def resume(self) -> Step:
        """Run the guest until it stops, for about one tick at most, and return why it stopped.

        The interpreter lock is released meanwhile. Not a checkpoint. A guest that was not started, or has
        ended, does not run; the answer is then PARKED or what it was.

        Raises `GuestBusy` while the guest runs on a worker, `InstanceClosed` after `close`.
        """
        guest = self._resting
        if guest is None:
            self._refuse()
        word = self._word = _guest_resume(guest)
        return _STEPS[word & _STEP_MASK]

    def run(self, server: Server, seconds: float, *, suspect: bool = False) -> Pause:
        """Run the guest and serve what it asks for, until it waits, ends, or the time is over.

        This is `resume`, `submissions` and `complete` in a loop, with one call into the shim for a
        hostcall that is answered at once. Not a checkpoint.

        Args:
            server: answers operations.
            seconds: how long, on the engine's clock; looked at between any two operations, and each time the
                guest has stopped.
            suspect: take a guest that is preempted for one that computes, whether it has asked for something
                before or not.

        Raises `GuestBusy` while the guest runs on a worker, `InstanceClosed` after `close`.
        """
        guest = self._resting
        if guest is None:
            self._refuse()
        serve, stage, clock = server.serve, self._stage, self._clock
        deadline = clock() + seconds
        records: bytes | memoryview
        records, self._unserved = self._unserved, b""
        asked = bool(records)  # since it was preempted last
        future, answer = _NO_KEY, b""
        while self._guest is not None:
            if not records:
                word = self._word = _guest_advance(guest, future, answer, len(answer))
                future = _NO_KEY
                if word & _STAGED:
                    key, index, length = _unpack_header(stage)
                    # One operation has a header of 16 bytes, and 7 of padding at most.
                    if word >> _SIZE_SHIFT <= length + 23:
                        self.is_alone = True
                        reply = serve(key, index, stage[16 : 16 + length] if length else b"")
                        if self._guest is None:
                            return Pause.ENDED
                        asked = True
                        if reply is not None:
                            future, answer = key, reply
                        elif not self._word & _BUSY:
                            return Pause.WAITING
                        if clock() <= deadline:
                            continue
                        if future != _NO_KEY:
                            self._store(future, answer)
                        return Pause.READY
                    records = stage[: word >> _SIZE_SHIFT]
                elif word & _HAS_SUBMISSIONS:
                    records = self._take()
                elif not word & _RUNNABLE:
                    return Pause.ENDED if word & _STEP_MASK >= Step.FINISHED else Pause.WAITING
                elif suspect or not asked:
                    return Pause.COMPUTING
            asked = bool(records)
            position, size = 0, len(records)
            self.is_alone = False
            while position < size:
                key, index, length = _unpack_header(records, position)
                position += 16
                reply = serve(key, index, bytes(records[position : position + length]))
                if self._guest is None:
                    return Pause.ENDED
                position += (length + 7) & ~7
                if reply is not None:
                    if future != _NO_KEY:
                        self._store(future, answer)
                    future, answer = key, reply
                if position < size and clock() > deadline:
                    break
            records = records[position:]
            if clock() > deadline:
                if future != _NO_KEY:
                    self._store(future, answer)
                self._unserved = bytes(records)
                return Pause.READY
        return Pause.ENDED

    def _take(self) -> memoryview:
        """Take the records of all submissions; they are there until the next ones are taken, or `close`."""
        word = self._word
        self._word = word & ~_HAS_SUBMISSIONS
        return memoryview(ffi.buffer(_guest_submissions(self._resting), word >> _SIZE_SHIFT))

    def _store(self, future: int, payload: bytes) -> None:
        """Answer `future` from within `run`, where nobody need be woken."""
        if _guest_complete(self._guest, future, payload, len(payload)):
            self._word |= _RUNNABLE

    def offload(self) -> None:
        """Let the guest go on on a worker thread until it parks, ends, or has submissions for the host.

        Then `Engine.dispatch` calls `wake`, and `step` says why it stopped. Meanwhile `complete`, `fail`,
        `release`, `interrupt` and `close` are allowed.

        Raises `GuestBusy` if the guest is not runnable or the engine has no workers, `InstanceClosed` after
        `close`.
        """
        guest = self._rested()
        if not self._word & _RUNNABLE:
            raise GuestBusy("the guest is not runnable, so there is nothing to offload")
        if not lib.guest_offload(guest):
            raise GuestBusy("the engine has no worker threads (EngineConfig.workers is 0)")
        self._resting = None
        self._word &= ~_RUNNABLE

    @property
    def runnable(self) -> bool:
        """True if `resume` can continue the guest: just started, preempted, or parked and woken."""
        return bool(self._word & _RUNNABLE)

    @property
    def offloaded(self) -> bool:
        """True while the guest belongs to the worker threads."""
        return self._resting is None and self._guest is not None

    @property
    def rests(self) -> bool:
        """True while the guest waits in `yield_now`, and has asked for nothing that was not served."""
        return self._resting is not None and not self._word & _BUSY and not self._unserved

    @property
    def step(self) -> Step:
        """Why the guest stopped last; PARKED before the first time."""
        return _STEPS[self._word & _STEP_MASK]

    def interrupt(self) -> None:
        """Make a computing guest stop at its next loop or call, as a trap of the kind `TrapKind.STOPPED`.

        A parked guest stops when it is next resumed; this makes it runnable. Raises `InstanceClosed` after
        `close`.
        """
        if self._guest is None:
            self._refuse()
        self._woken(lib.guest_interrupt(self._guest))

    def release(self) -> None:
        """Let a parked guest out of `yield_now` once, with nothing in its mailbox (docs/guests.md,
        "The guest's mailbox").

        A runtime that shuts down does this so that guests look around once more. Raises `InstanceClosed`
        after `close`.
        """
        if self._guest is None:
            self._refuse()
        self._woken(lib.guest_release(self._guest))

    @property
    def ending(self) -> bool:
        """True once the guest is to end when it runs next; answers are then no longer kept.

        It was told to, or it has exceeded a limit. Raises `InstanceClosed` after `close`.
        """
        if self._guest is None:
            self._refuse()
        return bool(lib.guest_ending(self._guest))

    # --- the guest's operations ---------------------------------------------------------------------------

    def submissions(self) -> list[Submission]:
        """Take all operations that the guest has begun since the last time, and what has become of futures,
        in order.

        Operations of denied imports are not among them. An operation goes on or is cancelled as its driver
        likes when its future is dropped; answering it is allowed and does nothing. Raises `GuestBusy` while
        the guest runs on a worker, `InstanceClosed` after `close`.
        """
        guest = self._resting
        if guest is None:
            self._refuse()
        taken: bytes | memoryview = self._unserved
        if self._word & _HAS_SUBMISSIONS:
            taken = self._unserved + self._take()
        self._unserved = b""
        size = len(taken)
        found: list[Submission] = []
        position = 0
        while position < size:
            future, index, length = _unpack_header(taken, position)
            position += 16
            found.append((future, index, bytes(taken[position : position + length])))
            position += (length + 7) & ~7
        return found

    def return_results(self) -> None:
        """Take every answer that returns, and that the guest has not polled, away from the guest.

        Each is among the submissions then, `RETURNED`. Raises `GuestBusy` while the guest runs on a worker,
        `InstanceClosed` after `close`.
        """
        self._word = lib.guest_return_results(self._rested()) | (self._word & _RUNNABLE)

    def refusals(self) -> Sequence[int]:
        """Take the indices of the denied hostcalls that the guest has made, each once in its life.

        Raises `GuestBusy` while the guest runs on a worker, `InstanceClosed` after `close`.
        """
        if not self._word & _HAS_REFUSALS:
            return _NONE
        guest = self._rested()
        self._word &= ~_HAS_REFUSALS
        data = ffi.new("const uint32_t **")
        count = lib.guest_refusals(guest, data)
        return tuple(ffi.unpack(data[0], count))

    def complete(self, future: int, payload: bytes) -> None:
        """Answer the operation `future` with its encoded output.

        The first answer counts; an answer to a future that is gone is ignored. `wake` is called if this
        makes the guest runnable. Raises `InstanceClosed` after `close`.
        """
        if self._guest is None:
            self._refuse()
        if _guest_complete(self._guest, future, payload, len(payload)) and not self._word & _RUNNABLE:
            self._word |= _RUNNABLE
            self.wake()

    def offer(self, future: int, payload: bytes) -> None:
        """Answer the operation `future` with its encoded output, and hear whether the guest takes it.

        As `complete`; a submission `TAKEN` or `DROPPED` follows, unless the guest ends before.
        """
        if self._guest is None:
            self._refuse()
        self._woken(lib.guest_offer(self._guest, future, payload, len(payload)))

    def fail(self, future: int, message: str) -> None:
        """Answer the operation `future` with an error text; otherwise as `complete`.

        The guest reads the text cut to its buffer (docs/guests.md, "Result words and errors").
        """
        if self._guest is None:
            self._refuse()
        text = message.encode(errors="replace")
        self._woken(lib.guest_fail(self._guest, future, text, len(text)))

    def _woken(self, runnable: bool) -> None:
        if runnable and not self._word & _RUNNABLE:
            self._word |= _RUNNABLE
            self.wake()

    # --- the end ------------------------------------------------------------------------------------------

    @property
    def results(self) -> tuple[int | float, ...]:
        """The results of the entrypoint, integers as signed; empty before FINISHED."""
        guest = self._rested()
        if self.step is not Step.FINISHED:
            return ()
        found: list[int | float] = []
        bits = ffi.new("uint64_t *")
        for position in range(lib.guest_result_count(guest)):
            kind = ValueType(lib.guest_result(guest, position, bits))
            (value,) = struct.unpack(FORMATS[kind], struct.pack("<Q", bits[0]))
            found.append(value)
        return tuple(found)

    @property
    def trap(self) -> Trap | None:
        """The trap that ended the guest; None before TRAPPED."""
        guest = self._rested()
        return read_trap(guest) if self.step is Step.TRAPPED else None

    @property
    def cpu_time(self) -> float:
        """Seconds during which the guest has run, the start function and its runs on workers included."""
        if self._guest is None:
            self._refuse()
        return float(lib.guest_cpu_time(self._guest)) * 1e-9

    @property
    def closed(self) -> bool:
        """True once `close` was called."""
        return self._guest is None

    def close(self) -> None:
        """Release everything the guest holds: stack, memory, futures, submissions.

        Safe at any time and any number of times. A guest that runs on a worker is told to stop and released
        there as soon as it does; this call does not wait.
        """
        if self._guest is not None:
            guest = self._guest
            self._guest = self._resting = None
            self._unserved = b""
            self._word &= ~_RUNNABLE
            self._forget(self._key)
            _guest_close(guest)

    # --- for the engine -----------------------------------------------------------------------------------

    def _stopped(self, word: int) -> None:
        """Take over from the workers; `word` is as from `guest_resume`.

        The guest may have become runnable since `word` was read, by what the wake of another did.
        """
        self._word = word | (self._word & _RUNNABLE)
        self._resting = self._guest
        self.wake()

    @property
    def at_rest(self) -> Any:
        """The guest, for the shim. Raises as `_refuse`."""
        return self._rested()

    def came_to_rest(self, word: int) -> None:
        """Note what the shim says of the guest after it has run it; `word` is as from `guest_resume`."""
        self._word = word

    def _rested(self) -> Any:
        if self._resting is None:
            self._refuse()
        return self._resting

    def _refuse(self) -> NoReturn:
        if self._guest is None:
            raise InstanceClosed("the instance is closed")
        raise GuestBusy("the guest runs on a worker; wait for wake")
