"""Tiny models whose symbols are no language model's: subword-nmt after Moses, SentencePiece, characters.

Their data is fairseq's raw one: lines of symbols beside dictionaries, which need no fairseq-preprocess.
"""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

from fairseq.data import Dictionary
from prepared import PAIRS
from sacremoses import MosesTokenizer
from subword_nmt.apply_bpe import BPE
from subword_nmt.learn_bpe import learn_bpe
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from training import train

PLAIN = [pair for pair in PAIRS if "<unk>" not in pair[0]]
GERMAN, ENGLISH = (list(side) for side in zip(*PLAIN, strict=True))


def subword_nmt(lines: Sequence[str], language: str) -> Callable[[str], str]:
    """Moses' tokens in subword-nmt's pieces."""
    moses = MosesTokenizer(language)
    codes = io.StringIO()
    tokens = [moses.tokenize(line, return_str=True) for line in lines]
    learn_bpe(io.StringIO("\n".join(tokens)), codes, 60, min_frequency=1)
    bpe = BPE(io.StringIO(codes.getvalue()))
    return lambda line: bpe.process_line(moses.tokenize(line, return_str=True))


def sentencepiece(lines: Sequence[str], language: str) -> Callable[[str], str]:
    """A unigram model, which SentencePiece's is."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(
        lines, trainers.UnigramTrainer(vocab_size=120, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False)
    )
    return lambda line: " ".join(tokenizer.encode(line).tokens)


def characters(lines: Sequence[str], language: str) -> Callable[[str], str]:
    """fairseq's --bpe characters."""
    return lambda line: " ".join(line.replace(" ", "▁"))


TEXT_OPTIONS = {
    subword_nmt: ["--post-process", "subword_nmt", "--tokenizer", "moses", "--source-lang", "de", "--target-lang", "en"],
    sentencepiece: ["--post-process", "sentencepiece"],
    characters: ["--bpe", "characters"],
}
"""The options of fairseq-generate by which each is text again."""


def write_data(folder: Path, split_into: Callable, extra: Sequence[str] = ()) -> Path:
    """Writes the corpus as symbols: train, valid and test are the same few lines.

    Args:
        folder: where data/ goes.
        split_into: one of the functions above.
        extra: symbols for the end of both dictionaries.
    """
    data = folder / "data"
    data.mkdir()
    for language, lines in (("de", GERMAN), ("en", ENGLISH)):
        split = split_into(lines, language)
        symbols = list(map(split, lines))
        dictionary = Dictionary()
        for symbol in [*" ".join(symbols).split(), *extra]:
            dictionary.add_symbol(symbol)
        dictionary.save(str(data / f"dict.{language}.txt"))
        for subset in ("train", "valid", "test"):
            path = data / f"{subset}.de-en.{language}"
            path.write_text("".join(f"{line}\n" for line in symbols), encoding="utf-8")
    return data


def make_model(folder: Path, split_into: Callable) -> SimpleNamespace:
    """A model that has seen each sentence forty times."""
    data = write_data(folder, split_into)
    (folder / "valid.en").write_text("".join(f"{line}\n" for line in ENGLISH), encoding="utf-8")
    train(data, folder / "run", "--dataset-impl", "raw", "--criterion", "label_smoothed_cross_entropy",
          "--max-update", "40", "--save-interval-updates", "30", "--disable-validation", "--lr", "1e-2")  # fmt: skip
    return SimpleNamespace(
        data=data, run=folder / "run", checkpoint=folder / "run" / "checkpoint_last.pt",
        options=TEXT_OPTIONS[split_into], reference=str(folder / "valid.en"),
    )  # fmt: skip
