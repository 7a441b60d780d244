/* Who calls: door_cred(3C), door_ucred(3C) and the ucred_get(3C) of processes. */
#include "blocking.h"

#include <grp.h>
#include <sys/syscall.h>

static struct {
    int called;
    door_cred_t cred;
    uid_t e, r, s;
    gid_t eg, rg, sg;
    int ngroups;
    gid_t groups[8];
    pid_t pid;
    zoneid_t zone;
    int proj, projerr;
    int reused, priv, badpriv, badprivret;
    unsigned long long mask;
} told;

static _Atomic(ucred_t *) kept;

static void creds(void *cookie, char *data, size_t size, door_desc_t *entries, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)entries, (void)count;
    ucred_t *uc = NULL, *again;
    const gid_t *groups;
    memset(&told, 0, sizeof told);
    told.called = 1;
    memset(&told.cred, 0xff, sizeof told.cred);
    if (door_cred(&told.cred) < 0 || door_ucred(&uc) < 0) {
        told.called = -errno;
        door_return((char *)&told, sizeof told, NULL, 0);
    }
    again = uc;
    told.reused = door_ucred(&again) == 0 && again == uc;
    told.e = ucred_geteuid(uc), told.r = ucred_getruid(uc), told.s = ucred_getsuid(uc);
    told.eg = ucred_getegid(uc), told.rg = ucred_getrgid(uc), told.sg = ucred_getsgid(uc);
    told.ngroups = ucred_getgroups(uc, &groups);
    for (int i = 0; i < told.ngroups && i < 8; i++) {
        told.groups[i] = groups[i];
    }
    told.pid = ucred_getpid(uc), told.zone = ucred_getzoneid(uc);
    errno = 0;
    told.proj = (int)ucred_getprojid(uc), told.projerr = errno;
    const priv_set_t *set = ucred_getprivset(uc, PRIV_EFFECTIVE);
    told.priv = set != NULL, told.mask = set ? priv_set_mask(set) : 0;
    errno = 0;
    told.badprivret = ucred_getprivset(uc, "Nonsense") == NULL;
    told.badpriv = errno;
    if (kept == NULL) {
        kept = uc;
    } else {
        ucred_free(uc);
    }
    door_return((char *)&told, sizeof told, NULL, 0);
}

static void cred_client(int socket, void *unused) {
    (void)unused;
    int d = receive_fd(socket);
    if (geteuid() == 0) {
        gid_t groups[3] = {7, 8, 9};
        CHECK_EQUAL(setgroups(3, groups), 0);
        CHECK_EQUAL(setresgid(11, 12, 13), 0);
        CHECK_EQUAL(setresuid(1001, 1002, 1003), 0);
    }
    CHECK_EQUAL(call(d, NULL, 0, &told, sizeof told, NULL), 0);
    CHECK_EQUAL(told.called, 1);
    CHECK_EQUAL(told.pid, getpid());
    CHECK_EQUAL(told.cred.dc_pid, getpid());
    CHECK_EQUAL(told.e, geteuid());
    CHECK_EQUAL(told.r, getuid());
    CHECK_EQUAL(told.eg, getegid());
    CHECK_EQUAL(told.rg, getgid());
    CHECK_EQUAL(told.cred.dc_euid, geteuid());
    CHECK_EQUAL(told.cred.dc_ruid, getuid());
    CHECK_EQUAL(told.cred.dc_egid, getegid());
    CHECK_EQUAL(told.cred.dc_rgid, getgid());
    CHECK_EQUAL(told.s, 1003);
    CHECK_EQUAL(told.sg, 13);
    CHECK_EQUAL(told.ngroups, 3);
    CHECK(told.groups[0] == 7 && told.groups[1] == 8 && told.groups[2] == 9);
    CHECK_EQUAL(told.reused, 1);
    CHECK_EQUAL(told.priv, 1);
    CHECK_EQUAL(told.mask, 0);
    CHECK_EQUAL(told.badprivret, 1);
    CHECK_EQUAL(told.badpriv, EINVAL);
    CHECK_EQUAL(told.proj, -1);
    CHECK_EQUAL(told.projerr, EINVAL);
}

static void door_credentials_of_a_client(void) {
    if (geteuid() != 0) {
        return;
    }
    struct child child = start_child(cred_client, NULL);
    int d = door_create(creds, NULL, 0);
    send_fd(child.socket, d);
    finish_child(child);
    CHECK_EQUAL(ucred_geteuid(kept), 1002); /* outlives the invocation and the client */
    CHECK_EQUAL(ucred_getpid(kept), child.pid);
    ucred_free(kept);
}

