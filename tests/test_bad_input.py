"""Any fault in a file or a parameter ends in exit status 2 and one line with place and cause.

There is no traceback, and nothing is left half-written. Three things are odd but allowed: equal clips
under two names, a clip of one frame, a constant axis.
"""

import json
import os
import shutil
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY, pairs, places
from safetensors.numpy import save_file

from msagcn import core
from msagcn.cli import main
from msagcn.core import MsagcnError
from msagcn.data.clip_writer import save_clips
from msagcn.data.clips import load_clips
from msagcn.data.skeleton import NTU25, UCLA20
from msagcn.feeds.streams import batch, store
from msagcn.models.msagcn import MSAGCN
from msagcn.training.checkpoint import load_state, save_state
from msagcn.training.evaluate import Scores, save_scores
from msagcn.training.plan import Plan
from msagcn.training.setup import make_optimiser

CLIP = 'a01_s01_e00_v01.json'


def refused(capfd, *argv, says=()):
    "The command must fail with status 2 and a last line with all of `says`; returns that line."
    capfd.readouterr()
    assert main([str(a) for a in argv]) == 2
    error = capfd.readouterr().err
    # the run's name, printed before it starts
    lines = [l for l in error.splitlines() if not l.startswith(('msagcn-', 'msg3d-'))]
    assert len(lines) == 1 and lines[0].startswith('msagcn: ') and 'Traceback' not in error, error
    for word in says:
        assert str(word) in lines[0], (word, lines[0])
    return lines[0]


def nothing_left(folder):
    left = [
        p
        for p in Path(folder).rglob('*')
        if p.name.endswith('.part') or p.name in ('frames.npy', 'manifest.json')
    ]
    assert not left


@pytest.fixture
def source(embedded, tmp_path):
    "A folder with six good raw clips, to be spoilt."
    folder = tmp_path / 'source'
    folder.mkdir()
    for p in sorted((embedded / 'raw/embedded/all_sqe').glob('*.json'))[:6]:
        shutil.copy(p, folder)
    return folder


def prepare(tmp_path, source):
    return ['prepare', *pairs(benchmark='nw_ucla', source=source, data_dir=tmp_path / 'data')]


def changed(**fields):
    "A change of the clip's JSON."
    return lambda text: json.dumps(json.loads(text) | fields)


def with_number(number):
    def change(text):
        clip = json.loads(text)
        clip['skeletons'][3][7][1] = number
        return json.dumps(clip)

    return change


