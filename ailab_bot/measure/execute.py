"""Runs one trial: starts the command, reads the clock, and ends the whole process tree.

The clock belongs to this process, outside the code that it times: TTFB runs from just before the
command is started until the probe's signal (or the marker's line) is received. Refuses to judge:
it returns numbers or a failure.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import secrets
import selectors
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from ailab_bot.errors import RunnerError
from ailab_bot.measure import counters, procfs
from ailab_bot.measure.cores import on_cores
from ailab_bot.measure.signals import (
    SENT_AT_ONCE,
    Signal,
    clock_gap_s,
    infer_phases,
    parse_signal,
    trainer_of,
)
from ailab_bot.model.scenario import FirstBatch, FirstBatchMode
from ailab_bot.model.trial import Failure, Outcome

#: The first and the last bytes of output that are kept; the middle of a log flood is dropped.
OUTPUT_KEPT_BYTES = 1 << 20
#: Lines of stderr shown with a failure.
TAIL_LINES = 20
#: Characters of such a line: enough for a message. Of a progress bar or a printed tensor, which can
#: be endless, the beginning says what it is.
LONGEST_TAIL_LINE = 500
#: A line of output longer than this is matched against the marker in pieces.
_LONGEST_LINE = 1 << 16
#: More signals about phases, and more candidates at a time, than any real program sends; further
#: ones are not stored. The first batch and the steps are always heard.
_MOST_SIGNALS = 20_000
#: How often to look whether the command's processes are still there, once the first has ended.
_POLL_S = 0.05
#: How long killed processes may take to vanish (one in uninterruptible sleep can take long).
_KILL_PATIENCE_S = 10.0
_PR_SET_CHILD_SUBREAPER = 36
_USE_MARKER = "set `first_batch: {marker: REGEX}` for a line of its output."
_USE_API = 'put `sys.audit("ailab.first_batch")` where the batch enters and set `first_batch: api`.'

#: So long the processes of a recorded trial are waited for at its end, until they have told what
#: they ran. Who does not answer makes the footprint incomplete.
_RECORDING_PATIENCE_S = 5.0

PROBE_FOLDER = Path(__file__).parent / "probe"


@dataclass(frozen=True)
class Launch:
    """What to run. `env` is the whole environment, without the probe's own variables.

    `probe` is the folder that holds the probe; `scratch` a private folder for the pipe; `trace`
    asks for a list of imports, `footprint` (an empty folder) for what is touched below `cwd`: both
    cost time, so such a trial is never timed. `cores`: where it runs; empty: wherever the scheduler
    puts it.
    """

    command: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]
    first_batch: FirstBatch
    timeout_s: float
    scratch: Path
    probe: Path = PROBE_FOLDER
    steps: int = 0
    trace: Path | None = None
    cores: tuple[int, ...] = ()
    footprint: Path | None = None


@dataclass(frozen=True)
class Execution:
    """What one execution gave. `started_ns` is on the monotonic clock that TTFB is read from."""

    outcome: Outcome
    started_ns: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    phases: Mapping[str, float] = field(default_factory=dict)
    covariates: Mapping[str, float] = field(default_factory=dict)
    failure: Failure | None = None
    trainer: int | None = None


def execute(launch: Launch) -> Execution:
    """Run the command until its first batch (and `steps` further steps), then end its tree.

    Everything that the command does is an outcome, also that it cannot be started. Whatever
    happens, also KeyboardInterrupt, no process of the trial outlives the call.
    """
    _become_subreaper()
    not_ours = set(procfs.descendants(os.getpid()))
    with _pipe(launch.scratch) as (pipe_path, pipe), _counter() as counter:
        run = _Run(launch, pipe_path, pipe, not_ours)
        try:
            run.start()
            run.watch()
            run.ask_what_ran()
            return run.finish(counter)
        except _CannotStartError as error:
            return Execution(Outcome.CRASH, run.start_ns, failure=error.failure)
        finally:
            with uninterrupted():
                run.end()


class _Run:
    """The state of one execution while it goes on."""

    def __init__(self, launch: Launch, pipe_path: Path, pipe: int, not_ours: set[int]) -> None:
        self.launch = launch
        self.pipe_path = pipe_path
        self.pipe = pipe
        self.not_ours = not_ours
        self.nonce = secrets.token_hex(8)
        self.signals: list[Signal] = []
        self.candidates: dict[tuple[int, tuple[str, ...]], Signal] = {}
        self.rest = b""
        self.output = {"stdout": _Kept(), "stderr": _Kept()}
        self.marker = re.compile(launch.first_batch.marker or "(?!)")
        self.process: subprocess.Popen[bytes] | None = None
        self.start_ns = 0
        self.first_batch_ns: int | None = None
        self.trainer: int | None = None
        self.stamped: list[Signal] = []  # those that the trial's times hang on
        self.steps: list[Signal] = []
        self.usage = procfs.Usage()
        self.steal_s = procfs.steal_s()
        self.instructions: int | None = None
        self.oom_kills = procfs.oom_kills()
        self.timed_out = False
        self.exit_status: int | None = None

    def start(self) -> None:
        env = dict(self.launch.env)
        mode = self.launch.first_batch.mode
        trace = str(self.launch.trace or "")
        setting = [str(self.pipe_path), self.nonce, mode.value, str(self.launch.steps), trace]
        env["AILAB_PROBE"] = "|".join(setting)
        if self.launch.footprint is not None:
            env["AILAB_FOOTPRINT"] = f"{self.launch.footprint}|{self.launch.cwd}"
        inherited = env.get("PYTHONPATH")
        env["PYTHONPATH"] = os.pathsep.join([str(self.launch.probe), *filter(None, [inherited])])
        if mode is FirstBatchMode.MARKER:
            env["PYTHONUNBUFFERED"] = "1"  # a marker that waits in a buffer would be late
        program = shutil.which(self.launch.command[0], path=env.get("PATH"))
        local = self.launch.cwd / self.launch.command[0]
        if program is None and not (os.sep in self.launch.command[0] and local.exists()):
            raise _CannotStartError(self.launch, "there is no such program on PATH")
        with on_cores(self.launch.cores):
            self.start_process(env)

    def start_process(self, env: Mapping[str, str]) -> None:
        self.start_ns = time.monotonic_ns()
        try:
            self.process = subprocess.Popen(
                self.launch.command,
                cwd=self.launch.cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise _CannotStartError(self.launch, error.strerror or str(error)) from error

    def watch(self) -> None:
        """Until the first batch (and the steps), the end of all processes, or the time-out."""
        assert self.process is not None
        deadline_ns = self.start_ns + int(self.launch.timeout_s * 1e9)
        with selectors.DefaultSelector() as selector:
            selector.register(self.pipe, selectors.EVENT_READ, None)
            for name, stream in (("stdout", self.process.stdout), ("stderr", self.process.stderr)):
                assert stream is not None
                os.set_blocking(stream.fileno(), False)
                selector.register(stream, selectors.EVENT_READ, name)
            ended = False
            while not self.complete():
                left_s = (deadline_ns - time.monotonic_ns()) / 1e9
                if left_s <= 0:
                    self.timed_out = True
                    return
                for key, _ in selector.select(min(left_s, _POLL_S)):
                    received_ns = time.monotonic_ns()
                    if key.data is None:
                        self.read_pipe(received_ns)
                    elif not self.read_output(key.data, key.fileobj, received_ns):
                        selector.unregister(key.fileobj)
                self.match_waiting_lines(ended)
                if ended:
                    return  # one more round after the end has read what was left
                ended = self.has_ended()

    def ask_what_ran(self) -> None:
        """Let the processes of a recorded trial that still run tell what they ran."""
        folder = self.launch.footprint
        if folder is None or not self.complete():
            return
        with contextlib.suppress(OSError):  # the folder is the program's, too
            (folder / "tell").touch()
        give_up = time.monotonic() + _RECORDING_PATIENCE_S
        while time.monotonic() < give_up:
            if not _owing(folder, self.tree()):
                return
            time.sleep(_POLL_S)

    def complete(self) -> bool:
        if self.first_batch_ns is None:
            return False
        return not self.launch.steps or len(self.steps) > self.launch.steps

    def has_ended(self) -> bool:
        """Whether the command and everything that it started are gone."""
        assert self.process is not None
        if self.exit_status is None:
            self.exit_status = self.process.poll()
            if self.exit_status is None:
                return False
        # A launcher may end well before its trainer; after a failure nobody is waited for.
        return bool(self.exit_status) or all(procfs.is_zombie(pid) for pid in self.tree())

    def tree(self) -> list[int]:
        return procfs.descendants(os.getpid(), self.not_ours)

    def read_pipe(self, received_ns: int) -> None:
        try:
            *lines, self.rest = (self.rest + os.read(self.pipe, 1 << 16)).split(b"\n")
        except BlockingIOError:
            return
        self.rest = self.rest[:_LONGEST_LINE]  # no line of ours is that long
        for line in lines:
            message = parse_signal(line, self.nonce, received_ns)
            if message is None:
                continue
            if message.kind == "C":
                self.candidates[message.pid, message.fields] = message
                if len(self.candidates) > _MOST_SIGNALS:  # the oldest was none: it would be named
                    del self.candidates[next(iter(self.candidates))]
            elif len(self.signals) < _MOST_SIGNALS:
                self.signals.append(message)
            if message.kind == "F" and self.launch.first_batch.mode is not FirstBatchMode.MARKER:
                entered = self.entered(message)
                self.reach_first_batch(entered.received_ns, message.pid, (entered, message))
            elif message.kind == "S" and self.first_batch_ns and message.pid == self.trainer:
                self.steps.append(message)
                self.stamped.append(message)

    def entered(self, final: Signal) -> Signal:
        """The candidate that the signal names (0 names the signal itself)."""
        return self.candidates.get((final.pid, final.fields), final)

    def read_output(self, name: str, stream: object, received_ns: int) -> bool:
        """Take in what came; False at the end of the stream."""
        assert hasattr(stream, "fileno")
        try:
            data = os.read(stream.fileno(), 1 << 16)
        except BlockingIOError:
            return True
        for line, arrived_ns in self.output[name].add(data, received_ns):
            self.match(line, arrived_ns)
        return bool(data)

    def match_waiting_lines(self, ended: bool) -> None:
        """A progress bar ends its line when it writes the next: it counts once it stands still.

        Not at once: a program may write a line in pieces, and `1` may become `10`.
        """
        before_ns = time.monotonic_ns() - (0 if ended else int(_POLL_S * 1e9))
        for output in self.output.values():
            if output.line_is_new and output.line_ns <= before_ns:
                output.line_is_new = False
                self.match(output.line, output.line_ns)

    def match(self, line: bytes, arrived_ns: int) -> None:
        if self.first_batch_ns is None and self.marker.search(line.decode("utf-8", "replace")):
            trainer = trainer_of(self.signals)
            prompt = [each for each in self.signals if each.kind in SENT_AT_ONCE]
            latest = [each for each in prompt if each.pid == trainer][-1:]
            self.reach_first_batch(arrived_ns, trainer, latest)

    def reach_first_batch(
        self, entered_ns: int, trainer: int | None, stamped: Iterable[Signal]
    ) -> None:
        if self.first_batch_ns is not None:
            return
        self.first_batch_ns = entered_ns
        self.trainer = trainer
        self.stamped += stamped
        self.usage = procfs.usage(self.tree())
        self.steal_s = procfs.steal_s() - self.steal_s

    def finish(self, counter: counters.Counter | None) -> Execution:
        if counter is not None:
            self.instructions = counter.read()
        self.end()
        failure = self.failure()
        if failure is not None:
            outcome, reason, advice = failure
            tail = self.output["stderr"].tail() or self.output["stdout"].tail()
            return Execution(outcome, self.start_ns, failure=Failure(reason, advice, tail))
        assert self.first_batch_ns is not None
        metrics = {
            "ttfb_s": round((self.first_batch_ns - self.start_ns) / 1e9, 6),
            "cpu_s": round(self.usage.cpu_s, 6),
            "peak_rss_bytes": float(self.usage.peak_rss_bytes),
        }
        if self.launch.steps:
            # The probe's own stamps: several may wait in the pipe while we look at /proc.
            steps = self.steps[: self.launch.steps + 1]
            ends = [min(step.at_ns, step.received_ns) for step in steps]
            metrics["step_time_s"] = (ends[-1] - ends[0]) / 1e9 / (len(ends) - 1)
        covariates = {
            "run_delay_s": round(self.usage.run_delay_s, 6),
            "steal_s": round(self.steal_s, 6),
            "stime_s": round(self.usage.stime_s, 6),
            "nvcsw": float(self.usage.nvcsw),
            "nivcsw": float(self.usage.nivcsw),
            "minflt": float(self.usage.minflt),
            "majflt": float(self.usage.majflt),
        }
        if self.instructions is not None:
            covariates["instructions"] = float(self.instructions)
        return Execution(
            Outcome.OK,
            self.start_ns,
            metrics={name: value for name, value in metrics.items() if value > 0},
            phases=self.phases(),
            covariates=covariates,
            trainer=self.trainer,
        )

    def phases(self) -> dict[str, float]:
        if self.trainer is None or self.first_batch_ns is None:
            return {}
        seconds = infer_phases(
            self.signals,
            start_ns=self.start_ns,
            end_ns=self.first_batch_ns,
            trainer=self.trainer,
            direct=Path(self.launch.command[0]).name.startswith("python"),
        )
        return {name: round(value, 6) for name, value in seconds.items()}

    def failure(self) -> tuple[Outcome, str, str] | None:
        """Outcome, reason and advice of a trial that has no value; None if it has one."""
        gap_s = clock_gap_s(self.stamped, self.start_ns)
        if gap_s and self.launch.footprint is None:  # of a recorded trial no time is believed
            return (
                Outcome.NO_FIRST_BATCH,
                f"its clock and ours disagree by {gap_s:.3g} s, so no time of it is believed",
                "Measure without what changes its clocks: a .pth file, freezegun, libfaketime.",
            )
        if self.complete():
            return None
        text = self.output["stderr"].text()
        if _ran_out_of_memory(self.exit_status, text, procfs.oom_kills() - self.oom_kills):
            return (
                Outcome.OOM,
                "ran out of memory before the first batch",
                "Give the runner more memory, or shrink the scenario (batch, data, model).",
            )
        if self.timed_out:
            what = "the steps after the first batch" if self.first_batch_ns else "a first batch"
            return (
                Outcome.TIMEOUT,
                f"did not reach {what} within {self.launch.timeout_s:g} s; ended",
                "Raise `timeout_s` if the workflow is that slow, else see what it waits for below.",
            )
        if self.exit_status:
            return (
                Outcome.CRASH,
                f"{_exit_text(self.exit_status)} before the first batch",
                "The last lines of its output say why; run its command by hand to see the rest.",
            )
        if self.first_batch_ns is not None and len(self.steps) > 1:
            return None  # fewer steps than asked for, but the time per step is known
        if self.first_batch_ns is not None:
            return (
                Outcome.NO_FIRST_BATCH,
                "ended before the second optimizer step, so it has no time per step",
                "Let the scenario train more steps, or take `step_time_s` off its metrics.",
            )
        return (Outcome.NO_FIRST_BATCH, *self.why_no_first_batch())

    def why_no_first_batch(self) -> tuple[str, str]:
        kinds = {message.kind for message in self.signals}
        mode = self.launch.first_batch.mode
        if mode is FirstBatchMode.MARKER:
            return (
                f"ended without a line of output that matches {self.marker.pattern!r}",
                "Check the expression against the output below.",
            )
        if "H" not in kinds:
            return (
                "ended, and no Python process in it loaded the probe",
                "Keep PYTHONPATH when you start Python (no -I, -E, -S, no cleared environment), "
                + _USE_MARKER,
            )
        if mode is FirstBatchMode.API:
            return (
                "ended without calling the API",
                'Add `sys.audit("ailab.first_batch")` where the first batch enters the model.',
            )
        if self.candidates:
            return (
                "ended after forward passes that no backward pass followed",
                "The first batch is a training batch. If yours has no backward pass, " + _USE_API,
            )
        return (
            "ended without training a torch model",
            _USE_API[0].upper() + _USE_API[1:] + " Or " + _USE_MARKER,
        )

    def end(self) -> None:
        """Kill whatever is left of the tree, escaped children too, and reap it. Idempotent.

        An interruption inside Popen leaves a process that nobody has handed to us: /proc shows it.
        """
        give_up = time.monotonic() + _KILL_PATIENCE_S
        while tree := self.tree():
            for pid in tree:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if self.process is not None:
                self.process.poll()
            for pid in tree:
                if self.process is None or pid != self.process.pid:
                    with contextlib.suppress(ChildProcessError):
                        os.waitpid(pid, os.WNOHANG)
            if time.monotonic() > give_up:
                raise RunnerError(
                    "a process of the trial could not be killed",
                    why=f"still there {_KILL_PATIENCE_S:g} s after SIGKILL: {tree}",
                    advice="Look for a hanging device or network file system on this machine.",
                )
            time.sleep(0.001)
        if self.process is None:
            return
        self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                self.drain(stream)
        self.process = None

    def drain(self, stream: IO[bytes]) -> None:
        name = "stdout" if self.process is not None and stream is self.process.stdout else "stderr"
        with contextlib.suppress(BlockingIOError, OSError), stream:
            while data := os.read(stream.fileno(), 1 << 16):
                self.output[name].add(data, time.monotonic_ns())


class _Kept:
    """Output with a bound: the first and the last bytes; and its lines while they come.

    `line` has no end yet, `line_ns` says when its last piece came.
    """

    def __init__(self) -> None:
        self.first = b""
        self.last = b""
        self.line = b""
        self.line_ns = 0
        self.line_is_new = False  # not yet looked at as it is now

    def add(self, data: bytes, received_ns: int) -> list[tuple[bytes, int]]:
        """Keep `data`; the lines that it completes, each with the arrival of its last piece."""
        room = OUTPUT_KEPT_BYTES - len(self.first)
        self.first += data[:room]
        self.last = (self.last + data[room:])[-OUTPUT_KEPT_BYTES:]
        lines = []
        pieces = re.split(rb"[\r\n]", data)
        for index, piece in enumerate(pieces, start=1):
            if piece or not self.line:
                self.line_ns = received_ns
            self.line += piece
            self.line_is_new = bool(piece) or self.line_is_new
            if index < len(pieces) or len(self.line) > _LONGEST_LINE:
                lines.append((self.line, self.line_ns))
                self.line, self.line_is_new = b"", False
        return lines

    def text(self) -> str:
        return (self.first + self.last).decode("utf-8", "replace")

    def tail(self) -> tuple[str, ...]:
        lines = self.text().rstrip().splitlines()[-TAIL_LINES:]
        return tuple(
            line if len(line) <= LONGEST_TAIL_LINE else line[: LONGEST_TAIL_LINE - 1] + "…"
            for line in lines
        )


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """A second Ctrl-C must not stop the cleaning up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stops = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in stops}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _pipe(scratch: Path) -> Iterator[tuple[Path, int]]:
    """A named pipe: launchers close inherited descriptors, but hand on the environment."""
    path = scratch / "probe.pipe"
    path.unlink(missing_ok=True)
    os.mkfifo(path, 0o600)
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield path, descriptor
    finally:
        os.close(descriptor)
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _counter() -> Iterator[counters.Counter | None]:
    counter = counters.open_counter()
    try:
        yield counter
    finally:
        if counter is not None:
            counter.close()


