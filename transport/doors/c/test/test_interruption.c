/* Signals at any moment of a call, and clients and servers that end, or execute, in one. */
#include "blocking.h"

#include <setjmp.h>
#include <sys/time.h>
#include <time.h>

static atomic_int runs;

static void counting(void *cookie, char *data, size_t size, door_desc_t *entries, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)entries, (void)count;
    int now = ++runs;
    for (volatile int i = 0; i < 2000; i++) {
    }
    door_return((char *)&now, sizeof now, NULL, 0);
}

/* Longer than a caller sleeps deaf to signals. */
static void napping(void *cookie, char *data, size_t size, door_desc_t *entries, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)entries, (void)count;
    runs++;
    struct timespec t = {.tv_nsec = 12000000};
    nanosleep(&t, NULL);
    door_return(NULL, 0, NULL, 0);
}

struct raw {
    pthread_t thread;
    int door, error, done[2];
    atomic_int tid;
    door_arg_t args, before;
    char rbuf[64], data[64];
};

static void *raw_body(void *argument) {
    struct raw *raw = argument;
    raw->tid = gettid();
    raw->error = door_call(raw->door, &raw->args) < 0 ? errno : 0;
    send_byte(raw->done[1], 'd');
    return NULL;
}

static void start_raw(struct raw *raw, int door) {
    raw->door = door;
    CHECK_EQUAL(pipe2(raw->done, O_CLOEXEC), 0);
    raw->before = raw->args;
    CHECK_EQUAL(pthread_create(&raw->thread, NULL, raw_body, raw), 0);
}

static int end_raw(struct raw *raw) {
    receive_byte(raw->done[0]);
    pthread_join(raw->thread, NULL);
    return raw->error;
}

static void raw_waits(struct raw *raw) {
    struct caller c = {0};
    while (raw->tid == 0) {
        poll(NULL, 0, 1);
    }
    c.thread_id = raw->tid;
    until_it_waits(&c);
}

static void door_params_unchanged_by_eintr_and_eagain(void) {
    make_pipes();
    handle(SIGUSR1, 0);
    door_server_create(one_thread);
    int d = door_create(blocking_procedure, NULL, DOOR_NO_CANCEL), file = open("/dev/null", O_RDONLY);
    door_desc_t entry = {.d_attributes = DOOR_DESCRIPTOR};
    entry.d_data.d_desc.d_descriptor = file;
    struct raw a = {.args = {.desc_ptr = &entry, .desc_num = 1}}, b = {0};
    a.args.data_ptr = a.data, a.args.data_size = 5, a.args.rbuf = a.rbuf, a.args.rsize = 64;
    b.args = a.args, b.args.rbuf = b.rbuf;
    start_raw(&a, d);
    receive_byte(entered[0]);
    start_raw(&b, d);
    raw_waits(&b);
    do {
        pthread_kill(b.thread, SIGUSR1);
    } while (!byte_within(b.done[0], 50));
    CHECK_EQUAL(end_raw(&b), EAGAIN);
    CHECK(memcmp(&b.args, &b.before, sizeof b.args) == 0);
    do {
        pthread_kill(a.thread, SIGUSR1);
    } while (!byte_within(a.done[0], 50));
    CHECK_EQUAL(end_raw(&a), EINTR);
    CHECK(memcmp(&a.args, &a.before, sizeof a.args) == 0);
    CHECK(fcntl(file, F_GETFD) >= 0); /* it was not given away */
    send_byte(leave[1], 'l');
    CHECK_EQUAL(receive_byte(ran[0]), EINVAL);
}

static void door_eagain_then_again(void) {
    make_pipes();
    handle(SIGUSR1, SA_RESTART);
    door_server_create(one_thread);
    int d = door_create(blocking_procedure, NULL, DOOR_NO_CANCEL);
    struct caller a = {0}, b = {0};
    start_caller(&a, d);
    receive_byte(entered[0]);
    for (int i = 0; i < 3; i++) {
        memset(&b, 0, sizeof b);
        start_caller(&b, d);
        until_it_waits(&b);
        CHECK_EQUAL(interrupted_error(&b, SIGUSR1), EAGAIN); /* SA_RESTART has no effect here either */
    }
    memset(&b, 0, sizeof b);
    start_caller(&b, d);
    send_byte(leave[1], 'l');
    CHECK_EQUAL(caller_error(&a), 0);
    receive_byte(entered[0]);
    send_byte(leave[1], 'l');
    CHECK_EQUAL(caller_error(&b), 0);
}

