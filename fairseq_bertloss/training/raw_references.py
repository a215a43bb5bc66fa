"""--raw-references: the training set's references as text, from a file."""

from fairseq.tasks.translation import TranslationTask
from fairseq.utils import split_paths

from fairseq_bertloss.evaluation.hypotheses import text_lines
from fairseq_bertloss.text.canonical import composed


class RawReferences:
    """The lines of a file, by the numbers of the training set's sentences.

    Args:
        path: the file.
        task: fairseq's, whose training set is not loaded yet.

    Raises:
        ValueError: the file cannot be read, or the task's sentences have other numbers than the lines of their files,
            as in data of several folders, which number theirs each for itself.
    """

    def __init__(self, path: str, task):
        if not isinstance(task, TranslationTask):
            raise ValueError(
                f"--raw-references: {type(task).__name__} numbers sentences in its own way: leave the option out"
            )
        if len(split_paths(task.cfg.data)) > 1:
            raise ValueError(
                f"--raw-references: the training set lies in several folders, {task.cfg.data}, each of which "
                "numbers its own sentences: leave the option out, or make one folder of them"
            )
        self._path = path
        self._task = task
        self._lines = [composed(line) for line in text_lines(path)]

    def __call__(self, sample: dict) -> list[str]:
        """The references of a batch of the training set.

        Raises:
            ValueError: the training set has not as many sentences as the file has lines.
        """
        sentences = len(self._task.dataset(self._task.cfg.train_subset))
        if sentences != len(self._lines):
            raise ValueError(
                f"--raw-references {self._path} has {len(self._lines)} lines, and the training set {sentences} "
                "sentences: pass the file that fairseq-preprocess read, before it was split into subwords"
            )
        return [self._lines[number] for number in sample["id"].tolist()]
