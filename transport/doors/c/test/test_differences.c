/*
 * Where the library differs from the kernel of illumos, on purpose or because Linux allows nothing else: each case as
 * docs/illumos.md has it, so that what the page says is what happens.
 */
#include "blocking.h"

#include <stdint.h>
#include <sys/resource.h>

static void empty_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)descriptors, (void)count;
    door_return(NULL, 0, NULL, 0);
}

/* Replies with as much data, and as many descriptors, as it is asked for. */
struct wanted {
    size_t size;
    uint_t count;
};

static void wanted_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)size, (void)descriptors, (void)count;
    const struct wanted *wanted = (const struct wanted *)data;
    static char reply[100000];
    door_desc_t entries[4];
    memset(entries, 0, sizeof entries);
    for (uint_t i = 0; i < wanted->count; i++) {
        entries[i].d_attributes = DOOR_DESCRIPTOR;
        entries[i].d_data.d_desc.d_descriptor = 1;
    }
    door_return(reply, wanted->size, entries, wanted->count);
}

static door_arg_t asking(struct wanted *wanted) {
    return (door_arg_t){.data_ptr = (char *)wanted, .data_size = sizeof *wanted};
}

static void serves_at(int socket, void *path) {
    int door = door_create(empty_procedure, NULL, 0);
    CHECK_EQUAL(door_setparam(door, DOOR_PARAM_DATA_MAX, 100), 0);
    close(open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    CHECK_EQUAL(fattach(door, path), 0);
    send_byte(socket, 'r');
    pause();
}

/* There attributes, id and parameters are as they were: here what the server knew has gone with it. */
static void door_opened_after_its_server(void) {
    char *path = temporary_path("late");
    struct child server = start_child(serves_at, path);
    receive_byte(server.socket);
    kill_child(server);
    int door = door_open(path, O_RDONLY);
    door_info_t info;
    size_t most = 0;
    CHECK(door >= 0);
    CHECK_EQUAL(door_info(door, &info), 0);
    CHECK_EQUAL(info.di_attributes, DOOR_REVOKED);
    CHECK_EQUAL(info.di_uniquifier, 0);
    CHECK_EQUAL(info.di_proc, 0);
    CHECK_EQUAL(info.di_data, 0);
    CHECK_EQUAL(door_getparam(door, DOOR_PARAM_DATA_MAX, &most), 0);
    CHECK(most == SIZE_MAX);
}

static void calls_without_anything(int socket, void *resource) {
    int door = receive_fd(socket);
    const int *which = resource;
    struct rlimit before, limit = {0, 0};
    door_arg_t arguments = {0};
    getrlimit((__rlimit_resource_t)*which, &before);
    limit.rlim_max = before.rlim_max;
    CHECK_EQUAL(setrlimit((__rlimit_resource_t)*which, &limit), 0);
    CHECK_ERROR(door_call(door, &arguments), *which == RLIMIT_NOFILE ? EMFILE : EAGAIN);
    CHECK_EQUAL(setrlimit((__rlimit_resource_t)*which, &before), 0);
    CHECK_EQUAL(door_call(door, &arguments), 0);
}

/* A thread's first call makes a connection. There it needs nothing of the client. */
static void door_first_call_of_a_poor_client(void) {
    int kinds[2] = {RLIMIT_NOFILE, RLIMIT_AS}, door = door_create(empty_procedure, NULL, 0);
    for (int i = 0; i < (cancellation_is_known() && mappings_are_ours() ? 2 : 1) && system_is_real(); i++) {
        struct child client = start_child(calls_without_anything, &kinds[i]);
        send_fd(client.socket, door);
        finish_child(client);
    }
}

/* There door_return fails with E2BIG, and the client goes on waiting, as soon as the reply has more than 16 KiB. */
static void door_bad_buffer_for_a_long_reply(void) {
    int door = door_create(wanted_procedure, NULL, 0);
    char *page = mmap(NULL, 1 << 16, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t size = 16384; size <= 20000; size += 3616) {
        for (int i = 0; i < 2; i++) {
            struct wanted wanted = {size, 0};
            door_arg_t arguments = asking(&wanted);
            arguments.rbuf = i == 0 ? NULL : page;
            arguments.rsize = 40000;
            CHECK_ERROR(door_call(door, &arguments), EFAULT);
            arguments = asking(&wanted);
            CHECK_EQUAL(door_call(door, &arguments), 0);
            CHECK_EQUAL(arguments.data_size, size);
            munmap(arguments.rbuf, arguments.rsize);
        }
    }
}

/* Where data rounded up, and descriptors, go over the end of a page that data and descriptors do not: EFAULT there. */
static void door_reply_at_the_end_of_a_page(void) {
    static const struct wanted wanted[] = {{4071, 1}, {4072, 1}, {4040, 2}, {4048, 2}, {8167, 1}};
    int door = door_create(wanted_procedure, NULL, 0);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        struct wanted one = wanted[i];
        door_arg_t arguments = asking(&one);
        CHECK_EQUAL(door_call(door, &arguments), 0);
        CHECK_EQUAL(arguments.data_size, one.size);
        CHECK_EQUAL(arguments.desc_num, one.count);
        CHECK((char *)(arguments.desc_ptr + one.count) <= arguments.rbuf + arguments.rsize);
        for (uint_t j = 0; j < one.count; j++) {
            CHECK_EQUAL(close(arguments.desc_ptr[j].d_data.d_desc.d_descriptor), 0);
        }
        munmap(arguments.rbuf, arguments.rsize);
    }
}

