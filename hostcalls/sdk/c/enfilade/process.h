/* Processes: starting guests, links, monitors, exits. */
#ifndef ENFILADE_PROCESS_H
#define ENFILADE_PROCESS_H

#include "actor.h"

ENFILADE_HOSTCALL(enfilade_actor_spawn, "enfilade::actor::spawn")
ENFILADE_HOSTCALL(enfilade_actor_link, "enfilade::actor::link")
ENFILADE_HOSTCALL(enfilade_actor_unlink, "enfilade::actor::unlink")
ENFILADE_HOSTCALL(enfilade_actor_monitor, "enfilade::actor::monitor")
ENFILADE_HOSTCALL(enfilade_actor_demonitor, "enfilade::actor::demonitor")
ENFILADE_HOSTCALL(enfilade_actor_exit, "enfilade::actor::exit")
ENFILADE_HOSTCALL(enfilade_actor_trap, "enfilade::actor::trap")

/* The kinds of argument that an entrypoint takes. */
enum enfilade_argument_kind {
    ENFILADE_I8,
    ENFILADE_U8,
    ENFILADE_I16,
    ENFILADE_U16,
    ENFILADE_I32,
    ENFILADE_U32,
    ENFILADE_I64,
    ENFILADE_U64,
    ENFILADE_F32,
    ENFILADE_F64,
    ENFILADE_BUFFER,  /* `data` and `size`: the child sees a pointer and a length */
    ENFILADE_RESOURCE /* `bits` is a slot of this guest; the child sees a slot of its own, as an i32 */
};

/* One argument; a number is its bits, in the low bytes. */
struct enfilade_argument {
    enum enfilade_argument_kind kind;
    uint64_t bits;
    const void *data;
    uint32_t size;
};

/* A guest to be started as a child. */
struct enfilade_child {
    const char *module; /* below the module directory */
    uint32_t module_size;
    const char *entrypoint;
    uint32_t entrypoint_size;
    const uint8_t *capabilities; /* their numbers; the child may have only what this guest has */
    uint32_t capability_count;
    const struct enfilade_argument *arguments;
    uint32_t argument_count;
    uint8_t link, monitor; /* 1 to link or to monitor it from its first moment */
};

/* A child that was started: its slot, its process id, and the number of the monitor. */
struct enfilade_spawned {
    uint32_t actor;
    uint64_t process, monitor;
};

/* Bytes of the argument kinds that are numbers. */
static inline uint32_t enfilade_width(enum enfilade_argument_kind kind) {
    static const uint8_t widths[] = {1, 1, 2, 2, 4, 4, 8, 8, 4, 8};
    return widths[kind];
}

