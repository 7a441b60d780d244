/*
 * What the kernel of illumos does where its manual pages are silent, each case as it was seen there. docs/doors.md has the
 * table, and says where Linux differs.
 */
#include "blocking.h"
#include "entries.h"

#include "../closing.h"

static void empty_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)descriptors, (void)count;
    door_return(NULL, 0, NULL, 0);
}

static void close_duplicate(int door) {
    int duplicate = door_dup(door);
    CHECK(duplicate >= 0);
    CHECK_EQUAL(close(duplicate), 0);
}

/* Notifications are written into a pipe, by the name that each door has as its cookie. */
static int notices[2];
static atomic_int handlers_wait;
static int handler_leave[2];

static void noting_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)size, (void)descriptors, (void)count;
    if (data == DOOR_UNREF_DATA) {
        send_byte(notices[1], *(const char *)cookie);
        if (atomic_load(&handlers_wait)) {
            receive_byte(handler_leave[0]);
        }
    } else {
        send_byte(entered[1], 'e');
        receive_byte(leave[0]);
    }
    door_return(NULL, 0, NULL, 0);
}

static int noting_door(const char *name) {
    int door = door_create(noting_procedure, (void *)(uintptr_t)name, DOOR_UNREF_MULTI);
    CHECK(door >= 0);
    return door;
}

static void prepare_notices(void) {
    make_pipes();
    CHECK_EQUAL(pipe(notices), 0);
    CHECK_EQUAL(pipe(handler_leave), 0);
}

/* A call of the door holds it. There the notification is lost; here it comes when the call has ended. */
static void door_unref_during_a_call(void) {
    struct caller caller = {0};
    prepare_notices();
    int door = noting_door("a");
    start_caller(&caller, door);
    receive_byte(entered[0]);
    CHECK(!(attributes_of(door) & DOOR_IS_UNREF)); /* as there: a call is a reference */
    close_duplicate(door);
    CHECK(!byte_within(notices[0], 100));
    send_byte(leave[1], 'l');
    CHECK_EQUAL(caller_error(&caller), 0);
    CHECK_EQUAL(receive_byte(notices[0]), 'a');
    CHECK(attributes_of(door) & DOOR_IS_UNREF);
}

/* Transitions while the handler runs: none of them is told there, and one for all of them here. */
static void door_unref_during_the_handler(void) {
    prepare_notices();
    int door = noting_door("a");
    atomic_store(&handlers_wait, 1);
    close_duplicate(door);
    CHECK_EQUAL(receive_byte(notices[0]), 'a');
    for (int i = 0; i < 5; i++) {
        close_duplicate(door);
    }
    attributes_of(door); /* hears what has been closed */
    atomic_store(&handlers_wait, 0);
    send_byte(handler_leave[1], 'l');
    CHECK_EQUAL(receive_byte(notices[0]), 'a');
    CHECK(!byte_within(notices[0], 100));
}

/* Of the doors that wait behind a slow handler, the last one comes first. */
static void door_unref_order(void) {
    prepare_notices();
    int slow = noting_door("x"), doors[3] = {noting_door("a"), noting_door("b"), noting_door("c")};
    atomic_store(&handlers_wait, 1);
    close_duplicate(slow);
    CHECK_EQUAL(receive_byte(notices[0]), 'x');
    for (int i = 0; i < 3; i++) {
        close_duplicate(doors[i]);
        attributes_of(doors[i]);
    }
    atomic_store(&handlers_wait, 0);
    send_byte(handler_leave[1], 'l');
    CHECK_EQUAL(receive_byte(notices[0]), 'c');
    CHECK_EQUAL(receive_byte(notices[0]), 'b');
    CHECK_EQUAL(receive_byte(notices[0]), 'a');
}

