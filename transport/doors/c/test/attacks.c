#include "attacks.h"

#include <time.h>

#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#endif

const struct socket_option CONTROL_OPTIONS[] = {
    {"SO_PASSPIDFD", SO_PASSPIDFD}, {"SO_PASSSEC", SO_PASSSEC},         {"SO_PASSCRED", SO_PASSCRED},
    {"SO_TIMESTAMP", SO_TIMESTAMP}, {"SO_TIMESTAMPNS", SO_TIMESTAMPNS}, {"SO_RXQ_OVFL", SO_RXQ_OVFL},
};
const unsigned CONTROL_OPTION_COUNT = sizeof CONTROL_OPTIONS / sizeof *CONTROL_OPTIONS;

int sealed(size_t size, int seals) {
    int fd = memfd_create("hostile", MFD_ALLOW_SEALING | MFD_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_EQUAL(ftruncate(fd, (off_t)size), 0);
    CHECK_EQUAL(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

struct attached attach(int trunk) {
    int pair[2], memory = sealed(SESSION_SIZE, F_SEAL_SHRINK | F_SEAL_GROW);
    CHECK_EQUAL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    struct session *session = mmap(NULL, SESSION_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    CHECK(session != MAP_FAILED);
    struct message message = {.type = MESSAGE_ATTACH};
    int fds[2] = {pair[1], memory}, error;
    while ((error = message_send(trunk, &message, fds, 2)) == EAGAIN) {
        poll(NULL, 0, 1); /* the server is busy with the last one */
    }
    CHECK_EQUAL(error, 0);
    close(memory);
    struct receipt receipt;
    struct pollfd entry = {.fd = pair[0], .events = POLLIN};
    CHECK_EQUAL(poll(&entry, 1, 20000), 1);
    CHECK_EQUAL(message_receive(pair[0], &(struct closing_payer){-1, 0, -1}, &message, &receipt, 0), 0);
    CHECK(message.type == MESSAGE_ATTACHED && receipt.count == 1);
    return (struct attached){receipt.fds[0], pair[0], pair[1], session};
}

void detach(struct attached *attached) {
    munmap(attached->session, SESSION_SIZE);
    close(attached->fd);
    close(attached->near);
    close(attached->other);
}

void queue_call(const struct attached *attached, uint64_t size, uint32_t flags) {
    struct session *session = attached->session;
    struct message message = {.type = MESSAGE_CALL, .sequence = atomic_load(&session->sequence) + 1};
    session->request.size = size;
    session->request.flags = flags;
    atomic_store(&session->listening, LISTENING_TO_SOCKET);
    atomic_store(&session->sequence, message.sequence);
    atomic_store(&session->state, CALL_QUEUED);
    int error = message_send(attached->fd, &message, NULL, 0);
    CHECK(error == 0 || error == EPIPE || error == ECONNRESET);
}

bool is_answered(void *argument) {
    const struct attached *attached = argument;
    return atomic_load(&attached->session->state) == CALL_DONE;
}

bool has_hung_up(void *argument) {
    const struct attached *attached = argument;
    struct pollfd entry = {.fd = attached->fd, .events = POLLRDHUP};
    return poll(&entry, 1, 0) == 1 && (entry.revents & (POLLHUP | POLLRDHUP)) != 0;
}

struct trunk_ends make_liar(void) {
    int pair[2], on = 1;
    CHECK_EQUAL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    CHECK_EQUAL(setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on), 0);
    int page = sealed(STATUS_SIZE, F_SEAL_SHRINK);
    struct status status = {.magic = WIRE_MAGIC, .abi = WIRE_ABI, .id = 5};
    atomic_store(&status.data_max, UINT64_MAX);
    atomic_store(&status.descriptors_max, 1000);
    CHECK_EQUAL(pwrite(page, &status, sizeof status, 0), sizeof status);
    struct message hello = {.type = MESSAGE_HELLO, .sequence = 5};
    CHECK_EQUAL(message_send(pair[1], &hello, &page, 1), 0);
    close(page);
    return (struct trunk_ends){pair[0], pair[1]};
}

void number_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)data, (void)size;
    for (uint_t i = 0; i < count; i++) {
        close(descriptors[i].d_data.d_desc.d_descriptor);
    }
    int number = 77;
    door_return((char *)&number, sizeof number, NULL, 0);
}

int ask_number(int door) {
    int number = 0;
    return call(door, NULL, 0, &number, sizeof number, NULL) == 0 ? number : -errno;
}

double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int make_public(const char *path) {
    int door = door_create(number_procedure, NULL, 0);
    CHECK(door >= 0);
    close(open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0666));
    CHECK_EQUAL(chmod(path, 0666), 0);
    CHECK_EQUAL(fattach(door, path), 0);
    return door;
}

void become_stranger(void) {
    if (geteuid() == 0) {
        CHECK_EQUAL(setgid(STRANGER), 0);
        CHECK_EQUAL(setuid(STRANGER), 0);
    }
}
