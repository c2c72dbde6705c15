/* chat.c -- a WebSocket chat server: who is connected, who gets what, and when.
 *
 * One thread, one poll().  No call waits for a client: one whose message finds
 * no room is parked, which means that its socket is not read until there is
 * room, and TCP slows it down.  All memory is in the arrays below.
 *
 * How to read it: main and turn, at the end, are the table of contents; the
 * two approaches of the article that README.md names stand side by side in
 * part 5.  "5.5.2:" means RFC 6455 section 5.5.2.
 *
 *    1  limits                    6  what clients say
 *    2  clients and their states  7  leaving
 *    3  the log                   8  sockets
 *    4  outboxes and waiting      9  waiting: what poll costs, how to pay less
 *    5  the two approaches       10  starting, stopping, main
 *
 * A client is spoken of by its slot, an index into the arrays, as long as it
 * is connected; a user by its id, which is never used twice. */

#include "json.h"
#include "ws.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* ---- 1. Limits ----------------------------------------------------------------------
 * The first two from the command line of make: make CLIENTS=10000 MESSAGE=4096;
 * times as  make CFLAGS='-O3 -DSTALL_MS=1000'. */

#ifndef CLIENTS
#define CLIENTS 1024            /* connections at a time */
#endif
#ifndef MESSAGE
#define MESSAGE 65536           /* bytes of the largest message, as JSON */
#endif
#ifndef HANDSHAKE_MS
#define HANDSHAKE_MS 10000      /* from the connection to a whole request */
#endif
#ifndef CLOSE_MS
#define CLOSE_MS 5000           /* on the way out: from the last byte that the peer took */
#endif
#ifndef CLOSE_ALL_MS
#define CLOSE_ALL_MS 10000      /* on the way out, in all */
#endif
#ifndef STALL_MS
#define STALL_MS 10000          /* somebody waits for a peer that takes nothing */
#endif

enum {
    SPARE = 16,                 /* slots beyond CLIENTS, to answer 503 from */
    SLOTS = CLIENTS + SPARE,
    QUEUE_SIZE = 10,            /* messages: the article's channel has room for ten */
    DEFAULT_KEEP_S = 30,        /* silence before a ping, and after it: option -k */
    STOP_MS = 2000,             /* from the signal to the end, at most */
    STOP_QUIET_MS = 1000,       /* the same, from the last byte that went out */
    TICK_MS = 500,              /* the clock moves on by this in one turn, at most */
    RETRY_MS = 100,             /* between writes for which somebody waits */
    ACCEPT_PAUSE_MS = 100,      /* after accept() found no descriptor or memory */
    ACCEPT_BATCH = 64,          /* connections taken in a turn, so that talk goes on */
    SEND_BUFFER = 128 * 1024,   /* bytes in the kernel: left alone it takes megabytes,
                                 * and hides that a peer does not read */
    LISTENERS = 8,              /* addresses listened on */
    ORIGINS = 8,                /* of option -o */
    SHOWN_IDS = 100,            /* in the answers to a plain GET */
    ONLINE_SIZE = 32 + SHOWN_IDS * 20,  /* bytes of the line with these ids */
    PAGE_SIZE = 8192,           /* bytes of our largest HTTP answer, at most */
    LOG_LINE = 512,             /* bytes */
    LOG_QUOTE = 120             /* bytes that the log shows of a message */
};

/* An answer to a frame, a pong or a notice (a text from the server), always has
 * room: a frame is decoded only while RESERVE bytes are free in its sender's own
 * outbox.  One close frame has room of its own, too.  What others send never uses
 * these bytes. */
enum {
    REPLY_MAX = 256,
    RESERVE = REPLY_MAX + WS_CONTROL_FRAME
};

/* An outbox that holds FULL bytes is full.  FULL is the largest message or request,
 * and the header of another frame behind it.  A buffer is larger:
 *   - as an outbox, it has room for one more message of any size behind less than
 *     FULL bytes, and for the reserve behind that;
 *   - as an inbox, it has room for one read of FULL bytes behind an unfinished
 *     message. */
#define FULL ((MESSAGE > WS_HEAD_MAX ? MESSAGE : WS_HEAD_MAX) + WS_PENDING_MAX)
#define BUFFER_SIZE (2 * FULL + WS_HEADER_MAX + JSON_AROUND + RESERVE)

/* An array of a negative size: how C99 makes the compiler check a rule. */
typedef char buffers_of_more_than_1_GiB_choose_smaller_CLIENTS_or_MESSAGE
    [(uint64_t)SLOTS * 2 * BUFFER_SIZE <= UINT64_C(1) << 30 ? 1 : -1];
typedef char a_pong_fits_the_reserve[(int)REPLY_MAX >= (int)WS_CONTROL_FRAME ? 1 : -1];
typedef char CLIENTS_and_MESSAGE_are_at_least_1 [CLIENTS >= 1 && MESSAGE >= 1 ? 1 : -1];

/* ---- 2. Clients and their states -----------------------------------------------------
 *
 *          accept()       whole request      101 queued
 *   FREE ----------> REQUEST ------> JOINING -------> OPEN
 *    ^                  |                              |  end of input
 *    |          refused |    Close queued, or answered |----------------.
 *    |                  v                              |                v
 *    |               CLOSING <-------------------------'            DRAINING
 *    |                  | all written, our half shut                    | all written
 *    |                  v                                               |
 *    |              LINGERING ------------- end of input ---------------+---> DEAD
 *    |                                                                         |
 *    '------------------------ reap(), the only place that closes -------------'
 *
 * Where nothing is left to be written, DRAINING is passed over; CLOSING turns to
 * it if the end of input comes first.  Any state but JOINING, which nobody looks
 * at while it waits for the router, turns DEAD when input fails or a deadline
 * passes; but half a request gets 408 first, and a silent user a ping. */

enum state { FREE, REQUEST, JOINING, OPEN, CLOSING, DRAINING, LINGERING, DEAD };

#define BIT(state) (1u << (state))

static const unsigned may_follow[] = {          /* the picture, as data */
    [FREE]      = BIT(REQUEST),
    [REQUEST]   = BIT(JOINING) | BIT(CLOSING) | BIT(DEAD),
    [JOINING]   = BIT(OPEN) | BIT(DEAD),
    [OPEN]      = BIT(CLOSING) | BIT(DRAINING) | BIT(DEAD),
    [CLOSING]   = BIT(DRAINING) | BIT(LINGERING) | BIT(DEAD),
    [DRAINING]  = BIT(DEAD),
    [LINGERING] = BIT(DEAD),
    [DEAD]      = BIT(FREE),
};

enum { NONE = -1 };

struct message {
    int64_t from, to;           /* user ids */
    const uint8_t *token;       /* the JSON string, quotes and all */
    size_t len;
};

/* What every look at everyone reads; the buffers are apart. */
struct client {
    int fd;                     /* NONE when closed */
    enum state state;
    bool broken;                /* output failed: only its input still counts */
    bool notices;               /* it asked for the subprotocol of that name */
    int64_t id;                 /* 0: not a user */
    uint8_t *in;                /* inbox: bytes read; NULL while there are none */
    size_t in_used;
    struct message held;        /* parked: the message that waits; its token lies in
                                 * the inbox; a null token: no message waits */
    size_t key_at;              /* JOINING: the handshake's key lies there in the inbox */
    uint8_t *out;               /* outbox: bytes to write; NULL while there are none */
    bool stuck;                 /* the kernel took less than all: POLLOUT will tell */
    size_t out_at, out_used;    /* to be written: out[out_at .. out_at+out_used) */
    int64_t since;              /* when it was accepted, or began to leave */
    int64_t heard;              /* its last sign of life */
    int64_t pinged;             /* when a ping was queued since then; 0: none was */
    int64_t took;               /* when the kernel last took a byte, or when
                                 * somebody began to wait for that */
    int64_t tried;              /* when it was last written to */
    int next_in_bucket;         /* users with the same hash */
    int seat;                   /* its index in seats */
    struct ws_decoder ws;
};

static struct client clients[SLOTS];

/* All slots in three groups: seats[0 .. active) are the active ones (part 9),
 * seats[active .. in_use) the silent ones, the others are free. */
static int seats[SLOTS];
static int active, in_use;
static int capacity;            /* CLIENTS, or less where descriptors are short */

/* The clock of all deadlines, in microseconds.  It moves on by TICK_MS a turn at most,
 * and no look sleeps longer than that.  So it stands still while the server does not
 * run: stopped by ^Z, blocked by ^S on the terminal of its log, held by a debugger. */
#define MS INT64_C(1000)
#define NEVER INT64_MAX

