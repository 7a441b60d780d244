/*
 * Peers that do not keep to the protocol, one lie at a time; the fuzzer tells them at random. A client here speaks to
 * an honest server with datagrams of its own making, and a server likewise to an honest client.
 */
#include "attacks.h"
#include "blocking.h"

static size_t address_space(void) {
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    CHECK(file != NULL && fscanf(file, "%lu", &pages) == 1);
    fclose(file);
    return pages * 4096;
}

/* The server maps nothing that no thread could take as a request: its addresses would run out. */
static void door_region_of_64_terabytes(void) {
    const uint64_t huge = 1ull << 46;
    int door = door_create(number_procedure, NULL, 0);
    CHECK_EQUAL(ask_number(door), 77);
    struct attached attached = attach(door);
    size_t before = address_space();
    for (int i = 0; i < 3; i++) {
        int fd = sealed(huge, F_SEAL_SHRINK);
        struct message grow = {.type = MESSAGE_GROW, .size = huge};
        CHECK_EQUAL(message_send(attached.fd, &grow, &fd, 1), 0);
        close(fd);
        queue_call(&attached, huge, IN_REGION | ON_SOCKET);
        CHECK(eventually(is_answered, &attached));
        CHECK_EQUAL(attached.session->reply.error, E2BIG);
    }
    CHECK(!mappings_are_ours() || address_space() < before + (1ull << 32));
    CHECK_EQUAL(ask_number(door), 77);
}

/* The only thread of a pool is not kept busy by datagrams that announce nothing. */
static void door_flood_of_datagrams(void) {
    door_server_create(one_thread);
    int door = door_create(number_procedure, NULL, 0);
    CHECK_EQUAL(ask_number(door), 77);
    struct attached attached = attach(door);
    struct message message = {.type = MESSAGE_CALL, .sequence = 12345};
    for (int i = 0; i < 100000 && !has_hung_up(&attached); i++) {
        int error = message_send(attached.fd, &message, NULL, 0);
        CHECK(error == 0 || error == EAGAIN || error == EPIPE || error == ECONNRESET);
    }
    CHECK_EQUAL(ask_number(door), 77);
}

static atomic_bool hammered;

static void *hammer(void *argument) {
    const struct attached *attached = argument;
    while (!atomic_load(&hammered)) {
        atomic_store(&attached->session->attending, ATTENDING_ASLEEP);
    }
    return NULL;
}

static bool is_attended(void *argument) {
    const struct attached *attached = argument;
    return atomic_load(&attached->session->attending) == ATTENDING_ASLEEP;
}

/* A thread that waits for one client serves another one when it is needed there, whatever the first one writes. */
static void door_attention_is_not_kept(void) {
    struct caller first = {0}, second = {0};
    pthread_t thread;
    make_pipes();
    int door = door_create(blocking_procedure, NULL, 0);
    struct attached attached = attach(door);
    for (int i = 0; i < 100 && !is_attended(&attached); i++) { /* once the pool has a second thread */
        queue_call(&attached, 0, 0);
        receive_byte(entered[0]);
        send_byte(leave[1], 'l');
        CHECK(eventually(is_answered, &attached));
        poll(NULL, 0, 20);
    }
    CHECK(is_attended(&attached));
    CHECK_EQUAL(pthread_create(&thread, NULL, hammer, &attached), 0);
    start_caller(&first, door);
    receive_byte(entered[0]);
    start_caller(&second, door);
    CHECK(byte_within(entered[0], 3000)); /* it would leave its pool after 5 s */
    receive_byte(entered[0]);
    send_byte(leave[1], 'l');
    send_byte(leave[1], 'l');
    CHECK_EQUAL(caller_error(&first), 0);
    CHECK_EQUAL(caller_error(&second), 0);
    atomic_store(&hammered, true);
    pthread_join(thread, NULL);
}

/* A server of our own making: a door's client end, of which nothing is true. */
struct liar {
    int trunk, client; /* the two ends */
    uint64_t size;    /* of the reply, as it says */
    uint64_t results; /* of the memory that it sends */
    int seals;
};

