/* ws.c -- the WebSocket protocol (RFC 6455), server side, without sockets.
 *
 * ws.h says what each function promises.  Here, each check has the number of its
 * rule beside it: "5.1:" means RFC 6455 section 5.1.
 *
 * Conventions
 *   - a position is an index into the caller's buffer, never a pointer
 *   - in frames, the checks follow the order of the bytes
 *   - if there are several faults, only one is reported
 *
 * Order: opening handshake (4.2), origins that may connect (10.2), frames (5.2),
 * messages (5.4, 8.1), closing (7.4), sending (5.1). */

#include "ws.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

/* ---- Part 1: the opening handshake, section 4.2 -------------------------------- */

/* A text to parse: the head of a request, or an origin.  Only byte_at reads its bytes.
 * Behind the last byte, byte_at returns -1, which equals no character.  So every rule fails
 * there. */
struct head {
    const uint8_t *buf;
    size_t size;
};

static int byte_at(const struct head *h, size_t i)
{
    return i < h->size ? h->buf[i] : -1;
}

/* Facts from the header lines.  `judge` checks them when all lines are read. */
struct fields {
    unsigned hosts, origins, keys, versions;    /* how many lines have this name */
    struct ws_view version;
    bool upgrade;               /* Upgrade lists websocket */
    bool connection;            /* Connection lists upgrade */
    bool body;
};

/* Keeps the first fault, and ignores later ones. */
static void refuse(struct ws_request *r, int status, const char *reason)
{
    if (r->status == 0) {
        r->status = status;
        r->reason = reason;
    }
}

static void refuse_value(struct ws_request *r, int status, const char *reason,
                         struct ws_view seen)
{
    if (r->status == 0)
        r->seen = seen;
    refuse(r, status, reason);
}

