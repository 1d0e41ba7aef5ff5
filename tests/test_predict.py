"""One raw clip is prepared for prediction like the clips that the weights were trained on."""

import pickle
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import SHARED, TINY, need, places
from safetensors.torch import load_file

from msagcn.bench.contenders import settle
from msagcn.cli import main
from msagcn.core import MsagcnError, content_hash
from msagcn.data.clip_writer import save_clips
from msagcn.data.clips import load_clips
from msagcn.data.mmaction2 import read_mmaction
from msagcn.data.ntu_actors import clip_of
from msagcn.experiments.parameters import EvaluateParameters as Told
from msagcn.experiments.parameters import PredictParameters, PrepareParameters
from msagcn.experiments.predictor import Predictor, read_one
from msagcn.experiments.prepare import prepare
from msagcn.experiments.run import train
from msagcn.experiments.testing import measure_accuracy as accuracy
from msagcn.experiments.train_parameters import TrainParameters
from msagcn.experiments.weights import build_model, open_weights, save_weights
from msagcn.foreign.msg3d import save_names
from msagcn.training.evaluate import load_scores

NTU = dict(
    shape=[3, 64, 25, 2],
    skeleton='ntu25',
    feed='ctr_gcn',
    channels='xyz',
    image=None,
    parameters=dict(benchmark='ntu60_xsub'),
)


@pytest.fixture
def actor(tmp_path):
    x = np.random.default_rng(0).normal(size=(30, 25, 3)).astype(np.float32) + 3
    np.save(tmp_path / 'one.npy', x)
    return x


@pytest.mark.parametrize('pad', ['', 'zero', 'copy'])
def test_the_second_slot_of_a_single_actor_is_filled_as_in_training(actor, tmp_path, pad):
    x = read_one(tmp_path / 'one.npy', NTU | dict(pad_actor=pad))
    np.testing.assert_array_equal(x, clip_of(actor[:, None], pad or 'zero'))
    # the middle of the spine is the origin
    assert (x[:, 1] == (x[:, 0] if pad == 'copy' else 0)).all() and (x[0, 0, 1] == 0).all()


def test_own_clips_on_a_known_skeleton_are_read_as_own_clips(tmp_path):
    "A .json with twenty joints is NW-UCLA's only if the weights are."
    (tmp_path / 'clip.json').write_text('[]')
    about = dict(
        shape=[3, 52, 20, 1], skeleton='ucla20', feed='nw_ucla', channels='xyz', image=None
    )
    said = {}
    for benchmark in ('nw_ucla', 'gestures'):
        with pytest.raises(MsagcnError) as e:
            read_one(tmp_path / 'clip.json', about | dict(parameters=dict(benchmark=benchmark)))
        said[benchmark] = str(e.value)
    assert said['nw_ucla'] != said['gestures'] and all('clip.json' in s for s in said.values())


def test_with_nobody_held_out_it_is_trained_once(embedded, tmp_path):
    "Also with refit; and a second training of a recorded run replaces its row."
    p = TrainParameters(
        **TINY | places(tmp_path) | dict(data_dir=str(embedded), val_subjects=[], refit=True)
    )
    m = train(p)
    assert m['val_top1'] is None and sorted(
        f.name for f in (tmp_path / 'runs' / p.run_id).glob('*.safetensors')
    ) == ['train.safetensors', 'weights.safetensors']
    again = train(p.model_copy(update=dict(runs_dir=str(tmp_path / 'elsewhere'))))
    assert (
        again['top1'] == m['top1']
        and (tmp_path / 'reports/results.csv').read_text().count(p.run_id) == 1
    )
    weights = tmp_path / 'runs' / p.run_id / 'weights.safetensors'
    found = accuracy(Told(weights=str(weights), data_dir=str(embedded), device='cpu'))
    assert found['top1'] == m['top1'] and (found['stream'], found['frames'], found['feed']) == (
        'joint',
        8,
        'nw_ucla',
    )


