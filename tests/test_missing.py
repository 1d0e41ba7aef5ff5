"""Own clips in which joints, frames or bodies are missing.

However a file marks them, every feed distinguishes the classes as if nothing were missing. What is
missing is counted and reported, and prediction reads as preparation did.
"""

import csv
import json

import numpy as np
import pytest
import torch
from conftest import SHARED, need, pairs, places

from msagcn.cli import main
from msagcn.core import MsagcnError, read_json
from msagcn.data.clips import Clips, load_clips
from msagcn.data.missing import AXES, Reading, fill
from msagcn.data.own import read_custom
from msagcn.data.own_clip import read_clip_file, read_coordinates, read_filled
from msagcn.data.skeleton import COCO17, MEDIAPIPE33, NTU25, UCLA20, tree_skeleton
from msagcn.experiments.parameters import PredictParameters
from msagcn.experiments.predictor import read_one
from msagcn.experiments.prepare import findings
from msagcn.experiments.results import data_note
from msagcn.experiments.weights import load_weights
from msagcn.experiments.windows import Windows, follow
from msagcn.feeds.feeds import FEEDS, batch, fed_store
from msagcn.feeds.streams import store

JOINTS = ('hip', 'neck', 'head', 'left hand', 'right hand', 'left foot', 'right foot')
PARENTS = (0, 0, 1, 1, 1, 0, 0)
SEVEN = tree_skeleton('own', JOINTS, PARENTS)
REST = np.array(
    [
        [0, 0, 0],
        [0, 0.5, 0],
        [0, 0.7, 0],
        [-0.3, 0.2, 0],
        [0.3, 0.2, 0],
        [-0.15, -0.8, 0],
        [0.15, -0.8, 0],
    ]
)
CLASSES = ('left', 'side', 'up')
T = 24  # no clip is shorter, so none is padded


def motion(k, rng, frames=None):
    "(T, 7, 3) of somebody 3 m from the camera who moves a hand in one of three ways."
    t = np.linspace(0, 2 * np.pi, frames or int(rng.integers(30, 50)))
    x = np.tile(REST, (len(t), 1, 1))
    hand, axis = ((3, 0), (4, 0), (4, 1))[k]
    x[:, hand, axis] += 0.25 * np.sin(3 * t)
    return (
        x + rng.normal(0, 0.01, x.shape) + [rng.uniform(-0.5, 0.5), 0, 3 + rng.uniform(-0.3, 0.3)]
    )


def in_pixels(x):
    return x[..., :2] / x[..., 2:] * [900, -900] + [960, 540]


def write(root, channels='xyz', change=lambda x, i: x, ending='.npy', persons=1, **yaml):
    "A set of three classes, 8 clips of each to train and 10 to test; returns its YAML's path."
    rng = np.random.default_rng(0)
    for part, n in (('train', 8), ('test', 10)):
        for k, label in enumerate(CLASSES):
            (root / part / label).mkdir(parents=True)
            for i in range(n):
                x = motion(k, rng)
                if persons == 2:
                    x = np.stack([x, motion(k, rng, len(x)) + [1, 0, 0]], 1)
                if channels != 'xyz':
                    x = in_pixels(x)
                if channels == 'xys':
                    x = np.concatenate([x, np.full_like(x[..., :1], 0.9)], -1)
                save(root / part / label / f'{label}_{part}_{i}{ending}', change(x, i))
    lines = (
        dict(joints=list(JOINTS), parents=list(PARENTS), channels=channels, persons=persons) | yaml
    )
    (root / 'own.yaml').write_text(
        '\n'.join(
            f'{k}: {json.dumps(v) if not isinstance(v, str) else v}' for k, v in lines.items()
        )
    )
    return root / 'own.yaml'


def save(path, x):
    if path.suffix == '.npy':
        np.save(path, x)
    elif path.suffix == '.npz':
        np.savez(path, keypoints=x)
    else:
        with open(path, 'w', newline='') as f:
            axes = 'xyz'[: x.shape[-1]]
            rows = [['' if np.isnan(v) else repr(float(v)) for v in frame.ravel()] for frame in x]
            csv.writer(f).writerows([[f'{j}_{a}' for j in JOINTS for a in axes], *rows])


