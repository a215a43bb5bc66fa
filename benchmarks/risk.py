"""Where an update of --objective risk spends its time, against an update of label-smoothed cross-entropy.

    python benchmarks/risk.py DATA --checkpoint FILE --lm NAME --layer N [OPTION ...]

OPTION is one of the criterion's, such as --lm-dtype bfloat16. The checkpoint's model makes updates of both kinds in
turns, on real training batches of fairseq's; every round gives a ratio. --profile adds what torch's profiler saw in one
round of updates by risk.
"""

import argparse
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import torch
from fairseq import options, utils
from fairseq.data import LanguagePairDataset
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from loss_inputs import fairseq_batches
from loss_measure import Machine
from torch.profiler import ProfilerActivity, profile

import fairseq_bertloss
from fairseq_bertloss.forced_decoding import load_model
from fairseq_bertloss.loss.one_to_one import MATCHINGS
from fairseq_bertloss.loss.text_reward import TextReward
from fairseq_bertloss.training.rewards import Rewards

DRAWN, READ = PARTS = "candidates drawn", "candidates and references read by the LM"

TEXT = "candidates and references as text, tokenized, where none is remembered"
MATCHED = "one-to-one matching, where --reward-matching asks for it"
REST = "forward, the rest"
BACKWARD = "backward and optimizer"

OPERATIONS = 25
"""Lines of the profile."""

WAITS = ("aten::item", "aten::_local_scalar_dense", "aten::nonzero", "cudaStreamSynchronize", "cudaDeviceSynchronize")
"""What the profiler calls it where Python waits for the GPU. The first holds the second, and that the fourth."""


