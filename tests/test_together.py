"""Runs that train together in one process are the same, to the bit, as trained alone."""

import json
import os
import signal
import threading
import time
from dataclasses import replace
from functools import partial

import pandas as pd
from conftest import pairs
from safetensors.torch import load_file
from test_bad_input import refused
from test_captured import PLAN, ended, same

from msagcn.bench.contenders import made_up_clips
from msagcn.cli import main
from msagcn.fast import cuda_graph
from msagcn.feeds.feeds import fed_store
from msagcn.stopping import asked
from msagcn.training import loop
from msagcn.training.turns import in_turns, pass_on

SIZES = dict(width=40, frames=4, epochs=1, batch_size=8, refit=False, lr=0.01, device='cpu')


def command(folder, embedded, **more):
    places = dict(data_dir=embedded, runs_dir=folder / 'runs', reports_dir=folder / 'reports')
    return ['train', '--no-notebook', *pairs(**(SIZES | places | more))]


def left(folder):
    "What runs leave, by the file's name: tensors, scores, histories and metrics; without times."
    found = {}
    for f in sorted(f for f in folder.rglob('*') if f.is_file()):
        name = str(f.relative_to(folder))
        if f.name.startswith('history') and f.suffix == '.csv':
            found[name] = pd.read_csv(f).drop(columns='seconds').to_dict()
        elif f.name == 'metrics.json':
            values = json.loads(f.read_text())
            found[name] = {k: v for k, v in values.items() if k not in ('seconds', 'machine')}
        elif f.suffix == '.safetensors':
            found[name] = {k: v.numpy().tobytes() for k, v in load_file(f).items()}
    return found


def test_the_same_bits_as_alone(tmp_path, embedded, monkeypatch):
    "Three runs, two at once: each with its own folder, checkpoint and result."
    seeds, who = dict(seed='1,2,3'), []

    def noted():
        who.append(threading.current_thread().name)
        pass_on()

    assert main(command(tmp_path / 'alone', embedded, **seeds)) == 0
    monkeypatch.setattr(loop, 'pass_on', noted)
    assert main(command(tmp_path / 'together', embedded, **seeds, together=2)) == 0
    alone, together = left(tmp_path / 'alone'), left(tmp_path / 'together')
    assert len([f for f in alone if f.endswith('.safetensors')]) >= 6
    assert alone.keys() == together.keys()
    assert not [f for f in alone if alone[f] != together[f]]
    assert len(set(who[:2])) == 2 and len(set(who)) == 3  # in turn; the third came later
    assert main(command(tmp_path / 'together', embedded, **seeds, together=2)) == 0  # nothing to do


def test_recorded_steps_have_the_bits_of_those_alone(tmp_path, monkeypatch):
    monkeypatch.setitem(cuda_graph.RECORDERS, 'cpu', cuda_graph.Repeated)
    clips, plans = fed_store(made_up_clips(7)), [replace(PLAN, epochs=1, seed=s) for s in (1, 2)]
    alone = [ended(tmp_path, clips, f'alone{p.seed}', p) for p in plans]
    works = [partial(ended, tmp_path, clips, f'together{p.seed}', p) for p in plans]
    for a, b in zip(alone, in_turns(works, 2), strict=True):
        same(a, b)


def test_a_run_that_fails_leaves_the_others_alone(tmp_path, embedded, monkeypatch, capfd):
    many, keep_first_loss = dict(seed='1,2'), loop._Training._keep_first_loss

    def spoiled(self, step):
        keep_first_loss(self, step)
        if self.plan.seed == 1:
            self.steps.losses[step] = float('nan')

    monkeypatch.setattr(loop._Training, '_keep_first_loss', spoiled)
    words = command(tmp_path, embedded, **many, together=2)
    refused(capfd, *words, says=['-s1', 'the loss is not finite'])
    weights = [f.parent.name for f in tmp_path.rglob('weights.safetensors')]
    assert len(weights) == 1 and weights[0].endswith('s2')


def test_what_cannot_train_together(tmp_path, embedded, capfd):
    for more, says in (
        (dict(together=2, nproc=2), 'nproc'),
        (dict(together='2,3'), 'one number'),
        (dict(together=2, lr='0.1,0.2'), 'twice'),
        (dict(together=0), 'together'),
    ):
        refused(capfd, *command(tmp_path, embedded, **more), says=['together', says])
    assert not list(tmp_path.iterdir())


def test_a_signal_ends_all_after_a_checkpoint(tmp_path, embedded, monkeypatch, capfd):
    "Each after its next step; the run that has not begun does not begin; the same call goes on."
    seeds, steps, keep_first_loss = dict(seed='1,2,3'), [], loop._Training._keep_first_loss
    assert main(command(tmp_path / 'alone', embedded, **seeds)) == 0

    def interrupted(self, step):
        keep_first_loss(self, step)
        steps.append(self.plan.seed)
        if len(steps) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
            while not asked():  # the main thread notes it when it has its turn
                time.sleep(0.001)

    words = command(tmp_path / 'together', embedded, **seeds, together=2)
    before = set(threading.enumerate())
    with monkeypatch.context() as m:
        m.setattr(loop._Training, '_keep_first_loss', interrupted)
        assert main(words) == 143
    assert 'stopped by SIGTERM in epoch 1 after step' in capfd.readouterr().err
    assert set(steps) == {1, 2} and len(steps) <= 4
    assert set(threading.enumerate()) <= before  # no run works on
    assert len(list((tmp_path / 'together').rglob('fit.safetensors'))) == 2
    assert main(words) == 0
    alone, together = left(tmp_path / 'alone'), left(tmp_path / 'together')
    assert [f for f in alone if alone[f] != together.get(f)] == []
