/*
 * The caller's side of a reply: what comes by the socket, what comes in memory, and how it becomes the caller's.
 *
 * The server can still write all of the memory while it is read here: copy, check, use.
 */
#include "call.h"

#include <string.h>
#include <sys/mman.h>

/* What a server may take longer for a chunk, and once, than we do, before we sleep until the whole reply is there. */
enum { CHUNK_NANOSECONDS = 20000, FLOW_MICROSECONDS = 200 };

void call_unreserve(struct call *call) {
    close_all(call->reserved, call->reserved_count);
    call->reserved_count = 0;
}

/* What has arrived and was not made the caller's. */
void call_forget_reply(struct call *call) {
    close_foreign(call->received, call->received_count, &call->line->payer);
    call->received_count = 0;
    call->truncated = false;
    region_drop(&call->results);
    region_drop(&call->landing.mapped);
}

/* An array that could not be read, or was not looked at, stays as it is, and so do its descriptors. */
void call_release(struct call *call) {
    if (!call->released && (call->fault == 0 || call->fault == EINVAL)) {
        call->released = true;
        descriptors_release(call->arguments.desc_ptr, call->arguments.desc_num);
    }
}

/* Whether memory of the server's is larger than any reply in it could need to be. Regions grow by doubling. */
static bool is_too_large(const struct call *call, uint64_t size) {
    return size > REGION_LARGE && size / 2 > call->largest;
}

bool call_has_outcome(const struct line *line) {
    uint32_t state = atomic_load(&line->session->state);
    return state == CALL_DONE || state == CALL_REFUSED;
}

/* Deals with one datagram. Returns whether the call has an outcome. */
bool call_hear(struct call *call, const struct message *message, struct receipt *receipt, int *error) {
    struct line *line = call->line;
    struct message answer = {.sequence = message->sequence};
    void *base;
    if (message->type == MESSAGE_ATTACHED) {
        line_take_out(line, receipt);
        return false;
    }
    if (message->sequence != line->sequence) {
        return false;
    }
    switch (message->type) {
    case MESSAGE_ACCEPTED:
        call_release(call);
        answer.type = MESSAGE_GO;
        line_send(line, &answer, NULL, 0);
        return false;
    case MESSAGE_FDQUERY:
        call_unreserve(call);
        answer.type = MESSAGE_FDOK;
        answer.error = message->count > DESCRIPTORS_MAX
                           ? EMFILE
                           : descriptors_reserve(line->fd, message->count, call->reserved);
        call->reserved_count = answer.error == 0 ? message->count : 0;
        line_send(line, &answer, NULL, 0);
        return false;
    case MESSAGE_GROW:
        if (receipt->count != 1 || message->size == 0 || is_too_large(call, message->size) ||
            memory_adopt(receipt->fds[0], message->size, PROT_READ, &base) != 0) {
            *error = EOVERFLOW;
            return true;
        }
        region_drop(&line->reply);
        line->reply = (struct region){base, message->size};
        return false;
    case MESSAGE_RESULTS:
        region_drop(&call->results);
        if (receipt->count != 1 || message->size == 0 || is_too_large(call, message->size) ||
            memory_thaw(receipt->fds[0], message->size, &base) != 0) {
            *error = EOVERFLOW;
            return true;
        }
        call->results = (struct region){base, message->size};
        return false;
    case MESSAGE_FDS:
        if (receipt->truncated) {
            call->truncated = true;
        } else if (receipt->count + call->received_count > DESCRIPTORS_MAX) {
            *error = EINTR;
            return true;
        } else {
            memcpy(call->received + call->received_count, receipt->fds, receipt->count * sizeof(int));
            call->received_count += receipt->count;
            receipt->count = 0;
        }
        return false;
    case MESSAGE_REPLY: /* or the beginning of it */
        *error = 0;
        return call_has_outcome(line);
    default:
        return false;
    }
}

/* What came by the socket with a reply that was seen in the memory. */
int call_collect(struct call *call) {
    struct line *line = call->line;
    struct message message;
    struct receipt receipt;
    int error = 0;
    call_unreserve(call);
    for (int i = 0; error == 0 && line_receive(line, &message, &receipt) == 0; i++) {
        call_hear(call, &message, &receipt, &error);
        receipt_close(&receipt);
        error = error == 0 && i == DATAGRAMS_A_REPLY ? EINTR : error;
    }
    return error;
}

/* Whether the server has begun to copy the reply. */
bool call_is_coming(const struct call *call) {
    const struct line *line = call->line;
    return !call->hasty && atomic_load(&line->session->coming) == line->sequence && !call_has_outcome(line);
}

