"""Minimum risk: candidates of real fairseq models, scored by a real (tiny) language model."""

import pytest
import torch
from fairseq.logging import metrics
from test_criterion import PIECES, build, gradients, make_sample  # noqa: F401, build is a fixture
from training import MODELS, logged, rise, train

from fairseq_bertloss.training.reading import Reader
from fairseq_bertloss.training.risk import log_probabilities
from fairseq_bertloss.training.sums import RISK_SUMS
from fairseq_bertloss.training.target_sides import TargetSides

PAD = 1
RISK = ["--objective", "risk", "--candidates", "3", "--sampled-candidates", "0"]


@pytest.fixture
def risk(build):  # noqa: F811
    """Criterion, model, task and a sample of three sentences; a model whose candidates differ in length."""

    def make(*arguments, model="transformer", weight="0"):
        made = build(*RISK, "--cross-entropy-weight", weight, *arguments, model=model)
        return *made, make_sample(made[2], PIECES)

    return make


def test_the_cut_candidates_are_those_that_did_not_end(risk):
    """A model that never ends by itself has nothing else; one that ends at once has none."""
    for never, share in ((True, 1.0), (False, 0.0)):
        criterion, network, task, sample = risk("--candidate-generation-args", '{"max_len_a": 0, "max_len_b": 12}')
        eos = task.target_dictionary.eos()
        project = network.decoder.output_layer
        end = -30.0 if never else 30.0
        network.decoder.output_layer = lambda *given, project=project, eos=eos, end=end: project(*given).index_fill(
            -1, torch.tensor([eos]), end
        )
        log = criterion(network, sample)[2]
        assert log["unfinished"] == share * log["candidates"]


@pytest.mark.parametrize(
    "options",
    [
        ["--reward-scale", "min-max"],
        ["--reward-scale", "std"],
        ["--unfinished-candidates", "left-out"],
        ["--best-candidate"],
    ],
)
def test_options_of_the_reward_change_the_loss_and_not_what_is_logged_of_f(risk, options):
    plain, network, task, sample = risk()
    criterion = risk(*options)[0]
    loss, _, log = criterion(network, sample)
    before, _, logged = plain(network, sample)
    for name in ("f_expected", "f_first", "f_best", "candidates", "unfinished"):
        torch.testing.assert_close(log[name], logged[name])
    assert torch.isfinite(loss)
    ours, theirs = gradients(loss, network), gradients(before, network)
    assert any(not torch.allclose(ours[name], theirs[name], rtol=1e-3, atol=1e-6) for name in theirs)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("arguments", [[], ["--reference-among-candidates", "--risk-alpha", "3", "--score", "recall"]])
