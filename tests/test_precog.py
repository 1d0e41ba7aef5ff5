"""The benchmark and the network of the box: what is in the files, and that both say what is stated."""

import csv
import hashlib
import json
import os
import sys

import numpy as np
import pytest
import torch
from conftest import PORTABLE, ROOT, SHARED, need, pairs, places, sh
from make_box import half, make_data

from msagcn.cli import main
from msagcn.core import BOX, machine
from msagcn.data.precog import box_recordings, millimetres, read_precog, read_recordings
from msagcn.experiments.folds import prepare_folds
from msagcn.experiments.parameters import CrossvalParameters
from msagcn.experiments.records import folder_of

STATED = json.loads((BOX / 'precog.json').read_text())
PRECOG = [
    r
    for r in csv.DictReader((ROOT / 'reports/precog.csv').read_text().splitlines())
    if r['benchmark'] == 'precog'
]


def test_the_box_is_small_and_has_its_licence():
    sizes = {f.name: f.stat().st_size for f in BOX.iterdir()}
    assert set(sizes) == {'precog.npz', 'precog.safetensors', 'precog.json', 'precog_LICENCE.txt'}
    assert sizes['precog.npz'] <= 2.5e6 and sizes['precog.safetensors'] <= 2e6
    licence = (BOX / 'precog_LICENCE.txt').read_text()
    assert licence.startswith('The MIT License') and 'Copyright (c) 2016 David Jardim' in licence
    data = (ROOT / 'DATA.md').read_text()
    assert 'David Jardim' in data and 'precog_LICENCE.txt' in data


def test_the_box_is_made_of_the_authors_files(tmp_path):
    "Every coordinate is theirs rounded to whole millimetres, and the script gives the box again."
    folder = need(SHARED / 'data/real/precog2016', 'PRECOG 2016')
    theirs, ours = read_recordings(folder), box_recordings()
    assert list(theirs) == list(ours) and len(ours) == 72
    for name, x in theirs.items():
        assert x.shape == ours[name].shape and ours[name].dtype == np.float32
        assert (millimetres(x) == millimetres(ours[name])).all()
        assert np.abs(x - ours[name]).max() < 0.000501
    clips, from_files = read_precog(), read_precog(folder)
    assert clips.data_hash == from_files.data_hash and (clips.frames == from_files.frames).all()
    with np.load(make_data(folder, tmp_path)) as again, np.load(BOX / 'precog.npz') as box:
        assert again.files == box.files and all((again[k] == box[k]).all() for k in box.files)


def test_a_file_of_the_authors_can_be_predicted_like_the_name(capsys):
    file = need(SHARED / 'data/real/precog2016/Seq3_12.csv', 'PRECOG 2016')
    said = []
    for clip in ('Seq3_12', str(file)):
        assert main(['predict', clip, '--weights', 'precog']) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]


def test_the_network_is_the_one_that_is_stated():
    data = (BOX / 'precog.safetensors').read_bytes()
    assert hashlib.sha256(data).hexdigest() == STATED['sha256']
    assert STATED['data_hash'] == read_precog().data_hash
    assert not set(STATED['tested_people']) & set(STATED['trained_people'])


def test_it_answers_on_the_test_part_as_stated(tmp_path, capsys):
    at = places(tmp_path)
    assert main(['prepare', *pairs(benchmark='precog', data_dir=at['data_dir'])]) == 0
    capsys.readouterr()
    told = pairs(weights='precog', benchmark='precog', data_dir=at['data_dir'], device='cpu')
    assert main(['test', *told]) == 0
    said = capsys.readouterr().out
    assert f'top1 {STATED["top1"]:.2f}' in said and 'n_test 16' in said


def test_predictions_are_right_for_people_it_never_saw(capsys):
    "Class and probability of each test recording, as stated; most are right."
    names = list(STATED['answers'])
    assert main(['predict', *names, '--weights', 'precog', *pairs(k=1)]) == 0
    lines = capsys.readouterr().out.splitlines()
    found = dict(zip(lines[::2], lines[1::2]))
    right = 0
    for name, (answer, percent) in STATED['answers'].items():
        said, words = found[f'{name}:'].split(' %  ')
        assert words == answer and float(said) == pytest.approx(percent, abs=0.5)
        right += answer == f'sequence {name[3]}'
    assert right / len(names) == pytest.approx(STATED['top1'] / 100, abs=1e-4)
    assert STATED['answers']['Seq3_12'][0] == 'sequence 3'  # README's


def test_the_first_prediction_takes_seconds(tmp_path):
    "In a process of its own, elsewhere: the right class, in less than 10 s of a processor."
    start = os.times()
    done = sh(
        sys.executable, '-m', 'msagcn', 'predict', 'Seq3_12', '--weights', 'precog', cwd=tmp_path,
        PYTHONPATH=str(ROOT),
    )  # fmt: skip
    end = os.times()
    assert done.stdout.splitlines()[0].endswith('sequence 3')
    assert end.children_user - start.children_user < 10


def test_without_weights_or_with_a_wrong_name_one_line_says_what_to_do(capsys):
    for words, says in (
        (['predict', 'Seq3_12'], 'or precog, a network of this package'),
        (['predict', 'Seq2_10', '--weights', 'precog'], 'Seq2_10: nobody in it'),
        (['predict', 'Seq9_1', '--weights', 'precog'], 'Seq9_1: not a name of the form'),
        (['predict', 'Seq3_12', '--weights', 'precogg'], 'precogg: no such file'),
    ):
        assert main(words) == 2
        said = capsys.readouterr().err
        assert says in said and len(said.splitlines()) == 1, said


