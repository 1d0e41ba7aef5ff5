"""Two writers, killed writers, flipped bits and signals: nothing is lost, and nothing silently changed."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, TINY, pairs, places
from safetensors.torch import load_file

from msagcn.cli import main
from msagcn.core import MsagcnError
from msagcn.data.clips import load_clips
from msagcn.stopping import asked
from msagcn.training.checkpoint import previous, read_progress
from msagcn.training.evaluate import load_scores
from msagcn.training.steps import Steps
from msagcn.training.tensors import load_tensors

RUN = 'msg3d-embedded-smoke-joint-s1'  # resume's runs are of MSA-GCN
ONE = """
import sys, time
from msagcn.writers import hold
hold(sys.argv[1])
print(1, flush=True)
time.sleep(99)
"""
unix = pytest.mark.skipif(not hasattr(signal, 'SIGUSR1'), reason='needs signals and locks of Unix')


def command(root, data, **more):
    at = places(root) | dict(data_dir=str(data))
    return [
        'train',
        '--no-notebook',
        *pairs(
            **TINY
            | dict(model='msg3d', width=12, refit='false', epochs=2, batch_size=4)
            | at
            | more
        ),
    ]


@pytest.fixture(scope='module')
def finished(embedded, tmp_path_factory):
    "The folder of a finished run that nobody has disturbed."
    root = tmp_path_factory.mktemp('finished')
    assert main(command(root, embedded)) == 0
    return root


def same(a, b):
    "Whether two runs ended in the same bits."
    one, other = (load_file(d / f'runs/{RUN}/weights.safetensors') for d in (a, b))
    scores = [(d / f'reports/runs/{RUN}/test_scores.npz').read_bytes() for d in (a, b)]
    return all(one[k].equal(other[k]) for k in one) and scores[0] == scores[1]


@unix
def test_a_second_writer_is_told_who_works_there(finished, embedded, tmp_path, capfd):
    data = ['prepare', *pairs(subjects=2, data_dir=tmp_path)]
    held = tmp_path / f'runs/{RUN}', tmp_path / 'embedded'
    others = [
        subprocess.Popen([sys.executable, '-c', ONE, d], stdout=subprocess.PIPE) for d in held
    ]
    for other in others:
        other.stdout.read(1)
    for other, argv, folder in zip(others, (command(tmp_path, embedded), data), held):
        capfd.readouterr()
        assert main(argv) == 3
        said = capfd.readouterr().err.splitlines()[-1]
        assert said.startswith(f'msagcn: {folder}: process {other.pid} on ')
        assert [f.name for f in folder.iterdir()] == ['.lock']
        other.kill()  # and its lock with it
        other.wait()
        assert main(argv) == 0
        assert '.lock' not in os.listdir(folder)
    assert same(finished, tmp_path)


@unix
def test_leftovers_of_killed_writers_go_and_rights_are_the_umasks(finished, embedded, tmp_path):
    killed = (
        'import os, sys; from msagcn.core import atomic_write\n'
        'with atomic_write(sys.argv[1]) as part: part.write_text("half"); os._exit(9)'
    )
    run = tmp_path / f'runs/{RUN}'
    run.mkdir(parents=True)
    for name in ('weights.safetensors', 'fit.safetensors', 'run.json'):
        subprocess.run([sys.executable, '-c', killed, run / name])
    assert len(os.listdir(run)) == 3
    before = os.umask(0o027)
    try:
        assert main(command(tmp_path, embedded)) == 0
    finally:
        os.umask(before)
    left = {f.name: oct(f.stat().st_mode & 0o777) for f in run.iterdir()}
    wanted = 'fit.previous.safetensors', 'fit.safetensors', 'run.json', 'weights.safetensors'
    assert left == dict.fromkeys(wanted, '0o640')


def outcome(read, path):
    "What a reader makes of a file, ready to compare; None where it refuses it in one line."
    try:
        return read(path)
    except MsagcnError as e:
        assert '\n' not in str(e) and path.name in str(e) or path.parent.name in str(e)
        return None


def of_data(path):
    c = load_clips(path.parent)
    facts = c.names, c.labels.tolist(), c.subjects.tolist(), c.parts, c.classes, c.skeleton, c.notes
    return repr(facts), c.frames.tobytes(), repr(c.shared)


def of_tensors(read):
    def all_of_it(path):
        tensors, about = read(path)
        return {k: v.numpy().tobytes() for k, v in tensors.items()}, repr(about)

    return all_of_it


def of_scores(path):
    s = load_scores(path)
    return s.names, s.labels.tolist(), s.scores.tobytes(), np.asarray(s.subjects).tolist()


READERS = {
    'embedded/frames.npy': of_data,
    'embedded/manifest.json': of_data,
    f'runs/{RUN}/fit.safetensors': of_tensors(lambda f: load_tensors(f, 'progress')),
    f'runs/{RUN}/weights.safetensors': of_tensors(lambda f: load_tensors(f, 'msagcn')),
    f'reports/runs/{RUN}/test_scores.npz': of_scores,
}
FLIPS = int(os.environ.get('MSAGCN_FLIPS', 12))  # of each file


@pytest.mark.parametrize('name', READERS)
def test_a_flipped_bit_is_noticed_or_changes_nothing(name, finished, embedded, tmp_path, capsys):
    source = embedded if name.startswith('embedded') else finished
    shutil.copytree((source / name).parent, tmp_path / 'files')
    path, read, rng = tmp_path / 'files' / (source / name).name, READERS[name], random.Random(name)
    good, right, noticed = path.read_bytes(), READERS[name](path), 0
    for k in range(FLIPS):
        # half of them in the first 2,000 bytes, where headers are
        bit = rng.randrange(8 * min(len(good), 2000 if k % 2 else len(good)))
        path.unlink()
        path.write_bytes(
            good[: bit // 8] + bytes([good[bit // 8] ^ 1 << bit % 8]) + good[bit // 8 + 1 :]
        )
        now = outcome(read, path)
        assert now is None or now == right, bit
        noticed += now is None
    with capsys.disabled():
        print(f'\n{name}: {noticed} of {FLIPS} flips noticed, the others without effect')
    assert noticed


def test_broken_finished_files_are_named_and_made_again(finished, embedded, tmp_path, capfd):
    argv = command(tmp_path, embedded)
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    run, record = (tmp_path / d / RUN for d in ('runs', 'reports/runs'))
    for path in (
        run / 'weights.safetensors',
        run / 'run.json',
        record / 'metrics.json',
        record / 'test_scores.npz',
    ):
        good = path.read_bytes()
        path.write_bytes(good[: len(good) // 2] + b'\xff\xfe' + good[len(good) // 2 + 2 :])
        capfd.readouterr()
        assert main(argv) == 0
        assert f'{path.name}' in (said := capfd.readouterr().err) and 'it is made again' in said
        assert same(finished, tmp_path)
    assert main(argv) == 0
    assert 'made again' not in capfd.readouterr().err


def test_the_checkpoint_before_a_broken_one_is_taken(finished, embedded, tmp_path, capfd):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    run = tmp_path / f'runs/{RUN}'
    shutil.rmtree(tmp_path / 'reports')
    (run / 'weights.safetensors').unlink()
    last = run / 'fit.safetensors'
    bad = bytearray(last.read_bytes())
    bad[-1] ^= 1
    last.write_bytes(bad)
    assert main(command(tmp_path, embedded)) == 0
    said = capfd.readouterr().err
    assert 'fit.safetensors: is broken' in said and 'the one before it is taken' in said
    assert same(finished, tmp_path)
    for file in (last, previous(last), run / 'weights.safetensors'):
        file.write_bytes(b'abc')
    assert main(command(tmp_path, embedded)) == 0
    assert 'the training begins anew' in capfd.readouterr().err and same(finished, tmp_path)


@unix
def test_signals_cost_no_step_and_are_the_exit_code(
    finished, embedded, tmp_path, capfd, monkeypatch
):
    "Each signal comes in the middle of a step; several at once are one."
    take, sent = Steps.take, []

    def interrupted(self, step, rate):
        take(self, step, rate)
        if coming and len(sent) == at:
            for s in coming:
                os.kill(os.getpid(), getattr(signal, s))
            while not asked():
                time.sleep(0.001)
        sent.append(step)

    monkeypatch.setattr(Steps, 'take', interrupted)
    codes, steps = {}, []
    for coming, at in (
        (['SIGTERM'] * 3, 0),
        (['SIGHUP'], 0),
        (['SIGINT'], 1),
        (['SIGUSR1', 'SIGTERM'], 0),
    ):
        sent.clear()
        capfd.readouterr()
        codes[coming[0]] = main(command(tmp_path, embedded))
        progress = read_progress(tmp_path / f'runs/{RUN}/fit.safetensors')
        steps.append(progress['epoch'] * 5 + progress['step'])
        last = capfd.readouterr().err.splitlines()[-1]
        assert last.startswith(
            f'msagcn: stopped by {coming[0]} in epoch 1 after step {steps[-1]} of 5'
        )
        assert not list(tmp_path.rglob('.*'))
    assert codes == dict(SIGTERM=143, SIGHUP=129, SIGINT=130, SIGUSR1=75)
    assert steps == [1, 2, 4, 5]  # of ten; none is lost
    coming = []
    assert main(command(tmp_path, embedded)) == 0 and same(finished, tmp_path)


SRUN = """#!/bin/bash
trap 'echo saved; exit 75' USR1
trap 'echo saved; exit 143' TERM
echo ready
for i in {1..600}; do sleep 0.1; done
"""


@unix
@pytest.mark.skipif(shutil.which('bash') is None, reason='needs bash')
@pytest.mark.parametrize('name, code, queued', [('SIGUSR1', 75, True), ('SIGTERM', 143, False)])
def test_the_batch_script_goes_on_in_a_new_job(name, code, queued, embedded, tmp_path, capfd):
    "With a stand-in for srun that ends as a training does, and one for scontrol that notes its words."
    argv = ['train', '--launcher', 'slurm', '--gpus', '2', '--script', *pairs(data_dir=embedded)]
    capfd.readouterr()
    assert main([*argv, *pairs(recipe='x', device='cpu')]) == 0
    script = capfd.readouterr().out
    assert '#SBATCH --signal=B:USR1@120\n' in script and '#SBATCH --requeue\n' in script
    note = tmp_path / 'scontrol.txt'
    for tool, text in (('srun', SRUN), ('scontrol', f'#!/bin/bash\necho "$@" > {note}\n')):
        (tmp_path / tool).write_text(text)
        (tmp_path / tool).chmod(0o755)
    env = os.environ | {'PATH': f'{tmp_path}:{os.environ["PATH"]}', 'SLURM_JOB_ID': '7'}
    (tmp_path / 'job.sh').write_text(script)
    job = subprocess.Popen(
        ['bash', tmp_path / 'job.sh'], env=env, stdout=subprocess.PIPE, text=True
    )
    assert job.stdout.readline() == 'ready\n'
    if name == 'SIGTERM':  # Slurm sends it to the step, too
        subprocess.run(['pkill', '-TERM', '-P', str(job.pid)], check=True)
    job.send_signal(getattr(signal, name))
    assert job.communicate(timeout=60)[0] == 'saved\n'
    assert job.returncode == code
    assert note.exists() == queued and (not queued or note.read_text() == 'requeue 7\n')


RANK = """
import os, sys, time, torch
from msagcn.distributed.ranks import gather, start, world
start(torch.device('cpu'))
os.write(1, b'%d %d\\n' % (world()[0], os.getpid()))  # at once: two write into one pipe
while True:
    gather(0)
    time.sleep(0.05)
