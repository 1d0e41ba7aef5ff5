"""Result files that are broken or another program's: one line with file and cause, nothing silently taken.

Each kind of file is spoilt in the ways that were seen, and by a fuzzer with a seed (`fuzz_files.py`).
"""

import csv
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY, pairs, places
from fuzz_files import main as fuzz
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from msagcn.cli import main
from msagcn.core import MsagcnError, write_json
from msagcn.data.clips import load_clips
from msagcn.data.nw_ucla import read_nw_ucla
from msagcn.data.own import read_custom
from msagcn.data.pickles import restricted_load
from msagcn.data.raw_files import raw_files
from msagcn.experiments.ablation import read_grid
from msagcn.experiments.reading import read_parameters
from msagcn.experiments.records import read_record
from msagcn.experiments.results import append_row, write_data_note, write_results
from msagcn.experiments.rows import texts
from msagcn.experiments.train_parameters import TrainParameters
from msagcn.experiments.weights import build_model, load_weights, save_weights
from msagcn.feeds.feeds import fed_store
from msagcn.foreign.msagcn import read_state
from msagcn.foreign.scores import read_labels
from msagcn.models.msagcn import MSAGCN
from msagcn.training.checkpoint import previous, save_state
from msagcn.training.evaluate import Scores, load_scores, save_scores
from msagcn.training.loop import fit
from msagcn.training.plan import Plan
from msagcn.training.setup import make_optimiser
from msagcn.training.tensors import load_tensors, save_tensors

STREAMS = 'joint', 'bone'


@pytest.fixture(scope='module')
def made(embedded, tmp_path_factory):
    "Two finished runs, as their files say; nothing was trained."
    root = tmp_path_factory.mktemp('project')
    shutil.copytree(embedded, root / 'data')
    clips = load_clips(root / 'data/embedded')
    test = [i for i, part in enumerate(clips.parts) if part == 'test']
    names, labels = [clips.names[i] for i in test], clips.labels[test]
    for stream in STREAMS:
        p = TrainParameters(**TINY | dict(stream=stream, **places(root)))
        for part in ('val', 'test'):
            save_scores(p.folder.scores(part), Scores(names, labels, np.eye(10)[labels]))
        state = p.model_dump() | dict(data_hash=clips.data_hash, run_id=p.run_id, seconds=1.0)
        write_json(p.folder.parameters, state)
        figures = dict(val_top1=100.0, top1=100.0, top5=100.0, top1_clean=100.0, n_test=20)
        write_json(p.folder.metrics, state | figures | dict(machine=dict(device='cpu')))
        model = build_model(p, clips)
        save_weights(p.folder.weights, p, clips, model)
        save_state(p.folder.checkpoint('fit'), model, make_optimiser(model, p.plan), {'epoch': 1})
    write_data_note(root / 'reports', 'embedded', clips)
    write_results(root / 'reports')
    assert main(['fuse', *pairs(reports_dir=root / 'reports')]) == 0
    return root


@pytest.fixture
def project(made, tmp_path):
    shutil.copytree(made, tmp_path / 'p')
    return tmp_path / 'p'


@pytest.fixture(scope='module')
def run(made):
    return TrainParameters(**TINY | places(made)).run_id


def refused(read, *told, says=()):
    "Reading must fail with a `MsagcnError` of one line that has all of `says`."
    with pytest.raises(MsagcnError) as e:
        read(*told)
    assert '\n' not in str(e.value)
    for word in says:
        assert str(word) in str(e.value), (word, str(e.value))


def edited(path, **changes):
    d = json.loads(path.read_text())
    d = {k: v for k, v in (d | changes).items() if v is not KeyError}
    path.write_text(json.dumps(d))