static void door_credentials_outside(void) {
    ucred_t *uc = NULL;
    door_cred_t cred;
    CHECK_ERROR(door_ucred(&uc), EINVAL);
    CHECK(uc == NULL);
    CHECK_ERROR(door_cred(&cred), EINVAL);
    make_pipes();
    int d = door_create(blocking_procedure, NULL, 0);
    struct caller c = {0};
    start_caller(&c, d);
    receive_byte(entered[0]);
    CHECK_ERROR(door_ucred(&uc), EINVAL); /* another thread serves, not this one */
    CHECK_ERROR(door_cred(&cred), EINVAL);
    send_byte(leave[1], 'l');
    CHECK_EQUAL(caller_error(&c), 0);
    CHECK_EQUAL(receive_byte(ran[0]), 0);
    ucred_free(NULL);
}

static void cred_null(void *cookie, char *data, size_t size, door_desc_t *entries, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)entries, (void)count;
    int r[3];
    r[0] = door_ucred(NULL) < 0 ? errno : 0;
    r[1] = door_cred(NULL) < 0 ? errno : 0;
    r[2] = door_ucred((ucred_t **)8) < 0 ? errno : 0;
    door_return((char *)r, sizeof r, NULL, 0);
}

static void door_credentials_into_nowhere(void) {
    int r[3], d = door_create(cred_null, NULL, 0);
    CHECK_EQUAL(call(d, NULL, 0, r, sizeof r, NULL), 0);
    CHECK_EQUAL(r[0], EFAULT);
    CHECK_EQUAL(r[1], EFAULT);
    CHECK_EQUAL(r[2], EFAULT);
}

struct as_user {
    int door;
    uid_t uid;
    uid_t seen;
    int error;
};

static void *calls_as(void *argument) {
    struct as_user *a = argument;
    if (a->uid) {
        CHECK_EQUAL(syscall(SYS_setresuid, -1, a->uid, -1), 0); /* this thread alone */
    }
    __typeof__(told) r;
    a->error = call(a->door, NULL, 0, &r, sizeof r, NULL) < 0 ? errno : 0;
    a->seen = r.e;
    return NULL;
}

static void door_each_thread_calls_as_itself(void) {
    if (geteuid() != 0) {
        return;
    }
    int d = door_create(creds, NULL, 0);
    struct as_user a[4] = {{d, 0, 9, 9}, {d, 1005, 9, 9}, {d, 1006, 9, 9}, {d, 0, 9, 9}};
    for (int i = 0; i < 4; i++) {
        pthread_t t;
        CHECK_EQUAL(pthread_create(&t, NULL, calls_as, &a[i]), 0);
        pthread_join(t, NULL);
        CHECK_EQUAL(a[i].error, 0);
        CHECK_EQUAL(a[i].seen, a[i].uid);
    }
}

static void door_ucred_of_pids(void) {
    ucred_t *uc = ucred_get(getpid());
    CHECK(uc != NULL);
    CHECK_EQUAL(ucred_getpid(uc), getpid());
    CHECK_EQUAL(ucred_geteuid(uc), geteuid());
    ucred_free(uc);
    uc = ucred_get(getppid());
    CHECK(uc != NULL);
    CHECK_EQUAL(ucred_getpid(uc), getppid());
    ucred_free(uc);
    errno = 0;
    CHECK(ucred_get(0x3fffffff) == NULL);
    CHECK_EQUAL(errno, ESRCH);
    CHECK(ucred_size() > 0);
}

static void door_ucred_of_myself_by_P_MYID(void) {
    ucred_t *uc = ucred_get(-1);
    CHECK(uc != NULL);
    CHECK_EQUAL(ucred_getpid(uc), getpid());
}

static void aborted_cred(void *cookie, char *data, size_t size, door_desc_t *entries, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)entries, (void)count;
    door_cred_t cred;
    ucred_t *uc = NULL;
    send_byte(entered[1], door_cred(&cred) == 0 && door_ucred(&uc) == 0 ? 'e' : 'b');
    receive_byte(leave[0]);
    bool gone = door_cred(&cred) == -1 && errno == EINVAL;
    gone = gone && door_ucred(&uc) == -1 && errno == EINVAL; /* with a buffer too */
    send_byte(ran[1], gone ? 'g' : 'b');
    door_return(NULL, 0, NULL, 0);
}

static void cred_child(int socket, void *unused) {
    (void)unused;
    door_call(receive_fd(socket), NULL);
}

static void door_credentials_after_the_clients_end(void) {
    make_pipes();
    struct child child = start_child(cred_child, NULL);
    int d = door_create(aborted_cred, NULL, DOOR_NO_CANCEL);
    send_fd(child.socket, d);
    CHECK_EQUAL(receive_byte(entered[0]), 'e');
    kill_child(child);
    send_byte(leave[1], 'l');
    CHECK_EQUAL(receive_byte(ran[0]), 'g');
}

static const struct test tests[] = {
    TEST(door_credentials_of_a_client),          TEST(door_credentials_outside), TEST(door_credentials_into_nowhere),
    TEST(door_each_thread_calls_as_itself),      TEST(door_ucred_of_pids),       TEST(door_ucred_of_myself_by_P_MYID),
    TEST(door_credentials_after_the_clients_end)};

TEST_MAIN(tests)
