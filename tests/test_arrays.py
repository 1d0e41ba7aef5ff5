"""The arrays of ST-GCN, 2s-AGCN and MS-G3D: network input equals the array, number for number.

Files that do not fit are refused in one line.
"""

import json
import pickle

import numpy as np
import pytest
import torch
from conftest import SHARED, TINY, need, pairs, places

from msagcn.cli import main
from msagcn.core import MsagcnError
from msagcn.data.arrays import prepare_arrays
from msagcn.data.clips import load_clips
from msagcn.feeds.feeds import batch, fed_store


def write(folder, part, x, names, labels, data='data_joint'):
    folder.mkdir(exist_ok=True)
    np.save(folder / f'{part}_{data}.npy', x)
    (folder / f'{part}_label.pkl').write_bytes(pickle.dumps((names, labels), protocol=2))


def made(
    folder,
    V=25,
    C=3,
    T=40,
    M=2,
    data='data_joint',
    parts=(('train', 12), ('val', 6)),
    name='S001C001P{:03}R{:03}A{:03}.skeleton',
):
    "Arrays of clips of all lengths, with empty frames within, and single bodies."
    rng, out = np.random.default_rng(0), {}
    for k, (part, n) in enumerate(parts):
        x = rng.normal(size=(n, C, T, V, M)).astype('f4')
        for i in range(n):
            x[i, :, T - i :] = 0
            x[i, :, 3:5] = 0
            if i % 2:
                x[i, ..., 1:] = 0
        write(
            folder,
            part,
            x,
            [name.format(k + 1, i + 1, i % 3 + 1) for i in range(n)],
            [i % 3 for i in range(n)],
            data,
        )
        out[part] = x
    return out


@pytest.mark.parametrize('data', ['data_joint', 'data'])
@pytest.mark.parametrize(
    'V, C, M, skeleton, channels',
    [
        (25, 3, 2, 'ntu25', 'xyz'),
        (18, 3, 2, 'openpose18', 'xys'),
        (20, 3, 1, 'ucla20', 'xyz'),
        (17, 3, 2, 'coco17', 'xys'),
        (17, 2, 1, 'coco17', 'xy'),
    ],
)
def test_what_is_fed_is_the_array(tmp_path, capsys, data, V, C, M, skeleton, channels):
    x = made(tmp_path / 'a', V, C, M=M, data=data)
    for source in (
        tmp_path / 'a',
        tmp_path / f'a/train_{data}.npy',
        tmp_path / f'a/val_{data}.npy',
        tmp_path / 'a/val_label.pkl',
    ):
        assert (
            main(['prepare', *pairs(benchmark='mine', source=source, data_dir=tmp_path / 'data')])
            == 0
        )
        out, clips = capsys.readouterr().out, load_clips(tmp_path / 'data/mine')
        assert (
            'mine: 3 classes, 12 to train, 6 to test; subjects to hold out: 1\n' in out
            and '-p frames 40' in out
        )
        assert (clips.skeleton, clips.channels, clips.feed) == (skeleton, channels, 'padded')
        assert (
            clips.names[0] == 'S001C001P001R001A001'
            and clips.classes == ['A001', 'A002', 'A003']
            and set(clips.subjects) == {1, 2}
        )
        assert clips.lengths.tolist() == [40 - i for i in range(12)] + [40 - i for i in range(6)]
        fed = batch(fed_store(clips), torch.arange(18), 40).numpy()
        assert np.array_equal(fed, np.concatenate([x['train'], x['val']]))


def test_three_parts_and_the_same_names(tmp_path):
    made(tmp_path / 'a', parts=(('train', 9), ('val', 3), ('test', 6)), name='video{1}')
    clips = load_clips(prepare_arrays(tmp_path / 'a', tmp_path / 'out', 'mine').parent)
    assert clips.parts == ['train'] * 9 + ['val'] * 3 + ['test'] * 6 and clips.notes['renamed'] == 9
    assert (
        clips.names[9] == 'video1_val'
        and clips.names[12] == 'video1_test'
        and not clips.subjects.any()
    )


def test_ms_g3d_of_raw_files_and_of_its_arrays_feed_the_same(tmp_path):
    "The input from our own preparation of MS-G3D, written as its program writes it, and read again."
    from msagcn.data.ntu_msg3d import prepare_msg3d_ntu

    raw = need(SHARED / 'golden/ntu_mini/raw.zip', 'made-up NTU files')
    ours = load_clips(prepare_msg3d_ntu(raw, tmp_path / 'ours', processes=1).parent)
    for part, name in (('train', 'train'), ('test', 'val')):
        i = [k for k, p in enumerate(ours.parts) if p == part]
        x = batch(fed_store(ours), torch.tensor(i), 300).numpy()
        write(
            tmp_path / 'a',
            name,
            x,
            [f'{ours.names[k]}.skeleton' for k in i],
            [int(ours.labels[k]) for k in i],
        )
    theirs = load_clips(prepare_arrays(tmp_path / 'a', tmp_path / 'theirs', 'mine').parent)
    for stream in ('joint', 'bone', 'joint_motion'):
        for k, name in enumerate(theirs.names):
            a = batch(fed_store(theirs), torch.tensor([k]), 300, stream)
            b = batch(fed_store(ours), torch.tensor([ours.names.index(name)]), 300, stream)
            assert torch.equal(a, b)


def test_a_run_on_arrays(tmp_path):
    made(tmp_path / 'a')
    p = places(tmp_path)
    assert (
        main(['prepare', *pairs(benchmark='mine', source=tmp_path / 'a', data_dir=p['data_dir'])])
        == 0
    )
    run = TINY | dict(
        width=6, frames=40, model='msg3d', recipe='tiny', benchmark='mine', val_subjects='[]'
    )
    assert main(['train', '--no-notebook', *pairs(**run, **p, stream='bone')]) == 0
    metrics = json.loads(next((tmp_path / 'reports/runs').glob('*/metrics.json')).read_text())
    assert metrics['n_test'] == metrics['n_clean'] == 6 and metrics['stream'] == 'bone'


def test_files_that_do_not_fit_are_one_line(tmp_path):
    def refused(says, source=None):
        with pytest.raises(MsagcnError) as e:
            prepare_arrays(source or tmp_path / 'a', tmp_path / 'out', 'mine')
        assert says in str(e.value) and '\n' not in str(e.value), e.value

    made(tmp_path / 'a')
    (tmp_path / 'a/val_label.pkl').write_bytes(pickle.dumps(dict(a=1)))
    refused('val_label.pkl: not a pair of names and labels')
    (tmp_path / 'a/val_label.pkl').write_bytes(b'cos\nsystem\n(S"true"\ntR.')
    refused('os.system')
    made(tmp_path / 'a')
    whole = (tmp_path / 'a/train_data_joint.npy').read_bytes()
    (tmp_path / 'a/train_data_joint.npy').write_bytes(whole[:-100])
    refused('train_data_joint.npy: not an array')
    np.save(tmp_path / 'a/train_data_joint.npy', np.zeros((12, 3, 40)))
    refused('not numbers of (N, C, T, V, M)')
    np.save(tmp_path / 'a/train_data_joint.npy', np.array([{}], object))
    refused('train_data_joint.npy: not an array')
    made(tmp_path / 'a')
    refused('no such file', tmp_path / 'a/other_data_joint.npy')
    (tmp_path / 'a/train_label.pkl').unlink()
    refused('train_label.pkl: no such file')
