/* Threads and the doors they serve: door_bind and door_unbind, door_server_create, door_xcreate, as doors(3C) has them. */
#include "blocking.h"
#include "entries.h"

static door_info_t infos[16];
static int info_count, null_count;
static pthread_t created_on;

static void record(door_info_t *info) {
    created_on = pthread_self();
    if (info == NULL) {
        null_count++;
    } else {
        infos[info_count++ % 16] = *info;
    }
}

/* What a procedure knows of itself: with a byte of data it unbinds its thread, twice, with a descriptor it binds it there. */
struct who {
    pthread_t thread;
    void *cookie;
    int query;
    door_id_t id;
    int unbind, requery, unbind2;
};

static void who(void *cookie, char *data, size_t size, door_desc_t *dp, uint_t n) {
    (void)data, (void)dp, (void)n;
    struct who r = {0};
    door_info_t info;
    memset(&info, 0, sizeof info);
    r.thread = pthread_self();
    r.cookie = cookie;
    r.query = door_info(DOOR_QUERY, &info) < 0 ? errno : 0;
    r.id = info.di_uniquifier;
    if (size == 1) {
        r.unbind = door_unbind() < 0 ? errno : 0;
        r.requery = door_info(DOOR_QUERY, &info) < 0 ? errno : 0;
        r.unbind2 = door_unbind() < 0 ? errno : 0;
    } else if (size == sizeof(int)) {
        int to;
        memcpy(&to, data, sizeof to);
        r.unbind = door_bind(to) < 0 ? errno : 0;
        memset(&info, 0, sizeof info);
        r.requery = door_info(DOOR_QUERY, &info) < 0 ? errno : 0;
        r.id = info.di_uniquifier;
    }
    door_return((char *)&r, sizeof r, NULL, 0);
}

static void *bound_to(void *door) {
    CHECK_EQUAL(door_bind(*(int *)door), 0);
    return server_thread(NULL);
}

static void door_private_creation_calls_function(void) {
    door_server_create(record);
    int d = door_create(who, (void *)0x77, DOOR_PRIVATE | DOOR_NO_CANCEL);
    CHECK(d >= 0);
    CHECK_EQUAL(info_count, 1);
    CHECK_EQUAL(null_count, 0);
    CHECK(pthread_equal(created_on, pthread_self()));
    CHECK_EQUAL(infos[0].di_target, getpid());
    CHECK_EQUAL(infos[0].di_data, 0x77);
    CHECK_EQUAL(infos[0].di_proc, (uintptr_t)who);
    CHECK_EQUAL(infos[0].di_uniquifier, id_of(d));
    CHECK_EQUAL(infos[0].di_attributes & ~(uint_t)DOOR_IS_UNREF, DOOR_PRIVATE | DOOR_NO_CANCEL | DOOR_LOCAL);
    int e = door_create(who, NULL, DOOR_PRIVATE);
    CHECK_EQUAL(info_count, 2);
    CHECK_EQUAL(infos[1].di_uniquifier, id_of(e));
    int p = door_create(who, NULL, 0);
    CHECK_EQUAL(null_count, 1);
    int q = door_create(who, NULL, 0);
    CHECK_EQUAL(null_count, 1);
    CHECK_EQUAL(info_count, 2);
    (void)p, (void)q;
}

static void door_failed_private_creation_calls_nobody(void) {
    door_server_create(record);
    CHECK_ERROR(door_create(who, NULL, DOOR_PRIVATE | DOOR_UNREF | DOOR_UNREF_MULTI), EINVAL);
    CHECK_ERROR(door_create(who, NULL, DOOR_PRIVATE | DOOR_PRIVCREATE), EINVAL);
    CHECK_EQUAL(info_count + null_count, 0);
}

