/* Names: group N of the conformance cases. */
#include "harness.h"

#include <sched.h>
#include <sys/resource.h>

static void pid_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)descriptors, (void)count;
    int pid = getpid();
    door_return((char *)&pid, sizeof pid, NULL, 0);
}

static int ask(int door) {
    int pid = 0;
    return call(door, NULL, 0, &pid, sizeof pid, NULL) == 0 ? pid : -1;
}

static void make_file(const char *path, const char *text, mode_t mode) {
    int fd = open(path, O_CREAT | O_RDWR | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    CHECK_EQUAL(write(fd, text, strlen(text)), strlen(text));
    fchmod(fd, mode);
    close(fd);
}

static int make_attached(const char *path) {
    int door = door_create(pid_procedure, NULL, 0);
    CHECK(door >= 0);
    make_file(path, "covered", 0644);
    CHECK_EQUAL(fattach(door, path), 0);
    return door;
}

static void opener(int socket, void *path) {
    int door = door_open(path, O_RDONLY);
    CHECK(door >= 0);
    CHECK_EQUAL(ask(door), getppid());
    door_info_t info;
    CHECK_EQUAL(door_info(door, &info), 0);
    CHECK_EQUAL(info.di_target, getppid());
    CHECK(!(info.di_attributes & (DOOR_LOCAL | DOOR_IS_UNREF)));
    send_byte(socket, 'k');
}

static void door_N1(void) {
    char *path = temporary_path("n1");
    make_attached(path);
    finish_child(start_child(opener, path));
    int own = door_open(path, O_RDONLY);
    CHECK_EQUAL(ask(own), getpid());
    door_info_t info;
    CHECK_EQUAL(door_info(own, &info), 0);
    CHECK_EQUAL(info.di_target, getpid());
    CHECK(info.di_attributes & DOOR_LOCAL);
}

static void door_N2(void) {
    int door = door_create(pid_procedure, NULL, 0);
    CHECK_ERROR(fattach(door, temporary_path("missing")), ENOENT);
    CHECK_ERROR(fattach(door, ""), ENOENT);
    CHECK_ERROR(fattach(door, NULL), ENOENT);
}

static void door_N5(void) {
    char *path = temporary_path("n5");
    make_file(path, "", 0644);
    CHECK_ERROR(fattach(-1, path), EBADF);
    CHECK_ERROR(fattach(0, path), EINVAL);
}

static void door_N6_N7_N10_as_another_user(void) {
    char *path = temporary_path("n6"), *own = temporary_path("n7"), *attached = temporary_path("n10");
    make_file(path, "", 0644);
    make_file(own, "", 0400);
    CHECK_EQUAL(chown(own, 1234, 1234), 0);
    int door = make_attached(attached);
    if (geteuid() == 0) {
        CHECK_EQUAL(setresuid(1234, 1234, 1234), 0);
        CHECK_ERROR(fattach(door, path), EPERM);
        CHECK_ERROR(fattach(door, own), EACCES);
        CHECK_ERROR(fdetach(attached), EPERM);
        CHECK_EQUAL(chmod(own, 0600), 0);
        CHECK_EQUAL(fattach(door, own), 0);
        int opened = door_open(own, O_RDONLY);
        CHECK_EQUAL(ask(opened), getpid());
        CHECK_EQUAL(fdetach(own), 0);
    }
}

static void door_N8(void) {
    char *path = temporary_path("n8"), text[8] = {0};
    make_attached(path);
    int before = door_open(path, O_RDONLY);
    CHECK_EQUAL(fdetach(path), 0);
    int file = open(path, O_RDONLY);
    CHECK_EQUAL(read(file, text, 7), 7);
    CHECK(strcmp(text, "covered") == 0);
    CHECK_EQUAL(ask(before), getpid());
}

static void door_N9(void) {
    char *path = temporary_path("n9");
    make_file(path, "", 0644);
    CHECK_ERROR(fdetach(path), EINVAL);
    CHECK_ERROR(fdetach(temporary_path("missing")), ENOENT);
}

static void door_N11(void) {
    char *path = temporary_path("n11");
    struct stat status;
    make_attached(path);
    CHECK_EQUAL(stat(path, &status), 0);
    CHECK(S_ISSOCK(status.st_mode));
    CHECK_EQUAL(status.st_mode & 0444, 0444);
}

static void denied(int socket, void *path) {
    (void)socket;
    CHECK_EQUAL(setresuid(1234, 1234, 1234), 0);
    CHECK_ERROR(door_open(path, O_RDONLY), EACCES);
}

static void allowed(int socket, void *path) {
    (void)socket;
    CHECK_EQUAL(setresuid(1234, 1234, 1234), 0);
    CHECK(door_open(path, O_RDONLY) >= 0);
    CHECK_ERROR(door_open(path, O_RDWR), EACCES);
}

static void readable(int socket, void *path) {
    (void)socket;
    CHECK_EQUAL(setresuid(1234, 1234, 1234), 0);
    CHECK(door_open(path, O_RDONLY) >= 0);
}

static void door_N12(void) {
    char *path = temporary_path("n12");
    make_attached(path);
    if (geteuid() == 0) {
        finish_child(start_child(allowed, path));
        CHECK_EQUAL(chmod(path, 0600), 0);
        finish_child(start_child(denied, path));
        CHECK_EQUAL(chmod(path, 0644), 0);
        finish_child(start_child(readable, path));
    }
}

static void attach_and_wait(int socket, void *path) {
    int door = make_attached(path);
    (void)door;
    send_byte(socket, 'r');
    receive_byte(socket);
}

static void door_N14_N15(void) {
    char *path = temporary_path("n14");
    struct child server = start_child(attach_and_wait, path);
    receive_byte(server.socket);
    int early = door_open(path, O_RDONLY);
    CHECK_EQUAL(ask(early), server.pid);
    kill_child(server);
    CHECK_ERROR(ask(early), EBADF);
    int late = door_open(path, O_RDONLY);
    CHECK(late >= 0);
    CHECK_ERROR(ask(late), EBADF);
    door_info_t info;
    CHECK_EQUAL(door_info(late, &info), 0);
    CHECK_EQUAL(info.di_target, -1);
    CHECK(info.di_attributes & DOOR_REVOKED);
    CHECK_EQUAL(door_info(early, &info), 0);
    CHECK_EQUAL(info.di_target, -1);
    int door = door_create(pid_procedure, NULL, 0);
    CHECK_ERROR(fattach(door, path), EBUSY);
    CHECK_EQUAL(fdetach(path), 0);
    CHECK_EQUAL(fattach(door, path), 0);
    CHECK_EQUAL(ask(door_open(path, O_RDONLY)), getpid());
}

static void door_N16(void) {
    int door = door_create(pid_procedure, NULL, 0);
    door_info_t info, other;
    CHECK_EQUAL(door_info(door, &info), 0);
    for (int i = 0; i < 3; i++) {
        char name[24];
        snprintf(name, sizeof name, "n16-%d", i);
        char *path = temporary_path(name);
        make_file(path, "", 0644);
        CHECK_EQUAL(fattach(door, path), 0);
        int opened = door_open(path, O_RDONLY);
        CHECK_EQUAL(ask(opened), getpid());
        CHECK_EQUAL(door_info(opened, &other), 0);
        CHECK_EQUAL(other.di_uniquifier, info.di_uniquifier);
    }
}

static bool is_unreferenced(void *door) {
    door_info_t info;
    return door_info(*(int *)door, &info) == 0 && (info.di_attributes & DOOR_IS_UNREF);
}

static void door_N17(void) {
    char *path = temporary_path("n17"), covered[160];
    struct stat status;
    int door = make_attached(path);
    CHECK(!is_unreferenced(&door));
    CHECK_EQUAL(unlink(path), 0);
    CHECK(eventually(is_unreferenced, &door));
    CHECK_ERROR(stat(path, &status), ENOENT);
    char *slash = strrchr(path, '/');
    snprintf(covered, sizeof covered, "%.*s/.%s.door-orig", (int)(slash - path), path, slash + 1);
    CHECK_ERROR(stat(covered, &status), ENOENT);
}

/* The same for a user who has no inotify instances left. */
static void door_N17_unwatched(void) {
    int fd;
    if (unshare(CLONE_NEWUSER) < 0 || (fd = open("/proc/self/uid_map", O_WRONLY)) < 0 ||
        write(fd, "0 0 1", 5) != 5 || (fd = open("/proc/sys/user/max_inotify_instances", O_WRONLY)) < 0 ||
        write(fd, "0", 1) != 1) {
        return; /* user namespaces are not for everybody */
    }
    door_N17();
}

static void door_N_terminals(void) {
    int door = door_create(pid_procedure, NULL, 0);
    if (access("/dev/pts/ptmx", F_OK) == 0) {
        CHECK_ERROR(fattach(door, "/dev/pts/ptmx"), ENOTSUP);
    }
}

static void greedy_client(int socket, void *path) {
    enum { STRANGER = 4321 };
    int opened = 0;
    receive_byte(socket);
    CHECK_EQUAL(setuid(STRANGER), 0);
    for (int i = 0; i < 100; i++) {
        opened += ask(door_open(path, O_RDONLY)) > 0;
    }
    CHECK(opened > 0 && opened < 30); /* a quarter of the server's table */
    send_byte(socket, 'f');
    receive_byte(socket);
}

/* A stranger who opens a name again and again cannot take all of the server's descriptors. */
static void door_connections_have_a_share(void) {
    char *path = temporary_path("share");
    if (geteuid() != 0 || !system_is_real()) {
        return;
    }
    make_attached(path);
    CHECK_EQUAL(chmod(path, 0666), 0);
    struct child greedy = start_child(greedy_client, path);
    struct rlimit limit = {100, 100};
    CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &limit), 0);
    send_byte(greedy.socket, 'g');
    receive_byte(greedy.socket);
    CHECK_EQUAL(ask(door_open(path, O_RDONLY)), getpid());
    CHECK(open_descriptors() < 80);
    send_byte(greedy.socket, 'e');
    finish_child(greedy);
}

