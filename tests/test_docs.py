"""The site that `make docs` builds.

Every notebook is on it, its tables are those in reports/, its search finds the functions, and no page
loads anything from outside its folder. Skips where Sphinx is not installed.
"""

import csv
import json
import re
import shutil
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from conftest import ROOT, sh

from msagcn.data.nw_ucla import CLASSES, EXCHANGED

NOTEBOOKS = [
    p.relative_to(ROOT / 'nbs').with_suffix('')
    for p in sorted((ROOT / 'nbs').glob('**/*.ipynb'))
    if p.stem != 'index' and '.ipynb_checkpoints' not in p.parts
]
LOADS = dict(
    script='src',
    img='src',
    source='src',
    iframe='src',
    embed='src',
    video='src',
    audio='src',
    object='data',
    link='href',
)
# kinds of <link> that only say where
NOT_LOADED = {
    'index',
    'search',
    'next',
    'prev',
    'canonical',
    'author',
    'license',
}


def notebook_with(text):
    "The one notebook in which a text occurs, as in `NOTEBOOKS`."
    (name,) = [n for n in NOTEBOOKS if text in (ROOT / 'nbs' / f'{n}.ipynb').read_text('utf-8')]
    return name


MSAGCN = notebook_with('#| default_exp models.msagcn"')
DRAWINGS = notebook_with('def strongest_edges(')


@pytest.fixture(scope='module')
def built(tmp_path_factory):
    "The site and Sphinx's warnings; built from a copy, so that nothing in the checkout is written."
    for name in ('sphinx', 'myst_nb', 'furo'):
        pytest.importorskip(name, reason=f'{name} is not installed: pip install -e ".[docs]"')
    folder = tmp_path_factory.mktemp('docs')
    shutil.copytree(
        ROOT / 'docs',
        folder / 'docs',
        ignore=shutil.ignore_patterns('_build', 'made', '__pycache__'),
    )
    done = sh(
        sys.executable,
        '-m',
        'sphinx',
        '-q',
        '-b',
        'html',
        folder / 'docs',
        folder / 'site',
        cwd=folder,
    )
    return folder / 'site', done.stderr


@pytest.fixture(scope='module')
def site(built):
    return built[0]


class Page(HTMLParser):
    "What a page loads and links to, its table rows as text, its formulas, and its styles."

    def __init__(self, path):
        super().__init__()
        self.loads, self.links, self.rows, self.formulas, self.css, self.cell, self.inside = (
            [],
            [],
            [],
            0,
            '',
            None,
            '',
        )
        self.feed(path.read_text(encoding='utf-8'))

    def handle_starttag(self, tag, attributes):
        a, self.inside = dict(attributes), tag
        if a.get(LOADS.get(tag)) and not (
            tag == 'link' and set(a.get('rel', '').split()) & NOT_LOADED
        ):
            self.loads.append(a[LOADS[tag]])
        if a.get('srcset'):
            self.loads += [w.split()[0] for w in a['srcset'].split(',')]
        if tag == 'a' and a.get('href'):
            self.links.append(a['href'])
        self.css += ' ' + a.get('style', '')
        self.formulas += tag == 'math'
        if tag == 'tr':
            self.rows.append([])
        if tag in ('td', 'th'):
            self.rows[-1].append('')
        self.cell = tag in ('td', 'th') or self.cell and tag != 'table'

    def handle_endtag(self, tag):
        if tag in ('td', 'th'):
            self.cell = False
        self.inside = ''

    def handle_data(self, text):
        if self.cell:
            self.rows[-1][-1] += text.strip('\n')
        if self.inside == 'style':
            self.css += text


page_of = cache(Page)


def fetched(css):
    return [
        u
        for pair in re.findall(r'@import\s+["\']([^"\']+)|url\(\s*["\']?([^"\')]+)', css)
        for u in pair
        if u
    ]


def test_sphinx_gives_no_warnings(built):
    assert not [line for line in built[1].splitlines() if 'WARNING' in line or 'ERROR' in line], (
        built[1]
    )


