"""The snippets of the README as a type checker of their reader sees them: the package brings its types."""

import os
import re
import subprocess
import sys

from conftest import ROOT

# What a reader's checker finds in other packages is not looked at here: it takes a minute.
CONFIG = """
[mypy]
follow_imports = silent
[mypy-torch.*,torchvision.*,scipy.*,sklearn.*,matplotlib.*,h5py.*,pandas.*,xarray.*,tqdm.*]
follow_imports = skip
ignore_missing_imports = True
"""
BROKEN = """
import landscape as ls
run = ls.open_trajectory("run.h5")
run.no_such_method()
ls.open_surface(7)
"""


def test_the_snippets_of_the_readme_have_types(tmp_path):
    # A file that the sentence before names is what the snippet is called.
    snippets = re.findall(r"(?:`(\w+\.py)`:\n\n)?```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert {"my_problem.py", "train.py"} <= {name for name, _ in snippets}
    for place, (name, snippet) in enumerate(snippets):
        (tmp_path / (name or f"snippet_{place}.py")).write_text(snippet)
    (tmp_path / "broken.py").write_text(BROKEN)
    (tmp_path / "mypy.ini").write_text(CONFIG)
    # Its cache is kept beside that of the package, whose options are others.
    where = ["--config-file", "mypy.ini", "--cache-dir", ROOT / ".mypy_cache" / "snippets"]
    command = [sys.executable, "-m", "mypy", *where, "."]
    # A checker doesn't follow the import hooks of an editable installation, so it's told where the package is.
    env = os.environ | {"MYPYPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    faults = done.stdout.splitlines()
    # The control: what is wrong is seen, so the names are not taken for anything.
    assert [fault for fault in faults if not fault.startswith("broken.py")][:-1] == []
    assert 'broken.py:4: error: "Trajectory" has no attribute "no_such_method"  [attr-defined]' in faults
    assert any(fault.startswith('broken.py:5: error: Argument 1 to "read_surface"') for fault in faults)


def test_the_package_says_that_it_has_types():
    assert (ROOT / "landscape" / "py.typed").exists()
