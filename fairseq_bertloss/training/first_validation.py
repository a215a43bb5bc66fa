"""A validation before the first update, so that the log shows where a fine-tuning starts.

fairseq validates after updates alone, and has no option for it. Its doors are enough, though: the first batch of a
training brings the model to the criterion, which has the task, whose validation sets are loaded by then. What fairseq's
`validate` and `Trainer.valid_step` do with a batch is done here by the task's own iterator, valid_step and
reduce_metrics, so that the figures are those of any other validation. The log has them as of epoch 0 and update 0.

Training does not notice. Random numbers, the modes of modules, gradients and the meters of training are as without it;
the figures count neither for the best checkpoint nor for --patience.
"""

import contextlib
import logging
import os
import random
from collections.abc import Iterator

import numpy as np
import torch
from fairseq import utils
from fairseq.data.iterators import EpochBatchIterating
from fairseq.distributed import utils as distributed
from fairseq.logging import metrics
from fairseq.logging.progress_bar import progress_bar
from fairseq.models import BaseFairseqModel
from torch import nn

from fairseq_bertloss.training.config import BERTScoreCriterionConfig
from fairseq_bertloss.training.decoder_output import unwrapped
from fairseq_bertloss.training.generation import evaluating
from fairseq_bertloss.training.log import updates_so_far

logger = logging.getLogger(__name__)


