/* peer.c -- the client of the tests: it plays a script of raw bytes to the server.
 *
 *     peer [-t SECONDS] PORT < script        (peer -h lists the commands)
 *
 * One process holds many connections.  The name of a connection begins with a capital
 * letter.  A line of the script is a name and a command, or only a command:
 *
 *     # user 1 writes to user 2
 *     A join
 *     B join
 *     A text {"recipient_id":2,"message":"hello"}
 *     B expect text {"sender_id":1,"message":"hello"}
 *
 * peer plays the lines in order.  If a line fails, peer prints it, with the expected
 * and the real result, and exits with status 1.  If it does not understand a line, it
 * exits with status 2.  If all lines succeed, it prints nothing and exits with 0.
 *
 * Three rules make a script give the same result on a slow machine:
 *   - Output never blocks the script.  peer buffers the bytes that the kernel does not
 *     accept at once, and writes them while later commands wait.  So one connection can
 *     send megabytes while others chat.  (At the end of the script, the rest is lost.
 *     To wait for it, use `sent`.)
 *   - Only a command that expects something reads input, and only on its own
 *     connection.  Without such a command, the connection is a client that does not
 *     read.
 *   - There is no sleep.  Each wait has a condition, and fails after some seconds (see
 *     `patience`).  To check that nothing came, use `quiet`: it sends a ping, and the
 *     pong cannot overtake anything that the server sent before it.  (Use it for the
 *     sender first, then for the recipient.  The sender's pong shows that the server
 *     has read the sender's messages.)
 *
 * peer shares no code with the server, because the same mistake in both would stay
 * hidden.  Its handshake uses the example key of the RFC, so it needs no SHA-1.
 *
 * Order: buffers, failing, connections and the one wait, the words of a line,
 * connecting, sending, incoming frames, chat messages, HTTP, the server's process, the
 * table of commands. */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KEY    "dGhlIHNhbXBsZSBub25jZQ=="               /* RFC 6455 section 1.3 */
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

enum {
    STUCK_MS  = 300,        /* output that does not move for so long is stuck    */
    PIECE_MS  = 1,          /* pause between two pieces: each is a segment       */
    LOOK_MS   = 10,         /* pause between two looks at the log, or at a child */
    READ_SIZE = 16384,      /* bytes of the largest read                         */
    SHOWN     = 300,        /* bytes of longer data that a failure shows         */
    DIGITS    = 8,          /* of the number at the beginning of a `say` message */
    PARTNERS  = 64,         /* users whose messages one connection can count     */
    CONNS     = 4096,       /* most names in one script                          */
    DESCRIPTORS = 4096      /* peer asks the system for so many at most          */
};

enum { CONT = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

static const char *const op_name[16] = {
    [CONT] = "cont", [TEXT] = "text", [BINARY] = "binary",
    [CLOSE] = "close", [PING] = "ping", [PONG] = "pong"
};

static const char *port;
static long long patience = 5000;       /* ms */

/* ---- Buffers: bytes from start to end, growing --------------------------------- */

struct buffer {
    unsigned char *bytes;
    size_t start, end, size;
};

static size_t held(const struct buffer *b)
{
    return b->end - b->start;
}

static unsigned char *front(const struct buffer *b)
{
    return b->bytes + b->start;
}

static void *no_null(void *memory)
{
    if (memory == NULL) {
        fputs("peer: out of memory\n", stderr);
        exit(2);
    }
    return memory;
}

/* reserve: makes room for `room` bytes behind the end.  Earlier results of front()
 * become invalid. */
static void reserve(struct buffer *b, size_t room)
{
    if (b->start > 0 && b->start >= held(b)) {
        memmove(b->bytes, front(b), held(b));
        b->end -= b->start;
        b->start = 0;
    }
    if (room > b->size - b->end) {
        b->size = 2 * b->size + room;
        b->bytes = no_null(realloc(b->bytes, b->size));
    }
}

static void put(struct buffer *b, const void *bytes, size_t len)
{
    reserve(b, len);
    if (len > 0)
        memcpy(b->bytes + b->end, bytes, len);
    b->end += len;
}

static void put_string(struct buffer *b, const char *string)
{
    put(b, string, strlen(string));
}

static void put_byte(struct buffer *b, unsigned long long byte)
{
    unsigned char low = (unsigned char)(byte & 0xff);
    put(b, &low, 1);
}

/* ---- Failing -------------------------------------------------------------------- */

static struct {
    int   line;
    char *text;             /* of the line                                  */
    char *rest;             /* its words that the command has not read yet  */
    int   what;             /* tells commands with the same function apart  */
    char  wanted[SHOWN];    /* the result that the line expects             */
} at;

static void want(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(at.wanted, sizeof at.wanted, format, args);
    va_end(args);
}

/* fail: the server did something else than the line expects.
 * bad_script: the line is wrong, or this machine cannot play it. */
#define fail(...)       stop(1, __VA_ARGS__)
#define bad_script(...) stop(2, __VA_ARGS__)

static void stop(int status, const char *format, ...)
{
    va_list args;
    fprintf(stderr, "peer: line %d: %s\n", at.line, at.text);
    if (status == 1)
        fprintf(stderr, "    expected: %s\n    got:      ", at.wanted);
    else
        fprintf(stderr, "    bad script: ");
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(status);
}

static const char escape_letters[] = "rnt0\\\"", escape_values[] = "\r\n\t\0\\\"";

/* shown: the bytes in quotes, escaped, and cut if there are many.  The text is valid
 * until the next call. */
static const char *shown(const void *bytes, size_t len)
{
    static char text[4 * SHOWN + 64];           /* \xHH is the longest */
    const unsigned char *p = bytes;
    const char *known;
    size_t used = 0, i;
    text[used++] = '"';
    for (i = 0; i < len && i < SHOWN; i++) {
        known = memchr(escape_values, p[i], sizeof escape_values - 1);
        if (known != NULL) {
            text[used++] = '\\';
            text[used++] = escape_letters[known - escape_values];
        } else if (p[i] >= ' ' && p[i] <= '~')
            text[used++] = (char)p[i];
        else
            used += (size_t)snprintf(text + used, sizeof text - used, "\\x%02x", p[i]);
    }
    if (len > SHOWN)
        snprintf(text + used, sizeof text - used, "\"... (%zu bytes)", len);
    else
        snprintf(text + used, sizeof text - used, "\"");
    return text;
}

/* ---- Connections, and the one wait ---------------------------------------------- */

struct tally {              /* messages to or from a user; count 0: not in use */
    long id, count;
};

static struct conn {
    char name[16];
    int fd;                 /* -1: not connected                             */
    int rcvbuf;             /* bytes; 0: the system's usual size             */
    bool corked;            /* output is held back                           */
    bool answers;           /* pings are answered, and hidden from `expect`  */
    size_t piece;           /* bytes of each write; 0: no limit              */
    struct buffer out, in;
    int out_error;          /* errno of the write that failed; 0: no failure */
    enum end { NOT_YET, ENDED, RESET, EITHER } end;          /* of the input */
    char *response, *body;  /* the last HTTP response; body points into it   */
    long id;                /* the user's id; 0: not known                   */
    struct tally sent[PARTNERS], received[PARTNERS];
} conns[CONNS];

static size_t conn_count;

static long long now(void)                                      /* ms */
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static struct conn *conn_named(const char *name)
{
    struct conn *c = conns;
    while (c < conns + conn_count && strcmp(c->name, name) != 0)
        c++;
    if (c == conns + conn_count) {
        if (conn_count == CONNS || strlen(name) >= sizeof c->name)
            bad_script("too many names, or too long a name: %s", name);
        strcpy(c->name, name);
        c->fd = -1;
        conn_count++;
    }
    return c;
}

/* is_due: turn() must write for c.  (wait_sent writes pieces.) */
static bool is_due(const struct conn *c)
{
    return held(&c->out) > 0 && !c->corked && c->piece == 0;
}

static void write_some(struct conn *c, size_t most)
{
    size_t len = held(&c->out) < most ? held(&c->out) : most;
    ssize_t n = write(c->fd, front(&c->out), len);
    if (n >= 0)
        c->out.start += (size_t)n;
    else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        c->out_error = errno;           /* no failure yet: the script may want */
        c->out.start = c->out.end;      /* it, and `expect end` can check it   */
    }
}

