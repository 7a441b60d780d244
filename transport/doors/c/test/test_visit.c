/* Doors for event loops: a thread of the program's own serves a call, and a call that has a limit. */
#include "blocking.h"
#include "entries.h"

static _Atomic pthread_t served_by;
static uint32_t stay, leave_now = 1;
enum { LONG = 1800000000 /* microseconds; the watchdog is quicker */ };

static void noting_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)descriptors, (void)count;
    served_by = pthread_self();
    ucred_t *credentials = NULL;
    CHECK_EQUAL(door_ucred(&credentials), 0);
    CHECK_EQUAL(ucred_getpid(credentials) == getpid(), size == 1);
    ucred_free(credentials);
    door_return(data, size, NULL, 0);
}

static void returning_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)data, (void)descriptors, (void)count;
    served_by = pthread_self();
    if (size < 2) {
        door_return(data, size, NULL, 0);
    }
}

/* Calls with `size` bytes as soon as it is told how many, and says the errno; a negative number ends it. */
static void keep_calling(int socket, void *argument) {
    int door = *(int *)argument;
    static char data[1 << 20], result[1 << 20];
    int size;
    while (read(socket, &size, sizeof size) == sizeof size && size >= 0) {
        size_t length = 0;
        poll(NULL, 0, size % 2); /* sometimes the visitor is first, sometimes a thread of the pool */
        int error = call(door, data, (size_t)size, result, sizeof result, &length) < 0 ? errno : 0;
        CHECK(error != 0 || length == (size_t)size);
        CHECK_EQUAL(write(socket, &error, sizeof error), sizeof error);
    }
}

static void tell(struct child *child, int size) {
    CHECK_EQUAL(write(child->socket, &size, sizeof size), sizeof size);
}

static int told(struct child *child) {
    int error = -1;
    CHECK_EQUAL(read(child->socket, &error, sizeof error), sizeof error);
    return error;
}

static void test_who_may_visit_what(void) {
    int door = door_create(noting_procedure, NULL, DOOR_NO_CANCEL), other = door_create(noting_procedure, NULL, 0);
    CHECK_ERROR(door_visit(id_of(door), 1000, &stay), EAGAIN); /* nobody has called */
    CHECK_ERROR(door_visit(id_of(other), 1000, &stay), EINVAL);
    CHECK_ERROR(door_visit(id_of(other) + 1000, 1000, &stay), EBADF);
    char byte = 'x';
    size_t length;
    CHECK_EQUAL(call(door, &byte, 1, &byte, 1, &length), 0);
    CHECK_EQUAL(door_visit(id_of(door), 1000, &stay), 0);
    CHECK_EQUAL(door_visit(id_of(door), LONG, &leave_now), 0);
    door_visit_end(); /* of nobody */
    CHECK_EQUAL(call(door, &byte, 1, &byte, 1, &length), 0);
    CHECK_EQUAL(door_revoke(door), 0);
}

static void test_the_visitor_serves(void) {
    int door = door_create(noting_procedure, NULL, DOOR_NO_CANCEL), before = 0, visits = 0;
    struct child child = start_child(keep_calling, &door);
    tell(&child, 10);
    CHECK_EQUAL(told(&child), 0);
    CHECK(!pthread_equal(served_by, pthread_self()));
    for (int i = 0; i < 300 || visits <= 10; i++) { /* the watchdog bounds it */
        int size = i % 10 == 9 ? 100000 : i % 10 == 8 ? 600000 : 2 + i % 300;
        tell(&child, size);
        if (i % 3 == 0) {
            poll(NULL, 0, 1); /* then a thread of the pool is quicker */
        }
        int served = door_visit(id_of(door), 20000, &stay);
        CHECK(served >= 0 || errno == EAGAIN); /* a thread of the pool serves it */
        visits += served > 0;
        int error = told(&child);
        CHECK(error == 0 || (size == 600000 && served > 0 && error == E2BIG));
        CHECK(served <= 0 || error != 0 || pthread_equal(served_by, pthread_self()));
        if (i == 100) {
            before = open_descriptors();
        }
    }
    CHECK_EQUAL(open_descriptors(), before);
    tell(&child, -1);
    finish_child(child);
}

