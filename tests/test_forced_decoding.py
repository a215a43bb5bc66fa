"""Forced decoding of real models: what fairseq-generate printed is the oracle; entropies against a plain twin."""

import math
import re
import shutil
import statistics
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fairseq.data import Dictionary
from lms import TEXT
from training import fairseq, train

from fairseq_bertloss import cli
from fairseq_bertloss.checkpoints.loading import allow_fairseq_classes
from fairseq_bertloss.encoders import WordPieces, WordPiecesConfig
from fairseq_bertloss.evaluation.generated import Generated
from fairseq_bertloss.evaluation.hypotheses import read_generated
from fairseq_bertloss.evaluation.same_test_set import check_same_targets
from fairseq_bertloss.forced_decoding import (
    BIN_WIDTH,
    distribution,
    entropies,
    forced_log_probabilities,
    forced_samples,
    load_model,
)
from fairseq_bertloss.language_model.vocabulary import load_tokenizer

allow_fairseq_classes()


@pytest.fixture(scope="module")
def translated(corpus, tiny_lm, tmp_path_factory):
    """A small model and its translations of the test subset, the best five of each sentence."""
    folder = tmp_path_factory.mktemp("translated")
    train(corpus, folder, "--criterion", "label_smoothed_cross_entropy", "--max-update", "40", "--disable-validation",
          "--dropout", "0.1")  # fmt: skip
    checkpoint = folder / "checkpoint_last.pt"
    done = fairseq("generate", corpus, "--path", checkpoint, "--cpu", "--gen-subset", "test", "--beam", "5",
                   "--nbest", "5", "--max-tokens", "4000", "--required-batch-size-multiple", "1",
                   "--tokenizer", "word_pieces", "--word-pieces-lm", tiny_lm("bert"))  # fmt: skip
    output = folder / "test.out"
    output.write_text(done.stdout)
    return SimpleNamespace(data=str(corpus), checkpoint=str(checkpoint), output=output)


def printed(path, kind):
    """Sentence -> the fields of its first line of a kind."""
    fields = {}
    for line in path.read_text().splitlines():
        if line.startswith(f"{kind}-"):
            number, *rest = line.split("\t")
            fields.setdefault(int(number[2:]), rest)
    return fields


def test_probabilities_are_those_that_fairseq_generate_printed(translated):
    scores, positional = (printed(translated.output, kind) for kind in "HP")
    model, task = load_model(translated.checkpoint, translated.data)
    path = str(translated.output)
    samples = forced_samples(task, translated.data, "test", (path, read_generated(path)))
    forced = forced_log_probabilities(model, task, "test", samples, 4000)
    decoded = {sample_id: (target, log_probabilities) for sample_id, target, log_probabilities in forced}
    assert sorted(decoded) == sorted(positional) == list(range(5))
    assert len({len(target) for target, _ in decoded.values()}) > 1, "no padding in the batch"
    for i, (target, log_probabilities) in decoded.items():
        bits = log_probabilities.gather(-1, target[:, None]).squeeze(-1) / math.log(2)
        with_four_digits = [float(p) for p in positional[i][0].split()]
        assert bits.tolist() == pytest.approx(with_four_digits, abs=1e-4)
        assert bits.mean().item() == pytest.approx(float(scores[i][0]), abs=1e-5)


def test_entropy_is_that_of_one_sentence_at_a_time(translated):
    (found,) = entropies(translated.data, "test", [("small", translated.checkpoint, str(translated.output))])
    model, task = load_model(translated.checkpoint, translated.data)
    hypotheses = printed(translated.output, "H")
    task.load_dataset("test")
    expected = []
    for i in range(5):
        ids = [task.target_dictionary.index(symbol) for symbol in hypotheses[i][1].split()]
        source = task.dataset("test")[i]["source"][None]
        previous = torch.tensor([[task.target_dictionary.eos(), *ids]])
        with torch.no_grad():
            logits, _ = model(source, torch.tensor([source.size(1)]), previous)
        probabilities = logits[0].double().softmax(dim=-1)
        expected += (-(probabilities * probabilities.log()).sum(dim=-1)).tolist()
    assert (found.system, found.subset, found.vocabulary) == ("small", "test", len(task.target_dictionary))
    assert found.mean == pytest.approx(statistics.fmean(expected), abs=1e-5)
    assert found.median == pytest.approx(statistics.median(expected), abs=1e-5)
    assert sum(found.counts) == len(expected)
    middles = (np.arange(len(found.counts)) + 0.5) * found.bin_width
    assert np.repeat(middles, found.counts) == pytest.approx(sorted(expected), abs=found.bin_width / 2 + 1e-5)


