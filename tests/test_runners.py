"""The notebooks run as they are meant to: one after the other through papermill, and through the `msagcn` command; a misspelt
parameter stops them; and the report is a page that loads nothing from the net."""
import ast
import json
import re
import shutil
import sys
from html.parser import HTMLParser

import pandas as pd
import pytest
import yaml

from conftest import ROOT, TINY, pairs, places, sh, tool

RUNNERS = ROOT / 'nbs/runs'
pytestmark = pytest.mark.skipif(not all((RUNNERS / f'{r}.ipynb').exists() for r in ('prepare', 'train', 'fuse', 'report')), reason='the runners are not there')
SMALL = TINY | dict(batch_size=16, lr=.05, refit='false')      # said in full: runner and command have defaults of their own


def papermill(name, out, check=True, **parameters):
    "One runner through plain papermill, in a folder of its own, as a user would call it."
    parameters |= {k: v for k, v in places('').items() if k in declared(name)}
    return sh(tool('papermill'), RUNNERS / f'{name}.ipynb', out / f'{name}.ipynb', '-k', 'python3', '--no-progress-bar', *pairs_yaml(parameters), cwd=out, check=check)


def pairs_yaml(parameters):
    "Lists and the rest as papermill's YAML."
    return [w for k, v in parameters.items() for w in ('-y', f'{k}: {v}')]


def declared(name):
    "Names and defaults of a runner's parameters."
    for c in json.loads((RUNNERS / f'{name}.ipynb').read_text())['cells']:
        if 'parameters' in c['metadata'].get('tags', []):
            return {n.targets[0].id: ast.literal_eval(n.value) for n in ast.parse(''.join(c['source'])).body}


def msagcn(*args, cwd, check=True): return sh(sys.executable, '-m', 'msagcn', *args, cwd=cwd, check=check, PYTHONPATH=str(ROOT))


@pytest.fixture(scope='module')
def chain(tmp_path_factory):
    "A folder in which all four runners have run: two streams of a small recipe, fused and reported."
    out = tmp_path_factory.mktemp('chain')
    papermill('prepare', out, subjects=4)
    for stream in ('joint', 'bone'): papermill('train', out, stream=stream, **SMALL)
    papermill('fuse', out)
    papermill('report', out)
    return out


def test_parameters_are_those_of_the_library():
    from msagcn.parameters import AblateParameters, FuseParameters, PrepareParameters, ReportParameters, TablesParameters, TrainParameters
    for name, kind in dict(ablation=AblateParameters, prepare=PrepareParameters, train=TrainParameters, fuse=FuseParameters, report=ReportParameters, tables=TablesParameters).items():
        assert declared(name).keys() == kind.model_fields.keys(), name
        kind(**declared(name))


def test_a_name_stands_for_one_set_of_parameters():
    """The train runner's defaults are not those of the command, nor of a file in params/, so they are not called the same: else a plain
    run of one would make a plain run of the other an error. Fuse and report look for what the train runner leaves."""
    from msagcn.experiment import TrainParameters
    ours = declared('train')
    named = [TrainParameters().model_dump()] + [yaml.safe_load(f.read_text()) for f in sorted((ROOT / 'params').glob('*.yaml'))]
    for other in (n for n in named if 'recipe' in n): assert ours['recipe'] != other['recipe'] or all(ours[k] == v for k, v in other.items()), other
    assert declared('fuse')['recipe'] == declared('report')['recipe'] == ours['recipe']


def test_the_chain_leaves_what_it_promises(chain):
    assert json.loads((chain / 'data/embedded/manifest.json').read_text())['clips'].__len__() == 120
    results, fusion = (pd.read_csv(chain / f'reports/{t}.csv') for t in ('results', 'fusion'))
    assert results.stream.tolist() == ['joint', 'bone'] and results.top1.between(0, 100).all()
    assert {'held-out', 'equal'} <= set(fusion.weights_from) and (fusion.streams == 'joint bone').all()
    for name in ('prepare', 'train', 'fuse', 'report'):
        cells = [c for c in json.loads((chain / f'{name}.ipynb').read_text())['cells'] if c['cell_type'] == 'code']
        outputs = [o for c in cells for o in c['outputs']]
        assert not [o for o in outputs if o['output_type'] == 'error']
        assert not [t for o in outputs if o.get('name') == 'stderr' for t in o['text'] if 'Error' in t or 'Warning' in t]
        assert any('image/png' in o.get('data', {}) for o in outputs), f'{name} shows nothing'


