"""The files by which a run tells how far it is."""

from xxact.training.progress import Progress, read_progress


def test_what_a_killed_process_had_half_written_is_removed(tmp_path):
    kept = {"checkpoint.pt", "model.pt", "lock"}
    for name in (*kept, "progress.json.12897.partial", ".checkpoint.pt.partial"):
        (tmp_path / name).write_text("")
    Progress(tmp_path, show=False).start(0, 10)
    assert {path.name for path in tmp_path.iterdir()} == {*kept, "log.txt"}


def test_progress_can_be_read_while_the_run_goes_on(tmp_path):
    progress = Progress(tmp_path, show=False)
    assert read_progress(tmp_path) is None
    progress.start(4, 10)
    progress.update(7, [], evaluated=True)
    told = read_progress(tmp_path)
    assert (told["step"], told["total"]) == (7, 10)
    assert told["left_s"] >= 0
    assert {path.name for path in tmp_path.iterdir()} == {"progress.json", "log.txt"}
