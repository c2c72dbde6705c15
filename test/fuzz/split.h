/* split.h -- TCP may cut a stream of bytes anywhere, and the result must not change.
 *
 *   check_request   Every first part of a request must give the same result, from the
 *                   shortest one that gives a result at all.
 *   check_frames    Frames must give the same events whole, byte by byte, and in random
 *                   pieces.  A second decoder must give these events, too.  It is slow
 *                   and simple, and sees all bytes at once.
 *
 * split.c makes up the streams by a grammar.  libFuzzer (fuzz-request.c, fuzz-frames.c)
 * makes up any bytes.
 *
 * Order: random numbers, requests, the record of events, the second decoder, ways of
 * cutting. */

#ifndef SPLIT_H
#define SPLIT_H

#include "../../ws.h"
#include "fuzz.h"

enum { STREAM_MAX = 300000 };   /* bytes */

void seed_random(uint64_t seed);
void check_request(const uint8_t *request, size_t len);
void check_frames(const uint8_t *stream, size_t len, size_t limit, int random_cuts);

/* Random numbers that are the same on every machine (xorshift64*). */
static uint64_t random_state;

void seed_random(uint64_t seed)
{
    random_state = (seed + 1) * UINT64_C(0x9E3779B97F4A7C15);
}

static size_t pick(size_t below)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (size_t)((random_state * UINT64_C(0x2545F4914F6CDD1D) >> 33) % below);
}

/* ---- Requests ---- */

