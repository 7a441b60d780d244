/* The traffic between a guest and its host: operations begun and futures ended in the one direction, outcomes in
 * the other. Outcomes for a guest that a worker has are left as mail, and applied where the guest stands
 * still. */
#include <string.h>

#include "guest.h"

/* --- what the guest has asked for --- */

bool guest_submit(guest *g, uint64_t key, uint32_t index, const uint8_t *arguments, uint32_t size) {
    size_t padded = ((size_t)size + 7) & ~(size_t)7;
    uint8_t *record = buffer_extend(&g->submitted, 16 + padded);
    if (record == NULL) {
        return false;
    }
    memcpy(record, &key, 8);
    memcpy(record + 8, &index, 4);
    memcpy(record + 12, &size, 4);
    if (size > 0) {
        memcpy(record + 16, arguments, size);
    }
    memset(record + 16 + size, 0, padded - size);
    g->submitted_count++;
    return true;
}

bool guest_return(guest *g, uint32_t id) {
    const future *f = futures_find(&g->futures, id);
    size_t size = sizeof f->index + f->size, padded = (size + 7) & ~(size_t)7;
    uint8_t *record = buffer_extend(&g->submitted, 16 + padded);
    if (record == NULL) {
        return false;
    }
    uint64_t key = futures_key(&g->futures, id);
    uint32_t how = RECORD_RETURNED, length = (uint32_t)size;
    memcpy(record, &key, 8);
    memcpy(record + 8, &how, 4);
    memcpy(record + 12, &length, 4);
    memcpy(record + 16, &f->index, sizeof f->index);
    if (f->size > 0) {
        memcpy(record + 16 + sizeof f->index, f->payload, f->size);
    }
    memset(record + 16 + size, 0, padded - size);
    g->submitted_count++;
    return true;
}

uint64_t guest_return_results(guest *g) {
    for (uint32_t id = 0; id < g->futures.count; id++) {
        const future *f = futures_find(&g->futures, id);
        if (f != NULL && f->state == FUTURE_READY && f->returns && guest_return(g, id)) {
            futures_remove(&g->futures, id);
        }
    }
    return guest_word(g);
}

void guest_report_refusal(guest *g, uint32_t index) {
    for (size_t at = 0; at < g->refused.size; at += sizeof index) {
        if (memcmp(g->refused.data + at, &index, sizeof index) == 0) {
            return;
        }
    }
    uint8_t *place = buffer_extend(&g->refused, sizeof index);
    if (place != NULL) {
        memcpy(place, &index, sizeof index);
    }
}

bool guest_first_record(const guest *g, record *found) {
    if (g->submitted.size == 0) {
        return false;
    }
    const uint8_t *at = g->submitted.data;
    memcpy(&found->key, at, 8);
    memcpy(&found->index, at + 8, 4);
    memcpy(&found->size, at + 12, 4);
    found->arguments = at + 16;
    return true;
}

void guest_drop_record(guest *g) {
    record first;
    if (guest_first_record(g, &first)) {
        size_t size = 16 + (((size_t)first.size + 7) & ~(size_t)7);
        g->submitted.size -= size;
        memmove(g->submitted.data, g->submitted.data + size, g->submitted.size);
        g->submitted_count--;
    }
}

static void swap(buffer *filled, buffer *taken) {
    buffer_clear(taken);
    buffer empty = *taken;
    *taken = *filled;
    *filled = empty;
}

const char *guest_submissions(guest *g) {
    swap(&g->submitted, &g->submitted_taken);
    g->submitted_count = 0;
    return (const char *)g->submitted_taken.data;
}

size_t guest_refusals(guest *g, const uint32_t **indices) {
    const uint32_t *all = (const uint32_t *)(const void *)g->refused.data;
    size_t count = g->refused.size / sizeof *all, known = g->refused_taken;
    *indices = all + known;
    g->refused_taken = count;
    return count - known;
}

/* --- what the host answers --- */

