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
 * Writes the reply and updates the arguments. On an error nothing is kept, and the descriptors are still the
 * caller's to close. `ready`: memory that the data lie in already, if there is any, to be used as the mapping.
 */
int results_place(door_arg_t *arguments, const char *data, size_t size, const int *fds, unsigned count,
                  struct region *ready) {
    size_t offset, needed;
    char *target = arguments->rbuf;
    struct region mapped = {NULL, 0};
    if (!results_size(size, count, &offset, &needed)) {
        return EOVERFLOW;
    }
    if (needed > arguments->rsize) {
        mapped.size = memory_round(needed);
        if (data == ready->base && mapped.size == ready->size) {
            mapped = *ready;
            *ready = (struct region){NULL, 0};
        } else {
            int populate = mapped.size <= POPULATE_MAX ? MAP_POPULATE : 0; /* all of it is about to be written */
            mapped.base = mmap(NULL, mapped.size, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | populate, -1, 0);
            if (mapped.base == MAP_FAILED) {
                return EOVERFLOW;
            }
        }
        target = mapped.base;
    } else if (!memory_writable(target, needed)) {
        return EFAULT;
    }
    if (size > 0) {
        if (target != data) {
            memcpy(target, data, size);
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
    if (mapped.base != NULL) {
        arguments->rbuf = mapped.base;
        arguments->rsize = mapped.size;
    }
    arguments->data_size = size;
    arguments->desc_num = count;
    return 0;
}