/* The example of door_server_create(3C). */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t there = PTHREAD_COND_INITIALIZER;
static int example_door = -1;
static void *example_thread(void *arg) {
    (void)arg;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    pthread_mutex_lock(&lock);
    while (example_door == -1) {
        pthread_cond_wait(&there, &lock);
    }
    pthread_mutex_unlock(&lock);
    CHECK_EQUAL(door_bind(example_door), 0);
    door_return(NULL, 0, NULL, 0);
    return NULL;
}

static int example_threads;
static void example_create(door_info_t *info) {
    pthread_t t;
    if (info != NULL) {
        example_threads++;
        CHECK_EQUAL(pthread_create(&t, NULL, example_thread, NULL), 0);
        pthread_detach(t);
    }
}

static void door_example_of_the_page(void) {
    door_server_create(example_create);
    pthread_mutex_lock(&lock);
    example_door = door_create(who, (void *)5, DOOR_PRIVATE);
    pthread_cond_signal(&there);
    pthread_mutex_unlock(&lock);
    struct who r;
    for (int i = 0; i < 5; i++) {
        CHECK_EQUAL(call(example_door, NULL, 0, &r, sizeof r, NULL), 0);
        CHECK_EQUAL(r.query, 0);
        CHECK_EQUAL(r.id, id_of(example_door));
        CHECK_EQUAL((uintptr_t)r.cookie, 5);
    }
    CHECK(example_threads >= 2); /* one at creation, and at the depletion */
}

static void door_two_private_doors_have_threads_of_their_own(void) {
    door_server_create(no_threads);
    pthread_t ta, tb;
    int a = door_create(who, (void *)1, DOOR_PRIVATE), b = door_create(who, (void *)2, DOOR_PRIVATE);
    CHECK_EQUAL(pthread_create(&ta, NULL, bound_to, &a), 0);
    CHECK_EQUAL(pthread_create(&tb, NULL, bound_to, &b), 0);
    struct who r;
    for (int i = 0; i < 10; i++) {
        CHECK_EQUAL(call(a, NULL, 0, &r, sizeof r, NULL), 0);
        CHECK(pthread_equal(r.thread, ta) && r.cookie == (void *)1 && r.id == id_of(a));
        CHECK_EQUAL(call(b, NULL, 0, &r, sizeof r, NULL), 0);
        CHECK(pthread_equal(r.thread, tb) && r.cookie == (void *)2 && r.id == id_of(b));
    }
}

static void door_rebinding_within_the_procedure(void) {
    door_server_create(no_threads);
    pthread_t t;
    int a = door_create(who, (void *)1, DOOR_PRIVATE), b = door_create(who, (void *)2, DOOR_PRIVATE);
    CHECK_EQUAL(pthread_create(&t, NULL, bound_to, &a), 0);
    struct who r;
    CHECK_EQUAL(call(a, &b, sizeof b, &r, sizeof r, NULL), 0);
    CHECK_EQUAL(r.unbind, 0);
    CHECK_EQUAL(r.requery, 0);
    CHECK_EQUAL(r.id, id_of(b));
    CHECK_EQUAL(call(b, NULL, 0, &r, sizeof r, NULL), 0);
    CHECK(pthread_equal(r.thread, t) && r.cookie == (void *)2);
    struct caller c = {0};
    handle(SIGUSR1, 0);
    start_caller(&c, a);
    until_it_waits(&c);
    CHECK_EQUAL(interrupted_error(&c, SIGUSR1), EAGAIN);
    CHECK_EQUAL(call(b, &a, sizeof a, &r, sizeof r, NULL), 0); /* and back */
    CHECK_EQUAL(call(a, NULL, 0, &r, sizeof r, NULL), 0);
    CHECK(pthread_equal(r.thread, t) && r.cookie == (void *)1);
}

