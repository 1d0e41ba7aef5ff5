"""Kinetics-Skeleton from the files of ST-GCN's release, bit for bit the literal form.

Whatever the files are in; streams as MS-G3D's authors make them; and bad files are listed without
losing the others.
"""

import json
import shutil
import zipfile

import numpy as np
import oracle_msg3d_data as oracle
import pytest
import torch
from conftest import places
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from msagcn.core import MsagcnError
from msagcn.data import kinetics
from msagcn.data.clips import load_clips, split
from msagcn.data.kinetics import EXPECTED, likely_cause, prepare_kinetics, read_video
from msagcn.data.raw_files import BadFile
from msagcn.experiments.parameters import PrepareParameters
from msagcn.experiments.predictor import predict_file
from msagcn.experiments.prepare import findings, prepare
from msagcn.experiments.run import train
from msagcn.experiments.train_parameters import TrainParameters
from msagcn.feeds.feeds import batch, fed_store
from msagcn.feeds.mmaction2 import mmaction_batch
from msagcn.training.evaluate import load_scores

PARENTS = [0, 0, 1, 2, 3, 1, 5, 6, 2, 8, 9, 5, 11, 12, 0, 0, 14, 15]


def person(rng):
    """A person's keypoints, a fifth of them not found.

    Some of these have coordinates all the same, and some people have no joint at all.
    """
    score = np.where(rng.random(18) < 0.2, 0, rng.random(18)).round(3) * (rng.random() > 0.05)
    pose = rng.random((18, 2)).round(3)
    if rng.random() < 0.7:
        pose[score == 0] = 0
    return dict(pose=pose.ravel().tolist(), score=score.tolist())


def video(rng, label=7, crowd=7, last=299):
    """Frames with gaps and up to six people.

    Now and then one is twice in the list, and there is an empty frame after the last.
    """
    at = np.sort(
        rng.choice(np.arange(1, last + 1), rng.integers(1, last + 1), replace=False)
    ).tolist()
    frames = [
        dict(frame_index=t, skeleton=[person(rng) for _ in range(rng.integers(crowd))]) for t in at
    ]
    frames[0]['skeleton'].append(person(rng) | dict(score=[0.5] * 18))
    if rng.random() < 0.3:
        frames += [dict(frames[0], skeleton=[person(rng)]), dict(frame_index=300, skeleton=[])]
    return dict(data=frames, label=f'sport {label}', label_index=label)


def release(folder, n=8, seed=0):
    "The release's form: n videos of every part, every fourth without a skeleton."
    rng = np.random.default_rng(seed)
    for part in ('train', 'val'):
        (folder / f'kinetics_{part}').mkdir(parents=True)
        rows = {}
        for k in range(n):
            v = video(rng, 100 * (k % 4), crowd=4, last=30)
            if k % 4 == 3:
                v['data'] = [dict(f, skeleton=[]) for f in v['data']]
            rows[f'{part}-{k}'] = dict(
                has_skeleton=k % 4 != 3, label=v['label'], label_index=v['label_index']
            )
            (folder / f'kinetics_{part}/{part}-{k}.json').write_text(json.dumps(v))
        (folder / f'kinetics_{part}_label.json').write_text(json.dumps(rows))
    return folder


def whole(clip):
    out = np.zeros((3, 300, 18, 2), np.float32)
    out[:, : len(clip)] = clip.transpose(3, 0, 2, 1)
    return out


# one video


@pytest.mark.parametrize('seed', range(12))
def test_a_video_is_the_literal_form(seed):
    v = video(np.random.default_rng(seed), crowd=(2, 3, 7)[seed % 3], last=(299, 40)[seed % 2])
    clip, label = read_video(json.dumps(v).encode(), 'v')
    assert (
        label == 7 and clip.dtype == np.float32 and np.array_equal(whole(clip), oracle.kinetics(v))
    )
    assert clip[-1].any() and (not clip[0].any() or v['data'][0]['frame_index'] == 0)


