/* What a door is, who holds it, who calls it: groups I, U, M, K, O, Z of the conformance cases. */
#include "harness.h"
#include "entries.h"

#include <grp.h>
#include <sched.h>
#include <time.h>
#include <zone.h>

static void door_C6_C8_I1(void) {
    int first = door_create(closing_procedure, (void *)0x1234, 0);
    int second = door_create(closing_procedure, (void *)0x5678, DOOR_UNREF);
    door_info_t one, two;
    CHECK_EQUAL(door_info(first, &one), 0);
    CHECK_EQUAL(door_info(second, &two), 0);
    CHECK(one.di_uniquifier != two.di_uniquifier);
    CHECK_EQUAL(one.di_target, getpid());
    CHECK_EQUAL(one.di_data, 0x1234);
    CHECK_EQUAL(two.di_data, 0x5678);
    CHECK_EQUAL(one.di_proc, (uintptr_t)closing_procedure);
    CHECK_EQUAL(one.di_attributes, DOOR_LOCAL | DOOR_IS_UNREF);
    CHECK_EQUAL(two.di_attributes, DOOR_LOCAL | DOOR_IS_UNREF | DOOR_UNREF);
    for (int i = 0; i < 4; i++) {
        CHECK_EQUAL(one.di_resv[i], 0);
    }
}

static void door_I4_by_door_dup(void) {
    int door = door_create(closing_procedure, NULL, 0);
    int copy = door_dup(door);
    CHECK(copy >= 0 && !(attributes_of(door) & DOOR_IS_UNREF));
    close(copy);
    CHECK(attributes_of(door) & DOOR_IS_UNREF);
}

/* Unreferenced notifications: the procedure tells what it saw through a pipe. */
static int seen[2], hold[2] = {-1, -1};

static void unref_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie;
    if (data == DOOR_UNREF_DATA) {
        char good = size == 0 && descriptors == NULL && count == 0;
        ucred_t *credentials = NULL;
        good = good && door_ucred(&credentials) == 0 && ucred_getpid(credentials) == 0 &&
               ucred_geteuid(credentials) == geteuid();
        ucred_free(credentials);
        good = good && door_return("x", 1, NULL, 0) == -1 && errno == E2BIG; /* R8 */
        send_byte(seen[1], good ? 'u' : 'b');
        if (hold[0] >= 0) {
            receive_byte(hold[0]);
        }
        door_return(NULL, 0, NULL, 0);
    }
    closing_procedure(NULL, data, size, descriptors, count);
}

static void expect_notification(void) {
    CHECK(byte_within(seen[0], 60000));
    CHECK_EQUAL(receive_byte(seen[0]), 'u');
}

static void expect_silence(void) {
    CHECK(!byte_within(seen[0], 100));
}

static void holder(int socket, void *unused) {
    (void)unused;
    int door = receive_fd(socket);
    CHECK_EQUAL(door_call(door, NULL), 0);
    send_byte(socket, 'h');
    receive_byte(socket);
    close(door);
    send_byte(socket, 'c');
    receive_byte(socket);
}

/* Hands the door out as a door's reply would, by a trunk of its own. */
static void hand_out(int socket, int door) {
    int copy = door_dup(door);
    CHECK(copy >= 0);
    send_fd(socket, copy);
    close(copy);
}

static void door_U1_U3_U5(void) {
    for (int multi = 0; multi < 2; multi++) {
        CHECK_EQUAL(pipe2(seen, O_CLOEXEC), 0);
        struct child first = start_child(holder, NULL), second = start_child(holder, NULL);
        int door = door_create(unref_procedure, NULL, multi ? DOOR_UNREF_MULTI : DOOR_UNREF);
        hand_out(first.socket, door);
        hand_out(second.socket, door);
        receive_byte(first.socket);
        receive_byte(second.socket);
        CHECK(!(attributes_of(door) & DOOR_IS_UNREF));
        send_byte(first.socket, 'c');
        receive_byte(first.socket);
        expect_silence();
        kill_child(second); /* death closes too */
        expect_notification();
        CHECK_EQUAL(attributes_of(door) & (DOOR_UNREF | DOOR_IS_UNREF), DOOR_IS_UNREF);
        close(door_dup(door));
        if (multi) {
            expect_notification();
        } else {
            expect_silence();
        }
        send_byte(first.socket, 'e');
        finish_child(first);
    }
}

