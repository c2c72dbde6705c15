/* prove.c -- calls the protocol files for a proof by Frama-C's Eva
 * (test/prove/prove.sh).
 *
 * Each function calls a part of the protocol files.  Eva assumes that the bytes, the
 * lengths and the state may have any values.  If Eva raises no alarm, three faults
 * cannot happen with any input:
 *   - a read or a write outside of a buffer
 *   - the overflow of a signed number
 *   - a read of a variable that was never set
 *
 * Eva knows the smallest and the largest value of each position in a buffer.  It does
 * not know that one position is at most another.  Most of the code does not depend on
 * that: it compares an index with the end of its buffer before it uses the index.  But
 * the decoder depends on  start <= end <= at <= len  (struct ws_decoder).  So its
 * functions are called with every choice of positions in a buffer of ROOM bytes.
 * Checks behind each call show that the new positions are such a choice, too.  So the
 * proof for one call is a proof for any number of calls.
 *
 * There is no proof for ws_write_response.  It uses snprintf, and Eva does not know
 * that snprintf's output ends with a NUL. */

#include "../../json.h"
#include "../../ws.c"

#include <__fc_builtin.h>

enum { LEN = 65536, ROOM = 16 };

static uint8_t input[LEN], output[LEN + 64];

static size_t any_length(size_t most)
{
    return (size_t)Frama_C_unsigned_long_interval(0, most);
}

static void any_input(void)
{
    Frama_C_make_unknown((char *)input, LEN);
}

void prove_sha1(void)
{
    uint8_t digest[SHA1_SIZE];
    any_input();
    sha1(input, any_length(LEN), digest);
}

/* Decodes a key of the handshake, which must be 16 bytes. */
void prove_base64(void)
{
    size_t size = 0;
    any_input();
    base64_encode(input, any_length(LEN / 2), (char *)output);
    if (base64_decode((const char *)input, any_length(LEN), output, 16, &size)) {
        //@ assert size <= 16;
    }
}

void prove_json(void)
{
    struct json_message m;
    any_input();
    json_read(input, any_length(LEN), &m);
    json_write(output, Frama_C_long_long_interval(0, INT64_MAX), input, any_length(LEN));
}

void prove_request(void)
{
    struct ws_request r;
    any_input();
    ws_parse_request(input, any_length(LEN), "notices", &r);
}

/* Eva does not look into inet_pton, because the system provides it. */
void prove_origin(void)
{
    struct ws_origin allowed[2];
    struct ws_request r;

    any_input();
    ws_read_origin(input, any_length(LEN), &allowed[0]);
    ws_read_origin(input, any_length(LEN), &allowed[1]);
    Frama_C_make_unknown((char *)&r, sizeof r);
    r.head = r.html = r.offers = false;
    r.size = any_length(LEN);
    ws_may_connect(input, &r, allowed, 2);
    ws_may_open(input, &r, allowed, 2);
    ws_utf8_size(input, any_length(LEN), any_length(LEN));
    ws_is_head(input, any_length(LEN));
}

void prove_sending(void)
{
    char accept[WS_ACCEPT_LEN + 1], reason[200];

    any_input();
    ws_accept_key(input, accept);
    ws_write_header(output, WS_OP_TEXT, any_length(SIZE_MAX));
    ws_write_control(output, WS_OP_PONG, input, any_length(WS_CONTROL_MAX));
    Frama_C_make_unknown(reason, sizeof reason - 1);
    reason[sizeof reason - 1] = '\0';
    ws_write_close(output, Frama_C_interval(1000, 4999), reason);
}

/* ---- Frames ---------------------------------------------------------------------- */

static uint8_t room[ROOM];

static struct ws_decoder any_decoder(size_t start, size_t end, size_t at)
{
    struct ws_decoder d;
    Frama_C_make_unknown((char *)&d, sizeof d);
    d.in_frame = Frama_C_nondet(0, 1);
    d.fin = Frama_C_nondet(0, 1);
    d.whole = Frama_C_nondet(0, 1);
    d.start = start;
    d.end = end;
    d.at = at;
    return d;
}

static void prove_header(size_t at)
{
    struct ws_decoder d = any_decoder(0, 0, at);
    struct header h = { false, 0, 0, { 0 }, 0 };
    struct ws_event e;

    Frama_C_make_unknown((char *)room, ROOM);
    memset(&e, 0, sizeof e);
    if (read_header(&d, room, ROOM, &h, &e)) {
        //@ assert at < h.end <= ROOM;
    }
}

/* Decodes control frames of each length, at each place. */
static void prove_control(size_t at, uint8_t len)
{
    struct ws_decoder d = any_decoder(0, 0, 0);
    struct header h = { true, WS_OP_CLOSE, len, { 0 }, at };
    struct ws_event e;

    Frama_C_make_unknown((char *)h.mask, sizeof h.mask);
    Frama_C_make_unknown((char *)room, ROOM);
    memset(&e, 0, sizeof e);
    if (control(&d, room, ROOM, &h, &e) != WS_MORE) {
        //@ assert at <= d.at <= ROOM;
        //@ assert e.at + e.len <= ROOM;
    }
}

static void prove_payload(size_t end, size_t at, uint64_t left)
{
    struct ws_decoder d = any_decoder(0, end, at);

    Frama_C_make_unknown((char *)room, ROOM);
    d.left = left;
    d.utf8.missing = Frama_C_unsigned_char_interval(0, 3);
    take_payload(&d, room, ROOM);
    //@ assert d.end <= d.at <= ROOM;
}

/* Eva wants a valid address even for a memmove of 0 bytes, so the buffer has one byte
 * more. */
static uint8_t larger_room[ROOM + 1];

static void prove_keep(size_t start, size_t end, size_t at, bool whole)
{
    struct ws_decoder d = any_decoder(start, end, at);
    uint8_t *buf = at < ROOM ? room : larger_room;
    size_t kept;

    d.whole = whole;
    kept = ws_keep(&d, buf, buf, ROOM);
    //@ assert d.start <= d.end <= d.at <= kept <= ROOM;
}

void prove_frames(void)
{
    for (size_t at = 0; at <= ROOM; at++) {
        prove_header(at);
        for (uint8_t n = 0; n <= ROOM; n++)
            prove_control(at, n);
        for (size_t end = 0; end <= at; end++) {
            for (uint64_t left = 0; left <= ROOM - at; left++)
                prove_payload(end, at, left);
            prove_payload(end, at, UINT64_MAX);
        }
    }
}

/* The values of the bytes make no difference here. */
void prove_keeping(void)
{
    for (size_t at = 0; at <= ROOM; at++)
        for (size_t end = 0; end <= at; end++)
            for (size_t start = 0; start <= end; start++) {
                prove_keep(start, end, at, true);
                prove_keep(start, end, at, false);
            }
}
