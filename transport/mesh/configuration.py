"""The configuration of a server: who may say what, and how it listens.

A server maps the URI in a client's certificate to a user. Every subject that a node acts on holds the
sender's token, and a user may publish under its own only; so a node is who its certificate says, for all
others.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from enfilade.transport.mesh.authority import Listed, NodeList
from enfilade.transport.mesh.identity import SERVER_URI
from enfilade.transport.mesh.subjects import ACCOUNT, DISCONNECTED, to_token

__all__ = ["ServerPaths", "permissions", "server_configuration"]

SYSTEM: Final = "system"
"""The account of events about nodes."""


@attrs.frozen(kw_only=True)
class ServerPaths:
    """Where a server listens, and where its files are.

    Attributes:
        name: of the server, for logs and clusters.
        listen: host and port for clients.
        identity: the directory with its certificate.
        directory: of its log and the file that says that it is ready.
        store: the directory of the registry.
        cluster: host and port for other servers; empty without any.
        routes: hosts and ports of the other servers.
    """

    name: str
    listen: str
    identity: Path
    directory: Path
    store: Path
    cluster: str = ""
    routes: Sequence[str] = ()


def permissions(mesh: str, node: Listed) -> dict[str, Any]:
    """Make the permissions of a node, as a server's configuration has them."""
    m = to_token(mesh)
    publish, subscribe = [f"enf.{m}.i.>"], [f"enf.{m}.g.>", *(f"enf.{m}.{kind}.*" for kind in "bdq")]
    for name in (node.name, *node.also):
        own = to_token(name)
        publish += [f"enf.{m}.l.*.*.{own}.*", f"enf.{m}.r.*.{own}", f"enf.{m}.p.*.*.{own}"]
        publish += [f"enf.{m}.{kind}.{own}" for kind in "bdq"]
        publish += [f"enf.{m}.g.*.{own}", f"enf.{m}.s.*.*.{own}"]
        subscribe += [f"enf.{m}.{kind}.{own}.>" for kind in "lpsi"] + [f"enf.{m}.r.{own}.*"]
    if node.registry != "none":
        publish.append(f"$JS.API.STREAM.MSG.GET.KV_enf-{m}")
    if node.registry == "write":
        publish += [f"$KV.enf-{m}.{kind}.>" for kind in ("lease", "name", "shard")]
        publish.append(f"$KV.enf-{m}.settled")
    if node.is_operator:
        publish.append("$JS.API.>")
    subscribe.append(DISCONNECTED)
    return {"publish": {"allow": publish}, "subscribe": {"allow": subscribe}}


def server_configuration(paths: ServerPaths, nodes: NodeList) -> str:
    """Write the configuration of a server, as text."""
    tls = {
        "cert_file": str(paths.identity / "node.pem"),
        "key_file": str(paths.identity / "node.key"),
        "ca_file": str(paths.identity / "ca.pem"),
        "min_version": "1.3",
    }
    users = [{"user": each.user, "permissions": permissions(nodes.mesh, each)} for each in nodes.nodes]
    fields: dict[str, Any] = {
        "server_name": paths.name,
        "listen": paths.listen,
        "tls": {**tls, "verify_and_map": True, "timeout": 2},
        "accounts": {
            SYSTEM: {"users": [], "exports": [{"stream": DISCONNECTED}]},
            ACCOUNT: {
                "jetstream": "enabled",
                "users": [{"user": SERVER_URI}, *users],
                "imports": [{"stream": {"account": SYSTEM, "subject": DISCONNECTED}}],
            },
        },
        "system_account": SYSTEM,
        "ping_interval": "1s",
        "ping_max": 2,
        "write_deadline": "2s",
        "max_pending": 128 * 1024 * 1024,
        "max_payload": 1024 * 1024,
        "max_control_line": 4096,
        "lame_duck_duration": "30s",
        "lame_duck_grace_period": "1s",
        "jetstream": {
            "store_dir": str(paths.store),
            "max_memory_store": 64 * 1024 * 1024,
            "max_file_store": 1024 * 1024 * 1024,
            "sync_interval": "always",
        },
        "ports_file_dir": str(paths.directory),
        "log_file": str(paths.directory / "server.log"),
        "logfile_size_limit": 16 * 1024 * 1024,
    }
    if paths.cluster:
        fields["cluster"] = {
            "name": f"enfilade-{to_token(nodes.mesh)}",
            "listen": paths.cluster,
            "routes": [f"tls://{each}" for each in paths.routes],
            # A node's certificate is of the same authority: who connects here must have the name of a server.
            "tls": {**tls, "verify_cert_and_check_known_urls": True, "timeout": 2},
        }
    return json.dumps(fields, indent=1)
