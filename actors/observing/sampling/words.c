/* The sampler: a thread that notes, at random moments, what the dispatcher of a node runs.
 *
 * The dispatcher keeps in one slot, `running`, the entry of its run queue whose turn it is. The thread reads that
 * word every 5 to 15 ms and keeps the address, which nobody follows: Python compares it with the addresses of
 * processes. So nothing is added to the path of a message, and the thread never takes the GIL: a thread that
 * waits for it gets it where the loop lets go of it, and would see an idle loop nearly always.
 *
 * Tasks that trio's loop steps do not stand in that word. An instrument of trio tells us when a step begins and
 * ends. A sample belongs to the task if the word is as it was when the step began. Otherwise the task has a
 * process run a handler for it, and that is in the word. Samples of tasks are counted when their step ends, when
 * the task can be named, because it is there.
 *
 * Everything but `sample` and `watch` runs with the GIL. The thread shares single words with it, each of which is
 * read and written at once. A sample that falls between two writes may be given to a neighbour; it is one of
 * many.
 */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#define WORDS    4096     /* how many samples wait to be taken: more than 20 s of them */
#define SHORTEST 5000000  /* nanoseconds between two samples, */
#define SPREAD   10000000 /* and how many more there may be */

#define GET(place)        __atomic_load_n(&(place), __ATOMIC_ACQUIRE)
#define PUT(place, value) __atomic_store_n(&(place), (value), __ATOMIC_RELEASE)

struct sampler {
    PyObject *dispatcher; /* kept, so that the word is there as long as the thread is */
    void **word;
    void *nobody; /* what is in the word when nothing runs */

    void *stepping; /* the task that trio steps now */
    void *outer;    /* what was in the word when that began */
    void *of_loop;  /* the last task that trio's loop has stepped itself */
    unsigned long in_step;
    PyObject *steps; /* task: samples */

    size_t noted, taken; /* how many samples were ever noted, and taken */
    void *samples[WORDS];

    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t ending;
    int is_ending;
    pid_t owner; /* a child of fork has no such thread */
};

static const char NAME[] = "enfilade sampler";

/* The thread. */

static void sample(struct sampler *it)
{
    void *running = GET(*it->word), *stepping = GET(it->stepping), *found = running;
    size_t noted = it->noted;
    if (noted - GET(it->taken) >= WORDS)
        return; /* the loop has been held for long; what it does then is in the samples that there are */
    if (stepping != NULL && running == GET(it->outer)) {
        __atomic_fetch_add(&it->in_step, 1, __ATOMIC_ACQ_REL);
        found = it->nobody;
    }
    PUT(it->samples[noted % WORDS], found);
    PUT(it->noted, noted + 1);
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void *watch(void *given)
{
    struct sampler *it = given;
    struct timespec due;
    uint64_t state = (uint64_t)(uintptr_t)it | 1;
    clock_gettime(CLOCK_MONOTONIC, &due);
    pthread_mutex_lock(&it->lock);
    while (!it->is_ending) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (now.tv_sec > due.tv_sec + 1)
            due = now; /* the machine has slept */
        due.tv_nsec += SHORTEST + (long)(next_random(&state) % SPREAD);
        due.tv_sec += due.tv_nsec / 1000000000;
        due.tv_nsec %= 1000000000;
        if (pthread_cond_timedwait(&it->ending, &it->lock, &due) != 0 && !it->is_ending)
            sample(it);
    }
    pthread_mutex_unlock(&it->lock);
    return NULL;
}

static int start(struct sampler *it)
{
    pthread_condattr_t attributes;
    if (pthread_mutex_init(&it->lock, NULL) != 0)
        return -1;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    int failed = pthread_cond_init(&it->ending, &attributes);
    pthread_condattr_destroy(&attributes);
    it->owner = getpid();
    return failed || pthread_create(&it->thread, NULL, watch, it) != 0 ? -1 : 0;
}

static void stop(struct sampler *it)
{
    if (it->owner != getpid())
        return;
    it->owner = 0;
    pthread_mutex_lock(&it->lock);
    it->is_ending = 1;
    pthread_cond_signal(&it->ending);
    pthread_mutex_unlock(&it->lock);
    pthread_join(it->thread, NULL); /* it never waits for us */
    pthread_cond_destroy(&it->ending);
    pthread_mutex_destroy(&it->lock);
}

static void release(PyObject *capsule)
{
    struct sampler *it = PyCapsule_GetPointer(capsule, NAME);
    if (it == NULL)
        return;
    stop(it);
    Py_XDECREF(it->steps);
    Py_XDECREF(it->dispatcher);
    PyMem_Free(it);
}

static struct sampler *of(PyObject *capsule)
{
    return PyCapsule_GetPointer(capsule, NAME);
}

/* The instrument. */

static PyObject *before_task_step(PyObject *self, PyObject *task)
{
    struct sampler *it = of(self);
    if (it == NULL)
        return NULL;
    void *running = *it->word;
    if (running == it->nobody)
        it->of_loop = task;
    /* A task of the loop that goes on after it has stepped another one began with nothing in the word. */
    PUT(it->outer, it->of_loop == task ? it->nobody : running);
    PUT(it->stepping, (void *)task);
    Py_RETURN_NONE;
}

