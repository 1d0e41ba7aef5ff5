"""`msagcn verify` trains a recorded run again: bit-equal here.

Where data, parameters, numbers or environment differ from the record's, it reports that.
"""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, TINY, need, pairs, places

from msagcn.cli import main
from msagcn.report.tables import result_table
from msagcn.training.evaluate import load_scores, save_scores

SMALL = TINY | dict(epochs=2, test_every_epoch_from=1, lr=0.02)


@pytest.fixture(scope='module')
def trained(embedded, tmp_path_factory):
    "A folder of reports with two small runs: of MS-G3D, and of MSA-GCN, trained again on all data."
    out = tmp_path_factory.mktemp('verify')
    msg3d = dict(model='msg3d', width=12)
    for more in (dict(recipe='plain', refit='false') | msg3d, dict(recipe='refit', refit='true')):
        assert (
            main(
                [
                    'train',
                    '--no-notebook',
                    *pairs(**SMALL | places(out) | dict(data_dir=embedded) | more),
                ]
            )
            == 0
        )
    return out / 'reports'


@pytest.fixture
def reports(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / 'reports')


def verify(capfd, reports, embedded, run='msg3d-embedded-plain-joint-s1', **more):
    "Exit status, standard output and standard error of the command."
    capfd.readouterr()
    status = main(['verify', str(run), *pairs(data_dir=embedded, reports_dir=reports, **more)])
    return status, *capfd.readouterr()


def change(reports, run='msg3d-embedded-plain-joint-s1', **values):
    path = reports / f'runs/{run}/metrics.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize('model, recipe, files', [('msg3d', 'plain', 1), ('msagcn', 'refit', 2)])
def test_the_same_again(capfd, reports, embedded, model, recipe, files):
    before = sorted(p for p in reports.rglob('*'))
    status, said, _ = verify(capfd, reports, embedded, f'{model}-embedded-{recipe}-joint-s1')
    assert (
        status == 0
        and said.startswith(f'{model}-embedded-{recipe}-joint-s1: bit-equal\n')
        and 'apart' not in said
    )
    assert (
        len(re.findall('history.csv, 2 epochs', said)) == files
        and 'test_scores.npz, 20 clips: equal' in said
        and 'losses of the first' in said
    )
    assert sorted(p for p in reports.rglob('*')) == before  # nothing is left behind


def test_its_first_steps_by_its_folder(capfd, reports, embedded):
    status, said, _ = verify(
        capfd, reports, embedded, reports / 'runs/msg3d-embedded-plain-joint-s1', steps=3
    )
    assert (
        status == 0
        and (
            ': bit-equal\n  losses of the first 3 steps: equal\n'
            '  history.csv, 1 epochs to 4 decimals: equal\n'
        )
        in said
    )
    change(reports, first_losses=None)  # as runs of earlier versions
    status, said, _ = verify(capfd, reports, embedded, steps=2)
    assert (
        status == 0
        and 'equal in the decimals that were recorded' in said
        and 'history.csv, 1 epochs' in said
        and 'only epochs' not in said
    )
    # less than an epoch, of which alone there is a record
    status, said, _ = verify(capfd, reports, embedded, steps=1)
    assert (
        status == 0
        and '  history.csv, 1 epochs to 4 decimals: equal (all 2 steps, as only epochs are recorded)\n'
        in said
    )
    assert 'losses of the first' not in said


def test_a_history_that_is_no_longer_written(capfd, reports, embedded):
    "Earlier versions trained twice for a run that holds nobody out."
    run = reports / 'runs/msg3d-embedded-plain-joint-s1'
    shutil.copy(run / 'history.csv', run / 'val_history.csv')
    status, said, _ = verify(capfd, reports, embedded)
    assert status == 0 and said.count('history.csv, 2 epochs') == 1


def test_another_parameter_is_another_run(capfd, reports, embedded):
    change(reports, lr=0.03)
    status, said, complaint = verify(capfd, reports, embedded)
    assert (
        status == 2
        and said.startswith('msg3d-embedded-plain-joint-s1: different\n')
        and 'not reproduced' in complaint
    )
    assert re.search(r'test_scores.npz, 20 clips: apart by \d', said)
    status, said, _ = verify(capfd, reports, embedded, steps=1)
    # the rate acts from the second step on
    assert status == 0 and 'losses of the first 1 steps: equal' in said


