"""Scripts for supervisors: what is done to one, in a form that both Erlang and this runtime can read.

A scenario is a list of commands, one a line:

    flags STRATEGY INTENSITY AUTO_SHUTDOWN
    child ID RESTART SHUTDOWN TYPE SIGNIFICANT BEHAVIOUR      a child that the supervisor starts with
    boot                                                      start the supervisor
    start ID RESTART SHUTDOWN TYPE SIGNIFICANT BEHAVIOUR      start_child
    terminate ID, restart ID, delete ID, count                the requests of those names
    crash ID REASON                                           the child ends by itself; "kill" kills it
    fail ID N, decline ID N                                   its next N starts fail, or answer ignore
    stray                                                     a linked process that is no child exits
    stop                                                      the parent says shutdown

Under simple_one_for_one the first child is the template, "grow" starts one more of it, and one that runs is
named by its incarnation: crash NAME REASON, finish NAME (terminate_child by its process).

SHUTDOWN is in milliseconds, or "brutal_kill" or "infinity". SIGNIFICANT is "significant" or "plain". A "good"
child traps exits and obeys; an "odd" one answers a stop with another reason; a "stubborn" one does not stop;
a "plain" one does not trap.

Each command is answered by one line: the command, its answer, the starts and stops that followed, in order,
the ends of processes, sorted, and the children, newest first, or how the supervisor ended.
"""

from __future__ import annotations

CHILD = "1000 worker plain good"


def children(ids: str, restart: str = "permanent", rest: str = CHILD) -> list[str]:
    return [f"child {letter} {restart} {rest}" for letter in ids]


