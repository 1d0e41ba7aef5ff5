"""The six streams of NW-UCLA against the release's feeder.

Also the leak between its parts, and what augmentation depends on.
"""

import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import SHARED, need

from msagcn.core import keyed_integers
from msagcn.data.clips import leaked, split
from msagcn.data.nw_ucla import read_nw_ucla
from msagcn.feeds.streams import STREAMS, _floyd, batch, random_frames, store

ARCHIVE = SHARED / 'data/nw_ucla/all_sqe.zip'


@pytest.fixture(scope='module')
def ucla():
    return read_nw_ucla(need(ARCHIVE, 'the real NW-UCLA'))


@pytest.fixture(scope='module')
def kept(ucla):
    return store(ucla)


def test_streams_are_those_of_the_release(ucla, kept):
    with np.load(need(SHARED / 'golden/nw_ucla_test_streams.npz', 'golden streams')) as golden:
        names = golden['names'].tolist()
        i = torch.tensor([ucla.names.index(n) for n in names])
        assert (kept.labels[i].numpy() == golden['labels']).all() and len(names) == 16
        for stream in STREAMS:
            x = batch(kept, i, 52, stream)
            assert x.shape == (16, 3, 52, 20, 1) and x.dtype == torch.float32
            assert np.abs(x.numpy() - golden[stream]).max() <= 1e-6, stream


def test_the_leak(ucla):
    parts = {k: len(v) for k, v in split(ucla).items()}
    leak = leaked(ucla)
    assert len(ucla) == 1484 and (parts['train'], parts['test'], parts['clean']) == (1020, 464, 369)
    assert len(leak) == 95 and [sum(n.startswith(a) for n in leak) for a in ('a02', 'a03')] == [
        50,
        45,
    ]
    assert [n for n, t in zip(ucla.names, ucla.lengths) if t == 1] == [
        'a02_s09_e04_v02',
        'a02_s09_e04_v03',
    ]
    for n in leak:
        # each from the other camera's clip
        assert np.array_equal(ucla[n], ucla[n.replace('_v03', '_v02')])


def test_every_clip_of_the_archive_is_read_unchanged(ucla):
    import json

    with zipfile.ZipFile(ARCHIVE) as z:
        paths = [p for p in z.namelist() if p.endswith('.json')]
        assert sorted(p.rpartition('/')[2][:-5] for p in paths) == ucla.names and len(paths) == 1484
        for path in paths:
            clip, name = json.loads(z.read(path)), path.rpartition('/')[2][:-5]
            i = ucla.names.index(name)
            assert (
                np.array_equal(ucla[name][:, 0], clip['skeletons'])
                and ucla.labels[i] == clip['label'] - 1
            )


def literal(clip, degrees, frames, bones=None, motion=False):
    """The feeder, literally.

    Centre, rotate row vectors by Ry·Rx, scale each axis, choose frames, bones, motion.
    """
    x = clip[:, 0] - clip[0, 0, 1]  # (L, V, 3)
    (cx, cy), (sx, sy) = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    Rx = np.array([[1, 0, 0], [0, cx, sx], [0, -sx, cx]])
    Ry = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    x = x @ (Ry @ (Rx * 1.3))  # any scale: the next line cancels it
    x = (x - x.min((0, 1))) / (x.max((0, 1)) - x.min((0, 1))) * 2 - 1
    x = x[frames].transpose(2, 0, 1)[..., None]  # (3, T, V, 1)
    if bones:
        joints = x.copy()
        for v, other in bones:
            x[:, :, v] = joints[:, :, v] - joints[:, :, other]
    if motion:
        x[:, :-1], x[:, -1] = x[:, 1:] - x[:, :-1], 0
    return x


@pytest.mark.parametrize('stream', STREAMS)
def test_augmented_clips_are_those_of_the_literal_feeder(ucla, kept, stream):
    i, T, seed, when = torch.tensor([5, 700, 33, 1400]), 52, 3, 17
    table, motion = STREAMS[stream]
    degrees = keyed_integers(121, seed, when, i[:, None], 1, torch.arange(2)) - 60
    frames = random_frames(kept.lengths[i], T, seed, torch.full((4,), when), i, 2)
    got = batch(kept, i, T, stream, (seed, when))
    for k, c in enumerate(i.tolist()):
        want = literal(
            ucla[ucla.names[c]],
            degrees[k].numpy(),
            frames[k].numpy(),
            table and kept.skeleton.bones[table],
            motion,
        )
        assert np.abs(got[k].numpy() - want).max() <= 2e-5  # float32, angles included