/* Signals at any moment: what is told fits what has run. */
static void storm(uint_t attributes, int flags) {
    int d = door_create(counting, NULL, attributes);
    int done = 0, eintr = 0, eagain = 0;
    CHECK_EQUAL(door_call(d, &(door_arg_t){.rbuf = (char *)&(int){0}, .rsize = 4}), 0);
    runs = 0;
    handle(SIGALRM, flags);
    struct itimerval timer = {{0, 700}, {0, 700}};
    setitimer(ITIMER_REAL, &timer, NULL);
    for (int i = 0; i < 20000; i++) {
        int r = 0;
        door_arg_t args = {.data_ptr = "abc", .data_size = 3, .rbuf = (char *)&r, .rsize = sizeof r};
        if (door_call(d, &args) == 0) {
            CHECK(args.rbuf == (char *)&r && args.data_size == sizeof r && r >= done);
            done++;
        } else if (errno == EINTR) {
            eintr++;
        } else {
            CHECK_EQUAL(errno, EAGAIN);
            eagain++;
        }
    }
    struct itimerval none = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &none, NULL);
    for (int i = 0; i < 2000 && runs != done + eintr; i++) {
        poll(NULL, 0, 1);
    }
    CHECK_EQUAL(runs, done + eintr);
}

static void door_signals_at_any_moment(void) {
    storm(DOOR_NO_CANCEL, 0);
}

static void door_signals_at_any_moment_without_no_cancel(void) {
    storm(0, SA_RESTART);
}

static void door_signals_at_any_moment_slow(void) {
    int d = door_create(napping, NULL, DOOR_NO_CANCEL), done = 0, eintr = 0, eagain = 0;
    handle(SIGALRM, 0);
    struct itimerval timer = {{0, 7000}, {0, 7000}};
    setitimer(ITIMER_REAL, &timer, NULL);
    for (int i = 0; i < 100; i++) {
        int r = door_call(d, NULL) < 0 ? errno : 0;
        done += r == 0, eintr += r == EINTR, eagain += r == EAGAIN;
        CHECK(r == 0 || r == EINTR || r == EAGAIN);
    }
    struct itimerval none = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &none, NULL);
    for (int i = 0; i < 2000 && runs != done + eintr; i++) {
        poll(NULL, 0, 1);
    }
    CHECK_EQUAL(runs, done + eintr);
    CHECK(eintr > 0);
}

static void quick_block(void *cookie, char *data, size_t size, door_desc_t *entries, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)entries, (void)count;
    send_byte(entered[1], 'e');
    receive_byte(leave[0]);
    door_return(NULL, 0, NULL, 0);
}

/* With one byte the thread ends, with two the procedure falls off its end. */
static void exits(void *cookie, char *data, size_t size, door_desc_t *entries, uint_t count) {
    (void)cookie, (void)entries, (void)count, (void)data;
    if (size == 1) {
        pthread_exit(NULL);
    } else if (size == 2) {
        return;
    }
    door_return("k", 1, NULL, 0);
}

static void door_thread_end_is_eintr(void) {
    int d = door_create(exits, NULL, 0);
    char buffer[8];
    for (int i = 0; i < 20; i++) {
        CHECK_ERROR(call(d, "xx", 1 + i % 2, buffer, 8, NULL), EINTR);
        door_info_t info;
        CHECK_EQUAL(door_info(d, &info), 0);
        CHECK_EQUAL(info.di_target, getpid());
        CHECK(!(info.di_attributes & DOOR_REVOKED));
        CHECK_EQUAL(call(d, NULL, 0, buffer, 8, NULL), 0);
    }
}

static int inner_door, inner_error[2];

static void outer(void *cookie, char *data, size_t size, door_desc_t *entries, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)entries, (void)count;
    char r[8];
    char error = (char)(call(inner_door, NULL, 0, r, 8, NULL) < 0 ? errno : 0);
    send_byte(inner_error[1], error);
    door_return(&error, 1, NULL, 0);
}

