"""Kill every verb at random moments, run two at once, and compare what is left: for hours, not for CI.

    python tests/kill_long.py robustness.csv SEED [SHARE] [PART ...]

SHARE scales the number of rounds, PART=SHARE that of one part. The table says, for each verb: how many
processes were killed, hung up, interrupted or terminated at work; how many restarts ended in the bits of
an undisturbed run; what was left over. Then how many steps a SIGTERM costs, and what comes of flipped
bits. Rows of the parts of this call take the place of their former ones, the others stay. Needs Linux
(orphans come to this process, as it is their subreaper).
"""

import collections
import csv
import ctypes
import hashlib
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from conftest import ROOT, SHARED, TINY, pairs, pytest_sessionstart

SMALL = TINY | dict(refit='false', epochs=2, batch_size=4, checkpoint_seconds=0)
RUN, BONE = (f'msagcn-embedded-smoke-{s}-s1' for s in ('joint', 'bone'))
SIGNALS = [signal.SIGKILL] * 4 + [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGTERM]
ORPHANS_END_IN = 10  # seconds
LEFTOVER = re.compile(r'^\.|\.part|^tmp|\.journal')
VARIES = re.compile(r'"?seconds"?\W+[\d.]+|"when"\W+"[^"]*"')


@dataclass
class Verb:
    "What is started, in a folder of its own with finished inputs in it, and how often."

    words: list
    rounds: int
    inputs: tuple = ()  # what of the finished folder is there beforehand
    victims: tuple = ('command',)  # one of them is killed: the command, or a child or grandchild
    program: tuple = ()  # instead of a fork of this process
    most: int = 6  # kills in a round
    needs: Path | None = None


def _grid(folder: Path) -> Path:
    "A small grid of variants, for ablate and crossval."
    common = {k: v for k, v in SMALL.items() if k != 'checkpoint_seconds'}
    lines = [f'  {k}: {v}' for k, v in (common | dict(benchmark='embedded')).items()]
    text = [
        'common:',
        *lines,
        'variants:',
        '  full: {}',
        '  one: {stages: 1}',
        'seeds: {1: all}',
        '',
    ]
    (folder / 'grid.yaml').write_text('\n'.join(text))
    recipe = common | dict(recipe='fold', val_subjects='[]')  # a fold may test whom that names
    (folder / 'fold.yaml').write_text('\n'.join(f'{k}: {v}' for k, v in recipe.items()))
    return folder / 'grid.yaml'


def verbs(finished: Path) -> dict[str, Verb]:
    "All verbs that write files; paths are relative, each round works in a folder of its own."
    train = ['train', '--no-notebook', *pairs(**SMALL)]
    notebook = ['-m', 'papermill', '--no-progress-bar', '-k', 'python3', '--cwd', '.']
    notebook += [ROOT / 'nbs/runs/train.ipynb', 'out.ipynb', *pairs(**SMALL)]
    ntu = SHARED / 'golden/ntu_mini/raw.zip'
    ucla = SHARED / 'data/nw_ucla/all_sqe.zip'
    weights = f'runs/{RUN}/weights.safetensors'
    clip = 'data/raw/embedded/all_sqe/a01_s01_e00_v01.json'
    data, done = ('data',), ('data', 'runs', 'reports')

    def prepare(**more):
        return ['prepare', *pairs(**more)]

    return {
        'train': Verb(train, 16, data, most=10),
        'train by two processes': Verb(
            [*train, *pairs(nproc=2)], 8, data, ('command', 'child', 'grandchild'), most=4
        ),
        'train in a notebook': Verb(notebook, 5, data, program=(sys.executable,), most=4),
        'prepare embedded': Verb(prepare(subjects=2), 14, most=6),
        'prepare NW-UCLA': Verb(prepare(benchmark='nw_ucla', source=ucla), 5, most=4, needs=ucla),
        'prepare NTU': Verb(
            prepare(benchmark='ntu60_xsub', source=ntu, processes=2),
            10, victims=('command', 'command', 'child'), most=5, needs=ntu,
        ),
        'fuse': Verb(['fuse'], 12, done, most=6),
        'tables': Verb(['tables'], 12, done, most=6),
        'test': Verb(['test', *pairs(weights=weights, metrics='m.json', scores='s.npz')], 6, done, most=4),
        'export': Verb(['export', 'out.onnx', '--weights', weights], 4, done, most=4),
        'export as .pt2': Verb(['export', 'out.pt2', '--to', 'torch', '--weights', weights], 2, done, most=3),
        'explore': Verb(['explore', RUN, '-p', 'count', '2'], 4, done, most=4),
        'facts': Verb(['facts', RUN], 3, done, most=4),
        'predict': Verb(
            ['predict', clip, '--weights', weights, *pairs(windows=0.5, fps=30, out='w.json')],
            4, done, most=3,
        ),
        'verify': Verb(['verify', RUN, *pairs(steps=2, record='true', device='cpu')], 4, done, most=3),
        'ablate': Verb(['ablate', '--no-notebook', '-f', finished / 'grid.yaml'], 3, data, most=5),
        'crossval': Verb(
            ['crossval', *pairs(benchmark='embedded', recipes=finished / 'fold.yaml', folds=2, seeds=1,
                                streams='joint,bone', processes=2)],
            3, data, ('command', 'command', 'child'), most=4,
        ),
        'report': Verb(['report'], 3, done, most=3),
    }  # fmt: skip


