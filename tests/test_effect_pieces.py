"""The pieces of benchmarks/effect.py: what fairseq reads becomes the text again by the options that go with it."""

import pytest
from conftest import import_benchmark
from fairseq import options, tasks
from fairseq.data import encoders
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from prepared import PAIRS as ALL_PAIRS

from fairseq_bertloss.corpus.lines import write_lines

LANGUAGES = ("de", "en")
PAIRS = ALL_PAIRS[:7]  # Moses tears the <unk> of the last one
COMMANDS = {
    "training": (options.get_training_parser, ["--arch", "transformer"]),
    "translating": (options.get_generation_parser, ["--path", "x"]),
}


@pytest.fixture(scope="module")
def pieces():
    """The module of the pieces."""
    return import_benchmark("effect_pieces")


@pytest.mark.parametrize("kind", ["subword-nmt", "sentencepiece"])
def test_subwords_become_text_again(pieces, monkeypatch, tmp_path, kind):
    """Twice, as after an interruption: a dictionary of both languages, the text in lower case, no unknown symbol."""
    monkeypatch.setattr(pieces, "SUBWORDS", 80)
    text = {subset: tmp_path / subset for subset in ("train", "valid", "test")}
    for files in text.values():
        for language, lines in zip(LANGUAGES, zip(*PAIRS, strict=True), strict=True):
            write_lines(f"{files}.{language}", lines)
    own = pieces.pieces_of(kind, "no language model")
    data = tmp_path / "data"
    for _ in range(2):
        own.prepare(text, LANGUAGES, data, ["--merges", "4000"])
    for name, (parser, needed) in COMMANDS.items():
        line = [str(data), *needed, *getattr(own, name)(data, LANGUAGES)]
        cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(parser(), line))
        task = tasks.setup_task(cfg.task)
        tokenizer, bpe = encoders.build_tokenizer(cfg.tokenizer), encoders.build_bpe(cfg.bpe)
        task.load_dataset("test")
        written = (bpe.decode(task.target_dictionary.string(sample["target"])) for sample in task.dataset("test"))
        lines = [tokenizer.decode(line) if tokenizer else line for line in written]
        assert lines == [target.lower() for _, target in PAIRS]
        assert task.source_dictionary == task.target_dictionary


def test_word_pieces_are_those_of_the_language_model(pieces, tmp_path):
    assert pieces.KINDS == ("word-pieces", "subword-nmt", "sentencepiece")
    own = pieces.pieces_of("word-pieces", "LM")
    assert own.training(tmp_path, LANGUAGES) == []
    assert own.translating(tmp_path, LANGUAGES) == ["--tokenizer", "word_pieces", "--word-pieces-lm", "LM"]
