/* bench.c -- measures how much processor time a chat server needs.
 *
 * bench starts a server and plays its clients.  Then it asks the system for the
 * server's processor time: CPU microseconds for each delivered message.  It measures
 * every row with both approaches of ./chat.  It also measures relay.c, which knows no
 * protocol, with the same messages.  The relay's figure is the smallest that any server
 * can reach.
 *
 *   one figure = a fresh server, its clients connected, a warm-up, and then
 *                processor time at the end - at the start
 *                ---------------------------------------   (the median of 3)
 *                 messages delivered in between
 *
 * So a figure includes connecting only if the row is about connecting, and a server
 * that waits needs no processor time.
 *
 * The clients keep the server busy with a window: each sender has a fixed number of
 * messages on their way, and sends the next one when one is delivered.  One loop plays
 * all clients: it reads everything, and then answers with one write for each client.
 *
 * Each message has its sender and a number, and bench checks it when it arrives.  It
 * counts lost, doubled, reordered and changed messages.  (It only counts the relay's
 * messages.)
 *
 * With --against, bench compares two builds of ./chat.  They take turns of 50 ms, and
 * each row shows their ratio.  So if the machine is slow for a while, both are slow.
 * With --base, bench compares two rows of the same build in this way.
 *
 * Order: the rows, options, the server, making messages, silent users, checking
 * messages, connecting, parked senders, the clients' loop, taking turns, one
 * figure, measuring rows, the table, comparing, choosing rows, main. */

#include <arpa/inet.h>
#include <ctype.h>
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
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- The rows ------------------------------------------------------------------ */

enum kind {
    PING_PONG,                  /* a user that gets a message answers it */
    FLOOD,                      /* when a message arrives, its sender sends the next */
    PARKED,                     /* PING_PONG beside senders that are always parked */
    LATENCY,                    /* PING_PONG beside users that seldom send */
    MANY_TO_ONE,                /* FLOOD, but all to the same recipient */
    CONNECT,                    /* connect, one message, Close */
    OPEN,                       /* connect one after the other, and stay; without --seconds */
    MEMORY                      /* connect, and be silent */
};

/* The unit of a row's figures, if it is not a message. */
static const char *const units[] = {
    [LATENCY] = "microseconds until a silent user is heard, median",
    [CONNECT] = "each visit", [OPEN] = "each connection", [MEMORY] = "",
};

static const struct row {
    const char *name;           /* "*" stands for the number of idle users */
    enum kind kind;
    int count;                  /* pairs, senders or visitors */
    int window;                 /* messages of each sender on their way */
    int size;                   /* bytes of the message string */
    int idle;                   /* more connections: this times --idle */
    int others;                 /* more connections, not changed by --idle */
} rows[] = {
    { "ping-pong 1 pair",            PING_PONG,    1,  1,    64,  0,   0 },
    { "ping-pong 32 pairs",          PING_PONG,   32,  1,    64,  0,   0 },
    { "flood 1 pair window 64",      FLOOD,        1, 64,    64,  0,   0 },
    { "flood 16 pairs window 32",    FLOOD,       16, 32,    64,  0,   0 },
    { "flood 4 pairs 1 KiB",         FLOOD,        4, 32,  1024,  0,   0 },
    { "flood 2 pairs 16 KiB",        FLOOD,        2, 16, 16384,  0,   0 },
    { "16 senders to 1",             MANY_TO_ONE, 16, 64,    64,  0,   0 },
    { "connect message close",       CONNECT,     32,  1,    64,  0,   0 },
    { "open * one by one",           OPEN,         0,  1,    64,  1,   0 },
    { "open * one by one",           OPEN,         0,  1,    64, 10,   0 },
    { "1 pair among 30 idle",        PING_PONG,    1,  1,    64,  0,  30 },
    { "1 pair among * idle",         PING_PONG,    1,  1,    64,  1,   0 },
    { "1 pair among * idle",         PING_PONG,    1,  1,    64, 10,   0 },
    { "1 pair among 300 parked",     PARKED,       1,  1,    64,  0, 600 },
    { "latency among 30",            LATENCY,      1,  1,    64,  0,   0 },
    { "latency among *",             LATENCY,      1,  1,    64,  1,   0 },
    { "memory of an idle user, KiB", MEMORY,       0,  1,    64,  1,   0 },
};

/* The columns in the order of the table.  The last two are for the program after
 * --against, or for the row after --base. */
enum column { DIRECTORY, ROUTER, FLOOR, OLD_DIRECTORY, OLD_ROUTER, COLUMNS };

enum {
    ROWS = sizeof rows / sizeof rows[0],
    NAME = 40,                  /* bytes of a row's name */
    MAX_RUNS = 99,
    MAX_IDLE = 2000,            /* --idle; some rows have ten times as many */
    TALKERS = 64,               /* connections that are not idle, at most */
    PROBES = 28,                /* silent users of LATENCY; with the pair, 30 */
    MAX_LATENCIES = 20000,      /* of one run */
    MAX_PARKED = 600,           /* senders that wait, and their recipients */
    PARKED_SIZE = 16000,        /* bytes of the messages that wait */
    QUIET_MS = 300,             /* no byte moves for so long: all senders are parked */
    USUAL_CLIENTS = 1000,       /* idle clients; more need another build of chat */
    LARGEST = 16384,            /* bytes of the largest message string */
    FRAMES = 300000,            /* bytes of the largest window of frames */
    INBOX = 262144,             /* bytes a client reads at once */
    AT_ONCE = 64,               /* idle connections opened together */
    FIRST_IDLE = 16,            /* idle clients before the first look at memory */
    PATIENCE = 5000,            /* milliseconds, the longest wait for an answer */
    BAR = 24                    /* characters of the longest bar in a row */
};

static const double WARM_UP = 0.15;     /* seconds before the clock starts */
static const double SETTLE = 0.025;     /* the same for each turn of a build */
static const double TURN = 0.05;        /* seconds of one turn of a build */

/* ---- Options, and how a run can end ---------------------------------------------- */

static struct {
    const char *chat, *big, *relay;     /* paths */
    const char *against, *base;         /* another build of chat, or a row; or NULL */
    const char *server;                 /* a command, measured instead of chat */
    int port;                           /* its port; 0: read from its output */
    double seconds;                     /* of each run, without warm-up */
    int runs, idle;
    char rows[400];                     /* names, or parts of them; "" for all */
} opt = { .chat = "./chat", .seconds = 0.5, .runs = 3, .idle = 1000 };

static const struct row *row;           /* the row that is measured now */
static const struct row *base;          /* the row to compare with, or NULL */
static const char *why;                 /* the row cannot be measured; NULL: it can */
static bool failed;                     /* for the exit status */
static volatile sig_atomic_t interrupted;

/* The row cannot be measured on this machine, and the table says so.  Returns false. */
static bool leave_out(const char *reason)
{
    why = reason;
    return false;
}

/* The server made a mistake.  Returns false. */
static bool fail(const char *reason)
{
    failed = true;
    return leave_out(reason);
}

static void on_signal(int number)
{
    interrupted = number;
}