def test_joints_in_pixels_are_read_as_in_the_pickle(tmp_path):
    "With the image's size, undetected joints in its corner and nobody beside a single person."
    g = np.random.default_rng(1)
    size, names = (720, 1280), ['S001C001P001R001A001', 'S001C001P003R001A001']

    def annotation(name, M):
        x = g.random((M, 9, 17, 2)) * size[::-1]
        x[0, 2, 5] = 0
        return dict(
            frame_dir=name,
            label=0,
            total_frames=9,
            img_shape=size,
            keypoint=x.astype('f2'),
            keypoint_score=g.random((M, 9, 17)).astype('f2'),
        )

    file = dict(
        split=dict(xsub_train=names[:1], xsub_val=names[1:]),
        annotations=[annotation(names[0], 2), annotation(names[1], 1)],
    )
    (tmp_path / 'two.pkl').write_bytes(pickle.dumps(file))
    clips = read_mmaction(tmp_path / 'two.pkl')
    assert clips.image == [1280, 720] and clips.notes == dict(pipeline='mmaction2')
    about = dict(
        shape=[3, 100, 17, 2],
        skeleton='coco17',
        feed='mmaction2',
        channels='xys',
        image=clips.image,
        parameters=dict(benchmark='ntu60_2d'),
        pipeline='mmaction2',
    )
    for a in file['annotations']:
        np.save(
            tmp_path / 'clip.npy',
            np.concatenate([a['keypoint'], a['keypoint_score'][..., None]], -1).swapaxes(0, 1),
        )
        np.testing.assert_array_equal(read_one(tmp_path / 'clip.npy', about), clips[a['frame_dir']])
    with pytest.raises(MsagcnError, match='clip.npy: images of 3 sizes'):
        read_one(tmp_path / 'clip.npy', about | dict(image=None, image_sizes=3))


def settled(model, x):
    """The network after one batch, whose statistics its BatchNorms take.

    Its answers then differ from clip to clip.
    """
    with torch.no_grad():
        settle(model, x)
    return model.eval()


def fresh(clips, path, **more):
    "Weights of a small network for a data set."
    from msagcn.experiments.run_folder import first_input
    from msagcn.feeds.feeds import batch, fed_store

    p = TrainParameters(
        **dict(model='msg3d', width=6, frames=16, benchmark=clips.benchmark, device='cpu') | more
    )
    x = batch(fed_store(clips, feed=p.feed), torch.arange(min(8, len(clips))), p.frames, p.stream)
    model = settled(build_model(p, clips), x)
    assert first_input(p, clips, model).shape[1:] == model.shape
    save_weights(path, p, clips, model)
    return model


def probabilities(scores):
    z = np.exp(scores.astype(float) - scores.max(1, keepdims=True))
    return 100 * z / z.sum(1, keepdims=True)


def answers_as_test_does(weights, data_dir, benchmark, raw, tmp_path, **use):
    """Every test clip by `predict` from its raw file, and by `test` from the prepared set.

    They give the same class and the same probability. Returns the number of clips.
    """
    accuracy(
        Told(
            weights=str(weights),
            data_dir=str(data_dir),
            benchmark=benchmark,
            device='cpu',
            scores=str(tmp_path / 's.npz'),
            **{k: v for k, v in use.items() if k in Told.model_fields},
        )
    )
    found, classes = load_scores(tmp_path / 's.npz'), load_clips(data_dir / benchmark).classes
    answer = Predictor(PredictParameters(weights=str(weights), k=2, **use))
    for name, p in zip(found.names, probabilities(found.scores)):
        best = answer(raw(name)).best
        assert (
            best[0][0]
            == (classes if answer.about['classes'] else list(map(str, range(len(classes)))))[
                p.argmax()
            ]
        ), name
        # two decimals
        np.testing.assert_allclose([v for _, v in best], np.sort(p)[::-1][:2], atol=0.0101)
    return len(found.names)


@pytest.fixture(scope='module')
def ntu_files(tmp_path_factory):
    "The made-up NTU files, unpacked."
    with zipfile.ZipFile(need(SHARED / 'golden/ntu_mini/raw.zip', 'made-up NTU files')) as z:
        folder = tmp_path_factory.mktemp('ntu')
        z.extractall(folder)
    return {f.stem: f for f in folder.rglob('*.skeleton')}, folder


@pytest.mark.parametrize(
    'pipeline, pad, storage, feed, stream',
    [
        ('ctr_gcn', '', 'float32', 'ctr_gcn', 'joint'),
        ('ctr_gcn', 'copy', 'float16', 'ctr_gcn', 'bone'),
        ('msg3d', '', 'float32', 'whole', 'joint_motion'),
    ],
)
def test_a_skeleton_file_is_answered_as_in_the_prepared_set(
    ntu_files, tmp_path, pipeline, pad, storage, feed, stream
):
    files, folder = ntu_files
    prepare(
        PrepareParameters(
            benchmark='ntu60_xsub',
            source=str(folder),
            pipeline=pipeline,
            pad_actor=pad,
            storage=storage,
            data_dir=str(tmp_path),
            processes=1,
        )
    )
    clips = load_clips(tmp_path / 'ntu60_xsub')
    fresh(clips, tmp_path / 'w.safetensors', stream=stream, feed=feed)
    _, about = open_weights(tmp_path / 'w.safetensors')
    for name in clips.names[::5]:
        np.testing.assert_array_equal(read_one(files[name], about), clips[name])
    assert (
        answers_as_test_does(
            tmp_path / 'w.safetensors', tmp_path, 'ntu60_xsub', files.get, tmp_path
        )
        > 10
    )


