/* fuzz-chat.c -- the whole server among clients and a kernel that do what the
 * fuzz bytes say, and books that are kept of every message.
 *
 * chat.c is included below, with the system calls that it makes replaced by
 * functions of this file.  So there is no socket and no clock: a read gives as
 * little, a write takes as little, and time passes as fast as the bytes want.
 * Between two looks of the server the peers move: they connect, talk, stop
 * reading, break rules, vanish.  When the bytes are used up, the kernel is
 * kind, everybody reads, and
 *
 *   - once the server sleeps, whatever it had taken has to be out;
 *   - then the peers leave, or the server is told to stop; and of each message
 *     that it took the books must show that it went to its recipient's socket
 *     once, unaltered and in its sender's order, or that the log says why not.
 *
 * What the server did is known from what it wrote: to the sockets, and to the
 * log.  Its variables are not looked at, only set back between two runs.
 *
 * Order: fuzz bytes, peers, what they send, the books: sockets, the books: log,
 * what peers do, the kernel, the server, the end. */

#define CLIENTS 4               /* few and small, so that things run full */
#define MESSAGE 1000

#include "../json.h"
#include "../ws.h"
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
static int sim_accept(void);
static int sim_shutdown(int fd);
static int sim_close(int fd);
static int sim_control(int fd, int command, int value);
static int sim_option(int fd, int level, int name, const int *value);
static int sim_clock(struct timespec *t);
static int sim_timer(const struct itimerval *in);
static int sim_peer(int fd, struct sockaddr *address);
static int sim_name(const struct sockaddr *address, char *host, char *port);

#define poll(polled, count, timeout) sim_poll(polled, count, timeout)
#define read(fd, to, len) sim_read(fd, to, len)
#define write(fd, from, len) sim_write(fd, from, len)
#define accept(fd, address, len) ((void)(fd), sim_accept())
#define shutdown(fd, how) sim_shutdown(fd)
#define close(fd) sim_close(fd)
#define clock_gettime(clock, t) sim_clock(t)
#define setitimer(which, in, old) sim_timer(in)
#define getpeername(fd, address, len) ((void)*(len), sim_peer(fd, address))
#define getnameinfo(address, len, host, host_size, port, port_size, flags) \
    ((void)(len), sim_name(address, host, port))
#define fcntl(fd, command, value) sim_control(fd, command, value)
#define setsockopt(fd, level, name, value, len) sim_option(fd, level, name, value)
#define main chat_main
#include "../chat.c"
#undef main

/* ---- Fuzz bytes ----------------------------------------------------------------------
 * Each decision takes one; when there are no more, it is 0, which is kind. */

static const uint8_t *bytes;
static size_t bytes_left;

static unsigned next_byte(void)
{
    if (bytes_left == 0)
        return 0;
    bytes_left--;
    return *bytes++;
}

/* What happened, to be shown on failure. */
static char story[1 << 17];
static size_t story_len;

