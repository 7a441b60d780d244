/* Messages: what a guest receives from actors, answers, sends, and asks. Actors are slots of the guest. */
#ifndef ENFILADE_ACTOR_H
#define ENFILADE_ACTOR_H

#include "archive.h"

ENFILADE_HOSTCALL(enfilade_actor_self, "enfilade::actor::self")
ENFILADE_HOSTCALL(enfilade_actor_send, "enfilade::actor::send")
ENFILADE_HOSTCALL(enfilade_actor_receive, "enfilade::actor::receive")
ENFILADE_HOSTCALL(enfilade_actor_call, "enfilade::actor::call")
ENFILADE_HOSTCALL(enfilade_actor_reply, "enfilade::actor::reply")
ENFILADE_HOSTCALL(enfilade_actor_release, "enfilade::actor::release")
ENFILADE_HOSTCALL(enfilade_actor_whereis, "enfilade::actor::whereis")
ENFILADE_HOSTCALL(enfilade_actor_register, "enfilade::actor::register")
ENFILADE_HOSTCALL(enfilade_actor_export_state, "enfilade::actor::export_state")
ENFILADE_HOSTCALL(enfilade_actor_import_state, "enfilade::actor::import_state")

/* The kinds of message. */
enum enfilade_kind {
    ENFILADE_MESSAGE = 0, /* sent without expecting a reply */
    ENFILADE_REQUEST = 1, /* the caller waits for enfilade_reply */
    ENFILADE_EXITED = 2,  /* a linked process has ended */
    ENFILADE_DOWN = 3,    /* a monitored process has ended */
    ENFILADE_UPGRADE = 4, /* another module is to take this one's place: enfilade_export_state */
    ENFILADE_NOTHING = -1 /* the timeout expired, or the receive failed */
};

/* The reason for which a process ended. */
enum enfilade_reason {
    ENFILADE_NORMAL,
    ENFILADE_SHUTDOWN,
    ENFILADE_KILL,
    ENFILADE_KILLED,
    ENFILADE_NO_PROCESS,
    ENFILADE_NO_CONNECTION,
    ENFILADE_TIMEOUT,
    ENFILADE_TRAPPED,
    ENFILADE_CRASHED,
    ENFILADE_OTHER
};

/* One message. `data` lies in the buffer that was given to enfilade_receive. */
struct enfilade_message {
    enum enfilade_kind kind;
    uint32_t request; /* of a request: its slot */
    uint64_t tag;     /* of a message */
    const uint8_t *data;
    uint32_t size;
    uint32_t actor;              /* of an ended process: its slot, */
    enum enfilade_reason reason; /* the reason, */
    uint64_t monitor;            /* and the monitor that reported it */
};

/* No time limit. */
#define ENFILADE_FOREVER UINT64_MAX

/* Whether enfilade_receive takes an ENFILADE_UPGRADE; a guest that can hand its state over sets it to 1. */
static uint8_t enfilade_takes_upgrades;

/*
 * Wait for a message, at most `timeout_ms`. The buffer must be aligned to 8 and have 256 bytes more than the longest
 * message; a longer one makes the receive fail, and stays. Returns 0, or -1 with an error text in the buffer.
 */
