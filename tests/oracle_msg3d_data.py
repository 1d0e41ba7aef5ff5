"""MS-G3D's own preparations, literally and slowly, without anything of the package.

NTU RGB+D from the text of a raw file, Kinetics-Skeleton from a video's JSON: line by line, frame by
frame, joint by joint, as in the specification.
"""

import math

import numpy as np

T = 300


# NTU RGB+D


def bodies_in_file(text):
    "All frames of a raw file, each a list of bodies of 25 points; body identities are ignored."
    lines = iter(text.split('\n'))
    frames = []
    for _ in range(int(next(lines))):
        frame = []
        for _ in range(int(next(lines))):
            next(lines)  # identity, hands, lean
            frame.append(
                [[float(w) for w in next(lines).split()[:3]] for _ in range(int(next(lines)))]
            )
        frames.append(frame)
    return frames


def two_bodies(frames):
    "(3, F, 25, 2): of the first four bodies of each frame, the two slots that move most."
    slots = np.zeros((4, len(frames), 25, 3))
    for f, frame in enumerate(frames):
        for m, body in enumerate(frame):
            if m < 4:
                for j, p in enumerate(body):
                    slots[m, f, j] = p
    energy = []
    for slot in slots:
        there = np.stack([frame for frame in slot if frame.sum() != 0] or [np.zeros((25, 3))])
        energy.append(sum(there[:, :, axis].std() for axis in range(3)))
    first = max(range(4), key=lambda m: (energy[m], m))
    second = max((m for m in range(4) if m != first), key=lambda m: (energy[m], m))
    return slots[[first, second]].transpose(3, 1, 2, 0)


def tile_frames(person):
    """(300, 25, 3): a person's frames, repeated.

    They are moved to the front if the first frame is empty; after the last frame they start again.
    """
    if person.sum() == 0:
        return person
    if person[0].sum() == 0:
        there = [frame.copy() for frame in person if frame.sum() != 0]
        person = np.zeros_like(person)
        for t, frame in enumerate(there):
            person[t] = frame
    for t in range(T):
        if person[t].sum() == 0 and not any(frame.sum() != 0 for frame in person[t:]):
            for k in range(t, T):
                person[k] = person[k % t]
            break
    return person


def turn(vector, axis):
    "The right-handed rotation about vector × axis by the angle between them (Rodrigues' formula)."
    x, y, z = (float(c) for c in vector)
    a, b, c = axis
    k = (y * c - z * b, z * a - x * c, x * b - y * a)
    if sum(map(abs, k)) < 1e-6:
        return np.eye(3)
    unit = vector / np.linalg.norm(vector)  # in single precision
    angle = math.acos(max(-1, min(1, sum(float(u) * w for u, w in zip(unit, axis)))))
    if abs(angle) < 1e-6:
        return np.eye(3)
    k = [w / math.sqrt(sum(w * w for w in k)) for w in k]
    R, (sin, cos) = np.zeros((3, 3)), (math.sin(angle), math.cos(angle))
    for i in range(3):
        for j in range(3):
            R[i, j] = (cos if i == j else 0) + (1 - cos) * k[i] * k[j]
    for i, j, l in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        R[i, j], R[j, i] = R[i, j] - sin * k[l], R[j, i] + sin * k[l]
    return R


def pre_normalised(data):
    "(3, F, 25, 2) -> (3, 300, 25, 2) float32."
    x = np.zeros((2, T, 25, 3), np.float32)
    x[:, : data.shape[1]] = data.transpose(3, 1, 2, 0)
    for m in range(2):
        x[m] = tile_frames(x[m])
    for t in range(T):
        centre = x[0, t, 1].copy()
        for m in range(2):
            for j in np.flatnonzero(x[m, t].any(1)):
                x[m, t, j] = x[m, t, j] - centre if x[m, t, j].sum() != 0 else 0
    for top, bottom, axis in ((1, 0, (0, 0, 1)), (8, 4, (1, 0, 0))):
        R = turn(x[0, 0, top] - x[0, 0, bottom], axis)
        for m in range(2):
            for t in range(T):
                if x[m, t].sum() != 0:
                    x[m, t] = [R.dot(joint) for joint in x[m, t].astype(np.float64)]
    return x.transpose(3, 1, 2, 0)


def msg3d_ntu(text):
    return pre_normalised(two_bodies(bodies_in_file(text)))


# Kinetics-Skeleton


def kinetics(video):
    "(3, 300, 18, 2) float32 from a video's JSON."
    x = np.zeros((3, T, 18, 5))
    for frame in video['data']:
        t = frame['frame_index']
        for m, person in enumerate(frame['skeleton'][:5]):
            for j in range(18):
                x[:, t, j, m] = person['pose'][2 * j], person['pose'][2 * j + 1], person['score'][j]
    out = np.zeros((3, T, 18, 2), np.float32)
    for t in range(T):
        people = []
        for m in range(5):
            joints = [
                (px - 0.5, -(py - 0.5), s) if s != 0 else (0, 0, 0) for px, py, s in x[:, t, :, m].T
            ]
            total = 0.0
            for j in joints:
                total += j[2]
            people.append((total, joints))
        people.sort(key=lambda p: -p[0])
        for m in range(2):
            out[:, t, :, m] = np.array(people[m][1]).T
    return out


# Kinetics of pyskl


def unpacked(frame_inds, keypoint):
    """(M, T, V, 2) and (M, T, V): the people of each frame, in slots one after the other.

    If there are more than ten, the ten with the highest scores.
    """
    frames = sorted(set(frame_inds.tolist()))
    groups = [[p for i, p in zip(frame_inds.tolist(), keypoint) if i == f] for f in frames]
    M = max(map(len, groups))
    if M > 10:
        score = lambda p: p[:, 2].astype(np.float16).sum()  # rounded to half precision
        groups = [
            [g[k] for k in sorted(range(len(g)), key=lambda k: -score(g[k]))][:10] for g in groups
        ]
    x = np.zeros((min(M, 10), len(frames), keypoint.shape[1], 3), np.float16)
    for t, g in enumerate(groups):
        for m, p in enumerate(g):
            x[m, t] = p
    return x[..., :2], x[..., 2]
