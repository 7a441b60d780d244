/*
 * The inbound queue of a node link; see queue.h.
 *
 * A door's cookie is visible to everybody who holds the door, and a call may already be on its way to the
 * procedure when the queue is closed. So the cookie is a number, and the procedure looks the queue up
 * under a lock: it finds it and holds a reference, or finds it gone.
 *
 * The procedure does not block, so the door is served by the pool that all doors of the process share: a
 * peer that calls without pause keeps one thread of it busy, and the pool makes another.
 */
#include "queue.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "closing.h"

#define STATUSES 4

struct caller {
    unsigned long number;
    pid_t pid;
    uint64_t process;
    uid_t uid;
    gid_t gid;
    int zone;
    unsigned n_groups;
    gid_t *groups;
};

struct queue {
    struct queue *next; /* among all queues, guarded by `all_lock`, as is `references` */
    uintptr_t number;
    unsigned references;

    int door;
    door_id_t id;
    int event;
    size_t prefix_size;
    char prefix[QUEUE_PREFIX_MAX];
    size_t largest;
    size_t capacity;
    unsigned calls;

    pthread_mutex_t lock; /* guards what follows */
    int closed;
    int lingering; /* a thread waits in queue_linger(), and takes what comes without being told by the event */
    int signalled; /* the event is readable */
    struct queue_item *first;
    struct queue_item **last;
    struct caller caller; /* of the last item */
    size_t held_bytes, held_memory;
    unsigned held_calls;
    unsigned held_descriptors, most_descriptors;
    int malformed_noted;
    unsigned long counts[STATUSES];
};

static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static struct queue *all;
static uintptr_t last_number;

/*
 * One thread of the process at a time lingers at a queue: it waits for an arrival there, and for a sign that one has
 * come anywhere else. `stocked` is how many queues have something to take.
 */
static pthread_mutex_t linger_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t arrival;
static int arrived;          /* guarded by `linger_lock` */
static atomic_int lingerers; /* changed under `linger_lock` */
static uint32_t stocked;     /* atomic */
static pthread_once_t linger_once = PTHREAD_ONCE_INIT;

static void prepare_to_linger(void) {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&arrival, &attributes);
    pthread_condattr_destroy(&attributes);
}

/* Something has come, here or there. */
static void tell_lingerer(void) {
    if (atomic_load(&lingerers) == 0) {
        return;
    }
    pthread_mutex_lock(&linger_lock);
    arrived = 1;
    pthread_cond_signal(&arrival);
    pthread_mutex_unlock(&linger_lock);
#ifdef DOOR_EVENT_LOOPS
    door_visit_end();
#endif
}

static struct queue *find(uintptr_t number) {
    pthread_mutex_lock(&all_lock);
    struct queue *queue = all;
    while (queue != NULL && queue->number != number) {
        queue = queue->next;
    }
    if (queue != NULL) {
        queue->references++;
    }
    pthread_mutex_unlock(&all_lock);
    return queue;
}

static void release(struct queue *queue) {
    pthread_mutex_lock(&all_lock);
    unsigned left = --queue->references;
    if (left == 0) {
        struct queue **place = &all;
        while (*place != queue) {
            place = &(*place)->next;
        }
        *place = queue->next;
    }
    pthread_mutex_unlock(&all_lock);
    if (left == 0) {
        close(queue->event);
        pthread_mutex_destroy(&queue->lock);
        free(queue->caller.groups);
        free(queue);
    }
}

/* On Linux the library tells no zones apart when it closes descriptors, and the shares here are the same. */
static long zone_of(int zone) {
#ifdef DOOR_EVENT_LOOPS
    (void)zone;
    return 0;
#else
    return zone;
#endif
}

/* illumos has a number for every process that can call; on Linux one in another pid namespace may have none here. */
static uint64_t process_of(const ucred_t *caller) {
#ifdef DOOR_EVENT_LOOPS
    return door_ucred_process(caller);
#else
    (void)caller;
    return 0;
#endif
}

/* Closes the descriptors of a call that was refused; its caller pays. */
static void close_descriptors(const door_desc_t *descriptors, uint_t count) {
    struct closing_payer payer = {-1, 0, -1};
    ucred_t *caller = NULL;
    if (count > 0 && door_ucred(&caller) == 0) {
        payer = (struct closing_payer){ucred_geteuid(caller), zone_of(ucred_getzoneid(caller)), ucred_getpid(caller)};
        ucred_free(caller);
    }
    for (uint_t i = 0; i < count; i++) {
        if (descriptors[i].d_attributes & DOOR_DESCRIPTOR) {
            closing_close(descriptors[i].d_data.d_desc.d_descriptor, &payer);
        }
    }
}

