"""What importing the package does and does not do."""

import subprocess
import sys


def run(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_import_loads_nothing_and_the_loss_needs_no_fairseq():
    run(
        "import sys, fairseq_bertloss\n"
        "assert not {'torch', 'transformers', 'fairseq'} & sys.modules.keys()\n"
        "sys.modules['fairseq'] = None\n"
        "from fairseq_bertloss import BERTScoreLoss\n"
        "assert 'transformers' not in sys.modules and 'bert_score' not in sys.modules\n"
    )


def test_register_after_import():
    run(
        "import fairseq_bertloss\n"
        "from fairseq.criterions import CRITERION_REGISTRY\n"
        "from fairseq.data.encoders import TOKENIZER_REGISTRY\n"
        "assert 'bertscore_loss' not in CRITERION_REGISTRY\n"
        "fairseq_bertloss.register()\n"
        "fairseq_bertloss.register()\n"
        "assert 'bertscore_loss' in CRITERION_REGISTRY and 'word_pieces' in TOKENIZER_REGISTRY\n"
    )