static double seconds_of(clockid_t clock)
{
    struct timespec t = { 0, 0 };

    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double now(void)
{
    return seconds_of(CLOCK_MONOTONIC);
}

/* The only function that waits.  A signal interrupts it, and exit() stops the
 * server. */
static void wait_for(struct pollfd *set, int count, int ms)
{
    if (poll(set, (nfds_t)count, ms) <= 0)
        for (int i = 0; i < count; i++)
            set[i].revents = 0;
    if (interrupted)
        exit(128 + (int)interrupted);
}

/* Like read(), but waits for the first byte.  Returns 0 or less if no byte comes. */
static ssize_t read_some(int fd, void *to, size_t size, int ms)
{
    struct pollfd one = { .fd = fd, .events = POLLIN };

    wait_for(&one, 1, ms);
    return one.revents != 0 ? read(fd, to, size) : -1;
}

static bool send_all(int fd, const void *bytes, size_t len)
{
    return send(fd, bytes, len, MSG_NOSIGNAL) == (ssize_t)len;
}

/* ---- The server ------------------------------------------------------------------ */

static struct {
    pid_t pid;                  /* 0: none runs */
    int out;                    /* its standard output */
    int port;
    bool relay;                 /* no handshake, and bytes come back unchanged */
    long users;                 /* users so far, if the server tells no ids */
} server;

static const char *pin = "";    /* words before a command: a core of its own */

/* Sends SIGTERM, and SIGKILL after 3 s.  Every exit calls this, too. */
static void stop_server(void)
{
    const struct timespec moment = { 0, 2000000 };
    double deadline = now() + 3;

    if (server.pid <= 0)
        return;
    kill(server.pid, SIGTERM);
    while (waitpid(server.pid, NULL, WNOHANG) == 0) {
        if (now() > deadline)
            kill(server.pid, SIGKILL);
        nanosleep(&moment, NULL);
    }
    close(server.out);
    server.pid = 0;
}

/* Finds the first ":DIGITS" that is not a part of an address like [::1]. */
static int port_in(const char *line)
{
    for (const char *p = strchr(line, ':'); p != NULL; p = strchr(p + 1, ':')) {
        char *end = NULL;
        long port = p[1] >= '0' && p[1] <= '9' ? strtol(p + 1, &end, 10) : 0;

        if (port > 0 && port < 65536 && *end != ']' && *end != ':')
            return (int)port;
    }
    return 0;
}

/* Reads the port from the server's first line. */
static int announced_port(void)
{
    char line[512] = "";
    size_t len = 0;

    while (strchr(line, '\n') == NULL) {
        ssize_t n = read_some(server.out, line + len, sizeof line - 1 - len, PATIENCE);

        if (n <= 0)
            break;
        len += (size_t)n;
        line[len] = '\0';
    }
    return port_in(line);
}

/* Connects a socket; -1: failed.  The socket does not block, so connecting has a
 * limit. */
static int connect_to_server(void)
{
    struct sockaddr_in a = { .sin_family = AF_INET };
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct pollfd one = { .fd = fd, .events = POLLOUT };

    a.sin_addr.s_addr = inet_addr("127.0.0.1");
    a.sin_port = htons((uint16_t)server.port);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
        return fd;
    if (errno == EINPROGRESS)
        wait_for(&one, 1, PATIENCE);
    if (one.revents == POLLOUT)
        return fd;
    close(fd);
    return -1;
}

/* Waits for a server that announces nothing, until it accepts a connection. */
static bool comes_up(void)
{
    double deadline = now() + (double)PATIENCE / 1000;
    int fd;

    while ((fd = connect_to_server()) < 0 && now() < deadline)
        wait_for(NULL, 0, 20);
    close(fd);
    return fd >= 0;
}

/* The shell uses exec.  So the process that bench measures and stops is the server. */
static bool start_server(const char *command, bool relay)
{
    char line[1024];
    int ends[2];

    snprintf(line, sizeof line, "exec %s%s", pin, command);
    if (pipe(ends) < 0 || (server.pid = fork()) < 0)
        return fail("no pipe or no process to be had");
    if (server.pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execl("/bin/sh", "sh", "-c", line, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    server.out = ends[0];
    server.relay = relay;
    server.users = 0;
    server.port = opt.port != 0 && !relay ? opt.port : announced_port();
    if (server.port == 0 || (server.port == opt.port && !comes_up()))
        return fail("the server did not start");
    return true;
}

/* The processor time of the server. */
static double server_seconds(void)
{
#if defined _POSIX_CPUTIME && _POSIX_CPUTIME >= 0       /* not on macOS */
    clockid_t clock;

    if (clock_getcpuclockid(server.pid, &clock) == 0)
        return seconds_of(clock);
#endif
    fprintf(stderr, "bench: this system does not tell another's processor time\n");
    exit(1);
}

/* The server's memory in KiB (ps: rss); 0 if ps cannot tell it. */
static long server_memory(void)
{
    char command[64];
    long kib = 0;
    FILE *ps;

    snprintf(command, sizeof command, "ps -o rss= -p %ld", (long)server.pid);
    ps = popen(command, "r");
    if (ps != NULL && fscanf(ps, "%ld", &kib) != 1)
        kib = 0;
    if (ps != NULL)
        pclose(ps);
    return kib;
}

/* ---- Making messages ----------------------------------------------------------------
 *
 * A sender's frames are made once and are all alike.  Their number is the window.  To
 * send one, bench only writes the masked number into it:
 *
 *   header, mask, {"recipient_id":7,"message":"#000001c80003abcdefgh..."}
 *                                               number  from filler            */

enum { NUMBER = 8, FROM = 4, MARKS = 1 + NUMBER + FROM };       /* characters */
enum { OP_TEXT = 1, OP_CLOSE = 8 };                             /* RFC 6455 5.2 */
enum state { SHAKING, TALKING, LEAVING };

static struct client {
    int fd;                     /* -1: not connected */
    enum state state;
    long id;                    /* its user id; 0: the server did not tell it */
    struct client *to;
    size_t frame_size, text_at, number_at;      /* bytes; both within a frame */
    size_t begin, end;          /* the part of its frames that it must still write */
    int credit;                 /* messages that the window allows now */
    uint32_t sent, got;         /* numbers: the next to send, the next to arrive */
    uint32_t missing;           /* skipped numbers: lost, or only late */
    unsigned long delivered;
    size_t in_len;              /* bytes read, but not yet checked */
    size_t joined_len;          /* bytes of a message that is not whole yet */
} clients[TALKERS + AT_ONCE + 10 * MAX_IDLE];   /* clients that talk come first */

static struct buffers {         /* of a client that talks */
    uint8_t frames[FRAMES];
    uint8_t in[INBOX];
    uint8_t joined[2 * LARGEST];
} buffers[TALKERS];

static const uint8_t mask[4] = { 0x37, 0xFA, 0x21, 0x3D };
static char filler[LARGEST];
static int talking;             /* clients that talk */
static int opened;              /* clients that have been opened */
static unsigned long done;      /* messages delivered; or visits, if CONNECT */
static bool draining;           /* send no new messages */

static struct buffers *buffers_of(const struct client *c)
{
    return &buffers[c - clients];
}

/* Makes a frame of a client, RFC 6455 5.2: always masked.  Returns its size. */
static size_t write_frame(uint8_t *out, int opcode, const char *text, size_t len)
{
    size_t size = 2;

    out[0] = (uint8_t)(0x80 | opcode);
    out[1] = (uint8_t)(0x80 | (len < 126 ? len : 126));
    if (len >= 126) {
        out[size++] = (uint8_t)(len >> 8);
        out[size++] = (uint8_t)(len & 0xFF);
    }
    memcpy(out + size, mask, sizeof mask);
    size += sizeof mask;
    for (size_t i = 0; i < len; i++)
        out[size++] = (uint8_t)((uint8_t)text[i] ^ mask[i % 4]);
    return size;
}

static void make_frames(struct client *c)
{
    uint8_t *frames = buffers_of(c)->frames;
    char text[LARGEST + 100];
    int len = snprintf(text, sizeof text, "{\"recipient_id\":%ld,\"message\":\"#%0*d%0*x%.*s\"}",
                       c->to->id, NUMBER, 0, FROM, (unsigned)(c - clients),
                       row->size - MARKS, filler);

    c->frame_size = write_frame(frames, OP_TEXT, text, (size_t)len);
    c->text_at = c->frame_size - (size_t)len;
    c->number_at = c->text_at + (size_t)(strchr(text, '#') + 1 - text);
    for (int i = 1; i < row->window; i++)
        memcpy(frames + (size_t)i * c->frame_size, frames, c->frame_size);
    c->begin = c->end = 0;
}

static void put_number(const struct client *c, uint8_t *frame, uint32_t number)
{
    for (size_t i = c->number_at + NUMBER; i-- > c->number_at; number >>= 4) {
        uint8_t digit = (uint8_t)"0123456789abcdef"[number & 15];

        frame[i] = digit ^ mask[(i - c->text_at) % 4];
    }
}

/* Sends as many messages as the window allows.  The buffer has room for one window.  If
 * older frames are still in it, the messages that do not fit go later. */
static void put_messages(struct client *c)
{
    size_t room = (size_t)row->window * c->frame_size;

    if (c->begin == c->end)
        c->begin = c->end = 0;
    for (; c->credit > 0 && c->frame_size <= room - c->end; c->credit--) {
        put_number(c, buffers_of(c)->frames + c->end, c->sent++);
        c->end += c->frame_size;
    }
}

static void send_messages(struct client *c)
{
    ssize_t n;

    if (!draining)
        put_messages(c);
    if (c->begin == c->end)
        return;
    n = send(c->fd, buffers_of(c)->frames + c->begin, c->end - c->begin, MSG_NOSIGNAL);
    if (n > 0)
        c->begin += (size_t)n;
    else if (errno != EAGAIN && errno != EINTR)
        fail("a connection was cut while sending");
}

/* ---- Silent users ---------------------------------------------------------------------
 *
 * In a row of LATENCY, the clients behind the pair take turns.  Every few milliseconds,
 * one of them sends a message to itself.  So each has been silent for about 0.1 s. */

static struct {
    double latencies[MAX_LATENCIES];    /* microseconds */
    int count;
    int last;                   /* the client that spoke last */
    bool under_way;             /* its message has not arrived yet */
    double began, next;         /* seconds */
} silent;

static void break_silence(void)
{
    if (row->kind != LATENCY || draining || silent.under_way || now() < silent.next)
        return;
    silent.last = 2 * row->count + (silent.last + 1 - 2 * row->count) % PROBES;
    clients[silent.last].credit = 1;
    silent.under_way = true;
    silent.began = now();
}

static void note_latency(void)
{
    double t = now();

    if (silent.count < MAX_LATENCIES)
        silent.latencies[silent.count++] = (t - silent.began) * 1e6;
    silent.under_way = false;
    silent.next = t + 0.002 + 0.004 * rand() / RAND_MAX;
}

/* ---- Checking messages ----------------------------------------------------------- */

static struct counts { unsigned long all, lost, duplicated, reordered, altered; } seen;

/* `count` messages of `from` have arrived at c. */
static void delivered(struct client *c, struct client *from, int count)
{
    uint8_t bye[8];

    seen.all += (unsigned long)count;
    from->delivered += (unsigned long)count;
    if (row->kind == LATENCY && c == from) {
        note_latency();
        return;
    }
    if (row->kind == CONNECT) {         /* close code 1000, and then wait for the end */
        from->state = LEAVING;
        if (!send_all(from->fd, bye, write_frame(bye, OP_CLOSE, "\x03\xE8", 2)))
            fail("a connection was cut before its close");
        return;
    }
    done += (unsigned long)count;
    (row->kind == PING_PONG ? c : from)->credit += count;
}

/* Numbers must arrive one by one.  If a skipped number arrives later, its message was
 * overtaken.  If it never arrives, it is lost.  A number that was not missing is
 * double. */
static void count_number(struct client *from, uint32_t number)
{
    if (number >= from->got) {
        from->missing += number - from->got;
        seen.lost += number - from->got;
        from->got = number + 1;
    } else if (from->missing > 0) {
        from->missing--;
        seen.lost--;
        seen.reordered++;
    } else {
        seen.duplicated++;
    }
}

static uint32_t number_from(const uint8_t *text, size_t digits)
{
    uint32_t n = 0;

    for (size_t i = 0; i < digits; i++)
        n = n << 4 | (uint32_t)(text[i] <= '9' ? text[i] - '0' : text[i] - 'a' + 10);
    return n;
}

/* Finds the sender of the message string at m, and sets *number.  Returns NULL if the
 * message was changed, or if this client is not its recipient. */
static struct client *sender_of(const struct client *c, const uint8_t *m, size_t len,
                                uint32_t *number)
{
    size_t size = (size_t)row->size;
    uint32_t from;

    if (len <= size || m[size] != '"' || memcmp(m + MARKS, filler, size - MARKS) != 0)
        return NULL;
    *number = number_from(m + 1, NUMBER);
    from = number_from(m + 1 + NUMBER, FROM);
    if (from >= (uint32_t)talking || clients[from].to != c || *number >= clients[from].sent)
        return NULL;
    return &clients[from];
}

/* Servers may write different JSON, but the message string starts with the only '#'.  A
 * '@' is a late greeting, see greet(). */
static void check_message(struct client *c, const uint8_t *text, size_t len)
{
    const uint8_t *m = memchr(text, '#', len);
    uint32_t number = 0;
    struct client *from = NULL;

    if (m != NULL)
        from = sender_of(c, m, len - (size_t)(m - text), &number);
    if (from != NULL) {
        count_number(from, number);
        delivered(c, from, 1);
    } else if (memchr(text, '@', len) == NULL && seen.altered++ == 0) {
        fprintf(stderr, "\nbench: did not expect: %.*s\n", (int)(len < 200 ? len : 200),
                (const char *)text);
    }
}

/* Some servers send a long message in fragments (RFC 6455 5.4). */
static void join(struct client *c, bool fin, const uint8_t *text, size_t len)
{
    uint8_t *joined = buffers_of(c)->joined;

    if (len > sizeof buffers[0].joined - c->joined_len) {
        fail("a message was too long");
        return;
    }
    memcpy(joined + c->joined_len, text, len);
    c->joined_len += len;
    if (!fin)
        return;
    check_message(c, joined, c->joined_len);
    c->joined_len = 0;
}

/* Reads the header of a server's frame, RFC 6455 5.2: not masked.  Sets *len to the
 * size of the payload.  Returns the header's size, or 0 if it is not whole. */
static size_t read_header(const uint8_t *in, size_t have, size_t *len)
{
    if (have < 2 || (in[1] == 126 && have < 4))
        return 0;
    *len = in[1] < 126 ? in[1] : (size_t)in[2] << 8 | in[3];
    return in[1] < 126 ? 2 : 4;
}

/* Checks all whole frames.  Returns the number of bytes used. */
static size_t take_frames(struct client *c)
{
    const uint8_t *in = buffers_of(c)->in;
    size_t at = 0, head, len;

    while ((head = read_header(in + at, c->in_len - at, &len)) != 0
           && len <= c->in_len - at - head) {
        bool fin = (in[at] & 0x80) != 0;
        int opcode = in[at] & 0x0F;

        if (fin && opcode == OP_TEXT)
            check_message(c, in + at + head, len);
        else if (opcode < OP_CLOSE)
            join(c, fin, in + at + head, len);
        else if (opcode == OP_CLOSE && c->state != LEAVING)
            fail("the server closed a connection");
        at += head + len;
    }
    return at;
}

/* The relay passes on the partner's frames unchanged, with their masks. */
static size_t take_bytes(struct client *c)
{
    struct client *from = &clients[(c - clients) ^ 1];
    size_t count = c->in_len / from->frame_size;

    from->got += (uint32_t)count;
    if (count > 0)
        delivered(c, from, (int)count);
    return count * from->frame_size;
}

/* ---- Connecting ------------------------------------------------------------------ */

/* Resets the connection, so that no side keeps a socket in TIME_WAIT. */
static void close_client(struct client *c)
{
    const struct linger reset = { 1, 0 };

    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(c->fd);
    c->fd = -1;
}

static bool open_client(struct client *c)
{
    static const char request[] =
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

    c->state = server.relay ? TALKING : SHAKING;
    c->in_len = c->joined_len = 0;
    c->fd = connect_to_server();
    if (c->fd < 0)
        return fail("cannot connect");
    if (!server.relay && !send_all(c->fd, request, sizeof request - 1))
        return fail("a connection was cut at its request");
    return true;
}

static bool finish_handshake(struct client *c)
{
    char head[4096] = "";
    const char *id;
    size_t len = 0;

    while (strstr(head, "\r\n\r\n") == NULL) {
        ssize_t n = read_some(c->fd, head + len, sizeof head - 1 - len, PATIENCE);

        if (n <= 0)
            return fail("no answer to a handshake");
        len += (size_t)n;
        head[len] = '\0';
    }
    if (strncmp(head, "HTTP/1.1 503", 12) == 0)
        return leave_out("the server takes no more clients (503)");
    if (strncmp(head, "HTTP/1.1 101", 12) != 0)
        return fail("the server refused a handshake");
    id = strstr(head, "\nChat-User-Id: ");
    c->id = id != NULL ? atol(id + 15) : 0;
    c->state = TALKING;
    return true;
}

/* The article's server tells no ids, so bench counts its users.  It knows a user only
 * some time after the 101.  So each user sends itself messages until one arrives. */
static bool greet(struct client *c)
{
    uint8_t frame[100], *in = buffers_of(c)->in;
    char text[80];
    int len = snprintf(text, sizeof text, "{\"recipient_id\":%ld,\"message\":\"@\"}", c->id);
    size_t size = write_frame(frame, OP_TEXT, text, (size_t)len);

    for (int tries = 0; tries < 20; tries++)
        if (send_all(c->fd, frame, size) && read_some(c->fd, in, INBOX, PATIENCE / 20) > 0)
            return true;
    return fail("a message to oneself did not come back");
}

static bool open_talker(struct client *c)
{
    if (!open_client(c) || (!server.relay && !finish_handshake(c)))
        return false;
    if (c->id == 0)
        c->id = ++server.users;
    return server.relay || greet(c);
}

/* When the relay serves the last pair, it has accepted all earlier connections. */
static bool relay_settles(void)
{
    struct client *last = &clients[opened - 1];
    char byte = 0;

    if (!send_all((last - 1)->fd, &byte, 1) || read_some(last->fd, &byte, 1, PATIENCE) != 1)
        return fail("the relay does not come to rest");
    return true;
}

/* Do the idle clients connect while the row is measured?  Then they connect one after the
 * other.  (Clients that connect together make the server use more buffers, and it would be
 * chance how many.) */
static bool measures_connecting(void)
{
    return row->kind == MEMORY || row->kind == OPEN;
}

/* Opens `count` idle clients (an even number, for the relay). */
static bool open_idle(int count)
{
    int at_once = measures_connecting() ? 1 : AT_ONCE;

    for (int last = opened + count; opened < last; ) {
        int first = opened;

        while (opened < last && opened < first + at_once)
            if (!open_client(&clients[opened++]))
                return false;
        for (int i = first; i < opened && !server.relay; i++)
            if (!finish_handshake(&clients[i]))
                return false;
    }
    return count == 0 || !server.relay || relay_settles();
}

/* ---- Parked senders --------------------------------------------------------------------
 *
 * In a row of PARKED, every second silent client floods the next one, which does not
 * read.  Soon all buffers between them are full, and the server parks the sender.  (It
 * drops the recipients after 10 s, so a run must end before that.) */

static struct pollfd senders[MAX_PARKED / 2];

/* Each sender's buffer is small.  If not, 300 senders would need 1 GiB. */
static bool watch_senders(void)
{
    const int few = 4096;

    for (int i = 0; i < row->others / 2; i++) {
        const struct client *c = &clients[talking + 2 * i];

        senders[i] = (struct pollfd){ .fd = c->fd, .events = POLLOUT };
        setsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &few, sizeof few);
        if ((c + 1)->id == 0)
            return leave_out("the server tells no ids");
    }
    return true;
}

static bool is_any_writable(int ms)
{
    bool any = false;

    wait_for(senders, row->others / 2, ms);
    for (int i = 0; i < row->others / 2; i++)
        any = any || senders[i].revents != 0;
    return any;
}

static bool send_a_part(struct client *c)
{
    uint8_t frame[PARKED_SIZE + 100];
    char text[PARKED_SIZE + 80];
    int len = snprintf(text, sizeof text, "{\"recipient_id\":%ld,\"message\":\"%.*s\"}",
                       (c + 1)->id, PARKED_SIZE, filler);
    size_t size = write_frame(frame, OP_TEXT, text, (size_t)len);
    ssize_t n = send(c->fd, frame + c->begin, size - c->begin, MSG_NOSIGNAL);

    if (n > 0)
        c->begin = (c->begin + (size_t)n) % size;
    return n > 0 || errno == EAGAIN || errno == EINTR || fail("a sender was cut");
}

static bool park_senders(void)
{
    double deadline = now() + (double)PATIENCE / 1000;

    if (!watch_senders())
        return false;
    while (is_any_writable(QUIET_MS)) {
        if (now() > deadline)
            return leave_out("senders are not parked");
        for (int i = 0; i < row->others / 2; i++)
            if (senders[i].revents != 0 && !send_a_part(&clients[talking + 2 * i]))
                return false;
    }
    return true;
}

/* ---- The clients' loop ----------------------------------------------------------- */

/* A visitor has its 101 and sends its only message.  It sends it to itself, or, if it
 * does not know its id, to the last client, which stays. */
static void start_visit(struct client *c)
{
    if (!finish_handshake(c))
        return;
    c->to = c->id != 0 ? c : &clients[row->count];
    make_frames(c);
    c->credit = 1;
}

static void end_of_input(struct client *c)
{
    if (c->state != LEAVING)
        fail("a connection was cut");
    close_client(c);
    done++;
}

static void read_client(struct client *c)
{
    uint8_t *in = buffers_of(c)->in;
    ssize_t n = read(c->fd, in + c->in_len, INBOX - c->in_len);
    size_t used;

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        end_of_input(c);
        return;
    }
    c->in_len += (size_t)n;
    used = server.relay ? take_bytes(c) : take_frames(c);
    c->in_len -= used;
    memmove(in, in + used, c->in_len);
}

static void write_client(struct client *c)
{
    if (c->fd < 0 && !draining)
        open_client(c);                 /* the next visit */
    else if (c->fd >= 0 && c->state == TALKING)
        send_messages(c);
}

/* Each turn begins with another client.  If the same client always wrote first, the
 * server would also read it first, and it would send more than the others. */
static void turn(void)
{
    static struct pollfd set[TALKERS];
    static int first;

    for (int i = 0; i < talking; i++) {
        bool blocked = clients[i].begin < clients[i].end;

        set[i].fd = clients[i].fd;
        set[i].events = (short)(POLLIN | (blocked ? POLLOUT : 0));
    }
    wait_for(set, talking, 20);
    for (int i = 0; i < talking && why == NULL; i++)
        if ((set[i].revents & ~POLLOUT) != 0)
            (clients[i].state == SHAKING ? start_visit : read_client)(&clients[i]);
    first = (first + 1) % talking;
    break_silence();
    for (int i = 0; i < talking && why == NULL; i++)
        write_client(&clients[(first + i) % talking]);
}

static void run_for(double seconds)
{
    for (double end = now() + seconds; why == NULL && now() < end; )
        turn();
}

static uint32_t under_way(void)
{
    uint32_t sum = 0;

    for (int i = 0; i < talking; i++)
        sum += clients[i].sent - clients[i].got;
    return sum;
}

/* Waits for the messages on their way.  A message that needs some seconds is lost. */
static void drain(void)
{
    double deadline = now() + (double)PATIENCE / 1000;

    draining = true;
    while (why == NULL && under_way() > 0 && now() < deadline)
        turn();
    draining = false;
    if (why == NULL)
        seen.lost += under_way();
}

/* ---- Taking turns ------------------------------------------------------------------------
 *
 * Two processes of bench measure two builds.  Each has its own server and clients.  One
 * byte goes back and forth between the processes, and the one that has it may run.
 * First the byte goes round once, to show that both processes are ready. */

static int other = -1;          /* a socket to the other process, or -1 */
static bool is_first;
static const char other_failed[] = "the other build failed";

static bool wait_for_turn(void)
{
    char byte;

    if (other < 0 || read_some(other, &byte, 1, 4 * PATIENCE) == 1)
        return true;
    return leave_out(other_failed);
}

static bool pass_turn(void)
{
    if (other < 0 || send_all(other, "", 1))
        return true;
    return leave_out(other_failed);
}

static bool meet_the_other(void)
{
    return (is_first || wait_for_turn()) && pass_turn();
}

/* ---- One figure ------------------------------------------------------------------ */

struct figure {
    int runs;
    double each[MAX_RUNS];      /* microseconds, or KiB */
    double busy;                /* percent of the last run in which the server worked */
    double uneven;              /* percent, see deviation() */
    const char *why;            /* why it could not be measured, or NULL */
};

static int count_talkers(void)
{
    switch (row->kind) {
    case PING_PONG: case FLOOD: case PARKED:    return 2 * row->count;
    case LATENCY:                               return 2 * row->count + PROBES;
    case MANY_TO_ONE: case CONNECT:             return row->count + 1;
    case OPEN: case MEMORY: default:            return 0;
    }
}

/* In a row of LATENCY, some of the idle clients send now and then. */
static int count_idle(void)
{
    int count = row->idle * opt.idle + row->others;

    if (row->kind == LATENCY)
        count -= PROBES + 2;
    return count > 0 ? count : 0;
}

/* Decides each client's partner, and which client begins. */
static void assign_roles(void)
{
    bool to_one = row->kind == MANY_TO_ONE;

    for (int i = 0; i < talking; i++) {
        bool is_silent = row->kind == LATENCY && i >= 2 * row->count;

        clients[i].to = &clients[is_silent ? i : to_one ? row->count : i ^ 1];
        make_frames(&clients[i]);
        if (!is_silent && (to_one ? i < row->count : i % 2 == 0))
            clients[i].credit = row->window;
    }
    silent.count = 0;
    silent.last = talking - 1;
    silent.under_way = false;
}

/* Visitors connect later.  This opens only the client that stays, behind them. */
static bool open_all(void)
{
    bool visits = row->kind == CONNECT;

    for (int i = visits ? row->count : 0; i < talking; i++)
        if (!open_talker(&clients[i]))
            return false;
    if (!visits)
        assign_roles();
    return measures_connecting() || (open_idle(count_idle())
                                     && (row->kind != PARKED || park_senders()));
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Sorts the figures and returns the median. */
static double median_of(double *figures, int count)
{
    qsort(figures, (size_t)count, sizeof *figures, by_size);
    return figures[count / 2];
}

/* Returns how far, in percent, a sender's share is from the mean, but at least
 * `most`. */
static double deviation(double most)
{
    double sum = 0;

    for (int i = 0; i < row->count; i++)
        sum += (double)clients[i].delivered;
    for (int i = 0; i < row->count; i++) {
        double off = 100 * (double)clients[i].delivered * row->count / sum - 100;

        off = off < 0 ? -off : off;
        most = off > most ? off : most;
    }
    return most;
}

struct work {
    double cpu, wall;           /* seconds */
    unsigned long count;
};

/* A message of a silent user must arrive before the pause, which would count
 * otherwise. */
static bool measure_turn(struct work *sum, double seconds)
{
    unsigned long count;
    double cpu, wall;

    if (!wait_for_turn())
        return false;
    run_for(other >= 0 ? SETTLE : 0);
    count = done;
    wall = now();
    cpu = server_seconds();
    run_for(seconds);
    sum->cpu += server_seconds() - cpu;
    sum->wall += now() - wall;
    sum->count += done - count;
    while (why == NULL && silent.under_way)
        turn();
    return why == NULL && pass_turn();
}

static bool measure_turns(struct work *sum)
{
    int turns = other < 0 ? 1 : (int)(opt.seconds / TURN + 0.5);

    turns = turns > 0 ? turns : 1;
    if (!meet_the_other())
        return false;
    for (int i = 0; i < turns; i++)
        if (!measure_turn(sum, opt.seconds / turns))
            return false;
    return !is_first || wait_for_turn();
}

static bool measure_work(struct figure *f)
{
    struct work sum = { 0, 0, 0 };

    run_for(WARM_UP);
    for (int i = 0; i < talking; i++)
        clients[i].delivered = 0;
    silent.count = 0;
    measure_turns(&sum);
    if (row->kind == MANY_TO_ONE)
        f->uneven = deviation(f->uneven);
    drain();
    if (why == NULL && sum.count == 0)
        fail("nothing was delivered");
    if (why == NULL && row->kind == PARKED && is_any_writable(0))
        leave_out("senders were not parked");
    f->each[f->runs] = sum.cpu * 1e6 / (double)sum.count;
    if (row->kind == LATENCY && silent.count > 0)
        f->each[f->runs] = median_of(silent.latencies, silent.count);
    f->busy = 100 * sum.cpu / sum.wall;
    return why == NULL;
}

/* The clients of a build connect in one turn. */
static bool measure_opening(struct figure *f)
{
    double cpu, wall;

    if (!meet_the_other() || !wait_for_turn())
        return false;
    wall = now();
    cpu = server_seconds();
    if (!open_idle(count_idle()))
        return false;
    cpu = server_seconds() - cpu;
    f->each[f->runs] = cpu * 1e6 / count_idle();
    f->busy = 100 * cpu / (now() - wall);
    return pass_turn() && (!is_first || wait_for_turn());
}

/* Some clients connect before the first look, so that common memory is not counted. */
static bool measure_memory(struct figure *f)
{
    int count = count_idle();
    long before, after;

    if (!open_idle(FIRST_IDLE))
        return false;
    before = server_memory();
    if (!open_idle(count))
        return false;
    after = server_memory();
    if (before == 0 || after == 0)
        return leave_out("ps does not tell");
    f->each[f->runs] = (double)(after - before) / count;
    return true;
}

/* Rows with many clients need a program that is built with other limits. */
static const char *program_for(enum column column, bool big)
{
    static char old_big[600];

    if (column == FLOOR)
        return opt.relay;
    if (column < OLD_DIRECTORY || opt.against == NULL)
        return big ? opt.big : opt.chat;
    snprintf(old_big, sizeof old_big, "%s-big", opt.against);
    return big ? old_big : opt.against;
}

/* Finds the command that starts the column's server for this row, if there is one. */
static bool command_for(enum column column, char *command, size_t size)
{
    static const char *const arguments[] = {
        [DIRECTORY] = "-a directory -q -l 127.0.0.1 -p",
        [OLD_DIRECTORY] = "-a directory -q -l 127.0.0.1 -p",
        [ROUTER] = "-a router -q -l 127.0.0.1 -p",
        [OLD_ROUTER] = "-a router -q -l 127.0.0.1 -p", [FLOOR] = ""
    };
    bool big = count_idle() > USUAL_CLIENTS;
    const char *path = program_for(column, big);
    struct rlimit limit;

    if (column == FLOOR && row->kind != PING_PONG && row->kind != FLOOD
        && row->kind != MEMORY)
        return leave_out("a relay has no such work");
    if (row->kind == PARKED && (column == ROUTER || column == OLD_ROUTER))
        return leave_out("the pair waits as well");
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < (rlim_t)(count_idle() + 2 * TALKERS + 32))
        return leave_out("the limit of descriptors is too low (ulimit -n)");
    snprintf(command, size, "'%s' %s 0", path, arguments[column]);
    if (column != FLOOR && opt.server != NULL)
        snprintf(command, size, "%s", opt.server);
    else if (access(path, X_OK) != 0)
        return leave_out(big ? "no chat-big: CLIENTS=10200 MESSAGE=4096" : "no such program");
    return true;
}

/* Runs one row once, on a fresh server, and stops the server in every case. */
static bool measure(enum column column, struct figure *f)
{
    char command[900];
    bool ok;

    why = NULL;
    if (!command_for(column, command, sizeof command))
        return false;
    talking = count_talkers();
    memset(clients, 0, sizeof clients);
    for (int i = 0; i < talking; i++)
        clients[i].fd = -1;
    opened = talking;
    ok = start_server(command, column == FLOOR) && open_all()
        && (row->kind == MEMORY ? measure_memory(f) :
            row->kind == OPEN ? measure_opening(f) : measure_work(f));
    for (int i = 0; i < opened; i++)
        close_client(&clients[i]);
    stop_server();
    return ok;
}

/* ---- Measuring rows -------------------------------------------------------------- */

static const char *row_name(const struct row *r)
{
    static char name[NAME];
    const char *star = strchr(r->name, '*');
    int count = r->idle * opt.idle;

    if (star == NULL)
        return r->name;
    if (count < 1000)
        snprintf(name, sizeof name, "%.*s%d%s", (int)(star - r->name), r->name, count,
                 star + 1);
    else
        snprintf(name, sizeof name, "%.*s%d,%03d%s", (int)(star - r->name), r->name,
                 count / 1000, count % 1000, star + 1);
    return name;
}

static int decimals(double figure)
{
    return figure < 10 ? 2 : figure < 100 ? 1 : 0;
}

/* The report of a process about its run.  Both processes are forks of one program, so a
 * pointer to a text is valid in both. */
struct outcome {
    enum column column;
    struct figure figure;
    struct counts seen;
    bool failed;
};

static pid_t processes[2];      /* 0: no process */

static void stop_processes(void)
{
    for (int i = 0; i < 2; i++)
        if (processes[i] > 0)
            kill(processes[i], SIGTERM);
}

static pid_t start_process(enum column column, const int turns[2], bool first, int results)
{
    struct outcome o = { .column = column };
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    processes[0] = processes[1] = 0;
    close(turns[first]);
    other = turns[!first];
    is_first = first;
    memset(&seen, 0, sizeof seen);
    if (base != NULL && column >= OLD_DIRECTORY)
        row = base;
    if (!measure(column, &o.figure))
        o.figure.why = why;
    o.seen = seen;
    o.failed = failed;
    exit(write(results, &o, sizeof o) != (ssize_t)sizeof o);
}

static void take_outcome(struct figure f[COLUMNS], const struct outcome *o)
{
    struct figure *at = &f[o->column];

    at->each[at->runs] = o->figure.each[0];
    at->why = o->figure.why;
    if (at->why == NULL)
        at->runs++;
    seen.all += o->seen.all;
    seen.lost += o->seen.lost;
    seen.duplicated += o->seen.duplicated;
    seen.reordered += o->seen.reordered;
    seen.altered += o->seen.altered;
    failed = failed || o->failed;
}

/* Measures two columns in turns.  `first` begins. */
static void measure_pair(enum column first, enum column second, struct figure f[COLUMNS])
{
    int turns[2], results[2];
    struct outcome o;

    fflush(NULL);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, turns) < 0 || pipe(results) < 0
        || (processes[0] = start_process(first, turns, true, results[1])) < 0
        || (processes[1] = start_process(second, turns, false, results[1])) < 0) {
        fprintf(stderr, "bench: no process to be had\n");
        exit(1);
    }
    close(turns[0]);
    close(turns[1]);
    close(results[1]);
    f[first].why = f[second].why = "its process ended early";
    while (read_some(results[0], &o, sizeof o, 60000) == (ssize_t)sizeof o)
        take_outcome(f, &o);
    close(results[0]);
    stop_processes();
    while (wait(NULL) > 0)
        ;
    processes[0] = processes[1] = 0;
}

