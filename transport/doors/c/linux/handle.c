/* Handles: slot number and generation, so that a late epoll event cannot reach a freed object. */
#include "internal.h"

#include <stdlib.h>

struct slot {
    void *object;
    uint32_t generation;
    uint32_t next_free;
    enum kind kind;
};

static struct slot *slots;
static uint32_t slot_count, free_slot; /* free_slot is one more than the index; 0: none */

handle handle_new(enum kind kind, void *object) {
    if (free_slot == 0) {
        uint32_t count = slot_count ? slot_count * 2 : 64;
        struct slot *larger = realloc(slots, count * sizeof *slots);
        if (larger == NULL) {
            return 0;
        }
        slots = larger;
        for (uint32_t i = count; i > slot_count; i--) {
            slots[i - 1] = (struct slot){.generation = 1, .next_free = free_slot};
            free_slot = i;
        }
        slot_count = count;
    }
    uint32_t index = free_slot - 1;
    struct slot *slot = &slots[index];
    free_slot = slot->next_free;
    slot->object = object;
    slot->kind = kind;
    return (handle)slot->generation << 32 | index;
}

static struct slot *slot_of(handle handle) {
    uint32_t index = (uint32_t)handle;
    if (index >= slot_count || slots[index].kind == KIND_FREE ||
        slots[index].generation != (uint32_t)(handle >> 32)) {
        return NULL;
    }
    return &slots[index];
}

void *handle_lookup(handle handle, enum kind *kind) {
    struct slot *slot = slot_of(handle);
    *kind = slot ? slot->kind : KIND_FREE;
    return slot ? slot->object : NULL;
}

void handle_free(handle handle) {
    struct slot *slot = slot_of(handle);
    if (slot != NULL) {
        slot->kind = KIND_FREE;
        slot->object = NULL;
        slot->generation = slot->generation == UINT32_MAX ? 1 : slot->generation + 1;
        slot->next_free = free_slot;
        free_slot = (uint32_t)handle + 1;
    }
}

void handle_forget_all(void) {
    free(slots);
    slots = NULL;
    slot_count = free_slot = 0;
}
