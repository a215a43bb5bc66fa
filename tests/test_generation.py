"""The model's own translations inside of training: how long they are, and which options they have."""

import json
import re
from dataclasses import fields

import pytest
import torch
from fairseq.dataclass.configs import GenerationConfig
from test_criterion import PIECES, build, make_sample  # noqa: F401, build is a fixture

from fairseq_bertloss.training.generation import REFUSED, evaluating, generation_config, translations

LONG = ("ein zwei " * 30, PIECES[0][1])
KINDS = {
    "risk": ["--objective", "risk"],
    "free-running": ["--objective", "soft", "--free-running"],
    "validation": ["--objective", "soft", "--eval-f-bert"],
}
CANDIDATES = "--candidate-generation-args"
OPTION = {"risk": CANDIDATES, "free-running": CANDIDATES, "validation": "--eval-generation-args"}


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
    drawn = criterion.objective.translator.draw(network, together)
    risks = criterion(network, together, reduce=False)[0]
    for i, pair in enumerate(pairs):
        alone = make_sample(task, [pair])
        assert criterion.objective.translator.draw(network, alone) == [drawn[i]]
        torch.testing.assert_close(criterion(network, alone)[0], risks[i], rtol=0, atol=1e-9)
        source = int(alone["net_input"]["src_lengths"])
        longest = int(options.get("max_len_a", 1.5) * source + options.get("max_len_b", 10))
        assert max(map(len, drawn[i])) == min(longest + 1, criterion.bertscore.max_target_length)


@pytest.mark.parametrize(
    "options",
    [{}, *({"sampling": True} | more for more in ({}, {"sampling_topk": 5}, {"sampling_topp": 0.7}))],
    ids=str,
)
@pytest.mark.parametrize("kind", ["risk", "free-running"])
def test_samples_are_no_longer_than_their_own_source_allows(build, kind, options):  # noqa: F811
    criterion, network, task = build(*KINDS[kind], OPTION[kind], json.dumps(options), "--max-target-positions", "40")
    sample = make_sample(task, [PIECES[0], LONG, ("", ""), *PIECES])
    allowed = [min(int(1.5 * source + 10), 39) + 1 for source in sample["net_input"]["src_lengths"].tolist()]
    assert min(allowed) == 12 and max(allowed) == 40
    for mode in (True, False):
        criterion.train(mode)
        drawn = criterion.objective.translator.draw(network, sample)
        for own, most in zip(drawn, allowed, strict=True):
            assert max(map(len, own)) == most and all(one[-1] == 2 and 2 not in one[:-1] for one in own)


def ending(network, strength):
    """Makes a model end its translations by themselves."""
    end = torch.zeros(network.decoder.output_projection.weight.size(0)).index_fill(0, torch.tensor([2]), strength)
    network.decoder.output_projection.register_forward_hook(lambda layer, features, logits: logits + end)


@pytest.mark.parametrize(
    "options", [{"beam": 4}, {"beam": 3, "lenpen": 0.6}, {"beam": 4, "diversity_rate": 0.2}], ids=str
)
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
    """Which is not an empty one: fairseq's own validation fails, too."""
    criterion, network, task = build(*KINDS["risk"], "--eval-f-bert")
    ending(network, -torch.inf)
    criterion.eval(), network.eval()
    sample = make_sample(task, [*PIECES, LONG])
    assert criterion.objective.translator.draw(network, sample) == 4 * [[]]
    with pytest.raises(
        ValueError, match="^--eval-generation-args: 4 of a batch's 4 sentences have no translation: .*rules </s>"
    ):
        criterion(network, sample)


@pytest.mark.parametrize("short", [{"max_len_b": 3}, {"max_len_a": 0, "max_len_b": 1}, {}], ids=str)
def test_match_source_len_makes_translations_as_long_as_their_sources(build, short):  # noqa: F811
    """Whatever max_len_a and max_len_b are; the default is 200. fairseq itself takes sources of one length alone."""
    _, network, task = build()
    config = generation_config("--eval-generation-args", json.dumps(short | {"match_source_len": True}))
    pairs = [("ein zwei " * 110, PIECES[0][1]), LONG, *PIECES, ("", "")]
    together = make_sample(task, pairs)
    with evaluating(network):
        ours = translations(task, network, together, config)
        assert together["net_input"]["src_lengths"].max() == 221
        for own, pair in zip(ours, pairs, strict=True):
            alone = make_sample(task, [pair])
            theirs = task.inference_step(task.build_generator([network], config), [network], alone)[0]
            assert {len(one["tokens"]) for one in own} == {int(alone["net_input"]["src_lengths"]) + 1}
            assert torch.equal(own[0]["tokens"], theirs[0]["tokens"])