static void print_run(const struct figure *f)
{
    if (f->why == NULL)
        fprintf(stderr, " %.*f", decimals(f->each[f->runs - 1]), f->each[f->runs - 1]);
}

/* The two builds begin by turns, so that neither has an advantage. */
static void compare_in_pairs(struct figure f[COLUMNS])
{
    for (int run = 0; run < opt.runs; run++)
        for (enum column new = DIRECTORY; new <= ROUTER; new++) {
            enum column old = new + OLD_DIRECTORY;

            if (f[new].why != NULL || f[old].why != NULL)
                continue;
            measure_pair(run % 2 == 0 ? old : new, run % 2 == 0 ? new : old, f);
            print_run(&f[old]);
            print_run(&f[new]);
        }
}

/* Measures all columns, one after the other, and repeats that.  So a slow moment of the
 * machine disturbs all columns alike. */
static void measure_columns(struct figure f[COLUMNS])
{
    for (int run = 0; run < opt.runs; run++)
        for (enum column c = DIRECTORY; c <= FLOOR; c++) {
            if (f[c].why != NULL || (opt.server != NULL && c == ROUTER))
                continue;
            if (measure(c, &f[c]))
                f[c].runs++;
            else
                f[c].why = why;
            print_run(&f[c]);
        }
}

