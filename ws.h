/* ws.h -- the WebSocket protocol (RFC 6455), server side, without sockets.
 *
 * Bytes go in, messages come out; messages go in, frames come out.  All
 * buffers are the caller's, nothing is allocated and nothing is kept, so that
 * every call can be tested by making it.  Three things to know:
 *
 *   the opening handshake   ws_parse_request, ws_may_connect, then
 *                           ws_write_response
 *   what the client sends   ws_start, then ws_next until WS_MORE, then ws_keep
 *   what the server sends   ws_write_header and the payload behind it, or
 *                           ws_write_control for a whole ping, pong or close
 *
 * "4.2.1:" beside a line of code means RFC 6455 section 4.2.1. */

#ifndef WS_H
#define WS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* ---- sha1.c ------------------------------------------------------------------ */

enum { SHA1_SIZE = 20 };                /* bytes of a digest */

/* The SHA-1 of data[0..len).  Source: RFC 3174. */
void sha1(const uint8_t *data, size_t len, uint8_t digest[SHA1_SIZE]);

/* ---- base64.c ---------------------------------------------------------------- */

/* Writes data[0..len) as base64 and a NUL: 4 * ((len + 2) / 3) + 1 bytes.
 * Returns the characters written, without the NUL.  Source: RFC 4648 section 4. */
size_t base64_encode(const uint8_t *data, size_t len, char *out);

/* Reads base64 with its padding.  Returns false if it is malformed or stands
 * for more than cap bytes; else *size is the number of bytes written to out. */
bool base64_decode(const char *text, size_t len, uint8_t *out, size_t cap, size_t *size);

/* ---- ws.c, part 1: the opening handshake (RFC 6455 section 4.2) --------------- */

enum {
    WS_HEAD_MAX = 8192,         /* bytes, ours: the longest request head taken */
    WS_KEY_LEN = 24,            /* characters: 16 bytes in base64 */
    WS_ACCEPT_LEN = 28          /* characters: a SHA-1 in base64 */
};

/* A part of the buffer that was parsed: buf[at .. at+len).  Empty, and at 0: not
 * there. */
struct ws_view {
    size_t at, len;
};

struct ws_request {
    size_t size;                /* bytes of the head; what follows are frames */
    int status;                 /* 101: a WebSocket handshake, all in order
                                 * 426 without a reason: a plain GET or HEAD
                                 * else: refuse with this status and reason */
    const char *reason;         /* what was wrong, for people; or NULL */
    struct ws_view seen;        /* the value that was wrong, where one was */
    bool head;                  /* HEAD: the answer has no body */
    bool html;                  /* Accept lists text/html, as that of a browser */
    bool offers;                /* the client offered our subprotocol */
    struct ws_view host;        /* value of Host */
    struct ws_view origin;      /* value of Origin; browsers send it */
    struct ws_view key;         /* value of Sec-WebSocket-Key, checked if 101 */
};

/* ws_parse_request: read a request head.
 *
 *   buf, len     bytes received so far, perhaps with frames behind the head
 *   subprotocol  the one we speak, for r->offers; or NULL
 *   r            all of it is set when true is returned
 *
 * Returns false if more bytes are needed to tell.  Call it again with all of
 * them from the start.  Lines that end in LF alone, stray control characters,
 * a TLS hello, JSON, and a head that is too long are told at once.
 * Source: RFC 6455 sections 4.1 and 4.2.1, RFC 9112 sections 2 to 5. */
bool ws_parse_request(const uint8_t *buf, size_t len, const char *subprotocol,
                      struct ws_request *r);

/* Does the request, as far as it has come, begin with HEAD?  Then no response to
 * it has a body. */
bool ws_is_head(const uint8_t *buf, size_t len);

/* The answer to a key of WS_KEY_LEN characters: WS_ACCEPT_LEN of them, and a
 * NUL.  Source: RFC 6455 section 4.2.2, item 5.4. */
