# trip.py -- shows the trip of one message through the server: each function that it
# reaches, and what this function holds at that moment.
#
# gdb runs this file, see trip.sh.  It starts the server, and stops it at each hop, which
# is a function on the trip.  It also plays both users, between two turns of the server.
# So each run shows the same.
#
# The hops are the functions below "@hop".  If a function of the server gets another name,
# change it there, and in the tables of README.md: test/readme.bats compares them.
#
# Order: what a hop holds, the hops, the debugger, the users, the trip.

import inspect
import os
import signal
import socket
import struct
import time

import gdb

MASK = bytes.fromhex('37fa213d')        # the example of RFC 6455 section 5.7
PATIENCE = 30                           # seconds that a step may take
LIMIT = 120                             # seconds in all
WIDTH, NAME, LINE = 80, 26, 13          # columns
BYTES = 10                              # shown of longer ones


def say(text=''):
    try:
        os.write(3, (text + '\n').encode())     # trip.sh opens 3
    except BrokenPipeError:                     # the reader has seen enough, as "head" does
        os._exit(0)


# ---- What a hop holds ------------------------------------------------------------------
# Expressions are in C.  gdb evaluates them in the function where the server stands.

def number(expression):
    return int(gdb.parse_and_eval(expression))


def count(expression):
    return '{:,}'.format(number(expression))


def memory(address, size):
    size = number(size)
    return gdb.selected_inferior().read_memory(number(address), size).tobytes() if size > 0 else b''


def text(address, size):
    return memory(address, size).decode(errors='replace')


def pointer(type, expression):
    """The value of a pointer, as an expression that outlives its function."""
    return '((struct %s *)%d)' % (type, number(expression))


def in_hex(data):
    return ' '.join('%02x' % b for b in data[:BYTES]) + (' ...' if len(data) > BYTES else '')


def in_text(data):
    return ' '.join('%2s' % (chr(b) if 32 <= b < 127 else '.') for b in data[:BYTES])


def user(client):
    return 'user ' + count(client + '->id')


def user_at(slot):
    return user('(&clients[%d])' % slot) if slot < number('SLOTS') else 'the router'


def inbox(client):
    return 'inbox of %s: %s bytes' % (user(client), count(client + '->in_used'))


def outbox(client):
    return 'outbox of ' + user(client)


def indices(client):
    return 'out_at %s, out_used %s' % (count(client + '->out_at'), count(client + '->out_used'))


def message(m):
    return 'user %s to user %s: %s' % (count(m + '->from'), count(m + '->to'), text(m + '->token', m + '->len'))


def full():
    try:
        return 'FULL is %s: ' % count('FULL')
    except gdb.error:           # clang does not tell gdb about macros
        return ''


def queue():
    return 'queue: %s of %s messages' % (count('queue_count'), count('QUEUE_SIZE'))


def parked():
    return 'parked[]: ' + ', '.join(user_at(number('parked[%d]' % i)) for i in range(number('parked_count')))


# ---- The hops ----------------------------------------------------------------------------
# Each function here runs when the server enters the function of the same name.  It returns
# the lines to show.
#   - If it has a "yield", it goes on there when the server leaves that function, with the
#     result.  Then it yields the lines, or None: this call is not shown.
#   - If it has none, the hop is shown as soon as a later hop inside it is shown.

HOPS = {}


def hop(function):
    HOPS[function.__name__] = function


@hop
def look():
    entries = int((yield))
    ready = sum(number('watched[%d].revents' % i) != 0 for i in range(1, entries))
    yield 'poll: %d watched, %d ready' % (entries, ready) if ready > 0 else None


@hop
def handle_events():
    events = number('p->events & p->revents')
    names = [name for name, bit in (('POLLIN', 1), ('POLLOUT', 4)) if events & bit]
    return user_at(number('slot')) + ': ' + ' '.join(names)


@hop
def receive():
    return inbox('c')


@hop
def handle_inbox():
    return inbox('c')


@hop
def handle_frame():
    return ''


@hop
def ws_next():
    return in_hex(memory('buf', 'len'))


