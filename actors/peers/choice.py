"""The one place that chooses between the compiled `Inbound.take_in` and its twin in Python.

It is part of the compiled core of actors (`core.h`), which this hands what it has to know of node links. As
there, the function in Python says what is to be done, and `ENFILADE_CORE=python` chooses it.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

import enfilade.actors.node.node  # noqa: F401 (with it the rest of the core is bound)
from enfilade.actors.messages.errors import RuntimeFault
from enfilade.actors.peers.inbound import Inbound
from enfilade.actors.peers.ledger import Ledger
from enfilade.actors.peers.ref_passing import Granted, RefPassing
from enfilade.actors.peers.remote_call import RemoteCall
from enfilade.transport import wire
from enfilade.twins import Function, Site, choice_of, name_in_c, places

__all__ = ["CHOICE"]

TWINS: Final[dict[Site, Function]] = {(Inbound, "take_in"): Inbound.take_in}
"""The functions in Python, by where they are."""

SLOTTED: Final[dict[str, Any]] = {
    kind.__name__: kind for kind in (Inbound, RefPassing, Granted, Ledger, RemoteCall)
}
"""The classes whose fields are slots."""

STRUCTS: Final[dict[str, Any]] = {
    kind.__name__: kind for kind in (wire.TracedSend, wire.TracedCall, wire.Reply)
}
"""The classes whose fields are those of a struct."""


def _bind(compiled: Any) -> None:
    compiled.bind_peers(
        places(compiled, compiled.peer_fields(), SLOTTED, STRUCTS),
        {
            **{name_in_c(site): twin for site, twin in TWINS.items()},
            "RefPassing": RefPassing,
            "Ledger": Ledger,
            "RemoteCall": RemoteCall,
            "TracedSend": wire.TracedSend,
            "TracedCall": wire.TracedCall,
            "Reply": wire.Reply,
            "NIL": wire.NIL,
            "RuntimeFault": RuntimeFault,
            "decode_plain": msgspec.msgpack.Decoder().decode,
        },
    )


CHOICE: Final = choice_of("the compiled core is", "enfilade.actors.core.compiled", TWINS, _bind)

CHOICE.choose_by_environment()
