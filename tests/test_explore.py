"""The explorer in a real browser: the page from disk without network, the widget in JupyterLab.

Every control changes the drawing, nothing is fetched, nothing complains, and the numbers drawn are the
model's. A link opens the view that it names, and saved files hold what was on the screen. Skips where there
is no Chromium or no Playwright.
"""

import io
import json
import os
import re
import socket
import subprocess
import time
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from conftest import ROOT, TINY, command, pairs, places, tool

RUNS = 'msagcn-embedded-smoke-joint-s1', 'msg3d-embedded-smoke-joint-s1'


@pytest.fixture(scope='module')
def trained(embedded, tmp_path_factory):
    "A folder in which both networks were trained for one epoch."
    from msagcn.experiments.run import train
    from msagcn.experiments.train_parameters import TrainParameters

    out = tmp_path_factory.mktemp('trained')
    small = {k: v for k, v in TINY.items() if k not in ('width', 'val_subjects')} | dict(
        val_subjects=[1], refit=False
    )
    for model, more in (('msagcn', dict(width=40)), ('msg3d', dict(width=6))):
        train(
            TrainParameters(
                model=model, **small | more | places(out) | dict(data_dir=str(embedded))
            )
        )
    return out


@pytest.fixture(scope='module')
def page(trained, embedded):
    "A page with both runs and two clips."
    from msagcn.experiments.parameters import ExploreParameters
    from msagcn.report.explorer import write_explorer

    return write_explorer(
        ExploreParameters(
            runs=list(RUNS),
            count=2,
            page=str(trained / 'page.html'),
            **places(trained) | dict(data_dir=str(embedded)),
        )
    )


@pytest.fixture(scope='module')
def crowd(tmp_path_factory):
    "A page of NTU's size: five clips of two bodies, the second of which comes late, in ten layers."
    from msagcn.bench.contenders import settle
    from msagcn.data.clips import Clips
    from msagcn.data.skeleton import NTU25
    from msagcn.experiments.train_parameters import TrainParameters
    from msagcn.experiments.weights import save_weights
    from msagcn.feeds.feeds import batch, fed_store
    from msagcn.models.msagcn import MSAGCN, calibrate
    from msagcn.report.explorer_data import explorer_tree, pack
    from msagcn.report.explorer_page import page

    out, g = tmp_path_factory.mktemp('crowd'), np.random.default_rng(0)
    x = g.normal(0, 0.05, (5 * 60, 2, 25, 3)).cumsum(0).astype(np.float32) + g.normal(
        0, 0.4, (1, 2, 25, 3)
    ).astype(np.float32)
    x.reshape(5, 60, 2, 25, 3)[:, :30, 1] = 0
    clips = Clips(
        benchmark='crowd',
        skeleton='ntu25',
        classes=[f'class {i}' for i in range(60)],
        names=list('abcde'),
        labels=np.arange(5),
        subjects=np.zeros(5, int),
        parts=['test'] * 5,
        hashes=[''] * 5,
        lengths=np.full(5, 60),
        frames=x,
        feed='whole',
    )
    run = TrainParameters(frames=64, width=40, feed='whole', device='cpu')
    model = MSAGCN(60, NTU25, 64, 2, width=40)
    x = batch(fed_store(clips), torch.arange(2), 64)
    with torch.no_grad():
        settle(model, x)  # else the numbers explode
    calibrate(model, [x])
    save_weights(out / 'crowd.safetensors', run, clips, model)
    (out / 'crowd.html').write_text(
        page(pack(explorer_tree({'crowd': out / 'crowd.safetensors'}, clips, clips.names)))
    )
    return out / 'crowd.html', clips


class Tab:
    "A page opened from disk without network; keeps its complaints and its requests."

    def __init__(self, browser, path, scheme='light', width=1200, height=1000, link=''):
        self.context = browser.new_context(
            viewport=dict(width=width, height=height), color_scheme=scheme, offline=True
        )
        self.tab, self.complaints, self.asked = self.context.new_page(), [], []
        self.tab.on(
            'console',
            lambda m: self.complaints.append(m.text) if m.type in ('error', 'warning') else None,
        )
        self.tab.on('pageerror', lambda e: self.complaints.append(str(e)))
        self.tab.on('request', lambda r: self.asked.append(r.url))
        self.tab.goto(path.as_uri() + link)
        self.tab.wait_for_function("document.querySelector('.mx')?.parentElement.explorer.opened")
        self.tab.evaluate("window.x = document.querySelector('.mx').parentElement.explorer")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()

    def do(self, code):
        return self.tab.evaluate(code)

    def settled(self):
        self.tab.evaluate('new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))')

    def picture(self, css='.mx-panes'):
        "What is drawn on the canvases, as text, without the controls."
        self.settled()
        return self.do(
            f"[...document.querySelectorAll('{css} canvas')].map(c => c.toDataURL()).join()"
        )

    def control(self, name, pane=0):
        return self.tab.locator(f'[data-control={name}]').nth(pane)

    def saved(self, kind, folder):
        "The file that a button saves."
        with self.tab.expect_download() as download:
            self.control(f'save-{kind}').click()
        download.value.save_as(folder / download.value.suggested_filename)
        return folder / download.value.suggested_filename

    def screen(self):
        "What is seen, as numbers."
        from PIL import Image

        self.settled()
        return np.asarray(Image.open(io.BytesIO(self.tab.screenshot())).convert('RGB')).astype(int)


