/*
 * The objects of the Linux implementation and who owns them.
 *
 *   door      server side: procedure, status page, pool, trunks, names, channels
 *   trunk     server end of one hand-out of a door; the client end is what users see as the door fd
 *   name      listening socket bound to a path; every accepted connection is a trunk
 *   channel   server end of one client thread's private socket, with the session memory
 *   line      client end of the same
 *   pool      an epoll instance on which idle server threads park
 *
 * One lock, server.lock, guards all server objects; it is held for table work only, never while user code runs
 * or anything blocks. Objects that sit in an epoll are named there by handle, never by address, so an event
 * for an object that has gone finds nothing. Client lines belong to their thread; client.lock guards the list of
 * all of them, which only fork needs.
 */
#ifndef DOORS_INTERNAL_H
#define DOORS_INTERNAL_H

#include "wire.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>

#include "../include/door.h"

#pragma GCC visibility push(hidden)

typedef uint64_t handle;

enum kind {
    KIND_FREE,
    KIND_TRUNK,
    KIND_NAME,
    KIND_CHANNEL,
    KIND_POOL,
    KIND_WATCH,
    KIND_TIMER,
    KIND_START,
    KIND_CLIENT,
    KIND_ACCOUNT,
    KIND_PAUSE
};

enum trunk_kind { TRUNK_HOME, TRUNK_EXPORT, TRUNK_CONNECTION };

struct trunk {
    struct trunk *next, **link;
    struct door *door;
    handle handle;
    enum trunk_kind kind;
    bool attaches; /* channels have been made through it */
    struct account *account; /* of who opened it, or else of the last other process that has sent something; or NULL */
    int epoll;               /* in which it is watched; -1 while it is not */
    bool paused;             /* it is not, until files that have come through it are closed */
    struct closing_payer payer; /* that one, or else the last who has sent something */
    int fd;
    int home;             /* TRUNK_HOME: the descriptor that door_create returned */
    uint64_t client_cookie; /* the socket at the other end, if we have made it */
    int inherited;        /* while the process forks: the client end that the child will own */
};

struct name {
    struct name *next;
    struct door *door;
    handle handle;
    int listener;
    int watch;   /* inotify watch of the socket's inode, or -1 */
    int inode;   /* O_PATH descriptor of the socket's inode */
    mode_t mode; /* as last set by us */
    int directory; /* in which it lies; -1 if another process attached the door for us, which knows */
    char *name;    /* in the directory, or NULL */
    uid_t user;    /* who attached it. If that was another process, it has a thread of its own, which closes the listener */
    bool unowned;  /* the inode is not that user's, and its mode none of our business */
    bool gone;     /* its thread is about to remove it */
    bool changing; /* a thread is changing its mode */
};

struct region {
    char *base;
    size_t size;
};

/* For how long to spin, and how often not to when it has not been worth it. The long one is for threads that have
 * nothing to do until the word changes, and the peer's program something to do before it does. */
struct spin {
    unsigned nanoseconds, rest;
};
extern const struct spin SHORT_SPIN, LONG_SPIN;

/* Whether spinning has been worth it lately. */
struct spinner {
    int lost;
    unsigned rest;
};

