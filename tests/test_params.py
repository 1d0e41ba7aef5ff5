"""Every file in params/ is accepted unchanged and makes a model for its benchmark.

The NTU ones have the values of their authors.
"""

import pytest
from conftest import ROOT

from msagcn.data.ntu import SPLITS
from msagcn.data.skeleton import COCO17, NTU25, OPENPOSE18, UCLA20
from msagcn.experiments.reading import read_parameters, read_yaml
from msagcn.experiments.train_parameters import TrainParameters
from msagcn.experiments.weights import new_model
from msagcn.feeds.streams import STREAMS

# a grid is its reader's to check
FILES = {
    f.stem: f for f in sorted((ROOT / 'params').glob('*.yaml')) if 'variants' not in read_yaml(f)
}
# classes, skeleton, M, C
SETS = dict(
    nw_ucla=(10, UCLA20, 1, 3),
    embedded=(10, UCLA20, 1, 3),
    ntu60=(60, NTU25, 2, 3),
    ntu120=(120, NTU25, 2, 3),
    ntu60_2d=(60, COCO17, 2, 3),
    kinetics=(400, OPENPOSE18, 2, 3),
)
SIX = ['joint', 'bone', 'joint_motion', 'bone_motion', 'bone_p2', 'bone_p5']
# none in an even setup
OTHER_SUBJECTS = {
    2,
    4,
    5,
    6,
    26,
    38,
    47,
    55,
    56,
    58,
    59,
    68,
    78,
    79,
    80,
    82,
    83,
    84,
    86,
    89,
    90,
    97,
    98,
    99,
    100,
    101,
}


def parameters(name, **more):
    return read_parameters(TrainParameters, read_yaml(FILES[name]) | dict(device='cpu') | more)


@pytest.mark.parametrize('name', FILES)
def test_accepted(name):
    p = parameters(name)
    assert FILES[name].read_text().startswith('# ') and p.recipe != 'quick'
    assert all(m < p.epochs for m in p.milestones if p.schedule == 'step') and (
        p.steps or p.warmup < p.epochs
    )
    if known := SETS.get(p.benchmark, SETS.get(p.benchmark.split('_')[0])):
        new_model(p, *known)


@pytest.mark.parametrize('name', ['ntu60_xsub', 'ntu60_xview', 'ntu120_xsub', 'ntu120_xset'])
def test_the_release_on_ntu(name):
    assert SIX == list(STREAMS)
    for stream in SIX:
        p = parameters(name, stream=stream)
        assert p.run_id == f'msagcn-{name}-release-{stream}-s1'
        assert (p.model, p.topology, p.feed, p.frames, p.width, p.repeats) == (
            'msagcn',
            'release',
            'ctr_gcn',
            64,
            80,
            1,
        )
        assert (p.epochs, p.batch_size, p.lr, p.weight_decay, p.warmup) == (190, 128, 0.1, 5e-4, 5)
        assert (p.schedule, p.milestones) == ('step', [70, 90, 110, 130, 150, 170])


@pytest.mark.parametrize(
    'name, p',
    [(n, parameters(n)) for n in FILES if 'ntu' in n and 'mmaction' not in n],
    ids=lambda x: x if isinstance(x, str) else '',
)
def test_who_is_held_out_is_there(name, p):
    """Held-out subjects have training clips in the split.

    Of NTU 120 they show all actions: subjects to 40 show 1 to 60, the rest 61 to 120.
    """
    benchmark, split = p.benchmark.split('_')
    key, training = SPLITS[benchmark][split]
    assert p.val_subjects and p.refit
    assert key != 'performer' or set(p.val_subjects) <= training
    assert key != 'setup' or not set(p.val_subjects) & OTHER_SUBJECTS
    if benchmark == 'ntu120':
        assert min(p.val_subjects) <= 40 < max(p.val_subjects)
