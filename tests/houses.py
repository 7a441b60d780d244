"""The houses: who may import whom, a table for each package that has rooms. `test_layout.py` applies them."""

from __future__ import annotations

from pathlib import Path

import attrs

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("actors", "hostcalls", "transport")
FACADE = "enfilade"  # the package that the three are installed below


@attrs.frozen
class Import:
    """One import of a file: for the type checker alone, or at run time, inside of functions too."""

    importer: str
    imported: str
    line: int
    is_typing: bool


def is_within(module: str, package: str) -> bool:
    return f"{module}.".startswith(f"{package}.")


def is_ours(module: str) -> bool:
    return any(is_within(module, package) for package in (*PACKAGES, FACADE))


@attrs.frozen
class House:
    """A package, and who may import whom in it.

    Attributes:
        package: its name below the facade.
        may_import: for each room, a folder or a file beside the folders, what it may import at run time,
            inside of functions too: rooms of the package, or modules of another one.
        kernel: the rooms that may name one another for the type checker, even in a circle.
        for_types: what else a room may import for the type checker alone.
        above: rooms that stand above the others and may import all of them; "" is the package itself.
        outside: packages that every room may import, which the table of the outer house judges.
    """

    package: str
    may_import: dict[str, tuple[str, ...]]
    kernel: tuple[str, ...] = ()
    for_types: dict[str, tuple[str, ...]] = attrs.field(factory=dict)
    above: tuple[str, ...] = ("",)
    outside: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        return ROOT.joinpath(*self.package.split("."))

    def room_of(self, module: str) -> str:
        """The room of a module of this package; a module of another one stands for itself."""
        if not is_within(module, self.package):
            return module
        return module.removeprefix(self.package).lstrip(".").partition(".")[0]

    def allows(self, found: Import) -> bool:
        """Tell whether the table has a place for an import."""
        room, other = self.room_of(found.importer), self.room_of(found.imported)
        if room in self.above or room == other or not is_ours(found.imported):
            return True
        allowed = self.may_import.get(room, ()) + self.outside
        if found.is_typing:
            allowed += self.for_types.get(room, ()) + (self.kernel if room in self.kernel else ())
        return any(is_within(other, each) for each in allowed)

    def is_within_kernel(self, found: Import) -> bool:
        """Tell whether an import for the type checker stays within the kernel."""
        rooms = {self.room_of(found.importer), self.room_of(found.imported)}
        return found.is_typing and rooms <= set(self.kernel)


# A ref leads to a process, a process has its node, a node hands out refs. Whatever stands above the kernel
# may know all of it.
KERNEL = ("messages", "processes", "node")

ACTORS = House(
    "actors",
    {
        "messages": (),
        "processes": ("messages",),
        "core": ("messages", "processes"),
        "node": ("messages", "processes", "core"),
        "system": KERNEL,
        "logs": KERNEL,
        "observing": (*KERNEL, "guests", "patterns", "supervision", "system", "transport"),
        "peers": (*KERNEL, "transport"),
        "guests": (*KERNEL, "hostcalls"),
        "supervision": (*KERNEL, "peers"),
        "patterns": (*KERNEL, "supervision"),
        "bridges": (),
        "workers": (*KERNEL, "peers", "supervision", "transport.policy"),
        "opening": (*KERNEL, "observing", "peers", "workers"),
        "simulation": (*KERNEL, "guests", "opening", "peers", "supervision", "transport"),
        "worker_main": ("opening", "workers", "transport.policy"),
    },
    kernel=KERNEL,
    # The signature of `open_node` names what it hands on to `peers`; a node without peers does not load it.
    for_types={"opening": ("transport",)},
    # Programs and tools, and what users import from.
    above=("", "cli", "public", "testing"),
)

# Events happen, measurements are taken, tables are found; dumps and watches show them.
OBSERVING = House(
    "actors.observing",
    {
        "sampling": (),
        "events": (),
        "protocol": ("events",),
        "measurements": ("sampling",),
        "tables": ("events", "measurements", "protocol"),
        "telemetry": ("measurements", "tables"),
        "dumps": ("events", "measurements", "protocol", "tables"),
        "watches": ("dumps", "events", "measurements", "protocol", "tables", "telemetry"),
        "observation": ("events", "measurements", "tables", "watches"),
        "choice": ("events", "observation"),
        "discovery": ("dumps",),
    },
    outside=PACKAGES,
)

