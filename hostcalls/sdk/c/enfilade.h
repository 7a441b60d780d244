/*
 * Guests in C. This header and those below enfilade/ are complete: a guest needs nothing else.
 *
 *   clang --target=wasm32 -mbulk-memory -O2 -nostdlib -Wl,--no-entry -Wl,--stack-first -Wl,-z,stack-size=65536 \
 *         -I "$(enfilade guest sdk)/c" -o guest.wasm guest.c
 *
 * The mailbox takes up the memory below 1040, followed by the arguments of the entrypoint. With --stack-first both
 * share memory with the deep end of the stack, so make the stack larger than the program needs.
 *
 * Every function waits for the outcome of one hostcall, and answers -1 when the host refuses; the text of the last
 * refusal is what enfilade_refusal returns. A module imports only the hostcalls of the functions that it calls.
 */
#ifndef ENFILADE_H
#define ENFILADE_H

#include "enfilade/hostcall.h"
#include "enfilade/archive.h"
#include "enfilade/actor.h"
#include "enfilade/process.h"
#include "enfilade/time.h"
#include "enfilade/trace.h"
#include "enfilade/channel.h"
#include "enfilade/log.h"
#include "enfilade/net.h"

#endif
