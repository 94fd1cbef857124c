/* Faults of disk and clock, put between a program and its C library by LD_PRELOAD. Linux, glibc, 64 bits.
 *
 *   MBE_FAULTS        the control file: 4096 bytes, an array of native 64-bit integers, mapped shared, so that what is
 *                     written there acts at once. Its slots are below. Without it nothing is changed.
 *   MBE_FAULTS_UNDER  the folder whose files the disk faults are for: everything that was opened by a path below it, also
 *                     after the folder was renamed. The clock is the whole process's.
 *
 * slot  name             meaning
 *  0    enospc           1: nothing can be written or made, ENOSPC, not even in place
 *  1    room_bytes       -1: as it is; else what files may still grow by. Growth takes from it (a last write is cut short),
 *                        unlinking, shrinking and renaming over a file give back, and statvfs shows it as free
 *  2    erofs            1: opening to write, writing, making, renaming and unlinking fail with EROFS
 *  3    eio              1: writing and syncing fail with EIO
 *  4    slow_sync_ms     syncs take so much longer
 *  5    clock_offset_ns  added to the wall clock
 *  6    free_bytes       -1: as it is (or room_bytes); else what statvfs shows as free
 *  7    eio_sync         1: only syncing fails with EIO
 * 16    syncs            counted: fsync and fdatasync under the folder that were asked for
 * 17    writes           counted: writing calls under the folder
 * 18    written_bytes    counted: bytes that were written under the folder
 * 19    faults           counted: calls that were made to fail
 * 64..  logs             pairs: the inode of a `-wal` file that has grown and is not synced yet, and one more than its size
 *                        before. What a power cut may take
 *
 * Writing through mapped memory (SQLite's `-shm`), and calls that do not go through the C library, are not seen. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { ENOSPC_NOW, ROOM, EROFS_NOW, EIO_NOW, SLOW_SYNC, CLOCK, FREE, EIO_SYNC, SYNCS = 16, WRITES, WRITTEN, FAULTS };
enum { LOGS = 64, LOGS_END = 512 };
enum { SLOTS_BYTES = 4096, FDS = 65536 };
/* What a descriptor is of: nothing of ours, a file under the folder, a log under the folder. */
enum { OTHER, OURS, LOG };

static volatile int64_t *slots;
static char under[PATH_MAX];
static size_t under_length;
static volatile unsigned char ours[FDS];

#define REAL(name) ((__typeof__(&name))real(#name, &cached_##name))
#define DECLARE(name) static void *cached_##name
static void *real(const char *name, void **cached) {
    if (!*cached) *cached = dlsym(RTLD_NEXT, name);
    return *cached;
}

static int64_t get(int slot) { return __atomic_load_n(&slots[slot], __ATOMIC_RELAXED); }
static void add(int slot, int64_t more) { __atomic_add_fetch(&slots[slot], more, __ATOMIC_RELAXED); }
static int fail(int error) {
    add(FAULTS, 1);
    errno = error;
    return -1;
}

__attribute__((constructor)) static void start(void) {
    const char *control = getenv("MBE_FAULTS"), *folder = getenv("MBE_FAULTS_UNDER");
    if (!control || !folder) return;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, control, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        fprintf(stderr, "the control file of the faults, %s, can't be opened\n", control);
        abort();
    }
    void *mapped = mmap(NULL, SLOTS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    if (mapped == MAP_FAILED) abort();
    snprintf(under, sizeof under, "%s", folder);
    under_length = strlen(under);
    while (under_length > 1 && under[under_length - 1] == '/') under[--under_length] = 0;
    slots = mapped;
}

static int is_under(const char *path) {
    char whole[PATH_MAX];
    if (!slots || !path) return 0;
    if (path[0] != '/') {
        if (!getcwd(whole, sizeof whole)) return 0;
        size_t length = strlen(whole);
        snprintf(whole + length, sizeof whole - length, "/%s", path);
        path = whole;
    }
    return !strncmp(path, under, under_length) && (path[under_length] == '/' || path[under_length] == 0);
}

static int is_ours(int fd) { return slots && fd >= 0 && fd < FDS && ours[fd]; }

static int64_t size_of_path(const char *path) {
    struct stat found;
    return lstat(path, &found) == 0 && S_ISREG(found.st_mode) ? found.st_size : -1;
}

/* Whether something may be made or changed under the folder; 0, or -1 with errno. */
static int may_change(int makes) {
    if (get(EROFS_NOW)) return fail(EROFS);
    if (makes && (get(ENOSPC_NOW) || get(ROOM) == 0)) return fail(ENOSPC);
    return 0;
}

