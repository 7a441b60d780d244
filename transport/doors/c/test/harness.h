/*
 * A small test harness: every case runs in a process of its own under a watchdog, so that a hang, a crash or a
 * leaked thread is that case's failure alone. Cases are named after the conformance cases they check.
 */
#ifndef DOORS_TEST_HARNESS_H
#define DOORS_TEST_HARNESS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <door.h>

struct test {
    const char *name;
    void (*run)(void);
};

#define TEST(name) {#name, name}

int run_tests(const char *file, const struct test *tests, size_t count, int argc, char **argv);
_Noreturn void fail_at(const char *file, int line, const char *format, ...);

#define TEST_MAIN(tests)                                                                                     \
    int main(int argc, char **argv) {                                                                        \
        return run_tests(__FILE__, tests, sizeof(tests) / sizeof *(tests), argc, argv);                      \
    }

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fail_at(__FILE__, __LINE__, "not true: %s (errno %s)", #condition, strerrorname(errno));         \
        }                                                                                                    \
    } while (0)

#define CHECK_EQUAL(left, right)                                                                             \
    do {                                                                                                     \
        long long l_ = (long long)(left), r_ = (long long)(right);                                           \
        if (l_ != r_) {                                                                                      \
            fail_at(__FILE__, __LINE__, "%s is %lld, %s is %lld (errno %s)", #left, l_, #right, r_,          \
                    strerrorname(errno));                                                                    \
        }                                                                                                    \
    } while (0)

/* The expression fails with -1 and this errno. */
#define CHECK_ERROR(expression, expected)                                                                    \
    do {                                                                                                     \
        errno = 0;                                                                                           \
        long long r_ = (long long)(expression);                                                              \
        if (r_ != -1 || errno != (expected)) {                                                               \
            fail_at(__FILE__, __LINE__, "%s gave %lld and %s, expected -1 and %s", #expression, r_,          \
                    strerrorname(errno), strerrorname(expected));                                            \
        }                                                                                                    \
    } while (0)

const char *strerrorname(int error);

/* A child process that runs `body(argument)` with one end of a socket pair; the other end is child.socket. */
struct child {
    pid_t pid;
    int socket;
};
struct child start_child(void (*body)(int socket, void *argument), void *argument);
/* The same as process 1 of a pid namespace of its own; false where that is not allowed. */
bool start_child_in_pid_namespace(void (*body)(int socket, void *argument), void *argument, struct child *child);
void finish_child(struct child child); /* waits; a child that failed fails the case */
void kill_child(struct child child);   /* SIGKILL and reap */

void send_fd(int socket, int fd);
int receive_fd(int socket);
void send_byte(int fd, char byte);
char receive_byte(int fd);
bool byte_within(int fd, int milliseconds); /* whether something can be read */

/* A socket whose closing takes until the other end has read what was sent, or is gone: a minute at most. */
struct lingering {
    int near, far;
};
struct lingering make_lingering(void);

int descriptors_of_now(void); /* how many, also while an attack keeps those threads waiting for a minute */
int open_descriptors(void); /* how many, when threads have closed what others have sent */
int mappings(void);
int threads(void);
/* Waits until the condition holds; for effects that the control thread brings about. */
bool eventually(bool (*condition)(void *), void *argument);
int call(int door, const void *data, size_t size, void *result, size_t capacity, size_t *result_size);
/*
 * A call orders what its caller did before it, the procedure, and what its caller does afterwards. ThreadSanitizer cannot see that: the word
 * that says so lies at two addresses, and it makes a new file of a socket that was passed. So where both sides of a case use one variable,
 * or one number of a descriptor after the other, they say it here once more; call() does.
 */
void in_order(void);
bool cancellation_is_known(void); /* AddressSanitizer does not know that a cancelled thread's frames are gone */
bool mappings_are_ours(void);            /* ThreadSanitizer maps memory as it goes */
bool system_is_real(void);               /* not under a tool that emulates RLIMIT_NOFILE, and hides the first stack */
bool vfork_borrows_memory(void);         /* tools replace vfork by fork, ThreadSanitizer among them */
char *temporary_path(const char *name); /* in a directory that the harness removes */

#endif
