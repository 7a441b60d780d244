/* door_bind and door_unbind: choosing the pool in which a thread parks next. */
#include "internal.h"

int door_bind(int did) {
    int error;
    struct door *door = door_of(did, &error);
    if (door == NULL) {
        errno = error == EPERM ? EINVAL : error;
        return -1;
    }
    struct server_thread *thread = server_thread_enter();
    if (thread == NULL || door->pool == &server.public_pool) {
        server_unlock();
        errno = thread ? EINVAL : ENOMEM;
        return -1;
    }
    door->holds++;
    if (thread->bound != NULL) {
        door_release_locked(thread->bound);
    }
    thread->bound = door;
    thread->bound_invalid = false;
    server_unlock();
    return 0;
}

int door_unbind(void) {
    struct server_thread *thread = this_server_thread;
    if (thread != NULL && thread->bound_invalid) {
        thread->bound_invalid = false;
        return 0;
    }
    if (thread == NULL || thread->bound == NULL) {
        errno = EBADF;
        return -1;
    }
    server_lock();
    door_release_locked(thread->bound);
    thread->bound = NULL;
    server_unlock();
    return 0;
}
