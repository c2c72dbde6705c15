/* soak.c -- checks that no message is lost under load.  Hundreds of users join, chat,
 * stop reading, and leave in good and bad ways.  soak keeps books of every message.
 *
 *     test/bin/soak [-a APPROACH] [-s SECONDS] [-n CLIENTS] [-r SEED] SERVER
 *
 * The server's log says what became of each message that the server read.  So:
 *
 *   - The messages of each user are in the log, each once and in order.  The last ones
 *     may be missing if the user vanished, or if the log says that it was dropped.
 *   - Each message that the log calls delivered arrives at its recipient: once, in
 *     order and unchanged.  The last ones may be missing if the recipient vanished or
 *     was dropped.
 *   - No message arrives that is not in the log.
 *
 * The server also uses no more memory than its slots need.  When all users have left,
 * it has as many descriptors as before.  At the end it exits with status 0.
 *
 * The text of a message is  "FROM NUMBER xxxx".  FROM is the sender's id.
 *
 * Order: queues, users and the books, the log, clients: sending, receiving,
 * coming and leaving, the server, the end, main. */

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    MOST_CLIENTS = 1000,
    POPULAR = 5,
    PAYLOAD = 20000,            /* bytes of the largest message string */
    FRAME = PAYLOAD + 100,
    LINE = 1024,                /* bytes of a line of the log */
    BUFFERS = 130,              /* KiB that the server sets aside for a client */
    PATIENCE_MS = 20000         /* until all users have left and the server ends */
};

static struct {
    const char *server, *approach;
    int seconds, clients;
    unsigned long seed;
} opt = { NULL, "directory", 30, 300, 1 };

static pid_t server = -1;
static uint16_t port;

static void wrong(const char *what, long id)
{
    fprintf(stderr, "soak: seed %lu, %s: user %ld: %s\n", opt.seed, opt.approach, id, what);
    if (server > 0)
        kill(server, SIGKILL);
    exit(1);
}

static uint64_t random_state;

static unsigned pick(unsigned below)
{
    random_state ^= random_state << 13;         /* xorshift64 */
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)(random_state >> 33) % below;
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- Queues ---------------------------------------------------------------------- */

struct note {
    long user, number;          /* the sender or the recipient; the message's number */
};

struct queue {
    struct note *notes;
    size_t first, count, room;
};

static void push(struct queue *q, long user, long number)
{
    if (q->first + q->count == q->room) {
        struct note *moved = malloc((q->count * 2 + 16) * sizeof *moved);
        if (moved == NULL)
            wrong("no memory for the books", user);
        if (q->count > 0)
            memcpy(moved, q->notes + q->first, q->count * sizeof *moved);
        free(q->notes);
        *q = (struct queue){ moved, 0, q->count, q->count * 2 + 16 };
    }
    q->notes[q->first + q->count++] = (struct note){ user, number };
}

static struct note pop(struct queue *q)
{
    q->count--;
    return q->notes[q->first++];
}

/* ---- Users and the books --------------------------------------------------------- */

static struct user {
    struct queue sent;          /* messages from it that are not in the log yet */
    struct queue due;           /* messages to it in the log that have not arrived */
    struct queue early;         /* messages that arrived before their log lines */
    bool vanished;              /* it vanished or was dropped; some bytes may be lost */
} *users;

static long user_count;         /* users[1..user_count] */
static long sent, delivered, to_nobody, dropped, lost_from, lost_to;

static struct user *user(long id)
{
    if (id < 1 || id > user_count)
        wrong("there is no such user", id);
    return &users[id];
}

static void add_users(long id)
{
    static long room;
    if (id >= room) {
        room = id * 2 + 1000;
        users = realloc(users, (size_t)room * sizeof *users);
        if (users == NULL)
            wrong("no memory for the books", id);
    }
    while (user_count < id)
        users[++user_count] = (struct user){ .vanished = false };
}

static void match(long id, struct queue *q, long from, long number)
{
    struct note n = pop(q);
    if (n.user != from || n.number != number) {
        fprintf(stderr, "soak: message %ld of user %ld, not %ld of user %ld\n", number, from,
                n.number, n.user);
        wrong("the socket and the log do not agree", id);
    }
}

