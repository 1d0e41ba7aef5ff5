"""Recorded and replayed training steps, without a GPU.

The same machinery, with the work simply repeated in place of the graph's replay, gives the bits of
single steps. Neither a step nor a feed reads anything back from the device, which a recording would
refuse.
"""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from msagcn.bench.contenders import made_up_clips
from msagcn.core import MsagcnError
from msagcn.data.skeleton import UCLA20
from msagcn.fast import cuda_graph as captured
from msagcn.fast.cuda_graph import HostReads, Repeated
from msagcn.fast.lean import LeanBlock
from msagcn.fast.msg3d_gpu import NodesMSG3D
from msagcn.feeds.augment import Augmentation, training_input
from msagcn.feeds.feeds import FEEDS, batch, fed_store
from msagcn.models.msagcn import MSAGCN
from msagcn.models.msg3d import MSG3D
from msagcn.training import steps as steps_module
from msagcn.training.checkpoint import load_state, save_state
from msagcn.training.loop import fit
from msagcn.training.plan import Plan
from msagcn.training.setup import make_optimiser, suited
from msagcn.training.steps import CapturedSteps, Steps, steps_of

# epochs of three steps
PLAN = Plan(frames=4, epochs=2, batch_size=4, lr=0.01, warmup=1, milestones=(2,), repeats=2)
NETS = {
    'msagcn': lambda: MSAGCN(10, UCLA20, T=4, width=40, seed=1),
    'msg3d': lambda: MSG3D(10, UCLA20, T=4, width=6, seed=1),
}


@pytest.fixture(scope='module')
def clips():
    return fed_store(made_up_clips(7))


@pytest.fixture
def recorded(monkeypatch):
    "Let CPUs record, too; a chunk of input is one step, as with single steps."
    monkeypatch.setitem(captured.RECORDERS, 'cpu', Repeated)
    monkeypatch.setattr(captured, 'PIECE', 1)


def ended(tmp_path, clips, name, plan, net='msagcn', **how):
    "The result of a training: history without seconds, and all tensors of its checkpoint."
    model = NETS[net]()
    history = fit(
        model, clips, torch.arange(7), plan, tmp_path / name, dict(val=np.arange(2)), **how
    )
    return [{k: v for k, v in h.items() if k != 'seconds'} for h in history], load_file(
        tmp_path / name
    )


def same(a, b):
    assert a[0] == b[0] and a[1].keys() == b[1].keys()
    for k in a[1]:
        assert a[1][k].equal(b[1][k]), k


@pytest.mark.parametrize(
    'net, more',
    [
        ('msagcn', dict(accumulate=2)),
        ('msagcn', dict(precision='bf16', label_smoothing=0.1, drop_axis=0.5)),
        ('msg3d', dict(mirror=0.5)),
    ],
    ids=str,
)
def test_replays_have_the_bits_of_single_steps(clips, tmp_path, recorded, net, more):
    plan = replace(PLAN, **more)
    same(
        ended(tmp_path, clips, 'replayed', plan, net),
        ended(tmp_path, clips, 'single', replace(plan, capture=False), net),
    )
    assert isinstance(
        steps_of(
            NETS[net](),
            clips,
            torch.arange(7),
            plan,
            make_optimiser(NETS[net](), plan),
            torch.amp.GradScaler(enabled=False),
        ),
        CapturedSteps,
    )


def test_the_usual_optimiser_is_the_same_within_rounding(clips, tmp_path, monkeypatch):
    usual = ended(tmp_path, clips, 'usual', PLAN, stop=2)
    monkeypatch.setitem(captured.RECORDERS, 'cpu', Repeated)  # and a whole epoch's input at once
    replayed = ended(tmp_path, clips, 'replayed', PLAN, stop=2)
    assert usual[1].keys() == replayed[1].keys()
    for k, a in usual[1].items():
        assert (a - replayed[1][k]).abs().max() <= 1e-3 * a.abs().max() + 1e-6, k


def test_a_run_resumed_within_an_epoch_ends_in_the_same_bits(clips, tmp_path, recorded):
    whole = ended(tmp_path, clips, 'whole', PLAN)
    for stop in (2, 3, 5):
        ended(tmp_path, clips, 'parts', PLAN, stop=stop)
    same(ended(tmp_path, clips, 'parts', PLAN), whole)
    ended(tmp_path, clips, 'often', PLAN, seconds=0, stop=4)  # with a checkpoint at each step
    same(ended(tmp_path, clips, 'often', PLAN, seconds=0), whole)


def test_what_cannot_be_recorded_goes_on_step_by_step_and_says_why(
    clips, tmp_path, recorded, monkeypatch, capfd
):
    single = ended(tmp_path, clips, 'single', replace(PLAN, capture=False))
    assert not capfd.readouterr().err

    class Refused(Repeated):
        def __init__(self, work, device, undo):
            work()
            raise RuntimeError('operation not permitted\nwhen stream is capturing')

    monkeypatch.setitem(captured.RECORDERS, 'cpu', Refused)
    refused = ended(tmp_path, clips, 'refused', PLAN)
    assert (
        capfd.readouterr().err == 'capture: operation not permitted; steps are issued one by one\n'
    )
    same(refused, single)
    monkeypatch.setattr(steps_module, 'world', lambda: (0, 2))
    steps = steps_of(NETS['msagcn'](), clips, torch.arange(7), PLAN, None, None)
    assert type(steps) is Steps and '2 processes share each step' in capfd.readouterr().err


