/* ws.h -- the WebSocket protocol (RFC 6455), server side, without sockets.
 *
 * These functions turn received bytes into messages, and messages into frames.
 * They read and write the caller's buffers only.  They allocate nothing, and they
 * keep nothing after a call.  So a test needs no socket: it calls the function.
 *
 * The calls fall into three groups:
 *
 *   the opening handshake   ws_parse_request, ws_may_connect, then
 *                           ws_write_response
 *   input from the client   ws_start, then ws_next until WS_MORE, then ws_keep
 *   output to the client    ws_write_header and then the payload, or
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

/* Decodes base64 with its padding into out.  Returns false if the text is malformed or
 * decodes to more than cap bytes.  Otherwise *size is the number of bytes written. */
bool base64_decode(const char *text, size_t len, uint8_t *out, size_t cap, size_t *size);

/* ---- ws.c, part 1: the opening handshake (RFC 6455 section 4.2) --------------- */

enum {
    WS_HEAD_MAX = 8192,         /* bytes, our limit: the longest request head */
    WS_KEY_LEN = 24,            /* characters: 16 bytes in base64 */
    WS_ACCEPT_LEN = 28          /* characters: a SHA-1 in base64 */
};

/* A part of the parsed buffer: buf[at .. at+len).  If the part is missing, both
 * numbers are 0. */
struct ws_view {
    size_t at, len;
};

struct ws_request {
    size_t size;                /* bytes of the head; frames follow it */
    int status;                 /* 101: a valid WebSocket handshake
                                 * 426 without a reason: a plain GET or HEAD
                                 * else: refuse with this status and reason */
    const char *reason;         /* the fault, in words for the user; or NULL */
    struct ws_view seen;        /* the faulty value, if there is one */
    bool head;                  /* the method is HEAD: send no body */
    bool html;                  /* the client accepts text/html, as browsers do */
    bool offers;                /* the client offered our subprotocol */
    struct ws_view host;        /* value of Host */
    struct ws_view origin;      /* value of Origin; browsers send it */
    struct ws_view key;         /* value of Sec-WebSocket-Key, checked if 101 */
};

/* ws_parse_request: read a request head.
 *
 *   buf, len     bytes received so far, perhaps with frames behind the head
 *   subprotocol  the server's subprotocol, for r->offers; or NULL
 *   r            every field is set if the function returns true
 *
 * Returns false if it needs more bytes.  Read more, and call it again with all bytes
 * from the start.  It does not wait for the end of a head with one of these faults:
 * lines that end with LF alone, control characters, a TLS hello, JSON, or more than
 * WS_HEAD_MAX bytes.
 * Source: RFC 6455 sections 4.1 and 4.2.1, RFC 9112 sections 2 to 5. */
bool ws_parse_request(const uint8_t *buf, size_t len, const char *subprotocol,
                      struct ws_request *r);

/* Do the bytes received so far begin with HEAD?  Then no response may have a body. */
bool ws_is_head(const uint8_t *buf, size_t len);

/* Computes the answer to a client's key.  The key has WS_KEY_LEN characters, the
 * answer has WS_ACCEPT_LEN and a NUL.  Source: RFC 6455 section 4.2.2, item 5.4. */
void ws_accept_key(const uint8_t *key, char accept[WS_ACCEPT_LEN + 1]);

/* ws_write_response: write a whole HTTP response.
 *
 *   status   decides the first line, and headers such as Upgrade and Allow;
 *            with 200 the body is HTML, else plain text
 *   when     the current time; it becomes the Date if status is 200 to 499
 *   headers  further header lines, each with CR LF at its end; "" for none
 *   body     in UTF-8; a 101 response ignores it
 *   head     the request was HEAD: send the body's length, but no body
 *
 * Returns the number of bytes written, or 0 if cap was too small.
 * Source: RFC 6455 section 4.2.2, RFC 9110 sections 6.6.1, 7.8 and 15. */
size_t ws_write_response(uint8_t *out, size_t cap, int status, time_t when,
                         const char *headers, const char *body, bool head);

/* ---- ws.c: origins that may connect (RFC 6455 section 10.2, RFC 6454) --------- */

enum {
    WS_ORIGIN_MAX = 300         /* bytes, our limit: a host name has up to 253 */
};

struct ws_origin {              /* a page's origin in lower case; "*" is every one */
    uint8_t text[WS_ORIGIN_MAX + sizeof "https://"];
    size_t len;
};

/* ws_read_origin: read "SCHEME://HOST", "SCHEME://HOST:PORT", "file://", "null"
 * or "*".  It ignores a slash at the end, and the case of letters.
 *
 * Returns false if the text has none of these forms or is over WS_ORIGIN_MAX bytes. */
bool ws_read_origin(const uint8_t *text, size_t len, struct ws_origin *o);

/* ws_may_connect: does the server accept this request's origin?
 *
 *   buf, r     the request, parsed: status 101, or a plain GET or HEAD
 *   allowed    `count` origins that the server accepts; "*" accepts every one
 *
 * Returns true in three cases:
 *   - the request has no Origin: the client is a program, not a page in a browser
 *   - its Origin is one of the allowed ones
 *   - its Origin is the server's own: it equals Host, and the host is localhost or
 *     an IP address
 * Source: RFC 6455 sections 4.2.2 and 10.2, RFC 6454 section 6.2. */