def test_the_ledger(capfd, reports, embedded, monkeypatch):
    """With `record` there is a row for each commit and each thing compared.

    It has the name of the run's folder; the table of results has the last.
    """
    run, ledger = 'msg3d-embedded-plain-joint-s1', reports / 'verify.csv'

    def again():
        return result_table(reports, ['embedded']).set_index('recipe').again.to_dict()

    assert again() == dict(plain='–', refit='–')
    for given, commit in (
        (run, 'aaa'),
        (reports / f'runs/{run}', 'aaa'),
        (f'{reports}/runs/{run}/', 'bbb+'),
    ):
        monkeypatch.setattr('msagcn.experiments.verify.commit', lambda: commit)
        assert verify(capfd, reports, embedded, given, steps=2, record='true')[0] == 0
    rows = pd.read_csv(ledger, dtype=str)
    assert (
        rows.columns.tolist()
        == 'run_id verdict compared apart version commit processor date'.split()
    )
    assert (
        rows.iloc[:, :4].values.tolist()
        == [
            [
                run,
                'bit-equal',
                'losses of the first 2 steps; history.csv, 1 epochs to 4 decimals',
                '0',
            ]
        ]
        * 2
    )
    assert (
        rows.commit.tolist() == ['aaa', 'bbb+']
        and rows.date.str.fullmatch(r'20\d\d-\d\d-\d\d').all()
        and rows.processor.notna().all()
    )
    assert again() == dict(plain='bit-equal', refit='–')
    change(reports, lr=0.03)
    # different: it replaces what the same commit found
    assert verify(capfd, reports, embedded, steps=2, record='true')[0] == 2
    assert pd.read_csv(ledger, dtype=str)[['commit', 'verdict']].values.tolist() == [
        ['aaa', 'bit-equal'],
        ['bbb+', 'different'],
    ]
    assert verify(capfd, reports, embedded, record='true')[0] == 2
    last = pd.read_csv(ledger, dtype=str).iloc[2]
    assert (
        last.verdict == 'different'
        and 'test_scores.npz, 20 clips; accuracies' in last.compared
        and float(last.apart) > 1e-3
    )
    assert again() == dict(plain='different', refit='–')


def test_other_data_are_refused(capfd, reports, embedded, tmp_path):
    from msagcn.experiments.parameters import PrepareParameters
    from msagcn.experiments.prepare import prepare

    prepare(PrepareParameters(subjects=2, data_dir=str(tmp_path / 'other'), seed=5))
    status, said, complaint = verify(capfd, reports, tmp_path / 'other')
    assert status == 2 and not said and len(complaint.strip().splitlines()) == 1
    hashes = re.findall(r'[0-9a-f]{12}', complaint)
    recorded = json.loads(
        (reports / 'runs/msg3d-embedded-plain-joint-s1/metrics.json').read_text()
    )['data_hash']
    assert (
        len(hashes) == 2
        and recorded.startswith(hashes[1])
        and str(tmp_path / 'other/embedded') in complaint
    )
    status, _, complaint = verify(capfd, reports, tmp_path / 'nothing')
    assert status == 2 and 'prepare' in complaint


def test_small_differences_and_environments_are_reported(capfd, reports, embedded):
    "A record from elsewhere: sums that differ in the last place, another CPU, another version."
    path = reports / 'runs/msg3d-embedded-plain-joint-s1/test_scores.npz'
    s = load_scores(path)
    s.scores = (s.scores * np.float32(1 + 1e-6)).astype('f4')
    save_scores(path, s)
    m = json.loads((path.parent / 'metrics.json').read_text())
    change(
        reports,
        machine=m['machine'] | dict(torch='2.0.1', processor='another one'),
        commit='0123456789ab',
    )
    status, said, _ = verify(capfd, reports, embedded)
    assert status == 0 and re.search(
        r'^msg3d-embedded-plain-joint-s1: equal within \d\.\de-0[67]$', said, re.M
    )
    assert (
        'torch 2.0.1 there' in said
        and 'processor another one there' in said
        and 'commit 0123456789ab there' in said
        and 'numpy' not in said
    )


def elsewhere(reports, run='msg3d-embedded-plain-joint-s1'):
    """A record from another kind of CPU, whose training went differently.

    Scores and later losses differ.
    """
    folder = reports / f'runs/{run}'
    m = json.loads((folder / 'metrics.json').read_text())
    losses = [float.fromhex(x) for x in m['first_losses']]
    moved = [x * (1 + 1e-7 * 10 ** (2 * i)) for i, x in enumerate(losses)]  # as rounding grows
    change(
        reports,
        machine=m['machine'] | dict(processor='Another One @ 3 GHz'),
        first_losses=[x.hex() for x in moved],
    )
    s = load_scores(folder / 'test_scores.npz')
    s.scores = s.scores + np.random.default_rng(0).normal(0, s.scores.std(), s.scores.shape).astype(
        'f4'
    )
    save_scores(folder / 'test_scores.npz', s)
    return m