def test_the_numbers_drawn_are_those_of_the_model(browser, page, trained, embedded):
    """Numbers read back from the page equal those that the network itself computes here.

    These are the matrices of a block (taken from inside its forward pass), its attention over frames, the
    probabilities, the coordinates. A drawn matrix may differ by half a step of each of its parts.
    """
    from msagcn.data.clips import load_clips
    from msagcn.experiments.weights import load_weights
    from msagcn.feeds.feeds import batch, fed_store
    from msagcn.training.evaluate import predict

    clips, (model, _) = (
        load_clips(embedded / 'embedded'),
        load_weights(trained / f'runs/{RUNS[0]}/weights.safetensors'),
    )
    s, inside = fed_store(clips), {}
    for i, b in enumerate(model.blocks):
        b.graph.graphs = lambda *a, i=i, f=b.graph.graphs, **k: (
            inside.update({i: f(*a, **k)}) or inside[i]
        )
    with Tab(browser, page) as t:
        for c, name in enumerate(t.do('x.data.clips.map(c => c.name)')):
            k = clips.names.index(name)
            maps = model.maps(batch(s, torch.tensor([k]), 8))
            for layer, subset, stage, head in (
                (0, 0, 0, 0),
                (3, 1, 2, 7),
                (9, 2, 3, 4),
                (6, 1, -1, -1),
            ):
                t.do(
                    f'x.set({{time: 1, panes: [{{run: 0, clip: {c}, layer: {layer}, subset: {subset}, '
                    f'stage: {stage}, head: {head}, part: 99}}]}})'
                )
                drawn = t.do('x.read(0)')
                F = inside[layer][0][subset, 0].view(4, 8, 20, 20)
                F = (F.mean((0, 1)) if stage < 0 else F[stage, head]).numpy()
                step = sum(np.ptp(v) for n, v in drawn['parts'].items() if n != 'final') / 255
                assert (
                    np.abs(np.array(drawn['matrix']).reshape(20, 20) - F).max()
                    <= 0.51 * step + 1e-5
                )
                assert np.ptp(F) > 20 * step  # so that the comparison says something
                W = maps[layer + 1]['frames'][0].numpy()
                assert (
                    np.abs(np.array(drawn['frames']).reshape(W.shape) - W).max()
                    <= 0.51 * np.ptp(W) / 255 + 1e-6
                )
                assert (
                    np.abs(np.array(drawn['gate']) - maps[layer + 1]['frame_gate'][0].numpy()).max()
                    < 1e-4
                )
            p = torch.as_tensor(predict(model, s, [k], 8, 'joint'))[0].softmax(0).numpy()
            assert np.abs(np.array(drawn['probabilities']) - p).max() < 1e-4
            assert np.abs(np.array(drawn['pose']).reshape(20, 3) - clips[name][-1, 0]).max() < 1e-4
            first = t.do('(x.set({time: 0}), x.read(0))')
            assert (
                np.abs(np.array(first['pose']).reshape(20, 3) - clips[name][0, 0]).max() < 1e-4
                and first['frame'] == 0
            )
        rings, _ = load_weights(trained / f'runs/{RUNS[1]}/weights.safetensors')
        # of 5 frames; layers: single, 3, 5 of each block
        window = rings.blocks[1].windows.windows[1][0]
        t.do('x.set({panes: [{run: 1, layer: 5, subset: 2, stage: 4, head: 1, part: 99}]})')
        # rows are targets: frame 4 attends to frame 1
        drawn, whole = (
            t.do('x.read(0)'),
            (window.A + window.mask).detach()[2],
        )
        part = whole[4 * 20 : 5 * 20, 20:40].T.numpy()
        assert (
            np.abs(np.array(drawn['matrix']).reshape(20, 20) - part).max() <= 0.01 * np.ptp(part)
            and np.ptp(part) > 0.05
        )


