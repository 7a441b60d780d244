/* Descriptors that travel: groups F and E of the conformance cases, and the limits of both tables. */
#include "harness.h"

#include "../linux/wire.h"

#include <sys/resource.h>
#include <sys/syscall.h>

static void fill_table(void) {
    while (open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0) {
    }
    CHECK_EQUAL(errno, EMFILE);
}

static void limit_descriptors(int more) {
    struct rlimit limit;
    int highest = -1;
    getrlimit(RLIMIT_NOFILE, &limit);
    for (int fd = 0; more > 0; fd++) {
        more -= fcntl(fd, F_GETFD) < 0;
        highest = fd;
    }
    limit.rlim_cur = (rlim_t)(highest + 1);
    CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* Writes what it was given into the descriptors, closes them, and replies how many there were. */
static void writer_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie;
    for (uint_t i = 0; i < count; i++) {
        int fd = descriptors[i].d_data.d_desc.d_descriptor;
        if (descriptors[i].d_attributes != DOOR_DESCRIPTOR || fcntl(fd, F_GETFD) != 0) {
            door_return("bad", 3, NULL, 0);
        }
        if (size > 0 && write(fd, data, size) < 0) {
            door_return("write", 5, NULL, 0);
        }
        close(fd);
    }
    door_return((char *)&count, sizeof count, NULL, 0);
}

static door_desc_t descriptor(int fd, bool release) {
    door_desc_t entry;
    memset(&entry, 0, sizeof entry);
    entry.d_attributes = DOOR_DESCRIPTOR | (release ? DOOR_RELEASE : 0);
    entry.d_data.d_desc.d_descriptor = fd;
    return entry;
}

static int give(int door, door_desc_t *entries, uint_t count) {
    uint_t seen = 0;
    door_arg_t arguments = {.data_ptr = "x",
                            .data_size = 1,
                            .desc_ptr = entries,
                            .desc_num = count,
                            .rbuf = (char *)&seen,
                            .rsize = sizeof seen};
    return door_call(door, &arguments) == 0 ? (int)seen : -1;
}

static void expect_bytes(int fd, int count) {
    for (int i = 0; i < count; i++) {
        CHECK_EQUAL(receive_byte(fd), 'x');
    }
    if (byte_within(fd, 0)) { /* only the end */
        char byte;
        CHECK_EQUAL(read(fd, &byte, 1), 0);
    }
}

static void door_L3_F2_F8(void) {
    int door = door_create(writer_procedure, NULL, 0), ends[2];
    CHECK_EQUAL(pipe(ends), 0);
    door_desc_t entries[3] = {descriptor(ends[1], false), descriptor(ends[1], false), descriptor(ends[1], false)};
    CHECK_EQUAL(give(door, entries, 3), 3);
    expect_bytes(ends[0], 3);
    CHECK(fcntl(ends[1], F_GETFD) >= 0);
}

static void door_F3(void) {
    int door = door_create(writer_procedure, NULL, 0), ends[2];
    struct stat before, after;
    CHECK_EQUAL(pipe(ends), 0);
    CHECK_EQUAL(fstat(ends[1], &before), 0);
    door_desc_t entry = descriptor(ends[1], true);
    CHECK_EQUAL(give(door, &entry, 1), 1);
    /* The C library may have a file open for a moment, in another thread, under the number that has become free. */
    CHECK(fstat(ends[1], &after) < 0 || after.st_ino != before.st_ino);
    expect_bytes(ends[0], 1);
}

/* The released end is closed before the procedure runs: it sees the end of the pipe. */
static void sees_end_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)count;
    int reader = descriptors[0].d_data.d_desc.d_descriptor;
    char byte;
    close(descriptors[1].d_data.d_desc.d_descriptor);
    uint_t answer = read(reader, &byte, 1) == 0 ? 7 : 0;
    close(reader);
    door_return((char *)&answer, sizeof answer, NULL, 0);
}

static void door_F3_before_the_procedure(void) {
    int door = door_create(sees_end_procedure, NULL, 0), ends[2];
    CHECK_EQUAL(pipe(ends), 0);
    door_desc_t entries[2] = {descriptor(ends[0], true), descriptor(ends[1], true)};
    CHECK_EQUAL(give(door, entries, 2), 7);
}

