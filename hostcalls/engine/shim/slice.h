/* The time slice of the kernel: how long a thread computes before another gets the processor. */
#ifndef ENFILADE_SLICE_H
#define ENFILADE_SLICE_H

/* Asks the kernel for long time slices for the calling thread, which computes: its share of the processor
 * stays what it was, but a thread that wakes with an ordinary slice, as the loop's, runs at once and not at the
 * end of this one's slice. A kernel without slices (before Linux 6.12) goes on as ever. */
void slice_prefer_long(void);

#endif