/* turn: the only function that waits.  It writes the output of all connections.  It
 * returns when some output moved, when `reader` (which may be NULL) has input, or at
 * the time `until`.  In the last case it returns false. */
static bool turn(const struct conn *reader, long long until)
{
    static struct pollfd set[CONNS];
    long long left = until - now();
    size_t i;
    for (i = 0; i < conn_count; i++) {
        set[i].events = (short)((&conns[i] == reader ? POLLIN : 0)
                                | (is_due(&conns[i]) ? POLLOUT : 0));
        set[i].fd = set[i].events != 0 ? conns[i].fd : -1;      /* -1: poll skips it */
    }
    if (poll(set, (nfds_t)conn_count, left < 0 ? 0 : (int)left) > 0)
        for (i = 0; i < conn_count; i++)
            if (is_due(&conns[i]) && (set[i].revents & ~POLLIN) != 0)
                write_some(&conns[i], SIZE_MAX);
    return now() < until;
}

static void pass(long long ms)          /* waits; output is still written */
{
    long long until = now() + ms;
    while (turn(NULL, until))
        ;
}

/* wait_sent: waits until the kernel has accepted all output.  Each accepted byte starts
 * the patience again. */
static void wait_sent(struct conn *c)
{
    long long until = now() + patience;
    size_t left;
    while ((left = held(&c->out)) > 0) {
        if (c->piece > 0) {
            write_some(c, c->piece);
            pass(PIECE_MS);
        } else
            turn(NULL, until);
        if (held(&c->out) < left)
            until = now() + patience;
        else if (now() >= until)
            fail("%zu bytes that the server does not take", left);
    }
}

/* flush: the end of every command that sends: one write, or all pieces. */
static void flush(struct conn *c)
{
    if (c->corked || held(&c->out) == 0)
        return;
    if (c->piece > 0)
        wait_sent(c);
    else
        write_some(c, SIZE_MAX);
}

enum got { MORE, NO_MORE, LATE };

/* fill: reads up to `most` bytes.  Returns NO_MORE if the input has ended (see c->end),
 * and LATE if nothing came until the time `until`. */
static enum got fill(struct conn *c, size_t most, long long until)
{
    ssize_t n;
    reserve(&c->in, most);
    turn(NULL, 0);      /* a long read must not stop the output of others */
    while (c->end == NOT_YET) {
        n = read(c->fd, c->in.bytes + c->in.end, most);
        if (n > 0) {
            c->in.end += (size_t)n;
            return MORE;
        }
        if (n == 0)     /* the kernel may have reported a reset to a write before */
            c->end = c->out_error == ECONNRESET ? RESET : ENDED;
        else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
            c->end = RESET;
        else if (!turn(c, until))
            return LATE;
    }
    return NO_MORE;
}

static void fail_without(const struct conn *c, enum got got)
{
    const char *what = got == LATE ? "nothing more in time"
                     : c->end == RESET ? "a reset" : "end of input";
    if (held(&c->in) == 0)
        fail("%s", what);
    fail("%s, after %s", what, shown(front(&c->in), held(&c->in)));
}

static void need_more(struct conn *c, long long until)
{
    enum got got = fill(c, READ_SIZE, until);
    if (got != MORE)
        fail_without(c, got);
}

/* ---- The words of a line --------------------------------------------------------- */

/* word: takes the next word; "" at the end of the line. */
static char *word(void)
{
    char *start = at.rest + strspn(at.rest, " ");
    char *end = start + strcspn(start, " ");
    at.rest = end + strspn(end, " ");
    *end = '\0';
    return start;
}

static char *rest_of_line(void)
{
    char *rest = at.rest;
    at.rest += strlen(at.rest);
    return rest;
}

static long number_in(const char *digits, long low, long high)
{
    char *end;
    long n;
    errno = 0;
    n = strtol(digits, &end, 10);
    if (end == digits || *end != '\0' || errno != 0 || n < low || n > high)
        bad_script("want a number from %ld to %ld, not \"%s\"", low, high, digits);
    return n;
}

static long number(long low, long high)
{
    return number_in(word(), low, high);
}

static long long milliseconds(const char *seconds)
{
    char *end;
    double s = strtod(seconds, &end);
    if (end == seconds || *end != '\0' || !(s > 0 && s < 86400))
        bad_script("want seconds, not \"%s\"", seconds);
    return (long long)(s * 1000);
}

