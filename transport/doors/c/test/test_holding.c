/*
 * Sockets that a peer keeps a copy of, and reads from into memory that never comes: the kernel lets whoever else receives from such
 * a socket wait for that reader, deaf to signals. So nobody may, whose thread others need.
 *
 * The memory is a page of userfaultfd; a file system in user space does the same for a user who is not root.
 */
#include "attacks.h"
#include "blocking.h"

#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <sys/syscall.h>

/* A page that whoever touches it waits for, or NULL where that is not allowed. */
static char *page_that_never_comes(void) {
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
    struct uffdio_api api = {.api = UFFD_API};
    char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct uffdio_register range = {.range = {(uintptr_t)page, 4096}, .mode = UFFDIO_REGISTER_MODE_MISSING};
    bool good = fd >= 0 && ioctl(fd, UFFDIO_API, &api) == 0 && ioctl(fd, UFFDIO_REGISTER, &range) == 0;
    return good ? page : NULL;
}

struct holder {
    int fd;
    char *page;
    atomic_int thread;
};

static void *hold(void *argument) {
    struct holder *holder = argument;
    atomic_store(&holder->thread, gettid());
    recv(holder->fd, holder->page, 4096, MSG_PEEK);
    return NULL;
}

/* Whether the thread waits in the kernel where no signal reaches it, or at least sleeps. */
static bool waits(void *argument) {
    const struct holder *holder = argument;
    char path[64], line[256] = {0};
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", atomic_load(&holder->thread));
    FILE *file = fopen(path, "re");
    bool read = file != NULL && fgets(line, sizeof line, file) != NULL;
    if (file != NULL) {
        fclose(file);
    }
    return read && strstr(line, ") R") == NULL;
}

/* Begins to read from a socket that has something in it, and never comes to an end. */
static void hold_socket(struct holder *holder, int fd) {
    pthread_t thread;
    holder->fd = fd;
    holder->page = page_that_never_comes();
    atomic_store(&holder->thread, 0);
    CHECK(holder->page != NULL);
    CHECK_EQUAL(pthread_create(&thread, NULL, hold, holder), 0);
    while (atomic_load(&holder->thread) == 0 || !waits(holder)) {
        poll(NULL, 0, 1);
    }
    poll(NULL, 0, 20);
}

static bool is_settled(void *unused) {
    (void)unused;
    return closing_unclosed() == 0;
}

enum { CHANNELS = 4 };

/* Holds each socket of its channels that it has, or has made, and then calls through all of them. */
static void holds_channels(int socket, void *path) {
    static struct holder holders[CHANNELS][2];
    struct attached channels[CHANNELS];
    int trunk = door_open(path, O_RDONLY);
    CHECK(trunk >= 0);
    for (unsigned i = 0; i < CHANNELS; i++) {
        struct message message = {.type = MESSAGE_CALL, .sequence = 99};
        channels[i] = attach(trunk);
        CHECK_EQUAL(message_send(channels[i].near, &message, NULL, 0), 0); /* so that there is something to read */
        hold_socket(&holders[i][0], channels[i].other);
    }
    send_byte(socket, 'h');
    receive_byte(socket);
    for (unsigned i = 0; i < CHANNELS; i++) {
        queue_call(&channels[i], 0, 0);
    }
    send_byte(socket, 'c');
    receive_byte(socket);
    _exit(0); /* with threads that cannot end otherwise */
}

/* All threads of the server that it may have are there for others, and calls through the channels are answered. */
static void door_channels_that_are_held(void) {
    char *path = temporary_path("held");
    if (page_that_never_comes() == NULL) {
        return;
    }
    door_server_create(one_thread);
    int door = make_public(path);
    CHECK_EQUAL(ask_number(door), 77);
    struct child attacker = start_child(holds_channels, path);
    receive_byte(attacker.socket);
    CHECK_EQUAL(ask_number(door), 77);
    send_byte(attacker.socket, 'c');
    receive_byte(attacker.socket);
    double start = now();
    for (int i = 0; i < 50; i++) {
        CHECK_EQUAL(ask_number(door), 77);
    }
    printf("      50 calls took %.0f ms beside %d channels that are held, with one thread\n", (now() - start) * 1000, CHANNELS);
    CHECK(now() - start < 20);
    send_byte(attacker.socket, 'e');
    finish_child(attacker);
    CHECK_EQUAL(ask_number(door), 77);
    CHECK(eventually(is_settled, NULL));
}

