"""The probe's recorder: what this process touches and runs up to the first batch.

Loaded only where a footprint is asked for, in a trial that nobody times. What is touched is written
at once, as the process may be killed at any moment; what ran is counted by the interpreter's own
profiler and written at the first batch, at the end, and when the supervisor asks for it, before it
ends the trial. Imports nothing that could hide a module of the program's. Speaks Python 3.8 and
later.

Two files per process, lines of a letter and fields, with tabs between them and `\\` before what
would be one: what was touched, and what ran, which is replaced whole. `measure/footprint.py` reads
them and lists the letters.
"""

import builtins
import os
import sys
from _thread import get_ident, start_new_thread
from time import perf_counter_ns, sleep

try:
    from _lsprof import Profiler
except ImportError:  # another implementation of Python
    Profiler = None

_write, _open, _close, _getpid, _getcwd = os.write, os.open, os.close, os.getpid, os.getcwd
_stat, _rename, _getppid, _getframe = os.stat, os.rename, os.getppid, sys._getframe
_HEARD = {
    "open", "os.listdir", "os.scandir", "subprocess.Popen", "os.system", "os.exec", "os.spawn",
    "os.posix_spawn", "sys.setprofile",
}  # fmt: skip
_IMPORTLIB = ("<frozen importlib", "<frozen zipimport")
_OURS = _IMPORTLIB + (os.path.dirname(os.path.abspath(__file__)) + os.sep,)
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
_ANEW = os.O_WRONLY | os.O_TRUNC | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
_INTERVAL_S = 0.02  # between two looks whether the supervisor asks for what ran
_MOST_READ = 50_000  # files whose sizes are summed
_MOST_SAID = 2_000  # outputs before each of which what ran is written


def _caller():
    """Of the function that was audited; None where no Python code called it."""
    try:
        return _getframe(2)
    except ValueError:
        return None


def _escape(text):
    data = text if isinstance(text, bytes) else str(text).encode("utf-8", "surrogateescape")
    return data.replace(b"\\", b"\\\\").replace(b"\t", b"\\t").replace(b"\n", b"\\n")


def _line(letter, *fields):
    return b"\t".join([letter.encode()] + [_escape(field) for field in fields]) + b"\n"


def _size(path):
    try:
        found = _stat(path)
    except (OSError, ValueError, TypeError):
        return 0
    return found.st_size if found.st_mode & 0o170000 == 0o100000 else 0


