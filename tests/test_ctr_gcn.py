"""CTR-GCN's arrays and their feeder, against the public feeder's output and a literal slow form.

And every fault that such a file can have.
"""

import math
import zipfile

import numpy as np
import pytest
import torch
from conftest import SHARED, need

from msagcn.core import MsagcnError, keyed_integers, keyed_uniform
from msagcn.data.clip_writer import save_clips
from msagcn.data.clips import Clips, load_clips, split
from msagcn.data.ctr_gcn import read_npz
from msagcn.data.ntu import prepare_ntu
from msagcn.feeds.ctr_gcn import crop, ctr_batch, rotate_xyz
from msagcn.feeds.feeds import batch, fed_store
from msagcn.feeds.streams import STREAMS, store

MINI = SHARED / 'golden/ntu_mini/NTU60_CS.npz'


@pytest.fixture(scope='module')
def mini():
    return read_npz(need(MINI, 'golden CTR-GCN arrays'), 'ntu60_xsub')


def made_up(*lengths):
    x = np.random.default_rng(1).normal(size=(sum(lengths), 2, 25, 3)).astype(np.float32)
    n = len(lengths)
    return Clips(
        benchmark='made up',
        skeleton='ntu25',
        classes=['A001', 'A002'],
        names=[f'train_{i}' for i in range(n)],
        labels=np.arange(n) % 2,
        subjects=np.zeros(n, int),
        parts=['train'] * n,
        hashes=[''] * n,
        lengths=np.array(lengths),
        frames=x,
        channels='xyz',
        feed='ctr_gcn',
    )


def test_streams_are_those_of_the_public_feeder(mini):
    s = store(mini, centred=False)
    i = torch.tensor([mini.names.index(f'test_{k}') for k in range(8)])
    with np.load(need(SHARED / 'golden/ntu_mini_test_streams.npz', 'golden streams')) as golden:
        for stream in STREAMS:
            x = ctr_batch(s, i, 64, stream)
            assert x.shape == (8, 3, 64, 25, 2) and x.dtype == torch.float32 and x.is_contiguous()
            assert np.abs(x.numpy() - golden[stream]).max() <= 5e-7, stream
        R = rotate_xyz(torch.tensor(golden['rotation.angles']))[0]
        assert np.abs(R.numpy() - golden['rotation.matrix']).max() <= 1e-7


@pytest.mark.parametrize('storage, furthest', [('float32', 5e-7), ('float16', 4e-3)])
def test_streams_from_the_raw_archive_by_way_of_a_prepared_folder(tmp_path, storage, furthest):
    "Frames that stay in their file give the same network input; half as many digits cost millimetres."
    raw = need(SHARED / 'golden/ntu_mini/raw.zip', 'golden raw files')
    clips = load_clips(prepare_ntu(raw, tmp_path, storage=storage).parent)
    s = fed_store(clips)
    assert isinstance(clips.frames, np.memmap) and np.shares_memory(s.frames.numpy(), clips.frames)
    i = torch.tensor(split(clips)['test'][:8])
    with np.load(need(SHARED / 'golden/ntu_mini_test_streams.npz', 'golden streams')) as golden:
        for stream in STREAMS:
            x = batch(s, i, 64, stream)
            assert (
                x.dtype == torch.float32 and np.abs(x.numpy() - golden[stream]).max() <= furthest
            ), stream
            assert ctr_batch(s, i, 64, stream, (1, 0)).isfinite().all()
    taken = fed_store(clips, feed='nw_ucla')  # centred, so no longer the file's
    assert taken.frames.dtype == torch.float32 and not np.shares_memory(
        taken.frames.numpy(), clips.frames
    )


