/* Unreferenced invocations: when they come, how often, and what the procedure sees. */
#include "entries.h"

static int seen[2];

static void *expected_cookie;

static int release_probe = -1;

static void unref(void *cookie, char *data, size_t size, door_desc_t *entries, uint_t count) {
    if (data == DOOR_UNREF_DATA) {
        door_cred_t cred;
        ucred_t *uc = NULL;
        memset(&cred, 1, sizeof cred);
        char good = cookie == expected_cookie && size == 0 && entries == NULL && count == 0;
        good =
            good && door_cred(&cred) == 0 && cred.dc_pid == 0 && cred.dc_euid == geteuid() && cred.dc_egid == getegid();
        good = good && door_ucred(&uc) == 0 && ucred_getpid(uc) == 0 && ucred_getruid(uc) == getuid() &&
               ucred_getzoneid(uc) == getzoneid();
        ucred_free(uc);
        if (release_probe >= 0) {
            door_desc_t e = entry(release_probe, DOOR_DESCRIPTOR | DOOR_RELEASE);
            good = good && door_return(NULL, 0, &e, 1) == -1 && errno == E2BIG && is_open(release_probe);
        }
        send_byte(seen[1], good ? 'u' : 'b');
        door_return(NULL, 0, NULL, 0);
    }
    closing_procedure(NULL, data, size, entries, count);
}

static void expect_one(void) {
    CHECK_EQUAL(receive_byte(seen[0]), 'u');
    CHECK(!byte_within(seen[0], 60));
}

static void unref_facts(uint_t more) {
    CHECK_EQUAL(pipe2(seen, O_CLOEXEC), 0);
    expected_cookie = (void *)0x42;
    release_probe = null_file();
    int d = door_create(unref, expected_cookie, more);
    CHECK_EQUAL(door_setparam(d, DOOR_PARAM_DATA_MIN, 10), 0);
    CHECK_EQUAL(attributes_of(d), more | DOOR_LOCAL | DOOR_IS_UNREF);
    close(door_dup(d));
    expect_one();
    CHECK_EQUAL(attributes_of(d), (more & ~(uint_t)DOOR_UNREF) | DOOR_LOCAL | DOOR_IS_UNREF);
    int a = door_dup(d), b = door_dup(d);
    close(a);
    CHECK(!byte_within(seen[0], 60));
    close(b);
    if (more & DOOR_UNREF_MULTI) {
        expect_one();
    } else {
        CHECK(!byte_within(seen[0], 60));
    }
}

static void door_unref_once(void) {
    unref_facts(DOOR_UNREF);
}

static void door_unref_again_and_again(void) {
    unref_facts(DOOR_UNREF_MULTI | DOOR_REFUSE_DESC | DOOR_NO_CANCEL);
}

static atomic_int given;

static void gives(void *cookie, char *data, size_t size, door_desc_t *entries, uint_t count) {
    (void)cookie, (void)data, (void)entries, (void)count;
    door_desc_t e[3];
    for (size_t i = 0; i < size && i < 3; i++) {
        e[i] = entry(given, DOOR_DESCRIPTOR);
    }
    door_return(NULL, 0, e, (uint_t)size);
}

static void taker(int socket, void *unused) {
    (void)unused;
    int d = receive_fd(socket);
    for (;;) {
        char how = receive_byte(socket), r[256];
        if (how == 'q') {
            return;
        }
        door_arg_t args = {.data_ptr = "xxx", .data_size = (size_t)(how - '0'), .rbuf = r, .rsize = sizeof r};
        CHECK_EQUAL(door_call(d, &args), 0);
        CHECK_EQUAL(args.desc_num, how - '0');
        send_byte(socket, 't');
        for (uint_t i = 0; i < args.desc_num; i++) {
            CHECK(args.desc_ptr[i].d_attributes & DOOR_DESCRIPTOR);
            CHECK(!(args.desc_ptr[i].d_attributes & DOOR_LOCAL));
            CHECK_EQUAL(args.desc_ptr[i].d_data.d_desc.d_id, id_of(args.desc_ptr[i].d_data.d_desc.d_descriptor));
            receive_byte(socket);
            close(args.desc_ptr[i].d_data.d_desc.d_descriptor);
            send_byte(socket, 'c');
        }
    }
}