/* Start a child. Returns 0, or -1. */
static inline int enfilade_spawn(const struct enfilade_child *child, struct enfilade_spawned *spawned) {
    struct argument { /* a tag, and then a number behind its kind, bytes, or a slot */
        uint64_t words[3];
    } *arguments;
    struct spawn {
        union enfilade_text module, entrypoint;
        struct enfilade_bytes capabilities, parameters, results, arguments;
        uint8_t link, monitor;
    } *spawn;
    enum { NUMBER, BYTES, RESOURCE };
    enfilade_begin();
    const struct enfilade_piece module = enfilade_put_text(child->module, child->module_size);
    const struct enfilade_piece entrypoint = enfilade_put_text(child->entrypoint, child->entrypoint_size);
    const struct enfilade_piece capabilities = enfilade_put(child->capabilities, child->capability_count, 1);
    const struct enfilade_piece parameters = {enfilade_reserve(2 * child->argument_count, 1), child->argument_count};
    const struct enfilade_piece results = enfilade_put(NULL, 0, 1);
    const uint32_t bytes = enfilade_used; /* the arguments' own bytes follow, in their order */
    for (uint32_t at = 0; at < child->argument_count; at++) {
        if (child->arguments[at].kind == ENFILADE_BUFFER) {
            enfilade_put(child->arguments[at].data, child->arguments[at].size, 1);
        }
    }
    arguments = (struct argument *)enfilade_root(child->argument_count * (uint32_t)sizeof *arguments, 8);
    spawn = (struct spawn *)enfilade_root(sizeof *spawn, 4);
    if (spawn == NULL) {
        return -1;
    }
    uint8_t *parameter = (uint8_t *)parameters.data;
    const uint8_t *data = enfilade_scratch.bytes + bytes;
    for (uint32_t at = 0; at < child->argument_count; at++) {
        const struct enfilade_argument *given = &child->arguments[at];
        uint8_t *argument = (uint8_t *)&arguments[at];
        parameter[2 * at] = given->kind == ENFILADE_BUFFER;
        parameter[2 * at + 1] = given->kind == ENFILADE_BUFFER     ? 0
                                : given->kind == ENFILADE_RESOURCE ? ENFILADE_I32
                                                                   : (uint8_t)given->kind;
        if (given->kind == ENFILADE_BUFFER) {
            argument[0] = BYTES;
            enfilade_point((struct enfilade_bytes *)(argument + 4), (struct enfilade_piece){data, given->size});
            data += given->size;
        } else if (given->kind == ENFILADE_RESOURCE) {
            argument[0] = RESOURCE;
            enfilade_copy(argument + 8, &given->bits, sizeof given->bits);
        } else {
            const uint32_t width = enfilade_width(given->kind);
            argument[0] = NUMBER;
            argument[8] = (uint8_t)given->kind;
            enfilade_copy(argument + 8 + width, &given->bits, width);
        }
    }
    enfilade_set_text(&spawn->module, module);
    enfilade_set_text(&spawn->entrypoint, entrypoint);
    enfilade_point(&spawn->capabilities, capabilities);
    enfilade_point(&spawn->parameters, parameters);
    enfilade_point(&spawn->results, results);
    enfilade_point(&spawn->arguments, (struct enfilade_piece){arguments, child->argument_count});
    spawn->link = child->link;
    spawn->monitor = child->monitor;
    if (ENFILADE_MAKE(enfilade_actor_spawn) != (int32_t)sizeof *spawned) {
        return -1;
    }
    enfilade_copy(spawned, enfilade_outcome.bytes, sizeof *spawned);
    return 0;
}

/* Link the guest with an actor, or take the link down. Returns 0, or -1. */
ENFILADE_ON_SLOT(enfilade_link, enfilade_actor_link)
ENFILADE_ON_SLOT(enfilade_unlink, enfilade_actor_unlink)

/* Watch an actor: the monitor's number, or 0 if it was refused. */
static inline uint64_t enfilade_monitor(uint32_t actor) {
    uint64_t number;
    if (enfilade_actor_monitor(&actor, sizeof actor, enfilade_outcome.bytes, ENFILADE_RESULT_MIN) < 0) {
        return 0;
    }
    enfilade_copy(&number, enfilade_outcome.bytes, sizeof number);
    return number;
}

/* Remove a monitor, and a notice of it that waits. Returns 0, or -1. */
static inline int enfilade_demonitor(uint64_t monitor) {
    const struct {
        uint64_t monitor;
        uint8_t flush;
    } arguments = {monitor, 1};
    return enfilade_actor_demonitor(&arguments, sizeof arguments, enfilade_outcome.bytes, ENFILADE_RESULT_MIN) < 0 ? -1 : 0;
}

/* Whether exit signals arrive as messages from now on, 0 or 1; what it was before, or -1. */
static inline int enfilade_trap_exits(uint8_t trap) {
    if (enfilade_actor_trap(&trap, sizeof trap, enfilade_outcome.bytes, ENFILADE_RESULT_MIN) != 1) {
        return -1;
    }
    return enfilade_outcome.bytes[0];
}

/* Send an exit signal to an actor, or end the guest itself (NULL). `detail` is a text for people. Returns 0, or -1. */
static inline int enfilade_exit(const uint32_t *actor, enum enfilade_reason reason, const char *detail, uint32_t size) {
    struct leave {
        uint8_t present;
        uint32_t to;
        uint8_t kind;
        union enfilade_text detail;
    } *leave;
    enfilade_begin();
    const struct enfilade_piece text = enfilade_put_text(detail, size);
    leave = (struct leave *)enfilade_root(sizeof *leave, 4);
    if (leave == NULL) {
        return -1;
    }
    leave->present = actor != NULL;
    leave->to = actor != NULL ? *actor : 0;
    leave->kind = (uint8_t)reason;
    enfilade_set_text(&leave->detail, text);
    return ENFILADE_MAKE(enfilade_actor_exit) < 0 ? -1 : 0;
}

#endif
