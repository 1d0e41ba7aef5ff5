"""Exported models give our logits in onnxruntime and in PyTorch's exported graph.

For any number of clips; and the files describe their input.
"""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import ROOT, of_few_blocks
from safetensors import safe_open
from torch import nn

from msagcn.bench.contenders import settle
from msagcn.core import MsagcnError
from msagcn.data.clips import Clips, load_clips
from msagcn.data.skeleton import UCLA20
from msagcn.foreign import export
from msagcn.foreign.export import check_onnx, check_torch, export_onnx, export_torch
from msagcn.models.msagcn import MSAGCN
from msagcn.models.msg3d import MSG3D

ABOUT = dict(
    classes=['wave', 'sit', 'stand'],
    skeleton='ucla20',
    shape=[3, 4, 20, 1],
    parameters=dict(model='msagcn', stream='bone_motion', frames=4, lr=0.1),
)

FIVE = dict(
    name='mine',
    joints=['hip', 'neck', 'head', 'left hand', 'right hand'],
    parents=[0, 0, 1, 1, 1],
    centre=0,
)
FED = [
    ('nw_ucla', 'bone_motion', 1),
    ('ctr_gcn', 'joint', 2),
    ('whole', 'bone', 2),
    ('padded', 'joint_motion', 1),
]


def settled(model):
    """The model after one batch, with logits of unit size.

    Every BatchNorm (and the context) takes that batch's statistics as its running ones.
    """
    x = torch.rand(16, *model.shape, generator=torch.Generator().manual_seed(5)) * 2 - 1
    with torch.no_grad():
        settle(model, x)
        # without training they are in the tens, and so is their rounding
        model.classify.weight /= model.eval()(x).std()
    return model


class Mean(nn.Module):
    "A network that is exported fast."

    def __init__(self, classes=3, shape=(3, 4, 20, 1)):
        super().__init__()
        self.shape, self.classify = shape, nn.Linear(shape[0], classes)

    def forward(self, x):
        return self.classify(x.mean((2, 3, 4)))


def test_msagcn_in_onnx(tmp_path):
    pytest.importorskip('onnxruntime')
    import onnx

    model = settled(of_few_blocks(MSAGCN(3, UCLA20, 4, 1, width=40)))
    model.train()  # is exported as it predicts, and left as it was
    path = export_onnx(model, tmp_path / 'sub/m.onnx', ABOUT)
    assert model.training and all(p.requires_grad for p in model.parameters())
    model.eval()
    assert check_onnx(model, path) < 1e-4
    proto = onnx.load(path)
    onnx.checker.check_model(proto, full_check=True)
    said = {p.key: json.loads(p.value) for p in proto.metadata_props}
    assert (
        said['classes'] == ABOUT['classes']
        and said['skeleton'] == 'ucla20'
        and said['stream'] == 'bone_motion'
        and said['frames'] == 4
    )
    assert said['parameters'] == ABOUT['parameters'] and said['input'] == ['N', 3, 4, 20, 1]
    assert str(ROOT).encode() not in path.read_bytes() and b'.py"' not in path.read_bytes()
    assert [p.name for p in path.parent.iterdir()] == ['m.onnx']  # one file, weights within
    changed = settled(of_few_blocks(MSAGCN(3, UCLA20, 4, 1, width=40, seed=1)))
    assert check_onnx(changed, path) > 1e-2  # the check can fail


def test_msg3d_in_pytorch(tmp_path):
    model = settled(MSG3D(3, UCLA20, 4, 1, width=6, scales=4, window_scales=2))
    path = export_torch(model, tmp_path / 'm.pt2', ABOUT)
    assert check_torch(model, path) < 1e-4
    extra = {'msagcn.json': ''}
    torch.export.load(path, extra_files=extra)
    assert json.loads(extra['msagcn.json'])['parameters']['stream'] == 'bone_motion'
    # needs PyTorch alone
    alone = (
        'import sys, torch; m = torch.export.load(sys.argv[1]).module(); '
        'print(*m(torch.zeros(7, 3, 4, 20, 1)).shape); '
        'assert not [n for n in sys.modules if n.startswith("msagcn")]'
    )
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', alone, str(path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ['7', '3'], done.stderr


