/*
 * Large payloads, which are copied out while they are copied in: what is exchanged is what was sent, and a side that stops in the
 * middle holds the other up for a moment only, or for as long as that one is patient.
 */
#include "attacks.h"

#include <sys/time.h>
#include <time.h>

enum { LARGEST = 3 << 20, CALL_LARGE = 20 << 20 };

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Word by word: ThreadSanitizer hears of each access, and took minutes over single bytes. */
static void fill(char *data, size_t size, unsigned seed) {
    uint64_t word = seed;
    for (size_t i = 0; i < size; i += sizeof word) {
        word = word * UINT64_C(6364136223846793005) + 1442695040888963407;
        memcpy(data + i, &word, size - i < sizeof word ? size - i : sizeof word);
    }
}

static void invert(char *data, size_t size) {
    for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
        size_t count = size - i < sizeof(uint64_t) ? size - i : sizeof(uint64_t);
        uint64_t word = 0;
        memcpy(&word, data + i, count);
        word = ~word;
        memcpy(data + i, &word, count);
    }
}

static void invert_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)descriptors, (void)count;
    invert(data, size);
    door_return(data, size, NULL, 0);
}

static void *large_thread(void *unused) {
    door_return(NULL, 0, NULL, 0);
    return unused;
}

/* Requests are laid on the thread's stack, so that must have room for them. */
static void make_large_thread(door_info_t *info) {
    pthread_attr_t attributes;
    pthread_t thread;
    (void)info;
    CHECK_EQUAL(pthread_attr_init(&attributes), 0);
    CHECK_EQUAL(pthread_attr_setstacksize(&attributes, CALL_LARGE + (2 << 20)), 0);
    CHECK_EQUAL(pthread_create(&thread, &attributes, large_thread, NULL), 0);
    CHECK_EQUAL(pthread_detach(thread), 0);
    pthread_attr_destroy(&attributes);
}

/* The reply goes into a buffer of its own, a new mapping, or over the request. */
static void client_of_all_sizes(int socket, void *unused) {
    static const size_t sizes[] = {65535, 65536, 65537, 131072, 131073, 200000, 1 << 20, (1 << 20) + 1, LARGEST - 7, LARGEST};
    char *request = malloc(LARGEST), *expected = malloc(LARGEST), *buffer = malloc(LARGEST);
    int door = receive_fd(socket);
    (void)unused;
    for (unsigned i = 0; i < 120; i++) {
        size_t size = sizes[i * 7 % 10];
        unsigned place = i % 3;
        fill(request, size, i);
        memcpy(expected, request, size);
        invert(expected, size);
        door_arg_t arguments = {.data_ptr = request, .data_size = size};
        if (place > 0) {
            arguments.rbuf = place == 1 ? buffer : request;
            arguments.rsize = LARGEST;
        }
        CHECK_EQUAL(door_call(door, &arguments), 0);
        CHECK_EQUAL(arguments.data_size, size);
        CHECK((arguments.rbuf == (place == 1 ? buffer : request)) == (place > 0));
        CHECK_EQUAL(memcmp(arguments.data_ptr, expected, size), 0);
        if (place == 0) {
            CHECK_EQUAL(munmap(arguments.rbuf, arguments.rsize), 0);
        }
    }
}

static void door_payloads_of_all_sizes(void) {
    door_server_create(make_large_thread);
    struct child children[3];
    for (int i = 0; i < 3; i++) { /* before there are threads, whose stacks AddressSanitizer would take for theirs in the children, too */
        children[i] = start_child(client_of_all_sizes, NULL);
    }
    int door = door_create(invert_procedure, NULL, 0);
    for (int i = 0; i < 3; i++) {
        send_fd(children[i].socket, door);
    }
    for (int i = 0; i < 3; i++) {
        finish_child(children[i]);
    }
}

static atomic_int calls;

static void counting_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)descriptors, (void)count;
    atomic_fetch_add(&calls, 1);
    int sum = 0;
    for (size_t i = 0; i < size; i++) {
        sum += data[i];
    }
    door_return((char *)&sum, sizeof sum, NULL, 0);
}

static int ask(int door) {
    int number = 7;
    return call(door, NULL, 0, &number, sizeof number, NULL) == 0 ? number : -errno;
}

/* A client of our own making with a region for 256 KiB, which begins a call that has that much to come. */
enum { FOLLOWING = 4 * FLOW_CHUNK };