static void door_U6(void) {
    CHECK_EQUAL(pipe2(seen, O_CLOEXEC), 0);
    struct child child = start_child(holder, NULL);
    int door = door_create(unref_procedure, NULL, DOOR_UNREF);
    hand_out(child.socket, door);
    receive_byte(child.socket);
    close(door);
    expect_notification();
    kill_child(child);
}

static void door_counters_of_calls(void) {
    door_counters_t counters;
    int door = door_create(closing_procedure, NULL, 0);
    CHECK_EQUAL(door_counters(door, &counters), 0);
    CHECK(counters.calls == 0 && counters.failures == 0 && counters.active == 0);
    CHECK_EQUAL(counters.references, 1);
    int another = door_dup(door);
    CHECK_EQUAL(door_call(another, NULL), 0);
    CHECK_EQUAL(door_call(door, NULL), 0);
    CHECK_EQUAL(door_setparam(door, DOOR_PARAM_DATA_MIN, 1), 0);
    CHECK_ERROR(door_call(door, NULL), ENOBUFS); /* no thread has seen it */
    CHECK_EQUAL(door_counters(another, &counters), 0);
    CHECK_EQUAL(counters.calls, 2);
    CHECK_EQUAL(counters.failures, 0);
    CHECK_EQUAL(counters.references, 2);
    CHECK_ERROR(door_counters(-1, &counters), EBADF);
    CHECK_ERROR(door_counters(door, NULL), EFAULT);
}

static void door_U7(void) {
    CHECK_EQUAL(pipe2(seen, O_CLOEXEC), 0);
    int door = door_create(unref_procedure, NULL, DOOR_UNREF_MULTI);
    close(door);
    expect_silence();
}

static void door_U9_names(void) {
    CHECK_EQUAL(pipe2(seen, O_CLOEXEC), 0);
    char *path = temporary_path("u9");
    int door = door_create(unref_procedure, NULL, DOOR_UNREF_MULTI);
    close(open(path, O_CREAT | O_RDWR, 0644));
    CHECK_EQUAL(fattach(door, path), 0);
    close(door_open(path, O_RDONLY));
    expect_silence();
    int opened = door_open(path, O_RDONLY);
    CHECK_EQUAL(fdetach(path), 0);
    expect_silence();
    close(opened);
    expect_notification();
    CHECK_EQUAL(fattach(door, path), 0);
    CHECK_EQUAL(fdetach(path), 0);
    expect_notification();
}

static void door_U16_fork(void) {
    CHECK_EQUAL(pipe2(seen, O_CLOEXEC), 0);
    int door = door_create(unref_procedure, NULL, DOOR_UNREF_MULTI);
    pid_t pid = fork();
    if (pid == 0) {
        execl("/bin/true", "true", NULL);
        _exit(1);
    }
    waitpid(pid, NULL, 0);
    expect_notification();
    CHECK(attributes_of(door) & DOOR_IS_UNREF);
}

static void door_U17_U20(void) {
    CHECK_EQUAL(pipe2(seen, O_CLOEXEC), 0);
    CHECK_EQUAL(pipe2(hold, O_CLOEXEC), 0);
    int door = door_create(unref_procedure, NULL, DOOR_UNREF_MULTI);
    close(door_dup(door));
    expect_notification();
    for (int i = 0; i < 5; i++) {
        close(door_dup(door));
        CHECK(attributes_of(door) & DOOR_IS_UNREF);
    }
    expect_silence();
    for (int i = 0; i < 6; i++) {
        send_byte(hold[1], 'g');
    }
    expect_notification();
    int again = door_dup(door);
    CHECK(!(attributes_of(door) & DOOR_IS_UNREF));
    (void)again;
}

/* Who holds a door, as the model has it: references, and how many of them are names or were opened by name. */
static struct {
    int door;
    unsigned references, named;
    int copies[4], opened[4];
    int copied, opens;
    struct child child;
    bool held, attached;
    char *path;
} model;

