"""The benchmark: promised columns, counted operations, exact folding, cost that grows linearly.

Operations are compared with independent formulas.
"""

import sys
import time

import pandas as pd
import pytest
import torch
from conftest import ROOT, pairs, sh
from test_export import settled
from torch import nn

from msagcn.bench.contenders import Work, network_step
from msagcn.bench.roofline import count
from msagcn.bench.table import COLUMNS, keep_rows
from msagcn.core import MsagcnError
from msagcn.data.skeleton import UCLA20
from msagcn.fast.fold import fold
from msagcn.models.literal_msagcn import UCLA_INWARD, UCLA_OUTWARD, LiteralMSAGCN
from msagcn.models.literal_msg3d import LiteralMSG3D
from msagcn.models.msagcn import MSAGCN
from msagcn.models.msg3d import MSG3D

PROMISED = (
    'task model shape batch precision device '
    'ours_seconds against against_seconds ratio ours_mib against_mib'
).split()


def test_the_command_writes_the_table(tmp_path):
    small = pairs(
        shape='nw_ucla',
        frames=4,
        width=40,
        models='[msagcn]',
        batches='[2]',
        precisions='[fp32]',
        modes='[eager, recompute]',
        rounds=1,
        turn=0,
        reports_dir=tmp_path,
    )
    sh(sys.executable, '-m', 'msagcn', 'bench', '-p', 'tasks', '[train, count]', *small, cwd=ROOT)
    table = pd.read_csv(tmp_path / 'bench/bench.csv', dtype=str, keep_default_na=False)
    assert table.columns.tolist() == PROMISED == COLUMNS
    here = table[(table.device == 'cpu') & (table.against == 'literal, fp32')]
    assert here.model.tolist() == ['msagcn', 'msagcn, recompute'] and (
        here[['ours_seconds', 'against_seconds', 'ours_mib']].astype(float) > 0
    ).all(axis=None)
    assert (
        here.against_seconds.astype(float) / here.ours_seconds.astype(float)
        - here.ratio.astype(float)
    ).abs().max() < 0.01 * here.ratio.astype(float).max()
    floors = table[table.against.str.startswith('floor')]
    assert len(floors) == 4 and floors.ratio.astype(float).between(0, 1, 'neither').all()
    gpu = table[table.device == 'cuda']
    assert len(gpu) == 24 and (gpu.ours_seconds == 'not run').all()
    refused = sh(
        sys.executable,
        '-m',
        'msagcn',
        'bench',
        '-p',
        'reference_dirs',
        f'[{tmp_path}]',
        *small,
        cwd=ROOT,
        check=False,
    )
    assert (
        refused.returncode == 2
        and refused.stderr.startswith('msagcn: reference_dirs: ')
        and 'Traceback' not in refused.stderr
    )


def test_what_another_machine_measured_stays(tmp_path):
    rows = [
        dict.fromkeys(COLUMNS, '') | dict(task='train', device=d, ours_seconds=s)
        for d, s in (('cpu', '1'), ('cuda', '2'), ('cpu', '3'))
    ]
    keep_rows(tmp_path / 'b.csv', rows[:2])
    assert sorted(keep_rows(tmp_path / 'b.csv', rows[2:]).ours_seconds) == ['2', '3']
    (tmp_path / 'b.csv').write_text('a,b\n1,2\n')
    with pytest.raises(MsagcnError, match='b.csv: no column task'):
        keep_rows(tmp_path / 'b.csv', rows)


def msg3d_by_hand(T, V, M, c, K, K_window=6, classes=60):
    """Operations of MS-G3D's forward pass.

    The convolution comes before the sum over nodes, except where it increases the number of channels.
    """
    total = 2 * 4 * c * classes / M

    def temporal(C, O, T, stride):
        b, after = O // 6, -(-T // stride)
        return (
            2
            * V
            * (
                T * C * 5 * b
                + after * (4 * 3 * b * b + C * (O - 5 * b))
                + (after * C * O if C != O or stride > 1 else 0)
            )
        )

    for C, mid, O, stride in ((3, c, c, 1), (c, c, 2 * c, 2), (2 * c, 2 * c, 4 * c, 2)):
        after = -(-T // stride)
        for w, k, S in ((1, K, T), (3, K_window, after), (5, K_window, after)):
            total += 2 * k * C * mid * (V * T if mid <= C else w * V * S) + 2 * S * (
                w * V
            ) ** 2 * k * min(C, mid)
            if w > 1:
                total += 2 * S * V * w * mid * O
        total += temporal(mid, O, T, stride) + temporal(O, O, after, 1) + temporal(O, O, after, 1)
        T = after
    return total * M


def test_operations_of_msg3d():
    model = MSG3D(60, UCLA20, 20, 2, width=12)
    assert count(model, (3, 20, 20, 2))['forward'] == msg3d_by_hand(20, 20, 2, 12, model.scales)


@pytest.mark.parametrize(
    'ours, literal',
    [
        (
            lambda: MSAGCN(10, UCLA20, 16, 2, width=40, context='batch'),
            lambda: LiteralMSAGCN(
                10, 20, 16, 2, inward=UCLA_INWARD, outward=UCLA_OUTWARD, width=40
            ),
        ),
        (
            lambda: MSG3D(10, UCLA20, 16, 2, width=12),
            lambda: LiteralMSG3D(
                10, UCLA20.inward, 20, 2, K=MSG3D(10, UCLA20, 16).scales, width=12
            ),
        ),
    ],
    ids=['msagcn', 'msg3d'],
)
def test_ours_normalises_the_same_numbers_with_fewer_operations(ours, literal):
    "The inputs of BatchNorm are given by the network, however it is computed."
    a, b = (count(m(), (3, 16, 20, 2)) for m in (ours, literal))
    assert a['normalised'] == b['normalised'] and a['forward'] < b['forward']


@pytest.mark.parametrize(
    'make',
    [
        lambda t: MSAGCN(3, UCLA20, 8, 2, width=40, topology=t),
        lambda t: MSG3D(
            3, UCLA20, 9, 2, width=12, normalize='column' if t == 'figure' else 'symmetric'
        ),
    ],
    ids=['msagcn', 'msg3d'],
)
@pytest.mark.parametrize('topology', ['release', 'figure'])
def test_folding_is_exact(make, topology):
    model = settled(make(topology)).eval()
    x = torch.rand(3, *model.shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
    kept = [b.clone() for b in model.state_dict().values()]
    with torch.no_grad():
        few, y = fold(model), model(x)
    assert ((few(x) - y).abs().max() / y.abs().max()).item() < 1e-5
    # the model itself is left alone
    assert all(torch.equal(a, b) for a, b in zip(kept, model.state_dict().values()))
    norms = [
        sum(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in n.modules())
        for n in (model, few)
    ]
    assert norms[1] < 0.6 * norms[0], norms
    for m in (m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)):
        m.running_mean += 0.3
    with torch.no_grad():
        # the check can fail
        assert ((fold(model)(x) - y).abs().max() / y.abs().max()).item() > 1e-3


def cpu_seconds(f):
    "Of all threads, so that what runs beside does not count."
    start = time.process_time()
    f()
    return time.process_time() - start


def test_a_clip_costs_the_same_in_a_larger_batch():
    "Within a wide margin: timings on a test machine are noisy."
    step = {
        n: network_step(Work('train', batch=n, shape='nw_ucla', frames=16, width=40))
        for n in (4, 16)
    }
    rounds = [{n: cpu_seconds(f) / n for n, f in step.items()} for _ in range(4)]
    each = {n: min(r[n] for r in rounds) for n in step}
    assert each[16] < 1.5 * each[4], each
