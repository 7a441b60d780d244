"""The network of guests: listeners, connections and TLS settings behind `selium::net::*`.

The libraries of the dependency group `net` are imported by `tls`, `http1`, `http2` and the `quic_` modules
alone, and those only when a guest with a network capability is prepared.
"""
