"""Long clips are answered window by window: like clips cut by hand, in files and while frames come in."""

import io
import json
import random

import numpy as np
import pandas as pd
import pytest
from conftest import SHARED, need, one_clip

from msagcn.cli import main
from msagcn.core import MsagcnError
from msagcn.data.own_clip import raw_coordinates
from msagcn.data.skeleton import COCO17
from msagcn.experiments.parameters import PredictParameters
from msagcn.experiments.train_parameters import TrainParameters
from msagcn.experiments.weights import build_model, save_weights
from msagcn.experiments.windows import Windows, frame_from

CLASSES = ['fall', 'jump', 'lie', 'sit']


def weights_for(path, bodies=1, **more):
    "A small untrained network for 2D joints of COCO."
    frames = np.random.default_rng(0).random((20, bodies, 17, 3)).astype(np.float32)
    clips = one_clip(frames, COCO17, CLASSES, **more)
    p = TrainParameters(width=40, frames=8, benchmark='falls', context='sample')
    save_weights(path, p, clips, build_model(p, clips))
    return str(path)


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    return weights_for(tmp_path_factory.mktemp('windows') / 'falls.safetensors')


@pytest.fixture
def walk(tmp_path):
    "Two people in 50 frames; the second leaves after 30, joints are lost here and there."
    rng = np.random.default_rng(1)
    x = rng.normal(size=(50, 2, 17, 3)).cumsum(0) * 5 + 300
    x[..., 2] = rng.uniform(0.5, 1, x.shape[:-1])
    x[rng.random(x.shape[:-1]) < 0.05] = np.nan
    x[30:, 1] = np.nan
    np.save(tmp_path / 'walk.npy', x)
    return x


def same_by_hand(windows, file, x, found):
    "The best class of each window is that of the frames as a file of their own."
    for w in found:
        np.save(file, x[w.first : w.last, w.person - 1])
        best, percent = windows.answer(file).best[0]
        assert best == CLASSES[w.probabilities.argmax()]
        assert percent == round(100 * float(w.probabilities.max()), 2)


def test_windows_are_clips_cut_by_hand(weights, walk, tmp_path):
    windows = Windows(PredictParameters(weights=weights, windows=1, step=0.4, fps=10))
    found = list(windows(tmp_path / 'walk.npy'))
    assert [w.first for w in found if w.person == 1] == list(range(0, 41, 4))
    assert max(w.first for w in found if w.person == 2) == 28
    same_by_hand(windows, tmp_path / 'cut.npy', walk, found)


def test_windows_of_a_real_recording(weights, tmp_path):
    file = need(SHARED / 'data/real/alphapose_real/Activity3.json', 'a file of AlphaPose')
    windows = Windows(PredictParameters(weights=weights, windows=3, step=30, fps=18))
    found = list(windows(file))
    x = raw_coordinates(file, COCO17, 'xys', 10)
    assert found[0].first == 0 and max(w.last for w in found) == len(x) == 1793
    assert len({w.person for w in found}) > 1
    same_by_hand(windows, tmp_path / 'cut.npy', x, found[:8])


def test_a_network_for_two_bodies_sees_both_at_once(walk, tmp_path):
    two = weights_for(tmp_path / 'two.safetensors', 2)
    windows = Windows(PredictParameters(weights=two, windows=2, fps=10))
    assert [(w.person, w.first) for w in windows(tmp_path / 'walk.npy')] == [
        (0, 0),
        (0, 10),
        (0, 20),
        (0, 30),
    ]


def predict(*words):
    return main(['predict', *map(str, words)])


def test_answers_as_lines_and_files(weights, walk, tmp_path, capsys):
    call = [tmp_path / 'walk.npy', '--weights', weights, '--windows', 1, '--fps', 10]
    assert predict(*call) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ['person', 'from', 'to', 'class', 'percent']
    assert {r.split()[0] for r in rows} == {'1', '2'}
    for ending in ('csv', 'json', 'png'):
        assert predict(*call, '--out', tmp_path / f'found.{ending}') == 0
    table = pd.read_csv(tmp_path / 'found.csv')
    assert list(table) == ['person', 'from', 'to', *CLASSES] and len(table) == 15
    content = json.loads((tmp_path / 'found.json').read_text())
    assert content['windows'] == table.to_dict('records')
    assert len(content['segments']) == len(rows)
    assert (tmp_path / 'found.png').stat().st_size > 5000


