"""The probe's eyes on torch: which call is the first training batch entering the model.

The rule: the first call, from outside any model, of a `torch.nn.Module` that has trainable
parameters (or of a compiled function), with gradients enabled, which either
- receives a batch (same first dimension) that a shuffling `DataLoader` has just delivered, while
  the module is in training mode: certain at once; or
- is differentiated by the program's first backward pass: known at that pass, dated back.
So a dummy forward, a summary or a check on validation data is no first batch. docs/probe.md says
why. Patches are applied when the program has imported the module that they concern, are out of
the way inside a model (torch.compile never sees them) and are gone after the first batch.
"""

import sys
from _thread import get_ident
from time import monotonic_ns

_MOST_ITEMS = 256  # looked at in a batch or an output, in search of tensors
_MOST_NODES = 200_000  # of an autograd graph: a bound for the walk, far above real models
_MOST_CANDIDATES = 4096

_replaced = []  # in torch: (owner, name, torch's own, ours)


def replace(owner, name, make):
    original = getattr(owner, name)
    replacement = make(original)
    for attribute in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(replacement, attribute, getattr(original, attribute, None))
    replacement.__wrapped__ = original
    setattr(owner, name, replacement)
    return owner, name, original, replacement


def after(probe, note):
    """For `replace`: call `note` when the original has returned."""

    def make(original):
        def wrapper(*args, **kwargs):
            result = original(*args, **kwargs)
            if not probe.done:
                note()
            return result

        return wrapper

    return make


def show_own(own, for_good=False):
    """Put torch's own functions (True) or ours (False) in place.

    Our `backward` stays until it is `for_good`: a compiled step may hold the first backward pass.
    What somebody else has put in place, as torch.fx does while it traces, stays there.
    """
    for owner, name, original, replacement in _replaced:
        old, new = (replacement, original) if own else (original, replacement)
        if (for_good or name != "backward") and getattr(owner, name, None) is old:
            setattr(owner, name, new)


class Watch:
    """What this process has shown so far of its training loop."""

    def __init__(self, probe):
        self.probe = probe

    def begin(self):
        self.loading = set()  # threads inside a DataLoader's __next__: others may prefetch
        self.batch_sizes = frozenset()
        self.shuffled = False
        self.delivered = 0  # candidate number of the latest delivery, 0: none
        self.candidates = []  # (number, highest autograd sequence number when it returned)
        self.number = 0

    def deliver(self, batch, index_sampler):
        self.batch_sizes = frozenset(_first_dimensions(batch))
        self.shuffled = _shuffles(index_sampler)
        self.delivered = self.next_candidate(monotonic_ns())

    def next_candidate(self, now):
        self.number += 1
        self.probe.send("C", now, self.number)
        return self.number

    def enter(self, module, args, kwargs):
        """Note an outermost call, `module` None for a compiled function.

        Returns the candidate's number, 0 where it cannot be one or was the first batch for sure.
        """
        if get_ident() in self.loading or not sys.modules["torch"].is_grad_enabled():
            return 0
        if module is not None:
            if not any(parameter.requires_grad for parameter in module.parameters()):
                return 0
            now = monotonic_ns()
            if self.shuffled and module.training:
                if self.batch_sizes.intersection(_first_dimensions((args, kwargs))):
                    self.probe.first_batch(0, now)
                    return 0
        return self.next_candidate(monotonic_ns())

    def leave(self, number, output):
        """Remember where the candidate's part of the autograd graph ends."""
        self.candidates.append((number, max(_sequence_numbers(output), default=-1)))
        del self.candidates[:-_MOST_CANDIDATES]

    def backward(self, outputs):
        """The first backward pass tells which candidate was the first training batch."""
        number = self.delivered  # a model that is no Module: dated back to the batch's delivery
        if self.candidates:
            number = self.candidates[-1][0]
            used = _sequences_below(outputs)
            previous = -1
            for candidate, highest in self.candidates:
                if any(previous < sequence <= highest for sequence in used):
                    number = candidate
                    break
                previous = max(previous, highest)
        self.probe.first_batch(number, monotonic_ns())

    def safely(self, method, *args):
        """A program that surprises us must not fail because of us."""
        try:
            return method(*args)
        except Exception as error:
            self.probe.send("E", monotonic_ns(), method.__name__, type(error).__name__)
            return 0

    def is_inside(self):
        """Whether torch's own functions are in place now."""
        return sys.modules["torch"].nn.Module.__call__ is self.original_call

    def run_inside(self, number, function, args, kwargs):
        """Run what is inside a model with torch as torch made it."""
        show_own(True)
        try:
            output = function(*args, **kwargs)
        finally:
            if not self.probe.done:
                show_own(False)
        if number and not self.probe.done:
            self.safely(self.leave, number, output)
        return output


def _tensors(value):
    """Tensors inside nested containers and plain objects; a bounded search, as it is timed."""
    tensor = sys.modules["torch"].Tensor
    found, heap = [], [value]
    for _ in range(_MOST_ITEMS):
        if not heap:
            break
        value = heap.pop()
        if isinstance(value, tensor):
            found.append(value)
        elif isinstance(value, dict):
            heap.extend(value.values())
        elif isinstance(value, (list, tuple)):
            heap.extend(value[:_MOST_ITEMS])
        elif hasattr(value, "__dict__") and not isinstance(value, (type, type(sys))):
            heap.extend(vars(value).values())  # a batch in a class of its own
    return found


