"""Checks that need a GPU: `python tests/gpu_check.py [steps] [half] [msg3d] [epochs] [--data data]`.

steps: recorded steps against steps issued one by one, two recordings against each other, a training resumed
within an epoch; half: the same in bf16 and fp16; msg3d: its step at NTU's shape in four forms, with kernels
and memory; epochs: seconds of an epoch of NW-UCLA. Every part prints as it goes and lets the others run if it
fails; the exit status is the number of parts that failed. `--tiny` tries the script itself, on a CPU."""

import argparse
import statistics
import sys
import tempfile
import time
import traceback
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from msagcn.bench.contenders import SHAPES, Work, made_up_clips, network_step, wait_for
from msagcn.core import arithmetic, machine
from msagcn.data.clips import load_clips
from msagcn.fast import cuda_graph as captured
from msagcn.fast.msg3d_gpu import nodes_first
from msagcn.feeds.feeds import fed_store
from msagcn.models.msagcn import MSAGCN
from msagcn.models.msg3d import MSG3D
from msagcn.training.loop import fit
from msagcn.training.plan import Plan, epoch_order
from msagcn.training.setup import make_optimiser, suited
from msagcn.training.steps import CapturedSteps, steps_of

PLAN = Plan(batch_size=64, repeats=5, epochs=2, lr=0.02, warmup=0, milestones=())


def say(*words):
    print(f'[{time.perf_counter() - START:6.1f}]', *words, flush=True)


def check(what, good, more=''):
    say('ok  ' if good else 'BAD ', what, more)
    assert good, what


