"""The tutorials for developers, followed to the letter on a copy of the package."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys

from conftest import ROOT

PAGES = ("first-measure", "first-kind", "first-optimizer")


def edit(folder, page):
    """Write the files that a page writes, and make its changes to others."""
    text = (ROOT / "docs" / "develop" / f"{page}.md").read_text(encoding="utf-8")
    for name, content in re.findall(r"Write `([\w./]+)`:\n\n```python\n(.*?)```", text, flags=re.DOTALL):
        (folder / name).write_text(content, encoding="utf-8")
    for part in re.split(r"^In `", text, flags=re.MULTILINE)[1:]:
        path = folder / part.partition("`")[0]
        for change in re.findall(r"```diff\n(.*?)```", part, flags=re.DOTALL):
            old, new = ("\n".join(re.findall(rf"^\{sign}(.*)$", change, flags=re.MULTILINE)) for sign in "-+")
            content = path.read_text(encoding="utf-8")
            assert content.count(old) == 1, (page, old)
            path.write_text(content.replace(old, new), encoding="utf-8")


def test_a_newcomer_can_follow_them(tmp_path):
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "landscape", tmp_path / "landscape", ignore=ignore)
    shutil.copytree(ROOT / "cli", tmp_path / "landscape" / "cli", ignore=ignore)
    shutil.copytree(ROOT / "cli", tmp_path / "cli", ignore=ignore)
    for page in PAGES:
        edit(tmp_path, page)
    if importlib.util.find_spec("ruff"):
        for check in (["check"], ["format", "--check"]):
            ruff = [sys.executable, "-m", "ruff", *check, "--config", str(ROOT / "pyproject.toml"), "landscape"]
            done = subprocess.run(ruff, cwd=tmp_path, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout
    pages = [str(ROOT / "docs" / "develop" / f"{page}.md") for page in PAGES]
    code = (
        f"import sys; sys.path.append({str(ROOT / 'tests')!r}); from pathlib import Path; import landscape\n"
        f"assert Path(landscape.__file__).is_relative_to({str(tmp_path)!r}), landscape.__file__\n"
        f"from documentation import follow_page\nfor page in {pages}: assert follow_page(Path(page)) > 2\n"
    )
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    # What Python compiles of the copy is for one use.
    command = [sys.executable, "-B", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
