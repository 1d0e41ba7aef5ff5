"""Beginning from trained weights: other classes and people, held layers, class weights, a subset.

Everything through the command: what is recorded, resumed, verified, and refused in one line.
"""

import hashlib
import json
import shutil

import numpy as np
import pytest
import torch
from conftest import need, pairs, places
from safetensors.numpy import load_file

from msagcn.cli import main
from msagcn.core import BOX
from msagcn.data.clips import load_clips
from msagcn.data.subset import of_classes
from msagcn.experiments.records import folder_of
from msagcn.fast.fused import FUSED
from msagcn.fast.lean import LEAN, exchange
from msagcn.foreign.msg3d import save_names
from msagcn.models.msagcn import MSAGCN
from msagcn.models.msg3d import MSG3D
from msagcn.native import can_compile
from msagcn.training.held import hold_still, to_training

SMALL = dict(
    model='msg3d', width=6, windows='[]', frames=8, steps=4, batch_size=8, val_subjects='[1]',
    refit='false', device='cpu', lr=0.05,
)  # fmt: skip
FOUR, TWO = 'sit down,donning,throw,carry', 'walk around,stand up'


def train(out, embedded, **more):
    "The record and the weights of a run of the command."
    told = SMALL | places(out) | dict(data_dir=embedded) | more
    assert main(['train', '--no-notebook', *pairs(**told)]) == 0
    run = f'{told["model"]}-embedded-{told["recipe"]}-joint-s1'
    folder = folder_of(run, out / 'reports', out / 'runs')
    return json.loads(folder.metrics.read_text()), folder.weights


def refused(out, embedded, capsys, **more):
    "The one line that the command leaves, after the run's name."
    told = SMALL | places(out) | dict(data_dir=embedded, recipe='refused') | more
    capsys.readouterr()
    assert main(['train', '--no-notebook', *pairs(**told)]) == 2
    said = capsys.readouterr().err
    name, _, line = said.partition('\n')
    assert name.endswith('-s1') and len(line.splitlines()) == 1, said
    return line


@pytest.fixture(scope='module')
def out(tmp_path_factory):
    return tmp_path_factory.mktemp('start')


@pytest.fixture(scope='module')
def base(out, embedded):
    "A network trained on four classes."
    assert set(f'{FOUR},{TWO}'.split(',')) <= set(load_clips(embedded / 'embedded').classes)
    return train(out, embedded, recipe='base', classes=FOUR)


@pytest.fixture(scope='module')
def tuned(out, embedded, base):
    "Two other classes, from the first network by its name, two of three blocks held."
    return train(
        out, embedded, recipe='tuned', classes=TWO, start='msg3d-embedded-base-joint-s1', hold=2,
        class_weights='balanced',
    )  # fmt: skip


def test_a_subset_of_classes_is_a_data_set_of_its_own(base, tuned, embedded):
    clips = load_clips(embedded / 'embedded')
    for m, names in ((base[0], FOUR), (tuned[0], TWO)):
        some = of_classes(clips, names.split(','))
        assert m['data_hash'] == some.data_hash != clips.data_hash
        assert m['classes'] == names.split(',') and m['n_test'] == some.parts.count('test')
    assert load_file(base[1])['classify.bias'].shape == (4,)
    assert load_file(tuned[1])['classify.bias'].shape == (2,)


def test_what_a_run_began_from_is_recorded(base, tuned):
    m, weights = tuned
    assert m['start'] == str(base[1])
    assert m['start_sha256'] == hashlib.sha256(base[1].read_bytes()).hexdigest()
    assert (m['hold'], m['class_weights']) == (2, 'balanced')
    assert 'start' not in base[0]  # fresh weights
    assert 0 <= m['mean_class'] <= 100


def test_held_layers_keep_every_bit_and_the_others_move(base, tuned):
    before, after = load_file(base[1]), load_file(tuned[1])
    held = {k for k in before if k.startswith(('input_bn', 'blocks.0.', 'blocks.1.'))}
    assert all(before[k].tobytes() == after[k].tobytes() for k in held)
    later = [k for k in before if k.startswith('blocks.2.') and before[k].dtype == np.float32]
    moved = [k for k in later if (before[k] != after[k]).any()]
    assert any('running_mean' in k for k in moved) and len(moved) > len(later) / 2