static void test_a_procedure_that_returns_ends_the_call_alone(void) {
    int door = door_create(returning_procedure, NULL, DOOR_NO_CANCEL), visits = 0;
    struct child child = start_child(keep_calling, &door);
    tell(&child, 1);
    CHECK_EQUAL(told(&child), 0);
    for (int i = 0; i < 50 || visits == 0; i++) {
        tell(&child, i % 2 ? 1 : 2);
        visits += door_visit(id_of(door), 20000, &stay) > 0;
        CHECK_EQUAL(told(&child), i % 2 ? 0 : EINTR);
    }
    tell(&child, -1);
    finish_child(child);
}

static void *end_it(void *argument) {
    (void)argument;
    for (int i = 0; i < 50; i++) {
        poll(NULL, 0, 2);
        door_visit_end();
    }
    return NULL;
}

static void test_another_thread_ends_the_visit(void) {
    if (!system_is_real()) {
        return;
    }
    int door = door_create(noting_procedure, NULL, DOOR_NO_CANCEL);
    pthread_t thread;
    char byte = 'x';
    size_t length;
    CHECK_EQUAL(call(door, &byte, 1, &byte, 1, &length), 0);
    CHECK_EQUAL(pthread_create(&thread, NULL, end_it, NULL), 0);
    CHECK_EQUAL(door_visit(id_of(door), LONG, &stay), 0);
    pthread_join(thread, NULL);
    CHECK_EQUAL(call(door, &byte, 1, &byte, 1, &length), 0);
}

static void *visit(void *argument) {
    return (void *)(intptr_t)door_visit(*(door_id_t *)argument, LONG, &stay);
}

static void test_the_client_dies_or_is_evicted_meanwhile(void) {
    int door = door_create(noting_procedure, NULL, DOOR_NO_CANCEL);
    door_id_t id = id_of(door);
    for (int i = 0; i < 10; i++) {
        struct child child = start_child(keep_calling, &door);
        tell(&child, 10);
        CHECK_EQUAL(told(&child), 0);
        pthread_t thread;
        void *served;
        CHECK_EQUAL(pthread_create(&thread, NULL, visit, &id), 0);
        poll(NULL, 0, i % 3);
        kill_child(child);
        poll(NULL, 0, i % 2);
        for (int tries = 0; tries < 100; tries++) {
            poll(NULL, 0, 1);
            door_visit_end();
        }
        pthread_join(thread, &served);
        CHECK((intptr_t)served <= 0);
    }
}

static void test_a_child_of_fork_visits_nothing(void) {
    if (!system_is_real()) {
        return;
    }
    int door = door_create(noting_procedure, NULL, DOOR_NO_CANCEL);
    door_id_t id = id_of(door);
    char byte = 'x';
    size_t length;
    CHECK_EQUAL(call(door, &byte, 1, &byte, 1, &length), 0);
    CHECK_EQUAL(door_visit(id, 100, &stay), 0);
    pid_t child = fork();
    if (child == 0) {
        _exit(door_visit(id, 100, &stay) == -1 && errno == EBADF ? 0 : 1);
    }
    int status;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
}

static void test_a_call_with_a_limit(void) {
    make_pipes();
    door_server_create(one_thread);
    int door = door_create(blocking_procedure, NULL, DOOR_NO_CANCEL);
    char buffer[8];
    door_arg_t arguments = {.rbuf = buffer, .rsize = sizeof buffer};
    do {
        CHECK_EQUAL(door_call_within(door, &arguments, 2000), -1);
    } while (errno == EAGAIN);
    CHECK_EQUAL(errno, EINTR); /* at last it was begun in time */
    CHECK_ERROR(door_call_within(door, &arguments, 2000), EAGAIN); /* nobody took it */
    CHECK_ERROR(door_call_within(door, &arguments, 0), EAGAIN);
    receive_byte(entered[0]);
    send_byte(leave[1], 'l');
    send_byte(leave[1], 'l');
    CHECK_EQUAL(door_call_within(door, &arguments, LONG), 0);
    CHECK_EQUAL(arguments.data_size, 2);
    CHECK_ERROR(door_call_within(-1, &arguments, 1000), EBADF);
}

static const struct test tests[] = {
    TEST(test_who_may_visit_what),
    TEST(test_the_visitor_serves),
    TEST(test_a_procedure_that_returns_ends_the_call_alone),
    TEST(test_another_thread_ends_the_visit),
    TEST(test_the_client_dies_or_is_evicted_meanwhile),
    TEST(test_a_child_of_fork_visits_nothing),
    TEST(test_a_call_with_a_limit),
};

TEST_MAIN(tests)
