"""A kit for testing programs of actors; its fixtures are in the plugin `enfilade.actors.testing.plugin`."""

from enfilade.actors.testing.clock import Stuck, VirtualClock
from enfilade.actors.testing.faults import crash_at, drop_queued, kill_after, stall
from enfilade.actors.testing.leaks import Leak, check_leaks
from enfilade.actors.testing.probe import Probe, Unexpected, open_probe
from enfilade.actors.testing.task_orders import Shuffle, run_with_seed

__all__ = [
    "Leak",
    "Probe",
    "Shuffle",
    "Stuck",
    "Unexpected",
    "VirtualClock",
    "check_leaks",
    "crash_at",
    "drop_queued",
    "kill_after",
    "open_probe",
    "run_with_seed",
    "stall",
]
