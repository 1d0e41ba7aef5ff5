"""What notebooks show is kept in them, and is what the present code shows.

`docs/execute.py` runs them all and compares (`make test`). Here: how it decides, on small notebooks, and
what may be kept.
"""

import ast
import json
import re
import sys

import pytest
from conftest import ROOT, sh, tool

TOOL = ROOT / 'docs/execute.py'
NOTEBOOKS = [
    p for p in sorted((ROOT / 'nbs').rglob('*.ipynb')) if '.ipynb_checkpoints' not in p.parts
]
LIBRARY = [p for p in NOTEBOOKS if re.match(r'\d', p.name)]
FIGURE = 'import matplotlib.pyplot as plt\nplt.figure(figsize=(2, 1))\nplt.plot([{start}, 1, 2]);'


def outputs(path):
    "Place of a cell, and one of its outputs."
    for i, cell in enumerate(json.loads(path.read_text(encoding='utf-8'))['cells']):
        for o in cell.get('outputs', []):
            yield i, o


def figures(path):
    "Cells with a bitmap or a vector drawing."
    shown = [(i, o.get('data', {})) for i, o in outputs(path)]
    return [i for i, d in shown if 'image/png' in d or '<svg' in ''.join(d.get('text/html', ''))]


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda p: f'{p.parent.name}/{p.stem}')
def test_outputs_are_small_and_say_nothing_of_a_machine(path):
    assert path.stat().st_size <= 300_000
    kept = [o for _, o in outputs(path)]
    assert not [o for o in kept if o['output_type'] == 'error']
    for o in kept:
        text = ''.join(o.get('text', []))
        text += ''.join(''.join(v) for k, v in o.get('data', {}).items() if k.startswith('text'))
        assert not re.search(r'(?<![\w.…])/(home|root|tmp|work|Users|var)/|[A-Z]:\\', text), text


def test_all_notebooks_together():
    assert sum(p.stat().st_size for p in NOTEBOOKS) <= 12_000_000
    assert sum(len(figures(p)) for p in LIBRARY) >= 40


@pytest.mark.parametrize('path', LIBRARY, ids=lambda p: f'{p.parent.name}/{p.stem}')
def test_each_figure_cell_has_its_figure(path):
    "A cell that makes a new figure and does not close it shows it."
    cells, shown = json.loads(path.read_text(encoding='utf-8'))['cells'], set(figures(path))
    for i, cell in enumerate(cells):
        code = ''.join(cell['source'])
        if cell['cell_type'] != 'code' or re.search(r'^#\| ?(export|slow|varies)', code, re.M):
            continue
        lines = [l for l in code.splitlines() if not l.startswith(('%', '!'))]
        made = [
            node
            for statement in ast.parse('\n'.join(lines)).body
            if not isinstance(statement, (ast.FunctionDef, ast.If))
            for node in ast.walk(statement)
            if isinstance(node, ast.Attribute)
            and ast.unparse(node) in ('plt.subplots', 'plt.figure')
        ]
        if made and 'plt.close' not in code:
            assert i in shown, f'cell {i} has no figure: make figures'


@pytest.fixture
def notebook(tmp_path):
    "Write a notebook of these cells; returns its path."

    def write(*sources, outputs=()):
        cells = [
            dict(
                cell_type='code',
                id=f'c{i}',
                metadata={},
                execution_count=None,
                source=source.splitlines(True),
                outputs=outputs[i] if outputs else [],
            )
            for i, source in enumerate(sources)
        ]
        path = tmp_path / '10_some.ipynb'
        path.write_text(json.dumps(dict(cells=cells, metadata={}, nbformat=4, nbformat_minor=5)))
        return path

    return write


def execute(path, *options, check=False):
    return sh(sys.executable, TOOL, path, *options, check=check)


def plot(start):
    return FIGURE.format(start=start)


def test_what_is_kept_is_the_same_each_time_and_compares_equal(notebook):
    cells = (
        plot(1),
        'import pandas as pd\npd.DataFrame({"a": [1]})',
        'print(2 / 3)',
        '#| varies\nimport time\ntime.time()',
        '#| slow\n1 / 0',
        'import os\nos.getcwd()',
    )
    path = notebook(*cells)
    execute(path, '--write', check=True)
    first = path.read_bytes()
    execute(path, '--write', check=True)
    assert path.read_bytes() == first
    assert execute(path).returncode == 0
    kinds = [(i, *sorted(o.get('data', {'text': 0}))) for i, o in outputs(path)]
    assert kinds == [(0, 'image/png'), (1, 'text/html', 'text/plain'), (2, 'text')]
    sh(tool('nbdev-clean'), '--fname', path, cwd=ROOT)
    assert path.read_bytes() == first


CHANGES = [  # a cell as it was, as it is, and what is said of it; nothing of rounding
    (plot(0), plot(2), 'another picture'),
    (plot(1), plot(1).replace('2, 1', '3, 1'), 'pixels'),
    (plot(1), '1', 'text/plain instead of image/png'),
    (plot(1), '1;', '0 outputs, and 1 are kept'),
    ('print("top-1", 80.1)', 'print("top-1", 80.3)', '80.3'),
    ('print("top-1", 80.1)', 'print("top-5", 80.1)', 'top-5'),
    ('print("loss", 0.69314718)', 'print("loss", 0.69314719)', ''),
    ('print("zero", 1e-17)', 'print("zero", -3e-16)', ''),
]


def test_what_has_changed_is_found_and_rounding_is_not(notebook):
    before, after, says = zip(*CHANGES)
    path = notebook(*before)
    execute(path, '--write', check=True)
    kept = {i: [o] for i, o in outputs(path)}
    done = execute(notebook(*after, outputs=kept))
    assert done.returncode == 1
    lines = {int(m[1]): m[0] for m in re.finditer(r'10_some.ipynb: cell (\d+) .*', done.stderr)}
    assert lines.keys() == {i for i, said in enumerate(says) if said}
    assert all(says[i] in line for i, line in lines.items())


def test_a_cell_that_fails_is_named(notebook):
    done = execute(notebook('1', '1 / 0'))
    assert done.returncode == 1
    assert '10_some.ipynb: cell 1' in done.stderr and 'ZeroDivisionError' in done.stderr