def test_tables_come_from_files_alone(chain, tmp_path):
    "Only what is in reports/ is there: the tables name the runs, the notebook shows them, and nothing of the training is imported."
    shutil.copytree(chain / 'reports', tmp_path / 'reports')
    papermill('tables', tmp_path)
    table = pd.read_csv(tmp_path / 'reports/tables/results.csv', dtype=str)
    here = table[table.benchmark == 'embedded']
    assert here.streams.tolist() == ['joint', 'bone', 'joint bone'] and (here.seeds == '1').all()
    assert here['all'].tolist()[:2] == [f'{v:.2f}' for v in pd.read_csv(chain / 'reports/results.csv').query("recipe == 'quick'").top1]
    cells = [c for c in json.loads((tmp_path / 'tables.ipynb').read_text())['cells'] if c['cell_type'] == 'code']
    assert sum('text/html' in o.get('data', {}) for c in cells for o in c['outputs']) >= 4
    told = sh(sys.executable, '-c', "import sys, msagcn.tables; print([m for m in ('train', 'experiment', 'msagcn') if f'msagcn.{m}' in sys.modules])", PYTHONPATH=str(ROOT))
    assert told.stdout.strip() == '[]', told.stdout


def test_a_second_call_of_a_grid_trains_nothing(chain):
    grid = ['train', '--no-notebook', *pairs(**SMALL | dict(recipe='grid', seed='1,2'))]
    first = msagcn(*grid, cwd=chain).stdout
    assert re.findall(r'^(\S+): ', first, re.M) == [f'msagcn-embedded-grid-joint-s{s}' for s in (1, 2)]
    def state(): return {p: p.stat().st_mtime_ns for d in ('runs', 'reports') for p in (chain / d).rglob('*grid*/*')}
    before = state()
    assert msagcn(*grid, cwd=chain).stdout == first and state() == before and before
    assert pd.read_csv(chain / 'reports/results.csv').recipe.tolist().count('grid') == 2
    refused = msagcn('train', '--no-notebook', *pairs(**SMALL | dict(recipe='grid', lr=.3)), cwd=chain, check=False)
    assert refused.returncode == 2 and 'lr=' in refused.stderr and 'Traceback' not in refused.stderr


def test_the_command_keeps_the_executed_notebook(chain):
    told = msagcn('train', *pairs(**SMALL | dict(recipe='quick')), cwd=chain)         # finished before: only rendered
    assert told.stdout.startswith('msagcn-embedded-quick-joint-s1: ')
    notebook = json.loads((chain / 'runs/msagcn-embedded-quick-joint-s1/train.ipynb').read_text())
    assert any(c.get('outputs') for c in notebook['cells'])


@pytest.mark.parametrize('name', ['prepare', 'train'])
def test_a_misspelt_parameter_stops_plain_papermill(name, tmp_path):
    failed = papermill(name, tmp_path, check=False, epochz=3)
    assert failed.returncode != 0 and 'epochz: no such parameter' in failed.stderr
    assert not (tmp_path / 'data').exists() and not (tmp_path / 'runs').exists()


class Loads(HTMLParser):
    "Collects what a page loads by itself; a link to click on is none of it."
    def __init__(self): super().__init__(); self.found = []
    def handle_starttag(self, tag, attrs):
        self.found += [(tag, k, v) for k, v in attrs if k in ('src', 'srcset', 'href', 'data', 'poster', 'xlink:href') and tag != 'a' and v and re.match(r'\s*(https?:)?//', v)]


def test_the_report_loads_nothing_from_the_net(chain):
    page = chain / msagcn('report', *pairs(recipe='quick'), cwd=chain).stdout.strip().splitlines()[-1]
    text = page.read_text()
    loads = Loads(); loads.feed(text)
    assert not loads.found
    assert not re.findall(r'(?:@import\s+(?:url\()?|url\(|\bimport\s*\(?|\bfrom\s+)\s*["\']?https?://[^\s"\')]+', text)
    assert 'MathJax.js' not in text and 'require.min.js' not in text
    assert '<img' in text and 'joint' in text and 'Traceback' not in text and len(text) < 5_000_000
