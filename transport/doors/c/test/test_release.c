/* DOOR_RELEASE and DOOR_REFUSE_DESC: who has a descriptor when a call, or a reply, has failed. */
#include "blocking.h"
#include "entries.h"

static atomic_int given;

static void gives(void *cookie, char *data, size_t size, door_desc_t *entries, uint_t count) {
    (void)cookie, (void)data, (void)entries, (void)count;
    door_desc_t e[3];
    for (size_t i = 0; i < size && i < 3; i++) {
        e[i] = entry(given, DOOR_DESCRIPTOR);
    }
    door_return(NULL, 0, e, (uint_t)size);
}

static void echo_fds(void *cookie, char *data, size_t size, door_desc_t *entries, uint_t count) {
    (void)cookie, (void)data, (void)size;
    for (uint_t i = 0; i < count; i++) {
        entries[i].d_attributes |= DOOR_RELEASE;
    }
    door_return(NULL, 0, entries, count);
}

static void door_refusing(void) {
    int d = door_create(gives, NULL, DOOR_REFUSE_DESC);
    given = null_file();
    door_desc_t e[2] = {entry(null_file(), DOOR_DESCRIPTOR | DOOR_RELEASE), entry(null_file(), DOOR_DESCRIPTOR)};
    CHECK_EQUAL(call_with(d, e, 2), ENOTSUP);
    CHECK(is_open(e[0].d_data.d_desc.d_descriptor));
    CHECK_ERROR(door_call(d, &(door_arg_t){.desc_ptr = NULL, .desc_num = 1}), ENOTSUP);
    CHECK_ERROR(door_call(d, &(door_arg_t){.desc_ptr = (door_desc_t *)8, .desc_num = 5000}), ENOTSUP);
    CHECK_ERROR(door_call(d, &(door_arg_t){.data_ptr = (char *)8, .data_size = 10, .desc_ptr = NULL, .desc_num = 1}),
                ENOTSUP);
    CHECK_EQUAL(call_with(d, e, 0), 0);
    CHECK_EQUAL(call_with(d, (door_desc_t *)8, 0), 0); /* nobody looks at it */
    char r[256];
    door_arg_t args = {.data_ptr = "xx", .data_size = 2, .rbuf = r, .rsize = sizeof r};
    CHECK_EQUAL(door_call(d, &args), 0); /* its replies may have some */
    CHECK_EQUAL(args.desc_num, 2);
    CHECK_ERROR(door_setparam(d, DOOR_PARAM_DESC_MAX, (size_t)INT32_MAX + 1), ERANGE);
    CHECK_ERROR(door_setparam(d, DOOR_PARAM_DESC_MAX, 5), ENOTSUP);
    CHECK_EQUAL(call_with(d, e, 1), ENOTSUP);
    CHECK_EQUAL(door_setparam(d, DOOR_PARAM_DATA_MAX, 3), 0);
    CHECK_ERROR(door_call(d, &(door_arg_t){.data_ptr = "xxxx", .data_size = 4, .desc_ptr = e, .desc_num = 1}), ENOBUFS);
    CHECK_EQUAL(door_revoke(door_dup(d)), 0);
    CHECK_EQUAL(call_with(d, e, 1), EBADF);
}

static void door_release_order_of_bad_entries(void) {
    int d = door_create(closing_procedure, NULL, 0);
    int a = null_file(), b = null_file(), c = null_file(), keep = null_file();
    door_desc_t e[4] = {entry(a, DOOR_DESCRIPTOR | DOOR_RELEASE), entry(keep, DOOR_DESCRIPTOR),
                        entry(9999, DOOR_DESCRIPTOR | DOOR_RELEASE), entry(b, DOOR_DESCRIPTOR | DOOR_RELEASE)};
    CHECK_EQUAL(call_with(d, e, 4), EINVAL);
    CHECK(!is_open(a) && !is_open(b) && is_open(keep));
    door_desc_t f[2] = {entry(c, DOOR_DESCRIPTOR | DOOR_RELEASE), entry(keep, 0)};
    CHECK_EQUAL(call_with(d, f, 2), EINVAL);
    CHECK(!is_open(c) && is_open(keep));
    int t = null_file();
    door_desc_t g[2] = {entry(t, DOOR_DESCRIPTOR), entry(t, DOOR_DESCRIPTOR | DOOR_RELEASE)};
    CHECK_EQUAL(call_with(d, g, 2), 0); /* the later one is given away */
    CHECK(!is_open(t));
    int u = null_file();
    door_desc_t h[2] = {entry(u, DOOR_DESCRIPTOR | DOOR_RELEASE), entry(u, DOOR_DESCRIPTOR)};
    CHECK_EQUAL(call_with(d, h, 2), EINVAL);
    CHECK(!is_open(u));
    CHECK_EQUAL(door_call(d, &(door_arg_t){.rbuf = (char[64]){0}, .rsize = 64}), 0);
}

