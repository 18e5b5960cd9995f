"""Earlier name of `landscape.papers`."""

from landscape.papers import *  # noqa: F403
from landscape.papers import __all__ as __all__
