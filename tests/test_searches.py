"""Samples, and samples beside a beam search, against what fairseq's generator finds of each alone."""

import json

import pytest
import torch
from test_criterion import PIECES, build, make_sample  # noqa: F401, build is a fixture
from test_generation import LONG, ending

from fairseq_bertloss.training import searches
from fairseq_bertloss.training.candidates import candidate_generations
from fairseq_bertloss.training.config import BERTScoreCriterionConfig
from fairseq_bertloss.training.generation import evaluating, generation_config, translations

DRAWS = 200_000


def symbols(found) -> list[list[list[int]]]:
    return [[one["tokens"].tolist() for one in own] for own in found]


def most_probable(probabilities):
    return probabilities.argmax(dim=-1)


@pytest.fixture
def translate(build):  # noqa: F811
    """A function that translates a batch whose sentences differ in length by a model that ends some of them itself."""
    _, network, task = build()
    ending(network, 4.0)
    sample = make_sample(task, [*PIECES, LONG, ("", "")])

    def translated(beam, samples=0, **options):
        given = json.dumps({"beam": beam, "max_len_a": 1, "max_len_b": 40} | options)
        with evaluating(network):
            config = generation_config("--candidate-generation-args", given)
            return translations(task, network, sample, config, samples=samples)

    translated.network, translated.sample = network.eval(), sample
    translated.longest = sample["net_input"]["src_lengths"] + 40  # max_len_a and max_len_b
    return translated


@pytest.mark.parametrize("beam, samples", [(1, 1), (4, 1), (3, 4), (1, 6)])
@pytest.mark.parametrize("options", [{}, {"lenpen": 0.3}, {"unnormalized": True}], ids=str)
def test_a_beam_search_is_the_same_beside_samples(translate, beam, samples, options):
    alone, beside = translate(beam, **options), translate(beam, samples, **options)
    assert len({len(one["tokens"]) for own in alone for one in own}) > 2  # some end early, some are cut
    for own, both in zip(alone, beside, strict=True):
        assert len(both) == beam + samples
        assert [one["tokens"].tolist() for one in both[:beam]] == [one["tokens"].tolist() for one in own]
        for one, its in zip(own, both, strict=False):
            torch.testing.assert_close(its["score"], one["score"])
            torch.testing.assert_close(its["positional_scores"], one["positional_scores"])


@pytest.mark.parametrize("beam, samples", [(1, 1), (4, 1), (2, 3)])
def test_samples_beside_a_beam_search_are_the_models_own(translate, monkeypatch, beam, samples):
    """A sample of the most probable symbol each time is greedy search's translation, whatever the beam search does."""
    greedy = symbols(translate(1))
    monkeypatch.setattr(searches, "drawn", most_probable)
    assert [own[beam:] for own in symbols(translate(beam, samples))] == [samples * own for own in greedy]
    assert symbols(translate(samples, sampling=True)) == [samples * own for own in greedy]


@pytest.mark.parametrize("beam, samples", [(2, 2), (0, 2)], ids=["beside a beam search", "alone"])
def test_samples_are_drawn_from_the_models_own_probabilities(translate, monkeypatch, beam, samples):
    """At each step: of the symbol that follows what was drawn, without padding; </s> neither first nor missing last."""
    network = translate.network
    given = []
    monkeypatch.setattr(searches, "drawn", lambda p: given.append(p) or most_probable(p))
    options = {} if beam else {"sampling": True}
    found = translate(beam or samples, samples if beam else 0, **options)
    sample = translate.sample
    encoded = network.encoder(sample["net_input"]["src_tokens"], sample["net_input"]["src_lengths"])
    longest = max(len(own[-1]["tokens"]) for own in found)
    read = torch.full((len(found), longest), 1)
    read[:, 0] = 2
    for row, own in zip(read, found, strict=True):
        row[1 : len(own[-1]["tokens"])] = own[-1]["tokens"][:-1]
    features = network.decoder(read, encoder_out=encoded)
    expected = network.get_normalized_probs(features, log_probs=False)
    assert len(given) == longest
    rest = list(range(len(found)))
    for step, own in enumerate(given):
        for place, sentence in enumerate(rest):
            probabilities = expected[sentence, step].clone()
            probabilities[1] = 0
            if step == 0:
                probabilities[2] = 0
            if step == int(translate.longest[sentence]):
                probabilities = torch.nn.functional.one_hot(torch.tensor(2), len(probabilities)).float()
            if step < len(found[sentence][-1]["tokens"]):
                torch.testing.assert_close(own[place, -1], probabilities / probabilities.sum(), atol=1e-5, rtol=0)
        ended = {i for i in rest if max(len(one["tokens"]) for one in found[i]) == step + 1}
        rest = [i for i in rest if i not in ended]


