/*
 * Round trips of a door call beside those of raw mechanisms, in the same placement and the same run.
 *
 *   latency [calls]
 *
 * Prints microseconds (median and best of the batches) and the median's ratio to SOCK_SEQPACKET. The server is another process; with
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

static int calls = 10000;
static char request[MESSAGE_MAX], result[MESSAGE_MAX];

struct channel {
    int to, from; /* raw mechanisms */
    int door;
    pid_t server;
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

static double batch(struct channel *channel, int count) {
    double start = now();
    for (int i = 0; i < count; i++) {
        channel->trip(channel);
    }
    return (now() - start) / count;
}

static void start(const char *mechanism, struct channel *channel, size_t size, int processor) {
    int forth[2], back[2], ready[2];
    char path[64];
    bool is_door = strcmp(mechanism, "door_call") == 0;
    *channel = (struct channel){.size = size, .trip = is_door ? door_trip : raw_trip};
    snprintf(path, sizeof path, "/tmp/door-latency-%d", (int)getpid());
    if (strcmp(mechanism, "pipe") == 0) {
        must(pipe(forth) == 0 && pipe(back) == 0);
    } else {
        must(socketpair(AF_UNIX, strcmp(mechanism, "seqpacket") == 0 ? SOCK_SEQPACKET : SOCK_STREAM, 0, forth) == 0);
        back[0] = forth[1], back[1] = forth[0]; /* one pair serves both ways */
    }
    must(pipe(ready) == 0);
    if ((channel->server = fork()) == 0) {
        pin(processor);
        if (is_door) {
            fclose(fopen(path, "w"));
            int door = door_create(echo, NULL, 0);
            must(door >= 0 && fattach(door, path) == 0);
            must(write(ready[1], "r", 1) == 1);
            for (;;) {
                pause();
            }
        }
        must(write(ready[1], "r", 1) == 1);
        echo_loop(forth[0], back[1], size);
    }
    char byte;
    must(read(ready[0], &byte, 1) == 1);
    close(ready[0]);
    close(ready[1]);
    channel->to = forth[1];
    channel->from = back[0];
    if (is_door) {
        channel->door = door_open(path, 0);
        fdetach(path);
        unlink(path);
    }
}

/* All mechanisms take turns, so that a disturbance of the machine meets them alike. */
static void compare_all(const char *place, size_t size, int client_processor, int server_processor) {
    static const char *const mechanisms[] = {"seqpacket", "stream", "pipe", "door_call"};
    enum { COUNT = sizeof mechanisms / sizeof *mechanisms };
    double batches[COUNT][BATCHES], base = 0;
    fflush(stdout);
    pid_t client = fork();
    if (client != 0) {
        waitpid(client, NULL, 0);
        return;
    }
    struct channel channels[COUNT];
    for (int m = size == 0 ? COUNT - 1 : 0; m < COUNT; m++) {
        start(mechanisms[m], &channels[m], size, server_processor);
    }
    pin(client_processor);
    for (int b = -2; b < BATCHES; b++) {
        for (int m = size == 0 ? COUNT - 1 : 0; m < COUNT; m++) {
            double time = batch(&channels[m], calls / BATCHES + 1);
            if (b >= 0) {
                batches[m][b] = time;
            }
        }
    }
    for (int m = size == 0 ? COUNT - 1 : 0; m < COUNT; m++) {
        qsort(batches[m], BATCHES, sizeof **batches, compare);
        double median = batches[m][BATCHES / 2];
        base = m == 0 ? median : base;
        printf("%-8s %8zu  %-10s %10.2f %10.2f %8.2f\n", place, size, mechanisms[m], median, batches[m][0],
               base > 0 ? median / base : 0);
        kill(channels[m].server, SIGKILL);
        waitpid(channels[m].server, NULL, 0);
    }
    fflush(stdout);
    _exit(0);
}

int main(int argc, char **argv) {
    static const size_t sizes[] = {0, 64, 4096, 65536};
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    struct {
        const char *name;
        int client, server;
    } placements[] = {{"same", 0, 0}, {"apart", 0, 1}, {"free", -1, -1}};
    if (argc > 1) {
        calls = atoi(argv[1]);
    }
    printf("%-8s %8s  %-10s %10s %10s %8s\n", "place", "bytes", "mechanism", "median us", "best us", "ratio");
    for (size_t p = 0; p < sizeof placements / sizeof *placements; p++) {
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes && placements[p].server < processors; s++) {
            compare_all(placements[p].name, sizes[s], placements[p].client, placements[p].server);
        }
    }
    return 0;
}
