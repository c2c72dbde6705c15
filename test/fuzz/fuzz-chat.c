/* fuzz-chat.c -- simulates the whole server with its clients and the kernel, and keeps
 * books of every message.  The fuzz bytes decide what the clients and the kernel do.
 *
 * This file includes chat.c and replaces its system calls, so there is no socket and no
 * clock.  The simulated kernel is as unkind as a real one can be:
 *
 *   - A read or a write may handle any number of bytes, or fail with EINTR or EAGAIN.
 *   - poll reports POLLOUT only while a third of the send buffer is free.  write
 *     accepts bytes as long as there is any room.
 *   - poll may fail with EINTR or ENOMEM, even if something is ready.
 *   - accept may fail because there is no descriptor, or because the connection was
 *     reset.
 *   - The server may pause for a minute, between two system calls or while it sleeps.
 *     In that time, the peers (the simulated clients) go on or pause, too.
 *
 * The peers connect, chat, stop reading, break the protocol, and vanish.  In some runs they
 * are strangers: they ask for notices, write to ids that nobody has yet, and do not read at
 * first.  So a message may wait for the notice that its recipient is absent, and meanwhile
 * the recipient joins, and its outbox fills.
 *
 * When the fuzz bytes are used up, the kernel is kind and all peers read.  Then two things
 * must hold:
 *
 *   - When the server sleeps, it has delivered everything that it has read.
 *   - Then the peers leave, or the server gets SIGTERM.  The books must show what
 *     became of each message that the server has read.  Either the recipient's socket
 *     got it, once, unchanged and in its sender's order.  Or the log says why not.
 *
 * The books use only the output to the sockets and the log.  This file calls the main
 * function of chat.c with options, as a shell does.  It uses nothing else from chat.c,
 * except limits that -D can set.  So you can rebuild chat.c, as long as it makes the
 * same system calls and writes the same log lines.
 *
 * Environment variables
 *   KNOWN=abc   do not report the faults a, b and c
 *   STORY=1     print what happens in each run
 *
 * Order: fuzz bytes, peers, what peers send, the books: sockets, the books: log,
 * what peers do, pauses, the kernel, starting, the end. */

#define CLIENTS 4               /* few slots and small buffers are soon full */
#define MESSAGE 1000

#include "../../json.h"
#include "../../ws.h"
#include "fuzz.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int sim_poll(struct pollfd *polled, nfds_t count, int timeout);
static ssize_t sim_read(int fd, void *to, size_t len);
static ssize_t sim_write(int fd, const void *from, size_t len);
static int sim_accept(int fd, struct sockaddr *address, socklen_t *len);
static int sim_shutdown(int fd);
static int sim_close(int fd);
static int sim_control(int fd, int command, int value, ...);
static int sim_option(int fd, int level, int name, const void *value);
static int sim_clock(struct timespec *t);
static int sim_timer(const struct itimerval *in);
static int sim_peer(int fd, struct sockaddr *address, socklen_t *len);
static int sim_open(void);
static int sim_pipe(int fds[2]);
static int sim_bind(int fd, const struct sockaddr *address, socklen_t len);
static int sim_listen(int fd);
static int sim_own(int fd, struct sockaddr *address, socklen_t *len);
static int sim_find(const char *host, struct addrinfo **list);
static int sim_handler(int number, const struct sigaction *new, struct sigaction *old);
static int sim_limit(struct rlimit *limit);
static void sim_sleep(const struct timespec *t);

#define poll(polled, count, timeout) sim_poll(polled, count, timeout)
#define read(fd, to, len) sim_read(fd, to, len)
#define write(fd, from, len) sim_write(fd, from, len)
#define accept(fd, address, len) sim_accept(fd, address, len)
#define shutdown(fd, how) sim_shutdown(fd)
#define close(fd) sim_close(fd)
#define clock_gettime(clock, t) sim_clock(t)
#define setitimer(which, in, old) sim_timer(in)
#define getpeername(fd, address, len) sim_peer(fd, address, len)
#define fcntl(...) sim_control(__VA_ARGS__, 0)
#define setsockopt(fd, level, name, value, len) sim_option(fd, level, name, value)
#define getsockopt(fd, level, name, value, len) ((void)(fd), (void)(len), *(value) = 1, 0)
#define nanosleep(time, rest) sim_sleep(time)
#define socket(family, type, protocol) ((void)(family), sim_open())
#define open(...) sim_open()
#define dup(fd) sim_open()
#define pipe(fds) sim_pipe(fds)
#define bind(fd, address, len) sim_bind(fd, address, len)
#define listen(fd, backlog) sim_listen(fd)
#define getsockname(fd, address, len) sim_own(fd, address, len)
#define getaddrinfo(host, port, hints, list) ((void)(port), (void)(hints), sim_find(host, list))
#define freeaddrinfo(list) ((void)(list))
#define sigaction(number, new, old) sim_handler(number, new, old)
#define sigprocmask(how, new, old) ((void)(new))
#define getrlimit(which, limit) sim_limit(limit)
#define setrlimit(which, limit) ((void)(limit), 0)
#define puts(line) ((void)(line))
#define main chat_main
#include "../../chat.c"
#undef main
#undef sigaction

#if defined EPOLLIN || defined EVFILT_READ
#error "chat.c waits in epoll or kqueue, and this simulation has only poll"
#endif

/* ---- Fuzz bytes ----------------------------------------------------------------------
 * Each decision uses up one byte.  When there are no more, each byte is 0.  That is the
 * kindest decision. */

static const uint8_t *bytes;
static size_t bytes_left;

static unsigned next_byte(void)
{
    if (bytes_left == 0)
        return 0;
    bytes_left--;
    return *bytes++;
}

enum {
    LINE_MAX_SIZE = 512,        /* bytes of a log line */
    NOBODY = -1
};

#define MSEC INT64_C(1000)      /* times are microseconds */
#define FOR_EVER INT64_MAX

/* The events of this run, to print if it fails. */
static char story[1 << 17];
static size_t story_len;

static void tell(const char *format, ...)
{
    va_list args;
    int n;
    if (story_len > sizeof story - 2 * LINE_MAX_SIZE)
        return;
    va_start(args, format);
    n = vsnprintf(story + story_len, sizeof story - story_len, format, args);
    va_end(args);
    story_len += n > 0 ? (size_t)n : 0;
}

static void show_story(void)
{
    fwrite(story, 1, story_len, stderr);
}

/* A promise with a letter.  If the letter is in KNOWN, the run goes on after a broken
 * promise.  So the fuzzer can look for other faults. */
static void known(char letter, bool kept, const char *format, ...)
{
    const char *letters;
    char what[LINE_MAX_SIZE];
    va_list args;
    if (kept)
        return;
    letters = getenv("KNOWN");
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    tell("    (fault %c: %s)\n", letter, what);
    promise(letters != NULL && strchr(letters, letter) != NULL, "fault %c: %s", letter, what);
}

/* ---- Peers ----------------------------------------------------------------------- */

enum {
    PEERS = 12,                 /* in one run */
    AT_A_TIME = 8,
    SENT_MAX = 100,             /* items that one peer sends: a message, a ping ... */
    DUE_MAX = PEERS * SENT_MAX, /* messages for one peer */
    PIPE_MAX = 12000,           /* bytes that the server has not read yet */
    WIRE_MAX = 8000,            /* bytes of the server's longest frame or response */
    FIRST_OTHER = 50, OTHERS = 20,      /* descriptors that are not peers */
    FIRST_FD = 100,             /* the descriptor of peer 0 */
    FIRST_PORT = 10000          /* its port */
};

enum kind { SAYS, PINGS, ERRS };        /* a message, a ping, malformed JSON */