static PyObject *after_task_step(PyObject *self, PyObject *task)
{
    struct sampler *it = of(self);
    if (it == NULL)
        return NULL;
    PUT(it->stepping, NULL);
    unsigned long samples = __atomic_exchange_n(&it->in_step, 0, __ATOMIC_ACQ_REL);
    if (samples != 0) {
        PyObject *before = PyDict_GetItemWithError(it->steps, task), *sum = NULL;
        if (before == NULL && PyErr_Occurred())
            return NULL;
        sum = PyLong_FromUnsignedLong(samples + (before == NULL ? 0 : PyLong_AsUnsignedLong(before)));
        int failed = sum == NULL || PyDict_SetItem(it->steps, task, sum) < 0;
        Py_XDECREF(sum);
        if (failed)
            return NULL;
    }
    Py_RETURN_NONE;
}

/* What Python asks for. */

static PyObject *take(PyObject *self, PyObject *nothing)
{
    (void)nothing;
    struct sampler *it = of(self);
    if (it == NULL)
        return NULL;
    PyObject *words = PyList_New(0), *fresh = PyDict_New(), *taken = NULL;
    size_t noted = GET(it->noted), next = it->taken;
    for (; words != NULL && next != noted; next++) {
        void *found = GET(it->samples[next % WORDS]);
        PyObject *address = PyLong_FromVoidPtr(found == it->nobody ? NULL : found);
        if (address == NULL || PyList_Append(words, address) < 0)
            Py_CLEAR(words);
        Py_XDECREF(address);
    }
    PUT(it->taken, noted);
    if (words != NULL && fresh != NULL && (taken = PyTuple_Pack(2, words, it->steps)) != NULL) {
        Py_DECREF(it->steps);
        it->steps = fresh;
        fresh = NULL;
    }
    Py_XDECREF(words);
    Py_XDECREF(fresh);
    return taken;
}

static PyObject *end(PyObject *self, PyObject *nothing)
{
    (void)nothing;
    struct sampler *it = of(self);
    if (it == NULL)
        return NULL;
    stop(it);
    Py_RETURN_NONE;
}

static PyMethodDef of_sampler[] = {
    {"before_task_step", before_task_step, METH_O, "Note that trio begins to step a task."},
    {"after_task_step", after_task_step, METH_O, "Note that the step has ended."},
    {"take", take, METH_NOARGS, "Take the samples: addresses, 0 for nobody, and how many each task has."},
    {"end", end, METH_NOARGS, "End the thread."},
};

/* The word of `dispatcher` that holds `value`; NULL if there is not exactly one. */
static void **word_of(PyObject *dispatcher, PyObject *value)
{
    PyObject *size = PyObject_GetAttrString((PyObject *)Py_TYPE(dispatcher), "__basicsize__");
    Py_ssize_t bytes = size == NULL ? 0 : PyLong_AsSsize_t(size);
    Py_XDECREF(size);
    void **words = (void **)dispatcher, **found = NULL;
    for (size_t at = sizeof(PyObject) / sizeof *words; at < (size_t)bytes / sizeof *words; at++)
        if (words[at] == value) {
            if (found != NULL)
                return NULL;
            found = &words[at];
        }
    return found;
}

static PyObject *begin(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *dispatcher, *value;
    if (!PyArg_ParseTuple(args, "OO:begin", &dispatcher, &value))
        return NULL;
    void **word = word_of(dispatcher, value);
    if (word == NULL)
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_LookupError, "expected the value in one slot of it");
    struct sampler *it = PyMem_Calloc(1, sizeof *it);
    if (it == NULL)
        return PyErr_NoMemory();
    it->word = word;
    it->nobody = Py_None;
    it->steps = PyDict_New();
    it->dispatcher = dispatcher;
    Py_INCREF(dispatcher);
    PyObject *capsule = it->steps == NULL ? NULL : PyCapsule_New(it, NAME, release);
    if (capsule == NULL) {
        Py_XDECREF(it->steps);
        Py_DECREF(dispatcher);
        PyMem_Free(it);
        return NULL;
    }
    PyObject *functions = PyDict_New();
    for (size_t i = 0; functions != NULL && i < sizeof of_sampler / sizeof *of_sampler; i++) {
        PyObject *function = PyCFunction_New(&of_sampler[i], capsule);
        if (function == NULL || PyDict_SetItemString(functions, of_sampler[i].ml_name, function) < 0)
            Py_CLEAR(functions);
        Py_XDECREF(function);
    }
    if (functions != NULL && start(it) < 0) {
        it->owner = 0;
        Py_CLEAR(functions);
        PyErr_SetString(PyExc_OSError, "cannot start the thread of the sampler");
    }
    Py_DECREF(capsule);
    return functions;
}

static PyMethodDef of_module[] = {
    {"begin", begin, METH_VARARGS,
     "Begin to sample the slot of an object that holds a value now; return the sampler's functions, by name."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "words", "The sampler; see words.c.", -1, of_module, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit_words(void)
{
    return PyModule_Create(&definition);
}
