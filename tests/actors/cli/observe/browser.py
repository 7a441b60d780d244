"""Headless Chromium, driven by its own protocol over a pair of pipes: no package is needed for that."""

from __future__ import annotations

import fcntl
import json
import math
import os
import shutil
import subprocess
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

FOUND = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

needs_browser = pytest.mark.skipif(FOUND is None, reason="needs Chromium: apt-get install chromium")

FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--hide-scrollbars",
    "--mute-audio",
    "--no-first-run",
    "--no-sandbox",  # the tests may run as root
)

LIMIT = 60.0
"""Seconds for anything that a browser is to do."""

FOR_THE_BROWSER = (3, 4)
"""The descriptors that it reads commands from, and writes to."""


class Program:
    """The browser's process, and the pipes to it. It outlives the trio runs in which it is used."""

    def __init__(self) -> None:
        assert FOUND is not None
        self._home = tempfile.TemporaryDirectory(prefix="chromium", ignore_cleanup_errors=True)
        commands, self._into = os.pipe()
        self._out_of, events = os.pipe()
        given = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (commands, events)]

        def put_in_place() -> None:
            for fd, place in zip(given, FOR_THE_BROWSER, strict=True):
                os.dup2(fd, place)

        self._process = subprocess.Popen(
            [FOUND, *FLAGS, f"--user-data-dir={self._home.name}"],
            preexec_fn=put_in_place,
            pass_fds=FOR_THE_BROWSER,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for fd in (commands, events, *given):
            os.close(fd)
        self._last = 0
        self._rest = bytearray()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Browser]:
        """The browser, for the length of a block; its tabs are closed then."""
        async with (
            trio.lowlevel.FdStream(os.dup(self._into)) as into,
            trio.lowlevel.FdStream(os.dup(self._out_of)) as out_of,
            trio.open_nursery() as nursery,
        ):
            found = Browser(into, out_of, self._last, self._rest)
            nursery.start_soon(found.read)
            try:
                yield found
                await found.close_tabs()
            finally:
                self._last = found.last
                nursery.cancel_scope.cancel()

    def end(self) -> None:
        """End it."""
        os.close(self._into)  # at the end of its commands it ends
        os.close(self._out_of)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._home.cleanup()


class Browser:
    """A browser.

    Attributes:
        last: the number of the last command.
        events: what has happened, as (session, method, parameters), the last ones.
    """

    def __init__(
        self, into: trio.lowlevel.FdStream, out_of: trio.lowlevel.FdStream, last: int, rest: bytearray
    ) -> None:
        self.last = last
        self.events: deque[tuple[str | None, str, dict[str, Any]]] = deque(maxlen=10_000)
        self._into = into
        self._out_of = out_of
        self._rest = rest
        self._answers: dict[int, dict[str, Any]] = {}
        self._contexts: list[str] = []
        self._news = trio.Event()

    async def read(self) -> None:
        """Take in what the browser says, until it ends."""
        async for part in self._out_of:
            self._rest += part
            *messages, rest = bytes(self._rest).split(b"\0")
            self._rest[:] = rest
            for each in map(json.loads, messages):
                if "id" in each:
                    self._answers[each["id"]] = each
                else:
                    self.events.append((each.get("sessionId"), each["method"], each["params"]))
            news, self._news = self._news, trio.Event()
            news.set()

    async def call(self, method: str, session: str | None = None, /, **parameters: Any) -> dict[str, Any]:
        """Have the browser do something."""
        self.last += 1
        number = self.last
        command: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if session is not None:
            command["sessionId"] = session
        with trio.fail_after(LIMIT):
            await self._into.send_all(json.dumps(command).encode() + b"\0")
            while number not in self._answers:
                await self._news.wait()
        answer = self._answers.pop(number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    async def open(self, address: str, *, width: int = 1000, height: int = 700, script: str = "") -> Tab:
        """A tab of its own, with cookies of its own; the script runs before those of the page."""
        context = (await self.call("Target.createBrowserContext"))["browserContextId"]
        self._contexts.append(context)
        target = await self.call("Target.createTarget", url="about:blank", browserContextId=context)
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        tab = Tab(self, attached["sessionId"])
        for domain in ("Page", "Runtime", "Network", "Log"):
            await tab.call(f"{domain}.enable")
        await tab.resize(width, height)
        if script:
            await tab.call("Page.addScriptToEvaluateOnNewDocument", source=script)
        await tab.call("Page.navigate", url=address)
        return tab

    async def close_tabs(self) -> None:
        """Close all tabs."""
        for context in self._contexts:
            await self.call("Target.disposeBrowserContext", browserContextId=context)


class Tab:
    """A tab of the browser."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Have the tab do something."""
        return await self._browser.call(method, self._session, **parameters)

    async def resize(self, width: int, height: int) -> None:
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    async def ask(self, script: str) -> Any:
        """The value of an expression."""
        answer = await self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def text(self) -> str:
        """All text of the page that can be seen."""
        return str(await self.ask("document.body?.innerText ?? ''"))

    async def until(self, test: Callable[[str], bool] | str) -> str:
        """The text of the page as soon as it passes a test, or has that text in it."""
        passes: Callable[[str], bool] = (lambda text: test in text) if isinstance(test, str) else test
        text = ""
        for _ in range(math.ceil(LIMIT / 0.05)):
            text = await self.text()
            if passes(text):
                return text
            await trio.sleep(0.05)
        raise AssertionError(f"not shown: {test}\n{text}")

    async def until_true(self, script: str) -> Any:
        """The value of an expression as soon as it is true."""
        for _ in range(math.ceil(LIMIT / 0.05)):
            value = await self.ask(script)
            if value:
                return value
            await trio.sleep(0.05)
        raise AssertionError(f"not true: {script}\n{await self.text()}")

    async def press(self, *keys: str) -> None:
        """Press keys, by their names or characters."""
        for key in keys:
            text = key if len(key) == 1 else "\r" if key == "Enter" else ""
            what = {"key": key, "text": text, "windowsVirtualKeyCode": CODES.get(key, 0)}
            await self.call("Input.dispatchKeyEvent", type="keyDown", **what)
            await self.call("Input.dispatchKeyEvent", type="keyUp", **what)

    def heard(self, *methods: str) -> list[dict[str, Any]]:
        """The parameters of the events of these kinds that have happened here."""
        return [
            given
            for session, method, given in self._browser.events
            if session == self._session and method in methods
        ]


CODES = {
    "Enter": 13,
    "Escape": 27,
    "Tab": 9,
    "ArrowDown": 40,
    "ArrowUp": 38,
    "ArrowLeft": 37,
    "ArrowRight": 39,
    "End": 35,
}