@pytest.mark.parametrize('feed', ['padded', 'whole', 'nw_ucla', 'own'])
def test_the_frames_of_a_window_are_those_of_the_network(browser, embedded, tmp_path, feed):
    """Around the clip's first, middle and last frame.

    In a window of five neighbours and one of three that leaves out every other frame.
    """
    from msagcn.data.clips import load_clips
    from msagcn.data.skeleton import UCLA20
    from msagcn.experiments.train_parameters import TrainParameters
    from msagcn.experiments.weights import save_weights
    from msagcn.models.msg3d import MSG3D
    from msagcn.report.explorer_data import explorer_tree, pack
    from msagcn.report.explorer_page import page

    clips = load_clips(embedded / 'embedded')
    L = len(clips[clips.names[0]])
    T = 8 if feed in ('nw_ucla', 'own') else 3 * L  # less than the clip, or more
    save_weights(
        tmp_path / 'rings.safetensors',
        TrainParameters(model='msg3d', frames=T, width=6, window_scales=3, feed=feed, device='cpu'),
        clips,
        MSG3D(10, UCLA20, T, width=6, window_scales=3).eval(),
    )
    (tmp_path / 'p.html').write_text(
        page(pack(explorer_tree({'rings': tmp_path / 'rings.safetensors'}, clips, clips.names[:1])))
    )

    def even(n):
        return n * (L - 1) / (T - 1)

    lies = dict(padded=lambda n: min(n, L - 1), whole=lambda n: n % L, nw_ucla=even, own=even)[feed]
    with Tab(browser, tmp_path / 'p.html') as t:
        for n in (0, min(T, L) // 2, min(T, L) - 1):
            for layer, offsets in ((0, [0]), (2, [-2, -1, 0, 1, 2]), (7, [-2, 0, 2])):
                drawn = t.do(
                    f'(x.set({{time: {lies(n) / (L - 1)}, panes: [{{layer: {layer}}}]}}), x.read(0))'
                )
                assert drawn['frame'] == round(lies(n))
                far = np.abs(
                    np.array(drawn['window']) - [lies(min(max(n + i, 0), T - 1)) for i in offsets]
                ).max()
                # there the frames lie between the clip's
                assert far <= (feed in ('nw_ucla', 'own')), (
                    n,
                    layer,
                    drawn['window'],
                )
        assert not t.complaints


def test_every_control_changes_the_drawing(browser, page, shots):
    with Tab(browser, page) as t:
        t.do('x.set({time: .5})')

        def changes(what, act):
            before = t.picture()
            act()
            assert t.picture() != before, f'{what} changes nothing'

        slide = lambda name, value: t.control(name).evaluate(
            f'(e) => {{ e.value = {value}; e.dispatchEvent(new Event("input")); }}'
        )
        changes('time', lambda: slide('time', 900))
        changes('threshold', lambda: slide('threshold', 95))
        changes('joint', lambda: t.control('joint').select_option('5'))
        changes('trails', lambda: t.control('trails').uncheck())
        changes('stretch', lambda: t.control('stretch').check())
        for name, value in (
            ('layer', '4'),
            ('subset', '1'),
            ('stage', '2'),
            ('head', '3'),
            ('part', '2'),
            ('clip', '1'),
        ):
            changes(name, lambda: t.control(name).select_option(value))
            assert str(t.do(f"x.state.panes[0]['{name}']")) == value
        changes('a part as a tile', lambda: t.tab.locator('button.mx-tile').first.click())
        t.tab.screenshot(path=shots / 'page_light.png', full_page=True)
        changes('another run', lambda: t.control('run').select_option('1'))
        changes('a window', lambda: t.control('layer').select_option('2'))
        changes('compare', lambda: t.control('compare').check())
        changes('the right run', lambda: t.control('run', 1).select_option('0'))
        t.control('run', 0).select_option('0')
        t.control('layer', 0).select_option('3')
        assert t.do('x.state.panes.map(p => p.layer)') == [3, 3]  # linked
        t.control('linked').uncheck()
        changes('a stage of one view alone', lambda: t.control('stage', 1).select_option('1'))
        assert t.do('x.state.panes.map(p => p.stage)')[0] != 1
        t.tab.screenshot(path=shots / 'page_compare.png', full_page=True)
        t.control('speed').select_option('2')
        t.control('play').click()
        t.tab.wait_for_timeout(300)
        changes('playing', lambda: t.tab.wait_for_timeout(300))
        t.control('play').click()
        assert not t.do('x.state.playing') and t.do('x.state.speed') == 2
        assert not t.complaints and t.asked == [page.as_uri()]


def test_keys_and_pointer(browser, page):
    with Tab(browser, page) as t:
        body, heat = (t.tab.locator(f'[data-canvas={n}]').first for n in ('skeleton', 'matrix'))
        body.focus()
        for key in ('ArrowLeft', 'ArrowUp', '+', '-'):
            before = t.picture()
            t.tab.keyboard.press(key)
            assert t.picture() != before, key
        t.tab.keyboard.press('Space')
        assert t.do('x.state.playing')
        t.tab.keyboard.press('Space')
        assert not t.do('x.state.playing')
        heat.focus()
        t.tab.keyboard.press('ArrowDown')
        t.tab.keyboard.press('ArrowRight')
        t.tab.keyboard.press('ArrowRight')
        t.settled()
        names = t.do('x.data.skeleton.joints')
        value = t.do('x.read(0).matrix[1 * 20 + 2]')
        said = t.tab.locator('.mx-said p').first.inner_text()
        assert (
            said.startswith(f'Source joint {names[1]}, target joint {names[2]}: ')
            and abs(float(said.split(': ')[1].rstrip('.')) - value) < 0.006
        )
        assert said in heat.get_attribute('aria-label')
        heat.evaluate('e => e.blur()')
        box, cell = heat.bounding_box(), t.do('x.panes[0].cell')
        t.tab.mouse.move(
            box['x'] + cell['left'] + 4.5 * cell['cell'],
            box['y'] + cell['top'] + 7.5 * cell['cell'],
        )
        t.settled()
        assert t.do('[x.joint, x.column]') == [7, 4]
        at = t.do('x.panes[0].spots[11]')
        box = body.bounding_box()
        t.tab.mouse.move(box['x'] + at[0], box['y'] + at[1])
        t.settled()
        near = t.do('x.joint')
        assert near >= 0 and np.hypot(*np.subtract(t.do(f'x.panes[0].spots[{near}]'), at)) < 1
        first, second = t.tab.locator('.mx-said p').all_inner_texts()
        assert first.startswith(f'{names[near]} as source joint (row), to: ')
        assert second.startswith(f'{names[near]} as target joint (column), from: ')
        matrix = np.array(t.do('x.read(0).matrix')).reshape(20, 20)
        for text, values in ((first, matrix[near]), (second, matrix[:, near])):
            strongest = names[np.abs(values).argmax()]
            assert f': {strongest} ' in text
        yaw = t.do('x.state.yaw')
        t.tab.mouse.down()
        t.tab.mouse.move(box['x'] + at[0] + 50, box['y'] + at[1])
        t.tab.mouse.up()
        assert abs(t.do('x.state.yaw') - yaw - 0.5) < 0.02
        line = t.tab.locator('[data-canvas=time]').first
        line.scroll_into_view_if_needed()
        box, plot = line.bounding_box(), t.do('x.panes[0].plot')
        t.tab.mouse.click(box['x'] + plot['left'] + plot['W'] / 4, box['y'] + 40)
        assert abs(t.do('x.state.time') - 0.25) < 0.01
        unnamed = t.do("""[...document.querySelectorAll(
                '.mx canvas[role=img], .mx input, .mx select, .mx button')]
            .filter(e => !(e.getAttribute('aria-label') ||
                e.closest('label')?.textContent.trim() || e.textContent.trim())).length""")
        assert unnamed == 0 and not t.complaints


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_it_can_be_read_in_light_and_dark(browser, page, shots, scheme):
    "Contrast of at least 4.5, as the guidelines for accessible pages demand of text."
    with Tab(browser, page, scheme, 800) as t:
        t.tab.screenshot(path=shots / f'page_{scheme}.png', full_page=True)
        shown = t.do(
            "Object.fromEntries(['ink', 'soft', 'wrong', 'back', 'tile'].map(k => "
            "[k, getComputedStyle(x.root).getPropertyValue('--' + k).trim()]))"
        )

        def light(colour):
            colour = colour[1:] if len(colour) == 7 else ''.join(2 * c for c in colour[1:])
            v = np.array([int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)])
            return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4) @ [
                0.2126,
                0.7152,
                0.0722,
            ]

        assert (light(shown['back']) > 0.5) == (scheme == 'light')
        for ink in ('ink', 'soft', 'wrong'):
            for back in ('back', 'tile'):
                a, b = sorted((light(shown[ink]), light(shown[back])))
                assert (b + 0.05) / (a + 0.05) >= 4.5, (ink, back)
        assert t.do('document.documentElement.scrollWidth') <= 800  # nothing sticks out


