"""How the documentation is built: `scripts/docs`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import ipymesos  # noqa: E402

project = "ipymesos"
author = "ipymesos developers"
version = release = ipymesos.__version__
html_title = f"ipymesos {version}"

# `generated` is beside this file: the pages of the reference are made from the program itself.
extensions = ["myst_parser", "sphinx.ext.autodoc", "generated"]
exclude_patterns = ["_build"]
myst_heading_anchors = 4
smartquotes = False  # it would make one dash of the two of an option
default_role = "code"  # what stands in single backticks in a docstring
autodoc_member_order = "bysource"
autodoc_typehints = "none"

html_theme = "furo"
html_copy_source = False
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["pages.css"]
