"""Work as bytes for other processes, with whatever of it they could not import."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle

from landscape.errors import LandscapeError, reason_of
from landscape.executor.interface import Progress, Work


def packed(work: Any) -> bytes:
    """The work as bytes; what other processes could not import goes with it."""
    by_value = [module for module in list(sys.modules.values()) if _is_unknown(module)]
    for module in by_value:
        cloudpickle.register_pickle_by_value(module)
    try:
        made: bytes = cloudpickle.dumps(work)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise LandscapeError(
            f"what is computed cannot be sent to other processes: {reason_of(error)}",
            where="workers",
            mend="leave several workers out",
        ) from error
    finally:
        for module in by_value:
            cloudpickle.unregister_pickle_by_value(module)
    return made


def unpacked(data: bytes, threads: int) -> Work:
    """Return the work in the process that does it; what cannot be unpacked fails at each task.

    Args:
        data: From `packed`.
        threads: Of this process.
    """
    # Read when torch starts, which it does where the work needs it. Threads that wait by spinning stall where
    # another process shares their cores.
    os.environ |= {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
    try:
        work: Work = pickle.loads(data)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what becomes of the tasks
        fault = error

        def work(task: Any, progress: Progress) -> Any:
            raise fault

    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    return work


def _is_unknown(module: ModuleType) -> bool:
    """Return whether a module was loaded from a folder where another process would not look for it."""
    name, file = module.__name__, getattr(module, "__file__", None)
    if file is None or "." in name or name == "__main__" or sys.modules.get(name) is not module:
        return False
    home = Path(file).parent if hasattr(module, "__path__") else Path(file)
    if str(home.parent) in sys.path:
        return False
    finders = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]
    return all(finder.find_spec(name, None) is None for finder in finders)
