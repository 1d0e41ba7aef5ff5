"""The script that makes JSON of videos, against files that MediaPipe 0.10.21 gave; it needs none here."""

import importlib.util
import json
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT, SHARED, need, pairs, places

from msagcn.cli import main
from msagcn.data.own_clip import read_coordinates
from msagcn.data.skeleton import MEDIAPIPE33

SCRIPT = ROOT / 'docs/video_to_json.py'


@pytest.fixture(scope='module')
def script():
    spec = importlib.util.spec_from_file_location('video_to_json', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def answer(frame):
    "MediaPipe's answer for a frame, as far as the script looks at it, from what was written of it."

    def person(people):
        if not people:
            return None
        return SimpleNamespace(landmark=[SimpleNamespace(**p) for p in people[0]])

    return SimpleNamespace(**{k: person(v) for k, v in frame.items()})


@pytest.mark.parametrize('name', ['sports2d_demo', 'pose2sim_single_cam01'])
def test_what_is_written_is_what_such_a_run_wrote(script, name, tmp_path):
    path = need(SHARED / f'data/real/mediapipe_real/{name}.json', "MediaPipe's landmarks")
    real = json.loads(path.read_text())
    frames = [script.entry(answer(f)) for f in real]
    assert [list(f) for f in frames[:1]] == [['pose_landmarks', 'pose_world_landmarks']]
    assert frames == real
    script.write(tmp_path / 'a.json', frames)
    assert [p.name for p in tmp_path.iterdir()] == ['a.json']
    for channels in ('xys', 'xyz'):
        ours, theirs = (
            read_coordinates(p, MEDIAPIPE33, channels) for p in (tmp_path / 'a.json', path)
        )
        assert np.array_equal(ours, theirs, equal_nan=True)


def test_from_videos_to_answers_for_windows(script, tmp_path, capsys):
    "The recipe of docs/own.md behind the script: its files of short videos, and of a long one."
    folder = need(SHARED / 'data/real/mediapipe_real', "MediaPipe's landmarks")
    for label, name in (('walk', 'sports2d_demo'), ('turn', 'pose2sim_single_cam01')):
        frames = json.loads((folder / f'{name}.json').read_text())
        (tmp_path / 'videos' / label).mkdir(parents=True)
        for n in range(3):
            short = [script.entry(answer(f)) for f in frames[20 * n + 10 : 20 * n + 30]]
            script.write(tmp_path / f'videos/{label}/{label}{n}.json', short)
            (tmp_path / f'videos/{label}/{label}{n}.mp4').write_bytes(b'a video')
    at, name = places(tmp_path), dict(benchmark='videos')
    prepared = pairs(**name, source=tmp_path / 'videos', data_dir=at['data_dir'])
    assert main(['prepare', *prepared]) == 0
    assert '6 clips, MediaPipe' in capsys.readouterr().out
    short = pairs(**name, steps=4, warmup_steps=1, frames=8, device='cpu', **at)
    assert main(['train', '-f', 'custom', *short, '--no-notebook']) == 0
    weights = tmp_path / 'runs/msg3d-videos-custom-joint-s1/weights.safetensors'
    long = [str(folder / 'sports2d_demo.json'), '--weights', str(weights)]
    capsys.readouterr()
    windows = pairs(windows=1, step=0.5, fps=25, out=tmp_path / 'answers.json')
    assert main(['predict', *long, *windows]) == 0
    said = capsys.readouterr().out
    assert 'walk' in said or 'turn' in said
    answers = json.loads((tmp_path / 'answers.json').read_text())
    assert len(answers['windows']) > 10 and len(answers['segments']) >= 1


def test_frames_without_anybody_and_with_somebody(script):
    p = SimpleNamespace(x=0.12345678, y=1, z=-0.5, visibility=0.987654321)
    found = SimpleNamespace(pose_landmarks=SimpleNamespace(landmark=[p]), pose_world_landmarks=None)
    assert script.entry(found) == dict(
        pose_landmarks=[[dict(x=0.123457, y=1, z=-0.5, visibility=0.98765)]],
        pose_world_landmarks=[],
    )


def test_it_imports_neither_msagcn_nor_what_is_not_there():
    "So that an environment with MediaPipe alone can run it, and its help anywhere."
    text = SCRIPT.read_text()
    assert 'import msagcn' not in text and 'from msagcn' not in text
    assert 'docs/video_to_json.py' in (ROOT / 'docs/own.md').read_text()