static bool is_comparison(void)
{
    return opt.against != NULL || base != NULL;
}

static void measure_row(struct figure f[COLUMNS])
{
    fprintf(stderr, "%-28s", row_name(row));
    (is_comparison() ? compare_in_pairs : measure_columns)(f);
    fputc('\n', stderr);
}

/* ---- The table ------------------------------------------------------------------- */

/* Returns 0 if it could not be measured. */
static double median(const struct figure *f)
{
    double sorted[MAX_RUNS];

    if (f->why != NULL || f->runs == 0)
        return 0;
    memcpy(sorted, f->each, sizeof sorted);
    return median_of(sorted, f->runs);
}

static void print_figure(struct figure *f, const char *name, double floor, double largest)
{
    double each = median(f);
    double ratio = floor > 0 ? each / floor : 0;

    printf("  %-10s", name);
    if (f->why != NULL) {
        printf("        -  %s\n", f->why);
        return;
    }
    printf("%9.*f", decimals(each), each);
    if (row->kind == MEMORY)            /* a relay keeps no memory for each client */
        printf("%16s  ", "");
    else if (floor > 0)
        printf("%9.*f%6.0f%%  ", ratio < 0.1 ? 4 : 2, ratio, f->busy);
    else
        printf("%9s%6.0f%%  ", "", f->busy);
    for (int i = 0; i < BAR && i * largest < each * (double)BAR; i++)
        putchar('#');
    if (row->kind == MANY_TO_ONE)
        printf("\n  %-10s  the share of each sender within %.1f%%", "", f->uneven);
    putchar('\n');
}

