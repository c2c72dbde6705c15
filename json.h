/* json.h -- the two JSON objects of the chat protocol, RFC 8259.
 *
 *   in   {"recipient_id":2,"message":"Go Braves!"}
 *   out  {"sender_id":1,"message":"Go Braves!"}
 *
 * json_read checks the whole text, but builds no tree: it remembers where two values
 * stand.  json_write copies the message's bytes unchanged, with quotes and escapes. */

#ifndef JSON_H
#define JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    JSON_DEPTH = 64,            /* our limit: levels of nested arrays and objects */
    /* The most bytes that json_write adds around a message. */
    JSON_AROUND = (int)sizeof "{\"sender_id\":9223372036854775807,\"message\":}" - 1
};

struct json_message {
    int64_t recipient_id;
    size_t at, len;             /* the message, a JSON string: text[at .. at+len) */
    size_t byte;                /* if refused: the faulty byte, counted from 1 */
    const char *wanted;         /* if refused: the fault in words, escaped for a
                                 * JSON string; NULL: the text ends inside its
                                 * object */
};

/* json_read: read one chat message.
 *
 *   text, len  must be UTF-8; ws.c has checked that
 *
 * Returns true if the text is one JSON object, recipient_id is an integer that fits
 * an int64_t, and message is a string.  Otherwise m->byte and m->wanted say why not.
 * Other members may be any JSON.  If a key occurs twice, its last value counts.
 * Source: RFC 8259 sections 2 to 8. */
bool json_read(const uint8_t *text, size_t len, struct json_message *m);

/* json_write: write one chat message.
 *
 *   sender_id   0 or more
 *   token, len  the message: a JSON string with its quotes
 *
 * Returns the number of bytes written, at most len + JSON_AROUND. */
size_t json_write(uint8_t *out, int64_t sender_id, const uint8_t *token, size_t len);

/* The number of bytes that json_write would write. */
size_t json_size(int64_t sender_id, size_t len);

#endif