class Recorder:
    """Of one process. `folder` is where its files go, `checkout` the repository, without `/`.

    `marker`: a line of output is the first batch, so what ran is written before each `print`.
    """

    def __init__(self, folder, checkout, marker):
        self.folder, self.marker = folder, marker
        self.root = checkout + os.sep
        self.begin()

    def begin(self):
        """Start anew; also in a forked child, which is a process of its own."""
        self.done = False
        self.setting = False
        self.seen = set()
        self.read = set()
        self.search = None
        self.profilers = []  # (thread, profiler)
        self.loading = [""]  # modules whose import goes on; "" is the program itself
        self.nested = {}  # nanoseconds of imports inside the import of a module, by module
        self.places = {}  # by file name of a code object: where it lies in the repository
        self.said = 0
        self.main = get_ident()
        self.path = os.path.join(self.folder, "%d-%d" % (_getpid(), perf_counter_ns()))
        self.row("H", _getpid(), _getppid(), "%d.%d.%d" % sys.version_info[:3])
        self.started_ns = perf_counter_ns()

    def row(self, letter, *fields):
        """Opened each time: programs that close or count descriptors never meet ours."""
        self.put(self.path, _APPEND, _line(letter, *fields))

    def put(self, path, flags, data):
        try:
            file = _open(path, flags, 0o600)
        except OSError:
            return
        try:
            while data:
                data = data[_write(file, data) :]
        except OSError:
            pass
        finally:
            _close(file)

    def once(self, letter, *fields):
        key = (letter,) + fields
        if key not in self.seen:
            self.seen.add(key)
            self.row(letter, *fields)

    # --- paths ----------------------------------------------------------------------------------

    def inside(self, path):
        """The path below the repository, "" for its root; None elsewhere."""
        if isinstance(path, int):
            return None
        try:
            path = os.fsdecode(path)
            whole = os.path.normpath(path if path[:1] == "/" else os.path.join(_getcwd(), path))
        except (TypeError, ValueError, OSError):
            return None
        if whole.startswith(self.root):
            return whole[len(self.root) :]
        return "" if whole + os.sep == self.root else None

    def opened(self, caller, path, flags):
        importing = self.is_importing(caller)
        inside = self.inside(path)
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
        if not (writes or importing or isinstance(path, int)) and len(self.read) < _MOST_READ:
            self.read.add(path)
        if inside is None:
            return
        try:
            _stat(path)
        except (OSError, ValueError, TypeError):
            if not importing:  # what import may find is told by the names that it looks for
                self.once("X", inside)
            return
        self.once("O", inside, "i" if importing else "w" if writes else "r")

    def is_importing(self, frame):
        """Where no Python code asks, the interpreter reads the program that it was given."""
        return frame is None or frame.f_code.co_filename.startswith(_IMPORTLIB)

    def missed(self, path):
        inside = self.inside(path)
        if inside is not None:
            self.once("X", inside)

    def saw(self, path):
        inside = self.inside(path)
        if inside is not None:
            self.once("Y", inside)

    # --- events ---------------------------------------------------------------------------------

    def audit(self, event, arguments):
        if not self.done:
            try:
                if event in _HEARD:
                    self.note(event, arguments, _caller())
            except Exception:  # an error here would end what the program does
                self.once("U", "the recorder failed at " + event)

    def note(self, event, arguments, caller):
        if event == "open":
            self.opened(caller, arguments[0], arguments[2])
        elif event in ("os.listdir", "os.scandir"):
            if not self.is_importing(caller):
                path = "." if arguments[0] is None else arguments[0]
                inside = self.inside(path)
                if inside is not None:
                    self.once("L", inside)
        elif event in ("subprocess.Popen", "os.system", "os.exec", "os.spawn"):
            self.row("S", event)
        elif event == "os.posix_spawn":
            if caller is None or not caller.f_code.co_filename.endswith("subprocess.py"):
                self.row("S", event)
        elif event == "sys.setprofile" and not (self.setting or self.is_threads(caller)):
            self.once("U", "the program sets a profile function of its own")

    # --- imports --------------------------------------------------------------------------------

    def load(self, original, name, import_):
        """Import a module that is asked for by its full name, found or not."""
        self.once("M", name)
        path = sys.path
        if path != self.search:
            self.search = list(path)
            for entry in self.search:
                inside = self.inside(entry or ".") if isinstance(entry, (str, bytes)) else None
                if inside is not None:
                    self.once("P", inside)
        if get_ident() != self.main:
            return original(name, import_)
        self.loading.append(name)
        start = perf_counter_ns()
        try:
            return original(name, import_)
        finally:
            self.loading.pop()
            if self.place_of_module(name) is not None:  # a library's time is its importer's
                spent = self.nested.get(self.loading[-1], 0) + perf_counter_ns() - start
                self.nested[self.loading[-1]] = spent

    def place_of_module(self, name):
        file = getattr(sys.modules.get(name or "__main__"), "__file__", None)
        return self.place(file) if isinstance(file, str) else None

    # --- functions ------------------------------------------------------------------------------

    def place(self, file):
        """Where a code object's file lies in the repository; None elsewhere."""
        if file not in self.places:
            odd = file[:1] == "<" and file[-1:] == ">"
            self.places[file] = None if odd or file.startswith(_OURS) else self.inside(file)
        return self.places[file]

    def profile(self):
        """Count what this thread runs from here on (from Python 3.12 on: all threads)."""
        if Profiler is None:
            self.once("U", "this Python does not tell which functions run")
            return
        profiler = Profiler(subcalls=True, builtins=True)
        self.profilers.append((get_ident(), profiler))
        self.setting = True
        try:
            profiler.enable()
        except ValueError:
            self.once("U", "another profiler is at work")
        finally:
            self.setting = False

    def profile_thread(self, *_):
        """What `threading` calls first in each thread of its own."""
        if not self.done and get_ident() not in [thread for thread, _ in self.profilers]:
            self.profile()

    def is_threads(self, frame):
        """Whether `threading` sets ours for a thread that begins."""
        threading = sys.modules.get("threading")
        file = frame.f_code.co_filename if frame is not None else ""
        hook = getattr(threading, "_profile_hook", None)
        return hook == self.profile_thread and file == getattr(threading, "__file__", None)

    def watch(self):
        """In a thread of its own: wait until the supervisor asks, then tell, once."""
        mine, asked = self.path, os.path.join(self.folder, "tell")
        while not self.done and self.path == mine:
            sleep(_INTERVAL_S)
            try:
                _stat(asked)
            except OSError:
                continue
            self.flush("s")
            return

    def install(self):
        self.profile()
        try:
            start_new_thread(self.watch, ())
        except RuntimeError:
            self.once("U", "the recorder got no thread")

    # --- what ran -------------------------------------------------------------------------------

    def flush(self, mark):
        """Write what ran so far. `mark`: e at the end, p before a print, x before another program
        takes the process over, s where the supervisor asks."""
        if self.done:
            return
        self.done = mark == "e"
        total_ns = max(perf_counter_ns() - self.started_ns, 1)
        lines, calls, builtin_calls, sleeps = self.active(), 0, 0, 0
        for thread, profiler in list(self.profilers):
            in_main = thread == self.main
            for entry in profiler.getstats():
                code, count = entry.code, entry.callcount
                if isinstance(code, str):
                    builtin_calls += count * in_main
                    sleeps += count * (in_main and "time.sleep" in code)
                elif code.co_filename.startswith(_OURS):
                    inner = entry.calls or ()
                    own = sum(sub.callcount for sub in inner if isinstance(sub.code, str))
                    builtin_calls -= own * in_main
                else:
                    calls += count * in_main
                    place = self.place(code.co_filename)
                    if place is not None:
                        lines.append(self.function(place, entry, in_main))
        size = sum(map(_size, list(self.read)))
        totals = (calls, builtin_calls, len(self.read), size, total_ns)
        lines.append(_line("N", *totals, mark, sleeps))
        partial = "%s.part%d" % (self.path, get_ident())
        self.put(partial, _ANEW, b"".join(lines))
        try:
            _rename(partial, self.path + "." + mark)
        except OSError:
            pass

    def active(self):
        """Lines of the functions that are not over yet, which the profiler does not tell."""
        lines = []
        for innermost in list(sys._current_frames().values()):
            frame = innermost
            while frame is not None:
                code = frame.f_code
                place = self.place(code.co_filename)
                if place is not None:
                    name = getattr(code, "co_qualname", code.co_name)
                    lines.append(_line("A", place, name, code.co_firstlineno))
                frame = frame.f_back
        return lines

    def function(self, place, entry, in_main):
        """A line: its calls, and the time in it and in the libraries that it called."""
        code = entry.code
        name = getattr(code, "co_qualname", code.co_name)
        spent, builtin_calls = entry.totaltime, 0
        for sub in entry.calls or ():
            if isinstance(sub.code, str):
                builtin_calls += sub.callcount
            elif self.place(sub.code.co_filename) is not None:
                spent -= sub.totaltime
        if name == "<module>":
            for module, nested in list(self.nested.items()):
                if self.place_of_module(module) == place:
                    spent -= nested / 1e9
        calls = (entry.callcount, 0) if in_main else (0, entry.callcount)
        nanoseconds = int(max(spent, 0.0) * 1e9) if in_main else 0
        numbers = (code.co_firstlineno, *calls, nanoseconds, builtin_calls)
        return _line("F", place, name, *numbers)

    def finish(self):
        """At the first batch, or the end of the process: nothing later belongs to the footprint."""
        if self.done:
            return
        stats = getattr(sys.modules.get("torch._dynamo.utils"), "counters", {}).get("stats")
        if stats and stats.get("unique_graphs"):
            self.once("U", "functions that torch.compile has compiled leave no trace")
        self.flush("e")
        self.setting = True
        for thread, profiler in self.profilers:
            if thread == get_ident():
                profiler.disable()


