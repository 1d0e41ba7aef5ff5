"""Our MSA-GCN, readable and lean, computes what the release computes.

Both golden sets, the file-free fill, the literal network at other sizes; it traces as one graph; and
the properties of `context='running'`. The release's tensors are pieces of ours, so gradients are cut up
and compared name by name.
"""

import pytest
import torch
import torch.nn.functional as F
from conftest import SHARED, need, of_few_blocks
from fills import fill_input, fill_msagcn
from safetensors.torch import load_file, save_file
from test_oracle import FILL, GRADS, SHAPES, is_dead, rel, total_norm

from msagcn.core import MsagcnError
from msagcn.data.skeleton import NTU25, UCLA20
from msagcn.fast.lean import LEAN, exchange
from msagcn.foreign.msagcn import from_release, load_release, release_names
from msagcn.models.literal_msagcn import LiteralMSAGCN
from msagcn.models.msagcn import MSAGCN, calibrate
from msagcn.models.msg3d import MSG3D

SKELETON = dict(ntu=NTU25, ucla=UCLA20)


def release_gradients(model):
    """Our gradients under the release's names.

    A tensor made of n of theirs is cut into n along the first axis.
    """
    out = {}
    for name, p in model.named_parameters():
        theirs = release_names(name)
        out |= dict(zip(theirs, p.grad.chunk(len(theirs)), strict=True))
    return out


def norms(gradients):
    return {k: g.norm().item() for k, g in gradients.items()}


def pair(width=80, classes=None, T=None, M=None, skeleton='ntu', context='batch', table=LEAN):
    "The literal network and ours with the weights of the file-free fill, float64."
    shape = SHAPES[skeleton] | {k: v for k, v in dict(num_classes=classes, T=T, M=M).items() if v}
    literal = LiteralMSAGCN(**shape, width=width).double()
    literal.load_state_dict(fill_msagcn(literal.state_dict()))
    ours = MSAGCN(
        shape['num_classes'],
        SKELETON[skeleton],
        shape['T'],
        shape['M'],
        width=width,
        context=context,
    ).double()
    return literal, from_release(literal.state_dict(), exchange(ours, table))


def watched_forward(model, x):
    "Logits, the ten block outputs, and the first block's graph and temporal outputs."
    seen, hooks = {}, []
    for name, m in [
        *enumerate(model.blocks, 1),
        ('graph', model.blocks[0].graph),
        ('temporal', model.blocks[0].temporal),
    ]:
        hooks.append(m.register_forward_hook(lambda m, i, out, name=name: seen.update({name: out})))
    with torch.no_grad():
        logits = model(x)
    for h in hooks:
        h.remove()
    return logits, seen


@pytest.mark.parametrize('name', SHAPES)
def test_golden_files(name, table=LEAN):
    golden = need(SHARED / 'golden', 'golden files')
    io = load_file(need(golden / f'msagcn_{name}_io.safetensors', 'golden'))
    model = (
        exchange(load_release(need(golden / f'msagcn_{name}_weights.safetensors', 'golden')), table)
        .double()
        .eval()
    )

    logits, seen = watched_forward(model, io['x'])
    errors = {'logits': rel(logits, io['eval.logits'])}
    with torch.no_grad():
        errors['alone'] = rel(model(io['x'][:1]), io['eval.logits_sample0_alone'])
    kept = {'l1.mscam': seen['graph'], 'l1.tmst': seen['temporal'].relu()} | {
        f'l{i}': seen[i] for i in (1, 4, 5, 10)
    }
    for key, out in kept.items():
        errors[key] = rel(out[0, :8], io[f'eval.{key}.sample0_person0_first8ch'])
        errors[f'{key} size'] = rel(out.abs().mean(), io[f'eval.{key}.mean_abs'])

    logits = model.train()(io['x'])
    loss = F.cross_entropy(logits, io['y'])
    loss.backward()
    errors |= {
        'train logits': rel(logits, io['train.logits']),
        'loss': rel(loss, io['train.loss']),
        'running mean': rel(model.input_bn.running_mean, io['train.data_bn.running_mean']),
    }
    print(name, {k: f'{e:.1e}' for k, e in errors.items()})
    assert max(errors.values()) <= 1e-7, errors

    want = {
        k.removeprefix('train.gradnorm.'): v.item()
        for k, v in io.items()
        if k.startswith('train.gradnorm.')
    }
    got = norms(release_gradients(model))
    total = total_norm(want)
    assert set(got) == set(want)
    wrong = {
        k: (got[k], b) for k, b in want.items() if abs(got[k] - b) > 1e-6 * abs(b) + 1e-9 * total
    }
    assert not wrong


