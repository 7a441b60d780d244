"""Random scripts for state machines, in a form that both Erlang and this runtime can read.

A script says first what the machine does:

    real_time                      the script has timers: Erlang says "late" if it does not keep up
    state STATE UNITS              the state has a time limit; its end is the event "lasted"
    on STATE EVENT ACTION...       what happens at an event in a state; otherwise nothing

and then what happens to it:

    boot STATE
    events KIND:EVENT[:LABEL]...   all are in the mailbox before the first is handled; KIND is cast, send or
                                   call, whose answer is written down with the label
    wait UNITS

Actions: `next STATE`, `postpone`, `insert EVENT` (handled before all others), `timer KEY UNITS`,
whose end is the event KEY, `cancel KEY`, `idle UNITS`, `owe` (a call is not answered now), `pay` (the oldest
of those is), `stop REASON`, `crash`.

Each command is answered by one line: the command, what the machine has seen, in order, and the answers that
callers got, sorted. Not tried, because they differ: `repeat_state`, which is no change of state as
`become(again=True)` is, and inserted events beside an event time-out, which OTP's cancel.
"""

from __future__ import annotations

import random
from typing import Final

__all__ = ["STATES", "generate"]

STATES: Final = ("a", "b", "c")
EVENTS: Final = ("e", "f", "g", "h")
TIMERS: Final = ("red", "blue")


class Author:
    """Writes one script."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.timed = self.random.random() < 0.4
        self.labels = 0

    def script(self) -> list[str]:
        """The lines of the script."""
        lines = []
        if self.timed:
            lines.append("real_time")
            lines += [
                f"state {state} {self.random.randrange(1, 4)}"
                for state in STATES
                if self.random.random() < 0.4
            ]
        events = (*EVENTS, *(("lasted", "idle", *TIMERS) if self.timed else ()))
        for state in STATES:
            for event in events:
                if self.random.random() < 0.85:
                    lines.append(f"on {state} {event} {' '.join(self.actions(state, event))}".rstrip())
        lines.append(f"boot {self.random.choice(STATES)}")
        for _ in range(self.random.randrange(2, 7)):
            lines.append("events " + " ".join(self.event() for _ in range(self.random.randrange(1, 7))))
            if self.timed:
                lines.append(f"wait {self.random.randrange(1, 4)}")
        return lines

    def actions(self, state: str, event: str) -> list[str]:
        """What happens at `event` in a state."""
        chance = self.random.random
        found: list[str] = []
        if chance() < 0.35:
            found.append("postpone")
        elif chance() < 0.15:
            found.append("owe")
        if chance() < 0.15:
            found.append("pay")
        # Only later events are inserted, so that there is an end to it.
        later = [each for each in EVENTS if each > event] if event in EVENTS else list(EVENTS[1:])
        if later and "postpone" not in found and chance() < 0.2:
            found += ["insert", self.random.choice(later)]
        if self.timed and chance() < 0.25:
            found += ["timer", self.random.choice(TIMERS), str(self.random.randrange(1, 4))]
        elif self.timed and chance() < 0.1:
            found += ["cancel", self.random.choice(TIMERS)]
        if self.timed and "insert" not in found and chance() < 0.2:
            found += ["idle", str(self.random.randrange(1, 3))]
        # Whoever postpones and goes on at once goes up, so that there is an end to that, too.
        others = [each for each in STATES if "postpone" not in found or each > state]
        if others and chance() < 0.45:
            found += ["next", self.random.choice(others)]
        elif "postpone" not in found and chance() < 0.04:
            found += self.random.choice((["stop", "normal"], ["stop", "boom"], ["crash"]))
        return found

    def event(self) -> str:
        """One event of a command."""
        kind = self.random.choice(("cast", "cast", "send", "call"))
        event = self.random.choice(EVENTS)
        if kind != "call":
            return f"{kind}:{event}"
        self.labels += 1
        return f"call:{event}:{self.labels}"


def generate(seed: int) -> list[str]:
    """The script of a seed."""
    return Author(seed).script()
