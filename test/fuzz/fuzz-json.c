/* fuzz-json.c -- reads any bytes as a chat message, with json.c and with a second
 * scanner.  Both must accept the same messages, find the same two values, and name the
 * same faulty byte in all others.
 *
 * The second scanner is simple and slow.  It follows the grammar of RFC 8259 and reads
 * one byte at a time.  Each rule is a function, and nested values are calls of the same
 * function.  It stops at the faulty byte: the first one that no JSON text can have
 * there. */

#include "../../json.h"
#include "fuzz.h"

#include <inttypes.h>

struct text {
    const uint8_t *bytes;
    size_t len, at;
    int depth;
};

static bool in(struct text *t, int first, int last)
{
    if (t->at == t->len || t->bytes[t->at] < first || t->bytes[t->at] > last)
        return false;
    t->at++;
    return true;
}

static bool is(struct text *t, int c)
{
    return in(t, c, c);
}

static bool is_word(struct text *t, const char *word)
{
    while (*word != '\0' && is(t, *word))
        word++;
    return *word == '\0';
}

/* ws = *( %x20 / %x09 / %x0A / %x0D ) */
static bool space(struct text *t)
{
    while (is(t, ' ') || is(t, '\t') || is(t, '\n') || is(t, '\r'))
        ;
    return true;
}

/* number = [ minus ] int [ frac ] [ exp ], section 6 */
static bool digits(struct text *t)
{
    if (!in(t, '0', '9'))
        return false;
    while (in(t, '0', '9'))
        ;
    return true;
}

static bool number(struct text *t)
{
    is(t, '-');
    if (is(t, '0')) {
        if (t->at < t->len && t->bytes[t->at] >= '0' && t->bytes[t->at] <= '9')
            return false;
    } else if (!digits(t)) {
        return false;
    }
    if (is(t, '.') && !digits(t))
        return false;
    if (!is(t, 'e') && !is(t, 'E'))
        return true;
    if (!is(t, '+'))
        is(t, '-');
    return digits(t);
}

/* string = quotation-mark *char quotation-mark, section 7 */
struct plain {
    int units[20];              /* the first characters, with escapes decoded */
    size_t len;                 /* characters of the whole string */
};

static bool hex4(struct text *t, int *unit)
{
    *unit = 0;
    for (int i = 0; i < 4; i++) {
        if (!in(t, '0', '9') && !in(t, 'A', 'F') && !in(t, 'a', 'f'))
            return false;
        int c = t->bytes[t->at - 1];
        *unit = *unit * 16 + (c <= '9' ? c - '0' : c <= 'F' ? c - 'A' + 10 : c - 'a' + 10);
    }
    return true;
}

static bool character(struct text *t, int *unit)
{
    static const char escapes[][2] = {
        { '"', '"' }, { '\\', '\\' }, { '/', '/' }, { 'b', 8 }, { 'f', 12 }, { 'n', 10 },
        { 'r', 13 }, { 't', 9 },
    };
    if (!is(t, '\\')) {
        if (t->at == t->len || t->bytes[t->at] < 0x20)
            return false;
        *unit = t->bytes[t->at++];
        if (*unit >= 0x80)
            *unit += 0x10000;   /* a byte of UTF-8, not a character from \u */
        return true;
    }
    if (is(t, 'u'))
        return hex4(t, unit);
    for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++)
        if (is(t, escapes[i][0])) {
            *unit = escapes[i][1];
            return true;
        }
    return false;
}

static bool string(struct text *t, struct plain *s)
{
    int unit;
    s->len = 0;
    if (!is(t, '"'))
        return false;
    while (!is(t, '"')) {
        if (!character(t, &unit))
            return false;
        if (s->len < sizeof s->units / sizeof *s->units)
            s->units[s->len] = unit;
        s->len++;
    }
    return true;
}

static bool spells(const struct plain *s, const char *name)
{
    for (size_t i = 0; i < s->len; i++)
        if (name[i] == '\0' || s->units[i] != name[i])
            return false;
    return name[s->len] == '\0';
}

/* The places of our two values in the outermost object. */
struct found {
    size_t id, id_end, message, message_end;    /* 0: missing */
};

static bool value(struct text *t, struct found *f);

/* member = string name-separator value, section 4 */
static bool member(struct text *t, struct found *f)
{
    struct plain key;
    size_t from;
    if (!space(t) || !string(t, &key) || !space(t) || !is(t, ':') || !space(t))
        return false;
    from = t->at;
    if (!value(t, NULL))
        return false;
    if (f != NULL && spells(&key, "recipient_id")) {
        f->id = from;
        f->id_end = t->at;
    }
    if (f != NULL && spells(&key, "message")) {
        f->message = from;
        f->message_end = t->at;
    }
    return space(t);
}

/* object = begin-object [ member *( value-separator member ) ] end-object */
static bool object(struct text *t, struct found *f)
{
    if (!is(t, '{') || !space(t))
        return false;
    if (is(t, '}'))
        return true;
    do
        if (!member(t, f))
            return false;
    while (is(t, ','));
    return is(t, '}');
}

