"""The literal network against the release's golden files, and against the numbers of the file-free fill."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from fills import fill_input, fill_msagcn

from msagcn.models.literal_msagcn import (
    NTU_INWARD,
    NTU_OUTWARD,
    UCLA_INWARD,
    UCLA_OUTWARD,
    LiteralMSAGCN,
)

GOLDEN = Path(__file__).resolve().parents[2] / 'shared' / 'golden'
SHAPES = dict(
    ntu=dict(num_classes=60, V=25, T=64, M=2, inward=NTU_INWARD, outward=NTU_OUTWARD),
    ucla=dict(num_classes=10, V=20, T=52, M=1, inward=UCLA_INWARD, outward=UCLA_OUTWARD),
)
DEAD = ('mscam.alpha', 'Att.bn.', 'Channelcorrelation.conv4.', 'branches.4.0.bn.')


def is_dead(name):
    return any(d in name for d in DEAD)


def rel(a, b):
    return ((a - b).abs().max() / b.abs().max()).item()


def grad_norms(net):
    return {k: p.grad.norm().item() for k, p in net.named_parameters() if p.grad is not None}


def total_norm(norms):
    return sum(v * v for v in norms.values()) ** 0.5


@pytest.mark.parametrize(
    'name,total,live', [('ntu', 3_758_482, 3_668_728), ('ucla', 3_671_684, 3_581_930)]
)
def test_parameter_counts(name, total, live):
    net = LiteralMSAGCN(**SHAPES[name])
    assert sum(p.numel() for p in net.parameters()) == total
    assert sum(p.numel() for k, p in net.named_parameters() if not is_dead(k)) == live


@pytest.mark.parametrize('name', SHAPES)
def test_golden_files(name):
    weights, io = (
        GOLDEN / f'msagcn_{name}_weights.safetensors',
        GOLDEN / f'msagcn_{name}_io.safetensors',
    )
    if not (weights.exists() and io.exists()):
        pytest.skip(f'msagcn_{name}: no golden files in ../shared')
    from safetensors.torch import load_file

    sd, io = load_file(weights), load_file(io)
    net = LiteralMSAGCN(**SHAPES[name])
    net.load_state_dict(sd, strict=True)
    net = net.double()
    errors = {}

    net.eval()
    tmst = []
    hook = net.l1.tmst.register_forward_hook(lambda mod, args, out: tmst.append(out))
    with torch.no_grad():
        logits, blocks, mscam = net(io['x'], return_blocks=True)
    hook.remove()
    errors['eval.logits'] = rel(logits, io['eval.logits'])
    for key, out in {
        'l1.mscam': mscam,
        'l1.tmst': tmst[0],
        'l1': blocks[0],
        'l4': blocks[3],
        'l5': blocks[4],
        'l10': blocks[9],
    }.items():
        errors[f'eval.{key}'] = rel(out[0, :8], io[f'eval.{key}.sample0_person0_first8ch'])
        errors[f'eval.{key}.mean_abs'] = rel(out.abs().mean(), io[f'eval.{key}.mean_abs'])
    with torch.no_grad():
        errors['eval.logits_sample0_alone'] = rel(net(io['x'][:1]), io['eval.logits_sample0_alone'])

    net.train()  # eval leaves the weights and running statistics as loaded
    logits = net(io['x'])
    loss = F.cross_entropy(logits, io['y'])
    loss.backward()
    errors['train.logits'], errors['train.loss'] = (
        rel(logits, io['train.logits']),
        rel(loss, io['train.loss']),
    )
    errors['train.data_bn.running_mean'] = rel(
        net.data_bn.running_mean, io['train.data_bn.running_mean']
    )
    for k, e in errors.items():
        print(f'{name:5s}{k:28s} {e:.2e}')
    assert max(errors.values()) <= 1e-7, errors

    want = {
        k.removeprefix('train.gradnorm.'): v.item()
        for k, v in io.items()
        if k.startswith('train.gradnorm.')
    }
    got, total = grad_norms(net), total_norm(want)
    assert set(got) == set(want) and not any(map(is_dead, got))
    excess = {k: abs(got[k] - b) / (1e-6 * abs(b) + 1e-9 * total) for k, b in want.items()}
    worst = max(excess, key=excess.get)
    print(
        f'{name:5s}worst gradient norm {worst}: {excess[worst]:.2e} of the allowance; total norm {total:.8g}'
    )
    assert excess[worst] <= 1, (worst, got[worst], want[worst])


# The table of the file-free fill, as printed: a number must agree to half a unit of its last printed place.
FILL = dict(
    ntu={
        'eval logits[0]': '0.08528019 -0.01218394 -0.00110447 -0.08453474 -0.06189352 0.07547694',
        'eval logits[1]': '0.08529504 -0.01218783 -0.00106323',
        'eval sum': '0.0356738',
        'msagc 1': '0.3522686 0.4510268 0.1625228 1.0902255 1.0191627',
        'block 1': '0.0690252 0.1895438',
        'block 4': '0.4776434 1.0451912',
        'block 7': '0.3312792 0.6091647',
        'block 10': '0.2735149 0.5335285',
        'train logits[0]': '0.1822863 0.0048978 -0.0535658 -0.0421754',
        'loss': '4.11236055',
        'grads': '0.5787535 1.3315431 0.4207237 0.4569658 0.1432320 14.0444866',
        'total grad': '21.381906',
    },
    ucla={
        'eval logits[0]': '0.06202305 0.00685155 -0.02790792 -0.10001506 -0.03177811 0.07148819',
        'eval logits[1]': '0.06211765 0.00672843 -0.02773861',
        'eval sum': '-0.1021884',
        'msagc 1': '0.3034520 0.3887398 0.0000000 0.879814 1.1060606',
        'block 1': '0.0594937 0.1394677',
        'block 4': '0.3308057 0.6352432',
        'block 7': '0.2194299 0.3277036',
        'block 10': '0.2045673 0.3444176',
        'train logits[0]': '0.1987300 -0.0055880 -0.0530820 -0.0353713',
        'loss': '2.3293653',
        'grads': '1.4195433 2.1021953 0.9834319 0.9042693 0.7599785 13.0223905',
        'total grad': '34.015154',
    },
)
GRADS = (
    'data_bn.weight',
    'to_joint_embedding.weight',
    'l1.mscam.Pre_def',
    'l5.mscam.conv.weight',
    'l10.mscam.edgeConv.conv.0.weight',
    'fc.weight',
)


@pytest.mark.parametrize('name', SHAPES)
def test_file_free_fill(name):
    shape = SHAPES[name]
    net = LiteralMSAGCN(**shape).double()
    net.load_state_dict(fill_msagcn(net.state_dict()), strict=True)
    x = fill_input(2, 3, shape['T'], shape['V'], shape['M'])

    net.eval()
    with torch.no_grad():
        logits, blocks, mscam = net(x, return_blocks=True)

    def stats(a):
        return [a.mean(), a.std(correction=0)]

    got = {
        'eval logits[0]': logits[0, :6],
        'eval logits[1]': logits[1, :3],
        'eval sum': [logits.sum()],
        'msagc 1': [*stats(mscam), *mscam[0, :3, 0, 0]],
    } | {f'block {i}': stats(blocks[i - 1]) for i in (1, 4, 7, 10)}

    net.train()
    logits = net(x)
    loss = F.cross_entropy(logits, torch.tensor([3, 7]))
    loss.backward()
    norms = grad_norms(net)
    got |= {
        'train logits[0]': logits[0, :4].detach(),
        'loss': [loss.detach()],
        'grads': [norms[k] for k in GRADS],
        'total grad': [total_norm(norms)],
    }

    wrong = []
    for key, printed in FILL[name].items():
        for want, have in zip(printed.split(), map(float, got[key]), strict=True):
            if abs(have - float(want)) > 0.5001 * 10 ** -len(want.split('.')[1]):
                wrong.append((key, want, have))
    assert not wrong, wrong
    # BatchNorm removes any constant of a (body, joint, channel)
    assert norms['pos_embedding'] < 1e-9 * total_norm(norms)
