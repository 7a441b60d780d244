/* What Python sees of the shim. Read by cffi as it stands, and by the shim's own sources through shim.h.
 *
 * Functions that can fail take `char **error` and put a text there that the caller frees with memory_free. */

typedef struct engine engine;
typedef struct wasm_engine_t wasm_engine_t;
typedef struct module module;
typedef struct linked linked;
typedef struct guest guest;
typedef struct purse purse;

typedef struct {
    uint32_t max_guests;
    uint64_t max_memory;     /* bytes of linear memory, each guest */
    uint64_t reservation;    /* bytes of address space for each linear memory, and */
    uint64_t guard;          /* behind it */
    uint64_t max_elements;   /* of each table */
    uint64_t wasm_stack;     /* bytes, each guest */
    uint64_t tick;           /* nanoseconds */
    uint32_t workers;
    uint64_t fuel;           /* 0: guests give way by time; otherwise after so much fuel, and there is no ticker */
} engine_sizes;

typedef struct {
    uint64_t memory;
    uint64_t table_elements;
    uint32_t futures;
    uint64_t queued_bytes;
    uint64_t cpu_time;       /* nanoseconds at a stretch, and */
    double cpu_renewal;      /* nanoseconds that are renewed in each nanosecond */
    uint64_t start_time;     /* nanoseconds */
} guest_limits;

typedef struct {
    const char *module;
    size_t module_size;
    const char *name;
    size_t name_size;
    uint8_t kind;
    size_t parameters;
    size_t results;
    const uint8_t *types;    /* of the parameters, then of the results */
} extern_view;

typedef struct {
    const char *module_name;
    uint32_t index;
    bool denied;
    bool clock;              /* the shim answers with the time of day and the time since the engine's first answer */
    bool returns;            /* a result that the guest drops without having polled it comes back, RECORD_RETURNED */
} hostcall_import;

typedef struct {
    const char *module;      /* or NULL */
    size_t module_size;
    const char *function;    /* or NULL */
    size_t function_size;
    uint32_t index;
    size_t offset;
} frame_view;

typedef struct {
    int fault;               /* one of the FAULT_ values */
    int code;                /* Wasmtime's trap code, or -1 */
    const char *message;
    size_t message_size;
    const frame_view *frames;
    size_t frame_count;
} trap_view;

typedef struct {
    uint64_t key;
    uint64_t word;
} stopped_guest;

enum { STEP_PARKED = 0, STEP_PREEMPTED = 1, STEP_FINISHED = 2, STEP_TRAPPED = 3 };

/* The word that describes a guest at rest: the step, these flags, and above them the bytes of submissions. */
enum { HAS_SUBMISSIONS = 4, RUNNABLE = 16, STAGED = 32, HAS_REFUSALS = 64, SIZE_SHIFT = 8 };

/* Bytes of an engine's stage, where guest_advance() puts submissions. */
enum { STAGE_SIZE = 4096 };

/* In the place of a hostcall's index, what has become of a future: the guest has dropped it while it had no answer
 * or an offer; or it has taken its offer; or it has dropped it with a result that returns, and then the hostcall's
 * index, as a uint32_t, and the result are where arguments would be. */
#define RECORD_DROPPED 0xffffffff
#define RECORD_TAKEN 0xfffffffe
#define RECORD_RETURNED 0xfffffffd

/* The key of no future. */
#define NO_KEY 0xffffffffffffffff

enum { FAULT_NONE = 0, FAULT_HOSTCALL, FAULT_LIMIT, FAULT_CPU_TIME, FAULT_START_TIME, FAULT_STOPPED };

enum { OPEN_READY = 0, OPEN_EXHAUSTED, OPEN_NO_MEMORY, OPEN_TRAPPED, OPEN_FAILED };

bool library_load(const char *path, char **error);
void memory_free(void *data);

engine *engine_open(const engine_sizes *sizes, char **error);
void engine_close(engine *e);
int engine_fileno(const engine *e);
size_t engine_stopped(engine *e, stopped_guest *found, size_t room);
uint32_t engine_guests(engine *e);
const uint8_t *engine_stage(const engine *e);

/* For an engine with fuel: sets its clock; and returns the nanoseconds by which guests have moved it on since the last
 * time. */
void engine_set_clock(engine *e, uint64_t nanoseconds);
uint64_t engine_take_spent(engine *e);

/* The engine's compiler, which outlives it while somebody uses it: compiling may go on, on another thread,
 * while the engine is closed. */
wasm_engine_t *compiler_open(engine *e);
void compiler_free(wasm_engine_t *compiler);

/* A compiler without an engine, on one thread. What it makes, an engine of the same sizes can load. */
wasm_engine_t *compiler_alone(const engine_sizes *sizes);

module *module_compile(wasm_engine_t *compiler, const uint8_t *source, size_t size, char **error);
module *module_load(wasm_engine_t *compiler, const uint8_t *artifact, size_t size, char **error);
uint8_t *module_save(const module *m, size_t *size);
void module_free(module *m);
size_t module_import_count(const module *m);
size_t module_export_count(const module *m);
extern_view module_import_at(const module *m, size_t index);
extern_view module_export_at(const module *m, size_t index);