static int64_t now;             /* set once a turn, when poll returns */
static int64_t system_time;     /* what the system's clock said then */
static int64_t keep;            /* option -k; 0: clients may be silent */
static int64_t stop_began;      /* 0: running */
static int64_t last_out;        /* when a byte last went out to anyone */

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void move_clock(void)
{
    struct timespec t;
    int64_t before = system_time;
    clock_gettime(CLOCK_MONOTONIC, &t);
    system_time = (int64_t)t.tv_sec * 1000 * MS + t.tv_nsec / 1000;
    now += earlier(system_time - before, TICK_MS * MS);
}

static int slot_of(const struct client *c)
{
    return (int)(c - clients);
}

/* A user that messages are for: from the moment that our Close is queued or
 * its output has failed, nobody finds it any more. */
static bool is_known(const struct client *c)
{
    return c->state == OPEN && !c->broken;
}

/* Where a message can wait for room, or a client for the router: see part 4.  The
 * slots are places, too: each stands for its user's outbox. */
enum { QUEUE = SLOTS, DOOR, NOWHERE };
enum { ROUTER = SLOTS };        /* it can be parked, as a client can */

static void move_to_seat(struct client *c, int seat)
{
    struct client *other = &clients[seats[seat]];
    seats[c->seat] = seats[seat];
    other->seat = c->seat;
    seats[seat] = slot_of(c);
    c->seat = seat;
}

static void set_active(struct client *c)
{
    if (c->seat >= active)
        move_to_seat(c, active++);
}

/* A byte came, or a client that was full takes bytes again. */
static void note_life(struct client *c)
{
    c->heard = now;
    c->pinged = 0;
    set_active(c);
}

/* ---- 3. The log -----------------------------------------------------------------------
 * One line an event, one write() a line. */

static bool quiet;

static void log_line(const char *format, ...)
{
    char line[LOG_LINE];
    va_list args;
    int n;

    if (quiet)
        return;
    va_start(args, format);
    n = vsnprintf(line, sizeof line - 1, format, args);
    va_end(args);
    if (n < 0)
        return;
    if (n > (int)sizeof line - 2)
        n = (int)sizeof line - 2;
    line[n++] = '\n';
    while (write(STDERR_FILENO, line, (size_t)n) < 0 && errno == EINTR)
        ;
}

/* May this character of UTF-8 be shown?  C0, DEL and C1, which is U+0080 to U+009F,
 * start commands in terminals.  U+202A to U+202E and U+2066 to U+2069 turn around
 * the text that follows. */
static bool is_harmless(const uint8_t *c, size_t size)
{
    switch (size) {
    case 1: return c[0] >= ' ' && c[0] != 0x7F;
    case 2: return c[0] != 0xC2 || c[1] > 0x9F;
    case 3: return !(c[0] == 0xE2 && c[1] == 0x80 && c[2] >= 0xAA && c[2] <= 0xAE)
                && !(c[0] == 0xE2 && c[1] == 0x81 && c[2] >= 0xA6 && c[2] <= 0xA9);
    default: return true;
    }
}

/* Bytes from the network for people to read.  Every byte of a character that may
 * not be shown, and every byte that is not UTF-8, appears as \xNN. */
struct quote {
    char text[LOG_QUOTE + 32];
};

static struct quote quote(const uint8_t *bytes, size_t len)
{
    struct quote q;
    size_t at = 0, n = 0;
    while (at < len) {
        size_t size = ws_utf8_size(bytes, at, len);
        bool shown = size > 0 && is_harmless(bytes + at, size);
        size_t end = at + (size > 0 ? size : 1);
        if (n + (end - at) * (shown ? 1 : 4) > LOG_QUOTE)
            break;
        for (; at < end; at++)
            n += (size_t)sprintf(q.text + n, shown ? "%c" : "\\x%02X", bytes[at]);
    }
    q.text[n] = '\0';
    if (at < len)
        sprintf(q.text + n, "... (%zu bytes)", len);
    return q;
}

/* "user 3", or where it connects from while it is nobody yet. */
struct name {
    char text[INET6_ADDRSTRLEN + 16];
};