@pytest.mark.parametrize('name', NOTEBOOKS, ids=str)
def test_every_notebook_is_a_page(site, name):
    cells = json.loads((ROOT / 'nbs' / name).with_suffix('.ipynb').read_text())['cells']
    page = (site / 'made/library' / name).with_suffix('.html').read_text(encoding='utf-8')
    exported = [
        c
        for c in cells
        if c['cell_type'] == 'code' and re.search(r'^#\| ?export', ''.join(c['source']), re.M)
    ]
    assert page.count('tag_library') == len(exported)


def test_library_pages_show_figures_that_say_what_is_seen(site):
    images = [
        m[0]
        for name in NOTEBOOKS
        for m in re.finditer(
            r'<img[^>]*>', (site / 'made/library' / name).with_suffix('.html').read_text('utf-8')
        )
    ]
    shown = [i for i in images if '_images/' in i]
    assert len(shown) >= 40
    assert all(re.search(r'alt="[^"]{10,}"', i) for i in shown)
    assert '_images/poses.svg' in (site / 'index.html').read_text('utf-8')


def test_classes_have_signatures_and_their_parameters_meaning(site):
    for name, called, row in (
        (MSAGCN, 'MSAGCN', ['without', 'tuple', '()', 'parts to leave out, of PARTS']),
        (notebook_with('class MSG3D('), 'MSG3D', ['M', 'int', '1', 'bodies']),
        (notebook_with('def ring_adjacency('), 'ring_adjacency', ['window', 'int', '1', 'frames']),
    ):
        path = (site / 'made/library' / name).with_suffix('.html')
        text = path.read_text(encoding='utf-8')
        assert row in page_of(path).rows
        after = text[text.index('id="signatures"') :]
        assert re.search(rf'<h3>.*?{called}', after, re.S)


def test_pages_load_nothing_from_elsewhere(site):
    pages = sorted(site.rglob('*.html'))
    assert len(pages) > len(NOTEBOOKS) and site / 'reports/nw_ucla.html' in pages
    for path in pages:
        page = page_of(path)
        for url in page.loads + fetched(page.css):
            if url.startswith(('data:', '#')):
                continue
            parts = urlsplit(url)
            assert not parts.scheme and not parts.netloc, f'{path}: loads {url}'
            assert (path.parent / unquote(parts.path)).is_file(), f'{path}: {url} is not there'
    for path in site.rglob('*.css'):
        assert not [
            u for u in fetched(path.read_text(encoding='utf-8')) if re.match('(https?:)?//', u)
        ], path


def test_links_lead_somewhere(site):
    for path in sorted(site.rglob('*.html')):
        if path.is_relative_to(site / 'reports'):
            continue  # those are as they were committed
        for url in page_of(path).links:
            parts = urlsplit(url)
            if not parts.scheme and parts.path:
                assert (path.parent / unquote(parts.path)).is_file(), f'{path}: {url}'


def csv_rows(name):
    from msagcn.report.table_forms import read_back

    return read_back(ROOT / f'reports/tables/{name}.csv').to_dict('records')


OF_TABLES = 'model', 'models', 'benchmark', 'set', 'table'
OF_LISTS = (
    'recipe',
    'variant',
    'feed',
    'network',
    'steps',
    'emulated processor',
    'topology',
    'action',
    'person',
    'a run of',
    'verdict',
    'data',
)  # of docs/lists.py, in order


def page_rows(site, heads=OF_TABLES):
    "The rows of each table on the page of results that begins with such a column, by column."
    tables, head, wanted = [], None, False
    for row in page_of(site / 'results.html').rows:
        if row[0] in OF_TABLES + OF_LISTS:
            head, wanted = row, row[0] in heads
            if wanted:
                tables.append([])
        elif wanted:
            tables[-1].append(dict(zip(head, row)))
    return tables


def test_the_tables_are_those_in_reports(site):
    alone, fused, *rest = page_rows(site)
    here = [
        r for r in csv_rows('results') if r['benchmark'] == 'nw_ucla' and ' ' not in r['streams']
    ]
    stated = [
        r
        for r in csv_rows('results')
        if r['benchmark'] != 'nw_ucla'
        and not (r['paper'] == 'not stated' == r["release's claim"] and r['all'] == 'not run')
    ]
    parts = [(rest[0], csv_rows('ablation'))] if csv_rows('ablation') else []
    for shown, kept in ((alone, here), (fused, csv_rows('fusion')), (rest[-2], stated), *parts):
        assert len(shown) == len(kept) > 0
        for s, k in zip(shown, kept):
            assert {c: v for c, v in s.items() if c != 'runs'} == {
                c: v for c, v in k.items() if c in s and c != 'runs'
            }
    assert len(rest) == 3 + bool(csv_rows('ablation'))
    assert len(alone[0]) == 12 and len(fused[0]) == 11  # columns