def test_batches_change_nothing(translated):
    system = ("small", translated.checkpoint, str(translated.output))
    (together,), (apart,) = (entropies(translated.data, "test", [system], size) for size in (4000, 40))
    assert together.mean == pytest.approx(apart.mean, abs=1e-5)
    assert together.median == pytest.approx(apart.median, abs=1e-5)


def test_device(translated, capsys):
    line = ["entropy", translated.data, "--system", "small", translated.checkpoint, str(translated.output)]
    assert cli.main([*line, "--device", "cpu"]) == 0
    assert "small" in capsys.readouterr().out
    assert cli.main([*line, "--device", "abc"]) == 2
    assert "--device abc cannot be used here" in capsys.readouterr().err
    model, _ = load_model(translated.checkpoint, translated.data, device="meta")
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}


def edited(translated, path, change):
    """A copy of the checkpoint after a change of its content."""
    state = torch.load(translated.checkpoint)
    change(state)
    torch.save(state, path)
    return str(path)


def test_what_the_checkpoint_was_trained_with_may_be_gone(translated, tmp_path):
    def move(state):
        state["cfg"]["common"]["user_dir"] = "/gone/fairseq_bertloss"
        task = {"data": "/gone/data", "eval_bleu": True, "eval_bleu_detok": "word_pieces"}
        state["cfg"]["task"].update(task, eval_bleu_detok_args='{"word_pieces_lm": "/gone/lm"}')

    moved = edited(translated, tmp_path / "moved.pt", move)
    generated = str(translated.output)
    here, there = entropies(translated.data, "test", [("a", translated.checkpoint, generated), ("b", moved, generated)])
    assert (here.mean, here.counts) == (there.mean, there.counts)


def test_a_model_that_knows_nothing_has_the_entropy_of_the_uniform_distribution(translated, tmp_path):
    def forget(state):
        state["model"]["decoder.output_projection.weight"].zero_()

    blank = edited(translated, tmp_path / "blank.pt", forget)
    with pytest.raises(ValueError, match=r"test.out was not generated by .*blank.pt: .* \(\d\.\d\d bits apart"):
        entropies(translated.data, "test", [("blank", blank, str(translated.output))])
    unchecked = tmp_path / "unchecked.out"
    unchecked.write_text(re.sub(r"^P-.*\n", "", translated.output.read_text(), flags=re.MULTILINE))
    (found,) = entropies(translated.data, "test", [("blank", blank, str(unchecked))])
    assert found.mean == pytest.approx(math.log(found.vocabulary), abs=1e-5)
    assert len(found.counts) == math.ceil(math.log(found.vocabulary) / BIN_WIDTH)
    assert found.counts[-1] == sum(found.counts)


def test_distribution_of_known_values():
    found = distribution("s", "test", 2, [0.0, 0.005, 0.025, math.log(2) + 1e-7])
    assert len(found.counts) == 70
    assert {i: count for i, count in enumerate(found.counts) if count} == {0: 2, 2: 1, 69: 1}
    assert found.median == pytest.approx(0.015)
    assert found.mean == pytest.approx((0.03 + math.log(2)) / 4)


def test_numbers_that_are_not_finite(translated, tmp_path):
    def break_weights(state):
        state["model"]["decoder.output_projection.weight"][7] = math.nan

    broken = edited(translated, tmp_path / "broken.pt", break_weights)
    with pytest.raises(ValueError, match="broken.pt gives probabilities that are not finite"):
        entropies(translated.data, "test", [("broken", broken, str(translated.output))])


def other_dictionary(translated, folder):
    shutil.copytree(translated.data, folder)
    with open(folder / "dict.en.txt", "a") as file:
        file.write("".join(f"another{i} 1\n" for i in range(9)))
    return str(folder)


@pytest.mark.parametrize(
    "pattern, changed, message",
    [
        ("^H-", "X-", "gen.out has no H- lines"),
        ("^H-4", "H-5", "gen.out: .* 5 sentences but not number 4"),
        ("^H-4", "Z-4", "gen.out has 4 sentences and the subset 'test' of .*data has 5"),
        (r"^(H-2\t.*\t)", r"\1notapiece ", "gen.out: sentence 2 has 'notapiece', which is not in the target"),
    ],
)
def test_output_that_does_not_belong(translated, tmp_path, pattern, changed, message):
    text = re.sub(pattern, changed, translated.output.read_text(), flags=re.MULTILINE)
    (tmp_path / "gen.out").write_text(text)
    with pytest.raises(ValueError, match=message):
        entropies(translated.data, "test", [("s", translated.checkpoint, str(tmp_path / "gen.out"))])


