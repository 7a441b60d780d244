/* The inbound queue: what it takes, what it refuses, and how it ends. */
#include "harness.h"

#include "closing.h"
#include "queue.h"

#define PREFIX "ENF\x01"
enum { SIZE = 64, LARGEST = 500, CAPACITY = 1000, CALLS = 20 };

static const char *batch(char fill, size_t size) {
    static char data[4096];
    memset(data, fill, sizeof data);
    memcpy(data, PREFIX, 4);
    CHECK(size <= sizeof data);
    return data;
}

static struct queue *create(void) {
    struct queue *queue = queue_create(PREFIX, 4, LARGEST, CAPACITY, CALLS);
    CHECK(queue != NULL);
    return queue;
}

/* What the queue answers to a call. */
static unsigned say(struct queue *queue, const char *data, size_t size) {
    uint32_t status;
    size_t length = 0;
    CHECK_EQUAL(call(queue_door(queue), data, size, &status, sizeof status, &length), 0);
    CHECK_EQUAL(length, sizeof status);
    return status;
}

static void forget(struct queue_item *item) {
    while (item != NULL) {
        struct queue_item *next = item->next;
        for (unsigned i = 0; i < item->n_descriptors; i++) {
            close(item->descriptors[i]);
        }
        queue_item_free(item);
        item = next;
    }
}

static void test_order_data_and_credentials(void) {
    struct queue *queue = create();
    CHECK(queue_take(queue) == NULL);
    CHECK(!byte_within(queue_event(queue), 0));
    for (int i = 0; i < 5; i++) {
        CHECK_EQUAL(say(queue, batch((char)i, SIZE), SIZE), QUEUE_ACCEPTED);
    }
    CHECK(byte_within(queue_event(queue), 0));
    struct queue_item *first = queue_take(queue);
    CHECK(!byte_within(queue_event(queue), 0));
    CHECK(queue_take(queue) == NULL);
    int count = 0;
    for (struct queue_item *item = first; item != NULL; item = item->next, count++) {
        CHECK_EQUAL(item->size, SIZE);
        CHECK_EQUAL(memcmp(item->data, batch((char)count, SIZE), SIZE), 0);
        CHECK_EQUAL(item->pid, getpid());
        CHECK_EQUAL(item->uid, geteuid());
        CHECK_EQUAL(item->gid, getegid());
        CHECK_EQUAL(item->n_groups, getgroups(0, NULL));
        CHECK_EQUAL(item->caller, first->caller);
        CHECK_EQUAL(item->is_unreferenced, 0);
    }
    CHECK_EQUAL(count, 5);
    CHECK_EQUAL(queue_count(queue, QUEUE_ACCEPTED), 5);
    forget(first);
    queue_close(queue);
}

static void test_bounds(void) {
    struct queue *queue = create();
    for (int i = 0; i < 2; i++) {
        CHECK_EQUAL(say(queue, batch('x', LARGEST), LARGEST), QUEUE_ACCEPTED);
    }
    CHECK_EQUAL(say(queue, batch('x', SIZE), SIZE), QUEUE_FULL);
    forget(queue_take(queue));
    for (int i = 0; i < CALLS; i++) {
        CHECK_EQUAL(say(queue, batch('x', 4), 4), QUEUE_ACCEPTED);
    }
    CHECK_EQUAL(say(queue, batch('x', 4), 4), QUEUE_FULL);
    CHECK_EQUAL(queue_count(queue, QUEUE_FULL), 2);
    CHECK_EQUAL(queue_count(queue, 99), 0);
    queue_close(queue); /* with what is in it */
    errno = 0;
    CHECK(queue_create(batch('x', SIZE), QUEUE_PREFIX_MAX + 1, LARGEST, CAPACITY, CALLS) == NULL);
    CHECK_EQUAL(errno, EINVAL);
}