def losing(share, sign):
    "Lose joints of any frame, also the first and the last, in the way that `sign` names."
    rng = np.random.default_rng(1)

    def lose(x, i):
        x, lost = x.copy(), rng.random(x.shape[:-1]) < share
        if sign in ('score 0', 'score -1'):
            x[lost] = [*rng.uniform(0, 2000, 2), float(sign[6:])]  # a place that means nothing
        else:
            x[lost] = dict(nan=np.nan, zeros=0)[sign]
        return x

    return lose


def told_apart(clips, feed, stream='joint'):
    """Percent of test clips whose nearest training clip is of their class.

    Nearest by the coordinates of all joints in the network's input.
    """
    s = fed_store(clips, feed=feed)
    x = batch(s, torch.arange(len(clips)), T, stream)
    if clips.channels == 'xys':
        x = x[:, :2]
    x = x.double().sort(dim=2).values.flatten(1)  # whenever in the clip it was there
    part, labels = np.array(clips.parts), torch.tensor(clips.labels)
    train, test = (torch.tensor(np.flatnonzero(part == p)) for p in ('train', 'test'))
    nearest = train[torch.cdist(x[test], x[train]).argmin(1)]
    return 100 * (labels[nearest] == labels[test]).double().mean().item()


FED = [(feed, 'xyz', stream) for feed in FEEDS for stream in ('joint', 'bone')] + [
    (feed, c, 'joint') for feed in ('mmaction2', 'whole', 'padded') for c in ('xy', 'xys')
]
LOSSES = {
    'nan': dict(change=losing(0.03, 'nan')),
    'zeros': dict(change=losing(0.03, 'zeros')),
    'held': dict(change=losing(0.03, 'nan'), fill='hold'),
    'a fifth': dict(change=losing(0.2, 'nan')),
    'empty cells': dict(change=losing(0.03, 'nan'), ending='.csv'),
    'npz': dict(change=losing(0.03, 'zeros'), ending='.npz'),
}


@pytest.fixture(scope='module')
def sets(tmp_path_factory):
    "Sets by channels and loss, each read once."
    made = {}

    def get(channels, name, **how):
        key = channels, name
        if key not in made:
            made[key] = read_custom(write(tmp_path_factory.mktemp('own'), channels, **how), 'own')
        return made[key]

    return get


def compared(sets, channels, name, how, feed, stream):
    full, less = (
        told_apart(sets(channels, n, **h), feed, stream) for n, h in (('full', {}), (name, how))
    )
    assert less >= full - 3, (channels, name, feed, stream, full, less)
    return full


@pytest.mark.parametrize('feed, channels, stream', FED)
def test_lost_joints_cost_nothing_in_any_feed(feed, channels, stream, sets):
    for name, how in LOSSES.items():
        if name == 'empty cells' and channels == 'xys':
            continue
        full = compared(sets, channels, name, how, feed, stream)
    if stream == 'bone' or feed == 'nw_ucla' or channels != 'xyz':
        assert full >= 90, full  # else a person's position outweighs it
    if channels == 'xys':
        for sign in ('score 0', 'score -1'):
            compared(sets, channels, sign, dict(change=losing(0.03, sign)), feed, stream)


