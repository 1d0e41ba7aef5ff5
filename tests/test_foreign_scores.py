"""Score files of the MSA-GCN release, InfoGCN and MMAction2 fuse to their commands' results.

Those results are computed here, literally.
"""

import argparse
import csv
import json
import os
import pickle

import numpy as np
import pytest
import torch
from conftest import ROOT, SHARED, need

from msagcn.core import MsagcnError
from msagcn.foreign.fuse_flags import add_fuse_flags, fuse_from_flags, has_fuse_flags
from msagcn.foreign.scores import read_scores
from msagcn.foreign.ucla_order import public_ucla_order
from msagcn.training.evaluate import Scores, save_scores

STREAMS = 'joint bone joint_motion bone_motion bone_p2 bone_p5'.split()
N, CLASSES = 90, 10


def fused(line):
    "The output of the command with these flags."
    parser = argparse.ArgumentParser()
    add_fuse_flags(parser)
    parser.add_argument('-p', '--parameter', action='append', default=[], nargs=2)
    args = parser.parse_args([str(w) for w in line.split()])
    assert has_fuse_flags(args)
    return fuse_from_flags(args)


def share(scores, labels, k):
    "Percent of rows where fewer than k other classes score higher than the true one."
    own = scores[np.arange(len(labels)), labels]
    return 100 * np.mean((scores > own[:, None]).sum(1) < k)


def said(text):
    "The two figures and the count of the last line."
    words = text.splitlines()[-1].replace(',', '').split()
    return float(words[1]), float(words[4]), int(words[7])


def check(text, scores, labels):
    top1, top5, n = said(text)
    assert (
        abs(top1 - share(scores, labels, 1)) < 0.006
        and abs(top5 - share(scores, labels, 5)) < 0.006
        and n == len(labels)
    ), text


@pytest.fixture
def made(tmp_path):
    """Labels, and logits of six streams of unequal quality.

    As pickles numbered in the release's way and in InfoGCN's.
    """
    rng = np.random.default_rng(7)
    labels = rng.integers(0, CLASSES, N)
    logits = {
        s: (np.eye(CLASSES)[labels] * w + rng.normal(size=(N, CLASSES))).astype('f4')
        for s, w in zip(STREAMS, (1.5, 1.4, 0.8, 0.5, 1.0, 0.9))
    }
    for s, x in logits.items():
        for name, key in (('release', 'test_{}'.format), ('number', int)):
            (tmp_path / f'{s}_{name}.pkl').write_bytes(
                pickle.dumps({key(i): row for i, row in enumerate(x)})
            )
    np.savez(tmp_path / 'CS.npz', x_test=np.zeros((N, 1)), y_test=np.eye(CLASSES)[labels])
    return tmp_path, labels, logits


def test_infogcn(made):
    d, labels, z = made
    line = (
        f'--dataset=ntu/xsub --position_ckpts {d}/joint_release.pkl {d}/bone_release.pkl '
        f'{d}/bone_p2_release.pkl --motion_ckpts {d}/joint_motion_release.pkl'
    )
    expected = 1.5 * z['joint'] + 1.5 * z['bone'] + 1.5 * z['bone_p2'] + z['joint_motion']
    check(fused(f'{line} --labels {d}/CS.npz'), expected, labels)
    check(fused(line.replace('_release', '_number') + f' --labels {d}/CS.npz'), expected, labels)
    check(
        fused(
            f'--dataset ntu120/xset --motion_ckpts {d}/bone_motion_number.pkl --labels {d}/CS.npz'
        ),
        z['bone_motion'],
        labels,
    )