def test_two_bodies_size_and_speed(browser, crowd, shots):
    """Five clips of two bodies in ten layers.

    At most 6 MB, open within 2 s, and 30 frames per second while scrubbing.
    """
    path, clips = crowd
    assert path.stat().st_size <= 6e6
    with Tab(browser, path) as t:
        opened = t.do('x.opened')
        t.do('x.set({time: 0})')
        alone = t.picture()
        t.control('body').select_option('1')  # not there yet
        assert t.picture() != alone and t.do('x.read(0).edges') is not None
        t.do('x.set({time: .9})')
        t.picture()
        t.tab.screenshot(path=shots / 'two_bodies.png', full_page=True)
        drawn = t.do('x.read(0)')
        assert (
            np.abs(np.array(drawn['pose']).reshape(2, 25, 3) - clips['a'][drawn['frame']]).max()
            < 2e-4
        )
        t.do('x.set({compare: true})')
        rate = max(
            t.do("""new Promise(done => {
            let n = 0; const start = performance.now();
            const step = () => {
                x.set({time: (n * 7 % 60) / 60});
                n < 60 ? (n++, requestAnimationFrame(step)) : done(60000 / (performance.now() - start)); };
            requestAnimationFrame(step); })""")
            for _ in range(3)
        )
        print(
            f'{path.stat().st_size / 1e6:.1f} MB, opened after {opened:.0f} ms, {rate:.0f} pictures a second'
        )
        assert opened < 2000 and rate >= 30 and not t.complaints


LINKED = dict(
    time=0.4,
    joint=6,
    yaw=0.9,
    pitch=0.3,
    zoom=1.2,
    threshold=40,
    stretch=True,
    panes=[dict(run=0, clip=1, layer=3, subset=1, stage=2, head=-1, part=1)],
)


def test_a_link_opens_the_same_view(browser, page):
    """The address follows what is chosen, by names, and adds nothing to the history.

    Opened by it in another browser context without network, the page looks the same to the pixel."""
    with Tab(browser, page, width=1366, height=768) as t:
        before = t.do('history.length')
        for k in range(20):
            t.do(f'x.set({{time: {k / 20}}})')
        t.do(f'x.set({json.dumps(LINKED)})')
        t.tab.wait_for_function("location.hash.includes('left')")
        assert t.do('history.length') == before
        link, screen, state = t.do('location.hash'), t.screen(), t.do('x.read(0)')
        words = dict(re.findall(r'(\w+)=([^&]*)', link))
        named = t.do('[x.data.clips[1].name, x.data.skeleton.joints[6], x.panes[0].frame + 1]')
        assert [words['clip'], words['joint'].replace('+', ' '), int(words['frame'])] == named
        assert (words['run'], words['layer'], words['part']) == (RUNS[0], 'block+4', 'learned')
    with Tab(browser, page, width=1366, height=768, link=link) as t:
        assert t.do('x.read(0)') == state
        far = np.abs(t.screen() - screen).max(2)
        assert (far > 8).mean() < 1e-3, (far > 8).mean()
        assert (
            np.abs(screen - screen[0, 0]).max(2) > 30
        ).mean() > 0.05  # there is something to see
        for k in ('clip', 'joint', 'part', 'layer'):  # each of them counts
            other = re.sub(rf'\b{k}=[^&]*', '', link)
            t.do(f'location.hash = {json.dumps(other)}')
            t.tab.wait_for_timeout(100)
            assert (np.abs(t.screen() - screen).max(2) > 8).mean() > 1e-3, k
        assert not t.complaints
    with Tab(browser, page, link='#run=nobody&clip=none&joint=tail') as t:
        notice = t.tab.locator('.mx-notice').inner_text()
        assert all(name in notice for name in ('run nobody', 'clip none', 'joint tail'))
        assert not t.complaints
    compared = dict(compare=True, panes=[dict(run=0), dict(run=1, layer=2)], linked=False)
    with Tab(browser, page) as t:
        t.do(f'x.set({json.dumps(compared)})')
        t.tab.wait_for_function("location.hash.includes('run2')")
        link, state = t.do('location.hash'), t.do('[x.read(0), x.read(1)]')
    with Tab(browser, page, link=link) as t:
        assert t.do('[x.read(0), x.read(1)]') == state and state[0] != state[1]


def test_a_saved_svg_has_the_numbers_of_the_model(browser, page, trained, embedded, tmp_path):
    """Each entry of the heat map, each connection, each curve carries its number; they are the network's own.

    A number may differ by half a step of the parts of the matrix, as what is drawn does."""
    from msagcn.data.clips import load_clips
    from msagcn.experiments.weights import load_weights
    from msagcn.feeds.feeds import batch, fed_store
    from msagcn.training.evaluate import predict

    clips = load_clips(embedded / 'embedded')
    model, _ = load_weights(trained / f'runs/{RUNS[0]}/weights.safetensors')
    with Tab(browser, page) as t:
        t.do(
            'x.set({time: 1, joint: 4, panes: [{run: 0, clip: 1, layer: 5, subset: 2, part: 99}]})'
        )
        drawn = t.do('x.read(0)')
        tree = ElementTree.parse(t.saved('svg', tmp_path)).getroot()
        k, names = clips.names.index(t.do('x.data.clips[1].name')), t.do('x.data.skeleton.joints')
        classes, words = t.do('x.data.classes'), t.tab.locator('.mx-verdict').inner_text()
        assert not t.complaints
    told = {
        kind: [e for e in tree.iter() if e.get('data-kind') == kind]
        for kind in ('entry', 'connection', 'ring', 'probability', 'joint', 'frame-gate')
    }
    s, inside = fed_store(clips), {}
    graph = model.blocks[5].graph
    graph.graphs = lambda *a, f=graph.graphs, **kw: inside.update(F=f(*a, **kw)) or inside['F']
    gate = model.maps(batch(s, torch.tensor([k]), 8))[6]['frame_gate'][0].numpy()
    F = inside['F'][0][2, 0].view(-1, 20, 20).mean(0).numpy()
    step = sum(np.ptp(v) for n, v in drawn['parts'].items() if n != 'final') / 255
    off = 0.51 * step + 1e-5
    pairs = {
        (e.get('data-source'), e.get('data-target')): float(e.get('data-value'))
        for e in told['entry']
    }
    assert len(pairs) == 400 == len(told['entry'])
    table = np.array([[pairs[u, v] for v in names] for u in names])
    assert np.abs(table - F).max() <= off and np.ptp(F) > 20 * step
    edges = {
        (e.get('data-source'), e.get('data-target')): float(e.get('data-value'))
        for e in told['connection']
    }
    met = {
        (u, v)
        for (u, v), a in pairs.items()
        if u != v and names[4] in (u, v) and abs(a) >= drawn['least']
    }
    assert set(edges) == met and edges and all(edges[e] == pairs[e] for e in edges)
    texts = [e.text for e in tree.iter() if e.tag.endswith('text')]
    start = f'{len(edges)} connection'
    assert [x for x in texts if x.startswith(start) and 'of at least' in x], (
        start
    )  # counts what is drawn
    assert drawn['count']['edges'] == len(edges) == drawn['count']['from'] + drawn['count']['to']
    p = torch.as_tensor(predict(model, s, [k], 8, 'joint'))[0].softmax(0).numpy()
    for e in told['probability']:
        last = float(e.get('data-values').split()[-1])
        assert abs(last - p[classes.index(e.get('data-class'))]) < 1e-4
    assert len(told['probability']) == 5 and len(told['joint']) == 20
    values = [float(e.get('data-value')) for e in told['frame-gate']]
    assert np.abs(np.array(values) - gate).max() < 1e-4
    assert words in texts and tree.find('{*}desc').text.count('#run=') == 1