/* Copy a call into one block of memory: the item, then groups, descriptors and data. */
static struct queue_item *make_item(const char *data, size_t size, const door_desc_t *descriptors,
                                    uint_t count) {
    ucred_t *caller = NULL;
    const gid_t *groups = NULL;
    if (door_ucred(&caller) < 0) {
        return NULL; /* the caller has gone, so nobody can say who it was */
    }
    int n_groups = ucred_getgroups(caller, &groups);
    if (n_groups < 0) {
        n_groups = 0;
    }
    size_t groups_size = (size_t)n_groups * sizeof(gid_t);
    size_t descriptors_size = count * sizeof(int);
    struct queue_item *item = malloc(sizeof *item + groups_size + descriptors_size + size);
    if (item == NULL) {
        ucred_free(caller);
        return NULL;
    }
    gid_t *own_groups = (gid_t *)(item + 1);
    int *own_descriptors = (int *)(own_groups + n_groups);
    char *own_data = (char *)(own_descriptors + count);
    if (n_groups > 0) {
        memcpy(own_groups, groups, groups_size);
    }
    for (uint_t i = 0; i < count; i++) {
        own_descriptors[i] = descriptors[i].d_data.d_desc.d_descriptor;
        fcntl(own_descriptors[i], F_SETFD, FD_CLOEXEC);
    }
    memcpy(own_data, data, size);
    *item = (struct queue_item){
        .pid = ucred_getpid(caller),
        .process = process_of(caller),
        .uid = ucred_geteuid(caller),
        .gid = ucred_getegid(caller),
        .zone = ucred_getzoneid(caller),
        .n_groups = (unsigned)n_groups,
        .n_descriptors = count,
        .size = size,
        .groups = own_groups,
        .descriptors = own_descriptors,
        .data = own_data,
    };
    ucred_free(caller);
    return item;
}

/* Number the item's caller. One that cannot be remembered counts as new every time. */
static void number_caller(struct caller *known, struct queue_item *item) {
    size_t size = item->n_groups * sizeof(gid_t);
    if (known->number == 0 || known->pid != item->pid || known->process != item->process || known->uid != item->uid || known->gid != item->gid ||
        known->zone != item->zone || known->n_groups != item->n_groups ||
        (size > 0 && (known->groups == NULL || memcmp(known->groups, item->groups, size) != 0))) {
        free(known->groups);
        *known = (struct caller){
            .number = known->number + 1,
            .pid = item->pid,
            .process = item->process,
            .uid = item->uid,
            .gid = item->gid,
            .zone = item->zone,
            .n_groups = item->n_groups,
            .groups = size > 0 ? malloc(size) : NULL,
        };
        if (known->groups != NULL) {
            memcpy(known->groups, item->groups, size);
        }
    }
    item->caller = known->number;
}

static void signal_event(struct queue *queue) {
    queue->signalled = 1;
    eventfd_write(queue->event, 1);
}

static void append(struct queue *queue, struct queue_item *item) {
    if (!item->is_unreferenced) {
        number_caller(&queue->caller, item);
    }
    if (queue->first == NULL) {
        __atomic_fetch_add(&stocked, 1, __ATOMIC_SEQ_CST);
        if (!queue->lingering) {
            signal_event(queue);
        }
    }
    *queue->last = item;
    queue->last = &item->next;
    queue->held_bytes += item->size;
    queue->held_calls++;
    queue->held_descriptors += item->n_descriptors;
    tell_lingerer();
}

static void drop(struct queue_item *item) {
    while (item != NULL) {
        struct queue_item *next = item->next;
        const struct closing_payer payer = {item->uid, zone_of(item->zone), item->pid};
        for (unsigned i = 0; i < item->n_descriptors; i++) {
            closing_close(item->descriptors[i], &payer);
        }
        free(item);
        item = next;
    }
}

/* Leave a notice with the caller's name on it; one at a time, or nonsense could fill the queue. */
static void note_malformed(struct queue *queue) {
    struct queue_item *item = make_item("", 0, NULL, 0);
    if (item == NULL) {
        return;
    }
    pthread_mutex_lock(&queue->lock);
    if (queue->closed || queue->malformed_noted) {
        free(item);
    } else {
        append(queue, item);
    }
    queue->malformed_noted = 1;
    pthread_mutex_unlock(&queue->lock);
}

/* The bytes of the memory files among the descriptors of a call: those that are sealed, which never change. Any
 * other file might keep us waiting for its size. */
