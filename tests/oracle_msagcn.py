"""The literal (slow) MSA-GCN release network: oracle and slow baseline of the tests.

Written from its specification alone. Names of modules are those of the release's state_dict, dead
weights included. Context is "batch": always a batch mean. Axes: N batch, C/O in/out channels,
T frames, V joints, M bodies, K=3 subsets, G=8 static groups.
"""

import math
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn

K, G, STAGES, NEIGHBOURS = 3, 8, 4, 5

# 0-based pairs in the release's sense: (parent, child) for NTU, (child, parent) for NW-UCLA.
# Outward is each pair reversed.
_NTU = [
    (2, 1),
    (2, 21),
    (21, 3),
    (3, 4),
    (21, 5),
    (5, 6),
    (6, 7),
    (7, 8),
    (8, 23),
    (23, 22),
    (21, 9),
    (9, 10),
    (10, 11),
    (11, 12),
    (12, 25),
    (25, 24),
    (1, 13),
    (13, 14),
    (14, 15),
    (15, 16),
    (1, 17),
    (17, 18),
    (18, 19),
    (19, 20),
]
_UCLA = [
    (1, 2),
    (2, 3),
    (4, 3),
    (5, 3),
    (6, 5),
    (7, 6),
    (8, 7),
    (9, 3),
    (10, 9),
    (11, 10),
    (12, 11),
    (13, 1),
    (14, 13),
    (15, 14),
    (16, 15),
    (17, 1),
    (18, 17),
    (19, 18),
    (20, 19),
]
NTU_INWARD, UCLA_INWARD = ([(i - 1, j - 1) for i, j in pairs] for pairs in (_NTU, _UCLA))
NTU_OUTWARD, UCLA_OUTWARD = ([(j, i) for i, j in pairs] for pairs in (NTU_INWARD, UCLA_INWARD))


def static_adjacency(V, inward, outward):
    """(3, V, V): identity, inward, outward.

    `A[j, i] = 1` for a pair (i, j); each column is then divided by its sum.
    """
    A = torch.zeros(K, V, V)
    A[0] = torch.eye(V)
    for k, pairs in ((1, inward), (2, outward)):
        for i, j in pairs:
            A[k, j, i] = 1
        s = A[k].sum(0)
        A[k] = A[k] / torch.where(s > 0, s, torch.ones_like(s))
    return A


def relative_matrix(V, outward):
    "`I - B²`, `B[i, j] = 1` for a pair (i, j) of outward."
    B = torch.zeros(V, V)
    for i, j in outward:
        B[i, j] = 1
    return torch.eye(V) - B @ B


