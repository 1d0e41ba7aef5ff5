#!/usr/bin/env bash
# pose-format 0.15.0, load_alphapose_wholebody_from_json: AlphaPose's results list has an entry for each detection and names
# its frame by image_id. pose-format makes a frame of every entry: two people become one person in twice as many frames,
# jumping from one body to the other, and frames in which nobody was found vanish.
# Valid input: two people (x = 10 and x = 500) in the frames 0 and 3.
# Expected: 4 frames, 2 people. Observed: shape (4, 1, 136, 2), x = 10, 500, 11, 501. No warning.
# Exit 0 while that is so, 1 if it has changed.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check pose-format==0.15.0 numpy==2.4.6
"$work/venv/bin/python" - "$work/results.json" <<'P'
import json
import sys
from pose_format.utils.alphapose import load_alphapose_wholebody_from_json

def detection(frame, x):
    points = [v for i in range(136) for v in (float(x), 2., .9)]
    return dict(image_id=f'{frame}.jpg', category_id=1, keypoints=points, score=2.9, box=[0, 0, 9, 9], idx=[0.])

with open(sys.argv[1], 'w') as f:
    json.dump([detection(0, 10), detection(0, 500), detection(3, 11), detection(3, 501)], f)
data = load_alphapose_wholebody_from_json(sys.argv[1]).body.data
x = data.filled(0)[:, 0, 0, 0].tolist()
print('shape (frames, people, points, 2):', data.shape, ' x of the first point:', x)
assert data.shape[:2] == (4, 1) and x == [10, 500, 11, 501], 'changed: detections are no longer frames'
P
