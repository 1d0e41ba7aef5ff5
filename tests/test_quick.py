"""The compiled forward pass predicts what the release's network predicts.

And what the command predicts without it.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import test_parity
import torch
from conftest import SHARED, need
from fills import fill_input
from safetensors.torch import load_file
from test_oracle import SHAPES, rel

from msagcn.cli import main
from msagcn.core import MsagcnError
from msagcn.data.clips import Clips
from msagcn.data.skeleton import UCLA20
from msagcn.experiments.train_parameters import TrainParameters
from msagcn.experiments.weights import build_model, save_weights
from msagcn.fast.predict import quick
from msagcn.foreign.msagcn import load_release
from msagcn.models.msagcn import MSAGCN, calibrate
from msagcn.native import can_compile, library

compiler = pytest.mark.skipif(not can_compile('predict'), reason='no C++ compiler')


@compiler
@pytest.mark.parametrize('name', SHAPES)
def test_golden_files(name):
    "The average of the contexts of one batch is the context that the release computes from it."
    golden = need(SHARED / 'golden', 'golden files')
    io = load_file(need(golden / f'msagcn_{name}_io.safetensors', 'golden'))
    model = load_release(need(golden / f'msagcn_{name}_weights.safetensors', 'golden')).double()
    for x, logits in ((io['x'], io['eval.logits']), (io['x'][:1], io['eval.logits_sample0_alone'])):
        model.set_context('batch')
        assert rel(quick(calibrate(model, [x]))(x), logits) <= 1e-7
    single = quick(model.float())(x.float())
    assert rel(single.double(), logits) <= 1e-4


@compiler
@pytest.mark.parametrize(
    'size',
    [
        dict(skeleton='ucla', T=20, M=2, width=40, classes=7),
        dict(skeleton='ntu', T=12, M=1, width=120, classes=3),
        dict(skeleton='ntu', T=4, M=3, width=40, classes=5),
    ],
    ids=str,
)
@pytest.mark.parametrize('threads', [1, 3])
def test_literal_network_at_other_sizes(size, threads):
    literal, ours = test_parity.pair(**size)
    x = fill_input(3, 3, size['T'], SHAPES[size['skeleton']]['V'], size['M'])
    had = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        y = quick(calibrate(ours, [x]))(x)
    finally:
        torch.set_num_threads(had)
    with torch.no_grad():
        assert rel(y, literal.eval()(x)) <= 1e-9


@pytest.fixture
def weights(tmp_path):
    "Of a network that has seen a few clips, and one clip."
    p = TrainParameters(benchmark='walks', width=40, frames=8)
    walk = np.random.default_rng(0).standard_normal((12, 1, 20, 3)).astype(np.float32).cumsum(0)
    clips = Clips(
        benchmark='walks',
        skeleton=UCLA20.name,
        classes=[*'abcde'],
        names=['walk'],
        labels=np.zeros(1, int),
        subjects=np.zeros(1, int),
        parts=['test'],
        hashes=[''],
        lengths=np.array([12]),
        frames=walk,
        feed='nw_ucla',
    )
    model = build_model(p, clips)
    for i in range(20):
        model(torch.randn(8, *model.shape, generator=torch.Generator().manual_seed(i)))
    save_weights(tmp_path / 'weights.safetensors', p, clips, model)
    np.save(tmp_path / 'walk.npy', walk)
    return [str(tmp_path / 'walk.npy'), '--weights', str(tmp_path / 'weights.safetensors')]


def said(capfd, *arguments):
    assert main(['predict', *arguments]) == 0
    out, err = capfd.readouterr()
    return {line.split()[2]: float(line.split()[0]) for line in out.splitlines()}, err


@compiler
def test_the_command_predicts_the_same(weights, capfd):
    plain, ours = said(capfd, *weights)[0], said(capfd, *weights, '--compile')[0]
    assert len(plain) == 5 and ours == pytest.approx(plain, abs=0.02) and max(ours.values()) > 25


def test_without_a_compiler_it_goes_on(weights, capfd, monkeypatch):
    plain, _ = said(capfd, *weights)
    monkeypatch.setenv('CXX', 'no-such-compiler')
    library.cache_clear()
    ours, err = said(capfd, *weights, '--compile')
    monkeypatch.undo()
    library.cache_clear()
    assert (
        ours == plain
        and err.count('compile: no-such-compiler: No such file or directory; goes on without\n')
        == 1
    )


@compiler
def test_a_model_as_weights_files_give_it():
    "With the faster classes in place of the readable ones: it used to be refused as another topology."
    from msagcn.fast.lean import LEAN, exchange

    model = MSAGCN(4, UCLA20, 8, 1, width=40)
    x = torch.rand(3, *model.shape, generator=torch.Generator().manual_seed(0))
    calibrate(model, [x])
    wanted = quick(model)(x)
    lean = exchange(model, LEAN)
    kinds = [type(m) for m in lean.modules()]
    assert torch.equal(quick(lean)(x), wanted) and [type(m) for m in lean.modules()] == kinds


@compiler
def test_a_quick_model_is_exported_and_saved():
    "torch.export sees each block as one operator, and its weights as a buffer."
    model = MSAGCN(4, UCLA20, 8, 1, width=40)
    x = torch.rand(3, *model.shape, generator=torch.Generator().manual_seed(0))
    ours = quick(calibrate(model, [x]))
    program = torch.export.export(ours, (x,))
    calls = [n for n in program.graph.nodes if n.target is torch.ops.msagcn_cpp.quick_block.default]
    assert len(calls) == 10 and torch.equal(program.module()(x), ours(x))
    assert {f'blocks.{i}.weights' for i in range(10)} <= set(program.state_dict)


@compiler
def test_a_block_with_other_weights_is_refused():
    model = MSAGCN(4, UCLA20, 8, 1, width=40)
    x = torch.rand(2, *model.shape, generator=torch.Generator().manual_seed(0))
    ours = quick(calibrate(model, [x]))
    ours.blocks[3].weights = ours.blocks[3].weights[:-16]
    with pytest.raises(MsagcnError, match='quick: the number of weights is not the number'):
        ours(x)
    ours.blocks[3].weights = ours.blocks[4].weights  # of another block
    with pytest.raises(MsagcnError, match='quick: the number of weights is not the number'):
        ours(x)


SHORT_OF_MEMORY = """
import resource, torch
from msagcn.core import MsagcnError
from msagcn.data.skeleton import UCLA20
from msagcn.fast.predict import quick
from msagcn.models.msagcn import MSAGCN
torch.set_num_threads(1)
model = MSAGCN(4, UCLA20, 2000, 1, width=40, context='none')
block = quick(model.eval()).blocks[1]
x = torch.zeros(1, block.sizes[0], 2000, 20)
used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2 * x.nbytes, -1))
assert 4 * block.scratch(2000, 20) > 3 * x.nbytes
try:
    block(x)
except MsagcnError as e:
    print(e)
"""


@compiler
@pytest.mark.skipif(not Path('/proc/self/statm').exists(), reason='needs Linux')
def test_too_little_memory_is_one_line_and_not_the_end_of_the_process():
    done = subprocess.run([sys.executable, '-c', SHORT_OF_MEMORY], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == 'quick: there is not enough memory\n', (
        done.stderr
    )
