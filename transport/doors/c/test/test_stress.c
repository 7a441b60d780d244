/* Many clients, many threads, random deaths on both sides: group T of the conformance cases. */
#include "harness.h"

#include <time.h>

enum { MESSAGE_MAX = 200000 };

static unsigned random_below(unsigned *seed, unsigned limit) {
    *seed = *seed * 1103515245u + 12345u;
    return (*seed >> 8) % limit;
}

/* The reply is the request with every byte one higher, and as many descriptors as came. */
static void work_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie;
    static _Thread_local door_desc_t back[DOOR_DESCRIPTOR >> 6];
    for (uint_t i = 0; i < count; i++) {
        back[i] = descriptors[i];
        back[i].d_attributes = DOOR_DESCRIPTOR | DOOR_RELEASE;
    }
    for (size_t i = 0; i < size; i++) {
        data[i]++;
    }
    if (door_return(data, size, back, count) < 0) {
        for (uint_t i = 0; i < count; i++) {
            close(back[i].d_data.d_desc.d_descriptor);
        }
        door_return(NULL, 0, NULL, 0);
    }
}

static size_t some_size(unsigned *seed) {
    unsigned choice = random_below(seed, 100);
    return choice < 70 ? random_below(seed, 300) : choice < 95 ? random_below(seed, 20000) : random_below(seed, MESSAGE_MAX);
}

/* One call with random data, sometimes with descriptors. 0, or the errno. */
static int work(int door, unsigned *seed, char *request, char *result, int file) {
    size_t size = some_size(seed);
    uint_t count = random_below(seed, 20) == 0 ? random_below(seed, 5) : 0;
    door_desc_t entries[5];
    memset(entries, 0, sizeof entries);
    for (uint_t i = 0; i < count; i++) {
        bool release = random_below(seed, 2);
        entries[i].d_attributes = DOOR_DESCRIPTOR | (release ? DOOR_RELEASE : 0);
        entries[i].d_data.d_desc.d_descriptor = release ? dup(file) : file;
    }
    char first = (char)random_below(seed, 256);
    memset(request, first, size);
    size_t room = random_below(seed, 2) ? MESSAGE_MAX : size / 2;
    door_arg_t arguments = {.data_ptr = request,
                            .data_size = size,
                            .desc_ptr = entries,
                            .desc_num = count,
                            .rbuf = result,
                            .rsize = room};
    if (door_call(door, &arguments) < 0) {
        int error = errno;
        for (uint_t i = 0; i < count && (error == EBADF || error == EAGAIN); i++) {
            if (entries[i].d_attributes & DOOR_RELEASE) {
                close(entries[i].d_data.d_desc.d_descriptor);
            }
        }
        return error;
    }
    if (arguments.data_size != size || arguments.desc_num != count) {
        fail_at(__FILE__, __LINE__, "sent %zu bytes and %u descriptors, got %zu and %u", size, count,
                arguments.data_size, arguments.desc_num);
    }
    for (size_t i = 0; i < size; i++) {
        if (arguments.data_ptr[i] != (char)(first + 1)) {
            fail_at(__FILE__, __LINE__, "byte %zu of %zu is wrong", i, size);
        }
    }
    for (uint_t i = 0; i < count; i++) {
        CHECK_EQUAL(close(arguments.desc_ptr[i].d_data.d_desc.d_descriptor), 0);
    }
    if (arguments.rbuf != result) {
        CHECK_EQUAL(munmap(arguments.rbuf, arguments.rsize), 0);
    }
    return 0;
}

struct plan {
    const char *path;
    int calls;
    bool tolerant; /* servers die: EINTR and EBADF are part of the game */
};

