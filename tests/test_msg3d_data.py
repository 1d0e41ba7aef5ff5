"""MS-G3D's own preparation of NTU RGB+D and pyskl's packed Kinetics.

Bit for bit what literal forms of the specification give, on well-formed files and on everything odd
that occurs in such files.
"""

import pickle
import zipfile

import numpy as np
import oracle_msg3d_data as oracle
import pytest
import torch
from conftest import SHARED, need

from msagcn.core import MsagcnError
from msagcn.data.annotation import pre_normalise_2d, unpacked
from msagcn.data.clips import load_clips, split
from msagcn.data.mmaction2 import read_mmaction
from msagcn.data.ntu import prepare_ntu
from msagcn.data.ntu_actors import denoise
from msagcn.data.ntu_msg3d import clip_of, listed_bodies, prepare_msg3d_ntu, two_bodies
from msagcn.data.ntu_text import read_skeleton
from msagcn.data.raw_files import BadFile
from msagcn.data.rotations import rotation_to
from msagcn.data.synthetic_ntu import names_of, raw_clip, write_raw_ntu
from msagcn.experiments.parameters import PrepareParameters
from msagcn.experiments.predictor import predict_file
from msagcn.experiments.prepare import findings, prepare
from msagcn.experiments.run import train
from msagcn.experiments.train_parameters import TrainParameters
from msagcn.feeds.feeds import batch, fed_store
from msagcn.feeds.mmaction2 import mmaction_batch
from msagcn.training.evaluate import load_scores

RAW = {
    b: SHARED / 'golden' / f / 'raw.zip'
    for b, f in (('ntu60', 'ntu_mini'), ('ntu120', 'ntu120_mini'))
}
NAME = 'S001C001P001R001A001'


def whole(clip):
    "(P, 2, V, C), repeated up to 300 frames, as (C, 300, V, 2)."
    return clip[np.arange(300) % len(clip)].transpose(3, 0, 2, 1)


def text(frames):
    "A raw file; a frame is a list of bodies (25, 3)."
    lines = [len(frames)]
    for f in frames:
        lines.append(len(f))
        for k, x in enumerate(f):
            lines += [
                f'{k} 0 1 1 1 1 0 0.5 -0.5 2',
                25,
                *(' '.join(f'{c:.7g}' for c in p) + ' 1 2 3 4 0 0 0 1 2' for p in x),
            ]
    return '\n'.join(map(str, lines))


# a raw file to a clip


@pytest.mark.parametrize('benchmark', RAW)
def test_format_true_files(benchmark):
    periods = set()
    with zipfile.ZipFile(need(RAW[benchmark], 'golden raw files')) as archive:
        for f in (n for n in archive.namelist() if n.endswith('.skeleton')):
            data = archive.read(f)
            clip = clip_of(data, f)
            assert clip.dtype == np.float32 and np.array_equal(
                whole(clip), oracle.msg3d_ntu(data.decode())
            ), f
            periods.add(len(clip) == int(data.split()[0]))
    assert periods == {True, False}  # filled as a whole, and each body by itself


def random_file(seed):
    "Frames with up to six bodies, who come and go, and odd joints."
    rng = np.random.default_rng(seed)
    F, most, often = (
        int(rng.integers(1, (20, 20, 60, 300)[seed % 4] + 1)),
        (1, 2, 6)[seed % 3],
        rng.choice([0.3, 0.7, 0.95, 1]),
    )
    base = rng.normal(size=(6, 25, 3)) * 0.3 + [0, 0, 3]
    frames = [
        [
            base[m] + rng.normal(size=(25, 3)) * 0.02 * (m + 1)
            for m in range(rng.integers(1, most + 1) if rng.random() <= often else 0)
        ]
        for _ in range(F)
    ]
    if not any(frames):
        frames[-1] = [base[0]]
    for x in (x for f in frames for x in f):
        if seed % 5 == 0:
            x[3], x[7] = [1, -1, 0], 0  # coordinates that sum to zero, and that are zero
        if seed % 5 == 1:
            x[1], x[8] = x[0] - [0, 0, 0.5], x[4] + [0.5, 0, 0]  # spine upside down
        if seed % 5 == 2:
            x[1], x[8] = x[0] + [0, 0, 0.5], x[4] - [0.5, 0, 0]  # shoulders back to front
        if seed % 5 == 3 and seed % 2:
            x[1], x[8] = x[0], x[4]  # no direction at all
    return text(frames)


@pytest.mark.parametrize('seed', range(40))
def test_odd_files(seed):
    data = random_file(seed)
    assert np.array_equal(whole(clip_of(data.encode(), 'x')), oracle.msg3d_ntu(data))


