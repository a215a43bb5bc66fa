"""Candidates of any vocabulary as text: what fairseq-generate prints, scored as `bertloss score` scores it."""

import functools

import pytest
import torch
from prepared import PAIRS
from text_models import KINDS, Foreign, foreign  # noqa: F401, a fixture
from training import bertscore, fairseq, logged, train

from fairseq_bertloss.evaluation.f_bert import FBertScorer
from fairseq_bertloss.language_model.tokenization import UNKNOWN
from fairseq_bertloss.text.canonical import composed
from fairseq_bertloss.training.generation import translations
from fairseq_bertloss.training.risk import log_probabilities

LENGTHS = ["--max-len-a", "1.5", "--max-len-b", "10"]
ONE = ["--required-batch-size-multiple", "1"]
RISK = ["--candidates", "3", "--sampled-candidates", "0"]


@pytest.mark.parametrize("kind, family", [*zip(KINDS, ("bert", "xlm-roberta", "roberta", "deberta"), strict=True)])
def test_a_candidate_scores_what_its_printed_line_does(foreign, tiny_lm, kind, family):
    corpus = foreign(kind)
    criterion, network, task, sample = corpus.build(*RISK, *corpus.undo, lm=tiny_lm(family))
    printed = corpus.generated("--beam", "3", "--nbest", "3", *LENGTHS, *corpus.undo)
    drawn = criterion.objective.translator.draw(network, sample)
    everything = torch.arange(len(drawn))
    reading = criterion.objective.drawing.reader(network, sample, everything, drawn)
    texts = criterion.rewards.texts(reading, sample, everything, True)
    assert texts.hypotheses == [spelt(line) for number in sample["id"].tolist() for line in printed[number]]
    expected = [PAIRS[number][1] for number in sample["id"].tolist()]
    assert texts.references == expected
    scores = criterion.rewards.judge(reading, texts).reported
    scorer = FBertScorer(tiny_lm(family), 2)
    of_text = scorer.score(texts.hypotheses, texts.by_candidate(expected))
    for ours, theirs in zip(scores, of_text, strict=True):
        torch.testing.assert_close(ours, torch.tensor(theirs), atol=1e-5, rtol=0)
    assert scores.f1.std() > 1e-3, "all alike: nothing was compared"


def spelt(line: str) -> str:
    """A line of fairseq-generate as text."""
    return composed(line.replace("<unk>", UNKNOWN))


MULTILINGUAL = ["--task", "translation_multi_simple_epoch", "--langs", "de,en", "--decoder-langtok"]
TAGGED = {
    "mbart": (("de_DE", "en_XX"), ["--task", "translation_from_mbart", "--langs", "de_DE,en_XX"]),
    "multilingual": (("de", "en"), [*MULTILINGUAL, "--lang-pairs", "de-en"]),
    "first": (("de", "en"), [*MULTILINGUAL, "--lang-pairs", "de-en", "--lang-tok-replacing-bos-eos"]),
}
"""Languages and options of tasks with a language's symbol at the end of targets, at their beginning, and before it."""


@pytest.fixture(scope="session")
def tagged(tmp_path_factory):
    """A function from a key of TAGGED to a corpus for it."""
    return functools.cache(
        lambda name: Foreign("sentencepiece", tmp_path_factory.mktemp(name), languages=TAGGED[name][0])
    )