def test_a_small_video_by_hand():
    rng = np.random.default_rng(0)
    people = [
        dict(pose=rng.random(36).tolist(), score=(s * np.ones(18)).tolist())
        for s in (0.2, 0.9, 0.3, 0.5, 0.1, 1)
    ]
    people[1]['score'][4] = 0
    v = dict(
        data=[
            dict(frame_index=0, skeleton=people),
            dict(frame_index=3, skeleton=people[:1]),
            dict(frame_index=9, skeleton=[]),
        ],
        label_index=0,
    )
    x, _ = read_video(json.dumps(v).encode(), 'v')
    assert x.shape == (4, 2, 18, 3) and not x[1:3].any() and not x[3, 1].any()
    for got, p in (
        (x[0, 0], people[1]),
        (x[0, 1], people[3]),
        (x[3, 0], people[0]),
    ):  # the sixth is the surest, and too late
        want = np.array([*zip(p['pose'][::2], p['pose'][1::2], p['score'])])
        want = np.where(want[:, 2:] > 0, [[1, -1, 1]] * want - [0.5, -0.5, 0], 0)
        np.testing.assert_allclose(got, want, atol=1e-7)


ONE = dict(
    data=[dict(frame_index=1, skeleton=[dict(pose=[0.1] * 36, score=[0.5] * 18)])],
    label='a',
    label_index=0,
)


def frame(t=1, **change):
    return dict(data=[dict(frame_index=t, skeleton=[ONE['data'][0]['skeleton'][0] | change])])


BAD = {
    'no list': (dict(data={}), 'no data'),
    'no label': (dict(label_index=None), 'no data and label_index'),
    'true': (dict(label_index=True), 'label_index'),
    'frames in words': (dict(data=['a']), 'entry 0'),
    'no index': (dict(data=[dict(skeleton=[])]), 'entry 0'),
    'people': (dict(data=[dict(frame_index=1, skeleton=None)]), 'entry 0'),
    'a person': (dict(data=[dict(frame_index=1, skeleton=[3])]), 'entry 0'),
    'no score': (dict(data=[dict(frame_index=1, skeleton=[dict(pose=[0] * 36)])]), 'entry 0'),
    'too late': (frame(300), 'frame_index 300 is not within 0 to 299'),
    'before': (frame(-1), 'frame_index -1'),
    'half': (frame(1.5), 'frame_index 1.5'),
    'word': (frame('1'), "frame_index '1'"),
    'pose': (frame(pose=[0.1] * 34), 'a pose that is not 36 numbers'),
    'ragged': (frame(pose=[[1]] * 36), 'pose'),
    'flat': (frame(pose=0.1), 'pose'),
    'words': (frame(score=['a'] * 18), 'a score that is not 18'),
    'null': (frame(score=[None] * 18), 'score'),
    'huge': (frame(score=[10**400] * 18), 'score'),
    'nan': (frame(pose=[float('nan')] * 36), 'a pose that is NaN'),
    'infinite': (frame(score=[1e999] * 18), 'NaN, infinite'),
    'nobody': (dict(data=[]), 'nobody in any frame'),
    'no joint': (frame(score=[0] * 18), 'nobody in any frame'),
}


@pytest.mark.parametrize('case', BAD)
def test_a_bad_video_is_one_line(case):
    change, says = BAD[case]
    with pytest.raises(BadFile) as e:
        read_video(json.dumps(ONE | change).encode(), 'a.json')
    assert (
        str(e.value).startswith('a.json: ')
        and says in str(e.value)
        and '\n' not in str(e.value)
        and len(str(e.value)) < 200
    )
    assert (e.value.kind == 'nobody') == says.startswith('nobody')


