"""Own recordings with a label for each frame, cut into windows; people keep their names."""

import json
import random

import numpy as np
import pytest
from conftest import pairs, places

from msagcn.cli import main
from msagcn.core import MsagcnError, read_json
from msagcn.data.clips import load_clips, shared_frames, subject_names
from msagcn.data.labelled import read_labels
from msagcn.data.synthetic import generate_clip
from msagcn.experiments.parameters import PredictParameters
from msagcn.experiments.windows import Windows
from msagcn.report.words import subject_table
from msagcn.training.evaluate import load_scores

ACTIONS = 'throw', 'carry', 'sit down'
WHO = dict(anna='train', ben='train', carl='test')
RECIPE = dict(model='msg3d', width=6, windows='[]', frames=8, steps=2, batch_size=4, refit='true')


def write_recordings(root, window, lines=''):
    "A recording of each person, with spans, labels per frame, or labels in the recording itself."
    root.mkdir(exist_ok=True)
    frames = {}
    for n, who in enumerate(WHO, 1):
        parts = [generate_clip(a, subject=n, episode=1, view=1) for a in ACTIONS]
        frames[who] = np.concatenate([x[np.arange(30) % len(x)] for x in parts])
    np.save(root / 'anna.npy', frames['anna'])
    spans = [[30 * i, 30 * i + 28, a] for i, a in enumerate(ACTIONS)]  # two frames without a label
    text = '\n'.join('{},{},{}'.format(*s) for s in spans[::-1])
    (root / 'anna_spans.csv').write_text(f'start,end,label\n{text}\n')
    np.save(root / 'ben.npy', frames['ben'])
    (root / 'ben.json').write_text(json.dumps([a for a in ACTIONS for _ in range(30)]))
    columns = [f'{c}{v}' for v in range(20) for c in 'xyz'] + ['phase']
    rows = [','.join(map(str, f.ravel())) for f in frames['carl']]
    rows = [f'{r},{a}' for r, a in zip(rows, (a for a in ACTIONS for _ in range(30)))]
    (root / 'carl.csv').write_text('\n'.join([','.join(columns), *rows]))
    files = 'anna.npy,anna_spans.csv', 'ben.npy,ben.json', 'carl.csv,carl.csv'
    table = [f'{f},{part},{who}' for f, (who, part) in zip(files, WHO.items())]
    (root / 'table.csv').write_text('\n'.join(['file,labels,part,subject', *table]))
    (root / 'own.yaml').write_text(
        f'joints: ucla20\nchannels: xyz\ntable: table.csv\nwindow: {window}\n{lines}'
    )
    return frames


def prepare(root):
    told = pairs(benchmark='mine', source=root / 'own.yaml', data_dir=root / 'data')
    return main(['prepare', *told])


@pytest.fixture(scope='module')
def cut(tmp_path_factory):
    root = tmp_path_factory.mktemp('cut')
    frames = write_recordings(root, '{length: 20, step: 10, mixed: majority, column: phase}')
    assert prepare(root) == 0
    return root, frames


