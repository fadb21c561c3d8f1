// Shared by every attack program: how an attempt and a success are reported.
// A line that starts with GOT is the program's claim of success. The harness believes every claim, and it
// also looks from outside the sandbox, because an attack can work without the program noticing.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static inline void say(const char *kind, const char *fmt, va_list ap) {
    char line[1024];
    vsnprintf(line, sizeof line, fmt, ap);
    printf("%s %s\n", kind, line);
    fflush(stdout);
}

// A claim of success.
static inline void got(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    say("GOT", fmt, ap);
    va_end(ap);
}

// What was tried and how it ended; for the reader of a report.
static inline void tried(const char *what) {
    printf("ATTEMPT %s: %s\n", what, errno ? strerror(errno) : "ok");
    fflush(stdout);
    errno = 0;
}

// Prints the start of what a descriptor gives; nonzero if it gave anything.
static inline int leak(int fd, const char *how) {
    char buf[4097];
    if (fd < 0) {
        tried(how);
        return 0;
    }
    ssize_t n = pread(fd, buf, sizeof buf - 1, 0);
    if (n < 0 && errno == ESPIPE) n = 0;
    if (n <= 0) {
        tried(how);
        return 0;
    }
    buf[n] = 0;
    got("%s: %s", how, buf);
    return 1;
}

static inline int leak_path(const char *path, const char *how) {
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    int hit = leak(fd, how);
    if (fd >= 0) close(fd);
    return hit;
}

// Calls `each` for every process that /proc shows.
static inline void each_pid(void (*each)(int pid, void *arg), void *arg) {
    DIR *dir = opendir("/proc");
    if (!dir) return;
    for (struct dirent *e; (e = readdir(dir));) {
        int pid = atoi(e->d_name);
        if (pid > 0) each(pid, arg);
    }
    closedir(dir);
}

static inline int usage(void) {
    fprintf(stderr, "unknown attack\n");
    return 64;
}

static inline int is(const char *a, const char *b) { return strcmp(a, b) == 0; }