def test_cut_off_at_any_byte():
    data = json.dumps(ONE).encode()
    assert read_video(data, 'v')[1] == 0
    for k in range(len(data)):
        with pytest.raises(BadFile, match='v: not JSON'):
            read_video(data[:k], 'v')
    for odd in (b'\xff\xfe\x00', b'<html>', b'[' * 100_000, b'3', b'[]', b'null'):
        with pytest.raises(BadFile):
            read_video(odd, 'v')


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
        lambda x: (
            st.lists(x, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ['data', 'frame_index', 'skeleton', 'pose', 'score', 'label_index']
                ),
                x,
                max_size=3,
            )
        ),
        max_leaves=12,
    ),
    st.randoms(use_true_random=False),
)
def test_anything_in_a_video_is_refused_or_read(junk, rng):
    "One value somewhere in a good video is replaced by anything."
    v = json.loads(json.dumps(ONE))
    node, steps = v, rng.randint(0, 5)
    for _ in range(steps):
        key = rng.choice(list(node) if isinstance(node, dict) else list(range(len(node))))
        if not isinstance(node[key], (dict, list)) or not node[key]:
            break
        parent, node = (node, key), node[key]  # noqa: F841
    if steps:
        node[rng.choice(list(node) if isinstance(node, dict) else list(range(len(node))))] = junk
    try:
        x, _ = read_video(json.dumps(v).encode(), 'v')
    except BadFile as e:
        assert str(e).startswith('v: ') and '\n' not in str(e)
    else:
        assert x.shape[1:] == (2, 18, 3) and np.isfinite(x).all() and x.any()


# the release


def test_folder_archive_processes_and_command_make_no_difference(tmp_path):
    r = release(tmp_path / 'kinetics-skeleton')
    clips = load_clips(prepare_kinetics(r, tmp_path / 'a').parent)
    assert (
        clips.names == [f'{p}-{k}' for p in ('train', 'val') for k in (0, 1, 2, 4, 5, 6)]
        and clips.parts == ['train'] * 6 + ['test'] * 6
    )
    assert (
        clips.labels.tolist() == [0, 100, 200] * 4
        and clips.classes[100] == 'sport 100'
        and len(clips.classes) == 400
    )
    assert (clips.skeleton, clips.channels, clips.feed, clips.benchmark) == (
        'openpose18',
        'xys',
        'padded',
        'kinetics',
    )
    for n in clips.names:
        v = json.loads((r / f'kinetics_{n.split("-")[0]}/{n}.json').read_text())
        assert np.array_equal(whole(clips[n]), oracle.kinetics(v))
    (tmp_path / 'zips').mkdir()
    with zipfile.ZipFile(tmp_path / 'zips/kinetics-skeleton.zip', 'w', zipfile.ZIP_DEFLATED) as z:
        for p in r.rglob('*.json'):
            z.write(p, p.relative_to(tmp_path))
        z.writestr('kinetics-skeleton/kinetics_train/._train-0.json', b'')
    for source, processes in ((tmp_path / 'zips', 1), (tmp_path / 'zips', 2), (tmp_path, 1)):
        shutil.rmtree(tmp_path / 'data', ignore_errors=True)
        if source == tmp_path:
            shutil.rmtree(tmp_path / 'zips')
        p = PrepareParameters(
            benchmark='kinetics',
            source=str(source),
            data_dir=str(tmp_path / 'data'),
            processes=processes,
        )
        assert load_clips(prepare(p).parent).data_hash == clips.data_hash
    words, tables = findings(clips.notes)
    assert 'release has 246534' in words and tables['counts'].iloc[0].tolist() == [
        'files to train',
        246534,
        8,
        'differs',
    ]


