#!/usr/bin/env bash
# ezc3d 1.7.2: a C3D header counts frames in 16 bits; TRIAL:ACTUAL_END_FIELD is the usual way to say more. ezc3d writes all
# frames but not that parameter, and reads back the first 65,535 of its own file. No warning at writing or reading.
# Valid input: one marker in 70,000 frames, x = the frame's number.
# Expected: 70,000 frames back, or an error. Observed: 65,535 frames, the last with x = 65534.
# Exit 0 while that is so, 1 if it has changed.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check ezc3d==1.7.2 numpy==2.4.6
"$work/venv/bin/python" - "$work/long.c3d" <<'P'
import sys
import ezc3d
import numpy as np

n = 70_000
c = ezc3d.c3d()
c['parameters']['POINT']['LABELS']['value'] = ['marker']
c['parameters']['POINT']['UNITS']['value'] = ['mm']
c['parameters']['POINT']['RATE']['value'] = [100.]
points = np.ones((4, 1, n))
points[0] = np.arange(n)
c['data']['points'] = points
c.write(sys.argv[1])
back = ezc3d.c3d(sys.argv[1])
x = back['data']['points']
trial = sorted(back['parameters'].get('TRIAL', {}))
print('written', n, 'frames, read', x.shape[2], ' last x:', x[0, 0, -1], ' parameters of TRIAL:', trial)
assert x.shape[2] == 65_535 and x[0, 0, -1] == 65_534, 'changed: the frames are no longer cut'
assert 'ACTUAL_END_FIELD' not in trial
P
