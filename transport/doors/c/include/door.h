/*
 * Doors for Linux: the illumos API of <door.h>, with the same names, argument orders, constants and
 * structure layouts, and a few helpers for what raw system calls cannot do here.
 *
 * Sources: the illumos manual pages, section 3C (door_create, door_call, door_return, ...).
 */
#ifndef DOOR_H
#define DOOR_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "stropts.h"
#include "ucred.h"
#include "zone.h"

#ifdef __cplusplus
extern "C" {
#endif

#ifndef DOORS_UINT_T
#define DOORS_UINT_T
typedef unsigned int uint_t;
#endif

typedef unsigned long long door_ptr_t;
typedef unsigned long long door_id_t;
typedef unsigned int door_attr_t;

/* Attributes of a door. */
#define DOOR_UNREF 0x01            /* create: one notification when a single reference remains */
#define DOOR_PRIVATE 0x02          /* create: the door has a pool of server threads of its own */
#define DOOR_LOCAL 0x04            /* seen: the door belongs to the process that asks */
#define DOOR_REVOKED 0x08          /* seen: the door can no longer be called */
#define DOOR_UNREF_MULTI 0x10      /* create: a notification every time a single reference remains */
#define DOOR_IS_UNREF 0x20         /* seen: a single reference remains now */
#define DOOR_REFUSE_DESC 0x40      /* create: calls may not carry descriptors */
#define DOOR_NO_CANCEL 0x80        /* create: a client that leaves does not cancel the server thread */
#define DOOR_NO_DEPLETION_CB 0x100 /* door_xcreate: do not create threads when the pool runs dry */
#define DOOR_PRIVCREATE 0x200      /* seen: made by door_xcreate */
#define DOOR_DEPLETION_CB 0x400    /* given to a creation function: the pool ran dry */

#define DOOR_CREATE_MASK 0x3D3
#define DOOR_ATTR_MASK 0x3FF
#define DOOR_KI_CREATE_MASK 0x11

/* Attributes of a descriptor that is passed. */
#define DOOR_DESCRIPTOR 0x10000 /* a file descriptor; required */
#define DOOR_HANDLE 0x20000     /* in-kernel callers only */
#define DOOR_RELEASE 0x40000    /* close the sender's descriptor when it has been passed */

#define DOOR_INVAL (-1)
#define DOOR_QUERY (-2)             /* door_info: the door that the calling thread is bound to */
#define DOOR_UNREF_DATA ((void *)1) /* argp of an unreferenced invocation */

#define DOOR_PARAM_DESC_MAX 1
#define DOOR_PARAM_DATA_MAX 2
#define DOOR_PARAM_DATA_MIN 3

#ifndef S_IFDOOR
#define S_IFDOOR 0xD000
#endif
#ifndef S_ISDOOR
#define S_ISDOOR(mode) (((mode) & 0xF000) == 0xD000)
#endif

#pragma pack(push, 4)
typedef struct door_desc {
    door_attr_t d_attributes;
    union {
        struct {
            int d_descriptor;
            door_id_t d_id;
        } d_desc;
        int d_resv[5];
    } d_data;
} door_desc_t;

typedef struct door_info {
    pid_t di_target;
    door_ptr_t di_proc;
    door_ptr_t di_data;
    door_attr_t di_attributes;
    door_id_t di_uniquifier;
    int di_resv[4];
} door_info_t;
#pragma pack(pop)

typedef struct door_arg {
    char *data_ptr;
    size_t data_size;
    door_desc_t *desc_ptr;
    uint_t desc_num;
    char *rbuf;
    size_t rsize;
} door_arg_t;

typedef struct door_cred {
    uid_t dc_euid;
    gid_t dc_egid;
    uid_t dc_ruid;
    gid_t dc_rgid;
    pid_t dc_pid;
    int dc_resv[4];
} door_cred_t;

typedef void door_server_procedure_t(void *cookie, char *argp, size_t arg_size, door_desc_t *dp,
                                     uint_t n_desc);
typedef void door_server_func_t(door_info_t *info);
typedef int door_xcreate_server_func_t(door_info_t *info, void *(*start)(void *), void *argument,
                                       void *cookie);
typedef void door_xcreate_thrsetup_func_t(void *cookie);

int door_create(door_server_procedure_t *procedure, void *cookie, uint_t attributes);
int door_xcreate(door_server_procedure_t *procedure, void *cookie, uint_t attributes,
                 door_xcreate_server_func_t *thr_create_func, door_xcreate_thrsetup_func_t *thr_setup_func,
                 void *crcookie, int nthread);
int door_call(int d, door_arg_t *params);
int door_return(char *data_ptr, size_t data_size, door_desc_t *desc_ptr, uint_t num_desc);
int door_info(int d, door_info_t *info);
int door_revoke(int d);
int door_bind(int did);
int door_unbind(void);
int door_cred(door_cred_t *info);
int door_ucred(ucred_t **info);
door_server_func_t *door_server_create(door_server_func_t *create_func);
int door_getparam(int d, int param, size_t *out);
int door_setparam(int d, int param, size_t val);

/*
 * Linux only. A door is a socket here, so open(2) cannot open a name and fstat(2) cannot recognise a
 * door; dup(2) works, but only door_dup() makes a descriptor whose closing is counted for unref.
 */
int door_open(const char *path, int oflag);
int door_replace(int fildes, const char *path); /* fattach that takes the place of an attached door, atomically */
int door_dup(int d);
int is_door(int fd); /* 1: a door, 0: some other descriptor; -1 with EBADF: not open */

/* What has become of a door's calls; any holder may ask, and its server need not answer. Errors as door_info. */
typedef struct door_counters {
    uint64_t calls;      /* taken by a server thread */
    uint64_t failures;   /* of them, those whose client got an error, or was gone */
    uint_t active;       /* invocations in progress */
    uint_t references;   /* descriptors handed out, and names */
} door_counters_t;
int door_counters(int d, door_counters_t *counters);

/*
 * Linux only: what a thread says of itself before its first door_return. Its requests are limited as on a stack of so many
 * bytes, however large the stack is that the system has found for it; and it ends when it has been idle for so long and its pool has
 * another idle thread. 0: the stack as it is; never.
 */
void door_thread(size_t stack_size, unsigned idle_milliseconds);

/*
 * Linux only: as door_revoke, and costs this process nothing more, however long others keep descriptors of the door: each of theirs would
 * keep one here otherwise. To them it is as if the server had ended.
 */
int door_abolish(int d);

/* Linux only: as if a signal came after that time. */
int door_call_within(int d, door_arg_t *params, unsigned microseconds);

/* Linux only: a call of a server that is not trusted with its caller's time and memory. 0: no limit. */
typedef struct door_call_limits {
    unsigned microseconds; /* as door_call_within */
    size_t largest;        /* bytes of a reply: a larger one is EOVERFLOW, and no memory is made for it */
} door_call_limits_t;
int door_call_limited(int d, door_arg_t *params, const door_call_limits_t *limits);

/*
 * Linux only: a call in two halves, for the threads of event loops. door_post() hands over a request without descriptors,
 * whose data can be read and are copied, and does not wait for the reply, for which the client will have `room` bytes: 0, or
 * -1 with the errno of door_call, or EAGAIN when the server has no room for the request. door_collect() takes the reply in, as
 * far as *reply has room and the limits allow, and waits for it so long at most, without a limit in time not at all: 0, or -1
 * with the errno of door_call, ECANCELED when nothing has happened and the request may be posted again, or EAGAIN as long as
 * there is no reply. door_listen() has the descriptor that it returns become readable with the reply, and says whether that
 * is there already. Whoever has posted collects until it is no longer EAGAIN, or withdraws, in the same thread. door_hang_up() gives back
 * what the thread keeps for its next call of the door: a descriptor and some memory, which it would keep until its end otherwise.
 */
typedef struct door_posted {
    void *call;
} door_posted_t;
int door_post(int d, const char *data, size_t size, size_t room, door_posted_t *posted);
int door_collect(door_posted_t *posted, door_arg_t *reply, const door_call_limits_t *limits);
int door_listen(const door_posted_t *posted, int *is_there);
void door_withdraw(door_posted_t *posted);
void door_hang_up(int d);

/*
 * Linux only: for the threads of event loops. The calling thread, which need not be a server thread, serves the client that called last at the
 * door with this id, for one call. It waits for it as long as `microseconds` say, but only while *leave is 0 and nobody
 * calls door_visit_end(). 1: a call was served; 0: none; -1: EBADF: this process has no such door; EINVAL: its
 * clients may cancel threads, so it was made without DOOR_NO_CANCEL; EAGAIN: nobody has called yet, is being served
 * elsewhere, or another thread visits; ENOMEM. The procedure must not need more than half a megabyte of stack.
 */
int door_visit(door_id_t id, unsigned microseconds, const uint32_t *leave);
void door_visit_end(void);
uint64_t door_ucred_process(const ucred_t *credentials);
#define DOOR_EVENT_LOOPS

/* What the running back end does exactly as illumos does. */
#define DOOR_CAPABILITY_FSTAT 0x01        /* fstat says S_IFDOOR; poll fails with ENOSYS */
#define DOOR_CAPABILITY_OPEN 0x02         /* open(2) opens names */
#define DOOR_CAPABILITY_COUNTED_DUP 0x04  /* dup(2) and close(2) count for unref */
#define DOOR_CAPABILITY_HANDOFF 0x08      /* the call gives its processor to the server thread */
#define DOOR_CAPABILITY_LIVE_CRED 0x10    /* credentials as of the query, not as of the channel */
#define DOOR_CAPABILITY_FAULT 0x20        /* bad pointers are reported with EFAULT */
#define DOOR_CAPABILITY_PEER_PIDFD 0x40   /* the kernel names the peer by a pidfd */
#define DOOR_CAPABILITY_VFORK 0x80        /* a vfork child is refused by door_create */
#define DOOR_CAPABILITY_COUNTERS 0x100    /* door_counters; illumos has none */
uint_t door_capabilities(void);

#ifdef __cplusplus
}
#endif

#endif
