"""Ablations: a grid of variants is trained once, resumed without repeating, and ends in a table.

The table has costs and the exact paired test against the full model. The grids of this package vary
what they seem to vary; wrong grid files are refused in one line.
"""

import json
from math import comb

import pandas as pd
import pytest
import torch
import yaml
from conftest import ROOT, TINY, pairs, papermill, places

from msagcn.cli import main
from msagcn.data.skeleton import UCLA20
from msagcn.experiments.ablation import planned, read_grid
from msagcn.experiments.parameters import AblateParameters
from msagcn.experiments.results import COST
from msagcn.experiments.weights import new_model
from msagcn.report.table_forms import read_back
from msagcn.report.tables import write_tables
from msagcn.training.evaluate import load_scores

GRID = dict(
    common=TINY | dict(benchmark='embedded', val_subjects=[1], lr=0.02, refit=False),
    variants=dict(full={}, no_edge=dict(without=['edge']), frames_alone=dict(context='none')),
    seeds={1: 'all', 2: ['full', 'no_edge']},
)
MSG3D = dict(
    common=TINY
    | dict(benchmark='embedded', model='msg3d', width=12, val_subjects=[1], refit=False),
    variants=dict(full={}, powers=dict(disentangled=False, masks=False, windows=[])),
    seeds={1: 'all'},
)
NAMES = [
    f'msagcn-embedded-ablation-{n}-joint-s{s}'
    for s, n in ((1, 'full'), (1, 'no_edge'), (1, 'frames_alone'), (2, 'full'), (2, 'no_edge'))
]


def write(path, grid):
    path.write_text(yaml.safe_dump(grid, sort_keys=False))
    return path


def ablate(file, out, embedded, **more):
    return main(
        [
            'ablate',
            '--no-notebook',
            '-f',
            str(file),
            *pairs(**places(out) | dict(data_dir=embedded) | more),
        ]
    )


@pytest.fixture(scope='module')
def done(embedded, tmp_path_factory):
    "Folders in which the command has run a grid: first one variant, then all."
    out = tmp_path_factory.mktemp('ablation')
    file = write(out / 'grid.yaml', GRID)
    assert ablate(file, out, embedded, only='[no_edge]') == 0
    first = {p: p.stat().st_mtime_ns for p in (out / 'reports/runs').rglob('*.npz')}
    assert sorted(p.parent.name for p in first if p.name == 'test_scores.npz') == [
        NAMES[1],
        NAMES[4],
    ]
    assert ablate(file, out, embedded) == 0
    assert {p: p.stat().st_mtime_ns for p in first} == first
    return out


def test_rows_and_what_was_varied(done):
    rows = pd.read_csv(done / 'reports/results.csv')
    assert rows.run_id.tolist() == [NAMES[i] for i in (1, 4, 0, 2, 3)]
    assert set(rows.recipe) == {f'ablation/{n}' for n in GRID['variants']}
    metrics = {r: json.loads((done / f'reports/runs/{r}/metrics.json').read_text()) for r in NAMES}
    assert [m['without'] for m in metrics.values()] == [[], ['edge'], [], [], ['edge']] and metrics[
        NAMES[2]
    ]['context'] == 'none'
    assert [m['seed'] for m in metrics.values()] == [1, 1, 1, 2, 2]


def test_a_second_call_trains_nothing_even_without_the_local_runs(done, embedded, capfd):
    def state():
        return {
            p: (p.stat().st_mtime_ns, p.read_bytes())
            for p in (done / 'reports').rglob('*')
            if p.is_file()
        }

    before = state()
    (done / 'runs').rename(done / 'elsewhere')
    try:
        assert ablate(done / 'grid.yaml', done, embedded) == 0
        assert state() == before and not (done / 'runs').exists()
        said = capfd.readouterr().out
        assert [line.split()[2] for line in said.splitlines()[1:]] == list(GRID['variants'])
    finally:
        (done / 'elsewhere').rename(done / 'runs')