def test_the_lists_are_computed_from_reports(site):
    "Recipes, what held-out clips said, PRECOG's rows, worth, all copied clips, and what follows."
    (
        recipes,
        tried,
        tilted,
        precog,
        redraws,
        emulated,
        worth,
        copied,
        exchanged,
        costs,
        again,
        published,
    ) = page_rows(site, OF_LISTS)
    results = [r for r in plain_rows('results.csv') if r['benchmark'] == 'nw_ucla' and r['top1']]
    assert sum(int(r['in all']) for r in recipes) == len(results) and len(costs) == len(recipes)
    choice = [r for r in plain_rows('selection.csv') if r['recipe'].startswith('choice/')]
    choice = [r for r in choice if r['benchmark'] == 'nw_ucla']
    as_they_are = [r['top1'] for r in plain_rows('tilted.csv') if r['degrees'] == '0']
    assert [float(r['0°']) for r in tilted] == pytest.approx(
        list(map(float, as_they_are)), abs=0.06
    )
    assert sorted(r['top-1'] for r in tried) == sorted(r['val_top1'] for r in choice)
    by_name = {(r['network'], r['variant'], r['held out']): float(r['top-1']) for r in tried}
    compared = [r for r in tried if r['beside'] != '–']
    assert len(compared) >= 6 and any(float(r['gain']) > 0 for r in compared)
    for r in compared:
        other = by_name[r['network'], r['beside'], r['held out']]
        assert float(r['gain']) == pytest.approx(float(r['top-1']) - other, abs=0.06)
        assert 0 < float(r['p']) <= 1
    in_folds = plain_rows('precog.csv') + plain_rows('precog_msagcn.csv')
    top1 = {(r['model'], r['streams'], r['seed']): r['top1'] for r in in_folds}
    assert len(precog) == len({k[:2] for k in top1}) and {r['streams'] for r in precog} >= {
        'joint',
        'bone',
        'joint bone',
    }
    assert {r['top-1 of 70 clips'] for r in precog} <= set(top1.values())
    by_seed = [x for r in redraws for x in [*r['top-1 by seed'].split(), r['all seeds']]]
    assert by_seed == [f'{float(r["top1"]):.2f}' for r in plain_rows('redraws.csv')]
    assert [r['tensors that differ'].split()[0] for r in emulated] == [
        r['differ'] for r in plain_rows('emulated.csv')
    ]
    trained = [r for r in plain_rows('facts/worth.csv') if r['part'] == 'as trained']
    assert [r['as trained'] for r in worth] == [r['top1'] for r in trained]
    uniform = {
        (r['run'], r['on']): r
        for r in plain_rows('facts/worth.csv')
        if r['blocks'] == 'all' and r['instead'] == 'uniform' and r['part'] == 'stage attention'
    }
    for shown, kept in zip(worth, trained):
        r = uniform[kept['run'], kept['on']]
        assert shown['clips'].startswith(kept['on'] or 'test part')
        lost = f'{float(kept["top1"]) - float(r["top1"]):.1f}' + ' *' * (float(r['p']) < 0.05)
        assert shown['stage attention: uniform'] == lost
    note = next((ROOT / 'reports/data').glob('nw_ucla-*.json'))
    names = {f'{r["action"]}_{n}_v03' for r in copied for n in r['person and take'].split()}
    assert names == set(json.loads(note.read_text())['leaked']) and len(names) == 95
    taken = {(r['person'], r['named'], r['recognised as']) for r in exchanged}
    each_other = {(p, a, b) for p, a, b in taken if (p, b, a) in taken}
    assert each_other == {
        (str(person), CLASSES[a], CLASSES[b])
        for (person, _), pair in EXCHANGED.items()
        for a, b in (pair, pair[::-1])
    }
    runs = {r['run_id'] for r in plain_rows('verify.csv')}
    assert sum(int(r['in all']) for r in again) == len(runs)
    stated = plain_rows('published.csv')
    assert [r['top-1'] for r in published] == [r['top1'] for r in stated]


