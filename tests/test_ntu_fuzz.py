"""Damaged raw NTU files and archives: cut, bent, swapped, repeated.

Whatever the bytes, the result comes soon and is a valid clip or a line that names the file. A clip is
what the literal preparation makes of the same words.

By default this takes some 20 seconds; FUZZ_SECONDS=600 continues for ten minutes, FUZZ_SEED=N draws
other examples.
"""

import io
import os
import re
import shutil
import signal
import time
import zipfile
from collections import Counter
from contextlib import contextmanager

import numpy as np
import oracle_ntu
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from msagcn.core import MsagcnError
from msagcn.data.clips import load_clips
from msagcn.data.ntu import prepare_ntu
from msagcn.data.ntu_actors import clip_of, denoise
from msagcn.data.ntu_text import read_skeleton
from msagcn.data.raw_files import BadFile
from msagcn.data.synthetic_ntu import raw_clip

SECONDS = float(os.environ.get('FUZZ_SECONDS', 20))
SEED = 1000 * int(os.environ.get('FUZZ_SEED', 0))
LIMIT = 10  # seconds of CPU time that one example may take
pytestmark = pytest.mark.skipif(
    not hasattr(signal, 'setitimer'), reason='the time limit of an example is a Unix signal'
)
BASES = [
    raw_clip(f'S001C00{1 + i % 3}P001R001A{a:03}', n, odd, i)
    for i, (a, n, odd) in enumerate(
        [
            (1, 2, False),
            (52, 3, False),
            (7, 6, True),
            (55, 14, True),
            (110, 20, True),
            (30, 16, False),
        ]
    )
]
EVIL = [
    b'nan',
    b'inf',
    b'-inf',
    b'NaN',
    b'1e400',
    b'-1e999',
    b'1e6',
    b'1_0',
    b'_',
    b'0x10',
    b'1.2.3',
    b'--1',
    b'+-1',
    b'1e',
    b'.',
    b'-',
    b'',
    b'0',
    b'1',
    b'2',
    b'24',
    b'25',
    b'26',
    b'-1',
    b'-25',
    b'1.0',
    b'2e0',
    b'99999999999999999999',
    b'4294967296',
    b'9' * 5000,
    b'72057594037931768',
    b'0.1' + b'0' * 400,
    b'\x00',
    b'\xff\xfe',
    '１'.encode(),
    '²'.encode(),
    '٣'.encode(),
    '\u00a0'.encode(),
    b'\x0b',
    b'\x0c',
    b'\x1c',
    b'\r',
    b'\n',
    b'\r\n',
    b' ',
    b'\t',
    b'<!DOCTYPE html>',
    b'PK\x03\x04',
    b'1,5',
    b'True',
    b'None',
    b'1j',
    b'1e-400',
    b'-0',
    b'1e5',
    b'123456789012345678',
    b'.5',
    b'5.',
    b'00.10',
]


class Hang(BaseException):
    "An example took longer than allowed."


@contextmanager
def limited(seconds):
    def stop(*_):
        raise Hang(f'longer than {seconds} s')

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


# what may happen to a file; a and b say where, from 0 to 1


def at(n, a):
    return min(int(a * n), n - 1) if n else 0


def lines_of(data):
    return re.split(rb'\r?\n', data)


def tokens_of(data):
    "Words and what is between them, alternating."
    return re.split(rb'(\s+)', data)


def cut(d, a, b, evil):
    return d[: at(len(d) + 1, a)]


def cut_front(d, a, b, evil):
    return d[at(len(d) + 1, a) :]


def flip(d, a, b, evil):
    return d[: (i := at(len(d), a))] + bytes([d[i] ^ 1 << at(8, b)]) + d[i + 1 :] if d else d


def insert(d, a, b, evil):
    return d[: (i := at(len(d) + 1, a))] + evil + d[i:]


def delete(d, a, b, evil):
    return d[: (i := at(len(d) + 1, a))] + d[i + 1 + at(40, b**3) :]


def overwrite(d, a, b, evil):
    return d[: (i := at(len(d) + 1, a))] + evil + d[i + len(evil) :]