struct channel {
    struct channel *next, **link;
    struct door *door;
    struct account *account;
    struct channel *older, *newer; /* of its account, by their last use */
    handle handle;
    int fd;  /* we have made it, and receive from it */
    int out; /* the client has made it: its identity, and where we send */
    unsigned holds;
    struct session *session;
    pid_t pid;
    uint64_t process; /* the number of its pidfd, which no other process has ever had; 0 before Linux 6.9 */
    uid_t euid, ruid;
    gid_t egid, rgid;
    struct closing_payer payer;
    struct client *client; /* whose end is watched for, or NULL */
    bool busy;    /* a server thread owns the receiving side */
    bool pending; /* something arrived meanwhile */
    bool paused;  /* it is heard again when the files that have come through it are closed */
    bool dead;    /* unlinked; the last hold frees it */
    bool orphan;  /* its trunk is gone: close when idle */
    struct server_thread *thread; /* the one that serves a call of this channel */
    uint64_t trunk;               /* handle of the trunk it was attached by */
    uint64_t used;                /* server.clock, then */
    bool spared;                  /* a queued call was checked against older limits */
    uint64_t spared_sequence;
    struct limits spared_limits;
    struct server_thread *attendant;
    struct spinner spinner;
    unsigned unattended; /* replies to come after which no thread waits for the next call */
    unsigned backoff;
    struct region request, reply;
    unsigned small_replies; /* in a row, while there is a region */
    uint64_t granted; /* bytes of the region for replies, for which a stranger's share has been asked; with the lock */
    int *received;
    unsigned received_count;
    bool received_truncated;
    bool stranger; /* what it has received counts in its user's share */
    bool described; /* the four below are known */
    zoneid_t zone;
    uid_t suid;
    gid_t sgid;
    uint64_t capabilities[4];
};

struct account {
    struct account *next;
    uid_t user;
    unsigned holds; /* channels, connections, clients */
    unsigned channels, connections, processes;
    uint64_t granted; /* bytes of its channels */
    struct channel *oldest, *newest;
    struct client *clients;
    int epoll;     /* in which its trunks are watched, or -1 */
    handle handle; /* by which the control thread hears of that */
};

struct pool {
    int epoll;
    int bell; /* eventfd for unreferenced invocations, or -1 */
    handle handle;
    unsigned idle;
    unsigned attending; /* idle threads that wait for one client, those in the list */
    struct server_thread *attendants;
    struct door *unreferenced; /* the door whose notification waits for an idle thread */
};

/* How threads of a door_xcreate door are made. */
struct creation {
    door_xcreate_server_func_t *create;
    door_xcreate_thrsetup_func_t *setup;
    void *cookie;
};

struct door {
    struct door *next;
    uint64_t id;
    door_server_procedure_t *procedure;
    void *cookie;
    struct status *status;
    int status_fd;
    struct pool *pool;
    struct creation creation;
    struct trunk *trunks;
    struct name *names;
    struct channel *channels;
    unsigned references; /* trunks and names */
    unsigned opened;     /* connections among them: what opened a name holds the door in a way of its own */
    bool home;           /* the descriptor that door_create returned is among them */
    unsigned active;     /* invocations */
    unsigned attended;   /* calls among them whose client waits: each holds the door, too */
    unsigned holds;      /* of the memory: channels, bound threads, queued notifications, the table */
    bool revoked;
    bool unreferenced_queued, unreferenced_running, unreferenced_delayed;
    struct door *unreferenced_next;
};

struct invocation {
    bool active;
    bool attended; /* counted in door->attended */
    bool unreferenced;
    bool no_results;
    bool postponed; /* it will be taken again */
    struct door *door;
    struct channel *channel;
    uint64_t sequence;
};

struct server_thread {
    jmp_buf base;
    bool looping;
    bool visiting;         /* it is no thread of the pool and serves one call */
    int cancellation;      /* the user's state, while ours is "disabled" */
    bool parked;           /* counted in pool->idle */
    struct pool *pool;     /* the one it is parked in or serves for */
    struct channel *recent;   /* held: the one to attend to before parking */
    struct channel *attended; /* the same, while the thread is in the pool's list of attendants */
    struct server_thread *attendant_next, **attendant_link;
    atomic_bool recalled;
    bool substituted; /* its attention leaves another idle thread in the pool */
    struct door *bound;    /* door_bind */
    bool bound_invalid;    /* copied by fork from a bound thread */
    atomic_bool caller_gone;
    bool last_idle;        /* its invocation took the pool's last idle thread */
    size_t stack_limit;    /* largest request, door_info and descriptors included */
    int patience;          /* milliseconds after which it leaves a pool that has another idle thread, or -1 */
    pthread_t self;
    struct invocation invocation;
    struct {
        const char *data; /* in memory that the client can still write */
        uint64_t size;
        uint64_t room; /* of the client's result buffer */
        uint32_t count;
        uint32_t flags;
        int *fds;
        bool truncated;
    } request;
};

