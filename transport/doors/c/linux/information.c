/* door_info, and what this implementation can do. */
#include "internal.h"

#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

static int fail(int error) {
    errno = error;
    return -1;
}

static int bound_info(door_info_t *info) {
    struct server_thread *thread = this_server_thread;
    if (thread == NULL || thread->bound == NULL) {
        return fail(EBADF);
    }
    if (!memory_writable(info, sizeof *info)) {
        return fail(EFAULT);
    }
    server_lock();
    struct door *door = thread->bound;
    door_describe(door, info);
    if (door->opened == 0 && door->attended == 0) { /* how many descriptors there are is not asked here */
        info->di_attributes |= DOOR_IS_UNREF;
    }
    server_unlock();
    return 0;
}

int door_info(int d, door_info_t *info) {
    struct identity identity;
    if (d == DOOR_QUERY) {
        return bound_info(info);
    }
    int error = identify(d, &identity);
    if (error != 0) {
        return fail(error);
    }
    if (!memory_writable(info, sizeof *info)) {
        identity_drop(&identity);
        return fail(EFAULT);
    }
    if (identity.local) {
        struct door *door = door_of(d, &error);
        if (door != NULL) {
            door_refresh_locked(door);
            server_unlock();
        }
    }
    identity.dead = identity.dead || (!identity.local && socket_peer_exited(d, identity.pid));
    door_info_t result = {.di_target = identity.dead ? -1 : identity.pid,
                          .di_proc = identity.status->procedure,
                          .di_data = identity.status->cookie,
                          .di_attributes = identity_attributes(&identity),
                          .di_uniquifier = identity.status->id};
    memcpy(info, &result, sizeof result);
    identity_drop(&identity);
    return 0;
}

int door_counters(int d, door_counters_t *counters) {
    struct identity identity;
    int error = identify(d, &identity);
    if (error != 0) {
        return fail(error);
    }
    const struct status *status = identity.status;
    door_counters_t result = {.calls = atomic_load(&status->calls),
                              .failures = atomic_load(&status->failures),
                              .active = identity.dead ? 0 : atomic_load(&status->active),
                              .references = identity.dead ? 0 : atomic_load(&status->references)};
    identity_drop(&identity);
    if (!memory_writable(counters, sizeof *counters)) {
        return fail(EFAULT);
    }
    memcpy(counters, &result, sizeof result);
    return 0;
}

uint_t door_capabilities(void) {
    struct utsname name;
    int major = 0, minor = 0;
    if (uname(&name) == 0) {
        const char *dot = strchr(name.release, '.');
        for (const char *p = name.release; *p >= '0' && *p <= '9'; p++) {
            major = major * 10 + (*p - '0');
        }
        for (const char *p = dot ? dot + 1 : ""; *p >= '0' && *p <= '9'; p++) {
            minor = minor * 10 + (*p - '0');
        }
    }
    uint_t found = DOOR_CAPABILITY_VFORK | DOOR_CAPABILITY_COUNTERS |
                   (major > 5 || (major == 5 && minor >= 14) ? DOOR_CAPABILITY_FAULT : 0);
    return found | (major > 6 || (major == 6 && minor >= 5) ? DOOR_CAPABILITY_PEER_PIDFD : 0);
}