struct sent {
    enum kind kind;
    int to;                     /* SAYS: the recipient's id */
    size_t size;                /* SAYS: bytes of the token */
    size_t end;                 /* where it ends in all bytes of the peer */
    bool absent;                /* SAYS: the log says that the user is not connected */
    bool excused;               /* SAYS: the router waited, so answers may overtake it */
};

struct due {                    /* a message for the peer: its sender and number */
    int from, number;
};

static struct peer {
    int fd;                     /* NOBODY: not accepted */
    bool nonblocking, closed;   /* the server did this */
    bool shut;                  /* the server has shut down its output */
    enum { AT_ONCE, NOTHING, SLOWLY } reads;
    size_t pace;                /* SLOWLY: bytes a second */
    int64_t reads_at;           /* SLOWLY: when it reads again */
    bool ended;                 /* it has ended its output */
    bool vanishes;              /* the next bytes to it cause a reset */
    bool gone;                  /* the connection was reset */
    bool silent;                /* it must send nothing more */
    bool asks;                  /* it sent a whole handshake */
    bool notices;               /* its handshake offered this subprotocol */
    bool whole;                 /* it sent a whole request of any kind */
    size_t window;              /* bytes that the kernel buffers for it */
    const char *rest;           /* the part of its request that is not sent yet */

    uint8_t in[PIPE_MAX];       /* bytes for the server: in[in_at .. in_len) */
    size_t in_at, in_len;
    size_t total, taken;        /* bytes that it sent, and that the server read */
    struct sent sent[SENT_MAX];
    int sent_count;
    int replied;                /* sent[0..replied) have their pongs and notices */
    int settled;                /* sent[0..settled) have their log lines */
    int complained;             /* sent[0..complained) have their "bad message" */
    int noticed;                /* sent[0..noticed) have their "not connected" */
    int answered_last;          /* the last answered item of sent */
    int answerable;             /* items before the server's Close; NOBODY: no Close */

    uint8_t wire[WIRE_MAX];     /* from the server: the first bytes of a frame */
    size_t wire_len;
    size_t unread;              /* bytes that the peer has not read */
    int pings;                  /* pings that it has not answered */
    bool answered, upgraded, got_close;
    struct due due[DUE_MAX];    /* messages in its outbox, by the log */
    int due_count, got;         /* got: how many of them have arrived */

    int line[PEERS];            /* users that wait for room at it, by the log */
    int line_len;
    int user;                   /* its id; 0: none */
    bool left;
    size_t lost_to, lost_from;  /* bytes, by the log */

    /* Times of the server's last poll before these events: */
    int64_t began;              /* the server accepted it */
    int64_t heard;              /* it sent something */
    int64_t took;               /* the kernel accepted a byte for it */
    int64_t pinged;             /* the server sent it a ping */
    int64_t left_at;            /* the log said that it left */
    int64_t leaving;            /* the same by clock_least(); FOR_EVER: not yet */
    /* The facts when poll last returned: */
    bool whole_seen;            /* its request was whole */
    bool input_seen;            /* it had input to read */
    bool room_seen;             /* the kernel had room for output */
    bool tried_read, tried_write;       /* the server has tried that since */
    bool read_whole;            /* the server tried to read the whole request */
} peers[PEERS];

static int peer_count;
static int user_count, peer_of_user[PEERS + 1];

/* Descriptors that are not peers: the signal pipe, the listeners, one in reserve. */
static struct other {
    bool is_open, listens, nonblocking;
    int turn;                   /* number of a listener: they get the peers in turn */
    struct sockaddr_storage address;
    socklen_t len;
} others[OTHERS];

static int pipe_in, pipe_out, listening;
static void (*handlers[65])(int);
static char signal_bytes[64];
static int signal_count;
static bool told_to_stop;
static int64_t told_at;
static bool stop_noted;         /* the signal pipe had room for the byte of SIGTERM */
static bool stops;              /* the log says that the server is stopping */
static int turns_told;          /* times that poll worked since SIGTERM, until it stops */
static bool with_router, router_waits;
static bool among_strangers;    /* users write to ids that nobody has yet */
static int64_t keep_us;

/* The clock and the alarm.  The server cannot tell a short pause from work, and it
 * cannot know how long it paused within a turn.  So two more clocks leave out pauses:
 *   - clock_most counts the first second of each pause.  It tests deadlines that must
 *     not come too early.
 *   - clock_least counts nothing of a pause.  It tests deadlines that must not come too
 *     late. */
static int64_t clock_us, alarm_us;
static int64_t paused_us, long_paused_us;
static int64_t paused_us_then;  /* when the server last read the clock */
static bool late_alarm;         /* it paused after that, before it set the alarm */
static int64_t look_us;         /* clock_most() when poll last returned */

static int64_t clock_most(void)
{
    return clock_us - long_paused_us;
}

static int64_t clock_least(void)
{
    return clock_us - paused_us;
}

static struct peer *peer_at(int fd)
{
    struct peer *p = &peers[fd - FIRST_FD];
    promise(fd >= FIRST_FD && fd < FIRST_FD + peer_count && p->fd == fd && !p->closed,
            "descriptor %d is not open", fd);
    return p;
}

static struct other *other_at(int fd)
{
    struct other *o = &others[(unsigned)(fd - FIRST_OTHER) % OTHERS];
    promise(fd >= FIRST_OTHER && fd < FIRST_OTHER + OTHERS && o->is_open,
            "descriptor %d is not open", fd);
    return o;
}

static int number_of(const struct peer *p)
{
    return (int)(p - peers);
}

static struct peer *user(int id)
{
    promise(id >= 1 && id <= user_count, "there is no user %d", id);
    return &peers[peer_of_user[id]];
}

static bool is_online(int id)
{
    return id >= 1 && id <= user_count && !user(id)->left;
}

/* ---- What peers send ------------------------------------------------------------- */

/* Writes the n-th message of a peer.  The text names the peer and n.  The rest are
 * characters that a careless server might change.  Returns its size, at most size + 30
 * bytes. */
static size_t make_token(char *out, int peer, int n, size_t size)
{
    static const char *const filler[] = {
        "a", "\\n", "\xC3\xA9", "\\u00e9", "\\\"", "\xE2\x82\xAC"
    };
    size_t len = (size_t)sprintf(out, "\"peer %d says %d ", peer, n);
    for (size_t i = (size_t)n; len < size; i++)
        len += (size_t)sprintf(out + len, "%s", filler[i % 6]);
    out[len++] = '"';
    return len;
}

static void put(struct peer *p, const void *from, size_t len)
{
    memcpy(p->in + p->in_len, from, len);
    p->in_len += len;
    p->total += len;
}

static void put_frame(struct peer *p, unsigned first, const char *payload, size_t len)
{
    uint8_t frame[MESSAGE + 20];
    size_t n = ws_write_header(frame, WS_OP_TEXT, len);
    frame[0] = (uint8_t)first;
    frame[1] |= 0x80;
    for (size_t i = 0; i < 4; i++)
        frame[n + i] = (uint8_t)(p->total + 99 * i);
    for (size_t i = 0; i < len; i++)
        frame[n + 4 + i] = (uint8_t)((uint8_t)payload[i] ^ frame[n + i % 4]);
    put(p, frame, n + 4 + len);
}

static void note_sent(struct peer *p, enum kind kind, int to, size_t size)
{
    p->sent[p->sent_count++] = (struct sent){ .kind = kind, .to = to, .size = size,
                                              .end = p->total };
}

static void send_ping(struct peer *p)
{
    char payload[20];
    put_frame(p, 0x89, payload, (size_t)sprintf(payload, "ping %d", p->sent_count));
    note_sent(p, PINGS, 0, 0);
}