def test_a_model_that_cannot_predict_is_not_exported(tmp_path):
    fresh = MSAGCN(3, UCLA20, 4, 1, width=40)  # context='running' without an average
    for f, name in ((export_torch, 'm.pt2'), (export_onnx, 'm.onnx')):
        if f is export_onnx:
            pytest.importorskip('onnxruntime')
        with pytest.raises(MsagcnError, match='calibrate'):
            f(fresh, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_the_same_model_gives_the_same_file(tmp_path):
    pytest.importorskip('onnxruntime')
    torch.manual_seed(0)
    m = Mean().double()  # becomes float32
    a, b = (export_onnx(m, tmp_path / f'{n}.onnx').read_bytes() for n in 'ab')
    assert (
        a == b
        and check_onnx(m, tmp_path / 'a.onnx') < 1e-6
        and m.classify.weight.dtype == torch.double
    )


def test_files_that_do_not_fit(tmp_path):
    pytest.importorskip('onnxruntime')
    m = Mean()
    good = {
        check_onnx: export_onnx(m, tmp_path / 'm.onnx'),
        check_torch: export_torch(m, tmp_path / 'm.pt2'),
    }
    (tmp_path / 'bad').write_bytes(b'half')
    for check, path in good.items():
        for model, file, says in (
            (m, tmp_path / 'none', 'cannot read'),
            (m, tmp_path / 'bad', 'not an'),
            (Mean(shape=(3, 5, 20, 1)), path, 'does not take clips'),
            (Mean(classes=4), path, 'gives logits'),
        ):
            with pytest.raises(MsagcnError) as e:
                check(model, file)
            assert says in str(e.value) and file.name in str(e.value) and '\n' not in str(e.value)
    with pytest.raises(MsagcnError, match='bad'):
        export_torch(m, tmp_path / 'bad/m.pt2')


def test_without_the_packages(tmp_path, monkeypatch):
    find = export.find_spec
    monkeypatch.setattr(
        export, 'find_spec', lambda name: None if name == 'onnxscript' else find(name)
    )
    for call in (
        lambda: export_onnx(Mean(), tmp_path / 'm.onnx'),
        lambda: check_onnx(Mean(), tmp_path / 'm.onnx'),
    ):
        with pytest.raises(
            MsagcnError, match=r'ONNX needs onnxscript: pip install "msagcn\[export\]"'
        ):
            call()
    assert check_torch(Mean(), export_torch(Mean(), tmp_path / 'm.pt2')) >= 0  # needs none of them


def own_by_what_it_says(x, said, stream):
    "Frames (T, M, V, C) of the three feeds for own clips, by the entries of an exported file."
    T, L, c = said['frames'], len(x), said['centre']
    there = x.any((2, 3))  # (L, M)
    m = there.any(0).argmax()
    known = np.flatnonzero(x[:, m, c].any(1))
    path = np.stack(
        [x[known[known <= t][-1] if (known <= t).any() else known[0], m, c] for t in range(L)]
    )
    lengths = []
    for v, end in enumerate(said['parents']):
        both = x[:, m, v].any(1) & x[:, m, end].any(1)
        if v != end:
            lengths.append(np.median(np.linalg.norm(x[both, m, v] - x[both, m, end], axis=1)))
    unit = 5 * np.mean(lengths)
    off = path[:1] if said['feed'] == 'own_first' else path
    x = np.where(there[..., None, None], x - off[:, None, None], 0) / unit
    path = np.where(there[:, m, None], path - path[0], 0) / unit
    at = np.linspace(0, L - 1, T)
    before, share = at.astype(int), at - at.astype(int)
    after = np.minimum(before + 1, L - 1)
    out, places, seen = (
        np.zeros((T, *x.shape[1:])),
        np.zeros((T, 3)),
        np.zeros((T, x.shape[1]), bool),
    )
    for t in range(T):
        a, b, w = before[t], after[t], share[t]
        for k in range(x.shape[1]):
            if there[a, k] and there[b, k]:
                w_k = w
            else:
                w_k = float(w >= 0.5)
            seen[t, k] = there[b if w >= 0.5 else a, k]
            out[t, k] = (1 - w_k) * x[a, k] + w_k * x[b, k]
            if k == m:
                places[t] = (1 - w_k) * path[a] + w_k * path[b]
    if said['feed'] == 'own' and said['stream'] in ('joint', 'joint_motion'):
        out[:, m, c] += places
    out = stream(out)
    if said['stream'].endswith('motion'):
        out[:-1][~(seen[:-1] & seen[1:])] = 0
    return out


def fed_by_what_it_says(x, said):
    """Network input (1, C, T, V, M) of a prepared clip (L, M, V, C).

    In NumPy, by the entries of an exported file alone.
    """
    T, L = said['frames'], len(x)
    x = x.astype(np.float32)
    come_and_go = 'motion is zero where a body is absent' in said['feeding']

    def stream(x):  # (T, M, V, C)
        if said['stream'].startswith('bone'):
            bones = np.zeros_like(x)
            for v, end in said['bones']:
                bones[:, :, v] = x[:, :, v] - (x[:, :, end] if end >= 0 else 0)
            x = bones
        if said['stream'].endswith('motion'):
            there = x.any((2, 3), keepdims=True)
            x = np.concatenate([x[1:] - x[:-1], 0 * x[:1]])
            if come_and_go:
                x[:-1] = np.where(there[1:] & there[:-1], x[:-1], 0)
        return x

    feed = said['feed']
    if feed == 'nw_ucla':
        there = x.any((2, 3), keepdims=True)
        m = there.any(0).argmax()
        x = np.where(there, x - x[there[:, m].argmax(), m, said['centre']], 0)
        low, high = x.min((0, 1, 2)), x.max((0, 1, 2))
        x = np.where(
            there if come_and_go else True,
            (x - low) / np.where(high > low, high - low, 1) * 2 - (high > low),
            0,
        )
        x = stream(x[np.linspace(0, L - 1, T).astype(int)])
    elif feed == 'ctr_gcn':
        first = int(0.05 * L / 2)
        x = x[first : L - first]
        at = np.maximum((np.arange(T) + 0.5) * len(x) / T - 0.5, 0)
        before = at.astype(int)
        share = (at - before)[:, None, None, None]
        x = stream((1 - share) * x[before] + share * x[np.minimum(before + 1, len(x) - 1)])
    elif feed.startswith('own'):
        x = own_by_what_it_says(x, said, stream)
    elif feed == 'mmaction2':
        random = np.random.RandomState(255)
        if L < T:
            t = np.arange(T) % L
        elif L < 2 * T:
            skipped = random.choice(T + 1, L - T, replace=False)
            t = np.array([i + (skipped <= i).sum() for i in range(T)])
        else:
            e = np.arange(T + 1) * L // T
            t = e[:-1] + random.randint(np.diff(e))
        x = stream(x)[t]
    elif feed == 'whole':
        x = stream(x[np.arange(T) % L])
    elif feed == 'padded':
        x = stream(np.concatenate([x, np.zeros((T, *x.shape[1:]))])[:T] if L < T else x[:T])
    return x.transpose(3, 0, 2, 1)[None].astype(np.float32)


@pytest.mark.parametrize(
    'feed, stream',
    [
        ('own', 'joint'),
        ('own', 'bone'),
        ('own', 'joint_motion'),
        ('own_frame', 'bone_motion'),
        ('own_first', 'joint'),
        ('mmaction2', 'bone_motion'),
        ('nw_ucla', 'joint_motion'),
    ],
)
def test_input_of_own_clips_is_made_by_what_a_file_says(feed, stream):
    "In NumPy, of two bodies who come and go; by nothing but the entries of the file."
    from msagcn.data.missing import Reading, reading_note
    from msagcn.feeds.feeds import batch, fed_store
    from msagcn.foreign.export import describe

    g, lengths = np.random.default_rng(1), np.array([3, 14, 30])
    frames = g.normal(0, 0.1, (lengths.sum(), 2, 5, 3)).cumsum(0).astype(np.float32) + 1
    frames[5:9, 1] = frames[20:22, 0] = frames[-9:, 1] = frames[17:19, 0] = 0  # not there
    clips = Clips(
        benchmark='mine',
        skeleton=FIVE,
        classes=['wave', 'sit', 'stand'],
        names=list('abc'),
        labels=np.arange(3),
        subjects=np.zeros(3, int),
        parts=['train'] * 3,
        hashes=[''] * 3,
        lengths=lengths,
        frames=frames,
        feed=feed,
        notes=dict(reading=reading_note(Reading())),
    )
    about = dict(
        skeleton=FIVE,
        feed=feed,
        parameters=dict(stream=stream),
        channels='xyz',
        reading=clips.notes['reading'],
    )
    said = {k: json.loads(v) for k, v in describe(Mean(shape=(3, 8, 5, 2)), about).items()}
    assert (
        'motion is zero where a body is absent' in said['feeding']
        and 'linearly over time' in said['preparing']
    )
    theirs = np.concatenate([fed_by_what_it_says(clips[n], said) for n in clips.names])
    np.testing.assert_allclose(
        theirs, batch(fed_store(clips), torch.arange(3), 8, stream).numpy(), atol=1e-5
    )


def trained(folder, feed, stream, bodies):
    """Three clips of a five-joint skeleton and the weights of a small network for a feed.

    Returns the clips, the store, the network and what is known of it."""
    from msagcn.experiments.train_parameters import TrainParameters
    from msagcn.experiments.weights import build_model, open_weights, save_weights
    from msagcn.feeds.feeds import batch, fed_store

    lengths = np.array([9, 14, 30])
    shape = lengths.sum(), bodies, 5, 3
    frames = np.random.default_rng(0).normal(0, 0.1, shape).cumsum(0).astype(np.float32)
    clips = Clips(
        benchmark='mine',
        skeleton=FIVE,
        classes=['wave', 'sit', 'stand'],
        names=list('abc'),
        labels=np.arange(3),
        subjects=np.zeros(3, int),
        parts=['train', 'train', 'test'],
        hashes=[''] * 3,
        lengths=lengths,
        frames=frames,
        feed=feed,
    )
    p = TrainParameters(
        model='msg3d',
        width=6,
        scales=2,
        windows=[],  # exported in a quarter of the time; the whole network is exported above
        frames=12,
        stream=stream,
        feed=feed,
        benchmark='mine',
        device='cpu',
    )
    s, model = fed_store(clips, feed=feed), build_model(p, clips)
    with torch.no_grad():
        settle(model, batch(s, torch.arange(3), 12, stream))
    save_weights(folder / 'w.safetensors', p, clips, model.eval())
    return clips, s, *open_weights(folder / 'w.safetensors')


@pytest.mark.parametrize('feed, stream, bodies', FED)
def test_a_file_says_how_it_is_fed(tmp_path, feed, stream, bodies):
    """From the prepared clip to the input, by nothing but the entries of a file, and through it.

    The network in the files is one that is exported fast; all three files have the same entries."""
    pytest.importorskip('onnxruntime')
    import onnx
    import onnxruntime

    from msagcn.feeds.feeds import batch

    clips, s, net, about = trained(tmp_path, feed, stream, bodies)
    mean = Mean(shape=net.shape).eval()
    path = export_onnx(mean, tmp_path / 'm.onnx', about)
    said = {e.key: json.loads(e.value) for e in onnx.load(path).metadata_props}
    assert said == {k: json.loads(v) for k, v in export.describe(mean, about).items()}
    extra = {'msagcn.json': ''}
    torch.export.load(export_torch(mean, tmp_path / 'm.pt2', about), extra_files=extra)
    assert json.loads(extra['msagcn.json']) == said
    fed = [fed_by_what_it_says(clips[n], said) for n in clips.names]
    ours = batch(s, torch.arange(3), 12, stream)
    np.testing.assert_allclose(np.concatenate(fed), ours, atol=1e-5 * ours.abs().max().item())
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    theirs = np.concatenate([session.run(['logits'], {'clips': x})[0] for x in fed])
    np.testing.assert_allclose(theirs, mean(ours).detach(), atol=1e-4)
    wanted = dict(
        feed=feed,
        channels='xyz',
        image=None,
        pipeline='none',
        frames=12,
        stream=stream,
        joints=FIVE['joints'],
        parents=FIVE['parents'],
        centre=0,
        bodies=bodies,
        classes=clips.classes,
    )
    assert {k: said[k] for k in wanted} == wanted and said['lengths'] == dict(
        shortest=9, median=11, p95=14, longest=14
    )
    with safe_open(tmp_path / 'w.safetensors', 'pt') as f:
        header = json.loads(f.metadata()['msagcn'])
    kept = 'feed', 'channels', 'image', 'joints', 'parents', 'centre', 'classes'
    assert {k: header[k] for k in kept} == {k: wanted[k] for k in kept}


def test_an_onnx_file_answers_what_is_fed_by_what_it_says(tmp_path):
    """From the prepared clip to the package's logits, by nothing but the file.

    PyTorch's file has the same entries."""
    pytest.importorskip('onnxruntime')
    import onnx
    import onnxruntime

    from msagcn.training.evaluate import predict

    clips, s, net, about = trained(tmp_path, 'nw_ucla', 'bone_motion', 1)
    path = export_onnx(net, tmp_path / 'm.onnx', about)
    said = {e.key: json.loads(e.value) for e in onnx.load(path).metadata_props}
    assert said == {k: json.loads(v) for k, v in export.describe(net, about).items()}
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    ours = predict(net, s, range(3), 12, 'bone_motion')
    fed = [fed_by_what_it_says(clips[n], said) for n in clips.names]
    theirs = np.concatenate([session.run(['logits'], {'clips': x})[0] for x in fed])
    np.testing.assert_allclose(theirs, ours, atol=1e-4 * np.abs(ours).max())
    answers = [said['classes'][i] for i in theirs.argmax(1)]
    assert answers == [clips.classes[i] for i in ours.argmax(1)]
    extra = {'msagcn.json': ''}
    torch.export.load(export_torch(net, tmp_path / 'm.pt2', about), extra_files=extra)
    assert json.loads(extra['msagcn.json']) == said


def test_differences_are_reported_absolute_and_relative(tmp_path):
    m = Mean()
    with torch.no_grad():
        m.classify.weight.mul_(100)
        m.classify.bias.mul_(100)
    path = export_torch(m, tmp_path / 'm.pt2')
    other = Mean()
    other.load_state_dict(m.state_dict())
    with torch.no_grad():
        other.classify.bias.add_(1)
    far = export.apart_torch(other, path)
    largest = max(other(export.example_clips(m, n)).abs().max().item() for n in (1, 3))
    assert (
        abs(far.absolute - 1) < 1e-4
        and abs(far.relative - 1 / largest) < 1e-4
        and check_torch(other, path) == far.absolute
    )
    assert (
        str(far)
        == f'{far.absolute:.1e} at most (absolute), {far.relative:.1e} of the largest logit (relative)'
    )


def test_a_foreign_checkpoint_is_exported(embedded, tmp_path, capfd):
    "With the classes of a named prepared set, else without; and back into another program's naming."
    from msagcn.cli import main
    from msagcn.foreign.msg3d import save_names

    clips = load_clips(embedded / 'embedded')
    save_names(settled(MSG3D(10, UCLA20, 16, 1, width=6)), tmp_path / 'theirs.pt', 'official')
    given = ['--weights', str(tmp_path / 'theirs.pt'), '--frames', '16', '--stream', 'bone']
    for more, classes in (
        ([], None),
        (['-p', 'benchmark', 'embedded', '-p', 'data_dir', str(embedded)], clips.classes),
    ):
        assert main(['export', str(tmp_path / 'm.pt2'), '--to', 'torch', *given, *more]) == 0
        out, err = capfd.readouterr()
        assert (
            '(absolute)' in out
            and '(relative)' in out
            and 'does not say what it was trained on' in err
        )
        extra = {'msagcn.json': ''}
        torch.export.load(tmp_path / 'm.pt2', extra_files=extra)
        said = json.loads(extra['msagcn.json'])
        assert said.get('classes') == classes and (
            said['stream'],
            said['frames'],
            said['feed'],
            said['skeleton'],
        ) == ('bone', 16, 'nw_ucla', 'ucla20')
    assert main(['export', str(tmp_path / 'again.pt'), '--to', 'official', *given]) == 0
    a, b = (torch.load(tmp_path / f'{n}.pt') for n in ('theirs', 'again'))
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