class Setting:
    "The data and the sizes of all parts."

    def __init__(self, a):
        self.tiny, self.device = a.tiny, torch.device('cpu' if a.tiny else 'cuda')
        folder = Path(a.data, 'nw_ucla')
        existing = (folder / 'manifest.json').exists()
        clips = load_clips(folder) if existing else made_up_clips(16 if a.tiny else 1020)
        train = [i for i, part in enumerate(clips.parts) if part == 'train']
        if a.tiny:
            train = train[:: -(-len(train) // 16)]
        self.store, self.train = fed_store(clips, self.device), torch.tensor(train)
        self.plan = replace(PLAN, frames=8, batch_size=8, repeats=2) if a.tiny else PLAN
        self.steps = 3 if a.tiny else 20
        self.width = 40 if a.tiny else 80
        say(f'{len(train)} clips of', 'NW-UCLA' if existing else 'noise', machine(self.device))

    def network(self):
        skeleton = SHAPES['nw_ucla'][1]
        model = MSAGCN(10, skeleton, self.plan.frames, width=self.width, seed=1)
        return model.to(self.device)

    def steps_from(self, plan):
        "Steps at the beginning of a training, and their model."
        model = suited(self.network(), plan, self.device)
        optimiser = make_optimiser(model, plan)
        scaler = torch.amp.GradScaler(self.device.type, enabled=plan.precision == 'fp16')
        work = steps_of(model.train(), self.store, self.train, plan, optimiser, scaler)
        order, passes = epoch_order(len(self.train), plan, 0, self.device)
        work.begin(self.train.to(self.device)[order], passes, 0.0, 0)
        return work, model

    def trained(self, plan):
        "Losses of the first steps, the model's tensors after them, and the way of stepping."
        work, model = self.steps_from(plan)
        losses = []
        for step in range(self.steps):
            work.take(step, plan.lr)
            losses.append(work.loss.item())
        return losses, {k: v.clone() for k, v in model.state_dict().items()}, type(work).__name__


def apart(a, b):
    return max(abs(x - y) / max(abs(x), 1e-9) for x, y in zip(a, b))


def equal(a, b):
    return all(a[k].equal(b[k]) for k in a)


def median_seconds(act, device, times):
    took = []
    for i in range(times + 2):
        wait_for(device)
        start = time.perf_counter()
        act(i)
        wait_for(device)
        took.append(time.perf_counter() - start)
    return statistics.median(took[2:])


def compare_ways(s, plan, kernels, tolerance):
    """Recorded steps against single ones, and against another recording.

    The learning rate is so small that rounding does not grow. PyTorch's own operations are only reported on:
    two trainings by them on a GPU need not have the same bits."""
    plan = replace(plan, lr=1e-5, kernels=kernels)
    name = f'{plan.precision}, {"kernels" if kernels else "PyTorch"}'
    one, _, _ = s.trained(replace(plan, capture=False))
    say(name, 'one by one, losses', [round(x, 4) for x in one[:6]], '…', round(one[-1], 4))
    a, first, way = s.trained(plan)
    check(f'{name}: is recorded', way == CapturedSteps.__name__)
    each = [abs(x - y) / (abs(x) + 1e-3) for x, y in zip(one, a)]
    say(name, 'recorded: apart by step', ' '.join(f'{x:.0e}' for x in each))
    b, second, _ = s.trained(plan)
    same = a == b and equal(first, second)
    odd = [k for k in first if not first[k].equal(second[k])]
    verdict = 'ok  ' if same else 'BAD ' if kernels else 'note'
    differing = f'{len(odd)} tensors differ, {odd[:3]}' if odd else ''
    say(verdict, f'{name}: two recordings have the same bits', differing)
    close = each[0] < tolerance and max(each) < 30 * tolerance
    check(f'{name}: recorded as one by one', close and all(x == x for x in a))
    return same or not kernels


def attempts(*acts):
    "Do all, and fail at the end if one has failed."
    failed = []
    for act in acts:
        try:
            failed += [] if act() is not False else ['the same bits']
        except Exception as e:
            traceback.print_exc(file=sys.stdout)
            failed.append(f'{type(e).__name__}: {e}')
            sys.stdout.flush()
    assert not failed, failed


def part_steps(s):
    singly = replace(s.plan, capture=False)
    passes = torch.zeros(8, dtype=torch.long, device=s.device)
    x, y = s.steps_from(singly)[0].input(s.train[:8].to(s.device), passes)
    check('feed', bool(x.isfinite().all()))
    order, passes = epoch_order(len(s.train), s.plan, 0, s.device)
    work = s.steps_from(singly)[0]
    act = lambda i: work.input(s.train.to(s.device)[order], passes)
    seconds = median_seconds(act, s.device, 3)
    say(f"an epoch's input, {len(order)} clips: {1e3 * seconds:.1f} ms")
    for_kernels = lambda kernels: (
        lambda: compare_ways(s, s.plan, kernels, 1e-4),
        lambda: timed_step(s, kernels, capture=False),
        lambda: timed_step(s, kernels, capture=True),
        lambda: resumed(s, kernels),
    )
    attempts(*for_kernels(False), *for_kernels(True))


def timed_step(s, kernels, capture):
    "Time, memory and kernels of a step of NW-UCLA."
    work = s.steps_from(replace(s.plan, capture=capture, kernels=kernels))[0]
    n = len(s.train) * s.plan.repeats // s.plan.batch_size
    seconds = median_seconds(lambda i: work.take(i % n, 1e-3), s.device, 3 if s.tiny else 15)
    say(
        f'step of NW-UCLA, batch {s.plan.batch_size}, fp32:',
        f'kernels {kernels}, recorded {capture}: {1e3 * seconds:.2f} ms,',
        memory(s.device),
        kernels_of(lambda i: work.take(i, 1e-3), s.device),
    )


def resumed(s, kernels):
    "A training stopped within its epoch and resumed, against one without a stop."
    plan = replace(s.plan, kernels=kernels)
    with tempfile.TemporaryDirectory() as d:
        ends = {}
        for name, stops in (('whole', [s.steps]), ('parts', [s.steps // 2, s.steps])):
            for stop in stops:
                fit(s.network(), s.store, s.train, plan, f'{d}/{name}', stop=stop)
            ends[name] = load_file(f'{d}/{name}')
        same = equal(ends['whole'], ends['parts'])
        if kernels:
            check('resumed within an epoch: the same bits', same)
        else:
            say('ok  ' if same else 'note', 'PyTorch: resumed within an epoch: the same bits', same)


def part_half(s):
    for precision in ('bf16',) if s.tiny else ('bf16', 'fp16'):
        plan = replace(s.plan, precision=precision)
        attempts(*(lambda k=k: compare_ways(s, plan, k, 1e-2) for k in (False, True)))


def memory(device):
    if device.type != 'cuda':
        return ''
    peak = torch.cuda.max_memory_allocated() / 2**20
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return f'peak {peak:.0f} MiB'


def kernels_of(act, device):
    "Number of kernels and their time."
    if device.type != 'cuda':
        return 'kernels not counted'
    from torch.profiler import ProfilerActivity, profile

    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as p:
        act(0)
        torch.cuda.synchronize()
    found = [e for e in p.events() if e.device_type == torch.autograd.DeviceType.CUDA]
    return f'{len(found)} kernels, busy {sum(e.device_time for e in found) / 1e3:.1f} ms'


def part_msg3d(s):
    classes, skeleton, T, M = SHAPES['ntu']
    T, more = (8, dict(width=12)) if s.tiny else (T, {})
    make = lambda: MSG3D(classes, skeleton, T, M, **more).to(s.device)
    compare_nodes_first(s, make, (2, 3, T, skeleton.V, M))
    N, precision = (2, 'fp32') if s.tiny else (32, 'bf16')
    plan = Plan(frames=T, batch_size=N, precision=precision, lr=1e-3)
    for nodes in (True, False):
        for capture in (True, False):
            timed_msg3d(s, make, nodes, replace(plan, capture=capture))
    if not s.tiny:
        timed_literal_msg3d(s, precision, N)


def compare_nodes_first(s, make, shape):
    "MS-G3D with nodes first against the readable one, in float64."
    plain, first = make().double().train(), nodes_first(make().double().train())
    x = torch.randn(*shape, device=s.device, dtype=torch.double)
    grads = []
    for m in (plain, first):
        y = m(x)
        y.square().sum().backward()
        grads.append([y.detach(), *(p.grad for p in m.parameters())])
    most = max(g.abs().max() for g in grads[0][1:])
    worst = max(((a - b).abs().max() / most).item() for a, b in zip(*grads))
    check('nodes first in float64: logits and gradients', worst < 1e-10, f'{worst:.1e}')


def timed_msg3d(s, make, nodes, plan):
    "Time, memory and kernels of a step of MS-G3D at NTU's shape."
    store = fed_store(made_up_clips(4 if s.tiny else 64, 'ntu'), s.device)
    model = make().train()
    if nodes:
        nodes_first(model)
    optimiser = make_optimiser(model, plan)
    clips = torch.arange(len(store), device=s.device)
    scaler = torch.amp.GradScaler(s.device.type, enabled=False)
    work = steps_of(model, store, clips, plan, optimiser, scaler)
    work.begin(clips, torch.zeros_like(clips), 0.0, 0)
    act = lambda i: work.take(i % 2, 1e-3)
    seconds = median_seconds(act, s.device, 1 if s.tiny else 10)
    say(
        f'MS-G3D step, batch {plan.batch_size}, T {plan.frames}, {plan.precision}:',
        f'nodes first {nodes}, recorded {plan.capture}: {1e3 * seconds:.1f} ms,',
        memory(s.device),
        kernels_of(act, s.device),
    )


def timed_literal_msg3d(s, precision, batch):
    "Time, memory and kernels of a step of the literal MS-G3D."
    how = dict(by='literal', precision=precision, batch=batch, device='cuda', optimiser=True)
    step = network_step(Work('train', 'msg3d', **how))
    seconds = median_seconds(lambda i: step(), s.device, 10)
    peak, kernels = memory(s.device), kernels_of(lambda i: step(), s.device)
    say(f'MS-G3D step, literal: {1e3 * seconds:.1f} ms,', peak, kernels)


def part_epochs(s):
    def epochs(kernels):
        plan = replace(s.plan, kernels=kernels)
        with tempfile.TemporaryDirectory() as d:
            history = fit(s.network(), s.store, s.train, plan, f'{d}/run')
        seconds, losses = [h['seconds'] for h in history], [round(h['loss'], 4) for h in history]
        say(f'seconds an epoch of NW-UCLA: kernels {kernels}:', seconds, 'losses', losses)

    attempts(lambda: epochs(True), lambda: epochs(False))


PARTS = dict(steps=part_steps, half=part_half, msg3d=part_msg3d, epochs=part_epochs)

if __name__ == '__main__':
    START = time.perf_counter()
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('parts', nargs='*', default=[], help=', '.join(PARTS))
    p.add_argument('--data', default='data')
    p.add_argument('--tiny', action='store_true')
    a = p.parse_args()
    if a.tiny:
        captured.RECORDERS['cpu'] = captured.Repeated
    s, failed = Setting(a), []
    for name in a.parts or PARTS:
        try:
            with arithmetic():
                PARTS[name](s)
        except Exception:
            failed.append(name)
            traceback.print_exc(file=sys.stdout)
            say(f'part {name} failed')
    say('failed:', ', '.join(failed) or 'none')
    sys.exit(len(failed))
