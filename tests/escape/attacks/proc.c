// Other processes: reading, tracing, killing, joining; and rights that should not come back.
#include "common.h"
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <linux/capability.h>

// Stays alive with a canary in its memory, and says where. Never run inside a sandbox by an attack.
static char canary[128];

static int victim(const char *said, const char *text, const char *seconds) {
    snprintf(canary, sizeof canary, "%s", text);
    memset((char *)text, 'x', strlen(text));
    prctl(PR_SET_PTRACER, -1, 0, 0, 0);
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    char tmp[4096];
    snprintf(tmp, sizeof tmp, "%s.tmp", said);
    FILE *f = fopen(tmp, "w");
    if (f) {
        fprintf(f, "%d %lx", getpid(), (unsigned long)canary);
        fclose(f);
        rename(tmp, said);
    }
    sleep(seconds ? (unsigned)atoi(seconds) : 60);
    return 0;
}

struct aim { unsigned long addr; int spare; };

static void vm_read(int pid, void *arg) {
    struct aim *aim = arg;
    char buf[128] = {0}, via[64];
    if (pid == aim->spare) return;
    struct iovec here = {buf, 100}, there = {(void *)aim->addr, 100};
    if (process_vm_readv(pid, &here, 1, &there, 1, 0) > 0) got("process_vm_readv of %d: %s", pid, buf);
    else tried("process_vm_readv");
    snprintf(via, sizeof via, "/proc/%d/mem", pid);
    int fd = open(via, O_RDWR);
    if (fd >= 0) {
        if (pread(fd, buf, 100, (off_t)aim->addr) > 0) got("%s: %s", via, buf);
        // Memory of anything but ourselves: the first mapping is enough to prove it.
        char maps[64];
        snprintf(maps, sizeof maps, "/proc/%d/maps", pid);
        FILE *m = fopen(maps, "r");
        unsigned long at;
        if (m && fscanf(m, "%lx-", &at) == 1 && pread(fd, buf, 16, (off_t)at) > 0) got("memory of process %d", pid);
        if (m) fclose(m);
        close(fd);
    } else tried(via);
}

static void trace(int pid, void *arg) {
    struct aim *aim = arg;
    if (pid == aim->spare) return;
    if (ptrace(PTRACE_SEIZE, pid, 0, 0) == 0) {
        got("ptrace of process %d", pid);
        if (ptrace(PTRACE_INTERRUPT, pid, 0, 0) == 0) {
            waitpid(pid, 0, __WALL);
            char word[17] = {0};
            for (int i = 0; i < 2; i++) {
                long w = ptrace(PTRACE_PEEKDATA, pid, (void *)(aim->addr + 8 * i), 0);
                memcpy(word + 8 * i, &w, 8);
            }
            printf("PEEK %s\n", word);
            ptrace(PTRACE_DETACH, pid, 0, 0);
        }
    } else tried("PTRACE_SEIZE");
    if (ptrace(PTRACE_ATTACH, pid, 0, 0) == 0) {
        got("attached to process %d", pid);
        waitpid(pid, 0, __WALL);
        ptrace(PTRACE_DETACH, pid, 0, 0);
    }
    int fd = syscall(434, pid, 0);
    if (fd >= 0) {
        for (int n = 0; n < 8; n++) {
            int taken = syscall(438, fd, n, 0);
            if (taken >= 0) got("descriptor %d of process %d by pidfd_getfd", n, pid);
        }
        close(fd);
    }
}

// One pid of the host, or with `all` every process that is seen besides this one.
static int on_target(const char *pid, const char *addr, void (*each)(int, void *)) {
    struct aim aim = {strtoul(addr, 0, 16), getpid()};
    if (is(pid, "all")) {
        each_pid(each, &aim);
        each(1, &aim);
        each(getppid(), &aim);
    } else each(atoi(pid), &aim);
    return 0;
}

static int kill_pid(int pid) {
    int sent = kill(pid, SIGKILL) == 0;
    tried("kill");
    sent |= syscall(SYS_tgkill, pid, pid, SIGKILL) == 0;
    siginfo_t info = {.si_code = SI_QUEUE, .si_signo = SIGKILL};
    sent |= syscall(SYS_rt_sigqueueinfo, pid, SIGKILL, &info) == 0;
    int fd = syscall(434, pid, 0);
    if (fd >= 0) sent |= syscall(424, fd, SIGKILL, 0, 0) == 0;
    tried("pidfd_send_signal");
    sent |= kill(-pid, SIGKILL) == 0;
    printf("ATTEMPT signals to %d: %s\n", pid, sent ? "sent" : "refused");
    return 0;
}

