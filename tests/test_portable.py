"""Whether the variables that `make results` sets give the same bits where libraries would choose others."""

import csv
import json
import platform
import sys
from pathlib import Path

import pytest
from conftest import PORTABLE, ROOT, pairs, places, sh
from safetensors.numpy import load_file

# as on a processor without AVX-512; what has none ignores them
OLDER = dict(MKL_ENABLE_INSTRUCTIONS='AVX2', NPY_DISABLE_CPU_FEATURES='X86_V4')
SHORT = dict(benchmark='precog', steps=2, warmup_steps=1, device='cpu')


def has_avx2():
    info = Path('/proc/cpuinfo')
    return info.exists() and ' avx2 ' in info.read_text()


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    "A function: weights and machine of a short training in a process with these variables."
    if not has_avx2():
        pytest.skip(f'{platform.machine()} without AVX2')
    root = tmp_path_factory.mktemp('portable')
    at = places(root)
    msagcn = sys.executable, '-m', 'msagcn'
    sh(*msagcn, 'prepare', *pairs(benchmark='precog', data_dir=at['data_dir']), cwd=ROOT)

    def train(name, **variables):
        mine = at | {k: str(root / name / k) for k in ('runs_dir', 'reports_dir')}
        given = pairs(**SHORT, **mine)
        recipe = '-f', 'params/precog.yaml', '--no-notebook'
        sh(*msagcn, 'train', *recipe, *given, cwd=ROOT, **variables)
        (file,) = root.glob(f'{name}/runs_dir/*/weights.safetensors')
        (record,) = root.glob(f'{name}/reports_dir/runs/*/metrics.json')
        return load_file(file), json.loads(record.read_text())['machine']

    return train


def differing(a, b):
    return [k for k in a if a[k].tobytes() != b[k].tobytes()]


def test_other_instructions_change_no_bit(trained):
    "Held, MKL's and NumPy's choice does not matter; unheld, PyTorch's does, so the comparison sees it."
    ours, machine = trained('ours', **PORTABLE)
    older, _ = trained('older', **PORTABLE, **OLDER)
    assert len(ours) > 200 and not differing(ours, older)
    plain, _ = trained('plain', ATEN_CPU_CAPABILITY='default', ONEDNN_MAX_CPU_ISA='SSE41')
    assert differing(ours, plain)
    assert machine['capability'] == 'AVX2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_CBWR=COMPATIBLE'


def test_the_guide_names_the_variables_that_make_results_sets():
    words = ' '.join(f'{k}={v}' for k, v in PORTABLE.items())
    assert f'`{words}`' in (ROOT / 'docs/start.md').read_text()
    assert (
        f'{words} msagcn crossval' in sh('make', '-n', 'results', cwd=ROOT).stdout or not has_avx2()
    )


def test_emulated_processors_agree_where_they_are_held():
    "The committed table of QEMU's processors: held, no bit of SGD differs; else some do."
    rows = list(csv.DictReader((ROOT / 'reports/emulated.csv').read_text().splitlines()))
    words = ' '.join(f'{k}={v}' for k, v in PORTABLE.items())
    sgd = [r for r in rows if 'adamw' not in r['values']]
    assert {r['variables'] for r in sgd} == {words, ''}
    assert all((r['differ'] == '0') == bool(r['variables']) for r in sgd)
