/* Calls with data: groups D and L of the conformance cases. */
#include "harness.h"

#include <stddef.h>

enum { HUGE = (20 << 20) + 100 };

static void door_L1(void) {
    CHECK_EQUAL(sizeof(door_desc_t), 24);
    CHECK_EQUAL(_Alignof(door_desc_t), 4);
    CHECK_EQUAL(offsetof(door_desc_t, d_data.d_desc.d_descriptor), 4);
    CHECK_EQUAL(offsetof(door_desc_t, d_data.d_desc.d_id), 8);
    CHECK_EQUAL(sizeof(door_info_t), 48);
    CHECK_EQUAL(offsetof(door_info_t, di_proc), 4);
    CHECK_EQUAL(offsetof(door_info_t, di_data), 12);
    CHECK_EQUAL(offsetof(door_info_t, di_attributes), 20);
    CHECK_EQUAL(offsetof(door_info_t, di_uniquifier), 24);
    CHECK_EQUAL(offsetof(door_info_t, di_resv), 32);
    CHECK_EQUAL(sizeof(door_arg_t), 48);
    CHECK_EQUAL(offsetof(door_arg_t, desc_num), 24);
    CHECK_EQUAL(offsetof(door_arg_t, rbuf), 32);
    CHECK_EQUAL(sizeof(door_cred_t), 36);
}

static void double_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)descriptors, (void)count;
    int number = 0;
    memcpy(&number, data, size < sizeof number ? size : sizeof number);
    number *= 2;
    door_return((char *)&number, sizeof number, NULL, 0);
}

static void door_D3(void) {
    int door = door_create(double_procedure, NULL, 0), number = 111, result = 0;
    CHECK(door >= 0);
    CHECK_EQUAL(call(door, &number, sizeof number, &result, sizeof result, NULL), 0);
    CHECK_EQUAL(result, 222);
    for (int i = 0; i < 1000; i++) {
        CHECK_EQUAL(call(door, &i, sizeof i, &result, sizeof result, NULL), 0);
        CHECK_EQUAL(result, 2 * i);
    }
}

static void client_of_double(int socket, void *unused) {
    (void)unused;
    int door = receive_fd(socket), number = 111, result = 0;
    CHECK_EQUAL(call(door, &number, sizeof number, &result, sizeof result, NULL), 0);
    CHECK_EQUAL(result, 222);
}

static void door_D3_between_processes(void) {
    struct child child = start_child(client_of_double, NULL);
    int door = door_create(double_procedure, NULL, 0);
    CHECK(door >= 0);
    send_fd(child.socket, door);
    finish_child(child);
}


/* Replies what it was told to: the request is a struct order. */
struct order {
    size_t reply;   /* bytes */
    char fill;
};

static void order_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)descriptors, (void)count, (void)size;
    struct order order = {0, 'r'};
    if (data != NULL) {
        memcpy(&order, data, sizeof order);
    }
    char *reply = malloc(order.reply + 1);
    static _Thread_local char *last;
    free(last);
    last = reply;
    memset(reply, order.fill, order.reply);
    door_return(reply, order.reply, NULL, 0);
}

static void door_B1_to_B6(void) {
    int door = door_create(order_procedure, NULL, 0);
    struct order order = {100, 'b'};
    char buffer[100], old[100];
    memset(old, 'o', sizeof old);
    door_arg_t arguments = {.data_ptr = (char *)&order, .data_size = sizeof order, .rbuf = buffer, .rsize = 100};
    CHECK_EQUAL(door_call(door, &arguments), 0); /* B1: exactly as large */
    CHECK(arguments.rbuf == buffer && arguments.rsize == 100 && arguments.data_ptr == buffer);
    CHECK(buffer[0] == 'b' && buffer[99] == 'b');
    memcpy(buffer, old, sizeof old);
    arguments = (door_arg_t){.data_ptr = (char *)&order, .data_size = sizeof order, .rbuf = buffer, .rsize = 99};
    CHECK_EQUAL(door_call(door, &arguments), 0); /* B2, B8: one byte short */
    CHECK(arguments.rbuf != buffer && arguments.rsize == 4096 && arguments.data_ptr == arguments.rbuf);
    CHECK(memcmp(buffer, old, sizeof old) == 0);
    CHECK(arguments.rbuf[99] == 'b');
    for (int i = 100; i < 4096; i++) {
        CHECK_EQUAL(arguments.rbuf[i], 0);
    }
    arguments.rbuf[4095] = 1;
    /* B19: the mapping as the next result buffer */
    char *first = arguments.rbuf;
    order.reply = 10000;
    arguments.data_ptr = (char *)&order;
    arguments.data_size = sizeof order;
    CHECK_EQUAL(door_call(door, &arguments), 0);
    CHECK(arguments.rbuf != first && arguments.rsize == 12288);
    CHECK_EQUAL(first[4095], 1);
    CHECK_EQUAL(munmap(first, 4096), 0);
    CHECK_EQUAL(munmap(arguments.rbuf, arguments.rsize), 0);
    order.reply = 4096;
    arguments = (door_arg_t){.data_ptr = (char *)&order, .data_size = sizeof order};
    CHECK_EQUAL(door_call(door, &arguments), 0); /* B3 */
    CHECK(arguments.rbuf != NULL && arguments.rsize == 4096 && arguments.data_size == 4096);
    munmap(arguments.rbuf, 4096);
    order.reply = 0;
    arguments = (door_arg_t){.data_ptr = (char *)&order, .data_size = sizeof order};
    CHECK_EQUAL(door_call(door, &arguments), 0); /* B5 */
    CHECK(arguments.rbuf == NULL && arguments.rsize == 0 && arguments.data_size == 0);
    CHECK(arguments.data_ptr == (char *)&order);
}

