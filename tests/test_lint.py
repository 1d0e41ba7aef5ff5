"""Code passes ruff with the project's own configuration: no faults, no long lines, one format."""

import sys

import pytest
from conftest import ROOT, sh

FOLDERS = ['msagcn', 'nbs', 'tests', 'docs']


def ruff(*args):
    "Run ruff from the project's root, without its cache, with a line for each finding."
    ran = sh(sys.executable, '-m', 'ruff', *args, cwd=ROOT, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize('folder', FOLDERS)
def test_ruff_finds_nothing(folder):
    ruff('check', '--no-cache', '--config', 'pyproject.toml', '--output-format', 'concise', folder)


@pytest.mark.parametrize('folder', FOLDERS[1:])  # modules are the notebooks' cells
def test_code_is_formatted(folder):
    ruff('format', '--check', '--no-cache', '--config', 'pyproject.toml', folder)


def test_undefined_names_are_found_in_the_notebooks_too():
    "The configuration excuses some faults in notebooks' own checks, but not these."
    rules = ['--isolated', '--select', 'F821,F823', '--output-format', 'concise']
    ruff('check', '--no-cache', *rules, 'nbs')


def test_a_fault_would_be_found(tmp_path):
    "The rules are in force: an undefined name, an unused import, a long line, another format."
    faulty = tmp_path / 'faulty.py'
    faulty.write_text(f'import os\nprint(nothing)\n# {"x" * 110}\n')
    rules = ['--no-cache', '--config', str(ROOT / 'pyproject.toml')]
    found = sh(sys.executable, '-m', 'ruff', 'check', *rules, faulty, check=False)
    assert found.returncode == 1
    assert all(rule in found.stdout for rule in ('F401', 'F821', 'E501'))
    faulty.write_text('x = "double quotes"\n')
    found = sh(sys.executable, '-m', 'ruff', 'format', '--check', *rules, faulty, check=False)
    assert found.returncode == 1
