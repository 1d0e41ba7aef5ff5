"""Own skeletons: the same made-up set in every form that is read, and every likely mistake.

Each mistake is refused in one line.
"""

import csv
import json
import pickle
import shutil

import numpy as np
import pytest
import torch
import yaml

from msagcn.core import MsagcnError
from msagcn.data.clip_writer import save_clips
from msagcn.data.clips import leaked, load_clips, split
from msagcn.data.own import read_custom
from msagcn.data.own_clip import read_clip_file, read_coordinates, unit_xy
from msagcn.data.skeleton import COCO17, MEDIAPIPE33, skeleton_from, tree_skeleton
from msagcn.feeds.streams import batch, store

JOINTS, PARENTS = (
    ['pelvis', 'chest', 'head', 'left hand', 'right hand'],
    [None, 'pelvis', 1, 'chest', 1],
)
OWN = tree_skeleton('mine', tuple(JOINTS), (0, 0, 1, 1, 1))
CLASSES = ('bow', 'jump', 'wave')


def motion(label, seed, channels='xyz'):
    "(T, V, C) of a made-up performance: bow, jump or wave."
    rng = np.random.default_rng(seed)
    T = int(rng.integers(6, 15))
    u, x = (
        np.sin(np.linspace(0, np.pi, T)),
        np.tile([[0, 0, 2], [0, 0.5, 2], [0, 0.8, 2], [-0.3, 0.2, 2], [0.3, 0.2, 2.0]], (T, 1, 1)),
    )
    if label == 'bow':
        x[:, 2] -= np.stack([0 * u, 0.4 * u, 0.5 * u], 1)
    if label == 'jump':
        x[..., 1] += u[:, None]
    if label == 'wave':
        x[:, 4] += np.stack([0.2 * np.sin(9 * u), u, 0 * u], 1)
    x = (x + rng.normal(0, 0.01, x.shape)).astype(np.float32)
    if channels == 'xyz':
        return x
    flat = x[..., :2] * 200 + 300
    return (
        flat
        if channels == 'xy'
        else np.concatenate([flat, np.full((T, 5, 1), 0.75, np.float32)], -1)
    )


def write_example(folder, **changes):
    """Write a made-up set of three classes; returns the path of its YAML.

    Each class has three clips to train, one to hold out, two to test.
    """
    channels = changes.get('channels', 'xyz')
    for k, label in enumerate(CLASSES):
        for i, part in enumerate(['train'] * 3 + ['val'] + ['test'] * 2):
            place = folder / part / label
            place.mkdir(parents=True, exist_ok=True)
            np.save(place / f'{label}{i}.npy', motion(label, 10 * k + i, channels))
    return describe(folder, **changes)


def describe(folder, **changes):
    "Write the YAML with changes; a change of None leaves a key out."
    d = dict(joints=JOINTS, parents=PARENTS, channels='xyz') | changes
    (folder / 'mine.yaml').write_text(yaml.safe_dump({k: v for k, v in d.items() if v is not None}))
    return folder / 'mine.yaml'


def refused(path, *says, begins=None):
    with pytest.raises(MsagcnError) as e:
        read_custom(path, 'mine')
    text = str(e.value)
    assert text.startswith(str(begins or path.parent)) and '\n' not in text, text
    for word in says:
        assert word in text, (word, text)