static void passes_sockets(int socket, void *path) {
    static struct holder holders[3];
    door_desc_t entries[3];
    for (unsigned i = 0; i < 3; i++) {
        struct trunk_ends ends = make_liar();
        hold_socket(&holders[i], ends.client);
        entries[i].d_attributes = DOOR_DESCRIPTOR;
        entries[i].d_data.d_desc.d_descriptor = dup(ends.client);
    }
    int trunk = door_open(path, O_RDONLY);
    CHECK(trunk >= 0);
    for (unsigned i = 0; i < 3; i++) {
        door_arg_t arguments = {.desc_ptr = entries + i, .desc_num = 1};
        CHECK_EQUAL(door_call(trunk, &arguments), 0);
    }
    send_byte(socket, 'c');
    receive_byte(socket);
    _exit(0);
}

static atomic_int kept, attributes_seen;

static void keeping_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)data, (void)size;
    if (count > 0) {
        atomic_store(&kept, descriptors->d_data.d_desc.d_descriptor);
        atomic_store(&attributes_seen, (int)descriptors->d_attributes);
    }
    int number = 77;
    door_return((char *)&number, sizeof number, NULL, 0);
}

/* What cannot be looked into is no door. Finding that out takes a quarter of a second once, and one thread, however many there are. */
static void door_socket_that_is_held(void) {
    char *path = temporary_path("passed");
    if (page_that_never_comes() == NULL) {
        return;
    }
    int door = door_create(keeping_procedure, NULL, 0);
    CHECK(door >= 0);
    close(open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0666));
    CHECK_EQUAL(fattach(door, path), 0);
    CHECK_EQUAL(ask_number(door), 77);
    int before = threads();
    struct child attacker = start_child(passes_sockets, path);
    double start = now();
    receive_byte(attacker.socket);
    CHECK_EQUAL(ask_number(door), 77);
    CHECK_EQUAL(atomic_load(&attributes_seen), DOOR_DESCRIPTOR);
    int held = atomic_load(&kept);
    door_info_t info;
    door_arg_t arguments = {0};
    start = now();
    for (int i = 0; i < 50; i++) {
        CHECK_EQUAL(is_door(held), 0);
        CHECK_ERROR(door_info(held, &info), EBADF);
        CHECK_ERROR(door_call_within(held, &arguments, 1000), EBADF);
    }
    printf("      150 looks at a socket that is held took %.1f ms; threads: %d before, %d during\n", (now() - start) * 1000,
           before, threads());
    CHECK(now() - start < 10);
    CHECK(threads() <= before + 4); /* one that is stuck, and two that rest; and one more of the pool */
    send_byte(attacker.socket, 'e');
    finish_child(attacker);
    CHECK_EQUAL(ask_number(door), 77);
    close(held);
}

/* A server that holds what its client must read from: the client has no such socket but the door itself. */
static void holds_callers(int socket, void *unused) {
    (void)unused;
    static struct holder holder;
    struct message message;
    struct receipt receipt;
    struct trunk_ends ends = make_liar();
    send_fd(socket, ends.client);
    close(ends.client);
    struct pollfd entry = {.fd = ends.server, .events = POLLIN};
    CHECK_EQUAL(poll(&entry, 1, 20000), 1);
    CHECK_EQUAL(message_receive(ends.server, &(struct closing_payer){-1, 0, -1}, &message, &receipt, 0), 0);
    CHECK_EQUAL(receipt.count, 2);
    struct session *session = mmap(NULL, SESSION_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, receipt.fds[1], 0);
    CHECK(session != MAP_FAILED);
    int pair[2];
    CHECK_EQUAL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    message = (struct message){.type = MESSAGE_ATTACHED};
    CHECK_EQUAL(message_send(receipt.fds[0], &message, &pair[1], 1), 0);
    CHECK_EQUAL(message_send(pair[0], &message, NULL, 0), 0); /* something to read where the client sends */
    hold_socket(&holder, pair[1]);
    send_byte(socket, 'h');
    receive_byte(socket);
    _exit(0);
}

static void on_alarm(int number) {
    (void)number;
}

/* A caller hears signals, whatever its server holds, and nobody waits where its line is closed. */
static void door_caller_that_is_held(void) {
    if (page_that_never_comes() == NULL) {
        return;
    }
    struct child server = start_child(holds_callers, NULL);
    int trunk = receive_fd(server.socket);
    struct sigaction action = {.sa_handler = on_alarm};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval soon = {.it_value = {0, 300000}, .it_interval = {0, 300000}};
    setitimer(ITIMER_REAL, &soon, NULL);
    door_arg_t arguments = {0};
    CHECK_ERROR(door_call(trunk, &arguments), EAGAIN);
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 0}}, NULL);
    double start = now();
    receive_byte(server.socket);
    CHECK(now() - start < 20);
    send_byte(server.socket, 'e');
    finish_child(server);
    close(trunk);
}

static const struct test tests[] = {
    TEST(door_channels_that_are_held),
    TEST(door_socket_that_is_held),
    TEST(door_caller_that_is_held),
};
TEST_MAIN(tests)
