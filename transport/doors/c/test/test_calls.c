/* Interruption, revocation, pools and processes: groups S, V, P, O, X, C of the conformance cases. */
#include "harness.h"

#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>

static int entered[2], leave[2], ran[2]; /* pipes: the procedure says it runs, is told to go on, and counts */

static void make_pipes(void) {
    CHECK_EQUAL(pipe2(entered, O_CLOEXEC), 0);
    CHECK_EQUAL(pipe2(leave, O_CLOEXEC), 0);
    CHECK_EQUAL(pipe2(ran, O_CLOEXEC), 0);
}

static void blocking_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)descriptors, (void)count;
    send_byte(entered[1], 'e');
    receive_byte(leave[0]);
    ucred_t *credentials = NULL;
    int unknown = door_ucred(&credentials) < 0 ? errno : 0;
    ucred_free(credentials);
    send_byte(ran[1], (char)unknown);
    door_return("ok", 2, NULL, 0);
}

static void no_threads(door_info_t *info) {
    (void)info;
}

static void *server_thread(void *unused) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    door_return(NULL, 0, NULL, 0);
    return unused;
}

static void one_thread(door_info_t *info) {
    static bool made;
    pthread_t thread;
    (void)info;
    if (!made) {
        made = true;
        CHECK_EQUAL(pthread_create(&thread, NULL, server_thread, NULL), 0);
    }
}

struct caller {
    pthread_t thread;
    int door;
    int error; /* 0 or errno */
    int done[2];
    door_desc_t *descriptors;
    uint_t count;
};

static void *caller_body(void *argument) {
    struct caller *caller = argument;
    char buffer[8];
    door_arg_t arguments = {
        .rbuf = buffer, .rsize = 8, .desc_ptr = caller->descriptors, .desc_num = caller->count};
    caller->error = door_call(caller->door, &arguments) < 0 ? errno : 0;
    send_byte(caller->done[1], 'd');
    return NULL;
}

static void start_caller(struct caller *caller, int door) {
    caller->door = door;
    CHECK_EQUAL(pipe2(caller->done, O_CLOEXEC), 0);
    CHECK_EQUAL(pthread_create(&caller->thread, NULL, caller_body, caller), 0);
}

static int caller_error(struct caller *caller) {
    receive_byte(caller->done[0]);
    pthread_join(caller->thread, NULL);
    return caller->error;
}

static void on_signal(int number) {
    (void)number;
}

static void handle(int number, int flags) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};
    sigaction(number, &action, NULL);
}

/* Whether a thread sleeps; then what it does has come as far as it will. */
static void settle(void) {
    struct timespec pause = {.tv_nsec = 30000000};
    nanosleep(&pause, NULL);
}

static void door_S1_S2_S10_S13(void) {
    make_pipes();
    int door = door_create(blocking_procedure, NULL, DOOR_NO_CANCEL);
    for (int i = 0; i < 2; i++) {
        struct caller caller = {0};
        handle(SIGUSR1, i ? SA_RESTART : 0);
        start_caller(&caller, door);
        receive_byte(entered[0]);
        pthread_kill(caller.thread, SIGUSR1);
        CHECK_EQUAL(caller_error(&caller), EINTR);
        send_byte(leave[1], 'l');
        CHECK_EQUAL(receive_byte(ran[0]), EINVAL); /* it ran to its end, and knew that nobody waited */
    }
    struct caller caller = {0};
    start_caller(&caller, door);
    receive_byte(entered[0]);
    send_byte(leave[1], 'l');
    CHECK_EQUAL(caller_error(&caller), 0);
    CHECK_EQUAL(receive_byte(ran[0]), 0);
}

static void door_S3_S4_F7(void) {
    make_pipes();
    door_server_create(one_thread);
    int door = door_create(blocking_procedure, NULL, 0), file = open("/dev/null", O_RDONLY);
    door_desc_t entry;
    memset(&entry, 0, sizeof entry);
    entry.d_attributes = DOOR_DESCRIPTOR | DOOR_RELEASE;
    entry.d_data.d_desc.d_descriptor = file;
    struct caller first = {0}, second = {.descriptors = &entry, .count = 1};
    handle(SIGUSR1, 0);
    signal(SIGUSR2, SIG_IGN);
    start_caller(&first, door);
    receive_byte(entered[0]);
    start_caller(&second, door);
    settle();
    pthread_kill(second.thread, SIGUSR2);
    CHECK(!byte_within(second.done[0], 50));
    pthread_kill(second.thread, SIGUSR1);
    CHECK_EQUAL(caller_error(&second), EAGAIN);
    CHECK(fcntl(file, F_GETFD) >= 0);
    send_byte(leave[1], 'l');
    CHECK_EQUAL(caller_error(&first), 0);
    CHECK(!byte_within(entered[0], 50)); /* the retracted call never ran */
}