/* Malformed JSON, which gets a notice, or a pong, which gets no answer. */
static void send_other(struct peer *p)
{
    static const char *const texts[] = { "\xFF", "{", "hi", "{\"recipient_id\":1}", "[1]" };
    unsigned i = next_byte() % 6;
    if (i == 5) {
        put_frame(p, 0x8A, "pong", 4);
        return;
    }
    put_frame(p, i == 0 ? 0x82 : 0x81, texts[i], strlen(texts[i]));
    note_sent(p, ERRS, 0, 0);
}

/* `way` decides the form: one frame or two, a ping between, another form of JSON. */
static void say(struct peer *p, int to, size_t size, unsigned way)
{
    static const char *const forms[][3] = {
        { "{\"recipient_id\":", ",\"message\":", "}" },
        { " {\"x\":[1,{\"message\":0}], \"recipient_id\" : ", " ,\"m\\u0065ssage\":", " } \n" },
    };
    char text[MESSAGE + 100];
    const char *const *form = forms[way / 8];
    int number = p->sent_count;
    bool interrupted = way % 8 == 4 || way % 8 == 5;
    size_t len, token, half;

    len = (size_t)sprintf(text, "%s%d%s", form[0], to, form[1]);
    token = make_token(text + len, number_of(p), number + interrupted, size);
    len += token;
    len += (size_t)sprintf(text + len, "%s", form[2]);
    half = len / 3;
    if (way % 8 < 4) {
        put_frame(p, way % 8 == 0 ? 0x82 : 0x81, text, len);
    } else {
        put_frame(p, 0x01, text, half);
        if (interrupted)
            send_ping(p);
        put_frame(p, 0x80, text + half, len - half);
    }
    tell("peer %d: %zu bytes to user %d\n", number_of(p), token, to);
    note_sent(p, SAYS, to, size);
}

static bool may_send(struct peer *p)
{
    memmove(p->in, p->in + p->in_at, p->in_len - p->in_at);
    p->in_len -= p->in_at;
    p->in_at = 0;
    return !p->silent && !p->ended && p->rest == NULL && p->sent_count < SENT_MAX - 2
        && p->in_len + MESSAGE + 200 < PIPE_MAX;
}

/* To the first user, or the last, or to the id that the next user will get. */
static int id_among_strangers(unsigned b)
{
    int id = b < 5 ? user_count + 1 : b < 10 ? user_count : b < 14 ? 1 : 2;
    return id > 0 ? id : 1;
}

static void send_messages(struct peer *p, unsigned count)
{
    unsigned b = next_byte(), size = next_byte();
    int to = 1 + (int)(b % 16) % (user_count + 2);
    size = size < 200 ? size : (size - 200) * 16;
    if (among_strangers) {      /* enough to fill outboxes */
        to = id_among_strangers(b % 16);
        count *= 8;
        size = 600 + size % 300;
    }
    for (; count > 0 && may_send(p); count--)
        say(p, to, size, b / 16);
}

/* The last frame of a peer: a correct Close, a faulty one, or a breach. */
static void send_end(struct peer *p)
{
    static const struct { const char *bytes; size_t len; } ends[] = {
#define END(literal) { literal, sizeof literal - 1 }
        END("\x88\x82kkkk\x68\x83"), END("\x88\x80kkkk"), END("\x88\x81kkkka"), END("\x83\x80kkkk"),
        END("\x81\x05hello"), END("\x81\xFE\xFF\xFFkkkk"), END("\x81\x85kkkk\xFF\xFF\xFF\xFF\xFF"),
        END("\x81\x85kkkkab"),
    };
    unsigned i = next_byte() % 8;
    tell("peer %d: last words %u\n", number_of(p), i);
    put(p, ends[i].bytes, ends[i].len);
    p->silent = true;
}

