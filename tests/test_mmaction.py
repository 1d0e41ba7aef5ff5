"""Annotation files of MMAction2 and PYSKL.

Normalising, test frames and features against the specification's numbers and slow literal forms; bad
files in one line each; and pickles that would run code.
"""

import builtins
import os
import pickle

import numpy as np
import pytest
import torch

from msagcn.core import MsagcnError
from msagcn.data.annotation import pre_normalise_2d, pre_normalise_3d
from msagcn.data.clip_writer import save_clips
from msagcn.data.clips import leaked, load_clips, split
from msagcn.data.mmaction2 import read_mmaction
from msagcn.data.pickles import restricted_load
from msagcn.data.skeleton import COCO17, NTU25_MMACTION2
from msagcn.feeds.mmaction2 import mmaction_batch, uniform_frames_test, uniform_frames_train
from msagcn.feeds.streams import store

NAMES = [
    'S001C001P001R001A001',
    'S001C001P003R001A002',
    'S001C002P008R001A003',
    'S002C001P006R001A001',
    'S003C001P002R001A002',
]
FOUR = 'joint', 'bone', 'joint_motion', 'bone_motion'


def annotations(V, C):
    "Five clips of 1 to 70 frames with one person, two, or (in 2D) three."
    rng, out = np.random.default_rng(V), []
    for name, T, M in zip(NAMES, (6, 33, 1, 70, 20), (1, 2, 1, 2, 3 if C == 2 else 1)):
        a = dict(frame_dir=name, label=int(name[-3:]) - 1, total_frames=T)
        x = rng.random((M, T, V, C))
        if C == 2:
            score = rng.random((M, T, V)).astype('f2')
            score[0, 0, 3] = 0
            a |= dict(keypoint_score=score, img_shape=(1080, 1920), original_shape=(1080, 1920))
            x = x * [1920, 1080] * (score[..., None] > 0)
        out.append(a | dict(keypoint=x.astype('f2')))
    return out


def file_of(V=25, C=3):
    splits = dict(
        xsub_train=NAMES[:3], xsub_val=NAMES[3:], xview_train=NAMES[1:3], xview_val=NAMES[3:4]
    )
    return dict(split=splits, annotations=annotations(V, C))


@pytest.fixture
def written(tmp_path):
    "Write a file; returns its path."

    def write(file, name='ntu.pkl', protocol=4):
        (tmp_path / name).write_bytes(
            file if isinstance(file, bytes) else pickle.dumps(file, protocol)
        )
        return tmp_path / name

    return write


# normalising


def golden_clip():
    m, t, v, c = np.ogrid[:2, :8, :25, :3]
    x = 0.5 * np.sin(0.7 * v + 1.1 * c + 0.2 * t + 0.9 * m) + 0.1 * c + 2 * (c == 2)
    x[0, 0] = x[0, 5] = 0
    x[1, 3:] = 0
    return x


@pytest.mark.parametrize(
    'dtype, corner, total',
    [
        ('f4', (0.335001, -0.259354, -0.084583), 230.52337),
        ('f2', (0.334491, -0.259394, -0.084066), 230.47232),
    ],
)
def test_3d_has_the_numbers_of_the_specification(dtype, corner, total):
    for x in (golden_clip(), golden_clip()[::-1]):  # the main person may be listed second
        y = pre_normalise_3d(x.astype(dtype))
        assert y.shape == (2, 6, 25, 3) and y.dtype == np.float64
        assert np.abs(y[0, 0, 0] - corner).max() < 1e-6 and abs(np.abs(y).sum() - total) < 1e-4


def test_3d_stands_upright_and_keeps_lengths():
    x = annotations(25, 3)[3]['keypoint'].astype(np.float64)
    x[1, :, 7] = 0  # a joint that is missing stays missing
    y = pre_normalise_3d(x)
    assert not y[0, 0, 1].any() and not y[1, :, 7].any()
    shoulders = y[0, 0, 8] - y[0, 0, 4]
    assert np.abs(shoulders[1:]).max() < 1e-6 and shoulders[0] > 0

    def lengths(z, a, b):
        return np.linalg.norm(z[:, :, a] - z[:, :, b], axis=-1)

    for a, b in ((0, 1), (4, 9), (16, 19)):
        np.testing.assert_allclose(lengths(y, a, b), lengths(x, a, b))