static struct name address_of(const struct sockaddr *address, socklen_t len)
{
    char host[INET6_ADDRSTRLEN], port[8];
    struct name n;
    if (getnameinfo(address, len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        strcpy(n.text, "someone");
    else
        sprintf(n.text, address->sa_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
    return n;
}

static struct name peer_of(const struct client *c)
{
    struct sockaddr_storage address = { 0 };
    socklen_t len = sizeof address;
    getpeername(c->fd, (struct sockaddr *)&address, &len);
    return address_of((struct sockaddr *)&address, len);
}

static void log_left(const struct client *c, const char *why)
{
    if (is_known(c))
        log_line("user %" PRId64 " left: %s", c->id, why);
}

/* A buffer is lent to an inbox or an outbox while something is in it, so an idle
 * client needs none.  The one given back last is lent first: the processor's cache
 * still holds it. */
static uint8_t buffers[2 * SLOTS][BUFFER_SIZE];
static uint8_t *lendable[2 * SLOTS];    /* lendable[lent ..] can be lent */
static int lent;

static uint8_t *lend(void)
{
    return lendable[lent++];
}

static void give_back(uint8_t **buffer)
{
    if (*buffer != NULL)
        lendable[--lent] = *buffer;
    *buffer = NULL;
}

static void empty_inbox(struct client *c)
{
    c->in_used = 0;
    give_back(&c->in);
}

static void empty_outbox(struct client *c)
{
    c->out_used = 0;
    give_back(&c->out);
}

/* ---- 4. Outboxes and waiting ------------------------------------------------------------
 */

static size_t room_of(const struct client *c)
{
    return BUFFER_SIZE - c->out_used;
}

/* Where the next bytes for c go, up to `most` of them, which is at most its
 * room.  The caller then adds to out_used. */
static uint8_t *outbox_end(struct client *c, size_t most)
{
    assert(most <= room_of(c));
    if (c->out == NULL) {
        c->out = lend();
        c->out_at = 0;
    }
    if (most > BUFFER_SIZE - c->out_at - c->out_used) {
        memmove(c->out, c->out + c->out_at, c->out_used);
        c->out_at = 0;
    }
    set_active(c);              /* so it is written in this turn */
    return c->out + c->out_at + c->out_used;
}

/* A ping, or a pong, for which there is the reserve. */
static void put_control(struct client *c, enum ws_opcode opcode, const uint8_t *payload, size_t len)
{
    if (!c->broken)
        c->out_used += ws_write_control(outbox_end(c, WS_CONTROL_FRAME), opcode, payload, len);
}

/* The text goes into JSON as it is: nothing that a client sent may be in it. */
static void put_notice(struct client *c, const char *format, ...)
{
    char token[REPLY_MAX - WS_HEADER_MAX - JSON_AROUND];
    uint8_t *out;
    va_list args;
    size_t len;

    if (c->broken)
        return;
    token[0] = '"';
    va_start(args, format);
    vsnprintf(token + 1, sizeof token - 1, format, args);
    va_end(args);
    len = strlen(token);
    token[len++] = '"';         /* over the NUL */
    out = outbox_end(c, REPLY_MAX);
    c->out_used += ws_write_header(out, WS_OP_TEXT, json_size(0, len));
    out = outbox_end(c, REPLY_MAX - WS_HEADER_MAX);
    c->out_used += json_write(out, 0, (const uint8_t *)token, len);
}

static int parked[SLOTS + 1];   /* who waits: clients, and the router, first come first */
static int parked_count;
static int waits_at[SLOTS + 1]; /* the place where each of them waits, or NONE */

static int queue_count;         /* messages in the router's queue */

static bool is_parked(int who)
{
    return waits_at[who] != NONE;
}

static bool has_waiters(int place)
{
    for (int i = 0; i < parked_count; i++)
        if (waits_at[parked[i]] == place)
            return true;
    return false;
}

static bool is_open(int place)
{
    switch (place) {
    case NOWHERE:
        return true;
    case DOOR:
        return !is_parked(ROUTER);
    case QUEUE:
        return queue_count < QUEUE_SIZE;
    default:
        return !is_known(&clients[place]) || clients[place].out_used < FULL;
    }
}

/* A newcomer does not pass those who wait. */
static bool may_enter(int place)
{
    return is_open(place) && !has_waiters(place);
}

static void park(int who, int place)
{
    if (place < SLOTS && !has_waiters(place))
        clients[place].took = now;      /* its time to take a byte begins */
    waits_at[who] = place;
    parked[parked_count++] = who;
}

static void unpark(int who)
{
    int i = 0;
    if (!is_parked(who))
        return;
    while (parked[i] != who)
        i++;
    parked_count--;
    memmove(parked + i, parked + i + 1, (size_t)(parked_count - i) * sizeof *parked);
    waits_at[who] = NONE;
}

/* c can't be reached any more: what was to be sent to it is lost, and `from`
 * bytes that it sent. */
static void log_gone(const struct client *c, const char *why, size_t from)
{
    if (c->id != 0 && c->out_used + from > 0)
        log_line("user %" PRId64 "%s: %s; lost: %zu bytes to it, %zu from it", c->id,
                 is_known(c) ? " left" : "", why, c->out_used, from);
    else
        log_left(c, why);
}

static bool is_leaving(enum state s)
{
    return s == CLOSING || s == DRAINING || s == LINGERING;
}

/* The only place that changes a state. */
static void enter(struct client *c, enum state next)
{
    assert(may_follow[c->state] & BIT(next));
    if (next == REQUEST || (is_leaving(next) && !is_leaving(c->state)))
        c->since = now;
    c->took = now;
    c->state = next;
    if (next != FREE)
        set_active(c);
    if (next == DEAD) {
        unpark(slot_of(c));
        empty_inbox(c);
        empty_outbox(c);
    }
}

/* ---- 5. The two approaches ---------------------------------------------------------------
 *
 * The article's goroutines and channels, in one thread: a user's receiving
 * goroutine is POLLIN and digest(), its sending goroutine and channel are the
 * outbox and POLLOUT, the router's goroutine is router_run(), and to block on
 * a full channel is to be parked. */

enum { BUCKETS = 4096 };        /* a power of two */

static int buckets[BUCKETS];    /* first slot of those with this hash, or NONE */

/* Ids come one after the other, so their low bits spread them evenly. */
static int *bucket_of(int64_t id)
{
    return &buckets[id & (BUCKETS - 1)];
}

static void table_add(struct client *c)
{
    int *bucket = bucket_of(c->id);
    c->next_in_bucket = *bucket;
    *bucket = slot_of(c);
}

static void table_remove(const struct client *c)
{
    int *link = bucket_of(c->id);
    while (*link != slot_of(c))
        link = &clients[*link].next_in_bucket;
    *link = c->next_in_bucket;
}

static struct client *find_user(int64_t id)
{
    int slot = *bucket_of(id);
    while (slot != NONE && clients[slot].id != id)
        slot = clients[slot].next_in_bucket;
    return slot != NONE && is_known(&clients[slot]) ? &clients[slot] : NULL;
}

static void log_message(const struct message *m, const char *what)
{
    if (!quiet)
        log_line("user %" PRId64 " -> user %" PRId64 ": %s%s", m->from, m->to, what,
                 quote(m->token, m->len).text);
}

/* Where the message needs room: at its recipient; if that is not connected, at
 * the sender, if the sender is told so. */
static int place_of(const struct message *m)
{
    const struct client *to = find_user(m->to), *from;
    if (to != NULL)
        return slot_of(to);
    from = find_user(m->from);
    return from != NULL && from->notices ? slot_of(from) : NOWHERE;
}

/* The article logs it; a sender that speaks `notices` is told as well. */
static void undeliverable(const struct message *m)
{
    struct client *from = find_user(m->from);
    if (from != NULL && from->notices)
        put_notice(from, "user %" PRId64 " is not connected", m->to);
    if (!quiet)
        log_line("user %" PRId64 " -> user %" PRId64 ": not delivered: user %" PRId64
                 " is not connected", m->from, m->to, m->to);
}

/* Bytes that the message takes in an outbox, at most. */
static size_t size_of(const struct message *m)
{
    return WS_HEADER_MAX + json_size(m->from, m->len);
}

/* Builds the message in that outbox, where there is room. */
static void put_message(struct client *to, const struct message *m)
{
    uint8_t *out = outbox_end(to, size_of(m));
    size_t header = ws_write_header(out, WS_OP_TEXT, json_size(m->from, m->len));
    to->out_used += header + json_write(out + header, m->from, m->token, m->len);
}

/* The place of the message is open. */
static void deliver(const struct message *m)
{
    struct client *to = find_user(m->to);
    if (to == NULL) {
        undeliverable(m);
        return;
    }
    put_message(to, m);
    log_message(m, "");
}

/* ---- Approach A: the router --------------------------------------------------------------
 * All messages pass through one queue, and router_run() alone takes them out.
 * It waits for the recipient of the first one, and all behind it wait, too. */

static struct queued {
    struct message message;
    uint8_t bytes[MESSAGE];     /* a copy of its token: the sender's inbox moves on */
} queue[QUEUE_SIZE];
static int queue_head;

static int router_place(const struct message *m)
{
    (void)m;
    return QUEUE;
}

static void router_run(void)
{
    while (queue_count > 0 && !is_parked(ROUTER)) {
        const struct message *m = &queue[queue_head].message;
        int place = place_of(m);
        if (!may_enter(place)) {
            park(ROUTER, place);
            log_line("the router waits for room at user %" PRId64, clients[place].id);
            return;
        }
        deliver(m);
        queue_head = (queue_head + 1) % QUEUE_SIZE;
        queue_count--;
    }
}

/* With threads the router would run at any time from here on.  In this one thread it
 * runs at once, so messages stay in the queue only while it waits. */
static void router_send(const struct message *m)
{
    struct queued *q = &queue[(queue_head + queue_count++) % QUEUE_SIZE];
    assert(m->len <= MESSAGE);
    q->message = *m;
    q->message.token = memcpy(q->bytes, m->token, m->len);
    router_run();
}

/* ---- Approach B: the user directory --------------------------------------------------------
 * No queue: whoever read the message finds the recipient and delivers it.  With
 * threads, the table would need the article's RWMutex. */

static int directory_place(const struct message *m)
{
    return place_of(m);
}

static void directory_send(const struct message *m)
{
    deliver(m);
}

static const struct approach {
    const char *name;
    int (*place)(const struct message *);       /* where it needs room */
    void (*send)(const struct message *);       /* puts it there */
} approaches[] = {
    { "directory", directory_place, directory_send },
    { "router", router_place, router_send },
};

static const struct approach *approach;

/* ---- 6. What clients say --------------------------------------------------------------------- */

/* The last thing that c is sent.  What its outbox holds goes out before. */
static void start_close(struct client *c, int code, const char *reason)
{
    if (c->broken) {
        enter(c, DEAD);
        return;
    }
    c->out_used += ws_write_close(outbox_end(c, WS_CONTROL_FRAME), code, reason);
    enter(c, CLOSING);
}

/* Sends the message, or parks its sender: then it stays in the inbox. */
static void send_or_park(struct client *c, const struct message *m)
{
    int place = approach->place(m);
    if (may_enter(place)) {
        approach->send(m);
        return;
    }
    c->held = *m;
    park(slot_of(c), place);
    if (place == QUEUE)
        log_line("user %" PRId64 " waits for the router", m->from);
    else
        log_line("user %" PRId64 " waits for room at user %" PRId64, m->from, clients[place].id);
}

static void chat_message(struct client *c, const uint8_t *buf, const struct ws_event *e)
{
    struct json_message j;
    struct message m;
    if (e->bad != 0) {
        put_notice(c, "not delivered: byte %zu: not UTF-8", e->bad);
    } else if (json_read(buf + e->at, e->len, &j)) {
        m = (struct message){ c->id, j.recipient_id, buf + e->at + j.at, j.len };
        send_or_park(c, &m);
        return;
    } else if (j.wanted == NULL) {
        put_notice(c, "not delivered: byte %zu: ends after byte %zu: a message is one line",
                   j.byte, j.byte - 1);
    } else {
        put_notice(c, "not delivered: byte %zu: %s", j.byte, j.wanted);
    }
    if (!quiet)
        log_line("user %" PRId64 ": bad message: %s", c->id, quote(buf + e->at, e->len).text);
}

static void close_frame(struct client *c, const uint8_t *buf, const struct ws_event *e)
{
    if (e->code == WS_NO_CODE)
        log_left(c, "it sent Close");
    else if (!quiet && is_known(c))
        log_line("user %" PRId64 " left: it sent Close %d %s", c->id, e->code,
                 quote(buf + e->at, e->len).text);
    start_close(c, e->code, "");        /* 5.5.1: typically echoes the code */
}

static void breach(struct client *c, const struct ws_event *e)
{
    char reason[WS_CONTROL_MAX];
    if (e->byte != 0)
        snprintf(reason, sizeof reason, "%s at byte %zu", e->reason, e->byte);
    else
        snprintf(reason, sizeof reason, "%s", e->reason);
    if (is_known(c))
        log_line("user %" PRId64 " left: we sent Close %d: %s", c->id, e->code, reason);
    start_close(c, e->code, reason);
}

/* Handles the next frame.  Returns false if there is none. */
static bool next_frame(struct client *c, uint8_t *buf, size_t len)
{
    struct ws_event e;
    switch (ws_next(&c->ws, buf, len, &e)) {
    case WS_MORE:
        return false;
    case WS_TEXT:
    case WS_BINARY:
        chat_message(c, buf, &e);
        break;
    case WS_PING:               /* 5.5.2 */
        put_control(c, WS_OP_PONG, buf + e.at, e.len);
        break;
    case WS_PONG:               /* that it came was all it had to say */
        break;
    case WS_CLOSE:
        close_frame(c, buf, &e);
        break;
    case WS_BREACH:
        breach(c, &e);
    }
    return true;
}

/* Is there room for whatever the answer to the next frame will be? */
static bool may_be_answered(struct client *c)
{
    if (c->broken || room_of(c) >= RESERVE)
        return true;
    park(slot_of(c), slot_of(c));
    return false;
}

static void respond(struct client *c, int status, const char *body, bool head)
{
    uint8_t *out = outbox_end(c, PAGE_SIZE);
    const char *headers = status == 200 ? "Cache-Control: no-store\r\nVary: Accept\r\n" : "";
    c->out_used += ws_write_response(out, PAGE_SIZE, status, time(NULL), headers, body, head);
    enter(c, CLOSING);
}

static void refuse(struct client *c, const uint8_t *buf, const struct ws_request *r)
{
    char body[2 * LOG_LINE];
    if (r->seen.at == 0 && r->seen.len == 0)
        sprintf(body, "%s\n", r->reason);
    else
        sprintf(body, "%s; it was: %s\n", r->reason, quote(buf + r->seen.at, r->seen.len).text);
    if (!quiet)
        log_line("%s: %d: %.*s", peer_of(c).text, r->status, (int)strlen(body) - 1, body);
    respond(c, r->status, body, r->head);
}

/* The lowest ids of those who are online, in order; returns how many. */
static int lowest_ids(int64_t ids[SHOWN_IDS], int *total)
{
    int n = 0;
    *total = 0;
    for (int i = 0; i < in_use; i++) {
        const struct client *c = &clients[seats[i]];
        int k;
        if (!is_known(c))
            continue;
        ++*total;
        if (n == SHOWN_IDS && c->id > ids[n - 1])
            continue;
        if (n < SHOWN_IDS)
            n++;
        for (k = n - 1; k > 0 && ids[k - 1] > c->id; k--)
            ids[k] = ids[k - 1];
        ids[k] = c->id;
    }
    return n;
}

/* Who is online, as in "3, users 1 2 3". */
static void write_online(char text[ONLINE_SIZE])
{
    int64_t ids[SHOWN_IDS];
    int total, n = lowest_ids(ids, &total);
    size_t len = (size_t)sprintf(text, "%d", total);
    for (int i = 0; i < n; i++)
        len += (size_t)sprintf(text + len, "%s%" PRId64, i == 0 ? ", users " : " ", ids[i]);
    strcpy(text + len, n < total ? " ..." : "");
}

/* The answer to programs.  A browser gets the page. */
static void explain(struct client *c, const uint8_t *buf, const struct ws_request *r)
{
    static const char text[] =
        "This is chat, a WebSocket server: users send each other messages.\n"
        "\n"
        "In a browser, also on a phone, open:\n"
        "  http://%.*s\n"
        "\n"
        "In a terminal, one message a line:\n"
        "  websocat ws://%.*s\n"
        "  {\"recipient_id\":1,\"message\":\"hi\"}\n"
        "\n"
        "With curl 8.20 or newer, likewise:\n"
        "  curl --no-progress-meter -N -T . ws://%.*s\n"
        "\n"
        "The handshake by hand:\n"
        "  curl -i -N --output - --http1.1 -H 'Connection: Upgrade' -H 'Upgrade: websocket' \\\n"
        "    -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' \\\n"
        "    http://%.*s\n"
        "\n"
        "Online: %s\n";
    char body[PAGE_SIZE - 512], online[ONLINE_SIZE];
    int len = r->host.len < 256 ? (int)r->host.len : 256;
    const char *host = (const char *)buf + r->host.at;

    write_online(online);
    sprintf(body, text, len, host, len, host, len, host, len, host, online);
    if (!quiet)
        log_line("%s: 426: a plain request, shown the text", peer_of(c).text);
    respond(c, 426, body, r->head);
}

/* ---- Who is let in ---- */

static struct ws_origin let_in[ORIGINS];        /* option -o */
static int let_in_count;

/* The advice is typed into a shell, and it has to work. */
static bool may_be_named(const uint8_t *origin, size_t len)
{
    static const char safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.:/_-[]";
    struct ws_origin o;
    for (size_t i = 0; i < len; i++)
        if (memchr(safe, origin[i], sizeof safe - 1) == NULL)
            return false;
    return len <= LOG_QUOTE && ws_read_origin(origin, len, &o);
}

static void refuse_origin(struct client *c, const uint8_t *buf, const struct ws_request *r)
{
    const uint8_t *origin = buf + r->origin.at;
    size_t len = r->origin.len;
    bool named = may_be_named(origin, len);
    struct quote page = quote(origin, len);
    struct ws_request refused = { .status = 403, .head = r->head };
    char reason[LOG_LINE];

    snprintf(reason, sizeof reason, "a page of %s may not connect; chat -o '%s' lets %s in",
             len > 0 ? page.text : "no origin", named ? page.text : "*",
             named ? "it" : "all pages");
    refused.reason = reason;
    refuse(c, buf, &refused);
}

/* ---- The page ----
 * What a browser gets: a client for everyone who has no other.  It is one text that
 * needs no other file, of at most 4,095 characters: C99 promises no longer literal.
 * What came from the network enters the page as text, never as HTML. */

static const char page[] =                      /* %s: who is online */
    "<!doctype html>\n"
    "<html lang=en>\n"
    "<title>chat</title>\n"
    "<meta name=viewport content='width=device-width'>\n"
    "<link rel=icon href=data:,>\n"
    "<style>\n"
    "  :root { color-scheme: light dark; font: 1.2em/1.4 system-ui, sans-serif; overflow-wrap: anywhere }\n"
    "  body { max-width: 34em; margin: auto; padding: .5em; scrollbar-color: gray transparent }\n"
    "  h1 { margin: 0; font-size: 1.4em }\n"
    "  p { margin: .4em 0; white-space: pre-wrap }\n"
    "  #log { height: 60vh; overflow: auto; padding: 0 .5em; border: 1px solid gray }\n"
    "  #log p { padding-left: .5em; border-left: .4em solid gray }\n"
    "  #log .received { border-color: limegreen }\n"
    "  #log :is(.sent, .unsent, .lost) { margin-left: 2em; border-color: dodgerblue }\n"
    "  #log :is(.lost, .closed) { border-color: red }\n"
    "  .unsent::after { content: ' (not sent yet)' }\n"
    "  .lost::after { content: ' (perhaps not sent)' }\n"
    "  form { display: flex; flex-wrap: wrap; gap: .5em; margin: .5em 0 }\n"
    "  label { display: flex; align-items: center; gap: .3em }\n"
    "  label + label { flex: 1 13em }\n"
    "  input, button { padding: .3em .5em; font: inherit }\n"
    "  #to { width: 4em }\n"
    "  #text { flex: 1; width: 0 }\n"
    "</style>\n"
    "<h1>You are <output id=me>not connected</output></h1>\n"
    "<p>Online: <span id=online>%s</span></p>\n"
    "<div id=log role=log aria-label=messages tabindex=0></div>\n"
    "<form id=form autocomplete=off>\n"
    "  <label>To user <input id=to type=number min=1 required autofocus></label>\n"
    "  <label>Message <input id=text required></label>\n"
    "  <button id=send disabled>Send</button>\n"
    "  <button id=again type=button hidden>Connect again</button>\n"
    "</form>\n"
    "<script>\n"
    "const at = id => document.getElementById(id), log = at('log');\n"
    "const is_open = () => ws.readyState == WebSocket.OPEN;\n"
    "let ws;\n"
    "function show(kind, text) {\n"
    "  const at_end = log.scrollTop + log.clientHeight > log.scrollHeight - 30;\n"
    "  log.append(Object.assign(document.createElement('p'), { className: kind, textContent: text }));\n"
    "  if (log.childElementCount > 1000) log.firstChild.remove();\n"
    "  if (at_end) log.scrollTop = log.scrollHeight;\n"
    "}\n"
    "function mark_unsent(kind) { log.querySelectorAll('.unsent').forEach(p => { p.className = kind; }); }\n"
    "function become(name) {\n"
    "  document.title = at('me').textContent = name;\n"
    "  at('send').disabled = !is_open();\n"
    "  at('again').hidden = ws.readyState != WebSocket.CLOSED;\n"
    "}\n"
    "function look() {               // who is online? The server has it in this page.\n"
    "  const update = html => { at('online').textContent = html.match(/online>([^<]*)/)[1]; };\n"
    "  if (is_open() && !document.hidden)\n"
    "    fetch('', { headers: { Accept: 'text/html' } }).then(r => r.text()).then(update).catch(() => {});\n"
    "}\n"
    "function connect() {\n"
    "  ws = new WebSocket('ws' + location.origin.slice(4), 'notices');     // http: ws:, https: wss:\n"
    "  become('connecting');\n"
    "  ws.onmessage = event => {\n"
    "    const { sender_id, message } = JSON.parse(event.data);\n"
    "    if (sender_id > 0) return show('received', 'user ' + sender_id + ': ' + message);\n"
    "    show('notice', 'server: ' + message);\n"
    "    if (message.startsWith('you are ')) become(message.slice(8));\n"
    "    look();\n"
    "  };\n"
    "  ws.onclose = event => {\n"
    "    mark_unsent(ws.bufferedAmount > 0 ? 'lost' : 'sent');\n"
    "    show('closed', 'closed: ' + event.code + ' ' + (event.reason || '(no reason given; see the log of the server)'));\n"
    "    become('not connected');\n"
    "    at('online').textContent = '?';\n"
    "  };\n"
    "}\n"
    "at('form').onsubmit = event => {\n"
    "  event.preventDefault();\n"
    "  if (!is_open()) return;\n"
    "  ws.send(JSON.stringify({ recipient_id: Number(at('to').value), message: at('text').value }));\n"
    "  show('unsent', 'to user ' + at('to').value + ': ' + at('text').value);\n"
    "  at('text').value = '';\n"
    "  at('text').focus();\n"
    "};\n"
    "at('again').onclick = () => { connect(); at('text').focus(); };\n"
    "setInterval(() => { if (ws.bufferedAmount == 0) mark_unsent('sent'); }, 200);\n"
    "setInterval(look, 3000);\n"
    "connect();\n"
    "</script>\n";

/* Under a name that is not localhost the WebSocket of the page would be refused, unless
 * -o names its origin: see ws_may_connect. */
static const char page_of_a_name[] =
    "<!doctype html>\n"
    "<html lang=en>\n"
    "<title>chat</title>\n"
    "<meta name=viewport content='width=device-width'>\n"
    "<link rel=icon href=data:,>\n"
    "<style>\n"
    "  :root { color-scheme: light dark; font: 1.2em/1.4 system-ui, sans-serif; overflow-wrap: anywhere }\n"
    "  code { font: 1em monospace }\n"
    "</style>\n"
    "<p>You cannot chat under this name: anybody can make a name point to this server.\n"
    "<p>Open <a href='http://%s/'>http://%s</a> instead,\n"
    "<p>or let pages under this name in: start the server as <code>chat -o '%s'</code>\n";

static struct name own_address_of(const struct client *c)
{
    struct sockaddr_storage address = { 0 };
    socklen_t len = sizeof address;
    getsockname(c->fd, (struct sockaddr *)&address, &len);
    return address_of((struct sockaddr *)&address, len);
}

static void name_address(struct client *c, const uint8_t *buf, const struct ws_request *r)
{
    char body[sizeof page_of_a_name + 2 * LOG_LINE], origin[LOG_QUOTE + 1];
    struct name here = own_address_of(c);

    snprintf(origin, sizeof origin, "http://%.*s", (int)r->host.len, (const char *)buf + r->host.at);
    if (r->host.len > LOG_QUOTE || !may_be_named((const uint8_t *)origin, strlen(origin)))
        strcpy(origin, "*");
    sprintf(body, page_of_a_name, here.text, here.text, origin);
    if (!quiet)
        log_line("%s: 200: a page that says to open http://%s or to start chat -o '%s'",
                 peer_of(c).text, here.text, origin);
    respond(c, 200, body, r->head);
}

/* It is not logged: the page joins next, and asks for itself again to see who is online. */
static void show_page(struct client *c, const uint8_t *buf, const struct ws_request *r)
{
    char body[sizeof page + ONLINE_SIZE], online[ONLINE_SIZE];
    if (!ws_may_open(buf, r, let_in, let_in_count)) {
        name_address(c, buf, r);
        return;
    }
    write_online(online);
    sprintf(body, page, online);
    respond(c, 200, body, r->head);
}

/* ---- Joining ---- */

static int64_t last_id;

/* A user is in the table before its 101 goes out: a message that is sent to it
 * the moment it sees the 101 arrives. */
static void admit(struct client *c)
{
    char accept[WS_ACCEPT_LEN + 1], headers[256];
    uint8_t *out = outbox_end(c, PAGE_SIZE);
    c->id = ++last_id;
    table_add(c);
    enter(c, OPEN);
    ws_accept_key(c->in + c->key_at, accept);
    sprintf(headers, "Sec-WebSocket-Accept: %s\r\nChat-User-Id: %" PRId64 "\r\n%s", accept, c->id,
            c->notices ? "Sec-WebSocket-Protocol: notices\r\n" : "");
    c->out_used += ws_write_response(out, PAGE_SIZE, 101, 0, headers, "", false);
    if (c->notices)
        put_notice(c, "you are user %" PRId64, c->id);
    if (!quiet)
        log_line("user %" PRId64 " joined from %s%s", c->id, peer_of(c).text,
                 c->notices ? ", with notices" : "");
}

static void take_request(struct client *c)
{
    const uint8_t *buf = c->in;
    struct ws_request r;
    if (!ws_parse_request(buf, c->in_used, "notices", &r))
        return;
    if ((r.status == 101 || r.reason == NULL) && !ws_may_connect(buf, &r, let_in, let_in_count)) {
        refuse_origin(c, buf, &r);
    } else if (r.reason != NULL) {
        refuse(c, buf, &r);
    } else if (r.status != 101 && r.html) {
        show_page(c, buf, &r);
    } else if (r.status != 101) {
        explain(c, buf, &r);
    } else {
        enter(c, JOINING);
        c->key_at = r.key.at;
        c->notices = r.offers;
        ws_start(&c->ws, r.size, MESSAGE);
        if (may_enter(DOOR))
            admit(c);
        else
            park(slot_of(c), DOOR);
    }
}

/* Everything that its inbox holds, up to where c has to wait. */
static void digest(struct client *c)
{
    int slot = slot_of(c);
    if (c->state == REQUEST)
        take_request(c);
    while (c->state == OPEN && !is_parked(slot) && may_be_answered(c) && next_frame(c, c->in, c->in_used))
        ;
    if (is_parked(slot) || c->state == REQUEST)
        return;                 /* nothing in the inbox moves */
    c->in_used = c->state == OPEN ? ws_keep(&c->ws, c->in, c->in, c->in_used) : 0;
    if (c->in_used == 0)
        empty_inbox(c);
}

static bool wants_input(const struct client *c);
static void receive(struct client *c);

/* It reads once more if it can: a client whose inbox is used up would lose its
 * share to those that have more in theirs. */
static void go_on(struct client *c)
{
    struct message held = c->held;
    c->held.token = NULL;
    note_life(c);               /* a client that is parked is not silent */
    if (c->state == JOINING)
        admit(c);
    if (held.token != NULL)
        approach->send(&held);
    digest(c);
    if (wants_input(c) && c->state == OPEN)
        receive(c);
}

/* Everybody whose place is open goes on, first come, first served.  A client that
 * is parked again stands at the end, and is reached again. */
static void continue_parked(void)
{
    for (int i = 0; i < parked_count; ) {
        int who = parked[i];
        if (!is_open(waits_at[who])) {
            i++;
            continue;
        }
        unpark(who);
        if (who != ROUTER) {
            go_on(&clients[who]);
        } else {
            router_run();
            i = 0;              /* now the queue and the door are open for the first */
        }
    }
}

static bool is_anyone_ready(void)
{
    for (int i = 0; i < parked_count; i++)
        if (is_open(waits_at[parked[i]]))
            return true;
    return false;
}

/* ---- 7. Leaving --------------------------------------------------------------------------------
 * Clients are marked where the trouble is seen, and removed in one place. */

/* Bytes in the inbox of a parked client: the message that waits or is not whole
 * yet, and what came behind it. */
static size_t waiting_bytes(const struct client *c)
{
    size_t message = c->held.token != NULL || !c->ws.whole ? c->ws.end - c->ws.start : 0;
    return is_parked(slot_of(c)) && c->state == OPEN ? message + c->in_used - c->ws.at : 0;
}

static void drop(struct client *c, const char *why)
{
    log_gone(c, why, waiting_bytes(c));
    enter(c, DEAD);
}

static void output_failed(struct client *c, const char *why)
{
    if (c->state != OPEN) {
        drop(c, why);           /* its input does not count any more */
        return;
    }
    log_gone(c, why, 0);        /* what it sent still counts */
    c->broken = true;
    empty_outbox(c);
}

static void input_ended(struct client *c)
{
    struct ws_request cut = {
        .status = 400, .reason = "the request ended before its empty line",
        .head = ws_is_head(c->in, c->in_used)
    };

    log_left(c, "end of input");
    if (c->state == REQUEST && c->in_used > 0)
        refuse(c, c->in, &cut);
    else if (c->out_used > 0)
        enter(c, DRAINING);
    else
        enter(c, DEAD);
}

static void all_written(struct client *c)
{
    if (c->state == DRAINING)
        enter(c, DEAD);
    if (c->state == CLOSING) {
        /* Closing now, with input unread, would make TCP send a reset, which
         * can overtake what we sent: 7.1.1. */
        shutdown(c->fd, SHUT_WR);
        enter(c, LINGERING);
    }
}

static int64_t silence_deadline(const struct client *c)
{
    if (keep == 0 || is_parked(slot_of(c)))
        return NEVER;
    return (c->pinged != 0 ? c->pinged : c->heard) + keep;
}

/* When c is to be looked after even if nothing comes or goes. */
static int64_t deadline_of(const struct client *c)
{
    switch (c->state) {
    case REQUEST:
        return c->since + HANDSHAKE_MS * MS;
    case OPEN:
        return silence_deadline(c);
    case CLOSING:
    case DRAINING:
    case LINGERING:
        return earlier(c->since + CLOSE_ALL_MS * MS, c->took + CLOSE_MS * MS);
    default:
        return NEVER;
    }
}

static void flush(struct client *c);

/* 5.5.2.  If its outbox is full, the bytes that lie there serve as the ping. */
static void ping(struct client *c)
{
    if (is_open(slot_of(c)))
        put_control(c, WS_OP_PING, (const uint8_t *)"", 0);
    c->pinged = now;
}

/* The deadline of c has passed. */
static void expire(struct client *c)
{
    struct ws_request late = {
        .status = 408, .reason = "no whole request in time",
        .head = ws_is_head(c->in, c->in_used)
    };
    char why[64];

    if (c->out_used > 0)
        flush(c);
    if (deadline_of(c) > now)
        return;
    if (c->state == REQUEST && c->in_used > 0) {
        refuse(c, c->in, &late);
    } else if (c->state == OPEN && c->pinged == 0) {
        ping(c);
    } else {
        if (c->state == OPEN)
            sprintf(why, "silent for %g s", 2 * (double)keep / 1e6);
        else
            sprintf(why, "did not close in time");
        drop(c, why);
    }
}

/* Somebody waits for room in c's outbox.  POLLOUT comes late, on Linux when a third of
 * the kernel's buffer is free: so it is written to without it. */
static void retry(struct client *c)
{
    char why[64];
    flush(c);
    if (is_open(slot_of(c)) || now - c->took < STALL_MS * MS)
        return;
    sprintf(why, "did not read for %g s", STALL_MS / 1e3);
    drop(c, why);
}

static void expire_all(void)
{
    for (int i = 0; i < in_use; i++)
        if (deadline_of(&clients[seats[i]]) <= now)
            expire(&clients[seats[i]]);
    for (int i = 0; i < parked_count; i++) {
        int place = waits_at[parked[i]];
        if (place < SLOTS && !is_open(place) && clients[place].tried + RETRY_MS * MS <= now)
            retry(&clients[place]);
    }
}

static void set_free(struct client *c)
{
    move_to_seat(c, --active);
    move_to_seat(c, --in_use);
    enter(c, FREE);
}

/* A slot is free once nobody waits for it any more, and the router is not stuck. */
static bool may_be_freed(const struct client *c)
{
    return !has_waiters(slot_of(c)) && (c->id == 0 || !is_parked(ROUTER));
}

static void reap(struct client *c)
{
    if (c->fd != NONE)
        close(c->fd);
    c->fd = NONE;
    if (!may_be_freed(c))
        return;
    if (c->id != 0)
        table_remove(c);
    set_free(c);
}

/* ---- 8. Sockets ------------------------------------------------------------------------------------ */

static bool is_blocked(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK || error == EINTR || error == ENOBUFS;
}

static void flush(struct client *c)
{
    ssize_t n = write(c->fd, c->out + c->out_at, c->out_used);
    c->tried = now;
    if (n > 0) {
        c->out_at += (size_t)n;
        c->out_used -= (size_t)n;
        c->took = last_out = now;
        if (c->stuck)
            note_life(c);       /* the kernel has room again: the peer took something */
        c->stuck = c->out_used > 0;
    } else if (is_blocked(errno)) {
        c->stuck = true;
    } else {
        output_failed(c, strerror(errno));
    }
    if (c->out_used == 0) {
        empty_outbox(c);
        all_written(c);
    }
}

/* One write for each outbox a turn, so that many messages share it. */
static void flush_all(void)
{
    for (int i = 0; i < active; i++) {
        struct client *c = &clients[seats[i]];
        if (c->out_used > 0 && !c->stuck)
            flush(c);
    }
}

static bool wants_input(const struct client *c)
{
    return c->state == REQUEST || c->state == CLOSING || c->state == LINGERING
        || (c->state == OPEN && !is_parked(slot_of(c)));
}

static bool wants_output(const struct client *c)
{
    return c->out_used > 0;
}

static void receive(struct client *c)
{
    size_t room = BUFFER_SIZE - c->in_used;
    ssize_t n;
    if (c->in == NULL)
        c->in = lend();
    n = read(c->fd, c->in + c->in_used, room < FULL ? room : FULL);
    if (n > 0) {
        c->in_used += (size_t)n;
        note_life(c);
        digest(c);
    } else if (n == 0) {
        input_ended(c);
    } else if (!is_blocked(errno)) {
        drop(c, strerror(errno));
    }
    if (c->in_used == 0)
        empty_inbox(c);
}

static int listeners[LISTENERS], listener_count;
static int64_t accept_again;    /* no accept() before */

static void set_option(int fd, int level, int name, int value)
{
    setsockopt(fd, level, name, &value, sizeof value);
}

static struct client *seat_client(int fd)
{
    int slot = seats[in_use];
    struct client *c = &clients[slot];
    fcntl(fd, F_SETFL, O_NONBLOCK);
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);        /* a lone message waits for nothing */
    set_option(fd, SOL_SOCKET, SO_SNDBUF, SEND_BUFFER);
    *c = (struct client){ .fd = fd, .seat = in_use++, .heard = now };
    ws_start(&c->ws, 0, MESSAGE);
    enter(c, REQUEST);
    return c;
}

/* May it be closed when all seats are taken? */
static bool is_evictable(const struct client *c)
{
    return c->state == REQUEST || c->state == LINGERING;
}

/* It is read first: a whole request is answered, not cut off. */
static void evict(struct client *c)
{
    size_t before;
    do {
        before = c->in_used;
        if (c->state == REQUEST)
            receive(c);
    } while (c->state == REQUEST && c->in_used > before);
    if (is_evictable(c)) {
        if (c->id == 0 && !quiet)
            log_line("%s: made room for another connection", peer_of(c).text);
        enter(c, DEAD);
    }
    if (c->state == DEAD)
        reap(c);
}

/* Is there a seat for one more?  The oldest connection that has not finished its
 * request, or only lingers, is evicted for it: nobody can keep others out with
 * half-open connections.  If the others alone take all seats, evicting is no use. */
static bool find_seat(void)
{
    while (in_use >= capacity) {
        struct client *oldest = NULL;
        int evictable = 0;
        for (int i = 0; i < active; i++) {      /* such clients are always active */
            struct client *c = &clients[seats[i]];
            if (!is_evictable(c))
                continue;
            evictable++;
            if (oldest == NULL || c->since < oldest->since)
                oldest = c;
        }
        if (in_use - evictable >= capacity)
            return false;
        evict(oldest);
    }
    return true;
}

static void accept_from(int listener)
{
    for (int i = 0; i < ACCEPT_BATCH && in_use < SLOTS; i++) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) {
            if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR || errno == ECONNABORTED)
                return;
            log_line("cannot accept: %s; trying again in %d ms", strerror(errno), ACCEPT_PAUSE_MS);
            accept_again = now + ACCEPT_PAUSE_MS * MS;
            return;
        }
        bool full = !find_seat();
        struct client *c = seat_client(fd);
        if (full) {
            struct ws_request r = { .status = 503, .reason = "all places are taken; try later" };
            refuse(c, NULL, &r);
        }
    }
}