def test_release(made):
    d, labels, z = made
    four = (
        f'--joint {d}/joint_release.pkl --bone {d}/bone_release.pkl '
        f'--joint-motion {d}/joint_motion_release.pkl --bone-motion {d}/bone_motion_release.pkl'
    )
    check(
        fused(f'--dataset ntu/xview {four} --labels {d}/CS.npz'),
        3 * z['joint'] + 3 * z['bone'] + 2 * z['joint_motion'] + 2 * z['bone_motion'],
        labels,
    )
    six = f'{four} --bone-p2 {d}/bone_p2_release.pkl --bone-p5 {d}/bone_p5_release.pkl --labels {d}/CS.npz'
    for dataset, weights in (
        ('ntu/xsub', (2, 2.5, 2, 0.5, 1.5, 1.5)),
        ('ntu120/xset', (3, 2, 1, 0.5, 2, 1.5)),
        ('NW-UCLA', (2.5, 1.5, 3.5, 1, 0.5, 1)),
    ):
        check(
            fused(f'--dataset {dataset} {six}'),
            sum(w * z[s] for w, s in zip(weights, STREAMS)),
            labels,
        )


def test_mmaction2(made):
    d, labels, z = made
    tensor, p = torch.tensor, {s: np.exp(x) / np.exp(x).sum(1, keepdims=True) for s, x in z.items()}
    new = [
        dict(
            pred_score=tensor(r),
            pred_label=tensor([int(r.argmax())]),
            gt_label=tensor([int(y)]),
            num_classes=CLASSES,
            img_shape=(1080, 1920),
        )
        for r, y in zip(p['joint'], labels)
    ]
    old = [
        dict(pred_scores=dict(item=tensor(r)), gt_labels=dict(item=tensor([int(y)])))
        for r, y in zip(p['bone'], labels)
    ]
    (d / 'new.pkl').write_bytes(pickle.dumps(new))
    (d / 'old.pkl').write_bytes(pickle.dumps(old))
    # labels are in them
    check(
        fused(f'--dataset ntu/xsub --position_ckpts {d}/new.pkl {d}/old.pkl'),
        p['joint'] + p['bone'],
        labels,
    )
    # and serve others
    text = fused(
        f'--dataset ntu/xsub --position_ckpts {d}/new.pkl --motion_ckpts {d}/bone_release.pkl'
    )
    check(text, 1.5 * p['joint'] + z['bone'], labels)
    assert 'note: ' in text and 'probabilities' in text


def test_labels_of_the_prepared_data(embedded, tmp_path):
    rows = [
        c
        for c in json.loads((embedded / 'embedded/manifest.json').read_text())['clips']
        if c['part'] == 'test'
    ]
    labels = np.array([c['label'] for c in rows])
    rng = np.random.default_rng(0)
    a, b = (np.eye(CLASSES)[labels] + rng.normal(size=(len(rows), CLASSES)) for _ in 'ab')
    (tmp_path / 'a.pkl').write_bytes(pickle.dumps(dict(enumerate(a))))
    shuffled = rng.permutation(len(rows))  # by name, in any order
    (tmp_path / 'b.pkl').write_bytes(pickle.dumps({rows[i]['name']: b[i] for i in shuffled}))
    text = fused(
        f'--dataset embedded --position_ckpts {tmp_path}/a.pkl --motion_ckpts {tmp_path}/b.pkl '
        f'-p data_dir {embedded}'
    )
    check(text, 1.5 * a + b, labels)


def test_our_own_files_give_the_reported_figure():
    folder = need(ROOT / 'reports/fusion.csv', 'reported fusion').parent
    row = next(
        (
            r
            for r in csv.DictReader(open(folder / 'fusion.csv'))
            if r['weights_from'] == 'release' and len(r['streams'].split()) == 4
        ),
        None,
    )
    if row is None:
        pytest.skip('no fusion with the weights of the release was reported')
    at = {
        s: folder
        / f'runs/{row["models"]}-{row["benchmark"]}-{row["recipe"]}-{s}-s1/test_scores.npz'
        for s in row['streams'].split()
    }
    for path in at.values():
        need(path, 'scores of a reported run')
    flags = ' '.join(f'--{s.replace("_", "-")} {p}' for s, p in at.items())
    top1, _, n = said(fused(f'--dataset NW-UCLA {flags}'))
    assert (f'{top1:.2f}', str(n)) == (row['top1'], row['n_test'])


