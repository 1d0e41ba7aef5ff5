"""The site: `make docs` gathers notebooks, texts, tables, reports and figures in docs/made/.

Sphinx makes pages of them that need no network."""

import json
import re
import shutil
import sys
from pathlib import Path

import pandas as pd
from docutils import nodes
from latex2mathml.converter import convert

import msagcn
from msagcn.cli import VERBS
from msagcn.experiments.reading import explained
from msagcn.report.table_forms import read_back, to_markdown

HERE = Path(__file__).resolve().parent
ROOT = Path(msagcn.__file__).resolve().parents[1]  # the checkout that the package is in
MADE = HERE / 'made'
sys.path.insert(0, str(HERE))
import figures
import lists
import navigation
from signatures import signatures

project, author = 'msagcn', 'The msagcn developers'
version = release = msagcn.__version__
copyright = '2026 onwards, the msagcn developers'
extensions = ['myst_nb']
exclude_patterns = ['_build', 'made/lists', 'made/tables']  # fragments that pages include

html_theme = 'furo'
html_title = 'msagcn'
html_extra_path = ['made/extra']  # reports, as they are
html_static_path = ['site.css']
html_css_files = ['site.css']
html_copy_source = html_show_sourcelink = False
html_show_search_summary = False  # it would fetch pages, which browsers refuse to pages from disk
html_math_renderer = 'mathml'  # below; needs neither script nor font
myst_enable_extensions = ['dollarmath']
smartquotes = False  # what is written is shown
myst_heading_anchors = 3
nb_execution_mode = 'off'  # what is shown was kept by `make figures`; `make test` compares
nb_ipywidgets_js = {}  # would come from elsewhere
suppress_warnings = ['myst.header']  # notebooks go on from one level to another as they like

GROUPS = {
    '': 'Core and command',
    'distributed': 'Several processes',
    'data': 'Skeletons and data sets',
    'feeds': 'Network input',
    'models': 'Networks',
    'fast': 'Faster forms',
    'training': 'Training',
    'foreign': 'Other programs',
    'experiments': 'Experiments',
    'report': 'Reports',
    'bench': 'Benchmarks',
    'runs': 'Runners',
}  # folder of notebooks -> its heading
ALONE = [
    'model',
    'streams',
    'recipe',
    'epochs',
    'seeds',
    'held out',
    'all',
    '95 % of all',
    'clean',
    'best epoch, chosen on test',
    'again',
    'runs',
]
FUSED = [
    'models',
    'streams',
    'recipe',
    'fitted weights',
    'held out',
    'all',
    '95 % of all',
    'clean',
    'gain',
    '95 % of gain',
    'p',
]
OTHERS = [
    'benchmark',
    'model',
    'streams',
    'paper',
    "release's claim",
    'all',
    'difference',
    'seeds',
    'runs',
]

LISTS = (
    'recipes strangers small_sets precog redraws emulated finetune validity real_time chosen tried tilted '
    'worth leaked exchanged costs again published'
).split()


def fresh(folder):
    "An empty folder in docs/made/."
    shutil.rmtree(MADE / folder, ignore_errors=True)
    (MADE / folder).mkdir(parents=True)
    return MADE / folder


def to_reports(text, up):
    """Markdown whose links to files in reports/ lead to their copies on the site.

    `up` leads from the page to the site's root."""

    def link(m):
        path = re.sub(r'^(tables/.*)\.md$', r'\1.html', m[2])
        path = re.sub(r'^runs/([^/]*)$', r'runs/\1/metrics.json', path)
        return f'<a href="{up}reports/{path}">{m[1]}</a>'

    return re.sub(r'\[([^\]]*)\]\(reports/([^)]*)\)', link, text)


def alternative(cells):
    "What is said of a picture: the last paragraph before its cell, as plain text."
    for cell in reversed(cells):
        if cell['cell_type'] == 'markdown':
            last = ''.join(cell['source']).strip().split('\n\n')[-1]
            return re.sub(r'\[([^\]]*)\]\([^)]*\)|[#>*`$]', r'\1', last).replace('\n', ' ').strip()
    return ''


def api(cells):
    "A cell with the signatures of the module that a notebook exports; none for other notebooks."
    code = '\n'.join(''.join(c['source']) for c in cells if c['cell_type'] == 'code')
    module = re.search(r'^#\| ?default_exp ([\w.]+)', code, re.M)
    text = signatures(module[1]) if module and module[1] != '__main__' else ''
    cell = dict(cell_type='markdown', id='signatures', metadata={}, source=text.splitlines(True))
    return [cell] if text else []