SCORES = {
    'labels one short': dict(labels=np.arange(19) % 10),
    'scores one short': dict(scores=np.zeros((19, 10), 'f4')),
    'three axes': dict(scores=np.zeros((1, 20, 10), 'f4')),
    'no classes': dict(scores=np.zeros((20, 0), 'f4')),
    'text': dict(scores=np.full((20, 10), 'x')),
    'of no size': dict(scores=np.zeros((20, 10), 'U0')),
    'complex': dict(scores=np.zeros((20, 10), complex)),
    'NaN': dict(scores=np.full((20, 10), np.nan, 'f4')),
    'a label too large': dict(labels=np.full(20, 10)),
    'a label below 0': dict(labels=np.full(20, -1)),
    'labels of halves': dict(labels=np.arange(20) / 2),
    'a name twice': dict(names=np.full(20, 'a')),
    'numbers for names': dict(names=np.arange(20)),
    'names of two axes': dict(names=np.full((20, 1), 'a')),
    'subjects short': dict(subjects=np.arange(3)),
}


@pytest.mark.parametrize('case', SCORES)
def test_score_files(case, project, run):
    f = project / f'reports/runs/{run}/test_scores.npz'
    with np.load(f) as z:
        np.savez(f, **dict(z) | SCORES[case])
    refused(load_scores, f, says=[f])


ROWS = [
    ('results.csv', dict(top1='x'), 'top1'),
    ('results.csv', dict(top1='101'), 'top1'),
    ('results.csv', dict(top1='nan'), 'top1'),
    ('results.csv', dict(stream='warp'), 'warp'),
    ('results.csv', dict(run_id=''), 'run_id'),
    ('results.csv', dict(run_id='nan'), 'run_id'),
    ('results.csv', dict(run_id='../up'), 'run_id'),
    ('results.csv', dict(seed='x'), 'seed'),
    ('fusion.csv', dict(weights='a b'), 'weights'),
    ('fusion.csv', dict(weights='1'), 'as many'),
    ('fusion.csv', dict(weights=''), 'weights'),
    ('fusion.csv', dict(weights='nan 1'), 'weights'),
    ('fusion.csv', dict(weights_from='guess'), 'weights_from'),
    ('fusion.csv', dict(streams='warp bone'), 'warp'),
    ('fusion.csv', dict(top1='x'), 'top1'),
    ('fusion.csv', dict(n_test='many'), 'n_test'),
]


@pytest.mark.parametrize('name, changes, says', ROWS, ids=str)
def test_tables(name, changes, says, project):
    f = project / 'reports' / name
    rows = list(csv.DictReader(f.open()))
    with f.open('w') as out:
        w = csv.DictWriter(out, list(rows[0]))
        w.writeheader()
        w.writerows([rows[0] | changes, *rows[1:]])
    refused(texts, f, [], says=[f'{f}: line 2: ', says])


@pytest.mark.parametrize('name', ['results.csv', 'fusion.csv'])
def test_tables_of_another_program(name, project, capfd):
    f = project / 'reports' / name
    tables = ['tables', *pairs(reports_dir=project / 'reports')]
    for text in ('a,b\n1,2\n', 'a\n1,2\n', 'a,a\n1,2\n', ''):
        f.write_text(text)
        assert main(tables) == 2 and str(f) in capfd.readouterr().err
    f.write_bytes(bytes(range(200, 256)))
    assert main(tables) == 2 and str(f) in capfd.readouterr().err


RECORDS = [
    *(
        dict.fromkeys([k], KeyError)
        for k in ('benchmark', 'recipe', 'model', 'stream', 'data_hash')
    ),
    *(dict(top1=v) for v in ('x', float('nan'), 101, -1, [])),
    *(dict(machine=[]), dict(stream='warp'), dict(stream=3), dict(seed='x'), dict(n_test=1.5)),
    *(dict(recipe='\ud800'), dict(data_hash=7), dict(seconds='x'), dict(run_id='')),
]


@pytest.mark.parametrize('changes', RECORDS, ids=ascii)
def test_records(changes, project, run):
    for f in (project / f'reports/runs/{run}/metrics.json', project / f'runs/{run}/run.json'):
        edited(f, **changes)
        refused(read_record, f, says=[f])