"""
STARTS = """
import sys
from msagcn.distributed.launch import launch, torchrun_command
launch(torchrun_command([], 2, [sys.argv[1]]))
"""


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def parent_of(pid):
    return int(Path(f'/proc/{pid}/stat').read_text().rsplit(')')[-1].split()[1])


@unix
@pytest.mark.skipif(not os.path.exists('/proc/self/stat'), reason='needs /proc')
@pytest.mark.parametrize('killed', ['this package', 'torchrun', 'a rank'])
def test_ranks_end_with_their_parent_and_their_like(killed, tmp_path, request):
    program = tmp_path / 'rank.py'
    program.write_text(RANK)
    starter = subprocess.Popen(
        [sys.executable, '-c', STARTS, program],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    request.addfinalizer(starter.kill)  # if it fails; its ranks end with it
    said = sorted(starter.stdout.readline() for _ in range(2))
    ranks = [int(line.split()[1]) for line in said]
    victim = {'this package': starter.pid, 'torchrun': parent_of(ranks[0]), 'a rank': ranks[1]}[
        killed
    ]
    os.kill(victim, signal.SIGKILL)
    end = time.monotonic() + 10
    while any(map(alive, ranks)) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(map(alive, ranks))
    error = starter.communicate()[1].splitlines()
    if killed == 'a rank':
        assert f'(process {victim} on ' in error[-1] and 'died of SIGKILL' in error[-1]
        assert error[-1].startswith('msagcn.core.MsagcnError: rank 1 ')


READS = """
import multiprocessing, os, signal, sys, threading, time
from msagcn.core import MsagcnError
from msagcn.data import raw_files
from msagcn.stopping import noticing

