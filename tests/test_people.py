"""People of own clips: each stays in one slot, made-up people are removed.

Every estimator's file is read, and any fault of one is reported in a line.
"""

import json
import random
from collections import Counter

import numpy as np
import pytest
from conftest import SHARED, need, pairs, places

from msagcn.cli import main
from msagcn.core import MsagcnError, read_json
from msagcn.data.clips import load_clips
from msagcn.data.own import read_custom
from msagcn.data.own_clip import read_clip_file, read_coordinates
from msagcn.data.skeleton import BODY25, COCO17, MEDIAPIPE33, OPENPOSE18
from msagcn.experiments.prepare import findings
from msagcn.experiments.results import data_note, write_data_note

# 180 pixels tall
BODY = np.array(
    [
        [0, 0],
        [-3, -2],
        [3, -2],
        [-7, 0],
        [7, 0],
        [-20, 25],
        [20, 25],
        [-28, 60],
        [28, 60],
        [-30, 90],
        [30, 90],
        [-12, 90],
        [12, 90],
        [-13, 135],
        [13, 135],
        [-14, 180],
        [14, 180],
    ],
    float,
)


def person(x, y=200, score=0.8, **more):
    return dict(keypoints=(BODY + [x, y]).tolist(), keypoint_scores=[score] * 17) | more


def video(path, frames, start=0):
    "MMPose's form: each frame a list of people."
    path.write_text(
        json.dumps([dict(frame_id=start + t, instances=group) for t, group in enumerate(frames)])
    )
    return path


def noses(path, persons, counts=None, skeleton=COCO17):
    "x of the first joint of each slot, frame by frame; NaN where nobody is."
    return read_coordinates(path, skeleton, 'xys', persons, counts=counts)[:, :, 0, 0].T


def crossing(t):
    return 300 + 12 * t, 900 - 12 * t, 600  # two who cross at frame 25, and one who stays


@pytest.mark.parametrize('ids', [None, 'all', 'changing', 'some'])
@pytest.mark.parametrize('people', [2, 3])
def test_people_who_cross_keep_their_slots(people, ids, tmp_path):
    rng, frames = np.random.default_rng(people), []
    for t in range(50):
        group = [
            person(x + rng.normal(0, 1), 200 + 6 * k, 0.7 + 0.2 * rng.random())
            for k, x in enumerate(crossing(t)[:people])
        ]
        for k, p in enumerate(group):
            if ids and not (ids == 'some' and t % 4 == k):
                p['track_id'] = k + 1 + (100 if ids == 'changing' and t > 30 else 0)
        rng.shuffle(group)
        frames.append(group)
    counts = Counter()
    found = noses(video(tmp_path / 'a.json', frames), people, counts)
    want = np.array([crossing(t)[:people] for t in range(50)]).T
    order = [int(np.abs(want[:, :1] - x[0]).argmin()) for x in found]
    assert sorted(order) == list(range(people)) and np.abs(found - want[order]).max() < 6
    assert counts['left out'] == 0 and counts['nobody'] == 0
    assert (counts['uncertain'] == 0) if ids == 'all' else counts['uncertain'] < 60


def test_scores_that_change_change_nobody(tmp_path):
    "As in the file of case 19, without and with ids: the surest person alternates between frames."
    for more in ({}, dict(track_id=1)):
        frames = [
            [
                person(100, score=0.9 - 0.01 * (t % 2), **more),
                person(700, score=0.89 + 0.01 * (t % 2), **{k: 2 for k in more}),
            ]
            for t in range(10)
        ]
        assert (noses(video(tmp_path / 'a.json', frames), 1) == 100).all()
        assert (
            noses(video(tmp_path / 'a.json', [f[::-1] for f in frames]), 2)[1]
            != noses(tmp_path / 'a.json', 2)[0]
        ).all()


def test_who_is_seen_longest_and_most_surely_comes_first(tmp_path):
    "People enter and leave, there is a clear passer-by, a frame with nobody, and a gap in the numbers."
    frames = (
        [[person(100, score=0.6)] for _ in range(8)]
        + [[]]
        + [[person(100, score=0.6), person(900, score=0.95)] for _ in range(3)]
    )
    frames += [[person(900, score=0.95)] for _ in range(2)]
    path = video(tmp_path / 'a.json', frames, 5)
    x = noses(path, 3)
    assert np.array_equal(np.isnan(x[0]), [t == 8 or t > 11 for t in range(14)]) and np.array_equal(
        np.isnan(x[1]), [t < 9 for t in range(14)]
    )
    assert np.isnan(x[2]).all() and np.nanmax(x[0]) == 100 and np.nanmin(x[1]) == 900
    counts = Counter()
    assert np.nanmax(noses(path, 1, counts)) == 100 and counts['left out'] == 5
    data = json.loads(path.read_text())
    del data[3:5]
    path.write_text(json.dumps(data))
    assert np.isnan(noses(path, 1)[0, 3:5]).all() and noses(path, 1)[0, 5] == 100


