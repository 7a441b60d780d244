/*
 * Descriptors whose closing waits for others: that nobody waits for them, and that each payer uses up its own share alone.
 */
#include "attacks.h"

#include <sched.h>

static bool is_closed(void *fd) {
    return fcntl(*(int *)fd, F_GETFD) < 0;
}

static bool is_settled(void *unused) {
    (void)unused;
    return closing_unclosed() == 0;
}

static bool is_behind(void *payer) {
    return closing_is_behind(payer);
}

static const struct closing_payer ONE = {1000, 0, 10}, SIBLING = {1000, 0, 11}, OTHER = {1001, 0, 20};

static void test_memory_is_closed_at_once(void) {
    int memory = sealed(4096, F_SEAL_SHRINK);
    closing_close(memory, &ONE);
    CHECK(is_closed(&memory));
    CHECK_EQUAL(closing_unclosed(), 0);
}

static void test_one_that_lingers_holds_nobody(void) {
    struct lingering lingering = make_lingering();
    errno = E2BIG;
    closing_close(lingering.near, &ONE);
    CHECK_EQUAL(errno, E2BIG);
    CHECK_EQUAL(closing_unclosed(), 1); /* and yet we are here */
    close(lingering.far);
    CHECK(eventually(is_settled, NULL));
    CHECK(is_closed(&lingering.near));
}

static void test_settling_waits_for_one_payer_and_not_for_ever(void) {
    struct lingering stuck = make_lingering();
    int quick = dup(0);
    closing_close(stuck.near, &ONE);
    closing_close(quick, &OTHER);
    closing_settle(&OTHER, 20000000);
    CHECK(is_closed(&quick));
    closing_settle(&ONE, 20000);
    CHECK_EQUAL(closing_unclosed(), 1); /* and yet we are here */
    close(stuck.far);
    closing_settle(&ONE, 20000000);
    CHECK_EQUAL(closing_unclosed(), 0);
    CHECK(is_closed(&stuck.near));
}

static void test_each_payer_uses_up_its_own_share(void) {
    struct lingering stuck[CLOSING_SHARE_OF_PROCESS];
    struct closing_payer one = ONE;
    int before = threads();
    for (unsigned i = 0; i < CLOSING_SHARE_OF_PROCESS; i++) {
        CHECK(!closing_is_behind(&ONE));
        stuck[i] = make_lingering();
        closing_close(stuck[i].near, &ONE);
    }
    CHECK(eventually(is_behind, &one)); /* when its threads have been stuck for a while */
    CHECK(threads() <= before + CLOSING_THREADS_OF_PROCESS);
    CHECK(!closing_is_behind(&SIBLING));
    CHECK(!closing_is_behind(&OTHER));
    int quick = dup(0), also = dup(0);
    closing_close(quick, &SIBLING);
    closing_close(also, &OTHER);
    CHECK(eventually(is_closed, &quick));
    CHECK(eventually(is_closed, &also));
    for (unsigned i = 0; i < CLOSING_SHARE_OF_PROCESS; i++) {
        close(stuck[i].far);
    }
    CHECK(eventually(is_settled, NULL));
    CHECK(!closing_is_behind(&ONE));
}

static void test_a_user_has_a_share_however_many_processes_it_starts(void) {
    struct lingering stuck[CLOSING_SHARE_OF_USER];
    struct closing_payer payer = {1000, 0, 0};
    int before = threads();
    for (unsigned i = 0; i < CLOSING_SHARE_OF_USER; i++) {
        payer.process = 100 + i;
        stuck[i] = make_lingering();
        closing_close(stuck[i].near, &payer);
    }
    payer.process = 999; /* one that has sent nothing */
    CHECK(eventually(is_behind, &payer));
    CHECK(!closing_is_behind(&OTHER));
    CHECK(threads() <= before + CLOSING_THREADS_OF_USER);
    int quick = dup(0);
    closing_close(quick, &OTHER);
    CHECK(eventually(is_closed, &quick));
    for (unsigned i = 0; i < CLOSING_SHARE_OF_USER; i++) {
        close(stuck[i].far);
    }
    CHECK(eventually(is_settled, NULL));
}

static void run_on(int processor) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(processor, &one);
    CHECK_EQUAL(sched_setaffinity(0, sizeof one, &one), 0);
}

