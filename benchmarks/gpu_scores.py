"""Scores the translations that gpu.sh brought back, by part of the corpus.

    python benchmarks/gpu_scores.py OUT --data ../shared/data
    python benchmarks/effect_table.py docs/results/mixed.gpu/test --parts --decoding beam5 --rows mix-0.2@1e-4x90 ...

OUT holds experiment.json and experiment.ROW.out.gz. Each row becomes a file of RESULTS/CORPUS.gpu/test, as
benchmarks/effect.py makes them; what is there is not scored again. The rows' names say their number of updates.
"""

import argparse
import gzip
import json
import sys
import tempfile
from pathlib import Path

from effect import language_model
from effect_corpora import CORPORA
from effect_experiment import REPOSITORY, write
from effect_judges import Judgement, Judges, beam_score

from fairseq_bertloss.corpus.lines import write_lines

SUBSET = "test"


def score(out: Path, data: Path, judges: Judges, results: Path) -> list[str]:
    """Scores what is not scored yet.

    Args:
        out: what gpu.sh has left.
        data: the folder of the corpora.
        judges: as of effect.py.
        results: the folder above the corpora's results.

    Returns:
        A line for each row.

    Raises:
        ValueError: there are no translations, or they are of another test set.
    """
    if not (out / "experiment.json").exists():
        raise ValueError(f"there is no experiment.json in {out}: gpu.sh makes it, in its stage `experiment`")
    runs = json.loads((out / "experiment.json").read_text(encoding="utf-8"))
    said = []
    with tempfile.TemporaryDirectory() as temporary:
        reference = Path(temporary) / "reference"
        sizes = {}
        for run in runs:
            path = results / f"{run['corpus']}.gpu" / SUBSET / f"{run['row']}.{run['seed']}.{run['decoding']}.json"
            if not path.exists():
                sizes = sizes or _write_references(run["corpus"], data, reference)
                name = run["row"].partition("@")[0]
                translated = Path(temporary) / name
                translated.write_bytes(gzip.decompress((out / f"experiment.{name}.out.gz").read_bytes()))
                judgement = judges.judge(reference, translated, Judgement({}, {}), sizes)
                scores = judgement.scores | {"beam_score": beam_score(translated)}
                write(path, json.dumps(run | judgement._replace(scores=scores)._asdict()))
            scores = json.loads(path.read_text(encoding="utf-8"))["scores"]
            said.append(f"{run['row']}: {', '.join(f'{name} {value:.4g}' for name, value in scores.items())}")
    return said


def _write_references(corpus: str, data: Path, path: Path) -> dict[str, int]:
    """The test set's references as a file; how many each part has, in order."""
    parts = CORPORA[corpus].read(data, path.parent)[SUBSET]
    write_lines(str(path), [target for pairs in parts.values() for _, target in pairs])
    return {name: len(pairs) for name, pairs in parts.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="what gpu.sh has left")
    parser.add_argument("--data", type=Path, required=True, help="folder of the corpora")
    parser.add_argument("--e5", type=Path, help="as of effect.py")
    parser.add_argument("--mpnet", type=Path, help="as of effect.py")
    parser.add_argument("--results", type=Path, default=REPOSITORY / "docs" / "results", help="one file a run")
    args = parser.parse_args()
    e5 = args.e5 or args.data.resolve().parent / "models" / "e5-small-en-es-tr"
    judges = Judges(language_model(), e5, args.mpnet)
    judges.check()
    print("\n".join(score(args.out, args.data, judges, args.results)))


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        sys.exit(f"gpu_scores.py: {error}")
