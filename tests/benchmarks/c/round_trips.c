/*
 * Round trips between processes, in C: one mechanism, by the harness's protocol of lines.
 *
 *   round_trips MECHANISM CALLS SIZE CLIENTS        MECHANISM: door, seqpacket, stream, pipe
 *
 * The clients run on the first CPU that this process may use, the server on the last: on one CPU when there is
 * one, apart when there are two. Each client of a raw mechanism has a channel and a thread of the server of its
 * own. A raw message has at least one byte, and a packet at most 64 KiB: a longer message takes several. Streams and pipes get a
 * message in one write, and pipes as much room as any user may have, because that is when they are fastest.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <door.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST_CLIENTS = 64, PACKET = 1 << 16, PIPE = 1 << 20, SPARE_STACK = 1 << 20 };

struct channel {
    int read, write;
};

static struct channel near_ends[MOST_CLIENTS], far_ends[MOST_CLIENTS];
static size_t size;
static size_t largest = SIZE_MAX; /* of a read or a write */
static int clients;

static void must(int good, const char *what) {
    if (!good) {
        perror(what);
        exit(1);
    }
}

/* Run on the first or the last CPU that is allowed. */
static void pin(int last) {
    cpu_set_t allowed, one;
    must(sched_getaffinity(0, sizeof allowed, &allowed) == 0, "sched_getaffinity");
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &allowed)) {
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            if (!last) {
                break;
            }
        }
    }
    must(sched_setaffinity(0, sizeof one, &one) == 0, "sched_setaffinity");
}

static char *buffer(void) {
    char *data = calloc(1, size + 1);
    must(data != NULL, "calloc");
    return data;
}

static size_t raw_size(void) {
    return size == 0 ? 1 : size;
}

static size_t piece(size_t rest) {
    return rest < largest ? rest : largest;
}

static int read_all(int fd, char *data) {
    for (size_t done = 0; done < raw_size();) {
        ssize_t count = read(fd, data + done, piece(raw_size() - done));
        if (count <= 0) {
            return 0;
        }
        done += (size_t)count;
    }
    return 1;
}

static int write_all(int fd, const char *data) {
    for (size_t done = 0; done < raw_size();) {
        ssize_t count = write(fd, data + done, piece(raw_size() - done));
        if (count <= 0) {
            return 0;
        }
        done += (size_t)count;
    }
    return 1;
}

/* The server's end of a raw mechanism: gives back what comes, until the client is gone. */
static void *serve_raw(void *of_client) {
    struct channel channel = *(struct channel *)of_client;
    char *data = buffer();
    while (read_all(channel.read, data) && write_all(channel.write, data)) {
    }
    free(data);
    return NULL;
}

static void echo(void *cookie, char *data, size_t length, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)descriptors, (void)count;
    door_return(data, length, NULL, 0);
}

static void *server_thread(void *unused) {
    door_return(NULL, 0, NULL, 0);
    return unused;
}

/* A request lies on its thread's stack, so that must have room for it. */
static void more_threads(door_info_t *info) {
    pthread_attr_t attributes;
    pthread_t thread;
    (void)info;
    must(pthread_attr_init(&attributes) == 0, "pthread_attr_init");
    must(pthread_attr_setstacksize(&attributes, 2 * size + SPARE_STACK) == 0, "pthread_attr_setstacksize");
    must(pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0, "pthread_attr_setdetachstate");
    must(pthread_create(&thread, &attributes, server_thread, NULL) == 0, "pthread_create");
    pthread_attr_destroy(&attributes);
}

static void serve_door(const char *path, int ready) {
    door_server_create(more_threads);
    int made = door_create(echo, NULL, 0);
    must(made >= 0 && fattach(made, path) == 0, "fattach");
    must(write(ready, "r", 1) == 1, "write");
    for (;;) {
        pause();
    }
}

/* A client: makes its calls whenever it is told to, and says when they are made. */
static void serve_client(struct channel channel, const char *path, int calls, int go, int finished) {
    char *request = buffer(), *result = buffer(), byte;
    int door = -1;
    if (path != NULL) {
        must((door = door_open(path, 0)) >= 0, "door_open");
    }
    while (read(go, &byte, 1) == 1) {
        for (int i = 0; i < calls; i++) {
            if (door >= 0) {
                door_arg_t arguments = {
                    .data_ptr = request, .data_size = size, .rbuf = result, .rsize = size + 1};
                must(door_call(door, &arguments) == 0 && arguments.data_size == size, "door_call");
            } else {
                must(write_all(channel.write, request) && read_all(channel.read, result), "round trip");
            }
        }
        must(write(finished, "f", 1) == 1, "write");
    }
}

