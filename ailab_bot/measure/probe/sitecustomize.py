"""The probe: runs inside the measured process and tells the supervisor when things happen.

Python imports this file at start-up because the supervisor puts its folder on PYTHONPATH, which
launchers hand down to the trainers that they start. It signals and never judges: the supervisor
reads the clock. It refuses to import anything that a bare interpreter has not loaded already, to
import torch (it waits until the program does), and to fail: a probe that cannot work goes silent.

Speaks Python 3.8 and later, because arms may run any interpreter. Messages are lines
`nonce pid kind nanoseconds field...`, shorter than PIPE_BUF, so writers never mix; `signals.py`
lists the kinds. docs/probe.md has the rules in words.
"""

import os
import sys
from _thread import get_ident
from time import monotonic_ns, process_time_ns, sleep

import _ailab_torch

_open, _write, _close, _getpid = os.open, os.write, os.close, os.getpid
_MAIN = get_ident()
_LONG_NS = 500_000  # shorter imports stay with the phase around them: a message costs about 6 µs
_DEEPEST_TIMED = 2  # imports nested deeper are timed as part of those around them
_MOST_TRIES = 200  # for the one signal that a trial cannot do without, 1 ms apart
_MOST_READS = 64  # configuration is read at the start; later calls of the same readers are data


