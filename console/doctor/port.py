"""The port through which the doctor sees a machine. The adapter for a real machine is `probes`."""

from __future__ import annotations

from typing import Literal, Protocol

from topologies.rootless.lacking import Lack

ModuleState = Literal["loaded", "loadable", "absent"]


class Probes(Protocol):
    """The facts that the doctor asks for. Each call looks at the machine again, and none raises."""

    def root(self) -> bool:
        """Whether we are root."""

    def user_namespaces(self) -> str:
        """Why an ordinary user gets no namespaces for a run; empty: it does.

        For root, a uid that owns nothing tries.
        """

    def namespace_settings(self) -> dict[str, str]:
        """The kernel's settings about user namespaces: the name of a sysctl -> its value. Those that there are."""

    def tun_device(self) -> str:
        """The rights of /dev/net/tun, as 0666; empty: there is none."""

    def tun_fault(self) -> tuple[str, str] | None:
        """Why this user cannot open /dev/net/tun, and what to do; None: it can."""

    def limits_fault(self) -> tuple[str, str] | None:
        """Which limit of this user is too low for a run, and what to do; None: none is."""

    def lacks(self) -> list[Lack]:
        """The things that the runs of this user do without; none for root."""

    def subordinate_ids(self) -> str:
        """Whether there are newuidmap, and ids that this user could map with it, in words."""

    def kernel(self) -> str:
        """Release of the kernel."""

    def kernel_features(self) -> dict[str, str] | str:
        """Name of a feature -> "" if it works, else the kernel's reason; a text if none could be tried."""

    def openvswitch_module(self) -> ModuleState:
        """State of the kernel's datapath of Open vSwitch."""

    def cgroup(self) -> str:
        """`v2`, `v1`, `v1 and v2` or `none`."""

    def tool(self, name: str) -> str | None:
        """Version of a program on PATH, "found" if it tells none; None if it is not there."""

    def package(self, name: str) -> str | None:
        """Version of an installed Python package; None if it is not there."""

    def compiled_fast_path(self) -> bool:
        """Whether Numba's cache holds the fast path."""

    def python(self) -> str:
        """Version of this Python."""

    def dead_runs(self) -> list[str] | str:
        """Names of dead runs that have left something; a text if they could not be listed."""

    def lost_runs(self) -> list[str] | str:
        """Runs whose directory was deleted, with their processes; a text if they could not be listed."""

    def state_directory(self) -> str:
        """Why the state directory for new runs is refused; empty if it is not."""

    def failed_starts(self) -> list[str]:
        """Names of the runs of which logs of a failed start are kept."""

    def memory_mib(self) -> tuple[int, int]:
        """Available and total memory, MiB."""

    def cores(self) -> int:
        """Cores that this process may use."""

    def disk_mib(self) -> tuple[str, int]:
        """The directory of the runs' files, and the free space there in MiB."""
