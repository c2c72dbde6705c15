/* json.c -- the two JSON objects of the chat protocol, RFC 8259.
 *
 * A scanner goes through the text once and checks the whole grammar.  Behind the last
 * byte, byte_at returns -1, and no rule allows that value.
 *
 * Each rule of the grammar has a function.  When it is called, s->at is at the rule's
 * first byte.  If the text follows the rule, the function returns true and s->at is
 * behind the rule's last byte.  If not, it returns false, s->at is at the fault, and
 * s->wanted describes it.
 *
 * Order: strings (7), numbers (6), values and nesting (3 to 5), keys, the
 * chat message, writing. */

#include "json.h"

#include <string.h>

struct scan {
    const uint8_t *text;
    size_t len;
    size_t at;                  /* the next byte to look at */
    const char *wanted;         /* set once, by the rule that failed */
};

static int byte_at(const struct scan *s, size_t i)
{
    return i < s->len ? s->text[i] : -1;
}

static bool fail(struct scan *s, const char *wanted)
{
    s->wanted = wanted;
    return false;
}

static int skip_space(struct scan *s)
{
    int c = byte_at(s, s->at);
    while (c == ' ' || c == '\t' || c == '\n' || c == '\r')
        c = byte_at(s, ++s->at);
    return c;
}

/* ---- Strings, RFC 8259 section 7 ------------------------------------------------- */

/* May the byte stand in a string without an escape? */
static bool is_plain(uint8_t byte)
{
    return byte >= ' ' && byte != '"' && byte != '\\';
}

/* A word of 8 bytes that are all equal. */
#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* Looks for special bytes in 8 bytes at once.  A byte is special if it is not plain: a
 * quote, a backslash or a control character.  The result is 0 if none is special.
 * Otherwise the top bit of each special byte is set.
 *   - Subtracting n from a byte below n gives a negative result: its top bit is set.
 *   - Exclusive or with 2 turns a quote, 0x22, into 0x20.  A control character stays below
 *     0x20.  So one subtraction of 0x21 finds both.  (A space, 0x20, becomes 0x22, so it is
 *     not found.)
 *   - Exclusive or with 0x5C turns only a backslash into 0.  So a subtraction of 1 finds it.
 *   - The bytes of a character beyond ASCII have the top bit set from the start.
 *     "& ~word" clears it.
 *   - A subtraction can borrow from the next byte, and set the top bit of that byte, too.  But
 *     only a special byte starts a borrow.  So the result is 0 if none is special, and only
 *     then. */
static uint64_t special(const uint8_t *text, size_t i)
{
    uint64_t word, quote, backslash;
    memcpy(&word, text + i, sizeof word);
    quote = (word ^ EACH(2)) - EACH(0x21);
    backslash = (word ^ EACH('\\')) - EACH(1);
    return (quote | backslash) & ~word & EACH(0x80);
}

/* A loop over so many bytes is long enough for compilers to use vector instructions. */
enum { BLOCK = 256 };

static bool is_plain_block(const uint8_t *text, size_t at)
{
    uint64_t found = 0;
    for (size_t i = 0; i < BLOCK; i += 8)
        found |= special(text, at + i);
    return found == 0;
}

/* Moves to the next special byte: in steps of 256 bytes, then of 8, then of 1.  Without the
 * blocks, a string of 16 KiB takes 3 times as long. */
static void skip_plain(struct scan *s)
{
    const uint8_t *text = s->text;
    size_t len = s->len, i = s->at;

    for (; i < len; i += BLOCK)
        if (i + BLOCK > len || !is_plain_block(text, i))
            break;
    for (; i < len; i += 8)
        if (i + 8 > len || special(text, i) != 0)
            break;
    while (i < len && is_plain(text[i]))
        i++;
    s->at = i;
}