static void door_given_by_a_reply(void) {
    CHECK_EQUAL(pipe2(seen, O_CLOEXEC), 0);
    struct child child = start_child(taker, NULL);
    int g = door_create(gives, NULL, 0);
    given = door_create(unref, NULL, DOOR_UNREF_MULTI);
    send_fd(child.socket, g);
    for (int round = 1; round <= 3; round++) {
        send_byte(child.socket, (char)('0' + round));
        receive_byte(child.socket);
        CHECK(!(attributes_of(given) & DOOR_IS_UNREF));
        for (int i = 0; i < round; i++) {
            CHECK(!byte_within(seen[0], 60));
            send_byte(child.socket, 'c');
            receive_byte(child.socket);
        }
        expect_one();
        CHECK(attributes_of(given) & DOOR_IS_UNREF);
    }
    send_byte(child.socket, '2');
    receive_byte(child.socket);
    kill_child(child);
    expect_one();
}

static void door_given_by_a_request(void) { /* the door travels to a server, which closes it */
    CHECK_EQUAL(pipe2(seen, O_CLOEXEC), 0);
    int s = door_create(closing_procedure, NULL, 0), d = door_create(unref, NULL, DOOR_UNREF_MULTI);
    door_desc_t e = entry(d, DOOR_DESCRIPTOR);
    CHECK_EQUAL(call_with(s, &e, 1), 0);
    CHECK_EQUAL(receive_byte(seen[0]), 'u');
}

static void door_forked_holders(void) {
    CHECK_EQUAL(pipe2(seen, O_CLOEXEC), 0);
    int hold[2];
    CHECK_EQUAL(pipe2(hold, O_CLOEXEC), 0);
    int d = door_create(unref, NULL, DOOR_UNREF_MULTI);
    pid_t a = fork();
    if (a == 0) {
        receive_byte(hold[0]);
        _exit(0);
    }
    pid_t b = fork();
    if (b == 0) {
        receive_byte(hold[0]);
        close(d);
        receive_byte(hold[0]);
        _exit(0);
    }
    CHECK(!(attributes_of(d) & DOOR_IS_UNREF));
    kill(a, SIGKILL);
    waitpid(a, NULL, 0);
    CHECK(!byte_within(seen[0], 100));
    send_byte(hold[1], 'c');
    expect_one();
    kill(b, SIGKILL);
    waitpid(b, NULL, 0);
    CHECK(!byte_within(seen[0], 100));
}

static void door_forged_unref(void) {
    CHECK_EQUAL(pipe2(seen, O_CLOEXEC), 0);
    int d = door_create(unref, NULL, DOOR_UNREF_MULTI);
    char r[64];
    door_arg_t args = {.data_ptr = DOOR_UNREF_DATA, .data_size = 0, .rbuf = r, .rsize = sizeof r};
    CHECK_EQUAL(door_call(d, &args), 0);
    CHECK(!byte_within(seen[0], 60));
    CHECK_ERROR(door_call(d, &(door_arg_t){.data_ptr = DOOR_UNREF_DATA, .data_size = 5, .rbuf = r, .rsize = sizeof r}),
                EFAULT);
}

static void door_many_doors_of_unref(void) {
    CHECK_EQUAL(pipe2(seen, O_CLOEXEC), 0);
    int d[50];
    for (int i = 0; i < 50; i++) {
        d[i] = door_create(unref, NULL, i % 2 ? DOOR_UNREF : DOOR_UNREF_MULTI);
    }
    for (int i = 0; i < 50; i++) {
        close(door_dup(d[i]));
    }
    for (int i = 0; i < 50; i++) {
        CHECK_EQUAL(receive_byte(seen[0]), 'u');
    }
    CHECK(!byte_within(seen[0], 100));
}

static void door_no_unref_without_the_attribute(void) {
    CHECK_EQUAL(pipe2(seen, O_CLOEXEC), 0);
    int d = door_create(unref, NULL, 0);
    close(door_dup(d));
    CHECK(!byte_within(seen[0], 100));
}

static const struct test tests[] = {TEST(door_unref_once),          TEST(door_unref_again_and_again),
                                    TEST(door_given_by_a_reply),    TEST(door_given_by_a_request),
                                    TEST(door_forked_holders),      TEST(door_forged_unref),
                                    TEST(door_many_doors_of_unref), TEST(door_no_unref_without_the_attribute)};

TEST_MAIN(tests)