static void door_N18(void) {
    char *path = temporary_path("n18");
    make_attached(path);
    CHECK_EQUAL(ask(door_open(path, O_RDWR | O_CREAT)), getpid());
    CHECK_ERROR(door_open(path, O_RDWR | O_CREAT | O_EXCL), EEXIST);
}

static void door_N20(void) {
    char *path = temporary_path("n20");
    int door = door_create(pid_procedure, NULL, 0), other = dup(door);
    make_file(path, "", 0644);
    CHECK_EQUAL(door_revoke(door), 0);
    CHECK_EQUAL(fattach(other, path), 0);
    int opened = door_open(path, O_RDONLY);
    CHECK(opened >= 0);
    CHECK_ERROR(ask(opened), EBADF);
}

static void door_N21(void) {
    char name[64], *base = temporary_path("deep"), path[2048], link[64];
    int at = snprintf(path, sizeof path, "%s", base);
    CHECK_EQUAL(mkdir(path, 0755), 0);
    memset(name, 'd', 60);
    name[60] = 0;
    for (int i = 0; i < 6; i++) {
        at += snprintf(path + at, sizeof path - (size_t)at, "/%s", name);
        CHECK_EQUAL(mkdir(path, 0755), 0);
    }
    CHECK_EQUAL(chdir(path), 0);
    snprintf(path + at, sizeof path - (size_t)at, "/door");
    CHECK(strlen(path) > 300);
    make_attached(path);
    CHECK_EQUAL(ask(door_open(path, O_RDONLY)), getpid());
    CHECK_EQUAL(ask(door_open("door", O_RDONLY)), getpid());
    snprintf(link, sizeof link, "link");
    CHECK_EQUAL(symlink("door", link), 0);
    CHECK_EQUAL(ask(door_open(link, O_RDONLY)), getpid());
    CHECK_EQUAL(fdetach(link), 0);
    CHECK_ERROR(fdetach("door"), EINVAL);
    CHECK_EQUAL(fattach(door_create(pid_procedure, NULL, 0), "link"), 0);
    CHECK_EQUAL(ask(door_open("door", O_RDONLY)), getpid());
}