/* A name is a reference like any other; what opened it is not. */
static void door_unref_of_an_attached_door(void) {
    char *path = temporary_path("attached");
    prepare_notices();
    int door = noting_door("a"), other = noting_door("b");
    close(open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    CHECK_EQUAL(fattach(door, path), 0);
    int opened = door_open(path, O_RDONLY);
    CHECK(opened >= 0);
    close(door);
    close_duplicate(other); /* the later notice comes first */
    CHECK_EQUAL(receive_byte(notices[0]), 'b');
    CHECK(!byte_within(notices[0], 50));
    close(opened);
    CHECK_EQUAL(receive_byte(notices[0]), 'a');
}

static void dies_in_its_call(int socket, void *unused) {
    (void)unused;
    door_arg_t arguments = {0};
    door_call(receive_fd(socket), &arguments);
}

/* A client that is gone holds the door no more, although the procedure goes on. */
static void door_unref_of_an_aborted_call(void) {
    prepare_notices();
    int door = noting_door("a");
    struct child client = start_child(dies_in_its_call, NULL);
    int duplicate = door_dup(door);
    send_fd(client.socket, duplicate);
    close(duplicate);
    receive_byte(entered[0]);
    kill_child(client);
    CHECK_EQUAL(receive_byte(notices[0]), 'a');
    send_byte(leave[1], 'l');
}

static void door_unref_attribute_of_a_revoked_door(void) {
    int door = door_create(empty_procedure, NULL, DOOR_UNREF), other = door_dup(door);
    CHECK(attributes_of(other) & DOOR_UNREF);
    CHECK_EQUAL(door_revoke(door), 0);
    attributes_of(other);
    CHECK(!(attributes_of(other) & DOOR_UNREF));
}

/* A bound thread's question is about holds alone: two descriptors are one. */
static int query_door = -1;

static void query_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)descriptors, (void)count;
    door_info_t info;
    memset(&info, 0, sizeof info);
    door_info(DOOR_QUERY, &info);
    door_return((char *)&info.di_attributes, sizeof info.di_attributes, NULL, 0);
}

static void *asks_before_it_serves(void *answer) {
    door_info_t info;
    CHECK_EQUAL(door_bind(query_door), 0);
    CHECK_EQUAL(door_info(DOOR_QUERY, &info), 0);
    send_byte(*(int *)answer, info.di_attributes & DOOR_IS_UNREF ? 'u' : 'r');
    return server_thread(NULL);
}

static void door_query_counts_holds(void) {
    int ends[2];
    pthread_t thread;
    door_attr_t attributes = 0;
    CHECK_EQUAL(pipe(ends), 0);
    door_server_create(no_threads);
    query_door = door_create(query_procedure, NULL, DOOR_PRIVATE);
    CHECK(door_dup(query_door) >= 0);
    CHECK_EQUAL(pthread_create(&thread, NULL, asks_before_it_serves, &ends[1]), 0);
    CHECK_EQUAL(receive_byte(ends[0]), 'u');
    CHECK_EQUAL(call(query_door, NULL, 0, &attributes, sizeof attributes, NULL), 0);
    CHECK(!(attributes & DOOR_IS_UNREF)); /* inside a call */
}

/* A dead server's door: the last descriptor is the only reference. */
static void serves_until_killed(int socket, void *duplicates) {
    int door = door_create(empty_procedure, NULL, 0);
    send_fd(socket, duplicates == NULL ? door : door_dup(door));
    pause();
}

static void door_info_of_a_dead_server(void) {
    for (int way = 0; way < 2; way++) {
        struct child server = start_child(serves_until_killed, way == 0 ? NULL : &way);
        int door = receive_fd(server.socket);
        door_arg_t arguments = {0};
        CHECK_EQUAL(door_call(door, &arguments), 0);
        CHECK_EQUAL((attributes_of(door) & DOOR_IS_UNREF) != 0, way == 0);
        kill_child(server);
        CHECK_EQUAL(attributes_of(door), DOOR_REVOKED | DOOR_IS_UNREF);
        close(door);
    }
}

/* Without an idle thread nothing is looked at: the call waits, and a revoked door keeps its hands off the descriptors. */
enum bad { BAD_ENTRY, BAD_POINTER, TOO_MANY, TOO_LARGE, BAD_DATA, BADS };

struct bad_call {
    int door;
    atomic_int error;
    enum bad kind;
    int fd;
    atomic_bool begun;
};