static int lower(int c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

static bool is_alnum(int c)
{
    return (lower(c) >= 'a' && lower(c) <= 'z') || (c >= '0' && c <= '9');
}

static bool is_one_of(int c, const char *set)
{
    for (size_t i = 0; set[i] != '\0'; i++)
        if (set[i] == c)
            return true;
    return false;
}

/* A character of a name, RFC 9110 section 5.6.2. */
static bool is_token_char(int c)
{
    return is_alnum(c) || is_one_of(c, "!#$%&'*+-.^_`|~");
}

static bool is_space(int c)
{
    return c == ' ' || c == '\t';
}

/* Is this part of the head equal to the word, in upper or lower case? */
static bool is_word(const struct head *h, struct ws_view v, const char *word)
{
    size_t i;
    for (i = 0; word[i] != '\0'; i++)
        if (lower(byte_at(h, v.at + i)) != lower(word[i]))
            return false;
    return i == v.len;
}

static bool is_exactly(const struct head *h, struct ws_view v, const char *word)
{
    size_t i;
    for (i = 0; word[i] != '\0'; i++)
        if (byte_at(h, v.at + i) != word[i])
            return false;
    return i == v.len;
}

static struct ws_view trim(const struct head *h, size_t from, size_t to)
{
    while (from < to && is_space(byte_at(h, from)))
        from++;
    while (to > from && is_space(byte_at(h, to - 1)))
        to--;
    return (struct ws_view){ from, to - from };
}

/* The index of the first c, or `to`. */
static size_t find(const struct head *h, size_t from, size_t to, int c)
{
    while (from < to && byte_at(h, from) != c)
        from++;
    return from;
}

/* Returns the part of a list that begins at *from.  *from is then behind the
 * separator; after the last part, it is beyond `end`. */
static struct ws_view next_part(const struct head *h, size_t *from, size_t end, int separator)
{
    size_t to = find(h, *from, end, separator);
    struct ws_view part = trim(h, *from, to);
    *from = to + 1;
    return part;
}

/* Is the word an element of the comma-separated list (RFC 9110 section 5.6.1)?
 * Firefox, for example, sends "Connection: keep-alive, Upgrade". */
static bool lists(const struct head *h, struct ws_view list, const char *word)
{
    size_t from = list.at, end = list.at + list.len;
    while (from <= end)
        if (is_word(h, next_part(h, &from, end, ','), word))
            return true;
    return false;
}

/* Is this parameter a weight of 0, as in  q=0.0?  RFC 9110 section 12.4.2: it means "not
 * acceptable". */
static bool is_zero_weight(const struct head *h, struct ws_view v)
{
    if (v.len < 3 || !is_word(h, (struct ws_view){ v.at, 3 }, "q=0"))
        return false;
    for (size_t i = v.at + 3; i < v.at + v.len; i++)
        if (!is_one_of(byte_at(h, i), ".0"))
            return false;
    return true;
}

/* RFC 9110 section 12.5.1: a list of media ranges, each perhaps with parameters, as
 * in  text/html,application/xml;q=0.9  */
static bool accepts_html(const struct head *h, struct ws_view list)
{
    size_t from = list.at, end = list.at + list.len;
    while (from <= end) {
        struct ws_view range = next_part(h, &from, end, ',');
        size_t at = range.at, range_end = range.at + range.len;
        bool html = is_word(h, next_part(h, &at, range_end, ';'), "text/html");
        while (html && at <= range_end)
            html = !is_zero_weight(h, next_part(h, &at, range_end, ';'));
        if (html)
            return true;
    }
    return false;
}

static bool is_token(const struct head *h, struct ws_view v)
{
    for (size_t i = v.at; i < v.at + v.len; i++)
        if (!is_token_char(byte_at(h, i)))
            return false;
    return v.len > 0;
}

/* 9.1: a quoted value, once unquoted, must be a token, too. */
static bool is_quoted_token(const struct head *h, struct ws_view v)
{
    size_t end = v.at + v.len;  /* behind the last quote */
    if (v.len < 3 || byte_at(h, v.at) != '"' || byte_at(h, end - 1) != '"')
        return false;
    for (size_t i = v.at + 1; i < end - 1; i++) {
        if (byte_at(h, i) == '\\')
            i++;
        if (!is_token_char(byte_at(h, i)))
            return false;
    }
    return true;
}

/* 9.1: a name, with or without "=" and a value. */
static bool is_parameter(const struct head *h, struct ws_view v)
{
    size_t from = v.at, end = v.at + v.len;
    struct ws_view name = next_part(h, &from, end, '=');
    struct ws_view value;
    if (from > end)             /* no "=" */
        return is_token(h, name);
    value = trim(h, from, end);
    return is_token(h, name) && (is_token(h, value) || is_quoted_token(h, value));
}

/* 9.1: a name and its parameters, as in  permessage-deflate; server_max_window_bits=10 */
static bool is_extension(const struct head *h, struct ws_view v)
{
    size_t from = v.at, end = v.at + v.len;
    if (!is_token(h, next_part(h, &from, end, ';')))
        return false;
    while (from <= end)
        if (!is_parameter(h, next_part(h, &from, end, ';')))
            return false;
    return true;
}

/* 9.1: this only checks the grammar, because the server uses no extension.
 * RFC 9110 section 5.6.1.2: empty elements are skipped, even if all are empty. */
static void read_extensions(const struct head *h, struct ws_view list, struct ws_request *r)
{
    size_t from = list.at, end = list.at + list.len;
    while (from <= end) {
        struct ws_view element = next_part(h, &from, end, ',');
        if (element.len > 0 && !is_extension(h, element))
            refuse_value(r, 400, "Sec-WebSocket-Extensions is malformed", list);
    }
}

/* 4.3: the case of letters counts: "notices" and "Notices" differ. */
static void read_subprotocols(const struct head *h, struct ws_view list,
                              const char *subprotocol, struct ws_request *r)
{
    size_t from = list.at, end = list.at + list.len;
    while (from <= end) {
        struct ws_view name = next_part(h, &from, end, ',');
        if (name.len > 0 && !is_token(h, name))
            refuse_value(r, 400, "Sec-WebSocket-Protocol is not a list of names", list);
        if (subprotocol != NULL && is_exactly(h, name, subprotocol))
            r->offers = true;
    }
}

/* Returns where the request line begins.  RFC 9112 section 2.2: a server skips one empty line
 * in front of it. */
static size_t begin(const struct head *h)
{
    return byte_at(h, 0) == '\r' && byte_at(h, 1) == '\n' ? 2 : 0;
}

/* Detects TLS and JSON at the first byte, so that the client learns at once what is
 * wrong.  Later checks would give a vague reason, or wait for the rest of a request. */
static void refuse_first_byte(int c, struct ws_request *r)
{
    if (c == 0x16)              /* RFC 8446 section 5.1: a TLS handshake */
        refuse(r, 400, "use http:// and ws://, not https:// and wss://");
    if (c == '{')               /* JSON, typed into telnet or nc */
        refuse(r, 400, "use websocat or a browser, not nc or telnet");
}

/* Looks for the empty line that ends the head, and for faults before it.
 * Returns false if it has found neither yet. */
static bool find_end(const struct head *h, struct ws_request *r)
{
    size_t line = 0;            /* the beginning of the line with byte i */

    refuse_first_byte(byte_at(h, 0), r);
    if (r->status != 0)
        return true;
    for (size_t i = 0; i < h->size && i < WS_HEAD_MAX; i++) {
        int c = byte_at(h, i);
        bool after_cr = i > line && byte_at(h, i - 1) == '\r';
        if (c == '\n' && !after_cr) {
            refuse(r, 400, "lines end with CR LF: use nc -C");
        } else if (c != '\n' && after_cr) {
            refuse(r, 400, "a CR without its LF");
        } else if ((c < ' ' && !is_one_of(c, "\t\r\n")) || c == 0x7F) {
            refuse(r, 400, "a control character in the request");
        } else if (c == '\n' && i == line + 1 && line > 0) {
            r->size = i + 1;
            return true;
        }
        if (r->status != 0)
            return true;
        if (c == '\n')
            line = i + 1;
    }
    if (h->size >= WS_HEAD_MAX && line == 0)
        refuse(r, 414, "the request line is longer than 8 KiB");        /* RFC 9112, 3 */
    if (h->size >= WS_HEAD_MAX)
        refuse(r, 431, "the request head is longer than 8 KiB");
    return r->status != 0;
}

/* RFC 9112 section 3: method SP target SP version.
 * 4.2.1: "HTTP/1.1 or higher"; RFC 9110 section 2.5 explains higher versions. */
static void parse_request_line(const struct head *h, size_t from, size_t to,
                               struct ws_request *r)
{
    size_t target = find(h, from, to, ' ') + 1;
    size_t version = target < to ? find(h, target, to, ' ') + 1 : to;
    struct ws_view method = { from, target - 1 - from };

    if (method.len == 0 || version >= to || version == target + 1)
        refuse_value(r, 400, "GET / HTTP/1.1 wanted",
                     (struct ws_view){ from, to - from });
    else if (to - version != 8 || !is_exactly(h, (struct ws_view){ version, 7 }, "HTTP/1.")
             || byte_at(h, to - 1) < '1' || byte_at(h, to - 1) > '9')
        refuse_value(r, 400, "HTTP/1.1 wanted (nginx: proxy_http_version 1.1)",
                     (struct ws_view){ version, to - version });
    else if (is_exactly(h, method, "PUT"))              /* curl -T before 8.20 */
        refuse_value(r, 405, "use curl 8.20 or newer to chat", method);
    else if (!r->head && !is_exactly(h, method, "GET"))
        refuse_value(r, 405, "only GET and HEAD are answered", method);
}

static void note_field(const struct head *h, struct ws_view name, struct ws_view value,
                       const char *subprotocol, struct ws_request *r, struct fields *f)
{
    if (is_word(h, name, "Host")) {
        f->hosts++;
        r->host = value;
    } else if (is_word(h, name, "Origin")) {
        f->origins++;
        r->origin = value;
    } else if (is_word(h, name, "Upgrade")) {
        f->upgrade = f->upgrade || lists(h, value, "websocket");
    } else if (is_word(h, name, "Connection")) {
        f->connection = f->connection || lists(h, value, "upgrade");
    } else if (is_word(h, name, "Sec-WebSocket-Key")) {
        f->keys++;
        r->key = value;
    } else if (is_word(h, name, "Sec-WebSocket-Version")) {
        f->versions++;
        f->version = value;
    } else if (is_word(h, name, "Sec-WebSocket-Protocol")) {
        read_subprotocols(h, value, subprotocol, r);
    } else if (is_word(h, name, "Sec-WebSocket-Extensions")) {
        read_extensions(h, value, r);
    } else if (is_word(h, name, "Accept")) {
        r->html = r->html || accepts_html(h, value);
    } else if (is_word(h, name, "Content-Length")) {
        f->body = f->body || !is_exactly(h, value, "0");
    } else if (is_word(h, name, "Transfer-Encoding")) {
        f->body = true;
    }
}

/* RFC 9112 section 5: name ":" value.  A proxy in front of this server could read a
 * malformed line in another way than the server does (sections 5.1 and 5.2).  So the
 * server refuses such a line. */
static void parse_header_line(const struct head *h, size_t from, size_t to,
                              const char *subprotocol, struct ws_request *r, struct fields *f)
{
    size_t colon = find(h, from, to, ':');
    struct ws_view line = { from, to - from };
    if (is_space(byte_at(h, from))) {
        refuse_value(r, 400, "a header line is folded", line);
        return;
    }
    for (size_t i = from; i < colon && colon < to; i++) {
        int c = byte_at(h, i);
        if (!is_token_char(c))
            refuse_value(r, 400, is_space(c) ? "space before the colon of a header line"
                                 : "a header name with a bad character", line);
    }
    if (colon == to)
        refuse_value(r, 400, "a header line without a colon", line);
    else if (colon == from)
        refuse_value(r, 400, "a header line without a name", line);
    else
        note_field(h, (struct ws_view){ from, colon - from }, trim(h, colon + 1, to),
                   subprotocol, r, f);
}

/* RFC 9112 section 3.2: exactly one Host, with only the characters of a host name. */
static void judge_host(const struct head *h, struct ws_request *r, const struct fields *f)
{
    if (f->hosts != 1) {
        refuse(r, 400, f->hosts == 0 ? "no Host header" : "several Host headers");
        return;
    }
    for (size_t i = r->host.at; i < r->host.at + r->host.len; i++)
        if (!is_alnum(byte_at(h, i)) && !is_one_of(byte_at(h, i), "-._~:[]%!$&'()*+;="))
            refuse_value(r, 400, "Host is not a host", r->host);
}

/* 4.2.1 item 5: the key is 16 bytes in base64.  24 characters are 16 to 18 bytes, and
 * base64_decode refuses more than 16. */
static bool is_key(const struct head *h, struct ws_view key)
{
    char text[WS_KEY_LEN];
    uint8_t bytes[16];
    size_t size;

    if (key.len != WS_KEY_LEN)
        return false;
    for (size_t i = 0; i < WS_KEY_LEN; i++)
        text[i] = (char)byte_at(h, key.at + i);
    return base64_decode(text, WS_KEY_LEN, bytes, sizeof bytes, &size);
}

/* 4.2.1 items 3 to 6, for a request that asks for an upgrade. */
static void judge_upgrade(const struct head *h, struct ws_request *r, const struct fields *f)
{
    if (!f->upgrade)
        refuse(r, 400, "no \"Upgrade: websocket\" header");
    if (!f->connection)
        refuse(r, 400, "no \"Connection: Upgrade\" header");
    if (f->versions != 1)
        refuse(r, 400, f->versions == 0 ? "no Sec-WebSocket-Version header"
                                        : "several Sec-WebSocket-Version headers");
    if (!is_exactly(h, f->version, "13"))               /* 4.2.2 item 4, 4.4 */
        refuse_value(r, 426, "Sec-WebSocket-Version 13 wanted", f->version);
    if (f->keys != 1)
        refuse(r, 400, f->keys == 0 ? "no Sec-WebSocket-Key header"
                                    : "several Sec-WebSocket-Key headers");
    if (!is_key(h, r->key))
        refuse_value(r, 400, "Sec-WebSocket-Key is not 16 bytes in base64", r->key);
}

/* The Upgrade header asks for an upgrade.  A client that sends only a key or a version
 * wants one, too.  The answer to a plain GET would not help it, so a 400 names the
 * missing header. */
static void judge(const struct head *h, struct ws_request *r, const struct fields *f)
{
    bool asks = !r->head && (f->upgrade || f->keys > 0 || f->versions > 0);

    judge_host(h, r, f);
    if (f->body)
        refuse(r, 400, "a request with a body");
    if (f->origins > 1)
        refuse(r, 400, "several Origin headers");
    if (asks)
        judge_upgrade(h, r, f);
    if (r->status == 0)
        r->status = asks ? 101 : 426;
}

/* RFC 9110 section 9.3.2.  The server may have to refuse a request before its first
 * line is complete.  So this looks at the first bytes only. */
bool ws_is_head(const uint8_t *buf, size_t len)
{
    struct head h = { buf, len };
    return is_exactly(&h, (struct ws_view){ begin(&h), 5 }, "HEAD ");
}

bool ws_parse_request(const uint8_t *buf, size_t len, const char *subprotocol,
                      struct ws_request *r)
{
    struct head h = { buf, len };
    struct fields f;
    size_t from, to;
    memset(r, 0, sizeof *r);
    memset(&f, 0, sizeof f);
    r->head = ws_is_head(buf, len);
    if (!find_end(&h, r))
        return false;
    if (r->status != 0)
        return true;
    h.size = r->size;
    from = begin(&h);
    to = find(&h, from, h.size, '\r');
    parse_request_line(&h, from, to, r);
    for (from = to + 2; from + 2 < h.size; from = to + 2) {
        to = find(&h, from, h.size, '\r');
        parse_header_line(&h, from, to, subprotocol, r, &f);
    }
    judge(&h, r, &f);
    return true;
}

/* 4.2.2 item 5.4: the SHA-1 of the key's characters and this text, in base64. */
void ws_accept_key(const uint8_t *key, char accept[WS_ACCEPT_LEN + 1])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    uint8_t text[WS_KEY_LEN + sizeof guid - 1];
    uint8_t digest[SHA1_SIZE];

    memcpy(text, key, WS_KEY_LEN);
    memcpy(text + WS_KEY_LEN, guid, sizeof guid - 1);
    sha1(text, sizeof text, digest);
    base64_encode(digest, SHA1_SIZE, accept);
}

