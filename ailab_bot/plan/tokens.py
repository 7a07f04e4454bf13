"""What a changed Python file newly does that may cost time before the first batch: imports, sleeps,
calls to the network, loops around calls; and how many calls each function makes. Read off the
syntax tree; nothing is run.

A hint for prediction and never a proof: it knows names, not what they mean. Sources are hostile:
what is too large or does not parse gives no tokens, and nothing is ever raised.
"""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from ailab_bot.plan.parsing import UNREADABLE, parse

#: Larger sources are not looked into: a tree takes about 100 times its source in memory.
LARGEST_BYTES = 512 << 10
#: Nodes that are looked at for one change: a megabyte of ordinary code has about 200,000.
MOST_NODES = 400_000
#: Links of `a.b().c()` that are looked at from the end: a file that is one chain takes no minutes.
_MOST_LINKS = 20
#: Characters of a qualified name; a class of a longer one would repeat it in thousands of methods.
_LONGEST_NAME = 500
MODULE = "<module>"


class Token(StrEnum):
    IMPORT = "import"
    HEAVY_IMPORT = "heavy_import"
    SLEEP = "sleep"
    LOGGING = "logging"
    NETWORK = "network"
    SUBPROCESS = "subprocess"
    FILES = "files"
    LOOP = "loop"
    UNCACHED = "uncached"
    CACHED = "cached"
    DEVICE = "device"
    WORKERS = "workers"
    NUMBER = "number"


#: By name that is called, how often a body calls it; a call in a loop counts `_LOOP` times.
Called: TypeAlias = Mapping[str, float]


@dataclass(frozen=True)
class Calls:
    """`moved`: by function of base, what one run of it calls more often at head, or, below 0, less
    often. `bodies`: what functions call that base does not have."""

    moved: Mapping[str, Called] = field(default_factory=dict)
    bodies: Mapping[str, Called] = field(default_factory=dict)


@dataclass(frozen=True)
class Tokens:
    """By qualified name what appears newly in that function (`<module>`: the file's own body).

    `appeared`: functions that base does not have; who calls them changed, too. `imports`:
    top-level names of modules that the file newly imports anywhere. `calls`: see `Calls`, None
    where nobody counted.
    """

    by_function: Mapping[str, frozenset[Token]] = field(default_factory=dict)
    appeared: frozenset[str] = frozenset()
    imports: frozenset[str] = frozenset()
    calls: Calls | None = None

    def within(self, functions: tuple[str, ...]) -> frozenset[Token]:
        """What these functions newly do, with the functions that are new. None named: all."""
        if not self.by_function:
            return frozenset()
        names = {*functions, *self.appeared} if functions else self.by_function.keys()
        found = (self.by_function.get(name, frozenset()) for name in names)
        return frozenset[Token]().union(*found)


NOTHING = Tokens()


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


#: Modules whose first import takes a tenth of a second or more on a usual machine.
HEAVY = _set(
    """torch torchvision torchaudio tensorflow keras jax flax transformers diffusers datasets
    accelerate lightning pytorch_lightning deepspeed pandas polars scipy sklearn matplotlib seaborn
    plotly bokeh cv2 skimage xgboost lightgbm numba cupy dask ray pyspark pyarrow spacy nltk gensim
    librosa sympy statsmodels networkx boto3 google azure wandb mlflow sentence_transformers
    onnxruntime gradio streamlit openai langchain peft triton bitsandbytes"""
)
_NETWORK = _set(
    """requests urllib urllib3 httpx aiohttp socket http ftplib smtplib paramiko boto3 botocore
    s3fs gcsfs fsspec huggingface_hub wandb mlflow grpc redis psycopg2 pymongo"""
)
_NETWORK_CALLS = _set("urlopen urlretrieve hf_hub_download snapshot_download")
_SUBPROCESS = frozenset({"subprocess", "multiprocessing"})
_SUBPROCESS_CALLS = _set("os.system os.popen os.fork os.execv os.spawnv Popen")
_FILES_CALLS = _set(
    """open glob iglob rglob walk scandir listdir iterdir read_csv read_parquet read_json
    read_excel read_text read_bytes load loadtxt genfromtxt load_dataset safe_load memmap stat
    exists is_file is_dir copytree rmtree"""
)
_LOGGING = frozenset({"logging", "loguru", "warnings"})
_LOGGING_CALLS = _set("debug info warning error exception critical log")
_CACHES = _set("lru_cache cache cached_property cached memoize memoized cached_method")
_DEVICE_CALLS = _set("cuda compile jit script trace synchronize init_process_group")
_WORKERS = _set("num_workers pin_memory persistent_workers prefetch_factor")
_LOOPS = (
    ast.For, ast.AsyncFor, ast.While,
    ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp,
)  # fmt: skip
_Counts = dict[str, Counter[str]]
_Times = dict[str, defaultdict[str, float]]
#: Words of `Called` for what calls without a name: an import statement, and what looks like no call
#: and may be one, attributes, subscripts, comparisons and operators.
IMPORT, HIDDEN = "<import>", "<hidden>"
#: Nodes that say how, and run nothing.
_MARKS = (ast.expr_context, ast.operator, ast.cmpop, ast.unaryop, ast.boolop)
_HIDING = (ast.Attribute, ast.Subscript, ast.Compare, ast.BinOp, ast.With, ast.For)
#: How often the body of a loop runs, where nothing else is known; and at most, in loops in loops.
_LOOP, _MOST_TIMES = 3.0, 81.0