@pytest.mark.parametrize(
    'form, pipeline, normalize, frames',
    [('official', 'msg3d', 'symmetric', 300), ('mmaction2', 'ctr_gcn', 'column', 16)],
)
def test_a_foreign_checkpoint_answers_a_skeleton_file(
    ntu_files, tmp_path, form, pipeline, normalize, frames
):
    """With no parameters but those that its program lacks.

    The classes are indices, as nothing names them, or those of a named data set.
    """
    files, folder = ntu_files
    prepare(
        PrepareParameters(
            benchmark='ntu60_xsub',
            source=str(folder),
            pipeline=pipeline,
            data_dir=str(tmp_path),
            processes=1,
        )
    )
    clips = load_clips(tmp_path / 'ntu60_xsub')
    layout = '' if form == 'official' else 'ntu25_mmaction2'
    model = fresh(
        clips,
        tmp_path / 'w.safetensors',
        normalize=normalize,
        layout=layout,
        frames=frames if frames < 300 else 32,
    )
    save_names(model, tmp_path / 'theirs.pth', form)
    told = (
        dict(frames=32)
        if form == 'official'
        else dict(frames=16, feed='ctr_gcn', pipeline='ctr_gcn')
    )
    assert (
        answers_as_test_does(
            tmp_path / 'theirs.pth', tmp_path, 'ntu60_xsub', files.get, tmp_path, **told
        )
        > 10
    )
    answer = Predictor(PredictParameters(weights=str(tmp_path / 'theirs.pth'), **told))
    assert (
        'names no classes' in answer.assumed
        and f'frames {told["frames"]}' in answer.assumed
        and ('pipeline ' + pipeline) in answer.assumed
    )
    named = Predictor(
        PredictParameters(
            weights=str(tmp_path / 'theirs.pth'),
            benchmark='ntu60_xsub',
            data_dir=str(tmp_path),
            **told,
        )
    )
    one = files[clips.names[0]]
    assert [(f'A{int(c) + 1:03}', v) for c, v in answer(one).best] == named(
        one
    ).best and 'those of ntu60_xsub' in named.assumed


def test_the_release_answers_raw_clips(ntu_files, capfd, tmp_path, embedded):
    "MSA-GCN's own checkpoints, for NTU and for NW-UCLA, with the release's names."
    files, _ = ntu_files
    for name, raw, classes in (
        ('ntu', next(iter(files.values())), 60),
        ('ucla', next((embedded / 'raw/embedded/all_sqe').iterdir()), 10),
    ):
        state = load_file(
            need(SHARED / f'golden/msagcn_{name}_weights.safetensors', 'golden weights')
        )
        torch.save(
            dict(state_dict={f'module.{k}': v for k, v in state.items()}),
            tmp_path / f'{name}.pth.tar',
        )
        assert main(['predict', str(raw), '--weights', str(tmp_path / f'{name}.pth.tar')]) == 0
        out, err = capfd.readouterr()
        lines = out.splitlines()
        assert (
            len(lines) == 5
            and all(l.split(' %  ')[1].isdigit() for l in lines)
            and 'names no classes' in err
        )
        answer = Predictor(PredictParameters(weights=str(tmp_path / f'{name}.pth.tar'), k=classes))
        assert (
            answer.about['feed'] == dict(ntu='ctr_gcn', ucla='nw_ucla')[name]
            and len(answer(raw).best) == classes
        )


def test_raw_clips_of_the_embedded_set(embedded, tmp_path):
    clips, raw = load_clips(embedded / 'embedded'), embedded / 'raw/embedded/all_sqe'
    model = fresh(clips, tmp_path / 'w.safetensors', stream='bone')
    assert (
        answers_as_test_does(
            tmp_path / 'w.safetensors',
            embedded,
            'embedded',
            lambda name: raw / f'{name}.json',
            tmp_path,
        )
        == 20
    )
    save_names(model, tmp_path / 'theirs.pt', 'official')
    assert (
        answers_as_test_does(
            tmp_path / 'theirs.pt',
            embedded,
            'embedded',
            lambda name: raw / f'{name}.json',
            tmp_path,
            stream='bone',
            frames=16,
        )
        == 20
    )


