/*
 * A target for libFuzzer, and for driver.c where there is none: what one hostile datagram does to who receives it.
 *
 * The first bytes of an input choose the options of the receiving socket, how it is read, and the control messages; the rest is
 * the datagram. Whatever comes, the receiver keeps no descriptor, and reports no more of them than fit.
 */
#include "../closing.h"
#include "../linux/wire.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The lowest number that is free when everything is closed that threads have been left to close: one that is left takes it. Whoever
 * waits for longer hears it from outside. */
static int lowest_free(void) {
    while (closing_unclosed() > 0) { /* asleep: they need a processor */
        nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
    }
    int fd = fcntl(0, F_DUPFD_CLOEXEC, 0);
    close(fd);
    return fd;
}

static int memory = -1; /* closed at once, by whoever gets a copy; what a thread has to close takes ten times as long */

static void send_datagram(int fd, const uint8_t *data, size_t size, unsigned files, unsigned kind) {
    union {
        char bytes[1100];
        struct cmsghdr aligned;
    } control;
    struct iovec vector = {(void *)(uintptr_t)data, size};
    struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1};
    int numbers[254];
    for (unsigned i = 0; i < files; i++) {
        numbers[i] = kind == 254 ? (int)(i % 2) : memory;
    }
    if (files > 0) {
        memset(&control, 0, sizeof control);
        header.msg_control = control.bytes;
        header.msg_controllen = CMSG_SPACE(sizeof(int) * files);
        struct cmsghdr *item = CMSG_FIRSTHDR(&header);
        item->cmsg_level = SOL_SOCKET;
        item->cmsg_type = kind == 255 ? 77 : SCM_RIGHTS;
        item->cmsg_len = CMSG_LEN(sizeof(int) * files);
        memcpy(CMSG_DATA(item), numbers, sizeof(int) * files);
    }
    sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const int options[] = {76 /* SO_PASSPIDFD */, SO_PASSCRED, SO_PASSSEC, SO_TIMESTAMP, SO_TIMESTAMPNS};
    static const struct message ours = {.magic = WIRE_MAGIC, .abi = WIRE_ABI};
    int pair[2], on = 1;
    struct message message;
    struct receipt receipt;
    if (memory < 0) {
        memory = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    }
    if (size < 4 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        return 0;
    }
    int before = lowest_free();
    for (unsigned i = 0; i < sizeof options / sizeof *options; i++) {
        if (data[0] & (1u << i)) {
            setsockopt(pair[0], SOL_SOCKET, options[i], &on, sizeof on);
        }
    }
    for (size_t at = 4; at <= size; at += sizeof message) {
        uint8_t datagram[sizeof message + 1] = {0}; /* a message, and a byte too many */
        size_t left = size - at < sizeof message ? size - at : sizeof message;
        memcpy(datagram, data + at, left);
        if (!(data[3] & 2) && left == sizeof message) { /* or most would be refused for not being ours, and all when the version changes */
            memcpy(datagram, &ours, offsetof(struct message, type));
        }
        send_datagram(pair[1], datagram, left + (left == sizeof message && (data[3] & 1)), data[1] % 40, data[2]);
        while ((data[0] & 0x80 ? message_receive_identified(pair[0], &message, &receipt)
                               : message_receive(pair[0], &(struct closing_payer){-1, 0, -1}, &message, &receipt, data[0] & 0x40 ? MSG_PEEK : 0)) == 0) {
            if (receipt.count > DESCRIPTORS_A_DATAGRAM || (receipt.truncated && receipt.count > 0)) {
                abort();
            }
            receipt_close(&receipt);
            if (data[0] & 0x40) {
                break;
            }
        }
        if (lowest_free() != before) {
            abort();
        }
    }
    close(pair[0]);
    close(pair[1]);
    return 0;
}
