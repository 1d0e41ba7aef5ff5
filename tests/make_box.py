"""Makes what is in msagcn/data_box.

    python tests/make_box.py data FOLDER

packs PRECOG 2016's files SeqN_S.csv in whole millimetres to precog.npz. Their source: the folder
Dataset/CSV of github.com/DavidJardim/precog_dataset_16 at commit 1ff2c9d.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]


def make_data(folder):
    "The recordings of a folder, packed."
    from msagcn.data.precog import BOX, packed, read_recordings

    BOX.mkdir(exist_ok=True)
    np.savez_compressed(BOX / 'precog.npz', **packed(read_recordings(folder)))
    return BOX / 'precog.npz'


if __name__ == '__main__':
    sys.path.insert(0, str(ROOT))
    a = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    a.add_argument('what', choices=['data'])
    a.add_argument('folder')
    a = a.parse_args()
    file = make_data(a.folder)
    print(f'{file}: {file.stat().st_size / 1e6:.2f} MB')
