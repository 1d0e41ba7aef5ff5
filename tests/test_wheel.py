"""What `pip install` gives: the built wheel alone, in a fresh environment, in a folder of its own.

The environment has this one's packages but not this checkout, and HOME is empty. A second one
lacks all notebook tools. The source distribution is the checkout.
"""

import shutil
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT, TINY, pairs, places, sh

NOTEBOOK_TOOLS = (
    'papermill nbconvert nbformat nbclient nbdev execnb fastcore jupyter jupyterlab jupyter_client '
    'jupyter_core ipykernel IPython latex2mathml'
).split()
BLOCK = f"""
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {NOTEBOOK_TOOLS}:
            raise ModuleNotFoundError(f'{{name}} is blocked', name=name)
sys.meta_path.insert(0, Blocked())
"""
# nothing of the environment of the tests reaches the installed command, but where nbconvert's templates are
CLEAN = dict(PYTHONPATH='', PYTHONNOUSERSITE='1', JUPYTER_PATH=f'{sys.prefix}/share/jupyter')


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    "A copy of the checkout, so that build/ and *.egg-info stay out of it."
    to = tmp_path_factory.mktemp('source')
    for name in ('pyproject.toml', 'settings.ini', 'README.md', 'LICENSE', 'MANIFEST.in'):
        shutil.copy(ROOT / name, to)
    without = shutil.ignore_patterns('__pycache__', '.ipynb_checkpoints')
    for name in ('msagcn', 'params', 'nbs', 'tests'):
        shutil.copytree(ROOT / name, to / name, ignore=without)
    return to


@pytest.fixture(scope='module')
def wheel(source):
    build = ['-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation', '--no-index']
    sh(sys.executable, *build, '-w', source / 'dist', source, **CLEAN)
    (file,) = (source / 'dist').glob('msagcn-*.whl')
    return file


@pytest.fixture(scope='module')
def installed(wheel, tmp_path_factory):
    "The `bin` folder of a new environment that has the wheel, and this one's packages."
    top = tmp_path_factory.mktemp('installed')
    venv.create(top / 'env', symlinks=True)
    (site,) = (top / 'env/lib').glob('python*/site-packages')
    python = top / 'env/bin/python'
    sh(
        *(sys.executable, '-m', 'pip', '--python', python, 'install', '-q', '--no-deps'),
        *('--no-index', wheel),
        **CLEAN,
    )
    here = [p for p in sys.path if p.endswith('site-packages')]
    (site / 'others.pth').write_text('\n'.join(here))  # its own packages come first
    return top / 'env/bin'


@pytest.fixture
def msagcn(installed, tmp_path):
    "The installed command, in an empty folder, with an empty HOME."
    (tmp_path / 'home').mkdir()
    (tmp_path / 'work').mkdir()

    def run(*args, check=True, **env):
        more = dict(CLEAN, HOME=str(tmp_path / 'home'), MSAGCN_QUIET='1') | env
        return sh(installed / 'msagcn', *args, cwd=tmp_path / 'work', check=check, **more)

    run.folder = tmp_path / 'work'
    return run


def test_the_wheel_holds_the_package_whole(wheel):
    with zipfile.ZipFile(wheel) as z:
        names = set(z.namelist())
    ours = {
        f'msagcn/{p.relative_to(ROOT / "msagcn").as_posix()}'
        for p in (ROOT / 'msagcn').rglob('*')
        if p.is_file() and '__pycache__' not in p.parts
    }
    assert ours <= names
    assert not [n for n in names if not n.startswith(('msagcn/', 'msagcn-'))]
    assert any(n.endswith('licenses/LICENSE') for n in names)


def test_the_wheel_has_recipes_and_runners_as_git_has_them(wheel):
    shipped = {
        'recipes': sorted((ROOT / 'params').glob('*.yaml')),
        'notebooks/runs': sorted((ROOT / 'nbs/runs').glob('[a-z]*.ipynb')),
        'notebooks/bench': sorted((ROOT / 'nbs/bench').glob('[a-z]*.ipynb')),
    }
    with zipfile.ZipFile(wheel) as z:
        for folder, files in shipped.items():
            inside = [n for n in z.namelist() if n.startswith(f'msagcn/{folder}/')]
            assert sorted(Path(n).name for n in inside) == [f.name for f in files] and files
            for f in files:
                assert z.read(f'msagcn/{folder}/{f.name}') == f.read_bytes(), f


def test_it_is_the_wheel_that_runs(installed, wheel, tmp_path):
    code = 'import msagcn.cli; print(msagcn.cli.__file__)'
    where = sh(installed / 'python', '-c', code, cwd=tmp_path, **CLEAN).stdout.strip()
    assert Path(where).is_relative_to(installed.parent) and not Path(where).is_relative_to(ROOT)
    said = sh(installed / 'msagcn', '--version', cwd=tmp_path, **CLEAN).stdout.strip()
    assert said == wheel.name.split('-')[1]


