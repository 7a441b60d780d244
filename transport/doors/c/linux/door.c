/* The doors of this process: creation, references, revocation, destruction. */
#include "internal.h"

#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

struct server server = {.lock = PTHREAD_MUTEX_INITIALIZER,
                        .epoll = -1,
                        .notify = -1,
                        .timer = -1,
                        .pause = -1,
                        .public_pool = {.epoll = -1, .bell = -1}};

/*
 * Much of what is done under the lock is a cancellation point, and a cancelled holder would never let go.
 */
static _Thread_local int cancellation;

void server_lock(void) {
    int state;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    if (pthread_mutex_trylock(&server.lock) != 0) {
        atomic_fetch_add(&server.waiting, 1);
        pthread_mutex_lock(&server.lock);
        atomic_fetch_sub(&server.waiting, 1);
        atomic_fetch_add(&server.waited, 1);
    }
    cancellation = state;
}

enum { WAY_TURNS = 40, WAY_NANOSECONDS = 50000 };

/*
 * Lets those have the lock who wait for it now, or some time pass. A thread that takes it again and again needs this: the kernel wakes
 * one who waits when the lock is free, and that one finds it taken.
 */
void server_give_way(void) {
    unsigned before = atomic_load(&server.waited), others = atomic_load(&server.waiting);
    for (unsigned i = 0; i < WAY_TURNS && atomic_load(&server.waited) - before < others; i++) {
        struct timespec pause = {.tv_nsec = WAY_NANOSECONDS};
        nanosleep(&pause, NULL);
    }
}

void server_unlock(void) {
    int state = cancellation;
    pthread_mutex_unlock(&server.lock);
    pthread_setcancelstate(state, NULL);
}

struct door *door_by_id_locked(uint64_t id) {
    struct door *door = server.doors;
    while (door != NULL && door->id != id) {
        door = door->next;
    }
    return door;
}

struct door *door_by_socket_locked(uint64_t cookie) {
    for (struct door *door = server.doors; door != NULL; door = door->next) {
        for (const struct trunk *trunk = door->trunks; trunk != NULL; trunk = trunk->next) {
            if (trunk->client_cookie == cookie) {
                return door;
            }
        }
    }
    return NULL;
}

/* The local door behind a descriptor, with server.lock held; or NULL with EBADF, EPERM or EMFILE, unlocked. */
struct door *door_of(int fd, int *error) {
    struct identity identity;
    *error = identify(fd, &identity);
    if (*error != 0) {
        return NULL;
    }
    uint64_t id = identity.status->id;
    bool local = identity.local;
    identity_drop(&identity);
    if (local) {
        server_lock();
        struct door *door = door_by_id_locked(id);
        if (door != NULL) {
            return door;
        }
        server_unlock();
    }
    *error = EPERM;
    return NULL;
}

static void publish_locked(struct door *door) {
    atomic_store(&door->status->unreferenced, door->references == 1 && door->opened == 0);
    atomic_store(&door->status->orphaned, door->references - door->home <= 1 && door->opened == 0);
    atomic_store(&door->status->references, door->references);
}

void door_reference_locked(struct door *door, bool opened) {
    door->references++;
    door->opened += opened;
    publish_locked(door);
}

void door_dereference_locked(struct door *door, bool opened) {
    door->references--;
    door->opened -= opened;
    publish_locked(door);
    if (door->references == 1 && door->opened == 0) {
        unreferenced_notify_locked(door);
    }
    if (door->references > 0) {
        return;
    }
    struct door **link = &server.doors;
    while (*link != door) {
        link = &(*link)->next;
    }
    *link = door->next;
    struct channel *following;
    for (struct channel *channel = door->channels; channel != NULL; channel = following) {
        following = channel->next;
        channel->orphan = true;
        if (channel->thread == NULL && !channel->busy) {
            channel_close_locked(channel);
        }
    }
    pool_dismiss_locked(door->pool);
    door_release_locked(door);
}

void door_begin_locked(struct invocation *invocation) {
    struct door *door = invocation->door;
    atomic_store_explicit(&door->status->active, ++door->active, memory_order_relaxed);
    invocation->attended = !invocation->unreferenced;
    if (invocation->attended) {
        atomic_store_explicit(&door->status->attended, ++door->attended, memory_order_relaxed);
    }
}

void door_abandon_locked(struct invocation *invocation) {
    struct door *door = invocation->door;
    if (invocation->attended) {
        invocation->attended = false;
        atomic_store_explicit(&door->status->attended, --door->attended, memory_order_relaxed);
        unreferenced_unattended_locked(door);
    }
}

void door_end_locked(struct invocation *invocation) {
    struct door *door = invocation->door;
    atomic_store_explicit(&door->status->active, --door->active, memory_order_relaxed);
    door_abandon_locked(invocation);
}

/* Lets go of the memory; the last one frees. */
void door_release_locked(struct door *door) {
    if (--door->holds > 0) {
        return;
    }
    if (door->pool != &server.public_pool) {
        pool_release_locked(door->pool);
    }
    munmap(door->status, STATUS_SIZE);
    close(door->status_fd);
    free(door);
}

/* Hang-ups that the control thread has not come to yet, so that what the caller has just closed counts. */
void door_refresh_locked(struct door *door) {
    door->holds++;
    struct trunk *following;
    for (struct trunk *trunk = door->trunks; trunk != NULL; trunk = following) {
        following = trunk->next;
        if (socket_hung_up(trunk->fd)) {
            trunk_event(trunk);
        }
    }
    door_release_locked(door);
}

