"""The notebooks run as intended: in sequence through papermill, and through the `msagcn` command.

A misspelt parameter stops them; and the report is a page that loads nothing from the network.
"""

import ast
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import ROOT, TINY, command, pairs, papermill, places, sh, tool

RUNNERS = ROOT / 'nbs/runs'
pytestmark = pytest.mark.skipif(
    not all((RUNNERS / f'{r}.ipynb').exists() for r in ('prepare', 'train', 'fuse', 'report')),
    reason='the runners are not there',
)
# all parameters: runner and command have different defaults
SMALL = TINY | dict(batch_size=16, lr=0.05, refit='false')


@pytest.fixture
def project(tmp_path):
    "A checkout's runners and settings, in a folder of its own."
    (tmp_path / 'project/nbs').mkdir(parents=True)
    shutil.copytree(
        RUNNERS,
        tmp_path / 'project/nbs/runs',
        ignore=shutil.ignore_patterns('.ipynb_checkpoints', 'data', 'runs', 'reports'),
    )
    for name in ('settings.ini', '.gitignore'):
        shutil.copy(ROOT / name, tmp_path / 'project' / name)
    return tmp_path / 'project'


def code(name):
    "The sources of a runner's code cells, the parameters first."
    return [
        ''.join(c['source'])
        for c in json.loads((RUNNERS / f'{name}.ipynb').read_text())['cells']
        if c['cell_type'] == 'code'
    ]


def outputs(path):
    "All outputs of an executed notebook."
    return [
        o
        for c in json.loads(Path(path).read_text())['cells']
        if c['cell_type'] == 'code'
        for o in c['outputs']
    ]


def run(name, out, check=True, **parameters):
    "One runner through plain papermill, in a folder of its own, as a user would call it."
    parameters |= {k: v for k, v in places('').items() if k in declared(name)}
    return papermill(
        RUNNERS / f'{name}.ipynb',
        out / f'{name}.ipynb',
        '-k',
        'python3',
        '--no-progress-bar',
        *pairs_yaml(parameters),
        cwd=out,
        check=check,
    )


def pairs_yaml(parameters):
    "Parameters as papermill's YAML."
    return [w for k, v in parameters.items() for w in ('-y', f'{k}: {v}')]


def declared(name):
    "Names and defaults of a runner's parameters."
    for c in json.loads((RUNNERS / f'{name}.ipynb').read_text())['cells']:
        if 'parameters' in c['metadata'].get('tags', []):
            return {
                n.targets[0].id: ast.literal_eval(n.value)
                for n in ast.parse(''.join(c['source'])).body
            }


@pytest.fixture(scope='module')
def chain(tmp_path_factory):
    "A folder in which all four runners have run: two streams of a small recipe, fused and reported."
    out = tmp_path_factory.mktemp('chain')
    run('prepare', out, subjects=4)
    run('train', out, stream='joint', **SMALL)
    bone = SMALL | dict(recipe='quick', stream='bone')
    command('train', '--no-notebook', *pairs(**bone), cwd=out)
    run('fuse', out)
    run('report', out)
    return out


def test_parameters_are_those_of_the_library():
    from msagcn.experiments.parameters import (
        AblateParameters,
        FuseParameters,
        PrepareParameters,
        ReportParameters,
        TablesParameters,
    )
    from msagcn.experiments.train_parameters import TrainParameters

    for name, kind in dict(
        ablation=AblateParameters,
        prepare=PrepareParameters,
        train=TrainParameters,
        fuse=FuseParameters,
        report=ReportParameters,
        tables=TablesParameters,
    ).items():
        assert declared(name).keys() == kind.model_fields.keys(), name
        kind(**declared(name))


def test_a_name_stands_for_one_set_of_parameters():
    """The train runner's default name is neither the command's nor that of a file in params/.

    Their default parameters differ: else a plain run of one would make a plain run of the other an error.
    Fuse and report look for what the train runner leaves.
    """
    from msagcn.experiments.train_parameters import TrainParameters

    ours = declared('train')
    named = [TrainParameters().model_dump()] + [
        yaml.safe_load(f.read_text()) for f in sorted((ROOT / 'params').glob('*.yaml'))
    ]
    for other in (n for n in named if 'recipe' in n):
        assert ours['recipe'] != other['recipe'] or all(ours[k] == v for k, v in other.items()), (
            other
        )
    assert declared('fuse')['recipe'] == declared('report')['recipe'] == ours['recipe']


