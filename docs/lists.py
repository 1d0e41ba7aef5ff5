"""Tables on the site that are made from `params/` and `reports/`."""

import pandas as pd

from msagcn.experiments.reading import read_yaml
from msagcn.experiments.results import results
from msagcn.report.table_forms import to_markdown


def recipes(root):
    "A row for each recipe in `params/`: the command that trains it, and how many runs of it are recorded."
    done = results(root / 'reports')
    rows = []
    for file in sorted((root / 'params').glob('*.yaml')):
        p = read_yaml(file)
        if 'recipe' not in p:
            continue  # a grid of ablations
        first = file.read_text(encoding='utf-8').splitlines()[0]
        command = f'msagcn train -f params/{file.name}'
        if 'benchmark' not in p:
            command += ' -p benchmark NAME'
        if p.get('feed') == 'whole':
            command += ' -p data_dir data/msg3d'  # where DATA.md has it prepared
        runs = ((done.recipe == p['recipe']) & (done.benchmark == p.get('benchmark'))).sum()
        rows.append(
            {
                'model': p.get('model', 'msagcn'),
                'benchmark': p.get('benchmark', 'any'),
                'command': f'`{command} -p stream joint`',
                'what it is': first.lstrip('# ').rstrip('.:'),
                'recorded': str(runs or 'not run'),
            }
        )
    return to_markdown(pd.DataFrame(rows))


def small_sets(root):
    "A row for each small set: the recipe's accuracy beside 1-NN, over folds and seeds."
    small = pd.read_csv(root / 'reports/small_sets.csv')
    rows = []
    for name, runs in small.groupby('set', sort=False):
        by_seed = runs.groupby('seed').top1.mean()
        rows.append(
            {
                'set': name,
                'folds': runs.fold.nunique(),
                'seeds': len(by_seed),
                'recipe, top-1': f'{by_seed.mean():.1f} ± {by_seed.std():.1f}',
                '1-NN': f'{runs.nearest_top1.mean():.1f}',
                'folds below 1-NN': f'{(runs.top1 < runs.nearest_top1).sum()} of {len(runs)}',
                'seconds of one core a fold': f'{runs.seconds.min():.0f}–{runs.seconds.max():.0f}',
            }
        )
    return to_markdown(pd.DataFrame(rows))