static const char *unit(void)
{
    return row->kind < sizeof units / sizeof units[0] && units[row->kind] != NULL ?
        units[row->kind] : "";
}

static void print_row(struct figure f[COLUMNS])
{
    const char *names[] = { opt.server != NULL ? "server" : "directory", "router", "relay" };
    double largest = 0;

    printf("%s%s%s\n", row_name(row), *unit() != '\0' ? ": " : "", unit());
    for (int i = 0; i <= FLOOR; i++)
        largest = median(&f[i]) > largest ? median(&f[i]) : largest;
    for (int i = 0; i <= FLOOR; i++)
        if (f[i].runs > 0 || f[i].why != NULL)
            print_figure(&f[i], names[i], median(&f[FLOOR]), largest);
}

static void print_end(void)
{
    printf("\n%lu messages: %lu lost, %lu duplicated, %lu reordered, %lu altered\n", seen.all,
           seen.lost, seen.duplicated, seen.reordered, seen.altered);
    printf("each the median of %d runs of %g s; %s\n", opt.runs, opt.seconds,
           *pin != '\0' ? "the server on one core, clients on another"
           : "the server has no core to itself (that takes two, and taskset)");
}

/* ---- Comparing ------------------------------------------------------------------- */

struct ratio {
    double median;
    double error;               /* twice the standard error of the median */
};

