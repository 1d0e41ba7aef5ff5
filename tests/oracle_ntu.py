"""The preparation of NTU RGB+D as its description has it: by line, by frame, by body.

Slow because it is plain, not on purpose. What the package makes of a file must equal this, bit for bit.
As a script it prepares a folder or archives and prints how long that took, which is the baseline of
the benchmark:

    python tests/oracle_ntu.py SOURCE...
"""

import io
import json
import re
import sys
import time
import zipfile
from pathlib import Path

import numpy as np

LONGEST = 300


BODY = 'edges left_confidence left_state right_confidence right_state restricted lean_x lean_y state'.split()
JOINT = 'x y z depth_x depth_y colour_x colour_y w qx qy qz state'.split()


def parse(stream):
    "Every record of a file, a line each: frames, their bodies, their joints."
    frames = []
    for _ in range(int(stream.readline())):
        bodies = []
        for _ in range(int(stream.readline())):
            identity, *about = stream.readline().split()
            body = dict(identity=identity, joints=[]) | {k: float(v) for k, v in zip(BODY, about)}
            for _ in range(int(stream.readline())):
                body['joints'].append(
                    {k: float(v) for k, v in zip(JOINT, stream.readline().split())}
                )
            bodies.append(body)
        frames.append(bodies)
    return frames


def read(stream):
    """Bodies by identity in the order of first appearance; and the frames with anybody in them.

    Each body has its joints and the frames that it counts for.
    """
    bodies, f = {}, 0
    for frame in parse(stream):
        if not frame:
            continue
        for b in frame:
            xyz = np.array([[j['x'], j['y'], j['z']] for j in b['joints']], np.float32)
            if b['identity'] not in bodies:
                bodies[b['identity']] = dict(joints=[xyz], frames=[f])
            else:
                bodies[b['identity']]['joints'].append(xyz)
                bodies[b['identity']]['frames'].append(bodies[b['identity']]['frames'][-1] + 1)
        f += 1
    if not bodies:
        raise ValueError('no body in any frame')
    return [dict(b, joints=np.concatenate(b['joints'])) for b in bodies.values()], f


def motion(points):
    return np.sum(np.var(points, axis=0))


def spread_is_fine(frame):
    x, y = frame[:, 0], frame[:, 1]
    return x.max() - x.min() <= 0.8 * (y.max() - y.min())


def denoised(bodies, frames):
    "Rules of length and spread, then slots: (T, 75) for a lone actor, (T, 150) for two."
    if len(bodies) == 1:
        return bodies[0]['joints'].reshape(frames, 75)
    for b in bodies:
        b['motion'] = motion(b['joints'])
    left = [b for b in bodies if len(b['frames']) > 11]
    if not left:
        raise ValueError('no body is long enough')
    for b in list(left):
        if len(left) == 1:
            break
        by_frame = b['joints'].reshape(-1, 25, 3)
        fine = [i for i, frame in enumerate(by_frame) if spread_is_fine(frame)]
        invalid = len(by_frame) - len(fine)
        if invalid == 0:
            continue
        if invalid / len(by_frame) >= 0.69754:
            left = [c for c in left if c is not b]
        else:
            b['motion'] = min(b['motion'], motion(by_frame[fine].reshape(-1, 3)))
    left = sorted(left, key=lambda b: b['motion'], reverse=True)
    if len(left) == 1:
        out, (b,) = np.zeros((frames, 75), np.float32), left
        out[b['frames'][0] : b['frames'][-1] + 1] = b['joints'].reshape(-1, 75)
    else:
        out, one, two = np.zeros((frames, 150), np.float32), None, [0, 0]
        for b in left:
            s, e = b['frames'][0], b['frames'][-1]
            rows = b['joints'].reshape(-1, 75)
            if one is None:
                out[s : e + 1, :75], one = rows, [s, e]
            elif min(one[1], e) - max(one[0], s) <= 0:
                out[s : e + 1, :75], one = rows, [min(one[0], s), max(one[1], e)]
            elif min(two[1], e) - max(two[0], s) <= 0:
                out[s : e + 1, 75:], two = rows, [min(two[0], s), max(two[1], e)]
    return out[[f for f in range(len(out)) if out[f].sum() != 0]]