class _Probe:
    """State of this process. `trace_file` lists imports (empty in timed trials)."""

    def __init__(self, path, nonce, steps, trace_file):
        self.path, self.nonce, self.steps, self.trace_file = path, nonce, int(steps), trace_file
        self.watch = _ailab_torch.Watch(self)
        self.recorder = None  # where a footprint is asked for
        self.begin()

    def begin(self):
        """Start anew; also in a forked child, which is a process of its own."""
        self.depth = 0  # of nested imports on the main thread
        self.pending = []  # finished imports inside an import that goes on: (start, end)
        self.model = None  # [first, last] touch of model building, not yet sent
        self.setup_seen = False
        self.reads = 0
        self.done = False
        self.watch.begin()

    def send(self, kind, *fields):
        line = " ".join([self.nonce, str(_getpid()), kind, *map(str, fields)]) + "\n"
        try:
            # Opened each time: programs that close or count descriptors never meet ours.
            pipe = _open(self.path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return  # the supervisor is gone
        try:
            for _ in range(_MOST_TRIES if kind == "F" else 1):
                try:
                    _write(pipe, line.encode()[:4096])
                    break
                except BlockingIOError:  # the pipe is full: the supervisor is about to empty it
                    if kind == "F":
                        sleep(0.001)
        except OSError:
            pass
        finally:
            _close(pipe)

    def touch_model(self):
        """Something was built, moved, loaded or given to an optimizer: the model phase goes on."""
        now = monotonic_ns()
        if self.model is None:
            self.model = [now, now]
        else:
            self.model[1] = now
        self.setup_seen = True

    def flush_model(self):
        if self.model is not None:
            self.send("M", self.model[0], self.model[1])
            self.model = None

    def touch_data(self):
        self.flush_model()
        self.setup_seen = True
        self.send("D", monotonic_ns())

    def touch_config(self):
        if not self.setup_seen and self.reads < _MOST_READS:
            self.reads += 1
            self.send("K", monotonic_ns())

    def first_batch(self, number, now):
        """`number` 0: the first batch entered at `now`; else candidate `number` was it."""
        if self.done:
            return
        self.done = True
        for start, end in self.pending:
            self.send("I", start, end)
        self.flush_model()
        if self.recorder is not None:  # all of it is on the disk before anybody ends us
            self.recorder.finish()
            now = monotonic_ns()  # nobody times this trial, and the supervisor compares clocks
        self.send("F", now, number)
        _ailab_torch.show_own(True, for_good=True)

    def imported(self, start, end):
        """Only imports that no other import contains are told; the others only wait for the case
        that the one around them never ends, as when a launcher imports the training itself."""
        if end - start < _LONG_NS:
            return
        if self.depth:
            while self.pending and self.pending[-1][0] >= start:
                self.pending.pop()
            self.pending.append((start, end))
        else:
            self.pending = []
            self.send("I", start, end)

    def trace_import(self, name, nanoseconds, importer):
        """One line per finished import: module, seconds, importer's file, line and module."""
        row = [name, "%.6f" % (nanoseconds / 1e9), *map(str, importer)]
        row = [field.replace("\t", " ").replace("\n", " ") for field in row]
        file = _open(self.trace_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        _write(file, ("\t".join(row) + "\n").encode("utf-8", "replace"))
        _close(file)


def _config_reader(name):
    def patch(probe, module):
        owner = module
        for part in name.split(".")[:-1]:
            owner = getattr(owner, part)
        note = _ailab_torch.after(probe, probe.touch_config)
        _ailab_torch.replace(owner, name.split(".")[-1], note)

    return patch


_CONFIG_READERS = {
    "argparse": _config_reader("ArgumentParser.parse_known_args"),
    "json": _config_reader("load"),
    "tomllib": _config_reader("loads"),
    "yaml": _config_reader("load"),
}


def _watch_imports(probe, patches):
    """Wrap the one function that loads modules not loaded yet (also for importlib's callers)."""
    bootstrap = sys.modules["_frozen_importlib"]
    original = bootstrap._find_and_load

    def timed(name, import_):
        start = monotonic_ns()
        importer = _importer() if probe.trace_file else None
        probe.depth += 1
        try:
            return original(name, import_)
        finally:
            probe.depth -= 1
            if not probe.done:
                probe.imported(start, monotonic_ns())
                if importer is not None:
                    probe.trace_import(name, monotonic_ns() - start, importer)

    def _find_and_load(name, import_):
        # Torch loads thousands of modules, nearly all deep inside: those pay for three comparisons.
        deep = probe.depth >= _DEEPEST_TIMED and not probe.trace_file
        load = original if deep or get_ident() != _MAIN else timed
        if probe.recorder is None or probe.recorder.done:
            module = load(name, import_)
        else:
            module = probe.recorder.load(load, name, import_)
        if name in patches:
            try:
                patches.pop(name)(probe, sys.modules[name])
            except Exception as error:
                probe.send("E", monotonic_ns(), name, type(error).__name__)
        return module

    # Tracebacks and warnings skip importlib's own frames; they must skip ours, too.
    for function in (timed, _find_and_load):
        function.__code__ = function.__code__.replace(co_filename=original.__code__.co_filename)
    bootstrap._find_and_load = _find_and_load


def _importer():
    """File, line and module of the statement that asks for an import."""
    frame = sys._getframe(3)
    while frame is not None:
        file = frame.f_code.co_filename
        through = file.endswith(os.path.join("importlib", "__init__.py"))
        if not (through or file.startswith("<frozen importlib")):
            return file, frame.f_lineno, frame.f_globals.get("__name__", "")
        frame = frame.f_back
    return "", 0, ""


def _watch_marks(probe):
    """`sys.audit("ailab.…")` is the API: it costs nothing and does nothing outside a trial.

    Only calls of `sys.audit` from Python pass here. A real audit hook would also see the
    interpreter's own events and slow a program that, say, calls id() a million times.
    """
    original = sys.audit

    def audit(event, *args):
        if isinstance(event, str) and event.startswith("ailab."):
            now = monotonic_ns()
            if event == "ailab.first_batch":
                probe.first_batch(0, now)
            elif event == "ailab.step":
                probe.send("S", now)
            elif event == "ailab.phase" and args and not probe.done:
                name = str(args[0])
                known = name.isidentifier() and name.isascii() and len(name) <= 32
                probe.send("P", now, name.lower() if known else "-")
        return original(event, *args)

    sys.audit = audit


def _watch_exec(probe):
    def make(original):
        def wrapper(*args, **kwargs):  # execve takes names, too
            probe.flush_model()
            if probe.recorder is not None:
                probe.recorder.flush("x")
            probe.send("X", monotonic_ns())
            return original(*args, **kwargs)

        return wrapper

    for name in ("execv", "execve"):  # all other members of the family call these two
        _ailab_torch.replace(os, name, make)


def _start():
    here = os.path.dirname(os.path.abspath(__file__))
    recorder = None
    recorded = os.environ.get("AILAB_FOOTPRINT", "").split("|", 1)
    if len(recorded) == 2:
        import _ailab_footprint
    sys.path[:] = [entry for entry in sys.path if entry != here]
    setting = os.environ.get("AILAB_PROBE", "").split("|")
    if len(setting) == 5:
        path, nonce, mode, steps, trace_file = setting
        probe = _Probe(path, nonce, steps, trace_file)
        patches = dict(_CONFIG_READERS, **_ailab_torch.patches(mode, probe.steps))
        if len(recorded) == 2:
            recorder = _ailab_footprint.start(*recorded, mode == "marker", patches)
            probe.recorder = recorder
        _watch_imports(probe, patches)
        _watch_marks(probe)
        _watch_exec(probe)

        def before_fork():
            probe.pid = _getpid()

        def forked():
            probe.begin()
            probe.send("B", monotonic_ns(), probe.pid)  # the parent may be gone already

        os.register_at_fork(before=before_fork, after_in_child=forked)
        probe.send("H", monotonic_ns(), os.getppid(), process_time_ns(), sys.version.split()[0])
    # The environment may have a sitecustomize of its own: it runs as if ours were not there.
    ours = sys.modules.pop("sitecustomize", None)
    try:
        import sitecustomize  # noqa: F401
    except ImportError as error:
        if error.name != "sitecustomize":
            raise
    finally:
        if ours is not None:
            sys.modules.setdefault("sitecustomize", ours)
        if recorder is not None:
            recorder.install()


_start()
