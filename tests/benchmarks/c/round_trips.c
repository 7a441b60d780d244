/*
 * Round trips between two processes, in C: one mechanism, by the harness's protocol of lines.
 *
 *   round_trips MECHANISM CALLS SIZE        MECHANISM: door, seqpacket, stream, pipe
 *
 * The client runs on the first CPU that the process may use, the server on the last: on one CPU when there is
 * one, apart when there are two.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <door.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LARGEST = 1 << 16 };

static char request[LARGEST], result[LARGEST];
static size_t size;
static int to, from, door = -1;

static void must(int good, const char *what) {
    if (!good) {
        perror(what);
        exit(1);
    }
}

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

static int read_all(int fd) {
    for (size_t done = 0; done < size;) {
        ssize_t count = read(fd, result + done, size - done);
        if (count <= 0) {
            return 0;
        }
        done += (size_t)count;
    }
    return 1;
}

static int write_all(int fd, const char *data) {
    for (size_t done = 0; done < size;) {
        ssize_t count = write(fd, data + done, size - done);
        if (count <= 0) {
            return 0;
        }
        done += (size_t)count;
    }
    return 1;
}

static void echo(void *cookie, char *data, size_t length, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)descriptors, (void)count;
    door_return(data, length, NULL, 0);
}

static void trip(void) {
    if (door < 0) {
        must(write_all(to, request) && read_all(from), "round trip");
        return;
    }
    door_arg_t arguments = {.data_ptr = request, .data_size = size, .rbuf = result, .rsize = sizeof result};
    must(door_call(door, &arguments) == 0, "door_call");
}

static double run(int calls) {
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int i = 0; i < calls; i++) {
        trip();
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    return ((double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) * 1e-9) / calls;
}

/* The server's end of a raw mechanism: gives back what comes, until the client is gone. */
static void serve_raw(int in, int out) {
    while (read_all(in) && write_all(out, result)) {
    }
    _exit(0);
}

static void serve_door(const char *path, int ready) {
    int made = door_create(echo, NULL, 0);
    must(made >= 0 && fattach(made, path) == 0, "fattach");
    must(write(ready, "r", 1) == 1, "write");
    for (;;) {
        pause();
    }
}

int main(int argc, char **argv) {
    int forth[2], back[2], ready[2];
    char path[] = "/tmp/bench-door-XXXXXX", line[16], byte;
    if (argc != 4) {
        fprintf(stderr, "usage: round_trips MECHANISM CALLS SIZE\n");
        return 2;
    }
    int is_door = strcmp(argv[1], "door") == 0, calls = atoi(argv[2]);
    size = (size_t)atol(argv[3]);
    must(size <= LARGEST && pipe(ready) == 0, "pipe");
    if (is_door) {
        must(close(mkstemp(path)) == 0, "mkstemp");
    } else if (strcmp(argv[1], "pipe") == 0) {
        must(pipe(forth) == 0 && pipe(back) == 0, "pipe");
    } else {
        int type = strcmp(argv[1], "seqpacket") == 0 ? SOCK_SEQPACKET : SOCK_STREAM;
        must(socketpair(AF_UNIX, type, 0, forth) == 0, "socketpair");
        back[0] = forth[1], back[1] = forth[0]; /* one pair serves both ways */
    }
    pid_t server = fork();
    must(server >= 0, "fork");
    if (server == 0) {
        pin(1);
        if (is_door) {
            serve_door(path, ready[1]);
        }
        if (strcmp(argv[1], "pipe") == 0) {
            close(forth[1]), close(back[0]);
        } else {
            close(forth[1]);
        }
        serve_raw(forth[0], back[1]);
    }
    pin(0);
    if (is_door) {
        must(read(ready[0], &byte, 1) == 1 && (door = door_open(path, 0)) >= 0, "door_open");
    } else {
        to = forth[1], from = back[0];
    }
    run(calls);
    printf("@bench {\"ready\": true}\n");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL) {
        printf("@bench {\"value\": %.9g}\n", run(calls));
        fflush(stdout);
    }
    if (is_door) {
        fdetach(path);
        unlink(path);
    }
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    return 0;
}