void door_describe(struct door *door, door_info_t *info) {
    *info = (door_info_t){.di_target = getpid(),
                          .di_proc = door->status->procedure,
                          .di_data = door->status->cookie,
                          .di_uniquifier = door->id};
    info->di_attributes = (atomic_load(&door->status->attributes) & DOOR_ATTR_MASK) | DOOR_LOCAL;
    if (door->revoked) {
        info->di_attributes |= DOOR_REVOKED;
    }
}

static uint64_t new_id(void) {
    uint64_t id = 0;
    while (id == 0 || door_by_id_locked(id) != NULL) {
        if (getrandom(&id, sizeof id, 0) != sizeof id) {
            id = (uint64_t)getpid() << 32 | (uint32_t)++server.clock;
        }
        id >>= 1; /* positive as a signed number, for the comfort of other languages */
    }
    return id;
}

static struct door *allocate(door_server_procedure_t *procedure, void *cookie, uint_t attributes, int *error) {
    struct door *door = calloc(1, sizeof *door);
    if (door == NULL) {
        *error = ENOMEM;
        return NULL;
    }
    door->pool = &server.public_pool;
    if (attributes & DOOR_PRIVATE) {
        door->pool = calloc(1, sizeof *door->pool);
        if (door->pool != NULL) {
            door->pool->epoll = door->pool->bell = -1;
        }
    }
    if (door->pool == NULL || (*error = pool_open(door->pool)) != 0) {
        *error = door->pool ? *error : ENOMEM;
        if (attributes & DOOR_PRIVATE) {
            free(door->pool);
        }
        free(door);
        return NULL;
    }
    door->status = status_create(&door->status_fd);
    if (door->status == NULL) {
        *error = errno;
        if (attributes & DOOR_PRIVATE) {
            pool_release_locked(door->pool);
        }
        free(door);
        return NULL;
    }
    door->procedure = procedure;
    door->cookie = cookie;
    door->id = new_id();
    door->holds = 1;
    struct status *status = door->status;
    status->id = door->id;
    status->procedure = (uint64_t)(uintptr_t)procedure;
    status->cookie = (uint64_t)(uintptr_t)cookie;
    atomic_store(&status->attributes, attributes);
    struct limits limits = {0, SIZE_MAX, attributes & DOOR_REFUSE_DESC ? 0 : INT_MAX};
    status_set_limits(status, &limits);
    return door;
}

/* The part of creation that the kernel does on illumos: returns a descriptor, or -1 with errno. */
int door_make(door_server_procedure_t *procedure, void *cookie, uint_t attributes, const struct creation *creation,
              door_info_t *info) {
    int pair[2], error;
    const uint_t both = DOOR_UNREF | DOOR_UNREF_MULTI;
    if (process_is_borrowed()) {
        errno = ENOTSUP;
        return -1;
    }
    if ((attributes & ~(uint_t)DOOR_CREATE_MASK) || (attributes & both) == both) {
        errno = EINVAL;
        return -1;
    }
    control_drain(); /* doors closed before are gone before a new one is made */
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        return -1;
    }
    server_lock();
    struct door *door = NULL;
    if ((error = control_start_locked()) == 0) {
        door = allocate(procedure, cookie, attributes, &error);
    }
    if (door != NULL) {
        if (creation != NULL) {
            door->creation = *creation;
        }
        if ((attributes & both) != 0 && (error = pool_bell_locked(door->pool)) != 0) {
            door_release_locked(door);
            door = NULL;
        }
    }
    if (door != NULL) {
        struct trunk *trunk = trunk_adopt_locked(door, TRUNK_HOME, pair[1], &error);
        if (trunk != NULL) {
            door->home = true;
            publish_locked(door);
            trunk->home = pair[0];
            trunk->client_cookie = socket_cookie(pair[0]);
            door->next = server.doors;
            server.doors = door;
            door_describe(door, info);
            info->di_attributes |= DOOR_IS_UNREF; /* nobody else has it yet */
        } else {
            door_release_locked(door);
            door = NULL;
        }
    }
    server_unlock();
    if (door == NULL) {
        close(pair[0]);
        close(pair[1]);
        errno = error;
        return -1;
    }
    return pair[0];
}

int door_create(door_server_procedure_t *procedure, void *cookie, uint_t attributes) {
    door_info_t info;
    if (attributes & (DOOR_NO_DEPLETION_CB | DOOR_PRIVCREATE)) {
        errno = EINVAL;
        return -1;
    }
    int fd = door_make(procedure, cookie, attributes, NULL, &info);
    if (fd >= 0) {
        pool_start(attributes & DOOR_PRIVATE ? &info : NULL);
    }
    return fd;
}

/* Hangs up on all who hold the door, except on those to whom the descriptor of its creation has come. */
static void hang_up_locked(struct door *door) {
    struct trunk *following;
    door->holds++;
    for (struct trunk *trunk = door->trunks; trunk != NULL; trunk = following) {
        following = trunk->next;
        if (trunk->kind != TRUNK_HOME) {
            trunk_close_locked(trunk);
        }
    }
    door_release_locked(door);
}

static int end_door(int d, bool everywhere) {
    int error;
    struct door *door = door_of(d, &error);
    if (door == NULL) {
        errno = error;
        return -1;
    }
    if (!door->revoked) {
        door->revoked = true;
        atomic_store(&door->status->revoked, 1);
        channel_revoke_locked(door);
        unreferenced_cancel_locked(door);
        pool_dismiss_locked(door->pool);
    }
    if (everywhere) {
        hang_up_locked(door);
    }
    server_unlock();
    return close(d);
}

int door_revoke(int d) {
    return end_door(d, false);
}

int door_abolish(int d) {
    return end_door(d, true);
}
