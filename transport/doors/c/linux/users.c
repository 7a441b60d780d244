/*
 * Numbers of users and groups that name somebody.
 *
 * In a user namespace the kernel tells every user without a number there by one and the same number, the overflow id, which may
 * also be ours, or that of a user who has one. So it names nobody, and is taken for none: -1. Only where all numbers are mapped,
 * as they are outside of such namespaces, does it belong to a user.
 */
#include "internal.h"

#include <stdio.h>

static unsigned overflow_user = 65534, overflow_group = 65534; /* unless the administrator has chosen others */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void read_number(const char *path, unsigned *number) {
    unsigned read;
    FILE *file = fopen(path, "re");
    if (file != NULL) {
        *number = fscanf(file, "%u", &read) == 1 ? read : *number;
        fclose(file);
    }
}

static void read_overflow_ids(void) {
    read_number("/proc/sys/kernel/overflowuid", &overflow_user);
    read_number("/proc/sys/kernel/overflowgid", &overflow_group);
}

/* Whether our namespace has a number for everybody; no, if that cannot be read. A process can enter another namespace, so it is
 * asked each time. */
static bool is_complete(const char *path) {
    unsigned long long inner, outer, length, all = 0;
    FILE *file = fopen(path, "re");
    while (file != NULL && fscanf(file, "%llu %llu %llu", &inner, &outer, &length) == 3) {
        all += length;
    }
    if (file != NULL) {
        fclose(file);
    }
    return all >= UINT32_MAX;
}

uid_t user_known(uid_t user) {
    pthread_once(&once, read_overflow_ids);
    return user == overflow_user && !is_complete("/proc/self/uid_map") ? (uid_t)-1 : user;
}

gid_t group_known(gid_t group) {
    pthread_once(&once, read_overflow_ids);
    return group == overflow_group && !is_complete("/proc/self/gid_map") ? (gid_t)-1 : group;
}
