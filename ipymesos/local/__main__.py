"""`python -m ipymesos.local`: the same as `python -m ipymesos local`, with nothing else of ipymesos."""

from __future__ import annotations

import argparse
import sys

from . import cli

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m ipymesos.local", allow_abbrev=False)
    cli.add_arguments(parser)
    sys.exit(cli.run(parser.parse_args()))