static void door_release_of_the_called_door(void) {
    int d = door_create(closing_procedure, NULL, 0), copy = door_dup(d);
    door_desc_t e = entry(copy, DOOR_DESCRIPTOR | DOOR_RELEASE);
    CHECK_EQUAL(call_with(copy, &e, 1), 0);
    CHECK(!is_open(copy));
    CHECK_EQUAL(call_with(d, NULL, 0), 0);
    int last = door_dup(d);
    close(d);
    e = entry(last, DOOR_DESCRIPTOR | DOOR_RELEASE);
    CHECK_EQUAL(call_with(last, &e, 1), 0); /* the last descriptor of all */
    CHECK(!is_open(last));
}

static void door_release_kept_by(void) {
    int d = door_create(closing_procedure, NULL, 0), fd = null_file();
    door_desc_t e[1026];
    for (int i = 0; i < 1026; i++) {
        e[i] = entry(fd, DOOR_DESCRIPTOR | DOOR_RELEASE);
    }
    CHECK_EQUAL(call_with(-1, e, 1), EBADF);
    CHECK(is_open(fd));
    CHECK_EQUAL(call_with(d, e, 1025), E2BIG);
    CHECK(is_open(fd));
    CHECK_ERROR(door_call(d, &(door_arg_t){.data_ptr = (char *)8, .data_size = 10, .desc_ptr = e, .desc_num = 1}),
                EFAULT);
    CHECK(is_open(fd));
    CHECK_ERROR(
        door_call(d, &(door_arg_t){.data_ptr = malloc(4 << 20), .data_size = 4 << 20, .desc_ptr = e, .desc_num = 1}),
        E2BIG);
    CHECK(is_open(fd));
    CHECK_EQUAL(door_setparam(d, DOOR_PARAM_DESC_MAX, 2), 0);
    CHECK_EQUAL(call_with(d, e, 3), ENFILE);
    CHECK(is_open(fd));
    CHECK_EQUAL(door_setparam(d, DOOR_PARAM_DATA_MIN, 2), 0);
    CHECK_EQUAL(call_with(d, e, 1), ENOBUFS);
    CHECK(is_open(fd));
    CHECK_EQUAL(door_setparam(d, DOOR_PARAM_DATA_MIN, 0), 0);
    CHECK_EQUAL(call_with(d, e, 1), 0);
    CHECK(!is_open(fd));
}

static void door_release_standard_input(void) {
    int d = door_create(closing_procedure, NULL, 0), saved = dup(0);
    door_desc_t e = entry(0, DOOR_DESCRIPTOR | DOOR_RELEASE);
    CHECK_EQUAL(call_with(d, &e, 1), 0);
    CHECK(!is_open(0));
    CHECK_EQUAL(dup2(saved, 0), 0);
}

static atomic_int reply_fds[3], reply_mode, reply_errors[4];

static void replying(void *cookie, char *data, size_t size, door_desc_t *entries, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)entries, (void)count;
    static door_desc_t e[1025];
    memset(reply_errors, 0, sizeof reply_errors);
    for (int i = 0; i < 3; i++) {
        e[i] = entry(reply_fds[i], DOOR_DESCRIPTOR | DOOR_RELEASE);
    }
    switch (reply_mode) {
    case 0:
        break;
    case 1:
        e[1].d_data.d_desc.d_descriptor = 9999;
        break;
    case 2:
        for (int i = 0; i < 1025; i++) {
            e[i] = entry(reply_fds[0], DOOR_DESCRIPTOR | DOOR_RELEASE);
        }
        reply_errors[0] = door_return(NULL, 0, e, 1025) < 0 ? errno : 0;
        reply_errors[1] = is_open(reply_fds[0]);
        door_return((char *)reply_errors, sizeof reply_errors, NULL, 0);
        break;
    case 3:
        reply_errors[0] = door_return((char *)8, 10, e, 3) < 0 ? errno : 0;
        reply_errors[1] = is_open(reply_fds[0]) && is_open(reply_fds[1]) && is_open(reply_fds[2]);
        reply_errors[2] = door_return(NULL, 0, (door_desc_t *)8, 3) < 0 ? errno : 0;
        door_return((char *)reply_errors, sizeof reply_errors, NULL, 0);
    }
    reply_errors[0] = door_return("x", 1, e, 3) < 0 ? errno : 0;
    reply_errors[1] = is_open(reply_fds[0]) || is_open(reply_fds[2]);
    door_return((char *)reply_errors, sizeof reply_errors, NULL, 0);
}