extern struct server {
    pthread_mutex_t lock;
    atomic_uint waiting, waited; /* threads that wait for the lock, and how many have come by it that had to wait */
    struct door *doors;
    struct pool public_pool;
    bool public_started;
    int epoll;          /* the control thread's, or -1 */
    int notify;         /* inotify, once there are names, or -1 */
    int timer;          /* once there are names that inotify has no room for, or -1 */
    int pause;          /* the timer after which paused trunks are watched again, while there are any, or -1 */
    bool control_running;
    unsigned channels;
    uint64_t clock;
    struct door *unreferenced_first;
    bool unreferenced_running;
    struct channel *visited; /* a thread of the program's own waits in it */
} server;

extern _Thread_local struct server_thread *this_server_thread;

/* handle.c: names for objects that outlive nobody's trust. All under server.lock. */
handle handle_new(enum kind kind, void *object);
void handle_free(handle handle);
void *handle_lookup(handle handle, enum kind *kind);
void handle_forget_all(void);

/* memory.c: sealed shared memory, and pointers that users gave us. */
int memory_create(const char *name, size_t size);
void *memory_map(int fd, size_t size, int protection);
int memory_adopt(int fd, size_t size, int protection, void **base);
int memory_freeze(const char *name, const char *data, size_t size, size_t total);
int memory_thaw(int fd, size_t size, void **base);
bool memory_readable(const void *address, size_t size);
bool memory_writable(void *address, size_t size);
size_t memory_round(size_t size);
void region_drop(struct region *region);
void region_empty(struct region *region);
int region_grow(struct region *region, size_t size, int *fd);
/* A region larger than REGION_KEEP serves one call; a smaller one goes after so many calls that did not need it. Those larger than
 * REGION_LARGE have the size that was asked for; smaller ones grow by doubling. Both sides must agree on what is kept. */
enum { REGION_LARGE = 16 << 20, REGION_KEEP = 64 << 20, REGION_IDLE = 32 };
/* A larger reply that the client has no buffer for travels in memory of its own, which becomes its result mapping. */
enum { RESULTS_ALONE = 8 << 20 };

/* word.c: waiting on words of the session memory. True: the word has changed. */
bool word_sleep(_Atomic uint32_t *word, uint32_t value, unsigned microseconds);
void word_nap(_Atomic uint32_t *word, uint32_t value, uint64_t nanoseconds);
bool word_spin(struct spinner *spinner, const struct spin *spin, uint32_t peer_processor,
               const _Atomic uint32_t *word, uint32_t value);
void word_wake(_Atomic uint32_t *word);
uint32_t this_processor(void);
uint64_t word_clock(void); /* nanoseconds */

/* flow.c: large payloads. */
bool flow_pays(uint32_t peer_processor);
void flow_start(struct flow *flow);
void flow_fill(struct flow *flow, char *region, const char *data, size_t size, const _Atomic uint32_t *state);
size_t flow_there(const struct flow *flow, size_t size);
bool flow_await(struct flow *flow, size_t done, size_t size, uint32_t peer_processor, unsigned microseconds);

/* status.c */
struct status *status_create(int *fd);
void status_limits(const struct status *status, struct limits *limits);
void status_set_limits(struct status *status, const struct limits *limits);
int limits_check(const struct limits *limits, door_attr_t attributes, uint64_t size, uint64_t count);