/* ---- 9. Waiting: what poll costs, and how to pay less ------------------------------------------------
 *
 * poll() looks at every descriptor on every call, a third of a microsecond each
 * or more: among 10,000 idle users, each message of two who talk would cost
 * milliseconds.  So there are two looks: at the active clients, and at everyone.
 *
 * Active is a client that was heard, or that took bytes, within the last 2 ms,
 * and every client on its way in or out.  While somebody talks, the server looks
 * at the active ones; at everyone again after 2 us for each client, at most 20 ms.
 * When nothing was heard for 2 ms it looks at everyone, and sleeps there.
 * Deadlines are checked with the look at everyone. */

enum {
    LATELY_MS = 2,
    LOOK_US = 2,                /* for each client, to the next look at everyone */
    LOOK_MAX_MS = 20            /* the same for all of them, at most */
};

/* First the signal pipe, then the listeners, then clients. */
static struct pollfd watched[SLOTS + LISTENERS + 1];
static int watched_slot[SLOTS + LISTENERS + 1];
static int watched_count;

static int signal_pipe[2];
static int64_t last_seen;       /* when poll last found somebody */
static int64_t last_full_look;
static int64_t alarm_at;        /* NEVER: no alarm is set */

static void watch(int fd, int events, int slot)
{
    watched[watched_count] = (struct pollfd){ .fd = fd, .events = (short)events };
    watched_slot[watched_count++] = slot;
}

