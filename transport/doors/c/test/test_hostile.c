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
};
TEST_MAIN(tests)