/* There the next call of the thread, too, is taken for one that wants no results. */
static void door_call_after_one_without_arguments(void) {
    int door = door_create(wanted_procedure, NULL, 0);
    CHECK_ERROR(door_call(-1, NULL), EBADF);
    struct wanted wanted = {10, 0};
    char room[16];
    door_arg_t arguments = asking(&wanted);
    arguments.rbuf = room;
    arguments.rsize = sizeof room;
    CHECK_EQUAL(door_call(door, &arguments), 0);
    CHECK_EQUAL(arguments.data_size, 10);
}

static int create_thread(door_info_t *info, void *(*start)(void *), void *argument, void *cookie) {
    pthread_t thread;
    (void)info, (void)cookie;
    CHECK_EQUAL(pthread_create(&thread, NULL, start, argument), 0);
    pthread_detach(thread);
    return 1;
}

static int crowded = -1;

static void *binds_itself(void *unused) {
    CHECK_EQUAL(door_bind(crowded), 0);
    return server_thread(unused);
}

/* There the process is ended when a thread that was bound by door_bind() takes the last idle place of a door_xcreate() door. */
static void door_foreign_thread_at_depletion(void) {
    struct caller callers[4] = {0};
    pthread_t thread;
    make_pipes();
    crowded = door_xcreate(blocking_procedure, NULL, 0, create_thread, NULL, NULL, 1);
    CHECK(crowded >= 0);
    CHECK_EQUAL(pthread_create(&thread, NULL, binds_itself, NULL), 0);
    for (int i = 0; i < 4; i++) { /* each finds a thread, whichever of them is the last */
        start_caller(&callers[i], crowded);
        receive_byte(entered[0]);
    }
    for (int i = 0; i < 4; i++) {
        send_byte(leave[1], 'l');
    }
    for (int i = 0; i < 4; i++) {
        CHECK_EQUAL(caller_error(&callers[i]), 0);
    }
}

/* A waiting call stays in its client, so the server does not know of the reference that it is. */
static void door_info_while_a_call_waits(void) {
    struct caller caller = {0};
    door_info_t info;
    handle(SIGUSR1, 0);
    door_server_create(no_threads);
    int door = door_create(empty_procedure, NULL, 0);
    start_caller(&caller, door);
    until_it_waits(&caller);
    CHECK_EQUAL(door_info(door, &info), 0);
    CHECK(info.di_attributes & DOOR_IS_UNREF);
    CHECK_EQUAL(interrupted_error(&caller, SIGUSR1), EAGAIN);
}