static void door_release_in_replies(void) {
    int d = door_create(replying, NULL, 0), r[32];
    door_arg_t args;
    for (reply_mode = 0; reply_mode < 4; reply_mode++) {
        for (int i = 0; i < 3; i++) {
            reply_fds[i] = null_file();
        }
        args = (door_arg_t){.rbuf = (char *)r, .rsize = sizeof r};
        CHECK_EQUAL(door_call(d, &args), 0);
        switch (reply_mode) {
        case 0:
            CHECK_EQUAL(args.desc_num, 3);
            for (int i = 0; i < 3; i++) {
                int fd = args.desc_ptr[i].d_data.d_desc.d_descriptor;
                CHECK(is_open(fd));
                CHECK_EQUAL(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
            }
            for (int i = 0; i < 3; i++) {
                close(args.desc_ptr[i].d_data.d_desc.d_descriptor);
            }
            CHECK(!is_open(reply_fds[0]) && !is_open(reply_fds[1]) && !is_open(reply_fds[2]));
            break;
        case 1:
            CHECK_EQUAL(r[0], EINVAL);
            CHECK_EQUAL(r[1], 0);
            break;
        case 2:
            CHECK_EQUAL(r[0], E2BIG);
            CHECK_EQUAL(r[1], 1);
            break;
        default:
            CHECK_EQUAL(r[0], EFAULT);
            CHECK_EQUAL(r[1], 1);
            CHECK_EQUAL(r[2], EFAULT);
        }
        CHECK_EQUAL(args.desc_num, reply_mode == 0 ? 3 : 0);
    }
}

static void leaves_descriptors(void *cookie, char *data, size_t size, door_desc_t *entries, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)entries, (void)count;
    send_byte(entered[1], 'e');
    receive_byte(leave[0]);
    door_desc_t e[2] = {entry(reply_fds[0], DOOR_DESCRIPTOR | DOOR_RELEASE), entry(reply_fds[1], DOOR_DESCRIPTOR)};
    door_return("x", 1, e, 2);
}

static bool first_is_closed(void *unused) {
    (void)unused;
    return !is_open(reply_fds[0]);
}

static void door_release_to_nobody(void) {
    make_pipes();
    handle(SIGUSR1, 0);
    int d = door_create(leaves_descriptors, NULL, DOOR_NO_CANCEL);
    reply_fds[0] = null_file();
    reply_fds[1] = null_file();
    struct caller c = {0};
    start_caller(&c, d);
    receive_byte(entered[0]);
    pthread_kill(c.thread, SIGUSR1);
    CHECK_EQUAL(caller_error(&c), EINTR);
    send_byte(leave[1], 'l');
    CHECK(eventually(first_is_closed, NULL));
    CHECK(is_open(reply_fds[1]));
}

/* Not serving: the arguments are ignored, and what is given away is closed. */
static void *joins_with_descriptors(void *unused) {
    door_desc_t e[2] = {entry(reply_fds[0], DOOR_DESCRIPTOR | DOOR_RELEASE), entry(reply_fds[1], DOOR_DESCRIPTOR)};
    door_return("ignored", 7, e, 2);
    return unused;
}

static void door_joining_releases(void) {
    reply_fds[0] = null_file();
    reply_fds[1] = null_file();
    door_server_create(no_threads);
    int d = door_create(closing_procedure, NULL, 0);
    pthread_t t;
    CHECK_EQUAL(pthread_create(&t, NULL, joins_with_descriptors, NULL), 0);
    CHECK_EQUAL(call_with(d, NULL, 0), 0);
    CHECK(!is_open(reply_fds[0]));
    CHECK(is_open(reply_fds[1]));
}

static void *joins_badly(void *error) {
    *(int *)error = door_return(NULL, 0, (door_desc_t *)8, 2) < 0 ? errno : 0;
    return NULL;
}

static void door_joining_with_a_bad_array(void) {
    door_server_create(no_threads);
    int error = -1;
    pthread_t t;
    CHECK_EQUAL(pthread_create(&t, NULL, joins_badly, &error), 0);
    pthread_join(t, NULL);
    CHECK_EQUAL(error, EFAULT);
}

static void door_release_pairs_through(void) {
    int d = door_create(echo_fds, NULL, 0), fd = null_file(), before = open_descriptors();
    for (int i = 0; i < 50; i++) {
        door_desc_t e[2] = {entry(fd, DOOR_DESCRIPTOR), entry(d, DOOR_DESCRIPTOR)};
        char r[64];
        door_arg_t args = {.desc_ptr = e, .desc_num = 2, .rbuf = r, .rsize = sizeof r};
        CHECK_EQUAL(door_call(d, &args), 0);
        CHECK_EQUAL(args.desc_num, 2);
        CHECK_EQUAL(args.data_size, 0);
        CHECK_EQUAL(id_of(args.desc_ptr[1].d_data.d_desc.d_descriptor), id_of(d));
        CHECK(args.desc_ptr[1].d_attributes & DOOR_LOCAL);
        for (int j = 0; j < 2; j++) {
            close(args.desc_ptr[j].d_data.d_desc.d_descriptor);
        }
        before = i == 10 ? open_descriptors() : before;
    }
    CHECK(open_descriptors() <= before + 2);
}

static const struct test tests[] = {TEST(door_refusing),
                                    TEST(door_release_order_of_bad_entries),
                                    TEST(door_release_of_the_called_door),
                                    TEST(door_release_kept_by),
                                    TEST(door_release_standard_input),
                                    TEST(door_release_in_replies),
                                    TEST(door_release_to_nobody),
                                    TEST(door_joining_releases),
                                    TEST(door_joining_with_a_bad_array),
                                    TEST(door_release_pairs_through)};

TEST_MAIN(tests)
