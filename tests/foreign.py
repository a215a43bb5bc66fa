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
from training import fairseq, train

PLAIN = [pair for pair in PAIRS if "<unk>" not in pair[0]]
GERMAN, ENGLISH = (list(side) for side in zip(*PLAIN, strict=True))


def subword_nmt(folder: Path, lines: Sequence[str], language: str) -> Callable[[str], str]:
    """Moses' tokens in subword-nmt's pieces; the merges are left in the folder."""
    moses = MosesTokenizer(language)
    codes = folder / f"codes.{language}"
    tokens = [moses.tokenize(line, return_str=True) for line in lines]
    with codes.open("w", encoding="utf-8") as file:
        learn_bpe(io.StringIO("\n".join(tokens)), file, 60, min_frequency=1)
    with codes.open(encoding="utf-8") as file:
        bpe = BPE(file)
    return lambda line: bpe.process_line(moses.tokenize(line, return_str=True))


def sentencepiece(folder: Path, lines: Sequence[str], language: str) -> Callable[[str], str]:
    """A unigram model, which SentencePiece's is."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    options = dict(vocab_size=120, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False)
    tokenizer.train_from_iterator(lines, trainers.UnigramTrainer(**options))
    return lambda line: " ".join(tokenizer.encode(line).tokens)


def characters(folder: Path, lines: Sequence[str], language: str) -> Callable[[str], str]:
    """Those of fairseq's encoder `characters`, which its commands no longer know as --bpe."""
    return lambda line: " ".join(line.replace(" ", "▁"))


def write_data(folder: Path, split_into: Callable, source: str = "de", target: str = "en") -> Path:
    """Writes the corpus as symbols into data/: train, valid and test are the same few lines.

    Args:
        folder: where data/ goes.
        split_into: one of the functions above.
        source, target: what the languages are called.
    """
    data = folder / "data"
    data.mkdir()
    for language, lines in ((source, GERMAN), (target, ENGLISH)):
        split = split_into(folder, lines, language[:2])
        symbols = list(map(split, lines))
        dictionary = Dictionary()
        for symbol in " ".join(symbols).split():
            dictionary.add_symbol(symbol)
        dictionary.save(str(data / f"dict.{language}.txt"))
        for subset in ("train", "valid", "test"):
            write_lines(data / f"{subset}.{source}-{target}.{language}", symbols)
    return data


def binarize(data: Path) -> Path:
    """The same data as fairseq-preprocess writes it, which translation_multi_simple_epoch wants."""
    binary = data.parent / "binary"
    fairseq("preprocess", "--source-lang", "de", "--target-lang", "en", "--destdir", binary,
            "--trainpref", data / "train.de-en", "--testpref", data / "test.de-en",
            "--srcdict", data / "dict.de.txt", "--tgtdict", data / "dict.en.txt")  # fmt: skip
    return binary


def make_model(folder: Path, split_into: Callable) -> SimpleNamespace:
    """A model that has seen each sentence ten times; fairseq keeps a checkpoint that is not at an epoch's end."""
    data = write_data(folder, split_into)
    sizes = ["--batch-size", "4", "--max-update", "20", "--save-interval-updates", "19", "--lr", "1e-2"]
    save_dir = train_on(data, *RAW, *sizes)
    return SimpleNamespace(
        folder=folder, data=data, kept=save_dir / "checkpoint_10_19.pt", checkpoint=save_dir / "checkpoint_last.pt",
        reference=write_lines(folder / "test.en", ENGLISH),
    )  # fmt: skip


RAW = ["--dataset-impl", "raw"]


def train_on(data: Path, *options: str) -> Path:
    """The folder beside the data in which fairseq-train left its checkpoints."""
    save_dir = data.parent / "run"
    train(data, save_dir, "--criterion", "label_smoothed_cross_entropy",
          "--disable-validation", *options)  # fmt: skip
    return save_dir


def write_lines(path: Path, lines: Sequence[str]) -> str:
    """Writes lines into a file and returns its path."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(path)


def generate(data: Path, checkpoint: Path, *options: str) -> str:
    """The file beside the data of what fairseq-generate prints."""
    done = fairseq(
        "generate", data, "--path", checkpoint, "--cpu", "--beam", "2",
        "--required-batch-size-multiple", "1", "--max-len-b", "40", *options,
    )  # fmt: skip
    output = data.parent / "test.out"
    output.write_text(done.stdout, encoding="utf-8")
    return str(output)
