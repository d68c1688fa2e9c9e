"""The files by which a run tells how far it is."""

import json

from xxact.training.progress import Progress, read_progress


def test_what_a_killed_process_had_half_written_is_removed(tmp_path):
    kept = {"checkpoint.pt", "model.safetensors", "lock"}
    for name in (*kept, ".progress.json.x1y2.partial", ".checkpoint.pt.ab_c.partial"):
        (tmp_path / name).write_text("")
    Progress(tmp_path, show=False).start(0, 10)
    assert {path.name for path in tmp_path.iterdir()} == {*kept, "log.txt", "metrics.jsonl"}


def test_progress_can_be_read_while_the_run_goes_on(tmp_path):
    progress = Progress(tmp_path, show=False)
    assert read_progress(tmp_path) is None
    progress.start(4, 10)
    progress.update(7, [{"step": 7}], evaluated=True)
    told = read_progress(tmp_path)
    assert (told["step"], told["total"]) == (7, 10)
    assert told["left_s"] >= 0
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"progress.json", "log.txt", "metrics.jsonl"}


def test_evaluations_after_the_checkpoint_are_dropped(tmp_path):
    curve = [{"step": step, "train_loss": 1 / step} for step in (2, 4, 6)]
    progress = Progress(tmp_path, show=False)
    progress.start(0, 10)
    for k, entry in enumerate(curve, start=1):
        progress.update(entry["step"], curve[:k], evaluated=True)
    assert read_curve(tmp_path) == curve
    Progress(tmp_path, show=False).start(4, 10, curve[:2])
    assert read_curve(tmp_path) == curve[:2]


def read_curve(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").open()]