def test_samples_differ_and_end_once(translate):
    torch.manual_seed(1)
    sampled = [own[2:] for own in symbols(translate(2, 5))]
    assert all(one[-1] == 2 and 2 not in one[:-1] for own in sampled for one in own)
    assert len({tuple(one) for own in sampled for one in own}) > 15


def test_drawn_from_the_given_probabilities():
    torch.manual_seed(1)
    scores = 4 * torch.randn(1, 3, 50)
    probabilities = (scores.softmax(dim=-1) * torch.tensor([[[1.0], [0.25], [7.0]]])).expand(DRAWS, 3, 50)
    index = searches.drawn(probabilities)
    found = torch.nn.functional.one_hot(index, 50).double().mean(dim=0)
    expected = probabilities[0].double() / probabilities[0].sum(dim=-1, keepdim=True)
    deviation = (expected * (1 - expected) / DRAWS).sqrt()
    assert ((found - expected).abs() < 4.5 * deviation + 1 / DRAWS).all()


def test_what_is_ruled_out_is_never_drawn():
    probabilities = torch.tensor([0.0, 0.0, 0.3, 0.0, 0.2, 0.0]).expand(DRAWS, 6)
    assert set(searches.drawn(probabilities).tolist()) == {2, 4}


def test_every_symbol_of_the_tail_has_its_turn(monkeypatch):
    """Symbols of 1e-8 behind one of nearly 1, where float32 has steps of 1.2e-7."""
    probabilities = torch.cat([torch.ones(1), torch.full((1000,), 1e-8)])
    total = 1 + 1000e-8
    for symbol in (1, 2, 3, 500, 1000):
        uniform = (1 + (symbol - 0.5) * 1e-8) / total
        monkeypatch.setattr(torch, "rand_like", lambda like, uniform=uniform: torch.full_like(like, uniform))
        assert searches.drawn(probabilities).item() == symbol


@pytest.mark.parametrize("beam, samples, options", [(2, 2, {}), (2, 0, {"sampling": True})])
def test_a_model_that_rules_the_end_out_has_no_samples(build, beam, samples, options):  # noqa: F811
    _, network, task = build()
    ending(network, -torch.inf)
    config = generation_config("x", json.dumps({"beam": beam, "max_len_a": 1, "max_len_b": 3} | options))
    with evaluating(network):
        found = translations(task, network, make_sample(task, [*PIECES, LONG]), config, samples=samples)
    assert found == 4 * [[]]


def test_nothing_left_to_draw_is_no_error():
    index = searches.drawn(torch.full((2, 5), torch.nan))
    assert ((index >= 0) & (index < 5)).all()


@pytest.mark.parametrize(
    "options, together",
    [({}, True), ({"lenpen": 0.6}, True), ({"max_len_a": 1.0, "max_len_b": 20}, True), ({"min_len": 3}, False),
     ({"temperature": 0.5}, False), ({"no_repeat_ngram_size": 3}, False), ({"unkpen": 1.0}, False),
     ({"diversity_rate": 0.5}, False), ({"sampling": True}, False)],
    ids=str,
)  # fmt: skip
def test_samples_are_drawn_beside_the_beam_search_that_leaves_them_alone(build, options, together):  # noqa: F811
    _, _, task = build()
    cfg = BERTScoreCriterionConfig(candidate_generation_args=json.dumps(options), sampled_candidates=2)
    training = candidate_generations(cfg, task).training
    assert [one.samples for one in training] == ([2] if together else [0, 0])
    if not together:
        assert training[1].config.temperature == 1 and training[1].config.sampling and training[1].config.beam == 2
    assert training[0].config.beam == 4