@pytest.mark.parametrize("name", TAGGED)
def test_candidates_begin_and_end_as_references_do(tagged, tiny_lm, name):
    """What the decoder, reading them, says of candidates is what it said when it drew them."""
    arguments = [*RISK, *TAGGED[name][1], "--candidate-generation-args", '{"min_len": 4}']
    arguments += ["--arch", "mbart_base"] if name == "mbart" else []
    criterion, network, task, sample = tagged(name).build(*arguments, lm=tiny_lm("xlm-roberta"))
    network.eval()
    config = criterion.objective.translator._generations.training[0].config
    found = translations(task, network, sample, config)
    drawn = criterion.objective.translator.draw(network, sample)
    assert drawn == [[one["tokens"].tolist() for one in own] for own in found]
    reading = criterion.objective.drawing.reader(network, sample, torch.arange(len(drawn)), drawn)
    expected = torch.stack([one["positional_scores"].mean() for own in found for one in own])
    per_symbol = log_probabilities(reading, None) / reading.sides.candidate_lengths
    torch.testing.assert_close(per_symbol, expected, atol=1e-5, rtol=0)
    tag = {"mbart": "[en_XX]", "multilingual": "__en__", "first": None}[name]
    place = -1 if name == "mbart" else 0
    assert tag is None or {task.target_dictionary[one[place]] for own in drawn for one in own} == {tag}
    beside = [[one["tokens"].tolist() for one in own] for own in translations(task, network, sample, config, samples=2)]
    assert [own[:-2] for own in beside] == drawn
    assert tag is None or {task.target_dictionary[one[place]] for own in beside for one in own} == {tag}
    texts = criterion.rewards.texts(reading, sample, torch.arange(len(drawn)), True)
    assert texts.references == [PAIRS[i][1] for i in sample["id"].tolist()]
    assert not any(symbol in text for text in texts.hypotheses for symbol in ("[en_XX]", "__en__"))


@pytest.mark.parametrize("name", ["mbart", "multilingual"])
def test_tasks_with_language_tags(tagged, tiny_lm, tmp_path, name):
    """Two updates, the second resumed, validated and translated."""
    corpus = tagged(name)
    languages, task = TAGGED[name]
    options = [*bertscore(tiny_lm("xlm-roberta")), "--objective", "risk", *task, "--eval-f-bert"]
    options += [
        "--eval-generation-args",
        '{"max_len_b": 20}',
        "--save-interval-updates",
        "1",
        *(["--arch", "mbart_base"] if name == "mbart" else []),
    ]
    for update in (1, 2):
        done = train(corpus.data, tmp_path, *options, "--max-update", str(update))
        assert [log["train_num_updates"] for log in logged(done, "train")] == [update]
        records = logged(done, "valid")
        assert all(1 < record["valid_f_bert"] < 100 for record in records)
        assert (records[0]["valid_num_updates"] == 0) == (update == 1), "before the first update, once"
    path = ["--path", tmp_path / "checkpoint_last.pt", "-s", languages[0], "-t", languages[1]]
    generated = fairseq("generate", corpus.data, *path, *task, *corpus.undo, *LENGTHS, *ONE, "--cpu").stdout
    assert sum(line.startswith("D-") for line in generated.splitlines()) == 7


def test_each_candidate_begins_with_its_own_target_language(tagged):
    arguments = [*RISK, *MULTILINGUAL, "--lang-pairs", "de-en,en-de", "--reward", "chrf"]
    criterion, network, task, sample = tagged("multilingual").build(*arguments)
    drawn = criterion.objective.translator.draw(network, sample)
    tags = sample["target"][:, 0].tolist()
    assert {task.target_dictionary[tag] for tag in tags} == {"__de__", "__en__"}
    assert [[one[0] for one in own] for own in drawn] == [[tag] * 3 for tag in tags]
    assert criterion(network, sample)[0].isfinite()


def test_cached_references(foreign, tiny_lm, tmp_path):  # noqa: F811
    corpus = foreign("subword_nmt")
    cached, network, _, sample = corpus.build(*RISK, "--cache-references", str(tmp_path), lm=tiny_lm("bert"))
    plain = corpus.build(*RISK, lm=tiny_lm("bert"))[0]
    expected = plain(network, sample)[2]
    for _ in range(2):
        log = cached(network, sample)[2]
        torch.testing.assert_close(log["f_expected"], expected["f_expected"], atol=1e-3, rtol=0)
    assert any(path.stat().st_size for path in tmp_path.rglob("*.data"))