/* Compares new to old, run by run.  The median deviation gives an estimate of the
 * error, as for a normal distribution.  So a single bad run does not count. */
static struct ratio compare(const struct figure *new, const struct figure *old)
{
    double ratios[MAX_RUNS], middle, root = 1;

    for (int i = 0; i < new->runs; i++)
        ratios[i] = new->each[i] / old->each[i];
    middle = median_of(ratios, new->runs);
    for (int i = 0; i < new->runs; i++)
        ratios[i] = ratios[i] < middle ? middle - ratios[i] : ratios[i] - middle;
    for (int i = 0; i < 20; i++)        /* Newton's method: libm is not linked */
        root = (root + new->runs / root) / 2;
    return (struct ratio){ middle, 2 * 1.2533 * 1.4826 * median_of(ratios, new->runs) / root };
}

static void print_pair(const struct figure *new, const struct figure *old)
{
    double n = median(new), o = median(old);
    struct ratio r;

    if (new->why != NULL || old->why != NULL) {
        const char *reason = new->why != NULL && new->why != other_failed ? new->why : old->why;

        printf("%26.25s", reason != NULL ? reason : other_failed);
        return;
    }
    r = compare(new, old);
    printf("%6.*f%7.*f%7.3f%5.1f%%", decimals(o), o, decimals(n), n, r.median, 100 * r.error);
}