static bool as_in_the_model(void *unused) {
    (void)unused;
    door_counters_t counters;
    bool single = model.references == 1 && model.named == 0;
    CHECK_EQUAL(door_counters(model.door, &counters), 0);
    return counters.references == model.references && !(attributes_of(model.door) & DOOR_IS_UNREF) == !single;
}

/* Holds a door that it is sent, again and again. */
static void holds(int socket, void *unused) {
    (void)unused;
    for (;;) {
        int door = receive_fd(socket);
        CHECK_EQUAL(door_call(door, NULL), 0);
        send_byte(socket, 'h');
        receive_byte(socket);
        close(door);
        send_byte(socket, 'c');
    }
}

/* One change, if it is possible now: of the references, and of the named ones among them. */
static void change(int what) {
    int by = 0, named = 0;
    if (what == 0 && model.copied < 4) {
        model.copies[model.copied++] = door_dup(model.door);
        by = 1;
    } else if (what == 1 && model.copied > 0) {
        close(model.copies[--model.copied]);
        by = -1;
    } else if (what == 2 && !model.held) {
        hand_out(model.child.socket, model.door);
        receive_byte(model.child.socket);
        model.held = true;
        by = 1;
    } else if (what == 3 && model.held) {
        send_byte(model.child.socket, 'c');
        receive_byte(model.child.socket);
        model.held = false;
        by = -1;
    } else if (what == 4) {
        named = by = model.attached ? -1 : 1;
        CHECK_EQUAL(model.attached ? fdetach(model.path) : fattach(model.door, model.path), 0);
        model.attached = !model.attached;
    } else if (what == 5 && model.attached && model.opens < 4) {
        model.opened[model.opens++] = door_open(model.path, O_RDONLY);
        named = by = 1;
    } else if (what == 6 && model.opens > 0) {
        close(model.opened[--model.opens]);
        named = by = -1;
    }
    model.references += (unsigned)by;
    model.named += (unsigned)named;
    CHECK(eventually(as_in_the_model, NULL));
    if (by < 0 && model.references == 1 && model.named == 0) {
        expect_notification();
    }
}

static void door_U_against_a_model(void) {
    CHECK_EQUAL(pipe2(seen, O_CLOEXEC), 0);
    model.child = start_child(holds, NULL); /* before there is a door that it could inherit */
    model.path = temporary_path("model");
    close(open(model.path, O_CREAT | O_RDWR, 0644));
    model.door = door_create(unref_procedure, NULL, DOOR_UNREF_MULTI);
    model.references = 1;
    srandom(42);
    for (int i = 0; i < 400; i++) {
        change((int)(random() % 7));
    }
    expect_silence();
    kill_child(model.child);
}

static void door_V11(void) {
    CHECK_EQUAL(pipe2(seen, O_CLOEXEC), 0);
    int door = door_create(unref_procedure, NULL, DOOR_UNREF_MULTI), copy = door_dup(door);
    CHECK_EQUAL(door_revoke(door), 0);
    (void)copy;
    expect_silence();
}