# --- processes


def start(verb: Verb, folder: Path, log: Path, words=None) -> int:
    "Start a verb in a folder; returns the process's number."
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    pid = os.fork()
    if pid == 0:  # until the verb listens, Ctrl-C ends it without a word
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    if pid:
        return pid
    os.chdir(folder)
    for stream in (1, 2):
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    words = [str(w) for w in words or verb.words]
    if verb.program:
        os.execv(verb.program[0], [*verb.program, *words])
    status = 99
    try:
        from msagcn.cli import main

        status = main(words)
    except BaseException:
        import traceback

        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def children(pid: int) -> list[int]:
    try:
        return [int(p) for p in Path(f'/proc/{pid}/task/{pid}/children').read_text().split()]
    except (OSError, ProcessLookupError):
        return []


def descendants(pid: int) -> list[int]:
    below = children(pid)
    return below + [d for c in below for d in descendants(c)]


def living(pid: int) -> bool:
    try:
        return Path(f'/proc/{pid}/stat').read_text().rsplit(')')[-1].split()[0] != 'Z'
    except OSError:
        return False


def reap() -> None:
    "Take the statuses of orphans that have ended."
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def wait(pid: int, seconds=600) -> int:  # exit status, or minus the signal
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return -99


def orphans() -> int:
    "How many processes are left ten seconds after a kill; they are ended then."
    end = time.monotonic() + ORPHANS_END_IN
    while left := [p for p in descendants(os.getpid()) if living(p)]:
        if time.monotonic() > end:
            break
        time.sleep(0.05)
        reap()
    for p in left:
        print('orphan:', Path(f'/proc/{p}/cmdline').read_bytes()[:200], flush=True)
        os.kill(p, signal.SIGKILL)
    time.sleep(0.1 * bool(left))
    reap()
    return len(left)


# --- files


def content(path: Path) -> str:
    "What a file holds, without durations."
    raw = path.read_bytes()
    if path.suffix == '.safetensors':
        from safetensors import safe_open

        size = int.from_bytes(raw[:8], 'little')
        with safe_open(path, 'np') as f:
            about = json.dumps(f.metadata(), sort_keys=True).replace('\\', '')
        about = re.sub(r'"checksum": "\w+"', '', VARIES.sub('', about))
        return hashlib.sha256(about.encode() + raw[8 + size :]).hexdigest()
    if path.suffix == '.csv' and raw.strip():
        rows = list(csv.DictReader(raw.decode().splitlines()))
        raw = repr([{k: v for k, v in r.items() if 'seconds' not in k} for r in rows]).encode()
    if path.suffix in ('.json', '.ipynb'):
        json.loads(raw)
        raw = VARIES.sub('', raw.decode()).encode()
    return hashlib.sha256(raw).hexdigest()


def snapshot(folder: Path) -> dict[str, str]:
    "All files under a folder by their names."
    files = [f for f in sorted(folder.rglob('*')) if f.is_file()]
    return {str(f.relative_to(folder)): content(f) for f in files}


def leftovers(folder: Path) -> list[str]:
    return [str(f.relative_to(folder)) for f in folder.rglob('*') if LEFTOVER.search(f.name)]


def fresh(verb: Verb, finished: Path, root: Path) -> Path:
    folder = Path(tempfile.mkdtemp(dir=root))
    for name in verb.inputs:
        shutil.copytree(finished / name, folder / name)
    return folder


