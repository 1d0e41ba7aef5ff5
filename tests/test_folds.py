"""Own data in one prepared set, everybody tested once: `msagcn crossval`, fold by fold."""

import csv
import json
import shutil

import numpy as np
import pytest
from conftest import pairs, places

from msagcn.cli import main
from msagcn.data.clips import load_clips
from msagcn.data.synthetic import generate_clip
from msagcn.experiments.folds import in_folds, read_folds

WHO = dict(anna=1, ben=2, carl=3)


@pytest.fixture(scope='module')
def own(tmp_path_factory):
    "Clips of three people, by name, all of them for training; prepared, and a short recipe."
    root = tmp_path_factory.mktemp('folds')
    rows = [('file', 'label', 'part', 'subject')]
    for who, subject in WHO.items():
        for action in ('throw', 'carry'):
            for view in (1, 2):
                name = f'{action}_{who}_{view}.npy'
                np.save(root / name, generate_clip(action, subject=subject, episode=1, view=view))
                rows.append((name, action, 'train', who))
    with open(root / 'clips.csv', 'w', newline='') as f:
        csv.writer(f).writerows(rows)
    (root / 'own.yaml').write_text(
        'joints: ucla20\nchannels: xyz\ntable: clips.csv\nfolds: subject\n'
    )
    (root / 'short.yaml').write_text(
        'recipe: short\nmodel: msg3d\nwidth: 6\nwindows: []\nframes: 8\nsteps: 2\n'
        'batch_size: 4\nval_subjects: []\nrefit: false\n'
    )
    told = pairs(benchmark='mine', source=root / 'own.yaml', data_dir=root / 'data')
    assert main(['prepare', *told]) == 0
    return root


def crossval(root, **more):
    told = dict(benchmark='mine', recipes=root / 'short.yaml', folds=0, seeds='1', processes=1)
    return main(['crossval', *pairs(**told | dict(streams='joint') | places(root) | more)])


@pytest.fixture(scope='module')
def tested(own):
    assert crossval(own) == 0
    return own


def test_each_person_is_a_fold_and_nobody_is_in_two_parts(tested):
    seen = []
    for k in (1, 2, 3):
        fold = load_clips(tested / f'data/mine_fold{k}')
        test = np.array(fold.parts) == 'test'
        assert len(set(fold.subjects[test])) == 1
        assert not set(fold.subjects[test]) & set(fold.subjects[~test])
        seen += [n for n, t in zip(fold.names, test) if t]
    assert sorted(seen) == sorted(load_clips(tested / 'data/mine').names)
    assert not (tested / 'data/mine_fold4').exists()


def test_a_row_over_all_folds(tested, capsys):
    table = read_folds(tested / 'reports', 'mine')
    assert table.equals(read_folds(tested / 'reports', 'mine_fold2'))  # in a fold's report, too
    assert not len(read_folds(tested / 'reports', 'others'))
    capsys.readouterr()
    assert crossval(tested) == 0  # all is there
    said = capsys.readouterr().out
    for k, who in enumerate(WHO, 1):
        assert f'fold {k} tests {who}\n' in said
    (row,) = in_folds(table).query("network == 'msg3d'").to_dict('records')
    records = [
        json.loads(
            (tested / f'reports/runs/msg3d-mine_fold{k}-short-joint-s1/metrics.json').read_text()
        )
        for k in (1, 2, 3)
    ]
    top1 = np.array([m['top1'] for m in records])
    mean = f'{top1.mean():.1f} ± {top1.std(ddof=1):.1f}'
    assert row['mean over 3 folds ± sd'] == mean and mean in said
    assert (row['people'], row['clips'], row['seeds']) == ('3', '12', '1')


def test_only_the_fold_that_is_missing_is_trained(tested):
    "A stopped call goes on: finished folds keep their files, and the table comes out the same."
    table = (tested / 'reports/mine.csv').read_text()
    kept = {p: p.stat().st_mtime_ns for p in (tested / 'runs').rglob('weights.safetensors')}
    gone = 'msg3d-mine_fold2-short-joint-s1'
    for place in (tested / 'runs' / gone, tested / 'reports/runs' / gone):
        shutil.rmtree(place)
    assert crossval(tested) == 0
    assert (tested / 'reports/mine.csv').read_text() == table
    changed = [p for p, when in kept.items() if p.stat().st_mtime_ns != when]
    assert [p.parent.name for p in changed] == [gone]


@pytest.mark.parametrize(
    'more, says',
    [
        (dict(folds=1), 'folds: 1, but mine has 3 people'),
        (dict(folds=4), 'folds: 4, but mine has 3 people'),
        (dict(recipes='costum'), 'did you mean custom'),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(own, capsys, more, says):
    capsys.readouterr()
    assert crossval(own, **more) == 2
    said = capsys.readouterr().err
    assert says in said and len(said.splitlines()) == 1, said


@pytest.mark.parametrize(
    'line, says',
    [
        ('folds: view\ntable: clips.csv', "folds: 'view' is not subject"),
        ('folds: subject', 'folds: subject wants a table'),
        ('table: clips.csv', 'clips.csv: no clips to test'),
        ('folds: subject\ntable: some.csv', 'some.csv: folds: subject, and nobody is named for'),
    ],
)
def test_folds_of_a_description(own, tmp_path, capsys, line, says):
    table = (own / 'clips.csv').read_text()
    (own / 'some.csv').write_text(table.replace(',ben', ','))
    (own / 'other.yaml').write_text(f'joints: ucla20\nchannels: xyz\n{line}\n')
    told = pairs(benchmark='other', source=own / 'other.yaml', data_dir=tmp_path)
    capsys.readouterr()
    assert main(['prepare', *told]) == 2
    assert says in capsys.readouterr().err
