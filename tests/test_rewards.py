"""--reward: what candidates earn by which names, alone and together."""

import logging
import re
import sys
from types import ModuleType, SimpleNamespace

import pytest
import sacrebleu
import torch
from conftest import REPOSITORY
from fairseq.logging import metrics
from test_criterion import PIECES, build, make_sample  # noqa: F401, build is a fixture
from text_models import foreign  # noqa: F401, a fixture

from fairseq_bertloss.evaluation.f_bert import FBertScorer
from fairseq_bertloss.evaluation.moverscore import MoverScorer
from fairseq_bertloss.loss.minimum_risk import minimum_risk
from fairseq_bertloss.training.reward_functions import scores_of, users_function
from fairseq_bertloss.training.reward_weights import reward_weights
from fairseq_bertloss.training.rewards import combined
from fairseq_bertloss.training.risk import log_probabilities
from fairseq_bertloss.training.texts import Texts

RISK = ["--candidates", "3", "--sampled-candidates", "0", "--objective", "risk"]


@pytest.fixture
def users_module(monkeypatch):
    """A function that makes a module `mine` whose function `good` is the given one."""

    def make(function) -> None:
        module = ModuleType("mine")
        module.good = function
        monkeypatch.setitem(sys.modules, "mine", module)

    return make


def test_names_and_weights():
    assert reward_weights("bertscore") == {"bertscore": 1.0}
    assert reward_weights("bertscore:1, chrf:0.5") == {"bertscore": 1.0, "chrf": 0.5}
    assert reward_weights("my.module:comet:2,bleu") == {"my.module:comet": 2.0, "bleu": 1.0}


@pytest.mark.parametrize(
    "text, message",
    [
        ("comet", "cannot read 'comet': take one of bertscore, chrf, bleu, moverscore, or MODULE:FUNCTION"),
        ("", "cannot read ''"),
        ("chrf:0", "a weight must be a positive number, not '0'"),
        ("mine:good:half", "a weight must be a positive number, not 'half'"),
        ("chrf,chrf:2", "chrf comes twice"),
        ("mine:good,other:good", "good comes twice"),
        ("mine:chrf,mine:chrf:2", "mine:chrf comes twice"),
    ],
)
def test_bad_rewards(text, message):
    with pytest.raises(ValueError, match=message):
        reward_weights(text)


def test_several_rewards_are_brought_to_one_scale():
    drawn = torch.tensor([[True, True, True], [True, True, False]])
    f = torch.tensor([[0.80, 0.90, 0.85], [0.5, 0.505, 0.0]])
    chrf = torch.tensor([[0.60, 0.20, 0.40], [0.3, 0.1, 0.0]])
    ended = torch.zeros_like(drawn)
    assert combined({"f": f}, {"f": 3.0}, drawn, ended, "scored")[1] is f
    counted, both = combined({"f": f, "chrf": chrf}, {"f": 3.0, "chrf": 1.0}, drawn, ended, "scored")
    assert counted is drawn
    expected = torch.tensor([[0.25, 0.75, 0.5], [0.25, 0.75 * 0.25, 0.0]])  # 0.005 is a quarter of the least range
    torch.testing.assert_close(both.masked_fill(~drawn, 0.0), expected)


@pytest.mark.parametrize("treatment, expected", [("left-out", [0.5, 0.5]), ("lowest", [0.5, 0.5, 0.0])])
def test_a_candidate_that_was_cut_is_no_measure_of_the_others(treatment, expected):
    f, chrf = torch.tensor([[0.90, 0.86, 0.50]]), torch.tensor([[0.50, 0.56, 0.55]])
    unfinished = torch.tensor([[False, False, True]])
    rewards, weights = {"f": f, "chrf": chrf}, {"f": 1.0, "chrf": 1.0}
    counted, both = combined(rewards, weights, torch.ones_like(unfinished), unfinished, treatment)
    torch.testing.assert_close(both[counted], torch.tensor(expected))


def scores_of_text(texts, function):
    pairs = zip(texts.hypotheses, texts.by_candidate(texts.references), strict=True)
    return torch.tensor([function(hypothesis, reference) for hypothesis, reference in pairs])


def judged(made):
    """Reading, texts and everything earned of a batch."""
    criterion, network, task, sample = made
    drawn = criterion.objective.translator.draw(network, sample)
    chosen = torch.arange(len(drawn))
    reading = criterion.objective.drawing.reader(network, sample, chosen, drawn)
    texts = criterion.rewards.texts(reading, sample, chosen, True)
    unfinished = reading.sides.longer_than(criterion.objective.translator.longest(network, sample, chosen))
    mask = reading.sides.table(reading.sides.candidate_lengths, 0) > 0
    values = criterion.rewards(reading, sample, chosen)
    return reading, texts, criterion.rewards.earned(values, reading.sides, mask, unfinished)