def test_windows_are_those_frames_with_the_label_of_most(cut, capsys):
    root, frames = cut
    clips = load_clips(root / 'data/mine')
    starts = [0, 10, 30, 40, 60, 70]  # at 20 and 50 two labels have ten frames each
    assert clips.names == [f'{who}_{t:06}' for who in WHO for t in starts]
    assert clips.parts == ['train'] * 12 + ['test'] * 6
    labels = [ACTIONS[t // 30] for t in starts] * 3
    assert [clips.classes[k] for k in clips.labels] == labels
    for name, x in zip(clips.names, map(clips.__getitem__, clips.names)):
        who, first = name.split('_')
        assert np.allclose(x[:, 0], frames[who][int(first) : int(first) + 20], atol=1e-6)
    assert subject_names(clips) == {1: 'anna', 2: 'ben', 3: 'carl'}
    assert clips.notes['windows'] == dict(
        length=20, step=10, mixed='majority', column='phase', recordings=3, left_out=6
    )


def test_nothing_is_in_two_parts(cut, capsys):
    root, _ = cut
    clips = load_clips(root / 'data/mine')
    recordings = {
        p: {n.split('_')[0] for n, q in zip(clips.names, clips.parts) if p == q}
        for p in clips.parts
    }
    assert recordings == dict(train={'anna', 'ben'}, test={'carl'})
    assert shared_frames(clips) == []
    assert prepare(root) == 0
    said = capsys.readouterr().out
    assert 'subjects to hold out: anna, ben\n' in said
    assert (
        '3 recordings are cut into windows of 20 frames, one every 10; left out are 6 windows'
        in said
    )


def test_windows_of_several_labels_are_left_out(tmp_path):
    write_recordings(tmp_path, '{length: 20, step: 5, column: phase}')
    assert prepare(tmp_path) == 0
    clips = load_clips(tmp_path / 'data/mine')
    anna = [int(n[-6:]) for n in clips.names if n.startswith('anna')]
    assert anna == [0, 5, 30, 35, 60, 65]  # of spans of 28 frames
    assert [int(n[-6:]) for n in clips.names if n.startswith('ben')] == sorted([*anna, 10, 40, 70])


def weights_of(root):
    return root / 'runs/msg3d-mine-short-joint-s1/weights.safetensors'


def test_people_are_held_out_and_named(cut, capsys):
    root, _ = cut
    told = pairs(benchmark='mine', recipe='short', **RECIPE, **places(root))
    assert main(['train', '--no-notebook', *told, '-p', 'val_subjects', 'anna']) == 0
    folder = root / 'reports/runs/msg3d-mine-short-joint-s1'
    assert read_json(folder / 'metrics.json')['val_subjects'] == ['anna']
    scores = load_scores(folder / 'test_scores.npz')
    (note,) = map(read_json, (root / 'reports/data').glob('mine-*.json'))
    table = subject_table(scores, scores.subjects, note['subject_names'])
    assert table.person.tolist() == ['carl'] and table.clips.tolist() == [6]
    assert (
        main(['test', *pairs(weights=weights_of(root), benchmark='mine', data_dir=root / 'data')])
        == 0
    )
    assert (
        main(['train', '--no-notebook', *told, '-p', 'val_subjects', 'dora', '-p', 'seed', '2'])
        == 2
    )
    err = capsys.readouterr().err
    assert (
        'val_subjects: mine: there are no training clips of subject dora; there are anna, ben'
        in err
    )


def test_answers_for_windows_are_those_of_their_clips(cut):
    "What `predict --windows` says of a recording is what the network says of the prepared windows."
    root, _ = cut
    windows = Windows(PredictParameters(weights=str(weights_of(root)), windows=20 / 30, step=1 / 3))
    clips = load_clips(root / 'data/mine')
    answers = {w.first: w.probabilities for w in windows(root / 'anna.npy')}
    for first in (0, 10, 30):
        prepared = windows.answer.probabilities('clip', clips[f'anna_{first:06}']).numpy()
        assert np.array_equal(prepared, answers[first])


WRONG = {
    'overlap': (
        'start,end,label\n0,30,throw\n29,60,carry',
        'line 3: the span from 29 to 60 overlaps that of line 2',
    ),
    'past the end': (
        'start,end,label\n0,91,throw',
        'line 2: the span from 0 to 91 ends after the 90 frames of',
    ),
    'unknown': (
        'start,end,label\n0,30,thorw',
        "class 'thorw' is not one of throw, carry, sit down",
    ),
    'too few': ('phase\nthrow', '1 labels for the 90 frames of'),
    'empty': ('', 'empty file'),
    'no column': ('frame,name\n0,throw', "no column 'phase'"),
}


@pytest.mark.parametrize('what', WRONG)
def test_labels_that_are_wrong_are_one_line(tmp_path, capsys, what):
    text, said = WRONG[what]
    classes = 'classes: [throw, carry, sit down]\n'
    write_recordings(tmp_path, '{length: 20, step: 10, column: phase}', classes)
    (tmp_path / 'anna_spans.csv').write_text(text)
    assert prepare(tmp_path) == 2
    err = capsys.readouterr().err
    assert f'anna_spans.csv: {said}' in err and err.count('\n') == 1
    assert not (tmp_path / 'data/mine').exists()


def test_a_recording_that_is_too_short_and_what_the_table_lacks(tmp_path, capsys):
    write_recordings(tmp_path, '{length: 91, step: 10, column: phase}')
    assert prepare(tmp_path) == 2
    err = capsys.readouterr().err
    assert 'anna.npy: 90 frames, fewer than the 91 of a window; 2 more of 3' in err
    table = (tmp_path / 'table.csv').read_text()
    (tmp_path / 'table.csv').write_text(table.replace('labels', 'label'))
    assert prepare(tmp_path) == 2
    assert (
        'columns are file, label, part, subject, not file, labels, part' in capsys.readouterr().err
    )
    (tmp_path / 'table.csv').write_text(table.replace('anna_spans', 'nowhere'))
    assert prepare(tmp_path) == 2
    assert 'nowhere.csv: no such file of labels' in capsys.readouterr().err


def test_a_recording_that_is_wrong_can_be_skipped(tmp_path):
    write_recordings(tmp_path, '{length: 20, step: 10, column: phase}', 'skip: true\n')
    (tmp_path / 'anna_spans.csv').write_text('start,end,label\n5,3,throw')
    assert prepare(tmp_path) == 0
    clips = load_clips(tmp_path / 'data/mine')
    assert {n.split('_')[0] for n in clips.names} == {'ben', 'carl'}
    assert [r['name'] for r in clips.notes['refused']] == ['anna']
    assert subject_names(clips) == {1: 'ben', 2: 'carl'}


@pytest.mark.parametrize(
    'name, text',
    [
        ('a.csv', 'start,end,label\n0,12,sit\n12,20,wave\n25,30,sit\n'),
        ('b.csv', 'x,label\n' + '1.5,sit\n' * 15 + '2.5,wave\n' * 15),
        ('a.json', '[[0, 12, "sit"], [12, 20, "wave"], [25, 30, 4]]'),
        ('b.json', json.dumps(['sit'] * 20 + [None, 3] * 5)),
    ],
)
def test_files_of_labels_that_are_spoiled_are_one_line(tmp_path, name, text):
    "Each is read, as a label or none for each frame, or refused by name."
    g, file, refused = random.Random(0), tmp_path / name, 0
    pieces = ['', ',', '\n', '"', '[', ']', '{', '0', '99', '-', 'null', 'é', '\0', '1e9', '\r']
    for _ in range(250):
        letters = list(text)
        for _ in range(g.randint(1, 3)):
            i = g.randrange(len(letters))
            letters[i : i + g.choice([0, 1, 1, 8])] = g.choice(pieces)
        file.write_bytes(''.join(letters).encode('utf-8' if g.random() < 0.9 else 'utf-16'))
        try:
            found = read_labels(file, 30, 'long.npy')
        except MsagcnError as e:
            assert str(e).startswith(f'{file}: ') and '\n' not in str(e)
            refused += 1
        else:
            assert len(found) == 30 and all(isinstance(label, str) for label in found)
    assert 50 < refused < 250
