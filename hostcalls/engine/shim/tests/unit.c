/* Unit tests of the parts of the shim that need no Wasmtime: futures, mailbox, messages, error payloads,
 * buffers, purses. Run under the sanitizers by `make test`. Each part is compared with the plainest possible model of it, over
 * many random steps. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../buffer.h"
#include "../failure.h"
#include "../futures.h"
#include "../mailbox.h"
#include "../messages.h"
#include "../purse.h"

static uint32_t seed = 1;

static uint32_t draw(uint32_t below) {
    seed = seed * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)seed * below) >> 32);
}

/* --- futures --- */

enum { MODEL_FUTURES = 64 };

static void futures_keep_the_order_of_a_stack(void) {
    future_table t;
    futures_init(&t);
    uint32_t stack[MODEL_FUTURES];
    uint32_t depth = 0, used = 0;
    uint64_t keys[MODEL_FUTURES];
    bool live[MODEL_FUTURES] = {false};
    uint64_t last_serial = 0;
    for (int step = 0; step < 200000; step++) {
        uint32_t id = draw(MODEL_FUTURES);
        if (draw(2) == 0) {
            uint32_t got = futures_add(&t, FUTURE_PENDING, MODEL_FUTURES);
            if (used - depth == MODEL_FUTURES) {
                assert(got == NO_FUTURE);
                continue;
            }
            uint32_t expected = depth > 0 ? stack[--depth] : used++;
            assert(got == expected && !live[got]);
            keys[got] = futures_key(&t, got);
            assert((uint32_t)keys[got] == got);
            assert(step < 1 || keys[got] >> 32 >= last_serial);
            last_serial = keys[got] >> 32;
            live[got] = true;
        } else if (id < used && live[id]) {
            assert(futures_find(&t, id) != NULL);
            futures_remove(&t, id);
            stack[depth++] = id;
            live[id] = false;
        } else {
            assert(futures_find(&t, id) == NULL);
        }
        assert(t.live == used - depth);
    }
    futures_free(&t);
}

static void answers_reach_the_right_future_once(void) {
    future_table t;
    futures_init(&t);
    bool woken;
    uint32_t task;
    const uint8_t *text = (const uint8_t *)"payload";
    uint32_t id = futures_add(&t, FUTURE_PENDING, 10);
    uint64_t old = futures_key(&t, id);
    futures_remove(&t, id);
    assert(futures_resolve(&t, old, FUTURE_READY, text, 7, 100, &woken, &task) == RESOLVE_IGNORED && !woken);
    assert(futures_add(&t, FUTURE_PENDING, 10) == id);
    assert(futures_resolve(&t, old, FUTURE_READY, text, 7, 100, &woken, &task) == RESOLVE_IGNORED);
    uint64_t new = futures_key(&t, id);
    future *f = futures_find(&t, id);
    f->waited = true;
    f->task = 77;
    assert(futures_resolve(&t, new, FUTURE_READY, text, 7, 100, &woken, &task) == RESOLVE_STORED && woken &&
           task == 77);
    assert(t.held == 7 && f->size == 7 && memcmp(f->payload, text, 7) == 0 && !f->waited);
    assert(futures_resolve(&t, new, FUTURE_FAILED, text, 7, 100, &woken, &task) == RESOLVE_IGNORED && !woken);
    uint32_t other = futures_add(&t, FUTURE_PENDING, 10);
    assert(futures_resolve(&t, futures_key(&t, other), FUTURE_READY, NULL, 0, 0, &woken, &task) ==
           RESOLVE_STORED);
    assert(!woken && t.held == 7);
    uint32_t denied = futures_add(&t, FUTURE_DENIED, 10);
    assert(futures_resolve(&t, futures_key(&t, denied), FUTURE_READY, text, 7, 100, &woken, &task) ==
           RESOLVE_IGNORED);
    assert(futures_resolve(&t, UINT64_MAX, FUTURE_READY, text, 7, 100, &woken, &task) == RESOLVE_IGNORED);
    assert(futures_resolve(&t, futures_key(&t, other), FUTURE_READY, text, SIZE_MAX, SIZE_MAX, &woken, &task) ==
           RESOLVE_IGNORED);
    uint32_t huge = futures_add(&t, FUTURE_PENDING, 10);
    assert(futures_resolve(&t, futures_key(&t, huge), FUTURE_READY, text, SIZE_MAX, SIZE_MAX, &woken, &task) ==
           RESOLVE_NO_ROOM);
    futures_remove(&t, id);
    assert(t.held == 0);
    futures_free(&t);
}

