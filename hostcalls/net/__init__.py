"""The network of guests: listeners, connections and TLS settings behind `selium::net::*`.

The libraries of the dependency group `net` are imported by `tls` and by the `http1_`, `http2_` and `quic_`
modules alone, and those only when a guest with a network capability is prepared.
"""