def test_records_that_are_no_mapping(project, run, capfd):
    f = project / f'reports/runs/{run}/metrics.json'
    begun = project / f'runs/{run}/run.json'
    for text in ('[]', 'null', '"x"', '{}', '', '{"a": ', '[' * 100_000, '7'):
        f.write_text(text)
        for verb in ('tables', 'runs', 'fuse'):
            assert main([verb, *pairs(reports_dir=project / 'reports')]) == 2
            said = capfd.readouterr().err
            assert said.count('\n') == 1 and str(f) in said, said
        begun.write_text(text)
        refused(read_record, begun, says=[begun])


def test_a_note_of_the_data(project, capfd):
    f = next((project / 'reports/data').glob('*.json'))
    for text in ('{}', '[]', '{"leaked": "abc"}', '{"leaked": [1]}'):
        f.write_text(text)
        for verb in ('tables', 'fuse'):
            assert main([verb, *pairs(reports_dir=project / 'reports')]) == 2
            said = capfd.readouterr().err
            assert said.count('\n') == 1 and str(f) in said, said


CLIPS = [
    *(dict(label=v) for v in (77, -1, 10**20, 1.5, True, 'x', None)),
    *(dict(frames=v) for v in (0, -5, 10**18, 1.5, 'x')),
    *(dict(part='x'), dict(name='a01_s01_e00_v01'), dict(name=7), dict(name=''), dict(subject='x')),
    dict(hash=1),
]
HEADS = [
    *(dict(classes=v) for v in (5, [], ['a'] * 10, [1] * 10, 'x')),
    *(dict(skeleton=v) for v in ({}, 'x', 3, dict(name='x', joints=['a'], parents=[0]), 'ntu25')),
    *(dict(channels='q'), dict(channels='xy'), dict(feed=''), dict(image='x'), dict(image=[1])),
    *(dict(clips={}), dict(clips=[1]), dict(leaked=3), dict(shared_frames=[3]), dict(benchmark=3)),
    dict(data_hash=KeyError),
]


@pytest.mark.parametrize('changes', CLIPS, ids=str)
def test_clips_of_a_manifest(changes, project):
    f = project / 'data/embedded/manifest.json'
    rows = json.loads(f.read_text())['clips']
    rows[2] |= changes
    edited(f, clips=rows)
    refused(load_clips, f.parent, says=['manifest.json'])


@pytest.mark.parametrize('changes', HEADS, ids=str)
def test_the_head_of_a_manifest(changes, project):
    f = project / 'data/embedded/manifest.json'
    edited(f, **changes)
    refused(load_clips, f.parent, says=['manifest.json'])


ABOUT = [
    *(dict.fromkeys([k], KeyError) for k in ('channels', 'classes', 'skeleton', 'feed', 'shape')),
    *(dict(shape=v) for v in ([3, 10**9, 20, 1], [3, 8], [3, 8, 20, 10**9], 'x')),
    *(dict(feed='q'), dict(classes=5), dict(classes=['a']), dict(skeleton={}), dict(image='q')),
    *(
        dict(storage='q'),
        dict(lengths='q'),
        dict(reading=3),
        dict(reading={'axes': 1}),
        dict(pipeline=3),
    ),
    dict(parameters=[]),
]
OF_THE_RUN = [
    dict(benchmark=KeyError),
    dict(model='msg3d', windows=[99999]),
    *(dict(width=v) for v in (10**7, 80, 'x')),
    *(dict(frames='x'), dict(stream=3), dict(test_clips=10**9), dict(seed=2**63)),
]


def with_head(f, change):
    "Write a weights file again with another head."
    with safe_open(f, 'pt') as opened:
        about = json.loads(opened.metadata()['msagcn'])
    about = {k: v for k, v in (about | change(about)).items() if v is not KeyError}
    save_file(load_file(f), f, {'msagcn': json.dumps(about)})


@pytest.mark.parametrize('changes', ABOUT, ids=str)
def test_the_head_of_weights(changes, project, run):
    f = project / f'runs/{run}/weights.safetensors'
    with_head(f, lambda about: changes)
    refused(load_weights, f, says=[f])


