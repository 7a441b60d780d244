/* See kernel.h. Each `__wrap_` function is in the place of the one that is named after it. */
#include "kernel.h"

#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>

enum { QUEUED = 8, SESSIONS = 12, MOST_FILES = DESCRIPTORS_A_DATAGRAM };

struct queued {
    char bytes[sizeof(struct message) + 8];
    size_t length;
    unsigned files, extra;
    bool is_cut;
};

uint8_t kernel_mood;
static struct queued queue[QUEUED];
static unsigned queue_first, queue_count;
static uint8_t is_open[NUMBERS];
static _Alignas(4096) char sessions[SESSIONS][SESSION_SIZE]; /* the first is kernel_session() */
static bool is_session[SESSIONS];
static unsigned next_number, open_count;
static uint64_t now; /* nanoseconds */

#ifdef __clang__
#define UNCOVERED
#else
#define UNCOVERED __attribute__((no_sanitize_coverage))
#endif

/* What is freed need not be kept for long: an input is short. AddressSanitizer asks before driver.c can be told of it. */
const char *__asan_default_options(void);
UNCOVERED const char *__asan_default_options(void) {
    return "quarantine_size_mb=1";
}

void kernel_begin(void) {
    queue_count = next_number = open_count = 0;
    kernel_mood = 0;
}

int kernel_descriptor(void) {
    if (next_number == NUMBERS) {
        return -1;
    }
    is_open[next_number] = 1;
    open_count++;
    return FIRST_NUMBER + (int)next_number++;
}

static bool is_ours(int fd) {
    return fd >= FIRST_NUMBER && fd < FIRST_NUMBER + NUMBERS;
}

bool kernel_is_open(int fd) {
    return is_ours(fd) && fd - FIRST_NUMBER < (int)next_number && is_open[fd - FIRST_NUMBER];
}

void kernel_close(int fd) {
    if (!kernel_is_open(fd)) {
        abort(); /* closed twice, or never given */
    }
    is_open[fd - FIRST_NUMBER] = 0;
    open_count--;
}

unsigned kernel_open_count(void) {
    return open_count;
}

struct session *kernel_session(void) {
    is_session[0] = true;
    memset(sessions[0], 0, SESSION_REQUEST);
    return (struct session *)sessions[0];
}

void kernel_queue(const void *bytes, size_t length, unsigned files, unsigned extra, bool is_cut) {
    if (queue_count == QUEUED) {
        return;
    }
    struct queued *one = &queue[(queue_first + queue_count++) % QUEUED];
    one->length = length < sizeof one->bytes ? length : sizeof one->bytes;
    memcpy(one->bytes, bytes, one->length);
    one->files = files < MOST_FILES ? files : MOST_FILES;
    one->extra = extra;
    one->is_cut = is_cut;
}

bool kernel_has_queued(void) {
    return queue_count > 0;
}

/* As put_cmsg(): what does not fit is cut, and said to be. */
static void put(struct msghdr *header, char *control, size_t room, int type, const void *data, size_t size) {
    size_t at = header->msg_controllen;
    if (at + sizeof(struct cmsghdr) > room) {
        header->msg_flags |= MSG_CTRUNC;
        return;
    }
    size_t length = CMSG_LEN(size);
    if (at + length > room) {
        header->msg_flags |= MSG_CTRUNC;
        length = room - at;
    }
    struct cmsghdr item = {.cmsg_len = length, .cmsg_level = SOL_SOCKET, .cmsg_type = type};
    memcpy(control + at, &item, sizeof item);
    memcpy(control + at + CMSG_LEN(0), data, length - CMSG_LEN(0));
    header->msg_controllen = at + CMSG_SPACE(size) < room ? at + CMSG_SPACE(size) : room;
}

