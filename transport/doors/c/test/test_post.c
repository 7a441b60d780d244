/* Posted calls: a call in two halves, which waits for nobody. */
#include "blocking.h"

enum { PEERS = 40, LARGE = 3 << 20 };

/* Gives back what it got. */
static void echo_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)descriptors, (void)count;
    char *copy = NULL;
    if (size > 0) {
        copy = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(copy != MAP_FAILED);
        memcpy(copy, data, size);
    }
    door_return(copy, size, NULL, 0);
}

static void cookie_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)data, (void)size, (void)descriptors, (void)count;
    door_return((char *)cookie, sizeof(int), NULL, 0);
}

static void giving_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)descriptors, (void)count;
    door_desc_t given[3] = {{.d_attributes = DOOR_DESCRIPTOR}, {.d_attributes = DOOR_DESCRIPTOR}, {.d_attributes = DOOR_DESCRIPTOR}};
    door_return("g", 1, given, 3);
}

static const door_call_limits_t NO_TIME = {0, 0}, SECONDS = {20000000, 0};

/* The reply of a posted call, waited for without a thread that stands still: its size, or minus the errno. */
static long reply_of(door_posted_t *posted, char *buffer, size_t room, const door_call_limits_t *limits) {
    door_arg_t reply = {.rbuf = buffer, .rsize = room};
    while (door_collect(posted, &reply, limits) < 0) {
        if (errno != EAGAIN) {
            return -errno;
        }
        int is_there;
        struct pollfd entry = {.fd = door_listen(posted, &is_there), .events = POLLIN};
        CHECK(is_there || poll(&entry, 1, 20000) == 1);
    }
    CHECK_EQUAL(reply.desc_num, 0);
    if (reply.rbuf != buffer) {
        memcpy(buffer, reply.rbuf, reply.data_size < room ? reply.data_size : room);
        munmap(reply.rbuf, reply.rsize);
    }
    return (long)reply.data_size;
}

static void door_posted_call(void) {
    int door = door_create(echo_procedure, NULL, 0);
    char data[64] = "hello", answer[64];
    for (int i = 0; i < 1000; i++) {
        door_posted_t posted;
        const door_call_limits_t *limits = i % 2 ? &NO_TIME : &SECONDS;
        snprintf(data, sizeof data, "number %d", i);
        CHECK_EQUAL(door_post(door, data, sizeof data, sizeof answer, &posted), 0);
        memset(data, 'x', sizeof data); /* the buffer is free */
        CHECK_EQUAL(reply_of(&posted, answer, sizeof answer, limits), sizeof answer);
        snprintf(data, sizeof data, "number %d", i);
        CHECK_EQUAL(strcmp(answer, data), 0);
    }
}

static void door_posted_call_of_any_size(void) {
    static const size_t sizes[] = {0, 1, 4095, 4096, 4097, 65536, 1 << 20};
    int door = door_create(echo_procedure, NULL, 0);
    char *data = malloc(LARGE), *answer = malloc(LARGE);
    CHECK(data != NULL && answer != NULL);
    for (int round = 0; round < 3; round++) {
        for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            door_posted_t posted;
            memset(data, 'a' + (int)i, sizes[i]);
            CHECK_EQUAL(door_post(door, data, sizes[i], LARGE, &posted), 0);
            memset(data, 'x', sizes[i]);
            CHECK_EQUAL(reply_of(&posted, answer, LARGE, i % 2 ? &NO_TIME : &SECONDS), sizes[i]);
            CHECK(sizes[i] == 0 || (answer[0] == 'a' + (int)i && memcmp(answer, answer + 1, sizes[i] - 1) == 0));
        }
    }
    door_posted_t posted; /* larger than a thread's stack takes */
    CHECK_EQUAL(door_post(door, data, LARGE, LARGE, &posted), 0);
    CHECK_EQUAL(reply_of(&posted, answer, LARGE, &NO_TIME), -E2BIG);
    free(data);
    free(answer);
}