def person(rng, T, *gaps):
    x = (rng.normal(size=(T, 25, 3)) * 0.3 + [0, 0, 3]).round(5)
    for a, b in gaps:
        x[a:b] = 0
    return x


@pytest.mark.parametrize(
    'first, second, period',
    [
        ([], [(0, 40)], 40),
        ([(0, 5)], [(0, 40)], 35),
        ([(10, 13)], [(0, 40)], 40),
        ([], [(20, 40)], 40),
        ([], [(24, 40)], 120),
        ([(37, 40)], [(29, 40)], 300),
        ([(0, 3), (20, 25)], [(30, 40)], 32 * 15),
        ([(5, 40)], [(0, 33)], 35),
        ([(0, 10)], [], 120),
    ],
)
def test_each_body_is_filled_by_itself(first, second, period):
    """Period and frames, for holes at the front, inside and at the end.

    Of two bodies, the first of whom moves more.
    """
    rng = np.random.default_rng(0)
    a, b = person(rng, 40, *first), person(rng, 40, *second) * [0.6, 0.6, 1]
    clip = clip_of(text([[x, y] for x, y in zip(a, b)]).encode(), 'x')
    assert len(clip) == min(period, 300)
    assert np.array_equal(
        whole(clip), oracle.pre_normalised(np.stack([a, b]).transpose(3, 1, 2, 0))
    )


def test_properties_that_the_description_gives():
    """Independent of the literal form.

    The spine is the origin in every frame, the first frame upright, lengths kept; slots are places and not
    identities.
    """
    rng = np.random.default_rng(1)
    a, b = person(rng, 30), person(rng, 30)
    clip = clip_of(text(list(zip(a, b))).encode(), 'x')
    assert not clip[:, 0, 1].any() and len(clip) == 30
    main = max((0, 1), key=lambda k: (a, b)[k].std((0, 1)).sum())
    x = (a, b)[main]
    for t in (0, 17):
        np.testing.assert_allclose(
            np.linalg.norm(clip[t, 0], axis=1), np.linalg.norm(x[t] - x[t, 1], axis=1), rtol=1e-5
        )
    shoulders = clip[0, 0, 8] - clip[0, 0, 4]
    assert np.abs(shoulders[1:]).max() < 1e-6 < shoulders[0]
    five = clip_of(text([[x, x * 0, 0 * x, 0 * x, y * 9] for x, y in zip(a, b)]).encode(), 'x')
    assert not five[:, 1].any()  # the fifth place is not looked at, however it moves