def test_folders_become_clips_that_the_network_can_be_fed(tmp_path):
    clips = read_custom(write_example(tmp_path), 'mine')
    assert clips.classes == list(CLASSES) and len(clips) == 18 and clips.benchmark == 'mine'
    assert clips.names == sorted(f'{c}{i}' for c in CLASSES for i in range(6))
    for name, label, part in zip(clips.names, clips.labels, clips.parts):
        assert CLASSES[label] == name[:-1] and part == (
            'train' if int(name[-1]) < 3 else 'val' if name[-1] == '3' else 'test'
        )
        assert np.array_equal(
            clips[name][:, 0], np.load(tmp_path / part / name[:-1] / f'{name}.npy')
        )
    assert (
        clips.feed == 'own_frame' and clips.channels == 'xyz' and clips.frames.dtype == np.float32
    )
    assert not clips.subjects.any() and not leaked(clips)
    assert {k: len(v) for k, v in split(clips).items()} == dict(
        train=12, fit=9, val=3, test=6, clean=6
    )
    assert skeleton_from(clips.skeleton) == OWN
    x = batch(store(clips), torch.arange(18), 8, 'bone', (0, 0))
    assert x.shape == (18, 3, 8, 5, 1) and x.isfinite().all() and not x[:, :, :, 0].any()
    save_clips(clips, tmp_path / 'kept')
    again = load_clips(tmp_path / 'kept')
    assert again.data_hash == clips.data_hash and again.skeleton == clips.skeleton
    assert read_custom(tmp_path / 'mine.yaml', 'mine').data_hash == clips.data_hash


def test_a_table_gives_the_same_clips_as_the_folders(tmp_path):
    by_folder = read_custom(write_example(tmp_path, classes=['wave', 'jump', 'bow']), 'mine')
    assert by_folder.labels.tolist() == [2] * 6 + [1] * 6 + [0] * 6
    files = sorted((tmp_path).rglob('*.npy'))
    (tmp_path / 'all').mkdir()
    rows = []
    for f in files:
        rows.append(
            [f.name, f.parent.name, f.parts[-3], {'0': 'Zoe', '1': 'Ben'}.get(f.stem[-1], '')]
        )
        shutil.move(f, tmp_path / 'all' / f.name)
    with open(tmp_path / 'who is what.csv', 'w', newline='', encoding='utf-8-sig') as f:
        csv.writer(f).writerows([['file', 'label', 'part', 'subject'], *rows[::-1]])
    clips = read_custom(
        describe(tmp_path, clips='all', table='who is what.csv', classes=['wave', 'jump', 'bow']),
        'mine',
    )
    assert clips.data_hash == by_folder.data_hash and clips.names == by_folder.names
    # Ben, Zoe
    assert clips.subjects.dtype == np.int64 and clips.subjects.tolist() == [2, 1, 0, 0, 0, 0] * 3
    assert len(split(clips, [2])['val']) == 6
    # sorted
    assert read_custom(
        describe(tmp_path, clips='all', table='who is what.csv'), 'mine'
    ).classes == list(CLASSES)
    text = (tmp_path / 'who is what.csv').read_text(encoding='utf-8-sig')
    (tmp_path / 'who is what.csv').write_text(text.replace('Zoe', '40').replace('Ben', '7'))
    assert read_custom(tmp_path / 'mine.yaml', 'mine').subjects.tolist() == [40, 7, 0, 0, 0, 0] * 3


def test_one_clip_in_every_form(tmp_path):
    x = motion('wave', 3)
    two = np.stack([x, x + 1], 1)

    def same(name, persons=1):
        return read_clip_file(tmp_path / name, OWN, 'xyz', persons)

    np.save(tmp_path / 'a.npy', x)
    np.save(tmp_path / 'd.npy', two.astype(np.float64))
    np.savez(tmp_path / 'b.npz', x)
    np.savez_compressed(tmp_path / 'c.npz', clip=two)
    with open(tmp_path / 'e.csv', 'w', newline='') as f:
        out = csv.writer(f)
        out.writerow(['time'] + [f'{j}_{c}' for c in 'zxy' for j in reversed(JOINTS)] + ['remark'])
        out.writerows(
            [t / 30, *(repr(float(v)) for v in frame[::-1][:, [2, 0, 1]].T.ravel()), 'good']
            for t, frame in enumerate(x)
        )
    frames = [dict(frame_id=t, instances=[dict(keypoints=f.tolist())]) for t, f in enumerate(x)]
    (tmp_path / 'f.json').write_text(json.dumps(frames))
    (tmp_path / 'g.JSON').write_text(json.dumps(dict(meta_info={}, instance_info=frames)))
    (tmp_path / 'h.json').write_text(json.dumps([f['instances'] for f in frames]))
    (tmp_path / 'i.json').write_text(
        json.dumps([dict(landmarks=[dict(zip('xyz', p.tolist())) for p in f]) for f in x])
    )
    for name in (
        'a.npy',
        'b.npz',
        'c.npz',
        'd.npy',
        'e.csv',
        'f.json',
        'g.JSON',
        'h.json',
        'i.json',
    ):
        got = same(name)
        assert got.dtype == np.float32 and np.array_equal(got, x[:, None]), name
        assert same(name, 3).shape == (len(x), 3, 5, 3) and not same(name, 3)[:, 2].any()
    assert np.array_equal(same('c.npz', 2), two)