/* How many of the bytes may be written at a place; -1 with errno for none. */
static ssize_t may_write(int fd, size_t count, off64_t at) {
    add(WRITES, 1);
    if (get(EROFS_NOW)) return fail(EROFS);
    if (get(EIO_NOW)) return fail(EIO);
    if (get(ENOSPC_NOW)) return fail(ENOSPC);
    int64_t room = get(ROOM);
    if (room < 0 || count == 0) return (ssize_t)count;
    struct stat found;
    if (fstat(fd, &found) != 0 || !S_ISREG(found.st_mode)) return (ssize_t)count;
    int64_t growth = at + (int64_t)count - found.st_size;
    if (growth <= 0) return (ssize_t)count;
    if (growth > room) {
        int64_t fits = (int64_t)count - (growth - room);
        if (fits <= 0) return fail(ENOSPC);
        add(FAULTS, 1);
        count = (size_t)fits;
        growth = room;
    }
    add(ROOM, -growth);
    return (ssize_t)count;
}

static ssize_t wrote(ssize_t count) {
    if (count > 0) add(WRITTEN, count);
    return count;
}

/* The slot of a log's synced size; of one that is not there yet if `make`. 0 for none. */
static int slot_of(int64_t inode, int make) {
    int unused = 0;
    for (int slot = LOGS; slot + 1 < LOGS_END; slot += 2) {
        if (get(slot) == inode && get(slot + 1)) return slot + 1;
        if (!get(slot + 1) && !unused) unused = slot + 1;
    }
    if (!make || !unused) return 0;
    __atomic_store_n(&slots[unused - 1], inode, __ATOMIC_RELAXED);
    return unused;
}

static int64_t inode_of(int fd) {
    struct stat found;
    return fstat(fd, &found) == 0 ? (int64_t)found.st_ino : 0;
}

/* Growth that is not synced may be gone; what is written over is either old or new, and new is as good a choice. */
static void note_unsynced(int fd) {
    struct stat found;
    if (ours[fd] != LOG || fstat(fd, &found) != 0) return;
    int slot = slot_of((int64_t)found.st_ino, 1);
    if (slot && !get(slot)) __atomic_store_n(&slots[slot], found.st_size + 1, __ATOMIC_RELAXED);
}

static void forget_unsynced(int64_t inode) {
    int slot = slot_of(inode, 0);
    if (slot) __atomic_store_n(&slots[slot], 0, __ATOMIC_RELAXED);
}

static int64_t place(int fd) { return syscall(SYS_lseek, fd, 0, SEEK_CUR); }
static int64_t write_place(int fd) {
    int flags = (int)syscall(SYS_fcntl, fd, F_GETFL);
    struct stat found;
    if (flags >= 0 && (flags & O_APPEND) && fstat(fd, &found) == 0) return found.st_size;
    return place(fd);
}

DECLARE(write);
ssize_t write(int fd, const void *bytes, size_t count) {
    if (!is_ours(fd)) return REAL(write)(fd, bytes, count);
    ssize_t fits = may_write(fd, count, write_place(fd));
    if (fits < 0) return -1;
    note_unsynced(fd);
    return wrote(REAL(write)(fd, bytes, (size_t)fits));
}

DECLARE(pwrite64);
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    if (!is_ours(fd)) return REAL(pwrite64)(fd, bytes, count, at);
    ssize_t fits = may_write(fd, count, at);
    if (fits < 0) return -1;
    note_unsynced(fd);
    return wrote(REAL(pwrite64)(fd, bytes, (size_t)fits, at));
}
ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) { return pwrite64(fd, bytes, count, at); }

DECLARE(writev);
ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (!is_ours(fd) || count < 1) return REAL(writev)(fd, parts, count);
    return write(fd, parts[0].iov_base, parts[0].iov_len);
}

DECLARE(copy_file_range);
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t count, unsigned int flags) {
    if (!is_ours(out)) return REAL(copy_file_range)(in, from, out, to, count, flags);
    errno = ENOSYS; /* callers read and write instead */
    return -1;
}

DECLARE(ftruncate64);
int ftruncate64(int fd, off64_t length) {
    if (!is_ours(fd)) return REAL(ftruncate64)(fd, length);
    if (get(EROFS_NOW)) return fail(EROFS);
    if (get(EIO_NOW)) return fail(EIO);
    struct stat found;
    int known = fstat(fd, &found) == 0;
    int64_t growth = known ? length - found.st_size : 0;
    if (growth > 0 && (get(ENOSPC_NOW) || (get(ROOM) >= 0 && growth > get(ROOM)))) return fail(ENOSPC);
    int result = REAL(ftruncate64)(fd, length);
    if (result == 0 && get(ROOM) >= 0) add(ROOM, -growth);
    return result;
}
int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

