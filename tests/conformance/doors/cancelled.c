/* A server procedure that lets itself be cancelled, and its clean-up handler. Loaded by test_interruption.py. */
#include <pthread.h>
#include <stddef.h>
#include <unistd.h>

static int (*give_back)(char *, size_t, void *, unsigned int);
static int entered_fd, cleaned_fd;

void prepare(int (*door_return)(char *, size_t, void *, unsigned int), int entered, int cleaned) {
    give_back = door_return;
    entered_fd = entered;
    cleaned_fd = cleaned;
}

static void clean_up(void *unused) {
    (void)unused;
    (void)!write(cleaned_fd, "c", 1);
}

void procedure(void *cookie, char *argp, size_t arg_size, void *dp, unsigned int n_desc) {
    int state;
    (void)cookie, (void)argp, (void)dp, (void)n_desc;
    if (arg_size > 0) {
        pthread_cleanup_push(clean_up, NULL);
        pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state);
        (void)!write(entered_fd, "e", 1);
        sleep(30);
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
        pthread_cleanup_pop(0);
    }
    give_back("done", 4, NULL, 0);
}