def without(first=0, middle=0, last=0, sign=0):
    "Remove everybody from some frames, more of them in every third clip."

    def take(x, i):
        x, k = x.copy(), 1 + i % 3
        x[: first * k] = sign
        x[len(x) // 2 : len(x) // 2 + middle * k] = sign
        if last:
            x[-last * k :] = sign
        return x

    return take


EMPTY = {
    'first': without(first=1),
    'middle': without(middle=1),
    'last': without(last=1),
    'all three': without(1, 1, 1, np.nan),
}


@pytest.mark.parametrize('feed, channels, stream', FED)
@pytest.mark.parametrize('name', EMPTY)
def test_frames_without_anybody_cost_nothing(name, feed, channels, stream, sets):
    compared(sets, channels, name, dict(change=EMPTY[name]), feed, stream)


def test_what_is_missing_is_found_and_only_that(tmp_path):
    rng = np.random.default_rng(3)
    for s in (SEVEN, UCLA20, NTU25, COCO17, MEDIAPIPE33):
        body = rng.normal(0, 0.4, (s.V, 3))
        x = (
            body
            + rng.normal(0, 0.02, (20, 2, s.V, 3))
            + rng.normal(0, 0.1, (20, 2, 1, 3))
            + [0, 0, 3]
        )
        lost = rng.random((20, 2, s.V)) < 0.05
        for name, clip in (('camera', x), ('centred', x - x[:, :, :1]), ('pixels', in_pixels(x))):
            gone, channels = lost.copy(), 'xyz'[: clip.shape[-1]]
            if name == 'centred':
                gone[..., 0] = False
            reading = Reading(AXES if name == 'pixels' else None)  # two bodies in two dimensions
            for sign in (np.nan, 0):
                np.save(tmp_path / 'a.npy', np.where(gone[..., None], sign, clip))
                got = read_coordinates(tmp_path / 'a.npy', s, channels, 2, reading)
                assert np.array_equal(np.isnan(got[..., 0]), gone) and np.array_equal(
                    got[~gone], clip[~gone]
                ), (s.name, name, sign)
            filled, found = read_filled(tmp_path / 'a.npy', s, channels, 2, None, reading)
            assert (
                np.isfinite(filled).all()
                and found.joints.tolist() == gone.sum((0, 1)).tolist()
                and found.frames == 40
            )
            if channels == 'xyz':
                assert np.array_equal(filled[~gone], clip[~gone].astype(np.float32))


def test_the_root_of_centred_data_is_where_it_is_and_the_yaml_may_say_otherwise(tmp_path):
    x = motion(0, np.random.default_rng(0))
    x -= x[:, :1]
    np.save(tmp_path / 'a.npy', x)
    for rule, missing in (('', 0), ('nan', 0), ('zeros', len(x))):
        got = read_coordinates(tmp_path / 'a.npy', SEVEN, 'xyz', 1, Reading(missing=rule))
        assert np.isnan(got[:, 0, 0, 0]).sum() == missing and np.isfinite(got[:, 0, 1:]).all(), rule
    assert np.array_equal(read_clip_file(tmp_path / 'a.npy', SEVEN)[:, 0], x.astype(np.float32))
    never = motion(0, np.random.default_rng(0))
    never[:, 0] = 0  # in the camera's room: a hip that is never seen
    np.save(tmp_path / 'b.npy', never)
    y, found = read_filled(tmp_path / 'b.npy', SEVEN)
    assert found.never.tolist() == [1] + [0] * 6 and np.array_equal(y[:, 0, 0], y[:, 0, 1])
    kept = read_clip_file(tmp_path / 'b.npy', SEVEN, reading=Reading(missing='nan'))
    assert not kept[:, 0, 0].any()


def test_a_body_is_absent_before_its_first_and_after_its_last_frame(tmp_path):
    two = np.stack(
        [motion(0, np.random.default_rng(0), 30), motion(1, np.random.default_rng(1), 30)], 1
    )
    two[:6, 1], two[12:14, 1], two[25:, 1], two[:2, 0], two[28:, 0] = np.nan, 0, 0, 0, np.nan
    np.save(tmp_path / 'a.npy', two)
    x, found = read_filled(tmp_path / 'a.npy', SEVEN, 'xyz', 3)
    assert x.shape == (26, 3, 7, 3) and (found.cut, found.gaps, found.frames) == (4, 2, 26 + 19)
    assert not x[:4, 1].any() and not x[23:, 1].any() and not x[:, 2].any() and x[:, 0, 0, 2].all()
    a, b = two[11, 1], two[14, 1]
    assert np.allclose(x[10:12, 1], [a + (b - a) / 3, a + (b - a) * 2 / 3], atol=1e-6)
    held = read_clip_file(tmp_path / 'a.npy', SEVEN, 'xyz', 3, None, Reading(fill='hold'))
    assert np.allclose(held[10:12, 1], a, atol=1e-6)


@pytest.mark.parametrize('feed', FEEDS)
def test_nobody_moves_into_or_out_of_the_image(feed, tmp_path):
    """The second of two people comes late, is lost for a while, and leaves early.

    No velocity is larger than those while they are present.
    """

    def change(x, i):
        x = x.copy()
        x[:5, 1], x[15:17, 1], x[-4:, 1] = np.nan, 0, 0
        return x

    clips = read_custom(write(tmp_path / 'a', change=change, persons=2), 'own')
    whole = read_custom(write(tmp_path / 'b', persons=2), 'own')
    i = torch.arange(len(clips))
    for stream in ('joint_motion', 'bone_motion'):
        for augment in (None, (0, 1)):
            if feed == 'whole':
                continue  # the first frame follows the last there, for everybody
            got, usual = (
                batch(fed_store(c, feed=feed), i, T, stream, augment).abs().amax()
                for c in (clips, whole)
            )
            assert got < 1.5 * usual, (stream, augment, got, usual)
    x = batch(fed_store(clips, feed=feed), i, T)
    assert (x[..., 1] == 0).flatten(3).all(3).any() and x.isfinite().all()


def test_the_centre_is_taken_where_the_first_body_is_first_seen():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 2, 25, 3)) + 3
    x[:4, 0], x[:2, 1], x[10:, 1] = 0, 0, 0
    clips = Clips(
        benchmark='a',
        skeleton='ntu25',
        classes=['a'],
        names=['x', 'y'],
        labels=np.zeros(2, int),
        subjects=np.zeros(2, int),
        parts=['train'] * 2,
        hashes=[''] * 2,
        lengths=np.array([12, 8]),
        frames=x,
    )
    got = store(clips).frames.numpy()
    assert (
        not got[:2].any()
        and not got[:4, 0].any()
        and not got[4, 0, 1].any()
        and not got[12, 0, 1].any()
        and not got[10:, 1].any()
    )
    assert np.allclose(got[2:10, 1], x[2:10, 1] - x[4, 0, 1], atol=1e-6) and np.allclose(
        got[12:, 0], x[12:, 0] - x[12, 0, 1], atol=1e-6
    )


