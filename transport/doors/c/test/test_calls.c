/* Interruption, revocation, eviction and exec: groups S, V, M, O of the conformance cases. */
#include "blocking.h"

#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>

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
    until_it_waits(&second);
    pthread_kill(second.thread, SIGUSR2);
    CHECK(!byte_within(second.done[0], 50));
    CHECK_EQUAL(interrupted_error(&second, SIGUSR1), EAGAIN);
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
    if (!cancellation_is_known()) {
        return;
    }
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
    until_it_waits(&queued);
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
    until_it_waits(&queued);
    CHECK_EQUAL(door_revoke(door), 0);
    CHECK_EQUAL(caller_error(&queued), EBADF);
}

static void door_V5_private(void) {
    V5_private_body();
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
    if (!cancellation_is_known()) {
        return;
    }
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

static void counts(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)data, (void)size, (void)descriptors, (void)count;
    atomic_fetch_add((atomic_int *)cookie, 1);
    door_return(NULL, 0, NULL, 0);
}

static void *calls_when_cancelled(void *door) {
    int before;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    receive_byte(leave[0]); /* cancelled by now */
    pthread_setcancelstate(before, NULL);
    door_call(*(int *)door, NULL);
    return NULL;
}

/* A call that would be answered at once, without waiting, is a cancellation point, too. */
static void door_S12_cancelled_before_the_call(void) {
    if (!cancellation_is_known()) {
        return;
    }
    static atomic_int calls;
    make_pipes();
    int door = door_create(counts, &calls, DOOR_NO_CANCEL);
    CHECK_EQUAL(door_call(door, NULL), 0);
    for (int i = 0; i < 5; i++) {
        pthread_t thread;
        CHECK_EQUAL(pthread_create(&thread, NULL, calls_when_cancelled, &door), 0);
        CHECK_EQUAL(pthread_cancel(thread), 0);
        send_byte(leave[1], 'l');
        CHECK_EQUAL(pthread_join(thread, NULL), 0);
    }
    CHECK_EQUAL(calls, 1);
}

static bool descriptors_are_at_most(void *expected) {
    return open_descriptors() <= *(int *)expected;
}

/* What a cancelled call had made goes with it: the one descriptor that stays is what the procedure was passed. */
static void door_S12_cancelled_with_descriptors(void) {
    if (!cancellation_is_known()) {
        return;
    }
    make_pipes();
    int door = door_create(blocking_procedure, NULL, DOOR_NO_CANCEL);
    int passed = door_create(blocking_procedure, NULL, 0);
    for (int i = 0, expected = 0; i < 3; i++, expected += 2) {
        door_desc_t entry = {.d_attributes = DOOR_DESCRIPTOR};
        entry.d_data.d_desc.d_descriptor = passed;
        struct caller caller = {.descriptors = &entry, .count = 1};
        start_caller(&caller, door);
        receive_byte(entered[0]);
        settle();
        CHECK_EQUAL(pthread_cancel(caller.thread), 0);
        CHECK_EQUAL(pthread_join(caller.thread, NULL), 0);
        send_byte(leave[1], 'l');
        CHECK_EQUAL(receive_byte(ran[0]), EINVAL);
        close(caller.done[0]);
        close(caller.done[1]);
        if (i == 0) { /* by now all threads and pools are there */
            settle();
            expected = open_descriptors();
        }
        CHECK(eventually(descriptors_are_at_most, &expected)); /* and the server's end of the door that it is */
    }
}

static void door_M9(void) {
    make_pipes();
    door_server_create(one_thread);
    int door = door_create(blocking_procedure, NULL, 0);
    struct caller active = {0}, queued = {0};
    start_caller(&active, door);
    receive_byte(entered[0]);
    start_caller(&queued, door);
    until_it_waits(&queued);
    CHECK_EQUAL(door_setparam(door, DOOR_PARAM_DATA_MIN, 5), 0);
    send_byte(leave[1], 'l');
    CHECK_EQUAL(caller_error(&active), 0);
    receive_byte(entered[0]); /* it was queued under the old limits */
    send_byte(leave[1], 'l');
    CHECK_EQUAL(caller_error(&queued), 0);
    CHECK_ERROR(door_call(door, NULL), ENOBUFS);
}

/* A reply with descriptors that nobody waits for any more. */
static void descriptor_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)descriptors, (void)count;
    door_desc_t entry;
    memset(&entry, 0, sizeof entry);
    entry.d_attributes = DOOR_DESCRIPTOR | DOOR_RELEASE;
    entry.d_data.d_desc.d_descriptor = open("/dev/null", O_RDONLY);
    send_byte(entered[1], 'e');
    receive_byte(leave[0]);
    send_byte(ran[1], 'r');
    door_return("x", 1, &entry, 1);
}

static void door_F17(void) {
    make_pipes();
    int door = door_create(descriptor_procedure, NULL, DOOR_NO_CANCEL), before = 0;
    handle(SIGUSR1, 0);
    for (int i = 0; i < 4; i++) {
        struct caller caller = {0};
        start_caller(&caller, door);
        receive_byte(entered[0]);
        pthread_kill(caller.thread, SIGUSR1);
        CHECK_EQUAL(caller_error(&caller), EINTR);
        close(caller.done[0]);
        close(caller.done[1]);
        send_byte(leave[1], 'l');
        receive_byte(ran[0]);
        settle();
        before = i == 1 ? open_descriptors() : before;
    }
    CHECK(eventually(descriptors_are_at_most, &before));
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
    CHECK(open_descriptors() <= before + 2 * 32 + 1);
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
    TEST(door_S1_S2_S10_S13),
    TEST(door_S3_S4_F7),
    TEST(door_F6),
    TEST(door_S8),
    TEST(door_V1_V2_V3_V7_V9),
    TEST(door_V4_V5_V6),
    TEST(door_V5_private),
    TEST(door_S5),
    TEST(door_S12_client_cancelled),
    TEST(door_S12_cancelled_before_the_call),
    TEST(door_S12_cancelled_with_descriptors),
    TEST(door_M9),
    TEST(door_F17),
    TEST(door_many_for_one_thread),
    TEST(door_channels_are_evicted),
    TEST(door_O8_O9),
};

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "--call") == 0) { /* the program that door_O9 turns into */
        int number = 0, door = atoi(argv[2]);
        return call(door, NULL, 0, &number, sizeof number, NULL) == 0 && number == 77 ? 0 : 3;
    }
    return run_tests(__FILE__, tests, sizeof tests / sizeof *tests, argc, argv);
}