def test_another_id_far_away_is_another_person(tmp_path):
    frames = [[person(100, track_id=1)] for _ in range(10)] + [
        [person(900, track_id=2)] for _ in range(9)
    ]
    x = noses(video(tmp_path / 'a.json', frames), 2)
    assert np.isnan(x[0, 10:]).all() and np.isnan(x[1, :10]).all()
    # the tracker numbered anew
    near = [[person(100 + 2 * t, track_id=1 + t // 10)] for t in range(20)]
    assert not np.isnan(noses(video(tmp_path / 'a.json', near), 1)).any()


WHOLE = [[0, 0, 1280, 720]]


def test_an_empty_frame_has_no_person(tmp_path):
    "MMPose writes the whole image where it found nobody; the network's input there has no person."
    rng = np.random.default_rng(0)

    def guess():
        return person(0, 0, 0, bbox=WHOLE, bbox_score=1.0) | dict(
            keypoints=rng.uniform(0, 700, (17, 2)).tolist(),
            keypoint_scores=rng.uniform(-0.1, 0.25, 17).tolist(),
        )

    frames = [
        [person(300 + t, bbox=[[250, 180, 360, 400]])] if t % 3 else [guess()] for t in range(12)
    ]
    for persons in (1, 2):
        counts = Counter()
        x = noses(video(tmp_path / 'a.json', frames), persons, counts)
        assert (
            np.array_equal(np.isnan(x[0]), [t % 3 == 0 for t in range(12)])
            and counts['nobody'] == 4
            and np.isnan(x[1:]).all()
        )
    close = [person(300, score=0.7, bbox=WHOLE)] * 5  # a close-up is somebody
    assert not np.isnan(noses(video(tmp_path / 'a.json', close and [close[:1]] * 5), 1)).any()
    with pytest.raises(MsagcnError, match='nobody in any frame'):
        noses(video(tmp_path / 'a.json', [[guess()]] * 4), 1)


def test_a_joint_without_a_score_is_missing(tmp_path):
    p = person(300)
    p['keypoints'][9], p['keypoint_scores'][9] = [1100.0, 20.0], -0.02  # the enlarged box's corner
    x = read_coordinates(
        video(tmp_path / 'a.json', [[person(300)], [p], [person(300)]]), COCO17, 'xys', 1
    )[:, 0]
    assert (
        np.isnan(x[1, 9, :2]).all() and x[1, 9, 2] == 0 and np.isfinite(np.delete(x[1], 9, 0)).all()
    )
    assert np.isnan(read_coordinates(tmp_path / 'a.json', COCO17, 'xy', 1)[1, 0, 9]).all()


def test_prepare_and_the_manifest_report_it(tmp_path, capsys):
    guess = person(0, 0, 0.1, bbox=WHOLE)
    frames = [[person(300 + 12 * t), person(640 - 12 * t, 204)] for t in range(30)] + [[guess]]
    for part in ('train', 'test'):
        for label in ('wave', 'bow'):
            place = tmp_path / part / label
            place.mkdir(parents=True)
            video(place / f'{part}_{label}.json', frames if label == 'bow' else frames[:10])
    (tmp_path / 'd.yaml').write_text('joints: coco17\nchannels: xys\nimage: [1280, 720]\n')
    at = places(tmp_path)
    assert (
        main(
            ['prepare', *pairs(benchmark='d', source=tmp_path / 'd.yaml', data_dir=at['data_dir'])]
        )
        == 0
    )
    said = capsys.readouterr().out
    clips = load_clips(tmp_path / 'data/d')
    people = clips.notes['links']
    assert (
        people['nobody'] == {'test_bow': 1, 'train_bow': 1}
        and '2 people were nobody and are left out (2 clips)' in said
    )
    assert (
        people['left out'] == dict(test_bow=30, test_wave=10, train_bow=30, train_wave=10)
        and '80 poses were of people beyond' in said
    )
    assert people['uncertain'].keys() == {'test_bow', 'train_bow'} and 'uncertain (2 clips)' in said
    write_data_note(at['reports_dir'], 'd', clips)  # and the report says it from there
    note = read_json(data_note(at['reports_dir'], 'd', clips.data_hash))
    assert 'uncertain (2 clips)' in findings(note)[0] and note['links'] == people


def flat(points, scores):
    return [float(v) for p, s in zip(points, scores) for v in (*p, s)]


def frames_of(folder, name, frames, **more):
    "OpenPose's folder: frames are (number, people), a person (points, scores)."
    folder.mkdir(parents=True, exist_ok=True)
    for t, group in frames:
        people = [
            dict(
                person_id=[-1],
                pose_keypoints_2d=flat(*p),
                face_keypoints_2d=[],
                hand_left_keypoints_2d=[1, 2, 0.5],
            )
            | more
            for p in group
        ]
        (folder / f'{name}_{t:012}_keypoints.json').write_text(
            json.dumps(dict(version=1.3, people=people))
        )
    return folder


def test_openpose_folders_train_and_predict(tmp_path, capsys):
    rng, at = np.random.default_rng(0), places(tmp_path)
    shape = np.random.default_rng(5).uniform(0, 150, (25, 2)) + [300, 100]
    for part, n in (('train', 4), ('test', 2)):
        for k, label in enumerate(('wave', 'bow')):
            for i in range(n):
                frames = [
                    (
                        t,
                        [
                            (
                                shape
                                + [0, 30 * np.sin(t / 3 * (k + 1))]
                                + rng.normal(0, 1, (25, 2)),
                                np.full(25, 0.9),
                            )
                        ]
                        if t != 7
                        else [],
                    )
                    for t in range(20)
                ]
                frames_of(tmp_path / 'op' / part / label / f'{label}.{part}.{i}', 'v', frames)
    (tmp_path / 'op/d.yaml').write_text('joints: body25\nchannels: xys\nimage: [640, 480]\n')
    assert (
        main(
            [
                'prepare',
                *pairs(benchmark='op', source=tmp_path / 'op/d.yaml', data_dir=at['data_dir']),
            ]
        )
        == 0
    )
    clips = load_clips(tmp_path / 'data/op')
    assert (
        clips.names[0] == 'bow.test.0' and set(clips.lengths) == {20} and clips.skeleton == 'body25'
    )
    small = dict(benchmark='op', frames=8, width=12, epochs=1, batch_size=2, **at)
    assert main(['train', '-f', 'params/custom.yaml', '--no-notebook', *pairs(**small)]) == 0
    capsys.readouterr()
    weights = tmp_path / 'runs/msg3d-op-custom-joint-s1/weights.safetensors'
    assert (
        main(['predict', str(tmp_path / 'op/test/bow/bow.test.0'), '--weights', str(weights)]) == 0
    )
    assert capsys.readouterr().out.count('%') == 2
    assert main(['predict', str(tmp_path / 'op/test'), '--weights', str(weights)]) == 2
    error = capsys.readouterr().err
    assert error.count('\n') == 1 and 'folder without JSON' in error


def test_a_folder_that_is_no_clip_is_reported(tmp_path):
    a = frames_of(tmp_path / 'train/wave/a', 'a', [(3, [(BODY + 100, np.ones(17))]), (5, [])])
    frames_of(tmp_path / 'test/wave/b', 'b', [(0, [(BODY + 100, np.ones(17))])])
    (tmp_path / 'd.yaml').write_text('joints: coco17\nchannels: xys\n')
    assert read_custom(tmp_path / 'd.yaml', 'd').names == ['a', 'b']
    (a / 'a_000000000003_rendered.png').touch()
    (a / '.hidden.json').touch()
    assert read_custom(tmp_path / 'd.yaml', 'd').names == ['a', 'b']

    def refused(*says):
        with pytest.raises(MsagcnError) as e:
            read_custom(tmp_path / 'd.yaml', 'd')
        assert str(e.value).startswith(str(tmp_path)) and '\n' not in str(e.value), e.value
        for word in says:
            assert word in str(e.value), e.value

    (a / 'other_000000000009_keypoints.json').write_text('{"people": []}')
    refused('one recording', 'train/wave/a')
    (a / 'other_000000000009_keypoints.json').rename(a / 'a_900000000000_keypoints.json')
    refused('run from 3 to 900000000000')
    (a / 'a_900000000000_keypoints.json').rename(a / 'notes.json')
    refused('one recording', 'notes.json')
    (a / 'notes.json').rename(a / 'a_4.json')
    (a / 'a_4.json').write_text('{"version": 1}')
    refused('a_4.json', 'one recording')
    (a / 'a_4.json').rename(a / 'a_000000000004_keypoints.json')
    refused('not one frame of OpenPose')
    (a / 'a_000000000004_keypoints.json').write_text(
        json.dumps(dict(people=[dict(pose_keypoints_2d=flat(np.ones((25, 2)), np.ones(25)))]))
    )
    refused('frame 4: keypoints are 25×2, not 17×2', 'BODY_25')
    for f in a.glob('*.json'):
        f.unlink()
    refused('train/wave/a: not a clip')
    (a / 'x.npy').touch()
    refused('train/wave/a: not a clip')
    (tmp_path / 'd.yaml').write_text('joints: coco17\nchannels: xys\ntable: t.csv\n')
    (tmp_path / 't.csv').write_text(
        'file,label,part\ntrain/wave/a,wave,train\ntest/wave/b,wave,test\n'
    )
    refused('line 2', 'without JSON')


def test_numbers_of_joints_are_reported_as_in_the_file(tmp_path):
    path = tmp_path / 'a.json'
    for V, known in ((26, 'Halpe-26'), (136, 'Halpe-136'), (18, 'OpenPose')):
        path.write_text(
            json.dumps([dict(image_id='3.jpg', keypoints=[1.0, 2.0, 0.5] * V, score=2.9, idx=1)])
        )
        with pytest.raises(MsagcnError, match=f'frame 3: keypoints are {V}×2, not 17×2 .*{known}'):
            read_clip_file(path, COCO17, 'xys')
    assert read_clip_file(path, OPENPOSE18, 'xys').shape == (1, 1, 18, 3)
    with pytest.raises(MsagcnError, match='x and y alone'):
        read_clip_file(path, OPENPOSE18, 'xyz')


def test_yolo_in_fractions_is_yolo_in_pixels(tmp_path):
    rng = np.random.default_rng(0)
    x = BODY + [300, 200] + rng.normal(0, 2, (6, 17, 2))
    x[2, 4] = 0  # older versions zero what is below .5

    def frame(points):
        return [
            dict(
                name='person',
                confidence=0.9,
                track_id=4,
                box=dict(x1=0, y1=0, x2=9, y2=9),
                keypoints=dict(
                    x=points[:, 0].tolist(), y=points[:, 1].tolist(), visible=[0.9] * 17
                ),
            )
        ]

    (tmp_path / 'pixels.json').write_text(json.dumps([frame(p) for p in x]))
    (tmp_path / 'fractions.json').write_text(json.dumps([frame(p / [1280, 720]) for p in x]))
    a, b = (
        read_clip_file(tmp_path / f'{n}.json', COCO17, 'xys', 1, (1280, 720))
        for n in ('pixels', 'fractions')
    )
    assert np.allclose(a, b, atol=1e-6) and a[2, 0, 4, 2] == 0 and np.ptp(a[:, 0, 0, 0]) < 0.05


def test_real_alphapose_output_without_jumps(tmp_path):
    "Falls, several recordings in one file, no tracking: slot 0 used to jump, once by 400 pixels."
    path = need(SHARED / 'data/real/alphapose_real/Activity3.json', 'AlphaPose output')
    counts = Counter()
    x = read_coordinates(path, COCO17, 'xys', 1, counts=counts)[:, 0, :, :2]
    assert len(x) == 1793 and (~np.isnan(x[..., 0])).any(1).sum() > 300
    step = x[1:] - x[:-1]
    step = np.linalg.norm(np.nanmedian(step[~np.isnan(step).all((1, 2))], 1), axis=-1)
    assert step.max() < 60, step.max()


def test_real_openpose_and_mediapipe_output():
    folder = need(SHARED / 'data/real/openpose_real', 'OpenPose output')
    counts = Counter()
    x = read_coordinates(folder, BODY25, 'xys', 1, counts=counts)
    assert (
        x.shape == (45, 1, 25, 3)
        and np.isnan(x[0, ..., :2]).all()
        and np.isfinite(x[1:, 0, :, 0]).any(1).all()
    )
    assert np.abs(np.nanmedian(np.diff(x[1:, 0, :, :2], axis=0), 1)).max() < 40
    path = need(SHARED / 'data/real/mediapipe_real/sports2d_demo.json', 'MediaPipe output')
    counts = Counter()
    x = read_coordinates(path, MEDIAPIPE33, 'xyz', 1, counts=counts)
    seen = np.array([bool(f['pose_world_landmarks']) for f in json.loads(path.read_text())])
    seen[169:] = False  # it goes on with something else, elsewhere and larger, twice
    assert x.shape == (230, 1, 33, 3) and np.array_equal(~np.isnan(x[:, 0, 0, 0]), seen)
    assert dict(counts) == {'nobody': 0, 'uncertain': 0, 'left out': 56}


def samples():
    "A small valid clip of each form."
    k, s = (BODY + 100).round(1), [0.5] * 17
    frame = dict(
        name='person', keypoints=dict(x=k[:, 0].tolist(), y=k[:, 1].tolist(), visible=s), track_id=2
    )
    marks = [dict(x=0.1, y=0.2 * i, z=0.3, visibility=0.9) for i in range(17)]
    return dict(
        mmpose=[
            dict(
                frame_id=t,
                instances=[
                    dict(
                        keypoints=k.tolist(), keypoint_scores=s, bbox=[[1, 2, 300, 400]], track_id=1
                    )
                ],
            )
            for t in (1, 2)
        ],
        alphapose=[
            dict(
                image_id=f'{t}.jpg', keypoints=flat(k, s), score=2.5, box=[1, 2, 3, 4], idx=[[1.0]]
            )
            for t in (1, 4)
        ],
        yolo=[[frame], [], [frame]],
        strings=[json.dumps([frame]), '[]'],
        mediapipe=[dict(pose_landmarks=[marks]), dict(pose_landmarks=[])],
        stgcn=dict(
            data=[
                dict(frame_index=t, skeleton=[dict(pose=k.ravel().tolist(), score=s)])
                for t in (1, 2)
            ],
            label='x',
            label_index=0,
        ),
        openpose=dict(version=1.3, people=[dict(person_id=[-1], pose_keypoints_2d=flat(k, s))]),
    )


ODD = [
    None,
    True,
    -1,
    0,
    3.5,
    10**12,
    10**400,
    float('nan'),
    float('inf'),
    '',
    'x',
    '9' * 50,
    [],
    {},
    [[]],
    [1, 2],
    [None],
    {'a': 1},
    '²',
    '\0',
    [[[1]]],
]


def mutated(data, rng):
    "One place of the JSON replaced, removed or doubled, or the text cut."
    places = []

    def walk(x):
        for k in x if isinstance(x, dict) else range(len(x)) if isinstance(x, list) else ():
            places.append((x, k))
            walk(x[k])

    data = json.loads(json.dumps(data))
    walk(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        x, k = rng.choice(places)
        try:
            match rng.randrange(4):
                case 0:
                    del x[k]
                case 1 if isinstance(x, list):
                    x.insert(k, x[k])
                case _:
                    x[k] = rng.choice(ODD)
        except (IndexError, KeyError):
            pass  # inside what another change has removed
    text = json.dumps(data)
    return text[: rng.randrange(len(text))] if rng.random() < 0.03 else text


def fuzz(folder, seed, n):
    "Read n malformed files; returns how many of them were clips nevertheless."
    rng, forms, read = random.Random(seed), samples(), 0
    (folder / 'frames').mkdir()
    (folder / 'frames/v_1_keypoints.json').write_text(json.dumps(forms['openpose']))
    for i in range(n):
        form = rng.choice(list(forms))
        path = folder / ('frames/v_2_keypoints.json' if form == 'openpose' else 'a.json')
        text = mutated(forms[form], rng)
        path.write_text(text)
        clip = path.parent if form == 'openpose' else path
        channels = rng.choice(('xy', 'xys', 'xys', 'xyz'))
        try:
            x = read_clip_file(
                clip,
                COCO17,
                channels,
                rng.choice((1, 3)),
                None if channels == 'xyz' else rng.choice((None, (640, 480))),
            )
        except MsagcnError as e:
            assert str(folder) in str(e) and '\n' not in str(e) and len(str(e)) < 600, (
                form,
                text[:300],
                e,
            )
            continue
        except Exception as e:
            raise AssertionError(f'{form}, {channels}: {text[:2000]}') from e
        assert np.isfinite(x).all() and x.dtype == np.float32
        read += 1
    return read


@pytest.mark.filterwarnings('error')
def test_malformed_files_are_one_line_or_a_clip(tmp_path):
    read = fuzz(tmp_path, 0, 1500)
    assert 100 < read < 1400
