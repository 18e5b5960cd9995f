"""Legends: whole on the page, and read row by row."""

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.lines import Line2D

from landscape.render.legend import legend_above
from landscape.render.style import Sheet


def _laid_out(labels: list[str], width: float) -> Sheet:
    sheet = Sheet(width, 2.0)
    with sheet.styled():
        ax = sheet.add_subplot()
        ax.set_aspect("equal")
        legend_above(ax, [Line2D([], [], label=label) for label in labels])
    FigureCanvasAgg(sheet).draw()
    return sheet


@pytest.mark.parametrize("width", [2.0, 3.4, 7.0])
def test_a_legend_of_long_words_ends_on_the_page(width: float) -> None:
    words = "training loss (nats, log scale): 0.1, 0.2, 0.5, 1, 2, 5, 10, 20"
    sheet = _laid_out(["trained weights", words], width)
    ends = [text.get_window_extent().x1 for text in sheet.axes[0].get_legend().get_texts()]
    assert max(ends) <= sheet.bbox.x1
    said = " ".join(sheet.axes[0].get_legend().get_texts()[1].get_text().split())
    assert said == words


def test_a_legend_is_read_row_by_row() -> None:
    labels = [f"word {place}" for place in range(7)]
    texts = _laid_out(labels, 3.0).axes[0].get_legend().get_texts()
    assert [text.get_text() for text in texts] == labels
    boxes = [text.get_window_extent() for text in texts]
    rows = {round(box.y0) for box in boxes}
    assert 1 < len(rows) < len(labels)
    assert sorted(range(7), key=lambda i: (-round(boxes[i].y0), boxes[i].x0)) == list(range(7))
