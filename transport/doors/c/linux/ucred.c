/*
 * Credentials of callers.
 *
 * Identity comes from the kernel: effective ids, groups and pid as of the making of the channel's socket, real
 * ids as of the sending of ATTACH. The library makes a new channel when the effective ids change, so a client that
 * does not cheat shows its present ones, and one that cheats can only keep what it rightfully had. What /proc
 * says (saved ids, capabilities) is information, never identity: a client may exec a set-uid program while its
 * request is under way.
 */
#include "internal.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "zones.h"

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

/* A credential has one size, so that any buffer of ucred_size() bytes can be reused; a caller in more groups
 * than this has none to show, and checks on groups fail closed. */
enum { GROUPS_MAX = 1024 };

struct priv_set {
    unsigned long long mask;
};

struct ucred_s {
    pid_t pid;
    uint64_t process;
    uid_t euid, ruid, suid;
    gid_t egid, rgid, sgid;
    zoneid_t zone;
    bool informed; /* suid, sgid and the privileges are known */
    struct priv_set privileges[4]; /* effective, permitted, inheritable, limit */
    int group_count;               /* -1: unknown */
    gid_t groups[GROUPS_MAX];
};

struct particulars {
    uid_t suid;
    gid_t sgid;
    uint64_t capabilities[4];
};

static bool read_particulars(pid_t pid, struct particulars *particulars, uid_t ids[3], gid_t group_ids[3]) {
    static const char *const names[] = {"CapEff:", "CapPrm:", "CapInh:", "CapBnd:"};
    char path[64], line[256];
    int found = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    while (fgets(line, sizeof line, file) != NULL) {
        unsigned id[3];
        unsigned long long mask;
        if (sscanf(line, "Uid: %u %u %u", &id[0], &id[1], &id[2]) == 3) {
            ids[0] = user_known(id[0]), ids[1] = user_known(id[1]), ids[2] = particulars->suid = user_known(id[2]);
            found |= 1;
        } else if (sscanf(line, "Gid: %u %u %u", &id[0], &id[1], &id[2]) == 3) {
            group_ids[0] = group_known(id[0]), group_ids[1] = group_known(id[1]);
            group_ids[2] = particulars->sgid = group_known(id[2]);
            found |= 2;
        }
        for (int i = 0; i < 4; i++) {
            size_t length = strlen(names[i]);
            if (strncmp(line, names[i], length) == 0 && sscanf(line + length, "%llx", &mask) == 1) {
                particulars->capabilities[i] = mask;
                found |= 4 << i;
            }
        }
    }
    fclose(file);
    return found == 0x3f;
}

/* What /proc says about the peer of a socket, if the process still exists after the reading. */
static void describe_peer(struct channel *channel) {
    struct particulars particulars;
    uid_t ids[3];
    gid_t group_ids[3];
    int pidfd = -1;
    socklen_t length = sizeof pidfd;
    if (channel->described) {
        return;
    }
    channel->zone = -1;
    if (getsockopt(channel->out, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &length) < 0) {
        pidfd = channel->pid > 0 ? (int)syscall(SYS_pidfd_open, channel->pid, 0) : -1;
    }
    if (pidfd < 0 || channel->pid <= 0) {
        if (pidfd >= 0) {
            close(pidfd);
        }
        return;
    }
    bool read = read_particulars(channel->pid, &particulars, ids, group_ids);
    zoneid_t zone = zone_of_process(channel->pid);
    struct pollfd entry = {.fd = pidfd, .events = POLLIN};
    if (poll(&entry, 1, 0) == 0) {
        channel->zone = zone;
        if (read) {
            channel->described = true;
            channel->suid = particulars.suid;
            channel->sgid = particulars.sgid;
            memcpy(channel->capabilities, particulars.capabilities, sizeof channel->capabilities);
        }
    }
    close(pidfd);
}

size_t ucred_size(void) {
    return sizeof(ucred_t);
}

void ucred_free(ucred_t *credentials) {
    free(credentials);
}

static ucred_t *allocate(int groups) {
    ucred_t *credentials = calloc(1, sizeof *credentials);
    if (credentials != NULL) {
        credentials->group_count = groups <= GROUPS_MAX ? groups : -1;
        credentials->zone = -1;
    }
    return credentials;
}

static ucred_t *own_credentials(void) {
    struct particulars particulars;
    uid_t ids[3];
    gid_t group_ids[3];
    int count = getgroups(0, NULL);
    ucred_t *credentials = allocate(count);
    if (credentials == NULL) {
        return NULL;
    }
    if (credentials->group_count > 0) {
        credentials->group_count = getgroups(count, credentials->groups);
    }
    getresuid(&credentials->ruid, &credentials->euid, &credentials->suid);
    getresgid(&credentials->rgid, &credentials->egid, &credentials->sgid);
    credentials->pid = getpid();
    credentials->zone = getzoneid();
    if (read_particulars(getpid(), &particulars, ids, group_ids)) {
        credentials->informed = true;
        for (int i = 0; i < 4; i++) {
            credentials->privileges[i].mask = particulars.capabilities[i];
        }
    }
    return credentials;
}

