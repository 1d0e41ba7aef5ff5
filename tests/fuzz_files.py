"""Spoils files of every kind that a reader takes, and counts what comes of it.

    python tests/fuzz_files.py PROJECT [SEED] [CASES]

PROJECT is a folder with `data/embedded`, `runs` and `reports` of two finished runs, and is not
changed. A file that is read, or refused by a `MsagcnError` of one line that names it, is as it should
be. Everything else is printed with its traceback: any other exception, more than a GiB of memory for
one file, more than 20 seconds. The exit status is the number of such kinds.
"""

import contextlib
import io
import json
import pickle
import random
import shutil
import signal
import struct
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from spoil import (
    GIB,
    MANY,
    ODD,
    WORDS,
    alarm,
    bent,
    changed,
    json_or_bytes,
    one,
    peak,
    table,
)

from msagcn.data.arrays import open_array, read_pair
from msagcn.data.clips import load_clips, split
from msagcn.data.ctr_gcn import read_npz
from msagcn.data.kinetics import read_video
from msagcn.data.nw_ucla import read_nw_ucla
from msagcn.data.own import read_custom
from msagcn.data.pickles import restricted_load
from msagcn.data.skeleton import COCO17
from msagcn.experiments.ablation import read_grid
from msagcn.experiments.combinations import grid
from msagcn.experiments.records import read_record
from msagcn.experiments.results import leaked_clips
from msagcn.experiments.rows import texts
from msagcn.experiments.train_parameters import TrainParameters
from msagcn.experiments.weights import load_weights
from msagcn.foreign.msagcn import read_state
from msagcn.foreign.scores import read_labels, read_scores
from msagcn.training.checkpoint import read_progress
from msagcn.training.evaluate import load_scores


def yaml_text(text, rng):
    lines = text.split('\n')
    for _ in range(rng.choice((1, 1, 2))):
        i = rng.randrange(len(lines))
        key, _, value = lines[i].partition(':')
        how = rng.random()
        if how < 0.5:
            odd = rng.choice(
                (*WORDS, '{1: 2}', '[[1]]', '&a [*a]', '!!set {1}', '~', '1:30', '010', 'yes')
            )
            lines[i] = f'{key}: {odd}'
        elif how < 0.6:
            lines[i] = f'{rng.choice(("1", "~", "[a]", "x y", "<<", "? a"))}:{value}'
        elif how < 0.7:
            lines.insert(i, lines[i])
        elif how < 0.8:
            del lines[i]
        else:
            return bent(text.encode(), rng)
        if not lines:
            return b''
    return '\n'.join(lines).encode()


def pickled(x):
    def spoil(_, rng):
        if rng.random() < 0.5:
            return bent(pickle.dumps(x, rng.choice((0, 2, 4))), rng)
        odd = [o for o in ODD if not isinstance(o, str) or o.isprintable()] + [
            MANY,
            np.zeros((2, 0)),
        ]
        return pickle.dumps(changed(x, rng, odd), rng.choice((2, 4)))

    return spoil


def arrays(data, rng):
    if rng.random() < 0.4:
        return bent(data, rng)
    with np.load(io.BytesIO(data)) as z:
        found = dict(z)
    name = rng.choice(list(found))
    x, how = found[name], rng.randrange(9)
    if how == 0:
        del found[name]
    else:
        dtypes = ('U3', 'i8', 'f2', 'c16', 'S2', 'bool', 'u1')
        with warnings.catch_warnings(), np.errstate(all='ignore'), contextlib.suppress(ValueError):
            warnings.simplefilter('ignore')
            changes = (
                lambda: x[:-1],
                lambda: x[None],
                lambda: x[:0],
                lambda: np.zeros(3),
                lambda: x * np.nan,
                lambda: x.astype(rng.choice(dtypes)),
                lambda: np.array('x'),
                lambda: x - 100,
            )
            with contextlib.suppress(TypeError):
                found[name] = changes[how - 1]()
    out = io.BytesIO()
    np.savez(out, **found)
    if rng.random() < 0.3:  # a header that claims more
        return out.getvalue().replace(b"'shape': (", b"'shape': (9999999999, ", 1)
    return out.getvalue()


def headed(name):
    "Spoils the JSON in the head of a safetensors file."

    def spoil(data, rng):
        if rng.random() < 0.4:
            return bent(data[:3000], rng) + data[3000:]
        n = struct.unpack('<Q', data[:8])[0]
        head = json.loads(data[8 : 8 + n])
        inner = changed(json.loads(head['__metadata__'][name]), rng)
        head['__metadata__'][name] = json.dumps(inner)
        text = json.dumps(head).encode()
        return struct.pack('<Q', len(text)) + text + data[8 + n :]

    return spoil


def zipped(data, rng):
    if rng.random() < 0.6:
        return bent(data, rng)
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(data)) as z,
        zipfile.ZipFile(out, 'w', zipfile.ZIP_DEFLATED) as w,
    ):
        for i in z.infolist():
            text = z.read(i)
            if rng.random() < 0.3:
                text = json_or_bytes(text.decode(), rng) if rng.random() < 0.9 else bytes(200 << 20)
            w.writestr(rng.choice((i.filename, i.filename, f'../{i.filename}', 'x.json')), text)
    return out.getvalue()