void ws_accept_key(const uint8_t *key, char accept[WS_ACCEPT_LEN + 1]);

/* ws_write_response: write a whole HTTP response.
 *
 *   status   adds the headers that belong to it: Upgrade, Allow, ...
 *            and with 200 the body is HTML, else plain text
 *   when     the time of day, for the Date of a status from 200 to 499
 *   headers  further header lines, each ended by CR LF; "" for none
 *   body     in UTF-8; 101 has none
 *   head     the request was HEAD: the body is left out, its length is not
 *
 * Returns the bytes written, or 0 if cap was too small.
 * Source: RFC 6455 section 4.2.2, RFC 9110 sections 6.6.1, 7.8 and 15. */
size_t ws_write_response(uint8_t *out, size_t cap, int status, time_t when,
                         const char *headers, const char *body, bool head);

/* ---- ws.c: who may connect (RFC 6455 section 10.2, RFC 6454) ------------------ */

enum {
    WS_ORIGIN_MAX = 300         /* bytes, ours: the longest host name has 253 */
};

struct ws_origin {              /* of a page, in lower case, or "*" for all */
    uint8_t text[WS_ORIGIN_MAX + sizeof "https://"];
    size_t len;
};

/* ws_read_origin: read "SCHEME://HOST", "SCHEME://HOST:PORT", "file://", "null"
 * or "*".  A slash at the end is ignored, and so is letter case.
 *
 * Returns false if text[0..len) is none of these, or longer than WS_ORIGIN_MAX. */
bool ws_read_origin(const uint8_t *text, size_t len, struct ws_origin *o);

/* ws_may_connect: is the client of the request in buf let in?
 *
 *   r          what ws_parse_request told of it, 101 or a plain GET or HEAD
 *   allowed    count origins; "*" lets in all
 *
 * Returns true if the request has no Origin, as that of a program; if it has one
 * of these; or if it is the server's own: that of Host, which is localhost or an
 * address.  Source: RFC 6455 sections 4.2.2 and 10.2, RFC 6454 section 6.2. */
bool ws_may_connect(const uint8_t *buf, const struct ws_request *r,
                    const struct ws_origin *allowed, int count);

/* Would ws_may_connect let in a page that was opened at the Host of this request?
 * Its origin has that host, and either scheme: a proxy may add TLS. */
bool ws_may_open(const uint8_t *buf, const struct ws_request *r,
                 const struct ws_origin *allowed, int count);

/* ---- ws.c, parts 2 to 4: what the client sends (sections 5, 7 and 8.1) -------- */

enum {
    WS_CONTROL_MAX = 125,                   /* payload bytes, section 5.5 */
    WS_CONTROL_FRAME = 2 + WS_CONTROL_MAX,  /* bytes of our largest one */
    WS_HEADER_MAX = 10,                     /* bytes of our largest header */
    /* A client's unfinished header or control frame: 2 bytes, mask, payload. */
    WS_PENDING_MAX = 2 + 4 + WS_CONTROL_MAX
};

enum ws_opcode {                /* section 5.2 */
    WS_OP_CONTINUATION = 0, WS_OP_TEXT = 1, WS_OP_BINARY = 2,
    WS_OP_CLOSE = 8, WS_OP_PING = 9, WS_OP_PONG = 10
};

enum {                          /* close codes, section 7.4.1 */
    WS_NORMAL = 1000, WS_GOING_AWAY = 1001, WS_PROTOCOL_ERROR = 1002,
    WS_NO_CODE = 1005, WS_NOT_UTF8 = 1007, WS_TOO_BIG = 1009
};

enum ws_type {
    WS_MORE,                    /* nothing whole is left: read on */
    WS_TEXT, WS_BINARY,         /* a whole message */
    WS_PING, WS_PONG, WS_CLOSE, /* a control frame, checked */
    WS_BREACH                   /* the client broke a rule: close with e->code */
};