static void put_others(struct msghdr *header, char *control, size_t room, unsigned extra) {
    struct ucred credentials = {.pid = 1000, .uid = 1000, .gid = 1000};
    int64_t stamp[2] = {1, 2};
    if (extra & EXTRA_CREDENTIALS) {
        put(header, control, room, SCM_CREDENTIALS, &credentials, extra & EXTRA_SHORT ? sizeof(int) : sizeof credentials);
    }
    if (extra & EXTRA_TIMESTAMP) {
        put(header, control, room, SO_TIMESTAMP, stamp, sizeof stamp);
    }
    if (extra & (EXTRA_PIDFD | EXTRA_NO_PIDFD)) {
        int fd = extra & EXTRA_NO_PIDFD ? -ESRCH : kernel_descriptor();
        put(header, control, room, 4 /* SCM_PIDFD */, &fd, sizeof fd);
    }
}

ssize_t __wrap_recvmsg(int fd, struct msghdr *header, int flags) {
    (void)fd;
    if (queue_count == 0) {
        errno = EAGAIN;
        return -1;
    }
    struct queued *one = &queue[queue_first];
    char *control = header->msg_control;
    size_t room = header->msg_controllen;
    header->msg_controllen = 0;
    header->msg_flags = 0;
    if (one->extra & EXTRA_BEFORE) {
        put_others(header, control, room, one->extra);
    }
    if (one->files > 0 && !one->is_cut) {
        int numbers[MOST_FILES];
        unsigned count = 0;
        while (count < one->files && (numbers[count] = kernel_descriptor()) >= 0) {
            count++;
        }
        put(header, control, room, SCM_RIGHTS, numbers, count * sizeof(int));
    } else if (one->files > 0) {
        header->msg_flags |= MSG_CTRUNC;
    }
    if (!(one->extra & EXTRA_BEFORE)) {
        put_others(header, control, room, one->extra);
    }
    size_t length = one->length < header->msg_iov->iov_len ? one->length : header->msg_iov->iov_len;
    memcpy(header->msg_iov->iov_base, one->bytes, length);
    header->msg_flags |= length < one->length ? MSG_TRUNC : 0;
    if (!(flags & MSG_PEEK)) {
        queue_first = (queue_first + 1) % QUEUED;
        queue_count--;
    }
    return (ssize_t)length;
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *header, int flags) {
    (void)flags;
    if (is_ours(fd) && !kernel_is_open(fd)) {
        abort();
    }
    errno = EAGAIN;
    return kernel_mood & 1 ? -1 : (ssize_t)header->msg_iov->iov_len;
}

int __real_close(int fd);
int __wrap_close(int fd) {
    if (!is_ours(fd)) {
        return __real_close(fd);
    }
    kernel_close(fd);
    return 0;
}

void __wrap_closing_close(int fd, const struct closing_payer *payer) {
    (void)payer;
    kernel_close(fd);
}

void __wrap_socket_drop(int fd, const struct closing_payer *payer) {
    __wrap_closing_close(fd, payer);
}

void __wrap_socket_let_go(int fd, const struct closing_payer *payer) {
    __wrap_closing_close(fd, payer);
}

int __wrap_closing_is_behind(const struct closing_payer *payer) {
    (void)payer;
    return 0;
}

int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...) {
    va_list arguments;
    va_start(arguments, command);
    long argument = va_arg(arguments, long);
    va_end(arguments);
    if (!is_ours(fd)) {
        return __real_fcntl(fd, command, argument);
    }
    if (!kernel_is_open(fd)) {
        abort();
    }
    errno = EMFILE;
    if (command == F_GETFL) {
        return O_PATH;
    }
    return command != F_DUPFD_CLOEXEC ? 0 : kernel_mood & 8 ? -1 : kernel_descriptor();
}

int __wrap_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event) {
    (void)epoll, (void)operation, (void)fd, (void)event;
    return 0;
}

