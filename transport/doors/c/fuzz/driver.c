/*
 * Runs a target of libFuzzer's without libFuzzer:
 *
 *   target [runs [seed [corpus...]]]
 *
 * Inputs are mutated from the files of the corpus, and from inputs that reached code which none before had reached. What has been
 * reached is told by gcc's -fsanitize-coverage=trace-pc. The last input is written to `crash-input` when the target aborts. SIGTERM
 * ends the run, after which it says how far it has come: `timeout 300 target 1000000000`.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LARGEST = 512, KEPT = 4096, PLACES = 1 << 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
void __sanitizer_cov_trace_pc(void);

struct input {
    uint16_t size;
    uint8_t bytes[LARGEST];
};

static uint8_t reached[PLACES];
static unsigned long places;
static struct input kept[KEPT], input;
static unsigned kept_count;
static uint64_t state = 88172645463325252ull;

__attribute__((no_sanitize_coverage)) void __sanitizer_cov_trace_pc(void) {
    uintptr_t place = (uintptr_t)__builtin_return_address(0);
    uint8_t *seen = &reached[(place ^ place >> 16) % PLACES];
    if (*seen == 0) {
        *seen = 1;
        __atomic_fetch_add(&places, 1, __ATOMIC_RELAXED);
    }
}

static uint32_t below(uint32_t limit) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 16) % limit;
}

static void keep(const struct input *one) {
    kept[kept_count < KEPT ? kept_count++ : below(KEPT)] = *one;
}

static void mutate(struct input *one) {
    static const uint8_t numbers[] = {0, 1, 2, 127, 128, 255, 254, 16, 64, 253};
    for (unsigned i = 1 + below(6); i > 0; i--) {
        unsigned at = one->size > 0 ? below(one->size) : 0;
        switch (below(6)) {
        case 0:
            one->bytes[at] ^= (uint8_t)(1u << below(8));
            break;
        case 1:
            one->bytes[at] = numbers[below(sizeof numbers)];
            break;
        case 2:
            one->bytes[at] = (uint8_t)below(256);
            break;
        case 3:
            one->size = (uint16_t)below(LARGEST + 1);
            break;
        case 4:
            one->size = (uint16_t)(one->size < LARGEST - 8 ? one->size + 8 : one->size);
            break;
        default: { /* a part of another input */
            const struct input *other = &kept[below(kept_count)];
            unsigned length = below(64), from = below(LARGEST - 64), to = below(LARGEST - 64);
            memcpy(one->bytes + to, other->bytes + from, length);
        }
        }
    }
}

static void read_corpus(const char *path) {
    DIR *listing = opendir(path);
    for (struct dirent *entry; listing != NULL && (entry = readdir(listing)) != NULL;) {
        struct input one = {0};
        int fd = openat(dirfd(listing), entry->d_name, O_RDONLY | O_CLOEXEC);
        ssize_t size = fd >= 0 ? read(fd, one.bytes, LARGEST) : -1;
        if (size > 0) {
            one.size = (uint16_t)size;
            keep(&one);
        }
        close(fd);
    }
    if (listing != NULL) {
        closedir(listing);
    }
}

static void crashed(int number) {
    int fd = open("crash-input", O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
    if (write(fd, input.bytes, input.size) >= 0) {
        close(fd);
    }
    signal(number, SIG_DFL);
    raise(number);
}

static volatile sig_atomic_t is_over;

static void end(int number) {
    (void)number;
    is_over = 1;
}

int main(int argc, char **argv) {
    unsigned long runs = argc > 1 ? strtoul(argv[1], NULL, 0) : 10000;
    state = argc > 2 ? strtoull(argv[2], NULL, 0) * 0x9E3779B97F4A7C15ull | 1 : state;
    signal(SIGABRT, crashed);
    signal(SIGSEGV, crashed);
    signal(SIGTERM, end);
    for (int i = 3; i < argc; i++) {
        read_corpus(argv[i]);
    }
    unsigned seeds = kept_count;
    keep(&(struct input){.size = 64});
    unsigned long run = 0;
    for (; run < runs && !is_over; run++) {
        input = kept[run < kept_count ? run : below(kept_count)];
        if (run >= seeds) {
            mutate(&input);
        }
        unsigned long before = places;
        LLVMFuzzerTestOneInput(input.bytes, input.size);
        if (places > before && run >= seeds) {
            keep(&input);
        }
    }
    printf("%lu inputs, %u of them kept, %lu places reached\n", run, kept_count, places);
    return 0;
}
