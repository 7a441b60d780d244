/*
 * Round trips of a door call beside those of raw mechanisms, in the same placement and the same run.
 *
 *   latency [calls]
 *
 * Prints microseconds (median of batches) and the ratio to SOCK_SEQPACKET. The server is another process; with
 * "same" both are pinned to one processor, with "apart" to two, with "free" the scheduler places them.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <door.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BATCHES = 21, MESSAGE_MAX = 1 << 20 };

static int calls = 2000;
static char request[MESSAGE_MAX], result[MESSAGE_MAX];

struct channel {
    int to, from; /* raw mechanisms */
    int door;
    size_t size;
    void (*trip)(struct channel *);
};

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

static void pin(int processor) {
    cpu_set_t set;
    if (processor < 0) {
        return;
    }
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static void must(int good) {
    if (!good) {
        perror("latency");
        _exit(1);
    }
}

static void write_all(int fd, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t length = write(fd, request + done, size - done);
        must(length > 0);
        done += (size_t)length;
    }
}

static bool read_all(int fd, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t length = read(fd, result + done, size - done);
        if (length <= 0) {
            return false;
        }
        done += (size_t)length;
    }
    return true;
}

static void raw_trip(struct channel *channel) {
    write_all(channel->to, channel->size);
    must(read_all(channel->from, channel->size));
}

static void echo_loop(int from, int to, size_t size) {
    while (read_all(from, size)) {
        write_all(to, size);
    }
    _exit(0);
}

static void echo(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count) {
    (void)cookie, (void)descriptors, (void)count;
    door_return(data, size, NULL, 0);
}

static void door_trip(struct channel *channel) {
    door_arg_t arguments = {
        .data_ptr = request, .data_size = channel->size, .rbuf = result, .rsize = sizeof result};
    must(door_call(channel->door, &arguments) == 0);
}

static int compare(const void *left, const void *right) {
    double difference = *(const double *)left - *(const double *)right;
    return difference < 0 ? -1 : difference > 0;
}

static double measure(struct channel *channel) {
    double batches[BATCHES];
    for (int i = 0; i < calls / 4; i++) {
        channel->trip(channel);
    }
    for (int i = 0; i < BATCHES; i++) {
        double start = now();
        for (int j = 0; j < calls / BATCHES; j++) {
            channel->trip(channel);
        }
        batches[i] = (now() - start) / (calls / BATCHES);
    }
    qsort(batches, BATCHES, sizeof *batches, compare);
    return batches[BATCHES / 2];
}

/* One mechanism in one placement, in processes of its own. */
static double run(const char *mechanism, size_t size, int client_processor, int server_processor) {
    int forth[2], back[2], ready[2];
    double *answer = mmap(NULL, sizeof *answer, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct channel channel = {.size = size, .trip = raw_trip};
    must(pipe(ready) == 0);
    bool is_door = strcmp(mechanism, "door_call") == 0;
    char path[64];
    snprintf(path, sizeof path, "/tmp/door-latency-%d", (int)getpid());
    if (strcmp(mechanism, "pipe") == 0) {
        must(pipe(forth) == 0 && pipe(back) == 0);
    } else {
        int type = strcmp(mechanism, "seqpacket") == 0 ? SOCK_SEQPACKET : SOCK_STREAM;
        must(socketpair(AF_UNIX, type, 0, forth) == 0);
        back[0] = forth[1], back[1] = forth[0]; /* one pair serves both ways */
    }
    pid_t server = fork();
    if (server == 0) {
        pin(server_processor);
        if (is_door) {
            fclose(fopen(path, "w"));
            int door = door_create(echo, NULL, 0);
            must(door >= 0 && fattach(door, path) == 0);
            must(write(ready[1], "r", 1) == 1);
            pause();
        }
        if (forth[0] == back[1]) {
            echo_loop(forth[0], forth[0], size);
        }
        echo_loop(forth[0], back[1], size);
    }
    pid_t client = fork();
    if (client == 0) {
        pin(client_processor);
        channel.to = forth[1];
        channel.from = back[0];
        if (is_door) {
            char byte;
            must(read(ready[0], &byte, 1) == 1);
            channel.door = door_open(path, 0);
            channel.trip = door_trip;
        }
        *answer = measure(&channel);
        _exit(0);
    }
    waitpid(client, NULL, 0);
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    for (int i = 0; i < 2; i++) {
        close(forth[i]);
        close(ready[i]);
        if (strcmp(mechanism, "pipe") == 0) {
            close(back[i]);
        }
    }
    if (is_door) {
        fdetach(path);
        unlink(path);
    }
    double microseconds = *answer;
    munmap(answer, sizeof *answer);
    return microseconds;
}

int main(int argc, char **argv) {
    static const char *const mechanisms[] = {"seqpacket", "stream", "pipe", "door_call"};
    static const size_t sizes[] = {0, 64, 4096, 65536};
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    struct {
        const char *name;
        int client, server;
    } placements[] = {{"same", 0, 0}, {"apart", 0, 1}, {"free", -1, -1}};
    if (argc > 1) {
        calls = atoi(argv[1]);
    }
    printf("%-8s %8s  %-10s %10s %8s\n", "place", "bytes", "mechanism", "us", "ratio");
    for (size_t p = 0; p < sizeof placements / sizeof *placements; p++) {
        if (placements[p].server > 0 && processors < 2) {
            continue;
        }
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            double base = 0;
            for (size_t m = 0; m < sizeof mechanisms / sizeof *mechanisms; m++) {
                if (sizes[s] == 0 && m < 3) {
                    continue; /* raw mechanisms have no empty message that is told from the end */
                }
                double time = run(mechanisms[m], sizes[s], placements[p].client, placements[p].server);
                base = m == 0 ? time : base;
                printf("%-8s %8zu  %-10s %10.2f %8.2f\n", placements[p].name, sizes[s], mechanisms[m], time,
                       base > 0 ? time / base : 0);
                fflush(stdout);
            }
        }
    }
    return 0;
}
