/* chat.c -- a WebSocket chat server: who is connected, who gets what, and when.
 *
 * One thread, one poll().  No read or write waits for a client.  A client whose message
 * finds no room is parked: its socket is not read until there is room, so TCP slows it down.
 * All memory is in the arrays below.
 *
 * How to read it: main and turn, at the end, are the table of contents.  Then follow
 * one message: start at receive, in part 8, and look up each function that it calls.
 * Part 12 makes poll and the buffers cheap: leave it out at first.  "5.5.2:" means RFC
 * 6455 section 5.5.2.
 *
 *    1  limits                     8  sockets
 *    2  clients and their states   9  requests: who joins, HTTP answers
 *    3  the log                   10  leaving
 *    4  outboxes                  11  poll
 *    5  places, and waiting       12  what only saves time and memory
 *    6  the two approaches        13  newcomers, starting, stopping, main
 *    7  what a message does
 *
 * A connection is a client.  It has a slot, an index into the arrays.  A client that
 * has joined is a user.  It has an id, which is never reused. */

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
 * Set the first two with make: make CLIENTS=10000 MESSAGE=4096.  Set the times with
 * make CFLAGS='-O3 -DSTALL_MS=1000'. */

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
#define CLOSE_MS 5000           /* a leaving client has this long to take a byte */
#endif
#ifndef CLOSE_ALL_MS
#define CLOSE_ALL_MS 10000      /* and this long in all */
#endif
#ifndef STALL_MS
#define STALL_MS 10000          /* a recipient has this long to take a byte, if a sender waits */
#endif

enum {
    SPARE = 16,                 /* slots beyond CLIENTS, only to answer 503 */
    SLOTS = CLIENTS + SPARE,
    QUEUE_SIZE = 10,            /* messages, as many as in the article (see README.md) */
    DEFAULT_KEEP_S = 30,        /* silence before a ping, and after it: option -k */
    STOP_MS = 2000,             /* from the signal to the end, at most */
    STOP_QUIET_MS = 1000,       /* but sooner if no peer takes a byte for this long */
    TICK_MS = 500,              /* `now` (part 2) moves on by this in one turn, at most */
    RETRY_MS = 100,             /* a full outbox is tried again after this, if a sender waits */
    PAUSE_MS = 100,             /* a pause after accept or poll failed for lack of memory */
    CONTINUE_BATCH = 10000,     /* parked clients that continue in a turn, at most */
    SEND_BUFFER = 128 * 1024,   /* bytes in the kernel.  The default is megabytes, which take
                                 * long to fill if a peer does not read */
    LISTENERS = 16,             /* sockets to listen on; a name can have several addresses */
    REPEATS = 8,                /* of option -l, and of option -o */
    SHOWN_IDS = 100,            /* in the answers to a plain GET */
    ONLINE_SIZE = 32 + SHOWN_IDS * 20,  /* bytes of the line with these ids */
    PAGE_SIZE = 8192,           /* bytes of our largest HTTP answer, at most */
    LOG_LINE = 512,             /* bytes */
    LOG_QUOTE = 120             /* bytes that the log shows of a message */
};

/* A frame may need an answer: a pong or a notice.  So a frame is decoded only while
 * RESERVE bytes are free in its sender's own outbox.  That is room for one answer, and
 * for one close frame behind it.  Messages from others never use these bytes. */
enum {
    REPLY_MAX = 256,
    RESERVE = REPLY_MAX + WS_CONTROL_FRAME
};

/* FULL is a number of bytes: the largest message or request, plus a control frame.
 * Unfinished input in an inbox takes at most FULL bytes.  An outbox that holds FULL bytes
 * is full.  A buffer is about twice as large:
 *   - An outbox that is not full has room for one more message of any size, and for the
 *     reserve.
 *   - An inbox with an unfinished message has room for one read, of FULL bytes. */
#define FULL ((MESSAGE > WS_HEAD_MAX ? MESSAGE : WS_HEAD_MAX) + WS_PENDING_MAX)
#define BUFFER_SIZE (2 * FULL + WS_HEADER_MAX + JSON_AROUND + RESERVE)

/* If one of these rules is broken, an array has a negative size, and nothing compiles. */
typedef char buffers_of_more_than_1_GiB_choose_smaller_CLIENTS_or_MESSAGE
    [(uint64_t)SLOTS * 2 * BUFFER_SIZE <= UINT64_C(1) << 30 ? 1 : -1];
typedef char a_page_fits_a_buffer[PAGE_SIZE <= BUFFER_SIZE ? 1 : -1];
typedef char a_pong_fits_the_reserve[(int)REPLY_MAX >= (int)WS_CONTROL_FRAME ? 1 : -1];
typedef char CLIENTS_and_MESSAGE_are_at_least_1 [CLIENTS >= 1 && MESSAGE >= 1 ? 1 : -1];

/* ---- 2. Clients and their states -----------------------------------------------------
 *
 *          accept()       whole request      101 queued
 *   FREE ----------> REQUEST ------> JOINING -------> OPEN
 *    ^                  |                              |  end of input, or
 *    |         response |         our Close is queued  |  Close from the client
 *    |           queued v                              |----------------.
 *    |               CLOSING <-------------------------'                v
 *    |                  |                                            DRAINING
 *    |                  | all written, shutdown()                       | all written
 *    |                  v                                               |
 *    |              LINGERING ------------- end of input ---------------+---> DEAD
 *    |                                                                         |
 *    '------------------- remove_client(), the only close() of a client -------'
 *
 * If the input of an OPEN client ends while its outbox is empty, it goes to DEAD at once.  If
 * the input of a CLOSING client ends before all is written, it goes to DRAINING.  When the
 * server stops, a JOINING client goes to CLOSING.  Other ways to DEAD are a failed read, a
 * deadline, and an eviction: the server closes an unfinished or lingering connection to
 * make room for another one.  If a write to an OPEN client fails, it stays OPEN: the server
 * still reads from it, but writes nothing to it.  In other states, a failed write leads to
 * DEAD.  At two of the deadlines, the server sends something first: 408 after half a
 * request, a ping to a silent user. */

enum state { FREE, REQUEST, JOINING, OPEN, CLOSING, DRAINING, LINGERING, DEAD };

#define BIT(state) (1u << (state))

static const unsigned may_follow[] = {          /* the picture and its text, as data */
    [FREE]      = BIT(REQUEST),
    [REQUEST]   = BIT(JOINING) | BIT(CLOSING) | BIT(DEAD),
    [JOINING]   = BIT(OPEN) | BIT(CLOSING) | BIT(DEAD),
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
    int waited_at;              /* where it waited last: a place of part 5, or NONE */
};

union address {                 /* of a peer, or our own */
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

struct client {
    int fd;                     /* NONE when closed */
    enum state state;
    bool broken;                /* a write to it failed: the server only reads from it */
    bool notices;               /* it asked for the subprotocol of that name */
    int64_t id;                 /* 0: not a user */
    int next_in_bucket;         /* the next user with the same hash: a slot, or NONE */

    uint8_t *in;                /* inbox: bytes read; NULL while there are none */
    size_t in_used;
    struct ws_decoder ws;       /* how far the inbox is decoded */
    size_t key_at;              /* JOINING: its key lies in the inbox from here */
    struct message held;        /* parked: the message that waits.  Its token lies in the
                                 * inbox; a null token: no message waits */

    uint8_t *out;               /* outbox: bytes to write; NULL while there are none */
    size_t out_at, out_used;    /* the bytes are out[out_at .. out_at+out_used) */
    bool stuck;                 /* the kernel took less than all: flush_all leaves it out */

    int64_t since;              /* when it was accepted, or began to leave */
    int64_t heard;              /* its last sign of life */
    int64_t pinged;             /* the last ping(), if it came after `heard`; if not: 0 */
    int64_t took;               /* when the kernel last took a byte from the outbox.  Also set when
                                 * the state changes, and when a sender begins to wait alone */
    int64_t tried;              /* when a write was last tried */