static void test_nonsense_leaves_one_notice(void) {
    struct queue *queue = create();
    for (int i = 0; i < 10; i++) {
        CHECK_EQUAL(say(queue, "nonsense", 8), QUEUE_MALFORMED);
        CHECK_EQUAL(say(queue, PREFIX, 3), QUEUE_MALFORMED);
        CHECK_EQUAL(say(queue, NULL, 0), QUEUE_MALFORMED);
        CHECK_EQUAL(say(queue, batch('x', LARGEST + 1), LARGEST + 1), QUEUE_MALFORMED);
    }
    struct queue_item *notice = queue_take(queue);
    CHECK(notice != NULL && notice->next == NULL);
    CHECK_EQUAL(notice->size, 0);
    CHECK_EQUAL(notice->pid, getpid());
    queue_item_free(notice);
    CHECK_EQUAL(say(queue, "nonsense", 8), QUEUE_MALFORMED);
    forget(queue_take(queue));
    queue_close(queue);
}

static bool is_settled(void *unused) {
    (void)unused;
    return closing_unclosed() == 0;
}

enum { FILES = 6 };

/* Has the queue take over files that linger, as their last holder, and returns what it answers. */
static unsigned hand_over(struct queue *queue, const char *data, size_t size, struct lingering *files) {
    uint32_t status = 99;
    door_desc_t entries[FILES] = {0};
    for (unsigned i = 0; i < FILES; i++) {
        files[i] = make_lingering();
        entries[i].d_attributes = DOOR_DESCRIPTOR | DOOR_RELEASE;
        entries[i].d_data.d_desc.d_descriptor = files[i].near;
    }
    door_arg_t arguments = {.data_ptr = (char *)data, .data_size = size, .desc_ptr = entries, .desc_num = FILES,
                            .rbuf = (char *)&status, .rsize = sizeof status};
    CHECK_EQUAL(door_call(queue_door(queue), &arguments), 0);
    return status;
}

/* Neither the threads of the door nor who closes the queue wait for them. */
static void test_files_that_linger_hold_nobody(void) {
    if (getenv("DOOR_TEST_VALGRIND") != NULL) {
        return; /* valgrind lets no other thread run while one is in close, which lingers here */
    }
    struct queue *queue = create();
    struct lingering refused[FILES], kept[FILES];
    CHECK_EQUAL(hand_over(queue, "nonsense", 8, refused), QUEUE_MALFORMED);
    CHECK(closing_unclosed() > 0);
    CHECK_EQUAL(hand_over(queue, batch('x', SIZE), SIZE, kept), QUEUE_ACCEPTED);
    for (int i = 0; i < 10; i++) {
        CHECK_EQUAL(say(queue, batch('x', 4), 4), QUEUE_ACCEPTED);
    }
    queue_close(queue); /* with what is in it */
    CHECK(closing_unclosed() > FILES);
    for (unsigned i = 0; i < FILES; i++) {
        close(refused[i].far);
        close(kept[i].far);
    }
    CHECK(eventually(is_settled, NULL));
}

static unsigned pass(struct queue *queue, const char *data, size_t size, const int *descriptors, unsigned count) {
    uint32_t status = 99;
    door_desc_t passed[4];
    memset(passed, 0, sizeof passed);
    for (unsigned i = 0; i < count; i++) {
        passed[i].d_attributes = DOOR_DESCRIPTOR;
        passed[i].d_data.d_desc.d_descriptor = descriptors[i];
    }
    door_arg_t arguments = {.data_ptr = (char *)data, .data_size = size, .desc_ptr = passed, .desc_num = count,
                            .rbuf = (char *)&status, .rsize = sizeof status};
    CHECK_EQUAL(door_call(queue_door(queue), &arguments), 0);
    return status;
}

static bool is_count(void *argument) {
    return open_descriptors() == *(int *)argument;
}

