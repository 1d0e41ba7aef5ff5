"""Raw NTU RGB+D files: bit for bit what the public preparation makes of them.

From the archives or from folders, with one process or two, killed and resumed; with memory that does
not grow with the set; and one line for every bad file, which never affects the others.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
import zipfile
from collections import Counter

import numpy as np
import pytest
from conftest import ROOT, SHARED, need

from msagcn.core import MsagcnError, content_hash
from msagcn.data import ntu
from msagcn.data.clips import load_clips, split
from msagcn.data.ctr_gcn import read_npz, write_npz
from msagcn.data.ntu import missing_names, prepare_ntu
from msagcn.data.ntu_actors import actors, clip_of, denoise
from msagcn.data.ntu_text import Body, read_skeleton
from msagcn.data.raw_files import BadFile, raw_files

GOLDEN = SHARED / 'golden'
MINI = {'ntu60': GOLDEN / 'ntu_mini', 'ntu120': GOLDEN / 'ntu120_mini'}
PUBLIC = [
    ('ntu60', 'xsub', 'NTU60_CS'),
    ('ntu60', 'xview', 'NTU60_CV'),
    ('ntu120', 'xsub', 'NTU120_CSub'),
    ('ntu120', 'xset', 'NTU120_CSet'),
]
NAME = 'S001C001P001R001A001'


def raw(benchmark):
    return need(MINI[benchmark] / 'raw.zip', 'golden raw files')


@pytest.fixture
def read_ntu(tmp_path_factory):
    "From raw files to clips, each time in a new folder."

    def read(source, *args, **more):
        return load_clips(
            prepare_ntu(source, tmp_path_factory.mktemp('prepared'), *args, **more).parent
        )

    return read


def causes(clips):
    return [(r['name'], r['cause']) for r in clips.notes.get('refused', [])]


def same(a, b):
    "Two data sets are equal in everything."
    assert (a.benchmark, a.classes, a.names, a.parts, a.hashes) == (
        b.benchmark,
        b.classes,
        b.names,
        b.parts,
        b.hashes,
    )
    for k in ('labels', 'subjects', 'lengths', 'frames'):
        assert np.array_equal(getattr(a, k), getattr(b, k)), k


# the goldens


@pytest.mark.parametrize('benchmark', MINI)
def test_denoised_joints_are_the_public_ones(benchmark):
    golden = np.load(need(MINI[benchmark] / 'denoised_joints.npz', 'golden joints'))
    with zipfile.ZipFile(raw(benchmark)) as archive:
        files = [n for n in archive.namelist() if n.endswith('.skeleton')]
        for f in files:
            x = denoise(*read_skeleton(archive.read(f), f), f)
            wanted = golden[f.split('/')[-1].removesuffix('.skeleton')]
            assert x.dtype == np.float32 and np.array_equal(x.reshape(len(x), -1), wanted), f
    assert len(files) == len(golden.files)


def laid_out(source, form, tmp_path):
    "An archive of raw files as a folder, as it is, or as two archives like the official ones."
    if form == 'archive':
        return source
    with zipfile.ZipFile(source) as archive:
        if form == 'folder':
            archive.extractall(tmp_path / 'folder')
            return tmp_path / 'folder'
        files = [n for n in archive.namelist() if n.endswith('.skeleton')]
        for part in (0, 1):
            with zipfile.ZipFile(tmp_path / f'{part}.zip', 'w', zipfile.ZIP_DEFLATED) as z:
                for n in files[part::2]:
                    z.writestr(n, archive.read(n))
    return [tmp_path / '1.zip', str(tmp_path / '0.zip')]


@pytest.mark.parametrize('form', ['archive', 'folder', 'two archives'])
@pytest.mark.parametrize('benchmark, kind, file', PUBLIC)
def test_public_arrays_are_reproduced_to_the_bit(benchmark, kind, file, form, tmp_path, read_ntu):
    golden = need(MINI[benchmark] / f'{file}.npz', 'golden arrays')
    clips = read_ntu(laid_out(raw(benchmark), form, tmp_path), kind, benchmark)
    assert (clips.benchmark, clips.skeleton, clips.channels, clips.feed) == (
        f'{benchmark}_{kind}',
        'ntu25',
        'xyz',
        'ctr_gcn',
    )
    assert (
        clips.frames.dtype == np.float32
        and len(clips.classes) == int(benchmark[3:])
        and clips.classes[0] == 'A001'
    )
    assert clips.labels.dtype == np.int64 and len(clips.frames) == clips.lengths.sum()  # no padding
    with (
        zipfile.ZipFile(write_npz(clips, tmp_path / 'ours.npz')) as ours,
        zipfile.ZipFile(golden) as theirs,
    ):
        assert ours.namelist() == theirs.namelist()
        for array in theirs.namelist():
            assert ours.read(array) == theirs.read(array), array  # header and all
    assert clips.hashes == [content_hash(clips[n]) for n in clips.names]
    again = read_npz(golden, 'x')  # the other way to the same set
    assert again.hashes == [
        h for p in ('train', 'test') for h, q in zip(clips.hashes, clips.parts) if q == p
    ]
    assert [split(clips)[p].tolist() for p in ('train', 'test')] == [
        np.flatnonzero(np.array(clips.parts) == p).tolist() for p in ('train', 'test')
    ]


def test_the_counts_are_those_of_the_public_logs(read_ntu):
    logs = need(MINI['ntu60'] / 'logs', 'golden logs')
    lines = lambda name: [
        l for l in (logs / name).read_text().splitlines() if re.match('S[0-9]{3}', l)
    ]
    clips = read_ntu(raw('ntu60'))
    found = {what: n for what, _, n in clips.notes['checkpoints']}
    golden = np.load(MINI['ntu60'] / 'denoised_joints.npz')
    assert found['clips'] == len(golden.files) and found['frames kept'] == sum(
        len(golden[f]) for f in golden.files
    )
    assert found['clips with empty frames'] == len(lines('frames_drop.log')) == 6
    assert found['bodies seen too briefly'] == len(lines('noise_length.log')) == 6
    assert found['bodies too wide'] == len(lines('noise_spread.log')) == 4
    assert found['clips shortened'] == len(lines('missing_skes.log'))
    assert found['one-person actions left with two'] == len(lines('denoised_failed_1.log')) == 6
    assert found['two-person actions left with one'] == len(lines('denoised_failed_2.log'))
    with zipfile.ZipFile(raw('ntu60')) as archive:
        declared = sum(
            int(archive.read(f).split()[0]) for f in archive.namelist() if f.endswith('.skeleton')
        )
    dropped = sum(int(l.split()[1]) for l in lines('frames_drop.log'))
    assert found['frames with bodies'] == declared - dropped == found['frames kept']
    assert {what: n for what, n, _ in clips.notes['checkpoints']}[
        'clips'
    ] == 56578 and 'setups 3, 4' in clips.notes['warning']


def test_expected_counts_are_the_published_ones():
    "Independent sums: the parts add up to the whole, and what the lists leave out is missing."
    for benchmark, files in (('ntu60', 56880), ('ntu120', 114480)):
        wanted = ntu.EXPECTED[benchmark]
        assert wanted['clips'] + wanted['on the list'] == files
        for kind in ntu.SPLITS[benchmark]:
            assert sum(ntu.PARTS[benchmark, kind]) == wanted['clips']


def test_the_second_slot_of_a_single_actor_is_filled_as_wanted(read_ntu):
    zero, copy = (read_ntu(raw('ntu60'), pad_actor=p) for p in ('zero', 'copy'))
    golden = np.load(need(MINI['ntu60'] / 'denoised_joints.npz', 'golden joints'))
    alone = [n for n in zero.names if golden[n].shape[1] == 75]
    assert not any(zero[n][:, 1].any() for n in alone)
    # an empty second slot is not a lone actor
    assert [n for n in zero.names if not zero[n][:, 1].any()] != alone
    assert all(np.array_equal(copy[n][:, 1], copy[n][:, 0]) for n in alone)
    assert zero.names == copy.names and all(
        np.array_equal(copy[n], zero[n]) for n in set(zero.names) - set(alone)
    )
    assert read_ntu(raw('ntu60')).data_hash == zero.data_hash != copy.data_hash
    assert (
        zero.notes['pad_actor'],
        copy.notes['pad_actor'],
        read_ntu(raw('ntu120'), 'xset', 'ntu120').notes['pad_actor'],
    ) == ('zero', 'copy', 'copy')


def test_the_number_of_processes_makes_no_difference(read_ntu):
    same(read_ntu(raw('ntu60')), read_ntu(str(raw('ntu60')), processes=2))


def test_bad_files_come_back_from_other_processes(tmp_path, read_ntu):
    for i in range(1, 41):
        (tmp_path / f'{NAME[:-3]}{i:03}.skeleton').write_bytes(written([{7: PERSON}]))
    for i in (1, 35):
        (tmp_path / f'{NAME[:-3]}{i:03}.skeleton').write_bytes(b'3 1')
    clips = read_ntu(tmp_path, processes=2)
    assert len(clips) == 38 and causes(clips) == [
        (f'{NAME[:-3]}001', 'cut off'),
        (f'{NAME[:-3]}035', 'cut off'),
    ]


def test_half_as_many_digits(read_ntu, tmp_path):
    whole, half = (read_ntu(raw('ntu60'), storage=s) for s in ('float32', 'float16'))
    assert (
        half.frames.dtype == np.float16
        and np.array_equal(half.frames, whole.frames.astype(np.float16))
        and half.names == whole.names
    )
    # metres, of some four
    assert (
        half.notes['largest_error'] == np.abs(half.frames.astype('f4') - whole.frames).max() < 2e-3
    )
    assert 'largest_error' not in whole.notes and half.data_hash != whole.data_hash
    with pytest.raises(MsagcnError, match='in float32'):
        write_npz(half, tmp_path / 'x.npz')


# killed, and begun again

PREPARE = """import sys; from msagcn.data.ntu import prepare_ntu
if __name__ == "__main__":
    prepare_ntu(*sys.argv[1:3], processes=int(sys.argv[3]))"""


SLOWLY = """import time
from msagcn.data import ntu
at_once = ntu.RawFile.read
ntu.RawFile.read = lambda f: time.sleep(.003) or at_once(f)
"""  # so that it is killed before its end, wherever the machine lingers


def child(tmp_path, source, folder, processes):
    script = tmp_path / 'script.py'
    script.write_text(SLOWLY + PREPARE)
    return subprocess.Popen(
        [sys.executable, str(script), str(source), str(folder), str(processes)],
        env=os.environ | {'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
    )


def names(n, actions=60):
    "The names of n clips."
    return [
        f'S{s:03}C{c:03}P{p:03}R001A{a:03}'
        for s in range(1, 18)
        for c in (1, 2, 3)
        for p in range(1, 41)
        for a in range(1, actions + 1)
    ][:n]


@pytest.mark.parametrize('processes', [1, 2])
def test_killed_and_resumed(tmp_path, processes, monkeypatch):
    """SIGKILL after some safe point, twice; then the rest in this process, counting the files read.

    The bytes are those of an undisturbed run.
    """
    source, rng = tmp_path / 'raw', np.random.default_rng(0)
    source.mkdir()
    for i, n in enumerate(names(1500)):
        (source / f'{n}.skeleton').write_bytes(
            b'cut'
            if i % 97 == 5
            else written([{7: PERSON + rng.normal(size=3).round(6)}] * rng.integers(1, 9))
        )
    whole, broken = tmp_path / 'whole', tmp_path / 'broken'
    prepare_ntu(source, whole, processes=1)
    journal, done = broken / '.journal.part', 0
    for _ in range(2):
        p = child(tmp_path, source, broken, processes)
        while p.poll() is None and not (
            journal.exists() and journal.read_bytes().count(b'\n') - 1 > done
        ):
            time.sleep(0.002)
        p.send_signal(signal.SIGKILL)
        p.wait()
        assert not (broken / 'manifest.json').exists(), 'it was too quick to be killed'
        done = journal.read_bytes().count(b'\n') - 1
        assert 0 < done < 1500
    read = []
    monkeypatch.setattr(
        ntu.RawFile, 'read', lambda f, way=ntu.RawFile.read: read.append(f.name) or way(f)
    )
    prepare_ntu(source, broken, processes=1)
    assert read == sorted(names(1500))[done:]  # a kill may leave rows of a part of a batch
    for f in ('frames.npy', 'manifest.json'):
        assert (broken / f).read_bytes() == (whole / f).read_bytes(), f
    assert sorted(os.listdir(broken)) == ['frames.npy', 'manifest.json']
    read.clear()
    prepare_ntu(source, broken, processes=1)  # nothing is left to do
    assert not read


@pytest.mark.parametrize(
    'change', ['a file', 'a file less', 'pad_actor', 'storage', 'split', 'list']
)
def test_a_preparation_with_other_parameters_is_not_resumed(tmp_path, change, monkeypatch):
    source = tmp_path / 'raw'
    source.mkdir()
    for n in names(230):
        (source / f'{n}.skeleton').write_bytes(written([{7: PERSON}] * 2))
    made, count = ntu.read_skeleton, []

    def stop(data, where):
        count.append(where)
        if len(count) > 215:
            raise KeyboardInterrupt
        return made(data, where)

    monkeypatch.setattr(ntu, 'read_skeleton', stop)
    with pytest.raises(KeyboardInterrupt):
        prepare_ntu(source, tmp_path / 'out', processes=1)
    monkeypatch.undo()
    assert (tmp_path / 'out/.journal.part').read_bytes().count(b'\n') == 216
    asked = (
        dict(pad_actor='copy')
        if change == 'pad_actor'
        else dict(storage='float16')
        if change == 'storage'
        else dict(split='xview')
        if change == 'split'
        else {}
    )
    if change == 'a file':
        (source / f'{names(3)[2]}.skeleton').write_bytes(written([{7: PERSON + 1}] * 3))
    if change == 'a file less':
        (source / f'{names(3)[2]}.skeleton').unlink()
    if change == 'list':
        (tmp_path / 'list.txt').write_text(names(3)[2])
        asked = dict(missing=tmp_path / 'list.txt')
    for folder in ('out', 'fresh'):
        prepare_ntu(source, tmp_path / folder, processes=1, **asked)
    for f in ('frames.npy', 'manifest.json'):
        assert (tmp_path / 'out' / f).read_bytes() == (tmp_path / 'fresh' / f).read_bytes(), f


MEASURE = (
    PREPARE
    + """
    import json, resource
    own = next(int(l.split()[1]) for l in open('/proc/self/status') if l.startswith('VmHWM'))
    print(json.dumps([own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]))"""
)


@pytest.mark.skipif(
    not os.path.exists('/proc/self/status'), reason='peak memory is read from /proc'
)
@pytest.mark.parametrize('processes', [1, 2])
def test_memory_does_not_grow_with_the_set(tmp_path, processes):
    """Eight times as many clips in the memory that an eighth of them takes.

    They are 190 MB in the end.
    """
    one, peaks = tmp_path / 'one', []
    one.write_bytes(written([{7: PERSON}] * 200))
    (tmp_path / 'script.py').write_text(MEASURE)
    for n in (200, 1600):
        (tmp_path / str(n)).mkdir()
        for name in names(n):
            os.link(one, tmp_path / str(n) / f'{name}.skeleton')
        done = subprocess.run(
            [
                sys.executable,
                str(tmp_path / 'script.py'),
                str(tmp_path / str(n)),
                str(tmp_path / f'out{n}'),
                str(processes),
            ],
            env=os.environ | {'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(json.loads(done.stdout.splitlines()[-1]))
        frames = tmp_path / f'out{n}/frames.npy'
        assert frames.stat().st_size == 128 + n * 200 * 2 * 25 * 3 * 4
        frames.unlink()
    for small, large in zip(*peaks):
        assert large <= 1.3 * small + 1, peaks


# the rules, on bodies made up

PERSON = (np.random.default_rng(0).normal(size=(25, 3)) * [0.1, 0.5, 0.1] + [0, 0, 3]).round(6)


def written(frames):
    "A raw file from a list of frames, each a dict from identity to joints."
    lines = [len(frames)]
    for f in frames:
        lines.append(len(f))
        for k, x in f.items():
            lines += [
                f'{k} 0 1 1 1 1 0 0.5 -0.5 2',
                len(x),
                *(f'{a} {b} {c} 1 2 3 4 0 0 0 1 2' for a, b, c in x),
            ]
    return '\n'.join(map(str, lines)).encode()


def body(first, last, size):
    "A body that drifts by `size` along x, y and z."
    return Body(
        first, (PERSON + size * np.linspace(-1, 1, last - first + 1)[:, None, None]).astype('f4')
    )


def test_identities_closer_than_floats_are_kept_apart():
    a, b = 72057594037931768, 72057594037931769
    assert float(a) == float(b)
    bodies, frames = read_skeleton(
        written([{a: PERSON, b: PERSON + 1}] * 2 + [{}, {b: PERSON + 1, a: PERSON}]), 'x'
    )
    assert frames == 3 and [len(x.joints) for x in bodies] == [3, 3]
    assert np.array_equal(bodies[0].joints, [PERSON.astype('f4')] * 3)


def test_a_body_that_returns_is_moved_earlier():
    one, both = {1: PERSON}, {1: PERSON, 2: PERSON}
    bodies, frames = read_skeleton(written([one, {}, both, one, both]), 'x')
    assert frames == 4 and (bodies[1].first, bodies[1].last) == (1, 2)


def test_eleven_frames_are_too_few_and_twelve_are_not():
    long = body(0, 30, 0.1)
    assert actors([long, body(0, 10, 0.9)]) == [long] and len(actors([long, body(0, 11, 0.9)])) == 2
    assert denoise([body(0, 4, 0.1)], 5).shape == (5, 1, 25, 3)  # the rules are for several bodies
    with pytest.raises(BadFile, match='x: none of 2 bodies is seen in more than 11 frames'):
        denoise([body(0, 9, 1), body(0, 10, 1)], 20, 'x')


def test_the_spread_rule_stops_when_one_is_left():
    lying = [Body(0, body(0, 30, s).joints[..., [1, 0, 2]]) for s in (0.1, 0.9)]
    # the first goes, the last stays whatever it is
    assert actors(lying) == lying[1:] and actors(lying[::-1]) == lying[:1]
    mixed = Body(0, body(0, 99, 0.9).joints)
    for wide, stays in ((69, True), (70, False)):  # 69.754 % of 100 frames lie between
        mixed.joints = body(0, 99, 0.9).joints
        mixed.joints[:wide] = mixed.joints[:wide, :, [1, 0, 2]]
        assert (mixed in actors([mixed, body(0, 50, 0.1)])) == stays


@pytest.mark.parametrize('width, stays', [(0.79, True), (0.81, False)])
def test_a_body_wider_than_four_fifths_of_its_height_is_removed(width, stays):
    b = body(0, 30, 0.9)
    wide, tall = np.moveaxis(np.ptp(b.joints[..., :2], axis=1), 1, 0)  # (n,) each
    b.joints[..., 0] *= (np.float32(width) * tall / wide)[:, None]
    assert (b in actors([b, body(0, 30, 0.1)])) == stays


def test_motion_in_invalid_frames_does_not_count():
    steady, wild = body(0, 30, 0.3), body(0, 30, 0)
    wild.joints[20:] = body(20, 30, 2).joints[..., [1, 0, 2]]  # lies down and jumps about
    assert actors([wild, steady]) == [steady, wild]
    wild.joints[20:] = body(20, 30, 2).joints
    assert actors([wild, steady]) == [wild, steady]


def test_frames_that_only_a_dismissed_body_was_in_are_removed():
    actor, chair = body(0, 29, 0.3), body(25, 34, 0.9)
    for bodies in ([actor, chair], [chair, actor]):
        x = denoise(bodies, 35)
        assert x.shape == (30, 1, 25, 3) and np.array_equal(x[:, 0], actor.joints)
    x = denoise([body(3, 20, 0.3), body(30, 50, 0.2), chair], 51)  # a hole between two actors
    assert x.shape == (18 + 21, 2, 25, 3) and not x[:, 1].any()


def test_slot_two_counts_as_taken_from_the_start():
    first, second, early, late = (
        body(0, 50, 0.9),
        body(20, 40, 0.8),
        body(0, 15, 0.7),
        body(40, 60, 0.6),
    )
    x = denoise([first, second, early, late], 61)
    # no room for `early`
    assert not x[:20, 1].any() and np.array_equal(x[20:40, 1], second.joints[:20])
    # one shared frame, 40, is no overlap: written over
    assert np.array_equal(x[40:, 1], late.joints)


def test_an_absent_actor_stays_zero_and_the_origin_is_the_first_actors():
    # actor 1 is the second body, gone after frame 20
    x = denoise([body(5, 40, 0.2), body(0, 20, 0.9)], 41)
    y = clip_of(x)
    assert (
        np.array_equal(y[:21, 0], x[:21, 0] - x[0, 0, 1])
        and not y[21:, 0].any()
        and not y[:5, 1].any()
    )
    with pytest.raises(BadFile, match='every coordinate'):
        clip_of(np.zeros((3, 1, 25, 3), 'f4'))


# bad input

GOOD = written([{7: PERSON}] * 3)


BAD = [
    (b'', 'empty', 'empty file'),
    (b'\n \n', 'empty', 'empty file'),
    (GOOD[:-30], 'cut off', 'cut off in frame 2 of 3'),
    (GOOD[: len(GOOD) // 2], 'cut off', 'cut off in frame 1 of 3'),
    (b'9' * 30, 'cut off', 'cut off in frame 0'),
    (b'4' + GOOD[1:], 'cut off', 'cut off in frame 3 of 4'),
    (b'2' + GOOD[1:], 'too long', 'goes on after its 2 frames (312 words more)'),
    (GOOD + b'\n0', 'too long', 'goes on after its 3 frames (1 words more)'),
    (b'<!DOCTYPE html>', 'no count', 'frame 0: <!DOCTYPE'),
    (b'PK\x03\x04', 'no count', 'frame 0: '),
    (b'-3 ' + GOOD[2:], 'no count', 'frame 0: -3'),
    (b'9' * 9999, 'no count', 'frame 0: '),
    (GOOD.replace(b'\n1\n', b'\n2\n', 1), 'joint count', 'frame 0: '),
    (written([{7: PERSON}, {7: PERSON[:20]}]), 'joint count', 'frame 1: 20 joints, not 25'),
    (
        GOOD.replace(b' 1 2 3 4', b' 1 2 3', 1),
        'no count',
        f'frame 1: {PERSON[0, 0]} where a number of things',
    ),
    (GOOD.replace(str(PERSON[0, 0]).encode(), b'nought', 1), 'not a number', 'not numbers'),
    (GOOD.replace(b'.', b'_'), 'not a number', 'underscore'),
    (GOOD.replace(str(PERSON[0, 0]).encode(), b'a' * 5000, 1), 'not a number', 'not numbers'),
    (GOOD.replace(str(PERSON[0, 0]).encode(), b'nan', 1), 'not finite', 'NaN'),
    (GOOD.replace(str(PERSON[0, 0]).encode(), b'1e400', 1), 'not finite', 'infinite'),
    (GOOD.replace(str(PERSON[0, 0]).encode(), b'1e39', 1), 'not finite', 'beyond all measure'),
    (
        written([{7: PERSON, 8: PERSON}]).replace(b'\n8 ', b'\n7 '),
        'body twice',
        'twice in one frame',
    ),
    (b'0', 'nobody', 'no body in any frame'),
    (written([{}, {}]), 'nobody', 'no body in any frame'),
    (written([{7: PERSON, 8: PERSON}] * 3), 'no long body', 'none of 2 bodies'),
    (written([{7: 0 * PERSON}] * 3), 'all zero', 'every coordinate'),
]


@pytest.mark.parametrize('data, cause, words', BAD)
def test_a_bad_file_is_one_line_with_file_and_cause(data, cause, words):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        with pytest.raises(BadFile) as e:
            clip_of(denoise(*read_skeleton(data, 'a.skeleton'), 'a.skeleton'), where='a.skeleton')
    line = str(e.value)
    assert (
        line.startswith('a.skeleton: ')
        and words in line
        and e.value.kind == cause
        and '\n' not in line
        and len(line) < 300
    )


def test_bad_files_never_lose_the_others(tmp_path, read_ntu, capsys):
    """All of them in one archive with five good ones.

    The good ones are prepared; the bad ones are counted by cause and listed with their lines.
    """
    from msagcn.cli import main

    bad = dict(zip(names(len(BAD) + 5)[5:], BAD))
    with zipfile.ZipFile(tmp_path / 'raw.zip', 'w') as z:
        for n in names(5):
            z.writestr(f'in/{n}.skeleton', GOOD)
        for n, (data, *_) in bad.items():
            z.writestr(f'in/{n}.skeleton', data)
        for n in ('walk', 'S001C001P041R001A001', 'S001C001P001R001A061', 'S001C004P001R001A001'):
            z.writestr(f'in/{n}.skeleton', GOOD)
        z.writestr(f'again/{names(1)[0]}.skeleton', GOOD)
        z.writestr('S018C001P001R001A061.skeleton', GOOD)  # of the second archive: not asked for
    clips = read_ntu(tmp_path / 'raw.zip')
    assert clips.names == names(5)
    refused = {r['name']: r for r in clips.notes['refused']}
    for n, (_, cause, words) in bad.items():
        assert (
            refused[n]['cause'] == cause
            and refused[n]['line'].startswith(f'{tmp_path}/raw.zip:in/{n}.skeleton: ')
            and words in refused[n]['line']
        )
    assert [
        refused[n]['cause']
        for n in ('walk', 'S001C001P041R001A001', 'S001C001P001R001A061', 'S001C004P001R001A001')
    ] == ['name'] * 4
    assert 'performer 41 is not within 1 to 40' in refused['S001C001P041R001A001']['line']
    assert (
        refused[names(1)[0]]['cause'] == 'name twice'
        and 'was there before' in refused[names(1)[0]]['line']
    )
    assert len(clips.notes['refused']) == len(BAD) + 5
    assert (
        main(
            [
                'prepare',
                '-p',
                'benchmark',
                'ntu60_xsub',
                '-p',
                'source',
                str(tmp_path / 'raw.zip'),
                '-p',
                'data_dir',
                str(tmp_path),
            ]
        )
        == 0
    )
    told = capsys.readouterr().out
    for cause, n in Counter(c for _, c, _ in BAD).items():
        assert re.search(rf'{cause} +{n} +S001', told), cause
    assert (
        re.search('name +4 +', told)
        and 'no clip of setups 2' in told
        and re.search('clips +56578 +5 differs', told)
    )


def test_archives_and_folders_without_raw_files(tmp_path, read_ntu):
    with pytest.raises(MsagcnError, match='no such file'):
        read_ntu(tmp_path / 'no')
    with pytest.raises(MsagcnError, match='no .skeleton files of ntu60'):
        read_ntu(tmp_path)
    (tmp_path / 'page.zip').write_text('<html>')
    with pytest.raises(MsagcnError, match='page.zip: not a zip archive .* web page'):
        read_ntu(tmp_path / 'page.zip')
    with zipfile.ZipFile(tmp_path / 'raw.zip', 'w') as z:
        for n in names(2):
            z.writestr(f'{n}.skeleton', GOOD * 20)
    data = bytearray((tmp_path / 'raw.zip').read_bytes())
    data[200] ^= 1
    (tmp_path / 'raw.zip').write_bytes(data[:-100])
    with pytest.raises(MsagcnError, match='raw.zip: not a zip archive .* half a download'):
        read_ntu(tmp_path / 'raw.zip')
    (tmp_path / 'raw.zip').write_bytes(data)
    with pytest.raises(
        MsagcnError, match=f'none of 2 files gives a clip; .*{names(2)[1]}.skeleton: goes on after'
    ):
        read_ntu(tmp_path / 'raw.zip')
    with zipfile.ZipFile(tmp_path / 'raw.zip', 'a') as z:
        z.writestr(f'{names(3)[2]}.skeleton', GOOD)
    clips = read_ntu(tmp_path / 'raw.zip')
    assert clips.names == [names(3)[2]] and causes(clips) == [
        (names(1)[0], 'unreadable'),
        (names(2)[1], 'too long'),
    ]
    assert re.search(f'{NAME}.skeleton: cannot read .*CRC', clips.notes['refused'][0]['line'])


def test_nothing_is_left_of_a_preparation_that_gives_nothing(tmp_path):
    (tmp_path / f'{NAME}.skeleton').write_bytes(b'1')
    with pytest.raises(MsagcnError, match='none of 1 files'):
        prepare_ntu(tmp_path, tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    'name, cause',
    [
        ('walk', 'not a name'),
        ('S001C001P001R001A1', 'not a name'),
        (NAME + 'x', 'not a name'),
        ('S033C001P001R001A001', 'setup 33'),
        ('S001C004P001R001A001', 'camera 4'),
        ('S001C001P107R001A001', 'performer 107'),
        ('S001C001P001R003A001', 'replication 3'),
        ('S001C001P001R001A121', 'action 121'),
        ('S001C001P001R001A000', 'action 0'),
    ],
)
def test_bad_names(tmp_path, name, cause, read_ntu):
    (tmp_path / f'{name}.skeleton').write_bytes(GOOD)
    with pytest.raises(MsagcnError, match=f'no .skeleton files of ntu120.*{name}.*{cause}'):
        read_ntu(tmp_path, 'xsub', 'ntu120')
    (tmp_path / f'{NAME}.skeleton').write_bytes(GOOD)
    clips = read_ntu(tmp_path, 'xsub', 'ntu120')
    assert (
        clips.names == [NAME]
        and causes(clips) == [(name, 'name')]
        and cause in clips.notes['refused'][0]['line']
    )


def test_of_two_files_of_one_name_the_first_stays(tmp_path, read_ntu):
    for d, at in (('a', 0), ('b', 1)):
        (tmp_path / d).mkdir()
        (tmp_path / d / f'{NAME}.skeleton').write_bytes(written([{7: PERSON * (at + 1)}] * 3))
    whole, a, b = read_ntu(tmp_path), read_ntu(tmp_path / 'a'), read_ntu(tmp_path / 'b')
    assert (
        whole.hashes == a.hashes != b.hashes
        and causes(whole) == [(NAME, 'name twice')]
        and not causes(a)
    )
    assert read_ntu([tmp_path / 'b', tmp_path / 'a']).hashes == b.hashes


@pytest.mark.parametrize(
    'asked, cause',
    [
        (dict(benchmark='ntu'), 'ntu60, ntu120'),
        (dict(split='xset'), 'xsub, xview'),
        (dict(split='xview', benchmark='ntu120'), 'xsub, xset'),
        (dict(pad_actor='twin'), 'zero, copy'),
    ],
)
def test_unknown_choices_are_refused(tmp_path, asked, cause, read_ntu):
    with pytest.raises(MsagcnError, match=cause):
        read_ntu(tmp_path, **asked)


def test_the_authors_list_is_applied(tmp_path, read_ntu):
    for a in ('001', '002'):
        (tmp_path / f'{NAME[:-3]}{a}.skeleton').write_bytes(GOOD)
    (tmp_path / 'list.txt').write_text(
        f'Samples with missing skeletons:\n\n{NAME[:-3]}002\r\nS009C009P009R009A009.skeleton'
    )
    assert missing_names(tmp_path / 'list.txt') == {f'{NAME[:-3]}002', 'S009C009P009R009A009'}
    clips = read_ntu(tmp_path, missing=tmp_path / 'list.txt')
    assert clips.names == [NAME] and causes(clips) == [(f'{NAME[:-3]}002', 'on the list')]
    (tmp_path / 'empty.txt').write_text('nothing')
    for bad, cause in (('empty.txt', 'no clip names'), ('no.txt', 'cannot read')):
        with pytest.raises(MsagcnError, match=f'{bad}: {cause}'):
            read_ntu(tmp_path, missing=tmp_path / bad)


def test_ntu_60_takes_its_own_files_among_those_of_both_sets(tmp_path, read_ntu):
    for n in (NAME, 'S018C001P001R001A061', 'S017C001P040R001A060'):
        (tmp_path / f'{n}.skeleton').write_bytes(GOOD)
    # what an Apple leaves on other people's disks
    (tmp_path / '._hidden.skeleton').write_bytes(b'')
    clips = read_ntu(tmp_path)
    assert (
        clips.names == [NAME, 'S017C001P040R001A060']
        and not causes(clips)
        and len(read_ntu(tmp_path, benchmark='ntu120')) == 3
    )
    assert len(raw_files(tmp_path)) == 3


def test_from_the_archive_to_prepared_clips(tmp_path, capsys):
    "By the command: the raw archive in a folder becomes a data set that a network can train on."
    from msagcn.cli import main

    raw = need(SHARED / 'golden/ntu_mini/raw.zip', 'made-up NTU files')
    (tmp_path / 'raw').mkdir()
    (tmp_path / 'raw/s001_to_s017.zip').write_bytes(raw.read_bytes())
    assert (
        main(
            [
                'prepare',
                '-p',
                'benchmark',
                'ntu60_xsub',
                '-p',
                'source',
                str(tmp_path / 'raw'),
                '-p',
                'data_dir',
                str(tmp_path),
            ]
        )
        == 0
    )
    clips = load_clips(tmp_path / 'ntu60_xsub')
    assert (
        clips.feed == 'ctr_gcn'
        and clips.skeleton == 'ntu25'
        and {'train', 'test'} == set(clips.parts)
    )
    assert f'{clips.parts.count("train")} to train' in capsys.readouterr().out
