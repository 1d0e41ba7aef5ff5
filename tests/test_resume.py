"""A run killed with SIGKILL at more than twenty moments, and restarted, ends in the same bits.

To afford so many starts, one helper process imports PyTorch once and forks; each fork is the command
`msagcn train` of its own, killed a while after it has started and some checkpoints later. The
undisturbed run is an ordinary `python -m msagcn train`. All with one thread.
"""

import csv
import json
import os
import subprocess
import sys

import pytest
from conftest import ROOT, TINY, pairs, sh
from safetensors import safe_open
from safetensors.numpy import load_file

RUN = 'msagcn-embedded-smoke-joint-s1'
WAITS = [
    *zip(
        [1, 2, 0, 1, 2, 1, 1, 2, 0, 1, 1, 2] * 2,  # checkpoints to wait for, then seconds
        [
            0.03,
            0.11,
            0.35,
            0.00,
            0.07,
            0.09,
            0.02,
            0.13,
            0.50,
            0.09,
            0.05,
            0.01,
            0.12,
            0.06,
            0.42,
            0.04,
            0.10,
            0.00,
            0.08,
            0.05,
            0.60,
            0.03,
            0.03,
            0.07,
        ],
    )
]

DRIVER = """
import json, os, signal, struct, sys, time
from pathlib import Path
import torch._dynamo  # which an optimiser imports
import msagcn.verbs, msagcn.experiments.run
from msagcn.cli import main

argv, runs, waits = json.loads(sys.argv[1])
checkpoints = [Path(runs, f'{part}.safetensors') for part in ('fit', 'train')]

def written(): return [p.stat().st_mtime_ns if p.exists() else 0 for p in checkpoints]

def attempt(argv, steps=None, delay=None):
    # Fork the command; kill it `delay` seconds after its start and `steps` more checkpoints.
    # Returns the signal (or 0) and the exit status.
    before, (ready, say) = written(), os.pipe()
    pid = os.fork()
    if pid == 0:
        null = os.open(os.devnull, os.O_WRONLY); os.dup2(null, 1); os.dup2(null, 2)
        os.write(say, b'started')
        try: status = main(argv)
        except BaseException: status = 99
        os._exit(status)
    os.close(say); os.read(ready, 7); os.close(ready)
    if delay is not None:
        while steps and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            time.sleep(.002)
            if (now := written()) != before: before, steps = now, steps - 1
        time.sleep(delay); os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, os.waitstatus_to_exitcode(status)

def progress():
    "Part, epoch and step of the latest checkpoint, read without PyTorch."
    part = [p for p in checkpoints if p.exists()]
    if not part: return None
    with open(part[-1], 'rb') as f: head = json.loads(f.read(struct.unpack('<Q', f.read(8))[0]))
    at = json.loads(head['__metadata__']['progress'])
    return part[-1].stem, at['epoch'], at['step']

kills = []
for steps, delay in waits:
    was, status = attempt(argv, steps, delay)
    done = Path(runs, 'weights.safetensors').exists()  # the last file of a run
    kills.append(dict(signal=was, status=status, progress=progress(), done=done))
print(json.dumps(dict(kills=kills, last=attempt(argv))))
"""


def history(path):
    with open(path, newline='') as f:
        return [{k: v for k, v in row.items() if k != 'seconds'} for row in csv.DictReader(f)]


def checkpoint(path):
    with safe_open(path, 'np') as f:
        at = json.loads(f.metadata()['progress'])
    return [{k: v for k, v in row.items() if k != 'seconds'} for row in at['history']]


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork and SIGKILL')
def test_killed_runs_end_in_the_same_bits(embedded, in_memory):
    def argv(name):
        return [
            'train',
            '--no-notebook',
            *pairs(
                **TINY
                | dict(
                    batch_size=4,
                    epochs=3,
                    warmup=1,
                    checkpoint_seconds=0,
                    test_every_epoch_from=3,
                    data_dir=embedded,
                    runs_dir=in_memory / name / 'runs',
                    reports_dir=in_memory / name / 'reports',
                )
            ),
        ]

    a, b = in_memory / 'killed', in_memory / 'alone'
    helper = subprocess.Popen(
        [sys.executable, '-c', DRIVER, json.dumps([argv('killed'), str(a / 'runs' / RUN), WAITS])],
        env=os.environ | {'OMP_NUM_THREADS': '1'},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    sh(sys.executable, '-m', 'msagcn', *argv('alone'), cwd=ROOT)  # meanwhile, the undisturbed run
    told = json.loads(helper.communicate()[0])
    assert told['last'] == [0, 0]
    hit = [k for k in told['kills'] if k['signal'] == 9 and not k['done']]
    inside = [tuple(k['progress']) for k in hit if k['progress'] and k['progress'][2] > 0]
    print(
        f'{len(hit)} kills hit the run, {len(inside)} within an epoch: {[k["progress"] for k in hit]}'
    )
    assert len(hit) >= 20 and len(inside) >= 5 and len(set(inside)) >= 5
    # both trainings were interrupted
    assert {k['progress'][0] for k in hit if k['progress']} == {
        'fit',
        'train',
    }

    for file in ('weights', 'fit', 'train'):  # checkpoints hold the momenta too
        want, got = (load_file(d / f'runs/{RUN}/{file}.safetensors') for d in (b, a))
        assert want.keys() == got.keys()
        for k in want:
            assert want[k].tobytes() == got[k].tobytes(), (file, k)
    for part in ('fit', 'train'):
        assert checkpoint(a / f'runs/{RUN}/{part}.safetensors') == checkpoint(
            b / f'runs/{RUN}/{part}.safetensors'
        )
    for table in (f'runs/{RUN}/history.csv', f'runs/{RUN}/val_history.csv', 'results.csv'):
        assert history(a / 'reports' / table) == history(b / 'reports' / table)
    for part in ('val', 'test'):
        assert (a / f'reports/runs/{RUN}/{part}_scores.npz').read_bytes() == (
            b / f'reports/runs/{RUN}/{part}_scores.npz'
        ).read_bytes()
    assert not list(in_memory.rglob('*.part'))  # what a kill left is cleared by the next start
