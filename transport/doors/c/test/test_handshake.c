/*
 * Handshakes that keep to no protocol: whoever begins one owns what it sent until the server has taken it, and what the server gives
 * away must not come back to it in a way that it waits for.
 */
#include "attacks.h"
#include "blocking.h"

#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

enum { ANSWERS = 40, WATCHES = 600 };

static atomic_int answered_on = -1; /* where the server's answer to the attack of now will be */

/* Fills the server's half of a channel as soon as it has come: with a file that keeps waiting whoever closes it. */
static void *fill_at_once(void *far) {
    struct lingering lingering = make_lingering();
    *(int *)far = lingering.far;
    for (int i = 0; i < ANSWERS;) {
        int fd = atomic_load(&answered_on);
        struct message message;
        struct receipt receipt;
        if (fd < 0 ||
            message_receive(fd, &(struct closing_payer){-1, 0, -1}, &message, &receipt, 0) != 0) {
            continue;
        }
        static char bytes[4000];
        int size = 1;
        union {
            char bytes[CMSG_SPACE(sizeof(int))];
            struct cmsghdr aligned;
        } control = {{0}};
        struct iovec vector = {bytes, sizeof bytes};
        struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control};
        control.aligned.cmsg_level = SOL_SOCKET;
        control.aligned.cmsg_type = SCM_RIGHTS;
        control.aligned.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.aligned), &lingering.near, sizeof(int));
        setsockopt(receipt.fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
        sendmsg(receipt.fds[0], &header, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (i == ANSWERS - 1) {
            close(lingering.near);
        }
        receipt_close(&receipt);
        i++;
        atomic_store(&answered_on, -1);
    }
    return NULL;
}