def test_empty_cells_are_a_missing_joint(tmp_path):
    path = tmp_path / 'a.csv'
    header = ','.join(f'{j.replace(" ", "_").upper()}_{c}' for j in JOINTS for c in 'xy')
    path.write_text(
        f'{header}\n' + '1,2,3,4,5,6,,,9,10\n' + ',' * 9 + '\n11,12,13,14,15,16,17,18,19,20\n'
    )
    x = read_clip_file(path, OWN, 'xy', 1, (4, 4))
    assert (
        x.shape == (3, 1, 5, 2)
        and np.allclose(x[1], (x[0] + x[2]) / 2)
        and np.array_equal(x[0, 0, 3], x[2, 0, 3])
    )
    assert x[2, 0, 3].tolist() == [7.5, 8] and x[0, 0, 0].tolist() == [-0.5, 0]
    raw = read_coordinates(path, OWN, 'xy')
    assert np.isnan(raw[0, 0, 3]).all() and np.isnan(raw[1]).all() and np.isfinite(raw[2]).all()
    path.write_text(f'{header}\n' + '1,2,3,4,5,6,7,,9,10\n')
    with pytest.raises(MsagcnError, match='line 2: left hand has some'):
        read_clip_file(path, OWN, 'xy')


def test_2d_coordinates_become_the_same_whatever_the_unit():
    x = np.random.default_rng(0).uniform(100, 900, (7, 2, 5, 3))
    x[3, 1] = np.nan
    x[2, 0, 4, :2] = np.nan
    box = unit_xy(x)
    there = np.isfinite(x[..., 0])

    def width_to_height(a):
        w, h, _ = np.ptp(a[there], axis=0)
        return w / h

    assert np.allclose(
        unit_xy(x * [3, 3, 1])[..., :2], box[..., :2], equal_nan=True
    ) and np.array_equal(box[..., 2], x[..., 2], equal_nan=True)
    assert np.isnan(box[3, 1]).all() and np.isnan(box[2, 0, 4, :2]).all()
    assert np.isclose(np.abs(box[there][:, :2]).max(), 1) and np.isclose(
        width_to_height(box), width_to_height(x)
    )
    picture = unit_xy(x, (1000, 500))
    assert np.allclose(picture[there][:, :2], (x[there][:, :2] - [500, 250]) / [500, 250])
    # one point has no size: no division by zero
    assert not unit_xy(np.full((2, 1, 1, 2), 4.0)).any()
    # at the left edge, and in its corner
    assert unit_xy(np.array([[[[0, 5.0], [0, 0]]]]), (10, 10)).tolist() == [[[[-1, 0], [-1, -1]]]]


def test_2d_sets_go_to_the_feed_for_2d(tmp_path):
    clips = read_custom(write_example(tmp_path, channels='xys', image=[600, 600]), 'mine')
    assert clips.feed == 'mmaction2' and clips.channels == 'xys' and clips.frames.shape[-1] == 3
    assert np.allclose(
        clips['jump0'][:, 0, :, :2], motion('jump', 10, 'xys')[..., :2] / 300 - 1, atol=1e-6
    )
    assert (clips.frames[..., 2] == 0.75).all()