/* identity.c: what is behind a descriptor. */
struct identity {
    struct status *status; /* read-only mapping, or the door's own page if local */
    bool mapped;
    int lack; /* of a local door that is not mapped: EMFILE (only of an opened name) or ENOMEM */
    bool local;
    bool dead;
    pid_t pid;
    struct closing_payer payer; /* the server */
    uint64_t socket;
};
int identify(int fd, struct identity *identity); /* 0, EBADF, EMFILE or ENOMEM */
void identity_drop(struct identity *identity);
uint64_t socket_cookie(int fd); /* 0: not a socket */
bool socket_hung_up(int fd);
bool socket_is_ours(int fd); /* AF_UNIX, SOCK_SEQPACKET */
bool socket_peer(int fd, struct ucred *peer);
int socket_peer_pidfd(int fd, pid_t pid); /* a pidfd of who made it, or -1 with ESRCH when that process is no more */
bool socket_peer_exited(int fd, pid_t pid);
void socket_drop(int fd, const struct closing_payer *payer);   /* closes what a peer has made; waits for nobody */
void socket_let_go(int fd, const struct closing_payer *payer); /* closes what we have made and a peer may have filled; likewise */
void socket_turn_away(int fd);
door_attr_t identity_attributes(const struct identity *identity);

/* users.c: the number, or -1 if it names nobody in our user namespace. */
uid_t user_known(uid_t user);
gid_t group_known(gid_t group);

/* door.c: the server's doors. Functions named ..._locked want server.lock. */
struct door *door_of(int fd, int *error); /* locks: on success server.lock is HELD */
struct door *door_by_id_locked(uint64_t id);
struct door *door_by_socket_locked(uint64_t cookie); /* that we have handed out with this socket */
int door_make(door_server_procedure_t *procedure, void *cookie, uint_t attributes, const struct creation *creation,
              door_info_t *info);
void server_lock(void);
void server_unlock(void);
void server_give_way(void); /* without the lock, between things that need it */
void door_reference_locked(struct door *door, bool opened);
void door_dereference_locked(struct door *door, bool opened);
void door_release_locked(struct door *door);
void door_describe(struct door *door, door_info_t *info); /* but for DOOR_IS_UNREF */
void door_refresh_locked(struct door *door);
void door_begin_locked(struct invocation *invocation);
void door_end_locked(struct invocation *invocation);
void door_abandon_locked(struct invocation *invocation); /* its client waits no longer */

/* trunk.c */
struct trunk *trunk_create_locked(struct door *door, enum trunk_kind kind, int *client, int *error);
struct trunk *trunk_adopt_locked(struct door *door, enum trunk_kind kind, int fd, int *error);
void trunk_event(struct trunk *trunk);
void trunk_resume_locked(struct trunk *trunk);
void trunk_close_locked(struct trunk *trunk);
int hello_send(int fd, const struct door *door);

/* channel.c: the server's end. */
void channel_attach_locked(struct trunk *trunk, struct receipt *receipt, uint64_t size);
void channel_hold_locked(struct channel *channel);
void channel_release_locked(struct channel *channel);
void channel_close_locked(struct channel *channel);
void channel_announce_locked(const struct channel *channel);
bool channel_evict_locked(void);
unsigned stranger_share(uid_t user);
void channel_hang_up(struct channel *channel);
void channel_revoke_locked(struct door *door);
void channel_answer(struct channel *channel, uint64_t sequence);
void channel_ring(struct channel *channel);
void channel_drop_received(struct channel *channel);
void channel_hand_over_received(struct channel *channel);
bool channel_may_receive(const struct channel *channel, unsigned count);
bool channel_may_reply(struct channel *channel, size_t size); /* in a region of so many bytes */
void channel_reserve_locked(bool keep);

/* account.c: what a user has. */
struct account *account_of_locked(uid_t user);
struct account *account_open_locked(uid_t user);
void account_close_locked(struct account *account);
void account_enlist_locked(struct channel *channel);
void account_delist_locked(struct channel *channel);
void account_use_locked(struct channel *channel);
int account_epoll_locked(struct account *account);
bool account_turn_locked(struct account *account);
struct channel *accounts_oldest_locked(struct channel *(*oldest_of)(const struct account *));
void accounts_forget_all(void);