static void door_M1_to_M10(void) {
    int door = door_create(closing_procedure, NULL, 0), refusing = door_create(closing_procedure, NULL, DOOR_REFUSE_DESC);
    size_t value = 7;
    CHECK_EQUAL(door_getparam(door, DOOR_PARAM_DESC_MAX, &value), 0);
    CHECK_EQUAL(value, 0x7fffffff);
    CHECK_EQUAL(door_getparam(door, DOOR_PARAM_DATA_MAX, &value), 0);
    CHECK(value == SIZE_MAX);
    CHECK_EQUAL(door_getparam(door, DOOR_PARAM_DATA_MIN, &value), 0);
    CHECK_EQUAL(value, 0);
    CHECK_EQUAL(door_getparam(refusing, DOOR_PARAM_DESC_MAX, &value), 0);
    CHECK_EQUAL(value, 0);
    CHECK_ERROR(door_setparam(door, DOOR_PARAM_DESC_MAX, (size_t)0x80000000u), ERANGE);
    CHECK_ERROR(door_setparam(refusing, DOOR_PARAM_DESC_MAX, 1), ENOTSUP);
    CHECK_EQUAL(door_setparam(refusing, DOOR_PARAM_DESC_MAX, 0), 0);
    CHECK_ERROR(door_setparam(door, 0, 0), EINVAL);
    CHECK_ERROR(door_setparam(door, 4, 0), EINVAL);
    CHECK_ERROR(door_getparam(door, 4, &value), EINVAL);
    CHECK_ERROR(door_getparam(door, 4, NULL), EINVAL);
    CHECK_ERROR(door_getparam(door, 1, NULL), EFAULT);
    CHECK_ERROR(door_getparam(0, 1, &value), EBADF);
    CHECK_ERROR(door_setparam(0, 1, 1), EBADF);
    CHECK_EQUAL(door_setparam(door, DOOR_PARAM_DATA_MAX, 4), 0);
    CHECK_ERROR(door_setparam(door, DOOR_PARAM_DATA_MIN, 5), EINVAL);
    CHECK_EQUAL(door_setparam(door, DOOR_PARAM_DATA_MIN, 4), 0);
    CHECK_ERROR(door_setparam(door, DOOR_PARAM_DATA_MAX, 3), EINVAL);
    CHECK_ERROR(call(door, "abc", 3, NULL, 0, NULL), ENOBUFS);
    CHECK_ERROR(call(door, "abcde", 5, NULL, 0, NULL), ENOBUFS);
    CHECK_ERROR(door_call(door, NULL), ENOBUFS);
    CHECK_EQUAL(call(door, "abcd", 4, NULL, 0, NULL), 0);
}

static void child_of_owner(int socket, void *door) {
    (void)socket;
    int fd = *(int *)door;
    door_info_t info;
    CHECK_EQUAL(door_info(fd, &info), 0);
    CHECK_EQUAL(info.di_target, getppid());
    CHECK(!(info.di_attributes & DOOR_LOCAL));
    CHECK_ERROR(door_revoke(fd), EPERM);
    CHECK(fcntl(fd, F_GETFD) >= 0);
    CHECK_ERROR(door_setparam(fd, DOOR_PARAM_DATA_MAX, 1), EPERM);
    CHECK_ERROR(door_bind(fd), EINVAL);
    CHECK_EQUAL(door_call(fd, NULL), 0);
    int own = door_create(closing_procedure, NULL, 0); /* O6 */
    CHECK_EQUAL(door_call(own, NULL), 0);
    CHECK_EQUAL(door_info(own, &info), 0);
    CHECK_EQUAL(info.di_target, getpid());
}

static void door_I2_V2_O5_O6(void) {
    int door = door_create(closing_procedure, NULL, 0);
    CHECK_EQUAL(door_call(door, NULL), 0);
    finish_child(start_child(child_of_owner, &door));
    CHECK_EQUAL(door_call(door, NULL), 0);
}

static void credentials_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)descriptors, (void)count;
    ucred_t *credentials = NULL;
    door_cred_t plain;
    const gid_t *groups = NULL;
    int answer[9] = {0};
    if (door_ucred(&credentials) == 0 && door_cred(&plain) == 0) {
        answer[0] = ucred_getpid(credentials);
        answer[1] = (int)ucred_geteuid(credentials);
        answer[2] = (int)ucred_getruid(credentials);
        answer[3] = (int)ucred_getegid(credentials);
        answer[4] = (int)ucred_getrgid(credentials);
        answer[5] = ucred_getgroups(credentials, &groups);
        answer[6] = answer[5] > 0 ? (int)groups[0] : -1;
        answer[7] = ucred_getzoneid(credentials);
        answer[8] = plain.dc_pid == answer[0] && (int)plain.dc_euid == answer[1] &&
                    (int)ucred_getsuid(credentials) >= 0 && ucred_getprojid(credentials) == -1;
    }
    ucred_free(credentials);
    door_return((char *)answer, sizeof answer, NULL, 0);
}