static void door_F6(void) {
    make_pipes();
    int door = door_create(blocking_procedure, NULL, 0), file = open("/dev/null", O_RDONLY);
    door_desc_t entry;
    memset(&entry, 0, sizeof entry);
    entry.d_attributes = DOOR_DESCRIPTOR | DOOR_RELEASE;
    entry.d_data.d_desc.d_descriptor = file;
    struct caller caller = {.descriptors = &entry, .count = 1};
    handle(SIGUSR1, 0);
    start_caller(&caller, door);
    receive_byte(entered[0]);
    CHECK_ERROR(fcntl(file, F_GETFD), EBADF); /* closed before the procedure ran */
    pthread_kill(caller.thread, SIGUSR1);
    CHECK_EQUAL(caller_error(&caller), EINTR);
    send_byte(leave[1], 'l');
}

static int cleaned[2];

static void cleanup(void *unused) {
    (void)unused;
    send_byte(cleaned[1], 'c');
}

static void cancellable_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)descriptors, (void)count;
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    pthread_cleanup_push(cleanup, NULL);
    send_byte(entered[1], 'e');
    receive_byte(leave[0]);
    pthread_cleanup_pop(0);
    door_return("ok", 2, NULL, 0);
}

static void door_S8(void) {
    make_pipes();
    CHECK_EQUAL(pipe2(cleaned, O_CLOEXEC), 0);
    int door = door_create(cancellable_procedure, NULL, 0);
    struct caller caller = {0};
    handle(SIGUSR1, 0);
    start_caller(&caller, door);
    receive_byte(entered[0]);
    pthread_kill(caller.thread, SIGUSR1);
    CHECK_EQUAL(caller_error(&caller), EINTR);
    receive_byte(cleaned[0]);
    start_caller(&caller, door);
    receive_byte(entered[0]);
    send_byte(leave[1], 'l');
    CHECK_EQUAL(caller_error(&caller), 0);
}

static void door_V1_V2_V3_V7_V9(void) {
    int door = door_create(blocking_procedure, NULL, 0), second = dup(door), third = dup(door);
    size_t value;
    CHECK_EQUAL(door_revoke(door), 0);
    CHECK_ERROR(fcntl(door, F_GETFD), EBADF);
    CHECK_ERROR(door_call(second, NULL), EBADF);
    CHECK_ERROR(door_setparam(second, DOOR_PARAM_DATA_MAX, 1), EBADF);
    CHECK_EQUAL(door_getparam(second, DOOR_PARAM_DATA_MAX, &value), 0);
    door_info_t info;
    CHECK_EQUAL(door_info(second, &info), 0);
    CHECK_EQUAL(info.di_target, getpid());
    CHECK(info.di_attributes & DOOR_REVOKED);
    CHECK_EQUAL(door_revoke(second), 0);
    CHECK_EQUAL(door_revoke(third), 0);
}

static void door_V4_V5_V6(void) {
    make_pipes();
    door_server_create(one_thread);
    int door = door_create(blocking_procedure, NULL, 0);
    struct caller active = {0}, queued = {0};
    start_caller(&active, door);
    receive_byte(entered[0]);
    start_caller(&queued, door);
    settle();
    CHECK(!byte_within(queued.done[0], 0));
    CHECK_EQUAL(door_revoke(door), 0);
    CHECK_EQUAL(caller_error(&queued), EBADF);
    CHECK(!byte_within(active.done[0], 20));
    send_byte(leave[1], 'l');
    CHECK_EQUAL(caller_error(&active), 0);
    CHECK(!byte_within(entered[0], 20));
}

static void V5_private_body(void) {
    door_server_create(no_threads);
    int door = door_create(blocking_procedure, NULL, DOOR_PRIVATE);
    struct caller queued = {0};
    start_caller(&queued, door);
    settle();
    CHECK_EQUAL(door_revoke(door), 0);
    CHECK_EQUAL(caller_error(&queued), EBADF);
}

