/* demo.c -- an experiment: one user does not read, and others chat meanwhile.
 *
 *     demo [CHAT [MILLISECONDS]]      (./chat, 1000: one line each second)
 *
 * demo starts CHAT -a directory, and then CHAT -a router.  With each, it plays five
 * users in three phases:
 *
 *   before   3 and 4 chat: each of them answers every message at once
 *   stalled  1 floods 2, and 2 does not read, until the server drops 2 at its
 *            deadline.  3 and 4 go on, and 5 asks to join.
 *   after    1 sends again, and 3 and 4 go on
 *
 * demo prints how many messages a second 3 and 4 got, and some lines of the log.  At
 * the end, it prints the figures of both approaches side by side.  It needs no
 * terminal.  In a terminal of 80 columns and 24 lines, each part fits on the screen,
 * with the cursor below it.
 * The exit status is 1 if the experiment failed, for example because there is no
 * server.
 *
 * 3 and 4 have one message on its way at any time.  When the server begins to wait for
 * 2, that message may still arrive.  If any more arrive, the server does not hold up 3
 * and 4.
 *
 * Order: figures, users, frames, the log, the server, what users do, the loop, a run,
 * the table, main. */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- Figures -------------------------------------------------------------------- */

enum {
    TICKS = 3,                  /* lines printed before the flood */
    TICKS_AFTER = 2,            /* and after it: a run fits in the 24 lines of a terminal */
    FLOOD_SIZE = 1000,          /* bytes of each message of the flood */
    WIDTH = 80,                 /* columns of a line */
    BAR = 24,                   /* characters of the first bar, the scale of all */
    LONGEST_BAR = WIDTH - 21,   /* characters that fit behind time and rate */
    PATIENCE = 60               /* seconds, the longest run; then it has failed */
};

enum phase { BEFORE, STALLED, AFTER, PHASES };

static const char *const approaches[] = { "directory", "router" };

static struct figures {
    double rate[PHASES];        /* messages a second that 3 and 4 got */
    double silence;             /* seconds, the longest time without a message */
    double flood;               /* bytes that 1 sent before it was stuck */
    double stuck;               /* seconds from then until 2 was dropped */
    double joining;             /* seconds that 5 waited to join */
    double again;               /* seconds from then until a message of 1 arrived */
    double lost;                /* lost bytes to 2, by the log */
} figures[2], *f;               /* f: the present run */

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void fail(const char *what)
{
    fflush(stdout);
    fprintf(stderr, "demo: %s\n", what);
    exit(1);
}

/* ---- Users: 1 to 5 -------------------------------------------------------------- */

enum { FLOODER = 1, READER, THREE, FOUR, NEWCOMER, USERS = 5 };

static struct user {
    int fd;                     /* -1: not connected */
    bool joined;                /* it got the answer to its request */
    char in[4096];
    size_t in_used;
} users[USERS + 1];

static int port;

