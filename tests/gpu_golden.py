"""MSA-GCN's golden training step by Triton kernels under Triton's interpreter: half an hour, not for CI.

    TRITON_INTERPRET=1 python tests/gpu_golden.py [ucla|ntu]

In float32, beside PyTorch's own operations in float32: errors relative to the golden numbers, and of the
norm of all gradients. Needs Triton (pip install -e '.[gpu-tests]') and shared/golden.
"""

import sys

import torch
import torch.nn.functional as F
from conftest import SHARED
from safetensors.torch import load_file
from test_oracle import rel, total_norm
from test_parity import norms, release_gradients

from msagcn.fast.gpu import GPU
from msagcn.fast.gpu_launch import can_launch
from msagcn.fast.lean import LEAN, exchange
from msagcn.foreign.msagcn import load_release


def errors(name, table):
    "Errors of one training step in float32."
    golden = SHARED / 'golden'
    io = load_file(golden / f'msagcn_{name}_io.safetensors')
    weights = load_release(golden / f'msagcn_{name}_weights.safetensors')
    model = exchange(weights, table).float().train()
    logits = model(io['x'].float())
    loss = F.cross_entropy(logits, io['y'])
    loss.backward()
    start = 'train.gradnorm.'
    want = total_norm({k: v.item() for k, v in io.items() if k.startswith(start)})
    moved = model.input_bn.running_mean
    return {
        'logits': rel(logits.double(), io['train.logits']),
        'loss': rel(loss.double(), io['train.loss']),
        'running mean': rel(moved.double(), io['train.data_bn.running_mean']),
        'norm of all gradients': abs(total_norm(norms(release_gradients(model))) / want - 1),
    }


def main(name='ucla'):
    if not can_launch(torch.device('cpu')):
        sys.exit('kernels run on a CPU by Triton alone, with TRITON_INTERPRET=1')
    ours, theirs = errors(name, GPU), errors(name, LEAN)
    for quantity, error in ours.items():
        print(f'{name}, {quantity}: {error:.1e} by kernels, {theirs[quantity]:.1e} by PyTorch')
    return not all(ours[k] <= 1e-5 for k in ('logits', 'loss', 'running mean'))


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