static bool same_view(struct ws_view a, struct ws_view b)
{
    return a.at == b.at && a.len == b.len;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool same_verdict(const struct ws_request *a, const struct ws_request *b)
{
    return a->status == b->status && same_text(a->reason, b->reason) && a->size == b->size
        && a->head == b->head && a->offers == b->offers && same_view(a->seen, b->seen)
        && same_view(a->host, b->host) && same_view(a->origin, b->origin)
        && same_view(a->key, b->key);
}

static bool is_within(struct ws_view v, size_t size)
{
    return v.len <= size && v.at <= size - v.len;
}

static bool parse_first(const uint8_t *request, size_t len, struct ws_request *r)
{
    uint8_t *copy = exact_copy(request, len);
    bool told = ws_parse_request(copy, len, "notices", r);
    free(copy);
    return told;
}

void check_request(const uint8_t *request, size_t len)
{
    struct ws_request first, r;
    size_t known = 0;           /* bytes of the shortest part with a result */

    while (known <= len && !parse_first(request, known, &first))
        known++;
    if (known > len) {
        promise(len < WS_HEAD_MAX, "no verdict on %zu bytes", len);
        return;
    }
    promise(first.status == 101 ? first.reason == NULL : first.status >= 400,
            "status %d", first.status);
    promise(first.size <= known && is_within(first.seen, known) && is_within(first.host, known)
            && is_within(first.origin, known) && is_within(first.key, known),
            "a view reaches beyond byte %zu", known);
    /* Every part; or about 200 parts of a long request. */
    for (size_t n = known; n <= len; n += 1 + (len - known) / 200)
        promise(parse_first(request, n, &r) && same_verdict(&first, &r),
                "%d %s with %zu bytes, %d %s with %zu", first.status,
                first.reason ? first.reason : "", known, r.status, r.reason ? r.reason : "", n);
    promise(parse_first(request, len, &r) && same_verdict(&first, &r), "%zu bytes differ", len);
}

/* ---- The record of events ---- */

struct record {
    size_t len;
    char text[2 * STREAM_MAX];
    const char *reason;         /* of the breach; NULL from the second decoder */
};

static void note(struct record *r, enum ws_type type, const uint8_t *payload,
                 const struct ws_event *e)
{
    static const char *const names[] = { "", "text", "binary", "ping", "pong", "close", "breach" };
    char *end = r->text + r->len;
    promise(r->len + e->len + 100 < sizeof r->text, "the record is full");
    if (type == WS_BREACH) {
        end += sprintf(end, "breach %d at %zu", e->code, e->byte);
        r->reason = e->reason;
    } else {
        end += sprintf(end, "%s %d, bad %zu, %zu bytes: ", names[type],
                       type == WS_CLOSE ? e->code : 0, e->bad, e->len);
        memcpy(end, payload, e->len);
        end += e->len;
    }
    *end++ = '\n';
    r->len = (size_t)(end - r->text);
}

/* Records the bytes of an unfinished message or header. */
static void note_kept(struct record *r, size_t kept)
{
    r->len += (size_t)sprintf(r->text + r->len, "%zu bytes kept\n", kept);
}

/* Returns the beginning of the first line that differs from the other record. */
static void show_rest(const char *what, const struct record *r, const struct record *other)
{
    size_t same = 0, from = 0;
    for (; same < r->len && same < other->len && r->text[same] == other->text[same]; same++)
        if (r->text[same] == '\n')
            from = same + 1;
    fprintf(stderr, "%s:\n", what);
    for (size_t i = from; i < r->len; i++)
        if (r->text[i] == '\n' || (r->text[i] >= ' ' && r->text[i] <= '~'))
            fputc(r->text[i], stderr);
        else
            fprintf(stderr, "\\x%02X", (unsigned)(uint8_t)r->text[i]);
}

/* ---- The second decoder: it gets the whole stream, and changes no byte of it ---- */

struct frame {
    bool fin, control;
    int opcode;
    uint64_t len;
    size_t size;                /* bytes of the header */
};

enum { WHOLE = 0, PART = -1 };  /* beside the close codes */

/* Reads a header.  The caller knows the type of the message, and how many more bytes it
 * may have.  Returns WHOLE, PART, or a close code. */
static int read_frame(const uint8_t *s, size_t len, enum ws_type inside, uint64_t room,
                      struct frame *f)
{
    size_t extra;

    if (len < 1)
        return PART;
    f->fin = s[0] >= 0x80;
    f->opcode = s[0] % 16;
    f->control = f->opcode >= 8;
    if (s[0] / 16 % 8 != 0 || f->opcode > 10 || (f->opcode > 2 && f->opcode < 8))
        return WS_PROTOCOL_ERROR;
    if (f->control ? !f->fin : (f->opcode == 0) != (inside != WS_MORE))
        return WS_PROTOCOL_ERROR;
    if (len < 2)
        return PART;
    f->len = s[1] % 128;
    if (s[1] < 128 || (f->control && f->len > 125))
        return WS_PROTOCOL_ERROR;
    extra = f->len < 126 ? 0 : f->len == 126 ? 2 : 8;
    if (len < 2 + extra)
        return PART;
    if (extra > 0)
        f->len = 0;
    for (size_t i = 2; i < 2 + extra; i++)
        f->len = f->len * 256 + s[i];
    if ((extra == 2 && f->len < 126) || (extra == 8 && (f->len < 65536 || s[2] >= 128)))
        return WS_PROTOCOL_ERROR;
    if (!f->control && f->len > room)
        return WS_TOO_BIG;
    f->size = 2 + extra + 4;
    return len < f->size ? PART : WHOLE;
}

/* Returns the first byte that is not UTF-8 (RFC 3629), counted from 1; or 0.  The bytes
 * of a character that were read so far leave a range of possible characters. */
static size_t first_bad(const uint8_t *text, size_t len, bool ended)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };     /* by length */
    size_t i = 0;
    while (i < len) {
        unsigned bytes = text[i] < 0x80 ? 1 : text[i] < 0xC0 ? 0 : text[i] < 0xE0 ? 2
                         : text[i] < 0xF0 ? 3 : text[i] < 0xF8 ? 4 : 0;
        uint32_t seen = bytes < 2 ? text[i] : text[i] & (0x7Fu >> bytes);
        if (bytes == 0)
            return i + 1;
        for (unsigned k = 1; k <= bytes; k++) {
            uint32_t from = seen << 6 * (bytes - k), to = from + (1u << 6 * (bytes - k)) - 1;
            if (to < least[bytes] || from > 0x10FFFF || (from >= 0xD800 && to <= 0xDFFF))
                return i + k;
            if (k < bytes && i + k == len)
                return ended ? len : 0;
            if (k < bytes && (text[i + k] & 0xC0) != 0x80)
                return i + k + 1;
            if (k < bytes)
                seen = seen << 6 | (text[i + k] & 0x3F);
        }
        i += bytes;
    }
    return 0;
}