static void watch_client(int slot)
{
    const struct client *c = &clients[slot];
    int events = (wants_input(c) ? POLLIN : 0) | (wants_output(c) ? POLLOUT : 0);
    if (events != 0)
        watch(c->fd, events, slot);
}

static bool is_active(const struct client *c)
{
    return (c->state != JOINING && c->state != OPEN)
        || now - c->heard < LATELY_MS * MS || now - c->took < LATELY_MS * MS;
}

/* Removes the dead, and moves the silent out of the active group. */
static void tidy(void)
{
    for (int i = active - 1; i >= 0; i--) {
        struct client *c = &clients[seats[i]];
        if (c->state == DEAD)
            reap(c);
        else if (!is_active(c))
            move_to_seat(c, --active);
    }
}

static int64_t end_of_stopping(void)
{
    if (stop_began == 0)
        return NEVER;
    return earlier(stop_began + STOP_MS * MS,
                   (last_out > stop_began ? last_out : stop_began) + STOP_QUIET_MS * MS);
}

/* When there is something to do although nothing comes or goes. */
static int64_t next_deadline(void)
{
    int64_t next = earlier(end_of_stopping(), accept_again > now ? accept_again : NEVER);
    for (int i = 0; i < in_use; i++)
        next = earlier(next, deadline_of(&clients[seats[i]]));
    for (int i = 0; i < parked_count; i++)
        if (waits_at[parked[i]] < SLOTS)
            next = earlier(next, clients[waits_at[parked[i]]].tried + RETRY_MS * MS);
    return next;
}