def test_bad_videos_are_listed_and_the_others_kept(tmp_path):
    r = release(tmp_path / 'r')
    before = load_clips(prepare_kinetics(r, tmp_path / 'before').parent)
    f = lambda name: r / f'kinetics_{name.split("-")[0]}/{name}.json'
    f('train-0').write_bytes(f('train-0').read_bytes()[:200])
    f('train-1').write_text('<html>')
    f('train-2').write_text(
        f('train-2').read_text().replace('"label_index": 200', '"label_index": 201')
    )
    shutil.copy(f('val-0'), r / 'kinetics_val/other-0.json')
    f('val-1').write_text(json.dumps(dict(data=[], label='', label_index=100)))
    f('val-2').unlink()
    labels = json.loads((r / 'kinetics_val_label.json').read_text())
    (r / 'kinetics_val_label.json').write_text(json.dumps(labels | {'train-4': labels['val-0']}))
    shutil.copy(f('val-0'), r / 'kinetics_val/train-4.json')
    clips = load_clips(prepare_kinetics(r, tmp_path / 'out').parent)
    assert sorted((x['name'], x['cause']) for x in clips.notes['refused']) == [
        ('other-0', 'not listed'),
        ('train-0', 'not JSON'),
        ('train-1', 'not JSON'),
        ('train-2', 'label'),
        ('train-4', 'name twice'),
        ('val-1', 'nobody'),
    ]
    assert all(str(r) in x['line'] and '\n' not in x['line'] for x in clips.notes['refused'])
    lost = {'train-0', 'train-1', 'train-2', 'val-1', 'val-2'}
    assert clips.names == [n for n in before.names if n not in lost]
    assert all(np.array_equal(clips[n], before[n]) for n in clips.names)
    assert [n for *_, n in clips.notes['checkpoints']] == [8, 9, 3, 4] and clips.notes['warning']


def relist(part, change):
    def act(r):
        path = r / f'kinetics_{part}_label.json'
        path.write_text(json.dumps(change(json.loads(path.read_text()))))

    return act


@pytest.mark.parametrize(
    'act, says',
    [
        (lambda r: (r / 'kinetics_val_label.json').unlink(), 'no kinetics_val_label.json in it'),
        (
            lambda r: (r / 'kinetics_val_label.json').write_text('<html>'),
            'kinetics_val_label.json: not JSON',
        ),
        (relist('train', lambda l: []), 'train_label.json: not a list of videos'),
        (relist('train', lambda l: l | {'x': 3}), 'x: no has_skeleton'),
        (
            relist('train', lambda l: l | {'x': dict(has_skeleton=1, label='a', label_index=3)}),
            'x: .*is not yes or no',
        ),
        (
            relist(
                'train', lambda l: l | {'x': dict(has_skeleton=True, label='a', label_index=400)}
            ),
            'below 400',
        ),
        (
            relist(
                'val', lambda l: l | {'x': dict(has_skeleton=True, label='golf', label_index=100)}
            ),
            "class 100 has two names, 'sport 100' and 'golf'",
        ),
        (
            relist('val', lambda l: {k: v | dict(has_skeleton=False) for k, v in l.items()}),
            'no clips to test',
        ),
        (lambda r: shutil.rmtree(r / 'kinetics_train'), 'no clips to train'),
        (
            lambda r: [p.write_text('') for p in (r / 'kinetics_val').iterdir()],
            'no clips to test; .*val-6.json: not JSON',
        ),
        (shutil.rmtree, 'no such file or folder'),
    ],
)
def test_folders_that_are_not_a_release(tmp_path, act, says):
    act(release(tmp_path / 'r'))
    with pytest.raises(MsagcnError, match=says) as e:
        prepare_kinetics(tmp_path / 'r', tmp_path / 'out')
    assert '\n' not in str(e.value)
    with pytest.raises(MsagcnError, match='no prepared data'):
        load_clips(tmp_path / 'out')


def test_stopped_and_resumed(tmp_path, monkeypatch):
    r, read, calls = release(tmp_path / 'r'), kinetics._clip, []
    (r / 'kinetics_train/train-1.json').write_text('')
    prepare_kinetics(r, tmp_path / 'once')

    def stop(row):
        calls.append(row[0].name)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return read(row)

    monkeypatch.setattr(kinetics, '_clip', stop)
    with pytest.raises(KeyboardInterrupt):
        prepare_kinetics(r, tmp_path / 'twice')
    prepare_kinetics(r, tmp_path / 'twice')
    assert calls[6] == calls[5] and len(calls) == 6 + 12 - 5  # five are not read again
    for f in ('frames.npy', 'manifest.json'):
        assert (tmp_path / 'once' / f).read_bytes() == (tmp_path / 'twice' / f).read_bytes()
    n = len(calls)
    prepare_kinetics(r, tmp_path / 'twice')
    assert len(calls) == n  # what is there is not done again