struct ws_event {
    size_t at, len;             /* payload, unmasked: buf[at .. at+len);
                                 * of WS_CLOSE: the reason behind the code */
    size_t bad;                 /* WS_BINARY: the first byte, from 1, that is
                                 * not UTF-8; 0: all of it is */
    int code;                   /* WS_CLOSE: the client's, WS_NO_CODE if none;
                                 * WS_BREACH: the one to close with */
    const char *reason;         /* WS_BREACH: the rule that was broken */
    size_t byte;                /* WS_BREACH: the byte of the message, from 1,
                                 * or 0 where the reason tells it all */
};

struct ws_utf8 {                /* in the middle of a character, RFC 3629 */
    uint8_t missing;            /* bytes still to come, 0 to 3 */
    uint8_t low, high;          /* what the next of them may be */
};

/* The bytes of the character at text[at], if text[at .. len) begins with one in
 * UTF-8: 1 to 4; else 0.  Source: RFC 3629 section 4. */
size_t ws_utf8_size(const uint8_t *text, size_t at, size_t len);

/* Where one client's input stands.  The buffer it speaks of is the caller's:
 *
 *   buf[start .. end)   the message so far, unmasked and joined
 *   buf[end .. at)      used up: headers, control frames
 *   buf[at .. len)      as received, not yet decoded */
struct ws_decoder {
    size_t limit;               /* bytes of the largest message taken */
    size_t start, end, at;
    uint64_t left;              /* payload bytes of this frame still to come */
    size_t bad;                 /* as in struct ws_event */
    uint8_t mask[4];            /* the next payload byte's is mask[0] */
    struct ws_utf8 utf8;
    uint8_t type;               /* WS_TEXT or WS_BINARY, in a message; else 0 */
    bool in_frame;              /* of a data frame, the header has been read */
    bool fin;                   /* this frame ends the message */
    bool whole;                 /* the message was handed out */
};

/* Start decoding frames at buf[at]; limit is the largest message, in bytes. */
void ws_start(struct ws_decoder *d, size_t at, size_t limit);

/* ws_next: decode the next message or control frame, in place.
 *
 *   buf, len   the bytes received, as ws_keep left them, new ones behind
 *   e          set unless WS_MORE is returned; its payload lies in buf and
 *              stays there until the next call
 *
 * After WS_BREACH or WS_CLOSE nothing more may be decoded (sections 1.4, 5.5.1).
 * Source: RFC 6455 sections 5, 7.4 and 8.1. */
enum ws_type ws_next(struct ws_decoder *d, uint8_t *buf, size_t len, struct ws_event *e);

/* Make the next ws_next return the message again that the last one returned:
 * it could not be dealt with yet. */
void ws_again(struct ws_decoder *d);

/* ws_keep: move what is still needed of from[0..len) to the front of `to`,
 * which may be the same buffer.  Returns the bytes kept: in general 0; after
 * WS_MORE at most limit + WS_PENDING_MAX; after ws_again never more than len. */
size_t ws_keep(struct ws_decoder *d, uint8_t *to, const uint8_t *from, size_t len);

/* ---- ws.c, part 5: what the server sends (sections 5.1 and 5.5) ----------------- */

/* Writes the header of an unmasked frame with FIN, up to WS_HEADER_MAX bytes;
 * len payload bytes are to follow.  Returns the header's bytes. */
size_t ws_write_header(uint8_t *out, enum ws_opcode opcode, size_t len);

/* Writes a whole control frame, up to WS_CONTROL_FRAME bytes; len is at most
 * WS_CONTROL_MAX.  Returns its bytes. */
size_t ws_write_control(uint8_t *out, enum ws_opcode opcode, const uint8_t *payload, size_t len);

/* Writes a whole close frame, up to WS_CONTROL_FRAME bytes.  The reason is
 * ASCII and cut if too long; WS_NO_CODE makes a frame without code and reason.
 * Returns its bytes. */
size_t ws_write_close(uint8_t *out, int code, const char *reason);

#endif
