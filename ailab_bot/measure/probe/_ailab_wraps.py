"""What the recorder replaces in the program: functions that look for what no event tells.

Loaded only with the recorder. Each does what the original does, and then says what was asked.
"""

import _signal
import _thread
import builtins
import os
import sys

_FATAL = {getattr(_signal, "SIG" + name) for name in ("TERM", "KILL", "INT", "HUP", "QUIT", "ABRT")}


class _Looking:
    """In place of a function that looks at a path: an object, as a function would turn into a
    method where a class keeps it. Equal to the original, which the sets `os.supports_…` hold.

    `answers`: it says whether the path is there, and does not fail. `always`: otherwise only what
    is relative to a folder's descriptor is noted, which the events do not tell.
    """

    def __init__(self, recorder, original, answers=False, always=True):
        self.recorder, self.original = recorder, original
        self.answers, self.always = answers, always
        for name in ("__name__", "__qualname__", "__doc__", "__module__"):
            setattr(self, name, getattr(original, name, None))

    def __hash__(self):
        return hash(self.original)

    def __eq__(self, other):
        return other is self or other == self.original

    def __call__(self, path, *args, **kwargs):
        try:
            found = self.original(path, *args, **kwargs)
        except (FileNotFoundError, NotADirectoryError):
            self.note(path, kwargs, False)
            raise
        self.note(path, kwargs, bool(found) or not self.answers)
        return found

    def note(self, path, kwargs, found):
        base = kwargs.get("dir_fd")
        if not self.recorder.done and (self.always or base is not None):
            if not isinstance(path, int):
                self.recorder.looked(path, base, found)


def hide(function):
    """Tracebacks and warnings skip importlib's own frames."""
    name = sys.modules["_frozen_importlib"]._find_spec.__code__.co_filename
    function.__code__ = function.__code__.replace(co_filename=name)
    return function


def wrap(recorder, patches):
    for name in ("stat", "lstat"):
        setattr(os, name, _Looking(recorder, getattr(os, name)))
    os.access = _Looking(recorder, os.access, answers=True)
    os.open = _Looking(recorder, os.open, always=False)
    _variables(recorder)
    _specs(recorder)
    _ends(recorder)
    _forks(recorder, patches)
    _profilers(recorder, patches)
    if recorder.marker:
        _prints(recorder)


def _specs(recorder):
    """Modules may be looked for and not loaded: `importlib.util.find_spec`."""
    bootstrap = sys.modules["_frozen_importlib"]
    original = bootstrap._find_spec

    def _find_spec(name, path, target=None):
        if not recorder.done:
            recorder.once("M", name)
        return original(name, path, target)

    bootstrap._find_spec = hide(_find_spec)


def _variables(recorder):
    owner = type(os.environ)

    def wrap_one(name):
        original = getattr(owner, name)

        def asked(self, key):
            if not recorder.done and self is os.environ and isinstance(key, str):
                recorder.once("V", key)
            return original(self, key)

        setattr(owner, name, asked)

    wrap_one("__getitem__")
    if "__contains__" in vars(owner):
        wrap_one("__contains__")


def _prints(recorder):
    original = builtins.print

    def say(*args, **kwargs):
        if recorder.said < recorder.most_said:
            recorder.said += 1
            recorder.flush("p")
        return original(*args, **kwargs)

    builtins.print = say


def _ends(recorder):
    """Who ends this process, or another one, at once."""
    ended, kill = os._exit, os.kill

    def leave(status):
        recorder.finish()
        ended(status)

    def send(pid, number):
        if not recorder.done and number in _FATAL:
            recorder.killed(pid)
        return kill(pid, number)

    os._exit, os.kill = leave, send


def _forks(recorder, patches):
    def forked():
        recorder.begin()
        recorder.row("B")
        recorder.install()

    os.register_at_fork(after_in_child=forked)

    def started_by_multiprocessing(_, module):  # which no event tells
        original = module.spawnv_passfds

        def spawn(*args):
            recorder.row("W")
            return original(*args)

        module.spawnv_passfds = spawn

    patches["multiprocessing.util"] = started_by_multiprocessing


def _profilers(recorder, patches):
    start_thread = _thread.start_new_thread

    def start_new_thread(function, *rest):  # by whom does not ask `threading`
        def run(*args, **kwargs):
            recorder.profile_thread()
            return function(*args, **kwargs)

        return start_thread(hide(run), *rest)

    def in_threads(_, module):
        module.setprofile(recorder.profile_thread)
        module._start_new_thread = start_thread

    def give_way(_, module):
        original = module.Profile.enable

        def enable(self, *args, **kwargs):
            recorder.once("U", "the program profiles itself")
            recorder.give_way()
            return original(self, *args, **kwargs)

        module.Profile.enable = enable

    if sys.version_info >= (3, 12):  # one profiler counts all threads, and there is but one
        patches["cProfile"] = give_way
        return
    _thread.start_new_thread = _thread.start_new = start_new_thread
    if "threading" in sys.modules:
        in_threads(None, sys.modules["threading"])
    else:
        patches["threading"] = in_threads
