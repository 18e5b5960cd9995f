"""What a recorder does where the disk is full or fails: it says so once, and tries again. No torch."""

from __future__ import annotations

import warnings

from landscape.errors import LandscapeError, MachineError

_MODES = ("raise", "warn")


class Outage:
    """Errors of the machine, told once until something could be written again.

    Args:
        mode: ``"raise"`` or ``"warn"``.

    Raises:
        LandscapeError: If it is something else.
    """

    def __init__(self, mode: str) -> None:
        if mode not in _MODES:
            raise LandscapeError("not a reaction", where="on_error", got=repr(mode), expected="'raise' or 'warn'")
        self._mode = mode
        self._told = False

    def tell(self, error: MachineError) -> None:
        """Raise an error or warn of it, if that was not done yet."""
        told, self._told = self._told, True
        if told:
            return
        if self._mode == "raise":
            raise error
        warnings.warn(f"nothing is recorded until this is mended: {error}", stacklevel=4)

    def over(self) -> None:
        """Something could be written: the next error is told again."""
        self._told = False