/* --- mailbox --- */

static uint32_t cell(const uint8_t *base, size_t offset) {
    uint32_t value;
    memcpy(&value, base + offset, 4);
    return value;
}

static void put_cell(uint8_t *base, size_t offset, uint32_t value) {
    memcpy(base + offset, &value, 4);
}

/* What a guest does when it drains; returns how many ids it took, which must be `*expected` and what follows.
 */
static uint32_t drain(uint8_t *base, uint32_t *expected) {
    uint32_t head = cell(base, MAILBOX_HEAD), tail = cell(base, MAILBOX_TAIL), count = tail - head;
    assert(count <= MAILBOX_CELLS);
    for (; head != tail; head++) {
        assert(cell(base, MAILBOX_RING + 4 * (head % MAILBOX_CELLS)) == (*expected)++);
    }
    put_cell(base, MAILBOX_HEAD, tail);
    put_cell(base, MAILBOX_FLAG, 0);
    return count;
}

/* Every id is seen once and in order, whatever the mix of enqueuing, delivering and draining; the cursors
 * start just below the place where they wrap. The memory ends where the ring does, so that the sanitizer sees
 * any write beyond. */
static void ids_are_seen_once_and_in_order(uint32_t start) {
    uint8_t *base = calloc(1, MAILBOX_END);
    mailbox m = {.tail = start};
    put_cell(base, MAILBOX_HEAD, start);
    put_cell(base, MAILBOX_TAIL, start);
    uint32_t next = 0, seen = 0;
    for (int step = 0; step < 100000; step++) {
        uint32_t choice = draw(20);
        if (choice < 12) {
            for (uint32_t burst = draw(30); burst > 0; burst--) {
                if (mailbox_enqueue(&m, next, 2000)) {
                    next++;
                } else {
                    assert(m.waiting == 2000);
                }
            }
        } else if (choice < 17) {
            mailbox_deliver(&m, base);
        } else {
            bool up = mailbox_signalled(base);
            uint32_t before = seen;
            uint32_t count = drain(base, &seen);
            assert(seen - before == count && (count == 0) == !up);
        }
    }
    while (seen != next) {
        mailbox_deliver(&m, base);
        assert(mailbox_signalled(base));
        drain(base, &seen);
    }
    assert(m.waiting == 0 && cell(base, MAILBOX_TAIL) == start + next && cell(base, 0) == 0);
    mailbox_free(&m);
    free(base);
}

static void a_wrong_head_stops_delivery(void) {
    uint8_t *base = calloc(1, MAILBOX_END);
    mailbox m = {0};
    uint32_t heads[] = {1, 5000, UINT32_MAX - 255, 0x80000000u};
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        put_cell(base, MAILBOX_HEAD, heads[i]);
        assert(mailbox_enqueue(&m, 7, 100));
        mailbox_deliver(&m, base);
    }
    for (size_t offset = MAILBOX_RING; offset < MAILBOX_END; offset += 4) {
        assert(cell(base, offset) == 0);
    }
    mailbox_free(&m);
    free(base);
}

/* --- error payloads --- */

static void an_empty_message_is_inline(void) {
    uint8_t out[FAILURE_SMALLEST];
    failure_encode(out, sizeof out, NULL, 0);
    assert(memcmp(out, "\x08\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", sizeof out) == 0);
}

static void payloads_fit_and_are_whole_characters(void) {
    const char *letters[] = {"a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x8c\x8d"};
    for (size_t l = 0; l < 4; l++) {
        size_t width = strlen(letters[l]);
        for (size_t count = 0; count < 80; count++) {
            uint8_t *message = malloc(width * count + 1);
            for (size_t i = 0; i < count; i++) {
                memcpy(message + i * width, letters[l], width);
            }
            for (size_t room = FAILURE_SMALLEST; room < 120; room++) {
                uint8_t *out = malloc(room); /* exactly: the sanitizer sees a write beyond */
                failure_encode(out, room, message, width * count);
                uint32_t body = cell(out, 0);
                assert(4 + body <= room);
                size_t kept = 0;
                if (body == 8 && (out[4] & 0xc0) != 0x80) {
                    while (kept < 8 && out[4 + kept] != 0xff) {
                        kept++;
                    }
                } else {
                    uint32_t word = cell(out, body - 4);
                    kept = (word & 0x3f) | (word & ~0xffu) >> 2;
                    assert((word & 0xc0) == 0x80 && kept > 8);
                    assert((int32_t)cell(out, body) == -(int32_t)(body - 8));
                }
                assert(kept % width == 0 && kept <= width * count && memcmp(out + 4, message, kept) == 0);
                free(out);
            }
            free(message);
        }
    }
}