/* With a timeout, poll sets a timer on each call and removes it on return, which
 * costs a microsecond or two: a tenth of a message of two who talk alone.  So it
 * has none, and an alarm ends it, by a byte in the signal pipe.  An alarm once set
 * stays, although most deadlines move on before it rings: the next one is set when
 * it has rung. */
static void set_alarm(int64_t when)
{
    int64_t us = when > now ? when - now : 1;
    struct itimerval in = { .it_value = { (time_t)(us / 1000000), (suseconds_t)(us % 1000000) } };
    if (when == NEVER || (now < alarm_at && alarm_at <= when))
        return;
    setitimer(ITIMER_REAL, &in, NULL);
    alarm_at = when;
}

/* With a deadline to come, the clock has to tick. */
static int64_t end_of_sleep(void)
{
    int64_t next = next_deadline();
    return next == NEVER ? NEVER : earlier(next, now + TICK_MS * MS);
}

static int64_t next_full_look(void)
{
    return last_full_look + earlier((int64_t)in_use * LOOK_US, LOOK_MAX_MS * MS);
}

/* The only call of poll.  Returns how many descriptors it looked at.
 *
 *                                   looks at      and waits
 *   quiet, or all are active        everyone      until something is due
 *   a look at everyone is due       everyone      not at all
 *   else                            active ones   for 2 ms
 *
 * It waits for nothing if somebody who is parked may go on. */