SCENARIOS: dict[str, list[str]] = {
    f"crash_{strategy}": [
        f"flags {strategy} 10 never",
        *children("abcd"),
        "boot",
        "crash b boom",
        "crash d normal",
        "crash a kill",
        "stop",
    ]
    for strategy in ("one_for_one", "one_for_all", "rest_for_one")
}
SCENARIOS |= {
    f"terminated_siblings_{strategy}": [
        f"flags {strategy} 10 never",
        *children("abc"),
        "boot",
        "terminate a",
        "terminate c",
        "crash b boom",
        "terminate b",
        "count",
        "stop",
    ]
    for strategy in ("one_for_one", "one_for_all", "rest_for_one")
}
SCENARIOS |= {
    f"restart_types_{strategy}": [
        f"flags {strategy} 20 never",
        "child p permanent 1000 worker plain good",
        "child t transient 1000 worker plain good",
        "child x temporary 1000 worker plain good",
        "child q permanent 1000 worker plain good",
        "boot",
        "crash p shutdown",
        "crash t boom",
        "crash t normal",
        "crash q boom",
        "start x temporary 1000 worker plain good",
        "crash x boom",
        "start x temporary 1000 worker plain good",
        "crash p kill",
        "stop",
    ]
    for strategy in ("one_for_one", "one_for_all", "rest_for_one")
}
SCENARIOS |= {
    f"failing_sibling_{strategy}": [
        f"flags {strategy} 10 never",
        *children("abcd"),
        "boot",
        "fail c 2",
        "crash b boom",
        "decline d 1",
        "crash c boom",
        "stop",
    ]
    for strategy in ("one_for_one", "one_for_all", "rest_for_one")
}
SCENARIOS |= {
    f"retries_{strategy}": [
        f"flags {strategy} 3 never",
        *children("abc"),
        "boot",
        "fail b 100",
        "crash b boom",
    ]
    for strategy in ("one_for_one", "one_for_all", "rest_for_one")
}
SCENARIOS |= {
    f"intensity_{intensity}_{strategy}": [
        f"flags {strategy} {intensity} never",
        *children("abc"),
        "boot",
        "crash b boom",
        *(["crash a boom", "crash c boom"] if intensity else []),
    ]
    for intensity in (0, 2)
    for strategy in ("one_for_one", "one_for_all", "rest_for_one")
}
SCENARIOS |= {
    "failed_boot": ["flags one_for_one 1 never", *children("abcd"), "fail c 1", "boot"],
    "declining_boot": [
        "flags one_for_one 1 never",
        "child p permanent 1000 worker plain good",
        "child x temporary 1000 worker plain good",
        "child t transient 1000 worker plain good",
        "decline p 1",
        "decline x 1",
        "boot",
        "restart p",
        "restart t",
        "restart x",
        "delete t",
        "stop",
    ],
    "administration": [
        "flags one_for_one 5 never",
        *children("a"),
        "boot",
        "start b permanent 1000 worker plain good",
        "start b permanent 1000 worker plain good",
        "restart b",
        "delete b",
        "terminate b",
        "start b permanent 1000 worker plain good",
        "terminate b",
        "restart b",
        "terminate b",
        "fail b 1",
        "restart b",
        "delete b",
        "delete b",
        "terminate b",
        "restart b",
        "fail c 1",
        "start c permanent 1000 worker plain good",
        "start c permanent 1000 supervisor plain good",
        "decline d 2",
        "start d permanent 1000 worker plain good",
        "start x temporary 1000 worker plain good",
        "count",
        "terminate x",
        "delete d",
        "count",
        "stop",
    ],
    "shutdown_kinds": [
        "flags one_for_one 5 never",
        "child a permanent 1000 worker plain good",
        "child b permanent brutal_kill worker plain good",
        "child c permanent 1000 worker plain odd",
        "child d permanent 50 worker plain stubborn",
        "child e permanent infinity supervisor plain good",
        "child f permanent 1000 worker plain plain",
        "boot",
        "terminate d",
        "restart d",
        "stop",
    ],
    "significant_any": [
        "flags one_for_one 5 any_significant",
        "child a permanent 1000 worker plain good",
        "child s transient 1000 worker significant good",
        "child c permanent 1000 worker plain good",
        "boot",
        "crash s boom",
        "crash s normal",
    ],
    "significant_any_temporary": [
        "flags one_for_one 5 any_significant",
        "child a permanent 1000 worker plain good",
        "child s temporary 1000 worker significant good",
        "boot",
        "crash s boom",
    ],
    "significant_all": [
        "flags one_for_one 5 all_significant",
        "child a temporary 1000 worker plain good",
        "child s transient 1000 worker significant good",
        "child t temporary 1000 worker significant good",
        "child c permanent 1000 worker plain good",
        "boot",
        "crash a normal",
        "crash t boom",
        "crash s shutdown",
    ],
    "significant_bystander": [
        "flags one_for_all 5 any_significant",
        "child a permanent 1000 worker plain good",
        "child s temporary 1000 worker significant good",
        "child t transient 1000 worker significant good",
        "boot",
        "crash a boom",
        "terminate t",
        "restart t",
        "crash t normal",
    ],
    "strangers": ["flags one_for_all 5 never", *children("ab"), "boot", "stray", "crash a boom", "stop"],
}
SCENARIOS |= {
    f"dynamic_{restart}": [
        "flags simple_one_for_one 20 never",
        f"child w {restart} {CHILD}",
        "boot",
        *["grow"] * 4,
        "crash w2 boom",
        "crash w1 normal",
        "crash w3 shutdown",
        "crash w4 kill",
        "count",
        "grow",
        "stop",
    ]
    for restart in ("permanent", "transient", "temporary")
}
SCENARIOS |= {
    f"dynamic_significant_{mode}_{restart}": [
        f"flags simple_one_for_one 20 {mode}_significant",
        f"child w {restart} 1000 worker significant good",
        "boot",
        *["grow"] * 3,
        "finish w1",
        "crash w2 boom",
        *["crash w3 normal"] * (mode == "all" or restart == "transient"),
        *["crash w4 normal"] * (mode == "all" and restart == "transient"),
    ]
    for mode in ("any", "all")
    for restart in ("transient", "temporary")
}
SCENARIOS |= {
    "dynamic_administration": [
        "flags simple_one_for_one 5 never",
        f"child w permanent {CHILD}",
        "boot",
        "fail w 1",
        "grow",
        "decline w 1",
        "grow",
        "count",
        "grow",
        "grow",
        "terminate w",
        "restart w",
        "delete w",
        "finish w3",
        "finish w3",
        "count",
        "stray",
        "stop",
    ],
    "dynamic_intensity": [
        "flags simple_one_for_one 1 never",
        f"child w permanent {CHILD}",
        "boot",
        *["grow"] * 3,
        "crash w1 boom",
        "crash w2 boom",
    ],
    "dynamic_retries": [
        "flags simple_one_for_one 3 never",
        f"child w permanent {CHILD}",
        "boot",
        *["grow"] * 2,
        "fail w 2",
        "crash w1 boom",
        "fail w 100",
        "crash w2 boom",
    ],
}
SCENARIOS |= {
    f"dynamic_shutdown_{behaviour}_{shutdown}": [
        "flags simple_one_for_one 5 never",
        f"child w permanent {shutdown} worker plain {behaviour}",
        "boot",
        *["grow"] * 3,
        "finish w2",
        "stop",
    ]
    for behaviour, shutdown in (
        ("good", "1000"),
        ("good", "infinity"),
        ("good", "brutal_kill"),
        ("plain", "1000"),
        ("odd", "1000"),
        ("stubborn", "50"),
    )
}
