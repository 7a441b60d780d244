/* Restless guests on workers and beside them, under whatever sanitizer this is compiled with.
 *
 *     stress LIBWASMTIME RESTLESS.wasm STEPS SEED
 *
 * At every step the caller does one of the things that it may do to a guest at that moment: resume, offload,
 * answer, fail, serve without a way back, interrupt, release, take what it has submitted, close it and open another. What is checked
 * here is that nothing crashes, hangs, leaks or races; what the answers are is checked elsewhere. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../engine.h"
#include "../guest.h"

enum { GUESTS = 24, KEYS = 64 };

typedef struct {
    guest *guest;
    bool offloaded;
    uint64_t keys[KEYS]; /* some of its futures, answered or not */
    uint32_t count;
} subject;

static uint32_t seed;
static subject subjects[GUESTS];
static purse *tree; /* of all guests */
static uint64_t exchanges, conversations; /* answers in those */

static uint32_t draw(uint32_t below) {
    seed = seed * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)seed * below) >> 32);
}

static uint8_t *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    assert(file != NULL);
    uint8_t *data = malloc(1 << 20);
    *size = fread(data, 1, 1 << 20, file);
    fclose(file);
    return data;
}

static void open_guest(engine *e, const linked *l, uint32_t index) {
    guest_limits limits = {.memory = 64 << 20,
                           .table_elements = 100,
                           .futures = 500,
                           .queued_bytes = 1 << 20,
                           .cpu_time = draw(4) == 0 ? 20000000 : UINT64_MAX,
                           .cpu_renewal = draw(2) * 0.5,
                           .start_time = 100000000};
    int outcome;
    char *error = NULL;
    guest *g = guest_open(e, l, &limits, tree, index, &outcome, &error);
    /* Closed guests still end on their workers, so for a moment all places may be taken. */
    assert(g != NULL || outcome == OPEN_EXHAUSTED);
    subjects[index] = (subject){.guest = g};
    uint64_t value = draw(UINT32_MAX);
    uint8_t kind = VALUE_I32;
    if (g != NULL) {
        assert(guest_start(g, "run", 3, &kind, &value, 1, 0));
    }
}

static void take_submissions(const engine *e, subject *s, uint64_t word) {
    size_t size = (size_t)(word >> SIZE_SHIFT);
    if (word & (HAS_SUBMISSIONS | STAGED)) {
        assert((word & HAS_SUBMISSIONS) == 0 || (word & STAGED) == 0);
        const char *data =
            word & STAGED ? (const char *)engine_stage(e) : guest_submissions(s->guest);
        for (size_t at = 0; at < size;) {
            uint32_t length;
            memcpy(&s->keys[s->count++ % KEYS], data + at, 8);
            memcpy(&length, data + at + 12, 4);
            at += 16 + (((size_t)length + 7) & ~(size_t)7);
        }
    }
}

static const uint8_t payload[5000] = "an answer";

/* The key of something that the guest has asked for, and may have an answer to already. */
static uint64_t some_key(const subject *s) {
    return s->count == 0 ? draw(100) : s->keys[draw(s->count < KEYS ? s->count : KEYS)];
}

static void answer(const subject *s) {
    uint64_t key = some_key(s);
    uint32_t how = draw(8);
    if (how < 2) {
        guest_fail(s->guest, key, payload, draw(400));
    } else if (how < 4) {
        guest_offer(s->guest, key, payload, draw(4096));
    } else {
        guest_complete(s->guest, key, payload, draw(4096));
    }
}

static void take_stopped(engine *e) {
    stopped_guest found[4];
    size_t count;
    while ((count = engine_stopped(e, found, 4)) > 0) {
        for (size_t i = 0; i < count; i++) {
            subjects[found[i].key].offloaded = false;
            take_submissions(e, &subjects[found[i].key], found[i].word);
        }
    }
}

/* Takes what the guest has left when it has run, and has another in its place if it has ended. */
static void settle(engine *e, const linked *l, subject *s, uint64_t word) {
    take_submissions(e, s, word);
    if ((word & 3) == STEP_TRAPPED) {
        assert(guest_trap(s->guest) != NULL);
        guest_close(s->guest);
        open_guest(e, l, (uint32_t)(s - subjects));
    }
}

/* Serves a guest, which may have nothing in mind of what serving is, without a way back to here. Some of its
 * arguments are a wish, and a call, of zeros, and some are a reply. */