static const char plain[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

static void send_request(struct peer *p)
{
    static const char *const requests[] = {
        plain, "POST / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /\n", "GET / HTTP/1.1\r\nHost: ", "",
    };
    static const size_t windows[] = { 1500, 1500, 6000, 12000 };
    unsigned kind = next_byte();
    char text[400];
    p->window = among_strangers ? windows[0] : windows[kind / 2 % 4];
    p->reads = among_strangers ? NOTHING : kind / 8 % 4 == 1 ? SLOWLY : AT_ONCE;
    p->pace = 250;
    if (kind >= 250) {
        put(p, requests[kind % 5], strlen(requests[kind % 5]));
        p->silent = true;
        p->whole = kind % 5 < 3;
        return;
    }
    p->notices = among_strangers || kind % 2 == 1;
    put(p, text, (size_t)sprintf(text, "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s%s",
            p->notices ? "Sec-WebSocket-Protocol: notices\r\n" : "", kind < 230 ? "\r\n" : ""));
    p->asks = p->whole = kind < 230;
    p->rest = p->asks ? NULL : "\r\n";
}

static void send_rest(struct peer *p)
{
    if (p->rest == NULL || p->ended)
        return;
    tell("peer %d sends the rest of its request\n", number_of(p));
    put(p, p->rest, strlen(p->rest));
    p->rest = NULL;
    p->asks = p->whole = true;
}

/* A peer that follows the protocol reads everything, and answers each ping. */
static void read_and_answer(struct peer *p)
{
    p->unread = 0;
    p->ended = p->ended || p->shut || p->got_close;
    for (; p->pings > 0; p->pings--)
        if (may_send(p)) {
            tell("peer %d answers a ping\n", number_of(p));
            put_frame(p, 0x8A, "", 0);
        }
}

/* ---- The books: output to the sockets -------------------------------------------- */

/* May answers to later frames overtake this message?  Only if the router waited at the
 * end of the turn in which the server read it. */
static bool is_excused(const struct peer *p, int number)
{
    return with_router && (p->sent[number].excused || router_waits
                           || (!is_online(p->sent[number].to) && p->got < p->due_count));
}

/* Frame `number` of p has got its answer.  No later frame may have got one before. */
static void note_answer(struct peer *p, int number)
{
    known('b', number >= p->answered_last || is_excused(p, number),
          "peer %d: the answer to %d overtook that to %d", number_of(p), p->answered_last, number);
    if (number > p->answered_last)
        p->answered_last = number;
}

/* The server acts on sent[number], or on a frame behind all of them.  It must have
 * handled all earlier messages. */
static void note_order(struct peer *p, int number, const char *what)
{
    for (int i = p->settled; i < number; i++)
        known('b', p->sent[i].kind != SAYS || is_excused(p, i),
              "peer %d: %s overtook message %d", number_of(p), what, i);
}

/* Pongs and notices must come in the order of the frames that they answer. */
static void note_reply(struct peer *p, enum kind kind, const uint8_t *payload, size_t len)
{
    char want[20];
    while (p->replied < p->sent_count && p->sent[p->replied].kind == SAYS)
        p->replied++;
    promise(p->replied < p->sent_count && p->sent[p->replied].kind == kind,
            "peer %d got a reply to nothing", number_of(p));
    if (kind == PINGS) {
        promise(len == (size_t)sprintf(want, "ping %d", p->replied)
                && memcmp(payload, want, len) == 0, "peer %d got another pong than %s",
                number_of(p), want);
    }
    note_answer(p, p->replied++);
}

static void note_message(struct peer *p, const uint8_t *payload, size_t len)
{
    char want[MESSAGE + 200];
    const struct due *d = &p->due[p->got];
    const struct peer *from = &peers[d->from];
    size_t n;

    promise(p->got < p->due_count, "peer %d got %.*s out of nothing", number_of(p), (int)len,
            payload);
    n = (size_t)sprintf(want, "{\"sender_id\":%d,\"message\":", from->user);
    n += make_token(want + n, d->from, d->number, from->sent[d->number].size);
    want[n++] = '}';
    promise(n == len && memcmp(payload, want, n) == 0, "peer %d got\n%.*s\nand not\n%.*s",
            number_of(p), (int)len, payload, (int)n, want);
    if (from == p)
        note_answer(p, d->number);
    p->got++;
}

/* The notice "user 7 is not connected".  The log said so before. */
static void note_absence(struct peer *p)
{
    while (p->noticed < p->sent_count && !p->sent[p->noticed].absent)
        p->noticed++;
    if (p->noticed < p->sent_count)
        note_answer(p, p->noticed++);
}

static bool begins(const uint8_t *text, size_t len, const char *with)
{
    return len >= strlen(with) && memcmp(text, with, strlen(with)) == 0;
}

static void note_frame(struct peer *p, unsigned first, const uint8_t *payload, size_t len)
{
    promise(!p->got_close, "peer %d got something behind Close", number_of(p));
    switch (first) {
    case 0x81:
        if (begins(payload, len, "{\"sender_id\":0,\"message\":\"not delivered: byte"))
            note_reply(p, ERRS, payload, len);
        else if (begins(payload, len, "{\"sender_id\":0,\"message\":\"user "))
            note_absence(p);
        else if (!begins(payload, len, "{\"sender_id\":0,"))
            note_message(p, payload, len);
        break;
    case 0x88: p->got_close = true; break;
    case 0x89: p->pings++; p->pinged = look_us; break;
    case 0x8A: note_reply(p, PINGS, payload, len); break;
    default: promise(false, "peer %d got a frame that begins with %02x", number_of(p), first);
    }
}

/* Reads the next frame at wire[at].  Returns its size, or 0 if it is not whole. */
static size_t take_frame(struct peer *p, size_t at)
{
    size_t have = p->wire_len - at, header = 2, len;
    if (have < 2)
        return 0;
    len = p->wire[at + 1];
    promise(len <= 126, "a mask, or a message of more than 64 KiB");
    if (len == 126) {
        header = 4;
        len = have < 4 ? have : p->wire[at + 2] * 256u + p->wire[at + 3];
    }
    if (have < header + len)
        return 0;
    note_frame(p, p->wire[at], p->wire + at + header, len);
    return header + len;
}

/* Reads the head of the response.  Returns its size, or 0 if it is not whole. */
static size_t take_response(struct peer *p)
{
    static const char id[] = "Chat-User-Id: ";
    char head[WIRE_MAX + 1], *end, *line;
    size_t len = p->wire_len;
    memcpy(head, p->wire, len);
    head[len] = '\0';
    if ((end = strstr(head, "\r\n\r\n")) == NULL)
        return 0;
    p->answered = true;
    p->upgraded = begins(p->wire, len, "HTTP/1.1 101 ");
    if (p->upgraded) {
        line = strstr(head, id);
        promise(p->asks && line != NULL && strtol(line + strlen(id), NULL, 10) == p->user,
                "peer %d got the id of somebody else", number_of(p));
    }
    else if (p->leaving == FOR_EVER)
        p->leaving = clock_least();
    return (size_t)(end + 4 - head);
}

static void note_output(struct peer *p, const uint8_t *from, size_t len)
{
    size_t at = 0, n;
    while (len > 0) {
        n = len < sizeof p->wire - p->wire_len ? len : sizeof p->wire - p->wire_len;
        promise(n > 0, "a frame that is too long");
        memcpy(p->wire + p->wire_len, from, n);
        p->wire_len += n;
        from += n;
        len -= n;
        at = p->answered ? 0 : take_response(p);
        while (p->upgraded && (n = take_frame(p, at)) > 0)
            at += n;
        if (p->answered && !p->upgraded)
            at = p->wire_len;
        memmove(p->wire, p->wire + at, p->wire_len - at);
        p->wire_len -= at;
    }
}

/* ---- The books: lines of the log ------------------------------------------------- */

static int sent_and_read(const struct peer *p)
{
    int n = 0;
    while (n < p->sent_count && p->sent[n].end <= p->taken)
        n++;
    return n;
}

static void leave_line_of(struct peer *p, int id)
{
    int kept = 0;
    for (int i = 0; i < p->line_len; i++)
        if (p->line[i] != id)
            p->line[kept++] = p->line[i];
    p->line_len = kept;
}

static void leave_lines(int id)
{
    for (int i = 0; i < peer_count; i++)
        leave_line_of(&peers[i], id);
}

static void note_wait(int id, struct peer *at)
{
    leave_lines(id);
    at->line[at->line_len++] = id;
}

/* The users that wait for a recipient are served in the order of arrival. */
static void note_served(int id, struct peer *at)
{
    for (int i = 0; i < at->line_len && at->line[i] != id; i++)
        promise(user(at->line[i])->left, "user %d was before user %d", at->line[i], id);
    leave_line_of(at, id);
}

/* When the router waits, or when a turn ends, the server may have read messages that it
 * has not delivered.  Answers may overtake these messages. */
static void excuse_messages(struct peer *p)
{
    int taken = sent_and_read(p);
    for (int i = p->settled; i < taken; i++)
        p->sent[i].excused = true;
}

/* The line "user 1 -> user 2: ..." says what became of the sender's next message. */
static void note_fate(int from, int to, const char *what)
{
    struct peer *p = user(from);
    const struct sent *s;
    int peer = NOBODY, number = NOBODY;

    while (p->settled < p->sent_count && p->sent[p->settled].kind != SAYS)
        p->settled++;
    s = &p->sent[p->settled];
    promise(p->settled < p->sent_count && s->end <= p->taken && s->to == to,
            "user %d did not say that, or not next", from);
    if (strncmp(what, "not delivered: ", 15) == 0) {
        promise(!is_online(to), "user %d is online", to);
        p->sent[p->settled].absent = true;
    } else if (what[0] == '"') {
        promise(is_online(to), "user %d is not online", to);
        note_served(from, user(to));
        user(to)->due[user(to)->due_count++] = (struct due){ number_of(p), p->settled };
    }
    if (strchr(what, '"') != NULL)
        promise(sscanf(strchr(what, '"'), "\"peer %d says %d", &peer, &number) == 2
                && peer == number_of(p) && number == p->settled, "it was another message");
    p->settled++;
    router_waits = false;
    leave_lines(from);
}

enum { TOLERANCE_MS = 100 };

/* An event came `us` microseconds too early.  Can pauses of the server explain it? */
static char fault_of(int64_t us)
{
    return us <= long_paused_us ? 'c' : '!';
}

/* A deadline must not come too early, by the clock that counts a second of each
 * pause. */
static void note_deadline(const struct peer *p, int64_t since, int64_t us, const char *what)
{
    int64_t passed = clock_most() - since, early = us - TOLERANCE_MS * MSEC - passed;
    known(fault_of(early), early <= 0,
          "peer %d: %s, when the server had run for %" PRId64 " ms of its deadline",
          number_of(p), what, passed / 1000);
}

/* If poll reported input, the server must have tried to read it. */
static void note_unread(const struct peer *p, const char *what)
{
    known('c', !p->input_seen || p->tried_read, "peer %d: %s, but an answer lay there unread",
          number_of(p), what);
}

static void note_left(struct peer *p, const char *why)
{
    bool closed = strstr(why, "it closed") != NULL || strstr(why, "got Close") != NULL;
    promise(!p->left, "it had left");
    p->left = true;
    p->left_at = look_us;
    /* After a Close from either side, the server ignores the client's input. */
    if (closed || strstr(why, "stopping") != NULL)
        p->answerable = sent_and_read(p);
    if (closed)
        note_order(p, p->sent_count, "Close");
    if (closed || strstr(why, "stopping") != NULL || strstr(why, "end of input") != NULL)
        p->leaving = clock_least();
    if (strncmp(why, "silent for", 10) == 0) {
        note_unread(p, "silent");
        note_deadline(p, p->heard, 2 * keep_us, "silent");
        if (p->pinged > p->heard)
            note_deadline(p, p->pinged, keep_us - 1000 * MSEC, "silent since it was pinged");
    }
    if (strncmp(why, "did not read", 12) == 0) {
        note_deadline(p, p->took, STALL_MS * MSEC, "did not read");
        known('a', strstr(why, "; lost: ") != NULL && strstr(why, "; lost: 0 ") == NULL,
              "peer %d is dropped, though its outbox is empty", number_of(p));
        known('f', !p->room_seen || p->tried_write,
              "peer %d is dropped, and no write was tried although the kernel has room",
              number_of(p));
    }
}

/* A leaving peer is cut off in two cases only: it reads nothing, or it takes too
 * long. */
static void note_cut(const struct peer *p)
{
    int64_t in_all = clock_most() - p->left_at, idle = clock_most() - p->took;
    int64_t early = CLOSE_MS * MSEC - (in_all < idle ? in_all : idle);
    if (early > CLOSE_ALL_MS * MSEC - in_all)
        early = CLOSE_ALL_MS * MSEC - in_all;
    early -= TOLERANCE_MS * MSEC;
    known(fault_of(early), early <= 0,
          "peer %d is cut off after %" PRId64 " ms, %" PRId64 " since it took something",
          number_of(p), in_all / 1000, idle / 1000);
}

/* The next malformed message of the peer is in the log. */
static void note_bad_message(struct peer *p)
{
    while (p->complained < p->sent_count && p->sent[p->complained].kind != ERRS)
        p->complained++;
    if (p->complained < p->sent_count)
        note_order(p, p->complained++, "a notice");
}

static void note_line_of_peer(struct peer *p, const char *what)
{
    if (strncmp(what, "408: ", 5) == 0) {
        note_unread(p, "408");
        note_deadline(p, p->began, HANDSHAKE_MS * MSEC, "408");
    }
}

static void note_line(const char *text)
{
    const char *line = strncmp(text, "! ", 2) == 0 ? text + 2 : text;
    const char *lost = strstr(line, "; lost: ");
    size_t lost_to, lost_from;
    int a, b, n = 0;

    if (sscanf(line, "user %d -> user %d: %n", &a, &b, &n) == 2 && n > 0) {
        note_fate(a, b, line + n);
        return;
    }
    if (sscanf(line, "user %d waits for room at user %d", &a, &b) == 2)
        note_wait(a, user(b));
    stops = stops || strncmp(line, "stopping on signal ", 19) == 0;
    if (strncmp(line, "the router waits ", 17) == 0) {
        router_waits = true;
        for (int i = 0; i < peer_count; i++)
            excuse_messages(&peers[i]);
    }
    if (sscanf(line, "127.0.0.1:%d: %n", &b, &n) == 1 && n > 0)
        note_line_of_peer(&peers[b - FIRST_PORT], line + n);
    n = 0;
    if (sscanf(line, "user %d: bad message: %n", &a, &n) == 1 && n > 0)
        note_bad_message(user(a));
    n = 0;
    if (sscanf(line, "user %d joined from 127.0.0.1:%d", &a, &b) == 2) {
        promise(a == ++user_count, "ids are not in order");
        peer_of_user[a] = b - FIRST_PORT;
        user(a)->user = a;
    }
    if (sscanf(line, "user %d left: %n", &a, &n) == 1 && n > 0)
        note_left(user(a), line + n);
    if (strstr(line, ": did not close in time; lost: ") != NULL && sscanf(line, "user %d", &a) == 1)
        note_cut(user(a));
    if (lost != NULL && sscanf(line, "user %d", &a) == 1
        && sscanf(lost, "; lost: %zu bytes to it, %zu from it", &lost_to, &lost_from) == 2) {
        user(a)->lost_to += lost_to;
        user(a)->lost_from += lost_from;
    }
    if (sscanf(line, "user %d: %zu bytes from it that waited are lost", &a, &lost_from) == 2)
        user(a)->lost_from += lost_from;
}

/* Each message that the server read from the peer must be in the log.  Each message for
 * the peer must have arrived.  The log must name all other bytes as lost. */
static void check_books(struct peer *p)
{
    int taken = p->answerable != NOBODY ? p->answerable : sent_and_read(p);
    size_t missing = 0;
    char token[MESSAGE + 200];

    if (p->user == 0)
        return;
    for (int i = p->settled; i < taken; i++)
        if (p->sent[i].kind == SAYS)
            missing += make_token(token, number_of(p), i, p->sent[i].size);
    promise(missing <= p->lost_from, "user %d: %zu bytes from it are missing, %zu known as lost",
            p->user, missing, p->lost_from);
    missing = 0;
    for (int i = p->got; i < p->due_count; i++)
        missing += make_token(token, p->due[i].from, p->due[i].number,
                              peers[p->due[i].from].sent[p->due[i].number].size);
    if (p->got < p->due_count)  /* a part of the first may have arrived */
        missing = missing < p->wire_len ? 1 : missing - p->wire_len;
    promise(missing <= p->lost_to, "user %d: %zu bytes to it are missing, %zu known as lost",
            p->user, missing, p->lost_to);
}

/* ---- What peers do --------------------------------------------------------------- */

static void connect_peer(void)
{
    int open = 0;
    for (int i = 0; i < peer_count; i++)
        open += !peers[i].closed;
    if (peer_count == PEERS || open >= AT_A_TIME || told_to_stop)
        return;
    struct peer *p = &peers[peer_count++];
    memset(p, 0, sizeof *p);
    p->fd = p->answerable = NOBODY;
    p->leaving = FOR_EVER;
    send_request(p);
    tell("peer %d connects\n", number_of(p));
}

static int64_t some_time(unsigned b)
{
    static const int ms[] = { 1, 1, 5, 20, 50, 500, 1000, 4000, 5000, 9999, 10001, 20000, 30000,
                              60000, 60000, 120000 };
    return ms[b % 16] * MSEC;
}

/* The peers do nothing until this time. */
static int64_t passes_until;

static void pass_time(void)
{
    passes_until = clock_us + some_time(next_byte());
    tell("until %" PRId64 " ms the peers do nothing\n", passes_until / 1000);
}

/* A pause of the server. */
static struct pause {
    bool planned, stands;       /* it comes later; it is now */
    unsigned calls;             /* system calls before it begins */
    int64_t us;
    unsigned acts;
    bool they_read;
} standstill;

static void plan_pause(void)
{
    unsigned when = next_byte(), how = next_byte();
    if (standstill.planned || standstill.stands)
        return;
    standstill = (struct pause){ true, false, when % 32, some_time(how), how / 16 % 8, how < 128 };
    tell("the server will stand still %u calls from now\n", standstill.calls);
}

static void send_signal(int number)
{
    promise(handlers[number] != SIG_DFL && handlers[number] != SIG_IGN,
            "signal %d is not caught", number);
    handlers[number](number);
}

static void signal_stop(void)
{
    if (told_to_stop)
        return;
    told_to_stop = true;
    told_at = clock_us;
    stop_noted = signal_count < (int)sizeof signal_bytes;
    tell("SIGTERM\n");
    send_signal(SIGTERM);
}

static void vanish(struct peer *p)
{
    unsigned how = next_byte();
    if (p->gone || p->vanishes)
        return;
    tell("peer %d vanishes, %u\n", number_of(p), how % 4);
    p->silent = p->ended = true;
    p->vanishes = how % 4 == 0;
    p->gone = !p->vanishes;
    if (how % 4 == 1) {         /* bytes on their way are lost, too */
        p->total = p->taken;
        p->in_len = p->in_at;
    }
}

static void end_something(struct peer *p)
{
    switch (next_byte() % 16) {
    case 1: signal_stop(); break;
    case 2:
    case 3:
        tell("peer %d sends no more\n", number_of(p));
        p->ended = true;
    }
}

static void read_some(struct peer *p, size_t most)
{
    p->unread -= p->unread < most ? p->unread : most;
}

static void read_otherwise(struct peer *p)
{
    static const char *const how[] = { "at once", "nothing", "slowly" };
    unsigned b = next_byte();
    p->reads = (p->reads + 1 + b % 2) % 3;
    p->pace = b * 4 + (among_strangers ? 1000 : 0);     /* strangers have much to read */
    p->reads_at = clock_us + 1000 * MSEC;
    tell("peer %d reads %s\n", number_of(p), how[p->reads]);
}

static void act(void)
{
    /* Half of what strangers do is to send messages. */
    static const unsigned of_strangers[16] = { 5, 5, 5, 5, 5, 5, 5, 5, 0, 6, 10, 11, 11, 12, 12, 13 };
    unsigned b = next_byte(), what = among_strangers ? of_strangers[b % 16] : b % 16;
    struct peer *p = &peers[b / 16 % (unsigned)peer_count];

    clock_us += 100;
    if (what < 9 && !may_send(p))
        return;
    switch (what) {
    case 0: case 1: case 2: case 3: send_messages(p, 1); break;
    case 4: case 5: send_messages(p, 2 + next_byte() % 16); break;
    case 6: send_ping(p); break;
    case 7: send_other(p); break;
    case 8: if (next_byte() % 4 == 1) send_end(p); break;
    case 9: send_rest(p); break;
    case 10: read_some(p, next_byte() * 16); break;
    case 11: read_otherwise(p); break;
    case 12: connect_peer(); break;
    case 13: if (next_byte() % 2 == 0) pass_time(); else plan_pause(); break;
    case 14: if (next_byte() % 4 == 1) vanish(p); break;
    default: end_something(p);
    }
}

/* Some peers read everything at once, and answer.  Others read a little each second. */
static void let_them_read(void)
{
    for (int i = 0; i < peer_count; i++) {
        struct peer *p = &peers[i];
        if (p->reads == AT_ONCE && !p->gone)
            read_and_answer(p);
        if (p->reads == SLOWLY && p->reads_at <= clock_us) {
            read_some(p, p->pace);
            p->reads_at = clock_us + 1000 * MSEC;
        }
    }
}

/* ---- Pauses ---------------------------------------------------------------------- */

/* Runs the handler of SIGALRM if the alarm is due. */
static void ring_if_due(void)
{
    if (alarm_us > clock_us)
        return;
    alarm_us = FOR_EVER;
    send_signal(SIGALRM);
}

/* The server pauses.  Only the time after `awake_at` counts as a pause: before that,
 * the server would sleep anyway. */
static void stand_still(int64_t awake_at)
{
    int64_t began = awake_at > clock_us ? awake_at : clock_us, us;
    standstill.planned = false;
    standstill.stands = true;
    tell("the server stands still for %" PRId64 " ms\n", standstill.us / 1000);
    clock_us += standstill.us / 2;
    for (; standstill.acts > 0; standstill.acts--)
        act();
    if (standstill.they_read)
        let_them_read();
    clock_us += standstill.us / 2;
    tell("the server goes on at %" PRId64 " ms\n", clock_us / 1000);
    us = clock_us > began ? clock_us - began : 0;
    paused_us += us;
    long_paused_us += us > 1000 * MSEC ? us - 1000 * MSEC : 0;
    standstill.stands = false;
}

/* Every simulated system call starts with this. */
static void enter_call(void)
{
    if (standstill.planned && !standstill.stands && standstill.calls-- == 0)
        stand_still(clock_us);
    ring_if_due();
}

/* ---- The kernel ------------------------------------------------------------------ */

static int fail_with(int error)
{
    errno = error;
    return -1;
}

static int events_of(const struct peer *p)
{
    bool broken = p->gone, input = p->in_at < p->in_len || p->ended || broken;
    bool output = p->window - p->unread >= p->window / 3 || broken;     /* not for a byte */
    return (input ? POLLIN : 0) | (output ? POLLOUT : 0) | (broken ? POLLERR | POLLHUP : 0)
        | (p->ended && p->shut ? POLLHUP : 0);
}

/* The oldest connection that this listener has not accepted yet. */
static struct peer *first_waiting(int fd)
{
    for (int i = 0; i < peer_count; i++)
        if (peers[i].fd == NOBODY && !peers[i].closed && i % listening == other_at(fd)->turn)
            return &peers[i];
    return NULL;
}

static int see(struct pollfd *polled, nfds_t count)
{
    int seen = 0;
    for (nfds_t i = 0; i < count; i++) {
        int fd = polled[i].fd, events = 0;
        if (fd >= FIRST_FD)
            events = events_of(peer_at(fd));
        else if (fd >= 0 && fd == pipe_in)
            events = signal_count > 0 ? POLLIN : 0;
        else if (fd >= 0 && other_at(fd)->listens)
            events = first_waiting(fd) != NULL ? POLLIN : 0;
        polled[i].revents = (short)(events & (polled[i].events | POLLERR | POLLHUP));
        seen += polled[i].revents != 0;
    }
    return seen;
}

/* Has p got all its messages (by the log) and all answers to its own frames? */
static bool has_all(const struct peer *p)
{
    if (!p->upgraded || p->got < p->due_count || p->wire_len > 0)
        return false;
    for (int i = p->noticed; p->notices && i < p->settled; i++)
        if (p->sent[i].absent)
            return false;
    for (int i = p->replied; i < p->sent_count && p->sent[i].end <= p->taken; i++)
        if (p->sent[i].kind != SAYS)
            return false;
        else if (i >= p->settled)
            break;              /* this message waits, and so do all behind it */
    return true;
}

static void check_waits(const struct peer *p)
{
    if (p->left || p->closed || p->gone || !has_all(p))
        return;
    for (int i = 0; i < p->line_len; i++)
        known('a', user(p->line[i])->left || user(p->line[i])->closed,
              "user %d waits at user %d, though its outbox is empty", p->line[i], p->user);
}

static void check_leaving(const struct peer *p)
{
    int64_t us = clock_least() - p->leaving;
    known(late_alarm ? 'g' : 'd', p->fd == NOBODY || p->closed || p->leaving == FOR_EVER
               || us <= CLOSE_ALL_MS * MSEC + TOLERANCE_MS * MSEC,
          "peer %d has been leaving for %" PRId64 " ms", number_of(p), us / 1000);
}

/* The byte of SIGTERM in the pipe ends poll.  So the server stops in that turn, or in the
 * next one. */
static void check_obedience(void)
{
    promise(stops || turns_told < 2, "SIGTERM is not obeyed");
}

static void begin_look(void)
{
    check_obedience();
    for (int i = 0; i < peer_count; i++) {
        check_leaving(&peers[i]);
        excuse_messages(&peers[i]);
    }
}

static void end_look(void)
{
    look_us = clock_most();
    for (int i = 0; i < peer_count; i++) {
        struct peer *p = &peers[i];
        p->whole_seen = p->whole;
        p->input_seen = p->in_at < p->in_len;
        p->room_seen = p->unread < p->window;
        p->tried_read = p->tried_write = false;
    }
}

/* If poll fails, it does not report any event. */
static void forget(struct pollfd *polled, nfds_t count)
{
    for (nfds_t i = 0; i < count; i++)
        polled[i].revents = 0;
}

static bool go_on_to_end(void);

/* The time of the next event while the peers do nothing. */
static int64_t soonest_of(int64_t until)
{
    if (passes_until < until)
        until = passes_until;
    for (int i = 0; i < peer_count; i++)
        if (peers[i].reads == SLOWLY && peers[i].reads_at < until && peers[i].reads_at > clock_us)
            until = peers[i].reads_at;
    return until;
}

/* Nothing is ready, so time passes until a peer acts or the server must wake. */
static void sleep_on(int64_t wake)
{
    int64_t until = wake < alarm_us ? wake : alarm_us;
    if (until > clock_us + 150 * MSEC)
        for (int i = 0; i < peer_count; i++)
            check_waits(&peers[i]);
    if (standstill.planned && standstill.calls % 2 == 0)
        stand_still(until);
    else if (passes_until > clock_us)
        clock_us = soonest_of(until);
    else if (bytes_left > 0)
        act();
    else if (until <= clock_us + 150 * MSEC || !go_on_to_end()) {
        promise(until != FOR_EVER, "it sleeps for ever");
        clock_us = until > clock_us ? until : clock_us;
    }
    let_them_read();
}

static int looks;
static int failures;            /* of poll, one after the other */

static int sim_poll(struct pollfd *polled, nfds_t count, int timeout)
{
    enum { LOOKS_MAX = 50000, FAILURES_MAX = 20 };
    unsigned b;
    bool rang = false;
    int64_t wake;
    int seen;

    if (polled[0].fd < 0)       /* at the start, the server tests the size of its set */
        return 0;
    b = next_byte();
    failures = b >= 240 ? failures + 1 : 0;
    if (failures > FAILURES_MAX)        /* no kernel fails for ever */
        b = 0;
    promise(++looks < LOOKS_MAX, "there is no end to it");
    enter_call();
    wake = timeout < 0 ? FOR_EVER : clock_us + timeout * MSEC;
    clock_us += 10;
    begin_look();
    for (unsigned n = b % 4; n > 0; n--)
        act();
    let_them_read();
    while ((seen = see(polled, count)) == 0 && clock_us < wake && !rang && b < 240) {
        sleep_on(wake);
        rang = alarm_us <= clock_us;
        ring_if_due();
    }
    end_look();
    if (b >= 240 || (rang && (seen == 0 || b >= 128)))
        forget(polled, count);
    if (b >= 240)
        return fail_with(b < 252 ? EINTR : b % 2 == 0 ? ENOMEM : EAGAIN);
    if (rang && (seen == 0 || b >= 128))
        return fail_with(EINTR);        /* even if something is ready */
    turns_told += stop_noted && !stops;
    return seen;
}

/* Decides how many bytes a call handles.  -1: it fails with errno. */
static ssize_t some_of(size_t most, int error)
{
    unsigned b = most > 0 ? next_byte() : 0;
    if (b >= 240)
        return fail_with(b % 2 == 0 ? EINTR : EAGAIN);
    if (b >= 128)
        return (ssize_t)(1 + ((b - 128) * 256 + next_byte()) % most);
    return most > 0 ? (ssize_t)most : fail_with(error);
}

static ssize_t sim_read(int fd, void *to, size_t len)
{
    struct peer *p;
    size_t there;
    ssize_t n;

    known('h', len > 0, "a read of nothing, which looks like the end of input");
    if (len == 0)
        return 0;
    enter_call();
    if (fd < FIRST_FD) {
        promise(other_at(fd) == &others[pipe_in - FIRST_OTHER], "a read of %d", fd);
        if (signal_count == 0) {
            promise(other_at(fd)->nonblocking, "a read of a pipe that blocks");
            return fail_with(EAGAIN);
        }
        n = (ssize_t)(len < (size_t)signal_count ? len : (size_t)signal_count);
        memcpy(to, signal_bytes, (size_t)n);
        signal_count -= (int)n;
        memmove(signal_bytes, signal_bytes + n, (size_t)signal_count);
        return n;
    }
    p = peer_at(fd);
    promise(p->nonblocking, "a read that blocks");
    p->tried_read = true;
    p->read_whole = p->read_whole || p->whole;
    there = p->in_len - p->in_at;
    if (there == 0 && p->ended && !p->gone)
        return 0;
    n = some_of(there < len ? there : len, p->gone ? ECONNRESET : EAGAIN);
    if (n > 0) {
        memcpy(to, p->in + p->in_at, (size_t)n);
        p->in_at += (size_t)n;
        p->taken += (size_t)n;
        p->heard = look_us;
        if (router_waits)
            excuse_messages(p);
    }
    return n;
}

static ssize_t write_log(const char *from, size_t len)
{
    char line[LINE_MAX_SIZE + 1];
    promise(len < sizeof line && from[len - 1] == '\n', "a log line of %zu bytes", len);
    snprintf(line, sizeof line, "%.*s", (int)len, from);
    tell("    %s", line);
    note_line(line);
    return (ssize_t)len;
}

static ssize_t sim_write(int fd, const void *from, size_t len)
{
    struct peer *p;
    size_t room;
    ssize_t n;

    promise(len > 0, "a write of nothing");
    enter_call();
    if (fd == STDOUT_FILENO)
        return (ssize_t)len;
    if (fd == STDERR_FILENO)
        return write_log(from, len);
    if (fd < FIRST_FD) {
        promise(other_at(fd) == &others[pipe_out - FIRST_OTHER], "a write to %d", fd);
        if (signal_count == (int)sizeof signal_bytes)
            return fail_with(EAGAIN);   /* the pipe is full */
        signal_bytes[signal_count++] = *(const char *)from;
        return 1;
    }
    p = peer_at(fd);
    promise(p->nonblocking, "a write that blocks");
    promise(!p->shut, "a write behind shutdown");
    p->tried_write = true;
    if (p->gone) {
        promise(handlers[SIGPIPE] == SIG_IGN, "SIGPIPE ends it");
        return fail_with(EPIPE);
    }
    room = p->window - p->unread;
    n = some_of(len < room ? len : room, EAGAIN);
    if (n > 0) {
        note_output(p, from, (size_t)n);
        p->unread += (size_t)n;
        p->took = look_us;
        p->gone = p->vanishes;
    }
    return n;
}

static int sim_accept(int fd, struct sockaddr *address, socklen_t *len)
{
    struct peer *p;
    unsigned b;
    enter_call();
    promise(other_at(fd)->listens, "accept from %d", fd);
    b = next_byte();
    if ((p = first_waiting(fd)) == NULL)
        return fail_with(EAGAIN);
    if (b >= 240)
        return fail_with(b % 3 == 0 ? EMFILE : b % 3 == 1 ? ENOBUFS : EINTR);
    if (p->gone && b % 2 == 1) {
        p->closed = true;
        return fail_with(ECONNABORTED);
    }
    p->fd = FIRST_FD + number_of(p);
    p->began = p->heard = p->took = look_us;
    if (address != NULL)
        sim_peer(p->fd, address, len);
    return p->fd;
}

static int sim_shutdown(int fd)
{
    enter_call();
    peer_at(fd)->shut = true;
    return 0;
}

static int sim_close(int fd)
{
    struct peer *p;
    enter_call();
    if (fd < FIRST_FD) {
        other_at(fd)->is_open = false;
        return 0;
    }
    p = peer_at(fd);
    known('e', !p->whole_seen || p->answered || p->gone || p->vanishes || told_to_stop
               || p->read_whole, "peer %d is closed, and its whole request not read", fd - FIRST_FD);
    check_leaving(p);
    p->closed = true;
    tell("    (peer %d is closed)\n", number_of(p));
    return 0;
}

static int sim_control(int fd, int command, int value, ...)
{
    if (command != F_SETFL || fd < FIRST_OTHER)
        return 0;
    if (fd < FIRST_FD)
        other_at(fd)->nonblocking = (value & O_NONBLOCK) != 0;
    else
        peer_at(fd)->nonblocking = (value & O_NONBLOCK) != 0;
    return 0;
}

static int sim_option(int fd, int level, int name, const void *value)
{
    int number;
    memcpy(&number, value, sizeof number);
    if (fd < FIRST_FD)
        other_at(fd);
    else
        peer_at(fd);
    return level >= 0 && name >= 0 && number > 0 ? 0 : fail_with(EINVAL);
}

static int sim_clock(struct timespec *t)
{
    enter_call();
    paused_us_then = paused_us;
    *t = (struct timespec){ (time_t)(clock_us / 1000000), (long)(clock_us % 1000000) * 1000 };
    return 0;
}

static int sim_timer(const struct itimerval *in)
{
    int64_t us = (int64_t)in->it_value.tv_sec * 1000000 + in->it_value.tv_usec;
    enter_call();
    late_alarm = late_alarm || paused_us > paused_us_then;
    alarm_us = us > 0 ? clock_us + us : FOR_EVER;
    return 0;
}

static struct sockaddr_in loopback(int port)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((in_port_t)port) };
    in.sin_addr.s_addr = inet_addr("127.0.0.1");
    return in;
}

