"Clips of NW-UCLA whose names exchange two actions: what shows it, and what training makes of them."

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import ROOT, SHARED, need

from msagcn.core import MsagcnError
from msagcn.data.nw_ucla import CLASSES, EXCHANGED, parse_name, read_nw_ucla, shown_labels
from msagcn.experiments.run import mended
from msagcn.feeds.feeds import fed_store
from msagcn.training.evaluate import load_scores

SIT, STAND, HEAD = 4, 5, 3


@pytest.fixture(scope='module')
def clips():
    return read_nw_ucla(need(SHARED / 'data/nw_ucla/all_sqe.zip', 'NW-UCLA'))


def head_rises(frames):  # (T, 1, V, 3) -> metres, from the first eighth to the last
    height = frames[:, 0, HEAD, 1]
    few = max(3, len(height) // 8)
    return height[-few:].mean() - height[:few].mean()


def test_one_persons_head_rises_where_the_names_say_sit_down(clips):
    "By person and camera: sitting down lowers the head, standing up raises it; one group is reversed."
    rises = defaultdict(list)
    for name in clips.names:
        label, subject, view = parse_name(name)
        if label in (SIT, STAND):
            rises[subject, view, label].append(head_rises(clips[name]))
    reversed_ = set()
    for (subject, view, label), each in rises.items():
        if (np.median(each) > 0) != (label == STAND):
            reversed_.add((subject, view))
    assert reversed_ == {k for k, pair in EXCHANGED.items() if pair == (5, 6)}
    assert min(rises[4, 2, SIT]) > 0.15


def test_labels_change_of_exchanged_clips_that_are_trained_on_alone(clips):
    shown = shown_labels(clips)
    changed = np.flatnonzero(shown != clips.labels)
    assert len(changed) == 24
    assert {parse_name(clips.names[i])[1:] for i in changed} == set(EXCHANGED)
    assert {clips.parts[i] for i in changed} == {'train'}
    s = fed_store(clips)
    trained = torch.as_tensor(changed[:10])
    labels = mended(s, trained, clips).labels
    assert labels[trained].tolist() == shown[changed[:10]].tolist()
    others = np.setdiff1d(np.arange(len(clips)), changed[:10])
    assert torch.equal(labels[others], s.labels[others])
    assert s.labels.tolist() == clips.labels.tolist()


def test_an_archive_with_other_clips_is_refused(clips):
    "Perhaps its names were put right."
    i = clips.names.index('a05_s04_e00_v02')
    hashes = list(clips.hashes)
    hashes[i] = hashes[0]
    with pytest.raises(MsagcnError, match='mend_labels: nw_ucla has other clips than all_sqe.zip'):
        shown_labels(replace(clips, hashes=hashes))
    labels = clips.labels.copy()
    labels[i] = STAND
    with pytest.raises(MsagcnError, match='other clips'):
        shown_labels(replace(clips, labels=labels))


def test_a_network_that_saw_neither_person_exchanges_their_actions_by_camera_2():
    "By camera 1 it knows most clips by their names; by camera 2 it takes most for the other action."
    run = 'reports/runs/msg3d-nw_ucla-choice-own_person45-joint-s1'
    s = load_scores(need(ROOT / run / 'val_scores.npz', 'the run'))
    assert set(s.subjects) == {4, 5}
    answers = defaultdict(list)
    for name, answer in zip(s.names, s.scores.argmax(1)):
        label, subject, view = parse_name(name)
        answers[subject, view, label].append(answer)
    classes = list(CLASSES)
    for (person, camera), pair in EXCHANGED.items():
        a, b = map(classes.index, pair)
        for named, other in ((a, b), (b, a)):
            assert np.mean(np.array(answers[person, 1, named]) == named) > 0.8
            assert np.mean(np.array(answers[person, camera, named]) == other) > 0.8
