// Packets that should not leave, and requests that should not be what they seem.
#include "common.h"
#include <arpa/inet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>

// An address by any spelling that the C library takes: decimal, octal, hexadecimal, mapped; or a name.
static int resolve(const char *host, const char *port, struct sockaddr_storage *to, socklen_t *len, int type) {
    struct addrinfo hints = {.ai_socktype = type}, *list = 0;
    if (getaddrinfo(host, port, &hints, &list) != 0 || !list) return -1;
    memcpy(to, list->ai_addr, list->ai_addrlen);
    *len = list->ai_addrlen;
    freeaddrinfo(list);
    return 0;
}

static void bound(int s) {
    struct timeval wait = {3, 0};
    setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
}

static int unescape(const char *in, char *out, int room) {
    int n = 0;
    for (; *in && n < room - 1; in++) {
        if (*in != '\\') {
            out[n++] = *in;
            continue;
        }
        in++;
        unsigned v;
        if (*in == 'r') out[n++] = '\r';
        else if (*in == 'n') out[n++] = '\n';
        else if (*in == 't') out[n++] = '\t';
        else if (*in == '0') out[n++] = 0;
        else if (*in == 'x' && sscanf(in + 1, "%2x", &v) == 1) {
            out[n++] = (char)v;
            in += 2;
        } else if (*in) out[n++] = *in;
        else break;
    }
    return n;
}

// Connects and sends one payload (C escapes), then prints what comes back.
static int send_text(const char *host, const char *port, const char *payload, int protocol) {
    static char buf[65536];
    struct sockaddr_storage to;
    socklen_t len;
    if (resolve(host, port, &to, &len, SOCK_STREAM) != 0) {
        printf("ATTEMPT %s does not resolve\n", host);
        return 1;
    }
    int s = socket(to.ss_family, SOCK_STREAM, protocol);
    bound(s);
    if (connect(s, (void *)&to, len) != 0) {
        tried("connect");
        return 1;
    }
    int n = unescape(payload, buf, sizeof buf);
    send(s, buf, (size_t)n, MSG_NOSIGNAL);
    for (int total = 0; total < 1 << 20;) {
        ssize_t r = recv(s, buf, sizeof buf, 0);
        if (r <= 0) break;
        fwrite(buf, 1, (size_t)r, stdout);
        total += (int)r;
    }
    putchar('\n');
    close(s);
    return 0;
}

static int udp(const char *host, const char *port, const char *token) {
    struct sockaddr_storage to;
    socklen_t len;
    if (resolve(host, port, &to, &len, SOCK_DGRAM) != 0) return 1;
    int s = socket(to.ss_family, SOCK_DGRAM, 0);
    for (int i = 0; i < 3; i++) sendto(s, token, strlen(token), 0, (void *)&to, len);
    tried("sendto");
    if (connect(s, (void *)&to, len) == 0) send(s, token, strlen(token), 0);
    tried("send");
    char one = 1;
    setsockopt(s, SOL_SOCKET, SO_BROADCAST, &one, 1);
    return 0;
}

// Data in the opening packet: a filter on connect() does not see it.
static int fast_open(const char *host, const char *port, const char *token) {
    struct sockaddr_storage to;
    socklen_t len;
    if (resolve(host, port, &to, &len, SOCK_STREAM) != 0) return 1;
    int s = socket(to.ss_family, SOCK_STREAM, 0);
    bound(s);
    sendto(s, token, strlen(token), MSG_FASTOPEN, (void *)&to, len);
    tried("MSG_FASTOPEN");
    s = socket(to.ss_family, SOCK_STREAM, 0);
    int one = 1;
    bound(s);
    setsockopt(s, IPPROTO_TCP, 30 /* TCP_FASTOPEN_CONNECT */, &one, sizeof one);
    if (connect(s, (void *)&to, len) == 0) send(s, token, strlen(token), MSG_NOSIGNAL);
    tried("TCP_FASTOPEN_CONNECT");
    return 0;
}

static int ping(const char *host) {
    struct sockaddr_in to = {.sin_family = AF_INET};
    inet_pton(AF_INET, host, &to.sin_addr);
    int s = socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
    if (s < 0) s = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
    if (s < 0) {
        tried("icmp socket");
        return 0;
    }
    struct { struct icmphdr head; char data[32]; } echo = {{.type = ICMP_ECHO, .checksum = 0}, "canary"};
    bound(s);
    if (sendto(s, &echo, sizeof echo, 0, (void *)&to, sizeof to) < 0) tried("icmp echo");
    else got("icmp echo sent");
    return 0;
}

