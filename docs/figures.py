"""Figures of the guide, drawn when the site is built.

From the generated set, and from the files in reports/."""

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from msagcn.data.skeleton import UCLA20
from msagcn.data.synthetic import generate_clip
from msagcn.models.graph import hop_distance, static_adjacency
from msagcn.report.figures import COLOURS, draw_pose, show_curves, show_skeletons
from msagcn.report.graph_figures import show_matrix
from msagcn.report.measured import runs_on
from msagcn.report.table_forms import read_back

HAND, ELBOW = UCLA20.joints.index('right hand'), UCLA20.joints.index('right elbow')


def clip(action='throw', view=1):
    return generate_clip(action, 1, 0, view)


def poses():
    show_skeletons(clip(), UCLA20, title=f'throw: {" × ".join(map(str, clip().shape))} numbers')


def numbers():
    "One joint's coordinates over the frames."
    x = clip()[:, HAND]
    ax = plt.subplots(figsize=(6, 2.4), layout='constrained')[1]
    frames = np.arange(len(x)) + 1
    for c, (name, style) in enumerate(zip('xyz', ('-', '--', ':'))):
        ax.plot(frames, x[:, c], color=COLOURS[c], linestyle=style, label=name)
    ax.set(xlabel='frame', ylabel='m', title='right hand')
    ax.legend(frameon=False)
    ax.spines[['top', 'right']].set_visible(False)


def cameras():
    "One moment seen by three cameras."
    axes = plt.subplots(1, 3, figsize=(6, 2.8), layout='constrained')[1]
    for ax, view in zip(axes, (1, 2, 3)):
        x = clip('carry', view)
        draw_pose(ax, x[len(x) // 2], UCLA20)
        ax.margins(0.08)
        ax.set_title(f'camera {view}', fontsize=9)


def streams():
    "Joints, bones and motion of one moment."
    x = clip()[..., :2]
    speed = np.linalg.norm(np.diff(x[:, HAND], axis=0), axis=1)
    t = int(speed.argmax())  # where the hand is fastest
    bones, motion = x[t] - x[t, list(UCLA20.parents)], x[t + 1] - x[t]
    axes = plt.subplots(1, 3, figsize=(6.6, 3.2), layout='constrained')[1]
    for ax, name in zip(axes, ('joint', 'bone', 'joint motion')):
        draw_pose(ax, clip()[t], UCLA20, faint=True)
        ax.set_title(name, fontsize=9)
        ax.margins(0.1)
        if name == 'joint':
            ax.scatter(*x[t].T, s=14, color=COLOURS[0], zorder=3)
        else:
            start, arrow = (x[t] - bones, bones) if name == 'bone' else (x[t], motion)
            style = dict(angles='xy', scale_units='xy', scale=1, width=0.012, zorder=3)
            ax.quiver(*start.T, *arrow.T, color=COLOURS[1], **style)


def graph():
    "The graph along the limbs, inward and outward, and the distances between joints."
    axes = plt.subplots(1, 3, figsize=(9, 3), layout='constrained')[1]
    _, inward, outward = static_adjacency(UCLA20)
    matrices = {'inward': inward, 'outward': outward, 'distance in limbs': hop_distance(UCLA20)}
    for ax, (title, A) in zip(axes, matrices.items()):
        show_matrix(A, UCLA20, title, ax, names=False)
        ax.figure.colorbar(ax.collections[0], ax=ax, shrink=0.75).ax.tick_params(labelsize=6)


def accuracies(table):
    "Single streams on NW-UCLA with their intervals, as in the table."
    rows = read_back(table).query('benchmark == "nw_ucla"')
    rows = rows[~rows.streams.str.contains(' ') & rows['95 % of all'].str.contains('–.')]
    ends = rows['95 % of all'].str.split('–', expand=True).astype(float)
    ax = plt.subplots(figsize=(6.5, 0.32 * len(rows) + 0.9), layout='constrained')[1]
    ax.hlines(range(len(rows)), ends[0], ends[1], color='0.6', linewidth=3)
    means = rows['all'].str.split(' ').str[0].astype(float)
    ax.scatter(means, range(len(rows)), color=COLOURS[0], zorder=3)
    ax.set(
        yticks=range(len(rows)),
        yticklabels=rows.model + ' ' + rows.streams + ', ' + rows.recipe,
        xlabel='accuracy on all test clips, %, and 95 % interval',
    )
    ax.invert_yaxis()
    ax.spines[['top', 'right']].set_visible(False)


def curves(runs):
    "Training of the joint streams on NW-UCLA, by the recipes of the result table."
    ids = runs_on(runs.parent, 'nw_ucla').run_id
    names = sorted(ids[ids.str.endswith('-joint-s1')])
    show_curves({name: pd.read_csv(runs / name / 'history.csv') for name in names})


def draw(folder, table, runs):
    "Every figure as an SVG, the same bytes each time."
    drawings = {f: () for f in (poses, numbers, cameras, streams, graph)}
    drawings |= {accuracies: (table,), curves: (runs,)}
    with plt.rc_context({'svg.hashsalt': 'msagcn', 'svg.fonttype': 'path'}):
        for f, args in drawings.items():
            f(*args)
            plt.savefig(folder / f'{f.__name__}.svg', metadata={'Date': None}, bbox_inches='tight')
            plt.close('all')
