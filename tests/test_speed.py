"""A training step of ours against the literal networks': work, memory and time.

Work is counted as PyTorch dispatches it, the same on every machine; memory is measured, each network in a
process of its own. Time is measured by `msagcn bench`, not here.
"""

from functools import cache
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from msagcn.bench.contenders import Work, literal_network, our_network
from msagcn.bench.interleaved import alternate
from msagcn.fast.fused import FUSED
from msagcn.fast.lean import exchange
from msagcn.native import can_compile


class Moved(TorchDispatchMode):
    "Dispatched operations, and the bytes that they read and write; views move nothing."

    bytes = calls = 0

    def __torch_dispatch__(self, f, types, args=(), kwargs=None):
        out = f(*args, **(kwargs or {}))
        if not f.is_view and f._schema.name != 'aten::detach':
            tensors = tree_leaves((args, kwargs, out))
            self.bytes += sum(t.nbytes for t in tensors if isinstance(t, torch.Tensor))
            self.calls += 1
        return out


def counted(w):
    "Bytes that a training step moves, and its operations in products and convolutions."
    model = (our_network if w.by == 'ours' else literal_network)(w).train()
    if w.mode == 'compile':
        exchange(model, FUSED)
    x, y = torch.zeros(w.batch, *w.clip), torch.zeros(w.batch, dtype=torch.long)
    with Moved() as moved, FlopCounterMode(display=False) as operations:
        F.cross_entropy(model(x), y).backward()
    return dict(bytes=moved.bytes, calls=moved.calls, operations=operations.get_total_flops())


WAYS = ('ours', 'compile'), ('ours', 'eager'), ('literal', 'eager')
WORK = {  # a small step of NTU; what ours does less of, and by which factor at least
    'msagcn': (dict(batch=2), 'bytes', 1.1),
    'msg3d': (dict(batch=1, frames=32), 'operations', 1.45),
}


@pytest.mark.parametrize('name', WORK)
def test_a_step_has_less_work(name, capsys):
    size, of_what, wanted = WORK[name]
    ours, literal = (counted(Work('train', name, by, **size)) for by in ('ours', 'literal'))
    ratio = {k: literal[k] / ours[k] for k in ours}
    with capsys.disabled():
        print(f'\n{name}: literal by ours: {ratio}')
    assert ratio[of_what] >= wanted


@cache
def memory(name, by, mode='eager', **size):
    "Peak memory of a training step in MiB, in a process of its own."
    (measured,) = alternate([Work('train', name, by, mode, threads=1, **size)], 0)
    assert not measured.why
    return measured.mib


FEW = dict(batch=4, frames=32)


@pytest.mark.parametrize(
    'name, mode, share, size',
    [
        ('msagcn', 'eager', 0.7, FEW),
        ('msagcn', 'compile', 0.7, FEW),
        (
            'msagcn',
            'recompute',
            0.25,
            dict(batch=10),
        ),  # what it does not compute again is small here
        ('msg3d', 'eager', 0.7, dict(batch=2, frames=60, width=48)),
    ],
)
def test_a_step_takes_less_memory(name, mode, share, size, capsys):
    if mode == 'compile' and not can_compile():
        pytest.skip('no C++ compiler')
    if not Path('/proc/self/status').exists():
        pytest.skip('memory is read from /proc')
    ours, literal = memory(name, 'ours', mode, **size), memory(name, 'literal', **size)
    with capsys.disabled():
        print(f'\n{name}, {mode}: ours {ours:.0f} MiB, literal {literal:.0f} MiB')
    assert ours < share * literal


def test_a_compiled_step_has_less_work(capsys):
    "Fewer operations on fewer bytes; how much time that saves is `msagcn bench`'s to measure."
    if not can_compile():
        pytest.skip('no C++ compiler')
    works = [Work('train', by=by, mode=mode, batch=2) for by, mode in WAYS]
    compiled, eager, literal = (counted(w) for w in works)
    ratio = {k: literal[k] / compiled[k] for k in ('bytes', 'calls')}
    with capsys.disabled():
        print(
            f'\nliteral by compiled: {ratio}; eager by compiled: {eager["calls"] / compiled["calls"]}'
        )
    assert ratio['bytes'] >= 3 and ratio['calls'] >= 1.6
