/* Credentials of a caller, as in illumos <ucred.h>: ucred_get(3C). */
#ifndef DOORS_UCRED_H
#define DOORS_UCRED_H

#include <stddef.h>
#include <sys/types.h>

#include "zone.h"

#ifdef __cplusplus
extern "C" {
#endif

#ifndef DOORS_UINT_T
#define DOORS_UINT_T
typedef unsigned int uint_t;
#endif

typedef int projid_t;
typedef struct ucred_s ucred_t;
typedef struct priv_set priv_set_t;
typedef const char *priv_ptype_t;

#define PRIV_EFFECTIVE ((priv_ptype_t)"Effective")
#define PRIV_PERMITTED ((priv_ptype_t)"Permitted")
#define PRIV_INHERITABLE ((priv_ptype_t)"Inheritable")
#define PRIV_LIMIT ((priv_ptype_t)"Limit")

ucred_t *ucred_get(pid_t pid);
void ucred_free(ucred_t *credentials);
size_t ucred_size(void);
uid_t ucred_geteuid(const ucred_t *credentials);
uid_t ucred_getruid(const ucred_t *credentials);
uid_t ucred_getsuid(const ucred_t *credentials);
gid_t ucred_getegid(const ucred_t *credentials);
gid_t ucred_getrgid(const ucred_t *credentials);
gid_t ucred_getsgid(const ucred_t *credentials);
int ucred_getgroups(const ucred_t *credentials, const gid_t **groups);
pid_t ucred_getpid(const ucred_t *credentials);
projid_t ucred_getprojid(const ucred_t *credentials);
zoneid_t ucred_getzoneid(const ucred_t *credentials);
uint_t ucred_getpflags(const ucred_t *credentials, uint_t flags);
/* On Linux a privilege set is a 64-bit capability mask; read it with priv_set_mask(). */
const priv_set_t *ucred_getprivset(const ucred_t *credentials, priv_ptype_t type);
unsigned long long priv_set_mask(const priv_set_t *set);

#ifdef __cplusplus
}
#endif

#endif