def test_the_surest_people_come_first_and_stay_in_their_slots(tmp_path):
    shape = np.random.default_rng(5).uniform(0, 9, (17, 2))

    def person(x, score):
        return dict(keypoints=(shape + [x, 1]).tolist(), keypoint_scores=[score] * 17)

    first = [person(x, s) for x, s in ((100, 0.2), (200, 0.9), (300, 0.5), (400, 0.2))]
    video = [
        dict(frame_id=3, instances=first),
        dict(frame_id=6, instances=[person(301, 0.8)]),
        dict(frame_id=7, instances=[person(302, 0.4), person(201, 0.7), person(401, 0.5)]),
    ]
    (tmp_path / 'a.json').write_text(json.dumps(video))
    x = unit_xy(read_coordinates(tmp_path / 'a.json', COCO17, 'xys', 2), (2, 2))
    assert (
        x.shape == (5, 2, 17, 3)
        and np.isnan(x[1:3, ..., :2]).all()
        and np.isnan(x[3, 1, :, :2]).all()
        and not x[1:3, ..., 2].any()
    )
    # 1.7 in all, and 1.6
    want = [
        [(300, 0.5), (200, 0.9)],
        None,
        None,
        [(301, 0.8)],
        [(302, 0.4), (201, 0.7)],
    ]
    for t, group in enumerate(want):
        for m, (at, score) in enumerate(group or []):
            assert np.allclose(x[t, m, :, :2], shape + [at, 1] - 1, atol=1e-6)
            assert np.allclose(x[t, m, :, 2], score)


def test_world_landmarks_are_taken_for_3d_alone(tmp_path):
    rng, path = np.random.default_rng(5), tmp_path / 'a.json'

    def landmarks():
        return [
            dict(zip(('x', 'y', 'z', 'visibility', 'presence'), p)) for p in rng.random((33, 5))
        ]

    a, b, w = landmarks(), landmarks(), landmarks()
    nobody = dict(pose_landmarks=[], pose_world_landmarks=[])
    path.write_text(json.dumps([dict(pose_landmarks=[a, b], pose_world_landmarks=[w]), nobody]))
    x = read_clip_file(path, MEDIAPIPE33, 'xyz', 2)
    assert x.shape == (1, 2, 33, 3)  # nobody is in the second frame, the last
    assert np.allclose(x[0, 0], [[p[c] for c in 'xyz'] for p in w]) and not x[0, 1].any()
    first = max(a, b, key=lambda p: sum(l['visibility'] for l in p))
    assert np.allclose(
        read_clip_file(path, MEDIAPIPE33, 'xys', 1, (1, 1))[0, 0, :, 0],
        [2 * p['x'] - 1 for p in first],
        atol=1e-6,
    )
    path.write_text(json.dumps([dict(poseWorldLandmarks=w)]))
    with pytest.raises(MsagcnError, match='no frame has landmarks for channels xy'):
        read_clip_file(path, MEDIAPIPE33, 'xy')
    path.write_text(json.dumps([dict(pose_landmarks=dict(landmark=a))]))
    assert np.allclose(read_clip_file(path, MEDIAPIPE33)[0, 0], [[p[c] for c in 'xyz'] for p in a])