@pytest.mark.parametrize('changes', OF_THE_RUN, ids=str)
def test_the_parameters_in_weights(changes, project, run):
    f = project / f'runs/{run}/weights.safetensors'

    def change(about):
        there = about['parameters'] | changes
        return dict(parameters={k: v for k, v in there.items() if v is not KeyError})

    with_head(f, change)
    refused(load_weights, f, says=[f])


def test_weights_with_nan(project, run, capfd):
    f = project / f'runs/{run}/weights.safetensors'
    tensors, about = load_tensors(f, 'msagcn')
    tensors['classify.weight'][1, 2] = torch.nan
    save_tensors(f, tensors, 'msagcn', about)
    clip = next((project / 'data/raw/embedded/all_sqe').glob('*.json'))
    for argv in (
        ['predict', clip, '--weights', f],
        ['test', *pairs(weights=f, data_dir=project / 'data', device='cpu')],
    ):
        assert main(list(map(str, argv))) == 2
        said = capfd.readouterr().err
        assert said.count('\n') == 1 and f'{f}: classify.weight: 1 of 1600' in said, said


@pytest.mark.parametrize(
    'data', [b'abc', b'', b'.', b'PK\3\4', b'\x80\x02K\1.', b'\x80\x02Nr\xff\xff\xff\x05.']
)
def test_checkpoints_of_pytorch(data, tmp_path):
    (tmp_path / 'x.pt').write_bytes(data)
    refused(read_state, tmp_path / 'x.pt', says=['x.pt'])


@pytest.mark.parametrize(
    'x',
    [
        (['a', 'b'], [1]),
        (['a'], [1, 2]),
        (['a', 'b'], [1.5, 2]),
        (['a', 'b'], [[1], [2, 3]]),
        (['a', 'b'], ['x', 'y']),
        (['a', 'b'], [10**30, 1]),
        ([[1]], [2, [3]]),
        {'a': [1], 'b': 2},
        [{'file_name': 'a', 'label': 0}],
        [1, 2, 3],
        None,
    ],
    ids=str,
)
def test_lists_of_labels(x, tmp_path):
    (tmp_path / 'l.pkl').write_bytes(pickle.dumps(x))
    refused(read_labels, tmp_path / 'l.pkl', says=['l.pkl'])


@pytest.mark.parametrize(
    'told',
    [
        *(dict(seed=2**63), dict(recipe='r' * 250), dict(benchmark='b' * 250), dict(width=10**7)),
        *(dict(repeats=10**9), dict(batch_size=10**9), dict(nproc=10**6), dict(test_clips=10**6)),
        *(dict(model='msg3d', windows=[99999]), dict(model='msg3d', scales=10**9)),
        *(dict(model='msg3d', windows=list(range(1, 31, 2))), dict(data_dir='a\0b')),
        *(dict(device='cuda:' + '9' * 50), dict(epochs=10**400), dict(steps=10**18)),
    ],
    ids=lambda told: ' '.join(told),
)
def test_parameters_beyond_all_measure(told):
    refused(read_parameters, TrainParameters, told, says=[list(told)[-1]])


LAUGHS = ''.join(
    f'{b}: &{b} [{", ".join([f"*{a}"] * 9)}]\n' for a, b in zip('abcdefghi', 'bcdefghij')
)
GRIDS = {
    'a number for a parameter': 'common: {}\nvariants: {full: {1: 2}}\nseeds: {1: all}\n',
    'a list for a variant': 'common: {}\nvariants: {full: [1]}\nseeds: {1: all}\n',
    'a list for a key': 'common: {? [a] : 1}\nvariants: {full: {}}\nseeds: {1: all}\n',
    'no seeds': 'common: {}\nvariants: {full: {}}\nseeds: {1: }\n',
    'aliases without end': f'a: &a [x]\n{LAUGHS}common: *j\nvariants: {{full: {{}}}}\nseeds: {{1: all}}\n',
}


