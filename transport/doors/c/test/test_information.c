/* What door_info(3C) and door_getparam(3C) tell, and what door_setparam(3C) changes. */
#include "entries.h"
#include <sys/resource.h>

static void door_info_attributes(void) {
    static const uint_t each[] = {0,
                                  DOOR_UNREF,
                                  DOOR_UNREF_MULTI,
                                  DOOR_REFUSE_DESC,
                                  DOOR_NO_CANCEL,
                                  DOOR_PRIVATE,
                                  DOOR_PRIVATE | DOOR_UNREF | DOOR_REFUSE_DESC | DOOR_NO_CANCEL};
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        int d = door_create(closing_procedure, (void *)i, each[i]);
        door_info_t info;
        memset(&info, 0xee, sizeof info);
        CHECK_EQUAL(door_info(d, &info), 0);
        CHECK_EQUAL(info.di_attributes, each[i] | DOOR_LOCAL | DOOR_IS_UNREF);
        CHECK_EQUAL(info.di_data, i);
        CHECK_EQUAL(info.di_proc, (uintptr_t)closing_procedure);
        for (int j = 0; j < 4; j++) {
            CHECK_EQUAL(info.di_resv[j], 0);
        }
        int copy = door_dup(d);
        CHECK_EQUAL(attributes_of(d), each[i] | DOOR_LOCAL);
        CHECK_EQUAL(attributes_of(copy), each[i] | DOOR_LOCAL);
        CHECK_EQUAL(id_of(copy), id_of(d));
        CHECK_EQUAL(door_revoke(d), 0);
        CHECK_EQUAL(attributes_of(copy) & ~(uint_t)(DOOR_IS_UNREF | DOOR_UNREF),
                    (each[i] | DOOR_LOCAL | DOOR_REVOKED) & ~(uint_t)DOOR_UNREF);
        close(copy);
    }
}

static void door_info_errors(void) {
    door_info_t info, same;
    memset(&info, 0xcd, sizeof info);
    same = info;
    int p[2], d = door_create(closing_procedure, NULL, 0);
    CHECK_EQUAL(pipe(p), 0);
    CHECK_ERROR(door_info(DOOR_INVAL, &info), EBADF);
    CHECK_ERROR(door_info(DOOR_QUERY, &info), EBADF);
    CHECK_ERROR(door_info(-3, &info), EBADF);
    CHECK_ERROR(door_info(INT32_MAX, &info), EBADF);
    CHECK_ERROR(door_info(p[0], &info), EBADF);
    CHECK_ERROR(door_info(null_file(), &info), EBADF);
    CHECK_ERROR(door_info(p[0], NULL), EBADF);
    CHECK_ERROR(door_info(DOOR_QUERY, NULL), EBADF);
    CHECK_ERROR(door_info(d, NULL), EFAULT);
    CHECK_ERROR(door_info(d, (door_info_t *)16), EFAULT);
    CHECK(memcmp(&info, &same, sizeof info) == 0);
    int s[2];
    CHECK_EQUAL(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s), 0);
    CHECK_ERROR(door_info(s[0], &info), EBADF);
    CHECK_ERROR(door_call(s[0], NULL), EBADF);
    CHECK_ERROR(door_revoke(s[0]), EBADF);
    CHECK(fcntl(s[0], F_GETFD) >= 0);
}

static void info_child(int socket, void *expected) {
    door_info_t info, *parents = expected;
    int d = receive_fd(socket);
    CHECK_EQUAL(door_info(d, &info), 0);
    CHECK_EQUAL(info.di_target, getppid());
    CHECK_EQUAL(info.di_attributes & (DOOR_LOCAL | DOOR_REVOKED), 0);
    CHECK_EQUAL(info.di_attributes & (DOOR_NO_CANCEL | DOOR_REFUSE_DESC), DOOR_NO_CANCEL | DOOR_REFUSE_DESC);
    CHECK_EQUAL(info.di_data, 0x321);
    CHECK_EQUAL(info.di_proc, (uintptr_t)closing_procedure);
    (void)parents;
    send_byte(socket, 'k');
    receive_byte(socket);
    CHECK_EQUAL(door_info(d, &info), 0);
    CHECK_EQUAL(info.di_target, getppid());
    CHECK(info.di_attributes & DOOR_REVOKED);
    CHECK_EQUAL(info.di_data, 0x321);
    CHECK_ERROR(door_revoke(d), EPERM);
    CHECK(fcntl(d, F_GETFD) >= 0);
}

