"""Tables on the site that are made from `params/` and `reports/`."""

import json
import re

import pandas as pd

from msagcn.data.nw_ucla import CLASSES, parse_name
from msagcn.experiments.reading import read_yaml
from msagcn.report.table_forms import to_markdown
from msagcn.training.evaluate import load_scores
from msagcn.training.statistics import mcnemar

NAMES = {'msagcn': 'MSA-GCN', 'msg3d': 'MS-G3D', '1-NN': 'nearest training clip'}


def recipes(root):
    "A row for each recipe in `params/`: the command that trains it, and how many runs of it are recorded."
    measured = [pd.read_csv(root / f'reports/{t}.csv') for t in ('results', 'selection')]
    done = pd.concat([*measured, runs_in_folds(root)])  # tested or not
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
        model = p.get('model', 'msagcn')
        same = (done.recipe == p['recipe']) & (done.benchmark == p.get('benchmark'))
        rows.append(
            {
                'model': model,
                'benchmark': p.get('benchmark', 'any'),
                'command': f'`{command} -p stream joint`',
                'what it is': first.lstrip('# ').rstrip('.:'),
                'recorded': str((same & (done.model == model)).sum() or 'not run'),
            }
        )
    return to_markdown(pd.DataFrame(rows))


def strangers(root):
    "Four kinds of own sets: what went from files to a report, and how long each command took."
    t = pd.read_csv(root / 'reports/strangers.csv')
    rows = [
        {
            'set': r.kind,
            'files': r.files,
            'clips': f'{r.clips} of {r.classes} classes',
            'prepare, s': f'{r.prepare_seconds:.0f}',
            'train, s': f'{r.train_seconds:.0f}',
            'report, s': f'{r.report_seconds:.0f}',
            'wall clock, s': f'{r.wall_seconds:.0f}',
            'top-1 (test clips)': f'{r.top1:.1f} ({r.n_test})',
            '1-NN': f'{r.nearest_top1:.1f}',
        }
        for r in t.itertuples()
    ]
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


def _precog_rows(root):
    "What `msagcn crossval` recorded of PRECOG 2016, as text; the nearest training clip once."
    both = [root / f'reports/precog{x}.csv' for x in ('', '_msagcn')]
    t = pd.concat([pd.read_csv(f, dtype=str, keep_default_na=False) for f in both])
    return t.drop_duplicates(['model', 'recipe', 'streams', 'seed'], ignore_index=True)


def runs_in_folds(root):
    "A row for each run of PRECOG 2016 in folds: those of one seed and stream."
    t = _precog_rows(root).query('recipe != "" and not seed.str.contains(" ")')
    t = t.query('not streams.str.contains(" ")')
    return t.loc[t.index.repeat(t.folds.astype(int)), ['benchmark', 'model', 'recipe']]


def precog(root):
    "PRECOG 2016: a row for each network and streams over all seeds, and for the nearest training clip."
    t = _precog_rows(root)
    rows = []
    for _, same in t.groupby(['model', 'streams'], sort=False):
        r = same.loc[same.seed.str.split().str.len().idxmax()]
        alone = [x.top1 for x in same.itertuples() if len(x.seed.split()) == 1]
        rows.append(
            {
                'network': NAMES[r.model],
                'streams': r.streams,
                f'top-1 of {r.n} clips': r.top1,
                f'95 % over {r.people} people': f'{float(r.low):.1f}–{float(r.high):.1f}',
                'by seed': ' '.join(alone) or '–',
                'by fold': r.by_fold,
                'own training clips, lowest': r.train_top1 or '–',
            }
        )
    return to_markdown(pd.DataFrame(rows))


HELD = {
    'own': 'nothing',
    'onednn': 'AVX2: oneDNN',
    'all': 'AVX2: PyTorch, oneDNN, MKL',
}


def redraws(root):
    "What other bits do to the same seed: a row for each length and kind of instructions."
    t = pd.read_csv(root / 'reports/redraws.csv')
    rows = []
    for (steps, processor, held), same in t.groupby(['steps', 'processor', 'held'], sort=False):
        alone = same[~same.seed.str.contains(' ')]
        rows.append(
            {
                'steps': steps,
                'processor': processor,
                'held to': HELD[held],
                'top-1 by seed': ' '.join(f'{x:.2f}' for x in alone.top1),
                'all seeds': f'{same.top1[same.seed.str.contains(" ")].item():.2f}',
                'own training clips, lowest': f'{alone.train_top1.min():.2f}',
            }
        )
    return to_markdown(pd.DataFrame(rows))