static const struct status {
    int code;
    const char *line;           /* the number and its name, RFC 9110 section 15 */
    const char *headers;        /* headers that this status requires */
} statuses[] = {
    { 101, "101 Switching Protocols", "Upgrade: websocket\r\nConnection: Upgrade\r\n" },
    { 200, "200 OK", "Connection: close\r\n" },
    { 400, "400 Bad Request", "Connection: close\r\n" },
    { 403, "403 Forbidden", "Connection: close\r\n" },
    { 405, "405 Method Not Allowed", "Allow: GET, HEAD\r\nConnection: close\r\n" },
    { 408, "408 Request Timeout", "Connection: close\r\n" },
    { 414, "414 URI Too Long", "Connection: close\r\n" },
    { 426, "426 Upgrade Required", "Upgrade: websocket\r\nConnection: Upgrade, close\r\n"
                                   "Sec-WebSocket-Version: 13\r\n" },
    { 431, "431 Request Header Fields Too Large", "Connection: close\r\n" },
    { 503, "503 Service Unavailable", "Connection: close\r\n" },
};

static bool is_leap(int year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* RFC 9110 sections 6.6.1 and 5.6.7:  Date: Sun, 06 Nov 1994 08:49:37 GMT
 * This uses neither strftime, which takes the names from the locale, nor gmtime, which may
 * read files. */
static void write_date(char *out, size_t cap, time_t when)
{
    static const char days[][4] = { "Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed" };
    static const struct { char name[4]; int days; } months[] = {
        { "Jan", 31 }, { "Feb", 28 }, { "Mar", 31 }, { "Apr", 30 }, { "May", 31 }, { "Jun", 30 },
        { "Jul", 31 }, { "Aug", 31 }, { "Sep", 30 }, { "Oct", 31 }, { "Nov", 30 }, { "Dec", 31 },
    };
    int year = 1970, month = 0, day, weekday, second;

    if (when < 0)               /* time() failed */
        when = 0;
    second = (int)(when % 86400);
    day = (int)(when / 86400);
    weekday = day % 7;          /* 1 January 1970 was a Thursday */
    for (; day >= 365 + is_leap(year); year++)
        day -= 365 + is_leap(year);
    for (; day >= months[month].days + (month == 1 && is_leap(year)); month++)
        day -= months[month].days + (month == 1 && is_leap(year));
    snprintf(out, cap, "Date: %s, %02d %s %d %02d:%02d:%02d GMT\r\n", days[weekday], day + 1,
             months[month].name, year, second / 3600, second / 60 % 60, second % 60);
}

size_t ws_write_response(uint8_t *out, size_t cap, int status, time_t when,
                         const char *headers, const char *body, bool head)
{
    char content[80] = "", date[100] = "";
    size_t i = 0;
    int n;

    while (i + 1 < sizeof statuses / sizeof *statuses && statuses[i].code != status)
        i++;
    if (status != 101)
        snprintf(content, sizeof content, "Content-Type: text/%s; charset=utf-8\r\n"
                 "Content-Length: %zu\r\n", status == 200 ? "html" : "plain", strlen(body));
    if (status >= 200 && status < 500)
        write_date(date, sizeof date, when);
    n = snprintf((char *)out, cap, "HTTP/1.1 %s\r\n%s%s%s%s\r\n%s", statuses[i].line, date,
                 statuses[i].headers, headers, content, status == 101 || head ? "" : body);
    return (size_t)n < cap ? (size_t)n : 0;
}

/* ---- Origins that may connect, sections 4.2.2 item 4 and 10.2 ---------------------
 *
 * In a browser, any page may open a WebSocket to any server.  The browser sends the
 * page's origin in the request, and the server decides whether to accept it.  An
 * origin is a scheme, a host and perhaps a port (RFC 6454): http://localhost:8080 */

static struct head text_of(const struct ws_origin *o)
{
    return (struct head){ o->text, o->len };
}

/* Returns where the host begins, behind "://"; 0 if there is no scheme. */
static size_t host_of(const struct ws_origin *o)
{
    struct head h = text_of(o);
    size_t colon = find(&h, 0, o->len, ':');
    bool found = colon > 0 && is_exactly(&h, (struct ws_view){ colon, 3 }, "://");
    return found ? colon + 3 : 0;
}

/* RFC 6454 section 4: without a port, the scheme's usual port is meant. */
static void drop_port(struct ws_origin *o, const char *scheme, const char *port)
{
    struct head h = text_of(o);
    size_t host = strlen(scheme), n = strlen(port);
    if (o->len > host + n && is_exactly(&h, (struct ws_view){ 0, host }, scheme)
        && is_exactly(&h, (struct ws_view){ o->len - n, n }, port))
        o->len -= n;
}

/* RFC 6454 section 6.2: writes an origin in one fixed form, so that is_same() can compare two.
 *   - `scheme` stands before the text
 *   - all letters are lower case
 *   - the usual port of http or https is left out
 *   - a slash at the end is left out (our rule, not the RFC's)
 * Returns false if the text is too long. */
static bool normalize(struct ws_origin *o, const char *scheme, const struct head *h,
                      struct ws_view v)
{
    size_t before = strlen(scheme), host;

    memset(o, 0, sizeof *o);
    if (v.len > WS_ORIGIN_MAX)
        return false;
    memcpy(o->text, scheme, before);
    for (size_t i = 0; i < v.len; i++)
        o->text[before + i] = (uint8_t)lower(byte_at(h, v.at + i));
    o->len = before + v.len;
    host = host_of(o);
    if (host > 0 && host < o->len && o->text[o->len - 1] == '/')
        o->len--;
    drop_port(o, "http://", ":80");
    drop_port(o, "https://", ":443");
    return true;
}

static bool read_origin(struct ws_origin *o, const struct head *h, struct ws_view v)
{
    struct head text;
    struct ws_view all;
    size_t host;

    if (!normalize(o, "", h, v))
        return false;
    text = text_of(o);
    all = (struct ws_view){ 0, o->len };
    if (is_exactly(&text, all, "null") || is_exactly(&text, all, "file://")
        || is_exactly(&text, all, "*"))
        return true;
    host = host_of(o);
    return host > 0 && host < o->len && byte_at(&text, host) != ':'
        && find(&text, host, o->len, '/') == o->len;
}

bool ws_read_origin(const uint8_t *text, size_t len, struct ws_origin *o)
{
    struct head h = { text, len };
    return read_origin(o, &h, (struct ws_view){ 0, len });
}

static bool is_same(const struct ws_origin *a, const struct ws_origin *b)
{
    return a->len == b->len && memcmp(a->text, b->text, a->len) == 0;
}

/* Is this part empty, or a colon and digits? */
static bool is_port(const struct head *h, size_t from, size_t to)
{
    if (from == to)
        return true;
    if (byte_at(h, from) != ':' || from + 1 == to)
        return false;
    for (size_t i = from + 1; i < to; i++)
        if (byte_at(h, i) < '0' || byte_at(h, i) > '9')
            return false;
    return true;
}

/* Is the host localhost or an IP address?  The owner of any other name can make it
 * point to this server ("DNS rebinding").  The owner's page then has an Origin that equals
 * Host, and must still be refused. */
static bool is_literal(const struct ws_origin *o)
{
    struct head h = text_of(o);
    size_t from = host_of(o), end, len;
    bool bracket = byte_at(&h, from) == '[';
    char host[INET6_ADDRSTRLEN];
    struct in6_addr address;

    if (bracket)
        from++;
    end = find(&h, from, o->len, bracket ? ']' : ':');
    len = end - from;
    if (len >= sizeof host || !is_port(&h, bracket ? end + 1 : end, o->len))
        return false;
    for (size_t i = 0; i < len; i++)
        host[i] = (char)byte_at(&h, from + i);
    host[len] = '\0';
    if (bracket)
        return inet_pton(AF_INET6, host, &address) == 1;
    return is_exactly(&h, (struct ws_view){ from, len }, "localhost")
        || inet_pton(AF_INET, host, &address) == 1;
}

/* Does the page come from this server?  Then its origin equals the Host header.  Host
 * has no scheme, so the page's scheme is put before it. */
static bool is_own(const struct ws_origin *page, const struct head *h, const struct ws_request *r)
{
    struct head text = text_of(page);
    bool https = is_exactly(&text, (struct ws_view){ 0, host_of(page) }, "https://");
    struct ws_origin own;
    return normalize(&own, https ? "https://" : "http://", h, r->host)
        && is_same(page, &own) && is_literal(page);
}

static bool is_among(const struct ws_origin *page, const struct ws_origin *allowed, int count)
{
    for (int i = 0; i < count; i++)
        if (is_same(&allowed[i], page))
            return true;
    return false;
}

static const struct ws_origin all_pages = { "*", 1 };

bool ws_may_connect(const uint8_t *buf, const struct ws_request *r,
                    const struct ws_origin *allowed, int count)
{
    struct head h = { buf, r->size };
    struct ws_origin page;

    if (r->origin.at == 0)      /* a program, not a browser */
        return true;
    if (is_among(&all_pages, allowed, count))
        return true;
    return read_origin(&page, &h, r->origin)
        && (is_among(&page, allowed, count) || is_own(&page, &h, r));
}

bool ws_may_open(const uint8_t *buf, const struct ws_request *r,
                 const struct ws_origin *allowed, int count)
{
    struct head h = { buf, r->size };
    struct ws_origin page, safe_page;

    if (is_among(&all_pages, allowed, count))
        return true;
    if (!normalize(&page, "http://", &h, r->host))
        return false;
    normalize(&safe_page, "https://", &h, r->host);     /* cannot fail: the host fitted above */
    return is_literal(&page) || is_among(&page, allowed, count) || is_among(&safe_page, allowed, count);
}

/* ---- Part 2: frames, section 5.2 -------------------------------------------------
 *
 *     byte 0                byte 1           0, 2 or 8 bytes   4 bytes
 *   +-----+-----+--------+------+--------+-----------------+-----------+---------
 *   | FIN | RSV | opcode | MASK | length | extended length |  masking  | payload
 *   |  1  |  3  |   4    |  1   |   7    | if 126 or 127   |    key    |
 *   +-----+-----+--------+------+--------+-----------------+-----------+---------
 *    bits */

struct header {
    bool fin;
    uint8_t opcode;
    uint64_t len;               /* payload bytes */
    uint8_t mask[4];
    size_t end;                 /* where the payload begins */
};

static enum ws_type breach(struct ws_event *e, int code, const char *reason, size_t byte)
{
    e->code = code;
    e->reason = reason;
    e->byte = byte;
    return WS_BREACH;
}

static bool is_control(uint8_t opcode)
{
    return opcode >= WS_OP_CLOSE;
}

/* Returns the fault in byte 0 of a frame, or NULL. */
static const char *fault_in_first(const struct ws_decoder *d, uint8_t b)
{
    uint8_t opcode = b & 0x0F;
    bool fin = (b & 0x80) != 0;
    if ((b & 0x70) != 0)                                        /* 5.2 */
        return "a reserved bit is set, without an extension";
    if ((opcode > WS_OP_BINARY && opcode < WS_OP_CLOSE) || opcode > WS_OP_PONG)
        return "a reserved opcode";                             /* 5.2 */
    if (is_control(opcode) && !fin)                             /* 5.5 */
        return "a control frame in fragments";
    if (opcode == WS_OP_CONTINUATION && d->type == 0)           /* 5.4 */
        return "a continuation frame with nothing to continue";
    if ((opcode == WS_OP_TEXT || opcode == WS_OP_BINARY) && d->type != 0)
        return "a new message inside a fragmented one";         /* 5.4 */
    return NULL;
}

/* Returns the fault in byte 1 of a frame, or NULL.  5.1: a client masks every frame.
 * Without this check, the server would read four payload bytes as the masking key. */
static const char *fault_in_second(uint8_t first, uint8_t b)
{
    if ((b & 0x80) == 0)
        return "a client frame that is not masked";
    if (is_control(first & 0x0F) && (b & 0x7F) > WS_CONTROL_MAX)    /* 5.5 */
        return "a control frame of more than 125 bytes";
    return NULL;
}

/* 5.2: the length uses the fewest possible bytes, and its top bit is 0. */
static const char *fault_in_length(uint64_t len, size_t bytes)
{
    if ((bytes == 2 && len < 126) || (bytes == 8 && len < 65536))
        return "a length in more bytes than it needs";
    if (len >> 63 != 0)
        return "a length with the top bit set";
    return NULL;
}

static uint64_t big_endian(const uint8_t *buf, size_t from, size_t to)
{
    uint64_t n = 0;
    for (size_t i = from; i < to; i++)
        n = n << 8 | buf[i];
    return n;
}

/* Reads the frame header at buf[d->at].  Checks each field as soon as it is there.
 * Returns true if h is set.  Otherwise e->reason is the fault, or NULL if the
 * function needs more bytes. */
static bool read_header(const struct ws_decoder *d, const uint8_t *buf, size_t len,
                        struct header *h, struct ws_event *e)
{
    size_t at = d->at;
    size_t extra;               /* bytes of the extended length */

    e->code = WS_PROTOCOL_ERROR;
    if (at >= len || (e->reason = fault_in_first(d, buf[at])) != NULL)
        return false;
    if (at + 1 >= len || (e->reason = fault_in_second(buf[at], buf[at + 1])) != NULL)
        return false;
    h->fin = (buf[at] & 0x80) != 0;
    h->opcode = buf[at] & 0x0F;
    h->len = buf[at + 1] & 0x7F;
    extra = h->len == 127 ? 8 : h->len == 126 ? 2 : 0;
    at += 2 + extra;
    if (at > len)
        return false;
    if (extra > 0)
        h->len = big_endian(buf, at - extra, at);
    if ((e->reason = fault_in_length(h->len, extra)) != NULL)
        return false;
    if (!is_control(h->opcode) && h->len > d->limit - (d->end - d->start)) {
        breach(e, WS_TOO_BIG, "the message is over the limit", 0);
        return false;
    }
    if (at + sizeof h->mask > len)
        return false;
    memcpy(h->mask, buf + at, sizeof h->mask);
    h->end = at + sizeof h->mask;
    return true;
}

/* The top bit of each of 8 bytes.  ASCII characters have it at 0. */
#define HIGH_BITS UINT64_C(0x8080808080808080)

/* 5.3: payload byte i is xored with mask byte i % 4.
 *
 * Moves n payload bytes from buf[from] down to buf[to], 8 bytes at a time, over the
 * header before them.  Then turns the mask, so that mask[0] belongs to the next
 * payload byte.  Returns true if all n bytes are ASCII: testing that here is cheap. */
static bool unmask(uint8_t *buf, size_t to, size_t from, size_t n, uint8_t mask[4])
{
    uint8_t turned[8];
    uint64_t key, word, seen = 0;
    size_t i = 0;

    memcpy(turned, mask, 4);
    memcpy(turned + 4, mask, 4);
    memcpy(&key, turned, sizeof key);    /* a copy of bytes: correct in either byte order */
    for (; i + 8 <= n; i += 8) {
        memcpy(&word, buf + from + i, sizeof word);
        word ^= key;
        seen |= word;
        memcpy(buf + to + i, &word, sizeof word);
    }
    for (; i < n; i++) {
        buf[to + i] = buf[from + i] ^ mask[i % 4];
        seen |= buf[to + i];
    }
    memcpy(mask, turned + n % 4, 4);
    return (seen & HIGH_BITS) == 0;
}

/* ---- Part 3: messages, sections 5.4 and 8.1 -------------------------------------- */

/* The first byte of a character, RFC 3629 section 4.  It decides how many bytes follow
 * and which values the second byte may have.  These are refused:
 * bytes that cannot begin a character, encodings that are longer than necessary, UTF-16
 * surrogates, and characters beyond U+10FFFF. */
static bool utf8_first(struct ws_utf8 *u, uint8_t b)
{
    u->missing = b < 0x80 ? 0 : b < 0xE0 ? 1 : b < 0xF0 ? 2 : 3;
    u->low = b == 0xE0 ? 0xA0 : b == 0xF0 ? 0x90 : 0x80;
    u->high = b == 0xED ? 0x9F : b == 0xF4 ? 0x8F : 0xBF;
    return b < 0x80 || (b >= 0xC2 && b <= 0xF4);
}

static bool utf8_next(struct ws_utf8 *u, uint8_t b)
{
    bool right = b >= u->low && b <= u->high;
    u->missing--;
    u->low = 0x80;
    u->high = 0xBF;
    return right;
}

/* Returns the index of the first byte in buf[from..to) that is not UTF-8, or `to`. */
static size_t utf8_check(struct ws_utf8 *u, const uint8_t *buf, size_t from, size_t to)
{
    uint64_t word;
    size_t i = from;

    while (i < to) {
        if (u->missing == 0 && i + 8 <= to) {       /* ASCII, eight at a time */
            memcpy(&word, buf + i, sizeof word);
            if ((word & HIGH_BITS) == 0) {
                i += 8;
                continue;
            }
        }
        if (u->missing == 0 ? !utf8_first(u, buf[i]) : !utf8_next(u, buf[i]))
            return i;
        i++;
    }
    return to;
}

size_t ws_utf8_size(const uint8_t *text, size_t at, size_t len)
{
    struct ws_utf8 u = { 0, 0, 0 };
    size_t size = 1;
    if (at >= len || !utf8_first(&u, text[at]))
        return 0;
    for (; u.missing > 0; size++)
        if (at + size >= len || !utf8_next(&u, text[at + size]))
            return 0;
    return size;
}

static enum ws_type not_utf8(const struct ws_decoder *d, struct ws_event *e)
{
    return breach(e, WS_NOT_UTF8, "the text is not UTF-8", d->bad);     /* 8.1 */
}

/* Appends the received part of this frame's payload to the message.  Returns false if
 * a text message is not UTF-8. */
static bool take_payload(struct ws_decoder *d, uint8_t *buf, size_t len)
{
    size_t n = len - d->at;
    size_t from = d->end;
    size_t bad;
    bool ascii;

    if (n > d->left)
        n = (size_t)d->left;
    ascii = unmask(buf, d->end, d->at, n, d->mask);
    d->end += n;
    d->at += n;
    d->left -= n;
    /* ASCII needs no check, nor does a binary message after its first fault. */
    if (d->bad != 0 || (ascii && d->utf8.missing == 0))
        return true;
    bad = utf8_check(&d->utf8, buf, from, d->end);
    if (bad < d->end)
        d->bad = bad - d->start + 1;
    return d->bad == 0 || d->type == WS_BINARY;
}

static void forget_message(struct ws_decoder *d)
{
    d->whole = false;
    d->start = d->end = d->at;
    d->type = 0;
    d->bad = 0;
    memset(&d->utf8, 0, sizeof d->utf8);
}

static enum ws_type message(struct ws_decoder *d, struct ws_event *e)
{
    if (d->utf8.missing != 0 && d->bad == 0)        /* ends inside a character */
        d->bad = d->end - d->start;
    if (d->bad != 0 && d->type == WS_TEXT)
        return not_utf8(d, e);
    d->whole = true;
    e->at = d->start;
    e->len = d->end - d->start;
    e->bad = d->bad;
    return (enum ws_type)d->type;
}

/* ---- Part 4: closing, sections 5.5.1 and 7.4 -------------------------------------- */

/* 7.4.1, 7.4.2: these codes may stand in a frame.  (IANA has added 1012 to 1014 since then.)
 * 1005, 1006 and 1015 must not stand in a frame.  All others are reserved. */
static bool is_close_code(int code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014)
        || (code >= 3000 && code <= 4999);
}

