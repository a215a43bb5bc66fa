"""Into which symbols benchmarks/effect.py splits text: the language model's word pieces, or subwords of the corpus."""

import functools
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

import effect_commands
import sentencepiece
from fairseq.data.encoders.moses_tokenizer import MosesTokenizer, MosesTokenizerConfig
from fairseq.data.encoders.sentencepiece_bpe import SentencepieceBPE, SentencepieceConfig
from fairseq.data.encoders.subword_nmt_bpe import SubwordNMTBPE, SubwordNMTBPEConfig
from subword_nmt.learn_bpe import learn_bpe

from fairseq_bertloss.corpus.lines import lowercase, raw_lines, write_lines

WORD_PIECES = "word-pieces"

SUBWORDS = 8000
"""Merges of subword-nmt, or pieces of SentencePiece, learned on both languages together."""

Languages = tuple[str, str]
"""Codes of the source's language and the target's."""


class WordPieces:
    """The language model's own on the target side, subwords on the source side: what `bertloss prepare` makes.

    Args:
        lm: the language model's folder.
    """

    def __init__(self, lm: str):
        self._lm = lm

    def prepare(self, text: dict[str, Path], languages: Languages, destdir: Path, options: list[str]) -> None:
        """Lower-cased text as what fairseq reads.

        Args:
            text: for each subset the path of its files, without the codes of the languages that these end in.
            languages: of the files.
            destdir: where to.
            options: of `bertloss prepare`.

        Raises:
            ChildProcessError: a command failed.
        """
        source, target = languages
        sides = []
        for subset, files in text.items():
            prefix = "" if subset == "train" else f"{subset}-"
            sides += [f"--{prefix}source", f"{files}.{source}", f"--{prefix}target", f"{files}.{target}"]
        named = ["--source-lang", source, "--target-lang", target]
        effect_commands.call(
            "bertloss", "prepare", *sides, "--lm", self._lm, *named, "--lowercase", *options, "--destdir", destdir
        )

    def training(self, data: Path, languages: Languages) -> list[str]:
        """fairseq-train's options that make text of the symbols in a folder of prepared data: none are needed."""
        return []

    def translating(self, data: Path, languages: Languages) -> list[str]:
        """fairseq-generate's."""
        return ["--tokenizer", "word_pieces", "--word-pieces-lm", self._lm]


class _Subwords(ABC):
    """One dictionary of both languages, whose model lies in the folder of the prepared data."""

    def prepare(self, text: dict[str, Path], languages: Languages, destdir: Path, options: list[str]) -> None:
        """As WordPieces.prepare(), without its options."""
        shutil.rmtree(destdir, ignore_errors=True)  # fairseq-preprocess overwrites no dictionary
        pieces = destdir / "pieces"
        pieces.mkdir(parents=True)
        lines = {
            (subset, language): [
                self._words(lowercase(line, language), language) for line in raw_lines(f"{files}.{language}")
            ]
            for subset, files in text.items()
            for language in languages
        }
        learning = pieces / "learning"
        write_lines(learning, (line for language in languages for line in lines["train", language]))
        self._learn(learning, destdir)
        split = self._splitter(destdir)
        for (subset, language), words in lines.items():
            write_lines(pieces / f"{subset}.{language}", map(split, words))
        source, target = languages
        prefixes = [option for subset in text for option in (f"--{subset}pref", pieces / subset)]
        effect_commands.call("fairseq-preprocess", "--source-lang", source, "--target-lang", target, *prefixes,
                             "--joined-dictionary", "--destdir", destdir, "--workers", "1")  # fmt: skip

    def training(self, data: Path, languages: Languages) -> list[str]:
        """fairseq-train's options that make text of the symbols in a folder of prepared data."""
        source, target = languages
        return [*self._joining(data), "--source-lang", source, "--target-lang", target]

    translating = training

    def _words(self, line: str, language: str) -> str:
        """What is split."""
        return line

    @abstractmethod
    def _learn(self, text: Path, data: Path) -> None:
        """Writes the model into the folder of the prepared data."""

    @abstractmethod
    def _splitter(self, data: Path) -> Callable[[str], str]: ...

    @abstractmethod
    def _joining(self, data: Path) -> list[str]: ...


class SubwordNmt(_Subwords):
    """Subwords of subword-nmt, of what Moses' tokenizer leaves, as fairseq's own examples have them."""

    def _words(self, line: str, language: str) -> str:
        return _moses(language).encode(line)

    def _learn(self, text: Path, data: Path) -> None:
        with text.open(encoding="utf-8") as lines, self._codes(data).open("w", encoding="utf-8") as codes:
            learn_bpe(lines, codes, SUBWORDS)

    def _splitter(self, data: Path) -> Callable[[str], str]:
        return SubwordNMTBPE(SubwordNMTBPEConfig(bpe_codes=str(self._codes(data)))).encode

    def _joining(self, data: Path) -> list[str]:
        return ["--bpe", "subword_nmt", "--bpe-codes", str(self._codes(data)), "--tokenizer", "moses"]

    def _codes(self, data: Path) -> Path:
        return data / "codes"


class SentencePiece(_Subwords):
    """SentencePiece's unigrams of the text as it stands."""

    def _learn(self, text: Path, data: Path) -> None:
        sentencepiece.SentencePieceTrainer.train(
            input=str(text), model_prefix=str(self._model(data).with_suffix("")), vocab_size=SUBWORDS, minloglevel=2
        )

    def _splitter(self, data: Path) -> Callable[[str], str]:
        return SentencepieceBPE(SentencepieceConfig(sentencepiece_model=str(self._model(data)))).encode

    def _joining(self, data: Path) -> list[str]:
        return ["--bpe", "sentencepiece", "--sentencepiece-model", str(self._model(data))]

    def _model(self, data: Path) -> Path:
        return data / "sentencepiece.model"


@functools.cache
def _moses(language: str) -> MosesTokenizer:
    return MosesTokenizer(MosesTokenizerConfig(source_lang=language))


Pieces = WordPieces | SubwordNmt | SentencePiece

_SUBWORDS = {"subword-nmt": SubwordNmt, "sentencepiece": SentencePiece}
KINDS = (WORD_PIECES, *_SUBWORDS)


def pieces_of(kind: str, lm: str) -> Pieces:
    """The pieces of a kind.

    Args:
        kind: one of KINDS.
        lm: folder of the language model whose word pieces they are, if they are.
    """
    return WordPieces(lm) if kind == WORD_PIECES else _SUBWORDS[kind]()