def test_gradient_equals_that_of_the_risk_written_out(risk, monkeypatch, model, arguments):
    criterion, network, task, sample = risk(*arguments, model=model)
    drawn = criterion.objective.translator.draw(network, sample)
    assert [len(candidates) for candidates in drawn] == [3, 3, 3]
    # A random model does not end its sentences: here they get different lengths.
    drawn = [[one[: 3 + 4 * place] + [2] for place, one in enumerate(candidates)] for candidates in drawn]
    monkeypatch.setattr(criterion.objective.translator, "draw", lambda *_: drawn)
    loss, size, log = criterion(network, sample)

    alpha = 3.0 if arguments else 1.0
    expected, best = 0.0, 0.0
    for i, candidates in enumerate(drawn):
        reference = [symbol for symbol in sample["target"][i].tolist() if symbol != 1]
        if arguments:
            candidates = [*candidates, reference]
        scores, goodness = [], []
        for candidate in candidates:
            net_input = {name: part[i : i + 1] for name, part in sample["net_input"].items()}
            net_input["prev_output_tokens"] = torch.tensor([[2, *candidate[:-1]]])
            lprobs = network(**net_input)[0].log_softmax(dim=-1)[0]
            scores.append(sum(lprobs[t, symbol] for t, symbol in enumerate(candidate)) / len(candidate))
            score = criterion.bertscore.score_ids(torch.tensor([candidate]), torch.tensor([reference]))
            goodness.append((score.recall if arguments else score.f1).item())
        q = torch.softmax(alpha * torch.stack(scores), dim=0)
        expected += (q * (1 - torch.tensor(goodness))).sum()
        best += max(goodness)
    assert size == 3 and log["candidates"].item() == (12 if arguments else 9)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    assert log["f_best"].item() == pytest.approx(best, abs=1e-5)
    assert log["f_expected"].item() == pytest.approx(3 - loss.item(), abs=1e-5)
    ours, theirs = gradients(loss, network), gradients(expected, network)
    largest = max(float(gradient.abs().max()) for gradient in theirs.values())
    assert largest > 1e-4
    for name, gradient in theirs.items():
        torch.testing.assert_close(
            ours[name], gradient, rtol=0, atol=1e-3 * largest, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_the_reward_is_by_one_to_one_matching_and_the_log_by_greedy(risk, monkeypatch):
    greedy, network, task, sample = risk()
    criterion = risk("--reward-matching", "one-to-one")[0]
    drawn = [[one[: 3 + 4 * place] + [2] for place, one in enumerate(candidates)]
             for candidates in greedy.objective.translator.draw(network, sample)]  # fmt: skip
    for each in (greedy, criterion):
        monkeypatch.setattr(each.objective.translator, "draw", lambda *_: drawn)
    plain, _, expected_log = greedy(network, sample)
    loss, _, log = criterion(network, sample)
    for name in RISK_SUMS:
        torch.testing.assert_close(log[name], expected_log[name], msg=lambda text, name=name: f"{name}: {text}")

    reading = Reader(criterion.bertscore.specials, learns_references=False)(network, sample, torch.arange(3), drawn)
    log_p = log_probabilities(reading, chunk_tokens=None) / reading.sides.candidate_lengths
    own_reference = reading.sides.sentence_of_candidate
    reward = criterion.bertscore.score_candidates(reading.candidates, reading.references, own_reference).rewarded.f1
    expected, sentence = 0.0, torch.tensor(own_reference)
    for own in (sentence == i for i in range(3)):
        expected += 1 - (log_p[own].softmax(dim=0) * reward[own]).sum()
    torch.testing.assert_close(loss, expected)
    assert loss > plain + 0.01, "candidates of a random model repeat themselves"
    assert log["_objective"] == loss


def test_a_planted_best_candidate_gains_probability(risk, monkeypatch):
    criterion, network, task, _ = risk()
    sample = make_sample(task, PIECES[:1])
    reference = sample["target"][0].tolist()
    planted = [reference[::-1][1:] + [2], [7, 2], reference]
    monkeypatch.setattr(criterion.objective.translator, "draw", lambda *_: [planted])

    def probabilities():
        net_input = sample["net_input"]
        scores = []
        for candidate in planted:
            before = torch.tensor([[2, *candidate[:-1]]])
            lprobs = network(net_input["src_tokens"], net_input["src_lengths"], before)[0].log_softmax(dim=-1)[0]
            scores.append(lprobs[range(len(candidate)), candidate].mean())
        return torch.softmax(torch.stack(scores), dim=0).tolist()

    optimizer, before = torch.optim.SGD(network.parameters(), lr=1.0), probabilities()
    for _ in range(10):
        optimizer.zero_grad()
        criterion(network, sample)[0].backward()
        optimizer.step()
    after = probabilities()
    assert after[2] > before[2] + 0.05 and after[0] < before[0] and after[1] < before[1]


def test_mixed_with_label_smoothed_cross_entropy(risk):
    options = ["--label-smoothing", "0.1"]
    mixed, network, task, sample = risk(*options, weight="0.3")
    pure, control = risk(*options)[0], risk(*options, weight="1")[0]
    cross_entropy, tokens, _ = control(network, sample)
    expected = 0.7 * pure(network, sample)[0] + 0.3 * cross_entropy / tokens * 3
    loss, _, log = mixed(network, sample)
    torch.testing.assert_close(loss, expected)
    ours, theirs = gradients(loss, network), gradients(expected, network)
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-4, atol=1e-6)
    single, _, _ = mixed(network, sample, reduce=False)
    assert single.shape == (3,)
    torch.testing.assert_close(single.sum(), loss)