def read(slow):
    if slow:
        os.write(tell, b'%9d' % os.getpid())
        while True:
            time.sleep(0.01)

def kill_the_other():
    "Once one process reads without end, and the other waits for more."
    busy = int(os.read(told, 9))
    os.kill(*[p.pid for p in multiprocessing.active_children() if p.pid != busy], signal.SIGKILL)

raw_files._CHUNK, (told, tell) = 1, os.pipe()
with noticing():  # as in the command, whose handlers a fork has, too
    threading.Thread(target=kill_the_other).start()
    try:
        list(raw_files.map_files(read, [False, True], 2))
    except MsagcnError as e:
        print(e)
"""


@unix
def test_a_reader_that_is_killed_ends_those_beside_it():
    "The dead one may hold the lock of the queue, for which a living one would wait for ever."
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, '-c', READS], cwd=ROOT, capture_output=True, text=True, timeout=60
        )
        assert done.stdout.startswith('a process that was reading died: '), done.stderr


TRAINS = """
import os, signal, sys, time
from pathlib import Path
from msagcn.core import MsagcnError
from msagcn.experiments import folds
from msagcn.stopping import Stopped, asked, noticing

note = Path(sys.argv[1])

def train(slow):
    "As a training does, look for signals after each step; the first ends when two are at work."
    with noticing(deferred=True):
        with open(note, 'a') as f:
            f.write('begun\\n')
        while note.read_text().count('begun') < 2 or slow and not asked():
            time.sleep(0.01)
        if asked():
            raise Stopped(asked())
    return os.getpid()

