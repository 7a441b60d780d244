/*
 * Guests in C. This header is complete: a guest needs nothing else.
 *
 *   clang --target=wasm32 -mbulk-memory -O2 -nostdlib -Wl,--no-entry -Wl,--stack-first -Wl,-z,stack-size=65536 \
 *         -I "$(enfilade guest sdk)/c" -o guest.wasm guest.c
 *
 * The mailbox takes up the memory below 1040, followed by the arguments of the entrypoint. With --stack-first both
 * share memory with the deep end of the stack, so make the stack larger than the program needs.
 *
 * Every hostcall is three imports: create begins an operation and returns a future, poll fetches its outcome, drop
 * abandons it. ENFILADE_HOSTCALL declares the three and an inline function that begins and waits:
 *
 *   ENFILADE_HOSTCALL(time_now, "selium::time::now")
 *   ...
 *   struct time_now now;
 *   int32_t size = time_now(NULL, 0, &now, sizeof now);
 *
 * Arguments and results are rkyv archives: structs in C's layout, in which a string or an array is a relative offset
 * to bytes before the struct. For the hostcalls of actors this header has functions that encode and decode them.
 */
#ifndef ENFILADE_H
#define ENFILADE_H

#include <stddef.h>
#include <stdint.h>

#define ENFILADE_IMPORT(module, name) __attribute__((import_module(module), import_name(name)))
#define ENFILADE_EXPORT(name) __attribute__((export_name(name)))

/* The value of poll while there is no outcome. An error has this bit and others set. */
#define ENFILADE_PENDING 0x80000000u

/* The smallest buffer for a result: room for any error text. */
#define ENFILADE_RESULT_MIN 256

ENFILADE_IMPORT("selium::async", "yield_now") void enfilade_yield(void);

typedef uint32_t enfilade_poll_function(uint32_t future, uint32_t task, void *result, uint32_t capacity);

/* --- the mailbox -------------------------------------------------------------------------------------------------- */

/* Wait until some future that was polled has an outcome, and forget which. */
static inline void enfilade_wait(void) {
    volatile uint32_t *const flag = (volatile uint32_t *)4;
    volatile uint32_t *const head = (volatile uint32_t *)8;
    volatile uint32_t *const tail = (volatile uint32_t *)12;
    if (*flag == 0) {
        enfilade_yield();
    }
    *head = *tail;
    *flag = 0;
}

/* Wait for one future: the bytes that were written to `result`, or -1 and an error text there (enfilade_error). */
static inline int32_t enfilade_await(enfilade_poll_function *poll, uint32_t future, void *result, uint32_t capacity) {
    for (;;) {
        uint32_t word = poll(future, 1, result, capacity);
        if (word != ENFILADE_PENDING) {
            return (word & ENFILADE_PENDING) != 0 ? -1 : (int32_t)word;
        }
        enfilade_wait();
    }
}

