"""Facts of networks that were trained for one epoch, recomputed entry by entry and clip by clip.

Also absent bodies, and the report's section: with weights, from the file alone, and without either.
"""

import csv
import json
import math
from itertools import product

import numpy as np
import pytest
import torch
from conftest import ROOT, TINY, places

SMALL = {k: v for k, v in TINY.items() if k not in ('width', 'val_subjects')} | dict(
    val_subjects=[1], refit=False
)
HOPS = ('0 limbs', '1 limb', '2 limbs', '3 limbs or more')


def run_id(model, seed):
    return f'{model}-embedded-smoke-joint-s{seed}'


@pytest.fixture(scope='module')
def trained(embedded, tmp_path_factory):
    "MSA-GCN with two seeds, MS-G3D with one, each trained for one epoch; the facts of the first, written."
    from msagcn.experiments.run import train
    from msagcn.experiments.train_parameters import TrainParameters

    out = tmp_path_factory.mktemp('trained')
    for model, width, seed in (('msagcn', 40, 1), ('msagcn', 40, 2), ('msg3d', 6, 1)):
        train(
            TrainParameters(
                model=model,
                width=width,
                seed=seed,
                lr=0.02,
                **SMALL | places(out) | dict(data_dir=str(embedded)),
            )
        )
    return out


@pytest.fixture(scope='module')
def clips(embedded):
    from msagcn.data.clips import load_clips

    return load_clips(embedded / 'embedded')


@pytest.fixture(scope='module')
def found(trained, clips):
    from msagcn.report.graph_facts import find_facts

    return find_facts([weights(trained, 'msagcn', s) for s in (1, 2)], clips)


def weights(trained, model, seed):
    return trained / f'runs/{run_id(model, seed)}/weights.safetensors'


def network(trained, model, seed):
    from msagcn.experiments.weights import load_weights

    return load_weights(weights(trained, model, seed))[0]


def limbs(skeleton):
    "Limbs between joints, by walking the skeleton."
    near = {v: set() for v in range(skeleton.V)}
    for a, b in skeleton.inward:
        near[a].add(b)
        near[b].add(a)
    out = np.zeros((skeleton.V, skeleton.V), int)
    for start in near:
        seen, edge, k = {start}, {start}, 0
        while edge:
            for v in edge:
                out[start, v] = k
            edge = {w for v in edge for w in near[v]} - seen
            seen |= edge
            k += 1
    return out


def one_row(table, **where):
    for k, v in where.items():
        table = table[table[k] == v]
    assert len(table) == 1
    return table.iloc[0]


def test_strays_of_both_networks_counted_entry_by_entry(trained, found):
    from msagcn.report.graph_facts import static_layers, strays_table

    model = network(trained, 'msagcn', 1)
    d, V = limbs(model.skeleton), model.skeleton.V
    graph = model.blocks[6].graph
    A, learned = graph.A[:, 0].double().numpy(), graph.learned.detach().double().numpy()
    for k, subset in enumerate(('itself', 'inward', 'outward')):
        for part in ('before', 'learned', 'after'):
            at, off = [0.0] * 4, 0.0
            for g, u, v in product(range(8), range(V), range(V)):
                before, after = 4 * A[k, u, v], 2 * (A[k, u, v] + learned[k, g, u, v])
                w = abs(dict(before=before, after=after, learned=after - before)[part])
                at[min(d[u, v], 3)] += w if w > 1e-6 else 0
                off += w if w > 1e-6 and before == 0 else 0
            row = one_row(found['strays'], layer='block 7', subset=subset, part=part)
            assert np.abs(row[list(HOPS)].astype(float) - 100 * np.array(at) / sum(at)).max() < 0.02
            assert abs(row['off graph'] - 100 * off / sum(at)) < 0.02
            assert abs(row['size'] - sum(at) / (32 * A[k].sum())) < 2e-4
            if part == 'after':
                # it has learned something, and that away from the limbs
                assert row['off graph'] > 0
    rings = network(trained, 'msg3d', 1)
    table, mask, A = (
        strays_table(static_layers(rings), rings.skeleton),
        *(
            a.detach().double().numpy()
            for a in (
                rings.blocks[2].windows.windows[1][0].mask,
                rings.blocks[2].windows.windows[1][0].A,
            )
        ),
    )
    at = [0.0] * 4
    for i, j in product(range(5 * V), repeat=2):
        w, away = abs(mask[1, i, j]), 1 if i != j and i % V == j % V else min(d[i % V, j % V], 3)
        at[away] += w if w > 1e-6 else 0
    row = one_row(table, layer='block 3, window 5', subset='1 limbs away', part='learned')
    assert np.abs(row[list(HOPS)].astype(float) - 100 * np.array(at) / sum(at)).max() < 0.02


