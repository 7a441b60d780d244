/*
 * The control thread, one a process: accepts connections and channels, and notices who has gone. It runs no
 * user code and blocks all signals. What it does is also done by door_create and door_info in their own thread,
 * when their answer depends on it.
 */
#include "internal.h"

#include <sys/epoll.h>
#include <sys/inotify.h>
#include <signal.h>
#include <unistd.h>

static void inotify_event(void) {
    union {
        struct inotify_event event;
        char bytes[4096];
    } buffer;
    ssize_t length = read(server.notify, buffer.bytes, sizeof buffer.bytes);
    for (ssize_t at = 0; at < length;) {
        const struct inotify_event *event = (const void *)(buffer.bytes + at);
        if (event->wd >= 0 && !(event->mask & IN_IGNORED)) {
            name_changed(event->wd);
        }
        at += (ssize_t)(sizeof *event + event->len);
    }
}

static void dispatch(const struct epoll_event *event) {
    enum kind kind;
    void *object = handle_lookup(event->data.u64, &kind);
    switch (kind) {
    case KIND_TRUNK:
        trunk_event(object);
        break;
    case KIND_NAME:
        name_accept(object);
        break;
    case KIND_CHANNEL:
        if (event->events & (EPOLLHUP | EPOLLRDHUP | EPOLLERR)) {
            channel_hang_up(object);
        }
        break;
    case KIND_WATCH:
        inotify_event();
        break;
    default:
        break;
    }
}

static void *control(void *unused) {
    struct epoll_event events[64];
    (void)unused;
    for (;;) {
        int count = epoll_wait(server.epoll, events, 64, -1);
        server_lock();
        for (int i = 0; i < count; i++) {
            dispatch(&events[i]);
        }
        server_unlock();
    }
    return NULL;
}

void control_drain(void) {
    struct epoll_event events[64];
    server_lock();
    for (int round = 0; round < 16 && server.epoll >= 0; round++) {
        int count = epoll_wait(server.epoll, events, 64, 0);
        for (int i = 0; i < count; i++) {
            dispatch(&events[i]);
        }
        if (count < 64) {
            break;
        }
    }
    server_unlock();
}

int control_watch_locked(int fd, uint32_t events, handle handle) {
    struct epoll_event event = {.events = events, .data.u64 = handle};
    return epoll_ctl(server.epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? errno : 0;
}

static int open_locked(void) {
    server.epoll = epoll_create1(EPOLL_CLOEXEC);
    server.notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    handle watch = server.notify >= 0 ? handle_new(KIND_WATCH, &server) : 0;
    if (server.epoll >= 0 && watch != 0 && control_watch_locked(server.notify, EPOLLIN, watch) == 0) {
        channel_reserve_locked(true);
        return 0;
    }
    int error = errno ? errno : ENOMEM;
    handle_free(watch);
    if (server.epoll >= 0) {
        close(server.epoll);
    }
    if (server.notify >= 0) {
        close(server.notify);
    }
    server.epoll = server.notify = -1;
    return error;
}

int control_start_locked(void) {
    int error = 0;
    if (server.epoll < 0 && (error = open_locked()) != 0) {
        return error;
    }
    if (!server.control_running) {
        pthread_t thread;
        pthread_attr_t attributes;
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        pthread_attr_init(&attributes);
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        pthread_attr_setstacksize(&attributes, 256 << 10);
        error = pthread_create(&thread, &attributes, control, NULL);
        pthread_attr_destroy(&attributes);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (error == 0) {
            pthread_setname_np(thread, "door-control");
            server.control_running = true;
        }
    }
    return error;
}