static void expect_kept(int door, uint_t count, int error) {
    static door_desc_t entries[1025];
    int fd = open("/dev/null", O_RDONLY);
    for (uint_t i = 0; i < count; i++) {
        entries[i] = descriptor(fd, i == 0);
    }
    CHECK_ERROR(give(door, entries, count), error);
    CHECK(fcntl(fd, F_GETFD) >= 0);
    close(fd);
}

static void door_F4_E6_E7_E8(void) {
    int door = door_create(writer_procedure, NULL, 0);
    int refusing = door_create(writer_procedure, NULL, DOOR_REFUSE_DESC);
    expect_kept(door, 1025, E2BIG);
    expect_kept(refusing, 1, ENOTSUP);
    CHECK_EQUAL(door_setparam(door, DOOR_PARAM_DESC_MAX, 0), 0);
    expect_kept(door, 1, ENFILE);
    CHECK_EQUAL(door_setparam(refusing, DOOR_PARAM_DATA_MAX, 0), 0);
    expect_kept(refusing, 1, ENOBUFS);
    int copy = dup(door);
    CHECK_EQUAL(door_revoke(door), 0);
    expect_kept(copy, 1, EBADF);
}

static void door_E11(void) {
    static door_desc_t entries[1024];
    int door = door_create(writer_procedure, NULL, 0), ends[2];
    CHECK_EQUAL(pipe(ends), 0);
    for (int i = 0; i < 1024; i++) {
        entries[i] = descriptor(ends[1], false);
    }
    CHECK_EQUAL(give(door, entries, 1024), 1024);
    expect_bytes(ends[0], 1024);
}

/* Whether `fd` is /dev/null still. The C library may open a file for a moment, in another thread, under a number that
 * has become free, so that the number says nothing. */
static bool is_null(int fd) {
    struct stat status, null;
    return fstat(fd, &status) == 0 && stat("/dev/null", &null) == 0 && S_ISCHR(status.st_mode) &&
           status.st_rdev == null.st_rdev;
}

static void door_E13_E14_F14(void) {
    int door = door_create(writer_procedure, NULL, 0);
    int first = open("/dev/null", O_RDONLY), last = open("/dev/null", O_RDONLY);
    door_desc_t entries[3] = {descriptor(first, true), descriptor(first, false), descriptor(last, true)};
    entries[1].d_attributes = 0;
    CHECK_ERROR(give(door, entries, 3), EINVAL);
    CHECK(!is_null(first));
    CHECK(!is_null(last));
    entries[0] = descriptor(9999, false);
    CHECK_ERROR(give(door, entries, 1), EINVAL);
    int twice = open("/dev/null", O_RDONLY);
    entries[0] = entries[1] = descriptor(twice, true);
    CHECK_ERROR(give(door, entries, 2), EINVAL);
    CHECK(!is_null(twice));
}

/* No socket carries an io_uring: an entry with one is bad, at once, and only that call fails. */
static void door_descriptor_that_cannot_travel(void) {
    char parameters[120] = {0};
    int ring = (int)syscall(SYS_io_uring_setup, 4, parameters);
    if (ring < 0) {
        return; /* this system has none */
    }
    int door = door_create(writer_procedure, NULL, 0), ends[2];
    CHECK_EQUAL(pipe(ends), 0);
    door_desc_t entries[2] = {descriptor(ends[1], false), descriptor(ring, false)};
    CHECK_ERROR(give(door, entries, 2), EINVAL);
    CHECK_ERROR(give(door, entries + 1, 1), EINVAL);
    CHECK_EQUAL(give(door, entries, 1), 1);
}

static void door_F18(void) {
    int door = door_create(writer_procedure, NULL, 0), ends[2];
    CHECK_EQUAL(pipe(ends), 0);
    door_desc_t entry = descriptor(ends[1], false);
    entry.d_attributes |= 0x8001 | DOOR_HANDLE;
    CHECK_EQUAL(give(door, &entry, 1), 1);
}

/* Replies with descriptors: of a file, released. */
static void file_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)descriptors, (void)count;
    int wanted = 1;
    memcpy(&wanted, data, size < sizeof wanted ? size : sizeof wanted);
    door_desc_t entries[1024];
    for (int i = 0; i < wanted; i++) {
        entries[i] = descriptor(memfd_create("reply", 0), true);
        if (write(entries[i].d_data.d_desc.d_descriptor, "contents", 8) != 8) {
            abort();
        }
    }
    if (door_return("ok", 2, entries, (uint_t)wanted) < 0) {
        int error = errno;
        for (int i = 0; i < wanted; i++) { /* nothing was consumed */
            if (close(entries[i].d_data.d_desc.d_descriptor) < 0) {
                abort();
            }
        }
        door_return((char *)&error, sizeof error, NULL, 0);
    }
}

