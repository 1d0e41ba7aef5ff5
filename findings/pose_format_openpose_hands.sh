#!/usr/bin/env bash
# pose-format 0.15.0, load_openpose: where a person has hands but no face (valid OpenPose output: empty face_keypoints_2d),
# the hands' points land in the face's places, with their confidences, and the hands are empty.
# Expected: face 0 with confidence 0, left hand x = 5, right hand x = 7.
# Observed: face x = 5 (the left hand's), left and right hand 0 with confidence 0. No warning.
# Exit 0 while that is so, 1 if it has changed.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check pose-format==0.15.0 numpy==2.4.6
"$work/venv/bin/python" - <<'P'
from pose_format.utils.openpose import load_openpose

def person(face):
    "One person: body at x = 1, face at 3, left hand at 5, right hand at 7."
    return dict(person_id=[-1], pose_keypoints_2d=[1., 2., .9]*25, face_keypoints_2d=[3., 4., .8]*70 if face else [],
                hand_left_keypoints_2d=[5., 6., .7]*21, hand_right_keypoints_2d=[7., 8., .6]*21)

def first_x(face):
    "x of the first point of each part."
    pose = load_openpose({0: dict(version=1.3, people=[person(face)])}, fps=25, width=100, height=100)
    found, start = {}, 0
    for part in pose.header.components:
        found[part.name] = float(pose.body.data.filled(0)[0, 0, start, 0])
        start += len(part.points)
    return found

whole, without_face = first_x(True), first_x(False)
print('with a face:   ', whole)
print('without a face:', without_face)
assert list(whole.values()) == [1, 3, 5, 7], 'with a face all parts are in their places'
assert list(without_face.values()) == [1, 5, 0, 0], 'changed: without a face the hands are no longer in the face'
P
