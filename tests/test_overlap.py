"""Test clips that share frames with training clips are not clean; shared people are reported.

Compared with a slow literal form.
"""

import json

import numpy as np
import pytest
from conftest import SHARED, TINY, need, pairs, places

from msagcn.cli import main
from msagcn.core import content_hash
from msagcn.data.clips import Clips, leaked, load_clips, people, shared_frames, split
from msagcn.data.overlap import frame_prints, overlaps


def of(clips, parts, subjects=None, channels='xyz'):
    n = len(clips)
    return Clips(
        benchmark='made',
        skeleton='ucla20',
        classes=['a', 'b'],
        names=[f'c{i:03}' for i in range(n)],
        labels=np.arange(n) % 2,
        subjects=np.array(subjects or [0] * n),
        parts=list(parts),
        hashes=[content_hash(c) for c in clips],
        lengths=np.array(list(map(len, clips))),
        frames=np.concatenate(clips),
        channels=channels,
    )


def literal(clips, tested):
    "The overlaps, frame by frame with Python's own sets."

    def poses(c):
        out = []
        for f in c:
            bodies = tuple(sorted(b.tobytes() for b in f + 0.0 if b.any()))
            if bodies and (not out or out[-1] != bodies):
                out.append(bodies)
        return out

    every = [poses(c) for c in clips]
    train = [set(p) for p, t in zip(every, tested) if not t]
    runs = {tuple(p[i : i + 3]) for p, t in zip(every, tested) if not t for i in range(len(p) - 2)}
    found = []
    for i, (p, t) in enumerate(zip(every, tested)):
        if not t:
            continue
        shared = sum(any(q in s for s in train) for q in p)
        if (
            any(tuple(p[k : k + 3]) in runs for k in range(len(p) - 2))
            or shared >= 3
            and 2 * shared >= len(p)
        ):
            found.append((i, shared))
    return found


@pytest.mark.parametrize('seed', range(30))
@pytest.mark.parametrize('kind', ['f4', 'f2', 'i8'])
def test_overlaps_are_those_of_a_literal_comparison(seed, kind, monkeypatch):
    """Windows of a few recordings with few different coordinates.

    With held and empty frames, second bodies, and reversed.
    """
    monkeypatch.setattr('msagcn.data.overlap.BLOCK', 50)
    rng = np.random.default_rng(seed)
    recordings = rng.integers(-2, 3, (3, 60, 2, 2, 3)).astype(kind)
    clips = []
    for _ in range(24):
        x, t, n = recordings[rng.integers(3)], rng.integers(50), rng.integers(1, 12)
        c = x[t : t + n]
        if rng.random() < 0.2:
            c = c[::-1]
        if rng.random() < 0.3:
            c = np.repeat(c, rng.integers(1, 4, len(c)), 0)
        if rng.random() < 0.3:
            c = np.where(rng.random((len(c), 1, 1, 1)) < 0.3, 0, c).astype(kind)
        if rng.random() < 0.3:
            c = c[:, ::-1]
        clips.append(c)
    tested = rng.random(24) < 0.5
    prints = [frame_prints(c) for c in clips]
    got = overlaps(
        lambda a, b: np.concatenate(prints[a:b]), np.array(list(map(len, clips))), tested
    )
    assert [(i, n) for i, _, n in got] == literal(clips, tested)
    assert all(tested[i] and not tested[k] for i, k, _ in got)


def test_nw_ucla_has_no_shared_frames_besides_its_equal_clips():
    from msagcn.data.nw_ucla import read_nw_ucla

    clips = read_nw_ucla(need(SHARED / 'data/nw_ucla/all_sqe.zip', 'raw NW-UCLA'))
    assert (
        shared_frames(clips) == []
        and len(leaked(clips)) == 95
        and len(split(clips)['clean']) == 369
    )
    assert people(clips)['both'] == list(range(1, 11))


def test_the_embedded_set_has_no_shared_frames(embedded):
    clips = load_clips(embedded / 'embedded')
    assert (
        shared_frames(clips) == []
        and leaked(clips) == json.loads((embedded / 'embedded/manifest.json').read_text())['leaked']
    )