/* client.c: processes that have channels. */
struct client;
struct client *client_join_locked(uint64_t process, struct account *account, int *pidfd);
void client_leave_locked(struct client *client);
void client_ended_locked(struct client *client);
void clients_forget(struct account *account);

/* pool.c */
int pool_open(struct pool *pool);
void pool_release_locked(struct pool *pool);
int pool_bell_locked(struct pool *pool);
void pool_dismiss_locked(struct pool *pool);
void pool_deplete(struct server_thread *thread);
void pool_start(const door_info_t *info); /* a thread for a new door's pool; NULL: the public one */

/* take.c: an idle thread takes an invocation. */
struct epoll_event;
void take(struct server_thread *thread);
bool take_event(struct server_thread *thread, const struct epoll_event *event);
void take_return_event(struct server_thread *thread, const struct epoll_event *event);
bool take_claimed_locked(struct server_thread *thread, struct channel *channel);
int channel_await(struct channel *channel, uint64_t sequence, enum message_type type, int milliseconds, int *error);

/* attention.c: idle threads that wait for one client. */
void attention_begin_locked(struct server_thread *thread, struct channel *channel);
bool attend_recent(struct server_thread *thread);
void attention_end_locked(struct server_thread *thread);
void attention_recall_locked(struct server_thread *thread);
void attention_balance_locked(struct pool *pool);

/* serve.c: threads that serve. */
struct server_thread *server_thread_enter(void);
_Noreturn void server_thread_park(struct server_thread *thread);
bool server_thread_is_spare(const struct server_thread *thread); /* another one is idle: only then may it wait for its client */
bool server_thread_has_room(void);
size_t stack_left(void); /* of the calling thread's own */
bool server_thread_visit(struct server_thread *thread);

/* invocation.c: how one ends. */
void server_thread_rest_locked(struct server_thread *thread);
void invocation_end_locked(struct server_thread *thread);
void invocation_reply(struct server_thread *thread, int error, uint64_t size, unsigned count, unsigned flags);
void invocation_discard(struct server_thread *thread);
bool invocation_postpone(struct server_thread *thread);

/* xcreate.c */
void *creation_start(void *argument);
void creation_deplete(const struct creation *creation, door_info_t *info);

/* control.c */
int control_start_locked(void);
int control_watch_locked(int fd, uint32_t events, handle handle);
bool control_pause_locked(void);
int control_notify_locked(void);
void control_timer_locked(void);
int control_inotify_locked(const char *path);
void control_drain(void);

/* unref.c */
void unreferenced_notify_locked(struct door *door);
void unreferenced_unattended_locked(struct door *door);
void unreferenced_done_locked(struct door *door);
void unreferenced_cancel_locked(struct door *door);

/* name.c: paths at which this process listens. */
struct place;
int name_listen_locked(struct door *door, int listener, int inode, const struct place *place, uid_t user,
                       struct name **made);
void name_free(struct name *name);
void name_accept(struct name *name);
void name_changed(int watch);
void names_look_locked(void);
void name_close_locked(struct name *name);
void name_take_over(struct door *door, struct receipt *receipt, const struct message *message);

/* path.c: where a name lies, and where what it covers is kept. */
struct place {
    int inode;     /* O_PATH descriptor of what the path leads to */
    int directory; /* descriptor of the directory that it lies in */
    bool attached; /* it is a door's socket that covers something */
    struct stat status;
    char name[256];
    char covered[256 + 16]; /* beside it: what an attached name covers */
    char path[4096];
};
int place_find(const char *path, int flags, struct place *place); /* 0 or an errno */
void place_drop(struct place *place);
void path_covered(const char *name, char covered[256 + 16]);
mode_t mode_connectable(mode_t mode);