static int look(void)
{
    bool idle = active == in_use || now - last_seen >= LATELY_MS * MS;
    bool full = idle || now >= next_full_look();
    bool waits = (idle || !full) && !is_anyone_ready();
    int seen;

    watched_count = 0;
    watch(signal_pipe[0], POLLIN, NONE);
    for (int i = 0; i < listener_count; i++) {
        bool may_accept = now >= accept_again && in_use < SLOTS;
        watch(may_accept ? listeners[i] : NONE, POLLIN, NONE);  /* poll skips NONE, it is < 0 */
    }
    for (int i = 0; i < (full ? in_use : active); i++)
        watch_client(seats[i]);
    if (waits)
        set_alarm(full ? end_of_sleep() : now + LATELY_MS * MS);
    seen = poll(watched, (nfds_t)watched_count, waits ? -1 : 0);
    move_clock();
    if (seen > (watched[0].revents != 0 ? 1 : 0))
        last_seen = now;
    if (full && seen >= 0)      /* not cut short by a signal */
        last_full_look = now;
    return watched_count;
}

/* POLLERR and POLLHUP mean "try what you wanted": a write then fails, and a
 * read gives what is still there before it tells. */
static void attend(const struct pollfd *p, int slot)
{
    struct client *c = &clients[slot];
    int got = (p->revents & (POLLERR | POLLHUP)) != 0 ? p->events : p->events & p->revents;
    if (p->revents == 0)
        return;
    if ((got & POLLOUT) && wants_output(c))
        flush(c);               /* whoever waits for it goes on in this turn */
    if ((got & POLLIN) && wants_input(c))
        receive(c);
}

static void attend_all(void)
{
    for (int i = 0; i < watched_count; i++)
        if (watched_slot[i] != NONE)
            attend(&watched[i], watched_slot[i]);
}

/* ---- 10. Starting, stopping, main --------------------------------------------------------------------- */

static volatile sig_atomic_t stop_signals;

/* All that is safe in a signal handler: a byte into a pipe, which poll sees. */
static void on_signal(int number)
{
    int saved = errno;
    char byte = (char)number;
    if (number != SIGALRM && stop_signals++ > 0)
        _exit(1);               /* asked twice */
    if (write(signal_pipe[1], &byte, 1) < 0)
        _exit(1);
    errno = saved;
}

/* What is still queued has found no room in this turn either, and is lost. */
static void empty_queue(void)
{
    unpark(ROUTER);
    for (; queue_count > 0; queue_count--) {
        log_message(&queue[queue_head].message, "lost, the server is stopping: ");
        queue_head = (queue_head + 1) % QUEUE_SIZE;
    }
}

static void say_goodbye(struct client *c)
{
    if (c->state == REQUEST || c->state == JOINING)
        enter(c, DEAD);
    if (c->state != OPEN)
        return;
    log_left(c, "the server is stopping");
    if (is_parked(slot_of(c)))
        log_line("user %" PRId64 ": %zu bytes from it that waited are lost", c->id, waiting_bytes(c));
    unpark(slot_of(c));
    start_close(c, WS_GOING_AWAY, "the server is stopping");
}

static void stop(int number)
{
    log_line("stopping on signal %d", number);
    stop_began = now;
    while (listener_count > 0)
        close(listeners[--listener_count]);
    empty_queue();
    for (int i = 0; i < in_use; i++)
        say_goodbye(&clients[seats[i]]);
}

static void obey_signal(void)
{
    char number;
    if (read(signal_pipe[0], &number, 1) != 1)
        return;
    if (number == SIGALRM)
        alarm_at = NEVER;       /* it rang; poll has returned, and that was all */
    else
        stop(number);
}

static void turn(void)
{
    look();
    attend_all();
    continue_parked();
    if (last_full_look == now)
        expire_all();
    if (watched[0].revents != 0)
        obey_signal();
    flush_all();
    tidy();
    for (int i = 0; i < listener_count; i++)
        if (watched[1 + i].revents != 0)
            accept_from(listeners[i]);
}

static bool is_over(void)
{
    return stop_began != 0 && (in_use == 0 || now >= end_of_stopping());
}

static void die(const char *format, ...)
{
    va_list args;
    fputs("chat: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

static void catch_signals(void)
{
    struct sigaction tell = { .sa_handler = on_signal };
    struct sigaction ignore = { .sa_handler = SIG_IGN };
    if (pipe(signal_pipe) < 0)
        die("cannot make a pipe: %s", strerror(errno));
    sigaction(SIGINT, &tell, NULL);
    sigaction(SIGTERM, &tell, NULL);
    sigaction(SIGALRM, &tell, NULL);
    sigaction(SIGPIPE, &ignore, NULL);  /* a write to who is gone is an error like others */
}

/* Each client needs a descriptor: raises the limit, or else shortens the table. */
static void reserve_descriptors(void)
{
    struct rlimit limit;
    rlim_t others = (rlim_t)signal_pipe[1] + 1 + LISTENERS;
    rlim_t needed = others + SLOTS;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= needed)
        return;
    limit.rlim_cur = limit.rlim_max < needed ? limit.rlim_max : needed;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur >= needed)
        return;
    if (limit.rlim_cur <= others + SPARE)
        die("a limit of %ju descriptors is too low; raise it: ulimit -n", (uintmax_t)limit.rlim_cur);
    capacity = (int)(limit.rlim_cur - others - SPARE);
    fprintf(stderr, "chat: room for %d clients, not %d: the descriptor limit is %ju (ulimit -n)\n",
            capacity, CLIENTS, (uintmax_t)limit.rlim_cur);
}