def test_3d_degenerate_clips():
    x = np.zeros((1, 2, 25, 3))
    assert not pre_normalise_3d(x).any()  # nobody there
    x[:, :, 0] = 0, 0, 1
    x[:, :, 1] = 0, 0, 0.5
    x[:, :, 8] = 3, 0, 0.5
    # a clip that is exactly upside down is not rotated
    assert np.array_equal(pre_normalise_3d(x)[0, 0, 0], [0, 0, 0.5])
    x[0, 0] = 0
    assert pre_normalise_3d(x).shape == (1, 1, 25, 3)


@pytest.mark.parametrize('variant', ['mmaction2', 'pyskl'])
def test_2d_is_the_literal_form(variant):
    for a in annotations(17, 2):
        x, score = a['keypoint'], a['keypoint_score']
        got = pre_normalise_2d(x, score, (1080, 1920), variant)
        assert got.dtype == np.float32 and got.shape == x.shape[:3] + (3,)
        dtype = np.float16 if variant == 'mmaction2' else np.float32
        for i in np.ndindex(x.shape[:3]):
            if i[1] > 5:
                break
            want = [
                dtype(dtype(dtype(p) - dtype(half)) / dtype(half))
                for p, half in zip(x[i], (960, 540))
            ]
            if variant == 'pyskl' and score[i] <= 0.01:
                want = [0, 0]
            assert np.array_equal(got[i], np.array([*want, score[i]], np.float32)), i


# frames


def test_test_frames_have_the_numbers_of_the_specification():
    for L, ours, pyskl in ((84, 41456, 41456), (150, 74613, 74456), (250, 124259, 124266)):
        assert [int(uniform_frames_test(L, 100, 10, v).sum()) for v in ('mmaction2', 'pyskl')] == [
            ours,
            pyskl,
        ]
    assert uniform_frames_test(250, 100, 10)[0, :8].tolist() == [1, 3, 6, 8, 10, 13, 16, 17]
    assert uniform_frames_test(250, 100, 10, 'pyskl')[0, :8].tolist() == [
        1,
        3,
        5,
        8,
        11,
        12,
        16,
        18,
    ]


