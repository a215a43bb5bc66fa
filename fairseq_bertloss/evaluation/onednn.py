"""Linear layers by oneDNN, in the place of torch's own choice, for a model that only computes."""

import torch
import torch.nn.functional as F
from torch import Tensor


def use_onednn(module: torch.nn.Module) -> None:
    """Puts oneDNN's layers in the place of a module's linear ones; they are on the CPU, and have no gradient."""
    for name, child in module.named_children():
        if type(child) is torch.nn.Linear:
            setattr(module, name, _OneDNNLinear(child))
        else:
            use_onednn(child)


class _OneDNNLinear(torch.nn.Module):
    """A linear layer by oneDNN, which is twice as fast on AMD's processors as MKL, torch's own choice."""

    def __init__(self, linear: torch.nn.Linear):
        super().__init__()
        self.register_buffer("weight", linear.weight.to_mkldnn())
        self.register_buffer("bias", None if linear.bias is None else linear.bias.to_mkldnn())

    def forward(self, features: Tensor) -> Tensor:
        return F.linear(features.to_mkldnn(), self.weight, self.bias).to_dense()