static void door_interrupting_the_outer_of_two(void) {
    make_pipes();
    CHECK_EQUAL(pipe2(inner_error, O_CLOEXEC), 0);
    handle(SIGUSR1, 0);
    inner_door = door_create(blocking_procedure, NULL, DOOR_NO_CANCEL);
    int d = door_create(outer, NULL, DOOR_NO_CANCEL);
    struct caller c = {0};
    start_caller(&c, d);
    receive_byte(entered[0]);
    pthread_kill(c.thread, SIGUSR1);
    CHECK_EQUAL(caller_error(&c), EINTR);
    send_byte(leave[1], 'l');
    CHECK_EQUAL(receive_byte(ran[0]), 0); /* the inner call has a caller */
    CHECK_EQUAL(receive_byte(inner_error[0]), 0);
}

static int handler_door;

static volatile int handler_result = -1, handler_value;

static void calling_handler(int number) {
    (void)number;
    int r = 0, saved = errno;
    door_arg_t args = {.rbuf = (char *)&r, .rsize = sizeof r};
    handler_result = door_call(handler_door, &args) < 0 ? errno : 0;
    handler_value = r;
    errno = saved;
}

static void door_handler_that_calls_the_door(void) {
    make_pipes();
    handler_door = door_create(counting, NULL, DOOR_NO_CANCEL);
    int d = door_create(blocking_procedure, NULL, DOOR_NO_CANCEL);
    struct sigaction action = {.sa_handler = calling_handler};
    sigaction(SIGUSR1, &action, NULL);
    for (int i = 0; i < 5; i++) {
        struct caller c = {0};
        handler_result = -1;
        start_caller(&c, d);
        receive_byte(entered[0]);
        pthread_kill(c.thread, SIGUSR1);
        CHECK_EQUAL(caller_error(&c), EINTR);
        CHECK_EQUAL(handler_result, 0);
        CHECK_EQUAL(handler_value, i + 1);
        send_byte(leave[1], 'l');
        CHECK_EQUAL(receive_byte(ran[0]), EINVAL); /* or the next one would take its byte */
    }
}

static void door_handler_that_calls_the_same_door(void) {
    make_pipes();
    int d = door_create(counting, NULL, DOOR_NO_CANCEL);
    handler_door = d;
    struct sigaction action = {.sa_handler = calling_handler};
    sigaction(SIGALRM, &action, NULL);
    int ok = 0;
    for (int i = 0; i < 5000; i++) {
        /* One signal a call, and none for every fifth: a handler that takes longer than the pause of a timer that goes
         * on would never end. */
        struct itimerval timer = {{0, 0}, {0, i % 5 == 0 ? 0 : 1 + i % 100}};
        setitimer(ITIMER_REAL, &timer, NULL);
        int r = 0;
        door_arg_t args = {.rbuf = (char *)&r, .rsize = sizeof r};
        int e = door_call(d, &args) < 0 ? errno : 0;
        CHECK(e == 0 || e == EINTR || e == EAGAIN);
        ok += e == 0;
        CHECK(handler_result == -1 || handler_result == 0);
    }
    struct itimerval none = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &none, NULL);
    CHECK(ok > 100);
    CHECK_EQUAL(handler_result, 0);
}

static sigjmp_buf place;

static void jumping(int number) {
    (void)number;
    siglongjmp(place, 1);
}

static pthread_t jumper;

static void *signals_when_entered(void *unused) {
    receive_byte(entered[0]);
    pthread_kill(jumper, SIGUSR1);
    return unused;
}

static void door_handler_that_jumps_out(void) {
    static pthread_t teller;
    make_pipes();
    jumper = pthread_self();
    struct sigaction action = {.sa_handler = jumping};
    sigaction(SIGUSR1, &action, NULL);
    int d = door_create(blocking_procedure, NULL, DOOR_NO_CANCEL), e = door_create(counting, NULL, DOOR_NO_CANCEL);
    for (volatile int i = 0; i < 5; i++) {
        CHECK_EQUAL(pthread_create(&teller, NULL, signals_when_entered, NULL), 0);
        if (sigsetjmp(place, 1) == 0) {
            door_call(d, NULL);
            CHECK(false);
        }
        pthread_join(teller, NULL);
        send_byte(leave[1], 'l');
        receive_byte(ran[0]); /* or the next one would take its byte */
        int r;
        CHECK_EQUAL(call(e, NULL, 0, &r, sizeof r, NULL), 0);
        send_byte(leave[1], 'l');
        CHECK_EQUAL(call(d, NULL, 0, &r, sizeof r, NULL), 0);
        receive_byte(entered[0]);
        receive_byte(ran[0]);
    }
}