/* Two processors that this process may run on; false if there is one alone. */
static bool two_processors(int processors[2]) {
    cpu_set_t allowed;
    int count = 0;
    CHECK_EQUAL(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    for (int i = 0; i < CPU_SETSIZE && count < 2; i++) {
        if (CPU_ISSET(i, &allowed)) {
            processors[count++] = i;
        }
    }
    return count == 2;
}

static atomic_bool hog_may, hog_runs, hog_ends;

/* Leaves its processor to nobody. */
static void *hog(void *unused) {
    (void)unused;
    const struct sched_param first = {.sched_priority = 1};
    atomic_store(&hog_may, sched_setscheduler(0, SCHED_FIFO, &first) == 0);
    atomic_store(&hog_runs, true);
    while (!atomic_load(&hog_ends) && atomic_load(&hog_may)) {
    }
    return NULL;
}

/* A thread that could go on closing, if only it had a processor, is not stuck: its payer has done nothing. */
static void test_who_has_no_processor_is_not_stuck(void) {
    struct lingering stuck[CLOSING_THREADS_OF_PROCESS];
    struct closing_payer one = ONE;
    int processors[2];
    pthread_t thread;
    if (geteuid() != 0 || !system_is_real() || !two_processors(processors)) {
        return;
    }
    run_on(processors[1]); /* where the threads that close will be */
    for (unsigned i = 0; i < CLOSING_THREADS_OF_PROCESS; i++) {
        stuck[i] = make_lingering();
        closing_close(stuck[i].near, &ONE);
    }
    for (unsigned i = CLOSING_THREADS_OF_PROCESS; i < CLOSING_SHARE_OF_PROCESS; i++) {
        closing_close(dup(0), &ONE);
    }
    CHECK(eventually(is_behind, &one));
    CHECK_EQUAL(closing_is_behind(&ONE), CLOSING_STUCK);
    CHECK_EQUAL(pthread_create(&thread, NULL, hog, NULL), 0);
    run_on(processors[0]);
    while (!atomic_load(&hog_runs)) {
        poll(NULL, 0, 1);
    }
    for (unsigned i = 0; i < CLOSING_THREADS_OF_PROCESS; i++) {
        close(stuck[i].far);
    }
    int behind = CLOSING_STUCK; /* until the news of the far ends has come, for which a busy machine takes a moment */
    for (int i = 0; i < 20 && behind != 0; i++) {
        struct timespec pause = {.tv_nsec = 1000000};
        nanosleep(&pause, NULL);
        behind = closing_is_behind(&ONE);
    }
    CHECK(!atomic_load(&hog_may) || behind == 0);
    atomic_store(&hog_ends, true);
    pthread_join(thread, NULL);
    CHECK(eventually(is_settled, NULL));
}

static void test_many_honest_ones_do_not_put_behind(void) {
    for (int i = 0; i < 5000; i++) {
        int file = dup(0);
        CHECK(file >= 0);
        closing_close(file, &ONE);
        if (i % 100 == 0) {
            CHECK(eventually(is_settled, NULL));
        }
        CHECK(closing_is_behind(&ONE) != CLOSING_STUCK);
    }
    CHECK(eventually(is_settled, NULL));
}

static void closes_in_a_fork(int socket, void *unused) {
    (void)unused;
    int file = dup(0);
    closing_close(file, &ONE);
    CHECK(eventually(is_closed, &file));
    CHECK(eventually(is_settled, NULL));
    send_byte(socket, 'd');
}

static void test_a_child_has_threads_of_its_own(void) {
    struct lingering lingering = make_lingering();
    closing_close(lingering.near, &ONE);
    CHECK(eventually(is_closed, &lingering.near)); /* the number is free, and the thread waits */
    CHECK_EQUAL(closing_unclosed(), 1);
    struct child child = start_child(closes_in_a_fork, NULL);
    receive_byte(child.socket);
    finish_child(child);
    close(lingering.far);
    CHECK(eventually(is_settled, NULL));
}

/* How an attacker has the victim close a file that lingers. */
enum way { AHEAD_OF_A_CALL, WITH_A_FOREIGN_MESSAGE, LEFT_IN_THE_CHANNEL, IN_A_BROKEN_ATTACH, LEFT_IN_THE_TRUNK, WAYS };

struct attack {
    int door;
    enum way way;
};

enum { FILES = 4 };

/* Sends the files, and is gone: what a process has open at its end closes without lingering. */
static _Noreturn void sends(const struct attack *attack, const struct lingering *files) {
    struct message message = {.type = MESSAGE_FDS, .sequence = 1, .count = 1};
    struct attached attached = attach(attack->door);
    if (attack->way == LEFT_IN_THE_CHANNEL) { /* while a thread is busy with a call, nobody reads what follows */
        *((char *)attached.session + SESSION_REQUEST) = 'w';
        queue_call(&attached, 1, 0);
        while (atomic_load(&attached.session->state) != CALL_ACTIVE) {
            poll(NULL, 0, 1);
        }
    }
    for (unsigned i = 0; i < FILES; i++) {
        switch (attack->way) {
        case AHEAD_OF_A_CALL:
            CHECK_EQUAL(message_send(attached.fd, &message, &files[i].near, 1), 0);
            break;
        case WITH_A_FOREIGN_MESSAGE:
        case LEFT_IN_THE_CHANNEL:
            message.type = MESSAGE_GO;
            CHECK_EQUAL(message_send(attached.fd, &message, &files[i].near, 1), 0);
            break;
        default:
            message.type = attack->way == IN_A_BROKEN_ATTACH ? MESSAGE_ATTACH : MESSAGE_NAME;
            CHECK_EQUAL(message_send(attack->door, &message, &files[i].near, 1), 0);
        }
    }
    if (attack->way == AHEAD_OF_A_CALL) {
        attached.session->request.count = FILES;
        queue_call(&attached, 0, ON_SOCKET);
    }
    _exit(0);
}

static void attacks(int socket, void *argument) {
    const struct attack *attack = argument;
    struct lingering files[FILES];
    if (geteuid() == 0) {
        CHECK_EQUAL(setuid(STRANGER), 0);
    }
    for (unsigned i = 0; i < FILES; i++) {
        files[i] = make_lingering();
    }
    int ready[2];
    CHECK_EQUAL(pipe2(ready, O_CLOEXEC), 0);
    pid_t sender = fork();
    if (sender == 0) {
        receive_byte(ready[0]); /* the only one who holds the files by then */
        sends(attack, files);
    }
    for (unsigned i = 0; i < FILES; i++) {
        close(files[i].near);
    }
    close(attack->door);
    send_byte(ready[1], 'r');
    CHECK_EQUAL(waitpid(sender, NULL, 0), sender);
    send_byte(socket, 'd');
    receive_byte(socket);
}

static bool strangers_have_their_threads(void *before) {
    return threads() >= *(int *)before + CLOSING_THREADS - CLOSING_THREADS_RESERVED;
}

static bool few_more_are_there(void *before) {
    return threads() <= *(int *)before + CLOSING_THREADS - CLOSING_THREADS_RESERVED + CLOSING_RESTING;
}

static void looks(struct errand *errand) {
    (void)errand;
}

/* Four users may have 24 threads that are stuck; what is to be closed for ourselves, and looked at, finds one all the same. */
static void test_strangers_together_leave_threads_for_ourselves(void) {
    enum { USERS = 5, EACH = CLOSING_THREADS_OF_USER };
    struct lingering stuck[USERS * EACH];
    int before = threads();
    for (unsigned i = 0; i < USERS * EACH; i++) {
        stuck[i] = make_lingering();
        closing_close(stuck[i].near, &(struct closing_payer){STRANGER + i / EACH, 0, 1 + i});
    }
    CHECK(eventually(strangers_have_their_threads, &before));
    int quick = dup(0);
    const struct closing_payer own = {geteuid(), 0, 7};
    struct errand errand = {looks, looks};
    closing_close(quick, &own);
    closing_settle(&own, 20000000);
    CHECK(is_closed(&quick));
    CHECK_EQUAL(closing_errand(&errand, &own), 0);
    CHECK(eventually(few_more_are_there, &before)); /* one that has ended is listed a moment longer */
    for (unsigned i = 0; i < USERS * EACH; i++) {
        close(stuck[i].far);
    }
    CHECK(eventually(is_settled, NULL));
}

static void drops_everything(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie;
    if (size == 1 && data[0] == 'w') {
        poll(NULL, 0, 20);
    }
    for (uint_t i = 0; i < count; i++) {
        closing_close(descriptors[i].d_data.d_desc.d_descriptor, &(struct closing_payer){STRANGER, 0, 0});
    }
    door_return("x", 1, NULL, 0);
}

static int victim = -1;

/* A caller whose every call is answered at once, from a new thread and from an old one. */
static void *asks(void *unused) {
    char answer = 0;
    CHECK_EQUAL(call(victim, "q", 1, &answer, 1, NULL), 0);
    CHECK_EQUAL(answer, 'x');
    return unused;
}

static bool has_given_back(void *before) {
    return open_descriptors() <= *(int *)before;
}

static void test_a_server_goes_on_while_descriptors_cannot_be_closed(void) {
    victim = door_create(drops_everything, NULL, 0);
    asks(NULL);
    int before = open_descriptors();
    for (int way = 0; way < WAYS; way++) {
        struct attack attack = {door_dup(victim), (enum way)way};
        struct child attacker = start_child(attacks, &attack);
        close(attack.door);
        receive_byte(attacker.socket);
        for (int i = 0; i < 30; i++) {
            pthread_t thread;
            alarm(20);
            asks(NULL);
            CHECK_EQUAL(pthread_create(&thread, NULL, asks, NULL), 0);
            CHECK_EQUAL(pthread_join(thread, NULL), 0);
            door_info_t info;
            CHECK_EQUAL(door_info(victim, &info), 0); /* does the control thread's work */
            poll(NULL, 0, 1);
        }
        alarm(0);
        printf("      way %d: %u descriptors wait to be closed, and callers are answered\n", way, closing_unclosed());
        kill_child(attacker);
        CHECK(eventually(is_settled, NULL));
    }
    CHECK(eventually(has_given_back, &before));
}

static const struct test tests[] = {
    TEST(test_memory_is_closed_at_once),
    TEST(test_one_that_lingers_holds_nobody),
    TEST(test_settling_waits_for_one_payer_and_not_for_ever),
    TEST(test_each_payer_uses_up_its_own_share),
    TEST(test_a_user_has_a_share_however_many_processes_it_starts),
    TEST(test_strangers_together_leave_threads_for_ourselves),
    TEST(test_who_has_no_processor_is_not_stuck),
    TEST(test_many_honest_ones_do_not_put_behind),
    TEST(test_a_child_has_threads_of_its_own),
    TEST(test_a_server_goes_on_while_descriptors_cannot_be_closed),
};
TEST_MAIN(tests)