static void take(int door, int wanted) {
    char buffer[8];
    door_arg_t arguments = {.data_ptr = (char *)&wanted, .data_size = sizeof wanted, .rbuf = buffer, .rsize = 8};
    CHECK_EQUAL(door_call(door, &arguments), 0);
    CHECK_EQUAL(arguments.data_size, 2);
    CHECK_EQUAL(arguments.desc_num, wanted);
    CHECK(arguments.rbuf != buffer);
    CHECK((char *)arguments.desc_ptr == arguments.rbuf + 24);
    for (int i = 0; i < wanted; i++) {
        int fd = arguments.desc_ptr[i].d_data.d_desc.d_descriptor;
        char text[8];
        CHECK_EQUAL(pread(fd, text, 8, 0), 8);
        CHECK_EQUAL(fcntl(fd, F_GETFD), 0);
        CHECK_EQUAL(close(fd), 0);
    }
    CHECK_EQUAL(munmap(arguments.rbuf, arguments.rsize), 0);
}

static void door_F9(void) {
    int door = door_create(file_procedure, NULL, 0);
    take(door, 1);
    int before = open_descriptors();
    take(door, 1);
    take(door, 300);
    take(door, 1024);
    CHECK_EQUAL(open_descriptors(), before);
}

static void client_with_full_table(int socket, void *unused) {
    (void)unused;
    int door = receive_fd(socket), result = 0, wanted = 4;
    take(door, 1);
    limit_descriptors(3);
    int before = open_descriptors();
    CHECK_EQUAL(call(door, &wanted, sizeof wanted, &result, sizeof result, NULL), 0);
    CHECK_EQUAL(result, EMFILE);
    CHECK_EQUAL(open_descriptors(), before);
    take(door, 3);
}

static void door_R_EMFILE_client_full(void) {
    struct child child = start_child(client_with_full_table, NULL);
    send_fd(child.socket, door_create(file_procedure, NULL, 0));
    finish_child(child);
}

/* Whether nobody holds the other end of a pipe: all that came of it has been closed. */
static bool is_let_go(void *reader) {
    struct pollfd entry = {.fd = *(int *)reader, .events = POLLIN};
    return poll(&entry, 1, 0) == 1 && (entry.revents & POLLHUP) != 0;
}

/*
 * Of descriptors that the table has no room for, the kernel gives as many as fit and says that the message is cut. Of such a message
 * nothing is kept: who receives half of it cannot know which half.
 */
static void door_more_descriptors_than_room(void) {
    enum { SENT = 5 };
    struct message message = {.type = MESSAGE_FDS, .count = SENT};
    struct receipt receipt;
    for (int room = 0; room <= SENT && system_is_real(); room++) {
        for (int flags = 0; flags <= MSG_PEEK; flags += MSG_PEEK) {
            int pair[2], ends[2], fds[SENT], on = 1;
            struct rlimit limit;
            CHECK_EQUAL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
            CHECK_EQUAL(setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on), 0);
            CHECK_EQUAL(pipe2(ends, O_CLOEXEC), 0);
            for (int i = 0; i < SENT; i++) {
                fds[i] = ends[1];
            }
            CHECK_EQUAL(message_send(pair[1], &message, fds, SENT), 0);
            close(ends[1]);
            getrlimit(RLIMIT_NOFILE, &limit);
            if (room > 0) {
                limit_descriptors(room);
            } else {
                limit_descriptors(1);
                fill_table();
            }
            int before = open_descriptors();
            CHECK_EQUAL(message_receive(pair[0], &(struct closing_payer){-1, 0, -1}, &message, &receipt, flags), 0);
            CHECK_EQUAL(receipt.truncated, room < SENT);
            CHECK_EQUAL(receipt.count, room < SENT ? 0 : SENT);
            CHECK(receipt.credentialed);
            receipt_close(&receipt);
            CHECK_EQUAL(open_descriptors(), before);
            CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &limit), 0);
            if (flags == MSG_PEEK) { /* the message is still there, whole */
                CHECK(!is_let_go(&ends[0]));
                CHECK_EQUAL(message_receive(pair[0], &(struct closing_payer){-1, 0, -1}, &message, &receipt, 0), 0);
                CHECK_EQUAL(receipt.count, SENT);
                receipt_close(&receipt);
            }
            CHECK(eventually(is_let_go, &ends[0]));
            close(ends[0]);
            close(pair[0]);
            close(pair[1]);
        }
    }
}