def test_from_recipes_to_an_explorer(msagcn):
    "A recipe by its name on the embedded data; then report and explorer, each with its defaults."
    told = msagcn('recipes').stdout
    assert {f.stem for f in (ROOT / 'params').glob('*.yaml')} <= {
        line.split()[0] for line in told.splitlines() if line[0] != ' '
    }
    assert max(map(len, told.splitlines())) <= 100
    msagcn('prepare', *pairs(subjects=3))
    short = dict(frames=8, epochs=1, warmup=0, test_every_epoch_from=0)
    msagcn('train', '-f', 'demo', '--no-notebook', *pairs(**short))
    # under the command's own name for what it does by default, so that the others find it
    for stream in ('joint', 'bone'):
        msagcn('train', '--no-notebook', *pairs(**TINY | dict(stream=stream)))
    fused = msagcn('fuse').stdout
    assert 'msagcn-embedded-smoke-bone-s1' in fused and 'held-out' in fused
    assert max(map(len, fused.splitlines())) <= 100
    page = msagcn.folder / msagcn('report').stdout.strip().splitlines()[-1]
    assert 'runs/msagcn-embedded-smoke-bone-s1' in page.read_text()
    explorer = msagcn('explore', *pairs(count=1, layers='1')).stdout
    assert explorer.startswith('runs/msagcn-embedded-smoke-joint-s1/explore.html ')
    listed = msagcn('runs').stdout.splitlines()
    assert len(listed) == 4 and max(map(len, listed)) <= 100
    assert {line.split()[-1] for line in listed[1:]} == {
        f'msagcn-embedded-{run}-s1' for run in ('demo-joint', 'smoke-joint', 'smoke-bone')
    }


def test_a_file_wins_over_a_recipe_and_a_wrong_name_gets_the_nearest(msagcn):
    wrong = msagcn('train', '-f', 'nw_ucla_cpo', check=False)
    assert wrong.returncode == 2 and len(wrong.stderr.splitlines()) == 1
    assert 'did you mean nw_ucla_cpu' in wrong.stderr
    (msagcn.folder / 'demo').write_text('epochs: many')
    told = msagcn('train', '-f', 'demo', check=False).stderr
    assert told.startswith('msagcn: demo: epochs: ') and len(told.splitlines()) == 1


def test_notebooks_are_copied_once_and_run_where_they_are(msagcn, installed):
    copies = [Path(line) for line in msagcn('notebooks', 'mine').stdout.splitlines()]
    assert (msagcn.folder / 'mine/train.ipynb').read_bytes() == (
        ROOT / 'nbs/runs/train.ipynb'
    ).read_bytes()
    (msagcn.folder / 'mine/train.ipynb').write_text('{}')
    again = msagcn('notebooks', 'mine', check=False)
    assert again.returncode == 2 and len(again.stderr.splitlines()) == 1
    assert 'is there already' in again.stderr and len(copies) == 9
    assert (msagcn.folder / 'mine/train.ipynb').read_text() == '{}'
    code = (
        'import papermill as p; p.execute_notebook("prepare.ipynb", "out.ipynb", dict(subjects=2))'
    )
    sh(
        *(installed / 'python', '-c', code),
        cwd=msagcn.folder / 'mine',
        **CLEAN | dict(HOME=str(msagcn.folder)),
    )
    assert (msagcn.folder / 'mine/data/embedded/manifest.json').exists()


def test_without_notebook_tools(msagcn, installed):
    "Training does without them; a report names what it lacks, with a command for any shell."
    blocked = msagcn.folder.parent / 'blocked'
    blocked.mkdir()
    (blocked / 'sitecustomize.py').write_text(BLOCK)
    without = dict(PYTHONPATH=str(blocked))
    msagcn('prepare', *pairs(subjects=2), **without)
    told = msagcn('train', '--no-notebook', *pairs(**TINY | places('')), **without)
    assert told.stdout.startswith('msagcn-embedded-smoke-joint-s1: val_top1 ')
    told = msagcn('report', check=False, **without)
    assert told.returncode == 2 and len(told.stderr.splitlines()) == 1
    assert told.stderr.rstrip().endswith('pip install "msagcn[notebooks]"')


def test_the_source_distribution_has_what_its_tests_need(source):
    "All that git has of them, and nothing that was made by running them."
    sh(sys.executable, '-m', 'build', '-q', '--sdist', '--no-isolation', source, **CLEAN)
    (file,) = (source / 'dist').glob('msagcn-*.tar.gz')
    with tarfile.open(file) as t:
        inside = {Path(*Path(n).parts[1:]).as_posix() for n in t.getnames()}
    for folder in ('msagcn', 'params', 'nbs', 'tests'):
        there = {p.relative_to(source).as_posix() for p in (source / folder).rglob('*.*')}
        assert {p for p in there if (source / p).is_file() and '.egg-info' not in p} <= inside
    assert [n for n in inside if n.endswith('.safetensors')] == [
        'msagcn/data_box/precog.safetensors'
    ]
    assert not [n for n in inside if '__pycache__' in n]


def test_help_and_typing_errors_import_no_torch(installed, tmp_path):
    "So that they are there at once; a clock would depend on the machine."
    code = 'import sys\nfrom msagcn.cli import main\ntry: main(sys.argv[1:])\nexcept SystemExit: pass\n'
    code += 'print(sorted({"torch", "numpy", "pandas", "matplotlib"} & set(sys.modules)))'
    for line in (
        '--help',
        *(f'{verb} --help' for verb in ('train', 'fuse', 'bench', 'export', 'predict')),
        'trian',
        'train --epochs 3',
        'train -p epochs many',
        'train -f demo -p strem bone',
        'train -f demmo',
        'recipes',
        'export m.onnx',
        'explore -p runs',
    ):
        done = sh(installed / 'python', '-c', code, *line.split(), cwd=tmp_path, **CLEAN)
        assert done.stdout.splitlines()[-1] == '[]', (line, done.stdout)
