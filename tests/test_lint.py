"""Neither the package nor the notebooks' own checks use a name that is not defined; the package has no unused ones."""
import sys

import pytest
from conftest import ROOT, sh


@pytest.mark.parametrize('folder, rules', [('msagcn', 'F'), ('nbs', 'F821,F823')])
def test_ruff_finds_nothing(folder, rules):
    done = sh(sys.executable, '-m', 'ruff', 'check', '--no-cache', '--isolated', '--select', rules, '--output-format', 'concise', ROOT / folder, check=False)
    assert done.returncode == 0, done.stdout