def test_a_bad_clip_loses_no_other(embedded, capfd, tmp_path):
    clips, raw = (
        load_clips(embedded / 'embedded'),
        sorted((embedded / 'raw/embedded/all_sqe').iterdir())[:3],
    )
    fresh(clips, tmp_path / 'w.safetensors')
    (tmp_path / 'half.json').write_text(raw[0].read_text()[:100])
    given = [raw[0], tmp_path / 'half.json', raw[1], tmp_path / 'none.json', raw[2]]
    assert main(['predict', *map(str, given), '--weights', str(tmp_path / 'w.safetensors')]) == 2
    out, err = capfd.readouterr()
    assert [l.strip(':') for l in out.splitlines() if l.endswith(':')] == list(
        map(str, raw)
    ) and out.count(' %  ') == 15
    errors = err.strip().splitlines()
    assert (
        len(errors) == 3
        and 'half.json' in errors[0]
        and 'none.json' in errors[1]
        and errors[2].startswith('msagcn: 2 of 5 clips gave no answer')
    )
    assert main(['predict', *map(str, raw), '--weights', str(tmp_path / 'w.safetensors')]) == 0


def test_a_clip_much_longer_than_those_trained_on_is_reported(embedded, capfd, tmp_path):
    clips = load_clips(embedded / 'embedded')
    train = clips.lengths[np.array(clips.parts) == 'train']
    fresh(clips, tmp_path / 'w.safetensors')
    _, about = open_weights(tmp_path / 'w.safetensors')
    assert about['lengths'] == dict(
        shortest=train.min(),
        median=int(np.median(train)),
        p95=int(np.ceil(np.percentile(train, 95))),
        longest=train.max(),
    )
    x = clips[clips.names[0]]
    for times, told in ((1, False), (3, False), (40, True)):
        np.save(tmp_path / f'{times}.npy', np.tile(x, (times, 1, 1, 1)))
        assert (
            main(
                [
                    'predict',
                    str(tmp_path / f'{times}.npy'),
                    '--weights',
                    str(tmp_path / 'w.safetensors'),
                ]
            )
            == 0
        )
        out, err = capfd.readouterr()
        assert len(out.splitlines()) == 5 and ('resampled to 16 frames' in err) == told
        if told:
            assert (
                f'{40 * len(x)} frames, more than 4 times' in err
                and f'the longest {about["lengths"]["longest"]}' in err
            )


def twice(c):
    "Each body beside itself, with the hashes of that."
    frames = np.repeat(c.frames, 2, 1)
    return dict(
        frames=frames,
        hashes=[content_hash(frames[a : a + n]) for a, n in zip(c.starts, c.lengths)],
    )


CHANGES = [  # what differs in the data, and the difference that is reported first
    (
        lambda c: dict(classes=c.classes[1:] + c.classes[:1]),
        'the same names in another order; class 0',
    ),
    (
        lambda c: dict(classes=['bow', *c.classes[1:]]),
        "trained on 'pick up with one hand', which is not a class of",
    ),
    (
        lambda c: dict(
            skeleton=dict(
                name='mine',
                joints=[f'j{v}' for v in range(20)],
                parents=[max(v - 1, 0) for v in range(20)],
                centre=0,
            )
        ),
        "joint 0 is 'spine base'",
    ),
    (lambda c: dict(skeleton=rotated(c)), 'joints: the same in another order; joint 0'),
    (
        lambda c: dict(skeleton=listed(c, parents={3: 1})),
        "parents: 'head' hangs on 'spine shoulder' for the weights, on 'Spine Mid' in",
    ),
    (
        lambda c: dict(skeleton=listed(c, centre=0)),
        "centre: 'spine mid' for the weights, 'Spine Base' in",
    ),
    (lambda c: dict(skeleton=listed(c)), ''),  # the same joints, listed by hand
    (lambda c: dict(channels='xys', feed='mmaction2'), 'channels: xyz for the weights, xys in'),
    (twice, 'bodies: 1 for the weights, 2 in'),
    (
        lambda c: dict(notes=dict(pipeline='mmaction2')),
        'pipeline: none for the weights, mmaction2 in',
    ),
]


