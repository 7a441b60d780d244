/* Zones and credentials: two zones, "global" (0) and "web" (3); the caller is this process. */
#include "mock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <ucred.h>
#include <unistd.h>
#include <zone.h>

#include "../zone_private.h"

static const struct {
    zoneid_t id;
    const char *name;
    unsigned long long unique;
} zones[] = {{0, GLOBAL_ZONENAME, 0}, {3, "web", 41}};

#define ZONES (sizeof zones / sizeof zones[0])

zoneid_t getzoneid(void) {
    return GLOBAL_ZONEID;
}

zoneid_t getzoneidbyname(const char *name) {
    if (name == NULL) {
        return GLOBAL_ZONEID;
    }
    if (strlen(name) >= ZONENAME_MAX) {
        errno = ENAMETOOLONG;
        return -1;
    }
    for (size_t i = 0; i < ZONES; i++) {
        if (strcmp(zones[i].name, name) == 0) {
            return zones[i].id;
        }
    }
    errno = EINVAL;
    return -1;
}

ssize_t zone_getattr(zoneid_t id, int attribute, void *buffer, size_t size) {
    for (size_t i = 0; i < ZONES; i++) {
        if (zones[i].id != id) {
            continue;
        }
        if (attribute == ZONE_ATTR_UNIQID) {
            if (size >= sizeof zones[i].unique) {
                memcpy(buffer, &zones[i].unique, sizeof zones[i].unique);
            }
            return sizeof zones[i].unique;
        }
        const char *text = attribute == ZONE_ATTR_NAME ? zones[i].name : attribute == ZONE_ATTR_ROOT ? "/" : NULL;
        if (text == NULL) {
            break;
        }
        size_t needed = strlen(text) + 1;
        if (size > 0) {
            memcpy(buffer, text, needed < size ? needed : size);
            ((char *)buffer)[(needed < size ? needed : size) - 1] = '\0';
        }
        return (ssize_t)needed;
    }
    errno = EINVAL;
    return -1;
}

ssize_t getzonenamebyid(zoneid_t id, char *buffer, size_t size) {
    return zone_getattr(id, ZONE_ATTR_NAME, buffer, size);
}

int zone_list(zoneid_t *ids, uint_t *count) {
    for (size_t i = 0; i < ZONES && i < *count; i++) {
        ids[i] = zones[i].id;
    }
    *count = ZONES;
    return 0;
}

struct ucred_s {
    pid_t pid;
};

ucred_t *mock_ucred(pid_t pid) {
    ucred_t *cred = malloc(sizeof *cred);
    if (cred != NULL) {
        cred->pid = pid;
    }
    return cred;
}

ucred_t *ucred_get(pid_t pid) {
    return mock_ucred(pid);
}

void ucred_free(ucred_t *cred) {
    (void)mock_enter("ucred_free");
    free(cred);
}

size_t ucred_size(void) {
    return sizeof(struct ucred_s);
}

uid_t ucred_geteuid(const ucred_t *cred) {
    (void)cred;
    return geteuid();
}

uid_t ucred_getruid(const ucred_t *cred) {
    (void)cred;
    return getuid();
}

uid_t ucred_getsuid(const ucred_t *cred) {
    return ucred_geteuid(cred);
}

gid_t ucred_getegid(const ucred_t *cred) {
    (void)cred;
    return getegid();
}

gid_t ucred_getrgid(const ucred_t *cred) {
    (void)cred;
    return getgid();
}

gid_t ucred_getsgid(const ucred_t *cred) {
    return ucred_getegid(cred);
}

int ucred_getgroups(const ucred_t *cred, const gid_t **groups) {
    static const gid_t supplementary[] = {20, 21};
    (void)cred;
    *groups = supplementary;
    return 2;
}

pid_t ucred_getpid(const ucred_t *cred) {
    return cred->pid;
}

projid_t ucred_getprojid(const ucred_t *cred) {
    (void)cred;
    return 3; /* "default" */
}

uint_t ucred_getpflags(const ucred_t *cred, uint_t flags) {
    (void)cred, (void)flags;
    return 0;
}

const priv_set_t *ucred_getprivset(const ucred_t *cred, priv_ptype_t type) {
    (void)cred, (void)type;
    errno = EINVAL;
    return NULL;
}

zoneid_t ucred_getzoneid(const ucred_t *cred) {
    (void)cred;
    return 3;
}
