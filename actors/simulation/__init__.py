"""Simulate a whole system of nodes in one process: virtual time, a simulated network, faults by seed."""

from enfilade.actors.simulation.clock import SimulationClock
from enfilade.actors.simulation.faults import (
    Block,
    Crash,
    Flaky,
    Freeze,
    Partition,
    Skew,
    Slow,
    Strike,
)
from enfilade.actors.simulation.host import Host, HostCrashed
from enfilade.actors.simulation.schedule import Fault, Schedule
from enfilade.actors.simulation.simulate import run_simulation, simulate
from enfilade.actors.simulation.substitutes import Nondeterministic
from enfilade.actors.simulation.world import Stuck, World

__all__ = [
    "Block",
    "Crash",
    "Fault",
    "Flaky",
    "Freeze",
    "Host",
    "HostCrashed",
    "Nondeterministic",
    "Partition",
    "Schedule",
    "SimulationClock",
    "Skew",
    "Slow",
    "Strike",
    "Stuck",
    "World",
    "run_simulation",
    "simulate",
]
