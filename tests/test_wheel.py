"""The built wheel, installed in a folder of its own, gives the command.

The command trains without any notebook tool.
"""

import os
import shutil
import sys
import zipfile

import pytest
from conftest import ROOT, TINY, pairs, places, sh

BLOCK = """
import sys
class Blocked:
    names = {'papermill', 'nbconvert', 'nbformat', 'nbclient', 'nbdev', 'execnb', 'fastcore',
             'jupyter', 'jupyterlab', 'jupyter_client', 'jupyter_core', 'ipykernel', 'IPython',
             'latex2mathml'}
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in self.names: raise ModuleNotFoundError(f'{name} is blocked', name=name)
sys.meta_path.insert(0, Blocked())
"""


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    "A folder with the installed wheel, and a sitecustomize that hides the notebook tools."
    top = tmp_path_factory.mktemp('wheel')
    source = top / 'source'  # build/ and *.egg-info stay out of the repository
    source.mkdir()
    for name in ('pyproject.toml', 'settings.ini', 'README.md', 'LICENSE'):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, source)
    shutil.copytree(
        ROOT / 'msagcn', source / 'msagcn', ignore=shutil.ignore_patterns('__pycache__')
    )
    sh(
        sys.executable,
        '-m',
        'pip',
        'wheel',
        '-q',
        '--no-deps',
        '--no-build-isolation',
        '--no-index',
        '-w',
        top,
        source,
    )
    (wheel,) = top.glob('msagcn-*.whl')
    sh(
        sys.executable,
        '-m',
        'pip',
        'install',
        '-q',
        '--no-deps',
        '--no-index',
        '--target',
        top / 'site',
        wheel,
    )
    (top / 'site/sitecustomize.py').write_text(BLOCK)
    return top, wheel


def test_the_wheel_holds_the_package_whole(installed):
    with zipfile.ZipFile(installed[1]) as z:
        names = set(z.namelist())
    ours = {
        f'msagcn/{p.relative_to(ROOT / "msagcn").as_posix()}'
        for p in (ROOT / 'msagcn').rglob('*')
        if p.is_file() and '__pycache__' not in p.parts
    }
    assert ours <= names
    assert not [n for n in names if not n.startswith(('msagcn/', 'msagcn-'))]
    assert any(n.endswith('licenses/LICENSE') for n in names)


def test_the_command_without_notebook_tools(installed, tmp_path):
    top, wheel = installed

    def python(*args):
        return sh(sys.executable, *args, cwd=tmp_path, PYTHONPATH=str(top / 'site'))

    where = python(
        '-c',
        'import msagcn.cli; print(msagcn.cli.__file__)\n'
        'try: import nbdev\nexcept ModuleNotFoundError as e: print(e)',
    ).stdout.splitlines()
    assert where == [os.fspath(top / 'site/msagcn/cli.py'), 'nbdev is blocked']
    assert python('-m', 'msagcn', '--version').stdout.strip() == wheel.name.split('-')[1]
    python('-m', 'msagcn', 'prepare', *pairs(subjects=2, data_dir='data'))
    told = python('-m', 'msagcn', 'train', '--no-notebook', *pairs(**TINY | places('')))
    assert told.stdout.startswith('msagcn-embedded-smoke-joint-s1: val_top1 ')
    assert (tmp_path / 'reports/results.csv').exists()
    assert (
        sh(
            top / 'site/bin/msagcn', '--version', cwd=tmp_path, PYTHONPATH=str(top / 'site')
        ).stdout.strip()
        == wheel.name.split('-')[1]
    )