@dataclass
class Reference:
    "What undisturbed runs leave: the same each time, or only there each time."

    same: dict
    varies: set
    seconds: float

    def files(self) -> str:
        varying = ', '.join(sorted(Path(f).name for f in self.varies))
        return f'{len(self.same)} compared' + (f', {varying} by name' if varying else '')

    def differences(self, folder: Path) -> list[str]:
        found = snapshot(folder)
        missing = (self.same.keys() | self.varies) ^ found.keys()
        return sorted(missing) + [k for k, v in self.same.items() if found.get(k, v) != v]


def undisturbed(verb: Verb, finished: Path, root: Path, log: Path) -> Reference:
    "Two undisturbed runs, one after the other."
    found, seconds = [], []
    for _ in range(2):
        folder, begin = fresh(verb, finished, root), time.monotonic()
        status = wait(start(verb, folder, log))
        seconds.append(time.monotonic() - begin)
        assert status == 0, f'{verb.words}: exit {status}\n{log.read_text()[-3000:]}'
        assert not leftovers(folder), leftovers(folder)
        found.append(snapshot(folder))
        shutil.rmtree(folder)
    a, b = found
    assert a.keys() == b.keys(), a.keys() ^ b.keys()
    # the checkpoint before the last is a step later in a run that was stopped at the end of an epoch
    varies = {k for k in a if a[k] != b[k] or k.endswith('.previous.safetensors')}
    return Reference({k: v for k, v in a.items() if k not in varies}, varies, min(seconds))


# --- what is done to them


@dataclass
class Found:
    "Counts of one verb."

    rounds: int = 0
    signals: collections.Counter = field(default_factory=collections.Counter)
    equal: int = 0
    different: list = field(default_factory=list)
    left: list = field(default_factory=list)
    orphans: int = 0
    tracebacks: int = 0
    odd: list = field(
        default_factory=list
    )  # exit codes that say neither done, nor stopped, nor busy


def victim(pid: int, kind: str) -> int:
    "The process that is killed; the command where there is none of that kind yet."
    below = children(pid)
    if kind == 'grandchild':
        below = [g for c in below for g in children(c)]
    return below[-1] if kind != 'command' and below else pid


def tracebacks(log: Path, begin: int) -> int:
    "Of the command itself: what a killed worker's pool says in its own process is none."
    return said_since(log, begin).count('Traceback (most recent call last)')


def said_since(log: Path, begin: int) -> str:  # begin: in bytes
    return log.read_bytes()[begin:].decode(errors='replace')


def one_round(verb: Verb, at: Reference, folder: Path, log: Path, rng, found: Found) -> None:
    "Kill one command until it has been killed often enough or is done; then compare."
    status, kills = None, 0
    for _ in range(rng.randint(1, verb.most)):
        size = log.stat().st_size
        pid = start(verb, folder, log)
        time.sleep(rng.uniform(0.02, 0.8 * at.seconds))
        sent, of = rng.choice(SIGNALS), rng.choice(verb.victims)
        alive, who = living(pid), victim(pid, of)
        if alive:
            with suppress(ProcessLookupError):  # it has ended meanwhile
                os.kill(who, sent)
        status = wait(pid)
        found.orphans += orphans()
        if status == 0:
            break
        kills += 1
        found.signals[sent.name + (f' of a {of}' if who != pid else '')] += alive
        if sent != signal.SIGKILL and not verb.program or of != 'command':
            found.tracebacks += tracebacks(log, size)
        codes = {-sent, 128 + sent, 1, 2, 3} if of != 'command' else {-sent, 128 + sent}
        if status not in codes | ({1} if verb.program else set()):
            found.odd.append(f'{sent.name} {status}')
    if status != 0 and (status := wait(start(verb, folder, log))):
        found.odd.append(f'restart {status}')
    found.rounds += 1
    different, left = at.differences(folder), leftovers(folder)
    found.equal += not different and not left
    found.different += different
    found.left += left


