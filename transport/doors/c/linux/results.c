/* Where a reply goes: into the caller's buffer if it fits, otherwise into new memory that the caller unmaps. */
#include "internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

enum { POPULATE_MAX = 32 << 20 };

/*
 * Writes the reply and updates the arguments. On EOVERFLOW or EFAULT nothing is kept, and the descriptors are
 * still the caller's to close. Descriptors start at the next multiple of their own size, not of an alignment.
 */
int results_place(door_arg_t *arguments, const char *data, size_t size, const int *fds, unsigned count) {
    const size_t step = sizeof(door_desc_t);
    size_t offset = size, needed;
    char *target = arguments->rbuf;
    void *mapped = NULL;
    size_t mapped_size = 0;
    if (count > 0 && __builtin_add_overflow(size, step - 1, &offset)) {
        return EOVERFLOW;
    }
    offset = count > 0 ? offset / step * step : size;
    if (__builtin_add_overflow(offset, step * count, &needed) || needed > SIZE_MAX / 2) {
        return EOVERFLOW;
    }
    if (needed > arguments->rsize) {
        mapped_size = memory_round(needed);
        int populate = mapped_size <= POPULATE_MAX ? MAP_POPULATE : 0; /* all of it is about to be written */
        mapped = mmap(NULL, mapped_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | populate, -1, 0);
        if (mapped == MAP_FAILED) {
            return EOVERFLOW;
        }
        target = mapped;
    } else if (!memory_writable(target, needed)) {
        return EFAULT;
    }
    if (size > 0) {
        memcpy(target, data, size);
        arguments->data_ptr = target;
    }
    if (count > 0) {
        descriptors_describe(fds, count, (door_desc_t *)(target + offset));
        for (unsigned i = 0; i < count; i++) {
            fcntl(fds[i], F_SETFD, 0);
        }
        arguments->desc_ptr = (door_desc_t *)(target + offset);
    }
    if (mapped != NULL) {
        arguments->rbuf = mapped;
        arguments->rsize = mapped_size;
    }
    arguments->data_size = size;
    arguments->desc_num = count;
    return 0;
}
