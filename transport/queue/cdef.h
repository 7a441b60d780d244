/* What Python uses of queue.h, sender.h and measure.h; read by transport/doors/_build.py. */
#define QUEUE_ACCEPTED ...
#define QUEUE_FULL ...
#define QUEUE_CLOSED ...
#define QUEUE_MALFORMED ...

struct queue;

struct queue_item {
    struct queue_item *next;
    int is_unreferenced;
    unsigned long caller;
    pid_t pid;
    uint64_t process;
    uid_t uid;
    gid_t gid;
    int zone;
    unsigned n_groups;
    unsigned n_descriptors;
    size_t size;
    const gid_t *groups;
    const int *descriptors;
    const char *data;
};

struct queue *queue_create(const char *, size_t, size_t, size_t, unsigned);
int queue_door(const struct queue *);
int queue_event(const struct queue *);
struct queue_item *queue_take(struct queue *);
void queue_item_free(struct queue_item *);
struct queue_item *queue_linger(struct queue *, unsigned);
unsigned long queue_count(struct queue *, unsigned);
int queue_limit_descriptors(struct queue *, unsigned, unsigned);
void queue_close(struct queue *);

struct sender;

struct sender *sender_create(int);
struct sender *sender_open(const char *);
int sender_event(const struct sender *);
void sender_want(struct sender *);
#define SENDER_FAILED ...
#define SENDER_UNDER_WAY ...
int sender_call(struct sender *, const char *, size_t, const int *, unsigned, int);
int sender_finish(struct sender *);
int sender_close(struct sender *, int *door);

#define MEASURE_TOO_DEEP ...
int64_t measure_payload(const uint8_t *, size_t, int64_t);