static void tell(const char *format, ...)
{
    va_list args;
    int n;
    if (story_len > sizeof story - 2 * LOG_LINE)
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

/* ---- Peers --------------------------------------------------------------------------- */

enum {
    PEERS = 12,                 /* in all */
    AT_A_TIME = 8,
    SENT_MAX = 60,              /* things that one of them sends */
    DUE_MAX = PEERS * SENT_MAX, /* messages for one of them */
    PIPE_MAX = 6000,            /* bytes on their way to the server */
    WINDOW = 1500,              /* bytes on their way from it */
    LISTENER = 50, SIGNALS_IN, SIGNALS_OUT, FIRST_FD = 100
};

enum kind { SAYS, PINGS, ERRS };        /* a message, a ping, JSON that is none */

struct sent {
    enum kind kind;
    int to;                     /* SAYS: which user */
    size_t size;                /* SAYS: bytes of the token */
    size_t end;                 /* of all the peer's bytes, the first one behind it */
};

struct due {                    /* a message for the peer: whose, and which */
    int from, number;
};

static struct peer {
    bool nonblocking, closed;   /* by the server */
    bool shut;                  /* the server's half */
    bool reads;                 /* at once, whatever comes */
    bool ended;                 /* it sends no more */
    bool vanishes;              /* the next bytes to it are answered by a reset */
    bool gone;                  /* that reset has come */
    bool silent;                /* what it said last was the end of all talk */
    bool asks;                  /* it sent a whole request */

    uint8_t in[PIPE_MAX];       /* to the server: in[in_at .. in_len) */
    size_t in_at, in_len;
    size_t total, taken;        /* bytes that it sent, and that the server read */
    struct sent sent[SENT_MAX];
    int sent_count;
    int replied;                /* of those sent, looked at for replies so far */
    int settled;                /* of those sent, looked at for log lines so far */
    int answerable;             /* sent[0..answerable) came before our Close; NONE: no Close */

    uint8_t wire[BUFFER_SIZE];  /* from the server: what is no whole frame yet */
    size_t wire_len;
    size_t unread;              /* bytes that the peer has not read */
    int64_t took;               /* when the kernel last took a byte for it */
    bool answered, upgraded, got_close;
    struct due due[DUE_MAX];    /* that the log says were put into its outbox */
    int due_count, got;         /* and how many have come */

    int line[PEERS];            /* users who wait for room at it, by the log */
    int line_len;
    int user;                   /* its id; 0: none */
    bool left;
    int64_t left_at;            /* when the log said so */
    size_t lost_to, lost_from;  /* bytes, by the log */
} peers[PEERS];

static int peer_count, accepted_count;
static int user_count, peer_of_user[PEERS + 1];

static int64_t clock_us, alarm_us;
static char signal_bytes[64];
static int signal_count;
static bool told_to_stop;

static struct peer *peer_at(int fd)
{
    struct peer *p = &peers[fd - FIRST_FD];
    promise(fd >= FIRST_FD && fd < FIRST_FD + accepted_count && !p->closed,
            "descriptor %d is not open", fd);
    return p;
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

/* ---- What they send ------------------------------------------------------------------ */

/* The n-th thing that a peer says names both, and is filled up with characters
 * that a careless server might alter.  Returns its bytes, at most size + 30. */
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
    p->sent[p->sent_count++] = (struct sent){ kind, to, size, p->total };
}

static void send_ping(struct peer *p)
{
    char payload[20];
    put_frame(p, 0x89, payload, (size_t)sprintf(payload, "ping %d", p->sent_count));
    note_sent(p, PINGS, 0, 0);
}

/* No message, but answered; or a pong, which is not. */
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

static void send_message(struct peer *p)
{
    static const char *const forms[][3] = {
        { "{\"recipient_id\":", ",\"message\":", "}" },
        { " {\"x\":[1,{\"message\":0}], \"recipient_id\" : ", " ,\"m\\u0065ssage\":", " } \n" },
    };
    char text[MESSAGE + 100];
    unsigned b = next_byte(), size = next_byte(), way = b / 16 % 8;
    const char *const *form = forms[b / 128];
    int to = 1 + (int)(b % 16) % (user_count + 2), number = p->sent_count;
    bool interrupted = way == 4 || way == 5;
    size_t len, token, half;

    len = (size_t)sprintf(text, "%s%d%s", form[0], to, form[1]);
    size = size < 200 ? size : (size - 200) * 16;
    token = make_token(text + len, number_of(p), number + interrupted, size);
    len += token;
    len += (size_t)sprintf(text + len, "%s", form[2]);
    half = len / 3;
    if (way < 4) {
        put_frame(p, way == 0 ? 0x82 : 0x81, text, len);
    } else {
        put_frame(p, 0x01, text, half);
        if (interrupted)
            send_ping(p);
        put_frame(p, 0x80, text + half, len - half);
    }
    tell("peer %d: %zu bytes to user %d\n", number_of(p), token, to);
    note_sent(p, SAYS, to, size);
}

/* Its last words: a Close, or a breach, in order and not. */
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

static void send_request(struct peer *p)
{
    static const char *const requests[] = {
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /\n",
        "GET / HTTP/1.1\r\nHost: ", "",
    };
    unsigned kind = next_byte();
    char text[400];
    if (kind >= 250) {
        put(p, requests[kind % 5], strlen(requests[kind % 5]));
        p->silent = true;
        return;
    }
    put(p, text, (size_t)sprintf(text, "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n",
            kind % 2 == 1 ? "Sec-WebSocket-Protocol: notices\r\n" : ""));
    p->asks = true;
}

/* ---- The books: what comes out of the sockets ---------------------------------------- */

/* A pong or a notice about a frame comes in the order of the frames. */
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
    p->replied++;
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
    p->got++;
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
        else if (!begins(payload, len, "{\"sender_id\":0,"))
            note_message(p, payload, len);
        break;
    case 0x88: p->got_close = true; break;
    case 0x89: break;
    case 0x8A: note_reply(p, PINGS, payload, len); break;
    default: promise(false, "peer %d got a frame that begins with %02x", number_of(p), first);
    }
}

