/* Fails every write below a folder with EDQUOT once so many bytes were written there: a quota.
 * Built and preloaded by benchmarks/full_disk.py; FULL_DISK_FOLDER and FULL_DISK_BYTES say where and how many. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static long written;

static int over(int fd, size_t count) {
    const char *folder = getenv("FULL_DISK_FOLDER"), *most = getenv("FULL_DISK_BYTES");
    char link[64], path[PATH_MAX];
    if (!folder || !most) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (strncmp(path, folder, strlen(folder))) return 0;
    if (written + (long)count > atol(most)) {
        errno = EDQUOT;
        return 1;
    }
    written += count;
    return 0;
}

#define REAL(name) static __typeof__(name) *real; if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *data, size_t count) {
    REAL(write);
    return over(fd, count) ? -1 : real(fd, data, count);
}

ssize_t pwrite(int fd, const void *data, size_t count, off_t place) {
    REAL(pwrite);
    return over(fd, count) ? -1 : real(fd, data, count, place);
}

ssize_t pwrite64(int fd, const void *data, size_t count, off64_t place) {
    REAL(pwrite64);
    return over(fd, count) ? -1 : real(fd, data, count, place);
}

ssize_t writev(int fd, const struct iovec *parts, int n) {
    REAL(writev);
    size_t count = 0;
    for (int i = 0; i < n; i++) count += parts[i].iov_len;
    return over(fd, count) ? -1 : real(fd, parts, n);
}