static void note_arrival(long to, long from, long number)
{
    struct user *u = user(to);
    if (u->due.count > 0)
        match(to, &u->due, from, number);
    else
        push(&u->early, from, number);
}

static void note_delivery(long to, long from, long number)
{
    struct user *u = user(to);
    delivered++;
    if (u->early.count > 0)
        match(to, &u->early, from, number);
    else
        push(&u->due, from, number);
}

/* ---- The log --------------------------------------------------------------------- */

/* "user 1 -> user 2: ..." is about the next message of user 1. */
static void note_fate(long from, long to, const char *what)
{
    struct queue *q = &user(from)->sent;
    struct note n;
    long logged_from, number;

    if (q->count == 0)
        wrong("the log has a message that was not sent", from);
    n = pop(q);
    if (n.user != to)
        wrong("the log has another message than the next", from);
    if (what[0] != '"') {
        to_nobody++;
    } else if (sscanf(what, "\"%ld %ld ", &logged_from, &number) != 2 || logged_from != from
               || number != n.number) {
        wrong("the log has another message than the next", from);
    } else {
        note_delivery(to, from, number);
    }
}

static void note_line(const char *text)
{
    const char *line = strncmp(text, "! ", 2) == 0 ? text + 2 : text;
    long a, b;
    int n = 0;
    if (sscanf(line, "user %ld joined", &a) == 1)
        add_users(a);
    if (sscanf(line, "user %ld -> user %ld: %n", &a, &b, &n) == 2 && n > 0)
        note_fate(a, b, line + n);
    if (strstr(line, " left: did not read ") != NULL && sscanf(line, "user %ld", &a) == 1) {
        user(a)->vanished = true;
        dropped++;
    }
}

/* Returns false at the end of the log. */
static bool read_log(int fd)
{
    static char buf[65536 + LINE];
    static size_t used;
    char *line = buf, *end;
    ssize_t got = read(fd, buf + used, sizeof buf - 1 - used);

    if (got <= 0)
        return got < 0 && (errno == EAGAIN || errno == EINTR);
    used += (size_t)got;
    buf[used] = '\0';
    for (; (end = memchr(line, '\n', used - (size_t)(line - buf))) != NULL; line = end + 1) {
        *end = '\0';
        note_line(line);
    }
    used -= (size_t)(line - buf);
    memmove(buf, line, used);
    return true;
}

/* ---- Clients: sending ------------------------------------------------------------ */

static struct client {
    int fd;                     /* -1: no connection */
    long id;                    /* 0: it waits for its 101 */
    long number;                /* messages that it has sent */
    bool leaving;               /* it sends no more, and reads to the end */
    int64_t reads_at, writes_at;        /* milliseconds: not before */
    uint8_t out[8 * FRAME];
    size_t out_at, out_len;
    uint8_t in[2 * FRAME];
    size_t in_len;
} clients[MOST_CLIENTS];

static bool is_over;            /* all users leave, and no new ones join */

static void put(struct client *c, const void *bytes, size_t len)
{
    memcpy(c->out + c->out_len, bytes, len);
    c->out_len += len;
}

static void put_frame(struct client *c, uint8_t opcode, const void *payload, size_t len)
{
    uint8_t header[8] = { (uint8_t)(0x80 | opcode), (uint8_t)(0x80 | (len < 126 ? len : 126)) };
    size_t size = 2;
    uint8_t *mask, *masked;

    if (len >= 126) {
        header[2] = (uint8_t)(len >> 8);
        header[3] = (uint8_t)(len & 0xFF);
        size = 4;
    }
    mask = header + size;
    for (size_t i = 0; i < 4; i++)
        mask[i] = (uint8_t)pick(256);
    put(c, header, size + 4);
    masked = c->out + c->out_len;
    put(c, payload, len);
    for (size_t i = 0; i < len; i++)
        masked[i] ^= mask[i % 4];
}

