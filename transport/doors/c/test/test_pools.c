/* Pools, door_xcreate and creation: groups P, X, C, K of the conformance cases. */
#include "blocking.h"

#include <sys/resource.h>
#include <sys/time.h>

/* Pools. */
static int creations, depletions;
static uint_t seen_attributes;

static void *unbound_thread(void *unused) {
    return server_thread(unused);
}

static void counting_create(door_info_t *info) {
    pthread_t thread;
    creations++;
    if (info != NULL) {
        seen_attributes = info->di_attributes;
        depletions += (info->di_attributes & DOOR_DEPLETION_CB) != 0;
    }
    CHECK_EQUAL(pthread_create(&thread, NULL, unbound_thread, NULL), 0);
}

static void door_C9_C11_P10(void) {
    make_pipes();
    door_server_func_t *before = door_server_create(counting_create);
    CHECK(before != NULL);
    CHECK(door_server_create(counting_create) == counting_create);
    int door = door_create(blocking_procedure, NULL, 0), other = door_create(blocking_procedure, NULL, 0);
    CHECK_EQUAL(creations, 1);
    struct caller first = {0}, second = {0};
    start_caller(&first, door);
    receive_byte(entered[0]);
    CHECK_EQUAL(creations, 2);
    start_caller(&second, other);
    receive_byte(entered[0]);
    CHECK_EQUAL(creations, 3);
    send_byte(leave[1], 'l');
    send_byte(leave[1], 'l');
    CHECK_EQUAL(caller_error(&first), 0);
    CHECK_EQUAL(caller_error(&second), 0);
}

static int bound_door = -1;
static void *bound_thread(void *unused) {
    CHECK_EQUAL(door_bind(bound_door), 0);
    return server_thread(unused);
}

static void query_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)data, (void)descriptors, (void)count;
    door_info_t info;
    memset(&info, 0, sizeof info);
    int result = door_info(DOOR_QUERY, &info) < 0 ? -errno : 0;
    if (size == 1) {
        result = door_unbind() < 0 ? -errno : 0;
    }
    struct {
        int result;
        door_id_t id;
        pthread_t thread;
    } reply = {result, info.di_uniquifier, pthread_self()};
    door_return((char *)&reply, sizeof reply, NULL, 0);
}

/* A handled SIGALRM now and then, or no more: one alone might come before what it is to interrupt. */
static void repeat_alarms(bool on) {
    struct timeval pause = {.tv_usec = on ? 50000 : 0};
    struct itimerval timer = {.it_value = pause, .it_interval = pause};
    handle(SIGALRM, 0);
    CHECK_EQUAL(setitimer(ITIMER_REAL, &timer, NULL), 0);
}

static void door_P3_P4_P8(void) {
    pthread_t thread;
    int door = door_create(query_procedure, NULL, DOOR_PRIVATE); /* the default thread parks in the public pool */
    int public = door_create(query_procedure, NULL, 0);
    struct caller caller = {0};
    struct {
        int result;
        door_id_t id;
        pthread_t thread;
    } reply;
    start_caller(&caller, door);
    CHECK(!byte_within(caller.done[0], 50));
    bound_door = door;
    CHECK_EQUAL(pthread_create(&thread, NULL, bound_thread, NULL), 0);
    CHECK_EQUAL(caller_error(&caller), 0);
    door_info_t info;
    CHECK_EQUAL(door_info(door, &info), 0);
    CHECK_EQUAL(call(door, NULL, 0, &reply, sizeof reply, NULL), 0);
    CHECK_EQUAL(reply.result, 0);
    CHECK_EQUAL(reply.id, info.di_uniquifier);
    CHECK(pthread_equal(reply.thread, thread));
    CHECK_EQUAL(call(public, NULL, 0, &reply, sizeof reply, NULL), 0);
    CHECK_EQUAL(reply.result, -EBADF);
    CHECK(!pthread_equal(reply.thread, thread));
    CHECK_EQUAL(call(door, "u", 1, &reply, sizeof reply, NULL), 0); /* unbinds within the procedure */
    CHECK_EQUAL(reply.result, 0);
    repeat_alarms(true);
    CHECK_ERROR(door_call(door, NULL), EAGAIN); /* by the channel that the thread has just served */
    repeat_alarms(false);
    start_caller(&caller, door);
    CHECK(!byte_within(caller.done[0], 50));
    CHECK_EQUAL(interrupted_error(&caller, SIGALRM), EAGAIN);
    CHECK_ERROR(door_bind(public), EINVAL);
    CHECK_ERROR(door_bind(-1), EBADF);
    CHECK_ERROR(door_unbind(), EBADF);
}