class StageAttention(nn.Module):
    "Holds the V→V linear of the own maps; `bn` is dead."

    def __init__(self, O, V):
        super().__init__()
        self.linear, self.bn = nn.Linear(V, V), nn.BatchNorm2d(O // STAGES)

    def forward(self, q, k):  # (N, K, V) each
        q, k = F.relu(self.linear(q)), F.relu(self.linear(k))
        return torch.softmax(q.unsqueeze(-1) * k.unsqueeze(-2), -1)  # (N, K, V, V)


class ChannelCorrelation(nn.Module):
    "One (V, V) matrix for the whole batch; `conv4` is dead."

    def __init__(self, C, O):
        super().__init__()
        self.conv3, self.conv4 = nn.Conv2d(C, O, 1), nn.Conv2d(C // 4, O, 1)
        self.alpha = nn.Parameter(torch.ones(4))

    def forward(self, x0):
        p = self.conv3(x0.mean(2, keepdim=True)).squeeze(2)  # (N, C, T, V) -> (N, O, V)
        D = torch.sigmoid(p.unsqueeze(-1) - p.unsqueeze(-2))  # (N, O, V, V)
        D = torch.cat([a * d for a, d in zip(self.alpha, D.chunk(4, 1))], 1)
        return D.mean((0, 1))  # (V, V)


class EdgeConv(nn.Module):
    def __init__(self, C, O):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(2 * C, O, 1, bias=False), nn.BatchNorm2d(O), nn.LeakyReLU(0.2)
        )

    def forward(self, x):  # (N, C, V)
        n, c, v = x.shape
        sq = (x * x).sum(1)  # (N, V)
        dist = sq.unsqueeze(2) - 2 * x.transpose(1, 2) @ x + sq.unsqueeze(1)  # (N, V, V)
        idx = dist.topk(NEIGHBOURS, -1, largest=False).indices  # (N, V, 5)
        xj = x.gather(2, idx.view(n, 1, -1).expand(n, c, -1)).view(n, c, v, NEIGHBOURS)
        xi = x.unsqueeze(-1).expand_as(xj)
        return self.conv(torch.cat([xj - xi, xi], 1)).amax(-1)  # (N, 2C, V, 5) -> (N, O, V)


class MSAGC(nn.Module):
    "Release topology (spec §2, steps 1-7); `alpha` is dead."

    def __init__(self, C, O, A):
        super().__init__()
        V = A.shape[-1]
        self.O = O
        self.register_buffer('A', A.clone(), persistent=False)  # (K, V, V)
        self.Pre_def = nn.Parameter(A.unsqueeze(1).repeat(1, G, 1, 1))  # (K, G, V, V)
        self.alpha = nn.Parameter(torch.zeros(1))
        self.conv = nn.Conv2d(C, K * O, 1)
        self.Att, self.linear = StageAttention(O, V), nn.Linear(V, V)
        self.Channelcorrelation = ChannelCorrelation(C, O)
        self.Ref_conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)
        self.edgeConv, self.conv_down_edge = EdgeConv(C, O), nn.Conv2d(O, O, 1)
        self.bn = nn.BatchNorm2d(O)
        self.down = (
            nn.Identity() if C == O else nn.Sequential(nn.Conv2d(C, O, 1), nn.BatchNorm2d(O))
        )

    def stage_maps(self, x):  # (N, K, O, T, V)
        halves = [xs.chunk(2, 2) for xs in x.chunk(STAGES, 2)]  # 4 pairs of (N, K, O/8, T, V)
        qs = [a.mean((2, 3)) for a, _ in halves]  # (N, K, V)
        ks = [b.mean((2, 3)) for _, b in halves]
        att = [self.Att(q, k) / 2 for q, k in zip(qs, ks)]  # (N, K, V, V)
        for s in range(STAGES - 1):
            k, q = F.relu(self.linear(ks[s])), F.relu(self.linear(qs[s + 1]))
            cross = torch.softmax(k.unsqueeze(-1) * q.unsqueeze(-2), -1)
            att[s], att[s + 1] = att[s] + cross / 4, att[s + 1] + cross / 4
        return torch.stack(att, 2)  # (N, K, 4, V, V)

    def forward(self, x0):  # (N, C, T, V)
        n, _, t, v = x0.shape
        x = self.conv(x0).view(n, K, self.O, t, v)
        # (N, K, O, V, V), quarter(o)
        att = (self.stage_maps(x) / 2).repeat_interleave(self.O // STAGES, 2)
        # (K, O, V, V), o mod 8
        S = (self.A.unsqueeze(1) + self.Pre_def).repeat(1, self.O // G, 1, 1)
        Fm = att + S + self.Channelcorrelation(x0) + S  # (N, K, O, V, V); the static part twice
        y = torch.einsum('nkotv,nkovw->notw', x, Fm)
        g = y.mean((2, 3)).unsqueeze(1)  # (N, 1, O)
        z = self.Ref_conv(g).view(n, self.O, 1, 1)
        y = y + y * torch.sigmoid(z)
        e = self.edgeConv(x0.mean(2)).unsqueeze(2)  # (N, O, 1, V)
        y = y + self.conv_down_edge(e)  # constant along T
        return F.relu(self.bn(y) + self.down(x0))


class Gated(nn.Module):
    "Two dilated 5x1 convs behind one shared BN, each tanh·sigmoid, summed."

    def __init__(self, C, stride, dilation):
        super().__init__()
        kw = dict(stride=(stride, 1), padding=(2 * dilation, 0), dilation=(dilation, 1))
        self.conv1, self.conv2, self.bn = (
            nn.Conv2d(C, C, (5, 1), **kw),
            nn.Conv2d(C, C, (5, 1), **kw),
            nn.BatchNorm2d(C),
        )

    def forward(self, x):
        z1, z2 = self.bn(self.conv1(x)), self.bn(self.conv2(x))
        return torch.tanh(z1) * torch.sigmoid(z1) + torch.tanh(z2) * torch.sigmoid(z2)


class TemporalAttention(nn.Module):
    def __init__(self, C, O, T, stride):
        super().__init__()
        self.conv, self.linear, self.bn = (
            nn.Conv2d(C, O, 1, stride=(stride, 1)),
            nn.Linear(T, T),
            nn.BatchNorm2d(O),
        )

    def forward(self, x):
        x = self.conv(x)  # (N, O, T', V)
        a, b = x.chunk(2, 1)
        q, k = F.relu(self.linear(a.mean((1, 3)))), F.relu(self.linear(b.amax((1, 3))))  # (N, T')
        W = torch.sigmoid(q.unsqueeze(-1) * k.unsqueeze(-2))  # (N, T', T')
        return self.bn(torch.einsum('notv,ntm->nomv', x, W))


class FrameGate(nn.Module):
    "Scales each frame; `bn` is dead."

    def __init__(self, C, O, stride):
        super().__init__()
        self.conv, self.combine_conv, self.bn = (
            nn.Conv2d(C, O, 1, stride=(stride, 1)),
            nn.Conv2d(2, 1, 1),
            nn.BatchNorm2d(O),
        )

    def forward(self, x):
        x = self.conv(x)  # (N, O, T', V)
        g = torch.stack([x.mean((1, 3)), x.amax((1, 3))], 1).unsqueeze(-1)  # (N, 2, T', 1)
        return x * torch.sigmoid(self.combine_conv(g))


class TMST(nn.Module):
    "Five branches of O/5 channels; T is the length before the stride."

    def __init__(self, O, T, stride):
        super().__init__()
        b = O // 5

        def head():
            return nn.Conv2d(O, b, 1), nn.BatchNorm2d(b), nn.ReLU()

        self.branches = nn.ModuleList(
            [
                nn.Sequential(*head(), Gated(b, stride, 2)),
                nn.Sequential(*head(), Gated(b, stride, 4)),
                nn.Sequential(
                    *head(), nn.MaxPool2d((3, 1), (stride, 1), (1, 0)), nn.BatchNorm2d(b)
                ),
                nn.Sequential(TemporalAttention(O, b, T // stride, stride), nn.BatchNorm2d(b)),
                nn.Sequential(FrameGate(O, b, stride), nn.BatchNorm2d(b)),
            ]
        )

    def forward(self, x):
        return F.relu(torch.cat([branch(x) for branch in self.branches], 1))


class Block(nn.Module):
    def __init__(self, C, O, T, A, stride=1, residual=True):
        super().__init__()
        self.mscam, self.tmst = MSAGC(C, O, A), TMST(O, T, stride)
        if not residual:
            self.residual = None
        elif C == O and stride == 1:
            self.residual = nn.Identity()
        else:
            self.residual = nn.Sequential(
                OrderedDict(conv=nn.Conv2d(C, O, 1, stride=(stride, 1)), bn=nn.BatchNorm2d(O))
            )

    def forward(self, x):
        y = self.tmst(self.mscam(x))
        return F.relu(y if self.residual is None else y + self.residual(x))


class LiteralMSAGCN(nn.Module):
    def __init__(self, num_classes, V, T, M, inward, outward, width=80, in_channels=3):
        super().__init__()
        A, w = static_adjacency(V, inward, outward), width
        self.register_buffer('rel', relative_matrix(V, outward), persistent=False)
        self.to_joint_embedding = nn.Linear(in_channels, w)
        self.pos_embedding = nn.Parameter(torch.randn(1, V, w))
        self.data_bn = nn.BatchNorm1d(M * V * w)
        C = w
        for i, O in enumerate([w] * 4 + [2 * w] * 3 + [4 * w] * 3, 1):
            stride = 2 if i in (5, 8) else 1
            self.add_module(f'l{i}', Block(C, O, T, A, stride, residual=i > 1))
            C, T = O, T // stride
        self.first_tram, self.second_tram = (
            nn.Sequential(
                nn.AvgPool2d((p, 1)), nn.Conv2d(c, 4 * w, 1), nn.BatchNorm2d(4 * w), nn.ReLU()
            )
            for c, p in ((w, 4), (2 * w, 2))
        )
        self.fc = nn.Linear(4 * w, num_classes)
        self.reset_parameters(num_classes)

    def reset_parameters(self, num_classes):
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode='fan_out')
                if m.bias is not None:
                    nn.init.zeros_(m.bias)
            elif isinstance(m, (StageAttention, MSAGC, TemporalAttention)):
                nn.init.xavier_uniform_(m.linear.weight, gain=math.sqrt(2))
        nn.init.normal_(self.fc.weight, 0, math.sqrt(2 / num_classes))

    def forward(self, x, return_blocks=False):
        n, c, t, v, m = x.shape
        x = x.permute(0, 4, 2, 3, 1).reshape(n * m * t, v, c)  # (N, C, T, V, M) -> (NMT, V, C)
        x = self.to_joint_embedding(self.rel @ x) + self.pos_embedding  # (NMT, V, 80)
        x = x.view(n, m, t, v, -1).permute(0, 1, 3, 4, 2).reshape(n, -1, t)  # (N, M·V·80, T)
        x = self.data_bn(x).view(n * m, v, -1, t).permute(0, 2, 3, 1).contiguous()  # (NM, 80, T, V)
        blocks, mscam = [], []
        if return_blocks:
            hook = self.l1.mscam.register_forward_hook(lambda mod, args, out: mscam.append(out))
        for i in range(1, 11):
            x = getattr(self, f'l{i}')(x)
            blocks.append(x)
        if return_blocks:
            hook.remove()
        x = x + self.first_tram(blocks[3]) + self.second_tram(blocks[6])  # (NM, 320, T/4, V)
        x = x.mean((2, 3)).view(n, m, -1).mean(1)  # (N, 320)
        logits = self.fc(x)
        return (logits, blocks, mscam[0]) if return_blocks else logits


def fill_state_dict(sd):
    "The file-free fill of the specification's §7(b): same names and shapes, float64."
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


def fill_input(N, T, V, M, C=3):
    "x[n,c,t,v,m] = sin(0.3t + 0.9c + 0.4v + 1.7m + 0.5n), float64."
    n, c, t, v, m = torch.meshgrid(
        *(torch.arange(s, dtype=torch.float64) for s in (N, C, T, V, M)), indexing='ij'
    )
    return torch.sin(0.3 * t + 0.9 * c + 0.4 * v + 1.7 * m + 0.5 * n)
