"""The probe's recorder: what this process touches and runs up to the first batch.

Loaded only where a footprint is asked for, in a trial that nobody times. What is touched is written
at once, as the process may be killed at any moment; what ran is counted by the interpreter's own
profiler and written at the first batch, at the end, and when the supervisor asks for it, before it
ends the trial. Imports nothing that could hide a module of the program's. Speaks Python 3.8 and
later.

Two files per process, lines of a letter and fields, with tabs between them and `\\` before what
would be one: what was touched, and what ran, which is replaced whole.
`measure/footprint_processes.py` reads them and lists the letters.
"""

import os
import sys
from _thread import get_ident, start_new_thread
from time import perf_counter_ns, sleep

import _ailab_wraps

try:
    from _lsprof import Profiler
except ImportError:  # another implementation of Python
    Profiler = None

_write, _open, _close, _getpid, _getcwd = os.write, os.open, os.close, os.getpid, os.getcwd
_stat, _rename, _getppid, _getframe = os.stat, os.rename, os.getppid, sys._getframe
_listdir, _readlink = os.listdir, os.readlink
_STARTS = {"subprocess.Popen", "os.system", "os.exec", "os.spawn", "os.posix_spawn"}
_HEARD = _STARTS | {
    "open", "os.listdir", "os.scandir", "os.chdir", "sys.setprofile",
}  # fmt: skip
_IMPORTLIB = ("<frozen importlib", "<frozen zipimport")
_OURS = _IMPORTLIB + (os.path.dirname(os.path.abspath(__file__)) + os.sep,)
_MAPS = "/proc/self/maps"
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
_ANEW = os.O_WRONLY | os.O_TRUNC | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
_INTERVAL_S = 0.02  # between two looks whether the supervisor asks for what ran
_MOST_READ = 50_000  # files whose sizes are summed
_MOST_SAID = 2_000  # outputs before each of which what ran is written
_MOST_FOLDERS = 50  # that the program changes into
_MOST_WORDS = 200  # of a started program's arguments that are looked at
_DYING_S = 2.0  # so long a process that is about to be killed may take to tell what it ran


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


def _join(folder, path):
    """As os.path.join, whose calls would be counted as the program's."""
    path = path if isinstance(path, str) else os.fsdecode(path)
    if path[:1] == "/":
        return path
    folder = folder if isinstance(folder, str) else os.fsdecode(folder)
    return folder + "/" + path


def _is_there(path):
    try:
        _stat(path)
    except OSError:
        return False
    return True


def _words(arguments):
    """Of a program's arguments, however they are given: what may be paths."""
    texts = []
    for each in arguments[:2]:
        for text in each if isinstance(each, (list, tuple)) else [each]:
            try:
                texts.append(os.fsdecode(text))
            except TypeError:
                continue
    for mark in "\n\t;|&<>()'\"=,:`":
        texts = [part for text in texts for part in text.split(mark)]
    return [word for text in texts for word in text.split(" ") if word and len(word) < 4096]


def _libraries():
    """Of the native libraries in use: the folder that they were installed into, or the name."""
    names = set()
    try:
        with open(_MAPS, "rb") as file:
            lines = file.read().splitlines()
    except (OSError, ValueError):
        return []
    for line in lines:
        path = os.fsdecode(line[line.find(b"/") :]) if b"/" in line and b".so" in line else ""
        for folder in ("/site-packages/", "/dist-packages/"):
            if folder in path:
                names.add(path.rpartition(folder)[2].split("/")[0].split(".")[0])
                break
        else:
            if path.startswith((sys.prefix, sys.base_prefix)):
                names.add(os.path.basename(path))
    return sorted(names - {""})