static void nearly_full_server(int socket, void *unused) {
    (void)unused;
    int door = door_create(writer_procedure, NULL, 0);
    send_fd(socket, door);
    receive_byte(socket);
    limit_descriptors(40);
    fill_table();
    for (int fd = 20; fd < 22; fd++) {
        close(fd);
    }
    send_byte(socket, 'f');
    receive_byte(socket);
}

/* The same in a call: it fails with EMFILE, and the server holds none of what came. */
static void door_E17_nearly_full(void) {
    struct child server;
    int ends[2];
    if (!system_is_real()) {
        return;
    }
    server = start_child(nearly_full_server, NULL);
    int door = receive_fd(server.socket);
    CHECK_EQUAL(give(door, NULL, 0), 0);
    send_byte(server.socket, 'g');
    receive_byte(server.socket);
    CHECK_EQUAL(pipe2(ends, O_CLOEXEC), 0);
    door_desc_t entries[60];
    for (int i = 0; i < 60; i++) { /* more than the table has room for, with all that the server keeps for itself */
        entries[i] = descriptor(ends[1], false);
    }
    CHECK_ERROR(give(door, entries, 60), EMFILE);
    close(ends[1]);
    CHECK(eventually(is_let_go, &ends[0]));
    CHECK_EQUAL(give(door, NULL, 0), 0);
    send_byte(server.socket, 'e');
    finish_child(server);
}

static void full_server(int socket, void *unused) {
    (void)unused;
    int door = door_create(writer_procedure, NULL, 0);
    send_fd(socket, door);
    receive_byte(socket);
    limit_descriptors(40);
    fill_table();
    send_byte(socket, 'f');
    receive_byte(socket);
    for (int fd = 200; fd > 20; fd--) {
        close(fd);
    }
    send_byte(socket, 'e');
    receive_byte(socket);
}

static void door_E17(void) {
    for (int warm = 0; warm < 2 && system_is_real(); warm++) {
        struct child server = start_child(full_server, NULL);
        int door = receive_fd(server.socket), released = open("/dev/null", O_RDONLY);
        if (warm) {
            CHECK_EQUAL(give(door, NULL, 0), 0);
        }
        send_byte(server.socket, 'g');
        receive_byte(server.socket);
        door_desc_t entry = descriptor(released, true);
        CHECK_EQUAL(give(door, NULL, 0), 0);
        CHECK_ERROR(give(door, &entry, 1), EMFILE);
        CHECK(!is_null(released));
        CHECK_EQUAL(give(door, NULL, 0), 0);
        send_byte(server.socket, 'g');
        send_byte(server.socket, 'g');
        finish_child(server);
    }
}

/* Doors through doors. */
static void inspect_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)size;
    if (data == DOOR_UNREF_DATA) {
        door_return(NULL, 0, NULL, 0);
    }
    door_desc_t seen = descriptors[0];
    for (uint_t i = 0; i < count; i++) {
        close(descriptors[i].d_data.d_desc.d_descriptor);
    }
    door_return((char *)&seen, sizeof seen, NULL, 0);
}

static void door_F10(void) {
    int door = door_create(inspect_procedure, NULL, DOOR_UNREF_MULTI);
    door_info_t info;
    door_desc_t entry = descriptor(door, false), seen;
    door_arg_t arguments = {.desc_ptr = &entry, .desc_num = 1, .rbuf = (char *)&seen, .rsize = sizeof seen};
    CHECK_EQUAL(door_info(door, &info), 0);
    CHECK_EQUAL(door_call(door, &arguments), 0);
    CHECK(seen.d_attributes & DOOR_LOCAL);
    CHECK(seen.d_attributes & DOOR_UNREF_MULTI);
    CHECK_EQUAL(seen.d_data.d_desc.d_id, info.di_uniquifier);
}

static void pid_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)descriptors, (void)count;
    int pid = getpid();
    door_return((char *)&pid, sizeof pid, NULL, 0);
}

static void call_through_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)data, (void)size;
    int pids[2] = {0, 0};
    for (uint_t i = 0; i < count; i++) {
        int fd = descriptors[i].d_data.d_desc.d_descriptor;
        if (call(fd, NULL, 0, &pids[i], sizeof pids[i], NULL) < 0) {
            pids[i] = -errno;
        }
        close(fd);
    }
    door_return((char *)pids, sizeof pids, NULL, 0);
}