def test_axes_are_what_the_yaml_says(tmp_path):
    def as_movement(x, i):
        return x.transpose(0, 3, 2, 1)

    write(tmp_path / 'a', 'xy', as_movement, persons=2)
    with pytest.raises(
        MsagcnError, match='can be read as time person joint space, or as time space joint person'
    ):
        read_custom(tmp_path / 'a/own.yaml', 'own')
    ours = read_custom(
        write(tmp_path / 'b', 'xy', persons=2, axes='time person joint space'), 'own'
    )
    for k, (said, order) in enumerate(
        {
            'time space joint person': (0, 3, 2, 1),
            '[space, time, joint, person]': (3, 0, 2, 1),
            'person, time, joint, space': (1, 0, 2, 3),
            'joint space person time': (2, 3, 1, 0),
        }.items()
    ):
        ending = ('.npy', '.npz')[k % 2]
        path = write(
            tmp_path / str(k), 'xy', lambda x, i: x.transpose(order), ending, persons=2, axes=said
        )
        theirs = read_custom(path, 'own')
        assert theirs.data_hash == ours.data_hash and np.array_equal(theirs.frames, ours.frames), (
            said
        )

    def alone(x, i):
        return x.transpose(2, 0, 1)

    one, two = (
        write(tmp_path / 'c', 'xyz', alone, axes='space time joint'),
        write(tmp_path / 'd', 'xyz'),
    )
    assert read_custom(one, 'own').data_hash == read_custom(two, 'own').data_hash
    with pytest.raises(MsagcnError, match='its order may be axes: time space joint person'):
        read_custom(
            write(tmp_path / 'e', 'xy', lambda x, i: x[:, None].transpose(0, 3, 2, 1)), 'own'
        )
    with pytest.raises(MsagcnError, match='can be read as .* or as person time joint space'):
        read_custom(
            write(tmp_path / 'f', 'xys', lambda x, i: x.transpose(1, 0, 2, 3), persons=2), 'own'
        )


