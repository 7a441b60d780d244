/*
 * Closing descriptors that came from others, without waiting for whom they lead to.
 *
 * To close a file is to ask whoever serves it. A file system in user space answers when it pleases; a socket with SO_LINGER
 * waits for its other end; and a socket may hold more of them, on their way to somebody. So a thread closes such a
 * descriptor, and nobody waits for that thread. A file in memory asks nobody, and is closed at once, unless it is very
 * long: to give back so much memory takes milliseconds.
 *
 * Each descriptor has a payer: the process that sent it, and its user. A payer has few threads and a share of descriptors, and
 * what it uses up it uses up for itself alone. Who takes descriptors in asks first whether the payer is behind.
 */
#ifndef ENFILADE_CLOSING_H
#define ENFILADE_CLOSING_H

/* Numbers as the kernel tells them. Whoever cannot be told is -1. */
struct closing_payer {
    long user, zone, process;
};

/* Threads that close descriptors of one process, of one user in one zone, and of all. */
#define CLOSING_THREADS_OF_PROCESS 2
#define CLOSING_THREADS_OF_USER    6
#define CLOSING_THREADS            24
/* Of those, so many are for root and our own user: strangers together cannot have them. */
#define CLOSING_THREADS_RESERVED   4

/* Descriptors that are to be closed, of a process and of a user, before no more are taken in: so many when one of the threads
 * is stuck; and so many before the threads, which are busy, must have caught up. */
#define CLOSING_SHARE_OF_PROCESS 16
#define CLOSING_SHARE_OF_USER    64
#define CLOSING_MOST_OF_PROCESS  256
#define CLOSING_MOST_OF_USER     512

/* A close that has taken so long is stuck, unless its thread has merely had no processor. */
#define CLOSING_STUCK_MILLISECONDS 250

/* So many threads, with nothing to close, wait so long for more. */
#define CLOSING_RESTING           2
#define CLOSING_REST_MILLISECONDS 100

/* Bytes from which on a file in memory is closed by a thread, too. */
#define CLOSING_VERY_LONG (24 << 20)

/*
 * Something else that may take as long as a peer pleases. A thread of the payer's does `run`; who asked waits, unless the thread is
 * stuck, or another one is that does the same payer's errands. Then `drop` gets rid of the errand when it is over.
 */
struct errand {
    void (*run)(struct errand *errand);
    void (*drop)(struct errand *errand);
};
/* 0: it was run, and is the caller's again. Or why it was not. */
#define CLOSING_NO_THREAD 3 /* there is none for it: no room, or all are busy for others */
int closing_errand(struct errand *errand, const struct closing_payer *payer);

/* Close a descriptor, now or soon. Never waits; keeps errno. */
void closing_close(int fd, const struct closing_payer *payer);

/* Whether the payer has used up its share: 0, or one of these. */
#define CLOSING_STUCK 1 /* it may be for ever */
#define CLOSING_BUSY  2 /* it will be over in a moment */
int closing_is_behind(const struct closing_payer *payer);

/* Wait until all descriptors of a process are closed, as they are in a moment unless somebody keeps a thread waiting; so long at most. */
void closing_settle(const struct closing_payer *payer, unsigned microseconds);

/* How many descriptors are still to be closed. */
unsigned closing_unclosed(void);

/* Have forks leave the locks here free, and the child without threads it does not have. Done by the first closing_close(), or
 * before by whoever calls it with a lock that a fork takes, too. */
void closing_expect_forks(void);

#endif