def _first_dimensions(value):
    return [item.shape[0] for item in _tensors(value) if item.dim()]


def _sequence_numbers(value):
    nodes = [item.grad_fn for item in _tensors(value)]
    return [node._sequence_nr() for node in nodes if hasattr(node, "_sequence_nr")]


def _sequences_below(outputs):
    """Autograd sequence numbers of all nodes that a backward pass from `outputs` reaches."""
    nodes = [item.grad_fn for item in _tensors(outputs) if item.grad_fn is not None]
    seen = set(nodes)
    while nodes and len(seen) < _MOST_NODES:
        for node, _ in nodes.pop().next_functions:
            if node is not None and node not in seen:
                seen.add(node)
                nodes.append(node)
    return {node._sequence_nr() for node in seen if hasattr(node, "_sequence_nr")}


def _shuffles(sampler):
    """Whether the DataLoader's index sampler is, somewhere inside, one that shuffles."""
    for _ in range(5):
        if any("Random" in base.__name__ for base in type(sampler).__mro__):
            return True
        if getattr(sampler, "shuffle", False) is True:
            return True
        sampler = getattr(sampler, "sampler", None) or getattr(sampler, "batch_sampler", None)
    return False


# --- patches: what to do when the program has imported a module ---------------------------------


def _replace_in_torch(owner, name, make):
    _replaced.append(replace(owner, name, make))


def _patch_module(probe, module):
    cls = module.Module
    probe.watch.original_call = cls.__call__

    def make_call(original):
        def call(self, *args, **kwargs):
            watch = probe.watch
            # Who kept a reference to us, as torch.fx did, and calls us from a patch of its own,
            # or from inside a model, gets torch's own.
            if probe.done or cls.__call__ is not call:
                return original(self, *args, **kwargs)
            number = watch.safely(watch.enter, self, args, kwargs)
            if probe.done:
                return original(self, *args, **kwargs)
            return watch.run_inside(number, original, (self,) + args, kwargs)

        return call

    _replace_in_torch(cls, "__call__", make_call)
    for name in ("__init__", "_apply", "load_state_dict"):
        _replace_in_torch(cls, name, after(probe, probe.touch_model))


def _patch_dataloader(probe, module):
    def make_next(original):
        def next_batch(self):
            watch = probe.watch
            if probe.done:
                return original(self)
            probe.flush_model()
            thread = get_ident()
            outermost = thread not in watch.loading  # a data set may hold a loader of its own
            watch.loading.add(thread)
            try:
                batch = original(self)
            finally:
                if outermost:
                    watch.loading.discard(thread)
            watch.safely(watch.deliver, batch, getattr(self, "_index_sampler", None))
            return batch

        return next_batch

    _replace_in_torch(module._BaseDataLoaderIter, "__next__", make_next)
    _replace_in_torch(module.DataLoader, "__init__", after(probe, probe.touch_data))


def _patch_optimizer(probe, module):
    _replace_in_torch(module.Optimizer, "__init__", after(probe, probe.touch_model))


def _patch_steps(probe, module):
    _patch_optimizer(probe, module)
    module.register_optimizer_step_post_hook(lambda *_: probe.send("S", monotonic_ns()))


def _patch_autograd(probe, module):
    def make(original):
        def wrapper(*args, **kwargs):
            if not probe.done:
                probe.watch.safely(probe.watch.backward, args[0] if args else kwargs)
            return original(*args, **kwargs)

        return wrapper

    for name in ("backward", "grad"):
        _replace_in_torch(module, name, make)


def _patch_compile(probe, module):
    """A compiled function is a model, too, whether or not it calls one inside."""

    def make(original):
        def compile(model=None, *args, **kwargs):
            watch = probe.watch
            if probe.done or watch.is_inside():
                return original(model, *args, **kwargs)
            # A compiled module binds Module.__call__ now; it must bind torch's own.
            compiled = watch.run_inside(0, original, (model,) + args, kwargs)
            if model is None or isinstance(model, module.nn.Module):
                return compiled

            def run(*run_args, **run_kwargs):
                if probe.done or watch.is_inside():
                    return compiled(*run_args, **run_kwargs)
                number = watch.safely(watch.enter, None, run_args, run_kwargs)
                return watch.run_inside(number, compiled, run_args, run_kwargs)

            vars(run).update(vars(compiled))
            run.__wrapped__ = compiled
            return run

        return compile

    _replace_in_torch(module, "compile", make)


def _patch_dynamo(probe, module):
    # torch._dynamo asks whether Module.__call__ is the one it knows; it must know torch's own.
    module.unpatched_nn_module_call = probe.watch.original_call


_FIRST_BATCH = {
    "torch": _patch_compile,
    "torch.autograd": _patch_autograd,
    "torch.nn.modules.module": _patch_module,
    "torch.optim.optimizer": _patch_optimizer,
    "torch.utils.data.dataloader": _patch_dataloader,
    "torch._dynamo.utils": _patch_dynamo,
}


def patches(mode, steps):
    """By module: what to do when the program has imported it."""
    chosen = dict(_FIRST_BATCH) if mode == "auto" else {}
    if steps:
        chosen["torch.optim.optimizer"] = _patch_steps
    return chosen
