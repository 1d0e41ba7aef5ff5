"""MediaPipe's landmarks of one person in videos, as JSON that `msagcn` reads.

In an environment of its own, since MediaPipe wants an older NumPy; 0.10.21 has its model in the wheel:

    python3 -m venv pose
    pose/bin/pip install mediapipe==0.10.21
    pose/bin/python docs/video_to_json.py wave/*.mp4

writes wave/NAME.json for each wave/NAME.mp4: a list with an object for each frame, `pose_landmarks` in the
picture, from 0 to 1, and `pose_world_landmarks` in metres about the hips, each a list of people of 33
landmarks, empty where nobody is found. One that is there is written anew. Needs nothing of msagcn, and
no network.
"""

import argparse
import json
import os
import sys
from pathlib import Path

WIDTH = 640  # pixels; the model looks at 256, and decoding larger pictures takes longer


def people(landmarks) -> list[list[dict]]:
    "MediaPipe's person as a list of people: none, or one."
    if landmarks is None:
        return []
    return [
        [
            dict(
                x=round(p.x, 6), y=round(p.y, 6), z=round(p.z, 6), visibility=round(p.visibility, 5)
            )
            for p in landmarks.landmark
        ]
    ]


def entry(found) -> dict:
    "What is written of a frame, by MediaPipe's answer."
    return dict(
        pose_landmarks=people(found.pose_landmarks),
        pose_world_landmarks=people(found.pose_world_landmarks),
    )


def write(path: Path, frames: list[dict]) -> None:
    "The frames as JSON, all or nothing."
    part = path.with_name(f'{path.name}.part')
    part.write_text(json.dumps(frames), encoding='utf-8')
    os.replace(part, path)


def landmarks(
    video: Path, complexity: int
) -> tuple[list[dict], float]:  # frames; how many a second
    "All frames of a video; `OSError` if it cannot be opened."
    import cv2
    import mediapipe

    source = cv2.VideoCapture(str(video))
    if not source.isOpened():
        raise OSError(f'{video}: no video that OpenCV can read')
    frames, fps = [], source.get(cv2.CAP_PROP_FPS)
    with mediapipe.solutions.pose.Pose() as pose:
        while True:
            there, picture = source.read()
            if not there:
                break
            height, width = picture.shape[:2]
            if width > WIDTH:
                picture = cv2.resize(picture, (WIDTH, round(height * WIDTH / width)))
            frames.append(entry(pose.process(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))))
    source.release()
    if not frames:
        raise OSError(f'{video}: not one frame could be decoded')
    return frames, fps


def main() -> int:
    a = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    a.add_argument('videos', nargs='+', type=Path)
    a = a.parse_args()
    bad = 0
    for video in a.videos:
        try:
            frames, fps = landmarks(video)
            write(out := video.with_suffix('.json'), frames)
        except OSError as e:
            print(e, file=sys.stderr)
            bad += 1
            continue
        seen = sum(bool(f['pose_landmarks']) for f in frames)
        print(f'{out}: {len(frames)} frames, somebody in {seen} of them; --fps {fps:g}')
    return int(bool(bad))


if __name__ == '__main__':
    sys.exit(main())