@hop
def read_header():
    h, two = pointer('header', 'h'), memory('buf + d->at', '2')
    if not (yield):
        yield None              # no whole header is there
    opcode = number(h + '->opcode')
    yield '%02x: %s%s\n%02x: masked, %s bytes' % (
        two[0], 'FIN, ' if number(h + '->fin') else '', 'text' if opcode == 1 else 'opcode %d' % opcode,
        two[1], count(h + '->len'))


@hop
def take_payload():
    return 'the payload, from byte %s of the inbox' % count('d->at')


@hop
def unmask():
    to, n = str(number('buf + to')), str(number('n'))
    before, mask = memory('buf + from', n), memory('mask', '4')
    yield
    after = memory(to, n)
    yield 'before %s\nmask   %s\nafter  %s\n       %s' % (
        in_hex(before), in_hex((mask * len(before))[:len(before)]), in_hex(after), in_text(after))


@hop
def utf8_check():
    start, end = number('from'), number('to')
    bad = int((yield))
    yield 'UTF-8: %d of %d bytes' % (bad - start, end - start)


@hop
def chat_message():
    return text('c->in + e->at', 'e->len')


@hop
def json_read():
    start, m = number('text'), pointer('json_message', 'm')
    if (yield):
        yield 'recipient_id: %s\nmessage:      %s' % (
            count(m + '->recipient_id'), text('%d + %s->at' % (start, m), m + '->len'))
    else:
        yield 'refused at byte ' + count(m + '->byte')


@hop
def send_or_park():
    return message('m')


@hop
def find_user():
    id, found = count('id'), (yield)
    yield 'user %s ' % id + ('has slot %d' % number('slot_of(%d)' % int(found)) if found else 'is not here')


@hop
def park():
    who = number('who')
    yield
    keeps = '\n%s stay' % inbox('(&clients[%d])' % who)
    yield parked() + (keeps if who < number('SLOTS') else '')


@hop
def directory_send():
    return ''


@hop
def router_send():
    return ''


@hop
def router_run():
    return queue()


@hop
def deliver():
    return ''


@hop
def must_wait():
    place = number('place')
    if place < number('SLOTS'):
        used = count('clients[%d].out_used' % place)
        holds = 'outbox of %s: %s bytes\n%s' % (user_at(place), used, full())
    else:
        holds = queue() + ': '
    yield holds + ('it waits' if (yield) else 'it fits')


@hop
def put_message():
    return outbox('to') + (': empty' if number('to->out_used') == 0 else '\n' + indices('to'))


@hop
def ws_write_header():
    out = str(number('out'))
    size = count('len')
    yield '%s: %s bytes follow' % (in_hex(memory(out, str(int((yield))))), size)


@hop
def json_write():
    out = str(number('out'))
    yield text(out, str(int((yield))))


@hop
def flush_all():
    return ''


@hop
def flush():
    c = pointer('client', 'c')
    before = indices(c)
    yield
    yield '%s\nbefore %s\nafter  %s' % (outbox(c), before, indices(c))


@hop
def continue_parked():
    return parked()


@hop
def continue_client():
    return 'it holds ' + text('c->held.token', 'c->held.len')


# ---- The debugger --------------------------------------------------------------------------

class Problem(Exception):
    pass


class Entry(gdb.Breakpoint):
    """A breakpoint at the entry of a function."""

    def __init__(self, symbol):
        file = os.path.basename(symbol.symtab.filename)
        super().__init__('%s:%s' % (file, symbol.name), internal=True)
        self.line = '%s:%d' % (file, symbol.line)


def find_hops():
    symbols = {name: gdb.lookup_global_symbol(name) or gdb.lookup_static_symbol(name) for name in HOPS}
    missing = [name for name in HOPS if symbols[name] is None]
    if missing:
        say('make trip: the server no longer has ' + ', '.join(missing))
    if 'look' in missing:
        raise gdb.error('It needs look, where a turn begins.')
    return {name: Entry(symbol) for name, symbol in symbols.items() if symbol is not None}


def stack():
    """The names of the functions that wait for each other, main first."""
    frame, names = gdb.newest_frame(), []
    while frame is not None:
        names.insert(0, frame.name())
        frame = frame.older()
    return names


