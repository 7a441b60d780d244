/*
 * A target for libFuzzer, and for driver.c where there is none: what a hostile client does to a server, as a script.
 *
 * Each step of an input is eight bytes: what to do, and with what. The server is this process, whose door has one thread of its
 * pool for everybody; after the script an honest client must be served, and nothing may be left.
 */
#include "../linux/wire.h"

#include <door.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PATIENCE = 100000 }; /* milliseconds: on a busy machine a thread may not run for many seconds */

/* What stays from one input to the next: the door, the attacker's hand-out of it, and memory for its sessions. */
static int door = -1, trunk = -1, memory = -1;
static struct session *session;

static void procedure(void *cookie, char *data, size_t size, door_desc_t *entries, uint_t count) {
    (void)cookie;
    volatile char sum = 0;
    for (size_t i = 0; i < size; i += 512) {
        sum = (char)(sum + data[i]);
    }
    for (uint_t i = 0; i < count; i++) {
        close(entries[i].d_data.d_desc.d_descriptor);
    }
    door_return((char *)&size, sizeof size, NULL, 0);
    door_return(NULL, 0, NULL, 0);
}

static unsigned open_count(void) {
    unsigned count = 0;
    for (int fd = 0; fd < 64; fd++) {
        count += fcntl(fd, F_GETFD) >= 0;
    }
    return count;
}

static _Noreturn void failed(const char *what) {
    perror(what);
    abort();
}

static void ask(void) {
    char request[16] = {0};
    size_t answer = 0;
    door_arg_t arguments = {.data_ptr = request, .data_size = sizeof request, .rbuf = (char *)&answer, .rsize = sizeof answer};
    if (door_call(door, &arguments) < 0 || answer != sizeof request) {
        failed("the honest client is not served");
    }
}

static void step(const uint8_t *bytes, int fd, int other) {
    static const uint64_t sizes[] = {0, 1, 4096, 65536, 65537, 1ull << 31, 1ull << 46, UINT64_MAX};
    static const int options[] = {76 /* SO_PASSPIDFD */, SO_PASSCRED, SO_TIMESTAMP, SO_SNDBUF, SO_RCVBUF};
    int files[8] = {0, 1, 0, 1, 0, 1, 0, 1}, value = bytes[2];
    uint64_t sequence = atomic_load(&session->sequence);
    struct message message = {.type = bytes[1] % 16, .sequence = sequence + bytes[2] % 2, .size = sizes[bytes[3] % 8]};
    message.count = bytes[4] < 200 ? bytes[4] % 9 : UINT32_MAX - bytes[4];
    switch (bytes[0] % 6) {
    case 0:
        message_send(fd, &message, files, bytes[5] % 9);
        break;
    case 1:
        session->request.size = bytes[6] < 128 ? (uint64_t)bytes[1] * 300 : sizes[bytes[3] % 8];
        session->request.count = message.count;
        session->request.flags = bytes[7];
        atomic_store(&session->sequence, sequence + 1);
        atomic_store(&session->state, bytes[5] < 240 ? (uint32_t)CALL_QUEUED : bytes[5] % 9u);
        message = (struct message){.type = MESSAGE_CALL, .sequence = sequence + 1};
        message_send(fd, &message, NULL, 0);
        break;
    case 2:
        setsockopt(other, SOL_SOCKET, options[bytes[1] % 5], &value, sizeof value);
        break;
    case 3:
        atomic_store(&session->attending, bytes[1] % 4u);
        atomic_store(&session->listening, bytes[2] % 4u);
        break;
    case 4: {
        int region = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (ftruncate(region, 131072) == 0 && (bytes[1] % 4 == 0 || fcntl(region, F_ADD_SEALS, F_SEAL_SHRINK) == 0)) {
            message = (struct message){.type = MESSAGE_GROW, .size = bytes[2] % 4 ? 131072 : sizes[bytes[3] % 8]};
            message_send(fd, &message, &region, 1);
        }
        close(region);
        break;
    }
    default:
        ((volatile uint32_t *)session)[bytes[1] % 80] = (uint32_t)bytes[2] << 24 | bytes[3];
    }
}

static void begin(void) {
    door = door_create(procedure, NULL, 0);
    ask();
    trunk = door_dup(door);
    memory = memfd_create("fuzz-session", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (trunk < 0 || memory < 0 || ftruncate(memory, SESSION_SIZE) < 0 || fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK) < 0 ||
        (session = mmap(NULL, SESSION_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0)) == MAP_FAILED) {
        failed("the attacker cannot attach");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct closing_payer nobody = {-1, 0, -1};
    int pair[2];
    if (door < 0) {
        begin();
    }
    unsigned before = open_count();
    memset(session, 0, sizeof *session);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        failed("the attacker has no socket");
    }
    struct message attach = {.type = MESSAGE_ATTACH};
    int fds[2] = {pair[1], memory};
    message_send(trunk, &attach, fds, 2);
    struct receipt receipt = {.count = 0, .pidfd = -1};
    door_info_t info;
    door_info(door, &info); /* does what the control thread would do, which need not wake for it */
    poll(&(struct pollfd){.fd = pair[0], .events = POLLIN}, 1, PATIENCE);
    if (message_receive(pair[0], &nobody, &attach, &receipt, 0) != 0 || receipt.count != 1) {
        failed("the server does not answer");
    }
    for (size_t at = 0; at + 8 <= size && at < 8 * 32; at += 8) {
        step(data + at, receipt.fds[0], pair[1]);
    }
    ask();
    close(receipt.fds[0]);
    close(pair[0]);
    close(pair[1]);
    /* Threads may be about to close what the last datagrams brought; the honest client may have a line more. */
    for (int i = 0; open_count() > before + 1; i++) {
        if (i == PATIENCE) {
            failed("something is left");
        }
        door_info(door, &info);
        poll(NULL, 0, i < 20 ? 0 : 1);
    }
    return 0;
}
