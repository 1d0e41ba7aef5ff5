"""Own data by the command alone: a newcomer's clips of three classes, and a file of MMAction2's.

From files to a trained network, a fused result, predictions, and weights for other programs.
"""

import pickle

import numpy as np
import pytest
from conftest import pairs, places
from test_mmaction import file_of

from msagcn.cli import main
from msagcn.core import read_json
from msagcn.training.evaluate import load_scores

JOINTS = ['hip', 'neck', 'head', 'left hand', 'right hand', 'left foot', 'right foot']
PARENTS = ['hip', 'hip', 'neck', 'neck', 'neck', 'hip', 'hip']
REST = np.array(
    [[0, 1, 0], [0, 1.5, 0], [0, 1.8, 0], [0.5, 1.3, 0], [-0.5, 1.3, 0], [0.2, 0, 0], [-0.2, 0, 0]]
)


def clip(kind, rng):
    "Frames (T, V, 3) of somebody who waves with the left hand, waves with the right one, or jumps."
    t = np.arange(rng.integers(20, 40))[:, None]
    x = np.tile(REST * rng.uniform(0.9, 1.1), (len(t), 1, 1)) + rng.normal(0, 0.01, (len(t), 7, 3))
    wave = 0.4 * np.sin(0.5 * t + rng.uniform(0, 6))
    if kind == 'jump':
        x[..., 1] += np.abs(wave)
    else:
        x[:, [3 if kind == 'left' else 4], 1] += wave + 0.3
    return x