/* 5.5.1: no payload, or a code of two bytes and a reason in UTF-8. */
static enum ws_type close_frame(const uint8_t *buf, struct ws_event *e)
{
    struct ws_utf8 u = { 0, 0, 0 };
    size_t end = e->at + e->len;
    size_t bad;

    e->code = WS_NO_CODE;
    if (e->len == 0)
        return WS_CLOSE;
    if (e->len == 1)
        return breach(e, WS_PROTOCOL_ERROR, "a close frame with half a code", 0);
    e->code = (int)big_endian(buf, e->at, e->at + 2);
    e->at += 2;
    e->len -= 2;
    if (!is_close_code(e->code))
        return breach(e, WS_PROTOCOL_ERROR, "a close code that must not be sent", 0);
    bad = utf8_check(&u, buf, e->at, end);
    if (bad < end || u.missing != 0)
        return breach(e, WS_NOT_UTF8, "the close reason is not UTF-8", 0);
    return WS_CLOSE;
}

/* Returns a control frame when all of it is there.  A control frame may stand between
 * the fragments of a message (5.4), so this leaves the message as it is. */
static enum ws_type control(struct ws_decoder *d, uint8_t *buf, size_t len,
                            struct header *h, struct ws_event *e)
{
    size_t n = (size_t)h->len;
    if (h->end + n > len)
        return WS_MORE;
    e->at = h->end;
    e->len = n;
    unmask(buf, e->at, e->at, n, h->mask);
    d->at = e->at + n;
    if (h->opcode == WS_OP_CLOSE)
        return close_frame(buf, e);
    return h->opcode == WS_OP_PING ? WS_PING : WS_PONG;
}

