/* Datagrams: a fixed header and up to 253 descriptors, which is what one SCM_RIGHTS message can carry. */
#include "wire.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

union ancillary {
    char bytes[CMSG_SPACE(sizeof(int) * DESCRIPTORS_A_DATAGRAM) + CMSG_SPACE(sizeof(struct ucred))];
    struct cmsghdr aligned;
};

int message_send(int fd, const struct message *message, const int *fds, unsigned count) {
    union ancillary ancillary;
    struct message copy = *message;
    struct iovec vector = {&copy, sizeof copy};
    struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1};
    copy.magic = WIRE_MAGIC;
    copy.abi = WIRE_ABI;
    if (count > 0) {
        header.msg_control = ancillary.bytes;
        header.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        memset(ancillary.bytes, 0, header.msg_controllen);
        struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof(int) * count);
        memcpy(CMSG_DATA(rights), fds, sizeof(int) * count);
    }
    while (sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        if (errno == ETOOMANYREFS) { /* the user's limit on descriptors in flight */
            return EMFILE;
        }
        if (errno != EINTR) {
            return errno;
        }
    }
    return 0;
}

void receipt_close(struct receipt *receipt) {
    for (unsigned i = 0; i < receipt->count; i++) {
        close(receipt->fds[i]);
    }
    receipt->count = 0;
}

int message_receive(int fd, struct message *message, struct receipt *receipt, int flags) {
    union ancillary ancillary;
    struct iovec vector = {message, sizeof *message};
    struct msghdr header = {.msg_iov = &vector,
                            .msg_iovlen = 1,
                            .msg_control = ancillary.bytes,
                            .msg_controllen = sizeof ancillary.bytes};
    ssize_t length;
    int resets = 0;
    receipt->count = 0;
    receipt->truncated = receipt->credentialed = false;
    do {
        length = recvmsg(fd, &header, flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        /* A peer that closed with something unread is reported once, before what it had sent. */
    } while (length < 0 && (errno == EINTR || (errno == ECONNRESET && resets++ == 0)));
    if (length < 0) {
        return errno;
    }
    for (struct cmsghdr *item = CMSG_FIRSTHDR(&header); item != NULL; item = CMSG_NXTHDR(&header, item)) {
        if (item->cmsg_level != SOL_SOCKET) {
            continue;
        }
        if (item->cmsg_type == SCM_RIGHTS) {
            unsigned count = (unsigned)((item->cmsg_len - CMSG_LEN(0)) / sizeof(int));
            memcpy(receipt->fds + receipt->count, CMSG_DATA(item), sizeof(int) * count);
            receipt->count += count;
        } else if (item->cmsg_type == SCM_CREDENTIALS) {
            memcpy(&receipt->credentials, CMSG_DATA(item), sizeof receipt->credentials);
            receipt->credentialed = true;
        }
    }
    if (header.msg_flags & MSG_CTRUNC) {
        receipt->truncated = true;
        receipt_close(receipt);
    }
    if (length == 0) {
        receipt_close(receipt);
        return EPIPE;
    }
    if (length != sizeof *message || (header.msg_flags & MSG_TRUNC) || message->magic != WIRE_MAGIC ||
        message->abi != WIRE_ABI) {
        receipt_close(receipt);
        return EBADMSG;
    }
    return 0;
}
