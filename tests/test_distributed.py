"""Two processes train what one process trains, in float64.

With statistics per process, the one process computes the two shares one after the other and keeps the
statistics of the first; with synchronised statistics, it computes the whole batch. This file is also
the program of the two.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, command, of_few_blocks, pairs, papermill, places
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from msagcn.core import MsagcnError, content_hash, read_json
from msagcn.data.clips import load_clips
from msagcn.data.skeleton import UCLA20
from msagcn.distributed.launch import launch, slurm_command, torchrun_command
from msagcn.distributed.ranks import finish, gather, start, world
from msagcn.feeds.feeds import fed_store
from msagcn.models.msagcn import MSAGCN
from msagcn.models.msg3d import MSG3D
from msagcn.training.evaluate import load_scores, predict
from msagcn.training.loop import fit
from msagcn.training.plan import Plan

CLIPS, WATCHED = torch.arange(0, 60, 4)[:12], np.arange(1, 60, 4)[:13]
# 21 steps; a larger rate makes chaos of rounding
PLAN = Plan(frames=8, epochs=7, batch_size=4, lr=2e-5, warmup=0)
SYNCHRONISED = replace(PLAN, sync_bn=True)


def net(kind=MSAGCN):
    if kind is MSG3D:
        return MSG3D(10, UCLA20, 8, width=12, scales=4, window_scales=2, seed=3).double()
    return of_few_blocks(kind(10, UCLA20, 8, width=40, seed=3)).double()


def data(folder):
    return fed_store(load_clips(folder), dtype=torch.float64)


def scores(model, s):
    "Scores in batches of three, where clips influence each other and where they do not."
    out = {'running': predict(model, s, WATCHED, 8, 'joint', 3)}
    if isinstance(model, MSG3D):
        return {k: torch.tensor(v) for k, v in out.items()}
    out['batch'] = predict(model.set_context('batch'), s, WATCHED, 8, 'joint', 3)
    model.set_context('running')
    return {k: torch.tensor(v) for k, v in out.items()}


class Stop(Exception):
    pass


def main(folder, out):
    "The program of each of the two processes."
    start(torch.device('cpu'))
    s, out = data(folder), Path(out)
    for name, (kind, plan) in dict(
        own=(MSAGCN, PLAN), synchronised=(MSAGCN, SYNCHRONISED), msg3d=(MSG3D, SYNCHRONISED)
    ).items():
        model = net(kind)
        history = fit(model, s, CLIPS, plan, out / f'{name}.checkpoint', dict(val=WATCHED))
        same = len(set(gather(content_hash(*model.state_dict().values())))) == 1
        tensors = scores(model, s) | {
            f'model.{k}': v.contiguous() for k, v in model.state_dict().items()
        }
        if world()[0] == 0:
            save_file(tensors, out / f'{name}.safetensors')
            (out / f'{name}.json').write_text(json.dumps([history, same, world()]))
    stopped, passes, plan = net(), [], replace(PLAN, epochs=2)

    def forward(x, *a):
        passes.append(1)
        if stopped.training and len(passes) == 5:
            raise Stop
        return MSAGCN.forward(stopped, x, *a)

    stopped.forward = forward
    try:
        fit(stopped, s, CLIPS, plan, out / 'stopped', seconds=0)
    except Stop:
        gather(0)  # in the middle of the second epoch, the fourth step is on disk
    resumed, whole = net(), net()
    for model, name in ((resumed, 'stopped'), (whole, 'whole')):
        fit(model, s, CLIPS, plan, out / name)
    equal = all(torch.equal(v, whole.state_dict()[k]) for k, v in resumed.state_dict().items())
    if world()[0] == 0:
        (out / 'resumed.json').write_text(json.dumps([equal, len(passes)]))
    finish()


class FirstShareOnly(MSAGCN):
    "Keeps the running statistics of every other batch, like rank 0 of two."

    second = False

    def forward(self, x, maps=None):
        if not self.training:
            return super().forward(x, maps)
        before = [b.clone() for b in self.buffers()]
        y = super().forward(x, maps)
        if self.second:
            for b, old in zip(self.buffers(), before):
                b.data.copy_(old)
        self.second = not self.second
        return y


@pytest.fixture(scope='module')
def two(embedded, tmp_path_factory):
    out = tmp_path_factory.mktemp('two')
    launch(torchrun_command([embedded / 'embedded', out], 2, [__file__]), done=out / 'resumed.json')
    return out


@pytest.mark.parametrize(
    'name, kind, plan',
    [
        ('own', FirstShareOnly, replace(PLAN, accumulate=2)),
        ('synchronised', MSAGCN, PLAN),
        ('msg3d', MSG3D, PLAN),
    ],
)
def test_two_processes_do_what_one_does(two, embedded, tmp_path, capsys, name, kind, plan):
    s, model = data(embedded / 'embedded'), net(kind)
    want = fit(model, s, CLIPS, plan, tmp_path / 'one', dict(val=WATCHED))
    got, same, (_, size) = json.loads((two / f'{name}.json').read_text())
    assert size == 2 and same  # both ranks end in the same bits
    assert [h['epoch'] for h in got] == [1, 2, 3, 4, 5, 6, 7] and len({h['loss'] for h in got}) == 7
    worst = max(abs(g['loss'] - w['loss']) for g, w in zip(got, want, strict=True))
    tensors = load_file(two / f'{name}.safetensors')
    far = {
        k: ((v - tensors[f'model.{k}']).abs().max() / v.abs().max().clamp(min=1e-3)).item()
        for k, v in model.state_dict().items()
    }
    with capsys.disabled():
        print(
            f'\n{name}: losses of 21 steps differ by {worst:.1e}, '
            f'weights and statistics by {max(far.values()):.1e}'
        )
    assert worst <= 1e-8 and max(far.values()) <= 1e-7, max(far, key=far.get)
    for key in ('train_top1', 'val_top1'):
        assert [g[key] for g in got] == [w[key] for w in want]
    model.load_state_dict({k: tensors[f'model.{k}'] for k in model.state_dict()})
    for k, v in scores(model, s).items():
        assert torch.equal(v, tensors[k]), k  # the same weights: the same scores to the bit


def test_statistics_matter(two):
    a, b = (json.loads((two / f'{n}.json').read_text())[0] for n in ('own', 'synchronised'))
    assert max(abs(x['loss'] - y['loss']) for x, y in zip(a, b)) > 1e-3


def test_a_stopped_run_of_two_ends_in_the_same_bits(two):
    assert json.loads((two / 'resumed.json').read_text()) == [True, 5]


def test_a_rank_that_fails_stops_all_and_is_one_line(tmp_path):
    program = tmp_path / 'fails.py'
    program.write_text(
        'import torch\n'
        'from msagcn.core import MsagcnError\n'
        'from msagcn.distributed.ranks import gather, start, world\n'
        'start(torch.device("cpu"))\n'
        'if world()[0] == 1: raise MsagcnError("clips: the second has none")\n'
        'gather(0)\n'
    )
    with pytest.raises(MsagcnError) as e:
        launch(torchrun_command([], 2, [str(program)]))
    assert str(e.value) == 'clips: the second has none'


def test_a_step_is_shared_equally_or_not_at_all(embedded, tmp_path):
    for plan in (replace(PLAN, accumulate=3), replace(PLAN, batch_size=5, accumulate=2)):
        with pytest.raises(
            MsagcnError, match=f'batch_size: {plan.batch_size} cannot be shared equally'
        ):
            fit(net(), data(embedded / 'embedded'), CLIPS, plan, tmp_path / 'a')


def test_synchronising_a_single_process_changes_nothing(embedded, tmp_path):
    s, plan = data(embedded / 'embedded'), replace(PLAN, epochs=1)
    a, b = net(), net()
    assert [h['loss'] for h in fit(a, s, CLIPS, plan, tmp_path / 'a')] == [
        h['loss'] for h in fit(b, s, CLIPS, replace(plan, sync_bn=True), tmp_path / 'b')
    ]
    assert all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())


def test_a_checkpoint_without_a_later_field_is_resumed(embedded, tmp_path):
    s, plan = data(embedded / 'embedded'), replace(PLAN, epochs=1)
    history = fit(net(), s, CLIPS, plan, tmp_path / 'a')
    with safe_open(tmp_path / 'a', 'pt') as f:
        at = json.loads(f.metadata()['progress'])
    del at['checksum']  # an earlier version wrote none
    for k in ('sync_bn', 'accumulate'):
        del at['plan'][k]
    save_file(load_file(tmp_path / 'a'), tmp_path / 'a', {'progress': json.dumps(at)})
    assert fit(net(), s, CLIPS, plan, tmp_path / 'a') == history


def test_the_command_starts_several_processes(embedded, tmp_path):
    """`--launcher pytorch --gpus 2`: one result, written once.

    Stopped and started again, the result is the same; and two processes share a test.
    """
    at = places(tmp_path) | dict(data_dir=str(embedded))
    small = dict(
        at,
        width=40,
        frames=8,
        batch_size=8,
        epochs=2,
        warmup=0,
        val_subjects='[2]',
        refit='false',
        device='cpu',
        lr=0.02,
    )
    run = ['train', '--launcher', 'pytorch', '--gpus', '2', '--no-notebook']
    said = command(*run, *pairs(**small), cwd=ROOT).stdout
    metrics = read_json(tmp_path / 'reports/runs/msagcn-embedded-smoke-joint-s1/metrics.json')
    assert said.count('top1_clean') >= 1 and f'{metrics["top1"]:.2f}' in said
    # in the columns recipe and run_id, of one row
    assert (tmp_path / 'reports/results.csv').read_text().count('smoke') == 2
    weights, scores = (
        tmp_path / 'runs/msagcn-embedded-smoke-joint-s1/weights.safetensors',
        tmp_path / 'shared.npz',
    )
    said = command(
        'test',
        *pairs(weights=weights, data_dir=embedded, nproc=2, device='cpu', scores=scores),
        cwd=ROOT,
    ).stdout
    assert f'top1 {metrics["top1"]:.2f}' in said
    assert np.array_equal(
        load_scores(scores).scores,
        load_scores(
            tmp_path / 'reports/runs/msagcn-embedded-smoke-joint-s1/test_scores.npz'
        ).scores,
    )
    wrong = command(
        *run,
        *pairs(**small | dict(batch_size=9, recipe='odd')),
        cwd=ROOT,
        check=False,
    )
    assert (
        wrong.returncode == 2
        and 'cannot be shared equally' in wrong.stderr
        and wrong.stderr.count('\n') <= 2
    )


def test_the_notebook_starts_several_processes(embedded, tmp_path):
    """The train notebook by papermill, with two processes underneath.

    The table and the figures are drawn in the notebook.
    """
    at = places(tmp_path) | dict(data_dir=str(embedded))
    small = dict(
        at,
        recipe='two',
        width=40,
        frames=8,
        batch_size=8,
        epochs=1,
        val_subjects='[2]',
        device='cpu',
        nproc=2,
    )
    out = tmp_path / 'out.ipynb'
    papermill(
        ROOT / 'nbs/runs/train.ipynb',
        out,
        '-k',
        'python3',
        *[w for k, v in small.items() for w in ('-y', f'{k}: {v}')],
        cwd=tmp_path,
    )
    assert (
        read_json(tmp_path / 'reports/runs/msagcn-embedded-two-joint-s1/metrics.json')['nproc'] == 2
        and 'image/png' in out.read_text()
    )


def test_how_ranks_are_started():
    "The command lines, without torchrun or Slurm."
    assert torchrun_command(['train'], 4)[1:] == [
        '-m',
        'msagcn.distributed.torchrun',
        '--standalone',
        '--nproc-per-node',
        '4',
        '-m',
        'msagcn',
        'train',
    ]
    command = slurm_command(['train', '-p', 'seed', '2'], 16, 'gpu')
    assert command[0] == 'srun' and {
        '--partition=gpu',
        '--ntasks=16',
        '--ntasks-per-node=8',
        '--gres=gpu:8',
    } <= set(command)
    assert command[-6:] == ['-m', 'msagcn', 'train', '-p', 'seed', '2'] and not any(
        'gres' in w for w in slurm_command([], 2, device='cpu')
    )
    with pytest.raises(MsagcnError, match='12'):
        slurm_command([], 12)


if __name__ == '__main__':
    main(*sys.argv[1:])