static void door_N22(void) {
    char *path = temporary_path("n22");
    make_file(path, "plain", 0644);
    int fd = door_open(path, O_RDONLY);
    CHECK(fd >= 0);
    CHECK_EQUAL(is_door(fd), 0);
    CHECK_ERROR(ask(fd), EBADF);
    CHECK_ERROR(door_open(temporary_path("none"), O_RDONLY), ENOENT);
}

static void door_N23(void) {
    int door = door_create(pid_procedure, NULL, 0);
    CHECK_EQUAL(isastream(door), 0);
    CHECK_ERROR(isastream(-1), EBADF);
}

static void attach_foreign(int socket, void *path) {
    int door = receive_fd(socket);
    make_file(path, "", 0644);
    CHECK_EQUAL(fattach(door, path), 0);
    CHECK_EQUAL(ask(door_open(path, O_RDONLY)), getppid());
}

static void door_N_attached_by_another_process(void) {
    char *path = temporary_path("nx");
    struct child child = start_child(attach_foreign, path);
    int door = door_create(pid_procedure, NULL, 0);
    send_fd(child.socket, door);
    finish_child(child);
    int opened = door_open(path, O_RDONLY);
    CHECK_EQUAL(ask(opened), getpid());
    CHECK_ERROR(fattach(opened, path), EBUSY);
    close(opened);
    CHECK_EQUAL(fdetach(path), 0);
    CHECK(eventually(is_unreferenced, &door));
}