static void lie(int socket, void *argument) {
    const struct liar *liar = argument;
    struct message message;
    struct receipt receipt;
    (void)socket;
    close(liar->client);
    struct pollfd entry = {.fd = liar->trunk, .events = POLLIN};
    CHECK_EQUAL(poll(&entry, 1, 20000), 1);
    CHECK_EQUAL(message_receive(liar->trunk, &(struct closing_payer){-1, 0, -1}, &message, &receipt, 0), 0);
    CHECK_EQUAL(receipt.count, 2);
    struct session *session = mmap(NULL, SESSION_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, receipt.fds[1], 0);
    CHECK(session != MAP_FAILED);
    int fd = sealed(liar->results, liar->seals);
    struct message results = {
        .type = MESSAGE_RESULTS, .sequence = atomic_load(&session->sequence), .size = liar->results};
    CHECK_EQUAL(message_send(receipt.fds[0], &results, &fd, 1), 0);
    session->reply.size = liar->size;
    session->reply.flags = IN_RESULTS | ON_SOCKET;
    atomic_store(&session->state, CALL_DONE);
    results.type = MESSAGE_REPLY;
    message_send(receipt.fds[0], &results, NULL, 0); /* the client may have hung up */
    entry.fd = liar->trunk;
    entry.events = POLLRDHUP;
    poll(&entry, 1, 20000);
}

static int call_a_liar(uint64_t size, uint64_t results, int seals) {
    struct trunk_ends ends = make_liar();
    struct liar liar = {ends.server, ends.client, size, results, seals};
    struct child child = start_child(lie, &liar);
    close(ends.server);
    door_arg_t arguments = {0};
    int error = door_call(ends.client, &arguments) < 0 ? errno : 0;
    if (error == 0) {
        CHECK_EQUAL(arguments.data_size, size);
        CHECK(arguments.rsize >= size);
        CHECK_EQUAL(munmap(arguments.rbuf, arguments.rsize), 0);
    } else {
        CHECK(arguments.rbuf == NULL && arguments.rsize == 0);
    }
    close(ends.client);
    finish_child(child);
    return error;
}

/* Memory that becomes the client's results must be beyond the server's reach, and as large as it says. */
static void door_results_that_are_lies(void) {
    const int frozen = F_SEAL_SHRINK | F_SEAL_WRITE;
    CHECK_EQUAL(call_a_liar(100000, 102400, frozen), 0);
    int before = open_descriptors(); /* with the line to that door, which the next call drops */
    CHECK_EQUAL(call_a_liar(100000, 102400, F_SEAL_SHRINK), EOVERFLOW);
    CHECK_EQUAL(call_a_liar(100000, 102400, F_SEAL_WRITE), EOVERFLOW);
    CHECK_EQUAL(call_a_liar(200000, 102400, frozen), EINTR);
    CHECK_EQUAL(call_a_liar(100000, 204800, frozen), 0); /* the excess is dropped: the reply is copied */
    CHECK_EQUAL(open_descriptors(), before);
}

/* A client keeps the memory in which its replies come, of as many channels as it likes. */
enum { LARGE_REPLY = 16 << 20, KEPT = 12 };

static void large_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)descriptors, (void)count;
    static char reply[LARGE_REPLY];
    memset(reply, size > 0 ? *data : 'r', sizeof reply);
    door_return(reply, sizeof reply, NULL, 0);
}

static bool is_empty(void *kept) {
    struct stat status;
    for (int i = 0; i < KEPT; i++) {
        CHECK_EQUAL(fstat(((int *)kept)[i], &status), 0);
        if (status.st_blocks > 0) {
            return false;
        }
    }
    return true;
}

/* A door whose file everybody may read. */
static int attach_for_all(door_server_procedure_t *procedure, const char *path) {
    int door = door_create(procedure, NULL, 0);
    close(open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0666));
    CHECK_EQUAL(chmod(path, 0666), 0);
    CHECK_EQUAL(fattach(door, path), 0);
    return door;
}