@pytest.fixture(scope='module')
def mine(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp('mine'), np.random.default_rng(0)
    for part, n in (('train', 12), ('test', 6)):
        for kind in ('left', 'right', 'jump'):
            (root / part / kind).mkdir(parents=True)
            for i in range(n):
                np.save(root / part / kind / f'{part}_{kind}_{i}.npy', clip(kind, rng))
    (root / 'mine.yaml').write_text(f'joints: {JOINTS}\nparents: {PARENTS}\nchannels: xyz\n')
    return root


def test_from_files_to_a_trained_network(mine, tmp_path, capsys):
    at = places(tmp_path)
    assert (
        main(
            [
                'prepare',
                *pairs(benchmark='mine', source=mine / 'mine.yaml', data_dir=at['data_dir']),
            ]
        )
        == 0
    )
    for stream in ('joint', 'joint_motion'):
        assert (
            main(
                [
                    'train',
                    '-f',
                    'params/custom.yaml',
                    *pairs(benchmark='mine', stream=stream, steps=150, **at),
                    '--no-notebook',
                ]
            )
            == 0
        )
    assert (
        main(
            [
                'fuse',
                *pairs(
                    benchmark='mine',
                    model='msg3d',
                    recipe='custom',
                    streams='[joint, joint_motion]',
                    reports_dir=at['reports_dir'],
                ),
            ]
        )
        == 0
    )
    run = tmp_path / 'runs/msg3d-mine-custom-joint-s1'
    metrics = read_json(tmp_path / f'reports/runs/{run.name}/metrics.json')
    # chance is 33
    assert metrics['n_test'] == 18 and metrics['top1'] >= 60 and metrics['val_top1'] is None
    weights = run / 'weights.safetensors'
    capsys.readouterr()
    raw = sorted((mine / 'test/jump').glob('*.npy'))[:2]
    assert main(['predict', *map(str, raw), '--weights', str(weights)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert (
        len(said) == 8
        and said[0] == f'{raw[0]}:'
        and said[1].split()[-1] in ('left', 'right', 'jump')
    )
    assert main(['test', *pairs(weights=weights, benchmark='mine', data_dir=at['data_dir'])]) == 0
    assert f'top1 {metrics["top1"]:.2f}' in capsys.readouterr().out
    assert (
        main(['export', str(tmp_path / 'w.pt'), '--weights', str(weights), '--to', 'official']) == 0
    )
    # the data's graph
    assert (
        main(
            [
                'test',
                *pairs(
                    weights=tmp_path / 'w.pt', benchmark='mine', frames=32, data_dir=at['data_dir']
                ),
            ]
        )
        == 0
    )
    assert f'top1 {metrics["top1"]:.2f}' in capsys.readouterr().out
    for wrong, says in (
        (dict(stream='bone_p2'), 'only default'),
        (dict(val_subjects='[7]'), 'none known'),
    ):
        assert (
            main(
                [
                    'train',
                    '-f',
                    'params/custom.yaml',
                    *pairs(benchmark='mine', **wrong, **at),
                    '--no-notebook',
                ]
            )
            == 2
        )
        assert says in capsys.readouterr().err
    assert sorted(f.name for f in (tmp_path / 'runs').iterdir()) == [
        'msg3d-mine-custom-joint-s1',
        'msg3d-mine-custom-joint_motion-s1',
    ]
    # the report can be written for an own skeleton, too
    assert main(['report', *pairs(benchmark='mine', recipe='custom', **at)]) == 0
    assert 'none of the 2 runs is called best' in (tmp_path / 'reports/mine.html').read_text()


def test_one_line_each(mine, tmp_path, capsys):
    "Each possible fault of the description is reported in a line that names it."
    text = (mine / 'mine.yaml').read_text()
    for wrong, says in (
        (
            text.replace("parents: ['hip', 'hip', 'neck'", "parents: ['hip', 'head', 'neck'"),
            'circle',
        ),
        (
            text + f'table: {tmp_path}/t.csv\nclasses: [left, right]\nclips: {mine}\n',
            "class 'jump'",
        ),
    ):
        (tmp_path / 't.csv').write_text(
            'file,label,part\ntrain/left/train_left_0.npy,left,train\ntrain/jump/train_jump_0.npy,jump,test\n'
        )
        (tmp_path / 'wrong.yaml').write_text(
            wrong + ('' if 'clips:' in wrong else f'clips: {mine}\n')
        )
        assert (
            main(
                [
                    'prepare',
                    *pairs(
                        benchmark='mine', source=tmp_path / 'wrong.yaml', data_dir=tmp_path / 'data'
                    ),
                ]
            )
            == 2
        )
        error = capsys.readouterr().err
        assert says in error and error.count('\n') == 1 and not (tmp_path / 'data').exists(), error


@pytest.mark.parametrize('V, C', [(17, 2), (25, 3)])
def test_a_file_of_mmaction2(V, C, tmp_path, capsys):
    """From the pickle to a network in MMAction2's form.

    Tested with ten clips, and converted back to MMAction2's names.
    """
    (tmp_path / 'ntu.pkl').write_bytes(pickle.dumps(file_of(V, C)))
    at, small = (
        places(tmp_path),
        dict(
            benchmark='ntu',
            frames=8,
            width=12,
            epochs=1,
            batch_size=3,
            val_subjects='[]',
            refit='false',
            nproc=1,
        ),
    )
    assert (
        main(
            [
                'prepare',
                *pairs(benchmark='ntu', source=tmp_path / 'ntu.pkl', data_dir=at['data_dir']),
            ]
        )
        == 0
    )
    assert (
        main(
            [
                'train',
                '-f',
                'params/msg3d_mmaction2.yaml',
                *pairs(stream='bone', **small, **at),
                '--no-notebook',
            ]
        )
        == 0
    )
    run = tmp_path / 'runs/msg3d-ntu-mmaction2-bone-s1'
    ours, theirs = run / 'weights.safetensors', tmp_path / 'theirs.pth'
    assert main(['export', str(theirs), '--weights', str(ours), '--to', 'mmaction2']) == 0
    for name, weights in (('a', ours), ('b', theirs)):
        assert (
            main(
                [
                    'test',
                    *pairs(
                        weights=weights,
                        benchmark='ntu',
                        frames=8,
                        stream='bone',
                        test_clips=10,
                        data_dir=at['data_dir'],
                        scores=tmp_path / f'{name}.npz',
                    ),
                ]
            )
            == 0
        )
    want, *tested = (
        load_scores(f).scores
        for f in (
            tmp_path / 'reports/runs' / run.name / 'test_scores.npz',
            tmp_path / 'a.npz',
            tmp_path / 'b.npz',
        )
    )
    # log-probabilities
    assert all(np.abs(t - want).max() < 1e-6 for t in tested) and np.allclose(
        np.exp(want).sum(1), 1, atol=1e-5
    )
    assert (
        main(
            [
                'test',
                *pairs(
                    weights=ours,
                    benchmark='ntu',
                    test_clips=1,
                    data_dir=at['data_dir'],
                    scores=tmp_path / 'c.npz',
                ),
            ]
        )
        == 0
    )
    assert np.abs(load_scores(tmp_path / 'c.npz').scores - want).max() > 1e-6
