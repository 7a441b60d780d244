#include "harness.h"

#include "../closing.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <dirent.h>
#include <dlfcn.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/syscall.h>

enum { WATCHDOG = 600, PATIENCE = 100000 }; /* seconds; milliseconds, because a busy machine's threads may not run for long */

static char directory[64];

const char *strerrorname(int error) {
    const char *name = strerrorname_np(error);
    return name ? name : "none";
}

_Noreturn void fail_at(const char *file, int line, const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int at = snprintf(text, sizeof text, "    %s:%d: ", file, line);
    at += vsnprintf(text + at, sizeof text - (size_t)at, format, arguments);
    va_end(arguments);
    dprintf(STDERR_FILENO, "%.*s\n", at, text);
    _exit(1);
}

static int run_one(const struct test *test) {
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        alarm(WATCHDOG);
        test->run();
        exit(0); /* not _exit: leak checkers look now */
    }
    int status;
    waitpid(pid, &status, 0);
    kill(-pid, SIGKILL); /* what the case left running */
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        printf("ok    %s\n", test->name);
        return 0;
    }
    printf("FAIL  %s (%s %d)\n", test->name, WIFEXITED(status) ? "exit" : "signal",
           WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
    return 1;
}

int run_tests(const char *file, const struct test *tests, size_t count, int argc, char **argv) {
    int failures = 0, run = 0;
    char command[128];
    signal(SIGPIPE, SIG_IGN);
    strcpy(directory, "/tmp/door-test-XXXXXX");
    if (mkdtemp(directory) == NULL) {
        perror("mkdtemp");
        return 1;
    }
    chmod(directory, 01777);
    for (size_t i = 0; i < count; i++) {
        if (argc < 2 || strstr(tests[i].name, argv[1]) != NULL) {
            failures += run_one(&tests[i]);
            run++;
        }
    }
    snprintf(command, sizeof command, "rm -rf %s", directory);
    if (system(command) != 0) {
        failures++;
    }
    printf("%s: %d run, %d failed\n", file, run, failures);
    return failures != 0;
}

/*
 * A child that is forked while another thread is inside AddressSanitizer's allocator finds it locked for ever, and a
 * server thread that has just been made allocates. Nothing else depends on this pause.
 */
static void let_threads_settle(void) {
#ifdef __SANITIZE_ADDRESS__
    poll(NULL, 0, 50);
#endif
}

struct child start_child(void (*body)(int socket, void *argument), void *argument) {
    int pair[2];
    CHECK_EQUAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    fflush(NULL);
    let_threads_settle();
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        alarm(WATCHDOG);
        close(pair[0]);
        body(pair[1], argument);
        _exit(0);
    }
    close(pair[1]);
    return (struct child){pid, pair[0]};
}

bool start_child_in_pid_namespace(void (*body)(int socket, void *argument), void *argument, struct child *child) {
    int own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
    if (own < 0 || unshare(CLONE_NEWPID) < 0) { /* for the children that follow ... */
        close(own);
        return false;
    }
    *child = start_child(body, argument);
    CHECK_EQUAL(setns(own, CLONE_NEWPID), 0); /* ... and no longer */
    close(own);
    return true;
}

void finish_child(struct child child) {
    int status;
    CHECK_EQUAL(waitpid(child.pid, &status, 0), child.pid);
    close(child.socket);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fail_at(__FILE__, __LINE__, "a child ended with status 0x%x", status);
    }
}

void kill_child(struct child child) {
    int status;
    kill(child.pid, SIGKILL);
    CHECK_EQUAL(waitpid(child.pid, &status, 0), child.pid);
    close(child.socket);
}

void send_fd(int socket, int fd) {
    char byte = 'f';
    struct iovec vector = {&byte, 1};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr header;
    } control;
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    memset(&control, 0, sizeof control);
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(rights), &fd, sizeof fd);
    CHECK_EQUAL(sendmsg(socket, &message, 0), 1);
}

int receive_fd(int socket) {
    char byte;
    int fd = -1;
    struct iovec vector = {&byte, 1};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr header;
    } control;
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    CHECK_EQUAL(recvmsg(socket, &message, 0), 1);
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    CHECK(rights != NULL);
    memcpy(&fd, CMSG_DATA(rights), sizeof fd);
    return fd;
}

void send_byte(int fd, char byte) {
    CHECK_EQUAL(write(fd, &byte, 1), 1);
}

char receive_byte(int fd) {
    char byte;
    ssize_t length;
    do {
        length = read(fd, &byte, 1);
    } while (length < 0 && errno == EINTR);
    CHECK_EQUAL(length, 1);
    return byte;
}

bool byte_within(int fd, int milliseconds) {
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    return poll(&entry, 1, milliseconds) == 1;
}

static int entries(const char *path) {
    int count = 0;
    DIR *listing = opendir(path);
    CHECK(listing != NULL);
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;) {
        count += entry->d_name[0] != '.';
    }
    closedir(listing);
    return count;
}