static void door_a_public_thread_binds_itself(void) {
    door_server_create(one_thread);
    int p = door_create(who, (void *)1, 0), a = door_create(who, (void *)2, DOOR_PRIVATE);
    struct who r, first;
    CHECK_EQUAL(call(p, NULL, 0, &first, sizeof r, NULL), 0);
    CHECK_EQUAL(first.query, EBADF);
    CHECK_EQUAL(call(p, &a, sizeof a, &r, sizeof r, NULL), 0);
    CHECK_EQUAL(r.unbind, 0);
    CHECK_EQUAL(call(a, NULL, 0, &r, sizeof r, NULL), 0);
    CHECK(pthread_equal(r.thread, first.thread));
    handle(SIGUSR1, 0);
    struct caller c = {0};
    start_caller(&c, p);
    until_it_waits(&c);
    CHECK_EQUAL(interrupted_error(&c, SIGUSR1), EAGAIN); /* the only public one has gone */
    CHECK_EQUAL(call(a, "u", 1, &r, sizeof r, NULL), 0);
    CHECK_EQUAL(r.unbind, 0);
    CHECK_EQUAL(r.requery, EBADF);
    CHECK_EQUAL(r.unbind2, EBADF);
    CHECK_EQUAL(call(p, NULL, 0, &r, sizeof r, NULL), 0);
    CHECK(pthread_equal(r.thread, first.thread));
    CHECK_EQUAL(r.query, EBADF);
}

static void door_bind_twice_and_errors(void) {
    door_server_create(no_threads);
    int a = door_create(who, NULL, DOOR_PRIVATE), p = door_create(who, NULL, 0), file = open("/dev/null", O_RDONLY);
    door_info_t info;
    CHECK_ERROR(door_unbind(), EBADF);
    CHECK_ERROR(door_bind(file), EBADF);
    CHECK_ERROR(door_bind(-1), EBADF);
    CHECK_ERROR(door_bind(DOOR_QUERY), EBADF);
    CHECK_ERROR(door_bind(99999), EBADF);
    CHECK_ERROR(door_bind(p), EINVAL);
    CHECK_ERROR(door_info(DOOR_QUERY, &info), EBADF);
    CHECK_EQUAL(door_bind(a), 0);
    CHECK_EQUAL(door_bind(a), 0);
    CHECK_EQUAL(door_info(DOOR_QUERY, &info), 0);
    CHECK_EQUAL(info.di_uniquifier, id_of(a));
    CHECK_ERROR(door_bind(p), EINVAL); /* a failure leaves the binding */
    CHECK_ERROR(door_bind(file), EBADF);
    CHECK_EQUAL(door_info(DOOR_QUERY, &info), 0);
    CHECK_EQUAL(info.di_uniquifier, id_of(a));
    CHECK_EQUAL(door_unbind(), 0);
    CHECK_ERROR(door_unbind(), EBADF);
    CHECK_ERROR(door_info(DOOR_QUERY, &info), EBADF);
}

static void door_bind_of_a_revoked_private_door(void) {
    door_server_create(no_threads);
    int a = door_create(who, NULL, DOOR_PRIVATE), copy = door_dup(a);
    CHECK_EQUAL(door_revoke(a), 0);
    CHECK_EQUAL(door_bind(copy), 0);
    CHECK_EQUAL(door_unbind(), 0);
}

static void foreign_binder(int socket, void *unused) {
    (void)unused;
    int a = receive_fd(socket);
    CHECK_ERROR(door_bind(a), EINVAL);
    CHECK_ERROR(door_unbind(), EBADF);
}

static void door_bind_of_another_process(void) {
    struct child child = start_child(foreign_binder, NULL);
    door_server_create(no_threads);
    int a = door_create(who, NULL, DOOR_PRIVATE);
    send_fd(child.socket, a);
    finish_child(child);
}

static void door_binding_by_a_copy(void) {
    door_server_create(no_threads);
    pthread_t t;
    int a = door_create(who, (void *)1, DOOR_PRIVATE), copy = dup(a), counted = door_dup(a);
    CHECK_EQUAL(pthread_create(&t, NULL, bound_to, &copy), 0);
    struct who r;
    CHECK_EQUAL(call(counted, NULL, 0, &r, sizeof r, NULL), 0);
    close(copy);
    close(counted);
    CHECK_EQUAL(call(a, NULL, 0, &r, sizeof r, NULL), 0);
    CHECK(pthread_equal(r.thread, t));
}

