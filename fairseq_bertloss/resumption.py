"""A killed training goes on: fairseq's checkpoint_last.pt made whole again.

    bertloss mend SAVE_DIR

fairseq writes a checkpoint beside its place and moves it there, but copies checkpoint_last.pt from it: whoever kills the
training in the middle of that leaves half of a file, from which no training starts.
"""

import re
import shutil
import zipfile
from pathlib import Path

from fairseq_bertloss.files import whole

SAVED = re.compile(r"checkpoint(\d+|_\d+_\d+|_best|\.best_\S+)\.pt")
"""Names that fairseq gives to its other checkpoints."""


def mend(folder: str) -> Path | None:
    """Replaces a broken checkpoint_last.pt by the newest whole checkpoint beside it.

    Args:
        folder: fairseq-train's --save-dir; it need not exist.

    Returns:
        The checkpoint that has taken its place; None: nothing was broken.

    Raises:
        ValueError: there is no whole checkpoint.
    """
    last = Path(folder, "checkpoint_last.pt")
    if not last.exists() or is_whole(last):
        return None
    saved = [path for path in Path(folder).iterdir() if SAVED.fullmatch(path.name)]
    for path in sorted(saved, key=lambda path: path.stat().st_mtime, reverse=True):
        if is_whole(path):
            with whole(last) as (partial,):
                shutil.copyfile(path, partial)
            return path
    raise ValueError(
        f"{last} is broken, and no whole checkpoint stands beside it: remove it, and training starts from the beginning"
    )


def is_whole(checkpoint: Path) -> bool:
    """Whether all of a file is there that torch has written; torch's old format cannot tell, and counts as whole."""
    with checkpoint.open("rb") as file:
        start = file.read(2)
    if start not in (b"", b"PK"):
        return True
    try:
        with zipfile.ZipFile(checkpoint) as archive:
            return archive.testzip() is None
    except zipfile.BadZipFile:
        return False