static void door_B7_B16_B18(void) {
    int door = door_create(order_procedure, NULL, 0);
    struct order order = {10, 'b'};
    door_arg_t arguments = {.data_ptr = (char *)&order, .data_size = sizeof order, .rsize = 100}, before = arguments;
    CHECK_ERROR(door_call(door, &arguments), EFAULT);
    CHECK(memcmp(&arguments, &before, sizeof before) == 0);
    char *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    arguments.rbuf = page;
    CHECK_ERROR(door_call(door, &arguments), EFAULT);
    CHECK_EQUAL(call(door, NULL, 0, NULL, 0, NULL), 0);
}

static void door_D8_D9_D10(void) {
    int door = door_create(order_procedure, NULL, 0);
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(page + 4096, 4096, PROT_NONE);
    door_arg_t arguments = {.data_ptr = page + 4090, .data_size = 10};
    CHECK_ERROR(door_call(door, &arguments), EFAULT);
    arguments = (door_arg_t){.data_ptr = (char *)1, .data_size = 10};
    CHECK_ERROR(door_call(door, &arguments), EFAULT);
    arguments = (door_arg_t){.desc_ptr = (door_desc_t *)(page + 4096), .desc_num = 1};
    CHECK_ERROR(door_call(door, &arguments), EFAULT);
    CHECK_ERROR(door_call(door, (door_arg_t *)(page + 4096)), EFAULT);
    CHECK_ERROR(door_call(-1, &(door_arg_t){.data_ptr = (char *)1, .data_size = 10}), EBADF); /* E16 */
    CHECK_ERROR(door_info(door, (door_info_t *)(page + 4096)), EFAULT);
}

static void argument_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie;
    char answer = data == NULL && size == 0 && descriptors == NULL && count == 0;
    if (data != NULL) {
        answer = (uintptr_t)data % 16 == 0;
        memset(data, 0, size); /* D14: its own copy */
    }
    door_return(&answer, 1, NULL, 0);
}

static void door_D7_D14_D15(void) {
    int door = door_create(argument_procedure, NULL, 0);
    char answer = 0, request[3000];
    door_arg_t arguments = {.data_ptr = DOOR_UNREF_DATA, .data_size = 0, .rbuf = &answer, .rsize = 1};
    CHECK_EQUAL(door_call(door, &arguments), 0);
    CHECK_EQUAL(answer, 1);
    memset(request, 'q', sizeof request);
    for (size_t size = 1; size < sizeof request; size += 77) {
        CHECK_EQUAL(call(door, request, size, &answer, 1, NULL), 0);
        CHECK_EQUAL(answer, 1);
    }
    CHECK(request[0] == 'q' && request[2999] == 'q');
}

static void sum_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)descriptors, (void)count;
    unsigned long sum = 0;
    for (size_t i = 0; i < size; i++) {
        sum += (unsigned char)data[i];
    }
    door_return((char *)&sum, sizeof sum, NULL, 0);
}