// The namespace's own walls pulled down: routes, addresses, links, and the rules of the packet filter.
static int netlink(void) {
    struct { struct nlmsghdr head; struct ifinfomsg link; char rest[256]; } m;
    const struct { int type, flags; const char *what; } asks[] = {
        {RTM_NEWLINK, 0, "link changed"}, {RTM_DELROUTE, 0, "route deleted"}, {RTM_NEWLINK, NLM_F_CREATE, "link made"},
        {RTM_DELADDR, 0, "address deleted"},
    };
    for (int i = 0; i < 4; i++) {
        int s = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
        if (s < 0) {
            tried("route socket");
            break;
        }
        bound(s);
        memset(&m, 0, sizeof m);
        m.head.nlmsg_len = NLMSG_LENGTH(sizeof m.link);
        m.head.nlmsg_type = (uint16_t)asks[i].type;
        m.head.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | asks[i].flags);
        if (asks[i].type == RTM_NEWLINK && !asks[i].flags) {
            m.link.ifi_index = 1;
            m.link.ifi_change = 1;
            m.link.ifi_flags = 1;
        }
        if (asks[i].type == RTM_DELROUTE) ((struct rtmsg *)&m.link)->rtm_family = AF_INET;
        send(s, &m, m.head.nlmsg_len, 0);
        char buf[4096];
        ssize_t n = recv(s, buf, sizeof buf, 0);
        if (n >= (ssize_t)NLMSG_LENGTH(sizeof(struct nlmsgerr))) {
            struct nlmsghdr *h = (void *)buf;
            struct nlmsgerr *e = NLMSG_DATA(h);
            if (h->nlmsg_type == NLMSG_ERROR && e->error == 0) got("%s", asks[i].what);
            else printf("ATTEMPT %s: %s\n", asks[i].what, strerror(-e->error));
        } else tried(asks[i].what);
        close(s);
    }
    return 0;
}

// A DNS question of any type, by UDP or TCP, to the given server or, for "-", to the one the sandbox names.
static int dns(const char *server, const char *port, const char *mode, const char *type, const char *name) {
    unsigned char q[512] = {0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}, out[600];
    int n = 12;
    for (const char *label = name; *label;) {
        size_t len = strcspn(label, ".");
        if (len > 63) len = 63;
        if (n + len > 480) return 64;
        q[n++] = (unsigned char)len;
        memcpy(q + n, label, len);
        n += (int)len;
        label += len;
        if (*label == '.') label++;
    }
    n++;
    int t = atoi(type);
    q[n++] = (unsigned char)(t >> 8);
    q[n++] = (unsigned char)t;
    q[n++] = 0;
    q[n++] = 1;
    char from_file[64] = "127.0.0.53";
    if (is(server, "-")) {
        FILE *f = fopen("/etc/resolv.conf", "r");
        char line[256];
        while (f && fgets(line, sizeof line, f))
            if (sscanf(line, "nameserver %63s", from_file) == 1) break;
        server = from_file;
    }
    struct sockaddr_storage to;
    socklen_t len;
    int tcp = is(mode, "tcp");
    if (resolve(server, port, &to, &len, tcp ? SOCK_STREAM : SOCK_DGRAM) != 0) return 1;
    int s = socket(to.ss_family, tcp ? SOCK_STREAM : SOCK_DGRAM, 0);
    bound(s);
    if (tcp && connect(s, (void *)&to, len) != 0) {
        tried("connect");
        return 0;
    }
    out[0] = (unsigned char)(n >> 8);
    out[1] = (unsigned char)n;
    memcpy(out + 2, q, (size_t)n);
    if (tcp) send(s, out, (size_t)n + 2, MSG_NOSIGNAL);
    else sendto(s, q, (size_t)n, 0, (void *)&to, len);
    tried("question");
    unsigned char back[2048];
    ssize_t r = recv(s, back, sizeof back, 0);
    if (r > (tcp ? 5 : 3)) printf("ANSWER rcode %d answers %d\n", back[tcp ? 5 : 3] & 15, back[tcp ? 9 : 7]);
    else tried("answer");
    return 0;
}

// Every port on the sandbox's own loopback that listens, asked directly for something else.
static int scan(const char *payload) {
    static char buf[8192];
    int n = unescape(payload, buf, sizeof buf);
    for (int port = 1; port < 65536; port++) {
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        int s = socket(AF_INET, SOCK_STREAM, 0);
        bound(s);
        if (connect(s, (void *)&to, sizeof to) == 0) {
            printf("ATTEMPT 127.0.0.1:%d listens\n", port);
            send(s, buf, (size_t)n, MSG_NOSIGNAL);
            char back[512];
            ssize_t r = recv(s, back, sizeof back - 1, 0);
            if (r > 0) {
                back[r] = 0;
                printf("ANSWER %.80s\n", back);
            }
        }
        close(s);
    }
    return 0;
}

int main(int argc, char **argv) {
    if (argc < 2) return usage();
    char *a = argv[1];
    printf("ATTEMPT %s\n", a);
    fflush(stdout);
    if (is(a, "send") && argc == 5) return send_text(argv[2], argv[3], argv[4], 0);
    if (is(a, "mptcp") && argc == 5) return send_text(argv[2], argv[3], argv[4], 262);
    if (is(a, "udp") && argc == 5) return udp(argv[2], argv[3], argv[4]);
    if (is(a, "fastopen") && argc == 5) return fast_open(argv[2], argv[3], argv[4]);
    if (is(a, "ping") && argc == 3) return ping(argv[2]);
    if (is(a, "netlink")) return netlink();
    if (is(a, "dns") && argc == 7) return dns(argv[2], argv[3], argv[4], argv[5], argv[6]);
    if (is(a, "scan") && argc == 3) return scan(argv[2]);
    return usage();
}