static void door_binding_is_no_reference(void) {
    door_server_create(no_threads);
    pthread_t t;
    int a = door_create(who, (void *)1, DOOR_PRIVATE);
    CHECK_EQUAL(pthread_create(&t, NULL, bound_to, &a), 0);
    struct who r;
    CHECK_EQUAL(call(a, NULL, 0, &r, sizeof r, NULL), 0);
    door_info_t info;
    CHECK_EQUAL(door_info(a, &info), 0);
    CHECK(info.di_attributes & DOOR_IS_UNREF);
}

/* depletion */
static void deplete_create(door_info_t *info) {
    record(info);
    if (info != NULL && (info->di_attributes & DOOR_DEPLETION_CB)) {
        pthread_t t;
        CHECK_EQUAL(pthread_create(&t, NULL, bound_to, &example_door), 0);
    }
}

static void door_depletion_info(void) {
    make_pipes();
    door_server_create(deplete_create);
    example_door = door_create(blocking_procedure, (void *)9, DOOR_PRIVATE | DOOR_REFUSE_DESC);
    pthread_t t;
    CHECK_EQUAL(pthread_create(&t, NULL, bound_to, &example_door), 0);
    struct caller c[3] = {{0}};
    for (int i = 0; i < 3; i++) {
        start_caller(&c[i], example_door);
        receive_byte(entered[0]);
        CHECK_EQUAL(info_count, i + 2);
        door_info_t *seen = &infos[i + 1];
        CHECK_EQUAL(seen->di_attributes, DOOR_PRIVATE | DOOR_REFUSE_DESC | DOOR_LOCAL | DOOR_DEPLETION_CB);
        CHECK_EQUAL(seen->di_target, getpid());
        CHECK_EQUAL(seen->di_data, 9);
        CHECK_EQUAL(seen->di_proc, (uintptr_t)blocking_procedure);
        CHECK_EQUAL(seen->di_uniquifier, id_of(example_door));
    }
    for (int i = 0; i < 3; i++) {
        send_byte(leave[1], 'l');
    }
    for (int i = 0; i < 3; i++) {
        CHECK_EQUAL(caller_error(&c[i]), 0);
    }
    CHECK_EQUAL(null_count, 0);
}

static int seen_pipe[2];

static void unref_who(void *cookie, char *data, size_t size, door_desc_t *dp, uint_t n) {
    (void)cookie;
    if (data == DOOR_UNREF_DATA) {
        door_info_t info;
        char good = size == 0 && dp == NULL && n == 0 && door_info(DOOR_QUERY, &info) == 0 && info.di_data == (uintptr_t)cookie;
        send_byte(seen_pipe[1], good ? 'u' : 'b');
    }
    door_return(NULL, 0, NULL, 0);
}

static void door_private_unref(void) {
    CHECK_EQUAL(pipe2(seen_pipe, O_CLOEXEC), 0);
    door_server_create(no_threads);
    int a = door_create(unref_who, (void *)3, DOOR_PRIVATE | DOOR_UNREF_MULTI);
    close(door_dup(a));
    CHECK(!byte_within(seen_pipe[0], 150));
    pthread_t t;
    CHECK_EQUAL(pthread_create(&t, NULL, bound_to, &a), 0);
    CHECK_EQUAL(receive_byte(seen_pipe[0]), 'u');
    close(door_dup(a));
    CHECK_EQUAL(receive_byte(seen_pipe[0]), 'u');
    CHECK(!byte_within(seen_pipe[0], 50));
}

