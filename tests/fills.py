"""Weights and clips that need no file: every number is a formula of its flat index.

The specifications of both networks give logits for them.
"""

import math

import torch


def fill_msagcn(sd):
    "MSA-GCN's state: names and shapes of `sd`, float64."
    out = {}
    for name, old in sd.items():
        prefix, _, leaf = name.rpartition('.')
        i = torch.arange(old.numel(), dtype=torch.float64)
        is_bn = f'{prefix}.running_mean' in sd
        if leaf == 'num_batches_tracked':
            out[name] = torch.zeros_like(old)
            continue
        elif leaf == 'running_mean':
            t = 0.1 * torch.sin(2 * i)
        elif leaf == 'running_var':
            t = 1 + 0.5 * torch.cos(i) ** 2
        elif is_bn and leaf == 'weight':
            t = 0.5 + 0.1 * torch.sin(i)
        elif is_bn:
            t = 0.05 * torch.cos(i)
        elif leaf == 'Pre_def':
            t = 0.02 * (1 + torch.sin(0.11 * i))
        elif leaf == 'pos_embedding':
            t = 0.3 * torch.sin(0.37 * i)
        elif leaf == 'alpha':
            t = 1 + 0.1 * torch.sin(i)
        elif leaf == 'bias':
            t = 0.1 * torch.cos(i)
        else:
            t = (
                0.3
                * torch.sin(0.7 * i + 0.3 * torch.sin(1.3 * i))
                * math.sqrt(2 / (old.numel() / old.shape[0]))
            )
        out[name] = t.view(old.shape)
    return out


def fill_msg3d(state):
    "MS-G3D's state: names and shapes of `state`, types kept."
    out = {}
    for name, t in state.items():
        i = torch.arange(t.numel(), dtype=torch.float64)
        leaf, is_bn = name.rsplit('.', 1)[-1], name.rsplit('.', 1)[0] + '.running_mean' in state
        if leaf == 'num_batches_tracked' or leaf == 'A':
            out[name] = t
            continue
        if leaf in ('A_res', 'PA'):
            v = 0.01 * torch.sin(0.11 * i)
        elif leaf == 'running_mean':
            v = 0.1 * torch.sin(2 * i)
        elif leaf == 'running_var':
            v = 1 + 0.5 * torch.cos(i) ** 2
        elif is_bn:
            v = 1 + 0.1 * torch.sin(i) if leaf == 'weight' else 0.05 * torch.cos(i)
        elif leaf == 'bias':
            v = 0.1 * torch.cos(i)
        else:
            v = (
                torch.sin(0.7 * i + 0.3 * torch.sin(1.3 * i))
                * (2 / (t.numel() / t.shape[0])) ** 0.5
            )
        out[name] = v.view(t.shape).to(t.dtype)
    return out


def fill_input(N, C, T, V, M):
    "A clip (N, C, T, V, M): x[n,c,t,v,m] = sin(0.3t + 0.9c + 0.4v + 1.7m + 0.5n), float64."
    n, c, t, v, m = torch.meshgrid(
        *(torch.arange(k, dtype=torch.float64) for k in (N, C, T, V, M)), indexing='ij'
    )
    return torch.sin(0.3 * t + 0.9 * c + 0.4 * v + 1.7 * m + 0.5 * n)