static bool is_sendable(int code)       /* 7.4, and IANA's list */
{
    return code >= 1000 && code < 5000 && (code < 1015 || code >= 3000)
        && code != 1004 && code != 1005 && code != 1006;
}

/* A control frame with its payload.  Returns false if it is the last one. */
static bool note_control(struct record *r, int opcode, const uint8_t *payload, size_t len)
{
    struct ws_event e = { .len = len };
    if (opcode != WS_OP_CLOSE) {
        note(r, opcode == WS_OP_PING ? WS_PING : WS_PONG, payload, &e);
        return true;
    }
    e.code = len == 0 ? WS_NO_CODE : len == 1 ? 0 : payload[0] * 256 + payload[1];
    e.len = len < 2 ? 0 : len - 2;
    if (len != 0 && !is_sendable(e.code))
        e = (struct ws_event){ .code = WS_PROTOCOL_ERROR };
    else if (first_bad(payload + 2, e.len, true) != 0)
        e = (struct ws_event){ .code = WS_NOT_UTF8 };
    else {
        note(r, WS_CLOSE, payload + 2, &e);
        return false;
    }
    note(r, WS_BREACH, NULL, &e);
    return false;
}

/* Checks text[0..n), the data of a message so far.  Returns false if the message is a
 * text and not UTF-8. */
static bool note_data(struct record *r, enum ws_type type, const uint8_t *text, size_t n,
                      bool ended)
{
    struct ws_event e = { .len = n, .bad = first_bad(text, n, ended) };
    if (type == WS_TEXT && e.bad != 0) {
        e = (struct ws_event){ .code = WS_NOT_UTF8, .byte = e.bad };
        note(r, WS_BREACH, NULL, &e);
        return false;
    }
    if (ended)
        note(r, type, text, &e);
    return true;
}

static void decode_simply(const uint8_t *s, size_t len, size_t limit, struct record *r)
{
    uint8_t control[WS_CONTROL_MAX + 2] = { 0 }, *text = exact_copy(s, len);
    enum ws_type type = WS_MORE;        /* of the unfinished message */
    size_t n = 0, at = 0;               /* n: bytes of that message */
    struct frame f = { 0 };
    int code;

    while ((code = read_frame(s + at, len - at, type, limit - n, &f)) == WHOLE) {
        size_t there = len - at - f.size < f.len ? len - at - f.size : (size_t)f.len;
        uint8_t *to = f.control ? control : text + n;
        if (f.control && there < f.len)
            break;
        for (size_t i = 0; i < there; i++)
            to[i] = s[at + f.size + i] ^ s[at + f.size - 4 + i % 4];
        at += f.size + there;
        if (f.control && note_control(r, f.opcode, control, there))
            continue;
        if (f.control)
            goto over;
        n += there;
        if (f.opcode != 0)
            type = f.opcode == 1 ? WS_TEXT : WS_BINARY;
        if (!note_data(r, type, text, n, f.fin && there == f.len))
            goto over;
        if (there < f.len)
            break;
        if (f.fin) {
            n = 0;
            type = WS_MORE;
        }
    }
    if (code > 0)
        note(r, WS_BREACH, NULL, &(struct ws_event){ .code = code });
    else
        note_kept(r, n + len - at);
over:
    free(text);
}

/* ---- Ways of cutting ---- */

