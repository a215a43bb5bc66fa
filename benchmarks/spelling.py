"""How well F by `--symbols-as spelling` follows F of the text, for subword-nmt and SentencePiece dictionaries.

    python benchmarks/spelling.py --lm NAME --layer N --reference FILE --hypotheses FILE --others FILE \
        --train FILE --kinds subword_nmt sentencepiece --sizes 8000 16000 32000 --layers 4 6

Pieces are learned on --train, text, one sentence a line. The hypotheses, text or fairseq-generate's output, are split
into them and read as one-hot predictions. A row has the correlation of F with bert-score's F of the text (Pearson's and
Kendall's), the mean of their absolute difference, and the share of sentences that rank --hypotheses and --others
otherwise than the text does, of those where the text has a difference. Two kinds of rows say what that is worth: `text`
at other scoring layers, and `pieces`, the language model's own. All text is in lower case.
"""

import argparse
import io
import tempfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from pathlib import Path

import sentencepiece
import torch
from scipy.stats import kendalltau, pearsonr
from subword_nmt.apply_bpe import BPE
from subword_nmt.learn_bpe import learn_bpe
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from fairseq_bertloss import BERTScoreLoss
from fairseq_bertloss.evaluation.f_bert import FBertScorer
from fairseq_bertloss.evaluation.hypotheses import read_references, read_translations
from fairseq_bertloss.language_model.tokenization import tokenize
from fairseq_bertloss.language_model.vocabulary import Specials, load_tokenizer

Split = Callable[[str], list[str]]
SPACED_PUNCTUATION = str.maketrans({sign: f" {sign} " for sign in '!"#$%&()*+,./:;<=>?@[]^_`{|}~'})
BATCH = 100


def subword_nmt(train: Sequence[str], size: int) -> Split:
    """Splits words that stand apart from punctuation, as subword-nmt's users have them."""
    codes = io.StringIO()
    with redirect_stderr(io.StringIO()):
        learn_bpe(io.StringIO("\n".join(line.translate(SPACED_PUNCTUATION) for line in train)), codes, size)
        codes.seek(0)
        bpe = BPE(codes)
    return lambda line: bpe.process_line(line.translate(SPACED_PUNCTUATION)).split()


def sentence_piece(train: Sequence[str], size: int) -> Split:
    """Splits text as it stands."""
    with tempfile.TemporaryDirectory() as folder:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(train),
            model_prefix=f"{folder}/model",
            vocab_size=size,
            character_coverage=1.0,
            minloglevel=2,
            hard_vocab_limit=False,
        )
        processor = sentencepiece.SentencePieceProcessor(model_file=f"{folder}/model.model")
    return lambda line: processor.encode(line, out_type=str)


KINDS = {"subword_nmt": subword_nmt, "sentencepiece": sentence_piece}


def f_of_symbols(options: argparse.Namespace, split: Split, read_as: str, sides: Sequence[Sequence[str]]) -> Tensor:
    """F of each side's sentences against the last side's, (sides - 1, sentences)."""
    lines = [[split(line) for line in side] for side in sides]
    symbols = [*Specials(), *sorted({symbol for side in lines for line in side for symbol in line})]
    loss = BERTScoreLoss.from_pretrained(options.lm, symbols, options.layer, symbols_as=read_as, end_of_sentence="gold")
    index = {symbol: i for i, symbol in enumerate(symbols)}
    eos, pad = index[Specials().eos], index[Specials().pad]
    *hypotheses, references = (
        [torch.tensor([*(index[symbol] for symbol in line), eos]) for line in side] for side in lines
    )
    return torch.stack([_in_batches(loss, side, references, pad) for side in hypotheses])


def _in_batches(loss: BERTScoreLoss, hypotheses: Sequence[Tensor], references: Sequence[Tensor], pad: int) -> Tensor:
    starts = range(0, len(references), BATCH)
    padded = [
        [pad_sequence(side[i : i + BATCH], batch_first=True, padding_value=pad) for side in (hypotheses, references)]
        for i in starts
    ]
    return torch.cat([loss.score_ids(*pair).f1 for pair in padded])


def f_of_text(options: argparse.Namespace, layer: int, sides: Sequence[Sequence[str]]) -> Tensor:
    """bert-score's F, as f_of_symbols has it."""
    scorer = FBertScorer(options.lm, layer, "cpu")
    *hypotheses, references = sides
    return torch.stack([torch.tensor(scorer.score(side, references).f_bert) for side in hypotheses])


def row(name: str, f: Tensor, text: Tensor) -> str:
    """One line of the table."""
    f, text = (side.double().round(decimals=5) for side in (f, text))  # F of what is alike is 1 but for rounding
    differs = text[0] != text[1]
    rank, expected = ((side[0] - side[1]).sign()[differs] for side in (f, text))
    figures = (
        pearsonr(f[0], text[0]).statistic,
        kendalltau(f[0], text[0]).statistic,
        (f[0] - text[0]).abs().mean(),
        rank.ne(expected).double().mean(),
    )
    return f"| {name} | {' | '.join(f'{figure:.3f}' for figure in figures)} |"


def main() -> None:
    """Prints the table, a row as soon as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--lm", "--reference", "--hypotheses", "--others"):
        parser.add_argument(name, required=True)
    parser.add_argument("--layer", type=int, required=True)
    parser.add_argument("--train", nargs="+", required=True)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--sizes", nargs="*", type=int, default=[8000, 16000, 32000])
    parser.add_argument("--layers", nargs="*", type=int, default=[])
    parser.add_argument("--pieces-of", help="the model whose pieces fairseq-generate printed (default: --lm)")
    options = parser.parse_args()
    printed = load_tokenizer(options.pieces_of or options.lm)
    translations = [read_translations(path, printed).text for path in (options.hypotheses, options.others)]
    sides = [[line.lower() for line in side] for side in (*translations, read_references(options.reference, printed))]
    train = [line.lower() for path in options.train for line in Path(path).read_text(encoding="utf-8").splitlines()]
    text = f_of_text(options, options.layer, sides)
    print("| read as | Pearson | Kendall | difference of F | ranked otherwise |\n|:--|--:|--:|--:|--:|", flush=True)
    tokenizer = load_tokenizer(options.lm)
    exact = f_of_symbols(options, lambda line: tokenize(tokenizer, [line])[0], "pieces", sides)
    print(row("the language model's own pieces", exact, text), flush=True)
    for layer in options.layers:
        print(row(f"text, layer {layer}", f_of_text(options, layer, sides), text), flush=True)
    for kind in options.kinds:
        for size in options.sizes:
            f = f_of_symbols(options, KINDS[kind](train, size), "spelling", sides)
            print(row(f"{kind}, {size:,}", f, text), flush=True)


if __name__ == "__main__":
    main()
