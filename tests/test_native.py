"""Compiled code computes what PyTorch's operations compute.

The golden numbers, other sizes, whole trainings; without a compiler, a run goes on without it.
"""

from pathlib import Path

import pytest
import test_parity
import torch
from conftest import of_few_blocks
from safetensors.torch import load_file

from msagcn.bench.contenders import made_up_clips
from msagcn.data.skeleton import UCLA20
from msagcn.fast.fused import FUSED
from msagcn.fast.lean import LEAN, exchange
from msagcn.feeds.feeds import batch, fed_store
from msagcn.models.msagcn import MSAGCN
from msagcn.native import can_compile, compiled_code, library
from msagcn.training.loop import fit
from msagcn.training.plan import Plan

SHAPE = (3, 10, 20, 2)
pytestmark = pytest.mark.skipif(not can_compile(), reason='no C++ compiler')
PLAN = Plan(frames=8, epochs=2, batch_size=8, lr=1e-4, warmup=0, milestones=())


@pytest.mark.parametrize('name', test_parity.SHAPES)
def test_golden_files(name):
    test_parity.test_golden_files(name, FUSED)


@pytest.mark.parametrize('name', test_parity.SHAPES)
def test_file_free_fill(name):
    test_parity.test_file_free_fill(name, FUSED)


@pytest.mark.parametrize(
    'size',
    [
        dict(skeleton='ucla', T=20, M=2, width=40, classes=7),
        dict(skeleton='ntu', T=36, M=1, width=120, classes=5),
    ],
    ids=str,
)
def test_literal_network_at_other_sizes(size):
    test_parity.test_literal_network_at_other_sizes(size, FUSED)


@pytest.mark.parametrize(
    'more',
    [
        dict(topology='figure'),
        dict(topology='scaled', context='sample'),
        dict(context='sample', stages=1),
        dict(without=('cross', 'edge', 'channel_gate', 'gating')),
        dict(without=('frame_attention', 'frame_gate', 'look_back', 'position'), context='none'),
    ],
    ids=str,
)
def test_other_forms_of_the_network(more):
    model = MSAGCN(4, UCLA20, 10, 2, width=40, **more).double()
    x, found = torch.randn(3, 3, 10, 20, 2, generator=torch.Generator().manual_seed(0)).double(), []
    for recompute in (False, True):
        for table in (LEAN, FUSED):
            model.recompute = recompute
            loss = exchange(model, table)(x).square().sum()
            found.append(
                [
                    loss.detach(),
                    *torch.autograd.grad(
                        loss, list(model.parameters()), allow_unused=True, materialize_grads=True
                    ),
                ]
            )
    total = torch.cat([g.flatten() for g in found[0][1:]]).norm()
    for other in found[1:]:
        torch.testing.assert_close(other[0], found[0][0], rtol=1e-10, atol=0)
        assert max((a - b).norm() for a, b in zip(other[1:], found[0][1:])) < 1e-8 * total


def train(folder, compile, **more):
    clips = made_up_clips(40)
    model = MSAGCN(10, UCLA20, 8, width=40, seed=0)
    history = fit(
        model,
        fed_store(clips),
        torch.arange(40),
        Plan(**vars(PLAN) | dict(compile=compile)),
        f'{folder}/checkpoint',
        **more,
    )
    return [row['loss'] for row in history], load_file(f'{folder}/checkpoint')


def same_bits(a, b):
    return (
        a[0] == b[0]
        and a[1].keys() == b[1].keys()
        and all(torch.equal(v, b[1][k]) for k, v in a[1].items())
    )


def test_a_training_repeats_and_resumes_to_the_bit(tmp_path):
    plain, whole, again = (train(tmp_path / str(i), c) for i, c in enumerate((False, True, True)))
    train(tmp_path / 'cut', True, stop=3)
    assert same_bits(whole, again) and same_bits(whole, train(tmp_path / 'cut', True))
    # the first epoch's; later ones run apart
    assert not same_bits(whole, plain) and whole[0][0] == pytest.approx(plain[0][0], rel=1e-3)


@pytest.mark.parametrize('stream', ['joint', 'bone_motion'])
def test_clips_are_augmented_alike(stream):
    s, i = fed_store(made_up_clips(30)), torch.arange(29, 0, -2)
    for T, passes in ((8, 3), (52, torch.arange(15)), (300, 0)):
        plain = batch(s, i, T, stream, (5, passes))
        with compiled_code():
            ours = batch(s, i, T, stream, (5, passes))
        torch.testing.assert_close(ours, plain, rtol=0, atol=1e-5)
        assert ours.is_contiguous()


