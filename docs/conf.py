"""The site: `make docs` gathers notebooks, texts, tables, reports and figures in docs/made/, and Sphinx makes pages of them that need no network."""
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
from msagcn.parameters import explained
from msagcn.tables import read_back, to_markdown

HERE, ROOT = Path(__file__).resolve().parent, Path(msagcn.__file__).resolve().parents[1]      # ROOT: the checkout that the package is in
MADE = HERE / 'made'
sys.path.insert(0, str(HERE))
import figures

project, author, version, release = 'msagcn', 'The msagcn developers', msagcn.__version__, msagcn.__version__
copyright = '2026 onwards, the msagcn developers'
extensions = ['myst_nb']
exclude_patterns = ['_build', 'made/lists', 'made/tables']            # fragments that pages include

html_theme = 'furo'
html_title = 'msagcn'
html_extra_path = ['made/extra']                        # reports, as they are
html_static_path = ['site.css']
html_css_files = ['site.css']
html_copy_source = html_show_sourcelink = False
html_show_search_summary = False                        # it would fetch pages, which browsers refuse to pages from disk
html_math_renderer = 'mathml'                           # below; needs neither script nor font
myst_enable_extensions = ['dollarmath']
smartquotes = False                                     # what is written is shown
myst_heading_anchors = 3
nb_execution_mode = 'off'                               # `make test` runs the notebooks
nb_ipywidgets_js = {}                                   # would come from elsewhere
suppress_warnings = ['myst.header']                     # notebooks go on from one level to another as they like

GROUPS = {'0': 'Floor', '1': 'Skeletons and data sets', '2': 'Graphs, readers, streams, pictures', '3': 'Networks and feeds',
          '4': 'Scores, weights, export', '5': 'Training', '6': 'Experiments and reports', '7': 'Command', 'r': 'Runners', 'b': 'Benchmarks'}
ALONE = ['model', 'streams', 'recipe', 'epochs', 'seeds', 'held out', 'all', '95 % of all', 'clean', 'best epoch, chosen on test', 'again', 'runs']
FUSED = ['models', 'streams', 'recipe', 'fitted weights', 'held out', 'all', '95 % of all', 'clean', 'gain', '95 % of gain', 'p']
OTHERS = ['benchmark', 'model', 'streams', 'paper', "release's claim", 'all', 'difference', 'seeds', 'runs']


def fresh(folder):
    "An empty folder in docs/made/."
    shutil.rmtree(MADE / folder, ignore_errors=True)
    (MADE / folder).mkdir(parents=True)
    return MADE / folder


def to_reports(text, up):
    "Markdown whose links to files in reports/ lead to their copies on the site; `up` leads from the page to the site's root."
    def one(m):
        path = re.sub(r'^runs/([^/]*)$', r'runs/\1/metrics.json', re.sub(r'^(tables/.*)\.md$', r'\1.html', m[2]))
        return f'<a href="{up}reports/{path}">{m[1]}</a>'
    return re.sub(r'\[([^\]]*)\]\(reports/([^)]*)\)', one, text)


def notebook(source, to):
    "A copy without nbdev's own cells; cells that are in the library are tagged, and lose the line that says so."
    nb, cells = json.loads(source.read_text(encoding='utf-8')), []
    for cell in nb['cells']:
        flags = [line for line in cell['source'] if re.match(r'#\| ?\w', line)] if cell['cell_type'] == 'code' else []
        if any(re.match(r'#\| ?(hide|default_exp)', f) for f in flags): continue
        if any(re.match(r'#\| ?export', f) for f in flags): cell['metadata'] = cell['metadata'] | {'tags': ['library']}
        cells.append(cell | {'source': [line for line in cell['source'] if line not in flags]})
    if source.name[0].isdigit(): cells[0]['source'][0] = cells[0]['source'][0].replace('# ', f'# {source.name[:2]} ', 1)   # in lists and searches
    to.parent.mkdir(exist_ok=True)
    to.write_text(json.dumps(nb | {'cells': cells}), encoding='utf-8')


def parameters(verb, about):
    "What a command may be told, in Markdown."
    kind, _, what = about
    rows = [(f'`{name}`', f'`{default}`', text) for name, default, text in explained(kind)]
    return f'## {verb}\n\n{what[0].upper()}{what[1:]}.\n\n' + to_markdown(pd.DataFrame(rows, columns=['parameter', 'by default', 'what it is']))


def gather():
    "What the site shows besides the pages in this folder."
    library, listed = fresh('library'), {g: [] for g in GROUPS}
    for p in sorted((ROOT / 'nbs').glob('**/*.ipynb')):
        name = p.relative_to(ROOT / 'nbs').with_suffix('').as_posix()
        if name == 'index' or '.ipynb_checkpoints' in name: continue           # the README is made of it
        notebook(p, library / f'{name}.ipynb')
        listed[name[0]].append(f'made/library/{name}')
    (fresh('lists') / 'notebooks.md').write_text('\n\n'.join(
        f'```{{toctree}}\n:caption: {title}\n\n' + '\n'.join(listed[g]) + '\n```' for g, title in GROUPS.items() if listed[g]), encoding='utf-8')

    (MADE / 'lists/parameters.md').write_text('\n\n'.join(parameters(*v) for v in VERBS.items()), encoding='utf-8')

    texts = fresh('project')
    for name in ('README.md', 'DATA.md', 'CONTRIBUTING.md', 'CHANGELOG.md'):
        (texts / name).write_text(to_reports((ROOT / name).read_text(encoding='utf-8'), '../../'), encoding='utf-8')
    shutil.copy(ROOT / 'CITATION.cff', texts)

    tables, kept = fresh('tables'), ROOT / 'reports/tables'
    results, fusion, ablation = (read_back(kept / f'{t}.csv') for t in ('results', 'fusion', 'ablation'))
    ours = results.benchmark == 'nw_ucla'
    said = (results['all'] != 'not run') | (results.paper != 'not stated') | (results["release's claim"] != 'not stated')
    for name, frame in dict(nw_ucla=results.loc[ours & ~results.streams.str.contains(' '), ALONE], others=results.loc[~ours & said, OTHERS],
                            fusion=fusion[FUSED], ablation=ablation).items():
        text = to_reports(to_markdown(frame, 'reports/'), '') if len(frame) else 'Not run.'
        (tables / f'{name}.md').write_text(text + '\n', encoding='utf-8')

    shutil.copytree(ROOT / 'reports', fresh('extra') / 'reports', ignore=shutil.ignore_patterns('.*', '*.npz'))
    figures.draw(fresh('figures'), kept / 'results.csv', ROOT / 'reports/runs')


def formula(display):
    "A formula as MathML; what cannot be converted stays as it was written."
    def visit(page, node):
        tex = node.astext().strip()
        try: page.body.append(convert(tex, display=display))
        except Exception: page.body.append(f'<code>{page.encode(tex)}</code>')       # its errors have no common class
        raise nodes.SkipNode
    return visit, None


def setup(app):
    app.add_html_math_renderer('mathml', formula('inline'), formula('block'))
    gather()
