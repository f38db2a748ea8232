"""Every option there is: read by traitlets, checked here, and turned into the plain data of `core`.

The launchers of ipcluster and the program `python -m ipymesos start` have the same options, because they share this
class. A value that cannot be right is refused when it is set; two values that do not go together, when they are used.
Both are TraitErrors which name the option, the value, and what is allowed.
"""

from __future__ import annotations

import difflib
import getpass
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traitlets import Bool, Dict, List, TraitError, Unicode, default, validate
from traitlets.config import Configurable

from .core.resources import Resources
from .core.specs import Container, ControllerSpec, EngineSpec
from .paths import NotPrivate, read_private
from .traits import (
    Attributes,
    Count,
    Cpus,
    Duration,
    Master,
    Memory,
    Roles,
    from_text,
    parse_duration,
    parse_memory,
    refuse,
)

if TYPE_CHECKING:
    from .mesos import Framework

__all__ = ["MesosOptions", "parse_duration", "parse_memory"]

# What must never be in the environment of a container: Mesos shows it to whoever may look at a task.
_SECRETS = re.compile(r"IPP_CONNECTION_INFO|IPP_SESSION_KEY|IPP_CURVE_\w+|IPYMESOS_SECRET")
_OURS = {"memory-swap": "it is always -1, so that a container may grow with its engines", "shm-size": "use shm_size"}