def test_attention_of_joints_and_frames_clip_by_clip(trained, clips, found):
    from msagcn.feeds.feeds import batch, fed_store

    model, s = network(trained, 'msagcn', 1), fed_store(clips)
    V = model.skeleton.V
    spans, joints = [], {c: [] for c in clips.classes}
    for i in (i for i, part in enumerate(clips.parts) if part == 'test'):
        maps = model.maps(batch(s, torch.tensor([i]), 8))
        groups = []
        for b in (5, 6, 7):
            columns = maps[b]['attention'][0].double().sum((0, 1, 2))  # over subsets, stages, rows
            groups.append(columns * V / columns.sum())
        joints[clips.classes[clips.labels[i]]].append(sum(groups) / 3)
        W = maps[9]['frames'][0].double()
        T = len(W)
        spans.append(
            sum(
                sum(W[t, m] * abs(t - m) for t in range(T)) / W[:, m].sum() for m in range(T)
            ).item()
            / T
        )
    for c, seen in joints.items():
        for v, a in enumerate(sum(seen) / len(seen)):
            row = one_row(
                found['joints'], layers='blocks 5–7', joint=model.skeleton.joints[v], **{'class': c}
            )
            assert abs(row.attention - a) < 6e-4
    row = one_row(found['span'], layer='block 9')
    assert (row['T'], row.even) == (2, 2.0)  # 8 frames, halved twice: (4 - 1)/6 of 4 frames
    assert (
        abs(row.span - 4 * np.mean(spans)) < 6e-4
        and abs(row.share - 100 * np.mean(spans) / 2) < 0.006
    )
    assert found['joints'].groupby(['layers', 'class']).attention.mean().sub(1).abs().max() < 1e-3


def test_agreement_of_two_seeds(trained, found):
    a, b = (network(trained, 'msagcn', s).blocks[0].graph for s in (1, 2))
    change = [(g.learned.detach() - g.A).mean(1).double().numpy().ravel() for g in (a, b)]
    row = one_row(found['seeds'], layer='block 1')
    assert (
        row.runs == 2
        and row.graphs == row['least alike']
        and abs(row.graphs - np.corrcoef(*change)[0, 1]) < 2e-4
    )
    assert found['seeds']['joints drawn'].between(-1, 1).all()


def test_runs_are_found_by_their_weights(trained, clips):
    from msagcn.report.graph_facts import runs_with_weights

    ids = runs_with_weights(trained / 'reports', trained / 'runs', 'embedded', clips.data_hash)
    top1 = {
        m['run_id']: m['val_top1']
        for f in (trained / 'reports/runs').glob('*/metrics.json')
        for m in [json.loads(f.read_text())]
    }
    assert sorted(map(sorted, ids)) == [
        [run_id('msagcn', 1), run_id('msagcn', 2)],
        [run_id('msg3d', 1)],
    ]
    assert all(top1[seeds[0]] == max(top1[r] for r in seeds) for seeds in ids) and top1[
        ids[0][0]
    ] == max(top1.values())
    assert (
        runs_with_weights(trained / 'reports', trained / 'elsewhere', 'embedded', clips.data_hash)
        == []
    )