static void races_with_answers(int socket, void *path) {
    static int far, watches[WATCHES];
    pthread_t thread;
    become_stranger();
    int trunk = door_open(path, O_RDONLY);
    CHECK(trunk >= 0);
    CHECK_EQUAL(pthread_create(&thread, NULL, fill_at_once, &far), 0);
    for (int i = 0; i < WATCHES; i++) { /* each keeps the sender a little longer, when what it has sent is there already */
        watches[i] = epoll_create1(EPOLL_CLOEXEC);
        CHECK(watches[i] >= 0);
    }
    for (int i = 0; i < ANSWERS; i++) {
        int pair[2], memory = sealed(SESSION_SIZE, F_SEAL_SHRINK | F_SEAL_GROW), region = sealed(131072, F_SEAL_SHRINK);
        CHECK_EQUAL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
        struct session *session = mmap(NULL, SESSION_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
        CHECK(session != MAP_FAILED);
        for (int j = 0; j < WATCHES; j++) {
            CHECK_EQUAL(epoll_ctl(watches[j], EPOLL_CTL_ADD, pair[0], &(struct epoll_event){.events = EPOLLIN}), 0);
        }
        atomic_store(&session->sequence, 1);
        atomic_store(&session->state, CALL_QUEUED);
        struct message message = {.type = MESSAGE_ATTACH, .size = 131072};
        int fds[3] = {pair[1], memory, region};
        atomic_store(&answered_on, pair[0]);
        while (message_send(trunk, &message, fds, 3) == EAGAIN) {
            poll(NULL, 0, 1);
        }
        for (int turns = 0; atomic_load(&answered_on) >= 0 && turns < 300; turns++) { /* some are refused */
            poll(NULL, 0, 1);
        }
        munmap(session, SESSION_SIZE);
        close(pair[0]);
        close(pair[1]);
        close(memory);
        close(region);
    }
    send_byte(socket, 'd');
    receive_byte(socket);
    _exit(0);
}

static int descriptors_before;

static bool has_given_back(void *unused) {
    (void)unused;
    return open_descriptors() <= descriptors_before;
}

/* Calls go on beside an attack, each of an old channel and of a new one; in the end all descriptors are there again. */
static void endure(void (*attack)(int socket, void *path), const char *name) {
    char *path = temporary_path(name);
    int door = make_public(path), most = 0, calls = 0;
    double longest = 0;
    CHECK_EQUAL(ask_number(door), 77);
    int threads_before = threads(), threads_most = 0;
    descriptors_before = open_descriptors();
    struct child attacker = start_child(attack, path);
    while (!byte_within(attacker.socket, 1)) {
        double start = now();
        CHECK_EQUAL(ask_number(door), 77);
        int client = door_dup(door);
        CHECK_EQUAL(ask_number(client), 77); /* it has to attach, for which the server takes its lock */
        door_hang_up(client);
        close(client);
        longest = now() - start > longest ? now() - start : longest;
        int count = descriptors_of_now(), running = threads();
        most = count > most ? count : most;
        threads_most = running > threads_most ? running : threads_most;
        calls++;
    }
    send_byte(attacker.socket, 'e');
    finish_child(attacker);
    CHECK(eventually(has_given_back, NULL));
    printf("      %d pairs of calls, the longest took %.0f ms; descriptors: %d before, at most %d during, %d after; "
           "threads: %d before, at most %d during\n",
           calls, longest * 1000, descriptors_before, most, open_descriptors(), threads_before, threads_most);
    CHECK(longest < 20);
    CHECK_EQUAL(ask_number(door), 77);
}

static void door_answer_that_is_filled_at_once(void) {
    endure(races_with_answers, "answer");
}

/* What a channel's client hears and sends on, given to the server itself in a message that no call follows. */
static void sends_ends_of_channels(int socket, void *path) {
    become_stranger();
    int trunk = door_open(path, O_RDONLY);
    CHECK(trunk >= 0);
    for (unsigned i = 0; i < 20; i++) {
        struct attached attached = attach(trunk);
        int files[5] = {attached.fd, attached.near, attached.other, trunk, 0}, pair[2];
        CHECK_EQUAL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
        struct message within = {.type = MESSAGE_FDS, .sequence = 1, .count = 3}, message = within;
        CHECK_EQUAL(message_send(pair[0], &within, files, 3), 0); /* in the queue of another socket */
        files[4] = pair[1];
        message.count = i % 2 ? 1 : 5;
        CHECK_EQUAL(message_send(attached.fd, &message, i % 2 ? files + 4 : files, message.count), 0);
        atomic_store(&attached.session->state, CALL_QUEUED); /* so that it is not idle */
    }
    send_byte(socket, 's');
    receive_byte(socket);
    _exit(0);
}

static void passes_files(int socket, void *path) {
    become_stranger();
    int trunk = door_open(path, O_RDONLY);
    CHECK(trunk >= 0);
    door_desc_t entries[8];
    for (unsigned i = 0; i < 8; i++) {
        entries[i].d_attributes = DOOR_DESCRIPTOR;
        entries[i].d_data.d_desc.d_descriptor = 0;
    }
    door_arg_t arguments = {.desc_ptr = entries, .desc_num = 8};
    CHECK_EQUAL(door_call(trunk, &arguments), 0);
    send_byte(socket, 'd');
    receive_byte(socket);
}

/* As they have since Linux 6.9. */
static bool processes_have_numbers(void) {
    struct statfs filesystem;
    int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    bool have = pidfd >= 0 && fstatfs(pidfd, &filesystem) == 0 && filesystem.f_type == 0x50494446; /* PIDFS_MAGIC */
    close(pidfd);
    return have;
}

/* Such a channel would hold itself. It goes with its process, whose user has its share again. */
static void door_channels_whose_ends_come_back(void) {
    char *path = temporary_path("back");
    struct rlimit limit = {400, 400};
    if (geteuid() != 0 || !system_is_real() || !processes_have_numbers()) {
        return;
    }
    int door = make_public(path);
    CHECK_EQUAL(ask_number(door), 77);
    descriptors_before = open_descriptors();
    CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (int i = 0; i < 4; i++) {
        struct child attacker = start_child(sends_ends_of_channels, path);
        receive_byte(attacker.socket);
        int during = open_descriptors();
        send_byte(attacker.socket, 'e');
        finish_child(attacker);
        CHECK(eventually(has_given_back, NULL));
        printf("      descriptors: %d before, %d during, %d after\n", descriptors_before, during, open_descriptors());
    }
    struct child honest = start_child(passes_files, path);
    receive_byte(honest.socket);
    send_byte(honest.socket, 'e');
    finish_child(honest);
}

/* A user who may start no more threads has no door, and is told so at once. */
static void asks_without_threads(int socket, void *path) {
    struct rlimit none = {1, 1};
    door_arg_t arguments = {0};
    become_stranger();
    int trunk = door_open(path, O_RDONLY);
    CHECK(trunk >= 0);
    CHECK_EQUAL(setrlimit(RLIMIT_NPROC, &none), 0);
    while (threads() > 1) { /* one that rests after its look could look once more */
        poll(NULL, 0, 10);
    }
    double start = now();
    CHECK_ERROR(is_door(trunk), ENOMEM);
    CHECK_ERROR(door_call(trunk, &arguments), EAGAIN);
    CHECK_ERROR(door_open(path, O_RDONLY), ENOMEM);
    CHECK(now() - start < 5);
    send_byte(socket, 'd');
}

static void door_without_a_thread_to_look(void) {
    char *path = temporary_path("alone");
    if (geteuid() != 0 || !system_is_real()) {
        return;
    }
    make_public(path);
    struct child child = start_child(asks_without_threads, path);
    receive_byte(child.socket);
    finish_child(child);
}

/* Descriptors of many kinds, none of which is what a handshake wants. */
enum { KINDS = 17 };

static void make_kinds(int trunk, int kinds[KINDS]) {
    int stream[2], datagram[2], seqpacket[2], packets[2], ends[2], half[2];
    CHECK_EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, stream), 0);
    CHECK_EQUAL(socketpair(AF_UNIX, SOCK_DGRAM, 0, datagram), 0);
    CHECK_EQUAL(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, seqpacket), 0);
    CHECK_EQUAL(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, packets), 0);
    CHECK_EQUAL(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, half), 0);
    CHECK_EQUAL(pipe(ends), 0);
    int listener = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    CHECK_EQUAL(bind(listener, (struct sockaddr *)&(struct sockaddr){AF_UNIX, ""}, sizeof(sa_family_t)), 0);
    CHECK_EQUAL(listen(listener, 1), 0);
    close(packets[1]); /* its other end is gone */
    shutdown(half[0], SHUT_WR);
    int size = 1;
    setsockopt(seqpacket[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    int found[KINDS] = {
        stream[0], datagram[0], seqpacket[0], packets[0], half[0], ends[1], listener, trunk,
        socket(AF_INET, SOCK_STREAM, 0), socket(AF_UNIX, SOCK_SEQPACKET, 0), epoll_create1(0),
        (int)syscall(SYS_pidfd_open, getpid(), 0), open("/", O_RDONLY | O_DIRECTORY), open("/", O_PATH),
        open("/dev/zero", O_RDWR), sealed(SESSION_SIZE, F_SEAL_GROW), sealed(4096, F_SEAL_SHRINK),
    };
    for (unsigned i = 0; i < KINDS; i++) {
        CHECK(found[i] >= 0);
        kinds[i] = found[i];
    }
}

/* Every kind in every place of an ATTACH, and of a NAME, with what belongs into the other places. */
static void attaches_anything(int socket, void *path) {
    int kinds[KINDS];
    become_stranger();
    int trunk = door_open(path, O_RDONLY);
    CHECK(trunk >= 0);
    make_kinds(trunk, kinds);
    for (unsigned place = 0; place < 3; place++) {
        for (unsigned kind = 0; kind < KINDS; kind++) {
            int memory = sealed(SESSION_SIZE, F_SEAL_SHRINK | F_SEAL_GROW), region = sealed(131072, F_SEAL_SHRINK), own[2];
            CHECK_EQUAL(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, own), 0);
            int files[3] = {own[1], memory, region};
            struct session *session = mmap(NULL, SESSION_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
            CHECK(session != MAP_FAILED);
            files[place] = kinds[kind];
            session->request.size = 100000;
            session->request.flags = IN_REGION | ON_SOCKET;
            atomic_store(&session->sequence, 1);
            atomic_store(&session->state, CALL_QUEUED);
            struct message message = {.type = kind % 5 == 4 ? MESSAGE_NAME : MESSAGE_ATTACH, .size = 131072};
            CHECK_EQUAL(message_send(trunk, &message, files, 3), 0);
            message.type = MESSAGE_ATTACH;
            CHECK_EQUAL(message_send(trunk, &message, files, 3), 0); /* and once more, with the same */
            while (poll(&(struct pollfd){.fd = trunk, .events = POLLOUT}, 1, 100) == 0) {
            }
            munmap(session, SESSION_SIZE);
            close(own[0]);
            close(own[1]);
            close(memory);
            close(region);
        }
    }
    send_byte(socket, 'd');
    receive_byte(socket);
}

static void door_descriptors_that_attach_nothing(void) {
    endure(attaches_anything, "kinds");
}

/* Every message, with every number of descriptors, at the door and in the channel, whose turn it is not. */
static void says_everything(int socket, void *path) {
    static const unsigned counts[] = {0, 1, 2, 3, 4, 253};
    int files[253];
    become_stranger();
    for (unsigned i = 0; i < 253; i++) {
        files[i] = (int)(i % 3);
    }
    for (unsigned type = 0; type <= MESSAGE_ATTACHED + 1; type++) {
        for (unsigned i = 0; i < sizeof counts / sizeof *counts; i++) {
            int trunk = door_open(path, O_RDONLY);
            CHECK(trunk >= 0);
            struct message message = {.type = (uint16_t)type, .count = counts[i], .size = SESSION_SIZE};
            message_send(trunk, &message, files, counts[i]);
            struct attached attached = attach(trunk);
            for (unsigned j = 0; j < 3; j++) {
                message_send(attached.fd, &message, files, counts[i]);
                message_send(attached.near, &message, files, counts[i]); /* into the socket that it has given away itself */
                message_send(attached.other, &message, files, counts[i]);
            }
            queue_call(&attached, 0, 0);
            message_send(trunk, &message, files, counts[i]);
            int half[2] = {attached.other, attached.fd}; /* a channel's ends as those of another one */
            message.type = MESSAGE_ATTACH;
            message_send(trunk, &message, half, 2);
            detach(&attached);
            close(trunk);
        }
    }
    send_byte(socket, 'd');
    receive_byte(socket);
}

static void door_messages_out_of_turn(void) {
    endure(says_everything, "turns");
}

/* Handshakes that end in the middle: the answer is not read, or the client is gone before it comes. */
static void leaves_at_once(int socket, void *path) {
    become_stranger();
    for (unsigned i = 0; i < 200; i++) {
        int trunk = door_open(path, O_RDONLY), pair[2], memory = sealed(SESSION_SIZE, F_SEAL_SHRINK | F_SEAL_GROW);
        CHECK(trunk >= 0);
        CHECK_EQUAL(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
        pid_t child = i % 4 == 3 ? fork() : -1;
        if (child <= 0) {
            struct message message = {.type = MESSAGE_ATTACH};
            int files[2] = {pair[1], memory}; /* in a child: somebody else has made the socket */
            message_send(trunk, &message, files, 2);
            if (child == 0) {
                _exit(0);
            }
        } else {
            CHECK_EQUAL(waitpid(child, NULL, 0), child);
        }
        close(i % 2 ? trunk : pair[0]);
        close(i % 2 ? pair[0] : pair[1]);
        close(i % 2 ? pair[1] : trunk);
        close(memory);
    }
    send_byte(socket, 'd');
    receive_byte(socket);
}

static void door_handshakes_that_are_left(void) {
    endure(leaves_at_once, "left");
}

/* What a hostile server answers in the place of the socket on which its client is to send. */
struct answer {
    int kind;   /* among those of make_kinds(), or one of these */
    unsigned times, count;
};
enum { KIND_OF_A_BYSTANDER = 100 };

static int bystander[2];

static void answers_anything(int socket, void *argument) {
    const struct answer *answer = argument;
    int kinds[KINDS];
    struct trunk_ends ends = make_liar();
    make_kinds(ends.server, kinds);
    send_fd(socket, ends.client);
    close(ends.client);
    struct message message;
    struct receipt receipt;
    CHECK_EQUAL(poll(&(struct pollfd){.fd = ends.server, .events = POLLIN}, 1, 20000), 1);
    CHECK_EQUAL(message_receive(ends.server, &(struct closing_payer){-1, 0, -1}, &message, &receipt, 0), 0);
    CHECK(message.type == MESSAGE_ATTACH && receipt.count == 2);
    int fd = answer->kind == KIND_OF_A_BYSTANDER ? bystander[0] : kinds[answer->kind], fds[2] = {fd, fd};
    for (unsigned i = 0; i < answer->times; i++) {
        message = (struct message){.type = MESSAGE_ATTACHED};
        int error = message_send(receipt.fds[0], &message, fds, answer->count);
        CHECK(error == 0 || error == EPIPE); /* the caller may have gone after the first */
    }
    send_byte(socket, 'a');
    receive_byte(socket);
    _exit(0);
}

/* The caller hears its time limit, keeps no descriptor, and has said nothing to anybody but the server. */
static void door_answers_of_hostile_servers(void) {
    CHECK_EQUAL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, bystander), 0);
    int before = open_descriptors();
    for (int kind = 0; kind <= KINDS; kind++) {
        for (unsigned times = 0; times < 3; times++) {
            struct answer answer = {kind == KINDS ? KIND_OF_A_BYSTANDER : kind, times, kind % 3 == 1 ? 2 : 1};
            struct child server = start_child(answers_anything, &answer);
            int trunk = receive_fd(server.socket);
            door_desc_t entry = {.d_attributes = DOOR_DESCRIPTOR, .d_data.d_desc.d_descriptor = 0};
            door_arg_t arguments = {.data_ptr = "x", .data_size = 1}, with_file = {.desc_ptr = &entry, .desc_num = 1};
            double start = now();
            for (int i = 0; i < 2; i++) {
                CHECK(door_call_within(trunk, i ? &with_file : &arguments, 30000) < 0);
                CHECK(errno == EAGAIN || errno == EBADF || errno == EINTR);
            }
            CHECK(now() - start < 10);
            receive_byte(server.socket);
            send_byte(server.socket, 'e');
            finish_child(server);
            door_hang_up(trunk);
            close(trunk);
        }
    }
    CHECK_EQUAL(poll(&(struct pollfd){.fd = bystander[1], .events = POLLIN}, 1, 0), 0);
    CHECK_EQUAL(open_descriptors(), before);
}

