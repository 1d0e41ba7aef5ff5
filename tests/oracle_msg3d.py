"""MS-G3D's official form, done literally: the oracle of our own.

Formula by formula and in the order that its authors' formulas suggest: windows unfolded into copies,
K copies of the features concatenated, a 1×1 convolution on all of them. Slow on purpose.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


def powers(A, K):
    "Disentangled adjacency from powers of A + I, self-loops on."
    I = np.eye(len(A))
    reach = [np.minimum(np.linalg.matrix_power(A + I, k), 1) for k in range(K)]
    return np.stack([I] + [reach[k] - reach[k - 1] + I for k in range(1, K)])


def symmetric(A):
    """D^-1/2 A D^-1/2 for each scale, in float32 as the authors compute it.

    The root is rounded once: float32's own power differs between CPUs.
    """
    A = A.astype(np.float32)
    D = np.stack([np.diag((a.sum(-1).astype(float) ** -0.5).astype(np.float32)) for a in A])
    return torch.tensor(D @ A @ D)


def edges(pairs, V):
    A = np.zeros((V, V))
    for i, j in pairs:
        A[i, j] = A[j, i] = 1
    return A


class MLP(nn.Module):
    def __init__(self, c_in, c_out, relu=True):
        super().__init__()
        self.layers = nn.ModuleList(
            [nn.Conv2d(c_in, c_out, 1), nn.BatchNorm2d(c_out)] + [nn.ReLU()] * relu
        )

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class Rings(nn.Module):
    "Gather over all scales, concatenate on the channels, convolve: (N, C, T, V) to (N, O, T, V)."

    def __init__(self, c_in, c_out, A, relu=True):
        super().__init__()
        self.K, V = len(A), A.shape[-1]
        self.A, self.A_res = (
            A.flatten(0, 1),
            nn.Parameter(torch.empty(len(A) * V, V).uniform_(-1e-6, 1e-6)),
        )
        self.mlp = MLP(len(A) * c_in, c_out, relu)

    def forward(self, x):
        N, C, T, V = x.shape
        y = torch.einsum('vu,nctu->nctv', self.A.to(x) + self.A_res, x)
        y = y.view(N, C, T, self.K, V).permute(0, 3, 1, 2, 4).contiguous().view(N, self.K * C, T, V)
        return self.mlp(y)


class Unfold(nn.Module):
    "(N, C, T, V) to (N, C, T', w·V)."

    def __init__(self, w, stride):
        super().__init__()
        self.w, self.unfold = w, nn.Unfold((w, 1), padding=(w // 2, 0), stride=(stride, 1))

    def forward(self, x):
        N, C, T, V = x.shape
        x = self.unfold(x).view(N, C, self.w, -1, V).permute(0, 1, 3, 2, 4).contiguous()
        return x.view(N, C, -1, self.w * V)


class Window(nn.Module):
    def __init__(self, c_in, c_mid, c_out, A, w, stride):
        super().__init__()
        self.w = w
        self.gcn3d = nn.Sequential(Unfold(w, stride), Rings(c_in, c_mid, A, relu=False))
        self.out_conv, self.out_bn = nn.Conv3d(c_mid, c_out, (1, w, 1)), nn.BatchNorm2d(c_out)

    def forward(self, x):
        N, _, _, V = x.shape
        y = F.relu(self.gcn3d(x))
        y = y.view(N, y.shape[1], -1, self.w, V)
        return self.out_bn(self.out_conv(y).squeeze(3))


class Windows(nn.Module):
    def __init__(self, c_in, c_mid, c_out, graphs, stride=1):
        super().__init__()
        self.gcn3d = nn.ModuleList(
            [Window(c_in, c_mid, c_out, A, w, stride) for w, A in graphs.items()]
        )

    def forward(self, x):
        return sum(g(x) for g in self.gcn3d)


class Convolution(nn.Module):
    def __init__(self, c_in, c_out, kernel, stride, dilation=1):
        super().__init__()
        self.conv = nn.Conv2d(
            c_in, c_out, (kernel, 1), (stride, 1), ((kernel - 1) * dilation // 2, 0), (dilation, 1)
        )
        self.bn = nn.BatchNorm2d(c_out)

    def forward(self, x):
        return self.bn(self.conv(x))


class Temporal(nn.Module):
    def __init__(self, c_in, c_out, stride=1, relu=True):
        super().__init__()
        b, self.relu = c_out // 6, relu
        enter = lambda: [nn.Conv2d(c_in, b, 1), nn.BatchNorm2d(b), nn.ReLU()]
        self.branches = nn.ModuleList(
            [nn.Sequential(*enter(), Convolution(b, b, 3, stride, d)) for d in (1, 2, 3, 4)]
        )
        self.branches.append(
            nn.Sequential(*enter(), nn.MaxPool2d((3, 1), (stride, 1), (1, 0)), nn.BatchNorm2d(b))
        )
        self.branches.append(
            nn.Sequential(
                nn.Conv2d(c_in, c_out - 5 * b, 1, (stride, 1)), nn.BatchNorm2d(c_out - 5 * b)
            )
        )
        self.residual = (
            nn.Identity() if c_in == c_out and stride == 1 else Convolution(c_in, c_out, 1, stride)
        )

    def forward(self, x):
        y = torch.cat([branch(x) for branch in self.branches], 1)
        y = y + self.residual(x)
        return F.relu(y) if self.relu else y


class LiteralMSG3D(nn.Module):
    "The official network for clips (N, C, T, V, M), with the official names."

    def __init__(self, num_classes, pairs, V, M, K, window_K=6, channels=3, width=96):
        super().__init__()
        A = edges(pairs, V)
        rings = symmetric(powers(A, K))
        graphs = {
            w: symmetric(powers(np.tile(A + np.eye(V), (w, w)) * (1 - np.eye(w * V)), window_K))
            for w in (3, 5)
        }
        self.data_bn = nn.BatchNorm1d(M * V * channels)
        c_in = channels
        for b, (c_mid, c_out, stride) in enumerate(
            [(width, width, 1), (width, 2 * width, 2), (2 * width, 4 * width, 2)], 1
        ):
            setattr(self, f'gcn3d{b}', Windows(c_in, c_mid, c_out, graphs, stride))
            setattr(
                self,
                f'sgcn{b}',
                nn.Sequential(
                    Rings(c_in, c_mid, rings),
                    Temporal(c_mid, c_out, stride),
                    Temporal(c_out, c_out, relu=False),
                ),
            )
            setattr(self, f'tcn{b}', Temporal(c_out, c_out))
            c_in = c_out
        self.fc = nn.Linear(c_in, num_classes)

    def forward(self, x):
        N, C, T, V, M = x.shape
        x = self.data_bn(x.permute(0, 4, 3, 1, 2).contiguous().view(N, M * V * C, T))
        x = x.view(N * M, V, C, T).permute(0, 2, 3, 1).contiguous()
        for b in (1, 2, 3):
            x = getattr(self, f'tcn{b}')(
                F.relu(getattr(self, f'sgcn{b}')(x) + getattr(self, f'gcn3d{b}')(x))
            )
        return self.fc(x.view(N, M, x.shape[1], -1).mean(3).mean(1))


def fill_state(state):
    "The file-free fill of the specification: every tensor a formula of its flat index."
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
    n, c, t, v, m = torch.meshgrid(
        *(torch.arange(k, dtype=torch.float64) for k in (N, C, T, V, M)), indexing='ij'
    )
    return torch.sin(0.3 * t + 0.9 * c + 0.4 * v + 1.7 * m + 0.5 * n)