    int seat;                   /* its index in seats */
    union address address;
};

static struct client clients[SLOTS];

static int seats[SLOTS];        /* all slots, in any order: seats[0 .. in_use) are in use */
static int in_use;
static int active;              /* part 12: seats[0 .. active) may have something to do */

/* Part 12 defines these three, which only save time and memory. */
static uint8_t *lend(void);                     /* returns a buffer of BUFFER_SIZE bytes */
static void give_back(uint8_t **buffer);        /* and sets it to NULL */
static void set_active(struct client *c);       /* poll c in every turn for a while */

/* The clock of all deadlines, in microseconds.  It moves on by TICK_MS a turn at most,
 * and poll sleeps no longer than that while there is a deadline.  So any pause of the server
 * (^Z, ^S on its terminal, a debugger) counts as TICK_MS at most. */
#define MS INT64_C(1000)
#define NEVER INT64_MAX

static int64_t now;             /* set once a turn, when poll returns */
static int64_t system_time;     /* what the system's clock said then */
static int64_t keep;            /* option -k; 0: clients may be silent */
static int64_t stop_began;      /* 0: running */

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

/* c, and the client in that seat, swap seats. */
static void move_to_seat(struct client *c, int seat)
{
    struct client *other = &clients[seats[seat]];
    seats[c->seat] = seats[seat];
    other->seat = c->seat;
    seats[seat] = slot_of(c);
    c->seat = seat;
}

/* Is c a user that messages can reach?  Not after its end of input, not once a Close is
 * queued, and not after a failed write. */
static bool is_reachable(const struct client *c)
{
    return c->state == OPEN && !c->broken;
}

/* c is alive: a byte came, a full kernel buffer takes bytes again, or c was unparked. */
static void note_life(struct client *c)
{
    c->heard = now;
    c->pinged = 0;
    set_active(c);
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

/* ---- 3. The log -----------------------------------------------------------------------
 * Each event is one line, and each line is one write().  A line that begins with "! " tells
 * of something that the server refuses: a request, a connection, a message or a frame.  If
 * the terminal or pipe takes no bytes, the server waits.  It waits even if another program
 * has made the terminal or pipe non-blocking. */

static bool quiet;

static void log_line(const char *format, ...)
{
    struct pollfd room = { .fd = STDERR_FILENO, .events = POLLOUT };
    char line[LOG_LINE];
    size_t len;
    va_list args;

    if (quiet)
        return;
    va_start(args, format);
    vsnprintf(line, sizeof line - 1, format, args);
    va_end(args);
    len = strlen(line);
    line[len++] = '\n';
    for (size_t at = 0; at < len; ) {   /* a signal can cut a write short */
        ssize_t written = write(STDERR_FILENO, line + at, len - at);
        if (written > 0)
            at += (size_t)written;
        else if (written < 0 && errno == EAGAIN)
            poll(&room, 1, -1);
        else if (written == 0 || errno != EINTR)
            return;
    }
}

/* May this character of UTF-8 be shown?  Control characters start commands in terminals:
 * U+0000 to U+001F, and U+007F to U+009F.  U+061C, U+200E, U+200F, U+202A to U+202E and U+2066
 * to U+2069 turn around the text that follows. */
static bool is_harmless(const uint8_t *c, size_t size)
{
    switch (size) {
    case 1: return c[0] >= ' ' && c[0] != 0x7F;
    case 2: return !(c[0] == 0xC2 && c[1] <= 0x9F) && !(c[0] == 0xD8 && c[1] == 0x9C);
    case 3: return !(c[0] == 0xE2 && c[1] == 0x80 && c[2] >= 0xAA && c[2] <= 0xAE)
                && !(c[0] == 0xE2 && c[1] == 0x80 && (c[2] == 0x8E || c[2] == 0x8F))
                && !(c[0] == 0xE2 && c[1] == 0x81 && c[2] >= 0xA6 && c[2] <= 0xA9);
    default: return true;
    }
}

/* Makes bytes from the network readable for people.  Every byte of a character that may
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

struct name {
    char text[INET6_ADDRSTRLEN + 16];
};

static bool is_v6(const union address *a)
{
    return a->any.sa_family == AF_INET6;
}

static socklen_t size_of(const union address *a)
{
    return is_v6(a) ? sizeof a->v6 : sizeof a->v4;
}

/* An address and port, as in 127.0.0.1:8080 or [::1]:8080. */
static struct name name_of(const union address *a)
{
    char host[INET6_ADDRSTRLEN], port[8];
    struct name n;
    if (getnameinfo(&a->any, size_of(a), host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        strcpy(n.text, "an unknown address");
    else
        sprintf(n.text, is_v6(a) ? "[%s]:%s" : "%s:%s", host, port);
    return n;
}

static void log_left(const struct client *c, const char *why)
{
    if (is_reachable(c))
        log_line("user %" PRId64 " left: %s", c->id, why);
}

/* Logs that c can't be reached any more, and how many bytes are lost: those in its outbox, and
 * `sent` bytes that came from it. */
static void log_gone(const struct client *c, const char *why, size_t sent)
{
    if (c->id != 0 && c->out_used + sent > 0)
        log_line("user %" PRId64 "%s: %s; lost: %zu bytes to it, %zu from it", c->id,
                 is_reachable(c) ? " left" : "", why, c->out_used, sent);
    else
        log_left(c, why);
}

/* ---- 4. Outboxes ------------------------------------------------------------------------ */

static size_t room_of(const struct client *c)
{
    return BUFFER_SIZE - c->out_used;
}

/* Returns where the next bytes for c go.  There must be room for `most` bytes.  The caller
 * then adds to out_used. */
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
    set_active(c);              /* so flush_all finds it */
    return c->out + c->out_at + c->out_used;
}

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
    size_t len, header;

    if (c->broken)
        return;
    token[0] = '"';
    va_start(args, format);
    vsnprintf(token + 1, sizeof token - 1, format, args);
    va_end(args);
    len = strlen(token);
    token[len++] = '"';         /* over the NUL */
    out = outbox_end(c, REPLY_MAX);
    header = ws_write_header(out, WS_OP_TEXT, json_size(0, len));
    c->out_used += header + json_write(out + header, 0, (const uint8_t *)token, len);
}

/* ---- 5. Places, and waiting ---------------------------------------------------------------
 *
 * A place is where a client, or the router, can wait.  There are three kinds: each user's outbox
 * and the router's queue, where it waits for room, and the door, where newcomers wait while the
 * router is parked.
 *
 *   1. A place is open or full, whatever the size of the message.
 *   2. A sender is parked if the place for its message is full, or if the message is new and
 *      others wait there.  Its socket is not read, and its message stays in its inbox.
 *   3. In every turn, the parked clients whose places are open continue, first come, first
 *      served.  Nobody has to wake them, so no wake-up can be lost.
 *   4. The outbox of a user that has left is open.  So its senders continue, and the log
 *      says that their messages were not delivered.
 *   5. A client is also parked at its own outbox if this outbox has less than RESERVE bytes free,
 *      the room for the server's answers.
 *
 *   parked[]   user 1         user 4         user 1 came first
 *              holds a        holds a
 *              message        message
 *                 :              :
 *   outbox of     v              v
 *   user 2     +-------------------------+------------------------------+---------+
 *              | bytes to write          | one more message of any size | reserve |
 *              +-------------------------+------------------------------+---------+
 *              0                       FULL                           BUFFER_SIZE
 *
 *   write():   the kernel takes bytes, and less than FULL remain: the outbox is open.
 *              user 1 continues.  If its message makes the outbox full again, user 4 goes
 *              on waiting.  If not, user 4 continues, too. */

enum { QUEUE = SLOTS, DOOR, PLACES };   /* places; a slot stands for its user's outbox */
enum { ROUTER = SLOTS };                /* the router's number in parked[] and waits_at[] */

static int parked[SLOTS + 1];           /* the clients, and the router, in order of arrival */
static int parked_count;
static int waits_at[SLOTS + 1];         /* the place where each of them waits, or NONE */
static int waiters[PLACES];             /* how many wait at each place */

static int queue_count;                 /* messages in the router's queue */

static bool is_parked(int who)
{
    return waits_at[who] != NONE;
}

static bool is_open(int place)
{
    if (place == DOOR)
        return !is_parked(ROUTER);
    if (place == QUEUE)
        return queue_count < QUEUE_SIZE;
    return !is_reachable(&clients[place]) || clients[place].out_used < FULL;
}

/* A message waits if the place is full.  A new message also waits if others wait at the
 * place.  A message that has already waited at this place needs only room. */
static bool must_wait(const struct message *m, int place)
{
    return !is_open(place) || (waiters[place] > 0 && m->waited_at != place);
}

static void park(int who, int place)
{
    if (place < SLOTS && waiters[place] == 0)
        clients[place].took = now;      /* from now on it has STALL_MS to take a byte */
    waits_at[who] = place;
    waiters[place]++;
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
    waiters[waits_at[who]]--;
    waits_at[who] = NONE;
}

static bool is_leaving(enum state s)
{
    return s == CLOSING || s == DRAINING || s == LINGERING;
}

/* The only function that changes a state. */
static void enter(struct client *c, enum state next)
{
    assert(may_follow[c->state] & BIT(next));
    (void)may_follow;           /* with NDEBUG, nothing else uses it */
    if (next == REQUEST || (is_leaving(next) && !is_leaving(c->state)))
        c->since = now;
    c->took = now;
    c->state = next;
    if (next == DEAD) {
        unpark(slot_of(c));
        empty_inbox(c);
        empty_outbox(c);
    }
    if (next != FREE)
        set_active(c);
}

/* ---- 6. The two approaches ---------------------------------------------------------------
 *
 * What became of the article's parts, in one thread:
 *
 *   receiving goroutine of a user          POLLIN and handle_inbox()
 *   sending goroutine of a user            POLLOUT and flush()
 *   outgoing channel of a user             its outbox
 *   goroutine and channel of the router    router_run() and queue[]
 *   to block on a full channel             to be parked
 *   the directory's lock                   nothing: no other thread runs */

enum { BUCKETS = 4096 };        /* a power of two */

static int buckets[BUCKETS];    /* the first slot with this hash, or NONE */

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
    return slot != NONE && is_reachable(&clients[slot]) ? &clients[slot] : NULL;
}

static void log_message(const struct message *m, const char *mark, const char *what)
{
    if (!quiet)
        log_line("%suser %" PRId64 " -> user %" PRId64 ": %s%s", mark, m->from, m->to, what,
                 quote(m->token, m->len).text);
}

static void put_message(struct client *to, const struct message *m)
{
    uint8_t *out = outbox_end(to, WS_HEADER_MAX + json_size(m->from, m->len));
    size_t header = ws_write_header(out, WS_OP_TEXT, json_size(m->from, m->len));
    to->out_used += header + json_write(out + header, m->from, m->token, m->len);
}

/* Logs that the recipient is absent, and tells the sender if it speaks `notices`.  Returns
 * NONE.  But if the sender's outbox has no room for the notice, nothing happens yet, and the
 * outbox is returned as the place to wait at. */
static int report_absent(const struct message *m)
{
    struct client *from = find_user(m->from);
    bool is_told = from != NULL && from->notices;
    if (is_told && must_wait(m, slot_of(from)))
        return slot_of(from);
    if (is_told)
        put_notice(from, "user %" PRId64 " is not connected", m->to);
    if (!quiet)
        log_line("! user %" PRId64 " -> user %" PRId64 ": not delivered: user %" PRId64
                 " is not connected", m->from, m->to, m->to);
    return NONE;
}

/* Delivers the message, or reports that its recipient is absent, and returns NONE.  If the
 * message must wait, it does nothing and returns the place to wait at: the outbox of its
 * recipient, or of its sender. */
static int deliver(const struct message *m)
{
    struct client *to = find_user(m->to);
    if (to == NULL)
        return report_absent(m);
    if (must_wait(m, slot_of(to)))
        return slot_of(to);
    put_message(to, m);
    log_message(m, "", "");
    return NONE;
}

/* ---- Approach A: the router --------------------------------------------------------------
 * All messages pass through one queue, and router_run() takes them out.  If there is no
 * room for the first one, the router is parked, and all messages behind it wait, too. */

static struct queued {
    struct message message;
    uint8_t bytes[MESSAGE];     /* a copy of its token: the sender's inbox moves on */
} queue[QUEUE_SIZE];
static int queue_head;

static void router_run(void)
{
    while (queue_count > 0 && !is_parked(ROUTER)) {
        struct message *m = &queue[queue_head].message;
        int place = deliver(m);
        if (place != NONE) {
            m->waited_at = place;
            park(ROUTER, place);
            log_line("the router waits for room at user %" PRId64, clients[place].id);
            return;
        }
        queue_head = (queue_head + 1) % QUEUE_SIZE;
        queue_count--;
    }
}

/* In the article the router is a thread of its own.  Here each send runs it.  So the
 * queue is empty unless the router is parked. */
static int router_send(const struct message *m)
{
    struct queued *q;
    if (must_wait(m, QUEUE))
        return QUEUE;
    q = &queue[(queue_head + queue_count++) % QUEUE_SIZE];
    assert(m->len <= MESSAGE);
    q->message = *m;
    q->message.token = memcpy(q->bytes, m->token, m->len);
    q->message.waited_at = NONE;
    router_run();
    return NONE;
}

/* ---- Approach B: the user directory --------------------------------------------------------
 * No queue: the sender finds the recipient in the table and delivers the message itself. */

static int directory_send(const struct message *m)
{
    return deliver(m);
}

static const struct approach {
    const char *name;
    int (*send)(const struct message *);        /* returns NONE, or the place to wait at */
} approaches[] = {
    { "directory", directory_send },
    { "router", router_send },
};

static const struct approach *approach;

/* ---- 7. What a message does ----------------------------------------------------------------- */

static void take_request(struct client *c);     /* part 9 */

/* Queues a Close, the last frame for c, behind what its outbox holds.  If `next` is CLOSING,
 * c is still read. */
static void send_close(struct client *c, int code, const char *reason, enum state next)
{
    if (c->broken) {
        enter(c, DEAD);
        return;
    }
    c->out_used += ws_write_close(outbox_end(c, WS_CONTROL_FRAME), code, reason);
    enter(c, next);
}

/* Sends the message, or leaves it in the inbox and parks its sender. */
static void send_or_park(struct client *c, const struct message *m)
{
    int place = approach->send(m);
    if (place == NONE)
        return;
    c->held = *m;
    c->held.waited_at = place;
    park(slot_of(c), place);
    if (place == QUEUE)
        log_line("user %" PRId64 " waits for the router", m->from);
    else
        log_line("user %" PRId64 " waits for room at user %" PRId64, m->from, clients[place].id);
}

static void chat_message(struct client *c, const struct ws_event *e)
{
    const uint8_t *text = c->in + e->at;
    struct json_message j;
    struct message m;
    if (e->bad != 0) {
        put_notice(c, "not delivered: byte %zu: not UTF-8", e->bad);
    } else if (json_read(text, e->len, &j)) {
        m = (struct message){ c->id, j.recipient_id, text + j.at, j.len, NONE };
        send_or_park(c, &m);
        return;
    } else {
        put_notice(c, "not delivered: byte %zu: %s", j.byte,
                   j.wanted != NULL ? j.wanted : "the text ends too early; a message is one line");
    }
    if (!quiet)
        log_line("! user %" PRId64 ": bad message: %s", c->id, quote(text, e->len).text);
}

static void answer_close(struct client *c, const struct ws_event *e)
{
    if (!quiet && e->code == WS_NO_CODE)
        log_left(c, "it closed the connection");
    else if (!quiet && is_reachable(c))
        log_line("user %" PRId64 " left: it closed the connection (code %d)%s%s", c->id, e->code,
                 e->len > 0 ? ": " : "", quote(c->in + e->at, e->len).text);
    /* 5.5.1: an endpoint typically echoes the code.  A client sends nothing after its Close,
     * so the server need not read on. */
    send_close(c, e->code, "", DRAINING);
}

static void close_for_breach(struct client *c, const struct ws_event *e)
{
    char reason[WS_CONTROL_MAX];
    if (e->byte != 0)
        snprintf(reason, sizeof reason, "%s at byte %zu", e->reason, e->byte);
    else
        snprintf(reason, sizeof reason, "%s", e->reason);
    if (is_reachable(c))
        log_line("! user %" PRId64 " left: got Close %d: %s", c->id, e->code, reason);
    send_close(c, e->code, reason, CLOSING);
}

/* Handles the next frame of the inbox.  Returns false if there is no whole one. */
static bool handle_frame(struct client *c)
{
    struct ws_event e;
    switch (ws_next(&c->ws, c->in, c->in_used, &e)) {
    case WS_MORE:
        return false;
    case WS_TEXT:
    case WS_BINARY:
        chat_message(c, &e);
        break;
    case WS_PING:               /* 5.5.2 */
        put_control(c, WS_OP_PONG, c->in + e.at, e.len);
        break;
    case WS_PONG:               /* 5.5.3: needs no answer */
        break;
    case WS_CLOSE:
        answer_close(c, &e);
        break;
    case WS_BREACH:
        close_for_breach(c, &e);
    }
    return true;
}

/* Is there room for the answer to the next frame, whatever it is? */
static bool has_reserve(const struct client *c)
{
    return c->broken || room_of(c) >= RESERVE;
}

/* Handles what the inbox holds, until c has to wait. */
static void handle_inbox(struct client *c)
{
    int slot = slot_of(c);
    if (c->state == REQUEST)
        take_request(c);
    while (c->state == OPEN && !is_parked(slot)) {
        if (!has_reserve(c) && c->ws.at < c->in_used)
            park(slot, slot);
        else if (!handle_frame(c))
            break;
    }
    if (is_parked(slot) || c->state == REQUEST)
        return;                 /* nothing may move: held.token points into the inbox, and a
                                 * request is parsed from its first byte */
    c->in_used = c->state == OPEN ? ws_keep(&c->ws, c->in, c->in, c->in_used) : 0;
    if (c->in_used == 0)
        empty_inbox(c);
}

/* ---- 8. Sockets --------------------------------------------------------------------------- */

static void admit(struct client *c);                            /* part 9 */
static void drop(struct client *c, const char *why);            /* part 10 */
static void input_ended(struct client *c);
static void output_failed(struct client *c, const char *why);
static void all_written(struct client *c);
static void remove_dead(void);

static bool is_blocked(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK || error == EINTR || error == ENOBUFS;
}

static bool wants_input(const struct client *c)
{
    return c->state == REQUEST || c->state == CLOSING || c->state == LINGERING
        || (c->state == OPEN && !is_parked(slot_of(c)));
}

/* One read brings FULL bytes at most.  The messages of a longer read could fill an empty outbox,
 * and c would be parked before flush_all has given the kernel anything. */
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
        handle_inbox(c);
    } else if (n == 0) {
        input_ended(c);
    } else if (!is_blocked(errno)) {
        drop(c, strerror(errno));
    }
    if (c->in_used == 0)
        empty_inbox(c);
}

