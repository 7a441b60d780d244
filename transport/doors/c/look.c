/* See look.h. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "look.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#ifdef __linux__
#include <sys/sysmacros.h>
#endif

static int ask(int fd, struct look *look) {
    struct stat status;
    if (fstat(fd, &status) < 0) {
        return -1;
    }
    *look = (struct look){.device = status.st_dev, .inode = status.st_ino, .links = status.st_nlink,
                          .mode = status.st_mode, .user = status.st_uid};
    return 0;
}

#if defined __linux__ && defined STATX_MNT_ID
int look_at(int fd, struct look *look) {
    struct statx status;
    if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_BASIC_STATS | STATX_MNT_ID, &status) < 0) {
        return errno == ENOSYS ? ask(fd, look) : -1; /* before Linux 4.11 */
    }
    *look = (struct look){.mount = status.stx_mask & STATX_MNT_ID ? status.stx_mnt_id : 0,
                          .device = makedev(status.stx_dev_major, status.stx_dev_minor),
                          .inode = status.stx_ino,
                          .links = status.stx_nlink,
                          .mode = status.stx_mode,
                          .user = status.stx_uid};
    return 0;
}
#else
int look_at(int fd, struct look *look) {
    return ask(fd, look);
}
#endif