static void door_info_from_another_process(void) {
    struct child child = start_child(info_child, NULL);
    int d = door_create(closing_procedure, (void *)0x321, DOOR_NO_CANCEL | DOOR_REFUSE_DESC);
    send_fd(child.socket, d);
    receive_byte(child.socket);
    CHECK_EQUAL(door_revoke(d), 0);
    send_byte(child.socket, 'r');
    finish_child(child);
}

static void looks(void *cookie, char *data, size_t size, door_desc_t *entries, uint_t count) {
    (void)cookie, (void)data, (void)size;
    door_desc_t seen;
    memcpy(&seen, entries, sizeof seen);
    close(seen.d_data.d_desc.d_descriptor);
    door_return((char *)&seen, count * sizeof seen, NULL, 0);
}

static void door_attributes_of_a_passed_door(void) {
    int d = door_create(looks, NULL, 0), p = door_create(closing_procedure, NULL, DOOR_UNREF_MULTI | DOOR_REFUSE_DESC);
    door_desc_t got, e = entry(p, DOOR_DESCRIPTOR);
    door_arg_t arguments = {.desc_ptr = &e, .desc_num = 1, .rbuf = (char *)&got, .rsize = sizeof got}, again = arguments;
    CHECK_EQUAL(door_call(d, &arguments), 0);
    CHECK_EQUAL(got.d_attributes & ~(uint_t)DOOR_IS_UNREF,
                DOOR_DESCRIPTOR | DOOR_LOCAL | DOOR_UNREF_MULTI | DOOR_REFUSE_DESC);
    CHECK_EQUAL(got.d_data.d_desc.d_id, id_of(p));
    e = entry(null_file(), DOOR_DESCRIPTOR);
    CHECK_EQUAL(door_call(d, &again), 0);
    CHECK_EQUAL(got.d_attributes, DOOR_DESCRIPTOR);
}

static void door_params_limits(void) {
    int d = door_create(closing_procedure, NULL, 0), e = door_dup(d), r[8];
    size_t v;
    CHECK_EQUAL(door_setparam(e, DOOR_PARAM_DATA_MAX, 0), 0);
    CHECK_EQUAL(door_getparam(d, DOOR_PARAM_DATA_MAX, &v), 0);
    CHECK_EQUAL(v, 0);
    CHECK_EQUAL(call(d, NULL, 0, r, sizeof r, NULL), 0);
    CHECK_ERROR(call(d, "x", 1, r, sizeof r, NULL), ENOBUFS);
    CHECK_ERROR(door_setparam(d, DOOR_PARAM_DATA_MIN, 1), EINVAL);
    CHECK_EQUAL(door_setparam(d, DOOR_PARAM_DATA_MAX, SIZE_MAX), 0);
    CHECK_EQUAL(door_setparam(d, DOOR_PARAM_DATA_MIN, SIZE_MAX), 0);
    CHECK_ERROR(call(d, "x", 1, r, sizeof r, NULL), ENOBUFS);
    CHECK_ERROR(door_call(d, NULL), ENOBUFS);
    CHECK_EQUAL(door_setparam(d, DOOR_PARAM_DATA_MIN, 0), 0);
    CHECK_EQUAL(door_setparam(d, DOOR_PARAM_DESC_MAX, INT32_MAX), 0);
    CHECK_EQUAL(door_setparam(d, DOOR_PARAM_DESC_MAX, 0), 0);
    door_desc_t one = entry(null_file(), DOOR_DESCRIPTOR);
    CHECK_EQUAL(call_with(d, &one, 1), ENFILE);
    CHECK_EQUAL(call_with(d, &one, 0), 0);
    CHECK_EQUAL(door_setparam(d, DOOR_PARAM_DESC_MAX, 1), 0);
    CHECK_EQUAL(call_with(d, &one, 1), 0);
    CHECK_EQUAL(door_getparam(e, DOOR_PARAM_DESC_MAX, &v), 0);
    CHECK_EQUAL(v, 1);
    CHECK_ERROR(door_setparam(d, DOOR_PARAM_DESC_MAX, SIZE_MAX), ERANGE);
    CHECK_EQUAL(door_getparam(e, DOOR_PARAM_DESC_MAX, &v), 0);
    CHECK_EQUAL(v, 1);
    CHECK_ERROR(door_getparam(-1, 99, NULL), EBADF);
    CHECK_ERROR(door_setparam(-1, 99, 5), EBADF);
    CHECK_ERROR(door_getparam(d, -1, &v), EINVAL);
    CHECK_ERROR(door_setparam(d, -1, 5), EINVAL);
    CHECK_ERROR(door_getparam(DOOR_QUERY, 1, &v), EBADF);
    CHECK_ERROR(door_getparam(d, DOOR_PARAM_DATA_MIN, (size_t *)8), EFAULT);
}

