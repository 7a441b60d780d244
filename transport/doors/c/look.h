/*
 * What a descriptor that came from others leads to, without asking whoever serves it.
 *
 * fstat(2) of a file in a user's own file system waits for that user. /proc/self/fdinfo waits for whoever uses an epoll, and
 * makes a line of every lock of a file. What the kernel remembers of an inode costs nothing.
 */
#ifndef ENFILADE_LOOK_H
#define ENFILADE_LOOK_H

struct look {
    unsigned long long mount; /* 0 where the system does not tell */
    unsigned long long device, inode, links;
    unsigned mode, user;
};

/* 0, or -1 with errno: EACCES of a file whose file system shows itself to its own user alone. */
int look_at(int fd, struct look *look);

#endif