static unsigned hex_byte(const char *p)
{
    char pair[3] = { 0 };
    memcpy(pair, p, strnlen(p, 2));
    if (strspn(pair, "0123456789abcdefABCDEF") != 2)
        bad_script("want two hexadecimal digits at \"%s\"", p);
    return (unsigned)strtoul(pair, NULL, 16);
}

/* put_quoted: the rest of the line, "text with \r \n \t \0 \\ \" \xHH". */
static void put_quoted(struct buffer *b)
{
    const char *text = rest_of_line(), *p = text + 1, *letter;
    if (*text != '"')
        bad_script("want \"bytes in quotes\", not: %s", text);
    while (*p != '"' && *p != '\0') {
        if (*p != '\\')
            put_byte(b, (unsigned char)*p++);
        else if (p[1] == 'x') {
            put_byte(b, hex_byte(p + 2));
            p += 4;
        } else if (p[1] != '\0' && (letter = strchr(escape_letters, p[1])) != NULL) {
            put_byte(b, (unsigned char)escape_values[letter - escape_letters]);
            p += 2;
        } else
            bad_script("no such escape: %s", p);
    }
    if (*p != '"' || p[1] != '\0')
        bad_script("the line must end with the closing quote");
}

/* user_id: `who` is a number, or the name of a connection that has joined. */
static long user_id(const char *who)
{
    if (*who < 'A' || *who > 'Z')
        return number_in(who, LONG_MIN, LONG_MAX);
    if (conn_named(who)->id == 0)
        bad_script("%s has no id yet", who);
    return conn_named(who)->id;
}

/* ---- Commands: the beginning and the end of a connection ------------------------- */

static void open_socket(struct conn *c, int family)
{
    int on = 1;
    c->fd = socket(family, SOCK_STREAM, 0);
    if (c->fd < 0)
        bad_script("no socket: %s", strerror(errno));
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    fcntl(c->fd, F_SETFD, FD_CLOEXEC);          /* a child must not keep it open */
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (c->rcvbuf > 0)                          /* connect() announces this window */
        setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &c->rcvbuf, sizeof c->rcvbuf);
}

/* finish_connect: returns 0, or the errno of a failed connection. */
static int finish_connect(int fd)
{
    struct pollfd set = { fd, POLLOUT, 0 };
    int error = 0;
    socklen_t size = sizeof error;
    if (poll(&set, 1, (int)patience) <= 0)
        return ETIMEDOUT;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    return error;
}

static int try_connect(struct conn *c, const char *address)
{
    struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                              .ai_socktype = SOCK_STREAM };
    struct addrinfo *found = NULL;
    int error = 0;
    if (c->fd >= 0)
        bad_script("%s is connected already", c->name);
    if (getaddrinfo(*address == '\0' ? "127.0.0.1" : address, port, &hints, &found) != 0)
        bad_script("not an address and a port: %s, %s", address, port);
    open_socket(c, found->ai_family);
    if (connect(c->fd, found->ai_addr, found->ai_addrlen) < 0)
        error = errno == EINPROGRESS ? finish_connect(c->fd) : errno;
    freeaddrinfo(found);
    return error;
}

static void do_rcvbuf(struct conn *c)
{
    c->rcvbuf = (int)number(1, INT_MAX);
}