def test_a_file_of_that_name_goes_before_the_box(tmp_path, monkeypatch, capsys):
    (tmp_path / 'precog').write_text('mine')
    monkeypatch.chdir(tmp_path)
    assert main(['predict', 'Seq3_12', '--weights', 'precog']) == 2
    assert 'precog: not weights written by this package' in capsys.readouterr().err


def test_the_explorer_shows_it_and_leaves_the_package_alone(tmp_path, monkeypatch):
    before = sorted(BOX.iterdir())
    monkeypatch.chdir(tmp_path)
    assert main(['prepare', *pairs(benchmark='precog')]) == 0
    assert main(['explore', 'precog', *pairs(count=1, layers='1')]) == 0
    page = tmp_path / 'runs/precog/explore.html'
    assert page.exists() and sorted(BOX.iterdir()) == before
    assert 'sequence 3' in page.read_text(encoding='utf-8')


def test_half_precision_moves_no_weight_by_more_than_its_rounding():
    x = dict(a=torch.randn(1000), n=torch.tensor(3))
    y = half(x)
    assert y['a'].dtype == torch.float16 and y['n'].dtype == torch.int64
    assert ((y['a'].float() - x['a']).abs() <= x['a'].abs() * 2**-11 + 2**-24).all()


def test_the_recorded_table_has_all_rows():
    "Both streams and both together, three seeds each and all; 1-NN beside them."
    networks = {(r['model'], r['streams'], r['seed']) for r in PRECOG}
    seeds = '1', '2', '3', '1 2 3'
    assert networks == {('1-NN', 'joint', '')} | {
        ('msg3d', streams, seed) for streams in ('joint', 'bone', 'joint bone') for seed in seeds
    }
    for r in PRECOG:
        assert (r['n'], r['people'], len(r['by_fold'].split())) == ('70', '12', 4)
        assert float(r['low']) < float(r['top1']) < float(r['high']) + 1e-9
    for key in {(r['model'], r['streams']) for r in PRECOG} - {('1-NN', 'joint')}:
        by_seed = {r['seed']: float(r['top1']) for r in PRECOG if (r['model'], r['streams']) == key}
        mean = np.mean([by_seed[s] for s in '123'])
        assert by_seed['1 2 3'] == pytest.approx(mean, abs=0.011)


def test_a_run_of_the_table_comes_out_again(tmp_path):
    "MS-G3D, joint, seed 1, fold 1, as `make results` has it, on the same kind of processor."
    (row,) = [r for r in PRECOG if (r['model'], r['streams'], r['seed']) == ('msg3d', 'joint', '1')]
    here = machine(torch.device('cpu'))
    other = [k for k in ('processor', 'torch') if row[k] != here[k]]
    if other:
        pytest.skip(f'recorded on another {" and ".join(other)}')
    at = places(tmp_path)
    assert main(['prepare', *pairs(benchmark='precog', data_dir=at['data_dir'])]) == 0
    prepare_folds(CrossvalParameters(**at))
    told = pairs(benchmark='precog_fold1', stream='joint', seed=1, device='cpu', **at)
    recipe = ['-f', ROOT / 'params/precog.yaml', '--no-notebook']
    sh(sys.executable, '-m', 'msagcn', 'train', *recipe, *told, cwd=ROOT, **PORTABLE)
    m = folder_of('msg3d-precog_fold1-precog-joint-s1', at['reports_dir']).read()
    assert m['machine']['capability'] == row['capability']
    assert f'{m["top1"]:.2f}' == row['by_fold'].split()[0]


def test_results_say_which_figures_differ(tmp_path, monkeypatch, capsys):
    "A table that says otherwise is an error that names the rows; nothing of it is overwritten."
    at = places(tmp_path)
    assert main(['prepare', *pairs(benchmark='precog', data_dir=at['data_dir'])]) == 0
    recipe = tmp_path / 'short.yaml'
    recipe.write_text(
        'recipe: short\nmodel: msg3d\nwidth: 6\nwindows: []\nframes: 8\nsteps: 2\n'
        'batch_size: 8\nval_subjects: []\nrefit: false\n'
    )
    told = pairs(recipes=recipe, folds=2, seeds='1', streams='joint', processes=2, **at)
    assert main(['crossval', *told]) == 0
    table = tmp_path / 'reports/precog.csv'
    recorded = tmp_path / 'recorded.csv'
    recorded.write_text(table.read_text())
    capsys.readouterr()
    assert main(['crossval', *told, *pairs(recorded=recorded)]) == 0
    assert f'{recorded}: every figure equal (2 rows)' in capsys.readouterr().out
    (one,) = [line for line in recorded.read_text().splitlines() if ',msg3d,' in line]
    top1 = one.split(',')[8]
    wrong = one.replace(f',{top1},', ',99.99,', 1)
    recorded.write_text(recorded.read_text().replace(one, wrong))
    assert main(['crossval', *told, *pairs(recorded=recorded)]) == 2
    said = capsys.readouterr().err
    assert f'msg3d joint seed 1: top1 {top1}, recorded 99.99' in said
    assert wrong in recorded.read_text()
