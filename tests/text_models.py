"""Translation models of other vocabularies than a language model's: real text in pieces learned on the spot."""

import contextlib
import functools
import io
from pathlib import Path

import pytest
import sentencepiece
import torch
from fairseq import options, tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq_cli import generate, preprocess
from omegaconf import OmegaConf
from prepared import PAIRS
from subword_nmt.apply_bpe import BPE
from subword_nmt.learn_bpe import learn_bpe
from tokenizers import ByteLevelBPETokenizer
from training import MODELS, PACKAGE, bertscore

TEXT = [line for pair in PAIRS[:7] for line in pair]
SYMBOLS = ["<s>", "</s>", "<pad>", "<unk>"]


def subword_nmt(folder: Path):
    """Encoder of lines, and fairseq's options that undo it."""
    codes = io.StringIO()
    with contextlib.redirect_stderr(io.StringIO()):
        learn_bpe(io.StringIO("\n".join(TEXT)), codes, 60)
    path = folder / "codes"
    path.write_text(codes.getvalue(), encoding="utf-8")
    codes.seek(0)
    return BPE(codes).process_line, ["--bpe", "subword_nmt", "--bpe-codes", str(path)]


def sentence_piece(folder: Path):
    text = folder / "text"
    text.write_text("\n".join(TEXT * 5), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(folder / "sp"), vocab_size=120, minloglevel=2, hard_vocab_limit=False
    )
    model = str(folder / "sp.model")
    encode = functools.partial(sentencepiece.SentencePieceProcessor(model_file=model).encode, out_type=str)
    return lambda line: " ".join(encode(line)), ["--bpe", "sentencepiece", "--sentencepiece-model", model]


def gpt2(folder: Path):
    """Byte-level pieces by their numbers."""
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(TEXT, vocab_size=330, show_progress=False)
    tokenizer.save_model(str(folder))
    options = ["--bpe", "gpt2", "--gpt2-encoder-json", str(folder / "vocab.json")]
    return (
        lambda line: " ".join(map(str, tokenizer.encode(line).ids)),
        [*options, "--gpt2-vocab-bpe", str(folder / "merges.txt")],
    )


def characters(folder: Path):
    return lambda line: " ".join(line.replace(" ", "▁")), ["--post-process", "sentencepiece"]


KINDS = {"subword_nmt": subword_nmt, "sentencepiece": sentence_piece, "gpt2": gpt2, "characters": characters}


class Foreign:
    """A corpus in pieces of a kind, binarized, and fairseq's options that undo them."""

    def __init__(self, kind: str, folder: Path, languages: tuple[str, str] = ("de", "en")):
        encode, self.undo = KINDS[kind](folder)
        self.folder = folder
        self.data = folder / "data"
        prefix = str(folder / "lines")
        for language, lines in zip(languages, zip(*PAIRS[:7], strict=True), strict=True):
            text = "".join(f"{encode(line)}\n" for line in lines)
            Path(f"{prefix}.{language}").write_text(text, encoding="utf-8")
        source, target = languages
        line = ["-s", source, "-t", target, "--joined-dictionary", "--destdir", str(self.data), "--workers", "1"]
        line += ["--padding-factor", "1"]  # fairseq's --bpe gpt2 fails at what rounds a dictionary up
        line += [f"--{split}pref={prefix}" for split in ("train", "valid", "test")]
        preprocess.main(options.get_preprocessing_parser().parse_args(line))

    def build(self, *arguments: str, lm: str | None = None):
        """Criterion, model, task and training data as fairseq-train builds them."""
        line = [str(self.data), *MODELS["transformer"].split(), "--dropout", "0", "--user-dir", str(PACKAGE), "--cpu"]
        line += [*(bertscore(lm) if lm else ["--criterion", "bertscore_loss"]), "--objective", "risk", *arguments]
        cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), line))
        torch.manual_seed(1)
        task = tasks.setup_task(cfg.task)
        network = task.build_model(cfg.model)
        criterion = task.build_criterion(cfg.criterion)
        task.load_dataset("train")
        data = task.dataset("train")
        self._cfg, self._network = cfg, network
        return criterion, network, task, data.collater([data[i] for i in range(len(data))])

    def generated(self, *arguments: str) -> list[list[str]]:
        """The D- lines of each sentence that fairseq-generate prints of the model that was built last."""
        path = self.folder / "checkpoint.pt"
        cfg = OmegaConf.to_container(self._cfg, resolve=True, enum_to_str=True)
        state = {"args": None, "cfg": cfg, "model": self._network.state_dict()}
        history = [{"criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {}, "num_updates": 0}]
        extra_state = {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0}}
        torch.save(state | {"optimizer_history": history, "extra_state": extra_state}, path)
        line = [str(self.data), "--path", str(path), "--gen-subset", "train", "--cpu", "--user-dir", str(PACKAGE)]
        line += ["--required-batch-size-multiple", "1", "--batch-size", "1", *arguments]
        cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_generation_parser(), line))
        output = io.StringIO()
        generate._main(cfg, output)
        found = [[] for _ in range(7)]
        for printed in output.getvalue().splitlines():
            kind, _, rest = printed.partition("-")
            if kind == "D":
                number, _, text = rest.split("\t")
                found[int(number)].append(text)
        return found


@pytest.fixture(scope="session")
def foreign(tmp_path_factory):
    """A function from a kind of pieces to its corpus, made once."""
    return functools.cache(lambda kind: Foreign(kind, tmp_path_factory.mktemp(kind)))
