/* The destination of a reply: the caller's buffer if it fits, otherwise into new memory that the caller unmaps. */
#include "internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

enum { POPULATE_MAX = 32 << 20 };

/* Descriptors start at the next multiple of their own size, not of an alignment. */
bool results_size(size_t size, unsigned count, size_t *offset, size_t *needed) {
    const size_t step = sizeof(door_desc_t);
    *offset = size;
    if (count > 0) {
        if (__builtin_add_overflow(size, step - 1, offset)) {
            return false;
        }
        *offset -= *offset % step;
    }
    return !__builtin_add_overflow(*offset, step * count, needed) && *needed <= SIZE_MAX / 2;
}

/*
 * Finds room for the reply: the caller's buffer if it fits, otherwise new memory, or `ready`: memory in which the data lie
 * already, if there is any, and which is the landing's then.
 */
int results_land(const door_arg_t *arguments, size_t size, unsigned count, struct region *ready,
                 struct landing *landing) {
    size_t offset, needed;
    struct region mapped = {NULL, 0};
    if (!results_size(size, count, &offset, &needed)) {
        return EOVERFLOW;
    }
    if (needed <= arguments->rsize) {
        if (!memory_writable(arguments->rbuf, needed)) {
            return EFAULT;
        }
        landing->target = arguments->rbuf;
        return 0;
    }
    mapped.size = memory_round(needed);
    if (ready->base != NULL && mapped.size == ready->size) {
        mapped = *ready;
        *ready = (struct region){NULL, 0};
    } else {
        int populate = mapped.size <= POPULATE_MAX ? MAP_POPULATE : 0; /* all of it is about to be written */
        mapped.base = mmap(NULL, mapped.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | populate, -1, 0);
        if (mapped.base == MAP_FAILED) {
            return EOVERFLOW;
        }
    }
    landing->mapped = mapped;
    landing->target = mapped.base;
    return 0;
}

/* Writes the rest of the reply to where it lands and updates the arguments, whose mapping the landing's is then. */
void results_place(door_arg_t *arguments, const char *data, size_t size, const int *fds, unsigned count,
                   struct landing *landing) {
    size_t offset, needed;
    char *target = landing->target;
    results_size(size, count, &offset, &needed);
    if (size > 0) {
        if (target != data) {
            memcpy(target + landing->done, data + landing->done, size - landing->done);
        }
        arguments->data_ptr = target;
    }
    if (count > 0) {
        descriptors_describe(fds, count, (door_desc_t *)(target + offset));
        for (unsigned i = 0; i < count; i++) {
            fcntl(fds[i], F_SETFD, 0);
        }
        arguments->desc_ptr = (door_desc_t *)(target + offset);
    }
    if (landing->mapped.base != NULL) {
        arguments->rbuf = landing->mapped.base;
        arguments->rsize = landing->mapped.size;
        landing->mapped = (struct region){NULL, 0};
    }
    arguments->data_size = size;
    arguments->desc_num = count;
}
