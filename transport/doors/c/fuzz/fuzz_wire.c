/*
 * A fuzzer for the wire protocol, against both sides.
 *
 *   fuzz_wire [rounds [seed]]
 *
 * A hostile client holds a trunk of an honest server and sends what it likes: attachments with the wrong
 * descriptors, unsealed or short memory, datagrams out of order, session memory that changes under the server's
 * hands, sockets whose options add control messages to all that is read from them, counts and sizes that are negative or
 * huge. After every round an honest client must be served, and in the end the server must have no descriptor more
 * than before. Then a hostile server answers honest calls; the caller must come back, with whatever error, and be
 * left with the descriptors it had.
 */
#include "../linux/wire.h"

#include <door.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t state = 1;
static char path[64];

static uint32_t any(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 16);
}

static uint32_t below(uint32_t limit) {
    return any() % limit;
}

static _Noreturn void broken(const char *what) {
    fprintf(stderr, "fuzz_wire: %s (%s)\n", what, strerror(errno));
    kill(0, SIGKILL);
    _exit(1);
}

static int descriptors(void) {
    int count = 0;
    for (int fd = 0; fd < 4096; fd++) {
        count += fcntl(fd, F_GETFD) >= 0;
    }
    return count;
}

/* Replies with the number of its open descriptors. */
static void procedure(void *cookie, char *data, size_t size, door_desc_t *entries, uint_t count) {
    (void)cookie;
    volatile char sum = 0;
    for (size_t i = 0; i < size && data != DOOR_UNREF_DATA; i += 512) {
        sum = (char)(sum + data[i]);
    }
    for (uint_t i = 0; i < count; i++) {
        close(entries[i].d_data.d_desc.d_descriptor);
    }
    int open = descriptors();
    door_return((char *)&open, sizeof open, NULL, 0);
    door_return(NULL, 0, NULL, 0);
}

/* Where arithmetic goes wrong. */
static int number_of_interest(void) {
    static const int numbers[] = {0, 1, -1, 2, 253, 254, 1023, 1024, 1025, INT_MAX, INT_MIN, -2, 65535, 65536, 4096, 1 << 30};
    return numbers[below(sizeof numbers / sizeof *numbers)];
}

static uint64_t size_of_interest(void) {
    static const uint64_t sizes[] = {0, 1, 4095, 4096, 65535, 65536, 65537, 1ull << 31, 1ull << 32, 1ull << 46, UINT64_MAX,
                                     UINT64_MAX - 4095, INT64_MAX, 1ull << 63};
    return sizes[below(sizeof sizes / sizeof *sizes)];
}

static int some_descriptor(void) {
    int pair[2];
    size_t size = below(4) == 0 ? 4096 : SESSION_SIZE;
    switch (below(7)) {
    case 0:
        return open("/dev/null", O_RDWR);
    case 1:
        return open(path, O_PATH);
    case 2:
        return socket(AF_INET, SOCK_STREAM, 0);
    case 3:
        if (socketpair(AF_UNIX, below(2) ? SOCK_SEQPACKET : SOCK_STREAM, 0, pair) < 0) {
            return -1;
        }
        close(pair[0]);
        return pair[1];
    case 4:
        return dup(0);
    default: {
        int fd = memfd_create("fuzz", MFD_ALLOW_SEALING | (below(8) ? 0 : MFD_CLOEXEC));
        if (ftruncate(fd, (off_t)size) < 0 || (below(2) && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | (below(2) ? F_SEAL_WRITE : 0)) < 0)) {
            close(fd);
            return -1;
        }
        return fd;
    }
    }
}

