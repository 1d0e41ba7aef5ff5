"""What `predict --follow` takes: the script that measures it, its table, and what the site says of it."""

import csv
import sys

import pytest
from conftest import ROOT
from real_time import STEP, WINDOW, measured

sys.path.insert(0, str(ROOT / 'docs'))


@pytest.mark.parametrize(
    'name, compiled', [('MSA-GCN, small', True), ('MS-G3D, small', True), ('MS-G3D, small', False)]
)
def test_frames_are_counted_and_delays_are_of_windows(tmp_path, name, compiled):
    row = measured(tmp_path, name, compiled, threads=1, people=2, seconds=3)
    assert row['windows'] == 1 + (3 - WINDOW) / STEP
    assert row['people'] == 2 and row['by'] == ('quick' if compiled else 'PyTorch')
    median, late = float(row['delay_ms_median']), float(row['delay_ms_p95'])
    assert 0 < median <= late
    seconds = 90 / float(row['frames_a_second'])
    assert seconds > 3 * median / 1000 * 0.5  # the delays are within it


def test_the_site_says_what_was_measured(tmp_path):
    import lists

    assert lists.real_time(tmp_path) == 'Not measured yet on a quiet machine.'
    row = dict(
        network='MSA-GCN, small', width=40, by='quick', threads=1, cores=2, people=4, joints=17
    )
    row |= dict(network_frames=32, window_s=2.0, step_s=0.5, windows=37, frames_a_second=99.6)
    row |= dict(delay_ms_median=70.2, delay_ms_p95=90.4, load=0.5, processor='CPU', torch='2')
    (tmp_path / 'reports').mkdir()
    with open(tmp_path / 'reports/real_time.csv', 'w', newline='') as f:
        table = csv.DictWriter(f, list(row))
        table.writeheader()
        table.writerows([row, row | dict(threads=2, frames_a_second=12)])
    text = lists.real_time(tmp_path)
    assert 'compiled code keeps up with 100 frames a second' in text
    assert '70 ms after the last frame' in text and '(90 ms in the slowest twentieth)' in text
    assert [line.split(' | ')[-1].strip(' |') for line in text.splitlines()[-2:]] == ['yes', 'no']
