"""Builds `enfilade.transport.doors._doors`: the door functions, and the C between them and Python.

On illumos the module binds the doors of libc. Everywhere else it contains this project's implementation of
the same header (`c/include`, `c/linux`). The declarations below are the same for both, and so is all the
Python above them.

setuptools builds it, in the root of the repository.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import hardening
from cffi import FFI

ROOT = Path(__file__).resolve().parents[2]
NATIVE = sys.platform.startswith("sunos")

# <sys/door.h> packs door_desc_t and door_info_t to four bytes. cffi knows no packing but to one, which gives
# the same offsets here, because nothing in them is smaller than four bytes; the final dots make it take the
# size and the alignment from the compiler.
PACKED_STRUCTURES = """
typedef int pid_t;
typedef unsigned int uint_t;
typedef unsigned long long door_ptr_t;
typedef unsigned long long door_id_t;
typedef unsigned int door_attr_t;

typedef struct door_desc {
    door_attr_t d_attributes;
    union {
        struct { int d_descriptor; door_id_t d_id; } d_desc;
        int d_resv[5];
    } d_data;
    ...;
} door_desc_t;

typedef struct door_info {
    pid_t di_target;
    door_ptr_t di_proc;
    door_ptr_t di_data;
    door_attr_t di_attributes;
    door_id_t di_uniquifier;
    int di_resv[4];
    ...;
} door_info_t;
"""

DECLARATIONS = """
typedef int... uid_t;
typedef int... gid_t;
typedef int zoneid_t;

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

typedef int projid_t;
typedef struct ucred_s ucred_t;
typedef struct priv_set priv_set_t;

#define DOOR_UNREF ...
#define DOOR_PRIVATE ...
#define DOOR_LOCAL ...
#define DOOR_REVOKED ...
#define DOOR_UNREF_MULTI ...
#define DOOR_IS_UNREF ...
#define DOOR_REFUSE_DESC ...
#define DOOR_NO_CANCEL ...
#define DOOR_NO_DEPLETION_CB ...
#define DOOR_PRIVCREATE ...
#define DOOR_DEPLETION_CB ...
#define DOOR_CREATE_MASK ...
#define DOOR_ATTR_MASK ...
#define DOOR_DESCRIPTOR ...
#define DOOR_RELEASE ...
static const int DOOR_INVAL;
static const int DOOR_QUERY;
static void *const DOOR_UNREF_DATA;
#define DOOR_PARAM_DESC_MAX ...
#define DOOR_PARAM_DATA_MAX ...
#define DOOR_PARAM_DATA_MIN ...

typedef void door_server_procedure_t(void *, char *, size_t, door_desc_t *, uint_t);
typedef void door_server_func_t(door_info_t *);
typedef int door_xcreate_server_func_t(door_info_t *, void *(*)(void *), void *, void *);
typedef void door_xcreate_thrsetup_func_t(void *);

int door_create(door_server_procedure_t *, void *, uint_t);
int door_xcreate(door_server_procedure_t *, void *, uint_t, door_xcreate_server_func_t *,
                 door_xcreate_thrsetup_func_t *, void *, int);
int door_call(int, door_arg_t *);
int door_return(char *, size_t, door_desc_t *, uint_t);
int door_info(int, door_info_t *);
int door_revoke(int);
int door_bind(int);
int door_unbind(void);
int door_cred(door_cred_t *);
int door_ucred(ucred_t **);
door_server_func_t *door_server_create(door_server_func_t *);
int door_getparam(int, int, size_t *);
int door_setparam(int, int, size_t);
int fattach(int, const char *);
int fdetach(const char *);
int isastream(int);
int munmap(void *, size_t);

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
const priv_set_t *ucred_getprivset(const ucred_t *, const char *);
ucred_t *ucred_get(pid_t);
size_t ucred_size(void);

zoneid_t getzoneid(void);
zoneid_t getzoneidbyname(const char *);
ssize_t getzonenamebyid(zoneid_t, char *, size_t);
"""


# What dispatch.h declares and Python uses or, for the functions marked extern, defines.
DISPATCH = """
#define DISPATCH_RETURN ...
#define DISPATCH_EMPTY ...
#define DISPATCH_EXIT ...

struct dispatch_invocation {
    uintptr_t cookie;
    char *argp;
    size_t arg_size;
    door_desc_t *dp;
    uint_t n_desc;
    int is_unreferenced;
    char *data_ptr;
    size_t data_size;
    door_desc_t *desc_ptr;
    uint_t num_desc;
    int action;
    int error;
    int failures;
};

extern "Python+C" void dispatch_python_invoke(struct dispatch_invocation *, uintptr_t);
extern "Python+C" void dispatch_python_failed(struct dispatch_invocation *);
extern "Python+C" void dispatch_python_create(door_info_t *);
extern "Python+C" int dispatch_python_xcreate(door_info_t *, void *(*)(void *), void *, void *);
extern "Python+C" void dispatch_python_setup(void *);
extern "Python+C" int dispatch_python_thread(void *);

