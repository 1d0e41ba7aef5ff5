"""A folder without a description: what is found in it, what is asked, what is never overwritten.

And four strangers' sets from files to a report by three commands.
"""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import ROOT, SHARED, need, pairs, places
from strangers import SETS, three_commands

from msagcn.cli import main
from msagcn.core import MsagcnError
from msagcn.data.clips import load_clips
from msagcn.data.own import read_custom
from msagcn.data.own_description import read_description
from msagcn.data.own_folder import describe_folder
from msagcn.data.recognise import recognise

REAL = SHARED / 'data/real'
SMALL = dict(people=4, times=1)
SHORT = pairs(steps=4, warmup_steps=1, frames=8, device='cpu')


def save(folder, *names, V=17, T=6):
    "Arrays of made-up keypoints in pixels, with scores."
    rng = np.random.default_rng(0)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        x = rng.uniform(10, 400, (T, V, 3)).round(1)
        x[..., 2] /= 400
        np.save(folder / name, x)


def _in_this_process(notebook, out, parameters):
    "As papermill executes a notebook, without the start of a kernel, which takes longer than the rest."
    import matplotlib.pyplot as plt
    from execnb.shell import CaptureShell

    nb, shell = json.loads(Path(notebook).read_text()), CaptureShell(mpl_format='png')
    plt.rcParams['figure.dpi'] = 20  # nobody looks at the pictures
    for cell in nb['cells']:
        if cell['cell_type'] != 'code':
            continue
        cell['outputs'] = shell.run(''.join(cell['source']))
        if 'parameters' in cell['metadata'].get('tags', ()):
            shell.run('\n'.join(f'{k} = {v!r}' for k, v in parameters.items()))
        if shell.exc:
            raise RuntimeError(shell.exc)
    Path(out).write_text(json.dumps(nb))


def by_class(*who, classes=('wave', 'bow')):
    return [f'{c}/{w}.npy' for c in classes for w in who]


def refused(folder, *says, name='mine', unit=''):
    "The folder is refused in one line that says all of this."
    with pytest.raises(MsagcnError) as e:
        read_custom(describe_folder(folder, name, unit)[0], name)
    told = str(e.value)
    assert '\n' not in told and all(s in told for s in says), told


# --- from files to a report


EXPECTED = {
    '2D estimator': ('coco17', 'AlphaPose', ['kick', 'squat', 'wave']),
    '3D sensor': ('ucla20', 'Kinect table', ['seq1', 'seq2', 'seq3']),
    'hands': ('hand21', 'bare landmarks', ['fist', 'point', 'spread']),
    'animals': (None, 'DeepLabCut', ['groom', 'run', 'turn']),
}