def test_numbers_are_places_in_the_list_that_labels_give(tmp_path):
    """NW-UCLA's public list is shuffled and counts labels from 1.

    It alone determines which clip a number is.
    """
    rng = np.random.default_rng(1)
    order = rng.permutation(
        [f'a{a:02}_s01_e{e:02}_v03' for a in (1, 2, 3, 4, 5, 6, 8, 9, 11, 12) for e in range(9)]
    )
    labels = np.array([[1, 2, 3, 4, 5, 6, 8, 9, 11, 12].index(int(n[1:3])) for n in order])
    z, ours = (np.eye(CLASSES)[labels] * 2 + rng.normal(size=(N, CLASSES)) for _ in 'ab')
    (tmp_path / 'list.pkl').write_bytes(
        pickle.dumps(
            [dict(file_name=str(n), length=20, label=int(y) + 1) for n, y in zip(order, labels)]
        )
    )
    (tmp_path / 'z.pkl').write_bytes(pickle.dumps(dict(enumerate(z))))
    by_name = np.argsort(order)
    save_scores(
        tmp_path / 'ours.npz', Scores(order[by_name].tolist(), labels[by_name], ours[by_name])
    )
    line = f'--dataset NW-UCLA --position_ckpts {tmp_path}/z.pkl --motion_ckpts {tmp_path}/ours.npz'
    check(fused(f'{line} --labels {tmp_path}/list.pkl'), 1.5 * z + ours.astype('f4'), labels)
    with pytest.raises(
        MsagcnError, match=r'z\.pkl: top-1 .* of 90 clips is at chance level .*--labels'
    ):
        fused(line)  # in the order of ours


# NW-UCLA as the public programs number it


def publicly_ordered(seed=0):
    "Made-up scores of the 464 test clips in the order of the public list, and their labels there."
    names, labels = public_ucla_order()
    rng = np.random.default_rng(seed)
    return np.eye(CLASSES)[labels] * 3 + rng.normal(size=(len(names), CLASSES)), labels, names


def test_the_public_order_of_nw_ucla_is_that_of_the_list():
    listed = (
        need(SHARED / 'data/nw_ucla/public_test_order.txt', 'the public list').read_text().split()
    )
    assert public_ucla_order()[0] == listed


def test_numbered_scores_of_nw_ucla_need_no_labels(tmp_path):
    z, labels, names = publicly_ordered()
    (tmp_path / 'a.pkl').write_bytes(pickle.dumps(dict(enumerate(z))))
    (tmp_path / 'b.pkl').write_bytes(
        pickle.dumps({f'test_{i}': r for i, r in enumerate(publicly_ordered(1)[0])})
    )
    by_name = np.argsort(names)
    save_scores(
        tmp_path / 'ours.npz',
        Scores([names[i] for i in by_name], labels[by_name], publicly_ordered(2)[0][by_name]),
    )
    line = f'--dataset NW-UCLA --position_ckpts {tmp_path}/a.pkl {tmp_path}/b.pkl -p data_dir {tmp_path}'
    text = fused(line)
    check(text, z + publicly_ordered(1)[0], labels)
    clean = ~np.char.startswith(names, 'a02') & ~np.char.startswith(names, 'a03')
    share_clean = share((z + publicly_ordered(1)[0])[clean], labels[clean], 1)
    assert (
        clean.sum() == 369
        and f'clean {share_clean:.2f} % of 369 clips' in text
        and 'McNemar p' in text
    )
    check(
        fused(f'{line} --motion_ckpts {tmp_path}/ours.npz --weights 1 2 .5'),
        z + 2 * publicly_ordered(1)[0] + 0.5 * publicly_ordered(2)[0].astype('f4'),
        labels,
    )