@dataclass(frozen=True)
class _Side:
    """One version of a file. `words`: by function; modules imported stand there as `:name`, numbers
    as `#value`."""

    words: _Counts
    called: _Times


@dataclass
class Budget:
    """How much of a change is still looked at; shared by its files."""

    nodes: int = MOST_NODES


def tokens_of(old: bytes | None, new: bytes | None, budget: Budget | None = None) -> Tokens:
    """What head's version of a file does more often than base's. None: that side has no file."""
    budget = budget or Budget()
    base, head = _read(old, budget), _read(new, budget)
    if base is None or head is None:
        return NOTHING
    before, after = base.words, head.words
    found = {}
    for name, counts in after.items():
        earlier = before.get(name, Counter())
        more = {word for word, number in counts.items() if number > earlier[word]}
        less = {word for word, number in earlier.items() if number > counts[word]}
        tokens = {Token(word) for word in more if word[0] not in ":#"}
        if _numbers(more) and _numbers(less):
            tokens.add(Token.NUMBER)
        imported = {word[1:] for word in more if word.startswith(":")}
        if imported:
            tokens.add(Token.HEAVY_IMPORT if imported & HEAVY else Token.IMPORT)
        if Token.CACHED in less:
            tokens.add(Token.UNCACHED)
        if tokens:
            found[name] = frozenset(tokens)
    imports = _imports(after) - _imports(before)
    appeared = frozenset(after.keys() - before.keys()) - {MODULE}
    return Tokens(found, appeared, frozenset(imports), _calls(base, head))


def _numbers(words: set[str]) -> bool:
    return any(word.startswith("#") for word in words)


def _calls(base: _Side, head: _Side) -> Calls:
    moved = {}
    for name, before in base.called.items():
        after: Called = head.called.get(name, {})
        found = {
            called: after.get(called, 0.0) - before.get(called, 0.0)
            for called in (*before, *(each for each in after if each not in before))
        }
        if found := {called: times for called, times in found.items() if times}:
            moved[name] = found
    bodies = {name: dict(head.called[name]) for name in head.called if name not in base.called}
    return Calls(moved, bodies)


def _imports(counts: _Counts) -> set[str]:
    return {word[1:] for each in counts.values() for word in each if word.startswith(":")}


def _read(source: bytes | None, budget: Budget) -> _Side | None:
    """None: it cannot be read."""
    words: _Counts = {MODULE: Counter()}
    called: _Times = {MODULE: defaultdict(float)}
    if source is None:
        return _Side(words, called)
    if len(source) > LARGEST_BYTES or budget.nodes <= 0:
        return None
    try:
        tree = parse(source)
        names = _names(tree)
        for node, owner, _, runs_in, times in _nodes(tree, budget):
            if type(node) is ast.Pass:  # so is every function announced
                words.setdefault(owner, Counter())
            elif found := _words(node, names):
                words.setdefault(owner, Counter()).update(found)
            if name := _called(node):
                called.setdefault(runs_in, defaultdict(float))[name] += times
            if isinstance(node, _HIDING):
                called.setdefault(runs_in, defaultdict(float))[HIDDEN] += times
        for name in words:
            called.setdefault(name, defaultdict(float))
    except UNREADABLE:
        return None
    return _Side(words, called)


def _called(node: ast.AST) -> str:
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return IMPORT
    if not isinstance(node, ast.Call):
        return ""
    function = node.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else "<call>"


class _Place(NamedTuple):
    """A node. `owner`: the function that it belongs to, `runs_in`: the one that runs it, which for
    a decorator is another; `times`: how often, in one run."""

    node: ast.AST
    owner: str
    prefix: str
    runs_in: str
    times: float


