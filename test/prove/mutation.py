#!/usr/bin/env python3
"""mutation.py -- checks that the tests notice small faults in json.c and ws.c.

    python3 test/prove/mutation.py [FILE...]    needs cc, and a sanitizer for the second try

It makes mutants: copies of a file with one small change.  It runs the tables of unit.c with
each mutant:
  - If the tables fail, crash, or do not end, the mutant is killed.
  - If they pass, they run once more with the sanitizers, which notice a read beyond a buffer.
  - If the compiler makes the same code as for the original, the mutant does not count.
Every survivor must stand in test/prove/mutation.txt with a reason.  At least 95 % of all mutants
must be killed.

Order: making mutants, trying them, the list of survivors, main.
"""

import concurrent.futures
import os
import re
import shutil
import subprocess
import sys

FILES = ["json.c", "ws.c"]
PROTOCOL = ["ws.c", "json.c", "sha1.c", "base64.c"]
TABLES = {"json.c": ["json"], "ws.c": ["request", "origin", "frames", "utf8", "write"]}
WANTED = 0.95
SECONDS = 20                            # the tables need less than one
CC = ["cc", "-std=c99", "-D_POSIX_C_SOURCE=200809L", "-w"]
SANITIZED = ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
WORK = "test/bin/mutation"

# ---- Making mutants

# A token of the code, and the tokens that replace it.
SWAPS = {
    "<": ["<=", ">="], "<=": ["<", ">"], ">": [">=", "<="], ">=": [">", "<"],
    "==": ["!="], "!=": ["=="], "&&": ["||"], "||": ["&&"],
    "+": ["-"], "-": ["+"], "*": ["+"], "/": ["*"], "%": ["*"],
    "<<": [">>"], ">>": ["<<"], "&": ["|"], "|": ["&"], "^": ["|"],
    "++": ["--"], "--": ["++"], "+=": ["-="], "-=": ["+="], ">>=": ["<<="], "|=": ["&="],
    "!": [""], "~": [""], "true": ["false"], "false": ["true"],
    "break": ["continue"], "continue": ["break"],
}
TOKEN = re.compile(r"""
      (?P<skip>"(?:\\.|[^"\\])*" | \#.* | ->)
    | (?P<char>'(?:\\.|[^'\\])')
    | (?P<number>\b(?:0x[0-9A-Fa-f]+|[0-9]+)\b)
    | (?P<word>\b\w+\b)
    | (?P<operator><<=|>>=|<<|>>|<=|>=|==|!=|&&|\|\||\+\+|--|\+=|-=|\|=|[-+*/%<>&|^!~])
    """, re.VERBOSE)
STATEMENT = re.compile(r"^(?!return|static|const|struct|enum|typedef|case|default|break|continue"
                       r"|bool |int |size_t |uint\w+ |char |if|else|for|while|do|goto|\}|\{)[^{}]*;$")


def without_comments(text):
    """Replaces each comment by spaces, so that all other places stay the same."""
    blank = lambda m: m.group(0) if m.group(0)[0] == '"' else re.sub(r"[^\n]", " ", m.group(0))
    return re.sub(r'"(?:\\.|[^"\\\n])*"|/\*.*?\*/', blank, text, flags=re.DOTALL)


def instead_of(match):
    """The tokens that replace a token."""
    text = match.group(0)
    if match.lastgroup == "number":
        n = int(text, 0)
        return [str(n + 1)] + ([str(n - 1)] if n > 0 else [])
    if match.lastgroup == "char":
        return ["(%s + 1)" % text]
    return SWAPS.get(text, []) if match.lastgroup in ("operator", "word") else []


def conditions(line):
    """The places of the conditions of `if` and `while` that end on this line."""
    for match in re.finditer(r"\b(?:if|while) \(", line):
        depth, at = 1, match.end()
        while at < len(line) and depth > 0:
            depth += {"(": 1, ")": -1}.get(line[at], 0)
            at += 1
        if depth == 0:
            yield match.end(), at - 1


def mutants(text):
    """Yields (line number from 1, mutated line)."""
    lines = text.split("\n")
    for number, code in enumerate(without_comments(text).split("\n"), 1):
        line = lines[number - 1]
        in_function = line.startswith((" ", "\t"))
        if not in_function:
            continue
        for match in TOKEN.finditer(code):
            for new in instead_of(match):
                yield number, line[:match.start()] + new + line[match.end():]
        for start, end in conditions(code):
            for new in ("1", "0"):
                yield number, line[:start] + new + line[end:]
        if STATEMENT.match(code.strip()) and code.strip() != ";":
            yield number, re.match(r"\s*", line).group(0) + ";"