static void door_D11(void) {
    int door = door_create(sum_procedure, NULL, 0);
    char *data = calloc(1, 3 << 20);
    unsigned long sum;
    CHECK_EQUAL(call(door, data, 2030000, &sum, sizeof sum, NULL), 0);
    CHECK_ERROR(call(door, data, 2 << 20, &sum, sizeof sum, NULL), E2BIG);
    CHECK_ERROR(call(door, data, 3 << 20, &sum, sizeof sum, NULL), E2BIG);
    CHECK_EQUAL(call(door, data, 100, &sum, sizeof sum, NULL), 0);
    free(data);
}

static void *big_thread(void *unused) {
    (void)unused;
    door_return(NULL, 0, NULL, 0);
    return NULL;
}

static void big_stacks(door_info_t *info) {
    (void)info;
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 16 << 20);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    CHECK_EQUAL(pthread_create(&thread, &attributes, big_thread, NULL), 0);
}

static void door_D12(void) {
    door_server_create(big_stacks);
    int door = door_create(sum_procedure, NULL, 0);
    size_t size = 4 << 20;
    char *data = malloc(size);
    unsigned long sum;
    memset(data, 1, size);
    CHECK_EQUAL(call(door, data, size, &sum, sizeof sum, NULL), 0);
    CHECK_EQUAL(sum, size);
    free(data);
}

static void *huge_thread(void *unused) {
    (void)unused;
    door_return(NULL, 0, NULL, 0);
    return NULL;
}

static void huge_stacks(door_info_t *info) {
    (void)info;
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 256 << 20);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    CHECK_EQUAL(pthread_create(&thread, &attributes, huge_thread, NULL), 0);
}

/* Bytes of all regions that are mapped here: those of the caller, and of the server once more. */
static size_t region_bytes(void) {
    char line[512];
    size_t sum = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    CHECK(maps != NULL);
    while (fgets(line, sizeof line, maps) != NULL) {
        unsigned long begin, end;
        if (strstr(line, "door-region") != NULL && sscanf(line, "%lx-%lx", &begin, &end) == 2) {
            sum += end - begin;
        }
    }
    fclose(maps);
    return sum;
}

/* A region is kept for the next call up to a size, and goes when calls do not need it. */
static void door_D6_regions_are_kept(void) {
    static const size_t sizes[] = {(16 << 20) + 1, 20 << 20, 64 << 20, (64 << 20) + 1};
    door_server_create(huge_stacks);
    int door = door_create(sum_procedure, NULL, 0);
    char *data = malloc(sizes[3]);
    memset(data, 1, sizes[3]);
    for (unsigned i = 0; i < 4; i++) {
        unsigned long sum;
        for (int round = 0; round < 3; round++) {
            CHECK_EQUAL(call(door, data, sizes[i], &sum, sizeof sum, NULL), 0);
            CHECK_EQUAL(sum, sizes[i]);
            size_t bytes = region_bytes();
            CHECK(i < 3 ? bytes >= 2 * sizes[i] && bytes <= 2 * (sizes[i] + 4096) : bytes == 0);
        }
    }
    unsigned long sum;
    CHECK_EQUAL(call(door, data, sizes[1], &sum, sizeof sum, NULL), 0);
    for (int i = 0; i < 40; i++) {
        CHECK_EQUAL(call(door, data, 100, &sum, sizeof sum, NULL), 0);
    }
    CHECK_EQUAL(region_bytes(), 0);
    free(data);
}

static void door_D13(void) {
    int door = door_create(order_procedure, NULL, 0);
    for (int i = 0; i < 3; i++) {
        struct order order = {(64u << 20) >> (6 * i), 'd'};
        door_arg_t arguments = {.data_ptr = (char *)&order, .data_size = sizeof order};
        CHECK_EQUAL(door_call(door, &arguments), 0);
        CHECK_EQUAL(arguments.data_size, order.reply);
        for (size_t at = 0; at < order.reply; at += 1000) {
            CHECK_EQUAL(arguments.data_ptr[at], 'd');
        }
        CHECK_EQUAL(munmap(arguments.rbuf, arguments.rsize), 0);
    }
}

/* Regions come and go; what is in them stays right. */
static void huge_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)descriptors;
    static char reply[HUGE];
    memset(reply, 'h', HUGE);
    door_desc_t entry = {.d_attributes = DOOR_DESCRIPTOR};
    entry.d_data.d_desc.d_descriptor = 0;
    door_return(reply, HUGE, &entry, count);
    door_return(NULL, 0, NULL, 0);
}