enum way { AT_ONCE, BYTE_BY_BYTE, AT_RANDOM };

static bool now_and_then(enum way way)
{
    return way == AT_RANDOM && pick(4) == 0;
}

static size_t next_piece(enum way way, size_t left)
{
    size_t most = pick(4) == 0 ? 20000 : pick(2) == 0 ? 200 : 6;
    size_t n = way == AT_ONCE ? left : way == BYTE_BY_BYTE ? 1 : 1 + pick(most);
    return n < left ? n : left;
}

/* Handles the frames in the buffer, as chat.c does, until the client must wait.
 * Returns the last event.  WS_TEXT means that the client waits and bytes are left. */
static enum ws_type take_events(struct ws_decoder *d, uint8_t *buf, size_t len, enum way way,
                                struct record *r)
{
    struct ws_event e;
    for (;;) {
        enum ws_type type = ws_next(d, buf, len, &e);
        if (type == WS_MORE)
            return type;
        promise(type == WS_BREACH || (e.len <= len && e.at <= len - e.len), "outside the buffer");
        note(r, type, buf + e.at, &e);
        if (type == WS_CLOSE || type == WS_BREACH)
            return type;
        if (now_and_then(way))
            return WS_TEXT;     /* the answer to the next frame has no room */
    }
}

/* Moves the bytes that are still needed to the front of a new block, with room for
 * exactly n more bytes. */
static uint8_t *keep(struct ws_decoder *d, uint8_t *buf, size_t *len, enum way way, size_t n)
{
    uint8_t *to = way == BYTE_BY_BYTE || now_and_then(way) ? buf : malloc(*len);
    promise(to != NULL || *len == 0, "no memory");
    *len = ws_keep(d, to, buf, *len);
    if (to != buf)
        free(buf);
    buf = realloc(to, *len + n + (*len + n == 0));
    promise(buf != NULL, "no memory");
    return buf;
}

static void decode(const uint8_t *s, size_t len, size_t limit, enum way way, struct record *r)
{
    struct ws_decoder d;
    enum ws_type end = WS_MORE;
    size_t used = way == AT_RANDOM ? pick(40) : 0;      /* a request before them */
    size_t at = 0, n = next_piece(way, len);
    uint8_t *buf = malloc(used + n + 1);

    promise(buf != NULL, "no memory");
    memset(buf, 'r', used);
    ws_start(&d, used, limit);
    buf = realloc(buf, used + n + (used + n == 0));
    for (;;) {
        if (n > 0)
            memcpy(buf + used, s + at, n);
        at += n;
        used += n;
        end = take_events(&d, buf, used, way, r);
        if (end == WS_CLOSE || end == WS_BREACH)
            break;
        /* The server does not read a client that waits. */
        n = end == WS_MORE ? next_piece(way, len - at) : 0;
        buf = keep(&d, buf, &used, way, n);
        promise(end != WS_MORE || used <= limit + WS_PENDING_MAX, "%zu bytes kept", used);
        if (end == WS_MORE && n == 0) {
            note_kept(r, used);
            break;
        }
    }
    free(buf);
}

void check_frames(const uint8_t *stream, size_t len, size_t limit, int random_cuts)
{
    static struct record want, got;
    static const char *const ways[] = { "at once", "byte by byte", "at random" };
    const char *reason = NULL;

    want.len = 0;
    decode_simply(stream, len, limit, &want);
    for (int i = 0; i < 2 + random_cuts; i++) {
        enum way way = i < 2 ? (enum way)i : AT_RANDOM;
        got.len = 0;
        got.reason = NULL;
        decode(stream, len, limit, way, &got);
        if (got.len != want.len || memcmp(got.text, want.text, got.len) != 0) {
            show_rest(ways[way], &got, &want);
            show_rest("wanted", &want, &got);
            promise(false, "the events differ");
        }
        promise(i == 0 || same_text(got.reason, reason), "another reason %s", ways[way]);
        reason = got.reason;
    }
}

#endif