/* A thread that parks before the process has any door. */
static void door_R7_before_any_door(void) {
    pthread_t thread;
    door_server_create(no_threads);
    CHECK_EQUAL(pthread_create(&thread, NULL, server_thread, NULL), 0);
    settle();
    int door = door_create(query_procedure, NULL, 0);
    struct {
        int result;
        door_id_t id;
        pthread_t thread;
    } reply;
    CHECK_EQUAL(call(door, NULL, 0, &reply, sizeof reply, NULL), 0);
    CHECK(pthread_equal(reply.thread, thread));
}

static void *counting_bound_thread(void *unused) {
    return bound_thread(unused);
}

static void private_create(door_info_t *info) {
    pthread_t thread;
    creations++;
    if (info != NULL && (info->di_attributes & DOOR_DEPLETION_CB)) {
        depletions++;
        seen_attributes = info->di_attributes;
        CHECK_EQUAL(pthread_create(&thread, NULL, counting_bound_thread, NULL), 0);
    }
}

static void door_P11(void) {
    pthread_t thread;
    make_pipes();
    door_server_create(private_create);
    bound_door = door_create(blocking_procedure, NULL, DOOR_PRIVATE);
    CHECK_EQUAL(creations, 1);
    CHECK_EQUAL(pthread_create(&thread, NULL, bound_thread, NULL), 0);
    struct caller caller = {0};
    start_caller(&caller, bound_door);
    receive_byte(entered[0]);
    CHECK_EQUAL(depletions, 1);
    CHECK(seen_attributes & DOOR_PRIVATE);
    send_byte(leave[1], 'l');
    CHECK_EQUAL(caller_error(&caller), 0);
}

static void exiting_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)descriptors, (void)count;
    pthread_exit(NULL);
}

static void door_P9(void) {
    pthread_t thread;
    door_server_create(no_threads);
    bound_door = door_create(exiting_procedure, NULL, DOOR_PRIVATE);
    CHECK_EQUAL(pthread_create(&thread, NULL, bound_thread, NULL), 0);
    struct caller caller = {0};
    start_caller(&caller, bound_door);
    CHECK_EQUAL(caller_error(&caller), EINTR);
    handle(SIGUSR1, 0);
    start_caller(&caller, bound_door);
    CHECK(!byte_within(caller.done[0], 50));
    CHECK_EQUAL(interrupted_error(&caller, SIGUSR1), EAGAIN);
}

/* door_xcreate. */
static int verdict = 1;
static atomic_int made;

static int x_create(door_info_t *info, void *(*start)(void *), void *argument, void *cookie) {
    (void)cookie;
    pthread_t thread;
    if (info->di_attributes & DOOR_DEPLETION_CB) {
        depletions++;
    }
    if (verdict == 1) {
        CHECK_EQUAL(pthread_create(&thread, NULL, start, argument), 0);
        pthread_detach(thread);
        made++;
    }
    return verdict;
}

static void door_X2_to_X7(void) {
    CHECK_ERROR(door_xcreate(blocking_procedure, NULL, 0, x_create, NULL, NULL, 0), EINVAL);
    CHECK_ERROR(door_xcreate(blocking_procedure, NULL, 0, x_create, NULL, NULL, -1), EINVAL);
    CHECK_ERROR(door_xcreate(blocking_procedure, NULL, 0, NULL, NULL, NULL, 1), EINVAL);
    CHECK_ERROR(door_xcreate(blocking_procedure, NULL, DOOR_PRIVCREATE, x_create, NULL, NULL, 1), EINVAL);
    verdict = 0;
    CHECK_ERROR(door_xcreate(blocking_procedure, NULL, 0, x_create, NULL, NULL, 1), EINVAL);
    verdict = -1;
    CHECK_ERROR(door_xcreate(blocking_procedure, NULL, 0, x_create, NULL, NULL, 1), EPIPE);
    verdict = 1;
    int door = door_xcreate(blocking_procedure, NULL, DOOR_NO_DEPLETION_CB, x_create, NULL, NULL, 3);
    CHECK(door >= 0);
    CHECK_EQUAL(made, 3);
    door_info_t info;
    CHECK_EQUAL(door_info(door, &info), 0);
    CHECK_EQUAL(info.di_attributes & (DOOR_PRIVATE | DOOR_PRIVCREATE | DOOR_NO_DEPLETION_CB),
                DOOR_PRIVATE | DOOR_PRIVCREATE | DOOR_NO_DEPLETION_CB);
}