def test_only_a_lost_run_is_repeated(done, embedded):
    lost, others = (
        done / f'reports/runs/{NAMES[2]}/metrics.json',
        done / f'reports/runs/{NAMES[0]}/metrics.json',
    )
    kept, before = lost.read_text(), others.stat().st_mtime_ns
    lost.unlink()
    assert ablate(done / 'grid.yaml', done, embedded) == 0
    again, was = json.loads(lost.read_text()), json.loads(kept)
    assert (again['top1'], again['val_top1']) == (
        was['top1'],
        was['val_top1'],
    ) and others.stat().st_mtime_ns == before
    assert pd.read_csv(done / 'reports/results.csv').run_id.is_unique


def test_the_table(done):
    write_tables(done / 'reports')
    table = read_back(done / 'reports/tables/ablation.csv').set_index('ablation')
    assert set(table.index) == set(GRID['variants']) and table.seeds.to_dict() == dict(
        full='2', no_edge='2', frames_alone='1'
    )
    assert (table[list(COST.values())] != '–').all(axis=None) and table.loc[
        'full', 'p, each seed'
    ] == '–'
    for name, seeds in dict(no_edge=(1, 2), frames_alone=(1,)).items():
        told = table.loc[name, 'p, each seed'].split()
        assert len(told) == len(seeds)
        for p, seed in zip(told, seeds):
            a, b = (
                load_scores(
                    done
                    / f'reports/runs/msagcn-embedded-ablation-{n}-joint-s{seed}/test_scores.npz'
                )
                for n in (name, 'full')
            )
            assert a.names == b.names
            x, y = (s.scores.argmax(1) == s.labels for s in (a, b))
            n, k = int((x != y).sum()), min(int((x & ~y).sum()), int((y & ~x).sum()))
            want = min(1, 2 * sum(comb(n, i) for i in range(k + 1)) / 2**n)
            assert abs(float(p.lstrip('<')) - want) <= 0.0006


def test_costs(done):
    rows = pd.read_csv(done / 'reports/ablation_cost.csv').set_index('recipe')
    runs = {r.recipe: r for r in planned(AblateParameters(file=str(done / 'grid.yaml')))}
    assert set(rows.index) == set(runs) and (rows.batch_size == TINY['batch_size']).all()
    for name, r in runs.items():
        size = sum(q.numel() for q in new_model(r, 10, UCLA20, 1, 3).parameters())
        assert abs(rows.params_m[name] - size / 1e6) < 0.0006
    assert (
        rows.gflop['ablation/no_edge'] < rows.gflop['ablation/full']
        and (rows.step_s > 0).all()
        and (rows.mib > 5).all()
    )


def test_other_parameters_under_the_same_name(done, embedded, capfd, tmp_path):
    file = write(tmp_path / 'grid.yaml', GRID | dict(common=GRID['common'] | dict(lr=0.03)))
    assert ablate(file, done, embedded) == 2
    complaint = capfd.readouterr().err.strip()
    assert 'has lr=0.02, the grid says 0.03' in complaint and len(complaint.splitlines()) == 1


def test_msg3d_and_the_notebook(embedded, tmp_path):
    "The runner through plain papermill, on MS-G3D: plain powers, no masks, no windows."
    write(tmp_path / 'grid.yaml', MSG3D)
    papermill(
        ROOT / 'nbs/runs/ablation.ipynb',
        'out.ipynb',
        '-k',
        'python3',
        '--no-progress-bar',
        '-p',
        'file',
        'grid.yaml',
        '-p',
        'data_dir',
        embedded,
        cwd=tmp_path,
    )
    cells = [
        c
        for c in json.loads((tmp_path / 'out.ipynb').read_text())['cells']
        if c['cell_type'] == 'code'
    ]
    assert 'powers' in ''.join(cells[-1]['outputs'][0]['data']['text/html']) and not [
        o for c in cells for o in c['outputs'] if o['output_type'] == 'error'
    ]
    sizes = {
        r: json.loads(
            (
                tmp_path / f'reports/runs/msg3d-embedded-ablation-{r}-joint-s1/metrics.json'
            ).read_text()
        )
        for r in MSG3D['variants']
    }
    assert (
        sizes['powers']['windows'] == []
        and not sizes['powers']['masks']
        and not sizes['powers']['disentangled']
    )
    assert sizes['powers']['parameters'] < 0.5 * sizes['full']['parameters']


