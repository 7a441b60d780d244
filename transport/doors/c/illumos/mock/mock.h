/*
 * A stand-in for the doors of illumos' libc, so that the binding can be run where no illumos is.
 *
 * It is a kernel for one process: doors created here can be called here, by threads.  It keeps a record of the calls
 * that reach it, and can be told to fail the next call of a function.  It is for tests of the binding alone; the
 * implementation of doors for Linux is elsewhere and shares nothing with it.
 */
#ifndef MOCK_H
#define MOCK_H

const char *mock_calls(void);                          /* names of the functions called, oldest first, one a line */
void mock_forget_calls(void);
void mock_fail(const char *function, int error_number); /* the next call of `function` fails so */
int mock_idle_threads(void);                           /* parked in the public pool */

/* Returns true, with errno set, when the call is to fail. */
int mock_enter(const char *function);

#endif