def kill(name: str, verb: Verb, finished: Path, root: Path, share: float, seed: str) -> dict:
    log = root / f'{name.replace(" ", "_")}.log'
    log.touch()
    at, found, rng = (
        undisturbed(verb, finished, root, log),
        Found(),
        random.Random(f'{seed} {name}'),
    )
    for _ in range(max(1, round(share * verb.rounds))):
        folder = fresh(verb, finished, root)
        one_round(verb, at, folder, log, rng, found)
        if found.equal == found.rounds:
            shutil.rmtree(folder)
    said = sorted(set(found.different + found.left + found.odd))
    return dict(
        part='killed',
        verb=name,
        rounds=found.rounds,
        disturbed=sum(found.signals.values()),
        signals=', '.join(f'{k}: {v}' for k, v in sorted(found.signals.items())),
        equal=found.equal,
        files=at.files(),
        leftovers=len(found.left),
        orphans=found.orphans,
        tracebacks=found.tracebacks,
        remarks='; '.join(said)[:200],
    )


TWO = 'train', 'prepare embedded', 'prepare NW-UCLA', 'prepare NTU', 'fuse', 'tables'


def two_at_once(name: str, verb: Verb, finished: Path, root: Path, share: float, seed: str) -> dict:
    "The same command twice at nearly the same time: one finishes, the other is told so or is done, too."
    log = root / f'{name.replace(" ", "_")}_two.log'
    log.touch()
    at, rng = undisturbed(verb, finished, root, log), random.Random(f'{seed} two {name}')
    statuses, equal, left, odd = collections.Counter(), 0, 0, []
    rounds = max(1, round(share * 20))
    for k in range(rounds):
        folder, logs = fresh(verb, finished, root), [root / f'two{i}.log' for i in range(2)]
        for each in logs:
            each.write_text('')
        first = start(verb, folder, logs[0])
        time.sleep(rng.uniform(0, at.seconds / 3))
        second = start(verb, folder, logs[1])
        ended = [wait(first), wait(second)]
        statuses[' and '.join(map(str, sorted(ended)))] += 1
        for status, each in zip(ended, logs):
            lines = each.read_text().splitlines()
            if status and not (status == 3 and lines[-1].startswith('msagcn: ')):
                odd.append(f'exit {status}: {lines[-1:]}')
        different, more = at.differences(folder), leftovers(folder)
        equal += not different and not more
        left += len(more)
        odd += different
        shutil.rmtree(folder)
    return dict(
        part='two at once',
        verb=name,
        rounds=rounds,
        disturbed=rounds,
        signals=', '.join(f'exits {k}: {v}' for k, v in sorted(statuses.items())),
        equal=equal,
        files=at.files(),
        leftovers=left,
        orphans=orphans(),
        tracebacks='',
        remarks='; '.join(sorted(set(odd)))[:200],
    )


def counted_steps(file: Path) -> None:
    "From now on, each step of a training in this process adds a byte to a file."
    from msagcn.training.steps import Steps

    take = Steps.take

    def noted(self, *a):
        take(self, *a)
        with open(file, 'ab') as f:
            f.write(b'.')

    Steps.take = noted


def lost_steps(verb: Verb, finished: Path, root: Path, share: float, seed: str) -> dict:
    "SIGTERM in mid-epoch, without checkpoints by the clock: steps taken against steps in the checkpoint."
    from msagcn.training.checkpoint import read_progress

    words = ['train', '--no-notebook', *pairs(**SMALL | dict(checkpoint_seconds=9999, epochs=3))]
    rng, lost, odd = random.Random(f'{seed} steps'), collections.Counter(), []
    rounds, log = max(1, round(share * 20)), root / 'steps.log'
    for _ in range(rounds):
        folder, noted = fresh(verb, finished, root), root / 'steps'
        noted.write_bytes(b'')
        pid = os.fork()
        if pid == 0:
            counted_steps(noted)
            os._exit(start_here(words, folder, log))
        wanted = rng.randint(1, 13)  # of 15
        while noted.stat().st_size < wanted and living(pid):
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.05))
        os.kill(pid, signal.SIGTERM)
        status = wait(pid)
        at = read_progress(folder / f'runs/{RUN}/fit.safetensors')
        odd += [f'exit {status}'] * (status not in (143, 0))
        shutil.rmtree(folder)
        if status == 0:
            continue  # done before the signal came
        lost[noted.stat().st_size - at['epoch'] * 5 - at['step']] += 1
    return dict(
        part='SIGTERM in mid-epoch',
        verb='train',
        rounds=rounds,
        disturbed=lost.total(),
        signals=', '.join(f'{k} steps lost: {v}' for k, v in sorted(lost.items())),
        equal=lost[0],
        leftovers=0,
        orphans=orphans(),
        tracebacks='',
        remarks='; '.join(sorted(set(odd))),
    )


