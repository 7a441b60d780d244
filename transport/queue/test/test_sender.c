/* The outbound side: calls made at once and by the thread, what may be wrong with the answer, and the end. */
#include "harness.h"

#include "queue.h"
#include "sender.h"

#define PREFIX "ENF\x01"
enum { SIZE = 64, LARGE = 100000 };

static char data[LARGE] = PREFIX;

static struct queue *create(void) {
    struct queue *queue = queue_create(PREFIX, 4, LARGE, 100 * LARGE, 1000);
    CHECK(queue != NULL);
    return queue;
}

static struct sender *sender_for(int door) {
    struct sender *sender = sender_create(door_dup(door));
    CHECK(sender != NULL);
    return sender;
}

/* The answer, however long it takes. */
static int settle(struct sender *sender, int result) {
    bool was_under_way = result == SENDER_UNDER_WAY;
    while (result == SENDER_UNDER_WAY) { /* a server that sends what does not belong to an answer wakes us for nothing */
        sender_want(sender);
        CHECK(byte_within(sender_event(sender), 60000));
        result = sender_finish(sender);
    }
    CHECK(!was_under_way || !byte_within(sender_event(sender), 0));
    return result;
}

static int say(struct sender *sender, size_t size, int repeatable) {
    return settle(sender, sender_call(sender, data, size, NULL, 0, repeatable));
}

static void finish(struct sender *sender) {
    int door;
    while (!sender_close(sender, &door)) {
        poll(NULL, 0, 5);
    }
    if (door >= 0) {
        close(door);
    }
}

static bool threads_are_at_most(void *limit) {
    return threads() <= *(int *)limit;
}

static unsigned drain(struct queue *queue) {
    unsigned count = 0;
    struct queue_item *item = queue_take(queue);
    while (item != NULL) {
        struct queue_item *next = item->next;
        for (unsigned i = 0; i < item->n_descriptors; i++) {
            close(item->descriptors[i]);
        }
        count += !item->is_unreferenced;
        queue_item_free(item);
        item = next;
    }
    return count;
}

enum { NUMBERED = 200, NUMBER_AT = 8 };

static bool is_repeatable(int number) {
    return number % 3 == 0;
}

/* Counts in `arrivals` the numbered calls that have come. */
static void count_arrivals(struct queue *queue, unsigned arrivals[NUMBERED]) {
    for (struct queue_item *item = queue_take(queue), *next; item != NULL; item = next) {
        int number;
        next = item->next;
        CHECK(!item->is_unreferenced);
        CHECK(item->size == SIZE || item->size == LARGE);
        memcpy(&number, item->data + NUMBER_AT, sizeof number);
        CHECK(number >= 0 && number < NUMBERED);
        CHECK_EQUAL(item->size, number % 2 ? SIZE : LARGE);
        arrivals[number]++;
        queue_item_free(item);
    }
}

static void test_at_once_and_by_the_thread(void) {
    struct queue *queue = create();
    struct sender *sender = sender_for(queue_door(queue));
    CHECK_EQUAL(sender_finish(sender), SENDER_UNDER_WAY); /* nothing is under way, nor is there an answer */
    unsigned arrivals[NUMBERED] = {0};
    for (int i = 0; i < NUMBERED; i++) {
        memcpy(data + NUMBER_AT, &i, sizeof i);
        CHECK_EQUAL(say(sender, i % 2 ? SIZE : LARGE, is_repeatable(i)), QUEUE_ACCEPTED);
        count_arrivals(queue, arrivals);
        CHECK(arrivals[i] >= 1); /* what is accepted is there */
        for (int j = 0; j <= i; j++) { /* a call that was given up may be carried out at any time from then on */
            CHECK(arrivals[j] <= (is_repeatable(j) ? 2 : 1));
        }
    }
    CHECK_EQUAL(sender_call(sender, data, SIZE, NULL, 0, 0), SENDER_UNDER_WAY);
    CHECK_ERROR(sender_call(sender, data, SIZE, NULL, 0, 1), EBUSY);
    CHECK_EQUAL(settle(sender, SENDER_UNDER_WAY), QUEUE_ACCEPTED);
    int none[QUEUE_DESCRIPTORS_MAX + 1];
    memset(none, 0, sizeof none);
    CHECK_ERROR(sender_call(sender, data, SIZE, none, QUEUE_DESCRIPTORS_MAX + 1, 0), E2BIG);
    finish(sender);
    queue_close(queue);
}