static void known_client(int socket, void *unused) {
    (void)unused;
    int door = receive_fd(socket), answer[9];
    if (geteuid() == 0) {
        gid_t group = 4321;
        CHECK_EQUAL(setgroups(1, &group), 0);
        CHECK_EQUAL(setresgid(11, 12, 13), 0);
        CHECK_EQUAL(setresuid(0, 0, 0), 0);
        CHECK_EQUAL(call(door, NULL, 0, answer, sizeof answer, NULL), 0);
        CHECK_EQUAL(answer[1], 0);
        CHECK_EQUAL(seteuid(1001), 0); /* K2 */
    }
    CHECK_EQUAL(call(door, NULL, 0, answer, sizeof answer, NULL), 0);
    CHECK_EQUAL(answer[0], getpid());
    CHECK_EQUAL(answer[1], geteuid());
    CHECK_EQUAL(answer[2], getuid());
    CHECK_EQUAL(answer[3], getegid());
    CHECK_EQUAL(answer[4], getgid());
    CHECK_EQUAL(answer[8], 1);
    CHECK_EQUAL(answer[7], 0);
    if (getuid() == 0) {
        CHECK_EQUAL(answer[5], 1);
        CHECK_EQUAL(answer[6], 4321);
    }
    pid_t pid = fork(); /* K9 */
    if (pid == 0) {
        CHECK_EQUAL(call(door, NULL, 0, answer, sizeof answer, NULL), 0);
        CHECK_EQUAL(answer[0], getpid());
        _exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    CHECK_EQUAL(status, 0);
    CHECK_EQUAL(call(door, NULL, 0, answer, sizeof answer, NULL), 0);
    CHECK_EQUAL(answer[0], getpid());
}

static void door_K1_K2_K9(void) {
    struct child child = start_child(known_client, NULL);
    send_fd(child.socket, door_create(credentials_procedure, NULL, 0));
    finish_child(child);
    ucred_t *credentials = NULL;
    CHECK_ERROR(door_ucred(&credentials), EINVAL);
}

/* A client in namespaces of its own: another zone, and the kernel still knows who it is. */
static void client_elsewhere(int socket, void *unused) {
    (void)unused;
    int door = receive_fd(socket), answer[9], status;
    if (unshare(CLONE_NEWPID | CLONE_NEWNS) < 0) {
        return; /* not allowed here */
    }
    pid_t pid = fork(); /* the first process of the pid namespace */
    if (pid == 0) {
        CHECK_EQUAL(call(door, NULL, 0, answer, sizeof answer, NULL), 0);
        send_byte(socket, (char)(answer[0] > 1));
        send_byte(socket, (char)answer[7]);
        CHECK_EQUAL(answer[1], geteuid());
        _exit(0);
    }
    CHECK_EQUAL(waitpid(pid, &status, 0), pid);
    CHECK_EQUAL(status, 0);
}

static void door_Z4_K12(void) {
    struct child child = start_child(client_elsewhere, NULL);
    send_fd(child.socket, door_create(credentials_procedure, NULL, 0));
    struct pollfd entry = {.fd = child.socket, .events = POLLIN};
    poll(&entry, 1, 20000);
    char bytes[2], name[ZONENAME_MAX];
    if (read(child.socket, bytes, 1) == 1) { /* nothing is sent where namespaces are not allowed */
        CHECK_EQUAL(bytes[0], 1);
        CHECK_EQUAL(read(child.socket, bytes + 1, 1), 1);
        CHECK(bytes[1] >= MIN_USERZONEID);
        CHECK(getzonenamebyid(bytes[1], name, sizeof name) > 0);
        CHECK_EQUAL(getzoneidbyname(name), bytes[1]);
    }
    finish_child(child);
}

static atomic_int self_door;

static void recursive_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)descriptors, (void)count, (void)size;
    int depth = data[0], result = 0;
    ucred_t *credentials = NULL;
    if (depth > 0) {
        char below = (char)(depth - 1);
        if (call(self_door, &below, 1, &result, sizeof result, NULL) < 0) {
            result = -errno;
        }
    }
    if (door_ucred(&credentials) < 0 || (depth == 5) != (ucred_getpid(credentials) != getpid())) {
        result = -1000; /* K6: nested calls leave the caller as it was */
    }
    ucred_free(credentials);
    result = result < 0 ? result : result + 1;
    door_return((char *)&result, sizeof result, NULL, 0);
}