@pytest.mark.parametrize('L', [1, 4, 7, 8, 11, 15, 16, 29])
def test_training_frames_are_drawn_as_at_test_time(L):
    "Frame by frame the same histogram as the literal form's draws with NumPy's generator."
    T, n, random = 8, 4000, np.random.RandomState(0)
    got = uniform_frames_train(torch.full((n,), L), T, 5, torch.arange(n)).numpy()
    want = []
    for _ in range(n):
        if L < T:
            f = np.arange(T) + random.randint(L)
        elif L < 2 * T:
            chosen = set(random.choice(T + 1, L - T, replace=False).tolist())
            f = np.array([j + sum(c <= j for c in chosen) for j in range(T)])
        else:
            b = [i * L // T for i in range(T + 1)]
            f = np.array([random.randint(b[i], b[i + 1]) for i in range(T)])
        want.append(f % L)
    for j in range(T):
        a, b = (np.bincount(f[:, j], minlength=L) / n for f in (got, np.array(want)))
        assert (
            np.abs(a - b).max() < 0.045 and ((a == 0) == (b == 0))[(a > 0.005) | (b > 0.005)].all()
        ), (j, a, b)
    steps = [np.bincount((np.diff(f) % L).ravel(), minlength=L) / n for f in (got, np.array(want))]
    assert np.abs(steps[0] - steps[1]).max() < 0.2


# features


def literal(clip, skeleton, stream):
    """A stream of a whole clip (T, M, V, C), joint by joint and frame by frame.

    In 2D the third coordinate is a score.
    """
    flat, x, T = skeleton is COCO17, clip, len(clip)

    def ends(a, b):
        out = a - b
        if flat:
            out[..., 2] = (a[..., 2] + b[..., 2]) / 2
        return out

    if stream.startswith('bone'):
        x = np.stack([ends(x[:, :, v], x[:, :, o]) for v, o in skeleton.bones['default']], 2)
    if stream.endswith('motion'):
        x = np.stack([ends(x[t + 1], x[t]) if t + 1 < T else 0 * x[t] for t in range(T)])
    return x


@pytest.mark.parametrize('V, C, skeleton', [(25, 3, NTU25_MMACTION2), (17, 2, COCO17)])
def test_from_the_pickle_to_a_batch(written, tmp_path, V, C, skeleton):
    file = file_of(V, C)
    clips = read_mmaction(written(file))
    assert (clips.benchmark, clips.skeleton, clips.feed) == ('ntu_xsub', skeleton.name, 'mmaction2')
    assert clips.channels == ('xyz' if C == 3 else 'xys')
    assert (
        clips.names == NAMES
        and clips.parts == ['train'] * 3 + ['test'] * 2
        and clips.classes == ['A001', 'A002', 'A003']
    )
    assert clips.labels.tolist() == [0, 1, 2, 0, 1] and clips.subjects.tolist() == [1, 3, 8, 6, 2]
    assert clips.lengths.tolist() == [6, 33, 1, 70, 20]
    assert (
        clips.frames.dtype == np.float32
        and clips.frames.shape == (130, 2, V, 3)
        and len(set(clips.hashes)) == 5
    )
    for a in file['annotations']:
        x = (
            pre_normalise_3d(a['keypoint'])
            if C == 3
            else pre_normalise_2d(a['keypoint'], a['keypoint_score'])
        )
        got = clips[a['frame_dir']].swapaxes(0, 1)
        assert np.array_equal(got[: len(x)], x[:2].astype(np.float32)) and not got[len(x) :].any()
    save_clips(clips, tmp_path / 'kept')
    again = load_clips(tmp_path / 'kept')
    assert again.data_hash == clips.data_hash
    assert {k: len(v) for k, v in split(again, [3]).items()} == dict(
        train=3, fit=2, val=1, test=2, clean=2
    )

    s, i = store(again, centred=False), torch.tensor([3, 0, 2, 4])
    for stream in FOUR:
        x = mmaction_batch(s, i, 24, stream, clip=2, num_clips=3)
        assert x.shape == (4, 3, 24, V, 2) and x.dtype == torch.float32
        drawn = mmaction_batch(s, i, 24, stream, (7, 2))
        frames = uniform_frames_train(s.lengths[i], 24, 7, torch.full((4,), 2), i, 2)
        for k, c in enumerate(i.tolist()):
            whole = literal(clips[NAMES[c]].astype(np.float64), skeleton, stream)
            for y, f in (
                (x, uniform_frames_test(len(whole), 24, 3)[2]),
                (drawn, frames[k].numpy()),
            ):
                assert np.abs(y[k].permute(1, 3, 2, 0).numpy() - whole[f]).max() < 1e-6, (stream, c)
            alone = mmaction_batch(s, i[k : k + 1], 24, stream, (7, torch.tensor([2])))
            assert torch.equal(drawn[k], alone[0])
    assert not mmaction_batch(s, i[2:3], 24, 'bone_motion').any()  # one frame does not move
    assert not torch.equal(drawn, mmaction_batch(s, i, 24, stream, (8, 2)))


def test_splits_and_names(written):
    file = file_of()
    clips = read_mmaction(written(file), 'xview', benchmark='mine')
    assert (clips.benchmark, clips.names, clips.parts) == (
        'mine',
        NAMES[1:4],
        ['train', 'train', 'test'],
    )
    for k, a in enumerate(file['annotations']):
        a |= dict(frame_dir=f'video {k}', label=np.int64(k % 4))
    file['split'] = dict(cut_train={'video 3', 'video 0'}, cut_val=['video 1'])
    clips = read_mmaction(written(file, protocol=2), 'cut')
    assert (clips.names, clips.parts) == (
        ['video 0', 'video 1', 'video 3'],
        ['train', 'test', 'train'],
    )
    assert clips.classes == ['0', '1', '2', '3'] and not clips.subjects.any()


def test_openpose_and_pyskl(written):
    clips = read_mmaction(written(file_of(18, 2)), variant='pyskl')
    assert (
        clips.skeleton == 'openpose18'
        and clips.channels == 'xys'
        and not clips[NAMES[0]][0, 0, 3].any()
    )
    assert (read_mmaction(written(file_of(18, 2)))[NAMES[0]][0, 0, 3] == [-1, -1, 0]).all()


# bad files


def edit(clip=1, **fields):
    def change(file):
        file['annotations'][clip] |= fields

    return change


def spoil(clip, key, value):
    def change(file):
        file['annotations'][clip][key][0, 2, 5] = value

    return change


@pytest.mark.parametrize(
    'V, C, change, says',
    [
        (25, 3, lambda f: f.pop('split'), ["no 'split' and 'annotations'"]),
        (25, 3, lambda f: f.update(annotations={}), ["no 'split' and 'annotations'"]),
        (25, 3, lambda f: f['annotations'].clear(), ['xsub_train', NAMES[0], 'no annotation']),
        (25, 3, lambda f: f['split'].pop('xsub_val'), ["'xsub' is not one of xview"]),
        (
            25,
            3,
            lambda f: f['split']['xsub_val'].append('gone'),
            ['xsub_val', 'gone', 'no annotation'],
        ),
        (
            25,
            3,
            lambda f: f['split']['xsub_val'].append(NAMES[0]),
            [NAMES[0], 'xsub_train', 'xsub_val'],
        ),
        (25, 3, lambda f: f['split']['xsub_val'].clear(), ['empty part']),
        (
            25,
            3,
            lambda f: f['annotations'].append(f['annotations'][2]),
            [NAMES[2], 'two of this name'],
        ),
        (
            25,
            3,
            lambda f: f['annotations'].insert(1, dict(label=0)),
            ['annotation 1', 'no frame_dir'],
        ),
        (25, 3, edit(label=-1), [NAMES[1], 'label -1']),
        (25, 3, edit(label=5), [NAMES[1], 'label 5', 'says 1']),
        (25, 3, edit(label='x'), [NAMES[1], "label 'x'"]),
        (25, 3, edit(keypoint=None), [NAMES[1], 'keypoint']),
        (25, 3, edit(keypoint=np.zeros((1, 33, 25), 'f2')), [NAMES[1], 'keypoint']),
        (25, 3, edit(keypoint=np.zeros((1, 33, 24, 3), 'f2')), [NAMES[1], '24 joints of 3']),
        (
            25,
            3,
            edit(
                keypoint=np.zeros((1, 33, 17, 2), 'f2'), keypoint_score=np.zeros((1, 33, 17), 'f2')
            ),
            [NAMES[1], '17 joints of 2', 'before have 25 of 3'],
        ),
        (25, 3, edit(keypoint=np.zeros((3, 33, 25, 3), 'f2')), [NAMES[1], '3 persons']),
        (
            25,
            3,
            lambda f: [a.update(keypoint=np.zeros((0, 9, 25, 3), 'f2')) for a in f['annotations']],
            ['nobody in any clip'],
        ),
        (
            25,
            3,
            lambda f: [
                a.update(keypoint=np.zeros((0, 9, 25, 3), 'f2')) for a in f['annotations'][3:]
            ],
            ['nobody in any clip to test'],
        ),
        (25, 3, lambda f: f['annotations'].insert(1, [1]), ['annotation 1', 'list, not a dict']),
        (
            25,
            3,
            lambda f: f['annotations'].insert(1, dict(frame_dir=1.5)),
            ['annotation 1', 'frame_dir 1.5', 'neither text nor'],
        ),
        (25, 3, edit(keypoint='x'), [NAMES[1], 'keypoint is no array of numbers']),
        (25, 3, edit(total_frames=34), [NAMES[1], 'total_frames is 34', '33']),
        (25, 3, spoil(1, 'keypoint', np.nan), [NAMES[1], 'NaN', 'frame 2']),
        (17, 2, spoil(1, 'keypoint_score', np.inf), [NAMES[1], 'keypoint_score', 'frame 2']),
        (
            17,
            2,
            lambda f: f['annotations'][1].pop('keypoint_score'),
            [NAMES[1], 'without keypoint_score'],
        ),
        (
            17,
            2,
            edit(keypoint_score=np.zeros((1, 33, 17), 'f2')),
            [NAMES[1], 'keypoint_score is (1, 33, 17)'],
        ),
        (17, 2, edit(img_shape=(0, 5)), [NAMES[1], 'img_shape']),
    ],
)
def test_bad_annotations_are_one_line(written, V, C, change, says):
    file = file_of(V, C)
    change(file)
    path = written(file)
    with pytest.raises(MsagcnError) as e:
        read_mmaction(path)
    assert str(e.value).startswith(f'{path}: ') and '\n' not in str(e.value)
    for word in says:
        assert word in str(e.value), (word, str(e.value))


def test_bad_files_are_one_line(written, tmp_path):
    whole = pickle.dumps(file_of())
    for data, says in (
        (whole[:-900], 'cut off'),
        (whole[:30], 'cut off'),
        (b'', 'empty file'),
        (b'<html>', 'not a pickle'),
        (pickle.dumps([1]), "no 'split'"),
    ):
        with pytest.raises(MsagcnError, match=says):
            read_mmaction(written(data))
    with pytest.raises(MsagcnError, match='cannot read'):
        read_mmaction(tmp_path / 'none.pkl')
    with pytest.raises(MsagcnError, match="'other' is not one of mmaction2, pyskl"):
        read_mmaction(written(whole), variant='other')
    with pytest.raises(MsagcnError, match="'xset' is not one of xsub, xview"):
        read_mmaction(written(whole), 'xset')


# pickles as people make them


def own(n=18, V=17, T=30, names='clip{:03}'.format, labels=lambda i: i % 3):
    "Annotations of own clips in 2D."
    rng, out = np.random.default_rng(0), []
    for i in range(n):
        x = (
            (400 + 300 * rng.random((1, 1, V, 1)) + rng.normal(0, 3, (1, T, V, 2)).cumsum(1))
            .round()
            .astype('f4')
        )
        out.append(
            dict(
                frame_dir=names(i),
                label=labels(i),
                img_shape=(1080, 1920),
                original_shape=(1080, 1920),
                total_frames=T,
                keypoint=x,
                keypoint_score=np.full((1, T, V), 0.9, 'f4'),
            )
        )
    return out


def two(a):
    return dict(
        split=dict(
            xsub_train=[x['frame_dir'] for x in a[:12]], xsub_val=[x['frame_dir'] for x in a[12:]]
        ),
        annotations=a,
    )


@pytest.mark.parametrize('prefix', ['', 'xsub_'])
@pytest.mark.parametrize(
    'words',
    [('train', 'val', 'test'), ('training', 'validation', 'testing'), ('train', 'dev', 'test')],
)
def test_three_parts_are_what_they_are_called(written, prefix, words):
    a = own()
    n = [x['frame_dir'] for x in a]
    lists = {prefix + w: part for w, part in zip(words, (n[:9], n[9:12], n[12:]))}
    clips = read_mmaction(written(dict(split=lists, annotations=a)))
    assert clips.parts == ['train'] * 9 + ['val'] * 3 + ['test'] * 6
    assert {k: len(v) for k, v in split(clips).items()} == dict(
        train=12, fit=9, val=3, test=6, clean=6
    )


def test_two_parts(written):
    """As published, `val` is tested where there is no other part, and `test` where it is the other.

    UCF101's train1 and test1 are selected by number.
    """
    a = own()
    n = [x['frame_dir'] for x in a]
    for lists in (
        dict(train=n[:12], val=n[12:]),
        dict(train=n[:12], test=n[12:]),
        dict(train=n[:12], val=[], test=n[12:]),
    ):
        assert (
            read_mmaction(written(dict(split=lists, annotations=a))).parts
            == ['train'] * 12 + ['test'] * 6
        )
    file = dict(split=dict(train1=n[:12], test1=n[12:], train2=n[6:], test2=n[:6]), annotations=a)
    assert read_mmaction(written(file), 'split2').parts == ['test'] * 6 + ['train'] * 12
    with pytest.raises(MsagcnError, match="'xsub' is not one of split1, split2"):
        read_mmaction(written(file))
    with pytest.raises(
        MsagcnError, match='split has train, other; wanted are train and val or test'
    ):
        read_mmaction(written(dict(split=dict(train=n[:12], other=n[12:]), annotations=a)))
    part = read_mmaction(written(dict(split=dict(train=n[:12], test=n[12:15]), annotations=a)))
    assert part.notes['unlisted'] == 3


def test_what_means_the_same_gives_the_same(written):
    """Variants of a file with the same meaning.

    Integers as pixels, tensors, lists, no axis of persons, no total_frames, labels and names of other
    types, names in an array.
    """
    plain = read_mmaction(written(two(own())))

    def changed(f):
        file = two(own())
        for x in file['annotations']:
            f(x)
        return file

    for f in (
        lambda x: x.update(keypoint=x['keypoint'].astype(np.int32)),
        lambda x: x.update(keypoint=x['keypoint'].astype(np.uint16)),
        lambda x: x.update(
            keypoint=x['keypoint'].tolist(), keypoint_score=x['keypoint_score'].astype(np.float64)
        ),
        lambda x: x.update(keypoint=torch.tensor(x['keypoint'])),
        lambda x: x.pop('total_frames'),
        lambda x: x.pop('img_shape'),
        lambda x: x.update(keypoint=x['keypoint'][0], keypoint_score=x['keypoint_score'][0]),
        lambda x: x.update(label=np.array([x['label']])),
        lambda x: x.update(label=float(x['label']), total_frames=np.float64(30)),
        lambda x: x.update(filename=x.pop('frame_dir')),
    ):
        assert read_mmaction(written(changed(f))).data_hash == plain.data_hash
    file = two(own())
    file['split'] = {k: np.array(v) for k, v in file['split'].items()}
    file['annotations'] = tuple(file['annotations'])
    assert read_mmaction(written(file)).data_hash == plain.data_hash
    numbered = read_mmaction(written(two(own(names=int))))
    assert numbered.names == [str(i) for i in range(18)] and numbered.hashes == plain.hashes
    file = two(own(names=np.int64))
    file['split'] = {k: np.array(v) for k, v in file['split'].items()}
    assert read_mmaction(written(file)).data_hash == numbered.data_hash


def test_an_array_of_objects_is_refused_with_what_to_do(written):
    file = two(own())
    file['split'] = {k: np.array(v, object) for k, v in file['split'].items()}
    with pytest.raises(MsagcnError, match=r"an array of 'O8', Python's objects.*\.tolist\(\)"):
        read_mmaction(written(file))


@pytest.mark.parametrize('shape, zeros', [((0, 30), 0), ((1, 0), 0), ((1, 30), 1)])
def test_a_clip_without_anybody_is_left_out_and_listed(written, tmp_path, shape, zeros):
    file = two(own())
    file['annotations'][3] |= dict(
        keypoint=np.zeros((*shape, 17, 2), 'f4'),
        keypoint_score=np.zeros((*shape, 17), 'f4'),
        total_frames=shape[1],
    )
    clips = read_mmaction(written(file))
    assert len(clips) == 17 and 'clip003' not in clips.names
    assert [(r['name'], r['cause']) for r in clips.notes['refused']] == [('clip003', 'nobody')]


def test_lists_of_the_older_form(written):
    """One file for each part, any of which may be named.

    A list alone has no parts, and the error says what to do.
    """
    a = own()
    whole = read_mmaction(written(two(a)))
    train = written(a[:12], 'gym_train.pkl')
    with pytest.raises(MsagcnError, match=r'gym_train.pkl: a list of annotations.*side by side'):
        read_mmaction(train)
    val = written(a[12:], 'gym_val.pkl')
    for path in (train, val):
        assert read_mmaction(path).data_hash == whole.data_hash
    written(a[12:15], 'gym_val.pkl'), written(a[15:], 'gym_test.pkl')
    assert read_mmaction(train).parts == ['train'] * 12 + ['val'] * 3 + ['test'] * 3
    written(a[11:], 'gym_test.pkl')
    with pytest.raises(MsagcnError, match='clip clip011: there are two'):
        read_mmaction(train)
    written((['a'], [0]), 'gym_test.pkl')
    with pytest.raises(MsagcnError, match='gym_test.pkl: not a list of annotations'):
        read_mmaction(train)
    with pytest.raises(MsagcnError, match='names and labels.*Name the .npy'):
        read_mmaction(written((['a'], [0]), 'train_label.pkl'))


@pytest.mark.parametrize(
    'labels, says',
    [
        (lambda i: i % 3 + 1, 'counted from 1'),
        (lambda i: (0, 1, 2, 9)[i % 4], 'no clip has label 3, 4, 5, 6, 7, …'),
    ],
)
def test_labels_that_leave_classes_empty(written, tmp_path, labels, says):
    path = written(two(own(labels=labels)))
    with pytest.raises(
        MsagcnError, match=f'{says}, which leaves empty classes; .*ntu.classes.txt'
    ) as e:
        read_mmaction(path)
    assert '\n' not in str(e.value)
    (tmp_path / 'ntu.classes.txt').write_text('\n'.join(f'name {k}' for k in range(10)))
    assert read_mmaction(path).classes == [f'name {k}' for k in range(10)]
    (tmp_path / 'ntu.classes.txt').write_text('one\ntwo')
    with pytest.raises(MsagcnError, match='ntu.classes.txt names 2 classes'):
        read_mmaction(path)
    (tmp_path / 'ntu.classes.txt').unlink()
    file = two(own(labels=labels)) | dict(classes=[str(k) for k in range(12)])
    assert len(read_mmaction(written(file)).classes) == 12


def test_windows_in_a_pickle_share_frames(written):
    "Also in 3D, where each clip is moved and rotated by its own first frame."
    rng = np.random.default_rng(0)
    for V, C in ((25, 3), (17, 2)):
        x, a = (rng.random((1, 200, V, C)) * 100).astype('f4'), []
        for i, t in enumerate(range(0, 161, 20)):
            a.append(
                dict(frame_dir=f'w{i}', label=0, total_frames=40, keypoint=x[:, t : t + 40])
                | (dict(keypoint_score=np.ones((1, 40, V), 'f4')) if C == 2 else {})
            )
        n = [y['frame_dir'] for y in a]
        clips = read_mmaction(written(dict(split=dict(train=n[::2], test=n[1::2]), annotations=a)))
        save_clips(clips, path := written(b'').parent / f'w{V}')
        assert leaked(clips) == leaked(load_clips(path)) == n[1::2] and not len(
            split(clips)['clean']
        )


# pickles that want to do something


class Call:
    "An object whose pickle is a call."

    def __init__(self, f, *args):
        self.how = f, args

    def __reduce__(self):
        return self.how


@pytest.mark.parametrize('protocol', range(6))
@pytest.mark.parametrize(
    'make, says',
    [
        (lambda mark: Call(os.system, f'touch {mark}'), f'{os.system.__module__}.system'),
        (lambda mark: Call(builtins.eval, f'open({str(mark)!r}, "w")'), 'builtins.eval'),
        (lambda mark: Call(builtins.open, str(mark), 'w'), '.open'),
        (lambda mark: Call(builtins.getattr, Call(__import__, 'os'), 'system'), 'builtins.getattr'),
        (lambda mark: Call(np.load, str(mark)), 'numpy.load'),
        (lambda mark: Call(torch.load, str(mark)), 'torch.serialization.load'),
        (
            lambda mark: Call(
                torch.storage._load_from_bytes, torch_bytes(Call(os.system, f'touch {mark}'))
            ),
            f'{os.system.__module__}.system',
        ),
        (lambda mark: np.array([Call(os.system, f'touch {mark}')], object), None),
    ],
)
def test_a_pickle_does_nothing(written, tmp_path, protocol, make, says):
    "It is refused with the name that it refers to; the ordinary reader would have run it."
    mark = tmp_path / 'mark'
    path = written(dict(split={}, annotations=[1, make(mark)]), protocol=protocol)
    for read in (read_mmaction, restricted_load):
        with pytest.raises(MsagcnError) as e:
            read(path)
        assert str(e.value).startswith(f'{path}: ') and '\n' not in str(e.value)
        assert says is None or f'{says}, which is not admitted' in str(e.value), str(e.value)
        assert not mark.exists()
    if says and says.endswith('.system') and protocol == 4:
        pickle.loads(path.read_bytes())
        assert mark.exists()


def torch_bytes(x):
    "What torch.save wrote before it wrote zip archives, with any object in it."
    import io

    f = io.BytesIO()
    torch.save(x, f, _use_new_zipfile_serialization=False)
    return f.getvalue()


def text(*words):
    return b''.join(b'\x8c' + bytes([len(w)]) + w.encode() for w in words)


@pytest.mark.parametrize(
    'code, says',
    [
        (
            text('numpy.core.multiarray', '_reconstruct.__globals__') + b'\x93.',
            'multiarray._reconstruct.__globals__, which is not admitted',
        ),
        (
            text('numpy', 'ndarray.__class__') + b'\x93.',
            'numpy.ndarray.__class__, which is not admitted',
        ),
        (text('numpy', 'dtype') + b'\x93}' + text('_call') + b'K\x01sb.', 'sets the state'),
        (
            text('numpy', 'dtype')
            + b'\x93'
            + text('f8')
            + b'\x85R(K\x03'
            + text('<')
            + b'NN)K\x08K\x08K?tb.',
            'fields',
        ),
        (text('numpy', 'dtype') + b'\x93' + text('O8') + b'\x85R.', "an array of 'O8'"),
        (
            text('numpy._core.multiarray', '_reconstruct')
            + b'\x93'
            + text('builtins', 'list')
            + b'\x93K\x00\x85C\x01b\x87R.',
            'a class of its own',
        ),
        (text('builtins', 'list') + b'\x93)\x81.', 'NEWOBJ'),
        (b'\x82\x01.', 'extension'),
        (b'Pid\n.', 'unsupported|outside'),
    ],
)
def test_a_pickle_cannot_climb_from_what_is_admitted(written, code, says):
    path = written(b'\x80\x04' + code)
    with pytest.raises(MsagcnError, match=says) as e:
        restricted_load(path)
    assert '\n' not in str(e.value)


@pytest.mark.parametrize('protocol', range(6))
def test_a_dump_of_tensors_is_read(written, protocol):
    """As MMAction2's test dumps the scores: dictionaries with tensors.

    One tensor is a view of a part of a longer one.
    """
    scores = torch.randn(4, 60)
    rows = [
        dict(
            frame_dir=n,
            pred_score=scores[k],
            pred_label=torch.tensor([k]),
            gt_label=torch.tensor([2]),
            img_shape=(1080, 1920),
            num=np.int64(3),
        )
        for k, n in enumerate(NAMES[:4])
    ]
    got = restricted_load(written(rows, protocol=protocol))
    for a, b in zip(got, rows):
        assert a.keys() == b.keys() and torch.equal(a['pred_score'], b['pred_score'])
        assert a['num'] == 3 and a['img_shape'] == (1080, 1920)
        assert a['pred_score'].untyped_storage().nbytes() == 240