class Recorder:
    """Of one process. `folder` is where its files go, `checkout` the repository, without `/`.

    `marker`: a line of output is the first batch, so what ran is written before each `print`.
    """

    def __init__(self, folder, checkout, marker):
        self.folder, self.marker, self.most_said = folder, marker, _MOST_SAID
        # What a program asks for has the name that it was started with, or the folder's own.
        self.roots = {root.rstrip("/") + "/" for root in (checkout, os.path.realpath(checkout))}
        self.cwds = [_getcwd()]  # names of code may be relative to any that was
        self.profilers = []  # (thread, profiler)
        self.begin()
        # Another module of such a name would have been found when the interpreter started.
        names = [name for name in list(sys.modules) if not name.startswith("_ailab")]
        self.put(self.path, _APPEND, b"".join(_line("m", name) for name in names))

    def begin(self):
        """Start anew; also in a forked child, which is a process of its own."""
        self.done = False
        self.setting = False
        self.seen = set()
        self.read = set()
        self.search = None
        self.give_way()  # what a fork inherits counts for the parent
        self.profilers = []
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

    def inside(self, path, base=None):
        """The path below the repository, "" for its root; None elsewhere. `base`: the folder, or
        its descriptor, that it is relative to, if not the current one."""
        try:
            if isinstance(path, int):
                path = _readlink("/proc/self/fd/%d" % path)
            if isinstance(base, int):
                base = _readlink("/proc/self/fd/%d" % base)
            whole = os.path.normpath(_join(_getcwd() if base is None else base, path)) + "/"
        except (TypeError, ValueError, OSError):
            return None
        for root in self.roots:
            if whole.startswith(root):
                return whole[len(root) : -1]
        return None

    def opened(self, caller, path, flags):
        if isinstance(path, int) or path is _MAPS:
            return
        importing = self.is_importing(caller)
        inside = self.inside(path)
        flags = flags if isinstance(flags, int) else 0
        writes = flags & (os.O_WRONLY | os.O_RDWR)
        if not (writes or importing) and len(self.read) < _MOST_READ:
            self.read.add(path)
        if inside is None:
            return
        try:
            _stat(path)
        except (OSError, ValueError, TypeError):
            if not importing:  # what import may find is told by the names that it looks for
                self.once("X", inside)
            return
        if importing and not self.is_data(caller):
            self.row("O", inside, "i")  # each time: what others opened is what is left
            return
        if self.is_shown(caller):
            self.row("O", inside, "t")
            return
        # What was there matters to who reads it, and to who writes behind it.
        replaces = flags & os.O_TRUNC or (writes == os.O_WRONLY and not flags & os.O_APPEND)
        self.once("O", inside, "w" if writes and replaces else "r")

    def is_importing(self, frame):
        """Where no Python code asks, the interpreter reads the program that it was given."""
        return frame is None or frame.f_code.co_filename.startswith(_IMPORTLIB)

    def is_data(self, frame):
        """Whether the program asks import's loader for the text of a file, to read it."""
        while frame is not None and frame.f_code.co_filename.startswith(_IMPORTLIB):
            if frame.f_code.co_name.lstrip("_") not in ("get_data", "get_source"):
                return False
            frame = frame.f_back
        return frame is not None

    def is_shown(self, frame):
        """Whether lines of code are read to show them with a warning or a stack, as torch does
        where it is imported: they are text then, which nothing depends on."""
        modules = map(sys.modules.get, ("tokenize", "linecache"))
        files = [getattr(module, "__file__", None) for module in modules]
        while frame is not None and frame.f_code.co_filename in files:
            frame = frame.f_back
        name = frame.f_globals.get("__name__") if frame is not None else ""
        if name not in ("traceback", "warnings"):
            return False
        return frame.f_code.co_filename == getattr(sys.modules.get(name), "__file__", None)

    def looked(self, path, base, found):
        inside = self.inside(path, base)
        if inside is not None:
            self.once("Y" if found else "X", inside)

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
            inside = self.inside("." if arguments[0] is None else arguments[0])
            if inside is not None and self.is_importing(caller):
                self.row("I", inside)
            elif inside is not None:
                self.once("L", inside)
        elif event == "os.chdir":
            self.moves(arguments[0])
        elif event in _STARTS:
            file = "" if caller is None else caller.f_code.co_filename
            if event != "os.posix_spawn" or not file.endswith("subprocess.py"):
                self.row("S", event)
                self.started(arguments, arguments[2] if event == "subprocess.Popen" else None)
        elif event == "sys.setprofile" and not (self.setting or self.is_threads(caller)):
            self.once("U", "the program sets a profile function of its own")

    def moves(self, path):
        if isinstance(path, int):
            path = _readlink("/proc/self/fd/%d" % path)
        cwd = _join(_getcwd(), path)
        if cwd not in self.cwds and len(self.cwds) < _MOST_FOLDERS:
            self.cwds.append(cwd)

    def started(self, arguments, cwd):
        """A program without Python does not tell what it looks for: what it was told, it may."""
        base = self.inside("." if cwd is None else cwd)
        if base is not None:
            self.once("C", base)
        for word in _words(arguments)[:_MOST_WORDS]:
            inside = self.inside(word, cwd)
            if inside:
                try:
                    _stat(_join(_getcwd() if cwd is None else cwd, word))
                except (OSError, ValueError):
                    if "/" in word or "." in word:
                        self.once("X", inside)
                else:
                    self.once("Y", inside)

    def killed(self, pid):
        """A process that this one is about to end: let it tell what it ran."""
        if pid == _getpid():
            self.flush("k")
            return
        mine = "%d-" % pid
        give_up = perf_counter_ns() + int(_DYING_S * 1e9)
        asked = False
        while perf_counter_ns() < give_up and _is_there("/proc/%d/exe" % pid):
            names = [name for name in _listdir(self.folder) if name.startswith(mine)]
            if not names or any(name[-2:] in (".e", ".k", ".s") for name in names):
                return
            if not asked:
                self.put(os.path.join(self.folder, "tell.%d" % pid), _ANEW, b"")
                asked = True
            sleep(_INTERVAL_S / 4)

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
            self.places[file] = None if odd or file.startswith(_OURS) else self.first_place(file)
        return self.places[file]

    def first_place(self, file):
        for cwd in self.cwds:
            try:
                _stat(_join(cwd, file))
            except (OSError, ValueError):
                continue
            return self.inside(file, cwd)
        return self.inside(file, self.cwds[0])

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

    def give_way(self):
        """Stop counting on this thread (from Python 3.12 on: on all)."""
        self.setting = True
        try:
            for _, profiler in self.profilers:
                profiler.disable()
        finally:
            self.setting = False

    def profile_thread(self, *_):
        """What `threading` calls first in each thread of its own."""
        if not self.done:
            self.profile()

    def is_threads(self, frame):
        """Whether `threading` sets ours for a thread that begins."""
        threading = sys.modules.get("threading")
        file = frame.f_code.co_filename if frame is not None else ""
        hook = getattr(threading, "_profile_hook", None)
        return hook == self.profile_thread and file == getattr(threading, "__file__", None)

    def watch(self):
        """In a thread of its own: wait until the supervisor asks, then tell, once. Before that
        another process may ask, which is about to end this one."""
        mine, asked = self.path, os.path.join(self.folder, "tell")
        dying = "%s.%d" % (asked, _getpid())
        while not self.done and self.path == mine:
            sleep(_INTERVAL_S)
            if dying and _is_there(dying):
                dying = ""
                self.flush("k")
            if _is_there(asked):
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
        takes the process over, s where the supervisor asks, k where another process will kill."""
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
        if mark != "p":
            lines += [_line("T", name) for name in _libraries()]
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


def start(folder, checkout, marker, patches):
    """Record this process from here on. `patches` are what to do when a module is imported."""
    # It is below all that is imported: who shows a stack must not read this file for it.
    _ailab_wraps.hide(Recorder.load)
    recorder = Recorder(folder, checkout, marker)
    _ailab_wraps.wrap(recorder, patches)
    import atexit  # built in: there is no file of the program's that it could hide

    atexit.register(recorder.finish)
    sys.addaudithook(recorder.audit)
    return recorder
