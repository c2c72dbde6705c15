/* slow.c -- a recipient that reads slowly, but steadily, is never dropped.
 *
 *     test/bin/slow [-n] [-t] [-s SECONDS] CHAT
 *
 * For each approach and each reader, slow starts CHAT -k 0 with two users. User 1
 * reads at a fixed rate. User 2 floods it, so a sender always waits for user 1.
 * After 90 s, slow reports whether the server kept user 1, and how much user 1
 * read. Exit status 1: a server dropped its reader.
 *
 * The README promises that two of these readers are never dropped. With -t, slow
 * tries rates from 2 to 40 KiB/s and prints a table. Then its exit status tells
 * nothing about drops.
 *
 * Two kinds of readers differ in how the kernel gives room back to the server:
 *
 *   loopback  a segment has up to 64 KiB, and the kernel frees at least that much at
 *             once: at 8 KiB/s, once in 8 s or later
 *   network   a segment has 1,448 bytes, as on Ethernet; only with -n, which says that
 *             the kernel does not bundle segments: see slow.sh
 *
 * Each reader has a server of its own. With the router, users of one server wait
 * for the slowest reader, so a faster one would run out of messages.
 *
 * Order: readers, the log, servers, the reader, the flood, the loop, the report,
 * main. */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef TCP_MAXSEG
#define TCP_MAXSEG 2            /* macOS and FreeBSD have it, but hide what POSIX does not name */
#endif

/* ---- Readers --------------------------------------------------------------------- */

enum kind { LOOPBACK, NETWORK };

struct reader {
    enum kind kind;
    int rate;                   /* KiB a second */
};

static const struct reader promised[] = {
    { NETWORK, 10 }, { LOOPBACK, 20 },
};

static const struct reader tried[] = {
    { NETWORK, 2 },  { NETWORK, 4 },  { NETWORK, 8 },  { NETWORK, 10 },
    { NETWORK, 12 }, { NETWORK, 16 }, { NETWORK, 20 }, { NETWORK, 40 },
    { LOOPBACK, 2 },  { LOOPBACK, 4 },  { LOOPBACK, 8 },  { LOOPBACK, 10 },
    { LOOPBACK, 12 }, { LOOPBACK, 16 }, { LOOPBACK, 20 }, { LOOPBACK, 40 },
};

static const char *const kinds[] = { "loopback", "network" };
static const char *const approaches[] = { "directory", "router" };

enum {
    APPROACHES = 2,
    MOST = APPROACHES * (int)(sizeof tried / sizeof tried[0]),
    TICKS = 10,                 /* reads in a second, at even intervals */
    ETHERNET_MSS = 1460,        /* bytes: 12 of them are TCP's timestamps */
    MESSAGE = 1000,             /* bytes of each message of the flood */
    LINE = 1024,                /* bytes of a line of the log */
    PATIENCE_MS = 5000          /* for the server to start and to answer */
};

static struct trial {
    const struct reader *reader;
    const char *approach;
    pid_t server;               /* 0: it has ended */
    int port;
    int log, reads, floods;     /* descriptors; -1: closed */
    char line[LINE];            /* of the log, not complete yet */
    size_t line_len;
    size_t flood_at;            /* bytes of the present message that are sent */
    double began, ended;        /* seconds */
    long bytes;                 /* bytes that user 1 read, with frame headers */
    char why[80];               /* why the server dropped user 1, or "" */
} trials[MOST];

static int trial_count;

/* Also called when slow ends early. */
static void stop_servers(void)
{
    for (int i = 0; i < trial_count; i++)
        if (trials[i].server > 0) {
            kill(trials[i].server, SIGKILL);
            waitpid(trials[i].server, NULL, 0);
            trials[i].server = 0;
        }
}

