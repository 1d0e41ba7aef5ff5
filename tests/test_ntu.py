"""Raw NTU RGB+D files: bit for bit what the public preparation makes of them, straight from the archives or from folders, with
one process or two, and one line for every kind of bad file."""
import warnings
import zipfile

import numpy as np
import pytest

from conftest import SHARED, need
from msagcn.clips import split
from msagcn.core import MsagcnError, content_hash
from msagcn.ctr_gcn import read_npz
from msagcn.ntu import Body, NoBody, actors, clip_of, denoise, missing_names, raw_files, read_ntu, read_skeleton

GOLDEN = SHARED / 'golden'
MINI = {'ntu60': GOLDEN / 'ntu_mini', 'ntu120': GOLDEN / 'ntu120_mini'}
PUBLIC = [('ntu60', 'xsub', 'NTU60_CS'), ('ntu60', 'xview', 'NTU60_CV'),
          ('ntu120', 'xsub', 'NTU120_CSub'), ('ntu120', 'xset', 'NTU120_CSet')]
NAME = 'S001C001P001R001A001'


def raw(benchmark): return need(MINI[benchmark] / 'raw.zip', 'golden raw files')


def same(a, b):
    "Two data sets are equal in everything."
    assert (a.benchmark, a.classes, a.names, a.parts, a.hashes) == (b.benchmark, b.classes, b.names, b.parts, b.hashes)
    for k in ('labels', 'subjects', 'lengths', 'frames'): assert np.array_equal(getattr(a, k), getattr(b, k)), k


# the goldens

@pytest.mark.parametrize('benchmark', MINI)
def test_denoised_joints_are_the_public_ones(benchmark):
    golden = np.load(need(MINI[benchmark] / 'denoised_joints.npz', 'golden joints'))
    with zipfile.ZipFile(raw(benchmark)) as archive:
        files = [n for n in archive.namelist() if n.endswith('.skeleton')]
        for f in files:
            x = denoise(*read_skeleton(archive.read(f), f), f)
            wanted = golden[f.split('/')[-1].removesuffix('.skeleton')]
            assert x.dtype == np.float32 and np.array_equal(x.reshape(len(x), -1), wanted), f
    assert len(files) == len(golden.files)


@pytest.mark.parametrize('benchmark, kind, file', PUBLIC)
def test_public_arrays_can_be_rebuilt(benchmark, kind, file):
    clips, path = read_ntu(raw(benchmark), kind, benchmark), need(MINI[benchmark] / f'{file}.npz', 'golden arrays')
    golden = np.load(path)
    assert (clips.benchmark, clips.skeleton, clips.channels, clips.feed) == (f'{benchmark}_{kind}', 'ntu25', 'xyz', 'ctr_gcn')
    assert clips.frames.dtype == np.float32 and len(clips.classes) == int(benchmark[3:]) and clips.classes[0] == 'A001'
    for part in ('train', 'test'):
        wanted, i = golden[f'x_{part}'], split(clips)[part]
        x = np.zeros_like(wanted)
        assert len(i) == len(x)
        for row, start, length in zip(x, clips.starts[i], clips.lengths[i]):
            row[:length] = clips.frames[start:start + length].reshape(length, -1)
        assert np.array_equal(x, wanted)
        assert np.array_equal(clips.labels[i], golden[f'y_{part}'].argmax(1))
    assert clips.hashes == [content_hash(clips[n]) for n in clips.names]
    again = read_npz(path, 'x')                                              # the other way to the same set
    assert again.hashes == [h for p in ('train', 'test') for h, q in zip(clips.hashes, clips.parts) if q == p]


def test_beside_a_lone_actor_stands_what_is_asked_for():
    zero, copy = (read_ntu(raw('ntu60'), pad_actor=p) for p in ('zero', 'copy'))
    golden = np.load(need(MINI['ntu60'] / 'denoised_joints.npz', 'golden joints'))
    alone = [n for n in zero.names if golden[n].shape[1] == 75]
    assert not any(zero[n][:, 1].any() for n in alone)
    assert [n for n in zero.names if not zero[n][:, 1].any()] != alone       # an empty second slot is not a lone actor
    assert all(np.array_equal(copy[n][:, 1], copy[n][:, 0]) for n in alone)
    assert zero.names == copy.names and all(np.array_equal(copy[n], zero[n]) for n in set(zero.names) - set(alone))
    assert read_ntu(raw('ntu60')).data_hash == zero.data_hash != copy.data_hash