def emulated(root):
    "A short training by other processors, as QEMU emulates them: how many tensors are not bit-equal."
    t = pd.read_csv(root / 'reports/emulated.csv', keep_default_na=False)
    columns = {
        'emulated processor': t.emulated,
        'variables': t.variables.map(bool).map({True: 'set', False: 'not set'}),
        'recipe': ['params/precog.yaml' + (f', {v}' if v else '') for v in t['values']],
        'steps': t.steps,
        'tensors that differ': [f'{r.differ} of {r.tensors}' for r in t.itertuples()],
        'by at most': t.largest,
    }
    return to_markdown(pd.DataFrame(columns))


WAYS = {
    'scratch': 'fresh weights',
    'start': 'those of the first network, all layers trained',
    'classifier': 'those of the first network, all blocks held',
}


def finetune(root):
    "Five clips a class: a row for each way to begin, over all seeds."
    t = pd.read_csv(root / 'reports/finetune.csv', dtype=str, keep_default_na=False)
    several = t.seed.str.contains(' ')
    rows = []
    for r in t[several].itertuples():
        alone = t[(t.way == r.way) & ~several]
        gain = '–'
        if r.gain:
            gain = f'{float(r.gain):+.1f} ({float(r.gain_low):+.1f} to {float(r.gain_high):+.1f})'
        rows.append(
            {
                'weights at the start': WAYS[r.way],
                f'top-1 of {r.n_test} clips': f'{float(r.top1):.1f} ± {float(r.sd):.1f}',
                '95 % over people': f'{float(r.low):.1f}–{float(r.high):.1f}',
                'by seed': ' '.join(f'{float(x):.1f}' for x in alone.top1),
                'over fresh weights (95 % over seeds)': gain,
            }
        )
    return to_markdown(pd.DataFrame(rows))


def validity(root):
    "Missing joints filled, and filled with a channel that says which: a sentence."
    t = pd.read_csv(root / 'reports/validity.csv', dtype=dict(seed=str))
    lost, networks = t.lost[0], t[(t.model == 'msg3d') & ~t.seed.str.contains(' ', na=False)]
    reached = {}
    for way, rows in networks.groupby('way'):
        seeds = ', '.join(f'{x:.1f}' for x in rows.top1)
        reached[way] = f'{rows.top1.mean():.1f} ± {rows.top1.std():.1f} % ({seeds})'
    n, seeds = networks.n.iloc[0], networks.seed.nunique()
    return (
        f'Tried on PRECOG 2016 with {lost:.0%} of the joints lost in spans (`tests/validity.py`; MS-G3D, '
        f'joints, {n} clips in four folds, {seeds} seeds): {reached["filled"]} with the joints filled, '
        f'{reached["told"]} with the channel as well. Which joints are lost is chance there, so '
        'the channel says nothing of the class.'
    )


def real_time(root):
    "What `predict --follow` takes for several people: a sentence, and a row for each network."
    file = root / 'reports/real_time.csv'
    if not file.exists():
        return 'Not measured yet on a quiet machine.'
    t = pd.read_csv(file)
    first = t.iloc[0]
    told = (
        f'Measured on {first.cores} cores ({first.processor}) with {first.people} people of {first.joints} '
        f'joints, windows of {first.window_s:g} s every {first.step_s:g} s, while the machine had a load of '
        f'{t.load.min():.1f} to {t.load.max():.1f} from everything on it, this included: '
    )
    best = t.loc[t[t.network.str.contains('small')].frames_a_second.idxmax()]
    told += (
        f'{_by(best)} keeps up with {best.frames_a_second:.0f} frames a second, and answers for all '
        f'{best.people} people {best.delay_ms_median:.0f} ms after the last frame of a window '
        f'({best.delay_ms_p95:.0f} ms in the slowest twentieth).'
    )
    rows = [
        {
            'network': f'{_by(r)}, width {r.width}, {r.network_frames} frames',
            'threads': r.threads,
            'frames a second': f'{r.frames_a_second:.0f}',
            'delay, median and 95 %': f'{r.delay_ms_median:.0f} and {r.delay_ms_p95:.0f} ms',
            f'{FPS} a second': 'yes' if r.frames_a_second >= FPS else 'no',
        }
        for r in t.itertuples()
    ]
    return f'{told}\n\n{to_markdown(pd.DataFrame(rows).astype(str))}'


FPS = 30  # of cameras


def _by(r):
    quick = 'by PyTorch, folded' if 'MS-G3D' in r.network else 'by compiled code'
    return f'{r.network}, {quick if r.by == "quick" else "by PyTorch"}'


