/* Pools of server threads: parking, and the creation of more threads. */
#include "internal.h"

#include "../thread.h"

#include <stdlib.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/*
 * The stack of a default thread. Requests are limited as if it were the 2 MiB of illumos; the rest is room for
 * procedures that need more than the 64 KiB which that rule leaves them.
 */
enum { STACK_DEFAULT = 2 << 20, STACK_MARGIN = 1 << 20, IDLE_MILLISECONDS = 5000 };

static void default_function(door_info_t *info);
static _Atomic(door_server_func_t *) creation_function = default_function;

/* Does nothing to a pool that is open. */
int pool_open(struct pool *pool) {
    if (pool->epoll < 0) {
        pool->epoll = epoll_create1(EPOLL_CLOEXEC);
    }
    return pool->epoll < 0 ? errno : 0;
}

void pool_release_locked(struct pool *pool) {
    if (pool->handle != 0) {
        handle_free(pool->handle);
        close(pool->bell);
    }
    close(pool->epoll);
    free(pool);
}

/* Gives the pool a bell, through which notifications reach an idle thread. */
int pool_bell_locked(struct pool *pool) {
    if (pool->handle != 0) {
        return 0;
    }
    pool->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (pool->bell < 0) {
        return errno;
    }
    pool->handle = handle_new(KIND_POOL, pool);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = pool->handle};
    if (pool->handle == 0 || epoll_ctl(pool->epoll, EPOLL_CTL_ADD, pool->bell, &event) < 0) {
        int error = pool->handle ? errno : ENOMEM;
        handle_free(pool->handle);
        close(pool->bell);
        pool->bell = -1;
        pool->handle = 0;
        return error;
    }
    return 0;
}

/*
 * No call can reach the pool any more. The threads that are parked in it leave, one after the other: each rings for the
 * next one. Without a descriptor for the bell they stay, as all would on illumos.
 */
void pool_dismiss_locked(struct pool *pool) {
    if (pool != &server.public_pool && pool_bell_locked(pool) == 0) {
        eventfd_write(pool->bell, 1);
    }
}

static void *default_thread(void *unused) {
    (void)unused;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    pthread_setname_np(pthread_self(), "door-server");
    door_thread(STACK_DEFAULT, IDLE_MILLISECONDS);
    door_return(NULL, 0, NULL, 0);
    return NULL;
}

/*
 * One more thread, detached, with all signals blocked: on illumos it has its creator's mask, and a program's handler runs
 * wherever it may. That it may fail silently is the contract.
 */
static void default_function(door_info_t *info) {
    (void)info;
    if (thread_start(default_thread, NULL, STACK_DEFAULT + STACK_MARGIN) == 0) {
        sched_yield();
    }
}

door_server_func_t *door_server_create(door_server_func_t *create_func) {
    return atomic_exchange(&creation_function, create_func);
}

void pool_start(const door_info_t *info) {
    if (info == NULL) {
        server_lock();
        bool started = server.public_started;
        server.public_started = true;
        server_unlock();
        if (started) {
            return;
        }
    }
    door_info_t copy;
    if (info != NULL) {
        copy = *info;
    }
    atomic_load(&creation_function)(info ? &copy : NULL);
}

/* The thread's invocation took the last idle thread of its pool: ask for another, before the procedure runs. */
void pool_deplete(struct server_thread *thread) {
    struct door *door = thread->invocation.door;
    door_info_t info;
    if (door->pool == &server.public_pool) {
        atomic_load(&creation_function)(NULL);
        return;
    }
    server_lock();
    door_describe(door, &info); /* never with DOOR_IS_UNREF */
    struct creation creation = door->creation;
    server_unlock();
    info.di_attributes |= DOOR_DEPLETION_CB;
    if (creation.create == NULL) {
        atomic_load(&creation_function)(&info);
    } else if (!(info.di_attributes & DOOR_NO_DEPLETION_CB)) {
        creation_deplete(&creation, &info);
    }
}