def test_angles_and_frames_are_drawn_as_the_feeder_draws_them(kept):
    i, passes = torch.arange(1484)[:, None], torch.arange(40)
    angles = keyed_integers(121, 3, passes[None, :, None], i[..., None], 1, torch.arange(2)) - 60
    assert angles.min() == -60 and angles.max() == 60 and abs(angles.double().mean()) < 0.3
    share = torch.bincount((angles + 60).flatten()) / angles.numel()
    assert (share - 1 / 121).abs().max() < 0.1 / 121 * 5
    lengths = torch.tensor([1, 10, 52, 201]).repeat_interleave(500)
    frames = random_frames(
        lengths, 52, 3, torch.zeros(2000, dtype=torch.long), torch.arange(2000), 2
    )
    assert (
        (frames.diff(dim=1) >= 0).all()
        and (frames >= 0).all()
        and (frames < lengths[:, None]).all()
    )
    assert (frames[:500] == 0).all()
    # all frames alike
    long = torch.bincount(frames[1500:].flatten(), minlength=201) / 500 / 52 * 201
    assert (long - 1).abs().max() < 0.35
    few = random_frames(
        torch.ones(50, dtype=torch.long) * 2,
        52,
        9,
        torch.zeros(50, dtype=torch.long),
        torch.arange(50),
        2,
        copies=26,
    )
    assert (few.sum(1) == 26).all()  # an urn of 52 is emptied: without replacement


def test_clips_much_shorter_than_the_input_get_valid_frames_and_others_are_unchanged():
    "A clip of length L with T > 100 L used to have frames below zero; all others keep their bits."

    def before(lengths, T, *keys):
        keys, i = [k[:, None] if isinstance(k, torch.Tensor) else k for k in keys], torch.arange(T)
        j = (lengths * 100)[:, None] - T + i
        return (_floyd(keyed_integers(j + 1, *keys, i), j) // 100).sort(1).values

    lengths = torch.tensor([1, 2, 3, 4, 5, 10, 52, 201]).repeat(20)
    clips = torch.arange(len(lengths))
    for T in (1, 8, 52, 64, 99, 100, 101, 128, 200, 201, 300, 301, 500):
        frames, was, well = (
            random_frames(lengths, T, 3, clips % 7, clips, 2),
            before(lengths, T, 3, clips % 7, clips, 2),
            lengths * 100 >= T,
        )
        assert torch.equal(frames[well], was[well]) and (T > 100 or well.all())
        assert (was[lengths * 100 + 1 < T] < 0).any(1).all()  # which this test is about
        assert (
            (frames >= 0).all()
            and (frames < lengths[:, None]).all()
            and (frames.diff(dim=1) >= 0).all()
        )
    # whatever batch it is in
    assert torch.equal(frames[:1], random_frames(lengths[:1], T, 3, clips[:1], clips[:1], 2))


def test_a_feed_for_three_coordinates_refuses_others(kept):
    from msagcn.core import MsagcnError

    for channels in ('xy', 'xys'):
        for augment in (None, (0, 0)):
            with pytest.raises(
                MsagcnError, match=f'^feed: nw_ucla wants channels xyz, not {channels}$'
            ):
                batch(replace(kept, channels=channels), torch.tensor([0]), 8, 'joint', augment)


def test_augmentation_is_a_function_of_seed_pass_and_clip_alone(kept):
    clips = torch.tensor([3, 900, 41, 1200, 77])

    def one(c, seed=5, when=8):
        return batch(kept, torch.tensor([c]), 52, 'bone', (seed, when))[0]

    together = batch(kept, clips, 52, 'bone', (5, 8))
    torch.manual_seed(1)
    np.random.seed(1)
    for k, c in enumerate(clips.tolist()):
        assert torch.equal(together[k], one(c))
    backwards = batch(kept, clips.flip(0), 52, 'bone', (5, torch.full((5,), 8)))
    assert torch.equal(backwards.flip(0), together)
    mixed = batch(kept, clips[[0, 0, 0]], 52, 'bone', (5, torch.tensor([8, 9, 8])))
    assert torch.equal(mixed[0], mixed[2]) and not torch.equal(mixed[0], mixed[1])
    assert not torch.equal(one(3), one(3, seed=6)) and not torch.equal(one(3), one(3, when=9))


def test_several_directions_of_a_test_clip_are_averaged(embedded):
    "Each as a camera beside would see it, by hand; and a clip has in the set the scores it has alone."
    from msagcn.data.clips import load_clips
    from msagcn.feeds.feeds import fed_store
    from msagcn.training.evaluate import predict

    clips = load_clips(embedded / 'embedded')
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 20, 10))

    def moved(degrees):
        y = np.deg2rad(degrees)
        beside = [[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]]
        frames = (clips.frames @ np.array(beside)).astype(np.float32)
        return fed_store(replace(clips, frames=frames))

    few = [0, 7, 23]
    seen = [predict(model, moved(d), few, 8, 'bone') for d in (0, -15, 15, -30, 30)]
    mean = torch.tensor(np.stack(seen)).softmax(2).mean(0).log().numpy()
    together = predict(model, fed_store(clips), few, 8, 'bone', test_clips=5)
    np.testing.assert_allclose(together, mean, atol=1e-5)
    assert np.abs(together - torch.tensor(seen[0]).log_softmax(1).numpy()).max() > 1e-3
    alone = predict(model, fed_store(clips), few[2:], 8, 'bone', test_clips=5)
    np.testing.assert_allclose(alone, together[2:], atol=1e-6)