def test_without_a_compiler_a_run_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('CXX', 'no-such-compiler')
    library.cache_clear()
    without = train(tmp_path / 'without', True)
    monkeypatch.undo()
    library.cache_clear()
    assert (
        capsys.readouterr().err.count(
            'compile: no-such-compiler: No such file or directory; goes on without\n'
        )
        == 1
    )
    plain = train(tmp_path / 'plain', False)
    assert all(torch.equal(v, plain[1][k]) for k, v in without[1].items())


def test_a_compiler_that_fails_leaves_nothing_half_made(tmp_path, monkeypatch, capsys):
    fails = tmp_path / 'fails'
    fails.write_text(
        '#!/bin/sh\ncase "$*" in *-dM*) exit 0;; esac\necho "error: disk full" >&2; exit 1\n'
    )
    fails.chmod(0o755)
    for name, value in dict(CXX=str(fails), XDG_CACHE_HOME=str(tmp_path / 'cache')).items():
        monkeypatch.setenv(name, value)
    library.cache_clear()
    assert not can_compile()
    monkeypatch.undo()
    library.cache_clear()
    assert 'error: disk full; goes on without' in capsys.readouterr().err
    assert not [p for p in Path(tmp_path / 'cache').rglob('*') if p.is_file()]


@pytest.mark.parametrize('table', [LEAN, FUSED], ids=['lean', 'fused'])
def test_a_training_step_traces_as_one_graph(table):
    "Loss, gradients and running statistics have the same bits as without tracing."
    x, found = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0)), []
    for traced in (False, True):
        model = exchange(of_few_blocks(MSAGCN(4, UCLA20, 10, 2, width=40, seed=1)), table)
        run = torch.compile(model, fullgraph=True, backend='aot_eager') if traced else model
        loss = torch.nn.functional.cross_entropy(run(x), torch.tensor([0, 3]))
        loss.backward()
        grads = [p.grad for p in model.parameters() if p.grad is not None]
        found.append([loss.detach(), *grads, *model.state_dict().values()])
    assert len(found[0]) == len(found[1])
    for eager, compiled in zip(*found):
        assert torch.equal(eager, compiled)


def test_sizes_that_a_compiled_operator_may_meet():
    "One clip, one frame, odd numbers of joints, in both precisions: `opcheck` at the smallest sizes."
    ops, of = torch.ops.msagcn_cpp, torch.tensor([0, 1, 0, 2, 2])
    order, start = torch.tensor([0, 2, 1, 3, 4]), torch.tensor([0, 2, 3, 5])
    for dtype, V, T in ((torch.float, 17, 1), (torch.double, 25, 3)):
        draw = lambda *shape: torch.randn(*shape, dtype=dtype).requires_grad_()
        near = torch.arange(V * 5).view(1, V, 5) % V
        for op, given in {
            ops.largest_of_three: (draw(1, 2, T, V), 2),
            ops.frames: (draw(1, 4, T, V), 2, 2),
            ops.join: (draw(1, 5, T, V), [draw(1, 2, T, V), draw(1, 3, T, V)]),
            ops.context: (draw(1, 4, V), draw(4)),
            ops.frame_mean: (draw(1, 2, T, V),),
            ops.constant: (draw(3, 5), draw(1, 3, 5, V), draw(3, 1, 3, V), draw(3, 1, 3, V), of),
            ops.pairs: (draw(1, 4, V), near),
            ops.strongest: (draw(1, 2, V, 5),),
            ops.mix: (
                *(draw(1, 4, T, V), draw(3, 5, 4), draw(3, 1, 3, V, V)),
                *(draw(1, 5), draw(1, 5, V), order, start),
            ),
            ops.norm: (draw(1, 3, T, V), draw(1, 3, T, V), draw(3), draw(3), 1e-5, True),
            ops.norm_parts: (draw(1, 6, T, V), draw(6), draw(6), 1e-5, 3),
            ops.norm_gate: (draw(1, 4, T, V), draw(2), draw(2), 1e-5),
        }.items():
            found = torch.library.opcheck(op.default, given)
            assert set(found.values()) == {'SUCCESS'}, op
