"""The way in: addresses that are good once, and the sessions that they open."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable
from typing import Final

import attrs

__all__ = ["Entry"]

TOKEN_SECONDS: Final = 60.0
"""Seconds for which an address is good."""

SESSION_SECONDS: Final = 12 * 3600.0
"""Seconds after which a session ends."""

TRIES: Final = 10
TRIES_SECONDS: Final = 60.0
"""How many wrong addresses are answered in that time; more are refused unread."""

MOST_SESSIONS: Final = 64
"""How many sessions there may be; the oldest ends for one more."""


@attrs.frozen
class _Secret:
    """A secret, and when it ends to be good."""

    text: str
    until: float


class Entry:
    """Opens sessions.

    Args:
        now: the clock, in seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._token: _Secret | None = None
        self._sessions: deque[_Secret] = deque(maxlen=MOST_SESSIONS)
        self._wrong: deque[float] = deque(maxlen=TRIES)

    def token(self) -> str:
        """A new token, in the place of the one before, good once and for a minute."""
        self._token = _Secret(secrets.token_urlsafe(32), self._now() + TOKEN_SECONDS)
        return self._token.text

    @property
    def is_barred(self) -> bool:
        """True while too many wrong tokens have been tried."""
        return len(self._wrong) == TRIES and self._now() - self._wrong[0] < TRIES_SECONDS

    def open(self, token: str) -> str | None:
        """Take a token, and return the session that it opens; None if it is wrong."""
        right = self._token
        if right is None or not _is_good(right, token, self._now()):
            self._wrong.append(self._now())
            return None
        self._token = None
        session = _Secret(secrets.token_urlsafe(32), self._now() + SESSION_SECONDS)
        self._sessions.append(session)
        return session.text

    def knows(self, session: str) -> bool:
        """Tell whether there is such a session. All are compared, so that the time tells nothing."""
        now = self._now()
        return sum(_is_good(each, session, now) for each in self._sessions) > 0


def _is_good(secret: _Secret, given: str, now: float) -> bool:
    is_same = secrets.compare_digest(secret.text.encode(), given.encode("utf-8", "replace"))
    return is_same and now < secret.until