def test_on_another_cpu_only_comparable_values_are_compared(capfd, reports, embedded):
    m = elsewhere(reports)
    status, said, _ = verify(capfd, reports, embedded, record='true')
    first = said.splitlines()[0]
    assert (
        status == 0
        and 'agrees as far as another CPU lets it be compared: losses of the first 2 steps apart by '
        in first
    ), said
    assert (
        '(tolerance 0.001)' in first
        and f'top1 {m["top1"]:.2f} there, {m["top1"]:.2f} here (by chance ' in first
    )
    assert (
        not re.search('different|bit|not reproduc', said)
        and 'last digits cannot agree' in said.splitlines()[1]
        and 'processor Another One @ 3 GHz there' in said
    )
    assert pd.read_csv(reports / 'verify.csv', dtype=str).verdict.tolist() == [
        'agrees as far as another CPU lets it be compared'
    ]
    status, said, _ = verify(capfd, reports, embedded, steps=2)  # nothing but losses
    assert (
        status == 0
        and re.search(r': (equal within|agrees)', said.splitlines()[0])
        and 'top1' not in said.splitlines()[0]
    )


def test_equal_on_another_cpu_claims_no_bits(capfd, reports, embedded):
    m = json.loads((reports / 'runs/msg3d-embedded-plain-joint-s1/metrics.json').read_text())
    change(reports, machine=m['machine'] | dict(processor='another one'))
    status, said, _ = verify(capfd, reports, embedded)
    assert (
        status == 0
        and said.startswith('msg3d-embedded-plain-joint-s1: equal, on another CPU\n')
        and 'bit' not in said
    )


def test_what_rounding_cannot_explain_is_reported_on_another_cpu_too(capfd, reports, embedded):
    m = elsewhere(reports)
    # before any weight has moved
    change(reports, first_losses=[(float.fromhex(x) * 1.01).hex() for x in m['first_losses']])
    status, said, complaint = verify(capfd, reports, embedded, steps=2)
    assert (
        status == 2
        and 'does not agree as far as another CPU' in said.splitlines()[0]
        and 'does not agree' in complaint
    )
    # an accuracy beyond chance
    change(reports, first_losses=m['first_losses'], top1=100.0 if m['top1'] < 60 else 0.0)
    status, said, _ = verify(capfd, reports, embedded)
    assert status == 2 and 'does not agree' in said and 'top1' in said.splitlines()[0]


def test_data_of_other_classes_are_refused(capfd, reports, embedded, tmp_path):
    "The hash of the data covers names, labels and coordinates; class names are recorded beside it."
    from dataclasses import replace

    from msagcn.data.clip_writer import save_clips
    from msagcn.data.clips import load_clips

    clips = load_clips(embedded / 'embedded')
    for change, says in (
        (dict(classes=clips.classes[::-1]), 'the same names in another order'),
        (dict(channels='xys'), 'channels: xyz for the weights, xys in embedded'),
    ):
        save_clips(replace(clips, **change), tmp_path / 'data/embedded')
        status, said, complaint = verify(capfd, reports, tmp_path / 'data')
        assert status == 2 and not said and says in complaint


def test_threads_are_those_of_the_record(capfd, reports, embedded):
    import torch

    before = torch.get_num_threads()
    m = json.loads((reports / 'runs/msg3d-embedded-plain-joint-s1/metrics.json').read_text())
    change(reports, machine=m['machine'] | dict(threads=before + 1))
    status, said, _ = verify(capfd, reports, embedded, steps=1)
    assert status == 0 and 'not as recorded: threads' not in said
    assert torch.get_num_threads() == before


def test_names_that_are_no_run(capfd, reports, embedded):
    for run, says in (
        ('msg3d-embedded-plain-joint-s2', 'did you mean msg3d-embedded-plain-joint-s1?'),
        ('nothing', 'no recorded run'),
        ('', 'no recorded run'),
    ):
        status, said, complaint = verify(capfd, reports, embedded, run)
        assert (
            status == 2
            and not said
            and says in complaint
            and len(complaint.strip().splitlines()) == 1
        )
    change(reports, nproc=4)
    assert 'trained by 4 processes' in verify(capfd, reports, embedded)[2]
    (reports / 'runs/msg3d-embedded-plain-joint-s1/metrics.json').write_text('{}')
    assert 'benchmark: is missing' in verify(capfd, reports, embedded)[2]


def test_the_committed_small_run(capfd, tmp_path):
    """The run that README shows, on data that are generated here.

    Where it was recorded, it is the same in every bit. On another CPU sums are rounded otherwise, which
    training amplifies from step to step; there the loss before any weight has moved is the same up to
    rounding. Code that rounds otherwise needs the run recorded anew.
    """
    run = need(ROOT / 'reports/runs/msagcn-embedded-short-joint-s1', 'small run')
    from msagcn.experiments.parameters import PrepareParameters
    from msagcn.experiments.prepare import prepare

    prepare(PrepareParameters(data_dir=str(tmp_path)))
    status, said, _ = verify(capfd, ROOT / 'reports', tmp_path, run.name, steps=8)
    with capfd.disabled():
        print(f'\n{said}')
    if re.search('not as recorded: (processor|capability|device|torch)', said):
        first = re.search(r'first 8 steps: (equal|apart by .* \(the first by ([^,)]+))', said)
        assert first and float(first[2] or 0) < 1e-5
    else:
        assert f'{run.name}: bit-equal' in said