def runs(root):
    "What the finished, tested runs on NW-UCLA recorded, by recipe."
    found = [
        json.loads(f.read_text()) for f in sorted((root / 'reports/runs').glob('*/metrics.json'))
    ]
    found = [m for m in found if m['benchmark'] == 'nw_ucla' and m.get('top1') is not None]
    by_recipe = {}
    for m in found:
        by_recipe.setdefault((m['model'], m['recipe'].split('/')[0]), []).append(m)
    return by_recipe


def span(values, form='{:g}'):
    "The least and the most of some numbers."
    ends = dict.fromkeys(form.format(v) for v in (min(values), max(values)))
    return '–'.join(ends)


# of recipes that hold nobody out, what other runs they were chosen by
CHOSEN_BY = dict.fromkeys(('msg3d_own', 'msg3d_mended', 'msg3d_wide'), 'camera 2, in other runs')


def chosen(root):
    "For each recipe on NW-UCLA, whose clips it was chosen by, and on what its figures rest."
    rows = []
    for (model, recipe), same in runs(root).items():
        m = same[0]
        people = ', '.join(map(str, m['val_subjects']))
        held_out = f'person {people}' if people else CHOSEN_BY.get(recipe, 'nobody')
        rows.append(
            {
                'recipe': f'`{recipe}`',
                'network': NAMES[model],
                'chosen by clips of': held_out,
                'then trained on': 'all training clips' if m['refit'] else 'the others',
                'passes': span([r['epochs'] for r in same]),
                'streams': str(len({r['stream'] for r in same})),
                'seeds': span(sorted({r['seed'] for r in same})),
                'in all': str(len(same)),
            }
        )
    return to_markdown(pd.DataFrame(rows))


# variants of the grids of choice that differ in one thing from another one than `full`
BESIDE = dict(
    views80='full80',
    scaled_views='scaled',
    figure_views='figure',
    **dict.fromkeys('own_tilt own_first own_52 own_wide own_span own_mend'.split(), 'own'),
)


def tried(root):
    "What held-out clips of NW-UCLA say of each variant: beside the one without it, if that was trained."
    t = pd.read_csv(root / 'reports/selection.csv', dtype=str, keep_default_na=False)
    t = t[(t.benchmark == 'nw_ucla') & t.recipe.str.startswith('choice/')]
    rows = []
    for r in t.sort_values(['model', 'recipe']).itertuples():
        variant = r.recipe.removeprefix('choice/').rsplit('_', 1)[0]
        other = BESIDE.get(variant, 'full')
        folder = root / 'reports/runs'
        without = folder / r.run_id.replace(f'-{variant}_', f'-{other}_')
        row = {
            'variant': f'`{variant}`',
            'network': NAMES[r.model],
            'passes': r.epochs,
            'held out': held_out(r.recipe),
            'top-1': r.val_top1,
        }
        if variant != other and without.exists():
            with_it, beside = correct(folder / r.run_id), correct(without)
            row |= {
                'beside': f'`{other}`',
                'gain': f'{100 * (with_it.mean() - beside.mean()):+.1f}',
                'p': f'{mcnemar(beside, with_it)[2]:.2g}',
            }
        rows.append(row)
    return to_markdown(pd.DataFrame(rows).fillna('–'))


def held_out(name):
    "Who is held out by the name of a recipe or a run of these grids: `camera 2`."
    who, numbers = re.search(r'_(person|camera)(\d+)', name).groups()
    return f'{who} {numbers}' if len(numbers) == 1 else f'{who}s {" ".join(numbers)}'


def correct(folder):
    "Which held-out clips a run classifies correctly, in the order of their names."
    s = load_scores(folder / 'val_scores.npz')
    return (s.scores.argmax(1) == s.labels)[sorted(range(len(s.names)), key=s.names.__getitem__)]


def tilted(root):
    "What clips of camera 2 lose when they are tilted, by network; * where McNemar's p < 0.05."
    t = pd.read_csv(root / 'reports/tilted.csv', keep_default_na=False)
    rows = []
    for run, own in t.groupby('run_id', sort=False):
        first = own.iloc[0]
        top1 = own.top1.map('{:.1f}'.format)
        top1 = top1.where(own.p >= 0.05, top1 + ' *')
        rows.append(
            {
                'feed': f'`{first.feed}`',
                '`rotate`': f'{first.rotate:g}',
                '`tilt`': f'{first.tilt:g}',
                **dict(zip(own.degrees.map(lambda d: f'{d:+d}°' if d else '0°'), top1)),
            }
        )
    return to_markdown(pd.DataFrame(rows))


