/*
 * Sockets that a peer keeps a copy of, and reads from into memory that never comes: the kernel lets whoever else receives from such
 * a socket wait for that reader, deaf to signals. So nobody may, whose thread others need.
 *
 * The memory is a page of userfaultfd; a file system in user space does the same for a user who is not root.
 */
#include "attacks.h"
#include "blocking.h"

#include <dirent.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
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

/* Of the processor time of this process's threads with that name: seconds. */
static double time_of_threads(const char *name) {
    double all = 0;
    DIR *tasks = opendir("/proc/self/task");
    CHECK(tasks != NULL);
    for (const struct dirent *entry; (entry = readdir(tasks)) != NULL;) {
        char path[512], text[512] = {0};
        unsigned long user = 0, system = 0;
        snprintf(path, sizeof path, "/proc/self/task/%s/stat", entry->d_name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || read(fd, text, sizeof text - 1) <= 0) {
            close(fd);
            continue;
        }
        close(fd);
        const char *begin = strchr(text, '('), *end = strrchr(text, ')');
        if (begin != NULL && end != NULL && strncmp(begin + 1, name, strlen(name)) == 0 &&
            sscanf(end + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) == 2) {
            all += (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
        }
    }
    closedir(tasks);
    return all;
}

void server_lock(void); /* of linux/internal.h, whose names are not those of the other tests */
void server_unlock(void);

/* The attacker sends files and closes its own copies, and only then are they received: whoever closes last lingers. */
static void let_it_send(struct child attacker) {
    server_lock();
    send_byte(attacker.socket, 'g');
    receive_byte(attacker.socket);
    server_unlock();
}

/* Uses up its share of what is to be closed, and ends a connection that has one more such file in it. */
static void leaves_an_end_to_close(int socket, void *path) {
    struct message message = {.type = MESSAGE_GO};
    become_stranger();
    int one = door_open(path, O_RDONLY), other = door_open(path, O_RDONLY);
    CHECK(one >= 0 && other >= 0);
    struct lingering files[CLOSING_SHARE_OF_PROCESS + 1], last = make_lingering();
    for (int i = 0; i <= CLOSING_SHARE_OF_PROCESS; i++) {
        files[i] = make_lingering();
    }
    send_byte(socket, 'r');
    receive_byte(socket);
    for (int i = 0; i <= CLOSING_SHARE_OF_PROCESS; i++) {
        CHECK_EQUAL(message_send(one, &message, &files[i].near, 1), 0);
        close(files[i].near);
    }
    send_byte(socket, 's');
    receive_byte(socket);
    CHECK_EQUAL(message_send(other, &message, &last.near, 1), 0);
    close(last.near);
    send_byte(socket, 'l');
    receive_byte(socket);
    _exit(0);
}

/* Until a thread can close it, the thread that hears all callers is not told of its end again and again. */
static void door_end_that_waits_to_be_closed(void) {
    if (geteuid() != 0 || !system_is_real()) {
        return;
    }
    char *path = temporary_path("ended");
    int door = make_public(path);
    struct child attacker = start_child(leaves_an_end_to_close, path);
    receive_byte(attacker.socket);
    let_it_send(attacker);
    while (closing_unclosed() < CLOSING_SHARE_OF_PROCESS) {
        poll(NULL, 0, 1);
    }
    poll(NULL, 0, 2 * CLOSING_STUCK_MILLISECONDS); /* or it would be waited for */
    let_it_send(attacker);
    while (closing_unclosed() <= CLOSING_SHARE_OF_PROCESS) {
        poll(NULL, 0, 1);
    }
    double before = time_of_threads("door-control"), own = time_of_threads("test_"), start = now();
    while (time_of_threads("test_") - own < 0.3 && now() - start < 30) { /* as one that spins would */
    }
    double used = time_of_threads("door-control") - before;
    printf("      the control thread ran for %.2f s while another one ran for 0.3 s\n", used);
    CHECK(used < 0.05);
    CHECK_EQUAL(ask_number(door), 77);
    send_byte(attacker.socket, 'e');
    finish_child(attacker);
}

enum { SLOW_FILES = CLOSING_MOST_OF_PROCESS + 190, SLOW_CHANNELS = 20 };

static atomic_bool hurries;

static struct lingering slow_files[SLOW_FILES];

/* Each file is closed in less than the time after which that counts as stuck. */
static void *lets_them_close(void *unused) {
    static char bytes[65536];
    (void)unused;
    for (int i = 0; i < SLOW_FILES; i++) {
        poll(NULL, 0, atomic_load(&hurries) ? 0 : CLOSING_STUCK_MILLISECONDS / 3);
        while (recv(slow_files[i].far, bytes, sizeof bytes, MSG_DONTWAIT) > 0) {
        }
        close(slow_files[i].far);
    }
    return NULL;
}

static void has_files_closed_slowly(int socket, void *path) {
    struct message message = {.type = MESSAGE_GO};
    struct attached attached[SLOW_CHANNELS];
    int files[SLOW_FILES];
    pthread_t thread;
    become_stranger();
    int one = door_open(path, O_RDONLY), other = door_open(path, O_RDONLY);
    for (int i = 0; i < SLOW_CHANNELS; i++) {
        attached[i] = attach(other);
    }
    for (int i = 0; i < SLOW_FILES; i++) {
        slow_files[i] = make_lingering();
        files[i] = slow_files[i].near;
    }
    send_byte(socket, 'r');
    receive_byte(socket);
    CHECK_EQUAL(message_send(one, &message, files, CLOSING_MOST_OF_PROCESS - 6), 0); /* so that the rest is taken in, too */
    CHECK_EQUAL(message_send(one, &message, files + CLOSING_MOST_OF_PROCESS - 6, SLOW_FILES - CLOSING_MOST_OF_PROCESS + 6), 0);
    for (int i = 0; i < SLOW_FILES; i++) {
        close(files[i]);
    }
    CHECK_EQUAL(pthread_create(&thread, NULL, lets_them_close, NULL), 0);
    send_byte(socket, 's');
    receive_byte(socket);
    for (int i = 0; i < SLOW_CHANNELS; i++) {
        CHECK_EQUAL(message_send(attached[i].fd, &message, NULL, 0), 0);
    }
    send_byte(socket, 'm');
    receive_byte(socket);
    atomic_store(&hurries, true);
    queue_call(&attached[0], 0, 0); /* it is served when its files are closed */
    CHECK(eventually(is_answered, &attached[0]));
    send_byte(socket, 'a');
    _exit(0);
}

/* Whose files are being closed is heard when they are. No server thread waits for that, and no other caller. */
static void door_files_that_are_closed_slowly(void) {
    struct rlimit limit;
    CHECK_EQUAL(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    if (geteuid() != 0 || !system_is_real() || limit.rlim_max < 4 * SLOW_FILES || setrlimit(RLIMIT_NOFILE, &limit) < 0) {
        return;
    }
    char *path = temporary_path("slow");
    int door = make_public(path);
    CHECK_EQUAL(ask_number(door), 77);
    struct child attacker = start_child(has_files_closed_slowly, path);
    receive_byte(attacker.socket);
    let_it_send(attacker);
    while (closing_unclosed() < CLOSING_MOST_OF_PROCESS + 100) {
        poll(NULL, 0, 1);
    }
    send_byte(attacker.socket, 'g');
    receive_byte(attacker.socket);
    settle();
    double start = now();
    for (int i = 0; i < 5; i++) { /* each a new client: no thread attends to it */
        int client = door_dup(door);
        CHECK_EQUAL(ask_number(client), 77);
        door_hang_up(client);
        close(client);
    }
    printf("      five calls took %.0f ms\n", (now() - start) * 1e3);
    CHECK(now() - start < 1);
    send_byte(attacker.socket, 'g');
    receive_byte(attacker.socket);
    finish_child(attacker);
}

static const struct test tests[] = {
    TEST(door_end_that_waits_to_be_closed),
    TEST(door_files_that_are_closed_slowly),
    TEST(door_channels_that_are_held),
    TEST(door_socket_that_is_held),
    TEST(door_caller_that_is_held),
};
TEST_MAIN(tests)
