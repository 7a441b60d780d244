/* The status page: written by the server alone, readable by every holder of the door. */
#include "internal.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

struct status *status_create(int *fd) {
    *fd = memory_create("door-status", STATUS_SIZE);
    if (*fd < 0) {
        return NULL;
    }
    struct status *status = memory_map(*fd, STATUS_SIZE, PROT_READ | PROT_WRITE);
    /* From here on only the mapping just made can write. */
    if (status == NULL || fcntl(*fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) < 0) {
        int error = errno;
        if (status != NULL) {
            munmap(status, STATUS_SIZE);
        }
        close(*fd);
        errno = error;
        return NULL;
    }
    status->magic = WIRE_MAGIC;
    status->abi = WIRE_ABI;
    return status;
}

void status_limits(const struct status *status, struct limits *limits) {
    for (int i = 0; i < 1000; i++) { /* a hostile server could leave it odd */
        uint32_t before = atomic_load(&status->version);
        limits->data_min = atomic_load(&status->data_min);
        limits->data_max = atomic_load(&status->data_max);
        limits->descriptors_max = atomic_load(&status->descriptors_max);
        if (!(before & 1) && atomic_load(&status->version) == before) {
            return;
        }
    }
}

void status_set_limits(struct status *status, const struct limits *limits) {
    atomic_fetch_add(&status->version, 1);
    atomic_store(&status->data_min, limits->data_min);
    atomic_store(&status->data_max, limits->data_max);
    atomic_store(&status->descriptors_max, limits->descriptors_max);
    atomic_fetch_add(&status->version, 1);
}

/* The order in which a call is refused: size, then descriptors at all, then their number. */
int limits_check(const struct limits *limits, door_attr_t attributes, uint64_t size, uint64_t count) {
    if (size < limits->data_min || size > limits->data_max) {
        return ENOBUFS;
    }
    if (count > 0 && (attributes & DOOR_REFUSE_DESC)) {
        return ENOTSUP;
    }
    return count > limits->descriptors_max ? ENFILE : 0;
}