static void flush(struct client *c)
{
    ssize_t n = write(c->fd, c->out + c->out_at, c->out_used);
    c->tried = now;
    if (n > 0) {
        c->out_at += (size_t)n;
        c->out_used -= (size_t)n;
        c->took = now;
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

/* At the end of a turn, each outbox that holds something and is not stuck is written once.  So
 * many messages share one write. */
static void flush_all(void)
{
    for (int i = 0; i < active; i++) {
        struct client *c = &clients[seats[i]];
        if (c->out_used > 0 && !c->stuck)
            flush(c);
    }
}

/* c was parked, and its place is open.  While c was parked, its socket was not read.  So the
 * server reads it here, and the next message of c joins the line at once.  Otherwise it would
 * join in the next turn, when the clients behind c have taken all the room. */
static void continue_client(struct client *c)
{
    struct message held = c->held;
    unpark(slot_of(c));
    c->held.token = NULL;
    note_life(c);               /* a parked client could not be heard */
    if (c->state == JOINING)
        admit(c);
    if (held.token != NULL)
        send_or_park(c, &held);
    handle_inbox(c);
    if (c->state == OPEN && wants_input(c))
        receive(c);
}

static void admit_newcomers(void)
{
    for (int i = 0; i < parked_count && is_open(DOOR); )
        if (waits_at[parked[i]] == DOOR)
            continue_client(&clients[parked[i]]);
        else
            i++;
}

/* While the router was parked, newcomers waited at the door, and dead users kept their slots:
 * see may_be_freed.  Now the dead users are removed, and the newcomers join, before the router
 * can be parked again. */
static void continue_router(void)
{
    unpark(ROUTER);
    remove_dead();
    admit_newcomers();
    router_run();
}

/* A client that continues is read, too, and may be parked again, at the end of the array.  So
 * this loop reaches it again, after all others.  With the router, two clients that write only
 * to absent users could take turns for ever: their messages never fill the queue, but while one
 * of them waits there, the next message of the other must wait, too.  So the loop stops after
 * CONTINUE_BATCH clients. */
static void continue_parked(void)
{
    int left = CONTINUE_BATCH;
    for (int i = 0; i < parked_count && left > 0; ) {
        int who = parked[i];
        if (!is_open(waits_at[who])) {
            i++;
        } else if (who == ROUTER) {
            continue_router();
            i = 0;              /* the queue and the door may be open now: start again */
        } else {
            continue_client(&clients[who]);
            left--;
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

/* After POLLERR or POLLHUP, the server does all that it polled for: a write then fails, and reads
 * give the bytes that have arrived before one of them fails. */
static void handle_events(const struct pollfd *p, int slot)
{
    struct client *c = &clients[slot];
    int got = (p->revents & (POLLERR | POLLHUP)) != 0 ? p->events : p->events & p->revents;
    if ((got & POLLOUT) && c->out_used > 0)
        flush(c);               /* its senders then continue in this turn */
    if ((got & POLLIN) && wants_input(c))
        receive(c);
}

/* ---- 9. Requests: who joins, HTTP answers --------------------------------------------------- */

static struct ws_origin let_in[REPEATS];        /* option -o */
static int let_in_count;
static int64_t last_id;

static void respond(struct client *c, int status, const char *body, bool head)
{
    uint8_t *out = outbox_end(c, PAGE_SIZE);
    const char *headers = status == 200 ? "Cache-Control: no-store\r\nVary: Accept\r\n" : "";
    c->out_used += ws_write_response(out, PAGE_SIZE, status, time(NULL), headers, body, head);
    enter(c, CLOSING);
    flush(c);                   /* so that c is LINGERING soon, and can be evicted */
}

static void refuse(struct client *c, const uint8_t *buf, const struct ws_request *r)
{
    char body[2 * LOG_LINE];
    if (r->seen.at == 0 && r->seen.len == 0)
        sprintf(body, "%s\n", r->reason);
    else
        sprintf(body, "%s; it was: %s\n", r->reason, quote(buf + r->seen.at, r->seen.len).text);
    if (!quiet)
        log_line("! %s: %d: %.*s", name_of(&c->address).text, r->status, (int)strlen(body) - 1, body);
    respond(c, r->status, body, r->head);
}

/* Writes the lowest ids of the users online, in order.  Returns how many. */
static int lowest_ids(int64_t ids[SHOWN_IDS], int *total)
{
    int n = 0;
    *total = 0;
    for (int i = 0; i < in_use; i++) {
        const struct client *c = &clients[seats[i]];
        int k;
        if (!is_reachable(c))
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

static union address own_address(int fd)
{
    union address a;
    socklen_t len = sizeof a;
    memset(&a, 0, sizeof a);
    getsockname(fd, &a.any, &len);
    return a;
}

/* People type the server's advice into a shell.  Are these bytes from the network safe
 * there? */
static bool is_harmless_in_shells(const uint8_t *bytes, size_t len)
{
    static const char safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.:/_-[]";
    for (size_t i = 0; i < len; i++)
        if (memchr(safe, bytes[i], sizeof safe - 1) == NULL)
            return false;
    return len <= LOG_QUOTE;
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
    union address ours = own_address(c->fd);
    struct name here = name_of(&ours);
    const char *host = here.text;
    int len = (int)strlen(host);

    if (r->host.len > 0 && is_harmless_in_shells(buf + r->host.at, r->host.len)) {
        host = (const char *)buf + r->host.at;
        len = (int)r->host.len;
    }
    write_online(online);
    sprintf(body, text, len, host, len, host, len, host, len, host, online);
    if (!quiet)
        log_line("%s: 426: a plain request, shown the text", name_of(&c->address).text);
    respond(c, 426, body, r->head);
}

/* May an answer advise to type  chat -o ORIGIN?  Only if the origin is harmless in a shell,
 * and -o would accept it. */
static bool may_be_named(const uint8_t *origin, size_t len)
{
    struct ws_origin o;
    return is_harmless_in_shells(origin, len) && ws_read_origin(origin, len, &o);
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
 * The client for users that have only a browser.  It is one text, and needs no other
 * file.  It has at most 4,095 characters: C99 promises no more for a literal.  The script
 * shows messages as text, never as HTML. */

#define PAGE_HEAD \
    "<!doctype html>\n" \
    "<html lang=en>\n" \
    "<title>chat</title>\n" \
    "<meta name=viewport content='width=device-width'>\n" \
    "<link rel=icon href=data:,>\n" \
    "<style>\n" \
    "  :root { color-scheme: light dark; font: 1.2em/1.4 system-ui, sans-serif }\n"

static const char page[] =                      /* %s: who is online */
    PAGE_HEAD
    "  body { max-width: 34em; margin: auto; padding: .5em }\n"
    "  h1 { margin: 0; font-size: 1.4em }\n"
    "  p { margin: .4em 0; white-space: pre-wrap; overflow-wrap: anywhere }\n"
    "  #log { height: 60vh; overflow: auto; padding: 0 .5em; border: 1px solid gray }\n"
    "  #log p { padding-left: 1.5em; text-indent: -1em; border-left: .4em solid gray }\n"
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
    "let ws, following = false;\n"
    "const is_open = () => ws.readyState == WebSocket.OPEN;\n"
    "function show(kind, text) {\n"
    "  if (!following && log.scrollTop + log.clientHeight > log.scrollHeight - 30) {\n"
    "    following = true;     // it scrolls once for all messages of a frame\n"
    "    requestAnimationFrame(() => { log.scrollTop = log.scrollHeight; following = false; });\n"
    "  }\n"
    "  const p = log.appendChild(document.createElement('p'));\n"
    "  p.className = kind;\n"
    "  p.textContent = text;\n"
    "  if (log.childElementCount > 500) log.firstChild.remove();   // more would be slow\n"
    "}\n"
    "function mark_unsent(kind) {\n"
    "  for (const p of log.querySelectorAll('.unsent')) p.className = kind;\n"
    "}\n"
    "function become(name) {\n"
    "  document.title = at('me').textContent = name;\n"
    "  at('send').disabled = !is_open();\n"
    "  at('again').hidden = ws.readyState != WebSocket.CLOSED;\n"
    "}\n"
    "function look() {       // who is online? The server writes it into this page\n"
    "  if (is_open() && !document.hidden)\n"
    "    fetch(location.origin, { headers: { Accept: 'text/html' } }).then(r => r.text())\n"
    "      .then(t => t.match(/online>([^<]*)/)[1]).catch(() => '?')\n"
    "      .then(who => { if (is_open()) at('online').textContent = who; });\n"
    "}\n"
    "function connect() {\n"
    "  ws = new WebSocket('ws' + location.origin.slice(4), 'notices');\n"
    "  become('connecting');\n"
    "  ws.onmessage = event => {\n"
    "    const { sender_id, message } = JSON.parse(event.data);\n"
    "    if (sender_id > 0) return show('received', `user ${sender_id}: ${message}`);\n"
    "    show('notice', `server: ${message}`);\n"
    "    if (message.startsWith('you are ')) become(message.slice(8));\n"
    "    look();\n"
    "  };\n"
    "  ws.onclose = event => {\n"
    "    mark_unsent(ws.bufferedAmount > 0 ? 'lost' : 'sent');\n"
    "    const why = event.reason || '(no reason given; see the log of the server)';\n"
    "    show('closed', `closed: ${event.code} ${why}`);\n"
    "    become('not connected');\n"
    "    at('online').textContent = '?';\n"
    "  };\n"
    "}\n"
    "at('form').onsubmit = event => {\n"
    "  event.preventDefault();\n"
    "  const to = Number(at('to').value), text = at('text').value;\n"
    "  ws.send(JSON.stringify({ recipient_id: to, message: text }));\n"
    "  show('unsent', `to user ${to}: ${text}`);\n"
    "  at('text').value = '';\n"
    "  at('text').focus();\n"
    "};\n"
    "at('again').onclick = () => { connect(); at('text').focus(); };\n"
    "setInterval(() => { if (ws.bufferedAmount == 0) mark_unsent('sent'); }, 200);\n"
    "setInterval(look, 3000);\n"
    "connect();\n"
    "</script>\n";

typedef char the_page_and_its_header_fit[sizeof page + ONLINE_SIZE + 512 <= PAGE_SIZE ? 1 : -1];

/* A browser gets this instead of the page if it opens the server under a host name that is
 * neither localhost nor named by -o.  The page's WebSocket would be refused: see
 * ws_may_connect. */
static const char page_of_a_name[] =
    PAGE_HEAD
    "  :root { overflow-wrap: anywhere }\n"
    "  code { font: 1em monospace }\n"
    "</style>\n"
    "<p>You cannot chat under this name: anybody can make a name point to this server.\n"
    "<p>Open <a href='http://%s/'>http://%s</a> instead,\n"
    "<p>or let pages under this name in: start the server as <code>chat -o '%s'</code>\n";

static void name_address(struct client *c, const uint8_t *buf, const struct ws_request *r)
{
    char body[sizeof page_of_a_name + 2 * LOG_LINE], origin[LOG_QUOTE + 1];
    union address ours = own_address(c->fd);
    struct name here = name_of(&ours);
    int len = snprintf(origin, sizeof origin, "http://%.*s", (int)r->host.len,
                       (const char *)buf + r->host.at);

    if (len > LOG_QUOTE || !may_be_named((const uint8_t *)origin, (size_t)len))
        strcpy(origin, "*");
    sprintf(body, page_of_a_name, here.text, here.text, origin);
    if (!quiet)
        log_line("! %s: 200: a page that says to open http://%s or to start chat -o '%s'",
                 name_of(&c->address).text, here.text, origin);
    respond(c, 200, body, r->head);
}

/* This is not logged, because the page fetches itself every 3 s.  The log shows that its user
 * joins. */
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

/* The user is in the table before its 101 goes out.  So messages can reach it as soon as
 * anybody can know its id. */
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
        log_line("user %" PRId64 " joined from %s%s", c->id, name_of(&c->address).text,
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
        if (is_open(DOOR))
            admit(c);
        else
            park(slot_of(c), DOOR);
    }
}

/* ---- 10. Leaving ----------------------------------------------------------------------------
 * A function that finds an error, or the end of a connection, only marks the client DEAD.
 * remove_client removes it later. */

/* Bytes from a parked client that were not handled: the message that waits or is not whole
 * yet, and the bytes behind it. */
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
        drop(c, why);
        return;
    }
    log_gone(c, why, 0);        /* the messages that it sent are still delivered */
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
        /* 7.1.1: close() with input unread would make TCP send a reset, which can
         * overtake what we sent. */
        shutdown(c->fd, SHUT_WR);
        enter(c, LINGERING);
    }
}

/* Is the outbox of c full, and somebody parked at it?  Then the server tries a write every
 * RETRY_MS, because POLLOUT comes late: on Linux, when a third of the kernel's buffer is
 * free. */
static bool is_waited_for(const struct client *c)
{
    return waiters[slot_of(c)] > 0 && !is_open(slot_of(c));
}

/* A parked client is not read, so its silence does not count. */
static int64_t silence_deadline(const struct client *c)
{
    if (keep == 0 || is_parked(slot_of(c)))
        return NEVER;
    return (c->pinged != 0 ? c->pinged : c->heard) + keep;
}

/* Returns the time for expire(c). */
static int64_t deadline_of(const struct client *c)
{
    switch (c->state) {
    case REQUEST:
        return c->since + HANDSHAKE_MS * MS;
    case OPEN:
        return earlier(silence_deadline(c), is_waited_for(c) ? c->tried + RETRY_MS * MS : NEVER);
    case CLOSING:
    case DRAINING:
    case LINGERING:
        return earlier(c->since + CLOSE_ALL_MS * MS, c->took + CLOSE_MS * MS);
    default:
        return NEVER;
    }
}

/* 5.5.2.  A full outbox needs no ping: if the peer reads its bytes, that is a sign of life,
 * too. */
static void ping(struct client *c)
{
    if (is_open(slot_of(c)))
        put_control(c, WS_OP_PING, (const uint8_t *)"", 0);
    c->pinged = now;
}

/* The deadline of c has passed.  One more write is tried first. */
static void expire(struct client *c)
{
    struct ws_request late = {
        .status = 408, .reason = "no whole request in time",
        .head = ws_is_head(c->in, c->in_used)
    };
    char why[64];

    if (c->out_used > 0)
        flush(c);
    if (is_waited_for(c) && now - c->took >= STALL_MS * MS) {
        sprintf(why, "did not read for %g s", STALL_MS / 1e3);
        drop(c, why);
    }
    if (deadline_of(c) > now)
        return;                 /* it has moved */
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

static void expire_all(void)
{
    for (int i = 0; i < in_use; i++)
        if (deadline_of(&clients[seats[i]]) <= now)
            expire(&clients[seats[i]]);
}

/* A slot is kept while somebody is parked at it.  In the article, the router removes users, and
 * cannot do so while it waits.  Here, too, no user is removed while the router is parked. */
static bool may_be_freed(const struct client *c)
{
    return waiters[slot_of(c)] == 0 && (c->id == 0 || !is_parked(ROUTER));
}

/* c is active: enter() makes every DEAD client active. */
static void free_seat(struct client *c)
{
    move_to_seat(c, --active);
    move_to_seat(c, --in_use);
    enter(c, FREE);
}

static void remove_client(struct client *c)
{
    if (c->fd != NONE)
        close(c->fd);
    c->fd = NONE;
    if (!may_be_freed(c))
        return;
    if (c->id != 0)
        table_remove(c);
    free_seat(c);
}

/* From the last to the first: a removed client swaps its seat with one that was
 * visited already. */
static void remove_dead(void)
{
    for (int i = active - 1; i >= 0; i--)
        if (clients[seats[i]].state == DEAD)
            remove_client(&clients[seats[i]]);
}

/* Until when does a stopping server wait for the peers to take the queued bytes? */
static int64_t end_of_stopping(void)
{
    int64_t last = stop_began;
    if (stop_began == 0)
        return NEVER;
    for (int i = 0; i < in_use; i++)
        if (clients[seats[i]].took > last)
            last = clients[seats[i]].took;
    return earlier(stop_began + STOP_MS * MS, last + STOP_QUIET_MS * MS);
}

/* May it be closed to make room for another connection? */
static bool is_evictable(const struct client *c)
{
    return (c->state == REQUEST || c->state == LINGERING) && may_be_freed(c);
}

static struct client *oldest_evictable(void)
{
    struct client *oldest = NULL;
    for (int i = 0; i < in_use; i++) {
        struct client *c = &clients[seats[i]];
        if (is_evictable(c) && (oldest == NULL || c->since < oldest->since))
            oldest = c;
    }
    return oldest;
}

/* Logs that poll or accept failed, for lack of memory for example.  The caller then waits
 * PAUSE_MS, because the call would fail again at once. */
static void log_failure(const char *call)
{
    log_line("cannot %s: %s; trying again in %d ms", call, strerror(errno), PAUSE_MS);
}

/* ---- 11. poll -------------------------------------------------------------------------------
 *
 * What to poll for is not stored.  It follows from the state of each client, from its outbox, and
 * from whether it is parked. */

static struct pollfd watched[1 + LISTENERS + SLOTS];    /* signal pipe, listeners, clients */
static int watched_slot[1 + LISTENERS + SLOTS];         /* whose it is, or NONE */

static int signal_pipe[2];      /* a signal handler writes a byte, to end poll */
static int listeners[LISTENERS], listener_count;
static int64_t accept_again;    /* no accept() before this time */

static void watch(int i, int fd, int events, int slot)
{
    watched[i] = (struct pollfd){ .fd = fd, .events = (short)events };
    watched_slot[i] = slot;
}

/* If there is nothing to poll for, a client is left out, for example a parked one with an empty
 * outbox.  If its peer has gone, poll would report POLLHUP in every turn. */
static int watch_clients(int count)
{
    int n = 1 + listener_count;
    for (int i = 0; i < count; i++) {
        const struct client *c = &clients[seats[i]];
        int events = (wants_input(c) ? POLLIN : 0) | (c->out_used > 0 ? POLLOUT : 0);
        if (events != 0)
            watch(n++, c->fd, events, seats[i]);
    }
    return n;
}

/* If no connection can be accepted, the descriptor in the entry is NONE: poll skips it. */
static void watch_listeners(void)
{
    bool may_accept = now >= accept_again && (in_use < SLOTS || oldest_evictable() != NULL);
    for (int i = 0; i < listener_count; i++)
        watch(1 + i, may_accept ? listeners[i] : NONE, POLLIN, NONE);
}

static int64_t next_deadline(void)
{
    int64_t next = earlier(end_of_stopping(), accept_again > now ? accept_again : NEVER);
    for (int i = 0; i < in_use; i++)
        next = earlier(next, deadline_of(&clients[seats[i]]));
    return next == NEVER ? NEVER : earlier(next, now + TICK_MS * MS);
}

/* Part 12 decides how many of the seats poll() looks at, and until when poll() may sleep.
 * Without part 12, it would look at all in_use, and sleep until next_deadline(). */
static int choose_look(int64_t *until);
static int timeout_until(int64_t until);

static int64_t last_full_look;  /* when it last looked at everyone */

/* The server sleeps only here, and in log_line.  Returns the number of entries of
 * watched[].  It does not sleep if a parked client can continue. */
static int look(void)
{
    static const struct timespec pause = { 0, PAUSE_MS * 1000000L };
    int64_t until;
    int seats_watched = choose_look(&until), count, found;

    watch(0, signal_pipe[0], POLLIN, NONE);
    watch_listeners();
    count = watch_clients(seats_watched);
    found = poll(watched, (nfds_t)count, is_anyone_ready() ? 0 : timeout_until(until));
    if (found < 0 && errno != EINTR) {
        log_failure("poll");
        nanosleep(&pause, NULL);
        watched[0].revents = POLLIN;    /* a signal may have come */
    }
    move_clock();
    if (seats_watched == in_use && found >= 0)  /* not cut short by a signal */
        last_full_look = now;
    return count;
}

/* ---- 12. What only saves time and memory ------------------------------------------------------
 *
 * The plainest server would give each client two buffers for ever, and poll everyone in
 * every turn, with the soonest deadline as the timeout.  It would do the same, only slower.
 * This part makes it cheaper, in three ways.
 *
 * Lent buffers.  A buffer is lent to an inbox or an outbox while something is in it.  So
 * an idle client needs none.  The buffer given back last is lent first, because it is
 * still in the processor's cache. */

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

/* Two looks.  poll() looks at every descriptor on every call, which costs some 0.2 us each:
 * 200 us with 1,000 users.  A message costs only 25 us.  So there are two looks: at
 * the active clients, and at everyone.  A client is active if the server read from it, or
 * wrote to it, within the last 2 ms.
 *
 *                                                looks at       and sleeps
 *   for 2 ms, nothing happened; or all           everyone       until a deadline
 *     clients are active
 *   the last look at everyone is older than      everyone       not at all
 *     3 us * clients (at most 30 ms)
 *   else                                         the active     for 2 ms, at most
 *
 * It never sleeps if a parked client can continue.  Deadlines are checked with each look
 * at everyone. */

enum {
    LATELY_MS = 2,
    LOOK_US = 3,                /* the time between looks at everyone, per client.  With 5 instead of
                                 * 3, among 1,000 users: a message costs 1 us less, and the next
                                 * message of a user that was silent is read 1 ms later */
    LOOK_MAX_MS = 30            /* but it is not longer than this.  With 20, a message among 10,000
                                 * users costs a fifth more */
};

static void set_active(struct client *c)
{
    if (c->seat >= active)
        move_to_seat(c, active++);
}

static bool is_still_active(const struct client *c)
{
    return now - c->heard < LATELY_MS * MS || now - c->took < LATELY_MS * MS;
}

static bool is_anyone_active(void)
{
    for (int i = 0; i < active; i++)
        if (is_still_active(&clients[seats[i]]))
            return true;
    return false;
}

/* A DEAD client stays active until remove_dead frees its slot. */
static void set_inactive(void)
{
    for (int i = active - 1; i >= 0; i--) {
        struct client *c = &clients[seats[i]];
        if (c->state != DEAD && !is_still_active(c))
            move_to_seat(c, --active);
    }
}

static int choose_look(int64_t *until)
{
    bool idle = active == in_use || !is_anyone_active();
    bool everyone = idle || now - last_full_look >= earlier(LOOK_US * (int64_t)in_use, LOOK_MAX_MS * MS);
    if (everyone)
        *until = idle ? next_deadline() : now;
    else
        *until = now + LATELY_MS * MS;
    return everyone ? in_use : active;
}

/* The alarm.  If poll has a timeout, it sets a timer on each call and removes it on return.
 * If many users are idle, that costs 4 to 6 us a message.  (If only two users are
 * connected, we measured no cost.)  So poll gets no timeout: an alarm ends it, by a byte in
 * the signal pipe.  The server never cancels an alarm.  Most come too early, because the
 * deadline has moved on.  That is harmless.
 * (setitimer was an option of POSIX.  POSIX.1-2024 no longer has it.) */
static int64_t alarm_at;        /* when it rings; NEVER: no alarm is set */

/* Returns the timeout of poll: 0 if the time `until` has come, otherwise -1, no timeout.  Then an
 * alarm ends poll at `until` or earlier.  If `until` is NEVER, no alarm is needed. */
static int timeout_until(int64_t until)
{
    int64_t us = until - now;
    struct itimerval in = { .it_value = { (time_t)(us / 1000000), (suseconds_t)(us % 1000000) } };
    if (us <= 0)
        return 0;
    /* An alarm that is set for an earlier time is kept.  When it has rung, the next turn sets a
     * new one. */
    if (until != NEVER && !(now < alarm_at && alarm_at <= until)) {
        setitimer(ITIMER_REAL, &in, NULL);
        alarm_at = until;
    }
    return -1;
}

/* ---- 13. Newcomers, starting, stopping, main -------------------------------------------------- */

static void set_option(int fd, int level, int name, int value)
{
    setsockopt(fd, level, name, &value, sizeof value);
}

static void set_options(int fd)
{
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);        /* small messages go out at once */
    set_option(fd, SOL_SOCKET, SO_SNDBUF, SEND_BUFFER);
}

/* Most systems let a connection inherit the options of its listener. */
static bool has_options(int fd)
{
    int value = 0;
    socklen_t len = sizeof value;
    return getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &len) == 0 && value != 0;
}

static struct client *seat_client(int fd, const union address *address)
{
    int slot = seats[in_use];
    struct client *c = &clients[slot];
    fcntl(fd, F_SETFL, O_NONBLOCK);
    if (!has_options(fd))
        set_options(fd);
    *c = (struct client){ .fd = fd, .seat = in_use++, .heard = now, .address = *address };
    ws_start(&c->ws, 0, MESSAGE);
    enter(c, REQUEST);
    return c;
}

/* Closes the oldest connection that has not finished its request, or only lingers.  It is
 * read first: a whole request is answered, not cut off.  Returns false if there is no such
 * connection. */
static bool evict(void)
{
    struct client *c = oldest_evictable();
    size_t before;
    if (c == NULL)
        return false;
    do {
        before = c->in_used;
        if (c->state == REQUEST)
            receive(c);
    } while (c->state == REQUEST && c->in_used > before);
    if (is_evictable(c)) {
        if (c->id == 0 && !quiet)
            log_line("! %s: closed to make room for another connection", name_of(&c->address).text);
        enter(c, DEAD);
    }
    if (c->state == DEAD)
        remove_client(c);
    return true;
}

/* Evicts clients until there is room for one more user.  But if CLIENTS clients must stay, it
 * evicts none, and returns false. */
static bool make_room(void)
{
    while (in_use >= CLIENTS) {
        int staying = 0;
        for (int i = 0; i < in_use; i++)
            staying += !is_evictable(&clients[seats[i]]);
        if (staying >= CLIENTS)
            return false;
        evict();
    }
    return true;
}

/* One descriptor in reserve.  If no descriptor is free, and no connection can be evicted, the
 * server closes this one.  So it can accept one more connection, and answer 503. */
static int reserve;

static bool free_a_descriptor(void)
{
    if (evict())
        return true;
    if (reserve == NONE)
        return false;
    close(reserve);
    reserve = NONE;
    return true;
}

static bool is_out_of_descriptors(int error)
{
    return error == EMFILE || error == ENFILE;
}

/* Returns the connection, or NONE.  Call it only if poll has said that a connection waits.  If no
 * descriptor is free, accept() fails in any case, and a client would be evicted for nothing. */
static int accept_one(int listener, union address *a)
{
    int fd;
    do {
        socklen_t len = sizeof *a;
        memset(a, 0, sizeof *a);
        fd = accept(listener, &a->any, &len);
    } while (fd < 0 && is_out_of_descriptors(errno) && free_a_descriptor());
    if (fd < 0 && (!is_blocked(errno) || errno == ENOBUFS) && errno != ECONNABORTED) {
        log_failure("accept");
        accept_again = now + PAUSE_MS * MS;
    }
    return fd;
}

/* Accepts one connection.  If more wait, poll reports them in the next turn.  (To try a second
 * accept() costs 3.5 us if there is no connection: Linux makes a socket first.) */
static void accept_from(int listener)
{
    static const struct ws_request no_room = {
        .status = 503, .reason = "all places are taken; try later"
    };
    union address address;
    struct client *c;
    bool full;
    int fd;

    if (reserve == NONE)
        reserve = dup(signal_pipe[0]);
    while (in_use == SLOTS)
        if (!evict())
            return;
    if ((fd = accept_one(listener, &address)) < 0)
        return;
    full = !make_room() || reserve == NONE;
    c = seat_client(fd, &address);
    if (full)
        refuse(c, c->in, &no_room);
    else
        receive(c);             /* the request is often there already */
}

static volatile sig_atomic_t stop_signal;       /* 0: none came */

/* A signal handler may do little.  It notes the signal, and writes a byte, which ends poll. */
static void on_signal(int number)
{
    int saved = errno;
    if (number != SIGALRM && stop_signal != 0)
        _exit(1);               /* the second time */
    if (number != SIGALRM)
        stop_signal = number;
    if (write(signal_pipe[1], "", 1) < 0) {
        /* full: poll finds the bytes that are there */
    }
    errno = saved;
}

/* Each queued message is tried once.  If there is no room for it, it is lost. */
static void empty_queue(void)
{
    unpark(ROUTER);
    for (; queue_count > 0; queue_count--) {
        const struct message *m = &queue[queue_head].message;
        if (deliver(m) != NONE)
            log_message(m, "! ", "lost, the server is stopping: ");
        queue_head = (queue_head + 1) % QUEUE_SIZE;
    }
}

static void close_listeners(void)
{
    while (listener_count > 0)
        close(listeners[--listener_count]);
}

static void close_for_stop(struct client *c)
{
    static const struct ws_request late = { .status = 503, .reason = "the server is stopping" };
    if (c->state == REQUEST)
        enter(c, DEAD);
    if (c->state == JOINING) {
        unpark(slot_of(c));
        refuse(c, c->in, &late);
    }
    if (c->state != OPEN)
        return;
    log_left(c, "the server is stopping");
    if (waiting_bytes(c) > 0)
        log_line("user %" PRId64 ": %zu bytes from it that waited are lost", c->id, waiting_bytes(c));
    unpark(slot_of(c));
    send_close(c, WS_GOING_AWAY, "the server is stopping", CLOSING);
}

static void stop(int number)
{
    log_line("stopping on signal %d", number);
    stop_began = now;
    close_listeners();
    empty_queue();
    for (int i = 0; i < in_use; i++)
        close_for_stop(&clients[seats[i]]);
}

static void obey_signals(void)
{
    char bytes[64];
    if (read(signal_pipe[0], bytes, sizeof bytes) > 0)
        alarm_at = NEVER;       /* perhaps it rang; if not, to set it again is harmless */
    if (stop_signal != 0 && stop_began == 0)
        stop((int)stop_signal);
}

static void turn(void)
{
    int count = look();
    for (int i = 1 + listener_count; i < count; i++)
        if (watched[i].revents != 0)
            handle_events(&watched[i], watched_slot[i]);
    for (int i = 0; i < listener_count; i++)
        if (watched[1 + i].revents != 0)
            accept_from(listeners[i]);
    if (last_full_look == now)
        expire_all();
    continue_parked();
    if (watched[0].revents != 0)
        obey_signals();         /* after continue_parked: a stop loses what still waits */
    flush_all();
    remove_dead();
    set_inactive();
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

/* If descriptor 2 was closed at the start, a socket would get that number, and the log would be
 * written into the socket.  So 0, 1 and 2 are opened first. */
static void open_standard_descriptors(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
        if (fd < 0)
            fd = open("/", O_RDONLY);   /* a write to it fails */
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

/* Unblocks the signals that the server needs: its parent may have blocked them.  If
 * SIGHUP was ignored at the start, it stays so: nohup wants that. */
static void catch_signals(void)
{
    static const int stops[] = { SIGINT, SIGTERM, SIGHUP };
    struct sigaction tell = { .sa_handler = on_signal }, ignore = { .sa_handler = SIG_IGN }, old;
    sigset_t ours;

    if (pipe(signal_pipe) < 0)
        die("cannot make a pipe: %s", strerror(errno));
    fcntl(signal_pipe[0], F_SETFL, O_NONBLOCK);
    fcntl(signal_pipe[1], F_SETFL, O_NONBLOCK);
    reserve = dup(signal_pipe[0]);
    sigemptyset(&ours);
    sigaddset(&ours, SIGALRM);
    sigaction(SIGALRM, &tell, NULL);
    /* SIGPIPE would end the server after a write to a closed socket, and SIGXFSZ after a write to
     * a log file that is too large.  If the signals are ignored, write() returns an error. */
    sigaction(SIGPIPE, &ignore, NULL);
#ifdef SIGXFSZ      /* POSIX does not ask for it */
    sigaction(SIGXFSZ, &ignore, NULL);
#endif
    sigaction(SIGHUP, NULL, &old);
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) {
        sigaddset(&ours, stops[i]);
        if (stops[i] != SIGHUP || old.sa_handler != SIG_IGN)
            sigaction(stops[i], &tell, NULL);
    }
    sigprocmask(SIG_UNBLOCK, &ours, NULL);
}

/* Each client needs a descriptor.  Some may be open already, inherited from the parent. */
static void raise_descriptor_limit(void)
{
    enum { MARGIN = 1024 };     /* for inherited ones */
    struct rlimit limit;
    rlim_t wanted = SLOTS + MARGIN, unused = 0;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        getrlimit(RLIMIT_NOFILE, &limit);
    for (rlim_t fd = 0; fd < limit.rlim_cur; fd++)
        unused += fcntl((int)fd, F_GETFD) < 0;
    if (unused == 0)
        die("a limit of %ju descriptors is too low; raise it: ulimit -n", (uintmax_t)limit.rlim_cur);
    if (unused < SLOTS)
        fprintf(stderr, "chat: room for about %ju clients, not %d: the descriptor limit is %ju "
                "(ulimit -n)\n", (uintmax_t)unused, CLIENTS, (uintmax_t)limit.rlim_cur);
}

/* On some systems, poll takes no more entries than the descriptor limit (macOS: 10,240). */
static void test_poll(void)
{
    struct rlimit limit;
    int count = 1 + LISTENERS + SLOTS;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < (rlim_t)count)
        count = (int)limit.rlim_cur;
    for (int i = 0; i < count; i++)
        watch(i, NONE, 0, NONE);
    if (poll(watched, (nfds_t)count, 0) < 0 && errno == EINVAL)
        die("poll does not take %d descriptors on this system: make CLIENTS smaller", count);
}

static bool is_listening_on(const union address *a)
{
    struct name name = name_of(a);
    for (int i = 0; i < listener_count; i++) {
        union address other = own_address(listeners[i]);
        struct name others = name_of(&other);
        if (strcmp(others.text, name.text) == 0)
            return true;
    }
    return false;
}

/* Returns false with errno set. */
static bool listen_on(const union address *a)
{
    int fd = socket(a->any.sa_family, SOCK_STREAM, 0);
    int saved;
    if (fd < 0)
        return false;
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);        /* a restart need not wait */
    if (is_v6(a))
        set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);   /* IPv4 has its own socket */
    set_options(fd);
    if (bind(fd, &a->any, size_of(a)) == 0 && listen(fd, SOMAXCONN) == 0
        && fcntl(fd, F_SETFL, O_NONBLOCK) == 0) {
        listeners[listener_count++] = fd;
        return true;
    }
    saved = errno;
    close(fd);
    errno = saved;
    return false;
}

static in_port_t *port_of(union address *a)
{
    return is_v6(a) ? &a->v6.sin6_port : &a->v4.sin_port;
}

static bool is_wildcard(const union address *a)
{
    return is_v6(a) ? IN6_IS_ADDR_UNSPECIFIED(&a->v6.sin6_addr) : a->v4.sin_addr.s_addr == INADDR_ANY;
}

/* Returns a listener that prevents another one at address a, or NONE.  On most systems, the
 * wildcard address excludes all others of its family. */
static int excluded_by(const union address *a)
{
    for (int i = 0; i < listener_count; i++) {
        union address other = own_address(listeners[i]);
        if (is_v6(&other) == is_v6(a) && (is_wildcard(a) || is_wildcard(&other)))
            return listeners[i];
    }
    return NONE;
}

static void die_of_listening(const union address *a, const char *port, int error)
{
    int listener = error == EADDRINUSE ? excluded_by(a) : NONE;
    if (listener != NONE) {
        union address other = own_address(listener);
        die("cannot listen on %s as well as on %s: one covers the other; leave one out",
            name_of(a).text, name_of(&other).text);
    }
    if (error == EADDRINUSE && strcmp(port, "0") != 0)
        die("cannot listen on %s: address already in use; try -p %ld", name_of(a).text,
            strtol(port, NULL, 10) < 65535 ? strtol(port, NULL, 10) + 1 : 65534);
    die("cannot listen on %s: %s", name_of(a).text, strerror(error));
}

/* Listens on each address of the host: a name can have several.  At least one must exist on
 * this machine, unless `optional` is set.  With port 0, the system chooses a port for the
 * first address, and the others must get the same.  If that port is taken on one of them,
 * returns false and sets errno. */
static bool listen_on_host(const char *host, const char *port, bool optional)
{
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
    struct addrinfo *list, *entry;
    int error = getaddrinfo(host, port, &hints, &list);
    bool found = optional;

    if (error != 0)
        die("cannot listen on %s: %s; -l takes an address or a host name, and -p the port", host,
            gai_strerror(error));
    if (listener_count == LISTENERS)
        die("cannot listen on %s: the server listens on %d addresses already", host, LISTENERS);
    for (entry = list; entry != NULL && listener_count < LISTENERS; entry = entry->ai_next) {
        union address a;
        memset(&a, 0, sizeof a);
        memcpy(&a, entry->ai_addr, entry->ai_addrlen < sizeof a ? entry->ai_addrlen : sizeof a);
        if (*port_of(&a) == 0 && listener_count > 0) {
            union address first = own_address(listeners[0]);
            *port_of(&a) = *port_of(&first);
        }
        if (is_listening_on(&a) || listen_on(&a)) {
            found = true;
            continue;
        }
        error = errno;
        if (error == EADDRINUSE && strcmp(port, "0") == 0 && excluded_by(&a) == NONE)
            break;
        if ((error != EADDRNOTAVAIL && error != EAFNOSUPPORT) || (!found && entry->ai_next == NULL))
            die_of_listening(&a, port, error);
    }
    freeaddrinfo(list);
    errno = error;
    return entry == NULL || listener_count == LISTENERS;
}

/* By default: the loopback addresses, as numbers, so that no name is looked up.  If
 * listen_on_host returns false, all addresses try again, with a new port. */
static void listen_or_die(const char *const *hosts, int count, const char *port)
{
    static const char *const loopback[] = { "127.0.0.1", "::1" };
    bool by_default = count == 0, all = false;
    for (int tries = 0; !all; tries++) {
        if (tries == 10)
            die("cannot listen on %s: %s", by_default ? loopback[0] : hosts[0], strerror(errno));
        close_listeners();
        all = true;
        for (int i = 0; all && i < (by_default ? 2 : count); i++)
            all = listen_on_host(by_default ? loopback[i] : hosts[i], port, by_default);
    }
    if (listener_count == 0)
        die("cannot listen on 127.0.0.1 or ::1: this machine has neither");
}

/* The port stands at the end of the line. */
static void say_where(void)
{
    char line[2 * LOG_LINE] = "chat: listening on ";
    size_t len = strlen(line);
    for (int i = 0; i < listener_count; i++) {
        union address a = own_address(listeners[i]);
        const char *every = is_v6(&a) ? "every IPv6 address of this machine, "
                                      : "every IPv4 address of this machine, ";
        len += (size_t)sprintf(line + len, "%s%s%s", i == 0 ? "" : " and ",
                               is_wildcard(&a) ? every : "", name_of(&a).text);
    }
    puts(line);
    fflush(stdout);
}

static void usage(FILE *to)
{
    fprintf(to,
            "usage: chat [-a directory|router] [-l ADDRESS]... [-p PORT] [-o ORIGIN]...\n"
            "            [-k SECONDS] [-q] [-h] [-V]\n"
            "A WebSocket chat server: ws://localhost:8080, one JSON message a line:\n"
            "  {\"recipient_id\":2,\"message\":\"Go Braves!\"}\n"
            "\n"
            "  -a APPROACH  directory: senders deliver messages themselves (default)\n"
            "               router: all messages pass through one queue\n"
            "  -l ADDRESS   listen there, up to %d times (default: 127.0.0.1 and ::1);\n"
            "               every address of this machine: -l 0.0.0.0 -l ::\n"
            "  -p PORT      0 takes a free one (default: 8080)\n"
            "  -o ORIGIN    let in web pages of this origin, up to %d times:\n"
            "               http://example.org:8000; null for files; '*' for all\n"
            "  -k SECONDS   ping a user after this long a silence, and drop it after as\n"
            "               long again; 0: never (default: %d)\n"
            "  -q           no log\n"
            "  -h, -V       this text; the version\n"
            "\n"
            "Compiled for %d clients and messages of %d bytes (README: Limits).\n",
            REPEATS, REPEATS, DEFAULT_KEEP_S, CLIENTS, MESSAGE);
}

static void wrong_usage(const char *what, const char *value)
{
    fprintf(stderr, "chat: %s: %s\n", what, value[0] != '\0' ? value : "it is empty");
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

static void check_repeats(int count, const char *what, const char *value)
{
    char text[64];
    sprintf(text, "%s can be given %d times at most", what, REPEATS);
    if (count == REPEATS)
        wrong_usage(text, value);
}

static void add_origin(const char *origin)
{
    check_repeats(let_in_count, "-o", origin);
    if (!ws_read_origin((const uint8_t *)origin, strlen(origin), &let_in[let_in_count++]))
        wrong_usage("-o takes SCHEME://HOST[:PORT] without a path, null, or '*'", origin);
}

static void add_host(const char *host, const char *hosts[REPEATS], int *count)
{
    check_repeats(*count, "-l", host);
    if (host[0] == '\0')
        wrong_usage("-l takes an address or a host name", host);
    hosts[(*count)++] = host;
}

/* Returns how many addresses -l gave. */
static int read_options(int argc, char **argv, const char *hosts[REPEATS], const char **port)
{
    int option, count = 0;
    while ((option = getopt(argc, argv, "a:l:p:o:k:qhV")) != -1) {
        switch (option) {
        case 'a': choose_approach(optarg); break;
        case 'l': add_host(optarg, hosts, &count); break;
        case 'p': number(optarg, 65535, "-p takes a port, 0 to 65535"); *port = optarg; break;
        case 'o': add_origin(optarg); break;
        case 'k': keep = number(optarg, 1000000, "-k takes seconds, 0 to 1000000") * 1000 * MS; break;
        case 'q': quiet = true; break;
        case 'h': usage(stdout); exit(0);
        case 'V': puts("chat 2.0"); exit(0);
        default: usage(stderr); exit(2);
        }
    }
    if (optind < argc)
        wrong_usage("options only", argv[optind]);
    return count;
}

/* Sets the program to its first state, the options included.  Arrays that are always written
 * before they are read are not cleared. */
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
    memset(waiters, 0, sizeof waiters);
    approach = &approaches[0];
    quiet = false;
    keep = DEFAULT_KEEP_S * 1000 * MS;
    in_use = active = lent = parked_count = queue_count = queue_head = 0;
    let_in_count = listener_count = 0;
    now = system_time = stop_began = last_id = accept_again = last_full_look = 0;
    alarm_at = NEVER;
    signal_pipe[0] = signal_pipe[1] = reserve = NONE;
    stop_signal = 0;
}

int main(int argc, char **argv)
{
    const char *hosts[REPEATS], *port = "8080";
    int host_count;
    first_state();
    open_standard_descriptors();
    host_count = read_options(argc, argv, hosts, &port);
    catch_signals();
    listen_or_die(hosts, host_count, port);
    raise_descriptor_limit();
    test_poll();
    say_where();
    move_clock();
    while (!is_over())
        turn();
    for (int i = 0; i < in_use; i++)
        log_gone(&clients[seats[i]], "the server stopped", 0);
    return 0;
}