def test_png_and_gif_show_the_view(browser, page, tmp_path):
    "Twice as many pixels as a screen; every frame of the clip, in colours that are nearly the canvas's."
    from PIL import Image

    with Tab(browser, page) as t:
        t.do('x.set({time: 0, trails: false})')
        png = Image.open(t.saved('png', tmp_path)).convert('RGB')
        moving = Image.open(t.saved('gif', tmp_path))
        frames = t.do('x.panes[0].clip.frames')
        assert t.do('x.state.time') == 0 and not t.complaints
    assert png.size == (2 * moving.size[0], 2 * moving.size[1]) and moving.n_frames == frames
    first = np.asarray(moving.convert('RGB')).astype(int)
    near = np.asarray(png.resize(moving.size, Image.BOX)).astype(int)
    assert np.abs(first - near).max(2).mean() < 6 and near.std() > 20
    moving.seek(frames - 1)
    assert (
        np.abs(np.asarray(moving.convert('RGB')).astype(int) - first).max(2) > 30
    ).mean() > 0.002


def test_the_gif_encoder_by_another_decoder(browser, page, tmp_path):
    "Pillow reads back each pixel: few colours and long codes, noise that fills the table, nothing new."
    from PIL import Image

    source = (ROOT / 'msagcn/report/explore_gif.js').read_text()
    g = np.random.default_rng(0)
    noise = g.integers(0, 6, (90, 130, 3)) * 40 + 4
    stripes = np.zeros_like(noise) + 4
    stripes[:, ::7] = 44
    patch = stripes.copy()
    patch[10:20, 30:90] = 204
    pictures = [noise, stripes, stripes, patch]
    with Tab(browser, page) as t:
        made = t.tab.evaluate(
            """async ([source, pictures, width, height]) => {
                const url = 'data:text/javascript,' + encodeURIComponent(source);
                const {encodeGif} = await import(url);
                const frames = pictures.map(p => new ImageData(Uint8ClampedArray.from(p), width, height));
                return [...new Uint8Array(await encodeGif(frames, 7).arrayBuffer())]; }""",
            [
                source,
                [np.dstack([p, np.full((90, 130), 255)]).ravel().tolist() for p in pictures],
                130,
                90,
            ],
        )
    moving = Image.open(io.BytesIO(bytes(made)))
    assert moving.size == (130, 90) and moving.info['duration'] == 70 and moving.info['loop'] == 0
    seen = []
    for k in range(moving.n_frames):
        moving.seek(k)
        seen.append(np.asarray(moving.convert('RGB')))
    for picture in (noise, stripes, patch):
        assert any((x == picture).all() for x in seen)
    assert (seen[0] == noise).all() and (seen[-1] == patch).all()


@pytest.mark.parametrize('size', [(1920, 1080), (1366, 768), (1366, 650)])
def test_everything_is_in_sight_at_once(browser, page, size):
    "Skeleton, heat map and curves side by side within the window, and the legend above them."
    with Tab(browser, page, width=size[0], height=size[1]) as t:
        t.settled()
        boxes = [
            t.tab.locator(f'[data-canvas={n}]').first.bounding_box()
            for n in ('skeleton', 'matrix', 'time')
        ]
        for a, b in zip(boxes, boxes[1:]):
            assert a['x'] + a['width'] <= b['x']
        legend = t.tab.locator('.mx-legend').bounding_box()
        for box in boxes:
            assert legend['y'] + legend['height'] <= box['y']
            assert box['y'] + box['height'] <= size[1] and box['x'] + box['width'] <= size[0]
            assert box['height'] >= 200 and box['width'] >= 300


def looked_into(tmp_path, embedded, models, name='page'):
    "A page of MSA-GCNs that are not trained, and their clips."
    from msagcn.data.clips import load_clips
    from msagcn.experiments.train_parameters import TrainParameters
    from msagcn.experiments.weights import save_weights
    from msagcn.report.explorer_data import explorer_tree, pack
    from msagcn.report.explorer_page import page

    clips, weights = load_clips(embedded / 'embedded'), {}
    for i, model in enumerate(models, 1):
        run = TrainParameters(frames=8, width=40, device='cpu', seed=i)
        weights[run.run_id] = tmp_path / f'{run.run_id}.safetensors'
        save_weights(weights[run.run_id], run, clips, model)
    text = pack(explorer_tree(weights, clips, clips.names[:2]))
    (tmp_path / f'{name}.html').write_text(page(text))
    return tmp_path / f'{name}.html', clips, text