@pytest.mark.parametrize('order', ['by lot', 'by name', 'backwards'])
def test_nw_ucla_in_another_order_is_refused(order, tmp_path):
    z, _, names = publicly_ordered()
    other = {
        'by lot': np.random.default_rng(3).permutation(464),
        'by name': np.argsort(names),
        'backwards': np.arange(464)[::-1],
    }[order]
    (tmp_path / 'z.pkl').write_bytes(pickle.dumps(dict(enumerate(z[other]))))
    with pytest.raises(MsagcnError, match='z.pkl: top-1 .* of 464 clips is at chance level'):
        fused(f'--dataset NW-UCLA --position_ckpts {tmp_path}/z.pkl')


def test_published_scores_are_worth_what_was_published(tmp_path):
    folder = need(SHARED / 'data/real/frhead_scores', "FR-Head's published scores")
    j, b, jm, bm = (
        folder / f'{n}.pkl'
        for n in ('Joint_94.40', 'Bone_93.10', 'Joint_Motion_92.89', 'Bone_Motion_89.44')
    )
    text = fused(
        f'--dataset NW-UCLA --position_ckpts {j} {b} --motion_ckpts {jm} {bm} -p data_dir {tmp_path}'
    )
    assert [line.split()[0] for line in text.splitlines()[:4]] == [
        '94.40',
        '93.10',
        '92.89',
        '89.44',
    ] and said(text)[::2] == (96.77, 464)
    four = f'--joint {j} --bone {b} --joint-motion {jm} --bone-motion {bm} -p data_dir {tmp_path}'
    assert said(fused(f'--dataset NW-UCLA {four} --weights .6 .6 .4 .4'))[0] == 96.77
    assert said(fused(f'--dataset NW-UCLA {four} --weights 1 1 1 1'))[0] == 96.12
    rows = list(pickle.loads(j.read_bytes()).values())
    for k, scores in enumerate(
        (rows[::-1], [rows[i] for i in np.random.default_rng(0).permutation(464)])
    ):
        (tmp_path / f'{k}.pkl').write_bytes(pickle.dumps(dict(enumerate(scores))))
        with pytest.raises(MsagcnError, match='at chance level'):
            fused(f'--dataset NW-UCLA --position_ckpts {tmp_path}/{k}.pkl {b}')


def test_a_shuffled_file_of_another_set_is_refused(made):
    d, labels, z = made
    shuffled = z['joint'][np.random.default_rng(0).permutation(N)]
    (d / 'shuffled.pkl').write_bytes(pickle.dumps({f'test_{i}': r for i, r in enumerate(shuffled)}))
    with pytest.raises(MsagcnError, match='shuffled.pkl: .*at chance level'):
        fused(
            f'--dataset ntu/xsub --position_ckpts {d}/joint_release.pkl {d}/shuffled.pkl --labels {d}/CS.npz'
        )
    names = [f'clip{i}' for i in range(N)]
    save_scores(d / 'named.npz', Scores(names, labels, shuffled))
    with pytest.raises(
        MsagcnError, match='named.npz: .*at chance level .*or it has learned nothing'
    ):
        fused(f'--dataset ntu/xsub --position_ckpts {d}/named.npz')


class Runs:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


BAD = {
    'other samples': (
        lambda z: {f'c{i}': r for i, r in enumerate(z)},
        ['bad.pkl', 'sample names differ'],
    ),
    'one sample fewer': (
        lambda z: dict(enumerate(z[1:])),
        ['bad.pkl', '89 numbered samples', '90'],
    ),
    'a gap': (lambda z: {i + 1: r for i, r in enumerate(z)}, ['bad.pkl', 'not from 0']),
    'other classes': (lambda z: dict(enumerate(z[:, :9])), ['bad.pkl', '9 classes', '10']),
    'ragged': (
        lambda z: {i: r[: 9 + i % 2] for i, r in enumerate(z)},
        ['bad.pkl', 'sample 1', '10 classes'],
    ),
    'NaN': (lambda z: dict(enumerate(np.where(z > 2, np.nan, z))), ['bad.pkl', 'finite']),
    'text': (lambda z: 'hello', ['bad.pkl', 'not scores']),
    'dict of text': (lambda z: {'a': 'b'}, ['bad.pkl', 'sample a']),
    'twice': (lambda z: {0: z[0], '0': z[0]}, ['bad.pkl', 'numbered']),
}


