"""The catalogue: every benchmark, in the order of the report."""

from tests.benchmarks.benchmark import Benchmark
from tests.benchmarks.catalogue.applications import APPLICATIONS
from tests.benchmarks.catalogue.doors import DOORS
from tests.benchmarks.catalogue.guests import GUESTS
from tests.benchmarks.catalogue.mesh import MESH
from tests.benchmarks.catalogue.messages import MESSAGES
from tests.benchmarks.catalogue.nodes import NODES
from tests.benchmarks.catalogue.observation import OBSERVATION
from tests.benchmarks.catalogue.processes import PROCESSES
from tests.benchmarks.catalogue.servers import SERVERS
from tests.benchmarks.catalogue.supervision import SUPERVISION

BENCHMARKS: tuple[Benchmark, ...] = (
    *MESSAGES,
    *APPLICATIONS,
    *SERVERS,
    *PROCESSES,
    *SUPERVISION,
    *DOORS,
    *GUESTS,
    *NODES,
    *MESH,
    *OBSERVATION,
)

__all__ = ["BENCHMARKS"]
