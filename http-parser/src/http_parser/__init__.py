"""http-parser's interface, as far as pymesos needs it, over httptools."""

version_info = (0, 9, 0)
__version__ = "0.9.0+httptools.1"