static int allocate(int fd, int mode, off64_t at, off64_t length) {
    if (get(EROFS_NOW)) return EROFS;
    if (get(EIO_NOW)) return EIO;
    struct stat found;
    int64_t growth = !(mode & FALLOC_FL_KEEP_SIZE) && fstat(fd, &found) == 0 ? at + length - found.st_size : 0;
    if (get(ENOSPC_NOW)) return ENOSPC;
    if (get(ROOM) >= 0 && growth > 0) {
        if (growth > get(ROOM)) return ENOSPC;
        add(ROOM, -growth);
    }
    return 0;
}

DECLARE(fallocate64);
int fallocate64(int fd, int mode, off64_t at, off64_t length) {
    if (is_ours(fd)) {
        int error = allocate(fd, mode, at, length);
        if (error) return fail(error);
    }
    return REAL(fallocate64)(fd, mode, at, length);
}
int fallocate(int fd, int mode, off_t at, off_t length) { return fallocate64(fd, mode, at, length); }

DECLARE(posix_fallocate64);
int posix_fallocate64(int fd, off64_t at, off64_t length) {
    if (is_ours(fd)) {
        int error = allocate(fd, 0, at, length);
        if (error) {
            add(FAULTS, 1);
            return error;
        }
    }
    return REAL(posix_fallocate64)(fd, at, length);
}
int posix_fallocate(int fd, off_t at, off_t length) { return posix_fallocate64(fd, at, length); }

static int may_sync(void) {
    add(SYNCS, 1);
    int64_t slow = get(SLOW_SYNC);
    if (slow > 0) {
        struct timespec pause = {slow / 1000, slow % 1000 * 1000000};
        while (nanosleep(&pause, &pause) != 0 && errno == EINTR) {
        }
    }
    if (get(EIO_NOW) || get(EIO_SYNC)) return fail(EIO);
    return 0;
}

DECLARE(fsync);
int fsync(int fd) {
    if (!is_ours(fd)) return REAL(fsync)(fd);
    if (may_sync() != 0) return -1;
    int result = REAL(fsync)(fd);
    if (result == 0 && ours[fd] == LOG) forget_unsynced(inode_of(fd));
    return result;
}

DECLARE(fdatasync);
int fdatasync(int fd) {
    if (!is_ours(fd)) return REAL(fdatasync)(fd);
    if (may_sync() != 0) return -1;
    int result = REAL(fdatasync)(fd);
    if (result == 0 && ours[fd] == LOG) forget_unsynced(inode_of(fd));
    return result;
}

/* 0, or -1 with errno; `kept` is the size of the file that O_TRUNC empties, -1 for none. */
static int may_open(const char *path, int flags, int64_t *kept) {
    *kept = -1;
    int writes = (flags & O_ACCMODE) != O_RDONLY || flags & (O_CREAT | O_TRUNC);
    if (!writes) return 0;
    if (get(EROFS_NOW)) {
        /* As on a real one: what is there may be opened with O_CREAT to read. */
        if ((flags & O_ACCMODE) == O_RDONLY && !(flags & O_TRUNC) && size_of_path(path) >= 0) return 0;
        return fail(EROFS);
    }
    int64_t size = size_of_path(path);
    if (flags & O_CREAT && size < 0 && may_change(1) != 0) return -1;
    if (flags & O_TRUNC) *kept = size;
    return 0;
}

static int opened(int fd, const char *path, int is, int64_t kept) {
    size_t length = strlen(path);
    int log = is && length > 4 && !strcmp(path + length - 4, "-wal");
    if (fd >= 0 && fd < FDS) ours[fd] = log ? LOG : is ? OURS : OTHER;
    if (fd >= 0 && kept > 0 && get(ROOM) >= 0) add(ROOM, kept);
    return fd;
}

#define MODE                                                                                                           \
    mode_t mode = 0;                                                                                                   \
    if (flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY))) {                                                              \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode = va_arg(rest, mode_t);                                                                                   \
        va_end(rest);                                                                                                  \
    }