def test_joints_that_are_not_there_are_counted_reported_and_read_alike(tmp_path, capsys):
    at = places(tmp_path)

    def change(x, i):
        x = losing(0.1, 'zeros')(x, i)
        x[:2], x[:, 6] = 0, np.nan
        return x

    path = write(tmp_path / 'own', change=change, fill='hold')
    assert main(['prepare', *pairs(benchmark='own', source=path, data_dir=at['data_dir'])]) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if 'missing' in line]
    assert len(said) == 1
    for words in (
        'In 54 of the clips',
        '% of the joints are missing, held over time',
        'most often right foot (100 %)',
        '54 times a joint is never seen in a clip',
        '108 frames without anybody are cut',
    ):
        assert words in said[0], said
    clips = load_clips(tmp_path / 'data/own')
    note = clips.notes['missing']
    assert (
        note['frames'] == len(clips.frames) == note['joints']['right foot']
        and note['never']['right foot'] == 54
    )
    small = dict(
        frames=8,
        width=12,
        epochs=1,
        batch_size=8,
        windows='[3]',
        scales=2,
        window_scales=2,
        refit='false',
        nproc=1,
    )
    assert (
        main(
            [
                'train',
                '-f',
                'params/custom.yaml',
                *pairs(benchmark='own', **small, **at),
                '--no-notebook',
            ]
        )
        == 0
    )
    run = read_json(next((tmp_path / 'reports/runs').glob('*/metrics.json')))
    words, tables = findings(read_json(data_note(at['reports_dir'], 'own', run['data_hash'])))
    assert 'held over time' in words
    table = tables['missing joints'].set_index('joint')
    assert (
        len(table) == 7
        and table.loc['right foot', '% of frames'] == 100
        and 8 < table.loc['head', '% of frames'] < 12
    )
    _, about = load_weights(next((tmp_path / 'runs').glob('*/weights.safetensors')))
    for file in sorted((tmp_path / 'own/test').rglob('*.npy'))[::7]:
        assert np.array_equal(read_one(file, about), clips[file.stem])
        assert (
            main(
                [
                    'predict',
                    str(file),
                    '--weights',
                    str(next((tmp_path / 'runs').glob('*/weights.safetensors'))),
                ]
            )
            == 0
        )


@pytest.mark.parametrize('model, channels', [('msagcn', 'xyz'), ('msg3d', 'xy')])
def test_networks_may_be_told_which_joints_were_found(model, channels, tmp_path):
    "A set with `validity`: coordinates as without it, one channel more, read alike for prediction."
    at = places(tmp_path)
    told = write(tmp_path / 'own', channels, losing(0.1, 'nan'), validity='true')
    assert main(['prepare', *pairs(benchmark='own', source=told, data_dir=at['data_dir'])]) == 0
    clips = load_clips(tmp_path / 'data/own')
    plain = read_custom(write(tmp_path / 'plain', channels, losing(0.1, 'nan')), 'own')
    found = clips.frames[..., -1]
    assert clips.channels == channels + 's'
    assert np.array_equal(clips.frames[..., :-1], plain.frames)
    assert set(np.unique(found)) == {0, 1}
    filled = sum(clips.notes['missing']['joints'].values())
    assert filled == (found == 0).sum() > 0

    small = dict(
        frames=8, width=40, epochs=1, warmup=0, batch_size=16, val_subjects='[]', refit='false'
    )
    if model == 'msg3d':
        small |= dict(width=12, windows='[3]', scales=2, window_scales=2)
    words = ['train', '--no-notebook', *pairs(benchmark='own', model=model, **small, **at)]
    assert main(words) == 0
    weights = next((tmp_path / 'runs').glob('*/weights.safetensors'))
    network, about = load_weights(weights)
    assert network.shape[0] == len(channels) + 1
    for file in sorted((tmp_path / 'own/test').rglob('*.npy'))[::7]:
        assert np.array_equal(read_one(file, about), clips[file.stem])
    windows = Windows(PredictParameters(weights=str(weights), windows=0.5, fps=30, device='cpu'))
    frames = np.load(file).tolist()
    lines = [json.dumps([None if j[0] != j[0] else j for j in frame]) for frame in frames]
    live = list(follow(windows, lines))
    # a file's last window ends with it; live that is not known
    cut = [w for w in windows(file) if w.first % windows.step == 0]
    assert [w.first for w in live] == [w.first for w in cut] != []
    for a, b in zip(live, cut):
        np.testing.assert_allclose(a.probabilities, b.probabilities, atol=1e-6)
    for out in ('w.json', 'w.html'):
        windows = pairs(windows=0.5, fps=30, out=tmp_path / out)
        assert main(['predict', str(file), '--weights', str(weights), *windows]) == 0