def test_mean_class_accuracy_is_in_the_table(out, tuned):
    header, *rows = (out / 'reports/results.csv').read_text().splitlines()
    (row,) = [r.split(',') for r in rows if tuned[0]['run_id'] in r]
    assert row[header.split(',').index('mean_class')] == f'{tuned[0]["mean_class"]:.2f}'


def test_it_is_verified_like_any_run(out, embedded, tuned, capsys):
    told = pairs(data_dir=embedded, reports_dir=out / 'reports')
    assert main(['verify', tuned[0]['run_id'], *told]) == 0
    assert 'bit-equal' in capsys.readouterr().out


def test_verify_refuses_another_start_file(out, embedded, base, tuned, tmp_path, capsys):
    reports = shutil.copytree(out / 'reports', tmp_path / 'reports')
    record = reports / 'runs' / tuned[0]['run_id'] / 'metrics.json'
    record.write_text(json.dumps(tuned[0] | dict(start=str(tuned[1]))))
    told = pairs(data_dir=embedded, reports_dir=reports, steps=2)
    assert main(['verify', tuned[0]['run_id'], *told]) == 2
    assert 'is not what the run began from (SHA-256)' in capsys.readouterr().err


def test_stopped_and_resumed_it_ends_in_the_same_bits(out, embedded, base, tuned, tmp_path):
    "The start counts once: a checkpoint of the first steps goes on, it does not begin anew."
    from msagcn.experiments.reading import read_parameters
    from msagcn.experiments.run import fit_part
    from msagcn.experiments.run_folder import close_run, open_run
    from msagcn.experiments.train_parameters import TrainParameters
    from msagcn.experiments.weights import run_clips
    from msagcn.feeds.feeds import fed_store

    told = SMALL | places(tmp_path) | dict(data_dir=embedded, recipe='tuned', classes=TWO, hold=2)
    told |= dict(start=base[1], class_weights='balanced')
    p = read_parameters(TrainParameters, {k: str(v) for k, v in told.items()})
    clips = run_clips(p)
    open_run(p, clips)
    fit_part(p, clips, fed_store(clips, torch.device('cpu'), p.feed), 'fit', stop=2)
    close_run(p.folder)
    assert not p.folder.finished and p.folder.checkpoint('fit').exists()
    m, weights = train(tmp_path, embedded, **{k: told[k] for k in told if k not in SMALL})
    assert m['first_losses'] == tuned[0]['first_losses']
    there, here = load_file(tuned[1]), load_file(weights)
    assert all(there[k].tobytes() == here[k].tobytes() for k in there)


def test_another_start_file_is_another_run_and_a_moved_one_is_not(
    out, embedded, base, tuned, tmp_path, capsys
):
    moved = shutil.copy(base[1], tmp_path / 'moved.safetensors')
    told = dict(recipe='tuned', classes=TWO, hold=2, class_weights='balanced')
    m, _ = train(out, embedded, **told, start=moved)
    assert m == tuned[0]
    said = refused(out, embedded, capsys, **told, start=tuned[1])
    assert 'this run exists with start_sha256' in said and 'another name' in said


def test_the_same_classes_keep_the_classifier(out, embedded, base):
    "More epochs: a step with a rate of almost nothing leaves the network as it was, its classifier too."
    still = dict(classes=FOUR, start=base[1], hold=3, lr=1e-30, steps=1)
    _, weights = train(out, embedded, recipe='more', **still)
    before, after = load_file(base[1]), load_file(weights)
    assert all((before[k] == after[k]).all() for k in before)
    _, weights = train(out, embedded, recipe='anew', **still | dict(classes=f'{TWO},throw,carry'))
    anew = load_file(weights)
    assert (anew['classify.weight'] != before['classify.weight']).all()


def test_a_published_checkpoint_is_a_start(out, embedded, tmp_path):
    "MS-G3D as its authors write it, 60 classes: all but the classifier is taken over."
    from msagcn.data.skeleton import UCLA20

    theirs = MSG3D(60, UCLA20, 8, width=6, windows=(), seed=5)
    save_names(theirs, tmp_path / 'theirs.pt', 'official')
    _, weights = train(
        out, embedded, recipe='published', start=tmp_path / 'theirs.pt', hold=3, steps=1
    )
    after, before = load_file(weights), theirs.state_dict()
    assert after['classify.weight'].shape[0] == 10
    same = [k for k in before if not k.startswith('classify')]
    assert all((before[k].numpy() == after[k]).all() for k in same)