# ---- Trying them

def compiles(arguments):
    return subprocess.run(CC + arguments, stderr=subprocess.DEVNULL).returncode == 0


def passes(program, tables):
    try:
        return subprocess.run([program] + tables, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, timeout=SECONDS).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def others(name, flags, kind):
    """Compiles all files except the one that changes."""
    made = []
    for source in [f for f in PROTOCOL if f != name] + ["test/unit.c"]:
        made.append("%s/%s-%s-%s.o" % (WORK, name, kind, os.path.basename(source)))
        if not compiles(flags + ["-c", "-o", made[-1], source]):
            sys.exit("%s does not compile" % source)
    return made


def object_code(path):
    with open(path, "rb") as f:
        return f.read()


class Subject:
    """A file whose mutants are tried."""

    def __init__(self, name):
        self.name = name
        with open(name, encoding="utf-8") as f:
            self.text = f.read()
        self.plain = others(name, ["-O2"], "plain")
        self.sanitized = others(name, SANITIZED, "sanitized")
        self.original = self.attempt(self.text, "original", None)
        if not isinstance(self.original, bytes):
            sys.exit("the tables fail for %s as it is" % name)

    def attempt(self, text, place, original):
        """Returns the mutant's code if it survives; if not, the reason."""
        source = "%s/%s-%s" % (WORK, place, self.name)
        made, program = source + ".o", source + ".bin"
        with open(source, "w", encoding="utf-8") as f:
            f.write(text)
        if not compiles(["-O2", "-I.", "-c", "-o", made, source]):
            return "no C"
        code = object_code(made)
        if code == original:
            return "the same"
        tables = TABLES[self.name]
        if not compiles(["-o", program, made] + self.plain) or not passes(program, tables):
            return "killed"
        if not compiles(SANITIZED + ["-I.", "-o", program, source] + self.sanitized) \
                or not passes(program, tables):
            return "killed"
        return code

    def verdict(self, job):
        index, (number, mutated) = job
        lines = self.text.split("\n")
        lines[number - 1] = mutated
        place = "m%d" % index
        result = self.attempt("\n".join(lines), place, self.original)
        for end in ("", ".o", ".bin"):
            path = "%s/%s-%s%s" % (WORK, place, self.name, end)
            if os.path.exists(path):
                os.remove(path)
        return number, mutated, result if isinstance(result, str) else "survived"


# ---- The list of survivors: file, line and mutated line, which do not depend on line numbers

def explained():
    """Reads lines `- file: line  =>  mutated line`.  The reason stands above such lines."""
    with open("test/prove/mutation.txt", encoding="utf-8") as f:
        return {line[2:].strip() for line in f if line.startswith("- ")}


def as_listed(name, line, mutated):
    return "%s: %s  =>  %s" % (name, line.strip(), mutated.strip())


# ---- main

def run(name, known, seen):
    """Returns how many mutants were killed and how many there are.  Prints survivors without a reason."""
    subject = Subject(name)
    jobs = list(enumerate(mutants(subject.text)))
    counts = {}
    lines = subject.text.split("\n")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for number, mutated, result in pool.map(subject.verdict, jobs):
            counts[result] = counts.get(result, 0) + 1
            if result != "survived":
                continue
            entry = as_listed(name, lines[number - 1], mutated)
            seen.add(entry)
            if entry not in known:
                print("line %d survives: - %s" % (number, entry))
    killed, survived = counts.get("killed", 0), counts.get("survived", 0)
    print("%s: %d mutants, %d killed, %d survived; %.1f %%" % (
        name, killed + survived, killed, survived, 100 * killed / (killed + survived)))
    return killed, killed + survived


def main():
    os.nice(10)
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
    shutil.rmtree(WORK, ignore_errors=True)
    os.makedirs(WORK)
    known, seen = explained(), set()
    names = sys.argv[1:] or FILES
    results = [run(name, known, seen) for name in names]
    gone = {e for e in known - seen if e.split(":")[0] in names}
    for entry in sorted(gone):
        print("is explained, but does not survive: - %s" % entry)
    shutil.rmtree(WORK)
    killed, total = (sum(figures) for figures in zip(*results))
    print("%.1f %% of %d killed" % (100 * killed / total, total))
    return 1 if killed < WANTED * total or gone or seen - known else 0


if __name__ == "__main__":
    sys.exit(main())