static void test_descriptors_stay_the_callers(void) {
    struct queue *queue = create();
    struct sender *sender = sender_for(queue_door(queue));
    int ends[2];
    CHECK_EQUAL(pipe2(ends, O_CLOEXEC), 0);
    CHECK_EQUAL(settle(sender, sender_call(sender, data, SIZE, ends, 2, 1)), QUEUE_ACCEPTED);
    struct queue_item *item = queue_take(queue);
    CHECK_EQUAL(item->n_descriptors, 2);
    send_byte(ends[1], 'a');
    CHECK_EQUAL(receive_byte(item->descriptors[0]), 'a');
    close(item->descriptors[0]);
    close(item->descriptors[1]);
    queue_item_free(item);
    finish(sender);
    queue_close(queue);
}

static void test_whoever_does_not_want_it_is_not_woken(void) {
    struct queue *queue = create();
    struct sender *sender = sender_for(queue_door(queue));
    CHECK_EQUAL(sender_call(sender, data, SIZE, NULL, 0, 0), SENDER_UNDER_WAY);
    CHECK(byte_within(queue_event(queue), 60000)); /* it has been carried out */
    CHECK(!byte_within(sender_event(sender), 50));
    sender_want(sender);
    CHECK(byte_within(sender_event(sender), 60000));
    CHECK_EQUAL(sender_finish(sender), QUEUE_ACCEPTED);
    queue_close(queue);
    CHECK_EQUAL(sender_call(sender, data, SIZE, NULL, 0, 0), SENDER_UNDER_WAY);
    CHECK(byte_within(sender_event(sender), 60000)); /* bad news is told unasked */
    CHECK_ERROR(sender_finish(sender), EBADF);
    CHECK_ERROR(say(sender, SIZE, 1), EBADF);
    finish(sender);
}

static void serve(int socket, void *argument) {
    (void)argument;
    struct queue *queue = create();
    send_fd(socket, queue_door(queue));
    for (;;) {
        byte_within(queue_event(queue), 1000);
        drain(queue);
    }
}

/* A posted call is carried out though nobody looks at its answer, and each answer can be told of. */
static void test_posted_calls_are_carried_out_unasked(void) {
    struct child child = start_child(serve, NULL);
    struct sender *sender = sender_create(receive_fd(child.socket));
    int all = threads();
    for (int i = 0; i < 100; i++) {
        CHECK_EQUAL(sender_call(sender, data, i % 2 ? SIZE : LARGE, NULL, 0, 1), SENDER_UNDER_WAY);
        CHECK_ERROR(sender_call(sender, data, SIZE, NULL, 0, 1), EBUSY);
        CHECK_EQUAL(settle(sender, SENDER_UNDER_WAY), QUEUE_ACCEPTED);
        CHECK_EQUAL(sender_finish(sender), SENDER_UNDER_WAY);
    }
    CHECK(eventually(threads_are_at_most, &all)); /* the one that has looked what the door is rests for a moment */
    CHECK_EQUAL(sender_call(sender, data, SIZE, NULL, 0, 1), SENDER_UNDER_WAY);
    finish(sender); /* with an answer that nobody has collected */
    struct queue *queue = create();
    sender = sender_for(queue_door(queue));
    CHECK_EQUAL(sender_call(sender, data, SIZE, NULL, 0, 1), SENDER_UNDER_WAY);
    CHECK(byte_within(queue_event(queue), 60000));
    CHECK_EQUAL(drain(queue), 1);
    finish(sender);
    queue_close(queue);
    kill_child(child);
}

