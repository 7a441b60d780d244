/* What the tests of hostile peers share: doors and channels made by hand, which keep to no protocol. */
#ifndef DOORS_TEST_ATTACKS_H
#define DOORS_TEST_ATTACKS_H

#include "harness.h"

#include "../linux/wire.h"

enum { STRANGER = 4321 }; /* the user id of an attacker */

/* A server procedure that answers 77, and closes what it is sent; asking it gives that, or the negative errno. */
void number_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count);
int ask_number(int door);

double now(void); /* seconds that never go back */
int make_public(const char *path); /* a door that gives the number, attached where anybody may call it */
void become_stranger(void); /* when this process is root's */
int sealed(size_t size, int seals);

/* A channel of our own making to the door behind a trunk. */
struct attached {
    int fd;    /* where the attacker sends: made by the server */
    int near;  /* where it hears, and */
    int other; /* the end of that which the server gets, kept open: its options can be set at any time */
    struct session *session;
};
struct attached attach(int trunk);
void detach(struct attached *attached);
void queue_call(const struct attached *attached, uint64_t size, uint32_t flags);
bool is_answered(void *attached);
bool has_hung_up(void *attached);

/* A trunk that looks like a door: the end to call through, and the end of the server that lies. */
struct trunk_ends {
    int client, server;
};
struct trunk_ends make_liar(void);

/* The options by which a peer adds control messages to what is received from a socket. */
struct socket_option {
    const char *name;
    int number;
};
extern const struct socket_option CONTROL_OPTIONS[];
extern const unsigned CONTROL_OPTION_COUNT;

#endif
