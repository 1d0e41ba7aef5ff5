"""The notebooks in JupyterLab, driven by a headless browser as a user would.

Opened in `nbs/runs`, Run All Cells, a parameter changed, and again in the same kernel. Skips where
there is no Chromium or no Playwright.
"""

import json
import os
import shutil
import socket
import subprocess
import time

import pandas as pd
import pytest
from conftest import ROOT, TINY, tool

# without these settings cells out of sight are not in the page
SETTINGS = 'settings/@jupyterlab/notebook-extension/tracker.jupyterlab-settings'
PANEL = '.jp-NotebookPanel:not(.lm-mod-hidden)'
PROMPTS = (
    f"[...document.querySelectorAll('{PANEL} .jp-CodeCell .jp-InputPrompt')].map(e => e.innerText)"
)
STATUS = (
    "document.querySelector('#jp-main-statusbar')?.innerText"  # the open notebook and its kernel
)
ERRORS = (
    f"""[...document.querySelectorAll('{PANEL} [data-mime-type="application/vnd.jupyter.error"]')]"""
    '.map(e => e.innerText)'
)
SMALL = {
    'prepare': dict(subjects=2),
    'train': TINY | dict(epochs=1, batch_size=8, val_subjects=[1], refit=False),
    'report': {},
}


@pytest.fixture
def project(tmp_path):
    """A checkout's notebooks and settings, with small parameters.

    And git, which shows what it would add.
    """
    (tmp_path / 'project/nbs/runs').mkdir(parents=True)
    for name in ('settings.ini', '.gitignore'):
        shutil.copy(ROOT / name, tmp_path / 'project' / name)
    for name, small in SMALL.items():
        nb = json.loads((ROOT / f'nbs/runs/{name}.ipynb').read_text())
        cell = next(c for c in nb['cells'] if 'parameters' in c['metadata'].get('tags', []))
        cell['source'] = ''.join(cell['source']) + ''.join(
            f'\n{k} = {v!r}' for k, v in small.items()
        )
        (tmp_path / f'project/nbs/runs/{name}.ipynb').write_text(json.dumps(nb))
    subprocess.run(['git', 'init', '-q'], cwd=tmp_path / 'project', check=True)
    subprocess.run(['git', 'add', '.'], cwd=tmp_path / 'project', check=True)
    return tmp_path / 'project'


@pytest.fixture
def lab(browser, project, tmp_path, shots):
    "JupyterLab on the project, in a tab of the browser; without the user's settings."
    (tmp_path / SETTINGS).parent.mkdir(parents=True)
    (tmp_path / SETTINGS).write_text('{"windowingMode": "none"}')
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
            'JUPYTERLAB_WORKSPACES_DIR',
        )
    }
    env = (
        os.environ
        | home
        | dict(
            PYTHONPATH=str(ROOT),
            OMP_NUM_THREADS='1',
            JUPYTERLAB_SETTINGS_DIR=str(tmp_path / 'settings'),
        )
    )
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
            f'--ServerApp.root_dir={project}',
        ],
        env=env,
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    context = browser.new_context(viewport=dict(width=1300, height=1100))
    try:
        yield Lab(context.new_page(), f'http://127.0.0.1:{port}/lab/tree/nbs/runs')
    finally:
        context.pages[0].screenshot(path=shots / 'notebooks_at_the_end.png')
        context.close()
        server.terminate()
        server.wait(20)


class Lab:
    "One notebook after the other, opened from the file browser and run by the menu."

    def __init__(self, tab, url):
        self.tab, self.url = tab, url

    def start(self):
        "Load the application, which may still be starting, with its file browser at the runners."
        for _ in range(120):
            try:
                self.tab.goto(f'{self.url}?token=t0k&reset')
                break
            except Exception:
                time.sleep(0.5)

    def wait(self, condition, seconds=60):
        "Until it holds, asked five times a second; by default each frame is drawn for it."
        self.tab.wait_for_function(condition, timeout=1000 * seconds, polling=200)

    def open(self, name):
        "Double-click a notebook in the file browser."
        self.tab.locator(f'.jp-DirListing-item[title^="Name: {name}.ipynb"]').dblclick()
        self.tab.wait_for_selector(f'{PANEL} .jp-CodeCell', timeout=60000)
        self.wait(f'/{name}\\.ipynb/.test({STATUS})')
        self.wait(f'/\\| Idle/.test({STATUS})')
        self.tab.wait_for_timeout(1000)  # else it asks which kernel

    def run_all(self):
        """Run All Cells, until each has a new number and the kernel is idle.

        An error in a cell fails the test.
        """
        before = max(
            [int(p.strip('[]:')) for p in self.tab.evaluate(PROMPTS) if p.strip('[]: ').isdigit()],
            default=0,
        )
        self.tab.locator('.lm-MenuBar-itemLabel:text-is("Run")').click()
        self.tab.locator('.lm-Menu-itemLabel:text-is("Run All Cells")').click()
        done = f'{PROMPTS}.every(p => parseInt(p.slice(1)) > {before})'
        self.wait(f'{done} || {ERRORS}.length', seconds=600)
        assert not self.tab.evaluate(ERRORS), '\n'.join(self.tab.evaluate(ERRORS))
        self.wait(f'/\\| Idle/.test({STATUS})')

    def add_to_parameters(self, line):
        "Type a line at the end of the parameter cell."
        self.tab.locator(f'{PANEL} .jp-CodeCell .cm-content').first.click()
        self.tab.keyboard.press('Control+End')
        self.tab.keyboard.type(f'\n{line}')

    def text(self):
        return self.tab.evaluate(
            f"[...document.querySelectorAll('{PANEL} .jp-OutputArea-output')]"
            ".map(e => e.innerText).join('\\n')"
        )

    def pictures(self):
        return self.tab.locator(f'{PANEL} .jp-OutputArea-output :is(img, svg[role=img])').count()


def test_notebooks_run_twice_where_the_project_is(lab, project):
    clips = project / 'data/embedded/manifest.json'
    lab.start()
    lab.open('prepare')
    lab.run_all()
    assert (
        str(project) in lab.text()
        and lab.pictures()
        and len(json.loads(clips.read_text())['clips']) == 60
    )
    lab.add_to_parameters('subjects = 3')
    lab.run_all()
    assert len(json.loads(clips.read_text())['clips']) == 90
    lab.open('train')
    lab.run_all()
    lab.add_to_parameters("recipe = '1e3'")
    lab.run_all()
    assert 'msagcn-embedded-1e3-joint-s1' in lab.text() and lab.pictures() >= 3
    assert pd.read_csv(project / 'reports/results.csv', dtype=str).recipe.tolist() == [
        'quick',
        '1e3',
    ]
    lab.open('report')
    lab.run_all()
    assert 'recipe quick' in lab.text()
    lab.add_to_parameters("recipe = '1e3'")
    lab.run_all()
    assert 'recipe 1e3' in lab.text() and lab.pictures() > 5
    assert sorted(
        p.name for p in (project / 'nbs/runs').iterdir() if p.name != '.ipynb_checkpoints'
    ) == [f'{n}.ipynb' for n in sorted(SMALL)]
    new = subprocess.run(
        ['git', 'status', '--short', '-uall'], cwd=project, capture_output=True, text=True
    ).stdout
    assert '?? reports/results.csv' in new and not [
        l for l in new.splitlines() if l.split()[-1].startswith(('data/', 'runs/'))
    ]