@pytest.mark.parametrize('path', [MINI, SHARED / 'golden/ntu120_mini/NTU120_CSub.npz'])
def test_every_clip_of_the_file_is_read_unchanged(path, tmp_path):
    clips = read_npz(need(path, 'golden CTR-GCN arrays'), 'mini', block=4)
    with np.load(path) as z:
        np.savez(tmp_path / 'stored.npz', **z)  # uncompressed, as the public pipeline writes it
        k = 0
        for part in ('train', 'test'):
            for i, (x, y) in enumerate(zip(z[f'x_{part}'], z[f'y_{part}'])):
                L = int(np.flatnonzero(x.any(1))[-1]) + 1
                assert (clips.names[k], clips.labels[k], clips.lengths[k], clips.parts[k]) == (
                    f'{part}_{i}',
                    y.argmax(),
                    L,
                    part,
                )
                assert np.array_equal(clips[f'{part}_{i}'].reshape(L, 150), x[:L])
                k += 1
        assert k == len(clips) and len(clips.classes) == z['y_train'].shape[1]
    assert (
        clips.skeleton == 'ntu25'
        and clips.feed == 'ctr_gcn'
        and clips.frames.dtype == np.float32
        and not clips.subjects.any()
    )
    again = read_npz(tmp_path / 'stored.npz', 'mini', block=100)
    assert again.data_hash == clips.data_hash and np.array_equal(again.frames, clips.frames)
    save_clips(clips, tmp_path / 'kept')
    assert load_clips(tmp_path / 'kept').data_hash == clips.data_hash


def literal(x, first, size, angles=None, T=64, bones=None, motion=False):
    "The feeder frame by frame, in float64: crop, linear resize, rotation, bones, motion."
    # (L, M, V, C)
    piece, out = (
        x[first : first + size].astype(np.float64),
        np.zeros((T, *x.shape[1:])),
    )
    for i in range(T):
        s = max((i + 0.5) * size / T - 0.5, 0)
        a = math.floor(s)
        b = min(a + 1, size - 1)
        out[i] = (1 - (s - a)) * piece[a] + (s - a) * piece[b]
    if angles is not None:
        (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
        Rx, Ry = (
            np.array([[1, 0, 0], [0, cx, sx], [0, -sx, cx]]),
            np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]]),
        )
        R = np.array([[cz, sz, 0], [-sz, cz, 0], [0, 0, 1]]) @ Ry @ Rx
        for t in range(T):
            for m in range(2):
                for v in range(25):
                    out[t, m, v] = R @ out[t, m, v]
    if bones is not None:
        joints, out = out, np.zeros_like(out)
        for v, other in bones:
            out[:, :, v] = joints[:, :, v] - joints[:, :, other]
    if motion:
        out[:-1], out[-1] = out[1:] - out[:-1], 0
    return out.transpose(3, 0, 2, 1)


@pytest.mark.parametrize('stream', STREAMS)
def test_test_clips_and_training_clips_are_those_of_the_literal_feeder(stream):
    lengths, seed, when = [1, 2, 40, 63, 64, 65, 111, 300], 3, 17
    clips = made_up(*lengths)
    s, i = store(clips, centred=False), torch.arange(8)
    table, motion = STREAMS[stream]
    bones = table and s.skeleton.bones[table]
    plain, augmented = ctr_batch(s, i, 64, stream), ctr_batch(s, i, 64, stream, (seed, when))
    p, angles = (
        keyed_uniform(seed, when, i, 0) / 2 + 0.5,
        keyed_uniform(seed, when, i[:, None], 2, torch.arange(3)) * 0.6 - 0.3,
    )
    for k, L in enumerate(lengths):
        x, bias = clips[f'train_{k}'], int((1 - 0.95) * L / 2)
        assert (
            np.abs(plain[k].numpy() - literal(x, bias, L - 2 * bias, None, 64, bones, motion)).max()
            <= 2e-6
        )
        size = min(max(int(L * p[k]), 64), L)
        first = int(keyed_integers(L - size + 1, seed, when, i, 1)[k])
        assert (
            np.abs(
                augmented[k].numpy() - literal(x, first, size, angles[k].numpy(), 64, bones, motion)
            ).max()
            <= 4e-6
        )