static void print_comparison(struct figure f[COLUMNS])
{
    printf("%-27s", row_name(row));
    print_pair(&f[DIRECTORY], &f[OLD_DIRECTORY]);
    print_pair(&f[ROUTER], &f[OLD_ROUTER]);
    putchar('\n');
}

static void print_comparison_heads(void)
{
    const char *old = base != NULL ? "base" : "old", *new = base != NULL ? "row" : "new";

    printf("\nCPU microseconds of the server for each message delivered\n%s: %s\n%s: %s\n"
           "ratio: %s/%s; \"+-\" is twice its standard error,"
           " which more --runs make smaller\n\n", old, base != NULL ? row_name(base) : opt.against,
           new, base != NULL ? "as below" : opt.chat, new, old);
    printf("%-27s%26s%26s\n%-27s", "", "  ------ directory -------",
           "  -------- router --------", "");
    for (int i = 0; i < 2; i++)
        printf("%6s%7s%7s%6s", old, new, "ratio", "+-");
    putchar('\n');
}

static void print_heads(void)
{
    if (is_comparison()) {
        print_comparison_heads();
        return;
    }
    printf("\nCPU microseconds of the server for each message delivered, unless said;\n"
           "%d-byte messages unless said\n\n%21s%9s%7s\n", rows[0].size, "each", "/ relay",
           "busy");
}

/* ---- main ------------------------------------------------------------------------ */

