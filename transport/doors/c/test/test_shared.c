/*
 * Sockets, inodes and memory that a peer has handed over and still holds: it changes their flags, or keeps them busy, while the
 * victim uses them.
 */
#include "attacks.h"

#include <sched.h>
#include <sys/un.h>
#include <time.h>

enum { NAMES = 8 };

/* A directory that the attacker may write to. */
static char *open_directory(const char *name) {
    char *path = temporary_path(name);
    CHECK_EQUAL(mkdir(path, 0777), 0);
    CHECK_EQUAL(chmod(path, 0777), 0);
    return path;
}

/* A name as fattach makes it, by hand. */
struct bound {
    struct sockaddr_un address;
    int listener, inode;
};

static struct bound bind_name(const char *directory, unsigned number) {
    struct bound bound = {.address.sun_family = AF_UNIX};
    CHECK(snprintf(bound.address.sun_path, sizeof bound.address.sun_path, "%s/%u", directory, number) <
          (int)sizeof bound.address.sun_path);
    bound.listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    CHECK_EQUAL(bind(bound.listener, (struct sockaddr *)&bound.address, sizeof bound.address), 0);
    bound.inode = open(bound.address.sun_path, O_PATH | O_CLOEXEC);
    CHECK(bound.inode >= 0);
    return bound;
}

/* What the door's process says to the name; -1 if it says nothing. */
static int hand_over(int trunk, int listener, int inode, int answer_socket, int answered) {
    struct message request = {.type = MESSAGE_NAME}, answer;
    struct receipt receipt;
    int fds[3] = {listener, inode, answer_socket}, error;
    while ((error = message_send(trunk, &request, fds, 3)) == EAGAIN) {
        poll(NULL, 0, 1);
    }
    CHECK_EQUAL(error, 0);
    struct pollfd entry = {.fd = answered, .events = POLLIN};
    if (poll(&entry, 1, 300) != 1 ||
        message_receive(answered, &(struct closing_payer){-1, 0, -1}, &answer, &receipt, 0) != 0) {
        return -1;
    }
    CHECK_EQUAL(answer.type, MESSAGE_NAMED);
    return answer.error;
}

static int attach_name(int trunk, int listener, int inode) {
    int pair[2];
    CHECK_EQUAL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    int error = hand_over(trunk, listener, inode, pair[1], pair[0]);
    close(pair[0]);
    close(pair[1]);
    return error;
}

/* What an attacker is told: the door's name, and a directory of its own. */
struct target {
    char door[128], directory[128];
    int inode; /* of somebody else */
};

static struct target make_target(void) {
    struct target target;
    snprintf(target.door, sizeof target.door, "%s", temporary_path("door"));
    snprintf(target.directory, sizeof target.directory, "%s", open_directory("wild"));
    target.inode = -1;
    return target;
}

/* The socket that the victim listens at waits, and the attacker takes away who connects to it. */
static void makes_listeners_wait(int socket_, void *argument) {
    const struct target *target = argument;
    become_stranger();
    int trunk = door_open(target->door, O_RDONLY);
    CHECK(trunk >= 0);
    for (unsigned i = 0; i < NAMES; i++) {
        struct bound bound = bind_name(target->directory, i);
        CHECK_EQUAL(attach_name(trunk, bound.listener, bound.inode), 0);
        for (unsigned j = 0; j < 20; j++) {
            int visitor = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
            CHECK_EQUAL(fcntl(bound.listener, F_SETFL, 0), 0);
            CHECK_EQUAL(connect(visitor, (struct sockaddr *)&bound.address, sizeof bound.address), 0);
            fcntl(bound.listener, F_SETFL, O_NONBLOCK);
            close(accept(bound.listener, NULL, NULL)); /* perhaps before the victim */
            fcntl(bound.listener, F_SETFL, 0);
            close(visitor);
        }
        close(bound.listener);
        close(bound.inode);
    }
    send_byte(socket_, 'd');
    receive_byte(socket_);
    for (unsigned i = 0; i < NAMES; i++) {
        char path[160];
        snprintf(path, sizeof path, "%s/%u", target->directory, i);
        CHECK_EQUAL(unlink(path), 0);
    }
}

static int threads_before;