def _nodes(tree: ast.Module, budget: Budget) -> Iterator[_Place]:
    """Every node with the function that runs it. A class body runs where the class stands.

    ValueError where the budget ends."""
    stack = [_Place(tree, MODULE, "", MODULE, 1.0)]
    while stack:
        place = stack.pop()
        budget.nodes -= 1
        if budget.nodes < 0:
            raise ValueError("too much code")
        yield place
        node, owner, prefix, runs_in, times = place
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            own = _checked(prefix + node.name)
            yield _Place(ast.Pass(), own, prefix, own, 1.0)  # so that it is known, whatever it does
            for each in node.decorator_list:
                # What wraps a function belongs to it, whoever runs the decorator.
                stack.append(_Place(each, own, prefix, runs_in, times))
                if _name(each).rpartition(".")[2] in _CACHES:
                    yield _Place(ast.Constant(Token.CACHED), own, prefix, own, 1.0)
            stack += [place._replace(node=each) for each in _defaults(node.args)]
            inner = f"{own}.<locals>."
            stack += [_Place(each, own, inner, own, 1.0) for each in node.body]
        elif isinstance(node, ast.ClassDef):
            stack += [place._replace(node=each) for each in (*node.decorator_list, *node.bases)]
            inner = _checked(f"{prefix}{node.name}.")
            stack += [_Place(each, owner, inner, runs_in, times) for each in node.body]
        else:
            if isinstance(node, _LOOPS):
                times = min(times * _LOOP, _MOST_TIMES)
            stack += [
                _Place(each, owner, prefix, runs_in, times)
                for each in ast.iter_child_nodes(node)
                if not isinstance(each, _MARKS)
            ]


def _checked(name: str) -> str:
    if len(name) > _LONGEST_NAME:
        raise ValueError("a name is too long")
    return name


def _defaults(arguments: ast.arguments) -> list[ast.expr]:
    return [*arguments.defaults, *(each for each in arguments.kw_defaults if each)]


def _names(tree: ast.Module) -> dict[str, str]:
    """What names that are imported anywhere in the file stand for."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for each in node.names:
                name = _checked(each.name)
                first = name.partition(".")[0]
                found[each.asname or first] = name if each.asname else first
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            module = _checked(node.module)
            for each in node.names:
                found[each.asname or each.name] = f"{module}.{each.name}"
    return found


def _words(node: ast.AST, names: Mapping[str, str]) -> list[str]:
    if isinstance(node, ast.Import):
        return [":" + each.name.partition(".")[0] for each in node.names]
    if isinstance(node, ast.ImportFrom):
        return [] if node.level or not node.module else [":" + node.module.partition(".")[0]]
    if isinstance(node, ast.Constant) and isinstance(node.value, Token):
        return [node.value]
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return [f"#{hash(node.value)}"]
    if isinstance(node, _LOOPS) and _calls_something(node):
        return [Token.LOOP]
    if isinstance(node, ast.Call):
        return _call_words(node, names)
    return []


def _calls_something(loop: ast.AST) -> bool:
    """Looks at most two levels deep into each statement: nested loops are found on their own."""
    level = list(ast.iter_child_nodes(loop))
    for _ in range(3):
        if any(isinstance(each, ast.Call) for each in level):
            return True
        level = [below for each in level for below in ast.iter_child_nodes(each)]
    return False


def _call_words(node: ast.Call, names: Mapping[str, str]) -> list[str]:
    said = _name(node.func)
    first, dot, rest = said.partition(".")
    full = names.get(first, first) + dot + rest
    root, last = full.partition(".")[0], full.rpartition(".")[2]
    found: list[str] = []
    if last == "sleep":
        found.append(Token.SLEEP)
    if full == "print" or root in _LOGGING or (last in _LOGGING_CALLS and "log" in first.lower()):
        found.append(Token.LOGGING)
    if root in _NETWORK or last in _NETWORK_CALLS:
        found.append(Token.NETWORK)
    if root in _SUBPROCESS or full in _SUBPROCESS_CALLS or last == "Popen":
        found.append(Token.SUBPROCESS)
    elif last in _FILES_CALLS:
        found.append(Token.FILES)
    if last in _DEVICE_CALLS and (root == "torch" or last == "cuda"):
        found.append(Token.DEVICE)
    if last == "DataLoader" or any(each.arg in _WORKERS for each in node.keywords):
        found.append(Token.WORKERS)
    return found


def _name(node: ast.expr) -> str:
    """`a.b.c` of names and attributes; of anything else what stands behind it, as `.c`."""
    parts: list[str] = []
    for _ in range(_MOST_LINKS):
        if isinstance(node, ast.Call):
            node = node.func
        elif isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        else:
            break
    parts.append(node.id if isinstance(node, ast.Name) else "")
    return ".".join(reversed(parts))