@pytest.mark.parametrize('name', SHAPES)
def test_file_free_fill(name, table=LEAN):
    shape, (_, model) = SHAPES[name], pair(skeleton=name, table=table)
    x = fill_input(2, 3, shape['T'], shape['V'], shape['M'])
    logits, seen = watched_forward(model.eval(), x)

    def stats(a):
        return [a.mean(), a.std(correction=0)]

    got = {
        'eval logits[0]': logits[0, :6],
        'eval logits[1]': logits[1, :3],
        'eval sum': [logits.sum()],
        'msagc 1': [*stats(seen['graph']), *seen['graph'][0, :3, 0, 0]],
    } | {f'block {i}': stats(seen[i]) for i in (1, 4, 7, 10)}
    with torch.no_grad():
        single = pair(skeleton=name, table=table)[1].float().eval()(x.float())
    assert rel(single.double(), logits) <= 1e-4

    logits = model.train()(x)
    loss = F.cross_entropy(logits, torch.tensor([3, 7]))
    loss.backward()
    n = norms(release_gradients(model))
    got |= {
        'train logits[0]': logits[0, :4].detach(),
        'loss': [loss.detach()],
        'grads': [n[k] for k in GRADS],
        'total grad': [total_norm(n)],
    }
    # half a unit of the last printed place
    wrong = [
        (key, want, have)
        for key, printed in FILL[name].items()
        for want, have in zip(printed.split(), map(float, got[key]), strict=True)
        if abs(have - float(want)) > 0.5001 * 10 ** -len(want.split('.')[1])
    ]
    assert not wrong
    assert n['pos_embedding'] < 1e-9 * total_norm(n)


@pytest.mark.parametrize(
    'size',
    [
        dict(skeleton='ucla', T=20, M=2, width=40, classes=7),
        dict(skeleton='ntu', T=12, M=1, width=120, classes=3),
        dict(skeleton='ntu', T=36, M=3, width=40, classes=5),
    ],
    ids=str,
)
def test_literal_network_at_other_sizes(size, table=LEAN):
    literal, ours = pair(**size, table=table)
    V = SHAPES[size['skeleton']]['V']
    x = (
        fill_input(3, 3, size['T'], V, size['M'])
        + 0.3
        * torch.randn(
            3, 3, size['T'], V, size['M'], generator=torch.Generator().manual_seed(1)
        ).double()
    )
    y = torch.tensor([0, 2, 1])
    with torch.no_grad():
        assert rel(ours.eval()(x), literal.eval()(x)) <= 1e-9
    for net in (literal.train(), ours.train()):
        F.cross_entropy(net(x), y).backward()
    want = {k: p.grad for k, p in literal.named_parameters() if not is_dead(k)}
    got, total = release_gradients(ours), total_norm(norms(want))
    assert set(got) == set(want)
    wrong = {
        k: (got[k] - g).abs().max().item()
        for k, g in want.items()
        if got[k].shape != g.shape or (got[k] - g).abs().max() > 1e-6 * g.abs().max() + 1e-9 * total
    }
    assert not wrong
    state, ours = literal.state_dict(), ours.state_dict()  # one step moves running statistics alike
    for name, t in ours.items():
        for r, piece in zip(
            release_names(name), t.chunk(len(release_names(name)) or 1) if t.ndim else [t]
        ):
            if r.endswith(('running_mean', 'running_var')):
                assert rel(piece, state[r]) <= 1e-9, r
            if r.endswith('num_batches_tracked'):
                assert piece == state[r], r


@pytest.mark.parametrize('name', SHAPES)
def test_golden_files_by_the_readable_network(name):
    test_golden_files(name, {})


def test_the_readable_network_at_another_size():
    test_literal_network_at_other_sizes(dict(skeleton='ntu', T=16, M=2, width=40, classes=3), {})


def one_graph(model):
    return torch.compile(model, fullgraph=True, backend='aot_eager')