YAML = {
    'cycle': (dict(parents=[None, 'head', 'chest', 1, 1]), 'go in a circle: chest > head > chest'),
    'two roots': (dict(parents=[None, None, 1, 1, 1]), 'no limb joins pelvis to the others'),
    'few parents': (dict(parents=[0, 0]), '5 joints but 2 parents'),
    'unknown parent': (dict(parents=[None, 'spine', 1, 1, 1]), "'spine'"),
    'parent too large': (dict(parents=[0, 0, 9, 1, 1]), '9, not a joint'),
    'no parents': (dict(parents=None), 'parents: a list'),
    'twice a joint': (
        dict(joints=[*JOINTS[:4], 'Left_Hand']),
        "'Left_Hand' is there twice, first as 'left hand'",
    ),
    'known skeleton with parents': (dict(joints='coco17'), 'leave them out'),
    'unknown skeleton': (dict(joints='coco71', parents=None), 'mediapipe33'),
    'no joints': (dict(joints=None), 'joints: missing'),
    'empty joints': (dict(joints=[]), 'joints: a list'),
    'no channels': (dict(channels=None), 'channels: missing'),
    'other channels': (dict(channels='xyzs'), 'xyz, xy, xys'),
    'unknown key': (dict(person=2), 'did you mean persons?'),
    'no persons': (dict(persons=0), 'persons: 0'),
    'a crowd': (dict(persons=10**9), 'from 1 to 100'),
    'persons in words': (dict(persons='two'), 'persons'),
    'true persons': (dict(persons=True), 'persons'),
    'image for 3D': (dict(image=[3, 4]), 'only with xy'),
    'image of nothing': (dict(channels='xy', image=[0, 4]), '[width, height]'),
    'image of one': (dict(channels='xy', image=[640]), '[width, height]'),
    'nowhere': (dict(clips='nowhere'), 'nowhere: no such folder'),
    'clips as a list': (dict(clips=['a']), 'not a path'),
    'twice a class': (dict(classes=['bow', 'bow']), "classes: 'bow' is there twice"),
    'numbers as classes': (dict(classes=[1, 2]), 'is not one of 1, 2'),
    'unknown class': (dict(classes=['bow', 'jump']), "class 'wave' is not one of bow, jump"),
    'V': (dict(joints=JOINTS[:4], parents=[None, 0, 1, 1]), 'T×4×3'),
    'C': (dict(channels='xy'), 'T×5×2'),
    'table not there': (dict(table='no.csv'), 'no.csv'),
}


@pytest.mark.parametrize('case', YAML)
def test_a_bad_description_is_refused_in_one_line(case, tmp_path):
    change, says = YAML[case]
    write_example(tmp_path)
    refused(describe(tmp_path, **change), says)


def test_files_that_are_not_yaml_or_no_description(tmp_path):
    path = tmp_path / 'mine.yaml'
    refused(path, 'cannot read')
    for text, says in {
        'joints: [a\nb: {': 'not YAML',
        '': 'not a description',
        'hello': 'not a description',
        'a: !!python/object/apply:os.getcwd []': 'not YAML',
        'joints: [no, no]\nparents: [1, 1]\nchannels: xyz': "'no' is there twice",
        'joints: [a, b]\nchannels: xyz\npersons: 010': 'persons: ',
        '\t- a': 'not YAML',
    }.items():
        path.write_text(text)
        refused(path, says, begins=path)
    path.write_bytes(b'\xff\xfe\x00')
    refused(path, 'not YAML')
    refused(tmp_path, 'cannot read', begins=tmp_path)


PICKLED = pickle.dumps([1, 2, 3])
CLIP = motion('jump', 1)
BAD_CLIPS = {
    'NaN': (
        np.where(np.arange(3) == 2, np.nan, CLIP),
        'pelvis has some of its channels only, others are NaN or empty (frame 0)',
    ),
    'nothing but NaN': (CLIP * np.nan, 'nobody'),
    'infinite': (CLIP * np.float32('inf'), 'infinite'),
    'too large': (CLIP.astype(float) * 1e300, 'infinite'),
    'zero frames': (CLIP[:0], 'zero frames'),
    'nobody': (CLIP * 0, 'nobody'),
    'V': (CLIP[:, :4], f'{len(CLIP)}×4×3'),
    'C': (CLIP[..., :2], 'channels xyz'),
    'flat': (CLIP[0], '5×3'),
    'words': (np.array(['a']), 'not of numbers'),
    'complex': (CLIP.astype(complex), 'complex'),
    'objects': (np.array([CLIP, None], dtype=object), 'never opened'),
    'pickle': (PICKLED, 'never opened'),
    'cut off': (None, 'not an array'),
    'empty': (b'', 'not an array'),
}


@pytest.mark.parametrize('case', BAD_CLIPS)
def test_a_bad_array_is_refused_in_one_line(case, tmp_path):
    content, says = BAD_CLIPS[case]
    path = write_example(tmp_path)
    bad = tmp_path / 'train/jump/jump1.npy'
    if content is None:
        bad.write_bytes(bad.read_bytes()[:-7])
    elif isinstance(content, bytes):
        bad.write_bytes(content)
    else:
        np.save(bad, content, allow_pickle=True)
    refused(path, says, begins=bad)


