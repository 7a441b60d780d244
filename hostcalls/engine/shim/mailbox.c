#include "mailbox.h"

#include <stdlib.h>
#include <string.h>

/* Guest memory is little-endian and so is every machine that the engine supports. */
static uint32_t load(const uint8_t *base, size_t offset) {
    uint32_t value;
    memcpy(&value, base + offset, sizeof value);
    return value;
}

static void store(uint8_t *base, size_t offset, uint32_t value) {
    memcpy(base + offset, &value, sizeof value);
}

static bool grow(mailbox *m) {
    uint32_t capacity = m->capacity == 0 ? 8 : m->capacity * 2;
    uint32_t *ids = malloc(capacity * sizeof *ids);
    if (ids == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < m->waiting; i++) {
        ids[i] = m->ids[(m->first + i) % m->capacity];
    }
    free(m->ids);
    m->ids = ids;
    m->capacity = capacity;
    m->first = 0;
    return true;
}

bool mailbox_enqueue(mailbox *m, uint32_t task, uint32_t limit) {
    if (m->waiting >= limit || (m->waiting == m->capacity && !grow(m))) {
        return false;
    }
    m->ids[(m->first + m->waiting) % m->capacity] = task;
    m->waiting++;
    return true;
}

void mailbox_deliver(mailbox *m, uint8_t *base) {
    if (m->waiting == 0) {
        return;
    }
    /* The head is the guest's to write: a wrong one makes the ring look full, and harms that guest alone. */
    uint32_t outstanding = m->tail - load(base, MAILBOX_HEAD);
    if (outstanding >= MAILBOX_CELLS) {
        return;
    }
    uint32_t room = MAILBOX_CELLS - outstanding;
    while (room > 0 && m->waiting > 0) {
        store(base, MAILBOX_RING + 4 * (m->tail % MAILBOX_CELLS), m->ids[m->first]);
        m->first = (m->first + 1) % m->capacity;
        m->waiting--;
        m->tail++;
        room--;
    }
    store(base, MAILBOX_TAIL, m->tail);
    store(base, MAILBOX_FLAG, 1);
}

bool mailbox_signalled(const uint8_t *base) {
    return load(base, MAILBOX_FLAG) != 0;
}

void mailbox_free(mailbox *m) {
    free(m->ids);
    *m = (mailbox){0};
}
