"""Makes what is in msagcn/data_box.

    python tests/make_box.py data FOLDER

packs PRECOG 2016's files SeqN_S.csv in whole millimetres to precog.npz. Their source: the folder
Dataset/CSV of github.com/DavidJardim/precog_dataset_16 at commit 1ff2c9d.

    msagcn prepare -p benchmark precog
    msagcn train -f params/precog.yaml -p stream joint --no-notebook
    python tests/make_box.py weights runs/msg3d-precog-precog-joint-s1

puts the weights of that run in half precision to precog.safetensors, and to precog.json their SHA-256,
how they were trained, and what they answer on the recordings of the test part.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]


def make_data(folder, to=None):
    "The recordings of a folder, packed."
    from msagcn.core import BOX
    from msagcn.data.precog import packed, read_recordings

    to = Path(to or BOX) / 'precog.npz'
    np.savez_compressed(to, **packed(read_recordings(folder)))
    return to


def half(tensors):
    "Floating-point tensors in half precision, the others as they are."
    return {k: v.half() if v.is_floating_point() else v for k, v in tensors.items()}


def make_weights(run):
    "Weights of `runs/RUN` in half precision, and what is stated of them; its record is in `reports`."
    from safetensors.torch import save_file

    from msagcn.core import BOX
    from msagcn.data.precog import TESTED
    from msagcn.experiments.records import folder_of
    from msagcn.training.tensors import load_tensors

    run = Path(run)
    tensors, about = load_tensors(run / 'weights.safetensors', 'msagcn')
    to = BOX / 'precog.safetensors'
    save_file(half(tensors), to, {'msagcn': json.dumps(about)})
    to.chmod(0o644)  # as other files of a package
    done = folder_of(run.name, run.parent.parent / 'reports').read()
    people = [n for n in range(1, 13) if n not in TESTED]
    stated = dict(
        sha256=hashlib.sha256(to.read_bytes()).hexdigest(),
        trained_by='msagcn train -f params/precog.yaml -p stream joint',
        trained_people=people,
        tested_people=list(TESTED),
        **{k: done[k] for k in ('run_id', 'data_hash', 'seed', 'parameters', 'version', 'machine')},
        **answers(),
    )
    (BOX / 'precog.json').write_text(json.dumps(stated, indent=1) + '\n', encoding='utf-8')
    return to


def answers():
    "What the box's network answers on each recording of the test part, and how many are right."
    from msagcn.data.precog import read_precog
    from msagcn.experiments.parameters import PredictParameters
    from msagcn.experiments.predictor import Predictor

    clips, answer = read_precog(), Predictor(PredictParameters(weights='precog'))
    tested = [i for i, part in enumerate(clips.parts) if part == 'test']
    found = {clips.names[i]: answer(clips.names[i]).best[0] for i in tested}
    right = [found[clips.names[i]][0] == clips.classes[clips.labels[i]] for i in tested]
    return dict(top1=round(100 * sum(right) / len(right), 2), answers=found)


if __name__ == '__main__':
    sys.path.insert(0, str(ROOT))
    torch.set_num_threads(1)
    a = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    a.add_argument('what', choices=['data', 'weights'])
    a.add_argument('folder', help="of the authors' files, or of a run")
    a = a.parse_args()
    file = dict(data=make_data, weights=make_weights)[a.what](a.folder)
    print(f'{file}: {file.stat().st_size / 1e6:.2f} MB')
