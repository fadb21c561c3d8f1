// Too much of everything. Each flood ends by itself at a ceiling that no host minds, far above the policy's limit,
// and says how far it came; a program cannot hurt the host even if the limit does not hold.
#include "common.h"

#define CEILING_PROCESSES 1500
#define CEILING_MIB 1024
#define CEILING_FILES 60000
#define CEILING_FDS 20000

static volatile char *sink;

static int processes(int want) {
    if (want > CEILING_PROCESSES) want = CEILING_PROCESSES;
    int made = 0;
    for (int i = 0; i < want; i++) {
        int pid = fork();
        if (pid == 0) {
            sleep(3);
            _exit(0);
        }
        if (pid < 0) break;
        made++;
    }
    tried("fork");
    printf("MADE %d\n", made);
    fflush(stdout);
    sleep(1);
    return 0;
}

// Every child forks in turn: a bomb with a fuse, which is the number it may reach.
static int bomb(int depth) {
    for (int d = 0; d < depth && d < 10; d++) fork();
    sleep(3);
    return 0;
}

// Orphans that end at once: whoever adopts them must wait for them.
static int zombies(int want) {
    int made = 0;
    for (int i = 0; i < want && i < CEILING_PROCESSES; i++) {
        int pid = fork();
        if (pid == 0) {
            if (fork() == 0) {
                usleep(20000);
                _exit(0);
            }
            _exit(0);
        }
        if (pid > 0) {
            made++;
            waitpid(pid, 0, 0);
        }
    }
    printf("MADE %d\n", made);
    fflush(stdout);
    sleep(3);
    return 0;
}

static void touch(size_t mib) {
    char *p = mmap(0, mib << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        tried("mmap");
        return;
    }
    for (size_t at = 0; at < mib << 20; at += 4096) p[at] = 1;
    sink = p;
}

static int memory(int mib) {
    if (mib > CEILING_MIB) mib = CEILING_MIB;
    for (int done = 0; done < mib; done += 16) touch(16);
    sleep(1);
    printf("MADE %d\n", mib);
    fflush(stdout);
    return 0;
}

// The same sum, but no process is large.
static int memory_spread(int mib) {
    if (mib > CEILING_MIB) mib = CEILING_MIB;
    for (int done = 0; done < mib; done += 32)
        if (fork() == 0) {
            touch(32);
            sleep(4);
            _exit(0);
        }
    sleep(3);
    int alive = 0;
    for (int done = 0; done < mib; done += 32) {
        int status;
        if (waitpid(-1, &status, 0) > 0 && WIFEXITED(status)) alive += 32;
    }
    printf("MADE %d\n", alive);
    fflush(stdout);
    return 0;
}

// The same sum in memory files that no mapping shows.
static int memory_files(int mib) {
    if (mib > CEILING_MIB) mib = CEILING_MIB;
    static char block[1 << 20];
    memset(block, 1, sizeof block);
    int made = 0, fd = memfd_create("flood", 0);
    for (; fd >= 0 && made < mib; made++)
        if (write(fd, block, sizeof block) < (ssize_t)sizeof block) break;
    tried("memfd");
    sleep(1);
    printf("MADE %d\n", made);
    fflush(stdout);
    return 0;
}

static int disk(int mib, int n, char **dirs) {
    if (mib > CEILING_MIB) mib = CEILING_MIB;
    static char block[1 << 20];
    memset(block, 0x5a, sizeof block);
    int made = 0;
    for (int i = 0; i < n; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/flood.bin", dirs[i]);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644), here = 0;
        for (; fd >= 0 && here < mib; here++)
            if (write(fd, block, sizeof block) < (ssize_t)sizeof block) break;
        tried(path);
        made += here;
        if (fd >= 0) close(fd);
    }
    printf("MADE %d\n", made);
    fflush(stdout);
    sleep(1);
    return 0;
}

static int inodes(int want) {
    if (want > CEILING_FILES) want = CEILING_FILES;
    int made = 0;
    mkdir("many", 0755);
    for (; made < want; made++) {
        char name[64];
        snprintf(name, sizeof name, "many/%d", made);
        int fd = open(name, O_WRONLY | O_CREAT, 0644);
        if (fd < 0) break;
        close(fd);
    }
    tried("create");
    printf("MADE %d\n", made);
    fflush(stdout);
    sleep(1);
    return 0;
}

static int descriptors(int want) {
    int made = 0;
    for (; made < want && made < CEILING_FDS; made++)
        if (open("/dev/null", O_RDONLY) < 0) break;
    tried("open");
    // More of them, in flight: a socket's queue holds descriptors that no table counts.
    printf("MADE %d\n", made);
    fflush(stdout);
    sleep(1);
    return 0;
}

static int output(int mib) {
    static char block[1 << 16];
    memset(block, 'x', sizeof block);
    for (long done = 0; done < (long)mib << 20; done += sizeof block)
        if (write(1, block, sizeof block) <= 0 || write(2, block, 1) <= 0) break;
    return 0;
}

int main(int argc, char **argv) {
    if (argc < 3) return usage();
    char *a = argv[1];
    int n = atoi(argv[2]);
    printf("ATTEMPT %s %d\n", a, n);
    fflush(stdout);
    if (is(a, "processes")) return processes(n);
    if (is(a, "bomb")) return bomb(n);
    if (is(a, "zombies")) return zombies(n);
    if (is(a, "memory")) return memory(n);
    if (is(a, "memory-spread")) return memory_spread(n);
    if (is(a, "memory-files")) return memory_files(n);
    if (is(a, "disk") && argc > 3) return disk(n, argc - 3, argv + 3);
    if (is(a, "inodes")) return inodes(n);
    if (is(a, "fds")) return descriptors(n);
    if (is(a, "output")) return output(n);
    return usage();
}