/* The port of a peer is FIRST_PORT plus its number. */
static int sim_peer(int fd, struct sockaddr *address, socklen_t *len)
{
    struct sockaddr_in in = loopback(FIRST_PORT + number_of(peer_at(fd)));
    memcpy(address, &in, sizeof in);
    *len = sizeof in;
    return 0;
}

/* ---- Starting -------------------------------------------------------------------- */

static int sim_open(void)
{
    for (int i = 0; i < OTHERS; i++)
        if (!others[i].is_open) {
            others[i] = (struct other){ .is_open = true };
            return FIRST_OTHER + i;
        }
    promise(false, "too many descriptors");
    return NOBODY;
}

static int sim_pipe(int fds[2])
{
    fds[0] = pipe_in = sim_open();
    fds[1] = pipe_out = sim_open();
    return 0;
}

static int sim_bind(int fd, const struct sockaddr *address, socklen_t len)
{
    struct other *o = other_at(fd);
    promise(len <= sizeof o->address, "an address of %u bytes", (unsigned)len);
    memcpy(&o->address, address, len);
    o->len = len;
    return 0;
}

static int sim_listen(int fd)
{
    other_at(fd)->listens = true;
    other_at(fd)->turn = listening++;
    return 0;
}

static int sim_own(int fd, struct sockaddr *address, socklen_t *len)
{
    if (fd >= FIRST_FD) {
        struct sockaddr_in in = loopback(8080);
        peer_at(fd);
        memcpy(address, &in, sizeof in);
        *len = sizeof in;
        return 0;
    }
    memcpy(address, &other_at(fd)->address, other_at(fd)->len);
    *len = other_at(fd)->len;
    return 0;
}