def plain_rows(name):
    with open(ROOT / 'reports' / name, newline='') as f:
        return list(csv.DictReader(f))


def test_formulas_are_drawn_by_the_browser(site):
    assert page_of(site / 'networks.html').formulas == 2
    page = site / 'made/library/models/14_graph_conv.html'
    assert page_of(page).formulas > 10 and r'\mathrm' not in page.read_text(encoding='utf-8')


def test_the_search_knows_functions_and_words(site):
    index = (site / 'searchindex.js').read_text(encoding='utf-8')
    index = json.loads(re.fullmatch(r'Search\.setIndex\((.*)\);?', index.strip(), re.S)[1])

    def found(word):
        at = [index[terms].get(word, []) for terms in ('terms', 'titleterms')]
        return {index['docnames'][i] for a in at for i in (a if isinstance(a, list) else [a])}

    # stems, as the index has them
    assert f'made/library/{DRAWINGS}' in found('strongest_edg')
    assert 'measuring' in found('mcnemar')
    assert {f'made/library/{n}' for n in NOTEBOOKS} <= set(index['docnames'])


def test_in_a_browser_without_a_network(site, tmp_path):
    """Pages open from disk in light and dark.

    Formulas have a size, the search finds, and nothing fails or complains.
    """
    api = pytest.importorskip('playwright.sync_api', reason='playwright is not installed')
    chromium = next(
        filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None
    )
    if chromium is None:
        pytest.skip('there is no Chromium here')
    wrong = []
    with api.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium, args=['--no-sandbox'])
        for scheme in ('light', 'dark'):
            page = browser.new_context(
                offline=True, color_scheme=scheme, viewport=dict(width=1280, height=900)
            ).new_page()
            page.on(
                'console',
                lambda m: wrong.append(m.text) if m.type in ('error', 'warning') else None,
            )
            page.on('pageerror', lambda e: wrong.append(str(e)))
            page.on(
                'request',
                lambda r: None if r.url.startswith(('file:', 'data:')) else wrong.append(r.url),
            )
            page.on('requestfailed', lambda r: wrong.append(r.url))
            for name in (
                'index',
                'skeletons',
                'networks',
                'results',
                f'made/library/{MSAGCN}',
                'made/project/README',
            ):
                page.goto((site / f'{name}.html').as_uri())
                assert page.evaluate('document.documentElement.scrollWidth') <= 1280, (
                    f'{name}: wider than the window'
                )
                assert page.evaluate(
                    '[...document.images].every(i => i.complete && i.naturalWidth > 50)'
                ), f'{name}: a picture is missing'
                page.screenshot(path=tmp_path / f'{scheme}_{Path(name).name}.png')
            page.goto((site / 'networks.html').as_uri())
            assert all(
                page.evaluate(
                    '[...document.querySelectorAll("math")].map(m => m.getBoundingClientRect().height > 10)'
                )
            )
            assert (
                page.evaluate('getComputedStyle(document.body).backgroundColor')
                == 'rgb(255, 255, 255)'
            ) == (scheme == 'light')
            page.goto((site / 'search.html').as_uri() + '?q=strongest_edges')
            page.wait_for_selector(f'#search-results li a[href*="{DRAWINGS.name}"]')
        browser.close()
    assert not wrong


def test_the_navigation_shows_where_a_page_is(site):
    "Its own entry is marked, the groups that it is under are open, and all others lead somewhere."
    page = site / f'made/library/{MSAGCN}.html'
    text = page.read_text(encoding='utf-8')
    tree = text[text.index('class="sidebar-tree"') : text.index('<div class="main"')]
    (own,) = re.findall(r'<li class="[^"]*current-page[^"]*"><a [^>]*href="([^"]*)"', tree)
    assert own == '#' and tree.count('checked=""') == len(
        re.findall(r'l[1-8] current has-ch', tree)
    )
    links = re.findall(r'href="([^"#:]+)"', tree)
    assert len(links) > len(NOTEBOOKS) and all((page.parent / link).is_file() for link in links)