static const char help[] =
    "usage: bench [options] [ROW, ROW...]\n"
    "Measures ./chat, and beside it a bare relay, in CPU time for each message.\n"
    "ROW is a row's name, or a part of several; no ROW means all.\n"
    "  --rows A,B         the same as an option\n"
    "  --against PATH     compare with another build of chat; for thousands of\n"
    "                     clients, the same with other limits is PATH-big\n"
    "  --base ROW         compare each row with this one, in the same build\n"
    "  --seconds S        of each run (0.5)\n"
    "  --runs N           of each figure, which is their median (3)\n"
    "  --idle N           idle connections; some rows have ten times as many (1000)\n"
    "  --chat PATH        the server (./chat)\n"
    "  --big PATH         the same for many clients (chat-big beside bench),\n"
    "                     built with: make CLIENTS=10200 MESSAGE=4096\n"
    "  --relay PATH       the relay (default: the one beside bench)\n"
    "  --server COMMAND   measure another server of the same protocol instead,\n"
    "                     run by: sh -c 'exec COMMAND'\n"
    "  --port N           where it listens, if its first line of output has no :PORT\n";

static void list_rows(FILE *to)
{
    fputs("The rows:\n", to);
    for (int i = 0; i < ROWS; i++)
        fprintf(to, "  %s\n", row_name(&rows[i]));
}

static void usage_error(const char *what, const char *argument)
{
    fprintf(stderr, "bench: %s: %s; try --help\n", argument, what);
    exit(2);
}

static double number(const char *name, const char *value, double low, double high)
{
    char *end;
    double n = strtod(value, &end);

    if (end == value || *end != '\0' || !(n >= low && n <= high))
        usage_error("not a number, or out of range", name);
    return n;
}

/* The shell splits a row's name into words.  This joins them again. */
static void add_rows(const char *words)
{
    size_t len = strlen(opt.rows);

    snprintf(opt.rows + len, sizeof opt.rows - len, "%s%s", len > 0 ? " " : "", words);
}

static void set_option(const char *name, const char *value)
{
    const struct { const char *name; const char **value; } texts[] = {
        { "--chat", &opt.chat }, { "--big", &opt.big }, { "--relay", &opt.relay },
        { "--server", &opt.server }, { "--against", &opt.against },
        { "--base", &opt.base },
    };

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (strcmp(name, texts[i].name) == 0) {
            *texts[i].value = value;
            return;
        }
    if (strcmp(name, "--rows") == 0)
        add_rows(value);
    else if (strcmp(name, "--port") == 0)
        opt.port = (int)number(name, value, 1, 65535);
    else if (strcmp(name, "--seconds") == 0)
        opt.seconds = number(name, value, 0.01, 20);
    else if (strcmp(name, "--runs") == 0)
        opt.runs = (int)number(name, value, 1, MAX_RUNS);
    else if (strcmp(name, "--idle") == 0)
        opt.idle = 2 * (int)(number(name, value, 2, MAX_IDLE) / 2);
    else
        usage_error("no such option", name);
}

static void read_options(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            fputs(help, stdout);
            list_rows(stdout);
            exit(0);
        }
        if (strncmp(argv[i], "--", 2) != 0) {
            add_rows(argv[i]);
            continue;
        }
        if (i + 1 == argc)
            usage_error("a value is missing, or this is no option", argv[i]);
        set_option(argv[i], argv[i + 1]);
        i++;
    }
    if ((opt.server != NULL) + (opt.against != NULL) + (opt.base != NULL) > 1)
        usage_error("only one of --server, --against and --base", argv[0]);
    if (opt.server == NULL && opt.port != 0)
        usage_error("goes with --server", "--port");
}

/* Finds the programs that lie beside this one. */
static void find_programs(const char *bench)
{
    static char big[512], relay[512];
    const char *slash = strrchr(bench, '/');
    int len = slash != NULL ? (int)(slash + 1 - bench) : 0;

    snprintf(big, sizeof big, "%.*schat-big", len, bench);
    snprintf(relay, sizeof relay, "%.*srelay", len, bench);
    opt.big = big;
    opt.relay = relay;
}

/* POSIX has no call for this, so it needs taskset.  Without it, the table says so. */
static void take_a_core(void)
{
    char command[100];

    snprintf(command, sizeof command, "exec >/dev/null 2>&1; taskset -c 0 true && taskset -cp 1 %ld",
             (long)getpid());
    if (system(command) == 0)
        pin = "taskset -c 0 ";
}

static void prepare(void)
{
    static const int ends[] = { SIGINT, SIGTERM, SIGHUP };
    struct sigaction action = { .sa_handler = on_signal };
    struct rlimit limit;

    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        sigaction(ends[i], &action, NULL);
    atexit(stop_server);
    atexit(stop_processes);
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < sizeof filler; i++)
        filler[i] = (char)('a' + i % 26);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    take_a_core();
}

/* ---- Choosing rows --------------------------------------------------------------- */

static bool is_chosen[ROWS];

/* Returns the size of the first name in a list.  A comma ends it, unless it is a comma
 * in "1,000" or in the name of a row. */
static size_t name_length(const char *list)
{
    size_t len = 0;

    for (int i = 0; i < ROWS; i++) {
        const char *name = row_name(&rows[i]);

        len = strlen(name);
        if (strncmp(list, name, len) == 0 && (list[len] == '\0' || list[len] == ','))
            return len;
    }
    for (len = 0; list[len] != '\0'; len++)
        if (list[len] == ',' && !(len > 0 && isdigit((unsigned char)list[len - 1])
                                  && isdigit((unsigned char)list[len + 1])))
            break;
    return len;
}

static void no_such_row(const char *part)
{
    fprintf(stderr, "bench: no row's name contains \"%s\"\n", part);
    list_rows(stderr);
    exit(2);
}

static void choose(const char *part)
{
    bool any = false;

    for (int i = 0; i < ROWS; i++)
        if (strstr(row_name(&rows[i]), part) != NULL)
            any = is_chosen[i] = true;
    if (!any)
        no_such_row(part);
}

static void choose_base(void)
{
    for (int i = 0; i < ROWS && opt.base != NULL; i++)
        if (strcmp(row_name(&rows[i]), opt.base) == 0)
            base = &rows[i];
    if (opt.base != NULL && base == NULL)
        no_such_row(opt.base);
}

static void choose_rows(void)
{
    char part[sizeof opt.rows];
    const char *at = opt.rows;

    do {
        size_t len = name_length(at);

        memcpy(part, at, len);
        part[len] = '\0';
        choose(part);           /* "" matches every name */
        at += len;
        at += strspn(at, ", ");
    } while (*at != '\0');
}

int main(int argc, char **argv)
{
    static struct figure figures[ROWS][COLUMNS];

    find_programs(argv[0]);
    read_options(argc, argv);
    choose_rows();
    choose_base();
    prepare();
    fprintf(stderr, "%-28s each run: %s ...\n", "row",
            base != NULL ? "base, row with directory; with router"
            : opt.against != NULL ? "old, new directory; old, new router"
            : opt.server != NULL ? "server, relay" : "directory, router, relay");
    for (row = rows; row < rows + ROWS; row++)
        if (is_chosen[row - rows])
            measure_row(figures[row - rows]);
    print_heads();
    for (row = rows; row < rows + ROWS; row++)
        if (is_chosen[row - rows])
            (is_comparison() ? print_comparison : print_row)(figures[row - rows]);
    print_end();
    return failed || seen.lost + seen.duplicated + seen.reordered + seen.altered > 0;
}