static void exchange(engine *e, const linked *l, subject *s) {
    static const uint8_t zeros[48];
    serving v = {.receive_index = 1,
                 .reply_index = 1,
                 .call_index = 1,
                 .answer_limit = draw(2) * 4096,
                 .receive = some_key(s),
                 .wish = zeros,
                 .wish_size = sizeof zeros,
                 .deadline = monotonic_now() + draw(400000)};
    subject *caller = &subjects[draw(GUESTS)];
    if (draw(3) == 0) {
        uint32_t sizes[] = {draw(1000), draw(1000), 0, draw(1000)};
        assert(guest_feed(s->guest, &v, payload, sizes, 4) <= 4);
    } else if (caller->guest == NULL || caller == s || caller->offloaded) {
        guest_ask(s->guest, &v, 0, payload, draw(4096));
        assert(v.answered || v.answer == NULL);
        exchanges += v.answered;
    } else {
        calling c = {.call = some_key(caller),
                     .arguments = zeros,
                     .size = sizeof zeros,
                     .data = draw(24),
                     .data_size = draw(24)};
        guest_converse(caller->guest, &c, s->guest, &v, 0);
        assert(c.call == NO_KEY || c.size == sizeof zeros);
        conversations += c.calls;
        settle(e, l, caller, c.word);
    }
    settle(e, l, s, v.word);
}

static void step(engine *e, const linked *l) {
    uint32_t index = draw(GUESTS);
    subject *s = &subjects[index];
    uint32_t choice = draw(100);
    if (s->guest == NULL) {
        open_guest(e, l, index);
    } else if (choice < 2) {
        guest_close(s->guest);
        open_guest(e, l, index);
    } else if (choice < 40) {
        answer(s);
    } else if (choice < 44) {
        guest_release(s->guest);
    } else if (choice < 45) {
        assert(guest_cpu_time(s->guest) < UINT64_MAX / 2);
    } else if (choice < 46) {
        guest_interrupt(s->guest);
    } else if (s->offloaded) {
        take_stopped(e);
    } else if (choice < 60) {
        exchange(e, l, s);
    } else {
        uint64_t word = draw(2) == 0 ? guest_resume(s->guest)
                                     : guest_advance(s->guest, draw(2) == 0 ? NO_KEY : some_key(s), payload,
                                                     draw(4096));
        settle(e, l, s, word);
        if ((word & 3) != STEP_TRAPPED && choice < 85 && (word & RUNNABLE)) {
            s->offloaded = guest_offload(s->guest);
            assert(s->offloaded);
        }
    }
}

int main(int argc, char **argv) {
    assert(argc == 5);
    seed = (uint32_t)atoi(argv[4]);
    char *error = NULL;
    assert(library_load(argv[1], &error));
    engine_sizes sizes = {.max_guests = GUESTS + 8,
                          .max_memory = 64 << 20,
                          .reservation = 64 << 20,
                          .guard = 65536,
                          .max_elements = 100,
                          .wasm_stack = 256 << 10,
                          .tick = 300000,
                          .workers = 3};
    engine *e = engine_open(&sizes, &error);
    assert(e != NULL);
    size_t size;
    uint8_t *source = read_file(argv[2], &size);
    module *m = module_compile(e->wasm, source, size, &error);
    assert(m != NULL);
    hostcall_import import = {.module_name = "stress", .index = 1};
    linked *l = linked_open(e->wasm, m, &import, 1, &error);
    assert(l != NULL);
    tree = purse_open((uint64_t)sizes.max_guests * sizes.max_memory, UINT64_MAX, 0);
    assert(tree != NULL);
    for (uint32_t i = 0; i < GUESTS; i++) {
        open_guest(e, l, i);
    }
    for (int i = atoi(argv[3]); i > 0; i--) {
        step(e, l);
    }
    for (uint32_t i = 0; i < GUESTS; i++) {
        if (subjects[i].guest != NULL) {
            guest_close(subjects[i].guest);
        }
    }
    linked_free(l);
    module_free(m);
    free(source);
    engine_close(e);
    assert(purse_memory(tree) == 0 && purse_cpu_time(tree) > 0);
    purse_close(tree);
    assert(atoi(argv[3]) < 2000 || (exchanges > 0 && conversations > 0));
    puts("shim stress test passed");
    return 0;
}
