/*
 * A target for libFuzzer, and for driver.c where there is none: one datagram after the other, without a socket (kernel.h).
 *
 * What an input is made of: a byte for how they are received, then for each datagram a byte for its other control messages, one for
 * the number of its descriptors, one for its length and what is wrong with its beginning, and as many bytes as that says. Whatever
 * comes, a receiver that has closed its receipt has no descriptor left, and one that was refused has none before.
 */
#include "kernel.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void receive(bool identified, const uint8_t *bytes, size_t length) {
    static const struct closing_payer nobody = {-1, 0, -1};
    struct message message;
    struct receipt receipt;
    memset(&message, 0xa5, sizeof message);
    int error = identified ? message_receive_identified(3, &message, &receipt) : message_receive(3, &nobody, &message, &receipt, 0);
    check(error == 0 || (receipt.count == 0 && receipt.pidfd < 0));
    check(receipt.count <= DESCRIPTORS_A_DATAGRAM && !(receipt.truncated && receipt.count > 0));
    check(identified || receipt.pidfd < 0);
    check(kernel_open_count() == receipt.count + (receipt.pidfd >= 0));
    check(error != 0 || (length == sizeof message && memcmp(&message, bytes, length) == 0));
    for (unsigned i = 0; i < receipt.count; i++) {
        check(kernel_is_open(receipt.fds[i]));
    }
    receipt_close(&receipt);
    check(kernel_open_count() == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct message ours = {.magic = WIRE_MAGIC, .abi = WIRE_ABI};
    kernel_begin();
    for (size_t at = 1; at + 3 <= size;) {
        uint8_t datagram[sizeof ours + 1] = {0};
        unsigned extra = data[at], files = data[at + 1] < 250 ? data[at + 1] % 8 : data[at + 1], form = data[at + 2];
        size_t length = form & 0x80 ? form & 0x3f : sizeof ours + ((form & 0x60) == 0x60);
        at += 3;
        memcpy(datagram, data + at, size - at < length ? size - at : length);
        at += size - at < length ? size - at : length;
        if (!(form & 0x10) && length >= sizeof ours) { /* or most would be refused for not being ours */
            memcpy(datagram, &ours, offsetof(struct message, type));
        }
        kernel_queue(datagram, length, files, extra & 0x3f, (extra & 0xc0) == 0xc0);
        receive(data[0] & 1, datagram, length);
    }
    return 0;
}