def test_match_source_len_in_validation_is_without_max_len(build):  # noqa: F811
    def f_bert(**options):
        criterion, network, task = build(*KINDS["validation"], OPTION["validation"], json.dumps(options))
        criterion.eval(), network.eval()
        return criterion(network, make_sample(task, [LONG, *PIECES]))[2]["translated_f_bert"]

    assert f_bert(match_source_len=True, max_len_b=3) == pytest.approx(f_bert(match_source_len=True), abs=1e-6)


def test_match_source_len_of_a_source_without_positions_for_its_translation(build):  # noqa: F811
    options = '{"match_source_len": true}'
    criterion, network, task = build(
        *KINDS["validation"], OPTION["validation"], options, "--max-target-positions", "40"
    )
    criterion.eval(), network.eval()
    with pytest.raises(
        ValueError, match="match_source_len: there is a source of 61 symbols, and room for translations of 39"
    ):
        criterion(network, make_sample(task, [LONG, *PIECES]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_without_positions_for_a_shortest_translation(build, kind):  # noqa: F811
    """At the first update, whenever the translations come."""
    options = '{"min_len": 30, "max_len_b": 30}'
    criterion, network, task = build(*KINDS[kind], OPTION[kind], options, "--max-target-positions", "20")
    network.train(), criterion.train()
    with pytest.raises(ValueError, match=f"^{OPTION[kind]}: min_len 30 is more than the 19 symbols that the model has"):
        criterion(network, make_sample(task, PIECES))
    assert all(module.training for module in network.modules())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options, message",
    [
        ({"diverse_beam_groups": 2}, "leave out 'diverse_beam_groups': fairseq's diverse beam search fails"),
        ({"max_len_a": 0, "max_len_b": 0}, r"max_len_a \* 1 \+ max_len_b is 0, .* at least min_len, 1"),
        ({"max_len_a": -1, "max_len_b": 200}, "max_len_a must not be negative"),
        ({"min_len": 201}, "it must be at least min_len, 201"),
        *(
            (
                {"sampling": True, "sampling_topk": topk},
                f"sampling_topk must lie between 1 and the [0-9]+ symbols .*{topk}$",
            )
            for topk in (10**6, 0, -2)
        ),
        *(
            ({"sampling": True, "sampling_topp": topp}, f"sampling_topp must be above 0 and at most 1, .* not {topp}$")
            for topp in (0.0, -0.5, 1.5)
        ),
        (
            {"sampling": True, "sampling_topk": 3, "sampling_topp": 0.5},
            "sampling_topk has no effect beside sampling_topp",
        ),
        ({"temperature": 0}, "--temperature must be greater than 0"),
        ({"sampling": True, "diversity_rate": 0.5}, "mutually exclusive"),
        ({"sampling_topp": 0.5, "sampling": False}, "--sampling-topp requires --sampling"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_options_that_cannot_work_are_refused_before_training(build, kind, options, message):  # noqa: F811
    with pytest.raises(ValueError, match=f"^{OPTION[kind]}.*{message}"):
        build(*KINDS[kind], OPTION[kind], json.dumps(options))


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999", '"inf"', '"nan"', "1" + 400 * "0", "-3e9"])
@pytest.mark.parametrize("name", ["max_len_a", "max_len_b", "lenpen", "temperature", "beam"])
def test_numbers_that_are_none_are_refused(name, value):
    with pytest.raises(ValueError, match="^--eval-generation-args ") as error:
        generation_config("--eval-generation-args", f'{{"{name}": {value}}}')
    message = str(error.value)
    assert "\n" not in message and ("must be a number between" in message or "see fairseq-generate --help" in message)


def test_every_option_does_something_or_is_refused():
    for name in REFUSED:
        with pytest.raises(ValueError, match=f"leave out '{name}': {re.escape(REFUSED[name])}"):
            generation_config("--eval-generation-args", json.dumps({name: None}))
    others = {field.name for field in fields(GenerationConfig)}.difference(REFUSED, ["_name"])
    assert others == {
        "beam", "max_len_a", "max_len_b", "min_len", "match_source_len", "unnormalized", "lenpen", "unkpen",
        "no_repeat_ngram_size", "sampling", "sampling_topk", "sampling_topp", "temperature", "diversity_rate",
    }  # fmt: skip


def test_no_beam_is_refused(build):  # noqa: F811
    with pytest.raises(ValueError, match="--eval-generation-args: beam must be at least 1, not 0"):
        build(*KINDS["validation"], OPTION["validation"], '{"beam": 0}')
