"""Files of sensors, animals and motion capture as own clips: real ones of each tool where they are
at hand, made-up ones in the same form, spoilt ones, and whole sets from files to `Clips`."""

import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, SHARED, need, pairs
from fuzz_readers import (
    MOUSE,
    deeplabcut,
    deeplabcut_h5,
    forked,
    kinds,
    kinect,
    ntu,
    pose_file,
    slp,
    spoilt,
)

from msagcn.cli import main
from msagcn.core import MsagcnError
from msagcn.data.formats import FORMATS, format_lines
from msagcn.data.missing import Reading, reading_from, reading_note
from msagcn.data.own import read_custom
from msagcn.data.own_clip import raw_coordinates, read_coordinates
from msagcn.data.precog import parse_recording
from msagcn.data.recognise import recognise
from msagcn.data.skeleton import (
    BODY25,
    HANDS42,
    MEDIAPIPE33,
    NTU25,
    SKELETONS,
    UCLA20,
    tree_skeleton,
)
from msagcn.feeds.augment import mirrored_joints
from msagcn.models.graph import hop_distance, ring_adjacency

REAL = SHARED / 'data/real'
METRES = Reading(unit='m')


# --- real files


def test_kinect_tables_of_precog_are_what_their_own_reader_reads():
    folder = need(REAL / 'precog2016', 'PRECOG 2016')
    files = sorted(folder.glob('*.csv'))[::12]
    for f in files:
        x = raw_coordinates(f, UCLA20, reading=METRES)
        assert np.array_equal(x[:, 0], parse_recording(f.read_text(), str(f)))
    with pytest.raises(
        MsagcnError, match='does not say its unit; the description must, unit: m or'
    ):
        raw_coordinates(files[0], UCLA20)


def test_frames_that_people_labelled_in_deeplabcut():
    path = need(REAL / 'dlc_real/CollectedData_Pranav.csv', "DeepLabCut's example")
    x = read_coordinates(path, MOUSE, 'xys')
    assert x.shape == (116, 1, 4, 3)
    assert x[0, 0, 0].tolist() == [21.521, 265.428, 1]  # labelled by hand: sure
    lost = np.isnan(x[:, 0, :, 0])
    assert (x[:, 0, :, 2] == 1).all() and not lost.any()


def test_mediapipe_csv_is_the_json_beside_it():
    path = need(REAL / 'mediapipe_real/pose2sim_single_cam01.csv', "MediaPipe's CSV")
    x, y = (raw_coordinates(path.with_suffix(e), MEDIAPIPE33, 'xys') for e in ('.csv', '.json'))
    assert x.shape == y.shape == (100, 1, 33, 3)
    there = ~np.isnan(y[..., 0])
    assert np.array_equal(there, ~np.isnan(x[..., 0])) and there.all()
    assert np.abs(x - y)[there].max() < 2e-3


def test_pose_files_of_both_versions():
    folder = need(REAL / 'sign_pose', "pose-format's files")
    hands = raw_coordinates(folder / 'mediapipe.pose', HANDS42, 'xys')
    assert hands.shape == (170, 1, 42, 3) and 0.3 < np.isfinite(hands[..., 0]).mean() < 0.6
    found = np.isfinite(hands[:, 0, :, 0])
    assert (found[:, :21].all(1) | ~found[:, :21].any(1)).all()  # a hand is there as a whole
    body = raw_coordinates(folder / 'openpose.pose', BODY25, 'xys')
    assert body.shape == (93, 1, 25, 3)
    seen = body[:, 0][:, [2, 5], 0]  # the right shoulder is left in the picture
    assert np.nanmean(seen[:, 0] < seen[:, 1]) == 1
    with pytest.raises(MsagcnError, match='channels xyz are not in it'):
        raw_coordinates(folder / 'openpose.pose', BODY25)
    with pytest.raises(
        MsagcnError, match="no point 'nose' .body25.; it has POSE_LANDMARKS: LEFT_SH"
    ):
        raw_coordinates(folder / 'mediapipe.pose', BODY25, 'xy')