static int make_bad_call(int door, enum bad kind, int fd) {
    static char large[4 << 20];
    static door_desc_t many[1025];
    door_desc_t entries[2] = {entry(fd, DOOR_DESCRIPTOR | DOOR_RELEASE), entry(9999, DOOR_DESCRIPTOR | DOOR_RELEASE)};
    door_arg_t arguments = {.desc_ptr = entries, .desc_num = 2};
    switch (kind) {
    case BAD_ENTRY:
        break;
    case BAD_POINTER:
        arguments.desc_ptr = (door_desc_t *)8;
        break;
    case TOO_MANY:
        for (int i = 0; i < 1025; i++) {
            many[i] = entries[0];
        }
        arguments.desc_ptr = many;
        arguments.desc_num = 1025;
        break;
    case TOO_LARGE:
        arguments.data_ptr = large;
        arguments.data_size = sizeof large;
        break;
    default:
        arguments.data_ptr = (char *)8;
        arguments.data_size = 100;
    }
    return door_call(door, &arguments) < 0 ? errno : 0;
}

static void *bad_caller(void *argument) {
    struct bad_call *bad = argument;
    atomic_store(&bad->begun, true);
    bad->error = make_bad_call(bad->door, bad->kind, bad->fd);
    return NULL;
}

static void door_bad_arguments_wait_for_a_thread(void) {
    struct caller busy = {0};
    struct bad_call calls[BADS];
    pthread_t threads[BADS];
    make_pipes();
    door_server_create(one_thread);
    int door = door_create(blocking_procedure, NULL, 0), other = door_dup(door);
    start_caller(&busy, door);
    receive_byte(entered[0]);
    for (int i = 0; i < BADS; i++) {
        calls[i] = (struct bad_call){.door = other, .kind = (enum bad)i, .fd = open("/dev/null", O_RDONLY), .error = -1};
        CHECK_EQUAL(pthread_create(&threads[i], NULL, bad_caller, &calls[i]), 0);
    }
    settle();
    for (int i = 0; i < BADS; i++) {
        CHECK_EQUAL(calls[i].error, -1);
    }
    CHECK_EQUAL(door_revoke(door), 0);
    for (int i = 0; i < BADS; i++) {
        CHECK_EQUAL(pthread_join(threads[i], NULL), 0);
        CHECK_EQUAL(calls[i].error, EBADF);
        CHECK(fcntl(calls[i].fd, F_GETFD) >= 0);
    }
    send_byte(leave[1], 'l');
    CHECK_EQUAL(caller_error(&busy), 0);
}

/* With a thread: what the stack cannot hold is told first, and costs no descriptor. */
static void door_order_of_the_checks(void) {
    static const int expected[BADS] = {EINVAL, EFAULT, E2BIG, E2BIG, EFAULT};
    int door = door_create(empty_procedure, NULL, 0);
    for (int i = 0; i < BADS; i++) {
        int fd = open("/dev/null", O_RDONLY);
        CHECK_EQUAL(make_bad_call(door, (enum bad)i, fd), expected[i]);
        CHECK_EQUAL(fcntl(fd, F_GETFD) >= 0, expected[i] != EINVAL);
        close(fd);
    }
    for (int i = 0; i < 3; i++) { /* too large, and something else is wrong: E2BIG, and the descriptor is kept */
        int fd = open("/dev/null", O_RDONLY);
        static char large[4 << 20];
        door_desc_t entries[2] = {entry(fd, DOOR_DESCRIPTOR | DOOR_RELEASE), entry(9999, DOOR_DESCRIPTOR | DOOR_RELEASE)};
        door_arg_t arguments = {.data_ptr = i == 0 ? (char *)8 : large,
                                .data_size = sizeof large,
                                .desc_ptr = i == 1 ? (door_desc_t *)8 : entries,
                                .desc_num = 2};
        CHECK_ERROR(door_call(door, &arguments), E2BIG);
        CHECK(fcntl(fd, F_GETFD) >= 0);
        close(fd);
    }
    door_arg_t arguments = {0};
    CHECK_EQUAL(door_call(door, &arguments), 0);
}

/* door_xcreate. */
static int created;

static int never_create(door_info_t *info, void *(*start)(void *), void *argument, void *cookie) {
    (void)info, (void)start, (void)argument, (void)cookie;
    created++;
    return -1;
}

static void door_xcreate_of_too_many(void) {
    CHECK_ERROR(door_xcreate(empty_procedure, NULL, 0, never_create, NULL, NULL, INT32_MAX), E2BIG);
    CHECK_EQUAL(created, 0);
    CHECK_ERROR(door_xcreate(empty_procedure, NULL, 0, never_create, NULL, NULL, 1000), EPIPE);
    CHECK_EQUAL(created, 1);
}

