"""What README's recipe for own clips reaches on small sets, beside 1-nearest-neighbour.

    python tests/small_sets.py precog nw_ucla_60 --seeds 1,2,3

gives a row for each set, fold and seed.

Each fold leaves subjects out for testing. Clips are written as .npy with a description and a table,
prepared, trained on by the command with params/custom.yaml, and the streams fused with equal weights.
Rows are appended to reports/small_sets.csv as they are finished; one with the same set, fold, streams,
seed and recipe is replaced. `seconds` is the CPU time of all trainings of a row, in user mode on one
core; `train_top1` and the other streams' accuracies are those of single networks, the lowest of
`train_top1`. Needs ../shared.

reports/small_sets_tried.csv has what was tried before the recipe was settled: single networks, each
trained on some folds and measured on another, or two of the same folds fused. `part` is what it was
measured on: `inner`, subjects held out of a fold's training subjects, or `test`, the fold itself.
`nearest_top1` of `inner` rows is that of 32 frames.
"""

import argparse
import csv
import os
import resource
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / 'shared'
OUT = ROOT / 'reports/small_sets.csv'
STREAMS = 'joint', 'bone'
# in the metrics of every stream
SAME = 'fed model seed recipe n_train n_test chance majority_top1 nearest_top1 steps'.split()
KEY = 'set fold streams model seed recipe'.split()


def read_precog(folder):
    """Label, subject, frames (T, 20, 3) of each recording with anybody in it.

    Two of the 72 recordings are zeros throughout.
    """
    from msagcn.data.precog import read_recordings, sequence_and_person

    for name, x in read_recordings(folder).items():
        label, subject = sequence_and_person(name)
        if x.any():
            yield f'sequence {label}', subject, x


def read_nw_ucla(path, actions=6, camera='v01'):
    "The first recording of each of 10 people in each of the first six actions by the first camera: 60 clips."
    from msagcn.data.nw_ucla import read_nw_ucla

    clips, seen = read_nw_ucla(path, 'nw_ucla'), set()
    for name, label, subject in sorted(
        zip(clips.names, clips.labels.tolist(), clips.subjects.tolist())
    ):
        if label >= actions or not name.endswith(camera) or (label, subject) in seen:
            continue
        seen.add((label, subject))
        yield clips.classes[label], subject, np.asarray(clips[name][:, 0])


SETS = dict(
    precog=(
        lambda: read_precog(SHARED / 'data/real/precog2016'),
        [(1, 2, 3), (4, 5, 6), (7, 8, 9), (10, 11, 12)],
    ),
    nw_ucla_60=(
        lambda: read_nw_ucla(SHARED / 'data/nw_ucla/all_sqe.zip'),
        [(1, 4, 7, 10), (2, 5, 8), (3, 6, 9)],
    ),
)


def write_set(folder, clips, test_subjects):
    "Own clips with a description and a table; returns the description's path."
    rows = [('file', 'label', 'part', 'subject')]
    for i, (label, subject, x) in enumerate(clips):
        np.save(folder / f'clip_{i:03}.npy', x)
        rows.append(
            (f'clip_{i:03}.npy', label, 'test' if subject in test_subjects else 'train', subject)
        )
    with open(folder / 'clips.csv', 'w', newline='') as f:
        csv.writer(f).writerows(rows)
    (folder / 'set.yaml').write_text('joints: ucla20\nchannels: xyz\ntable: clips.csv\n')
    return folder / 'set.yaml'


def streams_of(folder):
    "The metrics of each stream that was trained."
    from msagcn.core import read_json

    found = [read_json(p) for p in folder.glob('reports/runs/*/metrics.json')]
    return sorted(found, key=lambda m: STREAMS.index(m['stream']))


def one_fold(name, clips, test_subjects, seed, more=()):
    """Prepare, train and fuse by the command.

    Returns the metrics of each stream, the fused accuracy, and the CPU time of training.
    """
    from msagcn.cli import main

    with tempfile.TemporaryDirectory() as d:
        d = Path(d)

        def told(**parameters):
            return [w for k, v in parameters.items() for w in ('-p', k, str(v))]

        def done(*words):
            if main(list(words)):
                raise SystemExit(f'{name}: {words[0]} failed')

        data, reports = told(benchmark=name, data_dir=d / 'data'), told(reports_dir=d / 'reports')
        done('prepare', *data, *told(source=write_set(d, clips, test_subjects)))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
        how = told(seed=seed, device='cpu', stream=','.join(STREAMS), runs_dir=d / 'runs')
        done(
            'train',
            '-f',
            str(ROOT / 'params/custom.yaml'),
            *data,
            *how,
            *reports,
            *more,
            '--no-notebook',
        )
        seconds = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
        metrics = streams_of(d)
        which = told(
            benchmark=name,
            seed=seed,
            streams=','.join(STREAMS),
            **{k: metrics[0][k] for k in ('model', 'recipe')},
        )
        done('fuse', *which, *reports)
        with open(d / 'reports/fusion.csv', newline='') as f:
            (fused,) = [float(r['top1']) for r in csv.DictReader(f) if r['weights_from'] == 'equal']
        return metrics, fused, seconds


def row_of(name, fold, test_subjects, metrics, fused, seconds):
    row = dict(
        set=name,
        fold=fold,
        test_subjects=' '.join(map(str, test_subjects)),
        streams=' '.join(STREAMS),
    )
    row |= {k: metrics[0][k] for k in SAME} | {f'{m["stream"]}_top1': m['top1'] for m in metrics}
    return row | dict(
        top1=fused, train_top1=min(m['train_top1'] for m in metrics), seconds=f'{seconds:.0f}'
    )


def measure(names, seeds, folds, out, more=()):
    from msagcn.experiments.results import append_row

    for seed in seeds:
        for name in names:
            read, parts = SETS[name]
            clips = list(read())
            for fold, test_subjects in enumerate(parts, 1):
                if folds and fold not in folds:
                    continue
                found = one_fold(name, clips, test_subjects, seed, more)
                append_row(out, row_of(name, fold, test_subjects, *found), KEY, replace=True)


if __name__ == '__main__':
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    os.environ['MSAGCN_QUIET'] = '1'
    sys.path.insert(0, str(ROOT))
    a = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    a.add_argument('sets', nargs='+', choices=SETS)
    a.add_argument('--seeds', default='1,2,3')
    a.add_argument('--folds', default='', help='empty: all')
    a.add_argument('--out', default=str(OUT))
    a.add_argument(
        '-p', dest='more', nargs=2, action='append', default=[], help='a parameter of the training'
    )
    a = a.parse_args()
    numbers = lambda text: [int(n) for n in text.split(',') if n]
    measure(
        a.sets,
        numbers(a.seeds),
        numbers(a.folds),
        a.out,
        [w for pair in a.more for w in ('-p', *pair)],
    )
