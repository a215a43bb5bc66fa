"""fairseq's --tokenizer word_pieces: raw text in, the language model's word pieces back to text.

    fairseq-generate DIR --user-dir fairseq_bertloss --tokenizer word_pieces --word-pieces-lm NAME ...
    fairseq-interactive DIR ... --tokenizer word_pieces --word-pieces-lm NAME --word-pieces-source DIR
    fairseq-train DIR ... --eval-bleu --eval-bleu-detok word_pieces --eval-bleu-detok-args '{"word_pieces_lm": "NAME"}'

In validation by BLEU, which knows no more than sacrebleu's tokenizer 13a, decoded lines have spaces around ideographs,
kana, Thai and other characters that are written without: for Chinese this is sacrebleu's BLEU with its tokenizer zh.

Give fairseq-generate and fairseq-train --required-batch-size-multiple 1 as well: with its default of 8 fairseq
leaves out the last sentences of a set, up to seven of them, without a message.
"""

from dataclasses import dataclass, field
from typing import Optional  # what fairseq's argument parser understands; it fails on `str | None`

from fairseq.data.encoders import register_tokenizer
from fairseq.dataclass import FairseqDataclass

from fairseq_bertloss.corpus.source import SourceText, is_marked, readable
from fairseq_bertloss.one_line import in_one_line


@dataclass
class WordPiecesConfig(FairseqDataclass):
    """Options of --tokenizer word_pieces."""

    word_pieces_lm: Optional[str] = field(
        default=None, metadata={"help": "language model whose pieces the target is made of: hub name or folder"}
    )
    word_pieces_source: Optional[str] = field(
        default=None,
        metadata={"help": "folder that 'bertloss prepare' wrote: raw source lines are encoded as its source side was"},
    )


@register_tokenizer("word_pieces", dataclass=WordPiecesConfig)
class WordPieces:
    """Encodes raw source lines, decodes target lines of word pieces.

    Args:
        cfg: see WordPiecesConfig.

    Raises:
        ValueError: no language model is named or it cannot be loaded, or the source folder was
            not written by `bertloss prepare`.
    """

    @in_one_line()
    def __init__(self, cfg: WordPiecesConfig):
        if not cfg.word_pieces_lm:
            raise ValueError(
                "the tokenizer word_pieces needs the language model's name: --word-pieces-lm NAME, or "
                '--eval-bleu-detok-args \'{"word_pieces_lm": "NAME"}\' in training'
            )
        # Only here: what they need is slow to import.
        from fairseq_bertloss.evaluation.target_language import words_apart
        from fairseq_bertloss.language_model import spaces, tokenization, vocabulary

        self._tokenizer = vocabulary.load_tokenizer(cfg.word_pieces_lm)
        self._detokenize = tokenization.detokenize
        self._space_mark = spaces.space_mark(self._tokenizer)
        self._vocabulary = self._tokenizer.get_vocab()
        self._source = SourceText.load(cfg.word_pieces_source) if cfg.word_pieces_source else None
        # The translation task names no tokenizer in the configuration that it makes of --eval-bleu-detok-args.
        self._finish = words_apart if cfg._name is None else str

    def encode(self, x: str) -> str:
        """The symbols that the model reads of a raw source line; without a source folder they are those of the line."""
        return self._source.encode(x) if self._source else " ".join(x.split())

    def decode(self, x: str) -> str:
        """The text of a line of word pieces; a line of the source is made readable in its own way.

        fairseq-generate passes source lines through here as well. Pieces that record spaces (Ġ, ▁)
        would run all words of such a line together.
        """
        pieces = x.split()
        return readable(x) if self._is_source(pieces) else self._finish(self._detokenize(self._tokenizer, pieces))

    def _is_source(self, pieces: list[str]) -> bool:
        """Whether these are subwords of the source side, and not word pieces."""
        if any(is_marked(piece) for piece in pieces):
            return True
        if not self._space_mark or any(piece.startswith(self._space_mark) for piece in pieces):
            return False
        # No piece has a space before it: a translation of one word, or words that are no pieces at all.
        return any(piece not in self._vocabulary for piece in pieces)
