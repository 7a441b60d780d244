/*
 * The network: HTTP/1.1, HTTPS and QUIC, as the host's policy allows. A listener, the two halves of a connection and TLS
 * settings are slots of the guest; enfilade_detach closes them.
 */
#ifndef ENFILADE_NET_H
#define ENFILADE_NET_H

#include "channel.h"

enum enfilade_protocol { ENFILADE_QUIC, ENFILADE_HTTP, ENFILADE_HTTPS };

/* No TLS settings: the host's own certificate, or the roots that it trusts. */
#define ENFILADE_NO_TLS UINT64_MAX

/* A connection, or one HTTP request: where it is read and answered. */
struct enfilade_connection {
    uint32_t reader, writer;
};

/* What bind and connect take, into the scratch space. Returns 0, or -1 if it does not fit. */
static inline int enfilade_put_endpoint(enum enfilade_protocol protocol, const char *domain, uint32_t size,
                                        uint16_t port, uint64_t tls) {
    struct endpoint {
        uint8_t protocol;
        union enfilade_text domain;
        uint16_t port;
        struct enfilade_option tls;
    } *endpoint;
    enfilade_begin();
    const struct enfilade_piece text = enfilade_put_text(domain, size);
    endpoint = (struct endpoint *)enfilade_root(sizeof *endpoint, 8);
    if (endpoint == NULL) {
        return -1;
    }
    endpoint->protocol = (uint8_t)protocol;
    enfilade_set_text(&endpoint->domain, text);
    endpoint->port = port;
    endpoint->tls.present = tls != ENFILADE_NO_TLS;
    endpoint->tls.value = tls != ENFILADE_NO_TLS ? tls : 0;
    return 0;
}

/* The two halves in a result, the last 24 bytes of it. Returns 0, or -1. */
static inline int enfilade_take_connection(int32_t size, struct enfilade_connection *connection) {
    uint64_t halves[2];
    if (size < 0) {
        return -1;
    }
    enfilade_copy(halves, enfilade_outcome.bytes + size - 24, sizeof halves);
    connection->reader = (uint32_t)halves[0];
    connection->writer = (uint32_t)halves[1];
    return 0;
}

static inline int32_t enfilade_take_handle(int32_t size) {
    uint64_t handle;
    if (size < 0) {
        return -1;
    }
    enfilade_copy(&handle, enfilade_outcome.bytes, sizeof handle);
    return (int32_t)handle;
}

/*
 * The functions of one family, enfilade_http_* (HTTP and HTTPS) and enfilade_quic_*:
 *   bind(protocol, domain, size, port, tls)      the slot of a listener, or -1
 *   accept(listener, &connection)                0 when there is a request or connection, or -1
 *   connect(protocol, domain, size, port, tls, &connection)
 *   read(reader, buffer, capacity, &data, &size) as enfilade_strong_read; no bytes at the end
 *   write(writer, data, size)                    0, or -1
 */
#define ENFILADE_NET(family)                                                                                         \
    ENFILADE_HOSTCALL(enfilade_net_##family##_bind, "selium::net::" #family "::bind")                                \
    ENFILADE_HOSTCALL(enfilade_net_##family##_accept, "selium::net::" #family "::accept")                            \
    ENFILADE_HOSTCALL(enfilade_net_##family##_connect, "selium::net::" #family "::connect")                          \
    ENFILADE_HOSTCALL(enfilade_net_##family##_read, "selium::net::" #family "::read")                                \
    ENFILADE_HOSTCALL(enfilade_net_##family##_write, "selium::net::" #family "::write")                              \
    static inline int32_t enfilade_##family##_bind(enum enfilade_protocol protocol, const char *domain,              \
                                                   uint32_t size, uint16_t port, uint64_t tls) {                     \
        return enfilade_put_endpoint(protocol, domain, size, port, tls) < 0                                          \
                   ? -1                                                                                              \
                   : enfilade_take_handle(ENFILADE_MAKE(enfilade_net_##family##_bind));                              \
    }                                                                                                                \
    static inline int enfilade_##family##_accept(uint32_t listener, struct enfilade_connection *connection) {        \
        const uint64_t handle = listener;                                                                            \
        return enfilade_take_connection(enfilade_net_##family##_accept(&handle, sizeof handle, enfilade_outcome.bytes, \
                                                                       ENFILADE_RESULT_MIN),                         \
                                        connection);                                                                 \
    }                                                                                                                \
    static inline int enfilade_##family##_connect(enum enfilade_protocol protocol, const char *domain,               \
                                                  uint32_t size, uint16_t port, uint64_t tls,                        \
                                                  struct enfilade_connection *connection) {                          \
        return enfilade_put_endpoint(protocol, domain, size, port, tls) < 0                                          \
                   ? -1                                                                                              \
                   : enfilade_take_connection(ENFILADE_MAKE(enfilade_net_##family##_connect), connection);           \
    }                                                                                                                \
    static inline int enfilade_##family##_read(uint32_t reader, void *buffer, uint32_t capacity,                     \
                                               const uint8_t **data, uint32_t *size) {                               \
        return enfilade_read_by(enfilade_net_##family##_read, reader, buffer, capacity, data, size);                 \
    }                                                                                                                \
    static inline int enfilade_##family##_write(uint32_t writer, const void *data, uint32_t size) {                  \
        return enfilade_put_write(writer, data, size) < 0 || ENFILADE_MAKE(enfilade_net_##family##_write) < 0 ? -1 : 0; \
    }

ENFILADE_NET(http)
ENFILADE_NET(quic)

ENFILADE_HOSTCALL(enfilade_net_tls_server_config_create, "selium::net::tls::server_config_create")
ENFILADE_HOSTCALL(enfilade_net_tls_client_config_create, "selium::net::tls::client_config_create")

/* Bytes that may be absent. */
struct enfilade_optional_bytes {
    uint8_t present;
    struct enfilade_bytes bytes;
};

/* Settings of a TLS server: its certificate chain and key, as PEM. The protocols are the default ones. Slot, or -1. */
static inline int32_t enfilade_tls_server(const void *chain, uint32_t chain_size, const void *key, uint32_t key_size) {
    struct bundle {
        struct enfilade_bytes chain, key;
        struct enfilade_optional_bytes client_ca, protocols;
        uint8_t require_client;
    } *bundle;
    enfilade_begin();
    const struct enfilade_piece pieces[] = {enfilade_put(chain, chain_size, 1), enfilade_put(key, key_size, 1)};
    bundle = (struct bundle *)enfilade_root(sizeof *bundle, 4);
    if (bundle == NULL) {
        return -1;
    }
    enfilade_point(&bundle->chain, pieces[0]);
    enfilade_point(&bundle->key, pieces[1]);
    return enfilade_take_handle(ENFILADE_MAKE(enfilade_net_tls_server_config_create));
}

/* Settings of a TLS client: the certificates that it trusts, as PEM, in place of the host's. Slot, or -1. */
static inline int32_t enfilade_tls_client(const void *trusted, uint32_t size) {
    struct bundle {
        struct enfilade_optional_bytes trusted, chain, key, protocols;
    } *bundle;
    enfilade_begin();
    const struct enfilade_piece piece = enfilade_put(trusted, size, 1);
    bundle = (struct bundle *)enfilade_root(sizeof *bundle, 4);
    if (bundle == NULL) {
        return -1;
    }
    bundle->trusted.present = 1;
    enfilade_point(&bundle->trusted.bytes, piece);
    return enfilade_take_handle(ENFILADE_MAKE(enfilade_net_tls_client_config_create));
}

#endif