def untrained(clips, seed):
    from msagcn.data.skeleton import UCLA20
    from msagcn.feeds.feeds import batch, fed_store
    from msagcn.models.msagcn import MSAGCN, calibrate

    torch.manual_seed(seed)
    model = MSAGCN(10, UCLA20, 8, width=40)
    calibrate(model, [batch(fed_store(clips), torch.arange(16), 8)])
    return model


def test_seeds_of_one_recipe(browser, embedded, tmp_path, shots):
    """Mean, standard deviation, agreement of sign and shared connections equal numpy's from the weights.

    Half of each learned graph is common to three networks, half its own."""
    from msagcn.data.clips import load_clips

    clips = load_clips(embedded / 'embedded')
    models, g = [untrained(clips, seed) for seed in (1, 2, 3)], np.random.default_rng(0)
    common = g.normal(0, 0.3, (3, 8, 20, 20))
    for m in models:
        change = torch.tensor(common + g.normal(0, 0.3, common.shape)).float()
        with torch.no_grad():
            m.blocks[4].graph.learned.add_(change)
    path, _, _ = looked_into(tmp_path, embedded, models)
    with Tab(browser, path, width=1366, height=768) as t:
        assert (
            t.do('x.data.groups.map(g => g.runs)') == [[0, 1, 2]]
            and t.do('x.panes[0].members.length') == 3
        )
        view = dict(run=3, layer=4, subset=1, part=1, stage=-1, head=-1)
        t.do(f'x.set({json.dumps(dict(panes=[view]))})')
        t.settled()
        t.tab.screenshot(path=shots / 'seeds.png')
        drawn = t.do('x.read(0)')
        own = [t.do(f'(x.set({{panes: [{{run: {i}}}]}}), x.read(0).matrix)') for i in range(3)]
        t.do('x.set({panes: [{run: 3}]})')
        pictures = {
            t.do(f'(x.set({{panes: [{{seeds: {i}}}]}}), 1)') and t.picture() for i in range(4)
        }
        said = t.do('x.read(0).said')[0]
        assert not t.complaints and len(pictures) == 4
    start = 2 * models[0].blocks[4].graph.A[1, 0].numpy()  # A + learned, without change
    m = np.stack(
        [
            2 * (n.blocks[4].graph.A + n.blocks[4].graph.learned).detach()[1].mean(0).numpy()
            - 2 * start
            for n in models
        ]
    )
    step = np.ptp(common) * 3 / 255
    for a, b in zip(own, m):
        assert np.abs(np.array(a).reshape(20, 20) - b).max() < step
    seeds, q = drawn['seeds'], np.stack([np.array(a).reshape(20, 20) for a in own])
    table = lambda k: np.array(seeds[k]).reshape(20, 20)
    np.testing.assert_allclose(np.array(drawn['matrix']).reshape(20, 20), q.mean(0), atol=1e-6)
    np.testing.assert_allclose(table('spread'), q.std(0, ddof=1), atol=1e-6)
    signs = np.maximum((q > 0).sum(0), (q < 0).sum(0)) / 3
    np.testing.assert_allclose(table('signs'), signs, atol=1e-6)
    least, between = drawn['least'], ~np.eye(20, dtype=bool)
    shared = (q >= least).all(0) | (q <= -least).all(0)
    assert (table('shared') == shared).all() and 0 < shared[between].sum() < 380
    assert seeds['sharedCount'] == shared[between].sum()
    chance = 380 * (
        (q >= least)[:, between].mean(1).prod() + (q <= -least)[:, between].mean(1).prod()
    )
    r = np.corrcoef(q[:, between])[np.triu_indices(3, 1)].mean()
    assert (
        abs(seeds['chance'] - chance) < 1e-3
        and abs(seeds['correlation'] - r) < 1e-4
        and 0.2 < r < 0.8
    )
    assert said.startswith(f'All 3 seeds share {shared[between].sum()} connection')
    alone, _, _ = looked_into(tmp_path, embedded, models[:1], 'alone')
    with Tab(browser, alone) as t:  # nothing to compare: no such choices
        assert t.do('x.data.groups') == [] and not t.control('seeds').is_visible()


def test_closed_and_dead_gates_are_named(browser, embedded, tmp_path):
    "In words beside the picture and in the texts for those who hear it; colours span all that it can be."
    from msagcn.data.clips import load_clips

    clips = load_clips(embedded / 'embedded')
    model = untrained(clips, 1)
    with torch.no_grad():
        for block, bias in ((0, -30.0), (1, 30.0), (2, 0.3)):
            gate = model.blocks[block].temporal.frame_gate
            gate.weight.zero_()
            gate.bias.fill_(bias)
        model.blocks[0].temporal.attend.weight.zero_()
        model.blocks[0].temporal.attend.bias.fill_(-1.0)
        model.blocks[0].graph.own.weight.zero_()  # queries and keys of nothing
        model.blocks[0].graph.own.bias.fill_(-1.0)
        model.blocks[0].graph.cross.weight.zero_()
        model.blocks[0].graph.cross.bias.fill_(-1.0)
    path, _, _ = looked_into(tmp_path, embedded, [model])
    with Tab(browser, path) as t:
        words = []
        for layer in range(4):
            t.do(f'x.set({{panes: [{{layer: {layer}, part: 2}}]}})')
            words.append(t.do('x.read(0)'))
            t.settled()
            label = t.tab.locator('[data-canvas=time]').first.get_attribute('aria-label')
            assert (words[layer]['states']['gate'] in label) and words[layer]['range'][
                'high'
            ] == 0.5
        gates = [w['states']['gate'] for w in words]
        assert gates[:3] == [
            'closed in every frame',
            'open in every frame',
            'dead: the same in every frame',
        ]
        assert words[0]['states']['frames'] == 'dead: each frame counts half'
        assert words[0]['states']['stage attention'] == 'dead: the same in every entry'
        assert words[0]['said'][0] == 'stage attention is dead: the same in every entry.'
        assert not t.complaints