static pthread_t unreported;

static int x_misreport(door_info_t *info, void *(*start)(void *), void *argument, void *cookie) {
    (void)info, (void)cookie;
    CHECK_EQUAL(pthread_create(&unreported, NULL, start, argument), 0);
    return 0;
}

/* The function made a thread and says that it did not: the thread finds out that nobody expects it. */
static void door_X4_misreported(void) {
    for (int i = 0; i < 20; i++) {
        CHECK_ERROR(door_xcreate(blocking_procedure, NULL, 0, x_misreport, NULL, NULL, 2), EINVAL);
        CHECK_EQUAL(pthread_join(unreported, NULL), 0);
    }
}

static void exiting_set_up(void *cookie) {
    (void)cookie;
    pthread_exit(NULL);
}

static void door_X_set_up_that_exits(void) {
    verdict = 1;
    CHECK_ERROR(door_xcreate(blocking_procedure, NULL, 0, x_create, exiting_set_up, NULL, 2), EBADF);
    CHECK_EQUAL(made, 2);
}

static void run_x(uint_t attributes, int expected_depletions, bool third_waits) {
    make_pipes();
    int door = door_xcreate(blocking_procedure, NULL, attributes, x_create, NULL, NULL, 2);
    struct caller callers[3] = {{0}, {0}, {0}};
    CHECK(door >= 0);
    start_caller(&callers[0], door);
    receive_byte(entered[0]);
    CHECK_EQUAL(depletions, 0);
    start_caller(&callers[1], door);
    receive_byte(entered[0]);
    CHECK_EQUAL(depletions, expected_depletions);
    start_caller(&callers[2], door);
    CHECK_EQUAL(byte_within(entered[0], third_waits ? 100 : 60000), !third_waits);
    for (int i = 0; i < 3; i++) {
        send_byte(leave[1], 'l');
    }
    for (int i = 0; i < 3; i++) {
        CHECK_EQUAL(caller_error(&callers[i]), 0);
    }
}

static void door_X8(void) {
    run_x(0, 1, false);
}

static void door_X9(void) {
    run_x(DOOR_NO_DEPLETION_CB, 0, true);
}

static void door_X10(void) {
    make_pipes();
    int door = door_xcreate(blocking_procedure, NULL, 0, x_create, NULL, NULL, 1);
    for (verdict = -1; verdict <= 0; verdict++) {
        struct caller caller = {0};
        start_caller(&caller, door);
        receive_byte(entered[0]);
        send_byte(leave[1], 'l');
        CHECK_EQUAL(caller_error(&caller), 0);
    }
    CHECK_EQUAL(depletions, 2);
}

/* Creation. */
static void door_C3_C4(void) {
    CHECK_ERROR(door_create(blocking_procedure, NULL, DOOR_UNREF | DOOR_UNREF_MULTI), EINVAL);
    CHECK_ERROR(door_create(blocking_procedure, NULL, DOOR_NO_DEPLETION_CB), EINVAL);
    CHECK_ERROR(door_create(blocking_procedure, NULL, DOOR_PRIVCREATE), EINVAL);
    CHECK_ERROR(door_create(blocking_procedure, NULL, DOOR_LOCAL), EINVAL);
    CHECK_ERROR(door_create(blocking_procedure, NULL, 0x10000), EINVAL);
}

/* A child of vfork runs in our memory: what it made would be ours, with sockets of its own. */
static void door_C12(void) {
    volatile int error = 0, later = 0;
    if (!vfork_borrows_memory()) {
        return;
    }
    int before = door_create(blocking_procedure, NULL, 0);
    pid_t child = vfork();
    CHECK(child >= 0);
    if (child == 0) {
        error = door_create(blocking_procedure, NULL, 0) < 0 ? errno : 0;
        later = door_create(blocking_procedure, NULL, DOOR_PRIVCREATE) < 0 ? errno : 0;
        _exit(0);
    }
    CHECK_EQUAL(waitpid(child, NULL, 0), child);
    CHECK_EQUAL(error, ENOTSUP);
    CHECK_EQUAL(later, EINVAL);
    CHECK(before >= 0 && door_create(blocking_procedure, NULL, 0) >= 0);
}

