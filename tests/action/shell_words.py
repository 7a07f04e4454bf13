"""Which variables a bash script uses outside double quotes, where their text would be split.

Knows quotes, comments and command substitutions; refuses to be more of a shell than that. An
assignment such as `a=$B` counts as unquoted too: quoting it costs nothing.
"""

from __future__ import annotations

import re

_VARIABLE = re.compile(r"\$(?:\{[#!]?([A-Za-z_]\w*)[^}]*\}|([A-Za-z_]\w*))")


def unquoted_variables(script: str) -> set[str]:
    """Names of the variables that stand outside quotes at least once."""
    found = set()
    # Where we are: a script, a text in double quotes; a substitution in quotes is a script again.
    within = ["script"]
    at = 0
    while at < len(script):
        rest = script[at:]
        match = _VARIABLE.match(rest)
        if rest[0] == "\\":
            at += 2
        elif rest[0] == '"':
            if within[-1] == "quotes":
                within.pop()
            else:
                within.append("quotes")
            at += 1
        elif rest[0] == "'" and within[-1] == "script":
            end = script.find("'", at + 1)
            at = len(script) if end < 0 else end + 1
        elif rest[0] == "#" and within[-1] == "script" and (at == 0 or script[at - 1].isspace()):
            end = script.find("\n", at)
            at = len(script) if end < 0 else end
        elif rest.startswith("$("):
            within.append("script")
            at += 2
        elif rest[0] == ")" and within[-1] == "script" and len(within) > 1:
            within.pop()
            at += 1
        elif match:
            if within[-1] == "script":
                found.add(match[1] or match[2])
            at += match.end()
        else:
            at += 1
    return found