@pytest.mark.parametrize('kind', SETS)
def test_a_stranger_s_set_from_files_to_a_report(kind, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr('msagcn.report.html._run_papermill', _in_this_process)
    name, write = SETS[kind]
    skeleton, program, classes = EXPECTED[kind]
    more = write(tmp_path / name, **SMALL | (dict(times=3) if kind == '3D sensor' else {}))
    at = places(tmp_path)
    short = [*SHORT, *pairs(runs_dir=at['runs_dir']), '--no-notebook']
    dirs = dict(prepare=['data_dir'], train=['data_dir', 'reports_dir'], report=list(at))
    if kind != 'animals':  # no weights there: without pictures of what the network looks at
        at['runs_dir'] = str(tmp_path)
    for words in three_commands(name, tmp_path / name, more, short):
        assert main([*words, *pairs(**{k: at[k] for k in dirs[words[0]]})]) == 0
    said = capsys.readouterr().out
    assert program in said and f'{name}.yaml' in said and 'without training: chance 33.33' in said
    assert name in (tmp_path / f'reports/{name}.html').read_text()
    clips = load_clips(tmp_path / 'data' / name)
    assert clips.classes == classes and {'train', 'test'} == set(clips.parts)
    if skeleton:
        assert clips.skeleton == skeleton
    else:
        assert clips.skeleton['joints'] == ['snout', 'leftear', 'rightear', 'tailbase']
        assert len(clips) == 12 and len(set(clips.names)) == 12  # names are told apart by class
    if kind != 'hands':  # whose folders say the parts
        assert len({*clips.subjects.tolist()} - {0}) == SMALL['people']
        tested = {s for s, p in zip(clips.subjects.tolist(), clips.parts) if p == 'test'}
        assert len(tested) == 1


def test_the_measured_table_has_all_kinds_and_the_page_the_commands():
    rows = list(csv.DictReader(open(ROOT / 'reports/strangers.csv')))
    assert [r['kind'] for r in rows] == list(SETS)
    for r in rows:
        assert int(r['n_test']) > 0 and all(
            float(r[f'{c}_seconds']) > 0 for c in ('prepare', 'train', 'report')
        )
        # three commands and less than ten minutes, on the machine that it says
        assert sum(float(r[f'{c}_seconds']) for c in ('prepare', 'train', 'report')) < 600
    page = (ROOT / 'docs/own.md').read_text()
    for words in three_commands('gestures', 'gestures', []):
        assert f'    msagcn {" ".join(words)}\n' in page


# --- what is found


@pytest.mark.parametrize(
    'file, joints, channels, unit',
    [
        ('precog2016/Seq1_1.csv', 'ucla20', 'xyz', 'asked'),
        (
            'dlc_real/CollectedData_Pranav.csv',
            ('snout', 'leftear', 'rightear', 'tailbase'),
            'xys',
            '',
        ),
        ('mediapipe_real/pose2sim_single_cam01.csv', 'mediapipe33', 'xys', ''),
        ('mediapipe_real/pose2sim_single_cam01.json', 'mediapipe33', 'xyz', ''),
        ('alphapose_real/Activity3.json', 'coco17', 'xys', ''),
        ('openpose_real', 'body25', 'xys', ''),
        ('sign_pose/openpose.pose', 'body25', 'xys', ''),
        ('sign_pose/mediapipe.pose', 'hands42', 'xys', ''),
    ],
)
def test_real_files_are_recognised(file, joints, channels, unit):
    r = recognise(need(REAL / file, 'a file of that program'))
    assert (r.joints, r.channels, r.unit) == (joints, channels, unit)
    assert r.fps == (24 if file.startswith('sign') else None)


def test_files_of_every_kind_are_recognised(tmp_path):
    "The kinds that the readers are fuzzed with: each is read by the description that is made of it."
    from fuzz_readers import kinds

    for kind, (file, data, _, asked) in kinds().items():
        folder = tmp_path / kind.replace(' ', '_')
        for c in 'ab':
            for n in '12':
                (folder / c).mkdir(parents=True, exist_ok=True)
                (folder / c / f'{n}{file}').write_bytes(data)
        unit = 'm' if recognise(folder / 'a' / f'1{file}').unit else ''
        clips = read_custom(describe_folder(folder, 'mine', unit)[0], 'mine')
        assert len(clips) == 4 and clips.channels in ('xyz', 'xys'), kind
        V = clips.frames.shape[2]
        assert V == (asked['skeleton'].V if kind != 'BVH' else 3), kind
        text = (folder / 'mine.yaml').read_text()
        assert ('frames a second' in text) == (kind.startswith('pose') or kind in ('BVH', 'C3D'))


def test_the_description_can_be_edited_and_is_never_written_again(tmp_path, capsys):
    save(tmp_path / 'set', *by_class('s1', 's2', 's3', 's4'))
    words = ['prepare', *pairs(benchmark='mine', source=tmp_path / 'set', data_dir=tmp_path / 'd')]
    assert main(words) == 0
    said = capsys.readouterr().out
    for line in (
        '# 8 clips, NumPy array',
        '# classes by folder: bow, wave',
        '# people by the number behind s, p or such a word in names: 1, 2, 3, 4',
        'joints: coco17    # by the number of joints alone',
        f'These lines are now {tmp_path / "set/mine.yaml"}',
    ):
        assert line in said, line
    path, table = tmp_path / 'set/mine.yaml', tmp_path / 'set/mine.csv'
    text = path.read_text() + 'fill: hold\n'
    path.write_text(text)
    table.write_text(table.read_text().replace('wave/s1.npy,wave,train', 'wave/s1.npy,wave,test'))
    rows = table.read_text()
    assert main(words) == 0
    clips = load_clips(tmp_path / 'd/mine')
    assert clips.parts[clips.names.index('wave_s1')] == 'test'
    assert clips.notes['reading']['fill'] == 'hold'
    assert (path.read_text(), table.read_text()) == (text, rows)
    path.unlink()  # the table alone is kept as well
    assert main(words) == 0 and table.read_text() == rows and path.exists()
    (tmp_path / 'set/other.yaml').write_text(text)
    refused(tmp_path / 'set', 'several descriptions (mine.yaml, other.yaml)')


def test_a_description_says_all_that_was_concluded(tmp_path):
    save(tmp_path, *by_class('s1', 's2'), 'notes/plan.npy')
    (tmp_path / 'notes/plan.npy').rename(tmp_path / 'notes/plan.pdf')
    path, found = describe_folder(tmp_path, 'mine')
    d, text = read_description(path), path.read_text()
    assert (d.skeleton.name, d.channels, d.persons, d.table.name) == (
        'coco17',
        'xys',
        1,
        'mine.csv',
    )
    assert '# left aside, since it is no clip (1 in all): plan.pdf' in text and '# image:' in text
    assert all(line in text for line in found)
    (tmp_path / 'mine.yaml').write_text(
        text.replace('# image: [1920, 1080]    #', 'image: [640, 480]  #')
    )
    assert read_description(path).image == (640, 480)


def test_many_joints_without_names_are_all_written(tmp_path):
    save(tmp_path, *by_class('s1', 's2'), V=300)
    d = read_description(describe_folder(tmp_path, 'mine')[0])
    assert d.skeleton.V == 300 and d.skeleton.joints[299] == 'joint 300'


def test_joints_without_parents_get_a_tree_and_a_word_on_it(tmp_path):
    write = SETS['animals'][1]
    write(tmp_path / 'mice', people=2, times=1)
    path, _ = describe_folder(tmp_path / 'mice', 'mice')
    d = yaml.safe_load(path.read_text())
    assert dict(zip(d['joints'], d['parents']))['leftear'] in ('snout', 'rightear', 'leftear')
    assert 'a guess: each joint hangs on one that is near' in path.read_text()


# --- what a stranger does wrong


def test_what_cannot_be_known_is_asked_and_the_rest_is_written(tmp_path, capsys):
    SETS['3D sensor'][1](tmp_path / 'a', people=2, times=2)
    before = sorted(tmp_path.rglob('*'))
    refused(
        tmp_path / 'a', f'{tmp_path / "a"}: Kinect table does not say its unit', '-p unit mm (or'
    )
    assert sorted(tmp_path.rglob('*')) == before  # so the same words and a unit go on
    path, _ = describe_folder(tmp_path / 'a', 'mine', 'mm')
    assert 'unit: mm\n' in path.read_text() and len(read_custom(path, 'mine')) == 4
    refused(tmp_path / 'a', 'mine.yaml: describes the folder; write unit: m there', unit='m')
    for p in (save(tmp_path, *by_class('1', '2')), *tmp_path.glob('[wb]*/*.npy')):
        if p:
            np.save(p, np.random.default_rng(0).uniform(0, 1, (5, 21, 3)))
    shutil.rmtree(tmp_path / 'a')
    refused(tmp_path, 'mine.yaml: is written, but for one line: channels: xyz or xys')
    (tmp_path / 'mine.yaml').unlink()
    assert read_custom(describe_folder(tmp_path, 'mine', 'm')[0], 'mine').channels == 'xyz'
    save(tmp_path / 'b', *by_class('1', '2'))
    refused(tmp_path / 'b', 'unit: only with xyz', unit='m')


MISTAKES = {
    'empty': ([], 'no clips in it and nothing else either'),
    'videos': (['wave/a.mp4', 'bow/b.mp4'], 'no clips in it; it has 2 .mp4 (msagcn formats'),
    'two formats': (
        ['wave/a.npy', 'bow/b.csv'],
        'clips of 2 kinds: 1 .csv, 1 .npy (NumPy array); leave',
    ),
    'one class': (['wave/a.npy', 'wave/b.npy', 'Thumbs.db'], 'one class only (wave); two at least'),
    'one clip each': (['wave/a.npy', 'bow/b.npy'], 'one clip of each class; two at least'),
    'numbers for names': (['1.npy', '2.npy', '3.npy'], 'names do not tell the class (1, 2, 3'),
    'two levels': (
        ['x/wave/a.npy', 'x/bow/b.npy', 'y/wave/c.npy', 'y/bow/d.npy'],
        '2 levels of folders (x/ and',
    ),
}


@pytest.mark.parametrize('case', MISTAKES)
def test_what_is_no_set_is_refused_in_one_line(case, tmp_path):
    files, says = MISTAKES[case]
    (tmp_path / 'set').mkdir()
    for f in files:
        (tmp_path / 'set' / f).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'set' / f).write_bytes(b'a,b\n1,2\n')
    before = sorted(tmp_path.rglob('*'))
    refused(tmp_path / 'set', str(tmp_path / 'set'), says)
    assert sorted(tmp_path.rglob('*')) == before  # nothing is written