static bool threads_have_ended(void *unused) {
    (void)unused;
    return threads() <= threads_before + 2; /* some of the pool, which wait for their time */
}

static void door_listener_that_waits(void) {
    struct target target = make_target();
    int door = make_public(target.door);
    CHECK_EQUAL(ask_number(door), 77);
    threads_before = threads();
    struct child attacker = start_child(makes_listeners_wait, &target);
    for (bool is_over = false; !is_over;) {
        is_over = byte_within(attacker.socket, 1);
        double start = now();
        int other = door_open(target.door, O_RDONLY); /* which takes the control thread */
        CHECK_EQUAL(ask_number(other), 77);
        close(other);
        CHECK(now() - start < 5);
    }
    receive_byte(attacker.socket);
    int during = threads();
    CHECK(during <= threads_before + NAMES + 3);
    send_byte(attacker.socket, 'e');
    finish_child(attacker);
    CHECK(eventually(threads_have_ended, NULL));
    CHECK_EQUAL(ask_number(door), 77);
    printf("      threads: %d before, %d during, %d after\n", threads_before, during, threads());
}

/* Who opens a name that another process has attached finds the door, also when it was opened before it went. */
static void attaches_and_goes(int socket_, void *argument) {
    const struct target *target = argument;
    become_stranger();
    int trunk = door_open(target->door, O_RDONLY);
    struct bound bound = bind_name(target->directory, 0);
    CHECK_EQUAL(attach_name(trunk, bound.listener, bound.inode), 0);
    int other = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    CHECK_EQUAL(connect(other, (struct sockaddr *)&bound.address, sizeof bound.address), 0);
    CHECK(byte_within(other, 20000)); /* the door says who it is */
    CHECK_EQUAL(ask_number(other), 77);
    CHECK_EQUAL(unlink(bound.address.sun_path), 0);
    CHECK_EQUAL(ask_number(other), 77);
    send_byte(socket_, 'd');
    receive_byte(socket_);
}

static void door_name_of_another_process(void) {
    struct target target = make_target();
    int door = make_public(target.door);
    CHECK_EQUAL(ask_number(door), 77);
    threads_before = threads();
    struct child other = start_child(attaches_and_goes, &target);
    receive_byte(other.socket);
    CHECK(eventually(threads_have_ended, NULL));
    send_byte(other.socket, 'e');
    finish_child(other);
}

/* Each name costs a thread. */
static void attaches_many(int socket_, void *argument) {
    const struct target *target = argument;
    int answers[80];
    become_stranger();
    int trunk = door_open(target->door, O_RDONLY);
    unsigned attached = 0;
    for (unsigned i = 0; i < 80; i++) {
        struct bound bound = bind_name(target->directory, i);
        answers[i] = attach_name(trunk, bound.listener, bound.inode);
        CHECK(answers[i] == 0 || answers[i] == EAGAIN);
        attached += answers[i] == 0;
        close(bound.listener);
        close(bound.inode);
    }
    CHECK_EQUAL(attached, geteuid() == STRANGER ? 16 : 64);
    send_byte(socket_, 'd');
    receive_byte(socket_);
}

static void door_names_of_a_stranger(void) {
    struct target target = make_target();
    int door = make_public(target.door);
    CHECK_EQUAL(ask_number(door), 77);
    struct child attacker = start_child(attaches_many, &target);
    receive_byte(attacker.socket);
    CHECK_EQUAL(ask_number(door), 77);
    send_byte(attacker.socket, 'e');
    finish_child(attacker);
}

/* Nothing is said to sockets that are not of the kind that doors are made of, whoever's they are. */
static void door_answer_to_another_kind_of_socket(void) {
    static const int kinds[] = {SOCK_STREAM, SOCK_DGRAM};
    struct target target = make_target();
    int door = make_public(target.door);
    int trunk = door_open(target.door, O_RDONLY);
    for (unsigned i = 0; i < 2; i++) {
        int pair[2];
        struct bound bound = bind_name(target.directory, i);
        CHECK_EQUAL(socketpair(AF_UNIX, kinds[i] | SOCK_CLOEXEC, 0, pair), 0);
        CHECK_EQUAL(hand_over(trunk, bound.listener, bound.inode, pair[1], pair[0]), -1);
        CHECK(!byte_within(pair[0], 0));
    }
    CHECK_EQUAL(ask_number(door), 77);
}

