"""Kernels that can be differentiated twice, for as long as a matrix of second derivatives is worked on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from landscape.objective.devices import precision


@contextmanager
def twice_differentiable(device: torch.device, model: nn.Module) -> Iterator[None]:
    """Use only kernels that have second derivatives, and full precision; all is put back as it was.

    The fused kernels of attention have no second derivative, on a CPU not even a forward-mode first; neither have
    the recurrent ones of cuDNN.

    Args:
        device: Where the model is.
        model: Its modules say which kernels there are.
    """
    fast_path = torch.backends.mha.get_fastpath_enabled()
    recurrent = any(isinstance(module, nn.RNNBase) for module in model.modules())
    with ExitStack() as stack:
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast_path)
        torch.backends.mha.set_fastpath_enabled(False)
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.enter_context(precision(device, tf32=False))
        if recurrent and device.type == "cuda":
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        stack.enter_context(torch.enable_grad())
        yield
