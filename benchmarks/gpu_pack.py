"""What gpu.sh's stages need on a machine without a network, in one archive.

    python3 benchmarks/gpu_pack.py FOLDER --corpus mixed --data ../shared/data --lm LM --layer 5

FOLDER/pack.tar.xz holds the corpus as fairseq-train reads it, prepared as for the paper's size in effect_sizes.py; and
the language model up to its scoring layer, in half precision.
"""

import argparse
import json
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

import torch
from effect_corpora import CORPORA
from effect_pieces import WordPieces
from effect_sizes import SIZES

from fairseq_bertloss.files import whole
from fairseq_bertloss.language_model.pretrained import encoder_config, load_encoder, scoring_layer

ARCHIVE = "pack.tar.xz"
DATA, LM = "data", "lm"
"""Its folders."""

CORPUS = "corpus.json"
"""In the folder of the data: the corpus' name."""

TOKENIZER_FILES = (".json", ".txt", ".model")


def pack(folder: Path, corpus: str, data: Path, lm: str, layer: int, limit: float) -> float:
    """Writes the archive.

    Args:
        folder: where to.
        corpus: a name of effect_corpora.py.
        data: the folder above the corpora.
        lm: folder of the language model.
        layer: its scoring layer, which is the last one in the archive.
        limit: how large the archive may be, in MiB.

    Returns:
        Its size in MiB.

    Raises:
        ValueError: it is larger than the limit, or the corpus or the language model cannot be read.
        ChildProcessError: the corpus could not be prepared.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, whole(folder / ARCHIVE) as (archive,):
        work = Path(temporary)
        halve(lm, layer, work / LM)
        CORPORA[corpus].prepare(data, work, WordPieces(lm), SIZES["paper"].prepare.split())
        shutil.rmtree(work / DATA / "text", ignore_errors=True)  # as sentences, which nothing there reads
        (work / DATA / CORPUS).write_text(json.dumps(corpus), encoding="utf-8")
        with tarfile.open(archive, "w:xz") as tar:
            for name in (DATA, LM):
                tar.add(work / name, name)
        size = archive.stat().st_size / 2**20
        if size > limit:
            raise ValueError(
                f"the pack would have {size:.1f} MiB, more than {limit:g}: raise LIMIT, or take a smaller CORPUS"
            )
    return size


def halve(lm: str, layer: int, folder: Path) -> None:
    """Saves a language model up to its scoring layer, in bfloat16: xz makes a fifth less of that than of float16.

    Raises:
        ValueError: it cannot be loaded, or has no such layer.
    """
    config = encoder_config(lm)
    config.num_hidden_layers = scoring_layer(lm, layer, config)
    load_encoder(lm, config).to(torch.bfloat16).save_pretrained(folder)
    for file in Path(lm).iterdir():  # as they are: another version of transformers might write them otherwise
        if file.suffix in TOKENIZER_FILES and file.name != "config.json":
            shutil.copy(file, folder / file.name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="to write the archive to")
    parser.add_argument("--corpus", choices=CORPORA, default="mixed", help="%(default)s by default")
    parser.add_argument("--data", type=Path, required=True, help="folder of the corpora")
    parser.add_argument("--lm", required=True, help="folder of the language model")
    parser.add_argument("--layer", type=int, required=True, help="its scoring layer")
    parser.add_argument("--limit", type=float, default=40, help="MiB that the archive may have (%(default)s)")
    args = parser.parse_args()
    size = pack(args.folder, args.corpus, args.data, args.lm, args.layer, args.limit)
    print(f"{args.folder / ARCHIVE}: {size:.1f} MiB")


if __name__ == "__main__":
    try:
        main()
    except (ValueError, ChildProcessError) as error:
        sys.exit(f"gpu_pack.py: {error}")