def write_windows(folder, channels, step, length=24, **lines):
    "A recording of each class, cut into windows; every second one is for testing."
    rng = np.random.default_rng(0)
    folder.mkdir()
    C = len(channels)
    about = (
        dict(
            joints='[hip, head, hand]',
            parents='[hip, hip, hip]',
            channels=channels,
            table='clips.csv',
        )
        | lines
    )
    (folder / 'd.yaml').write_text(''.join(f'{k}: {v}\n' for k, v in about.items()))
    rows = ['file,label,part,subject']
    for k, c in enumerate('ab'):
        x = 50 + 400 * rng.random((1, 3, C)) + rng.normal(size=(200, 3, C)).cumsum(0)
        if channels == 'xys':
            x[..., 2] = rng.random(x.shape[:-1])
        for n, t in enumerate(range(0, 200 - length, step)):
            np.save(folder / f'{c}{t:03}.npy', x[t : t + length])
            rows.append(f'{c}{t:03}.npy,{c},{"test" if n % 2 else "train"},{k + 1}')
    (folder / 'clips.csv').write_text('\n'.join(rows) + '\n')
    return folder / 'd.yaml'


@pytest.mark.parametrize(
    'channels, image',
    [('xyz', None), ('xy', '[640, 480]'), ('xys', '[640, 480]'), ('xy', None), ('xys', None)],
)
def test_windows_of_own_clips(tmp_path, capsys, channels, image):
    "Also where each clip is scaled by its own box, after which no coordinate is the same."
    source = write_windows(tmp_path / 'win', channels, 12, **(dict(image=image) if image else {}))
    assert (
        main(['prepare', *pairs(benchmark='win', source=source, data_dir=tmp_path / 'data')]) == 0
    )
    out, clips = capsys.readouterr().out, load_clips(tmp_path / 'data/win')
    tested = clips.parts.count('test')
    assert (
        f'{tested} of {tested} test clips share frames with training clips' in out
        and '2 of the 2 people' in out
    )
    assert len(split(clips)['clean']) == 0 and len(leaked(clips)) == tested


def test_windows_that_touch_only_are_clean(tmp_path, capsys):
    source = write_windows(tmp_path / 'win', 'xyz', 24)
    assert (
        main(['prepare', *pairs(benchmark='win', source=source, data_dir=tmp_path / 'data')]) == 0
    )
    assert 'share frames' not in capsys.readouterr().out and not leaked(
        load_clips(tmp_path / 'data/win')
    )


def test_from_windows_to_a_report(tmp_path):
    """The data note, the metrics and the report name what is shared, and by whom.

    And they give the accuracy person by person.
    """
    source = write_windows(tmp_path / 'win', 'xyz', 12)
    p = places(tmp_path)
    assert main(['prepare', *pairs(benchmark='win', source=source, data_dir=p['data_dir'])]) == 0
    run = pairs(benchmark='win', model='msg3d', **p, recipe='tiny', stream='joint') + pairs(
        **TINY | dict(width=6)
    )
    assert main(['train', '--no-notebook', *run]) == 0
    note = json.loads(next((tmp_path / 'reports/data').glob('win-*.json')).read_text())
    assert len(note['shared_frames']) == len(note['leaked']) > 0 and note['people'] == dict(
        train=2, test=2, both=2
    )
    metrics = json.loads(next((tmp_path / 'reports/runs').glob('*/metrics.json')).read_text())
    assert (
        metrics['n_clean'] == 0
        and metrics['people'] == 2
        and metrics['people_low'] <= metrics['top1'] <= metrics['people_high']
    )
    assert 0 <= metrics['mean_class'] <= 100
    from msagcn.report.words import accuracy_words, leak_words, subject_table
    from msagcn.training.evaluate import load_scores

    s = load_scores(next((tmp_path / 'reports/runs').glob('*/test_scores.npz')))
    assert set(s.subjects) == {1, 2} and subject_table(s, s.subjects).clips.sum() == len(s.names)
    assert 'share frames with training clips' in leak_words(
        note, s
    ) and '2 of the 2 people' in accuracy_words(note, s, s.subjects)
    import warnings

    from msagcn.report.tables import result_table

    with warnings.catch_warnings():
        warnings.simplefilter('error')
        row = result_table(p['reports_dir'], ['win']).iloc[0]
    assert (row['clean'], row['95 % of clean']) == ('–', '–') and row['all'] != '–'