def test_a_loss_that_is_not_finite_ends_the_run_and_leaves_the_checkpoint(
    clips, tmp_path, recorded
):
    ended(tmp_path, clips, 'run', PLAN, stop=2)
    before = (tmp_path / 'run').read_bytes()
    broken = replace(clips, frames=torch.full_like(clips.frames, torch.nan))
    for seconds in (0, 60):
        with pytest.raises(MsagcnError, match='not finite'):
            ended(tmp_path, broken, 'run', PLAN, seconds=seconds)
        assert (tmp_path / 'run').read_bytes() == before


def test_a_checkpoint_is_copied_into_the_momenta(tmp_path, recorded):
    model = NETS['msg3d']()
    a, b = (make_optimiser(model, PLAN) for _ in range(2))
    for state in a.state.values():
        torch.nn.init.normal_(state['momentum_buffer'])
    save_state(tmp_path / 'c', model, a, {})
    places = {p: state['momentum_buffer'].data_ptr() for p, state in b.state.items()}
    load_state(tmp_path / 'c', model, b)
    for p, state in b.state.items():
        assert state['momentum_buffer'].data_ptr() == places[p] and state['momentum_buffer'].equal(
            a.state[p]['momentum_buffer']
        )


@pytest.mark.parametrize('net', NETS)
def test_a_step_reads_nothing_back(clips, recorded, net):
    plan = replace(PLAN, accumulate=2)
    model = NETS[net]()
    steps = steps_of(
        model,
        clips,
        torch.arange(7),
        plan,
        make_optimiser(model, plan),
        torch.amp.GradScaler(enabled=False),
    )
    steps.begin(torch.arange(8) % 7, torch.zeros(8, dtype=torch.long), 0.0, 0)
    data = steps.data(0)
    with HostReads() as seen:
        steps.step(*data, 0.1)
    assert not seen.found


@pytest.mark.parametrize('feed', FEEDS)
def test_feeds_read_nothing_back(feed):
    "On the device `meta` there are no numbers that could be read."
    s = fed_store(made_up_clips(30, 'ntu'), feed=feed)
    s = replace(
        s, **{k: getattr(s, k).to('meta') for k in ('frames', 'starts', 'lengths', 'labels')}
    )
    i = torch.arange(30, device='meta')
    for stream in ('joint', 'bone_motion'):
        batch(s, i, 64, stream, (1, 0 * i))  # tables are made once
        with HostReads() as seen:
            x = batch(s, i, 64, stream, (1, 0 * i))
        assert x.shape == (30, 3, 64, 25, 2) and not seen.found


def test_changed_input_reads_nothing_back():
    "All changes of input that a recipe may ask for, on the device `meta`."
    s = fed_store(made_up_clips(30, 'ntu'))
    s = replace(
        s, **{k: getattr(s, k).to('meta') for k in ('frames', 'starts', 'lengths', 'labels')}
    )
    i, how = torch.arange(30, device='meta'), Augmentation(0.5, 0.1, 0.5, 0.5)
    training_input(s, i, 64, 'bone', 1, 0 * i, how)
    with HostReads() as seen:
        x = training_input(s, i, 64, 'bone', 1, 0 * i, how)
    assert x.shape == (30, 3, 64, 25, 2) and not seen.found


def test_short_epochs_share_a_checkpoint(clips, tmp_path, recorded, monkeypatch):
    """Recorded epochs write a checkpoint every `OFTEN` seconds, and after the last step.

    The result of the run is the same.
    """
    saves = []

    def save(path, *more):
        saves.append(path)
        save_state(path, *more)

    monkeypatch.setattr(steps_module, 'save_state', save)
    seldom = ended(tmp_path, clips, 'seldom', PLAN)
    assert len(saves) == 1
    ended(tmp_path, clips, 'stopped', PLAN, stop=3)  # at the end of an epoch
    assert len(saves) == 2
    monkeypatch.setattr(steps_module, 'OFTEN', 0)
    same(ended(tmp_path, clips, 'often', PLAN), seldom)
    assert len(saves) == 4
    same(ended(tmp_path, clips, 'stopped', PLAN), seldom)


def test_a_gpu_gets_the_classes_that_suit_it(monkeypatch):
    "MS-G3D with nodes first, MSA-GCN by kernels where they are available; on a CPU neither."
    gpu = torch.device('cuda')
    assert type(suited(NETS['msg3d'](), PLAN, gpu)) is NodesMSG3D
    for plan, device in ((PLAN, torch.device('cpu')), (replace(PLAN, kernels=False), gpu)):
        assert type(suited(NETS['msg3d'](), plan, device)) is MSG3D
        assert type(suited(NETS['msagcn'](), plan, device).blocks[0]) is LeanBlock
    monkeypatch.setitem(sys.modules, 'msagcn.fast.gpu', None)  # as where it cannot be imported
    assert type(suited(NETS['msagcn'](), PLAN, gpu).blocks[0]) is LeanBlock