def test_older_weights_read_clips_as_before(tmp_path):
    """Weights that record no reading: published ones, or own clips of an earlier version.

    Zeros stay, nothing is cut.
    """
    x = motion(0, np.random.default_rng(0), 30)
    two = np.stack([x, x + 1], 1)
    two[:3], two[10:12, 1], two[20, 0, 4] = 0, 0, 0
    about = dict(
        shape=[3, 8, 7, 2],
        skeleton=dict(name='own', joints=JOINTS, parents=PARENTS, centre=0),
        channels='xyz',
        feed='nw_ucla',
        image=None,
        parameters=dict(benchmark='own'),
    )
    np.save(tmp_path / 'a.npy', two)
    assert np.array_equal(read_one(tmp_path / 'a.npy', about), two.astype(np.float32))
    nan = two.copy()
    nan[20, 0, 4], nan[10:12, 1] = np.nan, np.nan
    np.save(tmp_path / 'a.npy', nan)
    got = read_one(tmp_path / 'a.npy', about)
    assert (
        np.allclose(got[20, 0, 4], (two[19, 0, 4] + two[21, 0, 4]) / 2)
        and not got[10:12, 1].any()
        and len(got) == 30
    )
    flat = np.where(two[..., 2:] > 0, two[..., :2] + 5, 0)
    np.save(tmp_path / 'a.npy', flat)
    got = read_one(
        tmp_path / 'a.npy',
        about | dict(shape=[2, 8, 7, 2], channels='xy', feed='mmaction2', image=[10, 10]),
    )
    assert np.array_equal(got, np.where(flat == 0, 0, flat / 5 - 1).astype(np.float32))


def test_real_landmarks_with_empty_cells():
    """The same landmarks as a table and as detections.

    The end of sports2d_demo, where these are another body's, is left out.
    """
    folder = need(SHARED / 'data/real/mediapipe_real', 'landmarks of MediaPipe')

    def both(name, channels, image):
        return (
            read_filled(folder / f'{name}{end}', MEDIAPIPE33, channels, 1, image)
            for end in ('.csv', '.json')
        )

    for channels, image in (('xy', (1, 1)), ('xys', (1, 1)), ('xy', None)):
        (a, missing), (b, same) = both('pose2sim_single_cam01', channels, image)
        assert (
            np.allclose(a, b, atol=1e-4)
            and missing.cut == same.cut == 0
            and missing.gaps == same.gaps
        )
        assert np.isfinite(a).all()
    for channels in ('xy', 'xys'):
        (a, missing), (b, same) = both('sports2d_demo', channels, (1, 1))
        assert 0 < missing.cut < same.cut and len(b) < len(a)
        assert np.allclose(a[: len(b)], b, atol=1e-4) and np.isfinite(a).all()


def test_filling_changes_nothing_that_is_there():
    rng = np.random.default_rng(0)
    for channels in ('xyz', 'xy', 'xys'):
        x = rng.normal(size=(15, 2, 7, len(channels)))
        y, found = fill(x, SEVEN, channels)
        assert np.array_equal(x, y) and not found.joints.any() and found.clips == 0
        x[rng.random(x.shape[:-1]) < 0.5, : len(channels.removesuffix('s'))] = np.nan
        y, _ = fill(x, SEVEN, channels)
        assert np.isfinite(y).all() and np.array_equal(y[~np.isnan(x)], x[~np.isnan(x)])