static void answer_badly(void *cookie, char *argp, size_t size, door_desc_t *dp, uint_t count) {
    (void)dp, (void)count;
    static const uint32_t strange = 99;
    static char much[LARGE];
    int ends[2];
    if (argp == DOOR_UNREF_DATA || size < 5) {
        door_return(NULL, 0, NULL, 0);
    }
    switch (argp[4]) {
    case 's':
        door_return((char *)&strange, sizeof strange, NULL, 0);
        break;
    case 'n':
        door_return((char *)(const uint32_t[]){UINT32_MAX}, sizeof strange, NULL, 0);
        break;
    case 'm':
        door_return(much, sizeof much, NULL, 0);
        break;
    case 'd':
        CHECK_EQUAL(pipe(ends), 0);
        door_desc_t both[2];
        memset(both, 0, sizeof both);
        for (int i = 0; i < 2; i++) {
            both[i].d_attributes = DOOR_DESCRIPTOR | DOOR_RELEASE;
            both[i].d_data.d_desc.d_descriptor = ends[i];
        }
        door_return(cookie, sizeof(uint32_t), both, 2);
        break;
    default:
        door_return(NULL, 0, NULL, 0);
    }
}

static void test_answers_that_are_none(void) {
    static uint32_t zero;
    int door = door_create(answer_badly, &zero, 0);
    struct sender *sender = sender_for(door);
    const char kinds[] = "snmde";
    int before = 0, mapped = 0;
    for (int i = 0; i < 40; i++) {
        data[4] = kinds[i % 5];
        CHECK_ERROR(say(sender, SIZE, i % 2), EPROTO);
        if (i == 9) {
            before = open_descriptors();
            mapped = mappings();
        }
    }
    CHECK(open_descriptors() <= before);
    /* A server thread born late brings its stack, guard and arena; each kind of answer leaked would bring six. */
    CHECK(mappings() <= mapped + 5);
    finish(sender);
    door_revoke(door);
}

static void test_names(void) {
    struct queue *queue = create();
    const char *path = temporary_path("name");
    struct sender *sender = sender_open(path);
    CHECK_ERROR(say(sender, SIZE, 1), ENOENT);
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CHECK(file >= 0);
    close(file);
    CHECK(say(sender, SIZE, 1) == SENDER_FAILED);
    CHECK_EQUAL(fattach(queue_door(queue), path), 0);
    CHECK_EQUAL(say(sender, SIZE, 1), QUEUE_ACCEPTED);
    CHECK_EQUAL(say(sender, SIZE, 1), QUEUE_ACCEPTED);
    finish(sender);
    CHECK_EQUAL(fdetach(path), 0);
    queue_close(queue);
}

static void test_a_stopped_server_holds_nobody_up(void) {
    int all = threads();
    struct child child = start_child(serve, NULL);
    struct sender *sender = sender_create(receive_fd(child.socket));
    CHECK(sender != NULL);
    CHECK_EQUAL(say(sender, SIZE, 1), QUEUE_ACCEPTED);
    kill(child.pid, SIGSTOP);
    int status;
    CHECK_EQUAL(waitpid(child.pid, &status, WUNTRACED), child.pid);
    CHECK_EQUAL(sender_call(sender, data, SIZE, NULL, 0, 1), SENDER_UNDER_WAY);
    sender_want(sender);
    CHECK(!byte_within(sender_event(sender), 100));
    CHECK_EQUAL(sender_finish(sender), SENDER_UNDER_WAY);
    kill(child.pid, SIGCONT);
    CHECK_EQUAL(settle(sender, SENDER_UNDER_WAY), QUEUE_ACCEPTED);
    for (int i = 0; i < 100; i++) { /* its patience comes back */
        CHECK_EQUAL(say(sender, SIZE, 1), QUEUE_ACCEPTED);
    }
    kill(child.pid, SIGSTOP);
    CHECK_EQUAL(waitpid(child.pid, &status, WUNTRACED), child.pid);
    CHECK_EQUAL(sender_call(sender, data, SIZE, NULL, 0, 1), SENDER_UNDER_WAY);
    finish(sender); /* in the middle of the call */
    CHECK(eventually(threads_are_at_most, &all)); /* one that has been joined may be there for a moment */
    kill_child(child);
}

