"""The model's own translations inside of training: how long they are, and which options of fairseq-generate there are."""

import json
from dataclasses import fields

import pytest
import torch
from fairseq.dataclass.configs import GenerationConfig
from test_criterion import PIECES, build, make_sample  # noqa: F401, build is a fixture

from fairseq_bertloss.generation import WITHOUT_EFFECT, evaluating, generation_config, translations

LONG = ("ein zwei " * 30, PIECES[0][1])
KINDS = {
    "risk": ["--objective", "risk"],
    "free-running": ["--objective", "soft", "--free-running"],
    "validation": ["--objective", "soft", "--eval-f-bert"],
}
CANDIDATES = "--candidate-generation-args"
OPTION = {"risk": CANDIDATES, "free-running": CANDIDATES, "validation": "--eval-generation-args"}


def drawing_of(criterion, kind):
    return (criterion._objective if kind == "risk" else criterion._predicted)._drawing


def lengths(translated):
    return [sorted(map(len, own)) for own in translated]


@pytest.mark.parametrize(
    "model, options",
    # fairseq's fconv itself feels padding.
    [("transformer", {}), ("lstm", {}), ("transformer", {"max_len_a": 0.7, "max_len_b": 3, "min_len": 3}),
     ("transformer", {"diversity_rate": 0.5}), ("transformer", {"max_len_a": 0})],
    ids=str,
)  # fmt: skip
def test_candidates_and_their_risk_are_those_of_the_sentence_alone(build, options, model):  # noqa: F811
    """A random model does not end its sentences, so that beam search ends each where its own source says."""
    criterion, network, task = build(*KINDS["risk"], OPTION["risk"], json.dumps(options), model=model)
    criterion.eval().double(), network.eval().double()  # validation samples none
    pairs = [LONG, *PIECES]
    together = make_sample(task, pairs)
    drawn = drawing_of(criterion, "risk").drawn(network, together)
    risks = criterion(network, together, reduce=False)[0]
    for i, pair in enumerate(pairs):
        alone = make_sample(task, [pair])
        assert drawing_of(criterion, "risk").drawn(network, alone) == [drawn[i]]
        torch.testing.assert_close(criterion(network, alone)[0], risks[i], rtol=0, atol=1e-9)
        source = int(alone["net_input"]["src_lengths"])
        longest = int(options.get("max_len_a", 1.5) * source + options.get("max_len_b", 10))
        assert max(map(len, drawn[i])) == min(longest + 1, criterion.bertscore.max_target_length)


@pytest.mark.parametrize(
    "options", [{}, *({"sampling": True} | more for more in ({}, {"sampling_topk": 5}, {"sampling_topp": 0.7}))], ids=str
)
@pytest.mark.parametrize("kind", ["risk", "free-running"])
def test_samples_are_no_longer_than_their_own_source_allows(build, kind, options):  # noqa: F811
    criterion, network, task = build(*KINDS[kind], OPTION[kind], json.dumps(options), "--max-target-positions", "40")
    sample = make_sample(task, [PIECES[0], LONG, ("", ""), *PIECES])
    allowed = [min(int(1.5 * source + 10), 39) + 1 for source in sample["net_input"]["src_lengths"].tolist()]
    assert min(allowed) == 12 and max(allowed) == 40
    for mode in (True, False):
        criterion.train(mode)
        drawn = drawing_of(criterion, kind).drawn(network, sample)
        for own, most in zip(drawn, allowed):
            assert max(map(len, own)) == most and all(one[-1] == 2 and 2 not in one[:-1] for one in own)


def ending(network, strength):
    """Makes a model end its translations by themselves."""
    end = torch.zeros(network.decoder.output_projection.weight.size(0)).index_fill(0, torch.tensor([2]), strength)
    network.decoder.output_projection.register_forward_hook(lambda layer, features, logits: logits + end)


