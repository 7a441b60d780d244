/*
 * Paths of names.
 *
 * An attached name is a bound socket, and the file that it covers lies beside it under a hidden name; the two
 * together are what tells a door's socket from any other. Everything is done relative to descriptors, so neither
 * the length of the path nor what others rename meanwhile matters.
 */
#include "internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* connect(2) wants write permission where opening a door wants read permission. */
mode_t mode_connectable(mode_t mode) {
    return (mode & 07777) | ((mode & 0444) >> 1);
}

/* Where what a name covers is kept, in the same directory. */
void path_covered(const char *name, char covered[256 + 16]) {
    snprintf(covered, 256 + 16, ".%s.door-orig", name);
}

static int split(struct place *place) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", place->inode);
    ssize_t length = readlink(link, place->path, sizeof place->path - 1);
    if (length <= 0 || length == sizeof place->path - 1) {
        return length < 0 ? errno : ENAMETOOLONG;
    }
    place->path[length] = 0;
    char *slash = strrchr(place->path, '/');
    if (slash == NULL || strlen(slash + 1) >= sizeof place->name) {
        return ENOENT;
    }
    strcpy(place->name, slash + 1);
    path_covered(place->name, place->covered);
    char kept = slash[1];
    slash[1] = 0;
    place->directory = open(place->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (place->directory < 0 && errno == EACCES) {
        place->directory = open(place->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    }
    slash[1] = kept;
    return place->directory < 0 ? errno : 0;
}

static int find(const char *path, int flags, struct place *place) {
    struct stat covered;
    place->inode = place->directory = -1;
    place->attached = false;
    place->path[0] = 0;
    place->inode = open(path, O_PATH | O_CLOEXEC | flags);
    if (place->inode < 0) {
        return errno;
    }
    int error = fstat(place->inode, &place->status) < 0 ? errno : 0;
    if (error == 0 && S_ISDIR(place->status.st_mode)) {
        return 0; /* nothing can be attached there, and it may be the root */
    }
    if (error == 0 && place->status.st_nlink == 0) {
        error = ESTALE; /* replaced or removed since it was opened */
    }
    error = error ? error : split(place);
    if (error != 0) {
        place_drop(place);
        return error;
    }
    place->attached = S_ISSOCK(place->status.st_mode) &&
                      fstatat(place->directory, place->covered, &covered, AT_SYMLINK_NOFOLLOW) == 0;
    return 0;
}

int place_find(const char *path, int flags, struct place *place) {
    int error = ESTALE;
    if (path == NULL || !memory_readable(path, 1)) {
        return path == NULL ? ENOENT : EFAULT;
    }
    for (int i = 0; i < 100 && error == ESTALE; i++) {
        error = find(path, flags, place);
    }
    return error;
}

void place_drop(struct place *place) {
    if (place->inode >= 0) {
        close(place->inode);
    }
    if (place->directory >= 0) {
        close(place->directory);
    }
    place->inode = place->directory = -1;
}
