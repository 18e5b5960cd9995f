"""The base of modes that see every operation of torch."""

from __future__ import annotations

from torch.utils._python_dispatch import TorchDispatchMode


class DispatchMode(TorchDispatchMode):
    """A mode that the compiler of torch need not be kept out of: nothing is compiled here."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Torch would import its compiler for that, which takes 4 s.
        return False