def test_output_of_another_test_set(translated, tmp_path):
    """Each sentence has its neighbour's target; without targets nobody can tell."""
    path = tmp_path / "gen.out"
    text = translated.output.read_text()
    path.write_text(re.sub(r"^T-(\d)", lambda match: f"T-{(int(match[1]) + 1) % 5}", text, flags=re.MULTILINE))
    with pytest.raises(ValueError, match="gen.out is of another test set than the subset 'test' of .*: its line T-"):
        entropies(translated.data, "test", [("s", translated.checkpoint, str(path))])
    path.write_text(re.sub(r"^T-.*\n", "", text, flags=re.MULTILINE))
    assert entropies(translated.data, "test", [("s", translated.checkpoint, str(path))])


@pytest.mark.parametrize("family", ["roberta", "deberta", "xlm-roberta", "bert"])
def test_targets_as_text_are_known_by_any_dictionary(family, tiny_lm):
    """Text is what fairseq-generate prints with --tokenizer word_pieces; byte-level pieces are in other letters."""
    lm = tiny_lm(family)
    text = [*TEXT, "Für Größe und Höhe gäbe es später noch Übungen.", "Çocuğun şapkası ışığın altında.", "一只狗在跑。"]
    references = [" ".join(load_tokenizer(lm).tokenize(line)) for line in text]
    decoder = WordPieces(WordPiecesConfig(word_pieces_lm=lm))
    targets = [decoder.decode(line) for line in references]
    assert all(map(agrees, targets, references))
    with pytest.raises(ValueError, match="gen.out is of another test set than the subset 'test': its line T-0 is"):
        check_same_targets("gen.out", [*targets[1:], targets[0]], "the subset 'test'", references)


def agrees(target: str, reference: str) -> bool:
    """Whether a target alone passes for its reference."""
    try:
        check_same_targets("gen.out", [target], "the subset 'test'", [reference])
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    "pieces", ["caf ##e ##\u0301 au lait", "caf ##é au lait", "▁caf é ▁au ▁lait", "cafÃ© Ġau Ġlait"]
)
def test_an_accent_is_its_letters_in_any_pieces(pieces):
    assert agrees("café au lait", pieces) and not agrees("cafe au lait", pieces)


def test_checkpoints_and_data_that_do_not_fit(translated, tmp_path):
    generated = str(translated.output)
    (tmp_path / "text.pt").write_text("no checkpoint")
    torch.save({"weights": torch.zeros(2)}, tmp_path / "tensors.pt")
    other = other_dictionary(translated, tmp_path / "data")
    cases = [
        (translated.data, "missing.pt", "there is no checkpoint .*missing.pt"),
        (translated.data, "text.pt", "text.pt is not a checkpoint of fairseq-train"),
        (translated.data, "tensors.pt", "tensors.pt is not a checkpoint of fairseq-train"),
        (other, translated.checkpoint, "checkpoint_last.pt cannot be built with the data folder .*size mismatch"),
        (str(tmp_path), translated.checkpoint, "cannot be built with the data folder"),
    ]
    for data, checkpoint, message in cases:
        with pytest.raises(ValueError, match=message):
            entropies(data, "test", [("s", str(tmp_path / checkpoint), generated)])
    with pytest.raises(FileNotFoundError, match="nosuch"):
        entropies(translated.data, "nosuch", [("s", translated.checkpoint, generated)])
    with pytest.raises(ValueError, match="--max-tokens must be at least"):
        entropies(translated.data, "test", [("s", translated.checkpoint, generated)], max_tokens=3)


class Mbart:
    """A task whose targets end with a language's symbol, which fairseq-generate does not print."""

    def __init__(self):
        self.target_dictionary = Dictionary()
        self.symbols = [self.target_dictionary.add_symbol(symbol) for symbol in ("a", "dog", "[en_XX]")]

    def load_dataset(self, subset):
        pass

    def dataset(self, subset):
        a, dog, tag = self.symbols
        return [{"target": torch.tensor([*text, 2, tag])} for text in ([], [a, dog])]

    def build_generator(self, models, options):
        return SimpleNamespace(symbols_to_strip_from_output={self.symbols[-1]})


def test_what_the_targets_of_a_task_end_with():
    task = Mbart()
    a, dog, tag = task.symbols
    generated = Generated(["dog", "a a"], ["", "a dog"], None)
    samples = forced_samples(task, "data", "test", ("gen.out", generated))
    assert [sample["target"].tolist() for sample in samples] == [[dog, 2, tag], [a, a, 2, tag]]
