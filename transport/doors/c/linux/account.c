/*
 * What one user has of this server: channels, in the order of their last use, connections, client processes, bytes of replies.
 *
 * What somebody asks for is counted among what his user has. That is bounded for strangers, so none of them has the lock held for a walk
 * over what others have. And his trunks are watched together: what comes through one of them is heard when it is his turn, however
 * many they are, and between two of his turns everybody else has one.
 */
#include "internal.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { BUCKETS = 256 };

static struct account *accounts[BUCKETS];

static struct account **place_of(uid_t user) {
    struct account **place = &accounts[user % BUCKETS];
    while (*place != NULL && (*place)->user != user) {
        place = &(*place)->next;
    }
    return place;
}

/* NULL: the user has nothing. */
struct account *account_of_locked(uid_t user) {
    return *place_of(user);
}

/* Held until account_close_locked(); NULL without memory. */
struct account *account_open_locked(uid_t user) {
    struct account **place = place_of(user);
    if (*place == NULL && (*place = calloc(1, sizeof **place)) != NULL) {
        (*place)->user = user;
        (*place)->epoll = -1;
    }
    if (*place != NULL) {
        (*place)->holds++;
    }
    return *place;
}

static void drop_epoll(struct account *account) {
    if (account->epoll >= 0) {
        close(account->epoll);
        handle_free(account->handle);
        account->epoll = -1;
    }
}

void account_close_locked(struct account *account) {
    if (--account->holds > 0) {
        return;
    }
    struct account **place = place_of(account->user);
    *place = account->next;
    drop_epoll(account);
    free(account);
}

/* In which its trunks are watched. Without room for one of its own, or for nobody, the one of the control thread. */
int account_epoll_locked(struct account *account) {
    if (account != NULL && account->epoll < 0) {
        account->epoll = epoll_create1(EPOLL_CLOEXEC);
        account->handle = account->epoll < 0 ? 0 : handle_new(KIND_ACCOUNT, account);
        if (account->handle == 0 || control_watch_locked(account->epoll, EPOLLIN, account->handle) != 0) {
            drop_epoll(account);
        }
    }
    return account == NULL || account->epoll < 0 ? server.epoll : account->epoll;
}

/* Its turn: one of its trunks is heard, and the next time another one. False: none has anything to say. */
bool account_turn_locked(struct account *account) {
    struct epoll_event event;
    enum kind kind;
    if (epoll_wait(account->epoll, &event, 1, 0) != 1) {
        return false;
    }
    struct trunk *trunk = handle_lookup(event.data.u64, &kind);
    if (kind == KIND_TRUNK) {
        trunk_event(trunk);
    }
    return true;
}

/* As the one that was used last. */
void account_enlist_locked(struct channel *channel) {
    struct account *account = channel->account;
    channel->older = account->newest;
    channel->newer = NULL;
    *(account->newest ? &account->newest->newer : &account->oldest) = channel;
    account->newest = channel;
    account->channels++;
    channel->used = ++server.clock;
}

void account_delist_locked(struct channel *channel) {
    struct account *account = channel->account;
    *(channel->older ? &channel->older->newer : &account->oldest) = channel->newer;
    *(channel->newer ? &channel->newer->older : &account->newest) = channel->older;
    account->channels--;
}

void account_use_locked(struct channel *channel) {
    account_delist_locked(channel);
    account_enlist_locked(channel);
}

/* Whose idle channel was used longest ago; NULL if nobody has one. */
struct channel *accounts_oldest_locked(struct channel *(*oldest_of)(const struct account *)) {
    struct channel *oldest = NULL;
    for (unsigned i = 0; i < BUCKETS; i++) {
        for (const struct account *account = accounts[i]; account != NULL; account = account->next) {
            struct channel *channel = oldest_of(account);
            oldest = oldest == NULL || (channel != NULL && channel->used < oldest->used) ? channel : oldest;
        }
    }
    return oldest;
}

/* In a fork child, which has forgotten the channels and trunks. */
void accounts_forget_all(void) {
    for (unsigned i = 0; i < BUCKETS; i++) {
        while (accounts[i] != NULL) {
            struct account *account = accounts[i];
            accounts[i] = account->next;
            clients_forget(account);
            drop_epoll(account);
            free(account);
        }
    }
}