static struct attached begin_call(int door, char **region) {
    struct attached attached = attach(door);
    struct message grow = {.type = MESSAGE_GROW, .size = FOLLOWING};
    int fd = sealed(FOLLOWING, F_SEAL_SHRINK | F_SEAL_GROW);
    *region = mmap(NULL, FOLLOWING, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(*region != MAP_FAILED);
    CHECK_EQUAL(message_send(attached.fd, &grow, &fd, 1), 0);
    close(fd);
    atomic_store(&attached.session->request_flow.filled, 1);
    queue_call(&attached, FOLLOWING, IN_REGION | ON_SOCKET | REQUEST_FOLLOWS);
    return attached;
}

static bool is_postponed(void *argument) {
    const struct attached *attached = argument;
    return atomic_load(&attached->session->postponed) == 1 && atomic_load(&attached->session->state) == CALL_QUEUED;
}

static bool is_active(void *argument) {
    const struct attached *attached = argument;
    return atomic_load(&attached->session->state) == CALL_ACTIVE;
}

static void finish_call(struct attached *attached, char *region) {
    struct message message = {.type = MESSAGE_CALL, .sequence = atomic_load(&attached->session->sequence)};
    memset(region, 1, FOLLOWING);
    atomic_store(&attached->session->request_flow.filled, 4);
    if (atomic_exchange(&attached->session->postponed, 0) != 0) {
        CHECK_EQUAL(message_send(attached->fd, &message, NULL, 0), 0);
    }
}

/* The thread waits for what follows, but not for ever, and the call is made once it is whole. */
static void door_request_that_stops(void) {
    door_counters_t counters;
    char *region;
    int door = door_create(counting_procedure, NULL, 0);
    CHECK_EQUAL(ask(door), 0);
    poll(NULL, 0, 50); /* there are two threads now */
    struct attached attached = begin_call(door, &region);
    CHECK(eventually(is_postponed, &attached));
    CHECK_EQUAL(atomic_load(&calls), 1);
    CHECK_EQUAL(door_counters(door, &counters), 0);
    CHECK_EQUAL(counters.calls, 1);
    CHECK_EQUAL(counters.active, 0);
    finish_call(&attached, region);
    CHECK(eventually(is_answered, &attached));
    int sum;
    memcpy(&sum, (char *)attached.session + SESSION_REPLY, sizeof sum);
    CHECK_EQUAL(sum, FOLLOWING);
    CHECK_EQUAL(door_counters(door, &counters), 0);
    CHECK_EQUAL(counters.calls, 2);
    CHECK_EQUAL(ask(door), 0);
    detach(&attached);
}

static void *single_thread(void *unused) {
    door_return(NULL, 0, NULL, 0);
    return unused;
}

static void make_single_thread(door_info_t *info) {
    static bool made;
    pthread_t thread;
    (void)info;
    if (!made) {
        made = true;
        CHECK_EQUAL(pthread_create(&thread, NULL, single_thread, NULL), 0);
    }
}

/* The only thread waits for nobody: others are served, however many have stopped. */
static void door_requests_that_stop_for_one_thread(void) {
    struct attached attached[20];
    char *regions[20];
    door_server_create(make_single_thread);
    int door = door_create(counting_procedure, NULL, 0);
    CHECK_EQUAL(ask(door), 0);
    double start = seconds();
    for (int i = 0; i < 20; i++) {
        attached[i] = begin_call(door, &regions[i]);
    }
    for (int i = 0; i < 20; i++) {
        CHECK(eventually(is_postponed, &attached[i]));
        CHECK_EQUAL(ask(door), 0);
    }
    CHECK(seconds() - start < 1.5 || !system_is_real()); /* a thread that has others beside it waits 0.1 s for each */
    for (int i = 0; i < 20; i++) {
        finish_call(&attached[i], regions[i]);
    }
    for (int i = 0; i < 20; i++) {
        CHECK(eventually(is_answered, &attached[i]));
    }
    CHECK_EQUAL(atomic_load(&calls), 41);
}

/* A client that ends in the middle of its request: the procedure never sees it, and nothing is left. */
static void door_client_dies_in_its_request(void) {
    char *region;
    int door = door_create(counting_procedure, NULL, 0);
    CHECK_EQUAL(ask(door), 0);
    poll(NULL, 0, 50);
    int before = open_descriptors();
    for (int i = 0; i < 20; i++) {
        struct attached attached = begin_call(door, &region);
        eventually(i % 2 ? is_active : is_postponed, &attached);
        detach(&attached);
        munmap(region, FOLLOWING);
        CHECK_EQUAL(ask(door), 0);
    }
    CHECK_EQUAL(atomic_load(&calls), 21);
    for (int i = 0; i < 100 && open_descriptors() > before; i++) {
        poll(NULL, 0, 10);
    }
    CHECK(open_descriptors() <= before);
}

/* A door that is revoked while its call is postponed. */
static void door_revoked_before_the_rest(void) {
    char *region;
    int door = door_create(counting_procedure, NULL, 0);
    CHECK_EQUAL(ask(door), 0);
    struct attached attached = begin_call(door, &region);
    CHECK(eventually(is_postponed, &attached));
    CHECK_EQUAL(door_revoke(door), 0);
    CHECK_EQUAL(atomic_load(&attached.session->state), CALL_REFUSED);
}

/* A server of our own making that announces a reply of 256 KiB, and then does what it was told to. */
enum ending { ENDING_NEVER, ENDING_LONGER, ENDING_SHORTER, ENDING_RIGHT };
struct liar {
    struct trunk_ends ends;
    enum ending ending;
};

static void announce(int socket, void *argument) {
    const struct liar *liar = argument;
    struct message message;
    struct receipt receipt;
    (void)socket;
    close(liar->ends.client);
    struct pollfd entry = {.fd = liar->ends.server, .events = POLLIN};
    CHECK_EQUAL(poll(&entry, 1, 20000), 1);
    CHECK_EQUAL(message_receive(liar->ends.server, &(struct closing_payer){-1, 0, -1}, &message, &receipt, 0), 0);
    CHECK_EQUAL(receipt.count, 2);
    struct session *session = mmap(NULL, SESSION_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, receipt.fds[1], 0);
    CHECK(session != MAP_FAILED);
    int channel = receipt.fds[0]; /* the call came with it */
    uint64_t sequence = atomic_load(&session->sequence);
    int fd = sealed(FOLLOWING, F_SEAL_SHRINK);
    char *region = mmap(NULL, FOLLOWING, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(region != MAP_FAILED);
    memset(region, 'x', FOLLOWING);
    struct message grow = {.type = MESSAGE_GROW, .sequence = sequence, .size = FOLLOWING};
    struct message reply = {.type = MESSAGE_REPLY, .sequence = sequence};
    atomic_store(&session->state, CALL_ACTIVE);
    CHECK_EQUAL(message_send(channel, &grow, &fd, 1), 0);
    session->reply.size = FOLLOWING;
    session->reply.flags = IN_REGION | ON_SOCKET;
    atomic_store(&session->reply_flow.filled, 2);
    atomic_store(&session->coming, sequence);
    atomic_fetch_add(&session->bell, 1);
    message_send(channel, &reply, NULL, 0);
    poll(NULL, 0, 100);
    if (liar->ending != ENDING_NEVER) {
        session->reply.size = liar->ending == ENDING_LONGER    ? FOLLOWING + 1
                              : liar->ending == ENDING_SHORTER ? FOLLOWING - 1
                                                               : FOLLOWING;
        atomic_store(&session->state, CALL_DONE);
        message_send(channel, &reply, NULL, 0);
    }
    entry.fd = liar->ends.server;
    entry.events = POLLRDHUP;
    poll(&entry, 1, 20000);
}

static volatile sig_atomic_t alarms;

static void on_alarm(int number) {
    (void)number;
    alarms++;
}

static int call_a_liar(enum ending ending, unsigned microseconds, bool with_buffer, door_arg_t *arguments) {
    static char buffer[FOLLOWING];
    struct liar liar = {make_liar(), ending};
    struct child child = start_child(announce, &liar);
    close(liar.ends.server);
    *arguments = (door_arg_t){.rbuf = with_buffer ? buffer : NULL, .rsize = with_buffer ? sizeof buffer : 0};
    int result = microseconds > 0 ? door_call_within(liar.ends.client, arguments, microseconds)
                                  : door_call(liar.ends.client, arguments);
    int error = result < 0 ? errno : 0;
    CHECK(error == 0 || (arguments->rbuf == (with_buffer ? buffer : NULL) && arguments->data_size == 0));
    close(liar.ends.client);
    if (error == 0) {
        CHECK(arguments->data_ptr[0] == 'x' && arguments->data_ptr[FOLLOWING - 1] == 'x');
    }
    if (error == 0 && !with_buffer) {
        CHECK_EQUAL(munmap(arguments->rbuf, arguments->rsize), 0);
    }
    finish_child(child);
    return error;
}

/* What the end says must be what the beginning said; nothing of any other reply is mapped. */
static void door_replies_that_change(void) {
    door_arg_t arguments;
    for (int with_buffer = 0; with_buffer < 2; with_buffer++) {
        CHECK_EQUAL(call_a_liar(ENDING_RIGHT, 0, with_buffer, &arguments), 0);
        CHECK_EQUAL(arguments.data_size, FOLLOWING);
        int before = mappings();
        for (int i = 0; i < 5; i++) {
            CHECK_EQUAL(call_a_liar(ENDING_LONGER, 0, with_buffer, &arguments), EINTR);
            CHECK_EQUAL(call_a_liar(ENDING_SHORTER, 0, with_buffer, &arguments), EINTR);
        }
        CHECK(!mappings_are_ours() || mappings() < before + 10);
    }
}

/* Who waits for the rest of a reply hears signals, and its own clock; otherwise the watchdog ends the case. */
static void door_reply_that_stops(void) {
    door_arg_t arguments;
    struct sigaction action = {.sa_handler = on_alarm};
    struct itimerval timer = {.it_value = {.tv_usec = 200000}};
    CHECK_EQUAL(sigaction(SIGALRM, &action, NULL), 0);
    CHECK_EQUAL(setitimer(ITIMER_REAL, &timer, NULL), 0);
    CHECK_EQUAL(call_a_liar(ENDING_NEVER, 0, true, &arguments), EINTR);
    CHECK_EQUAL(alarms, 1);
    CHECK_EQUAL(call_a_liar(ENDING_NEVER, 200000, false, &arguments), EINTR);
}

static const struct test tests[] = {
    TEST(door_payloads_of_all_sizes),
    TEST(door_request_that_stops),
    TEST(door_requests_that_stop_for_one_thread),
    TEST(door_client_dies_in_its_request),
    TEST(door_revoked_before_the_rest),
    TEST(door_replies_that_change),
    TEST(door_reply_that_stops),
};
TEST_MAIN(tests)