static void door_V5_private(void) {
    V5_private_body();
}

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
    struct itimerval soon = {.it_value = {.tv_usec = 50000}};
    handle(SIGALRM, 0);
    setitimer(ITIMER_REAL, &soon, NULL);
    CHECK_ERROR(door_call(door, NULL), EAGAIN); /* by the channel that the thread has just served */
    alarm(60);
    start_caller(&caller, door);
    CHECK(!byte_within(caller.done[0], 50));
    pthread_kill(caller.thread, SIGALRM);
    CHECK_EQUAL(caller_error(&caller), EAGAIN);
    CHECK_ERROR(door_bind(public), EINVAL);
    CHECK_ERROR(door_bind(-1), EBADF);
    CHECK_ERROR(door_unbind(), EBADF);
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
    pthread_kill(caller.thread, SIGUSR1);
    CHECK_EQUAL(caller_error(&caller), EAGAIN);
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
    CHECK_EQUAL(byte_within(entered[0], 100), !third_waits);
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
    for (int free_slots = 0; free_slots < 3; free_slots++) {
        limit.rlim_cur = 1024;
        setrlimit(RLIMIT_NOFILE, &limit);
        int last = -1, fd;
        while ((fd = open("/dev/null", O_RDONLY)) >= 0) {
            last = fd;
        }
        for (int i = 0; i < free_slots; i++) {
            close(last - i);
        }
        int filled = open_descriptors();
        CHECK_ERROR(door_create(blocking_procedure, NULL, 0), EMFILE);
        CHECK_EQUAL(open_descriptors(), filled);
        for (fd = 30; fd < 1024; fd++) {
            if (fd != door) {
                close(fd);
            }
        }
    }
    limit.rlim_cur = before;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* Stopping and continuing is no interruption. */
static void stopped_client(int socket, void *unused) {
    (void)unused;
    int door = receive_fd(socket);
    char buffer[8];
    CHECK_EQUAL(call(door, NULL, 0, buffer, sizeof buffer, NULL), 0);
}

static void door_S5(void) {
    make_pipes();
    struct child child = start_child(stopped_client, NULL);
    int status, door = door_create(blocking_procedure, NULL, 0);
    send_fd(child.socket, door);
    receive_byte(entered[0]);
    for (int i = 0; i < 3; i++) {
        kill(child.pid, SIGSTOP);
        CHECK_EQUAL(waitpid(child.pid, &status, WUNTRACED), child.pid);
        kill(child.pid, SIGCONT);
        settle();
    }
    send_byte(leave[1], 'l');
    finish_child(child);
}

static void door_S12_client_cancelled(void) {
    make_pipes();
    int door = door_create(blocking_procedure, NULL, DOOR_NO_CANCEL);
    struct caller caller = {0};
    void *result;
    start_caller(&caller, door);
    receive_byte(entered[0]);
    settle();
    CHECK_EQUAL(pthread_cancel(caller.thread), 0);
    pthread_join(caller.thread, &result);
    CHECK(result == PTHREAD_CANCELED);
    send_byte(leave[1], 'l');
    CHECK_EQUAL(receive_byte(ran[0]), EINVAL);
}

static void nested_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)descriptors, (void)count;
    sigset_t none;
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    alarm(1);
    int error = door_call(bound_door, NULL) < 0 ? errno : 0;
    door_return((char *)&error, sizeof error, NULL, 0);
}

static void door_K8(void) {
    pthread_t thread;
    sigset_t alarms;
    int error = 0;
    handle(SIGALRM, 0);
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &alarms, NULL);
    door_server_create(no_threads);
    bound_door = door_create(nested_procedure, NULL, DOOR_PRIVATE);
    CHECK_EQUAL(pthread_create(&thread, NULL, bound_thread, NULL), 0);
    CHECK_EQUAL(call(bound_door, NULL, 0, &error, sizeof error, NULL), 0);
    CHECK_EQUAL(error, EAGAIN);
}