int __real_poll(struct pollfd *entries, nfds_t count, int milliseconds);
int __wrap_poll(struct pollfd *entries, nfds_t count, int milliseconds) {
    if (count != 1 || !is_ours(entries->fd)) {
        return __real_poll(entries, count, milliseconds);
    }
    now += queue_count > 0 || milliseconds < 0 ? 0 : (uint64_t)milliseconds * 1000000;
    return queue_count > 0;
}

bool __wrap_socket_is_ours(int fd) {
    (void)fd;
    return !(kernel_mood & 4);
}

bool __wrap_socket_peer(int fd, struct ucred *peer) {
    (void)fd;
    *peer = (struct ucred){.pid = kernel_mood & 32 ? 1001 : 1000, .uid = 1000, .gid = 1000};
    return true;
}

bool __wrap_socket_hung_up(int fd) {
    (void)fd;
    return false;
}

/* One that is used again, since AddressSanitizer has the real kernel map so much. */
static void *session(void) {
    unsigned i = 0;
    while (i < SESSIONS && is_session[i]) {
        i++;
    }
    if (i == SESSIONS) {
        return NULL;
    }
    is_session[i] = true;
    return memset(sessions[i], 0, SESSION_REQUEST);
}

/* Memory of exactly that length, so that what is read beyond it is found. */
static int memory(size_t size, void **base) {
    bool has_room = size > 0 && !(kernel_mood & 2);
    *base = has_room && size == SESSION_SIZE ? session() : has_room && size <= LARGEST_MEMORY ? calloc(1, size) : NULL;
    return *base != NULL ? 0 : EPROTO;
}

int __wrap_memory_adopt(int fd, size_t size, int protection, void **base) {
    (void)protection;
    return kernel_is_open(fd) ? memory(size, base) : EPROTO;
}

int __wrap_memory_thaw(int fd, size_t size, void **base) {
    return __wrap_memory_adopt(fd, size, 0, base);
}

void *__wrap_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset) {
    void *base;
    (void)address, (void)protection, (void)flags, (void)fd, (void)offset;
    errno = ENOMEM;
    return memory(size, &base) == 0 ? base : MAP_FAILED;
}

int __wrap_munmap(void *address, size_t size) {
    if (size == SESSION_SIZE) {
        is_session[((char *)address - sessions[0]) / SESSION_SIZE] = false;
    } else {
        free(address);
    }
    return 0;
}

bool __wrap_memory_readable(const void *address, size_t size) {
    (void)address, (void)size;
    return true;
}

bool __wrap_memory_writable(void *address, size_t size) {
    (void)address, (void)size;
    return true;
}

bool __wrap_flow_await(struct flow *flow, size_t done, size_t size, uint32_t processor, unsigned microseconds) {
    (void)processor, (void)microseconds;
    if (!(kernel_mood & 16)) {
        atomic_fetch_add(&flow->filled, 1);
    }
    return flow_there(flow, size) > done;
}

void __wrap_word_wake(_Atomic uint32_t *word) {
    (void)word;
}

uid_t __wrap_user_known(uid_t user) {
    return user;
}

gid_t __wrap_group_known(gid_t group) {
    return group;
}

/* What the receiver sees of descriptors that are no doors; a door is known by system calls alone. */
void __wrap_descriptors_describe(const int *fds, unsigned count, door_desc_t *descriptors) {
    for (unsigned i = 0; i < count; i++) {
        door_desc_t entry;
        memset(&entry, 0, sizeof entry);
        entry.d_attributes = DOOR_DESCRIPTOR;
        entry.d_data.d_desc.d_descriptor = fds[i];
        memcpy(descriptors + i, &entry, sizeof entry);
    }
}

/* Time goes on with each look at the clock, by as much as a wait may take for which the clock is asked. */
uint64_t __wrap_word_clock(void) {
    return now += 100000;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *time) {
    (void)clock;
    *time = (struct timespec){.tv_sec = (time_t)(now / 1000000000), .tv_nsec = (long)(now % 1000000000)};
    return 0;
}