/* A pipe has 64 KiB from the beginning, which does for messages that are not larger. */
static void make_pipe(int ends[2]) {
    must(pipe(ends) == 0, "pipe");
    if (raw_size() > PACKET) {
        must(fcntl(ends[0], F_SETPIPE_SZ, PIPE) >= 0, "F_SETPIPE_SZ");
    }
}

static void connect_raw(const char *mechanism) {
    largest = strcmp(mechanism, "seqpacket") == 0 ? PACKET : SIZE_MAX;
    for (int i = 0; i < clients; i++) {
        int forth[2], back[2];
        if (strcmp(mechanism, "pipe") == 0) {
            make_pipe(forth);
            make_pipe(back);
        } else {
            int type = strcmp(mechanism, "seqpacket") == 0 ? SOCK_SEQPACKET : SOCK_STREAM;
            must(socketpair(AF_UNIX, type, 0, forth) == 0, "socketpair");
            back[0] = forth[1], back[1] = forth[0]; /* one pair serves both ways */
        }
        near_ends[i] = (struct channel){.read = back[0], .write = forth[1]};
        far_ends[i] = (struct channel){.read = forth[0], .write = back[1]};
    }
}

/* Start a child that dies with this process; 0 in the child. */
static pid_t child(void) {
    pid_t parent = getpid(), pid = fork();
    must(pid >= 0, "fork");
    if (pid == 0) {
        must(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent, "prctl");
    }
    return pid;
}

static double run(int calls, int go, int finished) {
    struct timespec begin, end;
    char marks[MOST_CLIENTS] = {0};
    clock_gettime(CLOCK_MONOTONIC, &begin);
    must(write(go, marks, (size_t)clients) == clients, "write");
    for (int left = clients; left > 0;) {
        ssize_t count = read(finished, marks, sizeof marks);
        must(count > 0, "read");
        left -= (int)count;
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    double elapsed = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) * 1e-9;
    return elapsed / ((double)calls * clients);
}

int main(int argc, char **argv) {
    int ready[2], go[2], finished[2];
    char path[4096], line[16], byte;
    if (argc != 5) {
        fprintf(stderr, "usage: round_trips MECHANISM CALLS SIZE CLIENTS\n");
        return 2;
    }
    int is_door = strcmp(argv[1], "door") == 0, calls = atoi(argv[2]);
    size = (size_t)atol(argv[3]);
    clients = atoi(argv[4]);
    must(clients >= 1 && clients <= MOST_CLIENTS, "CLIENTS");
    must(pipe(ready) == 0 && pipe(go) == 0 && pipe(finished) == 0, "pipe");
    if (is_door) {
        const char *directory = getenv("TMPDIR");
        snprintf(path, sizeof path, "%s/door-XXXXXX", directory != NULL ? directory : "/tmp");
        must(close(mkstemp(path)) == 0, "mkstemp");
    } else {
        connect_raw(argv[1]);
    }
    if (child() == 0) {
        pin(1);
        close(finished[1]);
        if (is_door) {
            serve_door(path, ready[1]);
        }
        for (int i = 1; i < clients; i++) {
            pthread_t thread;
            must(pthread_create(&thread, NULL, serve_raw, &far_ends[i]) == 0, "pthread_create");
        }
        serve_raw(&far_ends[0]);
        _exit(0);
    }
    if (is_door) {
        must(read(ready[0], &byte, 1) == 1, "the door's server");
    }
    for (int i = 0; i < clients; i++) {
        if (child() == 0) {
            pin(0);
            close(go[1]), close(finished[0]);
            serve_client(near_ends[i], is_door ? path : NULL, calls, go[0], finished[1]);
            _exit(0);
        }
    }
    close(finished[1]);
    run(calls, go[1], finished[0]);
    printf("@bench {\"ready\": true}\n");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL) {
        printf("@bench {\"value\": %.9g}\n", run(calls, go[1], finished[0]));
        fflush(stdout);
    }
    if (is_door) {
        fdetach(path);
        unlink(path);
    }
    return 0; /* the children die with this process */
}
