/*
 * Attacks on doors by processes of another user, each with what it costs the victim: descriptors, threads, time.
 */
#include "attacks.h"

#include <dirent.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>

/* Every datagram of the attacker brings a control message that the server has not asked for. */
static void sends_control_messages(int socket, void *path) {
    become_stranger();
    receive_byte(socket);
    for (unsigned round = 0; round < 40; round++) {
        int trunk = door_open(path, O_RDONLY), on = 1;
        CHECK(trunk >= 0);
        for (unsigned option = 0; option <= CONTROL_OPTION_COUNT; option++) { /* each, and all of them */
            struct attached attached = attach(trunk);
            for (unsigned i = 0; i < CONTROL_OPTION_COUNT; i++) {
                if (i == option || option == CONTROL_OPTION_COUNT) {
                    setsockopt(attached.other, SOL_SOCKET, CONTROL_OPTIONS[i].number, &on, sizeof on);
                }
            }
            for (unsigned i = 0; i < 50; i++) {
                struct message message = {.type = i % 2 ? MESSAGE_FDS : MESSAGE_GO, .count = i % 4, .sequence = 1};
                int files[3] = {0, 1, 2};
                message_send(attached.fd, &message, files, message.type == MESSAGE_FDS ? i % 4 : 0);
            }
            queue_call(&attached, 0, 0);
            detach(&attached);
        }
        close(trunk);
    }
    send_byte(socket, 'd');
    receive_byte(socket);
}

static int descriptors_before;

static bool has_given_back(void *unused) {
    (void)unused;
    return open_descriptors() <= descriptors_before;
}

static void door_foreign_control_messages(void) {
    char *path = temporary_path("control");
    int door = make_public(path), most = 0;
    struct child attacker = start_child(sends_control_messages, path);
    CHECK_EQUAL(ask_number(door), 77);
    descriptors_before = open_descriptors();
    send_byte(attacker.socket, 'g');
    while (!byte_within(attacker.socket, 1)) {
        int count = descriptors_of_now();
        most = count > most ? count : most;
        CHECK(count < descriptors_before + CLOSING_MOST_OF_PROCESS + 32); /* that many wait to be closed, and what is being read */
        CHECK_EQUAL(ask_number(door), 77);
    }
    CHECK(eventually(has_given_back, NULL));
    CHECK_EQUAL(ask_number(door), 77);
    printf("      descriptors: %d before, at most %d during, %d after\n", descriptors_before, most, open_descriptors());
    send_byte(attacker.socket, 'e');
    finish_child(attacker);
}

/* Descriptors ahead of calls that are never made. */
static void sends_descriptors(int socket, void *path) {
    struct attached channels[8];
    int files[20];
    receive_byte(socket);
    become_stranger();
    int trunk = door_open(path, O_RDONLY);
    CHECK(trunk >= 0);
    for (int i = 0; i < 20; i++) {
        files[i] = i % 3;
    }
    for (unsigned i = 0; i < 8; i++) {
        channels[i] = attach(trunk);
        for (unsigned j = 0; j < 4; j++) {
            unsigned count = 20; /* 640 in all */
            struct message message = {.type = MESSAGE_FDS, .sequence = 1, .count = count};
            message_send(channels[i].fd, &message, files, count);
        }
    }
    send_byte(socket, 's');
    receive_byte(socket);
}

static void door_descriptors_without_calls(void) {
    char *path = temporary_path("ahead");
    if (geteuid() != 0 || !system_is_real()) {
        return;
    }
    int door = make_public(path);
    struct child attacker = start_child(sends_descriptors, path);
    struct rlimit limit = {400, 400};
    CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &limit), 0);
    CHECK_EQUAL(ask_number(door), 77);
    descriptors_before = open_descriptors();
    send_byte(attacker.socket, 'g');
    receive_byte(attacker.socket);
    int most = 0;
    for (int i = 0; i < 50; i++) {
        int count = descriptors_of_now();
        most = count > most ? count : most;
        CHECK_EQUAL(ask_number(door), 77);
        poll(NULL, 0, 2);
    }
    printf("      descriptors: %d before, at most %d during\n", descriptors_before, most);
    /* A quarter of the table, the channels, what waits to be closed, and the datagrams that are being read: not all 640. */
    CHECK(most < descriptors_before + 100 + 8 * 2 + CLOSING_MOST_OF_PROCESS + 8 * 20);
    send_byte(attacker.socket, 'e');
    finish_child(attacker);
    CHECK(eventually(has_given_back, NULL));
}

