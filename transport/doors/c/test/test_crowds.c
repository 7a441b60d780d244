/* Many at a time: what one user's requests cost when there are many others, and whose idle channels make room. */
#include "attacks.h"

#include <sys/resource.h>

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

static const struct test tests[] = {
    TEST(door_flood_of_many_trunks),
    TEST(door_channel_that_makes_room),
    TEST(door_channels_in_any_order),
};
TEST_MAIN(tests)
