/*
 * What crosses the process boundary: datagrams, the status page and the session memory.
 *
 * Payload never travels in datagrams. A call's request and reply lie in memory that the two sides share,
 * which costs one copy in and one copy out, and the datagram is a doorbell that can carry descriptors.
 * Both sides treat everything here as written by an enemy: they copy what they need once, then check it.
 *
 * Each side receives only from sockets that it has made itself and given to nobody. Of a socket that the peer has made, the peer
 * may keep a copy, and read from it into memory that never comes: the kernel lets all other readers wait for that one, where no
 * signal reaches them. So a channel is two pairs: the client makes the one that it reads from, the server the other one. Only
 * a HELLO lies in a socket that may be anybody's: see identity.c.
 */
#ifndef DOORS_WIRE_H
#define DOORS_WIRE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "../closing.h"

#pragma GCC visibility push(hidden)

enum { WIRE_ABI = 3, WIRE_MAGIC = 0x524f4f44, DESCRIPTORS_A_DATAGRAM = 253, DESCRIPTORS_MAX = 1024 };

enum message_type {
    MESSAGE_HELLO = 1, /* server to trunk, never consumed: carries the status page */
    MESSAGE_ATTACH,    /* client to trunk: carries a channel, its session memory, and perhaps what a MESSAGE_GROW would */
    MESSAGE_NAME,      /* client to trunk: carries a bound socket to listen on, and a socket to answer on */
    MESSAGE_NAMED,     /* the answer to NAME */
    MESSAGE_CALL,      /* client to channel: a request is in the session memory */
    MESSAGE_FDS,       /* either way on a channel: descriptors of the next CALL or REPLY */
    MESSAGE_GROW,      /* either way on a channel: a larger region for the sender's payload */
    MESSAGE_ACCEPTED,  /* server to channel: descriptors received; close the released ones, then GO */
    MESSAGE_GO,        /* client to channel: run the procedure */
    MESSAGE_FDQUERY,   /* server to channel: have you room for `count` descriptors? */
    MESSAGE_FDOK,      /* client to channel: `error` is 0 or EMFILE */
    MESSAGE_REPLY,     /* server to channel: the reply is in the session memory */
    MESSAGE_RESULTS,   /* server to channel: write-sealed memory that becomes the client's results as it is */
    MESSAGE_ATTACHED,  /* server to channel, first: the socket on which the client sends from now on */
};

struct message {
    uint32_t magic;
    uint16_t abi;
    uint16_t type;
    uint64_t sequence; /* of the call; the door's number in a HELLO */
    uint64_t size;     /* GROW, RESULTS: bytes of the region */
    uint32_t count;    /* FDS, FDQUERY: descriptors */
    int32_t error;
    uint64_t reserved[4];
};
_Static_assert(sizeof(struct message) == 64, "the header of every datagram has 64 bytes");

/* Sends one datagram without blocking. 0 or an errno; EAGAIN when the peer does not read. */
int message_send(int fd, const struct message *message, const int *fds, unsigned count);

struct receipt {
    int fds[DESCRIPTORS_A_DATAGRAM];
    unsigned count;
    bool truncated; /* the descriptor table was full: nothing is kept of what arrived */
    bool credentialed;
    struct ucred credentials;
    int pidfd; /* of the sender, or -1 */
    struct closing_payer payer;
};

/* Receives one datagram without blocking: 0, EPIPE at the end of the stream, or an errno. EBADMSG: it was none of ours, or
 * carried what we had not asked for; it is gone, and nothing of it is kept. The payer is who may have sent it. */
int message_receive(int fd, const struct closing_payer *payer, struct message *message, struct receipt *receipt, int flags);
/* The same from a socket with SO_PASSPIDFD of our own; the sender pays. */
int message_receive_identified(int fd, struct message *message, struct receipt *receipt);
void receipt_close(struct receipt *receipt); /* waits for nobody */

/* The call's state, the word that decides between EAGAIN and EINTR. */
enum call_state {
    CALL_IDLE,
    CALL_QUEUED,    /* client: waiting for a server thread */
    CALL_ACTIVE,    /* server: a thread has taken the call */
    CALL_DONE,      /* server: the reply is ready */
    CALL_RETRACTED, /* client: gave up before a thread took the call */
    CALL_REFUSED,   /* server: the door was revoked before a thread took the call */
    CALL_EVICTED,   /* server: the idle channel is being closed; attach again */
};