/* Chooses a recipient.  Often it is one of a few popular users: if they do not read,
 * their outboxes are soon full.  Sometimes it is the sender itself, or a user that has
 * left or has not joined yet. */
static long any_recipient(const struct client *c)
{
    unsigned kind = pick(20);
    const struct client *to = &clients[pick(kind < 12 ? POPULAR : (unsigned)opt.clients)];
    if (kind == 0)
        return c->id;
    return kind > 2 && to->id > 0 ? to->id : 1 + (long)pick((unsigned)user_count + 3);
}

static void put_message(struct client *c)
{
    char text[FRAME];
    long to = any_recipient(c);
    int n = sprintf(text, "{\"recipient_id\":%ld,\"message\":\"%ld %ld ", to, c->id, c->number);
    size_t fill = pick(50) == 0 ? pick(PAYLOAD - 50) : pick(200);

    memset(text + n, 'x', fill);
    memcpy(text + n + fill, "\"}", 2);
    put_frame(c, 1, text, (size_t)n + fill + 2);
    push(&user(c->id)->sent, to, c->number++);
    sent++;
}

static void disconnect(struct client *c)
{
    close(c->fd);
    *c = (struct client){ .fd = -1 };
}

/* Resets the connection.  Bytes on their way in both directions are lost. */
static void vanish(struct client *c)
{
    struct linger reset = { 1, 0 };
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    if (c->id > 0)
        user(c->id)->vanished = true;
    disconnect(c);
}

/* Ends the connection with a Close, or by breaking the protocol.  After that, the
 * client reads until the server closes. */
static void leave(struct client *c, unsigned way)
{
    static const uint8_t half[] = { 0x81, 0x85, 1, 2, 3 }, not_masked[] = { 0x81, 0x02, 'h', 'i' };
    switch (way) {
    case 0: put(c, half, sizeof half); break;
    case 1: put(c, not_masked, sizeof not_masked); break;
    default: put_frame(c, 8, "\x03\xE8", 2); break;
    }
    c->leaving = true;
    c->reads_at = 0;
}

static void flush(struct client *c)
{
    ssize_t n = send(c->fd, c->out + c->out_at, c->out_len - c->out_at, MSG_NOSIGNAL);
    if (n > 0)
        c->out_at += (size_t)n;
    if (c->out_at == c->out_len)
        c->out_at = c->out_len = 0;
    if (c->out_len == 0 && c->leaving)
        shutdown(c->fd, SHUT_WR);
}

/* The client has sent everything.  Decides what it does next. */
static void go_on(struct client *c, int64_t now)
{
    unsigned what = pick(3000);
    if (is_over)
        leave(c, 2);
    else if (what < 3)
        vanish(c);
    else if (what < 12)
        leave(c, what % 3);
    else if (what < 18)
        c->reads_at = now + pick(2500);
    else
        for (unsigned n = 1 + pick(4); n > 0; n--)
            put_message(c);
    c->writes_at = now + pick(60);
}

/* ---- Clients: receiving ---------------------------------------------------------- */

static void take_message(struct client *c, const char *text, size_t len)
{
    long from, inner, number;
    int n = 0;
    if (sscanf(text, "{\"sender_id\":%ld,\"message\":\"%ld %ld %n", &from, &inner, &number, &n) != 3
        || n == 0 || from != inner)
        wrong("it got something else than a message", c->id);
    if (strspn(text + n, "x") != len - (size_t)n - 2 || memcmp(text + len - 2, "\"}", 2) != 0)
        wrong("it got a message that was altered", c->id);
    note_arrival(c->id, from, number);
}

static size_t take_frame(struct client *c, size_t at)
{
    char text[FRAME + 1];
    const uint8_t *frame = c->in + at;
    size_t have = c->in_len - at, header = 2, len;

    if (have < 2)
        return 0;
    len = frame[1];
    if (len == 126) {
        header = 4;
        len = have < 4 ? have : (size_t)frame[2] << 8 | frame[3];
    }
    if (have < header + len)
        return 0;
    memcpy(text, frame + header, len);
    text[len] = '\0';
    if (frame[0] == 0x81)
        take_message(c, text, len);
    else if (frame[0] == 0x89 && !c->leaving)
        put_frame(c, 10, text, len);
    else if (frame[0] != 0x88 && frame[0] != 0x89)
        wrong("it got a frame that nobody should send", c->id);
    return header + len;
}

