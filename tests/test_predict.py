"""One raw clip is prepared for prediction as the clips were that the weights were trained on."""
import pickle

import numpy as np
import pytest

from conftest import TINY, places
from msagcn.core import MsagcnError
from msagcn.experiment import test_accuracy as accuracy, train
from msagcn.weights import read_one
from msagcn.mmaction import read_mmaction
from msagcn.ntu import clip_of
from msagcn.parameters import TestParameters as Told, TrainParameters

NTU = dict(shape=[3, 64, 25, 2], skeleton='ntu25', feed='ctr_gcn', channels='xyz', image=None, parameters=dict(benchmark='ntu60_xsub'))


@pytest.fixture
def actor(tmp_path):
    x = np.random.default_rng(0).normal(size=(30, 25, 3)).astype(np.float32) + 3
    np.save(tmp_path / 'one.npy', x)
    return x


@pytest.mark.parametrize('pad', ['', 'zero', 'copy'])
def test_beside_a_lone_actor_stands_what_stood_there_in_training(actor, tmp_path, pad):
    x = read_one(tmp_path / 'one.npy', NTU | dict(pad_actor=pad))
    np.testing.assert_array_equal(x, clip_of(actor[:, None], pad or 'zero'))
    assert (x[:, 1] == (x[:, 0] if pad == 'copy' else 0)).all() and (x[0, 0, 1] == 0).all()     # the middle of the spine is the origin


def test_own_clips_on_a_known_skeleton_are_read_as_own_clips(tmp_path):
    "A .json with twenty joints is NW-UCLA's only where the weights are."
    (tmp_path / 'clip.json').write_text('[]')
    about = dict(shape=[3, 52, 20, 1], skeleton='ucla20', feed='nw_ucla', channels='xyz', image=None)
    said = {}
    for benchmark in ('nw_ucla', 'gestures'):
        with pytest.raises(MsagcnError) as e: read_one(tmp_path / 'clip.json', about | dict(parameters=dict(benchmark=benchmark)))
        said[benchmark] = str(e.value)
    assert said['nw_ucla'] != said['gestures'] and all('clip.json' in s for s in said.values())


def test_with_nobody_held_out_it_is_trained_once(embedded, tmp_path):
    "Also with refit; and a second training of a recorded run replaces its row."
    p = TrainParameters(**TINY | places(tmp_path) | dict(data_dir=str(embedded), val_subjects=[], refit=True))
    m = train(p)
    assert m['val_top1'] is None and sorted(f.name for f in (tmp_path / 'runs' / p.run_id).glob('*.safetensors')) == ['train.safetensors', 'weights.safetensors']
    again = train(p.model_copy(update=dict(runs_dir=str(tmp_path / 'elsewhere'))))
    assert again['top1'] == m['top1'] and (tmp_path / 'reports/results.csv').read_text().count(p.run_id) == 1
    weights = tmp_path / 'runs' / p.run_id / 'weights.safetensors'
    found = accuracy(Told(weights=str(weights), data_dir=str(embedded), device='cpu'))
    assert found['top1'] == m['top1'] and (found['stream'], found['frames'], found['feed']) == ('joint', 8, 'nw_ucla')


def test_joints_in_pixels_are_read_as_in_the_pickle(tmp_path):
    "With the picture's size, undetected joints in its corner and nobody beside a lone person."
    g = np.random.default_rng(1)
    size, names = (720, 1280), ['S001C001P001R001A001', 'S001C001P003R001A001']
    def annotation(name, M):
        x = g.random((M, 9, 17, 2))*size[::-1]
        x[0, 2, 5] = 0
        return dict(frame_dir=name, label=0, total_frames=9, img_shape=size, keypoint=x.astype('f2'), keypoint_score=g.random((M, 9, 17)).astype('f2'))
    file = dict(split=dict(xsub_train=names[:1], xsub_val=names[1:]), annotations=[annotation(names[0], 2), annotation(names[1], 1)])
    (tmp_path / 'two.pkl').write_bytes(pickle.dumps(file))
    clips = read_mmaction(tmp_path / 'two.pkl')
    assert clips.image == [1280, 720] and clips.notes == dict(pipeline='mmaction2')
    about = dict(shape=[3, 100, 17, 2], skeleton='coco17', feed='mmaction2', channels='xys', image=clips.image, parameters=dict(benchmark='ntu60_2d'), pipeline='mmaction2')
    for a in file['annotations']:
        np.save(tmp_path / 'clip.npy', np.concatenate([a['keypoint'], a['keypoint_score'][..., None]], -1).swapaxes(0, 1))
        np.testing.assert_array_equal(read_one(tmp_path / 'clip.npy', about), clips[a['frame_dir']])
    with pytest.raises(MsagcnError, match='clip.npy: pictures of 3 sizes'): read_one(tmp_path / 'clip.npy', about | dict(image=None, image_sizes=3))
