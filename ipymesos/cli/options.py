"""MesosOptions on the command line: one argument for each trait, the profile's configuration beneath them."""

from __future__ import annotations

import argparse
from pathlib import Path

from traitlets.config import Config
from traitlets.config.loader import ConfigFileNotFound, PyFileConfigLoader

from ..config import MesosOptions
from ..errors import ConfigError
from ..paths import Paths
from ..traits import from_text

NOT_OURS = {"start_timeout", "orphan_timeout"}  # the launchers'; who sits before the terminal sees, and decides
CONFIG_FILE = "ipcluster_config.py"
PARTS = ("log", "pid", "security")  # of a profile; what IPython adds to it besides is none of ours
SECTIONS = ("MesosLauncher", "MesosOptions")  # the launchers' section, and our own over it


def add_options(parser: argparse.ArgumentParser) -> None:
    """`--memory "2 GB"` for the trait `memory`, and so on; help and default are the trait's."""
    group = parser.add_argument_group("options", "also from c.MesosOptions and c.MesosLauncher in ipcluster_config.py")
    names = set(MesosOptions.option_names()) - NOT_OURS
    for name in (name for name in vars(MesosOptions) if name in names):  # in the order in which they are written there
        trait = MesosOptions.class_traits()[name]
        said = trait.help
        if isinstance(trait.default_value, (str, int, float)) and trait.default_value != "" and "Default" not in said:
            said += f" (default: {trait.default_value})"
        group.add_argument(
            f"--{name.replace('_', '-')}", dest=f"option_{name}", metavar="VALUE", help=said.replace("%", "%%")
        )


def chosen_options(arguments: argparse.Namespace, profile_dir: Path) -> MesosOptions:
    """The options by precedence: command line, profile, environment, default. TraitError for a bad one."""
    options = MesosOptions(config=profile_config(profile_dir))
    for name in MesosOptions.option_names():
        text = getattr(arguments, f"option_{name}", None)
        if name == "master" and "@" in (text or ""):
            raise ConfigError(
                "--master: everybody on this machine can read a program's arguments, so a password for ZooKeeper must"
                " not be one: put the address into the environment variable IPYMESOS_MASTER, or into the profile"
            )
        if text is not None:
            setattr(options, name, from_text(options.traits()[name], text))
    return options


def profile_config(profile_dir: Path) -> Config:
    """What ipcluster_config.py says for us, if there is one."""
    try:
        loaded = PyFileConfigLoader(CONFIG_FILE, str(profile_dir)).load_config()
    except ConfigFileNotFound:
        return Config()
    except Exception as error:  # it is the user's own program, which may raise anything
        raise ConfigError(f"{profile_dir / CONFIG_FILE}: {type(error).__name__}: {error}") from error
    config = Config()
    known = set(MesosOptions.option_names())
    for section in SECTIONS:
        for name, value in loaded.get(section, {}).items():
            if name in known:
                config.MesosOptions[name] = value
    return config


def locate_profile(name: str, directory: str, create: bool = False) -> Path | None:
    """The profile's directory, made if `create`; else None if there is none. ConfigError if both are given."""
    if name and directory:
        raise ConfigError("--profile and --profile-dir: give one of them")
    if directory and all((Path(directory) / part).is_dir() for part in PARTS):
        return Paths(Path(directory)).profile_dir  # without IPython, which takes longer than all the rest
    from IPython.core.profiledir import ProfileDir, ProfileDirError
    from IPython.paths import get_ipython_dir

    try:
        if directory:
            path = Paths(Path(directory)).profile_dir
            if create:
                ProfileDir.create_profile_dir(str(path))
            return path if path.is_dir() else None
        try:
            found = ProfileDir.find_profile_dir_by_name(get_ipython_dir(), name or "default")
        except ProfileDirError:
            if not create:
                return None
            found = ProfileDir.create_profile_dir_by_name(get_ipython_dir(), name or "default")
        return Path(found.location)
    except (ProfileDirError, OSError) as error:
        raise ConfigError(f"profile: {error}") from error
