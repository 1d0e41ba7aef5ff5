"""Spoils files of every format that a clip may be, and counts what comes of it.

    python tests/fuzz_readers.py [SEED] [CASES OF EACH KIND] [KIND …] [TABLE.csv]

A file that is read, or refused by a `MsagcnError` of one line that names it, is as it should be. The
exit status is the number of kinds of anything else: another exception, more than 20 seconds, more than
a GiB of memory for one file. Memory is capped at 4 GiB, so a file that asks for more ends in an error
as well. A table gets a row for each kind.

C3D and HDF5 are read by the readers' own programs in one fork that has imported ezc3d and h5py, as
starting Python takes longer than reading; a file that ends it is followed by another fork, and one that
is not read after 3 seconds counts as one without end.
"""

import csv
import importlib
import io
import json
import os
import pickle
import random
import resource
import select
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from spoil import GIB, alarm, bent, json_or_bytes, one, peak, table

import msagcn.data.apart as apart
from msagcn.data.missing import Reading
from msagcn.data.own_clip import read_coordinates
from msagcn.data.skeleton import MEDIAPIPE33, NTU25, UCLA20, tree_skeleton

MOUSE = tree_skeleton('mouse', ('snout', 'left ear', 'right ear', 'tail base'), (3, 0, 0, 3))
ARM = tree_skeleton('arm', ('hips', 'left arm', 'left hand'), (0, 0, 1))
BVH = """HIERARCHY
ROOT Hips
{
 OFFSET 0 90 0
 CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
 JOINT LeftArm
 {
  OFFSET 10 0 0
  CHANNELS 3 Zrotation Xrotation Yrotation
  JOINT LeftHand
  {
   OFFSET 0 5 0
   CHANNELS 3 Zrotation Xrotation Yrotation
   End Site
   {
    OFFSET 1 0 0
   }
  }
 }
}
MOTION
Frames: 3
Frame Time: 0.0333333
"""


def deeplabcut(x, individuals=(), likelihood=True, frames=None) -> str:  # x (T, animals, 4, 2 or 3)
    "A table as DeepLabCut writes it."
    coords = ('x', 'y', 'likelihood')[: 2 + likelihood]
    parts = [j.replace(' ', '') for j in MOUSE.joints]
    columns = [(w, p, c) for w in individuals or ['a'] for p in parts for c in coords]
    rows = [['scorer', *['DLC'] * len(columns)]]
    if individuals:
        rows.append(['individuals', *(w for w, _, _ in columns)])
    rows += [['bodyparts', *(p for _, p, _ in columns)], ['coords', *(c for _, _, c in columns)]]
    for t, values in zip(frames or range(len(x)), x):
        rows.append([str(t), *('' if n != n else repr(float(n)) for n in values.ravel())])
    return '\n'.join(map(','.join, rows)) + '\n'


def kinect(x, separator=';') -> str:  # x (T, 20, 3)
    "A table with a joint a cell."
    joints = [''.join(w.title() for w in reversed(j.split())) for j in UCLA20.joints]
    names = [{'BaseSpine': 'HipCenter', 'MidSpine': 'Spine'}.get(n, n) for n in joints]
    names = ['ShoulderCenter' if n == 'ShoulderSpine' else n for n in names]
    rows = [[' '.join(map(repr, j)) for j in t] for t in x.tolist()]
    return '\n'.join(map(separator.join, [names, *rows])) + '\n'


def ntu(x) -> str:  # x (T, bodies, 25, 3)
    "The text of a `.skeleton` file."
    lines = [str(len(x))]
    for t in x:
        lines.append(str(len(t)))
        for m, joints in enumerate(t.tolist()):
            lines += [f'{m + 7} 0 1 1 1 1 0 0.1 0.2 2', '25']
            lines += [f'{a!r} {b!r} {c!r} 0 0 0 0 0 0 0 0 2' for a, b, c in joints]
    return '\n'.join(lines)