class MesosOptions(Configurable):
    """Options of a cluster on Mesos."""

    # -- the master, and who we are to it
    master = Master(
        help="Mesos master: 'local' (a private Mesos on this machine, which ends with the cluster), 'host:5050', "
        "'http://host:5050' or 'zk://host1:2181,host2:2181/mesos'. Default: $IPYMESOS_MASTER, else 'local'."
    ).tag(config=True)
    role = Roles("*", help="Role, or several with commas between them, whose resources may be used.").tag(config=True)
    user = Unicode(help="Account which runs the tasks on the agents. Default: yours here.").tag(config=True)
    framework_name = Unicode("ipymesos", help="Name of the framework in the lists of Mesos.").tag(config=True)
    principal = Unicode("", help="Principal to authenticate as; its secret is in secret_file.").tag(config=True)
    secret_file = Unicode(
        "",
        help="File with the principal's secret, accessible to you alone. Default: $IPYMESOS_SECRET is the secret.",
    ).tag(config=True)
    checkpoint = Bool(True, help="Let tasks survive a restart of their agent.").tag(config=True)
    failover_timeout = Duration(
        86400.0,
        help="Time in seconds (or '1 day') Mesos keeps the tasks when the scheduler is gone: long enough to start it "
        "again, short enough that a forgotten cluster does not hold the cores of a shared Mesos for a week.",
    ).tag(config=True)
    orphan_timeout = Duration(
        86400.0,
        help="Time in seconds (or '1 day'; 0: never) after which a cluster ends by itself that ipcluster or a notebook "
        "started, when no program follows it any more, none has asked for it, and its engines are idle.",
    ).tag(config=True)
    connect_timeout = Duration(30.0, least=0.1, help="Time in seconds (or '30 s') to reach the master.").tag(
        config=True
    )
    start_timeout = Duration(
        60.0, least=0.1, help="Time in seconds (or '60 s') for the controller, and for the first engine, to run."
    ).tag(config=True)
    webui_url = Unicode("", help="URL which Mesos shows for the framework. Default: none.").tag(config=True)
    ip = Unicode("127.0.0.1", help="Address on which the scheduler itself answers requests.").tag(config=True)
    port = Count(0, most=65535, help="TCP port on which the scheduler answers requests; 0 = any free one.").tag(
        config=True
    )
    certfile = Unicode(
        "",
        help="Certificate (PEM) for answering over TLS; needed unless ip is a loopback one. May be self-signed.",
    ).tag(config=True)
    keyfile = Unicode("", help="Its private key (PEM), accessible to you alone. Default: it is in certfile.").tag(
        config=True
    )
    local_agents = Count(1, least=1, help="Number of agents of the master 'local'.").tag(config=True)

    # -- containers
    container = Unicode(
        "",
        help="What the tasks run in: 'docker' (the image under Docker), 'mesos' (the same image under Mesos' own "
        "containerizer, where agents have it: image_providers=docker) or 'process' (no image). Choose 'mesos' or "
        "'process' if engines shall outlive a restart of their agent: under 'docker' Mesos 1.11 ends them. Default: "
        "process with the master 'local' and no image, else docker.",
    ).tag(config=True)
    image = Unicode("", help="Docker image of the engines; it must contain ipymesos-executor.").tag(config=True)
    controller_image = Unicode("", help="Docker image of the controller. Default: image.").tag(config=True)
    force_pull = Bool(False, help="Pull the image even if the agent has it.").tag(config=True)
    python = Unicode(
        "", help="Python which has ipymesos-executor. Default: python3 in an image, else the one that runs this."
    ).tag(config=True)
    environment = Dict(help="Environment variables of the containers. Never put a secret here.").tag(config=True)
    volumes = List(
        Unicode(),
        help="Directories of the agents' hosts to see in the containers: '/host/path:/container/path[:ro|:rw]'.",
    ).tag(config=True)
    docker_parameters = List(
        Unicode(), help="Options for docker run, 'key=value', as in 'cap-add=SYS_PTRACE'; for container 'docker'."
    ).tag(config=True)
    shm_size = Memory(
        "1 GB", help="Most that /dev/shm may hold in a container with an image (MB, GB); it counts as memory in use."
    ).tag(config=True)
    check_python = Bool(
        True, help="Refuse to start when Python's minor version in a container is not the one here."
    ).tag(config=True)

    # -- engines
    cpus = Cpus(1.0, help="Cores of one engine, down to 0.001.").tag(config=True)
    memory = Memory("1 GB", least=1, help="Memory of one engine (MB, GB).").tag(config=True)
    disk = Memory("0 MB", help="Disk of one engine (MB, GB).").tag(config=True)
    gpus = Count(0, help="Whole GPUs of one engine. Must be set from the start to get GPU agents offered.").tag(
        config=True
    )
    engines_per_container = Count(0, help="Most engines in one container; 0 = as many as fit.").tag(config=True)
    # Less than this for an executor makes a master warn (MIN_CPUS, MIN_MEM in master/constants.hpp).
    pack_cpus = Cpus(0.1, least=0.01, help="Cores of a container beside those of its engines.").tag(config=True)
    pack_memory = Memory("128 MB", least=32, help="Memory of a container beside that of its engines (MB, GB).").tag(
        config=True
    )
    attributes = Attributes(help="Attributes an agent must have to run engines, as in {'rack': 'a'}.").tag(config=True)
    retire_grace = Duration(
        10.0, help="Time in seconds (or '1 min') for a busy engine to finish its work when fewer are wanted."
    ).tag(config=True)
    preload = List(
        Unicode(),
        default_value=["numpy"],
        help="Modules imported once per container, before its engines are forked; one that is missing is skipped.",
    ).tag(config=True)

    # -- the controller
    controller_cpus = Cpus(0.5, least=0.01, help="Cores of the controller.").tag(config=True)
    controller_memory = Memory("512 MB", least=32, help="Memory of the controller (MB, GB).").tag(config=True)
    controller_attributes = Attributes(help="Attributes an agent must have to run the controller.").tag(config=True)
    controller_ip = Unicode(
        "", help="Address the controller listens on and is reached at. Default: the one of its agent."
    ).tag(config=True)
    broadcast_scheduler_depth = Count(
        1, most=5, help="Depth of the tree of broadcast schedulers; the controller needs 12 + 3 * 2^depth ports."
    ).tag(config=True)
    curve = Bool(True, help="Encrypt and authenticate all connections with CURVE.").tag(config=True)

    @default("master")
    def _default_master(self) -> str:
        return os.environ.get("IPYMESOS_MASTER") or "local"

    @default("user")
    def _default_user(self) -> str:
        return getpass.getuser()

    @validate("container")
    def _check_container(self, proposal: Any) -> str:
        kind: str = proposal.value.lower()
        if kind not in ("", "docker", "mesos", "process"):
            refuse("container", proposal.value, "is unknown; allowed are 'docker', 'mesos', 'process', '' (auto)")
        return kind

    @validate("environment")
    def _check_environment(self, proposal: Any) -> dict[str, str]:
        for key, value in proposal.value.items():
            if not isinstance(key, str) or not key or "=" in key or not isinstance(value, str) or "\0" in key + value:
                # The value is not repeated: it might be private.
                refuse("environment", key, "and its value must be texts, as in {'OMP_NUM_THREADS': '1'}")
        return dict(proposal.value)

    @validate("volumes")
    def _check_volumes(self, proposal: Any) -> list[str]:
        for text in proposal.value:
            _volume(text)
        return list(proposal.value)

    @validate("docker_parameters")
    def _check_docker_parameters(self, proposal: Any) -> list[str]:
        for text in proposal.value:
            key, equals, _ = text.partition("=")
            if not key or key.startswith("-") or not equals:
                refuse(
                    "docker_parameters", text, "is no option; write 'key=value' without dashes: 'cap-add=SYS_PTRACE'"
                )
            if key in _OURS:
                refuse("docker_parameters", text, f"must not set {key}: {_OURS[key]}")
        return list(proposal.value)

    @validate("preload")
    def _check_preload(self, proposal: Any) -> list[str]:
        for name in proposal.value:
            if not all(part.isidentifier() for part in name.split(".")):
                refuse("preload", name, "is not the name of a module; write 'numpy' or 'package.module'")
        return list(proposal.value)

    # -- from and to data

    @classmethod
    def option_names(cls) -> list[str]:
        """The options' names; those of a subclass's other bases are not among them."""
        return sorted(MesosOptions.class_trait_names(config=True))

    def to_options(self) -> dict[str, Any]:
        """All options as JSON can hold them. There is no secret among them, only the name of its file."""
        options = {name: getattr(self, name) for name in self.option_names()}
        options["environment"] = self._clean_environment()
        for name in ("secret_file", "certfile", "keyfile"):
            if options[name]:
                options[name] = os.path.abspath(os.path.expanduser(options[name]))
        return options

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> MesosOptions:
        """Options by name; what is missing keeps its default. A text may stand for any value: see from_text."""
        self = cls()
        traits = self.traits()
        for name, value in options.items():
            if name not in cls.option_names():
                near = difflib.get_close_matches(name, cls.option_names(), n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise TraitError(f"{name}: there is no such option{hint}")
            setattr(self, name, from_text(traits[name], value) if isinstance(value, str) else value)
        return self

    @property
    def roles(self) -> tuple[str, ...]:
        return tuple(self.role.split(","))

    @property
    def container_kind(self) -> str:
        """docker | mesos | process, after the automatic choice."""
        if self.container:
            return str(self.container)
        return "process" if self.master == "local" and not self.image else "docker"

    @property
    def private_mesos(self) -> dict[str, Any] | None:
        """With which arguments PrivateMesos (daemon/private.py) makes it, as JSON can hold them; None for another."""
        if self.master != "local":
            return None
        kind = self.container_kind
        wanted: dict[str, Any] = {"agents": self.local_agents, "containerizers": "mesos"}
        if kind == "docker":
            wanted["containerizers"] = "docker,mesos"
        elif kind == "mesos":
            wanted["images"] = sorted({self.image, self.controller_image or self.image} - {""})
        else:  # executors that are processes share what they import: nothing else takes so long as that
            python = self.python or sys.executable
            begin, _, end = Container(python=python).line("\0").partition("\0")
            wanted["warm"] = [[python, "-m", "ipymesos_executor.warm"], begin, end]
        return wanted

    def engine_spec(self, engine_args: Iterable[str] = ()) -> EngineSpec:
        """What is wanted of each engine of a set; engine_args are for ipengine."""
        return EngineSpec(
            resources=Resources(_thousandths(self.cpus), parse_memory(self.memory), parse_memory(self.disk), self.gpus),
            pack=Resources(_thousandths(self.pack_cpus), parse_memory(self.pack_memory)),
            container=self._container(self.image),
            constraints=tuple(sorted(self.attributes.items())),
            per_container=self.engines_per_container,
            args=tuple(engine_args),
            preload=tuple(self.preload),
            grace=self.retire_grace,
        )

    def controller_spec(self, controller_args: Iterable[str] = ()) -> ControllerSpec:
        """What is wanted of the controller; controller_args are for ipcontroller."""
        return ControllerSpec(
            resources=Resources(_thousandths(self.controller_cpus), parse_memory(self.controller_memory)),
            container=self._container(self.controller_image or self.image),
            constraints=tuple(sorted(self.controller_attributes.items())),
            depth=self.broadcast_scheduler_depth,
            args=tuple(controller_args),
        )

    def framework(self, webui_url: str = "") -> Framework:
        """Who we are to Mesos. Reads the secret, so it belongs right before it is used."""
        from .mesos import Framework

        return Framework(
            name=self.framework_name,
            user=self.user,
            roles=self.roles,
            principal=self.principal,
            secret=self.read_secret(),
            checkpoint=self.checkpoint,
            failover_timeout=self.failover_timeout,
            webui_url=self.webui_url or webui_url,
            gpus=self.gpus > 0,
        )

    def read_secret(self) -> str:
        """The principal's secret, '' if there is none. TraitError if its file can't be used as it is."""
        path = os.path.expanduser(self.secret_file)
        secret = os.environ.get("IPYMESOS_SECRET", "")
        if path:
            try:
                secret = read_private(Path(path)).decode().strip()
            except NotPrivate as error:
                refuse("secret_file", path, f"is not private: {error}")
            except (OSError, UnicodeDecodeError) as error:
                refuse("secret_file", path, f"can't be read: {getattr(error, 'strerror', None) or error}")
            if not secret:
                refuse("secret_file", path, "is empty; it must contain the principal's secret")
        if secret and not self.principal:
            refuse("principal", self.principal, "goes with no secret; name the principal whose secret it is")
        return secret

    def _clean_environment(self) -> dict[str, str]:
        return {key: value for key, value in self.environment.items() if not _SECRETS.fullmatch(key)}

    def _container(self, image: str) -> Container:
        environment = tuple(sorted(self._clean_environment().items()))
        kind = self.container_kind
        if kind == "process":
            for name in ("volumes", "docker_parameters"):
                if getattr(self, name):
                    refuse(name, getattr(self, name), "needs containers; with container 'process' there are none")
            return Container("process", python=self.python or sys.executable, environment=environment)
        if not image:
            refuse(
                "image",
                image,
                f"is no image; container {kind!r} needs one with ipymesos-executor in it (see dockerfiles/)",
            )
        if kind == "mesos" and self.docker_parameters:
            refuse("docker_parameters", self.docker_parameters, "are for container 'docker'; 'mesos' runs no Docker")
        return Container(
            kind,
            image=image,
            force_pull=self.force_pull,
            python=self.python or "python3",
            environment=environment,
            volumes=tuple(_volume(text) for text in self.volumes),
            parameters=tuple((k, v) for k, _, v in (text.partition("=") for text in self.docker_parameters)),
            shm_size=parse_memory(self.shm_size),
        )


def _thousandths(cpus: float) -> int:
    return round(cpus * 1000)


def _volume(text: str) -> tuple[str, str, str]:
    parts = text.split(":")
    mode = parts.pop() if len(parts) == 3 else "rw"
    if len(parts) != 2 or not all(p.startswith("/") for p in parts) or mode not in ("ro", "rw"):
        refuse("volumes", text, "is no volume; write '/host/path:/container/path', and ':ro' or ':rw' after it")
    return parts[0], parts[1], mode.upper()