/* door_xcreate */
static atomic_int setups, x_creates;
static door_info_t x_infos[16];
static void *x_cookies[16];
static void set_up(void *cookie) {
    x_cookies[setups++ % 16] = cookie;
}

static int x_create(door_info_t *info, void *(*start)(void *), void *argument, void *cookie) {
    pthread_t t;
    x_infos[x_creates++ % 16] = *info;
    x_cookies[15] = cookie;
    in_order();
    CHECK_EQUAL(pthread_create(&t, NULL, start, argument), 0);
    pthread_detach(t);
    return 1;
}

static void door_xcreate_facts(void) {
    int d = door_xcreate(who, (void *)4, DOOR_NO_CANCEL, x_create, set_up, (void *)0x99, 3);
    CHECK(d >= 0);
    CHECK_EQUAL(setups, 3);
    CHECK_EQUAL(x_creates, 3);
    for (int i = 0; i < 3; i++) {
        CHECK(x_cookies[i] == (void *)0x99);
        CHECK_EQUAL(x_infos[i].di_uniquifier, id_of(d));
        CHECK_EQUAL(x_infos[i].di_target, getpid());
        CHECK_EQUAL(x_infos[i].di_data, 4);
        CHECK_EQUAL(x_infos[i].di_proc, (uintptr_t)who);
        CHECK_EQUAL(x_infos[i].di_attributes & ~(uint_t)DOOR_IS_UNREF, DOOR_PRIVATE | DOOR_PRIVCREATE | DOOR_NO_CANCEL | DOOR_LOCAL);
    }
    CHECK(x_cookies[15] == (void *)0x99);
    CHECK(fcntl(d, F_GETFD) & FD_CLOEXEC);
    struct who r;
    CHECK_EQUAL(call(d, NULL, 0, &r, sizeof r, NULL), 0);
    CHECK_EQUAL(r.query, 0);
    CHECK_EQUAL(r.id, id_of(d));
    door_info_t info;
    CHECK_EQUAL(door_info(d, &info), 0);
    CHECK_EQUAL(info.di_attributes, DOOR_PRIVATE | DOOR_PRIVCREATE | DOOR_NO_CANCEL | DOOR_LOCAL | DOOR_IS_UNREF);
}

static void cancel_state(void *cookie, char *data, size_t size, door_desc_t *dp, uint_t n) {
    (void)cookie, (void)data, (void)size, (void)dp, (void)n;
    int r[2];
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &r[0]);
    pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &r[1]);
    pthread_setcancelstate(r[0], NULL);
    door_return((char *)r, sizeof r, NULL, 0);
}

static void enabling(void *cookie) {
    (void)cookie;
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
}

static void nothing(void *cookie) {
    (void)cookie;
}

static void door_xcreate_cancel_states(void) {
    int r[2];
    int d = door_xcreate(cancel_state, NULL, 0, x_create, NULL, NULL, 1);
    CHECK_EQUAL(call(d, NULL, 0, r, sizeof r, NULL), 0);
    CHECK_EQUAL(r[0], PTHREAD_CANCEL_DISABLE);
    CHECK_EQUAL(r[1], PTHREAD_CANCEL_DEFERRED);
    d = door_xcreate(cancel_state, NULL, 0, x_create, enabling, NULL, 1);
    CHECK_EQUAL(call(d, NULL, 0, r, sizeof r, NULL), 0);
    CHECK_EQUAL(r[0], PTHREAD_CANCEL_ENABLE);
    d = door_xcreate(cancel_state, NULL, 0, x_create, nothing, NULL, 1);
    CHECK_EQUAL(call(d, NULL, 0, r, sizeof r, NULL), 0);
    CHECK_EQUAL(r[0], PTHREAD_CANCEL_ENABLE); /* a thread's own beginning */
    d = door_create(cancel_state, NULL, 0);
    CHECK_EQUAL(call(d, NULL, 0, r, sizeof r, NULL), 0);
    CHECK_EQUAL(r[0], PTHREAD_CANCEL_DISABLE);
}

