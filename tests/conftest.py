"""Shared by all tests: paths, a tiny prepared data set, and how to start our command and other tools."""

import gc
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(__file__).resolve().parents[2] / 'shared'
# no progress bars: stderr carries the messages that tests read
os.environ.setdefault('MSAGCN_QUIET', '1')
# imported modules and traced graphs are a million objects that stay; Python would look through them often
gc.set_threshold(20_000, 20, 100)

# the variables by which `make results` has the same bits on every processor with AVX2
_held = re.search(r'^PORTABLE := .*echo (.*)\)$', (ROOT / 'Makefile').read_text(), re.M)[1]
PORTABLE = dict(pair.split('=') for pair in _held.split())

TINY = dict(frames=8, width=40, batch_size=8, epochs=1, warmup=0, val_subjects='[1]', device='cpu')


def pytest_sessionstart():
    "Signals that nohup or a script's background ignore are as in a shell, also for what tests start."
    usual = dict(SIGHUP=signal.SIG_DFL, SIGINT=signal.default_int_handler)
    for name, handler in usual.items():
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


# the files that take longest
LONGEST = """
    resume lab runners missing ntu explore distributed predict words verify
    export docs wheel writers native parity reports bench ntu_path ablation speed precog
""".split()


def pytest_collection_modifyitems(items):
    "The longest files come first, so that at the end no core waits for one of them."
    last = len(LONGEST)

    def place(item):
        name = item.path.stem.removeprefix('test_')
        return LONGEST.index(name) if name in LONGEST else last

    items.sort(key=place)


@pytest.fixture(autouse=True)
def seeded():
    """Start the global generators at 0: a check of random numbers that passes will pass again.

    Not those of GPUs, for which torch.manual_seed formats a traceback."""
    torch.default_generator.manual_seed(0)
    np.random.seed(0)


def need(path, what):
    "The path; the test is skipped, naming what is missing, if there is nothing."
    path = Path(path)
    if not path.exists():
        pytest.skip(f'{what}: {path} is not there')
    return path


def one_clip(frames, skeleton, classes, **more):
    "A prepared set of one clip, for weights of its joints; what is said of it may be another."
    from msagcn.data.clips import Clips
    from msagcn.data.missing import Reading, reading_note

    usual = dict(
        benchmark='falls',
        parts=['train'],
        lengths=np.array([len(frames)]),
        channels='xys',
        feed='mmaction2',
        notes={'reading': reading_note(Reading())},
    )
    return Clips(
        skeleton=skeleton.name,
        classes=classes,
        names=['a'],
        labels=np.zeros(1, int),
        subjects=np.zeros(1, int),
        hashes=[''],
        frames=frames,
        **usual | more,
    )


def tool(name):
    "The path of a command of this environment; the test is skipped if it is not installed."
    path = shutil.which(name, path=f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}')
    if path is None:
        pytest.skip(f'{name} is not installed')
    return path


def sh(*args, cwd=None, check=True, **env):
    "Run a command with one thread; returns the finished process with its output as text."
    done = subprocess.run(
        [str(a) for a in args],
        cwd=cwd,
        env=os.environ | {'OMP_NUM_THREADS': '1'} | env,
        capture_output=True,
        text=True,
    )
    assert not check or done.returncode == 0, (
        f'{args}: exit {done.returncode}\n{done.stdout}\n{done.stderr}'
    )
    return done


def command(*words, cwd, check=True):
    "`msagcn` in this process, since to start it takes seconds; as `sh`."
    from msagcn.cli import main

    out, errors = io.StringIO(), io.StringIO()
    with chdir(cwd), redirect_stdout(out), redirect_stderr(errors):
        code = main([str(w) for w in words])
    done = SimpleNamespace(returncode=code, stdout=out.getvalue(), stderr=errors.getvalue())
    assert not check or code == 0, f'{words}: exit {code}\n{done.stdout}\n{done.stderr}'
    return done


def papermill(*args, cwd, check=True, **env):
    """papermill's command in this process, since to start it takes seconds; the kernel is a process.

    Returns `returncode` and `stderr`, as `sh`, the latter with the error that ended it.
    """
    from click.testing import CliRunner
    from papermill.cli import papermill as command

    with chdir(cwd):
        done = CliRunner().invoke(
            command, [str(a) for a in args], env=dict(OMP_NUM_THREADS='1') | env
        )
    stderr = done.output + ''.join(traceback.format_exception(done.exception))
    assert not check or done.exit_code == 0, stderr
    return SimpleNamespace(returncode=done.exit_code, stderr=stderr)


def pairs(**parameters):
    "`-p name value` for the command."
    return [w for k, v in parameters.items() for w in ('-p', k, str(v))]


def places(root):
    "The three folders of a run, under `root`."
    return {f'{k}_dir': str(Path(root) / k) for k in ('data', 'runs', 'reports')}


class Through(torch.nn.Module):
    "Instead of a block; its graph has seen a context, as a model that predicts asks for."

    graph = SimpleNamespace(context_batches=1)

    def forward(self, x, maps=None):
        return x


def of_few_blocks(model):
    """An MSA-GCN with one block of each kind: the first, a usual one, and the two that halve the frames.

    The other six only repeat these; to trace or to export ten blocks takes minutes.
    """
    for i in (2, 3, 5, 6, 8, 9):
        model.blocks[i] = Through()
    return model


@pytest.fixture
def in_memory(tmp_path):
    "A folder in memory where possible: for thousands of small files, or a checkpoint every step."
    memory = Path('/dev/shm')
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as d:
        yield Path(d)


@pytest.fixture(scope='session')
def embedded(tmp_path_factory):
    "A data folder with the embedded set of two people, 60 clips, prepared. Read it, never write to it."
    from msagcn.experiments.parameters import PrepareParameters
    from msagcn.experiments.prepare import prepare

    data = tmp_path_factory.mktemp('embedded')
    prepare(PrepareParameters(subjects=2, data_dir=str(data)))
    return data


@pytest.fixture(scope='module')
def browser():
    playwright = pytest.importorskip('playwright.sync_api', reason='playwright is not installed')
    chromium = next(
        filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None
    )
    if chromium is None:
        pytest.skip('there is no Chromium here')
    with playwright.sync_playwright() as p:
        b = p.chromium.launch(executable_path=chromium, args=['--no-sandbox'])
        yield b
        b.close()


@pytest.fixture
def shots(tmp_path_factory):
    "The folder for screenshots: MSAGCN_PICTURES, or pytest's own."
    place = os.environ.get('MSAGCN_PICTURES')
    if not place:
        return tmp_path_factory.mktemp('pictures')
    os.makedirs(place, exist_ok=True)
    return type(ROOT)(place)
