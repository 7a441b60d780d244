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
    struct account *account;
    int pidfd;
    unsigned channels;
};

/* Takes over the pidfd for the first channel of a process under this user. NULL: it is not watched. */
struct client *client_join_locked(uint64_t process, struct account *account, int *pidfd) {
    struct client *client = account->clients;
    while (client != NULL && client->process != process) {
        client = client->next;
    }
    if (client == NULL && process != 0 && *pidfd >= 0 && (client = calloc(1, sizeof *client)) != NULL) {
        *client = (struct client){account->clients, handle_new(KIND_CLIENT, client), process, account, *pidfd, 0};
        if (client->handle == 0 || control_watch_locked(*pidfd, EPOLLIN | EPOLLET, client->handle) != 0) {
            handle_free(client->handle);
            free(client);
            return NULL;
        }
        account->clients = client;
        account->processes++;
        account->holds++;
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
    struct account *account = client->account;
    struct client **link = &account->clients;
    while (*link != client) {
        link = &(*link)->next;
    }
    *link = client->next;
    account->processes--;
    handle_free(client->handle);
    close(client->pidfd);
    free(client);
    account_close_locked(account);
}

/* The process has ended. */
void client_ended_locked(struct client *client) {
    client->channels++; /* until all have been looked at */
    struct channel *following;
    for (struct channel *channel = client->account->oldest; channel != NULL; channel = following) {
        following = channel->newer;
        if (channel->client == client) {
            channel_hang_up(channel);
        }
    }
    client_leave_locked(client);
}

/* In a fork child. */
void clients_forget(struct account *account) {
    while (account->clients != NULL) {
        struct client *client = account->clients;
        account->clients = client->next;
        close(client->pidfd);
        free(client);
    }
}