def test_reported_counts():
    right = EXPECTED | {'listed to train': 240436, 'listed to test': 19796}
    assert likely_cause(right) == ''
    assert 'half a download' in likely_cause(right | {'files to train': 200000})
    assert '19000 files to test, but 19796' in likely_cause(right | {'files to test': 19000})
    assert 'another version' in likely_cause(right | {'files to test': 19850})
    assert 'refused' in likely_cause(right | {'to test': 19790})
    assert 'only quoted' in likely_cause(right | {'to test': 19794, 'listed to test': 19794})


# to the network


def test_streams(tmp_path):
    """Of 300 frames with zeros after the clip; the score is a coordinate like others.

    MMAction2's feed of the same clips takes means of scores.
    """
    clips = load_clips(prepare_kinetics(release(tmp_path / 'r'), tmp_path / 'out').parent)
    s, i = fed_store(clips), torch.arange(0, len(clips), 3)
    x = {k: batch(s, i, 300, k).numpy() for k in ('joint', 'bone', 'joint_motion', 'bone_motion')}
    for k, c in enumerate(i.tolist()):
        joint = whole(clips[clips.names[c]])
        bone = np.stack([joint[:, :, v] - joint[:, :, p] for v, p in enumerate(PARENTS)], 2)
        assert np.array_equal(x['joint'][k], joint) and np.abs(x['bone'][k] - bone).max() < 1e-6
        assert not x['bone'][k][:, :, 0].any() and x['bone'][k][2].any()
        for name, y in (('joint_motion', joint), ('bone_motion', bone)):
            motion = np.concatenate([y[:, 1:] - y[:, :-1], 0 * y[:, :1]], 1)
            assert np.abs(x[name][k] - motion).max() < 1e-6
    cut = batch(s, i, 5, 'joint').numpy()
    assert np.array_equal(cut, x['joint'][:, :, :5])
    theirs = mmaction_batch(s, i, 30, 'bone')
    joints = mmaction_batch(s, i, 30, 'joint')
    assert (
        torch.allclose(theirs[:, 2], (joints[:, 2] + joints[:, 2][:, :, PARENTS]) / 2)
        and theirs[:, 2, :, 0].any()
    )


def test_from_the_files_to_a_trained_network(tmp_path):
    r = release(tmp_path / 'r', 16)
    folders = places(tmp_path)
    prepare(PrepareParameters(benchmark='kinetics', source=str(r), data_dir=folders['data_dir']))
    clips = load_clips(tmp_path / 'data/kinetics')
    assert {k: len(v) for k, v in split(clips).items()} == dict(
        train=12, fit=12, val=0, test=12, clean=12
    )
    p = TrainParameters(
        benchmark='kinetics',
        model='msg3d',
        normalize='symmetric',
        scales=8,
        window_scales=8,
        width=6,
        stream='bone',
        feed='padded',
        frames=32,
        epochs=1,
        batch_size=4,
        accumulate=2,
        warmup=0,
        val_subjects=[],
        refit=False,
        device='cpu',
        **folders,
    )
    metrics = train(p)
    assert metrics['n_test'] == 12
    name, weights = clips.names[-1], tmp_path / f'runs/{p.run_id}/weights.safetensors'
    scores = load_scores(tmp_path / f'reports/runs/{p.run_id}/test_scores.npz')
    wanted = torch.tensor(scores.scores[scores.names.index(name)]).softmax(0).topk(3)
    told = predict_file(r / f'kinetics_val/{name}.json', weights, k=3)  # from the released file
    assert [c for c, _ in told] == [clips.classes[c] for c in wanted.indices]
    np.testing.assert_allclose([v for _, v in told], 100 * wanted.values, atol=0.02)
    with pytest.raises(MsagcnError, match='no.json: cannot read'):
        predict_file(tmp_path / 'no.json', weights)
