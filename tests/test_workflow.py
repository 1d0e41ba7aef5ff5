"""The workflow: what Snakemake starts, what it leaves alone, and what is said of a run that fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, TINY, sh, tool

from msagcn.cli import main

FAILS = 'train/msagcn-embedded-poisoned-joint-s1'


def write(folder, **changed):
    "A grid of two runs, their fusion and a run of another recipe, in a folder."
    values = TINY | dict(benchmark='embedded', recipe='tiny', refit=False, val_subjects=[1])
    for name, more in dict(tiny=changed, poisoned=dict(recipe='poisoned', lr=1e30)).items():
        (folder / f'{name}.yaml').write_text(yaml.safe_dump(values | more))
    config = dict(
        prepare=['-p subjects 2'],
        train=[
            '-f tiny.yaml -p stream joint,bone --no-notebook',
            '-f poisoned.yaml --no-notebook',
        ],
        fuse=['-p recipe tiny'],
    )
    (folder / 'config.yaml').write_text(yaml.safe_dump(config))


def flow(folder, *more):
    "Call Snakemake; returns its exit status, the jobs that it started, and what it said."
    words = ['-s', ROOT / 'workflow/Snakefile', '--configfile', 'config.yaml', '--cores', '2']
    path = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    done = sh(
        *(tool('snakemake'), *words, '--keep-going', *more),
        cwd=folder,
        check=False,
        PATH=path,
        PYTHONPATH=str(ROOT),
    )
    said = done.stdout + done.stderr
    started = {line.split()[-1] for line in said.splitlines() if line.startswith('    log: ')}
    names = sorted(s.removeprefix('runs/workflow/').removesuffix('.log') for s in started)
    return done.returncode, names, said


def test_only_what_is_out_of_date_runs_and_failures_are_named(tmp_path):
    tool('snakemake')
    write(tmp_path)
    code, started, said = flow(tmp_path)
    joint, bone = (f'train/msagcn-embedded-tiny-{s}-s1' for s in ('joint', 'bone'))
    fused = 'fuse/msagcn-embedded-tiny-joint-bone-s1'
    assert code == 1
    assert set(started) >= {'prepare/embedded', joint, bone, FAILS, fused}
    assert f'failed: {FAILS}: ' in said and '4 done, 1 waiting, 1 failed' in said
    page = (tmp_path / 'runs/workflow/overview.md').read_text()
    assert f'| failed | {FAILS} | ' in page and '| waiting | tables/all | for ' in page
    # without the poisoned run the tables are made, and then nothing
    config = yaml.safe_load((tmp_path / 'config.yaml').read_text())
    config['train'].pop()
    (tmp_path / 'config.yaml').write_text(yaml.safe_dump(config))
    assert flow(tmp_path)[:2] == (0, ['tables/all'])
    assert flow(tmp_path)[:2] == (0, [])
    # another parameter of one stream: that run and what is made of it
    config['train'] = [
        '-f tiny.yaml --no-notebook',
        '-f tiny.yaml -p stream bone -p lr 0.07 --no-notebook',
    ]
    (tmp_path / 'config.yaml').write_text(yaml.safe_dump(config))
    assert flow(tmp_path)[:2] == (0, sorted([bone, fused, 'tables/all']))
    kept = tmp_path / f'runs/replaced/{Path(bone).name}.1'
    assert (kept / 'weights.safetensors').exists() and (kept / 'record/metrics.json').exists()


SLURM = (
    '--executor slurm --jobs 3 --slurm-no-account --slurm-status-command squeue --latency-wait 30'
)


def test_the_same_through_slurm(tmp_path):
    "On one node, where Slurm is at work: the profile's words, without accounting."
    tool('snakemake')
    if sh(tool('sinfo'), '--noheader', check=False).returncode:
        pytest.skip('Slurm is installed and not at work')
    write(tmp_path)
    code, started, said = flow(tmp_path, *SLURM.split(), '--default-resources', 'mem_mb=1500')
    assert code == 1 and 'has been submitted with SLURM jobid' in said
    assert f'failed: {FAILS}: ' in said and '4 done, 1 waiting, 1 failed' in said
    assert 'the loss is not finite' in said  # its own last line


def test_a_changed_run_takes_a_name_only_where_it_is_said(embedded, tmp_path, capfd):
    "Without Snakemake: what the rules call."
    line = ['train', '--no-notebook', '-p', 'data_dir', str(embedded), '-p', 'runs_dir']
    line += [str(tmp_path / 'runs'), '-p', 'reports_dir', str(tmp_path / 'reports')]
    line += [w for k, v in (TINY | dict(refit='false')).items() for w in ('-p', k, str(v))]
    assert main(line) == 0
    assert main([*line, '-p', 'lr', '0.07']) == 2
    assert main([*line, '-p', 'lr', '0.07', '--replace']) == 0
    assert 'the run with other parameters is now' in capfd.readouterr().err
    kept = tmp_path / 'runs/replaced/msagcn-embedded-smoke-joint-s1.1'
    files = {f.name for f in kept.rglob('*')}
    assert files >= {'run.json', 'weights.safetensors', 'fit.safetensors', 'metrics.json'}
    assert main([*line, '-p', 'lr', '0.07', '--replace']) == 0  # nothing is in the way now
    assert [d.name for d in kept.parent.iterdir()] == [kept.name]


@pytest.mark.skipif(os.name != 'posix', reason='needs bash and flock')
def test_each_job_has_gpus_of_its_own(tmp_path):
    "With three that are only numbers: two jobs take three, a third is told that none is left."
    env = os.environ | dict(CUDA_VISIBLE_DEVICES='0,1,2', TMPDIR=str(tmp_path))
    env.pop('SLURM_JOB_ID', None)
    script = ['bash', str(ROOT / 'workflow/on_gpus.sh')]
    shows = ['bash', '-c', 'echo $CUDA_VISIBLE_DEVICES; read']
    at_work = []
    for wanted in ('2', '1'):
        job = subprocess.Popen(
            [*script, wanted, *shows],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        at_work.append((job, job.stdout.readline().strip()))
    assert [gpus for _, gpus in at_work] == ['0,1', '2']
    late = subprocess.run([*script, '1', 'true'], env=env, capture_output=True, text=True)
    assert late.returncode == 2 and '1 GPUs are wanted' in late.stderr
    for job, _ in at_work:
        job.communicate('\n')
    assert subprocess.run([*script, '3', 'true'], env=env).returncode == 0
    assert subprocess.run([*script, '0', 'true'], env={'PATH': env['PATH']}).returncode == 0