def translated(x):
    """Move the origin to the first actor's joint 2, in the first frame with an actor.

    Who is absent stays zero.
    """
    first = next(f for f in range(len(x)) if np.any(x[f, :75] != 0))
    origin, out = x[first, 3:6].copy(), x.copy()
    for f in range(len(x)):
        for v in range(x.shape[1] // 3):
            out[f, 3 * v : 3 * v + 3] = x[f, 3 * v : 3 * v + 3] - origin
        if x.shape[1] == 150:
            for a in (slice(0, 75), slice(75, 150)):
                if x[f, a].sum() == 0:
                    out[f, a] = 0
    return out


def padded(x, pad_actor):
    "(300, 150): zeros after the last frame, and beside a lone actor zeros or his copy."
    out = np.zeros((max(LONGEST, len(x)), 150), np.float32)
    out[: len(x), : x.shape[1]] = x
    if x.shape[1] == 75 and pad_actor == 'copy':
        out[: len(x), 75:] = x
    return out


def pipeline(data, pad_actor='zero'):
    """From a file's bytes to (T, 2, 25, 3), as in the package.

    Any fault raises ValueError, IndexError or StopIteration.
    """
    x = translated(denoised(*read(io.BytesIO(data))))
    return padded(x, pad_actor)[: len(x)].reshape(-1, 2, 25, 3)


COUNT, NUMBER = (
    re.compile(rb'[0-9]{1,18}'),
    re.compile(rb'[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?'),
)


def well_formed(data):
    """Whether the bytes are a file by the letter of the grammar.

    That is: 25 finite joints to a body, and somebody in it. A judge, not a reader.
    """
    lines = [l.rstrip(b'\r') for l in data.split(b'\n')]
    if lines and lines[-1] == b'':
        lines.pop()
    place = iter(lines)

    def numbers(n, whole=()):
        tokens = next(place).split(b' ')
        return (
            len(tokens) == n
            and all((COUNT if i in whole else NUMBER).fullmatch(t) for i, t in enumerate(tokens))
            and tokens
        )

    try:
        F, somebody = numbers(1, {0}), False
        for _ in range(int(F[0]) if F else 0):
            B, here = numbers(1, {0}), set()
            if not B:
                return False
            for _ in range(int(B[0])):
                about, V = numbers(10, {0}), numbers(1, {0})
                if not about or not V or int(V[0]) != 25 or about[0] in here:
                    return False
                here.add(about[0])
                somebody = True
                for _ in range(25):
                    tokens = numbers(12)
                    if not tokens or not all(abs(float(t)) < 1e6 for t in tokens[:3]):
                        return False
    except StopIteration:
        return False
    return somebody and next(place, None) is None


def files(sources):
    "Names and bytes of all `.skeleton` files in folders and archives."
    for s in map(Path, sources):
        if s.is_dir():
            for p in sorted(s.rglob('*.skeleton')):
                yield p.stem, p.read_bytes()
        else:
            with zipfile.ZipFile(s) as archive:
                for n in sorted(archive.namelist()):
                    if n.endswith('.skeleton'):
                        yield Path(n).stem, archive.read(n)


def main(sources):
    "Prepare everything into one padded array, as the public scripts do at the end, and print the time."
    start = time.perf_counter()
    clips = [
        (name, padded(translated(denoised(*read(io.BytesIO(data)))), 'zero'))
        for name, data in files(sources)
    ]
    x = np.stack([x for _, x in clips])
    peak = next(
        (int(l.split()[1]) / 1024 for l in open('/proc/self/status') if l.startswith('VmHWM')), None
    )
    print(json.dumps(dict(files=len(x), seconds=time.perf_counter() - start, peak_mib=peak)))


if __name__ == '__main__':
    main(sys.argv[1:])