static void keeps_replies(int socket, void *path) {
    const struct closing_payer nobody = {-1, 0, -1};
    int kept[KEPT];
    become_stranger();
    int door = door_open(path, O_RDONLY);
    for (int i = 0; i < KEPT; i++) {
        struct attached attached = attach(door);
        struct message message;
        struct receipt receipt;
        queue_call(&attached, 0, 0);
        CHECK(eventually(is_answered, &attached));
        do {
            CHECK_EQUAL(message_receive(attached.near, &nobody, &message, &receipt, 0), 0);
        } while (message.type != MESSAGE_GROW && message.type != MESSAGE_RESULTS);
        CHECK_EQUAL(message.type, MESSAGE_GROW);
        kept[i] = receipt.fds[0];
        CHECK_ERROR(fcntl(kept[i], F_ADD_SEALS, F_SEAL_WRITE), EPERM); /* it cannot be kept from being emptied */
        detach(&attached);
    }
    CHECK(eventually(is_empty, kept));
    for (int i = 0; i < 40; i++) { /* one that keeps to the protocol gets all of each */
        door_arg_t arguments = {.data_ptr = (char *)&"abc"[i % 3], .data_size = 1};
        CHECK_EQUAL(door_call(door, &arguments), 0);
        CHECK_EQUAL(arguments.data_size, LARGE_REPLY);
        CHECK(arguments.rbuf[0] == "abc"[i % 3] && arguments.rbuf[LARGE_REPLY - 1] == "abc"[i % 3]);
        CHECK_EQUAL(munmap(arguments.rbuf, arguments.rsize), 0);
    }
    send_byte(socket, 'd');
}

static void run_as_stranger(void (*body)(int socket, void *path), door_server_procedure_t *procedure) {
    char *path = temporary_path("large");
    int door = attach_for_all(procedure, path);
    if (geteuid() == 0) { /* or it would be no stranger */
        struct child child = start_child(body, path);
        CHECK_EQUAL(receive_byte(child.socket), 'd');
        finish_child(child);
    }
    close(door);
}

static void door_replies_that_are_kept(void) {
    run_as_stranger(keeps_replies, large_procedure);
}

/* The reply has a mebibyte for each byte of the request, and begins and ends with their number. */
enum { SHARE = 512, MEBIBYTE = 1 << 20 };

static void long_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)data, (void)descriptors, (void)count;
    size_t length = size > 0 ? size * MEBIBYTE : 64 * MEBIBYTE;
    static char *reply;
    if (reply == NULL) {
        reply = mmap(NULL, 100 * MEBIBYTE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    }
    reply[0] = reply[length - 1] = (char)size;
    door_return(reply, length, NULL, 0);
}

static void wants_long_replies(int socket, void *path) {
    static const unsigned char sizes[] = {100, 1, 64, 100, 100, 2};
    static char request[100];
    struct attached attached[SHARE / 64 + 1];
    become_stranger();
    int door = door_open(path, O_RDONLY);
    for (int i = 0; i <= SHARE / 64; i++) {
        attached[i] = attach(door);
        queue_call(&attached[i], 0, 0);
        CHECK(eventually(is_answered, &attached[i]));
        CHECK_EQUAL(attached[i].session->reply.error, i < SHARE / 64 ? 0 : EOVERFLOW);
    }
    CHECK_ERROR(door_call(door, &(door_arg_t){.data_ptr = request, .data_size = 16}), EOVERFLOW);
    atomic_store(&attached[0].session->state, CALL_IDLE); /* an idle channel makes room */
    for (int i = 0; i < 12; i++) {
        size_t size = sizes[i % 6];
        door_arg_t arguments = {.data_ptr = request, .data_size = size};
        CHECK_EQUAL(door_call(door, &arguments), size > 64 ? -1 : 0);
        if (size <= 64) {
            CHECK_EQUAL(arguments.data_size, size * MEBIBYTE);
            CHECK(arguments.rbuf[0] == (char)size && arguments.rbuf[size * MEBIBYTE - 1] == (char)size);
            CHECK_EQUAL(munmap(arguments.rbuf, arguments.rsize), 0);
        }
    }
    for (int i = 1; i <= SHARE / 64; i++) {
        detach(&attached[i]);
    }
    for (int i = 0; i < 6; i++) { /* longer ones than are kept */
        size_t size = sizes[i];
        door_arg_t arguments = {.data_ptr = request, .data_size = size};
        int result;
        for (int j = 0; (result = door_call(door, &arguments)) < 0 && errno == EOVERFLOW && j < 1000; j++) {
            poll(NULL, 0, 5); /* the server has yet to hear that the channels have hung up */
        }
        CHECK_EQUAL(result, 0);
        CHECK_EQUAL(arguments.data_size, size * MEBIBYTE);
        CHECK(arguments.rbuf[0] == (char)size && arguments.rbuf[size * MEBIBYTE - 1] == (char)size);
        CHECK_EQUAL(munmap(arguments.rbuf, arguments.rsize), 0);
    }
    send_byte(socket, 'd');
}