JSON = {
    'not JSON': ('hello', 'not JSON'),
    'deep': ('[' * 100_000, 'JSON'),
    'a number': ('3', 'neither'),
    'no frames': ('[]', 'zero frames'),
    'other': ('[{"people": []}]', 'no instances and no landmarks'),
    'words': ('["a"]', 'neither'),
    'people': (
        '[{"keypoints": [[1, 2]], "keypoint_scores": [1]}]',
        'a list of people without frames',
    ),
    'instances in words': ('[{"instances": 5}]', 'frame 0: an instance'),
    'no keypoints': ('[{"instances": [{"bbox": [1]}]}]', 'frame 0: an instance without keypoints'),
    'V': ('[{"instances": [{"keypoints": [[1, 2]]}]}]', 'frame 0: keypoints are 1×2, not 5×2'),
    'ragged': ('[{"instances": [{"keypoints": [[1, 2], [3]]}]}]', 'not numbers'),
    'text': ('[{"instances": [{"keypoints": "far"}]}]', 'not numbers'),
    'huge': (f'[{{"instances": [{{"keypoints": [[1, {10**400}]]}}]}}]', 'not numbers'),
    'null': (f'[{{"instances": [{{"keypoints": {json.dumps([[1, None]] * 5)}}}]}}]', 'NaN'),
    'nobody': ('[{"instances": []}, null]', 'nobody in any frame'),
    'scores': (
        f'[{{"instances": [{{"keypoints": {[[1, 2]] * 5}, "keypoint_scores": [1, 2]}}]}}]',
        '2 scores for 5 joints',
    ),
    'frames backwards': (
        '[{"frame_id": 2, "instances": []}, {"frame_id": 1, "instances": []}]',
        'frame_id',
    ),
    'frame twice': (
        '[{"frame_id": 2, "instances": []}, {"frame_id": 2, "instances": []}]',
        'frame_id',
    ),
    'frames far apart': (
        '[{"frame_id": 2, "instances": []}, {"frame_id": 99999999999, "instances": []}]',
        'run from 2 to',
    ),
    'landmarks': ('[{"landmarks": [[1, 2, 3]]}]', 'frame 0: landmarks are not'),
    'number of landmarks': (
        '[{"landmarks": [{"x": 1, "y": 2, "z": 3}]}]',
        'frame 0: keypoints are 1×2, not 5×2',
    ),
    'one landmark': ('[{"landmarks": 3}]', 'landmarks are not'),
}


@pytest.mark.parametrize('case', JSON)
def test_a_bad_json_clip_is_refused_in_one_line(case, tmp_path):
    text, says = JSON[case]
    (tmp_path / 'a.json').write_text(text)
    with pytest.raises(MsagcnError) as e:
        read_clip_file(tmp_path / 'a.json', OWN, 'xy')
    assert (
        str(e.value).startswith(str(tmp_path / 'a.json'))
        and says in str(e.value)
        and '\n' not in str(e.value)
    ), e.value


def test_scores_are_required_where_they_are_a_channel(tmp_path):
    (tmp_path / 'a.json').write_text(json.dumps([[dict(keypoints=[[1, 2]] * 5)]]))
    with pytest.raises(MsagcnError, match='frame 0: no scores'):
        read_clip_file(tmp_path / 'a.json', OWN, 'xys')


def test_bad_tables_of_coordinates(tmp_path):
    path, header = tmp_path / 'a.csv', ','.join(f'{j}_{c}' for j in JOINTS for c in 'xy')
    row = ','.join('1' * 10)
    for text, says in {
        '': 'empty file',
        header: 'zero frames',
        f'{header}\n{row},1': 'line 2 has 11 cells',
        f'{header},pelvis x\n{row},1': 'two columns pelvis_x',
        f'{header[:-1]}z\n{row}': 'no column right_hand_y',
        f'{header}\n{row[:-1]}far': 'no numbers',
        f'{header}\n{row[:-1]}nan': 'line 2: right hand has some',
        f'{header}\n{row[:-1]}1e999': 'infinite',
    }.items():
        path.write_text(text)
        with pytest.raises(MsagcnError) as e:
            read_clip_file(path, OWN, 'xy')
        assert str(e.value).startswith(str(path)) and says in str(e.value), (says, e.value)
    path.write_bytes(b'\xff\xfea')
    with pytest.raises(MsagcnError, match='not CSV'):
        read_clip_file(path, OWN, 'xy')


