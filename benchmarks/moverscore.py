"""Pairs per second of MoverScorer and of a loop that encodes and solves one pair at a time, measured in one run.

    python benchmarks/moverscore.py --lm NAME --reference FILE HYPOTHESES [HYPOTHESES...]

The files are plain text or fairseq-generate's output. The loop scores the first system's pairs; MoverScorer the same,
then all systems' in one call.
"""

import argparse
import statistics
import time

import numpy as np
import ot
import torch
import torch.nn.functional as F

from fairseq_bertloss.evaluation.hypotheses import read_references, read_translations
from fairseq_bertloss.evaluation.moverscore import MoverScorer
from fairseq_bertloss.evaluation.words import WordFinder
from fairseq_bertloss.language_model.pretrained import encoder_config, load_encoder
from fairseq_bertloss.language_model.vocabulary import load_tokenizer


class Loop:
    """MoverScore (v2, uniform weights) as one would write it down: one pair after the other."""

    def __init__(self, lm: str):
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.tokenizer = load_tokenizer(lm)
        self.find_words = WordFinder(self.tokenizer)
        self.encoder = load_encoder(lm, encoder_config(lm)).to(self.device)

    @torch.inference_mode()
    def encode(self, text: str) -> torch.Tensor:
        batch = self.tokenizer(text, return_tensors="pt")
        hidden = self.encoder(**batch.to(self.device)).last_hidden_state[0]
        return F.normalize(hidden[self.find_words(batch["input_ids"][0].tolist())], dim=-1)

    def score(self, hypotheses: list[str], references: list[str]) -> list[float]:
        scores = []
        for hypothesis, reference in zip(hypotheses, references, strict=True):
            one, other = self.encode(hypothesis), self.encode(reference)
            distances = torch.cdist(one, other).double().cpu().numpy()
            weights = [np.full(len(words), 1 / len(words)) for words in (one, other)]
            scores.append(1 - ot.emd2(*weights, distances))
        return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lm", required=True, help="hub name or folder of the language model")
    parser.add_argument("--reference", required=True, help="references, one a line")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured; the median counts")
    parser.add_argument("hypotheses", nargs="+", help="translations of one system, one a line")
    options = parser.parse_args()
    tokenizer = load_tokenizer(options.lm)
    references = read_references(options.reference, tokenizer)
    systems = [read_translations(path, tokenizer).text for path in options.hypotheses]
    everything = [line for system in systems for line in system]

    loop, scorer = Loop(options.lm), MoverScorer(options.lm)
    contenders = {
        "loop, one system": (loop, systems[0], references),
        "MoverScorer, one system": (scorer, systems[0], references),
        f"MoverScorer, systems at once: {len(systems)}": (scorer, everything, references * len(systems)),
    }
    for contender, hypotheses, references in contenders.values():
        contender.score(hypotheses[:50], references[:50])  # warm up
    seconds = {name: [] for name in contenders}
    scores = {}
    for _ in range(options.rounds):
        for name, (contender, hypotheses, references) in contenders.items():
            start = time.perf_counter()
            scores[name] = contender.score(hypotheses, references)
            seconds[name].append((time.perf_counter() - start) / len(hypotheses))

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    print(f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}, {scorer.signature}")
    slowest = statistics.median(seconds["loop, one system"])
    for name, measured in seconds.items():
        median = statistics.median(measured)
        print(f"{name:35} {len(scores[name]):6} pairs {1 / median:8.1f} pairs/s {slowest / median:6.1f} times the loop")
    # MoverScorer's last scores are of all systems, the first system's first.
    by_loop, *others = scores.values()
    apart = max(abs(one - other) for other in others for one, other in zip(by_loop, other, strict=False))
    print(f"largest difference from the loop's scores: {apart:.1e}")


if __name__ == "__main__":
    main()