static atomic_int set_up_slowly, set_up_done;

static void slow_set_up(void *cookie) {
    (void)cookie;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    if (atomic_load(&set_up_slowly)) {
        settle();
        atomic_store(&set_up_done, 1);
    }
}

static int create_thread(door_info_t *info, void *(*start)(void *), void *argument, void *cookie) {
    pthread_t thread;
    (void)cookie;
    if (info->di_attributes & DOOR_DEPLETION_CB) {
        CHECK(!(info->di_attributes & DOOR_IS_UNREF));
        if (!atomic_load(&set_up_slowly)) {
            return 0;
        }
    }
    CHECK_EQUAL(pthread_create(&thread, NULL, start, argument), 0);
    pthread_detach(thread);
    return 1;
}

static void tells_whether_set_up(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)descriptors, (void)count;
    int done = atomic_load(&set_up_done);
    door_return((char *)&done, sizeof done, NULL, 0);
}

/* The procedure starts when the thread that replaces its own is ready. */
static void door_depletion_waits_for_set_up(void) {
    int done = -1;
    int door = door_xcreate(tells_whether_set_up, NULL, 0, create_thread, slow_set_up, NULL, 1);
    CHECK(door >= 0);
    atomic_store(&set_up_slowly, 1);
    CHECK_EQUAL(call(door, NULL, 0, &done, sizeof done, NULL), 0);
    CHECK_EQUAL(done, 1);
}

/* fork by another thread of the client disturbs neither a call in progress nor one that waits for a thread. */
static void exits(int socket, void *unused) {
    (void)socket, (void)unused;
}

static void door_fork_by_a_sibling(void) {
    struct caller first = {0}, second = {0};
    make_pipes();
    door_server_create(one_thread);
    int door = door_create(blocking_procedure, NULL, 0);
    start_caller(&first, door);
    receive_byte(entered[0]);
    start_caller(&second, door);
    until_it_waits(&second);
    for (int i = 0; i < 3; i++) {
        finish_child(start_child(exits, NULL));
    }
    send_byte(leave[1], 'l');
    receive_byte(entered[0]);
    send_byte(leave[1], 'l');
    CHECK_EQUAL(caller_error(&first), 0);
    CHECK_EQUAL(caller_error(&second), 0);
}

/* A child's only thread, if it is the copy of one that was bound: it serves nobody until it has unbound itself. */
static void is_no_longer_bound(int socket, void *unused) {
    (void)socket, (void)unused;
    for (int i = 0; i < 2; i++) {
        CHECK_ERROR(door_return(NULL, 0, NULL, 0), EINVAL);
    }
    CHECK_EQUAL(door_unbind(), 0);
    CHECK_ERROR(door_unbind(), EBADF);
}

static void is_bound_anew(int socket, void *unused) {
    (void)socket, (void)unused;
    int door = door_create(empty_procedure, NULL, DOOR_PRIVATE);
    CHECK_EQUAL(door_bind(door), 0); /* takes the place of what the parent's thread was bound to */
    CHECK_EQUAL(door_unbind(), 0);
    CHECK_ERROR(door_unbind(), EBADF);
}

static void door_fork_by_a_bound_thread(void) {
    int door = door_create(empty_procedure, NULL, DOOR_PRIVATE);
    CHECK_EQUAL(door_bind(door), 0);
    finish_child(start_child(is_no_longer_bound, NULL));
    finish_child(start_child(is_bound_anew, NULL));
    CHECK_EQUAL(door_unbind(), 0); /* what the children did is nothing to their parent */
    CHECK_ERROR(door_unbind(), EBADF);
    finish_child(start_child(exits, NULL));
    CHECK_ERROR(door_unbind(), EBADF);
}

/* Threads that are parked for a door that was revoked, or that nobody holds any more, do not stay. */
static int threads_before;

static bool threads_are_gone(void *unused) {
    (void)unused;
    return threads() <= threads_before;
}

static int create_always(door_info_t *info, void *(*start)(void *), void *argument, void *cookie) {
    (void)info, (void)cookie;
    pthread_t thread;
    CHECK_EQUAL(pthread_create(&thread, NULL, start, argument), 0);
    pthread_detach(thread);
    return 1;
}