def test_folder_and_archives_and_processes_make_no_difference(tmp_path):
    whole = read_ntu(raw('ntu120'), 'xset', 'ntu120')
    with zipfile.ZipFile(raw('ntu120')) as archive:
        archive.extractall(tmp_path / 'folder')
        files = [n for n in archive.namelist() if n.endswith('.skeleton')]
        for part in (0, 1):                                                  # the official archives are two
            with zipfile.ZipFile(tmp_path / f'{part}.zip', 'w', zipfile.ZIP_DEFLATED) as z:
                for n in files[part::2]: z.writestr(n, archive.read(n))
    same(whole, read_ntu(tmp_path / 'folder', 'xset', 'ntu120'))
    same(whole, read_ntu([tmp_path / '1.zip', str(tmp_path / '0.zip')], 'xset', 'ntu120'))
    same(read_ntu(raw('ntu60')), read_ntu(str(raw('ntu60')), processes=2))


def test_an_error_comes_back_from_another_process(tmp_path):
    for i in range(1, 41): (tmp_path / f'{NAME[:-3]}{i:03}.skeleton').write_bytes(written([{7: PERSON}]))
    (tmp_path / f'{NAME[:-3]}035.skeleton').write_bytes(b'3 1')
    with pytest.raises(MsagcnError, match='A035.skeleton: cut off in frame 0 of 3'): read_ntu(tmp_path, processes=2)


# the rules, on bodies made up

PERSON = (np.random.default_rng(0).normal(size=(25, 3))*[.1, .5, .1] + [0, 0, 3]).round(6)


def written(frames):
    "A raw file from a list of frames, each of them identity -> joints."
    lines = [len(frames)]
    for f in frames:
        lines.append(len(f))
        for k, x in f.items():
            lines += [f'{k} 0 1 1 1 1 0 0.5 -0.5 2', len(x), *(f'{a} {b} {c} 1 2 3 4 0 0 0 1 2' for a, b, c in x)]
    return '\n'.join(map(str, lines)).encode()


def body(first, last, size):
    "A body that drifts by `size` along x, y and z."
    return Body(first, (PERSON + size*np.linspace(-1, 1, last - first + 1)[:, None, None]).astype('f4'))


def test_identities_closer_than_floats_are_kept_apart():
    a, b = 72057594037931768, 72057594037931769
    assert float(a) == float(b)
    bodies, frames = read_skeleton(written([{a: PERSON, b: PERSON + 1}]*2 + [{}, {b: PERSON + 1, a: PERSON}]), 'x')
    assert frames == 3 and [len(x.joints) for x in bodies] == [3, 3]
    assert np.array_equal(bodies[0].joints, [PERSON.astype('f4')]*3)


def test_a_body_that_returns_is_moved_earlier():
    one, both = {1: PERSON}, {1: PERSON, 2: PERSON}
    bodies, frames = read_skeleton(written([one, {}, both, one, both]), 'x')
    assert frames == 4 and (bodies[1].first, bodies[1].last) == (1, 2)


def test_eleven_frames_are_too_few_and_twelve_are_not():
    long = body(0, 30, .1)
    assert actors([long, body(0, 10, .9)]) == [long] and len(actors([long, body(0, 11, .9)])) == 2
    assert denoise([body(0, 4, .1)], 5).shape == (5, 1, 25, 3)              # the rules are for several bodies
    with pytest.raises(MsagcnError, match='x: none of 2 bodies is seen in more than 11 frames'):
        denoise([body(0, 9, 1), body(0, 10, 1)], 20, 'x')


def test_the_spread_rule_stops_when_one_is_left():
    lying = [Body(0, body(0, 30, s).joints[..., [1, 0, 2]]) for s in (.1, .9)]
    assert actors(lying) == lying[1:] and actors(lying[::-1]) == lying[:1]   # the first goes, the last stays whatever it is
    mixed = Body(0, body(0, 99, .9).joints)
    for wide, stays in ((69, True), (70, False)):                            # 69.754 % of 100 frames lie between
        mixed.joints = body(0, 99, .9).joints
        mixed.joints[:wide] = mixed.joints[:wide, :, [1, 0, 2]]
        assert (mixed in actors([mixed, body(0, 50, .1)])) == stays


@pytest.mark.parametrize('width, stays', [(.79, True), (.81, False)])
def test_a_body_wider_than_four_fifths_of_its_height_goes(width, stays):
    b = body(0, 30, .9)
    wide, tall = np.moveaxis(np.ptp(b.joints[..., :2], axis=1), 1, 0)        # (n,) each
    b.joints[..., 0] *= (np.float32(width)*tall/wide)[:, None]
    assert (b in actors([b, body(0, 30, .1)])) == stays


def test_motion_in_invalid_frames_does_not_count():
    steady, wild = body(0, 30, .3), body(0, 30, 0)
    wild.joints[20:] = body(20, 30, 2).joints[..., [1, 0, 2]]                # lies down and jumps about
    assert actors([wild, steady]) == [steady, wild]
    wild.joints[20:] = body(20, 30, 2).joints
    assert actors([wild, steady]) == [wild, steady]