def test_two_explorers_in_one_document(browser, page, tmp_path):
    "Also of the same data; each is drawn, follows its own controls, and leaves the address alone."
    from msagcn.report.explorer_page import fragment

    text = page.read_text().split('data-msagcn>')[1].split('</script>')[0]
    both = tmp_path / 'both.html'
    both.write_text(
        f'<!DOCTYPE html><meta charset="utf-8">{fragment(text)}<p>and</p>{fragment(text)}'
    )
    with Tab(browser, both) as t:
        t.tab.wait_for_function(
            "[...document.querySelectorAll('[data-explorer]')].every(e => e.explorer?.opened)"
        )
        t.control('layer', 1).select_option('4')
        each = "[...document.querySelectorAll('[data-explorer]')].map(e => e.explorer.state.panes[0].layer)"
        assert t.do('document.querySelectorAll(".mx").length') == 2
        assert sorted(t.do(each)) == [0, 4]
        t.tab.wait_for_timeout(400)
        assert t.do('location.hash') == '' and not t.complaints


def test_a_report_keeps_the_explorer_and_no_other_script(browser, page, tmp_path):
    nbformat = pytest.importorskip('nbformat')
    from msagcn.report.explorer_page import fragment
    from msagcn.report.html import to_html

    packed = json.dumps(json.loads(page.read_text().split('data-msagcn>')[1].split('</script>')[0]))
    cell = nbformat.v4.new_code_cell(
        '1',
        outputs=[
            nbformat.v4.new_output('display_data', {'text/html': t})
            for t in (fragment(packed), '<script>alert(1)</script>')
        ],
    )
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / 'n.ipynb')
    out = to_html(tmp_path / 'n.ipynb', tmp_path / 'n.html')
    assert 'alert' not in out.read_text()
    with Tab(browser, out, 'dark') as t:
        assert t.do('x.dark') is True and not t.complaints  # as the report around it


def test_the_runner_has_the_parameters_of_the_library():
    import ast

    from msagcn.experiments.parameters import ExploreParameters
    from msagcn.experiments.train_parameters import TrainParameters

    cells = json.loads((ROOT / 'nbs/runs/explore.ipynb').read_text())['cells']
    source = ''.join(
        next(c['source'] for c in cells if 'parameters' in c['metadata'].get('tags', []))
    )
    runner = {n.targets[0].id: ast.literal_eval(n.value) for n in ast.parse(source).body}
    assert runner.pop('runs') == ['msagcn-embedded-quick-joint-s1']  # of the runner train
    library = ExploreParameters().model_dump()
    assert library.pop('runs') == [TrainParameters().run_id]  # of the command's train
    assert runner == library


def test_the_command(trained, embedded, tmp_path):
    out = places(trained) | dict(data_dir=str(embedded))
    words = pairs(count=1, layers='[1, 10]', page=tmp_path / 'p.html', **out)
    told = command('explore', RUNS[0], *words, cwd=ROOT).stdout
    shown = json.loads(
        (tmp_path / 'p.html').read_text().split('data-msagcn>')[1].split('</script>')[0]
    )
    assert (
        told.startswith(str(tmp_path / 'p.html'))
        and [l['name'] for l in shown['runs'][0]['layers']] == ['block 1', 'block 10']
        and len(shown['clips']) == 1
    )
    refused = command('explore', 'nothing', *pairs(**out), cwd=ROOT, check=False)
    assert (
        refused.returncode == 2
        and 'nothing' in refused.stderr
        and 'Traceback' not in refused.stderr
    )


@pytest.mark.parametrize('axis', ['mediapipe', 'z up', 'y up', 'picture'])
def test_bodies_stand_on_their_feet(axis):
    "Whichever axis is up in the data, in the explorer it is y; heads are above feet, and left stays left."
    from msagcn.data.clips import Clips
    from msagcn.data.skeleton import MEDIAPIPE33, UCLA20
    from msagcn.data.synthetic import generate_clip
    from msagcn.data.upright import find_up
    from msagcn.report.explorer_data import clip_tree

    x = generate_clip('walk around', subject=1, episode=0, view=1)[:, None]
    skeleton, feet, channels = UCLA20, [15, 19], 'xyz'
    if axis == 'z up':
        x = np.stack([x[..., 0], -x[..., 2], x[..., 1]], -1)
    if axis == 'picture':
        x, channels = np.stack([x[..., 0], -x[..., 1], np.ones(x.shape[:-1])], -1), 'xys'
    if axis == 'mediapipe':
        from conftest import SHARED, need

        from msagcn.data.own_clip import read_coordinates

        skeleton, feet = MEDIAPIPE33, [31, 32]
        x = read_coordinates(
            need(
                SHARED / 'data/real/mediapipe_real/pose2sim_single_cam01.json',
                'MediaPipe landmarks',
            ),
            skeleton,
        )
    clips = Clips(
        benchmark='one',
        skeleton=skeleton.name,
        classes=['a'],
        names=['a'],
        labels=np.zeros(1, int),
        subjects=np.zeros(1, int),
        parts=['test'],
        hashes=[''],
        lengths=np.array([len(x)]),
        frames=x,
        channels=channels,
    )
    tree = clip_tree(clips, 'a', find_up(clips.frames, skeleton, channels))
    pose = tree['pose'].reshape(len(x), -1, 3)[x.any((1, 2, 3))]
    head = next(v for v, j in enumerate(skeleton.joints) if j in ('head', 'nose'))
    assert (pose[:, head, 1] > pose[:, feet, 1].max(1)).mean() > 0.95
    if channels == 'xyz':  # rotated, not mirrored
        there = x[x.any((1, 2, 3))][:, 0]
        volume = lambda p: np.linalg.det(
            np.stack(
                [
                    p[:, head] - p[:, feet[0]],
                    p[:, feet[1]] - p[:, feet[0]],
                    p[:, 5] - p[:, feet[0]],
                ],
                1,
            )
        )
        np.testing.assert_allclose(volume(pose), volume(there), atol=1e-9)