def listed(clips, parents={}, centre=1):
    from msagcn.data.skeleton import skeleton_from

    s = skeleton_from(clips.skeleton)
    return dict(
        name='by hand',
        joints=[j.title() for j in s.joints],
        parents=[parents.get(v, 2 if v == 2 else p) for v, p in enumerate(s.parents)],
        centre=centre,
    )


def rotated(clips):
    s = listed(clips)
    return s | dict(joints=s['joints'][::-1], parents=[19 - p for p in s['parents'][::-1]])


@pytest.mark.parametrize('change, says', CHANGES)
def test_other_data_are_refused_by_the_first_difference(embedded, capfd, tmp_path, change, says):
    clips = load_clips(embedded / 'embedded')
    fresh(clips, tmp_path / 'w.safetensors')
    save_clips(replace(clips, benchmark='other', **change(clips)), tmp_path / 'other')
    told = ['-p', 'data_dir', str(tmp_path), '-p', 'benchmark', 'other']
    assert main(['test', '-p', 'weights', str(tmp_path / 'w.safetensors'), *told]) == (
        2 if says else 0
    )
    out, err = capfd.readouterr()
    assert (
        says in err
        and ('top1' in out) != bool(says)
        and len(err.strip().splitlines()) == bool(says)
    )
    raw = str(next((embedded / 'raw/embedded/all_sqe').iterdir()))
    assert main(['predict', raw, '--weights', str(tmp_path / 'w.safetensors'), *told]) == (
        2 if says else 0
    )
    assert says in capfd.readouterr().err


def test_weights_that_recorded_less_are_still_used(embedded, capfd, tmp_path):
    "As an earlier version wrote them: without bodies, joint names, lengths or preparation."
    import json

    from safetensors import safe_open
    from safetensors.torch import save_file

    clips = load_clips(embedded / 'embedded')
    fresh(clips, tmp_path / 'w.safetensors')
    with safe_open(tmp_path / 'w.safetensors', 'pt') as f:
        about = json.loads(f.metadata()['msagcn'])
    old = {
        k: about[k]
        for k in ('parameters', 'classes', 'skeleton', 'shape', 'channels', 'feed', 'image')
    }
    save_file(
        load_file(tmp_path / 'w.safetensors'),
        tmp_path / 'old.safetensors',
        {'msagcn': json.dumps(old)},
    )
    raw = str(next((embedded / 'raw/embedded/all_sqe').iterdir()))
    said = []
    for name in ('w', 'old'):
        assert (
            main(
                [
                    'test',
                    '-p',
                    'weights',
                    str(tmp_path / f'{name}.safetensors'),
                    '-p',
                    'data_dir',
                    str(embedded),
                ]
            )
            == 0
        )
        assert main(['predict', raw, '--weights', str(tmp_path / f'{name}.safetensors')]) == 0
        said.append(capfd.readouterr().out.replace(f'{name}.safetensors', ''))
    assert said[0] == said[1]


def test_a_foreign_checkpoint_is_compared_by_numbers_and_that_is_reported(
    embedded, capfd, tmp_path
):
    clips = load_clips(embedded / 'embedded')
    save_names(fresh(clips, tmp_path / 'w.safetensors'), tmp_path / 'theirs.pt', 'official')
    told = ['-p', 'weights', str(tmp_path / 'theirs.pt'), '-p', 'frames', '16']
    assert main(['test', *told, '-p', 'data_dir', str(embedded)]) == 0
    out, err = capfd.readouterr()
    assert 'top1' in out and 'not by class names and joint names' in err
    save_clips(
        replace(clips, benchmark='fewer', classes=clips.classes + ['bow']), tmp_path / 'fewer'
    )
    assert main(['test', *told, '-p', 'data_dir', str(tmp_path), '-p', 'benchmark', 'fewer']) == 2
    assert '10 classes, fewer has 11' in capfd.readouterr().err


def test_numbered_classes_of_a_pickle_are_no_names():
    from msagcn.data.compare import difference

    a, b = (dict(classes=c, pipeline='mmaction2') for c in (['0', '1'], ['bow', 'jump']))
    assert difference(a, b, 'b') == difference(b, a, 'a') == '' and difference(
        dict(classes=['0', '1']), dict(classes=['bow', 'jump']), 'b'
    )
    assert (
        difference(dict(classes=['A001', 'A002']), dict(classes=['A001', 'A002']), 'ntu60_xview')
        == ''
    )
