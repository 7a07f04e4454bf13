"""The ways in which a run can be wrong, told apart by who has to act. Decides nothing."""

from __future__ import annotations


class WorkflowError(Exception):
    """A workflow or an action that GitHub would refuse, or would run with a warning at best."""


class ExpressionError(WorkflowError):
    """GitHub's evaluator refuses an expression; on GitHub the step or job with it fails."""


class UnsupportedError(Exception):
    """This runner does not do it, and would rather stop than pretend. Teach the runner first."""


class RefusedError(Exception):
    """An action fails its step, in the words of the real one: part of the play, no test's error."""
