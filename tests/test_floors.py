"""Packages import downward only, by one table; within a package, notebooks with a lower number."""

import ast
import json
import re

import pytest
from conftest import ROOT

# from the bottom to the top; a package imports only from those that its line names, and from itself
MAY_IMPORT = {
    'locks': '',
    'core': 'locks',
    'writers': 'core locks',
    'stopping': '',
    'former': '',
    'native': 'core',
    'distributed': 'core stopping writers',
    'data': 'core writers',
    'feeds': 'core native data',
    'models': 'core data.skeleton',
    'fast': 'core native distributed.ranks models',
    'training': 'core native stopping distributed.ranks data feeds models fast',
    'foreign': 'core data feeds models fast training',
    'experiments': 'core native writers stopping distributed data feeds models fast training foreign',
    'report': 'core locks native distributed data feeds models fast training foreign experiments',
    'bench': 'core native distributed data feeds models fast training foreign experiments report',
    'verbs': 'core native distributed data feeds models fast training foreign experiments report bench',
    'grammar': 'core native distributed data feeds models fast training foreign experiments report '
    'bench verbs',
    'cli': 'core native stopping distributed data feeds models fast training foreign experiments report '
    'bench verbs grammar',
    'workflow': 'core experiments grammar cli',
    '__main__': 'cli',
}


def numbers():
    "Dotted module name -> number of the notebook that exports it."
    out = {}
    for path in sorted((ROOT / 'nbs').rglob('*.ipynb')):
        cells = json.loads(path.read_text(encoding='utf-8'))['cells']
        source = '\n'.join(''.join(c['source']) for c in cells if c['cell_type'] == 'code')
        if m := re.search(r'^#\|\s*default_exp\s+(\S+)', source, re.M):
            out[m[1]] = (path, int(path.name[:2]))
    return out


def modules():
    "Dotted module name -> its file."
    root = ROOT / 'msagcn'
    files = [p for p in root.rglob('*.py') if p.stem not in ('__init__', '_modidx')]
    return {'.'.join(p.relative_to(root).with_suffix('').parts): p for p in files}


def imported(module, path):
    "Dotted names of our modules that a file imports, also those within functions."
    here = ['msagcn', *module.split('.')[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert '*' not in [a.name for a in node.names]
            start = here[: len(here) - node.level + 1] if node.level else []
            base = '.'.join([*start, *filter(None, [node.module])])
            names = [base, *(f'{base}.{a.name}' for a in node.names)]
        else:
            continue
        yield from (n.removeprefix('msagcn.') for n in names if n.startswith('msagcn.'))


MODULES, NUMBERS = modules(), numbers()


def test_every_module_is_exported_by_a_notebook_and_has_a_place_in_the_table():
    assert MODULES.keys() == NUMBERS.keys()
    assert {m.split('.')[0] for m in MODULES} == MAY_IMPORT.keys()


def test_the_table_itself_goes_downward():
    order = list(MAY_IMPORT)
    for package, below in MAY_IMPORT.items():
        assert all(order.index(b.split('.')[0]) < order.index(package) for b in below.split())


@pytest.mark.parametrize('module', sorted(MODULES))
def test_imports_go_downward(module):
    package = module.split('.')[0]
    allowed = MAY_IMPORT[package].split()
    for name in imported(module, MODULES[module]):
        if name not in MODULES:
            continue  # a package, or a name within a module
        if name.split('.')[0] == package:
            assert NUMBERS[name][1] < NUMBERS[module][1], (
                f'{module} imports {name}, which has no lower number'
            )
        else:
            assert name in allowed or name.split('.')[0] in allowed, f'{module} imports {name}'


def test_notebooks_are_numbered_and_named_after_their_module():
    seen = set()
    for module, (path, number) in NUMBERS.items():
        *folder, name = module.split('.')
        assert path.relative_to(ROOT / 'nbs').parent.parts == tuple(folder), path
        assert re.fullmatch(r'\d\d_' + name.strip('_'), path.stem), path
        assert (path.parent, number) not in seen, (
            f'{path}: another notebook of this folder has this number'
        )
        seen.add((path.parent, number))