class FirstValidation:
    """Validates once, where a training starts: not where it is resumed, nor where validation is off or begins later.

    Args:
        cfg: the criterion's options.
        task: fairseq's, with its validation sets.
    """

    def __init__(self, cfg: BERTScoreCriterionConfig, task):
        self._cfg = cfg
        self._task = task
        self._is_due = True

    def __call__(self, criterion: nn.Module, model: nn.Module) -> None:
        """Validates, if it is due: to be called with each batch of the training, before anything is made of it.

        All workers call it together, since they add up what they log.

        Args:
            criterion: whose figures are logged.
            model: a fairseq encoder-decoder, as it comes or wrapped for distributed training.

        Raises:
            ValueError: a batch does not fit into the GPU's memory, or the criterion refuses it.
        """
        if not self._is_due:
            return
        self._is_due = False
        options = self._cfg.fairseq_dataset
        if updates_so_far() or options.disable_validation or options.validate_after_updates > 0:
            return
        model, _ = unwrapped(model)  # its wrapper might wait for other workers at each pass
        subsets = options.valid_subset.split(",")
        if obstacle := self._obstacle(model, subsets):
            logger.info(f"no validation before the first update: {obstacle}")
            return
        with _training_undisturbed(criterion, model), torch.no_grad():
            if options.fixed_validation_seed is not None:
                utils.set_torch_seed(options.fixed_validation_seed)
            for subset in subsets:
                self._validate(criterion, model, subset)

    def _obstacle(self, model: nn.Module, subsets: list[str]) -> str | None:
        """Why it cannot be; None: it can."""
        if self._cfg.fairseq_common.tpu:
            return "fairseq steps through its batches in another way on a TPU"
        if not isinstance(model, BaseFairseqModel):
            return f"a {type(model).__name__} hides the model"
        missing = [subset for subset in subsets if subset not in self._task.datasets]
        return f"the task has not loaded {', '.join(missing)}" if missing else None

    def _validate(self, criterion: nn.Module, model: BaseFairseqModel, subset: str) -> None:
        logger.info(f'begin validation on "{subset}" subset before the first update')
        batches = self._batches(model, subset)
        most = self._cfg.fairseq_dataset.max_valid_steps
        progress = self._progress(batches.next_epoch_itr(shuffle=False, set_dataset_epoch=False), subset)
        with metrics.aggregate(new_root=True) as figures:
            for number, sample in enumerate(progress):
                if most is not None and number > most:  # one more than it says, as in fairseq
                    break
                # A worker that has no batch left gets an empty one, and computes as the others do.
                logged = self._logged(criterion, model, sample or batches.first_batch, dummy=not sample)
                self._task.reduce_metrics([logged], criterion)
        progress.print({**figures.get_smoothed_values(), "num_updates": 0}, tag=subset, step=0)

    def _logged(self, criterion: nn.Module, model: BaseFairseqModel, sample: dict, dummy: bool) -> dict:
        """What the batches of all workers at one step add to the log together; a dummy adds nothing."""
        parameter = next(model.parameters())

        def as_the_model(part: torch.Tensor) -> torch.Tensor:
            return part.to(parameter.device, parameter.dtype if part.dtype is torch.float32 else part.dtype)

        sample = utils.apply_to_sample(as_the_model, sample)
        try:
            _, _, logged = self._task.valid_step(sample, model, criterion)
        except torch.OutOfMemoryError as error:  # in training fairseq would leave out the update
            raise ValueError(
                "a validation batch does not fit into the GPU's memory: lower --max-tokens-valid or --batch-size-valid"
            ) from error
        if distributed.get_data_parallel_world_size() == 1:
            return logged
        if dummy:
            logged = {name: torch.zeros_like(one) if torch.is_tensor(one) else 0 for name, one in logged.items()}
        return distributed.all_reduce_dict(logged, parameter.device, distributed.get_data_parallel_group())

    def _batches(self, model: BaseFairseqModel, subset: str) -> EpochBatchIterating:
        """The iterator of fairseq's own validation: as Trainer.get_valid_iterator asks for it."""
        options = self._cfg.fairseq_dataset
        workers = distributed.get_data_parallel_world_size()
        return self._task.get_batch_iterator(
            dataset=self._task.dataset(subset),
            max_tokens=options.max_tokens_valid,
            max_sentences=options.batch_size_valid,
            max_positions=utils.resolve_max_positions(self._task.max_positions(), model.max_positions()),
            ignore_invalid_inputs=options.skip_invalid_size_inputs_valid_test,
            required_batch_size_multiple=options.required_batch_size_multiple,
            seed=self._cfg.fairseq_common.seed,
            num_shards=workers,
            shard_id=distributed.get_data_parallel_rank() if workers > 1 else 0,
            num_workers=options.num_workers,
            data_buffer_size=options.data_buffer_size,
        )

    def _progress(self, batches, subset: str):
        """The bar of fairseq's own validation, which logs to where the training's log goes."""
        common = self._cfg.fairseq_common
        bar = dict(
            log_format=common.log_format,
            log_interval=common.log_interval,
            epoch=0,
            prefix=f"valid on '{subset}' subset",
            default_log_format="simple" if common.no_progress_bar else "tqdm",
        )
        if distributed.get_global_rank() == 0:
            bar |= dict(
                aim_repo=common.aim_repo,
                aim_run_hash=common.aim_run_hash,
                aim_param_checkpoint_dir=self._cfg.save_dir,
                tensorboard_logdir=common.tensorboard_logdir,
                wandb_project=common.wandb_project,
                wandb_run_name=os.environ.get("WANDB_NAME", os.path.basename(self._cfg.save_dir)),
                azureml_logging=common.azureml_logging,
            )
        return progress_bar(batches, **bar)


@contextlib.contextmanager
def _training_undisturbed(criterion: nn.Module, model: nn.Module) -> Iterator[None]:
    """Holds both in evaluation mode, in the model's own precision; afterwards all is as it was.

    The stopwatch of training stands still meanwhile, as in fairseq's own validations.
    """
    device = next(model.parameters()).device
    python, numpy = random.getstate(), np.random.get_state()
    metrics.log_stop_time("train_wall")
    with (
        torch.random.fork_rng([device] if device.type == "cuda" else []),
        torch.autocast(device.type, enabled=False),  # fairseq trains in it with --amp, and validates without
        evaluating(criterion),
        evaluating(model),
    ):
        yield
    random.setstate(python)
    np.random.set_state(numpy)
    for aggregator in metrics.get_active_aggregators():
        if "train_wall" in aggregator:
            aggregator["train_wall"].start()
