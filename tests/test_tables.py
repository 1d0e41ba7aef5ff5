"""Every figure of README's table and of reports/tables comes from the files in reports/.

Here they are computed again, by other means, from score files, the leak list and the published figures."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, need, sh

from msagcn.cli import main
from msagcn.core import MsagcnError
from msagcn.experiments.results import COST
from msagcn.report.table_forms import read_back
from msagcn.report.tables import (
    ablation_table,
    expected,
    fusion_table,
    result_table,
    write_tables,
)

REPORTS = ROOT / 'reports'


def markdown_tables(path):
    "The tables of a Markdown file, each a list of rows by column name."
    blocks = re.findall(r'(?:^\|.*\|$\n?)+', path.read_text(), re.M)
    for block in blocks:
        head, _, *rows = [
            [c.strip() for c in re.split(r'(?<!\\)\|', line)[1:-1]]
            for line in block.strip().splitlines()
        ]
        yield [dict(zip(head, r, strict=True)) for r in rows]


def linked(cell):
    return re.findall(r'\]\([^)]*?runs/([^)/]+)\)', cell)


def scores(run, part='test'):
    with np.load(REPORTS / f'runs/{run}/{part}_scores.npz', allow_pickle=False) as z:
        order = np.argsort(z['names'])
        return z['names'][order], z['labels'][order], z['scores'][order].astype(float)


def is_right(runs, weights, part='test'):
    "Literally: add weighted logits, find the first largest."
    names, labels, _ = scores(runs[0], part)
    total = sum(w * scores(r, part)[2] for r, w in zip(runs, weights))
    return names, np.array([list(row).index(max(row)) == y for row, y in zip(total, labels)])


def leaked(run):
    m = json.loads((REPORTS / f'runs/{run}/metrics.json').read_text())
    return set(
        json.loads((REPORTS / f'data/{m["benchmark"]}-{m["data_hash"][:12]}.json').read_text())[
            'leaked'
        ]
    )


def number(cell):
    return float(cell.replace('−', '-'))


def mean_sd(values):
    v = 100 * np.array(values)
    return f'{v.mean():.2f}' + (
        f' ± {np.sqrt(((v - v.mean()) ** 2).sum() / (len(v) - 1)):.2f}' if len(v) > 1 else ''
    )


def near_bootstrap(cell, right, within=0.45):
    "The ends of an interval equal those of ten thousand draws, to about two clips of 464."
    low, high = (number(x) for x in re.split(r'–| to ', cell))
    draws = np.random.default_rng(1).integers(right.shape[1], size=(10_000, right.shape[1]))
    want = np.percentile(100 * right.mean(0)[draws].mean(1), [2.5, 97.5])
    assert abs(low - want[0]) < within and abs(high - want[1]) < within, (cell, want)


def check_measured(row, tries):
    """Check `all`, `clean`, `held out` and the interval of a row.

    Its runs (and weights), seed by seed, are `tries`.
    """
    names, right = zip(*(is_right(*t) for t in tries))
    right, clean = np.stack(right), ~np.isin(names[0], list(leaked(tries[0][0][0])))
    assert row['all'] == mean_sd(right.mean(1)) and row['clean'] == mean_sd(
        right[:, clean].mean(1)
    ), row
    near_bootstrap(row['95 % of all'], right)
    if row['held out'] != '–':
        assert row['held out'] == mean_sd([is_right(*t, 'val')[1].mean() for t in tries])
    return right


def table_of(name):
    "The rows of a table in reports/tables."
    return next(markdown_tables(REPORTS / f'tables/{name}.md'))


def test_single_runs():
    rows, seen = table_of('results'), 0
    for row in rows:
        if row['benchmark'] != 'nw_ucla' or ' ' in row['streams']:
            continue
        runs = linked(row['runs'])
        assert len(runs) == int(row['seeds']) and (row['all'] == 'not run') == (not runs), row
        if not runs:
            continue
        check_measured(row, [([r], [1.0]) for r in runs])
        seen += len(runs)
        best = [pd.read_csv(REPORTS / f'runs/{r}/history.csv').test_top1.max() for r in runs]
        if not np.isnan(best).any():
            assert row['best epoch, chosen on test'] == mean_sd(np.array(best) / 100)
        for r in runs:
            assert (
                json.loads((REPORTS / f'runs/{r}/metrics.json').read_text())['recipe']
                == row['recipe']
            )
    results = pd.read_csv(REPORTS / 'results.csv')
    assert (
        seen
        == ((results.benchmark == 'nw_ucla') & ~results.recipe.str.startswith('ablation/')).sum()
    )


def test_readme_shows_rows_of_the_results():
    "The recipe with the best held-out accuracy of each network, with the figures of the long table."
    shown = next(markdown_tables(ROOT / 'README.md'))
    assert len(shown) <= 8 and len(shown[0]) <= 6
    long = [r for r in table_of('results') if r['benchmark'] == 'nw_ucla' and r['all'] != 'not run']
    ours = [r for r in shown if r['data'] == 'NW-UCLA']
    assert ours
    models = {'MSA-GCN': 'msagcn', 'MS-G3D': 'msg3d', 'both networks': 'msagcn msg3d'}
    for row in ours:
        streams = row['streams'].replace(' (each)', '').split()
        number_of_streams = len(streams) * (2 if '(each)' in row['streams'] else 1)
        of_kind = [
            r
            for r in long
            if r['model'] == models[row['network']]
            and len(r['streams'].split()) == number_of_streams
            and r['held out'] != '–'  # where nobody was, nothing is chosen
        ]
        best = max(of_kind, key=lambda r: number(r['held out'].split()[0]))
        assert set(streams) == set(best['streams'].split())
        assert row['top-1, % (95 %)'] == f'{best["all"]} ({best["95 % of all"]})'
        assert (row['clean, or beside it'], row['seeds']) == (best['clean'], best['seeds'])


def test_fusions():
    "The fitted weights of fusion.csv, not the figures beside them, give the table's, test and gain too."
    given = pd.read_csv(REPORTS / 'fusion.csv', dtype=str)
    rows, seen = table_of('fusion'), set()
    for row in rows:
        here = given[
            (given.benchmark == row['benchmark'])
            & (given.models == row['models'])
            & (given.recipe == row['recipe'])
            & (given.streams == row['streams'])
        ]
        assert (row['all'] == 'not run') == (not len(here))
        for source, name in (
            ('held-out', 'all'),
            ('release', "all, release's weights"),
            ('equal', 'all, equal weights'),
        ):
            of_source = here[here.weights_from == source]
            if source == 'held-out':
                of_source = of_source[
                    of_source.weights_of.fillna(of_source.recipe) == row['on clips of']
                ]
            tries = [
                (r.runs.split(), [float(w) for w in r.weights.split()])
                for r in of_source.itertuples()
            ]
            if not tries:
                assert row[name] in ('–', 'not run')
                continue
            seen |= set(of_source.index)
            right = np.stack([is_right(*t)[1] for t in tries])
            assert row[name] == mean_sd(right.mean(1))
            if source != 'held-out':
                continue
            check_measured(row, tries)
            if not len(is_right(*tries[0], 'val')[1]):  # the weights are another recipe's
                assert row['gain'] == row['p'] == '–'
                continue
            held = [{r: is_right([r], [1.0], 'val')[1].mean() for r in t[0]} for t in tries]
            alone = np.stack([is_right([max(h, key=h.get)], [1.0])[1] for h in held])
            assert abs(number(row['gain']) - 100 * (right.mean() - alone.mean())) < 0.006
            for p, a, b in zip(row['p'].split(), right, alone, strict=True):
                more, fewer = int((a & ~b).sum()), int((b & ~a).sum())
                coins = np.random.default_rng(0).binomial(more + fewer, 0.5, 200_000)
                want = (np.abs(coins - (more + fewer) / 2) >= abs(more - fewer) / 2).mean()
                assert abs(float(p.lstrip('<')) - want) < 0.006, (p, want)
    assert len(seen) == len(given)


def test_what_was_not_run_says_so():
    results = pd.read_csv(REPORTS / 'results.csv')
    table = result_table(REPORTS)
    assert set(table.benchmark) == set(expected()) | set(results.benchmark)
    for b, rows_of_all in expected().items():
        for model, streams in rows_of_all:
            rows = table[
                (table.benchmark == b) & (table.model == model) & (table.streams == streams)
            ]
            assert len(rows)
            if b not in set(results.benchmark):
                assert rows[['all', 'seeds', 'runs', 'clean', 'difference']].values.tolist() == [
                    ['not run', '0', '', '–', '–']
                ]
    told = [r for name in ('results', 'fusion', 'ablation') for r in table_of(name)]
    told = [r for r in told if r['all'] == 'not run']
    assert {r['benchmark'] for r in told} >= {
        b for b in expected() if b not in set(results.benchmark)
    }
    assert all(
        not re.search(r'\d\d\.\d\d', ' '.join(v for k, v in r.items() if k not in COST.values()))
        for r in told
    )


def test_ablations_that_were_not_run_say_so():
    "After the rows of runs there is one for each variant that was measured for its cost alone."
    given = pd.read_csv(need(REPORTS / 'ablation_cost.csv', 'costs'), dtype=str).fillna('–')
    results = pd.read_csv(REPORTS / 'results.csv')
    ran = set(zip(results.benchmark, results.model, results.recipe))
    want = [
        (
            r.benchmark,
            r.model,
            r.recipe.removeprefix('ablation/'),
            r.params_m,
            r.gflop,
            r.step_s,
            r.mib,
        )
        for r in given.itertuples()
        if (r.benchmark, r.model, r.recipe) not in ran
    ]
    table = ablation_table(REPORTS)
    rest = table[table['all'] == 'not run']
    assert rest.index.tolist() == list(range(len(table) - len(want), len(table)))
    assert (
        list(
            rest[['benchmark', 'model', 'ablation', *COST.values()]].itertuples(
                index=False, name=None
            )
        )
        == want
    )
    other = rest.drop(
        columns=['benchmark', 'model', 'ablation', *COST.values(), 'all', 'seeds', 'runs']
    )
    assert (rest.seeds == '0').all() and (rest.runs == '').all() and (other == '–').all(axis=None)
    assert (table.seeds[: len(table) - len(want)] != '0').all()


def test_the_latest_verdicts(tmp_path):
    """The last row of a run counts.

    Runs without one, and fusions, have a dash, and so has everything without the file.
    """
    for name in ('results.csv', 'fusion.csv'):
        shutil.copy(REPORTS / name, tmp_path)
    for name in ('runs', 'data'):
        (tmp_path / name).symlink_to(REPORTS / name)
    assert (result_table(tmp_path).again == '–').all() and (
        ablation_table(tmp_path).again == '–'
    ).all()
    results = pd.read_csv(REPORTS / 'results.csv')
    a, b = results[~results.recipe.str.startswith('ablation/')].run_id[:2]
    c = results[results.recipe.str.startswith('ablation/')].run_id.iloc[0]
    (tmp_path / 'verify.csv').write_text(
        f'run_id,verdict\n{a},bit-equal\n{b},different\n{a},equal within 1.0e-06\n'
        f'{c},different\n{b},bit-equal\n'
    )
    for table, want in (
        (result_table, {a: 'equal within 1.0e-06', b: 'bit-equal'}),
        (ablation_table, {c: 'different'}),
    ):
        t = table(tmp_path)
        assert t.columns[-2:].tolist() == ['again', 'runs']
        seen = [[want.get(r, '–') for r in runs.split(' ')] for runs in t.runs]
        fused = [len(s) > max(int(n), 1) for s, n in zip(seen, t.seeds)]  # more runs than seeds
        assert t.again.tolist() == [
            '–' if f else ' / '.join(dict.fromkeys(s)) for s, f in zip(seen, fused)
        ]
    (tmp_path / 'verify.csv').write_text('run,verdict\n')
    with pytest.raises(MsagcnError, match='verify.csv: has no column run_id'):
        result_table(tmp_path)


def test_a_folder_that_is_not_there(tmp_path, capfd):
    assert main(['tables', '-p', 'reports_dir', str(tmp_path / 'nosuch')]) == 2
    complaint = capfd.readouterr().err.strip()
    assert (
        f'{tmp_path}/nosuch: no such folder' in complaint
        and len(complaint.splitlines()) == 1
        and not (tmp_path / 'nosuch').exists()
    )


def test_published_figures_are_those_of_the_file():
    given = pd.read_csv(REPORTS / 'published.csv', dtype=str).fillna('')
    assert (given.source != '').all() and not given.duplicated(
        ['benchmark', 'model', 'streams', 'claim']
    ).any()
    table = result_table(REPORTS)
    for r in given[given.claim != 'others'].itertuples():
        column = 'paper' if r.claim == 'paper' else "release's claim"
        rows = table[
            (table.benchmark == r.benchmark)
            & (table.model == r.model)
            & (table.streams == r.streams)
        ]
        assert r.benchmark not in expected() or len(rows) and (rows[column] == r.top1).all(), r
    for row in table[table.difference != '–'].to_dict('records'):
        other = row['paper'] if row['paper'] != 'not stated' else row["release's claim"]
        assert (
            abs(number(row['difference']) - (number(row['all'].split(' ')[0]) - float(other)))
            < 0.011
        )


def test_the_tables_in_reports_are_the_present_ones(tmp_path):
    for name in ('results.csv', 'fusion.csv', 'published.csv', 'ablation_cost.csv', 'verify.csv'):
        if (REPORTS / name).exists():
            shutil.copy(REPORTS / name, tmp_path)
    for name in ('runs', 'data'):
        (tmp_path / name).symlink_to(REPORTS / name)
    for path in write_tables(tmp_path):
        assert path.read_text() == (REPORTS / f'tables/{path.name}').read_text(), (
            f'{path.name}: run msagcn tables'
        )


@pytest.mark.parametrize(
    'name, table',
    [('results', result_table), ('fusion', fusion_table), ('ablation', ablation_table)],
)
def test_one_frame_in_four_forms(name, table):
    frame, folder = table(REPORTS), REPORTS / 'tables'
    pd.testing.assert_frame_equal(read_back(folder / f'{name}.csv'), frame)
    page = (folder / f'{name}.html').read_text()
    for tag in ('table', 'thead', 'tbody', 'tr', 'th', 'td', 'a'):
        assert len(re.findall(rf'<{tag}[ >]', page)) == page.count(f'</{tag}>'), tag
    assert page.count('<tr') == len(frame) + 1
    for run in re.findall(r'href="\.\./(runs/[^"]+)"', page):
        assert (REPORTS / run / 'metrics.json').exists()
    if not len(frame):
        return
    first, *links = next(markdown_tables(folder / f'{name}.md'))
    assert (
        len(links) + 1 == len(frame)
        and [first[c] for c in frame.columns[:-1]] == frame.iloc[0, :-1].tolist()
    )


@pytest.mark.parametrize('name', ['results', 'fusion', 'ablation'])
def test_latex_is_balanced(name, tmp_path):
    """Braces, environments and cells balance, and nothing special is unescaped.

    Where LaTeX is installed, it compiles.
    """
    text = (REPORTS / f'tables/{name}.tex').read_text()
    if text.startswith('%'):
        return
    bare = re.sub(r'\\[\\&%$#_{}]', '', text)
    depth = 0
    for c in bare:
        depth += (c == '{') - (c == '}')
        assert depth >= 0
    assert depth == 0 and bare.count('$') % 2 == 0
    assert text.count(r'\begin{tabular}') == text.count(r'\end{tabular}') == 1
    kinds = re.search(r'\\begin{tabular}{([lr]+)}', text)[1]
    rows = [line for line in text.splitlines() if line.endswith(r'\\')]
    assert rows and all(len(re.findall(r'(?<!\\)&', r)) == len(kinds) - 1 for r in rows)
    assert (
        not re.search(r'(?<!\\)[%#_]', text)
        and '–' not in text
        and '±' not in text
        and '−' not in text
    )
    if latex := shutil.which('pdflatex'):
        (tmp_path / 't.tex').write_text(
            '\\documentclass{article}\\begin{document}\n' + text + '\\end{document}\n'
        )
        sh(latex, '-interaction=batchmode', '-halt-on-error', 't.tex', cwd=tmp_path)


def test_a_figure_that_its_scores_do_not_give_is_refused(tmp_path):
    run = pd.read_csv(REPORTS / 'results.csv', dtype=str).query("benchmark == 'nw_ucla'").iloc[0]
    copied_records(tmp_path)
    record = tmp_path / f'runs/{run.run_id}/metrics.json'
    record.write_text(record.read_text().replace(f'"top1": {float(run.top1)}', '"top1": 99.14', 1))
    with pytest.raises(MsagcnError, match=rf'says 99.14, the score files give {run.top1}'):
        result_table(tmp_path, ['nw_ucla'])


def copied_records(folder):
    "The recorded runs, so that a test may change them, with all that tables need of them."
    need(REPORTS / 'results.csv', 'results')
    for name in ('fusion.csv', 'published.csv', 'ablation_cost.csv', 'verify.csv'):
        shutil.copy(REPORTS / name, folder)
    shutil.copytree(REPORTS / 'runs', folder / 'runs')
    (folder / 'data').symlink_to(REPORTS / 'data')


def figures(reports_dir):
    "All rows of all tables, whatever their order and that of the seeds within a row."
    tables = (table(reports_dir) for table in (result_table, fusion_table, ablation_table))
    rows = (row.astype(str) for t in tables for _, row in t.iterrows())
    seeds = {'runs', 'p, each seed', 'again'}
    return sorted(
        [' '.join(sorted(v.split(' '))) if k in seeds else v for k, v in row.items()]
        for row in rows
    )


def test_the_records_alone_make_the_tables(tmp_path):
    """`results.csv` is what the records give, byte for byte.

    Edited, cut short or taken away, it changes no figure; only the order of rows is kept in it.
    """
    copied_records(tmp_path)
    want, given = figures(REPORTS), (REPORTS / 'results.csv').read_text()
    derived = tmp_path / 'results.csv'
    assert figures(tmp_path) == want  # no file at all
    cut = ''.join(given.splitlines(keepends=True)[:9])
    for odd in (re.sub(r'\b\d\d\.\d\d', '11.11', given), cut, 'run_id\n'):
        derived.write_text(odd)
        assert figures(tmp_path) == want
    derived.write_text(re.sub(r'\b\d\d\.\d\d', '11.11', given))
    for path in write_tables(tmp_path):
        assert path.read_text() == (REPORTS / f'tables/{path.name}').read_text(), path.name
    assert derived.read_text() == given
