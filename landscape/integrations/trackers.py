"""Pictures into the trackers of experiments: TensorBoard, Weights & Biases, Trackio, MLflow. One function each.

All take what the tracker gives (a writer, a run), a name, a figure and a step, and leave the figure as it is. No
tracker is imported until its function is called.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from landscape.errors import optional

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

__all__ = ["to_mlflow", "to_tensorboard", "to_trackio", "to_wandb"]


def _image(figure: Figure) -> Image:
    from PIL import Image

    held = io.BytesIO()
    figure.savefig(held, format="png")
    held.seek(0)
    return Image.open(held).convert("RGB")


def to_tensorboard(writer: Any, name: str, figure: Figure, step: int | None = None) -> None:
    """Log a figure to TensorBoard.

    Args:
        writer: A ``torch.utils.tensorboard.SummaryWriter``, such as Lightning's ``logger.experiment``.
        name: Its tag.
        figure: What `landscape.render` or a kind of `landscape.plots` drew.
        step: Where on the slider.

    Example:
        >>> to_tensorboard(writer, "surface", ls.plots.surface("run.h5"), step=400)  # doctest: +SKIP
    """
    import numpy as np

    writer.add_image(name, np.asarray(_image(figure)), global_step=step, dataformats="HWC")


def to_wandb(run: Any, name: str, figure: Figure, step: int | None = None) -> None:
    """Log a figure to Weights & Biases.

    Args:
        run: What ``wandb.init()`` returned.
        name: Its key.
        figure: What `landscape.render` or a kind of `landscape.plots` drew.
        step: The step of the run; None is its next one.

    Raises:
        LandscapeError: If wandb is not installed.
    """
    run.log({name: optional("wandb", "to_wandb").Image(_image(figure))}, step=step)


def to_trackio(run: Any, name: str, figure: Figure, step: int | None = None) -> None:
    """Log a figure to Trackio.

    Args:
        run: What ``trackio.init()`` returned.
        name: Its key.
        figure: What `landscape.render` or a kind of `landscape.plots` drew.
        step: The step of the run; None is its next one.

    Raises:
        LandscapeError: If Trackio is not installed.
    """
    run.log({name: optional("trackio", "to_trackio").Image(_image(figure))}, step=step)


def to_mlflow(run: Any, name: str, figure: Figure, step: int | None = None) -> None:
    """Log a figure to MLflow, as the artifact ``NAME.png`` or ``NAME/STEP.png`` of a run.

    Args:
        run: What ``mlflow.start_run()`` returned, or the identifier of a run.
        name: Its path among the artifacts.
        figure: What `landscape.render` or a kind of `landscape.plots` drew.
        step: The step, if there are several pictures of this name.

    Raises:
        LandscapeError: If MLflow is not installed.
    """
    client = optional("mlflow", "to_mlflow").MlflowClient()
    identifier = run if isinstance(run, str) else run.info.run_id
    client.log_figure(identifier, figure, f"{name}.png" if step is None else f"{name}/{step}.png")
