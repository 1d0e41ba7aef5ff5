"""What README's recipe for own clips reaches on small sets, beside 1-nearest-neighbour: a row for each set, fold and seed.

    python tests/small_sets.py precog nw_ucla_60 --seeds 1,2,3

Each fold leaves subjects out for testing. Clips are written as .npy with a description and a table, prepared, and trained on by the
command with params/custom.yaml. Rows are appended to reports/small_sets.csv as they are finished, and are not measured twice; `seconds`
is the processor time of training alone on one core. Needs ../shared."""
import argparse
import csv
import os
import re
import resource
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / 'shared'
OUT = ROOT / 'reports/small_sets.csv'
COLUMNS = 'set fold test_subjects model stream seed recipe n_train n_test chance majority_top1 nearest_top1 top1 train_top1 steps seconds'.split()


def read_precog(folder):
    "Label, subject, frames (T, 20, 3) of each recording that has anybody in it (two of the 72 are zeros throughout)."
    for path in sorted(folder.glob('Seq*.csv')):
        label, subject = map(int, re.fullmatch(r'Seq(\d+)_(\d+)', path.stem).groups())
        lines = path.read_text().splitlines()[1:]
        x = np.array([[cell.split() for cell in line.split(';')[:20]] for line in lines if line.strip()], dtype=float)
        if x.any(): yield f'sequence {label}', subject, x


def read_nw_ucla(path, actions=6, camera='v01'):
    "The first recording of each of 10 people in each of the first six actions by the first camera: 60 clips."
    from msagcn.nw_ucla import read_nw_ucla
    clips, seen = read_nw_ucla(path, 'nw_ucla'), set()
    for name, label, subject in sorted(zip(clips.names, clips.labels.tolist(), clips.subjects.tolist())):
        if label >= actions or not name.endswith(camera) or (label, subject) in seen: continue
        seen.add((label, subject))
        yield clips.classes[label], subject, np.asarray(clips[name][:, 0])


SETS = dict(precog=(lambda: read_precog(SHARED / 'data/real/precog2016'), [(1, 2, 3), (4, 5, 6), (7, 8, 9), (10, 11, 12)]),
            nw_ucla_60=(lambda: read_nw_ucla(SHARED / 'data/nw_ucla/all_sqe.zip'), [(1, 4, 7, 10), (2, 5, 8), (3, 6, 9)]))


def write_set(folder, clips, test_subjects):
    "Own clips with a description and a table; returns the description's path."
    rows = [('file', 'label', 'part', 'subject')]
    for i, (label, subject, x) in enumerate(clips):
        np.save(folder / f'clip_{i:03}.npy', x)
        rows.append((f'clip_{i:03}.npy', label, 'test' if subject in test_subjects else 'train', subject))
    with open(folder / 'clips.csv', 'w', newline='') as f: csv.writer(f).writerows(rows)
    (folder / 'set.yaml').write_text('joints: ucla20\nchannels: xyz\ntable: clips.csv\n')
    return folder / 'set.yaml'


def one_run(name, clips, test_subjects, seed, more=()):
    "Prepare and train by the command; returns the metrics and the seconds of processor time."
    from msagcn.cli import main
    from msagcn.core import MsagcnError, read_json
    with tempfile.TemporaryDirectory() as d:
        d = Path(d)
        places = [w for k in ('data', 'runs', 'reports') for w in ('-p', f'{k}_dir', str(d / k))]
        source = write_set(d, clips, test_subjects)
        if main(['prepare', '-p', 'benchmark', name, '-p', 'source', str(source), *places[:3]]): raise MsagcnError(f'{name}: not prepared')
        before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
        told = ['-p', 'benchmark', name, '-p', 'seed', str(seed), '-p', 'device', 'cpu', *more]
        if main(['train', '-f', str(ROOT / 'params/custom.yaml'), *told, '--no-notebook', *places]): raise MsagcnError(f'{name}: not trained')
        seconds = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
        return read_json(next((d / 'reports/runs').glob('*/metrics.json'))), seconds


def row_of(name, fold, test_subjects, m, seconds):
    known = dict(set=name, fold=fold, test_subjects=' '.join(map(str, test_subjects)), seconds=f'{seconds:.0f}')
    return known | {k: m[k] for k in COLUMNS if k not in known}


def measure(names, seeds, folds, out, more=()):
    from msagcn.experiment import append_row
    for seed in seeds:
        for name in names:
            read, parts = SETS[name]
            clips = list(read())
            for fold, test_subjects in enumerate(parts, 1):
                if folds and fold not in folds: continue
                m, seconds = one_run(name, clips, test_subjects, seed, more)
                append_row(out, row_of(name, fold, test_subjects, m, seconds), ['set', 'fold', 'model', 'stream', 'seed', 'recipe'], replace=True)


if __name__ == '__main__':
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    os.environ['MSAGCN_QUIET'] = '1'
    sys.path.insert(0, str(ROOT))
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument('sets', nargs='+', choices=SETS)
    a.add_argument('--seeds', default='1,2,3')
    a.add_argument('--folds', default='', help='empty: all')
    a.add_argument('--out', default=str(OUT))
    a.add_argument('-p', dest='more', nargs=2, action='append', default=[], help='a parameter of the training')
    a = a.parse_args()
    numbers = lambda text: [int(n) for n in text.split(',') if n]
    measure(a.sets, numbers(a.seeds), numbers(a.folds), a.out, [w for pair in a.more for w in ('-p', *pair)])