def _become_subreaper() -> None:
    """Orphans of the trial become our children, so a double fork does not escape the kill."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _ran_out_of_memory(exit_status: int | None, stderr: str, oom_kills: int) -> bool:
    killed = exit_status in {-signal.SIGKILL, 128 + signal.SIGKILL}
    said = re.search(
        r"^(torch\.(cuda\.)?OutOfMemoryError|MemoryError|numpy\S*MemoryError)\b"
        r"|can't allocate memory|CUDA out of memory",
        stderr,
        re.MULTILINE,
    )
    return bool(exit_status) and bool(said or (killed and oom_kills))


def _owing(folder: Path, tree: Iterable[int]) -> bool:
    """Whether a process that records here and still runs has not told what it ran."""
    try:
        names = {path.name for path in folder.iterdir()}
    except OSError:
        return False
    latest: dict[int, int] = {}  # a program that another one took over is nobody's business
    for name in names:
        pid, _, began = name.partition("-")
        if pid.isdecimal() and began.isdecimal():
            latest[int(pid)] = max(latest.get(int(pid), 0), int(began))
    owing = {pid for pid, at in latest.items() if not {f"{pid}-{at}.e", f"{pid}-{at}.s"} & names}
    return any(pid in owing and not procfs.is_zombie(pid) for pid in tree)


def _exit_text(status: int) -> str:
    number = -status if status < 0 else status - 128 if status > 128 else 0
    with contextlib.suppress(ValueError):
        return f"was killed by {signal.Signals(number).name}"
    return f"exited with status {status}"


class _CannotStartError(Exception):
    """A failure like any other: a head that deletes the program must not end the whole run."""

    def __init__(self, launch: Launch, why: str) -> None:
        super().__init__(why)
        self.failure = Failure(
            f"cannot start `{launch.command[0]}`: {why}",
            "Check `command` in the scenario file, that both commits hold the program if it is "
            "theirs, and `--python` if it is the interpreter.",
        )