/* The server made the client's end of the trunk, too, and has set its options. */
static void door_foreign_control_messages_of_a_server(void) {
    for (unsigned option = 0; option < CONTROL_OPTION_COUNT; option++) {
        int on = 1;
        struct trunk_ends ends = make_liar();
        CHECK_EQUAL(is_door(ends.client), 1);
        setsockopt(ends.client, SOL_SOCKET, CONTROL_OPTIONS[option].number, &on, sizeof on);
        int before = open_descriptors();
        door_info_t info;
        for (int i = 0; i < 200; i++) {
            is_door(ends.client);
            door_info(ends.client, &info);
        }
        CHECK_EQUAL(open_descriptors(), before);
        close(ends.client);
        close(ends.server);
    }
}

/* A server that never reads from its trunk, which is full. */
static int make_deaf(struct trunk_ends *ends) {
    *ends = make_liar();
    int fds[2] = {0, 1}, error;
    struct message message = {.type = MESSAGE_ATTACH};
    while ((error = message_send(ends->client, &message, fds, 2)) == 0) {
    }
    return error;
}

static void ignore(int number) {
    (void)number;
}

static void set_alarm(unsigned milliseconds) {
    struct sigaction action = {.sa_handler = ignore};
    struct timeval time = {.tv_sec = milliseconds / 1000, .tv_usec = (long)(milliseconds % 1000) * 1000};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &(struct itimerval){.it_value = time}, NULL);
}

/* Attaching waits for room no longer than the call may take, and hears signals. */
static void door_deaf_server(void) {
    struct trunk_ends ends;
    CHECK_EQUAL(make_deaf(&ends), EAGAIN);
    int before = open_descriptors();
    door_arg_t arguments = {0};
    double start = now();
    for (int i = 0; i < 20; i++) {
        CHECK_ERROR(door_call_within(ends.client, &arguments, 1000), EAGAIN);
    }
    CHECK(now() - start < 2);
    set_alarm(50);
    CHECK_ERROR(door_call(ends.client, &arguments), EAGAIN);
    CHECK(now() - start < 4);
    CHECK_EQUAL(open_descriptors(), before);
    close(ends.server);
    CHECK_ERROR(door_call(ends.client, &arguments), EBADF);
}

/* A server that answers with datagrams without end, so that the socket of the caller is never empty. */
static void floods(int socket, void *argument) {
    const struct trunk_ends *ends = argument;
    struct message message;
    struct receipt receipt;
    (void)socket;
    become_stranger();
    close(ends->client);
    struct pollfd entry = {.fd = ends->server, .events = POLLIN};
    CHECK_EQUAL(poll(&entry, 1, 20000), 1);
    CHECK_EQUAL(message_receive(ends->server, &(struct closing_payer){-1, 0, -1}, &message, &receipt, 0), 0);
    CHECK_EQUAL(receipt.count, 2);
    struct session *session = mmap(NULL, SESSION_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, receipt.fds[1], 0);
    CHECK(session != MAP_FAILED);
    while (atomic_load(&session->state) != CALL_QUEUED) {
        sched_yield();
    }
    atomic_store(&session->state, CALL_ACTIVE);
    for (unsigned i = 0;; i++) {
        struct message flood = {.type = i % 3 ? MESSAGE_FDQUERY : MESSAGE_ACCEPTED,
                                .sequence = atomic_load(&session->sequence),
                                .count = i % 3 ? 8 : 0};
        int error = message_send(receipt.fds[0], &flood, NULL, 0);
        if (error != 0 && error != EAGAIN) {
            return;
        }
        if (error == EAGAIN) {
            sched_yield();
        }
    }
}

static void door_flooding_server(void) {
    struct trunk_ends ends = make_liar();
    struct child server = start_child(floods, &ends);
    close(ends.server);
    door_arg_t arguments = {0};
    int before = open_descriptors();
    double start = now();
    set_alarm(200);
    CHECK_ERROR(door_call(ends.client, &arguments), EINTR);
    CHECK(now() - start < 5);
    CHECK_EQUAL(open_descriptors(), before);
    close(ends.client);
    kill_child(server);
}

/* In the place of every socket that is about to be attached, the attacker puts a link to a file of the victim's. */
struct trap {
    char directory[128], secret[160];
};