def test_frames_that_only_a_dismissed_body_was_in_are_removed():
    actor, chair = body(0, 29, .3), body(25, 34, .9)
    for bodies in ([actor, chair], [chair, actor]):
        x = denoise(bodies, 35)
        assert x.shape == (30, 1, 25, 3) and np.array_equal(x[:, 0], actor.joints)
    x = denoise([body(3, 20, .3), body(30, 50, .2), chair], 51)              # a hole between two actors
    assert x.shape == (18 + 21, 2, 25, 3) and not x[:, 1].any()


def test_slot_two_counts_as_taken_from_the_start():
    first, second, early, late = body(0, 50, .9), body(20, 40, .8), body(0, 15, .7), body(40, 60, .6)
    x = denoise([first, second, early, late], 61)
    assert not x[:20, 1].any() and np.array_equal(x[20:40, 1], second.joints[:20])        # no room for `early`
    assert np.array_equal(x[40:, 1], late.joints)                            # one shared frame, 40, is no overlap: written over


def test_an_absent_actor_stays_zero_and_the_origin_is_the_first_actors():
    x = denoise([body(5, 40, .2), body(0, 20, .9)], 41)                      # actor 1 is the second body, gone after frame 20
    y = clip_of(x)
    assert np.array_equal(y[:21, 0], x[:21, 0] - x[0, 0, 1]) and not y[21:, 0].any() and not y[:5, 1].any()
    with pytest.raises(MsagcnError, match='every coordinate'): clip_of(np.zeros((3, 1, 25, 3), 'f4'))


# bad input

GOOD = written([{7: PERSON}]*3)


