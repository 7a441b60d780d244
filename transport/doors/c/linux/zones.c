/*
 * Zones by namespaces: two processes are in the same zone when their user, mount and pid namespaces are the
 * same. The process's own zone is the global one; others are numbered in the order in which they are met and
 * named after their namespaces, so a name lasts as long as its zone, and a number as long as this process.
 */
#include "zones.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct zone {
    ino_t namespaces[3];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct zone *zones;
static int zone_count;

static bool read_zone(const char *process, struct zone *zone) {
    static const char *const kinds[] = {"user", "mnt", "pid"};
    for (int i = 0; i < 3; i++) {
        char path[64];
        struct stat status;
        snprintf(path, sizeof path, "/proc/%s/ns/%s", process, kinds[i]);
        if (stat(path, &status) < 0) {
            return false;
        }
        zone->namespaces[i] = status.st_ino;
    }
    return true;
}

zoneid_t zone_of_process(pid_t pid) {
    char text[16];
    struct zone own, other;
    snprintf(text, sizeof text, "%d", (int)pid);
    if (!read_zone("self", &own) || !read_zone(text, &other)) {
        return -1;
    }
    if (memcmp(&own, &other, sizeof own) == 0) {
        return GLOBAL_ZONEID;
    }
    zoneid_t id = -1;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < zone_count && id < 0; i++) {
        if (memcmp(&zones[i], &other, sizeof other) == 0) {
            id = MIN_USERZONEID + i;
        }
    }
    if (id < 0 && zone_count < MAX_ZONEID) {
        struct zone *more = realloc(zones, (size_t)(zone_count + 1) * sizeof *zones);
        if (more != NULL) {
            zones = more;
            zones[zone_count] = other;
            id = MIN_USERZONEID + zone_count++;
        }
    }
    pthread_mutex_unlock(&lock);
    return id;
}

static bool name_of(zoneid_t id, char name[ZONENAME_MAX]) {
    if (id == GLOBAL_ZONEID) {
        strcpy(name, GLOBAL_ZONENAME);
        return true;
    }
    pthread_mutex_lock(&lock);
    bool known = id >= MIN_USERZONEID && id - MIN_USERZONEID < zone_count;
    if (known) {
        const ino_t *ids = zones[id - MIN_USERZONEID].namespaces;
        snprintf(name, ZONENAME_MAX, "ns-%lx-%lx-%lx", (unsigned long)ids[0], (unsigned long)ids[1],
                 (unsigned long)ids[2]);
    }
    pthread_mutex_unlock(&lock);
    return known;
}

zoneid_t getzoneid(void) {
    return GLOBAL_ZONEID;
}

zoneid_t getzoneidbyname(const char *name) {
    char known[ZONENAME_MAX];
    if (name == NULL) {
        return getzoneid();
    }
    if (!memory_readable(name, 1)) {
        errno = EFAULT;
        return -1;
    }
    if (strnlen(name, ZONENAME_MAX) == ZONENAME_MAX) {
        errno = ENAMETOOLONG;
        return -1;
    }
    for (zoneid_t id = GLOBAL_ZONEID; name_of(id, known); id++) {
        if (strcmp(name, known) == 0) {
            return id;
        }
    }
    errno = EINVAL;
    return -1;
}

ssize_t getzonenamebyid(zoneid_t id, char *buffer, size_t length) {
    char name[ZONENAME_MAX];
    if (!name_of(id, name)) {
        errno = EINVAL;
        return -1;
    }
    size_t needed = strlen(name) + 1;
    if (length > 0) {
        size_t copied = needed < length ? needed : length;
        if (!memory_writable(buffer, copied)) {
            errno = EFAULT;
            return -1;
        }
        memcpy(buffer, name, copied);
        buffer[copied - 1] = 0;
    }
    return (ssize_t)needed;
}