static void *calls_in_thread(void *door) {
    door_call(*(int *)door, NULL);
    return NULL;
}

static void exits_with_a_call(int socket, void *how) {
    static int d;
    pthread_t t;
    d = receive_fd(socket);
    CHECK_EQUAL(pthread_create(&t, NULL, calls_in_thread, &d), 0);
    receive_byte(socket);
    if (how != NULL) {
        execl("/bin/sleep", "sleep", "100", NULL);
    }
    _exit(0);
}

static void client_process_leaves(bool by_exec) {
    make_pipes();
    struct child child = start_child(exits_with_a_call, by_exec ? (void *)1 : NULL);
    int d = door_create(blocking_procedure, NULL, DOOR_NO_CANCEL);
    send_fd(child.socket, d);
    receive_byte(entered[0]);
    send_byte(child.socket, 'x');
    if (by_exec) {
        char path[64], name[64] = "";
        snprintf(path, sizeof path, "/proc/%d/comm", (int)child.pid);
        while (strncmp(name, "sleep", 5) != 0) {
            FILE *f = fopen(path, "re");
            CHECK(f != NULL && fgets(name, sizeof name, f) != NULL);
            fclose(f);
            poll(NULL, 0, 1);
        }
    } else {
        CHECK_EQUAL(waitpid(child.pid, NULL, 0), child.pid);
    }
    send_byte(leave[1], 'l');
    CHECK_EQUAL(receive_byte(ran[0]), EINVAL);
    if (by_exec) {
        kill_child(child);
    }
}

static void door_client_exits_with_a_call(void) {
    client_process_leaves(false);
}

static void door_client_execs_with_a_call(void) {
    client_process_leaves(true);
}

static void door_blocked_signal_waits(void) {
    make_pipes();
    handle(SIGUSR1, 0);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    int d = door_create(quick_block, NULL, DOOR_NO_CANCEL);
    struct caller c = {0};
    start_caller(&c, d);
    receive_byte(entered[0]);
    pthread_kill(c.thread, SIGUSR1);
    CHECK(!byte_within(c.done[0], 50));
    send_byte(leave[1], 'l');
    CHECK_EQUAL(caller_error(&c), 0);
}

static void eintr_of_a_dead_server(int socket, void *unused) {
    (void)unused;
    make_pipes();
    int d = door_create(quick_block, NULL, 0);
    send_fd(socket, d);
    send_fd(socket, entered[0]);
    receive_byte(socket);
}

static void door_server_dies_and_tells(void) {
    struct child child = start_child(eintr_of_a_dead_server, NULL);
    int d = receive_fd(child.socket), in = receive_fd(child.socket);
    struct caller c = {0};
    start_caller(&c, d);
    receive_byte(in);
    kill_child(child);
    CHECK_EQUAL(caller_error(&c), EINTR);
    door_info_t info;
    CHECK_EQUAL(door_info(d, &info), 0);
    CHECK_EQUAL(info.di_target, -1);
    CHECK(info.di_attributes & DOOR_REVOKED);
    CHECK_ERROR(door_call(d, NULL), EBADF);
    CHECK_ERROR(door_revoke(d), EPERM);
    CHECK_ERROR(door_setparam(d, DOOR_PARAM_DATA_MAX, 1), EBADF);
    CHECK_ERROR(door_bind(d), EINVAL);
}

static const struct test tests[] = {TEST(door_params_unchanged_by_eintr_and_eagain),
                                    TEST(door_eagain_then_again),
                                    TEST(door_signals_at_any_moment),
                                    TEST(door_signals_at_any_moment_without_no_cancel),
                                    TEST(door_signals_at_any_moment_slow),
                                    TEST(door_thread_end_is_eintr),
                                    TEST(door_interrupting_the_outer_of_two),
                                    TEST(door_handler_that_calls_the_door),
                                    TEST(door_handler_that_calls_the_same_door),
                                    TEST(door_handler_that_jumps_out),
                                    TEST(door_client_exits_with_a_call),
                                    TEST(door_client_execs_with_a_call),
                                    TEST(door_blocked_signal_waits),
                                    TEST(door_server_dies_and_tells)};

TEST_MAIN(tests)