def test_resize_is_bilinear_interpolation_of_an_image():
    clips = made_up(97, 64, 33, 12)
    s = store(clips, centred=False)
    for T in (64, 50):
        got = ctr_batch(s, torch.arange(4), T)
        for k in range(4):
            x = torch.tensor(clips[f'train_{k}'])
            first, size = (int(n) for n in crop(torch.tensor([len(x)])))
            rows = x[first : first + size].permute(3, 2, 1, 0).reshape(1, 1, -1, size)
            want = torch.nn.functional.interpolate(
                rows, (rows.shape[2], T), mode='bilinear', align_corners=False
            )
            want = want.reshape(3, 25, 2, T)
            # float32 positions there, float64 here
            assert (got[k] - want.permute(0, 3, 1, 2)).abs().max() <= 2e-5


def test_crop_at_every_length_and_its_distribution():
    lengths = torch.arange(1, 301)
    first, size = crop(lengths)
    for L, f, n in zip(range(1, 301), first.tolist(), size.tolist()):
        assert f == math.floor((1 - 0.95) * L / 2) and n == L - 2 * f
    one = torch.full((30_000,), 256)
    first, size = crop(one, 5, 1, torch.arange(30_000))
    share = torch.bincount(size, minlength=257)[128:256] / 30_000
    assert (
        size.min() == 128
        and size.max() <= 256
        and (share - 1 / 128).abs().max() < 5 * math.sqrt(1 / 128 / 30_000)
    )
    at = size == 200
    starts = torch.bincount(first[at], minlength=57)
    assert (
        len(starts) == 57
        and starts.min() >= 0
        and abs((first[at].double() / 56).mean() - 0.5) < 0.1
    )
    assert (first + size <= one).all()
    angles = keyed_uniform(5, torch.arange(3000)[:, None], 4, 2, torch.arange(3)) * 0.6 - 0.3
    assert angles.abs().max() <= 0.3 and abs(angles.mean()) < 0.01


def test_augmentation_is_a_function_of_seed_pass_and_clip_alone():
    s = store(made_up(90, 200, 64, 30, 150), centred=False)
    clips = torch.tensor([3, 0, 4, 1, 2])

    def one(c, seed=5, when=8):
        return ctr_batch(s, torch.tensor([c]), 64, 'bone', (seed, when))[0]

    together = ctr_batch(s, clips, 64, 'bone', (5, 8))
    torch.manual_seed(1)
    np.random.seed(1)
    for k, c in enumerate(clips.tolist()):
        assert torch.equal(together[k], one(c))
    assert torch.equal(
        ctr_batch(s, clips.flip(0), 64, 'bone', (5, torch.full((5,), 8))).flip(0), together
    )
    mixed = ctr_batch(s, clips[[0, 0, 0]], 64, 'bone', (5, torch.tensor([8, 9, 8])))
    assert torch.equal(mixed[0], mixed[2]) and not torch.equal(mixed[0], mixed[1])
    assert not torch.equal(one(3), one(3, seed=6)) and not torch.equal(one(3), one(3, when=9))


def test_both_bodies_rotate_alike_and_an_absent_one_stays_absent():
    clips = made_up(70)
    clips.frames[:, 1] = clips.frames[:, 0]
    x = ctr_batch(store(clips, centred=False), torch.tensor([0]), augment=(0, 0))
    assert torch.equal(x[..., 0], x[..., 1])
    clips.frames[:, 1] = 0
    for stream in STREAMS:
        assert not ctr_batch(store(clips, centred=False), torch.tensor([0]), 64, stream, (0, 0))[
            ..., 1
        ].any()


def test_2d_clips_and_unknown_streams_are_refused():
    clips = made_up(9)
    with pytest.raises(MsagcnError, match='bone_p5'):
        ctr_batch(store(clips, centred=False), torch.tensor([0]), 64, 'bones')
    clips.channels = 'xys'
    with pytest.raises(MsagcnError, match='xyz'):
        ctr_batch(store(clips, centred=False), torch.tensor([0]))


X, Y = (
    np.random.default_rng(0).normal(size=(4, 6, 150)).astype(np.float32),
    np.eye(60)[[0, 5, 59, 5]],
)
GOOD = dict(x_train=X, y_train=Y, x_test=X[:2], y_test=Y[:2])


