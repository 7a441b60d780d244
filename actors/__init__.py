"""The actor runtime: supervised processes that share nothing and talk by messages."""

if __name__ != "enfilade.actors":
    raise ImportError(f"import enfilade.actors (or `from enfilade import ...`), not {__name__}")


from enfilade.actors import system
from enfilade.actors.guests import Guest
from enfilade.actors.messages.errors import (
    AlreadyStarted,
    BadArguments,
    CallError,
    CallingSelf,
    CallTimeout,
    CoroutineReturned,
    Ignore,
    ImproperError,
    LiveResult,
    MailboxFull,
    NameTaken,
    NodeStopped,
    NoProcess,
    NoQuorum,
    NotConnected,
    NotJoined,
    NotOwner,
    NotPublic,
    NurseryLeft,
    ProcessDied,
    ReceiveTimeout,
    Refused,
    Restarting,
    RuntimeFault,
    SenderDropped,
    StartError,
    StartTimeout,
    StashOverflow,
    StepFailed,
    StrayCancelled,
    UnknownMethod,
    UpgradeFailed,
    WrongThread,
)
from enfilade.actors.messages.global_name import Global
from enfilade.actors.messages.likeness import Like
from enfilade.actors.messages.rare import rare
from enfilade.actors.messages.reasons import (
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
    LeaseLost,
    Reason,
    Shutdown,
    Trapped,
)
from enfilade.actors.messages.ref import NameRef, Ref
from enfilade.actors.messages.request import Deferred, Request
from enfilade.actors.messages.request_collection import RequestCollection, multi_call, multi_cast
from enfilade.actors.messages.signals import Call
from enfilade.actors.node.child_events import ChildEvent, ChildEvents
from enfilade.actors.node.config import NodeConfig
from enfilade.actors.node.dead_letters import DeadLetter, DeadLetters
from enfilade.actors.node.groups import GroupMonitor, GroupScope, Joined, Left
from enfilade.actors.node.node import Node
from enfilade.actors.node.statistics import NodeStatistics
from enfilade.actors.opening import open_node
from enfilade.actors.patterns.events import (
    EventHandler,
    EventManager,
    HandlerExists,
    HandlerRemoved,
    NoHandler,
    RemoveHandler,
)
from enfilade.actors.patterns.machine import Machine, UnknownState, after, enter, leave, when
from enfilade.actors.patterns.pool import JobDiscarded, Pool, PoolDraining, PoolStatistics, Worker
from enfilade.actors.patterns.rate_limit import RateLimit
from enfilade.actors.peers.events import NameLost, NodeDown, NodeUp
from enfilade.actors.peers.mesh.kind import Kind
from enfilade.actors.processes.actor import Actor
from enfilade.actors.processes.body import Body, DispatchedBody, Observer, Spawnable
from enfilade.actors.processes.control_lane import Control
from enfilade.actors.processes.keyed_timers import KeyedTimers
from enfilade.actors.processes.links import Alias, Down, Exited, IdleTimeout, Monitor
from enfilade.actors.processes.mailbox import UNBOUNDED, Lagged, Mailbox
from enfilade.actors.processes.process import Process
from enfilade.actors.processes.resumption import Resume
from enfilade.actors.processes.start import Started, acknowledges_start, spawn_started
from enfilade.actors.processes.timers import Timer
from enfilade.actors.supervision.backoff import Backoff, InvalidBackoff
from enfilade.actors.supervision.child_spec import (
    BadCombination,
    Child,
    DuplicateChild,
    InvalidChild,
    InvalidFlag,
    check_child_specs,
)
from enfilade.actors.supervision.children import ChildCounts, ChildInfo
from enfilade.actors.supervision.dynamic import DynamicSupervisor
from enfilade.actors.supervision.partition import InvalidKey, PartitionStopped, PartitionSupervisor
from enfilade.actors.supervision.refusals import (
    AlreadyPresent,
    ChildNotFound,
    ChildRestarting,
    ChildRunning,
    FailedToStart,
    MaxChildren,
    NoChildIds,
    NoTemplate,
    StartFailed,
)
from enfilade.actors.supervision.remote_entry import InvalidEntry, RemoteEntry
from enfilade.actors.supervision.supervisor import Supervisor
from enfilade.actors.supervision.tasks import (
    Outcome,
    Task,
    TaskStream,
    TaskSupervisor,
    async_nolink,
    async_stream,
)

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
    "ChildEvent",
    "ChildEvents",
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
    "DispatchedBody",
    "Down",
    "DuplicateChild",
    "DynamicSupervisor",
    "EventHandler",
    "EventManager",
    "Exit",
    "Exited",
    "FailedToStart",
    "Global",
    "GroupMonitor",
    "GroupScope",
    "Guest",
    "HandlerExists",
    "HandlerRemoved",
    "IdleTimeout",
    "Ignore",
    "ImproperError",
    "InvalidBackoff",
    "InvalidChild",
    "InvalidEntry",
    "InvalidFlag",
    "InvalidKey",
    "JobDiscarded",
    "Joined",
    "KeyedTimers",
    "Kind",
    "Lagged",
    "LeaseLost",
    "Left",
    "Like",
    "LiveResult",
    "Machine",
    "Mailbox",
    "MailboxFull",
    "MaxChildren",
    "Monitor",
    "NameLost",
    "NameRef",
    "NameTaken",
    "NoChildIds",
    "NoHandler",
    "NoProcess",
    "NoQuorum",
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
    "NurseryLeft",
    "Observer",
    "Outcome",
    "PartitionStopped",
    "PartitionSupervisor",
    "Pool",
    "PoolDraining",
    "PoolStatistics",
    "Process",
    "ProcessDied",
    "RateLimit",
    "Reason",
    "ReceiveTimeout",
    "Ref",
    "Refused",
    "RemoteEntry",
    "RemoveHandler",
    "Request",
    "RequestCollection",
    "Restarting",
    "Resume",
    "RuntimeFault",
    "SenderDropped",
    "Shutdown",
    "Spawnable",
    "StartError",
    "StartFailed",
    "StartTimeout",
    "Started",
    "StashOverflow",
    "StepFailed",
    "StrayCancelled",
    "Supervisor",
    "Task",
    "TaskStream",
    "TaskSupervisor",
    "Timer",
    "Trapped",
    "UnknownMethod",
    "UnknownState",
    "UpgradeFailed",
    "Worker",
    "WrongThread",
    "acknowledges_start",
    "after",
    "async_nolink",
    "async_stream",
    "check_child_specs",
    "enter",
    "leave",
    "multi_call",
    "multi_cast",
    "open_node",
    "rare",
    "spawn_started",
    "system",
    "when",
]