def test_absent_bodies_do_not_count():
    "The second of two bodies is in one clip only; the mean is over three bodies, not four."
    from msagcn.data.clips import Clips
    from msagcn.data.skeleton import NTU25
    from msagcn.experiments.train_parameters import TrainParameters
    from msagcn.feeds.feeds import batch, fed_store
    from msagcn.models.msagcn import MSAGCN, calibrate
    from msagcn.report.attention_facts import drawn, mean_span, watch

    x = np.random.default_rng(0).normal(0, 0.3, (16, 2, 25, 3)).astype(np.float32)
    x[:8, 1] = 0
    clips = Clips(
        benchmark='two',
        skeleton='ntu25',
        classes=['a', 'b'],
        names=['lone', 'pair'],
        labels=np.zeros(2, int),
        subjects=np.zeros(2, int),
        parts=['test'] * 2,
        hashes=[''] * 2,
        lengths=np.full(2, 8),
        frames=x,
        feed='whole',
    )
    model, given = MSAGCN(2, NTU25, 8, 2, width=40), batch(fed_store(clips), torch.arange(2), 8)
    seen = watch(
        calibrate(model, [given]),
        clips,
        TrainParameters(frames=8, width=40, feed='whole', device='cpu'),
    )
    maps = model.maps(given)[4]
    a, span = (
        drawn(maps['attention'].double().mean((1, 2)).numpy()),
        mean_span(maps['frames'].double().numpy()),
    )
    assert np.allclose(seen.attention[3, 0], a[[0, 2, 3]].mean(0), atol=1e-6) and not np.allclose(
        a[1], a[0], atol=1e-4
    )
    assert math.isclose(seen.span[3], span[[0, 2, 3]].mean(), rel_tol=1e-6)
    assert np.isnan(seen.attention[:, 1]).all()  # a class without clips


def section(monkeypatch, root, clips, benchmark='embedded'):
    "The report's cells on this, run unchanged; their output as text."
    from pathlib import Path

    from IPython.display import Markdown

    from msagcn.experiments.parameters import ReportParameters
    from msagcn.report.html import table_html

    cells = json.loads((ROOT / 'nbs/runs/report.ipynb').read_text())['cells']
    first = next(
        i for i, c in enumerate(cells) if '### What the graphs show' in ''.join(c['source'])
    )
    last = next(i for i, c in enumerate(cells) if '### Moving' in ''.join(c['source']))
    shown = []
    names = dict(
        p=ReportParameters(benchmark=benchmark, **places(root)),
        reports=Path(root) / 'reports',
        clips=clips,
        note=dict(data_hash=clips.data_hash if clips else ''),
        Path=Path,
        Markdown=Markdown,
        table_html=table_html,
        display=lambda *a: shown.extend(x.data if isinstance(x, Markdown) else str(x) for x in a),
    )
    for c in cells[first:last]:
        if c['cell_type'] == 'code':
            exec(''.join(c['source']), names)
    text = '\n'.join(shown)
    return text, text.count('<figure>')


def test_the_report_counts_reads_or_says_that_it_cannot(trained, clips, tmp_path, monkeypatch):
    from msagcn.report.graph_facts import facts_file, find_facts, read_facts, write_facts

    text, figures = section(monkeypatch, tmp_path, clips)
    assert (
        'nothing is counted' in text
        and not figures
        and not facts_file(tmp_path / 'reports', 'embedded').exists()
    )
    text, figures = section(monkeypatch, trained, clips)
    facts = read_facts(facts_file(trained / 'reports', 'embedded'))
    assert sorted(r.split('-')[0] for r in facts) == ['msagcn', 'msg3d'] and figures == 4 + 1
    assert (
        all(text.count(f'Run `{r}`.') == 4 for r in facts)
        and 'Read from' not in text
        and text.count('One seed only') == 1
    )
    moved = facts_file(tmp_path / 'reports', 'embedded')
    write_facts(moved, {run_id('msagcn', 1): find_facts([weights(trained, 'msagcn', 1)], clips, 2)})
    text, figures = section(monkeypatch, tmp_path, clips)
    assert (
        f'Run `{run_id("msagcn", 1)}`.' in text
        and text.count('Read from') == 1
        and 'One seed only' in text
        and figures == 3
    )
    assert all(f'<td>{c}</td>' in text for c in clips.classes)
    write_facts(moved, {run_id('msg3d', 1): find_facts([weights(trained, 'msg3d', 1)], clips)})
    text, figures = section(monkeypatch, tmp_path, None)
    assert (
        'no attention' in text
        and 'does not attend' in text
        and 'One seed only' in text
        and figures == 1
    )


def test_the_file_holds_means_and_names_only(tmp_path, clips, found):
    from msagcn.data.skeleton import skeleton_from
    from msagcn.report.graph_facts import facts_file, write_facts

    path = write_facts(facts_file(tmp_path, 'embedded'), {'r': found})
    rows = list(csv.DictReader(path.open()))
    words = {
        'r',
        '',
        *found,
        *clips.classes,
        *skeleton_from(clips.skeleton).joints,
        'itself',
        'inward',
        'outward',
        'before',
        'learned',
        'after',
        'blocks 1–4',
        'blocks 5–7',
        'blocks 8–10',
        *(f'block {b}' for b in range(1, 11)),
    }
    for row in rows:
        for v in row.values():
            assert v in words or math.isfinite(float(v))
    assert len(rows) == 90 + 3 * 20 * len(clips.classes) + 10 + 10 and path.stat().st_size < 60_000
    assert write_facts(path, {'r': found}).read_bytes() == path.read_bytes()