static pthread_t joinable[16];
static int fail_after = 2, fail_with = -1;
static int x_failing(door_info_t *info, void *(*start)(void *), void *argument, void *cookie) {
    (void)info, (void)cookie;
    if (x_creates == fail_after) {
        return fail_with;
    }
    CHECK_EQUAL(pthread_create(&joinable[x_creates++], NULL, start, argument), 0);
    return 1;
}

static bool few_are_left(void *before) {
    return open_descriptors() <= *(int *)before + 8;
}

static void door_xcreate_fails_half_way(void) {
    int before = open_descriptors();
    for (fail_with = -1; fail_with <= 0; fail_with++) {
        x_creates = 0;
        CHECK_ERROR(door_xcreate(who, NULL, 0, x_failing, NULL, NULL, 5), fail_with ? EPIPE : EINVAL);
        CHECK_EQUAL(x_creates, 2);
        for (int i = 0; i < 2; i++) {
            CHECK_EQUAL(pthread_join(joinable[i], NULL), 0); /* they were told to end */
        }
    }
    CHECK(eventually(few_are_left, &before)); /* the control thread has heard of the ends */
}

static void door_xcreate_does_not_use_server_create(void) {
    door_server_create(record);
    int d = door_xcreate(who, NULL, 0, x_create, NULL, NULL, 1);
    struct who r;
    for (int i = 0; i < 3; i++) {
        CHECK_EQUAL(call(d, NULL, 0, &r, sizeof r, NULL), 0);
    }
    CHECK_EQUAL(info_count + null_count, 0);
    CHECK(x_creates >= 2);
    CHECK(x_infos[1].di_attributes & DOOR_DEPLETION_CB);
    CHECK_EQUAL(x_infos[1].di_attributes & ~(uint_t)DOOR_DEPLETION_CB, DOOR_PRIVATE | DOOR_PRIVCREATE | DOOR_LOCAL);
    int p = door_create(who, NULL, 0);
    (void)p;
    CHECK_EQUAL(null_count, 1);
}

static void xcreate_thread_exits(void *cookie, char *data, size_t size, door_desc_t *dp, uint_t n) {
    if (size == 1) {
        pthread_exit(NULL);
    }
    who(cookie, data, 0, dp, n);
}

static void door_xcreate_pool_shrinks(void) {
    int d = door_xcreate(xcreate_thread_exits, NULL, DOOR_NO_DEPLETION_CB, x_create, NULL, NULL, 2);
    struct who r;
    CHECK_ERROR(call(d, "x", 1, &r, sizeof r, NULL), EINTR);
    CHECK_EQUAL(call(d, NULL, 0, &r, sizeof r, NULL), 0);
    CHECK_ERROR(call(d, "x", 1, &r, sizeof r, NULL), EINTR);
    handle(SIGUSR1, 0);
    struct caller c = {0};
    start_caller(&c, d);
    until_it_waits(&c);
    CHECK_EQUAL(interrupted_error(&c, SIGUSR1), EAGAIN);
    pthread_t t;
    CHECK_EQUAL(pthread_create(&t, NULL, bound_to, &d), 0); /* a thread of our own revives it */
    CHECK_EQUAL(call(d, NULL, 0, &r, sizeof r, NULL), 0);
    CHECK(pthread_equal(r.thread, t));
}

static void door_xcreate_thread_unbinds(void) {
    door_server_create(no_threads);
    int d = door_xcreate(who, (void *)1, DOOR_NO_DEPLETION_CB, x_create, NULL, NULL, 1), p = door_create(who, (void *)2, 0);
    struct who r, s;
    CHECK_EQUAL(call(d, "u", 1, &r, sizeof r, NULL), 0);
    CHECK_EQUAL(r.unbind, 0);
    CHECK_EQUAL(r.requery, EBADF);
    CHECK_EQUAL(call(p, NULL, 0, &s, sizeof s, NULL), 0);
    CHECK(pthread_equal(s.thread, r.thread) && s.cookie == (void *)2);
}