@pytest.mark.parametrize('data, cause', [
    (b'', 'empty file'), (b'\n \n', 'empty file'),
    (GOOD[:-30], 'cut off in frame 2 of 3'), (GOOD[:len(GOOD)//2], 'cut off in frame 1 of 3'), (b'9'*30, 'cut off in frame 0'),
    (b'<!DOCTYPE html>', 'frame 0: <!DOCTYPE'), (b'PK\x03\x04', 'frame 0: '), (b'-3 ' + GOOD[2:], 'frame 0: -3'),
    (b'9'*9999, 'frame 0: '),
    (written([{7: PERSON}, {7: PERSON[:20]}]), 'frame 1: 20 joints, not 25'),
    (GOOD.replace(b' 1 2 3 4', b' 1 2 3', 1), f'frame 1: {PERSON[0, 0]} where a number of things'),
    (GOOD.replace(str(PERSON[0, 0]).encode(), b'nought', 1), 'not numbers'), (GOOD.replace(b'.', b'_'), 'underscore'),
    (GOOD.replace(str(PERSON[0, 0]).encode(), b'nan', 1), 'NaN'),
    (GOOD.replace(str(PERSON[0, 0]).encode(), b'1e400', 1), 'infinite'),
    (GOOD.replace(str(PERSON[0, 0]).encode(), b'1e39', 1), 'beyond all measure'),
    (written([{7: PERSON, 8: PERSON}]).replace(b'\n8 ', b'\n7 '), 'twice in one frame'),
    (b'0', 'no body in any frame'), (written([{}, {}]), 'no body in any frame')])
def test_a_bad_file_is_one_line_with_file_and_cause(tmp_path, data, cause):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        with pytest.raises(MsagcnError) as e: read_skeleton(data, 'a.skeleton')
    line = str(e.value)
    assert line.startswith('a.skeleton: ') and cause in line and '\n' not in line and len(line) < 300
    assert isinstance(e.value, NoBody) == cause.startswith('no body')
    if cause.startswith('no body'): return
    with zipfile.ZipFile(tmp_path / 'raw.zip', 'w') as z: z.writestr(f'in/{NAME}.skeleton', data)
    with pytest.raises(MsagcnError, match=f'raw.zip:in/{NAME}.skeleton: '): read_ntu(tmp_path / 'raw.zip')


def test_archives_and_folders_that_are_none(tmp_path):
    with pytest.raises(MsagcnError, match='no such file'): read_ntu(tmp_path / 'no')
    with pytest.raises(MsagcnError, match='no .skeleton files of ntu60'): read_ntu(tmp_path)
    (tmp_path / 'page.zip').write_text('<html>')
    with pytest.raises(MsagcnError, match='page.zip: not a zip archive'): read_ntu(tmp_path / 'page.zip')
    with zipfile.ZipFile(tmp_path / 'raw.zip', 'w') as z: z.writestr(f'{NAME}.skeleton', GOOD*20)
    data = bytearray((tmp_path / 'raw.zip').read_bytes())
    data[200] ^= 1
    (tmp_path / 'raw.zip').write_bytes(data)
    with pytest.raises(MsagcnError, match=f'{NAME}.skeleton: cannot read .*CRC'): read_ntu(tmp_path / 'raw.zip')


@pytest.mark.parametrize('name, cause', [('walk', 'not a name'), ('S001C001P001R001A1', 'not a name'), (NAME + 'x', 'not a name'),
                                         ('S033C001P001R001A001', 'setup 33'), ('S001C004P001R001A001', 'camera 4'),
                                         ('S001C001P107R001A001', 'performer 107'), ('S001C001P001R003A001', 'replication 3'),
                                         ('S001C001P001R001A121', 'action 121'), ('S001C001P001R001A000', 'action 0')])
def test_bad_names(tmp_path, name, cause):
    (tmp_path / f'{name}.skeleton').write_bytes(GOOD)
    with pytest.raises(MsagcnError, match=f'{name}.*{cause}'): read_ntu(tmp_path, benchmark='ntu120')


def test_a_name_may_be_there_once(tmp_path):
    for d in ('a', 'b'):
        (tmp_path / d).mkdir()
        (tmp_path / d / f'{NAME}.skeleton').write_bytes(GOOD)
    with pytest.raises(MsagcnError, match='was there before'): read_ntu(tmp_path)
    assert read_ntu(tmp_path / 'a').names == [NAME]


@pytest.mark.parametrize('asked, cause', [(dict(benchmark='ntu'), 'ntu60, ntu120'), (dict(split='xset'), 'xsub, xview'),
                                          (dict(split='xview', benchmark='ntu120'), 'xsub, xset'),
                                          (dict(pad_actor='twin'), 'zero, copy')])
def test_what_is_not_offered(tmp_path, asked, cause):
    with pytest.raises(MsagcnError, match=cause): read_ntu(tmp_path, **asked)


def test_clips_without_anybody_are_left_out_and_named(tmp_path):
    (tmp_path / f'{NAME}.skeleton').write_bytes(GOOD)
    for a in ('002', '003'): (tmp_path / f'{NAME[:-3]}{a}.skeleton').write_bytes(written([{}, {}]))
    with pytest.warns(UserWarning, match=f'2 clips without anybody are left out: {NAME[:-3]}002, {NAME[:-3]}003'):
        clips = read_ntu(tmp_path)
    assert clips.names == [NAME] and clips.lengths.tolist() == [3]
    (tmp_path / f'{NAME}.skeleton').unlink()
    with pytest.warns(UserWarning), pytest.raises(MsagcnError, match='nobody in any of 2 files'): read_ntu(tmp_path)


def test_the_authors_list_is_obeyed(tmp_path):
    for a in ('001', '002'): (tmp_path / f'{NAME[:-3]}{a}.skeleton').write_bytes(GOOD)
    (tmp_path / 'list.txt').write_text(f'Samples with missing skeletons:\n\n{NAME[:-3]}002\r\nS009C009P009R009A009.skeleton')
    assert missing_names(tmp_path / 'list.txt') == {f'{NAME[:-3]}002', 'S009C009P009R009A009'}
    assert read_ntu(tmp_path, missing=tmp_path / 'list.txt').names == [NAME]
    (tmp_path / 'empty.txt').write_text('nothing')
    for bad, cause in (('empty.txt', 'no clip names'), ('no.txt', 'cannot read')):
        with pytest.raises(MsagcnError, match=f'{bad}: {cause}'): read_ntu(tmp_path, missing=tmp_path / bad)


def test_sixty_takes_its_own_from_the_files_of_both(tmp_path):
    for n in (NAME, 'S018C001P001R001A061', 'S017C001P040R001A060'): (tmp_path / f'{n}.skeleton').write_bytes(GOOD)
    (tmp_path / '._hidden.skeleton').write_bytes(b'')                        # what an Apple leaves on other people's disks
    assert read_ntu(tmp_path).names == [NAME, 'S017C001P040R001A060'] and len(read_ntu(tmp_path, benchmark='ntu120')) == 3
    assert len(raw_files(tmp_path)) == 3


def test_from_the_archive_to_prepared_clips(tmp_path, capsys):
    "By the command: the raw archive in a folder becomes a data set that a network can be trained on."
    from msagcn.cli import main
    from msagcn.clips import load_clips
    raw = need(SHARED / 'golden/ntu_mini/raw.zip', 'made-up NTU files')
    (tmp_path / 'raw').mkdir()
    (tmp_path / 'raw/s001_to_s017.zip').write_bytes(raw.read_bytes())
    assert main(['prepare', '-p', 'benchmark', 'ntu60_xsub', '-p', 'source', str(tmp_path / 'raw'), '-p', 'data_dir', str(tmp_path)]) == 0
    clips = load_clips(tmp_path / 'ntu60_xsub')
    assert clips.feed == 'ctr_gcn' and clips.skeleton == 'ntu25' and {'train', 'test'} == set(clips.parts)
    assert f'{clips.parts.count("train")} to train' in capsys.readouterr().out