def test_the_log_of_references_is_that_of_the_soft_objective(risk, build):  # noqa: F811
    criterion, network, task, sample = risk()
    log, soft = criterion(network, sample)[2], build()[0](network, sample)[2]
    for name in ("nll_loss", "ce_loss", "accuracy", "p_eos_end", "p_eos_before", "ntokens_scored", "sample_size"):
        torch.testing.assert_close(
            torch.as_tensor(log[name]), torch.as_tensor(soft[name]), msg=lambda text, name=name: f"{name}: {text}"
        )
    assert "f_bert" not in log and "f_first" not in soft
    with metrics.aggregate(new_root=True) as aggregator:
        criterion.reduce_metrics([log, log])
    values = aggregator.get_smoothed_values()
    assert values["loss"] == pytest.approx(1 - values["f_expected"] / 100, abs=2e-4)
    assert values["f_best"] >= max(values["f_first"], values["f_expected"])
    assert values["candidates"] == 3 and "f_bert" not in values and "support" not in values


@pytest.mark.parametrize("autocast", [False, True], ids=["half", "autocast"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(risk, monkeypatch, dtype, autocast):
    criterion, network, task, sample = risk("--label-smoothing", "0.1", weight="0.2")
    draw = criterion.objective.translator.draw
    drawn = draw(network, sample)
    monkeypatch.setattr(criterion.objective.translator, "draw", lambda *_: drawn)
    exact, _, exact_log = criterion(network, sample)
    exact_gradient = gradients(exact, network)
    if not autocast:
        criterion.to(dtype), network.to(dtype)
    with torch.autocast("cpu", dtype=dtype, enabled=autocast):
        assert [len(candidates) for candidates in draw(network, sample)] == [3, 3, 3]
        loss, _, log = criterion(network, sample)
    for name in ("f_expected", "f_best", "nll_loss", "ce_loss"):
        assert float(log[name]) == pytest.approx(float(exact_log[name]), rel=0.02), name
    ours, wanted = (torch.cat([part.flatten().double() for part in given.values()])
                    for given in (gradients(loss, network), exact_gradient))  # fmt: skip
    assert torch.cosine_similarity(ours, wanted, dim=0) > 0.99


# Candidates.


def test_target_sides_hold_each_different_sentence_once():
    references = torch.tensor([[5, 6, 2], [7, 2, 1]])
    drawn = [[[5, 2], [5, 6, 2], [5, 2]], [[8, 9, 7, 2]]]
    sides = TargetSides.of(drawn, references, PAD, with_references=False)
    assert [side.symbols for side in sides.distinct] == [(5, 2), (5, 6, 2), (8, 9, 7, 2), (7, 2)]
    assert [side.sentence for side in sides.distinct] == [0, 0, 1, 1]
    assert (sides.candidates, sides.places, sides.references) == ([0, 1, 2], [0, 1, 0], [1, 3])
    assert [list(sides.tokens(side)) for side in range(4)] == [[0, 1], [2, 3, 4], [5, 6, 7, 8], [9, 10]]
    assert sides.table(torch.tensor([1.0, 2.0, 3.0]), 9.0).tolist() == [[1, 2], [3, 9]]
    among = TargetSides.of(drawn, references, PAD, with_references=True)
    assert among.distinct == sides.distinct
    assert (among.candidates, among.places) == ([0, 1, 2, 3], [0, 1, 0, 1])


def test_sentences_that_begin_alike_share_their_beginnings():
    references = torch.tensor([[9, 2], [5, 2]])
    drawn = [[[5, 6, 7, 2], [5, 6, 8, 2], [5, 6, 7, 7, 2]], [[5, 6, 2], [5, 6, 7, 2]]]
    first_token, beginning_index = TargetSides.of(drawn, references, PAD, with_references=False).shared_beginnings()
    # The first sentence's: nothing, 5, 5 6, 5 6 7 | 5 6 8 | 5 6 7 7. The second's, after its own 9 2: nothing, 5, ...
    assert beginning_index.tolist() == [0, 1, 2, 3, 0, 1, 2, 4, 0, 1, 2, 3, 5, 6, 7, 8, 6, 7, 8, 9]
    assert first_token.tolist() == [0, 1, 2, 3, 7, 12, 15, 16, 17, 21]


def test_a_sentence_that_two_sources_share_is_two_target_sides():
    sides = TargetSides.of([[[5, 2]], [[5, 2]]], torch.tensor([[5, 2], [5, 2]]), PAD, with_references=False)
    assert [side.sentence for side in sides.distinct] == [0, 1] and sides.references == [0, 1]
    assert [part.tolist() for part in sides.shared_beginnings()] == [[0, 1, 2, 3], [0, 1, 2, 3]]


def test_references_may_be_padded_on_the_left():
    sides = TargetSides.of([[[8, 2]]], torch.tensor([[1, 1, 7, 2]]), PAD, with_references=True)
    assert [side.symbols for side in sides.distinct] == [(8, 2), (7, 2)]


def test_a_sentence_without_candidates_has_its_reference():
    sides = TargetSides.of([[], [[8, 2]]], torch.tensor([[7, 2], [9, 2]]), PAD, with_references=False)
    assert [side.symbols for side in sides.distinct] == [(7, 2), (8, 2), (9, 2)]
    assert sides.candidates == [0, 1] and sides.references == [0, 2]


def test_drawing_leaves_the_model_as_it_was(risk):
    criterion, network, task, sample = risk("--dropout", "0.5")
    network.train()
    network.encoder.layers[0].eval()  # as a frozen part would be
    modes = {name: part.training for name, part in network.named_modules()}
    state = torch.get_rng_state()
    first = criterion.objective.translator.draw(network, sample)
    assert torch.equal(torch.get_rng_state(), state) and criterion.objective.translator.draw(network, sample) == first
    assert {name: part.training for name, part in network.named_modules()} == modes and any(modes.values())


def test_the_encoder_reads_a_source_once_for_all_its_candidates(risk, monkeypatch):
    criterion, network, task, sample = risk()
    drawn = [[[5, 2], [5, 6] * 30 + [2], [7] * 20 + [2]] for _ in range(3)]
    monkeypatch.setattr(criterion.objective.translator, "draw", lambda *_: drawn)
    read, decoded = [], []
    network.encoder.layers[0].register_forward_hook(lambda _, __, output: read.append(output.shape[1]))
    network.decoder.layers[0].register_forward_hook(lambda _, __, output: decoded.append(output[0].shape[:2]))
    criterion(network.train(), sample)
    assert read == [3]
    assert len(decoded) > 1 and sum(rows for _, rows in decoded) == 12, "batches of like lengths"
    assert sum(length * rows for length, rows in decoded) < 1.3 * (3 * (2 + 61 + 21) + int(sample["ntokens"]))
    assert "forward" not in vars(network.encoder)


@pytest.mark.parametrize("weight, learning", [("0", 9), ("0.2", 12)])
def test_references_are_decoded_for_gradients_where_cross_entropy_learns_from_them(risk, weight, learning):
    criterion, network, task, sample = risk(weight=weight)
    decoded = {True: 0, False: 0}

    def count(layer, inputs, output):
        decoded[torch.is_grad_enabled()] += output[0].shape[1]

    drawn = criterion.objective.translator.draw(network, sample)
    criterion.objective.translator.draw = lambda *_: drawn
    network.decoder.layers[0].register_forward_hook(count)
    criterion(network, sample)
    assert decoded == {True: learning, False: 12 - learning}


def test_a_model_in_torchs_data_parallel_has_one_pass(risk, monkeypatch):
    criterion, network, task, sample = risk()
    expected = criterion(network, sample)[0]
    monkeypatch.setattr("fairseq_bertloss.training.reading.one_pass_an_update", lambda model: True)
    decoded = []
    network.decoder.layers[0].register_forward_hook(lambda _, __, output: decoded.append(output[0].shape[1]))
    loss = criterion(network, sample)[0]
    assert max(decoded) == 12, "three candidates and a reference of each sentence"
    torch.testing.assert_close(loss, expected)


def test_a_failure_leaves_the_encoder_as_it_was(risk):
    criterion, network, task, sample = risk("--adaptive-softmax-cutoff", "20,40")
    with pytest.raises(ValueError, match="without --adaptive-softmax-cutoff"):
        criterion(network, sample)
    assert "forward" not in vars(network.encoder)


@pytest.mark.parametrize("end", ["context", "gold"])
def test_the_end_of_a_candidate_counts_or_not(risk, monkeypatch, end):
    f_best = []
    for arguments in ([], ["--end-of-sentence", end]):
        criterion, network, _, sample = risk(*arguments)
        monkeypatch.setattr(criterion.objective.translator, "draw", lambda *_: [[[7, 2], [8, 9, 2]]] * 3)
        f_best.append(criterion(network, sample)[2]["f_best"].item())
    assert abs(f_best[0] - f_best[1]) > 1e-3


def test_a_model_of_nan_has_a_loss_of_nan(risk):
    """Which fairseq skips or reports; its generator would fail an assertion."""
    criterion, network, task, sample = risk(weight="0.2")
    with torch.no_grad():
        network.decoder.output_projection.weight[5] = torch.nan
    loss, size, _ = criterion(network, sample)
    assert loss.isnan() and size == 3


def test_sampling_follows_torchs_generator_in_training_alone(risk):
    criterion, network, task, sample = risk("--candidate-generation-args", '{"sampling": true, "temperature": 2.0}')

    def draw(seed):
        torch.manual_seed(seed)
        return criterion.objective.translator.draw(network, sample)

    assert draw(1) == draw(1) != draw(2)
    criterion.eval()
    assert draw(1) == draw(2)


def test_sampled_candidates_stand_beside_those_of_beam_search(risk):
    criterion, network, task, sample = risk("--sampled-candidates", "4")
    beam = risk()[0].objective.translator.draw(network, sample)
    drawn = criterion.objective.translator.draw(network, sample)
    assert [candidates[:3] for candidates in drawn] == beam
    assert all(len(candidates) == 7 and len(set(map(tuple, candidates))) > 3 for candidates in drawn)
    assert criterion(network, sample)[2]["candidates"] > 9
    options = '{"diversity_rate": 0.5, "no_repeat_ngram_size": 2}'  # of beam search alone
    assert risk("--sampled-candidates", "4", "--candidate-generation-args", options)[0](network, sample)[0].isfinite()
    criterion.eval()
    assert criterion.objective.translator.draw(network, sample) == beam


def test_sampling_from_a_model_that_is_certain_of_the_end(risk):
    """Which fairseq rules out at the start, where float32 has no probability left for anything else."""
    criterion, network, task, sample = risk("--sampled-candidates", "2")

    def certain(layer, features, logits):
        return logits.index_fill(-1, torch.tensor([2]), float(logits.max()) + 1e3)

    network.decoder.output_projection.register_forward_hook(certain)
    drawn = criterion.objective.translator.draw(network, sample)
    assert [[one[1:] for one in candidates[3:]] for candidates in drawn] == [[[2], [2]]] * 3
    assert all(one[0] != 2 for candidates in drawn for one in candidates)


def test_candidates_keep_to_the_language_models_positions(risk):
    with pytest.raises(ValueError, match="min_len 99 is more than the 98 symbols that the language model has room for"):
        risk("--candidate-generation-args", '{"max_len_a": 0, "max_len_b": 150, "min_len": 99}')
    criterion, network, task, sample = risk("--candidate-generation-args", '{"max_len_b": 150, "min_len": 98}')
    room = criterion.bertscore.max_target_length
    assert room == 99
    assert {len(one) for candidates in criterion.objective.translator.draw(network, sample) for one in candidates} == {
        room
    }
    assert criterion(network, sample)[0].isfinite()


def test_long_references_are_left_out(risk):
    criterion, network, task, sample = risk()
    expected, size, log = criterion(network, sample)
    long = make_sample(task, [PIECES[0], *PIECES], target_repeats=12)
    both = make_sample(task, [PIECES[0], *PIECES])
    width = long["target"].size(1)
    both["target"] = torch.nn.functional.pad(both["target"], (0, width - both["target"].size(1)), value=1)
    both["target"][0] = long["target"][0]
    loss, its_size, its_log = criterion(network, both)
    assert (its_size, its_log["skipped"]) == (3, 1)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    nothing, none, empty = criterion(network, long)
    assert (nothing.item(), none, list(empty)) == (0.0, 0, list(log))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--candidates", "1"], "--candidates must be at least 2, to compare, not 1"),
        (["--sampled-candidates", "-1"], "--sampled-candidates must not be negative, as -1 is"),
        (
            ["--free-running"],
            "--free-running does nothing with --objective risk: leave it out, or add --objective soft",
        ),
        (
            ["--soft-prediction", "gumbel_softmax"],
            "--soft-prediction does nothing with --objective risk: leave it out, or add",
        ),
        (["--temperature", "0.5"], "--temperature does nothing with --objective risk"),
        (
            ["--best-checkpoint-metric", "f_bert"],
            "f_bert is not logged with --objective risk: add --eval-f-bert and take f_bert",
        ),
        (["--best-checkpoint-metric", "entropy", "--eval-f-bert"], "entropy is not logged with --objective risk"),
        (["--risk-alpha", "0"], "--risk-alpha must be positive and finite, not 0.0"),
        (["--candidate-generation-args", "{"], "--candidate-generation-args { is not JSON"),
        (["--candidate-generation-args", '{"beam": 4}'], "leave out 'beam': --candidates says how many there are"),
        (["--candidate-generation-args", '{"match_source_len": true}'], "leave out 'match_source_len': a candidate"),
        (["--candidate-generation-args", '{"sampling_topk": 5}'], "--sampling-topk requires --sampling"),
        (["--candidate-generation-args", '{"nbest": 5}'], "leave out 'nbest': it has no effect in training"),
        (["--risk-alpha", "inf"], "--risk-alpha must be positive and finite, not inf"),
        (["--candidate-generation-args", '{"topk": 4}'], "Key 'topk' not in 'GenerationConfig'"),
    ],
)
def test_bad_options(build, arguments, message):  # noqa: F811
    with pytest.raises(ValueError, match=message):
        build(*RISK, *arguments)


def test_training_raises_what_candidates_score(corpus, tiny_lm, tmp_path):
    """Without any cross-entropy, by 1.39 at least: seeds 3 to 6, rounded in three ways.

    Samples, since beam search finds nothing worth it in a model that knows nothing.
    """
    done = train(corpus, tmp_path, "--criterion", "bertscore_loss", "--bert-model", tiny_lm("bert"),
                 "--bert-layer", "2", "--objective", "risk", "--candidates", "8", "--sampled-candidates", "0",
                 "--risk-alpha", "10", "--max-update", "20",
                 "--candidate-generation-args", '{"sampling":true,"max_len_a":0,"max_len_b":15}',
                 "--best-checkpoint-metric", "f_first", "--maximize-best-checkpoint-metric")  # fmt: skip
    updates, validations = logged(done, "train_inner"), logged(done, "valid")
    for name in ("f_expected", "f_first"):
        assert rise(updates, name) > 0.6
    assert {"valid_f_first", "valid_f_best", "valid_f_expected", "valid_best_f_first"} <= validations[-1].keys()
    assert all(1 < update["candidates"] <= 8 for update in updates)