@pytest.mark.parametrize('case', GRIDS)
def test_grids(case, tmp_path, capfd):
    (tmp_path / 'g.yaml').write_text(GRIDS[case])
    command = ['ablate', '--no-notebook', '-f', str(tmp_path / 'g.yaml')]
    assert main(command) == 2
    said = capfd.readouterr().err
    assert said.count('\n') == 1 and 'g.yaml: ' in said and len(said) < 2100, said
    refused(read_grid, tmp_path / 'g.yaml', says=['g.yaml']) if 'number' not in case else None


def own(folder, text, put, end):
    "A description of own data, and a clip in each part."
    for part in ('train', 'test'):
        clip = folder / part / f'c/{part}.{end}'
        clip.parent.mkdir(parents=True)
        put(clip)
    (folder / 'own.yaml').write_text(text)
    return folder / 'own.yaml'


COCO = 'joints: coco17\nchannels: xys\n'


def frames_far_apart(f):
    people = [dict(keypoints=[[1, 2]] * 17, keypoint_scores=[1] * 17)]
    f.write_text(json.dumps([dict(frame_id=i, instances=people) for i in (0, 999_990)]))


def header_that_claims(f):
    text = (
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (400000000, 1, 17, 3)}".ljust(117)
        + b'\n'
    )
    data = b'\x93NUMPY\x01\0' + struct.pack('<H', 118) + text
    with zipfile.ZipFile(f, 'w', zipfile.ZIP_DEFLATED) as z:
        z.writestr('a.npy', data + bytes(1 << 20))


@pytest.mark.parametrize(
    'text, put, end, says',
    [
        (COCO + f'clips: {"c" * 300}\n', Path.touch, 'npy', 'own.yaml'),
        (COCO + f'table: {"c" * 300}\n', Path.touch, 'npy', 'own.yaml'),
        (COCO + 'clips: "a\\0b"\n', Path.touch, 'npy', 'own.yaml'),
        (COCO, lambda f: np.savez(f, a=np.array(['x'])), 'npz', 'test.npz'),
        (COCO, lambda f: zipfile.ZipFile(f, 'w').writestr('a.txt', 'x'), 'npz', 'test.npz'),
        (COCO, header_that_claims, 'npz', 'test.npz'),
        (COCO + 'persons: 100\n', frames_far_apart, 'json', 'test.json'),
        (COCO, lambda f: f.write_text('[' * 100_000), 'json', 'test.json'),
    ],
    ids=range(8),
)
def test_own_data(text, put, end, says, tmp_path):
    refused(read_custom, own(tmp_path, text, put, end), 'own', says=[says])


def with_bytes(data: bytes, after: bytes, at: int, new: bytes) -> bytes:
    "Bytes changed at some distance after each mark."
    data, i = bytearray(data), 0
    while (i := data.find(after, i)) >= 0:
        data[i + at : i + at + len(new)] = new
        i += 4
    return bytes(data)


