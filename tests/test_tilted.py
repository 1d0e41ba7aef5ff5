"The trial of tilted clips: what it does to coordinates, and its table in reports/."

import csv

import numpy as np
import pytest
from conftest import ROOT, need
from tilted import DEGREES, tilted


def test_a_tilted_clip_is_rotated_about_the_images_horizontal():
    x = np.random.default_rng(1).normal(size=(5, 1, 20, 3))
    assert np.array_equal(tilted(x, 0), x)
    y = tilted(x, 20)
    assert np.allclose(np.linalg.norm(y, axis=-1), np.linalg.norm(x, axis=-1))
    assert np.array_equal(y[..., 0], x[..., 0]) and abs(y - x).max() > 0.1
    assert np.allclose(tilted(y, -20), x)
    assert np.allclose(tilted(np.array([0.0, 1, 0]), 90), [0, 0, 1])


def test_the_table_begins_with_what_the_runs_reached():
    "Untilted, the held-out accuracy that a run recorded; every run at every angle."
    rows = list(csv.DictReader(need(ROOT / 'reports/tilted.csv', 'the table').open(newline='')))
    reached = {
        r['run_id']: float(r['val_top1'])
        for r in csv.DictReader((ROOT / 'reports/selection.csv').open(newline=''))
    }
    assert len(rows) == len(DEGREES) * len({r['run_id'] for r in rows}) > 0
    for run in {r['run_id'] for r in rows}:
        own = [r for r in rows if r['run_id'] == run]
        level = next(float(r['top1']) for r in own if r['degrees'] == '0')
        assert level == pytest.approx(reached[run], abs=0.01)
        for r in own:
            change = 100 * (int(r['won']) - int(r['lost'])) / int(r['n'])
            assert float(r['top1']) == pytest.approx(level + change, abs=0.011), r
