"""The notebooks of the documentation in a real kernel: pictures where they should be, once, and no error."""

import importlib.util
import json

import nbformat
import pytest
from conftest import ROOT

FOLDER = ROOT / "docs" / "notebooks"


@pytest.fixture(scope="module")
def check():
    spec = importlib.util.spec_from_file_location("notebook_check", FOLDER / "check.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def kernel(check, tmp_path_factory):
    with check.kernel() as manager:
        yield manager, tmp_path_factory.mktemp("kernel")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore")  # What the packages of Jupyter warn of is theirs to mend.
def test_a_notebook_shows_its_pictures_once(check, kernel, path):
    book, faults = check.run(path, *kernel)
    assert faults == []
    assert sum(check.images(cell) for cell in book.cells if cell.cell_type == "code") >= 1


@pytest.mark.filterwarnings("ignore")
def test_the_check_sees_what_is_wrong(check, kernel, tmp_path):
    """The control: a picture too many, one that is missing, and an error."""
    twice = "from IPython.display import display, Image\nfor _ in range(2): display(Image(data=b'', format='png'))"
    picture = {"metadata": {"tags": ["picture"]}}
    cells = [nbformat.v4.new_code_cell(twice, **picture), nbformat.v4.new_code_cell("1", **picture)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "wrong.ipynb")
    _, faults = check.run(tmp_path / "wrong.ipynb", *kernel)
    assert faults == [
        "wrong.ipynb: cell 0 shows 2 pictures; expected 1",
        "wrong.ipynb: cell 1 shows 0 pictures; expected 1",
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")]), tmp_path / "fails.ipynb")
    _, faults = check.run(tmp_path / "fails.ipynb", *kernel)
    assert len(faults) == 1
    assert "ZeroDivisionError" in faults[0]


@pytest.mark.filterwarnings("ignore")
def test_given_axes_show_nothing_twice(check, kernel, tmp_path):
    setup = (
        "import torch, landscape as ls, matplotlib.pyplot as plt\nfrom IPython.display import display\n"
        "surface = ls.Surface(*2 * [torch.linspace(-1, 1, 5).numpy()], {'train_loss': torch.rand(5, 5).numpy()})"
    )
    draw = "figure, ax = plt.subplots()\n"
    sources = [
        f"{draw}ls.render.contour(surface, ax=ax)",
        f"{draw}ls.render.contour(surface, ax=ax);",
        f"{draw}kept = ls.render.contour(surface, ax=ax)",
        "kept",
        f"{draw}display(ls.render.contour(surface, ax=ax))",
        "ls.render.contour(surface)",
        f"{draw}ls.render.contour(surface)\nplt.close(figure)\nls.render.contour(surface)",
    ]
    cells = [nbformat.v4.new_code_cell(source, metadata={"tags": ["picture"]}) for source in sources]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(setup), *cells])
    nbformat.write(book, tmp_path / "axes.ipynb")
    assert check.run(tmp_path / "axes.ipynb", *kernel)[1] == []


def test_notebooks_are_kept_without_outputs():
    paths = sorted(FOLDER.glob("*.ipynb"))
    assert len(paths) == 5
    for path in paths:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        assert all(cell.get("outputs", []) == [] and cell.get("execution_count") is None for cell in cells)