void guest_store(guest *g, uint64_t key, future_state state, const uint8_t *payload, size_t size) {
    if (atomic_load_explicit(&g->order, memory_order_relaxed) != FAULT_NONE) {
        return; /* the guest ends before it could look */
    }
    bool woken;
    uint32_t task;
    size_t queued = g->submitted.size + g->futures.held;
    size_t room = queued < g->limits.queued_bytes ? g->limits.queued_bytes - queued : 0;
    if (futures_resolve(&g->futures, key, state, payload, size, room, &woken, &task) == RESOLVE_NO_ROOM) {
        guest_order(g, FAULT_LIMIT);
    }
    if (woken && !mailbox_enqueue(&g->mailbox, task, g->limits.futures)) {
        guest_order(g, FAULT_LIMIT);
    }
    if (woken && g->in_hostcall) {
        mailbox_deliver(&g->mailbox, g->base);
    }
}

/* --- mail: outcomes for a guest that a worker has --- */

typedef struct {
    uint64_t key;
    uint32_t state;
    uint32_t size;
} mail_header;

static void leave_mail(guest *g, uint64_t key, future_state state, const uint8_t *payload, size_t size) {
    pthread_mutex_lock(&g->engine->workers.mutex);
    uint8_t *place = NULL;
    if (size <= INT32_MAX && g->mail.size + size <= g->limits.queued_bytes) {
        place = buffer_extend(&g->mail, sizeof(mail_header) + size);
    }
    if (place == NULL) {
        guest_order(g, FAULT_LIMIT);
    } else {
        mail_header header = {.key = key, .state = state, .size = (uint32_t)size};
        memcpy(place, &header, sizeof header);
        if (size > 0) {
            memcpy(place + sizeof header, payload, size);
        }
        atomic_store_explicit(&g->has_mail, true, memory_order_release);
    }
    pthread_mutex_unlock(&g->engine->workers.mutex);
}

void guest_take_mail(guest *g) {
    for (size_t at = 0; at < g->mail.size;) {
        mail_header header;
        memcpy(&header, g->mail.data + at, sizeof header);
        at += sizeof header;
        guest_store(g, header.key, (future_state)header.state, g->mail.data + at, header.size);
        at += header.size;
    }
    buffer_clear(&g->mail);
    atomic_store_explicit(&g->has_mail, false, memory_order_relaxed);
}

void guest_check_mail(guest *g) {
    pthread_mutex_lock(&g->engine->workers.mutex);
    guest_take_mail(g);
    pthread_mutex_unlock(&g->engine->workers.mutex);
}

static bool resolve(guest *g, uint64_t key, future_state state, const uint8_t *payload, size_t size) {
    if (g->offloaded) {
        leave_mail(g, key, state, payload, size);
        return false;
    }
    guest_store(g, key, state, payload, size);
    return guest_can_go_on(g);
}

/* Moves the submissions to the engine's stage, if they fit there; returns the word that says so. */
static uint64_t stage(guest *g) {
    uint64_t word = guest_word(g);
    size_t size = g->submitted.size;
    if (size == 0 || size > STAGE_SIZE) {
        return word;
    }
    memcpy(g->engine->stage, g->submitted.data, size);
    g->submitted.size = g->submitted_count = 0;
    return (word & ~(uint64_t)HAS_SUBMISSIONS) | STAGED;
}

uint64_t guest_advance(guest *g, uint64_t future, const uint8_t *payload, size_t size) {
    if (future != NO_KEY) {
        guest_store(g, future, FUTURE_READY, payload, size);
    }
    if (g->submitted.size == 0 && guest_can_go_on(g)) {
        guest_run(g);
    }
    return stage(g);
}

bool guest_complete(guest *g, uint64_t future, const uint8_t *payload, size_t size) {
    return resolve(g, future, FUTURE_READY, payload, size);
}

bool guest_offer(guest *g, uint64_t future, const uint8_t *payload, size_t size) {
    return resolve(g, future, FUTURE_OFFERED, payload, size);
}

bool guest_fail(guest *g, uint64_t future, const uint8_t *message, size_t size) {
    return resolve(g, future, FUTURE_FAILED, message, size);
}
