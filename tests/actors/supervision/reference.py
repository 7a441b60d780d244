"""OTP's supervisor as a blocking program: what the strategy is compared with.

Where `Strategy` hands out steps and is told how they ended, this one starts and stops at once, in the manner
of supervisor.erl. It is short because it may block, and so it is a second opinion on every order and every
count.
"""

from __future__ import annotations

from typing import Any

from enfilade.actors.messages.reasons import Reason
from enfilade.actors.supervision.child_spec import Child, Flags


class Entry:
    def __init__(self, spec: Child) -> None:
        self.spec = spec
        self.ref: str | None = None


class Reference:
    def __init__(self, flags: Flags, children: list[Child]) -> None:
        self.flags = flags
        self.entries = [Entry(spec) for spec in children]
        self.script: dict[object, list[Any]] = {}
        self.numbers: dict[object, int] = {}
        self.instants: list[float] = []
        self.log: list[str] = []
        self.retries: list[object] = []
        self.now = 0.0
        self.ended = False

    def shown(self) -> dict[object, str | None]:
        return {entry.spec.id: entry.ref for entry in self.entries}

    def entry(self, id: object) -> Entry | None:  # noqa: A002 (the field's name)
        return next((entry for entry in self.entries if entry.spec.id == id), None)

    def start(self, entry: Entry) -> bool:
        """Whether the start did not fail."""
        id = entry.spec.id  # noqa: A001 (the field's name)
        script = self.script.get(id, [])
        outcome = script.pop(0) if script else "ok"
        number = self.numbers[id] = self.numbers.get(id, 0) + 1
        if outcome == "ok":
            entry.ref = f"{id}{number}"
            self.log.append(f"start {entry.ref}")
        elif outcome == "ignore":
            self.log.append(f"ignored {id}{number}")
            self.down(entry)
        else:
            self.log.append(f"fails {id}{number}")
            entry.ref = None
        return outcome in ("ok", "ignore")

    def stop(self, entry: Entry) -> None:
        if entry.ref not in (None, "restarting"):
            self.log.append(f"stop {entry.ref}")
        self.down(entry)

    def down(self, entry: Entry) -> None:
        entry.ref = None
        if entry.spec.restart == "temporary" and entry in self.entries:
            self.entries.remove(entry)

    def boot(self) -> None:
        for entry in list(self.entries):
            if not self.start(entry):
                self.end()
                return

    def end(self) -> None:
        self.ended = True
        for entry in reversed(list(self.entries)):
            self.stop(entry)

    def exited(self, id: object, reason: Reason) -> None:  # noqa: A002 (the field's name)
        entry = self.entry(id)
        assert entry is not None
        restart = entry.spec.restart
        if restart == "permanent" or (restart == "transient" and not reason.is_normal):
            entry.ref = None
            self.restart(entry)
            return
        self.down(entry)
        if entry.spec.significant:
            others = [other for other in self.entries if other is not entry and other.spec.significant]
            alive = [other for other in others if other.ref not in (None, "restarting")]
            if self.flags.auto_shutdown == "any_significant" or not alive:
                self.end()

    def restart(self, entry: Entry) -> None:
        self.instants = [self.now] + [one for one in self.instants if one >= self.now - self.flags.period]
        if len(self.instants) > self.flags.intensity:
            self.down(entry)
            self.end()
            return
        position = self.entries.index(entry)
        group = {
            "one_for_one": [entry],
            "one_for_all": list(self.entries),
            "rest_for_one": self.entries[position:],
        }[self.flags.strategy]
        for other in reversed(group):
            if other is not entry:
                self.stop(other)
        for other in group:
            if other in self.entries and not self.start(other):
                other.ref = "restarting"
                self.retries.append(other.spec.id)
                return

    def retry(self) -> None:
        entry = self.entry(self.retries.pop(0))
        if entry is not None and entry.ref == "restarting":
            self.restart(entry)

    def start_child(self, spec: Child) -> str | None:
        """What the request comes to: a ref, None, or the name of the refusal."""
        present = self.entry(spec.id)
        if present is not None:
            return "AlreadyPresent" if present.ref in (None, "restarting") else "ChildRunning"
        entry = Entry(spec)
        self.entries.append(entry)
        if not self.start(entry):
            self.entries.remove(entry)
            return "StartFailed"
        return entry.ref

    def restart_child(self, id: object) -> str | None:  # noqa: A002 (the field's name)
        entry = self.entry(id)
        if entry is None:
            return "ChildNotFound"
        if entry.ref is not None:
            return "ChildRestarting" if entry.ref == "restarting" else "ChildRunning"
        return entry.ref if self.start(entry) else "StartFailed"

    def terminate_child(self, id: object) -> str | None:  # noqa: A002 (the field's name)
        entry = self.entry(id)
        if entry is None:
            return "ChildNotFound"
        self.stop(entry)
        return None

    def delete_child(self, id: object) -> str | None:  # noqa: A002 (the field's name)
        entry = self.entry(id)
        if entry is None:
            return "ChildNotFound"
        if entry.ref is not None:
            return "ChildRestarting" if entry.ref == "restarting" else "ChildRunning"
        self.entries.remove(entry)
        return None