def pose_file(x, version=0.1) -> bytes:  # x (T, M, 4, 3): x, y, confidence
    "A `.pose` file of one component."

    def text(s):
        return struct.pack('<H', len(s)) + s.encode()

    out = struct.pack('<fHHHH', version, 640, 480, 0, 1) + text('MOUSE') + text('XYC')
    out += struct.pack('<HHH', 4, 1, 1) + b''.join(
        text(j.upper().replace(' ', '_')) for j in MOUSE.joints
    )
    out += struct.pack('<HHHHH', 0, 1, 255, 0, 0)
    x = x.astype('<f4')
    if version:
        out += struct.pack('<HHH' if version < 0.2 else '<fIH', 30, *x.shape[:2])
        return out + x[..., :2].tobytes() + x[..., 2].tobytes()
    out += struct.pack('<HH', 30, len(x))
    for t in x:
        out += struct.pack('<H', len(t))
        out += b''.join(struct.pack('<h', m) + p.tobytes() for m, p in enumerate(t))
    return out


def sleap(x) -> bytes:  # x (T, animals, 4, 3)
    "An analysis file of SLEAP's."
    import h5py

    with h5py.File(out := io.BytesIO(), 'w') as h5:
        h5['node_names'] = [j.replace(' ', '').encode() for j in MOUSE.joints]
        h5['tracks'] = x[..., :2].transpose(1, 3, 2, 0)
        h5['point_scores'] = x[..., 2].transpose(1, 2, 0)
    return out.getvalue()


