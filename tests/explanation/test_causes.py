"""The split of a loss among causes: it adds up, and it is fair."""

from __future__ import annotations

import numpy as np
import pytest

from edgezoo.explanation.causes import CAUSES, Answers, Stage, decompose, logits_of, stage

NAMES = ("source", "float file", "base", "weights", "activations", "both", "file")


def _stages(errors: dict[str, float]) -> dict[str, Stage]:
    return {name: Stage(name, 1 - error, None, None, error) for name, error in errors.items()}


def _shares(errors: dict[str, float]) -> dict[str, float]:
    return {cause.cause: cause.error_share for cause in decompose(_stages(errors))}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("names", [NAMES, tuple(n for n in NAMES if n != "float file")])
def test_shares_add_up(seed: int, names: tuple[str, ...]) -> None:
    generator = np.random.default_rng(seed)
    errors = {name: float(error) for name, error in zip(names, generator.random(len(names)))}  # noqa: B905
    errors |= {"source": 0.0, "file": 0.9}
    causes = decompose(_stages(errors))
    assert [cause.cause for cause in causes] == list(CAUSES)
    assert sum(cause.error_share for cause in causes) == pytest.approx(1)
    assert sum(cause.lost_agreement for cause in causes) == pytest.approx(0.9)


def test_each_cause_gets_its_own() -> None:
    nothing = dict.fromkeys(NAMES, 0.0)
    assert _shares({**nothing, "file": 1.0})["kernel"] == 1
    both = {**nothing, "both": 1.0, "file": 1.0}
    assert _shares({**both, "weights": 1.0})["weights"] == 1
    assert _shares({**both, "activations": 1.0})["activations"] == 1
    after = dict.fromkeys(("base", "weights", "activations", "both", "file"), 1.0)
    assert _shares({**nothing, **after})["preprocessing"] == 1
    assert _shares({**nothing, **after, "float file": 1.0})["conversion"] == 1


def test_what_only_both_do_together_is_halved() -> None:
    errors = {**dict.fromkeys(NAMES, 0.0), "both": 1.0, "file": 1.0}
    shares = _shares(errors)
    assert shares["weights"] == shares["activations"] == 0.5


def test_no_loss_at_all() -> None:
    assert set(_shares(dict.fromkeys(NAMES, 0.0)).values()) == {0.0}


def _answers(scores: list[list[float]]) -> Answers:
    values = np.asarray(scores, np.float32)
    return Answers(values, logits_of(values))


def test_equal_best_classes_share_an_image() -> None:
    source = _answers([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]])
    got = _answers([[0.1, 0.45, 0.45], [0.2, 0.4, 0.4]])
    found = stage("file", source, got, np.array([2, 1]))
    assert found.agreement_top1 == 0.25
    assert found.top1 == 0.5
    # Reversed classes give the same, so the order of classes does not decide.
    turned = [Answers(a.scores[:, ::-1], a.logits[:, ::-1]) for a in (source, got)]
    assert stage("file", turned[0], turned[1], np.array([0, 1])) == found


def test_logits_are_compared_without_their_mean() -> None:
    source = _answers([[0.2, 0.5, 0.3]])
    moved = Answers(source.scores, source.logits + 7)
    found = stage("file", source, moved, None)
    assert found.error < 1e-10 and found.top1 is None
    noisy = Answers(source.scores, source.logits + np.array([[0.1, 0, 0]], np.float32))
    assert stage("file", source, noisy, None).sqnr_db == pytest.approx(18.01, abs=0.01)
