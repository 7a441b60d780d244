/* Threads of the library's own: detached, with all signals blocked, so that no handler of the program runs in them. */
#ifndef ENFILADE_THREAD_H
#define ENFILADE_THREAD_H

#include <stddef.h>

/* What a thread needs that calls little more than the kernel. */
#define THREAD_STACK ((size_t)256 << 10)

/* Start one. 0, or an errno: EAGAIN when the system makes no more. */
int thread_start(void *(*function)(void *), void *argument, size_t stack);

#endif