static void connect_user(int id)
{
    static const char request[] =
        "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    struct sockaddr_in server = { .sin_family = AF_INET, .sin_port = htons((in_port_t)port) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    server.sin_addr.s_addr = inet_addr("127.0.0.1");
    if (fd < 0 || connect(fd, (struct sockaddr *)&server, sizeof server) < 0
        || write(fd, request, sizeof request - 1) != (ssize_t)sizeof request - 1
        || fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
        fail("cannot connect");
    users[id] = (struct user){ .fd = fd };
}

/* ---- Frames, RFC 6455 section 5.2 ----------------------------------------------- */

/* Writes a text frame with a message of so many bytes, and returns its size.  The mask
 * is four zeros, which change nothing. */
static size_t make_frame(unsigned char *out, int to, size_t size)
{
    char json[FLOOD_SIZE + 64], message[FLOOD_SIZE + 1];
    size_t len, header = 2;

    memset(message, 'x', size);
    message[size] = '\0';
    len = (size_t)sprintf(json, "{\"recipient_id\":%d,\"message\":\"%s\"}", to, message);
    out[0] = 0x81;              /* FIN, text */
    if (len < 126) {
        out[1] = (unsigned char)(0x80 | len);
    } else {
        out[1] = 0x80 | 126;
        out[header++] = (unsigned char)(len >> 8);
        out[header++] = (unsigned char)len;
    }
    memset(out + header, 0, 4);
    memcpy(out + header + 4, json, len);
    return header + 4 + len;
}

static void send_message(int from, int to)
{
    unsigned char frame[128];
    size_t size = make_frame(frame, to, 4);

    if (write(users[from].fd, frame, size) != (ssize_t)size)
        fail("a short message could not be sent");
}

/* Removes the answer to the request, or a frame, from the input.  Returns false if it
 * is not whole yet. */
static bool take(struct user *u)
{
    size_t size;

    u->in[u->in_used] = '\0';
    if (!u->joined) {
        char *end = strstr(u->in, "\r\n\r\n");
        size = end == NULL ? 0 : (size_t)(end + 4 - u->in);
    } else {
        size = u->in_used < 2 ? 0 : 2 + (size_t)u->in[1];   /* never over 125 bytes */
    }
    if (size == 0 || size > u->in_used)
        return false;
    u->in_used -= size;
    memmove(u->in, u->in + size, u->in_used);
    return true;
}

/* ---- Events and their times ----------------------------------------------------- */

static enum phase phase;
static double phase_began;
static double waiting_since;    /* the last log line about waiting for 2; 0: none */
static bool dropped;            /* the server has dropped 2 */
static double asked;            /* when 5 asked to join */
static bool heard_again;        /* after that, a message of 1 has arrived */
static double came;             /* when the last message of 3 and 4 arrived */
static long in_phase;           /* messages of 3 and 4 in this phase */
static bool under_way;          /* the next message was sent before; do not count it */

static void enter(enum phase next)
{
    phase = next;
    phase_began = now();
    in_phase = 0;
}

static void close_phase(double began)
{
    f->rate[phase] = (double)in_phase / (now() - began);
}

/* ---- A line for each tick ------------------------------------------------------- */

static const double SHORTEST = 0.05;    /* seconds that are worth a line */

static double run_began, tick_began;
static double scale;            /* messages a second that make BAR characters */
static long in_tick;            /* messages of 3 and 4 since the last line */

static void print_tick(void)
{
    double t = now(), rate = (double)in_tick / (t - tick_began), length;
    char bar[LONGEST_BAR + 1] = "";

    if (scale == 0)             /* the first line of the first run: the scale of both */
        scale = rate > 0 ? rate : 1;
    length = rate / scale * (double)BAR + 0.5;
    memset(bar, '#', length < (double)LONGEST_BAR ? (size_t)length : LONGEST_BAR);
    if (length >= (double)LONGEST_BAR + 1)
        bar[LONGEST_BAR - 1] = '+';
    if (t - tick_began > SHORTEST)
        printf("%7.1f s %8.0f%s%s\n", t - run_began, rate, *bar != '\0' ? "  " : "", bar);
    tick_began = t;
    in_tick = 0;
}

/* ---- The log -------------------------------------------------------------------- */

static pid_t server;
static int log_fd;
static char log_text[8192];
static size_t log_used;

/* Prints as much of the line as fits on one line of the terminal. */
static void print_log(const char *line)
{
    static const char mark[] = "  log: ";

    printf("%s%.*s\n", mark, (int)(WIDTH - sizeof mark), line);
}

/* The server waits for 2: it has parked 1, or the router waits.  The kernel may accept
 * more bytes after that, so only the last time counts. */
static void server_waits(const char *line)
{
    if (waiting_since == 0)
        print_log(line);
    waiting_since = now();
    in_phase = 0;
    under_way = true;
}

static void reader_dropped(const char *line)
{
    const char *lost = strstr(line, "lost: ");

    print_tick();
    print_log(line);
    f->lost = lost != NULL ? strtod(lost + 6, NULL) : 0;
    f->stuck = now() - waiting_since;
    close_phase(waiting_since);
    dropped = true;
    enter(AFTER);
}

static void log_says(const char *line)
{
    if (sscanf(line, "chat: listening on 127.0.0.1:%d", &port) == 1)
        return;
    if (port == 0)
        fprintf(stderr, "%s\n", line);          /* the reason why it does not listen */
    if (phase == STALLED && strstr(line, "waits for room at user 2") != NULL)
        server_waits(line);
    if (strncmp(line, "user 2 left: ", 13) == 0)
        reader_dropped(line);
}

static void read_log(void)
{
    ssize_t n = read(log_fd, log_text + log_used, sizeof log_text - log_used);
    char *line = log_text, *end;

    if (n <= 0)
        fail("the server ended");
    log_used += (size_t)n;
    while ((end = memchr(line, '\n', (size_t)(log_text + log_used - line))) != NULL) {
        *end = '\0';
        log_says(line);
        line = end + 1;
    }
    log_used -= (size_t)(line - log_text);
    memmove(log_text, line, log_used);
}

/* ---- The server ----------------------------------------------------------------- */

static void stop_server(void)
{
    if (server <= 0)
        return;
    close(log_fd);              /* the server may wait to write to it */
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    server = 0;
}

static void on_signal(int number)
{
    if (server > 0)
        kill(server, SIGKILL);
    _exit(128 + number);
}

static void start_server(const char *chat, const char *approach)
{
    int ends[2];

    if (pipe(ends) < 0 || (server = fork()) < 0)
        fail("cannot start a server");
    if (server == 0) {
        dup2(ends[1], STDOUT_FILENO);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        execl(chat, chat, "-a", approach, "-l", "127.0.0.1", "-p", "0", (char *)NULL);
        perror(chat);
        _exit(127);
    }
    close(ends[1]);
    log_fd = ends[0];
    log_used = 0;
    for (port = 0; port == 0;)
        read_log();
}

/* ---- What users do -------------------------------------------------------------- */

static unsigned char flood[FLOOD_SIZE + 128];
static size_t flood_size, flood_at;     /* a message, and how much of it is sent */

/* User 1 writes as long as the kernel accepts bytes.  When 2 is dropped, it finishes
 * its message, and sends one to itself, to see when the server reads it again. */
static void pour(void)
{
    int fd = users[FLOODER].fd;
    ssize_t n = 1;

    while (n > 0 && (phase == STALLED || flood_at > 0)) {
        n = write(fd, flood + flood_at, flood_size - flood_at);
        if (n > 0 && phase == STALLED)
            f->flood += (double)n;
        if (n > 0)
            flood_at = (flood_at + (size_t)n) % flood_size;
    }
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
        fail("user 1 cannot write");
    if (flood_at == 0 && phase == AFTER) {
        send_message(FLOODER, FLOODER);
        flood_size = 0;         /* the end */
    }
}

static void pair_hears(int id)
{
    double t = now();

    if (t - came > f->silence)
        f->silence = t - came;
    came = t;
    in_tick++;
    in_phase += !under_way;
    under_way = false;
    send_message(id, id == THREE ? FOUR : THREE);
}

static void hears(int id)
{
    if (id == THREE || id == FOUR)
        pair_hears(id);
    if (id == FLOODER) {
        heard_again = true;
        f->again = now() - phase_began;
    }
}

static void joins(int id)
{
    users[id].joined = true;
    if (id == NEWCOMER) {
        f->joining = now() - asked;
        puts("  5 is in");
    }
}

static void receive(int id)
{
    struct user *u = &users[id];
    ssize_t n = read(u->fd, u->in + u->in_used, sizeof u->in - 1 - u->in_used);

    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK))
        fail("a user's connection broke");
    if (n > 0)
        u->in_used += (size_t)n;
    while (take(u)) {
        if (u->joined)
            hears(id);
        else
            joins(id);
    }
}

