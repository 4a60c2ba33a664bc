"""A host with its own processes, network, mounts, login user and sshd, in Linux namespaces."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from tests.realhosts.host_etc import make_etc
from tests.realhosts.installation import Installation
from tests.realhosts.network import Network, host_ip, host_network_commands

_OBSERVERS = (b"dagengine-watch", b"dagengine-process", b"dagengine-sql")
"""Names of the scripts with which the controller observes its servers."""

_END_BOUND_S = 30.0
_LISTEN_ATTEMPTS = 1000
"""Each takes as long as the start of a program."""

_KINDS = ("--mount", "--uts", "--ipc", "--net", "--pid")

_SSHD_CONFIG = """\
ListenAddress 0.0.0.0:22
HostKey /etc/ssh/host_key
AuthorizedKeysFile /etc/ssh/authorized_keys
PidFile /run/sshd.pid
LogLevel VERBOSE
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
PrintMotd no
PrintLastLog no
"""

# Replaces the host's shell. A script that has a barrier of its name waits there.
_SHELL = """\
#!/home/control/dash
barrier=/home/control/$3
case "$1 $3" in
    "-c dagengine"*) if [ -p "$barrier" ]; then : >"$barrier.reached"; read -r _ <"$barrier"; fi ;;
esac
exec /home/control/dash "$@"
"""


@dataclass(frozen=True, slots=True)
class Process:
    """A living process of a host, with its pid here, its pid in the host, and its command line."""

    pid: int
    host_pid: int
    argv: tuple[str, ...]

    @property
    def is_sshd(self) -> bool:
        return self.argv[0].startswith(("sshd", "/usr/sbin/sshd"))

    @property
    def is_server(self) -> bool:
        name = self.argv[0].rpartition("/")[2]
        return name == "observer" or (name == "seekdb" and "--base-dir" in self.argv)


class Barrier:
    """A point on a host where programs wait until the barrier is opened, or this process ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        os.mkfifo(path)
        path.chmod(0o666)
        self._file: int | None = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    @property
    def is_reached(self) -> bool:
        return self._reached.exists()

    def open(self) -> None:
        """Release the waiting programs, and do not stop any later ones."""
        if self._file is not None:
            self._path.unlink()
            os.close(self._file)
            self._file = None
            self._reached.unlink(missing_ok=True)

    @property
    def _reached(self) -> Path:
        return self._path.with_name(f"{self._path.name}.reached")


