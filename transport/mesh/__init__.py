"""The mesh: node links over NATS servers, to nodes that no door leads to."""

from enfilade.transport.mesh.directory import MeshNode, NodeChanged, NodeJoined, NodeLeft
from enfilade.transport.mesh.load import Load
from enfilade.transport.mesh.settings import Mesh, MeshError

__all__ = ["Load", "Mesh", "MeshError", "MeshNode", "NodeChanged", "NodeJoined", "NodeLeft"]