/* descriptors.c */
struct outgoing {
    int fds[DESCRIPTORS_MAX];
    bool made[DESCRIPTORS_MAX]; /* an export of ours that is closed after sending */
    unsigned count;
    bool releases;
};
int descriptors_prepare(const door_desc_t *descriptors, unsigned count, struct outgoing *outgoing);
void descriptors_release(const door_desc_t *descriptors, unsigned count);
int descriptors_send(int channel, uint64_t sequence, const struct outgoing *outgoing);
void descriptors_discard(struct outgoing *outgoing);
void descriptors_describe(const int *fds, unsigned count, door_desc_t *descriptors);
int descriptors_reserve(int fd, unsigned count, int *reserved);
void close_all(const int *fds, unsigned count); /* our own: nobody else's files */
void close_foreign(const int *fds, unsigned count, const struct closing_payer *payer);

/* patience.c: the waits of a caller, who has blocked all signals. */
struct pollfd;
struct patience {
    bool limited;
    struct timespec end; /* if it is limited: as if a signal came then */
    sigset_t signals;    /* the caller's mask, which holds while it waits */
};
void patience_limit(struct patience *patience, unsigned microseconds);
unsigned patience_left(const struct patience *patience, unsigned microseconds); /* so many at most */
/* As ppoll(2), for so long at most; also EINTR when the time is over. */
int patience_wait(const struct patience *patience, struct pollfd *entries, unsigned count, unsigned milliseconds);

/* line.c: the client's end. */
struct line {
    struct line *next;            /* of the thread */
    struct line *all, **all_link; /* of the process */
    int fd;      /* we have made it, and receive from it; -1: it is not made yet */
    int out;     /* the server has made it, and we send on it; -1: not known yet */
    int offer;   /* the end of our socket that the server is to be sent first; -1: it has been */
    int first;   /* the region of the first request, which goes with that; -1 */
    int place;   /* the session's memory, which goes with that, and keeps a descriptor for `out` until the server answers; -1 */
    int trunk;       /* descriptor it was attached through */
    uint64_t socket; /* the trunk's socket */
    struct status *status;
    struct session *session;
    uint64_t sequence;
    bool in_use;
    pid_t server;
    struct closing_payer payer; /* the server */
    uid_t euid;
    gid_t egid;
    uint64_t used;
    struct spinner spinner;
    unsigned small_requests; /* in a row, while there is a region */
    unsigned impatient; /* calls to come that do not wait for the bell, because others waited in vain */
    struct region request, reply;
};
int line_for(int fd, struct line **line); /* marks it in use */
int line_offer(struct line *line, const struct patience *patience); /* has the server know of it, and of the call in it */
int line_connect(struct line *line);
int line_find_out(struct line *line);
int line_receive(struct line *line, struct message *message, struct receipt *receipt); /* 0 or an errno: EAGAIN */
int line_await_out(struct line *line, const struct patience *patience);
int line_send(struct line *line, const struct message *message, const int *fds, unsigned count);
void line_take_out(struct line *line, struct receipt *receipt); /* what a MESSAGE_ATTACHED has brought */
void line_release(struct line *line);
void lines_end(int fd);
void line_abandon(struct line *line);
void lines_forget_all(void);
void lines_lock(void);
void lines_unlock(void);

/* results.c */
struct landing { /* where a reply goes */
    char *target; /* NULL: not known yet */
    size_t done;  /* bytes of data that are there */
    struct region mapped; /* if it goes into new memory */
};
bool results_size(size_t size, unsigned count, size_t *offset, size_t *needed); /* false: more than there can be */
int results_land(const door_arg_t *arguments, size_t size, unsigned count, struct region *ready, struct landing *landing);
void results_place(door_arg_t *arguments, const char *data, size_t size, const int *fds, unsigned count,
                   struct landing *landing);

/* fork.c */
bool process_is_borrowed(void);

#pragma GCC visibility pop

#endif