@pytest.mark.parametrize("options", [{"beam": 4}, {"beam": 3, "lenpen": 0.6}, {"beam": 4, "diversity_rate": 0.2}], ids=str)
def test_translations_that_end_by_themselves_are_fairseqs(build, options):  # noqa: F811
    _, network, task = build()
    ending(network, 4.0)
    config = generation_config("--eval-generation-args", json.dumps(options | {"max_len_a": 1, "max_len_b": 90}))
    sample = make_sample(task, [*PIECES, LONG])
    with evaluating(network):
        ours = translations(task, network, sample, config)
        theirs = task.inference_step(task.build_generator([network], config), [network], sample)
    assert len(set(sum(lengths([[one["tokens"] for one in own] for own in ours]), []))) > 3
    for own, its in zip(ours, theirs, strict=True):
        assert max(len(one["tokens"]) for one in own) < 90
        for one, other in zip(own, its, strict=True):
            assert torch.equal(one["tokens"], other["tokens"]) and torch.equal(one["score"], other["score"])


def test_a_translation_in_validation_is_that_of_the_sentence_alone(build):  # noqa: F811
    criterion, network, task = build(*KINDS["validation"], OPTION["validation"], '{"max_len_a": 1.2, "max_len_b": 2}')
    criterion.eval(), network.eval()

    def f_bert(*pairs):
        return criterion(network, make_sample(task, pairs))[2]["translated_f_bert"]

    assert f_bert(*PIECES, LONG) == pytest.approx(sum(map(f_bert, [*PIECES, LONG])), abs=1e-5)


def test_a_model_that_rules_the_end_out_has_no_translation(build):  # noqa: F811
    criterion, network, task = build(*KINDS["risk"], "--eval-f-bert")
    ending(network, -torch.inf)
    criterion.eval(), network.eval()
    sample = make_sample(task, [*PIECES, LONG])
    assert drawing_of(criterion, "risk").drawn(network, sample) == 4 * [[]]
    assert criterion(network, sample)[2]["translated_f_bert"] == 0


def test_a_model_without_positions_for_a_shortest_translation(build):  # noqa: F811
    options = '{"min_len": 30, "max_len_b": 30}'
    criterion, network, task = build(*KINDS["risk"], OPTION["risk"], options, "--max-target-positions", "20")
    with pytest.raises(ValueError, match="no room for translations of min_len 30 symbols: 19 is the most"):
        criterion(network, make_sample(task, PIECES))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options, message",
    [
        ({"diverse_beam_groups": 2}, "leave out 'diverse_beam_groups': fairseq's diverse beam search fails"),
        ({"max_len_a": 0, "max_len_b": 0}, r"max_len_a \* 1 \+ max_len_b is 0, .* at least min_len, 1"),
        ({"max_len_a": -1, "max_len_b": 200}, "max_len_a must not be negative"),
        ({"min_len": 201}, "it must be at least min_len, 201"),
        ({"sampling": True, "sampling_topk": 10**6}, "sampling_topk 1000000 is more than the [0-9]+ symbols"),
        ({"temperature": 0}, "--temperature must be greater than 0"),
        ({"sampling": True, "diversity_rate": 0.5}, "mutually exclusive"),
        ({"sampling_topp": 0.5, "sampling": False}, "--sampling-topp requires --sampling"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_options_that_cannot_work_are_refused_before_training(build, kind, options, message):  # noqa: F811
    with pytest.raises(ValueError, match=f"^{OPTION[kind]}.*{message}"):
        build(*KINDS[kind], OPTION[kind], json.dumps(options))


def test_every_option_does_something_or_is_refused():
    for name in (*WITHOUT_EFFECT, "diverse_beam_groups"):
        with pytest.raises(ValueError, match=f"{name}' has no effect in training|leave out '{name}'"):
            generation_config("--eval-generation-args", json.dumps({name: None}))
    others = {field.name for field in fields(GenerationConfig)}.difference(WITHOUT_EFFECT, ["_name", "diverse_beam_groups"])
    assert others == {
        "beam", "max_len_a", "max_len_b", "min_len", "match_source_len", "unnormalized", "lenpen", "unkpen",
        "no_repeat_ngram_size", "sampling", "sampling_topk", "sampling_topp", "temperature", "diversity_rate",
    }  # fmt: skip


def test_no_beam_is_refused(build):  # noqa: F811
    with pytest.raises(ValueError, match="--eval-generation-args: beam must be at least 1, not 0"):
        build(*KINDS["validation"], OPTION["validation"], '{"beam": 0}')
