/*
 * Waiting on a word of the session memory: the fast path between a client and a server thread that know each
 * other.
 *
 * Client and server thread sleep on futexes in the session memory instead of on sockets, which halves what a round
 * trip costs. When they run on different processors they first spin for a few microseconds, because waking another
 * processor costs more than the call. Spinning never happens on one processor, and a spinner that was wrong
 * repeatedly stops for a while, so a loaded machine does not pay for it.
 */
#include "internal.h"

#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { CREDIT_MAX = 16, CREDIT_FIRST = 8, CREDIT_LOST = 4 };

const struct spin SHORT_SPIN = {20000, 500}, LONG_SPIN = {100000, 64};

uint64_t word_clock(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Sleeps until woken, for whatever reason, or until the time is over. */
void word_nap(_Atomic uint32_t *word, uint32_t value, uint64_t nanoseconds) {
    struct timespec time = {.tv_sec = (time_t)(nanoseconds / 1000000000u), .tv_nsec = (long)(nanoseconds % 1000000000u)};
    syscall(SYS_futex, word, FUTEX_WAIT, value, &time, NULL, 0);
}

bool word_sleep(_Atomic uint32_t *word, uint32_t value, unsigned microseconds) {
    uint64_t end = word_clock() + (uint64_t)microseconds * 1000;
    while (atomic_load(word) == value) {
        uint64_t now = word_clock();
        if (now >= end) {
            return false;
        }
        word_nap(word, value, end - now);
    }
    return true;
}

/*
 * Wakes all who sleep on the word. There may be two: a thread that was about to sleep when it was recalled finds the value that
 * it expects when a visitor has gone to sleep there meanwhile.
 */
void word_wake(_Atomic uint32_t *word) {
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

uint32_t this_processor(void) {
    int processor = sched_getcpu();
    return processor < 0 ? 0 : (uint32_t)processor + 1;
}

static bool many_processors(void) {
    static atomic_int count;
    int known = atomic_load_explicit(&count, memory_order_relaxed);
    if (known == 0) {
        known = (int)sysconf(_SC_NPROCESSORS_ONLN);
        known = known < 1 ? 1 : known;
        atomic_store_explicit(&count, known, memory_order_relaxed);
    }
    return known > 1;
}

/* Spins while the word has the value, if the peer runs elsewhere and spinning has been worth it. */
bool word_spin(struct spinner *spinner, const struct spin *spin, uint32_t peer_processor,
               const _Atomic uint32_t *word, uint32_t value) {
    if (!many_processors() || peer_processor == 0 || peer_processor == this_processor()) {
        return false;
    }
    if (spinner->rest > 0) {
        spinner->rest--;
        return false;
    }
    uint64_t end = word_clock() + spin->nanoseconds;
    do {
        for (int i = 0; i < 32; i++) {
            if (atomic_load_explicit(word, memory_order_acquire) != value) {
                spinner->lost -= spinner->lost > 0;
                return true;
            }
            relax();
        }
    } while (word_clock() < end);
    spinner->lost += CREDIT_LOST;
    if (spinner->lost > CREDIT_MAX) {
        spinner->lost = CREDIT_MAX - CREDIT_FIRST;
        spinner->rest = spin->rest;
    }
    return false;
}
