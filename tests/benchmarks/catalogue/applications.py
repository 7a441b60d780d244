"""Applications: much of what actors do, mixed: the chat of "Run, Actor, Run" (AGERE 2019), in two phases."""

from tests.benchmarks.benchmark import Benchmark, Entry


def _chat(name: str, operation: str) -> Benchmark:
    return Benchmark(
        name=name,
        group="applications",
        operation=operation,
        parameters={"clients": 200, "friends": 8, "turns": 20},
        quick={"clients": 10, "friends": 2, "turns": 3},
        entries=(
            Entry("enfilade/sync"),
            Entry("enfilade/async"),
            Entry("erlang"),
            Entry("pykka", {"turns": 4}),
            Entry("xoscar/pool", {"turns": 4}),
        ),
    )


APPLICATIONS: tuple[Benchmark, ...] = (
    _chat("chat-setup", "a client comes in, opens a chat, and eight others join it"),
    _chat("chat", "action of one of 200 clients: mostly a post that all members of a chat must see"),
)