void dispatch_procedure(void *, char *, size_t, door_desc_t *, uint_t);
void dispatch_create(door_info_t *);
int dispatch_xcreate(door_info_t *, void *(*)(void *), void *, void *);
void dispatch_setup(void *);
void dispatch_default_create(door_info_t *);
int dispatch_reply(struct dispatch_invocation *, const char *, size_t);
int dispatch_reply_in_place(struct dispatch_invocation *, const char *, size_t);
char *dispatch_copy(const char *, size_t);
door_desc_t *dispatch_copy_descriptors(const door_desc_t *, uint_t);
int dispatch_thread(void *(*)(void *), void *, size_t);
int dispatch_thread_in_python(void *, size_t);
#define DISPATCH_FAILED ...
long dispatch_exchange(int, const char *, size_t, door_desc_t *, uint_t, char *, size_t, size_t, door_arg_t *,
                       int);
int interrupt_prepare(void);
int interrupt_thread(unsigned long);
unsigned long interrupt_self(void);
void dispatch_close(void);

struct closing_payer { long user, zone, process; };
void closing_close(int, const struct closing_payer *);
#define CLOSING_STUCK ...
int closing_is_behind(const struct closing_payer *);
unsigned closing_unclosed(void);
void closing_settle(const struct closing_payer *, unsigned);
struct look {
    unsigned long long mount, device, inode, links;
    unsigned mode, user;
};
int look_at(int, struct look *);
int dispatch_in_python(void);
"""

# What is added to <door.h> for what raw system calls cannot do on Linux. On illumos the binding defines these
# in terms of open(2), dup(2), fattach(3C) and door_info(3C).
HELPERS = """
int door_open(const char *, int);
int door_dup(int);
int door_replace(int, const char *);
int is_door(int);
uint_t door_capabilities(void);

typedef struct door_counters {
    uint64_t calls;
    uint64_t failures;
    uint_t active;
    uint_t references;
} door_counters_t;
int door_counters(int, door_counters_t *);

#define DOOR_CAPABILITY_FSTAT ...
#define DOOR_CAPABILITY_OPEN ...
#define DOOR_CAPABILITY_COUNTED_DUP ...
#define DOOR_CAPABILITY_HANDOFF ...
#define DOOR_CAPABILITY_LIVE_CRED ...
#define DOOR_CAPABILITY_FAULT ...
#define DOOR_CAPABILITY_PEER_PIDFD ...
#define DOOR_CAPABILITY_VFORK ...
#define DOOR_CAPABILITY_COUNTERS ...
"""

# Functions of illumos' libc that no header declares.
ILLUMOS = """
int zone_list(zoneid_t *, uint_t *);
ssize_t zone_getattr(zoneid_t, int, void *, size_t);
"""

INCLUDES = """
#include <sys/types.h>
#include <sys/mman.h>
#include <door.h>
#include <stropts.h>
#include <ucred.h>
#include <zone.h>
#include "closing.h"
#include "dispatch.h"
#include "interrupt.h"
#include "look.h"
"""

ILLUMOS_INCLUDES = """
#include "helpers.h"
#include "zone_private.h"
"""


def relative(pattern: str) -> list[str]:
    """The files that match, relative to the root of the repository, because setuptools wants them so."""
    return sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob(pattern))


def describe(
    module: str,
    *,
    illumos: bool = NATIVE,
    sources: Sequence[str] = (),
    include_dirs: Sequence[str] = (),
    declarations: str = "",
    includes: str = "",
    base: str = "",
) -> FFI:
    """The description of `module`, for setuptools to compile.

    Args:
        illumos: bind libc's doors; else contain those for Linux.
        sources, include_dirs, declarations, includes: added to what it consists of anyway. Paths are relative
            to the root of the repository.
        base: that root, for a build in another directory.
    """
    builder = FFI()
    builder.cdef(PACKED_STRUCTURES, packed=True)
    builder.cdef(DECLARATIONS + HELPERS + DISPATCH + (ILLUMOS if illumos else "") + declarations)
    here = f"{base}transport/doors/c"
    # glibc still has functions named fattach, fdetach and isastream, which do nothing, and the loader would
    # prefer them to ours; -Bsymbolic makes the module call its own.
    link = ["-pthread"] if NATIVE else ["-pthread", "-Wl,-Bsymbolic"]
    builder.set_source(
        module,
        INCLUDES + (ILLUMOS_INCLUDES if illumos else "") + includes,
        sources=[
            *(base + path for path in relative(f"transport/doors/c/{'illumos' if illumos else 'linux'}/*.c")),
            f"{here}/closing.c",
            f"{here}/look.c",
            f"{here}/dispatch.c",
            f"{here}/interrupt.c",
            f"{here}/thread.c",
            *(base + path for path in sources),
        ],
        include_dirs=[
            f"{here}/illumos" if illumos else f"{here}/include",
            here,
            *(base + path for path in include_dirs),
        ],
        depends=[
            base + path for path in relative("transport/doors/c/**/*.h") + relative("transport/queue/*.h")
        ],
        define_macros=[("_GNU_SOURCE", "1"), ("_REENTRANT", "1")],
        extra_compile_args=["-std=gnu11", "-pthread", "-O2", *hardening.compile_flags()],
        extra_link_args=[*link, *hardening.link_flags()],
    )
    return builder


def with_queue() -> FFI:
    """The module as it is installed: the doors, and the inbound queue of node links."""
    headers = [path for path in relative("transport/queue/*.h") if not path.endswith("/cdef.h")]
    return describe(
        "enfilade.transport.doors._doors",
        sources=relative("transport/queue/*.c"),
        include_dirs=["transport/queue"],
        declarations=(ROOT / "transport/queue/cdef.h").read_text(),
        includes="".join(f'#include "{Path(header).name}"\n' for header in headers),
    )


ffibuilder = with_queue()