static void door_xcreate_unref(void) {
    CHECK_EQUAL(pipe2(seen_pipe, O_CLOEXEC), 0);
    int d = door_xcreate(unref_who, (void *)3, DOOR_UNREF, x_create, NULL, NULL, 1);
    close(door_dup(d));
    CHECK_EQUAL(receive_byte(seen_pipe[0]), 'u');
    close(door_dup(d));
    CHECK(!byte_within(seen_pipe[0], 100));
    door_info_t info;
    CHECK_EQUAL(door_info(d, &info), 0);
    CHECK_EQUAL(info.di_attributes & (DOOR_UNREF | DOOR_UNREF_MULTI), 0);
}

/* unbind by a thread that never was in the pool after parking through bind: bound thread that has not parked, then exits */
static void *binds_and_exits(void *door) {
    CHECK_EQUAL(door_bind(*(int *)door), 0);
    return NULL;
}

static void door_bound_thread_that_never_parks(void) {
    door_server_create(no_threads);
    int a = door_create(who, NULL, DOOR_PRIVATE);
    pthread_t t;
    for (int i = 0; i < 20; i++) {
        CHECK_EQUAL(pthread_create(&t, NULL, binds_and_exits, &a), 0);
        CHECK_EQUAL(pthread_join(t, NULL), 0);
    }
    CHECK_EQUAL(pthread_create(&t, NULL, bound_to, &a), 0);
    struct who r;
    CHECK_EQUAL(call(a, NULL, 0, &r, sizeof r, NULL), 0);
}

/* A thread that is bound stays with the door after the last descriptor has gone. */
static int late_door;

struct late {
    int query;
    uint64_t cookie, data;
};

static void closing_who(void *cookie, char *data, size_t size, door_desc_t *dp, uint_t n) {
    (void)data, (void)size, (void)dp, (void)n;
    door_info_t info;
    close(late_door);
    memset(&info, 0, sizeof info);
    int query = door_info(DOOR_QUERY, &info) < 0 ? errno : 0;
    struct late r = {query, (uintptr_t)cookie, info.di_data};
    door_return((char *)&r, sizeof r, NULL, 0);
}

static void door_query_without_descriptors(void) {
    door_server_create(no_threads);
    late_door = door_create(closing_who, (void *)8, DOOR_PRIVATE);
    pthread_t t;
    CHECK_EQUAL(pthread_create(&t, NULL, bound_to, &late_door), 0);
    struct late r;
    CHECK_EQUAL(call(late_door, NULL, 0, &r, sizeof r, NULL), 0);
    CHECK_EQUAL(r.query, 0);
    CHECK_EQUAL(r.data, 8);
}

static const struct test tests[] = {
    TEST(door_private_creation_calls_function),
    TEST(door_failed_private_creation_calls_nobody),
    TEST(door_example_of_the_page),
    TEST(door_two_private_doors_have_threads_of_their_own),
    TEST(door_rebinding_within_the_procedure),
    TEST(door_a_public_thread_binds_itself),
    TEST(door_bind_twice_and_errors),
    TEST(door_bind_of_a_revoked_private_door),
    TEST(door_bind_of_another_process),
    TEST(door_binding_by_a_copy),
    TEST(door_binding_is_no_reference),
    TEST(door_depletion_info),
    TEST(door_private_unref),
    TEST(door_xcreate_facts),
    TEST(door_xcreate_cancel_states),
    TEST(door_xcreate_fails_half_way),
    TEST(door_xcreate_does_not_use_server_create),
    TEST(door_xcreate_pool_shrinks),
    TEST(door_xcreate_thread_unbinds),
    TEST(door_xcreate_unref),
    TEST(door_bound_thread_that_never_parks),
    TEST(door_query_without_descriptors),
};
TEST_MAIN(tests)