/* The mode of an inode that is not the attacker's stays as its owner has set it. */
static void gives_a_foreign_inode(int socket_, void *argument) {
    const struct target *target = argument;
    become_stranger();
    int trunk = door_open(target->door, O_RDONLY);
    struct bound bound = bind_name(target->directory, 1);
    CHECK_EQUAL(attach_name(trunk, bound.listener, target->inode), 0);
    send_byte(socket_, 'd');
    receive_byte(socket_);
}

static void door_mode_of_a_foreign_inode(void) {
    if (geteuid() != 0 || !system_is_real()) {
        return;
    }
    struct target target = make_target();
    struct bound mine = bind_name(target.directory, 0);
    struct stat status;
    target.inode = mine.inode;
    CHECK_EQUAL(chmod(mine.address.sun_path, 0600), 0);
    int door = make_public(target.door);
    struct child attacker = start_child(gives_a_foreign_inode, &target);
    receive_byte(attacker.socket);
    CHECK_EQUAL(chmod(mine.address.sun_path, 0640), 0);
    for (int i = 0; i < 20; i++) { /* of a name of its own it would make 0660 of that in a millisecond */
        CHECK_EQUAL(ask_number(door), 77);
        poll(NULL, 0, 10);
    }
    CHECK_EQUAL(stat(mine.address.sun_path, &status), 0);
    CHECK_EQUAL(status.st_mode & 07777, 0640);
    send_byte(attacker.socket, 'e');
    finish_child(attacker);
}

/* A trunk that is never empty. */
static atomic_bool *flooded;

static void *floods(void *argument) {
    const int trunk = *(int *)argument;
    struct message message = {.type = MESSAGE_GO};
    while (!atomic_load(flooded)) {
        message_send(trunk, &message, NULL, 0);
    }
    return NULL;
}

static void floods_a_trunk(int socket_, void *argument) {
    pthread_t others[3];
    become_stranger();
    int trunk = door_open(((const struct target *)argument)->door, O_RDONLY);
    CHECK(trunk >= 0);
    for (int i = 0; i < 3; i++) {
        CHECK_EQUAL(pthread_create(&others[i], NULL, floods, &trunk), 0);
    }
    send_byte(socket_, 'r');
    floods(&trunk);
    for (int i = 0; i < 3; i++) {
        pthread_join(others[i], NULL);
    }
}

static void door_flood_of_a_trunk(void) {
    struct target target = make_target();
    flooded = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(flooded != MAP_FAILED);
    int door = make_public(target.door);
    CHECK_EQUAL(ask_number(door), 77);
    struct child attacker = start_child(floods_a_trunk, &target);
    receive_byte(attacker.socket);
    double longest = 0;
    for (int i = 0; i < 200; i++) {
        double start = now();
        CHECK_EQUAL(ask_number(door), 77);
        if (i % 20 == 0) {
            int other = door_open(target.door, O_RDONLY);
            CHECK_EQUAL(ask_number(other), 77);
            close(other);
        }
        longest = now() - start > longest ? now() - start : longest;
    }
    atomic_store(flooded, true);
    finish_child(attacker);
    printf("      the longest call took %.1f ms\n", longest * 1e3);
}

/* A caller that gives descriptors away, and does not say that it has: its call waits a moment, and nobody else's. */
static void *asks(void *argument) {
    CHECK_EQUAL(ask_number(*(int *)argument), 77);
    return NULL;
}

static void door_release_that_is_not_confirmed(void) {
    int door = door_create(number_procedure, NULL, 0);
    CHECK_EQUAL(ask_number(door), 77);
    struct attached attached[8];
    for (int i = 0; i < 8; i++) {
        attached[i] = attach(door);
    }
    double start = now();
    for (int i = 0; i < 8; i++) {
        queue_call(&attached[i], 0, REQUEST_RELEASES);
    }
    pthread_t other;
    CHECK_EQUAL(pthread_create(&other, NULL, asks, &door), 0);
    pthread_join(other, NULL);
    double waited = now() - start;
    CHECK(waited < 1); /* one after the other, theirs would keep the only thread for longer */
    for (int i = 0; i < 8; i++) {
        CHECK(eventually(is_answered, &attached[i]));
    }
    printf("      another call took %.1f ms, theirs %.1f ms\n", waited * 1e3, (now() - start) * 1e3);
}

