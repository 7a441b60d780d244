/*
 * The control thread, one a process: accepts connections and channels, and notices who has gone. It runs no
 * user code and blocks all signals. What it does is also done by door_create and door_info in their own thread,
 * when their answer depends on it.
 */
#include "internal.h"

#include "../thread.h"

#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/timerfd.h>
#include <unistd.h>

static void inotify_event(void) {
    union {
        struct inotify_event event;
        char bytes[4096];
    } buffer;
    ssize_t length = read(server.notify, buffer.bytes, sizeof buffer.bytes);
    for (ssize_t at = 0; at < length;) {
        const struct inotify_event *event = (const void *)(buffer.bytes + at);
        if (event->mask & IN_Q_OVERFLOW) {
            names_look_locked();
        } else if (!(event->mask & IN_IGNORED)) {
            name_changed(event->wd);
        }
        at += (ssize_t)(sizeof *event + event->len);
    }
}

/* Gives the control thread a descriptor to wait for, or closes it. */
static int adopt_locked(int fd, enum kind kind) {
    handle handle = fd >= 0 ? handle_new(kind, &server) : 0;
    if (handle != 0 && control_watch_locked(fd, EPOLLIN, handle) == 0) {
        return fd;
    }
    handle_free(handle);
    if (fd >= 0) {
        close(fd);
    }
    return -1;
}

/* What tells name_changed() of changes of inodes, or -1. */
int control_notify_locked(void) {
    if (server.notify < 0) {
        server.notify = adopt_locked(inotify_init1(IN_CLOEXEC | IN_NONBLOCK), KIND_WATCH);
    }
    return server.notify;
}

/* From here on all names are looked at every second. */
void control_timer_locked(void) {
    const struct itimerspec second = {.it_value.tv_sec = 1, .it_interval.tv_sec = 1};
    if (server.timer < 0) {
        server.timer = adopt_locked(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), KIND_TIMER);
        if (server.timer >= 0) {
            timerfd_settime(server.timer, 0, &second, NULL);
        }
    }
}

/*
 * Tells name_changed() of changes of an inode; returns the watch. A user has a limited number of inotify instances
 * and watches: without one, -1, and all names are looked at every second.
 */
int control_inotify_locked(const char *path) {
    int notify = control_notify_locked(), watch = notify < 0 ? -1 : inotify_add_watch(notify, path, IN_ATTRIB);
    if (watch < 0) {
        control_timer_locked();
    }
    return watch;
}

static void timer_event(void) {
    uint64_t expirations;
    if (read(server.timer, &expirations, sizeof expirations) > 0) {
        names_look_locked();
    }
}

enum { PAUSE_NANOSECONDS = 10000000 };

/* Has paused trunks watched again in a moment. False without a descriptor for that. */
bool control_pause_locked(void) {
    const struct itimerspec moment = {.it_value.tv_nsec = PAUSE_NANOSECONDS};
    if (server.pause < 0) {
        server.pause = adopt_locked(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), KIND_PAUSE);
    }
    return server.pause >= 0 && timerfd_settime(server.pause, 0, &moment, NULL) == 0;
}

/* Whether a payer's files are still being closed; asked once for many in a row that are the same process's. */
static bool is_still_busy(const struct closing_payer *payer) {
    static struct closing_payer asked;
    static uint64_t when;
    static bool busy;
    uint64_t now = word_clock();
    if (payer->process != asked.process || payer->user != asked.user || now - when > PAUSE_NANOSECONDS / 2) {
        asked = *payer;
        when = now;
        busy = closing_is_behind(payer) == CLOSING_BUSY;
    }
    return busy;
}

/* Those that were paused are heard again, unless their files are still being closed. Whether any have to wait longer. */
static bool resume_locked(void) {
    bool more = false;
    for (struct door *door = server.doors; door != NULL; door = door->next) {
        for (struct trunk *trunk = door->trunks; trunk != NULL; trunk = trunk->next) {
            if (trunk->paused && !(is_still_busy(&trunk->payer) && control_pause_locked())) {
                trunk_resume_locked(trunk);
            }
            more |= trunk->paused;
        }
        for (struct channel *channel = door->channels; channel != NULL; channel = channel->next) {
            if (channel->paused && !(is_still_busy(&channel->payer) && control_pause_locked())) {
                channel->paused = false;
                channel_announce_locked(channel);
            }
            more |= channel->paused;
        }
    }
    return more;
}

static void pause_event(handle handle) {
    uint64_t expirations;
    if (read(server.pause, &expirations, sizeof expirations) > 0 && !resume_locked()) {
        handle_free(handle);
        close(server.pause);
        server.pause = -1;
    }
}

/* Whether the same event may be told again at once, because there is more. */
static bool dispatch(const struct epoll_event *event) {
    enum kind kind;
    bool more = false;
    server_lock();
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
    case KIND_ACCOUNT:
        more = account_turn_locked(object);
        break;
    case KIND_CLIENT:
        client_ended_locked(object);
        break;
    case KIND_WATCH:
        inotify_event();
        break;
    case KIND_TIMER:
        timer_event();
        break;
    case KIND_PAUSE:
        pause_event(event->data.u64);
        break;
    default:
        break;
    }
    server_unlock();
    server_give_way(); /* anybody can have us told of many events at a time */
    return more;
}

static void *control(void *unused) {
    struct epoll_event events[64];
    (void)unused;
    pthread_setname_np(pthread_self(), "door-control");
    for (;;) {
        int count = epoll_wait(server.epoll, events, 64, -1);
        for (int i = 0; i < count; i++) {
            dispatch(&events[i]);
        }
    }
    return NULL;
}

enum { DRAIN_NANOSECONDS = 10000000, DRAIN_EVENTS = 8 };

/* As much of what has come as takes a moment: others may send more without end. */
void control_drain(void) {
    struct epoll_event events[DRAIN_EVENTS];
    server_lock();
    int epoll = server.epoll;
    server_unlock();
    uint64_t end = word_clock() + DRAIN_NANOSECONDS;
    for (bool more = true; epoll >= 0 && more && word_clock() < end;) {
        int count = epoll_wait(epoll, events, DRAIN_EVENTS, 0);
        more = count == DRAIN_EVENTS;
        for (int i = 0; i < count; i++) { /* all: of some that have been told we are told once */
            more |= dispatch(&events[i]);
        }
    }
}

int control_watch_locked(int fd, uint32_t events, handle handle) {
    struct epoll_event event = {.events = events, .data.u64 = handle};
    return epoll_ctl(server.epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? errno : 0;
}

static int open_locked(void) {
    server.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (server.epoll < 0) {
        return errno;
    }
    channel_reserve_locked(true);
    return 0;
}

int control_start_locked(void) {
    int error = 0;
    if (server.epoll < 0 && (error = open_locked()) != 0) {
        return error;
    }
    if (!server.control_running && (error = thread_start(control, NULL, THREAD_STACK)) == 0) {
        server.control_running = true;
    }
    return error;
}