static bool is_listening_on(const struct addrinfo *a)
{
    for (int i = 0; i < listener_count; i++) {
        struct sockaddr_storage other = { 0 };
        socklen_t len = sizeof other;
        if (getsockname(listeners[i], (struct sockaddr *)&other, &len) == 0
            && len == a->ai_addrlen && memcmp(&other, a->ai_addr, len) == 0)
            return true;
    }
    return false;
}

/* Returns false with errno set. */
static bool listen_on(const struct addrinfo *a)
{
    int fd = socket(a->ai_family, SOCK_STREAM, 0);
    int saved;
    if (fd < 0)
        return false;
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);        /* a restart need not wait */
    if (a->ai_family == AF_INET6)
        set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);   /* IPv4 has its own socket */
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0
        && fcntl(fd, F_SETFL, O_NONBLOCK) == 0) {
        listeners[listener_count++] = fd;
        return true;
    }
    saved = errno;
    close(fd);
    errno = saved;
    return false;
}

static in_port_t *port_of(struct sockaddr *address)
{
    return address->sa_family == AF_INET6 ? &((struct sockaddr_in6 *)address)->sin6_port
                                          : &((struct sockaddr_in *)address)->sin_port;
}

static in_port_t port_listened_on(int fd)
{
    struct sockaddr_storage address = { 0 };
    socklen_t len = sizeof address;
    getsockname(fd, (struct sockaddr *)&address, &len);
    return *port_of((struct sockaddr *)&address);
}

/* With port 0 the first address gets a free port, and the others the same one.
 * Returns the address that failed, errno set, or NULL.  What this machine does
 * not have, as ::1 may be, is no failure while there is another. */
static struct addrinfo *listen_on_all(struct addrinfo *list)
{
    struct addrinfo *missing = NULL;
    int reason = 0;
    for (struct addrinfo *a = list; a != NULL && listener_count < LISTENERS; a = a->ai_next) {
        if (*port_of(a->ai_addr) == 0 && listener_count > 0)
            *port_of(a->ai_addr) = port_listened_on(listeners[0]);
        if (is_listening_on(a) || listen_on(a))
            continue;
        if (errno != EADDRNOTAVAIL && errno != EAFNOSUPPORT)
            return a;
        missing = a;
        reason = errno;
    }
    errno = reason;
    return listener_count == 0 ? missing : NULL;
}

static void say_where(void)
{
    char line[LOG_LINE] = "chat: listening on";
    size_t len = strlen(line);
    for (int i = 0; i < listener_count; i++) {
        struct sockaddr_storage address = { 0 };
        socklen_t size = sizeof address;
        getsockname(listeners[i], (struct sockaddr *)&address, &size);
        len += (size_t)sprintf(line + len, "%s%s", i == 0 ? " " : " and ",
                               address_of((struct sockaddr *)&address, size).text);
    }
    puts(line);
    fflush(stdout);
}

static void listen_or_die(const char *address, const char *port)
{
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
    struct addrinfo *list, *failed;
    int error = getaddrinfo(address, port, &hints, &list);
    struct name name;

    if (error != 0)
        die("cannot listen on %s: %s", address, gai_strerror(error));
    for (int tries = 0; (failed = listen_on_all(list)) != NULL; tries++) {
        error = errno;
        name = address_of(failed->ai_addr, failed->ai_addrlen);
        if (error == EADDRINUSE && strcmp(port, "0") != 0)
            die("cannot listen on %s: address already in use; try -p %ld", name.text,
                strtol(port, NULL, 10) % 65535 + 1);
        if (error != EADDRINUSE || tries == 10)
            die("cannot listen on %s: %s", name.text, strerror(error));
        while (listener_count > 0)      /* that port was free only once: another one */
            close(listeners[--listener_count]);
        for (struct addrinfo *a = list; a != NULL; a = a->ai_next)
            *port_of(a->ai_addr) = 0;
    }
    freeaddrinfo(list);
}

static void usage(FILE *to)
{
    fprintf(to,
            "usage: chat [-a directory|router] [-l ADDRESS] [-p PORT] [-o ORIGIN]...\n"
            "            [-k SECONDS] [-q] [-h] [-V]\n"
            "A WebSocket chat server: ws://localhost:8080, one JSON message a line:\n"
            "  {\"recipient_id\":2,\"message\":\"Go Braves!\"}\n"
            "\n"
            "  -a APPROACH  directory: senders deliver messages themselves (default)\n"
            "               router: all messages pass through one queue\n"
            "  -l ADDRESS   listen there; 0.0.0.0 for all of IPv4 (default: localhost)\n"
            "  -p PORT      0 takes a free one (default: 8080)\n"
            "  -o ORIGIN    let in web pages of one more origin: http://example.org:8000,\n"
            "               null for pages opened from files, '*' for all; up to %d of them\n"
            "  -k SECONDS   ping after this long a silence, and hang up after as long\n"
            "               again; 0: never (default: %d)\n"
            "  -q           no log\n"
            "  -h, -V       this text; the version\n"
            "\n"
            "Compiled for %d clients and messages of %d bytes (README: Limits).\n",
            ORIGINS, DEFAULT_KEEP_S, CLIENTS, MESSAGE);
}

static void wrong_usage(const char *what, const char *value)
{
    fprintf(stderr, "chat: %s: %s\n", what, value);
    usage(stderr);
    exit(2);
}

static long number(const char *text, long most, const char *what)
{
    char *end;
    long n = strtol(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || n > most)
        wrong_usage(what, text);
    return n;
}

static void choose_approach(const char *name)
{
    size_t count = sizeof approaches / sizeof *approaches;
    for (size_t i = 0; i < count; i++)
        if (strcmp(approaches[i].name, name) == 0) {
            approach = &approaches[i];
            return;
        }
    wrong_usage("-a takes directory or router", name);
}

static void choose_origin(const char *origin)
{
    if (let_in_count == ORIGINS)
        wrong_usage("-o is given too often, 8 times are possible", origin);
    if (!ws_read_origin((const uint8_t *)origin, strlen(origin), &let_in[let_in_count++]))
        wrong_usage("-o takes SCHEME://HOST[:PORT] without a path, null, or '*'", origin);
}

static void read_options(int argc, char **argv, const char **address, const char **port)
{
    int option;
    while ((option = getopt(argc, argv, "a:l:p:o:k:qhV")) != -1) {
        switch (option) {
        case 'a': choose_approach(optarg); break;
        case 'l': *address = optarg; break;
        case 'p': number(optarg, 65535, "-p takes a port, 0 to 65535"); *port = optarg; break;
        case 'o': choose_origin(optarg); break;
        case 'k': keep = number(optarg, 1000000, "-k takes seconds") * 1000 * MS; break;
        case 'q': quiet = true; break;
        case 'h': usage(stdout); exit(0);
        case 'V': puts("chat 1.0"); exit(0);
        default: usage(stderr); exit(2);
        }
    }
    if (optind < argc)
        wrong_usage("options only", argv[optind]);
}

/* Sets every variable of the program to its first state, the options included.
 * (The buffers keep their bytes: nothing reads them before it has written them.) */
static void first_state(void)
{
    memset(clients, 0, sizeof clients);
    for (int i = 0; i < SLOTS; i++)
        seats[i] = i;
    for (int i = 0; i < 2 * SLOTS; i++)
        lendable[i] = buffers[i];
    for (int i = 0; i < BUCKETS; i++)
        buckets[i] = NONE;
    for (int i = 0; i <= ROUTER; i++)
        waits_at[i] = NONE;
    approach = &approaches[0];
    let_in_count = 0;
    quiet = false;
    capacity = CLIENTS;
    keep = DEFAULT_KEEP_S * 1000 * MS;
    active = in_use = lent = parked_count = queue_count = queue_head = 0;
    now = system_time = stop_began = last_out = last_id = accept_again = 0;
    last_seen = last_full_look = 0;
    alarm_at = NEVER;
    listener_count = watched_count = 0;
    signal_pipe[0] = signal_pipe[1] = NONE;
    stop_signals = 0;
}

int main(int argc, char **argv)
{
    const char *address = "localhost", *port = "8080";
    first_state();
    read_options(argc, argv, &address, &port);
    catch_signals();
    listen_or_die(address, port);
    reserve_descriptors();
    say_where();
    move_clock();
    while (!is_over())
        turn();
    for (int i = 0; i < in_use; i++)
        log_gone(&clients[seats[i]], "the server stopped", 0);
    return 0;
}
