"""What other bits do to the same seed: PRECOG 2016 in folds, by one processor's different instructions.

    python tests/redraws.py --out FOLDER [--steps 150,225]

Joints by MS-G3D, params/precog.yaml with so many steps, in four folds and three seeds; with the processor's
own instructions, and with libraries held to older ones. A row for each to reports/redraws.csv, with the
accuracy of the tested clips and, over the folds, the lowest of the networks' own training clips. Some five
minutes a row of three; in the same FOLDER trainings go on.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import yaml
from conftest import ROOT, pairs

from msagcn.experiments.results import append_row

TABLE = ROOT / 'reports/redraws.csv'
HELD = dict(
    own={},
    onednn=dict(ONEDNN_MAX_CPU_ISA='AVX2'),
    all=dict(ATEN_CPU_CAPABILITY='avx2', ONEDNN_MAX_CPU_ISA='AVX2', MKL_ENABLE_INSTRUCTIONS='AVX2'),
)


def tested(out, held, steps):
    "The table of all folds, of joints, by so many steps."
    recipe = yaml.safe_load((ROOT / 'params/precog.yaml').read_text())
    recipe |= dict(recipe=f'steps{steps}', steps=steps, warmup_steps=2 * steps // 15)
    (out / f'{steps}.yaml').write_text(yaml.safe_dump(recipe))
    at = dict(data_dir=out / 'data', runs_dir=out / held / 'runs', reports_dir=out / held)
    told = pairs(recipes=out / f'{steps}.yaml', streams='joint', **at)
    command = [sys.executable, '-m', 'msagcn', 'crossval', *map(str, told)]
    subprocess.run(command, env=os.environ | HELD[held] | dict(MSAGCN_QUIET=''), check=True)
    return pd.read_csv(out / held / 'precog.csv', dtype=str)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--out', required=True)
    parser.add_argument('--steps', default='150,225')
    asked = parser.parse_args()
    out = Path(asked.out).resolve()
    out.mkdir(exist_ok=True)
    prepare = ['prepare', *pairs(benchmark='precog', data_dir=out / 'data')]
    subprocess.run([sys.executable, '-m', 'msagcn', *map(str, prepare)], check=True)
    for steps in asked.steps.split(','):
        for held in HELD:
            table = tested(out, held, int(steps)).query("model == 'msg3d'")
            for r in table.to_dict('records'):
                same = dict(steps=steps, held=held)
                kept = ('seed', 'n', 'top1', 'train_top1', 'processor', 'capability', 'torch')
                row = same | {k: r[k] for k in kept}
                append_row(TABLE, row, ['steps', 'held', 'seed', 'processor'], replace=True)
                print(*row.values())


if __name__ == '__main__':
    main()
