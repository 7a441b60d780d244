/* A call in progress, which call.c makes and whose reply reply.c takes in. */
#ifndef DOORS_CALL_H
#define DOORS_CALL_H

#include "internal.h"

#pragma GCC visibility push(hidden)

/* More datagrams than these, one upon the other, are a flood: it would keep us from signals and from the clock. */
enum { DATAGRAMS_A_REPLY = 128 };

/* In the place of an errno, when nothing has happened: another line may do; the same one will, when the server has answered. */
enum { AGAIN_ON_NEW_LINE = -1, NOT_YET = -2 };

struct call {
    door_arg_t arguments;
    struct line *line;
    struct outgoing outgoing;
    bool checked;
    int fault; /* what is wrong with the arguments: to be told when a thread would have taken the call */
    bool is_posted; /* its arguments are a program's of ours, and can be read */
    bool no_results;
    bool read_only; /* the arguments can be read but not written: an error, but only when there are results */
    bool released;
    int cancellation;
    int reserved[DESCRIPTORS_MAX];
    unsigned reserved_count;
    int received[DESCRIPTORS_MAX];
    unsigned received_count;
    bool truncated;
    struct region results; /* a reply that came in memory of its own */
    struct landing landing; /* of a reply that is taken in while it comes, `coming` bytes long */
    size_t coming;
    bool hasty; /* it has been tried */
    uint32_t bell;
    struct patience patience;
    size_t largest; /* bytes that a reply may have */
};

/* The halves of a call, and what lies between. Functions with a result return 0 or an errno. */
void call_prepare(struct call *call, const door_call_limits_t *limits);
int call_begin(struct call *call, int d);
void call_listen(struct call *call); /* for a moment */
int call_interrupted(struct call *call);
int call_hung_up(struct call *call);
int call_end(struct call *call, int error);

void call_unreserve(struct call *call);
void call_forget_reply(struct call *call); /* what has arrived and was not made the caller's */
void call_release(struct call *call);      /* closes the descriptors that the server has had */
bool call_has_outcome(const struct line *line);
bool call_hear(struct call *call, const struct message *message, struct receipt *receipt, int *error);
int call_collect(struct call *call);
bool call_is_coming(const struct call *call);
int call_take_along(struct call *call);
int call_take_reply(struct call *call);

#pragma GCC visibility pop

#endif