def slp(x) -> bytes:  # x (T, animals, 4, 3)
    "A project file of SLEAP's: tracks, and a label by hand in the second frame."
    import h5py

    names = [j.replace(' ', '') for j in MOUSE.joints]
    graph = dict(nodes=[dict(id=v) for v in range(4)], links=[], graph=dict(name='mouse'))
    said = dict(version='2.0.0', skeletons=[graph], nodes=[dict(name=n, weight=1.0) for n in names])
    point = [('x', 'f8'), ('y', 'f8'), ('visible', '?'), ('complete', '?')]
    T, N = x.shape[:2]
    rows = [(a, b, a == a, False, s) for a, b, s in x.reshape(-1, 3).tolist()]
    at = [(i, 1, i // N, 0, i % N, -1, 0.9, 4 * i, 4 * i + 4, 0.0) for i in range(T * N)]
    at[N] = (N, 0, 1, 0, 0, N - 1, 0.0, 0, 4, 0.0)
    kinds = ('i8', 'u1', 'u8', 'u4', 'i4', 'i8', 'f4', 'u8', 'u8', 'f4')
    columns = 'instance_id instance_type frame_id skeleton track from_predicted score'.split()
    columns += ['point_id_start', 'point_id_end', 'tracking_score']
    frames = [(t, 0, t, t * N, t * N + N) for t in range(T)]
    ids = ('frame_id', 'video', 'frame_idx', 'instance_id_start', 'instance_id_end')
    with h5py.File(out := io.BytesIO(), 'w') as h5:
        h5['frames'] = np.array(frames, [*zip(ids, ('u8', 'u4', 'u8', 'u8', 'u8'))])
        h5['instances'] = np.array(at, [*zip(columns, kinds)])
        h5['points'] = np.array([(1, 2, True, False)] * 4, point)
        h5['pred_points'] = np.array(rows, [*point, ('score', 'f8')])
        h5['tracks_json'] = [json.dumps([0, f'animal {n}']) for n in range(N)]
        h5['videos_json'] = [json.dumps(dict(filename='a.mp4', backend=dict(filename='a.mp4')))]
        metadata = h5.create_group('metadata')
        metadata.attrs.update(json=np.bytes_(json.dumps(said)), format_id=1.4)
    return out.getvalue()


def deeplabcut_h5(x, individuals) -> bytes:  # x (T, animals, 4, 3)
    "A table of DeepLabCut's as pandas writes it in the form `table`."
    import h5py

    parts = [j.replace(' ', '') for j in MOUSE.joints]
    coords = ('x', 'y', 'likelihood')
    columns = [('DLC', w, p, c) for w in individuals for p in parts for c in coords]
    kind = np.dtype([('index', 'i8'), ('values_block_0', 'f8', (len(columns),))])
    with h5py.File(out := io.BytesIO(), 'w') as h5:
        h5.create_group('tracks').attrs['pandas_type'] = np.bytes_('frame_table')
        h5['tracks']['table'] = np.array(list(enumerate(x.reshape(len(x), -1))), kind)
        pickled = np.bytes_(pickle.dumps(columns, 0))
        h5['tracks']['table'].attrs['values_block_0_kind'] = pickled
    return out.getvalue()


def deeplabcut_h5_by_hand(x) -> bytes:  # x (T, 1, 4, 2)
    "The same in the form `fixed`."
    import h5py

    parts = [j.replace(' ', '') for j in MOUSE.joints]
    columns = [('Anna', p, c) for p in parts for c in 'xy']
    images = [('labeled-data', 'v', f'img{t:04}.png') for t in range(len(x))]
    with h5py.File(out := io.BytesIO(), 'w') as h5:
        group = h5.create_group('df_with_missing')
        group.attrs['pandas_type'] = np.bytes_('frame')
        group['block0_values'] = x.reshape(len(x), -1)
        for index, entries in (('block0_items', columns), ('axis1', images)):
            for k, words in enumerate(zip(*entries)):
                level, label = np.unique(np.array(words, 'S'), return_inverse=True)
                group[f'{index}_level{k}'] = level
                group[f'{index}_label{k}'] = label.astype('i1')
    return out.getvalue()


def c3d(x) -> bytes:  # x (T, 20, 3)
    "A C3D file in millimetres."
    import ezc3d

    c = ezc3d.c3d()
    c['parameters']['POINT']['LABELS']['value'] = list(UCLA20.joints)
    c['parameters']['POINT']['UNITS']['value'] = ['mm']
    c['parameters']['POINT']['RATE']['value'] = [100]
    c['data']['points'] = np.concatenate([x.transpose(2, 1, 0), np.ones((1, 20, len(x)))])
    with tempfile.TemporaryDirectory() as d:
        c.write(f'{d}/a.c3d')
        return Path(d, 'a.c3d').read_bytes()


def in_lines(data, rng) -> bytes:
    "A text with words replaced, or lines left out, doubled or exchanged."
    if rng.random() < 0.3:
        return bent(data, rng)
    lines = data.decode().split('\n')
    for _ in range(rng.choice((1, 1, 3))):
        i, how = rng.randrange(len(lines)), rng.random()
        if how < 0.6:
            words = lines[i].split(' ')
            words[rng.randrange(len(words))] = rng.choice(WORDS)
            lines[i] = ' '.join(words)
        elif how < 0.7:
            lines.insert(i, lines[i])
        elif how < 0.8 and len(lines) > 1:
            del lines[i]
        else:
            j = rng.randrange(len(lines))
            lines[i], lines[j] = lines[j], lines[i]
    return '\n'.join(lines).encode()


WORDS = [
    '',
    'x',
    '-1',
    '0',
    '3',
    '1e9',
    '1e308',
    '1e400',
    'nan',
    'inf',
    '{',
    '}',
    'JOINT',
    'End',
    'MOTION',
]
WORDS += ['CHANNELS 3', 'OFFSET', 'Frames:', '1_0', '٣', '9' * 400, '\0', '999999999', '-3']


def texts(data, rng):
    return table(data.decode(), rng)


def lists(data, rng):
    return json_or_bytes(data.decode(), rng)


def kinds() -> dict:  # name -> file's name, good bytes, spoiler, what is asked
    "A file of each format."
    rng = np.random.default_rng(0)
    m = in_metres = dict(reading=Reading(unit='m'))
    one_, two = (rng.uniform(1, 400, (5, n, 4, 3)).round(2) for n in (1, 2))
    one_[..., 2], two[..., 2] = 0.9, 0.8
    two[1, 0], two[3, 1, 2] = np.nan, np.nan
    body = rng.normal(size=(3, 20, 3)).round(3)
    ntu_ = rng.normal(size=(3, 2, 25, 3)).round(3)
    marks = rng.random((3, 33, 4)).round(3)
    named = [dict(zip(('x', 'y', 'z', 'visibility'), j)) for j in marks[0].tolist()]
    motion = BVH + '\n'.join(
        ' '.join(map(str, r)) for r in rng.uniform(-90, 90, (3, 12)).round(2).tolist()
    )
    numbered = ','.join(f'{c}{v}' for v in range(33) for c in 'xyz')
    plain = '\n'.join([numbered, *(','.join(map(str, t[:, :3].ravel())) for t in marks)])
    mouse = dict(skeleton=MOUSE, channels='xys', persons=2)
    poses = {
        f'pose {v}': ('a.pose', pose_file(np.nan_to_num(two), v), bent, mouse)
        for v in (0, 0.1, 0.2)
    }
    msr = '\n'.join(f'{a} {b} {c} 1' for a, b, c in body.reshape(-1, 3).tolist())
    packages = {}
    if find_spec('h5py'):
        packages['SLEAP'] = 'a.h5', sleap(two), bent, mouse
        packages['SLEAP, labels'] = 'a.slp', slp(two), bent, mouse
        packages['DeepLabCut .h5'] = 'a.h5', deeplabcut_h5(two, ('anna', 'ben')), bent, mouse
        by_hand = deeplabcut_h5_by_hand(one_[..., :2])
        packages['DeepLabCut .h5, by hand'] = 'a.h5', by_hand, bent, mouse
    if find_spec('ezc3d'):
        packages['C3D'] = 'a.c3d', c3d(body), bent, dict(skeleton=UCLA20)
    return (
        packages
        | poses
        | {
            'DeepLabCut': ('a.csv', deeplabcut(one_).encode(), texts, mouse),
            'DeepLabCut, two': ('a.csv', deeplabcut(two, ['anna', 'ben']).encode(), texts, mouse),
            'Kinect ;': ('a.csv', kinect(body).encode(), in_lines, dict(skeleton=UCLA20) | m),
            'Kinect ,': ('a.csv', kinect(body, ',').encode(), texts, dict(skeleton=UCLA20) | m),
            'numbered CSV': ('a.csv', plain.encode(), texts, dict(skeleton=MEDIAPIPE33)),
            'bare lists': (
                'a.json',
                json.dumps(marks.tolist()).encode(),
                lists,
                dict(skeleton=MEDIAPIPE33),
            ),
            'bare objects': (
                'a.json',
                json.dumps([named, None, [named]]).encode(),
                lists,
                dict(skeleton=MEDIAPIPE33),
            ),
            'NTU': ('a.skeleton', ntu(ntu_).encode(), in_lines, dict(skeleton=NTU25, persons=2)),
            'MSR': ('a.txt', msr.encode(), in_lines, dict(skeleton=UCLA20) | m),
            'BVH': ('a.bvh', motion.encode(), in_lines, dict(skeleton=ARM) | in_metres),
        }
    )


# --- one process for many files


SLOW = 3  # seconds


class Reader:
    """In the place of `subprocess.run([python, '-c', program, …])`: one fork runs the programs of many files.

    One that is ended by a file, or kept too long, is followed by another.
    """

    def __init__(self):
        self.pid = None

    def start(self) -> None:
        ask, self.ask = os.pipe()
        self.answers, answer = os.pipe()
        self.pid = os.fork()
        if self.pid:
            os.close(ask)
            os.close(answer)
            return
        os.close(self.ask)  # so that the end of the other process is seen
        signal.setitimer(signal.ITIMER_REAL, 0)
        limit = resource.setrlimit  # a hard limit could not be raised for the next file
        resource.setrlimit = lambda what, most: limit(what, (most[0], resource.getrlimit(what)[1]))
        with open(os.devnull, 'w') as null, open(ask) as lines:
            os.dup2(null.fileno(), 1)
            os.dup2(null.fileno(), 2)
            for line in lines:
                program, sys.argv = json.loads(line)
                os.write(answer, b'1' if self.fails(program) else b'0')
        os._exit(0)

    def fails(self, program: str) -> bool:
        "Run a program; whether it raises something."
        try:
            exec(program, {})
        except BaseException:
            return True
        return False

    def run(self, words, timeout: float, **_):
        if self.pid is None:
            self.start()
        path, out, memory, *rest = words[3:]
        argv = ['-c', path, out, str(int(memory) + address_space()), *rest]
        os.write(self.ask, (json.dumps([words[2], argv]) + '\n').encode())
        ready, _, _ = select.select([self.answers], [], [], min(timeout, SLOW))
        answer = os.read(self.answers, 1) if ready else None
        if answer:
            return SimpleNamespace(returncode=int(answer), stderr=b'')
        self.end()
        if answer is None:
            raise subprocess.TimeoutExpired(words, timeout)
        return SimpleNamespace(returncode=-1, stderr=b'')

    def end(self) -> None:
        if self.pid is not None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            os.close(self.ask)
            os.close(self.answers)
            self.pid = None

    def peak(self) -> int:  # bytes
        if self.pid is None:
            return 0
        text = Path(f'/proc/{self.pid}/status').read_text()
        return int(text.partition('VmHWM:')[2].split()[0]) << 10 if 'VmHWM:' in text else 0


def address_space() -> int:  # bytes
    return int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()


@contextmanager
def forked():
    "A context in which files that are read apart are read by one fork, with the packages imported."
    for package in filter(find_spec, ('h5py', 'ezc3d')):
        importlib.import_module(package)
    plain, reader = apart.subprocess, Reader()
    apart.subprocess = SimpleNamespace(**vars(subprocess) | dict(run=reader.run))
    try:
        yield reader
    finally:
        apart.subprocess = plain
        reader.end()


# --- cases


def spoilt(
    kind: str, seed: int, cases: int, folder, show=print, reader=None, measured=None
) -> Counter:
    "What came of spoilt files of one kind, by outcome; everything but 'read' and 'refused' is shown."
    name, good, spoil, asked = kinds()[kind]
    path, counts, rng = Path(folder, name), Counter(), random.Random(f'{seed} {kind}')
    longest = largest = 0
    for i in range(cases):
        path.write_bytes(spoil(good, rng))
        before, start = memory_of(reader), time.monotonic()
        outcome, trace = one(lambda p: read_coordinates(p, **asked), path)
        longest = max(longest, time.monotonic() - start)
        taken = max(now - was for now, was in zip(memory_of(reader), before))
        largest = max(largest, taken)
        outcome = 'too much memory' if taken > GIB else outcome
        if outcome not in ('read', 'refused') and not counts[outcome]:
            show(f'--- {kind}, case {i}: {outcome}\n{trace}')
            Path(folder, f'{kind} {i}').write_bytes(path.read_bytes())
        counts[outcome] += 1
    if measured is not None:
        measured.update(longest_seconds=round(longest, 2), largest_mib=largest >> 20)
    return counts


def memory_of(reader) -> tuple[int, int]:  # bytes
    "The most that this process, and the one that reads, have had; of one that has begun all is new."
    return peak(), reader.peak() if reader else 0


def add_row(file: Path, row: dict) -> None:
    "A row below those of a table, which is begun if it is not there."
    new = not file.exists()
    with file.open('a', newline='') as f:
        writer = csv.DictWriter(f, list(row), lineterminator='\n')
        if new:
            writer.writeheader()
        writer.writerow(row)


def main(seed=0, cases=10_000, *chosen) -> int:
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    signal.signal(signal.SIGALRM, alarm)
    warnings.simplefilter('ignore')
    bad, folder = 0, tempfile.mkdtemp()
    tables = [Path(word) for word in chosen if word.endswith('.csv')]
    for kind in [word for word in chosen if not word.endswith('.csv')] or kinds():
        start, measured = time.monotonic(), {}
        with forked() as reader:
            counts = spoilt(kind, int(seed), int(cases), folder, print, reader, measured)
        other = int(cases) - counts['read'] - counts['refused']
        row = dict(
            kind=kind, seed=seed, cases=cases, read=counts['read'], refused=counts['refused']
        )
        for file in tables:
            add_row(file, row | dict(other=other) | measured)
        found = ', '.join(f'{n} {what}' for what, n in sorted(counts.items()))
        print(f'{kind:>23}: {found}; {time.monotonic() - start:.0f} s, {measured}', flush=True)
        bad += len(set(counts) - {'read', 'refused'})
    print(f'{bad} kinds of faults' + (f', examples in {folder}' if bad else ''))
    return bad


if __name__ == '__main__':
    try:
        sys.exit(main(*sys.argv[1:]))
    except Exception:
        traceback.print_exc()
        sys.exit(1)