# A world stands above its parts; faults strike it, and trials of tests hold them all.
SIMULATION = House(
    "actors.simulation",
    {
        "machine": (),
        "checkers": ("host", "machine"),
        "extremes": ("machine",),
        "host": ("machine",),
        "log": (),
        "machines": ("host", "machine"),
        "partitions": ("host", "machine"),
        "passage": ("machine",),
        "servers": ("host", "machine"),
        "fault_schedule": (),
        "mishaps": ("fault_schedule",),
        "world": (
            "checkers",
            "extremes",
            "host",
            "log",
            "machine",
            "machines",
            "mishaps",
            "partitions",
            "passage",
            "fault_schedule",
            "servers",
        ),
        "faults": ("checkers", "host", "machine", "fault_schedule", "world"),
        "run": ("checkers", "machine", "fault_schedule", "world"),
        "story": ("checkers", "mishaps", "world"),
        "trial": ("faults", "mishaps", "fault_schedule", "run", "story", "world"),
        "seeds": ("fault_schedule", "trial"),
    },
    outside=PACKAGES,
)

HOSTCALLS = House(
    "hostcalls",
    {
        "engine": (),
        "codec": (),
        "abi": ("codec",),
        "resources": ("abi",),
        "net": ("abi", "resources"),
        "contracts": ("engine", "abi", "resources", "net"),
        "drivers": ("engine", "abi", "resources", "net", "contracts"),
        "kernel": ("engine", "codec", "abi", "resources", "net", "contracts", "drivers"),
        "sdk": ("codec", "abi", "kernel"),
    },
)

# Only `door_carrier` and `zones` know doors: anything else that carries batches can take their place.
# `budget` needs one function of the compiled module that doors are in.
TRANSPORT = House(
    "transport",
    {
        "doors": (),
        "zones": ("doors",),
        "namespaces": (),
        "carrier": (),
        "wire": (),
        "plain_frames": ("atoms", "wire"),
        "settings": ("wire",),
        "patience": (),
        "porter": (),
        "policy": ("carrier",),
        "name_owners": ("carrier", "policy"),
        "seal": ("carrier", "memory_file", "wire"),
        "attachment": ("carrier", "memory_file", "records"),
        "chunks": ("attachment", "memory_file", "wire"),
        "node_link": (
            "attachment",
            "carrier",
            "chunks",
            "memory_file",
            "policy",
            "seal",
            "settings",
            "wire",
        ),
        "outward": ("attachment", "carrier", "node_link", "wire"),
        "turn": ("attachment", "wire"),
        "closing": ("carrier", "doors", "memory_file"),
        "resuming_link": ("carrier", "node_link", "wire"),
        "terms": ("policy", "wire"),
        "inward": (
            "attachment",
            "closing",
            "carrier",
            "chunks",
            "node_link",
            "outward",
            "patience",
            "turn",
            "wire",
        ),
        "core": ("carrier", "inward", "node_link", "outward", "turn", "wire"),
        "peer": (
            "attachment",
            "carrier",
            "chunks",
            "core",
            "inward",
            "node_link",
            "outward",
            "policy",
            "printable",
            "resuming_link",
            "wire",
        ),
        "way": (
            "carrier",
            "chunks",
            "node_link",
            "policy",
            "resuming_link",
            "seal",
            "settings",
            "terms",
            "wire",
        ),
        "conversation": ("carrier", "printable", "seal", "way", "wire"),
        "rendezvous": (
            "carrier",
            "closing",
            "conversation",
            "name_owners",
            "peer",
            "policy",
            "seal",
            "settings",
            "terms",
            "way",
            "wire",
        ),
        "simulated": ("carrier", "closing", "memory_file", "mesh", "wire"),
        "door_carrier": ("carrier", "closing", "doors", "porter", "wire", "zones"),
        "memory_carrier": ("carrier", "closing", "memory_file", "wire"),
        # Nothing but what opens a node with a mesh, or simulates one, knows this.
        "mesh": ("carrier", "printable", "process_start", "wire"),
        "process_start": (),
        "printable": (),
        "records": (),
        "remote_trace": (),
        "file_descriptor": ("attachment", "closing"),
        "memory_file": ("doors", "records"),
        "budget": ("doors", "records"),
        "standard_types": ("records",),
        "atoms": (),
        "payload": (
            "attachment",
            "budget",
            "file_descriptor",
            "memory_file",
            "policy",
            "records",
            "remote_trace",
            "atoms",
            "standard_types",
        ),
    },
)

HOUSES = (ACTORS, OBSERVING, SIMULATION, HOSTCALLS, TRANSPORT)
