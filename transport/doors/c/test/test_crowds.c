/* Many at a time: what one user's requests cost when there are many others, and whose idle channels make room. */
#include "attacks.h"

#include <sys/resource.h>
#include <sys/un.h>

static const char *path;

/* Trunks that are never empty. */
enum { TRUNKS = 200 };

static void floods_many_trunks(int socket_, void *unused) {
    (void)unused;
    int trunks[TRUNKS];
    struct message message = {.type = MESSAGE_GO};
    become_stranger();
    for (int i = 0; i < TRUNKS; i++) {
        trunks[i] = door_open(path, O_RDONLY);
        CHECK(trunks[i] >= 0);
    }
    send_byte(socket_, 'r');
    for (unsigned i = 0; !byte_within(socket_, 0); i++) {
        while (message_send(trunks[i % TRUNKS], &message, NULL, 0) == 0) {
        }
    }
}

static void door_flood_of_many_trunks(void) {
    enum { CALLS = 100 };
    path = temporary_path("door");
    int door = make_public(path);
    CHECK_EQUAL(ask_number(door), 77);
    struct child attacker = start_child(floods_many_trunks, NULL);
    receive_byte(attacker.socket);
    double all = 0, longest = 0;
    for (int i = 0; i < CALLS; i++) {
        poll(NULL, 0, 1); /* or the thread would not have to be woken */
        double start = now();
        CHECK_EQUAL(ask_number(door), 77);
        all += now() - start;
        longest = now() - start > longest ? now() - start : longest;
    }
    send_byte(attacker.socket, 'e');
    finish_child(attacker);
    printf("      a call took %.1f ms, the longest %.1f ms\n", all * 1e3 / CALLS, longest * 1e3);
    CHECK(all < 5);
}

/* A user who may have no more loses the channel that was used longest ago, of whatever process of theirs, and nobody else loses any. */
static int waits_with(struct attached *attached, unsigned count) {
    int gone = -1;
    for (unsigned i = 0; i < count; i++) {
        if (has_hung_up(&attached[i])) {
            CHECK_EQUAL(gone, -1);
            gone = (int)i;
        }
    }
    return gone;
}

enum { TABLE = 400, SHARE = TABLE / 4 / 2 }; /* channels of two descriptors */

static void has_too_many_channels(int socket_, void *unused) {
    static struct attached attached[SHARE + 2];
    (void)unused;
    become_stranger();
    int trunk = door_open(path, O_RDONLY);
    for (unsigned i = 0; i < SHARE; i++) {
        attached[i] = attach(trunk);
    }
    CHECK_EQUAL(waits_with(attached, SHARE), -1);
    queue_call(&attached[0], 0, 0);
    CHECK(eventually(is_answered, &attached[0]));
    atomic_store(&attached[0].session->state, CALL_IDLE); /* the answer has been read */
    attached[SHARE] = attach(trunk);
    CHECK_EQUAL(waits_with(attached, SHARE + 1), 1);
    send_byte(socket_, 'd');
    receive_byte(socket_);
}

static void door_channel_that_makes_room(void) {
    struct rlimit limit = {TABLE, TABLE};
    if (geteuid() != 0 || !system_is_real()) {
        return;
    }
    CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &limit), 0);
    path = temporary_path("door");
    int door = make_public(path);
    struct attached own = attach(door), other = attach(door);
    int before = open_descriptors();
    struct child attacker = start_child(has_too_many_channels, NULL);
    receive_byte(attacker.socket);
    CHECK(!has_hung_up(&own) && !has_hung_up(&other));
    CHECK_EQUAL(ask_number(door), 77);
    send_byte(attacker.socket, 'e');
    finish_child(attacker);
    CHECK_EQUAL(ask_number(door), 77);
    for (int i = 0; i < 20000 && open_descriptors() > before + 4; i++) {
        poll(NULL, 0, 1);
    }
    CHECK(open_descriptors() <= before + 4); /* our own channel, and what the thread keeps */
    detach(&own);
    detach(&other);
}

/* Channels come and go in any order, at two doors, and all are found. */
static void door_channels_in_any_order(void) {
    enum { CHANNELS = 40 };
    int doors[2] = {door_create(number_procedure, NULL, 0), door_create(number_procedure, NULL, 0)};
    struct attached attached[2][CHANNELS];
    for (int i = 0; i < CHANNELS; i++) {
        attached[0][i] = attach(doors[0]);
        attached[1][i] = attach(doors[1]);
    }
    for (int i = 0; i < CHANNELS; i++) { /* from the middle to the ends of the lists, and in turn */
        int at = i % 2 ? CHANNELS / 2 + i / 2 : CHANNELS / 2 - 1 - i / 2;
        queue_call(&attached[i % 2][at], 0, 0);
        CHECK(eventually(is_answered, &attached[i % 2][at]));
        detach(&attached[i % 2][at]);
        detach(&attached[1 - i % 2][at]);
    }
    CHECK_EQUAL(ask_number(doors[0]), 77);
    CHECK_EQUAL(ask_number(doors[1]), 77);
    close(doors[0]);
    CHECK_EQUAL(ask_number(doors[1]), 77);
}

/* Who connects while somebody else keeps the control thread busy, in whatever way, waits for one turn of theirs and not for all. */
enum flood { FLOOD_OF_MESSAGES, FLOOD_OF_CHANNELS, FLOOD_THROUGH_DOORS_HANDED_OUT, FLOOD_OF_CONNECTIONS };

/* So many that a client that waits for all of them waits for long. */
enum { FLOODS = 800 };

static int handed_out;