def go_on(command='continue'):
    gdb.execute(command, to_string=True)
    if gdb.selected_inferior().pid == 0:
        raise Problem('the server ended')


def try_to(step, *arguments):
    """The code of a student may have other variables."""
    try:
        return step(*arguments)
    except gdb.error as error:
        return ('? ' + str(error))[:WIDTH - NAME - LINE]


class Trip:
    """Goes from hop to hop.  Between two calls, the server stands at the entry of look."""

    def __init__(self):
        self.points = find_hops()
        self.trail = []                 # the hops around the present one, and this one

    def enable(self, names):
        for name, point in self.points.items():
            point.enabled = name in names

    def until(self, is_over, shown=(), first=None, last=None):
        """Lets the server make turns until is_over().  Shows the hops of this list: those
        inside the first one only, and none after the last one."""
        self.first, self.last, self.shown = first, last, ['look'] + list(shown)
        deadline = time.monotonic() + PATIENCE
        while not is_over():
            if time.monotonic() > deadline:
                raise Problem('the server does not go on')
            self.enable(self.shown)
            if shown:
                self.visit()
            go_on()
            while gdb.newest_frame().name() != 'look':
                self.visit()
                go_on()
        self.enable([])

    def visit(self):
        """Passes the hop where the server stands."""
        names = stack()
        if names[-1] not in self.points:
            raise Problem('the server stopped in %s' % names[-1])      # None: a libc without symbols
        self.trail = [hop for hop in self.trail
                      if hop.depth < len(names) and names[hop.depth - 1] == hop.name]
        self.trail.append(Hop(names[-1], len(names), self.points[names[-1]].line))
        details = HOPS[names[-1]]
        if not inspect.isgeneratorfunction(details):
            self.trail[-1].lines = try_to(details)
            return
        details = details()
        lines = try_to(next, details)
        self.enable([])
        end = gdb.FinishBreakpoint(gdb.newest_frame(), internal=True)
        go_on()
        self.enable(self.shown)
        if lines is None:
            lines = try_to(details.send, end.return_value)
        self.trail[-1].lines = lines
        if lines is not None:
            self.show()

    def show(self):
        """Shows the present hop, after those around it that are not shown yet."""
        names = [hop.name for hop in self.trail]
        if self.first is not None and self.first not in names:
            return
        for indent, hop in enumerate(self.trail[names.index(self.first) if self.first else 0:]):
            hop.show(indent)
        if names[-1] == self.last:
            self.shown = ['look']
            self.enable(self.shown)


class Hop:
    def __init__(self, name, depth, line):
        self.name, self.depth, self.line = name, depth, line
        self.lines = None

    def show(self, indent):
        if self.lines is None:
            return
        start = (' ' * indent + self.name).ljust(NAME - 1) + ' ' + self.line.ljust(LINE)
        for line in self.lines.split('\n'):
            say((start + line).rstrip())
            start = ' ' * (NAME + LINE)
        self.lines = None


# ---- The users -----------------------------------------------------------------------------

class User:
    def __init__(self, trip, port):
        self.trip, self.received = trip, b''
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # soon full
        self.socket.connect(('127.0.0.1', port))
        self.socket.setblocking(False)
        self.socket.send(b'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n'
                         b'Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n'
                         b'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n')
        trip.until(lambda: b'\r\n\r\n' in self.read())
        self.received = self.received.split(b'\r\n\r\n', 1)[1]

    def read(self):
        """Takes what the kernel has for this user.  Returns all that is not a message yet."""
        try:
            while True:
                data = self.socket.recv(65536)
                if not data:
                    raise Problem('the server closed a connection')
                self.received += data
        except BlockingIOError:
            return self.received

    def messages(self):
        """Reads.  Takes the whole frames out of it, and returns their payloads."""
        taken = []
        self.read()
        while len(self.received) >= 2:
            start, size = 2, self.received[1]
            if size == 126:
                start, size = 4, struct.unpack('>H', self.received[2:4].ljust(2))[0]
            if len(self.received) < start + size:
                break
            taken.append(self.received[start:start + size].decode())
            self.received = self.received[start + size:]
        return taken

    def write(self, message):
        data = message.encode()
        size = bytes([0x80 | len(data)]) if len(data) < 126 else struct.pack('>BH', 0x80 | 126, len(data))
        masked = bytes(b ^ MASK[i % 4] for i, b in enumerate(data))
        if self.socket.send(b'\x81' + size + MASK + masked) < len(masked):
            raise Problem('the kernel does not take a whole frame')


