/*
 * fork. The child is a client of its parent's doors and a server of none.
 *
 * A door's home descriptor would be shared by parent and child, and the parent's own close would stay invisible
 * until the child had closed it too. So before the fork every home gets one more trunk, and the child puts its
 * client end in the place of the home. Everything else that is internal is closed in the child; exec needs no such
 * care because all of it is close-on-exec.
 */
#include "internal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static pid_t owner; /* the process whose memory this is */

static void prepare(void) {
    lines_lock();
    server_lock();
    for (struct door *door = server.doors; door != NULL; door = door->next) {
        for (struct trunk *trunk = door->trunks; trunk != NULL; trunk = trunk->next) {
            trunk->inherited = -1;
            if (trunk->kind == TRUNK_HOME && socket_cookie(trunk->home) == trunk->client_cookie) {
                int error;
                trunk_create_locked(door, TRUNK_EXPORT, &trunk->inherited, &error);
            }
        }
    }
}

static void parent(void) {
    for (struct door *door = server.doors; door != NULL; door = door->next) {
        for (struct trunk *trunk = door->trunks; trunk != NULL; trunk = trunk->next) {
            if (trunk->inherited >= 0) {
                close(trunk->inherited);
                trunk->inherited = -1;
            }
        }
    }
    server_unlock();
    lines_unlock();
}

static void forget_door(struct door *door) {
    while (door->trunks != NULL) {
        struct trunk *trunk = door->trunks;
        door->trunks = trunk->next;
        if (trunk->inherited >= 0) {
            int flags = fcntl(trunk->home, F_GETFD);
            dup3(trunk->inherited, trunk->home, flags > 0 && (flags & FD_CLOEXEC) ? O_CLOEXEC : 0);
            close(trunk->inherited);
        }
        close(trunk->fd);
        free(trunk);
    }
    while (door->names != NULL) {
        struct name *name = door->names;
        door->names = name->next;
        close(name->listener);
        close(name->inode);
        name_free(name);
    }
    while (door->channels != NULL) {
        struct channel *channel = door->channels;
        door->channels = channel->next;
        channel_drop_received(channel);
        free(channel->received);
        region_drop(&channel->request);
        region_drop(&channel->reply);
        munmap(channel->session, SESSION_SIZE);
        close(channel->fd);
        close(channel->out);
        free(channel);
    }
    if (door->pool != &server.public_pool) {
        close(door->pool->epoll);
        if (door->pool->bell >= 0) {
            close(door->pool->bell);
        }
        free(door->pool);
    }
    munmap(door->status, STATUS_SIZE);
    close(door->status_fd);
    free(door);
}

static void child(void) {
    owner = getpid();
    struct server_thread *thread = this_server_thread;
    struct door *door = server.doors;
    while (door != NULL) {
        struct door *next = door->next;
        forget_door(door);
        door = next;
    }
    accounts_forget_all();
    if (server.public_pool.epoll >= 0) {
        close(server.public_pool.epoll);
    }
    if (server.public_pool.bell >= 0) {
        close(server.public_pool.bell);
    }
    if (server.epoll >= 0) {
        close(server.epoll);
    }
    if (server.notify >= 0) {
        close(server.notify);
    }
    if (server.timer >= 0) {
        close(server.timer);
    }
    if (server.pause >= 0) {
        close(server.pause);
    }
    channel_reserve_locked(false);
    handle_forget_all();
    server.doors = NULL;
    server.public_pool = (struct pool){.epoll = -1, .bell = -1};
    server.public_started = false;
    server.epoll = server.notify = server.timer = server.pause = -1;
    server.control_running = false;
    server.channels = 0;
    server.waiting = 0; /* those were the parent's */
    server.unreferenced_first = NULL;
    server.unreferenced_running = false;
    server.visited = NULL;
    if (thread != NULL) { /* the copy of a server thread serves nobody */
        thread->bound_invalid = thread->bound != NULL;
        thread->bound = NULL;
        thread->recent = thread->attended = NULL;
        thread->parked = false;
        thread->self = pthread_self();
        thread->invocation = (struct invocation){.active = false};
    }
    server_unlock();
    lines_forget_all();
    lines_unlock();
}

/* From the beginning, because a child that was forked unseen could not be told from one of vfork. */
__attribute__((constructor)) static void begin(void) {
    owner = getpid();
    closing_expect_forks(); /* first, so that its lock is taken last */
    pthread_atfork(prepare, parent, child);
}

/* Whether the caller only borrows this memory: a child of vfork(2), which must make no doors in it. */
bool process_is_borrowed(void) {
    return getpid() != owner;
}
