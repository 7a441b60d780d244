"""Simulate a whole system of nodes in one process: virtual time, a simulated network, faults by seed."""

from enfilade.actors.simulation.checkers.linearizable import (
    COUNTER,
    LOCK,
    QUEUE,
    REGISTER,
    SET,
    Model,
    Operation,
    Undecided,
)
from enfilade.actors.simulation.checkers.serializable import Append, Read, Transaction
from enfilade.actors.simulation.fault_schedule import Fault, Schedule
from enfilade.actors.simulation.faults.kinds import (
    Block,
    Crash,
    DiskFailure,
    DiskTrouble,
    Distance,
    Drift,
    Flaky,
    Freeze,
    LostRegistry,
    Partition,
    ServerTrouble,
    Skew,
    Slow,
    Strike,
)
from enfilade.actors.simulation.faults.patterns import Blackout, CrashLoop, Flap, RollingRestart, Swizzle
from enfilade.actors.simulation.faults.strangers import Stranger
from enfilade.actors.simulation.faults.swarm import Swarm, swarm
from enfilade.actors.simulation.host import Host, HostCrashed
from enfilade.actors.simulation.machine.clock import SimulationClock
from enfilade.actors.simulation.machine.library import block
from enfilade.actors.simulation.machine.standstill import Stuck
from enfilade.actors.simulation.machine.substitutes import Nondeterministic
from enfilade.actors.simulation.mishaps import Mishap, NoChance, Rarity
from enfilade.actors.simulation.run import run_simulation, simulate
from enfilade.actors.simulation.seeds import simulated
from enfilade.actors.simulation.world import World
from enfilade.transport.simulated.disk import SimulatedDisk, SimulatedFile

__all__ = [
    "COUNTER",
    "LOCK",
    "QUEUE",
    "REGISTER",
    "SET",
    "Append",
    "Blackout",
    "Block",
    "Crash",
    "CrashLoop",
    "DiskFailure",
    "DiskTrouble",
    "Distance",
    "Drift",
    "Fault",
    "Flaky",
    "Flap",
    "Freeze",
    "Host",
    "HostCrashed",
    "LostRegistry",
    "Mishap",
    "Model",
    "NoChance",
    "Nondeterministic",
    "Operation",
    "Partition",
    "Rarity",
    "Read",
    "RollingRestart",
    "Schedule",
    "ServerTrouble",
    "SimulatedDisk",
    "SimulatedFile",
    "SimulationClock",
    "Skew",
    "Slow",
    "Stranger",
    "Strike",
    "Stuck",
    "Swarm",
    "Swizzle",
    "Transaction",
    "Undecided",
    "World",
    "block",
    "run_simulation",
    "simulate",
    "simulated",
    "swarm",
]