/* --- buffers --- */

static void buffers_keep_what_they_are_given(void) {
    buffer b = {0};
    uint8_t model[5000];
    for (int round = 0; round < 200; round++) {
        size_t size = 0;
        while (size < 4000) {
            size_t more = draw(200);
            uint8_t *place = buffer_extend(&b, more);
            assert(place != NULL);
            for (size_t i = 0; i < more; i++) {
                model[size + i] = place[i] = (uint8_t)draw(256);
            }
            size += more;
        }
        assert(b.size == size && memcmp(b.data, model, size) == 0);
        buffer_clear(&b);
        assert(b.size == 0);
    }
    assert(buffer_extend(&b, SIZE_MAX) == NULL && buffer_extend(&b, SIZE_MAX / 2 + 2) == NULL && b.size == 0);
    buffer_free(&b);
}

/* --- purse --- */

static void a_purse_never_lends_more_than_it_has(void) {
    enum { GUESTS = 6, MEMORY = 1000 };
    purse *p = purse_open(MEMORY, 50, 0);
    uint64_t has[GUESTS] = {0}, lent[GUESTS] = {0}, total = 0;
    for (int i = 0; i < GUESTS; i++) {
        purse_enter(p);
    }
    for (int step = 0; step < 20000; step++) {
        uint32_t i = draw(GUESTS);
        if (lent[i] == 0 && has[i] > 0 && draw(4) == 0) { /* a guest ends */
            purse_return(p, has[i]);
            total -= has[i];
            has[i] = 0;
        } else if (lent[i] == 0) {
            uint64_t wanted = draw(400), least = draw(100);
            lent[i] = purse_lend(p, wanted, least);
            total += lent[i];
            assert(lent[i] <= wanted);
        } else {
            uint64_t grown = draw((uint32_t)lent[i] + 1);
            purse_return(p, lent[i] - grown);
            total -= lent[i] - grown;
            has[i] += grown;
            lent[i] = 0;
        }
        assert(total <= MEMORY && purse_memory(p) == total);
    }
    purse_return(p, total);
    for (int i = 0; i < GUESTS; i++) {
        purse_leave(p);
    }
    purse_close(p);
}

static void a_purse_lends_one_guest_everything_and_several_a_part(void) {
    purse *p = purse_open(1000, 50, 0);
    purse_enter(p);
    assert(purse_lend(p, 5000, 0) == 1000);
    assert(purse_lend(p, 1, 1) == 0);
    purse_return(p, 1000);
    purse_enter(p);
    assert(purse_lend(p, 5000, 0) == 500);
    assert(purse_lend(p, 5000, 300) == 300);
    assert(purse_lend(p, 5000, 300) == 200);
    purse_spend(p, 100, 120);
    purse_spend(p, 110, 132);
    assert(purse_cpu_time(p) == 42);
    purse_close(p); /* its guests keep it */
    purse_leave(p);
    assert(purse_memory(p) == 1000);
    purse_leave(p);
}

static void an_allowance_that_is_not_renewed_is_spent_once(void) {
    allowance a;
    allowance_open(&a, 100, 0);
    allowance_spend(&a, 1000, 1060);
    assert(!allowance_exceeded(&a, 5000, 5040));
    assert(allowance_exceeded(&a, 5000, 5041));
    allowance_spend(&a, 5000, 5040);
    assert(!allowance_exceeded(&a, 1u << 30, 1u << 30));
    assert(allowance_exceeded(&a, 1u << 30, (1u << 30) + 1));
}

static void an_allowance_is_renewed_up_to_the_whole_of_it(void) {
    allowance a;
    allowance_open(&a, 100, 0.25);
    assert(!allowance_exceeded(&a, 1000, 1133)); /* 133 spent, 33 renewed meanwhile */
    assert(allowance_exceeded(&a, 1000, 1134));
    allowance_spend(&a, 1000, 1100);
    assert(!allowance_exceeded(&a, 1100, 1133));
    assert(allowance_exceeded(&a, 1100, 1134));
    assert(!allowance_exceeded(&a, 1200, 1260)); /* after 100 of rest there are 50 again, and 10 in between */
    assert(allowance_exceeded(&a, 1200, 1270));
    assert(!allowance_exceeded(&a, 900000, 900133)); /* however long the rest was */
    assert(allowance_exceeded(&a, 900000, 900134));
    for (uint64_t at = 1000000; at < 9000000; at += 4000) { /* a quarter of the time, for ever */
        assert(!allowance_exceeded(&a, at, at + 1));
        allowance_spend(&a, at, at + 99);
    }
}

