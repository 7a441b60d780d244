"""Which refs are equal: those to one process, and those to one name; a name is no process."""

import itertools
from typing import Any

from enfilade.actors import Actor, Node, open_node
from enfilade.actors.messages.ref import Ref
from enfilade.actors.peers.mesh.global_ref import GlobalRef
from enfilade.actors.peers.mesh.keyed_ref import HereRef, KeyedRef
from enfilade.actors.peers.remote_refs import HeldRef, RemoteNameRef


class Carrier:
    """A way to another start of the same node, as far as refs ask for it."""

    peer = None

    def __init__(self, node: Node) -> None:
        self.node_name = node.full_name
        self.incarnation = node.incarnation


async def test_no_name_or_key_is_equal_to_a_process() -> None:
    """Not even to a node, whose own ref has the serial number 0, as those of names and keys have."""
    async with open_node("n") as node:
        carrier: Any = Carrier(node)
        kinds: Any = None
        seeker: Any = None
        process = await node.spawn(Actor, name="name")
        refs: dict[str, Ref[Any]] = {
            "node": node.ref,
            "process": process,
            "name": node.named("name"),
            "name there": RemoteNameRef(node, carrier, "name"),
            "global name": GlobalRef(node, seeker, "name"),
            "key": KeyedRef(node, kinds, "Account", "name"),
            "single": KeyedRef(node, kinds, "name", ""),
        }
        for (one, left), (other, right) in itertools.permutations(refs.items(), 2):
            assert left != right, (one, other)
        assert len(set(refs.values())) == len(refs)
        assert refs["process"] == HeldRef(node, carrier, process.serial)
        assert HeldRef(node, carrier, 0) == node.ref
        assert KeyedRef(node, kinds, "Account", "name") == HereRef(node, kinds, "Account", "name")