def test_a_clip_belongs_to_one_part_and_has_a_name_of_its_own(tmp_path):
    path = write_example(tmp_path)
    shutil.copy(tmp_path / 'train/bow/bow0.npy', tmp_path / 'test/jump/bow0.npy')
    refused(path, "clip 'bow0' is in two parts, train", 'and test')
    (tmp_path / 'test/jump/bow0.npy').rename(tmp_path / 'train/jump/bow0.npy')
    refused(path, "name 'bow0' was there before", 'train/bow/bow0.npy')
    (tmp_path / 'train/jump/bow0.npy').unlink()
    np.savez(tmp_path / 'val/bow/bow0.npz', CLIP)
    refused(path, "clip 'bow0' is in two parts, train", 'and val')


def test_bad_folders(tmp_path):
    path = write_example(tmp_path)
    (tmp_path / 'test/wave/.DS_Store').touch()
    (tmp_path / 'report.txt').touch()
    assert len(read_custom(path, 'mine')) == 18  # what is none of our business
    (tmp_path / 'test/wave/notes.doc').touch()
    refused(path, "ending '.doc' is not one of .npy", begins=tmp_path / 'test/wave/notes.doc')
    (tmp_path / 'test/wave/notes.doc').unlink()
    (tmp_path / 'test/wave').rename(tmp_path / 'test/wvae')  # a slip of the pen
    refused(path, "no clips of class 'wvae' to train")
    (tmp_path / 'test/notes.npy').touch()
    refused(path, 'not in a folder of its class')
    shutil.rmtree(tmp_path / 'test')
    refused(path, 'no folder test')
    (tmp_path / 'test').mkdir()
    refused(path, 'no clips to test')
    shutil.rmtree(tmp_path / 'val')
    shutil.rmtree(tmp_path / 'train')
    refused(path, 'no folder train')


def test_bad_tables(tmp_path):
    write_example(tmp_path)
    path, table = describe(tmp_path, table='t.csv', classes=['bow', 'wave']), tmp_path / 't.csv'
    good = [
        'file,label,part',
        'train/bow/bow0.npy,bow,train',
        'test/bow/bow5.npy,bow,test',
        'train/wave/wave0.npy,wave,train',
    ]
    table.write_text('\n'.join(good))
    clips = read_custom(path, 'mine')
    assert (
        clips.parts == ['train', 'test', 'train']
        and clips.classes == ['bow', 'wave']
        and clips.labels.tolist() == [0, 0, 1]
    )
    for lines, says in {
        ('file,label', 'a,b'): 'columns are file, label,',
        ('file,label,part,who', 'a,b,c,d'): 'columns are',
        ('file,label,part', 'a,b'): 'line 2 has 2 cells',
        ('',): 'empty file',
        (*good, 'train/bow/bow1.npy,bwo,train'): "line 5: class 'bwo' is not one of bow, wave",
        (*good, 'train/bow/bow1.npy,bow,training'): "line 5: part 'training'",
        (*good, 'train/bow/bow9.npy,bow,train'): 'bow9.npy: no such file',
        (*good, ',bow,train'): 'line 5: no file',
        (*good, 'train/bow,bow,train'): 'line 5',
        (*good, 'train/bow/bow0.npy,bow,test'): 'in two parts',
        (*good, 'train/bow/bow0.npy,bow,train'): 'was there before',
        tuple(good[:2]): 'no clips to test',
        tuple(good[:3]): "no clips of class 'wave' to train",
        (good[0], good[2]): 'no clips to train',
        (good[0],): 'no clips to train',
    }.items():
        table.write_text('\n'.join(lines))
        refused(path, says)
    table.write_bytes(b'\xff\xfe')
    refused(path, 'not CSV', begins=table)