static void begin_frame(struct ws_decoder *d, const struct header *h)
{
    d->at = h->end;
    memcpy(d->mask, h->mask, sizeof d->mask);
    d->left = h->len;
    d->fin = h->fin;
    d->in_frame = true;
    if (h->opcode != WS_OP_CONTINUATION)
        d->type = h->opcode == WS_OP_TEXT ? WS_TEXT : WS_BINARY;
}

void ws_start(struct ws_decoder *d, size_t at, size_t limit)
{
    memset(d, 0, sizeof *d);
    d->limit = limit;
    d->at = at;
    forget_message(d);
}

enum ws_type ws_next(struct ws_decoder *d, uint8_t *buf, size_t len, struct ws_event *e)
{
    struct header h = { false, 0, 0, { 0 }, 0 };
    memset(e, 0, sizeof *e);
    if (d->whole)
        forget_message(d);
    for (;;) {
        if (!d->in_frame) {
            if (!read_header(d, buf, len, &h, e))
                return e->reason != NULL ? WS_BREACH : WS_MORE;
            if (is_control(h.opcode))
                return control(d, buf, len, &h, e);
            begin_frame(d, &h);
        }
        if (!take_payload(d, buf, len))
            return not_utf8(d, e);
        if (d->left > 0)
            return WS_MORE;
        d->in_frame = false;
        if (d->fin)
            return message(d, e);
    }
}