/* Every name has one address. */
static int sim_find(const char *host, struct addrinfo **list)
{
    static struct sockaddr_in in;
    static struct addrinfo info;
    in = loopback(8080);
    info = (struct addrinfo){ .ai_family = AF_INET, .ai_socktype = SOCK_STREAM,
                              .ai_addr = (struct sockaddr *)&in, .ai_addrlen = sizeof in };
    *list = &info;
    return host != NULL ? 0 : EAI_NONAME;
}

static int sim_handler(int number, const struct sigaction *new, struct sigaction *old)
{
    if (old != NULL)
        *old = (struct sigaction){ .sa_handler = handlers[number] };
    if (new != NULL)
        handlers[number] = new->sa_handler;
    return 0;
}

/* The server sleeps outside poll only if poll failed.  Meanwhile it can close nobody, so
 * for deadlines that must not come too late, it is a pause. */
static void sim_sleep(const struct timespec *t)
{
    int64_t us = (int64_t)t->tv_sec * 1000000 + t->tv_nsec / 1000;
    enter_call();
    clock_us += us;
    paused_us += us;
}

static int sim_limit(struct rlimit *limit)
{
    *limit = (struct rlimit){ 4096, 4096 };
    return 0;
}

/* ---- The end --------------------------------------------------------------------- */