def replace_token(d, a, b, evil):
    t = tokens_of(d)
    t[2 * at((len(t) + 1) // 2, a)] = evil
    return b''.join(t)


def swap_tokens(d, a, b, evil):
    t = tokens_of(d)
    i, j = (2 * at((len(t) + 1) // 2, k) for k in (a, b))
    t[i], t[j] = t[j], t[i]
    return b''.join(t)


def repeat_line(d, a, b, evil):
    l = lines_of(d)
    return b'\r\n'.join(
        l[: (i := at(len(l), a)) + 1] + l[i : i + 1] * (1 + at(30, b**3)) + l[i + 1 :]
    )


def remove_lines(d, a, b, evil):
    l = lines_of(d)
    return b'\r\n'.join(l[: (i := at(len(l), a))] + l[i + 1 + at(60, b**3) :])


def swap_lines(d, a, b, evil):
    l = lines_of(d)
    i, j = at(len(l), a), at(len(l), b)
    l[i], l[j] = l[j], l[i]
    return b'\r\n'.join(l)


def change_count(d, a, b, evil):
    "Change one of the lines that give a count."
    l = lines_of(d)
    counts = [i for i, x in enumerate(l) if b' ' not in x] or [0]
    l[counts[at(len(counts), a)]] = evil
    return b'\r\n'.join(l)


def same_identity(d, a, b, evil):
    l = lines_of(d)
    bodies = [i for i, x in enumerate(l) if x.count(b' ') == 9]
    if len(bodies) > 1:
        i, j = bodies[at(len(bodies), a)], bodies[at(len(bodies), b)]
        l[i] = l[j].split(b' ')[0] + b' ' + l[i].split(b' ', 1)[1]
    return b'\r\n'.join(l)


def other_ends(d, a, b, evil):
    return d.replace(b'\r\n', b'\n' if a < 0.5 else b' ' if b < 0.5 else b'\r')


def unchanged(d, a, b, evil):
    return d


BYTES = [cut, cut_front, flip, insert, delete, overwrite]
TEXT = [
    replace_token,
    swap_tokens,
    repeat_line,
    remove_lines,
    swap_lines,
    change_count,
    same_identity,
    other_ends,
    unchanged,
]
BASE = st.integers(0, len(BASES) - 1)
SHARE = st.floats(0, 1, exclude_max=True)


def changes(kinds, most=4):
    return st.lists(
        st.tuples(st.sampled_from(kinds), SHARE, SHARE, st.sampled_from(EVIL)), max_size=most
    )


def changed(data, many):
    for change, a, b, evil in many:
        data = change(data, a, b, evil)
    return data


# what must hold


def canonical(data):
    """The same words, laid out in lines by the counts.

    Words that the preparation ignores become 0.
    """
    words, out, at = data.split(), [], 1
    out.append(words[0])
    for _ in range(int(words[0])):
        out.append(words[at])
        bodies = int(words[at])
        at += 1
        for _ in range(bodies):
            out += [words[at] + b' 0' * 9, b'25']
            at += 11
            for _ in range(25):
                out.append(b' '.join(words[at : at + 3]) + b' 0' * 9)
                at += 12
    return b'\n'.join(out) + b'\n'


def check(data):
    "The file must give the oracle's clip, or an error of one line; returns which."
    try:
        x = clip_of(denoise(*read_skeleton(data, 'file'), 'file'), 'zero', 'file')
    except BadFile as e:
        assert str(e).startswith('file: ') and '\n' not in str(e) and len(str(e)) < 300
        x, said = None, e.kind
    valid = oracle_ntu.well_formed(data)
    if x is None and not valid:
        return said
    try:
        wanted = oracle_ntu.pipeline(data if valid else canonical(data))
    except (ValueError, IndexError, StopIteration):
        wanted = None
    if x is None:
        assert wanted is None
        return f'{said} (well-formed, and the oracle refuses it too)'
    assert (
        x.dtype == np.float32
        and x.ndim == 4
        and x.shape[1:] == (2, 25, 3)
        and len(x)
        and np.isfinite(x).all()
    )
    assert wanted is not None and np.array_equal(x, wanted)
    return "a clip, the oracle's" + ('' if valid else ', of words laid out otherwise')


def for_some_time(seconds, test, *strategies):
    """Run a test on drawn examples, repeatedly with other seeds.

    Returns the seconds of all, and those of the longest example.
    """
    start, k, longest = time.monotonic(), 0, 0
    many = settings(
        max_examples=300, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )

    def one(drawn):
        nonlocal longest
        begun = time.process_time()
        with limited(LIMIT):
            test(*drawn)
        longest = max(longest, time.process_time() - begun)

    while k == 0 or time.monotonic() - start < seconds:
        seed(SEED + k)(many(given(st.tuples(*strategies))(one)))()
        k += 1
    return time.monotonic() - start, longest


def report(what, seconds, outcomes, capsys):
    with capsys.disabled():
        print(
            f'\n{what}: {outcomes.total()} examples in {seconds[0]:.0f} s, '
            f'{len(outcomes)} outcomes, no crash, the longest took {seconds[1]:.2f} s'
        )
        for o, n in outcomes.most_common():
            print(f'{n:9}  {o}')


def test_files(capsys):
    outcomes = Counter()

    def fuzz(base, many):
        outcomes[check(changed(BASES[base], many))] += 1

    report(
        'files',
        for_some_time(0.7 * SECONDS, fuzz, BASE, changes(BYTES + TEXT * 2)),
        outcomes,
        capsys,
    )
    clips = sum(n for o, n in outcomes.items() if o.startswith('a clip'))
    # else it would not test much
    assert 0.02 < clips / outcomes.total() < 0.9 and len(outcomes) >= 9


def test_cut_at_any_byte():
    """Each of the ways to lose the end of a file.

    A last word that is cut short is not noticed, as it is none of the coordinates.
    """
    data = BASES[0]
    whole = read_skeleton(data, 'file')[0][0].joints
    for n in range(len(data)):
        try:
            x = read_skeleton(data[:n], 'file')[0][0].joints
        except BadFile:
            continue
        assert len(data) - n <= 2 and np.array_equal(x, whole), n


def archive_of(files):
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, 'w', zipfile.ZIP_DEFLATED) as z:
        for i, (name, data) in enumerate(files):
            z.writestr(f'nturgb+d_skeletons/{i}/{name}.skeleton', data)
    return memory.getvalue()


def test_a_repaired_archive_gives_the_clip_back(tmp_path):
    "Damage that the archive's directory does not show: after another download nothing of it is left."
    good = archive_of(zip(['S001C001P001R001A001', 'S001C001P001R001A002'], [BASES[0], BASES[5]]))
    where = good.index(b'.skeleton') + 200
    for data, clips in ((good[:where] + bytes(50) + good[where + 50 :], 1), (good, 2)):
        (tmp_path / 'a.zip').write_bytes(data)
        assert len(load_clips(prepare_ntu(tmp_path / 'a.zip', tmp_path / 'out').parent)) == clips


def test_archives(tmp_path, capsys):
    "One bad file never loses the others, and a bad archive is a line."
    names, good = (
        [f'S001C001P00{p}R001A00{a}' for p, a in ((1, 1), (2, 3), (3, 7))],
        (BASES[0], BASES[5]),
    )
    other = [
        'S001C001P001R001A001',
        'S001C001P003R001A060',
        'S018C001P008R001A060',
        'S099C001P001R001A001',
        '../../S001C001P004R001A001',
        'x',
    ]
    wanted = [oracle_ntu.pipeline(d) for d in good]
    outcomes = Counter()

    def fuzz(base, many, name, zip_changes):
        data = archive_of([*zip(names, good), (name, changed(BASES[base], many))])
        source, out = tmp_path / 'a.zip', tmp_path / 'out'
        source.write_bytes(changed(data, zip_changes))
        whole = source.read_bytes() == data
        shutil.rmtree(out, ignore_errors=True)
        try:
            clips = load_clips(prepare_ntu(source, out, processes=1).parent)
        except MsagcnError as e:
            assert not whole and 'a.zip' in str(e) and '\n' not in str(e)
            outcomes['archive refused'] += 1
            return
        assert set(clips.names) <= {*names, *other, 'S001C001P004R001A001'} or not whole
        assert (
            clips.frames.shape[1:] == (2, 25, 3)
            and np.isfinite(clips.frames).all()
            and len(clips.frames) == clips.lengths.sum()
        )
        refused = len(clips.notes.get('refused', []))
        if whole:
            assert all(np.array_equal(clips[n], x) for n, x in zip(names, wanted))
            assert len(clips) == 3 or refused or name[:4] == 'S018'
        outcomes[
            f'{"whole" if whole else "bent"} archive: {min(len(clips), 3)} clips, {min(refused, 3)} refused'
        ] += 1

    strategies = BASE, changes(TEXT, 2), st.sampled_from(names[2:] + other), changes(BYTES, 2)
    report('archives', for_some_time(0.3 * SECONDS, fuzz, *strategies), outcomes, capsys)