static size_t weigh(const door_desc_t *dp, uint_t n_desc) {
    size_t sum = 0;
#ifdef F_GET_SEALS
    const int wanted = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
    for (uint_t i = 0; i < n_desc; i++) {
        struct stat status;
        int fd = dp[i].d_data.d_desc.d_descriptor, seals = fcntl(fd, F_GET_SEALS);
        if (seals >= 0 && (seals & wanted) == wanted && fstat(fd, &status) == 0) {
            sum += (size_t)status.st_size;
        }
    }
#else
    (void)dp;
    (void)n_desc;
#endif
    return sum;
}

static uint32_t accept_call(struct queue *queue, const char *data, size_t size, const door_desc_t *dp,
                            uint_t n_desc) {
    if (size > queue->largest || size < queue->prefix_size || n_desc > QUEUE_DESCRIPTORS_MAX ||
        memcmp(data, queue->prefix, queue->prefix_size) != 0) {
        note_malformed(queue);
        return QUEUE_MALFORMED;
    }
    size_t memory = weigh(dp, n_desc);
    struct queue_item *item = make_item(data, size, dp, n_desc);
    if (item == NULL) {
        return QUEUE_FULL;
    }
    uint32_t status = QUEUE_ACCEPTED;
    pthread_mutex_lock(&queue->lock);
    if (queue->closed) {
        status = QUEUE_CLOSED;
    } else if (queue->held_calls >= queue->calls || queue->held_bytes + size > queue->capacity ||
               (queue->held_memory > 0 && memory > 0 && queue->held_memory + memory > queue->capacity) ||
               (queue->held_descriptors > 0 && queue->held_descriptors + n_desc > queue->most_descriptors)) {
        status = QUEUE_FULL;
    } else {
        append(queue, item);
        queue->held_memory += memory;
    }
    pthread_mutex_unlock(&queue->lock);
    if (status != QUEUE_ACCEPTED) {
        free(item);
    }
    return status;
}

static void note_unreferenced(struct queue *queue) {
    struct queue_item *item = calloc(1, sizeof *item);
    if (item == NULL) {
        return; /* the peer's silence will tell the same, later */
    }
    item->is_unreferenced = 1;
    pthread_mutex_lock(&queue->lock);
    if (queue->closed) {
        free(item);
    } else {
        append(queue, item);
    }
    pthread_mutex_unlock(&queue->lock);
}

/* The server procedure. What it needs of `argp` it has copied before door_return() abandons the stack. */
static void procedure(void *cookie, char *argp, size_t arg_size, door_desc_t *dp, uint_t n_desc) {
    struct queue *queue = find((uintptr_t)cookie);
    if (argp == DOOR_UNREF_DATA) {
        if (queue != NULL) {
            note_unreferenced(queue);
            release(queue);
        }
        door_return(NULL, 0, NULL, 0);
        return;
    }
    uint32_t status = queue == NULL ? QUEUE_CLOSED : accept_call(queue, argp, arg_size, dp, n_desc);
    if (status != QUEUE_ACCEPTED) {
        close_descriptors(dp, n_desc);
    }
    if (queue != NULL) {
        pthread_mutex_lock(&queue->lock);
        queue->counts[status]++;
        pthread_mutex_unlock(&queue->lock);
        release(queue);
    }
    if (door_return((char *)&status, sizeof status, NULL, 0) < 0) {
        door_return(NULL, 0, NULL, 0);
    }
}

struct queue *queue_create(const char *prefix, size_t prefix_size, size_t largest, size_t capacity,
                           unsigned calls) {
    if (prefix_size > QUEUE_PREFIX_MAX) {
        errno = EINVAL;
        return NULL;
    }
    struct queue *queue = calloc(1, sizeof *queue);
    if (queue == NULL) {
        return NULL;
    }
    memcpy(queue->prefix, prefix, prefix_size);
    queue->prefix_size = prefix_size;
    queue->largest = largest;
    queue->capacity = capacity;
    queue->calls = calls;
    queue->most_descriptors = UINT_MAX;
    queue->last = &queue->first;
    queue->references = 1;
    pthread_mutex_init(&queue->lock, NULL);
    queue->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (queue->event < 0) {
        free(queue);
        return NULL;
    }
    pthread_mutex_lock(&all_lock);
    queue->number = ++last_number;
    queue->next = all;
    all = queue;
    pthread_mutex_unlock(&all_lock);
    queue->door = door_create(procedure, (void *)queue->number, DOOR_UNREF_MULTI | DOOR_NO_CANCEL);
    if (queue->door < 0) {
        int error = errno;
        release(queue);
        errno = error;
        return NULL;
    }
    door_info_t info;
    if (door_info(queue->door, &info) == 0) {
        queue->id = info.di_uniquifier;
    }
    size_t held = capacity / QUEUE_BYTES_A_DESCRIPTOR;
    held = held < QUEUE_HELD_DESCRIPTORS_MIN ? QUEUE_HELD_DESCRIPTORS_MIN : held;
    held = held > QUEUE_HELD_DESCRIPTORS_MAX ? QUEUE_HELD_DESCRIPTORS_MAX : held;
    queue_limit_descriptors(queue, QUEUE_DESCRIPTORS_MAX, (unsigned)held);
    return queue;
}