static void fail(const char *what)
{
    fprintf(stderr, "slow: %s\n", what);
    exit(1);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void end_trial(struct trial *t)
{
    t->ended = now();
    close(t->reads);
    close(t->floods);
    close(t->log);
    t->reads = t->floods = t->log = -1;
    kill(t->server, SIGKILL);
    waitpid(t->server, NULL, 0);
    t->server = 0;
}

static bool has_ended(const struct trial *t)
{
    return t->server == 0;
}

/* ---- The log --------------------------------------------------------------------- */

/* slow learns of a drop from the log, because that is at once. On its socket, user 1
 * would first have to read all bytes in the kernel's buffers. */
static void take_line(struct trial *t, const char *line)
{
    if (t->port == 0 && sscanf(line, "chat: listening on 127.0.0.1:%d", &t->port) != 1)
        fprintf(stderr, "%s\n", line);          /* the reason why it does not listen */
    if (strncmp(line, "user 1 left: ", 13) == 0)
        snprintf(t->why, sizeof t->why, "%.*s", (int)strcspn(line + 13, ";"), line + 13);
}

static void read_log(struct trial *t)
{
    ssize_t n = read(t->log, t->line + t->line_len, LINE - 1 - t->line_len);
    char *line = t->line, *end;

    if (n <= 0)
        fail("the server ended");
    t->line_len += (size_t)n;
    while ((end = memchr(line, '\n', (size_t)(t->line + t->line_len - line))) != NULL) {
        *end = '\0';
        take_line(t, line);
        line = end + 1;
    }
    t->line_len -= (size_t)(line - t->line);
    memmove(t->line, line, t->line_len);
    if (t->line_len == LINE - 1)
        fail("a line of the log is too long");
}

/* ---- Servers --------------------------------------------------------------------- */

static bool is_readable(int fd)
{
    struct pollfd one = { .fd = fd, .events = POLLIN };

    return poll(&one, 1, PATIENCE_MS) == 1;
}

static void start_server(struct trial *t, const char *chat)
{
    int ends[2];

    if (pipe(ends) < 0 || fcntl(ends[0], F_SETFD, FD_CLOEXEC) < 0
        || fcntl(ends[1], F_SETFD, FD_CLOEXEC) < 0 || (t->server = fork()) < 0)
        fail("cannot start a server");
    if (t->server == 0) {
        dup2(ends[1], STDOUT_FILENO);
        dup2(ends[1], STDERR_FILENO);
        execl(chat, chat, "-k", "0", "-a", t->approach, "-l", "127.0.0.1", "-p", "0",
              (char *)NULL);
        perror(chat);
        _exit(127);
    }
    close(ends[1]);
    t->log = ends[0];
    while (t->port == 0) {
        if (!is_readable(t->log))
            fail("the server does not start");
        read_log(t);
    }
}

/* A user whose handshake is complete. mss: 0 leaves it to the kernel. */
static int connect_user(int port, int mss)
{
    static const char request[] =
        "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    struct sockaddr_in server = { .sin_family = AF_INET, .sin_port = htons((in_port_t)port) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    char c = 0;

    server.sin_addr.s_addr = inet_addr("127.0.0.1");
    if (fd < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        fail("no socket");
    if (mss > 0 && setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &mss, sizeof mss) < 0)
        fail("cannot set TCP_MAXSEG");
    if (connect(fd, (struct sockaddr *)&server, sizeof server) < 0
        || write(fd, request, sizeof request - 1) != (ssize_t)sizeof request - 1)
        fail("cannot connect");
    for (int ends = 0; ends < 2; ends = c == '\n' ? ends + 1 : c == '\r' ? ends : 0)
        if (!is_readable(fd) || read(fd, &c, 1) != 1)
            fail("no answer to a handshake");
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

/* User 1 reads, and user 2 floods it. */
static void start_trial(const struct reader *reader, const char *approach, const char *chat)
{
    struct trial *t = &trials[trial_count++];

    *t = (struct trial){ .reader = reader, .approach = approach };
    start_server(t, chat);
    t->reads = connect_user(t->port, reader->kind == NETWORK ? ETHERNET_MSS : 0);
    t->floods = connect_user(t->port, 0);
    t->began = now();
}

/* ---- The reader ------------------------------------------------------------------ */

/* Reads once each tick, and never more than the bytes of one tick. If it found nothing,
 * it does not read more later. */
static void read_slowly(struct trial *t)
{
    static char bytes[65536];
    ssize_t n = read(t->reads, bytes, (size_t)(t->reader->rate * 1024 / TICKS));

    if (n > 0)
        t->bytes += n;
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        snprintf(t->why, sizeof t->why, "the connection was cut");
}

/* ---- The flood ------------------------------------------------------------------- */

static unsigned char frame[MESSAGE + 100];      /* RFC 6455 5.2 */
static size_t frame_size;

/* The mask is four zeros, which change nothing. */
static void make_frame(void)
{
    char text[MESSAGE + 80], message[MESSAGE + 1];
    size_t len;

    memset(message, 'x', MESSAGE);
    message[MESSAGE] = '\0';
    len = (size_t)sprintf(text, "{\"recipient_id\":1,\"message\":\"%s\"}", message);
    frame[0] = 0x81;            /* FIN, text */
    frame[1] = 0x80 | 126;      /* masked; the length takes two bytes */
    frame[2] = (unsigned char)(len >> 8);
    frame[3] = (unsigned char)(len & 0xFF);
    memcpy(frame + 8, text, len);
    frame_size = 8 + len;
}

/* Sends at most one frame, so that no flood holds up the other trials. */
static void flood(struct trial *t)
{
    ssize_t n = send(t->floods, frame + t->flood_at, frame_size - t->flood_at, MSG_NOSIGNAL);

    if (n > 0)
        t->flood_at = (t->flood_at + (size_t)n) % frame_size;
    else if (errno != EAGAIN && errno != EINTR)
        fail("a sender's connection was cut");
}

/* ---- The loop -------------------------------------------------------------------- */

static void serve(struct trial *t, const struct pollfd *at)
{
    if (at[0].revents != 0)
        read_log(t);
    if (at[1].revents != 0)
        flood(t);
    if (*t->why != '\0')
        end_trial(t);
}

static void go_on(double until)
{
    static struct pollfd at[2 * MOST];
    double left;

    while ((left = until - now()) > 0) {
        for (int i = 0; i < trial_count; i++) {
            at[2 * i] = (struct pollfd){ .fd = trials[i].log, .events = POLLIN };
            at[2 * i + 1] = (struct pollfd){ .fd = trials[i].floods, .events = POLLOUT };
        }
        if (poll(at, (nfds_t)(2 * trial_count), (int)(left * 1000) + 1) < 0)
            fail("poll failed");
        for (int i = 0; i < trial_count; i++)
            if (!has_ended(&trials[i]))
                serve(&trials[i], &at[2 * i]);
    }
}

static void play(int seconds)
{
    double began = now();

    for (int tick = 1; tick <= seconds * TICKS; tick++) {
        go_on(began + (double)tick / (double)TICKS);
        for (int i = 0; i < trial_count; i++)
            if (!has_ended(&trials[i]))
                read_slowly(&trials[i]);
    }
    for (int i = 0; i < trial_count; i++)
        if (!has_ended(&trials[i]))
            end_trial(&trials[i]);
}

/* ---- The report ------------------------------------------------------------------ */

/* If the reader often found nothing to read, its sender was late, and the trial proves
 * nothing. */
static bool is_flooded(const struct trial *t)
{
    return (double)t->bytes >= 0.9 * t->reader->rate * 1024 * (t->ended - t->began);
}

static const char *verdict(const struct trial *t, char *out, size_t size)
{
    int kib = (int)(t->bytes / 1024), seconds = (int)(t->ended - t->began);

    if (*t->why != '\0')
        snprintf(out, size, "dropped after %d s, %d KiB", seconds, kib);
    else if (!is_flooded(t))
        snprintf(out, size, "too few messages, %d KiB", kib);
    else
        snprintf(out, size, "kept, %d KiB read", kib);
    return out;
}

/* The trials of a reader stand side by side, one for each approach. */
static void report(void)
{
    char cell[APPROACHES][60];

    printf("\n%-18s  %-28s  %s\n", "user 1 reads", approaches[0], approaches[1]);
    for (int i = 0; i < trial_count; i += APPROACHES)
        printf("%3d KiB/s %-8s  %-28s  %s\n", trials[i].reader->rate,
               kinds[trials[i].reader->kind], verdict(&trials[i], cell[0], sizeof cell[0]),
               verdict(&trials[i + 1], cell[1], sizeof cell[1]));
}

static bool is_kept(const struct trial *t)
{
    if (*t->why != '\0')
        fprintf(stderr, "slow: %s: user 1, at %d KiB/s (%s), left: %s\n", t->approach,
                t->reader->rate, kinds[t->reader->kind], t->why);
    return *t->why == '\0' && is_flooded(t);
}

/* ---- main ------------------------------------------------------------------------ */

static void on_signal(int number)
{
    for (int i = 0; i < trial_count; i++)
        if (trials[i].server > 0)
            kill(trials[i].server, SIGKILL);
    _exit(128 + number);
}

int main(int argc, char **argv)
{
    const struct reader *readers = promised;
    size_t count = sizeof promised / sizeof promised[0];
    int option, seconds = 90;
    bool table = false, network = false, all_kept = true;

    while ((option = getopt(argc, argv, "nts:")) != -1) {
        if (option == 'n')
            network = true;
        else if (option == 't')
            table = true;
        else if (option != 's' || (seconds = atoi(optarg)) < 1)
            optind = argc;      /* so that the usage is shown */
    }
    if (optind + 1 != argc) {
        fputs("usage: slow [-n] [-t] [-s SECONDS] CHAT\n", stderr);
        return 2;
    }
    if (table) {
        readers = tried;
        count = sizeof tried / sizeof tried[0];
    }
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    atexit(stop_servers);
    make_frame();
    for (size_t i = 0; i < count; i++)
        for (int a = 0; a < APPROACHES && (network || readers[i].kind == LOOPBACK); a++)
            start_trial(&readers[i], approaches[a], argv[optind]);
    printf("%d servers, %d s: in each, one user reads slowly, and another floods it\n",
           trial_count, seconds);
    fflush(stdout);
    play(seconds);
    report();
    for (int i = 0; i < trial_count; i++)
        all_kept = is_kept(&trials[i]) && all_kept;
    return table || all_kept ? 0 : 1;
}