BAD_CLIPS = {
    'empty': (lambda text: '', 'empty'),
    'cut off': (lambda text: text[: len(text) // 2], 'cut off'),
    'not JSON': (lambda text: '<html>hello</html>', 'not JSON'),
    'no skeletons': (lambda text: '{"label": 1}', 'skeletons'),
    'list': (lambda text: '[1, 2]', 'skeletons'),
    'nested too deep': (lambda text: '[' * 200_000, CLIP),
    'one joint short': (
        lambda text: changed(skeletons=[f[:19] for f in json.loads(text)['skeletons']])(text),
        '20×3',
    ),
    'ragged': (lambda text: changed(skeletons=[[[0, 0, 0]] * 20, [[0, 0, 0]] * 19])(text), '20×3'),
    'a number for skeletons': (changed(skeletons=5), '20×3'),
    'a mapping for skeletons': (changed(skeletons={'a': 1}), '20×3'),
    'huge': (with_number(10**400), CLIP),
    'words': (with_number('far'), 'numbers'),
    'null': (with_number(None), CLIP),
    'NaN': (with_number(float('nan')), 'NaN'),
    'infinite': (with_number(float('inf')), 'infinite'),
    'minus infinite': (with_number(float('-inf')), 'infinite'),
    'zero frames': (changed(skeletons=[]), 'zero frames'),
    'other label': (changed(label=4), 'label'),
    'label as text': (changed(label='x'), 'label'),
}


@pytest.mark.parametrize('kind', BAD_CLIPS)
def test_bad_clip(kind, source, tmp_path, capfd):
    change, cause = BAD_CLIPS[kind]
    (source / CLIP).write_text(change((source / CLIP).read_text()))
    refused(capfd, *prepare(tmp_path, source), says=[CLIP, cause])
    nothing_left(tmp_path)


@pytest.mark.parametrize(
    'name, cause',
    [
        ('a07_s01_e00_v01', 'outside the rule'),
        ('a01_s01_e00_v04', 'view'),
        ('hello', 'aXX_sYY_eZZ_vKK'),
    ],
)
def test_name_outside_the_rule(name, cause, source, tmp_path, capfd):
    (source / CLIP).rename(source / f'{name}.json')
    refused(capfd, *prepare(tmp_path, source), says=[name, cause])
    nothing_left(tmp_path)


def zipped(source, path, extra=()):
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as z:
        for p in sorted(source.iterdir()):
            z.write(p, f'all_sqe/{p.name}')
        for name in extra:
            z.writestr(name, (source / CLIP).read_text())
    return path


@pytest.mark.parametrize(
    'extra, cause',
    [
        (f'again/{CLIP}', 'there before'),
        (f'../{CLIP}', 'climbs out'),
        (f'/tmp/{CLIP}', 'climbs out'),
        (f'C:\\{CLIP}', 'climbs out'),
        (f'..\\{CLIP}', 'climbs out'),
    ],
)
def test_bad_name_in_the_archive(extra, cause, source, tmp_path, capfd):
    refused(
        capfd,
        *prepare(tmp_path, zipped(source, tmp_path / 'all_sqe.zip', [extra])),
        says=['all_sqe.zip', cause],
    )
    nothing_left(tmp_path)


def test_files_that_are_not_archives(source, tmp_path, capfd):
    good = zipped(source, tmp_path / 'good.zip').read_bytes()
    spoilt = bytearray(good)
    spoilt[100:400] = bytes(b ^ 0x5A for b in spoilt[100:400])
    bad = tmp_path / 'all_sqe.zip'
    for data, cause in (
        (b'<!DOCTYPE html><html>sign in</html>', 'web page'),
        (good[: len(good) // 2], 'not a zip'),
        (b'', 'not a zip'),
        (bytes(spoilt), 'cannot read'),
    ):
        bad.write_bytes(data)
        refused(capfd, *prepare(tmp_path, bad), says=['all_sqe.zip', cause])
    (tmp_path / 'empty').mkdir()
    refused(capfd, *prepare(tmp_path, tmp_path / 'empty'), says=['empty', 'no .json clips'])
    refused(capfd, *prepare(tmp_path, tmp_path / 'nowhere'), says=['nowhere', 'no such file'])
    nothing_left(tmp_path)


def test_a_web_page_instead_of_the_download(tmp_path):
    from msagcn.data.nw_ucla import download

    (tmp_path / 'page.html').write_text('<html>sign in</html>')
    with pytest.raises(MsagcnError, match='not a zip'):
        download(tmp_path / 'all_sqe.zip', (tmp_path / 'page.html').as_uri())
    assert [p.name for p in tmp_path.iterdir()] == ['page.html']


def test_a_folder_that_cannot_be_written(source, embedded, tmp_path, capfd):
    (tmp_path / 'file').write_text('not a folder')
    blocked = tmp_path / 'file/inside'
    refused(
        capfd,
        'prepare',
        *pairs(benchmark='nw_ucla', source=source, data_dir=blocked),
        says=[blocked],
    )
    refused(capfd, 'prepare', *pairs(subjects=2, data_dir=blocked), says=[blocked])
    train = pairs(**TINY | places(tmp_path) | dict(data_dir=embedded, runs_dir=blocked))
    refused(capfd, 'train', '--no-notebook', *train, says=[blocked])
    nothing_left(tmp_path)


@pytest.fixture
def small_disk(tmp_path):
    "A file system of 256 KiB."
    disk = tmp_path / 'disk'
    disk.mkdir()
    try:
        done = subprocess.run(
            ['mount', '-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', disk],
            capture_output=True,
            text=True,
        )
    except OSError as e:
        pytest.skip(f'no small disk can be made here: {e}')
    if done.returncode:
        pytest.skip(f'no small disk can be made here: {done.stderr.strip()}')
    yield disk
    subprocess.run(['umount', disk], check=True)


def test_disk_full(small_disk, source, embedded, tmp_path, capfd):
    for p in sorted((embedded / 'raw/embedded/all_sqe').glob('*.json')):
        shutil.copy(p, source)
    refused(capfd, *prepare(small_disk, source), says=[small_disk, 'space'])
    nothing_left(small_disk)
    refused(capfd, 'prepare', *pairs(subjects=2, data_dir=small_disk), says=[small_disk, 'space'])
    nothing_left(small_disk)
    shutil.rmtree(small_disk / 'raw')
    train = pairs(
        **TINY
        | dict(data_dir=embedded, runs_dir=small_disk / 'runs', reports_dir=tmp_path / 'reports')
    )
    refused(capfd, 'train', '--no-notebook', *train, says=[small_disk, 'space'])  # the checkpoint
    nothing_left(small_disk)


def test_disk_full_when_weights_are_written(small_disk, embedded):
    from msagcn.experiments.train_parameters import TrainParameters
    from msagcn.experiments.weights import build_model, save_weights

    p, clips = TrainParameters(frames=8, width=40), load_clips(embedded / 'embedded')
    with pytest.raises(MsagcnError, match='weights.safetensors.*space'):
        save_weights(small_disk / 'weights.safetensors', p, clips, build_model(p, clips))
    assert not list(small_disk.iterdir())


def test_disk_full_in_the_middle(tmp_path, monkeypatch):
    def full(fd):
        raise OSError(28, 'No space left on device')

    (tmp_path / 'x.json').write_text('old')
    monkeypatch.setattr(core.os, 'fsync', full)
    with pytest.raises(MsagcnError, match=r'x\.json.*No space left'):
        core.write_json(tmp_path / 'x.json', {'new': 1})
    assert (tmp_path / 'x.json').read_text() == 'old' and len(list(tmp_path.iterdir())) == 1


BAD_PARAMETERS = {
    'unknown key': ('epochz: 3', ['epochz', 'did you mean epochs']),
    'wrong type': ('epochs: many', ['epochs', 'many']),
    'impossible value': ('lr: -1', ['lr', '-1']),
    'not a choice': ('stream: bones', ['stream', 'bones']),
    'two mistakes': ('epochs: 0\nwidth: 41', ['epochs', 'width']),
    'not a number': ('lr: .nan', ['lr', 'nan']),
    'a date': ('epochs: 2020-01-01', ['epochs']),
    'a number as key': ('1: 2', ['1']),
    'not YAML': ('epochs: [1', ['not YAML']),
    'a list': ('- epochs', ['not a mapping']),
    'empty': ('', ['not a mapping']),
    'a folder in the name': ('recipe: ../up', ['recipe']),
}


@pytest.mark.parametrize('kind', BAD_PARAMETERS)
def test_bad_parameter_file(kind, tmp_path, capfd, monkeypatch):
    text, words = BAD_PARAMETERS[kind]
    monkeypatch.chdir(tmp_path)
    Path('bad.yaml').write_text(text)
    refused(capfd, 'train', '--no-notebook', '-f', 'bad.yaml', says=['bad.yaml', *words])
    assert os.listdir() == ['bad.yaml']


def test_bad_parameter_on_the_command_line(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(capfd, 'train', '-f', 'nowhere.yaml', says=['nowhere.yaml', 'cannot read'])
    Path('binary.yaml').write_bytes(b'\xff\xfe\x00')
    refused(capfd, 'train', '-f', 'binary.yaml', says=['binary.yaml', 'not YAML'])
    # nothing of a bad grid is run
    refused(capfd, 'train', '-p', 'seed', '1,x', says=['seed', "'x'"])
    refused(
        capfd, 'train', *pairs(stream='joint'), *pairs(stream='bone'), says=['stream: given twice']
    )
    refused(capfd, 'train', '--gpus', '0', says=['nproc', '0'])
    refused(capfd, 'fuse', *pairs(streams='joint'), says=['streams', 'at least 2'])
    for name, text in (('lr', '{'), ('milestones', '[1'), ('recipe', '\t')):
        refused(capfd, 'train', '-p', name, text, says=[name])
    assert os.listdir() == ['binary.yaml']


BAD_RUNS = {
    'gpu': (dict(device='cuda'), ['cuda']),
    'device': (dict(device='mars'), ['mars']),
    'batch': (dict(batch_size=64), ['batch_size', '20 clips']),
    'subject': (dict(val_subjects='[7]'), ['val_subjects', '7']),
    'fp16': (dict(precision='fp16'), ['fp16', 'GPU']),
    'layout': (dict(model='msg3d', width=12, layout='coco17'), ['layout', 'coco17', '17 joints']),
    'feed and stream': (dict(feed='mmaction2', stream='bone_p2'), ['bone_p2']),
    'another model': (dict(model='msg3d', width=12, topology='figure'), ['topology', 'msg3d']),
    'a part of the name': (dict(recipe='..'), ['recipe', "'..'"]),
    'of a notebook': (dict(_lr=1), ['_lr: no such parameter']),
}


@pytest.mark.parametrize('kind', BAD_RUNS)
def test_a_run_that_cannot_start_leaves_nothing(kind, embedded, tmp_path, capfd):
    parameters, words = BAD_RUNS[kind]
    if kind in ('gpu', 'fp16') and torch.cuda.is_available():
        pytest.skip('there is a GPU here')
    refused(
        capfd,
        'train',
        '--no-notebook',
        *pairs(**TINY | places(tmp_path) | {'data_dir': embedded} | parameters),
        says=words,
    )
    assert not list(tmp_path.rglob('*.json')), 'its run.json would refuse the corrected command'


def test_a_recorded_run_keeps_its_parameters(embedded, tmp_path, capfd):
    "In a fresh clone only `reports/` has them."
    recorded = tmp_path / 'reports/runs/msagcn-embedded-smoke-joint-s1'
    kind = dict(benchmark='embedded', recipe='smoke', model='msagcn', stream='joint')
    core.write_json(recorded / 'metrics.json', kind | dict(data_hash='0' * 64, lr=9.0))
    refused(
        capfd,
        'train',
        '--no-notebook',
        *pairs(**TINY | places(tmp_path) | {'data_dir': embedded}),
        says=[recorded, '=', 'another name'],
    )
    assert [p.name for p in tmp_path.rglob('*.json')] == ['metrics.json']


def test_data_without_a_test_part(embedded, tmp_path, capfd):
    clips = load_clips(embedded / 'embedded')
    save_clips(replace(clips, parts=['train'] * len(clips)), tmp_path / 'data/embedded')
    refused(
        capfd, 'train', '--no-notebook', *pairs(**TINY | places(tmp_path)), says=['no test clips']
    )
    assert not (tmp_path / 'runs').exists()


@pytest.mark.parametrize(
    'other',
    [
        dict(T=12),
        dict(skeleton=NTU25),
        dict(width=80),
        dict(num_classes=11),
        dict(M=2),
        dict(context='none'),
    ],
    ids=lambda o: ' '.join(o),
)
def test_checkpoint_of_another_model(other, tmp_path):
    usual = dict(num_classes=10, skeleton=UCLA20, T=8, width=40)
    there, model = MSAGCN(**usual | other), MSAGCN(**usual)
    save_state(tmp_path / 'there.safetensors', there, make_optimiser(there, Plan()), {'epoch': 1})
    with pytest.raises(MsagcnError, match='there.safetensors: not a checkpoint of this model') as e:
        load_state(tmp_path / 'there.safetensors', model, make_optimiser(model, Plan()))
    assert '\n' not in str(e.value)


def test_spoilt_data_folder(embedded, tmp_path, capfd):
    folder = tmp_path / 'data/embedded'
    train = ['train', '--no-notebook', *pairs(**TINY | places(tmp_path))]
    refused(capfd, *train, says=[folder, 'prepare'])
    shutil.copytree(embedded / 'embedded', folder)
    for text in ('', '{', '{}', '[]'):
        (folder / 'manifest.json').write_text(text)
        refused(capfd, *train, says=['manifest.json'])
    shutil.copy(embedded / 'embedded/manifest.json', folder)
    good = (embedded / 'embedded/frames.npy').read_bytes()
    for bad in (b'', good[:100], good[:5000], b'x' + good[1:], good + good[128:]):
        (folder / 'frames.npy').write_bytes(bad)
        refused(capfd, *train, says=['frames.npy', 'prepare again'])
    np.save(folder / 'frames.npy', np.zeros(2))
    refused(capfd, *train, says=['frames.npy', 'prepare again'])
    np.save(folder / 'frames.npy', np.array([{}]), allow_pickle=True)
    refused(capfd, *train, says=['frames.npy', 'prepare again'])
    (folder / 'frames.npy').rename(folder / 'clips.safetensors')
    refused(capfd, *train, says=['frames.npy', 'earlier version', 'prepare again'])


def test_files_that_are_not_weights(embedded, source, tmp_path, capfd):
    (tmp_path / 'text').write_text('hello')
    save_file({'a': np.zeros(2)}, tmp_path / 'other.safetensors')
    for weights in (
        tmp_path / 'text',
        tmp_path / 'other.safetensors',
        tmp_path / 'nowhere',
        tmp_path,
        embedded / 'embedded/frames.npy',
    ):
        refused(capfd, 'predict', source / CLIP, '--weights', weights, says=[weights])


def finished(reports, stream, names, scores=None):
    "The files of a finished run, as fusion wants them."
    folder = reports / f'runs/msagcn-embedded-smoke-{stream}-s1'
    labels = np.arange(len(names))
    for part in ('val', 'test'):
        save_scores(
            folder / f'{part}_scores.npz',
            Scores(
                names, labels, np.eye(4, dtype=np.float32)[labels] if scores is None else scores
            ),
        )
    core.write_json(
        folder / 'metrics.json',
        dict(
            benchmark='embedded', model='msagcn', recipe='smoke', stream=stream, data_hash='d' * 64
        ),
    )
    core.write_json(reports / f'data/embedded-{"d" * 12}.json', {'leaked': []})
    return folder


def test_scores_that_do_not_fit(tmp_path, capfd):
    fuse = ['fuse', *pairs(reports_dir=tmp_path)]
    finished(tmp_path, 'joint', ['a', 'b', 'c'])
    refused(capfd, *fuse, says=['bone', 'not finished'])
    bone = finished(tmp_path, 'bone', ['a', 'b', 'x'])
    refused(capfd, *fuse, says=[bone, '2 sample names differ', 'first c'])
    finished(tmp_path, 'bone', ['a', 'b', 'c'], np.zeros((3, 5), np.float32))
    refused(capfd, *fuse, says=[bone, '(3, 5)'])
    finished(tmp_path, 'bone', ['b', 'a', 'c'])
    refused(capfd, *fuse, says=[bone, 'labels differ'])
    finished(tmp_path, 'bone', ['a', 'b', 'c'])
    good = (bone / 'test_scores.npz').read_bytes()
    np.save(tmp_path / 'one.npy', np.zeros(3))
    for data in (
        b'junk',
        b'PK\3\4junk',
        good[: len(good) // 2],
        (tmp_path / 'one.npy').read_bytes(),
    ):
        (bone / 'test_scores.npz').write_bytes(data)
        refused(capfd, *fuse, says=[bone / 'test_scores.npz'])
    assert not (tmp_path / 'fusion.csv').exists()
    (bone / 'test_scores.npz').write_bytes(good)
    assert main(fuse) == 0


def test_odd_but_allowed(source, tmp_path, capfd):
    clip = json.loads((source / CLIP).read_text())

    def write(name, frames):
        (source / f'{name}.json').write_text(json.dumps(clip | dict(skeletons=frames)))

    write('a01_s09_e00_v01', clip['skeletons'])
    write('a01_s09_e00_v03', clip['skeletons'])  # equal content, in both parts
    write('a01_s09_e01_v01', clip['skeletons'][:1])  # one frame
    # a constant axis
    write('a01_s09_e02_v01', [[[x, y, 2.5] for x, y, _ in frame] for frame in clip['skeletons']])
    assert main(prepare(tmp_path, source)) == 0
    manifest = json.loads((tmp_path / 'data/nw_ucla/manifest.json').read_text())
    assert manifest['equal_content'] == [
        [CLIP[:-5], 'a01_s09_e00_v01', 'a01_s09_e00_v03']
    ] and manifest['leaked'] == ['a01_s09_e00_v03']
    clips = load_clips(tmp_path / 'data/nw_ucla')
    one, flat = (torch.tensor([clips.names.index(f'a01_s09_e0{e}_v01')]) for e in (1, 2))
    assert clips.lengths[one] == 1
    for augment in (None, (1, 0)):
        x = batch(store(clips), one, 8, 'joint', augment)
        assert x.isfinite().all() and (x == x[:, :, :1]).all()
    x = batch(store(clips), flat, 8)
    assert (x[:, 2] == 0).all() and x[:, :2].amin() == -1 and x[:, :2].amax() == 1
