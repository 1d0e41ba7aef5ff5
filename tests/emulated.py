"""Whether a training ends in the same bits on other processors, as QEMU emulates them.

    python tests/emulated.py [--steps 4] [--set NAME=VALUE ...]

Needs qemu-x86_64 (Debian: qemu-user), and some minutes a row: four steps of params/precog.yaml are trained
here, and by each emulated processor, with the variables that `make results` sets and without. All weights
are compared with those that were trained here by the same variables. A row for each goes to
reports/emulated.csv, in place of its former one. --set gives the recipe other values.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from conftest import PORTABLE, ROOT, pairs
from safetensors.numpy import load_file

from msagcn.core import machine
from msagcn.experiments.parameters import PrepareParameters
from msagcn.experiments.prepare import prepare
from msagcn.experiments.results import append_row

RECIPE = str(ROOT / 'params/precog.yaml')
TABLE = ROOT / 'reports/emulated.csv'
KEY = ['processor', 'emulated', 'variables', 'values', 'steps']
EMULATED = 'EPYC-Milan', 'Haswell'


def trained(folder, values, variables, emulated=''):  # -> the weights by name
    "A short training in a process of its own, by this processor or an emulated one."
    env = {k: v for k, v in os.environ.items() if k not in PORTABLE} | variables
    by = ['qemu-x86_64', '-cpu', emulated] if emulated else []
    with TemporaryDirectory(dir=folder) as d:
        at = {f'{k}_dir': f'{d}/{k}' for k in ('runs', 'reports')} | dict(data_dir=f'{folder}/data')
        given = pairs(benchmark='precog', device='cpu', **at, **values)
        command = [*by, sys.executable, '-m', 'msagcn', 'train', '-f', RECIPE, '--no-notebook']
        subprocess.run([*command, *given], env=env | dict(OMP_NUM_THREADS='1'), check=True)
        (file,) = Path(d).glob('runs/*/weights.safetensors')
        return load_file(file)


def differences(a, b):
    "In how many tensors some bit differs, and by how much at most."
    odd = [k for k in a if a[k].tobytes() != b[k].tobytes()]
    largest = [float(np.abs(a[k].astype(float) - b[k]).max()) for k in odd]
    return dict(tensors=len(a), differ=len(odd), largest=f'{max(largest, default=0):.1e}')


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--steps', type=int, default=4)
    parser.add_argument('--set', nargs='*', default=[], metavar='NAME=VALUE')
    asked = parser.parse_args()
    values = dict(x.split('=') for x in asked.set) | dict(steps=asked.steps, warmup_steps=1)
    here = machine(torch.device('cpu'))
    with TemporaryDirectory() as d:
        prepare(PrepareParameters(benchmark='precog', data_dir=f'{d}/data'))
        for variables in (PORTABLE, {}):
            expected = trained(d, values, variables)
            for emulated in EMULATED:
                row = dict(
                    processor=here['processor'],
                    emulated=emulated,
                    variables=' '.join(f'{k}={v}' for k, v in variables.items()),
                    values=' '.join(asked.set),
                    steps=asked.steps,
                    **differences(expected, trained(d, values, variables, emulated)),
                    torch=here['torch'],
                )
                append_row(TABLE, row, KEY, replace=True)
                print(*row.values())


if __name__ == '__main__':
    main()
