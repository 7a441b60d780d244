/*
 * Waking a thread out of door_call(): a real-time signal with an empty handler. Because a handler exists, the
 * signal ends the call, with EINTR or EAGAIN.
 */
#ifndef ENFILADE_INTERRUPT_H
#define ENFILADE_INTERRUPT_H

/* The signal. */
int interrupt_signal(void);

/* Make sure that it has our handler: 0, or -1 with errno; EBUSY when the program uses it for something else. Whoever
 * is going to interrupt does this first. */
int interrupt_prepare(void);

/* The calling thread, for others to interrupt. */
unsigned long interrupt_self(void);

/* Interrupt a thread: 0, or -1 with errno. A signal that comes before the call has begun is lost. */
int interrupt_thread(unsigned long thread);

#endif
