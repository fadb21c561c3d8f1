// Unix sockets and descriptors that travel over them.
#include "common.h"

static socklen_t address(struct sockaddr_un *un, const char *name) {
    memset(un, 0, sizeof *un);
    un->sun_family = AF_UNIX;
    size_t n = strlen(name);
    if (n >= sizeof un->sun_path - 1) n = sizeof un->sun_path - 2;
    memcpy(un->sun_path, name, n);
    if (name[0] == '@') un->sun_path[0] = 0;
    return (socklen_t)(sizeof(sa_family_t) + n + (name[0] == '@' ? 0 : 1));
}

static int receive_fd(int s, const char *how) {
    char byte[16], room[CMSG_SPACE(sizeof(int) * 8)];
    struct iovec iov = {byte, sizeof byte};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    struct timeval wait = {2, 0};
    setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    if (recvmsg(s, &msg, 0) < 0) {
        tried(how);
        return 0;
    }
    int hits = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c))
        if (c->cmsg_type == SCM_RIGHTS) {
            int fd;
            memcpy(&fd, CMSG_DATA(c), sizeof fd);
            hits += leak(fd, how);
        }
    return hits;
}

// Sends a token to a listener of the host: by its name, through /proc, by every type of socket.
static int say_to(const char *name, const char *token) {
    struct sockaddr_un un;
    socklen_t n = address(&un, name);
    const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
    for (int i = 0; i < 3; i++) {
        int s = socket(AF_UNIX, types[i], 0);
        if (s < 0) {
            tried("socket");
            continue;
        }
        if (connect(s, (void *)&un, n) == 0) {
            printf("ATTEMPT connected to %s\n", name);
            write(s, token, strlen(token));
            receive_fd(s, "descriptor from a listener of the host");
        } else tried("connect");
        sendto(s, token, strlen(token), 0, (void *)&un, n);
        close(s);
        if (name[0] == '@') continue;
        int o = open(name, O_PATH);
        if (o < 0) continue;
        char via[64];
        snprintf(via, sizeof via, "/proc/self/fd/%d", o);
        struct sockaddr_un other;
        socklen_t m = address(&other, via);
        s = socket(AF_UNIX, types[i], 0);
        if (connect(s, (void *)&other, m) == 0) {
            write(s, token, strlen(token));
            receive_fd(s, "descriptor from a listener reached through /proc");
        } else tried("connect through O_PATH");
        close(o);
    }
    // A pair is connected already; whether an end can be turned to another name is up to the kernel and the walls.
    for (int i = 0; name[0] != '@' && i < 3; i++) {
        int pair[2];
        if (socketpair(AF_UNIX, types[i], 0, pair) != 0) {
            tried("socketpair");
            continue;
        }
        sendto(pair[0], token, strlen(token), 0, (void *)&un, n);
        close(pair[1]);
        sendto(pair[0], token, strlen(token), 0, (void *)&un, n);
        if (connect(pair[0], (void *)&un, n) == 0) write(pair[0], token, strlen(token));
        else tried("connect of an end");
        close(pair[0]);
    }
    return 0;
}

// Outside: gives a descriptor of `path` to whoever connects to `name`.
static int give(const char *name, const char *path) {
    struct sockaddr_un un;
    socklen_t n = address(&un, name);
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    if (bind(s, (void *)&un, n) != 0 || listen(s, 8) != 0) return 1;
    if (name[0] != '@') chmod(name, 0777);
    printf("READY\n");
    fflush(stdout);
    alarm(60);
    for (int c; (c = accept(s, 0, 0)) >= 0; close(c)) {
        int fd = open(path, O_RDONLY);
        char room[CMSG_SPACE(sizeof(int))], byte = 'f';
        struct iovec iov = {&byte, 1};
        struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
        struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(h), &fd, sizeof fd);
        sendmsg(c, &msg, 0);
        close(fd);
    }
    return 0;
}

// Outside: runs a command whose standard input is a socket in which a descriptor waits.
static int launch(const char *path, char **command) {
    int pair[2], fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) return 1;
    char room[CMSG_SPACE(sizeof(int))], byte = 'f';
    struct iovec iov = {&byte, 1};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(h), &fd, sizeof fd);
    sendmsg(pair[1], &msg, 0);
    dup2(pair[0], 0);
    fcntl(pair[1], F_SETFD, FD_CLOEXEC);
    signal(SIGPIPE, SIG_DFL);
    execvp(command[0], command);
    return 1;
}

// Families and protocols that go round a filter on TCP and UDP ports. A socket that opens is the claim.
static int family(const char *name) {
    struct { const char *name; int family, type, protocol; } all[] = {
        {"raw", AF_INET, SOCK_RAW, 255},        {"raw-icmp", AF_INET, SOCK_RAW, 1}, {"raw6", AF_INET6, SOCK_RAW, 255},
        {"packet", AF_PACKET, SOCK_RAW, 0x300}, {"packet-dgram", AF_PACKET, SOCK_DGRAM, 0x300},
        {"vsock", 40, SOCK_STREAM, 0},          {"vsock-dgram", 40, SOCK_DGRAM, 0}, {"alg", 38, SOCK_SEQPACKET, 0},
        {"netfilter", AF_NETLINK, SOCK_RAW, 12}, {"audit", AF_NETLINK, SOCK_RAW, 9}, {"uevent", AF_NETLINK, SOCK_RAW, 15},
        {"xdp", 44, SOCK_RAW, 0},               {"tipc", 30, SOCK_SEQPACKET, 0},    {"smc", 43, SOCK_STREAM, 0},
        {"rds", 21, SOCK_SEQPACKET, 0},         {"can", 29, SOCK_RAW, 1},           {"bluetooth", 31, SOCK_RAW, 1},
        {"sctp", AF_INET, SOCK_STREAM, 132},    {"dccp", AF_INET, 6, 33},           {"udplite", AF_INET, SOCK_DGRAM, 136},
        {"kcm", 41, SOCK_DGRAM, 0},             {"key", 15, SOCK_RAW, 2},           {"qipcrtr", 42, SOCK_DGRAM, 0},
        {"udp", AF_INET, SOCK_DGRAM, 0},
    };
    size_t len = strlen(name);
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
        if (strncmp(all[i].name, name, len) != 0) continue;
        int s = socket(all[i].family, all[i].type, all[i].protocol);
        if (s >= 0) got("%s socket", all[i].name);
        else tried(all[i].name);
        if (s >= 0) close(s);
    }
    return 0;
}

int main(int argc, char **argv) {
    if (argc < 3) return usage();
    // A peer that has already hung up must not end the attack before it has read what was sent.
    signal(SIGPIPE, SIG_IGN);
    char *a = argv[1], *x = argv[2], *y = argc > 3 ? argv[3] : 0;
    if (!is(a, "launch")) printf("ATTEMPT %s\n", a), fflush(stdout);
    if (is(a, "say") && y) return say_to(x, y);
    if (is(a, "give") && y) return give(x, y);
    if (is(a, "launch") && y) return launch(x, argv + 3);
    if (is(a, "stdin")) return receive_fd(0, "descriptor that came with standard input"), 0;
    if (is(a, "family")) {
        for (int i = 2; i < argc; i++) family(argv[i]);
        return 0;
    }
    return usage();
}