def exchanged(root):
    "Clips of one person and action by camera 2 that a network trained on camera 1 takes for another action."
    run = root / 'reports/runs/msg3d-nw_ucla-choice-own_wide_camera2-joint-s1'
    s, actions = load_scores(run / 'val_scores.npz'), list(CLASSES.values())
    t = pd.DataFrame({'named': s.labels, 'answer': s.scores.argmax(1)})
    t['person'] = [parse_name(name)[1] for name in s.names]
    rows = []
    for (person, named), group in t.groupby(['person', 'named']):
        answers = group.answer.value_counts()
        if answers.index[0] == named or 2 * answers.iloc[0] <= len(group):
            continue
        rows.append(
            {
                'person': str(person),
                'named': actions[named],
                'recognised as': actions[answers.index[0]],
                'clips': f'{answers.iloc[0]} of {len(group)}',
            }
        )
    return to_markdown(pd.DataFrame(rows))


REPLACED = (
    ('stage attention', 'uniform'),
    ('stage attention', 'mean'),
    ('frame attention', 'mean'),
    ('channel gate', 'mean'),
    ('frame gate', 'mean'),
    ('nearest joints', 'mean'),
    ('context', 'mean'),
)


def worth(root):
    "The points of top-1 that each network loses with a part replaced in all blocks; * where p < 0.05."
    rows = []
    t = pd.read_csv(root / 'reports/facts/worth.csv', keep_default_na=False)
    for (run, on), own in t.groupby(['run', 'on'], sort=False):
        trained = own[own.part == 'as trained'].iloc[0]
        replaced = own[own.blocks == 'all'].set_index(['part', 'instead'])
        lost = (float(trained.top1) - replaced.top1.astype(float)).map('{:.1f}'.format)
        lost = lost.where(replaced.p.astype(float) >= 0.05, lost + ' *').to_dict()
        rows.append(
            {
                'topology': trained.topology,
                'width': str(trained.width),
                'stream': trained.stream,
                'clips': f'held out, {held_out(run)}' if on else 'test part',
                'as trained': trained.top1,
                **{f'{part}: {by}': lost.get((part, by), '–') for part, by in REPLACED},
            }
        )
    return to_markdown(pd.DataFrame(rows))


def costs(root):
    "What a run of each recipe on NW-UCLA cost."
    rows = []
    for (model, recipe), same in runs(root).items():
        rows.append(
            {
                'a run of': f'`{recipe}`',
                'network': NAMES[model],
                'parameters, M': span([r['parameters'] / 1e6 for r in same], '{:.2f}'),
                'hours': span([r['seconds'] / 3600 for r in same], '{:.1f}'),
                'on': ', '.join(sorted({r['machine']['processor'] for r in same})),
                'threads': span([r['machine']['threads'] for r in same]),
            }
        )
    return to_markdown(pd.DataFrame(rows))


def again(root):
    "How often recorded runs came out again: the last verdict on each."
    t = pd.read_csv(root / 'reports/verify.csv', dtype=str)
    last = t.drop_duplicates('run_id', keep='last')
    rows = [
        {'verdict': v, 'in all': str(len(r)), 'compared': ', '.join(sorted(set(r.compared)))}
        for v, r in last.groupby('verdict')
    ]
    return to_markdown(pd.DataFrame(rows))


def leaked(root):
    "The test clips of NW-UCLA whose content is also in the training part, by action."
    (file,) = (root / 'reports/data').glob('nw_ucla-*.json')
    note, by_action = json.loads(file.read_text()), {}
    for name in note['leaked']:
        by_action.setdefault(name[:3], []).append(name.removeprefix(name[:4]).removesuffix('_v03'))
    pairs = {n for group in note['equal_content'] for n in group}
    rows = [
        {
            'action': action,
            'clips': str(len(names)),
            'equal in every coordinate to a training clip': str(
                sum(f'{action}_{n}_v03' in pairs for n in names)
            ),
            'person and take': ' '.join(names),
        }
        for action, names in by_action.items()
    ]
    return to_markdown(pd.DataFrame(rows))


def published(root):
    "What others state, on the sets that we know."
    t = pd.read_csv(root / 'reports/published.csv', dtype=str, keep_default_na=False)
    rows = [
        {
            'data': r.benchmark,
            'system': NAMES.get(r.model, r.model),
            'streams': r.streams,
            'top-1': r.top1,
            'remark': r.note or '–',
            'source': r.source,
        }
        for r in t.itertuples()
    ]
    return to_markdown(pd.DataFrame(rows))