def test_the_chain_leaves_what_it_promises(chain):
    assert json.loads((chain / 'data/embedded/manifest.json').read_text())['clips'].__len__() == 120
    results, fusion = (pd.read_csv(chain / f'reports/{t}.csv') for t in ('results', 'fusion'))
    assert results.stream.tolist() == ['joint', 'bone'] and results.top1.between(0, 100).all()
    assert {'held-out', 'equal'} <= set(fusion.weights_from) and (
        fusion.streams == 'joint bone'
    ).all()
    for name in ('prepare', 'train', 'fuse', 'report'):
        cells = [
            c
            for c in json.loads((chain / f'{name}.ipynb').read_text())['cells']
            if c['cell_type'] == 'code'
        ]
        outputs = [o for c in cells for o in c['outputs']]
        assert not [o for o in outputs if o['output_type'] == 'error']
        assert not [
            t
            for o in outputs
            if o.get('name') == 'stderr'
            for t in o['text']
            if 'Error' in t or 'Warning' in t
        ]
        data = [o.get('data', {}) for o in outputs]
        drawn = ['image/png' in d or '<svg' in ''.join(d.get('text/html', '')) for d in data]
        assert any(drawn), f'{name} shows nothing'


@pytest.mark.parametrize('name', ['prepare', 'train', 'fuse', 'report'])
def test_what_a_runner_draws_is_kept_in_it(chain, name):
    "The same cells show pictures, as many; other parameters, so other pictures."
    drawn, kept = (
        {
            c['id']: n
            for c in json.loads(path.read_text())['cells']
            if (n := sum('image/png' in o.get('data', {}) for o in c.get('outputs', [])))
        }
        for path in (chain / f'{name}.ipynb', RUNNERS / f'{name}.ipynb')
    )
    assert drawn == kept, 'make figures'


def test_tables_come_from_files_alone(chain, tmp_path):
    """Only the files in reports/ are present.

    The tables name the runs, the notebook shows them, and nothing of the training is imported.
    """
    shutil.copytree(chain / 'reports', tmp_path / 'reports')
    run('tables', tmp_path)
    table = pd.read_csv(tmp_path / 'reports/tables/results.csv', dtype=str)
    here = table[table.benchmark == 'embedded']
    assert here.streams.tolist() == ['joint', 'bone', 'joint bone'] and (here.seeds == '1').all()
    assert here['all'].tolist()[:2] == [
        f'{v:.2f}'
        for v in pd.read_csv(chain / 'reports/results.csv').query("recipe == 'quick'").top1
    ]
    cells = [
        c
        for c in json.loads((tmp_path / 'tables.ipynb').read_text())['cells']
        if c['cell_type'] == 'code'
    ]
    assert sum('text/html' in o.get('data', {}) for c in cells for o in c['outputs']) >= 4
    of_training = ('training.loop', 'experiments.run', 'models.msagcn')
    assert all(
        (ROOT / 'msagcn' / m.replace('.', '/')).with_suffix('.py').exists() for m in of_training
    )
    program = (
        'import sys, msagcn.report.tables; '
        f"print([m for m in {of_training} if f'msagcn.{{m}}' in sys.modules])"
    )
    imported = sh(sys.executable, '-c', program, PYTHONPATH=str(ROOT))
    assert imported.stdout.strip() == '[]', imported.stdout


def test_a_second_call_of_a_grid_trains_nothing(chain):
    grid = ['train', '--no-notebook', *pairs(**SMALL | dict(recipe='grid', seed='1,2'))]
    first = command(*grid, cwd=chain).stdout
    assert re.findall(r'^(\S+): (?:val_)?top1', first, re.M) == [
        f'msagcn-embedded-grid-joint-s{s}' for s in (1, 2)
    ]

    def state():
        return {
            p: p.stat().st_mtime_ns
            for d in ('runs', 'reports')
            for p in (chain / d).rglob('*grid*/*')
        }

    before = state()
    assert command(*grid, cwd=chain).stdout == first and state() == before and before
    assert pd.read_csv(chain / 'reports/results.csv').recipe.tolist().count('grid') == 2
    refused = command(
        'train',
        '--no-notebook',
        *pairs(**SMALL | dict(recipe='grid', lr=0.3)),
        cwd=chain,
        check=False,
    )
    assert refused.returncode == 2 and 'lr=' in refused.stderr and 'Traceback' not in refused.stderr


def test_the_command_keeps_the_executed_notebook(chain):
    # finished before: only rendered
    told = command('train', *pairs(**SMALL | dict(recipe='quick')), cwd=chain)
    assert told.stdout.startswith('msagcn-embedded-quick-joint-s1: ')
    notebook = json.loads((chain / 'runs/msagcn-embedded-quick-joint-s1/train.ipynb').read_text())
    assert any(c.get('outputs') for c in notebook['cells'])