def raw(data, rng):
    return bent(data, rng)


def people(frames=4):
    one = dict(keypoints=[[1.0 * v, 2.0] for v in range(17)], keypoint_scores=[0.9] * 17)
    return [dict(frame_id=i, instances=[one, one]) for i in range(frames)]


def kinetics():
    who = dict(pose=[0.1, 0.2] * 18, score=[0.5] * 18)
    return dict(
        data=[dict(frame_index=i + 1, skeleton=[who]) for i in range(3)], label='a', label_index=0
    )


GRID = (
    'common:\n  epochs: 1\nvariants:\n  full:\n  thin: {width: 40}\nseeds:\n  1: all\n  2: [full]\n'
)
OWN = 'joints: coco17\nchannels: xys\npersons: 2\nimage: [640, 480]\n'
RECIPE = 'benchmark: embedded\nrecipe: a\nlr: 0.1\nepochs: 3\nval_subjects: [1]\nmilestones: 2,3\nwidth: 40\n'


class Project:
    "The files that are spoilt, and what reads them."

    def __init__(self, root: Path, work: Path):
        self.root, self.work = root, work
        self.run = next((root / 'reports/runs').iterdir()).name
        for f in (work / 'own/train/c/x1', work / 'own/test/c/x2'):
            f.parent.mkdir(parents=True, exist_ok=True)
        (work / 'embedded').mkdir()
        shutil.copy(root / 'data/embedded/frames.npy', work / 'embedded')
        self.note = next((root / 'reports/data').glob('*.json'))
        (work / 'data').mkdir()

    def cases(self) -> dict:  # name -> weight, path to write, good content, spoiler, reader
        w, record = self.work, self.root / 'reports/runs' / self.run
        reports, local = self.root / 'reports', self.root / 'runs' / self.run
        names = [f'c{i}' for i in range(12)]
        logits = {n: np.eye(4)[i % 4] for i, n in enumerate(names)}
        labels = [i % 4 for i in range(12)]
        dumped = [
            dict(frame_dir=n, pred_score=list(logits[n]), gt_label=y) for n, y in zip(names, labels)
        ]
        x = np.random.default_rng(0).normal(size=(6, 3, 4, 25, 2)).astype('f4')
        ctr = io.BytesIO()
        two = np.random.default_rng(0).normal(size=(3, 5, 150)).astype('f4')
        one_hot = np.eye(3)
        np.savez(ctr, x_train=two, y_train=one_hot, x_test=two, y_test=one_hot)
        npy, npz, state = io.BytesIO(), io.BytesIO(), io.BytesIO()
        np.save(npy, x)
        np.savez(npz, a=np.random.default_rng(0).normal(size=(5, 1, 17, 3)) ** 2)
        torch.save({'a.weight': torch.zeros(3, 3), 'b': torch.ones(2)}, state)
        zip_ = io.BytesIO()
        raws = sorted((self.root / 'data/raw/embedded/all_sqe').glob('*.json'))[:3]
        with zipfile.ZipFile(zip_, 'w') as z:
            for f in raws:
                z.write(f, f'all_sqe/{f.name}')
        head = ','.join(f'{j.replace(" ", "_")}_{c}' for j in COCO17.joints for c in 'xys')
        rows = '\n'.join([head, *[','.join(['0.5'] * 51)] * 3]) + '\n'
        text = Path.read_text

        def own(end, good, spoil):
            def read(f):
                other = w / 'own/test/c' / f'x2.{end}'
                other.write_bytes(good)
                (w / 'own/own.yaml').write_text(OWN)
                try:
                    read_custom(w / 'own/own.yaml', 'own')
                finally:
                    other.unlink()
                    f.unlink()

            return f'own/train/c/x1.{end}', good, spoil, read

        def manifest(f):
            split(load_clips(f.parent), [1])

        def description(f):
            read_custom(f, 'own')

        return {
            'score file': (
                32,
                's.npz',
                (record / 'test_scores.npz').read_bytes(),
                arrays,
                load_scores,
            ),
            'scores pickled': (24, 's.pkl', b'', pickled(logits), read_scores),
            'scores dumped': (24, 'd.pkl', b'', pickled(dumped), read_scores),
            'labels': (24, 'l.pkl', b'', pickled([names, labels]), read_labels),
            'any pickle': (24, 'a.pkl', b'', pickled([x, dumped, {'a': names}]), restricted_load),
            'metrics.json': (
                32,
                'metrics.json',
                text(record / 'metrics.json'),
                json_or_bytes,
                read_record,
            ),
            'run.json': (24, 'run.json', text(local / 'run.json'), json_or_bytes, read_record),
            'results.csv': (
                32,
                'results.csv',
                text(reports / 'results.csv'),
                table,
                lambda f: texts(f, ['run_id']),
            ),
            'fusion.csv': (
                32,
                'fusion.csv',
                text(reports / 'fusion.csv'),
                table,
                lambda f: texts(f, ['runs']),
            ),
            'data note': (
                16,
                f'data/{self.note.name}',
                text(self.note),
                json_or_bytes,
                self._read_note,
            ),
            'manifest': (
                4,
                'embedded/manifest.json',
                text(self.root / 'data/embedded/manifest.json'),
                json_or_bytes,
                manifest,
            ),
            'frames': (
                2,
                'embedded/frames.npy',
                (self.root / 'data/embedded/frames.npy').read_bytes(),
                raw,
                self._read_frames,
            ),
            'grid': (24, 'grid.yaml', GRID, yaml_text, read_grid),
            'recipe': (
                24,
                'recipe.yaml',
                RECIPE,
                yaml_text,
                lambda f: grid([str(f)], [], TrainParameters),
            ),
            'own description': (2, 'own/own.yaml', OWN, yaml_text, description),
            'own json': (
                3,
                *own(
                    'json', json.dumps(people()).encode(), lambda d, r: json_or_bytes(d.decode(), r)
                ),
            ),
            'own npz': (2, *own('npz', npz.getvalue(), arrays)),
            'own csv': (2, *own('csv', rows.encode(), lambda d, r: table(d.decode(), r))),
            'weights': (
                2,
                'weights.safetensors',
                (local / 'weights.safetensors').read_bytes(),
                headed('msagcn'),
                load_weights,
            ),
            'checkpoint': (
                2,
                'fit.safetensors',
                (local / 'fit.safetensors').read_bytes(),
                headed('progress'),
                read_progress,
            ),
            'checkpoint of PyTorch': (24, 'x.pt', state.getvalue(), raw, read_state),
            'NW-UCLA zip': (1, 'z.zip', zip_.getvalue(), zipped, read_nw_ucla),
            'CTR-GCN npz': (24, 'NTU60_CS.npz', ctr.getvalue(), arrays, lambda f: read_npz(f, 'x')),
            'MS-G3D array': (16, 'train_data_joint.npy', npy.getvalue(), raw, open_array),
            'MS-G3D labels': (
                16,
                'train_label.pkl',
                b'',
                pickled([names, labels]),
                lambda f: read_pair(f, 12),
            ),
            'Kinetics video': (
                24,
                'v.json',
                json.dumps(kinetics()),
                json_or_bytes,
                lambda f: read_video(f.read_bytes(), str(f)),
            ),
        }

    def _read_note(self, f):
        leaked_clips(self.work, *f.stem.rsplit('-', 1))

    def _read_frames(self, f):
        good = self.root / 'data/embedded/manifest.json'
        shutil.copy(good, f.parent)
        try:
            load_clips(f.parent)
        finally:
            shutil.copy(self.root / 'data/embedded/frames.npy', f)


