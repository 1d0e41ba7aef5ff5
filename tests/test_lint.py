"""The package has no unused and no undefined names."""
import sys

from conftest import ROOT, sh


def test_pyflakes_finds_nothing():
    done = sh(sys.executable, '-m', 'ruff', 'check', '--no-cache', '--isolated', '--select', 'F', '--output-format', 'concise', ROOT / 'msagcn', check=False)
    assert done.returncode == 0, done.stdout
