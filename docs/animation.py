"""The animation in README: `python docs/animation.py EXPLORER.html docs/explorer.webp`.

Drives headless Chromium through the frames of an explorer page, such as that of `make demo`."""

import io
import shutil
import sys
from urllib.parse import urlencode

from PIL import Image
from playwright.sync_api import sync_playwright

SIZE = dict(width=1366, height=768)
SHOWN = dict(x=0, y=0, width=1366, height=604)  # without the small pictures below
SHARE = 0.75  # of the size on screen
VIEW = dict(clip='a02_s05_e00_v03', layer='block 1', subset='itself', part='learned')
MS = 120  # each frame


def frames(file, view):  # view: names of what is shown, as the page's address has them
    "A picture of each frame of a clip."
    with sync_playwright() as p:
        browser = p.chromium.launch(
            executable_path=shutil.which('chromium'), args=['--no-sandbox', '--disable-gpu']
        )
        tab = browser.new_page(viewport=SIZE)
        tab.goto(f'file://{file}#{urlencode(view)}')
        slider = tab.get_by_label('time in the clip')
        last = float(slider.get_attribute('max'))
        number = 34
        for i in range(number):
            slider.evaluate(
                '(e, v) => { e.value = v; e.dispatchEvent(new Event("input")) }',
                last * i / (number - 1),
            )
            tab.wait_for_timeout(60)
            yield Image.open(io.BytesIO(tab.screenshot(clip=SHOWN))).convert('RGB')
        browser.close()


if __name__ == '__main__':
    page, out = sys.argv[1:3]
    size = int(SHOWN['width'] * SHARE), int(SHOWN['height'] * SHARE)
    first, *rest = (f.resize(size, Image.LANCZOS) for f in frames(page, VIEW))
    first.save(out, save_all=True, append_images=rest, duration=MS, loop=0, quality=70, method=6)