static void an_allowance_may_have_no_end(void) {
    allowance a;
    allowance_open(&a, UINT64_MAX, 0.5);
    allowance_spend(&a, 0, UINT64_MAX / 2);
    assert(!allowance_exceeded(&a, 0, UINT64_MAX));
}

/* --- messages --- */

static void messages_are_written_as_the_codec_writes_them(void) {
    static const uint8_t plain[] = "abc\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                                   "\xe0\xff\xff\xff\3\0\0\0\xdc\xff\xff\xff\0\0\0";
    static const uint8_t request[] = "abc\0\0\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\7\0\0\0"
                                     "\xe8\xff\xff\xff\3\0\0\0\xe4\xff\xff\xff\0\0\0\0\0\0\0\0\0\0\0";
    static const uint8_t body[] = "abc\0\xfc\xff\xff\xff\3\0\0\0\xf8\xff\xff\xff\0\0\0";
    uint8_t out[64];
    const uint8_t *abc = (const uint8_t *)"abc";
    assert(message_write_plain(out, abc, 3) == sizeof plain && memcmp(out, plain, sizeof plain) == 0);
    assert(message_write_request(out, 7, abc, 3) == sizeof request && memcmp(out, request, sizeof request) == 0);
    assert(message_write_body(out, abc, 3) == sizeof body && memcmp(out, body, sizeof body) == 0);
}

static void messages_stay_within_their_frame(void) {
    for (uint32_t size = 0; size < 100; size++) {
        uint8_t *data = malloc(size + 1), *out = malloc(size + MESSAGE_FRAME); /* exact, for the sanitizer */
        memset(data, 0xaa, size + 1);
        assert(message_write_plain(out, data, size) <= size + MESSAGE_FRAME);
        assert(message_write_request(out, 1, data, size) <= size + MESSAGE_FRAME);
        memset(out, 0xbb, size);
        size_t whole = message_write_body(out, out, size); /* in its own place */
        assert(whole <= size + MESSAGE_FRAME && (size == 0 || (out[0] == 0xbb && out[size - 1] == 0xbb)));
        free(data);
        free(out);
    }
}

static void replies_are_read_within_their_arguments(void) {
    uint32_t read = 0;
    for (int step = 0; step < 200000; step++) {
        uint32_t size = draw(20), padded = (size + 3) & ~3u;
        uint32_t root[5] = {9, 0u - padded - 4, size, 0u - 12, 0};
        size_t whole = padded + sizeof root;
        uint8_t *arguments = calloc(1, whole);
        memcpy(arguments + padded, root, sizeof root);
        uint32_t damages = draw(4);
        for (uint32_t i = 0; i < damages; i++) {
            arguments[padded + draw(20)] = (uint8_t)draw(256);
        }
        message_reply reply = {0};
        size_t told = draw(8) == 0 ? draw((uint32_t)whole + 1) : whole;
        if (message_read_reply(arguments + (whole - told), told, &reply)) {
            const uint8_t *end = reply.data + reply.size;
            assert(reply.data >= arguments + (whole - told) && end <= arguments + whole - 20);
            read++;
        }
        assert(damages > 0 || told < whole || (reply.request == 9 && reply.size == size));
        free(arguments);
    }
    assert(read > 20000);
}

int main(void) {
    messages_are_written_as_the_codec_writes_them();
    messages_stay_within_their_frame();
    replies_are_read_within_their_arguments();
    an_allowance_that_is_not_renewed_is_spent_once();
    an_allowance_is_renewed_up_to_the_whole_of_it();
    an_allowance_may_have_no_end();
    futures_keep_the_order_of_a_stack();
    answers_reach_the_right_future_once();
    ids_are_seen_once_and_in_order(0);
    ids_are_seen_once_and_in_order(UINT32_MAX - 1000);
    a_wrong_head_stops_delivery();
    an_empty_message_is_inline();
    payloads_fit_and_are_whole_characters();
    buffers_keep_what_they_are_given();
    a_purse_never_lends_more_than_it_has();
    a_purse_lends_one_guest_everything_and_several_a_part();
    puts("shim unit tests passed");
    return 0;
}