/* It says something else instead, without end. The only thread of the door does not listen to that for long. */
static struct attached talker;

static void *talks(void *unused) {
    struct message message = {.type = MESSAGE_FDOK, .sequence = 1};
    (void)unused;
    while (atomic_load(&talker.session->state) == CALL_IDLE || atomic_load(&talker.session->state) == CALL_QUEUED) {
        sched_yield();
    }
    while (!atomic_load(flooded)) {
        message_send(talker.fd, &message, NULL, 0);
    }
    return NULL;
}

static void *only_thread(void *unused) {
    door_return(NULL, 0, NULL, 0);
    return unused;
}

static void make_only_thread(door_info_t *info) {
    static bool made;
    pthread_t thread;
    (void)info;
    if (!made) {
        made = true;
        CHECK_EQUAL(pthread_create(&thread, NULL, only_thread, NULL), 0);
    }
}

static void door_release_that_is_talked_over(void) {
    pthread_t others[4];
    flooded = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(flooded != MAP_FAILED);
    door_server_create(make_only_thread);
    int door = door_create(number_procedure, NULL, 0);
    CHECK_EQUAL(ask_number(door), 77);
    talker = attach(door);
    for (int i = 0; i < 4; i++) {
        CHECK_EQUAL(pthread_create(&others[i], NULL, talks, NULL), 0);
    }
    double start = now();
    queue_call(&talker, 0, REQUEST_RELEASES);
    while (atomic_load(&talker.session->state) == CALL_QUEUED) {
        sched_yield();
    }
    CHECK_EQUAL(ask_number(door), 77);
    printf("      another call took %.1f ms\n", (now() - start) * 1e3);
    CHECK(now() - start < 0.9); /* it would be a second if each datagram were heard */
    atomic_store(flooded, true);
    for (int i = 0; i < 4; i++) {
        pthread_join(others[i], NULL);
    }
    CHECK_EQUAL(ask_number(door), 77);
}

/* A caller that does not say whether it has room for the descriptors of a reply, which wait for that. */
static void giving_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)data, (void)descriptors, (void)count;
    door_desc_t given = {.d_attributes = DOOR_DESCRIPTOR};
    int number = 77;
    door_return((char *)&number, sizeof number, &given, size == 0);
}

static void door_room_that_is_not_confirmed(void) {
    door_server_create(make_only_thread);
    int door = door_create(giving_procedure, NULL, 0), number = 0;
    struct attached attached[8];
    for (int i = 0; i < 8; i++) {
        attached[i] = attach(door);
    }
    double start = now();
    for (int i = 0; i < 8; i++) {
        queue_call(&attached[i], 0, 0);
    }
    CHECK_EQUAL(call(door, "x", 1, &number, sizeof number, NULL), 0);
    double waited = now() - start;
    for (int i = 0; i < 8; i++) {
        CHECK(eventually(is_answered, &attached[i]));
    }
    printf("      another call took %.1f ms, theirs %.1f ms\n", waited * 1e3, (now() - start) * 1e3);
    CHECK(now() - start < 8); /* ten seconds each, before */
    for (int i = 0; i < 8; i++) {
        detach(&attached[i]);
    }
    CHECK_EQUAL(call(door, "x", 1, &number, sizeof number, NULL), 0);
    door_arg_t arguments = {.rbuf = NULL}; /* who says so gets them */
    CHECK_EQUAL(door_call(door, &arguments), 0);
    CHECK_EQUAL(arguments.desc_num, 1);
}

static const struct test tests[] = {
    TEST(door_listener_that_waits),
    TEST(door_name_of_another_process),
    TEST(door_names_of_a_stranger),
    TEST(door_answer_to_another_kind_of_socket),
    TEST(door_mode_of_a_foreign_inode),
    TEST(door_flood_of_a_trunk),
    TEST(door_release_that_is_not_confirmed),
    TEST(door_release_that_is_talked_over),
    TEST(door_room_that_is_not_confirmed),
};
TEST_MAIN(tests)