def main(project: str, seed: int = 0, cases: int = 2000) -> int:
    torch.set_num_threads(1)
    signal.signal(signal.SIGALRM, alarm)
    warnings.simplefilter('ignore')
    rng, counts, bad, longest = random.Random(seed), Counter(), {}, (0, '')
    with tempfile.TemporaryDirectory() as d:
        kinds = Project(Path(project), Path(d)).cases()
        weights = [k[0] for k in kinds.values()]
        for i in range(cases):
            name = rng.choices(list(kinds), weights)[0]
            _, where, good, spoil, read = kinds[name]
            path = Path(d, where)
            data = spoil(good, rng)
            path.write_bytes(data)
            start, before = time.monotonic(), peak()
            outcome, trace = one(read, path)
            took, more = time.monotonic() - start, peak() - before
            if outcome not in ('read', 'refused'):
                key = (name, outcome, (trace.strip().splitlines() or [''])[-1][:80])
                if key not in bad:
                    bad[key] = i
                    print(f'--- case {i}, {name}: {outcome}\n{trace}', flush=True)
            if more > GIB:
                outcome = 'too much memory'
                bad.setdefault((name, outcome), i)
                print(
                    f'--- case {i}, {name}: {more / GIB:.1f} GiB for {len(data)} bytes', flush=True
                )
            counts[name, outcome] += 1
            longest = max(longest, (took, name))
    refused = sum(n for (_, outcome), n in counts.items() if outcome == 'refused')
    print(f'$ python tests/fuzz_files.py PROJECT {seed} {cases}')
    print(
        f'files: {cases} examples of {len(kinds)} kinds, {refused} refused in one line, '
        f'{sum(counts[n, "read"] for n in kinds)} read, {len(bad)} kinds of faults, '
        f'the longest took {longest[0]:.2f} s ({longest[1]}), memory {peak() / GIB:.2f} GiB at most'
    )
    for name in kinds:
        found = ', '.join(
            f'{n} {outcome}' for (k, outcome), n in sorted(counts.items()) if k == name
        )
        print(f'{name:>22}: {found}')
    return len(bad)


if __name__ == '__main__':
    project, *numbers = sys.argv[1:]
    sys.exit(main(project, *map(int, numbers)))
