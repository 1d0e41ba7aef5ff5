"""Modules import downward only: from notebooks with a lower number."""
import ast
import json
import re

from conftest import ROOT


def floors():
    "Module name -> number of the notebook that exports it."
    out = {}
    for path in sorted((ROOT / 'nbs').rglob('*.ipynb')):
        source = '\n'.join(''.join(c['source']) for c in json.loads(path.read_text())['cells'] if c['cell_type'] == 'code')
        if m := re.search(r'^#\|\s*default_exp\s+(\S+)', source, re.M): out[m[1]] = int(path.name[:2])
    return out


def imported(path):
    "Our modules that a file imports, also those within functions."
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import): names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level < 2 and '*' not in [a.name for a in node.names]
            if node.module and not node.level: names = [node.module]
            else: names = [f'msagcn.{node.module}'] if node.module else [f'msagcn.{a.name}' for a in node.names]
            if names == ['msagcn']: names = [f'msagcn.{a.name}' for a in node.names]
        else: continue
        yield from (n.split('.')[1] for n in names if n.startswith('msagcn.') and n != 'msagcn.__version__')


def test_imports_go_downward():
    floor = floors()
    files = {p.stem: p for p in (ROOT / 'msagcn').glob('*.py') if p.stem not in ('__init__', '_modidx')}
    assert files.keys() == floor.keys()
    wrong = [f'{m} ({floor[m]}) imports {n} ({floor.get(n, "unknown")})' for m, p in files.items() for n in imported(p)
             if not floor.get(n, 99) < floor[m]]
    assert not wrong, wrong


def test_notebooks_are_numbered_and_named_after_their_module():
    for path in sorted((ROOT / 'nbs').glob('[0-9]*.ipynb')):
        number, name = path.stem.split('_', 1)
        assert len(number) == 2 and number.isdigit()
        text = path.read_text()
        if m := re.search(r'default_exp (\w+)', text): assert name == m[1].strip('_'), path.name