/* There the descriptor learns that its name is gone, and can have it again. */
static void door_attached_where_it_was_opened(void) {
    char *path = temporary_path("again");
    int door = door_create(empty_procedure, NULL, 0);
    close(open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    CHECK_EQUAL(fattach(door, path), 0);
    int opened = door_open(path, O_RDONLY);
    CHECK_EQUAL(fdetach(path), 0);
    CHECK_ERROR(fattach(opened, path), EBUSY);
    CHECK_EQUAL(fattach(door, path), 0);
}

/* Returns what cannot be returned, and then the errno of that. */
static void bad_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)size, (void)descriptors, (void)count;
    int error;
    if (data[0] == 'd') {
        door_return((char *)8, 100000, NULL, 0);
    } else {
        door_return("abc", 3, (door_desc_t *)8, 2);
    }
    error = errno;
    door_return((char *)&error, sizeof error, NULL, 0);
}

static int error_of_the_server(int door, const char *what) {
    int error = 0;
    CHECK_EQUAL(call(door, what, 1, &error, sizeof error, NULL), 0);
    return error;
}

static void asks_with_a_full_table(int socket, void *unused) {
    (void)unused;
    int door = receive_fd(socket);
    CHECK_EQUAL(error_of_the_server(door, "e"), EFAULT);
    while (open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0) {
    }
    CHECK_EQUAL(error_of_the_server(door, "e"), EMFILE);
}

/* The client is asked for room before the descriptors are looked at, as there. */
static void door_return_to_a_full_client(void) {
    int door = door_create(bad_procedure, NULL, 0);
    struct child client = start_child(asks_with_a_full_table, NULL);
    send_fd(client.socket, door);
    finish_child(client);
}

static void asks_without_memory(int socket, void *unused) {
    (void)unused;
    int door = receive_fd(socket);
    struct rlimit before, limit = {0, 0};
    CHECK_EQUAL(error_of_the_server(door, "d"), EFAULT);
    getrlimit(RLIMIT_AS, &before);
    limit.rlim_max = before.rlim_max;
    CHECK_EQUAL(setrlimit(RLIMIT_AS, &limit), 0);
    int error = error_of_the_server(door, "d");
    CHECK_EQUAL(setrlimit(RLIMIT_AS, &before), 0);
    CHECK_EQUAL(error, EFAULT);
}

/* There the client is asked first whether it can map the reply, and is told EOVERFLOW. */
static void door_bad_reply_for_a_poor_client(void) {
    if (cancellation_is_known() && mappings_are_ours() && system_is_real()) {
        struct child client = start_child(asks_without_memory, NULL);
        send_fd(client.socket, door_create(bad_procedure, NULL, 0));
        finish_child(client);
    }
}

static void tells_number(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)count;
    int number = descriptors[0].d_data.d_desc.d_descriptor;
    close(number);
    door_return((char *)&number, sizeof number, NULL, 0);
}

/* In one process: there the number is free before the receiver's is chosen, which is the same then. */
static void door_released_number_in_the_same_process(void) {
    int door = door_create(tells_number, NULL, 0), file = open("/dev/null", O_RDONLY | O_CLOEXEC), number = -1;
    door_desc_t entry;
    memset(&entry, 0, sizeof entry);
    entry.d_attributes = DOOR_DESCRIPTOR | DOOR_RELEASE;
    entry.d_data.d_desc.d_descriptor = file;
    door_arg_t arguments = {.desc_ptr = &entry, .desc_num = 1, .rbuf = (char *)&number, .rsize = sizeof number};
    CHECK_EQUAL(door_call(door, &arguments), 0);
    CHECK(number >= 0 && number != file);
    CHECK(fcntl(file, F_GETFD) < 0);
}

static const struct test tests[] = {
    TEST(door_opened_after_its_server),
    TEST(door_first_call_of_a_poor_client),
    TEST(door_bad_buffer_for_a_long_reply),
    TEST(door_reply_at_the_end_of_a_page),
    TEST(door_call_after_one_without_arguments),
    TEST(door_foreign_thread_at_depletion),
    TEST(door_info_while_a_call_waits),
    TEST(door_attached_where_it_was_opened),
    TEST(door_return_to_a_full_client),
    TEST(door_bad_reply_for_a_poor_client),
    TEST(door_released_number_in_the_same_process),
};
TEST_MAIN(tests)
