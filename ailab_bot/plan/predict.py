"""How probably a change moves a scenario by a relevant effect: by hand-set weights, or learned.

Proofs have probability 0. Refuses to use a model that was trained on other features than today's:
then the weights set by hand speak, and `basis_of` says so. No scipy here: plans are made often.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ailab_bot.model.learned import Learned
from ailab_bot.plan.features import INDEX, NAMES, VERSION, Features

Array = NDArray[np.float64]

#: Log odds of what touches a scenario by nothing that counts: 0.3 %.
INTERCEPT = -5.8
#: What each feature adds. Where calls that come or go can be counted, these tell most: a thousandth
#: of all calls 5 %, a hundredth 13 %, a tenth 30 %; without any 0.5 %. Where they cannot, the share
#: of time does: none seen 0.5 %, 1 % of the time 4 %, 10 % 14 %, half of it 50 %: a function that
#: takes a tenth has to get slower by a fifth to be relevant at 2 %. What else can be read off the
#: text is worth what it usually costs beside a start-up of seconds: sleeps, networks, subprocesses
#: and heavy imports a lot, a log line no. A stale footprint that nothing touches is no proof, and
#: nearly as good as one.
#: Definitions, builds and dependencies cost time in one of ten changes, configurations in one of
#: twenty. History speaks softly: an effect is no reason that the next change has one. An order of
#: size from what is known of start-ups; bench/selection.py and bench/selection_real.py show how far
#: it carries.
WEIGHTS: Mapping[str, float] = MappingProxyType(
    {
        "unknown": 2.8,
        "near": 1.0,
        "code": 0.5,
        "content": 1.8,
        "appears": 1.0,
        "vanishes": 1.5,
        "dependency": 3.2,
        "build": 3.6,
        "scenario": 4.0,
        "config_file": 1.0,
        "data_file": 1.5,
        "share": 3.0,
        "log_share": 1.0,
        "counted_share": 0.1,
        "expected": 1.0,
        "module_body": 0.2,
        "log_functions": 0.1,
        "pair_history": 0.3,
        "path_history": 0.1,
        "scenario_history": 0.2,
        "lately": 0.2,
        "new_import": 0.3,
        "new_heavy_import": 2.0,
        "new_unloaded": 1.5,
        "new_sleep": 3.0,
        "new_logging": 0.1,
        "new_network": 3.0,
        "new_subprocess": 3.0,
        "new_files": 0.4,
        "new_loop": 0.4,
        "new_uncached": 1.2,
        "new_cached": 0.8,
        "new_device": 2.0,
        "new_workers": 2.5,
        "signature": 1.5,
    }
)
#: Nothing is certain that is not proved.
LEAST, MOST = 1e-4, 0.99
#: Digits of a probability: two machines must find the same plan.
_DIGITS = 6

_BY_HAND = np.array([WEIGHTS.get(name, 0.0) for name in NAMES])


def predict(rows: Sequence[Features], model: Learned | None = None) -> tuple[float, ...]:
    """The probability of each row; see `features.rows_of`."""
    if not rows:
        return ()
    values = np.asarray(rows, dtype=np.float64)
    log_odds = log_odds_by_hand(values)
    if model is not None and not why_unusable(model):
        log_odds = corrected(log_odds, values, model)
    chance = np.clip(0.5 * (1.0 + np.tanh(0.5 * log_odds)), LEAST, MOST)
    chance[values[:, INDEX["proved"]] > 0] = 0.0
    return tuple(float(each) for each in np.round(chance, _DIGITS))


def log_odds_by_hand(values: Array) -> Array:
    """Of features, (rows, len(NAMES))."""
    return np.asarray(INTERCEPT + values @ _BY_HAND, dtype=np.float64)


def corrected(log_odds: Array, values: Array, model: Learned) -> Array:
    """What the model makes of the log odds set by hand."""
    terms = terms_of(values, model.terms)
    scaled = (terms - np.array(model.means)) / np.array(model.scales)
    learned = log_odds + model.intercept + scaled @ np.array(model.weights)
    return np.asarray(model.slope * learned + model.shift, dtype=np.float64)


def terms_of(values: Array, terms: Sequence[str]) -> Array:
    """A column for each term; KeyError or ValueError where one names no feature."""
    found = np.empty((len(values), len(terms)))
    for place, term in enumerate(terms):
        name, above, limit = term.partition(">")
        if above:
            found[:, place] = np.maximum(values[:, INDEX[name]] - float(limit), 0.0)
            continue
        one, times, two = term.partition("*")
        column = values[:, INDEX[one]]
        found[:, place] = column * values[:, INDEX[two]] if times else column
    return found


def why_unusable(model: Learned) -> str:
    """Empty where the model was trained on today's features."""
    if model.version != VERSION or model.features != NAMES:
        return (
            f"the model was trained on features of version {model.version}, these are of "
            f"version {VERSION}"
        )
    try:
        terms_of(np.zeros((1, len(NAMES))), model.terms)
    except (KeyError, ValueError):
        return "the model uses a feature that is not known here"
    return ""


def basis_of(model: Learned | None) -> str:
    """What the probabilities rest on: one sentence for people."""
    if model is None:
        return "Probabilities are by weights set by hand: nothing was learned yet."
    if why := why_unusable(model):
        return f"Probabilities are by weights set by hand: {why}; `ailab train` makes a new one."
    return (
        f"Probabilities were learned from {model.labels} measured pairs of a change and a "
        f"scenario up to {model.until}, {model.moved} of them with a relevant effect."
    )
