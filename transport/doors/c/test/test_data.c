/* Calls with data: groups D and L of the conformance cases. */
#include "harness.h"

#include <stddef.h>

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

static const struct test tests[] = {TEST(door_L1), TEST(door_D3), TEST(door_D3_between_processes)};
TEST_MAIN(tests)