DECLARE(open64);
int open64(const char *path, int flags, ...) {
    MODE;
    int is = is_under(path);
    int64_t kept = -1;
    if (is && may_open(path, flags, &kept) != 0) return -1;
    return opened(REAL(open64)(path, flags, mode), path, is, kept);
}
DECLARE(open);
int open(const char *path, int flags, ...) {
    MODE;
    int is = is_under(path);
    int64_t kept = -1;
    if (is && may_open(path, flags, &kept) != 0) return -1;
    return opened(REAL(open)(path, flags, mode), path, is, kept);
}
DECLARE(openat64);
int openat64(int folder, const char *path, int flags, ...) {
    MODE;
    int is = (folder == AT_FDCWD || path[0] == '/') && is_under(path);
    int64_t kept = -1;
    if (is && may_open(path, flags, &kept) != 0) return -1;
    return opened(REAL(openat64)(folder, path, flags, mode), path, is, kept);
}
DECLARE(openat);
int openat(int folder, const char *path, int flags, ...) {
    MODE;
    int is = (folder == AT_FDCWD || path[0] == '/') && is_under(path);
    int64_t kept = -1;
    if (is && may_open(path, flags, &kept) != 0) return -1;
    return opened(REAL(openat)(folder, path, flags, mode), path, is, kept);
}

DECLARE(close);
int close(int fd) {
    if (fd >= 0 && fd < FDS) ours[fd] = 0;
    return REAL(close)(fd);
}

static void give_back(int64_t size) {
    if (size > 0 && get(ROOM) >= 0) add(ROOM, size);
}

DECLARE(unlink);
int unlink(const char *path) {
    if (!is_under(path)) return REAL(unlink)(path);
    if (may_change(0) != 0) return -1;
    int64_t size = size_of_path(path);
    struct stat found;
    int64_t inode = lstat(path, &found) == 0 ? (int64_t)found.st_ino : 0;
    int result = REAL(unlink)(path);
    if (result == 0) {
        give_back(size);
        /* The number is soon another file's. */
        forget_unsynced(inode);
    }
    return result;
}

DECLARE(rename);
int rename(const char *from, const char *to) {
    if (!is_under(from) && !is_under(to)) return REAL(rename)(from, to);
    if (may_change(0) != 0) return -1;
    int64_t size = size_of_path(to);
    int result = REAL(rename)(from, to);
    if (result == 0) give_back(size);
    return result;
}

DECLARE(mkdir);
int mkdir(const char *path, mode_t mode) {
    struct stat found;
    if (is_under(path) && lstat(path, &found) != 0 && may_change(1) != 0) return -1;
    return REAL(mkdir)(path, mode);
}

static uint64_t free_blocks(uint64_t real_blocks, uint64_t block) {
    int64_t shown = get(FREE) >= 0 ? get(FREE) : get(ENOSPC_NOW) ? 0 : get(ROOM);
    return shown < 0 ? real_blocks : (uint64_t)shown / (block ? block : 1);
}

DECLARE(statvfs64);
int statvfs64(const char *path, struct statvfs64 *found) {
    int result = REAL(statvfs64)(path, found);
    if (result == 0 && is_under(path)) found->f_bavail = found->f_bfree = free_blocks(found->f_bavail, found->f_frsize);
    return result;
}
DECLARE(statvfs);
int statvfs(const char *path, struct statvfs *found) {
    int result = REAL(statvfs)(path, found);
    if (result == 0 && is_under(path)) found->f_bavail = found->f_bfree = free_blocks(found->f_bavail, found->f_frsize);
    return result;
}
DECLARE(fstatvfs64);
int fstatvfs64(int fd, struct statvfs64 *found) {
    int result = REAL(fstatvfs64)(fd, found);
    if (result == 0 && is_ours(fd)) found->f_bavail = found->f_bfree = free_blocks(found->f_bavail, found->f_frsize);
    return result;
}
DECLARE(fstatvfs);
int fstatvfs(int fd, struct statvfs *found) {
    int result = REAL(fstatvfs)(fd, found);
    if (result == 0 && is_ours(fd)) found->f_bavail = found->f_bfree = free_blocks(found->f_bavail, found->f_frsize);
    return result;
}

static void shift(int64_t *seconds, int64_t *nanos) {
    int64_t sum = *nanos + get(CLOCK) % 1000000000;
    *seconds += get(CLOCK) / 1000000000;
    if (sum < 0) {
        sum += 1000000000;
        *seconds -= 1;
    } else if (sum >= 1000000000) {
        sum -= 1000000000;
        *seconds += 1;
    }
    *nanos = sum;
}

DECLARE(clock_gettime);
int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = REAL(clock_gettime)(clock, now);
    if (result == 0 && slots && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t seconds = now->tv_sec, nanos = now->tv_nsec;
        shift(&seconds, &nanos);
        now->tv_sec = seconds;
        now->tv_nsec = nanos;
    }
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    struct timespec exact;
    if (clock_gettime(CLOCK_REALTIME, &exact) != 0) return -1;
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *into) {
    struct timespec exact;
    if (clock_gettime(CLOCK_REALTIME, &exact) != 0) return -1;
    if (into) *into = exact.tv_sec;
    return exact.tv_sec;
}