static void recursive_client(int socket, void *unused) {
    (void)unused;
    int door = receive_fd(socket), result = 0;
    char depth = 5;
    CHECK_EQUAL(call(door, &depth, 1, &result, sizeof result, NULL), 0);
    CHECK_EQUAL(result, 6);
}

static void door_K6_K7(void) {
    struct child child = start_child(recursive_client, NULL);
    self_door = door_create(recursive_procedure, NULL, 0);
    send_fd(child.socket, self_door);
    finish_child(child);
}

/* Processes that end. */
static int running[2];

static void hanging_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)descriptors, (void)count, (void)size;
    send_byte(running[1], 'r');
    if (data != NULL) {
        execl("/bin/sleep", "sleep", "5", NULL);
    }
    for (;;) {
        pause();
    }
}

static void hanging_server(int socket, void *unused) {
    (void)unused;
    int door = door_create(hanging_procedure, NULL, 0);
    send_fd(socket, door);
    receive_byte(socket);
}

static void *call_expecting_eintr(void *argument) {
    int door = *(int *)argument;
    CHECK_ERROR(door_call(door, NULL), EINTR);
    return NULL;
}

static void door_O1_O7_E4(void) {
    CHECK_EQUAL(pipe(running), 0);
    struct child server = start_child(hanging_server, NULL);
    int door = receive_fd(server.socket);
    pthread_t thread;
    CHECK_EQUAL(pthread_create(&thread, NULL, call_expecting_eintr, &door), 0);
    receive_byte(running[0]);
    kill_child(server);
    pthread_join(thread, NULL);
    CHECK_ERROR(door_call(door, NULL), EBADF);
    door_info_t info;
    CHECK_EQUAL(door_info(door, &info), 0);
    CHECK_EQUAL(info.di_target, -1);
    CHECK(info.di_attributes & DOOR_REVOKED);
    CHECK_ERROR(door_revoke(door), EPERM);
    CHECK_ERROR(door_setparam(door, 1, 1), EBADF);
}

static void door_O3(void) {
    CHECK_EQUAL(pipe(running), 0);
    struct child server = start_child(hanging_server, NULL);
    int door = receive_fd(server.socket);
    CHECK_ERROR(call(door, "exec", 4, NULL, 0, NULL), EINTR);
    CHECK_ERROR(door_call(door, NULL), EBADF);
    kill_child(server);
}

static void door_Z1_Z2_Z5(void) {
    char name[ZONENAME_MAX], shorter[3];
    CHECK_EQUAL(getzoneid(), GLOBAL_ZONEID);
    CHECK_EQUAL(getzonenamebyid(getzoneid(), name, sizeof name), 7);
    CHECK(strcmp(name, "global") == 0);
    CHECK_EQUAL(getzoneidbyname(name), getzoneid());
    CHECK_EQUAL(getzoneidbyname(NULL), getzoneid());
    CHECK_ERROR(getzonenamebyid(9998, name, sizeof name), EINVAL);
    CHECK_EQUAL(getzonenamebyid(0, shorter, sizeof shorter), 7);
    CHECK_ERROR(getzoneidbyname("nowhere"), EINVAL);
}

static const struct test tests[] = {
    TEST(door_C6_C8_I1), TEST(door_I4_by_door_dup), TEST(door_U1_U3_U5), TEST(door_U6),
    TEST(door_U7),       TEST(door_U9_names),       TEST(door_U16_fork), TEST(door_U17_U20),
    TEST(door_U_against_a_model),
    TEST(door_V11),      TEST(door_M1_to_M10),      TEST(door_I2_V2_O5_O6), TEST(door_K1_K2_K9),
    TEST(door_Z4_K12),   TEST(door_counters_of_calls),
    TEST(door_K6_K7),    TEST(door_O1_O7_E4),       TEST(door_O3),       TEST(door_Z1_Z2_Z5),
};
TEST_MAIN(tests)
