/*
 * Hostcalls. Each is three imports: create begins an operation and returns a future, poll fetches its outcome, drop
 * abandons it. ENFILADE_HOSTCALL declares the three and an inline function that begins and waits:
 *
 *   ENFILADE_HOSTCALL(time_now, "selium::time::now")
 *   ...
 *   struct time_now now;
 *   int32_t size = time_now(NULL, 0, &now, sizeof now);
 *
 * A guest that wants several operations under way creates them, polls each, and calls enfilade_wait when all pend.
 */
#ifndef ENFILADE_HOSTCALL_H
#define ENFILADE_HOSTCALL_H

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

/* Make room in the mailbox, and forget what it was about; the next enfilade_wait returns at once if there was something.
 * A future that is polled when it has its outcome leaves its task there, too. */
static inline void enfilade_make_room(void) {
    *(volatile uint32_t *)8 = *(volatile uint32_t *)12;
}

/* Wait for one future: the bytes that were written to `result`, or -1 and an error text there (enfilade_error). */
static inline int32_t enfilade_await(enfilade_poll_function *poll, uint32_t future, void *result, uint32_t capacity) {
    for (;;) {
        uint32_t word = poll(future, 1, result, capacity);
        if (word != ENFILADE_PENDING) {
            enfilade_make_room();
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

#endif
