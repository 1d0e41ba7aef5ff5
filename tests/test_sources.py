"""A data set is added by one record: nothing else of the package is touched.

A made-up set, in a format that no reader of the package knows, is prepared, trained, listed in the
tables and predicted by the commands alone.
"""

import json

import numpy as np
import pytest
from conftest import TINY, pairs, places

from msagcn.cli import main
from msagcn.core import content_hash
from msagcn.data.clips import Clips, load_clips
from msagcn.experiments import sources
from msagcn.experiments.sources import DATA_SETS, DataSet
from msagcn.report.table_forms import read_back

KINDS = 'rise', 'fall'


def write_raw(folder):
    "Text files, a line for each frame with the 60 numbers of 20 joints: rising and falling people."
    rng = np.random.default_rng(0)
    body = rng.normal(size=(20, 3))
    folder.mkdir(parents=True)
    for subject in (1, 2, 3):
        for k, kind in enumerate(KINDS):
            for n in range(4):
                T = 10 + n
                x = body + rng.normal(0, 0.02, (T, 20, 3))
                x[..., 1] += np.linspace(0, 1 - 2 * k, T)[:, None]
                np.savetxt(folder / f'{kind}_{subject}_{n}.frames', x.reshape(T, 60))


def read_clip(path, about=None):
    return np.loadtxt(path).reshape(-1, 1, 20, 3)


def read(p, source):
    "All files of the folder; the third person is for testing."
    files = sorted(source.glob('*.frames'))
    kinds, subjects, _ = zip(*(f.stem.split('_') for f in files))
    clips = [read_clip(f) for f in files]
    return Clips(
        benchmark=p.benchmark,
        skeleton='ucla20',
        classes=list(KINDS),
        names=[f.stem for f in files],
        labels=np.array([KINDS.index(k) for k in kinds]),
        subjects=np.array([int(s) for s in subjects]),
        parts=['test' if s == '3' else 'train' for s in subjects],
        hashes=[content_hash(x) for x in clips],
        lengths=np.array([len(x) for x in clips]),
        frames=np.concatenate(clips),
    ), source


@pytest.fixture
def lifts(monkeypatch):
    record = DataSet(
        is_clip=lambda ending, about: ending == '.frames',
        read_clip=read_clip,
        joints=20,
        feeds={'nw_ucla': 8},
        read=read,
        shares_name=False,
        rows=(('msagcn', 'joint'), ('msg3d', 'bone')),
    )
    monkeypatch.setitem(DATA_SETS, 'lifts', record)


def test_one_record_is_enough(lifts, tmp_path, capfd):
    at = places(tmp_path)
    write_raw(tmp_path / 'data/raw/lifts')
    assert main(['prepare', *pairs(benchmark='lifts', data_dir=at['data_dir'])]) == 0
    assert 'lifts: 2 classes, 16 to train, 8 to test' in capfd.readouterr().out
    clips = load_clips(tmp_path / 'data/lifts')
    name = clips.names[0]
    x = read_clip(tmp_path / f'data/raw/lifts/{name}.frames')
    assert (clips[name] == x).all()
    train = pairs(**TINY | at | dict(benchmark='lifts', refit='false'))
    assert main(['train', '--no-notebook', *train]) == 0
    assert main(['tables', *pairs(reports_dir=at['reports_dir'])]) == 0
    table = read_back(tmp_path / 'reports/tables/results.csv').query("benchmark == 'lifts'")
    (run,) = (tmp_path / 'reports/runs').iterdir()
    m = json.loads((run / 'metrics.json').read_text())
    assert table[['model', 'streams', 'all', 'runs']].values.tolist() == [
        ['msagcn', 'joint', f'{m["top1"]:.2f}', run.name],
        ['msg3d', 'bone', 'not run', ''],
    ]
    weights = tmp_path / f'runs/{run.name}/weights.safetensors'
    raw = tmp_path / f'data/raw/lifts/{name}.frames'
    capfd.readouterr()
    assert main(['predict', str(raw), '--weights', str(weights)]) == 0
    assert set(KINDS) <= set(capfd.readouterr().out.split())


def test_a_name_that_is_not_registered_is_refused(tmp_path, capfd):
    write_raw(tmp_path / 'data/raw/lifts')
    at = places(tmp_path)
    assert main(['prepare', *pairs(benchmark='lifts', data_dir=at['data_dir'])]) == 2
    assert ', '.join(DATA_SETS) in capfd.readouterr().err


def test_the_tables_know_every_set_of_the_papers():
    assert [name for name, known in sources.DATA_SETS.items() if known.rows] == [
        'nw_ucla',
        'ntu60_xsub',
        'ntu60_xview',
        'ntu120_xsub',
        'ntu120_xset',
        'kinetics',
    ]
