"""The trial with five clips a class: what it draws, what it sums up, and that its table is whole."""

import csv

import numpy as np
import pytest
from conftest import ROOT, need
from finetune import NEW, SHOTS, WAYS, few, student, summary

from msagcn.data.clips import Clips


def made_up(n=40):
    "Clips of four classes, two of them the new ones, half of each for testing."
    rng = np.random.default_rng(0)
    return Clips(
        benchmark='made up',
        skeleton='ucla20',
        classes=['throw', *NEW, 'carry'],
        names=[f'c{i}' for i in range(n)],
        labels=np.arange(n) % 4,
        subjects=1 + np.arange(n) % 5,
        parts=['train' if i < 3 * n // 4 else 'test' for i in range(n)],
        hashes=[str(i) for i in range(n)],
        lengths=np.full(n, 3),
        frames=rng.normal(size=(3 * n, 1, 20, 3)),
    )


def test_five_clips_of_each_class_are_drawn_anew_for_each_seed():
    clips = made_up()
    drawn = [few(clips, seed) for seed in (1, 1, 2)]
    for some in drawn:
        part = np.array(some.parts)
        assert some.classes == list(NEW)
        assert np.bincount(some.labels[part == 'train']).tolist() == [SHOTS, SHOTS]
        tested = [n for n, p in zip(clips.names, clips.parts) if p == 'test']
        new = [n for n in tested if clips.labels[clips.names.index(n)] in (1, 2)]
        assert [n for n, p in zip(some.names, part) if p == 'test'] == new
        assert all((some[n] == clips[n]).all() for n in some.names)
    assert drawn[0].names == drawn[1].names != drawn[2].names


def test_the_interval_is_student_s():
    "Five differences by hand: 2.776 standard errors."
    x = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    assert student(x) == pytest.approx(
        (3 - 2.776 * x.std(ddof=1) / 5**0.5, 3 + 2.776 * 0.70711), abs=1e-3
    )


def test_gains_are_paired_by_seed():
    same = dict(n_train=10, n_test=4, base_top1=90.0, base_classes=8, processor='x', torch='y')
    found = dict(scratch=(50.0, 75.0), start=(75.0, 100.0), classifier=(50.0, 50.0))
    rows = [
        dict(way=way, seed=seed, top1=found[way][seed - 1]) | same
        for seed in (1, 2)
        for way in WAYS
    ]
    right = {way: [np.arange(4) < top1 / 25 for top1 in found[way]] for way in WAYS}
    scratch, start, classifier = summary(rows, right, np.array([1, 1, 2, 2]))
    assert 'gain' not in scratch and scratch['top1'] == 62.5
    assert start['gain'] == start['gain_low'] == start['gain_high'] == 25
    assert classifier['gain'] == -12.5 and classifier['gain_low'] < -12.5
    assert scratch['low'] < 62.5 < scratch['high']


def test_the_recorded_table_is_whole():
    "Five seeds of each way on the same clips, and the rows over all seeds are what these give."
    file = need(ROOT / 'reports/finetune.csv', 'the table of the trial')
    rows = list(csv.DictReader(file.read_text().splitlines()))
    single = [r for r in rows if ' ' not in r['seed']]
    assert {(r['way'], r['seed']) for r in single} == {(w, s) for w in WAYS for s in '12345'}
    assert {(r['n_train'], r['base_classes']) for r in rows} == {('10', '8')}
    assert len({r['n_test'] for r in rows}) == 1
    by_way = {w: np.array([float(r['top1']) for r in single if r['way'] == w]) for w in WAYS}
    for r in rows:
        if r in single:
            continue
        top1 = by_way[r['way']]
        assert float(r['top1']) == pytest.approx(top1.mean(), abs=0.006)
        assert float(r['sd']) == pytest.approx(top1.std(ddof=1), abs=0.006)
        assert float(r['low']) <= float(r['top1']) <= float(r['high'])
        if r['way'] != 'scratch':
            gain = top1 - by_way['scratch']
            found = [float(r[k]) for k in ('gain', 'gain_low', 'gain_high')]
            assert found == pytest.approx([gain.mean(), *student(gain)], abs=0.01)
