"""Files of /proc and /sys below a root folder, so that a made-up machine can be looked at too.

Reads only. What cannot be read is empty: a container may hide any of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Mount:
    """A line of /proc/PID/mountinfo. `inside` is what part of the file system is mounted."""

    point: str
    inside: str
    kind: str
    options: str


@dataclass(frozen=True)
class Kernel:
    """What the kernel tells below `root`; paths are absolute, as on the machine itself."""

    root: Path = Path("/")

    def path(self, absolute: str) -> Path:
        return self.root / absolute.lstrip("/")

    def text(self, absolute: str) -> str:
        """Without blanks at its ends; empty where it cannot be read."""
        try:
            return self.path(absolute).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return ""

    def number(self, absolute: str) -> int | None:
        text = self.text(absolute)
        return int(text) if text.lstrip("-").isdecimal() else None

    def value(self, absolute: str, key: str) -> str:
        """What follows `key` in a file of `key value` or `key: value` lines; else empty."""
        for line in self.text(absolute).splitlines():
            name, _, rest = line.partition(":" if ":" in line else " ")
            if name.strip() == key:
                return rest.strip()
        return ""

    def count(self, absolute: str, key: str) -> int | None:
        """The first word of `value` as a whole number."""
        first = (self.value(absolute, key).split() or [""])[0]
        return int(first) if first.isdecimal() else None

    def mounts(self) -> Iterator[Mount]:
        """In the order of mounting: a later one at the same place hides an earlier one."""
        for line in self.text("/proc/self/mountinfo").splitlines():
            before, _, after = line.partition(" - ")
            left, right = before.split(), after.split()
            if len(left) > 5 and len(right) > 2:
                yield Mount(_plain(left[4]), _plain(left[3]), right[0], right[2])

    def mount_of(self, path: str) -> Mount | None:
        """The mount that holds `path`."""
        found: Mount | None = None
        for mount in self.mounts():
            holds = path == mount.point or path.startswith(mount.point.rstrip("/") + "/")
            if holds and (found is None or len(mount.point) >= len(found.point)):
                found = mount
        return found

    def groups(self, controller: str) -> Iterator[str]:
        """Folders of our control group for `controller` and of all above it, of both versions."""
        for line in self.text("/proc/self/cgroup").splitlines():
            number, _, rest = line.partition(":")
            controllers, _, own = rest.partition(":")
            if number != "0" and controller not in controllers.split(","):
                continue
            for mount in self.mounts():
                unified = number == "0" and mount.kind == "cgroup2"
                if not unified and not (
                    number != "0"
                    and mount.kind == "cgroup"
                    and controller in mount.options.split(",")
                ):
                    continue
                inside = own.removeprefix(mount.inside.rstrip("/")).strip("/")
                parts = [part for part in inside.split("/") if part not in {"", ".."}]
                for end in range(len(parts), -1, -1):
                    yield "/".join([mount.point.rstrip("/"), *parts[:end]])


def _plain(text: str) -> str:
    """Blanks and their like are octal escapes in mountinfo."""
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)
