"""The documentation site: `make docs`, or ``sphinx-build -W -c docs . docs/_build/html`` from the root.

The source of the site is the repository itself, so that pages link to each other, to recipes and to code as they
do on a code host. Pages that only the site has are written by `docs/site/reference.py` before it
is built.
"""

import os
import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "docs" / "site")]
# Of what optional packages warn while they are imported.
warnings.simplefilter("ignore")

import reference  # noqa: E402

import landscape  # noqa: E402

project = "landscape"
author = "The developers of landscape"
version = release = landscape.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosectionlabel",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "myst_nb",
]
root_doc = "docs/index"
include_patterns = [
    "docs/**",
    "figures/README.md",
    "figures/gallery/*.md",
    "benchmarks/*.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
]
exclude_patterns = [".*", "build", "dist", "docs/_build", "landscape", "tests", "cli", "**/.*", "*.egg-info"]

autosectionlabel_prefix_document = True
# Anchors as code hosts make them.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "deflist"]
# Notebooks are run when the site is built, once for each version of their cells.
nb_execution_mode = "cache"
nb_execution_cache_path = str(ROOT / "docs" / "_build" / ".notebooks")
nb_execution_timeout = 300
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_merge_streams = True
# A kernel warns at every start that it talks without encryption, which it does with this process alone.
_profile = ROOT / "docs" / "_build" / ".ipython" / "profile_default"
_profile.mkdir(parents=True, exist_ok=True)
(_profile / "ipython_kernel_config.py").write_text('c.IPKernelApp.log_level = "ERROR"\n')
os.environ["IPYTHONDIR"] = str(_profile.parent)

autodoc_default_options = {"members": True, "member-order": "bysource", "exclude-members": "set"}
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Source", "params_style"), "Source"]
add_module_names = False
python_use_unqualified_type_names = True
suppress_warnings = [
    "misc.highlighting_failure",
    "myst.header",
    "myst.xref_ambiguous",
    "autosectionlabel.*",
    "ref.python",
]

html_theme = "pydata_sphinx_theme"
html_title = "landscape"
html_static_path = ["site/static"]
html_css_files = ["site.css"]
html_extra_path = ["site/root", "api/root"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
copyright = "the developers of landscape, MIT licence"
copybutton_exclude = ".linenos, .gp, .go"


def setup(app):
    """Write the pages that only the site has, before Sphinx looks for pages."""
    app.connect("config-inited", lambda *_: reference.write(ROOT / "docs"))
    app.connect("env-before-read-docs", reference.spread_notebooks)
    app.connect("env-updated", reference.finish_turned)
    app.connect("missing-reference", reference.resolve)
    app.connect("source-read", reference.add_children)
    app.connect("autodoc-process-docstring", reference.escape_bars)