def test_rewards_of_sacrebleu_are_its_sentence_scores(foreign):
    reading, texts, earned = judged(foreign("subword_nmt").build(*RISK, "--reward", "chrf"))
    expected = scores_of_text(texts, lambda *pair: sacrebleu.sentence_chrf(pair[0], [pair[1]]).score / 100)
    torch.testing.assert_close(earned.reward, reading.sides.table(expected, 0.0))
    assert earned.f is None and earned.sums == {"reward_chrf": pytest.approx(expected.sum().item())}
    reading, texts, earned = judged(foreign("subword_nmt").build(*RISK, "--reward", "bleu"))
    expected = scores_of_text(texts, lambda *pair: sacrebleu.sentence_bleu(pair[0], [pair[1]]).score / 100)
    torch.testing.assert_close(earned.reward, reading.sides.table(expected, 0.0))


def test_the_log_has_the_units_of_the_tables(foreign, users_module, minilm):
    """sacrebleu's own for chrF and BLEU, percent for BERTScore and MoverScore; a user's function keeps its own."""
    users_module(lambda hypotheses, *_: [0.00123] * len(hypotheses))
    sys.modules["mine"].chrf = lambda hypotheses, *_: [7.0] * len(hypotheses)
    rewards = ["--reward", "bertscore,chrf,bleu,moverscore,mine:good,mine:chrf"]
    made = foreign("subword_nmt").build(*RISK, *rewards, lm=minilm)
    criterion, network, _, sample = made
    with metrics.aggregate(new_root=True) as aggregator:
        criterion.reduce_metrics([criterion(network, sample)[2]])
    values = aggregator.get_smoothed_values()
    _, texts, _ = judged(made)
    expected = {
        "chrf": scores_of_text(texts, lambda *pair: sacrebleu.sentence_chrf(pair[0], [pair[1]]).score),
        "bleu": scores_of_text(texts, lambda *pair: sacrebleu.sentence_bleu(pair[0], [pair[1]]).score),
    }
    references = texts.by_candidate(texts.references)
    expected["bertscore"] = 100 * torch.tensor(FBertScorer(minilm, 2).score(texts.hypotheses, references).f_bert)
    expected["moverscore"] = 100 * torch.tensor(MoverScorer(minilm).score(texts.hypotheses, references))
    for name, scores in expected.items():
        assert values[f"reward_{name}"] == pytest.approx(scores.mean().item(), abs=0.006), name
        assert values[f"reward_{name}"] == round(values[f"reward_{name}"], 2)
    assert values["reward_good"] == 0.0012 and values["reward_mine:chrf"] == 7
    assert values["f_best"] > max(values["f_first"], values["f_expected"]) > 1


def test_moverscore_is_that_of_the_evaluation(foreign, minilm):
    arguments = [*RISK, "--reward", "moverscore", "--bert-model", minilm, "--criterion", "bertscore_loss"]
    reading, texts, earned = judged(foreign("sentencepiece").build(*arguments))
    scores = MoverScorer(minilm, device="cpu").score(texts.hypotheses, texts.by_candidate(texts.references))
    torch.testing.assert_close(earned.reward, reading.sides.table(torch.tensor(scores), 0.0), atol=1e-5, rtol=0)


def test_a_users_function_reads_text_and_trains(foreign, users_module):
    seen = []

    def good(hypotheses, references, sources):
        seen.append((hypotheses, references, sources))
        return [len(hypothesis) / 100 for hypothesis in hypotheses]

    users_module(good)
    made = foreign("sentencepiece").build(*RISK, "--reward", "mine:good,chrf:0.5", "--reward-scale", "std")
    criterion, network, _, sample = made
    loss, size, log = criterion(network, sample)
    reading, texts, earned = judged(made)
    hypotheses, references, sources = seen[0]
    assert len(hypotheses) == len(references) == len(sources) == 21 and size == 7
    assert {"Zwei Männer sitzen auf dem Dach eines Hauses."} < set(sources)
    assert log["reward_good"].item() == pytest.approx(sum(map(len, hypotheses)) / 100)
    assert "f_expected" not in log and "reward_chrf" in log
    sides = reading.sides
    log_p, lengths = (
        sides.table(values, 0.0) for values in (log_probabilities(reading, None), sides.candidate_lengths)
    )
    risk = minimum_risk(log_p, lengths, earned.reward, lengths > 0, scale="std")
    torch.testing.assert_close(loss, risk.sum())


def test_bertscore_on_pieces_beside_a_reward_of_text(build):  # noqa: F811
    criterion, network, task = build(*RISK, "--reward", "bertscore:1,chrf:0.5")
    plain = build(*RISK)[0]
    sample = make_sample(task, PIECES)
    log, expected = criterion(network, sample)[2], plain(network, sample)[2]
    assert plain.rewards.texts is None, "BERTScore on pieces makes no text"
    for name in ("f_expected", "f_best", "reward_bertscore"):
        torch.testing.assert_close(log[name], expected[name])
    assert 0 < log["reward_chrf"] < log["candidates"]