/* ---- The loop ------------------------------------------------------------------- */

static void serve_users(struct pollfd *at)
{
    if (at[0].revents != 0)
        read_log();
    for (int id = 1; id <= USERS; id++) {
        if (at[id].revents & POLLOUT)
            pour();
        if (at[id].revents & ~POLLOUT)
            receive(id);
    }
}

/* Plays all users until that time, or until *over is true. */
static void go_on(double until, const bool *over)
{
    struct pollfd at[1 + USERS] = { { .fd = log_fd, .events = POLLIN } };
    double left;

    while ((left = until - now()) > 0 && !*over) {
        for (int id = 1; id <= USERS; id++) {
            at[id] = (struct pollfd){ .fd = users[id].fd, .events = POLLIN };
            if (id == READER && users[id].joined)
                at[id].fd = -1;         /* this user does not read */
            if (id == FLOODER && phase != BEFORE && flood_size > 0)
                at[id].events |= POLLOUT;
        }
        if (poll(at, 1 + USERS, (int)(left * 1000) + 1) < 0)
            fail("poll failed");
        serve_users(at);
    }
}

/* ---- A run ---------------------------------------------------------------------- */

static void join(int id)
{
    connect_user(id);
    go_on(now() + (double)PATIENCE, &users[id].joined);
}