class _Looking:
    """In place of a function that looks at a path: an object, as a function would turn into a
    method where a class keeps it."""

    def __init__(self, recorder, original, answers):
        self.recorder, self.original, self.answers = recorder, original, answers
        for name in ("__name__", "__qualname__", "__doc__", "__module__"):
            setattr(self, name, getattr(original, name, None))

    def __call__(self, path, *args, **kwargs):
        try:
            found = self.original(path, *args, **kwargs)
        except (FileNotFoundError, NotADirectoryError):
            if not self.recorder.done:
                self.recorder.missed(path)
            raise
        if not self.recorder.done:
            if self.answers and not found:
                self.recorder.missed(path)
            else:
                self.recorder.saw(path)
        return found


def _watch_specs(recorder):
    """Modules may be looked for and not loaded: `importlib.util.find_spec`."""
    bootstrap = sys.modules["_frozen_importlib"]
    original = bootstrap._find_spec

    def _find_spec(name, path, target=None):
        if not recorder.done:
            recorder.once("M", name)
        return original(name, path, target)

    bootstrap._find_spec = _find_spec


def _watch_variables(recorder):
    owner = type(os.environ)

    def wrap(name):
        original = getattr(owner, name)

        def asked(self, key):
            if not recorder.done and self is os.environ and isinstance(key, str):
                recorder.once("V", key)
            return original(self, key)

        setattr(owner, name, asked)

    wrap("__getitem__")
    if "__contains__" in vars(owner):
        wrap("__contains__")


def _watch_prints(recorder):
    original = builtins.print

    def say(*args, **kwargs):
        if recorder.said < _MOST_SAID:
            recorder.said += 1
            recorder.flush("p")
        return original(*args, **kwargs)

    builtins.print = say


def start(folder, checkout, marker, patches):
    """Record this process from here on. `patches` are what to do when a module is imported."""
    recorder = Recorder(folder, checkout, marker)
    for name, answers in (("stat", False), ("lstat", False), ("access", True)):
        setattr(os, name, _Looking(recorder, getattr(os, name), answers))
    _watch_variables(recorder)
    _watch_specs(recorder)
    ended = os._exit

    def leave(status):
        recorder.finish()
        ended(status)

    os._exit = leave

    def forked():
        recorder.begin()
        recorder.row("B")
        recorder.install()

    os.register_at_fork(after_in_child=forked)

    def in_threads(_, module):
        module.setprofile(recorder.profile_thread)

    if sys.version_info < (3, 12):  # later ones count all threads
        if "threading" in sys.modules:
            in_threads(None, sys.modules["threading"])
        else:
            patches["threading"] = in_threads
    if marker:
        _watch_prints(recorder)
    import atexit  # built in: there is no file of the program's that it could hide

    atexit.register(recorder.finish)
    sys.addaudithook(recorder.audit)
    return recorder
