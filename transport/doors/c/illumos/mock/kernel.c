/*
 * Doors within one process.
 *
 * A door is known by the inode of the memory file that stands for it, so every duplicate of a descriptor finds it, and
 * by the inodes of the files that it is attached to.  A server thread stays in the frame of its first door_return();
 * a later one jumps back to that frame, as the real one abandons the stack.
 */
#include "mock.h"

#include <door.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <stropts.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define DOORS   256
#define NAMES   64
#define MAX_FDS 1024

ucred_t *mock_ucred(pid_t pid);

struct pool;

struct door {
    uint64_t inode;
    door_server_procedure_t *procedure;
    void *cookie;
    uint_t attributes;
    door_id_t id;
    size_t limits[4]; /* by parameter number */
    struct pool *pool;
    door_xcreate_server_func_t *create;
    void *create_cookie;
};

struct request {
    struct door *door;
    const door_arg_t *arguments;
    int taken, finished, error;
    int no_results;
    char *data;
    size_t data_size;
    door_desc_t *descriptors;
    uint_t count;
    struct request *next;
};

struct pool {
    struct request *first;
    int idle;
};

struct server {
    struct request *serving;
    struct door *bound;
    int started;
    jmp_buf base;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct door doors[DOORS];
static int door_count;
static struct {
    uint64_t inode;
    struct door *door;
} names[NAMES];
static struct pool public_pool;
static int public_created;
static door_server_func_t *create_function;
static _Thread_local struct server self;

static uint64_t key_of(const struct stat *status) {
    return (uint64_t)status->st_dev << 40 ^ status->st_ino;
}

static uint64_t inode_of(int fd) {
    struct stat status;
    return fstat(fd, &status) == 0 ? key_of(&status) : 0;
}

static struct door *find(int fd) {
    uint64_t inode = inode_of(fd);
    for (int i = 0; inode != 0 && i < door_count; i++) {
        if (doors[i].inode == inode) {
            return &doors[i];
        }
    }
    for (int i = 0; inode != 0 && i < NAMES; i++) {
        if (names[i].inode == inode) {
            return names[i].door;
        }
    }
    errno = EBADF;
    return NULL;
}

static void describe(const struct door *door, door_info_t *info) {
    memset(info, 0, sizeof *info);
    info->di_target = getpid();
    info->di_proc = (door_ptr_t)(uintptr_t)door->procedure;
    info->di_data = (door_ptr_t)(uintptr_t)door->cookie;
    info->di_attributes = door->attributes | DOOR_LOCAL;
    info->di_uniquifier = door->id;
}

static void request_thread(struct door *door, uint_t extra) {
    if (create_function == NULL) {
        return;
    }
    if ((door->attributes & DOOR_PRIVATE) == 0) {
        create_function(NULL);
        return;
    }
    door_info_t info;
    describe(door, &info);
    info.di_attributes |= extra;
    create_function(&info);
}

static int make_door(door_server_procedure_t *procedure, void *cookie, uint_t attributes, struct door **made) {
    int fd = memfd_create("door", MFD_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    pthread_mutex_lock(&lock);
    if (door_count == DOORS) {
        pthread_mutex_unlock(&lock);
        close(fd);
        errno = EMFILE;
        return -1;
    }
    struct door *door = &doors[door_count];
    *door = (struct door){.inode = inode_of(fd),
                          .procedure = procedure,
                          .cookie = cookie,
                          .attributes = attributes,
                          .id = (door_id_t)door_count + 1,
                          .limits = {0, attributes & DOOR_REFUSE_DESC ? 0 : INT_MAX, SIZE_MAX, 0},
                          .pool = &public_pool};
    if (attributes & DOOR_PRIVATE) {
        door->pool = calloc(1, sizeof *door->pool);
    }
    door_count++;
    pthread_mutex_unlock(&lock);
    *made = door;
    return fd;
}

int door_create(door_server_procedure_t *procedure, void *cookie, uint_t attributes) {
    struct door *door;
    uint_t both = DOOR_UNREF | DOOR_UNREF_MULTI;
    if (mock_enter("door_create")) {
        return -1;
    }
    if ((attributes & (DOOR_NO_DEPLETION_CB | DOOR_PRIVCREATE)) != 0 || (attributes & ~DOOR_CREATE_MASK) != 0 ||
        (attributes & both) == both) {
        errno = EINVAL;
        return -1;
    }
    int fd = make_door(procedure, cookie, attributes, &door);
    if (fd >= 0 && ((attributes & DOOR_PRIVATE) != 0 || !public_created)) {
        public_created |= (attributes & DOOR_PRIVATE) == 0;
        request_thread(door, 0);
    }
    return fd;
}

struct xcreate {
    struct door *door;
    door_xcreate_thrsetup_func_t *setup;
    void *cookie;
};

static void *xcreate_start(void *memory) {
    struct xcreate *start = memory;
    if (start->setup != NULL) {
        start->setup(start->cookie);
    }
    self.bound = start->door;
    door_return(NULL, 0, NULL, 0);
    return NULL;
}

int door_xcreate(door_server_procedure_t *procedure, void *cookie, uint_t attributes,
                 door_xcreate_server_func_t *create, door_xcreate_thrsetup_func_t *setup, void *create_cookie,
                 int count) {
    struct door *door;
    if (mock_enter("door_xcreate")) {
        return -1;
    }
    if ((attributes & DOOR_PRIVCREATE) != 0 || count < 1 || create == NULL) {
        errno = EINVAL;
        return -1;
    }
    int fd = make_door(procedure, cookie, attributes | DOOR_PRIVATE | DOOR_PRIVCREATE, &door);
    if (fd < 0) {
        return -1;
    }
    door->create = create;
    door->create_cookie = create_cookie;
    struct xcreate *start = malloc(sizeof *start); /* kept: threads may be made from it as long as the door lives */
    *start = (struct xcreate){door, setup, create_cookie};
    for (int i = 0; i < count; i++) {
        door_info_t info;
        describe(door, &info);
        int made = create(&info, xcreate_start, start, create_cookie);
        if (made != 1) {
            close(fd);
            errno = made == 0 ? EINVAL : EPIPE;
            return -1;
        }
    }
    pthread_mutex_lock(&lock);
    while (door->pool->idle < count) {
        pthread_cond_wait(&changed, &lock);
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

static void finish(struct request *request, int error) {
    pthread_mutex_lock(&lock);
    request->error = error;
    request->finished = 1;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void release(const door_desc_t *descriptors, uint_t count) {
    for (uint_t i = 0; i < count; i++) {
        if (descriptors[i].d_attributes & DOOR_RELEASE) {
            close(descriptors[i].d_data.d_desc.d_descriptor);
        }
    }
}

/* Fresh numbers for the same open files, as a receiver gets them; NULL with errno EINVAL for a bad entry. */
static int duplicate(door_desc_t *to, const door_desc_t *from, uint_t count) {
    for (uint_t i = 0; i < count; i++) {
        int fd = from[i].d_attributes & DOOR_DESCRIPTOR ? dup(from[i].d_data.d_desc.d_descriptor) : -1;
        if (fd < 0) {
            while (i-- > 0) {
                close(to[i].d_data.d_desc.d_descriptor);
            }
            release(from, count);
            errno = EINVAL;
            return -1;
        }
        memset(&to[i], 0, sizeof to[i]);
        to[i].d_attributes = DOOR_DESCRIPTOR;
        to[i].d_data.d_desc.d_descriptor = fd;
        struct door *door = find(fd);
        if (door != NULL) {
            to[i].d_attributes |= door->attributes | DOOR_LOCAL;
            to[i].d_data.d_desc.d_id = door->id;
        }
    }
    return 0;
}

static void serve(struct request *request, int last) {
    struct door *door = request->door;
    const door_arg_t *arguments = request->arguments;
    static const door_arg_t nothing;
    if (arguments == NULL) {
        arguments = &nothing;
    }
    self.serving = request;
    char *data = NULL;
    door_desc_t *descriptors = NULL;
    if (arguments->data_size > 0) {
        data = memcpy(__builtin_alloca_with_align(arguments->data_size, 128), arguments->data_ptr, arguments->data_size);
    }
    if (arguments->desc_num > 0) {
        descriptors = __builtin_alloca_with_align(arguments->desc_num * sizeof *descriptors, 128);
        if (duplicate(descriptors, arguments->desc_ptr, arguments->desc_num) != 0) {
            finish(request, EINVAL);
            self.serving = NULL;
            return;
        }
        release(arguments->desc_ptr, arguments->desc_num);
    }
    if (last) {
        if (door->create != NULL) {
            struct xcreate *start = malloc(sizeof *start);
            *start = (struct xcreate){door, NULL, door->create_cookie};
            door_info_t info;
            describe(door, &info);
            info.di_attributes |= DOOR_DEPLETION_CB;
            if ((door->attributes & DOOR_NO_DEPLETION_CB) != 0 ||
                door->create(&info, xcreate_start, start, door->create_cookie) != 1) {
                free(start);
            }
        } else {
            request_thread(door, DOOR_DEPLETION_CB);
        }
    }
    door->procedure(door->cookie, data, arguments->data_size, descriptors, arguments->desc_num);
    finish(request, EINTR); /* fell off the end */
    pthread_exit(NULL);
}

int door_return(char *data, size_t data_size, door_desc_t *descriptors, uint_t count) {
    if (mock_enter("door_return")) {
        return -1;
    }
    if (self.started) {
        struct request *request = self.serving;
        if (request != NULL) {
            if ((request->no_results && (data_size > 0 || count > 0)) || count > MAX_FDS) {
                errno = E2BIG;
                return -1;
            }
            door_desc_t *copies = count > 0 ? malloc(count * sizeof *copies) : NULL;
            if (count > 0 && duplicate(copies, descriptors, count) != 0) {
                free(copies);
                return -1;
            }
            release(descriptors, count);
            request->descriptors = copies;
            request->count = count;
            request->data_size = data_size;
            if (data_size > 0) {
                request->data = memcpy(malloc(data_size), data, data_size);
            }
            self.serving = NULL;
            finish(request, 0);
        }
        longjmp(self.base, 1);
    }
    self.started = 1;
    setjmp(self.base);
    for (;;) {
        struct pool *pool = self.bound != NULL ? self.bound->pool : &public_pool;
        pthread_mutex_lock(&lock);
        pool->idle++;
        pthread_cond_broadcast(&changed);
        while (pool->first == NULL) {
            pthread_cond_wait(&changed, &lock);
        }
        struct request *request = pool->first;
        pool->first = request->next;
        request->taken = 1;
        int last = --pool->idle == 0;
        pthread_mutex_unlock(&lock);
        serve(request, last);
    }
}

static int check_limits(const struct door *door, const door_arg_t *arguments) {
    size_t size = arguments != NULL ? arguments->data_size : 0;
    uint_t count = arguments != NULL ? arguments->desc_num : 0;
    if (size < door->limits[DOOR_PARAM_DATA_MIN] || size > door->limits[DOOR_PARAM_DATA_MAX]) {
        return ENOBUFS;
    }
    if (count > 0 && (door->attributes & DOOR_REFUSE_DESC) != 0) {
        return ENOTSUP;
    }
    if (count > door->limits[DOOR_PARAM_DESC_MAX]) {
        return ENFILE;
    }
    return count > MAX_FDS ? E2BIG : 0;
}

static int place_results(door_arg_t *arguments, struct request *request) {
    size_t data = request->data_size, each = sizeof(door_desc_t);
    size_t offset = request->count > 0 ? (data + each - 1) / each * each : data;
    size_t needed = offset + request->count * each;
    if (needed > arguments->rsize) {
        size_t page = (size_t)sysconf(_SC_PAGESIZE), size = (needed + page - 1) / page * page;
        char *mapping = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (mapping == MAP_FAILED) {
            errno = EOVERFLOW;
            return -1;
        }
        arguments->rbuf = mapping;
        arguments->rsize = size;
    }
    if (data > 0) {
        arguments->data_ptr = memcpy(arguments->rbuf, request->data, data);
    }
    if (request->count > 0) {
        arguments->desc_ptr = memcpy(arguments->rbuf + offset, request->descriptors, request->count * each);
    }
    arguments->data_size = data;
    arguments->desc_num = request->count;
    return 0;
}

int door_call(int d, door_arg_t *arguments) {
    if (mock_enter("door_call")) {
        return -1;
    }
    struct door *door = find(d);
    if (door == NULL || (door->attributes & DOOR_REVOKED) != 0) {
        errno = EBADF;
        return -1;
    }
    int error = check_limits(door, arguments);
    if (error != 0) {
        errno = error;
        return -1;
    }
    struct request request = {.door = door, .arguments = arguments, .no_results = arguments == NULL};
    pthread_mutex_lock(&lock);
    struct request **last = &door->pool->first;
    while (*last != NULL) {
        last = &(*last)->next;
    }
    *last = &request;
    pthread_cond_broadcast(&changed);
    while (!request.finished) {
        pthread_cond_wait(&changed, &lock);
    }
    pthread_mutex_unlock(&lock);
    int result = 0;
    if (request.error != 0) {
        errno = request.error;
        result = -1;
    } else if (arguments != NULL) {
        result = place_results(arguments, &request);
    }
    error = errno;
    free(request.data);
    free(request.descriptors);
    errno = error;
    return result;
}

int door_info(int d, door_info_t *info) {
    if (mock_enter("door_info")) {
        return -1;
    }
    struct door *door = d == DOOR_QUERY ? self.bound : find(d);
    if (door == NULL) {
        errno = EBADF;
        return -1;
    }
    describe(door, info);
    return 0;
}

int door_revoke(int d) {
    if (mock_enter("door_revoke")) {
        return -1;
    }
    struct door *door = find(d);
    if (door == NULL) {
        return -1;
    }
    door->attributes |= DOOR_REVOKED;
    return close(d);
}

int door_bind(int d) {
    if (mock_enter("door_bind")) {
        return -1;
    }
    struct door *door = find(d);
    if (door == NULL) {
        return -1;
    }
    if ((door->attributes & DOOR_PRIVATE) == 0) {
        errno = EINVAL;
        return -1;
    }
    self.bound = door;
    return 0;
}

int door_unbind(void) {
    if (mock_enter("door_unbind")) {
        return -1;
    }
    if (self.bound == NULL) {
        errno = EBADF;
        return -1;
    }
    self.bound = NULL;
    return 0;
}

int door_ucred(ucred_t **cred) {
    if (mock_enter("door_ucred")) {
        return -1;
    }
    if (self.serving == NULL) {
        errno = EINVAL;
        return -1;
    }
    *cred = mock_ucred(getpid());
    return *cred != NULL ? 0 : -1;
}

int door_cred(door_cred_t *cred) {
    if (mock_enter("door_cred")) {
        return -1;
    }
    if (self.serving == NULL) {
        errno = EINVAL;
        return -1;
    }
    *cred = (door_cred_t){geteuid(), getegid(), getuid(), getgid(), getpid(), {0}};
    return 0;
}

door_server_func_t *door_server_create(door_server_func_t *function) {
    (void)mock_enter("door_server_create");
    door_server_func_t *previous = create_function;
    create_function = function;
    return previous;
}

/* A parameter of a door; NULL with errno. */
static size_t *limit_of(const char *function, int d, int parameter) {
    struct door *door = mock_enter(function) ? NULL : find(d);
    if (door != NULL && (parameter < DOOR_PARAM_DESC_MAX || parameter > DOOR_PARAM_DATA_MIN)) {
        errno = EINVAL;
        return NULL;
    }
    return door == NULL ? NULL : &door->limits[parameter];
}

int door_getparam(int d, int parameter, size_t *value) {
    size_t *limit = limit_of("door_getparam", d, parameter);
    if (limit != NULL) {
        *value = *limit;
    }
    return limit == NULL ? -1 : 0;
}

int door_setparam(int d, int parameter, size_t value) {
    size_t *limit = limit_of("door_setparam", d, parameter);
    if (limit != NULL) {
        *limit = value;
    }
    return limit == NULL ? -1 : 0;
}

int fattach(int fd, const char *path) {
    struct stat status;
    struct door *door = mock_enter("fattach") ? NULL : find(fd);
    if (door == NULL || stat(path, &status) != 0) {
        return -1;
    }
    for (int i = 0; i < NAMES; i++) {
        if (names[i].inode == 0 || names[i].inode == key_of(&status)) {
            if (names[i].inode != 0) {
                errno = EBUSY;
                return -1;
            }
            names[i].inode = key_of(&status);
            names[i].door = door;
            return 0;
        }
    }
    errno = ENOMEM;
    return -1;
}

int fdetach(const char *path) {
    struct stat status;
    if (mock_enter("fdetach") || stat(path, &status) != 0) {
        return -1;
    }
    for (int i = 0; i < NAMES; i++) {
        if (names[i].inode == key_of(&status)) {
            names[i].inode = 0;
            return 0;
        }
    }
    errno = EINVAL;
    return -1;
}

int isastream(int fd) {
    return fcntl(fd, F_GETFD) < 0 ? -1 : 0;
}

int mock_idle_threads(void) {
    pthread_mutex_lock(&lock);
    int idle = public_pool.idle;
    pthread_mutex_unlock(&lock);
    return idle;
}
