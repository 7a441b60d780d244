#include "workers.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "guest.h"
#include "slice.h"

static void append(guest_list *list, guest *g) {
    g->next = NULL;
    g->previous = list->last;
    if (list->last != NULL) {
        list->last->next = g;
    } else {
        list->first = g;
    }
    list->last = g;
}

static void detach(guest_list *list, guest *g) {
    if (g->previous != NULL) {
        g->previous->next = g->next;
    } else {
        list->first = g->next;
    }
    if (g->next != NULL) {
        g->next->previous = g->previous;
    } else {
        list->last = g->previous;
    }
    g->next = g->previous = NULL;
}

static void announce(workers *w) {
    uint64_t one = 1;
    while (write(w->event, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

/* Decides, under the mutex, where a guest goes that has just come to a stop on a worker. */
static guest_place place_after_run(workers *w, guest *g, uint64_t word) {
    guest_take_mail(g);
    bool wants_host = (word & HAS_SUBMISSIONS) != 0 || !guest_can_go_on(g);
    if (!wants_host && w->queue.first == NULL) {
        return PLACE_RUNNING;
    }
    g->place = wants_host ? PLACE_STOPPED : PLACE_QUEUED;
    append(wants_host ? &w->stopped : &w->queue, g);
    return g->place;
}

static void run_until_stop(workers *w, guest *g) {
    guest_place place = PLACE_RUNNING;
    while (place == PLACE_RUNNING) {
        uint64_t word = guest_run(g);
        pthread_mutex_lock(&w->mutex);
        if (g->abandoned) {
            pthread_mutex_unlock(&w->mutex);
            guest_destroy(g);
            return;
        }
        place = place_after_run(w, g, word);
        pthread_mutex_unlock(&w->mutex);
    }
    /* Not before the mutex is free, since the loop runs at once and wants it. */
    if (place == PLACE_STOPPED) {
        announce(w);
    }
}

static void *work(void *argument) {
    workers *w = argument;
    slice_prefer_long();
    for (;;) {
        pthread_mutex_lock(&w->mutex);
        while (w->queue.first == NULL && !w->stopping) {
            pthread_cond_wait(&w->work, &w->mutex);
        }
        guest *g = w->queue.first;
        if (g != NULL) {
            detach(&w->queue, g);
            g->place = PLACE_RUNNING;
        }
        pthread_mutex_unlock(&w->mutex);
        if (g == NULL) {
            return NULL;
        }
        run_until_stop(w, g);
    }
}

int workers_start(workers *w, uint32_t count) {
    w->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->event < 0) {
        return errno;
    }
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->work, NULL);
    w->threads = calloc(count == 0 ? 1 : count, sizeof *w->threads);
    int failure = w->threads == NULL ? ENOMEM : 0;
    while (failure == 0 && w->count < count) {
        failure = pthread_create(&w->threads[w->count], NULL, work, w);
        if (failure == 0) {
            w->count++;
        }
    }
    if (failure != 0) {
        workers_stop(w);
    }
    return failure;
}

void workers_stop(workers *w) {
    pthread_mutex_lock(&w->mutex);
    w->stopping = true;
    pthread_cond_broadcast(&w->work);
    pthread_mutex_unlock(&w->mutex);
    for (uint32_t i = 0; i < w->count; i++) {
        pthread_join(w->threads[i], NULL);
    }
    free(w->threads);
    pthread_cond_destroy(&w->work);
    pthread_mutex_destroy(&w->mutex);
    close(w->event);
}

void workers_order(workers *w) {
    pthread_mutex_lock(&w->mutex);
    pthread_mutex_unlock(&w->mutex);
}

void workers_offload(workers *w, guest *g) {
    pthread_mutex_lock(&w->mutex);
    g->place = PLACE_QUEUED;
    append(&w->queue, g);
    pthread_cond_signal(&w->work);
    pthread_mutex_unlock(&w->mutex);
}

size_t workers_take(workers *w, stopped_guest *found, size_t room) {
    uint64_t count;
    while (read(w->event, &count, sizeof count) < 0 && errno == EINTR)
        ;
    pthread_mutex_lock(&w->mutex);
    size_t taken = 0;
    while (w->stopped.first != NULL && taken < room) {
        guest *g = w->stopped.first;
        detach(&w->stopped, g);
        g->place = PLACE_CALLER;
        g->offloaded = false;
        guest_take_mail(g);
        found[taken++] = (stopped_guest){.key = g->key, .word = guest_word(g)};
    }
    if (w->stopped.first != NULL) {
        announce(w);
    }
    pthread_mutex_unlock(&w->mutex);
    return taken;
}

bool workers_abandon(workers *w, guest *g) {
    pthread_mutex_lock(&w->mutex);
    bool mine = g->place != PLACE_RUNNING;
    if (g->place == PLACE_QUEUED) {
        detach(&w->queue, g);
    } else if (g->place == PLACE_STOPPED) {
        detach(&w->stopped, g);
    }
    g->place = PLACE_CALLER;
    g->abandoned = !mine;
    pthread_mutex_unlock(&w->mutex);
    return mine;
}

bool guest_offload(guest *g) {
    if (g->engine->workers.count == 0) {
        return false;
    }
    g->offloaded = true;
    workers_offload(&g->engine->workers, g);
    return true;
}
