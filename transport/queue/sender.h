/*
 * The outbound side of a node link: what makes the door calls, one at a time.
 *
 * A door call blocks for as long as the server likes, and a peer that has been stopped (SIGSTOP) or whose
 * machine swaps may like for ever. So nobody stands still for one: a call that may be repeated is posted, and its answer
 * collected later, for a millisecond's wait at most; any other is made by a thread, and so are all of them on illumos.
 * The thread is started by the first call that needs it, so most senders have none. All functions of one sender belong
 * to one thread of the program.
 */
#ifndef ENFILADE_SENDER_H
#define ENFILADE_SENDER_H

#include <stddef.h>

struct sender;

/* Make a sender for a door. The descriptor is the sender's own from here on, also on error. NULL with
 * errno. */
struct sender *sender_create(int door);

/* Make a sender for the door that has a name. Opening it may block, too, so the thread does it before the
 * first call, which fails as door_open() does when there is no door. NULL with errno. */
struct sender *sender_open(const char *path);

/* What becomes readable when a call of the thread has failed, or was answered with anything but
 * QUEUE_ACCEPTED; and, after sender_want(), whatever the answer is, also to a posted call. So the usual answer wakes nobody
 * who has nothing more to send, and nobody hears of an unusual one to a posted call before it is wanted. A server that
 * sends what does not belong to an answer can make it readable for nothing. After sender_close() has returned 0, it tells that the thread has ended. */
int sender_event(const struct sender *sender);
void sender_want(struct sender *sender);

#define SENDER_FAILED    (-1) /* with errno */
#define SENDER_UNDER_WAY (-2) /* there is no answer yet */

/* Make a call: what the queue at the other end said, SENDER_UNDER_WAY when it is posted or the thread makes it, or
 * SENDER_FAILED: as door_call() does, EPROTO when the answer was not one of a queue, EBUSY when the answer
 * before has not been fetched, EAGAIN when no thread can be started. Data are copied; descriptors are duplicated for the peer by the call and stay the
 * caller's, who must keep them open until the answer. A call that is `repeatable` may be posted. */
int sender_call(struct sender *sender, const char *data, size_t size, const int *descriptors, unsigned count,
                int repeatable);

/* Fetch the answer to the call that was under way, as sender_call() gives it. QUEUE_FULL is also said of a posted call that
 * never arrived, because its channel was closed. */
int sender_finish(struct sender *sender);

/* End it. A call under way is interrupted; the thread frees what is left when it has come out of it. Until
 * then, 0 is returned and the call should be repeated a little later, because a signal that comes too
 * early is lost; at last 1, after which the sender does not exist. What is left is the door, or -1 when none
 * was opened: it is the caller's, because to close it may wait for others. */
int sender_close(struct sender *sender, int *door);

#endif