def test_ntu_text_of_the_mini_set_has_all_its_bodies(tmp_path):
    import zipfile

    archive = need(SHARED / 'golden/ntu_mini/raw.zip', 'the NTU mini set')
    with zipfile.ZipFile(archive) as z:
        names = sorted(n for n in z.namelist() if n.endswith('.skeleton'))[:8]
        for name in names:
            path = tmp_path / name.rpartition('/')[2]
            data = z.read(name)
            path.write_bytes(data)
            try:
                x = raw_coordinates(path, NTU25, persons=4)
            except MsagcnError as e:
                assert 'no body in any frame' in str(e)
                continue
            assert len(x) == int(data.split()[0])  # frames without anybody as well


# --- made up


def test_units_are_said_and_never_guessed(tmp_path):
    x = np.random.default_rng(0).normal(size=(4, 20, 3)).round(4)
    path = tmp_path / 'a.csv'
    path.write_text(kinect(x))
    for unit, factor in dict(m=1, cm=100, mm=1000).items():
        assert np.allclose(
            raw_coordinates(path, UCLA20, reading=Reading(unit=unit))[:, 0] * factor, x
        )
    r = Reading(unit='mm', columns=(('head', ('a', 'b', 'c')),))
    assert reading_from(reading_note(r)) == r
    assert (
        'unit' not in reading_note(Reading()) and reading_from(reading_note(Reading())) == Reading()
    )
    (path := tmp_path / 'a.skeleton').write_text(ntu(np.ones((2, 1, 25, 3))))
    assert raw_coordinates(path, NTU25).max() == 1
    with pytest.raises(MsagcnError, match='NTU RGB.D has metres; the description says unit: mm'):
        raw_coordinates(path, NTU25, reading=Reading(unit='mm'))
    np.save(tmp_path / 'a.npy', 1000 * x)
    assert np.allclose(
        raw_coordinates(tmp_path / 'a.npy', UCLA20, reading=Reading(unit='mm'))[:, 0], x
    )


def test_a_header_that_is_not_understood_is_shown_and_can_be_mapped(tmp_path):
    "As in UCI's gesture set: `lhx`, a time stamp, and y downwards."
    x = np.random.default_rng(0).normal(size=(6, 3, 3)).round(3)
    for part, name in (('train', 'a'), ('test', 'b')):
        (tmp_path / part / 'wave').mkdir(parents=True)
        rows = ['lhx,lhy,lhz,rhx,rhy,rhz,hx,hy,hz,timestamp']
        x = x + (part == 'test')
        rows += [','.join(map(str, [*t.ravel(), '5702871'])) for t in x]
        (tmp_path / part / f'wave/{name}.csv').write_text('\n'.join(rows))
    text = 'joints: [head, left hand, right hand]\nparents: [null, head, head]\nchannels: xyz\nup: -y\n'
    (tmp_path / 'mine.yaml').write_text(text)
    with pytest.raises(MsagcnError, match='no column head_x'):
        read_custom(tmp_path / 'mine.yaml', 'mine')
    names = [
        f'{{head: [hx, hy, hz], left hand: [lhx, lhy, lhz], right hand: [rhx, rhy, {z}]}}'
        for z in ('rhz', 'z')
    ]
    (tmp_path / 'mine.yaml').write_text(f'{text}unit: mm\ncolumns: {names[1]}')
    with pytest.raises(
        MsagcnError, match="columns: 'z' is not in it; its header has 10 columns: lhx, lhy"
    ):
        read_custom(tmp_path / 'mine.yaml', 'mine')
    (tmp_path / 'mine.yaml').write_text(f'{text}unit: mm\ncolumns: {names[0]}')
    clips = read_custom(tmp_path / 'mine.yaml', 'mine')
    assert clips.notes['up'] == '-y' and clips.notes['reading']['columns']['head'] == [
        'hx',
        'hy',
        'hz',
    ]
    assert np.allclose(clips['b'][:, 0], x[:, [2, 0, 1]] / 1000, atol=1e-6)