bool ws_may_connect(const uint8_t *buf, const struct ws_request *r,
                    const struct ws_origin *allowed, int count);

/* A browser asks for the page with this request.  Would ws_may_connect accept the
 * WebSocket that the page then opens to the same host?  The origin of such a page is
 * http:// and that host, or https:// and that host if a proxy adds TLS.  Both are tried. */
bool ws_may_open(const uint8_t *buf, const struct ws_request *r,
                 const struct ws_origin *allowed, int count);

/* ---- ws.c, parts 2 to 4: what the client sends (sections 5, 7 and 8.1) -------- */

enum {
    WS_CONTROL_MAX = 125,                   /* payload bytes, section 5.5 */
    WS_CONTROL_FRAME = 2 + WS_CONTROL_MAX,  /* bytes of our largest control frame */
    WS_HEADER_MAX = 10,                     /* bytes of our largest header */
    /* The most bytes that can be left undecoded: a control frame, with mask and payload. */
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
    WS_MORE,                    /* no complete message or control frame: read more */
    WS_TEXT, WS_BINARY,         /* a whole message */
    WS_PING, WS_PONG, WS_CLOSE, /* a control frame, checked */
    WS_BREACH                   /* the client broke the protocol: send Close e->code */
};

struct ws_event {
    size_t at, len;             /* unmasked payload: buf[at .. at+len);
                                 * WS_CLOSE: only the reason, without the code */
    size_t bad;                 /* WS_BINARY: the first byte that is not UTF-8,
                                 * counted from 1; 0: the whole payload is UTF-8.
                                 * (In a text, such a byte is a WS_BREACH.) */
    int code;                   /* WS_CLOSE: the client's code, or WS_NO_CODE;
                                 * WS_BREACH: the code for the server's Close */
    const char *reason;         /* WS_BREACH: the broken rule */
    size_t byte;                /* WS_BREACH: the faulty byte of the message,
                                 * counted from 1; 0: the reason is enough */
};

struct ws_utf8 {                /* the position inside a character, RFC 3629 */
    uint8_t missing;            /* bytes of the character still missing, 0 to 3 */
    uint8_t low, high;          /* the smallest and largest legal next byte */
};

/* Returns how many bytes the UTF-8 character at text[at] has: 1 to 4.  Returns 0 if
 * text[at .. len) does not begin with a whole one.  Source: RFC 3629 section 4. */
size_t ws_utf8_size(const uint8_t *text, size_t at, size_t len);

/* The state of decoding one client's input.  The caller's buffer has three parts:
 *
 *   buf[start .. end)   the message so far: unmasked, its fragments joined
 *   buf[end .. at)      not needed any more: headers, control frames
 *   buf[at .. len)      received, but not yet decoded */
struct ws_decoder {
    size_t limit;               /* bytes of the largest allowed message */
    size_t start, end, at;
    uint64_t left;              /* payload bytes of this frame not yet decoded */
    size_t bad;                 /* as in struct ws_event */
    uint8_t mask[4];            /* mask[0] belongs to the next payload byte */
    struct ws_utf8 utf8;
    uint8_t type;               /* WS_TEXT or WS_BINARY; 0 between messages */
    bool in_frame;              /* a data frame has begun, but not ended */
    bool fin;                   /* this frame ends the message */
    bool whole;                 /* ws_next has returned the message */
};

/* Start decoding frames at buf[at]; limit is the largest message, in bytes. */
void ws_start(struct ws_decoder *d, size_t at, size_t limit);

/* ws_next: decode the next message or control frame, in place.
 *
 *   buf, len   the bytes that ws_keep kept, then the new ones
 *   e          set unless the result is WS_MORE; its payload lies in buf and is
 *              valid until the next call
 *
 * After WS_BREACH or WS_CLOSE, decode no further (sections 1.4, 5.5.1).
 * Source: RFC 6455 sections 5, 7.4 and 8.1. */
enum ws_type ws_next(struct ws_decoder *d, uint8_t *buf, size_t len, struct ws_event *e);

/* ws_keep: ws_next still needs some bytes of from[0..len).  This moves them to the beginning
 * of the buffer `to`.  `to` and `from` may be the same buffer.
 *
 * Returns how many bytes it kept: usually 0; after WS_MORE at most limit +
 * WS_PENDING_MAX. */
size_t ws_keep(struct ws_decoder *d, uint8_t *to, const uint8_t *from, size_t len);

/* ---- ws.c, part 5: what the server sends (sections 5.1 and 5.5) ----------------- */

/* Writes the header of an unmasked frame with FIN and len payload bytes.  Returns
 * the header's size, at most WS_HEADER_MAX bytes. */
size_t ws_write_header(uint8_t *out, enum ws_opcode opcode, size_t len);

/* Writes a whole control frame; len is at most WS_CONTROL_MAX.  Returns the frame's
 * size, at most WS_CONTROL_FRAME bytes. */
size_t ws_write_control(uint8_t *out, enum ws_opcode opcode, const uint8_t *payload, size_t len);

/* Writes a whole close frame.  The reason is ASCII, and is cut if it is too long.
 * With WS_NO_CODE, the frame has neither code nor reason.  Returns the frame's size,
 * at most WS_CONTROL_FRAME bytes. */
size_t ws_write_close(uint8_t *out, int code, const char *reason);

#endif
