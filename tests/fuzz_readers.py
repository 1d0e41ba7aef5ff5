"""Spoils files of every format that a clip may be, and counts what comes of it.

    python tests/fuzz_readers.py [SEED] [CASES OF EACH KIND] [KIND …]

A file that is read, or refused by a `MsagcnError` of one line that names it, is as it should be. The
exit status is the number of kinds of anything else: another exception, more than 20 seconds. Memory
is capped at 4 GiB, so a file that asks for more ends in an error as well.
"""

import io
import json
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from fuzz_files import alarm, bent, json_or_bytes, one, table

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


def spoilt(kind: str, seed: int, cases: int, folder, show=print) -> Counter:
    "What came of spoilt files of one kind, by outcome; everything but 'read' and 'refused' is shown."
    name, good, spoil, asked = kinds()[kind]
    path, counts, rng = Path(folder, name), Counter(), random.Random(f'{seed} {kind}')
    for i in range(cases):
        path.write_bytes(spoil(good, rng))
        outcome, trace = one(lambda p: read_coordinates(p, **asked), path)
        if outcome not in ('read', 'refused') and not counts[outcome]:
            show(f'--- {kind}, case {i}: {outcome}\n{trace}')
            Path(folder, f'{kind} {i}').write_bytes(path.read_bytes())
        counts[outcome] += 1
    return counts


def main(seed=0, cases=10_000, *chosen) -> int:
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    signal.signal(signal.SIGALRM, alarm)
    warnings.simplefilter('ignore')
    bad = 0
    folder = tempfile.mkdtemp()
    for kind in chosen or kinds():
        start = time.monotonic()
        counts = spoilt(kind, int(seed), int(cases), folder)
        found = ', '.join(f'{n} {what}' for what, n in sorted(counts.items()))
        print(f'{kind:>16}: {found}; {time.monotonic() - start:.0f} s', flush=True)
        bad += len(set(counts) - {'read', 'refused'})
    print(f'{bad} kinds of faults' + (f', examples in {folder}' if bad else ''))
    return bad


if __name__ == '__main__':
    try:
        sys.exit(main(*sys.argv[1:]))
    except Exception:
        traceback.print_exc()
        sys.exit(1)