# what takes a part's place in the table -> the same by weights alone
BY_WEIGHTS = {
    ('stage attention', 'uniform'): ('own', 'cross'),  # a softmax of zeros
    ('context', 'zero'): ('context_mean',),
    ('frame gate', 'zero'): ('frame_gate',),
    ('nearest joints', 'zero'): ('edge.down',),
    ('learned graphs', 'start'): ('learned',),
}


def by_weights(model, names):
    "The network with weights that do what replacing a part does."
    from msagcn.models.graph import static_adjacency

    A = torch.tensor(static_adjacency(model.skeleton), dtype=torch.float)[:, None]
    for key, tensor in model.state_dict().items():
        _, _, short = key.partition('.graph.' if '.graph.' in key else '.temporal.')
        if short == 'learned' and 'learned' in names:
            tensor.copy_(A.expand_as(tensor))
        elif any(short == n or short.startswith(f'{n}.') for n in names):
            shut = 'frame_gate' in names and short == 'frame_gate.bias'
            tensor.fill_(-1e4 if shut else 0)
    return model


@pytest.mark.parametrize('part, instead', BY_WEIGHTS)
def test_a_replaced_part_is_what_weights_can_do(trained, clips, part, instead):
    from msagcn.data.clips import split
    from msagcn.feeds.feeds import fed_store
    from msagcn.report.worth import without
    from msagcn.training.evaluate import predict

    s, test = fed_store(clips), split(clips)['test'][:20]
    model = network(trained, 'msagcn', 1)
    T = model.shape[1]
    as_trained = predict(model, s, test, T, 'joint')
    with without(model, range(10), part, instead, []):
        found = predict(model, s, test, T, 'joint')
    expected = predict(by_weights(model, BY_WEIGHTS[part, instead]), s, test, T, 'joint')
    assert np.abs(found - as_trained).max() > 1e-4
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_the_command_writes_the_worth_of_each_part(trained, embedded, capsys):
    from msagcn.cli import main

    where = ['-p', 'data_dir', str(embedded)]
    for name in ('runs_dir', 'reports_dir'):
        where += ['-p', name, str(trained / name.removesuffix('_dir'))]
    runs = [run_id('msagcn', s) for s in (1, 2)]
    assert main(['facts', *runs, *where]) == 0
    with open(trained / 'reports/facts/worth.csv', encoding='utf-8') as f:
        rows = list(csv.DictReader(f))
    assert {r['run'] for r in rows} == set(runs)
    for run in runs:
        metrics = json.loads((trained / f'reports/runs/{run}/metrics.json').read_text())
        first = next(r for r in rows if r['run'] == run and r['part'] == 'as trained')
        assert float(first['top1']) == pytest.approx(metrics['top1'], abs=0.006)
        assert float(first['top1_clean']) == pytest.approx(metrics['top1_clean'], abs=0.006)
        per_block = [r for r in rows if r['run'] == run and r['blocks'].isdigit()]
        entropies = [float(r['entropy']) for r in per_block if r['entropy']]  # none of zeros
        assert len(per_block) == 60 and all(0 <= e <= 100.01 for e in entropies)
        assert len(entropies) > 50
    assert main(['facts', runs[0], '-p', 'held_out', 'true', *where]) == 0
    with open(trained / 'reports/facts/worth.csv', encoding='utf-8') as f:
        held_out = [r for r in csv.DictReader(f) if r['on'] == 'held out']
    metrics = json.loads((trained / f'reports/runs/{runs[0]}/metrics.json').read_text())
    first = next(r for r in held_out if r['part'] == 'as trained')
    assert float(first['top1']) == pytest.approx(metrics['val_top1'], abs=0.006)
    assert len(held_out) == len([r for r in rows if r['run'] == runs[0]])
    capsys.readouterr()
    assert main(['facts', run_id('msg3d', 1), *where]) == 2
    assert 'MSG3D has no part that depends on the clip' in capsys.readouterr().err