linked *linked_open(wasm_engine_t *compiler, const module *m, const hostcall_import *imports, size_t count,
                    char **error);
void linked_free(linked *l);

/* What the guests of a tree may use together: bytes of linear memory, and nanoseconds. Guests that have it keep it
 * beyond purse_close(). */
purse *purse_open(uint64_t memory, uint64_t cpu_time, double cpu_renewal);
void purse_close(purse *p);
uint64_t purse_memory(const purse *p);
uint64_t purse_cpu_time(const purse *p);

/* `tree` may be NULL. */
guest *guest_open(engine *e, const linked *l, const guest_limits *limits, purse *tree, uint64_t key, int *outcome,
                  char **error);
void guest_close(guest *g);
uint8_t *guest_memory(guest *g, size_t *size);

/* Begins the call of an exported function with `count` parameters of 8 bytes each and the types `kinds`. That
 * these and the number of results are the function's own is for the caller to know from the module. */
bool guest_start(guest *g, const char *name, size_t name_size, const uint8_t *kinds, const void *values,
                 size_t count, size_t results);
uint64_t guest_resume(guest *g);

/* Answers `future`, unless it is NO_KEY; runs the guest, if it can go on and nothing that it has submitted waits;
 * and takes its submissions to the engine's stage, if they fit there. The word then says STAGED, and the size is
 * that of what lies on the stage. */
uint64_t guest_advance(guest *g, uint64_t future, const uint8_t *payload, size_t size);
/* A guest that serves: it waits for a message with a receive, whose arguments are the `wish`, and is given messages or
 * requests as long as it does nothing else than answer them and wait with the same wish again. What else it does
 * lies among its submissions when one of the functions below returns, and nothing of it is done. No worker has it. */
typedef struct {
    uint32_t receive_index; /* of the hostcalls */
    uint32_t reply_index;
    uint32_t call_index;
    uint32_t answer_limit;  /* bytes that an answer may have; a longer one is left among the submissions */
    uint64_t receive;       /* the future of the receive that waits, before and after; NO_KEY if none does */
    const uint8_t *wish;
    size_t wish_size;
    uint64_t deadline;      /* on the monotonic clock, in nanoseconds: nothing is begun after it */
    uint64_t hostcalls;     /* of the server that were answered here */
    uint64_t word;          /* of the server, as from guest_advance() without anything staged */
    bool delivered;         /* the server has been given the last message, or request, that it was to get */
    bool answered;          /* and has answered it */
    const uint8_t *answer;  /* what with, until anything more is done with the server */
    size_t answer_size;
} serving;

/* Gives the server one message after another, without tags and resources: the data of all, and their `sizes`. Returns
 * how many it was given. */
uint32_t guest_feed(guest *server, serving *s, const uint8_t *data, const uint32_t *sizes, uint32_t count);

/* Gives the server a request, under the number `request`, without resources. */
void guest_ask(guest *server, serving *s, uint32_t request, const uint8_t *data, size_t size);

/* A guest that calls a server: what the future of its call and its arguments are, at first and at the end, if the call
 * was not answered. Of the arguments, those from `data` on are the data, so many bytes, and of further calls they are
 * all that may differ from the first one. */
typedef struct {
    uint64_t call;
    const uint8_t *arguments;
    size_t size;
    size_t data;
    size_t data_size;
    uint64_t calls;         /* that were answered */
    uint64_t word;          /* of the caller */
} calling;

/* Gives the server the caller's call, and the caller the answer, and so on for as long as the caller then waits for
 * another call of the same server. */
void guest_converse(guest *caller, calling *c, guest *server, serving *s, uint32_t request);

bool guest_offload(guest *g);
bool guest_interrupt(guest *g);
bool guest_release(guest *g);

/* Whether the guest is to end when it runs next: the host told it to, or it has exceeded a limit. */
bool guest_ending(const guest *g);
const char *guest_submissions(guest *g);

/* The indices of the denied hostcalls that the guest has made since the last time, each once in the guest's life. */
size_t guest_refusals(guest *g, const uint32_t **indices);

/* Takes every result that returns and that the guest has not polled away from it, as if the guest had dropped its
 * future. Returns the word. */
uint64_t guest_return_results(guest *g);
bool guest_complete(guest *g, uint64_t future, const uint8_t *payload, size_t size);

/* As guest_complete(), with a result that the guest may take or not: the host gets a record that tells which. */
bool guest_offer(guest *g, uint64_t future, const uint8_t *payload, size_t size);
bool guest_fail(guest *g, uint64_t future, const uint8_t *message, size_t size);
size_t guest_result_count(const guest *g);
uint8_t guest_result(const guest *g, size_t index, uint64_t *bits);
const trap_view *guest_trap(const guest *g);
uint64_t guest_cpu_time(const guest *g);
