"""The rules for every request, and the header fields of every answer.

The server listens on this machine alone, but each page in the browser can send requests there, and a foreign
name can be made to lead there. So a request must name this server as its host, and must not come from a page
of another one.
"""

from __future__ import annotations

from typing import Final

from enfilade.actors.cli.observe.web.http import Answer, Request

__all__ = ["HEADERS", "Gate"]

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
"""The page may load nothing but its own files, and make no markup from text."""

HEADERS: Final = (
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-store"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
)
"""The header fields of all answers."""


class Gate:
    """Judges requests.

    Args:
        port: the port of the server.
    """

    def __init__(self, port: int) -> None:
        self.cookie = f"enfilade-{port}"  # cookies know no ports, and there may be several servers
        self._hosts = frozenset(f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]"))

    def refusal(self, request: Request) -> Answer | None:
        """The answer to a request that is refused whoever sends it; None for any other."""
        host = request.header("host")
        if host not in self._hosts:
            return _said(421, "this server answers to 127.0.0.1, [::1] and localhost, with its port")
        if request.method not in ("GET", "HEAD"):
            return Answer(405, headers=(*HEADERS, ("allow", "GET, HEAD")))
        site = request.header("sec-fetch-site")
        if site not in (None, "same-origin", "none"):
            return _said(403, "another page has sent this request")
        return None

    def refusal_of_link(self, request: Request) -> Answer | None:
        """The answer to a request for a WebSocket from another page than ours; None for any other."""
        if request.header("origin") != f"http://{request.header('host')}":
            return _said(403, "the page of another server has sent this request")
        return None

    def session(self, request: Request) -> str:
        """The session that a request names; "" if it names none."""
        for part in (request.header("cookie") or "").split(";"):
            name, _, value = part.strip().partition("=")
            if name == self.cookie:
                return value
        return ""

    def welcome(self, session: str) -> Answer:
        """The answer that has the browser keep a session and show the page."""
        cookie = f"{self.cookie}={session}; HttpOnly; SameSite=Strict; Path=/"
        return Answer(303, headers=(*HEADERS, ("location", "/"), ("set-cookie", cookie)))


def _said(status: int, text: str) -> Answer:
    return Answer(status, f"{text}\n".encode(), headers=HEADERS)