static void client(int socket, void *argument) {
    const struct plan *plan = argument;
    unsigned seed = (unsigned)getpid();
    char *request = malloc(MESSAGE_MAX), *result = malloc(MESSAGE_MAX);
    int file = open("/dev/null", O_RDONLY), door = door_open(plan->path, O_RDONLY), served = 0;
    (void)socket;
    CHECK(door >= 0);
    int first = work(door, &seed, request, result, file);
    CHECK(first == 0 || plan->tolerant);
    int before = open_descriptors();
    for (int i = 0; i < plan->calls; i++) {
        int error = work(door, &seed, request, result, file);
        served += error == 0;
        if (error != 0 && plan->tolerant) {
            CHECK(error == EINTR || error == EBADF || error == EAGAIN);
            close(door);
            door = door_open(plan->path, O_RDONLY);
            CHECK(door >= 0);
        } else {
            CHECK_EQUAL(error, 0);
        }
    }
    CHECK(served > 0);
    CHECK(open_descriptors() <= before + 2);
    free(request);
    free(result);
}

static int attached(const char *path) {
    int door = door_create(work_procedure, NULL, DOOR_NO_CANCEL);
    CHECK(door >= 0);
    close(open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0644));
    CHECK_EQUAL(door_replace(door, path), 0);
    return door;
}

static int settled_at;

static bool settled(void *limit) {
    return (settled_at = open_descriptors()) <= *(int *)limit;
}

static void door_T1(void) {
    enum { CLIENTS = 16 };
    char *path = temporary_path("t1");
    struct child clients[CLIENTS];
    struct plan plan = {path, 500, false};
    int door = attached(path);
    CHECK_EQUAL(call(door, NULL, 0, NULL, 0, NULL), 0);
    int before = open_descriptors() + 1;
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = start_child(client, &plan);
    }
    for (int i = 0; i < CLIENTS; i++) {
        finish_child(clients[i]);
    }
    CHECK(eventually(settled, &before));
    CHECK(threads() <= 2 * CLIENTS + 6); /* a depletion may be noticed again before its new thread has parked */
}

static void door_T2(void) {
    enum { CLIENTS = 6, ROUNDS = 8 };
    char *path = temporary_path("t2");
    struct plan plan = {path, 1000000, false};
    int door = attached(path);
    unsigned seed = 7;
    CHECK_EQUAL(call(door, NULL, 0, NULL, 0, NULL), 0);
    int before = open_descriptors() + 1, maps = 0;
    for (int round = 0; round < ROUNDS; round++) {
        struct child clients[CLIENTS];
        for (int i = 0; i < CLIENTS; i++) {
            clients[i] = start_child(client, &plan);
        }
        poll(NULL, 0, 20 + (int)random_below(&seed, 60));
        for (int i = 0; i < CLIENTS; i++) {
            kill_child(clients[i]);
        }
        if (!eventually(settled, &before)) {
            fail_at(__FILE__, __LINE__, "%d descriptors left, %d before", settled_at, before);
        }
        if (round == 2) {
            maps = mappings();
        }
        CHECK_EQUAL(call(door, NULL, 0, NULL, 0, NULL), 0);
    }
    CHECK(!mappings_are_ours() || mappings() <= maps + 3 * (CLIENTS + 6)); /* stacks and arenas of a few more threads at most */
}

static void server(int socket, void *path) {
    attached(path);
    send_byte(socket, 'r');
    receive_byte(socket);
}

static void door_T3(void) {
    enum { CLIENTS = 4, SERVERS = 10 };
    char *path = temporary_path("t3");
    struct plan plan = {path, 4000, true};
    struct child clients[CLIENTS], current = start_child(server, path);
    receive_byte(current.socket);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = start_child(client, &plan);
    }
    for (int i = 0; i < SERVERS; i++) {
        poll(NULL, 0, 40);
        if (i % 2) {
            kill_child(current); /* first dead, then replaced */
            current = start_child(server, path);
            receive_byte(current.socket);
        } else {
            struct child next = start_child(server, path); /* replaced alive */
            receive_byte(next.socket);
            kill_child(current);
            current = next;
        }
    }
    for (int i = 0; i < CLIENTS; i++) {
        finish_child(clients[i]);
    }
    kill_child(current);
}

static int shared_door;

static void *sharing_thread(void *argument) {
    unsigned seed = (unsigned)(uintptr_t)argument;
    char *request = malloc(MESSAGE_MAX), *result = malloc(MESSAGE_MAX);
    int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
    for (int i = 0; i < 100; i++) {
        CHECK_EQUAL(work(shared_door, &seed, request, result, file), 0);
    }
    close(file);
    free(request);
    free(result);
    return NULL;
}