static void swaps_names(int socket, void *argument) {
    const struct trap *trap = argument;
    become_stranger();
    CHECK_EQUAL(chdir(trap->directory), 0);
    send_byte(socket, 'r');
    while (!byte_within(socket, 0)) {
        DIR *listing = opendir(".");
        CHECK(listing != NULL);
        for (struct dirent *entry; (entry = readdir(listing)) != NULL;) {
            if (strncmp(entry->d_name, ".door-", 6) == 0 && unlink(entry->d_name) == 0) {
                if (symlink(trap->secret, entry->d_name) < 0) {
                    (void)!link(trap->secret, entry->d_name);
                }
            }
        }
        closedir(listing);
    }
}

static int attach_beside_attacker(const char *name, mode_t mode, uid_t owner) {
    struct trap trap;
    char path[160];
    struct stat status;
    int attached = 0, refused = 0;
    snprintf(trap.directory, sizeof trap.directory, "%s", temporary_path(name));
    snprintf(trap.secret, sizeof trap.secret, "%s", temporary_path("secret"));
    snprintf(path, sizeof path, "%s/door", trap.directory);
    CHECK_EQUAL(mkdir(trap.directory, 0700), 0);
    close(open(trap.secret, O_CREAT | O_RDWR | O_TRUNC | O_CLOEXEC, 0600));
    int door = door_create(number_procedure, NULL, 0);
    close(open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0644));
    CHECK_EQUAL(chmod(path, 0644), 0);
    CHECK_EQUAL(chmod(trap.directory, mode), 0);
    CHECK_EQUAL(chown(trap.directory, owner, owner), 0);
    struct child attacker = start_child(swaps_names, &trap);
    receive_byte(attacker.socket);
    for (int i = 0; i < 150; i++) {
        close(open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0644));
        if (fattach(door, path) == 0) {
            attached++;
            fdetach(path);
        } else {
            refused++;
        }
        CHECK_EQUAL(lstat(trap.secret, &status), 0);
        CHECK_EQUAL(status.st_mode & 07777, 0600);
        CHECK_EQUAL(status.st_uid, 0);
    }
    send_byte(attacker.socket, 'e');
    finish_child(attacker);
    CHECK_EQUAL(door_revoke(door), 0);
    unlink(path);
    printf("      %s: attached %d times, refused %d times; the file is untouched\n", name, attached, refused);
    return attached;
}

static void door_names_in_hostile_directories(void) {
    if (geteuid() == 0 && system_is_real()) {
        CHECK_EQUAL(attach_beside_attacker("writable", 0777, 0), 0);
        CHECK_EQUAL(attach_beside_attacker("of-a-group", 0775, STRANGER), 0);
        attach_beside_attacker("of-the-attacker", 0755, STRANGER);
        CHECK_EQUAL(attach_beside_attacker("sticky", 01777, 0), 150);
    }
}

/* What the name covered is removed with it, but only in the directory that the door was attached in. */
static bool is_gone(void *path) {
    return access(path, F_OK) < 0;
}

static void door_covered_file_of_another_directory(void) {
    char mine[160], theirs[160], aside[160], name[200], covered[200], other[200];
    snprintf(theirs, sizeof theirs, "%s", temporary_path("theirs"));
    snprintf(aside, sizeof aside, "%s", temporary_path("aside"));
    snprintf(mine, sizeof mine, "%s", temporary_path("mine"));
    CHECK_EQUAL(mkdir(theirs, 0755), 0);
    CHECK_EQUAL(mkdir(mine, 0755), 0);
    snprintf(name, sizeof name, "%s/x", theirs);
    make_public(name);
    snprintf(other, sizeof other, "%s/.x.door-orig", mine);
    close(open(other, O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    CHECK_EQUAL(rename(theirs, aside), 0); /* the path now leads to another directory */
    CHECK_EQUAL(symlink(mine, theirs), 0);
    snprintf(name, sizeof name, "%s/x", aside);
    snprintf(covered, sizeof covered, "%s/.x.door-orig", aside);
    CHECK_EQUAL(access(covered, F_OK), 0);
    CHECK_EQUAL(unlink(name), 0);
    CHECK(eventually(is_gone, covered));
    CHECK_EQUAL(access(other, F_OK), 0);
}

/*
 * A server between namespaces: neither it nor its caller has a number that the victim sees. It gives the victim its
 * caller's socket as its own, and the request is its own.
 */
static _Atomic uint32_t *served_as; /* euid of the last caller, plus one; shared with the victim */

static void credential_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)descriptors, (void)count;
    door_cred_t caller;
    if (door_cred(&caller) == 0) {
        atomic_store(served_as, caller.dc_euid + 1);
    }
    door_return(NULL, 0, NULL, 0);
}