@pytest.mark.parametrize('version', [0, 0.1, 0.2])
def test_people_of_a_pose_file_stay_apart(version, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.uniform(1, 9, (6, 2, 4, 3)) + [[[[0, 0, 0]], [[400, 0, 0]]]]
    x[2, 0, :, 2], x[4, 1, 1, 2] = 0, 0
    (path := tmp_path / 'a.pose').write_bytes(pose_file(x, version))
    y, x = raw_coordinates(path, MOUSE, 'xys', 3), x[:, ::-1]  # who is seen longest comes first
    there = x[..., 2] > 0
    assert np.allclose(y[:, :2][there], x[there], atol=1e-4)
    assert np.array_equal(np.isnan(y[:, :2, :, 0]), ~there) and np.isnan(y[:, 2, :, 0]).all()


def test_a_set_of_animals_from_files_to_clips(tmp_path):
    rng, made = np.random.default_rng(0), {}
    for part, label, name in (('train', 'run', 'a'), ('train', 'rest', 'b'), ('test', 'run', 'c')):
        made[name] = rng.uniform(1, 400, (7, 2, 4, 3)).round(2)
        made[name][..., 2] = 0.9
        (tmp_path / part / label).mkdir(parents=True)
        (tmp_path / part / label / f'{name}.csv').write_text(
            deeplabcut(made[name], ['anna', 'ben'])
        )
        (tmp_path / part / label / 'Thumbs.db').write_bytes(b'\0')
    (tmp_path / 'mice.yaml').write_text(
        'joints: [snout, left ear, right ear, tail base]\nparents: [tail base, snout, snout, null]\n'
        'channels: xys\npersons: 2\nimage: [400, 400]'
    )
    clips = read_custom(tmp_path / 'mice.yaml', 'mice')
    assert clips.names == ['a', 'b', 'c'] and clips.classes == ['rest', 'run']
    assert np.allclose(clips['c'][..., :2], made['c'][..., :2] / 200 - 1, atol=1e-6)


def test_a_file_of_deeplabcut_is_its_csv(tmp_path):
    pytest.importorskip('h5py')
    x = np.random.default_rng(0).uniform(1, 400, (5, 2, 4, 3))
    x[1, 0], x[2, 1, 3] = np.nan, np.nan
    (tmp_path / 'a.h5').write_bytes(deeplabcut_h5(x, ['anna', 'ben']))
    (tmp_path / 'a.csv').write_text(deeplabcut(x, ['anna', 'ben']))
    a, b = (raw_coordinates(tmp_path / f'a.{end}', MOUSE, 'xys', 3) for end in ('h5', 'csv'))
    assert np.array_equal(a, b, equal_nan=True) and np.isfinite(a[0, :2]).all()
    found = [recognise(tmp_path / f'a.{end}') for end in ('h5', 'csv')]
    assert found[0] == found[1] and found[0].joints[0] == 'snout'


def test_a_table_of_deeplabcut_in_3d_keeps_its_z(tmp_path):
    x = np.random.default_rng(0).uniform(1, 400, (5, 1, 4, 3)).round(3)
    path = tmp_path / 'a.csv'
    path.write_text(deeplabcut(x).replace('likelihood', 'z'))
    r = recognise(path)
    assert r.channels == 'xyz'
    assert np.array_equal(raw_coordinates(path, MOUSE, 'xyz'), x)


def test_a_label_by_hand_takes_the_place_of_its_prediction(tmp_path):
    pytest.importorskip('h5py')
    x = np.random.default_rng(0).uniform(1, 400, (5, 2, 4, 3))
    (path := tmp_path / 'a.slp').write_bytes(slp(x))
    y = raw_coordinates(path, MOUSE, 'xys', 2)
    assert np.array_equal(y[[0, 2, 3, 4]], x[[0, 2, 3, 4]]) and np.array_equal(y[1, 1], x[1, 1])
    assert y[1, 0].tolist() == [[1, 2, 1]] * 4
    assert recognise(path).joints == ('snout', 'leftear', 'rightear', 'tailbase')


def test_all_bad_files_are_told_at_once_or_skipped(tmp_path, capsys, monkeypatch):
    (tmp_path / 'train/x').mkdir(parents=True)
    (tmp_path / 'test/x').mkdir(parents=True)
    for i in range(4):
        np.save(
            tmp_path / f'{"train" if i < 3 else "test"}/x/c{i}.npy', np.full((5, 3, 3), i + 1.0)
        )
    for i in range(7):
        (tmp_path / f'train/x/bad{i}.csv').write_text('a,b\n1,2\n')
    text = 'joints: [a, b, c]\nparents: [null, a, a]\nchannels: xyz\naxes: time joint space\n'
    (tmp_path / 'mine.yaml').write_text(text)
    with pytest.raises(MsagcnError) as e:
        read_custom(tmp_path / 'mine.yaml', 'mine')
    told = str(e.value)
    assert told.startswith(str(tmp_path / 'train/x/bad0.csv')) and '\n' not in told
    assert '; 6 more of 11 clips cannot be read (skip: true leaves all of them out): ' in told
    assert all(f'bad{i}' in told for i in range(7))
    (tmp_path / 'mine.yaml').write_text(text + 'skip: true\n')
    monkeypatch.chdir(tmp_path)
    args = ['prepare', *pairs(benchmark='mine', source='mine.yaml', data_dir='data')]
    assert main(args) == 0
    assert 'bad0' in capsys.readouterr().out


@pytest.mark.parametrize('name, package', [('a.h5', 'h5py'), ('a.slp', 'h5py'), ('a.c3d', 'ezc3d')])
def test_a_format_whose_package_is_not_there_says_how_to_get_it(
    name, package, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / name).write_bytes(b'\x02P' + bytes(600))
    channels = 'xyz' if package == 'ezc3d' else 'xy'
    with pytest.raises(MsagcnError) as e:
        raw_coordinates(tmp_path / name, MOUSE, channels)
    assert f'{name}: is read by the package {package}' in str(e.value)
    assert f"pip install 'msagcn[{package}]'" in str(e.value)


def test_packages_of_single_formats_are_imported_only_when_needed():
    code = (
        'import sys, msagcn.data.own; sys.exit(bool({"h5py", "ezc3d", "torch"} & set(sys.modules)))'
    )
    assert subprocess.run([sys.executable, '-c', code], cwd=ROOT).returncode == 0


# --- skeletons and the list


def test_formats_lists_what_is_read_without_pytorch(capsys):
    assert main(['formats']) == 0
    out = capsys.readouterr().out
    assert all(f.name in out and f.example in out for f in FORMATS)
    assert all(name in out for name in SKELETONS) and len(format_lines()) == len(FORMATS)
    code = 'import sys; from msagcn.cli import main; main(["formats"]); sys.exit("torch" in sys.modules)'
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True)
    assert done.returncode == 0


