"""The embedded data set goes through the same door as any other."""

from xxact.data.prepare import prepare


def test_mini_is_prepared_from_the_package(tmp_path):
    store = prepare("mini", [], tmp_path / "mini", workers=1).store
    assert (store.name, store.has_xrd) == ("mini", True)
    assert store.n > 500
    assert store.manifest["failures"] == {}
    assert {"formation_energy_per_atom", "bulk_modulus"} <= set(store.targets)
    assert store.targets["bulk_modulus"].unit == "GPa"
    assert len(set(store.values("crystal_system").tolist())) == 7
    assert min(store.manifest["parts"].values()) > 20
