/* echo.c -- a server that sends back every message.  It uses only ws.c.
 *
 *   echo [PORT]     listens on 127.0.0.1; without PORT, on a free port
 *
 * It serves conformance suites from outside, with messages of up to 16 MiB.  It also
 * shows the three things that a program does with ws.h:
 *   - it parses a request and answers it
 *   - it gives all received bytes to ws_next, and keeps the rest with ws_keep
 *   - it writes frames
 * It has no deadlines, and no limit for slow readers.  chat.c has both. */

#include "../../ws.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    CLIENTS = 32,
    LIMIT = 17 << 20,           /* bytes of a message */
    INBOX_SIZE = LIMIT + WS_PENDING_MAX + 65536,
    OUTBOX_SIZE = 2 * LIMIT
};

static struct client {
    bool open;                  /* the handshake is done */
    bool closing;               /* ignore its input, and wait for the end */
    struct ws_decoder ws;
    size_t in_used, out_at, out_used;
} clients[CLIENTS];

/* Index 0 is the listener.  Client i has index i + 1. */
static struct pollfd watched[1 + CLIENTS];
static uint8_t inbox[CLIENTS][INBOX_SIZE], outbox[CLIENTS][OUTBOX_SIZE];

static uint8_t *outbox_end(int i)
{
    return outbox[i] + clients[i].out_at + clients[i].out_used;
}

static void shake_hands(int i)
{
    struct client *c = &clients[i];
    struct ws_request r;
    char accept[WS_ACCEPT_LEN + 1], header[80] = "";

    if (!ws_parse_request(inbox[i], c->in_used, NULL, &r))
        return;
    if (r.status == 101) {
        ws_accept_key(inbox[i] + r.key.at, accept);
        sprintf(header, "Sec-WebSocket-Accept: %s\r\n", accept);
    }
    c->out_used += ws_write_response(outbox_end(i), 4096, r.status, time(NULL), header,
                                     r.reason != NULL ? r.reason : "echo speaks WebSocket", r.head);
    c->open = r.status == 101;
    c->closing = !c->open;
    ws_start(&c->ws, r.size, LIMIT);
}

/* Returns false if there is no whole frame. */
static bool answer(int i)
{
    struct client *c = &clients[i];
    struct ws_event e;
    enum ws_type type = ws_next(&c->ws, inbox[i], c->in_used, &e);

    switch (type) {
    case WS_TEXT:
    case WS_BINARY:
        c->out_used += ws_write_header(outbox_end(i), type == WS_TEXT ? WS_OP_TEXT : WS_OP_BINARY,
                                       e.len);
        memcpy(outbox_end(i), inbox[i] + e.at, e.len);
        c->out_used += e.len;
        break;
    case WS_PING:
        c->out_used += ws_write_control(outbox_end(i), WS_OP_PONG, inbox[i] + e.at, e.len);
        break;
    case WS_CLOSE:
    case WS_BREACH:
        c->out_used += ws_write_close(outbox_end(i), e.code, type == WS_BREACH ? e.reason : "");
        c->closing = true;
        break;
    default:
        break;
    }
    return type != WS_MORE && !c->closing;
}

static void hang_up(int i)
{
    close(watched[1 + i].fd);
    watched[1 + i].fd = -1;
}

static void digest(int i)
{
    struct client *c = &clients[i];

    if (!c->open && !c->closing)
        shake_hands(i);
    /* Decode a frame only if there is room for its echo. */
    while (c->open && OUTBOX_SIZE - c->out_at - c->out_used >= LIMIT + WS_HEADER_MAX && answer(i))
        ;
    if (c->open)
        c->in_used = ws_keep(&c->ws, inbox[i], inbox[i], c->in_used);
}

static void receive(int i)
{
    struct client *c = &clients[i];
    ssize_t n = read(watched[1 + i].fd, inbox[i] + c->in_used, INBOX_SIZE - c->in_used);

    if (n <= 0) {
        hang_up(i);
        return;
    }
    if (c->closing)
        return;                 /* ignore the input */
    c->in_used += (size_t)n;
    digest(i);
}

static void send_out(int i)
{
    struct client *c = &clients[i];
    ssize_t n = send(watched[1 + i].fd, outbox[i] + c->out_at, c->out_used, MSG_NOSIGNAL);

    if (n < 0) {
        hang_up(i);
        return;
    }
    c->out_at += (size_t)n;
    c->out_used -= (size_t)n;
    if (c->out_used > 0)
        return;
    c->out_at = 0;
    if (c->closing)
        shutdown(watched[1 + i].fd, SHUT_WR);
    else
        digest(i);              /* now there may be room for the next echo */
}

static void welcome(int listener)
{
    int fd = accept(listener, NULL, NULL), yes = 1, i = 0;

    while (i < CLIENTS && watched[1 + i].fd >= 0)
        i++;
    if (fd < 0 || i == CLIENTS) {
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    memset(&clients[i], 0, sizeof clients[i]);
    watched[1 + i].fd = fd;
}

static int listen_on(int port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0), yes = 1;

    a.sin_addr.s_addr = inet_addr("127.0.0.1");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, (struct sockaddr *)&a, len) < 0 || listen(fd, CLIENTS) < 0) {
        perror("echo");
        exit(1);
    }
    getsockname(fd, (struct sockaddr *)&a, &len);
    printf("echo: listening on 127.0.0.1:%d\n", ntohs(a.sin_port));
    fflush(stdout);
    return fd;
}

int main(int argc, char **argv)
{
    watched[0] = (struct pollfd){ .fd = listen_on(argc > 1 ? atoi(argv[1]) : 0), .events = POLLIN };
    for (int i = 0; i < CLIENTS; i++)
        watched[1 + i].fd = -1;
    for (;;) {
        /* If the client has output that is not written yet, do not read it.  Its
         * socket fills up, so the client must wait. */
        for (int i = 0; i < CLIENTS; i++)
            watched[1 + i].events = clients[i].out_used > 0 ? POLLOUT : POLLIN;
        if (poll(watched, 1 + CLIENTS, -1) < 0)
            return 1;
        if (watched[0].revents != 0)
            welcome(watched[0].fd);
        for (int i = 0; i < CLIENTS; i++) {
            if (watched[1 + i].fd < 0 || watched[1 + i].revents == 0)
                continue;
            if (clients[i].out_used > 0)
                send_out(i);
            else
                receive(i);
        }
    }
}
