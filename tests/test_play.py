"""The page that plays a recording: from a file without a network, the answers are those of the windows."""

import json

import numpy as np
import pytest
from conftest import one_clip

from msagcn.cli import main
from msagcn.data.skeleton import COCO17, UCLA20
from msagcn.data.synthetic import generate_clip
from msagcn.experiments.train_parameters import TrainParameters
from msagcn.experiments.weights import build_model, save_weights

CLASSES = ['fall', 'jump </script>', 'lie', 'sit']
SOLID = [generate_clip(a, subject=1, episode=1, view=1)[:45] for a in ('throw', 'carry')]


def flat(seconds=5):
    "Two people of COCO's joints in an image, the second of whom leaves; joints are lost."
    g, bodies = np.random.default_rng(2), []
    level = dict(
        nose=0, eye=0, ear=0, shoulder=40, elbow=80, wrist=120, hip=120, knee=180, ankle=240
    )
    for x in (200, 420):
        y = [level[j.split()[-1]] for j in COCO17.joints]
        side = [{'left': 25, 'right': -25}.get(j.split()[0], 0) for j in COCO17.joints]
        body = np.stack([x + np.array(side), 120 + np.array(y)], -1)
        walk = np.linspace(0, 150, 10 * seconds)[:, None, None] * [1, 0]
        bodies.append(body + walk + g.normal(0, 3, (10 * seconds, 17, 2)))
    x = np.stack(bodies, 1)
    x = np.concatenate([x, np.ones((*x.shape[:-1], 1))], -1)
    x[30:, 1] = np.nan
    x[10:20, 0, 5:11] = np.nan
    return x


def recording(folder, kind):
    "A file, and weights for its joints."
    T = min(len(c) for c in SOLID)
    shift = np.array([[0.0, 0, 0], [1.2, 0, 0.4]])[:, None]
    x = flat() if kind == 'flat' else np.stack([c[:T] for c in SOLID], 1) + shift
    skeleton, channels = (COCO17, 'xys') if kind == 'flat' else (UCLA20, 'xyz')
    feed = 'mmaction2' if kind == 'flat' else 'own_frame'
    first = np.nan_to_num(x[:, :1]).astype(np.float32)
    clips = one_clip(first, skeleton, CLASSES, channels=channels, feed=feed)
    p = TrainParameters(width=40, frames=8, benchmark='falls', context='sample')
    save_weights(folder / 'w.safetensors', p, clips, build_model(p, clips))
    np.save(folder / 'clip.npy', x)
    return x


@pytest.fixture(scope='module', params=['flat', 'solid'])
def played(request, tmp_path_factory):
    "The page of a recording in 2D or 3D, what JSON says of it, and its frames."
    folder = tmp_path_factory.mktemp(request.param)
    x = recording(folder, request.param)
    call = ['predict', folder / 'clip.npy', '--weights', folder / 'w.safetensors', '--fps', 10]
    call += ['--windows', 1, '--step', 0.5]
    for ending in ('html', 'json'):
        assert main([*map(str, call), '--out', str(folder / f'p.{ending}')]) == 0
    return folder / 'p.html', json.loads((folder / 'p.json').read_text()), x, request.param


class Tab:
    "The page opened from disk without a network; keeps complaints and requests."

    def __init__(self, browser, path, width=1100, height=900, scheme='light'):
        size = dict(width=width, height=height)
        self.context = browser.new_context(viewport=size, color_scheme=scheme, offline=True)
        self.tab, self.complaints, self.asked = self.context.new_page(), [], []
        self.tab.on('console', lambda m: self.complaints.append(m.text))
        self.tab.on('pageerror', lambda e: self.complaints.append(str(e)))
        self.tab.on('request', lambda r: self.asked.append(r.url))
        self.tab.goto(path.as_uri())
        self.tab.wait_for_function("document.getElementById('player').player?.drawn")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()

    def at(self, frame):
        "What is shown at a frame."
        self.tab.evaluate(f"document.getElementById('player').player.set({{frame: {frame}}})")
        return self.read()

    def read(self):
        self.tab.evaluate('new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))')
        return self.tab.evaluate("document.getElementById('player').player.read()")


def by_hand(windows, person, t):
    "The mean over the windows that hold frame t, by class; empty without any."
    held = [w for w in windows if w['person'] == person and w['from'] * 10 <= t < w['to'] * 10]
    return {c: np.mean([w[c] for w in held]) for c in CLASSES} if held else {}


def test_the_answers_are_those_of_the_windows(played, browser):
    page, said, x, _ = played
    with Tab(browser, page) as t:
        for frame in (0, 7, 12, len(x) - 12, len(x) - 1):
            seen = t.at(frame)
            assert seen['frame'] == frame and [p['person'] for p in seen['people']] == [1, 2]
            for p in seen['people']:
                hand = by_hand(said['windows'], p['person'], frame)
                best = sorted(hand, key=hand.get, reverse=True)[:3]
                assert [a['class'] for a in p['told']] == best
                assert [100 * a['p'] for a in p['told']] == pytest.approx(
                    [hand[c] for c in best], abs=0.02
                )
            there = [m + 1 for m in range(2) if np.isfinite(x[frame, m, :, 0]).any()]
            assert [d['body'] for d in seen['drawn']] == there
            for d in seen['drawn']:
                (told,) = (p['told'] for p in seen['people'] if p['person'] == d['body'])
                assert d['words'].startswith(f'{d["body"]}: {told[0]["class"]}' if told else '')
        assert not t.complaints and t.asked == [page.as_uri()]


def test_it_plays_to_the_end_and_goes_by_keys_and_pointer(played, browser):
    page, _, x, kind = played
    with Tab(browser, page) as t:
        t.tab.locator('[data-control=speed]').select_option('4')
        t.tab.locator('[data-control=play]').click()
        end = f"document.getElementById('player').player.frame === {len(x) - 1}"
        t.tab.wait_for_function(end)
        assert '▶' in t.tab.locator('[data-control=play]').text_content()
        t.tab.evaluate('document.activeElement.blur()')
        t.tab.keyboard.press('ArrowLeft')
        assert t.read()['frame'] == len(x) - 2
        t.tab.keyboard.press('Shift+ArrowLeft')
        assert t.read()['frame'] == len(x) - 12
        lanes = t.tab.locator('.mp-lanes').bounding_box()
        t.tab.mouse.click(lanes['x'] + lanes['width'] * 0.6, lanes['y'] + 20)
        assert 0.4 * len(x) < t.read()['frame'] < 0.7 * len(x)
        before, stage = t.read()['drawn'], t.tab.locator('.mp-stage').bounding_box()
        t.tab.mouse.move(stage['x'] + 200, stage['y'] + 100)
        t.tab.mouse.down()
        t.tab.mouse.move(stage['x'] + 320, stage['y'] + 100)
        t.tab.mouse.up()
        assert (t.read()['drawn'] != before) == (kind == 'solid')
        assert not t.complaints


def test_it_is_readable_when_dark_and_narrow(played, browser, shots):
    page, _, x, kind = played
    for scheme, width in (('light', 1100), ('dark', 1100), ('light', 390)):
        with Tab(browser, page, width, scheme=scheme) as t:
            t.at(12)
            wide = t.tab.evaluate('document.documentElement.scrollWidth')
            assert wide <= width
            t.tab.screenshot(path=shots / f'play_{kind}_{scheme}_{width}.png')
            back = t.tab.evaluate("getComputedStyle(document.querySelector('.mx')).backgroundColor")
            assert (back == 'rgb(255, 255, 255)') == (scheme == 'light')