static void params_child(int socket, void *unused) {
    (void)unused;
    size_t v = 3;
    int d = receive_fd(socket);
    CHECK_EQUAL(door_getparam(d, DOOR_PARAM_DATA_MAX, &v), 0);
    CHECK_EQUAL(v, 100);
    CHECK_ERROR(door_setparam(d, DOOR_PARAM_DATA_MAX, 5), EPERM);
    CHECK_ERROR(door_setparam(d, 77, 5), EPERM);
    CHECK_ERROR(door_setparam(d, DOOR_PARAM_DESC_MAX, SIZE_MAX), EPERM);
    send_byte(socket, 'k');
    receive_byte(socket);
    CHECK_EQUAL(door_getparam(d, DOOR_PARAM_DATA_MAX, &v), 0);
    CHECK_EQUAL(v, 50);
    char r[64];
    CHECK_ERROR(call(d, malloc(64), 51, r, sizeof r, NULL), ENOBUFS);
    CHECK_EQUAL(call(d, r, 50, r, sizeof r, NULL), 0);
    send_byte(socket, 'k');
    receive_byte(socket); /* revoked */
    CHECK_ERROR(door_setparam(d, DOOR_PARAM_DATA_MAX, 5), EBADF);
    CHECK_EQUAL(door_getparam(d, DOOR_PARAM_DATA_MAX, &v), 0);
    CHECK_EQUAL(v, 50);
}

static void door_params_from_another_process(void) {
    struct child child = start_child(params_child, NULL);
    int d = door_create(closing_procedure, NULL, 0);
    CHECK_EQUAL(door_setparam(d, DOOR_PARAM_DATA_MAX, 100), 0);
    send_fd(child.socket, d);
    receive_byte(child.socket);
    CHECK_EQUAL(door_setparam(d, DOOR_PARAM_DATA_MAX, 50), 0);
    send_byte(child.socket, 'g');
    receive_byte(child.socket);
    CHECK_EQUAL(door_revoke(d), 0);
    send_byte(child.socket, 'g');
    finish_child(child);
}

static void long_reply(void *cookie, char *data, size_t size, door_desc_t *entries, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)entries, (void)count;
    static char bytes[100000];
    door_return(bytes, sizeof bytes, NULL, 0);
}

static void door_params_do_not_bound_replies(void) {
    int d = door_create(long_reply, NULL, 0);
    CHECK_EQUAL(door_setparam(d, DOOR_PARAM_DATA_MAX, 1), 0);
    door_arg_t args = {.data_ptr = "x", .data_size = 1};
    CHECK_EQUAL(door_call(d, &args), 0);
    CHECK_EQUAL(args.data_size, 100000);
    CHECK_EQUAL(args.rsize % 4096, 0);
    munmap(args.rbuf, args.rsize);
}

static void door_params_by_name(void) {
    char *path = temporary_path("params");
    close(open(path, O_CREAT | O_RDWR, 0644));
    int d = door_create(closing_procedure, NULL, 0);
    CHECK_EQUAL(fattach(d, path), 0);
    int o = door_open(path, O_RDONLY);
    size_t v;
    CHECK_EQUAL(door_setparam(o, DOOR_PARAM_DATA_MAX, 9), 0);
    CHECK_EQUAL(door_getparam(d, DOOR_PARAM_DATA_MAX, &v), 0);
    CHECK_EQUAL(v, 9);
    CHECK(!(attributes_of(o) & DOOR_IS_UNREF));
    CHECK_EQUAL(attributes_of(o), DOOR_LOCAL);
    CHECK_EQUAL(door_revoke(o), 0);
    CHECK(!is_open(o));
    CHECK_EQUAL(call_with(d, NULL, 0), EBADF);
    CHECK_EQUAL(door_getparam(d, DOOR_PARAM_DATA_MAX, &v), 0);
    CHECK_EQUAL(v, 9);
}

static const struct test tests[] = {TEST(door_info_attributes),
                                    TEST(door_info_errors),
                                    TEST(door_info_from_another_process),
                                    TEST(door_attributes_of_a_passed_door),
                                    TEST(door_params_limits),
                                    TEST(door_params_from_another_process),
                                    TEST(door_params_do_not_bound_replies),
                                    TEST(door_params_by_name)};

TEST_MAIN(tests)
