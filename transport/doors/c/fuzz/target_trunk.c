/*
 * A target for libFuzzer, and for driver.c where there is none: what a hostile holder of a door does to its server, without a kernel
 * (serving.h).
 *
 * The trunk hears anything: channels that attach, with a call in them or none, names of another process, rubbish. Channels
 * call, hang up, lose their process, are evicted and revoked, in any order. Whatever comes, each descriptor is closed once, and
 * nothing is left of what has attached.
 */
#include "../look.h"
#include "../thread.h"
#include "serving.h"

#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/un.h>
#include <time.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST_THREADS = 8, PIDFS = 0x50494446 };

static handle trunk_handle;
static int trunk_client;
static unsigned connections; /* that the names' listeners accept before they end */

/* Threads of names, which wait until the script lets them run. */
static struct {
    void *(*function)(void *);
    void *argument;
} threads[MOST_THREADS];
static unsigned thread_count;

static bool is_ours(int fd) {
    return fd >= FIRST_NUMBER && fd < FIRST_NUMBER + NUMBERS;
}

int __wrap_thread_start(void *(*function)(void *), void *argument, size_t stack);
int __wrap_thread_start(void *(*function)(void *), void *argument, size_t stack) {
    (void)stack;
    if (thread_count == MOST_THREADS || (kernel_mood & 2)) {
        return EAGAIN;
    }
    threads[thread_count].function = function;
    threads[thread_count++].argument = argument;
    return 0;
}

int __wrap_socketpair(int domain, int type, int protocol, int pair[2]);
int __wrap_socketpair(int domain, int type, int protocol, int pair[2]) {
    (void)domain, (void)type, (void)protocol;
    errno = EMFILE;
    if ((kernel_mood & 8) || (pair[0] = kernel_descriptor()) < 0) {
        return -1;
    }
    if ((pair[1] = kernel_descriptor()) < 0) {
        kernel_close(pair[0]);
        return -1;
    }
    return 0;
}

int __real_setsockopt(int fd, int level, int option, const void *value, socklen_t length);
int __wrap_setsockopt(int fd, int level, int option, const void *value, socklen_t length);
int __wrap_setsockopt(int fd, int level, int option, const void *value, socklen_t length) {
    return is_ours(fd) ? 0 : __real_setsockopt(fd, level, option, value, length);
}

int __real_getsockopt(int fd, int level, int option, void *value, socklen_t *length);
int __wrap_getsockopt(int fd, int level, int option, void *value, socklen_t *length);
int __wrap_getsockopt(int fd, int level, int option, void *value, socklen_t *length) {
    if (is_ours(fd)) {
        memset(value, 0, *length);
        return 0;
    }
    return __real_getsockopt(fd, level, option, value, length);
}

int __wrap_getsockname(int fd, struct sockaddr *address, socklen_t *length);
int __wrap_getsockname(int fd, struct sockaddr *address, socklen_t *length) {
    (void)fd;
    struct sockaddr_un path = {.sun_family = AF_UNIX, .sun_path = "/door"};
    memcpy(address, &path, *length < sizeof path ? *length : sizeof path);
    *length = offsetof(struct sockaddr_un, sun_path) + sizeof "/door";
    return 0;
}

int __wrap_listen(int fd, int backlog);
int __wrap_listen(int fd, int backlog) {
    (void)backlog;
    check(kernel_is_open(fd));
    return 0;
}

int __wrap_shutdown(int fd, int how);
int __wrap_shutdown(int fd, int how) {
    (void)how;
    check(kernel_is_open(fd));
    return 0;
}

int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *length, int flags);
int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *length, int flags) {
    (void)address, (void)length, (void)flags;
    check(kernel_is_open(fd));
    errno = connections == 0 ? EINVAL : EMFILE;
    if (connections == 0) {
        return -1;
    }
    connections--;
    return kernel_mood & 8 ? -1 : kernel_descriptor();
}

int __wrap_nanosleep(const struct timespec *time, struct timespec *left);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left) {
    (void)time, (void)left;
    return 0;
}

int __wrap_look_at(int fd, struct look *look);
int __wrap_look_at(int fd, struct look *look) {
    check(kernel_is_open(fd));
    *look = (struct look){.links = !(kernel_mood & 64), .mode = S_IFSOCK | 0600, .user = 1000};
    return 0;
}

int __wrap_control_notify_locked(void);
int __wrap_control_notify_locked(void) {
    return -1;
}

void __wrap_control_timer_locked(void);
void __wrap_control_timer_locked(void) {
}

int __wrap_socket_peer_pidfd(int fd, pid_t pid);
int __wrap_socket_peer_pidfd(int fd, pid_t pid) {
    (void)pid;
    check(kernel_is_open(fd));
    return kernel_mood & 128 ? -1 : kernel_descriptor();
}

void __wrap_socket_turn_away(int fd);
void __wrap_socket_turn_away(int fd) {
    kernel_close(fd);
}

int __wrap_fstatfs(int fd, struct statfs *filesystem);
int __wrap_fstatfs(int fd, struct statfs *filesystem) {
    check(kernel_is_open(fd));
    filesystem->f_type = PIDFS;
    return 0;
}

int __real_fstat(int fd, struct stat *status);
int __wrap_fstat(int fd, struct stat *status);
int __wrap_fstat(int fd, struct stat *status) {
    if (!is_ours(fd)) {
        return __real_fstat(fd, status);
    }
    *status = (struct stat){.st_ino = kernel_mood & 64 ? (ino_t)fd : 1 + (ino_t)(kernel_mood & 3)};
    return 0;
}