static void door_N24(void) {
    char *path = temporary_path("n24"), text[8] = {0};
    struct child dead = start_child(attach_and_wait, path);
    receive_byte(dead.socket);
    kill_child(dead);
    int first = door_create(pid_procedure, NULL, 0), second = door_create(pid_procedure, NULL, 0);
    CHECK_EQUAL(door_replace(first, path), 0);
    int early = door_open(path, O_RDONLY);
    CHECK_EQUAL(ask(early), getpid());
    CHECK_EQUAL(door_replace(second, path), 0);
    close(early);
    CHECK(eventually(is_unreferenced, &first));
    CHECK(!is_unreferenced(&second));
    CHECK_EQUAL(fdetach(path), 0);
    int file = open(path, O_RDONLY);
    CHECK_EQUAL(read(file, text, 7), 7);
    CHECK(strcmp(text, "covered") == 0);
    CHECK_EQUAL(door_replace(first, path), 0);
    CHECK_EQUAL(ask(door_open(path, O_RDONLY)), getpid());
}

static void attaches_often(int socket, void *argument) {
    enum { TIMES = 300 };
    char path[200];
    snprintf(path, sizeof path, "%s-%c", (char *)argument, receive_byte(socket));
    int door = make_attached(path);
    for (int i = 0; i < TIMES; i++) {
        CHECK_EQUAL(fdetach(path), 0);
        CHECK_EQUAL(fattach(door, path), 0);
    }
}

/* Each has the number 1: what they make in the directory must not be named after that. */
static void door_names_of_processes_with_one_number(void) {
    char *path = temporary_path("zone");
    struct child zones[2];
    if (!system_is_real() || !start_child_in_pid_namespace(attaches_often, path, &zones[0]) ||
        !start_child_in_pid_namespace(attaches_often, path, &zones[1])) {
        return;
    }
    for (int i = 0; i < 2; i++) {
        send_byte(zones[i].socket, (char)('a' + i));
    }
    for (int i = 0; i < 2; i++) {
        finish_child(zones[i]);
    }
}

static const struct test tests[] = {
    TEST(door_N24),
    TEST(door_N1),
    TEST(door_N2),
    TEST(door_N5),
    TEST(door_N6_N7_N10_as_another_user),
    TEST(door_N8),
    TEST(door_N9),
    TEST(door_N11),
    TEST(door_N12),
    TEST(door_N14_N15),
    TEST(door_N16),
    TEST(door_N17),
    TEST(door_N17_unwatched),
    TEST(door_N_terminals),
    TEST(door_connections_have_a_share),
    TEST(door_N18),
    TEST(door_N20),
    TEST(door_N21),
    TEST(door_N22),
    TEST(door_N23),
    TEST(door_N_attached_by_another_process),
    TEST(door_names_of_processes_with_one_number),
};
TEST_MAIN(tests)