class Updates:
    """Trainings of one model on the same batches: by cross-entropy and by risk.

    Args:
        args: data, checkpoint, lm and layer.
        options_of_risk: more options of the criterion.
        choose: gives the batches, as indices of a data set of the translation task.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        options_of_risk: Sequence[str],
        choose: Callable[[LanguagePairDataset], list[Sequence[int]]],
    ):
        fairseq_bertloss.register()
        self._model, task = load_model(args.checkpoint, args.data)
        device = next(self._model.parameters()).device
        self._machine = Machine(device.type, torch.float32)
        self._optimizer = torch.optim.Adam(self._model.parameters(), lr=0.0)  # the model stays what it is
        layer = [] if args.layer is None else ["--bert-layer", str(args.layer)]
        self.cross_entropy = _criterion(task, args.data, "label_smoothed_cross_entropy", "--label-smoothing", "0.1")
        self.risk = _criterion(
            task, args.data, "bertscore_loss", "--objective", "risk", "--bert-model", args.lm, *layer, *options_of_risk
        )
        task.load_dataset("train")
        dataset = task.dataset("train")
        samples = (dataset.collater([dataset[i] for i in batch]) for batch in choose(dataset))
        self._batches = [utils.apply_to_sample(lambda tensor: tensor.to(device), sample) for sample in samples]
        self.parts = Counter()
        translator = self.risk.objective.translator
        translator.draw = self._timed(translator.draw, DRAWN)
        bertscore = self.risk.bertscore
        bertscore.score_candidates = self._timed(bertscore.score_candidates, READ)
        self._forget = []
        if isinstance(bertscore, TextReward):
            self._time_texts(self.risk.rewards, bertscore)
        MATCHINGS["one-to-one"] = self._timed(MATCHINGS["one-to-one"], MATCHED, part_of=READ)

    def _time_texts(self, rewards: Rewards, bertscore: TextReward) -> None:
        """Texts are made and tokenized anew in each round, although the model, and so its candidates, stay the same."""
        self._forget = [rewards.texts._target._text_of.cache_clear, bertscore._read.cache_clear]
        rewards.texts = self._timed(rewards.texts, TEXT)
        bertscore._ids = self._timed(bertscore._ids, TEXT)

    def seconds(self, criterion) -> float:
        """One update on each batch."""
        start = self._now()
        for batch in self._batches:
            self._model.train()
            self._optimizer.zero_grad()
            for forget in self._forget:
                forget()
            forward = self._now()
            loss, _, _ = criterion(self._model, batch)
            backward = self._now()
            loss.backward()
            self._optimizer.step()
            self.parts[REST] += backward - forward
            self.parts[BACKWARD] += self._now() - backward
        return self._now() - start

    def profile(self) -> str:
        """What one update by risk on each batch consists of: operations by the time they take, and how often it waits.

        Nothing is timed meanwhile, because that waits too.
        """
        machine = self._machine
        activities = [ProfilerActivity.CPU]
        order = "self_cpu_time_total"
        if machine.device == "cuda":
            activities.append(ProfilerActivity.CUDA)
            order = "self_device_time_total"
        self._machine = Machine("cpu", machine.dtype)
        try:
            with profile(activities=activities) as profiler:
                self.seconds(self.risk)
        finally:
            self._machine = machine
        averages = profiler.key_averages()
        counts = {event.key: event.count for event in averages}
        waits = ", ".join(f"{name} {counts.get(name, 0)}" for name in WAITS)
        table = averages.table(sort_by=order, row_limit=OPERATIONS, max_name_column_width=80)
        return f"{table}\nwaits for the GPU in {len(self._batches)} updates: {waits}"

    def _now(self) -> float:
        self._machine.synchronize()
        return time.perf_counter()

    def _timed(self, method, name, part_of=REST):
        def timed(*arguments):
            start = self._now()
            result = method(*arguments)
            taken = self._now() - start
            self.parts[name] += taken
            self.parts[part_of] -= taken
            return result

        return timed


def _criterion(task, data: str, name: str, *arguments: str):
    line = [data, "--criterion", name, "--arch", "transformer", *arguments]
    config = convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), line))
    return task.build_criterion(config.criterion).train()


def spread(dataset: LanguagePairDataset, max_tokens: int, number: int) -> list[Sequence[int]]:
    """Batches that fairseq-train makes, at equal distances from the shortest sentences to the longest."""
    batches = fairseq_batches(dataset, max_tokens)
    return [batches[(2 * i + 1) * len(batches) // (2 * number)] for i in range(number)]


def parser(description: str) -> argparse.ArgumentParser:
    """What is needed to make updates."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="folder that fairseq-preprocess wrote")
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--lm", required=True)
    parser.add_argument("--layer", type=int)
    parser.add_argument(
        "--rounds", type=int, default=5, help="rounds that count, after one that does not (%(default)s)"
    )
    return parser


def main() -> None:
    command = parser(__doc__)
    command.add_argument("--max-tokens", type=int, default=1792, help="tokens of a batch (%(default)s)")
    command.add_argument("--batches", type=int, default=4, help="batches of a round (%(default)s)")
    command.add_argument("--profile", action="store_true", help="what one update on each batch consists of")
    args, options_of_risk = command.parse_known_args()
    updates = Updates(args, options_of_risk, partial(spread, max_tokens=args.max_tokens, number=args.batches))
    updates.seconds(updates.cross_entropy), updates.seconds(updates.risk)
    ratios, parts = [], Counter()
    for _ in range(args.rounds):
        cross_entropy = updates.seconds(updates.cross_entropy)
        updates.parts.clear()
        ratios.append(updates.seconds(updates.risk) / cross_entropy)
        parts.update({name: taken / cross_entropy / args.rounds for name, taken in updates.parts.items()})
    print(f"an update by risk takes {statistics.median(ratios):.2f} times one by cross-entropy "
          f"({min(ratios):.2f} to {max(ratios):.2f}, {args.rounds} rounds), of which")  # fmt: skip
    for name in (*PARTS, TEXT, MATCHED, REST, BACKWARD):
        print(f"  {parts[name]:.2f}  {name}")
    if args.profile:
        print(updates.profile())


if __name__ == "__main__":
    main()
