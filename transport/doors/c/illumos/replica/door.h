/* Replica of the facts of illumos' <door.h>: see sys/door.h beside it. */
#ifndef REPLICA_DOOR_H
#define REPLICA_DOOR_H

#include <sys/door.h>
#include <sys/types.h>
#include <ucred.h>

typedef void door_server_procedure_t(void *, char *, size_t, door_desc_t *, uint_t);
typedef void door_server_func_t(door_info_t *);
typedef int door_xcreate_server_func_t(door_info_t *, void *(*)(void *), void *, void *);
typedef void door_xcreate_thrsetup_func_t(void *);

int door_create(door_server_procedure_t *, void *, uint_t);
int door_xcreate(door_server_procedure_t *, void *, uint_t, door_xcreate_server_func_t *,
                 door_xcreate_thrsetup_func_t *, void *, int);
int door_revoke(int);
int door_info(int, door_info_t *);
int door_call(int, door_arg_t *);
int door_return(char *, size_t, door_desc_t *, uint_t);
int door_cred(door_cred_t *);
int door_ucred(ucred_t **);
int door_bind(int);
int door_unbind(void);
door_server_func_t *door_server_create(door_server_func_t *);
int door_getparam(int, int, size_t *);
int door_setparam(int, int, size_t);

#endif
