/* Calls door_create in a child of vfork, where no Python may run. Loaded by test_creation.py. */
#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

int create_in_child(int (*door_create)(void *, void *, unsigned int), void *procedure) {
    volatile int error = -1;
    pid_t child = vfork();
    if (child == 0) {
        error = door_create(procedure, NULL, 0) < 0 ? errno : 0;
        _exit(0);
    }
    if (child < 0 || waitpid(child, NULL, 0) != child) {
        return -1;
    }
    return error;
}
