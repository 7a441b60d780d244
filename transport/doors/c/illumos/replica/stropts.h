/* Replica of the facts of illumos' <stropts.h>: see sys/door.h beside it. */
#ifndef REPLICA_STROPTS_H
#define REPLICA_STROPTS_H

int fattach(int, const char *);
int fdetach(const char *);
int isastream(int);

#endif
