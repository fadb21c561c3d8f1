// The kernel's own knobs, devices, mounts, keys and rings.
#include "common.h"
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>

// Opens each path for writing. They are knobs of the kernel that hold for the whole host: a knob that opens is a claim, and
// nothing is ever written to one. Only a twin, whose stand-in is a plain file, gives a text to write.
static int poke(int n, char **paths, const char *text) {
    for (int i = 0; i < n; i++) {
        char proc[4096];
        snprintf(proc, sizeof proc, "/proc/self/root%s", paths[i]);
        for (int way = 0; way < 2; way++) {
            const char *path = way ? proc : paths[i];
            int fd = open(path, way ? O_RDWR | O_NONBLOCK : O_WRONLY | O_NONBLOCK);
            if (fd < 0) tried(path);
            else if (!text || write(fd, text, strlen(text)) > 0) got("%s opens for writing", path);
            if (fd >= 0) close(fd);
        }
    }
    // A fresh procfs would not carry the masks of the one that was given.
    mkdir("fresh", 0700);
    if (mount("proc", "fresh", "proc", 0, 0) == 0) got("mounted a fresh procfs");
    else tried("fresh procfs");
    return 0;
}

// Every file beneath a directory that opens for writing; nothing is written.
static void writable(const char *dir, int depth) {
    DIR *d = opendir(dir);
    if (!d) return;
    for (struct dirent *e; (e = readdir(d));) {
        char path[4096];
        struct stat st;
        if (e->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (lstat(path, &st) != 0 || S_ISLNK(st.st_mode)) continue;
        if (S_ISDIR(st.st_mode) && depth > 0) writable(path, depth - 1);
        if (!S_ISREG(st.st_mode)) continue;
        int fd = open(path, O_WRONLY | O_NONBLOCK);
        if (fd >= 0) {
            got("%s opens for writing", path);
            close(fd);
        }
    }
    closedir(d);
}

static int open_devices(int n, char **paths) {
    for (int i = 0; i < n; i++) {
        int modes[] = {O_RDWR, O_RDONLY, O_WRONLY};
        for (int m = 0; m < 3; m++) {
            int fd = open(paths[i], modes[m] | O_NONBLOCK);
            if (fd >= 0) got("%s opened", paths[i]);
            else tried(paths[i]);
            if (fd >= 0) close(fd);
        }
    }
    return 0;
}

static int device_node(const char *at, unsigned major, unsigned minor) {
    if (mknod(at, S_IFCHR | 0666, makedev(major, minor)) == 0) {
        int fd = open(at, O_RDWR | O_NONBLOCK);
        if (fd >= 0) got("device %u:%u made and opened", major, minor);
        else tried("open of the node");
    } else tried("mknod");
    return 0;
}

static void put(const char *path, const char *token) {
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT, 0644);
    if (fd >= 0) {
        write(fd, token, strlen(token));
        close(fd);
    }
}

// A read-only directory made writable again, and every call that mounts.
static int mounts(const char *ro, const char *name, const char *token) {
    char file[4096];
    snprintf(file, sizeof file, "%s/%s", ro, name);
    put(file, token);
    if (mount(0, ro, 0, MS_REMOUNT | MS_BIND, 0) == 0) got("remounted writable");
    else tried("remount");
    put(file, token);
    struct { uint64_t set, clr, propagation, fd; } attr = {0, 1 /* RDONLY */, 0, 0};
    if (syscall(442, AT_FDCWD, ro, 0, &attr, sizeof attr) == 0) got("mount_setattr");
    else tried("mount_setattr");
    put(file, token);
    mkdir("m", 0700);
    const char *kinds[] = {"tmpfs", "proc", "sysfs", "devpts", "mqueue", "cgroup2", "overlay", "devtmpfs", "debugfs", "bpf", "ext4"};
    for (int i = 0; i < 11; i++) {
        if (mount(kinds[i], "m", kinds[i], 0, 0) == 0) {
            got("mounted %s", kinds[i]);
            umount2("m", MNT_DETACH);
        } else tried(kinds[i]);
        int fs = syscall(430, kinds[i], 0);
        if (fs >= 0 && syscall(431, fs, 6 /* CREATE */, 0, 0, 0) == 0) {
            int m = syscall(432, fs, 0, 0);
            if (m >= 0) got("fsmount of %s", kinds[i]);
        }
        if (fs >= 0) close(fs);
    }
    if (umount2("/proc", MNT_DETACH) == 0) got("unmounted /proc");
    if (umount2(".", MNT_DETACH) == 0) got("unmounted the workspace");
    return 0;
}

