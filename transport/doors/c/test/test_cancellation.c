/* Cancellation of server threads whose client has gone, and of clients, at any moment of a call. */
#include "blocking.h"

#include <time.h>

static atomic_int runs;

static void counting(void *cookie, char *data, size_t size, door_desc_t *entries, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)entries, (void)count;
    int now = ++runs;
    for (volatile int i = 0; i < 2000; i++) {
    }
    door_return((char *)&now, sizeof now, NULL, 0);
}

static int cleaned[2];

static void cleanup(void *unused) {
    (void)unused;
    send_byte(cleaned[1], 'c');
}

static void cancellable(void *cookie, char *data, size_t size, door_desc_t *entries, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)entries, (void)count;
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    pthread_cleanup_push(cleanup, NULL);
    send_byte(entered[1], 'e');
    receive_byte(leave[0]);
    pthread_cleanup_pop(0);
    send_byte(ran[1], 'r');
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    door_return("ok", 2, NULL, 0);
}

static void caller_child(int socket, void *unused) {
    (void)unused;
    int d = receive_fd(socket);
    door_call(d, NULL);
    send_byte(socket, 'r');
    receive_byte(socket);
}

static void killed_client_cancels(uint_t attributes) {
    make_pipes();
    CHECK_EQUAL(pipe2(cleaned, O_CLOEXEC), 0);
    int d;
    for (int i = 0; i < 3; i++) {
        struct child child = start_child(caller_child, NULL);
        d = i == 0 ? door_create(cancellable, NULL, attributes) : d;
        send_fd(child.socket, d);
        receive_byte(entered[0]);
        kill_child(child);
        if (attributes & DOOR_NO_CANCEL) {
            CHECK(!byte_within(cleaned[0], 150));
            send_byte(leave[1], 'l');
            CHECK_EQUAL(receive_byte(ran[0]), 'r');
        } else {
            CHECK_EQUAL(receive_byte(cleaned[0]), 'c');
        }
    }
    struct caller c = {0};
    start_caller(&c, d);
    receive_byte(entered[0]);
    send_byte(leave[1], 'l');
    CHECK_EQUAL(caller_error(&c), 0);
}

static void door_killed_client_cancels_thread(void) {
    killed_client_cancels(0);
}

static void door_killed_client_does_not_cancel_with_no_cancel(void) {
    killed_client_cancels(DOOR_NO_CANCEL);
}

/* Goes on while cancellation is disabled, and is cancelled when it enables it. */
static void late_enabling(void *cookie, char *data, size_t size, door_desc_t *entries, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)entries, (void)count;
    send_byte(entered[1], 'e');
    receive_byte(leave[0]);
    send_byte(ran[1], 'r');
    pthread_cleanup_push(cleanup, NULL);
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    pthread_testcancel();
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    pthread_cleanup_pop(0);
    send_byte(ran[1], 'n');
    door_return("ok", 2, NULL, 0);
}

static void door_pending_cancellation_is_seen(void) {
    make_pipes();
    CHECK_EQUAL(pipe2(cleaned, O_CLOEXEC), 0);
    handle(SIGUSR1, 0);
    int d = door_create(late_enabling, NULL, 0);
    struct caller c = {0};
    start_caller(&c, d);
    receive_byte(entered[0]);
    pthread_kill(c.thread, SIGUSR1);
    CHECK_EQUAL(caller_error(&c), EINTR);
    settle();
    send_byte(leave[1], 'l');
    CHECK_EQUAL(receive_byte(ran[0]), 'r');
    CHECK_EQUAL(receive_byte(cleaned[0]), 'c');
    CHECK(!byte_within(ran[0], 50));
    memset(&c, 0, sizeof c);
    start_caller(&c, d);
    receive_byte(entered[0]);
    send_byte(leave[1], 'l');
    CHECK_EQUAL(receive_byte(ran[0]), 'r');
    CHECK_EQUAL(receive_byte(ran[0]), 'n'); /* the new thread was not cancelled */
    CHECK_EQUAL(caller_error(&c), 0);
}

static void door_cancellation_does_not_hit_the_next_call(void) {
    make_pipes();
    handle(SIGUSR1, 0);
    int d = door_create(blocking_procedure, NULL, 0);
    struct caller c = {0};
    for (int i = 0; i < 5; i++) {
        memset(&c, 0, sizeof c);
        start_caller(&c, d);
        receive_byte(entered[0]);
        pthread_kill(c.thread, SIGUSR1);
        CHECK_EQUAL(caller_error(&c), EINTR);
        settle();
        send_byte(leave[1], 'l');
        CHECK_EQUAL(receive_byte(ran[0]), EINVAL);
    }
    memset(&c, 0, sizeof c);
    start_caller(&c, d);
    receive_byte(entered[0]);
    send_byte(leave[1], 'l');
    CHECK_EQUAL(caller_error(&c), 0);
}