struct lingering make_lingering(void) {
    static char bytes[65536];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    struct linger linger = {1, 60};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), size = 4096;
    CHECK_EQUAL(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    CHECK_EQUAL(listen(listener, 1), 0);
    CHECK_EQUAL(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    CHECK_EQUAL(setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &size, sizeof size), 0);
    int near = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_EQUAL(setsockopt(near, SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
    CHECK_EQUAL(connect(near, (struct sockaddr *)&address, sizeof address), 0);
    int far = accept(listener, NULL, NULL);
    CHECK(far >= 0);
    close(listener);
    CHECK_EQUAL(setsockopt(near, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), 0);
    while (send(near, bytes, sizeof bytes, MSG_DONTWAIT) >= 0) {
    }
    return (struct lingering){near, far};
}

int descriptors_of_now(void) {
    int count = 0;
    for (int fd = 0; fd < 20000; fd++) { /* without opening anything: the table may be full */
        count += fcntl(fd, F_GETFD) >= 0;
    }
    return count;
}

/* As many as stay: threads of the library close some a moment after a call. */
int open_descriptors(void) {
    int before = -1;
    for (int i = 0;; i++) {
        bool is_quiet = closing_unclosed() == 0; /* asked before the count, which would hold what is closed after it */
        int count = descriptors_of_now();
        if ((is_quiet && count == before) || i == PATIENCE) {
            return count;
        }
        before = count;
        poll(NULL, 0, 1);
    }
}

static void *ends_at_once(void *unused) {
    return unused;
}

int threads(void) {
    pthread_t thread;
    if (!mappings_are_ours() && pthread_create(&thread, NULL, ends_at_once, NULL) == 0) {
        pthread_join(thread, NULL); /* with the first one ThreadSanitizer starts one of its own, which stays */
    }
    return entries("/proc/self/task");
}

int mappings(void) {
    int count = 0, c;
    FILE *file = fopen("/proc/self/maps", "re");
    CHECK(file != NULL);
    while ((c = getc(file)) != EOF) {
        count += c == '\n';
    }
    fclose(file);
    return count;
}

bool eventually(bool (*condition)(void *), void *argument) {
    for (int i = 0; i < PATIENCE / 5; i++) {
        if (condition(argument)) {
            return true;
        }
        poll(NULL, 0, 5);
    }
    return false;
}

void in_order(void) {
    static atomic_uint order;
    atomic_fetch_add(&order, 1);
}

int call(int door, const void *data, size_t size, void *result, size_t capacity, size_t *result_size) {
    door_arg_t arguments = {.data_ptr = (char *)data, .data_size = size, .rbuf = result, .rsize = capacity};
    in_order();
    int outcome = door_call(door, &arguments);
    in_order();
    if (outcome == 0 && result_size != NULL) {
        *result_size = arguments.data_size;
    }
    return outcome;
}

char *temporary_path(const char *name) {
    static char paths[8][128];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%d-%s", directory, (int)getpid(), name);
    return path;
}

bool system_is_real(void) {
    return getenv("DOOR_TEST_EMULATED_SYSTEM") == NULL;
}

bool vfork_borrows_memory(void) {
#ifdef __SANITIZE_THREAD__
    return false;
#else
    return system_is_real();
#endif
}

bool mappings_are_ours(void) {
#ifdef __SANITIZE_THREAD__
    return false;
#else
    return true;
#endif
}

#ifdef __SANITIZE_THREAD__
typedef int wait_function(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *);
static wait_function *their_ppoll;
static atomic_bool cancels;

__attribute__((constructor)) static void find_ppoll(void) {
    *(void **)&their_ppoll = dlsym(RTLD_NEXT, "ppoll");
}

/* A thread's first call of a door allocates, which one in a handler that interrupts malloc(3) must not. These interrupt a call. */
const char *__tsan_default_suppressions(void) {
    return "signal:^calling_handler$\n";
}

/*
 * A thread that is cancelled in ThreadSanitizer's ppoll never comes out of its BlockingCall (tsan_interceptors_posix.cpp), which has
 * told it to pass over what the thread does there: no lock that the thread takes from then on, and no descriptor that it closes, is
 * seen. One that is cancelled here is seen to its end. Signals are left to theirs, which delivers them at once.
 */
int ppoll(struct pollfd *entries, nfds_t count, const struct timespec *time, const sigset_t *signals) {
    if (!cancels) {
        return their_ppoll(entries, count, time, signals);
    }
    struct timespec left = time ? *time : (struct timespec){0}; /* the kernel writes there */
    int type;
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &type);
    long result = syscall(SYS_ppoll, entries, count, time ? &left : NULL, signals, _NSIG / 8);
    int failure = errno;
    pthread_setcanceltype(type, NULL);
    errno = failure;
    return (int)result;
}
#endif

bool cancellation_is_known(void) {
#ifdef __SANITIZE_THREAD__
    cancels = true;
#endif
#ifdef __SANITIZE_ADDRESS__
    return false;
#else
    return true;
#endif
}