/* array = begin-array [ value *( value-separator value ) ] end-array, section 5 */
static bool array(struct text *t)
{
    if (!is(t, '[') || !space(t))
        return false;
    if (is(t, ']'))
        return true;
    do
        if (!space(t) || !value(t, NULL) || !space(t))
            return false;
    while (is(t, ','));
    return is(t, ']');
}

/* Our limit (section 9 allows one): at most JSON_DEPTH levels. */
static bool nested(struct text *t, struct found *f, bool is_object)
{
    bool right = t->depth < JSON_DEPTH;
    t->depth++;
    right = right && (is_object ? object(t, f) : array(t));
    t->depth--;
    return right;
}

static bool value(struct text *t, struct found *f)
{
    struct plain ignored;
    switch (t->at < t->len ? t->bytes[t->at] : 0) {
    case '{': return nested(t, f, true);
    case '[': return nested(t, NULL, false);
    case '"': return string(t, &ignored);
    case 't': return is_word(t, "true");
    case 'f': return is_word(t, "false");
    case 'n': return is_word(t, "null");
    default: return number(t);
    }
}

/* Compares the digits of |id| with those of the largest number. */
static bool is_int64(const uint8_t *digit, size_t len, int64_t *out)
{
    bool negative = len > 0 && digit[0] == '-';
    const char *largest = negative ? "9223372036854775808" : "9223372036854775807";
    uint64_t n = 0;
    digit += negative;
    len -= negative;
    for (size_t i = 0; i < len; i++)
        if (digit[i] < '0' || digit[i] > '9')
            return false;
    if (len > 19 || (len == 19 && memcmp(digit, largest, 19) > 0))
        return false;
    for (size_t i = 0; i < len; i++)
        n = n * 10 + (uint64_t)(digit[i] - '0');
    *out = negative ? (n == 0 ? 0 : -(int64_t)(n - 1) - 1) : (int64_t)n;
    return true;
}

/* Reads a chat message.  If the text is not one, t->at is the faulty byte. */
static bool chat_message(struct text *t, struct found *f, int64_t *id)
{
    size_t end;
    if (!space(t) || t->at == t->len || t->bytes[t->at] != '{' || !nested(t, f, true))
        return false;
    end = t->at - 1;
    if (!space(t) || t->at < t->len)
        return false;
    t->at = f->id == 0 || f->message == 0 ? end : f->id;
    if (f->id == 0 || f->message == 0 || !is_int64(t->bytes + f->id, f->id_end - f->id, id))
        return false;
    t->at = f->message;
    return t->bytes[f->message] == '"';
}

/* json_write's output must be JSON with the same message. */
static void check_write(const uint8_t *token, size_t len, int64_t sender)
{
    size_t size = json_size(sender, len), from;
    uint8_t *out = malloc(size);
    char front[60];

    promise(out != NULL, "no memory");
    from = (size_t)sprintf(front, "{\"sender_id\":%" PRId64 ",\"message\":", sender);
    promise(size <= len + JSON_AROUND && size == from + len + 1
            && json_write(out, sender, token, len) == size
            && memcmp(out, front, from) == 0 && memcmp(out + from, token, len) == 0
            && out[size - 1] == '}', "%.*s was written", (int)size, (char *)out);
    free(out);
}

/* The reason must fit into a JSON string without further escapes. */
static void check_reason(const char *reason)
{
    char quoted[200];
    struct plain ignored;
    size_t len = (size_t)snprintf(quoted, sizeof quoted, "\"%s\"", reason);
    struct text t = { (const uint8_t *)quoted, len, 0, 0 };
    promise(len < sizeof quoted && string(&t, &ignored) && t.at == len, "reason %s", reason);
}

static bool begins_object(const uint8_t *bytes, size_t len)
{
    struct text t = { bytes, len, 0, 0 };
    return space(&t) && is(&t, '{');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json_message m;
    struct found f = { 0 };
    struct text t = { data, size, 0, 0 };
    int64_t id = 0;
    bool right = chat_message(&t, &f, &id);

    promise(json_read(data, size, &m) == right, "json.c %s it, at byte %zu",
            right ? "refuses" : "takes", t.at + 1);
    if (right) {
        promise(m.recipient_id == id && m.at == f.message && m.len == f.message_end - f.message,
                "to %" PRId64 " and not %" PRId64, m.recipient_id, id);
        check_write(data + m.at, m.len, id < 0 ? INT64_MAX : id);
        return 0;
    }
    promise(m.byte == t.at + 1, "byte %zu and not %zu: %s", m.byte, t.at + 1,
            m.wanted == NULL ? "it ends there" : m.wanted);
    promise((m.wanted == NULL) == (t.at == size && begins_object(data, size)), "ends at %zu", size);
    if (m.wanted != NULL)
        check_reason(m.wanted);
    return 0;
}
