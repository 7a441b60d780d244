/* See interrupt.h. */
#include "interrupt.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

static void do_nothing(int signal) {
    (void)signal;
}

/* Near the last of the real-time signals: the first ones are what other libraries and libc itself like to take. */
int interrupt_signal(void) {
    return SIGRTMAX - 1;
}

int interrupt_prepare(void) {
    struct sigaction action, present;
    if (sigaction(interrupt_signal(), NULL, &present) != 0) {
        return -1;
    }
    if (present.sa_handler != SIG_DFL) {
        return present.sa_handler == do_nothing ? 0 : (errno = EBUSY, -1);
    }
    memset(&action, 0, sizeof action);
    action.sa_handler = do_nothing; /* without SA_RESTART: a blocked call must come back */
    sigemptyset(&action.sa_mask);
    return sigaction(interrupt_signal(), &action, NULL);
}

unsigned long interrupt_self(void) {
    return (unsigned long)pthread_self();
}

int interrupt_thread(unsigned long thread) {
    int error = pthread_kill((pthread_t)thread, interrupt_signal());
    if (error != 0) {
        errno = error;
    }
    return error == 0 ? 0 : -1;
}
