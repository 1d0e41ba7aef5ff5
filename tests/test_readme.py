"""README.md is what `make readme` makes of nbs/index.ipynb and the tables in reports/."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_readme_is_generated(tmp_path):
    if not shutil.which('jupyter') or not shutil.which('make'):
        pytest.skip('jupyter or make is not installed')
    subprocess.run(
        ['make', '-s', 'readme', f'OUT={tmp_path}'],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert (tmp_path / 'README.md').read_text() == (ROOT / 'README.md').read_text()