enum { SESSION_REQUEST = 4096, SESSION_CAPACITY = 65536, SESSION_REPLY = SESSION_REQUEST + SESSION_CAPACITY,
       SESSION_SIZE = SESSION_REPLY + SESSION_CAPACITY };

/* Flags of requests and replies. IN_REGION: the payload lies in the sender's region, which came with
 * a GROW; REGION_DROPPED: the sender has let go of it; ON_SOCKET: datagrams before the CALL or REPLY belong to it;
 * IN_RESULTS: the reply lies in memory of its own, which came with a RESULTS; REQUEST_FAULTY: the client could not read what
 * it was to send, so there is only the size, and the answer is E2BIG or EFAULT. It is a thread's turn all the same.
 * REQUEST_FOLLOWS: the payload is still being copied into the region, and a flow counts what is there. */
enum {
    REQUEST_NO_RESULTS = 1,
    REQUEST_RELEASES = 2,
    IN_REGION = 4,
    ON_SOCKET = 8,
    REGION_DROPPED = 16,
    IN_RESULTS = 32,
    REQUEST_FAULTY = 64,
    REQUEST_FOLLOWS = 128
};

/* Where a client waits, which says how to wake it. */
enum { LISTENING_NOWHERE, LISTENING_TO_BELL, LISTENING_TO_SOCKET };

/* How a server thread attends to one channel before it goes back to its pool. */
enum { ATTENDING_NOT, ATTENDING_ASLEEP, ATTENDING_SPINNING };

/* How far a payload has come into its region, in chunks. */
enum { FLOW_CHUNK = 65536 };
struct flow {
    _Atomic uint32_t filled; /* chunks that are there: the writer's */
    _Atomic uint32_t wanted; /* the reader sleeps until so many are; 0: it does not sleep */
};

/* The first page of the session memory. Who writes what: the client request and sequence, the server reply. */
struct session {
    _Atomic uint32_t state;
    uint32_t unused;
    _Atomic uint64_t sequence;
    struct {
        uint64_t size;
        uint64_t room; /* bytes of the client's result buffer */
        uint32_t count;
        uint32_t flags;
    } request;
    struct {
        uint64_t size;
        uint32_t count;
        uint32_t flags;
        int32_t error;
        uint32_t unused;
    } reply;
    _Alignas(64) _Atomic uint32_t attending; /* a client that exchanges it for 0 has the thread's attention */
    _Atomic uint32_t client_processor;       /* where the client last ran, plus one */
    _Alignas(64) _Atomic uint32_t bell;      /* counts replies and datagrams for the client */
    _Atomic uint32_t listening;
    _Atomic uint32_t server_processor;
    _Atomic uint32_t postponed; /* the server waits no longer for what follows: say when all is there */
    _Atomic uint64_t coming;    /* sequence of the call whose reply is being copied; `reply` says how long it is */
    _Alignas(64) struct flow request_flow;
    _Alignas(64) struct flow reply_flow;
};

/* The page that makes a door's facts readable without asking its server. Only the server can write it. */
struct status {
    uint64_t magic;
    uint32_t abi;
    uint32_t unused;
    uint64_t id;
    uint64_t procedure;
    uint64_t cookie;
    _Atomic uint32_t attributes;
    _Atomic uint32_t revoked;
    _Atomic uint32_t dead; /* made by door_open for a name whose server is gone */
    _Atomic uint32_t unreferenced;
    _Atomic uint64_t data_min;
    _Atomic uint64_t data_max;
    _Atomic uint64_t descriptors_max;
    _Atomic uint32_t version; /* odd while the three limits change */
    _Atomic uint32_t active;  /* the rest is for whoever watches the door */
    _Atomic uint32_t references;
    _Atomic uint64_t calls;
    _Atomic uint64_t failures;
    _Atomic uint32_t attended; /* calls in progress whose client waits */
    _Atomic uint32_t orphaned; /* the end of the server would leave a single reference */
};

enum { STATUS_SIZE = 4096 };
_Static_assert(sizeof(struct status) <= STATUS_SIZE && sizeof(struct session) <= SESSION_REQUEST, "pages");

struct limits {
    uint64_t data_min, data_max, descriptors_max;
};

#pragma GCC visibility pop

#endif
