"""MSA-GCN's Triton kernels without a GPU: numbers, compilation, number of launches.

Numbers are those of Triton's interpreter, against PyTorch's own operations in float64; kernels compile for
Hopper without spilling. Skips where Triton is not installed: pip install -e '.[gpu-tests]'"""

import csv
import json
import sys

import pytest
from conftest import ROOT, sh

pytest.importorskip('triton', reason='triton is not installed: pip install -e ".[gpu-tests]"')

NUMBERS = """
import json
import torch
from msagcn.fast.gpu_forms import FORMS, Size, compare
small, strided = Size(1, 8, 40, 5, 7), Size(2, 20, 20, 5, 4, stride=2, residual=False)
sizes = {name: small for name in FORMS} | {'branches': Size(2, 20, 20, 5, 4)}
found = {name: compare(name, size, torch.float64, 'cpu') for name, size in sizes.items()}
found['branches, strided'] = compare('branches', strided, torch.float64, 'cpu')
print(json.dumps(found))
"""

CALLS = """
import json, sys
import torch
calls = {}  # our operators by name: each, and the arguments of its first call
class Calls(torch.utils._python_dispatch.TorchDispatchMode):
    def __torch_dispatch__(self, f, types, args=(), kwargs=None):
        if f.namespace == 'msagcn':
            calls.setdefault(f._schema.name, (f, args))
        return f(*args, **(kwargs or {}))
"""

CHECKED = (
    CALLS
    + """
from msagcn.fast.gpu_forms import FORMS, Draw, Size
size, nan = Size(2, 8, 20, 5, 4), {}
for name in ('norm', 'pointwise', 'mean of frames', 'context', 'mix', 'branches'):
    first, *others = FORMS[name].make(size, Draw(torch.float64, 'cpu'))
    if name == 'branches':
        first = torch.randn(2, 20, 5, 4, dtype=torch.float64)
    first = first.detach().clone()
    first.view(-1)[-1] = float('nan')
    with Calls():
        nan[name] = FORMS[name].fast(size, first.requires_grad_(), *others).isnan().any().item()
tests = 'test_schema', 'test_faketensor', 'test_autograd_registration'
checked = {k: torch.library.opcheck(f, args, test_utils=tests) for k, (f, args) in calls.items()}
print(json.dumps(dict(nan=nan, checked=checked)))
"""
)

NETWORK = (
    CALLS
    + """
sys.path.insert(0, sys.argv[1])
from conftest import of_few_blocks
from msagcn.data.skeleton import UCLA20
from msagcn.fast.gpu import GPU
from msagcn.fast.lean import exchange
from msagcn.models.msagcn import MSAGCN
found = []
for table in ({}, GPU):
    torch.manual_seed(1)
    net = of_few_blocks(exchange(MSAGCN(3, UCLA20, 8, width=40), table)).double().train()
    with torch.random.fork_rng(), Calls():
        y = net(torch.randn(2, 3, 8, 20, 1, dtype=torch.double))
        torch.nn.functional.cross_entropy(y, torch.tensor([0, 2])).backward()
    found.append((y, torch.cat([p.grad.flatten() for p in net.parameters()])))
errors = [((a - b).norm() / a.norm()).item() for a, b in zip(*found)]
print(json.dumps(dict(errors=errors, calls=sorted(calls))))
"""
)

COMPILED = """
import json, re, subprocess, sys, tempfile
from pathlib import Path
import triton
from msagcn.bench.gpu_compile import kernels_of_step, without_driver
without_driver()
tool = Path(triton.__file__).parent/'backends/nvidia/bin/cuobjdump'
found = []
for kernel, grid, mock, words in kernels_of_step(sys.argv[1], int(sys.argv[2]), sys.argv[3]):
    made = kernel.warmup(*mock, grid=grid, **words)
    with tempfile.NamedTemporaryFile(suffix='.cubin') as f:
        f.write(made.asm['cubin'])
        f.flush()
        command = [tool, '-res-usage', f.name]
        use = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    spilled = {k: int(re.search(k + r':(\\d+)', use)[1]) for k in ('STACK', 'LOCAL')}
    sizes = {k: v for k, v in words.items() if isinstance(v, int)}
    name = dict(name=kernel.fn.__name__, sizes=sizes)
    found.append(name | dict(shared=made.metadata.shared) | spilled)
print(json.dumps(found))
"""

