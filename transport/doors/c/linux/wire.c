/* Datagrams: a fixed header and up to 253 descriptors, which is what one SCM_RIGHTS message can carry. */
#include "internal.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#ifndef SCM_PIDFD
#define SCM_PIDFD 4
#endif

/*
 * Room for what is expected, and for what a peer can add: a socket that came from it has the options that it chose, also
 * later, and each option adds a control message to every datagram. Without that room a peer could make it
 * look as if our descriptor table were full.
 */
union ancillary {
    char bytes[CMSG_SPACE(sizeof(int) * DESCRIPTORS_A_DATAGRAM) + CMSG_SPACE(sizeof(struct ucred)) + 2048];
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
        closing_close(receipt->fds[i], &receipt->payer);
    }
    receipt->count = 0;
    if (receipt->pidfd >= 0) {
        close(receipt->pidfd);
    }
    receipt->pidfd = -1;
}

/*
 * Takes descriptors and credentials, and a pidfd if we have asked for one, out of the control messages. False when there
 * is anything else, as there is when the peer has set SO_PASSPIDFD, SO_PASSSEC or SO_TIMESTAMP on the socket; a descriptor
 * in it is closed.
 */
static bool take_control(struct msghdr *header, struct receipt *receipt, bool with_pidfd) {
    bool expected = true;
    for (struct cmsghdr *item = CMSG_FIRSTHDR(header); item != NULL; item = CMSG_NXTHDR(header, item)) {
        int level = item->cmsg_level, type = item->cmsg_type;
        size_t size = item->cmsg_len - CMSG_LEN(0);
        if (level == SOL_SOCKET && (type == SCM_RIGHTS || type == SCM_PIDFD)) {
            size_t count = size / sizeof(int);
            for (size_t i = 0; i < count; i++) {
                int fd;
                memcpy(&fd, CMSG_DATA(item) + i * sizeof fd, sizeof fd);
                if (type == SCM_RIGHTS && receipt->count < DESCRIPTORS_A_DATAGRAM) {
                    receipt->fds[receipt->count++] = fd;
                } else if (type == SCM_PIDFD && with_pidfd && receipt->pidfd < 0) {
                    receipt->pidfd = fd;
                } else if (fd >= 0) { /* a pidfd for which there was no room is an errno */
                    closing_close(fd, &receipt->payer);
                }
            }
            expected = expected && (type == SCM_RIGHTS || with_pidfd);
        } else if (level == SOL_SOCKET && type == SCM_CREDENTIALS && size == sizeof receipt->credentials) {
            memcpy(&receipt->credentials, CMSG_DATA(item), sizeof receipt->credentials);
            receipt->credentials.uid = user_known(receipt->credentials.uid);
            receipt->credentials.gid = group_known(receipt->credentials.gid);
            receipt->credentialed = true;
            if (with_pidfd) {
                receipt->payer = (struct closing_payer){receipt->credentials.uid, 0, receipt->credentials.pid};
            }
        } else {
            expected = false;
        }
    }
    return expected;
}

static int receive(int fd, const struct closing_payer *payer, struct message *message, struct receipt *receipt, int flags,
                   bool with_pidfd) {
    union ancillary ancillary;
    struct iovec vector = {message, sizeof *message};
    struct msghdr header = {.msg_iov = &vector,
                            .msg_iovlen = 1,
                            .msg_control = ancillary.bytes,
                            .msg_controllen = sizeof ancillary.bytes};
    ssize_t length;
    int resets = 0;
    receipt->count = 0;
    receipt->pidfd = -1;
    receipt->payer = *payer;
    receipt->truncated = receipt->credentialed = false;
    do {
        length = recvmsg(fd, &header, flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        /* A peer that closed with something unread is reported once, before what it had sent. */
    } while (length < 0 && (errno == EINTR || (errno == ECONNRESET && resets++ == 0)));
    if (length < 0) {
        return errno;
    }
    bool expected = take_control(&header, receipt, with_pidfd);
    if (header.msg_flags & MSG_CTRUNC) {
        receipt->truncated = true;
        receipt_close(receipt);
    }
    if (length == 0) {
        receipt_close(receipt);
        return EPIPE;
    }
    if (!expected || length != sizeof *message || (header.msg_flags & MSG_TRUNC) || message->magic != WIRE_MAGIC ||
        message->abi != WIRE_ABI) {
        receipt_close(receipt);
        return EBADMSG;
    }
    return 0;
}

int message_receive(int fd, const struct closing_payer *payer, struct message *message, struct receipt *receipt, int flags) {
    return receive(fd, payer, message, receipt, flags, false);
}

int message_receive_identified(int fd, struct message *message, struct receipt *receipt) {
    const struct closing_payer unknown = {-1, 0, -1};
    return receive(fd, &unknown, message, receipt, 0, true);
}