static size_t take_welcome(struct client *c)
{
    const char *id, *end;
    c->in[c->in_len] = '\0';
    end = strstr((char *)c->in, "\r\n\r\n");
    id = strstr((char *)c->in, "Chat-User-Id: ");
    if (end == NULL)
        return 0;
    if (id == NULL || sscanf(id, "Chat-User-Id: %ld", &c->id) != 1)
        wrong("it was not let in", 0);
    add_users(c->id);
    return (size_t)(end + 4 - (char *)c->in);
}

static void receive(struct client *c)
{
    ssize_t got = recv(c->fd, c->in + c->in_len, sizeof c->in - 1 - c->in_len, 0);
    size_t at = 0, n;

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        disconnect(c);
        return;
    }
    c->in_len += (size_t)got;
    if (c->id == 0)
        at = take_welcome(c);
    while (c->id > 0 && (n = take_frame(c, at)) > 0)
        at += n;
    c->in_len -= at;
    memmove(c->in, c->in + at, c->in_len);
}

static void come(struct client *c)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };

    to.sin_addr.s_addr = inet_addr("127.0.0.1");
    *c = (struct client){ .fd = socket(AF_INET, SOCK_STREAM, 0) };
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0)
        wrong("it cannot connect", 0);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    put(c, request, sizeof request - 1);
}

/* Reads and writes for all clients, and reads the log, for up to 10 ms. */
static void turn(int log)
{
    static struct pollfd polled[MOST_CLIENTS + 1];
    int64_t now = now_ms();

    polled[opt.clients] = (struct pollfd){ .fd = log, .events = POLLIN };
    for (int i = 0; i < opt.clients; i++) {
        struct client *c = &clients[i];
        if (c->fd < 0 && !is_over && pick(20) == 0)
            come(c);
        if (c->id > 0 && !c->leaving && c->out_len == 0 && (is_over || now >= c->writes_at))
            go_on(c, now);
        polled[i] = (struct pollfd){ .fd = c->fd };
        polled[i].events = (short)((is_over || now >= c->reads_at ? POLLIN : 0)
                                   | (c->out_len > 0 ? POLLOUT : 0));
    }
    poll(polled, (nfds_t)opt.clients + 1, 10);
    if (polled[opt.clients].revents != 0)
        read_log(log);
    for (int i = 0; i < opt.clients; i++) {
        struct client *c = &clients[i];
        if (c->fd >= 0 && (polled[i].revents & POLLOUT))
            flush(c);
        if (c->fd >= 0 && (polled[i].revents & (POLLIN | POLLHUP | POLLERR)))
            receive(c);
    }
}

/* ---- The server ------------------------------------------------------------------ */

/* Starts the server.  Returns a descriptor from which its log can be read. */
static int start_server(void)
{
    int log[2], hello[2];
    char line[200] = "";

    if (pipe(log) < 0 || pipe(hello) < 0 || (server = fork()) < 0)
        wrong("there is no process or pipe for the server", 0);
    if (server == 0) {
        dup2(hello[1], STDOUT_FILENO);
        dup2(log[1], STDERR_FILENO);
        for (int fd = 3; fd < 20; fd++)
            close(fd);
        execl(opt.server, opt.server, "-p", "0", "-a", opt.approach, (char *)NULL);
        _exit(127);
    }
    close(log[1]);
    close(hello[1]);
    if (read(hello[0], line, sizeof line - 1) <= 0 || strrchr(line, ':') == NULL
        || (port = (uint16_t)atoi(strrchr(line, ':') + 1)) == 0)
        wrong("the server does not start", 0);
    fcntl(log[0], F_SETFL, O_NONBLOCK);
    return log[0];
}