/* Takes the next frame from wire[at..).  Returns its size, or 0 if it is not whole. */
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

/* The response's head; returns its size, or 0 if it is not whole. */
static size_t take_response(struct peer *p)
{
    static const char id[] = "Chat-User-Id: ";
    char head[PAGE_SIZE + 1], *end, *line;
    size_t len = p->wire_len < PAGE_SIZE ? p->wire_len : PAGE_SIZE;
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

/* ---- The books: what the log says ---------------------------------------------------- */

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

static void note_wait(int id, struct peer *at)
{
    leave_line_of(at, id);
    at->line[at->line_len++] = id;
}

/* Who came first is served first, and nobody passes those who wait. */
static void note_served(int id, struct peer *at)
{
    for (int i = 0; i < at->line_len && at->line[i] != id; i++)
        promise(user(at->line[i])->left, "user %d was before user %d", at->line[i], id);
    leave_line_of(at, id);
}

/* "user 1 -> user 2: ...": the sender's next message went somewhere. */
static void note_fate(int from, int to, const char *what)
{
    struct peer *p = user(from);
    const struct sent *s;
    int peer = NONE, number = NONE;

    while (p->settled < p->sent_count && p->sent[p->settled].kind != SAYS)
        p->settled++;
    s = &p->sent[p->settled];
    promise(p->settled < p->sent_count && s->end <= p->taken && s->to == to,
            "user %d did not say that, or not next", from);
    if (strncmp(what, "not delivered: ", 15) == 0) {
        promise(!is_online(to), "user %d is online", to);
    } else if (what[0] == '"') {
        promise(is_online(to), "user %d is not online", to);
        note_served(from, user(to));
        user(to)->due[user(to)->due_count++] = (struct due){ number_of(p), p->settled };
    }
    if (strchr(what, '"') != NULL)
        promise(sscanf(strchr(what, '"'), "\"peer %d says %d", &peer, &number) == 2
                && peer == number_of(p) && number == p->settled, "it was another message");
    p->settled++;
}

static void note_left(struct peer *p, const char *why)
{
    promise(!p->left, "it had left");
    p->left = true;
    p->left_at = clock_us;
    /* What it sends after a Close, its or ours, is thrown away. */
    if (strstr(why, "Close") != NULL || strstr(why, "stopping") != NULL)
        p->answerable = sent_and_read(p);
    promise(strstr(why, "did not read") == NULL || clock_us - p->took >= STALL_MS * MS,
            "it did read, %" PRId64 " us ago", clock_us - p->took);
}

/* On its way out a peer is cut off only if it takes nothing, or takes for ever. */
static void note_cut(const struct peer *p)
{
    int64_t in_all = clock_us - p->left_at, idle = clock_us - p->took;
    promise(in_all >= CLOSE_ALL_MS * MS || (in_all >= CLOSE_MS * MS && idle >= CLOSE_MS * MS),
            "it is cut off after %" PRId64 " us, %" PRId64 " since it took something", in_all, idle);
}

static void note_line(const char *line)
{
    const char *lost = strstr(line, "; lost: ");
    size_t lost_to, lost_from;
    int a, b, n = 0;

    if (sscanf(line, "user %d -> user %d: %n", &a, &b, &n) == 2 && n > 0) {
        note_fate(a, b, line + n);
        return;
    }
    if (sscanf(line, "user %d waits for room at user %d", &a, &b) == 2)
        note_wait(a, user(b));
    if (sscanf(line, "user %d joined from sim:%d", &a, &b) == 2) {
        promise(a == ++user_count, "ids are not in order");
        peer_of_user[a] = b;
        peers[b].user = a;
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

/* Of what the server took from the peer, everything went somewhere; and what is
 * for it has come, but for what was lost by the log's account. */
static void check_books(struct peer *p)
{
    int taken = p->answerable != NONE ? p->answerable : sent_and_read(p);
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
    if (p->got < p->due_count)  /* the first may be out in part */
        missing = missing < p->wire_len ? 1 : missing - p->wire_len;
    promise(missing <= p->lost_to, "user %d: %zu bytes to it are missing, %zu known as lost",
            p->user, missing, p->lost_to);
}

/* ---- What peers do -------------------------------------------------------------------- */

static void connect_peer(void)
{
    int open = 0;
    for (int i = 0; i < peer_count; i++)
        open += !peers[i].closed;
    if (peer_count == PEERS || open >= AT_A_TIME || told_to_stop)
        return;
    struct peer *p = &peers[peer_count++];
    memset(p, 0, sizeof *p);
    p->answerable = NONE;
    p->reads = true;
    send_request(p);
    tell("peer %d connects\n", number_of(p));
}

static void pass_time(void)
{
    static const int ms[] = { 1, 1, 5, 20, 50, 500, 1000, 5000, 9999, 10001, 30000, 60000 };
    clock_us += ms[next_byte() % 12] * MS;
    tell("the clock: %" PRId64 " ms\n", clock_us / 1000);
}

static void signal_stop(void)
{
    if (told_to_stop)
        return;
    told_to_stop = true;
    tell("SIGTERM\n");
    on_signal(SIGTERM);
}

static void vanish(struct peer *p)
{
    unsigned how = next_byte();
    tell("peer %d vanishes, %u\n", number_of(p), how % 4);
    p->silent = p->ended = true;
    p->vanishes = how % 4 == 0;
    p->gone = !p->vanishes;
    if (how % 4 == 1) {         /* what was under way is lost, too */
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

static bool may_send(struct peer *p)
{
    memmove(p->in, p->in + p->in_at, p->in_len - p->in_at);
    p->in_len -= p->in_at;
    p->in_at = 0;
    return !p->silent && !p->ended && p->sent_count < SENT_MAX - 2
        && p->in_len + MESSAGE + 200 < PIPE_MAX;
}

static void act(void)
{
    unsigned b = next_byte(), what = b % 16;
    struct peer *p = &peers[b / 16 % (unsigned)peer_count];

    clock_us += 100;
    if (what < 10 && !may_send(p))
        return;
    switch (what) {
    case 0: case 1: case 2: case 3: case 4: case 5: case 6: send_message(p); break;
    case 7: send_ping(p); break;
    case 8: send_other(p); break;
    case 9: if (next_byte() % 4 == 1) send_end(p); break;
    case 10: read_some(p, next_byte() * 8); break;
    case 11: p->reads = !p->reads; tell("peer %d reads: %d\n", number_of(p), p->reads); break;
    case 12: connect_peer(); break;
    case 13: pass_time(); break;
    case 14: if (next_byte() % 4 == 1) vanish(p); break;
    default: end_something(p);
    }
}

/* ---- The kernel ----------------------------------------------------------------------- */

static int fail_with(int error)
{
    errno = error;
    return -1;
}

/* A signal handler runs in the middle of it, and its byte is then to be read. */
static void ring(void)
{
    alarm_us = NEVER;
    on_signal(SIGALRM);
}

/* Who reads at once does so, and hangs up when told to. */
static void let_them_read(void)
{
    for (int i = 0; i < peer_count; i++) {
        struct peer *p = &peers[i];
        if (!p->reads)
            continue;
        p->unread = 0;
        p->ended = p->ended || p->shut || p->got_close;
    }
}

static int events_of(const struct peer *p)
{
    bool broken = p->gone, input = p->in_at < p->in_len || p->ended || broken;
    bool output = WINDOW - p->unread >= WINDOW / 3 || broken;   /* as kernels do: not for a byte */
    return (input ? POLLIN : 0) | (output ? POLLOUT : 0) | (broken ? POLLERR | POLLHUP : 0)
        | (p->ended && p->shut ? POLLHUP : 0);
}

static int see(struct pollfd *polled, nfds_t count)
{
    int seen = 0;
    for (nfds_t i = 0; i < count; i++) {
        int fd = polled[i].fd, events = 0;
        if (fd == SIGNALS_IN)
            events = signal_count > 0 ? POLLIN : 0;
        else if (fd == LISTENER)
            events = accepted_count < peer_count ? POLLIN : 0;
        else if (fd >= 0)
            events = events_of(peer_at(fd));
        polled[i].revents = (short)(events & (polled[i].events | POLLERR | POLLHUP));
        seen += polled[i].revents != 0;
    }
    return seen;
}

static bool go_on_to_end(void);

static int sim_poll(struct pollfd *polled, nfds_t count, int timeout)
{
    int seen;
    clock_us += 10;
    for (unsigned n = next_byte() % 4; n > 0; n--)
        act();
    let_them_read();
    while ((seen = see(polled, count)) == 0 && timeout != 0) {
        bool soon = alarm_us <= clock_us + 150 * MS;
        if (bytes_left > 0) {
            act();
        } else if (soon || !go_on_to_end()) {
            promise(alarm_us != NEVER, "it sleeps for ever");
            clock_us = alarm_us > clock_us ? alarm_us : clock_us;
        }
        let_them_read();
        if (alarm_us <= clock_us) {
            ring();
            return fail_with(EINTR);
        }
    }
    return seen;
}

/* How much of at most so many bytes; or NONE with errno set. */
static ssize_t some_of(size_t most, int error)
{
    unsigned b = most > 0 ? next_byte() : 0;
    if (b >= 240)
        return fail_with(b % 2 == 0 ? EINTR : EAGAIN);
    if (b >= 128 && (b - 127) * (b % 2 * 9 + 1) < most)
        return (ssize_t)((b - 127) * (b % 2 * 9 + 1));
    return most > 0 ? (ssize_t)most : fail_with(error);
}

static ssize_t sim_read(int fd, void *to, size_t len)
{
    struct peer *p;
    size_t there;
    ssize_t n;

    promise(len > 0, "a read of nothing");
    if (fd == SIGNALS_IN) {
        memcpy(to, signal_bytes, 1);
        memmove(signal_bytes, signal_bytes + 1, (size_t)--signal_count);
        return 1;
    }
    p = peer_at(fd);
    promise(p->nonblocking, "a read that blocks");
    there = p->in_len - p->in_at;
    if (there == 0 && p->ended && !p->gone)
        return 0;
    n = some_of(there < len ? there : len, p->gone ? ECONNRESET : EAGAIN);
    if (n > 0) {
        memcpy(to, p->in + p->in_at, (size_t)n);
        p->in_at += (size_t)n;
        p->taken += (size_t)n;
    }
    return n;
}

static ssize_t write_log(const char *from, size_t len)
{
    char line[LOG_LINE + 1];
    promise(len < sizeof line && from[len - 1] == '\n', "a log line of %zu bytes", len);
    memcpy(line, from, len);
    line[len] = '\0';
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
    if (fd == STDERR_FILENO)
        return write_log(from, len);
    if (fd == SIGNALS_OUT) {
        promise(signal_count < (int)sizeof signal_bytes, "signals are not read");
        signal_bytes[signal_count++] = *(const char *)from;
        return 1;
    }
    p = peer_at(fd);
    promise(p->nonblocking, "a write that blocks");
    promise(!p->shut, "a write behind shutdown");
    if (p->gone)
        return fail_with(EPIPE);
    room = WINDOW - p->unread;
    n = some_of(len < room ? len : room, EAGAIN);
    if (n > 0) {
        note_output(p, from, (size_t)n);
        p->unread += (size_t)n;
        p->took = clock_us;
        p->gone = p->vanishes;
    }
    return n;
}

static int sim_accept(void)
{
    unsigned b = next_byte();
    if (accepted_count == peer_count)
        return fail_with(EAGAIN);
    if (b >= 240)
        return fail_with(b % 3 == 0 ? EMFILE : b % 3 == 1 ? ECONNABORTED : EINTR);
    return FIRST_FD + accepted_count++;
}

static int sim_shutdown(int fd)
{
    peer_at(fd)->shut = true;
    return 0;
}

static int sim_close(int fd)
{
    if (fd != LISTENER)
        peer_at(fd)->closed = true;
    return 0;
}

static int sim_control(int fd, int command, int value)
{
    peer_at(fd)->nonblocking = command == F_SETFL && (value & O_NONBLOCK) != 0;
    return 0;
}

static int sim_option(int fd, int level, int name, const int *value)
{
    peer_at(fd);
    return level >= 0 && name >= 0 && *value > 0 ? 0 : fail_with(EINVAL);
}

static int sim_clock(struct timespec *t)
{
    *t = (struct timespec){ (time_t)(clock_us / 1000000), (long)(clock_us % 1000000) * 1000 };
    return 0;
}

static int sim_timer(const struct itimerval *in)
{
    alarm_us = clock_us + (int64_t)in->it_value.tv_sec * 1000000 + in->it_value.tv_usec;
    return 0;
}

/* Its "port" is the peer's number. */
static int sim_peer(int fd, struct sockaddr *address)
{
    in_port_t port = (in_port_t)number_of(peer_at(fd));
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = port };
    memcpy(address, &in, sizeof in);
    return 0;
}

static int sim_name(const struct sockaddr *address, char *host, char *port)
{
    struct sockaddr_in in;
    memcpy(&in, address, sizeof in);
    strcpy(host, "sim");
    sprintf(port, "%d", (int)in.sin_port);
    return 0;
}

/* ---- The server ----------------------------------------------------------------------- */

static void set_back(void)
{
    memset(clients, 0, sizeof clients);
    clear_tables();
    active = in_use = queue_count = queue_head = 0;
    now = clock_us;
    stop_began = last_out = last_id = accept_again = 0;
    last_seen = last_full_look = 0;
    alarm_at = NEVER;
    stop_signals = 0;
    signal_pipe[0] = SIGNALS_IN;
    signal_pipe[1] = SIGNALS_OUT;
    listeners[0] = LISTENER;
    listener_count = 1;
}

/* ---- The end --------------------------------------------------------------------------- */

static int ending;              /* steps towards it */
static bool by_leaving;

/* The server sleeps though the kernel was kind and everybody read: so nothing
 * that it could have passed on may lie about. */
static void check_settled(void)
{
    for (int i = 0; i < peer_count; i++) {
        struct peer *p = &peers[i];
        if (p->closed || p->ended || p->gone || p->vanishes)
            continue;
        promise(p->answered || !p->asks, "peer %d waits for an answer to its request", i);
        if (p->user == 0 || p->left)
            continue;
        promise(p->taken == p->total, "user %d is not read", p->user);
        for (; p->settled < p->sent_count; p->settled++)
            promise(p->sent[p->settled].kind != SAYS, "user %d is held up", p->user);
        for (; p->replied < p->sent_count; p->replied++)
            promise(p->sent[p->replied].kind == SAYS, "user %d got no reply", p->user);
        promise(p->got == p->due_count, "user %d did not get all", p->user);
    }
}

/* Called while the server sleeps.  Returns false if there is nothing more to do. */
static bool go_on_to_end(void)
{
    if (ending == 0) {
        for (int i = 0; i < peer_count; i++)
            peers[i].reads = true;
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
    for (int i = 0; i < in_use; i++)
        log_gone(&clients[seats[i]], "the server stopped", 0);
    for (int i = 0; i < accepted_count; i++) {
        promise(in_use > 0 || peers[i].closed, "descriptor %d stays open", FIRST_FD + i);
        check_books(&peers[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { TURNS_MAX = 20000 };
    int turns = 0;

    before_abort = show_story;
    bytes = data;
    bytes_left = size;
    story_len = 0;
    peer_count = accepted_count = user_count = signal_count = ending = 0;
    clock_us = 1000 * 1000 * MS;
    alarm_us = NEVER;
    told_to_stop = false;
    set_back();
    unsigned options = next_byte();
    approach = &approaches[options % 2];
    keep = options / 2 % 2 == 0 ? 0 : DEFAULT_KEEP_S * 1000 * MS;
    by_leaving = options / 4 % 2 == 0;
    for (int i = 0; i < 3; i++)
        connect_peer();
    for (; !is_over(); turns++) {
        promise(turns < TURNS_MAX, "there is no end to it");
        turn();
    }
    check_end();
    return 0;
}
