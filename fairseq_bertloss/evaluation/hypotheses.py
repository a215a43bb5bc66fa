"""Translations from plain text files and from what fairseq-generate printed."""

import re

from fairseq_bertloss.vocabulary import detokenize

GENERATED = re.compile(r"H-(\d+)\t[^\t]*\t(.*)")


def read_lines(path: str) -> list[str]:
    """The lines of a UTF-8 text file, which end at line feeds alone.

    Raises:
        ValueError: missing, empty or not UTF-8.
    """
    try:
        with open(path, encoding="utf-8", newline="\n") as file:
            lines = [line.rstrip("\r\n") for line in file]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read {path}: {error}") from error
    if not lines:
        raise ValueError(f"{path} is empty")
    return lines


def read_hypotheses(path: str, tokenizer) -> list[str]:
    """One translation a sentence, in the order of the test set.

    Args:
        path: plain text, or fairseq-generate's output: of that the best hypotheses (the first H- line of
            each sentence) are taken, put in order and joined from word pieces to text.
        tokenizer: the language model's, whose pieces the model was trained on.

    Raises:
        ValueError: the file cannot be read, or sentences are missing from fairseq-generate's output.
    """
    lines = read_lines(path)
    best = {}
    for match in filter(None, map(GENERATED.fullmatch, lines)):
        best.setdefault(int(match[1]), match[2])
    if not best:
        return lines
    missing = next((i for i in range(len(best)) if i not in best), None)
    if missing is not None:
        raise ValueError(
            f"{path}: the output of fairseq-generate has {len(best)} sentences but not number {missing}; "
            "was it cut off? Generate again"
        )
    return [detokenize(tokenizer, best[i].split()) for i in range(len(best))]
