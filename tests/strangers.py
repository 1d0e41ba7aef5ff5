"""Sets of four kinds, as a stranger has them, from files to a report by three commands, timed.

    python tests/strangers.py [KIND …]

writes each set in the form of its program, runs the commands of docs/own.md with params/custom.yaml,
each in a process of its own with one thread, and writes reports/strangers.csv: seconds of CPU time of
each command and of wall-clock time for all three, and accuracies; rows of other kinds stay. The sets
`2D estimator`, `hands` and `animals` are made up; `3D sensor` are the recordings of PRECOG 2016 in the
box, written as tables in millimetres. What is measured is the way, not the networks: the made-up sets
are easy.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from fuzz_readers import deeplabcut, kinect

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / 'reports/strangers.csv'
PEOPLE = 'anna', 'ben', 'carla', 'dan', 'eva', 'finn', 'gita', 'hans'
# joints of COCO at rest, in pixels from the hips
BODY = np.array(
    [
        *([0, -80], [3, -83], [-3, -83], [7, -80], [-7, -80]),
        *([20, -60], [-20, -60], [25, -30], [-25, -30], [28, 0], [-28, 0]),
        *([12, 0], [-12, 0], [13, 45], [-13, 45], [14, 90], [-14, 90]),
    ],
    dtype=float,
)


def _wave(rng, T):
    "A movement there and back, over T frames."
    return np.sin(np.arange(T) * rng.uniform(0.3, 0.5) + rng.uniform(0, 6))


def _body(action, rng) -> np.ndarray:  # (T, 17, 3): x, y, score
    "Somebody who waves, squats or kicks in front of a camera."
    T = int(rng.integers(25, 40))
    x, move = np.tile(BODY * rng.uniform(0.9, 1.1), (T, 1, 1)), _wave(rng, T)
    if action == 'wave':
        x[:, 10] += np.stack([20 * move, np.full(T, -90)], 1)
    elif action == 'squat':
        x[:, :13, 1] += 20 + 20 * move[:, None]
    else:
        x[:, 16] += np.stack([-30 - 20 * move, np.full(T, -40)], 1)
    x += rng.uniform([200, 150], [400, 300]) + rng.normal(0, 1, x.shape)
    return np.concatenate([x, rng.uniform(0.6, 1, (T, 17, 1))], -1).round(2)


def two_d_estimator(folder, people=8, times=2):
    "AlphaPose's lists in a folder of each class, a person in each name; some joints are not seen."
    rng = np.random.default_rng(1)
    for action in ('wave', 'squat', 'kick'):
        (folder / action).mkdir(parents=True)
        for who in PEOPLE[:people]:
            for n in range(times):
                x = _body(action, rng)
                x[rng.random(x.shape[:2]) < 0.05] = 0
                found = [
                    dict(
                        image_id=f'{t}.jpg', category_id=1, keypoints=p.ravel().tolist(), score=2.1
                    )
                    for t, p in enumerate(x)
                ]
                (folder / action / f'{action}_{who}_{n}.json').write_text(json.dumps(found))
    return []


def sensor(folder, people=12, times=6):
    "PRECOG 2016 as tables in millimetres, all in one folder."
    from msagcn.data.precog import read_precog, sequence_and_person

    folder.mkdir(parents=True)
    clips = read_precog()
    for name in clips.names:
        x, (label, who) = clips[name][:, 0], sequence_and_person(name)
        if who <= people and label <= times:
            (folder / f'seq{label}_s{who:02}.csv').write_text(kinect((1000 * x).round(1)))
    return ['-p', 'unit', 'mm']


def hands(folder, people=6, times=2):
    "Bare landmarks of one hand in JSON, parts and classes by folder."
    rng = np.random.default_rng(2)
    finger = np.array([[0.1 * (f - 2), 0.1 * (k + 1), 0] for f in range(5) for k in range(4)])
    for action in ('fist', 'point', 'spread'):
        for n in range(people * times):
            T = int(rng.integers(20, 30))
            x, move = np.tile(np.vstack([[[0, 0, 0]], finger]), (T, 1, 1)), _wave(rng, T)
            bent = dict(fist=range(1, 21), point=[*range(1, 5), *range(9, 21)], spread=())[action]
            x[:, list(bent), 1] *= (0.6 + 0.3 * move)[:, None]
            if action == 'spread':
                x[:, 1:, 0] *= (1.3 + 0.4 * move)[:, None]
            x = (x + rng.normal(0, 0.005, x.shape) - [0, 0, 0.2]).round(4)
            part = folder / ('test' if n >= people * times * 2 // 3 else 'train') / action
            part.mkdir(parents=True, exist_ok=True)
            frames = [[dict(zip('xyz', j)) for j in t] for t in x.tolist()]
            frames[int(rng.integers(T))] = None  # nobody found
            (part / f'{action}{n}.json').write_text(json.dumps(frames))
    return []


def animals(folder, people=6, times=2):
    "DeepLabCut's tables of mice; in each folder of a class the same names, and what Windows leaves."
    rng = np.random.default_rng(3)
    rest = np.array([[30, 0], [20, 6], [20, -6], [0, 0]], dtype=float)
    for action in ('run', 'groom', 'turn'):
        (folder / action).mkdir(parents=True)
        (folder / action / 'Thumbs.db').write_bytes(b'\0')
        for who in range(1, people + 1):
            for n in range(times):
                T = int(rng.integers(30, 45))
                x, move = np.tile(rest, (T, 1, 1)), _wave(rng, T)
                if action == 'run':
                    x[..., 0] += 4 * np.arange(T)[:, None]
                elif action == 'groom':
                    x[:, 0] += np.stack([-12 + 6 * move, 3 * move], 1)
                else:
                    x[:, :3, 1] += 15 * move[:, None]
                x = x + rng.uniform(100, 300, 2) + rng.normal(0, 0.5, x.shape)
                x = np.concatenate([x, rng.uniform(0.8, 1, (T, 4, 1))], -1)
                name = f'mouse_s{who}_{n}DLC_resnet50_openfieldshuffle1_100000.csv'
                (folder / action / name).write_text(deeplabcut(x[:, None].round(3)))
    return []


SETS = {
    '2D estimator': ('waves', two_d_estimator),
    '3D sensor': ('sequences', sensor),
    'hands': ('hands', hands),
    'animals': ('mice', animals),
}


def three_commands(name: str, folder, more, recipe=()) -> list[list[str]]:
    "What is typed from files to a report."
    data = ['-p', 'benchmark', name]
    return [
        ['prepare', *data, '-p', 'source', str(folder), *more],
        ['train', '-f', 'custom', *data, *recipe],
        ['report', *data, '-p', 'recipe', 'custom'],
    ]


def cpu_seconds() -> float:
    "Time of the processes that were started and have ended."
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measured(kind: str) -> dict:
    "The row of one kind."
    from msagcn.core import read_json
    from msagcn.data.clips import load_clips

    name, write = SETS[kind]
    with tempfile.TemporaryDirectory() as d:
        d, seconds, start = Path(d), {}, time.perf_counter()
        more = write(d / name)
        env = os.environ | {'PYTHONPATH': str(ROOT), 'MSAGCN_QUIET': '1', 'OMP_NUM_THREADS': '1'}
        for words in three_commands(name, name, more):
            before = cpu_seconds()
            subprocess.run([sys.executable, '-m', 'msagcn', *words], cwd=d, env=env, check=True)
            seconds[f'{words[0]}_seconds'] = round(cpu_seconds() - before, 1)
        seconds['wall_seconds'] = round(time.perf_counter() - start)
        assert (d / f'reports/{name}.html').exists()
        (m,) = [read_json(p) for p in d.glob('reports/runs/*/metrics.json')]
        clips = load_clips(d / f'data/{name}')
        program = (d / name / f'{name}.yaml').read_text().splitlines()[1].split(', ')[1]
    row = dict(kind=kind, files=program, clips=len(clips), classes=len(clips.classes))
    row |= dict(n_test=m['n_test'], **seconds, top1=m['top1'], nearest_top1=m['nearest_top1'])
    return row | dict(processor=m['machine']['processor'], threads=m['machine']['threads'])


def main(kinds):
    from msagcn.experiments.results import append_row

    for kind in kinds:
        append_row(OUT, measured(kind), ['kind'], replace=True)


if __name__ == '__main__':
    sys.path.insert(0, str(ROOT))
    a = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    a.add_argument('kinds', nargs='*', default=list(SETS), help=f'of {", ".join(SETS)}')
    main(a.parse_args().kinds)
