"""What the standard library tells code of a host: the world's time and chance, however it was imported."""

import datetime
import os
import random
import secrets
import socket
import time
import uuid
from collections.abc import Callable
from datetime import datetime as imported_by_name
from random import Random as GeneratorByName
from typing import Any

import pytest

from enfilade.actors.simulation import World, run_simulation

BEGUN = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)

CHANCE: dict[str, Callable[[], Any]] = {
    "random.Random()": lambda: random.Random().random(),
    "Random(), by name": lambda: GeneratorByName().random(),
    "random.seed()": lambda: (random.seed(), random.random()),
    "Random.seed()": lambda: [generator.random() for generator in [random.Random(3)] if not generator.seed()],  # type: ignore[func-returns-value]
    "random.SystemRandom": lambda: random.SystemRandom().random(),
    "secrets": lambda: secrets.token_hex(),
    "os.urandom": lambda: os.urandom(8),
    "os.getrandom": lambda: os.getrandom(8),
    "uuid1": lambda: uuid.uuid1(),
    "uuid4": lambda: uuid.uuid4(),
    **{name: getattr(uuid, name) for name in ("uuid6", "uuid7") if hasattr(uuid, name)},
}
"""What gives something else each time."""

TIME: dict[str, Callable[[], Any]] = {
    "datetime.now": lambda: datetime.datetime.now(datetime.UTC),
    "datetime.now, by name": lambda: imported_by_name.now(tz=datetime.UTC),
    "utcnow": lambda: imported_by_name.utcnow().replace(tzinfo=datetime.UTC),
    "today": lambda: imported_by_name.today().astimezone(datetime.UTC),
    "naive now": lambda: imported_by_name.now().astimezone(datetime.UTC),
    "time.time": lambda: datetime.datetime.fromtimestamp(time.time(), datetime.UTC),
    "time.time_ns": lambda: datetime.datetime.fromtimestamp(time.time_ns() / 1e9, datetime.UTC),
    "clock_gettime": lambda: datetime.datetime.fromtimestamp(
        time.clock_gettime(time.CLOCK_REALTIME), datetime.UTC
    ),
    "clock_gettime_ns": lambda: datetime.datetime.fromtimestamp(
        time.clock_gettime_ns(time.CLOCK_REALTIME) / 1e9, datetime.UTC
    ),
    "gmtime": lambda: datetime.datetime(*time.gmtime()[:6], tzinfo=datetime.UTC),
    "localtime": lambda: datetime.datetime(*time.localtime()[:6]).astimezone(datetime.UTC),
    "ctime": lambda: datetime.datetime.strptime(time.ctime(), "%c").astimezone(datetime.UTC),
    "asctime": lambda: datetime.datetime.strptime(time.asctime(), "%c").astimezone(datetime.UTC),
    "strftime": lambda: datetime.datetime.strptime(time.strftime("%c"), "%c").astimezone(datetime.UTC),
}
"""The wall clock, as it can be read."""


def asked(what: Callable[[], Any], seed: int = 1, *, after: float = 0.0) -> list[Any]:
    """The answers in two lives of a host."""

    async def main(world: World) -> list[Any]:
        host = await world.open_node("east")
        await world.run(after)
        answers = [await world.on(host, what)]
        await world.restart(host)
        return [*answers, await world.on(host, what)]

    return run_simulation(main, seed=seed)


@pytest.mark.parametrize("name", CHANCE)
def test_sim_42_chance_is_that_of_the_seed(name: str) -> None:
    """The same in each run, another in each life, and outside of the world it goes on as before."""
    first = asked(CHANCE[name])
    assert asked(CHANCE[name]) == first
    assert first[0] != first[1]
    assert asked(CHANCE[name], seed=2) != first
    assert CHANCE[name]() != CHANCE[name]()


@pytest.mark.parametrize("name", TIME)
def test_the_wall_clock_is_that_of_the_world(name: str) -> None:
    """Also where it was imported by name; outside of the world it is the machine's, as before."""
    (first, second) = asked(TIME[name], after=3600.0)
    assert first == second == BEGUN + datetime.timedelta(seconds=3600)
    now = datetime.datetime.now(datetime.UTC)
    assert abs(TIME[name]() - now) < datetime.timedelta(minutes=5)


def test_a_moment_that_is_given_is_told_as_it_is() -> None:
    def ask() -> list[Any]:
        return [time.gmtime(0)[:3], time.strftime("%Y", time.gmtime(0)), time.asctime(time.gmtime(0))]

    expected = [(1970, 1, 1), "1970", "Thu Jan  1 00:00:00 1970"]
    assert asked(ask) == [expected, expected]
    assert ask() == expected


def test_a_class_of_ones_own_has_the_worlds_time() -> None:
    class Moment(datetime.datetime):
        pass

    first, _ = asked(lambda: Moment.now(datetime.UTC))
    assert type(first) is Moment
    assert first == BEGUN
    assert type(Moment.now()) is type(Moment.utcnow()) is Moment


def test_a_hosts_name_is_its_own() -> None:
    """And the number of its card in UUIDs, which no real one has."""
    names, _ = asked(lambda: (socket.gethostname(), os.uname().nodename, uuid.getnode() >> 40 & 1))
    assert names == ("east", "east", 1)
    assert socket.gethostname() == os.uname().nodename


def test_a_generator_with_a_seed_is_what_it_is() -> None:
    expected = random.Random(5).random()
    assert asked(lambda: random.Random(5).random()) == [expected, expected]