@pytest.mark.parametrize(
    'more, says',
    [
        (dict(model='msagcn', width=40, windows='[3, 5]'), 'model: msg3d for the weights, msagcn'),
        (dict(stream='bone'), 'stream: joint for the weights, bone in this run'),
        (dict(width=12), 'blocks.0.'),
        (dict(scales=3), 'for the weights'),
        (dict(normalize='column'), 'normalize: symmetric for the weights, column in this run'),
        (dict(start='nobody'), 'nobody: no such file, and no weights'),
        (dict(hold=4), 'hold: 4 blocks, but msg3d has 3'),
        (dict(start='', hold=1), 'hold: 1 blocks keep the weights of start, and start is empty'),
        (dict(classes='walk around,swim'), "no class 'swim'; there are 0 "),
        (dict(classes='throw'), "classes: 'throw' alone leaves nothing to tell apart"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(out, embedded, base, capsys, more, says):
    assert says in refused(out, embedded, capsys, **dict(start=base[1], classes=TWO) | more)
    assert not list((out / 'runs').glob('*refused*'))


def test_another_skeleton_and_another_number_of_channels_are_refused(
    out, embedded, tmp_path, capsys
):
    "The network of the box knows Kinect's joints in 3D; a checkpoint of COCO in 2D does not."
    from msagcn.data.skeleton import SKELETONS

    coco = MSG3D(5, SKELETONS['coco17'], 8, width=6, windows=())
    save_names(coco, tmp_path / 'coco.pt', 'official')
    said = refused(out, embedded, capsys, start=tmp_path / 'coco.pt')
    assert 'coco.pt' in said
    flat = MSG3D(5, SKELETONS['ucla20'], 8, width=6, windows=(), in_channels=2)
    save_names(flat, tmp_path / 'flat.pt', 'official')
    assert 'flat.pt' in refused(out, embedded, capsys, start=tmp_path / 'flat.pt')


def test_weights_of_a_subset_are_tested_on_it(out, embedded, tuned, capsys):
    capsys.readouterr()
    told = pairs(weights=tuned[1], benchmark='embedded', data_dir=embedded, device='cpu')
    assert main(['test', *told]) == 0
    assert f'top1 {tuned[0]["top1"]:.2f}' in capsys.readouterr().out


@pytest.mark.parametrize('table', [LEAN, FUSED], ids=['lean', 'compiled'])
def test_held_blocks_of_msagcn_in_faster_forms(table):
    "Logits and gradients are those of the readable network, and nothing held is moved."
    from msagcn.data.skeleton import UCLA20

    if table is FUSED and not can_compile():
        pytest.skip('there is no compiler')
    x, found = torch.randn(4, 3, 16, 20, 1).double(), []
    for layers in ({}, table):
        model = MSAGCN(5, UCLA20, 16, width=40, seed=1).double()
        exchange(model, {}).train()(x)
        exchange(model, layers)
        hold_still(model, 4)
        to_training(model, 4)
        before = {k: v.clone() for k, v in model.named_buffers() if k.startswith('blocks.3.')}
        y = model(x)
        y.logsumexp(1).sum().backward()
        assert all(torch.equal(v, model.get_buffer(k)) for k, v in before.items())
        found.append([y, *(p.grad for p in model.parameters() if p.requires_grad)])
    for a, b in zip(*found):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)


def test_the_box_is_a_start(out, embedded, tmp_path):
    need(BOX / 'precog.safetensors', 'the network of the box')
    assert main(['prepare', *pairs(benchmark='precog', data_dir=tmp_path / 'data')]) == 0
    told = places(tmp_path) | dict(recipe='x', classes='0,1', start='precog', hold=3, steps=1)
    told |= dict(device='cpu', warmup_steps=0, frames=16)  # frames may be others
    assert main(['train', '--no-notebook', '-f', 'precog', *pairs(**told)]) == 0
    m = json.loads((tmp_path / 'reports/runs/msg3d-precog-x-joint-s1/metrics.json').read_text())
    stated = json.loads((BOX / 'precog.json').read_text())
    assert (m['start'], m['start_sha256']) == ('precog', stated['sha256'])
