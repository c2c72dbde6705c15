/* json.h -- the two JSON objects of the chat protocol, RFC 8259.
 *
 *   in   {"recipient_id":2,"message":"Go Braves!"}
 *   out  {"sender_id":1,"message":"Go Braves!"}
 *
 * No tree is built.  The whole text is checked, two values are remembered, and
 * the message goes out as the very token that came in, quotes and all. */

#ifndef JSON_H
#define JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    JSON_DEPTH = 64,            /* levels, ours: arrays and objects in each other */
    /* Bytes that json_write puts around a message token, at most. */
    JSON_AROUND = (int)sizeof "{\"sender_id\":9223372036854775807,\"message\":}" - 1
};

struct json_message {
    int64_t recipient_id;
    size_t at, len;             /* the message, a JSON string: text[at .. at+len) */
    size_t byte;                /* if refused: where, from 1 */
    const char *wanted;         /* if refused: what should have stood there, fit
                                 * for the inside of a JSON string; NULL: the
                                 * text ends in the middle of its object */
};

/* json_read: read one chat message.
 *
 *   text, len  must be UTF-8; ws.c has checked that
 *
 * Returns true if all of it is one JSON object with an integer recipient_id
 * that fits an int64_t and a string message; else m->byte and m->wanted say
 * why not.  Other members are checked and ignored; of two equal keys the last
 * counts.  Source: RFC 8259 sections 2 to 8. */
bool json_read(const uint8_t *text, size_t len, struct json_message *m);

/* json_write: write one chat message; sender_id is at least 0, and token[0..len)
 * a JSON string.
 *
 * Returns the bytes written, at most len + JSON_AROUND. */
size_t json_write(uint8_t *out, int64_t sender_id, const uint8_t *token, size_t len);

/* The bytes that json_write would write. */
size_t json_size(int64_t sender_id, size_t len);

#endif
