"""The whole path on NTU RGB+D, small: by the command from zip archives to a report.

The archives hold made-up raw files. And the benchmark of the preparation as its notebook.
"""

import ast
import json
import re

import pandas as pd
import pytest
from conftest import ROOT, pairs, papermill, places

from msagcn.cli import main
from msagcn.data.clips import load_clips
from msagcn.data.synthetic_ntu import ARCHIVES, names_of, write_raw_ntu

ACTIONS = (3, 4, 6, 52)  # one with two people
SMALL = dict(
    recipe='small',
    frames=8,
    epochs=2,
    batch_size=8,
    lr=0.03,
    warmup=0,
    refit='false',
    device='cpu',
)
CASES = {
    'ntu60_xsub': dict(
        setups=(1,),
        cameras=(1, 2),
        performers=(1, 2, 5, 3),
        replications=(1,),
        actions=ACTIONS,
        val='[5]',
        network=dict(model='msagcn', width=40),
    ),
    'ntu120_xset': dict(
        setups=(18, 17),
        cameras=(1, 2),
        performers=(1, 2, 3),
        replications=(1,),
        actions=(*ACTIONS[:2], 66, 110),
        val='[3]',
        network=dict(model='msg3d', width=12),
    ),
}


def msagcn(*args):
    "The command, in this process; to start Python for each would take longer than the work."
    assert main([str(a) for a in args]) == 0


@pytest.mark.parametrize('benchmark', CASES)
def test_from_archives_to_a_report(benchmark, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    case = dict(CASES[benchmark])
    val, network = case.pop('val'), case.pop('network')
    names = names_of(**case)
    archives = write_raw_ntu(tmp_path / 'archives', names, 30, zipped=True)
    assert [a.name for a in archives] == [a for _, a in ARCHIVES[: 1 + (18 in case['setups'])]]
    at = places('')
    msagcn('prepare', *pairs(benchmark=benchmark, source='archives', data_dir='data'))
    clips = load_clips(tmp_path / 'data' / benchmark)
    assert sorted(clips.names) == names and len(clips.classes) == int(benchmark[3:].split('_')[0])
    who, trains = dict(
        ntu60_xsub=(slice(9, 12), lambda n: n != 3), ntu120_xset=(slice(1, 4), lambda n: n % 2 == 0)
    )[benchmark]
    assert all(
        (p == 'train') == trains(int(n[who])) for n, p in zip(clips.names, clips.parts)
    ) and set(clips.parts) == {'train', 'test'}
    for stream in ('joint', 'bone'):
        msagcn(
            'train',
            '--no-notebook',
            *pairs(benchmark=benchmark, stream=stream, val_subjects=val, **network, **SMALL, **at),
        )
    msagcn(
        'fuse',
        *pairs(
            benchmark=benchmark,
            model=network['model'],
            recipe='small',
            streams='[joint, bone]',
            reports_dir='reports',
        ),
    )
    msagcn('report', *pairs(benchmark=benchmark, recipe='small', **at))
    page = capsys.readouterr().out.split()[-1]

    results, fusion = (pd.read_csv(tmp_path / f'reports/{t}.csv') for t in ('results', 'fusion'))
    with capsys.disabled():
        print(
            f'\n{benchmark}: {dict(zip(results.stream, results.top1))} % of {results.n_test[0]} clips, '
            f'fused {fusion.top1.max()}'
        )
    assert (
        results.stream.tolist() == ['joint', 'bone']
        and (results.benchmark == benchmark).all()
        and (results.n_test == clips.parts.count('test')).all()
    )
    assert results[['val_top1', 'top1', 'top5', 'top1_clean']].stack().between(0, 100).all()
    assert {'held-out', 'equal'} == set(fusion.weights_from) and fusion[
        ['val_top1', 'top1', 'top1_clean']
    ].stack().between(0, 100).all()
    text = (tmp_path / page).read_text()
    assert (
        benchmark in text
        and ('<img' in text or '<svg' in text)
        and 'joint' in text
        and 'Traceback' not in text
        and 'not run' not in text  # what was not run stands on the results page
    )


def declared(path):
    "Names and defaults of the one cell tagged `parameters`."
    (cell,) = [
        c
        for c in json.loads(path.read_text())['cells']
        if 'parameters' in c['metadata'].get('tags', [])
    ]
    return {
        n.targets[0].id: ast.literal_eval(n.value) for n in ast.parse(''.join(cell['source'])).body
    }


def test_the_benchmark_of_the_preparation(tmp_path):
    from msagcn.bench.preparation import BenchPrepareParameters

    notebook = ROOT / 'nbs/bench/prepare.ipynb'
    assert declared(notebook) == BenchPrepareParameters().model_dump()
    tiny = dict(files='[3, 6]', processes='[1]', frames=8, literal=ROOT / 'tests/oracle_ntu.py')
    papermill(
        notebook,
        'out.ipynb',
        '-k',
        'python3',
        '--no-progress-bar',
        *[w for k, v in tiny.items() for w in ('-y', f'{k}: {v}')],
        cwd=tmp_path,
        PYTHONPATH=str(ROOT),
    )
    table = pd.read_csv(tmp_path / 'reports/bench/prepare.csv')
    assert list(zip(table.reader, table.processes, table.files)) == [
        ('msagcn', 1, 3),
        ('literal', 1, 3),
        ('msagcn', 1, 6),
        ('literal', 1, 6),
    ]
    assert (table[['files_a_second', 'peak_mib']] > 0).all(axis=None) and not (
        tmp_path / 'runs/bench_prepare'
    ).exists()
    outputs = json.dumps(
        [c.get('outputs') for c in json.loads((tmp_path / 'out.ipynb').read_text())['cells']]
    )
    assert 'image/png' in outputs and re.search('text/html', outputs)