@pytest.mark.parametrize('kind', BAD)
def test_bad_score_file(kind, made):
    d, labels, z = made
    make, says = BAD[kind]
    (d / 'bad.pkl').write_bytes(pickle.dumps(make(z['joint'])))
    names = [f'clip{i}' for i in range(N)]
    save_scores(d / 'ours.npz', Scores(names, labels, z['bone']))
    with pytest.raises(MsagcnError) as e:
        fused(f'--dataset ntu/xsub --position_ckpts {d}/ours.npz {d}/bad.pkl')
    assert '\n' not in str(e.value) and all(s in str(e.value) for s in says), e.value


def test_a_pickle_that_would_run_code_is_refused(made):
    d, *_ = made
    for x in (Runs(d / 'ran'), {0: Runs(d / 'ran')}, [dict(pred_score=Runs(d / 'ran'))]):
        (d / 'bad.pkl').write_bytes(pickle.dumps(x))
        for flags in (
            f'--position_ckpts {d}/bad.pkl',
            f'--position_ckpts {d}/joint_release.pkl --labels {d}/bad.pkl',
        ):
            with pytest.raises(MsagcnError, match=r'bad\.pkl.*mkdir'):
                fused(f'--dataset ntu/xsub {flags}')
    assert not (d / 'ran').exists()


@pytest.mark.parametrize(
    'line, says',
    [
        (
            '--dataset ntu60 --position_ckpts {d}/joint_release.pkl',
            ['ntu60', 'ntu/xsub, ntu/xview, ntu120/xsub, ntu120/xset, NW-UCLA'],
        ),
        ('--position_ckpts {d}/joint_release.pkl', ['--dataset']),
        ('--dataset ntu/xsub', ['give either']),
        (
            '--dataset ntu/xsub --position_ckpts {d}/joint_release.pkl -p data_dir {d}',
            ['joint_release.pkl', 'no labels', 'file of labels'],
        ),
        ('--dataset ntu/xsub --position_ckpts {d}/nowhere.pkl', ['nowhere.pkl', 'cannot read']),
        (
            '--dataset ntu/xsub --position_ckpts {d}/joint_release.pkl --labels {d}/bone_release.pkl',
            ['bone_release.pkl', 'without labels'],
        ),
        (
            '--dataset ntu/xsub --joint {d}/joint_release.pkl --labels {d}/CS.npz',
            ['not for --joint'],
        ),
        (
            '--dataset ntu/xsub --position_ckpts {d}/joint_release.pkl --labels {d}/other.npz',
            ['joint_release.pkl', '10 classes', '11'],
        ),
    ],
)
def test_bad_flags(line, says, made):
    d, labels, _ = made
    np.savez(d / 'other.npz', y_test=labels + 2)
    with pytest.raises(MsagcnError) as e:
        fused(line.format(d=d))
    assert '\n' not in str(e.value) and all(s in str(e.value) for s in says), e.value


def test_a_dump_of_tensors_keeps_its_numbers(tmp_path):
    for kind in (torch.float32, torch.float16, torch.bfloat16):
        rows = torch.rand(3, 4, generator=torch.Generator().manual_seed(0)).to(kind)
        (tmp_path / 'x.pkl').write_bytes(
            pickle.dumps([dict(pred_score=r, gt_label=torch.tensor(1)) for r in rows])
        )
        s = read_scores(tmp_path / 'x.pkl')
        assert np.array_equal(s.scores, rows.double().numpy()) and s.labels.tolist() == [1, 1, 1]