/* More peers than a thread keeps lines to: all calls are under way at once, and again. */
static void door_posts_to_more_peers_than_lines(void) {
    int doors[PEERS], cookies[PEERS], before = 0, answer;
    door_posted_t posted[PEERS];
    for (int i = 0; i < PEERS; i++) {
        cookies[i] = 1000 + i;
        doors[i] = door_create(cookie_procedure, &cookies[i], 0);
        CHECK(doors[i] >= 0);
    }
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < PEERS; i++) {
            CHECK_EQUAL(door_post(doors[i], "x", 1, sizeof answer, &posted[i]), 0);
        }
        for (int i = PEERS - 1; i >= 0; i--) {
            CHECK_EQUAL(reply_of(&posted[i], (char *)&answer, sizeof answer, &NO_TIME), sizeof answer);
            CHECK_EQUAL(answer, 1000 + i);
        }
        for (int i = 0; i < PEERS; i++) { /* one after the other: the oldest line goes each time */
            CHECK_EQUAL(door_post(doors[i], "x", 1, sizeof answer, &posted[i]), 0);
            CHECK_EQUAL(reply_of(&posted[i], (char *)&answer, sizeof answer, &SECONDS), sizeof answer);
            CHECK_EQUAL(answer, 1000 + i);
        }
        if (round == 0) {
            before = open_descriptors();
        }
    }
    CHECK(open_descriptors() <= before + 8); /* what is about to be let go of */
}

static void *posts_many(void *argument) {
    const int *doors = argument;
    for (int i = 0; i < 400; i++) {
        door_posted_t posted;
        int answer = 0, at = i * 7 % PEERS;
        CHECK_EQUAL(door_post(doors[at], "x", 1, sizeof answer, &posted), 0);
        if (i % 5 == 0) {
            door_withdraw(&posted);
        } else {
            CHECK_EQUAL(reply_of(&posted, (char *)&answer, sizeof answer, i % 3 ? &NO_TIME : &SECONDS), sizeof answer);
            CHECK_EQUAL(answer, 1000 + at);
        }
    }
    return NULL;
}

