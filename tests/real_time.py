"""How many frames a second `predict --follow` answers, and how late, on this machine: a row per network.

    python tests/real_time.py reports/real_time.csv [SECONDS]

People of COCO's 17 joints walk through SECONDS of made-up recording, 30 frames a second, which come line by
line as fast as they are taken. A delay is the time from the last frame of a window to the answers for all
people in it, reading the line and preparing the windows included. Untrained networks take the same
time. Rows are appended.
"""

import csv
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from conftest import one_clip

from msagcn.core import machine
from msagcn.data.skeleton import COCO17
from msagcn.experiments.parameters import PredictParameters
from msagcn.experiments.train_parameters import TrainParameters
from msagcn.experiments.weights import build_model, save_weights
from msagcn.experiments.windows import Windows, follow

FPS, WINDOW, STEP, MOST = 30, 2.0, 0.5, 15
NETWORKS = {
    'MSA-GCN, small': dict(model='msagcn', width=40, frames=32, context='none'),
    'MS-G3D, small': dict(model='msg3d', width=24, windows=[], frames=32),
}
CLASSES = [f'class {i}' for i in range(10)]


def weights_of(folder: Path, name: str) -> str:
    "The file of an untrained network for one body."
    frames = np.random.default_rng(0).random((20, 1, 17, 3)).astype(np.float32)
    clips = one_clip(frames, COCO17, CLASSES, benchmark='walks')
    p = TrainParameters(benchmark='walks', **NETWORKS[name])
    path = folder / 'w.safetensors'
    save_weights(path, p, clips, build_model(p, clips))
    return str(path)


def walk(seconds: float, people: int) -> list[str]:
    "Lines of frames."
    g = np.random.default_rng(1)
    x = g.normal(0, 3, (round(seconds * FPS), people, 17, 2)).cumsum(0) + 500
    x = np.concatenate([x, g.uniform(0.5, 1, (*x.shape[:-1], 1))], -1).round(2)
    return [json.dumps(frame.tolist()) for frame in x]


def timed(windows: Windows, lines: list[str], people: int) -> tuple[float, list[float]]:
    "Frames a second, and the delay of each window; a slow network is stopped after `MOST` seconds."
    given, delays, answers = [], [], 0

    def source():
        for line in lines:
            given.append(time.perf_counter())
            if given[-1] - start > MOST and delays:
                return
            yield line

    start = time.perf_counter()
    for _ in follow(windows, source()):
        answers += 1
        if answers % people == 0:
            delays.append(time.perf_counter() - given[-1])
    return len(given) / (time.perf_counter() - start), delays


def measured(
    folder: Path, name: str, compiled: bool, threads: int, people: int, seconds: float
) -> dict:
    "One row of the table."
    torch.set_num_threads(threads)
    told = dict(windows=WINDOW, step=STEP, fps=FPS, compile=compiled, device='cpu')
    windows = Windows(PredictParameters(weights=weights_of(folder, name), **told))
    timed(windows, walk(WINDOW + 2 * STEP, people), people)  # warm
    lines = walk(seconds, people)
    load = os.getloadavg()[0]
    speed, delays = timed(windows, lines, people)
    median, late = (1000 * np.percentile(delays, q) for q in (50, 95))
    here = machine(torch.device('cpu'))
    return dict(
        network=name,
        width=windows.answer.run.width,
        by='quick' if compiled else 'PyTorch',
        threads=threads,
        cores=os.cpu_count(),
        people=people,
        joints=17,
        network_frames=windows.answer.run.frames,
        window_s=WINDOW,
        step_s=STEP,
        windows=len(delays),
        frames_a_second=f'{speed:.1f}',
        delay_ms_median=f'{median:.1f}',
        delay_ms_p95=f'{late:.1f}',
        load=f'{load:.2f}',
        **{k: here[k] for k in ('processor', 'torch')},
    )


def main(out: str, seconds: float) -> None:
    "Measure all networks with one and two threads."
    path = Path(out)
    with tempfile.TemporaryDirectory() as folder:
        for name in NETWORKS:
            for compiled in (True, False):
                for threads in (1, 2):
                    row = measured(Path(folder), name, compiled, threads, 4, seconds)
                    print(row, flush=True)
                    new = not path.exists()
                    with open(path, 'a', newline='', encoding='utf-8') as f:
                        table = csv.DictWriter(f, list(row))
                        if new:
                            table.writeheader()
                        table.writerow(row)


if __name__ == '__main__':
    main(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 30)