static int pivot(const char *path) {
    mkdir("new", 0700);
    mkdir("new/old", 0700);
    int root = open("/", O_RDONLY | O_DIRECTORY);
    if (chroot("new") == 0) {
        got("chroot");
        fchdir(root);
        for (int i = 0; i < 32; i++) chdir("..");
        chroot(".");
        leak_path(path, "after the classic double chroot");
    } else tried("chroot");
    mount("new", "new", 0, MS_BIND, 0);
    if (syscall(SYS_pivot_root, "new", "new/old") == 0) got("pivot_root");
    else tried("pivot_root");
    if (syscall(SYS_pivot_root, ".", ".") == 0) got("pivot_root onto itself");
    syscall(429, AT_FDCWD, "/", AT_FDCWD, "/tmp", 0);
    tried("move_mount");
    leak_path(path, "after pivot_root");
    return 0;
}

// cgroup v1: a program of ours run by the kernel, on the host, when a group empties.
static int release_agent(char **paths, int n) {
    mkdir("cg", 0700);
    const char *kinds[] = {"memory", "pids", "cpu", "freezer", "rdma", "misc", "name=systemd"};
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < 7; i++) {
            if (mount("cgroup", "cg", "cgroup", 0, kinds[i]) != 0) {
                tried(kinds[i]);
                continue;
            }
            got("mounted a cgroup hierarchy");
            umount2("cg", MNT_DETACH);
        }
        if (unshare(CLONE_NEWUSER | CLONE_NEWCGROUP | CLONE_NEWNS) != 0) break;
    }
    return poke(n, paths, 0);
}

// Calls that a sandbox has no use for, each with arguments that would succeed for one who may.
static int call(const char *name) {
    long r = -1;
    errno = 0;
    static char page[4096] __attribute__((aligned(4096)));
    if (is(name, "bpf")) {
        struct { uint32_t type, key, value, max, flags; char rest[100]; } m = {2, 4, 8, 1, 0, {0}};
        r = syscall(SYS_bpf, 0, &m, sizeof m);
    } else if (is(name, "perf")) {
        struct { uint32_t type, size; uint64_t config; char rest[104]; } p = {1, 120, 0, {0}};
        r = syscall(SYS_perf_event_open, &p, 0, -1, -1, 0);
    } else if (is(name, "userfaultfd")) r = syscall(SYS_userfaultfd, O_CLOEXEC | 1);
    else if (is(name, "syslog")) r = syscall(SYS_syslog, 3, page, sizeof page);
    else if (is(name, "fanotify")) r = syscall(SYS_fanotify_init, 0, O_RDONLY);
    else if (is(name, "iopl")) r = syscall(SYS_iopl, 3);
    else if (is(name, "kcmp")) r = syscall(SYS_kcmp, getpid(), getppid(), 0, 1, 1);
    else if (is(name, "swapoff")) r = syscall(SYS_swapoff, "/none") == 0 || errno == ENOENT ? 0 : -1;
    else if (is(name, "module")) r = syscall(SYS_delete_module, "no_such_module", O_NONBLOCK) == 0 || errno == ENOENT ? 0 : -1;
    else if (is(name, "quotactl")) r = syscall(SYS_quotactl, 0x800001 << 8, 0, 0, 0);
    if (r >= 0) got("%s", name);
    else tried(name);
    return 0;
}

// The same calls by the doors of other architectures, whose numbers a filter may have forgotten.
static int compat(void) {
#ifdef __x86_64__
    int pid = fork();
    if (pid == 0) {
        long r;
        __asm__ volatile("int $0x80" : "=a"(r) : "a"(310L), "b"((long)CLONE_NEWUSER) : "memory", "r8", "r9", "r10", "r11");
        if (r == 0) got("unshare by int 0x80");
        _exit(0);
    }
    waitpid(pid, 0, 0);
    pid = fork();
    if (pid == 0) {
        if (syscall(0x40000000 + SYS_unshare, CLONE_NEWUSER) == 0) got("unshare by the x32 door");
        else tried("x32");
        _exit(0);
    }
    waitpid(pid, 0, 0);
#endif
    return 0;
}

// The name that it already has: to be let is the claim, and the host keeps its name.
static int host_name(void) {
    char name[256] = "";
    gethostname(name, sizeof name - 1);
    if (sethostname(name, strlen(name)) == 0) got("sethostname");
    else tried("sethostname");
    getdomainname(name, sizeof name - 1);
    if (setdomainname(name, strlen(name)) == 0) got("setdomainname");
    else tried("setdomainname");
    return 0;
}