/* A reply that comes in memory of its own looks like any other mapped one, and is the client's to write to. */
static void door_B8_huge(void) {
    int door = door_create(huge_procedure, NULL, 0);
    int before = 0;
    for (uint_t round = 0; round < 4; round++) {
        uint_t count = round % 2;
        door_desc_t entry = {.d_attributes = DOOR_DESCRIPTOR};
        entry.d_data.d_desc.d_descriptor = 1;
        door_arg_t arguments = {.desc_ptr = &entry, .desc_num = count};
        CHECK_EQUAL(door_call(door, &arguments), 0);
        CHECK_EQUAL(arguments.data_size, HUGE);
        CHECK_EQUAL(arguments.desc_num, count);
        CHECK_EQUAL(arguments.rsize % 4096, 0);
        CHECK(arguments.rsize >= HUGE + count * sizeof(door_desc_t));
        CHECK_EQUAL(arguments.rbuf[0], 'h');
        CHECK_EQUAL(arguments.rbuf[HUGE - 1], 'h');
        CHECK_EQUAL(arguments.rbuf[arguments.rsize - 1], 0);
        if (count > 0) {
            CHECK_EQUAL((char *)arguments.desc_ptr - arguments.rbuf, (HUGE + 23) / 24 * 24);
            CHECK_EQUAL(close(arguments.desc_ptr->d_data.d_desc.d_descriptor), 0);
        }
        memset(arguments.rbuf, 'w', arguments.rsize);
        CHECK_EQUAL(munmap(arguments.rbuf, arguments.rsize), 0);
        before = round == 1 ? mappings() : before;
    }
    CHECK(!mappings_are_ours() || mappings() <= before + 4); /* a thread's stack, perhaps */
    static char room[HUGE]; /* in a buffer of the client's own */
    size_t size = 0;
    CHECK_EQUAL(call(door, NULL, 0, room, HUGE, &size), 0);
    CHECK_EQUAL(size, HUGE);
    CHECK_EQUAL(room[HUGE - 1], 'h');
}

static void door_large_and_small_in_turn(void) {
    int door = door_create(order_procedure, NULL, 0), maps = 0;
    struct {
        struct order order;
        char padding[300000];
    } *request = calloc(1, sizeof *request);
    for (int i = 0; i < 400; i++) {
        bool large = i % 100 < 3;
        size_t size = large ? sizeof *request : sizeof request->order;
        request->order = (struct order){large ? 500000 + (size_t)i : 10, (char)i};
        door_arg_t arguments = {.data_ptr = (char *)request, .data_size = size};
        CHECK_EQUAL(door_call(door, &arguments), 0);
        CHECK_EQUAL(arguments.data_size, request->order.reply);
        CHECK(arguments.data_ptr[0] == (char)i && arguments.data_ptr[arguments.data_size - 1] == (char)i);
        CHECK_EQUAL(munmap(arguments.rbuf, arguments.rsize), 0);
        if (i == 99) {
            maps = mappings();
        }
    }
    CHECK(!mappings_are_ours() || mappings() <= maps + 10);
    free(request);
}

static void door_B18_arguments_that_cannot_be_written(void) {
    int door = door_create(order_procedure, NULL, 0);
    struct order order = {5, 'x'};
    door_arg_t *arguments = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *arguments = (door_arg_t){.data_ptr = (char *)&order, .data_size = sizeof order};
    CHECK_EQUAL(mprotect(arguments, 4096, PROT_READ), 0);
    CHECK_ERROR(door_call(door, arguments), EFAULT);
}

/* Refuses to be fooled by a caller that wants no results. */
static atomic_int return_error;
static int gate[2];

static void stubborn_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)descriptors, (void)count;
    return_error = door_return("x", 1, NULL, 0) == -1 ? errno : 0;
    send_byte(gate[1], 'g');
    receive_byte(gate[0]);
    door_return(NULL, 0, NULL, 0);
}

static void door_D6(void) {
    CHECK_EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, gate), 0);
    int door = door_create(stubborn_procedure, NULL, 0);
    send_byte(gate[1], 'x'); /* for the procedure's receive_byte */
    CHECK_EQUAL(door_call(door, NULL), 0);
    CHECK_EQUAL(return_error, E2BIG);
}

