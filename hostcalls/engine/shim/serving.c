/* Guests that serve, and whom they serve, without the host in between.
 *
 * Nothing of this outlives the call from the host: when it returns, what is under way is what the host would have
 * under way itself. So the host need not know of anything that happens here, as long as it looks on at nothing
 * meanwhile: neither of both guests has anything else waiting, and the host's own thread is here. */
#include <string.h>

#include "guest.h"
#include "messages.h"

/* Runs of a server for one message: one that rings its own bell could go on for ever. */
enum { RUNS = 16 };

/* Returns the place for the encoding of `size` bytes of data, NULL if there is none. */
static uint8_t *place_for(guest *g, size_t size) {
    if (size > MESSAGE_LARGEST) {
        return NULL;
    }
    buffer_clear(&g->engine->encoding);
    return buffer_extend(&g->engine->encoding, size + MESSAGE_FRAME);
}

static bool is_wish(const serving *s, const record *r) {
    return r->index == s->receive_index && r->size == s->wish_size && memcmp(r->arguments, s->wish, r->size) == 0;
}

/* Does what the server has asked for, up to the first thing that is the host's to do. Returns whether that was all. */
static bool serve_records(guest *g, serving *s, uint32_t request, bool asked) {
    record r;
    while (guest_first_record(g, &r)) {
        message_reply reply;
        if (asked && !s->answered && r.index == s->reply_index &&
            message_read_reply(r.arguments, r.size, &reply) && reply.request == request &&
            reply.size <= s->answer_limit) {
            uint8_t *kept = place_for(g, reply.size);
            if (kept == NULL) {
                return false;
            }
            if (reply.size > 0) {
                memcpy(kept, reply.data, reply.size);
            }
            s->answer = kept;
            s->answer_size = reply.size;
            s->answered = true;
            guest_drop_record(g);
            guest_store(g, r.key, FUTURE_READY, NULL, 0);
        } else if (s->answered == asked && s->receive == NO_KEY && is_wish(s, &r)) {
            s->receive = r.key;
            guest_drop_record(g);
        } else {
            return false;
        }
        s->hostcalls++;
    }
    return true;
}

/* Gives the server what `encoding` holds, and lets it run until it waits for the next, or does something else. Returns
 * whether it waits, and does nothing else. */
static bool give(guest *g, serving *s, size_t size, uint32_t request, bool asked) {
    uint64_t receive = s->receive;
    s->receive = NO_KEY;
    s->answered = false;
    s->delivered = true;
    guest_store(g, receive, FUTURE_READY, g->engine->encoding.data, size);
    for (int runs = 0; runs < RUNS; runs++) {
        if (!guest_can_go_on(g)) {
            return s->receive != NO_KEY;
        }
        guest_run(g);
        if (!serve_records(g, s, request, asked) || g->step != STEP_PARKED) {
            return false;
        }
    }
    return false;
}

static bool ask(guest *g, serving *s, uint32_t request, const uint8_t *data, size_t size) {
    s->delivered = s->answered = false;
    uint8_t *out = place_for(g, size);
    return out != NULL && give(g, s, message_write_request(out, request, data, size), request, true);
}

static void begin(serving *s) {
    s->hostcalls = 0;
    s->delivered = s->answered = false;
}

uint32_t guest_feed(guest *server, serving *s, const uint8_t *data, const uint32_t *sizes, uint32_t count) {
    begin(s);
    uint32_t given = 0;
    bool waits = true;
    while (waits && given < count && (given == 0 || monotonic_now() < s->deadline)) {
        uint8_t *out = place_for(server, sizes[given]);
        if (out == NULL) {
            break;
        }
        waits = give(server, s, message_write_plain(out, data, sizes[given]), 0, false);
        data += sizes[given++];
    }
    s->word = guest_word(server);
    return given;
}

void guest_ask(guest *server, serving *s, uint32_t request, const uint8_t *data, size_t size) {
    begin(s);
    ask(server, s, request, data, size);
    s->word = guest_word(server);
}

/* Lets the caller run, and takes its next call if that is all that it has asked for, and like the last one. */
static bool next_call(guest *caller, const serving *s, calling *c) {
    record r;
    guest_run(caller);
    if (caller->step != STEP_PARKED || caller->submitted_count != 1 || guest_can_go_on(caller) ||
        !guest_first_record(caller, &r) || r.index != s->call_index || r.size != c->size) {
        return false;
    }
    size_t end = c->data + c->data_size;
    if (memcmp(r.arguments, c->arguments, c->data) != 0 ||
        memcmp(r.arguments + end, c->arguments + end, c->size - end) != 0) {
        return false;
    }
    c->call = r.key;
    c->arguments = (const uint8_t *)guest_submissions(caller) + 16;
    return true;
}

void guest_converse(guest *caller, calling *c, guest *server, serving *s, uint32_t request) {
    begin(s);
    c->calls = 0;
    bool waits = true, asked = true;
    while (asked) {
        waits = ask(server, s, request, c->arguments + c->data, c->data_size);
        if (!s->answered) {
            break;
        }
        uint8_t *body = server->engine->encoding.data; /* in the place of the answer */
        guest_store(caller, c->call, FUTURE_READY, body, message_write_body(body, s->answer, s->answer_size));
        c->call = NO_KEY;
        c->calls++;
        asked = waits && monotonic_now() < s->deadline && caller->step == STEP_PARKED &&
                guest_can_go_on(caller) && next_call(caller, s, c);
    }
    if (!s->delivered && c->calls > 0) {
        guest_order(caller, FAULT_LIMIT); /* there is no memory for its call */
    }
    c->word = guest_word(caller);
    s->word = guest_word(server);
}