COUNTED = """
import json
from msagcn.bench.gpu_counts import count_step
sizes = dict(msagcn=('nw_ucla', 8, 64), msg3d=('ntu', 8, 32))
found = {m: [count_step(s, n, 'bf16', m) for n in batches] for m, (s, *batches) in sizes.items()}
from msagcn.bench.gpu_compile import KINDS, meta_step, without_numbers
from msagcn.fast.cuda_graph import HostReads
from torch.nn.functional import cross_entropy
reads = {}
for m, (shape, n, _) in sizes.items():
    net, x, y = meta_step(shape, n, model=m)
    with HostReads() as seen, without_numbers(KINDS['bf16']):
        cross_entropy(net(x).float(), y).backward()
    reads[m] = seen.found
print(json.dumps(dict(counts=found, reads=reads)))
"""


def last_line(script, tmp_path, *args, **env):
    "What a script prints last, as JSON; Triton's cache is its own."
    env = dict(TRITON_CACHE_DIR=str(tmp_path), TRITON_INTERPRET='0') | env
    return json.loads(sh(sys.executable, '-c', script, *args, **env).stdout.splitlines()[-1])


def test_numbers_are_those_of_pytorchs_operations(tmp_path):
    found = last_line(NUMBERS, tmp_path, TRITON_INTERPRET='1')
    assert len(found) == 12
    wrong = {name: e for name, e in found.items() if not all(x < 1e-9 for x in e.values())}
    assert not wrong, wrong


def test_operators_are_as_registered_and_pass_nan_on(tmp_path):
    "PyTorch's own check of schema, shapes and gradients; a NaN in the input is in the output."
    found = last_line(CHECKED, tmp_path, TRITON_INTERPRET='1')
    assert len(found['nan']) == 6 and all(found['nan'].values()), found['nan']
    some = {'msagcn::norm_act', 'msagcn::pointwise', 'msagcn::mix', 'msagcn::branches'}
    assert some <= set(found['checked'])
    for name, results in found['checked'].items():
        assert set(results.values()) == {'SUCCESS'}, (name, results)


def test_a_network_of_kernels_is_the_readable_one(tmp_path):
    "Logits and gradients of a block of each kind; tests/gpu_golden.py has the golden step, in half an hour."
    found = last_line(NETWORK, tmp_path, str(ROOT / 'tests'), TRITON_INTERPRET='1')
    assert max(found['errors']) < 1e-9 and len(found['calls']) > 5, found


@pytest.mark.parametrize(
    'step',
    [
        ('ntu', '128', 'bf16'),
        ('nw_ucla', '64', 'bf16'),
        ('nw_ucla', '64', 'fp32'),
        ('ntu', '128', 'fp32'),
    ],
    ids=str,
)
def test_kernels_compile_for_hopper_without_spilling(tmp_path, step):
    """Every kernel of a step in every size that it is started with.

    A launch with more shared memory than a program may have fails on the GPU only."""
    found = last_line(COMPILED, tmp_path, *step)
    some = {
        'mix_backward',
        'conv_backward',
        'weight_gradient',
        'join_back_apply',
        'norm_back_apply',
    }
    assert some <= {use['name'] for use in found}
    spill = lambda use: use['STACK'] or use['LOCAL'] or use['shared'] > 232448
    assert not list(filter(spill, found))


def committed(*step):
    "The rows of a step (model, shape, batch) in reports/bench, by operation."
    with open(ROOT / 'reports/bench/gpu_launches.csv') as f:
        rows = [r for r in csv.DictReader(f) if (r['model'], r['shape'], r['batch']) == step]
    return {r['operation']: r for r in rows}


def test_a_step_starts_as_many_kernels_whatever_the_batch(tmp_path):
    most = dict(msagcn=('nw_ucla', '64', 1500), msg3d=('ntu', '32', 600))
    found = last_line(COUNTED, tmp_path)
    assert found['reads'] == dict(msagcn=[], msg3d=[])  # a recording would refuse them
    for model, (few, many) in found['counts'].items():
        assert {k: n for k, (n, _) in few.items()} == {k: n for k, (n, _) in many.items()}, model
        assert sum(b for _, b in few.values()) < sum(b for _, b in many.values())
        *step, launches = most[model]
        kept = committed(model, *step)
        assert int(kept.pop('all')['launches']) == sum(n for n, _ in many.values()) <= launches
        stale = 'the table is of other kernels: python -m msagcn.bench.gpu_check --count'
        assert {k: [int(r['launches']), int(r['bytes'])] for k, r in kept.items()} == many, stale


def test_a_step_moves_at_most_five_times_the_least():
    "MSA-GCN on NTU's shape, batch 128, in bfloat16, by the committed table."
    assert 1 < float(committed('msagcn', 'ntu', '128')['all']['of_least']) <= 5