// Everybody. `host` is the host's pid namespace: outside a sandbox this must never run.
static int kill_all(const char *host) {
    char mine[128] = {0};
    if (readlink("/proc/self/ns/pid", mine, sizeof mine - 1) <= 0 || is(mine, host)) {
        got("in the host's pid namespace; not trying");
        return 1;
    }
    signal(SIGTERM, SIG_IGN);
    kill(-1, SIGTERM);
    tried("kill(-1, SIGTERM)");
    kill(1, SIGKILL);
    tried("kill of the guest");
    kill(-1, SIGKILL);
    tried("kill(-1, SIGKILL)");
    return 0;
}

// The process group: it reaches across pid namespaces unless the sandbox has its own.
static int kill_group(void) {
    signal(SIGTERM, SIG_IGN);
    kill(0, SIGTERM);
    tried("kill(0)");
    kill(0, SIGKILL);
    return 0;
}

static int join(const char *pid, const char *abstract, const char *token) {
    const char *kinds[] = {"user", "mnt", "net", "pid", "ipc", "uts", "cgroup"};
    int hits = 0;
    for (int p = 0; p < 3; p++)
        for (int k = 0; k < 7; k++) {
            char via[64];
            snprintf(via, sizeof via, "/proc/%s/ns/%s", p == 0 ? pid : p == 1 ? "1" : "self", kinds[k]);
            int fd = open(via, O_RDONLY);
            if (fd < 0) continue;
            if (setns(fd, 0) == 0) {
                hits++;
                printf("ATTEMPT setns %s: ok\n", via);
            } else tried(via);
            close(fd);
        }
    for (int fd = 3; fd < 64; fd++)
        if (setns(fd, 0) == 0) got("setns by inherited descriptor %d", fd);
    int pfd = syscall(434, atoi(pid), 0);
    if (pfd >= 0 && setns(pfd, CLONE_NEWNET) == 0) got("setns by pidfd");
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t n = strlen(abstract);
    memcpy(un.sun_path + 1, abstract, n);
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(s, (void *)&un, (socklen_t)(sizeof(sa_family_t) + 1 + n)) == 0) write(s, token, strlen(token));
    if (hits) got("joined %d namespaces", hits);
    return 0;
}

static int user_ns(void) {
    if (unshare(CLONE_NEWUSER) == 0) got("unshare of a user namespace");
    else tried("unshare");
    int pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) _exit(0);
    if (pid > 0) got("clone of a user namespace");
    else tried("clone");
    struct { uint64_t flags, pidfd, child, parent, signal, stack, size, tls, set, n, cgroup; } c = {0};
    c.flags = CLONE_NEWUSER;
    c.signal = SIGCHLD;
    pid = syscall(435, &c, sizeof c);
    if (pid == 0) _exit(0);
    if (pid > 0) got("clone3 of a user namespace");
    else tried("clone3");
    const int others[] = {CLONE_NEWNS, CLONE_NEWNET, CLONE_NEWPID, CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWCGROUP};
    for (int i = 0; i < 6; i++)
        if (unshare(others[i]) == 0) got("unshare %x", others[i]);
    return 0;
}

static unsigned long long effective(void) {
    FILE *f = fopen("/proc/self/status", "r");
    char line[256];
    unsigned long long all = 0, v;
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "CapEff:\t%llx", &v) == 1 || sscanf(line, "CapPrm:\t%llx", &v) == 1) all |= v;
    if (f) fclose(f);
    return all;
}

// Capabilities asked back by every door; then executed again, where a file's or root's rights would return.
static int caps(char **argv) {
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[2] = {{~0u, ~0u, ~0u}, {0x1ff, 0x1ff, 0x1ff}};
    syscall(SYS_capset, &h, d);
    tried("capset");
    prctl(PR_SET_SECUREBITS, 0, 0, 0, 0);
    tried("securebits");
    for (unsigned long c = 0; c < 41; c++) prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, c, 0, 0);
    tried("ambient");
    prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0);
    setuid(0);
    setgid(0);
    tried("setuid");
    if (effective()) got("capabilities %llx", effective());
    if (!getenv("AGAIN")) {
        putenv("AGAIN=1");
        execv(argv[2] ? argv[2] : "/proc/self/exe", argv);
    }
    return 0;
}