def with_value(value, i=2):
    x = X.copy()
    x[i] = value
    return x


BAD = {
    'nan': (dict(x_train=with_value(np.nan)), 'x_train: clip 2 '),
    'inf': (dict(x_test=with_value(np.inf, 1)[:2]), 'x_test: clip 1 '),
    'empty clip': (dict(x_train=with_value(0)), 'clip 2 has no frame'),
    'width': (dict(x_train=X[..., :75]), '4×6×75'),
    'flat': (dict(x_train=X[0]), '6×150'),
    'no clips': (dict(x_test=X[:0], y_test=Y[:0]), '0×6×150'),
    'whole numbers': (dict(x_train=X.astype(int)), 'int64'),
    'fewer labels': (dict(y_train=Y[:3]), 'y_train'),
    'two ones': (dict(y_train=np.ones((4, 60))), 'one-hot'),
    'halves': (dict(y_train=Y / 2), 'one-hot'),
    'other classes': (dict(y_test=Y[:2, :6]), 'agree'),
    'one kind each': (dict(y_test=np.array([0, 1])), 'agree'),
    'below 0': (dict(y_test=np.array([0, -1])), 'labels from 0'),
    'words': (dict(y_test=np.array(['a', 'b'])), 'y_test'),
    'objects': (dict(x_train=np.array([X[0], None, X[1], X[2]], dtype=object)), 'never opened'),
    'by column': (dict(x_train=np.asfortranarray(X)), 'column'),
}


@pytest.mark.parametrize('case', BAD)
def test_a_bad_file_is_refused_in_one_line(case, tmp_path):
    change, says = BAD[case]
    path = tmp_path / 'bad.npz'
    np.savez(path, **GOOD | change)
    with pytest.raises(MsagcnError) as e:
        read_npz(path, 'x')
    assert (
        str(e.value).startswith(str(path)) and says in str(e.value) and '\n' not in str(e.value)
    ), e.value


def test_files_that_are_not_such_an_archive(tmp_path):
    path = tmp_path / 'a.npz'

    def says(word):
        with pytest.raises(MsagcnError) as e:
            read_npz(path, 'x')
        assert str(e.value).startswith(str(path)) and word in str(e.value), e.value

    says('no such file')
    path.write_text('<html>')
    says('not an .npz archive')
    np.savez(path, **GOOD)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    says('not an .npz archive')
    path.write_bytes(whole.replace(X[3].tobytes()[:40], b'?' * 40, 1))
    says('x_train: cannot read')  # checksum
    np.savez(path, **{k: v for k, v in GOOD.items() if k != 'y_test'})
    says('no y_test in it')
    with zipfile.ZipFile(path, 'w') as z:
        for k in GOOD:
            z.writestr(f'{k}.npy', 'hello')
    says('x_train: cannot read')
    with zipfile.ZipFile(path, 'w') as z:  # shorter than its header says
        for k, v in GOOD.items():
            with z.open(f'{k}.npy', 'w') as f:
                np.lib.format.write_array_header_1_0(f, np.lib.format.header_data_from_array_1_0(v))
                f.write(v.tobytes()[:-8] if k == 'x_test' else v.tobytes())
    says('x_test: cannot read (cut off')


def test_labels_may_be_numbers_and_a_gap_cuts_the_end_as_the_feeder_does(tmp_path):
    x = X.copy()
    x[0, 2] = 0  # five frames count, so the first five are taken, the empty one among them
    x[1, 4:] = 0
    labels = dict(y_train=np.array([0, 2, 1, 2]), y_test=np.array([1, 0]))
    np.savez(tmp_path / 'a.npz', **GOOD | labels | dict(x_train=x.astype(np.float64)))
    clips = read_npz(tmp_path / 'a.npz', 'x')
    assert clips.lengths.tolist() == [5, 4, 6, 6, 6, 6] and clips.labels.tolist() == [
        0,
        2,
        1,
        2,
        1,
        0,
    ]
    assert clips.classes == ['A001', 'A002', 'A003']
    assert clips.frames.dtype == np.float32 and not clips['train_0'][2].any()