@pytest.mark.parametrize('name', ['azure32', 'halpe26', 'wholebody133', 'hands42'])
def test_pairs_of_sides(name):
    s = SKELETONS[name]
    other = mirrored_joints(s)
    assert [other[v] for v in other] == list(range(s.V))
    middle = [j for v, j in enumerate(s.joints) if other[v] == v]
    assert not any(w in j.split() for j in middle for w in ('left', 'right'))


def test_two_bodies_that_nothing_joins_are_one_graph():
    d = hop_distance(HANDS42)
    assert (d[:21, 21:] == -1).all() and (d[:21, :21] >= 0).all()
    rings = ring_adjacency(HANDS42, 5)
    assert not rings[:, :21, 21:].any() and np.isfinite(rings).all()
    with pytest.raises(MsagcnError, match='no limb joins c to the others'):
        tree_skeleton('three', ('a', 'b', 'c'), (0, 0, 2))


# --- spoilt files


@pytest.mark.parametrize('kind', kinds())
@pytest.mark.filterwarnings('error')
def test_spoilt_files_are_read_or_refused_in_a_line(kind, tmp_path):
    "A small sample; `python tests/fuzz_readers.py` takes thousands of each kind."
    told = []
    with forked():
        counts = spoilt(kind, 0, 40, tmp_path, told.append)
    assert set(counts) <= {'read', 'refused'}, told
    assert counts['refused'] > 3