// The body of a setuid program: says who it is and reads what only its owner may.
static int who(const char *path) {
    printf("ATTEMPT uid %d euid %d\n", getuid(), geteuid());
    leak_path(path, "as the file's owner");
    return 0;
}

static int survive(const char *seconds) {
    if (fork() > 0) return 0;
    setsid();
    if (fork() > 0) _exit(0);
    for (int i = 0; i < 64; i++) close(i);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    sleep((unsigned)atoi(seconds));
    return 0;
}

// Looks for a text that starts with `prefix` in all that can be read: environment, arguments, memory, files.
static char *hunt_prefix;

static void hunt_in(const char *buf, size_t n, const char *where) {
    size_t len = strlen(hunt_prefix);
    for (size_t i = 0; i + len + 8 < n; i++)
        if (buf[i] == hunt_prefix[0] && memcmp(buf + i, hunt_prefix, len) == 0) {
            char found[81] = {0};
            memcpy(found, buf + i, n - i < 80 ? n - i : 80);
            printf("FOUND %s: %s\n", where, found);
        }
}

static void hunt_file(const char *path) {
    static char buf[1 << 20];
    int fd = open(path, O_RDONLY | O_NONBLOCK);
    if (fd < 0) return;
    ssize_t n = read(fd, buf, sizeof buf);
    if (n > 0) hunt_in(buf, (size_t)n, path);
    memset(buf, 0, sizeof buf);
    close(fd);
}

static void hunt_tree(const char *dir, int depth) {
    DIR *d = opendir(dir);
    if (!d) return;
    for (struct dirent *e; (e = readdir(d));) {
        char path[4096];
        if (e->d_name[0] == '.' && (!e->d_name[1] || e->d_name[1] == '.')) continue;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (e->d_type == DT_DIR && depth > 0) hunt_tree(path, depth - 1);
        if (e->d_type == DT_REG) hunt_file(path);
    }
    closedir(d);
}

static void hunt_memory(int pid, void *unused) {
    (void)unused;
    const char *files[] = {"environ", "cmdline", "auxv", "stat", "comm"};
    char path[64], line[512];
    for (int i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "/proc/%d/%s", pid, files[i]);
        hunt_file(path);
    }
    if (pid == getpid()) return;
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE *maps = fopen(path, "r");
    snprintf(path, sizeof path, "/proc/%d/mem", pid);
    int fd = open(path, O_RDONLY);
    static char buf[65536];
    while (maps && fd >= 0 && fgets(line, sizeof line, maps)) {
        unsigned long a, b;
        if (sscanf(line, "%lx-%lx", &a, &b) != 2) continue;
        for (; a < b; a += sizeof buf) {
            ssize_t n = pread(fd, buf, sizeof buf, (off_t)a);
            if (n <= 0) break;
            hunt_in(buf, (size_t)n, path);
        }
    }
    if (maps) fclose(maps);
    if (fd >= 0) close(fd);
}

extern char **environ;

static int hunt(char *prefix, char *home) {
    hunt_prefix = prefix;
    for (char **e = environ; *e; e++) hunt_in(*e, strlen(*e) + 16, "own environment");
    each_pid(hunt_memory, 0);
    hunt_tree("/tmp", 4);
    hunt_tree("/run", 4);
    hunt_tree("/dev/shm", 2);
    hunt_tree("/etc", 2);
    hunt_tree(home, 4);
    hunt_tree(".", 4);
    return 0;
}

int main(int argc, char **argv) {
    if (argc < 2) return usage();
    char *a = argv[1], *x = argc > 2 ? argv[2] : 0, *y = argc > 3 ? argv[3] : 0, *z = argc > 4 ? argv[4] : 0;
    printf("ATTEMPT %s\n", a);
    fflush(stdout);
    if (is(a, "victim") && y) return victim(x, y, z);
    if (is(a, "vmread") && y) return on_target(x, y, vm_read);
    if (is(a, "ptrace") && y) return on_target(x, y, trace);
    if (is(a, "kill") && x) return kill_pid(atoi(x));
    if (is(a, "kill-all") && x) return kill_all(x);
    if (is(a, "kill-group")) return kill_group();
    if (is(a, "setns") && z) return join(x, y, z);
    if (is(a, "userns")) return user_ns();
    if (is(a, "caps")) return caps(argv);
    if (is(a, "who") && x) return who(x);
    if (is(a, "survive") && x) return survive(x);
    if (is(a, "hunt") && y) return hunt(x, y);
    return usage();
}