# ---- The trip ------------------------------------------------------------------------------

def content(name):
    with open(name, encoding='utf-8', errors='replace') as file:
        return file.read()


def say_log(before):
    for line in content('log')[len(before):].splitlines():
        say('The log says    ' + line)


def title(text):
    say('---- %s %s' % (text, '-' * (WIDTH - 6 - len(text))))
    say()


def start():
    for setting in ('debuginfod enabled off', 'disable-randomization off', 'print thread-events off'):
        try:
            gdb.execute('set ' + setting, to_string=True)
        except gdb.error:
            pass                                # an older gdb does not know it
    gdb.execute('handle SIGALRM nostop noprint pass', to_string=True)
    trip = Trip()
    trip.enable(['look'])
    go_on('run -p 0 %s </dev/null >where 2>log' % os.environ['TRIP'])
    port = int(content('where').split(' and ')[0].rsplit(':', 1)[1])
    return trip, User(trip, port), User(trip, port)


def go_through(trip, one, two):
    text = '{"recipient_id":2,"message":"olé"}'
    log, got = content('log'), []
    say('Each line is a function, where it begins, and what it holds then.')
    say()
    title('A message that goes through')
    say('User 1 sends    ' + text)
    say()
    one.write(text)
    trip.until(lambda: got.extend(two.messages()) or got, shown=HOPS)
    say()
    say_log(log)
    say('User 2 reads    ' + got[0])


def fill(trip, one):
    """User 1 writes to user 2, which does not read, until the outbox of user 2 is full.  A little
    later the kernels may take some bytes more, so the last message makes it more than full."""
    slot, sizes = number('slot_of(find_user(2))'), []
    while number('is_open(%d)' % slot):
        log = content('log')
        sizes.append(2000 if number('clients[%d].out_used' % slot) < 40000 else 60000)
        one.write('{"recipient_id":2,"message":"%s"}' % ('.' * sizes[-1]))
        trip.until(lambda: content('log') != log)
    return len(sizes) - 1


def wait(trip, one, two):
    text = '{"recipient_id":2,"message":"still there?"}'
    say()
    title('A message that has to wait')
    say('User 2 does not read. User 1 sends it %d messages of 2,000 bytes, one' % fill(trip, one))
    say('of 60,000, then %s' % text)
    say()
    say('From look to json_read, it takes the same way.')
    say()
    log = content('log')
    one.write(text)
    trip.until(lambda: content('log') != log, shown=HOPS, first='send_or_park')
    say()
    say_log(log)
    say('User 2 reads    what the kernels hold')
    say()
    log, got = content('log'), []
    two.read()
    trip.until(lambda: content('log') != log, shown=HOPS, last='json_write')
    say()
    say_log(log)
    trip.until(lambda: got.extend(two.messages()) or text[-10:] in ''.join(got[-1:]))
    say('User 2 reads    %d messages, and then' % (len(got) - 1))
    say('                ' + got[-1])


signal.signal(signal.SIGPIPE, signal.SIG_IGN)   # so that say can see it
signal.signal(signal.SIGALRM, signal.SIG_DFL)
signal.alarm(LIMIT)                             # the end of gdb is the end of the server
try:
    users = start()
    go_through(*users)
    wait(*users)
except Problem as problem:
    say('make trip: %s; its log ends: %s' % (problem, (content('log').splitlines() or ['empty'])[-1]))
    gdb.execute('quit 1')
except gdb.error as error:              # as a rule: a name that the server no longer has
    say('make trip: %s See test/measure/trip.py.' % error)
    gdb.execute('quit 1')