static void victim_in_a_namespace(int socket, void *unused) {
    (void)unused;
    int door = door_create(credential_procedure, NULL, 0);
    CHECK(door >= 0);
    send_fd(socket, door_dup(door));
    receive_byte(socket);
}

/* Calls the relay's door as root, which is what the relay needs a caller for. */
static void calls_the_relay(int socket, void *argument) {
    int relay = *(int *)argument;
    door_arg_t arguments = {0};
    set_alarm(1000);
    door_call(relay, &arguments);
    receive_byte(socket);
}

static void relays(int socket, void *argument) {
    const int *ends = argument; /* the relay's own trunk, and the victim's door */
    struct message message;
    struct receipt receipt;
    become_stranger();
    struct pollfd entry = {.fd = ends[0], .events = POLLIN};
    CHECK_EQUAL(poll(&entry, 1, 20000), 1);
    CHECK_EQUAL(message_receive(ends[0], &(struct closing_payer){-1, 0, -1}, &message, &receipt, 0), 0);
    CHECK_EQUAL(receipt.count, 2);
    CHECK_EQUAL(message_send(ends[1], &message, receipt.fds, 2), 0); /* the caller's own channel and memory */
    for (int i = 0; i < 100 && atomic_load(served_as) == 0; i++) {
        poll(NULL, 0, 10);
    }
    send_byte(socket, 'd');
}

static void door_relay_between_namespaces(void) {
    if (geteuid() != 0 || !system_is_real()) {
        return;
    }
    served_as = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(served_as != MAP_FAILED);
    struct child victim;
    if (!start_child_in_pid_namespace(victim_in_a_namespace, NULL, &victim)) {
        return;
    }
    int door = receive_fd(victim.socket);
    struct trunk_ends ends = make_liar();
    int relayed[2] = {ends.server, door};
    struct child relay = start_child(relays, relayed);
    struct child caller = start_child(calls_the_relay, &ends.client);
    receive_byte(relay.socket);
    CHECK_EQUAL(atomic_load(served_as), 0); /* neither as root nor as anybody */
    finish_child(relay);
    send_byte(caller.socket, 'e');
    close(ends.server);
    finish_child(caller);
    door_arg_t arguments = {0};
    set_alarm(10000);
    if (door_call(door, &arguments) == 0) { /* an honest caller without a number is who it is, where the kernel can tell */
        CHECK_EQUAL(atomic_load(served_as), 1);
    } else {
        CHECK_EQUAL(errno, EAGAIN);
    }
    kill_child(victim);
}

/* What a server in a namespace knows of its callers; shared with it. */
struct seen {
    atomic_uint count;
    struct {
        pid_t pid;
        uid_t uid;
        uint64_t process;
    } callers[8];
};
static struct seen *seen;

static void noting_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)descriptors, (void)count;
    ucred_t *caller = NULL;
    if (door_ucred(&caller) == 0) {
        unsigned at = atomic_load(&seen->count) % 8;
        seen->callers[at].pid = ucred_getpid(caller);
        seen->callers[at].uid = ucred_geteuid(caller);
        seen->callers[at].process = door_ucred_process(caller);
        atomic_fetch_add(&seen->count, 1);
        ucred_free(caller);
    }
    door_return(NULL, 0, NULL, 0);
}

static void noting_server(int socket, void *unused) {
    (void)unused;
    send_fd(socket, door_dup(door_create(noting_procedure, NULL, 0)));
    receive_byte(socket);
}

static void *calls_once(void *door) {
    door_arg_t arguments = {0};
    CHECK_EQUAL(door_call(*(int *)door, &arguments), 0);
    return NULL;
}

static void calls_twice(int socket, void *unused) {
    (void)unused;
    pthread_t other;
    int door = receive_fd(socket);
    calls_once(&door);
    CHECK_EQUAL(pthread_create(&other, NULL, calls_once, &door), 0);
    pthread_join(other, NULL);
}

