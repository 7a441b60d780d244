/* The parameters of a door: door_getparam and door_setparam. */
#include "internal.h"

#include <limits.h>
#include <string.h>

static int fail(int error) {
    errno = error;
    return -1;
}

int door_getparam(int d, int param, size_t *out) {
    struct identity identity;
    struct limits limits;
    int error = identify(d, &identity);
    if (error != 0) {
        return fail(error);
    }
    status_limits(identity.status, &limits);
    identity_drop(&identity);
    size_t value;
    switch (param) {
    case DOOR_PARAM_DESC_MAX:
        value = limits.descriptors_max;
        break;
    case DOOR_PARAM_DATA_MAX:
        value = limits.data_max;
        break;
    case DOOR_PARAM_DATA_MIN:
        value = limits.data_min;
        break;
    default:
        return fail(EINVAL);
    }
    if (!memory_writable(out, sizeof *out)) {
        return fail(EFAULT);
    }
    memcpy(out, &value, sizeof value);
    return 0;
}

static int change(struct limits *limits, door_attr_t attributes, int param, size_t value) {
    switch (param) {
    case DOOR_PARAM_DESC_MAX:
        if (value > INT_MAX) {
            return ERANGE;
        }
        if ((attributes & DOOR_REFUSE_DESC) && value != 0) {
            return ENOTSUP;
        }
        limits->descriptors_max = value;
        return 0;
    case DOOR_PARAM_DATA_MIN:
        if (value > limits->data_max) {
            return EINVAL;
        }
        limits->data_min = value;
        return 0;
    case DOOR_PARAM_DATA_MAX:
        if (value < limits->data_min) {
            return EINVAL;
        }
        limits->data_max = value;
        return 0;
    default:
        return EINVAL;
    }
}

int door_setparam(int d, int param, size_t val) {
    struct identity identity;
    int error = identify(d, &identity);
    if (error != 0) {
        return fail(error);
    }
    bool revoked = identity.dead || atomic_load(&identity.status->revoked);
    identity_drop(&identity);
    if (revoked) {
        return fail(EBADF);
    }
    struct door *door = door_of(d, &error);
    if (door == NULL) {
        return fail(error);
    }
    struct limits before, after;
    status_limits(door->status, &before);
    after = before;
    error = change(&after, atomic_load(&door->status->attributes), param, val);
    if (error == 0) {
        /* Calls that are queued now were checked against the limits as they were. */
        for (struct channel *channel = door->channels; channel != NULL; channel = channel->next) {
            uint64_t sequence = atomic_load(&channel->session->sequence);
            if (atomic_load(&channel->session->state) == CALL_QUEUED &&
                !(channel->spared && channel->spared_sequence == sequence)) {
                channel->spared = true;
                channel->spared_sequence = sequence;
                channel->spared_limits = before;
            }
        }
        status_set_limits(door->status, &after);
    }
    server_unlock();
    return error == 0 ? 0 : fail(error);
}
