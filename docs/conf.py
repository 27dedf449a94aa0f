"""How the book is built; CONTRIBUTING.md says with which command."""

import os
import sys
from functools import partialmethod
from pathlib import Path

import scgraft
from nbclient import NotebookClient

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS / "_ext"))

if program := os.environ.get("SCGRAFT_CLI"):
    os.environ["PATH"] = os.pathsep.join([str(Path(program).parent), os.environ["PATH"]])

# Of tqdm, in kernels without widgets.
os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"

project = "scgraft"
author = "the scgraft authors"
copyright = "the scgraft authors, BSD-3-Clause"
version = release = scgraft.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc", "headers", "checks", "streams"]
exclude_patterns = ["_ext", "_build"]
nitpicky = True

html_theme = "sphinx_book_theme"
html_title = "scgraft"
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_theme_options = {
    "show_navbar_depth": 1,
    "home_page_in_toc": True,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "navbar_persistent": [],
}

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
# Notebooks are run at every build; the program itself is found as `scgraft`.
nb_execution_mode = "force"
nb_execution_timeout = 900
# A busy machine takes its time to start a kernel.
NotebookClient.__init__ = partialmethod(NotebookClient.__init__, startup_timeout=600)
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_execution_in_temp = True

autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