static ucred_t *peer_credentials(struct channel *channel) {
    socklen_t length = 0;
    int count = -1;
    gid_t none;
    if (getsockopt(channel->out, SOL_SOCKET, SO_PEERGROUPS, &none, &length) == 0) {
        count = 0;
    } else if (errno == ERANGE) {
        count = (int)(length / sizeof(gid_t));
    }
    ucred_t *credentials = allocate(count);
    if (credentials == NULL) {
        return NULL;
    }
    if (credentials->group_count > 0 &&
        getsockopt(channel->out, SOL_SOCKET, SO_PEERGROUPS, credentials->groups, &length) < 0) {
        credentials->group_count = -1;
    }
    for (int i = 0; i < credentials->group_count; i++) {
        credentials->groups[i] = group_known(credentials->groups[i]);
    }
    describe_peer(channel);
    credentials->pid = channel->pid;
    credentials->process = channel->process;
    credentials->euid = channel->euid;
    credentials->egid = channel->egid;
    credentials->ruid = channel->ruid;
    credentials->rgid = channel->rgid;
    credentials->zone = channel->zone;
    credentials->informed = channel->described;
    credentials->suid = channel->suid;
    credentials->sgid = channel->sgid;
    for (int i = 0; i < 4; i++) {
        credentials->privileges[i].mask = channel->capabilities[i];
    }
    return credentials;
}

/* The invocation whose caller is asked about: EINVAL if there is none or it has gone. */
static struct invocation *current_invocation(void) {
    struct server_thread *thread = this_server_thread;
    struct invocation *invocation = thread ? &thread->invocation : NULL;
    if (invocation == NULL || !invocation->active ||
        (invocation->channel != NULL && (thread->caller_gone || socket_hung_up(invocation->channel->fd)))) {
        errno = EINVAL;
        return NULL;
    }
    return invocation;
}

int door_ucred(ucred_t **info) {
    struct invocation *invocation = current_invocation();
    if (invocation == NULL) {
        return -1;
    }
    if (!memory_writable(info, sizeof *info)) {
        errno = EFAULT;
        return -1;
    }
    ucred_t *credentials = invocation->unreferenced ? own_credentials() : peer_credentials(invocation->channel);
    if (credentials == NULL) {
        errno = ENOMEM;
        return -1;
    }
    if (invocation->unreferenced) {
        credentials->pid = 0;
    }
    if (*info != NULL) {
        memcpy(*info, credentials, sizeof **info);
        free(credentials);
        return 0;
    }
    *info = credentials;
    return 0;
}

int door_cred(door_cred_t *info) {
    struct invocation *invocation = current_invocation();
    if (invocation == NULL) {
        return -1;
    }
    if (!memory_writable(info, sizeof *info)) {
        errno = EFAULT;
        return -1;
    }
    struct channel *channel = invocation->channel;
    *info = channel == NULL
                ? (door_cred_t){.dc_euid = geteuid(), .dc_egid = getegid(), .dc_ruid = getuid(), .dc_rgid = getgid()}
                : (door_cred_t){.dc_euid = channel->euid,
                                .dc_egid = channel->egid,
                                .dc_ruid = channel->ruid,
                                .dc_rgid = channel->rgid,
                                .dc_pid = channel->pid};
    return 0;
}

ucred_t *ucred_get(pid_t pid) {
    struct particulars particulars;
    uid_t ids[3];
    gid_t group_ids[3];
    if (pid == -1 || pid == getpid()) { /* P_MYID */
        return own_credentials();
    }
    if (!read_particulars(pid, &particulars, ids, group_ids)) {
        errno = ESRCH;
        return NULL;
    }
    ucred_t *credentials = allocate(-1);
    if (credentials != NULL) {
        credentials->pid = pid;
        credentials->ruid = ids[0], credentials->euid = ids[1], credentials->suid = ids[2];
        credentials->rgid = group_ids[0], credentials->egid = group_ids[1], credentials->sgid = group_ids[2];
        credentials->zone = zone_of_process(pid);
        credentials->informed = true;
        for (int i = 0; i < 4; i++) {
            credentials->privileges[i].mask = particulars.capabilities[i];
        }
    }
    return credentials;
}

static int absent(void) {
    errno = EINVAL;
    return -1;
}

uid_t ucred_geteuid(const ucred_t *credentials) {
    return credentials->euid;
}

uid_t ucred_getruid(const ucred_t *credentials) {
    return credentials->ruid;
}

uid_t ucred_getsuid(const ucred_t *credentials) {
    return credentials->informed ? credentials->suid : (uid_t)absent();
}

gid_t ucred_getegid(const ucred_t *credentials) {
    return credentials->egid;
}

gid_t ucred_getrgid(const ucred_t *credentials) {
    return credentials->rgid;
}

gid_t ucred_getsgid(const ucred_t *credentials) {
    return credentials->informed ? credentials->sgid : (gid_t)absent();
}

int ucred_getgroups(const ucred_t *credentials, const gid_t **groups) {
    if (credentials->group_count < 0) {
        return absent();
    }
    *groups = credentials->groups;
    return credentials->group_count;
}

pid_t ucred_getpid(const ucred_t *credentials) {
    return credentials->pid;
}

uint64_t door_ucred_process(const ucred_t *credentials) {
    return credentials->process;
}

projid_t ucred_getprojid(const ucred_t *credentials) {
    (void)credentials; /* Linux has no projects */
    return absent();
}

zoneid_t ucred_getzoneid(const ucred_t *credentials) {
    return credentials->zone >= 0 ? credentials->zone : absent();
}

uint_t ucred_getpflags(const ucred_t *credentials, uint_t flags) {
    (void)credentials, (void)flags; /* Linux has no process privilege flags */
    return (uint_t)absent();
}

const priv_set_t *ucred_getprivset(const ucred_t *credentials, priv_ptype_t type) {
    static const priv_ptype_t types[] = {PRIV_EFFECTIVE, PRIV_PERMITTED, PRIV_INHERITABLE, PRIV_LIMIT};
    for (int i = 0; i < 4 && credentials->informed && type != NULL; i++) {
        if (strcmp(type, types[i]) == 0) {
            return &credentials->privileges[i];
        }
    }
    absent();
    return NULL;
}

unsigned long long priv_set_mask(const priv_set_t *set) {
    return set->mask;
}
