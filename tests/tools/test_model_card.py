"""The model card of the weights in the package says what was measured, and they are small."""

import model_card

from xxact.inference.card import read_card


def test_the_model_card_shows_the_numbers_of_the_bundle_and_the_benchmark():
    shown = model_card.CARD.read_text(encoding="utf-8")
    assert shown == model_card.text(), "the model card is behind: python tools/model_card.py"


def test_the_weights_stay_small_and_say_where_they_come_from():
    files = [path for path in model_card.SHIPPED.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 15_000_000
    card = read_card(model_card.SHIPPED)
    assert {run.needs_formula for run in card.runs} == {True, False}
    assert all(run.degraded for run in card.runs)
    assert card.notes is not None