/* Options that the other side's end of a socket may have been given, at any time, by whoever made it. */
static void set_options(int fd) {
    static const int options[] = {76 /* SO_PASSPIDFD */, SO_PASSSEC,    SO_PASSCRED, SO_TIMESTAMP,   SO_TIMESTAMPNS,
                                  SO_RXQ_OVFL,           SO_PEEK_OFF,   SO_SNDBUF,   SO_RCVBUF,      SO_RCVLOWAT,
                                  83 /* SO_PASSRIGHTS */, SO_RCVTIMEO_OLD};
    for (unsigned i = below(4); i > 0; i--) {
        int value = below(2) ? (int)below(2) : number_of_interest();
        setsockopt(fd, SOL_SOCKET, options[below(sizeof options / sizeof *options)], &value, sizeof value);
    }
}

/* A datagram with control messages of any kind, some of which the kernel refuses. */
static void send_control(int fd, const struct message *message) {
    union {
        char bytes[256];
        struct cmsghdr aligned;
    } control;
    struct iovec vector = {(void *)(uintptr_t)message, sizeof *message};
    struct msghdr header = {.msg_iov = &vector, .msg_iovlen = below(8) ? 1 : 0, .msg_control = control.bytes};
    struct ucred credentials = {.pid = getpid(), .uid = below(2) ? getuid() : any(), .gid = getgid()};
    int files[2] = {0, below(2) ? 1 : number_of_interest()};
    memset(&control, 0, sizeof control);
    for (unsigned i = below(4); i > 0; i--) {
        struct cmsghdr *item = (struct cmsghdr *)(control.bytes + header.msg_controllen);
        bool named = below(3) == 0;
        item->cmsg_level = below(16) ? SOL_SOCKET : (int)any();
        item->cmsg_type = below(16) ? (named ? SCM_CREDENTIALS : SCM_RIGHTS) : (int)any();
        size_t size = named ? sizeof credentials : sizeof files;
        item->cmsg_len = CMSG_LEN(size);
        memcpy(CMSG_DATA(item), named ? (void *)&credentials : (void *)files, size);
        header.msg_controllen += CMSG_SPACE(size);
    }
    sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void send_anything(int fd, uint64_t sequence) {
    struct message message = {0};
    int fds[8];
    unsigned count = below(3) ? 0 : below(8);
    for (size_t i = 0; i < sizeof message; i++) {
        ((unsigned char *)&message)[i] = (unsigned char)any();
    }
    message.type = (uint16_t)(below(16) ? below(14) : any());
    message.sequence = below(3) ? sequence : any();
    message.size = below(2) ? below(1 << 20) : message.size;
    message.count = below(3) ? count : below(2) ? (uint32_t)number_of_interest() : message.count;
    message.size = below(4) ? message.size : size_of_interest();
    message.error = below(2) ? number_of_interest() : message.error;
    if (below(8) == 0) {
        message.magic = WIRE_MAGIC;
        message.abi = WIRE_ABI;
        send_control(fd, &message);
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        fds[i] = some_descriptor();
        if (fds[i] < 0) {
            count = i;
        }
    }
    if (below(10) == 0) {
        send(fd, &message, below(sizeof message), MSG_NOSIGNAL | MSG_DONTWAIT);
    } else {
        message_send(fd, &message, fds, count);
    }
    for (unsigned i = 0; i < count; i++) {
        close(fds[i]);
    }
}

/* Attaches as a good client would, then misbehaves. */
static void misuse_channel(int trunk) {
    int pair[2], memory = memfd_create("fuzz-session", MFD_ALLOW_SEALING);
    if (memory < 0 || ftruncate(memory, SESSION_SIZE) < 0 || fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK) < 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0) {
        broken("cannot attach");
    }
    struct session *session = mmap(NULL, SESSION_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    struct message attach = {.type = MESSAGE_ATTACH};
    int fds[3] = {pair[1], memory, below(2) ? memory : 0};
    struct receipt receipt = {.count = 0, .pidfd = -1};
    attach.size = below(2) ? any() : SESSION_SIZE;
    message_send(trunk, &attach, fds, 2 + below(2));
    close(memory);
    if (below(16)) { /* where to send */
        poll(&(struct pollfd){.fd = pair[0], .events = POLLIN}, 1, 1000);
        if (message_receive(pair[0], &(struct closing_payer){-1, 0, -1}, &attach, &receipt, 0) != 0) {
            receipt.count = 0;
        }
    }
    int out = receipt.count == 1 ? receipt.fds[0] : pair[0];
    unsigned steps = below(30);
    set_options(pair[1]);
    for (unsigned i = 0; i < steps; i++) {
        uint64_t sequence = atomic_load(&session->sequence);
        switch (below(7)) {
        case 0:
            send_anything(out, sequence);
            break;
        case 6:
            set_options(below(2) ? pair[1] : out);
            break;
        case 1: /* anything at all in the page */
            ((volatile uint32_t *)session)[below(80)] = any();
            break;
        case 2: /* a plausible call */
        case 3: {
            struct message call = {.type = MESSAGE_CALL, .sequence = sequence + 1};
            session->request.size = below(4) ? below(1000) : below(2) ? any() : size_of_interest();
            session->request.count = below(4) ? 0 : below(2) ? below(3000) : (uint32_t)number_of_interest();
            session->request.flags = below(2) ? 0 : below(256);
            atomic_store(&session->sequence, sequence + 1);
            atomic_store(&session->state, below(8) ? (uint32_t)CALL_QUEUED : below(9));
            if (below(2)) {
                atomic_exchange(&session->attending, below(4));
            }
            message_send(out, &call, NULL, 0);
            for (int j = 0; j < 20; j++) {
                session->request.size = any();
                session->request.flags = any();
            }
            break;
        }
        case 4:
            atomic_store(&session->attending, below(4));
            atomic_store(&session->listening, below(4));
            break;
        default:
            if (below(4) == 0) {
                poll(NULL, 0, 1);
            }
        }
    }
    munmap(session, SESSION_SIZE);
    receipt_close(&receipt);
    close(pair[0]);
    close(pair[1]);
}

static void hostile_client(int rounds) {
    for (int i = 0; i < rounds; i++) {
        int trunk = door_open(path, O_RDONLY);
        if (trunk < 0) {
            broken("the door does not open");
        }
        for (unsigned j = below(4); j > 0; j--) {
            send_anything(trunk, 0);
        }
        for (unsigned j = below(4); j > 0; j--) {
            misuse_channel(trunk);
        }
        close(trunk);
    }
}

static int ask(int door) {
    int open = -1;
    door_arg_t arguments = {.rbuf = (char *)&open, .rsize = sizeof open};
    for (int i = 0; i < 5; i++) {
        if (door_call(door, &arguments) == 0) {
            return open;
        }
    }
    broken("the server does not serve");
}

static void fuzz_server(int rounds) {
    int ready[2];
    if (pipe(ready) < 0) {
        broken("pipe");
    }
    pid_t server = fork();
    if (server == 0) {
        int door = door_create(procedure, NULL, DOOR_UNREF_MULTI);
        close(open(path, O_CREAT | O_RDWR, 0644));
        if (door < 0 || fattach(door, path) < 0 || write(ready[1], "r", 1) != 1) {
            broken("no server");
        }
        for (;;) {
            pause();
        }
    }
    char byte;
    if (read(ready[0], &byte, 1) != 1) {
        broken("no server");
    }
    int door = door_open(path, O_RDONLY);
    ask(door);
    int before = ask(door), now = 0;
    for (int done = 0; done < rounds; done += 100) {
        alarm(300);
        hostile_client(100);
        ask(door);
    }
    for (int i = 0; i < 6000 && (now = ask(door)) > before; i++) {
        poll(NULL, 0, 10);
    }
    if (now > before) {
        char command[64];
        fprintf(stderr, "fuzz_wire: the server has %d descriptors, had %d\n", now, before);
        snprintf(command, sizeof command, "ls -l /proc/%d/fd >&2", (int)server);
        if (system(command) != 0) {
            broken("ls");
        }
        broken("descriptors have leaked");
    }
    if (waitpid(server, NULL, WNOHANG) != 0) {
        broken("the server has died");
    }
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    close(door);
    fdetach(path);
    unlink(path);
}

/* A hostile server: takes attachments from its end of a trunk and answers them at random. */
struct liar {
    int trunk;
    uint64_t seed;
};

static void *lie(void *argument) {
    struct liar *liar = argument;
    struct session *session = NULL;
    int channel = -1;
    for (;;) {
        struct pollfd entries[2] = {{.fd = liar->trunk, .events = POLLIN | POLLRDHUP}, {.fd = channel, .events = POLLIN}};
        struct message message;
        struct receipt receipt;
        poll(entries, 2, 5);
        int error = message_receive(liar->trunk, &(struct closing_payer){-1, 0, -1}, &message, &receipt, 0);
        if (error == EPIPE) {
            break;
        }
        if (error == 0 && receipt.count == 2) {
            if (channel >= 0) {
                close(channel);
                munmap(session, SESSION_SIZE);
            }
            channel = receipt.fds[0];
            session = mmap(NULL, SESSION_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, receipt.fds[1], 0);
            close(receipt.fds[1]);
        } else if (error == 0) {
            receipt_close(&receipt);
        }
        if (channel < 0) {
            continue;
        }
        if (message_receive(channel, &(struct closing_payer){-1, 0, -1}, &message, &receipt, 0) == 0) {
            receipt_close(&receipt);
        }
        uint64_t sequence = atomic_load(&session->sequence);
        for (unsigned i = below(4); i > 0; i--) {
            send_anything(channel, sequence);
        }
        if (below(2)) { /* perhaps memory that becomes the client's results */
            struct message results = {.type = MESSAGE_RESULTS, .sequence = sequence, .size = SESSION_SIZE};
            int memory = some_descriptor();
            message_send(channel, &results, &memory, 1);
            close(memory);
        }
        session->reply.size = below(3) ? below(SESSION_SIZE) : below(2) ? any() : size_of_interest();
        session->reply.count = below(3) ? 0 : below(2) ? below(2000) : (uint32_t)number_of_interest();
        session->reply.flags = below(256);
        session->reply.error = below(3) ? 0 : (int32_t)below(140);
        if (below(2)) { /* perhaps it begins to come, and goes on or does not */
            struct message begins = {.type = MESSAGE_REPLY, .sequence = sequence};
            session->reply.flags = IN_REGION | (below(2) ? ON_SOCKET : 0);
            atomic_store(&session->state, CALL_ACTIVE);
            atomic_store(&session->reply_flow.filled, below(8));
            atomic_store(&session->coming, sequence);
            atomic_fetch_add(&session->bell, 1);
            message_send(channel, &begins, NULL, 0);
            for (unsigned i = below(8); i > 0; i--) {
                atomic_store(&session->reply_flow.filled, below(4) ? below(8) : any());
                session->reply.size = below(2) ? session->reply.size : any();
            }
        }
        atomic_store(&session->state, below(8) ? (uint32_t)CALL_DONE : below(9));
        atomic_fetch_add(&session->bell, below(2));
        struct message reply = {.type = MESSAGE_REPLY, .sequence = sequence};
        message_send(channel, &reply, NULL, 0);
        if (below(6) == 0) {
            close(channel);
            munmap(session, SESSION_SIZE);
            channel = -1;
        }
    }
    if (channel >= 0) {
        close(channel);
        munmap(session, SESSION_SIZE);
    }
    return NULL;
}

static void lying_server(int socket_end) {
    struct liar liar = {.trunk = socket_end};
    lie(&liar);
    _exit(0);
}

/* What looks like a door, whose other end is given away: the server makes it itself, as it makes the sockets of its channels. */
static int make_lie(int way) {
    int pair[2], on = 1, page = memfd_create("fuzz-status", MFD_ALLOW_SEALING);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0 || ftruncate(page, STATUS_SIZE) < 0) {
        broken("no trunk");
    }
    struct status status = {.magic = WIRE_MAGIC, .abi = WIRE_ABI, .id = any()};
    atomic_store(&status.data_max, UINT64_MAX);
    atomic_store(&status.descriptors_max, 1000);
    atomic_store(&status.version, below(4) ? 0 : any());
    if (pwrite(page, &status, sizeof status, 0) != sizeof status) {
        broken("no status");
    }
    if (below(10)) {
        fcntl(page, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
    }
    struct message hello = {.type = MESSAGE_HELLO, .sequence = any()};
    set_options(pair[0]); /* the end that the client calls through */
    setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
    message_send(pair[1], &hello, &page, 1);
    message_send(way, &hello, &pair[0], 1);
    close(pair[0]);
    close(page);
    close(way);
    return pair[1];
}

static void *call_in_a_thread(void *argument) {
    int trunk = *(int *)argument, file = open("/dev/null", O_RDONLY | O_CLOEXEC);
    char request[300] = {0}, result[64];
    door_desc_t entry;
    memset(&entry, 0, sizeof entry);
    entry.d_attributes = DOOR_DESCRIPTOR;
    entry.d_data.d_desc.d_descriptor = file;
    door_arg_t arguments = {.data_ptr = request,
                            .data_size = below(sizeof request),
                            .desc_ptr = &entry,
                            .desc_num = below(3) == 0,
                            .rbuf = result,
                            .rsize = below(sizeof result)};
    const door_call_limits_t limits = {.microseconds = 2000000, .largest = 1 << 20};
    if (door_call_limited(trunk, &arguments, &limits) == 0) {
        for (uint_t i = 0; i < arguments.desc_num; i++) {
            close(arguments.desc_ptr[i].d_data.d_desc.d_descriptor);
        }
        if (arguments.rbuf != result) {
            munmap(arguments.rbuf, arguments.rsize);
        }
    }
    close(file);
    return NULL;
}

static void fuzz_client(int rounds) {
    int honest = door_create(procedure, NULL, 0);
    ask(honest);
    int before = descriptors();
    for (int i = 0; i < rounds; i++) {
        int way[2];
        alarm(300);
        if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, way) < 0) {
            broken("no way to the server");
        }
        pid_t server = fork();
        if (server == 0) {
            state += (uint64_t)i;
            lying_server(make_lie(way[1]));
        }
        close(way[1]);
        struct message message;
        struct receipt receipt = {.count = 0};
        poll(&(struct pollfd){.fd = way[0], .events = POLLIN}, 1, 100000);
        if (message_receive(way[0], &(struct closing_payer){-1, 0, -1}, &message, &receipt, 0) != 0 || receipt.count != 1) {
            broken("no trunk");
        }
        close(way[0]);
        int trunk = receipt.fds[0];
        for (int j = 0; j < 3; j++) {
            pthread_t thread;
            pthread_create(&thread, NULL, call_in_a_thread, &trunk);
            pthread_join(thread, NULL);
        }
        close(trunk);
        waitpid(server, NULL, 0);
    }
    /* Threads of the library close what came, in their own time. */
    for (int left = 1000; descriptors() > before + 1 && left > 0; left--) {
        usleep(10000);
    }
    if (descriptors() > before + 1) {
        broken("the client has leaked descriptors");
    }
    ask(honest);
}

int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 1000;
    state = argc > 2 ? strtoull(argv[2], NULL, 0) | 1 : 88172645463325252ull;
    setpgid(0, 0);
    snprintf(path, sizeof path, "/tmp/door-fuzz-%d", (int)getpid());
    fuzz_server(rounds);
    fuzz_client(rounds / 20);
    printf("fuzz_wire: %d rounds against the server, %d against the client\n", rounds, rounds / 20);
    return 0;
}
