/*
 * A target for libFuzzer, and for driver.c where there is none: what a hostile client does to a server thread, without a kernel
 * (serving.h). target_channel.c does the same through real sockets, with real threads.
 */
#include "serving.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct channel *channel;
static handle channel_handle;

static bool step(struct server_thread *thread, const uint8_t *bytes) {
    enum kind kind;
    if (handle_lookup(channel_handle, &kind) == NULL) { /* it has been closed */
        return false;
    }
    switch (bytes[0] % 6) {
    case 0: /* a call, as it should be announced */
        serving_write_request(channel, bytes);
        serving_queue(channel, bytes, MESSAGE_CALL);
        return serving_take_event(thread, channel_handle);
    case 1:
        serving_queue(channel, bytes, MESSAGE_FDS + bytes[2] % 2 * (MESSAGE_GROW - MESSAGE_FDS));
        return serving_take_event(thread, channel_handle);
    case 2:
        serving_queue(channel, bytes, bytes[2] % 16u);
        return serving_take_event(thread, channel_handle);
    case 3:
        serving_write_request(channel, bytes);
        return serving_take_claim(thread, channel_handle);
    case 4:
        serving_poke(channel, bytes);
        return false;
    default:
        serving_change_limits(bytes);
        return false;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    enum kind kind;
    serving_begin();
    int fd = kernel_descriptor(), out = kernel_descriptor();
    channel = calloc(1, sizeof *channel);
    *channel = (struct channel){.door = &serving_door, .fd = fd, .out = out, .holds = 2, .stranger = true, .euid = 1000};
    channel->session = kernel_session();
    channel->handle = channel_handle = handle_new(KIND_CHANNEL, channel);
    channel->account = account_open_locked(channel->euid);
    account_enlist_locked(channel);
    channel->link = &serving_door.channels;
    serving_door.channels = channel;
    serving_door.holds++;
    server.channels++;
    serving_run(data, size, step);
    server_lock();
    if (handle_lookup(channel_handle, &kind) != NULL) {
        channel_close_locked(channel);
    }
    check(channel->holds == 1 && channel->thread == NULL && !channel->busy);
    channel_release_locked(channel);
    check(account_of_locked(1000) == NULL);
    server_unlock();
    serving_end();
    return 0;
}