static int ending;              /* the step, see go_on_to_end() */
static bool by_leaving;

/* The server sleeps, the kernel was kind, and all peers have read.  So the server must
 * have handled and delivered everything. */
static void check_settled(void)
{
    char letter = late_alarm ? 'g' : '!';
    for (int i = 0; i < peer_count; i++) {
        struct peer *p = &peers[i];
        if (p->closed || p->ended || p->gone || p->vanishes)
            continue;
        known(letter, p->answered || !p->asks, "peer %d waits for an answer to its request", i);
        if (p->user == 0 || p->left)
            continue;
        known(letter, p->taken == p->total, "user %d is not read", p->user);
        for (int k = p->settled; k < p->sent_count; k++)
            known(letter, p->sent[k].kind != SAYS, "user %d is held up", p->user);
        for (int k = p->replied; k < p->sent_count; k++)
            known(letter, p->sent[k].kind == SAYS, "user %d got no reply", p->user);
        known(letter, p->got == p->due_count, "user %d did not get all", p->user);
    }
}

/* Called while the server sleeps.  Returns false if there is nothing more to do. */
static bool go_on_to_end(void)
{
    if (ending == 0) {
        for (int i = 0; i < peer_count; i++)
            peers[i].reads = AT_ONCE;
    } else if (ending == 1 && !told_to_stop) {
        check_settled();
        for (int i = 0; by_leaving && i < peer_count; i++)
            peers[i].ended = true;
    } else if (ending == 2) {
        signal_stop();
    }
    return ending++ < 3;
}