def test_archives(made, tmp_path):
    f, raws = tmp_path / 'z.zip', sorted((made / 'data/raw/embedded/all_sqe').glob('*.json'))[:4]
    with zipfile.ZipFile(f, 'w', zipfile.ZIP_DEFLATED) as z:
        for r in raws:
            z.write(r, f'all_sqe/{r.name}')
    good = f.read_bytes()
    for bad in (
        with_bytes(with_bytes(good, b'PK\1\2', 6, b'\x63'), b'PK\3\4', 4, b'\x63'),  # version 9.9
        with_bytes(good, b'PK\1\2', 10, b'\x61'),  # an unknown method
        with_bytes(good, b'PK\1\2', 8, b'\x01'),  # encrypted
        good[:-300],
        good[: len(good) // 2],
    ):
        f.write_bytes(bad)
        refused(read_nw_ucla, f, says=['z.zip'])
    with zipfile.ZipFile(f, 'w', zipfile.ZIP_DEFLATED) as z:
        z.writestr(f'all_sqe/{raws[0].name}', b' ' * (17 << 20))
    refused(read_nw_ucla, f, says=['z.zip', 'claims 17,825,792 bytes'])


def test_an_archive_that_was_replaced_is_read_anew(tmp_path):
    "A notebook's process met a broken one, and its traceback keeps the reading alive."
    f = tmp_path / 'z.zip'
    for text in ('old', 'new and longer'):
        with zipfile.ZipFile(f, 'w') as z:
            z.writestr('a.skeleton', text)
        assert raw_files(f)[0].read() == text.encode()


def test_claims_are_not_believed(tmp_path):
    "The memory of a process that reads them, in MiB."
    files = {
        'memo.pkl': b'\x80\x02Nr\xff\xff\xff\x05.',
        'frame.pkl': b'\x80\x04\x95' + struct.pack('<Q', 2**40) + b'N.',
        'bytes.pkl': b'\x80\x04\x8e' + struct.pack('<Q', 2**31) + b'N.',
        'text.pkl': b'\x80\x02X' + struct.pack('<I', 2**31 - 1) + b'N.',
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        refused(restricted_load, tmp_path / name, says=[name])


def test_no_cell_is_a_formula(tmp_path):
    f = tmp_path / 'x.csv'
    for _ in range(2):
        append_row(f, dict(run='=cmd()', value='-1.50', of='@x'), ['run'], replace=True)
    assert f.read_text() == "run,value,of\n'=cmd(),-1.50,'@x\n"


def test_a_closed_pipe_stops_nothing(project):
    for words in ('tables -p reports_dir reports', 'runs -p reports_dir reports 2>&1'):
        script = f'set -o pipefail; {sys.executable} -m msagcn {words} | true'
        done = subprocess.run(
            ['bash', '-c', script],
            cwd=project,
            env=os.environ | dict(OMP_NUM_THREADS='1'),
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, '')
    assert (project / 'reports/tables/ablation.csv').exists()


def test_a_folder_that_may_not_be_written(project, tmp_path, capfd):
    "A name where a file stands, for root may write into any folder."
    (tmp_path / 'file').touch()
    report = pairs(reports_dir=project / 'reports', data_dir=project / 'data')
    assert main(['report', *report, *pairs(runs_dir=tmp_path / 'file/runs')]) == 2
    said = capfd.readouterr().err
    assert said.count('\n') == 1 and str(tmp_path / 'file/runs') in said, said


def broken_training(clips, folder, plan, spoil=lambda frames: frames, **more):
    s = fed_store(clips)
    s = replace(s, frames=spoil(s.frames.clone()))
    model = MSAGCN(10, s.skeleton, T=8, width=40, seed=1)
    fit(model, s, torch.arange(24), plan, folder / 'state', **more)


@pytest.mark.parametrize('seconds', [0, 60])
def test_nan_names_step_clips_and_cause(embedded, tmp_path, seconds):
    clips = load_clips(embedded / 'embedded')
    plan = Plan(frames=8, epochs=2, batch_size=8, lr=0.01, warmup=0, milestones=())
    broken_training(clips, tmp_path, plan, stop=2)

    def without_number(frames):
        frames[clips.starts[5]] = torch.nan
        return frames

    says = ['epoch ', ', step ', 'data look guilty', f'coordinates in {clips.names[5]}']
    refused(broken_training, clips, tmp_path, plan, without_number, says=says)
    assert all(t.isfinite().all() for t in load_file(tmp_path / 'state').values())
    for f in (tmp_path / 'state', previous(tmp_path / 'state')):
        f.unlink()
    high = replace(plan, lr=1e30, epochs=1)
    with pytest.raises(MsagcnError, match=r'epoch 1, step [12] of 3 \(clips .* learning rate') as e:
        broken_training(clips, tmp_path, high, seconds=seconds)
    assert '1e+30' in str(e.value) and not (tmp_path / 'state').exists()


def test_a_fuzzer_finds_nothing(made):
    assert fuzz(str(made), seed=3, cases=400) == 0