static bool is_over_request(const door_arg_t *arguments) {
    uintptr_t data = (uintptr_t)arguments->data_ptr, buffer = (uintptr_t)arguments->rbuf;
    return data < buffer + arguments->rsize && buffer < data + arguments->data_size;
}

/*
 * Takes in what there is of a reply, and what comes while it keeps coming. Whether it is a reply is decided at its end, so one
 * that would overwrite the request is left until then. 0, or why the call fails.
 */
int call_take_along(struct call *call) {
    struct line *line = call->line;
    struct session *session = line->session;
    struct region none = {NULL, 0};
    struct landing *landing = &call->landing;
    uint64_t size = *(volatile uint64_t *)&session->reply.size;
    uint32_t flags = *(volatile uint32_t *)&session->reply.flags;
    int error = flags & ON_SOCKET ? call_collect(call) : 0;
    call->hasty = true;
    atomic_store(&session->listening, LISTENING_NOWHERE);
    if (error != 0 || call->fault != 0 || call->no_results || call->read_only || !(flags & IN_REGION) || size == 0 ||
        size > line->reply.size || size > call->largest || is_over_request(&call->arguments) ||
        results_land(&call->arguments, size, 0, &none, landing) != 0) {
        return error;
    }
    call->coming = size;
    uint32_t processor = atomic_load_explicit(&session->server_processor, memory_order_relaxed);
    uint64_t end = word_clock() + FLOW_MICROSECONDS * 1000 + size / FLOW_CHUNK * CHUNK_NANOSECONDS;
    while (landing->done < size) {
        size_t there = flow_there(&session->reply_flow, size);
        if (there > landing->done) {
            memcpy(landing->target + landing->done, line->reply.base + landing->done, there - landing->done);
            landing->done = there;
        } else if (call_has_outcome(line) || word_clock() > end ||
                   !flow_await(&session->reply_flow, landing->done, size, processor, FLOW_MICROSECONDS)) {
            break;
        }
    }
    return 0;
}

/* The reply is in the session memory, which the server can still write: copy, check, use. */
int call_take_reply(struct call *call) {
    struct line *line = call->line;
    struct session *session = line->session;
    struct landing *landing = &call->landing;
    struct region none = {NULL, 0};
    uint32_t state = atomic_load(&session->state);
    if (state == CALL_REFUSED) {
        return EBADF;
    }
    if (state != CALL_DONE) {
        return EINTR; /* a server that does not keep to the protocol */
    }
    line_find_out(line); /* before any number is free that the caller has given away */
    uint64_t size = *(volatile uint64_t *)&session->reply.size;
    uint32_t count = *(volatile uint32_t *)&session->reply.count;
    uint32_t flags = *(volatile uint32_t *)&session->reply.flags;
    int error = *(volatile int32_t *)&session->reply.error;
    const char *data = (const char *)session + SESSION_REPLY;
    size_t capacity = SESSION_CAPACITY;
    if (call->fault != 0 && error == 0) {
        return EINTR; /* a server that does not keep to the protocol */
    }
    if (call->fault != 0 && error == EFAULT) {
        if (call->fault == EINVAL) {
            call_release(call);
        }
        return call->fault;
    }
    switch (error) {
    case 0:
        break;
    case E2BIG:
        region_drop(&line->request); /* the server may not have mapped it */
        __attribute__((fallthrough));
    case EFAULT: /* refused before the transfer: the descriptors are still ours */
    case EINVAL:
    case ENOBUFS:
    case ENOTSUP:
    case ENFILE:
        return call->released ? EINTR : error;
    default:
        call_release(call);
        return error == EMFILE || error == EOVERFLOW ? error : EINTR;
    }
    if (flags & REGION_DROPPED) {
        region_drop(&line->reply);
    }
    if (flags & IN_RESULTS) {
        data = call->results.base;
        capacity = call->results.size;
    } else if (flags & IN_REGION) {
        data = line->reply.base;
        capacity = line->reply.size;
    }
    call_release(call);
    if (call->truncated) {
        return EMFILE;
    }
    if (size > call->largest) {
        return EOVERFLOW;
    }
    if (size > capacity || count != call->received_count || (call->no_results && (size > 0 || count > 0)) ||
        (landing->target != NULL && (size != call->coming || count > 0 || !(flags & IN_REGION)))) {
        return EINTR;
    }
    if (call->read_only) {
        return EFAULT;
    }
    if (landing->target == NULL) {
        error = results_land(&call->arguments, size, count, flags & IN_RESULTS ? &call->results : &none, landing);
    }
    if (error == 0) {
        results_place(&call->arguments, data, size, call->received, count, landing);
        call->received_count = 0;
    }
    return error;
}