BITS = {  # file -> whose it is, what is there beforehand, the verb that reads it
    'embedded/frames.npy': ('data', ('data',), 'train'),
    'embedded/manifest.json': ('data', ('data',), 'train'),
    f'runs/{RUN}/fit.safetensors': ('', ('data', 'runs'), 'train'),
    f'runs/{RUN}/weights.safetensors': ('', ('data', 'runs', 'reports'), 'test'),
    f'reports/runs/{RUN}/test_scores.npz': ('', ('data', 'runs', 'reports'), 'fuse'),
}


RESULTS = {
    'train': [f'runs/{RUN}/weights.safetensors', f'reports/runs/{RUN}/test_scores.npz'],
    'test': ['m.json', 's.npz'],
    'fuse': ['reports/fusion.csv'],
}


def flip(path: Path, good: bytes, rng, head: bool) -> str:
    "Write a file with one bit flipped, in the first 2,000 bytes if `head`; what stands there then."
    data = bytearray(good)
    bit = rng.randrange(8 * min(len(good), 2000 if head else len(good)))
    data[bit // 8] ^= 1 << bit % 8
    path.unlink()
    path.write_bytes(data)
    return f'byte {bit // 8} in {bytes(data[max(bit // 8 - 9, 0) :][:18])}'


def bits(name: str, root: Path, finished: Path, share: float, seed: str, checked=True) -> dict:
    "Flip a bit of a file and read it: refused in one line, the same content, or silently another."
    from test_writers import READERS, outcome

    from msagcn.data.clips import UNCHECKED

    source, read = finished / BITS[name][0] / name, READERS[name]
    shutil.copytree(source.parent, folder := root / 'bits')
    path, rng, counts = folder / source.name, random.Random(f'{seed} {name}'), collections.Counter()
    good, right, odd = path.read_bytes(), read(path), set()
    os.environ.update({} if checked else {UNCHECKED: '1'})
    for k in range(rounds := max(1, round(share * 480))):
        where = flip(path, good, rng, head=k % 2)
        try:
            now = outcome(read, path)
        except Exception as e:
            odd.add(f'{type(e).__name__}: {e}')
            counts['traceback'] += 1
            continue
        made = 'noticed' if now is None else 'without effect' if now == right else 'silent'
        counts[made] += 1
        odd.update([where] if made == 'silent' else [])
    os.environ.pop(UNCHECKED, None)
    shutil.rmtree(folder)
    part = 'bits flipped' + (', then read' if checked else ', then read with hashes not compared')
    return of_bits(part, Path(name).name, rounds, counts, odd)


def of_bits(part: str, name: str, rounds: int, counts, odd, files='') -> dict:
    return dict(
        part=part,
        verb=name,
        rounds=rounds,
        disturbed=rounds,
        signals=', '.join(f'{k}: {v}' for k, v in sorted(counts.items())),
        equal=counts['without effect'] + counts['noticed'] + counts['mended'],
        files=files,
        leftovers='',
        orphans='',
        tracebacks='',
        remarks='; '.join(sorted(odd))[:200],
    )


def verdict(status: int, equal: bool, said: str) -> str:
    "What a verb made of a flipped bit."
    if status == 0 and equal:
        return 'mended' if 'is broken' in said or 'made again' in said else 'without effect'
    one_line = said.splitlines()[-1:] and said.splitlines()[-1].startswith('msagcn: ')
    return 'noticed' if status and one_line and 'Traceback' not in said else 'silent'


def bits_at_work(
    name: str, verbs: dict, finished: Path, root: Path, share: float, seed: str
) -> dict:
    "Flip a bit of a file, then run the verb that reads it: one line, or the result of the good file."
    whose, inputs, word = BITS[name]
    verb, rng = replace(verbs[word], inputs=inputs), random.Random(f'{seed} at work {name}')
    log, counts, odd, results = root / 'bits.log', collections.Counter(), set(), []
    log.touch()
    rounds = max(1, round(share * 20))
    for k in range(-2, rounds):  # first two of the good file
        folder, size = fresh(verb, finished, root), log.stat().st_size
        path = folder / whose / name
        if 'fit' in name:
            (folder / f'runs/{RUN}/weights.safetensors').unlink()
        if k >= 0:
            flip(path, path.read_bytes(), rng, head=k % 2)
        status = wait(start(verb, folder, log))
        results.append({f: content(folder / f) for f in RESULTS[word] if (folder / f).exists()})
        odd.update(leftovers(folder))
        if k >= 0:
            said = said_since(log, size)
            counts[now := verdict(status, results[-1] == results[0], said)] += 1
            odd.update(said.splitlines()[-1:] if now == 'silent' else [])
        shutil.rmtree(folder)
    assert results[0] == results[1] and list(results[0]) == RESULTS[word], results[:2]
    part = f'bits flipped, then {word}'
    return of_bits(part, Path(name).name, rounds, counts, odd, f'{len(results[0])} compared')


def start_here(words, folder: Path, log: Path) -> int:
    from msagcn.cli import main

    os.chdir(folder)
    for stream in (1, 2):
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    return main([str(w) for w in words])


def finished_folder(root: Path) -> Path:
    "A folder with the embedded set and two finished runs, and the files of grids."
    from msagcn.cli import main

    folder = root / 'finished'
    folder.mkdir()
    os.chdir(folder)
    quiet = [w for k, v in dict(SMALL).items() for w in ('-p', k, str(v))]
    assert main(['prepare', *pairs(subjects=2)]) == 0
    assert main(['train', '--no-notebook', *quiet, '-p', 'stream', 'joint,bone']) == 0
    _grid(folder)
    return folder


COLUMNS = """
    part verb rounds disturbed signals equal files leftovers orphans tracebacks remarks seed minutes
""".split()


def former(out: Path) -> dict:
    "The rows of a table by part and verb."
    if not out.exists():
        return {}
    with open(out, newline='') as f:
        return {(r['part'], r['verb']): r for r in csv.DictReader(f)}


def write(out: Path, row: dict) -> None:
    "Add a row to a table, or put it in the place of the one of its part and verb."
    rows = former(out) | {(row['part'], row['verb']): row}
    part = out.with_name(f'.{out.name}.part')
    with open(part, 'w', newline='') as f:
        table = csv.DictWriter(f, COLUMNS, restval='', lineterminator='\n')
        table.writeheader()
        table.writerows(rows.values())
    part.replace(out)


def main() -> None:
    out, seed = Path(sys.argv[1]).absolute(), sys.argv[2]
    share, only = float((sys.argv[3:] or ['1'])[0]), sys.argv[4:]
    pytest_sessionstart()  # in the background SIGINT is ignored, under nohup SIGHUP
    os.environ.update(OMP_NUM_THREADS='1', MSAGCN_QUIET='1', PYTHONPATH=str(ROOT))
    ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER
    import torch._dynamo  # noqa: F401  which an optimiser imports

    import msagcn.experiments.run  # noqa: F401
    import msagcn.verbs  # noqa: F401

    memory = '/dev/shm' if os.access('/dev/shm', os.W_OK) else None
    root = Path(tempfile.mkdtemp(dir=memory, prefix='kill_long_'))
    all_of_them = verbs(finished := finished_folder(root))
    at = dict(finished=finished, root=root, seed=seed)
    jobs = dict(steps=partial(lost_steps, all_of_them['train'], **at))
    for name, verb in all_of_them.items():
        jobs[name] = partial(kill, name, verb, **at)
    for name in TWO:
        jobs[f'{name} twice'] = partial(two_at_once, name, all_of_them[name], **at)
    for name in BITS:
        jobs[f'bits of {Path(name).name}'] = partial(bits, name, **at)
        if name.startswith('embedded'):
            jobs[f'unchecked bits of {Path(name).name}'] = partial(bits, name, checked=False, **at)
        jobs[f'{Path(name).name} at work'] = partial(bits_at_work, name, all_of_them, **at)
    for name in only or jobs:
        name, _, scale = name.partition('=')
        needs = all_of_them.get(name.removesuffix(' twice'), all_of_them['train']).needs
        if needs and not needs.exists():
            print(f'{name}: {needs} is not there', flush=True)
            continue
        begin = time.monotonic()
        try:
            row = jobs[name](share=float(scale or share))
        except AssertionError as e:
            print(f'{name}: undisturbed, {e}', flush=True)
            continue
        row |= dict(seed=seed, minutes=round((time.monotonic() - begin) / 60, 1))
        print(*row.values(), sep=' | ', flush=True)
        write(out, row)
    killed = [int(r['disturbed']) for r in former(out).values() if r['part'] == 'killed']
    print(sum(killed), 'kills; files in', root)


if __name__ == '__main__':
    main()