// Outside: a key in a session keyring of our own, which the command inherits. Inside: look for it.
static int key_plant(const char *text, char **command) {
    syscall(SYS_keyctl, 1 /* JOIN_SESSION_KEYRING */, 0);
    long key = syscall(SYS_add_key, "user", "qila-escape", text, strlen(text), -3);
    if (key < 0) return 3;
    syscall(SYS_keyctl, 5 /* SETPERM */, key, 0x3f3f3f3f);
    syscall(SYS_keyctl, 8 /* LINK */, key, -4);
    execvp(command[0], command);
    return 1;
}

static int key_find(void) {
    const long rings[] = {-1, -2, -3, -4, -5};
    char buf[256];
    long key = syscall(SYS_request_key, "user", "qila-escape", 0, 0);
    for (int i = -1; i < 5; i++) {
        if (i >= 0) key = syscall(SYS_keyctl, 10 /* SEARCH */, rings[i], "user", "qila-escape", 0);
        if (key < 0) {
            tried("key search");
            continue;
        }
        memset(buf, 0, sizeof buf);
        if (syscall(SYS_keyctl, 11 /* READ */, key, buf, sizeof buf - 1) > 0) got("key: %s", buf);
    }
    if (syscall(SYS_add_key, "user", "qila-mine", "x", 1, -4) >= 0) got("made a key in the user's keyring");
    else tried("add_key");
    leak_path("/proc/keys", "list of keys");
    return 0;
}

// One submission through a ring: the operation does not pass a system call filter of its own.
static int ring(struct io_uring_sqe *op) {
    struct io_uring_params p = {0};
    int fd = syscall(SYS_io_uring_setup, 4, &p);
    if (fd < 0) {
        tried("io_uring_setup");
        return -1;
    }
    got("io_uring_setup");
    char *sq = mmap(0, p.sq_off.array + p.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQ_RING);
    char *cq = mmap(0, p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                    IORING_OFF_CQ_RING);
    struct io_uring_sqe *sqes = mmap(0, p.sq_entries * sizeof *sqes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQES);
    if (sq == MAP_FAILED || cq == MAP_FAILED || sqes == MAP_FAILED) return -1;
    sqes[0] = *op;
    ((unsigned *)(sq + p.sq_off.array))[0] = 0;
    __atomic_store_n((unsigned *)(sq + p.sq_off.tail), 1, __ATOMIC_RELEASE);
    if (syscall(SYS_io_uring_enter, fd, 1, 1, IORING_ENTER_GETEVENTS, 0, 0) < 0) return -1;
    return ((struct io_uring_cqe *)(cq + p.cq_off.cqes))[0].res;
}

static int ring_open(const char *path) {
    struct io_uring_sqe op = {.opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, .addr = (uintptr_t)path, .open_flags = O_RDONLY};
    leak(ring(&op), "opened by a ring");
    return 0;
}

static int ring_connect(const char *addr, const char *port, const char *token) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    inet_pton(AF_INET, addr, &to.sin_addr);
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (s < 0) {
        struct io_uring_sqe make = {.opcode = 45, .fd = AF_INET, .off = SOCK_STREAM};
        s = ring(&make);
    }
    struct io_uring_sqe op = {.opcode = IORING_OP_CONNECT, .fd = s, .addr = (uintptr_t)&to, .off = sizeof to};
    if (ring(&op) == 0 && send(s, token, strlen(token), 0) > 0) printf("ATTEMPT connected by a ring\n");
    return 0;
}

int main(int argc, char **argv) {
    if (argc < 2) return usage();
    char *a = argv[1], *x = argc > 2 ? argv[2] : 0, *y = argc > 3 ? argv[3] : 0, *z = argc > 4 ? argv[4] : 0;
    if (!is(a, "key-plant")) printf("ATTEMPT %s\n", a), fflush(stdout);
    if (is(a, "poke") && x) return poke(argc - 2, argv + 2, 0);
    if (is(a, "poke-stand-in") && y) return poke(argc - 3, argv + 3, x);
    if (is(a, "writable") && x) return writable(x, 6), 0;
    if (is(a, "open") && x) return open_devices(argc - 2, argv + 2);
    if (is(a, "mknod") && z) return device_node(x, (unsigned)atoi(y), (unsigned)atoi(z));
    if (is(a, "mount") && z) return mounts(x, y, z);
    if (is(a, "pivot") && x) return pivot(x);
    if (is(a, "release-agent")) return release_agent(argv + 2, argc - 2);
    if (is(a, "call") && x) return call(x);
    if (is(a, "compat")) return compat();
    if (is(a, "hostname")) return host_name();
    if (is(a, "key-plant") && y) return key_plant(x, argv + 3);
    if (is(a, "key-find")) return key_find();
    if (is(a, "ring-open") && x) return ring_open(x);
    if (is(a, "ring-connect") && z) return ring_connect(x, y, z);
    return usage();
}
