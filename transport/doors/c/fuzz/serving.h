/*
 * What targets share in which a hostile client meets a server thread without a kernel (kernel.h): a door, the thread, and the steps
 * of a script of STEP bytes each. The thread is the real one as far as it is no system call: it takes datagrams and calls out of
 * channels, checks the request in the memory, copies it, runs a procedure that reads all of it, and returns.
 */
#ifndef DOORS_FUZZ_SERVING_H
#define DOORS_FUZZ_SERVING_H

#include "kernel.h"

enum { STEP = 12, MOST_STEPS = 40 };

extern struct status serving_page;
extern struct pool serving_pool;
extern struct door serving_door;

/* Does one step; returns whether the thread has a call now. */
typedef bool serving_step(struct server_thread *thread, const uint8_t *step);

void serving_begin(void); /* a door without channels */
void serving_run(const uint8_t *script, size_t size, serving_step *step);
void serving_end(void); /* checks that nothing is left of channels */

void serving_write_request(struct channel *channel, const uint8_t *step); /* as the script says; its flags and its state are any */
void serving_queue(const struct channel *channel, const uint8_t *step, unsigned type);
void serving_change_limits(const uint8_t *step);
void serving_poke(struct channel *channel, const uint8_t *step);
bool serving_take_event(struct server_thread *thread, handle channel);
bool serving_take_claim(struct server_thread *thread, handle channel);
uint64_t serving_size(uint8_t byte);

#endif
