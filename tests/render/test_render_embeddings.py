"""Pictures of embeddings, by their artists."""

from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from walks import record

import landscape as ls
from landscape import render
from landscape.errors import LandscapeError
from landscape.projection.mds import mds_by_layer
from landscape.render.embeddings import Panel, stress_words
from landscape.trajectory import open_trajectory


@pytest.fixture(scope="module")
def embedding(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    one = record(folder / "one.h5", 1, 6)
    record(folder / "one.h5", 3, 3, branch="kick", parent_run_id=one.run_id, parent_step=20)
    return ls.mds(
        {"one": open_trajectory(folder / "one.h5"), "two": record(folder / "two.h5", 2, 4)}, branches=True
    )


def texts(figure):
    return [text.get_text() for text in figure.findobj(mpl.text.Text) if text.get_text()]


def test_a_map_shows_the_points_and_stands_beside_its_shepard_diagram(embedding):
    figure = render.embedding(embedding)
    places, diagram = figure.axes
    drawn = np.concatenate([c.get_offsets() for c in places.collections])
    np.testing.assert_allclose(drawn, embedding.coordinates)
    assert places.get_aspect() == 1.0
    true, shown = embedding.shepard()
    np.testing.assert_allclose(diagram.lines[1].get_xdata(), true)
    np.testing.assert_allclose(diagram.lines[1].get_ydata(), shown)
    # The line on which distances are right.
    assert list(diagram.lines[0].get_xdata()) == list(diagram.lines[0].get_ydata())
    assert (diagram.get_xlabel(), diagram.get_ylabel()) == ("dissimilarity", "distance drawn")
    said = texts(figure)
    words = stress_words(embedding)
    assert words[:1].upper() + words[1:] in said
    foot = next(text for text in said if text.startswith("walk · classical MDS"))
    assert f"stress {embedding.stress:.2g}" in foot
    assert {"one", "one/kick", "two", "start", "end", "from its parent"} <= set(said)


def test_a_branch_is_joined_to_its_parent(embedding):
    places = render.embedding(embedding).axes[0]
    dotted = [line for line in places.lines if line.get_linestyle() == ":"]
    assert len(dotted) == 1
    start = embedding.rows("one/kick")[0]
    np.testing.assert_allclose(dotted[0].get_xydata(), embedding.coordinates[[2, start]])


def test_points_are_the_larger_the_higher_their_loss(embedding):
    sizes = render.embedding(embedding).axes[0].collections[0].get_sizes()
    assert (np.diff(sizes) < 0).all()


def test_colours_tell_loss_or_step_or_run(embedding):
    by_run = render.embedding(embedding).axes[0].collections
    assert len({tuple(c.get_facecolors()[0]) for c in by_run}) == 3
    assert all(len({tuple(colour) for colour in c.get_facecolors()}) == 1 for c in by_run)
    for color in ("loss", "step"):
        figure = render.embedding(embedding, color=color)
        assert len({tuple(colour) for colour in figure.axes[0].collections[0].get_facecolors()}) == 6
        label = {"loss": "training loss", "step": "step"}[color]
        assert any(text.startswith(label) for text in texts(figure))
    with pytest.raises(LandscapeError, match="color: unknown value 'red'"):
        render.embedding(embedding, color="red")
    with pytest.raises(LandscapeError, match="view: unknown value 'flat'"):
        render.embedding(embedding, view="flat")


def test_colours_of_groups_are_those_of_names_before_a_comma(embedding):
    grouped = replace(embedding, names=("stage 1, run 1", "stage 1, run 2", "stage 2, run 1"))
    figure = render.embedding(grouped, color="group")
    colours = [tuple(c.get_facecolors()[0]) for c in figure.axes[0].collections]
    assert colours[0] == colours[1] != colours[2]
    assert {"stage 1", "stage 2"} <= set(texts(figure))
    assert not any("run" in text for text in texts(figure)[2:] if text.startswith("stage"))
    # The sizes of points are free to tell the loss, as where runs have colours.
    np.testing.assert_array_equal(
        figure.axes[0].collections[0].get_sizes(), render.embedding(embedding).axes[0].collections[0].get_sizes()
    )


def test_the_loss_as_height(embedding):
    places = render.embedding(embedding, view="3d").axes[0]
    assert places.name == "3d"
    loss = embedding.metrics["train_loss"][:6]
    heights = np.array(places.lines[0].get_data_3d()[2])
    # On a logarithmic or a linear scale, in the same order.
    assert (np.argsort(heights) == np.argsort(loss)).all()
    assert places.get_zlabel().startswith("training loss")


def test_panels_of_layers_have_letters_and_share_their_colours(embedding, tmp_path):
    runs = {"one": record(tmp_path / "one.h5", 1, 6), "two": record(tmp_path / "two.h5", 2, 4)}
    by = mds_by_layer(runs, method="metric")
    figure = render.embedding_maps(
        [Panel(points, layer) for layer, points in by.items()], caption="What it shows."
    )
    assert len(figure.axes) == 6
    said = texts(figure)
    assert {"(a) 0", "(b) 2", "(c) all layers"} <= set(said)
    assert sum(text.startswith("Stress ") for text in said) == 3
    assert any(text.startswith("What it shows.\nwalk · metric MDS · Euclidean distance") for text in said)
    colours = [ax.collections[1].get_facecolors()[0].tolist() for ax in figure.axes[::2]]
    assert colours[0] == colours[1] == colours[2]


@pytest.mark.parametrize("style", ["paper", "talk", "dark"])
def test_words_stay_on_the_page(embedding, style, tmp_path):
    decades = {"train_loss": np.geomspace(5, 0.01, len(embedding.coordinates))}
    panels = [Panel(embedding, "all"), Panel(replace(embedding, metrics=decades), "again", "loss", "3d")]
    figure = render.embedding_maps(panels, style=style)
    render.save(figure, tmp_path / "m.png")
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert box.x0 > -0.01
    assert box.y0 > -0.01
    assert box.x1 < width + 0.01
    assert box.y1 < height + 0.01
    # The name of the height ends before the diagram beside it begins.
    name = figure.axes[2].zaxis.label.get_window_extent()
    assert not name.overlaps(figure.axes[3].yaxis.label.get_window_extent())


def test_the_same_embedding_gives_the_same_bytes(embedding, tmp_path):
    paths = [render.save(render.embedding(embedding), tmp_path / f"{n}.png") for n in range(2)]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_nothing_to_draw():
    with pytest.raises(LandscapeError, match="there is nothing to draw"):
        render.embedding_maps([])
