"""Five clips a class: beginning from a network that was trained on other classes, against from scratch.

    python tests/finetune.py --data ../shared/data/nw_ucla/all_sqe.zip

NW-UCLA's cameras 1 and 2 train, camera 3 tests, as everybody does. A network learns the eight classes
other than donning and doffing, from all their training clips. Then five training clips of each of the
two, drawn anew for each seed, are all there is, and the test clips of both are asked. All of it was
fixed before a test clip was: recipe params/custom.yaml, for the first network with
-p steps 400 -p warmup_steps 40, as docs/own.md says for more clips, for ten clips with half the steps,
-p steps 75 -p warmup_steps 10 (60 passes); the pair, two actions that differ by the order of their
movements more than by postures; three ways, each with the same clips and seed:

- scratch: fresh weights;
- start: from the first network's, every layer trained;
- classifier: from the same, all blocks held.

A row for each seed and way goes to reports/finetune.csv as it is finished, and then one for each way
over all seeds: mean, standard deviation over seeds, interval over people (of the mean of the seeds), and
the gain over scratch, seed by seed, with Student's interval over the seeds. A finished run is not done
again. `seconds` is the time of a training on one core, whatever else the machine did.
"""

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
NEW = 'donning', 'doffing'
SHOTS = 5
WAYS = dict(scratch={}, start=dict(start='{base}'), classifier=dict(start='{base}', hold=3))
FIRST = dict(steps=400, warmup_steps=40)
THEN = dict(steps=75, warmup_steps=10)
COLUMNS = (
    'way seed n_train n_test train_top1 top1 mean_class sd low high gain gain_low gain_high '
    'base_top1 base_classes seconds processor torch'
).split()


def few(clips, seed: int):
    "The new classes, with so many training clips of each as there are shots; all test clips."
    from msagcn.data.subset import of_classes

    some, rng = of_classes(clips, list(NEW)), np.random.default_rng(seed)
    train = np.array(some.parts) == 'train'
    drawn = [
        rng.choice(np.flatnonzero(train & (some.labels == label)), SHOTS, replace=False)
        for label in range(len(NEW))
    ]
    kept = np.sort(np.concatenate([*drawn, np.flatnonzero(~train)]))
    frames = [some[some.names[i]] for i in kept]
    return replace(
        some,
        benchmark=f'few_{seed}',
        frames=np.concatenate(frames),
        shared=None,
        **{k: [getattr(some, k)[i] for i in kept] for k in ('names', 'parts', 'hashes')},
        **{k: getattr(some, k)[kept] for k in ('labels', 'subjects', 'lengths')},
    )


def run(folder: Path, recipe: str, benchmark: str, seed: int, **more):
    "Train by params/custom.yaml, or read what was trained: the run's parameters and record."
    from msagcn.experiments.reading import read_parameters, read_yaml
    from msagcn.experiments.run import train
    from msagcn.experiments.train_parameters import TrainParameters

    places = {f'{k}_dir': str(folder / k) for k in ('data', 'runs', 'reports')}
    given = dict(benchmark=benchmark, recipe=recipe, seed=seed, device='cpu') | places | more
    p = read_parameters(TrainParameters, read_yaml(ROOT / 'params/custom.yaml') | given)
    return p, train(p)


def seed_rows(folder: Path, clips, seed: int, base, base_record: dict):
    "A row for each way with one seed; beside it which test clips are right, and whose they are."
    from msagcn.data.clip_writer import save_clips
    from msagcn.training.evaluate import load_scores

    some = few(clips, seed)
    save_clips(some, folder / 'data' / some.benchmark)
    for way, more in WAYS.items():
        told = {k: str(base) if v == '{base}' else v for k, v in more.items()}
        p, m = run(folder, way, some.benchmark, seed, **THEN, **told)
        scores = load_scores(p.folder.scores('test'))
        row = dict(way=way, seed=seed, base_top1=base_record['top1'])
        row |= {
            k: m[k] for k in ('n_train', 'n_test', 'train_top1', 'top1', 'mean_class', 'seconds')
        }
        row |= {k: m['machine'][k] for k in ('processor', 'torch')}
        row['base_classes'] = len(base_record['classes'])
        yield row, scores.scores.argmax(1) == scores.labels, scores.subjects


def student(x: np.ndarray) -> tuple[float, float]:
    "Student's 95 % interval of a mean."
    from scipy.stats import t

    half = t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x))
    return x.mean() - half, x.mean() + half


def summary(rows: list[dict], right: dict[str, list], subjects) -> list[dict]:
    "A row for each way over all seeds."
    from msagcn.training.statistics import people_interval

    by_way = {w: np.array([r['top1'] for r in rows if r['way'] == w]) for w in right}
    out = []
    for way, top1 in by_way.items():
        low, high = people_interval(np.array(right[way]), subjects)
        seeds = ' '.join(str(r['seed']) for r in rows if r['way'] == way)
        same = {k: rows[0][k] for k in ('n_train', 'n_test', 'base_top1', 'base_classes')}
        row = dict(way=way, seed=seeds, top1=top1.mean(), sd=top1.std(ddof=1), low=low, high=high)
        if way != 'scratch':
            gain = top1 - by_way['scratch']
            ends = dict(zip(('gain_low', 'gain_high'), student(gain)))
            row |= dict(gain=gain.mean()) | ends
        out.append(row | same | {k: rows[0][k] for k in ('processor', 'torch')})
    return out


def measure(data: str, folder: Path, seeds: list[int], out: Path) -> None:
    "Train all that is missing, and write the table."
    import pandas as pd

    from msagcn.core import write_text
    from msagcn.data.clip_writer import save_clips
    from msagcn.data.clips import load_clips
    from msagcn.data.nw_ucla import read_nw_ucla
    from msagcn.experiments.rows import as_csv

    if not (folder / 'data/nw_ucla/manifest.json').exists():
        save_clips(read_nw_ucla(Path(data)), folder / 'data/nw_ucla')
    clips = load_clips(folder / 'data/nw_ucla')
    others = [c for c in clips.classes if c not in NEW]
    p, record = run(folder, 'others', 'nw_ucla', 1, classes=others, **FIRST)
    rows, right = [], {w: [] for w in WAYS}
    for seed in seeds:
        for row, hits, subjects in seed_rows(folder, clips, seed, p.folder.weights, record):
            rows.append(row)
            right[row['way']].append(hits)
        complete = summary(rows, right, subjects) if len(rows) > len(WAYS) else []
        table = pd.DataFrame(rows + complete).reindex(columns=COLUMNS)
        numbers = table.select_dtypes('float').columns
        table[numbers] = table[numbers].map(lambda x: '' if x != x else f'{x:.2f}')
        write_text(out, as_csv(table.fillna('').astype(str)))
        print(table.to_string(index=False), flush=True)


if __name__ == '__main__':
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    os.environ['MSAGCN_QUIET'] = '1'
    sys.path.insert(0, str(ROOT))
    a = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    a.add_argument('--data', default=str(ROOT.parent / 'shared/data/nw_ucla/all_sqe.zip'))
    a.add_argument('--folder', default='finetune', help='where data and runs go')
    a.add_argument('--seeds', default='1,2,3,4,5')
    a.add_argument('--out', default=str(ROOT / 'reports/finetune.csv'))
    a = a.parse_args()
    measure(a.data, Path(a.folder), [int(s) for s in a.seeds.split(',')], Path(a.out))