int queue_limit_descriptors(struct queue *queue, unsigned each, unsigned held) {
    pthread_mutex_lock(&queue->lock);
    queue->most_descriptors = held > queue->held_descriptors ? held : queue->held_descriptors;
    pthread_mutex_unlock(&queue->lock);
    return door_setparam(queue->door, DOOR_PARAM_DESC_MAX, each);
}

int queue_door(const struct queue *queue) {
    return queue->door;
}

int queue_event(const struct queue *queue) {
    return queue->event;
}

struct queue_item *queue_take(struct queue *queue) {
    eventfd_t ignored;
    pthread_mutex_lock(&queue->lock);
    struct queue_item *first = queue->first;
    if (first != NULL) {
        __atomic_fetch_sub(&stocked, 1, __ATOMIC_SEQ_CST);
    }
    if (queue->signalled) {
        eventfd_read(queue->event, &ignored);
    }
    queue->signalled = 0;
    queue->first = NULL;
    queue->last = &queue->first;
    queue->held_bytes = 0;
    queue->held_memory = 0;
    queue->held_calls = 0;
    queue->held_descriptors = 0;
    queue->malformed_noted = 0;
    pthread_mutex_unlock(&queue->lock);
    return first;
}

/* Become the one who lingers. */
static int begin_to_linger(void) {
    pthread_once(&linger_once, prepare_to_linger);
    pthread_mutex_lock(&linger_lock);
    int alone = atomic_load(&lingerers) == 0;
    if (alone) {
        arrived = 0;
        atomic_store(&lingerers, 1);
    }
    pthread_mutex_unlock(&linger_lock);
    return alone;
}

static void linger(const struct queue *queue, unsigned microseconds) {
    struct timespec end;
#ifdef DOOR_EVENT_LOOPS
    /* Best of all, this thread takes the call itself. */
    if (door_visit(queue->id, microseconds, &stocked) >= 0) {
        atomic_store(&lingerers, 0);
        return;
    }
#else
    (void)queue;
#endif
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_nsec += (long)microseconds * 1000;
    end.tv_sec += end.tv_nsec / 1000000000;
    end.tv_nsec %= 1000000000;
    int error = 0;
    pthread_mutex_lock(&linger_lock);
    while (!arrived && __atomic_load_n(&stocked, __ATOMIC_SEQ_CST) == 0 && error == 0) {
        error = pthread_cond_timedwait(&arrival, &linger_lock, &end);
    }
    atomic_store(&lingerers, 0);
    pthread_mutex_unlock(&linger_lock);
}

static void set_lingering(struct queue *queue, int lingering) {
    pthread_mutex_lock(&queue->lock);
    queue->lingering = lingering;
    pthread_mutex_unlock(&queue->lock);
}

struct queue_item *queue_linger(struct queue *queue, unsigned microseconds) {
    if (begin_to_linger()) {
        set_lingering(queue, 1);
        linger(queue, microseconds);
        set_lingering(queue, 0);
    }
    return queue_take(queue);
}

void queue_item_free(struct queue_item *item) {
    free(item);
}

unsigned long queue_count(struct queue *queue, unsigned status) {
    pthread_mutex_lock(&queue->lock);
    unsigned long count = status < STATUSES ? queue->counts[status] : 0;
    pthread_mutex_unlock(&queue->lock);
    return count;
}

void queue_close(struct queue *queue) {
    pthread_mutex_lock(&queue->lock);
    queue->closed = 1;
    struct queue_item *first = queue->first;
    if (first != NULL) {
        __atomic_fetch_sub(&stocked, 1, __ATOMIC_SEQ_CST);
    }
    queue->first = NULL;
    queue->last = &queue->first;
    pthread_mutex_unlock(&queue->lock);
    drop(first);
#ifdef DOOR_EVENT_LOOPS
    door_abolish(queue->door); /* a peer may keep the descriptor that it got */
#else
    door_revoke(queue->door); /* closes the descriptor, too */
#endif
    release(queue);
}