@pytest.mark.parametrize('smooth', [[], ['--smooth', 1.5]])
def test_frames_that_come_in_are_answered_like_those_of_a_file(
    weights, walk, tmp_path, capsys, monkeypatch, smooth
):
    call = ['--weights', weights, '--windows', 1, '--step', 0.5, '--fps', 10, *smooth]
    assert predict(tmp_path / 'walk.npy', *call, '--out', tmp_path / 'found.json') == 0
    capsys.readouterr()
    lines = (json.dumps(frame.tolist()).replace('NaN', 'null') for frame in walk)
    monkeypatch.setattr('sys.stdin', io.StringIO('\n'.join(lines)))
    assert predict('--follow', *call) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    windows = json.loads((tmp_path / 'found.json').read_text())['windows']
    assert len(answers) == len(windows) > 10
    for a, w in zip(answers, windows):
        assert [a[k] for k in ('person', 'from', 'to')] == [w[k] for k in ('person', 'from', 'to')]
        assert a['percent'] == max(w[c] for c in CLASSES) == w[a['class']]


def test_smoothed_windows_are_means_of_those_that_end_before(weights, walk, tmp_path):
    told = dict(weights=weights, windows=1, step=0.4, fps=10)
    alone = list(Windows(PredictParameters(**told))(tmp_path / 'walk.npy'))
    smooth = list(Windows(PredictParameters(**told, smooth=1))(tmp_path / 'walk.npy'))
    assert [(w.person, w.first) for w in alone] == [(w.person, w.first) for w in smooth]
    for w in smooth:  # ten frames back, of windows that end every four
        ends = [w.last, w.last - 4, w.last - 8]
        mine = [a.probabilities for a in alone if a.person == w.person and a.last in ends]
        assert np.allclose(w.probabilities, np.mean(mine, 0), atol=1e-7)
    assert any(not np.allclose(a.probabilities, b.probabilities) for a, b in zip(alone, smooth))


@pytest.mark.parametrize(
    'words, said',
    [
        (['--windows', '0'], 'windows: '),
        (['--windows', '0.001'], 'windows: 0.001 s at 30 frames a second is no frame'),
        (['--windows', '1', '--step', '0.001'], 'step: 0.001 s at 30 frames a second is no frame'),
        (
            ['--windows', '1', '--out', 'a.txt'],
            'a.txt: the ending is not one of .csv, .json, .png, .html',
        ),
        (['--windows', '1', '--follow'], 'follow: frames come by standard input, not from'),
        (
            ['--windows', '1', '--step', '0.5', '--smooth', '0.5'],
            'smooth: 0.5 s hold one window; more than a step, 0.5 s, are needed',
        ),
        (['--follow'], 'follow: frames come by standard input, not from'),
    ],
)
def test_what_cannot_be_done_is_said(weights, walk, tmp_path, capsys, words, said):
    assert predict(tmp_path / 'walk.npy', '--weights', weights, *words) == 2
    err = capsys.readouterr().err
    assert said in err and err.count('\n') == 1
    assert not [f for f in tmp_path.iterdir() if f.name != 'walk.npy']


def test_follow_needs_windows(weights, capsys):
    assert predict('--follow', '--weights', weights) == 2
    assert 'windows: how many seconds are wanted for each window' in capsys.readouterr().err


def test_lines_that_are_no_frames_are_one_line_of_error():
    g = random.Random(0)
    line = json.dumps([[[round(g.random(), 2) for _ in range(3)] for _ in range(17)]] * 2)
    refused = 0
    for _ in range(3000):
        letters = list(line)
        for _ in range(g.randint(1, 4)):
            i = g.randrange(len(letters))
            letters[i : i + g.randint(0, 30)] = g.choice(
                ['', '[', ']', ',', '1', 'null', '"', '-', '{', 'e9']
            )
        try:
            assert frame_from(''.join(letters), 3, 17, 3).shape[1:] == (17, 3)
        except MsagcnError as e:
            assert str(e).startswith('standard input, line 3: ')
            refused += 1
    assert 1500 < refused < 3000