static inline int enfilade_receive(struct enfilade_message *message, void *buffer, uint32_t capacity,
                                   uint64_t timeout_ms) {
    struct {
        struct enfilade_option timeout;
        uint32_t kinds; /* a bit for each; 0 accepts all but an upgrade */
        struct enfilade_option tag;
        uint32_t limit;
    } wanted = {{timeout_ms != ENFILADE_FOREVER, timeout_ms},
                enfilade_takes_upgrades ? 31 : 0,
                {0, 0},
                capacity - ENFILADE_RESULT_MIN};
    __builtin_memset(message, 0, sizeof *message);
    message->kind = ENFILADE_NOTHING;
    if (capacity < ENFILADE_RESULT_MIN) {
        return -1;
    }
    int32_t size = enfilade_actor_receive(&wanted, sizeof wanted, buffer, capacity);
    if (size < 0) {
        return -1;
    }
    /* The result's last 40 bytes: whether there is a message, then the message, its kind first. */
    const uint8_t *root = (const uint8_t *)buffer + size - 40;
    if (root[0] == 0) {
        return 0;
    }
    message->kind = (enum enfilade_kind)root[8];
    const struct enfilade_bytes *data = NULL;
    switch (message->kind) {
    case ENFILADE_MESSAGE:
        enfilade_copy(&message->tag, root + 16, 8);
        data = (const struct enfilade_bytes *)(root + 24);
        break;
    case ENFILADE_REQUEST:
        enfilade_copy(&message->request, root + 12, 4);
        data = (const struct enfilade_bytes *)(root + 16);
        break;
    case ENFILADE_EXITED:
        enfilade_copy(&message->actor, root + 12, 4);
        message->reason = (enum enfilade_reason)root[16];
        break;
    case ENFILADE_DOWN:
        enfilade_copy(&message->monitor, root + 16, 8);
        enfilade_copy(&message->actor, root + 24, 4);
        message->reason = (enum enfilade_reason)root[28];
        break;
    case ENFILADE_UPGRADE:
    case ENFILADE_NOTHING:
        break;
    }
    if (data != NULL) {
        message->data = (const uint8_t *)enfilade_data(data);
        message->size = data->size;
    }
    return 0;
}

/* The slot of the guest itself, or -1. */
static inline int32_t enfilade_self(void) {
    int32_t slot;
    if (enfilade_actor_self(NULL, 0, enfilade_outcome.bytes, ENFILADE_RESULT_MIN) < 0) {
        return -1;
    }
    enfilade_copy(&slot, enfilade_outcome.bytes, sizeof slot);
    return slot;
}

/* Free the slot of an actor or of a request; an unanswered request fails at its caller. Returns 0, or -1. */
ENFILADE_ON_SLOT(enfilade_release, enfilade_actor_release)

/* Answer a request. Returns 0, or -1. */
static inline int enfilade_reply(uint32_t request, const void *data, uint32_t size) {
    struct reply {
        uint32_t request;
        struct enfilade_bytes data;
        struct enfilade_bytes resources;
    } *reply;
    enfilade_begin();
    const struct enfilade_piece body = enfilade_put(data, size, 1), resources = enfilade_put(NULL, 0, 4);
    reply = (struct reply *)enfilade_root(sizeof *reply, 4);
    if (reply == NULL) {
        return -1;
    }
    reply->request = request;
    enfilade_point(&reply->data, body);
    enfilade_point(&reply->resources, resources);
    return ENFILADE_MAKE(enfilade_actor_reply) < 0 ? -1 : 0;
}

/* Send a message to the actor in a slot. Returns 0, or -1. */
static inline int enfilade_send(uint32_t actor, uint64_t tag, const void *data, uint32_t size) {
    struct send {
        uint32_t to;
        uint64_t tag;
        struct enfilade_bytes data;
        struct enfilade_bytes resources;
    } *send;
    enfilade_begin();
    const struct enfilade_piece body = enfilade_put(data, size, 1), resources = enfilade_put(NULL, 0, 4);
    send = (struct send *)enfilade_root(sizeof *send, 8);
    if (send == NULL) {
        return -1;
    }
    send->to = actor;
    send->tag = tag;
    enfilade_point(&send->data, body);
    enfilade_point(&send->resources, resources);
    return ENFILADE_MAKE(enfilade_actor_send) < 0 ? -1 : 0;
}

/*
 * Send a request to the actor in a slot and wait for its reply, at most `timeout_ms`; `*data` and `*data_size` are the
 * reply, in the buffer. The buffer is as that of enfilade_receive. Returns 0, or -1 with an error text in the buffer.
 */
