"""illumos doors: calls into another process, with the caller's identity, descriptors, and nothing to parse.

`Door` serves, `Client` calls; `@server_procedure` makes a door of typed values.
`enfilade.transport.doors.api` is the C API as it is. The tutorial is docs/tutorials/doors.md, the reference
docs/doors.md.
"""

from enfilade.transport.doors.api import door_dup, is_door
from enfilade.transport.doors.client import Client, Retry
from enfilade.transport.doors.codec import Codec, CodecError
from enfilade.transport.doors.credentials import Credentials
from enfilade.transport.doors.descriptor import Descriptor
from enfilade.transport.doors.door import Door
from enfilade.transport.doors.errors import (
    DoorBindError,
    DoorCallError,
    DoorCountersError,
    DoorCreateError,
    DoorCredError,
    DoorDupError,
    DoorError,
    DoorGetparamError,
    DoorInfoError,
    DoorOpenError,
    DoorReturnError,
    DoorRevokeError,
    DoorSetparamError,
    DoorUcredError,
    DoorUnbindError,
    DoorXcreateError,
    FattachError,
    FdetachError,
    Interrupted,
    IsastreamError,
    NotADoor,
    NotStarted,
)
from enfilade.transport.doors.info import Attributes, Capabilities, DoorCounters, DoorInfo
from enfilade.transport.doors.reply import Reply
from enfilade.transport.doors.request import Request, Result
from enfilade.transport.doors.typed import BadReply, ServerProcedure, TypedClient, server_procedure

__all__ = [
    "Attributes",
    "BadReply",
    "Capabilities",
    "Client",
    "Codec",
    "CodecError",
    "Credentials",
    "Descriptor",
    "Door",
    "DoorBindError",
    "DoorCallError",
    "DoorCounters",
    "DoorCountersError",
    "DoorCreateError",
    "DoorCredError",
    "DoorDupError",
    "DoorError",
    "DoorGetparamError",
    "DoorInfo",
    "DoorInfoError",
    "DoorOpenError",
    "DoorReturnError",
    "DoorRevokeError",
    "DoorSetparamError",
    "DoorUcredError",
    "DoorUnbindError",
    "DoorXcreateError",
    "FattachError",
    "FdetachError",
    "Interrupted",
    "IsastreamError",
    "NotADoor",
    "NotStarted",
    "Reply",
    "Request",
    "Result",
    "Retry",
    "ServerProcedure",
    "TypedClient",
    "door_dup",
    "is_door",
    "server_procedure",
]
