"""One model more is its module, a line in `KINDS` and its sizes in a scale, and no more."""

from xxact import analysis
from xxact.experiments import cost, suite
from xxact.experiments.execute import execute
from xxact.models import spec

MODULE = """
from xxact.models.base import Model, linear_heads


class Windows(Model):
    uses = frozenset({"xrd"})

    def __init__(self, spec, targets):
        super().__init__(targets)
        self.tokens = spec.tokens
        self.heads = linear_heads(spec.tokens, targets)

    def features(self, batch, cls_only=True):
        return batch.pattern.unflatten(1, (self.tokens, -1)).mean(-1)  # (B, tokens)

    def embedding(self, features):
        return features
"""
ROW = """
reproduces: nothing, a test
model: windows
objective: supervised
targets: [formation_energy_per_atom, crystal_system]
"""


def test_a_new_model_is_planned_counted_trained_and_read(
    experiments, tiny_data, tmp_path, monkeypatch
):
    (tmp_path / "windows_model.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(spec.KINDS, "windows", spec.Kind("windows_model:Windows", ("xrd",)))
    scale = experiments / "scales" / "tiny.yaml"
    sizes = "models:\n  windows: {kind: windows, xrd: {tokens: 34}}\n"
    scale.write_text(scale.read_text().replace("models:\n", sizes))
    (experiments / "table1" / "windows.yaml").write_text(ROW)

    (run,) = suite.plan(["table1/windows"], "tiny", [0], tmp_path / "runs", tiny_data)
    assert "table1/windows" in cost.table([run])
    execute(run, show=False)
    scores = analysis.load(tmp_path / "runs").query("run == 'table1/windows' and split == 'test'")
    assert set(scores["target"]) == {"formation_energy_per_atom", "crystal_system"}
    of_run = analysis.load_runs(tmp_path / "runs").iloc[0]
    assert (of_run["model"], of_run["parameters"]) == ("windows", 35 * (1 + 7))