def test_rotations_are_right_handed():
    R = rotation_to(np.array([1.0, 0, 0]), np.array([0.0, 1, 0]))
    np.testing.assert_allclose(R, [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-15)
    rng = np.random.default_rng(0)
    for v in rng.normal(size=(20, 3)):
        R = rotation_to(v, np.array([0.0, 0, 1]))
        np.testing.assert_allclose(R @ v / np.linalg.norm(v), [0, 0, 1], atol=1e-12)
        np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
        np.testing.assert_allclose(R, oracle.turn(v, (0, 0, 1)), atol=1e-14)
    for v in ([0, 0, -2.0], [0, 0, 2.0], [0, 0, 0.0], [1e-8, 0, -1]):
        assert np.array_equal(rotation_to(np.array(v), np.array([0.0, 0, 1])), np.eye(3))


@pytest.mark.parametrize(
    'data, cause',
    [
        ('', 'empty'),
        ('1 0', 'nobody'),
        (text([[np.zeros((25, 3))]]), 'all zero'),
        (text([[np.eye(25, 3)]] * 301), 'too long'),
        (text([[np.eye(25, 3)]])[:-40], 'cut off'),
        ('<html>', 'no count'),
    ],
)
def test_files_that_give_no_clip(data, cause):
    with pytest.raises(BadFile) as e:
        clip_of(data.encode(), 'a.skeleton')
    assert (
        e.value.kind == cause
        and str(e.value).startswith('a.skeleton: ')
        and '\n' not in str(e.value)
    )


# all files


@pytest.mark.parametrize(
    'benchmark, kind', [('ntu60', 'xsub'), ('ntu60', 'xview'), ('ntu120', 'xset')]
)
def test_the_feed_gives_the_published_array(tmp_path, benchmark, kind):
    source = need(RAW[benchmark], 'golden raw files')
    p = PrepareParameters(
        benchmark=f'{benchmark}_{kind}',
        source=str(source),
        pipeline='msg3d',
        data_dir=str(tmp_path),
    )
    clips = load_clips(prepare(p).parent)
    ours = load_clips(prepare_ntu(source, tmp_path / 'ctr', kind, benchmark).parent)
    assert (clips.feed, clips.names, clips.parts, clips.benchmark) == (
        'whole',
        ours.names,
        ours.parts,
        ours.benchmark,
    )
    assert np.array_equal(clips.labels, ours.labels) and clips.data_hash != ours.data_hash
    assert 'pipeline msg3d' in findings(clips.notes)[0] and dict(
        (w, n) for w, _, n in clips.notes['checkpoints']
    )['clips'] == len(clips)
    s, i = fed_store(clips), np.arange(0, len(clips), 7)
    x = batch(s, torch.tensor(i), 300)
    assert x.shape == (len(i), 3, 300, 25, 2)
    with zipfile.ZipFile(source) as archive:
        files = {n.split('/')[-1][:-9]: n for n in archive.namelist() if n.endswith('.skeleton')}
        for k, y in zip(i, x):
            assert np.array_equal(y, oracle.msg3d_ntu(archive.read(files[clips.names[k]]).decode()))
    bone = batch(s, torch.tensor(i), 300, 'bone')
    assert (
        torch.equal(bone[:, :, :, 21], x[:, :, :, 21] - x[:, :, :, 22])
        and not bone[:, :, :, 20].any()
    )


def test_bad_files_are_listed_and_the_others_kept(tmp_path):
    names = names_of(actions=(4, 51), cameras=(1, 2))
    (source,) = write_raw_ntu(tmp_path / 'raw', names, 20, irregularities=True)
    whole_set = load_clips(prepare_msg3d_ntu(source, tmp_path / 'whole', 'xview').parent)
    for k, data in enumerate(
        (b'', b'3 1', raw_clip(names[2])[:-50], text([[np.eye(25, 3)]] * 301).encode())
    ):
        (source / f'{names[k]}.skeleton').write_bytes(data)
    (source / 'walk.skeleton').write_bytes(b'')
    clips = load_clips(
        prepare_msg3d_ntu(source, tmp_path / 'out', 'xview', storage='float16').parent
    )
    assert [
        (r['name'], r['cause']) for r in sorted(clips.notes['refused'], key=lambda r: r['name'])
    ] == [*zip(names, ('empty', 'cut off', 'cut off', 'too long')), ('walk', 'name')]
    assert sorted(clips.names) == names[4:] and clips.frames.dtype == np.float16
    for n in clips.names:
        assert (
            np.abs(clips[n].astype('f4') - whole_set[n]).max()
            <= clips.notes['largest_error']
            < 0.002
        )
    for n in names[4:]:
        (source / f'{n}.skeleton').write_bytes(b'')
    with pytest.raises(MsagcnError, match='none of 8 files gives a clip'):
        prepare_msg3d_ntu(source, tmp_path / 'none')


def test_stopped_and_resumed(tmp_path, monkeypatch):
    import msagcn.data.ntu_msg3d as module

    (source,) = write_raw_ntu(tmp_path / 'raw', names_of(actions=(4, 51)), 20, irregularities=True)
    prepare_msg3d_ntu(source, tmp_path / 'once')
    read, calls = module._clip, []

    def stop(file):
        calls.append(file)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return read(file)

    monkeypatch.setattr(module, '_clip', stop)
    with pytest.raises(KeyboardInterrupt):
        prepare_msg3d_ntu(source, tmp_path / 'twice')
    with pytest.raises(MsagcnError, match='no prepared data'):
        load_clips(tmp_path / 'twice')
    prepare_msg3d_ntu(source, tmp_path / 'twice')
    assert len(calls) == 5 + 8 and calls[5] == calls[4]  # four are not read again
    for f in ('frames.npy', 'manifest.json'):
        assert (tmp_path / 'once' / f).read_bytes() == (tmp_path / 'twice' / f).read_bytes()


def test_from_the_files_to_a_trained_network_that_predicts(tmp_path):
    "A clip's array in the camera's frame, given by itself, is prepared like the training clips."
    (source,) = write_raw_ntu(tmp_path / 'raw', names_of(performers=(1, 3), actions=(4, 51)), 20)
    places = {f'{k}_dir': str(tmp_path / k) for k in ('data', 'runs', 'reports')}
    clips = load_clips(
        prepare(
            PrepareParameters(
                benchmark='ntu60_xsub',
                source=str(source),
                pipeline='msg3d',
                data_dir=places['data_dir'],
            )
        ).parent
    )
    p = TrainParameters(
        benchmark='ntu60_xsub',
        model='msg3d',
        width=6,
        feed='whole',
        frames=40,
        epochs=1,
        batch_size=4,
        warmup=0,
        val_subjects=[],
        refit=False,
        device='cpu',
        **places,
    )
    assert train(p)['n_test'] == 12
    scores = load_scores(tmp_path / f'reports/runs/{p.run_id}/test_scores.npz')
    for name in scores.names[::5]:
        np.save(
            tmp_path / 'one.npy',
            two_bodies(listed_bodies((source / f'{name}.skeleton').read_bytes(), name)).swapaxes(
                0, 1
            ),
        )
        best = torch.tensor(scores.scores[scores.names.index(name)]).softmax(0).topk(3)
        told = predict_file(
            tmp_path / 'one.npy', tmp_path / f'runs/{p.run_id}/weights.safetensors', k=3
        )
        assert [c for c, _ in told] == [clips.classes[c] for c in best.indices]


@pytest.mark.parametrize(
    'asked, says',
    [
        (dict(benchmark='nw_ucla'), 'pipeline: msg3d prepares ntu60_xsub'),
        (dict(benchmark='kinetics'), 'pipeline: msg3d'),
        (dict(pad_actor='copy'), 'pad_actor: pipeline msg3d'),
        (dict(npz=True), 'npz: is written'),
        (dict(source='a.npz'), 'pipeline: msg3d prepares'),
    ],
)
def test_data_that_the_pipeline_refuses(asked, says, tmp_path):
    with pytest.raises(MsagcnError, match=says):
        prepare(
            PrepareParameters(
                **dict(
                    benchmark='ntu60_xsub',
                    source=str(tmp_path),
                    pipeline='msg3d',
                    data_dir=str(tmp_path),
                )
                | asked
            )
        )


def test_bodies_differ_from_those_of_the_other_pipeline():
    "Two bodies that swap places in the list keep their slots there, and are mixed here."
    rng = np.random.default_rng(0)
    a, b = ((person(rng, 30) * [0.3, 1.5, 1] + [at, 0, 0]).round(5) for at in (0, 2))
    data = text([[x, y] if t % 2 else [y, x] for t, (x, y) in enumerate(zip(a, b))])
    lines = data.split('\n')
    for t in range(0, 30, 2):  # identities go with the bodies
        at = 1 + t * (1 + 2 * 27) + 1
        lines[at], lines[at + 27] = (
            lines[at].replace('0', '1', 1),
            lines[at + 27].replace('1', '0', 1),
        )
    data = '\n'.join(lines).encode()
    kept = denoise(*read_skeleton(data, 'x'))
    assert {kept[:, m].tobytes() for m in (0, 1)} == {
        a.astype('f4').tobytes(),
        b.astype('f4').tobytes(),
    }
    clip = clip_of(data, 'x')
    apart = [np.linalg.norm(clip[t, 1, 1]) for t in range(30)]
    np.testing.assert_allclose(apart, np.linalg.norm(a[:, 1] - b[:, 1], axis=1), rtol=1e-5)
    assert np.array_equal(whole(clip), oracle.msg3d_ntu(data.decode()))


# pyskl's packed Kinetics


def packed(rng, name, label=0, frames=30, people=40, dtype='f2'):
    x = rng.random((people, 17, 3)) * [340, 256, 1]
    return dict(
        frame_dir=name,
        label=label,
        img_shape=(256, 340),
        original_shape=(256, 340),
        total_frames=frames,
        keypoint=x.astype(dtype),
        frame_inds=np.sort(rng.integers(0, frames, people)),
        box_score=rng.random(people).astype('f2'),
        valid={0.5: frames},
    )


@pytest.mark.parametrize('seed', range(30))
def test_unpacking_is_the_literal_form(seed):
    rng = np.random.default_rng(seed)
    a = packed(
        rng,
        'x',
        frames=int(rng.integers(1, 30)),
        people=int(rng.integers(1, (20, 300, 90)[seed % 3])),
        dtype=('f2', 'f4')[seed % 2],
    )
    if seed % 5 == 0:
        a['keypoint'][..., 2] = a['keypoint'][:1, :, 2]  # all as sure as each other: as listed
    if seed % 7 == 0:
        a['keypoint'][::2, :, 2] = 0
    x, score = oracle.unpacked(a['frame_inds'], a['keypoint'])
    got = unpacked(a, 'x')
    assert (
        np.array_equal(got['keypoint'], x)
        and np.array_equal(got['keypoint_score'], score)
        and got['keypoint'].dtype == np.float16
    )
    assert got['total_frames'] == x.shape[1] and len(x) <= 10


def kinetics_file(folder, inside=True, split=('train', 'val')):
    rng = np.random.default_rng(0)
    annotations = [packed(rng, f'video{k}', k % 3, people=10 + k) for k in range(6)]
    annotations[1] |= dict(
        keypoint=np.zeros((0, 17, 3), 'f2'),
        frame_inds=np.zeros(0, int),
        box_score=np.zeros(0, 'f2'),
    )
    full = [dict(a) for a in annotations]
    if not inside:  # joints in other files
        for k, a in enumerate(annotations):
            a['raw_file'] = f'data/k400/kpfiles/{k % 2}.pkl'
        (folder / 'kpfiles').mkdir(exist_ok=True)
        for f in (0, 1):
            (folder / f'kpfiles/{f}.pkl').write_bytes(
                pickle.dumps(
                    {a['frame_dir']: dict(keypoint=a.pop('keypoint')) for a in annotations[f::2]}
                )
            )
    names = [a['frame_dir'] for a in annotations]
    (folder / 'k400.pkl').write_bytes(
        pickle.dumps(dict(split=dict(zip(split, (names[:4], names[4:]))), annotations=annotations))
    )
    return folder / 'k400.pkl', full


@pytest.mark.parametrize('inside', [True, False])
def test_from_the_packed_pickle_to_a_batch(tmp_path, inside):
    path, full = kinetics_file(tmp_path, inside)
    clips = read_mmaction(path, variant='pyskl')
    assert (
        sorted(clips.names) == [f'video{k}' for k in (0, 2, 3, 4, 5)] and clips.skeleton == 'coco17'
    )
    assert [dict(zip(clips.names, clips.parts))[f'video{k}'] for k in (0, 3, 4)] == [
        'train',
        'train',
        'test',
    ]
    assert [(r['name'], r['cause']) for r in clips.notes['refused']] == [('video1', 'nobody')]
    for a in full[2:]:
        x, score = oracle.unpacked(a['frame_inds'], a['keypoint'])
        want = pre_normalise_2d(x, score, (256, 340), 'pyskl')[:2]
        got = clips[a['frame_dir']].swapaxes(0, 1)
        assert np.array_equal(got[: len(want)], want) and not got[len(want) :].any()
    out = prepare(
        PrepareParameters(benchmark='k400', source=str(path), data_dir=str(tmp_path / 'data'))
    )
    again = load_clips(out.parent)
    assert again.notes['refused'] == clips.notes['refused'] and {
        k: len(v) for k, v in split(again).items()
    } == dict(train=3, fit=3, val=0, test=2, clean=2)
    x = batch(fed_store(again), torch.arange(5), 24, 'bone')
    assert x.shape == (5, 3, 24, 17, 2) and torch.equal(
        x, mmaction_batch(fed_store(again), torch.arange(5), 24, 'bone')
    )


def change(**fields):
    return lambda a: a | fields


@pytest.mark.parametrize(
    'wrong, says',
    [
        (change(frame_inds=np.array([2, 1] * 6)), 'frame_inds is not an ascending'),
        (change(frame_inds=np.arange(11)), '12 frame numbers'),
        (change(frame_inds=[1] * 12), 'frame_inds'),
        (change(frame_inds=np.arange(12.0)), 'frame_inds'),
        (change(keypoint=np.zeros((12, 17, 2), 'f2')), 'not persons, joints'),
        (change(keypoint=np.zeros((12, 17), 'f2')), 'keypoint is not an array of 3'),
        (
            change(keypoint=np.full((12, 17, 3), np.nan, 'f2')),
            'keypoint is NaN or infinite .person 0',
        ),
        (change(keypoint=np.zeros((12, 9, 3), 'f2')), '9 joints of 2'),
        (change(raw_file='data/other.pkl', keypoint=None), "'data/other.pkl', which is not in"),
        (change(raw_file='k400.pkl', keypoint=None), 'k400.pkl: no keypoint of clip video2'),
    ],
)
def test_bad_packed_annotations_are_one_line(tmp_path, wrong, says):
    path, _ = kinetics_file(tmp_path)
    file = pickle.loads(path.read_bytes())
    a = wrong(file['annotations'][2])
    file['annotations'][2] = {k: v for k, v in a.items() if v is not None}
    path.write_bytes(pickle.dumps(file))
    with pytest.raises(MsagcnError, match=says) as e:
        read_mmaction(path)
    assert str(e.value).startswith(str(path)) and '\n' not in str(e.value)