static void test_descriptors_arrive_or_are_closed(void) {
    struct queue *queue = create();
    int ends[2];
    CHECK_EQUAL(pipe2(ends, O_CLOEXEC), 0);
    CHECK_EQUAL(say(queue, batch('x', SIZE), SIZE), QUEUE_ACCEPTED); /* whatever the first call opens is open */
    forget(queue_take(queue));
    int before = open_descriptors();
    CHECK_EQUAL(pass(queue, batch('x', SIZE), SIZE, ends, 2), QUEUE_ACCEPTED);
    struct queue_item *item = queue_take(queue);
    CHECK_EQUAL(item->n_descriptors, 2);
    CHECK(fcntl(item->descriptors[1], F_GETFD) & FD_CLOEXEC);
    send_byte(item->descriptors[1], 'a');
    CHECK_EQUAL(receive_byte(ends[0]), 'a');
    forget(item);
    CHECK_EQUAL(pass(queue, "nonsense", 8, ends, 2), QUEUE_MALFORMED);
    forget(queue_take(queue));
    for (int i = 0; i < 4; i++) {
        pass(queue, batch('x', LARGEST), LARGEST, ends, 2); /* the last two find no room */
    }
    CHECK_EQUAL(queue_count(queue, QUEUE_FULL), 2);
    forget(queue_take(queue));
    CHECK(eventually(is_count, &before));
    CHECK_EQUAL(pass(queue, batch('x', SIZE), SIZE, ends, 2), QUEUE_ACCEPTED);
    before -= 2; /* the door and the eventfd go, and what is in the queue */
    queue_close(queue);
    CHECK(open_descriptors() <= before + 2);
}

static void call_once(int socket, void *argument) {
    (void)argument;
    int door = receive_fd(socket);
    uint32_t status;
    CHECK_EQUAL(call(door, batch('c', SIZE), SIZE, &status, sizeof status, NULL), 0);
    CHECK_EQUAL(status, QUEUE_ACCEPTED);
    send_byte(socket, 'd');
    receive_byte(socket);
}

static bool has_unreferenced(void *argument) {
    struct queue_item *first = queue_take(argument);
    bool found = false;
    for (struct queue_item *item = first; item != NULL; item = item->next) {
        found = found || item->is_unreferenced;
    }
    forget(first);
    return found;
}

static void test_callers_are_numbered(void) {
    struct child child = start_child(call_once, NULL);
    struct queue *queue = create();
    send_fd(child.socket, queue_door(queue));
    receive_byte(child.socket);
    CHECK_EQUAL(say(queue, batch('x', SIZE), SIZE), QUEUE_ACCEPTED);
    CHECK_EQUAL(say(queue, batch('x', SIZE), SIZE), QUEUE_ACCEPTED);
    struct queue_item *first = queue_take(queue);
    CHECK_EQUAL(first->pid, child.pid);
    CHECK_EQUAL(first->next->pid, getpid());
    CHECK(first->caller != first->next->caller);
    CHECK_EQUAL(first->next->caller, first->next->next->caller);
    forget(first);
    send_byte(child.socket, 'e');
    finish_child(child);
    queue_close(queue);
}

static void test_the_end_of_the_last_holder_is_told(void) {
    struct queue *queue = create(), *other = create();
    for (int round = 0; round < 3; round++) {
        int door = queue_door(queue);
        CHECK_EQUAL(pass(other, batch('x', SIZE), SIZE, &door, 1), QUEUE_ACCEPTED);
        struct queue_item *item = queue_take(other);
        CHECK_EQUAL(item->n_descriptors, 1);
        CHECK(!byte_within(queue_event(queue), 20));
        forget(item);
        CHECK(eventually(has_unreferenced, queue));
    }
    queue_close(queue);
    queue_close(other);
}

static atomic_bool stop;

static void *keep_calling(void *argument) {
    int door = *(int *)argument;
    char data[SIZE];
    memcpy(data, batch('x', SIZE), SIZE);
    while (!atomic_load(&stop)) {
        uint32_t status = 99;
        if (call(door, data, SIZE, &status, sizeof status, NULL) == 0) {
            CHECK(status <= QUEUE_CLOSED);
        } else if (errno == EBADF) {
            break; /* revoked, and for good */
        } else {
            CHECK_EQUAL(errno, EINTR);
        }
    }
    return NULL;
}

static void test_closing_under_fire(void) {
    pthread_t callers[3];
    for (int round = 0; round < 20; round++) {
        struct queue *queue = create();
        int doors[3];
        atomic_store(&stop, false);
        for (int i = 0; i < 3; i++) {
            doors[i] = door_dup(queue_door(queue));
            CHECK(doors[i] >= 0);
            CHECK_EQUAL(pthread_create(&callers[i], NULL, keep_calling, &doors[i]), 0);
        }
        for (int i = 0; i < 5; i++) {
            byte_within(queue_event(queue), 100);
            forget(i % 2 ? queue_take(queue) : queue_linger(queue, 200));
        }
        queue_close(queue);
        poll(NULL, 0, 2);
        atomic_store(&stop, true);
        for (int i = 0; i < 3; i++) {
            pthread_join(callers[i], NULL);
            close(doors[i]);
        }
    }
}

