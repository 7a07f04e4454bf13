"""The probe's signals: reading them off the pipe, and inferring the phases between them.

The sender runs untrusted code, so a line that does not parse is dropped and every time it names
is clipped to the trial. TTFB itself never comes from here: the supervisor stamps what it receives.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ailab_bot.model.trial import PHASES

#: Fields that a kind of signal carries after nonce, pid, kind and time.
_FIELDS = {
    "H": 3,  # interpreter started: parent pid, CPU nanoseconds so far, Python version
    "B": 1,  # forked child begins: parent pid
    "X": 0,  # about to exec another program in this process
    "I": 1,  # import (of a top-level statement) from the time given until: end
    "M": 1,  # model building from the time given until: end
    "D": 0,  # a DataLoader was built
    "K": 0,  # configuration was read
    "P": 1,  # the program says that a phase begins: name, or "-" to end it
    "C": 1,  # candidate for the first batch: number
    "F": 1,  # the first batch: number of the candidate that it was, 0: this very moment
    "S": 0,  # an optimizer step is done
    "E": 2,  # the probe could not watch a module: name, error
}
#: Kinds whose time is the moment of sending; of the others it is a beginning in the past.
SENT_AT_ONCE = "HBXDKPCFS"
#: By how much of the time since the start a sender's stamp may differ from its receipt. Both come
#: from one clock of the kernel, so more says that somebody has changed the sender's.
CLOCKS_MAY_DIFFER = 0.05
#: A receipt may be this late besides: the sender lost its core between reading the clock and
#: writing, the pipe was full (the probe then tries for 0.2 s), or we were reading /proc. Seen on
#: two cores at most 7 ms when idle, 0.22 s beside two and 0.29 s beside sixteen busy processes.
#: Generous, as what is reported is the receipt anyway. No delay puts a stamp after its receipt.
LATEST_RECEIPT_NS = 500_000_000


@dataclass(frozen=True)
class Signal:
    """One line from the probe. Times in nanoseconds of the monotonic clock."""

    received_ns: int
    pid: int
    kind: str
    at_ns: int
    fields: tuple[str, ...]

    def number(self, index: int) -> int:
        return int(self.fields[index])


def parse_signal(line: bytes, nonce: str, received_ns: int) -> Signal | None:
    """The signal in one line, None for anything else that got into the pipe."""
    parts = line.decode("ascii", "replace").split(" ")
    if len(parts) < 4 or parts[0] != nonce:
        return None
    pid, kind, at, *fields = parts[1:]
    if len(fields) != _FIELDS.get(kind, -1):
        return None
    numeric = fields if kind in "BIMCF" else fields[:2] if kind == "H" else []
    if not all(field.isdecimal() and len(field) < 20 for field in (pid, at, *numeric)):
        return None
    return Signal(received_ns, int(pid), kind, int(at), tuple(fields))


def clock_gap_s(stamped: Iterable[Signal], start_ns: int) -> float:
    """By how many seconds a sender's clock is off, beyond what delays explain; 0.0: it is not.

    The trial began at `start_ns`. A clock that is slow or fast by up to 5 % is not seen, nor one
    that is slow by half a second: all that it can change is how phases divide the time.
    """
    for signal in stamped:
        gap_ns = signal.received_ns - signal.at_ns
        allowed_ns = CLOCKS_MAY_DIFFER * (signal.received_ns - start_ns)
        if signal.kind not in SENT_AT_ONCE:
            continue
        if gap_ns > max(allowed_ns, LATEST_RECEIPT_NS) or -gap_ns > allowed_ns:
            return abs(gap_ns) / 1e9
    return 0.0


@dataclass(frozen=True)
class _Life:
    """One program image on the way from the command to the trainer, from `start_ns` on."""

    pid: int
    start_ns: int
    ready_ns: int  # when the interpreter could run code


def infer_phases(
    signals: Sequence[Signal], *, start_ns: int, end_ns: int, trainer: int, direct: bool
) -> dict[str, float]:
    """Seconds per phase, non-overlapping, which sum to the time from `start_ns` to `end_ns`.

    `trainer` is the process that the first batch entered; `direct` says that the command itself
    was a Python interpreter. Empty without any signal. docs/probe.md has the rules in words:
    imports win over everything, then what the program marks, then what is inferred.
    """
    lives = _lives(signals, start_ns=start_ns, trainer=trainer, direct=direct)
    if not lives:
        return {}
    # Later paint covers earlier paint.
    paint: list[tuple[int, int, str]] = [(start_ns, end_ns, "config")]
    marks: list[tuple[int, int, str]] = []
    imports: list[tuple[int, int, str]] = []
    for index, life in enumerate(lives):
        until = lives[index + 1].start_ns if index + 1 < len(lives) else end_ns
        own = [s for s in signals if s.pid == life.pid and life.start_ns <= s.at_ns <= until]
        paint.append((life.start_ns, life.ready_ns, "interpreter"))
        imports += [(s.at_ns, min(s.number(0), until), "import") for s in own if s.kind == "I"]
        said = [s for s in own if s.kind == "P"]
        ends = [*(s.at_ns for s in said[1:]), until]
        for mark, after in zip(said, ends, strict=False):  # without marks, one end is left over
            if mark.fields[0] != "-":
                marks.append((mark.at_ns, after, mark.fields[0]))
        if index + 1 == len(lives):
            paint += _set_up(own, life.ready_ns, end_ns)
    seconds = dict.fromkeys(PHASES, 0.0)
    for name, duration in _durations([*paint, *marks, *imports], start_ns, end_ns):
        seconds[name] = seconds.get(name, 0.0) + duration / 1e9
    return seconds


def _lives(signals: Sequence[Signal], *, start_ns: int, trainer: int, direct: bool) -> list[_Life]:
    births = {s.pid: s for s in signals if s.kind in "HB"}
    chain: set[int] = set()
    pid = trainer
    while pid in births and pid not in chain:
        chain.add(pid)
        pid = births[pid].number(0)
    lives: list[_Life] = []
    exec_ns: dict[int, int] = {}
    for signal in sorted(signals, key=lambda s: s.at_ns):
        if signal.pid not in chain:
            continue
        if signal.kind == "X":
            exec_ns[signal.pid] = signal.at_ns
        elif signal.kind == "B":
            lives.append(_Life(signal.pid, signal.at_ns, signal.at_ns))
        elif signal.kind == "H":
            earliest = lives[-1].ready_ns if lives else start_ns
            # A fresh process has spent its CPU time on starting the interpreter. After an exec
            # that clock goes on counting, but the probe saw the exec.
            born = exec_ns.pop(signal.pid, signal.at_ns - signal.number(1))
            if direct and not lives:
                born = start_ns
            lives.append(_Life(signal.pid, max(earliest, born), signal.at_ns))
    return lives


def _set_up(own: Iterable[Signal], ready_ns: int, end_ns: int) -> list[tuple[int, int, str]]:
    """Infer config, data, model and first_batch in the trainer, from what it built when."""
    built = sorted((s for s in own if s.kind in "MD"), key=lambda s: s.at_ns)
    first_built = built[0].at_ns if built else end_ns
    config = [s.at_ns for s in own if s.kind == "K" and s.at_ns <= first_built]
    cursor = max(config, default=ready_ns)
    paint = [(ready_ns, cursor, "config")]
    for signal in built:
        paint.append((cursor, signal.at_ns, "data"))
        cursor = signal.at_ns
        if signal.kind == "M":
            cursor = max(cursor, signal.number(0))
            paint.append((signal.at_ns, cursor, "model"))
    paint.append((cursor, end_ns, "first_batch"))
    return paint


def _durations(
    paint: Sequence[tuple[int, int, str]], start_ns: int, end_ns: int
) -> Iterable[tuple[str, int]]:
    """Nanoseconds of each visible piece of the painted line from start to end."""
    clipped = [
        (max(first, start_ns), min(last, end_ns), name)
        for first, last, name in paint
        if min(last, end_ns) > max(first, start_ns)
    ]
    edges = sorted({edge for first, last, _ in clipped for edge in (first, last)})
    for left, right in itertools.pairwise(edges):
        visible = [name for first, last, name in clipped if first <= left and right <= last]
        yield visible[-1], right - left


def trainer_of(signals: Sequence[Signal]) -> int | None:
    """The process that most probably trains, where no signal says it (`first_batch: marker`)."""
    weight: Mapping[str, int] = {"H": 1, "B": 0, "D": 10, "M": 10}
    score: dict[int, int] = {}
    for signal in signals:
        score[signal.pid] = score.get(signal.pid, 0) + weight.get(signal.kind, 0)
    return max(score, key=lambda pid: score[pid]) if score else None