/* A call that is posted when its sender is closed goes with it, also if the sender has a thread, as any has that has sent descriptors. */
static void test_a_call_ends_with_its_sender(void) {
    struct child child = start_child(serve, NULL);
    int door = receive_fd(child.socket), before = 0;
    for (int i = 0; i < 6; i++) {
        int status;
        struct sender *sender = sender_create(dup(door));
        CHECK(sender != NULL);
        CHECK_EQUAL(say(sender, SIZE, i % 2), QUEUE_ACCEPTED);
        kill(child.pid, SIGSTOP);
        CHECK_EQUAL(waitpid(child.pid, &status, WUNTRACED), child.pid);
        CHECK_EQUAL(sender_call(sender, data, SIZE, NULL, 0, 1), SENDER_UNDER_WAY);
        finish(sender);
        kill(child.pid, SIGCONT);
        before = i == 1 ? open_descriptors() : before; /* with and without a thread */
    }
    CHECK(open_descriptors() <= before);
    close(door);
    kill_child(child);
}

static void test_a_killed_server_is_an_error(void) {
    struct child child = start_child(serve, NULL);
    struct sender *sender = sender_create(receive_fd(child.socket));
    CHECK_EQUAL(say(sender, SIZE, 1), QUEUE_ACCEPTED);
    kill(child.pid, SIGSTOP);
    int status;
    CHECK_EQUAL(waitpid(child.pid, &status, WUNTRACED), child.pid);
    CHECK_EQUAL(sender_call(sender, data, SIZE, NULL, 0, 1), SENDER_UNDER_WAY);
    kill_child(child);
    CHECK_EQUAL(settle(sender, SENDER_UNDER_WAY), SENDER_FAILED);
    finish(sender);
}

/* Only a call that cannot be made at once needs one. */
static void test_a_sender_begins_without_a_thread(void) {
    struct queue *queue = create();
    struct sender *senders[20];
    int before = threads();
    for (int i = 0; i < 20; i++) {
        senders[i] = sender_for(queue_door(queue));
    }
    CHECK(threads() < before + 20);
    for (int i = 0; i < 20; i++) {
        CHECK_EQUAL(say(senders[i], SIZE, 0), QUEUE_ACCEPTED);
    }
    CHECK(threads() >= before + 20);
    for (int i = 0; i < 20; i++) {
        finish(senders[i]);
    }
    queue_close(queue);
}

static void test_making_and_ending_many(void) {
    struct queue *queue = create();
    struct sender *first = sender_for(queue_door(queue));
    CHECK_EQUAL(say(first, SIZE, 1), QUEUE_ACCEPTED);
    int all = threads() + 4; /* the pool of the door may grow */
    for (int i = 0; i < 100; i++) {
        struct sender *sender = sender_for(queue_door(queue));
        if (i % 2) {
            CHECK_EQUAL(sender_call(sender, data, SIZE, NULL, 0, 0), SENDER_UNDER_WAY);
        }
        finish(sender);
        drain(queue);
    }
    CHECK(eventually(threads_are_at_most, &all));
    finish(first);
    queue_close(queue);
}

static const struct test tests[] = {
    TEST(test_at_once_and_by_the_thread),
    TEST(test_descriptors_stay_the_callers),
    TEST(test_whoever_does_not_want_it_is_not_woken),
    TEST(test_posted_calls_are_carried_out_unasked),
    TEST(test_answers_that_are_none),
    TEST(test_names),
    TEST(test_a_stopped_server_holds_nobody_up),
    TEST(test_a_call_ends_with_its_sender),
    TEST(test_a_killed_server_is_an_error),
    TEST(test_a_sender_begins_without_a_thread),
    TEST(test_making_and_ending_many),
};

TEST_MAIN(tests)