static void hands_out_doors(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    static _Thread_local door_desc_t entries[FLOODS];
    (void)cookie, (void)data, (void)size, (void)descriptors, (void)count;
    for (int i = 0; i < FLOODS; i++) {
        entries[i].d_attributes = DOOR_DESCRIPTOR;
        entries[i].d_data.d_desc.d_descriptor = handed_out;
    }
    door_return(NULL, 0, entries, FLOODS);
}

static int floods[FLOODS];

static void open_floods(enum flood flood) {
    static char results[FLOODS * sizeof(door_desc_t)];
    if (flood == FLOOD_THROUGH_DOORS_HANDED_OUT) {
        door_arg_t arguments = {.rbuf = results, .rsize = sizeof results};
        int door = door_open(path, O_RDONLY);
        CHECK_EQUAL(door_call(door, &arguments), 0);
        CHECK_EQUAL(arguments.desc_num, FLOODS);
        for (int i = 0; i < FLOODS; i++) {
            floods[i] = arguments.desc_ptr[i].d_data.d_desc.d_descriptor;
        }
    } else if (flood != FLOOD_OF_CONNECTIONS) {
        for (int i = 0; i < FLOODS; i++) {
            floods[i] = door_open(path, O_RDONLY);
            CHECK(floods[i] >= 0);
        }
    }
}

static void connects_and_leaves(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    connect(fd, (struct sockaddr *)&address, sizeof address);
    close(fd);
}

static void keeps_control_busy(int socket_, void *kind) {
    enum flood flood = *(enum flood *)kind;
    enum { PAIRS = 64 };
    int pairs[PAIRS][2], memory = sealed(SESSION_SIZE, F_SEAL_SHRINK | F_SEAL_GROW);
    become_stranger();
    open_floods(flood);
    send_byte(socket_, 'r');
    for (unsigned i = 0; !byte_within(socket_, 0); i++) {
        struct message message = {.type = flood == FLOOD_OF_MESSAGES ? MESSAGE_GO : MESSAGE_ATTACH};
        unsigned fresh = i % PAIRS;
        if (flood == FLOOD_OF_CONNECTIONS) {
            connects_and_leaves();
            continue;
        }
        CHECK_EQUAL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pairs[fresh]), 0);
        int files[2] = {pairs[fresh][1], memory};
        while (message_send(floods[i % FLOODS], &message, files, flood == FLOOD_OF_MESSAGES ? 0 : 2) == 0) {
        }
        close(pairs[fresh][0]);
        close(pairs[fresh][1]);
    }
}

static void *comes_new(void *seconds) {
    double start = now();
    int door = door_open(path, O_RDONLY);
    CHECK(door >= 0);
    CHECK_EQUAL(call(door, NULL, 0, NULL, 0, NULL), 0);
    *(double *)seconds = now() - start;
    close(door);
    return NULL;
}

static void empty_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)descriptors, (void)count;
    door_return(NULL, 0, NULL, 0);
}

static void outlast(enum flood flood, const char *name) {
    enum { NEWCOMERS = 25 };
    double all = 0, longest = 0;
    struct rlimit limit;
    CHECK_EQUAL(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    if (limit.rlim_max < 8 * FLOODS || setrlimit(RLIMIT_NOFILE, &limit) < 0) {
        return;
    }
    path = temporary_path(name);
    bool hands_out = flood == FLOOD_THROUGH_DOORS_HANDED_OUT;
    if (hands_out) {
        handed_out = door_create(empty_procedure, NULL, 0);
    }
    int door = hands_out ? door_create(hands_out_doors, NULL, 0) : make_public(path);
    char *other = temporary_path("other");
    int bystander = make_public(other);
    if (hands_out) {
        close(open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0666));
        CHECK_EQUAL(chmod(path, 0666), 0);
        CHECK_EQUAL(fattach(door, path), 0);
    }
    CHECK_EQUAL(ask_number(bystander), 77);
    int before = open_descriptors();
    struct child attacker = start_child(keeps_control_busy, &flood);
    receive_byte(attacker.socket);
    const char *attacked = path;
    path = other;
    for (int i = 0; i < NEWCOMERS; i++) {
        pthread_t thread;
        double seconds = 0;
        poll(NULL, 0, 5);
        CHECK_EQUAL(pthread_create(&thread, NULL, comes_new, &seconds), 0);
        pthread_join(thread, NULL);
        all += seconds;
        longest = seconds > longest ? seconds : longest;
    }
    path = attacked;
    send_byte(attacker.socket, 'e');
    finish_child(attacker);
    CHECK_EQUAL(ask_number(bystander), 77);
    for (int i = 0; i < 3000 && descriptors_of_now() > before + 4; i++) {
        poll(NULL, 0, 10);
    }
    CHECK(descriptors_of_now() <= before + 4);
    printf("      %s: a new client waited %.1f ms, and %.1f at most\n", name, all * 1e3 / NEWCOMERS, longest * 1e3);
    CHECK(all < 0.2 * NEWCOMERS);
}

static void door_newcomer_beside_messages(void) {
    outlast(FLOOD_OF_MESSAGES, "messages");
}

static void door_newcomer_beside_channels(void) {
    outlast(FLOOD_OF_CHANNELS, "channels");
}

static void door_newcomer_beside_doors_handed_out(void) {
    outlast(FLOOD_THROUGH_DOORS_HANDED_OUT, "handed-out");
}

static void door_newcomer_beside_connections(void) {
    outlast(FLOOD_OF_CONNECTIONS, "connections");
}

static const struct test tests[] = {
    TEST(door_newcomer_beside_messages),
    TEST(door_newcomer_beside_channels),
    TEST(door_newcomer_beside_doors_handed_out),
    TEST(door_newcomer_beside_connections),
    TEST(door_flood_of_many_trunks),
    TEST(door_channel_that_makes_room),
    TEST(door_channels_in_any_order),
};
TEST_MAIN(tests)