@pytest.mark.parametrize('name', ['prepare', 'train'])
def test_a_misspelt_parameter_stops_plain_papermill(name, tmp_path):
    failed = run(name, tmp_path, check=False, epochz=3)
    assert failed.returncode != 0 and 'epochz: no such parameter' in failed.stderr
    assert not (tmp_path / 'data').exists() and not (tmp_path / 'runs').exists()


CHANGED = dict(
    prepare="benchmark = 'other'",
    train='val_subjects = [2, 3]',
    fuse="streams = 'joint,bone_motion'",
    report="recipe = '1e3'",
    tables="reports_dir = 'a, b'",
    ablation="only = ['full']",
    explore="clips = ['x']",
)


def test_parameters_are_read_twice_in_one_kernel(project):
    """All parameter cells, what reads them, and what later cells leave behind, in one kernel.

    The kernel was started in `nbs/runs`. Then again with another value; then with a wrong name, and then
    without the line that was added. The other runners' names are defined all the time.
    """
    nbformat, nbclient = pytest.importorskip('nbformat'), pytest.importorskip('nbclient')
    # as cells further down, and a user, may leave behind
    left = 'clips, skeleton, folder, metrics, total, epochz = [1], 2, 3, {}, 5, 6'
    sources = []
    for name, change in CHANGED.items():
        parameters, reading = code(name)[:2]
        key = change.split(' =')[0]
        for told in (
            parameters,
            f'{parameters}\n{change}',
            f'{parameters}\nepochz = 3',
            parameters,
        ):
            wrong = told.endswith('epochz = 3')
            fields = list(declared(name))
            check = (
                f'assert type(p).__name__ and set(type(p).model_fields) == set({fields}); p.{key}'
            )
            sources += [
                told,
                f'{reading}'
                if not wrong
                else 'try: read_parameters(type(p), globals())\nexcept Exception as e: print("refused", e)',
                left,
                check,
            ]
    nb = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(s) for s in [*sources, 'import os; os.getcwd()']]
    )
    nbclient.NotebookClient(
        nb,
        timeout=300,
        kernel_name='python3',
        resources=dict(metadata=dict(path=str(project / 'nbs/runs'))),
    ).execute()
    said = [
        ''.join(o.get('text', '') or o.get('data', {}).get('text/plain', '') for o in c.outputs)
        for c in nb.cells
    ]
    assert said[-1] == repr(str(project)) and str(project) in said[1]
    for i, (name, change) in enumerate(CHANGED.items()):
        key, value = change.split(' = ')
        shown = said[i * 16 + 3 : i * 16 + 16 : 4]
        wanted = ast.literal_eval(value)
        if name == 'fuse':
            wanted = wanted.split(',')
        assert [ast.literal_eval(s) for s in shown] == [
            declared(name)[key],
            wanted,
            wanted,
            declared(name)[key],
        ], name
        assert said[i * 16 + 9].startswith('refused epochz: no such parameter'), name


