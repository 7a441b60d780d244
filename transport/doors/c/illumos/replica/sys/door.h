/*
 * Replica of the facts of illumos' <sys/door.h> that this project relies on.
 *
 * No illumos runs where the project is built and tested, so the binding is compiled against this file.  It is not
 * used on illumos: there the system's own header is found first, because this directory is not on the search path.
 *
 * door_desc_t and door_info_t are packed to 4 bytes so that their 32-bit and 64-bit layouts agree on amd64: a
 * door_desc_t is 24 bytes with its descriptor at offset 4.
 */
#ifndef REPLICA_SYS_DOOR_H
#define REPLICA_SYS_DOOR_H

#include <stddef.h>
#include <sys/types.h>

typedef unsigned int uint_t;
typedef unsigned long long door_ptr_t;
typedef unsigned long long door_id_t;
typedef unsigned int door_attr_t;

/* Attributes of a door: the first group may be given at creation, the second is reported by door_info(). */
#define DOOR_UNREF           0x01
#define DOOR_PRIVATE         0x02
#define DOOR_UNREF_MULTI     0x10
#define DOOR_REFUSE_DESC     0x40
#define DOOR_NO_CANCEL       0x80
#define DOOR_NO_DEPLETION_CB 0x100

#define DOOR_LOCAL        0x04
#define DOOR_REVOKED      0x08
#define DOOR_IS_UNREF     0x20
#define DOOR_PRIVCREATE   0x200
#define DOOR_DEPLETION_CB 0x400

#define DOOR_CREATE_MASK                                                                                   \
    (DOOR_UNREF | DOOR_PRIVATE | DOOR_UNREF_MULTI | DOOR_REFUSE_DESC | DOOR_NO_CANCEL |                    \
     DOOR_NO_DEPLETION_CB | DOOR_PRIVCREATE)
#define DOOR_ATTR_MASK (DOOR_CREATE_MASK | DOOR_LOCAL | DOOR_REVOKED | DOOR_IS_UNREF)

/* Attributes of one descriptor in a door_desc_t array. */
#define DOOR_DESCRIPTOR 0x10000
#define DOOR_RELEASE    0x40000

#define DOOR_INVAL      (-1)
#define DOOR_QUERY      (-2)
#define DOOR_UNREF_DATA ((void *)1)

#define DOOR_PARAM_DESC_MAX 1
#define DOOR_PARAM_DATA_MAX 2
#define DOOR_PARAM_DATA_MIN 3

#pragma pack(4)

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

#pragma pack()

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

#endif