static void sharing_client(int socket, void *path) {
    enum { THREADS = 64 };
    pthread_t workers[THREADS];
    receive_byte(socket);
    shared_door = door_open(path, O_RDONLY);
    int before = open_descriptors();
    for (uintptr_t i = 0; i < THREADS; i++) {
        CHECK_EQUAL(pthread_create(&workers[i], NULL, sharing_thread, (void *)(i + 1)), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(workers[i], NULL);
    }
    CHECK_EQUAL(open_descriptors(), before);
}

static void door_T4(void) {
    char *path = temporary_path("t4");
    struct child child = start_child(sharing_client, path); /* before there are threads whose stacks it would inherit */
    attached(path);
    send_byte(child.socket, 'g');
    finish_child(child);
}

/* Descriptors against a model: every byte written into a passed pipe arrives, released ends are closed. */
static void count_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)data, (void)size;
    in_order();
    for (uint_t i = 0; i < count; i++) {
        if (write(descriptors[i].d_data.d_desc.d_descriptor, "x", 1) != 1) {
            abort();
        }
        close(descriptors[i].d_data.d_desc.d_descriptor);
    }
    in_order();
    door_return((char *)&count, sizeof count, NULL, 0);
}

/* Whether a descriptor is open and leads to the file of another: a thread of the library may have got its number meanwhile. */
static bool is_of(int file, int descriptor) {
    struct stat one, other;
    CHECK_EQUAL(fstat(file, &one), 0);
    return fstat(descriptor, &other) == 0 && one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

static void door_T5(void) {
    int door = door_create(count_procedure, NULL, 0), ends[2];
    static door_desc_t entries[1026];
    static bool release[1026];
    unsigned seed = 99;
    int before = 0;
    CHECK_EQUAL(pipe(ends), 0);
    for (int round = 0; round < 60; round++) {
        uint_t count = random_below(&seed, round % 5 ? 40 : 1026), seen = 0;
        bool bad = random_below(&seed, 6) == 0 && count > 0;
        uint_t bad_at = bad ? random_below(&seed, count) : count;
        memset(entries, 0, sizeof entries);
        for (uint_t i = 0; i < count; i++) {
            release[i] = random_below(&seed, 3) == 0;
            entries[i].d_attributes = DOOR_DESCRIPTOR | (release[i] ? DOOR_RELEASE : 0);
            entries[i].d_data.d_desc.d_descriptor = release[i] ? dup(ends[1]) : ends[1];
        }
        if (bad && !release[bad_at]) {
            entries[bad_at].d_attributes = 0;
        } else {
            bad = false;
        }
        door_arg_t arguments = {
            .desc_ptr = entries, .desc_num = count, .rbuf = (char *)&seen, .rsize = sizeof seen};
        in_order();
        int error = door_call(door, &arguments) < 0 ? errno : 0;
        in_order();
        CHECK_EQUAL(error, count > 1024 ? E2BIG : bad ? EINVAL : 0);
        open_descriptors(); /* waits until what has been sent is closed */
        for (uint_t i = 0; i < count; i++) {
            if (release[i]) {
                bool open = is_of(ends[1], entries[i].d_data.d_desc.d_descriptor);
                CHECK_EQUAL(open, error == E2BIG);
                if (open) {
                    close(entries[i].d_data.d_desc.d_descriptor);
                }
            }
        }
        for (uint_t i = 0; error == 0 && i < count; i++) {
            CHECK_EQUAL(receive_byte(ends[0]), 'x');
        }
        CHECK(error != 0 || seen == count);
        CHECK(!byte_within(ends[0], 0));
        before = before ? before : open_descriptors();
        CHECK(open_descriptors() <= before + 1);
    }
}

static const struct test tests[] = {TEST(door_T1), TEST(door_T2), TEST(door_T3), TEST(door_T4), TEST(door_T5)};
TEST_MAIN(tests)
