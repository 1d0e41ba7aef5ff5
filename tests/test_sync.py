"""The package equals what the notebooks export, and the notebooks are clean.

Runners are runners, and both configurations of nbdev agree.
"""

import ast
import configparser
import filecmp
import json
import re
import shutil
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT, sh, tool

# by name; notebooks with a number are modules
RUNNERS = sorted(
    p for folder in ('runs', 'bench') for p in (ROOT / 'nbs' / folder).glob('[a-z]*.ipynb')
)
MAKEFILE = (ROOT / 'Makefile').read_text('utf-8')


@pytest.fixture(scope='module')
def copy(tmp_path_factory):
    "A copy of the sources in which nbdev may write."
    folder = tmp_path_factory.mktemp('sync')
    for name in ('nbs', 'msagcn'):
        shutil.copytree(
            ROOT / name,
            folder / name,
            ignore=shutil.ignore_patterns('__pycache__', '.ipynb_checkpoints'),
        )
    for name in ('settings.ini', 'pyproject.toml', 'README.md'):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, folder)
    sh(tool('git'), 'init', '-q', cwd=folder)
    return folder


def files(folder):
    return {
        p.relative_to(folder).as_posix()
        for p in folder.rglob('*')
        if p.is_file() and '__pycache__' not in p.parts
    }


def test_the_package_is_what_the_notebooks_export(copy):
    sh(sys.executable, ROOT / 'docs/export.py', cwd=copy)
    assert files(copy / 'msagcn') == files(ROOT / 'msagcn')
    different = [
        f
        for f in files(ROOT / 'msagcn')
        if not filecmp.cmp(ROOT / 'msagcn' / f, copy / 'msagcn' / f, shallow=False)
    ]
    assert not different, f'`make export` changes {different}'


def test_notebooks_are_clean(copy):
    sh(tool('nbdev-clean'), cwd=copy)
    dirty = [
        str(p.relative_to(ROOT))
        for p in sorted((ROOT / 'nbs').rglob('*.ipynb'))
        if '.ipynb_checkpoints' not in p.parts
        and p.read_bytes() != (copy / p.relative_to(ROOT)).read_bytes()
    ]
    assert not dirty, f'nbdev-clean changes {dirty}'


def test_make_test_runs_the_notebooks_of_all_modules():
    "And no runner: those would write into this checkout's data and reports."
    assert re.search(r'^test:.*\n\tOMP_NUM_THREADS=1 python docs/execute.py  #', MAKEFILE, re.M)
    says = 'from execute import library; print(*library(), sep="\\n")'
    run = [*map(Path, sh(sys.executable, '-c', says, cwd=ROOT / 'docs').stdout.splitlines())]
    exporting = [
        p for p in (ROOT / 'nbs').rglob('*.ipynb') if '#| default_exp' in p.read_text('utf-8')
    ]
    assert set(exporting) <= set(run) and not set(RUNNERS) & set(run)
    assert ROOT / 'nbs/index.ipynb' in run


@pytest.mark.parametrize(
    'path', RUNNERS or [None], ids=lambda p: f'{p.parent.name}/{p.stem}' if p else 'none'
)
def test_runners(path):
    if path is None:
        pytest.skip('there are no runners in nbs/runs')
    cells = [c for c in json.loads(path.read_text())['cells'] if c['cell_type'] == 'code']
    tagged = [c for c in cells if 'parameters' in c['metadata'].get('tags', [])]
    assert len(tagged) == 1, 'papermill injects after the one cell tagged `parameters`'
    for node in ast.parse(''.join(tagged[0]['source'])).body:
        assert isinstance(node, (ast.Assign, ast.AnnAssign))
        ast.literal_eval(node.value)
    for c in cells:
        code = '\n'.join(
            l for l in ''.join(c['source']).splitlines() if not l.lstrip().startswith(('%', '!'))
        )
        assert not [
            n
            for n in ast.walk(ast.parse(code))
            if isinstance(n, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef))
        ], 'functions belong in the library'
        assert '#| export' not in code and '#|export' not in code


def test_settings_agree():
    ini = configparser.ConfigParser()
    ini.read(ROOT / 'settings.ini')
    old, project = ini['DEFAULT'], tomllib.loads((ROOT / 'pyproject.toml').read_text())
    new = project['tool']['nbdev']

    def text(v):
        return ' '.join(v) if isinstance(v, list) else str(v)

    different = {k: (old.get(k), text(v)) for k, v in new.items() if old.get(k) != text(v)}
    assert not different
    assert 'tags' in new['allowed_cell_metadata_keys']  # else nbdev-clean deletes papermill's tag
    p = project['project']
    assert (old['lib_name'], old['description'], f'>={old["min_python"]}') == (
        p['name'],
        p['description'],
        p['requires-python'],
    )
    assert old['keywords'].split() == p['keywords']
    version = ast.literal_eval(
        (ROOT / 'msagcn/__init__.py').read_text().splitlines()[0].split('=')[1].strip()
    )
    assert old['version'] == version