@pytest.mark.parametrize('name', ['ablation', 'ablation_msg3d'])
def test_the_grids_of_this_package(name):
    """At least eight variants with one seed, the first of them with three.

    Each computes something else than the full network, but for two: both contexts over a batch are the
    same in training, and BatchNorm removes the position table.
    """
    file = ROOT / f'params/{name}.yaml'
    grid, runs = read_grid(file), planned(AblateParameters(file=str(file)))
    assert (
        file.read_text().startswith('# ')
        and len(grid.variants) >= 8
        and runs[0].recipe == 'ablation/full'
    )
    assert [r.seed for r in runs] == sorted(r.seed for r in runs) and {r.seed for r in runs} == {
        1,
        2,
        3,
    }
    x = torch.randn(2, 3, 20, 20, 1, generator=torch.Generator().manual_seed(0))
    outputs = {}
    for r in (r for r in runs if r.seed == 1):
        with torch.no_grad():
            outputs[r.recipe] = new_model(r, 10, UCLA20, 1, 3).train()(x)
    full = outputs.pop('ablation/full')
    alike = {n for n, y in outputs.items() if torch.allclose(y, full, atol=1e-5)}
    assert alike <= {'ablation/context_batch', 'ablation/no_position'}, alike


WRONG = {
    'a name of a part': (
        dict(variant={}),
        "'variant' is no part of a grid, did you mean variants?",
    ),
    'no list of seeds': (dict(seeds=[1, 2]), 'seeds is not there, or no mapping'),
    'no full model': (dict(variants=dict(whole={})), 'has no full'),
    'a parameter': (
        dict(variants=dict(full={}, no_edge=dict(witout=['edge']))),
        'no_edge: witout: no such parameter, did you mean without?',
    ),
    'a part': (
        dict(variants=dict(full={}, no_edge=dict(without=['edges']))),
        "no_edge: without: element 1: 'edges' is not one of cross, edge",
    ),
    'a part of the other model': (
        dict(variants=dict(full={}, x=dict(masks=False))),
        'x: masks is a parameter of msg3d, not of msagcn',
    ),
    'twins': (dict(variants=dict(full={}, x=dict(stages=4), no_edge={})), 'x: the same as full'),
    'a seed without a variant': (
        dict(seeds={1: ['full', 'no_egde']}),
        "'no_egde' is no variant, did you mean no_edge?",
    ),
    'a seed that is none': (dict(seeds={'first': 'all'}), "'first' is not a whole number"),
    'a seed of its own': (dict(variants=dict(full=dict(seed=3))), 'full: seed is given by seeds'),
    'nothing to do': (dict(seeds={}), 'seeds: no run of full, no_edge, frames_alone is planned'),
    'no test': (dict(common=GRID['common'] | dict(test=False)), 'test is always true'),
    'a value': (
        dict(common=GRID['common'] | dict(epochs=0)),
        'full: steps: 0, and epochs are 0, too; one of them says how long to train',
    ),
}


@pytest.mark.parametrize('case', WRONG)
def test_wrong_grids_are_refused(case, tmp_path, embedded, capfd):
    change, says = WRONG[case]
    file = write(tmp_path / 'grid.yaml', GRID | dict(seeds={1: 'all'}) | change)
    assert ablate(file, tmp_path, embedded) == 2
    complaint = capfd.readouterr().err.strip()
    assert says in complaint and str(file) in complaint and len(complaint.splitlines()) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ['grid.yaml']


def test_files_that_are_not_grids(tmp_path, embedded, capfd):
    for text, says in (('a: [', 'not YAML'), ('- a', 'not a mapping'), (None, 'cannot read')):
        file = tmp_path / 'grid.yaml'
        file.unlink(missing_ok=True)
        if text:
            file.write_text(text)
        assert ablate(file, tmp_path, embedded) == 2 and says in capfd.readouterr().err
    write(file, GRID)
    assert (
        ablate(file, tmp_path, embedded, only='[no_edges]') == 2
        and 'did you mean no_edge?' in capfd.readouterr().err
    )