def notebook(source, to):
    """Write a copy without nbdev's own cells, and with the signatures at its end.

    Cells that are in the library are tagged, and lose the line that says so."""
    nb, cells = json.loads(source.read_text(encoding='utf-8')), []
    end = api(nb['cells'])
    for cell in nb['cells']:
        flags = []
        if cell['cell_type'] == 'code':
            flags = [line for line in cell['source'] if re.match(r'#\| ?\w', line)]
        if any(re.match(r'#\| ?(hide|default_exp)', f) for f in flags):
            continue
        if any(re.match(r'#\| ?export', f) for f in flags):
            cell['metadata'] = cell['metadata'] | {'tags': ['library']}
        if any('image/png' in o.get('data', {}) for o in cell.get('outputs', [])):
            image = dict(alt=alternative(cells))
            cell['metadata'] = cell['metadata'] | {'mystnb': {'image': image}}
        cells.append(cell | {'source': [line for line in cell['source'] if line not in flags]})
    if source.name[0].isdigit():  # numbers in lists and searches
        title = cells[0]['source'][0]
        cells[0]['source'][0] = title.replace('# ', f'# {source.name[:2]} ', 1)
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(json.dumps(nb | {'cells': cells + end}), encoding='utf-8')


def parameters(verb, about):
    "The parameters of a command, in Markdown."
    kind, _, what = about
    rows = [(f'`{name}`', f'`{default}`', text) for name, default, text in explained(kind)]
    table = pd.DataFrame(rows, columns=['parameter', 'by default', 'what it is'])
    return f'## {verb}\n\n{what[0].upper()}{what[1:]}.\n\n' + to_markdown(table)


def gather():
    "What the site shows besides the pages in this folder."
    gather_notebooks()
    (MADE / 'lists/parameters.md').write_text(
        '\n\n'.join(parameters(*v) for v in VERBS.items()), encoding='utf-8'
    )
    gather_texts()
    gather_tables()
    shutil.copytree(
        ROOT / 'reports', fresh('extra') / 'reports', ignore=shutil.ignore_patterns('.*', '*.npz')
    )
    figures.draw(fresh('figures'), ROOT / 'reports/tables/results.csv', ROOT / 'reports/runs')


def gather_notebooks():
    "Copies of the notebooks, and their list by folder; the README is made of `index`."
    library, listed = fresh('library'), {g: [] for g in GROUPS}
    for p in sorted((ROOT / 'nbs').glob('**/*.ipynb')):
        name = p.relative_to(ROOT / 'nbs').with_suffix('').as_posix()
        if name == 'index' or '.ipynb_checkpoints' in name:
            continue
        notebook(p, library / f'{name}.ipynb')
        listed['' if p.parent == ROOT / 'nbs' else p.parent.name].append(f'made/library/{name}')
    trees = [
        f'```{{toctree}}\n:caption: {title}\n\n' + '\n'.join(listed[g]) + '\n```'
        for g, title in GROUPS.items()
        if listed[g]
    ]
    (fresh('lists') / 'notebooks.md').write_text('\n\n'.join(trees), encoding='utf-8')


def gather_texts():
    "The project's own texts."
    texts = fresh('project')
    for name in ('README.md', 'DATA.md', 'CONTRIBUTING.md', 'CHANGELOG.md'):
        text = (ROOT / name).read_text(encoding='utf-8').replace('](docs/', '](../../')
        (texts / name).write_text(to_reports(text, '../../'), encoding='utf-8')
    shutil.copy(ROOT / 'CITATION.cff', texts)


def gather_tables():
    "Parts of the tables in reports/, as Markdown."
    folder, names = fresh('tables'), ('results', 'fusion', 'ablation')
    results, fusion, ablation = (read_back(ROOT / f'reports/tables/{n}.csv') for n in names)
    ours = results.benchmark == 'nw_ucla'
    stated = (results.paper != 'not stated') | (results["release's claim"] != 'not stated')
    tables = dict(
        nw_ucla=results.loc[ours & ~results.streams.str.contains(' '), ALONE],
        others=results.loc[~ours & ((results['all'] != 'not run') | stated), OTHERS],
        fusion=fusion[FUSED],
        ablation=ablation,
    )
    for name in LISTS:
        (folder / f'{name}.md').write_text(getattr(lists, name)(ROOT) + '\n', encoding='utf-8')
    for name, frame in tables.items():
        text = to_reports(to_markdown(frame, 'reports/'), '') if len(frame) else 'Not run.'
        (folder / f'{name}.md').write_text(text + '\n', encoding='utf-8')


def formula(display):
    "A formula as MathML; what cannot be converted stays as it was written."

    def visit(page, node):
        tex = node.astext().strip()
        try:
            page.body.append(convert(tex, display=display))
        except Exception:
            page.body.append(f'<code>{page.encode(tex)}</code>')  # its errors have no common class
        raise nodes.SkipNode

    return visit, None


def setup(app):
    app.add_html_math_renderer('mathml', formula('inline'), formula('block'))
    app.connect('html-page-context', navigation.made_once, priority=400)  # before the theme's
    gather()