static struct channel *nth(unsigned number) {
    struct channel *channel = serving_door.channels;
    for (unsigned i = 0; i < number % 4 && channel != NULL && channel->next != NULL; i++) {
        channel = channel->next;
    }
    return channel;
}

static struct trunk *the_trunk(void) {
    enum kind kind;
    struct trunk *trunk = handle_lookup(trunk_handle, &kind);
    return kind == KIND_TRUNK ? trunk : NULL;
}

static void make_trunk_locked(void) {
    int error;
    struct trunk *trunk = trunk_create_locked(&serving_door, TRUNK_EXPORT, &trunk_client, &error);
    trunk_handle = trunk == NULL ? 0 : trunk->handle;
    trunk_client = trunk == NULL ? -1 : trunk_client;
}

static void close_client(void) {
    if (trunk_client >= 0) {
        kernel_close(trunk_client);
        trunk_client = -1;
    }
}

static void say(const uint8_t *step, unsigned type, unsigned files, unsigned extra) {
    struct message message = {.magic = WIRE_MAGIC, .abi = WIRE_ABI, .type = (uint16_t)type};
    message.size = serving_size(step[1]);
    message.count = step[9] < 240 ? step[9] % 8u : UINT32_MAX - step[9];
    size_t length = step[8] == 255 ? 0 : sizeof message - (step[8] == 254); /* the end, or one that is cut */
    kernel_queue(&message, length, files, extra, step[10] > 250);
}

static void run_thread(void) {
    if (thread_count > 0) {
        thread_count--;
        threads[thread_count].function(threads[thread_count].argument);
    }
}

/* What happens to the server's tables beside calls. */
static void change_locked(const uint8_t *step) {
    struct channel *channel = nth(step[2]);
    switch (step[1] % 6) {
    case 0:
        if (channel != NULL) {
            channel_hang_up(channel);
        }
        break;
    case 1:
        if (channel != NULL && channel->client != NULL) {
            client_ended_locked(channel->client);
        }
        break;
    case 2:
        channel_evict_locked();
        break;
    case 3:
        if (the_trunk() != NULL) {
            trunk_close_locked(the_trunk());
        }
        break;
    case 4:
        serving_door.revoked = true;
        channel_revoke_locked(&serving_door);
        break;
    default:
        if (the_trunk() == NULL) {
            close_client();
            make_trunk_locked();
        }
    }
}

static bool step(struct server_thread *thread, const uint8_t *bytes) {
    static const uint8_t extras[] = {EXTRA_CREDENTIALS | EXTRA_PIDFD, EXTRA_CREDENTIALS | EXTRA_PIDFD, EXTRA_CREDENTIALS, 0};
    unsigned extra = bytes[7] < 200 ? extras[bytes[7] % 4] : bytes[7] & 0x3f;
    struct channel *channel = nth(bytes[11]);
    bool heard = true;
    switch (bytes[0] % 10) {
    case 0: /* one that attaches as it should */
        say(bytes, MESSAGE_ATTACH, 2 + bytes[2] % 2, extra);
        break;
    case 1:
        say(bytes, MESSAGE_NAME, 3, extra);
        break;
    case 2:
        say(bytes, bytes[2] % 16u, bytes[3] < 250 ? bytes[3] % 6u : bytes[3], extra);
        break;
    default:
        heard = false;
    }
    if (heard) {
        server_lock();
        if (the_trunk() != NULL) {
            trunk_event(the_trunk());
        }
        server_unlock();
        return false;
    }
    switch (bytes[0] % 10) {
    case 3:
    case 4:
        if (channel != NULL) {
            serving_write_request(channel, bytes);
            serving_queue(channel, bytes, MESSAGE_CALL);
        }
        break;
    case 5:
        if (channel != NULL) {
            serving_queue(channel, bytes, bytes[2] % 16u);
        }
        break;
    case 6:
        if (channel != NULL) {
            serving_poke(channel, bytes);
            return serving_take_claim(thread, channel->handle);
        }
        return false;
    case 7:
        serving_change_limits(bytes);
        return false;
    case 8:
        connections = bytes[1] % 4u;
        run_thread();
        return false;
    default:
        server_lock();
        change_locked(bytes);
        server_unlock();
        return false;
    }
    return channel != NULL && serving_take_event(thread, channel->handle);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    serving_begin();
    server.doors = &serving_door;
    server.epoll = kernel_descriptor();
    serving_door.status_fd = kernel_descriptor();
    trunk_client = -1;
    server_lock();
    make_trunk_locked();
    server_unlock();
    serving_run(data, size, step);
    kernel_mood = 0;
    connections = 0;
    while (thread_count > 0) {
        run_thread();
    }
    server_lock();
    while (serving_door.channels != NULL) {
        struct channel *channel = serving_door.channels;
        channel_close_locked(channel);
        check(channel != serving_door.channels);
    }
    while (serving_door.trunks != NULL) {
        trunk_close_locked(serving_door.trunks);
    }
    channel_reserve_locked(false);
    check(account_of_locked(1000) == NULL && server.channels == 0 && serving_door.names == NULL);
    server_unlock();
    close_client();
    kernel_close(server.epoll);
    kernel_close(serving_door.status_fd);
    server.doors = NULL;
    server.epoll = -1;
    serving_end();
    return 0;
}