def test_a_checkpoint_of_another_program_is_explored(embedded, tmp_path):
    from msagcn.data.skeleton import UCLA20
    from msagcn.foreign.msg3d import save_names
    from msagcn.models.msg3d import MSG3D

    save_names(MSG3D(10, UCLA20, 8, width=6).eval(), tmp_path / 'theirs.pth', 'official')
    given = pairs(
        count=1,
        layers='[1]',
        page=tmp_path / 'p.html',
        data_dir=embedded,
        frames=8,
        reports_dir=tmp_path,
    )
    words = [*given, *pairs(benchmark='embedded')]
    told = command('explore', tmp_path / 'theirs.pth', *words, cwd=ROOT).stdout
    shown = json.loads(
        (tmp_path / 'p.html').read_text().split('data-msagcn>')[1].split('</script>')[0]
    )
    assert (
        told.startswith(str(tmp_path / 'p.html'))
        and [r['id'] for r in shown['runs']] == ['theirs']
        and len(shown['runs'][0]['clips'][0]['seen']) == 8
    )
    save_names(MSG3D(9, UCLA20, 8, width=6).eval(), tmp_path / 'nine.pth', 'official')
    refused = command('explore', tmp_path / 'nine.pth', *words, cwd=ROOT, check=False)
    assert refused.returncode == 2 and '9 classes, embedded has 10' in refused.stderr


def test_the_widget_in_jupyterlab(browser, trained, embedded, tmp_path, shots):
    """The runner, run in JupyterLab by its menu.

    The live explorer draws, follows its controls, and sends the selection to Python; so does a second one in
    the same notebook, on its own.
    """
    pytest.importorskip('anywidget')
    import nbformat

    nb = nbformat.read(ROOT / 'nbs/runs/explore.ipynb', 4)
    cell = next(c for c in nb.cells if 'parameters' in c.metadata.get('tags', []))
    cell.source += '\n' + '\n'.join(
        f'{k} = {v!r}'
        for k, v in (
            dict(runs=list(RUNS), count=2, page=str(tmp_path / 'page.html'))
            | places(trained)
            | dict(data_dir=str(embedded))
        ).items()
    )
    nb.cells.append(nbformat.v4.new_code_cell('second = widget(packed)\nsecond'))
    layers = "*(v.state['panes'][0]['layer'] for v in (view, second))"
    nb.cells.append(nbformat.v4.new_code_cell(f"print('chosen', {layers})"))
    nbformat.write(nb, tmp_path / 'explore.ipynb')
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    home = {
        k: str(tmp_path / k.lower())
        for k in (
            'HOME',
            'JUPYTER_CONFIG_DIR',
            'JUPYTER_DATA_DIR',
            'JUPYTER_RUNTIME_DIR',
            'JUPYTERLAB_SETTINGS_DIR',
            'JUPYTERLAB_WORKSPACES_DIR',
        )
    }
    server = subprocess.Popen(
        [
            tool('jupyter'),
            'lab',
            '--no-browser',
            '--ip',
            '127.0.0.1',
            '--port',
            str(port),
            '--allow-root',
            '--IdentityProvider.token=t0k',
            f'--ServerApp.root_dir={tmp_path}',
        ],
        env=os.environ | home | {'PYTHONPATH': str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    context = browser.new_context(viewport=dict(width=1300, height=1100))
    try:
        tab, errors = context.new_page(), []
        tab.on('pageerror', lambda e: errors.append(str(e)))
        for _ in range(120):
            try:
                tab.goto(f'http://127.0.0.1:{port}/lab/tree/explore.ipynb?token=t0k')
                break
            except Exception:
                time.sleep(0.5)
        tab.wait_for_selector('.jp-NotebookPanel', timeout=60000)
        tab.wait_for_function(
            "document.querySelector('#jp-main-statusbar')?.innerText.includes('| Idle')",
            timeout=60000,
            polling=200,
        )
        tab.wait_for_timeout(1000)  # else it asks which kernel
        tab.locator('.lm-MenuBar-itemLabel:text-is("Run")').click()
        tab.locator('.lm-Menu-itemLabel:text-is("Run All Cells")').click()
        tab.wait_for_function(
            "document.querySelector('.mx')?.parentElement.explorer?.opened",
            timeout=60000,
            polling=200,  # by default each frame is drawn for it
        )
        x = "document.querySelector('.mx').parentElement.explorer"

        def picture():
            tab.evaluate('new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))')
            return tab.evaluate(
                "[...document.querySelectorAll('.mx-panes canvas')].map(c => c.toDataURL()).join()"
            )

        tab.locator('.mx').first.scroll_into_view_if_needed()
        assert (
            json.loads(
                (tmp_path / 'page.html').read_text().split('data-msagcn>')[1].split('</script>')[0]
            )['runs'][0]['id']
            == RUNS[0]
        )
        for name, value in (
            ('layer', '4'),
            ('subset', '1'),
            ('part', '0'),
            ('run', '1'),
            ('run', '0'),
            ('layer', '6'),
        ):
            before = picture()
            tab.locator(f'.mx [data-control={name}]').first.select_option(value)
            assert picture() != before, name
        before = picture()
        tab.evaluate(f'{x}.set({{time: .5}})')
        assert picture() != before
        tab.screenshot(path=shots / 'lab.png')
        tab.wait_for_timeout(1000)  # for the state to travel
        tab.locator('.jp-Notebook').first.evaluate('e => e.scrollTop = e.scrollHeight')
        other = tab.locator('.mx').last
        other.locator('[data-control=layer]').first.select_option('3')
        assert other.locator('canvas').first.evaluate('e => e.width > 100')
        tab.wait_for_timeout(1000)
        last = tab.locator('.jp-CodeCell').last
        last.scroll_into_view_if_needed()
        last.locator('.cm-content').click()
        tab.keyboard.press('Control+Enter')
        tab.wait_for_function(
            "[...document.querySelectorAll('.jp-CodeCell')].at(-1).innerText.includes('chosen 6 3')",
            timeout=20000,
            polling=200,
        )
        assert not errors
    finally:
        tab.screenshot(path=shots / 'lab_at_the_end.png')
        context.close()
        server.terminate()
        server.wait(20)


def test_a_newer_page_is_the_same_text(trained, embedded):
    "The same weights and clips give the same bytes."
    from msagcn.experiments.parameters import ExploreParameters
    from msagcn.report.explorer import explore

    p = ExploreParameters(
        runs=[RUNS[0]], count=1, layers=[2], **places(trained) | dict(data_dir=str(embedded))
    )
    assert explore(p) == explore(p)