static void do_sndbuf(struct conn *c)
{
    int size = (int)number(1, INT_MAX);
    setsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

static void connect_to(struct conn *c, const char *address)
{
    int error = try_connect(c, address);
    if (error != 0)
        fail("%s", strerror(error));
}

static void do_connect(struct conn *c)
{
    connect_to(c, word());
}

/* do_close: closes c and forgets everything about it, except its name. */
static void do_close(struct conn *c)
{
    close(c->fd);
    free(c->out.bytes);
    free(c->in.bytes);
    free(c->response);
    memset(&c->fd, 0, sizeof *c - offsetof(struct conn, fd));
    c->fd = -1;
}

static void do_reset(struct conn *c)
{
    struct linger at_once = { 1, 0 };           /* makes close() send a RST */
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    do_close(c);
}

static void do_refused(struct conn *c)
{
    int error = try_connect(c, word());
    if (error != ECONNREFUSED)
        fail("%s", error == 0 ? "a connection" : strerror(error));
    do_close(c);
}

/* ---- Commands: sending ----------------------------------------------------------- */

static void do_send(struct conn *c)
{
    put_quoted(&c->out);
    flush(c);
}

static void do_hex(struct conn *c)
{
    const char *p;
    for (p = rest_of_line(); *p != '\0'; p += 2)
        put_byte(&c->out, hex_byte(p));
    flush(c);
}

static void do_pieces(struct conn *c)
{
    c->piece = (size_t)number(0, INT_MAX);
}

static void do_cork(struct conn *c)                             /* and uncork */
{
    c->corked = at.what;
    flush(c);
}

static void do_sent(struct conn *c)
{
    wait_sent(c);
    if (c->out_error != 0)
        fail("a write that failed: %s", strerror(c->out_error));
}

static void do_shutdown(struct conn *c)
{
    do_sent(c);
    shutdown(c->fd, SHUT_WR);
}

static void do_stuck(struct conn *c)
{
    long long until = now() + patience, still_since = now();
    size_t left;
    want("output that stands still for %d ms", STUCK_MS);
    while ((left = held(&c->out)) > 0 && now() - still_since < STUCK_MS) {
        if (now() >= until)
            fail("output that still moves");
        turn(NULL, still_since + STUCK_MS);
        if (held(&c->out) != left)
            still_since = now();
    }
    if (left == 0)
        fail("all output %s", c->out_error == 0 ? "taken" : strerror(c->out_error));
}

/* The key=value words of `frame` describe a correct frame or a faulty one. */
enum key { OP, FIN, RSV, MASK, LEN, SIZE, CODE, REPEAT, KEYS };

static const char *const key_name[KEYS] = {
    "op", "fin", "rsv", "mask", "len", "size", "code", "repeat"
};

#define UNSET ULLONG_MAX    /* len: the shortest; size: the real one; code: no code */

struct spec {
    unsigned long long key[KEYS];
};

static struct spec plain_frame(int op)
{
    struct spec s = { { (unsigned)op, 1, 0, 1, UNSET, UNSET, UNSET, 1 } };
    return s;
}

/* put_frame: RFC 6455 section 5.2, without any check, so a script can break it. */
static void put_frame(struct buffer *b, const struct spec *s, const void *payload, size_t len)
{
    static const unsigned char mask[4] = { 0x37, 0xfa, 0x21, 0x3d };
    const unsigned long long *key = s->key;
    unsigned long long size = key[SIZE] == UNSET ? len : key[SIZE];
    unsigned long long bits = key[LEN];
    const unsigned char *p = payload;
    size_t i;
    if (bits == UNSET)
        bits = size < 126 ? 7 : size < 65536 ? 16 : 64;
    put_byte(b, key[FIN] << 7 | key[RSV] << 4 | key[OP]);
    put_byte(b, key[MASK] << 7 | (bits == 7 ? size & 0x7f : bits == 16 ? 126 : 127));
    for (; bits >= 8; bits -= 8)
        put_byte(b, size >> (bits - 8));
    if (key[MASK])
        put(b, mask, sizeof mask);
    reserve(b, len);
    for (i = 0; i < len; i++)
        b->bytes[b->end++] = (unsigned char)(key[MASK] ? p[i] ^ mask[i % 4] : p[i]);
}

static void send_whole(struct conn *c, int op, const void *payload, size_t len)
{
    struct spec s = plain_frame(op);
    put_frame(&c->out, &s, payload, len);
    flush(c);
}

static void do_message(struct conn *c)                          /* text, binary */
{
    const char *payload = rest_of_line();
    send_whole(c, at.what, payload, strlen(payload));
}

static void set_key(struct spec *s, char *pair)
{
    char *value = pair + strcspn(pair, "="), *end;
    unsigned op = 0;
    int k = 0;
    if (*value == '=')
        *value++ = '\0';
    while (k < KEYS && strcmp(key_name[k], pair) != 0)
        k++;
    while (op < 16 && (op_name[op] == NULL || strcmp(op_name[op], value) != 0))
        op++;
    if (k == KEYS)
        bad_script("a frame has no \"%s\"", pair);
    if (k == OP && op < 16) {
        s->key[OP] = op;
        return;
    }
    s->key[k] = strtoull(value, &end, 0);
    if (end == value || *end != '\0')
        bad_script("want a number behind \"%s=\"", pair);
}

static void do_frame(struct conn *c)
{
    struct spec s = plain_frame(TEXT);
    struct buffer payload = { 0 }, once = { 0 };
    while (*at.rest != '\0' && *at.rest != '"')
        set_key(&s, word());
    if (*at.rest == '"')
        put_quoted(&once);
    if (s.key[CODE] != UNSET) {
        put_byte(&payload, s.key[CODE] >> 8);
        put_byte(&payload, s.key[CODE]);
    }
    for (; s.key[REPEAT] > 0 && held(&once) > 0; s.key[REPEAT]--)
        put(&payload, once.bytes, held(&once));
    put_frame(&c->out, &s, payload.bytes, held(&payload));
    free(payload.bytes);
    free(once.bytes);
    flush(c);
}

/* ---- Incoming frames ------------------------------------------------------------- */

struct frame {
    int op;
    const unsigned char *payload;       /* in c->in, valid until c is read again */
    size_t len;
};

static int close_code(const struct frame *f)
{
    return f->len < 2 ? -1 : f->payload[0] << 8 | f->payload[1];
}

static void fail_with(const struct frame *f)
{
    if (f->op == CLOSE && f->len >= 2)
        fail("close %d %s", close_code(f), shown(f->payload + 2, f->len - 2));
    fail("%s %s", op_name[f->op], shown(f->payload, f->len));
}

/* check_head: checks the rules of RFC 6455 (5.1, 5.2, 5.5) for every frame of a server.
 * Our server also sends no fragments. */
static void check_head(const unsigned char *p, uint64_t len, size_t have)
{
    const char *wrong = NULL;
    unsigned op = p[0] & 0x0f, field = p[1] & 0x7f;
    if ((p[0] & 0x70) != 0)
        wrong = "a reserved bit";
    else if (op == CONT || op_name[op] == NULL)
        wrong = "an opcode that no whole message has";
    else if ((p[0] & 0x80) == 0)
        wrong = "FIN 0";
    else if ((p[1] & 0x80) != 0)
        wrong = "a masked frame";
    else if ((field == 126 && len < 126) || (field == 127 && len < 65536))
        wrong = "a length that is not in its shortest form";
    else if (op >= CLOSE && len > 125)
        wrong = "a control frame of more than 125 bytes";
    if (wrong != NULL)
        fail("%s, in %s", wrong, shown(p, have));
}

/* take_frame: returns false if the frame is not complete yet. */
static bool take_frame(struct conn *c, struct frame *f)
{
    const unsigned char *p = front(&c->in);
    size_t have = held(&c->in), head = 2, i;
    uint64_t len;
    if (have < head)
        return false;
    len = p[1] & 0x7f;
    head += len == 126 ? 2 : len == 127 ? 8 : 0;
    if (have < head)
        return false;
    for (i = 2; i < head; i++)
        len = (i == 2 ? 0 : len << 8) | p[i];
    check_head(p, len, have);
    if (len > have - head)
        return false;
    f->op = p[0] & 0x0f;
    f->payload = p + head;
    f->len = (size_t)len;
    c->in.start += head + f->len;
    return true;
}

static struct frame next_frame(struct conn *c)
{
    struct frame f = { 0, NULL, 0 };
    long long until = now() + patience;
    reserve(&c->in, READ_SIZE);
    for (;;) {
        while (!take_frame(c, &f))
            need_more(c, until);
        if (f.op != PING || !c->answers || at.what == PING)     /* ... `expect ping` */
            return f;
        send_whole(c, PONG, f.payload, f.len);
    }
}

static bool is_frame(const struct frame *f, int op, const void *payload, size_t len)
{
    return f->op == op && f->len == len && (len == 0 || memcmp(f->payload, payload, len) == 0);
}

static void expect_frame(struct conn *c, int op, const void *payload, size_t len)
{
    struct frame f = next_frame(c);
    if (!is_frame(&f, op, payload, len))
        fail_with(&f);
}

static void do_expect_message(struct conn *c)                   /* text, binary */
{
    const char *payload = rest_of_line();
    expect_frame(c, at.what, payload, strlen(payload));
}

static void do_expect_control(struct conn *c)                   /* ping, pong */
{
    struct buffer payload = { 0 };
    bool any = *at.rest == '\0';
    struct frame f;
    if (!any)
        put_quoted(&payload);
    f = next_frame(c);
    if (f.op != at.what || !(any || is_frame(&f, f.op, payload.bytes, held(&payload))))
        fail_with(&f);
    free(payload.bytes);
}

static long occurrences(const void *bytes, size_t len, const char *words)
{
    const char *p = bytes;
    size_t n = strlen(words), i;
    long count = 0;
    for (i = 0; n <= len && i <= len - n; i++)
        count += memcmp(p + i, words, n) == 0;
    return count;
}

static void do_expect_close(struct conn *c)
{
    const char *code = word(), *words = rest_of_line();
    bool empty = strcmp(code, "empty") == 0;
    long wanted = empty ? -1 : number_in(code, 0, 65535);
    struct frame f = next_frame(c);
    if (f.op != CLOSE || f.len == 1 || close_code(&f) != wanted
        || !(empty || occurrences(f.payload + 2, f.len - 2, words) > 0))
        fail_with(&f);
}

static void do_expect_notice(struct conn *c)
{
    static const char head[] = "{\"sender_id\":0,\"message\":\"", tail[] = "\"}";
    size_t head_len = strlen(head), tail_len = strlen(tail);
    struct frame f = next_frame(c);
    if (f.op != TEXT || f.len < head_len + tail_len || memcmp(f.payload, head, head_len) != 0
        || memcmp(f.payload + f.len - tail_len, tail, tail_len) != 0
        || !occurrences(f.payload + head_len, f.len - head_len - tail_len, rest_of_line()))
        fail_with(&f);
}

static void do_quiet(struct conn *c)
{
    static int serial;
    char payload[32];
    snprintf(payload, sizeof payload, "quiet %d", ++serial);
    want("nothing before pong \"%s\"", payload);
    send_whole(c, PING, payload, strlen(payload));
    expect_frame(c, PONG, payload, strlen(payload));
}

static void do_answers(struct conn *c)
{
    c->answers = true;
}

static void do_silent(struct conn *c)
{
    long long until = now() + number(1, INT_MAX);
    if (held(&c->in) > 0 || fill(c, READ_SIZE, until) == MORE)
        fail("%s", shown(front(&c->in), held(&c->in)));
    if (c->end != NOT_YET)
        fail_without(c, NO_MORE);
}

static void do_sip(struct conn *c)
{
    size_t whole = held(&c->in) + (size_t)number(1, INT_MAX), left;
    long long until = now() + patience;
    enum got got = MORE;
    while (got == MORE && (left = whole - held(&c->in)) > 0)
        got = fill(c, left < READ_SIZE ? left : READ_SIZE, until);
    if (got != MORE)
        fail_without(c, got);
}

/* do_expect_end: eof and reset want this end, with no bytes before it.  end wants any
 * end, and skips all bytes before it. */
static void do_expect_end(struct conn *c)
{
    long long until = now() + patience;
    enum got got = MORE;
    if (at.what == EITHER)
        while (got == MORE && now() < until) {
            c->in.start = c->in.end;
            got = fill(c, READ_SIZE, until);
        }
    else if (held(&c->in) == 0)
        got = fill(c, READ_SIZE, until);
    if (got == MORE)
        fail("%s", shown(front(&c->in), held(&c->in)));
    if (got == LATE || (at.what != EITHER && at.what != (int)c->end))
        fail_without(c, got);
}

/* ---- Numbered chat messages ------------------------------------------------------ */

static struct tally *tally_of(struct tally *list, long id)
{
    int i = 0;
    while (i < PARTNERS && list[i].count > 0 && list[i].id != id)
        i++;
    if (i == PARTNERS)
        bad_script("messages of more than %d users", PARTNERS);
    list[i].id = id;
    return &list[i];
}

/* put_message: {"key":id,"message":"00000007hijk..."}.  Each letter depends on the
 * message's number and on its place.  So bytes from another message or another place
 * are noticed. */
static void put_message(struct buffer *b, const char *key, long id, long serial, size_t size)
{
    char head[80];
    size_t i;
    snprintf(head, sizeof head, "{\"%s\":%ld,\"message\":\"%0*ld", key, id, DIGITS, serial);
    put_string(b, head);
    reserve(b, size);
    for (i = DIGITS; i < size; i++)
        b->bytes[b->end++] = (unsigned char)('a' + ((size_t)serial + i) % 26);
    put_string(b, "\"}");
}

static void do_say(struct conn *c)
{
    struct spec s = plain_frame(TEXT);
    long to = user_id(word());
    size_t size = (size_t)number(DIGITS, INT_MAX);
    long count = *at.rest == '\0' ? 1 : number(1, INT_MAX);
    struct tally *tally = tally_of(c->sent, to);
    struct buffer message = { 0 };
    for (; count > 0; count--) {
        message.end = 0;
        put_message(&message, "recipient_id", to, ++tally->count, size);
        put_frame(&c->out, &s, message.bytes, held(&message));
    }
    free(message.bytes);
    flush(c);
}

struct senders {
    int count;
    long id[PARTNERS], share[PARTNERS];
};

static struct senders senders_in(char *list)
{
    struct senders s = { 0 };
    char *who;
    for (who = strtok(list, ","); who != NULL && s.count < PARTNERS; who = strtok(NULL, ","))
        s.id[s.count++] = user_id(who);
    if (who != NULL || s.count == 0)
        bad_script("want 1 to %d users: 1,2,3", PARTNERS);
    return s;
}

/* sender_of: the index in s of this message's sender; -1: it is not in s. */
static int sender_of(const struct senders *s, const struct frame *f)
{
    char head[64] = { 0 };
    long id;
    int i;
    if (f->len > 0)
        memcpy(head, f->payload, f->len < sizeof head ? f->len : sizeof head - 1);
    if (f->op == TEXT && sscanf(head, "{\"sender_id\":%ld,", &id) == 1)
        for (i = 0; i < s->count; i++)
            if (s->id[i] == id)
                return i;
    return -1;
}

/* take_said: expects the next message of one of the senders in s, unchanged.  If size
 * is 0, it may have any size. */
static void take_said(struct conn *c, struct senders *s, size_t size)
{
    static struct buffer message;
    struct frame f = next_frame(c);
    int i = sender_of(s, &f);
    long serial;
    size_t around;                      /* bytes of the payload that are not the message string */
    if (i < 0) {
        fail_with(&f);
        return;
    }
    around = (size_t)snprintf(NULL, 0, "{\"sender_id\":%ld,\"message\":\"\"}", s->id[i]);
    if (size == 0 && f.len > around)
        size = f.len - around;
    serial = ++tally_of(c->received, s->id[i])->count;
    want("message %ld of user %ld, %zu bytes", serial, s->id[i], around + size);
    message.end = 0;
    put_message(&message, "sender_id", s->id[i], serial, size);
    if (!is_frame(&f, TEXT, message.bytes, held(&message)))
        fail_with(&f);
    s->share[i]++;
}

static void do_expect_said(struct conn *c)
{
    struct senders s = senders_in(word());
    size_t size = (size_t)number(0, INT_MAX);
    long count = *at.rest == '\0' ? 1 : number(1, INT_MAX);
    for (; count > 0; count--)
        take_said(c, &s, size);
}

static void do_share(struct conn *c)
{
    struct senders s = senders_in(word());
    long count = number(1, INT_MAX), percent = number(0, 100), i;
    double mean = (double)count / s.count, off;
    for (i = 0; i < count; i++)
        take_said(c, &s, 0);
    want("of each user %g messages, within %ld %%", mean, percent);
    for (i = 0; i < s.count; i++) {
        off = ((double)s.share[i] - mean) * 100 / mean;
        if (off > (double)percent || -off > (double)percent)
            fail("%ld messages of user %ld", s.share[i], s.id[i]);
    }
}

/* ---- HTTP ------------------------------------------------------------------------ */

static bool same_name(const char *a, const char *b)     /* of two header lines */
{
    size_t n = strcspn(a, ":\r");
    return n == strcspn(b, ":\r") && strncasecmp(a, b, n) == 0;
}

static void put_line(struct buffer *b, const char *line)
{
    if (strchr(line, ':') == NULL)
        return;                         /* only a name: send no such header */
    put_string(b, line);
    put_string(b, "\r\n");
}

/* put_request: RFC 6455 section 4.1.  The script's headers, "A: 1 | B: 2", replace the
 * usual ones of the same names.  Only a name leaves the header out. */
static void put_request(struct buffer *b, char *given)
{
    char host[40];
    const char *usual[] = { host, "Upgrade: websocket", "Connection: Upgrade",
                            "Sec-WebSocket-Key: " KEY, "Sec-WebSocket-Version: 13" };
    size_t count = sizeof usual / sizeof *usual, i;
    char *next;
    snprintf(host, sizeof host, "Host: localhost:%s", port);
    put_string(b, "GET / HTTP/1.1\r\n");
    for (; given != NULL && *given != '\0'; given = next) {
        next = strstr(given, " | ");
        if (next != NULL) {
            *next = '\0';
            next += strlen(" | ");
        }
        put_line(b, given);
        for (i = 0; i < count; i++)
            if (same_name(usual[i], given))
                usual[i] = "";
    }
    for (i = 0; i < count; i++)
        put_line(b, usual[i]);
    put_string(b, "\r\n");
}

/* header_line: finds a line of the last response: the line "Name: value", or if
 * `wanted` is only a name, any line with this name. */
static const char *header_line(const struct conn *c, const char *wanted)
{
    size_t len = strlen(wanted), name = strcspn(wanted, ":");
    const char *line;
    if (c->response == NULL)
        bad_script("%s has had no HTTP response", c->name);
    for (line = c->response; line < c->body; line = strstr(line, "\r\n") + 2)
        if (same_name(line, wanted)
            && (len == name || (strcspn(line, "\r") == len
                                && memcmp(line + name, wanted + name, len - name) == 0)))
            return line;
    return NULL;
}

static void check_header(const struct conn *c, const char *wanted)
{
    if (header_line(c, wanted) == NULL)
        fail("no header \"%s\" in %s", wanted, shown(c->response, strlen(c->response)));
}

static long header_number(const struct conn *c, const char *name, long otherwise)
{
    const char *line = header_line(c, name);
    return line == NULL ? otherwise : strtol(line + strlen(name) + 1, NULL, 10);
}

/* keep_response: copies the first len bytes of the input; `head` is the head's size. */
static void keep_response(struct conn *c, size_t head, size_t len)
{
    free(c->response);
    c->response = no_null(malloc(len + 1));
    memcpy(c->response, front(&c->in), len);
    c->response[len] = '\0';
    c->body = c->response + head;
}

static bool has_status(const struct conn *c, long status)
{
    char line[32];
    snprintf(line, sizeof line, "HTTP/1.1 %ld ", status);
    return strncmp(c->response, line, strlen(line)) == 0;
}

/* read_response: reads the head, and then a body of Content-Length bytes.  Without that
 * header, the body goes on to the end of the input. */
static void read_response(struct conn *c, bool has_body)
{
    long long until = now() + patience;
    size_t head = 4, whole;
    long body;
    enum got got = MORE;
    for (; held(&c->in) < head || memcmp(front(&c->in) + head - 4, "\r\n\r\n", 4) != 0; head++)
        while (held(&c->in) <= head)
            need_more(c, until);
    keep_response(c, head, head);
    has_body = has_body && !has_status(c, 101);
    body = has_body ? header_number(c, "Content-Length", -1) : 0;
    while (body >= 0 && held(&c->in) < head + (size_t)body)
        need_more(c, until);
    while (body < 0 && got == MORE)
        got = fill(c, READ_SIZE, until);
    if (got == LATE)
        fail_without(c, got);
    whole = body < 0 ? held(&c->in) : head + (size_t)body;
    keep_response(c, head, whole);
    c->in.start += whole;
    c->id = header_number(c, "Chat-User-Id", c->id);
}

static void do_expect_http(struct conn *c)
{
    char *statuses = word();
    char *second = strchr(statuses, '|');
    long status, or_status;
    if (second != NULL)
        *second++ = '\0';
    status = number_in(statuses, 100, 599);
    or_status = second != NULL ? number_in(second, 100, 599) : status;
    read_response(c, strcmp(word(), "head") != 0);
    if (!has_status(c, status) && !has_status(c, or_status))
        fail("%s", shown(c->response, strlen(c->response)));
}

/* do_expect_welcome: RFC 6455 section 4.2.2 item 5, and the id from our server. */
static void do_expect_welcome(struct conn *c)
{
    want("101 with the accept value of the RFC's key, and Chat-User-Id");
    read_response(c, false);
    if (!has_status(c, 101))
        fail("%s", shown(c->response, strlen(c->response)));
    check_header(c, "Upgrade: websocket");
    check_header(c, "Connection: Upgrade");
    check_header(c, "Sec-WebSocket-Accept: " ACCEPT);
    check_header(c, "Chat-User-Id");
}

static void do_upgrade(struct conn *c)
{
    if (c->fd < 0)
        connect_to(c, "");
    put_request(&c->out, rest_of_line());
    flush(c);
}

static void do_join(struct conn *c)
{
    do_upgrade(c);
    do_expect_welcome(c);
}

static void do_expect_id(struct conn *c)
{
    if (c->id != number(1, LONG_MAX))
        fail("id %ld", c->id);
}

static void do_expect_header(struct conn *c)
{
    check_header(c, rest_of_line());
}

static void do_expect_no_header(struct conn *c)
{
    if (header_line(c, rest_of_line()) != NULL)
        fail("%s", shown(c->response, strlen(c->response)));
}

static void do_expect_body(struct conn *c)                      /* and no body */
{
    if (c->response == NULL)
        bad_script("%s has had no HTTP response", c->name);
    if ((strstr(c->body, rest_of_line()) != NULL) != at.what)
        fail("%s", shown(c->body, strlen(c->body)));
}

/* ---- The server's process, and time ---------------------------------------------- */

static long count_in_log(const char *words)
{
    struct buffer text = { 0 };
    const char *name = getenv("CHAT_LOG");
    FILE *f = name == NULL ? NULL : fopen(name, "r");
    size_t n = 1;
    long count;
    if (f == NULL)
        bad_script("cannot read the file that CHAT_LOG names");
    while (n > 0) {
        reserve(&text, READ_SIZE);
        n = fread(text.bytes + text.end, 1, READ_SIZE, f);
        text.end += n;
    }
    fclose(f);
    count = occurrences(text.bytes, text.end, words);
    free(text.bytes);
    return count;
}

static void do_log(struct conn *none)
{
    long long until = now() + patience;
    bool counted = at.rest[strspn(at.rest, "0123456789")] == ' ';
    long wanted = counted ? number(1, LONG_MAX) : 1, count;
    const char *words = rest_of_line();
    (void)none;
    while ((count = count_in_log(words)) < wanted) {
        if (now() >= until)
            fail("%ld times: %s", count, words);
        pass(LOOK_MS);
    }
}

static void do_no_log(struct conn *none)
{
    (void)none;
    if (count_in_log(rest_of_line()) > 0)
        fail("these words, in the log");
}

static void run(const char *command)
{
    long long until = now() + patience;
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        setpgid(0, 0);                  /* one kill() then ends its children, too */
        close(STDIN_FILENO);            /* the child must not read the script */
        open("/dev/null", O_RDONLY);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    while (pid > 0 && waitpid(pid, &status, WNOHANG) == 0) {
        if (now() >= until) {
            kill(-pid, SIGKILL);
            fail("it still runs");
        }
        pass(LOOK_MS);
    }
    want("exit status 0");
    if (pid < 0 || !WIFEXITED(status))
        fail("no exit");
    if (WEXITSTATUS(status) != 0)
        fail("exit status %d", WEXITSTATUS(status));
}

static void do_run(struct conn *none)
{
    (void)none;
    run(rest_of_line());
}

static void do_signal(struct conn *none)
{
    char command[80];
    (void)none;
    snprintf(command, sizeof command, "kill -s %s \"$CHAT_PID\"", word());
    run(command);
}

static void do_patience(struct conn *none)
{
    (void)none;
    patience = milliseconds(word());
}

static void do_clock(struct conn *none)
{
    static long long start;
    long long ms = now() - start;
    long low, high;
    (void)none;
    if (*at.rest == '\0') {
        start = now();
        return;
    }
    low = number(0, INT_MAX);
    high = number(low, INT_MAX);
    if (ms < low || ms > high)
        fail("%lld ms", ms);
}

/* ---- The table of commands ------------------------------------------------------- */

enum who { NOBODY, ANY, OPEN };         /* no name; a name; a name that is connected */

static const struct command {
    enum who who;
    const char *name, *words;
    void (*run)(struct conn *c);
    int what;
    const char *help;
} commands[] = {
    { ANY,  "rcvbuf", "N", do_rcvbuf, 0, "SO_RCVBUF of the next connect; small: full soon" },
    { ANY,  "connect", "[ADDRESS]", do_connect, 0, "plain TCP to 127.0.0.1, or to ADDRESS" },
    { ANY,  "refused", "[ADDRESS]", do_refused, 0, "connecting is refused" },
    { ANY,  "join", "[HEADER: VALUE | ...]", do_join, 0, "upgrade, expect welcome" },
    { ANY,  "upgrade", "[HEADER: VALUE | ...]", do_upgrade, 0,
      "connect if necessary, send the request (see below)" },
    { OPEN, "shutdown", "", do_shutdown, 0, "send all output, then end it" },
    { OPEN, "close", "", do_close, 0, "close at once; unread input makes it a reset" },
    { OPEN, "reset", "", do_reset, 0, "close at once with a TCP reset" },
    { OPEN, "sndbuf", "N", do_sndbuf, 0, "SO_SNDBUF" },
    { OPEN, "send", "\"BYTES\"", do_send, 0, "raw bytes, with escapes" },
    { OPEN, "hex", "8185...", do_hex, 0, "raw bytes in hexadecimal" },
    { OPEN, "pieces", "N", do_pieces, 0, "write N bytes each 1 ms from now on; 0: all at once" },
    { OPEN, "cork", "", do_cork, true, "hold back all output ..." },
    { OPEN, "uncork", "", do_cork, false, "... and send it in one write" },
    { OPEN, "text", "PAYLOAD", do_message, TEXT, "one masked frame with the rest of the line" },
    { OPEN, "binary", "PAYLOAD", do_message, BINARY, "the same with a binary frame" },
    { OPEN, "frame", "KEY=VALUE... [\"BYTES\"]", do_frame, 0,
      "any frame, correct or faulty (see below)" },
    { OPEN, "say", "USER SIZE [COUNT]", do_say, 0, "COUNT numbered messages of SIZE bytes" },
    { OPEN, "sent", "", do_sent, 0, "wait until the kernel has accepted all output" },
    { OPEN, "stuck", "", do_stuck, 0, "wait until no output has moved for 300 ms" },
    { OPEN, "expect said", "USER[,USER...] SIZE [COUNT]", do_expect_said, 0,
      "the next COUNT messages of `say`, no gap; SIZE 0: any" },
    { OPEN, "share", "USER,USER... COUNT PERCENT", do_share, 0,
      "COUNT messages; each user's share is near the mean" },
    { OPEN, "expect text", "PAYLOAD", do_expect_message, TEXT, "the next frame: a text" },
    { OPEN, "expect binary", "PAYLOAD", do_expect_message, BINARY, "the next frame: a binary" },
    { OPEN, "expect ping", "[\"BYTES\"]", do_expect_control, PING, "" },
    { OPEN, "expect pong", "[\"BYTES\"]", do_expect_control, PONG, "" },
    { OPEN, "expect close", "CODE|empty [WORDS]", do_expect_close, 0, "WORDS: in the reason" },
    { OPEN, "expect notice", "WORDS", do_expect_notice, 0, "text of sender_id 0 with WORDS in it" },
    { OPEN, "expect eof", "", do_expect_end, ENDED, "end of input, nothing before it" },
    { OPEN, "expect reset", "", do_expect_end, RESET, "a reset, nothing before it" },
    { OPEN, "expect end", "", do_expect_end, EITHER, "either, whatever comes before it" },
    { OPEN, "expect http", "STATUS[|STATUS] [head]", do_expect_http, 0,
      "a response, one of the two; head: has no body" },
    { OPEN, "expect welcome", "", do_expect_welcome, 0, "a right 101 with Chat-User-Id" },
    { ANY,  "expect id", "N", do_expect_id, 0, "Chat-User-Id was N" },
    { ANY,  "expect header", "NAME[: VALUE]", do_expect_header, 0, "in the last response" },
    { ANY,  "expect no header", "NAME[: VALUE]", do_expect_no_header, 0, "" },
    { ANY,  "expect body", "WORDS", do_expect_body, true, "WORDS are in the last response's body" },
    { ANY,  "expect no body", "WORDS", do_expect_body, false, "WORDS are not in it" },
    { OPEN, "quiet", "", do_quiet, 0, "send a ping; the next frame must be its pong" },
    { OPEN, "silent", "MS", do_silent, 0, "no byte and no end for MS milliseconds" },
    { OPEN, "answers", "", do_answers, 0, "`expect` answers pings from now on" },
    { OPEN, "sip", "BYTES", do_sip, 0, "read so many bytes for a later `expect`" },
    { NOBODY, "log", "[N] WORDS", do_log, 0, "wait until $CHAT_LOG has WORDS (N times)" },
    { NOBODY, "no log", "WORDS", do_no_log, 0, "$CHAT_LOG does not have WORDS now" },
    { NOBODY, "signal", "TERM|INT|STOP|CONT|...", do_signal, 0, "send it to $CHAT_PID" },
    { NOBODY, "run", "SHELL COMMAND", do_run, 0, "its exit status must be 0" },
    { NOBODY, "patience", "SECONDS", do_patience, 0, "the longest time for any wait (5)" },
    { NOBODY, "clock", "[MIN MAX]", do_clock, 0, "start it; check: MIN to MAX ms ago" }
};

static void print_help(void)
{
    char syntax[80];
    size_t i;
    puts("usage: peer [-t SECONDS] PORT < script\n\n"
         "A stands for the name of a connection.  It begins with a capital letter.\n");
    for (i = 0; i < sizeof commands / sizeof *commands; i++) {
        snprintf(syntax, sizeof syntax, "%s%s %s", commands[i].who == NOBODY ? "" : "A ",
                 commands[i].name, commands[i].words);
        printf("%-42s %s\n", syntax, commands[i].help);
    }
    puts("\nKEY=VALUE of a frame: op=text|binary|cont|ping|pong|close|0..15 fin=0|1 rsv=0..7\n"
         "mask=0|1 len=7|16|64 (bits of the length field) size=N (the announced length)\n"
         "code=N (of a close) repeat=N (BYTES are sent N times)\n"
         "BYTES may contain \\r \\n \\t \\0 \\\\ \\\" \\xHH\n"
         "HEADER: VALUE replaces the usual header of this name; only HEADER: leave it out\n"
         "USER: an id, or the name of a connection that has joined");
}

/* find_command: finds the command whose name begins at.rest, and skips the name. */
static const struct command *find_command(bool named)
{
    size_t i, len;
    for (i = 0; i < sizeof commands / sizeof *commands; i++) {
        len = strlen(commands[i].name);
        if (named != (commands[i].who == NOBODY) && strncmp(at.rest, commands[i].name, len) == 0
            && (at.rest[len] == ' ' || at.rest[len] == '\0')) {
            at.rest += len + (at.rest[len] == ' ');
            return &commands[i];
        }
    }
    bad_script("no such command");
    return NULL;
}

static void play(char *line)
{
    const struct command *command;
    struct conn *c = NULL;
    at.rest = line + strspn(line, " ");
    if (*at.rest == '#' || *at.rest == '\0')
        return;
    if (*at.rest >= 'A' && *at.rest <= 'Z')
        c = conn_named(word());
    want("%s", at.rest + (strncmp(at.rest, "expect ", 7) == 0 ? 7 : 0));
    command = find_command(c != NULL);
    if (command->who == OPEN && c->fd < 0)
        bad_script("%s is not connected", c->name);
    at.what = command->what;
    command->run(c);
    if (*at.rest != '\0')
        bad_script("too much on the line: %s", at.rest);
}

static void on_sigpipe(int number)          /* children would inherit SIG_IGN */
{
    (void)number;
}

/* macOS allows 256 at first, and some scripts need more. */
static void take_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < DESCRIPTORS) {
        limit.rlim_cur = limit.rlim_max < DESCRIPTORS ? limit.rlim_max : DESCRIPTORS;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    struct sigaction action = { .sa_handler = on_sigpipe, .sa_flags = SA_RESTART };
    char *line = NULL;
    size_t size = 0;
    int option;
    at.text = argv[0];
    while ((option = getopt(argc, argv, "t:h")) != -1) {
        if (option == 't')
            patience = milliseconds(optarg);
        if (option == 'h') {
            print_help();
            return 0;
        }
        if (option == '?')
            return 2;
    }
    if (optind != argc - 1) {
        fputs("usage: peer [-t SECONDS] PORT < script; peer -h lists the commands\n", stderr);
        return 2;
    }
    port = argv[optind];
    sigaction(SIGPIPE, &action, NULL);
    take_descriptors();
    while (getline(&line, &size, stdin) > 0) {
        line[strcspn(line, "\n")] = '\0';
        at.line++;
        at.text = no_null(strdup(line));
        play(line);
        free(at.text);
    }
    free(line);
    return 0;
}
