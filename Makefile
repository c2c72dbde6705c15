# The chat server: make && ./chat
#
# "make" compiles everything each time, which takes a second.  So you can change the
# limits without "make clean":  make CLIENTS=10000 MESSAGE=4096
# The limits are at the top of chat.c.  "chat -h" prints the compiled ones.

.POSIX:

CC = cc
# From -O3 on, gcc uses vector instructions to unmask frames.
CFLAGS = -O3
STD = -std=c99 -pedantic -D_POSIX_C_SOURCE=200809L
WARN = -Wall -Wextra -Wconversion -Wshadow
COMPILE = $(CC) $(STD) $(WARN) $(CFLAGS)
TRIP_COMPILE = $(CC) $(STD) $(WARN) -O0 -g3
LIMITS = $(CLIENTS:%=-DCLIENTS=%) $(MESSAGE:%=-DMESSAGE=%)
PROTOCOL = ws.c json.c sha1.c base64.c

# Two servers for the tests: one with short deadlines, and one with few slots as well.
HURRIED = -DHANDSHAKE_MS=600 -DCLOSE_MS=500 -DCLOSE_ALL_MS=1000 -DSTALL_MS=1000
TINY = $(HURRIED) -DCLIENTS=4

chat: always
	$(COMPILE) $(LIMITS) -o chat chat.c $(PROTOCOL)

TEST =

## test: run the tests; needs bats; those in one file: TEST=test/log.bats
test: chat test-programs
	@sh test/run.sh $(TEST)

test-programs: always
	@mkdir -p test/bin
	$(COMPILE) $(HURRIED) -o test/bin/chat-hurried chat.c $(PROTOCOL)
	$(COMPILE) $(TINY) -o test/bin/chat-tiny chat.c $(PROTOCOL)
	$(COMPILE) -o test/bin/peer test/peer.c
	$(TRIP_COMPILE) -o test/bin/chat-trip chat.c $(PROTOCOL)
	$(COMPILE) -o test/bin/signals test/signals.c
	$(COMPILE) -o test/bin/demo test/measure/demo.c
	$(COMPILE) -o test/bin/bench test/measure/bench.c
	$(COMPILE) -o test/bin/unit test/unit.c $(PROTOCOL)
	$(COMPILE) -o test/bin/split test/fuzz/split.c $(PROTOCOL)
	$(COMPILE) -o test/bin/fuzz-request test/fuzz/fuzz-request.c $(PROTOCOL)
	$(COMPILE) -o test/bin/fuzz-frames test/fuzz/fuzz-frames.c $(PROTOCOL)
	$(COMPILE) -o test/bin/fuzz-json test/fuzz/fuzz-json.c $(PROTOCOL)
	@rm -f test/bin/fuzz-chat
	@if $(COMPILE) -o test/bin/fuzz-chat test/fuzz/fuzz-chat.c $(PROTOCOL) 2>test/bin/fuzz-chat.log; \
	then cat test/bin/fuzz-chat.log >&2; \
	else echo "chat.c no longer fits its simulation, test/fuzz/fuzz-chat.c: those tests are skipped" >&2; fi

## demo: watch how a user that does not read stops others; half a minute
demo: chat always
	@mkdir -p test/bin
	$(COMPILE) -o test/bin/demo test/measure/demo.c
	test/bin/demo

TRIP =

## trip: watch one message, function by function; needs gdb; TRIP='-a router'
trip: always
	@mkdir -p test/bin
	$(TRIP_COMPILE) -o test/bin/chat-trip chat.c $(PROTOCOL)
	@sh test/measure/trip.sh $(TRIP)

## bench: measure both approaches, in minutes; more: make bench BENCH=--help
bench: chat always
	@mkdir -p test/bin
	$(COMPILE) -DCLIENTS=10200 -DMESSAGE=4096 -o test/bin/chat-big chat.c $(PROTOCOL)
	$(COMPILE) -o test/bin/relay test/measure/relay.c
	$(COMPILE) -o test/bin/bench test/measure/bench.c
	test/bin/bench $(BENCH)

## conformance: run the 301 Autobahn cases; needs kosoku (from PyPI)
conformance: always
	@mkdir -p test/bin
	$(COMPILE) -o test/bin/echo test/prove/echo.c $(PROTOCOL)
	@sh test/prove/conformance.sh

FUZZ = -max_total_time=15

## fuzz: try random bytes for a minute; needs clang with its libFuzzer
fuzz:
	@for target in request frames json chat; do sh test/fuzz/fuzz.sh $$target $(FUZZ) || exit 1; done

SOAK = -s 30

## soak: check that nothing is lost, a minute; an hour: SOAK='-s 1800'
soak: always
	@mkdir -p test/bin
	$(COMPILE) $(HURRIED) -o test/bin/chat-hurried chat.c $(PROTOCOL)
	$(COMPILE) -o test/bin/soak test/measure/soak.c
	test/bin/soak -a directory $(SOAK) test/bin/chat-hurried
	test/bin/soak -a router $(SOAK) test/bin/chat-hurried

SLOW =

## slow-readers: check that no slow reader is dropped, 90 s; table: SLOW=-t
slow-readers: chat always
	@mkdir -p test/bin
	$(COMPILE) -o test/bin/slow test/measure/slow.c
	sh test/measure/slow.sh $(SLOW) ./chat

## json-suite: send the documents of JSONTestSuite; needs DIR=, their folder
json-suite: chat test-programs
	@sh test/prove/json-suite.sh "$(DIR)"

## prove: prove that no input breaks the protocol files; needs frama-c
prove:
	@sh test/prove/prove.sh

## mutation: check that tests notice faults; half an hour, needs python3
mutation:
	@python3 test/prove/mutation.py

PLACES =

## everywhere: run the tests in twenty odd places; needs root and Linux
everywhere:
	@sh test/prove/everywhere.sh $(PLACES)

## coverage: show which branches no test takes; needs gcc, gcovr (from PyPI)
coverage:
	@sh test/prove/coverage.sh

## clean: remove what was built
clean:
	rm -rf chat test/bin

## help: these lines
help:
	@sed -n 's/^## /make /p' Makefile

always:

.PHONY: always bench clean conformance coverage demo everywhere fuzz help json-suite mutation prove \
	slow-readers soak test test-programs trip