enum { LONG = 1800000000 /* microseconds; the watchdog is quicker */, TOLD = 300 };

/* Gets a door, and makes a numbered call for each byte that it is sent. */
static void call_when_told(int socket, void *argument) {
    int door = receive_fd(socket);
    (void)argument;
    for (int i = 0; i < TOLD; i++) {
        uint32_t status;
        size_t length;
        receive_byte(socket);
        CHECK_EQUAL(call(door, batch((char)i, SIZE), SIZE, &status, sizeof status, &length), 0);
        CHECK_EQUAL(status, QUEUE_ACCEPTED);
    }
    close(door);
}

static void test_lingering_takes_what_comes_once_and_in_order(void) {
    struct child child = start_child(call_when_told, NULL);
    struct queue *queue = create();
    int door = door_dup(queue_door(queue));
    send_fd(child.socket, door);
    for (int i = 0; i < TOLD; i++) {
        send_byte(child.socket, 'c');
        if (i % 5 == 0) {
            CHECK(byte_within(queue_event(queue), 20000)); /* it is there already */
        }
        struct queue_item *item = i % 7 == 0 ? NULL : queue_linger(queue, i % 3 == 0 ? 1 : 300);
        while (item == NULL) {
            item = queue_linger(queue, LONG);
        }
        CHECK(item->next == NULL);
        CHECK_EQUAL(item->size, SIZE);
        CHECK_EQUAL(memcmp(item->data, batch((char)i, SIZE), SIZE), 0);
        CHECK_EQUAL(item->pid, child.pid);
        queue_item_free(item);
        CHECK(!byte_within(queue_event(queue), 0));
    }
    finish_child(child);
    close(door);
    queue_close(queue);
}

static void *call_soon(void *argument) {
    poll(NULL, 0, 5);
    CHECK_EQUAL(say(argument, batch('x', SIZE), SIZE), QUEUE_ACCEPTED);
    return NULL;
}

static void test_lingering_ends_when_another_queue_gets_something(void) {
    struct queue *queue = create(), *other = create();
    for (int i = 0; i < 10; i++) {
        pthread_t thread;
        if (i == 5) { /* from here on there is a caller at whose channel a thread can wait */
            CHECK_EQUAL(say(queue, batch('x', SIZE), SIZE), QUEUE_ACCEPTED);
            forget(queue_take(queue));
        }
        CHECK_EQUAL(pthread_create(&thread, NULL, call_soon, other), 0);
        CHECK(queue_linger(queue, LONG) == NULL);
        CHECK(byte_within(queue_event(other), 20000));
        CHECK(queue_linger(queue, LONG) == NULL); /* it is still there */
        forget(queue_take(other));
        pthread_join(thread, NULL);
        CHECK(queue_linger(queue, 10) == NULL);
    }
    queue_close(queue);
    queue_close(other);
}

static void *linger_too(void *argument) {
    forget(queue_linger(argument, 500000));
    return NULL;
}

static void test_one_thread_lingers_at_a_time(void) {
    struct queue *queue = create();
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        CHECK_EQUAL(pthread_create(&threads[i], NULL, linger_too, queue), 0);
    }
    poll(NULL, 0, 20);
    CHECK_EQUAL(say(queue, batch('x', SIZE), SIZE), QUEUE_ACCEPTED);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    forget(queue_take(queue));
    queue_close(queue);
}

static const struct test tests[] = {
    TEST(test_order_data_and_credentials),
    TEST(test_bounds),
    TEST(test_nonsense_leaves_one_notice),
    TEST(test_descriptors_arrive_or_are_closed),
    TEST(test_files_that_linger_hold_nobody),
    TEST(test_callers_are_numbered),
    TEST(test_the_end_of_the_last_holder_is_told),
    TEST(test_closing_under_fire),
    TEST(test_lingering_takes_what_comes_once_and_in_order),
    TEST(test_lingering_ends_when_another_queue_gets_something),
    TEST(test_one_thread_lingers_at_a_time),
};

TEST_MAIN(tests)