static void ask_to_join(void)
{
    puts("  5 asks to join");
    asked = now();
    connect_user(NEWCOMER);
}

static void tick(double seconds, const bool *over)
{
    go_on(tick_began + seconds, over);
    print_tick();
}

static void play(double seconds)
{
    static const bool never = false;

    for (int id = FLOODER; id <= FOUR; id++)
        join(id);
    run_began = tick_began = came = now();
    enter(BEFORE);
    send_message(THREE, FOUR);
    for (int i = 0; i < TICKS; i++)
        tick(seconds, &never);
    close_phase(phase_began);
    puts("  1 floods 2, and 2 does not read");
    enter(STALLED);
    for (int ticks = 1; phase == STALLED && now() < phase_began + (double)PATIENCE; ticks++) {
        tick(seconds, &dropped);
        /* The kernel's buffers may accept a little more, so the router may continue. */
        if (ticks > TICKS && users[NEWCOMER].fd < 0 && !dropped)
            ask_to_join();
    }
    while (now() < phase_began + (double)TICKS_AFTER * seconds || !heard_again || !users[NEWCOMER].joined) {
        tick(seconds, &never);
        if (!dropped || now() > phase_began + (double)PATIENCE)
            fail("it takes too long");
    }
    close_phase(phase_began);
}

static void run(const char *chat, int which, double seconds)
{
    f = &figures[which];
    phase = BEFORE;
    waiting_since = 0;
    under_way = heard_again = dropped = false;
    flood_at = 0;
    flood_size = make_frame(flood, READER, FLOOD_SIZE);
    for (int id = 0; id <= USERS; id++)
        users[id].fd = -1;
    printf("\nchat -a %s: messages a second between 3 and 4\n", approaches[which]);
    start_server(chat, approaches[which]);
    play(seconds);
    for (int id = 1; id <= USERS; id++)
        close(users[id].fd);
    stop_server();
}

/* ---- The table ------------------------------------------------------------------ */

static void print_row(const char *what, const char *format, double directory, double router)
{
    char cell[2][32];

    snprintf(cell[0], sizeof cell[0], format, directory);
    snprintf(cell[1], sizeof cell[1], format, router);
    printf("%-52s %12s %12s\n", what, cell[0], cell[1]);
}

static void print_table(void)
{
    const struct figures *d = &figures[0], *r = &figures[1];

    printf("\n%-52s %12s %12s\n", "", approaches[0], approaches[1]);
    print_row("3 and 4, messages a second: before", "%.0f", d->rate[BEFORE], r->rate[BEFORE]);
    print_row("  while the server waits for 2", "%.0f", d->rate[STALLED], r->rate[STALLED]);
    print_row("  after it dropped 2", "%.0f", d->rate[AFTER], r->rate[AFTER]);
    print_row("  longest silence, milliseconds", "%.1f", d->silence * 1e3, r->silence * 1e3);
    print_row("1 floods: KiB taken before it is stuck", "%.0f", d->flood / 1024,
              r->flood / 1024);
    print_row("  stuck, milliseconds", "%.1f", d->stuck * 1e3, r->stuck * 1e3);
    print_row("  heard again so many milliseconds after the drop", "%.1f", d->again * 1e3,
              r->again * 1e3);
    print_row("2 does not read: bytes to it that were lost", "%.0f", d->lost, r->lost);
    print_row("5 asks to join: waits, milliseconds", "%.1f", d->joining * 1e3,
              r->joining * 1e3);
}

int main(int argc, char **argv)
{
    const char *chat = argc > 1 ? argv[1] : "./chat";
    long milliseconds = argc > 2 ? strtol(argv[2], NULL, 10) : 1000;

    if (argc > 3 || milliseconds < 10 || milliseconds > 10000) {
        fputs("usage: demo [CHAT [MILLISECONDS]]\n", stderr);
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    atexit(stop_server);
    for (int which = 0; which < 2; which++)
        run(chat, which, (double)milliseconds / 1000);
    print_table();
    return 0;
}