def test_papermill_never_changes_a_name(tmp_path):
    """By papermill's own rules for -p, -r and lists.

    -p makes a number of 1e3, which is refused with a line that shows how to write it; -r is taken
    literally; a list is a text to papermill.
    """
    start = [
        str(RUNNERS / 'prepare.ipynb'),
        'out.ipynb',
        '--no-progress-bar',
        '-p',
        'subjects',
        '2',
    ]
    failed = papermill(*start, '-p', 'benchmark', '1e3', cwd=tmp_path, check=False)
    assert (
        failed.returncode
        and '-r benchmark' in failed.stderr
        and sorted(p.name for p in tmp_path.iterdir()) == ['out.ipynb']
    )
    papermill(*start, '-p', 'data_dir', 'out #1, "x"', cwd=tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ['out #1, "x"', 'out.ipynb']


@pytest.mark.parametrize('told', ['[1, 2]', '1,2'])
def test_a_list_through_papermill(told, tmp_path):
    "It gets as far as the missing data, and names the folder in which it looked."
    failed = papermill(
        RUNNERS / 'train.ipynb',
        'out.ipynb',
        '--no-progress-bar',
        '-p',
        'val_subjects',
        told,
        cwd=tmp_path,
        check=False,
    )
    assert f'{tmp_path}/data/embedded' in failed.stderr and 'no prepared data' in failed.stderr


def test_a_kernel_of_another_name(project, tmp_path):
    "A notebook that was saved with another kernel, in an installation that has the kernel of that name."
    kernel = tmp_path / 'jupyter/kernels/of-mine/kernel.json'
    kernel.parent.mkdir(parents=True)
    kernel.write_text(
        json.dumps(
            dict(
                argv=[sys.executable, '-m', 'ipykernel_launcher', '-f', '{connection_file}'],
                display_name='Mine',
                language='python',
            )
        )
    )
    nb = json.loads((project / 'nbs/runs/prepare.ipynb').read_text())
    nb['metadata']['kernelspec'] = dict(name='of-mine', display_name='Mine', language='python')
    (project / 'nbs/runs/prepare.ipynb').write_text(json.dumps(nb))
    papermill(
        'prepare.ipynb',
        tmp_path / 'out.ipynb',
        '--no-progress-bar',
        '-p',
        'subjects',
        '2',
        cwd=project / 'nbs/runs',
        JUPYTER_PATH=str(tmp_path / 'jupyter'),
    )
    assert (project / 'data/embedded/manifest.json').exists() and not (
        project / 'nbs/runs/data'
    ).exists()


def test_executed_from_elsewhere_the_page_is_not_blank(chain, project, tmp_path):
    """nbconvert from another folder, on the explorer.

    It works in the project; its output is in the page and needs no server.
    """
    for name in ('data', 'runs', 'reports'):
        (project / name).symlink_to(chain / name)
    notebook = project / 'nbs/runs/explore.ipynb'
    nb = json.loads(notebook.read_text())
    cell = next(c for c in nb['cells'] if 'parameters' in c['metadata'].get('tags', []))
    cell['source'] = (
        ''.join(cell['source'])
        + f'\ncount = 1\nlayers = [1]\npage = {str(tmp_path / "page.html")!r}'
    )
    notebook.write_text(json.dumps(nb))
    sh(tool('jupyter'), 'execute', notebook, f'--output={tmp_path}/executed.ipynb', cwd=tmp_path)
    shown = [o for o in outputs(tmp_path / 'executed.ipynb') if 'data' in o]
    assert not any('application/vnd.jupyter.widget-view+json' in o['data'] for o in shown)
    sh(tool('jupyter'), 'nbconvert', '--to', 'html', tmp_path / 'executed.ipynb', cwd=tmp_path)
    text = (tmp_path / 'executed.html').read_text()
    assert (
        'data-msagcn' in text
        and 'msagcn-embedded-quick-joint-s1' in text
        and 'image/png' in text
        and (tmp_path / 'page.html').exists()
    )


def test_git_takes_no_data_along(project):
    "`git add .` after work in any folder adds notebooks and results, but no data sets or weights."
    subprocess.run(['git', 'init', '-q'], cwd=project, check=True)
    left = [
        'data/a/frames.npy',
        'runs/r/x',
        'demo/data/x',
        'nbs/runs/data/e/frames.npy',
        'nbs/runs/runs/r/x',
        'nbs/runs/reports/results.csv',
        'nbs/runs/demo/x',
        'nbs/data/x',
        'nbs/bench/reports/x',
        'mine/data/x',
        'mine/runs/x',
        'reports/runs/r/weights.safetensors',
        'nbs/runs/out.ipynb',
    ]
    kept = [
        'nbs/runs/mine.ipynb',
        'nbs/runs/train.ipynb',
        'reports/results.csv',
        'reports/runs/r/metrics.json',
        'reports/data/e.json',
        'mine/notes.md',
    ]
    for f in left + kept:
        (project / f).parent.mkdir(parents=True, exist_ok=True)
        if not (project / f).exists():
            (project / f).write_text('x')
    subprocess.run(['git', 'add', '.'], cwd=project, check=True)
    taken = set(
        subprocess.run(
            ['git', 'ls-files'], cwd=project, capture_output=True, text=True, check=True
        ).stdout.splitlines()
    )
    assert set(kept) <= taken and not taken & set(left)
    if (ROOT / '.git').exists():
        assert not sh('git', 'ls-files', '-ci', '--exclude-standard', cwd=ROOT).stdout


class Loads(HTMLParser):
    "Collects what a page loads by itself; a link to click on is not included."

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [
            (tag, k, v)
            for k, v in attrs
            if k in ('src', 'srcset', 'href', 'data', 'poster', 'xlink:href')
            and tag != 'a'
            and v
            and re.match(r'\s*(https?:)?//', v)
        ]


def test_the_report_loads_nothing_from_the_net(chain):
    from msagcn.report.html import to_html

    text = to_html(chain / 'report.ipynb', chain / 'report.html').read_text()
    loads = Loads()
    loads.feed(text)
    assert not loads.found
    assert not re.findall(
        r'(?:@import\s+(?:url\()?|url\(|\bimport\s*\(?|\bfrom\s+)\s*["\']?https?://[^\s"\')]+', text
    )
    assert 'MathJax.js' not in text and 'require.min.js' not in text
    assert '<img' in text and 'joint' in text and 'Traceback' not in text and len(text) < 5_000_000