#define ENFILADE_HOSTCALL(name, module)                                                                     \
    ENFILADE_IMPORT(module, "create") uint32_t name##_create(const void *arguments, uint32_t size);         \
    ENFILADE_IMPORT(module, "poll")                                                                         \
    uint32_t name##_poll(uint32_t future, uint32_t task, void *result, uint32_t capacity);                  \
    ENFILADE_IMPORT(module, "drop") uint32_t name##_drop(uint32_t future, void *result, uint32_t capacity); \
    static inline int32_t name(const void *arguments, uint32_t size, void *result, uint32_t capacity) {     \
        return enfilade_await(name##_poll, name##_create(arguments, size), result, capacity);               \
    }

/* --- encoding ----------------------------------------------------------------------------------------------------- */

/* Bytes elsewhere: the offset counts from this field. */
struct enfilade_bytes {
    int32_t offset;
    uint32_t size;
};

/* Text of up to 8 bytes lies in the field itself, filled up with 0xff; longer text elsewhere. */
union enfilade_text {
    uint8_t within[8];
    struct {
        uint32_t tagged;
        int32_t offset;
    } elsewhere;
};

/* A number, or none. */
struct enfilade_option {
    uint8_t present;
    uint64_t value;
};

static inline const void *enfilade_data(const struct enfilade_bytes *field) {
    return (const uint8_t *)field + field->offset;
}

static inline void enfilade_point(struct enfilade_bytes *field, const void *data, uint32_t size) {
    field->offset = (int32_t)((intptr_t)data - (intptr_t)field);
    field->size = size;
}

static inline void enfilade_copy(void *to, const void *from, uint32_t size) {
    __builtin_memcpy(to, from, size);
}

/* The text of an error that a hostcall left in `result`; not terminated, `*size` bytes. */
static inline const char *enfilade_error(const void *result, uint32_t *size) {
    uint32_t encoded;
    enfilade_copy(&encoded, result, 4);
    const uint8_t *root = (const uint8_t *)result + 4 + encoded - 8;
    if ((root[0] & 0xc0) == 0x80) {
        union enfilade_text text;
        enfilade_copy(&text, root, sizeof text);
        *size = (text.elsewhere.tagged & 0x3f) | ((text.elsewhere.tagged & ~0xffu) >> 2);
        return (const char *)root + text.elsewhere.offset;
    }
    uint32_t length = 0;
    while (length < 8 && root[length] != 0xff) {
        length++;
    }
    *size = length;
    return (const char *)root;
}

/* --- actors ------------------------------------------------------------------------------------------------------- */

ENFILADE_HOSTCALL(enfilade_actor_self, "enfilade::actor::self")
ENFILADE_HOSTCALL(enfilade_actor_send, "enfilade::actor::send")
ENFILADE_HOSTCALL(enfilade_actor_receive, "enfilade::actor::receive")
ENFILADE_HOSTCALL(enfilade_actor_call, "enfilade::actor::call")
ENFILADE_HOSTCALL(enfilade_actor_reply, "enfilade::actor::reply")
ENFILADE_HOSTCALL(enfilade_actor_release, "enfilade::actor::release")
ENFILADE_HOSTCALL(enfilade_actor_whereis, "enfilade::actor::whereis")

/* The kinds of message. */
enum enfilade_kind {
    ENFILADE_MESSAGE = 0, /* sent without expecting a reply */
    ENFILADE_REQUEST = 1, /* the caller waits for enfilade_reply */
    ENFILADE_EXITED = 2,  /* a linked process has ended */
    ENFILADE_DOWN = 3,    /* a monitored process has ended */
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

/*
 * Wait for a message, at most `timeout_ms`. The buffer must be aligned to 8 and have 256 bytes more than the longest
 * message; a longer one makes the receive fail, and stays. Returns 0, or -1 with an error text in the buffer.
 */
static inline int enfilade_receive(struct enfilade_message *message, void *buffer, uint32_t capacity,
                                   uint64_t timeout_ms) {
    struct {
        struct enfilade_option timeout;
        uint32_t kinds; /* 0 accepts all kinds */
        struct enfilade_option tag;
        uint32_t limit;
    } wanted = {{timeout_ms != ENFILADE_FOREVER, timeout_ms}, 0, {0, 0}, capacity - ENFILADE_RESULT_MIN};
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
    case ENFILADE_NOTHING:
        break;
    }
    if (data != NULL) {
        message->data = (const uint8_t *)enfilade_data(data);
        message->size = data->size;
    }
    return 0;
}

/* Scratch space for outgoing messages; longer messages are refused. */
#ifndef ENFILADE_LONGEST
#define ENFILADE_LONGEST 4096
#endif

static union {
    uint64_t aligned;
    uint8_t bytes[ENFILADE_LONGEST + 64];
} enfilade_scratch;

static union {
    uint64_t aligned;
    uint8_t bytes[ENFILADE_RESULT_MIN];
} enfilade_outcome;

/* Answer a request. Returns 0, or -1. */
static inline int enfilade_reply(uint32_t request, const void *data, uint32_t size) {
    struct reply {
        uint32_t request;
        struct enfilade_bytes data;
        struct enfilade_bytes resources;
    } *reply;
    if (size > ENFILADE_LONGEST) {
        return -1;
    }
    enfilade_copy(enfilade_scratch.bytes, data, size);
    reply = (struct reply *)(enfilade_scratch.bytes + ((size + 3) & ~3u));
    reply->request = request;
    enfilade_point(&reply->data, enfilade_scratch.bytes, size);
    enfilade_point(&reply->resources, reply, 0);
    uint32_t length = (uint32_t)((uint8_t *)(reply + 1) - enfilade_scratch.bytes);
    return enfilade_actor_reply(enfilade_scratch.bytes, length, enfilade_outcome.bytes, ENFILADE_RESULT_MIN) < 0 ? -1 : 0;
}

/* Send a message to the actor in a slot. Returns 0, or -1. */
static inline int enfilade_send(uint32_t actor, uint64_t tag, const void *data, uint32_t size) {
    struct send {
        uint32_t to;
        uint64_t tag;
        struct enfilade_bytes data;
        struct enfilade_bytes resources;
    } *send;
    if (size > ENFILADE_LONGEST) {
        return -1;
    }
    enfilade_copy(enfilade_scratch.bytes, data, size);
    send = (struct send *)(enfilade_scratch.bytes + ((size + 7) & ~7u));
    send->to = actor;
    send->tag = tag;
    enfilade_point(&send->data, enfilade_scratch.bytes, size);
    enfilade_point(&send->resources, send, 0);
    uint32_t length = (uint32_t)((uint8_t *)(send + 1) - enfilade_scratch.bytes);
    return enfilade_actor_send(enfilade_scratch.bytes, length, enfilade_outcome.bytes, ENFILADE_RESULT_MIN) < 0 ? -1 : 0;
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
    if (request_size > ENFILADE_LONGEST || capacity < ENFILADE_RESULT_MIN) {
        return -1;
    }
    enfilade_copy(enfilade_scratch.bytes, request, request_size);
    call = (struct call *)(enfilade_scratch.bytes + ((request_size + 7) & ~7u));
    call->to = actor;
    call->timeout.present = timeout_ms != ENFILADE_FOREVER;
    call->timeout.value = timeout_ms;
    enfilade_point(&call->data, enfilade_scratch.bytes, request_size);
    enfilade_point(&call->resources, call, 0);
    call->limit = capacity - ENFILADE_RESULT_MIN;
    uint32_t length = (uint32_t)((uint8_t *)(call + 1) - enfilade_scratch.bytes);
    int32_t size = enfilade_actor_call(enfilade_scratch.bytes, length, buffer, capacity);
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
    if (size > ENFILADE_LONGEST) {
        return -1;
    }
    uint32_t start = (size + 3) & ~3u; /* of the root, behind a name that does not lie in it */
    union enfilade_text *root = (union enfilade_text *)(enfilade_scratch.bytes + start);
    if (size <= sizeof root->within) {
        root = (union enfilade_text *)enfilade_scratch.bytes;
        __builtin_memset(root, 0xff, sizeof *root);
    } else {
        root->elsewhere.tagged = (size & 0x3f) | 0x80 | ((size & ~0x3fu) << 2);
        root->elsewhere.offset = -(int32_t)start;
    }
    enfilade_copy(enfilade_scratch.bytes, name, size);
    uint32_t length = (uint32_t)((uint8_t *)(root + 1) - enfilade_scratch.bytes);
    if (enfilade_actor_whereis(enfilade_scratch.bytes, length, enfilade_outcome.bytes, ENFILADE_RESULT_MIN) < 0) {
        return -1;
    }
    int32_t slot;
    enfilade_copy(&slot, enfilade_outcome.bytes, sizeof slot);
    return slot;
}

#endif