def _of_several_lines(*_):
    raise RuntimeError("the first line\nthe second")


@pytest.mark.parametrize(
    "function, message",
    [
        (lambda hypotheses, *_: [0.5] * (len(hypotheses) - 1), r"--reward mine:good: \(20,\) scores of 21 candidates"),
        (lambda hypotheses, *_: [float("nan")] * len(hypotheses), "--reward mine:good is nan for the candidate '"),
        (lambda *_: 1 / 0, "--reward mine:good: ZeroDivisionError: division by zero"),
        (lambda *_: None, "--reward mine:good: "),
        (_of_several_lines, "--reward mine:good: RuntimeError: the first line$"),
    ],
)
def test_a_function_that_fails_is_told_in_one_line(foreign, users_module, function, message):
    users_module(function)
    criterion, network, _, sample = foreign("sentencepiece").build(*RISK, "--reward", "mine:good")
    with pytest.raises(ValueError, match=message) as error:
        criterion(network, sample)
    assert "\n" not in str(error.value)


TEXTS = Texts(["one", "two"], ["one"], [], [0, 0])


def test_a_function_needs_no_gradients():
    weight = torch.ones(2, requires_grad=True)
    graphs = []
    scores_of("good", lambda *_: graphs.append((2 * weight).grad_fn) or [0.0, 1.0], TEXTS)
    assert graphs == [None]


def test_fairseq_sees_that_memory_ran_out():
    def good(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        scores_of("good", good, TEXTS)


def test_functions_that_are_not_there():
    with pytest.raises(ValueError, match="--reward no_such_module:f: ModuleNotFoundError: .* in PYTHONPATH"):
        users_function("no_such_module:f")
    with pytest.raises(ValueError, match="--reward math:no_such: AttributeError"):
        users_function("math:no_such")
    with pytest.raises(ValueError, match="--reward math:pi is no function"):
        users_function("math:pi")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--reward", "chrf", "--gumbel-hard"], "--gumbel-hard does nothing with --objective risk"),
        (["--reward", "chrf", "--best-checkpoint-metric", "f_first"], "f_first is not logged with"),
        (["--reward", "chrf", "--best-checkpoint-metric", "reward_bertscore"], "is not logged with .* --reward chrf: "),
        (["--reward", "chrf,a:good", "--best-checkpoint-metric", "reward_bad"], "reward_bad is not logged with"),
        (["--reward", "moverscore"], "needs --bert-model"),
    ],
)
def test_options_that_do_not_fit(foreign, arguments, message):
    with pytest.raises(ValueError, match=message):
        foreign("subword_nmt").build(*RISK, *arguments)


def test_the_recipe_goes_with_any_reward(foreign, caplog, tmp_path):  # noqa: F811
    recipe = (REPOSITORY / "configs" / "recipe.flags").read_text().split()
    corpus = foreign("subword_nmt")
    with caplog.at_level(logging.INFO):
        criterion, network, _, sample = corpus.build(
            *recipe, "--score", "recall", "--cache-references", str(tmp_path / "cache"), "--reward", "chrf"
        )
    idle = "--score, --reward-matching, --lm-dtype, --cache-references"
    assert caplog.text.count(f"without effect, as BERTScore is no part of --reward chrf: {idle}\n") == 1
    assert "reward_chrf" in criterion(network, sample)[2]
    caplog.clear()
    corpus.build(*RISK, "--reward", "chrf")
    assert "without effect" not in caplog.text


def test_the_example_of_comet(foreign, monkeypatch, tmp_path):  # noqa: F811
    """As docs/any_model.md has it, with a stand-in of COMET's interface."""
    asked = []

    def predict(data, batch_size, gpus, num_workers, progress_bar):
        asked.append(data)
        return SimpleNamespace(scores=[1.0 / (1 + len(triple["mt"])) for triple in data])

    stand_in = ModuleType("comet")
    stand_in.download_model = str.upper
    stand_in.load_from_checkpoint = lambda path: {"UNBABEL/WMT22-COMET-DA": SimpleNamespace(predict=predict)}[path]
    monkeypatch.setitem(sys.modules, "comet", stand_in)
    page = (REPOSITORY / "docs" / "any_model.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "my_rewards.py").write_text(example)
    monkeypatch.syspath_prepend(tmp_path)
    reading, texts, earned = judged(foreign("sentencepiece").build(*RISK, "--reward", "my_rewards:comet"))
    expected = torch.tensor([1.0 / (1 + len(hypothesis)) for hypothesis in texts.hypotheses])
    torch.testing.assert_close(earned.reward, reading.sides.table(expected, 0.0))
    assert [triple["ref"] for triple in asked[-1]] == texts.by_candidate(texts.references)
    assert [triple["src"] for triple in asked[-1]] == texts.by_candidate(texts.sources)