/* Callers of one user in namespaces that the server does not see all have the number 0: their pidfds tell them apart. */
static void door_callers_of_unseen_namespaces(void) {
    struct child server, callers[2];
    if (geteuid() != 0 || !system_is_real()) {
        return;
    }
    seen = mmap(NULL, sizeof *seen, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(seen != MAP_FAILED);
    if (!start_child_in_pid_namespace(noting_server, NULL, &server)) {
        return;
    }
    int door = receive_fd(server.socket);
    door_arg_t arguments = {0};
    set_alarm(20000);
    if (door_call(door, &arguments) < 0) { /* this kernel cannot tell, and so nobody without a number is served */
        CHECK_EQUAL(errno, EAGAIN);
        kill_child(server);
        return;
    }
    for (int i = 0; i < 2; i++) {
        CHECK(start_child_in_pid_namespace(calls_twice, NULL, &callers[i]));
        send_fd(callers[i].socket, door);
        finish_child(callers[i]);
    }
    CHECK_EQUAL(atomic_load(&seen->count), 5);
    for (int i = 0; i < 5; i++) {
        CHECK_EQUAL(seen->callers[i].pid, 0);
        CHECK_EQUAL(seen->callers[i].uid, 0);
        CHECK(seen->callers[i].process != 0);
    }
    CHECK_EQUAL(seen->callers[1].process, seen->callers[2].process);
    CHECK_EQUAL(seen->callers[3].process, seen->callers[4].process);
    CHECK(seen->callers[0].process != seen->callers[1].process);
    CHECK(seen->callers[1].process != seen->callers[3].process);
    CHECK(seen->callers[0].process != seen->callers[3].process);
    kill_child(server);
}

static int running[2], proceed[2];

static void waiting_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)descriptors, (void)count;
    send_byte(running[1], 'r');
    receive_byte(proceed[0]);
    door_return("late", 4, NULL, 0);
}

static void *call_to_its_end(void *argument) {
    char result[8];
    size_t size;
    CHECK_EQUAL(call(*(int *)argument, "?", 1, result, sizeof result, &size), 0);
    CHECK_EQUAL(size, 4);
    return NULL;
}

enum { KEPT = 16 };

static bool others_alone_hold(void *before) {
    return open_descriptors() == *(int *)before + KEPT;
}

/* What others keep of a door costs its server nothing once it is abolished, and a call that has begun comes to its end. */
static void door_that_is_abolished(void) {
    int kept_doors[KEPT], last;
    pthread_t thread;
    door_info_t info;
    char *path = temporary_path("abolished");
    CHECK(pipe2(running, O_CLOEXEC) == 0 && pipe2(proceed, O_CLOEXEC) == 0);
    int door = make_public(path);
    CHECK_EQUAL(ask_number(door), 77); /* whatever the first door of a process costs is there */
    last = door_create(waiting_procedure, NULL, 0);
    int copy = door_dup(last);
    CHECK_EQUAL(pthread_create(&thread, NULL, call_to_its_end, &copy), 0);
    receive_byte(running[0]);
    CHECK_EQUAL(door_abolish(last), 0);
    send_byte(proceed[1], 'p');
    pthread_join(thread, NULL);
    close(copy);
    int before = open_descriptors();
    last = door_create(waiting_procedure, NULL, 0);
    for (int i = 0; i < KEPT; i++) {
        CHECK((kept_doors[i] = door_dup(last)) >= 0);
    }
    CHECK_EQUAL(door_abolish(last), 0);
    CHECK(eventually(others_alone_hold, &before));
    for (int i = 0; i < KEPT; i++) {
        CHECK_ERROR(door_call(kept_doors[i], NULL), EBADF);
        CHECK_EQUAL(door_info(kept_doors[i], &info), 0);
        CHECK_EQUAL(info.di_target, -1);
        CHECK(info.di_attributes & DOOR_REVOKED);
        close(kept_doors[i]);
    }
    CHECK_ERROR(door_abolish(-1), EBADF);
    CHECK_EQUAL(ask_number(door), 77);
}

static const struct test tests[] = {
    TEST(door_foreign_control_messages),
    TEST(door_foreign_control_messages_of_a_server),
    TEST(door_descriptors_without_calls),
    TEST(door_deaf_server),
    TEST(door_flooding_server),
    TEST(door_names_in_hostile_directories),
    TEST(door_covered_file_of_another_directory),
    TEST(door_relay_between_namespaces),
    TEST(door_callers_of_unseen_namespaces),
    TEST(door_that_is_abolished),
};
TEST_MAIN(tests)