static void door_threads_of_a_door_that_is_gone(void) {
    CHECK(door_create(empty_procedure, NULL, 0) >= 0); /* makes the library's own threads */
    settle();
    threads_before = threads();
    int descriptors = open_descriptors();
    for (int way = 0; way < 3; way++) {
        int door = door_xcreate(empty_procedure, NULL, DOOR_NO_DEPLETION_CB, create_always, NULL, NULL, 8);
        door_arg_t arguments = {0};
        CHECK(threads() >= threads_before + 8 && threads() <= threads_before + 8 + CLOSING_RESTING);
        CHECK_EQUAL(door_call(door, &arguments), 0);
        if (way == 0) {
            CHECK_EQUAL(door_revoke(door), 0);
        } else {
            int other = way == 1 ? door_dup(door) : -1;
            CHECK_EQUAL(close(door), 0);
            close(other);
        }
        CHECK(eventually(threads_are_gone, NULL));
    }
    CHECK(open_descriptors() <= descriptors + 4); /* the callers' lines to the doors go with their next call */
}

/* The public pool shrinks when a flood of calls is over. */
static void door_threads_after_a_flood(void) {
    enum { CALLERS = 30 };
    static struct caller callers[CALLERS];
    make_pipes();
    int door = door_create(blocking_procedure, NULL, 0);
    settle();
    threads_before = threads() + 1;
    for (int i = 0; i < CALLERS; i++) {
        start_caller(&callers[i], door);
        receive_byte(entered[0]);
    }
    int most = threads() - CALLERS;
    for (int i = 0; i < CALLERS; i++) {
        send_byte(leave[1], 'l');
    }
    for (int i = 0; i < CALLERS; i++) {
        CHECK_EQUAL(caller_error(&callers[i]), 0);
    }
    CHECK(most >= CALLERS);
    CHECK(eventually(threads_are_gone, NULL));
    printf("      threads: %d before, %d during, %d after\n", threads_before - 1, most, threads());
    struct caller again = {0};
    start_caller(&again, door);
    receive_byte(entered[0]);
    send_byte(leave[1], 'l');
    CHECK_EQUAL(caller_error(&again), 0);
}

/* One limit of a request, whatever stack the system has found for the thread. */
static size_t declared;

static void *on_a_large_stack(void *unused) {
    door_thread(declared, 0);
    return server_thread(unused);
}

static void door_limit_of_a_declared_stack(void) {
    static const size_t sizes[][2] = {{2 << 20, 2031040}, {1 << 20, 1015232}, {256 << 10, 253376}};
    static char data[2 << 20];
    door_server_create(no_threads);
    int door = door_create(empty_procedure, NULL, 0);
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        pthread_t thread;
        pthread_attr_t attributes;
        declared = sizes[i][0];
        pthread_attr_init(&attributes);
        pthread_attr_setstacksize(&attributes, 16 << 20);
        CHECK_EQUAL(pthread_create(&thread, &attributes, on_a_large_stack, NULL), 0);
        CHECK_ERROR(call(door, data, sizes[i][1] + 1, NULL, 0, NULL), E2BIG);
        CHECK_EQUAL(call(door, data, sizes[i][1], NULL, 0, NULL), 0);
        pthread_cancel(thread); /* each thread in its turn; this one is parked */
        pthread_join(thread, NULL);
    }
}

static const struct test tests[] = {
    TEST(door_unref_during_a_call),
    TEST(door_unref_during_the_handler),
    TEST(door_unref_order),
    TEST(door_unref_of_an_attached_door),
    TEST(door_unref_of_an_aborted_call),
    TEST(door_unref_attribute_of_a_revoked_door),
    TEST(door_query_counts_holds),
    TEST(door_info_of_a_dead_server),
    TEST(door_bad_arguments_wait_for_a_thread),
    TEST(door_order_of_the_checks),
    TEST(door_xcreate_of_too_many),
    TEST(door_depletion_waits_for_set_up),
    TEST(door_fork_by_a_sibling),
    TEST(door_fork_by_a_bound_thread),
    TEST(door_threads_of_a_door_that_is_gone),
    TEST(door_threads_after_a_flood),
    TEST(door_limit_of_a_declared_stack),
};
TEST_MAIN(tests)
