/* The record of calls, and the failures that a test has asked for. */
#include "mock.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char record[64 * 1024];
static size_t length;
static char failing[64];
static int failure;

int mock_enter(const char *function) {
    int fails = 0;
    pthread_mutex_lock(&lock);
    size_t size = strlen(function);
    if (length + size + 2 < sizeof record) {
        memcpy(record + length, function, size);
        length += size;
        record[length++] = '\n';
        record[length] = '\0';
    }
    if (failure != 0 && strcmp(failing, function) == 0) {
        fails = failure;
        failure = 0;
    }
    pthread_mutex_unlock(&lock);
    if (fails == 0) {
        return 0;
    }
    errno = fails;
    return 1;
}

const char *mock_calls(void) {
    return record;
}

void mock_forget_calls(void) {
    pthread_mutex_lock(&lock);
    length = 0;
    record[0] = '\0';
    pthread_mutex_unlock(&lock);
}

void mock_fail(const char *function, int error_number) {
    pthread_mutex_lock(&lock);
    strncpy(failing, function, sizeof failing - 1);
    failure = error_number;
    pthread_mutex_unlock(&lock);
}