static void door_M9(void) {
    make_pipes();
    door_server_create(one_thread);
    int door = door_create(blocking_procedure, NULL, 0);
    struct caller active = {0}, queued = {0};
    start_caller(&active, door);
    receive_byte(entered[0]);
    start_caller(&queued, door);
    settle();
    CHECK_EQUAL(door_setparam(door, DOOR_PARAM_DATA_MIN, 5), 0);
    send_byte(leave[1], 'l');
    CHECK_EQUAL(caller_error(&active), 0);
    receive_byte(entered[0]); /* it was queued under the old limits */
    send_byte(leave[1], 'l');
    CHECK_EQUAL(caller_error(&queued), 0);
    CHECK_ERROR(door_call(door, NULL), ENOBUFS);
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

static void one_client_many_doors(int socket, void *unused) {
    (void)unused;
    enum { DOORS = 100 };
    int doors[DOORS];
    for (int i = 0; i < DOORS; i++) {
        doors[i] = receive_fd(socket);
    }
    int before = open_descriptors();
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < DOORS; i++) {
            int number = -1;
            CHECK_EQUAL(call(doors[i], NULL, 0, &number, sizeof number, NULL), 0);
            CHECK_EQUAL(number, i);
        }
    }
    CHECK(open_descriptors() <= before + 33);
}

static void cookie_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)data, (void)size, (void)descriptors, (void)count;
    int number = (int)(uintptr_t)cookie;
    door_return((char *)&number, sizeof number, NULL, 0);
}

static void door_many_for_one_thread(void) {
    struct child child = start_child(one_client_many_doors, NULL);
    for (uintptr_t i = 0; i < 100; i++) {
        send_fd(child.socket, door_create(cookie_procedure, (void *)i, 0));
    }
    finish_child(child);
}

/* A server with few descriptors evicts idle channels; their clients notice nothing. */
static void *one_call_a_thread(void *door) {
    for (int i = 0; i < 3; i++) {
        int number = -1;
        CHECK_EQUAL(call(*(int *)door, NULL, 0, &number, sizeof number, NULL), 0);
        CHECK_EQUAL(number, 5);
        settle();
    }
    return NULL;
}

static void crowd(int socket, void *unused) {
    (void)unused;
    pthread_t crowd[100];
    int door = receive_fd(socket);
    for (int i = 0; i < 100; i++) {
        CHECK_EQUAL(pthread_create(&crowd[i], NULL, one_call_a_thread, &door), 0);
    }
    for (int i = 0; i < 100; i++) {
        pthread_join(crowd[i], NULL);
    }
}

static void door_channels_are_evicted(void) {
    struct child child = start_child(crowd, NULL);
    struct rlimit limit;
    int door = door_create(cookie_procedure, (void *)5, 0);
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = 60;
    CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &limit), 0);
    send_fd(child.socket, door);
    finish_child(child);
}

static void called_after_exec(int socket, void *program) {
    char number[16];
    int door = receive_fd(socket);
    snprintf(number, sizeof number, "%d", door);
    execl(program, program, "--call", number, NULL);
    _exit(9);
}

static void door_O8_O9(void) {
    char program[256];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    CHECK(length > 0);
    program[length] = 0;
    struct child child = start_child(called_after_exec, program);
    int door = door_create(cookie_procedure, (void *)77, 0);
    send_fd(child.socket, door);
    finish_child(child);
}

static const struct test tests[] = {
    TEST(door_S1_S2_S10_S13), TEST(door_S3_S4_F7), TEST(door_F6),       TEST(door_S8),
    TEST(door_V1_V2_V3_V7_V9), TEST(door_V4_V5_V6), TEST(door_V5_private), TEST(door_C9_C11_P10),
    TEST(door_P3_P4_P8),      TEST(door_P11),      TEST(door_P9),       TEST(door_X2_to_X7),
    TEST(door_X8),            TEST(door_X9),       TEST(door_X10),      TEST(door_C3_C4),
    TEST(door_C5_C7),          TEST(door_S5),        TEST(door_S12_client_cancelled), TEST(door_K8),
    TEST(door_M9),            TEST(door_P7_P12),   TEST(door_many_for_one_thread),
    TEST(door_channels_are_evicted), TEST(door_O8_O9),
};

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "--call") == 0) { /* the program that door_O9 turns into */
        int number = 0, door = atoi(argv[2]);
        return call(door, NULL, 0, &number, sizeof number, NULL) == 0 && number == 77 ? 0 : 3;
    }
    return run_tests(__FILE__, tests, sizeof tests / sizeof *tests, argc, argv);
}
