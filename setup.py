"""Installs the plug-in; fairseq itself is the user's choice (README, "Installation")."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search('__version__ = "(.*)"', (HERE / "fairseq_bertloss/__init__.py").read_text(encoding="utf-8"))[1]

setup(
    name="fairseq-bertloss",
    version=VERSION,
    description="Fine-tune fairseq translation models with BERTScore as the training objective",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    packages=find_packages(include=["fairseq_bertloss", "fairseq_bertloss.*"]),
    python_requires=">=3.11",
    install_requires=[
        "torch>=2.6",
        "transformers>=4.48,<6",
        "entmax>=1.3",
        "bert-score>=0.3.13",
        "sacrebleu>=2.4",
        "sacremoses>=0.1",
        "jieba>=0.42",
        "langcodes>=3.3",
        "regex",
        "subword-nmt>=0.3.8",
        "POT>=0.9.1",
        "scipy",
        "matplotlib",
        "tqdm",
    ],
    extras_require={"ja": ["sacrebleu[ja]"], "tensorboard": ["tensorboardX"]},
    entry_points={"console_scripts": ["bertloss = fairseq_bertloss.cli:main"]},
)
