"""Does a network that is told which joints were found do better than one that sees them filled?

    python tests/validity.py [--seeds 1,2,3] [--out FOLDER]

The recordings of PRECOG 2016 in the box lose 40 % of their joints, each joint in spans of 8 to 24 frames,
drawn by a fixed seed. They are prepared twice, with `validity: true` and without; joints are filled over
time in both. MS-G3D by params/custom.yaml, and the nearest training clip, are tested on all twelve people
in four folds: a row for each way and seed in reports/validity.csv. In the same FOLDER trainings go on.
"""

import argparse
import csv
import tempfile
from pathlib import Path

import numpy as np
from conftest import ROOT, command, pairs

from msagcn.data.precog import box_recordings, sequence_and_person

LOST, SPAN = 0.4, (8, 25)
WAYS = dict(filled='', told='validity: true\n')
COLUMNS = 'way lost model seed folds n top1 low high by_fold train_top1 processor torch'.split()


def without_some(x: np.ndarray, rng) -> np.ndarray:  # (T, 20, 3)
    "Joints lost in spans of frames, NaN, until `LOST` of each joint's frames are gone."
    x = x.copy()
    for v in range(x.shape[1]):
        while np.isnan(x[:, v, 0]).mean() < LOST:
            long = min(int(rng.integers(*SPAN)), len(x) // 3)
            first = int(rng.integers(0, len(x) - long + 1))
            x[first : first + long, v] = np.nan
    return x


def write_set(folder: Path, line: str) -> Path:
    "All recordings with a table of people and a description; returns that."
    folder.mkdir(exist_ok=True)
    rng, rows = np.random.default_rng(0), [('file', 'label', 'part', 'subject')]
    for name, x in sorted(box_recordings().items()):
        if x.any():
            label, person = sequence_and_person(name)
            np.save(folder / f'{name}.npy', without_some(x, rng))
            rows.append((f'{name}.npy', f'sequence {label}', 'train', person))
    with open(folder / 'clips.csv', 'w', newline='') as f:
        csv.writer(f).writerows(rows)
    usual = 'joints: ucla20\nchannels: xyz\nunit: m\nup: y\nmissing: nan\n'
    (folder / 'own.yaml').write_text(f'{usual}table: clips.csv\nfolds: subject\n{line}')
    return folder / 'own.yaml'


def rows_of(way: str, seeds: str, folder: Path) -> list[dict]:
    "Train and test one way; its rows."
    at = {f'{k}_dir': folder / k for k in ('data', 'runs', 'reports')}
    source = write_set(folder / way, WAYS[way])
    command('prepare', *pairs(benchmark=way, source=source, data_dir=at['data_dir']), cwd=ROOT)
    asked = pairs(
        benchmark=way, recipes='params/custom.yaml', streams='joint', seeds=seeds, processes=1, **at
    )
    command('crossval', *asked, cwd=ROOT)
    with open(at['reports_dir'] / f'{way}.csv', newline='') as f:
        return [row | dict(way=way, lost=LOST) for row in csv.DictReader(f)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seeds', default='1,2,3')
    parser.add_argument('--out', type=Path, metavar='FOLDER', help='a folder that is kept')
    args = parser.parse_args()
    folder = args.out or Path(tempfile.mkdtemp())
    folder.mkdir(exist_ok=True)
    rows = [row for way in WAYS for row in rows_of(way, args.seeds, folder)]
    with open(ROOT / 'reports/validity.csv', 'w', newline='') as f:
        writer = csv.DictWriter(f, COLUMNS, extrasaction='ignore', lineterminator='\n')
        writer.writeheader()
        writer.writerows(rows)


if __name__ == '__main__':
    main()