static void door_client_cancelled_while_queued(void) {
    if (!cancellation_is_known()) {
        return;
    }
    make_pipes();
    door_server_create(one_thread);
    int d = door_create(blocking_procedure, NULL, DOOR_NO_CANCEL);
    struct caller a = {0}, b = {0};
    void *result;
    start_caller(&a, d);
    receive_byte(entered[0]);
    start_caller(&b, d);
    until_it_waits(&b);
    CHECK_EQUAL(pthread_cancel(b.thread), 0);
    pthread_join(b.thread, &result);
    CHECK(result == PTHREAD_CANCELED);
    send_byte(leave[1], 'l');
    CHECK_EQUAL(caller_error(&a), 0);
    CHECK(!byte_within(entered[0], 100));
    memset(&a, 0, sizeof a);
    start_caller(&a, d);
    receive_byte(entered[0]);
    send_byte(leave[1], 'l');
    CHECK_EQUAL(caller_error(&a), 0);
}

struct disabled {
    int door, error, state;
    atomic_int after;
};

static void *disabled_body(void *argument) {
    struct disabled *d = argument;
    int old;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
    d->error = door_call(d->door, NULL) < 0 ? errno : 0;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &d->state);
    d->after = 1;
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    pthread_testcancel();
    d->after = 2;
    return NULL;
}

static void quick_block(void *cookie, char *data, size_t size, door_desc_t *entries, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)entries, (void)count;
    send_byte(entered[1], 'e');
    receive_byte(leave[0]);
    door_return(NULL, 0, NULL, 0);
}

static void door_client_with_cancellation_disabled(void) {
    make_pipes();
    struct disabled one = {.door = door_create(quick_block, NULL, DOOR_NO_CANCEL), .error = -1};
    pthread_t t;
    void *result;
    CHECK_EQUAL(pthread_create(&t, NULL, disabled_body, &one), 0);
    receive_byte(entered[0]);
    CHECK_EQUAL(pthread_cancel(t), 0);
    settle();
    send_byte(leave[1], 'l');
    pthread_join(t, &result);
    CHECK(result == PTHREAD_CANCELED);
    CHECK_EQUAL(one.error, 0);
    CHECK_EQUAL(one.after, 1);
    CHECK_EQUAL(one.state, PTHREAD_CANCEL_DISABLE);
}

static void *pending_body(void *argument) {
    struct disabled *d = argument;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    while (!d->after) {
        poll(NULL, 0, 1);
    }
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    d->error = door_call(d->door, NULL) < 0 ? errno : 0;
    return NULL;
}

static void door_call_is_a_cancellation_point(void) {
    if (!cancellation_is_known()) {
        return;
    }
    struct disabled one = {.door = door_create(counting, NULL, DOOR_NO_CANCEL), .error = -1};
    pthread_t t;
    void *result;
    runs = 0;
    CHECK_EQUAL(pthread_create(&t, NULL, pending_body, &one), 0);
    CHECK_EQUAL(pthread_cancel(t), 0);
    one.after = 1;
    pthread_join(t, &result);
    CHECK(result == PTHREAD_CANCELED);
    settle();
    CHECK_EQUAL(one.error, -1);
    CHECK_EQUAL(runs, 0);
}

struct spinner {
    int door;
    atomic_int calls;
};

static void *spins(void *argument) {
    struct spinner *s = argument;
    for (;;) {
        int r;
        door_arg_t args = {.data_ptr = "abc", .data_size = 3, .rbuf = (char *)&r, .rsize = sizeof r};
        CHECK_EQUAL(door_call(s->door, &args), 0);
        s->calls++;
    }
    return NULL;
}

static void door_clients_cancelled_at_any_moment(void) {
    if (!cancellation_is_known()) {
        return;
    }
    struct spinner s = {.door = door_create(counting, NULL, DOOR_NO_CANCEL)};
    int before = 0;
    runs = 0;
    srandom(3);
    for (int i = 0; i < 200; i++) {
        pthread_t t;
        void *result;
        CHECK_EQUAL(pthread_create(&t, NULL, spins, &s), 0);
        struct timespec pause = {.tv_nsec = random() % 1000000};
        nanosleep(&pause, NULL);
        CHECK_EQUAL(pthread_cancel(t), 0);
        CHECK_EQUAL(pthread_join(t, &result), 0);
        CHECK(result == PTHREAD_CANCELED);
        before = i == 20 ? open_descriptors() : before;
    }
    CHECK(open_descriptors() <= before + 4);
    CHECK(runs >= s.calls);
}

static const struct test tests[] = {
    TEST(door_killed_client_cancels_thread),  TEST(door_killed_client_does_not_cancel_with_no_cancel),
    TEST(door_pending_cancellation_is_seen),  TEST(door_cancellation_does_not_hit_the_next_call),
    TEST(door_client_cancelled_while_queued), TEST(door_client_with_cancellation_disabled),
    TEST(door_call_is_a_cancellation_point),  TEST(door_clients_cancelled_at_any_moment)};

TEST_MAIN(tests)
