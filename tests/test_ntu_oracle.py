"""Raw NTU files against the literal preparation of tests/oracle_ntu.py.

Golden files, generated files with everything that makes real ones hard, and random groups of bodies.
Equal bit for bit, or refused by both.
"""

import io
import time

import numpy as np
import oracle_ntu
import pytest
from conftest import SHARED, need
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from msagcn.core import MsagcnError
from msagcn.data.clips import load_clips
from msagcn.data.ntu import prepare_ntu
from msagcn.data.ntu_actors import clip_of, denoise
from msagcn.data.ntu_text import read_skeleton
from msagcn.data.synthetic import generator
from msagcn.data.synthetic_ntu import names_of, raw_clip, skeleton_text, write_raw_ntu

MANY = settings(
    max_examples=150,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
REFUSED = ValueError, IndexError, StopIteration  # how the oracle says no


def ours(data, pad_actor='zero'):
    try:
        return clip_of(denoise(*read_skeleton(data, 'x'), 'x'), pad_actor, 'x')
    except MsagcnError:
        return None


def theirs(data, pad_actor='zero'):
    try:
        return oracle_ntu.pipeline(data, pad_actor)
    except REFUSED:
        return None


def same(data, pad_actor='zero'):
    "Both refuse, or both give the same bits; returns whether there is a clip."
    a, b = ours(data, pad_actor), theirs(data, pad_actor)
    assert (a is None) == (b is None)
    if a is not None:
        assert a.dtype == b.dtype == np.float32 and a.shape == b.shape
        assert np.array_equal(
            a.view(np.uint32) & ~np.uint32((a == 0) * 2**31),
            b.view(np.uint32) & ~np.uint32((b == 0) * 2**31),
        )
    return a is not None


@pytest.mark.parametrize('mini', ['ntu_mini', 'ntu120_mini'])
def test_the_oracle_itself_gives_the_golden_joints(mini, capsys):
    golden = np.load(need(SHARED / f'golden/{mini}/denoised_joints.npz', 'golden joints'))
    files = dict(oracle_ntu.files([SHARED / f'golden/{mini}/raw.zip']))
    start, frames = time.perf_counter(), 0
    for name, data in files.items():
        bodies, f = oracle_ntu.read(io.BytesIO(data))
        assert np.array_equal(oracle_ntu.denoised(bodies, f), golden[name]), name
        frames += f
    each = len(files) / (time.perf_counter() - start)
    with capsys.disabled():
        print(f'\nliteral reader: {each:.0f} files of {frames / len(files):.0f} frames a second')
    assert all(map(oracle_ntu.well_formed, files.values()))
    assert all(map(same, files.values()))


@MANY
@given(
    st.integers(1, 120),
    st.integers(1, 106),
    st.integers(1, 3),
    st.integers(4, 40),
    st.booleans(),
    st.integers(0, 2**31),
    st.sampled_from(['zero', 'copy']),
)
def test_generated_files(action, performer, camera, frames, irregularities, seed, pad_actor):
    data = raw_clip(
        f'S001C{camera:03}P{performer:03}R001A{action:03}', frames, irregularities, seed
    )
    assert oracle_ntu.well_formed(data)
    assert same(data, pad_actor) or irregularities or frames < 20


@st.composite
def crowds(draw):
    """Up to four bodies of any stature in up to 24 frames.

    Some are all zeros, some consist of integers that cancel.
    """
    K, T, seed = draw(st.integers(1, 4)), draw(st.integers(1, 24)), draw(st.integers(0, 2**31))
    g = generator(seed)
    x = (
        g.normal(size=(K, 1, 25, 3)) * g.uniform(0.1, 1, (K, 1, 1, 3))
        + g.normal(size=(K, T, 1, 3)) * 0.1
    )
    seen = g.random((K, T)) < g.choice([0.3, 0.7, 0.95, 1], (K, 1))
    for k in range(K):
        kind = draw(st.integers(0, 7))
        if kind == 0:
            x[k, g.random(T) < 0.5] = 0
        if kind == 1:
            # sums to nothing
            x[k] = np.where(np.arange(25)[:, None] % 2, 1, -1) * (np.arange(25)[:, None] < 24)
        if kind == 2 and k:
            x[k] = x[0]
    return skeleton_text(x.astype(np.float32), seen, g)


@settings(MANY, max_examples=400)
@given(crowds(), st.sampled_from(['zero', 'copy']))
def test_crowds(data, pad_actor):
    same(data, pad_actor)


def test_the_crowds_are_of_all_kinds():
    """Otherwise the test above would prove little.

    There are clips of one and two actors, clips that lose frames, and clips that are refused.
    """
    kinds = set()

    @settings(MANY, max_examples=400)
    @given(crowds())
    def look(data):
        try:
            x = oracle_ntu.denoised(*(read := oracle_ntu.read(io.BytesIO(data))))
        except REFUSED:
            kinds.add('refused')
        else:
            kinds.update(
                {
                    f'{x.shape[1] // 75} of {min(len(read[0]), 3)}',
                    'loses frames' if len(x) < read[1] else 'keeps all',
                }
            )

    look()
    assert kinds == {
        'refused',
        '1 of 1',
        '1 of 2',
        '1 of 3',
        '2 of 2',
        '2 of 3',
        'loses frames',
        'keeps all',
    }


@pytest.mark.parametrize(
    'benchmark, kind, pad_actor', [('ntu60', 'xsub', 'zero'), ('ntu120', 'xset', 'copy')]
)
def test_whole_archives(benchmark, kind, pad_actor, tmp_path):
    "From two zip archives by two processes: each clip is the oracle's."
    names = names_of(
        (3, 17, 18, 32),
        (1, 3),
        (1, 3, 40),
        (1,),
        (7, 52, 60) if benchmark == 'ntu60' else (7, 52, 61, 110),
    )
    archives = write_raw_ntu(tmp_path, names, 30, irregularities=True, zipped=True)
    wanted = {
        n: x for n, data in oracle_ntu.files(archives) if (x := theirs(data, pad_actor)) is not None
    }
    clips = load_clips(prepare_ntu(archives, tmp_path / 'out', kind, benchmark, processes=2).parent)
    setups = 17 if benchmark == 'ntu60' else 32
    assert set(clips.names) == {n for n in wanted if int(n[1:4]) <= setups}
    for n in clips.names:
        assert np.array_equal(clips[n], wanted[n]), n
    key = dict(xsub=slice(8, 12), xset=slice(0, 4))[kind]
    assert clips.names == sorted(clips.names, key=lambda n: (n[key], n))


FORMS = [
    '{:.7g}',
    '{:.17g}',
    '{:.9f}',
    '{:+.7g}',
    '{:.3e}',
    '{:.2f}',
    '{:.0f}',
    '{:.0f}.',
    '{:+09.4f}',
    '-0',
    '.5',
    '-.25',
    '00012.50',
    '{:.20f}',
    '{:.15g}',
    '{:.16g}',
    '1E-3',
    '4.9e-324',
    '0.1234567890123456789',
    '123456.7890123456',
    '9007199254740993e-12',
]


@settings(MANY, max_examples=200)
@given(
    st.lists(st.sampled_from(FORMS), min_size=1, max_size=8),
    st.integers(0, 2**31),
    st.sampled_from([b'\r\n', b'\n']),
)
def test_numbers_however_they_are_written(forms, seed, end):
    """A number is what `float` makes of it.

    In the form of the archives and in any other form of a float.
    """
    lines, g = raw_clip('S001C001P001R001A001', 2, seed=seed % 7).split(b'\r\n'), generator(seed)
    for i in g.choice(len(lines), 20):
        tokens = lines[i].split()
        if len(tokens) != 12:
            continue
        j = int(g.integers(3))
        tokens[j] = forms[int(g.integers(len(forms)))].format(float(tokens[j])).encode()
        lines[i] = b' '.join(tokens)
    data = end.join(lines)
    assert oracle_ntu.well_formed(data) and same(data)


def test_the_judge_refuses_malformed_files():
    good = raw_clip('S001C001P001R001A001', 4)
    assert oracle_ntu.well_formed(good) and oracle_ntu.well_formed(good.replace(b'\r', b''))
    lines = good.split(b'\r\n')
    for bad in (
        good[:-9],
        good + b'1\r\n',
        good.replace(b'25', b'24', 1),
        good.replace(b' ', b' nan ', 1),
        b'',
        b'0\r\n',
        good.replace(b'.', b'_', 1),
        good.replace(b'.', b',', 1),
        b'\r\n'.join(lines[:5] + lines[6:]),
        b'\r\n'.join(lines[:5] + lines[4:]),
    ):
        assert not oracle_ntu.well_formed(bad)
