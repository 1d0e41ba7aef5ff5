#!/usr/bin/env bash
# NW-UCLA (Northwestern-UCLA Multiview Action 3D), the archive all_sqe.zip of 1,484 skeleton clips that CTR-GCN and those after
# it train on (SHA-256 dd8001dc…): the training part, cameras 1 and 2, has clips under the name of another action.
# a05 is sitting down, a06 standing up. The head's height from a clip's first eighth to its last falls in the one and
# rises in the other, for every person and camera, except person 4 by camera 2: all six clips named a05 rise, by 20 to
# 38 cm, and the five named a06 do not, while the clips of that person by cameras 1 and 3 are named rightly.
# Of person 5 there is nothing by camera 3, the test part, but ten clips that are copies of camera 2's.
# Expected: names that say what a clip shows; ten people in the test part. Observed: 11 clips exchanged, nine people.
# Usage: nw_ucla_exchanged_names.sh [all_sqe.zip]; exit 0 while that is so, 1 if it has changed.
set -euo pipefail
archive=${1:-$(dirname "$0")/../../shared/data/nw_ucla/all_sqe.zip}
[ -f "$archive" ] || { echo "$archive: not there; give the path of all_sqe.zip" >&2; exit 2; }
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check numpy==2.4.6
"$work/venv/bin/python" - "$archive" <<'P'
import hashlib
import json
import re
import sys
import zipfile
from collections import defaultdict

import numpy as np

data = open(sys.argv[1], 'rb').read()
print('SHA-256', hashlib.sha256(data).hexdigest())
HEAD, UP = 3, 1
rises, of_person_5 = defaultdict(list), {}
with zipfile.ZipFile(sys.argv[1]) as z:
    for name in sorted(z.namelist()):
        m = re.search(r'/a(\d\d)_s(\d\d)_e(\d\d)_v(\d\d)\.json$', '/' + name)
        if not m or '__MACOSX' in name:
            continue
        action, person, take, camera = map(int, m.groups())
        x = np.array(json.loads(z.read(name))['skeletons'])
        if person == 5:
            of_person_5[action, take, camera] = x
        if action in (5, 6):
            few = max(3, len(x) // 8)
            rises[action, person, camera].append(x[-few:, HEAD, UP].mean() - x[:few, HEAD, UP].mean())
reversed_ = [k for k, r in sorted(rises.items()) if (np.median(r) > 0) != (k[0] == 6)]
for action in (5, 6):
    r = rises[action, 4, 2]
    print(f'a0{action}, person 4, camera 2: {len(r)} clips, head rises by', *(f'{v:+.2f}' for v in sorted(r)), 'm')
print('groups (action, person, camera) that go the other way:', reversed_, 'of', len(rises))
tested = [k for k in of_person_5 if k[2] == 3]
copies = [k for k in tested if np.array_equal(of_person_5[k], of_person_5.get((*k[:2], 2)))]
print(f'person 5, camera 3: {len(tested)} clips, {len(copies)} of them copies of camera 2')
assert reversed_ == [(5, 4, 2), (6, 4, 2)], 'changed: other clips go the other way'
assert len(tested) == len(copies) == 10, 'changed: person 5 has clips of its own by camera 3'
P