static void door_replies_have_a_share(void) {
    run_as_stranger(wants_long_replies, long_procedure);
}

/* Makes a pair as the attacker, gives both ends away, and ends. */
static void make_pair(int socket, void *unused) {
    int pair[2];
    (void)unused;
    CHECK_EQUAL(setresuid(STRANGER, STRANGER, STRANGER), 0);
    CHECK_EQUAL(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    send_fd(socket, pair[0]);
    send_fd(socket, pair[1]);
}

/* A door of ours as the attacker presents it: with its number, which anybody may ask for, and a page of the attacker's. */
static void present(int socket, door_id_t id) {
    struct message hello = {.type = MESSAGE_HELLO, .sequence = id};
    int page = sealed(STATUS_SIZE, F_SEAL_SHRINK);
    const struct status status = {.magic = WIRE_MAGIC, .abi = WIRE_ABI, .id = id};
    CHECK_EQUAL(pwrite(page, &status, sizeof status, 0), sizeof status);
    CHECK_EQUAL(message_send(socket, &hello, &page, 1), 0);
    close(page);
}

/* In a pid namespace of its own, where the next process gets the number that is asked for. */
static void be_a_namesake(int socket, void *unused) {
    (void)unused;
    struct child attacker = start_child(make_pair, NULL);
    int client = receive_fd(attacker.socket), server = receive_fd(attacker.socket);
    finish_child(attacker);
    FILE *last = fopen("/proc/sys/kernel/ns_last_pid", "we");
    bool is_allowed = last != NULL && fprintf(last, "%d", (int)attacker.pid - 1) > 0 && fclose(last) == 0;
    pid_t victim = is_allowed ? fork() : -1;
    if (victim == 0) {
        int door = door_create(number_procedure, NULL, 0);
        door_info_t own, theirs;
        CHECK_EQUAL(getpid(), attacker.pid);
        CHECK_EQUAL(door_info(door, &own), 0);
        present(server, own.di_uniquifier);
        CHECK_EQUAL(door_info(client, &theirs), 0);
        CHECK(!(theirs.di_attributes & DOOR_LOCAL));
        CHECK_EQUAL(theirs.di_target, -1);
        CHECK_ERROR(door_revoke(client), EPERM);
        CHECK_ERROR(door_setparam(client, DOOR_PARAM_DATA_MAX, 0), EPERM);
        CHECK_EQUAL(ask_number(door), 77);
        _exit(0);
    }
    int status = 0;
    CHECK(victim < 0 || waitpid(victim, &status, 0) == victim);
    CHECK_EQUAL(status, 0);
    send_byte(socket, 'd');
}

/* Numbers of processes come again: one that has ended may have had the victim's, and somebody holds its sockets. */
static void door_socket_of_a_dead_namesake(void) {
    struct child child;
    if (geteuid() == 0 && start_child_in_pid_namespace(be_a_namesake, NULL, &child)) {
        CHECK_EQUAL(receive_byte(child.socket), 'd');
        finish_child(child);
    }
}

static const struct test tests[] = {
    TEST(door_region_of_64_terabytes),
    TEST(door_flood_of_datagrams),
    TEST(door_attention_is_not_kept),
    TEST(door_results_that_are_lies),
    TEST(door_socket_of_a_dead_namesake),
    TEST(door_replies_that_are_kept),
    TEST(door_replies_have_a_share),
};
TEST_MAIN(tests)