static void check_end(void)
{
    bool in_time = clock_us - told_at < 1000 * MSEC;
    for (int i = 0; i < peer_count; i++) {
        promise(!in_time || peers[i].fd == NOBODY || peers[i].closed,
                "descriptor %d stays open", FIRST_FD + i);
        check_books(&peers[i]);
    }
}

static void begin_run(void)
{
    story_len = 0;
    peer_count = user_count = signal_count = ending = looks = failures = listening = 0;
    memset(others, 0, sizeof others);
    standstill = (struct pause){ 0 };
    for (size_t i = 0; i < sizeof handlers / sizeof *handlers; i++)
        handlers[i] = SIG_DFL;
    clock_us = 1000 * 1000 * MSEC;
    alarm_us = FOR_EVER;
    paused_us = paused_us_then = long_paused_us = passes_until = 0;
    look_us = clock_us;
    told_to_stop = stop_noted = stops = router_waits = late_alarm = false;
    turns_told = 0;
    pipe_in = pipe_out = NOBODY;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *args[] = { "chat", "-a", "directory", "-k", "0", NULL };
    unsigned options;

    before_abort = show_story;
    bytes = data;
    bytes_left = size;
    begin_run();
    options = next_byte();
    with_router = options % 2 == 1;
    if (with_router)
        args[2] = "router";
    keep_us = options / 2 % 2 == 0 ? 0 : 30 * 1000 * MSEC;
    if (keep_us > 0)
        args[4] = "30";
    by_leaving = options / 4 % 2 == 0;
    among_strangers = options / 32 == 6;
    for (int i = among_strangers ? 1 : 0; i < 3; i++)
        connect_peer();
    optind = 1;
    chat_main(5, args);
    check_end();
    if (getenv("STORY") != NULL)
        show_story();
    return 0;
}
