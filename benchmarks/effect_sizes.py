"""The sizes of benchmarks/effect.py: model, batches, vocabulary and schedule."""

from dataclasses import dataclass

WITHOUT_OPTIMIZER = "--no-save-optimizer-state"
"""The option of trainings that start anew when they were interrupted: their checkpoints would take gigabytes."""


@dataclass(frozen=True)
class Size:
    """Options for the model and what is trained with it: fairseq-train's, and `bertloss prepare`'s."""

    model: str
    training: str
    # Until validation stops improving, or an epoch gains next to nothing; None: that is left out.
    converging: str | None
    annealing: str  # then down to a learning rate that no fine-tuning is below by much
    fine_tuning: str
    prepare: str


TRAINING = """--required-batch-size-multiple 1 --optimizer adam --adam-betas (0.9,0.98) --weight-decay 0.0001
    --num-workers 0 --log-format json --log-interval 10 --no-epoch-checkpoints --distributed-world-size 1"""
FINE_TUNING = "--lr-scheduler fixed --disable-validation --keep-interval-updates 5"
TWO_LAYERS = """--arch transformer_iwslt_de_en --encoder-layers 2 --decoder-layers 2
    --encoder-embed-dim 128 --decoder-embed-dim 128 --encoder-ffn-embed-dim 512 --decoder-ffn-embed-dim 512
    --share-decoder-input-output-embed --dropout 0.3"""

SIZES = {
    "small": Size(
        model=TWO_LAYERS,
        training=f"--max-tokens 1792 {TRAINING}",
        converging="""--lr 3e-3 --lr-scheduler inverse_sqrt --warmup-updates 400 --warmup-init-lr 1e-7 --max-update 2400
            --patience 2""",
        annealing="""--lr 1e-3 --lr-scheduler polynomial_decay --warmup-updates 50 --total-num-update 1200
            --end-learning-rate 1e-6 --max-update 1200""",
        fine_tuning=FINE_TUNING,
        prepare="--merges 4000 --observed-vocabulary",
    ),
    # What scripts/quickstart.sh and scripts/small_model.sh train.
    "quickstart": Size(
        model=TWO_LAYERS,
        training=f"--max-tokens 1024 {TRAINING}",
        converging=None,
        annealing="""--lr 3e-3 --lr-scheduler polynomial_decay --warmup-updates 200 --total-num-update 1500
            --end-learning-rate 3e-5 --max-update 1500""",
        fine_tuning=FINE_TUNING,
        prepare="--merges 4000 --observed-vocabulary",
    ),
    # For text of several kinds, ten times as much: as large as two cores train in some hours.
    "medium": Size(
        model="""--arch transformer_iwslt_de_en --encoder-layers 3 --decoder-layers 3
            --encoder-embed-dim 256 --decoder-embed-dim 256 --encoder-ffn-embed-dim 1024 --decoder-ffn-embed-dim 1024
            --share-decoder-input-output-embed --dropout 0.1""",
        training=f"--max-tokens 4096 {TRAINING}",
        converging="""--lr 2e-3 --lr-scheduler inverse_sqrt --warmup-updates 1000 --warmup-init-lr 1e-7
            --max-update 8000 --patience 2""",
        annealing="""--lr 8e-4 --lr-scheduler polynomial_decay --warmup-updates 50 --total-num-update 3000
            --end-learning-rate 1e-6 --max-update 3000""",
        fine_tuning=FINE_TUNING,
        prepare="--merges 10000 --observed-vocabulary",
    ),
    # The paper's model, batches and learning rate; less of a warm-up, because the corpus is a fifth of the paper's.
    "paper": Size(
        model="--arch transformer_iwslt_de_en --dropout 0.3",
        training=f"--max-tokens 4096 --fp16 {TRAINING}",
        converging="""--lr 5e-4 --lr-scheduler inverse_sqrt --warmup-updates 1000 --warmup-init-lr 1e-7 --max-epoch 30
            --validate-interval 2 --save-interval 2 --patience 2""",
        annealing="""--lr 2e-4 --lr-scheduler polynomial_decay --warmup-updates 50 --total-num-update 500
            --end-learning-rate 1e-6 --max-update 500""",
        fine_tuning=f"{FINE_TUNING} {WITHOUT_OPTIMIZER}",
        prepare="--merges 10000",
    ),
}
