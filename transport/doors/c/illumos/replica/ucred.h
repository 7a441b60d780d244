/* Replica of the facts of illumos' <ucred.h>: see sys/door.h beside it. */
#ifndef REPLICA_UCRED_H
#define REPLICA_UCRED_H

#include <sys/types.h>
#include <zone.h>

typedef int projid_t;
typedef struct ucred_s ucred_t;
typedef struct priv_set priv_set_t; /* these two are from <sys/priv.h> */
typedef const char *priv_ptype_t;

ucred_t *ucred_get(pid_t);
void ucred_free(ucred_t *);
uid_t ucred_geteuid(const ucred_t *);
uid_t ucred_getruid(const ucred_t *);
uid_t ucred_getsuid(const ucred_t *);
gid_t ucred_getegid(const ucred_t *);
gid_t ucred_getrgid(const ucred_t *);
gid_t ucred_getsgid(const ucred_t *);
int ucred_getgroups(const ucred_t *, const gid_t **);
pid_t ucred_getpid(const ucred_t *);
projid_t ucred_getprojid(const ucred_t *);
zoneid_t ucred_getzoneid(const ucred_t *);
uint_t ucred_getpflags(const ucred_t *, uint_t);
const priv_set_t *ucred_getprivset(const ucred_t *, priv_ptype_t);
size_t ucred_size(void);

#endif