folds.train = train  # in each process, which imports this program
if __name__ == '__main__':
    try:
        for waits in folds._at_once([False, True], 2):
            time.sleep(0.1)  # until it holds the lock of the queue
            os.kill(waits, getattr(signal, sys.argv[2]))
    except MsagcnError as e:
        print(e)
"""


@unix
@pytest.mark.parametrize('name', ['SIGKILL', 'SIGTERM'])
def test_a_training_process_that_is_killed_ends_those_beside_it(name, tmp_path):
    (tmp_path / 'trains.py').write_text(TRAINS)
    words = [sys.executable, 'trains.py', 'note', name]
    env = os.environ | dict(PYTHONPATH=str(ROOT))
    done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=180)
    assert done.stdout.startswith('a process that trained died: '), done.stderr
    assert 'Traceback' not in done.stderr


LATE = """
import multiprocessing, os, signal, time
from msagcn.stopping import end_with_parent

def late():
    while os.getppid() == multiprocessing.parent_process().pid:
        time.sleep(0.01)
    end_with_parent()
    time.sleep(60)

multiprocessing.get_context('fork').Process(target=late).start()
os.kill(os.getpid(), signal.SIGKILL)
"""


@unix
def test_a_process_ends_whose_parent_was_killed_before_it_looked():
    words = [sys.executable, '-c', LATE]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert 'ends, as what started it has ended' in done.stderr
