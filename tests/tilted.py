"""What a camera that looks up or down costs: held-out clips tilted, without training again.

    python tests/tilted.py WEIGHTS [WEIGHTS ...] --data DATA

WEIGHTS are of runs on NW-UCLA that hold out a camera (grid params/nw_ucla_msg3d_choice.yaml, fold
camera2), DATA the folder that `msagcn prepare` wrote. Each held-out clip is rotated about the image's
horizontal axis by some degrees, as if the camera had another pitch, and classified; what the clips lose
is compared with them as they are, clip by clip (McNemar). The test part is not opened. A row for each
run and angle goes to reports/tilted.csv, in place of the run's former ones.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from msagcn.data.clips import load_clips, split
from msagcn.experiments.results import append_row
from msagcn.experiments.weights import load_weights
from msagcn.feeds.feeds import fed_store
from msagcn.feeds.own_frame import rotated
from msagcn.training.evaluate import predict
from msagcn.training.statistics import mcnemar

ROOT = Path(__file__).resolve().parents[1]
DEGREES = -30, -20, -10, 0, 10, 20, 30
TABLE = ROOT / 'reports/tilted.csv'


def tilted(frames, degrees):  # (..., x y z)
    "Coordinates about a camera, rotated about its horizontal axis, x."
    return rotated(torch.from_numpy(frames)[None], torch.tensor([degrees]), 'x')[0].numpy()


def right(net, about, clips, held_out, degrees):  # -> (n,) bool
    "Which held-out clips a network classifies correctly, tilted by so many degrees."
    s = fed_store(replace(clips, frames=tilted(clips.frames, degrees)), feed=about['feed'])
    p = about['parameters']
    logits = predict(net, s, held_out, p['frames'], p['stream'], test_clips=p['test_clips'])
    return logits.argmax(1) == clips.labels[held_out]


def rows(file, data):
    "The rows of one run."
    net, about = load_weights(file)
    p, clips = about['parameters'], load_clips(data)
    held_out = split(clips, p['val_subjects'], p['val_views'])['val']
    found = {d: right(net, about, clips, held_out, d) for d in DEGREES}
    for d, ok in found.items():
        alone, tilted_alone, chance = mcnemar(found[0], ok)
        yield dict(
            run_id=Path(file).parent.name,
            feed=about['feed'],
            rotate=p['rotate'],
            tilt=p.get('tilt', 0.0),
            degrees=d,
            n=len(ok),
            top1=f'{100 * ok.mean():.2f}',
            lost=alone,
            won=tilted_alone,
            p=f'{chance:.2g}',
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('weights', nargs='+')
    parser.add_argument('--data', required=True, help='the prepared data set')
    args = parser.parse_args()
    for file in args.weights:
        for row in rows(file, args.data):
            append_row(TABLE, row, ['run_id', 'degrees'], replace=True)
            print(*row.values())


if __name__ == '__main__':
    main()