def traces_as_one_graph(model):
    "Forward, loss and gradients are traced without a break, and compute what eager code computes."
    x, y = (
        torch.rand(3, *model.shape, generator=torch.Generator().manual_seed(0)),
        torch.tensor([0, 2, 3]),
    )
    losses, gradients = [], []
    for net in (model, one_graph(model)):
        loss = F.cross_entropy(net(x), y)
        losses.append(loss.item())
        gradients.append(torch.autograd.grad(loss, list(model.parameters())))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    largest = max(g.abs().max() for g in gradients[0])
    assert max((a - b).abs().max() for a, b in zip(*gradients)) < 1e-4 * largest


def test_a_training_step_of_the_readable_network_is_one_graph():
    traces_as_one_graph(MSAGCN(4, UCLA20, 8, 2, width=40, seed=1))


def test_the_readable_network_is_one_graph_in_evaluation():
    model = of_few_blocks(MSAGCN(4, UCLA20, 8, 2, width=40, seed=1))
    x = torch.rand(3, *model.shape, generator=torch.Generator().manual_seed(0))
    model(x)  # for the context's mean
    model.eval().require_context()  # reads from the device, once
    with torch.no_grad():
        torch.testing.assert_close(one_graph(model)(x), model(x))


def test_a_training_step_of_msg3d_is_one_graph():
    traces_as_one_graph(MSG3D(4, UCLA20, 8, 2, width=12, seed=1))


def clips(n):
    return fill_input(n, 3, 52, 20, 1) * torch.linspace(0.5, 1.5, n).double().view(-1, 1, 1, 1, 1)


@torch.no_grad()
def test_running_context_does_not_look_at_neighbours():
    _, model = pair(skeleton='ucla')
    x = clips(5)
    calibrate(model, [clips(3), clips(4) + 0.1])
    together = model(x)
    for rows in ([0], [3], [4, 1], [2, 2, 0]):
        assert rel(model(x[rows]), together[rows]) <= 1e-12
    model.set_context('batch')
    assert rel(model(x[:1]), model(x)[:1]) > 1e-9  # the release's form does look


@torch.no_grad()
def test_calibrated_on_a_batch_running_equals_batch_there():
    _, model = pair(skeleton='ucla')
    x = clips(4)
    want = model.eval()(x)
    assert rel(calibrate(model, [x])(x), want) <= 1e-12
    assert model.context == 'running' and not model.training


def test_running_context_needs_an_average(tmp_path):
    model = MSAGCN(10, UCLA20, 8, width=40, context='running').eval()
    with pytest.raises(MsagcnError, match='calibrate'):
        model(torch.zeros(2, 3, 8, 20, 1))
    with pytest.raises(MsagcnError, match='calibrate'):
        pair(skeleton='ucla')[1].eval().set_context('running')
    with pytest.raises(MsagcnError, match='calibrate'):
        calibrate(model, [])
    model.train()(torch.rand(2, 3, 8, 20, 1))
    model.eval()(torch.rand(1, 3, 8, 20, 1))  # training is enough


def test_published_weights_are_loaded_whole_or_refused(tmp_path):
    state = {
        k: v.float().contiguous() if v.is_floating_point() else v
        for k, v in pair(skeleton='ucla')[0].state_dict().items()
    }

    def refused(state, words, **how):
        save_file(state, tmp_path / 'w.safetensors')
        with pytest.raises(MsagcnError, match=words) as e:
            load_release(tmp_path / 'w.safetensors', **how)
        assert 'w.safetensors' in str(e.value) and '\n' not in str(e.value)

    refused(
        {k: v for k, v in state.items() if k != 'l3.mscam.bn.weight'}, 'missing.*l3.mscam.bn.weight'
    )
    refused({k: v for k, v in state.items() if k != 'pos_embedding'}, 'pos_embedding')
    refused(state | {'l3.extra': torch.zeros(1)}, 'unknown.*l3.extra')
    refused(state, 'calibrate', context='running')
    refused(state, 'context', context='none')
    refused(state | {'fc.bias': torch.zeros(11)}, 'fc.bias')
    refused(state, '20 joints', skeleton=NTU25)
    torch.save(
        {'state_dict': {f'module.{k}': v for k, v in state.items()}, 'epoch': 3},
        tmp_path / 'checkpoint.pth.tar',
    )
    save_file(state, tmp_path / 'w.safetensors')
    a, b = (
        load_release(tmp_path / f).state_dict() for f in ('checkpoint.pth.tar', 'w.safetensors')
    )
    assert all(torch.equal(a[k], b[k]) for k in a)
