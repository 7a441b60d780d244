"""The actor runtime: supervised processes that share nothing and talk by messages."""

if __name__ != "enfilade.actors":
    raise ImportError(f"import enfilade.actors (or `from enfilade import ...`), not {__name__}")


from actors import system
from actors.guests import Guest
from actors.messages.errors import (
    AlreadyStarted,
    BadArguments,
    CallError,
    CallingSelf,
    CallTimeout,
    CoroutineReturned,
    Ignore,
    MailboxFull,
    NameTaken,
    NodeStopped,
    NoProcess,
    NotConnected,
    NotJoined,
    NotOwner,
    NotPublic,
    ProcessDied,
    ReceiveTimeout,
    Refused,
    Restarting,
    RuntimeFault,
    SenderDropped,
    StartError,
    StartTimeout,
    StashOverflow,
    UnknownMethod,
    WrongThread,
)
from actors.messages.reasons import (
    KILL,
    KILLED,
    NO_CONNECTION,
    NO_PROCESS,
    NORMAL,
    SHUTDOWN,
    TIMEOUT,
    Crashed,
    Custom,
    Exit,
    Reason,
    Shutdown,
    Trapped,
)
from actors.messages.ref import NameRef, Ref
from actors.messages.request import Deferred, Request
from actors.messages.request_collection import RequestCollection, multi_call, multi_cast
from actors.messages.signals import Call
from actors.node.config import NodeConfig
from actors.node.dead_letters import DeadLetter, DeadLetters
from actors.node.groups import GroupMonitor, GroupScope, Joined, Left
from actors.node.node import Node, NodeStatistics
from actors.node.timers import Timer
from actors.opening import open_node
from actors.patterns.events import (
    EventHandler,
    EventManager,
    HandlerExists,
    HandlerRemoved,
    NoHandler,
    RemoveHandler,
)
from actors.patterns.machine import Machine
from actors.patterns.pool import JobDiscarded, Pool, PoolDraining, PoolStatistics, Worker
from actors.peers.events import NodeDown, NodeUp
from actors.processes.actor import Actor
from actors.processes.body import Body, Observer, Spawnable
from actors.processes.control_lane import Control
from actors.processes.keyed_timers import KeyedTimers
from actors.processes.links import Alias, Down, Exited, IdleTimeout, Monitor
from actors.processes.mailbox import UNBOUNDED, Lagged, Mailbox
from actors.processes.process import Process
from actors.processes.start import Started
from actors.supervision.backoff import Backoff, InvalidBackoff
from actors.supervision.child_spec import (
    BadCombination,
    Child,
    DuplicateChild,
    InvalidChild,
    InvalidFlag,
    check_child_specs,
)
from actors.supervision.children import (
    AlreadyPresent,
    ChildCounts,
    ChildInfo,
    ChildNotFound,
    ChildRestarting,
    ChildRunning,
    FailedToStart,
    MaxChildren,
    NoChildIds,
    NoTemplate,
    StartFailed,
)
from actors.supervision.dynamic import DynamicSupervisor
from actors.supervision.partition import InvalidKey, PartitionStopped, PartitionSupervisor
from actors.supervision.remote_entry import InvalidEntry, RemoteEntry
from actors.supervision.supervisor import Supervisor
from actors.supervision.tasks import Outcome, Task, TaskStream, TaskSupervisor, async_nolink, async_stream

__all__ = [
    "KILL",
    "KILLED",
    "NORMAL",
    "NO_CONNECTION",
    "NO_PROCESS",
    "SHUTDOWN",
    "TIMEOUT",
    "UNBOUNDED",
    "Actor",
    "Alias",
    "AlreadyPresent",
    "AlreadyStarted",
    "Backoff",
    "BadArguments",
    "BadCombination",
    "Body",
    "Call",
    "CallError",
    "CallTimeout",
    "CallingSelf",
    "Child",
    "ChildCounts",
    "ChildInfo",
    "ChildNotFound",
    "ChildRestarting",
    "ChildRunning",
    "Control",
    "CoroutineReturned",
    "Crashed",
    "Custom",
    "DeadLetter",
    "DeadLetters",
    "Deferred",
    "Down",
    "DuplicateChild",
    "DynamicSupervisor",
    "EventHandler",
    "EventManager",
    "Exit",
    "Exited",
    "FailedToStart",
    "GroupMonitor",
    "GroupScope",
    "Guest",
    "HandlerExists",
    "HandlerRemoved",
    "IdleTimeout",
    "Ignore",
    "InvalidBackoff",
    "InvalidChild",
    "InvalidEntry",
    "InvalidFlag",
    "InvalidKey",
    "JobDiscarded",
    "Joined",
    "KeyedTimers",
    "Lagged",
    "Left",
    "Machine",
    "Mailbox",
    "MailboxFull",
    "MaxChildren",
    "Monitor",
    "NameRef",
    "NameTaken",
    "NoChildIds",
    "NoHandler",
    "NoProcess",
    "NoTemplate",
    "Node",
    "NodeConfig",
    "NodeDown",
    "NodeStatistics",
    "NodeStopped",
    "NodeUp",
    "NotConnected",
    "NotJoined",
    "NotOwner",
    "NotPublic",
    "Observer",
    "Outcome",
    "PartitionStopped",
    "PartitionSupervisor",
    "Pool",
    "PoolDraining",
    "PoolStatistics",
    "Process",
    "ProcessDied",
    "Reason",
    "ReceiveTimeout",
    "Ref",
    "Refused",
    "RemoteEntry",
    "RemoveHandler",
    "Request",
    "RequestCollection",
    "Restarting",
    "RuntimeFault",
    "SenderDropped",
    "Shutdown",
    "Spawnable",
    "StartError",
    "StartFailed",
    "StartTimeout",
    "Started",
    "StashOverflow",
    "Supervisor",
    "Task",
    "TaskStream",
    "TaskSupervisor",
    "Timer",
    "Trapped",
    "UnknownMethod",
    "Worker",
    "WrongThread",
    "async_nolink",
    "async_stream",
    "check_child_specs",
    "multi_call",
    "multi_cast",
    "open_node",
    "system",
]