def test_a_folder_in_a_folder_and_what_file_managers_leave(tmp_path):
    save(tmp_path, *(f'gestures/{f}' for f in by_class('1', '2')))
    for junk in (
        'Thumbs.db',
        '.DS_Store',
        '__MACOSX/wave/1.npy',
        'README.txt',
        'gestures/wave/desktop.ini',
    ):
        (tmp_path / junk).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / junk).write_text('nothing')
    clips = read_custom(describe_folder(tmp_path, 'mine')[0], 'mine')
    assert len(clips) == 4 and clips.classes == ['bow', 'wave']
    assert 'gestures_wave_1' in clips.names


def test_all_bad_files_are_told_at_once_and_can_be_skipped(tmp_path, capsys):
    folder = tmp_path / 'set'
    save(folder, *by_class('s1', 's2', 's3', 's4', 's5'))
    save(folder, 'wave/s6.npy', 'bow/s6.npy', V=25)
    save(folder, 'bow/s7.npy')
    (folder / 'wave/s7.npy').write_bytes(b'nothing')
    words = ['prepare', *pairs(benchmark='mine', source=folder, data_dir=tmp_path / 'd')]
    assert main(words) == 2
    told = capsys.readouterr().err
    assert told.count('\n') == 1 and all(
        f'{w}.npy' in told for w in ('wave/s6', 'bow/s6', 'wave/s7')
    )
    assert f'({folder / "mine.yaml"} describes the folder)' in told and 'skip: true' in told
    assert not (tmp_path / 'd/mine').exists()
    path = folder / 'mine.yaml'
    path.write_text(path.read_text() + 'skip: true\n')
    assert main(words) == 0
    assert len(load_clips(tmp_path / 'd/mine')) == 11