/* Counts the server's descriptors.  Without /proc, returns -1. */
static int descriptors_of_server(void)
{
    char path[60];
    DIR *dir;
    int count = 0;

    sprintf(path, "/proc/%ld/fd", (long)server);
    dir = opendir(path);
    if (dir == NULL)
        return -1;
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

/* Returns the server's memory in KiB.  Without /proc, returns 0. */
static long memory_of_server(void)
{
    char path[60];
    long pages = 0;
    FILE *f;

    sprintf(path, "/proc/%ld/statm", (long)server);
    f = fopen(path, "r");
    if (f == NULL)
        return 0;
    if (fscanf(f, "%*s %ld", &pages) != 1)
        pages = 0;
    fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* ---- The end --------------------------------------------------------------------- */

static bool are_all_gone(int descriptors)
{
    for (int i = 0; i < opt.clients; i++)
        if (clients[i].fd >= 0)
            return false;
    return descriptors_of_server() == descriptors;
}

static void stop_server(int log)
{
    struct pollfd polled = { .fd = log, .events = POLLIN };
    int status;

    kill(server, SIGTERM);
    while (poll(&polled, 1, PATIENCE_MS) > 0 && read_log(log))
        ;
    if (waitpid(server, &status, 0) != server || status != 0)
        wrong("the server does not end with status 0", 0);
    server = -1;
}

static void close_books(void)
{
    for (long id = 1; id <= user_count; id++) {
        const struct user *u = user(id);
        if (u->early.count > 0)
            wrong("it got messages that the log does not have", id);
        if (!u->vanished && u->sent.count > 0)
            wrong("messages that it sent are not in the log", id);
        if (!u->vanished && u->due.count > 0)
            wrong("messages for it did not come", id);
        lost_from += (long)u->sent.count;
        lost_to += (long)u->due.count;
    }
    if (delivered == 0)
        wrong("there was no message", 0);
}

static void soak(void)
{
    int log = start_server();
    int descriptors = descriptors_of_server();
    int64_t end = now_ms() + (int64_t)opt.seconds * 1000;
    long memory[2];

    for (int i = 0; i < opt.clients; i++)
        clients[i].fd = -1;
    while (now_ms() < end - (int64_t)opt.seconds * 500)
        turn(log);
    memory[0] = memory_of_server();
    while (now_ms() < end)
        turn(log);
    memory[1] = memory_of_server();
    is_over = true;
    while (!are_all_gone(descriptors)) {
        if (now_ms() > end + PATIENCE_MS)
            wrong("somebody does not get away, or a descriptor is not closed", 0);
        turn(log);
    }
    stop_server(log);
    close_books();
    printf("%s, %d s, seed %lu: %ld users, %ld of them dropped; %ld messages: %ld delivered, "
           "%ld to nobody, %ld lost with a sender and %ld with a recipient that vanished; "
           "memory %ld KiB at half time, %ld KiB at the end\n", opt.approach, opt.seconds,
           opt.seed, user_count, dropped, sent, delivered, to_nobody, lost_from, lost_to,
           memory[0], memory[1]);
    /* Twice the clients, because some have left but are not closed yet. */
    if (memory[1] > 2L * opt.clients * BUFFERS)
        wrong("the server's memory grows", 0);
}

int main(int argc, char **argv)
{
    int option;
    while ((option = getopt(argc, argv, "a:s:n:r:")) != -1) {
        switch (option) {
        case 'a': opt.approach = optarg; break;
        case 's': opt.seconds = atoi(optarg); break;
        case 'n': opt.clients = atoi(optarg); break;
        case 'r': opt.seed = strtoul(optarg, NULL, 10); break;
        default: return 2;
        }
    }
    if (optind + 1 != argc || opt.seconds < 1 || opt.clients < POPULAR || opt.clients > MOST_CLIENTS) {
        fprintf(stderr, "usage: soak [-a APPROACH] [-s SECONDS] [-n CLIENTS] [-r SEED] SERVER\n");
        return 2;
    }
    opt.server = argv[optind];
    random_state = (opt.seed + 1) * UINT64_C(0x9E3779B97F4A7C15);
    soak();
    return 0;
}