/* A server that says of a call what it pleases: that it has had its descriptors, and then an error. */
struct outcome {
    bool accepts;
    int error;
};

static bool has_come(void *session) {
    return atomic_load(&((struct session *)session)->state) == CALL_QUEUED;
}

static void says_anything(int socket, void *argument) {
    const struct outcome *outcome = argument;
    struct trunk_ends ends = make_liar();
    int pair[2];
    send_fd(socket, ends.client);
    close(ends.client);
    struct message message;
    struct receipt receipt;
    CHECK_EQUAL(poll(&(struct pollfd){.fd = ends.server, .events = POLLIN}, 1, 20000), 1);
    CHECK_EQUAL(message_receive(ends.server, &(struct closing_payer){-1, 0, -1}, &message, &receipt, 0), 0);
    struct session *session = mmap(NULL, SESSION_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, receipt.fds[1], 0);
    CHECK(session != MAP_FAILED);
    CHECK_EQUAL(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    message = (struct message){.type = MESSAGE_ATTACHED};
    CHECK_EQUAL(message_send(receipt.fds[0], &message, &pair[1], 1), 0);
    CHECK(eventually(has_come, session));
    atomic_store(&session->state, CALL_ACTIVE);
    message = (struct message){.type = MESSAGE_ACCEPTED, .sequence = atomic_load(&session->sequence)};
    if (outcome->accepts) {
        CHECK_EQUAL(message_send(receipt.fds[0], &message, NULL, 0), 0);
    }
    session->reply.error = outcome->error;
    session->reply.flags = ON_SOCKET;
    atomic_store(&session->state, CALL_DONE);
    message.type = MESSAGE_REPLY;
    message_send(receipt.fds[0], &message, NULL, 0); /* the caller may have gone already */
    receive_byte(socket);
    CHECK(!byte_within(ends.server, 0)); /* it did not call again */
    _exit(0);
}

/* The errno of a call to such a server, with one entry in an array of descriptors. */
static int outcome_of(bool accepts, int error, door_desc_t *entry) {
    struct outcome outcome = {accepts, error};
    struct child server = start_child(says_anything, &outcome);
    int trunk = receive_fd(server.socket);
    int found = door_call(trunk, &(door_arg_t){.desc_ptr = entry, .desc_num = 1}) < 0 ? errno : 0;
    send_byte(server.socket, 'e');
    finish_child(server);
    door_hang_up(trunk);
    close(trunk);
    return found;
}

/* Each error is one of the page's, and what it says of the descriptors that were to be released is so: nobody closes a number twice,
 * or keeps one. An array that cannot be read is not looked at. */
static void door_errors_of_hostile_servers(void) {
    static const int errors[] = {E2BIG, EBADF, ENFILE, EAGAIN, EFAULT, EINVAL, EMFILE, EOVERFLOW, EINTR, -1, -2, INT32_MIN, 4000, ENOTSUP};
    door_desc_t *nowhere = (door_desc_t *)8;
    for (unsigned i = 0; i < sizeof errors / sizeof *errors; i++) {
        for (int accepts = 0; accepts < 2; accepts++) {
            int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
            door_desc_t entry = {.d_attributes = DOOR_DESCRIPTOR | DOOR_RELEASE, .d_data.d_desc.d_descriptor = file};
            int error = outcome_of(accepts, errors[i], &entry);
            bool is_gone = error == EINTR || error == EINVAL || error == EMFILE || error == EOVERFLOW;
            CHECK(is_gone || error == E2BIG || error == ENFILE || error == EFAULT || error == ENOTSUP);
            CHECK(is_gone || !accepts);
            CHECK_EQUAL(fcntl(file, F_GETFD) < 0, is_gone);
            close(file);
            error = outcome_of(accepts, errors[i], nowhere);
            CHECK(error == errors[i] || error == EINTR);
        }
    }
}

static const struct test tests[] = {
    TEST(door_answer_that_is_filled_at_once),
    TEST(door_channels_whose_ends_come_back),
    TEST(door_without_a_thread_to_look),
    TEST(door_descriptors_that_attach_nothing),
    TEST(door_messages_out_of_turn),
    TEST(door_handshakes_that_are_left),
    TEST(door_answers_of_hostile_servers),
    TEST(door_errors_of_hostile_servers),
};
TEST_MAIN(tests)