static int hex_value(int c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool escape(struct scan *s)
{
    int c = byte_at(s, ++s->at);
    if (c == 'u') {
        for (int i = 0; i < 4; i++)
            if (hex_value(byte_at(s, ++s->at)) < 0)
                return fail(s, "four hex digits must follow \\\\u");
    } else if (c <= 0 || strchr("\"\\/bfnrt", c) == NULL) {
        return fail(s, "no such escape; a backslash itself is \\\\\\\\");
    }
    s->at++;
    return true;
}

static bool string(struct scan *s)
{
    int c;
    s->at++;
    for (;;) {
        skip_plain(s);
        c = byte_at(s, s->at);
        if (c == '"') {
            s->at++;
            return true;
        }
        if (c == '\n' || c == '\r')
            return fail(s, "a message is one line; a line break in it is written \\\\n");
        if (c != '\\')
            return fail(s, "control characters in a string are written as escapes");
        if (!escape(s))
            return false;
    }
}

/* ---- Numbers, section 6 ------------------------------------------------------------ */

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static bool some_digits(struct scan *s)
{
    if (!is_digit(byte_at(s, s->at)))
        return fail(s, "a digit is missing here");
    while (is_digit(byte_at(s, s->at)))
        s->at++;
    return true;
}

static bool number(struct scan *s)
{
    int c;
    if (byte_at(s, s->at) == '-')
        s->at++;
    if (byte_at(s, s->at) == '0') {
        if (is_digit(byte_at(s, ++s->at)))
            return fail(s, "a number has no leading zero");
    } else if (!some_digits(s)) {
        return false;
    }
    if (byte_at(s, s->at) == '.') {
        s->at++;
        if (!some_digits(s))
            return false;
    }
    c = byte_at(s, s->at);
    if (c != 'e' && c != 'E')
        return true;
    c = byte_at(s, ++s->at);
    if (c == '+' || c == '-')
        s->at++;
    return some_digits(s);
}

/* ---- Values, sections 3 to 5 -------------------------------------------------------- */

static bool word(struct scan *s, const char *name)
{
    for (size_t i = 0; name[i] != '\0'; i++, s->at++)
        if (byte_at(s, s->at) != name[i])
            return fail(s, "the only words are true, false and null");
    return true;
}

static bool scalar(struct scan *s)
{
    int c = byte_at(s, s->at);
    switch (c) {
    case '"': return string(s);
    case '\'': return fail(s, "a string needs double quotes");
    case 't': return word(s, "true");
    case 'f': return word(s, "false");
    case 'n': return word(s, "null");
    default:
        return c == '-' || is_digit(c) ? number(s) : fail(s, "a value is missing here");
    }
}

/* Reads a key and its colon.  Sets *at to the key's first quote. */
static bool key(struct scan *s, size_t *at)
{
    int c = skip_space(s);
    if (c == '\\')
        return fail(s, "write the quotes without backslashes");
    if (c != '"')
        return fail(s, "a key in double quotes is missing here");
    *at = s->at;
    if (!string(s))
        return false;
    if (skip_space(s) != ':')
        return fail(s, "a colon is missing behind the key");
    s->at++;
    return true;
}

/* The open arrays and objects, one bit for each level: 1 for an object, 0 for an array.
 * The lowest bit is the innermost level.  In many parsers, a function calls itself for
 * each level.  With bits, no function calls itself, and the stack stays small. */
struct nest {
    uint64_t objects;
    int depth;
};

static bool open_level(struct scan *s, struct nest *n)
{
    /* The object of the chat message is one more level. */
    if (n->depth >= JSON_DEPTH - 1)
        return fail(s, "nested too deeply");
    n->objects = n->objects << 1 | (byte_at(s, s->at) == '{');
    n->depth++;
    s->at++;
    return true;
}

static bool in_object(const struct nest *n)
{
    return (n->objects & 1) != 0;
}

/* Closes the innermost level if its bracket stands here. */
static bool close_level(struct scan *s, struct nest *n)
{
    if (n->depth == 0 || skip_space(s) != (in_object(n) ? '}' : ']'))
        return false;
    n->objects >>= 1;
    n->depth--;
    s->at++;
    return true;
}

static bool comma(struct scan *s, const struct nest *n)
{
    if (byte_at(s, s->at) != ',')
        return fail(s, in_object(n) ? "a comma or } is missing here"
                                    : "a comma or ] is missing here");
    s->at++;
    return true;
}

static bool value(struct scan *s)
{
    struct nest n = { 0, 0 };
    size_t at;
    for (;;) {
        int c = skip_space(s);
        bool opened = c == '[' || c == '{';
        if (opened ? !open_level(s, &n) : !scalar(s))
            return false;
        if (!opened || close_level(s, &n)) {        /* a value ends here */
            while (close_level(s, &n))
                ;
            if (n.depth == 0)
                return true;
            if (!comma(s, &n))
                return false;
        }
        if (in_object(&n) && !key(s, &at))
            return false;
    }
}

/* ---- Keys, section 8.3: "message" and "\u006dessage" are the same key ------------ */

/* Returns the character at text[*i] of a checked string, and moves *i behind it.  A \u
 * escape is decoded.  A short escape such as \n gives -1, and a byte beyond ASCII gives
 * 128 or more.  Both differ from all characters of our two keys. */
static int unescaped(const struct scan *s, size_t *i)
{
    int c = byte_at(s, (*i)++), code = 0;
    if (c != '\\')
        return c;
    c = byte_at(s, (*i)++);
    if (c != 'u')
        return -1;
    for (int k = 0; k < 4; k++)
        code = code * 16 + hex_value(byte_at(s, (*i)++));
    return code;
}

struct token {
    size_t from, to;            /* text[from .. to); `to` is 0 if the token is missing */
};

/* Does the key equal the name?  Both have their quotes.  The last quote is compared
 * without decoding, because \u0022 is a quote inside a key, not its end. */
static bool unescapes_to(const struct scan *s, size_t i, const char *name)
{
    for (; name[1] != '\0'; name++)
        if (unescaped(s, &i) != *name)
            return false;
    return byte_at(s, i) == *name;
}

/* The common case first: a key without escapes has the same bytes as the name. */
static bool key_is(const struct scan *s, size_t i, const char *name, size_t len)
{
    return (len <= s->len && i <= s->len - len && memcmp(s->text + i, name, len) == 0)
        || unescapes_to(s, i, name);
}

/* ---- The chat message ------------------------------------------------------------- */

/* Reads the chat message's object, and notes where the values of our two keys stand.
 * If a key occurs twice, the later value replaces the earlier one. */
static bool object(struct scan *s, struct token *id, struct token *message)
{
    const struct nest inside = { 1, 1 };
    if (skip_space(s) != '{')
        return fail(s, "a message looks like {\\\"recipient_id\\\":2,\\\"message\\\":\\\"hi\\\"}");
    s->at++;
    if (skip_space(s) == '}') {
        s->at++;
        return true;
    }
    for (;;) {
        struct token v;
        size_t at;
        if (!key(s, &at))
            return false;
        skip_space(s);
        v.from = s->at;
        if (!value(s))
            return false;
        v.to = s->at;
        if (key_is(s, at, "\"recipient_id\"", 14))
            *id = v;
        else if (key_is(s, at, "\"message\"", 9))
            *message = v;
        if (skip_space(s) == '}') {
            s->at++;
            return true;
        }
        if (!comma(s, &inside))
            return false;
    }
}

/* Converts a number without fraction and exponent.  The smallest int64_t is -2^63, the
 * largest is 2^63 - 1, so `most` is larger by 1 for a negative number. */
static bool integer(struct scan *s, struct token t, int64_t *out)
{
    bool negative = byte_at(s, t.from) == '-', fits = true;
    uint64_t n = 0, most = (uint64_t)INT64_MAX + negative;
    s->at = t.from;
    for (size_t i = t.from + negative; i < t.to; i++) {
        int c = byte_at(s, i);
        if (!is_digit(c))
            return fail(s, "recipient_id must be an integer");
        fits = fits && n <= (most - (uint64_t)(c - '0')) / 10;
        n = fits ? n * 10 + (uint64_t)(c - '0') : 0;
    }
    if (!fits)
        return fail(s, "recipient_id must fit in 64 bits");
    if (n > INT64_MAX)
        *out = INT64_MIN;
    else
        *out = negative ? -(int64_t)n : (int64_t)n;
    return true;
}

static bool fields(struct scan *s, struct token id, struct token message,
                   struct json_message *m)
{
    s->at--;                    /* a missing member is reported at the } */
    if (id.to == 0)
        return fail(s, "recipient_id is missing");
    if (message.to == 0)
        return fail(s, "message is missing");
    if (!integer(s, id, &m->recipient_id))
        return false;
    s->at = message.from;
    if (byte_at(s, message.from) != '"')
        return fail(s, "message must be a string");
    m->at = message.from;
    m->len = message.to - message.from;
    return true;
}

/* Describes the fault in words.  Keyboards and word processors insert characters that
 * are invisible or look like others.  If one stands at the fault, the description names it. */
static const char *explain(const struct scan *s)
{
    int a = byte_at(s, s->at), b = byte_at(s, s->at + 1), c = byte_at(s, s->at + 2);
    if (a == 0xEF && b == 0xBB && c == 0xBF)            /* U+FEFF */
        return "this is a byte order mark, which nobody sees; leave it out";
    if (a == 0xC2 && b == 0xA0)                         /* U+00A0 */
        return "this is a no-break space; write a plain one";
    if (a == 0xE2 && b == 0x80 && c == 0xAF)            /* U+202F */
        return "this is a no-break space; write a plain one";
    if (a == 0xE2 && b == 0x80 && c >= 0x98 && c <= 0x9F)   /* U+2018 to U+201F */
        return "this is a curly quote; write a straight one: \\\"";
    return s->wanted;
}

bool json_read(const uint8_t *text, size_t len, struct json_message *m)
{
    struct scan s = { text, len, 0, NULL };
    struct token id = { 0, 0 }, message = { 0, 0 };
    bool inside = skip_space(&s) == '{';
    bool right = object(&s, &id, &message);
    size_t end = s.at;

    if (right && skip_space(&s) != -1)
        right = fail(&s, "nothing may follow the object");
    if (right) {
        s.at = end;
        right = fields(&s, id, message, m);
    }
    m->byte = s.at + 1;
    m->wanted = inside && s.at >= len ? NULL : explain(&s);
    return right;
}

/* ---- Writing ------------------------------------------------------------------------ */

static const char before_id[] = "{\"sender_id\":", before_message[] = ",\"message\":";

static size_t digits_of(int64_t n)
{
    size_t count = 1;
    while (n >= 10) {
        n /= 10;
        count++;
    }
    return count;
}

size_t json_size(int64_t sender_id, size_t len)
{
    return sizeof before_id - 1 + digits_of(sender_id) + sizeof before_message - 1 + len + 1;
}

size_t json_write(uint8_t *out, int64_t sender_id, const uint8_t *token, size_t len)
{
    size_t digits = digits_of(sender_id);
    size_t n = sizeof before_id - 1;
    memcpy(out, before_id, n);
    for (size_t i = digits; i > 0; i--) {
        out[n + i - 1] = (uint8_t)('0' + sender_id % 10);
        sender_id /= 10;
    }
    n += digits;
    memcpy(out + n, before_message, sizeof before_message - 1);
    n += sizeof before_message - 1;
    memcpy(out + n, token, len);
    n += len;
    out[n++] = '}';
    return n;
}
