/*
 * Client processes, whose end ends their channels.
 *
 * The end of the last copy of a channel's other end would tell as much, but a client can send that end to us, also within another
 * socket: then it is ours, and we wait for ourselves. So one pidfd is watched for all channels of a process. Before Linux 6.9
 * processes cannot be told apart by their pidfds, and only the sockets are watched.
 */
#include "internal.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

struct client {
    struct client *next;
    handle handle;
    uint64_t process;
    uid_t user;
    int pidfd;
    unsigned channels;
};

static struct client *clients;

unsigned clients_of_locked(uid_t user) {
    unsigned count = 0;
    for (const struct client *client = clients; client != NULL; client = client->next) {
        count += client->user == user;
    }
    return count;
}

/* Takes over the pidfd for the first channel of a process. NULL: it is not watched. */
struct client *client_join_locked(uint64_t process, uid_t user, int *pidfd) {
    struct client *client = clients;
    while (client != NULL && client->process != process) {
        client = client->next;
    }
    if (client == NULL && process != 0 && *pidfd >= 0 && (client = calloc(1, sizeof *client)) != NULL) {
        *client = (struct client){clients, handle_new(KIND_CLIENT, client), process, user, *pidfd, 0};
        if (client->handle == 0 || control_watch_locked(*pidfd, EPOLLIN | EPOLLET, client->handle) != 0) {
            handle_free(client->handle);
            free(client);
            return NULL;
        }
        clients = client;
        *pidfd = -1;
    }
    if (client != NULL) {
        client->channels++;
    }
    return client;
}

void client_leave_locked(struct client *client) {
    if (client == NULL || --client->channels > 0) {
        return;
    }
    struct client **link = &clients;
    while (*link != client) {
        link = &(*link)->next;
    }
    *link = client->next;
    handle_free(client->handle);
    close(client->pidfd);
    free(client);
}

/* The process has ended. */
void client_ended_locked(struct client *client) {
    client->channels++; /* until all have been looked at */
    for (struct door *door = server.doors; door != NULL; door = door->next) {
        struct channel *following;
        for (struct channel *channel = door->channels; channel != NULL; channel = following) {
            following = channel->next;
            if (channel->client == client) {
                channel_hang_up(channel);
            }
        }
    }
    client_leave_locked(client);
}

/* In a fork child. */
void clients_forget_all(void) {
    while (clients != NULL) {
        struct client *client = clients;
        clients = client->next;
        close(client->pidfd);
        free(client);
    }
}