static void door_C5_C7(void) {
    int door = door_create(blocking_procedure, NULL, 0);
    door_server_create(no_threads);
    close(door);
    door = door_create(blocking_procedure, NULL, 0);
    CHECK(fcntl(door, F_GETFD) & FD_CLOEXEC);
    int fds = open_descriptors(), count = threads(), maps = mappings();
    for (int i = 0; i < 1000; i++) {
        int another = door_create(blocking_procedure, NULL, i % 2 ? DOOR_UNREF : DOOR_PRIVATE);
        CHECK(another >= 0);
        close(another);
    }
    CHECK(open_descriptors() <= fds + 8);
    CHECK_EQUAL(threads(), count);
    CHECK(mappings() <= maps + 8);
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    rlim_t before = limit.rlim_cur;
    for (int free_slots = 0; free_slots < 3 && system_is_real(); free_slots++) {
        limit.rlim_cur = 1024;
        setrlimit(RLIMIT_NOFILE, &limit);
        int fds[1024], opened = 0;
        while ((fds[opened] = open("/dev/null", O_RDONLY)) >= 0) {
            opened++;
        }
        for (int i = 0; i < free_slots; i++) {
            close(fds[--opened]);
        }
        int filled = open_descriptors();
        CHECK_ERROR(door_create(blocking_procedure, NULL, 0), EMFILE);
        CHECK_EQUAL(open_descriptors(), filled);
        while (opened > 0) {
            close(fds[--opened]);
        }
    }
    limit.rlim_cur = before;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static void mask_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)descriptors, (void)count;
    sigset_t blocked;
    struct {
        pthread_t thread;
        int all;
    } reply = {pthread_self(), 1};
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    for (int number = 1; number < 32; number++) {
        reply.all = reply.all && (number == SIGKILL || number == SIGSTOP || sigismember(&blocked, number));
    }
    door_return((char *)&reply, sizeof reply, NULL, 0);
}

static void door_P7_P12(void) {
    int door = door_create(mask_procedure, NULL, 0);
    struct {
        pthread_t thread;
        int all;
    } reply, first;
    CHECK_EQUAL(call(door, NULL, 0, &first, sizeof first, NULL), 0);
    int same = 0;
    for (int i = 0; i < 100; i++) {
        CHECK_EQUAL(call(door, NULL, 0, &reply, sizeof reply, NULL), 0);
        CHECK_EQUAL(reply.all, 1);
        same += pthread_equal(reply.thread, first.thread) != 0;
        first.thread = reply.thread; /* a sequential client meets the same thread again, as a rule */
    }
    CHECK(same >= 50);
}

static void nested_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)descriptors, (void)count;
    sigset_t none;
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    repeat_alarms(true);
    int error = door_call(bound_door, NULL) < 0 ? errno : 0;
    repeat_alarms(false);
    door_return((char *)&error, sizeof error, NULL, 0);
}

static void door_K8(void) {
    pthread_t thread;
    sigset_t alarms;
    int error = 0;
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &alarms, NULL);
    door_server_create(no_threads);
    bound_door = door_create(nested_procedure, NULL, DOOR_PRIVATE);
    CHECK_EQUAL(pthread_create(&thread, NULL, bound_thread, NULL), 0);
    CHECK_EQUAL(call(bound_door, NULL, 0, &error, sizeof error, NULL), 0);
    CHECK_EQUAL(error, EAGAIN);
}

static const struct test tests[] = {
    TEST(door_C9_C11_P10),
    TEST(door_P3_P4_P8),
    TEST(door_R7_before_any_door),
    TEST(door_P11),
    TEST(door_P9),
    TEST(door_X2_to_X7), TEST(door_X4_misreported),
    TEST(door_X_set_up_that_exits),
    TEST(door_X8),
    TEST(door_X9),
    TEST(door_X10),
    TEST(door_C3_C4), TEST(door_C12),
    TEST(door_C5_C7),
    TEST(door_K8),
    TEST(door_P7_P12),
};
TEST_MAIN(tests)