static void third_process(int socket, void *unused) {
    (void)unused;
    send_fd(socket, door_create(call_through_procedure, NULL, 0));
    receive_byte(socket);
}

static void giving_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)descriptors, (void)count;
    door_desc_t entry = descriptor(door_create(pid_procedure, NULL, 0), true);
    door_return(NULL, 0, &entry, 1);
}

/* A door made for the occasion and given away: the receiver holds its only reference. */
static void door_F10_given_away(void) {
    int door = door_create(giving_procedure, NULL, 0);
    char room[64];
    door_arg_t arguments = {.rbuf = room, .rsize = sizeof room};
    door_info_t info;
    CHECK_EQUAL(door_call(door, &arguments), 0);
    CHECK_EQUAL(arguments.desc_num, 1);
    CHECK_EQUAL(arguments.desc_ptr->d_attributes, DOOR_DESCRIPTOR | DOOR_LOCAL);
    CHECK_EQUAL(door_info(arguments.desc_ptr->d_data.d_desc.d_descriptor, &info), 0);
    CHECK_EQUAL(info.di_attributes, DOOR_LOCAL | DOOR_IS_UNREF);
    CHECK_EQUAL(info.di_uniquifier, arguments.desc_ptr->d_data.d_desc.d_id);
}

static void door_F11_F13(void) {
    struct child third = start_child(third_process, NULL);
    int through = receive_fd(third.socket), own = door_create(pid_procedure, NULL, 0), pids[2];
    door_desc_t entries[2] = {descriptor(own, false), descriptor(own, false)};
    door_arg_t arguments = {.desc_ptr = entries, .desc_num = 2, .rbuf = (char *)pids, .rsize = sizeof pids};
    CHECK_EQUAL(door_call(through, &arguments), 0);
    CHECK_EQUAL(pids[0], getpid());
    CHECK_EQUAL(pids[1], getpid());
    entries[0] = entries[1] = descriptor(through, false); /* its own door, back to it */
    CHECK_EQUAL(door_call(through, &arguments), 0);
    send_byte(third.socket, 'e');
    finish_child(third);
}

static void door_F15(void) {
    int door = door_create(pid_procedure, NULL, 0), file = open("/dev/null", O_RDONLY);
    door_desc_t entry = descriptor(file, false);
    CHECK(give(door, &entry, 1) > 0);
    int before = open_descriptors();
    for (int i = 0; i < 100; i++) {
        CHECK(give(door, &entry, 1) > 0);
    }
    CHECK_EQUAL(open_descriptors(), before + 100);
}

static void door_B11_B12_B13_B14(void) {
    int door = door_create(file_procedure, NULL, 0), one = 1;
    _Alignas(8) char buffer[64];
    door_arg_t arguments = {.data_ptr = (char *)&one, .data_size = 4, .rbuf = buffer, .rsize = 48};
    CHECK_EQUAL(door_call(door, &arguments), 0);
    CHECK(arguments.rbuf == buffer && arguments.rsize == 48);
    CHECK((char *)arguments.desc_ptr == buffer + 24);
    close(arguments.desc_ptr[0].d_data.d_desc.d_descriptor);
    arguments = (door_arg_t){.data_ptr = (char *)&one, .data_size = 4, .rbuf = buffer, .rsize = 47};
    CHECK_EQUAL(door_call(door, &arguments), 0);
    CHECK(arguments.rbuf != buffer && arguments.rsize == 4096);
    close(arguments.desc_ptr[0].d_data.d_desc.d_descriptor);
    munmap(arguments.rbuf, arguments.rsize);
}

static const struct test tests[] = {
    TEST(door_L3_F2_F8), TEST(door_F3),          TEST(door_F3_before_the_procedure),
    TEST(door_F4_E6_E7_E8), TEST(door_E11),      TEST(door_E13_E14_F14),
    TEST(door_descriptor_that_cannot_travel),
    TEST(door_F18),      TEST(door_F9),          TEST(door_R_EMFILE_client_full),
    TEST(door_E17),      TEST(door_E17_nearly_full), TEST(door_more_descriptors_than_room), TEST(door_F10), TEST(door_F10_given_away),         TEST(door_F11_F13),
    TEST(door_F15),      TEST(door_B11_B12_B13_B14),
};
TEST_MAIN(tests)