size_t ws_keep(struct ws_decoder *d, uint8_t *to, const uint8_t *from, size_t len)
{
    size_t done = d->whole ? 0 : d->end - d->start;
    size_t rest = len - d->at;

    memmove(to, from + d->end - done, done);
    memmove(to + done, from + d->at, rest);
    d->start = 0;
    d->end = d->at = done;
    return done + rest;
}

/* ---- Part 5: what the server sends, section 5 ------------------------------------- */

/* 5.1: a server does not mask.  5.2: the length uses the fewest possible bytes. */
size_t ws_write_header(uint8_t *out, enum ws_opcode opcode, size_t len)
{
    size_t extra = len < 126 ? 0 : len < 65536 ? 2 : 8;
    out[0] = (uint8_t)(0x80 | opcode);
    out[1] = (uint8_t)(extra == 0 ? len : extra == 2 ? 126 : 127);
    for (size_t i = 0; i < extra; i++)
        out[2 + i] = (uint8_t)((uint64_t)len >> (8 * (extra - 1 - i)) & 0xFF);
    return 2 + extra;
}

size_t ws_write_control(uint8_t *out, enum ws_opcode opcode, const uint8_t *payload, size_t len)
{
    size_t n = ws_write_header(out, opcode, len);
    memcpy(out + n, payload, len);
    return n + len;
}

size_t ws_write_close(uint8_t *out, int code, const char *reason)
{
    uint8_t payload[WS_CONTROL_MAX] = { 0 };
    size_t len = 2;
    if (code == WS_NO_CODE)         /* 7.4.1: 1005 is never sent */
        return ws_write_control(out, WS_OP_CLOSE, payload, 0);
    payload[0] = (uint8_t)(code >> 8 & 0xFF);
    payload[1] = (uint8_t)(code & 0xFF);
    for (; reason[len - 2] != '\0' && len < WS_CONTROL_MAX; len++)
        payload[len] = (uint8_t)reason[len - 2];
    return ws_write_control(out, WS_OP_CLOSE, payload, len);
}
