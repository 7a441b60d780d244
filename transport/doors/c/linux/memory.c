/*
 * Sealed shared memory, and checks of pointers that users passed.
 *
 * Memory from a peer must be tmpfs memory sealed against shrinking: otherwise truncation, or a huge-page pool
 * that runs out, would let the peer kill us with SIGBUS.
 */
#include "internal.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

size_t memory_round(size_t size) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (size + page - 1) & ~(page - 1);
}

int memory_create(const char *name, size_t size) {
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) {
        return -1;
    }
    if (ftruncate(fd, (off_t)size) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

void *memory_map(int fd, size_t size, int protection) {
    void *base = mmap(NULL, size, protection, MAP_SHARED, fd, 0);
    return base == MAP_FAILED ? NULL : base;
}

static bool is_trustworthy(int fd, size_t size, int wanted) {
    struct stat status;
    struct statfs filesystem;
    int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & wanted) == wanted && fstat(fd, &status) == 0 && status.st_size >= 0 &&
           (uint64_t)status.st_size >= size && fstatfs(fd, &filesystem) == 0 &&
           filesystem.f_type == TMPFS_MAGIC;
}

int memory_adopt(int fd, size_t size, int protection, void **base) {
    if (!is_trustworthy(fd, size, F_SEAL_SHRINK)) {
        return EPROTO;
    }
    *base = memory_map(fd, size, protection);
    return *base ? 0 : ENOMEM;
}

/* Memory of `total` bytes that begins with the data and can never be changed: its descriptor, or -1 with errno. */
int memory_freeze(const char *name, const char *data, size_t size, size_t total) {
    int fd = memory_create(name, total);
    for (size_t done = 0; fd >= 0 && done < size;) {
        ssize_t count = pwrite(fd, data + done, size - done, (off_t)done);
        if (count <= 0 && errno != EINTR) {
            int error = errno;
            close(fd);
            errno = error;
            return -1;
        }
        done += count > 0 ? (size_t)count : 0;
    }
    if (fd >= 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL) < 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

/* A private copy of frozen memory, made page by page as it is written to. */
int memory_thaw(int fd, size_t size, void **base) {
    if (!is_trustworthy(fd, size, F_SEAL_SHRINK | F_SEAL_WRITE)) {
        return EPROTO;
    }
    *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    return *base != MAP_FAILED ? 0 : ENOMEM;
}

void region_drop(struct region *region) {
    if (region->base != NULL) {
        munmap(region->base, region->size);
    }
    *region = (struct region){NULL, 0};
}

/* Gives the region's memory back, whoever else keeps it: what it held is over. Its maker pays for it until then. */
void region_empty(struct region *region) {
    if (region->base != NULL) {
        madvise(region->base, region->size, MADV_REMOVE);
    }
}

/* Replaces the region by one of at least `size` bytes; the caller sends *fd to the peer and closes it. */
int region_grow(struct region *region, size_t size, int *fd) {
    size_t rounded = SESSION_CAPACITY * 2;
    while (rounded < size && rounded < REGION_LARGE) {
        rounded *= 2;
    }
    if (rounded < size) {
        rounded = memory_round(size);
    }
    region_drop(region);
    if (rounded < size || (*fd = memory_create("door-region", rounded)) < 0) {
        return errno == EMFILE || errno == ENFILE ? errno : ENOMEM;
    }
    fcntl(*fd, F_ADD_SEALS, F_SEAL_SEAL); /* or the peer could seal it against being emptied */
    char *base = memory_map(*fd, rounded, PROT_READ | PROT_WRITE);
    if (base == NULL) {
        close(*fd);
        return ENOMEM;
    }
    *region = (struct region){base, rounded};
    return 0;
}

/*
 * Whether a user's range can be read or written. The kernel is asked to populate it, which faults in what the
 * copy would fault in anyway. Ranges on the calling thread's own stack, the common case in C, are accepted as
 * they are: from the current frame upwards to the stack's base everything is mapped.
 */
static bool on_stack(const void *address, size_t size) {
    static _Thread_local const char *limit, *base;
    if (base == NULL) {
        pthread_attr_t attributes;
        void *low;
        size_t length;
        if (pthread_getattr_np(pthread_self(), &attributes) != 0) {
            return false;
        }
        if (pthread_attr_getstack(&attributes, &low, &length) == 0) {
            limit = low;
            base = limit + length;
        }
        pthread_attr_destroy(&attributes);
    }
    const char *start = address, *here = __builtin_frame_address(0);
    return here >= limit && start >= here && start < base && size <= (size_t)(base - start); /* or on a fiber */
}

/* A kernel before 5.14 cannot be asked; there a bad pointer is the program's own crash. */
static bool populate_works(void) {
    static atomic_int works; /* 0: not known yet */
    if (atomic_load(&works) == 0) {
        void *page = mmap(NULL, memory_round(1), PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page != MAP_FAILED) {
            atomic_store(&works, madvise(page, memory_round(1), MADV_POPULATE_READ) == 0 ? 1 : -1);
            munmap(page, memory_round(1));
        }
    }
    return atomic_load(&works) == 1;
}

static bool populate(const void *address, size_t size, int advice) {
    uintptr_t start = (uintptr_t)address, end;
    if (size == 0) {
        return true;
    }
    if (start < 4096 || __builtin_add_overflow(start, size, &end)) {
        return false;
    }
    if (on_stack(address, size)) {
        return true;
    }
    start &= ~(uintptr_t)(memory_round(1) - 1);
    int saved = errno;
    bool good = madvise((void *)start, end - start, advice) == 0 || (errno == EINVAL && !populate_works());
    errno = saved;
    return good;
}

bool memory_readable(const void *address, size_t size) {
    return populate(address, size, MADV_POPULATE_READ);
}

bool memory_writable(void *address, size_t size) {
    return populate(address, size, MADV_POPULATE_WRITE);
}
