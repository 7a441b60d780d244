#include "blocking.h"

#include <time.h>

int entered[2], leave[2], ran[2];

void make_pipes(void) {
    CHECK_EQUAL(pipe2(entered, O_CLOEXEC), 0);
    CHECK_EQUAL(pipe2(leave, O_CLOEXEC), 0);
    CHECK_EQUAL(pipe2(ran, O_CLOEXEC), 0);
}

void blocking_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)data, (void)size, (void)descriptors, (void)count;
    send_byte(entered[1], 'e');
    receive_byte(leave[0]);
    ucred_t *credentials = NULL;
    int unknown = door_ucred(&credentials) < 0 ? errno : 0;
    ucred_free(credentials);
    send_byte(ran[1], (char)unknown);
    door_return("ok", 2, NULL, 0);
}

void no_threads(door_info_t *info) {
    (void)info;
}

void *server_thread(void *unused) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    door_return(NULL, 0, NULL, 0);
    return unused;
}

void one_thread(door_info_t *info) {
    static bool made;
    pthread_t thread;
    (void)info;
    if (!made) {
        made = true;
        CHECK_EQUAL(pthread_create(&thread, NULL, server_thread, NULL), 0);
    }
}

static void *caller_body(void *argument) {
    struct caller *caller = argument;
    char buffer[8];
    caller->thread_id = gettid();
    door_arg_t arguments = {
        .rbuf = buffer, .rsize = 8, .desc_ptr = caller->descriptors, .desc_num = caller->count};
    caller->error = door_call(caller->door, &arguments) < 0 ? errno : 0;
    send_byte(caller->done[1], 'd');
    return NULL;
}

void start_caller(struct caller *caller, int door) {
    caller->door = door;
    CHECK_EQUAL(pipe2(caller->done, O_CLOEXEC), 0);
    CHECK_EQUAL(pthread_create(&caller->thread, NULL, caller_body, caller), 0);
}

int caller_error(struct caller *caller) {
    receive_byte(caller->done[0]);
    pthread_join(caller->thread, NULL);
    return caller->error;
}

int interrupted_error(struct caller *caller, int number) {
    do {
        CHECK_EQUAL(pthread_kill(caller->thread, number), 0);
    } while (!byte_within(caller->done[0], 50)); /* a signal that comes before the call does nothing */
    return caller_error(caller);
}

static bool sleeps(int thread_id) {
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", thread_id);
    FILE *file = fopen(path, "re");
    CHECK(file != NULL && fgets(line, sizeof line, file) != NULL);
    fclose(file);
    return strrchr(line, ')')[2] == 'S';
}

/* On the way to where it waits a thread may sleep as well, but not for long. */
void until_it_waits(struct caller *caller) {
    for (int seen = 0; seen < 20; poll(NULL, 0, 5)) {
        seen = caller->thread_id != 0 && sleeps(caller->thread_id) ? seen + 1 : 0;
    }
}

static void on_signal(int number) {
    (void)number;
}

void handle(int number, int flags) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};
    sigaction(number, &action, NULL);
}

void settle(void) {
    struct timespec pause = {.tv_nsec = 30000000};
    nanosleep(&pause, NULL);
}
