"""The snippets of the README as a type checker of their reader sees them: the package brings its types."""

import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT

BROKEN = """
import landscape as ls
run = ls.open_trajectory("run.h5")
run.no_such_method()
ls.open_surface(7)
"""


def test_the_snippets_of_the_readme_have_types(tmp_path):
    pytest.importorskip("mypy", reason="comes with the extra check")
    # A file that the sentence before names is what the snippet is called.
    snippets = re.findall(r"(?:`(\w+\.py)`:\n\n)?```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert {"my_problem.py", "train.py"} <= {name for name, _ in snippets}
    for place, (name, snippet) in enumerate(snippets):
        (tmp_path / (name or f"snippet_{place}.py")).write_text(snippet)
    (tmp_path / "broken.py").write_text(BROKEN)
    # With the options and the cache of the check of the package, which is over in a moment then. A checker doesn't
    # follow the import hooks of an editable installation, so it's told where the package is.
    where = ["--config-file", ROOT / "pyproject.toml", "--cache-dir", ROOT / ".mypy_cache"]
    command = [sys.executable, "-m", "mypy", *where, "."]
    env = os.environ | {"MYPYPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    # A reader's own functions need no types.
    faults = [fault for fault in done.stdout.splitlines() if "[no-untyped-def]" not in fault]
    # The control: what is wrong is seen, so the names are not taken for anything.
    assert [fault for fault in faults if not fault.startswith("broken.py")][:-1] == []
    assert 'broken.py:4: error: "Trajectory" has no attribute "no_such_method"  [attr-defined]' in faults
    assert any(fault.startswith('broken.py:5: error: Argument 1 to "read_surface"') for fault in faults)


def test_the_package_says_that_it_has_types():
    assert (ROOT / "landscape" / "py.typed").exists()