static void door_posts_of_many_threads(void) {
    int doors[PEERS], cookies[PEERS];
    pthread_t others[4];
    for (int i = 0; i < PEERS; i++) {
        cookies[i] = 1000 + i;
        doors[i] = door_create(cookie_procedure, &cookies[i], 0);
    }
    for (int i = 0; i < 4; i++) {
        CHECK_EQUAL(pthread_create(&others[i], NULL, posts_many, doors), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(others[i], NULL);
    }
}

/* Nobody waits for a procedure that takes its time, and a call that no thread has taken can be taken back. */
static void door_post_beside_a_slow_procedure(void) {
    door_posted_t first, second;
    char answer[8];
    make_pipes();
    door_server_create(one_thread);
    int door = door_create(blocking_procedure, NULL, DOOR_NO_CANCEL);
    CHECK_EQUAL(door_post(door, "1", 1, sizeof answer, &first), 0);
    receive_byte(entered[0]);
    CHECK_EQUAL(door_post(door, "2", 1, sizeof answer, &second), 0);
    door_arg_t reply = {.rbuf = answer, .rsize = sizeof answer};
    CHECK_ERROR(door_collect(&first, &reply, &NO_TIME), EAGAIN);
    CHECK_ERROR(door_collect(&second, &reply, &(door_call_limits_t){1000, 0}), EAGAIN);
    door_withdraw(&second); /* it never runs */
    send_byte(leave[1], 'l');
    CHECK_EQUAL(reply_of(&first, answer, sizeof answer, &NO_TIME), 2);
    CHECK_EQUAL(receive_byte(ran[0]), 0);
    CHECK(!byte_within(entered[0], 50));
    CHECK_EQUAL(door_post(door, "3", 1, sizeof answer, &first), 0);
    receive_byte(entered[0]);
    door_withdraw(&first); /* it runs, and goes on without its client */
    send_byte(leave[1], 'l');
    CHECK_EQUAL(receive_byte(ran[0]), EINVAL);
}

static void door_post_to_what_is_no_more(void) {
    door_posted_t posted;
    char answer[8];
    make_pipes();
    CHECK_ERROR(door_post(entered[0], "x", 1, sizeof answer, &posted), EBADF);
    CHECK_ERROR(door_post(-1, "x", 1, sizeof answer, &posted), EBADF);
    door_server_create(one_thread);
    int door = door_create(blocking_procedure, NULL, 0);
    door_posted_t waiting;
    CHECK_EQUAL(door_post(door, "x", 1, sizeof answer, &posted), 0);
    receive_byte(entered[0]);
    CHECK_EQUAL(door_post(door, "x", 1, sizeof answer, &waiting), 0);
    int copy = door_dup(door);
    CHECK_EQUAL(door_revoke(door), 0);
    CHECK_EQUAL(reply_of(&waiting, answer, sizeof answer, &NO_TIME), -EBADF);
    send_byte(leave[1], 'l');
    CHECK_EQUAL(reply_of(&posted, answer, sizeof answer, &NO_TIME), 2);
    CHECK_ERROR(door_post(copy, "x", 1, sizeof answer, &posted), EBADF);
}

static void blocking_server(int socket, void *unused) {
    (void)unused;
    send_fd(socket, door_dup(door_create(blocking_procedure, NULL, 0)));
    receive_byte(socket);
}

static void door_post_to_a_server_that_dies(void) {
    door_posted_t posted;
    char answer[8];
    make_pipes();
    struct child server = start_child(blocking_server, NULL);
    int door = receive_fd(server.socket), before = open_descriptors();
    CHECK_EQUAL(door_post(door, "x", 1, sizeof answer, &posted), 0);
    receive_byte(entered[0]);
    kill_child(server);
    CHECK_EQUAL(reply_of(&posted, answer, sizeof answer, &NO_TIME), -EINTR);
    CHECK_ERROR(door_post(door, "x", 1, sizeof answer, &posted), EBADF);
    CHECK(open_descriptors() < before); /* the socket of the child, and no line is left */
}

/* A server that has been stopped takes nothing in: what is posted waits, and can be withdrawn; nobody stands still. */
static void door_post_to_a_stopped_server(void) {
    door_posted_t posted[8];
    char answer[8];
    int status;
    make_pipes();
    struct child server = start_child(blocking_server, NULL);
    int door = receive_fd(server.socket);
    CHECK_EQUAL(kill(server.pid, SIGSTOP), 0);
    CHECK_EQUAL(waitpid(server.pid, &status, WUNTRACED), server.pid);
    unsigned made = 0;
    for (int i = 0; i < 8; i++) { /* each needs a line of its own */
        if (door_post(door, "x", 1, sizeof answer, &posted[made]) == 0) {
            made++;
        } else {
            CHECK_EQUAL(errno, EAGAIN);
        }
    }
    CHECK(made > 0);
    door_arg_t reply = {.rbuf = answer, .rsize = sizeof answer};
    for (unsigned i = 0; i < made; i++) {
        CHECK_ERROR(door_collect(&posted[i], &reply, &NO_TIME), EAGAIN);
        door_withdraw(&posted[i]);
    }
    CHECK_EQUAL(kill(server.pid, SIGCONT), 0);
    CHECK_EQUAL(door_post(door, "y", 1, sizeof answer, &posted[0]), 0);
    receive_byte(entered[0]); /* none of those that were withdrawn */
    send_byte(leave[1], 'l');
    CHECK_EQUAL(reply_of(&posted[0], answer, sizeof answer, &SECONDS), 2);
    CHECK(!byte_within(entered[0], 50));
    kill_child(server);
}

static void door_posted_replies_have_a_limit(void) {
    int door = door_create(echo_procedure, NULL, 0), giving = door_create(giving_procedure, NULL, 0);
    char *data = calloc(1, 1 << 20), answer[64];
    door_posted_t posted;
    const door_call_limits_t small = {0, sizeof answer};
    CHECK(data != NULL);
    CHECK_EQUAL(door_post(door, data, 1 << 20, sizeof answer, &posted), 0);
    CHECK_EQUAL(reply_of(&posted, answer, sizeof answer, &small), -EOVERFLOW);
    CHECK_EQUAL(door_post(door, data, sizeof answer + 1, sizeof answer, &posted), 0);
    CHECK_EQUAL(reply_of(&posted, answer, sizeof answer, &small), -EOVERFLOW);
    CHECK_EQUAL(door_post(door, data, sizeof answer, sizeof answer, &posted), 0);
    CHECK_EQUAL(reply_of(&posted, answer, sizeof answer, &small), sizeof answer);
    free(data);
    int before = open_descriptors();
    for (int i = 0; i < 20; i++) { /* with descriptors that nobody asked for */
        door_arg_t reply = {.rbuf = answer, .rsize = sizeof answer};
        CHECK_EQUAL(door_post(giving, "x", 1, sizeof answer, &posted), 0);
        if (i % 2) {
            door_withdraw(&posted);
            continue;
        }
        int outcome;
        while ((outcome = door_collect(&posted, &reply, &SECONDS)) < 0 && errno == EAGAIN) {
        }
        CHECK_EQUAL(outcome, 0);
        CHECK_EQUAL(reply.desc_num, 3);
        for (uint_t j = 0; j < reply.desc_num; j++) {
            close(reply.desc_ptr[j].d_data.d_desc.d_descriptor);
        }
        if (reply.rbuf != answer) {
            munmap(reply.rbuf, reply.rsize);
        }
    }
    CHECK(open_descriptors() <= before + 2); /* the line */
}

/* What is kept for calls of one door goes, and of no other; a call that is under way goes on; the next one makes it anew. */
static void door_posts_after_hanging_up(void) {
    int doors[10], cookies[10], answer = 0;
    door_posted_t posted;
    for (int i = 0; i < 10; i++) {
        cookies[i] = 1000 + i;
        doors[i] = door_create(cookie_procedure, &cookies[i], 0);
    }
    int before = 0;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 10; i++) {
            CHECK_EQUAL(door_post(doors[i], "x", 1, sizeof answer, &posted), 0);
            CHECK_EQUAL(reply_of(&posted, (char *)&answer, sizeof answer, &NO_TIME), sizeof answer);
            CHECK_EQUAL(answer, 1000 + i);
        }
        before = open_descriptors();
        for (int i = 0; i < 5; i++) {
            errno = E2BIG;
            door_hang_up(doors[i]);
            door_hang_up(doors[i]);
            CHECK_EQUAL(errno, E2BIG);
        }
        CHECK(open_descriptors() <= before - 5); /* at this end; the server hears of it in a moment */
    }
    CHECK_EQUAL(door_post(doors[9], "x", 1, sizeof answer, &posted), 0);
    door_hang_up(doors[9]);
    CHECK_EQUAL(reply_of(&posted, (char *)&answer, sizeof answer, &SECONDS), sizeof answer);
    CHECK_EQUAL(answer, 1009);
    door_hang_up(-1);
    door_hang_up(0);
}

static const struct test tests[] = {
    TEST(door_posted_call),
    TEST(door_posted_call_of_any_size),
    TEST(door_posts_to_more_peers_than_lines),
    TEST(door_posts_of_many_threads),
    TEST(door_post_beside_a_slow_procedure),
    TEST(door_post_to_what_is_no_more),
    TEST(door_post_to_a_server_that_dies),
    TEST(door_post_to_a_stopped_server),
    TEST(door_posted_replies_have_a_limit),
    TEST(door_posts_after_hanging_up),
};
TEST_MAIN(tests)