static inline int enfilade_call(uint32_t actor, const void *request, uint32_t request_size, void *buffer,
                                uint32_t capacity, uint64_t timeout_ms, const uint8_t **data, uint32_t *data_size) {
    struct call {
        uint32_t to;
        struct enfilade_option timeout;
        struct enfilade_bytes data;
        struct enfilade_bytes resources;
        uint32_t limit;
    } *call;
    enfilade_begin();
    const struct enfilade_piece body = enfilade_put(request, request_size, 1), resources = enfilade_put(NULL, 0, 4);
    call = (struct call *)enfilade_root(sizeof *call, 8);
    if (call == NULL || capacity < ENFILADE_RESULT_MIN) {
        return -1;
    }
    call->to = actor;
    call->timeout.present = timeout_ms != ENFILADE_FOREVER;
    call->timeout.value = timeout_ms;
    enfilade_point(&call->data, body);
    enfilade_point(&call->resources, resources);
    call->limit = capacity - ENFILADE_RESULT_MIN;
    int32_t size = enfilade_actor_call(enfilade_scratch.bytes, enfilade_used, buffer, capacity);
    if (size < 0) {
        return -1;
    }
    const struct enfilade_bytes *reply = (const struct enfilade_bytes *)((const uint8_t *)buffer + size - 16);
    *data = (const uint8_t *)enfilade_data(reply);
    *data_size = reply->size;
    return 0;
}

/* The slot of the actor that has this name (`size` bytes), or -1 if there is none, or it may not be asked for. */
static inline int32_t enfilade_whereis(const char *name, uint32_t size) {
    int32_t slot;
    enfilade_begin();
    const struct enfilade_piece piece = enfilade_put_text(name, size);
    union enfilade_text *root = (union enfilade_text *)enfilade_root(sizeof *root, 4);
    if (root == NULL) {
        return -1;
    }
    enfilade_set_text(root, piece);
    if (ENFILADE_MAKE(enfilade_actor_whereis) < 0) {
        return -1;
    }
    enfilade_copy(&slot, enfilade_outcome.bytes, sizeof slot);
    return slot;
}

/* Give the actor in a slot a name. Returns 0, or -1. */
static inline int enfilade_register(const char *name, uint32_t size, uint32_t actor) {
    struct registration {
        union enfilade_text name;
        uint32_t actor;
    } *registration;
    enfilade_begin();
    const struct enfilade_piece piece = enfilade_put_text(name, size);
    registration = (struct registration *)enfilade_root(sizeof *registration, 4);
    if (registration == NULL) {
        return -1;
    }
    enfilade_set_text(&registration->name, piece);
    registration->actor = actor;
    return ENFILADE_MAKE(enfilade_actor_register) < 0 ? -1 : 0;
}

/*
 * After an ENFILADE_UPGRADE: hand the guest's state over to the module that takes its place. It returns only if that has
 * failed, and the guest is to go on: 0, or -1 if the state was refused.
 */
static inline int enfilade_export_state(const void *state, uint32_t size) {
    enfilade_begin();
    const struct enfilade_piece piece = enfilade_put(state, size, 1);
    struct enfilade_bytes *root = (struct enfilade_bytes *)enfilade_root(sizeof *root, 4);
    if (root == NULL) {
        return -1;
    }
    enfilade_point(root, piece);
    return ENFILADE_MAKE(enfilade_actor_export_state) < 0 ? -1 : 0;
}

/*
 * At the start: the state that the module before has exported, `*size` bytes at `*state`, in the buffer, which has 24
 * bytes more. Returns 1, 0 if there was no module before, or -1.
 */
static inline int enfilade_import_state(void *buffer, uint32_t capacity, const uint8_t **state, uint32_t *size) {
    const int32_t written = enfilade_actor_import_state(NULL, 0, buffer, capacity);
    if (written < 0) {
        return -1;
    }
    const uint8_t *root = (const uint8_t *)buffer + written - 12; /* whether there is a state, then the state */
    if (root[0] == 0) {
        return 0;
    }
    *state = (const uint8_t *)enfilade_data((const struct enfilade_bytes *)(root + 4));
    *size = ((const struct enfilade_bytes *)(root + 4))->size;
    return 1;
}

#endif
