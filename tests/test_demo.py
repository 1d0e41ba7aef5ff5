"""The demo stays meaningful: its data can be learnt, but not by a linear classifier alone.

The camera that is never trained on is within reach of its recipe; where its result exists, that is
neither chance nor perfect.
"""

import json

import pytest
import torch
import torch.nn.functional as F
import yaml
from conftest import ROOT, need

from msagcn.data.clips import load_clips, split
from msagcn.experiments.parameters import PrepareParameters
from msagcn.experiments.prepare import prepare
from msagcn.experiments.reading import read_parameters
from msagcn.experiments.train_parameters import TrainParameters
from msagcn.feeds.streams import batch, store

RECIPE = yaml.safe_load((ROOT / 'params/demo.yaml').read_text())
STREAMS = 'joint', 'bone'


@pytest.fixture(scope='module')
def clips(tmp_path_factory):
    "The demo's own data: `msagcn prepare -p benchmark embedded`, 300 clips."
    return load_clips(
        prepare(PrepareParameters(data_dir=str(tmp_path_factory.mktemp('demo')))).parent
    )


def linear_accuracy(clips, stream, passes=10, T=10):
    """Percent of each part that a ridge regression gets right.

    It is fitted on rotated copies of the clips that the demo trains on.
    """
    s, parts = (
        store(clips),
        {k: torch.as_tensor(i) for k, i in split(clips, RECIPE['val_subjects']).items()},
    )
    fit = parts['fit']
    # (passes·n, 3·T·20)
    x = torch.cat([batch(s, fit, T, stream, (1, k)) for k in range(passes)]).flatten(1).double()
    y = F.one_hot(s.labels[fit].repeat(passes), len(clips.classes)).double()
    mean, centred = x.mean(0), x - x.mean(0)
    gram = centred.T @ centred
    weights = torch.linalg.solve(
        gram + 0.1 * gram.trace() / len(gram) * torch.eye(len(gram)).double(),
        centred.T @ (y - y.mean(0)),
    )

    def classes_of(i):
        return ((batch(s, i, T, stream).flatten(1) - mean) @ weights).argmax(1)

    return {
        k: 100 * (classes_of(parts[k]) == s.labels[parts[k]]).double().mean().item()
        for k in ('fit', 'val', 'test')
    }


@pytest.mark.parametrize('stream', STREAMS)
def test_the_demo_is_learnable_and_not_trivial(clips, stream):
    """Guards the generator and its cameras.

    A linear classifier on the network's input should get well above chance (10 %) on people and on a
    camera that it was not trained on, but not everything. With camera 3 at 78°, an earlier position, it
    got 35 and 40 % of that view.
    """
    right = linear_accuracy(clips, stream)
    print(stream, right)
    assert right['fit'] > 90
    assert 55 < right['val'] < 97
    assert 50 < right['test'] < 92
    assert right['test'] < right['val']  # the unseen camera is the harder part


@pytest.mark.parametrize('stream', STREAMS)
def test_a_demo_that_was_run_is_neither_chance_nor_perfect(clips, stream):
    """Guards the recipe, where `make demo` has been run.

    Each stream is at least four times better than chance, held out and on the test part. Skips where
    there is no such result, or one of other data or another recipe.
    """
    result = ROOT / f'demo/reports/runs/msagcn-embedded-demo-{stream}-s1/metrics.json'
    m = json.loads(need(result, 'the result of make demo').read_text())
    wanted = read_parameters(TrainParameters, RECIPE | dict(stream=stream)).model_dump()
    if m['data_hash'] != clips.data_hash or any(m[k] != v for k, v in wanted.items() if k in m):
        pytest.skip('demo/ holds the result of other data or of another recipe')
    assert 40 <= m['val_top1'] < 100 and 40 <= m['top1'] < 100
