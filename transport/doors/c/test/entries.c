#include "entries.h"

enum { HIGH = 300 }; /* numbers from here on are nobody else's when they are free again */

door_desc_t entry(int fd, uint_t attributes) {
    door_desc_t made;
    memset(&made, 0, sizeof made);
    made.d_attributes = attributes;
    made.d_data.d_desc.d_descriptor = fd;
    return made;
}

int null_file(void) {
    int low = open("/dev/null", O_RDWR | O_CLOEXEC), fd = fcntl(low, F_DUPFD_CLOEXEC, HIGH);
    CHECK(low >= 0 && fd >= 0);
    close(low);
    return fd;
}

bool is_open(int fd) {
    return fcntl(fd, F_GETFD) >= 0;
}

int call_with(int door, door_desc_t *entries, uint_t count) {
    char result[64];
    door_arg_t arguments = {.desc_ptr = entries, .desc_num = count, .rbuf = result, .rsize = sizeof result};
    return door_call(door, &arguments) < 0 ? errno : 0;
}

uint_t attributes_of(int door) {
    door_info_t info;
    CHECK_EQUAL(door_info(door, &info), 0);
    return info.di_attributes;
}

door_id_t id_of(int door) {
    door_info_t info;
    CHECK_EQUAL(door_info(door, &info), 0);
    return info.di_uniquifier;
}

void closing_procedure(void *cookie, char *data, size_t size, door_desc_t *entries, uint_t count) {
    (void)cookie, (void)data, (void)size;
    for (uint_t i = 0; i < count; i++) {
        close(entries[i].d_data.d_desc.d_descriptor);
    }
    door_return(NULL, 0, NULL, 0);
}
