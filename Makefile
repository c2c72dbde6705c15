# The protocol of a chat server, without sockets; "make test" plays its tables.

.POSIX:

CC = cc
CFLAGS = -O2
STD = -std=c99 -pedantic -D_POSIX_C_SOURCE=200809L
WARN = -Wall -Wextra -Wconversion -Wshadow
COMPILE = $(CC) $(STD) $(WARN) $(CFLAGS)
PROTOCOL = ws.c json.c sha1.c base64.c

test: always
	@mkdir -p test/bin
	$(COMPILE) -o test/bin/unit test/unit.c $(PROTOCOL)
	test/bin/unit

always:

.PHONY: always test