class Host:
    """One host, connected to a network. Its files are in a separate directory on this machine.

    Attributes:
        ip: address of the host.
        init_pid: its first process, in the pid namespace of the test.
        directory: contains `admin` (the user's home), `etc`, `run` and `control`.
        public_key: public host key of its sshd.
    """

    def __init__(
        self,
        number: int,
        zone: str,
        parent: Path,
        network: Network,
        client_key: str,
        installation: Installation,
    ) -> None:
        """
        Args:
            number: number of the host, from 1.
            zone: zone of its server.
            parent: parent of its directory.
            network: the network to connect to.
            client_key: the public key that may log in.
            installation: the server to install.
        """
        self.number = number
        self.zone = zone
        self.ip = host_ip(number)
        self.directory = parent / f"host{number}"
        self.installation = installation
        self._sources = installation.sources(parent)
        self._network = network
        self._make_files(client_key)
        self.public_key = self.make_host_key()
        self._keeper = _start_init()
        try:
            self.init_pid = _find_init(self._keeper)
            network.plug(number, self.init_pid)
            self._set_up()
            # Held open, so that the namespace's number is not reused while tests search for it.
            self._pid_file = os.open(f"/proc/{self.init_pid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
            self.pid_namespace = os.fstat(self._pid_file).st_ino
            self.start_sshd()
        except BaseException:
            self.close()
            raise

    @property
    def keeper_pid(self) -> int:
        """Return the process on this machine that is the ancestor of all processes of the host."""
        return self._keeper.pid

    @property
    def home(self) -> Path:
        """Return the path of the server's home on this machine."""
        return self.directory / "admin" / self.installation.program

    @property
    def sshd_log(self) -> str:
        return (self.directory / "run" / "sshd.log").read_text(errors="replace")

    @property
    def contacts(self) -> int:
        """Return the number of connections and sessions in the log of its sshd."""
        return self.sshd_log.count("Connection from") + self.sshd_log.count("Starting session")

    @property
    def launches(self) -> int:
        """Return the number of starts of the server program on the host."""
        file = self.directory / "control" / "launches"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def run(self, *argv: str) -> str:
        """Run a command on the host as root; return its output.

        Raises:
            RuntimeError: the command failed.
        """
        done = subprocess.run(
            [*self.entering(*_KINDS), *argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(argv)} on {self.ip}: {done.stderr.strip()}")
        return done.stdout

    def entering(self, *kinds: str) -> list[str]:
        """Return a command prefix that enters these namespaces of the host."""
        return ["nsenter", "--target", str(self.init_pid), *kinds, "--"]

    def mount_home(self, *, size: str) -> None:
        """Mount a new, empty file system of this size as the server's home."""
        home, options = self.installation.home, f"size={size},uid={self.installation.uid},mode=755"
        self.run("mount", "-t", "tmpfs", "-o", options, "tmpfs", home)
        self.run("mkdir", f"{home}/bin")
        self.run("ln", "-s", "/home/control/program", f"{home}/bin/seekdb")

    def resize_home(self, size: str) -> None:
        """Change the size of the file system mounted by `mount_home`."""
        self.run("mount", "-o", f"remount,size={size}", self.installation.home)

    def unmount_home(self) -> None:
        """Restore the home that `mount_home` has hidden."""
        self.run("umount", "--lazy", self.installation.home)

    def home_entries(self) -> list[str]:
        """Return the names of the entries in the server's home."""
        return self.run("ls", self.installation.home).split()

    def processes(self) -> list[Process]:
        """Return the living processes of the host, without its first one. Zombies are dead."""
        entries = (_read_process(int(p.name)) for p in Path("/proc").glob("[0-9]*"))
        return [
            process
            for process, namespace in filter(None, entries)
            if namespace == self.pid_namespace and process.host_pid != 1
        ]

    def servers(self) -> list[Process]:
        return [process for process in self.processes() if process.is_server]

    def other_processes(self) -> list[Process]:
        """Return the processes that are neither sshd nor a server: none unless a command runs.

        The commands with which the controller observes its servers are not counted.
        """
        others = [p for p in self.processes() if not p.is_sshd and not p.is_server]
        return [process for process in others if not _observes(process)]

    def signal(self, processes: Sequence[Process], number: signal.Signals) -> None:
        """Send a signal; after SIGKILL, wait until the processes have ended."""
        for process in processes:
            try:
                handle = os.pidfd_open(process.pid)
            except ProcessLookupError:
                continue
            with os.fdopen(handle, "rb"), contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, number)
                if number is signal.SIGKILL:
                    select.select([handle], [], [], _END_BOUND_S)

    def signal_sshd(self, number: signal.Signals) -> None:
        """Send a signal to all sshd processes, the sessions included."""
        self.signal([process for process in self.processes() if process.is_sshd], number)

    def start_sshd(self) -> None:
        """Start sshd as the host's init would; it listens when this returns."""
        (self.directory / "run" / "sshd.pid").unlink(missing_ok=True)
        self.run("/usr/sbin/sshd", "-E", "/run/sshd.log")  # it listens only after its fork
        if not any(self.is_listening(22) for _ in range(_LISTEN_ATTEMPTS)):
            raise RuntimeError(self.sshd_log[-1000:])

    def is_listening(self, port: int) -> bool:
        """Return whether a process listens on a TCP port of the host."""
        return bool(self.run("ss", "-H", "-l", "-t", "-n", f"sport = :{port}").strip())

    def has_ssh_sessions(self) -> bool:
        """Return whether sshd serves a connection, or has yet to accept one."""
        waiting = self.run("ss", "-H", "-t", "-n", "sport = :22").strip()
        return bool(waiting) or sum(process.is_sshd for process in self.processes()) > 1

    def has_connection(self, port: int) -> bool:
        """Return whether a client is connected to a TCP port of the host."""
        return bool(self.run("ss", "-H", "-t", "-n", "state", "established", f"sport = :{port}"))

    def is_home_locked(self) -> bool:
        """Return whether a process holds the lock of the server's home."""
        try:
            self.run("flock", "--nonblock", self.installation.home, "true")
        except RuntimeError:
            return True
        return False

    def temporary_files(self) -> list[str]:
        """Return the temporary files on the host, without the directories mounted from here."""
        paths = self.run("find", "/tmp", "/var/tmp", "-xdev", "-mindepth", "1").splitlines()
        visible = [f"{mount_point}/" for mount_point in self._sources]
        return sorted(path for path in paths if not any(g.startswith(f"{path}/") for g in visible))

    def barrier(self, name: str) -> Barrier:
        """Create a barrier for a script of this name, or `launch` for the server program."""
        return Barrier(self.directory / "control" / name)

    def make_host_key(self) -> str:
        """Create a new host key, which sshd uses from its next start; return the public key."""
        key = asyncssh.generate_private_key("ssh-ed25519")
        file = self.directory / "etc" / "ssh" / "host_key"
        key.write_private_key(str(file))
        file.chmod(0o600)
        return key.export_public_key().decode().strip()

    def close(self) -> None:
        """End the host and all processes on it."""
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper.stdin.close()
        self._keeper.wait()
        self._keeper.stdout.close()

    def forget(self) -> None:
        """Release the pid namespace: leftovers of the host can no longer be searched."""
        os.close(self._pid_file)

    def _make_files(self, client_key: str) -> None:
        for name in ("admin", "run/sshd", "control"):
            (self.directory / name).mkdir(parents=True, mode=0o755)
        make_etc(self.directory / "etc", self.installation.user, self.installation.user_line)
        (self.directory / "etc" / "ssh" / "authorized_keys").write_text(client_key)
        (self.directory / "etc" / "ssh" / "sshd_config").write_text(_SSHD_CONFIG)
        control, installation = self.directory / "control", self.installation
        shutil.copy("/bin/dash", control / "dash")
        (control / "sh").write_text(_SHELL)
        (control / "sh").chmod(0o755)
        control.chmod(0o777)
        installation.put(self.home, control, self.ip, self.zone)
        for path in (self.directory / "admin", *(self.directory / "admin").rglob("*")):
            os.chown(path, installation.uid, installation.uid, follow_symlinks=False)

    def _set_up(self) -> None:
        commands = [*self._mount_commands(), ["hostname", f"host{self.number}"]]
        commands += host_network_commands(self.number)
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper.stdin.write(json.dumps(commands).encode() + b"\n")
        self._keeper.stdin.flush()
        if self._keeper.stdout.readline() != b"ready\n":
            raise RuntimeError(f"host {self.number} could not be set up")

    def _mount_commands(self) -> list[list[str]]:
        """Assemble all mounts below /mnt first: their sources may be below covered directories."""
        commands = [["mount", "-t", "tmpfs", "-o", "size=1m,mode=755", "tmpfs", "/mnt"]]
        own = {f"/home/{name}": self.directory / name for name in ("admin", "control")}
        covered = [
            (mount_point, source)
            for mount_point, source in {**own, **self._sources}.items()
            if mount_point.startswith(("/home/", "/tmp/", "/var/tmp/"))
        ]
        for number, (_, source) in enumerate(covered):
            commands += [
                ["mkdir", f"/mnt/{number}"],
                ["mount", "--bind", str(source), f"/mnt/{number}"],
            ]
        for name, mount_point in (("etc", "/etc"), ("run", "/run")):
            commands.append(["mount", "--bind", str(self.directory / name), mount_point])
        for mount_point, size in (("/home", "1m,mode=755"), ("/tmp", "16m"), ("/var/tmp", "16m")):
            commands.append(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", mount_point])
        for number, (mount_point, _) in enumerate(covered):
            commands += [
                ["mkdir", "-p", mount_point],
                ["mount", "--move", f"/mnt/{number}", mount_point],
            ]
        return [
            *commands,
            ["umount", "/mnt"],
            ["mount", "--bind", "/home/control/sh", "/bin/dash"],
        ]


def _start_init() -> subprocess.Popen[bytes]:
    namespaces = ["--mount", "--uts", "--ipc", "--net", "--pid"]
    return subprocess.Popen(
        [
            *("unshare", *namespaces, "--fork", "--kill-child", "--mount-proc"),
            *(sys.executable, "-I", "-S", str(Path(__file__).with_name("host_init.py"))),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )


def _find_init(keeper: subprocess.Popen[bytes]) -> int:
    """Return the pid of the host's first process, once it runs in the host's namespaces."""
    children = Path(f"/proc/{keeper.pid}/task/{keeper.pid}/children")
    while True:
        if keeper.poll() is not None:
            raise RuntimeError("a host's namespaces could not be made")
        for pid in children.read_text().split():
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if (
                any(argument.endswith(b"host_init.py") for argument in arguments)
                and arguments[0] != b"unshare"
            ):
                return int(pid)


def _observes(process: Process) -> bool:
    """Whether a process belongs to the watch of a host or to a probe of the monitor.

    The probe logs in again at any time. A DAG also uses its script, which changes nothing.
    """
    try:
        session = Path(f"/proc/{os.getsid(process.pid)}/cmdline").read_bytes()
    except OSError:  # it has just ended
        return not Path(f"/proc/{process.pid}").exists()
    return any(name in session for name in _OBSERVERS)


def _read_process(pid: int) -> tuple[Process, int] | None:
    """Return a living process and its pid namespace."""
    directory = Path(f"/proc/{pid}")
    try:
        namespace = (directory / "ns" / "pid").stat().st_ino
        status = dict(
            line.split(":\t", 1) for line in (directory / "status").read_text().splitlines()
        )
        arguments = (directory / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except (OSError, ValueError):
        return None
    if status["State"][0] in "ZX":
        return None
    argv = tuple(argument.decode(errors="replace") for argument in arguments)
    return Process(pid, int(status["NSpid"].split()[-1]), argv), namespace