def test_names_that_no_line_can_hold(tmp_path):
    "A line break, a colon, what begins a comment, and digits that are none of ours."
    folder = tmp_path / 'a\n- b: c'
    save(folder, *by_class('s1', 's2', 's²', classes=('wave #1', 'b: [o]w\u2028')))
    path, _ = describe_folder(folder, 'mine')
    clips = read_custom(path, 'mine')
    assert len(clips) == 6 and sorted(clips.classes) == ['b: [o]w', 'wave #1']


def test_people_by_other_words_and_none(tmp_path):
    save(tmp_path / 'a', *by_class(*(f'{w}_1' for w in ('anna', 'ben', 'carl'))))
    _, found = describe_folder(tmp_path / 'a', 'mine')
    assert '# people by a word of the names, a guess: anna, ben, carl' in found
    save(tmp_path / 'b', *by_class('left_1', 'left_2', 'right_1', 'right_2'))
    path, found = describe_folder(tmp_path / 'b', 'mine')
    assert any(line.startswith('# people unknown') for line in found)
    assert read_custom(path, 'mine').parts.count('test') == 2
    assert any('perhaps of people who are trained on' in line for line in found)


def test_a_zip_a_forgotten_name_and_a_file_in_the_way(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / 'set', *by_class('1', '2'))
    shutil.make_archive('set', 'zip', 'set')
    before = sorted(tmp_path.rglob('*'))

    def told(**words):
        assert main(['prepare', *pairs(**words)]) == 2
        said = capsys.readouterr().err
        assert said.count('\n') == 1
        return said

    assert 'clipz: no such file or folder' in told(benchmark='mine', source='clipz')
    assert 'set.zip: unpack it, and name the folder' in told(benchmark='mine', source='set.zip')
    assert 'give the clips of set a name, as -p benchmark set' in told(source='set')
    assert 'unit: is said of a folder' in told(benchmark='mine', source='set.yaml', unit='mm')
    assert 'unit' in told(benchmark='mine', source='set', unit='inch')
    assert sorted(tmp_path.rglob('*')) == before
    (tmp_path / 'set/mine.csv').write_text('a,b\n1,2\n')
    assert 'mine.csv: is there and lists no clips' in told(benchmark='mine', source='set')