static void faulty_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)descriptors, (void)count;
    int fd = open("/dev/null", O_RDONLY);
    door_desc_t entries[2];
    memset(entries, 0, sizeof entries);
    entries[0].d_attributes = entries[1].d_attributes = DOOR_DESCRIPTOR | DOOR_RELEASE;
    entries[0].d_data.d_desc.d_descriptor = fd;
    entries[1].d_data.d_desc.d_descriptor = 9999;
    int result[4] = {0};
    result[0] = door_return((char *)8, 10, NULL, 0) == -1 ? errno : 0;           /* R3 */
    result[1] = door_return("x", 1, entries, 2) == -1 ? errno : 0;                /* R4 */
    result[2] = fcntl(fd, F_GETFD) < 0 ? errno : 0;
    result[3] = door_return("x", 1, (door_desc_t *)8, 1) == -1 ? errno : 0;
    door_return((char *)result, sizeof result, NULL, 0);
}

static void door_R3_R4(void) {
    int door = door_create(faulty_procedure, NULL, 0), result[4];
    CHECK_EQUAL(call(door, NULL, 0, result, sizeof result, NULL), 0);
    CHECK_EQUAL(result[0], EFAULT);
    CHECK_EQUAL(result[1], EINVAL);
    CHECK_EQUAL(result[2], EBADF);
    CHECK_EQUAL(result[3], EFAULT);
}

static void leaving_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)descriptors, (void)count;
}

static void door_R6_falling_off(void) {
    int door = door_create(leaving_procedure, NULL, 0);
    for (int i = 0; i < 5; i++) {
        CHECK_ERROR(call(door, NULL, 0, NULL, 0, NULL), EINTR);
    }
}

static void *plain_thread(void *unused) {
    (void)unused;
    door_return(NULL, 0, NULL, 0);
    return NULL;
}

static void no_threads(door_info_t *info) {
    (void)info;
}

static void door_R7(void) {
    pthread_t thread;
    int number = 4, result = 0;
    door_server_create(no_threads);
    int door = door_create(double_procedure, NULL, 0);
    CHECK_EQUAL(pthread_create(&thread, NULL, plain_thread, NULL), 0);
    CHECK_EQUAL(call(door, &number, sizeof number, &result, sizeof result, NULL), 0);
    CHECK_EQUAL(result, 8);
}

static void deep(int depth, char *data) {
    volatile char pad[1000];
    pad[0] = data[0];
    if (depth > 0) {
        deep(depth - 1, data);
    }
    door_return(data, 4, NULL, 0);
    pad[1] = pad[0];
}

static void deep_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)size, (void)descriptors, (void)count;
    deep(20, data);
}

static void door_R_at_any_depth(void) {
    int door = door_create(deep_procedure, NULL, 0);
    for (int i = 0; i < 2000; i++) {
        int result = -1;
        CHECK_EQUAL(call(door, &i, sizeof i, &result, sizeof result, NULL), 0);
        CHECK_EQUAL(result, i);
    }
}

static void door_E1_E2(void) {
    int pair[2], ends[2];
    CHECK_EQUAL(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    CHECK_EQUAL(pipe(ends), 0);
    CHECK_ERROR(door_call(-1, NULL), EBADF);
    CHECK_ERROR(door_call(9999, NULL), EBADF);
    CHECK_ERROR(door_call(pair[0], NULL), EBADF);
    CHECK_ERROR(door_call(ends[0], NULL), EBADF);
    door_info_t info;
    CHECK_ERROR(door_info(pair[0], &info), EBADF);
    CHECK_ERROR(door_info(ends[0], &info), EBADF);
    CHECK_ERROR(door_info(DOOR_QUERY, &info), EBADF);
    CHECK_EQUAL(send(pair[1], "something", 9, 0), 9);
    CHECK_ERROR(door_call(pair[0], NULL), EBADF);
    CHECK_EQUAL(is_door(pair[0]), 0);
    CHECK_ERROR(is_door(-1), EBADF);
    CHECK_ERROR(door_revoke(-1), EBADF);
    CHECK_ERROR(door_revoke(ends[0]), EBADF);
}

static const struct test tests[] = {
    TEST(door_L1),          TEST(door_D3),         TEST(door_D3_between_processes),
    TEST(door_B1_to_B6),    TEST(door_B7_B16_B18), TEST(door_D8_D9_D10),
    TEST(door_D7_D14_D15),  TEST(door_D11),        TEST(door_D12),
    TEST(door_D13),         TEST(door_D6_regions_are_kept), TEST(door_D6),         TEST(door_R3_R4),
    TEST(door_R6_falling_off), TEST(door_R7),      TEST(door_R_at_any_depth),
    TEST(door_E1_E2),       TEST(door_B8_huge),
    TEST(door_large_and_small_in_turn), TEST(door_B18_arguments_that_cannot_be_written),
};
TEST_MAIN(tests)
